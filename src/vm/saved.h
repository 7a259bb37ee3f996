/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine as one JSON value, and the checked reading of such a value: what is in state.json of a
 * snapshot, and what a migration will carry. Beside the devices (core/snap) it has the processors,
 * the clock, and where memory lies; memory itself and the configuration are not in it.
 *
 *	{ "virga": 1, "arch": "x86_64", "build": "…",
 *	  "machine": {"v", "state"}, "cpuid": {"v", "state"},
 *	  "vcpus": [{"v", "state"}, …], "devices": [{"id", "class", "v", "state", "pv", "plug"}, …] }
 *
 * Versions stand outside what they version; what is read is foreign. Who has the machine, or the
 * control thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/desc.h"
#include "base/err.h"

struct json;
struct machine;
struct vm_conf;

/* RAM, and where it lies in the file. */
struct saved_range {
	uint64_t base, size, off;
};

struct saved_machine {
	uint64_t real_ns;   /* the host's time of day when it came to stand */
	uint64_t guest_ns;  /* the hypervisor's clock then, when has_clock */
	uint64_t counter;   /* the first processor's counter then, when has_counter */
	uint64_t next_size; /* of memory without zones at the next boot; 0: not told */
	bool has_clock, has_counter;
	uint8_t pad[6];
	LIST(struct saved_range) ranges; /* by address */
};
extern const struct desc saved_machine_desc;

struct saved {
	struct json *root; /* owned */
	struct saved_machine machine;
	const struct json *devices, *cpuid, *vcpus; /* in root */
	uint64_t bytes;				    /* of memory */
};

/* Of a machine that machine_pause has stopped, and what its next boot is to be like. The caller puts
 * *out. */
MUST int saved_make(struct json **out, struct machine *m, const struct vm_conf *next,
		    struct err *e);
/* Takes root, also on failure. Judges all that can be judged without a machine. */
MUST int saved_read(struct saved *s, struct json *root, struct err *e);
void saved_free(struct saved *s);

/* The entry of a device; NULL when it has none. place: where it was, of a device on PCI. */
const struct json *saved_device(const struct saved *s, const char *id);
MUST int saved_place(const struct json *device, uint16_t *segment, int *slot, struct err *e);
