/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes and distances, for every way in which two of them may be said. */
#include "conf/nodes.h"

#include "test.h"

static struct numa_conf node[3];
static struct numa_distance_conf way[3][3];
static struct vm_conf vm;

static void three_nodes(void)
{
	static const uint32_t id[] = { 0, 2, 5 };

	vm = (struct vm_conf){ .numa = { 3, node } };
	for (unsigned int i = 0; i < 3; i++)
		node[i] = (struct numa_conf){ .guest_numa_id = id[i], .distances = { 0, way[i] } };
}

static void say(unsigned int at, uint32_t to, uint8_t distance)
{
	way[at][node[at].distances.count++] = (struct numa_distance_conf){ 0, to, distance };
}

TEST(a_way_said_in_one_direction_is_that_in_the_other)
{
	for (unsigned int said = 0; said < 4; said++) {
		three_nodes();
		if (said & 1)
			say(0, 2, 31);
		if (said & 2)
			say(1, 0, 42);
		assert_int_equal(nodes_distance(&vm, 0, 2), said & 1   ? 31
							    : said & 2 ? 42
								       : NODE_FAR);
		assert_int_equal(nodes_distance(&vm, 2, 0), said & 2   ? 42
							    : said & 1 ? 31
								       : NODE_FAR);
		assert_int_equal(nodes_distance(&vm, 0, 5), NODE_FAR);
	}
}

TEST(a_node_is_near_itself_whatever_is_said)
{
	three_nodes();
	say(2, 5, 99);
	for (uint32_t id = 0; id < 7; id++)
		assert_int_equal(nodes_distance(&vm, id, id), NODE_NEAR);
}

TEST(nodes_that_nobody_said_are_as_far_as_usual)
{
	three_nodes();
	say(0, 2, 31);
	assert_int_equal(nodes_distance(&vm, 0, 1), NODE_FAR);
	assert_int_equal(nodes_distance(&vm, 1, 3), NODE_FAR);
}

TEST(a_vcpu_that_nobody_said_is_on_node_zero)
{
	uint32_t cpus[] = { 1, 3 };

	three_nodes();
	node[1].cpus.count = 2;
	node[1].cpus.items = cpus;
	assert_int_equal(nodes_of_cpu(&vm, 3), 2);
	assert_int_equal(nodes_of_cpu(&vm, 2), 0);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_way_said_in_one_direction_is_that_in_the_other),
		T(a_node_is_near_itself_whatever_is_said),
		T(nodes_that_nobody_said_are_as_far_as_usual),
		T(a_vcpu_that_nobody_said_is_on_node_zero),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
