/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X: what is masked is remembered, what is not arrives, and nothing is made before it is
 * needed. */
#include "test.h"

#include "fakeboard.h"
#include "pci/pci.h"

#define VECTORS 3
#define ENABLE 0x8000
#define MASK_ALL 0x4000

static struct pci_fn f;
static struct msix m;

static void begin(uint16_t count)
{
	static const struct pci_ids ids = { .vendor = 0x1af4, .device = 0x1042 };
	struct err e = { 0 };

	fake_begin();
	pci_fn_init(&f, &ids, NULL);
	fake_sound(msix_init(&m, &f, fake.board.irqs, count, 0, 0x8000, 0x48000, &e), &e);
}

static void end(void)
{
	msix_fini(&m);
	msix_fini(&m);
	pci_fn_fini(&f);
	fake_end();
}

static void ctrl(uint16_t v)
{
	pci_cfg_write(&f, m.cap + 2u, 2, v);
	msix_ctrl_changed(&m);
}
static void entry(uint16_t n, uint32_t data, bool masked)
{
	uint8_t raw[16];

	le64_put(raw, 0xfee01000);
	le32_put(raw + 8, data);
	le32_put(raw + 12, masked);
	msix_table_write(&m, n * 16u, raw, 8);
	msix_table_write(&m, n * 16u + 8, raw + 8, 4);
	msix_table_write(&m, n * 16u + 12, raw + 12, 4);
}
static uint64_t table(uint64_t off, uint32_t len)
{
	uint8_t b[8];

	msix_table_read(&m, off, b, len);
	return le_get(b, len);
}
static uint64_t pba(uint64_t off, uint32_t len)
{
	uint8_t b[8];

	msix_pba_read(&m, off, b, len);
	return le_get(b, len);
}

TEST(the_capability_says_size_and_places)
{
	begin(VECTORS);
	assert_int_equal(pci_cfg_read(&f, m.cap, 1), 0x11);
	assert_int_equal(pci_cfg_read(&f, m.cap + 2u, 2), VECTORS - 1);
	assert_int_equal(pci_cfg_read(&f, m.cap + 4u, 4), 0x8000);
	assert_int_equal(pci_cfg_read(&f, m.cap + 8u, 4), 0x48000);
	ctrl(0xffff);
	assert_int_equal(pci_cfg_read(&f, m.cap + 2u, 2), ENABLE | MASK_ALL | (VECTORS - 1));
	assert_int_equal(table(12, 4), 1);
	end();
}

TEST(masked_vectors_make_nothing)
{
	begin(VECTORS);
	ctrl(ENABLE | MASK_ALL);
	entry(0, 0x41, true);
	entry(1, 0x42, false);
	ctrl(ENABLE);
	assert_int_equal(fake.irqfds, 1);
	assert_int_equal(fake.routes, 1);
	assert_int_equal(fake.sets, 1);
	assert_int_equal(fake.route[0].data, 0x42);
	assert_int_equal(fake.route[0].addr, 0xfee01000);
	end();
}

TEST(an_open_vector_fires)
{
	begin(VECTORS);
	entry(2, 0x43, false);
	ctrl(ENABLE);
	assert_true(msix_enabled(&m));
	msix_fire(&m, 2);
	assert_int_equal(fake_events(), 0x43);
	assert_int_equal(pba(0, 8), 0);
	msix_fire(&m, VECTORS);
	msix_fire(&m, 0xffff);
	assert_int_equal(fake_events(), 0);
	end();
}

TEST(what_fired_while_masked_arrives_when_it_is_unmasked)
{
	begin(VECTORS);
	entry(1, 0x42, false);
	ctrl(ENABLE);
	entry(1, 0x42, true);
	msix_fire(&m, 1);
	assert_int_equal(fake_events(), 0);
	assert_int_equal(pba(0, 4), 2);
	entry(1, 0x55, false);
	assert_int_equal(fake_events(), 0x55);
	assert_int_equal(pba(0, 4), 0);
	end();
}

TEST(the_whole_function_is_masked_and_unmasked)
{
	begin(VECTORS);
	entry(0, 0x41, false);
	entry(1, 0x42, false);
	ctrl(ENABLE | MASK_ALL);
	msix_fire(&m, 0);
	msix_fire(&m, 1);
	assert_int_equal(pba(0, 1), 3);
	entry(1, 0x42, true);
	ctrl(ENABLE);
	assert_int_equal(fake_events(), 0x41);
	assert_int_equal(pba(0, 1), 2);
	end();
}

