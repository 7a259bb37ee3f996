/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments of one bus with 32 slots each, and the two ways to their config space: ports 0xcf8 and
 * 0xcfc for segment 0, and ECAM for all. No bridges and no functions but 0. The read lock is held
 * during a config access, so that a function that leaves knows nobody is inside when it has had the
 * write lock; under it lie the lock of those who move BARs, the function's lock, then the bus.
 * Config accesses: vCPU threads.
 * Claiming, plugging and taking out: the control thread. PCI Local Bus 3.0 §3.2.2.3.2, PCI Express
 * base 3.0 §7.2.2, PCI firmware 3.2 §4.1.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "pci/place.h"

#define INTX_PINS 8
#define PORT_CONFIG 0xcf8
#define PORT_CONFIG_LEN 8
#define CONFIG_ENABLE (1u << 31)
#define ECAM_SEGMENT MIB(1)
#define APERTURE_PAGE 0x1000ull
#define APERTURE_ALIGN64 GIB(4)
#define BARS_OF_GUEST GIB(4)

#define HOST_VENDOR 0x8086
#define HOST_DEVICE 0x0d57
#define CLASS_BRIDGE 0x06

struct slot {
	struct pci_fn *fn; /* NULL = free */
	bool seen;	   /* config accesses find it */
};
struct segment {
	struct slot slot[PCI_SLOTS];
	struct pci_aperture mem32, mem64;
	struct link areas; /* struct pci_area */
};
struct pci_host {
	struct bus *mmio;
	struct bus_range ports, ecam;
	pthread_rwlock_t lock;
	pthread_mutex_t placing; /* who moves BARs */
	uint32_t waiting;	 /* BARs whose place is taken; under placing, or the write lock */
	_Atomic uint32_t config_address;
	uint32_t intx[INTX_PINS];
	struct pci_fn bridge;
	uint16_t count;
	struct segment *segment;
};

/* The byte of config space that an access of either road begins at. */
struct cfg_at {
	uint32_t segment, slot, off;
};

/* Cuts an access of any length into the pieces that config space knows. */
static uint32_t cfg_piece(uint32_t off, uint32_t len)
{
	if (len >= 4 && off % 4 == 0)
		return 4;
	return len >= 2 && off % 2 == 0 ? 2 : 1;
}

static struct pci_fn *cfg_fn(struct pci_host *h, const struct cfg_at *at)
{
	const struct slot *s;

	if (at->segment >= h->count || at->slot >= PCI_SLOTS)
		return NULL;
	s = &h->segment[at->segment].slot[at->slot];
	return s->seen ? s->fn : NULL;
}

static void cfg_read(struct pci_host *h, struct cfg_at at, uint8_t *data, uint32_t len)
{
	struct pci_fn *f;

	memset(data, 0xff, len);
	pthread_rwlock_rdlock(&h->lock);
	f = cfg_fn(h, &at);
	for (uint32_t i = 0, n; f && i < len && at.off + i < PCI_CFG_SIZE; i += n) {
		n = cfg_piece(at.off + i, len - i);
		le_put(data + i, n, pci_cfg_read(f, at.off + i, n));
	}
	pthread_rwlock_unlock(&h->lock);
}

static void cfg_write(struct pci_host *h, struct cfg_at at, const uint8_t *data, uint32_t len)
{
	struct pci_fn *f;

	pthread_rwlock_rdlock(&h->lock);
	f = cfg_fn(h, &at);
	for (uint32_t i = 0, n; f && i < len && at.off + i < PCI_CFG_SIZE; i += n) {
		n = cfg_piece(at.off + i, len - i);
		pci_cfg_write(f, at.off + i, n, (uint32_t)le_get(data + i, n));
	}
	pthread_rwlock_unlock(&h->lock);
}

/*
 * CONFIG_ADDRESS: 31 enable | 23..16 bus | 15..11 device | 10..8 function | 7..2 register. port is
 * 4..7 within the range. Returns false for what is nobody's.
 */
