/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk driven by hand: features and config bytes, each kind of request, requests laid out in
 * odd ways, and what a hostile driver may send. The device's loops run; the driver waits for the
 * used index.
 */
#include "counted.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/event.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "dev/blk.h"
#include "virtio/drive.h"

#define HEADER BUF
#define STATUS (BUF + 0x800)
#define DATA (BUF + 0x1000)
#define SECTORS 256u
#define ALL (~(1ull << 33))
#define BITF(n) (1ull << (n))

/* Taken from the C library: how often data were made safe, here and by writes below. */
static int syncs;
int fdatasync(int fd)
{
	(void)fd;
	return __atomic_add_fetch(&syncs, 1, __ATOMIC_RELAXED) ? 0 : -1;
}

/* The same: errno of what every write ends with, 0 for none. */
static _Atomic int broken;
ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t off, int flags)
{
	if (flags & RWF_DSYNC)
		fdatasync(fd);
	if (!broken)
		return pwritev(fd, v, n, off);
	errno = broken;
	return -1;
}

struct bench {
	struct rig r;
	struct disk_conf conf;
	char path[64];
	int fd;
};

static void bench_conf(struct bench *b)
{
	uint8_t sector[512];

	*b = (struct bench){ 0 };
	desc_default(&disk_desc, &b->conf);
	strcpy(b->path, "/tmp/virga-blk-XXXXXX");
	b->fd = mkstemp(b->path);
	assert_true(b->fd >= 0);
	for (uint32_t i = 0; i < SECTORS; i++) {
		memset(sector, (int)i, sizeof(sector));
		assert_int_equal(write(b->fd, sector, sizeof(sector)), sizeof(sector));
	}
	b->conf.path = mem_str(b->path);
	b->conf.queue_size = 16;
}

static void bench_start(struct bench *b, uint64_t features)
{
	rig_init(&b->r);
	rig_add(&b->r, &blk_class, &b->conf);
	drv_start(&b->r, features);
}

static void bench_end(struct bench *b)
{
	rig_fini(&b->r);
	desc_free(&disk_desc, &b->conf);
	unlink(b->path);
	fd_close(&b->fd);
}

static void wait_used(struct rig *r, uint16_t q, uint16_t n)
{
	struct timespec ms = { .tv_nsec = 1000000 };

	for (int i = 0; i < 5000 && drv_used(r, q) != n && drv_status(r) == 15; i++)
		nanosleep(&ms, NULL);
	if (drv_status(r) == 15)
		assert_int_equal(drv_used(r, q), n);
}

static void header(struct rig *r, uint32_t type, uint64_t sector)
{
	mem_wr(r, HEADER, 4, type);
	mem_wr(r, HEADER + 4, 4, 0);
	mem_wr(r, HEADER + 8, 8, sector);
	mem_wr(r, STATUS, 1, 0xee);
}

static uint8_t finish(struct rig *r, uint16_t q)
{
	drv_offer(r, q, 0);
	drv_kick(r, q);
	wait_used(r, q, r->avail[q]);
	return (uint8_t)mem_rd(r, STATUS, 1);
}

/* header, data, status, a descriptor each */
static uint8_t ask(struct rig *r, uint16_t q, uint32_t type, uint64_t sector, uint32_t len,
		   bool to_guest)
{
	header(r, type, sector);
	drv_desc(r, q, 0, HEADER, 16, F_NEXT, 1);
	drv_desc(r, q, 1, DATA, len, F_NEXT | (to_guest ? F_WRITE : 0), 2);
	drv_desc(r, q, 2, STATUS, 1, F_WRITE, 0);
	return finish(r, q);
}

static uint8_t ask_nothing(struct rig *r, uint32_t type)
{
	header(r, type, 0);
	drv_desc(r, 0, 0, HEADER, 16, F_NEXT, 1);
	drv_desc(r, 0, 1, STATUS, 1, F_WRITE, 0);
	return finish(r, 0);
}

TEST(features_and_config_say_what_the_disk_is)
{
	struct bench b;
	uint64_t f;

	bench_conf(&b);
	bench_start(&b, ALL);
	f = drv_offered(&b.r);
	assert_true(f & BITF(VIRTIO_BLK_F_SEG_MAX));
	assert_true(f & BITF(VIRTIO_BLK_F_BLK_SIZE));
	assert_true(f & BITF(VIRTIO_BLK_F_FLUSH));
	assert_true(f & BITF(VIRTIO_BLK_F_CONFIG_WCE));
	assert_true(f & BITF(VIRTIO_BLK_F_TOPOLOGY));
	assert_true(f & VF_EVENT_IDX && f & VF_INDIRECT_DESC && f & VF_VERSION_1);
	assert_false(f & BITF(VIRTIO_BLK_F_RO));
	assert_false(f & BITF(VIRTIO_BLK_F_MQ));
	assert_int_equal(rd(&b.r, AT_CONFIG, 8), SECTORS);
	assert_int_equal(rd(&b.r, AT_CONFIG + 12, 4), 14);
	assert_int_equal(rd(&b.r, AT_CONFIG + 20, 4), 512);
	assert_int_equal(rd(&b.r, AT_CONFIG + 32, 1), 1);
	assert_int_equal(rd(&b.r, AT_CONFIG + 34, 2), 1);
	assert_int_equal(rd(&b.r, AT_CONFIG + 36, 4), UINT32_MAX);
	bench_end(&b);
}

