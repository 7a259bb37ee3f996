/* SPDX-License-Identifier: Apache-2.0 */
/* pvmemcontrol: what a guest finds, its way to being ready, and what each request is answered with. */
#include "conf/conf.h"

#include "test.h"

#include <errno.h>

#include "base/json.h"
#include "base/mem.h"
#include "dev/pvmemcontrol.h"
#include "virtio/drive.h"

enum {
	RESET = 0x060fe6d2,
	REGISTER = 0x0e359539,
	READY = 0x0ca8d227,
	DISCONNECT = 0x030f5da0,
	ACK = 0x03cf5196,
	ERROR = 0x01fba249,
};
#define FIRST 0x80000000u

static struct rig rig;

static uint64_t reg(uint32_t off, uint32_t len)
{
	uint8_t b[8] = { 0 };

	bus_read(rig.b.mmio, pcidev_fn(rig.d)->bar[0].addr + off, b, len);
	return le64_get(b);
}

static void set(uint32_t off, uint32_t len, uint64_t v)
{
	uint8_t b[8];

	le64_put(b, v);
	bus_write(rig.b.mmio, pcidev_fn(rig.d)->bar[0].addr + off, b, len);
}

static uint32_t say(uint32_t command)
{
	set(8, 4, command);
	return (uint32_t)reg(8, 4);
}

static uint32_t add_buffer(uint64_t at)
{
	set(0, 8, at);
	return say(REGISTER) == ACK ? (uint32_t)reg(0, 4) : 0;
}

static void begin(void)
{
	const struct pvmemcontrol_conf conf = { 0 };
	const struct dev_args a = { .id = "__pvmemcontrol", .conf = &conf, .slot = -1 };
	struct err e = { 0 };

	rig_init(&rig);
	rig_ok(dev_add(&rig.d, &rig.b, &pvmemcontrol_class.dev, &a, &e));
}

static void begin_ready(void)
{
	begin();
	assert_int_equal(say(RESET), ACK);
	assert_int_equal(add_buffer(BUF), FIRST);
	assert_int_equal(say(READY), ACK);
}

static uint32_t call(uint64_t function, uint64_t at, uint64_t len)
{
	mem_wr(&rig, BUF, 8, function);
	mem_wr(&rig, BUF + 8, 8, at);
	mem_wr(&rig, BUF + 16, 8, len);
	mem_wr(&rig, BUF + 24, 8, 7);
	set(8, 4, FIRST);
	return (uint32_t)mem_rd(&rig, BUF, 4);
}

TEST(a_guest_finds_it_by_its_ids)
{
	uint8_t b[4];
	uint64_t at;

	begin();
	at = RIG_ECAM + ((uint64_t)pcidev_fn(rig.d)->slot << 15);
	bus_read(rig.b.mmio, at, b, 4);
	assert_int_equal(le32_get(b), 0x00871ae0);
	bus_read(rig.b.mmio, at + 8, b, 4);
	assert_int_equal(le32_get(b), 0x08800001);
	bus_read(rig.b.mmio, at + 0x2c, b, 4);
	assert_int_equal(le32_get(b), 0x011f1ae0);
	assert_int_equal(reg(8, 4), ERROR);
	rig_fini(&rig);
}

TEST(buffers_get_numbers_until_it_is_ready)
{
	begin();
	assert_int_equal(add_buffer(BUF), 0); /* before a reset */
	assert_int_equal(say(RESET), ACK);
	for (uint32_t i = 0; i < 4096; i++)
		assert_int_equal(add_buffer(BUF + 32 * i), FIRST + i);
	assert_int_equal(add_buffer(BUF), 0);
	assert_int_equal(reg(8, 4), ERROR);
	assert_int_equal(say(READY), ERROR);
	assert_int_equal(say(RESET), ACK);
	assert_int_equal(add_buffer(BUF), FIRST);
	assert_int_equal(say(READY), ACK);
	assert_int_equal(add_buffer(BUF), 0);
	assert_int_equal(say(RESET), ACK);
	assert_int_equal(say(DISCONNECT), ERROR);
	rig_fini(&rig);
}

TEST(a_buffer_outside_of_memory_is_none)
{
	static const uint64_t at[] = { RAM_SIZE, RAM_SIZE - 31, BLOCKS_AT, UINT64_MAX,
				       UINT64_MAX - 31 };

	begin();
	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		assert_int_equal(say(RESET), ACK);
		assert_int_equal(add_buffer(at[i]), 0);
		assert_int_equal(reg(8, 4), ERROR);
	}
	rig_fini(&rig);
}

TEST(information_is_page_and_version)
{
	begin_ready();
	assert_int_equal(call(0, 0, 0), 0);
	assert_int_equal(mem_rd(&rig, BUF + 4, 4), 0);
	assert_int_equal(mem_rd(&rig, BUF + 8, 8), 4096);
	assert_int_equal(mem_rd(&rig, BUF + 16, 8), 1);
	assert_int_equal(mem_rd(&rig, BUF + 24, 8), 0);
	rig_fini(&rig);
}

