/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader of kernels, firmware and initrds. Headers are copied out of the file once and read
 * from the copy; every range is checked against the file's size and against guest memory before
 * anything is loaded. See load.h.
 */
#include "fw/load.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/mem.h"

/* More than any kernel has; bounds the work a file can ask for. */
#define SEGMENTS_MAX 64
#define NOTES_MAX KIB(64)
#define XEN_PHYS32_ENTRY 18

/* bytes of a bzImage, boot.rst "The Real-Mode Kernel Header" */
#define BZ_HEADER 0x1f1
#define BZ_SETUP_SECTS 0x1f1
#define BZ_SYSSIZE 0x1f4
#define BZ_JUMP 0x201
#define BZ_MAGIC 0x202
#define BZ_VERSION 0x206
#define BZ_LOADFLAGS 0x211
#define BZ_CODE32_START 0x214
#define BZ_INITRD_MAX 0x22c
#define BZ_CMDLINE_SIZE 0x238
#define BZ_PREF_ADDRESS 0x258
#define BZ_INIT_SIZE 0x260
#define BZ_HEADER_END 0x290 /* in the zero page other things begin here */
#define BZ_LOADED_HIGH 1
#define BZ_OLDEST 0x206 /* has cmdline_size */
#define BZ_HAS_INIT_SIZE 0x20a

/* How much of a file's start is looked at: a whole setup header, and an ELF header. */
#define HEAD_LEN 0x300

struct file {
	int fd;
	uint64_t size;
};

static bool in_file(const struct file *f, uint64_t off, uint64_t len)
{
	return off <= f->size && len <= f->size - off;
}

static int too_little_memory(struct err *e, const char *what, uint64_t addr, uint64_t len)
{
	return err_set(e, ERR_BAD,
		       "%s takes 0x%" PRIx64 " to 0x%" PRIx64
		       ", which is not guest memory; give the VM more (--memory size=)",
		       what, addr, addr + len - 1);
}

/* May [addr, addr+len) be loaded to? */
static int check_place(const struct gmem *m, const char *what, uint64_t addr, uint64_t len,
		       struct err *e)
{
	uint64_t end;

	if (addr < LOAD_FLOOR)
		return err_set(e, ERR_BAD,
			       "%s begins at 0x%" PRIx64
			       ", below 1 MiB, where the VMM's tables are",
			       what, addr);
	if (add_overflows(&end, addr, len))
		return err_set(e, ERR_BAD, "%s ends behind the last address", what);
	if (!gmem_ok(m, GPA(addr), len))
		return too_little_memory(e, what, addr, len);
	return 0;
}

/* One PT_LOAD. `before` are the n segments loaded so far: bss over their bytes has to be cleared
 * by hand. */
static int load_segment(const struct gmem *m, const struct file *f, const Elf64_Phdr *before,
			uint32_t n, const Elf64_Phdr *p, struct err *e)
{
	if (p->p_filesz > p->p_memsz)
		return err_set(e, ERR_BAD, "an ELF segment is longer in the file than in memory");
	if (!in_file(f, p->p_offset, p->p_filesz))
		return err_set(e, ERR_BAD, "an ELF segment lies behind the end of the file");
	if (!p->p_memsz)
		return 0;
	if (check_place(m, "an ELF segment", p->p_paddr, p->p_memsz, e))
		return -1;
	if (p->p_filesz && gmem_load(m, GPA(p->p_paddr), p->p_filesz, f->fd, p->p_offset, e))
		return -1;
	uint64_t bss = p->p_paddr + p->p_filesz, len = p->p_memsz - p->p_filesz;

	for (uint32_t i = 0; i < n; i++)
		if (before[i].p_type == PT_LOAD &&
		    ranges_meet(bss, len, before[i].p_paddr, before[i].p_filesz))
			return gmem_zero(m, GPA(bss), len);
	return gmem_clear(m, GPA(bss), len);
}

/* The PVH entry in a block of notes, or 0. A note is three words, the name and the bytes, each
 * padded. */
static uint64_t find_entry(const uint8_t *notes, uint64_t len, uint64_t align)
{
	uint64_t at = 0;

	while (len - at >= 12) {
		uint64_t name_len = le32_get(notes + at), desc_len = le32_get(notes + at + 4);
		uint32_t type = le32_get(notes + at + 8);
		uint64_t desc = align_up(at + 12 + name_len, align);
		uint64_t next = align_up(desc + desc_len, align);

		/* the lengths have 32 bits, so these sums do not wrap */
		if (desc + desc_len > len)
			return 0;
		if (type == XEN_PHYS32_ENTRY && name_len == 4 &&
		    !memcmp(notes + at + 12, "Xen", 4) && (desc_len == 4 || desc_len == 8))
			return le_get(notes + desc, (unsigned int)desc_len);
		if (next >= len)
			return 0;
		at = next;
	}
	return 0;
}

