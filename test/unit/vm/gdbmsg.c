/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of gdb's protocol: packets cut out of any stream, commands in their form and out of it,
 * replies in their frame.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"
#include "vm/gdbmsg.h"

static struct gdbmsg_reader *reader(void)
{
	return calloc(1, sizeof(struct gdbmsg_reader));
}

/* Puts a packet into the reader as if it had come, and reads it as a command. */
static struct gdb_cmd parse(struct gdbmsg_reader *r, const char *text)
{
	struct gdb_cmd c;

	r->len = strlen(text);
	memcpy(r->text, text, r->len + 1);
	gdbmsg_parse(&c, r);
	return c;
}

static enum gdb_verb verb(const char *text)
{
	struct gdbmsg_reader *r = reader();
	enum gdb_verb v = parse(r, text).verb;

	free(r);
	return v;
}

TEST(packets_are_cut_out_wherever_the_stream_is_split)
{
	static const char stream[] = "+$qC#b4\x03-junk$g#67";
	static const enum gdbmsg_kind want[] = { GDBMSG_ACK, GDBMSG_PACKET, GDBMSG_INTERRUPT,
						 GDBMSG_NAK, GDBMSG_PACKET };

	for (size_t step = 1; step < sizeof(stream); step++) {
		struct gdbmsg_reader *r = reader();
		unsigned int n = 0;

		for (size_t at = 0; at < sizeof(stream) - 1;) {
			size_t left = sizeof(stream) - 1 - at, used;
			enum gdbmsg_kind k =
				gdbmsg_read(r, stream + at, step < left ? step : left, &used);

			at += used;
			if (k == GDBMSG_NONE)
				continue;
			assert_true(n < 5);
			assert_int_equal(k, want[n++]);
			if (n == 2)
				assert_string_equal(r->text, "qC");
			if (n == 5)
				assert_string_equal(r->text, "g");
		}
		assert_int_equal(n, 5);
		free(r);
	}
}

TEST(a_wrong_sum_is_told_and_the_next_packet_is_whole)
{
	static const char stream[] = "$g#68$g#zz$g$p1#a1";
	struct gdbmsg_reader *r = reader();
	size_t used;

	assert_int_equal(gdbmsg_read(r, stream, 18, &used), GDBMSG_BAD);
	assert_int_equal(used, 5);
	assert_int_equal(gdbmsg_read(r, stream + 5, 13, &used), GDBMSG_BAD);
	/* the third was never ended */
	assert_int_equal(gdbmsg_read(r, stream + 10, 8, &used), GDBMSG_PACKET);
	assert_string_equal(r->text, "p1");
	free(r);
}

TEST(a_packet_that_is_too_long_is_left_out)
{
	struct gdbmsg_reader *r = reader();
	size_t used;

	assert_int_equal(gdbmsg_read(r, "$", 1, &used), GDBMSG_NONE);
	for (int i = 0; i < GDBMSG_MAX + 100; i++)
		assert_int_equal(gdbmsg_read(r, "a", 1, &used), GDBMSG_NONE);
	assert_int_equal(gdbmsg_read(r, "#00", 3, &used), GDBMSG_BAD);
	assert_int_equal(gdbmsg_read(r, "$g#67", 5, &used), GDBMSG_PACKET);
	free(r);
}

TEST(escaped_bytes_are_themselves_again)
{
	/* X0,3: and the bytes '#', '}', 0 */
	static const char packet[] = "$X0,3:}\x03}]\0#";
	struct gdbmsg_reader *r = reader();
	char sum[3];
	uint8_t n = 0;
	struct gdb_cmd c;
	size_t used;

	for (size_t i = 1; i < sizeof(packet) - 2; i++)
		n = (uint8_t)(n + (uint8_t)packet[i]);
	snprintf(sum, sizeof(sum), "%02x", n);
	assert_int_equal(gdbmsg_read(r, packet, sizeof(packet) - 1, &used), GDBMSG_NONE);
	assert_int_equal(gdbmsg_read(r, sum, 2, &used), GDBMSG_PACKET);
	gdbmsg_parse(&c, r);
	assert_int_equal(c.verb, GDB_WRITE);
	assert_int_equal(c.data_len, 3);
	assert_memory_equal(c.data, "#}\0", 3);
	free(r);
}

