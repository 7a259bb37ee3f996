/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building the machine, floor by floor, and tearing it down in the opposite order. The payload is
 * read into guest memory by a thread of its own while devices are made, unless it is tiny. See
 * machine.h.
 */
#include "vm/machine.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/stat.h>

#include "arch/arch.h"
#include "base/bits.h"
#include "base/futex.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/thread.h"
#include "core/rate.h"
#include "dev/cpuhp.h"
#include "dev/ged.h"
#include "dev/memhp.h"
#include "mem/gmem.h"
#include "pci/pci.h"
#include "vm/plug.h"
#include "vm/ram.h"
#include "vm/snapshot.h"

/* A vCPU that waits for a disk's answer in a register access may take so long to stand. */
#define PARK_NS 10000000000ull

/* Payloads up to so many bytes are loaded without a thread of their own. */
#define MEMORY_GRAIN MIB(128) /* of memory that comes by ACPI: Linux's block */
#define LOAD_AT_ONCE KIB(256)
#define ASK_NS 10000000ull

#define CLOCK_TRIES 8
#define GUESSED_KHZ 3000000u

struct machine {
	struct machine_args args;
	struct hv_vm *hv;
	struct gmem *mem;
	struct board board;
	struct arch_payload payload;
	struct arch_cpus *cpus;
	struct vcpu_team team;
	uint64_t added;		 /* bytes of memory that came by ACPI */
	struct vcpu *vcpu;	 /* as many as there may be */
	uint32_t vcpus;		 /* that were made: those that left count too */
	pthread_mutex_t leaving; /* none leaves by itself while the machine ends */
	bool has_clock;		 /* that of a pause */
	uint64_t clock_ns;
	bool has_counter; /* the same */
	uint64_t counter;
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

	vcpus_halt(&m->team);
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

	pthread_mutex_lock(&m->leaving);
	if (!vcpus_halted(&m->team))
		vcpu_leave(&m->vcpu[cpu]);
	pthread_mutex_unlock(&m->leaving);
}

static void on_let_go(void *arg)
{
	struct machine *m = arg;

	m->args.up.let_go(m->args.up.arg);
}

