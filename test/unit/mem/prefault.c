/* SPDX-License-Identifier: Apache-2.0 */
/* After it every page is there, with what was in it; it ends early when it is told to, and what the
 * host can not give is a sentence. */
#include "mem/prefault.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"
#include "test.h"

static unsigned char *pages(uint64_t size, int fd)
{
	unsigned char *p =
		mmap(NULL, size, PROT_READ | PROT_WRITE,
		     fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED, fd, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static uint64_t resident(unsigned char *p, uint64_t size)
{
	unsigned char *in = mem_new(size / KIB(4));
	uint64_t n = 0;

	assert_int_equal(mincore(p, size, in), 0);
	for (uint64_t i = 0; i < size / KIB(4); i++)
		n += in[i] & 1;
	free(in);
	return n * KIB(4);
}

TEST(every_page_of_every_range_is_there_afterwards)
{
	/* of several turns, of one, of less; and one that ends within a turn */
	static const uint64_t size[] = { MIB(96), MIB(32), KIB(4), MIB(33) + KIB(8) };
	struct prefault_range r[ARRAY_LEN(size)];
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(size); i++)
		r[i] = (struct prefault_range){ pages(size[i], -1), size[i], KIB(4) };
	assert_int_equal(prefault(r, ARRAY_LEN(size), NULL, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(size); i++) {
		assert_int_equal(resident(r[i].host, size[i]), size[i]);
		munmap(r[i].host, size[i]);
	}
	assert_int_equal(prefault(r, 0, NULL, &e), 0);
}

TEST(what_a_file_holds_stays)
{
	char path[] = "/tmp/unit-prefault-XXXXXX";
	int fd = mkstemp(path);
	struct prefault_range r;
	struct err e = { 0 };

	unlink(path);
	assert_int_equal(pwrite(fd, "kept", 4, KIB(4)), 4);
	assert_int_equal(ftruncate(fd, KIB(16)), 0);
	r = (struct prefault_range){ pages(KIB(16), fd), KIB(16), KIB(4) };
	assert_int_equal(prefault(&r, 1, NULL, &e), 0);
	assert_memory_equal(r.host + KIB(4), "kept", 4);
	assert_int_equal(r.host[0], 0);
	munmap(r.host, KIB(16));
	close(fd);
}

/* The page behind the end of a file is SIGBUS to those who touch it. */
TEST(pages_that_can_not_be_had_are_a_sentence)
{
	char path[] = "/tmp/unit-prefault-XXXXXX";
	int fd = mkstemp(path);
	struct prefault_range r;
	struct err e = { 0 };

	unlink(path);
	assert_int_equal(ftruncate(fd, KIB(8)), 0);
	r = (struct prefault_range){ pages(KIB(16), fd), KIB(16), KIB(4) };
	assert_int_equal(prefault(&r, 1, NULL, &e), -1);
	assert_int_equal(e.kind, ERR_IO);
	assert_non_null(strstr(err_frame(&e, 0), "run out of pages"));
	munmap(r.host, KIB(16));
	close(fd);
}

static bool at_once(void *arg)
{
	++*(int *)arg;
	return true;
}

TEST(it_is_broken_off_when_asked)
{
	int asked = 0;
	struct work w = { .is_ending = at_once, .arg = &asked };
	struct prefault_range r = { pages(GIB(4), -1), GIB(4), KIB(4) };
	struct err e = { 0 };

	assert_int_equal(prefault(&r, 1, &w, &e), -1);
	assert_int_equal(e.kind, ERR_STATE);
	assert_int_equal(asked, 1);
	assert_int_equal(w.total, GIB(4));
	assert_true(w.done < w.total);
	assert_true(resident(r.host, GIB(4)) < GIB(4));
	munmap(r.host, GIB(4));
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_page_of_every_range_is_there_afterwards),
		T(what_a_file_holds_stays),
		T(pages_that_can_not_be_had_are_a_sentence),
		T(it_is_broken_off_when_asked),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
