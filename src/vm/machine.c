/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building the machine, floor by floor, and tearing it down in the opposite order. The payload is
 * read into guest memory by a thread of its own while devices are made, unless it is tiny. See
 * machine.h.
 */
#include "vm/machine.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/bits.h"
#include "base/event.h"
#include "base/futex.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/thread.h"
#include "core/rate.h"
#include "dev/ged.h"
#include "dev/memhp.h"
#include "mem/gmem.h"
#include "pci/pci.h"
#include "vm/cpus.h"
#include "vm/guestclock.h"
#include "vm/plug.h"
#include "vm/ram.h"
#include "vm/snapshot.h"

/* A vCPU that waits for a disk's answer in a register access may take so long to stand. */
#define PARK_NS 10000000000ull

/* Of memory that comes by ACPI: Linux's block. */
#define MEMORY_GRAIN MIB(128)
/* Payloads up to so many bytes are loaded without a thread of their own. */
#define LOAD_AT_ONCE KIB(256)
#define ASK_NS 10000000ull
#define LOOK_NS 1000000000ull

struct machine {
	struct machine_args args;
	/* of the file that memory shows: the kernel tells of a change, or it is looked for */
	struct loop_fd source_watch;
	struct loop_timer source_look;
	struct hv_vm *hv;
	struct gmem *mem;
	struct board board;
	struct arch_payload payload;
	struct cpus cpus;
	uint64_t added;		 /* bytes of memory that came by ACPI */
	struct guestclock clock; /* that of a pause */
	bool catches_up;	 /* its clocks are to have gone on meanwhile: it was restored so */
};

/* The payload's own thread. */
struct loader {
	struct thread thread;
	struct machine *m;
	struct err err;
	int result;
	_Atomic uint32_t has_ended;
};

static void on_wish(void *arg, enum board_wish w)
{
	struct machine *m = arg;

	vcpus_halt(&m->cpus.team);
	m->args.up.wish(m->args.up.arg, w);
}

static void on_event(void *arg, const char *source, const char *name, const char *id)
{
	struct machine *m = arg;

	m->args.up.event(m->args.up.arg, source, name, id);
}

static void on_pause(void *arg)
{
	struct machine *m = arg;

	m->args.up.pause(m->args.up.arg);
}

static void on_panic(void *arg, const char *how)
{
	struct machine *m = arg;

	m->args.up.panic(m->args.up.arg, how);
}

static void on_cpu_left(void *arg, uint32_t cpu)
{
	struct machine *m = arg;

	cpus_left(&m->cpus, cpu);
}

static void on_let_go(void *arg)
{
	struct machine *m = arg;

	m->args.up.let_go(m->args.up.arg);
}

/* Any thread: what else would happen in the guest happens with other contents of its memory. */
static void on_memory_lost(void *arg, const char *why)
{
	struct machine *m = arg;

	vcpus_halt(&m->cpus.team);
	event_with("vm", "memory-lost", "reason", why);
	m->args.cpu_ended(m->args.up.arg, VCPU_FAIL, why);
}

static int build_memory(struct machine *m, struct work *w, struct err *e)
{
	const struct memory_lost lost = { .fn = on_memory_lost, .arg = m };

	if (ram_new(&m->mem, m->args.conf, hv_phys_bits(m->args.hv), RAM_FOR_GUEST, e) < 0 ||
	    (m->args.from && snapshot_show(m->args.from, m->mem, &lost, e) < 0))
		return -1;
	/* who goes on says anew whether pages are to be there beforehand */
	if (!m->args.from && gmem_prefault(m->mem, w, e) < 0)
		return -1;
	for (unsigned int i = 0; i < gmem_regions(m->mem); i++) {
		const struct gmem_region *r = gmem_region(m->mem, i);
		uint32_t slot;

		/* what comes by ACPI is the guest's piece by piece */
		if (r->block && m->args.conf->memory.hotplug_method == HOTPLUG_ACPI)
			continue;
		if (hv_slot_add(m->hv, &slot, r->base.v, r->size, r->host, false, e) < 0)
			return -1;
	}
	return 0;
}

/* The limits that disks share. */
static void build_rates(struct machine *m)
{
	const struct vm_conf *c = m->args.conf;

	for (uint32_t i = 0; i < c->rate_limit_groups.count; i++) {
		const struct rate_group_conf *g = &c->rate_limit_groups.items[i];

		list_add_tail(&m->board.rates, &rate_new(g->id, &g->rate_limiter_config)->link);
	}
}

