/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers of ACPI on reduced hardware: the flag byte that the interrupt's method reads, sleep
 * control, and the PM timer, which counts the monotonic clock of the host and stands still while
 * the VM is paused. Registers: vCPU threads. Raising: any thread. One lock. ACPI 6.5 §4.8.3.3
 * (timer), §4.8.3.7 (sleep), §5.6.9 (events).
 */
#include "dev/ged.h"

#include <pthread.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/loop.h"
#include "base/mem.h"
#include "fw/acpi.h"

#define FLAGS_LEN 1
#define SLEEP_LEN 8
#define TIMER_LEN 4

#define SLEEP_CONTROL 0
#define SLP_TYP_SHIFT 2
#define SLP_TYP_BITS 7u

#define TIMER_HZ 3579545ull
#define SECOND_NS 1000000000ull

#define POWER_BUTTON_PRESSED 0x80

struct ged_state {
	uint32_t ticks; /* of the timer, when it was last stopped or started */
	uint8_t flags;	/* events since the last read */
	uint8_t pad[3];
};

/* What has passed so far. */
struct ged_counters {
	uint64_t events;
};

struct ged {
	struct dev dev;
	pthread_mutex_t lock;
	struct ged_state s;
	uint32_t gsi;
	struct ged_method method[GED_METHODS_MAX];
	bool stopped;
	uint64_t from_ns; /* when the timer was at s.ticks */
	struct ged_counters n;
};

static struct ged *ged_of(struct dev *d)
{
	return container_of(d, struct ged, dev);
}

/* Split at seconds, so that no product overflows. */
static uint32_t ticks_in(uint64_t ns)
{
	return (uint32_t)(ns / SECOND_NS * TIMER_HZ + ns % SECOND_NS * TIMER_HZ / SECOND_NS);
}

/* Lock held. */
static uint32_t timer_now(const struct ged *g)
{
	return g->stopped ? g->s.ticks : g->s.ticks + ticks_in(loop_now_ns() - g->from_ns);
}

void ged_raise(struct dev *d, enum ged_event ev)
{
	struct ged *g = ged_of(d);

	pthread_mutex_lock(&g->lock);
	g->s.flags |= (uint8_t)ev;
	counter_add(&g->n.events, 1);
	/* under the lock: two pulses that meet are one edge, which the guest may have served by then */
	irq_pulse(d->board->irqs, g->gsi);
	pthread_mutex_unlock(&g->lock);
}

void ged_tell(struct board *b, enum ged_event ev)
{
	struct dev *ged = dev_find(b, GED_ID);

	if (ged)
		ged_raise(ged, ev);
}

uint32_t ged_gsi(const struct dev *d)
{
	return container_of(d, struct ged, dev)->gsi;
}

static void flags_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct ged *g = ged_of(arg);

	(void)off;
	memset(data, 0, len);
	pthread_mutex_lock(&g->lock);
	data[0] = g->s.flags;
	g->s.flags = 0;
	pthread_mutex_unlock(&g->lock);
}

static void nothing_written(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	(void)arg;
	(void)off;
	(void)data;
	(void)len;
}

/* Sleep status is never "waking": S5 is the only sleep there is. */
static void sleep_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	(void)arg;
	(void)off;
	memset(data, 0, len);
}

static void sleep_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct ged *g = ged_of(arg);
	const struct board_up *up = &g->dev.board->up;
	uint8_t v = data[0];

	(void)len;
	if (off != SLEEP_CONTROL)
		return;
	if (v == GED_RESET_VALUE)
		up->wish(up->arg, WISH_RESET);
	else if (v & GED_SLP_EN && (v >> SLP_TYP_SHIFT & SLP_TYP_BITS) == GED_SLP_TYP_S5)
		up->wish(up->arg, WISH_SHUTDOWN);
}

static void timer_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct ged *g = ged_of(arg);
	uint8_t reg[TIMER_LEN];

	pthread_mutex_lock(&g->lock);
	le32_put(reg, timer_now(g));
	pthread_mutex_unlock(&g->lock);
	memcpy(data, reg + off, len);
}

static int ged_init(struct dev *d, struct err *e)
{
	struct ged *g = ged_of(d);
	const struct ged_conf *c = d->conf;

	(void)e;
	pthread_mutex_init(&g->lock, NULL);
	g->gsi = c->gsi;
	memcpy(g->method, c->method, sizeof(g->method));
	g->from_ns = loop_now_ns();
	g->stopped = d->restored;
	return 0;
}

