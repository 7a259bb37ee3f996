/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection between a port of the guest and a unix socket of the host: the socket's half. It
 * moves bytes straight between the guest's buffers and the socket, keeps what the socket does not
 * take within the credit that it has given, and never sends more than it was given. Who may speak
 * when, and with what packets, is net/vsmux's. virtio 1.3 §5.10.6. Belongs to the muxer's loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/loop.h"
#include "net/vskept.h"

struct vsmux;

/* What one buffer of the guest has room for. */
struct vsroom {
	const struct kiov *k;
	unsigned int pieces;
	uint32_t bytes;
};

/* Ways that are closed: who does not receive, who does not send. As in a SHUTDOWN packet. */
enum { VS_NO_RCV = 1, VS_NO_SEND = 2, VS_NO_WAY = 3 };

enum vs_state {
	VS_KNOCKS, /* the guest asks, and the host's listener has no room yet */
	VS_ASKS,   /* the host asks, and the guest has not answered */
	VS_OPEN,
	VS_DYING, /* only its RST is left to be told */
};

/* Packets owed to the guest. */
enum {
	VS_OWES_REQUEST = 1,
	VS_OWES_RESPONSE = 2,
	VS_OWES_RST = 4,
	VS_OWES_SHUTDOWN = 8,
	VS_OWES_CREDIT = 16,
	VS_OWES_QUESTION = 32, /* CREDIT_REQUEST */
};

struct vsconn {
	struct vsmux *mux;
	struct vsconn *next; /* of its bucket */
	struct link ready;   /* in the muxer's line of those with something for the guest */
	struct link timed;   /* in one of its lines of those who wait for a time */
	uint64_t due_ns;
	struct loop_fd watch;
	int fd; /* -1: none any more */
	uint32_t host_port, guest_port;
	bool packets; /* SEQPACKET, else STREAM */
	enum vs_state state;
	uint8_t owes;
	uint8_t host_shut, guest_shut; /* ways that a side has closed */
	bool readable, hung_up;	       /* as far as is known of the socket */
	bool ended;		       /* it will give no more than it holds */
	bool hungry;		       /* the last read filled all the room it had */
	bool starved;		       /* nothing is read before there is more credit */
	bool asked;		       /* for credit, since it last changed */
	bool lingers;		       /* the guest is gone, and kept bytes go out still */

	uint32_t window, forwarded, told; /* credit of the guest: how much, and what was freed */
	uint32_t held;			  /* its bytes in kept and part */
	uint32_t peer_window, peer_forwarded, sent; /* ours with the guest */

	struct vskept kept; /* for the host */
	uint8_t *part;	    /* a message for the host that is not whole yet */
	uint32_t part_len;
	uint8_t *whole; /* a message for the guest that did not go at once */
	uint32_t whole_len, whole_at;
};

/* What came of a move. */
enum vs_moved {
	VS_MOVED,
	VS_NOTHING, /* for now */
	VS_FAULT,   /* the connection cannot go on */
};

#define VS_STREAM_NARROW 0x10000u
#define VS_STREAM_WIDE 0x80000u
#define VS_PACKETS 0x20000u /* less than a unix socket takes at once by default */

/* The guest has said how much it takes and has taken. */
void vsconn_hear_credit(struct vsconn *c, uint32_t window, uint32_t forwarded);
/* Would a read be of use? */
static inline bool vsconn_has_more(const struct vsconn *c)
{
	return c->state == VS_OPEN && (c->readable || c->whole) && !c->starved &&
	       !(c->guest_shut & VS_NO_RCV) && !(c->host_shut & VS_NO_SEND);
}
/* Has enough been forwarded that the guest should hear of it? */
bool vsconn_owes_credit(const struct vsconn *c);

/* Reads from the socket into the rooms, at most what credit allows. used: rooms that were filled,
 * in order, the last perhaps in part; *got bytes. *whole: a message ends there. MOVED only when
 * there is a byte. */
enum vs_moved vsconn_read(struct vsconn *c, const struct vsroom *rooms, unsigned int n,
			  uint32_t *got, bool *whole);
/* Takes len bytes of the guest, which its credit covers; ends: a message ends with them. */
enum vs_moved vsconn_write(struct vsconn *c, const struct kiov *k, unsigned int n, uint32_t len,
			   bool ends);
/* The socket may take more of what is kept. */
enum vs_moved vsconn_flush(struct vsconn *c);
/* Tells the socket what the guest has closed, as far as nothing is kept any more. */
void vsconn_shut(struct vsconn *c);
/* Closes the socket and frees what was kept. */
void vsconn_close(struct vsconn *c);
