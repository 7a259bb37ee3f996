/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of a command-response buffer. vCPU threads read and write them under the lock;
 * commands leave and answers come in the board's io loop, which no vCPU waits for. See tpm.h.
 */
#include "dev/tpm.h"

#include <pthread.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "dev/tpmblob.h"
#include "dev/tpmlink.h"
#include "fw/acpi.h"

/* Registers, §6.5.3 table 25. */
enum {
	R_LOC_STATE = 0x00,
	R_LOC_CTRL = 0x08,
	R_LOC_STS = 0x0c,
	R_INTF_ID = 0x30,
	R_INTF_ID2 = 0x34,
	R_REQ = 0x40,
	R_STS = 0x44,
	R_CANCEL = 0x48,
	R_START = 0x4c,
	R_CMD_SIZE = 0x58,
	R_CMD_ADDR = 0x5c,
	R_RSP_SIZE = 0x64,
	R_RSP_ADDR = 0x68,
	R_DATA = 0x80,
};
#define DATA_LEN (TPM_LEN - R_DATA)

enum { LOC_NOT_ESTABLISHED = 1, LOC_ASSIGNED = 2, LOC_VALID = 1 << 7 };
enum { LOC_REQUEST = 1, LOC_RELINQUISH = 2 };
enum { STS_ERROR = 1, STS_IDLE = 2 };
enum { REQ_READY = 1, REQ_IDLE = 2 };

/* A CRB interface of version 1, which can nothing else and moves 64 bytes at a time. */
#define INTF_CRB 1u
#define INTF_VERSION (1u << 4)
#define INTF_64_BYTES (3u << 11)
#define INTF_CAN_CRB (1u << 14)
#define INTF_SELECTS_CRB (1u << 17)
#define INTF_VENDOR 0x00011014u /* that of software TPMs: device 1 of vendor 1014 */

/* Answers of our own: no sessions, ten bytes. */
#define TAG_NO_SESSIONS 0x8001
#define RC_FAILURE 0x101
#define RC_RETRY 0x922

/* Saved. */
struct tpm_state {
	uint32_t assigned; /* locality 0 is in use */
	uint32_t sts;
	uint32_t started; /* a command is under way */
	uint8_t data[DATA_LEN];
	uint32_t pad;
	LIST(struct tpmblob) blobs; /* of its process; only while it is saved or restored */
};

struct tpm_counters {
	uint64_t commands, failed_commands, cancels;
};

struct tpm {
	struct dev dev; /* first member */
	pthread_mutex_t lock;
	struct tpm_state s;  /* under the lock */
	struct tpmlink link; /* the loop's */
	struct loop_msg go, cancel;
	struct err refused; /* why its process does not take the saved state */
	struct tpm_counters n;
};

static struct tpm *tpm_of(struct dev *d)
{
	return container_of(d, struct tpm, dev);
}

/* --- commands; lock held --- */

