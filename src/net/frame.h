/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lengths of frames and of the header before them, for network cards and what is behind them. virtio
 * 1.3 §5.1.6.
 */
#pragma once

#define FRAME_HEADER 12	       /* struct virtio_net_hdr with num_buffers */
#define FRAME_MIN 14	       /* an Ethernet header */
#define FRAME_OVERHEAD 18      /* an Ethernet header and a tag, beyond the MTU */
#define FRAME_MAX (65535 + 18) /* a segmentation unit with its header and tag */
