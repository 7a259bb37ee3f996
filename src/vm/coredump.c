/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing of core files. See coredump.h. The file:
 *
 *	ELF header, program headers: one PT_NOTE, one PT_LOAD for each region of RAM
 *	notes: two for each vCPU
 *	from the next page on the regions, each as long as it is in the guest
 *
 * Guest memory goes from gmem to the file by the kernel's hand. Virtual addresses in the headers
 * are the physical ones: which are the guest's is known to readers of its page tables only.
 * Specification: System V ABI, "Object Files"; notes in arch/debug.h.
 */
#include "vm/coredump.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/debug.h"
#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "mem/gmem.h"
#include "mem/ramfile.h"
#include "vm/fileurl.h"
#include "vm/machine.h"

#define PART ".part" /* behind the name while it is written */
#define PAGE 4096u
#define NOTES_AT_ONCE 16 /* vCPUs */

struct dump {
	struct machine *machine;
	const struct gmem *mem;
	const char *path;
	char *part;
	int fd;
	struct work *work;
};

/* --- the layout --- */

static uint64_t notes_at(const struct dump *d)
{
	return sizeof(Elf64_Ehdr) + (1 + gmem_regions(d->mem)) * sizeof(Elf64_Phdr);
}

/* Those that are there; numbers of those that left are left out. */
static uint64_t notes_size(const struct dump *d)
{
	uint64_t size = 0;

	for (uint32_t i = 0; i < machine_vcpus(d->machine); i++)
		size += machine_has_vcpu(d->machine, i) ? ARCH_CORE_NOTES : 0;
	return size;
}

static uint64_t ram_at(const struct dump *d)
{
	return (notes_at(d) + notes_size(d) + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

/* --- writing --- */

static int write_at(const struct dump *d, void *p, size_t len, uint64_t off, struct err *e)
{
	uint8_t *at = p;

	while (len) {
		struct kiov k = kiov_of(at, len);
		ssize_t n = pwritev(d->fd, &k.v, 1, (off_t)off);

		if (n < 0 && errno != EINTR)
			return err_os(e, ERR_IO, "write %s", d->path);
		if (n > 0) {
			at += n;
			off += (uint64_t)n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static int write_headers(const struct dump *d, struct err *e)
{
	unsigned int regions = gmem_regions(d->mem);
	AUTO_FREE Elf64_Phdr *p = mem_array(1 + regions, sizeof(*p));
	uint64_t off = ram_at(d);
	Elf64_Ehdr h = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			     EV_CURRENT },
		.e_type = ET_CORE,
		.e_machine = arch_core_machine(),
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(h),
		.e_ehsize = sizeof(h),
		.e_phentsize = sizeof(*p),
		.e_phnum = (Elf64_Half)(1 + regions),
	};

	p[0] = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = notes_at(d),
		.p_filesz = notes_size(d),
		.p_memsz = notes_size(d),
	};
	for (unsigned int i = 0; i < regions; i++) {
		const struct gmem_region *r = gmem_region(d->mem, i);

		p[1 + i] = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_flags = PF_R | PF_W | PF_X,
			.p_offset = off,
			.p_vaddr = r->base.v,
			.p_paddr = r->base.v,
			.p_filesz = r->size,
			.p_memsz = r->size,
		};
		off += r->size;
	}
	/* room for all, and holes where nothing is written */
	if (ftruncate(d->fd, (off_t)off) < 0)
		return err_os(e, ERR_IO, "write %s", d->path);
	if (write_at(d, &h, sizeof(h), 0, e) < 0)
		return -1;
	return write_at(d, p, (1 + regions) * sizeof(*p), sizeof(h), e);
}

static int write_notes(const struct dump *d, struct err *e)
{
	uint8_t notes[NOTES_AT_ONCE][ARCH_CORE_NOTES];
	uint32_t all = machine_vcpus(d->machine), n = 0;
	uint64_t off = notes_at(d);

	for (uint32_t i = 0; i < all; i++) {
		struct arch_cpu c;

		if (!machine_has_vcpu(d->machine, i))
			continue;
		if (arch_cpu_get(&c, machine_vcpu(d->machine, i)->hv, e) < 0)
			return err_in(e, "vCPU %u", i);
		arch_core_notes(notes[n++], &c, i);
		if (n < NOTES_AT_ONCE)
			continue;
		if (write_at(d, notes, n * ARCH_CORE_NOTES, off, e) < 0)
			return -1;
		off += n * ARCH_CORE_NOTES;
		n = 0;
	}
	return write_at(d, notes, n * ARCH_CORE_NOTES, off, e);
}

static int write_all(const struct dump *d, struct err *e)
{
	uint64_t off = ram_at(d);

	work_expect(d->work, gmem_total(d->mem));
	if (write_headers(d, e) < 0 || write_notes(d, e) < 0)
		return -1;
	for (unsigned int i = 0; i < gmem_regions(d->mem); i++) {
		const struct gmem_region *r = gmem_region(d->mem, i);

		if (ramfile_save(d->mem, r->base, r->size, d->fd, off, d->work, e) < 0)
			return err_in(e, "write %s", d->path);
		off += r->size;
	}
	return 0;
}

/* --- the file --- */

static int open_part(struct dump *d, struct err *e)
{
	struct stat st;

	if (!lstat(d->path, &st))
		return err_set(e, ERR_TAKEN, "%s is there already", d->path);
	d->fd = open(d->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (d->fd < 0 && errno == EEXIST)
		return err_set(e, ERR_TAKEN,
			       "%s is there: another dump is being written, or was cut short: "
			       "remove it",
			       d->part);
	return d->fd < 0 ? err_os(e, ERR_IO, "make %s", d->part) : 0;
}

/* Nobody's file is replaced, where the file system can promise that. */
static int give_name(const struct dump *d, struct err *e)
{
	int r = renameat2(AT_FDCWD, d->part, AT_FDCWD, d->path, RENAME_NOREPLACE);

	if (r < 0 && errno == EINVAL)
		r = rename(d->part, d->path);
	if (r < 0)
		return err_os(e, errno == EEXIST ? ERR_TAKEN : ERR_IO, "name %s", d->path);
	return 0;
}

int coredump_write(struct machine *m, const char *url, struct work *w, struct err *e)
{
	struct dump d = { .machine = m, .mem = machine_board(m)->mem, .fd = -1, .work = w };
	int r;

	if (fileurl_path(&d.path, url, "destination_url", e) < 0)
		return -1;
	d.part = mem_fmt("%s" PART, d.path);
	if (open_part(&d, e) < 0) {
		free(d.part);
		return -1;
	}
	r = write_all(&d, e);
	if (close(d.fd) < 0 && r == 0)
		r = err_os(e, ERR_IO, "write %s", d.path);
	if (r == 0)
		r = give_name(&d, e);
	if (r < 0 && unlink(d.part) < 0)
		log_warn("%s stays: %s", d.part, strerror(errno));
	free(d.part);
	return r;
}
