/* SPDX-License-Identifier: Apache-2.0 */
/* VM Generation ID: the number in memory, when it changes, and how the guest hears of it. */
#include "test.h"

#include "base/bits.h"
#include "dev/ged.h"
#include "dev/vmgenid.h"
#include "fakeboard.h"
#include "fw/acpi.h"
#include "virtio/drive.h"

#define FLAGS 0xfff0000000ull
#define PAGE 0x9000

static const struct ged_conf ged = { .at.place = { { FIXED_MMIO, FLAGS } }, .gsi = 13 };
static const uint8_t first[VMGENID_BYTES] = "first generatio",
		     other[VMGENID_BYTES] = "other generatio";
static struct rig r;

static void begin(const uint8_t *id, uint64_t page, const struct json *saved)
{
	const struct vmgenid_conf c = { .page = page, .id = id };
	const struct dev_args a = { .id = VMGENID_ID, .conf = &c, .slot = -1, .saved = saved };
	const struct dev_args g = { .id = GED_ID, .conf = &ged, .slot = -1 };
	struct err e = { 0 };

	rig_init(&r);
	fake_sound(dev_add(NULL, &r.b, &ged_class.dev, &g, &e), &e);
	fake_sound(dev_add(&r.d, &r.b, &vmgenid_class.dev, &a, &e), &e);
}

static bool has(const uint8_t *id)
{
	uint8_t there[VMGENID_BYTES];

	assert_int_equal(gmem_read(r.mem, GPA(PAGE), there, sizeof(there)), 0);
	return !memcmp(there, id, sizeof(there));
}

static uint8_t flags(void)
{
	uint8_t v;

	bus_read(r.b.mmio, FLAGS, &v, 1);
	return v;
}

TEST(it_is_in_memory_from_the_start_and_stays_over_a_pause)
{
	begin(first, PAGE, NULL);
	assert_true(has(first));
	vmgenid_class.dev.resume(r.d);
	assert_true(has(first));
	assert_int_equal(flags(), 0);
	rig_fini(&r);
}

TEST(a_machine_that_goes_on_is_told_of_another_one_once)
{
	AUTO_JSON struct json *saved = NULL;
	uint64_t changes = 0;

	begin(first, PAGE, NULL);
	saved = dev_save(r.d);
	rig_fini(&r);
	begin(other, PAGE, saved);
	/* its memory comes after it */
	assert_int_equal(gmem_write(r.mem, GPA(PAGE), first, sizeof(first)), 0);
	assert_true(has(first));
	vmgenid_class.dev.resume(r.d);
	assert_true(has(other));
	assert_int_equal(flags(), GED_GENERATION);
	vmgenid_class.dev.resume(r.d);
	assert_int_equal(flags(), 0);
	dev_count(r.d, &changes);
	assert_int_equal(changes, 1);
	rig_fini(&r);
}

TEST(a_page_outside_of_memory_is_refused)
{
	const struct vmgenid_conf c = { .page = GIB(64), .id = first };
	const struct dev_args a = { .id = VMGENID_ID, .conf = &c, .slot = -1 };
	struct err e = { 0 };

	rig_init(&r);
	assert_int_equal(dev_add(NULL, &r.b, &vmgenid_class.dev, &a, &e), -1);
	rig_fini(&r);
}

TEST(its_description_is_what_drivers_look_for)
{
	/* Name (ADDR, Package (2) {0x9000, 0}) */
	static const uint8_t addr[] = {
		0x08, 'A', 'D', 'D', 'R', 0x12, 6, 2, 0x0b, 0x00, 0x90, 0x00
	};
	struct aml a = { 0 };

	begin(first, PAGE, NULL);
	assert_int_equal(vmgenid_class.dev.describe(r.d, &a), 0);
	assert_non_null(memmem(a.bytes, a.len, "_CID\rVM_Gen_Counter", 20));
	assert_non_null(memmem(a.bytes, a.len, addr, sizeof(addr)));
	assert_non_null(memmem(a.bytes, a.len, "VGNT", 4));
	assert_int_equal(a.depth, 0);
	aml_fini(&a);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(it_is_in_memory_from_the_start_and_stays_over_a_pause),
		T(a_machine_that_goes_on_is_told_of_another_one_once),
		T(a_page_outside_of_memory_is_refused),
		T(its_description_is_what_drivers_look_for),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
