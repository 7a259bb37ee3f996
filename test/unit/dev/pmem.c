/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistent memory: what becomes memory and where, what flushes do and are told, and what is
 * refused. virtio 1.3 §5.19.
 */
#include "conf/conf.h"

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "dev/pmem.h"
#include "virtio/drive.h"
#include "virtio/vpci.h"

#define AREAS (RIG_MEM64 + GIB(4)) /* below, a guest places BARs */

/* In place of the C library's: counted, and made to fail. */
static _Atomic int syncs, sync_error, sync_slow_us;

int fsync(int fd)
{
	(void)fd;
	if (sync_slow_us)
		usleep((useconds_t)sync_slow_us);
	syncs++;
	errno = sync_error;
	return sync_error ? -1 : 0;
}

static char path[64];

static const char *file(uint64_t size)
{
	snprintf(path, sizeof(path), "/tmp/virga-pmem-%d", getpid());
	int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);

	assert_true(fd >= 0 && !ftruncate(fd, (off_t)size));
	close(fd);
	return path;
}

static struct pmem_conf conf_of(const char *where)
{
	return (struct pmem_conf){ .file = (char *)(uintptr_t)where };
}

static void up(struct rig *r, const struct pmem_conf *c)
{
	syncs = sync_error = sync_slow_us = 0;
	rig_init(r);
	rig_add(r, &pmem_class, c);
	drv_start(r, 0);
}

static void offer(struct rig *r, uint16_t n, uint32_t type, uint32_t rlen, uint32_t wlen)
{
	uint64_t at = BUF + 64u * n;

	mem_wr(r, at, 8, type);
	mem_wr(r, at + 16, 8, ~0ull);
	drv_desc(r, 0, 2u * n, at, rlen, F_NEXT, (uint16_t)(2 * n + 1));
	drv_desc(r, 0, 2u * n + 1, at + 16, wlen, F_WRITE, 0);
	drv_offer(r, 0, (uint16_t)(2 * n));
}

/* The queue has a thread of its own. */
static void until_used(struct rig *r, uint16_t n)
{
	for (int i = 0; i < 5000 && drv_used(r, 0) != n && drv_status(r) == 15; i++)
		usleep(1000);
}

static uint32_t ask(struct rig *r, uint32_t type, uint32_t rlen)
{
	uint16_t n = (uint16_t)(drv_used(r, 0) + 1);

	offer(r, 0, type, rlen, 4);
	drv_kick(r, 0);
	until_used(r, n);
	assert_int_equal(drv_used(r, 0), n);
	assert_int_equal(drv_used_len(r, 0, (uint16_t)(n - 1)), 4);
	return (uint32_t)mem_rd(r, BUF + 16, 4);
}

static uint64_t start_of(struct rig *r)
{
	return rd(r, AT_CONFIG, 8);
}

TEST(the_file_is_memory_where_its_config_says)
{
	struct pmem_conf c = conf_of(file(MIB(4)));
	struct rig r;
	uint8_t b[8];
	FILE *f;

	up(&r, &c);
	assert_int_equal(rd(&r, AT_CONFIG + 8, 8), MIB(4));
	assert_int_equal(start_of(&r) % MIB(2), 0);
	assert_int_equal(start_of(&r), AREAS); /* the lowest: near to RAM */
	mem_wr(&r, start_of(&r) + 12345, 8, 0x1122334455667788);
	f = fopen(path, "r");
	assert_int_equal(fseek(f, 12345, SEEK_SET), 0);
	assert_int_equal(fread(b, 1, 8, f), 8);
	fclose(f);
	assert_true(le64_get(b) == 0x1122334455667788);
	assert_true(gmem_ok(r.mem, GPA(start_of(&r)), MIB(4)));
	assert_false(gmem_ok(r.mem, GPA(start_of(&r)), MIB(4) + 1));
	assert_int_equal(gmem_total(r.mem), RAM_SIZE); /* and no RAM */
	dev_remove(r.d);
	assert_false(gmem_ok(r.mem, GPA(AREAS), 8));
	rig_fini(&r);
	unlink(path);
}

TEST(two_lie_side_by_side_and_a_place_is_free_again)
{
	struct pmem_conf c = conf_of(file(MIB(2)));
	const struct dev_args a = { .id = "t1", .conf = &c, .slot = -1 };
	struct dev *second;
	struct err e = { 0 };
	struct rig r;

	c.discard_writes = true; /* else it has its file for itself */
	up(&r, &c);
	rig_ok(dev_add(&second, &r.b, &pmem_class.dev, &a, &e));
	assert_int_equal(le64_get(vdev_of(second)->config), AREAS + MIB(2));
	dev_remove(r.d);
	rig_add(&r, &pmem_class, &c);
	assert_int_equal(start_of(&r), AREAS);
	rig_fini(&r);
	unlink(path);
}

