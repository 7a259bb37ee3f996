/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI registers: events, sleep, reset, timer, and the description that goes with them. */
#include "test.h"

#include <pthread.h>

#include "base/loop.h"
#include "dev/ged.h"
#include "fakeboard.h"
#include "fw/acpi.h"

#define FLAGS 0xfff0000000ull
#define GSI 13

static const struct ged_conf conf = {
	.at.place = { { FIXED_MMIO, FLAGS }, { FIXED_PIO, 0x600 }, { FIXED_PIO, 0x608 } },
	.gsi = GSI
};

static uint8_t flags(void)
{
	uint8_t v;

	bus_read(fake.board.mmio, FLAGS, &v, 1);
	return v;
}

TEST(an_event_raises_the_line_and_is_read_once)
{
	struct dev *d;

	fake_begin();
	d = fake_add(&ged_class, &conf);
	assert_int_equal(ged_gsi(d), GSI);
	assert_int_equal(flags(), 0);
	ged_raise(d, GED_POWER_BUTTON);
	ged_raise(d, GED_PCI);
	assert_int_equal(fake_rises, 2);
	assert_int_equal(fake_pins, 0);
	assert_int_equal(flags(), GED_POWER_BUTTON | GED_PCI);
	assert_int_equal(flags(), 0);
	fake_end();
}

/* A chip that sees an edge only where the line was low, and takes its time while it is high. */
static uint32_t edges, line;
static void slow_pin(void *arg, uint32_t pin, bool high)
{
	(void)arg;
	(void)pin;
	if (high && !__atomic_exchange_n(&line, 1, __ATOMIC_SEQ_CST))
		__atomic_add_fetch(&edges, 1, __ATOMIC_SEQ_CST);
	if (high)
		usleep(2000);
	else
		__atomic_store_n(&line, 0, __ATOMIC_SEQ_CST);
}
static void *raise_ten(void *arg)
{
	for (int i = 0; i < 10; i++)
		ged_raise(arg, GED_CPU);
	return NULL;
}

TEST(events_that_meet_are_an_edge_each)
{
	pthread_t other;
	struct dev *d;

	fake_begin();
	d = fake_add(&ged_class, &conf);
	irqs_set_chip(fake.board.irqs, &(struct irq_chip){ .pin = slow_pin });
	edges = line = 0;
	assert_int_equal(pthread_create(&other, NULL, raise_ten, d), 0);
	raise_ten(d);
	pthread_join(other, NULL);
	assert_int_equal(edges, 20);
	fake_end();
}

TEST(s5_powers_off_and_one_resets)
{
	fake_begin();
	fake_add(&ged_class, &conf);
	assert_int_equal(in(0x600, 2), 0);
	outb(0x600, 5 << 2);	      /* without the enable bit */
	outb(0x600, 3 << 2 | 1 << 5); /* S3 */
	outb(0x601, 5 << 2 | 1 << 5); /* status */
	assert_int_equal(fake.resets + fake.shutdowns, 0);
	outb(0x600, 5 << 2 | 1 << 5);
	assert_int_equal(fake.shutdowns, 1);
	outb(0x600, 1);
	assert_int_equal(fake.resets, 1);
	fake_end();
}

TEST(the_timer_counts_at_3579545_hz)
{
	uint64_t t0, t1;
	uint32_t a, b;

	fake_begin();
	fake_add(&ged_class, &conf);
	t0 = loop_now_ns();
	a = in(0x608, 4);
	usleep(50000);
	b = in(0x608, 4);
	t1 = loop_now_ns();
	assert_true(b - a >= 50000ull * 3579545 / 1000000);
	assert_true(b - a <= (t1 - t0) * 3579545 / 1000000000 + 1);
	assert_int_equal(in(0x60a, 4) >> 16, 0xffff);
	fake_end();
}

TEST(the_timer_stands_still_while_paused)
{
	struct err e = { 0 };
	struct dev *d;
	uint32_t a;

	fake_begin();
	d = fake_add(&ged_class, &conf);
	usleep(2000);
	assert_int_equal(ged_class.dev.quiesce(d, &e), 0);
	a = in(0x608, 4);
	usleep(2000);
	assert_int_equal(in(0x608, 4), a);
	ged_class.dev.resume(d);
	assert_true(in(0x608, 4) - a < 3579545u);
	fake_end();
}

TEST(the_timer_goes_on_for_what_has_passed_since_it_was_saved)
{
	struct err e = { 0 };
	struct dev *d;
	uint32_t a;

	fake_begin();
	d = fake_add(&ged_class, &conf);
	assert_int_equal(ged_class.dev.quiesce(d, &e), 0);
	a = in(0x608, 4);
	fake.board.passed_ns = 10000000000;
	ged_class.dev.resume(d);
	fake.board.passed_ns = 0;
	assert_in_range(in(0x608, 4) - a, 35795450, 35795450 + 3579545);
	fake_end();
}

TEST(its_description_names_the_registers)
{
	struct aml a = { 0 };
	struct dev *d;

	fake_begin();
	d = fake_add(&ged_class, &conf);
	assert_int_equal(ged_class.dev.describe(d, &a), 0);
	assert_non_null(memmem(a.bytes, a.len, "ACPI0013", 9));
	assert_non_null(memmem(a.bytes, a.len, "GDAT", 4));
	assert_non_null(memmem(a.bytes, a.len, "_EVT", 4));
	assert_null(memmem(a.bytes, a.len, "PSCN", 4));
	assert_int_equal(a.depth, 0);
	aml_fini(&a);
	fake_end();
}

TEST(its_description_calls_a_method_for_each_row)
{
	static const uint8_t calls[] = { 0x0a, GED_PCI, 0x00, '\\', 0x2f, 3,   '_', 'S', 'B',
					 '_',  'P',	'H',  'P',  'R',  'P', 'S', 'C', 'N' };
	struct ged_conf with = conf;
	struct aml a = { 0 };
	struct dev *d;

	with.method[0] = (struct ged_method){ GED_PCI, "\\_SB_.PHPR.PSCN" };
	with.method[1] = (struct ged_method){ GED_CPU, "\\_SB_.CPUS.CSCN" };
	fake_begin();
	d = fake_add(&ged_class, &with);
	memset(&with, 0, sizeof(with));
	assert_int_equal(ged_class.dev.describe(d, &a), 0);
	assert_non_null(memmem(a.bytes, a.len, calls, sizeof(calls)));
	assert_non_null(memmem(a.bytes, a.len, "CSCN", 4));
	aml_fini(&a);
	fake_end();
}

TEST(registers_take_harm_without_harm)
{
	fake_begin();
	fake_add(&ged_class, &conf);
	fake_hammer(fake.board.pio, 0x5fe, 20, 100000);
	fake_hammer(fake.board.mmio, FLAGS - 8, 16, 20000);
	fake_end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(an_event_raises_the_line_and_is_read_once),
		T(events_that_meet_are_an_edge_each),
		T(s5_powers_off_and_one_resets),
		T(the_timer_counts_at_3579545_hz),
		T(the_timer_stands_still_while_paused),
		T(the_timer_goes_on_for_what_has_passed_since_it_was_saved),
		T(its_description_names_the_registers),
		T(its_description_calls_a_method_for_each_row),
		T(registers_take_harm_without_harm),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
