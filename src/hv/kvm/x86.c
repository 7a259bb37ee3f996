/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An x86 vCPU of KVM: registers for its start, CPUID, MSRs, local APIC pins, and the run call with
 * its exits made neutral. Which values are right is arch/x86's business. The vCPU's own thread, or
 * anyone while it is parked; kvm_interrupt from any thread and from signal handlers.
 * Specification: Linux Documentation/virt/kvm/api.rst §5 (struct kvm_run).
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/mem.h"
#include "hv/kvm/kvm.h"

#define APIC_BASE_X2APIC (1u << 10)
#define HV_INVALID_HYPERCALL 2 /* Hyper-V's status for a call that is not there */
#define APIC_LVT0 0x350
#define APIC_LVT1 0x360
#define LVT_EXTINT 0x700
#define LVT_NMI 0x400
#define LVT_MODE_AND_MASK 0x10700u

static void vcpu_free(struct hv_vcpu *c)
{
	struct kvm_vcpu *v = kvm_vcpu_of(c);

	munmap(v->run, v->run_size);
	fd_close(&v->fd);
	free(v);
}

static int vcpu_cpuid(struct hv_vcpu *c, const struct hv_cpuid *table, uint32_t count,
		      struct err *e)
{
	AUTO_FREE struct kvm_cpuid2 *k = mem_new(sizeof *k + count * sizeof k->entries[0]);

	k->nent = count;
	for (uint32_t i = 0; i < count; i++)
		k->entries[i] = (struct kvm_cpuid_entry2){
			.function = table[i].leaf,
			.index = table[i].sub,
			.flags = table[i].sub_matters ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = table[i].eax,
			.ebx = table[i].ebx,
			.ecx = table[i].ecx,
			.edx = table[i].edx,
		};
	if (ioctl(kvm_vcpu_of(c)->fd, KVM_SET_CPUID2, k) < 0)
		return err_os(e, ERR_IO, "set the vCPU's CPUID of %u entries", count);
	return 0;
}

struct kvm_segment kvm_segment_of(const struct hv_segment *s)
{
	return (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->type,
		.present = s->present,
		.dpl = s->dpl,
		.db = s->db,
		.s = s->s,
		.l = s->l,
		.g = s->g,
		.avl = s->avl,
		.unusable = !s->present,
	};
}

static int start_sregs(struct kvm_vcpu *v, const struct hv_x86_start *s, struct err *e)
{
	struct kvm_sregs r;

	/* read first: what is not said here (APIC base, LDT, CR8) stays as reset left it */
	if (ioctl(v->fd, KVM_GET_SREGS, &r) < 0)
		return err_os(e, ERR_IO, "read the boot vCPU's system registers");
	r.cs = kvm_segment_of(&s->cs);
	r.ds = r.es = r.fs = r.gs = r.ss = kvm_segment_of(&s->ds);
	r.tr = kvm_segment_of(&s->tss);
	r.gdt = (struct kvm_dtable){ .base = s->gdt_base, .limit = s->gdt_limit };
	r.idt = (struct kvm_dtable){ .base = s->idt_base, .limit = s->idt_limit };
	r.cr0 = s->cr0;
	r.cr3 = s->cr3;
	r.cr4 = s->cr4;
	r.efer = s->efer;
	if (ioctl(v->fd, KVM_SET_SREGS, &r) < 0)
		return err_os(e, ERR_IO, "set the boot vCPU's system registers");
	return 0;
}

static int vcpu_start(struct hv_vcpu *c, const struct hv_x86_start *s, struct err *e)
{
	struct kvm_vcpu *v = kvm_vcpu_of(c);
	struct kvm_fpu f = { .fcw = 0x37f, .mxcsr = 0x1f80 };
	struct kvm_regs r = {
		.rip = s->rip,
		.rsp = s->rsp,
		.rbp = s->rbp,
		.rbx = s->rbx,
		.rsi = s->rsi,
		.rflags = s->rflags,
	};

	if (start_sregs(v, s, e))
		return -1;
	if (ioctl(v->fd, KVM_SET_FPU, &f) < 0)
		return err_os(e, ERR_IO, "set the boot vCPU's FPU");
	if (ioctl(v->fd, KVM_SET_REGS, &r) < 0)
		return err_os(e, ERR_IO, "set the boot vCPU's registers");
	return 0;
}

