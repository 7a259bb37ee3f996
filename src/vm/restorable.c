/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is looked at: processors here, streams and the machine by a rehearsal of how they are made, so
 * that sentences are those of who would meet it later. See restorable.h.
 */
#include "vm/restorable.h"

#include "arch/arch.h"
#include "base/json.h"
#include "base/thread.h"
#include "dev/vmgenid.h"
#include "hv/hv.h"
#include "vm/chars.h"
#include "vm/confine.h"
#include "vm/cpus.h"
#include "vm/machine.h"

static void judge_vcpus(struct reasons *r, const struct cpus_conf *c, const struct saved *s)
{
	size_t n = json_count(s->vcpus);
	struct err e = { 0 };

	if (cpus_judge(c, n, &e) < 0)
		reasons_add(r, &e);
	/* those that are too many are not looked at, however many there are */
	for (size_t i = 0; i < n && i < c->max_vcpus; i++) {
		if (arch_vcpu_judge(json_at(s->vcpus, i), &e) == 0)
			continue;
		err_in(&e, "vCPU %zu", i);
		reasons_add(r, &e);
	}
	for (uint32_t i = 0; i < c->affinity.count; i++) {
		const struct cpu_affinity_conf *a = &c->affinity.items[i];

		if (thread_may_pin(a->host_cpus.items, a->host_cpus.count, &e) == 0)
			continue;
		err_in(&e, "--cpus affinity");
		reasons_add(r, &e);
	}
}

static int judge_processor(struct hv *h, const struct vm_conf *c, const struct saved *s,
			   struct err *e)
{
	struct arch_cpus *cpus;
	int result;

	if (arch_cpus_new(&cpus, h, c, e) < 0)
		return -1;
	result = cpus_judge_host(h, cpus, &c->cpus, e);
	if (result == 0)
		result = arch_cpus_load(cpus, s->cpuid, e);
	arch_cpus_free(cpus);
	return result;
}

/* The machine, with all its devices. */
static void rehearse(struct reasons *r, struct snapshot *s)
{
	static const uint8_t generation[VMGENID_BYTES];
	struct chardev none[CHARS];
	struct chars chars;
	const struct machine_args a = {
		.hv = s->hv,
		.conf = &s->conf,
		.chars = &chars,
		.generation = generation,
		.from = s,
	};

	chars_rehearse(&chars, none, &s->conf, r);
	machine_rehearse(r, &a);
}

void restorable_judge(struct reasons *r, struct snapshot *s)
{
	struct err e = { 0 };

	judge_vcpus(r, &s->conf.cpus, &s->saved);
	if (hv_open(&s->hv, &e) < 0) {
		reasons_add(r, &e);
		return;
	}
	if (judge_processor(s->hv, &s->conf, &s->saved, &e) < 0)
		reasons_add(r, &e);
	if (vm_confine_judge(&s->conf, &e) < 0)
		reasons_add(r, &e);
	rehearse(r, s);
}