static bool port_target(struct pci_host *h, uint64_t port, struct cfg_at *at)
{
	uint32_t a = atomic_load_explicit(&h->config_address, memory_order_relaxed);

	*at = (struct cfg_at){ .slot = a >> 11 & 0x1f, .off = (a & 0xfc) + (uint32_t)(port & 3) };
	return a & CONFIG_ENABLE && !(a >> 16 & 0xff) && !(a >> 8 & 7);
}

/* Bytes of an access to a register of four from its byte at; the rest belongs to the next. */
static uint32_t port_part(uint64_t off, uint32_t len)
{
	return (uint32_t)min_u64(len, 4 - off % 4);
}

static void ports_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct pci_host *h = arg;
	uint8_t reg[4];

	for (uint32_t i = 0, n; i < len; i += n) {
		struct cfg_at at;

		n = port_part(off + i, len - i);
		le32_put(reg, atomic_load_explicit(&h->config_address, memory_order_relaxed));
		if (off + i < 4)
			memcpy(data + i, reg + off + i, n);
		else if (port_target(h, off + i, &at))
			cfg_read(h, at, data + i, n);
		else
			memset(data + i, 0xff, n);
	}
}

static void ports_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct pci_host *h = arg;
	uint8_t reg[4];

	for (uint32_t i = 0, n; i < len; i += n) {
		struct cfg_at at;

		n = port_part(off + i, len - i);
		if (off + i >= 4) {
			if (port_target(h, off + i, &at))
				cfg_write(h, at, data + i, n);
			continue;
		}
		le32_put(reg, atomic_load_explicit(&h->config_address, memory_order_relaxed));
		memcpy(reg + off + i, data + i, n);
		atomic_store_explicit(&h->config_address, le32_get(reg), memory_order_relaxed);
	}
}

/* ECAM: 27..20 bus (here: the segment, which has one bus) | 19..15 device | 14..12 function | 11..0
 * register. */
static bool ecam_target(uint64_t off, struct cfg_at *at)
{
	*at = (struct cfg_at){ .segment = (uint32_t)(off >> 20),
			       .slot = off >> 15 & 0x1f,
			       .off = off & (PCI_CFG_SIZE - 1) };
	return !(off >> 12 & 7);
}

static void ecam_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct cfg_at at;

	if (ecam_target(off, &at))
		cfg_read(arg, at, data, len);
	else
		memset(data, 0xff, len);
}

static void ecam_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct cfg_at at;

	if (ecam_target(off, &at))
		cfg_write(arg, at, data, len);
}

static const struct bus_ops ports_ops = { .read = ports_read, .write = ports_write };
static const struct bus_ops ecam_ops = { .read = ecam_read, .write = ecam_write };

/* What one unit of weight gets: a multiple of align, or of a page where the aperture is too small
 * for that. */
static int aperture_unit(uint64_t *out, const struct pci_aperture *a, uint64_t weights,
			 uint64_t align, struct err *e)
{
	*out = align_down(a->size / weights, align);
	if (!*out)
		*out = align_down(a->size / weights, APERTURE_PAGE);
	if (!*out)
		return err_set(e, ERR_BAD,
			       "the weights of the segments' apertures add up to %llu, and there "
			       "are %llu pages to share: lower them",
			       (unsigned long long)weights,
			       (unsigned long long)(a->size / APERTURE_PAGE));
	return 0;
}

/* Piece i begins behind those in front of it; the last ends where the aperture does. */
static struct pci_aperture aperture_piece(const struct pci_aperture *a, uint64_t before,
					  uint64_t size, bool is_last)
{
	return (struct pci_aperture){ .base = a->base + before,
				      .size = is_last ? a->size - before : size };
}

static uint64_t weight(uint32_t said)
{
	return said ? said : 1;
}

