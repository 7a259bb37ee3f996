/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked for is put into the config first, which is judged as a whole, and by the machine; then
 * it is done. If that fails, the config is what it was. See resize.h.
 */
#include "vm/resize.h"

#include <inttypes.h>
#include <string.h>

#include "conf/check.h"
#include "conf/nodes.h"
#include "core/dev.h"
#include "dev/balloon.h"
#include "dev/vmem.h"
#include "mem/gmem.h"
#include "vm/machine.h"

/* One amount: what the config says of it, whether the machine can come to it now, and how. */
struct amount {
	uint64_t want;
	int (*put)(struct vm_conf *c, uint64_t want, struct err *e);
	int (*judge)(const struct vm_conf *c, struct machine *m, uint64_t want, struct err *e);
	int (*carry_out)(struct vm_conf *c, struct machine *m, uint64_t want, struct err *e);
};

/* --- vCPUs --- */

static int put_vcpus(struct vm_conf *c, uint64_t want, struct err *e)
{
	if (!want || want > c->cpus.max_vcpus)
		return err_set(e, ERR_BAD,
			       "%" PRIu64 " vCPUs: there can be 1 to %" PRIu32
			       ", as --cpus max says",
			       want, c->cpus.max_vcpus);
	c->cpus.boot_vcpus = (uint32_t)want;
	return 0;
}

static int judge_vcpus(const struct vm_conf *c, struct machine *m, uint64_t want, struct err *e)
{
	(void)c;
	return machine_judge_vcpus(m, (uint32_t)want, e);
}

static int do_vcpus(struct vm_conf *c, struct machine *m, uint64_t want, struct err *e)
{
	(void)c;
	return machine_set_vcpus(m, (uint32_t)want, e);
}

/* --- memory --- */

static int put_memory(struct vm_conf *c, uint64_t want, struct err *e)
{
	if (c->memory.zones.count)
		return err_set(e, ERR_BAD,
			       "the memory consists of zones: say of which, with vm.resize-zone");
	if (c->memory.hotplug_method == HOTPLUG_ACPI) {
		c->memory.size = want;
		return 0;
	}
	if (want < c->memory.size)
		return err_set(e, ERR_BAD,
			       "%" PRIu64 " MiB are less than the memory of the start, %" PRIu64
			       " MiB, which stays",
			       want >> 20, c->memory.size >> 20);
	c->memory.hotplugged_size = want - c->memory.size;
	c->memory.set |= 1ull << ROW_memory_hotplugged_size;
	return 0;
}

/* Tells the device that plugs memory of this zone. */
static int ask_for(struct machine *m, const char *zone, uint64_t bytes, struct err *e)
{
	struct dev *d = dev_find(machine_board(m), zone);

	if (!d || d->class != &vmem_class.dev)
		return err_set(e, ERR_BAD,
			       "this machine has no room for more memory: say hotplug_size");
	return vmem_resize(d, bytes, e);
}

/* What is to come by ACPI: what the guest has is what it booted with, and what has come since. */
static uint64_t more(const struct vm_conf *c, struct machine *m, uint64_t want)
{
	uint64_t now = gmem_total(machine_board(m)->mem);

	return c->memory.hotplug_method == HOTPLUG_ACPI && want > now ? want - now : 0;
}

static int judge_memory(const struct vm_conf *c, struct machine *m, uint64_t want, struct err *e)
{
	uint64_t bytes = more(c, m, want);

	return bytes ? machine_judge_memory(m, bytes, e) : 0;
}

static int do_memory(struct vm_conf *c, struct machine *m, uint64_t want, struct err *e)
{
	uint64_t bytes = more(c, m, want);

	if (c->memory.hotplug_method == HOTPLUG_VIRTIO_MEM)
		return ask_for(m, NODES_ONLY_ZONE, c->memory.hotplugged_size, e);
	return bytes ? machine_add_memory(m, bytes, e) : 0;
}

/* --- the balloon --- */

static int put_balloon(struct vm_conf *c, uint64_t want, struct err *e)
{
	if (!c->balloon)
		return err_set(e, ERR_BAD, "this machine has no balloon: say --balloon");
	c->balloon->size = want;
	return 0;
}

