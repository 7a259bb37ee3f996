/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A: registers, two FIFOs and one interrupt line. Output leaves at the write; what the stream
 * does not take at once waits in the transmitter's FIFO, which is not empty until the stream has
 * taken all of it, and what a guest writes beyond its room meanwhile is lost. Input is taken as long
 * as there is room; then the stream is told to hold it back until the guest has read. Registers:
 * vCPU threads. Input, and output that had to wait: the io loop. One lock, never held while the
 * stream is called. PC16550D.
 */
#include "dev/serial.h"

#include <pthread.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/loop.h"
#include "base/mem.h"
#include "fw/acpi.h"

#define REGS 8
#define FIFO_SIZE 16

enum { REG_DATA, REG_IER, REG_IIR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };
#define REG_FCR REG_IIR /* written */

#define IER_RDA 0x01  /* received data */
#define IER_THRE 0x02 /* transmitter holding register empty */
#define IER_RLS 0x04  /* line status */
#define IER_MSI 0x08  /* modem status */
#define IER_BITS 0x0f

#define IIR_NONE 0x01
#define IIR_MSI 0x00
#define IIR_THRE 0x02
#define IIR_RDA 0x04
#define IIR_RLS 0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFO 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04
#define FCR_TRIGGER_SHIFT 6

#define LCR_8N1 0x03
#define LCR_DLAB 0x80

#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08 /* gates the interrupt line */
#define MCR_LOOP 0x10
#define MCR_BITS 0x1f

#define LSR_DR 0x01
#define LSR_OE 0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_DELTAS 0x0f
#define MSR_TERI 0x04
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80

#define DIVISOR_9600 12

struct serial_state {
	uint8_t ier, lcr, mcr, msr, scr;
	uint8_t dll, dlm;
	uint8_t fifo_on, trigger; /* trigger: bytes */
	uint8_t overrun;	  /* LSR bit, until read */
	uint8_t thre_owed;	  /* the THRE interrupt is pending */
	uint8_t count;		  /* bytes in fifo, the oldest first */
	uint8_t line;		  /* level of the interrupt line */
	uint8_t tx_count;	  /* bytes in tx, the oldest first */
	uint8_t pad[2];
	uint8_t fifo[FIFO_SIZE];
	uint8_t tx[FIFO_SIZE];
};

/* What has passed so far. */
struct serial_counters {
	uint64_t rx_bytes, tx_bytes;
};

struct serial {
	struct dev dev;
	pthread_mutex_t lock;
	struct serial_state s;
	uint32_t gsi;
	struct chardev *chr;
	bool held;	     /* the stream was told to hold input back */
	bool quiet;	     /* paused: no input */
	bool tx_busy;	     /* a thread carries tx out */
	bool tx_again;	     /* there may be room, or more to carry, since it has begun */
	uint32_t tx_cleared; /* how often the guest emptied tx */
	struct serial_counters n;
};

static struct serial *serial_of(struct dev *d)
{
	return container_of(d, struct serial, dev);
}

static uint8_t fifo_room(const struct serial_state *s)
{
	uint8_t size = s->fifo_on ? FIFO_SIZE : 1;

	return s->count < size ? (uint8_t)(size - s->count) : 0;
}

/* The line's own cause of highest priority. */
static uint8_t cause(const struct serial_state *s)
{
	if (s->ier & IER_RLS && s->overrun)
		return IIR_RLS;
	if (s->ier & IER_RDA && s->count)
		return s->fifo_on && s->count < s->trigger ? IIR_TIMEOUT : IIR_RDA;
	if (s->ier & IER_THRE && s->thre_owed)
		return IIR_THRE;
	if (s->ier & IER_MSI && s->msr & MSR_DELTAS)
		return IIR_MSI;
	return IIR_NONE;
}

/* Drives the line; lock held, so that levels reach the pin in order. */
static void line_update(struct serial *u)
{
	bool high = cause(&u->s) != IIR_NONE && u->s.mcr & MCR_OUT2;

	if (high == u->s.line)
		return;
	u->s.line = high;
	irq_pin(u->dev.board->irqs, u->gsi, high);
}

static void rx_push(struct serial_state *s, uint8_t byte)
{
	if (!fifo_room(s)) {
		s->overrun = LSR_OE;
		return;
	}
	s->fifo[s->count++] = byte;
}

