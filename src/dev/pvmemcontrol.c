/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pvmemcontrol. See pvmemcontrol.h.
 *
 *	BAR 0:	0 payload (8 bytes)	8 command (4 bytes)	12 nothing
 *
 * A driver resets the device, registers a buffer for each of its processors, by an address as
 * payload, and gets a number for it; then it says that it is ready. From then on it puts a request
 * into a buffer and writes its number as command: the answer is there, in its place, when the write
 * returns. All of that happens on the vCPU that writes, requests of several of them side by side.
 *
 * What takes pages away goes through gmem_discard, the one door for that, whatever the guest calls
 * it. Not here: protections of pages. They would hold for us, too, and a guest that takes its rings'
 * pages away from us would end its own VMM.
 */
#include "dev/pvmemcontrol.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "mem/advice.h"
#include "mem/gmem.h"

#define VENDOR 0x1ae0
#define DEVICE 0x0087
#define SUBDEVICE 0x011f
#define CLASS_SYSTEM 0x08
#define SUBCLASS_OTHER 0x80
#define REVISION 1
#define BAR_SIZE 16
#define AT_COMMAND 8

#define VERSION_MAJOR 1
#define VERSION_MINOR 0
#define BUFFER_BYTES 32
#define BUFFERS_MAX 4096	 /* one for each processor that a guest can have */
#define FIRST_BUFFER 0x80000000u /* number of the first; commands have another first bit */

enum command {
	COMMAND_RESET = 0x060fe6d2,
	COMMAND_REGISTER = 0x0e359539,
	COMMAND_READY = 0x0ca8d227,
	COMMAND_DISCONNECT = 0x030f5da0,
	COMMAND_ACK = 0x03cf5196, /* these are read only */
	COMMAND_ERROR = 0x01fba249,
};

enum phase { PHASE_BROKEN, PHASE_REGISTERING, PHASE_READY, PHASES };

enum function {
	FN_INFO,
	FN_DONTNEED,
	FN_REMOVE,
	FN_FREE,
	FN_PAGEOUT,
	FN_DONTDUMP,
	FN_NAME,
	FN_LOCK,
	FN_UNLOCK,
	FN_PROTECT_NONE,
	FN_PROTECT_R,
	FN_PROTECT_W,
	FN_PROTECT_RW,
	FN_MERGE,
	FN_UNMERGE,
};

struct pvm_state {
	uint64_t payload;
	uint32_t command;
	uint32_t phase;
	LIST(uint64_t) buffers;
	struct advice_marks advice;
};

/* What has passed so far. */
struct pvm_counters {
	uint64_t calls, failed_calls, given_bytes;
};

struct pvmemcontrol {
	struct dev dev; /* first member */
	struct pvm_state s;
	pthread_mutex_t lock;  /* registers and buffers */
	pthread_mutex_t marks; /* s.advice; the other lock is not held meanwhile */
	bool again;	       /* what was set before is to be set anew */
	struct pvm_counters n;
};

static struct pvmemcontrol *pvm_of(struct dev *d)
{
	return container_of(d, struct pvmemcontrol, dev);
}

/* --- functions --- */

struct request {
	uint64_t function, addr, len, arg;
};
struct answer {
	uint32_t error; /* errno */
	uint32_t code;
	uint64_t value, arg[2];
};

static bool fits(const struct pvmemcontrol *p, const struct request *r)
{
	return advice_fits(p->dev.board->mem, GPA(r->addr), r->len);
}

static int give_back(struct pvmemcontrol *p, const struct request *r)
{
	const struct gmem *m = p->dev.board->mem;
	struct err e = { 0 };

	if (!fits(p, r))
		return EINVAL;
	if (gmem_discard(m, GPA(r->addr), r->len, &e) < 0)
		return e.os ? e.os : EIO;
	/* other memory may be there now */
	pthread_mutex_lock(&p->marks);
	advice_again(&p->s.advice, m, GPA(r->addr), r->len);
	pthread_mutex_unlock(&p->marks);
	counter_add_shared(&p->n.given_bytes, r->len);
	return 0;
}

static int advise(struct pvmemcontrol *p, const struct request *r, enum advice what)
{
	const struct gmem *m = p->dev.board->mem;
	int error;

	pthread_mutex_lock(&p->marks);
	error = advice_give(&p->s.advice, m, GPA(r->addr), r->len, what, r->arg);
	pthread_mutex_unlock(&p->marks);
	return error;
}

