/* SPDX-License-Identifier: Apache-2.0 */
/* What each kind of memory is to the kernel, by /proc/self/smaps; and that what the host lacks is a
 * sentence. */
#include "mem/backing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"
#include "test.h"

/* Is this one of the two-letter flags of the mapping at host, and no other's? */
static bool has_flag(const void *host, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	bool here = false, found = false;
	char line[512];
	uint64_t from;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (strchr(line, '-') && sscanf(line, "%" SCNx64 "-", &from) == 1)
			here = from == (uintptr_t)host;
		if (here && !strncmp(line, "VmFlags:", 8))
			found = strstr(line + 8, flag);
	}
	fclose(f);
	return found;
}

static struct backing_span map(struct backing *b, uint64_t size, const struct backing_args *a)
{
	struct backing_span s;
	struct err e = { 0 };

	assert_int_equal(backing_open(b, size, a, &e), 0);
	assert_int_equal(backing_span(&s, size, MIB(2), 0, &e), 0);
	assert_int_equal(backing_map(b, s.host, 0, size, &e), 0);
	return s;
}

static void unmap(struct backing *b, struct backing_span *s)
{
	backing_span_drop(s);
	backing_close(b);
}

static void refused(uint64_t size, const struct backing_args *a, const char *word)
{
	struct backing b;
	struct err e = { 0 };
	char line[ERR_TEXT];

	assert_int_equal(backing_open(&b, size, a, &e), -1);
	assert_int_equal(b.fd, -1);
	if (!strstr(err_line(&e, line, sizeof(line)), word))
		fail_msg("no '%s' in: %s", word, line);
}

TEST(each_wish_is_a_flag_of_the_mapping)
{
	static const struct {
		struct backing_args how;
		const char *flag, *without;
	} rows[] = {
		{ { .thp = false }, "nr", "sh" },
		{ { .reserve = BACKING_RESERVE_ALL }, "dd", "nr" },
		{ { .reserve = BACKING_RESERVE_NOTHING }, "nr", "mg" },
		{ { .thp = true }, "hg", "nh" },
		{ { .thp = false }, "nh", "hg" },
		{ { .shared = true }, "nh", "hg" },
		{ { .mergeable = true }, "mg", "hg" },
		{ { .shared = true }, "sh", "mg" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct backing b;
		struct backing_span s = map(&b, MIB(4), &rows[i].how);

		assert_true(has_flag(s.host, rows[i].flag));
		assert_false(has_flag(s.host, rows[i].without));
		assert_int_equal(b.fd >= 0, rows[i].how.shared);
		unmap(&b, &s);
	}
}

/* Clearing 2 MiB for a page that a guest boots from would be the longest step of its start. */
TEST(the_first_page_of_memory_is_a_small_one)
{
	struct backing_args how = { .thp = true };
	unsigned char there[MIB(4) / 4096];
	struct backing b;
	struct backing_span s = map(&b, MIB(4), &how);

	s.host[0] = s.host[8192] = 1;
	assert_int_equal(mincore(s.host, MIB(4), there), 0);
	assert_true(there[0] & there[2] & 1);
	assert_false((there[1] | there[3]) & 1);
	assert_true(has_flag(s.host, "hg"));
	unmap(&b, &s);
}

TEST(a_span_has_guards_and_the_place_that_was_asked_for)
{
	static const uint64_t align[] = { MIB(2), GIB(1) };
	static const uint64_t like[] = { 0, KIB(4), MIB(2) - KIB(4), GIB(3) + MIB(514), GIB(5) };
	int fd[2];

	assert_int_equal(pipe(fd), 0);
	for (size_t i = 0; i < ARRAY_LEN(align); i++) {
		for (size_t k = 0; k < ARRAY_LEN(like); k++) {
			struct backing_span s;
			struct err e = { 0 };

			assert_int_equal(backing_span(&s, MIB(6), align[i], like[k], &e), 0);
			assert_int_equal((uintptr_t)s.host % align[i], like[k] % align[i]);
			assert_true(s.host >= (unsigned char *)s.all + MIB(2));
			assert_true(s.host + s.size + MIB(2) <=
				    (unsigned char *)s.all + s.all_size);
			/* the kernel may not read it, nor may we */
			assert_int_equal(write(fd[1], s.host - 1, 1), -1);
			assert_int_equal(errno, EFAULT);
			assert_int_equal(write(fd[1], s.host + s.size, 1), -1);
			backing_span_drop(&s);
			assert_int_equal(s.all_size, 0);
		}
	}
	close(fd[0]);
	close(fd[1]);
}

TEST(sizes_that_are_no_pages_are_refused)
{
	struct backing_span s;
	struct err e = { 0 };

	refused(0, &(struct backing_args){ 0 }, "multiple");
	refused(KIB(4) + 1, &(struct backing_args){ .shared = true }, "multiple");
	refused(UINT64_MAX & ~0xfffull, &(struct backing_args){ 0 }, "multiple");
	assert_int_equal(backing_span(&s, UINT64_MAX & ~0xfffull, MIB(2), 0, &e), -1);
	assert_int_equal(backing_span(&s, 0, MIB(2), 0, &e), -1);
}

TEST(nobody_can_shorten_memory_that_is_shared)
{
	struct backing_args a = { .shared = true };
	struct err e = { 0 };
	struct backing b;

	assert_int_equal(backing_open(&b, MIB(2), &a, &e), 0);
	assert_int_equal(ftruncate(b.fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(b.fd, MIB(4)), -1);
	backing_close(&b);
	assert_int_equal(b.fd, -1);
}

TEST(files_that_will_not_do_are_refused_by_name)
{
	char dir[] = "/tmp/unit-backing-XXXXXX", path[64];
	struct backing_args a = { .zone = "z", .file = dir };

	assert_non_null(mkdtemp(dir));
	refused(MIB(2), &a, "memory zone z: ");
	refused(MIB(2), &a, "is a directory: name a file in it");
	a.shared = true;
	refused(MIB(2), &a, "is a directory: name a file in it");
	snprintf(path, sizeof(path), "%s/x", dir);
	a.file = path;
	refused(MIB(2), &a, "No such file");
	assert_int_equal(mkfifo(path, 0600), 0);
	refused(MIB(2), &a, "neither a regular file nor a block device");
	unlink(path);
	close(open(path, O_CREAT | O_RDWR, 0600));
	refused(MIB(2), &a, "has 0 bytes and the zone 2097152");
	assert_int_equal(truncate(path, MIB(2)), 0);
	a.hugepages = true;
	refused(MIB(2), &a, "does not consist of such huge pages");
	unlink(path);
	rmdir(dir);
}

/* Room is taken on a disk; where it can not be had, that is said. */
TEST(a_shared_file_full_of_holes_gets_its_room)
{
	char path[] = "./unit-backing-XXXXXX";
	struct backing_args a = { .file = path, .shared = true, .reserve = BACKING_RESERVE_ALL };
	int fd = mkstemp(path);
	struct err e = { 0 };
	struct backing b;
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, MIB(2)), 0);
	assert_int_equal(backing_open(&b, MIB(2), &a, &e), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= MIB(2));
	backing_close(&b);
	/* more than any test machine has is refused, and nothing of it is taken */
	if (ftruncate(fd, (off_t)GIB(1) << 12) == 0) {
		assert_int_equal(backing_open(&b, GIB(1) << 12, &a, &e), -1);
		assert_int_equal(fstat(fd, &st), 0);
		assert_true((uint64_t)st.st_blocks * 512 < MIB(4));
	}
	a.reserve = BACKING_RESERVE_NOTHING;
	assert_int_equal(ftruncate(fd, GIB(8)), 0);
	assert_int_equal(backing_open(&b, GIB(8), &a, &e), 0);
	backing_close(&b);
	close(fd);
	unlink(path);
}

