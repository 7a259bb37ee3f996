/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU of KVM as a whole, out and in. What is read first and what is put last matters: asking for
 * the run state makes pending INIT and SIPI take effect; the local APIC's mode is in the system
 * registers, its deadline counts against a clock that has to be right, and events come when all else
 * is there. See hv/saved.h. Specification: Linux Documentation/virt/kvm/api.rst.
 */
#include "hv/saved.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/bits.h"
#include "base/mem.h"
#include "hv/kvm/kvm.h"

#define MSR_TSC 0x10u
#define MSR_TSC_ADJUST 0x3bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_KERNEL_GS_BASE 0xc0000102u

static int fd_of(struct hv_vcpu *c)
{
	return kvm_vcpu_of(c)->fd;
}

/* What an ioctl has returned, and what it was for. */
static int told(int r, const char *what, struct err *e)
{
	return r < 0 ? err_os(e, ERR_IO, "%s", what) : 0;
}

/* --- run state --- */

static const uint32_t run_states[HV_RUN_STATES] = {
	[HV_RUN_ON] = KVM_MP_STATE_RUNNABLE,	       [HV_RUN_NEVER] = KVM_MP_STATE_UNINITIALIZED,
	[HV_RUN_INIT] = KVM_MP_STATE_INIT_RECEIVED,    [HV_RUN_HALTED] = KVM_MP_STATE_HALTED,
	[HV_RUN_STARTED] = KVM_MP_STATE_SIPI_RECEIVED,
};

static int get_run(struct hv_vcpu *c, struct hv_x86_saved *s, struct err *e)
{
	struct kvm_mp_state k;

	if (told(ioctl(fd_of(c), KVM_GET_MP_STATE, &k), "read the vCPU's run state", e) < 0)
		return -1;
	for (uint32_t i = 0; i < HV_RUN_STATES; i++) {
		if (run_states[i] != k.mp_state)
			continue;
		s->run = (enum hv_run_state)i;
		return 0;
	}
	return err_set(e, ERR_IO, "the vCPU's run state %u is not known here", k.mp_state);
}

static int put_run(struct hv_vcpu *c, const struct hv_x86_saved *s, struct err *e)
{
	struct kvm_mp_state k = { .mp_state = run_states[s->run] };

	return told(ioctl(fd_of(c), KVM_SET_MP_STATE, &k), "set the vCPU's run state", e);
}

/* --- registers --- */

static int get_regs(struct hv_vcpu *c, struct hv_x86_saved *s, struct err *e)
{
	struct kvm_sregs k;

	if (kvm_get_regs(c, &s->regs, e) < 0 ||
	    told(ioctl(fd_of(c), KVM_GET_SREGS, &k), "read the vCPU's system registers", e) < 0)
		return -1;
	s->apic_base = k.apic_base;
	return 0;
}

static int put_regs(struct hv_vcpu *c, const struct hv_x86_saved *s, struct err *e)
{
	struct kvm_sregs k;

	if (told(ioctl(fd_of(c), KVM_GET_SREGS, &k), "read the vCPU's system registers", e) < 0)
		return -1;
	k.apic_base = s->apic_base;
	if (told(ioctl(fd_of(c), KVM_SET_SREGS, &k), "set the vCPU's APIC base", e) < 0)
		return -1;
	return kvm_set_regs(c, &s->regs, e);
}

static int get_debug(struct hv_vcpu *c, struct hv_x86_saved *s, struct err *e)
{
	struct kvm_debugregs k;

	if (told(ioctl(fd_of(c), KVM_GET_DEBUGREGS, &k), "read the vCPU's debug registers", e) < 0)
		return -1;
	for (uint32_t i = 0; i < HV_DEBUG_ADDRESSES; i++)
		s->debug_address[i] = k.db[i];
	s->debug_status = k.dr6;
	s->debug_control = k.dr7;
	return 0;
}

static int put_debug(struct hv_vcpu *c, const struct hv_x86_saved *s, struct err *e)
{
	struct kvm_debugregs k = { .dr6 = s->debug_status, .dr7 = s->debug_control };

	for (uint32_t i = 0; i < HV_DEBUG_ADDRESSES; i++)
		k.db[i] = s->debug_address[i];
	return told(ioctl(fd_of(c), KVM_SET_DEBUGREGS, &k), "set the vCPU's debug registers", e);
}

/* --- FPU and its like --- */

static int get_xsave(struct hv_vcpu *c, struct hv_x86_saved *s, struct err *e)
{
	struct kvm_xcrs x = { 0 };
	uint32_t bytes;

	s->xsave.items = kvm_read_xsave(c, &bytes, e);
	if (!s->xsave.items)
		return -1;
	s->xsave.count = bytes / sizeof(s->xsave.items[0]);
	while (s->xsave.count && !s->xsave.items[s->xsave.count - 1])
		s->xsave.count--;
	if (told(ioctl(fd_of(c), KVM_GET_XCRS, &x), "read the vCPU's XCR0", e) < 0)
		return -1;
	s->xcr0 = x.xcrs[0].value;
	return 0;
}

