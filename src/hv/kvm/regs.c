/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a debugger wants of a vCPU of KVM: all registers, and stops. The thread that holds the vCPU;
 * passing an exception on is for the vCPU's own. Specification: Linux
 * Documentation/virt/kvm/api.rst §4.11 to §4.18, §4.24, §4.87 (KVM_SET_GUEST_DEBUG); Intel SDM
 * volume 3 §18.2 (debug registers).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/bits.h"
#include "base/mem.h"
#include "hv/kvm/kvm.h"

#define MSR_KERNEL_GS_BASE 0xc0000102u

/* Where things are in the area of FXSAVE; behind it, which parts of the area are there. */
#define FX_CW 0
#define FX_SW 2
#define FX_USED 4
#define FX_OP 6
#define FX_IP 8
#define FX_DP 16
#define FX_MXCSR 24
#define FX_ST 32
#define FX_XMM 160
#define FX_PARTS 512
#define FX_PART_X87 1u
#define FX_PART_SSE 2u

#define VECTOR_BP 3
#define DR6_STEP (1u << 14)
#define DR7_FIXED 0x600u /* bit 10 is one always; bit 9 is exactness, which old processors want */

/* --- registers --- */

/* KVM's place of each general register, by the processor's number. */
static uint64_t *gpr(struct kvm_regs *r, unsigned int n)
{
	uint64_t *const place[16] = {
		(uint64_t *)&r->rax, (uint64_t *)&r->rcx, (uint64_t *)&r->rdx, (uint64_t *)&r->rbx,
		(uint64_t *)&r->rsp, (uint64_t *)&r->rbp, (uint64_t *)&r->rsi, (uint64_t *)&r->rdi,
		(uint64_t *)&r->r8,  (uint64_t *)&r->r9,  (uint64_t *)&r->r10, (uint64_t *)&r->r11,
		(uint64_t *)&r->r12, (uint64_t *)&r->r13, (uint64_t *)&r->r14, (uint64_t *)&r->r15,
	};

	return place[n];
}

static struct kvm_segment *seg(struct kvm_sregs *s, unsigned int n)
{
	struct kvm_segment *const place[HV_X86_SEGS] = {
		[HV_ES] = &s->es, [HV_CS] = &s->cs, [HV_SS] = &s->ss,
		[HV_DS] = &s->ds, [HV_FS] = &s->fs, [HV_GS] = &s->gs,
	};

	return place[n];
}

static struct hv_segment neutral(const struct kvm_segment *s)
{
	return (struct hv_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->type,
		.present = s->present && !s->unusable,
		.dpl = s->dpl,
		.db = s->db,
		.s = s->s,
		.l = s->l,
		.g = s->g,
		.avl = s->avl,
	};
}

static int read_both(struct kvm_vcpu *v, struct kvm_regs *r, struct kvm_sregs *s, struct err *e)
{
	if (ioctl(v->fd, KVM_GET_REGS, r) < 0)
		return err_os(e, ERR_IO, "read the vCPU's registers");
	if (ioctl(v->fd, KVM_GET_SREGS, s) < 0)
		return err_os(e, ERR_IO, "read the vCPU's system registers");
	return 0;
}

int kvm_get_regs(struct hv_vcpu *c, struct hv_x86_regs *r, struct err *e)
{
	struct hv_msr gs = { .index = MSR_KERNEL_GS_BASE };
	struct kvm_sregs s;
	struct kvm_regs k;

	if (read_both(kvm_vcpu_of(c), &k, &s, e) < 0 || hv_vcpu_get_msrs(c, &gs, 1, e) < 0)
		return -1;
	*r = (struct hv_x86_regs){
		.rip = k.rip,
		.rflags = k.rflags,
		.ldt = neutral(&s.ldt),
		.tss = neutral(&s.tr),
		.gdt_base = s.gdt.base,
		.gdt_limit = s.gdt.limit,
		.idt_base = s.idt.base,
		.idt_limit = s.idt.limit,
		.cr0 = s.cr0,
		.cr2 = s.cr2,
		.cr3 = s.cr3,
		.cr4 = s.cr4,
		.cr8 = s.cr8,
		.efer = s.efer,
		.kernel_gs_base = gs.value,
	};
	for (unsigned int i = 0; i < 16; i++)
		r->gpr[i] = *gpr(&k, i);
	for (unsigned int i = 0; i < HV_X86_SEGS; i++)
		r->seg[i] = neutral(seg(&s, i));
	return 0;
}