TEST(commands_are_read_with_their_arguments)
{
	struct gdbmsg_reader *r = reader();
	struct gdb_cmd c = parse(r, "mffffffff81000000,100");

	assert_int_equal(c.verb, GDB_READ);
	assert_true(c.addr == 0xffffffff81000000);
	assert_int_equal(c.len, 0x100);
	c = parse(r, "M1000,2:beef");
	assert_int_equal(c.verb, GDB_WRITE);
	assert_memory_equal(c.data, "\xbe\xef", 2);
	c = parse(r, "P10=0011223344556677");
	assert_int_equal(c.verb, GDB_PUT_ONE);
	assert_int_equal(c.addr, 16);
	assert_int_equal(c.data_len, 8);
	c = parse(r, "Z2,2000,4");
	assert_int_equal(c.verb, GDB_POINT_ADD);
	assert_int_equal(c.point, GDB_WATCH_WRITE);
	assert_int_equal(c.len, 4);
	assert_int_equal(parse(r, "z0,2000,1;X1,0").verb, GDB_POINT_DROP);
	c = parse(r, "Hg2");
	assert_int_equal(c.letter, 'g');
	assert_int_equal(c.thread, 2);
	assert_int_equal(parse(r, "Hc-1").thread, GDB_ALL_THREADS);
	c = parse(r, "qXfer:features:read:target.xml:0,ffb");
	assert_int_equal(c.verb, GDB_FEATURES);
	assert_string_equal(c.name, "target.xml");
	assert_int_equal(c.len, 0xffb);
	free(r);
}

TEST(actions_are_read_in_their_order)
{
	struct gdbmsg_reader *r = reader();
	struct gdb_cmd c = parse(r, "vCont;s:2;C05:3;c");

	assert_int_equal(c.verb, GDB_RUN);
	assert_int_equal(c.actions, 3);
	assert_true(c.action[0].step);
	assert_int_equal(c.action[0].thread, 2);
	assert_false(c.action[1].step);
	assert_int_equal(c.action[1].thread, 3);
	assert_int_equal(c.action[2].thread, GDB_ALL_THREADS);
	c = parse(r, "s1000");
	assert_true(c.has_addr && c.action[0].step && c.addr == 0x1000);
	c = parse(r, "C0b");
	assert_true(c.verb == GDB_RUN && !c.has_addr && !c.action[0].step);
	free(r);
}

