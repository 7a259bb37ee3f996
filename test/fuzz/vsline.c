/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line CONNECT of a program of the host: whatever it is, what is taken ends at its end.
 */
#include <stdlib.h>

#include "net/vsline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t port = 0, used = 0, again, len = size < 64 ? (uint32_t)size : 64;
	enum vsline l = vsline_read(&port, &used, (const char *)data, len);

	if (l == VSLINE_OK && (!used || used > len || used > VSLINE_MAX || data[used - 1] != '\n'))
		abort();
	/* what follows a line changes nothing */
	if (l == VSLINE_OK &&
	    (vsline_read(&again, &used, (const char *)data, used) != VSLINE_OK || again != port))
		abort();
	if (l == VSLINE_MORE && len >= VSLINE_MAX)
		abort();
	return 0;
}
