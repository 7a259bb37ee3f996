/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks on the registers that every virtio device on PCI has: MSI-X table, BAR, command, the
 * window in configuration space, doorbells, features, status. Interrupts are off on this CPU, and
 * messages of noise are kept to modes that it would only remember. Each attack leaves configuration
 * space as it found it. Specification: virtio 1.3 §4.1; PCI Local Bus 3.0 §6.
 */
#include "attack.h"
#include "guest.h"
#include "pci.h"

#define ROUNDS 300
#define ELSEWHERE 0xd5000000ul /* in the 32-bit aperture, where no BAR is */
#define CMD_MEMORY 2
#define WINDOW_KIND 5

static uint32_t send(struct bout *b)
{
	b->t->chain(b->q);
	vq_put(b->q, 0);
	vq_publish(b->q);
	return 0;
}

/* Has BAR 0 of the device its registers where d says? Two steady ones of the common area. */
static bool answers(const struct vdev *d)
{
	return rd16(d->common + C_NUM_QUEUES) == d->num_queues;
}

static bool silent(uint64_t common)
{
	return rd16(common + C_NUM_QUEUES) == 0xffff && rd32(common) == ~0u;
}

/* ---- MSI-X ---- */

static void msix_control(const struct vdev *d, uint16_t v)
{
	pci_wr16(d->bdf, d->msix_cap + 2, v);
}

/* Mode 0 or 1 and a vector that is no exception, or any mode for a CPU that is not there. */
static void msix_row_of_noise(const struct vdev *d, uint32_t i)
{
	uint64_t e = d->msix + 16ul * i, x = rnd();
	bool nobody = x & 1;

	wr32(e, nobody ? 0xfee55000 | (uint32_t)(x >> 32 & 8) : (uint32_t)x);
	wr32(e + 4, x & 2 ? 0 : (uint32_t)(x >> 20));
	wr32(e + 8, (uint32_t)(x >> 24 & (nobody ? 0xffffff7f : 0xffff01ff)) | 0x20);
	wr32(e + 12, (uint32_t)(x >> 60));
}

static uint32_t msix_noise(struct bout *b)
{
	static const uint16_t control[] = {
		0, 0x8000, 0xc000, 0x4000, 0x8000, 0xffff, 0x8000, 0x7ff
	};

	if (!b->d->msix_cap)
		return O_QUIET;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		if (!(i % 16))
			msix_control(b->d, control[i / 16 % 8]);
		msix_row_of_noise(b->d, (uint32_t)rnd() % (b->d->num_vectors + 2));
		wr16(b->d->common + C_QUEUE_SELECT, b->q->index);
		wr16(b->d->common + C_QUEUE_VECTOR, (uint16_t)(rnd() % (b->d->num_vectors + 1)));
		if (i % 8)
			continue;
		b->q->avail[0] = 0;
		send(b);
	}
	for (uint32_t i = 0; i < b->d->num_vectors; i++)
		wr32(b->d->msix + 16ul * i + 12, 1);
	msix_control(b->d, 0);
	return O_QUIET;
}

static uint32_t msix_pending_is_written(struct bout *b)
{
	uint32_t reg = pci_rd32(b->d->bdf, b->d->msix_cap + 8);
	uint64_t size, pba = pci_bar(b->d->bdf, reg & 7, &size) + (reg & ~7u);
	uint64_t before = rd64(pba);

	for (uint32_t i = 0; i < 64; i += 8)
		wr64(pba + i, ~0ul);
	return rd64(pba) == before ? O_QUIET : O_WRONG;
}

/* ---- BAR ---- */

static bool bar_is_64(uint32_t bdf)
{
	return (pci_rd32(bdf, 0x10) & 6) == 4;
}

static void bar_to(const struct vdev *d, uint64_t a)
{
	if (bar_is_64(d->bdf))
		pci_wr32(d->bdf, 0x14, (uint32_t)(a >> 32));
	pci_wr32(d->bdf, 0x10, (uint32_t)a);
}

