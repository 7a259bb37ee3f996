/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The payload and what it finds: descriptors, command line, start info or zero page, and the
 * tables that firmware would have made. See boot.h for the protocols, plat.h for the addresses.
 */
#include "arch/x86/boot.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "arch/x86/fwitems.h"
#include "arch/x86/mptable.h"
#include "arch/x86/plat.h"
#include "arch/x86/ram.h"
#include "arch/x86/tables.h"
#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "fw/load.h"

#define PVH_MAGIC 0x336ec578u

/* Selectors that the bzImage's entry wants: code 0x10, data 0x18. */
#define SEL_TSS 0x08
#define SEL_CODE 0x10
#define SEL_DATA 0x18
#define GDT_ENTRIES 4
static const uint64_t gdt[GDT_ENTRIES] = {
	0, 0x00008b0000000067, /* task, busy, base 0, limit 0x67 */
	0x00cf9b000000ffff,    /* code, 32 bits, 4 GiB */
	0x00cf93000000ffff,    /* data, 4 GiB */
};

/* offsets in the zero page */
#define ZP_RSDP 0x70
#define ZP_E820_COUNT 0x1e8
#define ZP_HEADER 0x1f1
#define ZP_LOADER 0x210
#define ZP_INITRD 0x218
#define ZP_INITRD_SIZE 0x21c
#define ZP_CMDLINE 0x228
#define ZP_E820 0x2d0
#define ZP_SIZE 0x1000
#define LOADER_UNDEFINED 0xff

void x86_start(struct hv_x86_start *s, const struct arch_payload *p)
{
	*s = (struct hv_x86_start){
		.rip = p->entry,
		.rsp = X86_STACK_TOP,
		.rflags = 2,
		.cr0 = 0x11, /* protection on; ET is always set */
		.cs = { .limit = 0xffffffff,
			.selector = SEL_CODE,
			.type = 11,
			.present = 1,
			.db = 1,
			.s = 1,
			.g = 1 },
		.ds = { .limit = 0xffffffff,
			.selector = SEL_DATA,
			.type = 3,
			.present = 1,
			.db = 1,
			.s = 1,
			.g = 1 },
		.tss = { .limit = 0x67, .selector = SEL_TSS, .type = 11, .present = 1 },
		.gdt_base = X86_GDT,
		.gdt_limit = sizeof gdt - 1,
		.idt_base = X86_IDT,
		.idt_limit = 7,
	};
	if (p->kind == BOOT_PVH)
		s->rbx = X86_START_INFO;
	else
		s->rsi = X86_ZERO_PAGE;
}

/* Not waiting for the other end of a FIFO, which is refused with all that is no file. */
static int payload_open(const char *path, struct err *e)
{
	return fd_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, e);
}

static int load_kernel_at(struct load_kernel *k, const struct gmem *m, const char *path,
			  struct err *e)
{
	AUTO_FD int fd = payload_open(path, e);

	if (fd < 0)
		return -1;
	return load_kernel(k, m, fd, e) ? err_in(e, "%s", path) : 0;
}

static int load_initrd_at(struct arch_payload *out, const struct load_kernel *k,
			  const struct gmem *m, const char *path, struct err *e)
{
	AUTO_FD int fd = payload_open(path, e);
	/* without a hole, below the PCI window */
	const struct load_range room = { k->end, min_u64(x86_ram_low(m), k->initrd_max + 1) };
	struct load_range at;

	if (fd < 0)
		return -1;
	if (load_initrd(&at, m, fd, &room, e))
		return err_in(e, "%s", path);
	out->initrd = at.from;
	out->initrd_size = at.to - at.from;
	return 0;
}

int arch_load(struct arch_payload *out, const struct gmem *m, const struct payload_conf *p,
	      struct err *e)
{
	const char *path = p->firmware ? p->firmware : p->kernel;
	const char *what = p->firmware ? "firmware" : "kernel";
	struct load_kernel k;

	*out = (struct arch_payload){ 0 };
	if (!path)
		return err_set(e, ERR_BAD, "nothing to start; give --kernel or --firmware");
	if (load_kernel_at(&k, m, path, e))
		return err_in(e, "%s", what);
	out->kind = k.kind == LOAD_ELF ? BOOT_PVH : BOOT_BZIMAGE;
	out->entry = k.entry;
	out->kernel_end = k.end;
	out->setup_len = k.header_len;
	memcpy(out->setup_header, k.header, k.header_len);
	if (p->cmdline && strlen(p->cmdline) >= X86_CMDLINE_MAX)
		return err_set(e, ERR_BAD, "the kernel command line has %zu bytes; %u are possible",
			       strlen(p->cmdline), X86_CMDLINE_MAX - 1);
	if (p->cmdline && strlen(p->cmdline) > k.cmdline_max)
		log_warn("the kernel reads %u bytes of its command line, which has %zu",
			 k.cmdline_max, strlen(p->cmdline));
	if (p->initramfs && load_initrd_at(out, &k, m, p->initramfs, e))
		return err_in(e, "initramfs");
	return 0;
}

