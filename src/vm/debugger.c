/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine as a debugger handles it. See debugger.h. A vCPU that meets a point holds itself and
 * posts; everything else is done here, in the control thread, when it arrives.
 */
#include "vm/debugger.h"

#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "mem/gmem.h"
#include "vm/machine.h"
#include "vm/vm.h"

#define PATIENCE_NS 1000000000ull

static struct vcpu *vcpu(const struct debugger *d, uint32_t i)
{
	return machine_vcpu(d->machine, i);
}

static const struct gmem *mem(const struct debugger *d)
{
	return machine_board(d->machine)->mem;
}

/* --- the machine --- */

void debugger_forget(struct debugger *d)
{
	free(d->cpu);
	*d = (struct debugger){ 0 };
}

/* vCPUs that came since are not ours yet. They know no points until all stop the next time, when the
 * points are told to each that goes on. */
static void count_cpus(struct debugger *d)
{
	uint32_t cpus = machine_vcpus(d->machine);

	if (cpus == d->cpus)
		return;
	d->cpu = mem_resize(d->cpu, d->cpus, cpus, sizeof(d->cpu[0]));
	for (uint32_t i = d->cpus; i < cpus; i++)
		d->cpu[i] = (struct debugger_cpu){ .way = DEBUGGER_RUN };
	d->cpus = cpus;
}

bool debugger_sync(struct debugger *d, struct vm *vm)
{
	struct machine *m = vm ? vm_machine(vm) : NULL;

	if (m == d->machine && (!m || vm_boots(vm) == d->boot)) {
		if (m)
			count_cpus(d);
		return false;
	}
	debugger_forget(d);
	if (!m)
		return true;
	d->vm = vm;
	d->machine = m;
	d->boot = vm_boots(vm);
	d->cpus = machine_vcpus(m);
	d->cpu = mem_array(d->cpus, sizeof(d->cpu[0]));
	/* one that stopped at its start is ours from here on */
	for (uint32_t i = 0; i < d->cpus; i++)
		d->cpu[i].held = vm_is_at_break(vm);
	return true;
}

/* --- stopping --- */

static void hold(struct debugger *d)
{
	for (uint32_t i = 0; i < d->cpus; i++) {
		if (!d->cpu[i].held)
			vcpu_hold(vcpu(d, i));
		d->cpu[i].held = true;
	}
	d->has_regs = false;
	vm_set_break(d->vm, true);
}

static int wait(struct debugger *d, struct err *e)
{
	uint64_t until_ns = loop_now_ns() + PATIENCE_NS;

	for (uint32_t i = 0; i < d->cpus; i++)
		if (vcpu_wait(vcpu(d, i), until_ns, e) < 0)
			return -1;
	return 0;
}

int debugger_stop(struct debugger *d, struct err *e)
{
	hold(d);
	return wait(d, e);
}

static bool is_break_of_ours(const struct debugger *d, uint64_t va)
{
	for (unsigned int i = 0; i < d->breaks; i++)
		if (d->brk[i].va == va)
			return true;
	return false;
}

/* Is this for the person? What is the guest's own, it gets. */
static bool judge(struct debugger *d, uint32_t i, struct debugger_stop *s)
{
	struct vcpu *c = vcpu(d, i);
	const struct hv_point *p = &d->cpu[i].set.point[c->stop.point];
	struct err e = { 0 };
	char line[ERR_TEXT];

	*s = (struct debugger_stop){ .cpu = i, .cause = c->stop.cause, .addr = c->stop.addr };
	if (c->stop.cause == HV_DEBUG_POINT) {
		s->kind = p->kind;
		s->addr = p->addr;
		return true;
	}
	if (c->stop.cause == HV_DEBUG_STEP ||
	    (c->stop.cause == HV_DEBUG_BREAK && is_break_of_ours(d, c->stop.addr)))
		return true;
	if (hv_vcpu_debug_pass(c->hv, c->stop.cause, &e) < 0)
		log_warn("vCPU %" PRIu32 ": its own exception is lost: %s", i,
			 err_line(&e, line, sizeof(line)));
	return false;
}

bool debugger_why(struct debugger *d, struct debugger_stop *s)
{
	bool any = false;

	for (uint32_t i = 0; i < d->cpus; i++) {
		struct vcpu *c = vcpu(d, i);
		struct debugger_stop one;

		if (!vcpu_stands(c) || !c->stopped)
			continue;
		/* a second one that stopped meanwhile meets its point again, unless it has done a
		 * step or an access; two are rarely waited for at a time */
		if (judge(d, i, &one) && !any) {
			*s = one;
			any = true;
		}
		/* it held itself too */
		c->stopped = false;
		vcpu_release(c);
	}
	return any;
}

/* --- going --- */