static int carry_out(struct pvmemcontrol *p, const struct request *r)
{
	switch (r->function) {
	case FN_DONTNEED:
	case FN_REMOVE:
	case FN_FREE:
		return give_back(p, r);
	case FN_PAGEOUT:
		return advise(p, r, ADVICE_PAGEOUT);
	case FN_NAME:
		return advise(p, r, ADVICE_NAME);
	case FN_LOCK:
		return advise(p, r, ADVICE_LOCK);
	case FN_UNLOCK:
		return advise(p, r, ADVICE_UNLOCK);
	case FN_MERGE:
		return advise(p, r, ADVICE_MERGE);
	case FN_UNMERGE:
		return advise(p, r, ADVICE_UNMERGE);
	case FN_DONTDUMP:   /* guest memory never is in a dump of ours */
	case FN_PROTECT_RW: /* nor ever less than that */
		return fits(p, r) ? 0 : EINVAL;
	default:
		return EOPNOTSUPP;
	}
}

static struct answer answer_to(struct pvmemcontrol *p, const struct request *r)
{
	struct answer a = { 0 };

	counter_add_shared(&p->n.calls, 1);
	if (r->function == FN_INFO)
		return (struct answer){ .value = KIB(4), .arg = { VERSION_MAJOR, VERSION_MINOR } };
	a.error = (uint32_t)carry_out(p, r);
	if (a.error)
		counter_add_shared(&p->n.failed_calls, 1);
	/* the code tells what the device itself has refused, as Cloud Hypervisor's does */
	if (a.error == EINVAL || a.error == EOPNOTSUPP)
		a.code = (uint32_t)r->function;
	return a;
}

static void serve(struct pvmemcontrol *p, gpa_t at)
{
	const struct gmem *m = p->dev.board->mem;
	uint8_t b[BUFFER_BYTES];
	struct request r;
	struct answer a;

	if (gmem_read(m, at, b, sizeof(b)) < 0)
		return;
	r = (struct request){ le64_get(b), le64_get(b + 8), le64_get(b + 16), le64_get(b + 24) };
	a = answer_to(p, &r);
	le32_put(b, a.error);
	le32_put(b + 4, a.code);
	le64_put(b + 8, a.value);
	le64_put(b + 16, a.arg[0]);
	le64_put(b + 24, a.arg[1]);
	/* memory may have gone meanwhile; then nobody waits there */
	if (gmem_write(m, at, b, sizeof(b)) < 0)
		log_guest("%s: an answer finds no memory", p->dev.id);
}

/* --- registers, under the lock --- */

static void say(struct pvmemcontrol *p, enum phase phase, uint64_t payload)
{
	p->s.phase = phase;
	p->s.payload = payload;
	p->s.command = phase == PHASE_BROKEN ? COMMAND_ERROR : COMMAND_ACK;
}

static void forget_buffers(struct pvmemcontrol *p)
{
	free(p->s.buffers.items);
	p->s.buffers.items = NULL;
	p->s.buffers.count = 0;
}

static void add_buffer(struct pvmemcontrol *p)
{
	uint32_t n = p->s.buffers.count;

	if (p->s.phase != PHASE_REGISTERING || n == BUFFERS_MAX ||
	    !gmem_ok(p->dev.board->mem, GPA(p->s.payload), BUFFER_BYTES)) {
		say(p, PHASE_BROKEN, 0);
		return;
	}
	p->s.buffers.items = mem_resize(p->s.buffers.items, n, n + 1, sizeof(uint64_t));
	p->s.buffers.items[n] = p->s.payload;
	p->s.buffers.count = n + 1;
	say(p, PHASE_REGISTERING, FIRST_BUFFER + n);
}

/* The address in *buffer when the command is the number of one. */
static bool command(struct pvmemcontrol *p, uint32_t c, gpa_t *buffer)
{
	uint32_t n = c - FIRST_BUFFER;

	switch (c) {
	case COMMAND_RESET:
		forget_buffers(p);
		say(p, PHASE_REGISTERING, 0);
		return false;
	case COMMAND_REGISTER:
		add_buffer(p);
		return false;
	case COMMAND_READY:
		say(p, p->s.phase == PHASE_REGISTERING ? PHASE_READY : PHASE_BROKEN, 0);
		return false;
	case COMMAND_DISCONNECT:
	case COMMAND_ACK:
	case COMMAND_ERROR:
		say(p, PHASE_BROKEN, 0);
		return false;
	default:
		break;
	}
	if (c < FIRST_BUFFER || p->s.phase != PHASE_READY || n >= p->s.buffers.count)
		return false;
	*buffer = GPA(p->s.buffers.items[n]);
	return true;
}

