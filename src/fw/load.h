/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels and firmware, from a file into guest memory: ELF with a PVH entry, bzImage, and initrds.
 * The file is foreign input: each number is judged before it is used. Bytes go from the file
 * straight into RAM; RAM is taken as it was made, zeros unless a file holds it (gmem_clear), so that
 * what the file does not fill costs nothing. CPU state and boot parameters are arch's business. Any thread that may open
 * files, one at a time per gmem.
 *
 * System V ABI ch. 4 and 5 (ELF); Xen docs/misc/pvh.pandoc; Linux Documentation/arch/x86/boot.rst.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "mem/gmem.h"

/* Payloads lie above this address; below it are the tables that the VMM writes. */
#define LOAD_FLOOR 0x100000u
#define LOAD_HEADER_MAX 512

enum load_kind { LOAD_ELF, LOAD_BZIMAGE };

struct load_kernel {
	enum load_kind kind;
	uint64_t entry; /* 32-bit: PVH entry of an ELF, code32 of a bzImage */
	uint64_t
		end; /* first byte behind all that the kernel takes before it has looked at its memory map */
	/* of a bzImage: the setup header, byte 0 is byte 0x1f1 of the file and of the zero page */
	uint8_t header[LOAD_HEADER_MAX];
	uint32_t header_len;
	uint64_t initrd_max;  /* last address that the initrd may take */
	uint32_t cmdline_max; /* bytes without the ending zero */
};

/* Loads an ELF or a bzImage, told apart by their first bytes. fd is at any position and stays
 * open. */
MUST int load_kernel(struct load_kernel *out, const struct gmem *m, int fd, struct err *e);

/* Guest-physical addresses from `from` up to, and without, `to`. */
struct load_range {
	uint64_t from, to;
};
/* Loads the file as high as it goes within `room`, page aligned; *out is where it lies. */
MUST int load_initrd(struct load_range *out, const struct gmem *m, int fd,
		     const struct load_range *room, struct err *e);
