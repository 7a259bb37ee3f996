/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-iommu by hand, with the devices behind it: a disk and a network card do their work through
 * mappings, and every way in which an access leads nowhere is tried. Devices are given addresses
 * SHIFT above where their memory lies. Specification: virtio 1.3 §5.13.
 */
#include "attack.h"
#include "drivers.h"
#include "guest.h"
#include "pci.h"

#define F_PLATFORM (1ul << 33)
#define SHIFT 0x40000000000ul /* no RAM is there */
#define PAGES_AT 0	      /* offsets in the configuration */
#define INPUT_AT 8
#define PROBE_AT 32
#define BYPASS_AT 36
#define STATUS 0x100 /* offset in a queue's buffer */
#define EVENTS 8
#define READ 1u
#define WRITE 2u
#define DOMAIN 7u
#define DATA 0x1000 /* of a disk's request */
enum { ATTACH = 1, DETACH, MAP, UNMAP, PROBE };
enum { OK = 0, UNSUPP = 2, INVAL = 4, RANGE = 5, NOENT = 6 };
enum { R_DOMAIN = 1, R_MAPPING };

static struct vdev iommu; /* also that of an attack */

/* A request of len bytes in the buffer, and room bytes and the tail for the answer: the status, or -1. */
static int ask(struct vq *q, uint32_t len, uint32_t room)
{
	memset((void *)(q->buf + STATUS), 0xff, room + 4);
	vq_desc(q, 0, (struct desc){ q->buf, len, D_NEXT, 1 });
	vq_desc(q, 1, (struct desc){ q->buf + STATUS, room + 4, D_WRITE, 0 });
	return vq_once(q, 5000000) < 0 ? -1 : rd8(q->buf + STATUS + room);
}

static uint64_t fresh(struct vq *q, uint8_t type, uint32_t word)
{
	memset((void *)q->buf, 0, 0x100);
	wr8(q->buf, type);
	wr32(q->buf + 4, word);
	return q->buf;
}

static int attach(uint8_t type, uint32_t domain, uint32_t endpoint)
{
	uint64_t b = fresh(&iommu.q[0], type, domain);

	wr32(b + 8, endpoint);
	return ask(&iommu.q[0], 20, 0);
}

static int map_range(uint64_t first, uint64_t last, uint64_t to, uint32_t flags)
{
	uint64_t b = fresh(&iommu.q[0], MAP, DOMAIN);

	wr64(b + 8, first);
	wr64(b + 16, last);
	wr64(b + 24, to);
	wr32(b + 32, flags);
	return ask(&iommu.q[0], 36, 0);
}

static int unmap(uint64_t first, uint64_t last)
{
	uint64_t b = fresh(&iommu.q[0], UNMAP, DOMAIN);

	wr64(b + 8, first);
	wr64(b + 16, last);
	return ask(&iommu.q[0], 28, 0);
}

static int probe(uint32_t endpoint)
{
	fresh(&iommu.q[0], PROBE, endpoint);
	return ask(&iommu.q[0], 72, rd32(iommu.config + PROBE_AT));
}

void viommu_chain(struct vq *q)
{
	fresh(q, 0x77, 0);
	wr8(q->buf + STATUS, 0xff);
	vq_desc(q, 0, (struct desc){ q->buf, 20, D_NEXT, 1 });
	vq_desc(q, 1, (struct desc){ q->buf + STATUS, 4, D_WRITE, 0 });
}

bool viommu_works(struct vdev *d, struct vq *q)
{
	(void)d;
	viommu_chain(q);
	return vq_once(q, 5000000) == 4 && rd8(q->buf + STATUS) == UNSUPP;
}

void viommu_event_chain(struct vq *q)
{
	memset((void *)q->buf, 0, 64);
	vq_desc(q, 0, (struct desc){ q->buf, 64, D_WRITE, 0 });
}

