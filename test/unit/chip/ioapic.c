/* SPDX-License-Identifier: Apache-2.0 */
/* The IOAPIC as a driver sees it: registers, edges, levels and their ends. */
#include "test.h"

#include "chip/ioapic.h"
#include "fakeboard.h"

#define BASE 0xfec00000ull
#define MASKED (1u << 16)
#define LEVEL (1u << 15)
#define REMOTE_IRR (1u << 14)
#define LOGICAL (1u << 11)

static const struct ioapic_conf conf = { .at.place[0] = { FIXED_MMIO, BASE } };

static void mmio_set(uint64_t addr, uint32_t v)
{
	uint8_t b[4];

	le32_put(b, v);
	bus_write(fake.board.mmio, addr, b, 4);
}
static uint32_t reg(uint32_t n)
{
	uint8_t b[4];

	mmio_set(BASE, n);
	bus_read(fake.board.mmio, BASE + 0x10, b, 4);
	return le32_get(b);
}
static void reg_set(uint32_t n, uint32_t v)
{
	mmio_set(BASE, n);
	mmio_set(BASE + 0x10, v);
}
static void pin_set(uint32_t pin, uint32_t high, uint32_t low)
{
	reg_set(0x11 + 2 * pin, high);
	reg_set(0x10 + 2 * pin, low);
}
static void pin(uint32_t gsi, bool level)
{
	irq_pin(fake.board.irqs, gsi, level);
}

TEST(registers_are_those_of_a_24_pin_82093aa)
{
	uint8_t b[8];

	fake_begin();
	fake_add(&ioapic_class, &conf);
	assert_int_equal(reg(1), 0x00170011);
	assert_int_equal(reg(0), 0);
	reg_set(0, 0xffffffff);
	assert_int_equal(reg(0), 0x0f000000);
	assert_int_equal(reg(2), 0x0f000000);
	for (uint32_t i = 0; i < 24; i++) {
		assert_int_equal(reg(0x10 + 2 * i), MASKED);
		assert_int_equal(reg(0x11 + 2 * i), 0);
	}
	assert_int_equal(reg(0x40), 0xffffffff);
	reg_set(0x40, 0);
	reg_set(0xff, 0);
	reg_set(1, 0);
	assert_int_equal(reg(1), 0x00170011);
	bus_read(fake.board.mmio, BASE + 8, b, 8);
	assert_int_equal(le64_get(b), 0);
	assert_int_equal(fake.sets, 0);
	fake_end();
}

TEST(an_edge_sends_one_message)
{
	fake_begin();
	fake_add(&ioapic_class, &conf);
	pin_set(4, 3u << 24, 0x31);
	pin(4, true);
	assert_int_equal(fake.msis, 1);
	assert_int_equal(fake.msi[0].addr, 0xfee03000);
	assert_int_equal(fake.msi[0].data, 0x31);
	pin(4, true);
	pin(4, false);
	assert_int_equal(fake.msis, 1);
	pin(4, true);
	assert_int_equal(fake.msis, 2);
	assert_int_equal(fake.routes, 0);
	fake_end();
}

TEST(an_edge_while_masked_arrives_once_when_unmasked)
{
	fake_begin();
	fake_add(&ioapic_class, &conf);
	irq_pulse(fake.board.irqs, 4);
	irq_pulse(fake.board.irqs, 4);
	pin_set(4, 0, MASKED | 0x31);
	assert_int_equal(fake.msis, 0);
	pin_set(4, 0, 0x31);
	pin_set(4, 0, MASKED | 0x31);
	pin_set(4, 0, 0x31);
	assert_int_equal(fake.msis, 1);
	fake_end();
}

TEST(a_level_interrupts_again_after_its_end_while_it_is_high)
{
	fake_begin();
	fake_add(&ioapic_class, &conf);
	pin_set(9, 0, LEVEL | 0x40);
	pin(9, true);
	assert_int_equal(fake.msis, 1);
	assert_int_equal(fake.msi[0].data, 0x40 | LEVEL | 1 << 14);
	assert_int_equal(reg(0x10 + 18), LEVEL | REMOTE_IRR | 0x40);
	pin(9, false);
	pin(9, true);
	assert_int_equal(fake.msis, 1);
	irq_eoi(fake.board.irqs, 0x41);
	assert_int_equal(fake.msis, 1);
	irq_eoi(fake.board.irqs, 0x40);
	assert_int_equal(fake.msis, 2);
	pin(9, false);
	irq_eoi(fake.board.irqs, 0x40);
	assert_int_equal(fake.msis, 2);
	assert_int_equal(reg(0x10 + 18), LEVEL | 0x40);
	fake_end();
}