TEST(who_writes_is_alone_until_it_goes)
{
	struct pmem_conf c = conf_of(file(MIB(2))), reads = c;
	const struct dev_args a = { .id = "t1", .conf = &c, .slot = -1 },
			      b = { .id = "t2", .conf = &reads, .slot = -1 };
	struct dev *second;
	struct err e = { 0 };
	struct rig r;

	reads.discard_writes = true;
	up(&r, &c);
	assert_int_equal(dev_add(&second, &r.b, &pmem_class.dev, &a, &e), -1);
	assert_int_equal(e.kind, ERR_TAKEN);
	assert_int_equal(dev_add(&second, &r.b, &pmem_class.dev, &b, &e), -1);
	assert_int_equal(e.kind, ERR_TAKEN);
	dev_remove(r.d);
	rig_add(&r, &pmem_class, &c);
	rig_fini(&r);
	unlink(path);
}

TEST(a_bar_that_is_written_onto_it_waits)
{
	struct pmem_conf c = conf_of(file(MIB(2)));
	struct rig r;

	up(&r, &c);
	cfg_wr(&r, 0x10, 4, (uint32_t)AREAS);
	cfg_wr(&r, 0x14, 4, (uint32_t)(AREAS >> 32));
	assert_true(vpci_fn(r.d)->bar[0].waits);
	rig_fini(&r);
	unlink(path);
}

TEST(a_flush_is_answered_when_the_file_is_written)
{
	struct pmem_conf c = conf_of(file(MIB(2)));
	struct rig r;

	up(&r, &c);
	assert_int_equal(ask(&r, 0, 4), 0);
	assert_int_equal(syncs, 1);
	assert_int_equal(ask(&r, 0, 8), 0); /* longer than it needs to be */
	assert_int_equal(syncs, 2);
	rig_fini(&r);
	unlink(path);
}

TEST(what_is_no_flush_is_an_error_and_writes_nothing)
{
	struct pmem_conf c = conf_of(file(MIB(2)));
	struct rig r;

	up(&r, &c);
	assert_int_equal(ask(&r, 1, 4), 1);
	assert_int_equal(ask(&r, ~0u, 4), 1);
	assert_int_equal(ask(&r, 0, 3), 1);
	assert_int_equal(syncs, 0);
	rig_fini(&r);
	unlink(path);
}

TEST(a_request_without_room_for_the_answer_breaks_it_off)
{
	struct pmem_conf c = conf_of(file(MIB(2)));
	struct rig r;

	up(&r, &c);
	offer(&r, 0, 0, 4, 3);
	drv_kick(&r, 0);
	until_used(&r, 1);
	assert_int_equal(drv_status(&r), 15 | 64);
	drv_start(&r, 0);
	assert_int_equal(ask(&r, 0, 4), 0);
	rig_fini(&r);
	unlink(path);
}

TEST(flushes_that_wait_share_one_write_and_are_answered_in_order)
{
	struct pmem_conf c = conf_of(file(MIB(2)));
	struct rig r;

	up(&r, &c);
	sync_slow_us = 50000;
	offer(&r, 0, 0, 4, 4);
	drv_kick(&r, 0);
	usleep(10000); /* it is under way */
	for (uint16_t i = 1; i < 8; i++)
		offer(&r, i, i == 4 ? 7 : 0, 4, 4);
	drv_kick(&r, 0);
	until_used(&r, 8);
	assert_int_equal(drv_used(&r, 0), 8);
	assert_in_range(syncs, 2, 3);
	for (uint16_t i = 0; i < 8; i++) {
		assert_int_equal(drv_used_head(&r, 0, i), 2 * i);
		assert_int_equal(mem_rd(&r, BUF + 64u * i + 16, 4), i == 4);
	}
	rig_fini(&r);
	unlink(path);
}

TEST(a_flush_that_failed_is_told_for_good)
{
	struct pmem_conf c = conf_of(file(MIB(2)));
	struct rig r;

	up(&r, &c);
	sync_error = EIO;
	assert_int_equal(ask(&r, 0, 4), 1);
	sync_error = 0;
	assert_int_equal(ask(&r, 0, 4), 1);
	drv_start(&r, 0); /* a reset of the driver's heals no disk */
	assert_int_equal(ask(&r, 0, 4), 1);
	assert_int_equal(syncs, 1);
	rig_fini(&r);
	unlink(path);
}

TEST(quiescing_waits_for_a_flush_and_what_follows_is_answered_later)
{
	struct pmem_conf c = conf_of(file(MIB(2)));
	struct err e = { 0 };
	struct rig r;

	up(&r, &c);
	sync_slow_us = 30000;
	offer(&r, 0, 0, 4, 4);
	drv_kick(&r, 0);
	usleep(5000);
	rig_ok(r.d->class->quiesce(r.d, &e));
	assert_in_range(drv_used(&r, 0), 0, 1);
	assert_int_equal(drv_used(&r, 0), syncs); /* begun is done */
	offer(&r, 1, 0, 4, 4);
	drv_kick(&r, 0);
	usleep(5000);
	assert_int_equal(drv_used(&r, 0), syncs);
	r.d->class->resume(r.d);
	until_used(&r, 2);
	assert_int_equal(drv_used(&r, 0), 2);
	rig_fini(&r);
	unlink(path);
}

