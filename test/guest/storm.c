/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storms: many accesses with values from a fixed series to where nothing is, to the registers of
 * the chips at fixed places, to every byte of configuration space, and to every byte of every BAR.
 * Nothing is expected of them but that the VM lives, that devices work after a reset, and that it
 * ends in order. Values that rightly end or reset the VM are left out. `storm=2` is PCI only, and
 * `storm=3` no more than the registers of devices.
 */
#include "acpi.h"
#include "attack.h"
#include "drivers.h"
#include "guest.h"
#include "pci.h"

#define ACCESSES 100000
#define CHIP_ACCESSES 4000
#define HOLES 0xd8000000ul

/* Ports where something is, here or on other machines, with those that hold a number of four bytes
 * that begins up to three before. */
static bool port_is_taken(uint32_t p)
{
	static const struct {
		uint16_t first, last;
	} taken[] = {
		{ 0x20, 0x21 },	  { 0x61, 0x64 },   { 0x70, 0x71 },   { 0x80, 0x80 },
		{ 0x92, 0x92 },	  { 0xa0, 0xa1 },   { 0xe9, 0xe9 },   { 0xf4, 0xf4 },
		{ 0x3f8, 0x3ff }, { 0x402, 0x402 }, { 0x505, 0x506 }, { 0x600, 0x613 },
		{ 0xcf8, 0xcff },
	};

	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
		if (p + 3 >= taken[i].first && p <= taken[i].last)
			return true;
	return false;
}

static void touch_port(uint16_t p, uint64_t x)
{
	switch (x >> 60 & 7) {
	case 0:
	case 1:
		outb(p, (uint8_t)x);
		break;
	case 2:
		outw(p, (uint16_t)x);
		break;
	case 3:
		outl(p, (uint32_t)x);
		break;
	case 4:
		inw(p);
		break;
	case 5:
		inl(p);
		break;
	default:
		inb(p);
	}
}

static void storm_ports(void)
{
	for (uint32_t i = 0; i < ACCESSES;) {
		uint64_t x = rnd();

		if (port_is_taken((uint16_t)x))
			continue;
		touch_port((uint16_t)x, x >> 3);
		i++;
	}
	check(true, "storm on %u ports", ACCESSES);
}

static void touch_one(uint64_t a, uint64_t x)
{
	switch (x >> 60 & 7) {
	case 0:
		wr8(a, (uint8_t)x);
		break;
	case 1:
		wr16(a & ~1ul, (uint16_t)x);
		break;
	case 2:
		wr32(a & ~3ul, (uint32_t)x);
		break;
	case 3:
		wr64(a & ~7ul, x);
		break;
	case 4:
		rd64(a & ~7ul);
		break;
	case 5:
		wr32(a | 1, (uint32_t)x);
		break;
	default:
		rd8(a);
		wr8(a, (uint8_t)x);
	}
}

static void storm_addresses(void)
{
	for (uint32_t i = 0; i < ACCESSES; i++) {
		uint64_t x = rnd();

		touch_one(HOLES + (x >> 5 & 0x3ffffff), x);
	}
	check(true, "storm on %u addresses", ACCESSES);
}

/*
 * The chips: what is written is bent where it would reset the machine or power it off (CMOS index
 * 0x8f, command 0xfe, sleep control), or interrupt this CPU in a way that it cannot refuse.
 */
static uint64_t bend(uint16_t p, uint64_t x)
{
	if (p >= 0x61 && p <= 0x64)
		return x & 0x0101010101010101;
	if (p == 0x70 || p == 0x71)
		return x | 0x0101010101010101;
	if (p >= 0x600 && p <= 0x607)
		return (x & 0xdcdcdcdcdcdcdcdc) | 2;
	return x;
}

static void storm_chips(void)
{
	static const uint16_t ports[][2] = { { 0x3f8, 0x3ff }, { 0x61, 0x64 },	 { 0x70, 0x71 },
					     { 0x80, 0x80 },   { 0xe9, 0xe9 },	 { 0x402, 0x402 },
					     { 0x600, 0x60b }, { 0xcf8, 0xcfb }, { 0x510, 0x51b } };
	const uint64_t n_ports = sizeof ports / sizeof ports[0];

	for (uint32_t i = 0; i < CHIP_ACCESSES; i++) {
		uint64_t x = rnd(), k = (x >> 52) % n_ports;
		uint16_t n = (uint16_t)(ports[k][1] - ports[k][0] + 1);
		uint16_t p = (uint16_t)(ports[k][0] + (x >> 40) % n);

		touch_port(p, bend(p, x << 12 | (rnd() & 0xfff)));
	}
	outb(0x3fb, 3); /* COM1 as guest_main() sets it, and nothing in its FIFO */
	outb(0x3f9, 0);
	outb(0x3fc, 8);
	outb(0x3fa, 7);
	print("\n");
	check(inb(0x3fd) == 0x60, "storm on the chips' ports");
}