static bool same_segment(const struct hv_segment *a, const struct hv_segment *b)
{
	return a->base == b->base && a->limit == b->limit && a->selector == b->selector &&
	       a->type == b->type && a->present == b->present && a->dpl == b->dpl &&
	       a->db == b->db && a->s == b->s && a->l == b->l && a->g == b->g && a->avl == b->avl;
}

/* One that is as it was stays as KVM has it: there is more in it than we know. */
static void put_segment(struct kvm_segment *k, const struct hv_segment *want)
{
	struct hv_segment is = neutral(k);

	if (!same_segment(&is, want))
		*k = kvm_segment_of(want);
}

static void put_system(struct kvm_sregs *s, const struct hv_x86_regs *r)
{
	for (unsigned int i = 0; i < HV_X86_SEGS; i++)
		put_segment(seg(s, i), &r->seg[i]);
	put_segment(&s->ldt, &r->ldt);
	put_segment(&s->tr, &r->tss);
	s->gdt.base = r->gdt_base;
	s->gdt.limit = r->gdt_limit;
	s->idt.base = r->idt_base;
	s->idt.limit = r->idt_limit;
	s->cr0 = r->cr0;
	s->cr2 = r->cr2;
	s->cr3 = r->cr3;
	s->cr4 = r->cr4;
	s->cr8 = r->cr8;
	s->efer = r->efer;
}

static int put_gs(struct hv_vcpu *c, uint64_t value, struct err *e)
{
	struct hv_msr gs = { .index = MSR_KERNEL_GS_BASE };

	if (hv_vcpu_get_msrs(c, &gs, 1, e) < 0)
		return -1;
	if (gs.value == value)
		return 0;
	gs = (struct hv_msr){ .index = MSR_KERNEL_GS_BASE, .value = value };
	return hv_vcpu_msrs(c, &gs, 1, e);
}

int kvm_set_regs(struct hv_vcpu *c, const struct hv_x86_regs *r, struct err *e)
{
	struct kvm_vcpu *v = kvm_vcpu_of(c);
	struct kvm_sregs s, was;
	struct kvm_regs k;

	if (read_both(v, &k, &s, e) < 0)
		return -1;
	was = s;
	put_system(&s, r);
	if (memcmp(&s, &was, sizeof(s)) && ioctl(v->fd, KVM_SET_SREGS, &s) < 0)
		return err_os(e, ERR_BAD, "the processor does not take these system registers");
	for (unsigned int i = 0; i < 16; i++)
		*gpr(&k, i) = r->gpr[i];
	k.rip = r->rip;
	k.rflags = r->rflags;
	if (ioctl(v->fd, KVM_SET_REGS, &k) < 0)
		return err_os(e, ERR_BAD, "the processor does not take these registers");
	return put_gs(c, r->kernel_gs_base, e);
}

/* Its first half KiB is what FXSAVE writes; KVM's calls for the FPU alone leave MXCSR out. SDM volume 1
 * §13.4. */
