/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest guest there can be: from the PVH entry or the Linux 64-bit entry it writes
 * "R3 HELLO" to COM1 in ring 0 and asks for power-off (S5 by the ACPI sleep control register),
 * or, where the sleep register is not there, by QEMU's debug exit and the keyboard controller's
 * reset. It touches neither stack nor memory, so the time to its first byte is the VMM's own.
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
	movl	$0xf4, %edx		/* isa-debug-exit */
	xorl	%eax, %eax
	outb	%al, %dx
	movb	$0xfe, %al
	outb	%al, $0x64
1:	hlt
	jmp	1b
	.section .rodata, "a"
text:	.ascii	"R3 HELLO\r\nR3 EXIT 0\r\n"
text_end:
	.section .note.GNU-stack, "", @progbits
