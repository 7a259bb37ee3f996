/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a snapshot as foreign JSON: refused with a sentence, or what is read of it is in order:
 * ranges in pages, one behind the other, places on PCI that can be, vCPUs whose tables hold.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/vcpustate.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/snap.h"
#include "pci/pci.h"
#include "vm/saved.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ranges(const struct saved *s)
{
	uint64_t behind = 0, off = 0;

	for (uint32_t i = 0; i < s->machine.ranges.count; i++) {
		const struct saved_range *r = &s->machine.ranges.items[i];

		if (r->base < behind || r->base % 4096 || r->size % 4096 || r->off != off ||
		    r->base + r->size < r->base)
			abort();
		behind = r->base + r->size;
		off += r->size;
	}
	if (off != s->bytes || off > INT64_MAX)
		abort();
}

static void check_devices(const struct saved *s)
{
	for (size_t i = 0; i < json_count(s->devices); i++) {
		const struct json *d = json_at(s->devices, i);
		uint16_t segment;
		struct err e = { 0 };
		int slot;

		if (saved_device(s, json_str(json_get(d, "id"))) != d)
			abort();
		if (saved_place(d, &segment, &slot, &e) == 0
			    ? segment >= PCI_SEGMENTS_MAX || slot < 0 || slot >= PCI_SLOTS
			    : !e.count)
			abort();
	}
}

static void check_vcpus(const struct saved *s)
{
	for (size_t i = 0; i < json_count(s->vcpus); i++) {
		struct x86_vcpu_state v = { 0 };
		struct err e = { 0 };

		if (snap_load(&x86_vcpu_state_desc, &v, json_at(s->vcpus, i), &e) < 0 && !e.count)
			abort();
		desc_free(&x86_vcpu_state_desc, &v);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json *j = NULL;
	struct err e = { 0 };
	struct saved s;

	log_init(LOG_ERROR, 2);
	if (json_parse(&j, (const char *)data, size, &e))
		return 0;
	if (saved_read(&s, j, &e) < 0) {
		if (!e.count)
			abort();
		return 0;
	}
	check_ranges(&s);
	check_devices(&s);
	check_vcpus(&s);
	saved_free(&s);
	return 0;
}
