/* SPDX-License-Identifier: Apache-2.0 */
/* The IOAPIC: registers, pins and ends of interrupts in any order. */
#include "pokes.h"

#include "chip/ioapic.h"

#define BASE 0xfec00000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ioapic_conf conf = { .at.place[0] = { FIXED_MMIO, BASE } };
	struct poke p;
	struct dev *d;

	fake_begin();
	d = fake_add(&ioapic_class, &conf);
	while (poke_take(&p, &data, &size)) {
		if (p.kind == 0)
			irq_pin(fake.board.irqs, p.at % 32, p.write);
		else if (p.kind == 1)
			irq_eoi(fake.board.irqs, (uint8_t)p.at);
		else if (p.kind < 8)
			poke_do(fake.board.mmio, BASE, 0x24, &p);
		else /* the pair of accesses that drivers make */
			bus_write(fake.board.mmio, BASE, (const uint8_t[4]){ (uint8_t)p.at }, 4),
				bus_write(fake.board.mmio, BASE + 0x10, p.data, 4);
	}
	poke_reborn(d, &ioapic_class, &conf);
	fake_end();
	return 0;
}