static int vcpu_msrs(struct hv_vcpu *c, const struct hv_msr *msrs, uint32_t count, struct err *e)
{
	AUTO_FREE struct kvm_msrs *k = mem_new(sizeof *k + count * sizeof k->entries[0]);
	uint32_t done = 0;

	/* KVM stops at the first MSR it does not take and says how far it came: step over that one.
	 * So the list of MSRs, which costs more than these calls, need not be fetched. */
	while (done < count) {
		k->nmsrs = count - done;
		for (uint32_t i = 0; i < k->nmsrs; i++)
			k->entries[i] = (struct kvm_msr_entry){
				.index = msrs[done + i].index,
				.data = msrs[done + i].value,
			};
		int n = ioctl(kvm_vcpu_of(c)->fd, KVM_SET_MSRS, k);

		if (n < 0)
			return err_os(e, ERR_IO, "set the vCPU's MSRs");
		done += (uint32_t)n + 1;
	}
	return 0;
}

static int vcpu_get_msrs(struct hv_vcpu *c, struct hv_msr *msrs, uint32_t count, struct err *e)
{
	AUTO_FREE struct kvm_msrs *k = mem_new(sizeof *k + count * sizeof k->entries[0]);
	uint32_t done = 0;

	while (done < count) {
		k->nmsrs = count - done;
		for (uint32_t i = 0; i < k->nmsrs; i++)
			k->entries[i] = (struct kvm_msr_entry){ .index = msrs[done + i].index };
		int n = ioctl(kvm_vcpu_of(c)->fd, KVM_GET_MSRS, k);

		if (n < 0)
			return err_os(e, ERR_IO, "read the vCPU's MSRs");
		for (uint32_t i = 0; i < (uint32_t)n; i++)
			msrs[done + i].value = k->entries[i].data;
		done += (uint32_t)n;
		if (done < count)
			msrs[done++] = (struct hv_msr){ 0 };
	}
	return 0;
}

static void lvt_set(struct kvm_lapic_state *s, unsigned int reg, uint32_t mode)
{
	uint32_t v = le32_get(s->regs + reg);

	le32_put(s->regs + reg, (v & ~LVT_MODE_AND_MASK) | mode);
}

static int vcpu_lint(struct hv_vcpu *c, struct err *e)
{
	struct kvm_vcpu *v = kvm_vcpu_of(c);
	struct kvm_lapic_state s;

	if (ioctl(v->fd, KVM_GET_LAPIC, &s) < 0)
		return err_os(e, ERR_IO, "read the vCPU's local APIC");
	lvt_set(&s, APIC_LVT0, LVT_EXTINT);
	lvt_set(&s, APIC_LVT1, LVT_NMI);
	if (ioctl(v->fd, KVM_SET_LAPIC, &s) < 0)
		return err_os(e, ERR_IO, "set the vCPU's local APIC");
	return 0;
}

static int vcpu_x2apic(struct hv_vcpu *c, struct err *e)
{
	struct kvm_vcpu *v = kvm_vcpu_of(c);
	struct kvm_sregs r;

	if (ioctl(v->fd, KVM_GET_SREGS, &r) < 0)
		return err_os(e, ERR_IO, "read the vCPU's system registers");
	r.apic_base |= APIC_BASE_X2APIC;
	if (ioctl(v->fd, KVM_SET_SREGS, &r) < 0)
		return err_os(e, ERR_IO, "switch the vCPU's local APIC to x2APIC");
	return 0;
}

static int vcpu_synic(struct hv_vcpu *c, struct err *e)
{
	struct kvm_enable_cap synic = { .cap = KVM_CAP_HYPERV_SYNIC };

	if (ioctl(kvm_vcpu_of(c)->fd, KVM_ENABLE_CAP, &synic) < 0)
		return err_os(e, ERR_IO, "Hyper-V's interrupt controller of the vCPU");
	return 0;
}

