/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What KVM can show a guest of a processor: its CPUID leaves, those of Hyper-V, and the matrix
 * extension, which takes a permission. What of it a guest gets is arch/x86's business. Control
 * thread. Linux Documentation/virt/kvm/api.rst; Documentation/arch/x86/xstate.rst.
 */
#include <asm/prctl.h>
#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "hv/kvm/kvm.h"

/* More than any processor has; KVM fills in how many there are. */
#define CPUID_MAX 256

/* The number of the AMX tiles among the states that XSAVE keeps. */
#define XCOMP_TILE_DATA 18

static struct kvm *kvm_of(const struct hv *h)
{
	return container_of(h, struct kvm, hv);
}

static struct kvm_cpuid2 *room(void)
{
	struct kvm_cpuid2 *c = mem_new(sizeof *c + CPUID_MAX * sizeof c->entries[0]);

	c->nent = CPUID_MAX;
	return c;
}

int kvm_fetch_cpuid(struct kvm *k, struct err *e)
{
	free(k->cpuid);
	k->cpuid = room();
	if (ioctl(k->fd, KVM_GET_SUPPORTED_CPUID, k->cpuid) < 0)
		return err_os(e, ERR_IO, "ask KVM which CPUID leaves it supports");
	return 0;
}

uint8_t kvm_phys_bits(const struct hv *h)
{
	const struct kvm_cpuid2 *c = kvm_of(h)->cpuid;

	for (uint32_t i = 0; i < c->nent; i++) {
		if (c->entries[i].function != 0x80000008)
			continue;
		uint8_t bits = (uint8_t)c->entries[i].eax;
		uint8_t guest = (uint8_t)(c->entries[i].eax >> 16); /* what nested paging can map */

		return guest && guest < bits ? guest : bits;
	}
	return 36; /* the architecture's default without that leaf */
}

static void neutral(struct hv_cpuid **out, uint32_t *count, const struct kvm_cpuid2 *c)
{
	struct hv_cpuid *t = mem_array(c->nent, sizeof *t);

	for (uint32_t i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *k = &c->entries[i];

		t[i] = (struct hv_cpuid){
			.leaf = k->function,
			.sub = k->index,
			.sub_matters = k->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = k->eax,
			.ebx = k->ebx,
			.ecx = k->ecx,
			.edx = k->edx,
		};
	}
	*out = t;
	*count = c->nent;
}

int kvm_supported_cpuid(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e)
{
	(void)e;
	neutral(out, count, kvm_of(h)->cpuid);
	return 0;
}

int kvm_hyperv_cpuid(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e)
{
	struct kvm *k = kvm_of(h);

	if (ioctl(k->fd, KVM_CHECK_EXTENSION, KVM_CAP_HYPERV_SYNIC) <= 0 ||
	    ioctl(k->fd, KVM_CHECK_EXTENSION, KVM_CAP_SYS_HYPERV_CPUID) <= 0)
		return err_set(e, ERR_ABSENT,
			       "this host's KVM cannot look like Hyper-V (CONFIG_KVM_HYPERV, Linux "
			       "5.11 or later); leave kvm_hyperv out");
	AUTO_FREE struct kvm_cpuid2 *c = room();

	if (ioctl(k->fd, KVM_GET_SUPPORTED_HV_CPUID, c) < 0)
		return err_os(e, ERR_IO, "ask KVM what it can do of Hyper-V");
	neutral(out, count, c);
	return 0;
}

/* Does KVM keep the tiles of a guest? Kernels before 5.17 do not know the question. */
static bool keeps_tiles(const struct kvm *k)
{
	uint64_t states = 0;
	struct kvm_device_attr a = {
		.attr = KVM_X86_XCOMP_GUEST_SUPP,
		.addr = (uintptr_t)&states,
	};

	return !ioctl(k->fd, KVM_GET_DEVICE_ATTR, &a) && states >> XCOMP_TILE_DATA & 1;
}

int kvm_allow_amx(struct hv *h, struct err *e)
{
	struct kvm *k = kvm_of(h);

	if (!keeps_tiles(k))
		return err_set(e, ERR_ABSENT,
			       "this host has no AMX to give: its processor or its KVM lacks it "
			       "(Linux 5.17 or later); leave it out");
	if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_GUEST_PERM, XCOMP_TILE_DATA) < 0)
		return err_os(e, ERR_IO, "ask the kernel's permission for AMX in guests");
	return kvm_fetch_cpuid(k, e); /* which now tells of it */
}