static uint8_t rx_pop(struct serial_state *s)
{
	uint8_t byte = s->fifo[0];

	if (!s->count)
		return 0;
	s->count--;
	memmove(s->fifo, s->fifo + 1, s->count);
	s->fifo[s->count] = 0;
	return byte;
}

static void rx_clear(struct serial_state *s)
{
	s->count = 0;
	memset(s->fifo, 0, sizeof(s->fifo));
}

/* The oldest n bytes of the transmitter's FIFO have gone. */
static void tx_gone(struct serial_state *s, size_t n)
{
	s->tx_count = (uint8_t)(s->tx_count - n);
	memmove(s->tx, s->tx + n, s->tx_count);
	memset(s->tx + s->tx_count, 0, n);
	if (!s->tx_count)
		s->thre_owed = 1;
}

/* A byte that finds no room is lost. */
static void tx_keep(struct serial_state *s, uint8_t byte)
{
	if (s->tx_count < FIFO_SIZE)
		s->tx[s->tx_count++] = byte;
	s->thre_owed = 0;
}

/* The modem lines: of a terminal that is ready, or in loopback those that MCR drives. */
static uint8_t modem_lines(const struct serial_state *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
			 (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static void mcr_write(struct serial_state *s, uint8_t v)
{
	uint8_t was = s->msr, now;

	s->mcr = v & MCR_BITS;
	now = modem_lines(s);
	/* deltas are the lines four bits lower; of RI only the trailing edge counts */
	s->msr =
		(uint8_t)(now | (was & MSR_DELTAS) | (((was ^ now) >> 4) & ~MSR_TERI & MSR_DELTAS) |
			  (was & MSR_RI && !(now & MSR_RI) ? MSR_TERI : 0));
}

static void fcr_write(struct serial_state *s, uint8_t v)
{
	static const uint8_t trigger[] = { 1, 4, 8, 14 };
	bool on = v & FCR_ENABLE;

	if (on != s->fifo_on || (on && v & FCR_CLEAR_RX))
		rx_clear(s);
	if (on && v & FCR_CLEAR_TX && s->tx_count)
		tx_gone(s, s->tx_count);
	s->fifo_on = on;
	s->trigger = on ? trigger[v >> FCR_TRIGGER_SHIFT] : 1;
}

/* Returns true when the byte is to go out. */
static bool data_write(struct serial_state *s, uint8_t v)
{
	s->thre_owed = !s->tx_count;
	if (!(s->mcr & MCR_LOOP))
		return true;
	rx_push(s, v);
	return false;
}

static uint8_t iir_read(struct serial_state *s)
{
	uint8_t iir = cause(s);

	if (iir == IIR_THRE)
		s->thre_owed = 0;
	return (uint8_t)(iir | (s->fifo_on ? IIR_FIFO : 0));
}

static uint8_t lsr_read(struct serial_state *s)
{
	uint8_t lsr = (uint8_t)(s->overrun | (s->count ? LSR_DR : 0) |
				(s->tx_count ? 0 : LSR_THRE | LSR_TEMT));

	s->overrun = 0;
	return lsr;
}

static uint8_t reg_read(struct serial_state *s, uint64_t reg)
{
	bool dlab = s->lcr & LCR_DLAB;
	uint8_t v;

	switch (reg) {
	case REG_DATA:
		return dlab ? s->dll : rx_pop(s);
	case REG_IER:
		return dlab ? s->dlm : s->ier;
	case REG_IIR:
		return iir_read(s);
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		return lsr_read(s);
	case REG_MSR:
		v = s->msr;
		s->msr &= (uint8_t)~MSR_DELTAS;
		return v;
	default:
		return s->scr;
	}
}

/* Returns true when v is a byte to go out. */
static bool reg_write(struct serial_state *s, uint64_t reg, uint8_t v)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (!dlab)
			return data_write(s, v);
		s->dll = v;
		break;
	case REG_IER:
		if (dlab) {
			s->dlm = v;
			break;
		}
		/* turning it on with an empty transmitter interrupts at once */
		if (v & IER_THRE && !(s->ier & IER_THRE) && !s->tx_count)
			s->thre_owed = 1;
		s->ier = v & IER_BITS;
		break;
	case REG_FCR:
		fcr_write(s, v);
		break;
	case REG_LCR:
		s->lcr = v;
		break;
	case REG_MCR:
		mcr_write(s, v);
		break;
	case REG_SCR:
		s->scr = v;
		break;
	}
	return false;
}