TEST(reads_and_writes_reach_the_file)
{
	uint8_t look[1024];
	struct bench b;

	bench_conf(&b);
	bench_start(&b, ALL & ~VF_EVENT_IDX);
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_IN, 7, 1024, true), VIRTIO_BLK_S_OK);
	assert_int_equal(drv_used_len(&b.r, 0, 0), 1025);
	assert_int_equal(mem_rd(&b.r, DATA, 1), 7);
	assert_int_equal(mem_rd(&b.r, DATA + 1023, 1), 8);
	assert_true(drv_pending(&b.r, 0));
	mem_wr(&b.r, DATA, 8, 0x1122334455667788);
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_OUT, 100, 1024, false), VIRTIO_BLK_S_OK);
	assert_int_equal(drv_used_len(&b.r, 0, 1), 1);
	assert_int_equal(pread(b.fd, look, 1024, 100 * 512), 1024);
	assert_int_equal(le64_get(look), 0x1122334455667788);
	assert_int_equal(look[1023], 8);
	assert_int_equal(ask_nothing(&b.r, VIRTIO_BLK_T_FLUSH), VIRTIO_BLK_S_OK);
	bench_end(&b);
}

TEST(a_request_may_be_cut_anywhere)
{
	struct bench b;
	struct rig *r = &b.r;

	bench_conf(&b);
	bench_start(&b, ALL);
	/* header in two, data and status in one */
	header(r, VIRTIO_BLK_T_IN, 3);
	drv_desc(r, 0, 0, HEADER, 5, F_NEXT, 1);
	drv_desc(r, 0, 1, HEADER + 5, 11, F_NEXT, 2);
	drv_desc(r, 0, 2, DATA, 513, F_WRITE, 0);
	finish(r, 0);
	assert_int_equal(mem_rd(r, DATA + 512, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(mem_rd(r, DATA + 511, 1), 3);
	/* header and data in one */
	header(r, VIRTIO_BLK_T_OUT, 4);
	for (uint32_t i = 16; i < 528; i += 8)
		mem_wr(r, HEADER + i, 8, 0x7777777777777777);
	drv_desc(r, 0, 0, HEADER, 528, F_NEXT, 1);
	drv_desc(r, 0, 1, STATUS, 1, F_WRITE, 0);
	assert_int_equal(finish(r, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_IN, 4, 512, true), VIRTIO_BLK_S_OK);
	assert_int_equal(mem_rd(r, DATA, 8), 0x7777777777777777);
	assert_int_equal(mem_rd(r, DATA + 504, 8), 0x7777777777777777);
	bench_end(&b);
}

/* Every place of a cut in the header, with cuts of data and status around every border. */
TEST(a_request_cut_at_every_byte_is_the_same_request)
{
	static const uint32_t cuts[] = { 1, 2, 7, 8, 9, 255, 256, 257, 510, 511, 512 };
	struct bench b;
	struct rig *r = &b.r;

	bench_conf(&b);
	bench_start(&b, ALL);
	for (uint32_t h = 1; h < 16; h++)
		for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
			header(r, VIRTIO_BLK_T_IN, h);
			mem_wr(r, DATA + 512, 1, 0xee);
			drv_desc(r, 0, 0, HEADER, h, F_NEXT, 1);
			drv_desc(r, 0, 1, HEADER + h, 16 - h, F_NEXT, 2);
			drv_desc(r, 0, 2, DATA, cuts[i], F_WRITE | F_NEXT, 3);
			drv_desc(r, 0, 3, DATA + cuts[i], 513 - cuts[i], F_WRITE, 0);
			finish(r, 0);
			assert_int_equal(mem_rd(r, DATA + 512, 1), VIRTIO_BLK_S_OK);
			assert_int_equal(mem_rd(r, DATA, 1), h);
			assert_int_equal(mem_rd(r, DATA + 511, 1), h);
		}
	bench_end(&b);
}

/* Sector and length at every edge of a disk of 256 sectors, and of 64 bits. */
TEST(requests_are_served_exactly_where_the_disk_is)
{
	static const uint64_t sectors[] = { 0,		1,	     SECTORS - 2,    SECTORS - 1,
					    SECTORS,	SECTORS + 1, 1ull << 32,     1ull << 54,
					    1ull << 55, 1ull << 63,  UINT64_MAX - 1, UINT64_MAX };
	static const uint32_t types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT };
	struct bench b;
	struct rig *r = &b.r;

	bench_conf(&b);
	bench_start(&b, ALL);
	for (size_t t = 0; t < ARRAY_LEN(types); t++)
		for (size_t i = 0; i < ARRAY_LEN(sectors); i++)
			for (uint32_t len = 511; len <= 1536; len += len % 512 == 1 ? 510 : 1) {
				bool fits = len % 512 == 0 && sectors[i] < SECTORS &&
					    len / 512 <= SECTORS - sectors[i];

				assert_int_equal(ask(r, 0, types[t], sectors[i], len, !t),
						 fits ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
			}
	bench_end(&b);
}

TEST(what_does_not_fit_the_disk_is_an_error)
{
	struct bench b;
	struct rig *r = &b.r;

	bench_conf(&b);
	bench_start(&b, ALL);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_IN, SECTORS, 512, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_IN, SECTORS - 1, 1024, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_IN, UINT64_MAX, 512, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_IN, 1ull << 55, 512, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_OUT, SECTORS, 512, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_IN, 0, 100, true), VIRTIO_BLK_S_IOERR);
	/* the wrong direction */
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_IN, 0, 512, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_OUT, 0, 512, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(r, 0, 77, 0, 512, true), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(ask_nothing(r, VIRTIO_BLK_T_IN), VIRTIO_BLK_S_IOERR);
	/* a header cut short */
	header(r, VIRTIO_BLK_T_IN, 0);
	drv_desc(r, 0, 0, HEADER, 15, F_NEXT, 1);
	drv_desc(r, 0, 1, STATUS, 1, F_WRITE, 0);
	assert_int_equal(finish(r, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_IN, SECTORS - 1, 512, true), VIRTIO_BLK_S_OK);
	bench_end(&b);
}

