/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration space: bytes, the bits of them that a guest may write, capabilities in a chain, and
 * BARs whose decoding follows COMMAND and the BAR registers. Registers read back what was written.
 * A BAR decodes as a whole where its register says, or nowhere: nowhere while that is out of its
 * segment's apertures, and while another decodes there, who has the place until he leaves it. vCPU
 * threads under the function's lock; before it is plugged, the control thread. PCI Local Bus 3.0
 * §6, PCI Express base 3.0 §7.5.
 */
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "base/mem.h"
#include "pci/pci.h"
#include "pci/place.h"

/* Registers of a type 0 header. */
#define REG_VENDOR 0x00
#define REG_DEVICE 0x02
#define REG_COMMAND 0x04
#define REG_STATUS 0x06
#define REG_REVISION 0x08
#define REG_PROG_IF 0x09
#define REG_SUBCLASS 0x0a
#define REG_CLASS 0x0b
#define REG_CACHE_LINE 0x0c
#define REG_BAR 0x10
#define REG_SUBVENDOR 0x2c
#define REG_SUBDEVICE 0x2e
#define REG_CAPS 0x34
#define REG_IRQ_LINE 0x3c
#define REG_CAPS_FIRST 0x40
#define CAPS_END 0x100

#define CMD_IO 0x0001
#define CMD_MEMORY 0x0002
#define CMD_MASTER 0x0004
/* I/O, memory, master, parity, SERR, INTx off */
#define CMD_WRITABLE 0x0547
#define STATUS_HAS_CAPS 0x0010

#define BAR_IS_IO 0x1u
#define BAR_IS_64 0x4u
#define BAR_PREFETCH 0x8u

void pci_fn_init(struct pci_fn *f, const struct pci_ids *ids, const struct pci_fn_ops *ops)
{
	*f = (struct pci_fn){ .ops = ops, .cap_next = REG_CAPS_FIRST, .cap_last = REG_CAPS };
	pthread_mutex_init(&f->lock, NULL);
	le16_put(f->cfg + REG_VENDOR, ids->vendor);
	le16_put(f->cfg + REG_DEVICE, ids->device);
	f->cfg[REG_REVISION] = ids->revision;
	f->cfg[REG_PROG_IF] = ids->prog_if;
	f->cfg[REG_SUBCLASS] = ids->subclass;
	f->cfg[REG_CLASS] = ids->class;
	le16_put(f->cfg + REG_SUBVENDOR, ids->subvendor);
	le16_put(f->cfg + REG_SUBDEVICE, ids->subdevice);
	le16_put(f->mask + REG_COMMAND, CMD_WRITABLE);
	f->mask[REG_CACHE_LINE] = 0xff;
	f->mask[REG_IRQ_LINE] = 0xff;
}

void pci_fn_fini(struct pci_fn *f)
{
	pthread_mutex_destroy(&f->lock);
}

uint8_t pci_cap_add(struct pci_fn *f, uint8_t id, const void *body, const void *mask, uint8_t len)
{
	uint16_t at = f->cap_next;

	/* who adds more than there is room for has a mistake in his own tables */
	if (at + 2u + len > CAPS_END) {
		log_error("no room for PCI capability 0x%x", id);
		abort();
	}
	f->cfg[at] = id;
	f->cfg[f->cap_last] = (uint8_t)at;
	memcpy(f->cfg + at + 2, body, len);
	if (mask)
		memcpy(f->mask + at + 2, mask, len);
	f->cap_last = (uint16_t)(at + 1);
	f->cap_next = (uint16_t)align_up(at + 2u + len, 4);
	f->cfg[REG_STATUS] |= STATUS_HAS_CAPS;
	return (uint8_t)at;
}

static bool bar_is_mem(const struct pci_bar *b)
{
	return b->kind == PCI_BAR_MEM32 || b->kind == PCI_BAR_MEM64;
}

static uint64_t bar_flags(const struct pci_bar *b)
{
	if (b->kind == PCI_BAR_IO)
		return BAR_IS_IO;
	return (b->kind == PCI_BAR_MEM64 ? BAR_IS_64 : 0) | (b->prefetch ? BAR_PREFETCH : 0);
}

static uint8_t *bar_reg(struct pci_fn *f, unsigned int n)
{
	return f->cfg + REG_BAR + 4 * n;
}

/* The address in the register, without flags. */
static uint64_t bar_reg_addr(struct pci_fn *f, unsigned int n)
{
	const struct pci_bar *b = &f->bar[n];
	uint64_t v = b->kind == PCI_BAR_MEM64 ? le64_get(bar_reg(f, n)) : le32_get(bar_reg(f, n));

	return v & ~(b->size - 1);
}

