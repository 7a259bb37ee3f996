/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console between a guest and a stream that may be slow: order, back-pressure in both
 * directions, the window's size. The stream is the test's own. virtio 1.3 §5.3.
 */
#include "test.h"

#include "base/json.h"
#include "dev/vcon.h"
#include "virtio/drive.h"

#define OUT_MAX 300000

struct stream {
	struct chardev c; /* first member */
	struct rig r;
	size_t room; /* bytes it still takes */
	size_t len;
	bool wanted;
	char out[OUT_MAX];
};

static size_t stream_write(struct chardev *c, const uint8_t *data, size_t len)
{
	struct stream *s = container_of(c, struct stream, c);
	size_t n = min_u64(len, s->room);

	memcpy(s->out + s->len, data, n);
	s->len += n;
	s->room -= n;
	return n;
}

static void stream_want(struct chardev *c, bool on)
{
	container_of(c, struct stream, c)->wanted = on;
}

static const struct chardev_ops ops = { .write = stream_write, .want_input = stream_want };

static struct stream *up(void)
{
	struct stream *s = NEW(struct stream);
	const struct vcon_conf conf = { .chr = &s->c };

	s->c = (struct chardev){ .ops = &ops, .cols = 80, .rows = 25 };
	s->room = OUT_MAX;
	rig_init(&s->r);
	rig_add(&s->r, &vcon_class, &conf);
	return s;
}

static void down(struct stream *s)
{
	rig_fini(&s->r);
	free(s);
}

static void say(struct stream *s, uint16_t head, const char *text)
{
	uint64_t at = BUF + 0x1000ull * head;

	rig_ok(gmem_write(s->r.mem, GPA(at), text, strlen(text)));
	drv_desc(&s->r, 1, head, at, (uint32_t)strlen(text), 0, 0);
	drv_offer(&s->r, 1, head);
}

static void room_for_input(struct stream *s, uint16_t head, uint32_t len)
{
	drv_desc(&s->r, 0, head, BUF + 0x80000 + 0x100ull * head, len, F_WRITE, 0);
	drv_offer(&s->r, 0, head);
	drv_kick(&s->r, 0);
}

static size_t type(struct stream *s, const char *text)
{
	return s->c.input(s->c.arg, (const uint8_t *)text, strlen(text));
}

TEST(what_the_guest_writes_goes_out_in_order)
{
	struct stream *s = up();

	drv_start(&s->r, 0);
	say(s, 0, "one ");
	say(s, 1, "two ");
	drv_kick(&s->r, 1);
	rig_turn(&s->r, 3);
	say(s, 2, "three");
	drv_kick(&s->r, 1);
	rig_turn(&s->r, 3);
	assert_string_equal(s->out, "one two three");
	assert_int_equal(drv_used(&s->r, 1), 3);
	assert_true(drv_pending(&s->r, 1));
	down(s);
}

TEST(a_slow_stream_holds_the_guest_and_loses_nothing)
{
	struct stream *s = up();

	s->room = 5;
	drv_start(&s->r, 0);
	say(s, 0, "one ");
	say(s, 1, "two ");
	say(s, 2, "three");
	drv_kick(&s->r, 1);
	rig_turn(&s->r, 5);
	assert_int_equal(s->len, 5);
	assert_int_equal(drv_used(&s->r, 1), 1);
	s->room = 2;
	s->c.writable(s->c.arg);
	rig_turn(&s->r, 5);
	assert_int_equal(s->len, 7);
	s->room = 100;
	s->c.writable(s->c.arg);
	rig_turn(&s->r, 5);
	assert_string_equal(s->out, "one two three");
	assert_int_equal(drv_used(&s->r, 1), 3);
	down(s);
}

