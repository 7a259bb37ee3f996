/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor under start times: a program that does what any VMM must do on KVM to run a PVH guest
 * on one CPU, and nothing else. It creates a VM with a split interrupt controller, RAM, one vCPU
 * with CPUID, MSRs and registers, loads an ELF file, and runs it until power-off; bytes written
 * to COM1 go to stdout. Not a VMM: it checks nothing but system calls, and has no devices.
 * One thread. Use: floor guest.elf MiB. Specification: Linux Documentation/virt/kvm/api.rst.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define START_INFO 0x6000
#define CPUIDS 256

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int try(int r, const char *what)
{
	if (r < 0)
		die(what);
	return r;
}

static uint8_t *make_ram(int vm, size_t size)
{
	int fd = try(memfd_create("ram", MFD_CLOEXEC), "memfd_create");

	try(ftruncate(fd, (off_t)size), "ftruncate");
	void *ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);

	if (ram == MAP_FAILED)
		die("mmap");
	size_t below = size < 3ul << 30 ? size : 3ul << 30;
	struct kvm_userspace_memory_region r = { .memory_size = below,
						 .userspace_addr = (uintptr_t)ram };

	try(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r), "KVM_SET_USER_MEMORY_REGION");
	if (size > below) {
		r = (struct kvm_userspace_memory_region){ .slot = 1,
							  .guest_phys_addr = 4ul << 30,
							  .memory_size = size - below,
							  .userspace_addr =
								  (uintptr_t)ram + below };
		try(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r), "KVM_SET_USER_MEMORY_REGION");
	}
	return ram;
}

/* Load the segments; returns the PVH entry. */
static uint32_t load(uint8_t *ram, const char *path)
{
	int fd = try(open(path, O_RDONLY | O_CLOEXEC), path);
	uint32_t entry = 0;
	Elf64_Ehdr eh;

	if (pread(fd, &eh, sizeof eh, 0) != (ssize_t)sizeof eh)
		die("read the ELF header");
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		Elf64_Phdr ph;

		if (pread(fd, &ph, sizeof ph, (off_t)(eh.e_phoff + i * sizeof ph)) !=
		    (ssize_t)sizeof ph)
			die("read a program header");
		if (ph.p_type == PT_LOAD && pread(fd, ram + ph.p_paddr, ph.p_filesz,
						  (off_t)ph.p_offset) != (ssize_t)ph.p_filesz)
			die("read a segment");
		if (ph.p_type == PT_NOTE && pread(fd, &entry, 4, (off_t)ph.p_offset + 16) != 4)
			die("read the note");
	}
	close(fd);
	uint32_t info[2] = { 0x336ec578, 1 }; /* hvm_start_info: magic, version */

	memcpy(ram + START_INFO, info, sizeof info);
	return entry;
}

static void set_cpuid(int kvm, int cpu)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof *c + CPUIDS * sizeof c->entries[0]);

	if (!c)
		die("calloc");
	c->nent = CPUIDS;
	try(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c), "KVM_GET_SUPPORTED_CPUID");
	try(ioctl(cpu, KVM_SET_CPUID2, c), "KVM_SET_CPUID2");
	free(c);
}

static void set_registers(int cpu, uint32_t entry)
{
	struct kvm_sregs s;
	struct kvm_segment code = { .limit = ~0u,
				    .selector = 8,
				    .type = 11,
				    .present = 1,
				    .s = 1,
				    .g = 1,
				    .db = 1 },
			   data = code;

	data.type = 3;
	data.selector = 16;
	try(ioctl(cpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cr0 = 0x11;
	s.cr4 = 0;
	try(ioctl(cpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	struct kvm_regs r = { .rip = entry, .rflags = 2, .rbx = START_INFO };

	try(ioctl(cpu, KVM_SET_REGS, &r), "KVM_SET_REGS");
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = { .head.nmsrs = 1,
		.entry = { .index = 0x1a0, .data = 1 } }; /* MISC_ENABLE: fast strings */

	try(ioctl(cpu, KVM_SET_MSRS, &m), "KVM_SET_MSRS");
}

/* Returns the exit status when the guest powers off. */
static int run(int cpu, struct kvm_run *r)
{
	for (;;) {
		if (ioctl(cpu, KVM_RUN, 0) < 0 && errno != EINTR && errno != EAGAIN)
			die("KVM_RUN");
		if (r->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "floor: exit %u\n", r->exit_reason);
			return 1;
		}
		uint8_t *data = (uint8_t *)r + r->io.data_offset;

		if (r->io.port == 0x3f8 && r->io.direction == KVM_EXIT_IO_OUT &&
		    write(1, data, r->io.count) < 0)
			die("write");
		if (r->io.port == 0x600 && r->io.direction == KVM_EXIT_IO_OUT)
			return 0;
	}
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fputs("use: floor guest.elf MiB\n", stderr);
		return 2;
	}
	int kvm = try(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	int vm = try(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };

	try(ioctl(vm, KVM_SET_TSS_ADDR, 0xf8000000ul), "KVM_SET_TSS_ADDR");
	try(ioctl(vm, KVM_ENABLE_CAP, &split), "KVM_ENABLE_CAP");
	uint8_t *ram = make_ram(vm, strtoul(argv[2], NULL, 10) << 20);
	uint32_t entry = load(ram, argv[1]);
	int cpu = try(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	int size = try(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	struct kvm_run *r = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);

	if (r == MAP_FAILED)
		die("mmap");
	set_cpuid(kvm, cpu);
	set_registers(cpu, entry);
	return run(cpu, r);
}
