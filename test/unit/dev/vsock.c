/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings of a vsock: headers and addresses, buffers of every shape, what happens when one side
 * brings nothing, pauses, resets, and a guest that wakes up elsewhere. What packets mean is tried
 * with net/vsmux. virtio 1.3 §5.10.
 */
#include "test.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/json.h"
#include "virtio/drive.h"

/* The device's loop has no thread here: a test turns it. */
static inline int no_thread(struct loop *l, const char *profile, struct err *e)
{
	(void)l, (void)profile, (void)e;
	return 0;
}
#define loop_start no_thread
#include "../../../src/dev/vsock.c"

#define PKT(i) (BUF + (i)*0x1000ull)
#define ROOM_AT(i) (BUF + 0x40000 + (i)*0x1000ull)

static char path[64];
static struct vsock_conf conf = { .cid = 42, .socket = path };

static void begin(struct rig *r)
{
	static int count;

	snprintf(path, sizeof(path), "/tmp/virga-vsock-%d-%d", getpid(), count++);
	rig_init(r);
	rig_add(r, &vsock_class, &conf);
	drv_start(r, VF_EVENT_IDX | F_SEQPACKET);
}

static void turn(struct rig *r)
{
	struct loop *l = vdev_of(r->d)->queues[0].loop;

	for (int i = 0; i < 4; i++) {
		loop_stop(l);
		loop_run(l);
	}
}

static struct vsock_counters counters(struct rig *r)
{
	struct vsock_counters n;

	dev_count(r->d, (uint64_t *)(void *)&n);
	return n;
}

/* A header of the guest at an address. */
struct say {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t op;
};
static void lay(struct rig *r, uint64_t at, struct say s)
{
	uint8_t h[HEADER] = { 0 };

	le64_put(h + AT(src_cid), s.src_cid ? s.src_cid : 42);
	le64_put(h + AT(dst_cid), s.dst_cid ? s.dst_cid : HOST_CID);
	le32_put(h + AT(src_port), s.src_port);
	le32_put(h + AT(dst_port), s.dst_port);
	le32_put(h + AT(len), s.len);
	le16_put(h + AT(type), VS_TYPE_STREAM);
	le16_put(h + AT(op), s.op);
	le32_put(h + AT(buf_alloc), 0x10000);
	rig_ok(gmem_write(r->mem, GPA(at), h, HEADER));
}

static void tell(struct rig *r, uint16_t d, struct say s)
{
	lay(r, PKT(d), s);
	drv_desc(r, TX, d, PKT(d), (uint32_t)HEADER + s.len, 0, 0);
	drv_offer(r, TX, d);
	drv_kick(r, TX);
	turn(r);
}

static void room(struct rig *r, uint16_t d, uint32_t len)
{
	drv_desc(r, RX, d, ROOM_AT(d), len, F_WRITE, 0);
	drv_offer(r, RX, d);
	drv_kick(r, RX);
	turn(r);
}

static uint16_t op_at(struct rig *r, uint16_t d)
{
	return (uint16_t)mem_rd(r, ROOM_AT(d) + AT(op), 2);
}

