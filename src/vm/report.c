/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a machine. Numbers are read where their writers keep them (base/counter.h), places on
 * PCI under the function's own lock if it is free. See report.h.
 */
#include "vm/report.h"

#include <pthread.h>
#include <time.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/json.h"
#include "base/mem.h"
#include "core/fixed.h"
#include "dev/balloon.h"
#include "mem/gmem.h"
#include "pci/pcidev.h"
#include "virtio/vpci.h"
#include "vm/machine.h"

/* --- numbers --- */

static void drop_numbers(struct report *r)
{
	for (uint32_t i = 0; i < r->devs; i++) {
		free(r->dev[i].id);
		free(r->dev[i].n);
	}
	free(take(&r->dev));
	free(take(&r->vcpu));
	free(take(&r->span));
	r->devs = r->vcpus = r->spans = 0;
}

static void look_at_devices(struct report *r, struct board *b)
{
	uint32_t n = 0;

	list_each (l, &b->devs)
		n++;
	r->balloon = 0;
	r->dev = mem_array(n, sizeof(r->dev[0]));
	list_each (l, &b->devs) {
		struct dev *d = container_of(l, struct dev, link);
		struct report_dev *to = &r->dev[r->devs++];

		if (d->class == &balloon_class.dev)
			r->balloon = balloon_actual(d);
		to->class = d->class;
		to->id = mem_str(d->id);
		to->n = mem_array(dev_counters(d->class), sizeof(to->n[0]));
		dev_count(d, to->n);
	}
}