static int put(const struct gmem *m, uint64_t at, const void *p, size_t n, struct err *e)
{
	if (gmem_write(m, GPA(at), p, n))
		return err_set(e, ERR_BAD, "no guest memory at 0x%" PRIx64 " for the boot tables",
			       at);
	return 0;
}

static int put_cpu(const struct gmem *m, struct err *e)
{
	uint8_t b[sizeof gdt + 8] = { 0 };
	uint8_t ebda[2];

	_Static_assert(X86_GDT + sizeof gdt == X86_IDT, "GDT and IDT adjoin");
	for (unsigned int i = 0; i < GDT_ENTRIES; i++)
		le64_put(b + 8 * i, gdt[i]);
	le16_put(ebda, X86_RSDP >> 4); /* a real-mode segment */
	return put(m, X86_EBDA_POINTER, ebda, sizeof ebda, e) || put(m, X86_GDT, b, sizeof b, e)
		       ? -1
		       : 0;
}

static int put_cmdline(const struct gmem *m, const char *cmdline, struct err *e)
{
	return put(m, X86_CMDLINE, cmdline, strlen(cmdline) + 1, e);
}

static int put_start_info(const struct arch_payload *p, const struct gmem *m, struct err *e)
{
	uint8_t info[0x40 + 32] = { 0 }, map[X86_MAP_MAX * 24] = { 0 };
	struct x86_map_entry entry[X86_MAP_MAX];
	uint32_t n = x86_map(entry, m);

	for (uint32_t i = 0; i < n; i++) {
		le64_put(map + 24 * i, entry[i].base);
		le64_put(map + 24 * i + 8, entry[i].size);
		le32_put(map + 24 * i + 16, entry[i].type);
	}
	le32_put(info, PVH_MAGIC);
	le32_put(info + 4, 1); /* version: has a memory map */
	le32_put(info + 12, p->initrd_size ? 1 : 0);
	le64_put(info + 16, p->initrd_size ? X86_MODLIST : 0);
	le64_put(info + 24, X86_CMDLINE);
	le64_put(info + 32, X86_RSDP);
	le64_put(info + 40, X86_MEMMAP);
	le32_put(info + 48, n);
	_Static_assert(X86_MODLIST == X86_START_INFO + 0x40, "the list of modules follows");
	le64_put(info + 0x40, p->initrd);
	le64_put(info + 0x48, p->initrd_size);
	return put(m, X86_START_INFO, info, sizeof info, e) || put(m, X86_MEMMAP, map, 24 * n, e)
		       ? -1
		       : 0;
}

static int put_zero_page(const struct arch_payload *p, const struct gmem *m, struct err *e)
{
	struct x86_map_entry entry[X86_MAP_MAX];
	uint32_t n = x86_map(entry, m);
	uint8_t z[ZP_SIZE] = { 0 };

	memcpy(z + ZP_HEADER, p->setup_header, p->setup_len);
	le64_put(z + ZP_RSDP, X86_RSDP);
	z[ZP_LOADER] = LOADER_UNDEFINED;
	le32_put(z + ZP_CMDLINE, X86_CMDLINE);
	/* initrds end below 4 GiB, so that the upper halves stay zero */
	le32_put(z + ZP_INITRD, (uint32_t)p->initrd);
	le32_put(z + ZP_INITRD_SIZE, (uint32_t)p->initrd_size);
	z[ZP_E820_COUNT] = (uint8_t)n;
	for (uint32_t i = 0; i < n; i++) {
		le64_put(z + ZP_E820 + 20 * i, entry[i].base);
		le64_put(z + ZP_E820 + 20 * i + 8, entry[i].size);
		le32_put(z + ZP_E820 + 20 * i + 16, entry[i].type);
	}
	return put(m, X86_ZERO_PAGE, z, sizeof z, e);
}

int arch_finish(const struct arch_payload *p, struct board *b, const struct vm_conf *c,
		uint8_t phys_bits, struct err *e)
{
	uint64_t end;

	(void)phys_bits; /* the tables say what devices say, who were told their places */
	if (put_cpu(b->mem, e) ||
	    put_cmdline(b->mem, c->payload.cmdline ? c->payload.cmdline : "", e))
		return -1;
	if (x86_acpi(b, c, e) || x86_fwitems_acpi(b, c, e) || x86_smbios(&end, b->mem, c, e) ||
	    x86_mptable(b->mem, end, c, e))
		return -1;
	return p->kind == BOOT_PVH ? put_start_info(p, b->mem, e) : put_zero_page(p, b->mem, e);
}

int arch_finish_restored(struct board *b, const struct vm_conf *c, struct err *e)
{
	return x86_fwitems_acpi(b, c, e);
}
