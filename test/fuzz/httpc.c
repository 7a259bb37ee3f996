/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of a hostile server, read by the client half: the input is all that the server ever sends.
 * Whatever it is, calls end, and an answer that was taken is whole.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/httpc.h"

static void on_piece(void *arg, const char *piece, size_t len)
{
	size_t *sum = arg;

	for (size_t i = 0; i < len; i++)
		*sum += (unsigned char)piece[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t sum = 0;
	struct httpc_ask a = { .method = "PUT", .path = "/api/v1/vm.boot", .sink_arg = &sum };
	struct httpc_answer answer;
	struct err e = { 0 };
	struct httpc *c;
	int p[2];

	if (!size || size > 60000 || socketpair(AF_UNIX, SOCK_STREAM, 0, p))
		return -1;
	a.sink = *data & 1 ? on_piece : NULL;
	if (send(p[1], data + 1, size - 1, MSG_DONTWAIT) != (ssize_t)size - 1)
		abort();
	shutdown(p[1], SHUT_WR);
	c = httpc_take(p[0], 1000);
	for (unsigned int i = 0; i < 4; i++) {
		if (httpc_call(c, &a, &answer, &e) < 0)
			break;
		if (answer.code < 200 || answer.code > 999 ||
		    strlen(answer.body) > answer.body_len || answer.body_len > size)
			abort();
		if (httpc_header(c, "Location") && strlen(httpc_header(c, "Location")) > size)
			abort();
	}
	httpc_close(c);
	close(p[1]);
	return 0;
}