/* What is missing at the end is zeros. */
static int put_xsave(struct hv_vcpu *c, const struct hv_x86_saved *s, struct err *e)
{
	struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs[0].value = s->xcr0 };
	size_t saved = s->xsave.count * sizeof(s->xsave.items[0]);
	uint32_t bytes;
	AUTO_FREE uint8_t *area = kvm_read_xsave(c, &bytes, e);

	if (!area)
		return -1;
	if (saved > bytes)
		return err_set(e, ERR_BAD,
			       "the vCPU's FPU has %zu bytes, and this host's only %" PRIu32, saved,
			       bytes);
	memset(area, 0, bytes);
	if (saved)
		memcpy(area, s->xsave.items, saved);
	if (told(ioctl(fd_of(c), KVM_SET_XCRS, &x), "set the vCPU's XCR0", e) < 0)
		return -1;
	return told(ioctl(fd_of(c), KVM_SET_XSAVE, area), "set the vCPU's FPU", e);
}

/* --- local APIC --- */

/* Among the MSRs, which are read before; NULL where KVM has none. */
static struct hv_msr *deadline_of(const struct hv_x86_saved *s)
{
	struct hv_msr *last = s->msrs.count ? &s->msrs.items[s->msrs.count - 1] : NULL;

	return last && last->index == MSR_TSC_DEADLINE ? last : NULL;
}

/* A deadline that passes between the two readings would be in neither. It passes once. */
static int get_lapic(struct hv_vcpu *c, struct hv_x86_saved *s, struct err *e)
{
	struct hv_msr *deadline = deadline_of(s), now;
	struct kvm_lapic_state k;
	bool passed;

	do {
		if (told(ioctl(fd_of(c), KVM_GET_LAPIC, &k), "read the vCPU's local APIC", e) < 0)
			return -1;
		now = (struct hv_msr){ .index = MSR_TSC_DEADLINE };
		if (deadline && hv_vcpu_get_msrs(c, &now, 1, e) < 0)
			return -1;
		passed = deadline && now.value != deadline->value;
		if (passed)
			deadline->value = now.value;
	} while (passed);
	kvm_timer_close(kvm_vcpu_of(c), &k);
	memcpy(s->lapic, k.regs, sizeof(k.regs));
	return 0;
}

static int put_lapic(struct hv_vcpu *c, const struct hv_x86_saved *s, struct err *e)
{
	struct kvm_lapic_state k;

	kvm_vcpu_of(c)->timer_told = false;
	memcpy(k.regs, s->lapic, sizeof(k.regs));
	return told(ioctl(fd_of(c), KVM_SET_LAPIC, &k), "set the vCPU's local APIC", e);
}

/* --- MSRs --- */

/* Of those that KVM lists; the clock's are not ours, and one is a register that has its place. */
static bool is_ours(uint32_t index)
{
	return index != MSR_TSC && index != MSR_TSC_ADJUST && index != MSR_KERNEL_GS_BASE;
}

static int get_msrs(struct hv_vcpu *c, struct hv_x86_saved *s, struct err *e)
{
	const struct kvm_msr_list *l = kvm_msrs(kvm_vcpu_of(c)->kvm);
	uint32_t n = 0;

	s->msrs.items = mem_array(l->nmsrs + 1, sizeof(s->msrs.items[0]));
	for (uint32_t i = 0; i < l->nmsrs; i++)
		if (is_ours(l->indices[i]) && l->indices[i] != MSR_TSC_DEADLINE)
			s->msrs.items[n++].index = l->indices[i];
	s->msrs.items[n++].index = MSR_TSC_DEADLINE; /* last to be set */
	if (hv_vcpu_get_msrs(c, s->msrs.items, n, e) < 0)
		return -1;
	for (uint32_t i = 0; i < n; i++)
		if (s->msrs.items[i].index)
			s->msrs.items[s->msrs.count++] = s->msrs.items[i];
	return 0;
}

/* One that does not take its value is as good as set when it has it, and when it is not there and
 * was never used. */
static int put_msr(struct hv_vcpu *c, const struct hv_msr *m, struct err *e)
{
	struct hv_msr has = { .index = m->index };

	if (hv_vcpu_msrs(c, m, 1, e) < 0 || hv_vcpu_get_msrs(c, &has, 1, e) < 0)
		return -1;
	if (has.value == m->value)
		return 0;
	return err_set(e, ERR_BAD, "MSR 0x%" PRIx32 " does not take 0x%" PRIx64 " on this host",
		       m->index, m->value);
}

