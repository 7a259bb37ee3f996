/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor as the rest of the house sees it: a VM, its memory slots and interrupts, its
 * vCPUs, and why they stopped. It knows no devices. Back ends (hv/kvm) fill the tables; they are
 * chosen at run time.
 *
 * VM calls are for the control thread while the VM is built, and those of interrupts for any thread
 * (they are single system calls). vCPU calls are for the vCPU's own thread, or for anyone while it
 * is parked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct hv; /* an open hypervisor */
struct hv_vm;
struct hv_vcpu;

enum hv_exit_kind {
	HV_EXIT_INTR, /* kicked or nothing to do: look at your flags, run again */
	HV_EXIT_IO,   /* port access */
	HV_EXIT_MMIO,
	HV_EXIT_EOI, /* end of interrupt of a level-triggered vector */
	HV_EXIT_HALT,
	HV_EXIT_RESET,	  /* triple fault or the guest's request through the hypervisor */
	HV_EXIT_SHUTDOWN, /* the guest's power-off through the hypervisor */
	HV_EXIT_CRASH,	  /* the hypervisor says the guest crashed */
	HV_EXIT_DEBUG,	  /* what hv_vcpu_debug asked for; `cause` and `point` tell it */
	HV_EXIT_FAIL,	  /* the hypervisor cannot go on; `why` says it */
};

enum hv_debug_cause {
	HV_DEBUG_STEP,	/* one instruction is done */
	HV_DEBUG_POINT, /* a point was met: that of number `point` */
	HV_DEBUG_BREAK, /* a breakpoint instruction, ours or the guest's */
	HV_DEBUG_GUEST, /* a debug exception of the guest's own making */
};

struct hv_exit {
	enum hv_exit_kind kind;
	enum hv_debug_cause cause;
	uint8_t point;
	bool write;
	uint8_t size;	/* of one access: 1, 2, 4, 8 */
	uint32_t count; /* string I/O: accesses, one after another in data */
	uint64_t addr;	/* port or guest-physical address; vector for EOI; virtual for DEBUG */
	uint8_t *
		data; /* where to read what the guest wrote, or to put what it reads; until the next run */
	char why[96];
};

struct hv_irq_route {
	uint32_t gsi;
	bool masked;   /* no route for this GSI now */
	uint64_t addr; /* MSI address */
	uint32_t data; /* MSI data */
};

/* One entry of CPUID: what leaf and subleaf answer. index_matters: subleaf is part of the key. */
struct hv_cpuid {
	uint32_t leaf, sub;
	bool sub_matters;
	uint32_t eax, ebx, ecx, edx;
};

/* Registers for starting a CPU and for a debugger; x86-64. Described by a state table in arch/x86
 * when saved. */
struct hv_segment {
	uint64_t base;
	uint32_t limit;
	uint16_t selector;
	uint8_t type, present, dpl, db, s, l, g, avl;
	uint8_t pad[2];
};
struct hv_x86_start {
	uint64_t rip, rsp, rbp, rbx, rsi, rflags;
	uint64_t cr0, cr3, cr4, efer;
	struct hv_segment cs, ds, tss; /* ds serves es, fs, gs, ss too */
	uint64_t gdt_base, idt_base;
	uint16_t gdt_limit, idt_limit;
};
struct hv_msr {
	uint32_t index;
	uint64_t value;
};

/* All that a debugger shows of a processor, but its FPU. Numbers are the processor's own: rax rcx
 * rdx rbx rsp rbp rsi rdi r8..r15. */
enum hv_x86_seg { HV_ES, HV_CS, HV_SS, HV_DS, HV_FS, HV_GS, HV_X86_SEGS };
struct hv_x86_regs {
	uint64_t gpr[16];
	uint64_t rip, rflags;
	struct hv_segment seg[HV_X86_SEGS], ldt, tss;
	uint64_t gdt_base, idt_base;
	uint16_t gdt_limit, idt_limit;
	uint8_t pad[4];
	uint64_t cr0, cr2, cr3, cr4, cr8, efer;
	uint64_t kernel_gs_base;
};
struct hv_x86_fpu {
	uint8_t st[8][16]; /* from the top of the stack; 10 bytes each are used */
	uint8_t xmm[16][16];
	uint64_t ip, dp; /* of the last instruction and operand */
	uint32_t mxcsr;
	uint16_t cw, sw, op;
	uint8_t used; /* a bit for each register, by its own number: it holds something */
};

