/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel for tests: an ELF file with a PVH entry, small enough to be written down whole. System V
 * ABI ch. 4 and 5; Xen docs/misc/pvh.pandoc. */
#pragma once

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* An ELF with one segment of 0x80 bytes (0x100 in memory) at 1 MiB and a note with the entry. */
struct elf {
	Elf64_Ehdr h;
	Elf64_Phdr p[2];
	struct {
		uint32_t name_len, desc_len, type;
		char name[4];
		uint64_t desc;
	} note;
	uint8_t body[0x80];
};

static inline struct elf good_elf(uint32_t entry)
{
	struct elf f = {
		.h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
		       .e_type = ET_EXEC,
		       .e_machine = EM_X86_64,
		       .e_phoff = offsetof(struct elf, p),
		       .e_phentsize = sizeof(Elf64_Phdr),
		       .e_phnum = 2 },
		.p = { { .p_type = PT_LOAD,
			 .p_offset = offsetof(struct elf, body),
			 .p_paddr = 0x100000,
			 .p_filesz = 0x80,
			 .p_memsz = 0x100 },
		       { .p_type = PT_NOTE,
			 .p_offset = offsetof(struct elf, note),
			 .p_filesz = sizeof f.note,
			 .p_align = 4 } },
		.note = { 4, 8, 18, "Xen", entry },
	};

	memset(f.body, 0x5a, sizeof f.body);
	return f;
}