TEST(without_a_status_byte_the_device_needs_a_reset)
{
	struct bench b;
	struct rig *r = &b.r;

	bench_conf(&b);
	bench_start(&b, ALL);
	header(r, VIRTIO_BLK_T_IN, 0);
	drv_desc(r, 0, 0, HEADER, 16, 0, 0);
	finish(r, 0);
	assert_true(drv_status(r) & VSTAT_NEEDS_RESET);
	assert_int_equal(drv_used(r, 0), 0);
	drv_start(r, ALL);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_IN, 9, 512, true), VIRTIO_BLK_S_OK);
	assert_int_equal(mem_rd(r, DATA, 1), 9);
	bench_end(&b);
}

TEST(a_readonly_disk_cannot_be_changed)
{
	struct bench b;
	struct rig *r = &b.r;

	bench_conf(&b);
	b.conf.readonly = true;
	bench_start(&b, ALL);
	assert_true(drv_offered(r) & BITF(VIRTIO_BLK_F_RO));
	assert_false(drv_offered(r) & BITF(VIRTIO_BLK_F_DISCARD));
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_OUT, 0, 512, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_IN, 1, 512, true), VIRTIO_BLK_S_OK);
	bench_end(&b);
}

TEST(the_serial_number_is_told)
{
	struct bench b;
	char got[20];

	bench_conf(&b);
	b.conf.serial = mem_str("ABC-12345");
	bench_start(&b, ALL);
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_GET_ID, 0, 20, true), VIRTIO_BLK_S_OK);
	assert_int_equal(gmem_read(b.r.mem, GPA(DATA), got, 20), 0);
	assert_memory_equal(got, "ABC-12345\0\0\0\0\0\0\0\0\0\0\0", 20);
	assert_int_equal(drv_used_len(&b.r, 0, 0), 21);
	bench_end(&b);
}

static void segment(struct rig *r, uint64_t sector, uint32_t count, uint32_t flags)
{
	mem_wr(r, DATA, 8, sector);
	mem_wr(r, DATA + 8, 4, count);
	mem_wr(r, DATA + 12, 4, flags);
}

