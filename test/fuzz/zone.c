/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and rules of time zones: any bytes are refused or give an offset of less than two days for
 * every moment.
 */
#include <stdlib.h>
#include <string.h>

#include "base/zone.h"

#define MOST_S (49 * 3600)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct zone *z)
{
	static const int64_t moments[] = { INT64_MIN, -1, 0, 1ll << 31, 1ll << 40, INT64_MAX };
	struct tm t;

	for (size_t i = 0; i < sizeof(moments) / sizeof(*moments); i++) {
		int32_t offset_s = zone_offset(z, moments[i]);

		if (offset_s < -MOST_S || offset_s > MOST_S)
			abort();
		zone_date(&t, moments[i], offset_s);
		if (t.tm_mon < 0 || t.tm_mon > 11 || t.tm_mday < 1 || t.tm_mday > 31)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = { 0 };
	char rule[256];
	struct zone z;

	if (zone_read_file(&z, data, size, 0, &e) == 0)
		look(&z);
	if (size < sizeof(rule)) {
		memcpy(rule, data, size);
		rule[size] = '\0';
		if (zone_read_rule(&z, rule, &e) == 0)
			look(&z);
	}
	return 0;
}