void debugger_go_on(struct debugger *d)
{
	bool all = true;

	for (uint32_t i = 0; i < d->cpus; i++) {
		struct debugger_cpu *c = &d->cpu[i];

		if (c->held && c->way != DEBUGGER_STAY) {
			c->held = false;
			vcpu_release(vcpu(d, i));
		}
		all &= c->held;
	}
	d->has_regs = false;
	vm_set_break(d->vm, all);
}

static bool same_debug(const struct hv_debug *a, const struct hv_debug *b)
{
	if (a->step != b->step || a->breaks != b->breaks || a->points != b->points)
		return false;
	for (unsigned int i = 0; i < a->points; i++)
		if (a->point[i].addr != b->point[i].addr || a->point[i].kind != b->point[i].kind ||
		    a->point[i].size != b->point[i].size)
			return false;
	return true;
}

/* vCPUs that were never told anything run as without a debugger. */
static int tell(struct debugger *d, uint32_t i, bool step, struct err *e)
{
	struct hv_debug want = d->points;

	want.step = step;
	want.breaks = d->breaks > 0;
	if (same_debug(&want, &d->cpu[i].set))
		return 0;
	if (hv_vcpu_debug(vcpu(d, i)->hv, &want, e) < 0)
		return -1;
	d->cpu[i].set = want;
	return 0;
}

int debugger_go(struct debugger *d, const enum debugger_way *way, struct err *e)
{
	for (uint32_t i = 0; i < d->cpus; i++) {
		if (!vcpu_stands(vcpu(d, i)))
			return err_set(e, ERR_STATE, "vCPU %" PRIu32 " does not stand", i);
		if (tell(d, i, way[i] == DEBUGGER_STEP, e) < 0)
			return -1;
		d->cpu[i].way = way[i];
	}
	debugger_go_on(d);
	return 0;
}

/* A person has gone, so a vCPU that stopped by itself is as one that was held. */
static void let_all_go(struct debugger *d)
{
	for (uint32_t i = 0; i < d->cpus; i++) {
		struct vcpu *c = vcpu(d, i);

		if (c->stopped) {
			c->stopped = false;
			vcpu_release(c);
		}
		d->cpu[i].way = DEBUGGER_RUN;
	}
	debugger_go_on(d);
}

void debugger_leave(struct debugger *d)
{
	struct err e = { 0 };
	char line[ERR_TEXT];

	if (!d->machine)
		return;
	if (debugger_stop(d, &e) < 0)
		log_warn("debugger: %s", err_line(&e, line, sizeof(line)));
	while (d->breaks)
		debugger_break_drop(d, d->brk[d->breaks - 1].va);
	d->points = (struct hv_debug){ 0 };
	for (uint32_t i = 0; i < d->cpus; i++)
		if (vcpu_stands(vcpu(d, i)) && tell(d, i, false, &e) < 0)
			log_warn("debugger: %s", err_line(&e, line, sizeof(line)));
	let_all_go(d);
}

/* --- registers --- */

int debugger_regs(struct debugger *d, uint32_t cpu, struct arch_cpu **out, struct err *e)
{
	*out = &d->regs;
	if (d->has_regs && d->regs_of == cpu)
		return 0;
	d->has_regs = false;
	if (cpu >= d->cpus || !vcpu_stands(vcpu(d, cpu)))
		return err_set(e, ERR_STATE, "vCPU %" PRIu32 " does not stand", cpu);
	if (arch_cpu_get(&d->regs, vcpu(d, cpu)->hv, e) < 0)
		return -1;
	d->regs_of = cpu;
	d->has_regs = true;
	return 0;
}

int debugger_put_regs(struct debugger *d, struct err *e)
{
	d->has_regs = false;
	return arch_cpu_put(vcpu(d, d->regs_of)->hv, &d->regs, e);
}

/* --- memory --- */

/* One piece of a page: what is to be done with it. */
typedef int piece_fn(struct debugger *d, gpa_t at, uint8_t *bytes, size_t len);

/* Returns how many bytes could be done. */
static size_t each_page(struct debugger *d, uint32_t cpu, uint64_t va, uint8_t *bytes, size_t len,
			piece_fn *fn)
{
	struct err e = { 0 };
	struct arch_cpu *c;
	size_t done = 0;

	if (debugger_regs(d, cpu, &c, &e) < 0)
		return 0;
	while (done < len) {
		uint64_t run;
		size_t n;
		gpa_t at;

		if (arch_translate(&at, &run, c, mem(d), va + done) < 0)
			break;
		n = min_u64(run, len - done);
		if (fn(d, at, bytes + done, n) < 0)
			break;
		done += n;
	}
	return done;
}

