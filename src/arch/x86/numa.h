/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NUMA as the guest is told of it: SRAT says which node memory, processors and devices are on, SLIT
 * how far the nodes are from each other. Without --numa there is neither. Control thread, when all
 * devices are there. ACPI 6.5 §5.2.16, §5.2.17.
 */
#pragma once

#include "conf/conf.h"
#include "core/dev.h"

struct aml;

/* Fails when a node is of a device that is not there. */
MUST int x86_srat(struct aml *a, struct board *b, const struct vm_conf *c, struct err *e);
void x86_slit(struct aml *a, const struct vm_conf *c);
