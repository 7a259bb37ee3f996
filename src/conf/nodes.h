/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NUMA nodes of the guest as the configuration speaks of them: the rules between nodes, vCPUs and
 * memory zones, and how far one node is from another. What a node says of PCI segments is
 * conf/segments'. Any thread; no state.
 */
#pragma once

#include "conf/conf.h"

#define NODE_NEAR 10 /* ACPI's distance of a node to itself */
#define NODE_FAR 20  /* to any other, unless said */

/* For conf/check: each node is said once, and whatever it names is there and of one node. Warns of
 * what guests will not believe. */
MUST int nodes_check(const struct vm_conf *c, struct err *e);
/* The zones of memory by number. Memory without zones is one, of this name. */
#define NODES_ONLY_ZONE "mem0"
uint32_t nodes_zones(const struct vm_conf *c);
const char *nodes_zone(const struct vm_conf *c, uint32_t i);
/* The node of a vCPU: 0 unless --numa says otherwise. */
uint32_t nodes_of_cpu(const struct vm_conf *c, uint32_t cpu);
/* How far node `to` is from node `from`; a way that is said in one direction is that in the
 * other. */
uint8_t nodes_distance(const struct vm_conf *c, uint32_t from, uint32_t to);