static void regs_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct pvmemcontrol *p = pvm_of(arg);
	uint8_t regs[BAR_SIZE] = { 0 };

	pthread_mutex_lock(&p->lock);
	le64_put(regs, p->s.payload);
	le32_put(regs + AT_COMMAND, p->s.command);
	pthread_mutex_unlock(&p->lock);
	memset(data, 0, len);
	memcpy(data, regs + off, min_u64(len, BAR_SIZE - off));
}

static void regs_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct pvmemcontrol *p = pvm_of(arg);
	bool wanted = false;
	uint8_t payload[8];
	gpa_t at;

	pthread_mutex_lock(&p->lock);
	if (off == AT_COMMAND && len == 4) {
		wanted = command(p, le32_get(data), &at);
	} else if (off < AT_COMMAND && (len == 4 || len == 8)) {
		le64_put(payload, p->s.payload);
		memcpy(payload + off, data, min_u64(len, sizeof(payload) - off));
		p->s.payload = le64_get(payload);
	}
	pthread_mutex_unlock(&p->lock);
	if (wanted)
		serve(p, at);
}

static const struct bus_ops regs_ops = { .read = regs_read, .write = regs_write };

/* --- life --- */

static int pvm_init(struct dev *d, struct err *e)
{
	struct pvmemcontrol *p = pvm_of(d);

	if (!d->restored)
		say(p, PHASE_BROKEN, 0); /* until it is reset */
	else if (p->s.buffers.count > BUFFERS_MAX || !advice_sound(&p->s.advice))
		return err_set(e, ERR_BAD, "what it is said to have been told cannot be");
	p->again = d->restored;
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->marks, NULL);
	return 0;
}

/* A guest's wishes hold for the memory that it has now. */
static void pvm_resume(struct dev *d)
{
	struct pvmemcontrol *p = pvm_of(d);
	const struct gmem *m = d->board->mem;
	unsigned int failed = 0;

	if (p->again)
		failed = advice_again(&p->s.advice, m, GPA(0), gmem_end(m));
	p->again = false;
	if (failed)
		log_warn("%s: %u pieces of memory are not locked, merged or named as they were",
			 d->id, failed);
}

static void pvm_fini(struct dev *d)
{
	struct pvmemcontrol *p = pvm_of(d);

	pthread_mutex_destroy(&p->lock);
	pthread_mutex_destroy(&p->marks);
}

static const struct field state_fields[] = {
	S(struct pvm_state, payload),
	S(struct pvm_state, command),
	S(struct pvm_state, phase, .max = PHASES - 1),
	S_LIST_NUM(struct pvm_state, buffers),
	S_OBJ(struct pvm_state, advice, &advice_desc),
};
static const struct desc state_desc = DESC_OF(struct pvm_state, state_fields, "PvmemcontrolState");

static const struct field counter_fields[] = {
	S(struct pvm_counters, calls, .doc = "requests that the guest has made of its memory"),
	S(struct pvm_counters, failed_calls, .doc = "those that were answered with an error"),
	S(struct pvm_counters, given_bytes, .unit = "bytes",
	  .doc = "memory that it gave back to the host by them"),
};
static const struct desc counter_rows =
	DESC_OF(struct pvm_counters, counter_fields, "pvmemcontrol counters");

const struct pcidev_class pvmemcontrol_class = {
	.dev = {
		.name = "pvmemcontrol",
		.conf = &pvmemcontrol_desc,
		.state = &state_desc,
		.size = sizeof(struct pvmemcontrol),
		.state_off = offsetof(struct pvmemcontrol, s),
		.counters = &counter_rows,
		.counters_off = offsetof(struct pvmemcontrol, n),
		.init = pvm_init,
		.resume = pvm_resume,
		.fini = pvm_fini,
		.plug = &pcidev_plug,
	},
	.ids = {
		.vendor = VENDOR,
		.device = DEVICE,
		.subvendor = VENDOR,
		.subdevice = SUBDEVICE,
		.class = CLASS_SYSTEM,
		.subclass = SUBCLASS_OTHER,
		.revision = REVISION,
	},
	.bar = {{.kind = PCI_BAR_MEM32, .size = BAR_SIZE, .ops = &regs_ops}},
};
