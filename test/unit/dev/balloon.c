/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The balloon: which pages go back to the host and which stay, whose numbers are told when, and what
 * a driver finds that takes it over, resets it or numbers its queues by other features. virtio 1.3
 * §5.5.
 */
#include "conf/conf.h"

#include "test.h"

#include <sys/mman.h>

#include "base/json.h"
#include "dev/balloon.h"
#include "virtio/drive.h"

#define F_STATS 2ull
#define F_HINTS 8ull
#define F_REPORTING 32ull
#define ALL ~0ull
#define PAGES (RAM_SIZE / KIB(4))

static void up(struct rig *r, const struct balloon_conf *c, uint64_t features)
{
	rig_init(r);
	rig_add(r, &balloon_class, c);
	drv_start(r, features);
	rig_turn(r, 3);
}

/* Is page n in the host's memory? */
static bool is_there(struct rig *r, uint64_t n)
{
	unsigned char in;

	assert_int_equal(mincore((char *)gmem_region(r->mem, 0)->host + n * KIB(4), KIB(4), &in),
			 0);
	return in & 1;
}

static void touch_all(struct rig *r)
{
	/* not where rings are */
	for (uint64_t n = PAGES / 2; n < PAGES; n++)
		mem_wr(r, n * KIB(4) + 8, 1, 1);
}

static void send(struct rig *r, uint16_t q, const uint32_t *pfns, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		mem_wr(r, BUF + 4ull * i, 4, pfns[i]);
	drv_desc(r, q, 0, BUF, 4 * n, 0, 0);
	drv_offer(r, q, 0);
	drv_kick(r, q);
	rig_turn(r, 3);
}

static uint64_t count(struct rig *r, const char *key)
{
	uint64_t n[64];
	const struct desc *d = balloon_class.dev.counters;

	dev_count(r->d, n);
	for (uint32_t i = 0; i < d->count; i++)
		if (!strcmp(d->fields[i].key, key))
			return n[i];
	fail_msg("no counter %s", key);
	return 0;
}

TEST(pages_that_are_given_leave_the_host_and_no_others)
{
	static const uint32_t pfns[] = {
		900, 901, 902, 911, 910, 909, 1000, 1000, PAGES, 0xffffffff
	};
	const struct balloon_conf c = { .size = MIB(1) };
	struct rig r;

	up(&r, &c, ALL);
	touch_all(&r);
	send(&r, 0, pfns, ARRAY_LEN(pfns));
	assert_int_equal(drv_used(&r, 0), 1);
	for (uint32_t n = PAGES / 2; n < PAGES; n++) {
		bool given = (n >= 900 && n <= 902) || (n >= 909 && n <= 911) || n == 1000;

		assert_int_equal(is_there(&r, n), !given);
	}
	assert_int_equal(count(&r, "failures"), 2);
	assert_int_equal(count(&r, "inflate_bytes"), 8 * KIB(4));
	assert_int_equal(drv_status(&r), 15);
	rig_fini(&r);
}

TEST(a_report_is_given_as_far_as_it_is_whole_pages)
{
	const struct balloon_conf c = { .size = 0, .free_page_reporting = true };
	struct rig r;

	up(&r, &c, ALL);
	touch_all(&r);
	drv_desc(&r, 3, 0, 900 * KIB(4) + 1, KIB(4), F_WRITE | F_NEXT, 1);
	drv_desc(&r, 3, 1, 910 * KIB(4), KIB(8), F_WRITE | F_NEXT, 2);
	drv_desc(&r, 3, 2, 912 * KIB(4), KIB(4) + 5, F_WRITE, 0);
	drv_offer(&r, 3, 0);
	drv_kick(&r, 3);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 3), 1);
	for (uint32_t n = PAGES / 2; n < PAGES; n++)
		assert_int_equal(is_there(&r, n), n < 910 || n > 912);
	assert_int_equal(count(&r, "report_bytes"), KIB(16) + 5);
	rig_fini(&r);
}

