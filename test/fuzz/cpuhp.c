/* SPDX-License-Identifier: Apache-2.0 */
/* The controller of CPU hot-plug, with a host that lets processors come and asks for them meanwhile. */
#include "pokes.h"

#include "dev/cpuhp.h"

#define AT 0xfff0000000ull
#define CPUS 8

enum { ACCESS = 12 }; /* kinds below are accesses; then a deed of the host each */

static bool asked[CPUS], there[CPUS];

/* Only those leave that were there and were asked, each once. */
static void on_left(void *arg, uint32_t cpu)
{
	(void)arg;
	if (cpu >= CPUS || !asked[cpu] || !there[cpu])
		abort();
	asked[cpu] = there[cpu] = false;
}

static void check(struct dev *hp)
{
	bool any = false;

	for (uint32_t i = 0; i < CPUS; i++) {
		if (cpuhp_is_there(hp, i) != there[i])
			abort();
		any |= asked[i];
	}
	if (cpuhp_is_pending(hp) != any)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct cpuhp_conf conf = { .at.place[0] = { FIXED_MMIO, AT },
						.cpus = CPUS,
						.boot = 3 };
	struct poke p;
	struct dev *hp;

	fake_begin();
	fake.board.up.cpu_left = on_left;
	for (uint32_t i = 0; i < CPUS; i++) {
		there[i] = i < conf.boot;
		asked[i] = false;
	}
	hp = fake_add(&cpuhp_class, &conf);
	while (poke_take(&p, &data, &size)) {
		uint32_t cpu = p.at % CPUS;

		if (p.kind < ACCESS) {
			poke_do(fake.board.mmio, AT - 2, CPUHP_LEN + 4, &p);
		} else if (p.kind == ACCESS && !there[cpu]) {
			cpuhp_come(hp, cpu);
			there[cpu] = true;
		} else if (p.kind == ACCESS + 1 && there[cpu]) {
			cpuhp_ask(hp, cpu);
			asked[cpu] = true;
		} else {
			cpuhp_tell(hp);
		}
		check(hp);
	}
	poke_reborn(hp, &cpuhp_class, &conf);
	dev_remove_all(&fake.board);
	fake_end();
	return 0;
}
