/* SPDX-License-Identifier: Apache-2.0 */
/* Buses: lookup, cutting, overlap, moves that happen or not, and removal under traffic. */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "core/bus.h"

struct reg {
	struct bus_range range;
	uint64_t off, seen;
	uint32_t len;
	uint32_t inside; /* accesses under way */
};

static void reg_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct reg *r = arg;

	r->off = off;
	r->len = len;
	memset(data, 0x5a, len);
}

static void reg_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct reg *r = arg;

	r->off = off;
	r->len = len;
	r->seen = le_get(data, len);
}

static const struct bus_ops reg_ops = { .read = reg_read, .write = reg_write };

static struct bus *bus_make(void)
{
	struct bus *b = NULL;
	struct err e = { 0 };

	assert_int_equal(bus_new(&b, "test", &e), 0);
	return b;
}

static int reg_add(struct bus *b, struct reg *r, uint64_t base, uint64_t len)
{
	struct err e = { 0 };

	r->range.ops = &reg_ops;
	r->range.arg = r;
	return bus_add(b, &r->range, base, len, &e);
}

static uint64_t read_at(struct bus *b, uint64_t addr, uint32_t len)
{
	uint8_t data[8];

	bus_read(b, addr, data, len);
	return le_get(data, len);
}

TEST(nobody_there_reads_all_ones)
{
	struct bus *b = bus_make();
	struct reg r = { 0 };

	assert_int_equal(read_at(b, 0, 8), UINT64_MAX);
	assert_int_equal(reg_add(b, &r, 0x100, 0x10), 0);
	assert_int_equal(read_at(b, 0xff, 2), 0xffff);
	assert_int_equal(read_at(b, 0x110, 4), 0xffffffff);
	assert_int_equal(r.len, 0);
	bus_write(b, 0x110, (const uint8_t *)"x", 1);
	assert_int_equal(r.len, 0);
	bus_drop(&r.range);
	bus_free(b);
}

TEST(an_access_is_cut_at_the_end_of_the_range)
{
	struct bus *b = bus_make();
	struct reg r = { 0 };
	const uint8_t data[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	assert_int_equal(reg_add(b, &r, 0x100, 0x10), 0);
	assert_int_equal(read_at(b, 0x10e, 4), 0xffff5a5a);
	assert_int_equal(r.off, 0xe);
	assert_int_equal(r.len, 2);
	bus_write(b, 0x10d, data, 8);
	assert_int_equal(r.len, 3);
	assert_int_equal(r.seen, 0x030201);
	bus_drop(&r.range);
	bus_free(b);
}

TEST(the_last_byte_of_the_space_can_be_used)
{
	struct bus *b = bus_make();
	struct reg r = { 0 }, s = { 0 };

	assert_int_equal(reg_add(b, &r, UINT64_MAX - 0xf, 0x10), 0);
	assert_int_equal(read_at(b, UINT64_MAX, 1), 0x5a);
	assert_int_equal(reg_add(b, &s, UINT64_MAX - 0xff, 0x101), -1);
	assert_int_equal(reg_add(b, &s, 0, 0), -1);
	bus_drop(&r.range);
	bus_free(b);
}

TEST(ranges_that_meet_are_refused)
{
	struct bus *b = bus_make();
	struct reg r[4] = { 0 };

	assert_int_equal(reg_add(b, &r[0], 0x200, 0x10), 0);
	assert_int_equal(reg_add(b, &r[1], 0x100, 0x10), 0);
	assert_int_equal(reg_add(b, &r[2], 0x10f, 1), -1);
	assert_int_equal(reg_add(b, &r[2], 0x1ff, 2), -1);
	assert_int_equal(reg_add(b, &r[2], 0, 0x1000), -1);
	assert_null(r[2].range.bus);
	assert_int_equal(reg_add(b, &r[2], 0x110, 0xf0), 0);
	for (int i = 0; i < 4; i++)
		bus_drop(&r[i].range);
	bus_free(b);
}

TEST(a_move_onto_another_stays_where_it_was)
{
	struct bus *b = bus_make();
	struct reg r = { 0 }, s = { 0 };
	struct err e = { 0 };

	assert_int_equal(reg_add(b, &r, 0x100, 0x10), 0);
	assert_int_equal(reg_add(b, &s, 0x200, 0x10), 0);
	assert_int_equal(bus_move(&r.range, 0x1f8, &e), -1);
	read_at(b, 0x104, 1);
	assert_int_equal(r.off, 4);
	assert_int_equal(bus_move(&r.range, 0x108, &e), 0);
	read_at(b, 0x108, 1);
	assert_int_equal(r.off, 0);
	assert_int_equal(read_at(b, 0x100, 1), 0xff);
	assert_int_equal(bus_move(&r.range, 0x1000, &e), 0);
	read_at(b, 0x1001, 1);
	assert_int_equal(r.off, 1);
	bus_drop(&r.range);
	bus_drop(&r.range);
	assert_int_equal(bus_move(&r.range, 0, &e), -1);
	bus_drop(&s.range);
	bus_free(b);
}

/* Traffic: readers on every address while ranges come, go and move. */
struct traffic {
	struct bus *bus;
	bool stop;
};

static void *reads_run(void *arg)
{
	struct traffic *t = arg;

	while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED))
		read_at(t->bus, 0x104, 4);
	return NULL;
}

