/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door to the hypervisor: picks a back end and hands each call to its tables. No knowledge of
 * any hypervisor is here. Threads as hv.h says.
 */
#include "hv/hv.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/mem.h"
#include "hv/kvm/kvm.h"
#include "hv/ops.h"

/* In the order in which they are tried. */
static const struct hv_ops *const backends[] = { &kvm_ops };

int hv_open(struct hv **out, struct err *e)
{
	/* the first sentence is about the back end most people mean */
	for (size_t i = 0; i < ARRAY_LEN(backends); i++) {
		struct err other = { 0 };

		if (!backends[i]->open(out, i ? &other : e))
			return 0;
	}
	return -1;
}

void hv_close(struct hv *h)
{
	if (h)
		h->ops->close(h);
}

uint32_t hv_max_vcpus(const struct hv *h)
{
	return h->ops->max_vcpus(h);
}

uint32_t hv_max_apic_ids(const struct hv *h)
{
	return h->ops->max_apic_ids(h);
}

uint8_t hv_phys_bits(const struct hv *h)
{
	return h->ops->phys_bits(h);
}

int hv_supported_cpuid(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e)
{
	return h->ops->supported_cpuid(h, out, count, e);
}

int hv_hyperv_cpuid(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e)
{
	return h->ops->hyperv_cpuid(h, out, count, e);
}

int hv_allow_amx(struct hv *h, struct err *e)
{
	return h->ops->allow_amx(h, e);
}

bool hv_has_msr(const struct hv *h, uint32_t index)
{
	return h->ops->has_msr(h, index);
}

int hv_vm_new(struct hv_vm **out, struct hv *h, const struct hv_vm_args *a, struct err *e)
{
	if (h->ops->vm_new(out, h, a, e) < 0)
		return -1;
	pthread_mutex_init(&(*out)->slotting, NULL);
	return 0;
}

static void rehearsal_free(struct hv_vm *vm)
{
	free(vm);
}
static int rehearsal_slot(struct hv_vm *vm, uint32_t slot, uint64_t gpa, uint64_t size,
			  uintptr_t host, bool readonly, struct err *e)
{
	(void)vm, (void)slot, (void)gpa, (void)size, (void)host, (void)readonly, (void)e;
	return 0;
}
static int rehearsal_ioevent(struct hv_vm *vm, int fd, uint64_t addr, bool is_port, uint32_t size,
			     bool on, struct err *e)
{
	(void)vm, (void)fd, (void)addr, (void)is_port, (void)size, (void)on, (void)e;
	return 0;
}
static int rehearsal_irqfd(struct hv_vm *vm, int fd, uint32_t gsi, bool on, struct err *e)
{
	(void)vm, (void)fd, (void)gsi, (void)on, (void)e;
	return 0;
}
static int rehearsal_routes(struct hv_vm *vm, const struct hv_irq_route *routes, uint32_t count,
			    struct err *e)
{
	(void)vm, (void)routes, (void)count, (void)e;
	return 0;
}
static int rehearsal_msi(struct hv_vm *vm, uint64_t addr, uint32_t data)
{
	(void)vm, (void)addr, (void)data;
	return 0;
}

static const struct hv_vm_ops rehearsal_ops = {
	.free = rehearsal_free,
	.slot = rehearsal_slot,
	.ioevent = rehearsal_ioevent,
	.irqfd = rehearsal_irqfd,
	.set_routes = rehearsal_routes,
	.msi = rehearsal_msi,
};

struct hv_vm *hv_vm_rehearsal(void)
{
	struct hv_vm *vm = NEW(struct hv_vm);

	vm->ops = &rehearsal_ops;
	pthread_mutex_init(&vm->slotting, NULL);
	return vm;
}

void hv_vm_free(struct hv_vm *vm)
{
	if (!vm)
		return;
	pthread_mutex_destroy(&vm->slotting);
	vm->ops->free(vm);
}

/* Under the lock. */
static int slot_add(struct hv_vm *vm, uint32_t *slot, uint64_t gpa, uint64_t size, uintptr_t host,
		    bool readonly, struct err *e)
{
	uint32_t i = 0;

	while (i < ARRAY_LEN(vm->slots) && vm->slots[i] == UINT64_MAX)
		i++;
	if (i == ARRAY_LEN(vm->slots))
		return err_set(e, ERR_BAD, "%d pieces of guest memory are as many as there can be",
			       HV_SLOTS_MAX);
	*slot = 64 * i + (uint32_t)__builtin_ctzll(~vm->slots[i]);
	if (vm->ops->slot(vm, *slot, gpa, size, host, readonly, e) < 0)
		return -1;
	vm->slots[i] |= 1ull << *slot % 64;
	return 0;
}

int hv_slot_add(struct hv_vm *vm, uint32_t *slot, uint64_t gpa, uint64_t size, uintptr_t host,
		bool readonly, struct err *e)
{
	int r;

	pthread_mutex_lock(&vm->slotting);
	r = slot_add(vm, slot, gpa, size, host, readonly, e);
	pthread_mutex_unlock(&vm->slotting);
	return r;
}

int hv_slot_drop(struct hv_vm *vm, uint32_t slot, struct err *e)
{
	int r;

	pthread_mutex_lock(&vm->slotting);
	r = vm->ops->slot(vm, slot, 0, 0, 0, false, e);
	if (r == 0)
		vm->slots[slot / 64] &= ~(1ull << slot % 64);
	pthread_mutex_unlock(&vm->slotting);
	return r;
}