bool viommu_event_works(struct vdev *d, struct vq *q)
{
	viommu_event_chain(q);
	vq_put(q, 0);
	vq_publish(q);
	return !(vdev_status(d) & S_NEEDS_RESET);
}

/* --- faults --- */

static void offer_events(void)
{
	struct vq *q = &iommu.q[1];

	for (uint16_t i = 0; i < EVENTS; i++) {
		vq_desc(q, i, (struct desc){ q->buf + 64 * i, 64, D_WRITE, 0 });
		vq_put(q, i);
	}
	vq_publish(q);
}

/* The next report: of this endpoint, in a range, for this reason. Its buffer goes back. */
static bool reported(uint32_t endpoint, uint32_t reason, uint32_t flags, uint64_t from, uint64_t n)
{
	struct vq *q = &iommu.q[1];
	uint32_t len;

	if (!vq_wait(q, 2000000))
		return false;
	uint32_t head = vq_take(q, &len);
	uint64_t b = q->buf + 64 * head, addr = rd64(b + 16);
	bool ok = len == 24 && rd8(b) == reason && rd32(b + 4) == (flags | 0x100) &&
		  rd32(b + 8) == endpoint && addr >= from && addr < from + n;

	if (!ok)
		print("R3 FAULT len=%u reason=%u flags=%x endpoint=%x at=%lx\n", len, rd8(b),
		      rd32(b + 4), rd32(b + 8), addr);
	vq_put(q, (uint16_t)head);
	vq_publish(q);
	return ok;
}

static bool breaks(const struct vdev *d)
{
	uint64_t t = rdtsc();

	while (!(vdev_status(d) & S_NEEDS_RESET))
		if (lapse(t, 2000000))
			return false;
	return true;
}

/* --- the disk --- */

static uint32_t endpoint_of(const struct vdev *d)
{
	return d->bdf;
}

/* All memory of queue 0, page by page, at SHIFT. */
static bool map_queue(const struct vq *q, uint32_t flags)
{
	uint64_t m = (uint64_t)q->desc;
	bool ok = true;

	for (uint64_t i = 0; i < 0x10000; i += 4096)
		ok &= map_range(SHIFT + m + i, SHIFT + m + i + 4095, m + i, READ | WRITE) == OK;
	for (uint64_t i = 0; i < 0x4000; i += 4096)
		ok &= map_range(SHIFT + q->buf + i, SHIFT + q->buf + i + 4095, q->buf + i, flags) ==
		      OK;
	return ok;
}

static bool unmap_all(void)
{
	return unmap(0, ~0ul) == OK;
}

static void disk_nowhere(struct vdev *d)
{
	wr8(iommu.config + BYPASS_AT, 0);
	check(rd8(iommu.config + BYPASS_AT) == 0, "iommu lets nothing pass");
	vdev_start(d, F_PLATFORM);
	check(breaks(d), "a disk without a domain finds no rings");
	check(reported(endpoint_of(d), R_DOMAIN, READ, (uint64_t)d->q[0].desc, 4096),
	      "iommu reports that it has no domain");
}

static void disk_mapped(struct vdev *d)
{
	struct vq *q = &d->q[0];

	check(attach(ATTACH, DOMAIN, endpoint_of(d)) == OK, "disk is attached");
	check(map_queue(q, READ | WRITE), "disk's memory is mapped");
	d->shift = SHIFT;
	check(vdev_start(d, F_PLATFORM), "disk starts behind the iommu");
	for (uint32_t i = 0; i < 20; i++)
		if (!check(blk_works(d, q), "disk reads through mappings"))
			break;
	check(vdev_start(d, F_PLATFORM | F_INDIRECT | F_EVENT_IDX) && blk_works(d, q),
	      "and with event indices");
	check(unmap(SHIFT + q->buf + DATA, SHIFT + q->buf + DATA + 4095) == OK &&
		      map_range(SHIFT + q->buf + DATA, SHIFT + q->buf + DATA + 4095, q->buf + DATA,
				READ) == OK &&
		      blk_works(d, q) == false && breaks(d),
	      "disk may not write where it may only read");
	check(reported(endpoint_of(d), R_MAPPING, WRITE, SHIFT + q->buf + DATA, 4096),
	      "iommu reports the write");
}