/* Our instructions in [at, at+len) and the bytes that they stand for change places. */
static void overlay(struct debugger *d, gpa_t at, uint8_t *bytes, size_t len, bool keep)
{
	for (unsigned int i = 0; i < d->breaks; i++) {
		struct debugger_break *b = &d->brk[i];

		for (size_t k = 0; k < arch_break_len; k++) {
			uint64_t off = b->at.v + k - at.v;

			if (off >= len)
				continue;
			if (keep) {
				b->was[k] = bytes[off];
				bytes[off] = arch_break[k];
			} else {
				bytes[off] = b->was[k];
			}
		}
	}
}

static int read_piece(struct debugger *d, gpa_t at, uint8_t *bytes, size_t len)
{
	if (gmem_read(mem(d), at, bytes, len) < 0)
		return -1;
	overlay(d, at, bytes, len, false);
	return 0;
}

static int write_piece(struct debugger *d, gpa_t at, uint8_t *bytes, size_t len)
{
	if (!gmem_ok(mem(d), at, len))
		return -1;
	overlay(d, at, bytes, len, true);
	return gmem_write(mem(d), at, bytes, len);
}

size_t debugger_read(struct debugger *d, uint32_t cpu, uint64_t va, uint8_t *to, size_t len)
{
	return each_page(d, cpu, va, to, len, read_piece);
}

int debugger_write(struct debugger *d, uint32_t cpu, uint64_t va, const uint8_t *from, size_t len,
		   struct err *e)
{
	AUTO_FREE uint8_t *copy = mem_new(len + 1);

	memcpy(copy, from, len);
	if (each_page(d, cpu, va, copy, len, write_piece) < len)
		return err_set(e, ERR_BAD, "0x%" PRIx64 " is not all mapped RAM", va);
	return 0;
}

/* --- points --- */

int debugger_break_add(struct debugger *d, uint32_t cpu, uint64_t va, struct err *e)
{
	struct debugger_break *b = &d->brk[d->breaks];
	struct arch_cpu *c;
	uint64_t run;

	if (is_break_of_ours(d, va))
		return 0;
	if (d->breaks == DEBUGGER_BREAKS_MAX)
		return err_set(e, ERR_BUSY, "more than %d breakpoints", DEBUGGER_BREAKS_MAX);
	if (debugger_regs(d, cpu, &c, e) < 0)
		return -1;
	if (arch_translate(&b->at, &run, c, mem(d), va) < 0 || run < arch_break_len ||
	    gmem_read(mem(d), b->at, b->was, arch_break_len) < 0)
		return err_set(e, ERR_BAD, "0x%" PRIx64 " is no mapped RAM", va);
	/* the same place may have one already, under another address */
	overlay(d, b->at, b->was, arch_break_len, false);
	if (gmem_write(mem(d), b->at, arch_break, arch_break_len) < 0)
		return err_set(e, ERR_BAD, "0x%" PRIx64 " is no mapped RAM", va);
	b->va = va;
	d->breaks++;
	return 0;
}

static bool has_break_at(const struct debugger *d, gpa_t at)
{
	for (unsigned int i = 0; i < d->breaks; i++)
		if (d->brk[i].at.v == at.v)
			return true;
	return false;
}

/* What is there in place of our instruction the guest has written, and it stays. */
void debugger_break_drop(struct debugger *d, uint64_t va)
{
	uint8_t is[ARCH_BREAK_MAX];

	for (unsigned int i = 0; i < d->breaks; i++) {
		struct debugger_break b = d->brk[i];

		if (b.va != va)
			continue;
		d->brk[i] = d->brk[--d->breaks];
		if (has_break_at(d, b.at))
			return;
		if (gmem_read(mem(d), b.at, is, arch_break_len) < 0 ||
		    memcmp(is, arch_break, arch_break_len))
			return;
		if (gmem_write(mem(d), b.at, b.was, arch_break_len) < 0)
			log_warn("debugger: the breakpoint at 0x%" PRIx64 " stays", va);
		return;
	}
}

static struct hv_point *find_point(struct debugger *d, const struct hv_point *p)
{
	for (unsigned int i = 0; i < d->points.points; i++) {
		struct hv_point *q = &d->points.point[i];

		if (q->addr == p->addr && q->kind == p->kind && q->size == p->size)
			return q;
	}
	return NULL;
}

int debugger_point_add(struct debugger *d, const struct hv_point *p, struct err *e)
{
	if (p->size > 8 || !is_pow2(p->size) || p->addr % p->size ||
	    (p->kind == HV_POINT_EXECUTE && p->size != 1))
		return err_set(e, ERR_BAD, "no point of %u bytes at 0x%" PRIx64, p->size, p->addr);
	if (find_point(d, p))
		return 0;
	if (d->points.points == HV_DEBUG_POINTS)
		return err_set(e, ERR_BUSY, "the processor has %d points", HV_DEBUG_POINTS);
	d->points.point[d->points.points++] = *p;
	return 0;
}

void debugger_point_drop(struct debugger *d, const struct hv_point *p)
{
	struct hv_point *q = find_point(d, p);

	if (q)
		*q = d->points.point[--d->points.points];
}
