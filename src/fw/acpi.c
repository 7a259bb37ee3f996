/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer of ACPI tables and AML. The length of a block has 1 to 4 bytes and stands in front of
 * it: aml_end makes room for as many as the finished block needs. Blocks inside are finished
 * before, so only their bytes move, and nothing in AML holds an offset. See acpi.h.
 */
#include "fw/acpi.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"

#define TABLE_HEADER 36
#define TABLE_LENGTH 4
#define TABLE_CHECKSUM 9

/* opcodes, ACPI 6.5 §20.2 */
#define OP_ZERO 0x00
#define OP_ONE 0x01
#define OP_NAME 0x08
#define OP_BYTE 0x0a
#define OP_WORD 0x0b
#define OP_DWORD 0x0c
#define OP_STRING 0x0d
#define OP_QWORD 0x0e
#define OP_SCOPE 0x10
#define OP_BUFFER 0x11
#define OP_PACKAGE 0x12
#define OP_METHOD 0x14
#define OP_DUAL_NAME 0x2e
#define OP_MULTI_NAME 0x2f
#define OP_EXT 0x5b
#define OP_EXT_MUTEX 0x01
#define OP_EXT_ACQUIRE 0x23
#define OP_EXT_RELEASE 0x27
#define OP_EXT_REGION 0x80
#define OP_EXT_FIELD 0x81
#define OP_EXT_DEVICE 0x82
#define OP_LOCAL 0x60
#define OP_ARG 0x68
#define OP_QWORD_FIELD 0x8f
#define OP_IF 0xa0
#define OP_WHILE 0xa2

/* resources, §6.4 */
#define RES_IO 0x47
#define RES_END 0x79
#define RES_MEMORY32 0x86
#define RES_DWORD 0x87
#define RES_WORD 0x88
#define RES_IRQ 0x89
#define RES_QWORD 0x8a
#define SPACE_MEMORY 0
#define SPACE_IO 1
#define SPACE_BUS 2
#define WINDOW_FIXED 0x0c /* minimum and maximum fixed, positive decode, produced */
#define MEMORY_FIXED 0x0d /* the same, consumed */
#define MEMORY_WRITABLE 1
#define MEMORY_CACHEABLE 2
#define IO_WHOLE_RANGE 3

void aml_fini(struct aml *a)
{
	free(a->bytes);
	*a = (struct aml){ 0 };
}

static uint8_t *room_for(struct aml *a, size_t n)
{
	if (a->len + n > a->room) {
		size_t room = max_u64(2 * a->room, align_up(a->len + n, 4096));

		a->bytes = mem_resize(a->bytes, a->room, room, 1);
		a->room = room;
	}
	uint8_t *p = a->bytes + a->len;

	a->len += n;
	return p;
}

void aml_raw(struct aml *a, const void *p, size_t n)
{
	if (n)
		memcpy(room_for(a, n), p, n);
}

void aml_zeros(struct aml *a, size_t n)
{
	if (n)
		memset(room_for(a, n), 0, n);
}

void aml_u8(struct aml *a, uint8_t v)
{
	*room_for(a, 1) = v;
}

void aml_u16(struct aml *a, uint16_t v)
{
	le16_put(room_for(a, 2), v);
}

void aml_u32(struct aml *a, uint32_t v)
{
	le32_put(room_for(a, 4), v);
}

void aml_u64(struct aml *a, uint64_t v)
{
	le64_put(room_for(a, 8), v);
}

void aml_gas(struct aml *a, uint8_t space, uint8_t bits, uint64_t addr)
{
	uint8_t access = bits == 8 ? 1 : bits == 16 ? 2 : bits == 32 ? 3 : 4;

	aml_u8(a, space);
	aml_u8(a, bits);
	aml_u8(a, 0);
	aml_u8(a, access);
	aml_u64(a, addr);
}

/* A string in a field of fixed length, padded with `pad`. */
static void fixed_text(struct aml *a, const char *s, size_t n, char pad)
{
	for (size_t i = 0; i < n; i++)
		aml_u8(a, (uint8_t)(*s ? *s++ : pad));
}

size_t acpi_table(struct aml *a, const char *signature, uint8_t revision, const char *oem,
		  const char *oem_table)
{
	size_t start = a->len;

	fixed_text(a, signature, 4, ' ');
	aml_u32(a, 0); /* length */
	aml_u8(a, revision);
	aml_u8(a, 0); /* checksum */
	fixed_text(a, oem, 6, ' ');
	fixed_text(a, oem_table, 8, ' ');
	aml_u32(a, 1);
	fixed_text(a, "VRGA", 4, ' ');
	aml_u32(a, 1);
	assert(a->len - start == TABLE_HEADER);
	return start;
}