static int listener(uint32_t port)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s_%u", path, port);
	unlink(a.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static void end_listener(int fd, uint32_t port)
{
	char name[96];

	snprintf(name, sizeof(name), "%s_%u", path, port);
	unlink(name);
	close(fd);
}

/* A connection from port 7 of the guest to 1024; the host's end. */
static int opened(struct rig *r, int at)
{
	room(r, 15, 4096);
	tell(r, 0, (struct say){ .src_port = 7, .dst_port = 1024, .op = VS_OP_REQUEST });
	assert_int_equal(op_at(r, 15), VS_OP_RESPONSE);
	return accept4(at, NULL, NULL, SOCK_NONBLOCK);
}

TEST(the_guest_reads_its_address_and_what_is_offered)
{
	struct rig r;

	begin(&r);
	assert_int_equal(rd(&r, AT_CONFIG, 8), 42);
	assert_int_equal(rd(&r, R_NUM_Q, 2), 3);
	assert_true(drv_offered(&r) & F_SEQPACKET);
	assert_true(drv_offered(&r) & VF_IN_ORDER);
	rig_fini(&r);
	assert_int_equal(access(path, F_OK), -1);
}

TEST(bytes_go_both_ways_through_headers_in_any_pieces)
{
	struct rig r;
	char text[16];
	int at, fd;

	begin(&r);
	at = listener(1024);
	fd = opened(&r, at);
	/* header and data in pieces that fit neither */
	lay(&r, PKT(1), (struct say){ .src_port = 7, .dst_port = 1024, .len = 5, .op = VS_OP_RW });
	rig_ok(gmem_write(r.mem, GPA(PKT(1) + HEADER), "hello", 5));
	drv_desc(&r, TX, 1, PKT(1), 10, F_NEXT, 2);
	drv_desc(&r, TX, 2, PKT(1) + 10, 36, F_NEXT, 3);
	drv_desc(&r, TX, 3, PKT(1) + 46, 3, 0, 0);
	drv_offer(&r, TX, 1);
	drv_kick(&r, TX);
	turn(&r);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 5);
	assert_memory_equal(text, "hello", 5);
	drv_desc(&r, RX, 0, ROOM_AT(0), 40, F_WRITE | F_NEXT, 1);
	drv_desc(&r, RX, 1, ROOM_AT(1), 8, F_WRITE | F_NEXT, 2);
	drv_desc(&r, RX, 2, ROOM_AT(2), 100, F_WRITE, 0);
	drv_offer(&r, RX, 0);
	drv_kick(&r, RX);
	assert_int_equal(write(fd, "worlds", 6), 6);
	turn(&r);
	assert_int_equal(drv_used_len(&r, RX, 1), HEADER + 6);
	assert_int_equal(mem_rd(&r, ROOM_AT(1) + 4, 4), 'w' | 'o' << 8 | 'r' << 16 | 'l' << 24);
	assert_int_equal(mem_rd(&r, ROOM_AT(2), 2), 'd' | 's' << 8);
	assert_int_equal(counters(&r).rx_bytes, 6);
	assert_int_equal(counters(&r).tx_bytes, 5);
	close(fd);
	end_listener(at, 1024);
	rig_fini(&r);
}

TEST(packets_from_or_to_others_are_dropped_and_counted)
{
	struct rig r;

	begin(&r);
	room(&r, 0, 4096);
	tell(&r, 0, (struct say){ .src_cid = 43, .op = VS_OP_RW });
	tell(&r, 1, (struct say){ .dst_cid = 3, .op = VS_OP_RW });
	drv_desc(&r, TX, 2, PKT(2), HEADER - 1, 0, 0);
	drv_offer(&r, TX, 2);
	drv_kick(&r, TX);
	turn(&r);
	assert_int_equal(drv_used(&r, TX), 3);
	assert_int_equal(drv_used(&r, RX), 0);
	assert_int_equal(counters(&r).tx_dropped, 3);
	rig_fini(&r);
}

/* The loop stands still, and with it its timers: a nap ends when the test says. */
static void wake(struct vsock *s)
{
	loop_timer_stop(&s->nap);
	nap_over(s);
	vsock_turn(s);
}

static void send_much(struct rig *r, uint16_t d)
{
	lay(r, PKT(d),
	    (struct say){ .src_port = 7, .dst_port = 1024, .len = NAP_BYTES, .op = VS_OP_RW });
	drv_desc(r, TX, d, PKT(d), (uint32_t)HEADER + NAP_BYTES, 0, 0);
	drv_offer(r, TX, d);
}

TEST(a_guest_that_sends_much_need_not_ring_until_it_has_paused)
{
	struct vsock *s;
	struct rig r;
	int at, fd;

	begin(&r);
	s = vsock_of(vdev_of(r.d));
	s->may_look = false;
	at = listener(1024);
	fd = opened(&r, at);
	assert_false(s->nap.loop || s->awake[TX]);
	send_much(&r, 1);
	vsock_kick(s->q[TX]);
	vsock_turn(s);
	assert_int_equal(drv_used(&r, TX), 2);
	assert_true(s->nap.loop && s->awake[TX]);
	send_much(&r, 2);
	wake(s);
	assert_int_equal(drv_used(&r, TX), 3);
	assert_true(s->nap.loop && s->awake[TX]);
	wake(s);
	assert_false(s->nap.loop || s->awake[TX]);
	tell(&r, 3, (struct say){ .src_port = 7, .dst_port = 1024, .op = VS_OP_CREDIT_UPDATE });
	assert_int_equal(drv_used(&r, TX), 4);
	assert_false(s->nap.loop);
	close(fd);
	end_listener(at, 1024);
	rig_fini(&r);
}

