/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gathering and reading. See saved.h.
 */
#include "vm/saved.h"

#include <inttypes.h>

#include "arch/arch.h"
#include "base/bits.h"
#include "base/json.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/doc.h"
#include "core/snap.h"
#include "mem/gmem.h"
#include "pci/pci.h"
#include "vm/guestclock.h"
#include "vm/machine.h"

#define K_BUILD "build"
#define K_MACHINE "machine"
#define K_CPUID "cpuid"
#define K_VCPUS "vcpus"

#define RANGES_MAX (1u << 20)
/* Each is looked for among all: one for each slot that there can be, and those at fixed places. */
#define DEVICES_MAX (PCI_SEGMENTS_MAX * PCI_SLOTS + 64)
#define VCPUS_MAX 8192u /* of conf/cpus.def */
#define PAGE 4096u

static const struct field range_f[] = {
	S(struct saved_range, base),
	S(struct saved_range, size, .min = PAGE, .max = UINT64_MAX),
	S(struct saved_range, off, .max = INT64_MAX),
};
static const struct desc range_desc = DESC_OF(struct saved_range, range_f, "SavedRange");

static const struct field machine_f[] = {
	S(struct saved_machine, real_ns),
	S(struct saved_machine, guest_ns),
	S(struct saved_machine, counter, .since = 2),
	S(struct saved_machine, next_size, .since = 3, .max = INT64_MAX),
	S(struct saved_machine, has_clock),
	S(struct saved_machine, has_counter, .since = 2),
	S_PAD(struct saved_machine, pad),
	S_LIST(struct saved_machine, ranges, &range_desc, .max_items = RANGES_MAX),
};
const struct desc saved_machine_desc =
	DESC_OF_V(struct saved_machine, machine_f, "SavedMachine", 3);

/* --- gathering --- */

static void add_range(struct saved_machine *s, uint64_t base, uint64_t size, uint64_t *off)
{
	struct saved_range *last = s->ranges.count ? &s->ranges.items[s->ranges.count - 1] : NULL;

	if (last && last->base + last->size == base) {
		last->size += size;
	} else {
		s->ranges.items = mem_resize(s->ranges.items, s->ranges.count, s->ranges.count + 1,
					     sizeof(s->ranges.items[0]));
		s->ranges.items[s->ranges.count++] = (struct saved_range){ base, size, *off };
	}
	*off += size;
}

/* Of regions that come and go in blocks, those that are there. */
static void add_ranges(struct saved_machine *s, const struct gmem *m)
{
	uint64_t off = 0;

	for (unsigned int i = 0; i < gmem_regions(m); i++) {
		const struct gmem_region *r = gmem_region(m, i);
		uint64_t end = r->base.v + r->size, n;

		for (uint64_t at = r->base.v; at < end; at += n) {
			n = min_u64(gmem_run(m, GPA(at)), end - at);
			if (n)
				add_range(s, at, n, &off);
			else
				n = r->block;
		}
	}
}

static struct json *make_machine(struct machine *m, const struct vm_conf *next)
{
	const struct guestclock *c = machine_clock(m);
	struct saved_machine s = {
		.real_ns = c->real_ns,
		.guest_ns = c->has_clock ? c->clock_ns : 0,
		.counter = c->has_counter ? c->counter : 0,
		.next_size = next->memory.size,
		.has_clock = c->has_clock,
		.has_counter = c->has_counter,
	};
	struct json *j;

	add_ranges(&s, machine_board(m)->mem);
	j = snap_save(&saved_machine_desc, &s);
	desc_free(&saved_machine_desc, &s);
	return j;
}

static int make_vcpus(struct json *root, struct machine *m, struct err *e)
{
	struct json *list = json_arr();

	json_set(root, K_VCPUS, list);
	for (uint32_t i = 0; i < machine_vcpus(m); i++) {
		struct json *j;

		if (arch_vcpu_save(&j, machine_vcpu(m, i)->hv, e) < 0)
			return err_in(e, "vCPU %" PRIu32, i);
		json_add(list, j);
	}
	return 0;
}

static int gather(struct board *b, struct err *e)
{
	list_each (at, &b->devs) {
		struct dev *d = container_of(at, struct dev, link);

		if (d->class->gather && d->class->gather(d, e) < 0)
			return err_in(e, "device %s", d->id);
	}
	return 0;
}