static struct dev *find_balloon(const struct vm_conf *c, struct machine *m)
{
	return dev_find(machine_board(m), c->balloon->id ? c->balloon->id : "__balloon");
}

/* Memory that is to come with it counts. */
static int judge_balloon(const struct vm_conf *c, struct machine *m, uint64_t want, struct err *e)
{
	uint64_t memory = gmem_total(machine_board(m)->mem) + more(c, m, c->memory.size);
	struct dev *d = find_balloon(c, m);

	return d ? balloon_judge(d, want, memory, e) : 0;
}

static int do_balloon(struct vm_conf *c, struct machine *m, uint64_t want, struct err *e)
{
	struct dev *d = find_balloon(c, m);

	return d ? balloon_resize(d, want, e) : err_set(e, ERR_BAD, "the balloon is not there");
}

/* --- all of it --- */

/* Before the machine does anything, each amount is in the config and fits the others, and the machine
 * takes it. */
static int put_all(struct vm_conf *c, struct machine *m, const struct amount *a, unsigned int n,
		   struct err *e)
{
	for (unsigned int i = 0; i < n; i++)
		if (a[i].put(c, a[i].want, e) < 0)
			return -1;
	if (conf_check(c, e) < 0)
		return -1;
	for (unsigned int i = 0; m && i < n; i++)
		if (a[i].judge(c, m, a[i].want, e) < 0)
			return -1;
	return 0;
}

int resize_vm(struct vm_conf *c, struct machine *m, const struct resize_conf *r, struct err *e)
{
	const struct cpus_conf cpus = c->cpus;
	const struct memory_conf memory = c->memory;
	const uint64_t balloon = c->balloon ? c->balloon->size : 0;
	struct amount a[3];
	unsigned int n = 0, done = 0;
	int result;

	if (conf_said(resize, r, desired_vcpus))
		a[n++] = (struct amount){ r->desired_vcpus, put_vcpus, judge_vcpus, do_vcpus };
	if (conf_said(resize, r, desired_ram))
		a[n++] = (struct amount){ r->desired_ram, put_memory, judge_memory, do_memory };
	if (conf_said(resize, r, desired_balloon))
		a[n++] = (struct amount){ r->desired_balloon, put_balloon, judge_balloon,
					  do_balloon };
	result = put_all(c, m, a, n, e);
	for (; m && result == 0 && done < n; done++)
		result = a[done].carry_out(c, m, a[done].want, e);
	if (result == 0)
		return 0;
	/* what came before a failure has come */
	for (unsigned int i = 0; i < n; i++) {
		bool undone = i + 1 >= done;

		if (undone && a[i].put == put_vcpus)
			c->cpus.boot_vcpus = cpus.boot_vcpus;
		else if (undone && a[i].put == put_memory)
			c->memory = memory;
		else if (undone && c->balloon)
			c->balloon->size = balloon;
	}
	return -1;
}

int resize_zone(struct vm_conf *c, struct machine *m, const struct resize_zone_conf *r,
		struct err *e)
{
	struct memory_zone_conf *z = NULL, was;

	for (uint32_t i = 0; i < c->memory.zones.count; i++)
		if (!strcmp(c->memory.zones.items[i].id, r->id))
			z = &c->memory.zones.items[i];
	if (!z)
		return err_set(e, ERR_ABSENT, "there is no memory zone %s", r->id);
	if (r->desired_ram < z->size)
		return err_set(e, ERR_BAD,
			       "%" PRIu64 " MiB are less than zone %s had at the start, %" PRIu64
			       " MiB, which stay",
			       r->desired_ram >> 20, z->id, z->size >> 20);
	was = *z;
	z->hotplugged_size = r->desired_ram - z->size;
	z->set |= 1ull << ROW_memory_zone_hotplugged_size;
	if (conf_check(c, e) == 0 && (!m || ask_for(m, z->id, z->hotplugged_size, e) == 0))
		return 0;
	*z = was;
	return -1;
}
