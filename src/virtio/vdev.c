/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state machine that all virtio devices share. virtio 1.3 §2.1 (status), §2.2 (features), §2.5
 * (config), §3.1 (initialisation). It knows no register layout (virtio/vpci) and no kind of device.
 * vCPU threads come in with register accesses and hold v->lock; the queues' loops touch the rings
 * only.
 */
#include "virtio/vdev.h"

#include <string.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"

/* --- queues, one by one --- */

void vqueue_notify(struct vqueue *q)
{
	if (vq_wants_interrupt(&q->q))
		q->vdev->transport->queue_irq(q->vdev->transport_arg, q);
}

/* The doorbell of a device that broke rings in vain: it is taken down, so that it costs one turn at
 * most. */
static void queue_kicked(void *arg, uint32_t events)
{
	struct vqueue *q = arg;

	(void)events;
	if (vdev_is_broken(q->vdev))
		loop_unwatch(&q->kick);
	else
		vdev_class(q->vdev)->kick(q);
}

static void queue_stop(void *arg)
{
	struct vqueue *q = arg;
	const struct virtio_class *c = vdev_class(q->vdev);

	loop_unwatch(&q->kick);
	if (!q->running)
		return;
	if (c->stop)
		c->stop(q);
	q->running = false;
}

/* In the queue's loop. A queue that is not running yet looks when it starts. */
static void queue_revoked(void *arg)
{
	struct vqueue *q = arg;

	if (!q->running || !vq_is_revoked(&q->q))
		return;
	vdev_broken(q->vdev, "the driver unmapped memory that the device works with");
	queue_stop(q);
	vq_revoke(&q->q);
}

/* In the queue's loop. What rang before now is covered by the signal that we give ourselves, and
 * what was answered before a pause without an interrupt by the one that goes out here. */
static void queue_start(void *arg)
{
	struct vqueue *q = arg;
	const struct virtio_class *c = vdev_class(q->vdev);
	struct err e = { 0 };

	fd_drain(q->kick_fd);
	if (loop_watch(q->loop, &q->kick, q->kick_fd, EPOLLIN | EPOLLET, queue_kicked, q, &e)) {
		vdev_broken(q->vdev, err_frame(&e, 0));
		return;
	}
	q->running = true;
	if (c->start)
		c->start(q);
	vqueue_notify(q);
	fd_signal(q->kick_fd);
	if (q->vdev->dev.dma.ep)
		queue_revoked(q);
}

void vdev_revoked(struct vdev *v)
{
	for (uint16_t i = 0; i < v->nqueues; i++)
		if (v->queues[i].loop)
			loop_post(v->queues[i].loop, &v->queues[i].revoked, queue_revoked,
				  &v->queues[i]);
}

static void queue_init(struct vqueue *q)
{
	vq_fini(&q->q);
	q->conf = (struct vq_conf){ .size = q->size_max };
	__atomic_store_n(&q->conf.vector, 0xffff, __ATOMIC_RELAXED);
}

int vdev_queues(struct vdev *v, uint16_t n, uint16_t size_max, struct err *e)
{
	if (!n || n > VDEV_QUEUES_MAX)
		return err_set(e, ERR_BAD, "%u queues: a device has 1 to %d of them", n,
			       VDEV_QUEUES_MAX);
	if (!is_pow2(size_max) || size_max > VQ_SIZE_MAX)
		return err_set(e, ERR_BAD, "a queue size of %u: it must be a power of two up to %d",
			       size_max, VQ_SIZE_MAX);
	pthread_mutex_init(&v->lock, NULL);
	v->offered |= VF_VERSION_1 | (v->dev.dma.ep ? VF_ACCESS_PLATFORM : 0);
	v->queues = mem_array(n, sizeof(v->queues[0]));
	for (v->nqueues = 0; v->nqueues < n; v->nqueues++) {
		struct vqueue *q = &v->queues[v->nqueues];

		*q = (struct vqueue){ .vdev = v, .index = v->nqueues, .size_max = size_max };
		q->kick_fd = fd_event(e);
		if (q->kick_fd < 0) {
			vdev_fini(v);
			return -1;
		}
		queue_init(q);
	}
	return 0;
}