int saved_make(struct json **out, struct machine *m, const struct vm_conf *next, struct err *e)
{
	AUTO_JSON struct json *root = NULL;

	if (gather(machine_board(m), e) < 0)
		return -1;
	root = board_save(machine_board(m), ARCH_NAME);
	json_set_str(root, K_BUILD, VIRGA_VERSION);
	json_set(root, K_MACHINE, make_machine(m, next));
	json_set(root, K_CPUID, arch_cpus_save(machine_cpus(m)));
	if (make_vcpus(root, m, e) < 0)
		return -1;
	*out = take(&root);
	return 0;
}

/* --- reading --- */

/* Ranges by address, in pages, none meeting another, one behind the other in the file. */
static int judge_ranges(struct saved *s, struct err *e)
{
	uint64_t behind = 0, end;

	for (uint32_t i = 0; i < s->machine.ranges.count; i++) {
		const struct saved_range *r = &s->machine.ranges.items[i];

		if (r->base % PAGE || r->size % PAGE || r->off != s->bytes || r->base < behind ||
		    add_overflows(&end, r->base, r->size) ||
		    add_overflows(&s->bytes, s->bytes, r->size) || s->bytes > INT64_MAX)
			return err_set(e, ERR_BAD,
				       "range %" PRIu32 " of memory, 0x%" PRIx64 " of 0x%" PRIx64
				       " bytes, cannot lie there",
				       i, r->base, r->size);
		behind = end;
	}
	return 0;
}

/* Entries are objects with names of their own; the rest is judged by who loads them. */
static int judge_devices(const struct saved *s, struct err *e)
{
	if (json_count(s->devices) > DEVICES_MAX)
		return err_set(e, ERR_BAD, "%zu devices are saved, and no machine has more than %u",
			       json_count(s->devices), DEVICES_MAX);
	for (size_t i = 0; i < json_count(s->devices); i++) {
		const struct json *d = json_at(s->devices, i), *id = json_get(d, "id");

		if (!id || json_kind(id) != JSON_IS_STR)
			return err_set(e, ERR_BAD, "device %zu of the saved machine has no id", i);
		if (board_saved_find(s->devices, json_str(id)) != d)
			return err_set(e, ERR_BAD, "device %s is saved twice", json_str(id));
	}
	return 0;
}

static int judge_vcpus(const struct saved *s, struct err *e)
{
	if (!s->vcpus || json_kind(s->vcpus) != JSON_IS_ARR)
		return err_set(e, ERR_BAD, "the saved machine has no list of vCPUs");
	if (json_count(s->vcpus) <= VCPUS_MAX)
		return 0;
	return err_set(e, ERR_BAD, "%zu vCPUs are saved, and no machine has more than %u",
		       json_count(s->vcpus), VCPUS_MAX);
}

int saved_read(struct saved *s, struct json *root, struct err *e)
{
	*s = (struct saved){ .root = root };
	s->cpuid = json_get(root, K_CPUID);
	s->vcpus = json_get(root, K_VCPUS);
	if (board_saved_devices(&s->devices, root, ARCH_NAME, e) < 0 ||
	    snap_load(&saved_machine_desc, &s->machine, json_get(root, K_MACHINE), e) < 0 ||
	    judge_ranges(s, e) < 0 || judge_devices(s, e) < 0 || judge_vcpus(s, e) < 0) {
		saved_free(s);
		return -1;
	}
	return 0;
}

void saved_free(struct saved *s)
{
	desc_free(&saved_machine_desc, &s->machine);
	json_put(s->root);
	*s = (struct saved){ 0 };
}

const struct json *saved_device(const struct saved *s, const char *id)
{
	return board_saved_find(s->devices, id);
}

/* A whole number below the limit. */
static bool number_of(uint32_t *out, const struct json *j, const char *key, uint32_t limit)
{
	const struct json *v = json_get(j, key);

	if (!v || json_kind(v) != JSON_IS_INT || json_int(v) < 0 || json_int(v) >= limit)
		return false;
	*out = (uint32_t)json_int(v);
	return true;
}

int saved_place(const struct json *device, uint16_t *segment, int *slot, struct err *e)
{
	const struct json *plug = json_get(device, "plug"), *fn = json_get(plug, "fn");
	uint32_t at[2];

	if (!number_of(&at[0], fn ? fn : plug, "segment", PCI_SEGMENTS_MAX) ||
	    !number_of(&at[1], fn ? fn : plug, "slot", PCI_SLOTS))
		return err_set(e, ERR_BAD, "the saved place of it is none");
	*segment = (uint16_t)at[0];
	*slot = (int)at[1];
	return 0;
}
