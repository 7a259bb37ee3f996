/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports 0x61 to 0x64: the status that says "nothing to read, ready to be written", the two low bits
 * of the speaker's port, and the command that pulls the reset line. The timer's output at 0x61 is
 * always high, so that a guest which calibrates by the PIT that is not there gives up at once. vCPU
 * threads; the one byte of state is atomic.
 */
#include "dev/i8042.h"

#include <string.h>

#include "base/mem.h"

#define PORTS 4

enum { PORT_SPEAKER = 0, PORT_COMMAND = 3 };

#define SPEAKER_BITS 0x03
#define SPEAKER_TIMER_OUT 0x20
#define COMMAND_RESET 0xfe

struct i8042_state {
	uint8_t speaker;
};

struct i8042 {
	struct dev dev;
	struct i8042_state s;
};

static struct i8042 *i8042_of(struct dev *d)
{
	return container_of(d, struct i8042, dev);
}

static void i8042_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct i8042 *k = i8042_of(arg);
	uint8_t speaker = __atomic_load_n(&k->s.speaker, __ATOMIC_RELAXED);

	memset(data, 0, len);
	if (off == PORT_SPEAKER)
		data[0] = speaker | SPEAKER_TIMER_OUT;
}

static void i8042_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct i8042 *k = i8042_of(arg);
	struct board *b = k->dev.board;

	for (uint32_t i = 0; i < len; i++) {
		if (off + i == PORT_SPEAKER)
			__atomic_store_n(&k->s.speaker, data[i] & SPEAKER_BITS, __ATOMIC_RELAXED);
		else if (off + i == PORT_COMMAND && data[i] == COMMAND_RESET)
			b->up.wish(b->up.arg, WISH_RESET);
	}
}

static const struct field i8042_state_f[] = {
	S(struct i8042_state, speaker, .max = SPEAKER_BITS),
};
static const struct desc i8042_state_desc =
	DESC_OF(struct i8042_state, i8042_state_f, "I8042State");

static const struct bus_ops i8042_ops = { .read = i8042_read, .write = i8042_write };

const struct fixed_class i8042_class = {
	.dev = {
		.name = "i8042",
		.state = &i8042_state_desc,
		.size = sizeof(struct i8042),
		.state_off = offsetof(struct i8042, s),
		.plug = &fixed_plug,
	},
	.bank = {{.len = PORTS, .ops = &i8042_ops}},
};
