/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes between the guest's buffers and a unix socket. See vsconn.h.
 *
 * The socket is watched by edges, so that no call is made to watch it while data flow: `readable`
 * says that a read may give something and is put out when one has given less than asked; room for
 * writing is waited for only while something is kept.
 */
#include "net/vsconn.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"

#define READ_MAX 0x40000u /* bytes at once, so that others come to their turn */
#define PIECES_MAX 256
/* Freed credit is told by the quarter of the window; until then with what is sent anyway. */
#define TELL_PART 4

static bool is_later(int error)
{
	return error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM;
}

/* A guest that lies about it gets nothing. */
static uint32_t credit(const struct vsconn *c)
{
	uint32_t flying = c->sent - c->peer_forwarded;

	return flying < c->peer_window ? c->peer_window - flying : 0;
}

void vsconn_hear_credit(struct vsconn *c, uint32_t window, uint32_t forwarded)
{
	if (c->peer_window == window && c->peer_forwarded == forwarded)
		return;
	c->peer_window = window;
	c->peer_forwarded = forwarded;
	c->starved = c->asked = false;
}

/* There is something to read and no credit for it: the guest is asked once. */
static void starve(struct vsconn *c)
{
	c->starved = true;
	c->owes |= c->asked ? 0 : VS_OWES_QUESTION;
	c->asked = true;
}

bool vsconn_owes_credit(const struct vsconn *c)
{
	return c->forwarded - c->told >= c->window / TELL_PART;
}

/* --- out of the socket --- */

/* What a read has told: the host sends no more. */
static void end_of_host(struct vsconn *c)
{
	c->readable = false;
	c->host_shut |= c->hung_up ? VS_NO_WAY : VS_NO_SEND;
	c->owes |= VS_OWES_SHUTDOWN;
}

