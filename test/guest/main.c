/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tiny guest's entry in C and its verbs. The kernel command line is a list of words: verbs
 * are run in the order they stand, other words are settings that verbs look up. Every answer is a
 * line "R3 ..." on COM1; the last is "R3 EXIT n", n being the number of failed checks.
 */
#include "guest.h"

struct verb {
	const char *name;
	void (*run)(void);
};

static const struct verb verbs[] = {
	{ "told", told_run },
	{ "acpi", acpi_run },
	{ "acpihex", acpi_hex },
	{ "smbios", smbios_run },
	{ "mptable", mptable_run },
	{ "ram", ram_run },
	{ "cpuid", cpuid_run },
	{ "cmos", cmos_run },
	{ "ports", ports_run },
	{ "debug", debug_run },
	{ "serial", serial_run },
	{ "echo", serial_echo },
	{ "reset", reset_run },
	{ "pci", pci_run },
	{ "pcimove", pci_move },
	{ "smp", smp_run },
	{ "cpuhp", cpuhp_run },
	{ "memhp", memhp_run },
	{ "blk", blk_run },
	{ "blkbench", blk_bench },
	{ "blkverify", blk_verify },
	{ "blkdiscard", blk_discard },
	{ "net", net_run },
	{ "con", con_run },
	{ "conecho", con_echo },
	{ "rateblk", rate_blk },
	{ "ratenet", rate_net },
	{ "constream", con_stream },
	{ "serialstream", serial_stream },
	{ "rng", rng_run },
	{ "watchdog", watchdog_run },
	{ "vrtc", vrtc_run },
	{ "ivshmem", ivshmem_run },
	{ "pmem", pmem_run },
	{ "fwcfg", fwcfg_run },
	{ "balloon", balloon_run },
	{ "balloonhints", balloon_hints },
	{ "viommu", viommu_run },
	{ "tpm", tpm_run },
	{ "vmem", vmem_run },
	{ "attack", attack_run },
	{ "race", race_run },
	{ "storm", storm_run },
	{ "speed", speed_run },
	{ "touch", touch_run },
	{ "pattern", pattern_run },
	{ "park", park_run },
	{ "derail", derail_run },
	{ "pause", pause_run },
	{ "beat", beat_run },
	{ "segments", segments_run },
	{ "moves", moves_run },
	{ "pvpanic", pvpanic_run },
	{ "pvmemcontrol", pvmemcontrol_run },
	{ "pvmemlock", pvmemcontrol_lock },
	{ "pvmemattack", pvmemcontrol_attack },
	{ "marks", marks_run },
	{ "hotplug", hotplug_run },
	{ "generation", generation_run },
	{ "midway", midway_run },
	{ "shots", shots_run },
	{ "tpmcount", tpm_count },
	{ "netudp", net_udp },
	{ "netlink", net_link },
	{ "netbench", net_bench },
	{ "blksize", blk_size },
	{ "netcable", net_cable },
	{ "clocks", clocks_run },
	{ "vsock", vsock_run },
	{ "vsecho", vs_echo },
	{ "vsbulk", vs_bulk },
	{ "vsping", vs_ping },
};

const char *cmdline(void)
{
	uint64_t p = 0;

	if (entry.kind == ENTRY_PVH && rd32(entry.info) == 0x336ec578)
		p = rd64(entry.info + 24);
	else if (entry.kind != ENTRY_PVH)
		p = rd32(entry.info + 0x228);
	return p ? (const char *)p : "";
}

/* Does the word at p start with name, and end there or at '='? Returns where, or NULL. */
static const char *word_is(const char *p, const char *name)
{
	while (*name && *p == *name)
		p++, name++;
	return !*name && (!*p || *p == ' ' || *p == '=') ? p : NULL;
}

static uint64_t number(const char *p)
{
	uint64_t n = 0, base = 10;

	if (p[0] == '0' && p[1] == 'x')
		p += 2, base = 16;
	for (;; p++) {
		if (*p >= '0' && *p <= '9')
			n = n * base + (uint64_t)(*p - '0');
		else if (base == 16 && *p >= 'a' && *p <= 'f')
			n = n * base + (uint64_t)(*p - 'a' + 10);
		else
			return n;
	}
}

static const char *next_word(const char *p)
{
	while (*p && *p != ' ')
		p++;
	while (*p == ' ')
		p++;
	return p;
}

bool word(const char *name, uint64_t *n)
{
	for (const char *p = cmdline(); *p; p = next_word(p)) {
		const char *end = word_is(p, name);

		if (!end)
			continue;
		if (n)
			*n = *end == '=' ? number(end + 1) : 1;
		return true;
	}
	return false;
}

static void run_words(void)
{
	for (const char *p = cmdline(); *p; p = next_word(p))
		for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
			if (word_is(p, verbs[i].name))
				verbs[i].run();
}

/* Sleep for ever with the machine as the verbs before have left it, for a look from outside. */
void park_run(void)
{
	print("R3 PARKED\n");
	for (;;)
		kcall(k_hlt, 0, 0);
}

/* Stand still, spinning, until a byte comes in on COM1: somebody looks from outside. */
void pause_run(void)
{
	print("R3 PAUSED\n");
	while (!(inb(0x3fd) & 1))
		cpu_relax();
	inb(0x3f8);
}

/* A byte to COM1 every tenth of a millisecond, for ever: in another process the first tells when the
 * guest goes on. */
void beat_run(void)
{
	print("R3 BEATS\n");
	for (;;) {
		uint64_t t = rdtsc();

		outb(0x3f8, '.');
		while (tsc_ns(rdtsc() - t) < 100000)
			cpu_relax();
	}
}

_Noreturn void guest_main(uint32_t cpu);
_Noreturn void smp_main(uint32_t cpu);

_Noreturn void guest_main(uint32_t cpu)
{
	static const char *const kind[] = { "?", "pvh", "linux64", "linux32" };

	if (cpu)
		smp_main(cpu);
	outb(0x3fb, 3); /* COM1: 8 bits, no interrupts */
	outb(0x3f9, 0);
	print("\nR3 START %s\n", kind[entry.kind & 3]);
	desc_cpu(0);
	outb(0x21, 0xff); /* an interrupt controller of the old kind, where there is one: silent */
	outb(0xa1, 0xff);
	lapic_on();
	clock_init();
	run_words();
	leave(0);
}
