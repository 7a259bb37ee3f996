/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers as gdb sees them: one row each, out of which the description is printed and by which
 * values are found. See arch/debug.h. Specification: "Debugging with GDB", "i386 Features"; Intel
 * SDM volume 1 §8.1.7 (the tag word).
 */
#include <stddef.h>
#include <string.h>

#include "arch/debug.h"
#include "base/bits.h"
#include "base/mem.h"

const uint8_t arch_break[] = { 0xcc };
const size_t arch_break_len = sizeof(arch_break);

/* gdb's order of general registers, as numbers of the processor. */
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

enum how {
	PLAIN, /* so many bytes of the struct, zeros behind */
	TAG,   /* the FPU's tags: two bits each where we have one */
};

struct reg {
	const char *name, *type;
	uint16_t bits;
	uint16_t off, size; /* in struct arch_cpu */
	enum how how;
	const char *feature; /* begins here */
};

#define AT(member) offsetof(struct arch_cpu, member), sizeof(((struct arch_cpu *)0)->member)
#define GPR(name, n, type)                                                                         \
	{                                                                                          \
		name, type, 64, AT(r.gpr[n])                                                       \
	}
#define SELECTOR(name, n)                                                                          \
	{                                                                                          \
		name, "int32", 32, AT(r.seg[n].selector)                                           \
	}
#define ST(n)                                                                                      \
	{                                                                                          \
		"st" #n, "i387_ext", 80, AT(f.st[n])                                               \
	}
#define XMM(n)                                                                                     \
	{                                                                                          \
		"xmm" #n, "vec128", 128, AT(f.xmm[n])                                              \
	}

static const struct reg regs[] = {
	{ "rax", "int64", 64, AT(r.gpr[RAX]), .feature = "org.gnu.gdb.i386.core" },
	GPR("rbx", RBX, "int64"),
	GPR("rcx", RCX, "int64"),
	GPR("rdx", RDX, "int64"),
	GPR("rsi", RSI, "int64"),
	GPR("rdi", RDI, "int64"),
	GPR("rbp", RBP, "data_ptr"),
	GPR("rsp", RSP, "data_ptr"),
	GPR("r8", 8, "int64"),
	GPR("r9", 9, "int64"),
	GPR("r10", 10, "int64"),
	GPR("r11", 11, "int64"),
	GPR("r12", 12, "int64"),
	GPR("r13", 13, "int64"),
	GPR("r14", 14, "int64"),
	GPR("r15", 15, "int64"),
	{ "rip", "code_ptr", 64, AT(r.rip) },
	{ "eflags", "i386_eflags", 32, offsetof(struct arch_cpu, r.rflags), 4 },
	SELECTOR("cs", HV_CS),
	SELECTOR("ss", HV_SS),
	SELECTOR("ds", HV_DS),
	SELECTOR("es", HV_ES),
	SELECTOR("fs", HV_FS),
	SELECTOR("gs", HV_GS),
	ST(0),
	ST(1),
	ST(2),
	ST(3),
	ST(4),
	ST(5),
	ST(6),
	ST(7),
	{ "fctrl", "int", 32, AT(f.cw) },
	{ "fstat", "int", 32, AT(f.sw) },
	{ "ftag", "int", 32, AT(f.used), .how = TAG },
	{ "fiseg", "int", 32, offsetof(struct arch_cpu, f.ip) + 4, 2 },
	{ "fioff", "int", 32, offsetof(struct arch_cpu, f.ip), 4 },
	{ "foseg", "int", 32, offsetof(struct arch_cpu, f.dp) + 4, 2 },
	{ "fooff", "int", 32, offsetof(struct arch_cpu, f.dp), 4 },
	{ "fop", "int", 32, AT(f.op) },
	{ "xmm0", "vec128", 128, AT(f.xmm[0]), .feature = "org.gnu.gdb.i386.sse" },
	XMM(1),
	XMM(2),
	XMM(3),
	XMM(4),
	XMM(5),
	XMM(6),
	XMM(7),
	XMM(8),
	XMM(9),
	XMM(10),
	XMM(11),
	XMM(12),
	XMM(13),
	XMM(14),
	XMM(15),
	{ "mxcsr", "i386_mxcsr", 32, AT(f.mxcsr) },
	{ "fs_base", "int", 64, AT(r.seg[HV_FS].base), .feature = "org.gnu.gdb.i386.segments" },
	{ "gs_base", "int", 64, AT(r.seg[HV_GS].base) },
	/* no debugger knows these by name; it shows them all the same */
	{ "k_gs_base", "int", 64, AT(r.kernel_gs_base), .feature = "virga.system" },
	{ "cr0", "int", 64, AT(r.cr0) },
	{ "cr2", "int", 64, AT(r.cr2) },
	{ "cr3", "int", 64, AT(r.cr3) },
	{ "cr4", "int", 64, AT(r.cr4) },
	{ "cr8", "int", 64, AT(r.cr8) },
	{ "efer", "int", 64, AT(r.efer) },
};