/* Quietly back: an address that is half the old one and half the new decodes nowhere. */
static bool bar_back(struct vdev *d)
{
	uint16_t cmd = pci_rd16(d->bdf, 4);

	pci_wr16(d->bdf, 4, (uint16_t)(cmd & ~CMD_MEMORY));
	bar_to(d, d->bar);
	pci_wr16(d->bdf, 4, cmd | CMD_MEMORY);
	return answers(d);
}

static uint32_t bar_off_while_live(struct bout *b)
{
	uint16_t cmd = pci_rd16(b->d->bdf, 4);

	b->t->chain(b->q);
	vq_put(b->q, 0);
	pci_wr16(b->d->bdf, 4, (uint16_t)(cmd & ~CMD_MEMORY));
	bool quiet = silent(b->d->common);

	vq_publish(b->q); /* its doorbell is heard by nobody */
	pci_wr16(b->d->bdf, 4, cmd);
	return quiet && answers(b->d) ? O_QUIET : O_WRONG;
}

static uint32_t bar_moves_while_live(struct bout *b)
{
	uint64_t shift = ELSEWHERE - b->d->bar;
	bool good = true;

	for (uint32_t i = 0; i < 20; i++) {
		bar_to(b->d, ELSEWHERE);
		good &= silent(b->d->common) &&
			rd16(b->d->common + shift + C_NUM_QUEUES) == b->d->num_queues;
		b->t->chain(b->q);
		vq_put(b->q, 0);
		b->q->notify += shift;
		vq_publish(b->q);
		b->q->notify -= shift;
		good &= bar_back(b->d);
	}
	return good ? O_QUIET : O_WRONG;
}

/* Onto every other function's BAR in turn: the other keeps its place. */
static uint32_t bar_onto_others(struct bout *b)
{
	bool good = true;

	for (uint32_t bdf = 8; bdf < 256; bdf += 8) {
		uint64_t a;

		if (bdf == b->d->bdf || pci_rd16(bdf, 0) != 0x1af4)
			continue;
		a = pci_rd32(bdf, 0x10) & ~15u;
		if (bar_is_64(bdf))
			a |= (uint64_t)pci_rd32(bdf, 0x14) << 32;
		if (a >> 32 && !bar_is_64(b->d->bdf))
			continue;
		uint16_t other = rd16(a + C_NUM_QUEUES);

		bar_to(b->d, a);
		good &= rd16(a + C_NUM_QUEUES) == other && silent(b->d->common);
		pci_wr16(bdf, 4, (uint16_t)(pci_rd16(bdf, 4) & ~CMD_MEMORY));
		pci_wr16(b->d->bdf, 4, (uint16_t)(pci_rd16(b->d->bdf, 4) & ~CMD_MEMORY));
		pci_wr16(b->d->bdf, 4, pci_rd16(b->d->bdf, 4) | CMD_MEMORY);
		good &= rd16(a + C_NUM_QUEUES) == b->d->num_queues; /* now the place is free */
		pci_wr16(bdf, 4, pci_rd16(bdf, 4) | CMD_MEMORY);
		good &= rd16(a + C_NUM_QUEUES) == b->d->num_queues;
		good &= bar_back(b->d);
		pci_wr16(bdf, 4, (uint16_t)(pci_rd16(bdf, 4) & ~CMD_MEMORY));
		pci_wr16(bdf, 4, pci_rd16(bdf, 4) | CMD_MEMORY);
		good &= rd16(a + C_NUM_QUEUES) == other;
	}
	return good ? O_QUIET : O_WRONG;
}

static uint32_t bar_onto_the_platform(struct bout *b)
{
	static const uint64_t places[] = { 0,	       0x100000,   HEAP,
					   0xe8000000, 0xfec00000, 0xfee00000,
					   0xfff80000, 0xf0000000, 0xbff80000 };
	uint32_t version, mcfg = rd32(0xe8000000), ram = rd32(HEAP);
	bool good = true;

	wr32(0xfec00000, 1);
	version = rd32(0xfec00010);
	for (uint32_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		bar_to(b->d, places[i]);
		wr32(0xfec00000, 1);
		good &= rd32(0xfec00010) == version && rd32(0xe8000000) == mcfg &&
			rd32(HEAP) == ram && silent(b->d->common);
	}
	for (uint32_t i = 0; i < 64; i++)
		bar_to(b->d, rnd() & ~0xffffful & (i & 1 ? 0xfffffffful : ~0ul));
	return bar_back(b->d) && good ? O_QUIET : O_WRONG;
}

