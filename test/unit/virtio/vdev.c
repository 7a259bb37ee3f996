/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state machine of a virtio device, driven through its registers as a guest would: what is
 * agreed, what runs when, what a reset brings back. virtio 1.3 §2.1, §2.2, §3.1.
 */
#include "test.h"

#include <sched.h>

#include "virtio/echo.h"

static struct echo *up(struct rig *r)
{
	rig_init(r);
	rig_add(r, &echo_class, NULL);
	return echo_of(vdev_of(r->d));
}

TEST(a_driver_that_does_all_right_is_served)
{
	struct rig r;
	struct echo *s = up(&r);

	drv_start(&r, ~0ull);
	assert_int_equal(drv_status(&r), 15);
	assert_int_equal(s->v.features,
			 ECHO_FEATURE | VF_INDIRECT_DESC | VF_EVENT_IDX | VF_VERSION_1);
	assert_int_equal(s->starts, 2);
	assert_int_equal(r.events, 1);
	assert_true(echo_works(&r, 0));
	assert_true(echo_works(&r, 1));
	assert_true(drv_pending(&r, 0));
	rig_fini(&r);
}

TEST(features_that_are_not_offered_are_not_agreed)
{
	struct rig r;
	struct echo *s = up(&r);

	drv_features(&r, VF_VERSION_1 | 1ull << 50);
	assert_int_equal(drv_status(&r), 3);
	wr(&r, R_STATUS, 1, 15);
	assert_int_equal(drv_status(&r), 3);
	assert_int_equal(s->starts, 0);
	rig_fini(&r);
}

TEST(a_driver_without_version_1_is_refused)
{
	struct rig r;

	up(&r);
	drv_features(&r, ECHO_FEATURE);
	assert_int_equal(drv_status(&r), 3);
	rig_fini(&r);
}

TEST(features_do_not_change_once_agreed)
{
	struct rig r;
	struct echo *s = up(&r);

	drv_features(&r, VF_VERSION_1);
	wr(&r, R_DRV_SEL, 4, 0);
	wr(&r, R_DRV_FEAT, 4, ECHO_FEATURE);
	wr(&r, R_STATUS, 1, 11);
	assert_int_equal(s->v.features, VF_VERSION_1);
	assert_int_equal(rd(&r, R_DRV_FEAT, 4), 0);
	rig_fini(&r);
}

TEST(driver_ok_needs_features_ok)
{
	struct rig r;
	struct echo *s = up(&r);

	wr(&r, R_STATUS, 1, 7);
	assert_int_equal(drv_status(&r), 3);
	assert_int_equal(s->starts, 0);
	rig_fini(&r);
}

TEST(status_bits_are_never_cleared_but_by_reset)
{
	struct rig r;

	up(&r);
	drv_start(&r, 0);
	wr(&r, R_STATUS, 1, 1);
	wr(&r, R_STATUS, 1, 64 | 1);
	assert_int_equal(drv_status(&r), 15);
	wr(&r, R_STATUS, 1, 128);
	assert_int_equal(drv_status(&r), 15 | 128);
	drv_reset(&r);
	assert_int_equal(drv_status(&r), 0);
	rig_fini(&r);
}

TEST(a_doorbell_before_driver_ok_is_harmless_and_not_lost)
{
	struct rig r;
	struct echo *s = up(&r);

	drv_features(&r, VF_VERSION_1);
	drv_queue(&r, 0);
	drv_queue(&r, 1);
	echo_offer(&r, 0, 0);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	assert_int_equal(s->chains, 0);
	assert_int_equal(drv_used(&r, 0), 0);
	drv_ok(&r);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 0), 1);
	rig_fini(&r);
}

TEST(a_queue_left_out_does_not_run)
{
	struct rig r;
	struct echo *s = up(&r);

	drv_features(&r, VF_VERSION_1);
	drv_queue(&r, 1);
	drv_ok(&r);
	assert_int_equal(s->starts, 1);
	drv_kick(&r, 0);
	assert_true(echo_works(&r, 1));
	rig_fini(&r);
}

