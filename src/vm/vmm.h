/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's one place for a VM, and the queue of verbs for it. Whoever has something to ask (the
 * command line, the REST API, a debugger, D-Bus) asks here; what the guest itself asks for is done
 * before all that waits.
 *
 * Verbs are carried out one after another, in the order in which they came. Short ones run in the
 * control thread, long ones in a job's (vm/job.h), which then has the VM; the control loop goes on
 * meanwhile. Whether the VM's state is right is judged when a verb's turn comes, by the rows of
 * conf/routes.def.
 *
 *	a job			boot shutdown delete reboot pause resume snapshot restore coredump
 *				resize-disk end
 *	can be cancelled	boot reboot snapshot restore coredump
 *	cancels			shutdown delete end: what can be, running or waiting, when they come
 *
 * A shutdown that has cancelled a boot succeeds.
 *
 * Everything here is for the control thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/conf.h"
#include "vm/job.h"
#include "vm/report.h"
#include "vm/vm.h"

struct loop;
struct machine;
struct vmm;

#define VMM_WAITING_MAX 64

enum vmm_verb {
	VMM_CREATE, /* args: struct vm_conf * that conf_check lets pass; left empty when its turn came */
	VMM_BOOT,
	VMM_SHUTDOWN,
	VMM_DELETE,
	VMM_REBOOT,
	VMM_PAUSE,
	VMM_RESUME,
	VMM_POWER_BUTTON,
	VMM_NMI,
	VMM_SNAPSHOT, /* args: char *, the URL of a directory */
	VMM_RESTORE,  /* args: struct restore_conf * */
	VMM_COREDUMP, /* args: char *, the URL of a file to be made */
	VMM_RECLAIM,
	VMM_RESIZE_DISK, /* args: struct resize_disk_conf * */
	VMM_CHANGE_DISK, /* args: struct change_disk_conf * */
	VMM_CHANGE_NET,	 /* args: struct change_net_conf * */
	VMM_RESIZE,	 /* args: struct resize_conf * */
	VMM_RESIZE_ZONE, /* args: struct resize_zone_conf * */
	VMM_ADD,	 /* args: struct hotplug_new * */
	VMM_REMOVE,	 /* args: struct vmm_removal * */
	VMM_END,
	VMM_VERBS
};

/* A device that is to leave. */
struct vmm_removal {
	const char *id;
	enum hotplug_how how;
	uint64_t
		patience_ns; /* what the guest may take until it is said to ignore it; 0 = as usual */
	bool gone;	     /* the answer; else the guest was asked */
};

/* Upward talk to main. */
struct vmm_up {
	/* in the control loop: the guest has powered off, or cannot go on (why is logged); the VM is
	 * shut down */
	void (*rest)(void *arg, bool failed);
	/* VMM_END has been carried out and answered */
	void (*end)(void *arg);
	/* while the control thread itself carries out something long: is it to be broken off? */
	bool (*is_ending)(void *arg);
	void *arg;
	/* paths where the program listens, and removes what it made: ended by NULL, borrowed; or NULL */
	const char *const *sockets;
};

/* Called once, in the control loop and never inside vmm_do. e is NULL when all went well. */
typedef void vmm_done_fn(void *arg, const struct err *e);

/* Who looks on, in the control loop. */
struct vmm_watch {
	/* the VM, its machine or its state may be others; a job may have taken or given it back */
	void (*turned)(void *arg);
	/* a vCPU has met what a debugger waits for */
	void (*stopped)(void *arg);
	void *arg;
};

/* An empty place. */
void vmm_new(struct vmm **out, struct loop *ctl, const struct vmm_up *up);
/* Breaks off what can be, waits for what cannot, answers all that waits, deletes the VM. NULL is
 * fine. */
void vmm_free(struct vmm *m);
/* For one debugger; NULL: nobody. VMs whose config says gdb are refused where there is none. */
void vmm_set_watch(struct vmm *m, const struct vmm_watch *w);
/* Long verbs run in a job's thread from now on. Until then, without anybody who could ask
 * meanwhile, all run in the control thread: that is quicker. */
void vmm_use_jobs(struct vmm *m);

/* Queues a verb. args (as said at the verb) are borrowed until done. *job (out may be NULL) is
 * where its progress shows, NULL for a verb of the control thread; the caller remembers its id.
 * done may be NULL. When too many wait: ERR_BUSY, and done is not called. */
MUST int vmm_do(struct vmm *m, enum vmm_verb v, void *args, vmm_done_fn *done, void *arg,
		struct job **job, struct err *e);
/* Carries a verb out now, in the control thread: nothing waits or runs. For the start. */
MUST int vmm_do_now(struct vmm *m, enum vmm_verb v, void *args, struct err *e);

/* Calls done once, in the control loop: when the device of that name has left, or with ERR_BUSY when
 * that long has passed, or with ERR_STATE when the VM is deleted before. */
void vmm_wait_gone(struct vmm *m, const char *id, uint64_t ns, vmm_done_fn *done, void *arg);

/* Breaks off a job: one that waits is taken out, one that runs ends as soon as it can. ERR_ABSENT
 * for an unknown number, ERR_STATE when it has ended or cannot be broken off. */
MUST int vmm_cancel(struct vmm *m, uint64_t job, struct err *e);

/* --- for readers --- */

struct jobs *vmm_jobs(struct vmm *m);
/* NULL without a VM. Stays as it is until the control loop's next turn. */
const struct vm_conf *vmm_conf(const struct vmm *m);
/* An enum vm_state, or ROUTE_NO_VM (conf/routes.h). */
int vmm_state(const struct vmm *m);
/* Does a job have the VM? */
bool vmm_is_busy(const struct vmm *m);
/* NULL without a machine, and while a job has it. */
struct machine *vmm_machine(const struct vmm *m);
/* The same for the VM. */
struct vm *vmm_vm(const struct vmm *m);
/* Numbers of the machine and the tree of its devices as they are now; while a job has the machine, as
 * they were before; empty and NULL without one. Until the next call. */
const struct report *vmm_report(struct vmm *m);
const struct json *vmm_tree(struct vmm *m);
/* The size of the terminal's window has changed. */
void vmm_winch(struct vmm *m);