/* ---- configuration space ---- */

static uint32_t window_of(const struct vdev *d)
{
	uint32_t p = pci_cap(d->bdf, 9, 0);

	while (p && pci_rd8(d->bdf, p + 3) != WINDOW_KIND)
		p = pci_cap(d->bdf, 9, p);
	return p;
}

static uint32_t window_noise(struct bout *b)
{
	uint32_t w = window_of(b->d), bdf = b->d->bdf;

	for (uint32_t i = 0; w && i < ROUNDS; i++) {
		uint64_t x = rnd();

		pci_wr8(bdf, w + 4, x & 7 ? 0 : (uint8_t)(x >> 8));
		pci_wr32(bdf, w + 8, (uint32_t)(x & 0x70 ? x >> 32 & 0x3f : x >> 32));
		pci_wr32(bdf, w + 12, x & 0x300 ? 1u << (x >> 12 & 3) : (uint32_t)(x >> 16));
		if (x & 1ul << 62)
			pci_rd32(bdf, w + 16);
		else
			pci_wr32(bdf, w + 16, (uint32_t)rnd() & (x & 1ul << 61 ? ~0u : 0xff));
	}
	pci_wr32(bdf, w + 8, 0);
	pci_wr32(bdf, w + 12, 0);
	return O_QUIET;
}

/* Random writes to the whole header and all capabilities, by both mechanisms. */
static uint32_t config_space_noise(struct bout *b)
{
	uint32_t bdf = b->d->bdf, id = pci_rd32(bdf, 0), class = pci_rd32(bdf, 8);
	uint16_t cmd = pci_rd16(bdf, 4);
	uint64_t ecam = 0xe8000000ul + bdf * 4096ul;
	bool good;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint64_t x = rnd();
		uint32_t r = (uint32_t)(x & 0xff);

		if (r - b->d->msix_cap < 4)
			continue; /* msix-noise has it, with a table that is known */
		if (x & 0x10000)
			wr32(ecam + (x >> 20 & 0xffc), (uint32_t)(x >> 32) & ~0x80000000u);
		else if (x & 0x20000)
			pci_wr8(bdf, r, (uint8_t)(x >> 32));
		else
			pci_wr32(bdf, r & 0xfc, (uint32_t)(x >> 32) & ~0x80000000u);
	}
	good = pci_rd32(bdf, 0) == id && pci_rd32(bdf, 8) == class;
	msix_control(b->d, 0);
	pci_wr16(bdf, 4, cmd);
	return bar_back(b->d) && good ? O_QUIET : O_WRONG;
}

/* ---- the common area ---- */

static void ring_bells(const struct vdev *d, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t x = rnd(), a = d->notify + (x >> 8 & 15) * d->notify_multiplier;

		if (x & 1)
			wr16(a, (uint16_t)(x >> 32));
		else if (x & 2)
			wr32(a, (uint32_t)(x >> 32));
		else
			wr8(a + (x >> 16 & 3), (uint8_t)x);
	}
}

static uint32_t doorbell_storm(struct bout *b)
{
	ring_bells(b->d, 2000);
	return O_QUIET;
}

static uint32_t doorbells_early(struct bout *b)
{
	ring_bells(b->d, 100);
	for (uint16_t i = 0; i < b->d->num_queues && i < QUEUES_MAX; i++) {
		wr16(b->d->common + C_QUEUE_SELECT, i);
		wr16(b->d->common + C_QUEUE_ENABLE, 1);
	}
	ring_bells(b->d, 100);
	send(b);
	ring_bells(b->d, 100);
	return b->q->used[1] ? O_WRONG : O_QUIET;
}