uint8_t acpi_checksum(const void *p, size_t n)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)p)[i]);
	return (uint8_t)(0u - sum);
}

void acpi_table_end(struct aml *a, size_t start)
{
	assert(!a->depth);
	le32_put(a->bytes + start + TABLE_LENGTH, (uint32_t)(a->len - start));
	a->bytes[start + TABLE_CHECKSUM] = acpi_checksum(a->bytes + start, a->len - start);
}

static void open_block(struct aml *a, bool resources)
{
	assert(a->depth < AML_DEPTH);
	a->open[a->depth].at = a->len;
	a->open[a->depth].resources = resources;
	a->depth++;
}

/* Makes room for n bytes at `at`. */
static uint8_t *insert(struct aml *a, size_t at, size_t n)
{
	room_for(a, n);
	memmove(a->bytes + at + n, a->bytes + at, a->len - n - at);
	return a->bytes + at;
}

/* PkgLength (§20.2.4) counts itself: 6 bits in one byte, else 4 and 8 more for each byte that
 * follows. */
static void put_length(struct aml *a, size_t at)
{
	size_t body = a->len - at;
	unsigned int n = body + 1 < 1u << 6    ? 1
			 : body + 2 < 1u << 12 ? 2
			 : body + 3 < 1u << 20 ? 3
					       : 4;
	size_t len = body + n;
	uint8_t *p = insert(a, at, n);

	assert(len < 1u << 28);
	if (n == 1) {
		p[0] = (uint8_t)len;
		return;
	}
	p[0] = (uint8_t)((n - 1) << 6 | (len & 0xf));
	for (unsigned int i = 1; i < n; i++)
		p[i] = (uint8_t)(len >> (8 * i - 4));
}

/* The size of a buffer, as a number of AML. */
static void put_size(struct aml *a, size_t at, size_t n)
{
	unsigned int len = n <= UINT8_MAX ? 1 : 2;
	uint8_t *p = insert(a, at, 1 + len);

	assert(n <= UINT16_MAX);
	p[0] = len == 1 ? OP_BYTE : OP_WORD;
	le_put(p + 1, len, n);
}

void aml_end(struct aml *a)
{
	assert(a->depth);
	a->depth--;
	size_t at = a->open[a->depth].at;

	if (a->open[a->depth].resources) {
		aml_u8(a, RES_END);
		aml_u8(a, 0); /* no checksum */
		size_t n = a->len - at;

		put_size(a, at, n);
	}
	put_length(a, at);
}

static void ext_op(struct aml *a, uint8_t op)
{
	aml_u8(a, OP_EXT);
	aml_u8(a, op);
}

static void name_seg(struct aml *a, const char *s)
{
	assert(strnlen(s, 4) == 4);
	aml_raw(a, s, 4);
}

void aml_path(struct aml *a, const char *path)
{
	while (*path == '\\' || *path == '^')
		aml_u8(a, (uint8_t)*path++);
	size_t segments = (strlen(path) + 1) / 5;

	assert(strlen(path) + 1 == segments * 5 || !*path);
	if (!segments)
		aml_u8(a, 0);
	if (segments == 2)
		aml_u8(a, OP_DUAL_NAME);
	if (segments > 2) {
		aml_u8(a, OP_MULTI_NAME);
		aml_u8(a, (uint8_t)segments);
	}
	for (size_t i = 0; i < segments; i++)
		name_seg(a, path + 5 * i);
}

void aml_scope(struct aml *a, const char *path)
{
	aml_u8(a, OP_SCOPE);
	open_block(a, false);
	aml_path(a, path);
}

void aml_device(struct aml *a, const char *name)
{
	ext_op(a, OP_EXT_DEVICE);
	open_block(a, false);
	name_seg(a, name);
}

/* Beyond 0xfff the first letter counts on: D000, E000, ... */
static void processor_name(char out[5], uint32_t index)
{
	static const char digits[] = "0123456789ABCDEF";

	out[0] = (char)('C' + (index >> 12));
	for (unsigned int i = 1; i < 4; i++)
		out[i] = digits[index >> (12 - 4 * i) & 15];
	out[4] = 0;
}

void aml_processor_device(struct aml *a, uint32_t index)
{
	char name[5];

	processor_name(name, index);
	aml_device(a, name);
}