TEST(discard_and_write_zeroes_make_zeros)
{
	uint8_t look[512];
	struct bench b;
	struct rig *r = &b.r;

	bench_conf(&b);
	bench_start(&b, ALL);
	assert_true(drv_offered(r) & BITF(VIRTIO_BLK_F_DISCARD));
	segment(r, 8, 8, 0);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_DISCARD, 0, 16, false), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(b.fd, look, 512, 9 * 512), 512);
	assert_int_equal(look[5], 0);
	segment(r, 32, 8, 1);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, false), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(b.fd, look, 512, 33 * 512), 512);
	assert_int_equal(look[5], 0);
	segment(r, 48, 8, 2); /* a flag nobody knows */
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, false), VIRTIO_BLK_S_UNSUPP);
	segment(r, 48, 8, 1); /* unmap has no meaning for discard */
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_DISCARD, 0, 16, false), VIRTIO_BLK_S_UNSUPP);
	segment(r, SECTORS - 4, 8, 0);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_DISCARD, 0, 16, false), VIRTIO_BLK_S_IOERR);
	segment(r, UINT64_MAX - 2, UINT32_MAX, 0);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_DISCARD, 0, 32, false), VIRTIO_BLK_S_IOERR);
	drv_start(r, ALL & ~BITF(VIRTIO_BLK_F_DISCARD));
	segment(r, 48, 8, 0);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_DISCARD, 0, 16, false), VIRTIO_BLK_S_UNSUPP);
	bench_end(&b);
}

TEST(the_driver_may_turn_write_through_on_and_a_reset_turns_it_off)
{
	struct bench b;
	struct rig *r = &b.r;

	bench_conf(&b);
	bench_start(&b, ALL);
	wr(r, AT_CONFIG + 32, 1, 0xfe);
	assert_int_equal(rd(r, AT_CONFIG + 32, 1), 0);
	wr(r, AT_CONFIG, 8, 1); /* capacity is not the driver's */
	assert_int_equal(rd(r, AT_CONFIG, 8), SECTORS);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_OUT, 5, 512, false), VIRTIO_BLK_S_OK);
	drv_start(r, ALL & ~BITF(VIRTIO_BLK_F_FLUSH));
	assert_int_equal(rd(r, AT_CONFIG + 32, 1), 1);
	assert_int_equal(ask(r, 0, VIRTIO_BLK_T_OUT, 6, 512, false), VIRTIO_BLK_S_OK);
	bench_end(&b);
}

/* Once for each change, before its end is told; not for reads; not when cached. */
TEST(with_write_through_each_change_is_made_safe_before_it_is_told)
{
	static const uint32_t changes[] = { VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_DISCARD,
					    VIRTIO_BLK_T_WRITE_ZEROES };
	struct bench b;
	struct rig *r = &b.r;

	bench_conf(&b);
	b.conf.disable_io_uring = b.conf.disable_aio = true;
	bench_start(&b, ALL);
	for (int through = 0; through < 3; through++) {
		if (through == 1)
			wr(r, AT_CONFIG + 32, 1, 0);
		if (through == 2)
			drv_start(r, ALL & ~BITF(VIRTIO_BLK_F_FLUSH));
		for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
			int before = syncs;

			segment(r, 8, 8, 0);
			assert_int_equal(ask(r, 0, changes[i], 0, i ? 16 : 512, false),
					 VIRTIO_BLK_S_OK);
			assert_int_equal(syncs - before, through ? 1 : 0);
			assert_int_equal(ask(r, 0, VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_OK);
			assert_int_equal(syncs - before, through ? 1 : 0);
		}
	}
	bench_end(&b);
}

TEST(sparse_off_takes_all_space_and_gives_none_back)
{
	struct bench b;
	struct stat st;
	uint64_t f;

	bench_conf(&b);
	assert_int_equal(ftruncate(b.fd, 0), 0);
	assert_int_equal(ftruncate(b.fd, 1 << 20), 0);
	b.conf.sparse = false;
	bench_start(&b, ALL);
	assert_int_equal(fstat(b.fd, &st), 0);
	assert_true(st.st_blocks * 512 >= 1 << 20);
	f = drv_offered(&b.r);
	assert_false(f & BITF(VIRTIO_BLK_F_DISCARD));
	assert_true(f & BITF(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_int_equal(rd(&b.r, AT_CONFIG + 36, 4), 0);
	assert_int_equal(rd(&b.r, AT_CONFIG + 56, 1), 0);
	segment(&b.r, 0, 2048, 1); /* unmap is a wish */
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, false), VIRTIO_BLK_S_OK);
	assert_int_equal(fstat(b.fd, &st), 0);
	assert_true(st.st_blocks * 512 >= 1 << 20);
	bench_end(&b);
}

TEST(a_queue_is_pinned_where_the_config_says)
{
	static uint32_t cpu[] = { 0 }, none[] = { 1000 };
	struct queue_affinity_conf a[] = { { .queue_index = 1, .host_cpus = { 1, cpu } } };
	struct bench b;
	struct err e = { 0 };
	char line[512];

	bench_conf(&b);
	b.conf.num_queues = 2;
	b.conf.queue_affinity.items = a;
	b.conf.queue_affinity.count = 1;
	bench_start(&b, ALL);
	assert_int_equal(ask(&b.r, 1, VIRTIO_BLK_T_IN, 20, 512, true), VIRTIO_BLK_S_OK);
	dev_remove(b.r.d);
	a[0].host_cpus.items = none;
	assert_int_equal(rig_add_saved(&b.r, &blk_class, &b.conf, NULL, &e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof(line)), "to host CPU 1000"));
	b.conf.queue_affinity.items = NULL;
	b.conf.queue_affinity.count = 0;
	bench_end(&b);
}

