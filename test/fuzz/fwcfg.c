/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fw_cfg: accesses of its ports in any order, with questions for DMA that the input lays into
 * memory; it reads nothing that is not an item's, writes nowhere but into RAM, and can be saved.
 */
#include "pokes.h"

#include <sys/mman.h>

#include "dev/fwcfg.h"
#include "mem/gmem.h"

#define ITEM 9000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fixed_conf conf = { .place[0] = { FIXED_PIO, 0x510 } };
	static struct gmem *mem;
	static int file = -1;
	struct err e = { 0 };
	struct poke p;
	struct dev *d;

	if (!mem) {
		fake_sound(gmem_new(&mem, &e), &e);
		fake_sound(gmem_add(mem, GPA(0), KIB(64), &(struct backing_args){ 0 }, &e), &e);
		file = memfd_create("item", 0);
		if (ftruncate(file, ITEM))
			abort();
	}
	fake_begin();
	fake.board.mem = mem;
	d = fake_add(&fwcfg_class, &conf);
	fwcfg_put_fd(d, FWCFG_KERNEL_DATA, dup(file), 100, ITEM - 100);
	fake_sound(fwcfg_file(d, "bytes", "0123456789", 10, &e), &e);
	fake_sound(fwcfg_file_fd(d, "file", dup(file), ITEM, &e), &e);
	while (poke_take(&p, &data, &size)) {
		if (p.kind < 8)
			poke_do(fake.board.pio, 0x50e, 16, &p);
		else if (gmem_write(mem, GPA(p.at), p.data, p.len) && p.at < KIB(64) - 8)
			abort();
	}
	poke_reborn(d, &fwcfg_class, &conf);
	fake_end();
	return 0;
}
