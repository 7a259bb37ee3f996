/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TPM's registers and the way to its process, which is played here, on the other ends of its two
 * sockets: what it takes to be set up, commands in parts and answers in parts, one that is cancelled,
 * and a process that speaks nonsense or goes.
 */
#include "test.h"

#include "fakeboard.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/loop.h"
#include "base/scm.h"
#include "dev/tpm.h"

#define AT 0xfed40000ull

struct peer {
	int listener, ctrl, data;
	char path[64];
};

static struct dev *dev;

static void listen_at(struct peer *p)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	*p = (struct peer){ .ctrl = -1, .data = -1 };
	snprintf(p->path, sizeof(p->path), "/tmp/virga-tpm-%d", getpid());
	unlink(p->path);
	memcpy(a.sun_path, p->path, strlen(p->path));
	p->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(p->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(p->listener, 1), 0);
}

static void turn(void)
{
	for (int i = 0; i < 4; i++) {
		loop_stop(fake.board.io);
		loop_run(fake.board.io);
	}
}

static void expect(struct peer *p, uint8_t cmd, uint32_t len, uint8_t *got)
{
	assert_int_equal(recv(p->ctrl, got, len, MSG_DONTWAIT), len);
	assert_int_equal(got[3], cmd);
}

static void reply(struct peer *p, uint32_t len, uint8_t result)
{
	uint8_t b[16] = { 0, 0, 0, result };

	assert_int_equal(write(p->ctrl, b, len), len);
	turn();
}

/* As far as the data channel. */
static void begin(struct peer *p)
{
	struct tpm_args args = { .at.place[0] = { FIXED_MMIO, AT } };
	struct scm_fds fds;
	struct err e = { 0 };
	uint8_t b[16];

	fake_begin();
	fake_sound(loop_new(&fake.board.io, "io", &e), &e);
	listen_at(p);
	args.socket = p->path;
	dev = fake_add(&tpm_class, &args);
	p->ctrl = accept(p->listener, NULL, NULL);
	assert_int_equal(scm_recv(p->ctrl, b, 4, 0, &fds), 4);
	assert_int_equal(b[3], 16);
	assert_int_equal(fds.count, 1);
	p->data = fds.fds[0];
	fcntl(p->data, F_SETFL, O_NONBLOCK);
}

static void set_up(struct peer *p)
{
	uint8_t b[16];

	reply(p, 4, 0);
	expect(p, 14, 4, b);
	reply(p, 4, 0);
	expect(p, 17, 8, b);
	assert_int_equal(b[6] << 8 | b[7], 0xf80);
	reply(p, 16, 0);
	expect(p, 2, 8, b);
	reply(p, 4, 0);
}

static void end(struct peer *p)
{
	fake_end();
	loop_free(fake.board.io);
	close(p->data);
	close(p->ctrl);
	close(p->listener);
	unlink(p->path);
}

static uint32_t rd32(uint32_t off)
{
	uint8_t b[4];

	bus_read(fake.board.mmio, AT + off, b, 4);
	return le32_get(b);
}
static void wr32(uint32_t off, uint32_t v)
{
	uint8_t b[4];

	le32_put(b, v);
	bus_write(fake.board.mmio, AT + off, b, 4);
}

static const uint8_t command[12] = { 0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 16 };
static const uint8_t answer[12] = { 0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 0xaa, 0xbb };

static void start(void)
{
	wr32(0x08, 1);
	wr32(0x40, 1);
	for (uint32_t i = 0; i < sizeof(command); i += 4)
		wr32(0x80 + i, le32_get(command + i));
	wr32(0x4c, 1);
	turn();
}

static bool failed(void)
{
	return !rd32(0x4c) && rd32(0x86) == 0x01010000;
}

TEST(a_command_waits_until_the_process_is_set_up)
{
	struct peer p;
	uint8_t b[32];

	begin(&p);
	start();
	assert_int_equal(read(p.data, b, sizeof(b)), -1);
	set_up(&p);
	assert_int_equal(read(p.data, b, sizeof(b)), 12);
	assert_memory_equal(b, command, 12);
	assert_int_equal(rd32(0x4c), 1);
	wr32(0x80, 0xffffffff);
	assert_int_equal(rd32(0x80), le32_get(command));
	assert_int_equal(write(p.data, answer, 3), 3);
	turn();
	assert_int_equal(rd32(0x4c), 1);
	assert_int_equal(write(p.data, answer + 3, 9), 9);
	turn();
	assert_int_equal(rd32(0x4c), 0);
	assert_int_equal(rd32(0x88), le32_get(answer + 8));
	end(&p);
}

TEST(a_command_is_cancelled_once_at_a_time)
{
	struct peer p;
	uint8_t b[32];

	begin(&p);
	set_up(&p);
	wr32(0x48, 1);
	turn();
	assert_int_equal(recv(p.ctrl, b, sizeof(b), MSG_DONTWAIT), -1);
	start();
	wr32(0x48, 1);
	turn();
	wr32(0x48, 1);
	turn();
	assert_int_equal(recv(p.ctrl, b, sizeof(b), MSG_DONTWAIT), 4);
	assert_int_equal(b[3], 9);
	reply(&p, 4, 0);
	wr32(0x48, 1);
	turn();
	expect(&p, 9, 4, b);
	end(&p);
}

TEST(a_process_that_goes_fails_what_is_under_way_and_all_after)
{
	struct peer p;

	begin(&p);
	set_up(&p);
	start();
	shutdown(p.data, SHUT_RDWR);
	turn();
	assert_true(failed());
	assert_int_equal(rd32(0x44) & 1, 1);
	start();
	assert_true(failed());
	end(&p);
}

TEST(a_process_that_refuses_is_lost)
{
	struct peer p;

	begin(&p);
	reply(&p, 4, 9);
	start();
	assert_true(failed());
	end(&p);
}

TEST(answers_that_can_be_none_are_the_end)
{
	static const uint8_t bad[][10] = {
		{ 0x80, 1, 0, 0, 0, 9, 0, 0, 0, 0 },
		{ 0x80, 1, 0, 0, 0xf, 0x81, 0, 0, 0, 0 },
		{ 0x80, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct peer p;

		begin(&p);
		set_up(&p);
		start();
		assert_int_equal(write(p.data, bad[i], 10), 10);
		turn();
		assert_true(failed());
		end(&p);
	}
}

TEST(an_answer_unasked_is_the_end)
{
	struct peer p;

	begin(&p);
	set_up(&p);
	assert_int_equal(write(p.data, answer, 12), 12);
	turn();
	start();
	assert_true(failed());
	end(&p);
}

TEST(more_than_an_answer_is_the_end)
{
	uint8_t b[32] = { 0 };
	struct peer p;

	begin(&p);
	set_up(&p);
	start();
	memcpy(b, answer, 12);
	assert_int_equal(write(p.data, b, 13), 13);
	turn();
	assert_true(failed());
	end(&p);
}

TEST(registers_stand_any_access)
{
	struct peer p;

	begin(&p);
	set_up(&p);
	fake_hammer(fake.board.mmio, AT, 0x1000 - 8, 20000);
	turn();
	end(&p);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_command_waits_until_the_process_is_set_up),
		T(a_command_is_cancelled_once_at_a_time),
		T(a_process_that_goes_fails_what_is_under_way_and_all_after),
		T(a_process_that_refuses_is_lost),
		T(answers_that_can_be_none_are_the_end),
		T(an_answer_unasked_is_the_end),
		T(more_than_an_answer_is_the_end),
		T(registers_stand_any_access),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
