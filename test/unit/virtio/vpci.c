/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over PCI as a guest finds it: ids, capabilities, registers of any width, the access window
 * in config space, a BAR that moves, and a device that is saved and made again. virtio 1.3 §4.1.
 */
#include "test.h"

#include <stdio.h>

#include "base/json.h"
#include "virtio/echo.h"

static struct echo *up(struct rig *r)
{
	rig_init(r);
	rig_add(r, &echo_class, NULL);
	return echo_of(vdev_of(r->d));
}

/* Offset of the vendor capability of a kind, 0 when there is none. */
static uint32_t cap_find(struct rig *r, uint8_t id, uint8_t kind)
{
	uint32_t p = cfg_rd(r, 0x34, 1);

	for (int i = 0; p && i < 48; i++, p = cfg_rd(r, p + 1, 1))
		if (cfg_rd(r, p, 1) == id && (id != 9 || cfg_rd(r, p + 3, 1) == kind))
			return p;
	return 0;
}

TEST(ids_are_those_of_a_modern_device)
{
	struct rig r;

	up(&r);
	assert_int_equal(cfg_rd(&r, 0, 4), 0x106a1af4);
	assert_int_equal(cfg_rd(&r, 8, 4), 0xffff0001);
	assert_int_equal(cfg_rd(&r, 0x2c, 4), 0x106a1af4);
	assert_int_equal(cfg_rd(&r, 0x3d, 1), 0); /* no INTx */
	rig_fini(&r);
}

TEST(the_five_capabilities_and_msix_are_there)
{
	static const struct {
		uint8_t kind;
		uint32_t at, len;
	} rows[] = {
		{ 1, AT_COMMON, 0x38 },
		{ 2, AT_NOTIFY, 0x1000 },
		{ 3, AT_ISR, 1 },
		{ 4, AT_CONFIG, 0x1000 },
		{ 5, 0, 0 },
	};
	struct rig r;
	uint32_t p;

	up(&r);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		p = cap_find(&r, 9, rows[i].kind);
		assert_int_not_equal(p, 0);
		assert_int_equal(cfg_rd(&r, p + 4, 1), 0);
		assert_int_equal(cfg_rd(&r, p + 8, 4), rows[i].at);
		assert_int_equal(cfg_rd(&r, p + 12, 4), rows[i].len);
	}
	assert_int_equal(cfg_rd(&r, cap_find(&r, 9, 2) + 16, 4), 4);
	p = cap_find(&r, 0x11, 0);
	assert_int_not_equal(p, 0);
	assert_int_equal(cfg_rd(&r, p + 2, 2) & 0x7ff, ECHO_QUEUES);
	assert_int_equal(cfg_rd(&r, p + 4, 4), AT_MSIX);
	assert_int_equal(cfg_rd(&r, p + 8, 4), AT_PBA);
	rig_fini(&r);
}

TEST(registers_past_the_queues_are_nothing)
{
	struct rig r;

	up(&r);
	wr(&r, R_Q_SEL, 2, ECHO_QUEUES);
	wr(&r, R_Q_SIZE, 2, 64);
	wr(&r, R_Q_DESC, 8, ~0ull);
	wr(&r, R_Q_ENABLE, 2, 1);
	wr(&r, R_Q_VEC, 2, 0);
	for (uint32_t reg = R_Q_SIZE; reg < 0x38; reg += 2)
		assert_int_equal(rd(&r, reg, 2), 0);
	for (uint32_t q = 0; q < 2000; q++)
		wr(&r, AT_NOTIFY + 4 * q, 4, q);
	wr(&r, R_DEV_SEL, 4, 2);
	assert_int_equal(rd(&r, R_DEV_FEAT, 4), 0);
	rig_fini(&r);
}

TEST(vectors_that_are_not_there_read_back_as_none)
{
	struct rig r;

	up(&r);
	wr(&r, R_CFG_VEC, 2, ECHO_QUEUES);
	assert_int_equal(rd(&r, R_CFG_VEC, 2), ECHO_QUEUES);
	wr(&r, R_CFG_VEC, 2, ECHO_QUEUES + 1);
	assert_int_equal(rd(&r, R_CFG_VEC, 2), 0xffff);
	wr(&r, R_Q_VEC, 2, 0x7ff);
	assert_int_equal(rd(&r, R_Q_VEC, 2), 0xffff);
	rig_fini(&r);
}

