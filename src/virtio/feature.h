/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feature bits that belong to the transport and the rings rather than to a kind of device. virtio
 * 1.3 §6.
 */
#pragma once

#define VF_INDIRECT_DESC (1ull << 28)
#define VF_EVENT_IDX (1ull << 29)
#define VF_VERSION_1 (1ull << 32)
#define VF_ACCESS_PLATFORM (1ull << 33)
#define VF_IN_ORDER (1ull << 35)