/* Each bit that is not offered, by itself: FEATURES_OK must not stay. */
static uint32_t features_one_by_one(struct bout *b)
{
	uint32_t wrong = 0;

	for (uint32_t bit = 0; bit < 64; bit++) {
		uint64_t f = b->d->offered | 1ul << bit;

		if (b->d->offered & 1ul << bit || !vdev_reset(b->d))
			continue;
		vdev_set_status(b->d, S_ACK | S_DRIVER);
		for (uint32_t i = 0; i < 2; i++) {
			wr32(b->d->common + C_DRIVER_FEATURE_SELECT, i);
			wr32(b->d->common + C_DRIVER_FEATURE, (uint32_t)(f >> (32 * i)));
		}
		vdev_set_status(b->d, S_ACK | S_DRIVER | S_FEATURES_OK);
		wrong += vdev_status(b->d) & S_FEATURES_OK ? 1 : 0;
		vdev_set_status(b->d, S_ACK | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
		vq_kick(b->q);
	}
	return wrong ? O_WRONG : O_QUIET;
}

static uint32_t features_change_while_live(struct bout *b)
{
	for (uint32_t i = 0; i < 64; i++) {
		wr32(b->d->common + C_DRIVER_FEATURE_SELECT, i & 1);
		wr32(b->d->common + C_DRIVER_FEATURE, (uint32_t)rnd());
		vdev_set_status(b->d, (uint8_t)(rnd() | S_ACK));
		send(b);
	}
	return O_QUIET;
}

/* Every register of the common area, at every width, in any order, half of it with sense. */
static uint32_t common_noise(struct bout *b)
{
	for (uint32_t i = 0; i < 1500; i++) {
		uint64_t x = rnd(), a = b->d->common + (x & 0x3f);
		uint32_t v = (uint32_t)(x & 0x40 ? x >> 32 : x >> 32 & 0xf);

		switch (x >> 8 & 7) {
		case 0:
			wr8(a, (uint8_t)v);
			break;
		case 1:
		case 2:
			wr16(a & ~1ul, (uint16_t)v);
			break;
		case 3:
			wr32(a & ~3ul, v);
			break;
		case 4:
			wr64(a & ~7ul, (x & 0x80 ? HEAP : 0) + v);
			break;
		case 5:
			rd64(a & ~7ul);
			break;
		case 6:
			wr8(b->d->common + C_STATUS, (uint8_t)(v & 0x4f));
			break;
		default:
			wr16(b->q->notify, (uint16_t)v);
		}
	}
	return O_QUIET;
}

/* Resets one after another, each at another point of the way up. */
static uint32_t reset_storm(struct bout *b)
{
	for (uint32_t i = 0; i < 60; i++) {
		switch (i % 4) {
		case 0:
			vdev_set_status(b->d, S_ACK | S_DRIVER);
			break;
		case 1:
			if (!vdev_features(b->d, b->t->features))
				return O_WRONG;
			break;
		default:
			if (!vdev_start(b->d, b->t->features))
				return O_WRONG;
			send(b);
		}
		vdev_set_status(b->d, 0);
		vq_kick(b->q);
		vdev_set_status(b->d, 0);
	}
	return vdev_status(b->d) ? O_WRONG : O_QUIET;
}

const struct attack transport_attacks[] = {
	{ "msix-noise", LIVE, O_QUIET, msix_noise },
	{ "msix-pending-is-written", LIVE, O_QUIET, msix_pending_is_written },
	{ "bar-off-while-live", LIVE, O_QUIET, bar_off_while_live },
	{ "bar-moves-while-live", LIVE, O_QUIET, bar_moves_while_live },
	{ "bar-onto-others", LIVE, O_QUIET, bar_onto_others },
	{ "bar-onto-the-platform", LIVE, O_QUIET, bar_onto_the_platform },
	{ "window-noise", LIVE, O_QUIET, window_noise },
	{ "config-space-noise", LIVE, O_QUIET, config_space_noise },
	{ "doorbell-storm", LIVE, O_QUIET, doorbell_storm },
	{ "doorbells-before-driver-ok", QUEUES_OFF, O_QUIET, doorbells_early },
	{ "features-one-by-one", QUEUES_OFF, O_QUIET, features_one_by_one },
	{ "features-change-while-live", LIVE, O_QUIET, features_change_while_live },
	{ "common-noise", LIVE, O_QUIET, common_noise },
	{ "common-noise-before-driver-ok", QUEUES_OFF, O_QUIET, common_noise },
	{ "reset-storm", LIVE, O_QUIET, reset_storm },
	{ 0 },
};
