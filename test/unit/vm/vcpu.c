/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs that are held and let go, with a guest whose two vCPUs count, on the machine's own /dev/kvm;
 * without it these tests cannot be made and say so.
 */
#include "vm/vcpu.h"

#include <pthread.h>

#include "base/loop.h"
#include "base/mem.h"
#include "mem/gmem.h"
#include "tinyvm.h"
#include "vm/machine.h"
#include "vm/vm.h"

#define SECOND_NS 1000000000ull

struct pair {
	struct tiny tiny;
	struct loop *ctl;
	struct vm *vm;
	struct machine *m;
	struct vcpu *vcpu[2];
};

static void asked(void *arg)
{
	(void)arg;
}

static uint32_t count(const struct pair *p, int i)
{
	uint32_t n = 0;

	assert_int_equal(gmem_read(machine_board(p->m)->mem, GPA(i ? TINY_COUNT_2 : TINY_COUNT), &n,
				   sizeof(n)),
			 0);
	return n;
}

static void counts(const struct pair *p, int i)
{
	uint32_t before = count(p, i);

	for (int n = 0; n < 2000; n++) {
		if (count(p, i) != before)
			return;
		tiny_nap(5000000);
	}
	fail_msg("vCPU %d does not count", i);
}

static void stands(const struct pair *p, int i)
{
	uint32_t before = count(p, i);

	for (int n = 0; n < 4; n++) {
		assert_true(vcpu_stands(p->vcpu[i]));
		tiny_nap(2000000);
		assert_int_equal(count(p, i), before);
	}
}

static void hold(struct vcpu *c)
{
	struct err e = { 0 };

	vcpu_hold(c);
	assert_int_equal(vcpu_wait(c, loop_now_ns() + 10 * SECOND_NS, &e), 0);
}

static void begin(struct pair *p)
{
	const struct vm_up up = { .asked = asked };
	struct err e = { 0 };
	struct vm_conf c;

	tiny_needs_kvm();
	tiny_conf(&p->tiny, &c, tiny_both_count, sizeof(tiny_both_count));
	assert_int_equal(loop_new(&p->ctl, "control", &e), 0);
	assert_int_equal(vm_new(&p->vm, &c, NULL, p->ctl, &up, &e), 0);
	assert_int_equal(vm_boot(p->vm, NULL, &e), 0);
	p->m = vm_machine(p->vm);
	for (uint32_t i = 0; i < 2; i++)
		p->vcpu[i] = machine_vcpu(p->m, i);
	counts(p, 0);
	counts(p, 1);
}

static void finish(struct pair *p)
{
	vm_free(p->vm);
	loop_free(p->ctl);
	tiny_fini(&p->tiny);
}

TEST(one_that_is_held_stands_while_the_others_run)
{
	struct pair p;

	begin(&p);
	for (int i = 0; i < 2; i++) {
		hold(p.vcpu[i]);
		stands(&p, i);
		counts(&p, !i);
		vcpu_release(p.vcpu[i]);
		counts(&p, i);
	}
	finish(&p);
}

TEST(one_that_is_held_twice_stands_until_it_is_released_twice)
{
	struct pair p;

	begin(&p);
	hold(p.vcpu[1]);
	hold(p.vcpu[1]);
	vcpu_release(p.vcpu[1]);
	stands(&p, 1);
	vcpu_release(p.vcpu[1]);
	counts(&p, 1);
	finish(&p);
}

static void *leave(void *arg)
{
	vcpu_leave(arg);
	return NULL;
}

/* It left by somebody's word, while others held it and let it go. */
TEST(one_that_left_comes_again_and_waits_until_it_is_started)
{
	struct err e = { 0 };
	struct pair p;
	pthread_t t;

	begin(&p);
	for (int i = 0; i < 20; i++) {
		uint32_t before;

		assert_int_equal(pthread_create(&t, NULL, leave, p.vcpu[1]), 0);
		vcpu_hold(p.vcpu[1]);
		assert_int_equal(vcpu_wait(p.vcpu[1], loop_now_ns() + 10 * SECOND_NS, &e), 0);
		pthread_join(t, NULL);
		vcpu_release(p.vcpu[1]);
		vcpu_gather(p.vcpu[1]);
		assert_false(p.vcpu[1]->started);
		assert_int_equal(machine_park(p.m, &e), 0);
		machine_unpark(p.m);
		before = count(&p, 1);
		assert_int_equal(hv_vcpu_reset(p.vcpu[1]->hv, &e), 0);
		assert_int_equal(vcpu_start(p.vcpu[1], &vm_conf(p.vm)->cpus, &e), 0);
		counts(&p, 0);
		assert_int_equal(count(&p, 1), before);
	}
	finish(&p);
}

TEST(a_parked_machine_stands_and_its_registers_can_be_read)
{
	struct hv_x86_regs a, b;
	struct err e = { 0 };
	struct pair p;

	begin(&p);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(machine_park(p.m, &e), 0);
		for (int k = 0; k < 2; k++) {
			assert_int_equal(hv_vcpu_get_regs(p.vcpu[k]->hv, &a, &e), 0);
			assert_int_equal(hv_vcpu_get_regs(p.vcpu[k]->hv, &b, &e), 0);
			assert_memory_equal(&a, &b, sizeof(a));
		}
		if (i % 10 == 0)
			stands(&p, i % 2);
		machine_unpark(p.m);
	}
	counts(&p, 0);
	counts(&p, 1);
	finish(&p);
}

TEST(a_machine_ends_while_it_is_held)
{
	struct err e = { 0 };
	struct pair p;

	begin(&p);
	assert_int_equal(machine_park(p.m, &e), 0);
	hold(p.vcpu[0]);
	finish(&p);
}

/* What one of several holders does. */
struct holder {
	const struct pair *p;
	unsigned int seed, times;
};

static void *hold_often(void *arg)
{
	struct holder *h = arg;
	uint64_t end = loop_now_ns() + SECOND_NS / 2;

	for (; loop_now_ns() < end; h->times++) {
		int i = rand_r(&h->seed) % 2;
		struct vcpu *c = h->p->vcpu[i];
		uint32_t before;

		hold(c);
		before = count(h->p, i);
		if (rand_r(&h->seed) % 4 == 0)
			tiny_nap(rand_r(&h->seed) % 200000);
		assert_true(vcpu_stands(c));
		assert_int_equal(count(h->p, i), before);
		vcpu_release(c);
		if (rand_r(&h->seed) % 4 == 0)
			tiny_nap(rand_r(&h->seed) % 200000);
	}
	return NULL;
}

TEST(any_number_may_hold_it_at_any_moment)
{
	struct holder h[4];
	pthread_t t[4];
	struct pair p;

	begin(&p);
	for (unsigned int i = 0; i < 4; i++) {
		h[i] = (struct holder){ .p = &p, .seed = i };
		assert_int_equal(pthread_create(&t[i], NULL, hold_often, &h[i]), 0);
	}
	for (unsigned int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_true(h[i].times > 10);
	}
	counts(&p, 0);
	counts(&p, 1);
	finish(&p);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(one_that_is_held_stands_while_the_others_run),
		T(one_that_is_held_twice_stands_until_it_is_released_twice),
		T(one_that_left_comes_again_and_waits_until_it_is_started),
		T(a_parked_machine_stands_and_its_registers_can_be_read),
		T(a_machine_ends_while_it_is_held),
		T(any_number_may_hold_it_at_any_moment),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