void vdev_fini(struct vdev *v)
{
	if (!v->queues)
		return;
	for (uint16_t i = 0; i < v->nqueues; i++) {
		vq_fini(&v->queues[i].q);
		fd_close(&v->queues[i].kick_fd);
	}
	free(v->queues);
	v->queues = NULL;
	v->nqueues = 0;
	pthread_mutex_destroy(&v->lock);
}

/* --- all of them; v->lock is held --- */

static void stop_all(struct vdev *v)
{
	for (uint16_t i = 0; i < v->nqueues; i++)
		if (v->queues[i].q.live)
			loop_call(v->queues[i].loop, queue_stop, &v->queues[i]);
}

/* Queues that were set up and will not start hold nothing. */
static void let_go_all(struct vdev *v)
{
	for (uint16_t i = 0; i < v->nqueues; i++)
		if (v->queues[i].q.live && !v->queues[i].running)
			vq_revoke(&v->queues[i].q);
}

/* First every window, then every start: a device never sees a sister queue half made. */
static void start_all(struct vdev *v)
{
	const struct dma *dma = &v->dev.dma;

	for (uint16_t i = 0; i < v->nqueues; i++) {
		struct vqueue *q = &v->queues[i];

		if (!q->conf.enabled || q->running)
			continue;
		if (q->conf.size > q->size_max || vq_setup(&q->q, dma, &q->conf, v->features)) {
			vdev_broken(v, "a queue has no rings where the driver says");
			let_go_all(v);
			return;
		}
	}
	for (uint16_t i = 0; i < v->nqueues; i++)
		if (v->queues[i].q.live && !v->queues[i].running)
			loop_call(v->queues[i].loop, queue_start, &v->queues[i]);
}

static bool wants_running(const struct vdev *v)
{
	return v->status & VSTAT_DRIVER_OK && !vdev_is_broken(v);
}

void vdev_stop(struct vdev *v)
{
	pthread_mutex_lock(&v->lock);
	stop_all(v);
	pthread_mutex_unlock(&v->lock);
}

void vdev_start(struct vdev *v)
{
	pthread_mutex_lock(&v->lock);
	if (wants_running(v))
		start_all(v);
	pthread_mutex_unlock(&v->lock);
}

int vdev_quiesce(struct dev *d, struct err *e)
{
	(void)e;
	vdev_stop(vdev_of(d));
	return 0;
}

void vdev_resume(struct dev *d)
{
	vdev_start(vdev_of(d));
}

/* --- status and features --- */

static void tell(struct vdev *v, const char *what)
{
	const struct board_up *up = &v->dev.board->up;
	uint32_t dropped = 0;

	/* a driver that starts and resets for ever does not fill the monitor's file */
	if (up->event && log_site_admits(&v->told, loop_now_ns(), &dropped))
		up->event(up->arg, "virtio-device", what, v->dev.id);
}

/* Under the lock, as all who look at it but vdev_config_changed. */
static void status_put(struct vdev *v, int status)
{
	__atomic_store_n(&v->status, (uint8_t)status, __ATOMIC_RELAXED);
}

static void reset(struct vdev *v)
{
	bool was_running = v->status & VSTAT_DRIVER_OK;

	stop_all(v);
	for (uint16_t i = 0; i < v->nqueues; i++)
		queue_init(&v->queues[i]);
	v->features = v->driver_features = 0;
	status_put(v, 0);
	atomic_store(&v->broken, false);
	if (vdev_class(v)->reset)
		vdev_class(v)->reset(v);
	if (was_running)
		tell(v, "reset");
}

/* §2.2: the driver takes a part of what is offered, and VERSION_1 is no choice with a modern
 * transport. */
static bool features_fit(const struct vdev *v)
{
	return !(v->driver_features & ~v->offered) && v->driver_features & VF_VERSION_1;
}