static int ged_quiesce(struct dev *d, struct err *e)
{
	struct ged *g = ged_of(d);

	(void)e;
	pthread_mutex_lock(&g->lock);
	g->s.ticks = timer_now(g);
	g->stopped = true;
	pthread_mutex_unlock(&g->lock);
	return 0;
}

static void ged_resume(struct dev *d)
{
	struct ged *g = ged_of(d);

	pthread_mutex_lock(&g->lock);
	if (g->stopped)
		g->s.ticks += ticks_in(d->board->passed_ns);
	g->from_ns = loop_now_ns();
	g->stopped = false;
	pthread_mutex_unlock(&g->lock);
}

static void ged_fini(struct dev *d)
{
	pthread_mutex_destroy(&ged_of(d)->lock);
}

/* If (Local0 & ev), which the caller fills and ends. */
static void if_event(struct aml *a, enum ged_event ev)
{
	aml_if(a);
	aml_op(a, AML_AND);
	aml_local(a, 0);
	aml_int(a, ev);
	aml_op(a, AML_NOWHERE);
}

/* Reading the flag byte clears it, so the method reads it once and looks at the copy. */
static int ged_describe(struct dev *d, struct aml *a)
{
	struct fixed_place p = fixed_place(d, GED_BANK_FLAGS);

	if (p.bus != FIXED_MMIO)
		return 0;
	aml_device(a, "GED_");
	aml_name(a, "_HID");
	aml_str(a, "ACPI0013");
	aml_name(a, "_UID");
	aml_int(a, 0);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_irq(a, ged_of(d)->gsi, AML_IRQ_EDGE);
	aml_end(a);
	aml_region(a, "GDST", ACPI_SPACE_MEMORY, p.base, FLAGS_LEN);
	aml_field(a, "GDST", 1, "GDAT", 8);
	aml_method(a, "_EVT", 1, true);
	aml_op(a, AML_STORE);
	aml_path(a, "GDAT");
	aml_local(a, 0);
	for (const struct ged_method *m = ged_of(d)->method;
	     m < ged_of(d)->method + GED_METHODS_MAX && m->path; m++) {
		if_event(a, m->event);
		aml_path(a, m->path);
		aml_end(a);
	}
	if_event(a, GED_POWER_BUTTON);
	aml_op(a, AML_NOTIFY);
	aml_path(a, "\\_SB_.PWRB");
	aml_int(a, POWER_BUTTON_PRESSED);
	aml_end(a);
	aml_end(a);
	aml_end(a);
	return 0;
}

static const struct field ged_state_f[] = {
	S(struct ged_state, ticks),
	S(struct ged_state, flags,
	  .max = GED_CPU | GED_MEMORY | GED_PCI | GED_POWER_BUTTON | GED_GENERATION),
	S_PAD(struct ged_state, pad),
};
static const struct desc ged_state_desc = DESC_OF(struct ged_state, ged_state_f, "GedState");

static const struct bus_ops flags_ops = { .read = flags_read, .write = nothing_written };
static const struct bus_ops sleep_ops = { .read = sleep_read, .write = sleep_write };
static const struct bus_ops timer_ops = { .read = timer_read, .write = nothing_written };

static const struct field counter_fields[] = {
	S(struct ged_counters, events,
	  .doc = "times that the guest was told of something: a power button, a hot-plug, a new generation"),
};
static const struct desc counter_rows =
	DESC_OF(struct ged_counters, counter_fields, "ged counters");

const struct fixed_class ged_class = {
	.dev = {
		.name = "ged",
		.state = &ged_state_desc,
		.size = sizeof(struct ged),
		.counters = &counter_rows,
		.counters_off = offsetof(struct ged, n),
		.state_off = offsetof(struct ged, s),
		.init = ged_init,
		.quiesce = ged_quiesce,
		.resume = ged_resume,
		.fini = ged_fini,
		.describe = ged_describe,
		.plug = &fixed_plug,
	},
	.bank = {[GED_BANK_FLAGS] = {.len = FLAGS_LEN, .ops = &flags_ops},
		 [GED_BANK_SLEEP] = {.len = SLEEP_LEN, .ops = &sleep_ops},
		 [GED_BANK_TIMER] = {.len = TIMER_LEN, .ops = &timer_ops}},
};