/* Whoever unmaps a ring that is in use has broken the device, and is told that the memory is free. */
static void disk_unmapped_live(struct vdev *d)
{
	struct vq *q = &d->q[0];
	uint64_t m = (uint64_t)q->desc;

	unmap_all();
	check(map_queue(q, READ | WRITE) && vdev_start(d, F_PLATFORM) && blk_works(d, q),
	      "disk works again");
	check(unmap(SHIFT + m, SHIFT + m + 0xffff) == OK, "its rings are unmapped under it");
	check(vdev_status(d) & S_NEEDS_RESET, "which breaks it off before the answer");
	memset((void *)(m + 0x8000), 0, 0x1000);
	vq_put(q, 0);
	vq_publish(q);
	vq_kick(q);
	delay_us(20000);
	check(!q->used[1] && !q->used[0], "and nothing is written any more");
	check(unmap_all() && map_queue(q, READ | WRITE) && vdev_start(d, F_PLATFORM) &&
		      blk_works(d, q),
	      "a reset heals it");
	check(attach(DETACH, DOMAIN, endpoint_of(d)) == OK && vdev_status(d) & S_NEEDS_RESET,
	      "so does a detached domain break it");
}

/* Nearly all memory of the card at once, in big pages, whatever it lies in. */
static void card(struct vdev *d)
{
	uint64_t from = HEAP, to = HEAP + 0x8000000 - 1;

	check(attach(ATTACH, DOMAIN, endpoint_of(d)) == OK &&
		      map_range(SHIFT + from, SHIFT + to, from, READ | WRITE) == OK,
	      "card is attached and mapped");
	d->shift = SHIFT;
	if (!check(vdev_start(d, F_PLATFORM), "card starts behind the iommu"))
		return;
	check(net_tx_works(d, &d->q[1]), "card sends through mappings");
	if (word("feed", NULL))
		check(net_rx_works(d, &d->q[0]), "card receives through mappings");
	memset((void *)d->q[0].buf, 0x5a, 2048);
	net_rx_chain(&d->q[0]);
	vq_put(&d->q[0], 0);
	vq_publish(&d->q[0]);
	delay_us(2000);
	check(unmap_all(), "all is unmapped while a buffer waits for a frame");
	memset((void *)d->q[0].buf, 0x5a, 2048);
	delay_us(50000);
	check(sum8(d->q[0].buf, 2048) == sum8(d->q[0].buf, 1) * 2048 % 256 &&
		      rd8(d->q[0].buf) == 0x5a && rd8(d->q[0].buf + 64) == 0x5a,
	      "no frame is written there any more");
	check(vdev_status(d) & S_NEEDS_RESET, "the card is broken off");
	check(attach(DETACH, DOMAIN, endpoint_of(d)) == OK, "card is detached");
	d->shift = 0;
	check(vdev_reset(d), "card is reset");
}

/* --- what is answered to what is asked wrong --- */

