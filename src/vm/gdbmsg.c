/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing of gdb's packets. See gdbmsg.h. A command is a row: its first letters, its
 * verb, and what stands behind them.
 */
#include "vm/gdbmsg.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"

#define INTERRUPT 0x03
#define ESCAPE '}'
#define ESCAPE_BIT 0x20

/* --- cutting --- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static void begin(struct gdbmsg_reader *r)
{
	r->state = GDBMSG_INSIDE;
	r->sum = 0;
	r->len = 0;
	r->too_long = false;
	r->bad_sum = false;
}

static enum gdbmsg_kind outside(struct gdbmsg_reader *r, char c)
{
	switch (c) {
	case '$':
		begin(r);
		return GDBMSG_NONE;
	case '+':
		return GDBMSG_ACK;
	case '-':
		return GDBMSG_NAK;
	case INTERRUPT:
		return GDBMSG_INTERRUPT;
	default:
		return GDBMSG_NONE;
	}
}

static void keep(struct gdbmsg_reader *r, char c)
{
	if (r->len < GDBMSG_MAX)
		r->text[r->len++] = c;
	else
		r->too_long = true;
}

/* A '$' inside means that the rest of the packet before was lost. */
static void inside(struct gdbmsg_reader *r, char c)
{
	if (c == '#') {
		r->state = GDBMSG_SUM1;
		return;
	}
	if (c == '$') {
		begin(r);
		return;
	}
	r->sum = (uint8_t)(r->sum + (uint8_t)c);
	if (r->state == GDBMSG_INSIDE && c == ESCAPE) {
		r->state = GDBMSG_ESCAPE;
		return;
	}
	keep(r, r->state == GDBMSG_ESCAPE ? (char)(c ^ ESCAPE_BIT) : c);
	r->state = GDBMSG_INSIDE;
}

static enum gdbmsg_kind in_sum(struct gdbmsg_reader *r, char c)
{
	int digit = hex_digit(c);

	if (digit < 0)
		r->bad_sum = true;
	r->told = (uint8_t)(r->told << 4 | (digit & 15));
	if (r->state == GDBMSG_SUM1) {
		r->state = GDBMSG_SUM2;
		return GDBMSG_NONE;
	}
	r->state = GDBMSG_OUTSIDE;
	if (r->bad_sum || r->too_long || r->told != r->sum)
		return GDBMSG_BAD;
	r->text[r->len] = '\0';
	return GDBMSG_PACKET;
}

enum gdbmsg_kind gdbmsg_read(struct gdbmsg_reader *r, const void *bytes, size_t len, size_t *used)
{
	const char *b = bytes;
	enum gdbmsg_kind k = GDBMSG_NONE;
	size_t i = 0;

	while (i < len && k == GDBMSG_NONE) {
		char c = b[i++];

		if (r->state == GDBMSG_OUTSIDE)
			k = outside(r, c);
		else if (r->state == GDBMSG_INSIDE || r->state == GDBMSG_ESCAPE)
			inside(r, c);
		else
			k = in_sum(r, c);
	}
	*used = i;
	return k;
}

/* --- reading --- */

/* Where we are in a packet. */
struct place {
	char *at, *end;
};

static bool at_end(const struct place *p)
{
	return p->at == p->end;
}

static bool skip(struct place *p, char c)
{
	if (at_end(p) || *p->at != c)
		return false;
	p->at++;
	return true;
}

static bool number(struct place *p, uint64_t *out)
{
	unsigned int digits = 0;

	*out = 0;
	while (!at_end(p) && hex_digit(*p->at) >= 0) {
		if (*out >> 60)
			return false;
		*out = *out << 4 | (uint64_t)hex_digit(*p->at++);
		digits++;
	}
	return digits > 0;
}

static bool thread(struct place *p, int32_t *out)
{
	uint64_t n;

	if (skip(p, '-')) {
		*out = GDB_ALL_THREADS;
		return skip(p, '1');
	}
	if (!number(p, &n) || n > INT32_MAX)
		return false;
	*out = (int32_t)n;
	return true;
}

