/* SPDX-License-Identifier: Apache-2.0 */
/* The controller of CPU hot-plug: what it tells, what it takes, and what it does not take. */
#include "test.h"

#include "dev/cpuhp.h"
#include "dev/ged.h"
#include "fakeboard.h"
#include "fw/acpi.h"

#define AT 0xfff0000000ull
#define FLAGS 0xfff0001000ull
#define CPUS 4

enum { SELECT = 0, STATUS = 4 };
enum { THERE = 1, COMING = 2, GOING = 4, EJECT = 8 };

static const struct cpuhp_conf conf = { .at.place[0] = { FIXED_MMIO, AT },
					.cpus = CPUS,
					.boot = 2 };
static const struct ged_conf ged = { .at.place[0] = { FIXED_MMIO, FLAGS }, .gsi = 13 };
static struct dev *hp;
static uint32_t left, last_left;

static void on_left(void *arg, uint32_t cpu)
{
	(void)arg;
	left++;
	last_left = cpu;
}

static uint8_t status(uint32_t cpu)
{
	uint8_t b[4];

	le32_put(b, cpu);
	bus_write(fake.board.mmio, AT + SELECT, b, 4);
	bus_read(fake.board.mmio, AT + STATUS, b, 1);
	return b[0];
}

static void put(uint32_t cpu, uint8_t v)
{
	status(cpu);
	bus_write(fake.board.mmio, AT + STATUS, &v, 1);
}

static void begin(void)
{
	struct err e = { 0 };

	fake_begin();
	fake_sound(dev_add(NULL, &fake.board, &ged_class.dev,
			   &(struct dev_args){ .id = GED_ID, .conf = &ged }, &e),
		   &e);
	fake.board.up.cpu_left = on_left;
	left = 0;
	hp = fake_add(&cpuhp_class, &conf);
}

static void end(void)
{
	dev_remove_all(&fake.board);
	fake_end();
}

TEST(the_first_ones_are_there_and_the_others_are_not)
{
	begin();
	for (uint32_t i = 0; i < CPUS; i++) {
		assert_int_equal(status(i), i < 2 ? THERE : 0);
		assert_int_equal(cpuhp_is_there(hp, i), i < 2);
	}
	assert_int_equal(status(CPUS), 0);
	assert_int_equal(status(UINT32_MAX), 0);
	end();
}

TEST(an_arrival_is_told_until_it_is_acknowledged)
{
	uint8_t flags;

	begin();
	cpuhp_come(hp, 3);
	assert_int_equal(status(3), THERE | COMING);
	cpuhp_tell(hp);
	bus_read(fake.board.mmio, FLAGS, &flags, 1);
	assert_int_equal(flags, GED_CPU);
	assert_int_equal(status(3), THERE | COMING);
	put(3, COMING);
	assert_int_equal(status(3), THERE);
	assert_false(cpuhp_is_pending(hp));
	end();
}

TEST(who_was_asked_goes_once)
{
	begin();
	cpuhp_ask(hp, 1);
	assert_true(cpuhp_is_pending(hp));
	assert_int_equal(status(1), THERE); /* not before it is told */
	cpuhp_tell(hp);
	assert_int_equal(status(1), THERE | GOING);
	put(1, GOING);
	assert_int_equal(status(1), THERE);
	assert_true(cpuhp_is_pending(hp));
	cpuhp_tell(hp); /* again */
	assert_int_equal(status(1), THERE | GOING);
	put(1, EJECT);
	assert_int_equal(status(1), 0);
	assert_int_equal(left, 1);
	assert_int_equal(last_left, 1);
	assert_false(cpuhp_is_pending(hp));
	assert_false(cpuhp_is_there(hp, 1));
	put(1, EJECT);
	assert_int_equal(left, 1);
	cpuhp_come(hp, 1);
	assert_int_equal(status(1), THERE | COMING);
	end();
}

TEST(nobody_goes_who_was_not_asked)
{
	uint64_t n[4];

	begin();
	cpuhp_ask(hp, 1);
	cpuhp_tell(hp);
	put(0, EJECT);
	put(3, EJECT);
	put(CPUS, EJECT);
	put(UINT32_MAX, 0xff);
	assert_int_equal(left, 0);
	assert_int_equal(status(0), THERE);
	dev_count(hp, n);
	assert_int_equal(n[3], 2);
	end();
}

TEST(other_widths_and_places_are_nothing)
{
	uint8_t b[8];

	begin();
	memset(b, 0xff, sizeof(b));
	for (uint64_t off = 0; off < CPUHP_LEN; off++)
		for (uint32_t len = 1; len <= 8; len *= 2) {
			bus_write(fake.board.mmio, AT + off, b, len);
			bus_read(fake.board.mmio, AT + off, b, len);
			memset(b, 0xff, sizeof(b));
		}
	assert_int_equal(left, 0);
	for (uint32_t i = 0; i < CPUS; i++)
		assert_int_equal(status(i), i < 2 ? THERE : 0);
	end();
}

TEST(its_methods_name_every_processor)
{
	struct aml a = { 0 };
	unsigned int n = 0;

	begin();
	aml_device(&a, "CPUS");
	cpuhp_describe_methods(&a, CPUS);
	aml_end(&a);
	for (size_t i = 0; i + 4 <= a.len; i++)
		n += !memcmp(a.bytes + i, "C00", 3);
	assert_int_equal(n, CPUS);
	aml_fini(&a);
	end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(the_first_ones_are_there_and_the_others_are_not),
		T(an_arrival_is_told_until_it_is_acknowledged),
		T(who_was_asked_goes_once),
		T(nobody_goes_who_was_not_asked),
		T(other_widths_and_places_are_nothing),
		T(its_methods_name_every_processor),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