static void wrong(uint32_t endpoint)
{
	uint64_t b, top = rd64(iommu.config + INPUT_AT + 8);

	check(attach(ATTACH, DOMAIN, 0xffff) == NOENT, "attach of nobody: NOENT");
	check(attach(DETACH, DOMAIN, endpoint) == INVAL, "detach of who is not attached: INVAL");
	check(map_range(0, 4095, HEAP, READ) == NOENT, "map in no domain: NOENT");
	check(unmap(0, 4095) == NOENT, "unmap in no domain: NOENT");
	check(attach(ATTACH, DOMAIN, endpoint) == OK, "attach: OK");
	check(map_range(0, 4095, HEAP, READ) == OK, "map: OK");
	check(map_range(0, 8191, HEAP, READ) == INVAL, "map over a mapping: INVAL");
	check(map_range(1, 4096, HEAP, READ) == RANGE, "map of odd addresses: RANGE");
	check(map_range(8192, 8192 + 511, HEAP, READ) == RANGE, "map of less than a page: RANGE");
	check(map_range(16384, 8191, HEAP, READ) == RANGE, "map backwards: RANGE");
	check(map_range(8192, 12287, HEAP, 0x80) == INVAL, "map with unknown flags: INVAL");
	check(map_range(0xfee00000, 0xfee00fff, HEAP, WRITE) == INVAL, "map of messages: INVAL");
	if (top != ~0ul)
		check(map_range(top + 1, top + 4096, HEAP, READ) == RANGE,
		      "map past the address width: RANGE");
	check(map_range(0x10000, 0x11fff, HEAP, READ) == OK, "map of two pages: OK");
	check(unmap(0x10000, 0x10fff) == RANGE, "unmap of one of them: RANGE");
	check(unmap(0x11000, 0x11fff) == RANGE, "unmap of the other: RANGE");
	check(unmap(0x20000, 0x20fff) == OK, "unmap of nothing: OK");
	check(unmap(8191, 0) == RANGE, "unmap backwards: RANGE");
	b = fresh(&iommu.q[0], ATTACH, DOMAIN);
	wr32(b + 8, endpoint);
	wr32(b + 12, 2);
	check(ask(&iommu.q[0], 20, 0) == INVAL, "attach with unknown flags: INVAL");
	wr32(b + 12, 1);
	check(ask(&iommu.q[0], 20, 0) == INVAL, "attach to a domain of another kind: INVAL");
	wr32(b + 4, DOMAIN + 1);
	check(ask(&iommu.q[0], 20, 0) == OK, "attach to a domain that lets pass: OK");
	check(map_range(0, 4095, HEAP, READ) == NOENT, "the domain left alone is gone: NOENT");
	check(attach(DETACH, DOMAIN + 1, endpoint) == OK, "detach: OK");
	fresh(&iommu.q[0], ATTACH, DOMAIN);
	check(ask(&iommu.q[0], 7, 0) == INVAL, "half a request: INVAL");
	check(probe(0xffff) == NOENT, "probe of nobody: NOENT");
	check(probe(endpoint) == OK, "probe: OK");
	b = iommu.q[0].buf + STATUS;
	check(rd16(b) == 1 && rd16(b + 2) == 20 && rd8(b + 4) == 1 && rd64(b + 8) == 0xfee00000 &&
		      rd64(b + 16) == 0xfeefffff,
	      "it tells where messages are");
}

void viommu_run(void)
{
	static struct vdev disk, net;
	bool has_disk = vdev_find(&disk, VIRTIO_BLK, 0), has_net = vdev_find(&net, VIRTIO_NET, 0);

	if (!check(vdev_find(&iommu, VIRTIO_IOMMU, 0) && vdev_start(&iommu, ~0ul), "iommu starts"))
		return;
	/* each has its queues where nobody else has them */
	disk.home = iommu.num_queues;
	net.home = (uint16_t)(disk.home + QUEUES_MAX);
	offer_events();
	print("R3 IOMMU %02x offered=%lx pages=%lx last=%lx bypass=%u\n", iommu.bdf >> 3,
	      iommu.offered, rd64(iommu.config + PAGES_AT), rd64(iommu.config + INPUT_AT + 8),
	      rd8(iommu.config + BYPASS_AT));
	check(vdev_start(&disk, F_PLATFORM) && disk.features & F_PLATFORM,
	      "disk stands behind the iommu");
	check(blk_works(&disk, &disk.q[0]), "disk works while everything passes");
	vdev_reset(&disk);
	wrong(endpoint_of(&disk));
	if (!has_disk)
		return;
	disk_nowhere(&disk);
	disk_mapped(&disk);
	disk_unmapped_live(&disk);
	disk.shift = 0;
	vdev_reset(&disk);
	if (has_net)
		card(&net);
	wr8(iommu.config + BYPASS_AT, 1);
	check(vdev_start(&disk, F_PLATFORM) && blk_works(&disk, &disk.q[0]),
	      "everything passes again");
	vdev_reset(&disk);
	vdev_reset(&iommu);
}