static int build_board(struct machine *m, struct err *e)
{
	struct board *b = &m->board;
	struct pci_host_args pci;

	b->mem = m->mem;
	b->dma.mem = m->mem;
	if (m->args.conf->iommu) {
		struct iommu_args iommu;

		arch_iommu_args(&iommu, m->args.conf);
		b->iommu = iommu_new(&iommu);
	}
	b->hv = m->hv;
	b->ctl = m->args.ctl;
	b->kept = m->args.kept;
	b->generation = m->args.generation;
	build_rates(m);
	b->up = (struct board_up){
		.wish = on_wish,
		.event = on_event,
		.pause = on_pause,
		.panic = on_panic,
		.cpu_left = on_cpu_left,
		.let_go = on_let_go,
		.arg = m,
	};
	if (bus_new(&b->pio, "pio", e) < 0 || bus_new(&b->mmio, "mmio", e) < 0 ||
	    irqs_new(&b->irqs, m->hv, e) < 0)
		return -1;
	if (arch_pci_args(&pci, m->args.conf, gmem_end(m->mem), hv_phys_bits(m->args.hv), e) < 0)
		return -1;
	pci.pio = b->pio;
	pci.mmio = b->mmio;
	pci.irqs = b->irqs;
	if (pci_host_new(&b->pci, &pci, e) < 0)
		return -1;
	return loop_new(&b->io, "io", e);
}

static void load(void *arg)
{
	struct loader *l = arg;

	l->result = arch_load(&l->m->payload, l->m->mem, &l->m->args.conf->payload, &l->err);
	l->has_ended = 1;
	futex_wake(&l->has_ended);
}

/* Asks meanwhile whether to break off. */
static void wait_for_loader(struct loader *l, struct work *w)
{
	while (!l->has_ended) {
		work_ask(w);
		futex_wait(&l->has_ended, 0, ASK_NS);
	}
	thread_join(&l->thread);
}

static int build_devices(struct machine *m, struct err *e)
{
	const struct arch_chars ch = {
		.serial = m->args.chars->serial,
		.debug_console = m->args.chars->debug_console,
	};

	if (arch_devices(&m->board, m->args.conf, &ch, hv_phys_bits(m->args.hv), e) < 0)
		return -1;
	return plug_all(&m->board, m->args.conf, m->args.chars, e);
}

static int build_vcpus(struct machine *m, struct err *e)
{
	const struct cpus_args a = {
		.hv = m->args.hv,
		.vm = m->hv,
		.board = &m->board,
		.conf = m->args.conf,
		.payload = &m->payload,
		.from = m->args.from,
		.ended = m->args.cpu_ended,
		.stopped = m->args.cpu_stopped,
		.arg = m->args.up.arg,
	};

	return cpus_make(&m->cpus, &a, e);
}

/* The upper half of a machine that goes on: memory comes last, when devices have said which of it is
 * there. Its clock stands as after machine_pause. */
static int restore_devices(struct machine *m, struct err *e)
{
	const struct json *saved = m->args.from->saved.devices;
	int r;

	m->board.saved = saved;
	r = build_devices(m, e);
	m->board.saved = NULL;
	for (size_t i = 0; r == 0 && i < json_count(saved); i++) {
		const char *id = json_str(json_get(json_at(saved, i), "id"));

		if (dev_find(&m->board, id))
			continue;
		err_set(e, ERR_BAD,
			"device %s was saved, and the configuration has none of that name", id);
		r = board_refuse(&m->board, e);
	}
	return r;
}

/* What may come by ACPI; NULL where nothing may. */
static const struct gmem_region *later_region(struct machine *m)
{
	for (unsigned int i = 0; i < gmem_regions(m->mem); i++)
		if (gmem_region(m->mem, i)->block)
			return gmem_region(m->mem, i);
	return NULL;
}

/* Behind what has come already. */
static int plug_memory(struct machine *m, const struct gmem_region *r, uint64_t bytes,
		       struct err *e)
{
	gpa_t at = gpa_add(r->base, m->added);
	struct err other = { 0 };
	uint32_t slot;