TEST(huge_pages_that_the_host_has_not_are_refused)
{
	struct backing_args a = { .hugepages = true, .hugepage_size = MIB(512) };
	struct backing_span s;
	struct err e = { 0 };
	struct backing b;

	refused(GIB(1), &a, "no huge pages of 512M");
	a.hugepage_size = MIB(2);
	if (backing_open(&b, GIB(512), &a, &e) < 0)
		skip(); /* a host without any */
	assert_int_equal(b.page, MIB(2));
	assert_int_equal(backing_span(&s, GIB(512), MIB(2), 0, &e), 0);
	assert_int_equal(backing_map(&b, s.host, 0, GIB(512), &e), -1);
	assert_non_null(strstr(err_frame(&e, 1), "not so many huge pages of 2M are free"));
	unmap(&b, &s);
}

TEST(a_node_that_the_host_has_not_is_refused)
{
	static const uint32_t nodes[] = { 1023, 1024, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
		struct backing_args a = { .has_host_node = true, .host_node = nodes[i] };
		struct backing_span s;
		struct err e = { 0 };
		struct backing b;

		assert_int_equal(backing_open(&b, MIB(2), &a, &e), 0);
		assert_int_equal(backing_span(&s, MIB(2), MIB(2), 0, &e), 0);
		assert_int_equal(backing_map(&b, s.host, 0, MIB(2), &e), -1);
		assert_int_equal(e.kind, ERR_BAD);
		unmap(&b, &s);
	}
}

TEST(memory_of_node_zero_is_bound_to_it)
{
	struct backing_args a = { .has_host_node = true, .thp = false };
	char line[512], at[32];
	bool bound = false;
	struct backing b;
	struct backing_span s;
	FILE *f = fopen("/proc/self/numa_maps", "r");

	if (!f)
		skip(); /* a kernel without NUMA */
	s = map(&b, MIB(2), &a);
	snprintf(at, sizeof(at), "%lx ", (unsigned long)(uintptr_t)s.host);
	while (fgets(line, sizeof(line), f))
		bound = bound || (!strncmp(line, at, strlen(at)) && strstr(line, "bind:0"));
	fclose(f);
	assert_true(bound);
	unmap(&b, &s);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(each_wish_is_a_flag_of_the_mapping),
		T(the_first_page_of_memory_is_a_small_one),
		T(a_span_has_guards_and_the_place_that_was_asked_for),
		T(sizes_that_are_no_pages_are_refused),
		T(nobody_can_shorten_memory_that_is_shared),
		T(files_that_will_not_do_are_refused_by_name),
		T(a_shared_file_full_of_holes_gets_its_room),
		T(huge_pages_that_the_host_has_not_are_refused),
		T(a_node_that_the_host_has_not_is_refused),
		T(memory_of_node_zero_is_bound_to_it),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
