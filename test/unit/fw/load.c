/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader on tiny kernels made here: good ones land where they say, broken ones are refused
 * with a sentence that fits, and nothing they say reaches beyond guest memory.
 */
#include "fw/load.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "elf_file.h"
#include "mem/backing.h"
#include "test.h"

#define RAM MIB(16)
#define ENTRY 0x100040u

/* A file in memory. */
static int file_of(const void *p, size_t n)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), (ssize_t)n);
	return fd;
}

static struct gmem *ram_of(uint64_t size)
{
	const struct backing_args how = { 0 };
	struct err e = { 0 };
	struct gmem *m;

	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(gmem_add(m, GPA(0), size, &how, &e), 0);
	return m;
}

/* Loads n bytes; returns what load_kernel does. */
static int load(struct load_kernel *k, struct err *e, const void *p, size_t n, uint64_t ram)
{
	struct gmem *m = ram_of(ram);
	int fd = file_of(p, n), r = load_kernel(k, m, fd, e);

	close(fd);
	gmem_free(m);
	return r;
}

static void refused(const void *p, size_t n, const char *word)
{
	struct load_kernel k;
	struct err e = { 0 };
	char line[400];

	assert_int_equal(load(&k, &e, p, n, RAM), -1);
	if (!strstr(err_line(&e, line, sizeof line), word))
		fail_msg("\"%s\" does not say \"%s\"", line, word);
}

TEST(an_elf_with_a_pvh_note_lands_where_it_says)
{
	struct elf f = good_elf(ENTRY);
	struct gmem *m = ram_of(RAM);
	int fd = file_of(&f, sizeof f);
	struct load_kernel k;
	struct err e = { 0 };
	uint8_t got[0x100];

	assert_int_equal(load_kernel(&k, m, fd, &e), 0);
	assert_int_equal(k.kind, LOAD_ELF);
	assert_int_equal(k.entry, ENTRY);
	assert_int_equal(k.end, 0x100100);
	assert_int_equal(gmem_read(m, GPA(0x100000), got, sizeof got), 0);
	assert_memory_equal(got, f.body, 0x80);
	for (unsigned int i = 0x80; i < 0x100; i++)
		assert_int_equal(got[i], 0);
	close(fd);
	gmem_free(m);
}

TEST(firmware_marked_386_with_a_note_of_four_bytes_is_taken)
{
	struct elf f = good_elf(ENTRY);
	struct load_kernel k;
	struct err e = { 0 };

	f.h.e_machine = EM_386;
	f.note.desc_len = 4;
	f.p[1].p_filesz = 20;
	assert_int_equal(load(&k, &e, &f, sizeof f, RAM), 0);
	assert_int_equal(k.entry, ENTRY);
}

TEST(an_elf_without_the_note_is_refused_with_what_to_do)
{
	struct elf f = good_elf(ENTRY);

	f.note.type = 17;
	refused(&f, sizeof f, "CONFIG_PVH=y");
	f = good_elf(ENTRY);
	f.h.e_phnum = 1;
	refused(&f, sizeof f, "CONFIG_PVH=y");
	f = good_elf(ENTRY);
	f.note.desc_len = 0xffffffff;
	refused(&f, sizeof f, "CONFIG_PVH=y");
	f.note.desc_len = 8;
	f.note.name_len = 0xfffffff0;
	refused(&f, sizeof f, "CONFIG_PVH=y");
}

TEST(elf_files_for_other_machines_are_refused)
{
	struct elf f = good_elf(ENTRY);

	f.h.e_ident[EI_CLASS] = ELFCLASS32;
	refused(&f, sizeof f, "32-bit");
	f = good_elf(ENTRY);
	f.h.e_ident[EI_DATA] = ELFDATA2MSB;
	refused(&f, sizeof f, "big-endian");
	f = good_elf(ENTRY);
	f.h.e_machine = EM_AARCH64;
	refused(&f, sizeof f, "another kind of processor");
}

