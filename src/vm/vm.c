/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of the VM. What a guest asks for (reset, power-off) comes from a vCPU thread, halts the
 * machine at once and waits until somebody who has the VM carries it out. See vm.h.
 */
#include "vm/vm.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/event.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "conf/edit.h"
#include "dev/vmgenid.h"
#include "hv/hv.h"
#include "vm/change.h"
#include "vm/chars.h"
#include "vm/confine.h"
#include "vm/coredump.h"
#include "vm/machine.h"
#include "vm/resize.h"
#include "vm/snapshot.h"

struct vm {
	struct vm_conf conf;
	struct loop *ctl;
	struct vm_up up;
	_Atomic enum vm_state state;
	uint32_t next_id; /* for the ids that we choose */
	struct hv *hv;
	struct chars chars;
	struct machine *machine;
	uint8_t generation[VMGENID_BYTES]; /* a restore has a VM of its own, a reboot the same */
	struct link kept;		   /* listeners, from a machine that ends to the next */
	_Atomic int asks;		   /* enum vm_asks; the first that is asked counts */
	atomic_bool has_let_go;
	struct loop_msg msg, pause_msg;
	/* of a debugger */
	struct loop_msg stop_msg;
	uint64_t next_size; /* of memory, at the boot after a restore */
	uint64_t boots;
	bool debugged; /* somebody is there */
	bool at_break; /* he has stopped the machine */
};

static void tell(void *arg)
{
	struct vm *v = arg;

	if (vm_asks(v) != VM_ASKS_NOTHING || vm_has_let_go(v))
		v->up.asked(v->up.arg);
}

/* Any thread. The machine has halted itself; who has the VM does the rest. */
static void ask(struct vm *v, enum vm_asks what)
{
	int none = VM_ASKS_NOTHING;

	if (atomic_compare_exchange_strong(&v->asks, &none, (int)what))
		loop_post(v->ctl, &v->msg, tell, v);
}

static void on_wish(void *arg, enum board_wish w)
{
	ask(arg, w == WISH_RESET ? VM_ASKS_RESET : VM_ASKS_SHUTDOWN);
}

static void on_let_go(void *arg)
{
	struct vm *v = arg;

	atomic_store(&v->has_let_go, true);
	loop_post(v->ctl, &v->msg, tell, v);
}

static void on_cpu_ended(void *arg, enum vcpu_end how, const char *why)
{
	static const enum vm_asks asks[] = {
		[VCPU_RESET] = VM_ASKS_RESET,
		[VCPU_SHUTDOWN] = VM_ASKS_SHUTDOWN,
		[VCPU_CRASH] = VM_ASKS_FAIL,
		[VCPU_FAIL] = VM_ASKS_FAIL,
	};

	if (why)
		log_error("the guest cannot go on: %s", why);
	ask(arg, asks[how]);
}

static void tell_stopped(void *arg)
{
	struct vm *v = arg;

	v->up.stopped(v->up.arg);
}

static void on_cpu_stopped(void *arg)
{
	struct vm *v = arg;

	loop_post(v->ctl, &v->stop_msg, tell_stopped, v);
}

static void on_event(void *arg, const char *source, const char *name, const char *id)
{
	(void)arg;
	event(source, name, id);
}

/* It may have run on meanwhile, or be another machine: then the pause is one too many, and whoever
 * wonders finds in the events why it came. */
static void tell_pause(void *arg)
{
	struct vm *v = arg;

	v->up.wants_pause(v->up.arg);
}

static void on_pause(void *arg)
{
	struct vm *v = arg;

	if (v->up.wants_pause)
		loop_post(v->ctl, &v->pause_msg, tell_pause, v);
}

static void on_panic(void *arg, const char *how)
{
	(void)arg;
	event_with("guest", "panic", "event", how);
}

/* With the machine goes what it has asked for and nobody has carried out: no thread of it is left
 * to ask again. A message that is on its way finds nothing asked. */
static void end(struct vm *v)
{
	machine_free(take(&v->machine));
	atomic_store(&v->asks, VM_ASKS_NOTHING);
	atomic_store(&v->has_let_go, false);
	v->at_break = false;
}

static int build(struct vm *v, const struct snapshot *from, struct work *w, struct err *e)
{
	const struct machine_args a = {
		.hv = v->hv,
		.conf = &v->conf,
		.chars = &v->chars,
		.ctl = v->ctl,
		.kept = &v->kept,
		.generation = v->generation,
		.from = from,
		.up = { .wish = on_wish,
			.event = on_event,
			.pause = on_pause,
			.panic = on_panic,
			.let_go = on_let_go,
			.arg = v },
		.cpu_ended = on_cpu_ended,
		.cpu_stopped = on_cpu_stopped,
	};

	return machine_new(&v->machine, &a, w, e);
}

