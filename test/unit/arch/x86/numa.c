/* SPDX-License-Identifier: Apache-2.0 */
/* SRAT and SLIT byte by byte, for nodes without devices. (Those with are tested by a guest.) */
#include "arch/x86/numa.h"

#include <string.h>

#include "base/bits.h"
#include "fw/acpi.h"
#include "mem/gmem.h"
#include "test.h"

static struct memory_zone_conf zone[] = { { .id = (char *)"a" }, { .id = (char *)"b" } };
static char *first[] = { (char *)"b" }, *second[] = { (char *)"a" };
static uint32_t cpus[] = { 2 };
static struct numa_conf node[2];
static struct vm_conf vm;

static void two_nodes(struct board *b)
{
	const struct backing_args how = { 0 };
	struct err e = { 0 };

	vm = (struct vm_conf){
		.cpus = { .boot_vcpus = 3, .max_vcpus = 3 },
		.memory = { .zones = { 2, zone } },
		.numa = { 2, node },
	};
	node[0] = (struct numa_conf){ .guest_numa_id = 1, .memory_zones = { 1, first } };
	node[1] = (struct numa_conf){ .memory_zones = { 1, second }, .cpus = { 1, cpus } };
	board_init(b);
	assert_int_equal(gmem_new(&b->mem, &e), 0);
	assert_int_equal(gmem_add(b->mem, GPA(0), MIB(2), &how, &e), 0);
	assert_int_equal(gmem_add(b->mem, GPA(GIB(4)), MIB(6), &how, &e), 0);
}

TEST(srat_tells_where_zones_and_processors_are)
{
	struct board b = { 0 };
	struct aml a = { 0 };
	struct err e = { 0 };

	two_nodes(&b);
	assert_int_equal(x86_srat(&a, &b, &vm, &e), 0);
	assert_int_equal(a.len, 48 + 40 + 40 + 24);
	assert_memory_equal(a.bytes, "SRAT", 4);
	assert_int_equal(acpi_checksum(a.bytes, a.len), 0);
	assert_int_equal(le32_get(a.bytes + 36), 1);
	/* zone b, which is the second region, on node 1 */
	assert_int_equal(a.bytes[48], 1);
	assert_int_equal(a.bytes[49], 40);
	assert_int_equal(le32_get(a.bytes + 50), 1);
	assert_int_equal(le64_get(a.bytes + 56), GIB(4));
	assert_int_equal(le64_get(a.bytes + 64), MIB(6));
	assert_int_equal(le32_get(a.bytes + 76), 1);
	assert_int_equal(le64_get(a.bytes + 88 + 16), MIB(2));
	/* the processor */
	assert_int_equal(a.bytes[128], 2);
	assert_int_equal(a.bytes[129], 24);
	assert_int_equal(le32_get(a.bytes + 132), 0);
	assert_int_equal(le32_get(a.bytes + 136), 2);
	assert_int_equal(le32_get(a.bytes + 140), 1);
	aml_fini(&a);
	gmem_free(b.mem);
}

TEST(slit_has_a_row_for_each_number_up_to_the_last_node)
{
	static const uint8_t far[] = { 10, 20, 20, 20, 10, 20, 20, 20, 10 };
	struct board b = { 0 };
	struct aml a = { 0 };

	two_nodes(&b);
	node[0].guest_numa_id = 2;
	x86_slit(&a, &vm);
	assert_int_equal(a.len, 44 + 9);
	assert_int_equal(le64_get(a.bytes + 36), 3);
	assert_memory_equal(a.bytes + 44, far, 9);
	assert_int_equal(acpi_checksum(a.bytes, a.len), 0);
	aml_fini(&a);
	gmem_free(b.mem);
}

TEST(a_device_that_is_not_there_is_named)
{
	struct board b = { 0 };
	struct aml a = { 0 };
	struct err e = { 0 };

	two_nodes(&b);
	node[0] = (struct numa_conf){ .guest_numa_id = 7, .device_id = (char *)"gone" };
	assert_int_equal(x86_srat(&a, &b, &vm, &e), -1);
	assert_non_null(strstr(err_frame(&e, 0), "guest_numa_id=7: there is no PCI device 'gone'"));
	aml_fini(&a);
	gmem_free(b.mem);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(srat_tells_where_zones_and_processors_are),
		T(slit_has_a_row_for_each_number_up_to_the_last_node),
		T(a_device_that_is_not_there_is_named),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