TEST(elf_headers_that_lie_are_refused)
{
	struct elf f = good_elf(ENTRY);

	f.h.e_phoff = UINT64_MAX - 8;
	refused(&f, sizeof f, "behind the end of the file");
	f = good_elf(ENTRY);
	f.h.e_phnum = 0xffff;
	refused(&f, sizeof f, "program headers");
	f = good_elf(ENTRY);
	f.h.e_phentsize = 32;
	refused(&f, sizeof f, "program headers");
	f = good_elf(ENTRY);
	f.p[0].p_offset = UINT64_MAX;
	refused(&f, sizeof f, "behind the end of the file");
	f = good_elf(ENTRY);
	f.p[0].p_filesz = 0x101;
	refused(&f, sizeof f, "longer in the file");
	f = good_elf(ENTRY);
	f.p[1].p_filesz = UINT64_MAX;
	refused(&f, sizeof f, "notes");
	for (size_t n = 1; n < sizeof f; n++) {
		f = good_elf(ENTRY);
		struct load_kernel k;
		struct err e = { 0 };

		assert_int_equal(load(&k, &e, &f, n, RAM), -1);
		assert_int_not_equal(e.kind, ERR_NONE);
	}
}

TEST(elf_segments_outside_memory_are_refused)
{
	struct elf f = good_elf(ENTRY);

	f.p[0].p_memsz = RAM;
	refused(&f, sizeof f, "--memory");
	f.p[0].p_memsz = UINT64_MAX;
	refused(&f, sizeof f, "last address");
	f = good_elf(ENTRY);
	f.p[0].p_paddr = 0x9000;
	f.note.desc = 0x9000;
	refused(&f, sizeof f, "below 1 MiB");
	f = good_elf(ENTRY);
	f.note.desc = 0x100100;
	refused(&f, sizeof f, "PVH entry");
	f.note.desc = 0x100000100;
	refused(&f, sizeof f, "PVH entry");
}

/* The bytes of one segment under the bss of the next do not shine through. */
TEST(bss_over_an_earlier_segment_is_cleared)
{
	struct {
		struct elf f;
		Elf64_Phdr p[3];
	} x = { .f = good_elf(ENTRY) };
	struct gmem *m = ram_of(RAM);
	struct load_kernel k;
	struct err e = { 0 };
	uint8_t got[0x80];

	x.f.h.e_phoff = sizeof x.f;
	x.f.h.e_phnum = 3;
	x.p[0] = x.f.p[0];
	x.p[1] = x.f.p[0];
	x.p[1].p_filesz = 0x10;
	x.p[2] = x.f.p[1];
	int fd = file_of(&x, sizeof x);

	assert_int_equal(load_kernel(&k, m, fd, &e), 0);
	assert_int_equal(gmem_read(m, GPA(0x100000), got, sizeof got), 0);
	assert_int_equal(got[0xf], 0x5a);
	assert_int_equal(got[0x10], 0);
	assert_int_equal(got[0x7f], 0);
	close(fd);
	gmem_free(m);
}

#define BZ_LEN 0x1000

/* A bzImage with one setup sector and two KiB of kernel. */
static void good_bzimage(uint8_t b[BZ_LEN])
{
	memset(b, 0, BZ_LEN);
	b[0x1f1] = 1;
	le32_put(b + 0x1f4, (BZ_LEN - 0x400) / 16);
	le16_put(b + 0x1fe, 0xaa55);
	b[0x201] = 0x6a;
	memcpy(b + 0x202, "HdrS", 4);
	le16_put(b + 0x206, 0x20f);
	b[0x211] = 1;
	le32_put(b + 0x214, 0x100000);
	le32_put(b + 0x22c, 0x7fffffff);
	le32_put(b + 0x238, 2047);
	le64_put(b + 0x258, 0x200000);
	le32_put(b + 0x260, 0x400000);
	memset(b + 0x400, 0xc3, BZ_LEN - 0x400);
}

TEST(a_bzimage_lands_at_one_mib)
{
	struct gmem *m = ram_of(RAM);
	struct load_kernel k;
	struct err e = { 0 };
	uint8_t b[BZ_LEN], got[2];

	good_bzimage(b);
	int fd = file_of(b, sizeof b);

	assert_int_equal(load_kernel(&k, m, fd, &e), 0);
	assert_int_equal(k.kind, LOAD_BZIMAGE);
	assert_int_equal(k.entry, 0x100000);
	assert_int_equal(k.end, 0x600000);
	assert_int_equal(k.initrd_max, 0x7fffffff);
	assert_int_equal(k.cmdline_max, 2047);
	assert_int_equal(k.header_len, 0x202 + 0x6a - 0x1f1);
	assert_memory_equal(k.header + (0x202 - 0x1f1), "HdrS", 4);
	assert_int_equal(gmem_read(m, GPA(0x100000 + BZ_LEN - 0x400 - 1), got, 2), 0);
	assert_int_equal(got[0], 0xc3);
	assert_int_equal(got[1], 0);
	close(fd);
	gmem_free(m);
}