TEST(readers_do_not_keep_a_writer_out)
{
	struct traffic t = { .bus = bus_make() };
	pthread_t thread[8];
	struct reg r = { 0 };

	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, reads_run, &t), 0);
	for (int i = 0; i < 500; i++) {
		assert_int_equal(reg_add(t.bus, &r, 0x200, 0x10), 0);
		bus_drop(&r.range);
	}
	__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 8; i++)
		pthread_join(thread[i], NULL);
	bus_free(t.bus);
}

static void busy_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct reg *r = arg;

	(void)off;
	(void)data;
	(void)len;
	__atomic_fetch_add(&r->inside, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 20; i++)
		sched_yield();
	__atomic_fetch_sub(&r->inside, 1, __ATOMIC_SEQ_CST);
}

static const struct bus_ops busy_ops = { .read = reg_read, .write = busy_write };

static void *traffic_run(void *arg)
{
	struct traffic *t = arg;
	const uint8_t data[4] = { 0 };

	for (uint64_t i = 0; !__atomic_load_n(&t->stop, __ATOMIC_RELAXED); i++)
		bus_write(t->bus, i % 0x400, data, 4);
	return NULL;
}

TEST(who_drops_a_range_finds_nobody_inside)
{
	struct traffic t = { .bus = bus_make() };
	pthread_t thread[3];
	struct reg still = { 0 };
	struct err e = { 0 };

	still.range.ops = &busy_ops;
	still.range.arg = &still;
	assert_int_equal(bus_add(t.bus, &still.range, 0x300, 0x80, &e), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, traffic_run, &t), 0);
	for (int i = 0; i < 200; i++) {
		struct reg *r = calloc(1, sizeof(*r));

		r->range.ops = &busy_ops;
		r->range.arg = r;
		assert_int_equal(bus_add(t.bus, &r->range, 0x100, 0x80, &e), 0);
		sched_yield();
		assert_int_equal(bus_move(&r->range, 0x180, &e), 0);
		assert_int_equal(bus_move(&r->range, 0x2c0, &e), -1);
		if (i % 2) {
			bus_hide(&r->range);
			assert_int_equal(bus_add(t.bus, &r->range, 0x80, 0x80, &e), 0);
		}
		sched_yield();
		bus_drop(&r->range);
		assert_int_equal(__atomic_load_n(&r->inside, __ATOMIC_SEQ_CST), 0);
		free(r);
	}
	__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	bus_drop(&still.range);
	bus_free(t.bus);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(nobody_there_reads_all_ones),
		T(an_access_is_cut_at_the_end_of_the_range),
		T(the_last_byte_of_the_space_can_be_used),
		T(ranges_that_meet_are_refused),
		T(a_move_onto_another_stays_where_it_was),
		T(readers_do_not_keep_a_writer_out),
		T(who_drops_a_range_finds_nobody_inside),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