static ssize_t receive(struct vsconn *c, struct kiov *k, unsigned int n, int flags, int *told)
{
	struct msghdr m = { .msg_iov = &k->v, .msg_iovlen = n };
	ssize_t got = recvmsg(c->fd, &m, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*told = got < 0 ? 0 : m.msg_flags;
	if (got < 0 && is_later(errno)) {
		if (errno == EAGAIN)
			c->readable = false;
		return -1;
	}
	if (got < 0) {
		c->hung_up = true;
		got = 0;
	}
	return got;
}

/* The rooms as one payload of at most limit bytes. */
static unsigned int gather(struct kiov *out, const struct vsroom *rooms, unsigned int n,
			   uint32_t limit, uint32_t *bytes)
{
	unsigned int count = 0;
	int cut;

	*bytes = 0;
	for (unsigned int i = 0; i < n && *bytes < limit; i++) {
		if (count + rooms[i].pieces > PIECES_MAX)
			break;
		memcpy(out + count, rooms[i].k, rooms[i].pieces * sizeof(out[0]));
		count += rooms[i].pieces;
		*bytes += rooms[i].bytes;
	}
	if (*bytes <= limit)
		return count;
	*bytes = limit;
	cut = kiov_slice(out, count, 0, limit, out, PIECES_MAX);
	return cut > 0 ? (unsigned int)cut : 0;
}

static enum vs_moved read_stream(struct vsconn *c, const struct vsroom *rooms, unsigned int n,
				 uint32_t *got)
{
	struct kiov k[PIECES_MAX];
	uint32_t limit = (uint32_t)min_u64(credit(c), READ_MAX), asked;
	unsigned int count = gather(k, rooms, n, limit, &asked);
	int told;
	ssize_t len;

	if (!limit)
		starve(c);
	if (!asked || !count)
		return VS_NOTHING;
	len = receive(c, k, count, 0, &told);
	if (len < 0)
		return VS_NOTHING;
	c->hungry = (uint32_t)len == asked;
	if (len == 0) {
		end_of_host(c);
		return VS_NOTHING;
	}
	/* Less than asked is all there was, but before an end, and behind descriptors that a peer
	 * sends and we do not take. */
	if (!c->hungry && !c->ended && !(told & MSG_CTRUNC))
		c->readable = false;
	*got = (uint32_t)len;
	return VS_MOVED;
}

/* Length of the message that waits in the socket; 0: none. */
static enum vs_moved next_message(struct vsconn *c, uint32_t *len)
{
	struct kiov none = kiov_of(NULL, 0);
	int told;
	ssize_t n = receive(c, &none, 0, MSG_PEEK | MSG_TRUNC, &told);

	*len = 0;
	if (n < 0)
		return VS_NOTHING;
	/* A message without a byte cannot be told of, and is passed over. */
	if (n == 0 && (c->ended || c->hung_up))
		end_of_host(c);
	else if (n == 0)
		receive(c, &none, 0, 0, &told);
	if (n == 0)
		return VS_NOTHING;
	if ((size_t)n > c->peer_window) {
		log_guest("a message of %zd bytes is more than the guest ever takes at once", n);
		return VS_FAULT;
	}
	*len = (uint32_t)n;
	return VS_MOVED;
}

/* Goes on with a message that was read and did not fit. */
static enum vs_moved give_whole(struct vsconn *c, const struct vsroom *rooms, unsigned int n,
				uint32_t *got, bool *whole)
{
	uint32_t left = c->whole_len - c->whole_at;

	for (unsigned int i = 0; i < n && *got < left; i++)
		*got += (uint32_t)kiov_put(rooms[i].k, rooms[i].pieces, 0,
					   c->whole + c->whole_at + *got,
					   min_u64(left - *got, rooms[i].bytes));
	c->whole_at += *got;
	*whole = c->whole_at == c->whole_len;
	if (*whole)
		free(take(&c->whole));
	return *got ? VS_MOVED : VS_NOTHING;
}

static enum vs_moved read_message(struct vsconn *c, const struct vsroom *rooms, unsigned int n,
				  uint32_t *got, bool *whole)
{
	struct kiov k[PIECES_MAX];
	enum vs_moved r = VS_NOTHING;
	uint32_t len, room;
	unsigned int count;
	ssize_t taken;
	int told;

	if (c->whole)
		return give_whole(c, rooms, n, got, whole);
	r = next_message(c, &len);
	if (r != VS_MOVED)
		return r;
	c->hungry = true; /* its next message wants room too */
	if (len > credit(c)) {
		starve(c);
		return VS_NOTHING;
	}
	count = gather(k, rooms, n, len, &room);
	if (room == len && count) {
		taken = receive(c, k, count, 0, &told);
		*got = taken == (ssize_t)len ? len : 0;
		*whole = *got != 0;
		return *got ? VS_MOVED : VS_NOTHING;
	}
	c->whole = mem_new(len);
	k[0] = kiov_of(c->whole, len);
	taken = receive(c, k, 1, 0, &told);
	c->whole_len = taken > 0 ? (uint32_t)taken : 0;
	c->whole_at = 0;
	if (c->whole_len)
		return give_whole(c, rooms, n, got, whole);
	free(take(&c->whole));
	return VS_NOTHING;
}

enum vs_moved vsconn_read(struct vsconn *c, const struct vsroom *rooms, unsigned int n,
			  uint32_t *got, bool *whole)
{
	enum vs_moved r;

	*got = 0;
	*whole = false;
	if (c->packets)
		r = read_message(c, rooms, n, got, whole);
	else
		r = read_stream(c, rooms, n, got);
	c->sent += *got;
	return r;
}

/* --- into the socket --- */

/* Bytes that went; 0: not now; -1: the host takes nothing any more. */
static ssize_t deliver(struct vsconn *c, const struct kiov *k, unsigned int n)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)&k->v, .msg_iovlen = n };
	ssize_t sent = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent >= 0)
		return sent;
	return is_later(errno) ? 0 : -1;
}

/* So many bytes of the guest's are not ours any more. */
static void forwarded(struct vsconn *c, uint32_t len, bool was_held)
{
	c->forwarded += len;
	c->held -= was_held ? len : 0;
}

/* What is kept, and what will come, is for nobody. */
static void host_deaf(struct vsconn *c)
{
	c->host_shut |= VS_NO_RCV;
	c->owes |= VS_OWES_SHUTDOWN;
	forwarded(c, c->held, true);
	vskept_fini(&c->kept);
	free(take(&c->part));
	c->part_len = 0;
}

/* Waits for room in the socket, or no more. */
static enum vs_moved watch_room(struct vsconn *c, bool on)
{
	if (c->watch.loop)
		loop_rewatch(&c->watch, EPOLLIN | EPOLLRDHUP | EPOLLET | (on ? EPOLLOUT : 0));
	return VS_MOVED;
}

