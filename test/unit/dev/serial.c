/* SPDX-License-Identifier: Apache-2.0 */
/* The UART as a driver sees it. */
#include "test.h"

#include "dev/serial.h"
#include "fakeboard.h"

#define COM1 0x3f8
#define GSI 4

#define FCR IIR
enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

/* The outside: what was sent, and whether input is wanted. */
static struct outside {
	struct chardev chr;
	char sent[64];
	size_t n;
	bool wants;
	bool stuck; /* takes nothing */
	unsigned int asked;
} far;

static size_t far_write(struct chardev *c, const uint8_t *data, size_t len)
{
	(void)c;
	if (far.stuck)
		return 0;
	for (size_t i = 0; i < len && far.n < sizeof(far.sent) - 1; i++)
		far.sent[far.n++] = (char)data[i];
	return len;
}
static void far_want(struct chardev *c, bool on)
{
	(void)c;
	far.wants = on;
	far.asked++;
}
static const struct chardev_ops far_ops = { .write = far_write, .want_input = far_want };

static struct serial_conf conf = { .at.place[0] = { FIXED_PIO, COM1 },
				   .gsi = GSI,
				   .chr = &far.chr };

static struct dev *begin(void)
{
	fake_begin();
	far = (struct outside){ .chr.ops = &far_ops };
	return fake_add(&serial_class, &conf);
}
static size_t type(const char *s)
{
	return far.chr.input(far.chr.arg, (const uint8_t *)s, strlen(s));
}
static bool line(void)
{
	return fake_pins >> GSI & 1;
}
static uint32_t rd(uint32_t r)
{
	return inb(COM1 + r);
}
static void wr(uint32_t r, uint32_t v)
{
	outb(COM1 + r, v);
}

TEST(power_on_is_quiet_and_ready)
{
	begin();
	assert_int_equal(rd(IER), 0);
	assert_int_equal(rd(IIR), 1);
	assert_int_equal(rd(LSR), 0x60);
	assert_int_equal(rd(MSR), 0xb0);
	assert_false(line());
	fake_end();
	assert_null(far.chr.input);
}

TEST(output_that_the_stream_does_not_take_waits)
{
	begin();
	wr(FCR, 0x01);
	wr(IER, 2);
	assert_int_equal(rd(IIR) & 0xf, 2);
	far.stuck = true;
	wr(DATA, 'a');
	assert_int_equal(rd(LSR) & 0x60, 0);
	assert_false(line());
	for (int i = 0; i < 20; i++) /* more than there is room for */
		wr(DATA, (uint32_t)('b' + i));
	far.chr.writable(far.chr.arg);
	assert_int_equal(rd(LSR) & 0x60, 0);
	far.stuck = false;
	far.chr.writable(far.chr.arg);
	assert_int_equal(rd(LSR) & 0x60, 0x60);
	assert_true(line());
	assert_int_equal(rd(IIR) & 0xf, 2);
	assert_string_equal(far.sent, "abcdefghijklmnop");
	far.stuck = true;
	wr(DATA, 'x');
	wr(FCR, 0x05); /* the guest empties its transmitter */
	assert_int_equal(rd(LSR) & 0x60, 0x60);
	far.stuck = false;
	far.chr.writable(far.chr.arg);
	wr(DATA, 'q');
	assert_string_equal(far.sent, "abcdefghijklmnopq");
	fake_end();
}

TEST(bytes_go_out_at_once)
{
	begin();
	for (const char *s = "hello"; *s; s++)
		wr(DATA, (uint8_t)*s);
	assert_string_equal(far.sent, "hello");
	assert_int_equal(rd(LSR), 0x60);
	fake_end();
}

TEST(the_divisor_hides_data_and_ier)
{
	begin();
	wr(LCR, 0x83);
	assert_int_equal(rd(DATA), 12);
	wr(DATA, 0x01);
	wr(IER, 0x02);
	assert_int_equal(rd(DATA), 1);
	assert_int_equal(rd(IER), 2);
	wr(LCR, 0x03);
	assert_int_equal(rd(IER), 0);
	assert_int_equal(far.n, 0);
	wr(SCR, 0x5a);
	assert_int_equal(rd(SCR), 0x5a);
	fake_end();
}

TEST(the_line_follows_received_data)
{
	begin();
	wr(MCR, 0x08);
	wr(IER, 1);
	assert_int_equal(type("ab"), 1); /* no FIFO yet: one byte */
	assert_true(line());
	assert_int_equal(rd(IIR), 4);
	assert_int_equal(rd(LSR), 0x61);
	assert_int_equal(rd(DATA), 'a');
	assert_false(line());
	assert_int_equal(rd(IIR), 1);
	assert_int_equal(rd(DATA), 0);
	fake_end();
}

TEST(a_kernel_that_sets_nothing_finds_it_as_firmware_leaves_it)
{
	begin();
	assert_int_equal(rd(LCR), 3);
	wr(IER, 1);
	type("a");
	assert_true(line());
	fake_end();
}

TEST(without_out2_the_line_stays_low)
{
	begin();
	wr(MCR, 0);
	wr(IER, 1);
	type("a");
	assert_false(line());
	wr(MCR, 0x08);
	assert_true(line());
	wr(MCR, 0);
	assert_false(line());
	fake_end();
}