void aml_processor_path(struct aml *a, uint32_t index)
{
	char name[5];

	processor_name(name, index);
	aml_path(a, name);
}

void aml_method(struct aml *a, const char *name, uint8_t args, bool serialized)
{
	aml_u8(a, OP_METHOD);
	open_block(a, false);
	name_seg(a, name);
	aml_u8(a, (uint8_t)(args | (serialized ? 8 : 0)));
}

void aml_package(struct aml *a, uint8_t elements)
{
	aml_u8(a, OP_PACKAGE);
	open_block(a, false);
	aml_u8(a, elements);
}

void aml_if(struct aml *a)
{
	aml_u8(a, OP_IF);
	open_block(a, false);
}

void aml_while(struct aml *a)
{
	aml_u8(a, OP_WHILE);
	open_block(a, false);
}

void aml_buffer(struct aml *a, const void *p, uint8_t n)
{
	aml_u8(a, OP_BUFFER);
	open_block(a, false);
	aml_int(a, n);
	aml_raw(a, p, n);
	aml_end(a);
}

void aml_resources(struct aml *a)
{
	aml_u8(a, OP_BUFFER);
	open_block(a, true);
}

void aml_name(struct aml *a, const char *name)
{
	aml_u8(a, OP_NAME);
	name_seg(a, name);
}

void aml_int(struct aml *a, uint64_t v)
{
	if (v <= 1) {
		aml_u8(a, v ? OP_ONE : OP_ZERO);
	} else if (v <= UINT8_MAX) {
		aml_u8(a, OP_BYTE);
		aml_u8(a, (uint8_t)v);
	} else if (v <= UINT16_MAX) {
		aml_u8(a, OP_WORD);
		aml_u16(a, (uint16_t)v);
	} else if (v <= UINT32_MAX) {
		aml_u8(a, OP_DWORD);
		aml_u32(a, (uint32_t)v);
	} else {
		aml_u8(a, OP_QWORD);
		aml_u64(a, v);
	}
}

void aml_str(struct aml *a, const char *s)
{
	aml_u8(a, OP_STRING);
	aml_raw(a, s, strlen(s) + 1);
}

