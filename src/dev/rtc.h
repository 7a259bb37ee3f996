/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rtc, virtio 1.4 "RTC device", type 17: one queue of requests, and one clock, number 0,
 * which is the host's wall clock: UTC, perhaps smeared around leap seconds, as the host keeps it. A
 * driver may read it, and ask what there is. No alarms, no readings together with a counter of the
 * processor. The board's io loop serves it; configured by struct rtc_conf (conf/conf.h).
 */
#pragma once

#include "virtio/vdev.h"

extern const struct virtio_class rtc_class;
