/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that watches what others change of its devices, and what becomes of its clocks while it is
 * paused: the size of its first disk, the link of its first card, four clocks. Whoever changes it
 * reads what is said here. virtio 1.3 §5.2.4, §5.1.4; Documentation/virt/kvm/x86/msr.rst.
 */
#include "drivers.h"
#include "guest.h"
#include "pci.h"

#define VECTOR 0x51
#define SECONDS 1000000ul
#define PATIENCE (30 * SECONDS)
#define MSR_KVM_CLOCK 0x4b564d01u
#define PM_TIMER 0x608

/* A device that tells of a change by its config vector. */
static bool start_told(struct vdev *d, uint32_t type)
{
	if (!check(vdev_find(d, type, 0), "there is a device of type %u", type))
		return false;
	vdev_vector(d, 0, VECTOR);
	vdev_vector(d, 1, VECTOR + 1);
	pci_wr16(d->bdf, d->msix_cap + 2, 0x8000);
	d->with_msix = true;
	if (!check(vdev_start(d, 0), "it starts with MSI-X"))
		return false;
	wr16(d->common + C_CONFIG_VECTOR, 1);
	return check(rd16(d->common + C_CONFIG_VECTOR) == 1, "it has a config vector");
}

/* Waits until the value at off of its config is another, and its interrupt has come. */
static bool wait_change(const struct vdev *d, uint32_t off, uint64_t *was)
{
	uint32_t irqs = irq_counts[VECTOR + 1];
	uint64_t t = rdtsc(), now;

	do {
		now = rd32(d->config + off) | (uint64_t)rd32(d->config + off + 4) << 32;
		if (now != *was && irq_counts[VECTOR + 1] != irqs) {
			*was = now;
			return true;
		}
		cpu_relax();
	} while (!lapse(t, PATIENCE));
	return check(false, "a change comes with its interrupt");
}

/* blksize=N: N changes of the first disk's size, each of which is true at once. */
void blk_size(void)
{
	static struct vdev d;
	uint64_t times = 1, sectors;

	word("blksize", &times);
	if (!start_told(&d, 2))
		return;
	irq_on();
	sectors = blk_sectors(&d);
	print("R3 SECTORS %lu\n", sectors);
	while (times-- && wait_change(&d, 0, &sectors)) {
		check(blk_request(&d.q[0], 1, sectors - 1, 512) == 0, "the last sector is there");
		check(blk_request(&d.q[0], 1, sectors, 512) == 1, "and none behind it");
		print("R3 SECTORS %lu\n", sectors);
	}
	irq_off();
	vdev_reset(&d);
}

/* netcable=N: N changes of the first card's link. */
void net_cable(void)
{
	static struct vdev d;
	uint64_t times = 1, t;
	uint16_t status;

	word("netcable", &times);
	if (!start_told(&d, 1))
		return;
	irq_on();
	for (status = rd16(d.config + 6);; status = rd16(d.config + 6)) {
		print("R3 LINK %s\n", status & 1 ? "up" : "down");
		if (!times--)
			break;
		t = rdtsc();
		while (!((rd16(d.config + 6) ^ status) & 1) && !lapse(t, PATIENCE))
			cpu_relax();
	}
	check(irq_counts[VECTOR + 1], "an interrupt came with it");
	irq_off();
	vdev_reset(&d);
}

/* --- clocks --- */

static volatile struct {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
} __attribute__((aligned(4096))) kvm;

static uint64_t kvm_ns(void)
{
	uint64_t d, ns;
	uint32_t v;

	if (!kvm.mul)
		return 0;
	do {
		v = kvm.version & ~1u;
		barrier();
		d = rdtsc() - kvm.tsc;
		d = kvm.shift < 0 ? d >> -kvm.shift : d << kvm.shift;
		ns = kvm.ns + (uint64_t)((unsigned __int128)d * kvm.mul >> 32);
		barrier();
	} while (kvm.version != v);
	return ns;
}

static uint8_t cmos(uint8_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

/* The time of day, once it stands. */
static uint32_t rtc_seconds(void)
{
	uint32_t s[2] = { 1, 0 };

	for (int i = 0; s[0] != s[1]; i ^= 1) {
		uint8_t v[3] = { cmos(0), cmos(2), cmos(4) };

		if (!(cmos(11) & 4)) /* BCD */
			for (int k = 0; k < 3; k++)
				v[k] = (uint8_t)((v[k] >> 4) * 10 + (v[k] & 15));
		s[i] = (uint32_t)v[0] + 60u * v[1] + 3600u * v[2];
	}
	return s[0];
}

/* clocks=N: all clocks N times, 20 ms apart; they never go back. */
void clocks_run(void)
{
	uint64_t times = 10, last_kvm = 0, last_tsc = 0;
	bool forward = true;

	word("clocks", &times);
	kcall(k_wrmsr, MSR_KVM_CLOCK, (uint64_t)&kvm | 1);
	while (times--) {
		uint64_t tsc = rdtsc(), ns = kvm_ns();
		uint32_t pm = inl(PM_TIMER), rtc = rtc_seconds();

		forward = forward && tsc >= last_tsc && ns >= last_kvm;
		last_tsc = tsc;
		last_kvm = ns;
		print("R3 CLOCKS tsc=%lu kvm=%lu pm=%u rtc=%u\n", tsc_ns(tsc), ns, pm, rtc);
		delay_us(20000);
	}
	check(forward, "no clock goes back");
}