TEST(a_long_text_takes_several_turns)
{
	struct stream *s = up();

	drv_start(&s->r, 0);
	drv_desc(&s->r, 1, 0, BUF, 200000, 0, 0);
	drv_offer(&s->r, 1, 0);
	drv_kick(&s->r, 1);
	rig_turn(&s->r, 1);
	assert_true(s->len < 200000);
	rig_turn(&s->r, 5);
	assert_int_equal(s->len, 200000);
	assert_int_equal(drv_used(&s->r, 1), 1);
	down(s);
}

TEST(a_reset_forgets_the_text_in_hand)
{
	struct stream *s = up();

	s->room = 3;
	drv_start(&s->r, 0);
	say(s, 0, "lost words");
	drv_kick(&s->r, 1);
	rig_turn(&s->r, 3);
	drv_start(&s->r, 0);
	s->room = 100;
	s->c.writable(s->c.arg);
	say(s, 0, "new words");
	drv_kick(&s->r, 1);
	rig_turn(&s->r, 3);
	assert_string_equal(s->out, "losnew words");
	down(s);
}

TEST(input_waits_for_the_guests_buffers)
{
	struct stream *s = up();
	char text[16] = { 0 };

	assert_int_equal(type(s, "early"), 0);
	drv_start(&s->r, 0);
	rig_turn(&s->r, 3);
	assert_true(s->wanted); /* the queue has started: ask again */
	assert_int_equal(type(s, "early"), 0);
	s->wanted = false;
	room_for_input(s, 0, 3);
	rig_turn(&s->r, 3);
	assert_true(s->wanted);
	assert_int_equal(type(s, "early"), 3);
	assert_int_equal(drv_used(&s->r, 0), 1);
	assert_int_equal(drv_used_len(&s->r, 0, 0), 3);
	room_for_input(s, 1, 16);
	rig_turn(&s->r, 3);
	assert_int_equal(type(s, "ly"), 2);
	rig_ok(gmem_read(s->r.mem, GPA(BUF + 0x80000), text, 3));
	rig_ok(gmem_read(s->r.mem, GPA(BUF + 0x80100), text + 3, 2));
	assert_string_equal(text, "early");
	assert_true(drv_pending(&s->r, 0));
	down(s);
}

TEST(input_before_the_driver_and_after_a_reset_is_not_taken)
{
	struct stream *s = up();

	assert_int_equal(type(s, "x"), 0);
	drv_start(&s->r, 0);
	room_for_input(s, 0, 16);
	rig_turn(&s->r, 3);
	drv_reset(&s->r);
	assert_int_equal(type(s, "x"), 0);
	down(s);
}

TEST(an_input_buffer_without_room_is_given_back)
{
	struct stream *s = up();

	drv_start(&s->r, 0);
	drv_desc(&s->r, 0, 0, BUF, 8, 0, 0);
	drv_offer(&s->r, 0, 0);
	room_for_input(s, 1, 16);
	rig_turn(&s->r, 3);
	assert_int_equal(type(s, "abc"), 3);
	assert_int_equal(drv_used(&s->r, 0), 2);
	assert_int_equal(drv_used_len(&s->r, 0, 0), 0);
	assert_int_equal(drv_used_len(&s->r, 0, 1), 3);
	down(s);
}

TEST(many_input_buffers_without_room_take_several_turns)
{
	struct stream *s = up();

	s->r.size = 128;
	drv_start(&s->r, 0);
	for (uint16_t head = 0; head < 100; head++) {
		drv_desc(&s->r, 0, head, BUF, 8, 0, 0);
		drv_offer(&s->r, 0, head);
	}
	room_for_input(s, 100, 16);
	rig_turn(&s->r, 3);
	s->wanted = false;
	assert_int_equal(type(s, "abc"), 0);
	rig_turn(&s->r, 3);
	assert_true(s->wanted); /* without another ring of the driver's */
	assert_int_equal(type(s, "abc"), 3);
	assert_int_equal(drv_used(&s->r, 0), 101);
	down(s);
}

