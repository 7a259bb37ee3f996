/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NUMA nodes in the configuration. Nodes are few, so everything is found by looking at all of them.
 * See nodes.h.
 */
#include "conf/nodes.h"

#include <string.h>

#include "base/log.h"

static const struct numa_conf *find(const struct vm_conf *c, uint32_t id)
{
	for (uint32_t i = 0; i < c->numa.count; i++)
		if (c->numa.items[i].guest_numa_id == id)
			return &c->numa.items[i];
	return NULL;
}

/* How often the node says the vCPU, or the zone. */
static uint32_t says_cpu(const struct numa_conf *n, uint32_t cpu)
{
	uint32_t times = 0;

	for (uint32_t i = 0; i < n->cpus.count; i++)
		times += n->cpus.items[i] == cpu;
	return times;
}

static uint32_t says_zone(const struct numa_conf *n, const char *id)
{
	uint32_t times = 0;

	for (uint32_t i = 0; i < n->memory_zones.count; i++)
		times += !strcmp(n->memory_zones.items[i], id);
	return times;
}

/* The distance that the node itself says, or 0. */
static uint8_t says_distance(const struct numa_conf *n, uint32_t to)
{
	for (uint32_t i = 0; n && i < n->distances.count; i++)
		if (n->distances.items[i].destination == to)
			return n->distances.items[i].distance;
	return 0;
}

uint32_t nodes_of_cpu(const struct vm_conf *c, uint32_t cpu)
{
	for (uint32_t i = 0; i < c->numa.count; i++)
		if (says_cpu(&c->numa.items[i], cpu))
			return c->numa.items[i].guest_numa_id;
	return 0;
}

uint8_t nodes_distance(const struct vm_conf *c, uint32_t from, uint32_t to)
{
	uint8_t d = says_distance(find(c, from), to);

	if (from == to)
		return NODE_NEAR;
	if (!d)
		d = says_distance(find(c, to), from);
	return d ? d : NODE_FAR;
}

uint32_t nodes_zones(const struct vm_conf *c)
{
	return c->memory.zones.count ? c->memory.zones.count : 1;
}

const char *nodes_zone(const struct vm_conf *c, uint32_t i)
{
	return c->memory.zones.count ? c->memory.zones.items[i].id : NODES_ONLY_ZONE;
}

static int check_cpus(const struct vm_conf *c, const struct numa_conf *n, struct err *e)
{
	for (uint32_t i = 0; i < n->cpus.count; i++) {
		uint32_t cpu = n->cpus.items[i], times = 0;

		if (cpu >= c->cpus.max_vcpus)
			return err_set(e, ERR_BAD, "cpus names vCPU %u, and there are %u: lower it",
				       cpu, c->cpus.max_vcpus);
		for (uint32_t k = 0; k < c->numa.count; k++)
			times += says_cpu(&c->numa.items[k], cpu);
		if (times > 1)
			return err_set(e, ERR_BAD, "vCPU %u is said %u times: it has one node", cpu,
				       times);
	}
	return 0;
}

static int check_zones(const struct vm_conf *c, const struct numa_conf *n, struct err *e)
{
	for (uint32_t i = 0; i < n->memory_zones.count; i++) {
		const char *id = n->memory_zones.items[i];
		uint32_t times = 0;
		bool there = false;

		for (uint32_t k = 0; k < nodes_zones(c); k++)
			there = there || !strcmp(nodes_zone(c, k), id);
		if (!there)
			return err_set(e, ERR_BAD,
				       "there is no memory zone '%s': say --memory-zone id=%s,...",
				       id, id);
		for (uint32_t k = 0; k < c->numa.count; k++)
			times += says_zone(&c->numa.items[k], id);
		if (times > 1)
			return err_set(e, ERR_BAD,
				       "memory zone '%s' is said %u times: it has one node", id,
				       times);
	}
	return 0;
}

static int check_distances(const struct vm_conf *c, const struct numa_conf *n, struct err *e)
{
	for (uint32_t i = 0; i < n->distances.count; i++) {
		const struct numa_distance_conf *d = &n->distances.items[i];

		if (!find(c, d->destination))
			return err_set(e, ERR_BAD,
				       "distances names node %u, which is not there: say --numa "
				       "guest_numa_id=%u,...",
				       d->destination, d->destination);
		for (uint32_t k = 0; k < i; k++)
			if (n->distances.items[k].destination == d->destination)
				return err_set(e, ERR_BAD,
					       "the distance to node %u is said twice: say it once",
					       d->destination);
		if (d->destination == n->guest_numa_id && d->distance != NODE_NEAR)
			log_warn("--numa: a node is at distance %d of itself, not at %u", NODE_NEAR,
				 d->distance);
		if (d->destination != n->guest_numa_id && d->distance == NODE_NEAR)
			log_warn("--numa: guests take no distance of %d but to the node itself",
				 NODE_NEAR);
	}
	return 0;
}

static int check_node(const struct vm_conf *c, const struct numa_conf *n, struct err *e)
{
	if (find(c, n->guest_numa_id) != n)
		return err_set(e, ERR_TAKEN, "this node is said twice: say it once");
	if (n->device_id && !*n->device_id)
		return err_set(e, ERR_BAD, "device_id names nothing: say the id of a device");
	if (!n->device_id && !n->cpus.count && !n->memory_zones.count)
		return err_set(e, ERR_BAD,
			       "a node consists of something: say cpus, memory_zones or device_id");
	return check_cpus(c, n, e) || check_zones(c, n, e) || check_distances(c, n, e) ? -1 : 0;
}

/* Linux takes none of the nodes when much of the memory is on none of them. */
static void warn_of_rest(const struct vm_conf *c)
{
	uint32_t said = 0, cpus = 0;

	for (uint32_t i = 0; i < c->numa.count; i++) {
		said += c->numa.items[i].memory_zones.count;
		cpus += c->numa.items[i].cpus.count;
	}
	if (said < nodes_zones(c))
		log_warn("--numa: memory that is on no node may make the guest ignore all nodes");
	if (cpus < c->cpus.max_vcpus)
		log_warn("--numa: some vCPUs are on no node");
}

int nodes_check(const struct vm_conf *c, struct err *e)
{
	for (uint32_t i = 0; i < c->numa.count; i++)
		if (check_node(c, &c->numa.items[i], e))
			return err_in(e, "--numa guest_numa_id=%u", c->numa.items[i].guest_numa_id);
	if (c->numa.count)
		warn_of_rest(c);
	return 0;
}