TEST(the_fifo_holds_sixteen_and_then_holds_back)
{
	begin();
	wr(IIR, 0x81); /* FIFO on, trigger at 8 */
	wr(MCR, 0x08);
	wr(IER, 1);
	far.asked = 0;
	assert_int_equal(type("0123456789abcdefgh"), 16);
	assert_int_equal(type("x"), 0);
	assert_int_equal(rd(IIR), 0xc4);
	assert_int_equal(far.asked, 0);
	assert_int_equal(rd(DATA), '0');
	assert_int_equal(far.asked, 1);
	assert_true(far.wants);
	assert_int_equal(rd(DATA), '1');
	assert_int_equal(far.asked, 1);
	for (int i = 2; i < 9; i++)
		rd(DATA);
	assert_int_equal(rd(IIR), 0xcc); /* below the trigger: as after the timeout */
	wr(IIR, 0x03);
	assert_int_equal(rd(LSR), 0x60);
	assert_false(line());
	fake_end();
}

TEST(an_empty_transmitter_interrupts_until_it_is_seen)
{
	begin();
	wr(MCR, 0x08);
	wr(IER, 2);
	assert_true(line());
	assert_int_equal(rd(IIR), 2);
	assert_false(line());
	assert_int_equal(rd(IIR), 1);
	wr(DATA, 'x');
	assert_true(line());
	wr(IER, 0);
	assert_false(line());
	wr(IER, 2);
	assert_int_equal(rd(IIR), 2);
	fake_end();
}

TEST(causes_have_their_rank)
{
	begin();
	wr(MCR, 0x18); /* loop */
	wr(IER, 0x0f);
	wr(DATA, 'a');
	wr(DATA, 'b'); /* runs over */
	assert_int_equal(rd(IIR), 6);
	assert_int_equal(rd(LSR), 0x63);
	assert_int_equal(rd(IIR), 4);
	assert_int_equal(rd(DATA), 'a');
	assert_int_equal(rd(IIR), 2);
	assert_int_equal(rd(IIR), 0);
	rd(MSR);
	assert_int_equal(rd(IIR), 1);
	assert_int_equal(far.n, 0);
	fake_end();
}

TEST(loopback_joins_the_modem_lines_and_cuts_the_wire)
{
	begin();
	rd(MSR);
	wr(MCR, 0x1a);
	assert_int_equal(rd(MSR) & 0xf0, 0x90);
	assert_int_equal(type("x"), 0);
	wr(MCR, 0x1e);
	wr(MCR, 0x1a);
	assert_int_equal(rd(MSR) & 0x0f, 0x04); /* the ring's end */
	far.asked = 0;
	wr(MCR, 0x08);
	assert_int_equal(far.asked, 1);
	assert_int_equal(rd(MSR) & 0xf0, 0xb0);
	assert_int_equal(type("x"), 1);
	fake_end();
}

TEST(wide_accesses_take_register_after_register)
{
	begin();
	wr(SCR, 7);
	assert_int_equal(in(COM1 + MSR, 2), 0x07b0);
	assert_int_equal(in(COM1 + SCR, 4), 0xffffff07);
	out(COM1 + MCR, 0x0008, 2);
	assert_int_equal(rd(MCR), 8);
	fake_end();
}

TEST(a_paused_port_takes_no_input)
{
	struct err e = { 0 };
	struct dev *d = begin();

	assert_int_equal(serial_class.dev.quiesce(d, &e), 0);
	assert_false(far.wants);
	assert_int_equal(type("x"), 0);
	serial_class.dev.resume(d);
	assert_true(far.wants);
	assert_int_equal(type("x"), 1);
	fake_end();
}

TEST(nobody_listening_is_fine)
{
	struct serial_conf alone = { .at.place[0] = { FIXED_PIO, COM1 }, .gsi = GSI };

	fake_begin();
	fake_add(&serial_class, &alone);
	wr(DATA, 'x');
	fake_hammer(fake.board.pio, COM1 - 8, 24, 20000);
	fake_end();
}

TEST(registers_take_harm_without_harm)
{
	begin();
	for (int i = 0; i < 2000; i++) {
		fake_hammer(fake.board.pio, COM1 - 8 + (uint64_t)(i % 3), 24, 20);
		if (i % 3 == 0)
			type("some input that is longer than the FIFO");
	}
	fake_end();
}

static void *typist(void *arg)
{
	(void)arg;
	for (int i = 0; i < 3000; i++)
		type("abc");
	return NULL;
}

TEST(input_and_registers_work_at_once)
{
	pthread_t t;

	begin();
	wr(IIR, 1);
	wr(MCR, 8);
	wr(IER, 3);
	assert_int_equal(pthread_create(&t, NULL, typist, NULL), 0);
	for (int i = 0; i < 3000; i++) {
		rd(IIR);
		rd(DATA);
		wr(DATA, 'x');
	}
	pthread_join(t, NULL);
	fake_end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(power_on_is_quiet_and_ready),
		T(output_that_the_stream_does_not_take_waits),
		T(bytes_go_out_at_once),
		T(the_divisor_hides_data_and_ier),
		T(the_line_follows_received_data),
		T(a_kernel_that_sets_nothing_finds_it_as_firmware_leaves_it),
		T(without_out2_the_line_stays_low),
		T(the_fifo_holds_sixteen_and_then_holds_back),
		T(an_empty_transmitter_interrupts_until_it_is_seen),
		T(causes_have_their_rank),
		T(loopback_joins_the_modem_lines_and_cuts_the_wire),
		T(wide_accesses_take_register_after_register),
		T(a_paused_port_takes_no_input),
		T(nobody_listening_is_fine),
		T(registers_take_harm_without_harm),
		T(input_and_registers_work_at_once),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