TEST(a_bzimage_followed_by_a_signature_loads_only_the_kernel)
{
	struct load_kernel k;
	struct err e = { 0 };
	uint8_t b[BZ_LEN + 100];

	good_bzimage(b);
	memset(b + BZ_LEN, 0x11, 100);
	le32_put(b + 0x260, 0); /* so that the end is that of what is loaded */
	assert_int_equal(load(&k, &e, b, sizeof b, RAM), 0);
	assert_int_equal(k.end, 0x100000 + BZ_LEN - 0x400);
}

TEST(broken_bzimages_are_refused)
{
	uint8_t b[BZ_LEN];

	good_bzimage(b);
	le16_put(b + 0x206, 0x205);
	refused(b, sizeof b, "2.05");
	good_bzimage(b);
	b[0x211] = 0;
	refused(b, sizeof b, "zImage");
	good_bzimage(b);
	refused(b, sizeof b - 16, "cut short");
	refused(b, 0x2ff, "within its header");
	le32_put(b + 0x1f4, 0);
	refused(b, sizeof b, "cut short");
	good_bzimage(b);
	b[0x1f1] = 0xff;
	refused(b, sizeof b, "cut short");
	good_bzimage(b);
	b[0x201] = 2;
	refused(b, sizeof b, "header");
	good_bzimage(b);
	le32_put(b + 0x260, 0xffffffff);
	refused(b, sizeof b, "--memory");
	le64_put(b + 0x258, UINT64_MAX - 10);
	refused(b, sizeof b, "last address");
}

TEST(what_is_no_kernel_is_refused_by_name_of_what_is_wanted)
{
	char text[1000];

	memset(text, 'x', sizeof text);
	refused(text, sizeof text, "neither an ELF file nor a bzImage");
	refused(text, 3, "neither an ELF file nor a bzImage");
	refused(text, 0, "neither an ELF file nor a bzImage");
	refused("\x7f"
		"ELF",
		4, "neither an ELF file nor a bzImage");
}

static int initrd(struct load_range *at, const struct gmem *m, int fd, uint64_t from, uint64_t to)
{
	struct err e = { 0 };

	return load_initrd(at, m, fd, &(struct load_range){ from, to }, &e);
}

TEST(an_initrd_goes_as_high_as_it_may)
{
	static uint8_t body[5000];
	struct gmem *m = ram_of(RAM);
	struct load_range at;

	memset(body, 7, sizeof body);
	int fd = file_of(body, sizeof body);

	assert_int_equal(initrd(&at, m, fd, MIB(2), RAM), 0);
	assert_int_equal(at.from, RAM - 0x2000);
	assert_int_equal(at.to - at.from, sizeof body);
	assert_int_equal(initrd(&at, m, fd, MIB(2), 0x7ffff0), 0);
	assert_int_equal(at.from, 0x7fe000);
	/* no room above the kernel, none below the top, none at all */
	assert_int_equal(initrd(&at, m, fd, RAM - 0x1000, RAM), -1);
	assert_int_equal(initrd(&at, m, fd, 0, 0x1000), -1);
	assert_int_equal(initrd(&at, m, fd, 0, GIB(3)), -1);
	close(fd);
	fd = file_of(body, 0);
	assert_int_equal(initrd(&at, m, fd, MIB(2), RAM), -1);
	close(fd);
	gmem_free(m);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(an_elf_with_a_pvh_note_lands_where_it_says),
		T(firmware_marked_386_with_a_note_of_four_bytes_is_taken),
		T(an_elf_without_the_note_is_refused_with_what_to_do),
		T(elf_files_for_other_machines_are_refused),
		T(elf_headers_that_lie_are_refused),
		T(elf_segments_outside_memory_are_refused),
		T(bss_over_an_earlier_segment_is_cleared),
		T(a_bzimage_lands_at_one_mib),
		T(a_bzimage_followed_by_a_signature_loads_only_the_kernel),
		T(broken_bzimages_are_refused),
		T(what_is_no_kernel_is_refused_by_name_of_what_is_wanted),
		T(an_initrd_goes_as_high_as_it_may),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