TEST(discarded_writes_are_memory_and_not_in_the_file)
{
	struct pmem_conf c = conf_of(file(MIB(2)));
	struct rig r;
	FILE *f;

	c.discard_writes = true;
	chmod(path, 0400);
	up(&r, &c);
	mem_wr(&r, start_of(&r), 8, 1);
	assert_int_equal(mem_rd(&r, start_of(&r), 8), 1);
	assert_int_equal(ask(&r, 0, 4), 0);
	assert_int_equal(syncs, 0); /* there is nothing to write */
	f = fopen(path, "r");
	assert_int_equal(fgetc(f), 0);
	fclose(f);
	rig_fini(&r);
	unlink(path);
}

TEST(a_directory_gives_a_nameless_file_of_that_size)
{
	struct pmem_conf c = conf_of("/dev/shm");
	struct rig r;

	c.size = MIB(6);
	c.set = 1ull << ROW_pmem_size;
	up(&r, &c);
	assert_int_equal(rd(&r, AT_CONFIG + 8, 8), MIB(6));
	mem_wr(&r, start_of(&r) + MIB(6) - 8, 8, 1);
	assert_int_equal(ask(&r, 0, 4), 0);
	rig_fini(&r);
}

TEST(what_is_no_such_memory_is_refused_by_name)
{
	const struct {
		uint64_t have, size;
		const char *where, *sentence;
	} bad[] = {
		{ 0, 0, "/nowhere/at/all", "/nowhere/at/all" },
		{ MIB(3), 0, NULL, "no multiple of 2M" },
		{ 0, 0, NULL, "no multiple of 2M" },
		{ MIB(2), MIB(4), NULL, "make it larger" },
		{ 0, 0, "/dev/shm", "needs a size" },
		{ 0, MIB(2), "/dev/null", "neither a regular file nor a block device" },
		{ GIB(16), 0, NULL, "no room" }, /* larger than the aperture */
	};
	struct rig r;

	rig_init(&r);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct pmem_conf c = conf_of(bad[i].where ? bad[i].where : file(bad[i].have));
		struct err e = { 0 };
		char line[400];

		c.size = bad[i].size;
		c.set = bad[i].size ? 1ull << ROW_pmem_size : 0;
		assert_int_equal(rig_add_saved(&r, &pmem_class, &c, NULL, &e), -1);
		if (!strstr(err_line(&e, line, sizeof(line)), bad[i].sentence))
			fail_msg("%s", line);
	}
	rig_fini(&r);
	unlink(path);
}

TEST(saved_and_made_again_it_lies_where_it_was)
{
	struct pmem_conf c = conf_of(file(MIB(2)));
	const struct dev_args a = { .id = "t1", .conf = &c, .slot = -1 };
	struct dev_args again = { .id = "t0", .conf = &c, .slot = 2 };
	struct dev *first;
	struct err e = { 0 };
	struct json *j;
	char line[200];
	struct rig r;

	c.discard_writes = true; /* so that two may have the file */
	rig_init(&r);
	rig_ok(dev_add(&first, &r.b, &pmem_class.dev, &a, &e));
	rig_add(&r, &pmem_class, &c);
	drv_start(&r, 0);
	assert_int_equal(start_of(&r), AREAS + MIB(2));
	rig_ok(r.d->class->quiesce(r.d, &e));
	j = dev_save(r.d);
	dev_remove(r.d);
	dev_remove(first);
	again.saved = j;
	rig_ok(dev_add(&r.d, &r.b, &pmem_class.dev, &again, &e));
	assert_int_equal(start_of(&r), AREAS + MIB(2));
	dev_remove(r.d);
	r.d = NULL;
	assert_int_equal(truncate(path, MIB(4)), 0);
	assert_int_equal(dev_add(NULL, &r.b, &pmem_class.dev, &again, &e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof(line)), "had 2097152 when it was saved"));
	assert_int_equal(truncate(path, MIB(2)), 0);
	rig_ok(dev_add(&r.d, &r.b, &pmem_class.dev, &again, &e));
	json_put(j);
	rig_fini(&r);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(the_file_is_memory_where_its_config_says),
		T(two_lie_side_by_side_and_a_place_is_free_again),
		T(who_writes_is_alone_until_it_goes),
		T(a_bar_that_is_written_onto_it_waits),
		T(a_flush_is_answered_when_the_file_is_written),
		T(what_is_no_flush_is_an_error_and_writes_nothing),
		T(a_request_without_room_for_the_answer_breaks_it_off),
		T(flushes_that_wait_share_one_write_and_are_answered_in_order),
		T(a_flush_that_failed_is_told_for_good),
		T(quiescing_waits_for_a_flush_and_what_follows_is_answered_later),
		T(discarded_writes_are_memory_and_not_in_the_file),
		T(a_directory_gives_a_nameless_file_of_that_size),
		T(what_is_no_such_memory_is_refused_by_name),
		T(saved_and_made_again_it_lies_where_it_was),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
