/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests of a few instructions, for tests of a VM's life on the machine's own /dev/kvm: a kernel in
 * memory, a serial port into memory, a config that boots them. Include it in the test's own file.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "conf/conf.h"
#include "elf_file.h"
#include "test.h"

#define TINY_BASE 0x100000u
/* Where the counting guest counts: 32 bits. */
#define TINY_COUNT 0x200000u

/* Says R, then counts for ever. */
static const uint8_t tiny_counts[] = {
	0x66, 0xba, 0xf8, 0x03,		    /* mov $0x3f8, %dx */
	0xb0, 'R',  0xee,		    /* mov $'R', %al; out %al, (%dx) */
	0xff, 0x05, 0x00, 0x00, 0x20, 0x00, /* 1: incl TINY_COUNT */
	0xeb, 0xf8,			    /* jmp 1b */
};

/* The same, and after some millions resets by the i8042, on and on. */
static const uint8_t tiny_resets[] = {
	0x66, 0xba, 0xf8, 0x03,		    /* mov $0x3f8, %dx */
	0xb0, 'R',  0xee,		    /* mov $'R', %al; out %al, (%dx) */
	0xff, 0x05, 0x00, 0x00, 0x20, 0x00, /* 1: incl TINY_COUNT */
	0x81, 0x3d, 0x00, 0x00, 0x20, 0x00, 0x40, 0x42, 0x0f, 0x00, /* cmpl $1000000, TINY_COUNT */
	0x75, 0xee,						    /* jne 1b */
	0xb0, 0xfe, 0xe6, 0x64, /* mov $0xfe, %al; out %al, $0x64 */
	0xeb, 0xfe,		/* jmp . */
};

/* Says R and powers off by ACPI's sleep register. */
static const uint8_t tiny_ends[] = {
	0x66, 0xba, 0xf8, 0x03, /* mov $0x3f8, %dx */
	0xb0, 'R',  0xee,	/* mov $'R', %al; out %al, (%dx) */
	0x66, 0xba, 0x00, 0x06, /* mov $0x600, %dx */
	0xb0, 0x34, 0xee,	/* mov $(5 << 2 | 1 << 5), %al; out %al, (%dx) */
	0xeb, 0xfe,		/* jmp . */
};

/* Where the second vCPU of the next counts: 32 bits. */
#define TINY_COUNT_2 0x9000u

/* Starts the second vCPU, and both count, each for itself. */
static const uint8_t tiny_both_count[] = {
	/* movl $..., 0x8000 and 0x8004: what the second runs in real mode, incl TINY_COUNT_2; jmp */
	0xc7, 0x05, 0x00, 0x80, 0x00, 0x00, 0x66, 0xff, 0x06, 0x00, /* bytes 0 to 3 */
	0xc7, 0x05, 0x04, 0x80, 0x00, 0x00, 0x90, 0xeb, 0xf9, 0x00, /* bytes 4 to 7 */
	/* movl to the local APIC's command register: INIT, then start at 0x8000, all but ourselves */
	0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x00, 0x45, 0x0c, 0x00, /* */
	0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x08, 0x46, 0x0c, 0x00, /* */
	0xff, 0x05, 0x00, 0x00, 0x20, 0x00,			    /* 1: incl TINY_COUNT */
	0xeb, 0xf8,						    /* jmp 1b */
};

struct tiny {
	int kernel, said;
};

static inline void tiny_needs_kvm(void)
{
	if (!access("/dev/kvm", R_OK | W_OK))
		return;
	print_message("no right to /dev/kvm, or none there\n");
	skip();
}

/* A config with this guest; conf_free it, or give it away. */
static inline void tiny_conf(struct tiny *t, struct vm_conf *c, const uint8_t *code, size_t len)
{
	struct elf f = good_elf(TINY_BASE);

	assert_true(len <= sizeof(f.body));
	memcpy(f.body, code, len);
	t->kernel = memfd_create("kernel", 0);
	t->said = memfd_create("said", 0);
	assert_int_equal(write(t->kernel, &f, sizeof(f)), sizeof(f));
	conf_default(c);
	assert_true(asprintf(&c->payload.kernel, "/proc/self/fd/%d", t->kernel) > 0);
	assert_true(asprintf(&c->serial.file, "/proc/self/fd/%d", t->said) > 0);
	c->memory.size = 4 << 20;
	c->cpus.boot_vcpus = c->cpus.max_vcpus = 2;
	c->serial.mode = CONSOLE_FILE;
	c->console.mode = CONSOLE_OFF;
}

static inline void tiny_fini(struct tiny *t)
{
	close(t->kernel);
	close(t->said);
}

static inline void tiny_nap(long ns)
{
	const struct timespec t = { .tv_nsec = ns };

	nanosleep(&t, NULL);
}

/* The guest's last word, or 0. */
static inline char tiny_said(const struct tiny *t)
{
	struct stat st;
	char last = 0;

	assert_int_equal(fstat(t->said, &st), 0);
	return st.st_size && pread(t->said, &last, 1, st.st_size - 1) == 1 ? last : 0;
}