/* What makes a vCPU leave the guest with HV_EXIT_DEBUG. Addresses are virtual. */
#define HV_DEBUG_POINTS 4
enum hv_point_kind { HV_POINT_EXECUTE, HV_POINT_WRITE, HV_POINT_ACCESS };
struct hv_debug {
	bool step;   /* after one instruction, without an interrupt in between if that can be had */
	bool breaks; /* at breakpoint instructions, which the guest then does not see */
	uint8_t points;
	struct hv_point {
		uint64_t addr; /* a multiple of size */
		enum hv_point_kind kind;
		uint8_t size; /* 1, 2, 4, 8; 1 for EXECUTE */
	} point[HV_DEBUG_POINTS];
};

/* Opens the hypervisor: /dev/kvm. Sentences for no device and no right to it. */
MUST int hv_open(struct hv **out, struct err *e);
void hv_close(struct hv *h);
uint32_t hv_max_vcpus(const struct hv *h);
/* One more than the highest APIC id that a vCPU can have. */
uint32_t hv_max_apic_ids(const struct hv *h);
/* Physical address bits of the host's CPU. */
uint8_t hv_phys_bits(const struct hv *h);
/* What the hypervisor can offer a guest; *out is freed by the caller. */
MUST int hv_supported_cpuid(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e);
/* The leaves by which it would look like Hyper-V, with all it can do of that; refused with a
 * sentence where it cannot. *out is freed by the caller. */
MUST int hv_hyperv_cpuid(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e);
/* Lets guests have the matrix extension AMX, which takes a permission of the host for the whole
 * process, before its first vCPU; hv_supported_cpuid tells of it from then on. Refused with a
 * sentence where processor, kernel or hypervisor lack it. */
MUST int hv_allow_amx(struct hv *h, struct err *e);
/* Is this MSR one that the hypervisor lists for saving? */
bool hv_has_msr(const struct hv *h, uint32_t index);

/* A VM with a split interrupt controller: LAPICs in the hypervisor, 24-pin IOAPIC outside
 * (chip/ioapic). max_apic_id above HV_XAPIC_MAX asks for x2APIC; messages may then name 15 bits
 * of a destination, the upper seven in bits 11..5 of their address. tss_addr: three pages of
 * guest-physical space for the hypervisor. */
#define HV_XAPIC_MAX 254
struct hv_vm_args {
	uint32_t max_apic_id;
	uint64_t tss_addr, identity_map_addr;
	uint32_t ioapic_pins;
};
MUST int hv_vm_new(struct hv_vm **out, struct hv *h, const struct hv_vm_args *a, struct err *e);
/* One of no hypervisor, to rehearse with: it takes slots, events and routes, and never has a vCPU. */
struct hv_vm *hv_vm_rehearsal(void);
void hv_vm_free(struct hv_vm *vm);
/* A memory slot, by the lowest number that is free: *slot. While vCPUs run, too; any
 * thread. readonly: guest writes exit as MMIO. */
#define HV_SLOTS_MAX 512
MUST int hv_slot_add(struct hv_vm *vm, uint32_t *slot, uint64_t gpa, uint64_t size, uintptr_t host,
		     bool readonly, struct err *e);
/* The guest sees nothing of it any more when this returns; the number is free again. */
MUST int hv_slot_drop(struct hv_vm *vm, uint32_t slot, struct err *e);
/* An eventfd that the hypervisor signals when the guest writes there. size 0: any size. datamatch
 * when has_value. */
MUST int hv_ioevent(struct hv_vm *vm, int fd, uint64_t addr, bool is_port, uint32_t size, bool on,
		    struct err *e);
/* An eventfd that raises this GSI's route. */
MUST int hv_irqfd(struct hv_vm *vm, int fd, uint32_t gsi, bool on, struct err *e);
/* Replaces the whole table of routes; masked rows are left out. */
MUST int hv_set_routes(struct hv_vm *vm, const struct hv_irq_route *routes, uint32_t count,
		       struct err *e);
/* Delivers one MSI now. 0, or -1 when the guest has nobody at that address. */
int hv_msi(struct hv_vm *vm, uint64_t addr, uint32_t data);
/* The clock that the hypervisor shows to guests, in nanoseconds from the VM's beginning. Set while
 * no vCPU runs, it goes on from there. */
MUST int hv_clock(struct hv_vm *vm, uint64_t *ns, struct err *e);
MUST int hv_set_clock(struct hv_vm *vm, uint64_t ns, struct err *e);
/* A non-maskable interrupt for the vCPU with this APIC id, running or not. */
MUST int hv_nmi(struct hv_vm *vm, uint32_t apic_id, struct err *e);

MUST int hv_vcpu_new(struct hv_vcpu **out, struct hv_vm *vm, uint32_t apic_id, struct err *e);
void hv_vcpu_free(struct hv_vcpu *c);
MUST int hv_vcpu_cpuid(struct hv_vcpu *c, const struct hv_cpuid *table, uint32_t count,
		       struct err *e);