	if (gmem_plug(m->mem, at, bytes, e) < 0)
		return -1;
	if (hv_slot_add(m->hv, &slot, at.v, bytes, r->host + m->added, false, e) < 0) {
		if (gmem_unplug(m->mem, at, bytes, &other) < 0)
			log_warn("%s", err_frame(&other, 0));
		return -1;
	}
	m->added += bytes;
	return 0;
}

/* Memory that had come by ACPI comes again, before anybody asks for it. */
static int restore_memory(struct machine *m, struct err *e)
{
	const struct saved_machine *s = &m->args.from->saved.machine;
	const struct gmem_region *r = later_region(m);
	bool acpi = m->args.conf->memory.hotplug_method == HOTPLUG_ACPI;

	for (uint32_t i = 0; r && acpi && i < s->ranges.count; i++) {
		const struct saved_range *was = &s->ranges.items[i];
		uint64_t from = max_u64(was->base, r->base.v);
		uint64_t to = min_u64(was->base + was->size, r->base.v + r->size);

		if (from >= to)
			continue;
		if (from != r->base.v + m->added || (to - from) % max_u64(MEMORY_GRAIN, r->block))
			return err_set(e, ERR_BAD,
				       "memory at 0x%" PRIx64 " was saved, and none can come there",
				       from);
		if (plug_memory(m, r, to - from, e) < 0)
			return -1;
	}
	return 0;
}

/* In the loop of quiet devices. */
static bool source_is_lost(struct machine *m)
{
	struct err e = { 0 };
	char line[ERR_TEXT];

	if (gmem_check_source(m->mem, &e) == 0)
		return false;
	on_memory_lost(m, err_line(&e, line, sizeof(line)));
	return true;
}

/* Others may have touched it in other ways than those that count. */
static void on_source_changed(void *arg, uint32_t events)
{
	struct machine *m = arg;
	char some[1024];

	(void)events;
	while (read(m->source_watch.fd, some, sizeof(some)) > 0)
		continue;
	if (source_is_lost(m))
		loop_unwatch(&m->source_watch);
}

static void look_at_source(void *arg)
{
	struct machine *m = arg;

	if (!source_is_lost(m))
		loop_timer_set(m->board.io, &m->source_look, loop_now_ns() + LOOK_NS,
			       look_at_source, m);
}

/* A file that is shown as memory ends the guest when it changes: at the latest a second after, where
 * the host has no watch left to give, as to many machines of one user. The loop does not run yet. */
static int watch_source(struct machine *m, struct err *e)
{
	int fd = gmem_watch_source(m->mem);

	if (fd >= 0)
		return loop_watch(m->board.io, &m->source_watch, fd, EPOLLIN, on_source_changed, m,
				  e);
	if (gmem_shows(m->mem))
		loop_timer_set(m->board.io, &m->source_look, loop_now_ns() + LOOK_NS,
			       look_at_source, m);
	return 0;
}

static int restore_upper(struct machine *m, struct work *w, struct err *e)
{
	const struct saved *s = &m->args.from->saved;

	if (restore_devices(m, e) < 0 || restore_memory(m, e) < 0 || build_vcpus(m, e) < 0 ||
	    arch_finish_restored(&m->board, m->args.conf, e) < 0)
		return -1;
	m->clock = (struct guestclock){
		.real_ns = s->machine.real_ns,
		.has_clock = s->machine.has_clock,
		.clock_ns = s->machine.guest_ns,
		.has_counter = s->machine.has_counter,
		.counter = s->machine.counter,
	};
	m->catches_up = m->args.from->how->clock == RESTORE_CLOCK_REALTIME;
	if (snapshot_fill(m->args.from, m->mem, w, e) < 0)
		return -1;
	return watch_source(m, e);
}

/* Does loading take less than a thread's start? What cannot be looked at is an error of loading. */
static bool is_small(const struct payload_conf *c)
{
	const char *file[] = { c->firmware, c->kernel, c->initramfs };
	uint64_t bytes = 0;
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(file); i++)
		if (file[i] && stat(file[i], &st) == 0)
			bytes += (uint64_t)st.st_size;
	return bytes <= LOAD_AT_ONCE;
}

/* Devices and vCPUs are made while the payload loads; then the tables and registers that need
 * both. */
