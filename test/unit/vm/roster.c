/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about the list of device classes (src/vm/roster.c), and what every class on it keeps to. */
#include "test.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "vm/roster.h"
#include "vm/vcpu.h"

/* Keys that clients of Cloud Hypervisor read. */
static const struct {
	const char *class, *keys[11];
} known[] = {
	{ "blk",
	  { "read_bytes", "write_bytes", "read_ops", "write_ops", "read_latency_min",
	    "read_latency_max", "read_latency_avg", "write_latency_min", "write_latency_max",
	    "write_latency_avg" } },
	{ "net", { "rx_bytes", "tx_bytes", "rx_frames", "tx_frames" } },
};

static const struct field *row_of(const struct desc *d, const char *key)
{
	for (uint32_t i = 0; d && i < d->count; i++)
		if (!strcmp(d->fields[i].key, key))
			return &d->fields[i];
	return NULL;
}

static const struct dev_class *class_of(const char *name)
{
	for (size_t i = 0; roster[i]; i++)
		if (!strcmp(roster[i]->name, name))
			return roster[i];
	return NULL;
}

static void lawful(const char *whose, const struct desc *d)
{
	assert_int_equal(d->size, d->count * sizeof(uint64_t));
	assert_int_equal(desc_uncovered(d), d->size);
	for (uint32_t i = 0; i < d->count; i++) {
		const struct field *f = &d->fields[i];

		/* dev_count() copies numbers in the order of rows */
		if (f->off != i * sizeof(uint64_t) || f->size != sizeof(uint64_t))
			fail_msg("%s: %s is no number in its turn", whose, f->key);
		if (row_of(d, f->key) != f)
			fail_msg("%s: %s is there twice", whose, f->key);
		if (!f->doc || !*f->doc || f->doc[strlen(f->doc) - 1] == '.')
			fail_msg("%s: %s has no sentence", whose, f->key);
		if (f->unit && strcmp(f->unit, "bytes") != 0 &&
		    strcmp(f->unit, "microseconds") != 0)
			fail_msg("%s: %s counts %s, which metrics do not know", whose, f->key,
				 f->unit);
		for (const char *p = f->key; *p; p++)
			if (!islower((unsigned char)*p) && *p != '_')
				fail_msg("%s: \"%s\" is no name for a counter", whose, f->key);
	}
}

TEST(every_class_names_what_it_counts)
{
	for (size_t i = 0; roster[i]; i++) {
		const struct dev_class *c = roster[i];

		if (!c->counters)
			continue;
		lawful(c->name, c->counters);
		if (!c->count)
			assert_true(c->counters_off >= sizeof(struct dev) &&
				    c->counters_off + c->counters->size <= c->size);
	}
	lawful("vcpu", &vcpu_counts_desc);
}

/* Only what carries nothing counts nothing. */
TEST(every_class_that_carries_something_counts)
{
	static const char *const silent = " pci_host cmos i8042 ";
	char name[64];

	for (size_t i = 0; roster[i]; i++) {
		snprintf(name, sizeof(name), " %s ", roster[i]->name);
		if (!roster[i]->counters && !strstr(silent, name))
			fail_msg("class %s counts nothing", roster[i]->name);
	}
}

TEST(disks_and_cards_have_the_keys_that_clients_read)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const struct dev_class *c = class_of(known[i].class);

		assert_non_null(c);
		for (size_t k = 0; known[i].keys[k]; k++)
			if (!row_of(c->counters, known[i].keys[k]))
				fail_msg("%s does not count %s", c->name, known[i].keys[k]);
	}
}

TEST(no_two_classes_have_one_name)
{
	for (size_t i = 0; roster[i]; i++)
		assert_ptr_equal(class_of(roster[i]->name), roster[i]);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_class_names_what_it_counts),
		T(every_class_that_carries_something_counts),
		T(disks_and_cards_have_the_keys_that_clients_read),
		T(no_two_classes_have_one_name),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
