/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways into the tiny guest, and the one way on: ring 3, 64-bit, all ports open, interrupts
 * off, in C.
 *
 *   linux32_start  32-bit, esi = boot_params      bzImage
 *   linux64_start  long mode, rsi = boot_params   the ELF entry
 *   pvh_start      32-bit, ebx = hvm_start_info   the ELF's PVH note
 *   ap_start       16-bit, after INIT and SIPI    other CPUs
 *
 * Some hosts interpret what a guest runs in ring 0 and run ring 3 on the processor itself, so
 * ring 0 is kept to a few dozen instructions: page tables and descriptors are link-time data, and
 * lidt and ltr happen before there is anything behind them. C code in ring 3 fills them in.
 * Specifications: Linux Documentation/arch/x86/boot.rst; Xen docs/misc/pvh.
 */
#include "select.h"

	/* Offsets in struct entry of guest.h. */
	.set	E_KIND, 0
	.set	E_INFO, 8
	.set	E_REG, 16

	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 8, 18		/* namesz, descsz, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.quad	pvh_start

	.section .text.start, "ax"
	.code32
	.global	linux32_start, linux64_start, pvh_start
linux32_start:
	cld
	movl	%esi, entry + E_INFO
	movl	$ENTRY_LINUX32, entry + E_KIND
	jmp	save32
pvh_start:
	cld
	movl	%ebx, entry + E_INFO
	movl	$ENTRY_PVH, entry + E_KIND
save32:
	movl	%eax, entry + E_REG + 0
	movl	%ebx, entry + E_REG + 8
	movl	%ecx, entry + E_REG + 16
	movl	%edx, entry + E_REG + 24
	movl	%esi, entry + E_REG + 32
	movl	%edi, entry + E_REG + 40
	movl	%ebp, entry + E_REG + 48
	movl	%esp, entry + E_REG + 56
	movl	$boot_stack_top, %esp
	pushfl
	popl	entry + E_REG + 64
	movl	%cr0, %eax
	movl	%eax, entry + E_REG + 72
	movl	%cr4, %eax
	movl	%eax, entry + E_REG + 80
	movw	%cs, entry + E_REG + 88
	movw	%ds, entry + E_REG + 96
	movw	%ss, entry + E_REG + 104
	xorl	%edi, %edi		/* cpu 0 */
enter32:				/* flat 32-bit segments, edi = cpu */
	movl	$0x620, %eax		/* CR4: PAE, OSFXSR, OSXMMEXCPT */
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER: LME */
	movl	$0x100, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$0x80010033, %eax	/* CR0: PG, WP, NE, ET, MP, PE */
	movl	%eax, %cr0
	lgdt	gdt_ptr
	ljmp	$SEL_KCODE, $enter64

	.code64
	.org	0x200
linux64_start:
	cld
	movq	%rsi, entry + E_INFO
	movl	$ENTRY_LINUX64, entry + E_KIND
	movq	%rsp, entry + E_REG + 56
	movl	$pml4, %eax
	movq	%rax, %cr3
	movl	$0x620, %eax
	movq	%rax, %cr4
	movl	$0xc0000080, %ecx
	movl	$0x500, %eax		/* LME, LMA */
	xorl	%edx, %edx
	wrmsr
	lgdt	gdt_ptr
	movl	$boot_stack_top, %esp
	pushq	$SEL_KCODE
	pushq	$1f
	lretq
1:	xorl	%edi, %edi
enter64:				/* edi = cpu */
	lidt	idt_ptr
	movl	%edi, %eax
	shll	$4, %eax
	addl	$SEL_TSS, %eax
	ltr	%ax
	movl	$SEL_KDATA, %eax
	movl	%eax, %ss
	movl	$SEL_UDATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%edi, %eax		/* this cpu's stack; rsp is 8 below a multiple of 16 */
	incl	%eax			/* as after a call */
	shll	$STACK_SHIFT, %eax
	leal	stacks(%eax), %esp
	leal	-8(%esp), %ecx
	pushq	$SEL_UDATA
	pushq	%rcx
	pushq	$2			/* rflags: ports are open by the TSS bitmap, not by IOPL */
	pushq	$SEL_UCODE
	pushq	$enter_user
	iretq

enter_user:				/* ring 3 from here on */
	testl	%edi, %edi
	jnz	1f
	movl	$bss_start, %edi	/* a second boot in the same RAM finds it used */
	movl	$bss_end, %ecx
	subl	%edi, %ecx
	xorl	%eax, %eax
	rep stosb
	xorl	%edi, %edi
1:	jmp	guest_main		/* guest_main(cpu), does not return */

/* Copied to AP_PAGE by smp.c, which leaves the cpu's number at AP_CPU. */
	.text
	.balign	16
	.code16
	.global	ap_start, ap_start_end
ap_start:
	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	movl	AP_CPU, %edi
	lgdtl	ap_gdt_ptr - ap_start + AP_PAGE
	movl	$0x11, %eax
	movl	%eax, %cr0
	ljmpl	$SEL_KCODE32, $ap32
	.balign	8
ap_gdt_ptr:
	.word	gdt_end - gdt - 1
	.long	gdt
ap_start_end:
	.code32
ap32:	movl	$SEL_KDATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	jmp	enter32

	.data
	.balign	16
	.global	gdt, gdt_end, entry
gdt:	.quad	0
	.quad	0x00cf9b000000ffff	/* SEL_KCODE32 */
	.quad	0x00af9b000000ffff	/* SEL_KCODE */
	.quad	0x00cf93000000ffff	/* SEL_KDATA */
	.quad	0
	.quad	0x00cff3000000ffff	/* SEL_UDATA */
	.quad	0x00affb000000ffff	/* SEL_UCODE */
	.quad	0
	.quad	tss0_lo, 0		/* SEL_TSS, one pair for each cpu */
	.fill	2 * (CPUS_MAX - 1), 8, 0
gdt_end:
gdt_ptr:
	.word	gdt_end - gdt - 1
	.quad	gdt
idt_ptr:
	.word	4095
	.quad	idt
	.balign	16
entry:	.fill	2 + 14, 8, 0

/* Identity map of the first 4 GiB by 2 MiB pages: present, writable, user, accessed, dirty. */
	.section .data.page, "aw"
	.balign	4096
	.global	pml4
pml4:	.quad	pdpt + 0x67
	.fill	511, 8, 0
pdpt:	.quad	pd0 + 0x67, pd0 + 0x1067, pd0 + 0x2067, pd0 + 0x3067
	.fill	508, 8, 0
pd0:	.set	i, 0
	.rept	2048
	.quad	(i << 21) + 0xe7
	.set	i, i + 1
	.endr

	.section .stack, "aw", @nobits
	.balign	4096
	.global	stacks
	.skip	4096
boot_stack_top:
stacks:	.skip	CPUS_MAX << STACK_SHIFT
	.section .note.GNU-stack, "", @progbits
