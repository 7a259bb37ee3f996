/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device whose loop is a thread, as in life: doorbells, resets and config accesses from
 * vCPU threads while it works. For the thread sanitizer, and for what only a race can show.
 */
#include "test.h"

#include <unistd.h>

#include "virtio/echo.h"

#define ROUNDS 300

static void up(struct rig *r)
{
	struct err e = { 0 };

	rig_init(r);
	rig_ok(loop_start(r->b.io, "io", &e));
	rig_add(r, &echo_class, NULL);
}

/* As echo_offer, but the bytes are there before the device runs: it may be reading them already. */
static void offer(struct rig *r, uint16_t q, uint16_t head)
{
	drv_desc(r, q, head, BUF, 16, F_NEXT, (uint16_t)(head + 1));
	drv_desc(r, q, head + 1u, BUF + 0x100, 16, F_WRITE, 0);
	drv_offer(r, q, head);
}

static bool becomes_used(struct rig *r, uint16_t q, uint16_t n)
{
	for (int i = 0; i < 20000 && drv_used(r, q) != n; i++)
		usleep(100);
	return drv_used(r, q) == n;
}

TEST(a_device_works_across_threads)
{
	struct rig r;

	up(&r);
	drv_start(&r, VF_EVENT_IDX);
	for (uint16_t i = 1; i <= ROUNDS; i++) {
		offer(&r, 0, (uint16_t)(i % 8 * 2));
		drv_kick(&r, 0);
		assert_true(becomes_used(&r, 0, i));
	}
	rig_fini(&r);
}

TEST(after_a_reset_nothing_of_the_old_requests_touches_memory)
{
	static const uint8_t canary[64] = { 0x5a, 0x5a, 0x5a };
	uint8_t now[64];
	struct rig r;

	up(&r);
	for (int i = 0; i < ROUNDS; i++) {
		drv_start(&r, 0);
		for (uint16_t head = 0; head < 16; head = (uint16_t)(head + 2))
			offer(&r, 0, head);
		drv_kick(&r, 0);
		if (i % 3)
			usleep(20);
		drv_reset(&r);
		rig_ok(gmem_write(r.mem, GPA(BUF + 0x100), canary, sizeof(canary)));
		rig_ok(gmem_write(r.mem, GPA(Q_USED(0)), canary, sizeof(canary)));
		usleep(100);
		rig_ok(gmem_read(r.mem, GPA(BUF + 0x100), now, sizeof(now)));
		assert_memory_equal(now, canary, sizeof(now));
		rig_ok(gmem_read(r.mem, GPA(Q_USED(0)), now, sizeof(now)));
		assert_memory_equal(now, canary, sizeof(now));
	}
	rig_fini(&r);
}

static void *second_vcpu(void *arg)
{
	struct rig *r = arg;

	for (int i = 0; i < ROUNDS * 10; i++) {
		drv_status(r);
		rd(r, AT_CONFIG, 8);
		wr(r, AT_CONFIG + 4, 4, (uint32_t)i);
		drv_kick(r, (uint16_t)(i & 1));
		wr(r, R_Q_SEL, 2, (uint32_t)i & 3);
		wr(r, R_Q_VEC, 2, (uint32_t)i & 3);
		rd(r, AT_ISR, 1);
	}
	return NULL;
}

TEST(a_second_vcpu_at_the_registers_does_no_harm)
{
	pthread_t t;
	struct rig r;

	up(&r);
	assert_int_equal(pthread_create(&t, NULL, second_vcpu, &r), 0);
	for (int i = 0; i < ROUNDS; i++) {
		drv_start(&r, 0);
		drv_kick(&r, 0);
	}
	pthread_join(t, NULL);
	drv_start(&r, 0);
	assert_int_equal(drv_status(&r), 15);
	offer(&r, 1, 0);
	drv_kick(&r, 1);
	assert_true(becomes_used(&r, 1, 1));
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_device_works_across_threads),
		T(after_a_reset_nothing_of_the_old_requests_touches_memory),
		T(a_second_vcpu_at_the_registers_does_no_harm),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