static int read_notes(uint64_t *entry, const struct file *f, const Elf64_Phdr *p, struct err *e)
{
	if (p->p_filesz > NOTES_MAX || !in_file(f, p->p_offset, p->p_filesz))
		return err_set(e, ERR_BAD, "the ELF file's notes are too long or behind its end");
	AUTO_FREE uint8_t *notes = mem_new(p->p_filesz + 1);

	if (fd_read_at(f->fd, notes, p->p_filesz, p->p_offset, e))
		return -1;
	*entry = find_entry(notes, p->p_filesz, p->p_align == 8 ? 8 : 4);
	/* a file may claim an alignment that its writer did not keep */
	if (!*entry && p->p_align == 8)
		*entry = find_entry(notes, p->p_filesz, 4);
	return 0;
}

static int check_elf(const Elf64_Ehdr *h, const struct file *f, struct err *e)
{
	if (h->e_ident[EI_CLASS] != ELFCLASS64)
		return err_set(e, ERR_BAD, "a 32-bit ELF file; a 64-bit one is needed");
	if (h->e_ident[EI_DATA] != ELFDATA2LSB)
		return err_set(e, ERR_BAD, "a big-endian ELF file, for another kind of processor");
	if (h->e_machine != EM_X86_64 && h->e_machine != EM_386)
		return err_set(e, ERR_BAD, "an ELF file for another kind of processor (machine %u)",
			       h->e_machine);
	if (h->e_phentsize != sizeof(Elf64_Phdr) || !h->e_phnum || h->e_phnum > SEGMENTS_MAX)
		return err_set(e, ERR_BAD, "an ELF file with %u program headers of %u bytes",
			       h->e_phnum, h->e_phentsize);
	if (!in_file(f, h->e_phoff, h->e_phnum * sizeof(Elf64_Phdr)))
		return err_set(e, ERR_BAD,
			       "the ELF program headers lie behind the end of the file");
	return 0;
}

static int check_entry(const struct load_kernel *k, const Elf64_Phdr *p, uint32_t n, struct err *e)
{
	if (!k->entry)
		return err_set(
			e, ERR_BAD,
			"an ELF file without a PVH entry; use a kernel built with CONFIG_PVH=y, "
			"or its bzImage");
	for (uint32_t i = 0; i < n; i++)
		if (p[i].p_type == PT_LOAD && k->entry <= UINT32_MAX && k->entry >= p[i].p_paddr &&
		    k->entry - p[i].p_paddr < p[i].p_memsz)
			return 0;
	return err_set(e, ERR_BAD, "the PVH entry 0x%" PRIx64 " is not in the part that is loaded",
		       k->entry);
}

static int load_elf(struct load_kernel *out, const struct gmem *m, const struct file *f,
		    const uint8_t *head, struct err *e)
{
	Elf64_Phdr p[SEGMENTS_MAX];
	Elf64_Ehdr h;

	memcpy(&h, head, sizeof h);
	if (check_elf(&h, f, e) || fd_read_at(f->fd, p, h.e_phnum * sizeof p[0], h.e_phoff, e))
		return -1;
	out->kind = LOAD_ELF;
	for (uint32_t i = 0; i < h.e_phnum; i++)
		if (p[i].p_type == PT_NOTE && !out->entry && read_notes(&out->entry, f, &p[i], e))
			return -1;
	if (check_entry(out, p, h.e_phnum, e))
		return -1;
	for (uint32_t i = 0; i < h.e_phnum; i++) {
		if (p[i].p_type != PT_LOAD)
			continue;
		if (load_segment(m, f, p, i, &p[i], e))
			return -1;
		out->end = max_u64(out->end, p[i].p_paddr + p[i].p_memsz);
	}
	out->initrd_max = UINT32_MAX;
	out->cmdline_max = UINT32_MAX;
	return 0;
}

/* What the kernel needs to unpack itself, from 2.10 on; before, only its packed form is known. */
static int check_room(struct load_kernel *out, const struct gmem *m, const uint8_t *head,
		      struct err *e)
{
	uint64_t preferred = le64_get(head + BZ_PREF_ADDRESS), need = le32_get(head + BZ_INIT_SIZE);

	if (le16_get(head + BZ_VERSION) < BZ_HAS_INIT_SIZE || !need)
		return 0;
	if (preferred < LOAD_FLOOR)
		preferred = LOAD_FLOOR;
	if (check_place(m, "the unpacked kernel", preferred, need, e))
		return -1;
	out->end = max_u64(out->end, preferred + need);
	return 0;
}