void pci_bar_set(struct pci_fn *f, unsigned int n, enum pci_bar_kind kind, bool prefetch,
		 uint64_t size, const struct bus_ops *ops, void *arg)
{
	struct pci_bar *b = &f->bar[n];
	uint64_t mask = ~(size - 1);

	b->kind = kind;
	b->prefetch = prefetch;
	b->size = size;
	b->range.ops = ops;
	b->range.arg = arg;
	le32_put(bar_reg(f, n), (uint32_t)bar_flags(b));
	le32_put(f->mask + REG_BAR + 4 * n, (uint32_t)mask & ~(kind == PCI_BAR_IO ? 0x3u : 0xfu));
	if (kind == PCI_BAR_MEM64)
		le32_put(f->mask + REG_BAR + 4 * n + 4, (uint32_t)(mask >> 32));
}

/* Where BAR n should decode now; false when nowhere. */
static bool bar_wanted(struct pci_fn *f, unsigned int n, uint64_t *addr)
{
	uint16_t on = bar_is_mem(&f->bar[n]) ? CMD_MEMORY : CMD_IO;

	*addr = bar_reg_addr(f, n);
	return f->bar[n].kind != PCI_BAR_NONE && le16_get(f->cfg + REG_COMMAND) & on && *addr;
}

/* Is this what a guest writes to learn the size? (The upper half of a 64-bit BAR comes second.) */
static bool bar_is_sized(const struct pci_bar *b, uint64_t addr)
{
	uint64_t ones = ~(b->size - 1);

	return (uint32_t)addr == (uint32_t)ones || addr >> 32 == ones >> 32;
}

/* To addr, or nowhere when that place is not to be had. True when it is another's. */
static bool bar_place(struct pci_fn *f, unsigned int n, uint64_t addr)
{
	struct pci_bar *b = &f->bar[n];
	struct err e = { 0 };
	char line[160];
	int rc;

	if (!pci_bar_fits(f, n, addr)) {
		bus_hide(&b->range);
		if (!bar_is_sized(b, addr))
			log_guest("PCI %04x:00:%02x BAR %u is not decoded: 0x%llx is out of the "
				  "apertures",
				  f->segment, f->slot, n, (unsigned long long)addr);
		return false;
	}
	rc = b->range.bus ? bus_move(&b->range, addr, &e)
			  : bus_add(pci_bar_bus(f, n), &b->range, addr, b->size, &e);
	if (!rc)
		return false;
	bus_hide(&b->range);
	if (!b->waits)
		log_guest("PCI %04x:00:%02x BAR %u is not decoded for now: %s", f->segment, f->slot,
			  n, err_line(&e, line, sizeof(line)));
	return true;
}

static void bar_waits(struct pci_fn *f, struct pci_bar *b, bool waits)
{
	if (b->waits != waits)
		pci_waiting_add(f->host, waits ? 1 : -1);
	b->waits = waits;
}

static void bar_update(struct pci_fn *f, unsigned int n)
{
	struct pci_bar *b = &f->bar[n];
	bool was_on = b->on, want, taken = false;
	uint64_t was_at = b->range.base, addr;

	want = bar_wanted(f, n, &addr);
	b->addr = addr;
	if (!want)
		bus_hide(&b->range);
	else if (!b->range.bus || b->range.base != addr)
		taken = bar_place(f, n, addr);
	bar_waits(f, b, taken);
	b->on = b->range.bus != NULL;
	if ((b->on != was_on || (b->on && b->range.base != was_at)) && f->ops && f->ops->bar_moved)
		f->ops->bar_moved(f, n);
}

void pci_bars_update(struct pci_fn *f)
{
	for (unsigned int n = 0; n < PCI_BARS; n++)
		if (f->bar[n].kind != PCI_BAR_NONE)
			bar_update(f, n);
}

void pci_bar_assign(struct pci_fn *f, unsigned int n, uint64_t addr)
{
	struct pci_bar *b = &f->bar[n];

	b->addr = addr;
	if (b->kind == PCI_BAR_MEM64)
		le64_put(bar_reg(f, n), addr | bar_flags(b));
	else
		le32_put(bar_reg(f, n), (uint32_t)(addr | bar_flags(b)));
}

void pci_decode_on(struct pci_fn *f)
{
	f->cfg[REG_COMMAND] |= CMD_MEMORY;
}

/* 1, 2 or 4 bytes within one dword. */
static bool access_ok(uint32_t off, uint32_t len)
{
	return (len == 1 || len == 2 || len == 4) && off < PCI_CFG_SIZE && off % 4 + len <= 4;
}

uint32_t pci_cfg_read(struct pci_fn *f, uint32_t off, uint32_t len)
{
	uint32_t v;

	if (!access_ok(off, len))
		return ~0u;
	pthread_mutex_lock(&f->lock);
	if (f->ops && f->ops->reading)
		f->ops->reading(f, off, len);
	v = (uint32_t)le_get(f->cfg + off, len);
	pthread_mutex_unlock(&f->lock);
	return v;
}