static int build_upper(struct machine *m, struct work *w, struct err *e)
{
	struct loader l = { .m = m };
	bool small = is_small(&m->args.conf->payload);
	int made;

	if (m->args.from)
		return restore_upper(m, w, e);
	gmem_tell(m->mem, w);
	if (small)
		load(&l);
	else if (thread_start(&l.thread, "payload_loader", "loader", load, &l, e) < 0)
		return -1;
	made = build_devices(m, e);
	if (made == 0)
		made = build_vcpus(m, e);
	if (!small)
		wait_for_loader(&l, w);
	gmem_tell(m->mem, NULL);
	if (l.result < 0) {
		*e = l.err;
		return -1;
	}
	if (made < 0)
		return -1;
	return arch_finish(&m->payload, &m->board, m->args.conf, hv_phys_bits(m->args.hv), e);
}

int machine_new(struct machine **out, const struct machine_args *a, struct work *w, struct err *e)
{
	struct machine *m = NEW(struct machine);
	struct hv_vm_args hv;

	m->args = *a;
	cpus_init(&m->cpus);
	board_init(&m->board);
	arch_hv_args(&hv, a->conf);
	if (hv_vm_new(&m->hv, a->hv, &hv, e) < 0 || build_memory(m, w, e) < 0 ||
	    build_board(m, e) < 0 || build_upper(m, w, e) < 0) {
		machine_free(m);
		return -1;
	}
	*out = m;
	return 0;
}

/* --- rehearsal --- */

static void on_refused(void *arg, struct err *e)
{
	reasons_add(arg, e);
}

/* What cannot be had does not keep devices from being looked at. */
static int rehearse_memory(struct machine *m, struct reasons *r, struct err *e)
{
	uint8_t bits = hv_phys_bits(m->args.hv);

	if (ram_new(&m->mem, m->args.conf, bits, RAM_TO_LOOK, e) == 0)
		return 0;
	reasons_add(r, e);
	if (ram_new(&m->mem, m->args.conf, bits, RAM_LIKE_IT, e) == 0)
		return 0;
	err_clear(e); /* that has been said */
	return -1;
}

static int rehearse(struct machine *m, struct reasons *r, struct err *e)
{
	unsigned int before;

	if (rehearse_memory(m, r, e) < 0)
		return 0;
	if (build_board(m, e) < 0)
		return -1;
	m->board.refused = on_refused;
	m->board.refused_arg = r;
	before = r->count;
	if (restore_devices(m, e) < 0 || restore_memory(m, e) < 0)
		return -1;
	/* who plugs memory may be among those refused */
	return r->count == before ? snapshot_judge_memory(m->args.from, m->mem, e) : 0;
}

void machine_rehearse(struct reasons *r, const struct machine_args *a)
{
	struct machine *m = NEW(struct machine);
	struct err e = { 0 };

	m->args = *a;
	cpus_init(&m->cpus);
	board_init(&m->board);
	m->hv = hv_vm_rehearsal();
	if (rehearse(m, r, &e) < 0)
		reasons_add(r, &e);
	machine_free(m);
}

int machine_start(struct machine *m, struct err *e)
{
	struct err later = { 0 };
	int r;

	/* nobody need be called to attach what does not run yet */
	tty_attach(m->args.chars->tty, m->board.io);
	/* the guest begins before quiet devices have their thread: what it wants of them waits */
	loop_open(m->board.io);
	r = cpus_start(&m->cpus, e);
	if (loop_start(m->board.io, "io", r < 0 ? &later : e) < 0 || r < 0 ||
	    cpus_start_others(&m->cpus, e) < 0)
		return -1;
	m->args.from = NULL;
	return 0;
}

int machine_nmi(struct machine *m, struct err *e)
{
	return cpus_nmi(&m->cpus, e);
}

bool machine_has_vcpu(struct machine *m, uint32_t i)
{
	return cpus_has(&m->cpus, i);
}

int machine_judge_vcpus(const struct machine *m, uint32_t n, struct err *e)
{
	return cpus_judge_set(&m->cpus, n, e);
}

int machine_set_vcpus(struct machine *m, uint32_t n, struct err *e)
{
	return cpus_set(&m->cpus, n, e);
}

/* --- memory that comes --- */

