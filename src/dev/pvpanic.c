/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pvpanic. See pvpanic.h.
 */
#include "dev/pvpanic.h"

#include <string.h>

#include "base/counter.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#define VENDOR 0x1b36
#define DEVICE 0x0011
#define CLASS_SYSTEM 0x08
#define SUBCLASS_OTHER 0x80
#define REVISION 1
#define BAR_SIZE 16 /* the least that a BAR can have; the register is its first byte */

#define PANICKED (1u << 0)
#define CRASH_LOADED (1u << 1)

enum { KIND_PANIC, KIND_LOADED, KIND_OTHER, KINDS };

struct pvpanic_state {
	uint8_t events; /* kinds that the guest was told of */
};

/* What has passed so far. */
struct pvpanic_counters {
	uint64_t panics;
};

struct pvpanic {
	struct dev dev;
	struct pvpanic_state s;
	struct log_site told[KINDS]; /* each kind has a limit of its own: none hides another */
	struct pvpanic_counters n;
};

static struct pvpanic *pvpanic_of(struct dev *d)
{
	return container_of(d, struct pvpanic, dev);
}

static void pvpanic_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	memset(data, 0, len);
	if (!off)
		data[0] = pvpanic_of(arg)->s.events;
}

/* Several kinds at once are none that is known. */
static void pvpanic_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	static const char *const names[KINDS] = { "panic", "crash_loaded", "unknown_event" };
	struct pvpanic *p = pvpanic_of(arg);
	const struct board_up *up = &p->dev.board->up;
	unsigned int kind = data[0] == PANICKED	      ? KIND_PANIC
			    : data[0] == CRASH_LOADED ? KIND_LOADED
						      : KIND_OTHER;
	uint32_t dropped;

	(void)len;
	if (!off)
		counter_add_shared(&p->n.panics, 1);
	if (!off && up->panic && log_site_admits(&p->told[kind], loop_now_ns(), &dropped))
		up->panic(up->arg, names[kind]);
}

static int pvpanic_init(struct dev *d, struct err *e)
{
	(void)e;
	if (!d->restored)
		pvpanic_of(d)->s.events = PANICKED | CRASH_LOADED;
	return 0;
}

static const struct field pvpanic_state_f[] = {
	S(struct pvpanic_state, events, .max = PANICKED | CRASH_LOADED),
};
static const struct desc pvpanic_state_desc =
	DESC_OF(struct pvpanic_state, pvpanic_state_f, "PvpanicState");

static const struct bus_ops pvpanic_ops = { .read = pvpanic_read, .write = pvpanic_write };

static const struct field counter_fields[] = {
	S(struct pvpanic_counters, panics, .doc = "times that the guest has said that it crashed"),
};
static const struct desc counter_rows =
	DESC_OF(struct pvpanic_counters, counter_fields, "pvpanic counters");

const struct pcidev_class pvpanic_class = {
	.dev = {
		.name = "pvpanic",
		.state = &pvpanic_state_desc,
		.size = sizeof(struct pvpanic),
		.counters = &counter_rows,
		.counters_off = offsetof(struct pvpanic, n),
		.state_off = offsetof(struct pvpanic, s),
		.init = pvpanic_init,
		.plug = &pcidev_plug,
	},
	.ids = {
		.vendor = VENDOR,
		.device = DEVICE,
		.class = CLASS_SYSTEM,
		.subclass = SUBCLASS_OTHER,
		.revision = REVISION,
	},
	.bar = {{.kind = PCI_BAR_MEM32, .size = BAR_SIZE, .ops = &pvpanic_ops}},
};
