/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays every attack of the tables on every queue of every device that is there. After each: the
 * device has broken off (NEEDS_RESET), has answered, or has done nothing, as the row allows; the
 * VMM still answers; and after a reset the device does an ordinary request. The word `attack=N`
 * plays only row N-2 of every table.
 */
#include "attack.h"

#include "drivers.h"
#include "guest.h"
#include "pci.h"
#include "told.h"

#define CTRL_VQ (1ul << 17)
#define BALLOON 0x2b /* tell the host, statistics, hints, reports */

const struct target attack_targets[] = {
	{ "blk", VIRTIO_BLK, 0, false, blk_chain, blk_works, 0x100, 0, blk_attacks },
	{ "net-rx", VIRTIO_NET, 0, true, net_rx_chain, net_rx_works, 0, CTRL_VQ, net_rx_attacks },
	{ "net-tx", VIRTIO_NET, 1, false, net_tx_chain, net_tx_works, 0, CTRL_VQ, net_tx_attacks },
	{ "net-ctrl", VIRTIO_NET, -1, false, net_ctrl_chain, net_ctrl_works, 0x100, CTRL_VQ,
	  net_ctrl_attacks },
	{ "con-rx", VIRTIO_CONSOLE, 0, true, con_rx_chain, con_rx_works, 0, 0, NULL },
	{ "con-tx", VIRTIO_CONSOLE, 1, false, con_tx_chain, con_tx_works, 0, 0, NULL },
	{ "rng", VIRTIO_RNG, 0, false, rng_chain, rng_works, 0, 0, NULL },
	{ "iommu", VIRTIO_IOMMU, 0, false, viommu_chain, viommu_works, 0x100, 0, viommu_attacks },
	{ "iommu-events", VIRTIO_IOMMU, 1, true, viommu_event_chain, viommu_event_works, 0, 0,
	  NULL },
	{ "vsock-rx", VIRTIO_VSOCK, 0, true, vsock_rx_chain, vsock_rx_works, 0, 0,
	  vsock_rx_attacks },
	{ "vsock-tx", VIRTIO_VSOCK, 1, false, vsock_tx_chain, vsock_tx_works, 0, 0,
	  vsock_tx_attacks },
	{ "vsock-event", VIRTIO_VSOCK, 2, true, vsock_event_chain, vsock_event_works, 0, 0, NULL },
	{ "watchdog", VIRTIO_WATCHDOG, 0, false, watchdog_chain, watchdog_works, 0, 0, NULL },
	{ "pmem", VIRTIO_PMEM, 0, false, pmem_chain, pmem_works, 0x100, 0, NULL },
	{ "rtc", VIRTIO_RTC, 0, false, vrtc_chain, vrtc_works, 0x100, 0, NULL },
	{ "vmem", VIRTIO_MEM, 0, false, vmem_chain, vmem_works, 0x100, 0, vmem_attacks },
	{ "balloon-inflate", VIRTIO_BALLOON, 0, false, balloon_chain, balloon_works, 0, BALLOON,
	  balloon_attacks },
	{ "balloon-deflate", VIRTIO_BALLOON, 1, false, balloon_chain, balloon_works, 0, BALLOON,
	  balloon_attacks },
	{ "balloon-stats", VIRTIO_BALLOON, 2, true, balloon_stats_chain, balloon_stats_works, 0,
	  BALLOON, NULL },
	{ "balloon-hint", VIRTIO_BALLOON, 3, false, balloon_hint_chain, balloon_hint_works, 0,
	  BALLOON, NULL },
	{ "balloon-report", VIRTIO_BALLOON, 4, false, balloon_report_chain, balloon_works, 0,
	  BALLOON, NULL },
	{ 0 },
};

struct score {
	uint32_t total, passed;
};

uint64_t ram_end(void)
{
	uint64_t a, n;
	uint32_t type;

	for (uint32_t i = 0; (type = told_ram(i, &a, &n)); i++)
		if (type == 1 && a <= HEAP && HEAP < a + n)
			return a + n;
	return HEAP;
}