TEST(writes_of_another_width_than_the_registers_are_dropped)
{
	struct rig r;
	struct echo *s = up(&r);

	wr(&r, R_Q_DESC, 8, 0x1122334455667788);
	assert_int_equal(s->v.queues[0].conf.desc, 0x1122334455667788);
	wr(&r, R_Q_DESC, 1, 0);
	wr(&r, R_Q_DESC + 2, 4, 0);
	wr(&r, R_Q_SIZE, 1, 1);
	wr(&r, R_STATUS, 4, 0x0b);
	assert_int_equal(s->v.queues[0].conf.desc, 0x1122334455667788);
	assert_int_equal(rd(&r, R_Q_SIZE, 2), ECHO_SIZE);
	assert_int_equal(drv_status(&r), 0);
	wr(&r, R_Q_DESC + 4, 4, 0xaabbccdd);
	assert_int_equal(rd(&r, R_Q_DESC, 8), 0xaabbccdd55667788);
	assert_int_equal(rd(&r, R_Q_DESC + 3, 2), 0xdd55);
	assert_int_equal(rd(&r, 0x36, 8), 0); /* over the area's end */
	rig_fini(&r);
}

TEST(queue_registers_are_shut_once_enabled)
{
	struct rig r;
	struct echo *s = up(&r);

	drv_start(&r, 0);
	wr(&r, R_Q_SEL, 2, 0);
	wr(&r, R_Q_DESC, 8, 0);
	wr(&r, R_Q_SIZE, 2, 2);
	wr(&r, R_Q_ENABLE, 2, 0);
	assert_int_equal(rd(&r, R_Q_ENABLE, 2), 1);
	wr(&r, R_Q_ENABLE, 2, 1);
	assert_int_equal(s->v.queues[0].conf.desc, Q_AT(0));
	assert_true(echo_works(&r, 0));
	assert_int_equal(s->starts, 2);
	rig_fini(&r);
}

TEST(reading_the_isr_clears_it)
{
	struct rig r;

	up(&r);
	drv_start(&r, 0);
	assert_true(echo_works(&r, 0));
	assert_int_equal(rd(&r, AT_ISR, 1), 1);
	assert_int_equal(rd(&r, AT_ISR, 1), 0);
	rig_fini(&r);
}

/* The access of the window: width and place first, then data. */
static void window(struct rig *r, uint32_t off, uint32_t len)
{
	uint32_t p = cap_find(r, 9, 5);

	cfg_wr(r, p + 4, 1, 0);
	cfg_wr(r, p + 8, 4, off);
	cfg_wr(r, p + 12, 4, len);
}

TEST(the_window_in_config_space_reaches_the_registers)
{
	struct rig r;
	uint32_t data;

	up(&r);
	data = cap_find(&r, 9, 5) + 16;
	window(&r, R_NUM_Q, 2);
	assert_int_equal(cfg_rd(&r, data, 2), ECHO_QUEUES);
	window(&r, R_STATUS, 1);
	cfg_wr(&r, data, 1, 3);
	assert_int_equal(drv_status(&r), 3);
	window(&r, R_Q_DESC + 4, 4);
	cfg_wr(&r, data, 4, 0x12345678);
	assert_int_equal(rd(&r, R_Q_DESC, 8), 0x1234567800000000);
	rig_fini(&r);
}

TEST(the_window_refuses_what_is_no_access)
{
	static const struct {
		uint32_t off, len;
	} rows[] = {
		{ R_STATUS, 3 }, { R_STATUS, 0 }, { R_STATUS, 8 }, { R_STATUS + 1, 2 },
		{ 0x80000, 1 },	 { ~0u, 1 },	  { ~3u, 4 },	   { R_STATUS, 0x10001 },
	};
	struct rig r;
	uint32_t p;

	up(&r);
	p = cap_find(&r, 9, 5);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		window(&r, rows[i].off, rows[i].len);
		cfg_wr(&r, p + 16, 4, 0x01010101);
		cfg_rd(&r, p + 16, 4);
		assert_int_equal(drv_status(&r), 0);
	}
	window(&r, R_STATUS, 1);
	cfg_wr(&r, p + 4, 1, 1);
	cfg_wr(&r, p + 16, 1, 1);
	assert_int_equal(drv_status(&r), 0);
	rig_fini(&r);
}

TEST(a_bar_that_moves_takes_its_doorbells_along)
{
	struct rig r;

	up(&r);
	drv_start(&r, 0);
	uint64_t to = rig_bar(&r) - MIB(1), was = rig_bar(&r);
	uint8_t b[4];

	cfg_wr(&r, 4, 2, 0);
	cfg_wr(&r, 0x10, 4, (uint32_t)to);
	cfg_wr(&r, 0x14, 4, (uint32_t)(to >> 32));
	cfg_wr(&r, 4, 2, 6);
	assert_int_equal(rig_bar(&r), to);
	bus_read(r.b.mmio, was, b, 4);
	assert_int_equal(le32_get(b), 0xffffffff);
	assert_true(echo_works(&r, 0));
	rig_fini(&r);
}

TEST(a_32_bit_bar_lies_below_4_gib)
{
	struct dev_args a = { .id = "low", .slot = -1, .bar32 = true };
	struct err e = { 0 };
	struct rig r;

	rig_init(&r);
	assert_int_equal(dev_add(&r.d, &r.b, &echo_class.dev, &a, &e), 0);
	assert_true(rig_bar(&r) < GIB(4));
	assert_int_equal(rd(&r, R_NUM_Q, 2), ECHO_QUEUES);
	rig_fini(&r);
}

