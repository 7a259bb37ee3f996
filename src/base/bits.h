/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Little- and big-endian loads and stores, checked arithmetic, alignment and bitmaps. All inline, no state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)
#define BIT(n) (1ull << (n))

static inline uint16_t le16_get(const void *p)
{
	const uint8_t *b = p;
	return (uint16_t)(b[0] | b[1] << 8);
}
static inline uint32_t le32_get(const void *p)
{
	const uint8_t *b = p;
	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}
static inline uint64_t le64_get(const void *p)
{
	return (uint64_t)le32_get(p) | (uint64_t)le32_get((const uint8_t *)p + 4) << 32;
}
static inline void le16_put(void *p, uint16_t v)
{
	uint8_t *b = p;
	b[0] = (uint8_t)v;
	b[1] = (uint8_t)(v >> 8);
}
static inline void le32_put(void *p, uint32_t v)
{
	le16_put(p, (uint16_t)v);
	le16_put((uint8_t *)p + 2, (uint16_t)(v >> 16));
}
static inline void le64_put(void *p, uint64_t v)
{
	le32_put(p, (uint32_t)v);
	le32_put((uint8_t *)p + 4, (uint32_t)(v >> 32));
}
/* n of 1, 2, 4 or 8 bytes as a number, and back; other sizes take the low n <= 8 bytes. */
static inline uint64_t le_get(const void *p, unsigned int n)
{
	uint64_t v = 0;
	for (unsigned int i = 0; i < n && i < 8; i++)
		v |= (uint64_t)((const uint8_t *)p)[i] << (8 * i);
	return v;
}
static inline void le_put(void *p, unsigned int n, uint64_t v)
{
	for (unsigned int i = 0; i < n; i++)
		((uint8_t *)p)[i] = (uint8_t)(i < 8 ? v >> (8 * i) : 0);
}

static inline uint16_t be16_get(const void *p)
{
	return __builtin_bswap16(le16_get(p));
}
static inline uint32_t be32_get(const void *p)
{
	return __builtin_bswap32(le32_get(p));
}
static inline uint64_t be64_get(const void *p)
{
	return __builtin_bswap64(le64_get(p));
}
static inline void be16_put(void *p, uint16_t v)
{
	le16_put(p, __builtin_bswap16(v));
}
static inline void be32_put(void *p, uint32_t v)
{
	le32_put(p, __builtin_bswap32(v));
}
static inline void be64_put(void *p, uint64_t v)
{
	le64_put(p, __builtin_bswap64(v));
}

/* Each returns true when the result does not fit, as the compiler's builtins do. */
#define add_overflows(out, a, b) __builtin_add_overflow((a), (b), (out))
#define mul_overflows(out, a, b) __builtin_mul_overflow((a), (b), (out))

static inline bool is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}
/* align is a power of two; the caller has made sure that rounding up does not wrap. */
static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}
static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}
static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}
static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}
/* Does [a, a+an) meet [b, b+bn)? Lengths of zero meet nothing; ranges do not wrap. */
static inline bool ranges_meet(uint64_t a, uint64_t an, uint64_t b, uint64_t bn)
{
	return an && bn && a < b + bn && b < a + an;
}

/* Bitmaps of 64-bit words. */
#define BITMAP_WORDS(n) (((n) + 63) / 64)
static inline bool bit_get(const uint64_t *map, size_t i)
{
	return map[i / 64] >> (i % 64) & 1;
}
static inline void bit_set(uint64_t *map, size_t i)
{
	map[i / 64] |= 1ull << (i % 64);
}
static inline void bit_clear(uint64_t *map, size_t i)
{
	map[i / 64] &= ~(1ull << (i % 64));
}
