/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that come and go, by the registers of \_SB_.PHPR and the event device, whose places are
 * read out of the DSDT's regions PCST and GDST. Each device that comes is driven, and let go of when
 * that is asked for; the first disk is kept busy meanwhile. Settings: hotplug=N ends after N have
 * gone; deaf: nothing is let go of; idle: what comes is not driven; hold: I/O is under way when a
 * device is let go of; alone: the host puts nothing into a slot that was emptied. ACPI 6.5 §20.2.5.2.
 */
#include "acpi.h"
#include "drivers.h"
#include "guest.h"
#include "pci.h"

enum { UP = 0, DOWN = 4, EJECT = 8, SEGMENT = 12 };

#define GED_PCI 4
#define VECTOR 0x60
#define HOME 8 /* queues of what comes lie behind those of the first disk */
#define HELD 16

static uint64_t regs, flags;
static struct vdev first, hot;
static uint64_t came, went;

/* How many devices of that type lie in lower slots. */
static uint32_t before(uint32_t slot, uint32_t id)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < slot; i++)
		n += pci_rd32(i << 3, 0) == id;
	return n;
}

static bool drive(uint32_t slot)
{
	uint32_t id = pci_rd32(slot << 3, 0), type = (id >> 16) - 0x1040;

	if ((id & 0xffff) != 0x1af4 || !vdev_find(&hot, type, before(slot, id)) ||
	    hot.bdf != slot << 3)
		return false;
	hot.home = HOME;
	if (!vdev_start(&hot, 0))
		return false;
	switch (type) {
	case VIRTIO_BLK:
		return blk_works(&hot, &hot.q[0]);
	case VIRTIO_NET:
		return net_tx_works(&hot, &hot.q[1]);
	case VIRTIO_PMEM:
		return pmem_is_memory(&hot) && pmem_works(&hot, &hot.q[0]);
	default:
		return true;
	}
}

/* Reads that nobody waits for. */
static void leave_under_way(void)
{
	struct vq *q = &hot.q[0];

	if (hot.type != VIRTIO_BLK)
		return;
	blk_chain(q);
	for (uint32_t i = 0; i < HELD; i++)
		vq_put(q, 0); /* one chain many times over: what comes of it is nobody's concern */
	vq_publish(q);
}

static void come(uint32_t slot)
{
	came++;
	if (word("idle", NULL))
		return;
	if (pci_rd32(slot << 3, 0) != ~0u && !drive(slot))
		check(false, "the device in slot %u works", slot);
}

static void go(uint32_t slot)
{
	if (word("deaf", NULL))
		return;
	if (word("hold", NULL))
		leave_under_way();
	else if (hot.bdf == slot << 3)
		vdev_reset(&hot);
	wr32(regs + EJECT, 1u << slot);
	went++;
	if (!word("alone", NULL))
		return;
	check(pci_rd32(slot << 3, 0) == ~0u, "slot %u is empty at once", slot);
	wr32(regs + EJECT, 1u << slot); /* twice is nothing more */
}

static void scan(void)
{
	wr32(regs + SEGMENT, 0);
	for (uint32_t slots = rd32(regs + UP); slots; slots &= slots - 1)
		come((uint32_t)__builtin_ctz(slots));
	for (uint32_t slots = rd32(regs + DOWN); slots; slots &= slots - 1)
		go((uint32_t)__builtin_ctz(slots));
}

/* Everything that the registers are not for. */
static void foul(void)
{
	uint32_t there = 0, still = 0;

	for (uint32_t slot = 0; slot < 32; slot++)
		there += pci_rd32(slot << 3, 0) != ~0u;
	wr32(regs + EJECT, ~0u);
	wr32(regs + SEGMENT, ~0u);
	check(!rd32(regs + SEGMENT), "a segment that is not there is not selected");
	wr32(regs + EJECT, ~0u);
	for (uint32_t i = 0; i < 2000; i++) {
		uint64_t at = regs + rnd() % 16;

		if (rnd() & 1)
			wr8(at, (uint8_t)rnd());
		else
			wr32(at & ~3ul, (uint32_t)rnd());
		rd16(regs + rnd() % 15);
	}
	wr32(regs + SEGMENT, 0);
	wr32(regs + EJECT, ~0u);
	for (uint32_t slot = 0; slot < 32; slot++)
		still += pci_rd32(slot << 3, 0) != ~0u;
	check(there == still, "what nobody asked for stays, all %u", there);
}

void hotplug_run(void)
{
	uint64_t rounds = 0, told = 0;

	word("hotplug", &rounds);
	regs = acpi_region("PCST");
	flags = acpi_region("GDST");
	if (!check(regs && flags, "the DSDT tells of the registers"))
		return;
	map(regs, 16);
	map(flags, 1);
	foul();
	check(vdev_find(&first, VIRTIO_BLK, 0) && vdev_start(&first, 0), "the first disk starts");
	ioapic_line(13, VECTOR);
	irq_on();
	print("R3 READY\n");
	while (went < rounds) {
		if (rd8(flags) & GED_PCI) {
			told++;
			scan();
		}
		if (!blk_works(&first, &first.q[0])) {
			check(false, "the first disk works all the time");
			return;
		}
	}
	irq_off();
	print("R3 SLOTS came=%lu went=%lu\n", came, went);
	check(irq_counts[VECTOR] > 0 && told, "the event device interrupts");
}
