/* SPDX-License-Identifier: Apache-2.0 */
/* RAM that shows a file: what is given back of it is zeros, is gone, and stays so in a file of its own. */
#include "mem/gmem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"
#include "mem/pagemap.h"
#include "mem/ramfile.h"
#include "test.h"

#define PAGE KIB(4)
#define PAGES 96u
#define FRONT 32u /* those of the first zone */
#define STEPS 3000

static void nobody(void *arg, const char *why)
{
	(void)arg;
	fail_msg("%s", why);
}

/* Page n begins with n + 1, but each third is a hole. */
static int file_of(uint64_t pages)
{
	int fd = memfd_create("shown", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(pages * PAGE)), 0);
	for (uint64_t n = 0; n < pages; n++) {
		uint64_t word = n + 1;

		if (n % 3)
			assert_int_equal(pwrite(fd, &word, sizeof(word), (off_t)(n * PAGE)),
					 sizeof(word));
	}
	return fd;
}

/* Two zones that adjoin, of which all but the last eight pages show fd. */
static struct gmem *shown(int fd)
{
	const struct backing_args b = { .mergeable = true };
	struct err e = { 0 };
	struct gmem *m;

	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(gmem_add(m, GPA(0), FRONT * PAGE, &b, &e), 0);
	assert_int_equal(gmem_add(m, GPA(FRONT * PAGE), (PAGES - FRONT) * PAGE, &b, &e), 0);
	assert_int_equal(gmem_set_source(m, fd, nobody, NULL, &e), 0);
	assert_int_equal(gmem_may_map(m, GPA(0), PAGES * PAGE, &e), 0);
	assert_int_equal(gmem_map_file(m, GPA(0), (PAGES - 8) * PAGE, 0, &e), 0);
	return m;
}

static void model_of_file(uint64_t *model)
{
	for (uint64_t n = 0; n < PAGES; n++)
		model[n] = n % 3 && n < PAGES - 8 ? n + 1 : 0;
}

static void check(const struct gmem *m, const uint64_t *model)
{
	for (uint64_t n = 0; n < PAGES; n++) {
		uint64_t word;

		assert_int_equal(gmem_read(m, GPA(n * PAGE), &word, sizeof(word)), 0);
		assert_int_equal(word, model[n]);
	}
}

/* Written down it is the same. Returns the room that it takes. */
static uint64_t check_saved(const struct gmem *m, const uint64_t *model)
{
	int fd = memfd_create("saved", MFD_CLOEXEC);
	struct err e = { 0 };
	struct stat st;
	uint64_t word;

	assert_int_equal(ftruncate(fd, (off_t)(PAGES * PAGE)), 0);
	assert_int_equal(ramfile_save(m, GPA(0), PAGES * PAGE, fd, 0, NULL, &e), 0);
	assert_int_equal(fstat(fd, &st), 0);
	for (uint64_t n = 0; n < PAGES; n++) {
		assert_int_equal(pread(fd, &word, sizeof(word), (off_t)(n * PAGE)), sizeof(word));
		assert_int_equal(word, model[n]);
	}
	close(fd);
	return (uint64_t)st.st_blocks * 512;
}

