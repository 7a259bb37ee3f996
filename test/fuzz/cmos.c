/* SPDX-License-Identifier: Apache-2.0 */
/* The small chips that share the low ports: clock and memory, reset line, ACPI registers. */
#include "pokes.h"

#include "dev/cmos.h"
#include "dev/ged.h"
#include "dev/i8042.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct cmos_conf cmos = { .at.place[0] = { FIXED_PIO, 0x70 },
					       .ram_low = GIB(1) };
	static const struct i8042_conf i8042 = { .at.place[0] = { FIXED_PIO, 0x61 } };
	static const struct ged_conf ged = {
		.at.place = { { FIXED_PIO, 0x66 }, { FIXED_PIO, 0x78 }, { FIXED_PIO, 0x80 } },
		.gsi = 13
	};
	struct err e = { 0 };
	struct poke p;
	struct dev *d;

	fake_begin();
	d = fake_add(&cmos_class, &cmos);
	if (dev_add(NULL, &fake.board, &i8042_class.dev,
		    &(struct dev_args){ .id = "reset", .conf = &i8042 }, &e) ||
	    dev_add(NULL, &fake.board, &ged_class.dev,
		    &(struct dev_args){ .id = "acpi", .conf = &ged }, &e))
		abort();
	while (poke_take(&p, &data, &size))
		poke_do(fake.board.pio, 0x5f, 0x28, &p);
	poke_reborn(d, &cmos_class, &cmos);
	fake_end();
	return 0;
}
