/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board beyond bus 0: every segment that MCFG tells of, through ECAM; BARs that move while the
 * device works and while another CPU reads, onto each other and out of the windows; pvpanic; marks
 * at port 0x80. Specifications: PCI firmware 3.2 §4.1 (MCFG, ECAM); PCI Local Bus 3.0 §6.2.5;
 * QEMU's docs/specs/pvpanic.
 */
#include "acpi.h"
#include "drivers.h"
#include "guest.h"
#include "pci.h"
#include "smp.h"

#define SLOTS 32
#define HOMES 0xd0000000ul /* in the 32-bit window of a machine with one segment */
#define HOME_SIZE 0x80000ul
#define COMMAND 4
#define BAR0 0x10

/* --- segments --- */

/* Functions other than 0 and other buses do not exist; two ends of the slot's space look like it. */
static uint32_t show_slot(uint32_t segment, uint64_t ecam, uint32_t slot)
{
	uint64_t at = ecam + slot * 0x8000ul;
	uint32_t id = rd32(at), lone = 1;

	for (uint32_t fn = 1; fn < 8; fn++)
		lone &= rd32(at + fn * 0x1000ul) == ~0u;
	if (id == ~0u)
		return !lone;
	print("R3 FN %u %u %04x:%04x class=%06x bar=%x_%x\n", segment, slot, id & 0xffff, id >> 16,
	      rd32(at + 8) >> 8, rd32(at + 0x14), rd32(at + 0x10));
	return !lone || rd32(at + 0xffc) == ~0u;
}

/*
 * Every segment's megabyte; what lies behind the last is nobody's. A BAR is moved by ECAM to the
 * next page of its size and back, and answers there.
 */
void segments_run(void)
{
	uint64_t t = acpi_find("MCFG");
	uint32_t n = t ? (rd32(t + 4) - 44) / 16 : 0, odd = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t e = t + 44 + 16ul * i, ecam = rd64(e);

		odd += rd16(e + 8) != i || rd8(e + 10) || rd8(e + 11) ||
		       ecam != 0xe8000000ul + i * 0x100000ul;
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			odd += show_slot(i, ecam, slot);
	}
	check(!odd, "every segment has one bus and a megabyte of ECAM");
	if (n < 256)
		check(rd32(0xe8000000ul + n * 0x100000ul) == ~0u, "no segment behind the last");
	print("R3 SEGMENTS %u\n", n);
}

/* --- BARs --- */

static void bar_set(uint32_t bdf, uint64_t at)
{
	pci_wr32(bdf, BAR0, (uint32_t)at);
	if ((pci_rd32(bdf, BAR0) & 6) == 4)
		pci_wr32(bdf, BAR0 + 4, (uint32_t)(at >> 32));
}

/* The device's registers are elsewhere now. */
static void moved(struct vdev *d, uint64_t to)
{
	uint64_t by = to - d->bar;

	d->bar = to;
	d->common += by;
	d->notify += by;
	d->isr += by;
	d->config += by;
	d->msix += by;
	for (uint32_t i = 0; i < QUEUES_MAX; i++)
		d->q[i].notify += by;
}

/*
 * One request each time the BAR has moved, with decoding on throughout: the doorbell is where the
 * BAR is. What is left behind is nobody's.
 */
static void move_and_work(struct vdev *d, bool (*works)(struct vdev *, struct vq *))
{
	uint64_t home = d->bar, rounds = 50;
	uint32_t bad = 0;

	word("rounds", &rounds);
	if (!check(vdev_start(d, 0), "device %u starts", d->type))
		return;
	for (uint32_t i = 0; i < rounds; i++) {
		uint64_t was = d->bar, to = HOMES + (i % 16) * HOME_SIZE;

		bar_set(d->bdf, to);
		moved(d, to);
		bad += !works(d, &d->q[0]);
		bad += was != to && rd32(was + 0x10) != ~0u;
	}
	bar_set(d->bdf, home);
	moved(d, home);
	check(!bad && works(d, &d->q[0]), "device %u works wherever its BAR is (%u times not)",
	      d->type, bad);
}

/* Both use the same memory for their queues: only one of two devices is at work at a time. */
static bool alive(struct vdev *d)
{
	return vdev_start(d, 0) && (d->type == VIRTIO_RNG ? rng_works : blk_works)(d, &d->q[0]) &&
	       vdev_reset(d);
}

