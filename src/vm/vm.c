/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of the VM. What a guest asks for (reset, power-off) comes from a vCPU thread, halts the
 * machine at once and is carried out here, in the control loop. See vm.h.
 */
#include "vm/vm.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/event.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "hv/hv.h"
#include "vm/chars.h"
#include "vm/confine.h"
#include "vm/machine.h"

/* What is to be done once the machine stands still; the first one said counts. */
enum after { AFTER_NOTHING, AFTER_RESET, AFTER_SHUTDOWN, AFTER_FAIL };

struct vm {
	struct vm_conf conf;
	struct loop *ctl;
	struct vm_up up;
	enum vm_state state;
	uint32_t next_id; /* for the ids that we choose */
	struct hv *hv;
	struct chars chars;
	struct machine *machine;
	_Atomic int after;
	struct loop_msg msg;
};

static void carry_out(void *arg);

/* Any thread. The machine has halted itself; control does the rest. */
static void ask(struct vm *v, enum after what)
{
	int none = AFTER_NOTHING;

	if (atomic_compare_exchange_strong(&v->after, &none, (int)what))
		loop_post(v->ctl, &v->msg, carry_out, v);
}

static void on_wish(void *arg, enum board_wish w)
{
	ask(arg, w == WISH_RESET ? AFTER_RESET : AFTER_SHUTDOWN);
}

static void on_cpu_ended(void *arg, enum vcpu_end how, const char *why)
{
	static const enum after after[] = {
		[VCPU_RESET] = AFTER_RESET,
		[VCPU_SHUTDOWN] = AFTER_SHUTDOWN,
		[VCPU_CRASH] = AFTER_FAIL,
		[VCPU_FAIL] = AFTER_FAIL,
	};

	if (why)
		log_error("the guest cannot go on: %s", why);
	ask(arg, after[how]);
}

static void on_event(void *arg, const char *source, const char *name, const char *id)
{
	(void)arg;
	event(source, name, id);
}

static void on_panic(void *arg, const char *how)
{
	(void)arg;
	event_with("guest", "panic", "event", how);
}

/* With the machine goes what it has asked for and nobody has carried out: no thread of it is left
 * to ask again. */
static void end(struct vm *v)
{
	machine_free(take(&v->machine));
	loop_unpost(v->ctl, &v->msg);
	atomic_store(&v->after, AFTER_NOTHING);
}

static int start(struct vm *v, struct err *e)
{
	const struct machine_args a = {
		.hv = v->hv,
		.conf = &v->conf,
		.chars = &v->chars,
		.ctl = v->ctl,
		.up = { .wish = on_wish, .event = on_event, .panic = on_panic, .arg = v },
		.stop = { .fn = v->up.is_ending, .arg = v->up.arg },
		.cpu_ended = on_cpu_ended,
	};

	if (machine_new(&v->machine, &a, e) < 0)
		return -1;
	if (machine_start(v->machine, e) < 0) {
		end(v);
		return -1;
	}
	v->state = VM_RUNNING;
	return 0;
}

int vm_boot(struct vm *v, struct err *e)
{
	if (v->state == VM_RUNNING)
		return err_set(e, ERR_STATE, "the VM runs already");
	event("vm", "booting", NULL);
	if (start(v, e) < 0)
		return err_in(e, "boot the VM");
	event("vm", "booted", NULL);
	return 0;
}

int vm_nmi(struct vm *v, struct err *e)
{
	if (v->state != VM_RUNNING)
		return err_set(e, ERR_STATE, "the VM does not run");
	return machine_nmi(v->machine, e) < 0 ? err_in(e, "send an NMI") : 0;
}

static void reboot(struct vm *v)
{
	struct err e = { 0 };

	event("vm", "rebooting", NULL);
	end(v);
	if (start(v, &e) < 0) {
		char line[ERR_TEXT];

		v->state = VM_SHUTDOWN;
		log_error("reboot: %s", err_line(&e, line, sizeof(line)));
		v->up.ended(v->up.arg, true);
		return;
	}
	event("vm", "rebooted", NULL);
}

static void carry_out(void *arg)
{
	struct vm *v = arg;
	int after = atomic_load(&v->after);

	if (!v->machine)
		return;
	if (after == AFTER_RESET) {
		reboot(v);
		return;
	}
	vm_shutdown(v);
	v->up.ended(v->up.arg, after == AFTER_FAIL);
}

void vm_shutdown(struct vm *v)
{
	if (!v->machine)
		return;
	end(v);
	v->state = VM_SHUTDOWN;
	event("vm", "shutdown", NULL);
}

int vm_new(struct vm **out, struct vm_conf *conf, struct loop *ctl, const struct vm_up *up,
	   struct err *e)
{
	struct vm *v = NEW(struct vm);

	*v = (struct vm){ .conf = *conf, .ctl = ctl, .up = *up, .state = VM_CREATED };
	*conf = (struct vm_conf){ 0 };
	conf_make_ids(&v->conf, &v->next_id);
	if (conf_make_macs(&v->conf, e) < 0 || hv_open(&v->hv, e) < 0 ||
	    chars_open(&v->chars, &v->conf, e) < 0 || vm_confine(&v->conf, e) < 0) {
		vm_free(v);
		return -1;
	}
	*out = v;
	return 0;
}

void vm_free(struct vm *v)
{
	if (!v)
		return;
	vm_shutdown(v);
	chars_close(&v->chars);
	hv_close(v->hv);
	conf_free(&v->conf);
	free(v);
	event("vm", "deleted", NULL);
}

enum vm_state vm_state(const struct vm *v)
{
	return v->state;
}

void vm_winch(struct vm *v)
{
	tty_winch(v->chars.tty);
}
