/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timer of a local APIC that counts down once. Its registers look alike from the moment it has
 * run out: whether its interrupt has come, or is still on its way inside KVM, they do not say, and
 * KVM lets one that is put back with a count of nothing run out again. So a vCPU that comes to a
 * stand with such a timer has KVM look once more (kvm_vcpu_settle), after which an interrupt is in
 * the registers or was taken before; the timer is then saved as one that was stopped
 * (kvm_timer_close). Where that is not certain, the timer stays as it is: twice is better than
 * never. The vCPU's own thread, and who has it parked. Intel SDM volume 3 §11.5.4; Linux
 * Documentation/virt/kvm/api.rst §4.10 (KVM_RUN), §4.20 (KVM_SET_SIGNAL_MASK), §4.38 (KVM_GET_MP_STATE).
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/thread.h"
#include "hv/kvm/kvm.h"

#define IRR 0x200u
#define LVT_TIMER 0x320u
#define INITIAL_COUNT 0x380u
#define CURRENT_COUNT 0x390u
#define LVT_MASKED (1u << 16)
#define LVT_MODE (3u << 17) /* 0: counts down once */
#define TRIES 3

static uint32_t reg_of(const struct kvm_lapic_state *s, uint32_t reg)
{
	uint32_t v;

	memcpy(&v, s->regs + reg, sizeof(v));
	return v;
}

/* It counted down once, and is at its end. */
static bool ran_out(const struct kvm_lapic_state *s)
{
	return !(reg_of(s, LVT_TIMER) & (LVT_MODE | LVT_MASKED)) && reg_of(s, INITIAL_COUNT) &&
	       !reg_of(s, CURRENT_COUNT);
}

/* One that comes while it is, is the same interrupt. */
static bool is_requested(const struct kvm_lapic_state *s)
{
	uint32_t vector = reg_of(s, LVT_TIMER) & 0xff;

	return reg_of(s, IRR + vector / 32 * 16) >> vector % 32 & 1;
}

void kvm_timer_close(const struct kvm_vcpu *v, struct kvm_lapic_state *s)
{
	if (ran_out(s) && (v->timer_told || is_requested(s)))
		memset(s->regs + INITIAL_COUNT, 0, sizeof(uint32_t));
}

/* --- having KVM look --- */

enum look {
	LOOKED,
	LOOK_AGAIN, /* somebody wants the vCPU to stand, which it will */
	LOOK_EXIT,  /* what was asked of KVM before comes first */
};

/* KVM_RUN with a signal that is there already: KVM does all that comes before the guest's next
 * instruction, and comes back. */
static enum look look(struct kvm_vcpu *v, struct hv_exit *x)
{
	AUTO_FREE struct kvm_signal_mask *mask = mem_new(sizeof(*mask) + sizeof(uint64_t));
	uint64_t others = ~(1ull << (thread_kick_signal() - 1));
	sigset_t kick, old;
	bool wanted;

	sigemptyset(&kick);
	sigaddset(&kick, thread_kick_signal());
	mask->len = sizeof(others);
	memcpy(mask->sigset, &others, sizeof(others));
	pthread_sigmask(SIG_BLOCK, &kick, &old);
	pthread_kill(pthread_self(), thread_kick_signal());
	if (ioctl(v->fd, KVM_SET_SIGNAL_MASK, mask) < 0) {
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		return LOOK_AGAIN;
	}
	__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	v->vcpu.ops->run(&v->vcpu, x);
	wanted = __atomic_exchange_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	(void)ioctl(v->fd, KVM_SET_SIGNAL_MASK, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (x->kind != HV_EXIT_INTR)
		return LOOK_EXIT;
	return wanted ? LOOK_AGAIN : LOOKED;
}

static bool is_in(const struct kvm_vcpu *v, uint32_t state)
{
	struct kvm_mp_state k;

	return ioctl(v->fd, KVM_GET_MP_STATE, &k) == 0 && k.mp_state == state;
}

static bool put_in(const struct kvm_vcpu *v, uint32_t state)
{
	struct kvm_mp_state k = { .mp_state = state };

	return ioctl(v->fd, KVM_SET_MP_STATE, &k) == 0;
}

/* In a vCPU that sleeps: there a timer that the processor itself counts for KVM, which nobody looks
 * at before the guest is entered, becomes one of the kernel's. LOOKED only when it slept on. */
static enum look look_asleep(struct kvm_vcpu *v, struct hv_exit *x)
{
	enum look how = look(v, x);

	return how == LOOKED && !is_in(v, KVM_MP_STATE_HALTED) ? LOOK_AGAIN : how;
}

/* First awake: there a timer of the kernel's moves to this processor, where it is not late. */
static enum look look_awake(struct kvm_vcpu *v, struct hv_exit *x)
{
	enum look how = look(v, x);

	if (how != LOOKED || !put_in(v, KVM_MP_STATE_HALTED))
		return how;
	how = look_asleep(v, x);
	return put_in(v, KVM_MP_STATE_RUNNABLE) ? how : LOOK_AGAIN;
}

void kvm_vcpu_settle(struct hv_vcpu *c, struct hv_exit *x)
{
	struct kvm_vcpu *v = kvm_vcpu_of(c);
	enum look how = LOOK_AGAIN;
	struct kvm_lapic_state s;

	x->kind = HV_EXIT_INTR;
	if (ioctl(v->fd, KVM_GET_LAPIC, &s) < 0 || !ran_out(&s) || is_requested(&s))
		return;
	for (int i = 0; i < TRIES && how == LOOK_AGAIN; i++) {
		if (is_in(v, KVM_MP_STATE_RUNNABLE))
			how = look_awake(v, x);
		else if (is_in(v, KVM_MP_STATE_HALTED))
			how = look_asleep(v, x);
	}
	v->timer_told = how == LOOKED;
}
