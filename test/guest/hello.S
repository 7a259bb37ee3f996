/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest guest there can be: from the PVH entry or the Linux 64-bit entry it writes
 * "R3 HELLO" to COM1 in ring 0 and asks for power-off (S5 by the ACPI sleep control register),
 * or, on machines without that register, for a reset. It needs neither stack nor tables, so the
 * time to its first byte is the VMM's own.
 */
	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 8, 18		/* namesz, descsz, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.quad	linux32_start

	/* The same bytes are valid in 32-bit and in 64-bit mode. */
	.section .text.start, "ax"
	.global	linux32_start, linux64_start
	.code32
linux32_start:
linux64_start:
	cld
	movl	$0x3f8, %edx
	movl	$text, %esi
	movl	$text_end - text, %ecx
	rep outsb
	movl	$0x600, %edx		/* sleep control: SLP_TYP 5, SLP_EN */
	movb	$0x34, %al
	outb	%al, %dx
	movb	$0xfe, %al		/* the keyboard controller's reset */
	outb	%al, $0x64
	movl	$empty_idt, %eax	/* a triple fault */
	lidt	(%eax)
	ud2
	.section .rodata, "a"
text:	.ascii	"R3 HELLO\r\nR3 EXIT 0\r\n"
text_end:
	.balign	8
empty_idt:
	.quad	0, 0
	.section .note.GNU-stack, "", @progbits