/* INIT does the rest: until it comes nothing is executed. */
static int vcpu_reset(struct hv_vcpu *c, struct err *e)
{
	struct kvm_mp_state s = { .mp_state = KVM_MP_STATE_UNINITIALIZED };

	if (ioctl(kvm_vcpu_of(c)->fd, KVM_SET_MP_STATE, &s) < 0)
		return err_os(e, ERR_IO, "put the vCPU back to its start");
	return 0;
}

static uint32_t vcpu_tsc_khz(struct hv_vcpu *c)
{
	int khz = ioctl(kvm_vcpu_of(c)->fd, KVM_GET_TSC_KHZ, 0);

	return khz > 0 ? (uint32_t)khz : 0;
}

static int vcpu_set_tsc_khz(struct hv_vcpu *c, uint32_t khz, struct err *e)
{
	if (ioctl(kvm_vcpu_of(c)->fd, KVM_SET_TSC_KHZ, (unsigned long)khz) < 0)
		return err_os(e, ERR_ABSENT, "time-stamp counter of %u kHz, where it has %u", khz,
			      vcpu_tsc_khz(c));
	return 0;
}

static void exit_fail(struct hv_exit *x, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void exit_fail(struct hv_exit *x, const char *fmt, ...)
{
	va_list a;

	x->kind = HV_EXIT_FAIL;
	va_start(a, fmt);
	vsnprintf(x->why, sizeof x->why, fmt, a);
	va_end(a);
}

static void exit_io(struct kvm_vcpu *v, struct hv_exit *x)
{
	struct kvm_run *r = v->run;

	x->kind = HV_EXIT_IO;
	x->write = r->io.direction == KVM_EXIT_IO_OUT;
	x->size = r->io.size;
	x->count = r->io.count;
	x->addr = r->io.port;
	x->data = (uint8_t *)r + r->io.data_offset;
}

static void exit_mmio(struct kvm_vcpu *v, struct hv_exit *x)
{
	struct kvm_run *r = v->run;

	x->kind = HV_EXIT_MMIO;
	x->write = r->mmio.is_write;
	x->size = (uint8_t)r->mmio.len;
	x->count = 1;
	x->addr = r->mmio.phys_addr;
	x->data = r->mmio.data;
}

static void exit_eoi(struct kvm_vcpu *v, struct hv_exit *x)
{
	x->kind = HV_EXIT_EOI;
	x->addr = v->run->eoi.vector;
}

static void exit_halt(struct kvm_vcpu *v, struct hv_exit *x)
{
	(void)v;
	x->kind = HV_EXIT_HALT;
}

static void exit_reset(struct kvm_vcpu *v, struct hv_exit *x)
{
	(void)v;
	x->kind = HV_EXIT_RESET;
}

static void exit_intr(struct kvm_vcpu *v, struct hv_exit *x)
{
	(void)v;
	x->kind = HV_EXIT_INTR;
}

static void exit_system(struct kvm_vcpu *v, struct hv_exit *x)
{
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		x->kind = HV_EXIT_SHUTDOWN;
		break;
	case KVM_SYSTEM_EVENT_RESET:
		x->kind = HV_EXIT_RESET;
		break;
	case KVM_SYSTEM_EVENT_CRASH:
		x->kind = HV_EXIT_CRASH;
		break;
	default:
		exit_fail(x, "KVM system event %u is not known here", v->run->system_event.type);
	}
}

/* The guest changed its synthetic interrupt controller, of which nobody here has to know, or made
 * a call that KVM leaves to us: there is none. */
static void exit_hyperv(struct kvm_vcpu *v, struct hv_exit *x)
{
	if (v->run->hyperv.type == KVM_EXIT_HYPERV_HCALL)
		v->run->hyperv.u.hcall.result = HV_INVALID_HYPERCALL;
	x->kind = HV_EXIT_INTR;
}

static void exit_debug(struct kvm_vcpu *v, struct hv_exit *x)
{
	x->kind = HV_EXIT_DEBUG;
	kvm_debug_exit(v, x);
}

