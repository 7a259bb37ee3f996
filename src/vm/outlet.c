/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input with back-pressure, and being attached to a loop. See outlet.h.
 */
#include "vm/outlet.h"

#include <errno.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"

#define IN_BYTES 16384

bool outlet_would_block(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

void outlet_init(struct outlet *s, const struct outlet_ops *ops)
{
	s->ops = ops;
	s->c.ops = &ops->chardev;
	pthread_mutex_init(&s->lock, NULL);
}

void outlet_fini(struct outlet *s)
{
	free(s->in);
	pthread_mutex_destroy(&s->lock);
}

/* Does the device want input? If so it is taken for full until it has taken all: it may say from
 * another thread, while it is being given input, that it has room. */
static bool begin_giving(struct outlet *s)
{
	bool wanted;

	pthread_mutex_lock(&s->lock);
	wanted = !s->off && !s->full && s->c.input;
	s->full |= wanted;
	pthread_mutex_unlock(&s->lock);
	return wanted;
}

static void all_was_taken(struct outlet *s)
{
	pthread_mutex_lock(&s->lock);
	s->full = false;
	pthread_mutex_unlock(&s->lock);
}

bool outlet_deliver(struct outlet *s)
{
	bool wanted;

	while (s->in_at < s->in_len) {
		size_t left = s->in_len - s->in_at, n;

		if (!begin_giving(s))
			return false;
		n = min_u64(s->c.input(s->c.arg, s->in + s->in_at, left), left);
		s->in_at += n;
		if (n < left)
			return false;
		all_was_taken(s);
	}
	wanted = begin_giving(s);
	if (wanted)
		all_was_taken(s);
	return wanted;
}

ssize_t outlet_read(struct outlet *s, int fd)
{
	ssize_t n;

	if (!s->in)
		s->in = mem_new(IN_BYTES);
	n = read(fd, s->in, IN_BYTES);
	s->in_at = 0;
	s->in_len = n > 0 ? (size_t)n : 0;
	return n;
}

void outlet_want_input(struct chardev *c, bool on)
{
	struct outlet *s = container_of(c, struct outlet, c);

	pthread_mutex_lock(&s->lock);
	s->off = !on;
	if (on)
		s->full = false;
	if (on && s->loop)
		loop_post(s->loop, &s->in_msg, s->ops->input_turn, s);
	pthread_mutex_unlock(&s->lock);
}

void outlet_window(struct outlet *s, uint16_t cols, uint16_t rows)
{
	if (cols == s->c.cols && rows == s->c.rows)
		return;
	s->c.cols = cols;
	s->c.rows = rows;
	if (s->c.resized)
		s->c.resized(s->c.arg, cols, rows);
}

struct attaching {
	struct outlet *s;
	struct loop *io;
};

static void attach_here(void *arg)
{
	struct attaching *a = arg;

	pthread_mutex_lock(&a->s->lock);
	a->s->loop = a->io;
	a->s->full = a->s->off = false;
	pthread_mutex_unlock(&a->s->lock);
	a->s->ops->attach(a->s);
}

/* After this nothing is posted any more, and what is on its way finds no loop. */
static void detach_here(void *arg)
{
	struct outlet *s = arg;

	s->ops->detach(s);
	pthread_mutex_lock(&s->lock);
	s->loop = NULL;
	pthread_mutex_unlock(&s->lock);
}

void outlet_attach(struct outlet *s, struct loop *io)
{
	struct attaching a = { .s = s, .io = io };

	loop_call(io, attach_here, &a);
}

void outlet_detach(struct outlet *s)
{
	if (s->loop)
		loop_call(s->loop, detach_here, s);
}