TEST(foul_rings_need_a_reset_in_both_directions)
{
	struct stream *s = up();

	for (uint16_t q = 0; q < 2; q++) {
		drv_start(&s->r, 0);
		drv_offer(&s->r, q, 999);
		drv_kick(&s->r, q);
		rig_turn(&s->r, 3);
		if (q == 0)
			assert_int_equal(type(s, "x"), 0);
		assert_int_equal(drv_status(&s->r), 15 | 64);
	}
	drv_start(&s->r, 0);
	say(s, 0, "well");
	drv_kick(&s->r, 1);
	rig_turn(&s->r, 3);
	assert_string_equal(s->out, "well");
	down(s);
}

TEST(the_windows_size_is_told_and_its_change_too)
{
	struct stream *s = up();

	drv_start(&s->r, ~0ull);
	assert_int_equal(rd(&s->r, AT_CONFIG, 4), 80 | 25 << 16);
	assert_int_equal(rd(&s->r, AT_CONFIG + 4, 4), 1);
	/* with the lock held by a vCPU that waits for the console's loop */
	pthread_mutex_lock(&vdev_of(s->r.d)->lock);
	s->c.resized(s->c.arg, 132, 50);
	pthread_mutex_unlock(&vdev_of(s->r.d)->lock);
	assert_int_equal(rd(&s->r, AT_CONFIG, 4), 132 | 50 << 16);
	assert_true(drv_pending(&s->r, 2));
	wr(&s->r, AT_CONFIG, 8, 0);
	assert_int_equal(rd(&s->r, AT_CONFIG, 4), 132 | 50 << 16);
	down(s);
}

TEST(removed_it_leaves_the_stream_alone)
{
	struct stream *s = up();

	drv_start(&s->r, 0);
	dev_remove(s->r.d);
	assert_null(s->c.input);
	assert_null(s->c.writable);
	assert_null(s->c.resized);
	down(s);
}

TEST(saved_in_the_middle_of_a_text_it_goes_on_there)
{
	struct stream *s = up();
	const struct vcon_conf conf = { .chr = &s->c };
	struct err e = { 0 };
	struct json *j, *k;

	s->room = 4;
	drv_start(&s->r, 0);
	say(s, 0, "half and half");
	drv_kick(&s->r, 1);
	rig_turn(&s->r, 3);
	vdev_stop(vdev_of(s->r.d));
	j = dev_save(s->r.d);
	dev_remove(s->r.d);
	assert_int_equal(rig_add_saved(&s->r, &vcon_class, &conf, j, &e), 0);
	k = dev_save(s->r.d);
	assert_true(json_equal_to(j, k));
	json_put(j);
	json_put(k);
	s->room = 100;
	rig_turn(&s->r, 3);
	assert_string_equal(s->out, "half"); /* quiet until it is told to go on */
	vdev_resume(s->r.d);
	rig_turn(&s->r, 3);
	assert_string_equal(s->out, "half and half");
	assert_int_equal(drv_used(&s->r, 1), 1);
	down(s);
}

TEST(every_byte_of_saved_state_has_a_row)
{
	assert_int_equal(desc_uncovered(vcon_class.dev.state), vcon_class.dev.state->size);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_the_guest_writes_goes_out_in_order),
		T(a_slow_stream_holds_the_guest_and_loses_nothing),
		T(a_long_text_takes_several_turns),
		T(a_reset_forgets_the_text_in_hand),
		T(input_waits_for_the_guests_buffers),
		T(input_before_the_driver_and_after_a_reset_is_not_taken),
		T(an_input_buffer_without_room_is_given_back),
		T(many_input_buffers_without_room_take_several_turns),
		T(foul_rings_need_a_reset_in_both_directions),
		T(the_windows_size_is_told_and_its_change_too),
		T(removed_it_leaves_the_stream_alone),
		T(saved_in_the_middle_of_a_text_it_goes_on_there),
		T(every_byte_of_saved_state_has_a_row),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
