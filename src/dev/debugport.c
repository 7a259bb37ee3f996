/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three ports that only talk. Lines that a guest can cause are limited as any such line, but the
 * codes of kernel and user space, which people measure starts with, have a limit of their own, so
 * that a kernel which uses port 0x80 for delays does not drown them. vCPU threads; one lock.
 */
#include "dev/debugport.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#define LINE_MAX_LEN 160
/* What a reader finds who asks whether somebody listens (Bochs). */
#define MAGIC 0xe9

/* What has passed so far. */
struct debugport_counters {
	uint64_t codes, firmware_bytes, console_bytes;
};

struct debugport {
	struct dev dev;
	pthread_mutex_t lock;
	struct log_site marks, others;
	char line[LINE_MAX_LEN + 1]; /* of firmware's text, with room for its end */
	uint32_t len;
	int text_fd;
	struct chardev *chr;
	struct debugport_counters n;
};

static struct debugport *debugport_of(struct dev *d)
{
	return container_of(d, struct debugport, dev);
}

static const char *code_owner(uint8_t code)
{
	static const char *const owner[] = { "Firmware", "Bootloader", "Kernel", "Userspace" };

	return code < 0x80 ? owner[code >> 5] : "Custom";
}

static void magic_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	(void)arg;
	(void)off;
	memset(data, MAGIC, len);
}

static void code_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	(void)arg;
	(void)off;
	memset(data, 0xff, len);
}

/* The wording is what tools look for that measure a guest's start. */
static void code_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct debugport *p = debugport_of(arg);
	uint64_t us = (loop_now_ns() - p->dev.board->born_ns) / 1000;
	bool mark = data[0] >= 0x40 && data[0] < 0x80;

	(void)off;
	(void)len;
	counter_add_shared(&p->n.codes, 1);
	if (LOG_WARN > log_level())
		return;
	pthread_mutex_lock(&p->lock);
	log_limited(mark ? &p->marks : &p->others, LOG_WARN, __FILE_NAME__, __LINE__,
		    "[Debug I/O port: %s code 0x%x] %llu.%06llu seconds", code_owner(data[0]),
		    data[0], (unsigned long long)(us / 1000000),
		    (unsigned long long)(us % 1000000));
	pthread_mutex_unlock(&p->lock);
}

/* Lock held. Firmware does not wait for who reads its text: what is not taken at once is lost. */
static void firmware_flush(struct debugport *p)
{
	struct pollfd to = { .fd = p->text_fd, .events = POLLOUT };

	if (!p->len)
		return;
	p->line[p->len++] = '\n';
	if (poll(&to, 1, 0) != 1 || !(to.revents & POLLOUT) ||
	    write(p->text_fd, p->line, p->len) != (ssize_t)p->len)
		log_guest("a line of the firmware's is lost: nobody takes it");
	p->len = 0;
}

static void firmware_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct debugport *p = debugport_of(arg);

	(void)off;
	pthread_mutex_lock(&p->lock);
	counter_add(&p->n.firmware_bytes, len);
	for (uint32_t i = 0; i < len; i++) {
		if (data[i] == '\n' || p->len == LINE_MAX_LEN)
			firmware_flush(p);
		/* it is for people: none of it steers their terminal */
		if (data[i] >= 0x20 && data[i] < 0x7f)
			p->line[p->len++] = (char)data[i];
	}
	pthread_mutex_unlock(&p->lock);
}

static void console_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct debugport *p = debugport_of(arg);

	(void)off;
	counter_add_shared(&p->n.console_bytes, len);
	if (p->chr)
		p->chr->ops->write(p->chr, data, len);
}

static int debugport_init(struct dev *d, struct err *e)
{
	struct debugport *p = debugport_of(d);
	const struct debugport_conf *c = d->conf;

	(void)e;
	pthread_mutex_init(&p->lock, NULL);
	p->text_fd = c->text_fd;
	p->chr = c->chr;
	return 0;
}

static void debugport_fini(struct dev *d)
{
	struct debugport *p = debugport_of(d);

	firmware_flush(p);
	pthread_mutex_destroy(&p->lock);
}

static const struct bus_ops code_ops = { .read = code_read, .write = code_write };
static const struct bus_ops firmware_ops = { .read = magic_read, .write = firmware_write };
static const struct bus_ops console_ops = { .read = magic_read, .write = console_write };

static const struct field counter_fields[] = {
	S(struct debugport_counters, codes, .doc = "codes that the guest has written to port 0x80"),
	S(struct debugport_counters, firmware_bytes, .unit = "bytes",
	  .doc = "bytes of text that firmware has written to port 0x402"),
	S(struct debugport_counters, console_bytes, .unit = "bytes",
	  .doc = "bytes that the guest has written to the debug console"),
};
static const struct desc counter_rows =
	DESC_OF(struct debugport_counters, counter_fields, "debugport counters");

const struct fixed_class debugport_class = {
	.dev = {
		.name = "debugport",
		.size = sizeof(struct debugport),
		.counters = &counter_rows,
		.counters_off = offsetof(struct debugport, n),
		.init = debugport_init,
		.fini = debugport_fini,
		.plug = &fixed_plug,
	},
	.bank = {{.len = 1, .ops = &code_ops},
		 {.len = 1, .ops = &firmware_ops},
		 {.len = 1, .ops = &console_ops}},
};
