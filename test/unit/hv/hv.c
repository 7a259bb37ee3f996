/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about the neutral face of the hypervisor (src/hv/hv.c), over a back end that counts. */
#include "test.h"

#include "hv/hv.h"
#include "hv/ops.h"

struct counting {
	struct hv_vm vm;
	int calls;
};

static int count(struct hv_vm *vm)
{
	return ((struct counting *)(void *)vm)->calls++, 0;
}

static int slot(struct hv_vm *vm, uint32_t n, uint64_t gpa, uint64_t size, uintptr_t host,
		bool readonly, struct err *e)
{
	(void)n, (void)gpa, (void)size, (void)host, (void)readonly, (void)e;
	return count(vm);
}

static int ioevent(struct hv_vm *vm, int fd, uint64_t addr, bool is_port, uint32_t size, bool on,
		   struct err *e)
{
	(void)fd, (void)addr, (void)is_port, (void)size, (void)on, (void)e;
	return count(vm);
}

static int irqfd(struct hv_vm *vm, int fd, uint32_t gsi, bool on, struct err *e)
{
	(void)fd, (void)gsi, (void)on, (void)e;
	return count(vm);
}

static int routes(struct hv_vm *vm, const struct hv_irq_route *r, uint32_t n, struct err *e)
{
	(void)r, (void)n, (void)e;
	return count(vm);
}

static const struct hv_vm_ops ops = {
	.slot = slot,
	.ioevent = ioevent,
	.irqfd = irqfd,
	.set_routes = routes,
};

static void take_back(struct hv_vm *vm)
{
	struct err e = { 0 };

	assert_int_equal(hv_ioevent(vm, 3, 0x1000, false, 0, false, &e), 0);
	assert_int_equal(hv_irqfd(vm, 3, 24, false, &e), 0);
	assert_int_equal(hv_set_routes(vm, NULL, 0, &e), 0);
	assert_int_equal(hv_slot_drop(vm, 0, &e), 0);
}

TEST(what_a_retired_vm_takes_back_goes_with_it_as_a_whole)
{
	struct counting c = { .vm.ops = &ops };

	take_back(&c.vm);
	assert_int_equal(c.calls, 4);
	hv_vm_retire(&c.vm);
	take_back(&c.vm);
	assert_int_equal(c.calls, 4);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_a_retired_vm_takes_back_goes_with_it_as_a_whole),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