/* --- attacks on requests --- */

static uint32_t send(struct vq *q)
{
	vq_put(q, 0);
	vq_publish(q);
	return 0;
}

static uint32_t req_empty(struct bout *b)
{
	viommu_chain(b->q);
	vq_desc(b->q, 0, (struct desc){ b->q->buf + STATUS, 4, D_WRITE, 0 });
	return send(b->q);
}

static uint32_t req_no_tail(struct bout *b)
{
	viommu_chain(b->q);
	b->q->desc[0].flags = 0;
	return send(b->q);
}

static uint32_t req_tail_of_one(struct bout *b)
{
	viommu_chain(b->q);
	b->q->desc[1].len = 1;
	return send(b->q);
}

static uint32_t req_long(struct bout *b)
{
	viommu_chain(b->q);
	b->q->desc[0].len = 0x80000;
	return send(b->q);
}

/* Each type, its fields all ones. */
static uint32_t all_ones(struct bout *b, uint8_t type)
{
	viommu_chain(b->q);
	memset((void *)b->q->buf, 0xff, 0x100);
	wr8(b->q->buf, type);
	wr8(b->q->buf + STATUS, 0xff);
	b->q->desc[0].len = 72;
	return send(b->q);
}

static uint32_t req_attach(struct bout *b)
{
	return all_ones(b, ATTACH);
}

static uint32_t req_detach(struct bout *b)
{
	return all_ones(b, DETACH);
}

static uint32_t req_map(struct bout *b)
{
	return all_ones(b, MAP);
}

static uint32_t req_unmap(struct bout *b)
{
	return all_ones(b, UNMAP);
}

static uint32_t req_probe(struct bout *b)
{
	return all_ones(b, PROBE);
}

static uint32_t req_probe_without_room(struct bout *b)
{
	viommu_chain(b->q);
	wr8(b->q->buf, PROBE);
	b->q->desc[0].len = 72;
	return send(b->q);
}

/* As many mappings as fit into a while, and then away with all by a reset. */
static uint32_t req_many_maps(struct bout *b)
{
	iommu = *b->d;
	for (uint32_t nth = 0; nth < 256; nth += 8)
		if (attach(ATTACH, DOMAIN, nth) == OK)
			break;
	for (uint64_t i = 0; i < 2000; i++)
		if (map_range(i << 13, (i << 13) + 4095, HEAP, READ) > NOENT)
			return O_WRONG;
	return unmap(0, ~0ul) > NOENT ? O_WRONG : O_USED;
}

const struct attack viommu_attacks[] = {
	{ "no-request", LIVE, O_ERROR, req_empty },
	{ "no-tail", LIVE, O_USED | O_ERROR, req_no_tail },
	{ "tail-of-1", LIVE, O_USED | O_ERROR, req_tail_of_one },
	{ "long", LIVE, O_ERROR, req_long },
	{ "attach-ones", LIVE, O_ERROR, req_attach },
	{ "detach-ones", LIVE, O_ERROR, req_detach },
	{ "map-ones", LIVE, O_ERROR, req_map },
	{ "unmap-ones", LIVE, O_ERROR, req_unmap },
	{ "probe-ones", LIVE, O_ERROR, req_probe },
	{ "probe-without-room", LIVE, O_ERROR, req_probe_without_room },
	{ "many-maps", LIVE, O_USED, req_many_maps },
	{ 0 },
};
