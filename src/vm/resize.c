/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked for is judged, then done by the machine, then noted in the config. See resize.h.
 */
#include "vm/resize.h"

#include <inttypes.h>

#include "vm/machine.h"

static int judge_vcpus(const struct vm_conf *c, const struct resize_conf *r, struct err *e)
{
	if (!conf_said(resize, r, desired_vcpus) ||
	    (r->desired_vcpus && r->desired_vcpus <= c->cpus.max_vcpus))
		return 0;
	return err_set(e, ERR_BAD,
		       "%" PRIu32 " vCPUs: there can be 1 to %" PRIu32 ", as --cpus max says",
		       r->desired_vcpus, c->cpus.max_vcpus);
}

static int judge_memory(const struct resize_conf *r, struct err *e)
{
	if (conf_said(resize, r, desired_ram) || conf_said(resize, r, desired_balloon))
		return err_set(e, ERR_UNBUILT, "this build can not resize memory");
	return 0;
}

int resize_vm(struct vm_conf *c, struct machine *m, const struct resize_conf *r, struct err *e)
{
	if (judge_vcpus(c, r, e) < 0 || judge_memory(r, e) < 0)
		return -1;
	if (!conf_said(resize, r, desired_vcpus))
		return 0;
	if (m && machine_set_vcpus(m, r->desired_vcpus, e) < 0)
		return -1;
	c->cpus.boot_vcpus = r->desired_vcpus;
	return 0;
}
