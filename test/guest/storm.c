/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storms: many accesses with values from a fixed series to where nothing is, to every byte of
 * configuration space, and to every byte of every BAR. Nothing is expected of them but that the
 * VM lives, that devices work after a reset, and that it ends in order.
 */
#include "drivers.h"
#include "guest.h"
#include "pci.h"

#define ACCESSES 10000

/* Ports that end the VM, move its clock, are ours, or select configuration space. */
static bool port_is_spared(uint16_t p)
{
	return (p >= 0x3f8 && p <= 0x3ff) || (p >= 0x600 && p <= 0x613) || p == 0x64 || p == 0x92 ||
	       (p >= 0xcf8 && p <= 0xcff) || p == 0xf4 || p == 0x402 || p == 0xe9 || p == 0x80 ||
	       (p >= 0x20 && p <= 0x21) || (p >= 0xa0 && p <= 0xa1);
}

static void storm_ports(void)
{
	for (uint32_t i = 0; i < ACCESSES; i++) {
		uint64_t x = rnd();
		uint16_t p = (uint16_t)x;

		if (port_is_spared(p) || port_is_spared((uint16_t)(p + 3)))
			continue;
		if (x & 1ul << 40)
			outb(p, (uint8_t)(x >> 20));
		else if (x & 1ul << 41)
			outl(p, (uint32_t)(x >> 20));
		else if (x & 1ul << 42)
			outw(p, (uint16_t)(x >> 20));
		else
			inl(p);
	}
	check(true, "storm on ports");
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

		touch_one(0xd8000000ul + (x & 0x3ffffff), x);
	}
	check(true, "storm on addresses");
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
static void storm_registers(struct vdev *d)
{
	const uint64_t area[] = { d->common, d->isr, d->config, d->notify, d->msix };

	for (size_t i = 0; i < sizeof area / sizeof area[0]; i++)
		for (uint64_t o = 0; area[i] && o < 0x400; o++)
			touch_one(area[i] + o, rnd());
}

/*
 * Every byte of the BAR's registers and of the start of its MSI-X table; of the rest, which is one
 * long table, one byte in 61, or every byte with the word `full`. Each is an exit.
 */
static void storm_bar(struct vdev *d)
{
	for (uint64_t o = 0; o + 8 <= d->bar_size; o += o < 0x8400 || word("full", NULL) ? 1 : 61)
		touch_one(d->bar + o, rnd());
}

static void storm_bars(void)
{
	static const struct {
		uint32_t type, queue;
		bool (*works)(struct vdev *d, struct vq *q);
	} row[] = { { VIRTIO_BLK, 0, blk_works },
		    { VIRTIO_NET, 1, net_tx_works },
		    { VIRTIO_CONSOLE, 1, con_tx_works },
		    { VIRTIO_RNG, 0, rng_works } };
	static struct vdev d;

	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
		if (!vdev_find(&d, row[i].type, 0))
			continue;
		storm_bar(&d);
		storm_registers(&d);
		vdev_start(&d, 0);
		storm_registers(&d);
		check(vdev_start(&d, 0) && row[i].works(&d, &d.q[row[i].queue]),
		      "device %u works after the storm on its BAR", row[i].type);
		vdev_reset(&d);
	}
}

void storm_run(void)
{
	storm_ports();
	storm_addresses();
	storm_config();
	storm_bars();
}
