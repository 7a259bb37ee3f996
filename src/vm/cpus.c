/* SPDX-License-Identifier: Apache-2.0 */
/* The hypervisor can not end a vCPU: one that has left stays, and comes again as the same. See cpus.h. */
#include "vm/cpus.h"

#include <inttypes.h>

#include "base/json.h"
#include "base/mem.h"
#include "dev/cpuhp.h"

/* --- made --- */

int cpus_judge_host(struct hv *h, const struct arch_cpus *a, const struct cpus_conf *c,
		    struct err *e)
{
	uint32_t want = c->max_vcpus, most = hv_max_vcpus(h);
	uint32_t last = arch_apic_id(a, want - 1), ids = hv_max_apic_ids(h);

	if (want > most)
		return err_set(e, ERR_BAD,
			       "--cpus %s=%" PRIu32 ": this host gives a VM at most %" PRIu32,
			       want == c->boot_vcpus ? "boot" : "max", want, most);
	if (last >= ids)
		return err_set(e, ERR_BAD,
			       "--cpus topology: the last vCPU's APIC id is %" PRIu32
			       ", and this host has ids below %" PRIu32
			       ": say powers of two, which leave no gaps",
			       last, ids);
	return 0;
}

int cpus_judge(const struct cpus_conf *c, size_t saved, struct err *e)
{
	if (saved >= c->boot_vcpus && saved <= c->max_vcpus)
		return 0;
	return err_set(e, ERR_BAD,
		       "%zu vCPUs were saved, and the configuration has %" PRIu32
		       " and at most %" PRIu32,
		       saved, c->boot_vcpus, c->max_vcpus);
}

/* Of a machine that goes on: all that there were, those that had left too. */
static int count_first(uint32_t *out, const struct cpus *s, struct err *e)
{
	const struct cpus_conf *c = &s->args.conf->cpus;
	const struct dev *hp = dev_find(s->args.board, CPUHP_ID);
	size_t n = s->args.from ? json_count(s->args.from->saved.vcpus) : c->boot_vcpus;

	*out = (uint32_t)n;
	if (cpus_judge(c, n, e) < 0)
		return -1;
	/* the guest may let go of what the controller shows */
	for (uint32_t i = *out; hp && i < c->max_vcpus; i++)
		if (cpuhp_is_there(hp, i))
			return err_set(e, ERR_BAD,
				       "vCPU %" PRIu32 " is there by the controller's state, and "
				       "nothing of it was saved",
				       i);
	return 0;
}

static int make_next(struct cpus *s, struct err *e)
{
	uint32_t i = s->count;

	if (vcpu_new(&s->vcpu[i], s->args.vm, &s->team, i, arch_apic_id(s->arch, i), e) < 0) {
		s->vcpu[i] = (struct vcpu){ 0 };
		return -1;
	}
	s->count++;
	return 0;
}

void cpus_init(struct cpus *s)
{
	*s = (struct cpus){ 0 };
	pthread_mutex_init(&s->leaving, NULL);
}

int cpus_make(struct cpus *s, const struct cpus_args *a, struct err *e)
{
	uint32_t want;

	s->args = *a;
	s->team = (struct vcpu_team){
		.pio = a->board->pio,
		.mmio = a->board->mmio,
		.irqs = a->board->irqs,
		.ended = a->ended,
		.stopped = a->stopped,
		.arg = a->arg,
	};
	coresched_init(&s->team.cores, a->conf->cpus.core_scheduling);
	if (arch_cpus_new(&s->arch, a->hv, a->conf, e) < 0 ||
	    cpus_judge_host(a->hv, s->arch, &a->conf->cpus, e) < 0 || count_first(&want, s, e) < 0)
		return -1;
	s->vcpu = mem_array(a->conf->cpus.max_vcpus, sizeof(s->vcpu[0]));
	while (s->count < want) {
		if (make_next(s, e) < 0)
			return -1;
	}
	return a->from ? arch_cpus_load(s->arch, a->from->saved.cpuid, e) : 0;
}

/* --- begun --- */

/* One whose start failed half-way. */
static void take_back(struct vcpu *c)
{
	if (!c->started)
		return;
	vcpu_leave(c);
	vcpu_gather(c);
}

/* One that had left has no thread. */
static int go_on(struct cpus *s, uint32_t i, struct err *e)
{
	const struct snapshot *from = s->args.from;
	const struct json *saved = json_at(from->saved.vcpus, i);
	struct vcpu *c = &s->vcpu[i];

	vcpu_hold(c);
	if (arch_vcpu_load(s->arch, c->hv, i, saved, from->passed_ns, e) < 0)
		return err_in(e, "vCPU %" PRIu32, i);
	return cpus_has(s, i) ? vcpu_start(c, &s->args.conf->cpus, e) : 0;
}

/* The thread stands until the registers are set, which takes about as long as its own start. */
static int start(struct cpus *s, uint32_t i, const struct arch_payload *boot, struct err *e)
{
	struct vcpu *c = &s->vcpu[i];
	int r;

	vcpu_hold(c);
	r = vcpu_start(c, &s->args.conf->cpus, e);
	if (r == 0 && arch_vcpu(s->arch, c->hv, i, boot, e) < 0)
		r = err_in(e, "vCPU %" PRIu32, i);
	if (r < 0)
		take_back(c);
	vcpu_release(c);
	return r;
}