/* Is there room for input now? In loopback the wire is cut. Lock held. */
static bool has_room(const struct serial *u)
{
	return !u->quiet && !(u->s.mcr & MCR_LOOP) && fifo_room(&u->s);
}

/* Is the stream to be told that there is room again? Clears the mark. Lock held. */
static bool room_again(struct serial *u)
{
	bool again = u->held && has_room(u);

	if (again)
		u->held = false;
	return again;
}

static void serial_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct serial *u = serial_of(arg);
	bool again;

	pthread_mutex_lock(&u->lock);
	for (uint32_t i = 0; i < len; i++)
		data[i] = reg_read(&u->s, (off + i) % REGS);
	line_update(u);
	again = room_again(u);
	pthread_mutex_unlock(&u->lock);
	if (again)
		u->chr->ops->want_input(u->chr, true);
}

/* Carries the transmitter's FIFO to the stream until it is empty or the stream takes no more. One
 * thread at a time; another that comes meanwhile makes it look once more. Lock held, but not while
 * the stream is called. */
static void tx_pump(struct serial *u)
{
	uint8_t sent[FIFO_SIZE];
	size_t n, taken = 0;

	u->tx_again = true;
	if (u->tx_busy)
		return;
	u->tx_busy = true;
	while ((n = u->quiet ? 0 : u->s.tx_count) && (taken || u->tx_again)) {
		uint32_t cleared = u->tx_cleared;

		u->tx_again = false;
		memcpy(sent, u->s.tx, n);
		pthread_mutex_unlock(&u->lock);
		taken = u->chr->ops->write(u->chr, sent, n);
		pthread_mutex_lock(&u->lock);
		counter_add(&u->n.tx_bytes, taken);
		if (cleared == u->tx_cleared)
			tx_gone(&u->s, taken);
		if (taken < n)
			taken = 0;
	}
	u->tx_busy = false;
	line_update(u);
}

/* On the io loop: the stream has room again. */
static void serial_writable(void *arg)
{
	struct serial *u = arg;

	pthread_mutex_lock(&u->lock);
	tx_pump(u);
	pthread_mutex_unlock(&u->lock);
}

static void serial_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct serial *u = serial_of(arg);
	bool again;

	pthread_mutex_lock(&u->lock);
	for (uint32_t i = 0; i < len; i++) {
		if (reg_write(&u->s, (off + i) % REGS, data[i]) && u->chr)
			tx_keep(&u->s, data[i]);
		else if ((off + i) % REGS == REG_FCR)
			u->tx_cleared++;
	}
	if (u->s.tx_count)
		tx_pump(u);
	line_update(u);
	again = room_again(u);
	pthread_mutex_unlock(&u->lock);
	if (again)
		u->chr->ops->want_input(u->chr, true);
}

static size_t serial_input(void *arg, const uint8_t *data, size_t len)
{
	struct serial *u = arg;
	size_t n = 0;

	pthread_mutex_lock(&u->lock);
	while (n < len && has_room(u))
		rx_push(&u->s, data[n++]);
	counter_add(&u->n.rx_bytes, n);
	line_update(u);
	if (n < len)
		u->held = true;
	pthread_mutex_unlock(&u->lock);
	return n;
}

/* On the io loop, so that no input is on its way in when the device goes. */
static void serial_unhook(void *arg)
{
	struct serial *u = arg;

	u->chr->input = NULL;
	u->chr->writable = NULL;
	u->chr->arg = NULL;
}

static int serial_init(struct dev *d, struct err *e)
{
	struct serial *u = serial_of(d);
	const struct serial_conf *c = d->conf;

	(void)e;
	pthread_mutex_init(&u->lock, NULL);
	u->gsi = c->gsi;
	u->chr = c->chr;
	u->quiet = d->restored;
	if (!d->restored) {
		u->s.dll = DIVISOR_9600;
		u->s.trigger = 1;
		/* as firmware leaves it, for a kernel that never sets them */
		u->s.lcr = LCR_8N1;
		u->s.mcr = MCR_OUT2;
		u->s.msr = modem_lines(&u->s);
	}
	if (u->chr) {
		u->chr->arg = u;
		u->chr->input = serial_input;
		u->chr->writable = serial_writable;
		u->chr->ops->want_input(u->chr, !u->quiet);
	}
	return 0;
}