static const char *outcome_name(uint32_t o)
{
	return o == O_BROKEN  ? "needs-reset"
	       : o == O_QUIET ? "quiet"
	       : o == O_USED  ? "used"
	       : o == O_ERROR ? "error"
			      : "wrong";
}

/* Wait for what comes of an attack: long where something must come, shortly where nothing may. */
static uint32_t watch(const struct vdev *d, struct vq *q, const struct target *t, uint32_t allowed)
{
	bool must_come = !(allowed & O_QUIET);
	uint64_t start = rdtsc(), us = must_come ? 5000000 : 20000;

	do {
		if (vdev_status(d) & S_NEEDS_RESET)
			return O_BROKEN;
		if (q->used[1] != q->last_used) {
			barrier();
			return t->status && rd8(q->buf + t->status) ? O_ERROR : O_USED;
		}
	} while (!lapse(start, us));
	return O_QUIET;
}

static bool prepare(struct vdev *d, const struct target *t, const struct attack *a)
{
	if (a->stage == QUEUES_OFF) {
		if (!vdev_features(d, t->features))
			return false;
		for (uint16_t i = 0; i < d->num_queues && i < QUEUES_MAX; i++)
			vdev_queue(d, i);
		return true;
	}
	return vdev_start(d, t->features | (a->stage == LIVE_IND ? F_INDIRECT | F_EVENT_IDX : 0));
}

/* A row that needs indirect descriptors is nothing to a device that has none. */
static bool applies(const struct vdev *d, const struct attack *a)
{
	return a->stage != LIVE_IND || d->offered & F_INDIRECT;
}

static bool play(struct vdev *d, const struct target *t, const struct attack *a)
{
	uint32_t allowed = a->allowed;

	if (!prepare(d, t, a))
		return check(false, "attack %s %s: the device does not start", t->name, a->name);
	struct vq *q = &d->q[t->queue < 0 ? d->num_queues + t->queue : t->queue];

	if (t->lazy && !word("feed", NULL))
		allowed |= O_QUIET;
	struct bout b = { d, q, t };
	uint32_t out = a->run(&b);

	if (!out)
		out = watch(d, q, t, allowed);
	bool alive = pci_rd16(d->bdf, 0) == 0x1af4, reset = vdev_reset(d);
	bool works = reset && vdev_start(d, t->features) && t->works(d, q);

	return check(out & allowed && alive && works, "attack %s %s: %s%s%s%s", t->name, a->name,
		     outcome_name(out), alive ? "" : ", VMM silent", reset ? "" : ", no reset",
		     works ? "" : ", works no more");
}

static void play_table(struct score *s, struct vdev *d, const struct target *t,
		       const struct attack *table)
{
	uint64_t only = 0;

	word("attack", &only);
	for (size_t i = 0; table && table[i].name; i++) {
		if ((only > 1 && i != only - 2) || !applies(d, &table[i]))
			continue;
		s->total++;
		s->passed += play(d, t, &table[i]);
	}
}

static void play_target(struct score *s, struct vdev *d, const struct target *t)
{
	play_table(s, d, t, ring_attacks);
	play_table(s, d, t, transport_attacks);
	play_table(s, d, t, t->own);
}

void attack_run(void)
{
	static struct vdev d;
	struct score s;

	for (const struct target *t = attack_targets; t->name; t++) {
		if (!vdev_find(&d, t->type, 0))
			continue;
		if (!check(vdev_start(&d, t->features), "attack %s: the device starts", t->name))
			continue;
		if (t->queue < 0 && (!(d.features & CTRL_VQ) || d.num_queues > QUEUES_MAX))
			continue;
		struct vq *q = &d.q[t->queue < 0 ? d.num_queues + t->queue : t->queue];

		s = (struct score){ 0, 0 };
		if (check(t->works(&d, q), "attack %s: works before", t->name))
			play_target(&s, &d, t);
		print("R3 ATTACKS %s total=%u passed=%u\n", t->name, s.total, s.passed);
		vdev_reset(&d);
	}
}