static int begin(struct cpus *s, uint32_t from, uint32_t to, struct err *e)
{
	for (uint32_t i = from; i < to && !vcpus_halted(&s->team); i++) {
		if ((s->args.from ? go_on(s, i, e) : start(s, i, s->args.payload, e)) < 0)
			return -1;
	}
	return 0;
}

int cpus_start(struct cpus *s, struct err *e)
{
	return begin(s, 0, 1, e);
}

int cpus_start_others(struct cpus *s, struct err *e)
{
	if (begin(s, 1, s->count, e) < 0)
		return -1;
	s->args.from = NULL;
	return 0;
}

/* --- come and gone --- */

/* What the controller says; without one, all that were made. */
bool cpus_has(const struct cpus *s, uint32_t i)
{
	const struct dev *hp = dev_find(s->args.board, CPUHP_ID);

	return !hp || cpuhp_is_there(hp, i);
}

/* It is set up already, and waits for INIT. */
static int start_again(struct cpus *s, uint32_t i, struct err *e)
{
	struct vcpu *c = &s->vcpu[i];

	/* one that had left when the machine was saved has a thread again */
	take_back(c);
	if (hv_vcpu_reset(c->hv, e) < 0)
		return err_in(e, "vCPU %" PRIu32, i);
	if (vcpu_start(c, &s->args.conf->cpus, e) == 0)
		return 0;
	take_back(c);
	return -1;
}

static int start_new(struct cpus *s, struct err *e)
{
	return make_next(s, e) == 0 ? start(s, s->count - 1, NULL, e) : -1;
}

/* Those with the lowest numbers. What comes before a failure has come. */
static int bring(struct cpus *s, struct dev *hp, uint32_t n, struct err *e)
{
	for (uint32_t i = 0; n; i++) {
		if (i < s->count && cpuhp_is_there(hp, i))
			continue;
		if ((i < s->count ? start_again(s, i, e) : start_new(s, e)) < 0)
			return -1;
		cpuhp_come(hp, i);
		n--;
	}
	return 0;
}

/* Those with the highest. */
static void ask(const struct cpus *s, struct dev *hp, uint32_t n)
{
	for (uint32_t i = s->count; n; i--) {
		if (!cpuhp_is_there(hp, i - 1))
			continue;
		cpuhp_ask(hp, i - 1);
		n--;
	}
}

static uint32_t count_there(const struct cpus *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->count; i++)
		n += cpus_has(s, i);
	return n;
}

int cpus_judge_set(const struct cpus *s, uint32_t n, struct err *e)
{
	struct dev *hp = dev_find(s->args.board, CPUHP_ID);
	uint32_t max = s->args.conf->cpus.max_vcpus;

	if (!n || n > max)
		return err_set(e, ERR_BAD,
			       "%" PRIu32 " vCPUs: there can be 1 to %" PRIu32 " (--cpus max)", n,
			       max);
	if (!hp)
		return err_set(e, ERR_STATE, "a machine of more than %d vCPUs keeps them",
			       CPUHP_CPUS_MAX);
	if (cpuhp_is_pending(hp)) {
		cpuhp_tell(hp);
		return err_set(e, ERR_BUSY,
			       "the guest has not yet let go of all vCPUs that it was asked for: "
			       "try again later");
	}
	return 0;
}

int cpus_set(struct cpus *s, uint32_t n, struct err *e)
{
	struct dev *hp = dev_find(s->args.board, CPUHP_ID);
	uint32_t now = count_there(s);
	int r = 0;

	if (cpus_judge_set(s, n, e) < 0)
		return -1;
	if (n > now)
		r = bring(s, hp, n - now, e);
	else
		ask(s, hp, now - n);
	if (n != now)
		cpuhp_tell(hp);
	return r;
}

void cpus_left(struct cpus *s, uint32_t i)
{
	pthread_mutex_lock(&s->leaving);
	if (!vcpus_halted(&s->team))
		vcpu_leave(&s->vcpu[i]);
	pthread_mutex_unlock(&s->leaving);
}

/* --- all of them --- */

int cpus_nmi(struct cpus *s, struct err *e)
{
	for (uint32_t i = 0; i < s->count; i++) {
		if (cpus_has(s, i) && hv_nmi(s->args.vm, arch_apic_id(s->arch, i), e) < 0)
			return err_in(e, "vCPU %" PRIu32, i);
	}
	return 0;
}

int cpus_hold(struct cpus *s, uint64_t until_ns, struct err *e)
{
	for (uint32_t i = 0; i < s->count; i++)
		vcpu_hold(&s->vcpu[i]);
	for (uint32_t i = 0; i < s->count; i++) {
		if (vcpu_wait(&s->vcpu[i], until_ns, e) < 0) {
			cpus_release(s);
			return -1;
		}
	}
	return 0;
}

void cpus_release(struct cpus *s)
{
	for (uint32_t i = 0; i < s->count; i++)
		vcpu_release(&s->vcpu[i]);
}

void cpus_free(struct cpus *s)
{
	pthread_mutex_lock(&s->leaving);
	vcpus_halt(&s->team);
	pthread_mutex_unlock(&s->leaving);
	for (uint32_t i = 0; i < s->count; i++)
		vcpu_kick(&s->vcpu[i]);
	for (uint32_t i = 0; i < s->count; i++)
		vcpu_free(&s->vcpu[i]);
	free(s->vcpu);
	coresched_fini(&s->team.cores);
	arch_cpus_free(s->arch);
	pthread_mutex_destroy(&s->leaving);
}
