/* SPDX-License-Identifier: Apache-2.0 */
/* fw_cfg: what is read through the ports and by DMA, of bytes and of files, and what is refused. */
#include "test.h"

#include <sys/mman.h>

#include "dev/fwcfg.h"
#include "fakeboard.h"
#include "mem/gmem.h"

#define RAM MIB(1)
#define ASK 0x1000u
#define BUF 0x2000u
#define FILE_LEN 10000u

static const struct fixed_conf conf = { .place[0] = { FIXED_PIO, 0x510 } };
static struct dev *dev;

static void begin(void)
{
	struct err e = { 0 };

	fake_begin();
	fake_sound(gmem_new(&fake.board.mem, &e), &e);
	fake_sound(gmem_add(fake.board.mem, GPA(0), RAM, &(struct backing_args){ 0 }, &e), &e);
	dev = fake_add(&fwcfg_class, &conf);
}

static void end(void)
{
	fake_end();
	gmem_free(fake.board.mem);
	fake.board.mem = NULL;
}

/* A file whose byte i is i / 7. */
static int file(uint32_t len)
{
	int fd = memfd_create("item", 0);

	for (uint32_t i = 0; i < len; i++) {
		uint8_t b = (uint8_t)(i / 7);

		assert_int_equal(write(fd, &b, 1), 1);
	}
	return fd;
}

static void choose(uint16_t key)
{
	out(0x510, key, 2);
}

static uint32_t next32(void)
{
	uint8_t b[4];

	for (int i = 0; i < 4; i++)
		b[i] = (uint8_t)inb(0x511);
	return le32_get(b);
}

static uint8_t mem8(uint64_t at)
{
	uint8_t b;

	assert_int_equal(gmem_read(fake.board.mem, GPA(at), &b, 1), 0);
	return b;
}

/* Returns what control is then. */
static uint32_t dma(uint32_t control, uint32_t len, uint64_t to)
{
	uint8_t ask[16], at[4];

	be32_put(ask, control);
	be32_put(ask + 4, len);
	be64_put(ask + 8, to);
	assert_int_equal(gmem_write(fake.board.mem, GPA(ASK), ask, 16), 0);
	be32_put(at, 0);
	bus_write(fake.board.pio, 0x514, at, 4);
	be32_put(at, ASK);
	bus_write(fake.board.pio, 0x518, at, 4);
	assert_int_equal(gmem_read(fake.board.mem, GPA(ASK), ask, 4), 0);
	return be32_get(ask);
}

TEST(a_guest_knows_it_by_its_signatures)
{
	uint8_t b[8];

	begin();
	choose(FWCFG_SIGNATURE);
	assert_int_equal(next32(), 0x554d4551); /* "QEMU" */
	assert_int_equal(inb(0x511), 0);
	choose(FWCFG_FEATURES);
	assert_int_equal(next32(), 3);
	bus_read(fake.board.pio, 0x514, b, 4);
	bus_read(fake.board.pio, 0x518, b + 4, 4);
	assert_memory_equal(b, "QEMU CFG", 8);
	end();
}

TEST(what_is_not_there_reads_as_zeros)
{
	begin();
	choose(FWCFG_KERNEL_DATA);
	assert_int_equal(next32(), 0);
	choose(0xffff);
	assert_int_equal(next32(), 0);
	choose(FWCFG_FILE_FIRST);
	assert_int_equal(next32(), 0);
	assert_int_equal(in(0x511, 2), 0); /* the data port is one byte wide */
	end();
}

TEST(files_stand_in_the_directory_in_their_order)
{
	struct err e = { 0 };
	uint8_t dir[4 + 2 * 64];

	begin();
	fake_sound(fwcfg_file(dev, "opt/one", "abc", 3, &e), &e);
	fake_sound(fwcfg_file_fd(dev, "opt/two", file(FILE_LEN), FILE_LEN, &e), &e);
	choose(FWCFG_DIRECTORY);
	for (size_t i = 0; i < sizeof(dir); i++)
		dir[i] = (uint8_t)inb(0x511);
	assert_int_equal(be32_get(dir), 2);
	assert_int_equal(be32_get(dir + 4), 3);
	assert_int_equal(be16_get(dir + 8), FWCFG_FILE_FIRST);
	assert_string_equal((char *)dir + 12, "opt/one");
	assert_int_equal(be32_get(dir + 68), FILE_LEN);
	assert_int_equal(be16_get(dir + 72), FWCFG_FILE_FIRST + 1);
	assert_string_equal((char *)dir + 76, "opt/two");
	choose(FWCFG_FILE_FIRST);
	assert_int_equal(next32(), 'a' | 'b' << 8 | 'c' << 16);
	end();
}

TEST(a_file_is_read_byte_by_byte_to_its_end)
{
	struct err e = { 0 };

	begin();
	fake_sound(fwcfg_file_fd(dev, "f", file(FILE_LEN), FILE_LEN, &e), &e);
	fwcfg_put_fd(dev, FWCFG_KERNEL_DATA, file(FILE_LEN), 700, FILE_LEN - 700);
	choose(FWCFG_FILE_FIRST);
	for (uint32_t i = 0; i < FILE_LEN; i++)
		assert_int_equal(inb(0x511), (uint8_t)(i / 7));
	assert_int_equal(next32(), 0);
	choose(FWCFG_KERNEL_DATA); /* another one from the same place */
	assert_int_equal(inb(0x511), 100);
	end();
}

