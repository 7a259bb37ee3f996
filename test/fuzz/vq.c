/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings of a hostile driver: the input is what guest memory holds, where the rings lie, and what
 * the device does next. The device pops, copies, pushes, puts back, mutes and listens in any order;
 * nothing may crash, and what VQ_CHAIN gives must keep vq.h's promises.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "mem/backing.h"
#include "virtio/vq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM KIB(64)
#define HEADER 20
#define STEPS_MAX 64

/* Made once: mapping memory for each input would be all that is measured. */
static struct gmem *memory(void)
{
	static struct gmem *mem;
	const struct backing_args how = { 0 };
	struct err e = { 0 };

	if (mem)
		return mem;
	/* two regions that touch, so that pieces are split at their border, and a hole behind */
	if (gmem_new(&mem, &e) || gmem_add(mem, GPA(0), RAM / 2, &how, &e) ||
	    gmem_add(mem, GPA(RAM / 2), RAM / 2, &how, &e))
		abort();
	return mem;
}

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static void check_chain(const struct vq *q, const struct chain *c)
{
	promise(c->head < q->size && bit_get(q->in_flight, c->head));
	promise(kiov_total(c->r, c->readable) == c->rlen);
	promise(kiov_total(c->w, c->writable) == c->wlen);
	promise((uint64_t)c->rlen + c->wlen <= UINT32_MAX);
}

static void step(struct vq *q, uint8_t op, uint8_t arg)
{
	uint8_t bytes[64] = { 0 };
	struct chain c;

	switch (op % 6) {
	case 0:
	case 1:
		if (vq_pop(q, &c) != VQ_CHAIN)
			return;
		check_chain(q, &c);
		chain_get(&c, arg, bytes, sizeof(bytes));
		chain_put(&c, arg, bytes, arg % sizeof(bytes));
		if (op % 6)
			vq_unpop(q, c.head);
		return;
	case 2:
		for (uint16_t i = arg; q->live && i < q->size; i++) {
			if (!bit_get(q->in_flight, i))
				continue;
			vq_push(q, i, arg);
			return;
		}
		return;
	case 3:
		vq_mute(q);
		return;
	case 4:
		vq_listen(q);
		return;
	default:
		vq_wants_interrupt(q);
	}
}

/* header: desc, avail, used as 32 bits each, features, log2 of the size, first index; then steps;
 * then memory */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vq q;
	const struct dma dma = { .mem = memory() };
	struct vq_conf conf;
	size_t steps;

	if (size < HEADER)
		return 0;
	steps = min_u64(data[16] % STEPS_MAX, (size - HEADER) / 2);
	conf = (struct vq_conf){
		.size = (uint16_t)(data[12] < 200 ? 1u << (data[12] % 17) : data[12]),
		.enabled = 1,
		.desc = le32_get(data) & 0x1fff0u,
		.avail = le32_get(data + 4) & 0x1fffeu,
		.used = le32_get(data + 8) & 0x1fffcu,
	};
	promise(!gmem_zero(dma.mem, GPA(0), RAM));
	promise(!gmem_write(dma.mem, GPA(0), data + HEADER + 2 * steps,
			    min_u64(size - HEADER - 2 * steps, RAM)));
	vq_fini(&q);
	q.next_avail = q.next_used = le16_get(data + 14);
	if (vq_setup(&q, &dma, &conf,
		     (data[13] & 1 ? 1ull << 28 : 0) | (data[13] & 2 ? 1ull << 29 : 0)))
		return 0;
	for (size_t i = 0; i < steps; i++)
		step(&q, data[HEADER + 2 * i], data[HEADER + 2 * i + 1]);
	vq_fini(&q);
	return 0;
}