TEST(queues_are_numbered_by_the_features_that_were_agreed)
{
	const struct balloon_conf c = { .size = 0, .free_page_reporting = true };
	struct rig r;

	up(&r, &c, F_REPORTING);
	touch_all(&r);
	drv_desc(&r, 2, 0, 910 * KIB(4), KIB(8), F_WRITE, 0);
	drv_offer(&r, 2, 0);
	drv_kick(&r, 2);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 2), 1);
	assert_false(is_there(&r, 911));
	/* the fourth is nothing then */
	drv_desc(&r, 3, 0, 920 * KIB(4), KIB(8), F_WRITE, 0);
	drv_offer(&r, 3, 0);
	drv_kick(&r, 3);
	rig_turn(&r, 3);
	assert_true(is_there(&r, 920));
	assert_int_equal(drv_status(&r), 15);
	rig_fini(&r);
}

/* --- hints --- */

static uint32_t number(struct rig *r)
{
	return (uint32_t)rd(r, AT_CONFIG + 8, 4);
}

static uint16_t said;
static void say(struct rig *r, uint16_t q, uint32_t n)
{
	mem_wr(r, BUF, 4, n);
	drv_desc(r, q, 0, BUF, 4, 0, 0);
	drv_offer(r, q, 0);
	drv_kick(r, q);
	assert_int_equal(drv_used(r, q), ++said);
}

/* Answered when the doorbell returns: the loop has no turn of its own here. */
static bool hint(struct rig *r, uint16_t q, uint64_t page)
{
	mem_wr(r, page * KIB(4), 1, 1);
	drv_desc(r, q, 0, page * KIB(4), KIB(8), F_WRITE, 0);
	drv_offer(r, q, 0);
	drv_kick(r, q);
	assert_int_equal(drv_used(r, q), ++said);
	return !is_there(r, page);
}

static const struct balloon_conf hinting = { .free_page_hinting = true,
					     .free_page_reporting = true };

TEST(hints_are_taken_of_the_run_that_was_asked_for_before_the_doorbell_returns)
{
	struct err e = { 0 };
	struct rig r;
	uint32_t n;

	said = 0;
	up(&r, &hinting, ALL);
	assert_int_equal(number(&r), 0);
	assert_false(hint(&r, 3, 910));
	rig_ok(balloon_reclaim(r.d, &e));
	n = number(&r);
	assert_true(n >= 2);
	assert_false(hint(&r, 3, 910)); /* not begun */
	say(&r, 3, n + 1);
	assert_false(hint(&r, 3, 910));
	say(&r, 3, n);
	assert_true(hint(&r, 3, 910));
	say(&r, 3, 0);
	assert_int_equal(number(&r), 1);
	assert_false(hint(&r, 3, 920));
	say(&r, 3, n); /* a run is once */
	assert_false(hint(&r, 3, 920));
	assert_int_equal(count(&r, "hint_bytes"), KIB(8));
	assert_int_equal(count(&r, "hint_runs"), 1);
	rig_fini(&r);
}

TEST(a_run_is_replaced_by_another_and_ends_with_its_driver)
{
	struct err e = { 0 };
	struct rig r;
	uint32_t n;

	said = 0;
	up(&r, &hinting, F_HINTS); /* without statistics it is the third queue */
	rig_ok(balloon_reclaim(r.d, &e));
	n = number(&r);
	say(&r, 2, n);
	assert_true(hint(&r, 2, 910));
	rig_ok(balloon_reclaim(r.d, &e));
	assert_true(number(&r) > n);
	assert_false(hint(&r, 2, 912));
	say(&r, 2, 0);
	assert_true(number(&r) > n);
	say(&r, 2, number(&r));
	assert_true(hint(&r, 2, 912));
	drv_reset(&r);
	assert_int_equal(number(&r), 0);
	assert_int_equal(balloon_reclaim(r.d, &e), -1);
	assert_int_equal(e.kind, ERR_STATE);
	said = 0;
	drv_start(&r, ALL);
	assert_false(hint(&r, 3, 914));
	rig_fini(&r);
}