/* Sets registers, FPU and LAPIC pins for the boot CPU; others wait for INIT and SIPI. */
MUST int hv_vcpu_start(struct hv_vcpu *c, const struct hv_x86_start *s, struct err *e);
/* Sets those of the MSRs that the hypervisor knows. */
MUST int hv_vcpu_msrs(struct hv_vcpu *c, const struct hv_msr *msrs, uint32_t count, struct err *e);
/* Reads MSRs by their index into value; one that the hypervisor does not know gets index 0 and
 * value 0. */
MUST int hv_vcpu_get_msrs(struct hv_vcpu *c, struct hv_msr *msrs, uint32_t count, struct err *e);
/* Registers of a parked vCPU. What is set differs as a whole or not at all from what was read: the
 * system's registers are left alone when they are as they were. */
MUST int hv_vcpu_get_regs(struct hv_vcpu *c, struct hv_x86_regs *r, struct err *e);
MUST int hv_vcpu_set_regs(struct hv_vcpu *c, const struct hv_x86_regs *r, struct err *e);
MUST int hv_vcpu_get_fpu(struct hv_vcpu *c, struct hv_x86_fpu *f, struct err *e);
MUST int hv_vcpu_set_fpu(struct hv_vcpu *c, const struct hv_x86_fpu *f, struct err *e);
/* For a parked vCPU: debugging as d says, in place of what was said before; NULL: none. While there
 * are points, the guest's own debug registers have no effect. */
MUST int hv_vcpu_debug(struct hv_vcpu *c, const struct hv_debug *d, struct err *e);
/* The guest shall have the exception that came as HV_DEBUG_BREAK or HV_DEBUG_GUEST; what
 * hv_vcpu_debug said goes on. For the vCPU's own thread. */
MUST int hv_vcpu_debug_pass(struct hv_vcpu *c, enum hv_debug_cause cause, struct err *e);
/* LINT0 = ExtINT, LINT1 = NMI. */
MUST int hv_vcpu_lint(struct hv_vcpu *c, struct err *e);
/* Its local APIC speaks x2APIC from the start, as firmware leaves it where ids are long. */
MUST int hv_vcpu_x2apic(struct hv_vcpu *c, struct err *e);
/* Its synthetic interrupt controller is Hyper-V's; after hv_vcpu_cpuid. */
MUST int hv_vcpu_synic(struct hv_vcpu *c, struct err *e);
/* A vCPU that has run waits for INIT and SIPI, as one that is new; its number and what was set of it
 * stay. */
MUST int hv_vcpu_reset(struct hv_vcpu *c, struct err *e);
/* kHz, or 0 when unknown. */
uint32_t hv_vcpu_tsc_khz(struct hv_vcpu *c);
/* Makes the guest's counter run at kHz; fails where the host's cannot be scaled to that. */
MUST int hv_vcpu_set_tsc_khz(struct hv_vcpu *c, uint32_t khz, struct err *e);
/* The processor's counter as the guest reads it now; the vCPU is parked. */
MUST int hv_vcpu_counter(struct hv_vcpu *c, uint64_t *ticks, struct err *e);
/* It steps back by so many ticks, as if it had stood for them. All vCPUs of a guest step alike, or
 * they part. ERR_UNBUILT where the host cannot do that. */
MUST int hv_vcpu_counter_back(struct hv_vcpu *c, uint64_t ticks, struct err *e);
/* It runs in step with that of another vCPU, so many ticks ahead. The same. */
MUST int hv_vcpu_counter_like(struct hv_vcpu *c, struct hv_vcpu *other, uint64_t ahead,
			      struct err *e);
/* Tells a guest that uses the hypervisor's clock that this vCPU, which is parked, has stood still:
 * nothing has hung. */
void hv_vcpu_paused(struct hv_vcpu *c);
/* Runs until an exit. Also completes the access of the exit before. */
void hv_vcpu_run(struct hv_vcpu *c, struct hv_exit *x);
/* Its own thread, when the vCPU is interrupted, has nothing left to complete and is to stand: what
 * its timers did meanwhile gets into its state, without an instruction of the guest's.
 * HV_EXIT_INTR when that is done; else an exit like others, and the caller comes again. The thread
 * gets kick signals (base/thread). */
void hv_vcpu_settle(struct hv_vcpu *c, struct hv_exit *x);
/* Any thread, async-signal-safe: the next or present run returns at once with HV_EXIT_INTR, until
 * cleared. The caller sends the kick signal afterwards. */
void hv_vcpu_interrupt(struct hv_vcpu *c);
void hv_vcpu_clear_interrupt(struct hv_vcpu *c);
