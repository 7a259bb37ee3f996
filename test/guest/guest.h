/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every file of the tiny guest shares: ports, memory-mapped registers, the services of
 * ring 0, printing, verdicts, time. It is a program without an operating system: it runs in ring
 * 3 on one CPU (others only in smp.c), with an identity map, and its globals are the machine's.
 * Not for the VMM: nothing in src/ includes it.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "select.h"

#define HEAP 0x1000000ul /* free RAM from 16 MiB on: queues and buffers, placed by their users */

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}

static inline void outw(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi));
	return lo | (uint64_t)hi << 32;
}

static inline void cpu_relax(void)
{
	__asm__ volatile("pause");
}

static inline void barrier(void)
{
	__asm__ volatile("" ::: "memory");
}

static inline void fence(void)
{
	__asm__ volatile("mfence" ::: "memory");
}

/*
 * Memory-mapped registers, by physical address, which page.c maps one to one. One plain mov each,
 * so that every decoder of instructions knows it.
 */
static inline uint8_t rd8(uint64_t a)
{
	uint8_t v;

	__asm__ volatile("movb %1, %0" : "=q"(v) : "m"(*(volatile uint8_t *)a));
	return v;
}

static inline uint16_t rd16(uint64_t a)
{
	uint16_t v;

	__asm__ volatile("movw %1, %0" : "=r"(v) : "m"(*(volatile uint16_t *)a));
	return v;
}

static inline uint32_t rd32(uint64_t a)
{
	uint32_t v;

	__asm__ volatile("movl %1, %0" : "=r"(v) : "m"(*(volatile uint32_t *)a));
	return v;
}

static inline uint64_t rd64(uint64_t a)
{
	uint64_t v;

	__asm__ volatile("movq %1, %0" : "=r"(v) : "m"(*(volatile uint64_t *)a));
	return v;
}

static inline void wr8(uint64_t a, uint8_t v)
{
	__asm__ volatile("movb %1, %0" : "=m"(*(volatile uint8_t *)a) : "q"(v));
}

static inline void wr16(uint64_t a, uint16_t v)
{
	__asm__ volatile("movw %1, %0" : "=m"(*(volatile uint16_t *)a) : "r"(v));
}

static inline void wr32(uint64_t a, uint32_t v)
{
	__asm__ volatile("movl %1, %0" : "=m"(*(volatile uint32_t *)a) : "r"(v));
}

static inline void wr64(uint64_t a, uint64_t v)
{
	__asm__ volatile("movq %1, %0" : "=m"(*(volatile uint64_t *)a) : "r"(v));
}

/* start.S: how the boot CPU came in. Registers the entry did not save read 0. */
struct entry {
	uint64_t kind; /* ENTRY_* */
	uint64_t info; /* hvm_start_info or boot_params */
	uint64_t eax, ebx, ecx, edx, esi, edi, ebp, esp, eflags, cr0, cr4, cs, ds, ss;
};
extern struct entry entry;

/* gate.S: services of ring 0. kcall runs one there and returns its value. */
typedef void kfn(void);
extern kfn k_nop, k_sti, k_cli, k_rdmsr, k_wrmsr, k_hlt, k_cpuid, k_triple, k_flush;
uint64_t kcall(kfn *fn, uint64_t a, uint64_t b);
extern volatile uint32_t irq_counts[256]; /* interrupts taken, by vector */

/* lib.c */
void *memset(void *d, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);
int memcmp(const void *a, const void *b, size_t n);
uint32_t sum8(uint64_t a, uint64_t n); /* sum of n bytes at a, modulo 256 */
uint64_t rnd(void);		       /* the same series in every run */
void print(const char *f, ...) __attribute__((format(printf, 1, 2)));

/* One line "R3 PASS ..." or "R3 FAIL ..."; failures make the exit status. Returns ok. */
bool check(bool ok, const char *f, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void leave(int code); /* "R3 EXIT code", then power off */

/* Word of the command line, "name" or "name=N" (decimal or 0x): is it there, and N (1 without). */
bool word(const char *name, uint64_t *n);
const char *cmdline(void);

/* desc.c */
void desc_cpu(uint32_t cpu); /* TSS of a cpu; for cpu 0 also all gates; from any cpu for any */

/* page.c: map the gigabytes that hold [a, a+n) above 4 GiB; below all is mapped. */
void map(uint64_t a, uint64_t n);

/* clock.c */
void clock_init(void);
uint64_t tsc_khz(void);
uint64_t tsc_ns(uint64_t t);
void delay_us(uint64_t us);
bool lapse(uint64_t start, uint64_t us); /* have us microseconds gone since rdtsc value start? */

/* lapic.c: the local APIC in the mode in which the machine hands it over, memory-mapped or x2APIC,
 * and one line of the I/O APIC. Registers by their memory-mapped offsets. */
uint32_t lapic_rd(uint32_t reg);
void lapic_wr(uint32_t reg, uint32_t v);
uint32_t lapic_id(void);
void lapic_send(uint32_t id, uint32_t command);
bool lapic_is_x2(void); /* on this cpu */
void lapic_on(void);
void irq_on(void);
void irq_off(void);
void ioapic_line(uint32_t pin, uint8_t vector);
void ioapic_line_to(uint32_t pin, uint8_t vector, uint32_t id); /* of up to 15 bits */
void ioapic_mask(uint32_t pin);

/* Verbs of the command line, each in the file of its name. */
void told_run(void);
void acpi_run(void);
void acpi_hex(void);
void smbios_run(void);
void cpuhp_run(void);
void memhp_run(void);
void chips_find(uint64_t *events, uint64_t *cpus, uint64_t *memory); /* pages of controllers */
void mptable_run(void);
void ram_run(void);
void cpuid_run(void);
void cmos_run(void);
void ports_run(void);
void debug_run(void);
void serial_run(void);
void serial_echo(void);
void reset_run(void);
void derail_run(void);
void viommu_run(void);
void tpm_run(void);
void pause_run(void);
void beat_run(void);
void pci_run(void);
void pci_move(void);
void smp_run(void);
void blk_run(void);
void blk_bench(void);
void blk_verify(void);
void blk_discard(void);
void net_run(void);
void net_udp(void);
void net_link(void);
void net_bench(void);
void blk_size(void);
void net_cable(void);
void clocks_run(void);
void vsock_run(void);
void vs_echo(void);
void vs_bulk(void);
void vs_ping(void);
void con_run(void);
void con_echo(void);
void rate_blk(void);
void rate_net(void);
void con_stream(void);
void serial_stream(void);
void rng_run(void);
void watchdog_run(void);
void vrtc_run(void);
void ivshmem_run(void);
void pmem_run(void);
void fwcfg_run(void);
void balloon_run(void);
void balloon_hints(void);
void vmem_run(void);
void attack_run(void);
void race_run(void);
void storm_run(void);
void speed_run(void);
void touch_run(void);
void pattern_run(void); /* pattern.c */
void park_run(void);
void segments_run(void);
void moves_run(void);
void pvpanic_run(void);
void pvmemcontrol_run(void);
void pvmemcontrol_lock(void);
void pvmemcontrol_attack(void);
void marks_run(void);
void hotplug_run(void);
void generation_run(void);
void midway_run(void);
void shots_run(void);
void tpm_count(void);
