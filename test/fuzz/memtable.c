/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges of memory that nobody has saved: a byte says the mode, each six after it a range, mostly near
 * one that could be. See memtable.h.
 */
#include "memtable.h"

#include "base/log.h"

#define RANGES_MAX 24u
#define STEP 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next range behind the last, unless its bits say otherwise. */
static struct saved_range range_of(const uint8_t *d, uint64_t behind, uint64_t off)
{
	struct saved_range r = {
		.base = d[4] & 1 ? (uint64_t)le16_get(d) * MT_PAGE : behind,
		.size = (uint64_t)le16_get(d + 2) % 1024 * MT_PAGE,
		.off = d[4] & 2 ? (uint64_t)le16_get(d) * MT_PAGE : off,
	};

	if (d[4] & 4)
		r.base = MT_HIGH;
	if (d[4] & 8)
		r.base += (uint64_t)d[5] << (d[5] & 63);
	if (d[4] & 16)
		r.size += (uint64_t)d[5] << (d[5] & 63);
	if (d[4] & 32)
		r.off += (uint64_t)d[5] << (d[5] & 63);
	if (d[4] & 64)
		r.size = MT_LOW - (behind < MT_LOW ? behind : 0);
	if (d[4] & 128)
		r.size = MT_BYTES - MT_LOW;
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum restore_mode mode[] = { RESTORE_COPY, RESTORE_MAP, RESTORE_ON_DEMAND };
	struct saved_range r[RANGES_MAX];
	uint64_t behind = 0, off = 0;
	enum restore_mode how;
	uint32_t n = 0;

	log_init(LOG_ERROR, 2);
	if (!size)
		return 0;
	how = mode[data[0] % 3];
	if (how == RESTORE_ON_DEMAND && !mt_may_serve())
		how = RESTORE_COPY;
	for (size_t at = 1; at + STEP <= size && n < RANGES_MAX; at += STEP, n++) {
		r[n] = range_of(data + at, behind, off);
		behind = r[n].base + r[n].size;
		off = r[n].off + r[n].size;
	}
	(void)mt_try(mt_root(r, n), how, NULL, 0);
	return 0;
}
