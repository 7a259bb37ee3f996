/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory: accesses of its config space and registers in any order, with a hypervisor that
 * refuses places now and then. The guest sees the file at one place at most, where the BAR is and
 * nothing else, and it is the file.
 */
#include "conf/conf.h"

#include "pokes.h"

#include <sys/mman.h>

#include "dev/ivshmem.h"
#include "pci/pci.h"

#define ECAM 0xe8000000ull
#define MEM32 0xc0000000ull
#define MEM64 GIB(32)
#define SPAN GIB(16)
#define SLOT 5
#define CFG (ECAM + (SLOT << 15))
#define SIZE MIB(4)

static char path[32];

/* A file of that size, in which the first byte tells it from others. */
static void make_file(void)
{
	int fd = memfd_create("shared", 0);

	if (fd < 0 || ftruncate(fd, (off_t)SIZE) || write(fd, "S", 1) != 1)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
}

static void begin(void)
{
	static const struct ivshmem_conf conf = { .path = path, .size = SIZE };
	const struct dev_args args = { .id = "__ivshmem", .conf = &conf, .slot = SLOT };
	struct pci_host_args a = {
		.segments = 1, .ecam = ECAM, .mem32 = { MEM32, MIB(64) }, .mem64 = { MEM64, SPAN }
	};
	struct err e = { 0 };

	fake_begin();
	a.pio = fake.board.pio;
	a.mmio = fake.board.mmio;
	a.irqs = fake.board.irqs;
	fake.refuse = false;
	fake.board.hv = (struct hv_vm *)&fake; /* not looked at */
	fake_sound(pci_host_new(&fake.board.pci, &a, &e), &e);
	fake_sound(dev_add(NULL, &fake.board, &ivshmem_class.dev, &args, &e), &e);
}

static uint32_t rd32(uint64_t addr)
{
	uint8_t b[4];

	bus_read(fake.board.mmio, addr, b, sizeof(b));
	return le32_get(b);
}

static void judge(void)
{
	uint64_t bar = (uint64_t)rd32(CFG + 0x1c) << 32 | (rd32(CFG + 0x18) & ~15u);

	if (fake.slots > 1)
		abort();
	if (fake.slots && (fake.slot_at != bar || bar < MEM64 || bar + SIZE > MEM64 + SPAN ||
			   *(const char *)fake.slot_host != 'S' || !(rd32(CFG + 4) & 2)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct poke p;

	if (!path[0])
		make_file();
	begin();
	while (poke_take(&p, &data, &size)) {
		if (p.kind < 10)
			poke_do(fake.board.mmio, CFG, 64, &p);
		else if (p.kind < 15)
			poke_do(fake.board.mmio, rd32(CFG + 0x10) & ~15u, 256, &p);
		else
			fake.refuse = p.write;
		judge();
	}
	dev_remove_all(&fake.board);
	if (fake.slots)
		abort();
	pci_host_free(fake.board.pci);
	fake.board.hv = NULL;
	fake_end();
	return 0;
}
