/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a VM on the machine's own /dev/kvm, with a guest of a few instructions: what is asked
 * of it while it runs and while it does not. Without /dev/kvm these tests cannot be made and say so.
 */
#include "vm/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/mem.h"
#include "elf_file.h"
#include "test.h"

#define BASE 0x100000u
#define HANDLER 0x20
#define IDTR 0x40
#define IDT 0x50

/* At 1 MiB: says R and loops with interrupts off; the handler of NMIs says N and loops. */
static const uint8_t program[] = {
	[0] = 0x0f,
	0x01,
	0x1d,
	0x40,
	0x00,
	0x10,
	0x00, /* lidt IDTR */
	0x66,
	0xba,
	0xf8,
	0x03, /* mov $0x3f8, %dx */
	0xb0,
	'R',  /* mov $'R', %al */
	0xee, /* out %al, (%dx) */
	0xeb,
	0xfe, /* jmp . */
	[HANDLER] = 0x66,
	0xba,
	0xf8,
	0x03,
	0xb0,
	'N',
	0xee,
	0xeb,
	0xfe,
	[IDTR] = 3 * 8 - 1,
	0,
	0x50,
	0x00,
	0x10,
	0x00,
	[IDT + 2 * 8] = HANDLER,
	0x00,
	0x10,
	0x00,
	0x00,
	0x8e,
	0x10,
	0x00,
};

_Static_assert(sizeof program <= sizeof(((struct elf *)NULL)->body), "the program fits the file");

static int make_kernel(void)
{
	struct elf f = good_elf(BASE);
	int fd = memfd_create("kernel", 0);

	memcpy(f.body, program, sizeof program);
	assert_int_equal(write(fd, &f, sizeof f), sizeof f);
	return fd;
}

struct setup {
	struct loop *ctl;
	struct vm *vm;
	int kernel, said; /* what the guest says goes to a file in memory */
};

static void ok(int r, struct err *e)
{
	char line[400];

	if (r)
		fail_msg("%s", err_line(e, line, sizeof line));
}

static void asked(void *arg)
{
	(void)arg;
}

static void setup(struct setup *s)
{
	const struct vm_up up = { .asked = asked };
	struct vm_conf c;
	struct err e = { 0 };
	char *kernel, *serial;

	if (access("/dev/kvm", R_OK | W_OK)) {
		print_message("no right to /dev/kvm, or none there\n");
		skip();
	}
	s->kernel = make_kernel();
	s->said = memfd_create("said", 0);
	assert_true(asprintf(&kernel, "/proc/self/fd/%d", s->kernel) > 0);
	assert_true(asprintf(&serial, "/proc/self/fd/%d", s->said) > 0);
	conf_default(&c);
	c.payload.kernel = kernel;
	c.memory.size = 4 << 20;
	c.cpus.boot_vcpus = c.cpus.max_vcpus = 2;
	c.serial.mode = CONSOLE_FILE;
	c.serial.file = serial;
	c.console.mode = CONSOLE_OFF;
	ok(loop_new(&s->ctl, "control", &e), &e);
	ok(vm_new(&s->vm, &c, NULL, s->ctl, &up, &e), &e);
}

static void finish(struct setup *s)
{
	vm_free(s->vm);
	loop_free(s->ctl);
	close(s->kernel);
	close(s->said);
}

/* Waits, ten seconds at most, until the guest's last word is this one. */
static void hears(const struct setup *s, char word)
{
	const struct timespec tick = { .tv_nsec = 5000000 };

	for (int i = 0; i < 2000; i++) {
		struct stat st;
		char last = 0;

		assert_int_equal(fstat(s->said, &st), 0);
		if (st.st_size && pread(s->said, &last, 1, st.st_size - 1) == 1 && last == word)
			return;
		nanosleep(&tick, NULL);
	}
	fail_msg("the guest does not say '%c'", word);
}

TEST(an_nmi_comes_through_to_a_guest_without_interrupts)
{
	struct err e = { 0 };
	struct setup s;

	setup(&s);
	ok(vm_boot(s.vm, NULL, &e), &e);
	hears(&s, 'R');
	ok(vm_nmi(s.vm, &e), &e);
	hears(&s, 'N');
	finish(&s);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(an_nmi_comes_through_to_a_guest_without_interrupts),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