TEST(each_queue_serves_on_its_own)
{
	struct bench b;

	bench_conf(&b);
	b.conf.num_queues = 3;
	bench_start(&b, ALL);
	assert_true(drv_offered(&b.r) & BITF(VIRTIO_BLK_F_MQ));
	assert_int_equal(rd(&b.r, AT_CONFIG + 34, 2), 3);
	for (uint16_t q = 0; q < 3; q++) {
		assert_int_equal(ask(&b.r, q, VIRTIO_BLK_T_IN, 20u + q, 512, true),
				 VIRTIO_BLK_S_OK);
		assert_int_equal(mem_rd(&b.r, DATA, 1), 20 + q);
	}
	bench_end(&b);
}

/* Fills the ring with 5 requests of 3 descriptors, from descriptor 0 on. */
static void offer_five(struct rig *r)
{
	header(r, VIRTIO_BLK_T_IN, 30);
	for (uint32_t i = 0; i < 5; i++) {
		drv_desc(r, 0, 3 * i, HEADER, 16, F_NEXT, (uint16_t)(3 * i + 1));
		drv_desc(r, 0, 3 * i + 1, DATA + 0x1000ull * i, 4096, F_NEXT | F_WRITE,
			 (uint16_t)(3 * i + 2));
		drv_desc(r, 0, 3 * i + 2, STATUS + i, 1, F_WRITE, 0);
		drv_offer(r, 0, (uint16_t)(3 * i));
	}
	drv_kick(r, 0);
}

TEST(a_full_ring_is_served_round_after_round)
{
	struct bench b;

	bench_conf(&b);
	b.conf.direct = true;
	bench_start(&b, ALL & ~VF_EVENT_IDX);
	for (int round = 0; round < 50; round++) {
		offer_five(&b.r);
		wait_used(&b.r, 0, b.r.avail[0]);
		for (uint32_t i = 0; i < 5; i++)
			assert_int_equal(mem_rd(&b.r, STATUS + i, 1), VIRTIO_BLK_S_OK);
		assert_int_equal(mem_rd(&b.r, DATA + 0x4000, 1), 30);
	}
	bench_end(&b);
}

TEST(a_reset_in_mid_flight_leaves_nothing_in_flight)
{
	struct bench b;

	bench_conf(&b);
	b.conf.direct = true;
	bench_start(&b, ALL);
	for (int round = 0; round < 50; round++) {
		offer_five(&b.r);
		drv_start(&b.r, ALL);
		assert_int_equal(drv_used(&b.r, 0), 0);
	}
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_IN, 11, 512, true), VIRTIO_BLK_S_OK);
	assert_int_equal(mem_rd(&b.r, DATA, 1), 11);
	bench_end(&b);
}