TEST(what_is_given_back_is_new_and_counted)
{
	uint64_t n[3];

	for (uint64_t function = 1; function <= 3; function++) {
		begin_ready();
		mem_wr(&rig, 0x10008, 8, 5);
		mem_wr(&rig, 0x12008, 8, 6);
		assert_int_equal(call(function, 0x10000, 0x2000), 0);
		assert_int_equal(mem_rd(&rig, BUF + 8, 8), 0);
		assert_int_equal(mem_rd(&rig, 0x10008, 8), 0);
		assert_int_equal(mem_rd(&rig, 0x12008, 8), 6);
		dev_count(rig.d, n);
		assert_int_equal(n[0], 1);
		assert_int_equal(n[1], 0);
		assert_int_equal(n[2], 0x2000);
		rig_fini(&rig);
	}
}

TEST(errors_are_told_as_errno_with_the_function)
{
	static const struct {
		uint64_t function, at, len;
		uint32_t error;
	} bad[] = {
		{ 1, 0x10001, 0x1000, EINVAL },	  { 1, 0x10000, 0x1001, EINVAL },
		{ 2, 0x10000, 0, EINVAL },	  { 3, RAM_SIZE, 0x1000, EINVAL },
		{ 4, BLOCKS_AT, 0x1000, EINVAL }, { 5, RAM_SIZE, 0x1000, EINVAL },
		{ 7, 0, UINT64_MAX, EINVAL },	  { 12, RAM_SIZE, 0x1000, EINVAL },
		{ 9, 0, 0x1000, EOPNOTSUPP },	  { 10, 0, 0x1000, EOPNOTSUPP },
		{ 11, 0, 0x1000, EOPNOTSUPP },	  { 15, 0, 0x1000, EOPNOTSUPP },
		{ 1ull << 32, 0, 0, EOPNOTSUPP },
	};
	uint64_t n[3];

	begin_ready();
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(call(bad[i].function, bad[i].at, bad[i].len), bad[i].error);
		assert_int_equal(mem_rd(&rig, BUF + 4, 4), (uint32_t)bad[i].function);
	}
	dev_count(rig.d, n);
	assert_int_equal(n[0], ARRAY_LEN(bad));
	assert_int_equal(n[1], ARRAY_LEN(bad));
	assert_int_equal(n[2], 0);
	rig_fini(&rig);
}

TEST(what_is_no_command_is_ignored)
{
	begin_ready();
	mem_wr(&rig, BUF, 8, 99);
	set(8, 8, FIRST);
	set(8, 2, FIRST);
	set(9, 4, FIRST);
	set(12, 4, FIRST);
	set(8, 4, FIRST + 1);
	set(8, 4, 0x7fffffff);
	assert_int_equal(mem_rd(&rig, BUF, 8), 99);
	assert_int_equal(reg(8, 4), ACK);
	set(4, 8, 0x1122334455667788);
	assert_int_equal(reg(0, 8), 0x5566778800000000);
	assert_int_equal(reg(12, 4), 0);
	rig_fini(&rig);
}

TEST(a_state_with_too_many_buffers_or_foul_marks_is_refused)
{
	const struct pvmemcontrol_conf conf = { 0 };
	const char *foul = "{\"from\":4096,\"name\":0,\"locked\":1,\"merge\":0}";
	AUTO_FREE char *text = NULL, *two = NULL;
	struct err e = { 0 };
	char *at;

	begin_ready();
	assert_int_equal(call(7, 0x1000, 0x1000), 0);
	AUTO_JSON struct json *saved = dev_save(rig.d);
	text = json_text(saved, 0);
	at = strstr(text, foul);
	assert_non_null(at);
	/* the same mark twice */
	two = mem_fmt("%.*s%s,%s", (int)(at - text), text, foul, at);
	rig_fini(&rig);
	AUTO_JSON struct json *j = NULL;
	rig_ok(json_parse(&j, two, strlen(two), &e));
	rig_init(&rig);
	assert_int_equal(
		dev_add(&rig.d, &rig.b, &pvmemcontrol_class.dev,
			&(struct dev_args){
				.id = "__pvmemcontrol", .conf = &conf, .slot = -1, .saved = j },
			&e),
		-1);
	assert_int_equal(e.kind, ERR_BAD);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_guest_finds_it_by_its_ids),
		T(buffers_get_numbers_until_it_is_ready),
		T(a_buffer_outside_of_memory_is_none),
		T(information_is_page_and_version),
		T(what_is_given_back_is_new_and_counted),
		T(errors_are_told_as_errno_with_the_function),
		T(what_is_no_command_is_ignored),
		T(a_state_with_too_many_buffers_or_foul_marks_is_refused),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