static void exit_internal(struct kvm_vcpu *v, struct hv_exit *x)
{
	static const char *const names[] = {
		[KVM_INTERNAL_ERROR_EMULATION] = "cannot emulate an instruction",
		[KVM_INTERNAL_ERROR_SIMUL_EX] = "met an exception while injecting one",
		[KVM_INTERNAL_ERROR_DELIVERY_EV] = "met an exit while delivering an event",
		[KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "met an exit it does not know",
	};
	uint32_t sub = v->run->internal.suberror;
	const char *name = sub < ARRAY_LEN(names) && names[sub] ? names[sub] : "failed";
	struct kvm_regs r;

	if (ioctl(v->fd, KVM_GET_REGS, &r) < 0)
		exit_fail(x, "KVM %s (suberror %u)", name, sub);
	else
		exit_fail(x, "KVM %s (suberror %u) at rip %#llx", name, sub,
			  (unsigned long long)r.rip);
}

static void exit_entry(struct kvm_vcpu *v, struct hv_exit *x)
{
	exit_fail(x, "the processor refuses to enter the guest (reason %#llx)",
		  (unsigned long long)v->run->fail_entry.hardware_entry_failure_reason);
}

static void exit_unknown(struct kvm_vcpu *v, struct hv_exit *x)
{
	exit_fail(x, "the processor left the guest for unknown reason %#llx",
		  (unsigned long long)v->run->hw.hardware_exit_reason);
}

/* By KVM's number. */
static void (*const exits[])(struct kvm_vcpu *, struct hv_exit *) = {
	[KVM_EXIT_UNKNOWN] = exit_unknown,
	[KVM_EXIT_IO] = exit_io,
	[KVM_EXIT_DEBUG] = exit_debug,
	[KVM_EXIT_HLT] = exit_halt,
	[KVM_EXIT_MMIO] = exit_mmio,
	[KVM_EXIT_IRQ_WINDOW_OPEN] = exit_intr,
	[KVM_EXIT_SHUTDOWN] = exit_reset,
	[KVM_EXIT_FAIL_ENTRY] = exit_entry,
	[KVM_EXIT_INTR] = exit_intr,
	[KVM_EXIT_SET_TPR] = exit_intr,
	[KVM_EXIT_INTERNAL_ERROR] = exit_internal,
	[KVM_EXIT_SYSTEM_EVENT] = exit_system,
	[KVM_EXIT_IOAPIC_EOI] = exit_eoi,
	[KVM_EXIT_HYPERV] = exit_hyperv,
};

static void run_failed(struct hv_exit *x, int error)
{
	char text[64];

	switch (error) {
	case EINTR:  /* kicked */
	case EAGAIN: /* a CPU that waits for its start was woken */
		x->kind = HV_EXIT_INTR;
		break;
	case EFAULT:
		exit_fail(x, "KVM cannot reach a page of guest memory (no page left on the host?)");
		break;
	default:
		exit_fail(x, "KVM cannot run the vCPU: %s", strerror_r(error, text, sizeof text));
	}
}

static void vcpu_run(struct hv_vcpu *c, struct hv_exit *x)
{
	struct kvm_vcpu *v = kvm_vcpu_of(c);

	x->write = false;
	x->size = 0;
	x->count = 0;
	x->addr = 0;
	x->data = NULL;
	v->timer_told = false;
	if (ioctl(v->fd, KVM_RUN, 0) < 0) {
		run_failed(x, errno);
		return;
	}
	uint32_t reason = v->run->exit_reason;

	if (reason < ARRAY_LEN(exits) && exits[reason])
		exits[reason](v, x);
	else
		exit_fail(x, "KVM exit %u is not known here", reason);
}

static int vcpu_counter(struct hv_vcpu *c, uint64_t *ticks, struct err *e)
{
	struct hv_msr tsc = { .index = 0x10 };

	if (vcpu_get_msrs(c, &tsc, 1, e) < 0)
		return -1;
	*ticks = tsc.value;
	return 0;
}

/* What KVM adds to the host's counter; op gets or sets it. */
static int tsc_offset(struct hv_vcpu *c, unsigned long op, uint64_t *offset)
{
	struct kvm_device_attr a = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)offset,
	};

	return ioctl(kvm_vcpu_of(c)->fd, op, &a);
}

