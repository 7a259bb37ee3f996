/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TPM's registers: accesses in any order, while its process takes commands, answers or goes as the
 * input says. A command reaches the process whole and as long as it says, and what the guest has
 * started is at its end once the process has gone.
 */
#include "pokes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/loop.h"
#include "base/scm.h"
#include "dev/tpm.h"

#define AT 0xfed40000ull
#define LEN 0x1000u
#define LOCALITY 0x08
#define CANCEL 0x48
#define START 0x4c
#define DATA 0x80
#define COMMAND_MAX (LEN - DATA)

static char path[64];

static void forget(void)
{
	unlink(path);
}

static int listen_once(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(path, sizeof(path), "/tmp/virga-fuzz-tpm-%d", getpid());
	memcpy(a.sun_path, path, strlen(path));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1) || atexit(forget))
		abort();
	signal(SIGPIPE, SIG_IGN); /* as the program does */
	return fd;
}

static void turn(void)
{
	for (int i = 0; i < 4; i++) {
		loop_stop(fake.board.io);
		loop_run(fake.board.io);
	}
}

static const uint8_t ok[16];

/* The control channel of a process that says yes to all, as far as it is asked. */
static void say_yes(int ctrl)
{
	uint8_t got[64];

	while (read(ctrl, got, sizeof(got)) > 0) {
		uint32_t len = got[3] == 17 ? 16 : 4; /* the buffer's size is told back */

		if (write(ctrl, ok, len) != len)
			return;
		turn();
	}
}

/* What comes is one command, in whose head its length stands. */
static void judge_command(int chan)
{
	uint8_t got[COMMAND_MAX + 1];
	ssize_t n = read(chan, got, sizeof(got));

	if (n > 0 &&
	    (n < 10 || n > (ssize_t)COMMAND_MAX || (got[4] << 8 | got[5]) != n || got[2] || got[3]))
		abort();
}

static void answer(int chan, const struct poke *p)
{
	uint8_t a[COMMAND_MAX] = { 0x80, 1 };
	uint32_t len = 10 + p->at % (COMMAND_MAX - 10);

	a[4] = (uint8_t)(len >> 8);
	a[5] = (uint8_t)len;
	if (write(chan, a, p->write ? len : len / 2) < 0)
		return;
	turn();
}

static uint8_t started(void)
{
	uint8_t b;

	bus_read(fake.board.mmio, AT + START, &b, 1);
	return b;
}

static void wr(uint32_t off, const void *b, uint32_t len)
{
	bus_write(fake.board.mmio, AT + off, b, len);
}

/* What a driver does: one of any length, or of none that can be. */
static void give(const struct poke *p)
{
	static const uint8_t one[4] = { 1 };
	const uint8_t head[8] = { 0x80,		  1,	      0,	 0, (uint8_t)(p->at >> 8),
				  (uint8_t)p->at, p->data[0], p->data[1] };

	wr(LOCALITY, one, sizeof(one));
	wr(DATA, head, sizeof(head));
	wr(START, one, sizeof(one));
	if (p->write && p->data[2] & 1)
		wr(CANCEL, one, sizeof(one));
}

static void play(int ctrl, int chan, const uint8_t *data, size_t size)
{
	struct poke p;

	while (poke_take(&p, &data, &size)) {
		if (p.kind < 6)
			poke_do(fake.board.mmio, AT, DATA + 16, &p);
		else if (p.kind < 8)
			poke_do(fake.board.mmio, AT, LEN, &p);
		else if (p.kind < 10)
			give(&p);
		else if (p.kind < 12)
			turn();
		else if (p.kind < 14)
			say_yes(ctrl);
		else
			answer(chan, &p);
		judge_command(chan);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tpm_args args = { .at.place[0] = { FIXED_MMIO, AT }, .socket = path };
	static struct loop *loop;
	static int listener;
	struct scm_fds fds;
	struct err e = { 0 };
	uint8_t b[16];
	int ctrl;

	if (!loop) {
		listener = listen_once();
		fake_sound(loop_new(&loop, "io", &e), &e);
	}
	fake_begin();
	fake.board.io = loop;
	fake_add(&tpm_class, &args);
	ctrl = accept(listener, NULL, NULL);
	if (scm_recv(ctrl, b, 4, 0, &fds) != 4 || fds.count != 1 || write(ctrl, ok, 4) != 4)
		abort();
	fcntl(ctrl, F_SETFL, O_NONBLOCK);
	fcntl(fds.fds[0], F_SETFL, O_NONBLOCK);
	play(ctrl, fds.fds[0], data, size);
	close(ctrl);
	close(fds.fds[0]);
	turn();
	if (started())
		abort();
	fake_end();
	return 0;
}
