/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Config space by both roads, with three functions whose BARs get in each other's way, and an MSI-X
 * table. What decodes has to be what the registers say, at every step: a range on the bus sits
 * where its BAR does, and no two meet.
 */
#include "pokes.h"

#include "pci/pci.h"

#define ECAM 0xe8000000ull
#define MEM32 0xc0000000ull
#define MEM64 0x800000000ull
#define CARDS 3
#define BAR_SIZE KIB(4)

struct card {
	struct pci_fn fn;
	struct msix msix;
};
static struct card *hot; /* the one whose table is poked */

static void table_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct card *c = arg;

	if (off & 0x800)
		msix_pba_read(&c->msix, off & 0x7ff, data, len);
	else
		msix_table_read(&c->msix, off, data, len);
}
static void table_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct card *c = arg;

	msix_table_write(&c->msix, off, data, len);
}
static const struct bus_ops bar_ops = { .read = table_read, .write = table_write };

static void wrote(struct pci_fn *f, uint32_t off, uint32_t len)
{
	struct card *c = container_of(f, struct card, fn);

	if (ranges_meet(off, len, c->msix.cap, 4))
		msix_ctrl_changed(&c->msix);
}
static const struct pci_fn_ops fn_ops = { .wrote = wrote };

static void card_add(struct pci_host *h, struct card *c, enum pci_bar_kind kind)
{
	static const struct pci_ids ids = { .vendor = 0x1af4, .device = 0x1042 };
	struct err e = { 0 };

	pci_fn_init(&c->fn, &ids, &fn_ops);
	pci_bar_set(&c->fn, 0, kind, false, BAR_SIZE, &bar_ops, c);
	if (msix_init(&c->msix, &c->fn, fake.board.irqs, 3, 0, 0, 0x800, &e) ||
	    pci_slot_claim(h, &c->fn, 0, -1, &e) || pci_fn_in(&c->fn, &e))
		abort();
}

static void card_check(const struct card *c)
{
	const struct pci_bar *b = &c->fn.bar[0];

	if (b->on != (b->range.bus != NULL) || (b->on && b->range.base != b->addr))
		abort();
	if (b->on && !(c->fn.cfg[4] & 2))
		abort();
	if (le16_get(c->fn.cfg) != 0x1af4)
		abort();
}

/* May the BAR decode where its register says? */
static bool is_wanted(const struct pci_bar *b)
{
	return (b->addr >= MEM32 && b->addr < MEM32 + MIB(1)) ||
	       (b->kind == PCI_BAR_MEM64 && b->addr >= MEM64 && b->addr < MEM64 + MIB(1));
}

/* Who is silent has a reason: off, out of the windows, or somebody is there. */
static void silence_check(const struct card *card, const struct card *c)
{
	const struct pci_bar *b = &c->fn.bar[0];

	if (b->on || !(c->fn.cfg[4] & 2) || !is_wanted(b))
		return;
	for (int i = 0; i < CARDS; i++)
		if (card[i].fn.bar[0].on && card[i].fn.bar[0].addr == b->addr)
			return;
	abort();
}

static void card_drop(struct card *c)
{
	struct pci_fn_state *s = NEW(struct pci_fn_state);
	struct err e = { 0 };

	pci_fn_save(&c->fn, s);
	if (pci_fn_load(&c->fn, s, &e))
		abort();
	free(s);
	pci_fn_out(&c->fn);
	msix_fini(&c->msix);
	pci_slot_release(&c->fn);
	pci_fn_fini(&c->fn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct card card[CARDS];
	struct pci_host_args a = {
		.segments = 1, .ecam = ECAM, .mem32 = { MEM32, MIB(1) }, .mem64 = { MEM64, MIB(1) }
	};
	struct pci_host *h;
	struct err e = { 0 };
	struct poke p;

	fake_begin();
	a.pio = fake.board.pio;
	a.mmio = fake.board.mmio;
	a.irqs = fake.board.irqs;
	if (pci_host_new(&h, &a, &e))
		abort();
	for (int i = 0; i < CARDS; i++)
		card_add(h, &card[i], i ? PCI_BAR_MEM32 : PCI_BAR_MEM64);
	while (poke_take(&p, &data, &size)) {
		hot = &card[p.kind % CARDS];
		if (p.kind < 4)
			poke_do(fake.board.pio, 0xcf4, 0x10, &p);
		else if (p.kind < 10) /* the header and first capabilities of one of them */
			poke_do(fake.board.mmio, ECAM + ((p.kind % CARDS + 1ull) << 15), 0x60, &p);
		else if (p.kind < 12)
			poke_do(fake.board.mmio, ECAM, MIB(1), &p);
		else if (p.kind < 14)
			msix_fire(&hot->msix, p.at);
		else
			poke_do(fake.board.mmio, hot->fn.bar[0].range.base, BAR_SIZE, &p);
		for (int i = 0; i < CARDS; i++)
			card_check(&card[i]);
		for (int i = 0; i < CARDS; i++)
			silence_check(card, &card[i]);
	}
	for (int i = 0; i < CARDS; i++)
		card_drop(&card[i]);
	pci_host_free(h);
	fake_end();
	return 0;
}
