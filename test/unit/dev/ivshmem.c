/* SPDX-License-Identifier: Apache-2.0 */
/* Shared memory: what a guest finds, where the hypervisor shows the file, and what is refused. */
#include "conf/conf.h"

#include "test.h"

#include <fcntl.h>

#include "dev/ivshmem.h"
#include "fakeboard.h"

#define ECAM 0xe8000000ull
#define MEM64 GIB(32)
#define SLOT 5
#define CFG(reg) (ECAM + (SLOT << 15) + (reg))
#define SIZE MIB(4)

static char path[64];
static struct ivshmem_conf conf = { .path = path, .size = SIZE };

static uint32_t rd(uint64_t addr, uint32_t len)
{
	uint8_t b[8];

	bus_read(fake.board.mmio, addr, b, len);
	return (uint32_t)le_get(b, len);
}

static void wr(uint64_t addr, uint32_t v, uint32_t len)
{
	uint8_t b[8];

	le_put(b, len, v);
	bus_write(fake.board.mmio, addr, b, len);
}

static void begin_with(uint64_t file_size)
{
	struct pci_host_args a = { .segments = 1,
				   .ecam = ECAM,
				   .mem32 = { 0xc0000000ull, MIB(64) },
				   .mem64 = { MEM64, GIB(16) } };
	struct err e = { 0 };

	snprintf(path, sizeof(path), "/tmp/virga-ivshmem-%d", getpid());
	int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);

	assert_true(fd >= 0 && !ftruncate(fd, (off_t)file_size));
	close(fd);
	fake_begin();
	a.pio = fake.board.pio;
	a.mmio = fake.board.mmio;
	a.irqs = fake.board.irqs;
	fake.board.hv = (struct hv_vm *)&fake; /* not looked at */
	fake_sound(pci_host_new(&fake.board.pci, &a, &e), &e);
}

static int add(struct err *e)
{
	const struct dev_args args = { .id = "__ivshmem", .conf = &conf, .slot = SLOT };

	return dev_add(NULL, &fake.board, &ivshmem_class.dev, &args, e);
}

static void begin(void)
{
	struct err e = { 0 };

	begin_with(SIZE);
	fake_sound(add(&e), &e);
}

static void end(void)
{
	dev_remove_all(&fake.board);
	assert_int_equal(fake.slots, 0);
	pci_host_free(fake.board.pci);
	fake.board.hv = NULL;
	fake_end();
	unlink(path);
}

static void move(uint64_t to)
{
	wr(CFG(0x18), (uint32_t)to, 4);
	wr(CFG(0x1c), (uint32_t)(to >> 32), 4);
}

TEST(a_guest_finds_it_by_its_ids_and_sizes)
{
	begin();
	assert_int_equal(rd(CFG(0), 4), 0x11101af4);
	assert_int_equal(rd(CFG(8), 4), 0x05800001);
	assert_int_equal(rd(CFG(0x2c), 4), 0x11101af4);
	wr(CFG(4), 0, 2);
	wr(CFG(0x10), ~0u, 4);
	assert_int_equal(rd(CFG(0x10), 4), 0xffffff00);
	wr(CFG(0x18), ~0u, 4);
	wr(CFG(0x1c), ~0u, 4);
	assert_int_equal(rd(CFG(0x18), 4), (uint32_t)(0 - SIZE) | 0xc); /* 64 bits, prefetchable */
	assert_int_equal(rd(CFG(0x1c), 4), ~0u);
	end();
}

TEST(registers_read_zero)
{
	uint64_t at;

	begin();
	at = rd(CFG(0x10), 4);
	wr(at + 12, 1, 4);
	for (uint64_t i = 0; i < 256; i += 4)
		assert_int_equal(rd(at + i, 4), 0);
	end();
}

TEST(the_file_is_seen_where_the_bar_is)
{
	uint64_t home;
	char b[8] = { 0 };
	FILE *f;

	begin();
	home = fake.slot_at;
	assert_true(home >= MEM64 && home % SIZE == 0);
	memcpy((void *)fake.slot_host, "shared", 7); /* as the guest does, through the slot */
	f = fopen(path, "r");
	assert_int_equal(fread(b, 1, 7, f), 7);
	fclose(f);
	assert_string_equal(b, "shared");
	move(MEM64 + SIZE);
	assert_int_equal(fake.slots, 1);
	assert_int_equal(fake.slot_at, MEM64 + SIZE);
	assert_string_equal((char *)fake.slot_host, "shared");
	wr(CFG(4), 0, 2);
	assert_int_equal(fake.slots, 0);
	wr(CFG(4), 2, 2);
	assert_int_equal(fake.slots, 1);
	move(0); /* out of the windows */
	assert_int_equal(fake.slots, 0);
	move(home);
	assert_int_equal(fake.slot_at, home);
	end();
}

TEST(a_place_that_the_hypervisor_refuses_is_nobodys)
{
	begin();
	fake.refuse = true;
	move(MEM64);
	assert_int_equal(fake.slots, 0);
	assert_int_equal(rd(MEM64, 4), 0xffffffff);
	fake.refuse = false;
	move(MEM64 + SIZE);
	assert_int_equal(fake.slots, 1);
	end();
}

TEST(a_storm_of_moves_leaves_one_place)
{
	begin();
	fake_hammer(fake.board.mmio, CFG(0), 64, 20000);
	assert_in_range(fake.slots, 0, 1);
	wr(CFG(4), 2, 2);
	move(MEM64 + 2 * SIZE);
	assert_int_equal(fake.slots, 1);
	assert_int_equal(fake.slot_at, MEM64 + 2 * SIZE);
	end();
}

TEST(a_file_that_is_short_or_not_there_is_refused)
{
	struct err e = { 0 };
	char line[300];

	begin_with(SIZE - 1);
	assert_int_equal(add(&e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof(line)), "make it larger"));
	unlink(path);
	e = (struct err){ 0 };
	assert_int_equal(add(&e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof(line)), path));
	end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_guest_finds_it_by_its_ids_and_sizes),
		T(registers_read_zero),
		T(the_file_is_seen_where_the_bar_is),
		T(a_place_that_the_hypervisor_refuses_is_nobodys),
		T(a_storm_of_moves_leaves_one_place),
		T(a_file_that_is_short_or_not_there_is_refused),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