/* §2.1: bits are only ever added. What comes too early, or against the rules, stays off. */
static void add_status(struct vdev *v, uint8_t s)
{
	uint8_t fresh = (uint8_t)(s & ~v->status & ~VSTAT_NEEDS_RESET);

	if (fresh & VSTAT_FEATURES_OK && !features_fit(v)) {
		log_guest("%s: the driver wants features 0x%llx of 0x%llx", v->dev.id,
			  (unsigned long long)v->driver_features, (unsigned long long)v->offered);
		fresh &= (uint8_t)~VSTAT_FEATURES_OK;
	}
	status_put(v, v->status | (fresh & ~VSTAT_DRIVER_OK));
	if (fresh & VSTAT_FEATURES_OK)
		v->features = v->driver_features;
	if (!(fresh & VSTAT_DRIVER_OK) || !(v->status & VSTAT_FEATURES_OK))
		return;
	status_put(v, v->status | VSTAT_DRIVER_OK);
	if (!wants_running(v))
		return;
	start_all(v);
	tell(v, "activated");
}

void vdev_set_status(struct vdev *v, uint8_t s)
{
	pthread_mutex_lock(&v->lock);
	if (s)
		add_status(v, s);
	else
		reset(v);
	pthread_mutex_unlock(&v->lock);
}

uint8_t vdev_status(struct vdev *v)
{
	uint8_t s;

	pthread_mutex_lock(&v->lock);
	s = v->status;
	pthread_mutex_unlock(&v->lock);
	return (uint8_t)(s | (vdev_is_broken(v) ? VSTAT_NEEDS_RESET : 0));
}

/* --- config bytes --- */

void vdev_config_read(struct vdev *v, uint32_t off, uint8_t *data, uint32_t len)
{
	pthread_mutex_lock(&v->lock);
	for (uint32_t i = 0; i < len; i++)
		data[i] = off < v->config_len && i < v->config_len - off
				  ? __atomic_load_n(&v->config[off + i], __ATOMIC_RELAXED)
				  : 0;
	pthread_mutex_unlock(&v->lock);
}

void vdev_config_write(struct vdev *v, uint32_t off, const uint8_t *data, uint32_t len)
{
	bool changed = false;

	pthread_mutex_lock(&v->lock);
	for (uint32_t i = 0; i < len && off < v->config_len && i < v->config_len - off; i++) {
		uint8_t *c = &v->config[off + i], mask = v->config_mask[off + i];
		uint8_t was, now;

		/* not touched at all: the device may be changing it */
		if (!mask)
			continue;
		was = __atomic_load_n(c, __ATOMIC_RELAXED);
		now = (uint8_t)((was & ~mask) | (data[i] & mask));
		changed |= now != was;
		__atomic_store_n(c, now, __ATOMIC_RELAXED);
	}
	if (changed && vdev_class(v)->wrote)
		vdev_class(v)->wrote(v, off, len);
	pthread_mutex_unlock(&v->lock);
}

/* --- from any thread --- */

void vdev_config_flip(struct vdev *v, uint32_t off, uint8_t clear, uint8_t set)
{
	__atomic_and_fetch(&v->config[off], (uint8_t)~clear, __ATOMIC_RELAXED);
	__atomic_or_fetch(&v->config[off], set, __ATOMIC_RELAXED);
}

void vdev_config_put(struct vdev *v, uint32_t off, const uint8_t *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		__atomic_store_n(&v->config[off + i], data[i], __ATOMIC_RELAXED);
}

void vdev_config_changed(struct vdev *v)
{
	__atomic_fetch_add(&v->config_gen, 1, __ATOMIC_RELEASE);
	if (__atomic_load_n(&v->status, __ATOMIC_RELAXED) & VSTAT_DRIVER_OK)
		v->transport->config_irq(v->transport_arg);
}

static void kick_now(void *arg)
{
	struct vqueue *q = arg;

	if (q->running)
		vdev_class(q->vdev)->kick(q);
}