TEST(the_hypervisor_knows_level_pins_even_while_they_are_masked)
{
	fake_begin();
	fake_add(&ioapic_class, &conf);
	pin_set(9, 0, LEVEL | 0x40);
	assert_int_equal(fake_route(9)->data, 0x40 | LEVEL | 1 << 14);
	pin(9, true);
	pin_set(9, 0, MASKED | LEVEL | 0x40);
	assert_non_null(fake_route(9));
	irq_eoi(fake.board.irqs, 0x40);
	assert_int_equal(fake.msis, 1);
	pin_set(9, 0, LEVEL | 0x40);
	assert_int_equal(fake.msis, 2);
	assert_int_equal(fake.sets, 1);
	pin_set(9, 0, 0x40);
	assert_null(fake_route(9));
	assert_int_equal(reg(0x10 + 18) & REMOTE_IRR, 0);
	fake_end();
}

TEST(the_guest_cannot_write_what_is_read_only)
{
	fake_begin();
	fake_add(&ioapic_class, &conf);
	pin_set(9, 0xffffffff, 0xffffffff & ~MASKED & ~0x700u);
	assert_int_equal(reg(0x10 + 18), 0x0000a8ff);
	assert_int_equal(reg(0x11 + 18), 0xffff0000);
	fake_end();
}

TEST(destinations_are_carried_whole)
{
	fake_begin();
	fake_add(&ioapic_class, &conf);
	pin_set(4, 0x81u << 24, LOGICAL | 0x31);
	irq_pulse(fake.board.irqs, 4);
	assert_int_equal(fake.msi[0].addr, 0xfee81004);
	/* APIC id 0x2a5: its bits 14..8 stand at 55..49 of the entry and 11..5 of the address */
	pin_set(4, 0xa5u << 24 | 2 << 17, 0x31);
	irq_pulse(fake.board.irqs, 4);
	assert_int_equal(fake.msi[1].addr, 0xfeea5000 | 2 << 5);
	/* lowest priority asks for redirection */
	pin_set(4, 1u << 24, 0x131);
	irq_pulse(fake.board.irqs, 4);
	assert_int_equal(fake.msi[2].addr, 0xfee01008);
	assert_int_equal(fake.msi[2].data, 0x131);
	fake_end();
}

TEST(registers_take_harm_without_harm)
{
	fake_begin();
	fake_add(&ioapic_class, &conf);
	fake_hammer(fake.board.mmio, BASE - 8, 0x30, 100000);
	for (uint32_t i = 0; i < 1000; i++) {
		reg_set(i & 0xff, i * 0x9e3779b9);
		pin(i % 40, i & 1);
		irq_eoi(fake.board.irqs, (uint8_t)i);
	}
	fake_end();
}

static void *pins_run(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2000; i++) {
		irq_pulse(fake.board.irqs, 4);
		irq_eoi(fake.board.irqs, 0x31);
	}
	return NULL;
}

TEST(pins_and_registers_work_at_once)
{
	pthread_t t;

	fake_begin();
	fake_add(&ioapic_class, &conf);
	assert_int_equal(pthread_create(&t, NULL, pins_run, NULL), 0);
	for (uint32_t i = 0; i < 2000; i++)
		pin_set(4, 0, (i & 1 ? MASKED : 0) | (i & 2 ? LEVEL : 0) | 0x31);
	pthread_join(t, NULL);
	fake_end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(registers_are_those_of_a_24_pin_82093aa),
		T(an_edge_sends_one_message),
		T(an_edge_while_masked_arrives_once_when_unmasked),
		T(a_level_interrupts_again_after_its_end_while_it_is_high),
		T(the_hypervisor_knows_level_pins_even_while_they_are_masked),
		T(the_guest_cannot_write_what_is_read_only),
		T(destinations_are_carried_whole),
		T(registers_take_harm_without_harm),
		T(pins_and_registers_work_at_once),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
