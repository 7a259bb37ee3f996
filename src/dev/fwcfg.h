/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's firmware configuration device: bytes under numbers, some of which have names too and stand
 * in a directory. Read byte by byte through a port, or copied into guest memory by the device
 * (DMA). QEMU docs/specs/fw_cfg. What there is to be read is put in by arch, before vCPUs run;
 * nothing can be written. Registers: vCPU threads, under the device's lock; a read of what lies in
 * a file waits for that file.
 */
#pragma once

#include "core/fixed.h"

/* Bank 0: twelve ports. Configured by struct fixed_conf alone. */
#define FWCFG_LEN 12
#define FWCFG_ID "__fw_cfg"
#define FWCFG_NAME_MAX 55
#define FWCFG_FILES_MAX 1024

/* Numbers that have a meaning of their own; files have theirs from FWCFG_FILE_FIRST on. */
enum {
	FWCFG_SIGNATURE = 0x00,
	FWCFG_FEATURES = 0x01,
	FWCFG_KERNEL_SIZE = 0x08,
	FWCFG_INITRD_SIZE = 0x0b,
	FWCFG_KERNEL_DATA = 0x11,
	FWCFG_INITRD_DATA = 0x12,
	FWCFG_CMDLINE_SIZE = 0x14,
	FWCFG_CMDLINE_DATA = 0x15,
	FWCFG_SETUP_SIZE = 0x17,
	FWCFG_SETUP_DATA = 0x18,
	FWCFG_DIRECTORY = 0x19,
	FWCFG_FILE_FIRST = 0x20,
};

extern const struct fixed_class fwcfg_class;

/* Puts bytes, which are copied, or [off, off+len) of a file, whose descriptor is taken over, also on
 * failure, under a number below FWCFG_FILE_FIRST; what was there is replaced. */
void fwcfg_put(struct dev *d, uint16_t key, const void *bytes, uint32_t len);
void fwcfg_put_u32(struct dev *d, uint16_t key, uint32_t v);
void fwcfg_put_fd(struct dev *d, uint16_t key, int fd, uint64_t off, uint32_t len);
/* The same under a name, which gets the next number and a line in the directory. Refuses a name that
 * is there, too long or empty, and more files than FWCFG_FILES_MAX. */
MUST int fwcfg_file(struct dev *d, const char *name, const void *bytes, uint32_t len,
		    struct err *e);
MUST int fwcfg_file_fd(struct dev *d, const char *name, int fd, uint32_t len, struct err *e);
