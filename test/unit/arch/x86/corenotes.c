/* SPDX-License-Identifier: Apache-2.0 */
/* A processor's notes in a core file: the C library's own struct finds its registers there, and the
 * second note has its size, version and control registers where their readers look. */
#include <elf.h>
#include <string.h>
#include <sys/procfs.h>

#include "arch/debug.h"
#include "base/bits.h"
#include "test.h"

static const struct arch_cpu cpu = {
	.r = {
		.gpr = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
		.rip = 0x100, .rflags = 0x202,
		.seg[HV_CS] = { .selector = 0x10, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 },
		.seg[HV_GS] = { .base = 0x7000 },
		.gdt_base = 0x4000, .gdt_limit = 0x7f,
		.cr0 = 0x80000001, .cr2 = 0x22, .cr3 = 0x33000, .cr4 = 0x20,
		.kernel_gs_base = 0x8000,
	},
};

TEST(the_first_note_is_that_of_a_process)
{
	uint8_t notes[ARCH_CORE_NOTES];
	const Elf64_Nhdr *h = (const void *)notes;
	struct elf_prstatus s;

	arch_core_notes(notes, &cpu, 3);
	assert_int_equal(h->n_namesz, 5);
	assert_int_equal(h->n_descsz, sizeof(s));
	assert_int_equal(h->n_type, NT_PRSTATUS);
	assert_string_equal((const char *)(h + 1), "CORE");
	memcpy(&s, notes + sizeof(*h) + 8, sizeof(s));
	assert_int_equal(s.pr_pid, 4);
	assert_int_equal(s.pr_reg[0], 16);	/* r15 */
	assert_int_equal(s.pr_reg[10], 1);	/* rax */
	assert_int_equal(s.pr_reg[16], 0x100);	/* rip */
	assert_int_equal(s.pr_reg[19], 5);	/* rsp */
	assert_int_equal(s.pr_reg[22], 0x7000); /* gs_base */
}

TEST(the_second_note_has_the_systems_registers)
{
	uint8_t notes[ARCH_CORE_NOTES];
	const uint8_t *at = notes + 12 + 8 + 336;

	arch_core_notes(notes, &cpu, 0);
	assert_int_equal(le32_get(at), 5);
	assert_int_equal(le32_get(at + 4), 440);
	assert_int_equal(le32_get(at + 8), 0);
	assert_string_equal((const char *)at + 12, "QEMU");
	at += 20;
	assert_int_equal(le32_get(at), 1);
	assert_int_equal(le32_get(at + 4), 440);
	assert_int_equal(le64_get(at + 8), 1);	/* rax */
	assert_int_equal(le64_get(at + 16), 4); /* rbx */
	assert_int_equal(le64_get(at + 136), 0x100);
	assert_int_equal(le32_get(at + 152), 0x10);
	assert_int_equal(le32_get(at + 160), 0xa09b00);
	assert_int_equal(le64_get(at + 152 + 8 * 24 + 16), 0x4000); /* gdt */
	assert_int_equal(le64_get(at + 392), 0x80000001);	    /* cr0 */
	assert_int_equal(le64_get(at + 392 + 24), 0x33000);	    /* cr3 */
	assert_int_equal(le64_get(at + 432), 0x8000);
	assert_ptr_equal(at + 440, notes + ARCH_CORE_NOTES);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(the_first_note_is_that_of_a_process),
		T(the_second_note_has_the_systems_registers),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
