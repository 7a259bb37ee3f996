/* SPDX-License-Identifier: Apache-2.0 */
/* The controller of PCI hot-plug, with a host that tells of arrivals, asks and forgets meanwhile. */
#include "pokes.h"

#include "dev/pcihp.h"
#include "pci/pci.h"

#define AT 0xfff0000000ull
#define SEGMENTS 3

enum { ACCESS = 12 }; /* kinds below are accesses; then a deed of the host each */

static void on_let_go(void *arg)
{
	*(unsigned int *)arg += 1;
}

/* What the guest has let go of was asked for, and is gone when it was seen to. */
static void carry_out(struct dev *hp)
{
	uint16_t segment;
	uint8_t slot;

	for (unsigned int i = 0; pcihp_let_go(hp, &segment, &slot); i++) {
		if (segment >= SEGMENTS || slot > 31 || i > SEGMENTS * 32 ||
		    !pcihp_is_asked(hp, segment, slot))
			abort();
		pcihp_gone(hp, segment, slot);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct pcihp_conf conf = { .at.place[0] = { FIXED_MMIO, AT },
						.segments = SEGMENTS };
	struct pci_host_args a = { .segments = SEGMENTS,
				   .ecam = 0xe8000000,
				   .mem32 = { 0xc0000000, MIB(64) },
				   .mem64 = { 0x800000000, GIB(16) } };
	unsigned int told = 0;
	struct err e = { 0 };
	struct poke p;
	struct dev *hp;

	fake_begin();
	a.mmio = fake.board.mmio;
	a.irqs = fake.board.irqs;
	fake_sound(pci_host_new(&fake.board.pci, &a, &e), &e);
	fake.board.up.let_go = on_let_go;
	fake.board.up.arg = &told;
	hp = fake_add(&pcihp_class, &conf);
	while (poke_take(&p, &data, &size)) {
		uint16_t segment = (p.at >> 5) % SEGMENTS;
		uint8_t slot = p.at % 32;

		if (p.kind < ACCESS)
			poke_do(fake.board.mmio, AT - 2, 20, &p);
		else if (p.kind == ACCESS)
			pcihp_look(hp, segment, slot);
		else if (p.kind == ACCESS + 1)
			pcihp_ask(hp, segment, slot);
		else if (p.kind == ACCESS + 2)
			pcihp_gone(hp, segment, slot);
		else
			carry_out(hp);
	}
	poke_reborn(hp, &pcihp_class, &conf);
	dev_remove_all(&fake.board);
	pci_host_free(fake.board.pci);
	fake_end();
	return 0;
}
