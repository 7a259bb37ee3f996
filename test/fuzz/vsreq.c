/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock under a hostile driver and hostile programs of the host. The input is either descriptor
 * tables for its three queues, or a story: packets of the guest with sound headers and any content,
 * buffers, callers and listeners of the host that speak, listen and leave.
 */
#include "queues.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "../../src/dev/vsock.c"

#define PACKETS (BUF + 0x8000)
#define PACKET_BYTES 0x1000
#define ENDS 8

static struct vsock_conf conf;
static char path[64];
static int at[2];      /* listeners */
static int ends[ENDS]; /* of the host */
static unsigned int n_ends, step;

static int listen_at(const char *suffix, int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s%s", path, suffix);
	unlink(a.sun_path);
	must(!bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, 2));
	return fd;
}

static void clean(void)
{
	static const char *const suffix[] = { "", "_seqpacket", "_1024", "_2000" };
	char name[96];

	for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
		snprintf(name, sizeof(name), "%s%s", path, suffix[i]);
		unlink(name);
	}
}

static void make_vsock(void)
{
	desc_default(&vsock_desc, &conf);
	snprintf(path, sizeof(path), "/tmp/virga-fuzz-vsock-%d", getpid());
	conf.cid = 3;
	conf.socket = path;
	conf.seqpacket = true;
	queues_device(&vsock_class, &conf);
	at[0] = listen_at("_1024", SOCK_STREAM);
	at[1] = listen_at("_2000", SOCK_SEQPACKET);
	atexit(clean);
}

static void hold(int fd)
{
	if (fd < 0)
		return;
	if (n_ends == ENDS)
		close(fd);
	else
		ends[n_ends++] = fd;
}

static void dial(uint8_t b)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, (b & 1 ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_NONBLOCK, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s%s", path, b & 1 ? "_seqpacket" : "");
	if (!connect(fd, (struct sockaddr *)&a, sizeof(a)) && b & 2)
		must(send(fd, "CONNECT 1\n", 10, MSG_NOSIGNAL) != 0);
	hold(fd);
}

/* A program of the host does something. */
static void host(const uint8_t s[8])
{
	static uint8_t text[65536];
	int fd = n_ends ? ends[s[1] % n_ends] : -1;
	size_t len = (size_t)(s[2] << 8 | s[3]);
	ssize_t n = 0;

	switch (s[1] >> 4) {
	case 0:
	case 1:
		hold(accept4(at[s[1] >> 4 & 1], NULL, NULL, SOCK_NONBLOCK));
		break;
	case 2:
	case 3:
		dial(s[2]);
		break;
	case 4:
	case 5:
	case 6:
		memset(text, s[4], len);
		n = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 7:
	case 8:
		n = recv(fd, text, len, MSG_DONTWAIT);
		break;
	case 9:
		shutdown(fd, s[2] & 1);
		break;
	case 10:
		if (n_ends)
			close(ends[--n_ends]);
		break;
	default:
		break;
	}
	(void)n;
}

/* A packet of the guest, or buffers for it. */
static void guest(const uint8_t s[8])
{
	uint64_t addr = PACKETS + (step % 8) * PACKET_BYTES;
	const struct vspkt p = {
		.host_port = s[2] & 1	? 1024
			     : s[2] & 2 ? 2000
					: 0x40000000u | (s[2] >> 4),
		.guest_port = s[2] & 4 ? 1 : s[2] >> 6,
		.len = s[4] * 15u,
		.type = s[3] & 3,
		.op = s[3] >> 2 & 15,
		.flags = s[5],
		.buf_alloc = (uint32_t)s[6] << 10,
		.fwd_cnt = (uint32_t)s[7] << 9,
	};
	struct vspkt swapped = p;
	uint8_t h[HEADER];

	swapped.host_port = p.guest_port;
	swapped.guest_port = p.host_port;
	header_write(h, &swapped, HOST_CID);
	le64_put(h + AT(src_cid), 3);
	rig_ok(gmem_write(rig.mem, GPA(addr), h, HEADER));
	drv_desc(&rig, TX, (uint16_t)(step % 8), addr, (uint32_t)HEADER + s[4] * 15u, 0, 0);
	drv_offer(&rig, TX, (uint16_t)(step % 8));
	drv_kick(&rig, TX);
}

static void buffers(const uint8_t s[8])
{
	for (int i = 0; i < (s[1] & 3) + 1; i++) {
		uint16_t d = (uint16_t)(8 + (step + (unsigned int)i) % 8);

		drv_desc(&rig, RX, d, BUF + 0x20000 + d * 0x1000u, HEADER + s[2] * 16u, F_WRITE, 0);
		drv_offer(&rig, RX, d);
	}
	drv_kick(&rig, RX);
}

static void story(const uint8_t *data, size_t size)
{
	for (step = 0; size >= 8 && step < 64; step++, data += 8, size -= 8) {
		if (data[0] & 1)
			guest(data);
		else if (data[0] & 2)
			host(data);
		else if (data[0] & 4)
			buffers(data);
		queues_turn(1 + (data[0] >> 4 & 1));
	}
	while (n_ends)
		close(ends[--n_ends]);
	for (int i = 0; i < 2; i++)
		for (int fd; (fd = accept4(at[i], NULL, NULL, SOCK_NONBLOCK)) >= 0;)
			close(fd);
}

/* A reset forgets all; then the device does what it must. */
static void must_work(void)
{
	uint8_t h[HEADER];
	const struct vspkt p = { .type = VS_TYPE_STREAM, .op = VS_OP_RST };

	queues_reset();
	header_write(h, &p, HOST_CID);
	le64_put(h + AT(src_cid), 3);
	rig_ok(gmem_write(rig.mem, GPA(GOOD), h, HEADER));
	drv_desc(&rig, TX, 0, GOOD, HEADER, 0, 0);
	queues_must_answer(TX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *head;

	if (!rig.d)
		make_vsock();
	if (!size)
		return 0;
	drv_start(&rig, data[0] & 1 ? ~VF_ACCESS_PLATFORM : F_SEQPACKET);
	if (data[0] & 2) {
		story(data + 1, size - 1);
	} else {
		head = queues_head(&data, &size, 1 + QUEUES * QUEUE_BYTES);
		queues_fill(data, size);
		for (uint16_t q = 0; q < QUEUES; q++)
			queues_lay(q, head + 1 + q * QUEUE_BYTES);
		queues_turn(4);
	}
	must_work();
	queues_turn(2);
	return 0;
}
