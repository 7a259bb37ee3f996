/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TPM's process that means harm: the input is what it sends on its two sockets, in parts, while
 * commands and cancels go to it. An answer that comes through is as long as it says.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "dev/tpmlink.h"

static uint32_t answers, losses;

static void on_answer(void *arg, const uint8_t *bytes, uint32_t len)
{
	(void)arg;
	if (len < TPMLINK_HEAD || len > 3968 || ((uint32_t)bytes[4] << 8 | bytes[5]) != len)
		abort();
	answers++;
}

static void on_loss(void *arg, const char *why)
{
	(void)arg;
	if (!why || losses++)
		abort();
}

static void pair(int fd[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t command[TPMLINK_HEAD] = { 0x80, 1, 0, 0, 0, TPMLINK_HEAD };
	static struct loop *loop;
	static struct tpmlink l;
	int ctrl[2], chan[2];
	struct err e = { 0 };
	uint8_t sink[256];

	signal(SIGPIPE, SIG_IGN); /* as the program does */
	if (!loop && (log_init(LOG_ERROR, 2), loop_new(&loop, "io", &e)))
		abort();
	pair(ctrl);
	pair(chan);
	answers = losses = 0;
	l = (struct tpmlink){ .loop = loop,
			      .room = 3968,
			      .ctrl = ctrl[0],
			      .data = chan[0],
			      /* that to somebody who asked for a part of its state */
			      .late = { .count = size & 1 ? TPMBLOB_WORDS : 0 },
			      .answered = on_answer,
			      .lost = on_loss };
	tpmlink_watch(&l);
	while (size > 1) {
		uint8_t op = *data;
		size_t n = 1 + (op >> 3), have = size - 1 < n ? size - 1 : n;

		if (op & 1 && !l.asked)
			tpmlink_send(&l, command, sizeof(command));
		if (op & 2)
			tpmlink_cancel(&l);
		if (write(op & 4 ? chan[1] : ctrl[1], data + 1, have) < 0)
			break;
		data += 1 + have;
		size -= 1 + have;
		loop_stop(loop);
		loop_run(loop);
		while (read(ctrl[1], sink, sizeof(sink)) > 0 ||
		       read(chan[1], sink, sizeof(sink)) > 0)
			;
	}
	tpmlink_close(&l);
	fd_close(&ctrl[1]);
	fd_close(&chan[1]);
	return 0;
}