TEST(rings_in_a_wrong_place_need_a_reset_and_start_nothing)
{
	struct rig r;
	struct echo *s = up(&r);

	drv_features(&r, VF_VERSION_1);
	wr(&r, R_CFG_VEC, 2, 2);
	drv_queue(&r, 0);
	drv_queue(&r, 1);
	wr(&r, R_Q_SEL, 2, 1);
	s->v.queues[1].conf.used = RAM_SIZE; /* as if it had been set before enabling */
	drv_ok(&r);
	assert_int_equal(drv_status(&r), 15 | 64);
	assert_int_equal(s->starts, 0);
	assert_true(drv_pending(&r, 2));
	assert_int_equal(rd(&r, AT_ISR, 1) & 2, 2);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	drv_start(&r, 0);
	assert_true(echo_works(&r, 0));
	rig_fini(&r);
}

TEST(a_size_over_the_queues_own_needs_a_reset)
{
	static const uint16_t sizes[] = { 0, 3, 128, 0x8000, 0xffff };
	struct rig r;

	up(&r);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		r.size = sizes[i];
		drv_start(&r, 0);
		assert_int_equal(drv_status(&r), 15 | 64);
		r.size = 16;
		drv_start(&r, 0);
		assert_true(echo_works(&r, 1));
	}
	rig_fini(&r);
}

TEST(a_broken_ring_is_quiet_until_reset_and_works_after)
{
	struct rig r;
	struct echo *s = up(&r);

	drv_start(&r, 0);
	drv_offer(&r, 0, 0xfff);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	assert_int_equal(drv_status(&r), 15 | 64);
	assert_true(drv_pending(&r, 2));
	assert_false(echo_works(&r, 1));
	assert_false(echo_works(&r, 0));
	drv_start(&r, 0);
	assert_int_equal(drv_status(&r), 15);
	assert_true(echo_works(&r, 0));
	assert_true(echo_works(&r, 1));
	assert_int_equal(s->starts, s->stops + 2);
	rig_fini(&r);
}

TEST(a_reset_forgets_everything)
{
	struct rig r;
	struct echo *s = up(&r);

	drv_start(&r, ECHO_FEATURE);
	assert_true(echo_works(&r, 0));
	wr(&r, AT_CONFIG + 4, 4, 0x11223344);
	wr(&r, R_Q_SEL, 2, 1);
	drv_reset(&r);
	assert_int_equal(s->stops, 2);
	assert_int_equal(s->resets, 2); /* the first came with the driver's start */
	assert_int_equal(s->v.features, 0);
	assert_int_equal(rd(&r, R_DRV_FEAT, 4), 0);
	assert_int_equal(rd(&r, R_Q_SEL, 2), 0);
	assert_int_equal(rd(&r, R_Q_ENABLE, 2), 0);
	assert_int_equal(rd(&r, R_Q_SIZE, 2), ECHO_SIZE);
	assert_int_equal(rd(&r, R_Q_DESC, 8), 0);
	assert_int_equal(rd(&r, R_Q_VEC, 2), 0xffff);
	assert_int_equal(rd(&r, R_CFG_VEC, 2), 0xffff);
	assert_int_equal(rd(&r, AT_CONFIG + 4, 4), 0xeeeeeeee);
	assert_int_equal(r.events, 2);
	drv_start(&r, 0);
	assert_true(echo_works(&r, 0));
	rig_fini(&r);
}

TEST(config_bytes_change_where_the_mask_allows)
{
	struct rig r;
	struct echo *s = up(&r);

	wr(&r, AT_CONFIG, 8, 0);
	assert_int_equal(rd(&r, AT_CONFIG, 4), le32_get("virt"));
	assert_int_equal(rd(&r, AT_CONFIG + 4, 4), 0);
	assert_int_equal(s->wrote, 1);
	wr(&r, AT_CONFIG + 4, 4, 0);
	assert_int_equal(s->wrote, 1); /* nothing changed */
	wr(&r, AT_CONFIG + 6, 4, ~0u); /* over the end */
	assert_int_equal(rd(&r, AT_CONFIG + 6, 4), 0xffff);
	wr(&r, AT_CONFIG + 0xff8, 8, ~0ull);
	assert_int_equal(rd(&r, AT_CONFIG + 0xff8, 8), 0);
	rig_fini(&r);
}

