/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC's timer, shot after shot, for whoever saves the machine meanwhile: each shot brings
 * one interrupt, whether this CPU spins, sleeps in HLT or takes no interrupts while the time runs
 * out, and none comes while the timer is left alone, as it is at the end. By a count and, where there is one, by a
 * deadline of the TSC. Setting: shots=N. Intel SDM volume 3 §11.5.4.
 */
#include "guest.h"

#define V_SHOT 0x68
#define LVT_TIMER 0x320
#define INITIAL_COUNT 0x380
#define CURRENT_COUNT 0x390
#define DIVIDE 0x3e0
#define BY_DEADLINE (1u << 18)
#define MSR_TSC_DEADLINE 0x6e0
#define SHOT_US 1500u
#define REST_US 2500u
#define PATIENCE_US 20000000ul

static void spin(uint32_t before)
{
	uint64_t t = rdtsc();

	irq_on();
	while (irq_counts[V_SHOT] == before && !lapse(t, PATIENCE_US))
		cpu_relax();
	irq_off();
}

static void sleep(uint32_t before)
{
	while (irq_counts[V_SHOT] == before)
		kcall(k_hlt, 0, 0);
}

static void look_away(uint32_t before)
{
	delay_us(2 * SHOT_US);
	spin(before);
}

static bool has_deadline(void)
{
	uint32_t r[4] = { 1, 0, 0, 0 };

	kcall(k_cpuid, (uint64_t)r, 0);
	return r[2] >> 24 & 1;
}

static void load(bool deadline)
{
	lapic_wr(LVT_TIMER, V_SHOT | (deadline ? BY_DEADLINE : 0));
	if (deadline)
		kcall(k_wrmsr, MSR_TSC_DEADLINE, rdtsc() + SHOT_US * tsc_khz() / 1000);
	else
		lapic_wr(INITIAL_COUNT, SHOT_US * 1000);
}

/* Interrupts are taken while the timer rests too. */
static void rest(void)
{
	irq_on();
	delay_us(REST_US);
	irq_off();
}

void shots_run(void)
{
	static void (*const ways[])(uint32_t before) = { spin, sleep, look_away };
	uint64_t shots = 300;
	uint32_t kinds = has_deadline() ? 2 : 1, wrong[2] = { 0 };

	word("shots", &shots);
	lapic_wr(DIVIDE, 0xb);
	print("R3 SHOTS\n");
	for (uint32_t i = 0; i < shots; i++) {
		bool deadline = i % kinds;
		uint32_t before = irq_counts[V_SHOT];

		load(deadline);
		ways[i / kinds % 3](before);
		rest();
		wrong[deadline] += irq_counts[V_SHOT] != before + 1;
		if (!deadline && lapic_rd(CURRENT_COUNT))
			wrong[0]++;
	}
	check(!wrong[0], "each count brings one interrupt, but for %u", wrong[0]);
	check(!wrong[1], "each deadline brings one interrupt, but for %u", wrong[1]);
}
