/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TPM 2.0 with a command-response buffer, at one fixed page, in front of a TPM that another process
 * emulates (dev/tpmlink). The guest writes a command into the buffer, says start, and looks until that
 * word is gone. TCG PC Client Platform TPM Profile 1.05 §6.5.
 *
 * Locality 0 only, no interrupt. When the other process is gone every command fails at once.
 */
#pragma once

#include "core/fixed.h"

#define TPM_ID "__tpm"
#define TPM_LEN 0x1000
#define TPM_CONTROL_AREA 0x40 /* of the page: where ACPI's table points */

struct tpm_args {
	struct fixed_conf at; /* first member */
	const char *socket;   /* the other process's control socket */
};

extern const struct fixed_class tpm_class;