/* --- the description --- */

struct flag {
	const char *name;
	unsigned int bit;
};
static const struct flag eflags[] = {
	{ "CF", 0 },  { "PF", 2 },   { "AF", 4 },   { "ZF", 6 },  { "SF", 7 },	{ "TF", 8 },
	{ "IF", 9 },  { "DF", 10 },  { "OF", 11 },  { "NT", 14 }, { "RF", 16 }, { "VM", 17 },
	{ "AC", 18 }, { "VIF", 19 }, { "VIP", 20 }, { "ID", 21 },
};
static const struct flag mxcsr[] = {
	{ "IE", 0 },  { "DE", 1 },  { "ZE", 2 },  { "OE", 3 },	{ "UE", 4 },
	{ "PE", 5 },  { "DAZ", 6 }, { "IM", 7 },  { "DM", 8 },	{ "ZM", 9 },
	{ "OM", 10 }, { "UM", 11 }, { "PM", 12 }, { "FZ", 15 },
};
static const struct {
	const char *id, *type;
	unsigned int count;
} vectors[] = {
	{ "v4f", "ieee_single", 4 }, { "v2d", "ieee_double", 2 }, { "v16i8", "int8", 16 },
	{ "v8i16", "int16", 8 },     { "v4i32", "int32", 4 },	  { "v2i64", "int64", 2 },
};

static void add(char **text, const char *more)
{
	char *longer = mem_fmt("%s%s", *text, more);

	free(*text);
	*text = longer;
}

static void add_flags(char **text, const char *id, const struct flag *f, size_t n)
{
	AUTO_FREE char *head = mem_fmt("<flags id=\"%s\" size=\"4\">", id);

	add(text, head);
	for (size_t i = 0; i < n; i++) {
		AUTO_FREE char *one = mem_fmt("<field name=\"%s\" start=\"%u\" end=\"%u\"/>",
					      f[i].name, f[i].bit, f[i].bit);

		add(text, one);
	}
	add(text, "</flags>");
}

static void add_types(char **text, const char *feature)
{
	if (!strcmp(feature, "org.gnu.gdb.i386.core"))
		add_flags(text, "i386_eflags", eflags, ARRAY_LEN(eflags));
	if (strcmp(feature, "org.gnu.gdb.i386.sse"))
		return;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		AUTO_FREE char *one = mem_fmt("<vector id=\"%s\" type=\"%s\" count=\"%u\"/>",
					      vectors[i].id, vectors[i].type, vectors[i].count);

		add(text, one);
	}
	add(text, "<union id=\"vec128\">");
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		static const char *const names[] = { "v4_float", "v2_double", "v16_int8",
						     "v8_int16", "v4_int32",  "v2_int64" };
		AUTO_FREE char *one =
			mem_fmt("<field name=\"%s\" type=\"%s\"/>", names[i], vectors[i].id);

		add(text, one);
	}
	add(text, "<field name=\"uint128\" type=\"uint128\"/></union>");
	add_flags(text, "i386_mxcsr", mxcsr, ARRAY_LEN(mxcsr));
}