TEST(what_is_not_in_its_form_is_refused)
{
	static const char *const bad[] = {
		"m",	       "m1000",	   "m1000,", "mxyz,1", "M0,2:be", "M0,1:b",
		"M0,1:zz",     "X0,5:abc", "P=00",   "P1=0",   "Z9,0,1",  "Z0",
		"H",	       "Hg",	   "Tzz",    "vCont;", "vCont;x", "vCont;c:q",
		"vCont;s:2;",  "G0",	   "p",	     "C",      "T-2",	  "m11112222333344445,1",
		"Hg100000000", "c0zz",	   "s1;2",   "m0,4;",  "p1x",	  "T1.2",
		"C05;0z"
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(verb(bad[i]), GDB_BAD);
}

TEST(what_is_not_known_is_told_from_what_is)
{
	assert_int_equal(verb(""), GDB_UNKNOWN);
	assert_int_equal(verb("vMustReplyEmpty"), GDB_UNKNOWN);
	assert_int_equal(verb("qCRC:0,10"), GDB_UNKNOWN);
	assert_int_equal(verb("qC"), GDB_THREAD_NOW);
	assert_int_equal(verb("?"), GDB_WHY);
	assert_int_equal(verb("vCont?"), GDB_RUN_WORDS);
	assert_int_equal(verb("vKill;1"), GDB_KILL);
	assert_int_equal(verb("k"), GDB_KILL_QUIET);
	assert_int_equal(verb("D;1"), GDB_DETACH);
	assert_int_equal(verb("qfThreadInfo"), GDB_THREADS_FIRST);
	assert_int_equal(verb("qThreadExtraInfo,3"), GDB_THREAD_WORDS);
}

TEST(more_actions_than_there_is_room_for_are_refused)
{
	char text[8 * GDB_ACTIONS_MAX + 16] = "vCont";

	for (int i = 0; i < GDB_ACTIONS_MAX; i++)
		strcat(text, ";s:1");
	assert_int_equal(verb(text), GDB_RUN);
	strcat(text, ";c");
	assert_int_equal(verb(text), GDB_BAD);
}

TEST(replies_are_framed_with_escapes_and_sum)
{
	struct gdbmsg_reply *p = calloc(1, sizeof(*p));
	char *out = malloc(GDBMSG_FRAMED);

	gdbmsg_text(p, "OK");
	assert_int_equal(gdbmsg_frame(out, p), 6);
	assert_memory_equal(out, "$OK#9a", 6);
	p->len = 0;
	gdbmsg_text(p, "a#b");
	assert_int_equal(gdbmsg_frame(out, p), 8);
	assert_memory_equal(out,
			    "$a}\x03"
			    "b#43",
			    8);
	p->len = 0;
	gdbmsg_hex(p, "\x01\xab", 2);
	assert_int_equal(p->len, 4);
	assert_memory_equal(p->text, "01ab", 4);
	free(out);
	free(p);
}

TEST(a_reply_holds_what_fits_and_no_more)
{
	struct gdbmsg_reply *p = calloc(1, sizeof(*p));
	char *big = calloc(1, GDBMSG_MAX + 1), *out = malloc(GDBMSG_FRAMED);

	memset(big, '#', GDBMSG_MAX);
	gdbmsg_text(p, "%s", big);
	assert_int_equal(p->len, 0);
	gdbmsg_hex(p, big, GDBMSG_MAX / 2 + 1);
	assert_int_equal(p->len, 0);
	gdbmsg_part(p, big, 0, UINT64_MAX);
	assert_int_equal(p->len, GDBMSG_MAX);
	assert_int_equal(p->text[0], 'm');
	assert_int_equal(gdbmsg_frame(out, p), 2 * GDBMSG_MAX + 3);
	free(out);
	free(big);
	free(p);
}

TEST(parts_of_a_text_end_with_a_last_one)
{
	struct gdbmsg_reply *p = calloc(1, sizeof(*p));

	gdbmsg_part(p, "hello", 0, 3);
	assert_memory_equal(p->text, "mhel", 4);
	p->len = 0;
	gdbmsg_part(p, "hello", 3, 10);
	assert_memory_equal(p->text, "llo", 3);
	p->len = 0;
	gdbmsg_part(p, "hello", UINT64_MAX, UINT64_MAX);
	assert_int_equal(p->len, 1);
	assert_int_equal(p->text[0], 'l');
	free(p);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(packets_are_cut_out_wherever_the_stream_is_split),
		T(a_wrong_sum_is_told_and_the_next_packet_is_whole),
		T(a_packet_that_is_too_long_is_left_out),
		T(escaped_bytes_are_themselves_again),
		T(commands_are_read_with_their_arguments),
		T(actions_are_read_in_their_order),
		T(what_is_not_in_its_form_is_refused),
		T(what_is_not_known_is_told_from_what_is),
		T(more_actions_than_there_is_room_for_are_refused),
		T(replies_are_framed_with_escapes_and_sum),
		T(a_reply_holds_what_fits_and_no_more),
		T(parts_of_a_text_end_with_a_last_one),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
