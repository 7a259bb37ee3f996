/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ten megabytes out of the serial port to each kind of client, and some in: the UART's registers on
 * one side, driven a FIFO at a time as a driver does it, and a client on the other. What a VM adds is
 * an exit for each byte, which would take minutes; the bytes' own way is all here.
 */
#include "vm/tty.h"

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "base/loop.h"
#include "dev/serial.h"
#include "fakeboard.h"

#define COM1 0x3f8
#define GSI 4
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEGABYTES 1u
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MEGABYTES 1u
#endif
#endif
#ifndef MEGABYTES
#define MEGABYTES 10u
#endif

#define BYTES (MEGABYTES << 20) /* out to a client, for whom most of them wait */
#define BYTES_FILE (1u << 20)	/* each of them is written by itself */
#define BYTES_IN (256u << 10)	/* each FIFO full of them wakes the io loop */
#define SILENCE_NS 20000000000ull

enum { DATA, IER, IIR, LCR, MCR, LSR };

#define FIFO 16
#define FIFO_TRIGGER 14
#define FIFO_ON 0xc1
#define IIR_TRIGGERED 4
#define LSR_INPUT 1
#define LSR_ROOM 0x20

/* Words, each its index times an odd number: a byte lost, doubled or out of order is seen. */
static uint8_t pattern(uint32_t i)
{
	return (uint8_t)(i / 4 * 2654435761u >> i % 4 * 8);
}

struct client {
	pthread_t thread;
	int fd;
	uint32_t want;	     /* bytes that are to come */
	uint32_t came, sent; /* bytes that were right, and taken */
};

/* It naps after each read, so that most of the output has to wait for it. */
static void client_reads(struct client *c)
{
	static const struct timespec nap = { .tv_nsec = 1000000 };
	uint8_t buf[65536];
	ssize_t n;

	while (c->came < c->want && (n = read(c->fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++, c->came++)
			if (c->came >= c->want || buf[i] != pattern(c->came))
				return;
		nanosleep(&nap, NULL);
	}
}

static void client_writes(struct client *c)
{
	uint8_t buf[4096];
	ssize_t n;

	while (c->sent < BYTES_IN) {
		for (uint32_t i = 0; i < sizeof(buf); i++)
			buf[i] = pattern(c->sent + i);
		n = write(c->fd, buf, min_u64(sizeof(buf), BYTES_IN - c->sent));
		if (n <= 0)
			return;
		c->sent += (uint32_t)n;
	}
}

static void *client_main(void *arg)
{
	client_reads(arg);
	client_writes(arg);
	return NULL;
}

static bool serial_says(uint8_t bit)
{
	uint64_t end = loop_now_ns() + SILENCE_NS;

	while (!(inb(COM1 + LSR) & bit)) {
		if (loop_now_ns() > end)
			return false;
		sched_yield();
	}
	return true;
}

/* How many bytes went out. */
static uint32_t driver_writes(uint32_t want)
{
	uint32_t n;

	for (n = 0; n < want; n++) {
		if (n % FIFO == 0 && !serial_says(LSR_ROOM))
			break;
		outb(COM1 + DATA, pattern(n));
	}
	return n;
}

/* How many bytes came in as they should. */
static uint32_t driver_reads(void)
{
	uint32_t n = 0;

	while (n < BYTES_IN) {
		uint32_t have;

		if (!serial_says(LSR_INPUT))
			return n;
		have = (inb(COM1 + IIR) & 0xf) == IIR_TRIGGERED ? FIFO_TRIGGER : 1;
		for (; have; have--, n++)
			if (inb(COM1 + DATA) != pattern(n))
				return n;
	}
	return n;
}

/* The machine: a serial port on a stream of the kind. */
struct port {
	struct tty *tty;
	struct loop *io;
	struct serial_conf conf;
	char *path;
};

static void port_begin(struct port *p, const struct tty_args *a)
{
	struct err e = { 0 };

	*p = (struct port){ .conf = { .at.place[0] = { FIXED_PIO, COM1 }, .gsi = GSI } };
	fake_begin();
	fake_sound(tty_new(&p->tty, &e), &e);
	fake_sound(tty_open(p->tty, &p->conf.chr, &p->path, a, &e), &e);
	fake_sound(loop_new(&p->io, "io", &e), &e);
	fake.board.io = p->io;
	fake_add(&serial_class, &p->conf);
	tty_attach(p->tty, p->io);
	fake_sound(loop_start(p->io, NULL, &e), &e);
	outb(COM1 + IIR, FIFO_ON);
	outb(COM1 + IER, 1); /* so that IIR tells of input */
}

static void port_end(struct port *p)
{
	tty_detach(p->tty);
	fake_end();
	loop_free(p->io);
	tty_free(p->tty);
	free(p->path);
}

static void both_ways(int fd)
{
	struct client c = { .fd = fd, .want = BYTES };

	assert_true(fd >= 0);
	/* What goes out before anybody came would be kept up to a megabyte only. */
	assert_int_equal(write(fd, "!", 1), 1);
	assert_true(serial_says(LSR_INPUT));
	assert_int_equal(inb(COM1 + DATA), '!');
	assert_int_equal(pthread_create(&c.thread, NULL, client_main, &c), 0);
	assert_int_equal(driver_writes(BYTES), BYTES);
	assert_int_equal(driver_reads(), BYTES_IN);
	pthread_join(c.thread, NULL);
	assert_int_equal(c.came, BYTES);
	assert_int_equal(c.sent, BYTES_IN);
	close(fd);
}

TEST(ten_megabytes_by_a_pseudo_terminal)
{
	struct port p;

	port_begin(&p, &(struct tty_args){ .mode = CONSOLE_PTY });
	both_ways(open(p.path, O_RDWR | O_NOCTTY | O_CLOEXEC));
	port_end(&p);
}

TEST(ten_megabytes_by_a_socket)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct port p;

	snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/virga-serial-%d", getpid());
	port_begin(&p, &(struct tty_args){ .mode = CONSOLE_SOCKET, .socket = at.sun_path });
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	both_ways(fd);
	port_end(&p);
}

TEST(a_megabyte_into_a_file)
{
	char path[] = "/tmp/virga-serial-XXXXXX";
	struct client c = { .fd = mkstemp(path), .want = BYTES_FILE };
	struct port p;

	assert_true(c.fd >= 0);
	port_begin(&p, &(struct tty_args){ .mode = CONSOLE_FILE, .file = path });
	assert_int_equal(driver_writes(BYTES_FILE), BYTES_FILE);
	port_end(&p);
	client_reads(&c);
	assert_int_equal(c.came, BYTES_FILE);
	assert_int_equal(read(c.fd, path, 1), 0);
	close(c.fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(ten_megabytes_by_a_pseudo_terminal),
		T(ten_megabytes_by_a_socket),
		T(a_megabyte_into_a_file),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(t, NULL, NULL);
}