static int serial_quiesce(struct dev *d, struct err *e)
{
	struct serial *u = serial_of(d);

	(void)e;
	pthread_mutex_lock(&u->lock);
	u->quiet = true;
	pthread_mutex_unlock(&u->lock);
	if (u->chr)
		u->chr->ops->want_input(u->chr, false);
	return 0;
}

static void serial_resume(struct dev *d)
{
	struct serial *u = serial_of(d);

	pthread_mutex_lock(&u->lock);
	u->quiet = false;
	u->held = false;
	pthread_mutex_unlock(&u->lock);
	if (!u->chr)
		return;
	u->chr->ops->want_input(u->chr, true);
	if (d->board->io)
		loop_call(d->board->io, serial_writable, u);
}

static void serial_fini(struct dev *d)
{
	struct serial *u = serial_of(d);

	if (u->chr) {
		u->chr->ops->want_input(u->chr, false);
		if (d->board->io)
			loop_call(d->board->io, serial_unhook, u);
		else
			serial_unhook(u);
	}
	pthread_mutex_destroy(&u->lock);
}

static int serial_describe(struct dev *d, struct aml *a)
{
	struct fixed_place p = fixed_place(d, 0);

	if (p.bus != FIXED_PIO)
		return 0;
	aml_device(a, "COM1");
	aml_name(a, "_HID");
	aml_eisa(a, "PNP0501");
	aml_name(a, "_UID");
	aml_int(a, 0);
	aml_name(a, "_DDN");
	aml_str(a, "COM1");
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_irq(a, serial_of(d)->gsi, AML_IRQ_EDGE);
	aml_res_io(a, (uint16_t)p.base, REGS);
	aml_end(a);
	aml_end(a);
	return 0;
}

static const struct field serial_state_f[] = {
	S(struct serial_state, ier, .max = IER_BITS),
	S(struct serial_state, lcr),
	S(struct serial_state, mcr, .max = MCR_BITS),
	S(struct serial_state, msr),
	S(struct serial_state, scr),
	S(struct serial_state, dll),
	S(struct serial_state, dlm),
	S(struct serial_state, fifo_on, .max = 1),
	S(struct serial_state, trigger, .min = 1, .max = FIFO_SIZE),
	S(struct serial_state, overrun, .max = LSR_OE),
	S(struct serial_state, thre_owed, .max = 1),
	S(struct serial_state, count, .max = FIFO_SIZE),
	S(struct serial_state, line, .max = 1),
	S(struct serial_state, tx_count, .max = FIFO_SIZE),
	S_PAD(struct serial_state, pad),
	S_HEX(struct serial_state, fifo),
	S_HEX(struct serial_state, tx),
};
static const struct desc serial_state_desc =
	DESC_OF(struct serial_state, serial_state_f, "SerialState");

static const struct bus_ops serial_ops = { .read = serial_read, .write = serial_write };

static const struct field counter_fields[] = {
	S(struct serial_counters, rx_bytes, .unit = "bytes",
	  .doc = "bytes that the guest has been given"),
	S(struct serial_counters, tx_bytes, .unit = "bytes",
	  .doc = "bytes that the guest has sent"),
};
static const struct desc counter_rows =
	DESC_OF(struct serial_counters, counter_fields, "serial counters");

const struct fixed_class serial_class = {
	.dev = {
		.name = "serial",
		.state = &serial_state_desc,
		.size = sizeof(struct serial),
		.counters = &counter_rows,
		.counters_off = offsetof(struct serial, n),
		.state_off = offsetof(struct serial, s),
		.init = serial_init,
		.quiesce = serial_quiesce,
		.resume = serial_resume,
		.fini = serial_fini,
		.describe = serial_describe,
		.plug = &fixed_plug,
	},
	.bank = {{.len = REGS, .ops = &serial_ops}},
};