/* Two requests at once, and one each 150 ms. */
TEST(what_waits_for_a_limit_is_served_after_a_pause_too)
{
	struct token_bucket_conf ops = { .size = 2, .refill_time = 300 };
	struct rate_limiter_conf limit = { .ops = &ops };
	const struct timespec tick = { .tv_nsec = 1000000 },
			      while_paused = { .tv_nsec = 400000000 };
	struct err e = { 0 };
	struct bench b;
	uint16_t used;

	bench_conf(&b);
	b.conf.rate_limiter_config = &limit;
	bench_start(&b, ALL);
	offer_five(&b.r);
	while (drv_used(&b.r, 0) < 2)
		nanosleep(&tick, NULL);
	assert_int_equal(blk_class.dev.quiesce(b.r.d, &e), 0);
	used = drv_used(&b.r, 0);
	assert_true(used < 5);
	nanosleep(&while_paused, NULL);
	assert_int_equal(drv_used(&b.r, 0), used);
	blk_class.dev.resume(b.r.d);
	wait_used(&b.r, 0, 5); /* and nobody kicks */
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(mem_rd(&b.r, STATUS + i, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(counted(b.r.d, "read_ops"), 5);
	b.conf.rate_limiter_config = NULL;
	bench_end(&b);
}

TEST(counters_count_what_ended_well)
{
	struct bench b;

	bench_conf(&b);
	bench_start(&b, ALL);
	ask(&b.r, 0, VIRTIO_BLK_T_IN, 0, 1024, true);
	ask(&b.r, 0, VIRTIO_BLK_T_IN, SECTORS, 1024, true);
	ask(&b.r, 0, VIRTIO_BLK_T_OUT, 0, 512, false);
	ask(&b.r, 0, VIRTIO_BLK_T_FLUSH, 0, 0, false);
	assert_int_equal(counted(b.r.d, "read_ops"), 1);
	assert_int_equal(counted(b.r.d, "read_bytes"), 1024);
	assert_int_equal(counted(b.r.d, "write_ops"), 1);
	assert_int_equal(counted(b.r.d, "write_bytes"), 512);
	assert_int_equal(counted(b.r.d, "flush_ops"), 1);
	assert_int_equal(counted(b.r.d, "failed_ops"), 1);
	assert_true(counted(b.r.d, "read_latency_max") >= counted(b.r.d, "read_latency_min"));
	assert_int_equal(counted(b.r.d, "read_time"), counted(b.r.d, "read_latency_avg"));
	bench_end(&b);
}

static uint64_t file_size(const struct bench *b)
{
	struct stat st;

	assert_int_equal(fstat(b->fd, &st), 0);
	return (uint64_t)st.st_size;
}

TEST(a_disk_takes_another_size_and_its_driver_is_told)
{
	struct err e = { 0 };
	struct bench b;
	uint64_t gen;

	bench_conf(&b);
	bench_start(&b, ALL);
	gen = rd(&b.r, R_GEN, 1);
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_OUT, SECTORS, 512, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_resize(b.r.d, 2 * SECTORS * 512, &e), 0);
	assert_int_equal(file_size(&b), 2 * SECTORS * 512);
	assert_int_equal(rd(&b.r, AT_CONFIG, 8), 2 * SECTORS);
	assert_true(rd(&b.r, R_GEN, 1) != gen);
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_OUT, 2 * SECTORS - 1, 512, false),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(blk_resize(b.r.d, 512, &e), 0);
	assert_int_equal(file_size(&b), 512);
	assert_int_equal(rd(&b.r, AT_CONFIG, 8), 1);
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_OUT, 1, 512, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_OK);
	assert_int_equal(file_size(&b), 512);
	/* the same is no change */
	gen = rd(&b.r, R_GEN, 1);
	assert_int_equal(blk_resize(b.r.d, 512, &e), 0);
	assert_int_equal(rd(&b.r, R_GEN, 1), gen);
	bench_end(&b);
}

TEST(a_size_that_cannot_be_leaves_the_disk_as_it_is)
{
	struct err e = { 0 };
	struct bench b;

	bench_conf(&b);
	bench_start(&b, ALL);
	assert_int_equal(blk_resize(b.r.d, 1000, &e), -1);
	assert_int_equal(rd(&b.r, AT_CONFIG, 8), SECTORS);
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_OUT, SECTORS - 1, 512, false), VIRTIO_BLK_S_OK);
	bench_end(&b);
}

static uint64_t told(const char *name)
{
	for (unsigned int i = 0; i < event_kinds_count; i++)
		if (!strcmp(event_kinds[i].source, "disk") && !strcmp(event_kinds[i].name, name))
			return event_times(i);
	fail();
	return 0;
}

/* A disk of the engine whose writes can be made to fail. */
static void broken_conf(struct bench *b, enum on_error way)
{
	bench_conf(b);
	b->conf.disable_io_uring = b->conf.disable_aio = true;
	b->conf.on_error = way;
}

static void until(struct bench *b, const char *counter, uint64_t n)
{
	struct timespec ms = { .tv_nsec = 1000000 };

	for (int i = 0; i < 5000 && counted(b->r.d, counter) < n; i++)
		nanosleep(&ms, NULL);
	assert_true(counted(b->r.d, counter) >= n);
}

/* A write at the sector, by descriptors 3n to 3n + 2; its answer is not waited for. */
static void offer_write(struct rig *r, uint16_t n, uint64_t sector)
{
	uint64_t at = HEADER + 32u * n;

	mem_wr(r, at, 4, VIRTIO_BLK_T_OUT);
	mem_wr(r, at + 4, 4, 0);
	mem_wr(r, at + 8, 8, sector);
	mem_wr(r, STATUS + n, 1, 0xee);
	mem_wr(r, DATA + 512u * n, 1, 0x70u + n);
	drv_desc(r, 0, 3u * n, at, 16, F_NEXT, (uint16_t)(3 * n + 1));
	drv_desc(r, 0, 3u * n + 1, DATA + 512u * n, 512, F_NEXT, (uint16_t)(3 * n + 2));
	drv_desc(r, 0, 3u * n + 2, STATUS + n, 1, F_WRITE, 0);
	drv_offer(r, 0, (uint16_t)(3 * n));
	drv_kick(r, 0);
}