TEST(doorbells_of_hints_are_never_muted)
{
	for (int events = 0; events < 2; events++) {
		struct err e = { 0 };
		struct rig r;

		said = 0;
		up(&r, &hinting, F_STATS | F_HINTS | (events ? VF_EVENT_IDX : 0));
		rig_ok(balloon_reclaim(r.d, &e));
		say(&r, 3, number(&r));
		for (uint64_t i = 0; i < 20; i++) {
			assert_true(hint(&r, 3, 900 + 2 * i));
			if (events)
				assert_int_equal(mem_rd(&r, Q_USED(3) + 4 + 8ull * r.size, 2),
						 said);
			else
				assert_int_equal(mem_rd(&r, Q_USED(3), 2), 0);
		}
		rig_fini(&r);
	}
}

TEST(without_the_option_nobody_is_asked)
{
	const struct balloon_conf c = { .free_page_reporting = true };
	struct err e = { 0 };
	struct rig r;

	up(&r, &c, ALL);
	assert_int_equal(balloon_reclaim(r.d, &e), -1);
	assert_int_equal(e.kind, ERR_ABSENT);
	rig_fini(&r);
}

static void tell_stats(struct rig *r, uint16_t head, uint64_t free)
{
	mem_wr(r, BUF, 2, 4);
	mem_wr(r, BUF + 2, 8, free);
	mem_wr(r, BUF + 10, 2, 999); /* of a later standard */
	mem_wr(r, BUF + 12, 8, 1);
	mem_wr(r, BUF + 20, 2, 5); /* cut short */
	drv_desc(r, 2, head, BUF, 24, 0, 0);
	drv_offer(r, 2, head);
	drv_kick(r, 2);
	rig_turn(r, 3);
}

TEST(the_guests_numbers_are_fetched_when_somebody_looks)
{
	const struct balloon_conf c = { .size = 0 };
	struct rig r;

	up(&r, &c, ALL);
	tell_stats(&r, 0, 77);
	rig_turn(&r, 5);
	assert_int_equal(drv_used(&r, 2), 0);
	assert_int_equal(count(&r, "guest_free_bytes"), 77);
	assert_int_equal(count(&r, "guest_total_bytes"), 0);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 2), 1);
	assert_true(drv_pending(&r, 2));
	tell_stats(&r, 0, 88);
	/* not again within a second */
	assert_int_equal(count(&r, "guest_free_bytes"), 88);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 2), 1);
	/* who tells without being asked gets the former back */
	tell_stats(&r, 1, 99);
	assert_int_equal(drv_used(&r, 2), 2);
	assert_int_equal(count(&r, "stats_ops"), 3);
	rig_fini(&r);
}

TEST(numbers_that_lie_here_survive_a_pause)
{
	const struct balloon_conf c = { .size = 0 };
	struct err e = { 0 };
	struct rig r;

	up(&r, &c, ALL);
	tell_stats(&r, 0, 77);
	assert_int_equal(vdev_quiesce(r.d, &e), 0);
	vdev_resume(r.d);
	rig_turn(&r, 5);
	assert_int_equal(drv_used(&r, 2), 0);
	assert_int_equal(count(&r, "guest_free_bytes"), 77);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 2), 1);
	rig_fini(&r);
}

