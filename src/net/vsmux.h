/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a guest's vsock: unix sockets in place of the host's ports, as Cloud Hypervisor
 * and Firecracker have them.
 *
 *	host -> guest	connect to <path>, say "CONNECT <port>\n", hear "OK <host port>\n"; when the guest does not
 *			want it, the connection is closed without a word
 *	guest -> host	we connect to <path>_<port>, where a program of the host listens
 *
 * Connections that keep the bounds of messages (SEQPACKET) go from the guest to SOCK_SEQPACKET
 * listeners at the same paths, and to the guest from <path>_seqpacket, if wanted.
 *
 * Packets of the guest come in with their payload, packets for it go out into buffers that it has
 * brought; rings and headers are dev/vsock's. A socket that takes nothing holds up its own
 * connection only; so does a guest that brings no buffers. Belongs to one loop, but for vsmux_new
 * and vsmux_free (control thread, while the loop does not run) and the counters. virtio 1.3 §5.10.6.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/loop.h"
#include "mem/gmem.h"
#include "net/vsconn.h"

#define VSMUX_CONNECTIONS 1023
/* Buffers that are of use at once, and bytes of room in them. */
#define VSMUX_ROOMS 32
#define VSMUX_BYTES 0x20000u

enum { VS_TYPE_STREAM = 1, VS_TYPE_SEQPACKET = 2 };
enum {
	VS_OP_REQUEST = 1,
	VS_OP_RESPONSE = 2,
	VS_OP_RST = 3,
	VS_OP_SHUTDOWN = 4,
	VS_OP_RW = 5,
	VS_OP_CREDIT_UPDATE = 6,
	VS_OP_CREDIT_REQUEST = 7,
};
#define VS_FLAG_EOM 1

/* A header without addresses: the host is the one side, the guest the other. */
struct vspkt {
	uint32_t host_port, guest_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};

/* rx: towards the guest. Written in the loop, see base/counter.h. */
struct vsmux_counters {
	uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets;
	uint64_t connections, open, refused, resets;
};

struct vsmux_args {
	const char *path;  /* borrowed */
	bool seqpacket;	   /* a listener for those too */
	struct link *kept; /* listeners of the machine before (base/listen.h); NULL: none */
	struct loop *loop; /* borrowed; it does not run yet */
	/* In the loop: a connection was refused, because there are VSMUX_CONNECTIONS; again only
	 * after half of them have gone. */
	void (*full)(void *arg);
	void *arg;
};

struct vsmux;

/* Could it listen? Makes nothing. */
MUST int vsmux_judge(const struct vsmux_args *a, struct err *e);
/* Listens. On failure nothing is left. */
MUST int vsmux_new(struct vsmux **out, const struct vsmux_args *a, struct err *e);
/* Ends all connections and watches nothing any more. In the loop, or when it never ran. */
void vsmux_stop(struct vsmux *m);
/* After vsmux_stop. The listeners go to the list, or with NULL to their end. m NULL is fine. */
void vsmux_free(struct vsmux *m, struct link *kept);

/* Too many answers wait for the guest's buffers: nothing of it is taken until it has brought some. */
bool vsmux_is_full(const struct vsmux *m);
/* A packet of the guest with its payload of p->len bytes; not while it is full. */
void vsmux_take(struct vsmux *m, const struct vspkt *p, const struct kiov *k, unsigned int n);
/* A packet that lies about its payload: its connection ends. The same conditions. */
void vsmux_refuse(struct vsmux *m, const struct vspkt *p);

/* How many buffers are of use now, VSMUX_ROOMS at most. */
unsigned int vsmux_wants(const struct vsmux *m);
/* Makes packets for the guest, with their payload in the rooms, one each; returns how many, which
 * may be none. */
unsigned int vsmux_give(struct vsmux *m, struct vspkt *out, const struct vsroom *rooms,
			unsigned int n);

/* The guest has forgotten all connections. Callers whom it has not heard of yet stay. */
void vsmux_forget(struct vsmux *m);
/* It speaks of SEQPACKET from now on, or does not. */
void vsmux_set_seqpacket(struct vsmux *m, bool on);
/* Time stands still for the guest, so nothing ends for want of its answer; and goes on. */
void vsmux_pause(struct vsmux *m);
void vsmux_resume(struct vsmux *m);

/* For those who look: any thread. */
const struct vsmux_counters *vsmux_counters(const struct vsmux *m);
/* The last port of the host that was given to a connection; and where to go on, before the first. */
uint32_t vsmux_port(const struct vsmux *m);
void vsmux_set_port(struct vsmux *m, uint32_t port);