static enum vs_moved keep(struct vsconn *c, const struct kiov *k, unsigned int n, size_t off,
			  uint32_t len)
{
	bool first = !c->kept.len;

	if (!vskept_put(&c->kept, k, n, off, len))
		return VS_FAULT;
	c->held += len;
	return first ? watch_room(c, true) : VS_MOVED;
}

static enum vs_moved write_stream(struct vsconn *c, const struct kiov *k, unsigned int n,
				  uint32_t len)
{
	ssize_t sent = 0;

	if (!c->kept.len && n <= IOV_MAX)
		sent = deliver(c, k, n);
	if (sent < 0) {
		host_deaf(c);
		return VS_MOVED;
	}
	forwarded(c, (uint32_t)sent, false);
	return (uint32_t)sent == len ? VS_MOVED : keep(c, k, n, (size_t)sent, len - (uint32_t)sent);
}

/* A whole message, all of which goes at once or not at all. Its bytes are held. */
static enum vs_moved write_whole(struct vsconn *c, const struct kiov *k, unsigned int n,
				 uint32_t len)
{
	bool first = !c->kept.len;
	ssize_t sent = first ? deliver(c, k, n) : 0;

	if (sent < 0 && errno == EMSGSIZE)
		return VS_FAULT;
	if (sent < 0) {
		host_deaf(c);
		return VS_MOVED;
	}
	if (sent)
		forwarded(c, len, true);
	else if (!vskept_put_message(&c->kept, k, n, len))
		return VS_FAULT;
	else if (first)
		watch_room(c, true);
	return VS_MOVED;
}

static enum vs_moved write_message(struct vsconn *c, const struct kiov *k, unsigned int n,
				   uint32_t len, bool ends)
{
	enum vs_moved r;
	struct kiov own;

	c->held += len;
	if (ends && !c->part_len && n <= IOV_MAX)
		return len ? write_whole(c, k, n, len) : VS_MOVED;
	if (!c->part)
		c->part = mem_new(c->window);
	kiov_get(k, n, 0, c->part + c->part_len, len);
	c->part_len += len;
	if (!ends || !c->part_len)
		return VS_MOVED;
	own = kiov_of(c->part, c->part_len);
	r = write_whole(c, &own, 1, c->part_len);
	c->part_len = 0;
	free(take(&c->part));
	return r;
}

enum vs_moved vsconn_write(struct vsconn *c, const struct kiov *k, unsigned int n, uint32_t len,
			   bool ends)
{
	if (len > c->window - c->held)
		return VS_FAULT; /* more than it had credit for */
	if (c->host_shut & VS_NO_RCV) {
		forwarded(c, len, false);
		return VS_MOVED;
	}
	if (c->packets)
		return write_message(c, k, n, len, ends);
	return len ? write_stream(c, k, n, len) : VS_MOVED;
}

/* One piece of what is kept: a message, or as much as there is. Bytes that went, and what they
 * count of the guest's credit. */
static ssize_t flush_one(struct vsconn *c, uint32_t *counted)
{
	uint32_t mark = 0, len = c->packets ? vskept_message(&c->kept, &mark) : c->kept.len;
	struct kiov k[2];
	unsigned int n = vskept_iov(&c->kept, k, mark, len);
	ssize_t sent = deliver(c, k, n);

	*counted = sent > 0 ? (uint32_t)sent : 0;
	return sent > 0 ? sent + mark : sent;
}

enum vs_moved vsconn_flush(struct vsconn *c)
{
	while (c->kept.len) {
		uint32_t counted;
		ssize_t sent = flush_one(c, &counted);

		if (sent < 0)
			host_deaf(c);
		if (sent <= 0)
			break;
		vskept_drop(&c->kept, (uint32_t)sent);
		forwarded(c, counted, true);
	}
	if (!c->kept.len)
		watch_room(c, false);
	return c->kept.len ? VS_NOTHING : VS_MOVED;
}

void vsconn_shut(struct vsconn *c)
{
	if (c->fd < 0)
		return;
	if (c->guest_shut & VS_NO_SEND && !c->kept.len)
		shutdown(c->fd, SHUT_WR);
	if (c->guest_shut & VS_NO_RCV)
		shutdown(c->fd, SHUT_RD);
}

void vsconn_close(struct vsconn *c)
{
	loop_unwatch(&c->watch);
	fd_close(&c->fd);
	vskept_fini(&c->kept);
	free(take(&c->part));
	free(take(&c->whole));
	c->readable = false;
}