static int apertures_cut(struct pci_host *h, const struct pci_host_args *a, struct err *e)
{
	uint64_t all32 = 0, all64 = 0, unit32, unit64, at32 = 0, at64 = 0;

	for (uint16_t i = 0; i < a->segments; i++) {
		all32 += weight(a->weight[i].mem32);
		all64 += weight(a->weight[i].mem64);
	}
	if (aperture_unit(&unit32, &a->mem32, all32, APERTURE_PAGE, e) ||
	    aperture_unit(&unit64, &a->mem64, all64, APERTURE_ALIGN64, e))
		return -1;
	for (uint16_t i = 0; i < a->segments; i++) {
		uint64_t size32 = unit32 * weight(a->weight[i].mem32);
		uint64_t size64 = unit64 * weight(a->weight[i].mem64);
		bool is_last = i == a->segments - 1;

		h->segment[i].mem32 = aperture_piece(&a->mem32, at32, size32, is_last);
		h->segment[i].mem64 = aperture_piece(&a->mem64, at64, size64, is_last);
		at32 += size32;
		at64 += size64;
	}
	return 0;
}

static void host_bridge(struct pci_host *h)
{
	static const struct pci_ids ids = { .vendor = HOST_VENDOR,
					    .device = HOST_DEVICE,
					    .class = CLASS_BRIDGE };

	pci_fn_init(&h->bridge, &ids, NULL);
	h->bridge.host = h;
	h->segment[0].slot[0] = (struct slot){ .fn = &h->bridge, .seen = true };
}

static int host_wire(struct pci_host *h, const struct pci_host_args *a, struct err *e)
{
	h->ports.ops = &ports_ops;
	h->ecam.ops = &ecam_ops;
	h->ports.arg = h->ecam.arg = h;
	for (int i = 0; i < INTX_PINS; i++)
		if (irq_pin_alloc(a->irqs, &h->intx[i], e))
			return -1;
	if (a->pio && bus_add(a->pio, &h->ports, PORT_CONFIG, PORT_CONFIG_LEN, e))
		return -1;
	return bus_add(a->mmio, &h->ecam, a->ecam, a->segments * ECAM_SEGMENT, e);
}

int pci_host_new(struct pci_host **out, const struct pci_host_args *a, struct err *e)
{
	struct pci_host *h = NEW(struct pci_host);

	bus_lock_init(&h->lock);
	pthread_mutex_init(&h->placing, NULL);
	h->mmio = a->mmio;
	h->count = a->segments;
	h->segment = mem_array(a->segments, sizeof(h->segment[0]));
	for (uint16_t i = 0; i < a->segments; i++)
		list_init(&h->segment[i].areas);
	host_bridge(h);
	if (apertures_cut(h, a, e) || host_wire(h, a, e)) {
		pci_host_free(h);
		return err_in(e, "PCI host bridge");
	}
	*out = h;
	return 0;
}

void pci_host_free(struct pci_host *h)
{
	if (!h)
		return;
	bus_drop(&h->ports);
	bus_drop(&h->ecam);
	pci_fn_fini(&h->bridge);
	pthread_mutex_destroy(&h->placing);
	pthread_rwlock_destroy(&h->lock);
	free(h->segment);
	free(h);
}

uint16_t pci_segments(const struct pci_host *h)
{
	return h->count;
}

struct pci_aperture pci_mem32(const struct pci_host *h, uint16_t segment)
{
	return h->segment[segment].mem32;
}

struct pci_aperture pci_mem64(const struct pci_host *h, uint16_t segment)
{
	return h->segment[segment].mem64;
}

uint32_t pci_intx_gsi(const struct pci_host *h, uint8_t slot)
{
	return h->intx[slot % INTX_PINS];
}