static void cfg_byte(struct pci_fn *f, uint32_t off, uint8_t v)
{
	uint8_t m = f->mask[off];
	uint8_t now = (uint8_t)((f->cfg[off] & ~m) | (v & m));

	if (off < sizeof(f->w1c))
		now = (uint8_t)(now & ~(v & f->w1c[off]));
	f->cfg[off] = now;
}

void pci_cfg_write(struct pci_fn *f, uint32_t off, uint32_t len, uint32_t v)
{
	bool moves = ranges_meet(off, len, REG_COMMAND, 2) ||
		     ranges_meet(off, len, REG_BAR, 4 * PCI_BARS);

	if (!access_ok(off, len))
		return;
	if (moves)
		pci_placing_begin(f->host);
	pthread_mutex_lock(&f->lock);
	for (uint32_t i = 0; i < len; i++)
		cfg_byte(f, off + i, (uint8_t)(v >> (8 * i)));
	if (moves)
		pci_bars_update(f);
	if (f->ops && f->ops->wrote)
		f->ops->wrote(f, off, len);
	pthread_mutex_unlock(&f->lock);
	if (moves)
		pci_placing_end(f->host);
}

bool pci_bus_master(const struct pci_fn *f)
{
	return f->cfg[REG_COMMAND] & CMD_MASTER;
}

void pci_fn_save(struct pci_fn *f, struct pci_fn_state *s)
{
	pthread_mutex_lock(&f->lock);
	*s = (struct pci_fn_state){ .segment = f->segment, .slot = f->slot };
	memcpy(s->cfg, f->cfg, sizeof(s->cfg));
	for (unsigned int n = 0; n < PCI_BARS; n++)
		s->bar[n] = f->bar[n].addr;
	pthread_mutex_unlock(&f->lock);
}

/* Bits that neither the guest nor the device's hooks change must be those of the function as it was
 * made. */
static int state_agrees(struct pci_fn *f, const struct pci_fn_state *s, struct err *e)
{
	for (uint32_t i = 0; i < PCI_CFG_SIZE; i++) {
		uint8_t fixed = (uint8_t) ~(f->mask[i] | (i < sizeof(f->w1c) ? f->w1c[i] : 0));

		if ((f->cfg[i] ^ s->cfg[i]) & fixed)
			return err_set(e, ERR_BAD,
				       "PCI config byte 0x%x is 0x%x, this device has 0x%x", i,
				       s->cfg[i], f->cfg[i]);
	}
	if (s->segment != f->segment || s->slot != f->slot)
		return err_set(e, ERR_BAD, "the saved PCI slot is %u:%u, this one %u:%u",
			       s->segment, s->slot, f->segment, f->slot);
	return 0;
}

/* Whether a memory BAR lies low or may lie high depends on when its device came: the guest has met it
 * as it was saved. */
static void bar_as_saved(struct pci_fn *f, unsigned int n, const struct pci_fn_state *s)
{
	struct pci_bar *b = &f->bar[n];
	bool wide = s->cfg[REG_BAR + 4 * n] & BAR_IS_64;

	if (!bar_is_mem(b) || wide == (b->kind == PCI_BAR_MEM64))
		return;
	if (wide ? n + 1 == PCI_BARS || f->bar[n + 1].kind != PCI_BAR_NONE : b->size > UINT32_MAX)
		return;
	b->kind = wide ? PCI_BAR_MEM64 : PCI_BAR_MEM32;
	le32_put(bar_reg(f, n), (uint32_t)bar_flags(b));
	le32_put(f->mask + REG_BAR + 4 * n + 4, wide ? (uint32_t)(~(b->size - 1) >> 32) : 0);
}

int pci_fn_load(struct pci_fn *f, const struct pci_fn_state *s, struct err *e)
{
	for (unsigned int n = 0; n < PCI_BARS; n++)
		bar_as_saved(f, n, s);
	if (state_agrees(f, s, e))
		return -1;
	pthread_mutex_lock(&f->lock);
	memcpy(f->cfg, s->cfg, sizeof(f->cfg));
	/* the registers hold what is decoded; addr only repeats it, and says that the BAR was
	 * placed */
	for (unsigned int n = 0; n < PCI_BARS; n++)
		f->bar[n].addr = f->bar[n].kind == PCI_BAR_NONE ? 0 : bar_reg_addr(f, n);
	f->loaded = true;
	pthread_mutex_unlock(&f->lock);
	return 0;
}

static const struct field pci_fn_state_f[] = {
	S(struct pci_fn_state, segment),
	S(struct pci_fn_state, slot, .max = 31),
	S_HEX(struct pci_fn_state, cfg),
	S_ARRAY(struct pci_fn_state, bar),
};
const struct desc pci_fn_state_desc =
	DESC_OF(struct pci_fn_state, pci_fn_state_f, "PciFunctionState");
