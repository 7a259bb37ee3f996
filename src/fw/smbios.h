/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMBIOS 3: the entry point and the structures that tell a guest who made its machine. Any thread,
 * one per builder. DMTF DSP0134.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct aml; /* fw/acpi.h: a growing run of bytes */

/* Borrowed strings; NULL = not told. uuid is text in the usual form. There is a chassis only with an
 * asset tag. */
struct smbios {
	const char *manufacturer, *product, *version, *serial, *uuid, *sku, *family, *asset_tag;
	char *const *oem;
	uint32_t oem_count;
};

/* Appends entry point and structures as they lie at guest-physical `base`. Fails for a uuid that
 * is none. */
MUST int smbios_build(struct aml *a, uint64_t base, const struct smbios *s, struct err *e);