TEST(a_length_that_lies_is_answered_by_a_reset)
{
	struct rig r;

	begin(&r);
	room(&r, 0, 4096);
	lay(&r, PKT(0), (struct say){ .src_port = 1, .len = 100, .op = VS_OP_RW });
	drv_desc(&r, TX, 0, PKT(0), HEADER + 99, 0, 0);
	drv_offer(&r, TX, 0);
	drv_kick(&r, TX);
	turn(&r);
	assert_int_equal(op_at(&r, 0), VS_OP_RST);
	assert_int_equal(drv_status(&r), 15);
	rig_fini(&r);
}

TEST(buffers_of_no_use_go_back_empty)
{
	struct rig r;

	begin(&r);
	room(&r, 0, HEADER);
	room(&r, 1, 1);
	room(&r, 2, 4096);
	tell(&r, 0, (struct say){ .src_port = 1, .op = VS_OP_RW });
	assert_int_equal(drv_used(&r, RX), 3);
	assert_int_equal(drv_used_len(&r, RX, 0), 0);
	assert_int_equal(drv_used_len(&r, RX, 1), 0);
	assert_int_equal(drv_used_len(&r, RX, 2), HEADER);
	assert_int_equal(counters(&r).rx_dropped, 2);
	rig_fini(&r);
}

TEST(buffers_that_are_not_needed_stay)
{
	struct rig r;
	int at, fd;

	begin(&r);
	at = listener(1024);
	fd = opened(&r, at);
	for (uint16_t i = 0; i < 12; i++)
		room(&r, i, 1000);
	assert_int_equal(drv_used(&r, RX), 1);
	for (int i = 0; i < 3; i++) {
		char big[2000] = { 0 };

		/* two in full, one in part */
		assert_int_equal(write(fd, big, 1950), 1950);
		turn(&r);
		assert_int_equal(drv_used(&r, RX), 1 + 3 * (i + 1));
	}
	assert_int_equal(drv_used_head(&r, RX, 1), 0);
	assert_int_equal(drv_used_head(&r, RX, 9), 8);
	close(fd);
	end_listener(at, 1024);
	rig_fini(&r);
}

TEST(answers_without_buffers_stop_the_guest_until_it_brings_some)
{
	struct rig r;
	uint32_t sent = 0;

	begin(&r);
	for (; drv_used(&r, TX) == (uint16_t)sent && sent < 400; sent++)
		tell(&r, (uint16_t)(sent % 8),
		     (struct say){ .src_port = sent + 1, .op = VS_OP_RW });
	assert_int_equal(sent, 257);
	for (uint16_t i = 0; i < 4; i++)
		room(&r, i, 4096);
	assert_int_equal(drv_used(&r, TX), 257);
	assert_int_equal(drv_used(&r, RX), 4);
	rig_fini(&r);
}

TEST(a_ring_that_breaks_the_rules_needs_a_reset)
{
	struct rig r;

	for (uint16_t q = 0; q < QUEUES; q++) {
		begin(&r);
		vsock_of(vdev_of(r.d))->owes_reset = true;
		drv_desc(&r, q, 0, RAM_SIZE, 4096, q == TX ? 0 : F_WRITE, 0);
		drv_offer(&r, q, 0);
		drv_kick(&r, q);
		turn(&r);
		if (q == RX)
			tell(&r, 0, (struct say){ .src_port = 1, .op = VS_OP_RW });
		assert_int_equal(drv_status(&r), 15 | 64);
		drv_start(&r, 0);
		room(&r, 1, 4096);
		tell(&r, 0, (struct say){ .src_port = 1, .op = VS_OP_RW });
		assert_int_equal(op_at(&r, 1), VS_OP_RST);
		rig_fini(&r);
	}
}

TEST(nothing_moves_while_paused_and_all_goes_on_then)
{
	struct err e = { 0 };
	struct rig r;
	char text[8];
	int at, fd;

	begin(&r);
	at = listener(1024);
	fd = opened(&r, at);
	room(&r, 1, 4096);
	assert_int_equal(r.d->class->quiesce(r.d, &e), 0);
	assert_int_equal(write(fd, "a", 1), 1);
	tell(&r, 2, (struct say){ .src_port = 7, .dst_port = 1024, .len = 1, .op = VS_OP_RW });
	assert_int_equal(recv(fd, text, 1, 0), -1);
	assert_int_equal(drv_used(&r, RX), 1);
	assert_int_equal(drv_used(&r, TX), 1);
	r.d->class->resume(r.d);
	turn(&r);
	assert_int_equal(recv(fd, text, 1, 0), 1);
	assert_int_equal(drv_used(&r, RX), 2);
	assert_int_equal(op_at(&r, 1), VS_OP_RW);
	close(fd);
	end_listener(at, 1024);
	rig_fini(&r);
}

