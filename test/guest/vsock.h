/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver of virtio-vsock for the tiny guest: packets by hand, their headers whole, buffers that
 * are posted again when they have been looked at. Specification: virtio 1.3 §5.10.
 */
#pragma once

#include "virtio.h"

#define VS_HEADER 44
#define VS_STREAM 1
#define VS_SEQPACKET 2
#define VS_F_SEQPACKET 2ul
#define VS_EOM 1
#define VS_DATA_MAX 0x10000u

enum {
	OP_REQUEST = 1,
	OP_RESPONSE,
	OP_RST,
	OP_SHUTDOWN,
	OP_RW,
	OP_CREDIT_UPDATE,
	OP_CREDIT_REQUEST
};
enum { SHUT_RCV = 1, SHUT_SEND = 2, SHUT_BOTH = 3 };

/* struct virtio_vsock_hdr */
struct vs_hdr {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

/* One end here of a connection. */
struct vs_conn {
	uint32_t host_port, guest_port;
	uint16_t type;
	uint32_t window, forwarded; /* what the host may send, and what was taken of it */
	uint32_t peer_window, peer_forwarded, sent;
};

/* The device started, all buffers posted, of rx_bytes each with the header. */
bool vs_start(struct vdev *d, uint32_t rx_bytes);
uint64_t vs_cid(const struct vdev *d);

/* Room for the payload of the next packet, of VS_DATA_MAX bytes; waits for it. */
uint8_t *vs_room(struct vdev *d);
/* Sends a packet with len bytes of that room. */
void vs_send(struct vdev *d, struct vs_conn *c, uint16_t op, uint32_t flags, uint32_t len);
/* The same with a header of the caller's own. */
void vs_send_raw(struct vdev *d, const struct vs_hdr *h, uint32_t len);
/* Bytes that the host still takes. */
uint32_t vs_credit(const struct vs_conn *c);

/* The next packet of the host, its payload behind it; NULL after us microseconds. vs_done gives its
 * buffer back. */
const struct vs_hdr *vs_next(struct vdev *d, uint64_t us);
void vs_done(struct vdev *d);
/* Notes what it says of credit. */
void vs_hear(struct vs_conn *c, const struct vs_hdr *h);

/* Asks for a port of the host; true when it was answered well. */
bool vs_connect(struct vdev *d, struct vs_conn *c, uint16_t type, uint32_t host_port,
		uint32_t guest_port);
