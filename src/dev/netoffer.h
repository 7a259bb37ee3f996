/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a network card offers, and what the driver's choice means to the link. Pure functions of
 * feature bits, for any thread. virtio 1.3 §5.1.3.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

/* The features of a card with this config. has_offloads: the link knows of checksums and segments;
 * mtu 0: not known. */
uint64_t netoffer_features(const struct net_conf *c, bool has_offloads, uint32_t mtu);
/* Those of the features that the driver may switch off and on while it runs. */
uint64_t netoffer_switched(uint64_t features);
/* What the kernel may do to frames for the driver: TUN_F_* bits of linux/if_tun.h. */
uint32_t netoffer_tun(uint64_t features);