TEST(a_reset_is_power_on)
{
	begin(VECTORS);
	entry(0, 0x41, false);
	ctrl(ENABLE);
	entry(1, 0x42, true);
	msix_fire(&m, 1);
	msix_reset(&m);
	assert_false(msix_enabled(&m));
	assert_int_equal(fake.routes, 0);
	assert_int_equal(pba(0, 8), 0);
	assert_int_equal(table(0, 8), 0);
	assert_int_equal(table(12, 4), 1);
	end();
}

TEST(a_saved_table_comes_back)
{
	struct msix_state s = { 0 }, again = { 0 };
	struct err e = { 0 };

	begin(70);
	entry(0, 0x41, false);
	ctrl(ENABLE);
	msix_fire(&m, 69);
	msix_save(&m, &s);
	AUTO_JSON struct json *j = desc_to_json(&msix_state_desc, &s);
	assert_int_equal(desc_from_saved(&msix_state_desc, &again, j, 1, &e), 0);
	assert_true(desc_equal(&msix_state_desc, &s, &again));
	end();
	begin(70);
	pci_cfg_write(&f, m.cap + 2u, 2, ENABLE);
	assert_int_equal(msix_load(&m, &again, &e), 0);
	assert_int_equal(fake.route[0].data, 0x41);
	assert_int_equal(pba(8, 1), 0x20);
	entry(69, 0x86, false);
	assert_int_equal(fake_events(), 0x86);
	end();
	begin(3);
	assert_int_equal(msix_load(&m, &again, &e), -1);
	end();
	desc_free(&msix_state_desc, &s);
	desc_free(&msix_state_desc, &again);
	assert_int_equal(desc_uncovered(&msix_state_desc), sizeof(struct msix_state));
}

static void table_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	msix_table_read(arg, off, data, len);
}
static void table_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	msix_table_write(arg, off, data, len);
}
static const struct bus_ops table_ops = { .read = table_read, .write = table_write };

TEST(the_table_takes_harm_without_harm)
{
	struct bus_range r = { .ops = &table_ops, .arg = &m };
	struct err e = { 0 };
	uint8_t b[8];

	begin(VECTORS);
	ctrl(ENABLE);
	fake_sound(bus_add(fake.board.mmio, &r, 0x1000, 0x1000, &e), &e);
	fake_hammer(fake.board.mmio, 0x1000, VECTORS * 16 + 32, 20000);
	for (uint64_t off = 0; off < 64; off++)
		for (uint32_t len = 1; len <= 8; len++)
			msix_pba_read(&m, off, b, len);
	msix_table_read(&m, UINT64_MAX - 3, b, 8);
	msix_pba_read(&m, UINT64_MAX - 3, b, 8);
	bus_drop(&r);
	end();
}

/* One fires, one masks and unmasks; what was fired last arrives in the end. */
static void *fire_run(void *arg)
{
	(void)arg;
	for (int i = 0; i < 5000; i++)
		msix_fire(&m, 1);
	return NULL;
}

TEST(nothing_is_lost_between_firing_and_masking)
{
	pthread_t t;

	begin(VECTORS);
	entry(1, 0x42, false);
	ctrl(ENABLE);
	assert_int_equal(pthread_create(&t, NULL, fire_run, NULL), 0);
	for (int i = 0; i < 2000; i++)
		entry(1, 0x42, i % 2);
	entry(1, 0x42, true);
	fake_events();
	pthread_join(t, NULL);
	msix_fire(&m, 1);
	entry(1, 0x42, false);
	assert_int_equal(fake_events(), 0x42);
	end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(the_capability_says_size_and_places),
		T(masked_vectors_make_nothing),
		T(an_open_vector_fires),
		T(what_fired_while_masked_arrives_when_it_is_unmasked),
		T(the_whole_function_is_masked_and_unmasked),
		T(a_reset_is_power_on),
		T(a_saved_table_comes_back),
		T(the_table_takes_harm_without_harm),
		T(nothing_is_lost_between_firing_and_masking),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
