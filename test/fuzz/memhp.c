/* SPDX-License-Identifier: Apache-2.0 */
/* The controller of memory hot-plug, with a host that lets memory come meanwhile. */
#include "pokes.h"

#include "dev/memhp.h"

#define AT 0xfff0000000ull

enum { ACCESS = 15 }; /* kinds below are accesses; then memory comes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct memhp_conf conf = { .at.place[0] = { FIXED_MMIO, AT } };
	uint32_t come = 0;
	struct poke p;
	struct dev *hp;

	fake_begin();
	hp = fake_add(&memhp_class, &conf);
	while (poke_take(&p, &data, &size)) {
		if (p.kind < ACCESS)
			poke_do(fake.board.mmio, AT - 2, MEMHP_LEN + 4, &p);
		else if (memhp_free(hp))
			memhp_come(hp, GIB(4) + come++ * GIB(1), MIB(128));
		/* what has come stays */
		if (memhp_free(hp) != MEMHP_SLOTS - come)
			abort();
	}
	poke_reborn(hp, &memhp_class, &conf);
	dev_remove_all(&fake.board);
	fake_end();
	return 0;
}