/* IOAPIC: every register, with modes that a CPU may refuse for itself. */
static void storm_ioapic(void)
{
	for (uint32_t i = 0; i < CHIP_ACCESSES; i++) {
		uint64_t x = rnd();
		uint32_t reg = (uint32_t)(x & 0x100 ? x >> 24 & 0xff : x % 0x40);

		wr32(0xfec00000, reg);
		if (x & 0x200)
			rd32(0xfec00010);
		else if (x & 0xc00)
			wr32(0xfec00010, ((uint32_t)(x >> 32) & ~0x600u) | 0x20);
		else
			touch_one(0xfec00000 + (x >> 16 & 0x1f), x & ~0x0000060000000600ul);
		if (!(i & 15))
			outb(0x3f9, i & 16 ? 2 : 0); /* COM1 pulls its pin now and then */
	}
	outb(0x3f9, 0);
	for (uint32_t pin = 0; pin < 24; pin++)
		ioapic_mask(pin);
	wr32(0xfec00000, 1);
	check((rd32(0xfec00010) & 0xff) == 0x11, "storm on the IOAPIC");
}

/* The byte that tells of events of the machine: reading clears it, writing is nothing. */
static void storm_events(void)
{
	uint64_t at = acpi_region("GDST");

	if (!at)
		return;
	map(at, 1);
	for (uint32_t i = 0; i < 256; i++)
		touch_one(at, rnd());
	check(!rd8(at), "storm on the byte of events");
}

/* Every byte of the first 256 of each function is written and put back as it was. */
static void storm_config(void)
{
	uint32_t changed = 0;

	for (uint32_t bdf = 0; bdf < 256; bdf += 8) {
		uint32_t id = pci_rd32(bdf, 0);

		for (uint32_t r = 0; id != ~0u && r < 256; r++) {
			uint32_t was = pci_rd32(bdf, r & ~3u);

			pci_wr8(bdf, r, (uint8_t)rnd());
			pci_wr32(bdf, r & ~3u, was);
		}
		changed += pci_rd32(bdf, 0) != id;
	}
	check(!changed, "storm on configuration space");
}

/* The register areas once more, byte by byte. */
static void storm_registers(struct vdev *d, uint64_t len)
{
	const uint64_t area[] = { d->common, d->isr, d->config, d->notify, d->msix };

	for (size_t i = 0; i < sizeof area / sizeof area[0]; i++)
		for (uint64_t o = 0; area[i] && o < len; o++)
			touch_one(area[i] + o, rnd());
}

/*
 * One byte in seven of the BAR's registers and of the start of its MSI-X table; of the rest, which
 * is one long table, one in 251, or every byte with the word `every`. Each is an exit.
 */
static void storm_bar(struct vdev *d)
{
	bool full = word("every", NULL);

	for (uint64_t o = 0; o + 8 <= d->bar_size; o += full ? 1 : o < 0x8400 ? 7 : 251)
		touch_one(d->bar + o, rnd());
}

/* Each kind of device once, and a queue of it that needs nobody outside. */
static void storm_devices(bool bars)
{
	static struct vdev d;
	uint64_t done = 0, len = bars ? 0x400 : 0x100;

	for (const struct target *t = attack_targets; t->name; t++) {
		if (t->lazy || done >> t->type & 1 || !vdev_find(&d, t->type, 0))
			continue;
		done |= 1ul << t->type;
		if (bars)
			storm_bar(&d);
		storm_registers(&d, len);
		vdev_start(&d, t->features);
		storm_registers(&d, len);
		bool works = vdev_start(&d, t->features) && t->works(&d, &d.q[t->queue]);

		check(works, "%s works after the storm on its %s", t->name,
		      bars ? "BAR" : "registers");
		vdev_reset(&d);
	}
}

/* Functions that are no virtio devices. */
static void storm_others(void)
{
	for (uint32_t bdf = 8; bdf < 256; bdf += 8) {
		uint64_t size, a;
		uint16_t id = pci_rd16(bdf, 0);

		if (id == 0xffff || (id == 0x1af4 && pci_rd16(bdf, 2) - 0x1000u < 0x80))
			continue;
		a = pci_bar(bdf, 0, &size);
		pci_wr16(bdf, 4, 2);
		for (uint32_t i = 0; a && i < CHIP_ACCESSES / 4; i++) {
			uint64_t x = rnd();

			touch_one(a + (x >> 20) % size, x);
		}
		check(pci_rd16(bdf, 0) == id, "storm on function %02x", bdf >> 3);
	}
}

void storm_run(void)
{
	uint64_t only = 0;

	word("storm", &only);
	if (only < 2) {
		storm_ports();
		storm_addresses();
		storm_chips();
		storm_ioapic();
		storm_events();
	}
	if (only != 3) {
		storm_config();
		storm_others();
	}
	storm_devices(only != 3);
}
