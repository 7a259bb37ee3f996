/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI segments as the configuration speaks of them: how many there are, on which NUMA node each is,
 * and the rules that name a segment in several options at once. Any thread; no state.
 */
#pragma once

#include "conf/conf.h"

uint16_t segments_count(const struct vm_conf *c);
/* The guest's NUMA node of a segment: 0 unless --numa says otherwise. */
uint32_t segments_node(const struct vm_conf *c, uint16_t segment);
/* Is it one for devices behind the IOMMU? */
bool segments_has_iommu(const struct vm_conf *c, uint16_t segment);
/* For conf/check: every segment that is named is there, one segment is on one node, that of the
 * host bridge on node 0, and who is on a segment behind the IOMMU says so. */
MUST int segments_check(const struct vm_conf *c, struct err *e);