static int check_bzimage(const uint8_t *head, uint64_t size, struct err *e)
{
	uint16_t version = le16_get(head + BZ_VERSION);

	if (size < HEAD_LEN)
		return err_set(e, ERR_BAD, "a bzImage that ends within its header");
	if (version < BZ_OLDEST)
		return err_set(
			e, ERR_BAD,
			"a kernel with boot protocol %u.%02u; 2.06 (Linux 2.6.22) or newer is needed",
			version >> 8, version & 0xff);
	if (!(head[BZ_LOADFLAGS] & BZ_LOADED_HIGH))
		return err_set(e, ERR_BAD, "a zImage, loaded below 1 MiB; a bzImage is needed");
	return 0;
}

static int load_bzimage(struct load_kernel *out, const struct gmem *m, const struct file *f,
			const uint8_t *head, struct err *e)
{
	if (check_bzimage(head, f->size, e))
		return -1;
	uint64_t off = (head[BZ_SETUP_SECTS] ? head[BZ_SETUP_SECTS] + 1u : 5u) * 512u;
	uint64_t len = le32_get(head + BZ_SYSSIZE) * 16ull;

	/* syssize counts units of 16 bytes, the last of which the file may leave short */
	if (!len || off >= f->size || f->size - off + 15 < len)
		return err_set(e, ERR_BAD, "a bzImage that is cut short");
	len = min_u64(len, f->size - off);
	out->kind = LOAD_BZIMAGE;
	out->entry = LOAD_FLOOR;
	out->end = LOAD_FLOOR + len;
	out->initrd_max = le32_get(head + BZ_INITRD_MAX);
	out->cmdline_max = le32_get(head + BZ_CMDLINE_SIZE);
	if (check_place(m, "the kernel", LOAD_FLOOR, len, e) || check_room(out, m, head, e) ||
	    gmem_load(m, GPA(LOAD_FLOOR), len, f->fd, off, e))
		return -1;
	/* the byte of the jump over the header says how long it is */
	uint32_t end = BZ_MAGIC + head[BZ_JUMP];

	if (end > BZ_HEADER_END)
		end = BZ_HEADER_END;
	if (end < BZ_CMDLINE_SIZE + 4)
		return err_set(e, ERR_BAD, "a bzImage whose header is 0x%x bytes long",
			       end - BZ_HEADER);
	out->header_len = end - BZ_HEADER;
	memcpy(out->header, head + BZ_HEADER, out->header_len);
	le32_put(out->header + (BZ_CODE32_START - BZ_HEADER), LOAD_FLOOR);
	return 0;
}

int load_kernel(struct load_kernel *out, const struct gmem *m, int fd, struct err *e)
{
	struct file f = { .fd = fd };
	uint8_t head[HEAD_LEN] = { 0 };

	*out = (struct load_kernel){ 0 };
	if (fd_size(fd, &f.size, e))
		return -1;
	if (fd_read_at(fd, head, min_u64(f.size, HEAD_LEN), 0, e))
		return -1;
	if (f.size >= sizeof(Elf64_Ehdr) && !memcmp(head, ELFMAG, SELFMAG))
		return load_elf(out, m, &f, head, e);
	if (!memcmp(head + BZ_MAGIC, "HdrS", 4) && le16_get(head + 0x1fe) == 0xaa55)
		return load_bzimage(out, m, &f, head, e);
	return err_set(
		e, ERR_BAD,
		"neither an ELF file nor a bzImage; give a vmlinux with PVH, a vmlinuz, or PVH firmware");
}

int load_initrd(struct load_range *out, const struct gmem *m, int fd, const struct load_range *room,
		struct err *e)
{
	uint64_t len;

	if (fd_size(fd, &len, e))
		return -1;
	if (!len)
		return err_set(e, ERR_BAD, "the file is empty");
	uint64_t at = len < room->to ? align_down(room->to - len, KIB(4)) : 0;

	if (at < max_u64(room->from, LOAD_FLOOR) || !gmem_ok(m, GPA(at), len))
		return err_set(e, ERR_BAD,
			       "%" PRIu64 " KiB do not fit between the kernel's end at 0x%" PRIx64
			       " and 0x%" PRIx64 "; give the VM more memory (--memory size=)",
			       (len + 1023) / 1024, room->from, room->to);
	if (gmem_load(m, GPA(at), len, fd, 0, e))
		return -1;
	*out = (struct load_range){ at, at + len };
	return 0;
}
