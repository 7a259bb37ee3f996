/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real-mode part of a bzImage around the tiny guest: nothing but the setup header that a
 * loader reads. Nothing here is ever executed; a loader that enters by the 16-bit protocol is
 * not served. Specification: Linux Documentation/arch/x86/boot.rst, protocol 2.15.
 */
	.section .setup, "a"
setup:
	.org	0x1f1
	.byte	SETUP_SECTS		/* setup_sects, after the boot sector */
	.word	0			/* root_flags */
	.long	(payload_end - payload + 15) / 16	/* syssize */
	.word	0			/* ram_size */
	.word	0			/* vid_mode */
	.word	0			/* root_dev */
	.word	0xaa55			/* boot_flag */
	.byte	0xeb, header_end - header	/* jump over the header */
header:
	.ascii	"HdrS"
	.word	0x020f			/* version */
	.long	0			/* realmode_swtch */
	.word	0			/* start_sys_seg */
	.word	0			/* kernel_version */
	.byte	0			/* type_of_loader */
	.byte	1			/* loadflags: LOADED_HIGH */
	.word	0x8000			/* setup_move_size */
	.long	0x100000		/* code32_start */
	.long	0			/* ramdisk_image */
	.long	0			/* ramdisk_size */
	.long	0			/* bootsect_kludge */
	.word	0			/* heap_end_ptr */
	.byte	0			/* ext_loader_ver */
	.byte	0			/* ext_loader_type */
	.long	0			/* cmd_line_ptr */
	.long	0x7fffffff		/* initrd_addr_max */
	.long	0x100000		/* kernel_alignment */
	.byte	0			/* relocatable_kernel */
	.byte	20			/* min_alignment */
	.word	1			/* xloadflags: XLF_KERNEL_64 */
	.long	65535			/* cmdline_size */
	.long	0			/* hardware_subarch */
	.quad	0			/* hardware_subarch_data */
	.long	0			/* payload_offset */
	.long	0			/* payload_length */
	.quad	0			/* setup_data */
	.quad	0x100000		/* pref_address */
	.long	INIT_SIZE		/* init_size */
	.long	0			/* handover_offset */
	.long	0			/* kernel_info_offset */
header_end:
	.org	512 * (SETUP_SECTS + 1)
payload:
	.incbin	PAYLOAD
payload_end:
	.section .note.GNU-stack, "", @progbits
