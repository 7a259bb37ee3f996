/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tiny guest's ring 0 after start-up: services called from ring 3 through int3 (the one
 * software interrupt every kind of KVM delivers), the interrupt stubs and the exception stubs.
 * Each is as few instructions as it can be; see start.S for why.
 */
#include "select.h"

	.text
	.code64
	.global	isr_call, kcall
/* Gate of vector 3: rax = function to call in ring 0, arguments in rdi and rsi. */
isr_call:
	call	*%rax
	iretq

/* uint64_t kcall(kfn, a, b): from ring 3 */
kcall:
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	int3
	ret

	.global	k_nop, k_sti, k_cli, k_rdmsr, k_wrmsr, k_hlt, k_cpuid, k_triple, k_flush
k_nop:	ret
k_sti:	orl	$0x200, 24(%rsp)	/* IF of the interrupted ring-3 context */
	ret
k_cli:	andl	$~0x200, 24(%rsp)
	ret
k_rdmsr:				/* the value, or all ones after #GP (see isr_gp) */
	movl	%edi, %ecx
k_rdmsr_insn:
	rdmsr
	shlq	$32, %rdx
	orq	%rdx, %rax
	ret
k_rdmsr_fix:
	orq	$-1, %rax
	ret
k_wrmsr:
	movl	%edi, %ecx
	movl	%esi, %eax
	movq	%rsi, %rdx
	shrq	$32, %rdx
	wrmsr
	ret
k_hlt:	sti
	hlt
	cli
	ret
k_flush:
	movq	%cr3, %rax
	movq	%rax, %cr3
	ret
k_cpuid:				/* rdi = uint32_t[4]: eax and ecx in, eax..edx out */
	pushq	%rbx
	movl	(%rdi), %eax
	movl	8(%rdi), %ecx
	cpuid
	movl	%eax, (%rdi)
	movl	%ebx, 4(%rdi)
	movl	%ecx, 8(%rdi)
	movl	%edx, 12(%rdi)
	popq	%rbx
	ret
k_triple:				/* with no IDT the next exception shuts the cpu down */
	lidt	empty_idt
	ud2

/* Exceptions: 32 stubs of 16 bytes, all to one reporter in C, run in ring 0. */
	.balign	16
	.global	exc_stubs
exc_stubs:
	.set	i, 0
	.rept	32
	.balign	16
	.if	(i == 8) || (i >= 10 && i <= 14) || (i == 17) || (i == 21) || (i == 29) || (i == 30)
	.else
	pushq	$0
	.endif
	pushq	$i
	jmp	exc_common
	.set	i, i + 1
	.endr
exc_common:				/* vector, error code, rip, cs, rflags, rsp, ss */
	movq	%rsp, %rdi
	movq	%cr2, %rsi
	andq	$-16, %rsp
	call	exc_report		/* does not return */

	.global	isr_gp
isr_gp:
	cmpq	$k_rdmsr_insn, 8(%rsp)
	jne	1f
	movq	$k_rdmsr_fix, 8(%rsp)
	addq	$8, %rsp
	iretq
1:	pushq	$13
	jmp	exc_common

/* Interrupts: 224 stubs of 16 bytes for vectors 32 and up: count, tell the LAPIC, return. */
	.balign	16
	.global	irq_stubs, isr_spurious
irq_stubs:
	.set	i, 32
	.rept	224
	.balign	16
	incl	irq_counts + 4 * i
	jmp	irq_end
	.set	i, i + 1
	.endr
irq_end:
	cmpl	$0, x2apic
	jne	1f
	.byte	0x67, 0xc7, 0x04, 0x25	/* movl $0, 0xfee000b0, with 32-bit addressing */
	.long	0xfee000b0, 0
	iretq
1:	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	movl	$0x80b, %ecx
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrmsr
	popq	%rdx
	popq	%rcx
	popq	%rax
	iretq
isr_spurious:
	iretq

	.data
	.balign	8
empty_idt:
	.quad	0, 0
	.section .note.GNU-stack, "", @progbits