static int start(struct vm *v, bool stops, struct work *w, struct err *e)
{
	if (build(v, NULL, w, e) < 0)
		return -1;
	for (uint32_t i = 0; stops && i < machine_vcpus(v->machine); i++)
		vcpu_hold(machine_vcpu(v->machine, i));
	if (machine_start(v->machine, e) < 0) {
		end(v);
		return -1;
	}
	v->boots++;
	v->at_break = stops;
	v->state = stops ? VM_BREAKPOINT : VM_RUNNING;
	return 0;
}

int vm_boot(struct vm *v, struct work *w, struct err *e)
{
	event("vm", "booting", NULL);
	if (start(v, v->conf.gdb, w, e) < 0) {
		listener_drop(&v->kept);
		return err_in(e, "boot the VM");
	}
	event("vm", "booted", NULL);
	return 0;
}

int vm_reboot(struct vm *v, struct work *w, struct err *e)
{
	event("vm", "rebooting", NULL);
	end(v);
	if (start(v, v->debugged, w, e) < 0) {
		listener_drop(&v->kept);
		v->state = VM_SHUTDOWN;
		return err_in(e, "reboot");
	}
	listener_drop(&v->kept);
	event("vm", "rebooted", NULL);
	return 0;
}

int vm_restore(struct vm *v, const struct snapshot *from, struct work *w, struct err *e)
{
	event("vm", "restoring", NULL);
	if (build(v, from, w, e) < 0 || machine_start(v->machine, e) < 0) {
		end(v);
		listener_drop(&v->kept);
		return err_in(e, "restore the VM");
	}
	/* who saved it may not have told */
	v->next_size = from->saved.machine.next_size
			       ? from->saved.machine.next_size
			       : v->conf.memory.size + machine_added(v->machine);
	v->boots++;
	v->state = VM_PAUSED;
	event("vm", "restored", NULL);
	return 0;
}

void vm_restored(struct vm *v)
{
	v->conf.memory.size = v->next_size;
}

int vm_snapshot(struct vm *v, const char *url, struct work *w, struct err *e)
{
	event("vm", "snapshotting", NULL);
	if (snapshot_write(v->machine, &v->conf, url, w, e) < 0)
		return -1;
	event("vm", "snapshotted", NULL);
	return 0;
}

int vm_pause(struct vm *v, struct err *e)
{
	event("vm", "pausing", NULL);
	if (machine_pause(v->machine, e) < 0)
		return err_in(e, "pause the VM");
	v->state = VM_PAUSED;
	event("vm", "paused", NULL);
	return 0;
}

void vm_resume(struct vm *v)
{
	event("vm", "resuming", NULL);
	machine_resume(v->machine);
	v->state = v->at_break ? VM_BREAKPOINT : VM_RUNNING;
	event("vm", "resumed", NULL);
}

int vm_nmi(struct vm *v, struct err *e)
{
	return machine_nmi(v->machine, e) < 0 ? err_in(e, "send an NMI") : 0;
}

int vm_power_button(struct vm *v, struct err *e)
{
	return machine_power_button(v->machine, e) < 0 ? err_in(e, "press the power button") : 0;
}

int vm_reclaim(struct vm *v, struct err *e)
{
	return change_reclaim(v->machine, e) < 0 ? err_in(e, "reclaim memory") : 0;
}

int vm_resize_disk(struct vm *v, const struct resize_disk_conf *w, struct err *e)
{
	return change_disk_size(v->machine, w, e) < 0 ? err_in(e, "resize a disk") : 0;
}

int vm_change_disk(struct vm *v, struct change_disk_conf *w, struct err *e)
{
	return change_disk(&v->conf, v->machine, w, e);
}

int vm_change_net(struct vm *v, struct change_net_conf *w, struct err *e)
{
	return change_net(&v->conf, v->machine, w, e);
}

void vm_shutdown(struct vm *v)
{
	if (!v->machine)
		return;
	end(v);
	listener_drop(&v->kept);
	v->state = VM_SHUTDOWN;
	event("vm", "shutdown", NULL);
}

static int make_generation(struct vm *v, struct err *e)
{
	if (getrandom(v->generation, sizeof(v->generation), 0) != sizeof(v->generation))
		return err_os(e, ERR_IO, "random numbers");
	return 0;
}