TEST(a_slot_in_use_is_refused_and_nothing_is_left)
{
	struct dev_args a = { .id = "second", .slot = 1 };
	struct err e = { 0 };
	struct rig r;

	up(&r);
	assert_int_equal(dev_add(NULL, &r.b, &echo_class.dev, &a, &e), -1);
	assert_null(dev_find(&r.b, "second"));
	rig_fini(&r);
}

TEST(a_running_device_is_removed)
{
	struct rig r;

	up(&r);
	drv_start(&r, 0);
	assert_true(echo_works(&r, 0));
	drv_kick(&r, 0);
	dev_remove(r.d);
	rig_turn(&r, 2);
	rig_add(&r, &echo_class, NULL);
	drv_start(&r, 0);
	assert_true(echo_works(&r, 0));
	rig_fini(&r);
}

static char *saved_text(struct rig *r)
{
	struct json *j = dev_save(r->d);
	char *text = json_text(j, JSON_LINE);

	json_put(j);
	return text;
}

TEST(a_saved_device_is_the_same_when_made_again_and_goes_on)
{
	struct rig r;
	struct echo *s = up(&r);
	struct json *j;
	struct err e = { 0 };
	char *text, *again;

	drv_start(&r, VF_EVENT_IDX);
	assert_true(echo_works(&r, 0));
	wr(&r, AT_MSIX + 16, 8, 0xfee00000);
	wr(&r, R_Q_SEL, 2, 1);
	vdev_stop(&s->v);
	text = saved_text(&r);
	dev_remove(r.d);

	assert_int_equal(json_parse(&j, text, strlen(text), &e), 0);
	assert_int_equal(rig_add_saved(&r, &echo_class, NULL, j, &e), 0);
	json_put(j);
	again = saved_text(&r);
	assert_string_equal(text, again);
	assert_int_equal(drv_status(&r), 15);
	assert_int_equal(rd(&r, R_Q_SEL, 2), 1);
	vdev_resume(r.d); /* until then it is quiet */
	assert_true(echo_works(&r, 0));
	assert_true(echo_works(&r, 1));
	free(text);
	free(again);
	rig_fini(&r);
}

TEST(saved_state_that_cannot_be_is_refused)
{
	static const struct {
		const char *from, *to;
	} rows[] = {
		{ "\"vector\":0", "\"vector\":77" },
		{ "\"config_vector\":2", "\"config_vector\":3" },
		{ "\"next_avail\":1", "\"next_avail\":65536" },
		{ "\"queues\":[", "\"queues\":[{}," },
		{ "\"features\":", "\"features\":1152921504606846976,\"was\":" },
		{ "\"status\":15", "\"status\":7" }, /* DRIVER_OK, and no FEATURES_OK */
	};
	struct rig r;
	struct echo *s = up(&r);
	char *text;

	drv_start(&r, 0);
	assert_true(echo_works(&r, 0));
	vdev_stop(&s->v);
	text = saved_text(&r);
	dev_remove(r.d);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char bad[20000], *at = strstr(text, rows[i].from);
		struct err e = { 0 };
		struct json *j;

		assert_non_null(at);
		snprintf(bad, sizeof(bad), "%.*s%s%s", (int)(at - text), text, rows[i].to,
			 at + strlen(rows[i].from));
		assert_int_equal(json_parse(&j, bad, strlen(bad), &e), 0);
		assert_int_equal(rig_add_saved(&r, &echo_class, NULL, j, &e), -1);
		json_put(j);
	}
	free(text);
	rig_fini(&r);
}

TEST(every_byte_of_saved_state_has_a_row)
{
	assert_int_equal(desc_uncovered(vpci_plug.state), vpci_plug.state->size);
	assert_int_equal(desc_uncovered(&vdev_state_desc), vdev_state_desc.size);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(ids_are_those_of_a_modern_device),
		T(the_five_capabilities_and_msix_are_there),
		T(registers_past_the_queues_are_nothing),
		T(vectors_that_are_not_there_read_back_as_none),
		T(writes_of_another_width_than_the_registers_are_dropped),
		T(queue_registers_are_shut_once_enabled),
		T(reading_the_isr_clears_it),
		T(the_window_in_config_space_reaches_the_registers),
		T(the_window_refuses_what_is_no_access),
		T(a_bar_that_moves_takes_its_doorbells_along),
		T(a_32_bit_bar_lies_below_4_gib),
		T(a_slot_in_use_is_refused_and_nothing_is_left),
		T(a_running_device_is_removed),
		T(a_saved_device_is_the_same_when_made_again_and_goes_on),
		T(saved_state_that_cannot_be_is_refused),
		T(every_byte_of_saved_state_has_a_row),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