static int build_memory(struct machine *m, struct work *w, struct err *e)
{
	if (ram_new(&m->mem, m->args.conf, hv_phys_bits(m->args.hv), w, e) < 0)
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

/* What this host gives a VM. */
static int check_vcpus(const struct machine *m, struct err *e)
{
	const struct cpus_conf *c = &m->args.conf->cpus;
	uint32_t want = c->max_vcpus, most = hv_max_vcpus(m->args.hv);
	uint32_t last = arch_apic_id(m->cpus, want - 1), ids = hv_max_apic_ids(m->args.hv);

	if (want > most)
		return err_set(e, ERR_BAD,
			       "--cpus %s=%" PRIu32 ": this host gives a VM at most %" PRIu32,
			       want == c->boot_vcpus ? "boot" : "max", want, most);
	if (last >= ids)
		return err_set(e, ERR_BAD,
			       "--cpus topology: the last vCPU's APIC id is %" PRIu32
			       ", and this host has ids below %" PRIu32
			       ": say powers of two, which leave no gaps",
			       last, ids);
	return 0;
}

/* Of a machine that goes on: all that there were, those that had left too. */
static int count_first(uint32_t *out, const struct machine *m, struct err *e)
{
	const struct cpus_conf *c = &m->args.conf->cpus;
	size_t saved;

	*out = c->boot_vcpus;
	if (!m->args.from)
		return 0;
	saved = json_count(m->args.from->saved.vcpus);
	if (saved < c->boot_vcpus || saved > c->max_vcpus)
		return err_set(e, ERR_BAD,
			       "%zu vCPUs were saved, and the configuration has %" PRIu32
			       " and at most %" PRIu32,
			       saved, c->boot_vcpus, c->max_vcpus);
	*out = (uint32_t)saved;
	return 0;
}

static int build_vcpus(struct machine *m, struct err *e)
{
	uint32_t want;

	m->team = (struct vcpu_team){
		.pio = m->board.pio,
		.mmio = m->board.mmio,
		.irqs = m->board.irqs,
		.ended = m->args.cpu_ended,
		.stopped = m->args.cpu_stopped,
		.arg = m->args.up.arg,
	};
	coresched_init(&m->team.cores, m->args.conf->cpus.core_scheduling);
	if (arch_cpus_new(&m->cpus, m->args.hv, m->args.conf, e) < 0 || check_vcpus(m, e) < 0 ||
	    count_first(&want, m, e) < 0)
		return -1;
	m->vcpu = mem_array(m->args.conf->cpus.max_vcpus, sizeof(m->vcpu[0]));
	for (uint32_t i = 0; i < want; i++) {
		if (vcpu_new(&m->vcpu[i], m->hv, &m->team, i, arch_apic_id(m->cpus, i), e) < 0)
			return -1;
		m->vcpus++;
	}
	return 0;
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

		if (!dev_find(&m->board, id))
			r = err_set(
				e, ERR_BAD,
				"device %s was saved, and the configuration has none of that name",
				id);
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

static int restore_upper(struct machine *m, struct work *w, struct err *e)
{
	const struct saved *s = &m->args.from->saved;

	if (restore_devices(m, e) < 0 || restore_memory(m, e) < 0 || build_vcpus(m, e) < 0)
		return -1;
	if (arch_cpus_load(m->cpus, s->cpuid, e) < 0)
		return -1;
	m->has_clock = s->machine.has_clock;
	m->clock_ns = s->machine.guest_ns + m->args.from->passed_ns;
	return snapshot_fill(m->args.from, m->mem, w, e);
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
	pthread_mutex_init(&m->leaving, NULL);
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

/* One whose start failed half-way. */
static void take_back(struct vcpu *c)
{
	if (!c->started)
		return;
	vcpu_leave(c);
	vcpu_gather(c);
}

/* One that goes on is held until machine_resume; one that had left has no thread. */
static int restore_vcpu(struct machine *m, uint32_t i, struct err *e)
{
	const struct snapshot *from = m->args.from;
	struct vcpu *c = &m->vcpu[i];

	vcpu_hold(c);
	if (arch_vcpu_load(m->cpus, c->hv, i, json_at(from->saved.vcpus, i), from->passed_ns, e) <
	    0)
		return err_in(e, "vCPU %" PRIu32, i);
	return machine_has_vcpu(m, i) ? vcpu_start(c, &m->args.conf->cpus, e) : 0;
}

/* The thread stands until the registers are set, which takes about as long as its own start. */
static int start_vcpu(struct machine *m, uint32_t i, struct err *e)
{
	struct vcpu *c = &m->vcpu[i];
	int r;

	vcpu_hold(c);
	r = vcpu_start(c, &m->args.conf->cpus, e);
	if (r == 0 && arch_vcpu(m->cpus, c->hv, i, &m->payload, e) < 0)
		r = err_in(e, "vCPU %" PRIu32, i);
	if (r < 0)
		take_back(c);
	vcpu_release(c);
	return r;
}

/* The guest begins with the first vCPU, and the others are set up beside it: they exist, so that an
 * INIT which comes before one has its thread waits there. */
int machine_start(struct machine *m, struct err *e)
{
	/* nobody need be called to attach what does not run yet */
	tty_attach(m->args.chars->tty, m->board.io);
	if (loop_start(m->board.io, "io", e) < 0)
		return -1;
	for (uint32_t i = 0; i < m->vcpus && !vcpus_halted(&m->team); i++) {
		if ((m->args.from ? restore_vcpu(m, i, e) : start_vcpu(m, i, e)) < 0)
			return -1;
	}
	m->args.from = NULL;
	return 0;
}

int machine_nmi(struct machine *m, struct err *e)
{
	for (uint32_t i = 0; i < m->vcpus; i++) {
		if (machine_has_vcpu(m, i) && hv_nmi(m->hv, arch_apic_id(m->cpus, i), e) < 0)
			return err_in(e, "vCPU %" PRIu32, i);
	}
	return 0;
}

/* --- vCPUs that come and go --- */

/* What the controller says; without one, all that were made. */
bool machine_has_vcpu(struct machine *m, uint32_t i)
{
	const struct dev *hp = dev_find(&m->board, CPUHP_ID);

	return !hp || cpuhp_is_there(hp, i);
}

static uint32_t count_vcpus(struct machine *m)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->vcpus; i++)
		n += machine_has_vcpu(m, i);
	return n;
}

/* The hypervisor can not end a vCPU: one that has left comes again as the same. It is set up
 * already, and waits for INIT. */
static int start_again(struct machine *m, uint32_t i, struct err *e)
{
	struct vcpu *c = &m->vcpu[i];

	/* one that had left when the machine was saved has a thread again */
	take_back(c);
	if (hv_vcpu_reset(c->hv, e) < 0)
		return err_in(e, "vCPU %" PRIu32, i);
	if (vcpu_start(c, &m->args.conf->cpus, e) == 0)
		return 0;
	take_back(c);
	return -1;
}

static int start_new(struct machine *m, uint32_t i, struct err *e)
{
	if (vcpu_new(&m->vcpu[i], m->hv, &m->team, i, arch_apic_id(m->cpus, i), e) < 0) {
		m->vcpu[i] = (struct vcpu){ 0 };
		return -1;
	}
	m->vcpus++;
	return start_vcpu(m, i, e);
}

/* Those with the lowest numbers. What comes before a failure has come. */
static int bring_vcpus(struct machine *m, struct dev *hp, uint32_t n, struct err *e)
{
	for (uint32_t i = 0; n; i++) {
		if (i < m->vcpus && cpuhp_is_there(hp, i))
			continue;
		if ((i < m->vcpus ? start_again(m, i, e) : start_new(m, i, e)) < 0)
			return -1;
		cpuhp_come(hp, i);
		n--;
	}
	return 0;
}

/* Those with the highest. */
static void ask_vcpus(struct machine *m, struct dev *hp, uint32_t n)
{
	for (uint32_t i = m->vcpus; n; i--) {
		if (!cpuhp_is_there(hp, i - 1))
			continue;
		cpuhp_ask(hp, i - 1);
		n--;
	}
}

int machine_set_vcpus(struct machine *m, uint32_t n, struct err *e)
{
	struct dev *hp = dev_find(&m->board, CPUHP_ID);
	uint32_t now = count_vcpus(m), max = m->args.conf->cpus.max_vcpus;
	int r = 0;

	if (!n || n > max)
		return err_set(e, ERR_BAD,
			       "%" PRIu32 " vCPUs: there can be 1 to %" PRIu32 " (--cpus max)", n,
			       max);
	if (!hp)
		return err_set(e, ERR_STATE, "a machine of more than %d vCPUs keeps them",
			       CPUHP_CPUS_MAX);
	if (cpuhp_is_pending(hp)) {
		cpuhp_tell(hp);
		return err_set(e, ERR_BUSY,
			       "the guest has not yet let go of all vCPUs that it was asked for: "
			       "try again later");
	}
	if (n > now)
		r = bring_vcpus(m, hp, n - now, e);
	else
		ask_vcpus(m, hp, now - n);
	if (n != now)
		cpuhp_tell(hp);
	return r;
}

/* --- memory that comes --- */

static int judge_memory(struct machine *m, const struct dev *hp, const struct gmem_region *r,
			uint64_t bytes, struct err *e)
{
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

int machine_add_memory(struct machine *m, uint64_t bytes, struct err *e)
{
	struct dev *hp = dev_find(&m->board, MEMHP_ID);
	const struct gmem_region *r = later_region(m);
	gpa_t at;

	if (judge_memory(m, hp, r, bytes, e) < 0)
		return -1;
	at = gpa_add(r->base, m->added);
	if (plug_memory(m, r, bytes, e) < 0)
		return -1;
	memhp_come(hp, at.v, bytes);
	return 0;
}

bool machine_clock(const struct machine *m, uint64_t *ns)
{
	*ns = m->has_clock ? m->clock_ns : 0;
	return m->has_clock;
}

struct arch_cpus *machine_cpus(struct machine *m)
{
	return m->cpus;
}

struct board *machine_board(struct machine *m)
{
	return &m->board;
}

uint32_t machine_vcpus(const struct machine *m)
{
	return m->vcpus;
}

struct vcpu *machine_vcpu(struct machine *m, uint32_t i)
{
	return &m->vcpu[i];
}

/* --- standing still --- */

int machine_park(struct machine *m, struct err *e)
{
	uint64_t until = loop_now_ns() + PARK_NS;

	for (uint32_t i = 0; i < m->vcpus; i++)
		vcpu_hold(&m->vcpu[i]);
	for (uint32_t i = 0; i < m->vcpus; i++) {
		if (vcpu_wait(&m->vcpu[i], until, e) < 0) {
			machine_unpark(m);
			return -1;
		}
	}
	return 0;
}

void machine_unpark(struct machine *m)
{
	for (uint32_t i = 0; i < m->vcpus; i++)
		vcpu_release(&m->vcpu[i]);
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

/* Ticks of a millisecond. Clock and counter are read, and set, within less of each other: a guest that
 * compares them would find one wrong. */
static uint64_t tick_ms(struct machine *m)
{
	uint32_t khz = hv_vcpu_tsc_khz(m->vcpu[0].hv);

	return khz ? khz : GUESSED_KHZ;
}

/* False where there is no counter to be read. */
static bool read_clock(struct machine *m)
{
	struct hv_vcpu *c = m->vcpu[0].hv;
	uint64_t before, ms = tick_ms(m);
	struct err e = { 0 };

	for (int i = 0; i < CLOCK_TRIES; i++) {
		if (hv_vcpu_counter(c, &before, &e) < 0)
			return false;
		m->has_clock = hv_clock(m->hv, &m->clock_ns, &e) == 0;
		if (hv_vcpu_counter(c, &m->counter, &e) < 0)
			return false;
		if (m->counter - before < ms)
			break;
	}
	return true;
}

/* Guests with a clock of the hypervisor's are told, so that their watchdogs do not bite. That clock
 * and the processor's counter stand meanwhile, as the PM timer does: a guest compares them with each
 * other. */
static void stop_clock(struct machine *m)
{
	m->has_counter = read_clock(m);
	for (uint32_t i = 0; i < m->vcpus; i++)
		hv_vcpu_paused(m->vcpu[i].hv);
}

/* All counters to where the first one stood. The counters of hosts that cannot do that go on. */
static void set_counters(struct machine *m)
{
	struct err e = { 0 };
	uint64_t now;

	if (!m->has_counter || hv_vcpu_counter(m->vcpu[0].hv, &now, &e) < 0)
		return;
	for (uint32_t i = 0; i < m->vcpus && m->has_counter; i++)
		m->has_counter = hv_vcpu_counter_back(m->vcpu[i].hv, now - m->counter, &e) == 0;
}

static void set_clock(struct machine *m)
{
	char line[ERR_TEXT];
	struct err e = { 0 };

	if (m->has_clock && hv_set_clock(m->hv, m->clock_ns, &e) < 0)
		log_warn("the guest's clock has gone on: %s", err_line(&e, line, sizeof(line)));
}

/* Again when we were kept from the processor in between. */
static void start_clock(struct machine *m)
{
	uint64_t now, ms = tick_ms(m);
	struct err e = { 0 };

	for (int i = 0; i < CLOCK_TRIES; i++) {
		set_counters(m);
		set_clock(m);
		if (!m->has_counter || hv_vcpu_counter(m->vcpu[0].hv, &now, &e) < 0 ||
		    now - m->counter < ms)
			break;
	}
}

int machine_pause(struct machine *m, struct err *e)
{
	if (machine_park(m, e) < 0)
		return -1;
	if (quiesce_devices(&m->board, e) < 0) {
		machine_unpark(m);
		return -1;
	}
	stop_clock(m);
	return 0;
}

void machine_resume(struct machine *m)
{
	start_clock(m);
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
	pthread_mutex_lock(&m->leaving);
	vcpus_halt(&m->team);
	pthread_mutex_unlock(&m->leaving);
	for (uint32_t i = 0; i < m->vcpus; i++)
		vcpu_kick(&m->vcpu[i]);
	for (uint32_t i = 0; i < m->vcpus; i++)
		vcpu_free(&m->vcpu[i]);
	free(m->vcpu);
	coresched_fini(&m->team.cores);
	arch_cpus_free(m->cpus);
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
	pthread_mutex_destroy(&m->leaving);
	free(m);
}