static uint8_t byte_at(const struct bench *b, uint64_t sector)
{
	uint8_t c = 0;

	assert_int_equal(pread(b->fd, &c, 1, (off_t)sector * 512), 1);
	return c;
}

TEST(an_error_of_the_host_is_reported_by_default)
{
	struct bench b;
	uint64_t before = told("error");

	broken_conf(&b, ON_ERROR_REPORT);
	bench_start(&b, ALL);
	broken = EIO;
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_OUT, 0, 512, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(told("error"), before + 1);
	/* the guest's own mistakes are not the host's */
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_OUT, SECTORS, 512, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(told("error"), before + 1);
	assert_int_equal(counted(b.r.d, "held_ops"), 0);
	broken = 0;
	bench_end(&b);
}

TEST(with_retry_the_driver_sees_a_slow_disk_and_no_error)
{
	uint64_t errors = told("error"), good = told("recovered");
	struct bench b;

	broken_conf(&b, ON_ERROR_RETRY);
	bench_start(&b, ALL);
	broken = ENOSPC;
	offer_write(&b.r, 0, 3);
	offer_write(&b.r, 1, 4);
	until(&b, "held_ops", 4); /* both, and both once more */
	assert_int_equal(drv_used(&b.r, 0), 0);
	broken = 0;
	wait_used(&b.r, 0, 2);
	assert_int_equal(mem_rd(&b.r, STATUS, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(mem_rd(&b.r, STATUS + 1, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(byte_at(&b, 3), 0x70);
	assert_int_equal(byte_at(&b, 4), 0x71);
	assert_int_equal(told("error"), errors + 1);
	assert_int_equal(told("recovered"), good + 1);
	assert_int_equal(counted(b.r.d, "failed_ops"), 0);
	bench_end(&b);
}

static void on_pause(void *arg)
{
	struct rig *r = arg;

	__atomic_add_fetch(&r->events, 1000, __ATOMIC_RELAXED);
}

TEST(with_stop_the_guest_is_paused_and_what_failed_is_tried_when_it_goes_on)
{
	uint64_t good = told("recovered");
	struct err e = { 0 };
	struct bench b;

	broken_conf(&b, ON_ERROR_STOP);
	rig_init(&b.r);
	b.r.b.up.pause = on_pause;
	rig_add(&b.r, &blk_class, &b.conf);
	drv_start(&b.r, ALL);
	broken = EIO;
	offer_write(&b.r, 0, 3);
	offer_write(&b.r, 1, 4);
	until(&b, "held_ops", 2);
	assert_int_equal(__atomic_load_n(&b.r.events, __ATOMIC_RELAXED) / 1000, 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(blk_class.dev.quiesce(b.r.d, &e), 0);
		assert_int_equal(drv_used(&b.r, 0), 0);
		if (i == 0) { /* too early: it fails once more, and once more asks for a pause */
			blk_class.dev.resume(b.r.d);
			until(&b, "held_ops", 4);
			assert_int_equal(__atomic_load_n(&b.r.events, __ATOMIC_RELAXED) / 1000, 2);
		}
	}
	broken = 0;
	blk_class.dev.resume(b.r.d);
	wait_used(&b.r, 0, 2);
	assert_int_equal(mem_rd(&b.r, STATUS, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(mem_rd(&b.r, STATUS + 1, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(byte_at(&b, 4), 0x71);
	assert_int_equal(told("recovered"), good + 1);
	bench_end(&b);
}

TEST(requests_that_are_held_are_saved_and_go_on_elsewhere)
{
	struct err e = { 0 };
	struct json *saved;
	struct bench b;

	broken_conf(&b, ON_ERROR_RETRY);
	bench_start(&b, ALL);
	broken = EIO;
	offer_write(&b.r, 0, 3);
	until(&b, "held_ops", 1);
	assert_int_equal(blk_class.dev.quiesce(b.r.d, &e), 0);
	saved = dev_save(b.r.d);
	dev_remove(b.r.d);
	broken = 0;
	if (rig_add_saved(&b.r, &blk_class, &b.conf, saved, &e))
		fail_msg("%s", err_line(&e, (char[400]){ 0 }, 400));
	blk_class.dev.resume(b.r.d);
	wait_used(&b.r, 0, 1);
	assert_int_equal(mem_rd(&b.r, STATUS, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(byte_at(&b, 3), 0x70);
	json_put(saved);
	bench_end(&b);
}

TEST(a_reset_forgets_what_is_held)
{
	struct bench b;

	broken_conf(&b, ON_ERROR_RETRY);
	bench_start(&b, ALL);
	broken = EIO;
	offer_write(&b.r, 0, 3);
	until(&b, "held_ops", 1);
	drv_start(&b.r, ALL); /* resets */
	broken = 0;
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_OUT, 5, 512, false), VIRTIO_BLK_S_OK);
	assert_int_equal(byte_at(&b, 3), 3);
	bench_end(&b);
}

TEST(a_head_that_is_held_and_offered_again_needs_a_reset)
{
	struct timespec ms = { .tv_nsec = 1000000 };
	struct bench b;

	broken_conf(&b, ON_ERROR_RETRY);
	bench_start(&b, ALL);
	broken = EIO;
	offer_write(&b.r, 0, 3);
	until(&b, "held_ops", 1);
	drv_offer(&b.r, 0, 0);
	drv_kick(&b.r, 0);
	for (int i = 0; i < 5000 && drv_status(&b.r) == 15; i++)
		nanosleep(&ms, NULL);
	assert_true(drv_status(&b.r) & VSTAT_NEEDS_RESET);
	broken = 0;
	drv_start(&b.r, ALL);
	assert_int_equal(ask(&b.r, 0, VIRTIO_BLK_T_OUT, 5, 512, false), VIRTIO_BLK_S_OK);
	bench_end(&b);
}

TEST(a_disk_comes_back_from_its_state)
{
	struct err e = { 0 };
	struct json *saved, *again;
	struct bench b;

	assert_int_equal(desc_uncovered(blk_class.dev.state), blk_class.dev.state->size);
	bench_conf(&b);
	bench_start(&b, ALL);
	wr(&b.r, AT_CONFIG + 32, 1, 0);
	saved = dev_save(b.r.d);
	assert_non_null(saved);
	dev_remove(b.r.d);
	if (rig_add_saved(&b.r, &blk_class, &b.conf, saved, &e))
		fail_msg("%s", err_line(&e, (char[400]){ 0 }, 400));
	again = dev_save(b.r.d);
	assert_true(json_equal_to(saved, again));
	assert_int_equal(rd(&b.r, AT_CONFIG + 32, 1), 0);
	json_put(saved);
	json_put(again);
	bench_end(&b);
}

TEST(a_disk_that_cannot_be_opened_leaves_nothing)
{
	struct err e = { 0 };
	struct bench b, c;

	bench_conf(&b);
	bench_conf(&c);
	bench_start(&b, ALL);
	free(c.conf.path);
	c.conf.path = mem_str(b.path); /* locked by the first */
	rig_init(&c.r);
	assert_int_equal(rig_add_saved(&c.r, &blk_class, &c.conf, NULL, &e), -1);
	assert_non_null(strstr(err_frame(&e, e.count - 1), "(locked)"));
	c.conf.queue_size = 2;
	assert_int_equal(rig_add_saved(&c.r, &blk_class, &c.conf, NULL, &e), -1);
	bench_end(&b);
	c.conf.queue_size = 16;
	unlink(c.path);
	strcpy(c.path, b.path);
	assert_int_equal(rig_add_saved(&c.r, &blk_class, &c.conf, NULL, &e), -1);
	assert_non_null(strstr(err_frame(&e, e.count - 1), "there is no disk image"));
	bench_end(&c);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(features_and_config_say_what_the_disk_is),
		T(reads_and_writes_reach_the_file),
		T(a_request_may_be_cut_anywhere),
		T(a_request_cut_at_every_byte_is_the_same_request),
		T(requests_are_served_exactly_where_the_disk_is),
		T(what_does_not_fit_the_disk_is_an_error),
		T(without_a_status_byte_the_device_needs_a_reset),
		T(a_readonly_disk_cannot_be_changed),
		T(the_serial_number_is_told),
		T(discard_and_write_zeroes_make_zeros),
		T(the_driver_may_turn_write_through_on_and_a_reset_turns_it_off),
		T(with_write_through_each_change_is_made_safe_before_it_is_told),
		T(sparse_off_takes_all_space_and_gives_none_back),
		T(a_queue_is_pinned_where_the_config_says),
		T(each_queue_serves_on_its_own),
		T(a_full_ring_is_served_round_after_round),
		T(a_reset_in_mid_flight_leaves_nothing_in_flight),
		T(what_waits_for_a_limit_is_served_after_a_pause_too),
		T(counters_count_what_ended_well),
		T(a_disk_takes_another_size_and_its_driver_is_told),
		T(a_size_that_cannot_be_leaves_the_disk_as_it_is),
		T(an_error_of_the_host_is_reported_by_default),
		T(with_retry_the_driver_sees_a_slow_disk_and_no_error),
		T(with_stop_the_guest_is_paused_and_what_failed_is_tried_when_it_goes_on),
		T(requests_that_are_held_are_saved_and_go_on_elsewhere),
		T(a_reset_forgets_what_is_held),
		T(a_head_that_is_held_and_offered_again_needs_a_reset),
		T(a_disk_comes_back_from_its_state),
		T(a_disk_that_cannot_be_opened_leaves_nothing),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