/* One onto the other: who was there first answers, until he goes; then the other. */
static void onto_each_other(struct vdev *a, struct vdev *b)
{
	uint64_t home_a = a->bar, home_b = b->bar;
	uint32_t mark = rd16(a->common + C_NUM_QUEUES);

	bar_set(b->bdf, home_a);
	check(pci_rd32(b->bdf, BAR0) >> 4 == (uint32_t)home_a >> 4, "BAR reads as written");
	check(rd16(a->common + C_NUM_QUEUES) == mark && rd32(home_b + 0x10) == ~0u && alive(a),
	      "a BAR moved onto another does not disturb it");
	bar_set(a->bdf, home_b);
	moved(a, home_b);
	moved(b, home_a);
	check(alive(a) && alive(b), "two BARs change places");
	pci_wr16(a->bdf, COMMAND, 0x404);
	check(rd32(home_b + 0x10) == ~0u, "decoding off");
	pci_wr16(a->bdf, COMMAND, 0x406);
	check(alive(a), "decoding on again, and the doorbell with it");
	uint32_t ram = rd32(0x100010), ecam = rd32(0xe8000000ul);

	bar_set(b->bdf, 0x100000); /* RAM, ECAM, interrupt controllers: not its windows */
	bar_set(b->bdf, 0xe8000000ul);
	check(ecam == rd32(0xe8000000ul) && ram == rd32(0x100010),
	      "a BAR out of the windows hides nothing");
	bar_set(b->bdf, 0xfee00000ul);
	bar_set(a->bdf, home_a);
	bar_set(b->bdf, home_b);
	moved(a, home_a);
	moved(b, home_b);
	check(alive(a) && alive(b), "both are home and work");
}

/* The other CPU's part: whatever it reads at any of the homes is the device or nobody. */
struct reader {
	volatile bool stop;
	uint32_t there, seen, nobody, garbage;
};

static void read_homes(void *arg)
{
	struct reader *r = arg;

	for (uint32_t i = 0; !r->stop; i++) {
		uint32_t v = rd32(HOMES + (i % 16) * HOME_SIZE + C_CONFIG_VECTOR);

		r->seen += v == r->there;
		r->nobody += v == ~0u;
		r->garbage += v != r->there && v != ~0u;
	}
}

static void move_under_readers(struct vdev *d)
{
	static struct reader r;
	uint64_t home = d->bar, rounds = 200;

	word("rounds", &rounds);
	if (!check(smp_start(1), "a second cpu"))
		return;
	r = (struct reader){ .there = rd32(d->common + C_CONFIG_VECTOR) };
	smp_call(1, read_homes, &r);
	for (uint32_t i = 0; i < rounds; i++) {
		bar_set(d->bdf, HOMES + (i % 16) * HOME_SIZE);
		if (!(i % 7))
			pci_wr16(d->bdf, COMMAND, 0x404);
		pci_wr16(d->bdf, COMMAND, 0x406);
	}
	r.stop = true;
	while (!smp_idle(1))
		cpu_relax();
	bar_set(d->bdf, home);
	print("R3 READERS seen=%u nobody=%u\n", r.seen, r.nobody);
	check(!r.garbage && r.nobody && r.seen, "a moving BAR is there or not (%u times neither)",
	      r.garbage);
}

void moves_run(void)
{
	static struct vdev rng, blk;

	if (!check(vdev_find(&rng, VIRTIO_RNG, 0) && vdev_find(&blk, VIRTIO_BLK, 0),
		   "a rng and a disk"))
		return;
	move_and_work(&rng, rng_works);
	move_and_work(&blk, blk_works);
	bar_set(rng.bdf, HOMES); /* the disk's is below 4 GiB for good */
	moved(&rng, HOMES);
	onto_each_other(&rng, &blk);
	move_under_readers(&rng);
	check(alive(&rng), "rng works after all moves");
}

/* --- pvpanic, marks --- */

void pvpanic_run(void)
{
	uint64_t storm = 0, size, at = 0;

	for (uint32_t bdf = 0; bdf < 256 && !at; bdf += 8)
		if (pci_rd32(bdf, 0) == 0x00111b36)
			at = pci_bar(bdf, 0, &size);
	if (!check(at, "pvpanic is there"))
		return;
	check(rd8(at) == 3 && size == 16, "pvpanic understands panic and crash_loaded");
	wr8(at, 1);
	wr8(at, 2);
	wr8(at, 0x80);
	word("storm", &storm);
	for (uint64_t i = 0; i < storm; i++)
		wr32(at + i % 16, (uint32_t)i);
	check(rd8(at) == 3, "pvpanic goes on");
}

/* Marks at port 0x80 as kernels and firmware set them, then a storm of one that is none. */
void marks_run(void)
{
	static const uint8_t mark[] = { 0x01, 0x21, 0x40, 0x41, 0x60, 0xfe };

	for (size_t i = 0; i < sizeof mark; i++)
		outb(0x80, mark[i]);
	delay_us(20000);
	for (uint32_t i = 0; i < 10000; i++)
		outb(0x80, 0);
	outb(0x80, 0x41);
}
