/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port: registers and input in any order; its FIFO never holds more than it can, and it
 * can always be saved. */
#include "pokes.h"

#include "dev/serial.h"

static size_t sink(struct chardev *c, const uint8_t *data, size_t len)
{
	(void)c;
	(void)data;
	return len;
}
static void want(struct chardev *c, bool on)
{
	(void)c;
	(void)on;
}
static const struct chardev_ops ops = { .write = sink, .want_input = want };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct chardev chr = { .ops = &ops };
	const struct serial_conf conf = { .at.place[0] = { FIXED_PIO, 0x3f8 },
					  .gsi = 4,
					  .chr = &chr };
	struct poke p;
	struct dev *d;

	fake_begin();
	d = fake_add(&serial_class, &conf);
	while (poke_take(&p, &data, &size)) {
		if (p.kind)
			poke_do(fake.board.pio, 0x3f6, 12, &p);
		else if (chr.input(chr.arg, p.data, p.len) > p.len)
			abort();
	}
	poke_reborn(d, &serial_class, &conf);
	fake_end();
	return 0;
}
