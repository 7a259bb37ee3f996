/* SPDX-License-Identifier: Apache-2.0 */
/* Names of a snapshot's files, as Cloud Hypervisor's clients know them. */
#pragma once

#define SNAP_CONFIG "config.json"
#define SNAP_STATE "state.json" /* last to come: without it there is no snapshot */
#define SNAP_MEMORY "memory-ranges"
#define SNAP_TOUCHED "memory-touched" /* ours, and not always there: see mem/touched.h */
