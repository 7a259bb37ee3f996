/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables, and the order of the two halves: the counter before the timer that counts against it. See
 * vcpustate.h.
 */
#include "arch/x86/vcpustate.h"

#include "base/mem.h"

static const struct field segment_f[] = {
	S(struct hv_segment, base),
	S(struct hv_segment, limit),
	S(struct hv_segment, selector),
	S(struct hv_segment, type, .max = 15),
	S(struct hv_segment, present, .max = 1),
	S(struct hv_segment, dpl, .max = 3),
	S(struct hv_segment, db, .max = 1),
	S(struct hv_segment, s, .max = 1),
	S(struct hv_segment, l, .max = 1),
	S(struct hv_segment, g, .max = 1),
	S(struct hv_segment, avl, .max = 1),
	S_PAD(struct hv_segment, pad),
};
static const struct desc segment_desc = DESC_OF(struct hv_segment, segment_f, "X86Segment");

static const struct field regs_f[] = {
	S_ARRAY(struct hv_x86_regs, gpr),
	S(struct hv_x86_regs, rip),
	S(struct hv_x86_regs, rflags),
	S_OBJS(struct hv_x86_regs, seg, &segment_desc),
	S_OBJ(struct hv_x86_regs, ldt, &segment_desc),
	S_OBJ(struct hv_x86_regs, tss, &segment_desc),
	S(struct hv_x86_regs, gdt_base),
	S(struct hv_x86_regs, idt_base),
	S(struct hv_x86_regs, gdt_limit),
	S(struct hv_x86_regs, idt_limit),
	S_PAD(struct hv_x86_regs, pad),
	S(struct hv_x86_regs, cr0),
	S(struct hv_x86_regs, cr2),
	S(struct hv_x86_regs, cr3),
	S(struct hv_x86_regs, cr4),
	S(struct hv_x86_regs, cr8),
	S(struct hv_x86_regs, efer),
	S(struct hv_x86_regs, kernel_gs_base),
};
static const struct desc regs_desc = DESC_OF(struct hv_x86_regs, regs_f, "X86Registers");

static const struct field events_f[] = {
	S(struct hv_x86_events, exception_payload),
	S(struct hv_x86_events, exception_error),
	S(struct hv_x86_events, sipi_vector),
	S(struct hv_x86_events, exception),
	S(struct hv_x86_events, interrupt),
	S(struct hv_x86_events, exception_pending),
	S(struct hv_x86_events, exception_injected),
	S(struct hv_x86_events, exception_has_error),
	S(struct hv_x86_events, exception_has_payload),
	S(struct hv_x86_events, interrupt_injected),
	S(struct hv_x86_events, interrupt_soft),
	S(struct hv_x86_events, interrupt_shadow),
	S(struct hv_x86_events, nmi_injected),
	S(struct hv_x86_events, nmi_pending),
	S(struct hv_x86_events, nmi_masked),
	S(struct hv_x86_events, smm),
	S(struct hv_x86_events, smi_pending),
	S(struct hv_x86_events, smi_in_nmi),
	S(struct hv_x86_events, latched_init),
	S(struct hv_x86_events, triple_fault),
	S_PAD(struct hv_x86_events, pad),
};
static const struct desc events_desc = DESC_OF(struct hv_x86_events, events_f, "X86Events");

static const struct field msr_f[] = {
	S(struct hv_msr, index),
	S(struct hv_msr, value),
};
static const struct desc msr_desc = DESC_OF(struct hv_msr, msr_f, "X86Msr");

static const char *const run_names[] = {
	[HV_RUN_ON] = "on",	    [HV_RUN_NEVER] = "never started", [HV_RUN_INIT] = "init",
	[HV_RUN_HALTED] = "halted", [HV_RUN_STARTED] = "started",     NULL,
};

static const struct field saved_f[] = {
	S_OBJ(struct hv_x86_saved, regs, &regs_desc),
	S_OBJ(struct hv_x86_saved, events, &events_desc),
	S(struct hv_x86_saved, apic_base),
	S(struct hv_x86_saved, xcr0),
	S_ARRAY(struct hv_x86_saved, debug_address),
	S(struct hv_x86_saved, debug_status),
	S(struct hv_x86_saved, debug_control),
	S_HEX(struct hv_x86_saved, lapic),
	S(struct hv_x86_saved, run, .names = run_names),
	S_PAD(struct hv_x86_saved, pad),
	S_LIST_NUM(struct hv_x86_saved, xsave, .max_items = 1u << 18),
	S_LIST(struct hv_x86_saved, msrs, &msr_desc, .max_items = 4096),
};
static const struct desc saved_desc = DESC_OF(struct hv_x86_saved, saved_f, "X86Vcpu");

static const struct field vcpu_f[] = {
	S_OBJ(struct x86_vcpu_state, clock, &x86_cpu_state_desc),
	S_OBJ(struct x86_vcpu_state, cpu, &saved_desc),
};
const struct desc x86_vcpu_state_desc = DESC_OF(struct x86_vcpu_state, vcpu_f, "X86VcpuState");

static const struct field cpuid_f[] = {
	S(struct hv_cpuid, leaf), S(struct hv_cpuid, sub), S(struct hv_cpuid, sub_matters),
	S(struct hv_cpuid, eax),  S(struct hv_cpuid, ebx), S(struct hv_cpuid, ecx),
	S(struct hv_cpuid, edx),
};
static const struct desc cpuid_desc = DESC_OF(struct hv_cpuid, cpuid_f, "X86Cpuid");

static const struct field cpuids_f[] = {
	S_LIST(struct x86_cpuid_state, leaves, &cpuid_desc, .max_items = 1024),
};
const struct desc x86_cpuid_state_desc = DESC_OF(struct x86_cpuid_state, cpuids_f, "X86CpuidState");

int x86_vcpu_get(struct x86_vcpu_state *s, struct hv_vcpu *v, struct err *e)
{
	*s = (struct x86_vcpu_state){ 0 };
	if (hv_vcpu_save(v, &s->cpu, e) == 0 && x86_cpu_get(&s->clock, v, e) == 0)
		return 0;
	desc_free(&x86_vcpu_state_desc, s);
	return -1;
}

int x86_vcpu_put(struct hv_vcpu *v, const struct x86_vcpu_state *s, struct err *e)
{
	return x86_cpu_put(v, &s->clock, e) == 0 && hv_vcpu_load(v, &s->cpu, e) == 0 ? 0 : -1;
}