static uint32_t command_len(const struct tpm *t)
{
	const uint8_t *p = t->s.data + 2;

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void answer_with(struct tpm *t, uint32_t rc)
{
	const uint8_t b[TPMLINK_HEAD] = { TAG_NO_SESSIONS >> 8,
					  TAG_NO_SESSIONS & 0xff,
					  0,
					  0,
					  0,
					  TPMLINK_HEAD,
					  0,
					  0,
					  (uint8_t)(rc >> 8),
					  (uint8_t)rc };

	memcpy(t->s.data, b, sizeof(b));
	t->s.started = 0;
	counter_add(&t->n.failed_commands, 1);
}

static void on_answer(void *arg, const uint8_t *bytes, uint32_t len)
{
	struct tpm *t = arg;

	pthread_mutex_lock(&t->lock);
	if (t->s.started) {
		memcpy(t->s.data, bytes, len);
		t->s.started = 0;
	}
	pthread_mutex_unlock(&t->lock);
}

static void fail(struct tpm *t)
{
	pthread_mutex_lock(&t->lock);
	t->s.sts |= STS_ERROR;
	if (t->s.started)
		answer_with(t, RC_FAILURE);
	pthread_mutex_unlock(&t->lock);
}

static void on_lost(void *arg, const char *why)
{
	struct tpm *t = arg;

	log_warn("%s: the TPM's process does not %s; its commands fail until the machine is reset",
		 t->dev.id, why);
	fail(t);
}

/* In the loop. The guest cannot change a command that was started. */
static void go(void *arg)
{
	struct tpm *t = arg;
	uint8_t command[DATA_LEN];
	uint32_t len = 0;

	pthread_mutex_lock(&t->lock);
	if (t->s.started) {
		len = command_len(t);
		memcpy(command, t->s.data, len);
	}
	pthread_mutex_unlock(&t->lock);
	if (len && !tpmlink_send(&t->link, command, len))
		fail(t);
}

static void cancel(void *arg)
{
	tpmlink_cancel(&((struct tpm *)arg)->link);
}

/* --- registers; lock held --- */

static void start_wr(struct tpm *t, uint32_t v)
{
	uint32_t len = command_len(t);

	if (!(v & 1) || t->s.started || !t->s.assigned)
		return;
	counter_add(&t->n.commands, 1);
	if (len < TPMLINK_HEAD || len > DATA_LEN) {
		answer_with(t, RC_FAILURE);
		return;
	}
	t->s.started = 1;
	loop_post(t->dev.board->io, &t->go, go, t);
}

static void cancel_wr(struct tpm *t, uint32_t v)
{
	if (!(v & 1) || !t->s.started)
		return;
	counter_add(&t->n.cancels, 1);
	loop_post(t->dev.board->io, &t->cancel, cancel, t);
}

static void req_wr(struct tpm *t, uint32_t v)
{
	if (t->s.started)
		return;
	if (v & REQ_READY)
		t->s.sts &= ~(uint32_t)STS_IDLE;
	else if (v & REQ_IDLE)
		t->s.sts |= STS_IDLE;
}

static void loc_wr(struct tpm *t, uint32_t v)
{
	if (v & LOC_REQUEST)
		t->s.assigned = 1;
	else if (v & LOC_RELINQUISH)
		t->s.assigned = 0;
}

static uint32_t reg_rd(const struct tpm *t, uint32_t at)
{
	const uint32_t data = (uint32_t)fixed_place(&t->dev, 0).base + R_DATA;

	switch (at) {
	case R_LOC_STATE:
		return LOC_NOT_ESTABLISHED | LOC_VALID | (t->s.assigned ? LOC_ASSIGNED : 0);
	case R_LOC_STS:
		return t->s.assigned;
	case R_INTF_ID:
		return INTF_CRB | INTF_VERSION | INTF_64_BYTES | INTF_CAN_CRB | INTF_SELECTS_CRB;
	case R_INTF_ID2:
		return INTF_VENDOR;
	case R_STS:
		return t->s.sts;
	case R_START:
		return t->s.started;
	case R_CMD_SIZE:
	case R_RSP_SIZE:
		return DATA_LEN;
	case R_CMD_ADDR:
	case R_RSP_ADDR:
		return data;
	}
	return 0;
}

static const struct {
	uint32_t at;
	void (*write)(struct tpm *t, uint32_t v);
} writable[] = {
	{ R_LOC_CTRL, loc_wr },
	{ R_REQ, req_wr },
	{ R_CANCEL, cancel_wr },
	{ R_START, start_wr },
};

static void tpm_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct tpm *t = tpm_of(arg);
	uint8_t reg[4];

	pthread_mutex_lock(&t->lock);
	for (uint32_t i = 0; i < len; i++) {
		uint32_t at = (uint32_t)off + i;

		if (at >= R_DATA) {
			data[i] = t->s.data[at - R_DATA];
			continue;
		}
		le32_put(reg, reg_rd(t, at & ~3u));
		data[i] = reg[at & 3];
	}
	pthread_mutex_unlock(&t->lock);
}

/* Bits with a meaning are in the lowest byte of a register: an access that does not have it does
 * nothing. */
static void control_write(struct tpm *t, uint32_t off, const uint8_t *data, uint32_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(writable); i++)
		if (writable[i].at >= off && writable[i].at - off < len)
			writable[i].write(t, data[writable[i].at - off]);
}

static void tpm_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct tpm *t = tpm_of(arg);

	pthread_mutex_lock(&t->lock);
	if (off < R_DATA)
		control_write(t, (uint32_t)off, data, len);
	else if (!t->s.started)
		memcpy(t->s.data + (off - R_DATA), data, len);
	pthread_mutex_unlock(&t->lock);
}

/* --- life --- */

static void watch(void *arg)
{
	tpmlink_watch(&((struct tpm *)arg)->link);
}

static void unwatch(void *arg)
{
	tpmlink_unwatch(&((struct tpm *)arg)->link);
}

static void drop_blobs(struct tpm *t)
{
	for (uint32_t i = 0; i < t->s.blobs.count; i++)
		desc_free(&tpmblob_desc, &t->s.blobs.items[i]);
	free(take(&t->s.blobs.items));
	t->s.blobs.count = 0;
}

/* Nothing is under way afterwards: what was has its answer, which the state has. */
static int tpm_gather(struct dev *d, struct err *e)
{
	struct tpm *t = tpm_of(d);

	drop_blobs(t);
	if (tpmlink_settle(&t->link, e) < 0)
		return -1;
	t->s.blobs.items = mem_array(TPMBLOB_KINDS, sizeof(t->s.blobs.items[0]));
	if (tpmblob_get(t->s.blobs.items, &t->s.blobs.count, t->link.ctrl, &t->link.late, e) == 0)
		return 0;
	drop_blobs(t);
	return err_in(e, "state of the TPM's process");
}