int vm_new(struct vm **out, struct vm_conf *conf, struct hv *hv, struct loop *ctl,
	   const struct vm_up *up, struct err *e)
{
	struct vm *v = NEW(struct vm);

	list_init(&v->kept);
	v->conf = *conf;
	v->hv = hv;
	v->ctl = ctl;
	v->up = *up;
	*conf = (struct vm_conf){ 0 };
	conf_make_ids(&v->conf, &v->next_id);
	conf_make_iommu(&v->conf);
	if (make_generation(v, e) < 0 || conf_make_macs(&v->conf, e) < 0 ||
	    (!hv && hv_open(&v->hv, e) < 0) || chars_open(&v->chars, &v->conf, e) < 0 ||
	    vm_confine(&v->conf, up->sockets, e) < 0) {
		vm_free(v);
		return -1;
	}
	*out = v;
	return 0;
}

void vm_close(struct vm *v)
{
	vm_shutdown(v);
	chars_close(&v->chars);
	hv_close(take(&v->hv));
}

void vm_free(struct vm *v)
{
	if (!v)
		return;
	vm_close(v);
	loop_unpost(v->ctl, &v->msg);
	loop_unpost(v->ctl, &v->stop_msg);
	loop_unpost(v->ctl, &v->pause_msg);
	conf_close(&vm_desc, &v->conf);
	conf_free(&v->conf);
	free(v);
	event("vm", "deleted", NULL);
}

/* --- devices that come and go --- */

static void on_gone(void *arg, const char *id)
{
	struct vm *v = arg;

	v->up.gone(v->up.arg, id);
}

static struct hotplug hotplug_of(struct vm *v)
{
	return (struct hotplug){
		.conf = &v->conf,
		.next_id = &v->next_id,
		.machine = v->machine,
		.stands_still = v->state == VM_PAUSED,
		.gone = on_gone,
		.arg = v,
	};
}

int vm_add(struct vm *v, struct hotplug_new *n, struct err *e)
{
	const struct hotplug h = hotplug_of(v);

	return hotplug_add(&h, n, e);
}

int vm_remove(struct vm *v, const char *id, enum hotplug_how how, bool *gone, struct err *e)
{
	const struct hotplug h = hotplug_of(v);

	return hotplug_remove(&h, id, how, gone, e);
}

bool vm_has_let_go(const struct vm *v)
{
	return v->has_let_go;
}

void vm_carry_out(struct vm *v)
{
	const struct hotplug h = hotplug_of(v);

	atomic_store(&v->has_let_go, false);
	if (v->machine)
		hotplug_carry_out(&h);
}

void vm_settle(struct vm *v)
{
	const struct hotplug h = hotplug_of(v);

	if (v->machine)
		hotplug_settle(&h);
}

int vm_coredump(struct vm *v, const char *url, struct work *w, struct err *e)
{
	bool paused = v->state == VM_PAUSED;
	int r;

	event("vm", "coredumping", NULL);
	if (!paused && machine_pause(v->machine, e) < 0)
		return err_in(e, "pause the VM for a core dump");
	r = coredump_write(v->machine, url, w, e);
	if (!paused)
		machine_resume(v->machine);
	if (r < 0)
		return err_in(e, "dump the VM's core");
	event("vm", "coredumped", NULL);
	return 0;
}

int vm_resize(struct vm *v, const struct resize_conf *r, struct err *e)
{
	event("vm", "resizing", NULL);
	if (resize_vm(&v->conf, v->machine, r, e) < 0)
		return err_in(e, "resize the VM");
	event("vm", "resized", NULL);
	return 0;
}

int vm_resize_zone(struct vm *v, const struct resize_zone_conf *r, struct err *e)
{
	event("vm", "resizing", NULL);
	if (resize_zone(&v->conf, v->machine, r, e) < 0)
		return err_in(e, "resize a memory zone");
	event("vm", "resized", NULL);
	return 0;
}

void vm_power_off(struct vm *v)
{
	vcpus_halt(machine_vcpu(v->machine, 0)->team);
	ask(v, VM_ASKS_SHUTDOWN);
}

void vm_set_debugged(struct vm *v, bool on)
{
	v->debugged = on;
}

void vm_set_break(struct vm *v, bool on)
{
	v->at_break = on;
	if (v->state == VM_RUNNING && on)
		v->state = VM_BREAKPOINT;
	else if (v->state == VM_BREAKPOINT && !on)
		v->state = VM_RUNNING;
}

bool vm_is_at_break(const struct vm *v)
{
	return v->at_break;
}

uint64_t vm_boots(const struct vm *v)
{
	return v->boots;
}

enum vm_state vm_state(const struct vm *v)
{
	return v->state;
}

const struct vm_conf *vm_conf(const struct vm *v)
{
	return &v->conf;
}

struct machine *vm_machine(const struct vm *v)
{
	return v->machine;
}

enum vm_asks vm_asks(const struct vm *v)
{
	return (enum vm_asks)atomic_load(&v->asks);
}

void vm_winch(struct vm *v)
{
	if (v->chars.tty)
		tty_winch(v->chars.tty);
}