TEST(a_change_of_config_is_told_when_the_driver_runs)
{
	struct rig r;
	struct echo *s = up(&r);
	uint8_t gen;

	pthread_mutex_lock(&s->v.lock);
	vdev_config_changed(&s->v);
	pthread_mutex_unlock(&s->v.lock);
	drv_start(&r, 0);
	assert_false(drv_pending(&r, 2));
	gen = (uint8_t)rd(&r, R_GEN, 1);
	pthread_mutex_lock(&s->v.lock);
	vdev_config_changed(&s->v);
	pthread_mutex_unlock(&s->v.lock);
	assert_true(drv_pending(&r, 2));
	assert_int_equal((uint8_t)rd(&r, R_GEN, 1), (uint8_t)(gen + 1));
	rig_fini(&r);
}

static void *write_for_ever(void *arg)
{
	struct rig *r = arg;

	while (!__atomic_load_n(&r->events, __ATOMIC_RELAXED))
		wr(r, AT_CONFIG, 8, 0);
	return NULL;
}

TEST(what_a_driver_may_not_write_the_device_changes_under_its_hands)
{
	struct rig r;
	struct echo *s = up(&r);
	pthread_t t;

	memset(s->v.config_mask, 0, sizeof(s->v.config_mask));
	assert_int_equal(pthread_create(&t, NULL, write_for_ever, &r), 0);
	for (int i = 0; i < 20000; i++) {
		vdev_config_flip(&s->v, 3, 0, 1);
		sched_yield();
		assert_int_equal(__atomic_load_n(&s->v.config[3], __ATOMIC_RELAXED) & 1, 1);
		vdev_config_flip(&s->v, 3, 1, 0);
	}
	__atomic_store_n(&r.events, 1, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	rig_fini(&r);
}

TEST(stopping_and_starting_keeps_the_place_in_the_rings)
{
	struct rig r;
	struct echo *s = up(&r);

	drv_start(&r, VF_EVENT_IDX);
	assert_true(echo_works(&r, 0));
	vdev_stop(&s->v);
	echo_offer(&r, 0, 8);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 0), 1);
	vdev_start(&s->v);
	vdev_start(&s->v); /* twice is fine */
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 0), 2);
	assert_int_equal(s->starts, 4);
	assert_true(echo_works(&r, 0));
	rig_fini(&r);
}

TEST(no_queues_and_too_many_are_refused)
{
	struct rig r;
	struct echo *s = up(&r);
	struct vdev v = { .dev = s->v.dev };
	struct err e = { 0 };

	assert_int_equal(vdev_queues(&v, 0, 64, &e), -1);
	assert_int_equal(vdev_queues(&v, 1025, 64, &e), -1);
	assert_int_equal(vdev_queues(&v, 1, 100, &e), -1);
	assert_int_equal(vdev_queues(&v, 1, 0, &e), -1);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_driver_that_does_all_right_is_served),
		T(features_that_are_not_offered_are_not_agreed),
		T(a_driver_without_version_1_is_refused),
		T(features_do_not_change_once_agreed),
		T(driver_ok_needs_features_ok),
		T(status_bits_are_never_cleared_but_by_reset),
		T(a_doorbell_before_driver_ok_is_harmless_and_not_lost),
		T(a_queue_left_out_does_not_run),
		T(rings_in_a_wrong_place_need_a_reset_and_start_nothing),
		T(a_size_over_the_queues_own_needs_a_reset),
		T(a_broken_ring_is_quiet_until_reset_and_works_after),
		T(a_reset_forgets_everything),
		T(config_bytes_change_where_the_mask_allows),
		T(a_change_of_config_is_told_when_the_driver_runs),
		T(what_a_driver_may_not_write_the_device_changes_under_its_hands),
		T(stopping_and_starting_keeps_the_place_in_the_rings),
		T(no_queues_and_too_many_are_refused),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