static uint32_t hex_digit(char c)
{
	assert((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'));
	return (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* §19.3.4: three letters of 5 bits and four hex digits, big-endian. */
void aml_eisa(struct aml *a, const char *id)
{
	assert(strlen(id) == 7);
	uint32_t v = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 |
		     (uint32_t)(id[2] - '@') << 16 | hex_digit(id[3]) << 12 |
		     hex_digit(id[4]) << 8 | hex_digit(id[5]) << 4 | hex_digit(id[6]);

	aml_u8(a, OP_DWORD);
	aml_u32(a, __builtin_bswap32(v));
}

void aml_arg(struct aml *a, uint8_t n)
{
	assert(n < 7);
	aml_u8(a, (uint8_t)(OP_ARG + n));
}

void aml_local(struct aml *a, uint8_t n)
{
	assert(n < 8);
	aml_u8(a, (uint8_t)(OP_LOCAL + n));
}

void aml_op(struct aml *a, enum aml_op op)
{
	aml_u8(a, (uint8_t)op);
}

void aml_qword_field(struct aml *a, const char *buffer, uint32_t at, const char *name)
{
	aml_u8(a, OP_QWORD_FIELD);
	aml_path(a, buffer);
	aml_int(a, at);
	name_seg(a, name);
}

void aml_mutex(struct aml *a, const char *name)
{
	ext_op(a, OP_EXT_MUTEX);
	name_seg(a, name);
	aml_u8(a, 0); /* level */
}

void aml_acquire(struct aml *a, const char *path)
{
	ext_op(a, OP_EXT_ACQUIRE);
	aml_path(a, path);
	aml_u16(a, UINT16_MAX);
}

void aml_release(struct aml *a, const char *path)
{
	ext_op(a, OP_EXT_RELEASE);
	aml_path(a, path);
}

void aml_region(struct aml *a, const char *region, uint8_t space, uint64_t base, uint64_t len)
{
	ext_op(a, OP_EXT_REGION);
	name_seg(a, region);
	aml_u8(a, space);
	aml_int(a, base);
	aml_int(a, len);
}

void aml_fields(struct aml *a, const char *region, uint8_t access_bytes)
{
	uint8_t access = access_bytes == 1 ? 1 : access_bytes == 2 ? 2 : access_bytes == 4 ? 3 : 4;

	ext_op(a, OP_EXT_FIELD);
	open_block(a, false);
	name_seg(a, region);
	aml_u8(a, access | 2 << 5); /* the rest of a write as zeros */
}

/* The number of bits is written as the length of a block is, without counting itself. */
void aml_unit(struct aml *a, const char *name, uint32_t bits)
{
	assert(bits < 1u << 12);
	if (name)
		name_seg(a, name);
	else
		aml_u8(a, 0);
	if (bits < 1u << 6) {
		aml_u8(a, (uint8_t)bits);
		return;
	}
	aml_u8(a, (uint8_t)(1 << 6 | (bits & 0xf)));
	aml_u8(a, (uint8_t)(bits >> 4));
}

void aml_field(struct aml *a, const char *region, uint8_t access_bytes, const char *name,
	       uint8_t bits)
{
	aml_fields(a, region, access_bytes);
	aml_unit(a, name, bits);
	aml_end(a);
}

void aml_res_irq(struct aml *a, uint32_t gsi, enum aml_irq how)
{
	aml_u8(a, RES_IRQ);
	aml_u16(a, 6);
	/* consumer, active high; bit 1 edge, bit 3 shared */
	aml_u8(a, how == AML_IRQ_EDGE ? 0x03 : 0x09);
	aml_u8(a, 1);
	aml_u32(a, gsi);
}

void aml_res_io(struct aml *a, uint16_t port, uint8_t len)
{
	aml_u8(a, RES_IO);
	aml_u8(a, 1); /* all 16 address bits are decoded */
	aml_u16(a, port);
	aml_u16(a, port);
	aml_u8(a, 1);
	aml_u8(a, len);
}

void aml_res_memory32(struct aml *a, uint32_t base, uint32_t len)
{
	aml_u8(a, RES_MEMORY32);
	aml_u16(a, 9);
	aml_u8(a, MEMORY_WRITABLE);
	aml_u32(a, base);
	aml_u32(a, len);
}

/* Word address space of a bridge. */
static void window16(struct aml *a, uint8_t space, uint8_t flags, uint16_t first, uint16_t last)
{
	aml_u8(a, RES_WORD);
	aml_u16(a, 13);
	aml_u8(a, space);
	aml_u8(a, WINDOW_FIXED);
	aml_u8(a, flags);
	aml_u16(a, 0);
	aml_u16(a, first);
	aml_u16(a, last);
	aml_u16(a, 0);
	aml_u16(a, (uint16_t)(last - first + 1));
}

void aml_res_bus(struct aml *a, uint16_t first, uint16_t last)
{
	window16(a, SPACE_BUS, 0, first, last);
}

void aml_res_ports(struct aml *a, uint16_t first, uint16_t last)
{
	window16(a, SPACE_IO, IO_WHOLE_RANGE, first, last);
}

void aml_res_window32(struct aml *a, uint32_t base, uint32_t len)
{
	aml_u8(a, RES_DWORD);
	aml_u16(a, 23);
	aml_u8(a, SPACE_MEMORY);
	aml_u8(a, WINDOW_FIXED);
	aml_u8(a, MEMORY_WRITABLE);
	aml_u32(a, 0);
	aml_u32(a, base);
	aml_u32(a, base + len - 1);
	aml_u32(a, 0);
	aml_u32(a, len);
}

/* Quad-word address space; kind is of the memory. */
static void window64(struct aml *a, uint8_t use, uint8_t kind, uint64_t base, uint64_t len)
{
	aml_u8(a, RES_QWORD);
	aml_u16(a, 43);
	aml_u8(a, SPACE_MEMORY);
	aml_u8(a, use);
	aml_u8(a, kind);
	aml_u64(a, 0);
	aml_u64(a, base);
	aml_u64(a, base + len - 1);
	aml_u64(a, 0);
	aml_u64(a, len);
}

void aml_res_window64(struct aml *a, uint64_t base, uint64_t len)
{
	window64(a, WINDOW_FIXED, MEMORY_WRITABLE, base, len);
}

void aml_res_memory64(struct aml *a, uint64_t base, uint64_t len)
{
	window64(a, MEMORY_FIXED, MEMORY_WRITABLE, base, len);
}

void aml_res_ram64(struct aml *a, uint64_t base, uint64_t len)
{
	window64(a, MEMORY_FIXED, MEMORY_WRITABLE | MEMORY_CACHEABLE, base, len);
}
