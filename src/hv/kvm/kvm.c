/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM: the system and the VM. Memory slots, the split interrupt controller, eventfds for
 * interrupts and doorbells, the table of routes. A vCPU is in kvm/x86.c, what processors can do in
 * kvm/cpuid.c. Every call here is one or
 * two ioctls; what nobody needs at start (lists of MSRs, capabilities) is asked for only when it
 * is needed, because exec to the guest's first instruction is counted in system calls.
 *
 * Building is for the control thread; irqfd, ioeventfd, routes and MSIs for any. Specification:
 * Linux Documentation/virt/kvm/api.rst.
 */
#include "hv/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

/* Messages: destination bits 14 to 8 as the guest writes them, and bit 4, which says that the
 * address means something else. */
#define MSI_EXT_DEST 0xfe0u
#define MSI_REMAPPED 0x10u
#define MSI_BASE 0xfee00000u
#define MSI_DEST_SHIFT 12
#define MSI_MODE_NMI 0x400u

static struct kvm *kvm_of(const struct hv *h)
{
	return container_of(h, struct kvm, hv);
}

static struct kvm_vm *vm_of(struct hv_vm *vm)
{
	return container_of(vm, struct kvm_vm, vm);
}

static int no_device(struct err *e)
{
	switch (errno) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return err_os(
			e, ERR_ABSENT,
			"/dev/kvm is not there; load the module (modprobe kvm_intel or "
			"modprobe kvm_amd) and switch virtualization on in the host's firmware");
	case EACCES:
	case EPERM:
		return err_os(
			e, ERR_DENIED,
			"no right to use /dev/kvm; add this user to its group (usermod -aG kvm "
			"NAME) and log in again");
	default:
		return err_os(e, ERR_IO, "open /dev/kvm");
	}
}

static void kvm_close(struct hv *h)
{
	struct kvm *k = kvm_of(h);

	fd_close(&k->fd);
	free(k->cpuid);
	free(k->msrs);
	free(k);
}

static int kvm_open(struct hv **out, struct err *e)
{
	AUTO_FD int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return no_device(e);
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);

	if (version < 0)
		return err_os(e, ERR_IO, "/dev/kvm is not KVM");
	if (version != KVM_API_VERSION)
		return err_set(e, ERR_UNBUILT, "KVM speaks interface %d, this program %d", version,
			       KVM_API_VERSION);
	struct kvm *k = NEW(struct kvm);

	k->hv.ops = &kvm_ops;
	k->fd = fd_take(&fd);
	if (kvm_fetch_cpuid(k, e)) {
		kvm_close(&k->hv);
		return -1;
	}
	*out = &k->hv;
	return 0;
}

static uint32_t kvm_max_vcpus(const struct hv *h)
{
	int n = ioctl(kvm_of(h)->fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

	/* api.rst: a kernel without the capability takes four */
	return n > 0 ? (uint32_t)n : 4;
}

static uint32_t kvm_max_apic_ids(const struct hv *h)
{
	int n = ioctl(kvm_of(h)->fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPU_ID);

	/* api.rst: a kernel without the capability has as many ids as vCPUs */
	return n > 0 ? (uint32_t)n : kvm_max_vcpus(h);
}

static void fetch_msrs(struct kvm *k)
{
	struct kvm_msr_list probe = { 0 };

	/* with no room it fails with E2BIG and says how many there are */
	(void)ioctl(k->fd, KVM_GET_MSR_INDEX_LIST, &probe);
	k->msrs = mem_new(sizeof *k->msrs + probe.nmsrs * sizeof k->msrs->indices[0]);
	k->msrs->nmsrs = probe.nmsrs;
	if (ioctl(k->fd, KVM_GET_MSR_INDEX_LIST, k->msrs) < 0)
		k->msrs->nmsrs = 0;
}

const struct kvm_msr_list *kvm_msrs(struct kvm *k)
{
	if (!k->msrs)
		fetch_msrs(k);
	return k->msrs;
}

static bool kvm_has_msr(const struct hv *h, uint32_t index)
{
	const struct kvm_msr_list *l = kvm_msrs(kvm_of(h));

	for (uint32_t i = 0; i < l->nmsrs; i++)
		if (l->indices[i] == index)
			return true;
	return false;
}

static void vm_free(struct hv_vm *vm)
{
	struct kvm_vm *v = vm_of(vm);

	fd_close(&v->fd);
	free(v);
}

static int vm_slot(struct hv_vm *vm, uint32_t slot, uint64_t gpa, uint64_t size, uintptr_t host,
		   bool readonly, struct err *e)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.flags = readonly ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = host,
	};

	if (ioctl(vm_of(vm)->fd, KVM_SET_USER_MEMORY_REGION, &r) < 0)
		return err_os(e, ERR_IO, "memory slot %u of KVM (%#llx bytes at %#llx)", slot,
			      (unsigned long long)size, (unsigned long long)gpa);
	return 0;
}