/* All at once; what stopped KVM is looked at alone. */
static int put_msrs(struct hv_vcpu *c, const struct hv_x86_saved *s, struct err *e)
{
	uint32_t count = s->msrs.count, done = 0;
	AUTO_FREE struct kvm_msrs *k = mem_new(sizeof *k + count * sizeof k->entries[0]);

	while (done < count) {
		k->nmsrs = count - done;
		for (uint32_t i = 0; i < k->nmsrs; i++)
			k->entries[i] = (struct kvm_msr_entry){
				.index = s->msrs.items[done + i].index,
				.data = s->msrs.items[done + i].value,
			};
		int n = ioctl(kvm_vcpu_of(c)->fd, KVM_SET_MSRS, k);

		if (n < 0)
			return err_os(e, ERR_IO, "set the vCPU's MSRs");
		done += (uint32_t)n;
		if (done < count && put_msr(c, &s->msrs.items[done++], e) < 0)
			return -1;
	}
	return 0;
}

/* --- events --- */

static int get_events(struct hv_vcpu *c, struct hv_x86_saved *s, struct err *e)
{
	struct kvm_vcpu_events k = { 0 };

	if (told(ioctl(fd_of(c), KVM_GET_VCPU_EVENTS, &k), "read the vCPU's events", e) < 0)
		return -1;
	s->events = (struct hv_x86_events){
		.exception = k.exception.nr,
		.exception_injected = k.exception.injected,
		.exception_pending = k.exception.pending,
		.exception_has_error = k.exception.has_error_code,
		.exception_error = k.exception.error_code,
		.exception_has_payload = k.exception_has_payload,
		.exception_payload = k.exception_payload,
		.interrupt = k.interrupt.nr,
		.interrupt_injected = k.interrupt.injected,
		.interrupt_soft = k.interrupt.soft,
		.interrupt_shadow = k.interrupt.shadow,
		.nmi_injected = k.nmi.injected,
		.nmi_pending = k.nmi.pending,
		.nmi_masked = k.nmi.masked,
		.sipi_vector = k.sipi_vector,
		.smm = k.smi.smm,
		.smi_pending = k.smi.pending,
		.smi_in_nmi = k.smi.smm_inside_nmi,
		.latched_init = k.smi.latched_init,
		.triple_fault = k.triple_fault.pending,
	};
	return 0;
}

static int put_events(struct hv_vcpu *c, const struct hv_x86_saved *s, struct err *e)
{
	const struct hv_x86_events *v = &s->events;
	struct kvm_vcpu_events k = {
		.exception = { .nr = v->exception,
			       .injected = v->exception_injected || v->exception_pending,
			       .has_error_code = v->exception_has_error,
			       .error_code = v->exception_error },
		.interrupt = { .nr = v->interrupt,
			       .injected = v->interrupt_injected,
			       .soft = v->interrupt_soft,
			       .shadow = v->interrupt_shadow },
		.nmi = { .injected = v->nmi_injected,
			 .pending = v->nmi_pending,
			 .masked = v->nmi_masked },
		.sipi_vector = v->sipi_vector,
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
			 KVM_VCPUEVENT_VALID_SHADOW,
		.smi = { .smm = v->smm,
			 .pending = v->smi_pending,
			 .smm_inside_nmi = v->smi_in_nmi,
			 .latched_init = v->latched_init },
	};

	if (v->smm || v->smi_pending || v->latched_init)
		k.flags |= KVM_VCPUEVENT_VALID_SMM;
	return told(ioctl(fd_of(c), KVM_SET_VCPU_EVENTS, &k), "set the vCPU's events", e);
}

/* --- as a whole --- */

int kvm_vcpu_save(struct hv_vcpu *c, struct hv_x86_saved *s, struct err *e)
{
	static int (*const steps[])(struct hv_vcpu *, struct hv_x86_saved *, struct err *) = {
		get_run, get_regs, get_xsave, get_msrs, get_lapic, get_debug, get_events,
	};

	*s = (struct hv_x86_saved){ 0 };
	for (unsigned int i = 0; i < ARRAY_LEN(steps); i++)
		if (steps[i](c, s, e) < 0)
			return -1;
	return 0;
}

int kvm_vcpu_load(struct hv_vcpu *c, const struct hv_x86_saved *s, struct err *e)
{
	static int (*const steps[])(struct hv_vcpu *, const struct hv_x86_saved *, struct err *) = {
		put_regs, put_xsave, put_lapic, put_msrs, put_debug, put_events, put_run,
	};

	for (unsigned int i = 0; i < ARRAY_LEN(steps); i++)
		if (steps[i](c, s, e) < 0)
			return -1;
	return 0;
}
