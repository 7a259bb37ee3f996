/* SPDX-License-Identifier: Apache-2.0 */
/* What a device has counted, by the keys of its rows. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/dev.h"

static inline uint64_t counted(struct dev *d, const char *key)
{
	const struct desc *rows = d->class->counters;
	AUTO_FREE uint64_t *n = mem_array(dev_counters(d->class), sizeof(n[0]));

	dev_count(d, n);
	for (uint32_t i = 0; i < rows->count; i++)
		if (!strcmp(rows->fields[i].key, key))
			return n[i];
	abort();
}