static int vm_ioevent(struct hv_vm *vm, int fd, uint64_t addr, bool is_port, uint32_t size, bool on,
		      struct err *e)
{
	struct kvm_ioeventfd a = {
		.addr = addr,
		.len = size,
		.fd = fd,
		.flags = (is_port ? KVM_IOEVENTFD_FLAG_PIO : 0u) |
			 (on ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	if (ioctl(vm_of(vm)->fd, KVM_IOEVENTFD, &a) < 0)
		return err_os(e, ERR_IO, "ioeventfd at %s %#llx", is_port ? "port" : "address",
			      (unsigned long long)addr);
	return 0;
}

static int vm_irqfd(struct hv_vm *vm, int fd, uint32_t gsi, bool on, struct err *e)
{
	struct kvm_irqfd a = {
		.fd = (uint32_t)fd,
		.gsi = gsi,
		.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	if (ioctl(vm_of(vm)->fd, KVM_IRQFD, &a) < 0)
		return err_os(e, ERR_IO, "irqfd of GSI %u", gsi);
	return 0;
}

/* KVM takes the upper bits of a long destination in the upper half of the address, the guest has
 * them in bits 11 to 5. */
static uint64_t kvm_address(const struct kvm_vm *v, uint64_t addr)
{
	if (!v->long_ids || addr >> 32 || addr & MSI_REMAPPED)
		return addr;
	return (addr & ~(uint64_t)MSI_EXT_DEST) | (addr & MSI_EXT_DEST) << 35;
}

/* With a split controller every route is a message. The pins' routes tell KVM which vectors are
 * level-triggered, and so which ends of interrupt have to come back as exits. */
static int vm_set_routes(struct hv_vm *vm, const struct hv_irq_route *routes, uint32_t count,
			 struct err *e)
{
	AUTO_FREE struct kvm_irq_routing *t =
		mem_new(sizeof *t + count * sizeof(struct kvm_irq_routing_entry));

	for (uint32_t i = 0; i < count; i++) {
		if (routes[i].masked)
			continue;
		uint64_t addr = kvm_address(vm_of(vm), routes[i].addr);

		t->entries[t->nr++] = (struct kvm_irq_routing_entry){
			.gsi = routes[i].gsi,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi.address_lo = (uint32_t)addr,
			.u.msi.address_hi = (uint32_t)(addr >> 32),
			.u.msi.data = routes[i].data,
		};
	}
	if (ioctl(vm_of(vm)->fd, KVM_SET_GSI_ROUTING, t) < 0)
		return err_os(e, ERR_IO, "set %u interrupt routes", t->nr);
	return 0;
}

static int signal_msi(const struct kvm_vm *v, uint64_t addr, uint32_t data)
{
	struct kvm_msi m = {
		.address_lo = (uint32_t)addr,
		.address_hi = (uint32_t)(addr >> 32),
		.data = data,
	};

	return ioctl(v->fd, KVM_SIGNAL_MSI, &m);
}

static int vm_msi(struct hv_vm *vm, uint64_t addr, uint32_t data)
{
	return signal_msi(vm_of(vm), kvm_address(vm_of(vm), addr), data) < 0 ? -1 : 0;
}

/* As a message, because the call made for it waits until the vCPU leaves the guest. */
static int vm_nmi(struct hv_vm *vm, uint32_t apic_id, struct err *e)
{
	uint64_t addr =
		MSI_BASE | (apic_id & 0xff) << MSI_DEST_SHIFT | (uint64_t)(apic_id & ~0xffu) << 32;

	if (signal_msi(vm_of(vm), addr, MSI_MODE_NMI) < 0)
		return err_os(e, ERR_IO, "NMI for APIC id %u", apic_id);
	return 0;
}

static int vm_clock(struct hv_vm *vm, uint64_t *ns, struct err *e)
{
	struct kvm_clock_data c = { 0 };

	if (ioctl(vm_of(vm)->fd, KVM_GET_CLOCK, &c) < 0)
		return err_os(e, ERR_IO, "read KVM's clock");
	*ns = c.clock;
	return 0;
}

static int vm_set_clock(struct hv_vm *vm, uint64_t ns, struct err *e)
{
	struct kvm_clock_data c = { .clock = ns };

	if (ioctl(vm_of(vm)->fd, KVM_SET_CLOCK, &c) < 0)
		return err_os(e, ERR_IO, "set KVM's clock");
	return 0;
}

static const struct hv_vm_ops vm_ops = {
	.free = vm_free,
	.slot = vm_slot,
	.ioevent = vm_ioevent,
	.irqfd = vm_irqfd,
	.set_routes = vm_set_routes,
	.msi = vm_msi,
	.nmi = vm_nmi,
	.clock = vm_clock,
	.set_clock = vm_set_clock,
	.vcpu_new = kvm_vcpu_new,
};

static int create_vm(int kvm_fd)
{
	int fd;

	/* a signal that comes meanwhile ends the call, which may then be made again */
	do
		fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	while (fd < 0 && errno == EINTR);
	return fd;
}

/* Local APICs in KVM, the IOAPIC's pins outside; ids of 32 bits where 8 do not reach. */
static int split_irqchip(int fd, const struct hv_vm_args *a, struct err *e)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { a->ioapic_pins } };