static int slot_choose(struct pci_host *h, uint16_t segment, int slot, int *out, struct err *e)
{
	const struct segment *s;
	int n;

	if (segment >= h->count)
		return err_set(e, ERR_BAD, "PCI segment %u is out of range: this VM has %u",
			       segment, h->count);
	s = &h->segment[segment];
	if (slot >= PCI_SLOTS)
		return err_set(e, ERR_BAD,
			       "Given PCI device ID (%d) is out of the supported range of 0..%d",
			       slot, PCI_SLOTS);
	if (slot == 0 && segment == 0)
		return err_set(e, ERR_BAD,
			       "Given PCI device ID (0) is reserved for the host bridge");
	if (slot >= 0 && s->slot[slot].fn)
		return err_set(e, ERR_TAKEN, "Valid PCI device identifier but already used: %d",
			       slot);
	for (n = slot >= 0 ? slot : 0; n < PCI_SLOTS && s->slot[n].fn; n++)
		;
	if (n == PCI_SLOTS)
		return err_set(
			e, ERR_IO,
			"all %d PCI slots of segment %u are in use: say pci_segment=<another>",
			segment ? PCI_SLOTS : PCI_SLOTS - 1, segment);
	*out = n;
	return 0;
}

int pci_slot_claim(struct pci_host *h, struct pci_fn *f, uint16_t segment, int slot, struct err *e)
{
	int n, rc;

	pthread_rwlock_wrlock(&h->lock);
	rc = slot_choose(h, segment, slot, &n, e);
	if (!rc) {
		h->segment[segment].slot[n] = (struct slot){ .fn = f };
		f->host = h;
		f->segment = segment;
		f->slot = (uint8_t)n;
	}
	pthread_rwlock_unlock(&h->lock);
	return rc;
}

void pci_slot_release(struct pci_fn *f)
{
	struct pci_host *h = f->host;

	if (!h)
		return;
	pthread_rwlock_wrlock(&h->lock);
	h->segment[f->segment].slot[f->slot] = (struct slot){ 0 };
	f->host = NULL;
	pthread_rwlock_unlock(&h->lock);
}

void pci_slot_hide(struct pci_host *h, uint16_t segment, uint8_t slot)
{
	pthread_rwlock_wrlock(&h->lock);
	h->segment[segment].slot[slot].seen = false;
	pthread_rwlock_unlock(&h->lock);
}

static bool aperture_holds(const struct pci_aperture *a, uint64_t addr, uint64_t size)
{
	return size <= a->size && addr >= a->base && addr - a->base <= a->size - size;
}

bool pci_bar_fits(const struct pci_fn *f, unsigned int n, uint64_t addr)
{
	const struct segment *s = &f->host->segment[f->segment];
	const struct pci_bar *b = &f->bar[n];

	if (b->kind == PCI_BAR_IO)
		return false; /* no segment has ports to give */
	return aperture_holds(&s->mem32, addr, b->size) ||
	       (b->kind == PCI_BAR_MEM64 && aperture_holds(&s->mem64, addr, b->size));
}

void pci_waiting_add(struct pci_host *h, int n)
{
	h->waiting += (uint32_t)n;
}

void pci_placing_begin(struct pci_host *h)
{
	if (h)
		pthread_mutex_lock(&h->placing);
}

static bool fn_waits(const struct pci_fn *f)
{
	for (unsigned int n = 0; n < PCI_BARS; n++)
		if (f->bar[n].waits)
			return true;
	return false;
}

/* In the order of segments and slots. A BAR that gets its place leaves none, so once is enough. */
static void place_waiting(struct pci_host *h)
{
	for (uint32_t i = 0; h->waiting && i < h->count * PCI_SLOTS; i++) {
		const struct slot *s = &h->segment[i / PCI_SLOTS].slot[i % PCI_SLOTS];

		if (!s->seen || !fn_waits(s->fn))
			continue;
		pthread_mutex_lock(&s->fn->lock);
		pci_bars_update(s->fn);
		pthread_mutex_unlock(&s->fn->lock);
	}
}