static uint64_t random_number(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

TEST(what_is_given_back_of_a_shown_file_is_zeros)
{
	int fd = file_of(PAGES);
	struct gmem *m = shown(fd);
	uint64_t model[PAGES];

	model_of_file(model);
	assert_true(gmem_is_shown(m, GPA(0)));
	assert_false(gmem_is_shown(m, GPA((PAGES - 8) * PAGE)));
	for (int i = 0; i < STEPS; i++) {
		uint64_t n = random_number() % PAGES, word = random_number();
		uint64_t len = min_u64(PAGES - n, random_number() % (i % 16 ? 3 : 40) + 1);
		struct err e = { 0 };

		if (i % 300 == 0) {
			check_saved(m, model);
			gmem_free(m);
			m = shown(fd);
			model_of_file(model);
		}
		if (i % 2) {
			assert_int_equal(gmem_write(m, GPA(n * PAGE), &word, sizeof(word)), 0);
			model[n] = word;
		} else {
			assert_int_equal(gmem_discard(m, GPA(n * PAGE), len * PAGE, &e), 0);
			memset(model + n, 0, len * sizeof(model[0]));
		}
		if (i % 300 > 200)
			check(m, model);
	}
	gmem_free(m);
	close(fd);
}

/* Bytes of [0, len) that are nobody else's. */
static uint64_t own(const struct gmem *m, uint64_t len)
{
	uint64_t sum = 0, n;
	static struct pagemap p;

	pagemap_open(&p);
	for (unsigned int i = 0; i < gmem_regions(m); i++) {
		const struct gmem_region *r = gmem_region(m, i);

		for (uint64_t at = 0; at < r->size && r->base.v + at < len; at += n)
			if (pagemap_is(&p, r->host + at, r->size - at, PAGEMAP_OWN, &n))
				sum += n;
	}
	pagemap_close(&p);
	return sum;
}

TEST(what_is_given_back_of_a_shown_file_is_gone)
{
	const uint64_t zeros[PAGES] = { 0 };
	int fd = file_of(PAGES);
	struct gmem *m = shown(fd);
	struct err e = { 0 };

	for (uint64_t n = 0; n < PAGES; n++)
		assert_int_equal(gmem_write(m, GPA(n * PAGE + 8), "x", 1), 0);
	assert_int_equal(own(m, PAGES * PAGE), PAGES * PAGE);
	/* over the border of two zones, then to the end, then all */
	assert_int_equal(gmem_discard(m, GPA((FRONT - 10) * PAGE), 20 * PAGE, &e), 0);
	assert_int_equal(own(m, PAGES * PAGE), (PAGES - 20) * PAGE);
	assert_int_equal(gmem_discard(m, GPA(80 * PAGE), 16 * PAGE, &e), 0);
	assert_int_equal(own(m, PAGES * PAGE), (PAGES - 36) * PAGE);
	assert_int_equal(gmem_discard(m, GPA(0), PAGES * PAGE, &e), 0);
	assert_int_equal(own(m, PAGES * PAGE), 0);
	assert_false(gmem_is_shown(m, GPA(0)));
	assert_int_equal(check_saved(m, zeros), 0);
	/* nobody needs the file any more */
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(gmem_check_source(m, &e), 0);
	gmem_free(m);
	close(fd);
}

TEST(locked_pages_of_a_shown_file_are_zeros_and_stay_locked)
{
	int fd = file_of(PAGES);
	struct gmem *m = shown(fd);
	unsigned char *host = (unsigned char *)gmem_region(m, 0)->host;
	struct err e = { 0 };
	uint64_t word;

	if (mlock2(host + 3 * PAGE, 4 * PAGE, MLOCK_ONFAULT) < 0)
		skip(); /* nothing may be locked here */
	assert_int_equal(gmem_discard(m, GPA(2 * PAGE), 3 * PAGE, &e), 0);
	for (uint64_t n = 1; n < 7; n++) {
		assert_int_equal(gmem_read(m, GPA(n * PAGE), &word, sizeof(word)), 0);
		assert_int_equal(word, n >= 2 && n < 5 ? 0 : n % 3 ? n + 1 : 0);
	}
	assert_int_equal(madvise(host + 3 * PAGE, 4 * PAGE, MADV_DONTNEED), -1);
	gmem_free(m);
	close(fd);
}

/* Every second page, of so many that the kernel does not have a mapping for each. */
TEST(pages_in_more_pieces_than_there_are_mappings_are_zeros_too)
{
	const struct backing_args b = { 0 };
	uint64_t size = MIB(288), word = 7;
	int fd = memfd_create("many", MFD_CLOEXEC);
	struct err e = { 0 };
	struct gmem *m;

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	for (uint64_t at = 0; at < size; at += MIB(1))
		assert_int_equal(pwrite(fd, &word, sizeof(word), (off_t)at), sizeof(word));
	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(gmem_add(m, GPA(0), size, &b, &e), 0);
	assert_int_equal(gmem_set_source(m, fd, nobody, NULL, &e), 0);
	assert_int_equal(gmem_map_file(m, GPA(0), size, 0, &e), 0);
	for (uint64_t at = 0; at < size; at += 2 * PAGE)
		assert_int_equal(gmem_discard(m, GPA(at), PAGE, &e), 0);
	/* the last are kept, as zeros */
	assert_true(own(m, size) > 0);
	for (uint64_t at = 0; at < size; at += MIB(1)) {
		assert_int_equal(gmem_read(m, GPA(at), &word, sizeof(word)), 0);
		assert_int_equal(word, 0);
	}
	/* there is room for other mappings, and for large pieces */
	assert_true(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	word = own(m, size);
	assert_int_equal(gmem_discard(m, GPA(size - MIB(32) + PAGE), MIB(31), &e), 0);
	assert_true(own(m, size) < word - MIB(15));
	assert_int_equal(gmem_discard(m, GPA(0), size, &e), 0);
	assert_int_equal(own(m, size), 0);
	gmem_free(m);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_is_given_back_of_a_shown_file_is_zeros),
		T(what_is_given_back_of_a_shown_file_is_gone),
		T(locked_pages_of_a_shown_file_are_zeros_and_stay_locked),
		T(pages_in_more_pieces_than_there_are_mappings_are_zeros_too),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