TEST(a_reset_of_the_driver_ends_its_connections)
{
	struct rig r;
	char text[8];
	int at, fd;

	begin(&r);
	at = listener(1024);
	fd = opened(&r, at);
	assert_int_equal(counters(&r).open, 1);
	drv_start(&r, 0);
	assert_int_equal(counters(&r).open, 0);
	assert_int_equal(recv(fd, text, 1, 0), 0);
	close(fd);
	end_listener(at, 1024);
	rig_fini(&r);
}

TEST(a_guest_that_wakes_up_elsewhere_is_told_that_its_connections_are_gone)
{
	AUTO_JSON struct json *saved = NULL;
	struct err e = { 0 };
	struct rig r, s;
	int at, fd;

	begin(&r);
	at = listener(1024);
	fd = opened(&r, at);
	drv_desc(&r, EVENTS, 3, ROOM_AT(3), 8, F_WRITE, 0);
	drv_offer(&r, EVENTS, 3);
	drv_kick(&r, EVENTS);
	mem_wr(&r, ROOM_AT(3), 4, 0xffffffff);
	turn(&r);
	assert_int_equal(drv_used(&r, EVENTS), 0);
	assert_int_equal(r.d->class->quiesce(r.d, &e), 0);
	saved = dev_save(r.d);
	/* the same memory in another machine */
	rig_init(&s);
	for (uint64_t a = 0; a < RAM_SIZE; a += 4096) {
		uint8_t page[4096];

		rig_ok(gmem_read(r.mem, GPA(a), page, sizeof(page)));
		rig_ok(gmem_write(s.mem, GPA(a), page, sizeof(page)));
	}
	rig_fini(&r);
	if (rig_add_saved(&s, &vsock_class, &conf, saved, &e))
		fail_msg("%s", err_frame(&e, 0));
	s.d->class->resume(s.d);
	turn(&s);
	assert_int_equal(drv_used(&s, EVENTS), 1);
	assert_int_equal(drv_used_len(&s, EVENTS, 0), 4);
	assert_int_equal(mem_rd(&s, ROOM_AT(3), 4), 0);
	/* once */
	assert_false(vsock_of(vdev_of(s.d))->owes_reset);
	close(fd);
	end_listener(at, 1024);
	rig_fini(&s);
}

TEST(the_listener_outlives_a_machine_that_ends_and_not_a_device_that_leaves)
{
	struct link kept;
	struct stat before, after;
	struct rig r;

	list_init(&kept);
	snprintf(path, sizeof(path), "/tmp/virga-vsock-%d-kept", getpid());
	rig_init(&r);
	r.b.kept = &kept;
	rig_add(&r, &vsock_class, &conf);
	assert_int_equal(stat(path, &before), 0);
	rig_fini(&r);
	assert_false(list_empty(&kept));
	rig_init(&r);
	r.b.kept = &kept;
	rig_add(&r, &vsock_class, &conf);
	assert_true(list_empty(&kept));
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	dev_remove(r.d);
	assert_true(list_empty(&kept));
	assert_int_equal(stat(path, &after), -1);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(the_guest_reads_its_address_and_what_is_offered),
		T(bytes_go_both_ways_through_headers_in_any_pieces),
		T(packets_from_or_to_others_are_dropped_and_counted),
		T(a_guest_that_sends_much_need_not_ring_until_it_has_paused),
		T(a_length_that_lies_is_answered_by_a_reset),
		T(buffers_of_no_use_go_back_empty),
		T(buffers_that_are_not_needed_stay),
		T(answers_without_buffers_stop_the_guest_until_it_brings_some),
		T(a_ring_that_breaks_the_rules_needs_a_reset),
		T(nothing_moves_while_paused_and_all_goes_on_then),
		T(a_reset_of_the_driver_ends_its_connections),
		T(a_guest_that_wakes_up_elsewhere_is_told_that_its_connections_are_gone),
		T(the_listener_outlives_a_machine_that_ends_and_not_a_device_that_leaves),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
