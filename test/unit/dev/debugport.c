/* SPDX-License-Identifier: Apache-2.0 */
/* Debug ports: what they write to the log and the stream. */
#include "test.h"

#include <fcntl.h>

#include "base/log.h"
#include "dev/debugport.h"
#include "fakeboard.h"

static char sent[64];
static size_t sent_n;
static size_t far_write(struct chardev *c, const uint8_t *data, size_t len)
{
	(void)c;
	for (size_t i = 0; i < len && sent_n < sizeof(sent) - 1; i++)
		sent[sent_n++] = (char)data[i];
	return len;
}
static const struct chardev_ops far_ops = { .write = far_write };
static struct chardev far = { .ops = &far_ops };
static struct debugport_conf conf = {
	.text_fd = -1,
	.at.place = { { FIXED_PIO, 0x80 }, { FIXED_PIO, 0x402 }, { FIXED_PIO, 0xe9 } },
	.chr = &far
};

static int log_pipe[2];
static char *logged(void)
{
	static char text[8192];
	ssize_t n = read(log_pipe[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

TEST(a_code_is_a_line_with_its_owner_and_the_time)
{
	static const struct {
		uint32_t code;
		const char *text;
	} row[] = {
		{ 0x01, "[Debug I/O port: Firmware code 0x1] 0." },
		{ 0x2f, "[Debug I/O port: Bootloader code 0x2f] 0." },
		{ 0x41, "[Debug I/O port: Kernel code 0x41] 0." },
		{ 0x60, "[Debug I/O port: Userspace code 0x60] 0." },
		{ 0xff, "[Debug I/O port: Custom code 0xff] 0." },
	};

	fake_begin();
	fake_add(&debugport_class, &conf);
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		outb(0x80, row[i].code);
		assert_non_null(strstr(logged(), row[i].text));
	}
	fake_end();
}

TEST(delays_at_port_80_do_not_drown_the_kernels_codes)
{
	fake_begin();
	fake_add(&debugport_class, &conf);
	for (int i = 0; i < 10000; i++)
		outb(0x80, 0);
	assert_true(strlen(logged()) < 4096);
	outb(0x80, 0x41);
	assert_non_null(strstr(logged(), "Kernel code 0x41"));
	fake_end();
}

static const char *written(int fd)
{
	static char text[8192];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

TEST(firmware_text_is_written_line_by_line_without_control_bytes)
{
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	conf.text_fd = p[1];
	fake_begin();
	fake_add(&debugport_class, &conf);
	for (const char *s = "hello \033[31mfirm\a\r\n\nware"; *s; s++)
		outb(0x402, (uint8_t)*s);
	assert_string_equal(written(p[0]), "hello [31mfirm\n");
	for (int i = 0; i < 400; i++)
		outb(0x402, 'x');
	assert_non_null(strstr(written(p[0]), "warexxx"));
	assert_int_equal(inb(0x402), 0xe9);
	fake_end();
	assert_non_null(strstr(written(p[0]), "xxx\n"));
	close(p[0]);
	close(p[1]);
}

TEST(firmware_does_not_wait_for_who_does_not_read)
{
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	conf.text_fd = p[1];
	fake_begin();
	fake_add(&debugport_class, &conf);
	for (int i = 0; i < 200000; i++)
		outb(0x402, i % 80 ? 'x' : '\n');
	assert_non_null(strstr(logged(), "is lost"));
	close(p[0]);
	close(p[1]);
	for (int i = 0; i < 200; i++)
		outb(0x402, '\n');
	conf.text_fd = -1;
	fake_end();
}

TEST(the_console_writes_every_byte)
{
	fake_begin();
	fake_add(&debugport_class, &conf);
	for (const char *s = "a\033b\n"; *s; s++)
		outb(0xe9, (uint8_t)*s);
	assert_string_equal(sent, "a\033b\n");
	assert_int_equal(inb(0xe9), 0xe9);
	fake_end();
}

TEST(registers_take_harm_without_harm)
{
	fake_begin();
	conf.chr = NULL;
	fake_add(&debugport_class, &conf);
	fake_hammer(fake.board.pio, 0x7e, 8, 5000);
	fake_hammer(fake.board.pio, 0x400, 6, 5000);
	fake_hammer(fake.board.pio, 0xe6, 6, 5000);
	logged();
	fake_end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_code_is_a_line_with_its_owner_and_the_time),
		T(delays_at_port_80_do_not_drown_the_kernels_codes),
		T(firmware_text_is_written_line_by_line_without_control_bytes),
		T(firmware_does_not_wait_for_who_does_not_read),
		T(the_console_writes_every_byte),
		T(registers_take_harm_without_harm),
	};

	if (pipe2(log_pipe, O_NONBLOCK))
		return 1;
	log_init(LOG_INFO, log_pipe[1]);
	return cmocka_run_group_tests(t, NULL, NULL);
}