TEST(dma_selects_skips_and_reads)
{
	struct err e = { 0 };

	begin();
	fake_sound(fwcfg_file_fd(dev, "f", file(FILE_LEN), FILE_LEN, &e), &e);
	assert_int_equal(dma(FWCFG_FILE_FIRST << 16 | 8 | 2, 4096, BUF), 0);
	for (uint32_t i = 0; i < 4096; i++)
		assert_int_equal(mem8(BUF + i), (uint8_t)(i / 7));
	assert_int_equal(dma(4, 904, 0), 0); /* to 5000 */
	assert_int_equal(dma(2, 1, BUF), 0);
	assert_int_equal(mem8(BUF), (uint8_t)(5000 / 7));
	assert_int_equal(inb(0x511), (uint8_t)(5001 / 7)); /* the port goes on there */
	assert_int_equal(dma(4, 0xffffffff, 0), 0);
	assert_int_equal(dma(2, 2, BUF), 0);
	assert_int_equal(mem8(BUF), 0); /* behind the end are zeros */
	assert_int_equal(dma(FWCFG_FEATURES << 16 | 8 | 2, 8, BUF), 0);
	assert_int_equal(mem8(BUF), 3);
	assert_int_equal(mem8(BUF + 7), 0);
	end();
}

TEST(dma_out_of_ram_or_to_the_device_is_an_error)
{
	struct err e = { 0 };
	uint8_t at[4];

	begin();
	fake_sound(fwcfg_file(dev, "f", "abc", 3, &e), &e);
	assert_int_equal(dma(FWCFG_FILE_FIRST << 16 | 8 | 2, 3, RAM - 2), 1);
	assert_int_equal(dma(FWCFG_FILE_FIRST << 16 | 8 | 2, 0xffffffff, BUF), 1);
	assert_int_equal(dma(FWCFG_FILE_FIRST << 16 | 8 | 2, 8, ~0ull), 1);
	assert_int_equal(dma(FWCFG_FILE_FIRST << 16 | 8 | 16, 3, BUF), 1); /* a write */
	assert_int_equal(dma(0, 3, BUF), 0);				   /* nothing */
	be32_put(at, RAM - 8); /* the question itself is half outside */
	bus_write(fake.board.pio, 0x518, at, 4);
	be32_put(at, 0xffffffff);
	bus_write(fake.board.pio, 0x514, at, 4);
	bus_write(fake.board.pio, 0x518, at, 4);
	assert_int_equal(dma(FWCFG_FILE_FIRST << 16 | 8 | 2, 3, BUF), 0);
	assert_int_equal(mem8(BUF + 2), 'c');
	end();
}

TEST(a_file_that_has_become_shorter_is_an_error_or_zeros)
{
	struct err e = { 0 };
	int fd = file(100);

	begin();
	fake_sound(fwcfg_file_fd(dev, "f", fd, 100, &e), &e);
	assert_int_equal(ftruncate(fd, 1), 0);
	choose(FWCFG_FILE_FIRST);
	assert_int_equal(next32(), 0);
	assert_int_equal(dma(FWCFG_FILE_FIRST << 16 | 8 | 2, 100, BUF), 1);
	end();
}

TEST(names_are_short_and_their_own)
{
	char name[60] = { 0 };
	struct err e = { 0 };

	begin();
	memset(name, 'n', 55);
	fake_sound(fwcfg_file(dev, name, "", 0, &e), &e);
	assert_int_equal(fwcfg_file(dev, name, "", 0, &e), -1);
	assert_int_equal(e.kind, ERR_TAKEN);
	name[55] = 'n';
	e = (struct err){ 0 };
	assert_int_equal(fwcfg_file(dev, name, "", 0, &e), -1);
	e = (struct err){ 0 };
	assert_int_equal(fwcfg_file_fd(dev, "", file(1), 1, &e), -1);
	e = (struct err){ 0 };
	fake_sound(fwcfg_file_fd(dev, "empty", file(0), 0, &e), &e);
	choose(FWCFG_FILE_FIRST + 1);
	assert_int_equal(next32(), 0);
	for (unsigned int i = 2; i < FWCFG_FILES_MAX; i++) {
		snprintf(name, sizeof(name), "%u", i);
		fake_sound(fwcfg_file(dev, name, "", 0, &e), &e);
	}
	assert_int_equal(fwcfg_file(dev, "one too many", "", 0, &e), -1);
	end();
}

TEST(a_storm_on_the_ports_does_no_harm)
{
	struct err e = { 0 };

	begin();
	fake_sound(fwcfg_file_fd(dev, "f", file(FILE_LEN), FILE_LEN, &e), &e);
	fake_hammer(fake.board.pio, 0x50c, 20, 100000);
	choose(FWCFG_SIGNATURE);
	assert_int_equal(next32(), 0x554d4551);
	end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_guest_knows_it_by_its_signatures),
		T(what_is_not_there_reads_as_zeros),
		T(files_stand_in_the_directory_in_their_order),
		T(a_file_is_read_byte_by_byte_to_its_end),
		T(dma_selects_skips_and_reads),
		T(dma_out_of_ram_or_to_the_device_is_an_error),
		T(a_file_that_has_become_shorter_is_an_error_or_zeros),
		T(names_are_short_and_their_own),
		T(a_storm_on_the_ports_does_no_harm),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
