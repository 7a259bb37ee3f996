/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM: its config, its life, and the machine while there is one. Which verb comes when, and
 * whether its state is right for it, is vm/vmm's.
 *
 *	           boot                    shutdown, the guest's power-off
 *	Created ----------> Running ------------------------------------------> Shutdown
 *	                     |  ^ ^                                                | boot
 *	                     |  | +------------------------------------------------+
 *	               pause |  | resume, boot
 *	                     v  |
 *	                    Paused ---- shutdown ----> Shutdown
 *
 * A reset, the guest's own or somebody's, frees the machine and builds the next one from the same
 * config. BreakPoint is a debugger's pause.
 *
 * One thread has the VM at a time: the control thread, or that of the job which it was handed to.
 * What the guest asks for arrives in the control loop.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/work.h"
#include "conf/conf.h"
#include "vm/hotplug.h"

struct hv;
struct loop;
struct machine;
struct vm;

/* What the guest wants, or cannot but have, the first wish first. The machine stands still then. */
enum vm_asks { VM_ASKS_NOTHING, VM_ASKS_RESET, VM_ASKS_SHUTDOWN, VM_ASKS_FAIL };

/* Upward talk. */
struct vm_up {
	/* in the control loop: vm_asks says what for; or vm_has_let_go */
	void (*asked)(void *arg);
	/* in the control loop: a device wants the guest to be paused */
	void (*wants_pause)(void *arg);
	/* in the control loop: a vCPU has met what a debugger waits for; who has the VM does not
	 * matter */
	void (*stopped)(void *arg);
	/* in the control loop: a device has left */
	void (*gone)(void *arg, const char *id);
	void *arg;
	/* paths where the program listens, ended by NULL, for vm/confine; or NULL */
	const char *const *sockets;
};

/* Takes conf over (also on failure) and leaves *conf empty; it has been checked. The same with hv, which
 * is opened here where it is NULL. Opens consoles, confines the calling thread as the config says.
 * Control thread. */
MUST int vm_new(struct vm **out, struct vm_conf *conf, struct hv *hv, struct loop *ctl,
		const struct vm_up *up, struct err *e);
/* Builds the machine and lets it run. What takes long tells w and asks it whether to go on; NULL is
 * fine. After a failure the VM is as before. */
MUST int vm_boot(struct vm *v, struct work *w, struct err *e);
/* Tears the machine down and boots; after a failure the VM is shut down. */
MUST int vm_reboot(struct vm *v, struct work *w, struct err *e);
struct snapshot;
/* Builds the machine that was saved, and leaves it paused. After a failure the VM is as before. */
MUST int vm_restore(struct vm *v, const struct snapshot *from, struct work *w, struct err *e);
/* Afterwards, the thread that looks at the configuration: it is that of the next boot. */
void vm_restored(struct vm *v);
/* Writes one, of a paused VM, as vm/snapshot.h says. */
MUST int vm_snapshot(struct vm *v, const char *url, struct work *w, struct err *e);
/* Nothing is executed and nothing is in flight until vm_resume; no vm_pause twice. After a failure
 * it runs on. */
MUST int vm_pause(struct vm *v, struct err *e);
void vm_resume(struct vm *v);
/* Its core goes to a file, as vm/coredump.h says; it stands still meanwhile. There is a machine. */
MUST int vm_coredump(struct vm *v, const char *url, struct work *w, struct err *e);
/* A non-maskable interrupt for every vCPU, as a person's button on a server. There is a machine. */
MUST int vm_nmi(struct vm *v, struct err *e);
/* Other amounts of vCPUs and memory, as vm/resize.h says; with or without a machine. */
MUST int vm_resize(struct vm *v, const struct resize_conf *r, struct err *e);
MUST int vm_resize_zone(struct vm *v, const struct resize_zone_conf *r, struct err *e);
/* The button that asks a guest to power off. There is a machine. */
MUST int vm_power_button(struct vm *v, struct err *e);
/* As if the guest had powered itself off. There is a machine. */
void vm_power_off(struct vm *v);

/* Devices that come and go, see vm/hotplug.h. Control thread. */
MUST int vm_add(struct vm *v, struct hotplug_new *n, struct err *e);
MUST int vm_remove(struct vm *v, const char *id, enum hotplug_how how, bool *gone, struct err *e);
/* The guest has let go of devices; they are taken out. */
bool vm_has_let_go(const struct vm *v);
void vm_carry_out(struct vm *v);
/* Before the machine ends: devices that the guest was asked for leave. */
void vm_settle(struct vm *v);

/* For a debugger, who has the VM, and holds vCPUs by himself (vm/debugger.h). While one is there a
 * reboot stops before the guest's first instruction, as a boot does whose config says gdb. */
void vm_set_debugged(struct vm *v, bool on);
/* He has stopped all vCPUs, or let some go. */
void vm_set_break(struct vm *v, bool on);
bool vm_is_at_break(const struct vm *v);
/* Grows with each machine. */
uint64_t vm_boots(const struct vm *v);

/* Asks the guest for memory that it does not use, as dev/balloon.h says. There is a machine. */
MUST int vm_reclaim(struct vm *v, struct err *e);
/* What of its devices is to be different, as vm/change.h says. A disk's size: there is a machine. */
MUST int vm_resize_disk(struct vm *v, const struct resize_disk_conf *w, struct err *e);
MUST int vm_change_disk(struct vm *v, struct change_disk_conf *w, struct err *e);
MUST int vm_change_net(struct vm *v, struct change_net_conf *w, struct err *e);

/* Tears the machine down; config and terminals stay. */
void vm_shutdown(struct vm *v);
/* Shuts down, restores terminals, lets the hypervisor go: all that may take its time. Only vm_free
 * and what is read may follow. */
void vm_close(struct vm *v);
/* Closes and frees. NULL is fine. Control thread. */
void vm_free(struct vm *v);

/* Any thread; a state changes when its verb has succeeded. */
enum vm_state vm_state(const struct vm *v);
/* The config does not change while a job has the VM. */
const struct vm_conf *vm_conf(const struct vm *v);
/* For who has the VM. NULL where there is none. */
struct machine *vm_machine(const struct vm *v);
enum vm_asks vm_asks(const struct vm *v);
/* The terminal behind a console changed its size. */
void vm_winch(struct vm *v);