/* The rest of the packet is pairs of digits; they become bytes in place. */
static bool hex_data(struct place *p, struct gdb_cmd *c)
{
	size_t n = (size_t)(p->end - p->at);
	char *from = p->at;

	if (n % 2)
		return false;
	c->data = (uint8_t *)p->at;
	for (size_t i = 0; i < n / 2; i++) {
		int high = hex_digit(from[2 * i]), low = hex_digit(from[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		c->data[i] = (uint8_t)(high << 4 | low);
	}
	c->data_len = n / 2;
	p->at = p->end;
	return true;
}

static bool binary_data(struct place *p, struct gdb_cmd *c)
{
	c->data = (uint8_t *)p->at;
	c->data_len = (size_t)(p->end - p->at);
	p->at = p->end;
	return true;
}

static bool args_none(struct place *p, struct gdb_cmd *c)
{
	(void)c;
	return at_end(p);
}

static bool args_any(struct place *p, struct gdb_cmd *c)
{
	(void)c;
	p->at = p->end;
	return true;
}

static bool args_number(struct place *p, struct gdb_cmd *c)
{
	return number(p, &c->addr);
}

static bool args_put_one(struct place *p, struct gdb_cmd *c)
{
	return number(p, &c->addr) && skip(p, '=') && hex_data(p, c);
}

static bool args_range(struct place *p, struct gdb_cmd *c)
{
	return number(p, &c->addr) && skip(p, ',') && number(p, &c->len);
}

static bool args_write(struct place *p, struct gdb_cmd *c)
{
	return args_range(p, c) && skip(p, ':') && hex_data(p, c) && c->data_len == c->len;
}

static bool args_write_binary(struct place *p, struct gdb_cmd *c)
{
	return args_range(p, c) && skip(p, ':') && binary_data(p, c) && c->data_len == c->len;
}

static bool args_select(struct place *p, struct gdb_cmd *c)
{
	if (at_end(p))
		return false;
	c->letter = *p->at++;
	return thread(p, &c->thread);
}

static bool args_thread(struct place *p, struct gdb_cmd *c)
{
	return thread(p, &c->thread);
}

/* Conditions and commands may stand behind it; we have not said that we take them. */
static bool args_point(struct place *p, struct gdb_cmd *c)
{
	uint64_t kind;

	if (!number(p, &kind) || kind > GDB_WATCH_ACCESS || !skip(p, ','))
		return false;
	c->point = (enum gdb_point)kind;
	if (!args_range(p, c))
		return false;
	if (skip(p, ';'))
		p->at = p->end;
	return true;
}

static bool act(struct gdb_cmd *c, bool step, int32_t id)
{
	if (c->actions == GDB_ACTIONS_MAX)
		return false;
	c->action[c->actions++] = (struct gdb_action){ .step = step, .thread = id };
	return true;
}

static bool go_on(struct place *p, struct gdb_cmd *c, bool step)
{
	c->has_addr = !at_end(p);
	return (!c->has_addr || number(p, &c->addr)) && act(c, step, GDB_ANY_THREAD);
}

static bool args_continue(struct place *p, struct gdb_cmd *c)
{
	return go_on(p, c, false);
}

static bool args_step(struct place *p, struct gdb_cmd *c)
{
	return go_on(p, c, true);
}

/* A signal for the guest means nothing to it; the number is left out. */
static bool args_signal(struct place *p, struct gdb_cmd *c, bool step)
{
	uint64_t none;

	if (!number(p, &none))
		return false;
	skip(p, ';');
	return go_on(p, c, step);
}

static bool args_continue_signal(struct place *p, struct gdb_cmd *c)
{
	return args_signal(p, c, false);
}

static bool args_step_signal(struct place *p, struct gdb_cmd *c)
{
	return args_signal(p, c, true);
}

/* action[:thread];... where an action is a letter, C and S with a signal. */
static bool args_actions(struct place *p, struct gdb_cmd *c)
{
	do {
		int32_t id = GDB_ALL_THREADS;
		uint64_t none;
		char letter;

		if (at_end(p))
			return false;
		letter = *p->at++;
		if (!strchr("cCsS", letter) || !letter)
			return false;
		if ((letter == 'C' || letter == 'S') && !number(p, &none))
			return false;
		if (skip(p, ':') && !thread(p, &id))
			return false;
		if (!act(c, letter == 's' || letter == 'S', id))
			return false;
	} while (skip(p, ';'));
	return true;
}

static bool args_features(struct place *p, struct gdb_cmd *c)
{
	char *colon = memchr(p->at, ':', (size_t)(p->end - p->at));

	if (!colon)
		return false;
	c->name = p->at;
	*colon = '\0';
	p->at = colon + 1;
	return args_range(p, c);
}

struct row {
	const char *word;
	enum gdb_verb verb;
	bool (*args)(struct place *p, struct gdb_cmd *c);
};

/* Longer words before those they begin with. */
static const struct row rows[] = {
	{ "?", GDB_WHY, args_none },
	{ "g", GDB_GET_ALL, args_none },
	{ "G", GDB_PUT_ALL, hex_data },
	{ "p", GDB_GET_ONE, args_number },
	{ "P", GDB_PUT_ONE, args_put_one },
	{ "m", GDB_READ, args_range },
	{ "M", GDB_WRITE, args_write },
	{ "X", GDB_WRITE, args_write_binary },
	{ "H", GDB_SELECT, args_select },
	{ "T", GDB_IS_ALIVE, args_thread },
	{ "Z", GDB_POINT_ADD, args_point },
	{ "z", GDB_POINT_DROP, args_point },
	{ "c", GDB_RUN, args_continue },
	{ "C", GDB_RUN, args_continue_signal },
	{ "s", GDB_RUN, args_step },
	{ "S", GDB_RUN, args_step_signal },
	{ "vCont?", GDB_RUN_WORDS, args_none },
	{ "vCont;", GDB_RUN, args_actions },
	{ "vKill;", GDB_KILL, args_any },
	{ "D", GDB_DETACH, args_any },
	{ "k", GDB_KILL_QUIET, args_any },
	{ "qSupported", GDB_SUPPORTED, args_any },
	{ "QStartNoAckMode", GDB_NO_ACK, args_none },
	{ "qXfer:features:read:", GDB_FEATURES, args_features },
	{ "qfThreadInfo", GDB_THREADS_FIRST, args_none },
	{ "qsThreadInfo", GDB_THREADS_NEXT, args_none },
	{ "qThreadExtraInfo,", GDB_THREAD_WORDS, args_thread },
	{ "qC", GDB_THREAD_NOW, args_none },
	{ "qAttached", GDB_ATTACHED, args_any },
};

static bool begins(const struct gdbmsg_reader *r, const char *word)
{
	size_t n = strlen(word);

	return r->len >= n && !memcmp(r->text, word, n);
}

void gdbmsg_parse(struct gdb_cmd *c, struct gdbmsg_reader *r)
{
	*c = (struct gdb_cmd){ .verb = GDB_UNKNOWN };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct place p = { r->text + strlen(rows[i].word), r->text + r->len };

		if (!begins(r, rows[i].word))
			continue;
		c->verb = rows[i].args(&p, c) && at_end(&p) ? rows[i].verb : GDB_BAD;
		/* qC is a word of its own, and the beginning of others that we do not know */
		if (c->verb == GDB_BAD && rows[i].word[0] == 'q' && rows[i].args == args_none)
			c->verb = GDB_UNKNOWN;
		return;
	}
}

/* --- writing --- */

void gdbmsg_text(struct gdbmsg_reply *p, const char *fmt, ...)
{
	size_t room = sizeof(p->text) - p->len;
	va_list a;
	int n;

	va_start(a, fmt);
	n = vsnprintf(p->text + p->len, room, fmt, a);
	va_end(a);
	if (n >= 0 && (size_t)n < room)
		p->len += (size_t)n;
}

void gdbmsg_hex(struct gdbmsg_reply *p, const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *d = data;

	if (len > (sizeof(p->text) - p->len) / 2)
		return;
	for (size_t i = 0; i < len; i++) {
		p->text[p->len++] = digits[d[i] >> 4];
		p->text[p->len++] = digits[d[i] & 15];
	}
}

void gdbmsg_part(struct gdbmsg_reply *p, const char *text, uint64_t off, uint64_t len)
{
	uint64_t all = strlen(text), room = sizeof(p->text) - p->len;
	uint64_t from = min_u64(off, all), n;

	if (room < 1)
		return;
	n = min_u64(min_u64(len, room - 1), all - from);
	p->text[p->len++] = from + n < all ? 'm' : 'l';
	memcpy(p->text + p->len, text + from, n);
	p->len += n;
}

size_t gdbmsg_frame(char out[GDBMSG_FRAMED], const struct gdbmsg_reply *p)
{
	uint8_t sum = 0;
	size_t n = 0;

	out[n++] = '$';
	for (size_t i = 0; i < p->len; i++) {
		char c = p->text[i];

		/* '*' would be a repetition */
		if (c && strchr("$#}*", c)) {
			out[n++] = ESCAPE;
			sum = (uint8_t)(sum + ESCAPE);
			c ^= ESCAPE_BIT;
		}
		out[n++] = c;
		sum = (uint8_t)(sum + (uint8_t)c);
	}
	out[n++] = '#';
	out[n++] = "0123456789abcdef"[sum >> 4];
	out[n++] = "0123456789abcdef"[sum & 15];
	return n;
}