	if (ioctl(fd, KVM_ENABLE_CAP, &split) < 0)
		return err_os(e, ERR_UNBUILT, "split interrupt controller of KVM");
	if (a->max_apic_id <= HV_XAPIC_MAX)
		return 0;
	struct kvm_enable_cap x2apic = {
		.cap = KVM_CAP_X2APIC_API,
		.args = { KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK },
	};

	if (ioctl(fd, KVM_ENABLE_CAP, &x2apic) < 0)
		return err_os(e, ERR_UNBUILT, "32-bit APIC ids of KVM, for id %u", a->max_apic_id);
	return 0;
}

static int kvm_vm_new(struct hv_vm **out, struct hv *h, const struct hv_vm_args *a, struct err *e)
{
	struct kvm *k = kvm_of(h);
	AUTO_FD int fd = create_vm(k->fd);

	if (fd < 0)
		return err_os(e, ERR_IO, "make a VM in KVM");
	int run_size = ioctl(k->fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (run_size < 0)
		return err_os(e, ERR_IO, "size of a vCPU's shared area");
	/* Intel processors without "unrestricted guest" run real mode with these pages; others
	 * ignore them */
	uint64_t identity = a->identity_map_addr;

	if (ioctl(fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return err_os(e, ERR_IO, "identity map at %#llx", (unsigned long long)identity);
	if (ioctl(fd, KVM_SET_TSS_ADDR, (unsigned long)a->tss_addr) < 0)
		return err_os(e, ERR_IO, "TSS at %#llx", (unsigned long long)a->tss_addr);
	if (split_irqchip(fd, a, e))
		return -1;
	struct kvm_vm *v = NEW(struct kvm_vm);

	v->vm.ops = &vm_ops;
	v->fd = fd_take(&fd);
	v->run_size = (size_t)run_size;
	v->kvm = k;
	v->long_ids = a->max_apic_id > HV_XAPIC_MAX;
	*out = &v->vm;
	return 0;
}

const struct hv_ops kvm_ops = {
	.name = "kvm",
	.open = kvm_open,
	.close = kvm_close,
	.max_vcpus = kvm_max_vcpus,
	.max_apic_ids = kvm_max_apic_ids,
	.phys_bits = kvm_phys_bits,
	.supported_cpuid = kvm_supported_cpuid,
	.hyperv_cpuid = kvm_hyperv_cpuid,
	.allow_amx = kvm_allow_amx,
	.has_msr = kvm_has_msr,
	.vm_new = kvm_vm_new,
};