void vdev_kick(struct vdev *v, uint16_t queue)
{
	struct vqueue *q = queue < v->nqueues ? &v->queues[queue] : NULL;

	if (q && q->at_once)
		loop_call(q->loop, kick_now, q);
	else if (q)
		fd_signal(q->kick_fd);
}

void vdev_broken(struct vdev *v, const char *why)
{
	if (atomic_exchange(&v->broken, true))
		return;
	log_guest("%s: needs a reset: %s", v->dev.id, why);
	v->transport->config_irq(v->transport_arg);
}

/* --- saved state --- */

void vdev_save(struct vdev *v, struct vdev_state *s)
{
	pthread_mutex_lock(&v->lock);
	*s = (struct vdev_state){
		.features = v->features,
		.driver_features = v->driver_features,
		.status = v->status,
		.broken = vdev_is_broken(v),
		.config_gen = v->config_gen,
		.queues = { .count = v->nqueues, .items = NULL },
	};
	s->queues.items = mem_array(v->nqueues, sizeof(s->queues.items[0]));
	for (uint16_t i = 0; i < v->nqueues; i++)
		s->queues.items[i] = (struct vqueue_state){
			.conf = v->queues[i].conf,
			.next_avail = v->queues[i].q.next_avail,
			.next_used = v->queues[i].q.next_used,
		};
	pthread_mutex_unlock(&v->lock);
}

int vdev_load(struct vdev *v, const struct vdev_state *s, struct err *e)
{
	if (s->queues.count != v->nqueues)
		return err_set(e, ERR_BAD, "the saved device has %u queues and this one %u",
			       s->queues.count, v->nqueues);
	if (s->status & VSTAT_DRIVER_OK && !(s->status & VSTAT_FEATURES_OK))
		return err_set(e, ERR_BAD,
			       "the saved device works for a driver without agreed features");
	/* until features are agreed there are none, whatever the driver has asked for */
	if (s->features & ~v->offered)
		return err_set(e, ERR_BAD,
			       "the saved device had features 0x%llx and this one has 0x%llx",
			       (unsigned long long)s->features, (unsigned long long)v->offered);
	pthread_mutex_lock(&v->lock);
	v->features = s->features;
	v->driver_features = s->driver_features;
	status_put(v, s->status & ~VSTAT_NEEDS_RESET);
	v->config_gen = s->config_gen;
	atomic_store(&v->broken, s->broken != 0);
	for (uint16_t i = 0; i < v->nqueues; i++) {
		struct vqueue *q = &v->queues[i];

		q->conf = s->queues.items[i].conf;
		q->q.next_avail = (uint16_t)s->queues.items[i].next_avail;
		q->q.next_used = (uint16_t)s->queues.items[i].next_used;
	}
	pthread_mutex_unlock(&v->lock);
	return 0;
}

static const struct field vq_conf_fields[] = {
	S(struct vq_conf, size), S(struct vq_conf, vector), S(struct vq_conf, enabled, .max = 1),
	S(struct vq_conf, desc), S(struct vq_conf, avail),  S(struct vq_conf, used),
};
static const struct desc vq_conf_desc = DESC_OF(struct vq_conf, vq_conf_fields, "vq_conf");

static const struct field vqueue_state_fields[] = {
	S_OBJ(struct vqueue_state, conf, &vq_conf_desc),
	S(struct vqueue_state, next_avail, .max = UINT16_MAX),
	S(struct vqueue_state, next_used, .max = UINT16_MAX),
};
static const struct desc vqueue_state_desc =
	DESC_OF(struct vqueue_state, vqueue_state_fields, "vqueue_state");

static const struct field vdev_state_fields[] = {
	S(struct vdev_state, features),
	S(struct vdev_state, driver_features),
	S(struct vdev_state, status, .max = UINT8_MAX),
	S(struct vdev_state, broken, .max = 1),
	S(struct vdev_state, config_gen),
	S_LIST(struct vdev_state, queues, &vqueue_state_desc),
};
const struct desc vdev_state_desc = DESC_OF(struct vdev_state, vdev_state_fields, "vdev_state");
