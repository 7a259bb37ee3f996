/* SPDX-License-Identifier: Apache-2.0 */
/* See touched.h. */
#include "mem/touched.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#define LINE 18u /* no number is longer, nor are both other lines */
#define TEXT_MAX ((TOUCHED_MAX + 4u) * LINE)
#define FIRST "touched 1 "
#define LAST "end "

void touched_fini(struct touched *t)
{
	free(t->piece);
	*t = (struct touched){ 0 };
}

void touched_add(struct touched *t, uint64_t piece)
{
	if (t->count == TOUCHED_MAX || piece > UINT32_MAX)
		return;
	/* room for twice as many, whenever a power of two is reached */
	if (!(t->count & (t->count - 1)))
		t->piece = mem_resize(t->piece, t->count, t->count ? 2 * t->count : 1,
				      sizeof(t->piece[0]));
	t->piece[t->count++] = (uint32_t)piece;
}

/* The number at *at, which a line's end follows. */
static bool number(uint64_t *out, const char **at, unsigned int base)
{
	static const char digits[] = "0123456789abcdef";
	const char *p = *at, *d;
	uint64_t n = 0;

	for (; *p && (d = memchr(digits, *p, base)); p++) {
		if (mul_overflows(&n, n, base) || add_overflows(&n, n, (uint64_t)(d - digits)))
			return false;
	}
	if (p == *at || *p != '\n')
		return false;
	*at = p + 1;
	*out = n;
	return true;
}

static bool starts(const char **at, const char *with)
{
	size_t n = strlen(with);

	if (strncmp(*at, with, n) != 0)
		return false;
	*at += n;
	return true;
}

static bool parse(struct touched *t, const char *at, uint64_t bytes)
{
	uint64_t n, pieces = (bytes + TOUCHED_PIECE - 1) / TOUCHED_PIECE;

	if (!starts(&at, FIRST) || !number(&n, &at, 10) || n != bytes)
		return false;
	while (!starts(&at, LAST)) {
		if (t->count == TOUCHED_MAX || !number(&n, &at, 16) || n >= pieces)
			return false;
		touched_add(t, n);
	}
	return number(&n, &at, 10) && n == t->count && !*at;
}

int touched_parse(struct touched *t, const char *text, uint64_t memory_bytes, struct err *e)
{
	*t = (struct touched){ 0 };
	if (parse(t, text, memory_bytes))
		return 0;
	touched_fini(t);
	return err_set(e, ERR_BAD, "it is no record of what is touched of this memory");
}

int touched_read(struct touched *t, int fd, uint64_t memory_bytes, struct err *e)
{
	AUTO_FREE char *text = NULL;
	struct stat st;

	*t = (struct touched){ 0 };
	if (fstat(fd, &st) < 0)
		return err_os(e, ERR_IO, "look at it");
	if (!S_ISREG(st.st_mode) || st.st_size > TEXT_MAX)
		return err_set(e, ERR_BAD, "it is too large");
	text = mem_new((size_t)st.st_size + 1);
	if (fd_read_at(fd, text, (size_t)st.st_size, 0, e) < 0)
		return -1;
	return touched_parse(t, text, memory_bytes, e);
}

int touched_write(const struct touched *t, int fd, uint64_t memory_bytes, struct err *e)
{
	AUTO_STR struct str s = { 0 };
	size_t len;

	str_add(&s, FIRST "%" PRIu64 "\n", memory_bytes);
	for (uint32_t i = 0; i < t->count; i++)
		str_add(&s, "%" PRIx32 "\n", t->piece[i]);
	str_add(&s, LAST "%" PRIu32 "\n", t->count);
	len = strlen(str_text(&s));
	if (ftruncate(fd, 0) < 0)
		return err_os(e, ERR_IO, "write it");
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(fd, str_text(&s) + done, len - done, (off_t)done);

		if (n < 0 && errno != EINTR)
			return err_os(e, ERR_IO, "write it");
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}
