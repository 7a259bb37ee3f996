/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network queues under a hostile driver: the input is a descriptor table and the order of heads for
 * each of the three queues, then bytes of frames and commands, then frames from the network. The
 * device's code is taken in whole, with a loop that has no thread and a socket pair in place of the
 * tap.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"

static int no_thread(struct loop *l, const char *profile, struct err *e)
{
	(void)l;
	(void)profile;
	(void)e;
	return 0;
}
#define loop_start no_thread
#include "../../src/dev/net.c"
#undef loop_start

#include "../unit/virtio/drive.h"

#define DESCS 16
#define TABLE_BYTES (DESCS * 16)
#define HEADS 6
#define PART (TABLE_BYTES + HEADS)
#define QUEUES 3

static struct rig rig;
static struct net_conf conf;
static int network; /* the far end */

static long far(ssize_t n)
{
	return n > 0 ? n : n < 0 && (errno == EAGAIN || errno == ENOBUFS) ? LINK_AGAIN : LINK_DROP;
}
static long far_tx(struct nlink *l, const struct kiov *k, unsigned int n)
{
	return far(writev(l->fd, &k->v, (int)n));
}
static long far_rx(struct nlink *l, const struct kiov *k, unsigned int n)
{
	return far(readv(l->fd, &k->v, (int)n));
}
static int far_offload(struct nlink *l, uint32_t bits)
{
	(void)l;
	return bits & ~31u ? -1 : 0;
}
static void far_close(struct nlink *l)
{
	close(l->fd);
}
static const struct link_ops far_ops = {
	.name = "pair",
	.offload = far_offload,
	.tx = far_tx,
	.rx = far_rx,
	.close = far_close,
};

int tap_open(struct nlink *links, const struct tap_args *a, struct err *e)
{
	int p[2];

	(void)a;
	(void)e;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, p))
		abort();
	network = p[0];
	links[0] = (struct nlink){ .ops = &far_ops, .fd = p[1] };
	return 0;
}
uint32_t tap_mtu(const struct nlink *l)
{
	(void)l;
	return 1500;
}

static void make_card(void)
{
	log_init(LOG_ERROR, 2);
	desc_default(&net_desc, &conf);
	conf.queue_size = DESCS;
	rig_init(&rig);
	rig_add(&rig, &net_class, &conf);
}

static void lay_queue(uint16_t q, const uint8_t *data)
{
	uint8_t table[TABLE_BYTES];

	memcpy(table, data, sizeof(table));
	for (int i = 0; i < DESCS; i++) {
		/* mostly within RAM and of the ring, or each input would die on its first
		 * descriptor */
		le64_put(table + 16 * i, BUF + le16_get(table + 16 * i) % 0x8000);
		if (table[16 * i + 15] < 0xf0)
			le32_put(table + 16 * i + 8, le16_get(table + 16 * i + 8));
		le16_put(table + 16 * i + 12, table[16 * i + 12] & 7);
		le16_put(table + 16 * i + 14, table[16 * i + 14] % (DESCS + 1));
	}
	rig_ok(gmem_write(rig.mem, GPA(Q_AT(q)), table, sizeof(table)));
	for (int i = 0; i < HEADS; i++)
		drv_offer(&rig, q, data[TABLE_BYTES + i] % DESCS);
	drv_kick(&rig, q);
}

static void turn(struct loop *l, int turns)
{
	while (turns--) {
		loop_stop(l);
		loop_run(l);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t frame[70000];

	if (!rig.d)
		make_card();
	if (size < 1 + QUEUES * PART)
		return -1;
	drv_start(&rig,
		  data[0] & 1 ? ~VF_ACCESS_PLATFORM : VF_INDIRECT_DESC | BIT(VIRTIO_NET_F_CTRL_VQ));
	data++;
	size -= 1 + QUEUES * PART;
	rig_ok(gmem_write(rig.mem, GPA(BUF), data + QUEUES * PART, size < 0x8000 ? size : 0x8000));
	for (uint16_t q = 0; q < QUEUES; q++)
		lay_queue(q, data + q * PART);
	for (size_t at = 0, n = 60; at < size && at < 4; at++, n *= 7)
		if (write(network, frame, n) < 0)
			break;
	turn(vdev_of(rig.d)->queues[0].loop, 4);
	while (read(network, frame, sizeof(frame)) > 0)
		;
	drv_reset(&rig);
	if (drv_status(&rig))
		abort();
	/* frames that nobody took */
	while (read(net_of(vdev_of(rig.d))->pairs[0].link.fd, frame, sizeof(frame)) > 0)
		;
	return 0;
}
