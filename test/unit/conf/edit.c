/* SPDX-License-Identifier: Apache-2.0 */
/* Devices put into a configuration and dropped from it. */
#include "conf/edit.h" /* first: its rows use T for themselves */
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static struct disk_conf disk_of(const char *id)
{
	struct disk_conf d;

	desc_default(&disk_desc, &d);
	d.id = mem_str(id);
	d.path = mem_str("/x");
	return d;
}

static void put_disk(struct vm_conf *c, const char *id)
{
	struct disk_conf d = disk_of(id);
	struct err e = { 0 };

	assert_int_equal(conf_put(c, &disk_desc, &d, &e), 0);
	assert_null(d.id);
	assert_null(d.path);
}

static void drop(struct vm_conf *c, const char *id)
{
	struct conf_dev d;

	assert_true(conf_find(&d, c, id));
	conf_drop(c, &d);
	assert_false(conf_find(&d, c, id));
}

TEST(what_is_put_is_the_last_of_its_section)
{
	struct conf_dev d = { 0 };
	struct vm_conf c;

	conf_default(&c);
	put_disk(&c, "a");
	put_disk(&c, "b");
	assert_int_equal(c.disks.count, 2);
	conf_find_last(&d, &c, &disk_desc);
	assert_string_equal(*d.id, "b");
	assert_ptr_equal(d.conf, &c.disks.items[1]);
	conf_free(&c);
}

TEST(a_gap_closes_wherever_it_is)
{
	struct vm_conf c, copy;

	conf_default(&c);
	put_disk(&c, "a");
	put_disk(&c, "b");
	put_disk(&c, "c");
	drop(&c, "b");
	assert_string_equal(c.disks.items[0].id, "a");
	assert_string_equal(c.disks.items[1].id, "c");
	drop(&c, "a");
	drop(&c, "c");
	assert_int_equal(c.disks.count, 0);
	conf_copy(&copy, &c); /* nothing is left that both would free */
	conf_free(&copy);
	put_disk(&c, "d");
	conf_free(&c);
}

TEST(there_is_one_vsock_at_most)
{
	struct vsock_conf s;
	struct vm_conf c;
	struct err e = { 0 };

	conf_default(&c);
	for (int i = 0; i < 2; i++) {
		desc_default(&vsock_desc, &s);
		s.id = mem_str(i ? "second" : "first");
		assert_int_equal(conf_put(&c, &vsock_desc, &s, &e), -i);
	}
	assert_int_equal(e.kind, ERR_TAKEN);
	desc_free(&vsock_desc, &s);
	drop(&c, "first");
	assert_null(c.vsock);
	conf_free(&c);
}

TEST(descriptors_of_a_card_are_closed_with_it)
{
	struct net_conf n;
	struct vm_conf c;
	struct err e = { 0 };
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	conf_default(&c);
	desc_default(&net_desc, &n);
	n.id = mem_str("n");
	n.fds.items = mem_array(1, sizeof(int));
	n.fds.items[0] = fd;
	n.fds.count = 1;
	assert_int_equal(conf_put(&c, &net_desc, &n, &e), 0);
	drop(&c, "n");
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	conf_free(&c);
}

TEST(a_slot_that_is_kept_is_said)
{
	struct conf_dev d;
	struct vm_conf c;

	conf_default(&c);
	put_disk(&c, "a");
	assert_true(conf_find(&d, &c, "a"));
	assert_int_equal(d.slot, -1);
	conf_keep_slot(&d, 7);
	assert_true(conf_find(&d, &c, "a"));
	assert_int_equal(d.slot, 7);
	assert_int_equal(conf_slot(disk, &c.disks.items[0]), 7);
	conf_free(&c);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_is_put_is_the_last_of_its_section),
		T(a_gap_closes_wherever_it_is),
		T(there_is_one_vsock_at_most),
		T(descriptors_of_a_card_are_closed_with_it),
		T(a_slot_that_is_kept_is_said),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