void *kvm_read_xsave(struct hv_vcpu *c, uint32_t *bytes, struct err *e)
{
	const struct kvm_vcpu *v = kvm_vcpu_of(c);
	int n = ioctl(v->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	bool wide = n > (int)sizeof(struct kvm_xsave);
	void *area;

	*bytes = wide ? (uint32_t)n : sizeof(struct kvm_xsave);
	area = mem_new(*bytes);
	if (!ioctl(v->fd, wide ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, area))
		return area;
	err_os(e, ERR_IO, "read the vCPU's FPU");
	free(area);
	return NULL;
}

int kvm_get_fpu(struct hv_vcpu *c, struct hv_x86_fpu *f, struct err *e)
{
	uint32_t bytes;
	AUTO_FREE uint8_t *area = kvm_read_xsave(c, &bytes, e);

	if (!area)
		return -1;
	*f = (struct hv_x86_fpu){
		.cw = le16_get(area + FX_CW),
		.sw = le16_get(area + FX_SW),
		.used = area[FX_USED],
		.op = le16_get(area + FX_OP),
		.ip = le64_get(area + FX_IP),
		.dp = le64_get(area + FX_DP),
		.mxcsr = le32_get(area + FX_MXCSR),
	};
	memcpy(f->st, area + FX_ST, sizeof(f->st));
	memcpy(f->xmm, area + FX_XMM, sizeof(f->xmm));
	return 0;
}

int kvm_set_fpu(struct hv_vcpu *c, const struct hv_x86_fpu *f, struct err *e)
{
	uint32_t bytes;
	AUTO_FREE uint8_t *area = kvm_read_xsave(c, &bytes, e);

	if (!area)
		return -1;
	le16_put(area + FX_CW, f->cw);
	le16_put(area + FX_SW, f->sw);
	area[FX_USED] = f->used;
	le16_put(area + FX_OP, f->op);
	le64_put(area + FX_IP, f->ip);
	le64_put(area + FX_DP, f->dp);
	le32_put(area + FX_MXCSR, f->mxcsr);
	memcpy(area + FX_ST, f->st, sizeof(f->st));
	memcpy(area + FX_XMM, f->xmm, sizeof(f->xmm));
	area[FX_PARTS] |= FX_PART_X87 | FX_PART_SSE;
	if (ioctl(kvm_vcpu_of(c)->fd, KVM_SET_XSAVE, area) < 0)
		return err_os(e, ERR_BAD, "the processor does not take this FPU state");
	return 0;
}

/* --- stops --- */

/* The bits of DR7 for point n. */
static uint64_t dr7_bits(const struct hv_point *p, unsigned int n)
{
	static const uint8_t kind[] = {
		[HV_POINT_EXECUTE] = 0, [HV_POINT_WRITE] = 1, [HV_POINT_ACCESS] = 3
	};
	static const uint8_t len[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };

	return 2ull << 2 * n | (uint64_t)(kind[p->kind] | len[p->size] << 2) << (16 + 4 * n);
}

/* An older KVM cannot hold interrupts back: then a step may lead into their handlers. */
static int set_debug(struct kvm_vcpu *v, uint32_t more, struct err *e)
{
	struct kvm_guest_debug d = v->debug;
	bool step = d.control & KVM_GUESTDBG_SINGLESTEP;

	d.control |= more;
	if (step && !v->no_block) {
		d.control |= KVM_GUESTDBG_BLOCKIRQ;
		if (!ioctl(v->fd, KVM_SET_GUEST_DEBUG, &d))
			return 0;
		v->no_block = errno == EINVAL;
		d.control &= ~(uint32_t)KVM_GUESTDBG_BLOCKIRQ;
	}
	if (ioctl(v->fd, KVM_SET_GUEST_DEBUG, &d) < 0)
		return err_os(e, ERR_ABSENT, "debugging of guests by this host's KVM");
	return 0;
}

int kvm_debug(struct hv_vcpu *c, const struct hv_debug *d, struct err *e)
{
	struct kvm_vcpu *v = kvm_vcpu_of(c);
	struct kvm_guest_debug k = { 0 };

	if (d && (d->step || d->breaks || d->points)) {
		k.control = KVM_GUESTDBG_ENABLE;
		k.control |= d->step ? KVM_GUESTDBG_SINGLESTEP : 0;
		k.control |= d->breaks ? KVM_GUESTDBG_USE_SW_BP : 0;
		k.control |= d->points ? KVM_GUESTDBG_USE_HW_BP : 0;
		k.arch.debugreg[7] = d->points ? DR7_FIXED : 0;
		for (unsigned int i = 0; i < d->points; i++) {
			k.arch.debugreg[i] = d->point[i].addr;
			k.arch.debugreg[7] |= dr7_bits(&d->point[i], i);
		}
	}
	v->debug = k;
	return set_debug(v, 0, e);
}

int kvm_debug_pass(struct hv_vcpu *c, enum hv_debug_cause cause, struct err *e)
{
	return set_debug(kvm_vcpu_of(c),
			 cause == HV_DEBUG_BREAK ? KVM_GUESTDBG_INJECT_BP : KVM_GUESTDBG_INJECT_DB,
			 e);
}

/* Was it one of our points? Bits of DR6 may be set for points that are off. */
static bool met_point(const struct kvm_vcpu *v, uint64_t dr6, uint8_t *point)
{
	for (uint8_t i = 0; i < HV_DEBUG_POINTS; i++) {
		if (dr6 & 1ull << i && v->debug.arch.debugreg[7] & 3ull << 2 * i) {
			*point = i;
			return true;
		}
	}
	return false;
}

void kvm_debug_exit(const struct kvm_vcpu *v, struct hv_exit *x)
{
	const struct kvm_debug_exit_arch *a = &v->run->debug.arch;

	x->addr = a->pc;
	if (a->exception == VECTOR_BP)
		x->cause = HV_DEBUG_BREAK;
	else if (met_point(v, a->dr6, &x->point))
		x->cause = HV_DEBUG_POINT;
	else if (a->dr6 & DR6_STEP && v->debug.control & KVM_GUESTDBG_SINGLESTEP)
		x->cause = HV_DEBUG_STEP;
	else
		x->cause = HV_DEBUG_GUEST;
}
