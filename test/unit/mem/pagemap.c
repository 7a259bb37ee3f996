/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that are there are told from those that are not, and our own from a file's. */
#include "mem/pagemap.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "test.h"

#define PAGE KIB(4)
#define PAGES 10000u /* more than are asked about at a time */

static struct pagemap p;

static unsigned char *map(int flags, int fd)
{
	unsigned char *m = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);

	assert_true(m != MAP_FAILED);
	madvise(m, PAGES * PAGE, MADV_NOHUGEPAGE);
	return m;
}

/* Every page by itself, and in runs. */
static void check(const unsigned char *m, enum pagemap_kind kind, bool (*want)(uint64_t page))
{
	uint64_t n;

	pagemap_open(&p);
	assert_true(p.fd >= 0);
	for (uint64_t i = 0; i < PAGES; i++) {
		assert_int_equal(pagemap_is(&p, (uintptr_t)m + i * PAGE, PAGE, kind, &n), want(i));
		assert_int_equal(n, PAGE);
	}
	pagemap_forget(&p);
	for (uint64_t i = 0; i < PAGES; i += n / PAGE) {
		bool is = pagemap_is(&p, (uintptr_t)m + i * PAGE, (PAGES - i) * PAGE, kind, &n);

		assert_true(n && n % PAGE == 0 && i + n / PAGE <= PAGES);
		for (uint64_t k = i; k < i + n / PAGE; k++)
			assert_int_equal(is, want(k));
	}
	pagemap_close(&p);
}

static bool some(uint64_t page)
{
	return page % 7 == 3 || (page > 5000 && page < 9500);
}

TEST(pages_that_were_touched_are_there)
{
	unsigned char *m = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);

	for (uint64_t i = 0; i < PAGES; i++)
		if (some(i))
			m[i * PAGE] = 1;
	check(m, PAGEMAP_ANY, some);
	check(m, PAGEMAP_OWN, some);
	munmap(m, PAGES * PAGE);
}

static bool none(uint64_t page)
{
	(void)page;
	return false;
}

TEST(a_files_pages_are_not_our_own_until_they_are_written)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	unsigned char *m, sum = 0;

	assert_int_equal(ftruncate(fd, PAGES * PAGE), 0);
	for (uint64_t i = 0; i < PAGES; i++)
		assert_int_equal(pwrite(fd, "x", 1, (off_t)(i * PAGE)), 1);
	m = map(MAP_PRIVATE, fd);
	for (uint64_t i = 0; i < PAGES; i += 2)
		sum += m[i * PAGE];
	assert_int_equal(sum, (unsigned char)('x' * PAGES / 2));
	check(m, PAGEMAP_OWN, none);
	for (uint64_t i = 0; i < PAGES; i++)
		if (some(i))
			m[i * PAGE] = 1;
	check(m, PAGEMAP_OWN, some);
	munmap(m, PAGES * PAGE);
	close(fd);
}

TEST(where_nothing_is_known_all_pages_are_there)
{
	uint64_t n;

	p = (struct pagemap){ .fd = -1 };
	assert_true(pagemap_is(&p, 0x10000, MIB(1), PAGEMAP_OWN, &n));
	assert_int_equal(n, MIB(1));
	p.fd = memfd_create("empty", MFD_CLOEXEC);
	assert_true(pagemap_is(&p, 0x10000, MIB(1), PAGEMAP_ANY, &n));
	assert_int_equal(p.fd, -1);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(pages_that_were_touched_are_there),
		T(a_files_pages_are_not_our_own_until_they_are_written),
		T(where_nothing_is_known_all_pages_are_there),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
