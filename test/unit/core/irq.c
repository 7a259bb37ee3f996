/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt routes: pins, lazy message vectors, and a table that changes only when something
 * did. */
#include "test.h"

#include "fakeboard.h"

TEST(pins_are_handed_out_from_five_up)
{
	struct err e = { 0 };
	uint32_t gsi;

	fake_begin();
	for (uint32_t want = 5; want < IRQ_PINS; want++) {
		assert_int_equal(irq_pin_alloc(fake.board.irqs, &gsi, &e), 0);
		assert_int_equal(gsi, want);
	}
	assert_int_equal(irq_pin_alloc(fake.board.irqs, &gsi, &e), -1);
	fake_end();
}

TEST(a_pulse_goes_up_and_down)
{
	fake_begin();
	irq_pulse(fake.board.irqs, 7);
	irq_pulse(fake.board.irqs, IRQ_PINS);
	assert_int_equal(fake_rises, 1);
	assert_int_equal(fake_pins, 0);
	fake_end();
}

TEST(a_vector_costs_nothing_until_it_is_routed)
{
	struct irq_vec v = { .fd = -1 };
	struct err e = { 0 };

	fake_begin();
	irq_vec_mask(&v);
	irq_vec_fire(&v);
	assert_int_equal(fake.sets, 0);
	assert_int_equal(irq_vec_route(&v, fake.board.irqs, 0xfee00000, 0x41, &e), 0);
	assert_int_equal(v.gsi, IRQ_PINS);
	assert_int_equal(fake.irqfds, 1);
	assert_int_equal(fake_route(IRQ_PINS)->data, 0x41);
	irq_vec_fire(&v);
	assert_int_equal(fake_events(), 0x41);
	irq_vec_fini(&v);
	assert_int_equal(fake.irqfds, 0);
	assert_int_equal(fake.routes, 0);
	irq_vec_fini(&v);
	fake_end();
}

TEST(the_table_is_set_only_on_a_change)
{
	struct irq_vec v = { .fd = -1 };
	struct err e = { 0 };

	fake_begin();
	for (int i = 0; i < 3; i++)
		assert_int_equal(irq_vec_route(&v, fake.board.irqs, 0xfee00000, 0x41, &e), 0);
	assert_int_equal(fake.sets, 1);
	irq_vec_mask(&v);
	irq_vec_mask(&v);
	assert_int_equal(fake.sets, 2);
	assert_int_equal(fake.routes, 0);
	irq_pin_route(fake.board.irqs, 4, 0xfee00000, 0x20, true);
	assert_int_equal(fake.sets, 2);
	irq_pin_route(fake.board.irqs, 4, 0xfee00000, 0x8020, false);
	irq_pin_route(fake.board.irqs, IRQ_PINS, 0xfee00000, 0x8020, false);
	assert_int_equal(fake.sets, 3);
	assert_int_equal(fake_route(4)->data, 0x8020);
	irq_vec_fini(&v);
	fake_end();
}

TEST(a_gsi_is_used_again)
{
	struct irq_vec v[100] = { 0 };
	struct err e = { 0 };

	fake_begin();
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(irq_vec_route(&v[i], fake.board.irqs, 0xfee00000, i + 1, &e), 0);
		assert_int_equal(v[i].gsi, IRQ_PINS + i);
	}
	assert_int_equal(fake.routes, 100);
	irq_vec_fini(&v[30]);
	v[30] = (struct irq_vec){ 0 };
	assert_int_equal(irq_vec_route(&v[30], fake.board.irqs, 0xfee00000, 7, &e), 0);
	assert_int_equal(v[30].gsi, IRQ_PINS + 30);
	for (uint32_t i = 0; i < 100; i++)
		irq_vec_fini(&v[i]);
	assert_int_equal(fake.routes, 0);
	fake_end();
}

TEST(a_refused_table_leaves_the_route_as_it_was)
{
	struct irq_vec v = { .fd = -1 };
	struct err e = { 0 };

	fake_begin();
	assert_int_equal(irq_vec_route(&v, fake.board.irqs, 0xfee00000, 0x41, &e), 0);
	fake.refuse = true;
	assert_int_equal(irq_vec_route(&v, fake.board.irqs, 0xfee00000, 0x42, &e), -1);
	assert_int_equal(v.data, 0x41);
	fake.refuse = false;
	assert_int_equal(irq_vec_route(&v, fake.board.irqs, 0xfee00000, 0x42, &e), 0);
	assert_int_equal(fake_route(v.gsi)->data, 0x42);
	irq_vec_fini(&v);
	fake_end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(pins_are_handed_out_from_five_up),
		T(a_pulse_goes_up_and_down),
		T(a_vector_costs_nothing_until_it_is_routed),
		T(the_table_is_set_only_on_a_change),
		T(a_gsi_is_used_again),
		T(a_refused_table_leaves_the_route_as_it_was),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