/* 0 of a thread that has ended. */
static uint64_t cpu_time(const struct vcpu *c)
{
	struct timespec t = { 0 };
	clockid_t clock;

	if (!c->started || pthread_getcpuclockid(c->thread.id, &clock) ||
	    clock_gettime(clock, &t) < 0)
		return 0;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void look_at_vcpus(struct report *r, struct machine *m)
{
	r->vcpus = machine_vcpus(m);
	r->vcpu = mem_array(r->vcpus, sizeof(r->vcpu[0]));
	for (uint32_t i = 0; i < r->vcpus; i++) {
		const struct vcpu *c = machine_vcpu(m, i);
		const struct vcpu_counts *n = &c->counts;

		r->vcpu[i] = (struct report_vcpu){
			.exits = { .io = counter_get(&n->io),
				   .mmio = counter_get(&n->mmio),
				   .eoi = counter_get(&n->eoi),
				   .halt = counter_get(&n->halt),
				   .interrupt = counter_get(&n->interrupt),
				   .other = counter_get(&n->other) },
			.cpu_ns = cpu_time(c),
		};
	}
}

static void look_at_memory(struct report *r, const struct gmem *m)
{
	r->ram = gmem_total(m);
	r->spans = gmem_regions(m);
	r->span = mem_array(r->spans, sizeof(r->span[0]));
	for (uint32_t i = 0; i < r->spans; i++) {
		const struct gmem_region *from = gmem_region(m, i);

		r->span[i] = (struct report_span){ from->host, from->size };
	}
}

void report_look(struct report *r, struct machine *m)
{
	struct board *b = machine_board(m);

	drop_numbers(r);
	look_at_memory(r, b->mem);
	look_at_devices(r, b);
	look_at_vcpus(r, m);
}

/* --- the tree --- */

/* A resource is an object with one key, its kind. */
static void add_resource(struct json *to, const char *kind, struct json *what)
{
	struct json *j = json_obj();

	json_set(j, kind, what);
	json_add(to, j);
}

/* One of node's lists, which only we write. */
static struct json *list_of(struct json *node, const char *key)
{
	return (struct json *)(uintptr_t)json_get(node, key);
}

static struct json *node_add(struct json *tree, const char *id)
{
	struct json *node = json_obj();

	json_set_str(node, "id", id);
	json_set(node, "resources", json_arr());
	json_set(node, "children", json_arr());
	json_set(tree, id, node);
	return node;
}

/* Function's lock held. */
static void add_bars(struct json *to, const struct pci_fn *f)
{
	static const char *const types[] = {
		[PCI_BAR_MEM32] = "Mmio32",
		[PCI_BAR_MEM64] = "Mmio64",
		[PCI_BAR_IO] = "Io",
	};

	for (unsigned int i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *b = &f->bar[i];
		struct json *j;

		if (b->kind == PCI_BAR_NONE)
			continue;
		j = json_obj();
		json_set_int(j, "index", (int64_t)i);
		json_set_int(j, "base", (int64_t)b->addr);
		json_set_int(j, "size", (int64_t)b->size);
		json_set_str(j, "type_", types[b->kind]);
		json_set_bool(j, "prefetchable", b->prefetch);
		add_resource(to, "PciBar", j);
	}
}

static void add_function(struct json *node, struct pci_fn *f)
{
	char bdf[13];

	pci_bdf(f, bdf);
	json_set_str(node, "pci_bdf", bdf);
	if (pthread_mutex_trylock(&f->lock))
		return;
	add_bars(list_of(node, "resources"), f);
	pthread_mutex_unlock(&f->lock);
}

static void add_banks(struct json *to, const struct dev *d)
{
	const struct fixed_class *c = container_of(d->class, struct fixed_class, dev);

	for (unsigned int i = 0; i < FIXED_BANKS_MAX && c->bank[i].len; i++) {
		struct fixed_place p = fixed_place(d, i);
		struct json *j;

		if (p.bus == FIXED_NONE)
			continue;
		j = json_obj();
		json_set_int(j, "base", (int64_t)p.base);
		json_set_int(j, "size", (int64_t)c->bank[i].len);
		add_resource(to, p.bus == FIXED_PIO ? "PioAddressRange" : "MmioAddressRange", j);
	}
}

static void add_device(struct json *tree, struct dev *d)
{
	const struct plug *p = d->class->plug;
	struct json *node;

	if (p == &vpci_plug) {
		AUTO_FREE char *parent = mem_fmt("_virtio-pci-%s", d->id);

		node = node_add(tree, parent);
		add_function(node, vpci_fn(d));
		json_add(list_of(node, "children"), json_new_str(d->id));
		json_set_str(node_add(tree, d->id), "parent", parent);
		return;
	}
	node = node_add(tree, d->id);
	if (p == &pcidev_plug)
		add_function(node, pcidev_fn(d));
	else if (p == &fixed_plug)
		add_banks(list_of(node, "resources"), d);
}

void report_look_at_tree(struct report *r, struct machine *m)
{
	struct board *b = machine_board(m);

	json_put(r->tree);
	r->tree = json_obj();
	list_each (l, &b->devs)
		add_device(r->tree, container_of(l, struct dev, link));
}

/* --- how it is said --- */

struct json *report_counters(const struct report *r)
{
	struct json *all = json_obj();

	for (uint32_t i = 0; i < r->devs; i++) {
		const struct report_dev *d = &r->dev[i];
		struct json *j;

		if (!dev_counters(d->class))
			continue;
		j = json_obj();
		for (uint32_t k = 0; k < dev_counters(d->class); k++)
			json_set_int(j, d->class->counters->fields[k].key, (int64_t)d->n[k]);
		json_set(all, d->id, j);
	}
	return all;
}

const struct json *report_tree(const struct report *r)
{
	return r->tree;
}

uint64_t report_memory(const struct report *r, const struct vm_conf *c)
{
	uint64_t bytes = c->memory.size + c->memory.hotplugged_size;

	if (r->ram)
		return r->ram - min_u64(r->ram, r->balloon);

	for (uint32_t i = 0; i < c->memory.zones.count; i++)
		bytes += c->memory.zones.items[i].size + c->memory.zones.items[i].hotplugged_size;
	return bytes;
}

void report_fini(struct report *r)
{
	drop_numbers(r);
	json_put(r->tree);
	*r = (struct report){ 0 };
}