int machine_judge_memory(struct machine *m, uint64_t bytes, struct err *e)
{
	const struct dev *hp = dev_find(&m->board, MEMHP_ID);
	const struct gmem_region *r = later_region(m);

	if (!hp || !r)
		return err_set(
			e, ERR_BAD,
			"this machine has no room for more memory: say --memory hotplug_size");
	if (bytes % max_u64(MEMORY_GRAIN, r->block))
		return err_set(
			e, ERR_BAD,
			"memory comes in multiples of 128 MiB, or of the huge page if that is "
			"larger: round what is added, %" PRIu64 " bytes",
			bytes);
	if (bytes > r->size - m->added)
		return err_set(e, ERR_BAD,
			       "%" PRIu64
			       " MiB more are too many: of hotplug_size are left %" PRIu64 " MiB",
			       bytes >> 20, (r->size - m->added) >> 20);
	if (!memhp_free(hp))
		return err_set(
			e, ERR_BAD,
			"memory has come %d times, as often as there are slots: reboot first",
			MEMHP_SLOTS);
	return 0;
}

uint64_t machine_booted_with(const struct machine *m)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < gmem_regions(m->mem); i++)
		sum += gmem_region(m->mem, i)->block ? 0 : gmem_region(m->mem, i)->size;
	return sum;
}

uint64_t machine_added(const struct machine *m)
{
	return m->added;
}

int machine_add_memory(struct machine *m, uint64_t bytes, struct err *e)
{
	struct dev *hp = dev_find(&m->board, MEMHP_ID);
	const struct gmem_region *r = later_region(m);
	gpa_t at;

	if (machine_judge_memory(m, bytes, e) < 0)
		return -1;
	at = gpa_add(r->base, m->added);
	if (plug_memory(m, r, bytes, e) < 0)
		return -1;
	memhp_come(hp, at.v, bytes);
	return 0;
}

const struct guestclock *machine_clock(const struct machine *m)
{
	return &m->clock;
}

struct arch_cpus *machine_cpus(struct machine *m)
{
	return m->cpus.arch;
}

struct board *machine_board(struct machine *m)
{
	return &m->board;
}

uint32_t machine_vcpus(const struct machine *m)
{
	return m->cpus.count;
}

struct vcpu *machine_vcpu(struct machine *m, uint32_t i)
{
	return &m->cpus.vcpu[i];
}

/* --- standing still --- */

int machine_park(struct machine *m, struct err *e)
{
	return cpus_hold(&m->cpus, loop_now_ns() + PARK_NS, e);
}

void machine_unpark(struct machine *m)
{
	cpus_release(&m->cpus);
}

static void resume_devices(struct board *b, const struct link *until)
{
	for (struct link *at = b->devs.next; at != until; at = at->next) {
		struct dev *d = container_of(at, struct dev, link);

		if (d->class->resume)
			d->class->resume(d);
	}
}

static int quiesce_devices(struct board *b, struct err *e)
{
	list_each (at, &b->devs) {
		struct dev *d = container_of(at, struct dev, link);

		if (!d->class->quiesce || d->class->quiesce(d, e) == 0)
			continue;
		resume_devices(b, at);
		return err_in(e, "device %s", d->id);
	}
	return 0;
}

int machine_pause(struct machine *m, struct err *e)
{
	if (machine_park(m, e) < 0)
		return -1;
	if (quiesce_devices(&m->board, e) < 0) {
		machine_unpark(m);
		return -1;
	}
	guestclock_stop(&m->clock, m->hv, m->cpus.vcpu, m->cpus.count);
	return 0;
}

void machine_resume(struct machine *m)
{
	m->board.passed_ns = m->catches_up ? guestclock_pass(&m->clock, m->cpus.vcpu) : 0;
	m->catches_up = false;
	guestclock_start(&m->clock, m->hv, m->cpus.vcpu, m->cpus.count);
	resume_devices(&m->board, &m->board.devs);
	machine_unpark(m);
}

int machine_power_button(struct machine *m, struct err *e)
{
	struct dev *ged = dev_find(&m->board, GED_ID);

	if (!ged)
		return err_set(e, ERR_UNBUILT, "this machine has no button");
	ged_raise(ged, GED_POWER_BUTTON);
	return 0;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	cpus_free(&m->cpus);
	if (m->args.chars->tty)
		tty_detach(m->args.chars->tty);
	dev_remove_all(&m->board);
	list_each (at, &m->board.rates)
		rate_free(container_of(at, struct rate, link));
	loop_free(m->board.io);
	pci_host_free(m->board.pci);
	irqs_free(m->board.irqs);
	bus_free(m->board.mmio);
	bus_free(m->board.pio);
	iommu_free(m->board.iommu);
	hv_vm_free(m->hv);
	gmem_free(m->mem);
	free(m);
}