char *arch_gdb_description(void)
{
	char *text = mem_str("<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
			     "<target><architecture>i386:x86-64</architecture>");

	for (size_t i = 0; i < ARRAY_LEN(regs); i++) {
		const struct reg *r = &regs[i];
		AUTO_FREE char *one = mem_fmt("<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"/>",
					      r->name, r->bits, r->type);

		if (r->feature) {
			AUTO_FREE char *head = mem_fmt("%s<feature name=\"%s\">",
						       i ? "</feature>" : "", r->feature);

			add(&text, head);
			add_types(&text, r->feature);
		}
		add(&text, one);
	}
	add(&text, "</feature></target>");
	return text;
}

/* --- values --- */

unsigned int arch_gdb_registers(void)
{
	return ARRAY_LEN(regs);
}

/* What a register holds: 0 a number, 1 zero, 2 something special, 3 nothing. */
static unsigned int tag_of(const struct hv_x86_fpu *f, unsigned int physical)
{
	unsigned int top = f->sw >> 11 & 7;
	const uint8_t *b = f->st[(physical - top) & 7];
	uint64_t mantissa = le64_get(b);
	uint16_t exponent = le16_get(b + 8) & 0x7fff;

	if (!(f->used & 1u << physical))
		return 3;
	if (!exponent && !mantissa)
		return 1;
	return exponent == 0x7fff || !(mantissa >> 63) ? 2 : 0;
}

static void get_tags(const struct hv_x86_fpu *f, uint8_t *out)
{
	unsigned int tags = 0;

	for (unsigned int i = 0; i < 8; i++)
		tags |= tag_of(f, i) << 2 * i;
	le32_put(out, tags);
}

static void put_tags(struct hv_x86_fpu *f, const uint8_t *from)
{
	uint32_t tags = le32_get(from);

	f->used = 0;
	for (unsigned int i = 0; i < 8; i++)
		if ((tags >> 2 * i & 3) != 3)
			f->used |= (uint8_t)(1u << i);
}

size_t arch_gdb_get(const struct arch_cpu *c, unsigned int n, uint8_t out[ARCH_GDB_REGISTER_MAX])
{
	const struct reg *r;
	size_t len;

	if (n >= ARRAY_LEN(regs))
		return 0;
	r = &regs[n];
	len = r->bits / 8;
	memset(out, 0, len);
	if (r->how == TAG)
		get_tags(&c->f, out);
	else
		memcpy(out, (const uint8_t *)c + r->off, r->size < len ? r->size : len);
	return len;
}

bool arch_gdb_put(struct arch_cpu *c, unsigned int n, const uint8_t *bytes, size_t len)
{
	const struct reg *r;

	if (n >= ARRAY_LEN(regs) || len != regs[n].bits / 8)
		return false;
	r = &regs[n];
	if (r->how == TAG)
		put_tags(&c->f, bytes);
	else
		memcpy((uint8_t *)c + r->off, bytes, r->size < len ? r->size : len);
	return true;
}

uint64_t arch_cpu_pc(const struct arch_cpu *c)
{
	return c->r.rip;
}

void arch_cpu_set_pc(struct arch_cpu *c, uint64_t pc)
{
	c->r.rip = pc;
}

int arch_cpu_get(struct arch_cpu *c, struct hv_vcpu *v, struct err *e)
{
	return hv_vcpu_get_regs(v, &c->r, e) < 0 || hv_vcpu_get_fpu(v, &c->f, e) < 0 ? -1 : 0;
}

int arch_cpu_put(struct hv_vcpu *v, const struct arch_cpu *c, struct err *e)
{
	return hv_vcpu_set_regs(v, &c->r, e) < 0 || hv_vcpu_set_fpu(v, &c->f, e) < 0 ? -1 : 0;
}
