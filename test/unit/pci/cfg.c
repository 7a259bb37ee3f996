/* SPDX-License-Identifier: Apache-2.0 */
/* Config space of one function: masks, capabilities, saving. */
#include "test.h"

#include "fakeboard.h"
#include "pci/pci.h"

static const struct pci_ids ids = { .vendor = 0x1af4,
				    .device = 0x1041,
				    .subvendor = 0x1af4,
				    .subdevice = 1,
				    .class = 2,
				    .revision = 1 };

static struct pci_fn f;
static uint32_t wrote_off, wrote_len;
static void wrote(struct pci_fn *fn, uint32_t off, uint32_t len)
{
	(void)fn;
	wrote_off = off;
	wrote_len = len;
}
static void reading(struct pci_fn *fn, uint32_t off, uint32_t len)
{
	(void)len;
	if (off == 0xfc)
		fn->cfg[0xfc] = 0x77;
}
static const struct pci_fn_ops ops = { .wrote = wrote, .reading = reading };

TEST(ids_are_where_they_belong_and_stay)
{
	pci_fn_init(&f, &ids, NULL);
	for (uint32_t i = 0; i < 64; i += 4)
		pci_cfg_write(&f, i, 4, ~0u);
	assert_int_equal(pci_cfg_read(&f, 0, 4), 0x10411af4);
	assert_int_equal(pci_cfg_read(&f, 8, 4), 0x02000001);
	assert_int_equal(pci_cfg_read(&f, 0x2c, 4), 0x00011af4);
	assert_int_equal(pci_cfg_read(&f, 6, 2), 0);
	assert_int_equal(pci_cfg_read(&f, 0x3c, 2), 0x00ff);
	pci_fn_fini(&f);
}

TEST(capabilities_are_chained_at_dwords)
{
	const uint8_t body[] = { 1, 2, 3 }, mask[] = { 0, 0xff, 0x0f };
	uint8_t a, b;

	pci_fn_init(&f, &ids, &ops);
	a = pci_cap_add(&f, 9, body, NULL, 3);
	b = pci_cap_add(&f, 0x11, body, mask, 3);
	assert_int_equal(pci_cfg_read(&f, 0x34, 1), a);
	assert_int_equal(pci_cfg_read(&f, a, 4), (uint32_t)b << 8 | 0x02010009);
	assert_int_equal(pci_cfg_read(&f, b, 2), 0x11);
	assert_int_equal(b, a + 8);
	assert_int_equal(pci_cfg_read(&f, 6, 2), 0x10);
	pci_cfg_write(&f, b, 4, ~0u);
	assert_int_equal(pci_cfg_read(&f, b, 4), 0xff010011);
	assert_int_equal(wrote_off, b);
	assert_int_equal(wrote_len, 4);
	pci_cfg_write(&f, b + 4u, 1, 0xff);
	assert_int_equal(pci_cfg_read(&f, b + 4u, 1), 0x0f);
	assert_int_equal(pci_cfg_read(&f, 0xfc, 1), 0x77);
	pci_fn_fini(&f);
}

TEST(bits_that_one_clears_are_cleared_by_one)
{
	pci_fn_init(&f, &ids, NULL);
	f.cfg[7] = 0xf9;
	f.w1c[7] = 0xf9;
	pci_cfg_write(&f, 7, 1, 0x81);
	assert_int_equal(pci_cfg_read(&f, 7, 1), 0x78);
	pci_fn_fini(&f);
}

TEST(an_access_across_a_dword_is_nobodys)
{
	pci_fn_init(&f, &ids, NULL);
	assert_int_equal(pci_cfg_read(&f, 3, 2), ~0u);
	assert_int_equal(pci_cfg_read(&f, 0, 3), ~0u);
	assert_int_equal(pci_cfg_read(&f, PCI_CFG_SIZE, 4), ~0u);
	pci_cfg_write(&f, PCI_CFG_SIZE, 4, 0);
	pci_cfg_write(&f, 0xfffffffe, 4, 0);
	pci_fn_fini(&f);
}

TEST(saved_bytes_come_back_and_foreign_ones_are_refused)
{
	struct pci_fn_state *s = NEW(struct pci_fn_state), *again = NEW(struct pci_fn_state);
	struct err e = { 0 };

	pci_fn_init(&f, &ids, NULL);
	pci_cfg_write(&f, 0x3c, 1, 0x42);
	pci_fn_save(&f, s);
	AUTO_JSON struct json *j = desc_to_json(&pci_fn_state_desc, s);
	assert_int_equal(desc_from_saved(&pci_fn_state_desc, again, j, 1, &e), 0);
	assert_true(desc_equal(&pci_fn_state_desc, s, again));
	pci_fn_fini(&f);
	pci_fn_init(&f, &ids, NULL);
	assert_int_equal(pci_fn_load(&f, again, &e), 0);
	assert_int_equal(pci_cfg_read(&f, 0x3c, 1), 0x42);
	again->cfg[0] ^= 1;
	assert_int_equal(pci_fn_load(&f, again, &e), -1);
	again->cfg[0] ^= 1;
	again->slot = 3;
	assert_int_equal(pci_fn_load(&f, again, &e), -1);
	assert_int_equal(desc_uncovered(&pci_fn_state_desc), sizeof(struct pci_fn_state));
	pci_fn_fini(&f);
	free(s);
	free(again);
}

static const struct bus_ops nothing;

static void made(enum pci_bar_kind first, enum pci_bar_kind second)
{
	pci_fn_init(&f, &ids, NULL);
	pci_bar_set(&f, 0, first, false, 0x80000, &nothing, NULL);
	if (second != PCI_BAR_NONE)
		pci_bar_set(&f, 1, second, false, 0x1000, &nothing, NULL);
}

/* A device that was plugged while the guest ran has a wide one, and is made with a low one later. */
TEST(a_bar_is_as_wide_as_it_was_saved_if_there_is_room)
{
	static const enum pci_bar_kind kinds[] = { PCI_BAR_MEM32, PCI_BAR_MEM64 };
	struct pci_fn_state *s = NEW(struct pci_fn_state);
	struct err e = { 0 };

	for (int i = 0; i < 2; i++) {
		made(kinds[i], PCI_BAR_NONE);
		pci_fn_save(&f, s);
		pci_fn_fini(&f);
		made(kinds[!i], PCI_BAR_NONE);
		assert_int_equal(pci_fn_load(&f, s, &e), 0);
		pci_cfg_write(&f, 0x10, 4, ~0u);
		pci_cfg_write(&f, 0x14, 4, ~0u);
		assert_int_equal(pci_cfg_read(&f, 0x10, 4), i ? 0xfff80004 : 0xfff80000);
		assert_int_equal(pci_cfg_read(&f, 0x14, 4), i ? ~0u : 0);
		pci_fn_fini(&f);
	}
	made(PCI_BAR_MEM32, PCI_BAR_MEM32);
	assert_int_equal(pci_fn_load(&f, s, &e), -1);
	pci_fn_fini(&f);
	free(s);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(ids_are_where_they_belong_and_stay),
		T(capabilities_are_chained_at_dwords),
		T(bits_that_one_clears_are_cleared_by_one),
		T(an_access_across_a_dword_is_nobodys),
		T(saved_bytes_come_back_and_foreign_ones_are_refused),
		T(a_bar_is_as_wide_as_it_was_saved_if_there_is_room),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
