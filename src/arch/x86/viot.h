/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VIOT: which functions stand behind the virtual IOMMU, and as which endpoints. Control thread, when
 * all devices are there and one of them is the IOMMU. ACPI 6.5 §5.2.33.
 */
#pragma once

#include "conf/conf.h"
#include "core/dev.h"

struct aml;

void x86_viot(struct aml *a, struct board *b, const struct vm_conf *c);
