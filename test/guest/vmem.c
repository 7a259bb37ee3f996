/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mem by hand: plugs what it is asked to, uses it, unplugs it; looks at what is refused, and
 * that other devices find RAM in plugged blocks only. With the word `look` it stands still in
 * between. Specification: virtio 1.3 §5.15.
 */
#include "drivers.h"
#include "guest.h"

#define RESPONSE 0x100
#define LONG 20000000
#define REQUEST 24
#define ANSWER 10

enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
enum { ACK, NACK, BUSY, ERROR };
enum { PLUGGED, UNPLUGGED, MIXED };

/* The configuration, and the blocks that are asked for. */
static struct {
	uint64_t block, addr, region, wanted;
} m;

static void lay(struct vq *q, uint16_t type, uint64_t addr, uint16_t blocks)
{
	memset((void *)q->buf, 0, RESPONSE);
	wr16(q->buf, type);
	wr64(q->buf + 8, addr);
	wr16(q->buf + 16, blocks);
	wr64(q->buf + RESPONSE, ~0ul);
	vq_desc(q, 0, (struct desc){ q->buf, REQUEST, D_NEXT, 1 });
	vq_desc(q, 1, (struct desc){ q->buf + RESPONSE, ANSWER, D_WRITE, 0 });
}

/* The response's type, or -1. */
static int ask(struct vq *q, uint16_t type, uint64_t addr, uint16_t blocks)
{
	lay(q, type, addr, blocks);
	return vq_once(q, LONG) == ANSWER ? rd16(q->buf + RESPONSE) : -1;
}

static bool is_state(struct vq *q, uint64_t addr, uint16_t blocks, uint16_t state)
{
	return ask(q, STATE, addr, blocks) == ACK && rd16(q->buf + RESPONSE + 8) == state;
}

void vmem_chain(struct vq *q)
{
	lay(q, STATE, rd64(q->dev->config + 16), 1);
}

bool vmem_works(struct vdev *d, struct vq *q)
{
	vmem_chain(q);
	(void)d;
	return vq_once(q, LONG) == ANSWER && rd16(q->buf + RESPONSE) == ACK;
}

static uint64_t block_at(uint64_t i)
{
	return m.addr + i * m.block;
}

static bool each_sixteen(struct vq *q, uint16_t type, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i += 16) {
		uint16_t n = to - i < 16 ? (uint16_t)(to - i) : 16;

		if (ask(q, type, block_at(i), n) != ACK)
			return false;
	}
	return true;
}

static void write_blocks(uint64_t from, uint64_t to)
{
	for (uint64_t a = block_at(from); a < block_at(to); a += 4096)
		wr64(a, a);
}

static bool blocks_hold(uint64_t from, uint64_t to)
{
	for (uint64_t a = block_at(from); a < block_at(to); a += 4096)
		if (rd64(a) != a)
			return false;
	return true;
}

static void look(void)
{
	if (word("look", NULL))
		pause_run();
}

/* Another device is told to write there. */
static bool other_writes(struct vdev *other, uint64_t addr)
{
	bool done;

	if (!vdev_start(other, 0))
		return false;
	vq_desc(&other->q[0], 0, (struct desc){ addr, 64, D_WRITE, 0 });
	done = vq_once(&other->q[0], 2000000) > 0;
	vdev_reset(other);
	return done;
}

static void refusals(struct vq *q)
{
	uint64_t end = m.region / m.block;

	check(ask(q, PLUG, block_at(m.wanted), 1) == (m.wanted < end ? NACK : ERROR),
	      "more than is asked for is not plugged");
	check(ask(q, PLUG, block_at(0), 1) == ERROR, "nothing is plugged twice");
	check(ask(q, PLUG, block_at(m.wanted - 1), 2) == ERROR, "nor half of it");
	check(ask(q, UNPLUG, block_at(m.wanted), 1) == ERROR, "nor unplugged that is not there");
	check(ask(q, PLUG, block_at(0) + 4096, 1) == ERROR, "blocks are whole");
	check(ask(q, STATE, block_at(end), 1) == ERROR, "nothing lies behind the region");
	check(ask(q, STATE, m.addr - m.block, 1) == ERROR, "nor before it");
	check(ask(q, STATE, block_at(0), 0) == ERROR, "no block is no request");
	check(is_state(q, block_at(0), (uint16_t)m.wanted, PLUGGED), "what is plugged is said");
	check(m.wanted == end || is_state(q, block_at(m.wanted), 1, UNPLUGGED), "and what is not");
	check(m.wanted == end || is_state(q, block_at(0), (uint16_t)(m.wanted + 1), MIXED),
	      "and what is both");
}

void vmem_run(void)
{
	static struct vdev d, other;
	struct vq *q = &d.q[0];
	bool others = vdev_find(&other, VIRTIO_RNG, 0);

	if (!check(vdev_find(&d, VIRTIO_MEM, 0) && vdev_start(&d, 7), "memory starts"))
		return;
	m.block = rd64(d.config);
	m.addr = rd64(d.config + 16);
	m.region = rd64(d.config + 24);
	m.wanted = rd64(d.config + 48) / m.block;
	print("R3 VMEM block=%lx addr=%lx region=%lx wanted=%lx node=%u features=%lx\n", m.block,
	      m.addr, m.region, m.wanted * m.block, rd16(d.config + 8), d.features);
	if (!check(m.wanted > 1, "more than a block is asked for"))
		return;
	other.home = 1;
	map(m.addr, m.region);
	look();
	check(others && !other_writes(&other, block_at(0)), "nobody writes what is not plugged");
	if (!check(each_sixteen(q, PLUG, 0, m.wanted), "what is asked for is plugged"))
		return;
	check(rd64(d.config + 40) == m.wanted * m.block, "its size is told");
	check(other_writes(&other, block_at(1) - 32), "others write across blocks");
	check(!other_writes(&other, block_at(m.wanted) - 32), "but not past them");
	refusals(q);
	write_blocks(0, m.wanted);
	check(blocks_hold(0, m.wanted), "it holds what is written");
	look();
	check(each_sixteen(q, UNPLUG, 1, m.wanted), "all but one block is unplugged");
	check(rd64(d.config + 40) == m.block, "its size is told");
	check(blocks_hold(0, 1), "what stays plugged stays as it is");
	vdev_reset(&d);
	look();
	check(vdev_start(&d, 7) && is_state(q, block_at(0), 2, MIXED), "a reset changes nothing");
	check(each_sixteen(q, PLUG, 1, m.wanted), "it is plugged again");
	write_blocks(0, m.wanted);
	look();
	check(ask(q, UNPLUG_ALL, 0, 0) == ACK && !rd64(d.config + 40), "all is unplugged");
	check(ask(q, UNPLUG_ALL, 0, 0) == ACK, "twice is no harm");
	check(!other_writes(&other, block_at(0)), "and nobody writes there");
	look();
	vdev_reset(&d);
}
