/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw images: the disk is the file, byte for byte, in whole sectors. Any thread; there is no state.
 */
#include "base/bits.h"
#include "base/log.h"
#include "block/eng.h"

#define SECTOR 512

static int raw_open(struct img *i, uint64_t file_size, struct err *e)
{
	if (!file_size)
		return err_set(e, ERR_BAD,
			       "%s is empty; give it a size first, e.g. truncate -s 10G %s",
			       i->path, i->path);
	i->size = align_down(file_size, SECTOR);
	if (!i->size)
		return err_set(e, ERR_BAD, "%s holds %llu bytes, less than one sector of %d",
			       i->path, (unsigned long long)file_size, SECTOR);
	if (i->size != file_size)
		log_warn(
			"%s: the last %llu bytes are no whole sector of %d and stay hidden from the guest",
			i->path, (unsigned long long)(file_size - i->size), SECTOR);
	return 0;
}

static struct extent raw_map(const struct img *i, uint64_t off, uint64_t len)
{
	(void)i;
	return (struct extent){ .off = off, .len = len };
}

const struct img_fmt img_raw = { .name = "raw", .open = raw_open, .map = raw_map };