TEST(a_new_size_is_told_and_nonsense_is_refused)
{
	const struct balloon_conf c = { .size = MIB(1) };
	struct err e = { 0 };
	struct rig r;

	up(&r, &c, ALL);
	assert_int_equal(rd(&r, AT_CONFIG, 4), 256);
	assert_int_equal(balloon_resize(r.d, MIB(2), &e), 0);
	assert_int_equal(rd(&r, AT_CONFIG, 4), 512);
	assert_true(drv_pending(&r, 3));
	assert_int_equal(balloon_resize(r.d, MIB(2) + 1, &e), -1);
	assert_int_equal(e.kind, ERR_BAD);
	assert_int_equal(balloon_resize(r.d, RAM_SIZE, &e), -1);
	assert_int_equal(rd(&r, AT_CONFIG, 4), 512);
	/* the target is not the driver's to write */
	wr(&r, AT_CONFIG, 4, 1);
	assert_int_equal(rd(&r, AT_CONFIG, 4), 512);
	wr(&r, AT_CONFIG + 4, 4, 300);
	assert_int_equal(balloon_actual(r.d), 300 * KIB(4));
	assert_int_equal(count(&r, "actual_bytes"), 300 * KIB(4));
	drv_reset(&r);
	assert_int_equal(balloon_actual(r.d), 0);
	assert_int_equal(rd(&r, AT_CONFIG + 4, 4), 0);
	rig_fini(&r);
}

TEST(features_are_those_that_were_asked_for)
{
	static const struct {
		bool oom, reports;
		uint64_t features;
		uint32_t queues;
	} rows[] = { { false, false, F_STATS, 3 },
		     { true, false, F_STATS | 4, 3 },
		     { false, true, F_STATS | F_REPORTING, 4 } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct balloon_conf c = { .deflate_on_oom = rows[i].oom,
						.free_page_reporting = rows[i].reports };
		struct rig r;

		up(&r, &c, ALL);
		assert_int_equal(drv_offered(&r) & 0xff, rows[i].features);
		assert_int_equal(rd(&r, R_NUM_Q, 2), rows[i].queues);
		rig_fini(&r);
	}
}

TEST(a_request_of_too_many_pages_needs_a_reset)
{
	const struct balloon_conf c = { .size = 0 };
	struct rig r;

	up(&r, &c, ALL);
	drv_desc(&r, 0, 0, BUF, 65540, 0, 0);
	drv_offer(&r, 0, 0);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	assert_int_equal(drv_status(&r), 15 | 64);
	drv_start(&r, ALL);
	send(&r, 1, &(uint32_t){ 900 }, 1);
	assert_int_equal(drv_used(&r, 1), 1);
	rig_fini(&r);
}

TEST(saved_and_made_again_it_is_the_same)
{
	const struct balloon_conf c = { .size = MIB(1) };
	struct err e = { 0 };
	struct json *j, *k;
	struct rig r;

	up(&r, &c, ALL);
	tell_stats(&r, 0, 77);
	assert_int_equal(balloon_resize(r.d, MIB(2), &e), 0);
	wr(&r, AT_CONFIG + 4, 4, 300);
	vdev_stop(vdev_of(r.d));
	j = dev_save(r.d);
	dev_remove(r.d);
	assert_int_equal(rig_add_saved(&r, &balloon_class, &c, j, &e), 0);
	k = dev_save(r.d);
	assert_true(json_equal_to(j, k));
	json_put(j);
	json_put(k);
	assert_int_equal(rd(&r, AT_CONFIG, 4), 512);
	assert_int_equal(rd(&r, AT_CONFIG + 4, 4), 300);
	vdev_start(vdev_of(r.d));
	rig_turn(&r, 3);
	assert_int_equal(count(&r, "guest_free_bytes"), 77);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(pages_that_are_given_leave_the_host_and_no_others),
		T(a_report_is_given_as_far_as_it_is_whole_pages),
		T(queues_are_numbered_by_the_features_that_were_agreed),
		T(hints_are_taken_of_the_run_that_was_asked_for_before_the_doorbell_returns),
		T(a_run_is_replaced_by_another_and_ends_with_its_driver),
		T(doorbells_of_hints_are_never_muted),
		T(without_the_option_nobody_is_asked),
		T(the_guests_numbers_are_fetched_when_somebody_looks),
		T(numbers_that_lie_here_survive_a_pause),
		T(a_new_size_is_told_and_nonsense_is_refused),
		T(features_are_those_that_were_asked_for),
		T(a_request_of_too_many_pages_needs_a_reset),
		T(saved_and_made_again_it_is_the_same),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
