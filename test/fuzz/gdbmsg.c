/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile debugger: any bytes in reads of any length are cut into packets and these read as
 * commands; where they are cut makes no difference, what a command has lies in its packet, and a
 * reply of the same bytes reads back as itself.
 */
#include <stdlib.h>
#include <string.h>

#include "vm/gdbmsg.h"

static void look(const struct gdb_cmd *c, const struct gdbmsg_reader *r)
{
	const uint8_t *text = (const uint8_t *)r->text;

	if (c->data && (c->data < text || c->data + c->data_len > text + r->len))
		abort();
	if (c->verb == GDB_WRITE && c->data_len != c->len)
		abort();
	if (c->verb == GDB_RUN && (!c->actions || c->actions > GDB_ACTIONS_MAX))
		abort();
	if (c->name && strlen(c->name) > r->len)
		abort();
}

static void wrap(const uint8_t *data, size_t size)
{
	static struct gdbmsg_reply p;
	static struct gdbmsg_reader r;
	static char out[GDBMSG_FRAMED];
	size_t n, used;

	p.len = size < GDBMSG_MAX ? size : GDBMSG_MAX;
	memcpy(p.text, data, p.len);
	n = gdbmsg_frame(out, &p);
	memset(&r, 0, sizeof(r));
	if (gdbmsg_read(&r, out, n, &used) != GDBMSG_PACKET || used != n || r.len != p.len ||
	    memcmp(r.text, p.text, p.len))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gdbmsg_reader whole, cut;
	size_t step, at = 0, used, far = 0;
	struct gdb_cmd c;

	if (size < 1)
		return -1;
	step = 1u + data[0];
	data++;
	size--;
	memset(&whole, 0, sizeof(whole));
	memset(&cut, 0, sizeof(cut));
	while (at < size) {
		size_t left = size - at;
		enum gdbmsg_kind k = gdbmsg_read(&cut, data + at, step < left ? step : left, &used);

		if (!used)
			abort();
		at += used;
		if (k == GDBMSG_NONE)
			continue;
		if (gdbmsg_read(&whole, data + far, size - far, &used) != k || far + used != at)
			abort();
		far = at;
		if (k != GDBMSG_PACKET)
			continue;
		if (whole.len != cut.len || memcmp(whole.text, cut.text, cut.len))
			abort();
		gdbmsg_parse(&c, &cut);
		look(&c, &cut);
	}
	/* what stands alone is a packet too */
	memset(&cut, 0, sizeof(cut));
	cut.len = size < GDBMSG_MAX ? size : GDBMSG_MAX;
	memcpy(cut.text, data, cut.len);
	gdbmsg_parse(&c, &cut);
	look(&c, &cut);
	wrap(data, size);
	return 0;
}