static int tsc_no_offset(struct err *e)
{
	return err_set(e, ERR_UNBUILT, "this host's KVM does not say a counter's offset");
}

/* Written one by one with the same difference, vCPUs stay in step, which a write of the counter
 * itself would not promise. */
static int vcpu_counter_back(struct hv_vcpu *c, uint64_t ticks, struct err *e)
{
	uint64_t offset;
	bool shown; /* perhaps it is the host's own */

	if (tsc_offset(c, KVM_GET_DEVICE_ATTR, &offset) < 0)
		return tsc_no_offset(e);
	shown = offset == 0;
	offset -= ticks;
	if (tsc_offset(c, KVM_SET_DEVICE_ATTR, &offset) < 0)
		return err_os(e, ERR_IO, "set the offset of a vCPU's counter");
	if (shown && ticks && tsc_offset(c, KVM_GET_DEVICE_ATTR, &offset) == 0 && !offset)
		return err_set(e, ERR_UNBUILT, "this host's KVM shows guests the host's counter");
	return 0;
}

static int vcpu_counter_like(struct hv_vcpu *c, struct hv_vcpu *other, uint64_t ahead,
			     struct err *e)
{
	uint64_t offset;

	if (tsc_offset(other, KVM_GET_DEVICE_ATTR, &offset) < 0)
		return tsc_no_offset(e);
	offset += ahead;
	if (tsc_offset(c, KVM_SET_DEVICE_ATTR, &offset) < 0)
		return err_os(e, ERR_IO, "set the offset of a vCPU's counter");
	return 0;
}

static void vcpu_interrupt(struct hv_vcpu *c, bool on)
{
	__atomic_store_n(&kvm_vcpu_of(c)->run->immediate_exit, on, __ATOMIC_SEQ_CST);
}

static void vcpu_paused(struct hv_vcpu *c)
{
	/* fails where the guest has no such clock */
	(void)ioctl(kvm_vcpu_of(c)->fd, KVM_KVMCLOCK_CTRL, 0);
}

static const struct hv_vcpu_ops vcpu_ops = {
	.free = vcpu_free,
	.cpuid = vcpu_cpuid,
	.start = vcpu_start,
	.msrs = vcpu_msrs,
	.get_msrs = vcpu_get_msrs,
	.get_regs = kvm_get_regs,
	.set_regs = kvm_set_regs,
	.get_fpu = kvm_get_fpu,
	.set_fpu = kvm_set_fpu,
	.save = kvm_vcpu_save,
	.load = kvm_vcpu_load,
	.debug = kvm_debug,
	.debug_pass = kvm_debug_pass,
	.lint = vcpu_lint,
	.x2apic = vcpu_x2apic,
	.synic = vcpu_synic,
	.reset = vcpu_reset,
	.tsc_khz = vcpu_tsc_khz,
	.set_tsc_khz = vcpu_set_tsc_khz,
	.counter = vcpu_counter,
	.counter_back = vcpu_counter_back,
	.counter_like = vcpu_counter_like,
	.run = vcpu_run,
	.settle = kvm_vcpu_settle,
	.interrupt = vcpu_interrupt,
	.paused = vcpu_paused,
};

int kvm_vcpu_new(struct hv_vcpu **out, struct hv_vm *vm, uint32_t apic_id, struct err *e)
{
	struct kvm_vm *m = container_of(vm, struct kvm_vm, vm);
	/* KVM's number of a vCPU is its APIC id at reset */
	AUTO_FD int fd = ioctl(m->fd, KVM_CREATE_VCPU, (unsigned long)apic_id);

	if (fd < 0)
		return err_os(e, ERR_IO, "make the vCPU with APIC id %u", apic_id);
	void *run = mmap(NULL, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (run == MAP_FAILED)
		return err_os(e, ERR_IO, "map the shared area of the vCPU with APIC id %u",
			      apic_id);
	struct kvm_vcpu *v = NEW(struct kvm_vcpu);

	v->vcpu.ops = &vcpu_ops;
	v->fd = fd_take(&fd);
	v->run = run;
	v->run_size = m->run_size;
	v->vm_fd = m->fd;
	v->kvm = m->kvm;
	*out = &v->vcpu;
	return 0;
}
