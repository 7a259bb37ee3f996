/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TPM's process that means harm when it is asked for its state: the input is what it answers before
 * it hangs up. A state that comes through is whole, and is one that could be given back.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/tpmblob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tpmblob b[TPMBLOB_KINDS];
	struct tpmblob_answer a = { 0 };
	struct err e = { 0 };
	uint32_t n = 0;
	int pair[2];

	signal(SIGPIPE, SIG_IGN); /* as the program does */
	if (size > 1 << 15 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) ||
	    write(pair[1], data, size) != (ssize_t)size || shutdown(pair[1], SHUT_WR))
		return 0;
	(void)!tpmblob_get(b, &n, pair[0], &a, &e);
	for (uint32_t i = 0; i < n; i++) {
		size_t digits = strlen(b[i].bytes);

		if (!digits || digits % 2 || digits / 2 > size)
			abort();
		desc_free(&tpmblob_desc, &b[i]);
	}
	/* it is at its end: what has not come of an answer never does */
	while (tpmblob_is_late(&a) && tpmblob_skip(&a, pair[0]))
		;
	close(pair[0]);
	close(pair[1]);
	return 0;
}
