/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvmspeed: whether this machine's KVM runs a guest's kernel mode on the processor, or interprets
 * it.
 *
 * A guest of a few bytes counts down in ring 0, in flat 32-bit protected mode, and the time is
 * taken. A processor needs well under a millisecond; an interpreter about a microsecond an
 * instruction. Prints the nanoseconds of one instruction. Status 0: runs; 1: interprets; 2: there
 * is no usable KVM, with the reason on stderr.
 *
 * Not a benchmark: it only tells two worlds apart that lie a factor of a thousand from each other.
 * One thread. Documentation/virt/kvm/api.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#define LOOPS 65536u
#define INSTRUCTIONS (2 * LOOPS)
#define GUEST_BYTES 0x10000u
#define CODE_GPA 0x1000u
/* Above this many nanoseconds an instruction, no processor is at work. */
#define INTERPRETED_NS 150
/* The first run pays for page faults and the like; the best of these counts. */
#define RUNS 3

/* mov ecx, LOOPS; again: dec ecx; jnz again; hlt */
static const uint8_t code[] = {
	0xb9, LOOPS & 0xff, (LOOPS >> 8) & 0xff, LOOPS >> 16, 0, 0x49, 0x75, 0xfd, 0xf4,
};

static int lack(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 2;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void flat_segment(struct kvm_segment *s, uint8_t type)
{
	*s = (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = type == 11 ? 8 : 16,
		.type = type,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
}

static int protected_mode(int vcpu)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = CODE_GPA, .rflags = 2 };

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	flat_segment(&sregs.cs, 11);
	flat_segment(&sregs.ds, 3);
	sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
	sregs.cr0 |= 1;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0)
		return -1;
	return ioctl(vcpu, KVM_SET_REGS, &regs);
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		return lack("/dev/kvm");
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return lack("KVM_CREATE_VM");
	uint8_t *ram =
		mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		return lack("mmap");
	memcpy(ram + CODE_GPA, code, sizeof(code));
	struct kvm_userspace_memory_region slot = {
		.memory_size = GUEST_BYTES,
		.userspace_addr = (uintptr_t)ram,
	};
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
		return lack("KVM_SET_USER_MEMORY_REGION");
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	int bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vcpu < 0 || bytes < 0)
		return lack("KVM_CREATE_VCPU");
	struct kvm_run *run =
		mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return lack("vCPU");

	int64_t each = INT64_MAX;
	for (int i = 0; i < RUNS; i++) {
		int64_t began = now_ns();
		if (protected_mode(vcpu) < 0 || ioctl(vcpu, KVM_RUN, 0) < 0)
			return lack("KVM_RUN");
		int64_t took = (now_ns() - began) / INSTRUCTIONS;
		each = took < each ? took : each;
		if (run->exit_reason != KVM_EXIT_HLT) {
			fprintf(stderr, "the guest ended with exit %u\n", run->exit_reason);
			return 2;
		}
	}
	printf("%lld\n", (long long)each);
	return each > INTERPRETED_NS ? 1 : 0;
}