static bool give_state(void *arg)
{
	struct tpm *t = arg;

	return tpmblob_put(t->s.blobs.items, t->s.blobs.count, t->link.ctrl, &t->link.late,
			   &t->refused) == 0;
}

/* A TPM that goes on is there when its machine is. */
static int take_up(struct tpm *t, struct err *e)
{
	t->link.before_start = give_state;
	if (tpmlink_settle(&t->link, e) == 0)
		return 0;
	if (t->refused.count)
		*e = t->refused;
	tpmlink_close(&t->link);
	return err_in(e, "TPM");
}

static int tpm_init(struct dev *d, struct err *e)
{
	const struct tpm_args *a = d->conf;
	struct tpm *t = tpm_of(d);

	t->link = (struct tpmlink){
		.loop = d->board->io,
		.room = DATA_LEN,
		.answered = on_answer,
		.lost = on_lost,
		.arg = t,
	};
	if (d->board->refused ? tpmlink_judge(&t->link, a->socket, e)
			      : tpmlink_open(&t->link, a->socket, e))
		return err_in(e, "TPM");
	pthread_mutex_init(&t->lock, NULL);
	if (!d->board->refused && t->s.blobs.count && take_up(t, e)) {
		pthread_mutex_destroy(&t->lock);
		return -1;
	}
	drop_blobs(t);
	/* the answer to what was under way went to the machine that was saved */
	if (d->restored && t->s.started)
		answer_with(t, RC_RETRY);
	if (d->restored)
		return 0;
	t->s.sts = STS_IDLE;
	loop_call(d->board->io, watch, t);
	return 0;
}

/* A command that takes its time is not waited for: its answer waits in the socket. */
static int tpm_quiesce(struct dev *d, struct err *e)
{
	(void)e;
	loop_call(d->board->io, unwatch, tpm_of(d));
	return 0;
}

static void tpm_resume(struct dev *d)
{
	drop_blobs(tpm_of(d));
	loop_call(d->board->io, watch, tpm_of(d));
}

static void end(void *arg)
{
	struct tpm *t = arg;

	loop_unpost(t->dev.board->io, &t->go);
	loop_unpost(t->dev.board->io, &t->cancel);
	tpmlink_close(&t->link);
}

static void tpm_fini(struct dev *d)
{
	struct tpm *t = tpm_of(d);

	loop_call(d->board->io, end, t);
	pthread_mutex_destroy(&t->lock);
}

static int tpm_describe(struct dev *d, struct aml *a)
{
	aml_device(a, "TPM2");
	aml_name(a, "_HID");
	aml_str(a, "MSFT0101");
	aml_name(a, "_STA");
	aml_int(a, 0xf);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_memory32(a, (uint32_t)fixed_place(d, 0).base, TPM_LEN);
	aml_end(a);
	aml_end(a);
	return 0;
}

static const struct field state_fields[] = {
	S(struct tpm_state, assigned, .max = 1),
	S(struct tpm_state, sts, .max = STS_ERROR | STS_IDLE),
	S(struct tpm_state, started, .max = 1),
	S_HEX(struct tpm_state, data),
	S_PAD(struct tpm_state, pad),
	S_LIST(struct tpm_state, blobs, &tpmblob_desc, .max_items = TPMBLOB_KINDS, .since = 2),
};
static const struct desc state_desc = DESC_OF_V(struct tpm_state, state_fields, "tpm_state", 2);

static const struct field counter_fields[] = {
	S(struct tpm_counters, commands, .doc = "commands that the guest has given"),
	S(struct tpm_counters, failed_commands,
	  .doc = "those of them that the TPM did not answer itself"),
	S(struct tpm_counters, cancels, .doc = "commands that the guest wanted given up"),
};
static const struct desc counter_rows =
	DESC_OF(struct tpm_counters, counter_fields, "tpm counters");

static const struct bus_ops ops = { .read = tpm_read, .write = tpm_write };

const struct fixed_class tpm_class = {
	.dev = {
		.name = "tpm",
		.state = &state_desc,
		.size = sizeof(struct tpm),
		.state_off = offsetof(struct tpm, s),
		.counters = &counter_rows,
		.counters_off = offsetof(struct tpm, n),
		.init = tpm_init,
		.quiesce = tpm_quiesce,
		.gather = tpm_gather,
		.resume = tpm_resume,
		.fini = tpm_fini,
		.describe = tpm_describe,
		.plug = &fixed_plug,
		.profile = "io",
	},
	.bank = { { TPM_LEN, &ops } },
};