int hv_ioevent(struct hv_vm *vm, int fd, uint64_t addr, bool is_port, uint32_t size, bool on,
	       struct err *e)
{
	return vm->ops->ioevent(vm, fd, addr, is_port, size, on, e);
}

int hv_irqfd(struct hv_vm *vm, int fd, uint32_t gsi, bool on, struct err *e)
{
	return vm->ops->irqfd(vm, fd, gsi, on, e);
}

int hv_set_routes(struct hv_vm *vm, const struct hv_irq_route *routes, uint32_t count,
		  struct err *e)
{
	return vm->ops->set_routes(vm, routes, count, e);
}

int hv_msi(struct hv_vm *vm, uint64_t addr, uint32_t data)
{
	return vm->ops->msi(vm, addr, data);
}

int hv_clock(struct hv_vm *vm, uint64_t *ns, struct err *e)
{
	return vm->ops->clock(vm, ns, e);
}

int hv_set_clock(struct hv_vm *vm, uint64_t ns, struct err *e)
{
	return vm->ops->set_clock(vm, ns, e);
}

int hv_nmi(struct hv_vm *vm, uint32_t apic_id, struct err *e)
{
	return vm->ops->nmi(vm, apic_id, e);
}

int hv_vcpu_new(struct hv_vcpu **out, struct hv_vm *vm, uint32_t apic_id, struct err *e)
{
	return vm->ops->vcpu_new(out, vm, apic_id, e);
}

void hv_vcpu_free(struct hv_vcpu *c)
{
	if (c)
		c->ops->free(c);
}

int hv_vcpu_cpuid(struct hv_vcpu *c, const struct hv_cpuid *table, uint32_t count, struct err *e)
{
	return c->ops->cpuid(c, table, count, e);
}

int hv_vcpu_start(struct hv_vcpu *c, const struct hv_x86_start *s, struct err *e)
{
	return c->ops->start(c, s, e);
}

int hv_vcpu_msrs(struct hv_vcpu *c, const struct hv_msr *msrs, uint32_t count, struct err *e)
{
	return c->ops->msrs(c, msrs, count, e);
}

int hv_vcpu_get_msrs(struct hv_vcpu *c, struct hv_msr *msrs, uint32_t count, struct err *e)
{
	return c->ops->get_msrs(c, msrs, count, e);
}

int hv_vcpu_get_regs(struct hv_vcpu *c, struct hv_x86_regs *r, struct err *e)
{
	return c->ops->get_regs(c, r, e);
}

int hv_vcpu_set_regs(struct hv_vcpu *c, const struct hv_x86_regs *r, struct err *e)
{
	return c->ops->set_regs(c, r, e);
}

int hv_vcpu_get_fpu(struct hv_vcpu *c, struct hv_x86_fpu *f, struct err *e)
{
	return c->ops->get_fpu(c, f, e);
}

int hv_vcpu_set_fpu(struct hv_vcpu *c, const struct hv_x86_fpu *f, struct err *e)
{
	return c->ops->set_fpu(c, f, e);
}

int hv_vcpu_save(struct hv_vcpu *c, struct hv_x86_saved *s, struct err *e)
{
	return c->ops->save(c, s, e);
}

int hv_vcpu_load(struct hv_vcpu *c, const struct hv_x86_saved *s, struct err *e)
{
	return c->ops->load(c, s, e);
}

int hv_vcpu_debug(struct hv_vcpu *c, const struct hv_debug *d, struct err *e)
{
	return c->ops->debug(c, d, e);
}

int hv_vcpu_debug_pass(struct hv_vcpu *c, enum hv_debug_cause cause, struct err *e)
{
	return c->ops->debug_pass(c, cause, e);
}

int hv_vcpu_lint(struct hv_vcpu *c, struct err *e)
{
	return c->ops->lint(c, e);
}

int hv_vcpu_x2apic(struct hv_vcpu *c, struct err *e)
{
	return c->ops->x2apic(c, e);
}

int hv_vcpu_synic(struct hv_vcpu *c, struct err *e)
{
	return c->ops->synic(c, e);
}

int hv_vcpu_reset(struct hv_vcpu *c, struct err *e)
{
	return c->ops->reset(c, e);
}

uint32_t hv_vcpu_tsc_khz(struct hv_vcpu *c)
{
	return c->ops->tsc_khz(c);
}

int hv_vcpu_set_tsc_khz(struct hv_vcpu *c, uint32_t khz, struct err *e)
{
	return c->ops->set_tsc_khz(c, khz, e);
}

int hv_vcpu_counter(struct hv_vcpu *c, uint64_t *ticks, struct err *e)
{
	return c->ops->counter(c, ticks, e);
}

int hv_vcpu_counter_back(struct hv_vcpu *c, uint64_t ticks, struct err *e)
{
	return c->ops->counter_back(c, ticks, e);
}

int hv_vcpu_counter_like(struct hv_vcpu *c, struct hv_vcpu *other, uint64_t ahead, struct err *e)
{
	return c->ops->counter_like(c, other, ahead, e);
}

void hv_vcpu_paused(struct hv_vcpu *c)
{
	c->ops->paused(c);
}

void hv_vcpu_run(struct hv_vcpu *c, struct hv_exit *x)
{
	c->ops->run(c, x);
}

void hv_vcpu_settle(struct hv_vcpu *c, struct hv_exit *x)
{
	c->ops->settle(c, x);
}

void hv_vcpu_interrupt(struct hv_vcpu *c)
{
	c->ops->interrupt(c, true);
}

void hv_vcpu_clear_interrupt(struct hv_vcpu *c)
{
	c->ops->interrupt(c, false);
}