void pci_placing_end(struct pci_host *h)
{
	if (!h)
		return;
	place_waiting(h);
	pthread_mutex_unlock(&h->placing);
}

struct bus *pci_bar_bus(const struct pci_fn *f, unsigned int n)
{
	(void)n;
	return f->host->mmio;
}

/* From where to where things of the segment lie. */
struct extent {
	uint64_t from, to;
};

static void extent_add(struct extent *x, uint64_t base, uint64_t size)
{
	x->from = min_u64(x->from, base);
	x->to = max_u64(x->to, base + size);
}

/* The extent of what [addr, addr+size) meets, BARs and areas; false when it is free. */
static bool segment_meets(const struct segment *s, uint64_t addr, uint64_t size, struct extent *x)
{
	*x = (struct extent){ .from = UINT64_MAX };
	for (int i = 0; i < PCI_SLOTS; i++) {
		for (int n = 0; s->slot[i].fn && n < PCI_BARS; n++) {
			const struct pci_bar *b = &s->slot[i].fn->bar[n];

			if (b->addr && ranges_meet(addr, size, b->addr, b->size))
				extent_add(x, b->addr, b->size);
		}
	}
	list_each (l, &s->areas) {
		const struct pci_area *a = container_of(l, struct pci_area, link);

		if (ranges_meet(addr, size, a->base, a->size))
			extent_add(x, a->base, a->size);
	}
	return x->to;
}

/* The highest free place that is aligned to its size, and has whole pages to itself, so that a guest
 * can map it alone. Each round goes below one BAR more, so it ends. */
static bool aperture_find(const struct segment *s, const struct pci_aperture *a, uint64_t bar_size,
			  uint64_t *out)
{
	uint64_t end = a->base + a->size, size = max_u64(bar_size, APERTURE_PAGE);

	while (end >= size) {
		uint64_t addr = align_down(end - size, size);
		struct extent x;

		if (addr < a->base || !addr)
			return false;
		if (!segment_meets(s, addr, size, &x)) {
			*out = addr;
			return true;
		}
		end = x.from;
	}
	return false;
}

/* The lowest free place from `at` on, or 0. Each round goes above what was met. */
static uint64_t area_find_from(const struct segment *s, uint64_t at, uint64_t size, uint64_t align)
{
	struct extent x;

	at = align_up(at, align);

	while (aperture_holds(&s->mem64, at, size)) {
		if (!segment_meets(s, at, size, &x))
			return at;
		at = align_up(x.to, align);
	}
	return 0;
}

/* A guest that places the BARs of a device that has come begins at the bottom, where an area is not
 * yet known to it: areas go there only when there is no other room. */
static uint64_t area_find(const struct segment *s, uint64_t size, uint64_t align)
{
	uint64_t left = min_u64(BARS_OF_GUEST, s->mem64.size / 2);
	uint64_t at = area_find_from(s, s->mem64.base + left, size, align);

	return at ? at : area_find_from(s, s->mem64.base, size, align);
}

/* The hypervisor answers for it; before and after that, nobody does. */
static void area_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	(void)arg;
	(void)off;
	memset(data, 0xff, len);
}
static void area_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	(void)arg;
	(void)off;
	(void)data;
	(void)len;
}
static const struct bus_ops area_ops = { .read = area_read, .write = area_write };

static int area_take(struct pci_host *h, struct pci_area *a, struct segment *s, uint64_t at,
		     struct err *e)
{
	if (!at || !aperture_holds(&s->mem64, at, a->size))
		return err_set(e, ERR_TAKEN,
			       "PCI segment %u has no room for %llu MiB of memory above 4 GiB",
			       (unsigned int)(s - h->segment), (unsigned long long)(a->size >> 20));
	a->range.ops = &area_ops;
	if (bus_add(h->mmio, &a->range, at, a->size, e))
		return -1;
	a->base = at;
	a->host = h;
	list_add_tail(&s->areas, &a->link);
	return 0;
}

int pci_area_claim(struct pci_host *h, struct pci_area *a, uint16_t segment, uint64_t align,
		   struct err *e)
{
	struct segment *s = &h->segment[segment];
	int rc;

	pthread_rwlock_wrlock(&h->lock);
	rc = area_take(h, a, s, a->base ? a->base : area_find(s, a->size, align), e);
	pthread_rwlock_unlock(&h->lock);
	return rc;
}

void pci_area_release(struct pci_area *a)
{
	struct pci_host *h = a->host;

	if (!h)
		return;
	bus_drop(&a->range);
	pthread_rwlock_wrlock(&h->lock);
	list_drop(&a->link);
	a->host = NULL;
	pci_placing_begin(h);
	pci_placing_end(h);
	pthread_rwlock_unlock(&h->lock);
}

static int bars_assign(struct pci_host *h, struct pci_fn *f, struct err *e)
{
	const struct segment *s = &h->segment[f->segment];

	for (unsigned int n = 0; n < PCI_BARS; n++) {
		const struct pci_bar *b = &f->bar[n];
		uint64_t addr;

		if (b->kind == PCI_BAR_NONE)
			continue;
		if (b->kind == PCI_BAR_IO ||
		    !aperture_find(s, b->kind == PCI_BAR_MEM64 ? &s->mem64 : &s->mem32, b->size,
				   &addr))
			return err_set(e, ERR_TAKEN,
				       "PCI segment %u has no room for %llu KiB of BAR %u",
				       f->segment, (unsigned long long)(b->size >> 10), n);
		pci_bar_assign(f, n, addr);
	}
	pci_decode_on(f);
	return 0;
}

int pci_fn_in(struct pci_fn *f, struct err *e)
{
	struct pci_host *h = f->host;
	int rc;

	pthread_rwlock_wrlock(&h->lock);
	pthread_mutex_lock(&f->lock);
	rc = f->loaded ? 0 : bars_assign(h, f, e);
	if (!rc) {
		pci_bars_update(f);
		h->segment[f->segment].slot[f->slot].seen = true;
	}
	pthread_mutex_unlock(&f->lock);
	pthread_rwlock_unlock(&h->lock);
	return rc;
}

void pci_fn_out(struct pci_fn *f)
{
	struct pci_host *h = f->host;

	pthread_rwlock_wrlock(&h->lock);
	h->segment[f->segment].slot[f->slot].seen = false;
	pthread_rwlock_unlock(&h->lock);
	for (unsigned int n = 0; n < PCI_BARS; n++) {
		struct pci_bar *b = &f->bar[n];
		bool was_on = b->on;

		bus_drop(&b->range);
		b->on = false;
		if (was_on && f->ops && f->ops->bar_moved) {
			pthread_mutex_lock(&f->lock);
			f->ops->bar_moved(f, n);
			pthread_mutex_unlock(&f->lock);
		}
	}
	pthread_rwlock_rdlock(&h->lock);
	pci_placing_begin(h);
	for (unsigned int n = 0; n < PCI_BARS; n++) {
		h->waiting -= f->bar[n].waits;
		f->bar[n].waits = false;
	}
	pci_placing_end(h);
	pthread_rwlock_unlock(&h->lock);
}

void pci_host_save(struct pci_host *h, struct pci_host_state *s)
{
	*s = (struct pci_host_state){ .config_address = atomic_load(&h->config_address) };
	pci_fn_save(&h->bridge, &s->bridge);
}

int pci_host_load(struct pci_host *h, const struct pci_host_state *s, struct err *e)
{
	if (pci_fn_load(&h->bridge, &s->bridge, e))
		return err_in(e, "host bridge");
	atomic_store(&h->config_address, s->config_address);
	return 0;
}

void pci_bdf(const struct pci_fn *f, char out[13])
{
	snprintf(out, 13, "%04x:00:%02x.0", f->segment, f->slot & 0x1f);
}
