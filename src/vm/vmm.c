/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of verbs: a table of them, one order each, and one that is carried out now. An order is
 * begun from the control loop's turn only, so that who asks never finds itself answered inside.
 * See vmm.h.
 */
#include "vm/vmm.h"

#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "conf/routes.h"
#include "hv/hv.h"
#include "vm/removals.h"
#include "vm/snapshot.h"

struct verb {
	const char *name;
	/* says in which states it may be; NULL = the guest asks, so there is a machine */
	const struct route *route;
	bool is_long;
	bool cancellable;
	bool cancels; /* what can be cancelled */
	bool settles; /* the machine ends: what the guest was asked to let go of leaves before */
	bool quiets; /* when it has cancelled something, and there is nothing left to do, all is well */
	/* control thread, before run: a failure ends it; NULL = nothing */
	int (*begin)(struct vmm *m, void *args, struct err *e);
	/* the same thread: it has begun, and cannot be run; NULL = nothing */
	void (*undo)(struct vmm *m);
	/* who has the VM */
	int (*run)(struct vmm *m, void *args, struct work *w, struct err *e);
	/* control thread, before the answer; NULL = nothing */
	void (*after)(struct vmm *m, int result);
	/* control thread, after the answer; NULL = nothing */
	void (*finally)(struct vmm *m, int result);
};

/* One verb that was asked for. */
struct order {
	struct link link;
	const struct verb *verb;
	void *args;
	vmm_done_fn *done; /* or NULL */
	void *arg;
	struct job *job; /* of a long verb */
	bool has_cancelled;
	struct vmm *vmm;
};

struct vmm {
	struct loop *ctl;
	struct vmm_up up;
	bool use_jobs;
	struct vm *vm;
	struct snapshot from; /* of a restore under way */
	struct jobs jobs;
	struct link orders; /* that wait */
	unsigned int waiting;
	struct order *now; /* a job has the VM for it */
	struct loop_msg turn;
	bool winched; /* while a job had the VM */
	struct report report;
	const struct vmm_watch *watch; /* or NULL */
	struct removals removals;
};

static void take_turn(void *arg);

static void schedule(struct vmm *m)
{
	loop_post(m->ctl, &m->turn, take_turn, m);
}

/* --- what verbs do --- */

static void on_asked(void *arg)
{
	schedule(arg);
}

static void on_stopped(void *arg)
{
	struct vmm *m = arg;

	if (m->watch)
		m->watch->stopped(m->watch->arg);
}

/* Nobody waits for the answer: one that cannot be paused now does not run, or is paused. */
static void on_paused(void *arg, const struct err *e)
{
	char line[ERR_TEXT];

	(void)arg;
	if (e)
		log_info("a disk wants a pause: %s", err_line(e, line, sizeof(line)));
}

static void on_wants_pause(void *arg)
{
	struct err e = { 0 };

	if (vmm_do(arg, VMM_PAUSE, NULL, on_paused, NULL, NULL, &e) < 0)
		on_paused(NULL, &e);
}

static void on_gone(void *arg, const char *id)
{
	struct vmm *m = arg;

	removals_gone(&m->removals, id);
}

static void turned(struct vmm *m)
{
	if (m->watch)
		m->watch->turned(m->watch->arg);
}

/* Takes conf, and hv, which may be NULL. */
static int make_vm(struct vmm *m, struct vm_conf *conf, struct hv *hv, struct err *e)
{
	const struct vm_up up = {
		.asked = on_asked,
		.wants_pause = on_wants_pause,
		.stopped = on_stopped,
		.gone = on_gone,
		.arg = m,
		.sockets = m->up.sockets,
	};

	if (conf->gdb && !m->watch) {
		hv_close(hv);
		return err_set(e, ERR_BAD, "gdb: there is no debugger's socket: start with --gdb");
	}
	return vm_new(&m->vm, conf, hv, m->ctl, &up, e);
}

static int do_create(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)w;
	return make_vm(m, args, NULL, e);
}

static int begin_restore(struct vmm *m, void *args, struct err *e)
{
	const struct restore_conf *c = args;

	if (snapshot_open(&m->from, args, e) < 0)
		return -1;
	if (c->check) {
		snapshot_close(&m->from);
		return 0;
	}
	if (make_vm(m, &m->from.conf, take(&m->from.hv), e) == 0)
		return 0;
	snapshot_close(&m->from);
	return -1;
}

static int do_restore(struct vmm *m, void *args, struct work *w, struct err *e)
{
	const struct restore_conf *c = args;
	int r;

	if (c->check)
		return 0;
	r = vm_restore(m->vm, &m->from, w, e);
	snapshot_close(&m->from);
	if (r == 0 && c->resume)
		vm_resume(m->vm);
	return r;
}

static int do_snapshot(struct vmm *m, void *args, struct work *w, struct err *e)
{
	return vm_snapshot(m->vm, args, w, e);
}

static int do_boot(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)args;
	return vm_boot(m->vm, w, e);
}

static int do_reboot(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)args;
	return vm_reboot(m->vm, w, e);
}

static int do_shutdown(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)args;
	(void)w;
	(void)e;
	vm_shutdown(m->vm);
	return 0;
}

static int do_close(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)args;
	(void)w;
	(void)e;
	if (m->vm)
		vm_close(m->vm);
	return 0;
}

static void forget_vm(struct vmm *m, int result)
{
	(void)result;
	vm_free(take(&m->vm));
	removals_end(&m->removals);
}

/* What could not be restored is no VM, and a question makes none. */
static void after_restore(struct vmm *m, int result)
{
	if (result < 0)
		forget_vm(m, result);
	else if (m->vm)
		vm_restored(m->vm);
}

/* Of a question nothing is open. */
static void undo_restore(struct vmm *m)
{
	if (!m->vm)
		return;
	snapshot_close(&m->from);
	forget_vm(m, -1);
}

static void end_program(struct vmm *m, int result)
{
	(void)result;
	m->up.end(m->up.arg);
}

static int do_pause(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)args;
	(void)w;
	return vm_pause(m->vm, e);
}

static int do_resume(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)args;
	(void)w;
	(void)e;
	vm_resume(m->vm);
	return 0;
}

static int do_power_button(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)args;
	(void)w;
	return vm_power_button(m->vm, e);
}

static int do_nmi(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)args;
	(void)w;
	return vm_nmi(m->vm, e);
}

static int do_coredump(struct vmm *m, void *args, struct work *w, struct err *e)
{
	return vm_coredump(m->vm, args, w, e);
}

static int do_reclaim(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)args;
	(void)w;
	return vm_reclaim(m->vm, e);
}

static int do_resize_disk(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)w;
	return vm_resize_disk(m->vm, args, e);
}

static int do_change_disk(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)w;
	return vm_change_disk(m->vm, args, e);
}

static int do_change_net(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)w;
	return vm_change_net(m->vm, args, e);
}

static int do_resize(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)w;
	return vm_resize(m->vm, args, e);
}

static int do_resize_zone(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)w;
	return vm_resize_zone(m->vm, args, e);
}

static int do_add(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)w;
	return vm_add(m->vm, args, e);
}

static int do_remove(struct vmm *m, void *args, struct work *w, struct err *e)
{
	struct vmm_removal *r = args;

	(void)w;
	if (vm_remove(m->vm, r->id, r->how, &r->gone, e) < 0)
		return -1;
	if (!r->gone)
		removals_asked(&m->removals, r->id, r->patience_ns);
	return 0;
}

static int do_carry_out(struct vmm *m, void *args, struct work *w, struct err *e)
{
	(void)args;
	(void)w;
	(void)e;
	vm_carry_out(m->vm);
	return 0;
}

#define VERB(name_, route_) .name = name_, .route = &route_table[ROUTE_##route_]
static const struct verb verbs[VMM_VERBS] = {
	[VMM_CREATE] = { VERB("create", vm_create), .run = do_create },
	[VMM_BOOT] = { VERB("boot", vm_boot), .is_long = true, .cancellable = true,
		       .run = do_boot },
	[VMM_SHUTDOWN] = { VERB("shutdown", vm_shutdown), .is_long = true, .cancels = true,
			   .settles = true, .quiets = true, .run = do_shutdown },
	[VMM_DELETE] = { VERB("delete", vm_delete), .is_long = true, .cancels = true,
			 .run = do_close, .after = forget_vm },
	[VMM_REBOOT] = { VERB("reboot", vm_reboot), .is_long = true, .cancellable = true,
			 .settles = true, .run = do_reboot },
	[VMM_PAUSE] = { VERB("pause", vm_pause), .is_long = true, .run = do_pause },
	[VMM_RESUME] = { VERB("resume", vm_resume), .is_long = true, .run = do_resume },
	[VMM_POWER_BUTTON] = { VERB("power-button", vm_power_button), .run = do_power_button },
	[VMM_NMI] = { VERB("nmi", vm_nmi), .run = do_nmi },
	[VMM_SNAPSHOT] = { VERB("snapshot", vm_snapshot), .is_long = true, .cancellable = true,
			   .run = do_snapshot },
	[VMM_RESTORE] = { VERB("restore", vm_restore), .is_long = true, .cancellable = true,
			  .begin = begin_restore, .undo = undo_restore, .run = do_restore,
			  .after = after_restore },
	[VMM_COREDUMP] = { VERB("coredump", vm_coredump), .is_long = true, .cancellable = true,
			   .run = do_coredump },
	[VMM_RECLAIM] = { VERB("reclaim", vm_reclaim), .run = do_reclaim },
	[VMM_RESIZE_DISK] = { VERB("resize-disk", vm_resize_disk), .is_long = true,
			      .run = do_resize_disk },
	[VMM_CHANGE_DISK] = { VERB("change-disk", vm_change_disk), .run = do_change_disk },
	[VMM_CHANGE_NET] = { VERB("change-net", vm_change_net), .run = do_change_net },
	[VMM_RESIZE] = { VERB("resize", vm_resize), .run = do_resize },
	[VMM_RESIZE_ZONE] = { VERB("resize-zone", vm_resize_zone), .run = do_resize_zone },
	[VMM_ADD] = { VERB("add", vm_add_disk), .run = do_add },
	[VMM_REMOVE] = { VERB("remove-device", vm_remove_device), .run = do_remove },
	[VMM_END] = { VERB("end", vmm_shutdown), .is_long = true, .cancels = true, .run = do_close,
		      .after = forget_vm, .finally = end_program },
};

/* --- what the guest asks for --- */

static void tell_failure(struct vmm *m, int result)
{
	if (result < 0)
		m->up.rest(m->up.arg, true);
}

static void tell_rest(struct vmm *m, int result)
{
	(void)result;
	m->up.rest(m->up.arg, false);
}

static void tell_end(struct vmm *m, int result)
{
	(void)result;
	m->up.rest(m->up.arg, true);
}

static const struct verb guests_verbs[] = {
	[VM_ASKS_RESET] = { .name = "reset",
			    .is_long = true,
			    .settles = true,
			    .cancellable = true,
			    .run = do_reboot,
			    .finally = tell_failure },
	[VM_ASKS_SHUTDOWN] = { .name = "power-off",
			       .is_long = true,
			       .settles = true,
			       .run = do_shutdown,
			       .finally = tell_rest },
	[VM_ASKS_FAIL] = { .name = "failure",
			   .is_long = true,
			   .run = do_shutdown,
			   .finally = tell_end },
};

static const struct verb let_go_verb = { .name = "let-go", .run = do_carry_out };

/* --- judging --- */

static int judge(const struct vmm *m, const struct verb *v, struct err *e)
{
	return v->route ? route_allowed(v->route, vmm_state(m), e) : 0;
}

/* --- orders --- */

static struct order *order_new(struct vmm *m, const struct verb *v)
{
	struct order *o = NEW(struct order);

	o->vmm = m;
	o->verb = v;
	if (v->is_long) {
		o->job = job_new(&m->jobs, v->name);
		o->job->cancellable = v->cancellable;
	}
	return o;
}

/* It is in nobody's hands any more; answers and frees. */
static void order_finish(struct order *o, int result, const struct err *why)
{
	struct vmm *m = o->vmm;
	const struct verb *v = o->verb;
	char line[ERR_TEXT];

	if (v->after)
		v->after(m, result);
	if (o->job)
		job_finish(o->job, result, why);
	if (o->done)
		o->done(o->arg, result < 0 ? why : NULL);
	else if (result < 0)
		log_error("%s", err_line(why, line, sizeof(line)));
	free(o);
	if (v->finally)
		v->finally(m, result);
}

/* Nothing was done for it. */
static void order_refuse(struct order *o, const struct err *why)
{
	static const struct verb nothing = { .name = "nothing" };

	o->verb = &nothing;
	order_finish(o, -1, why);
}

static int run_job(void *arg, struct job *j, struct err *e)
{
	struct order *o = arg;

	return o->verb->run(o->vmm, o->args, &j->work, e);
}

static void on_job_ended(void *arg, struct job *j)
{
	struct order *o = arg;
	struct vmm *m = o->vmm;

	m->now = NULL;
	order_finish(o, j->result, &j->err);
	if (m->winched)
		vmm_winch(m);
	turned(m);
	schedule(m);
}

static void settle(struct vmm *m, const struct verb *v)
{
	if (v->settles && m->vm)
		vm_settle(m->vm);
}

static int run_here(struct vmm *m, const struct order *o, struct err *e)
{
	struct work *w = o->job ? &o->job->work : NULL;

	if (w) {
		w->is_ending = m->up.is_ending;
		w->arg = m->up.arg;
	}
	return o->verb->run(m, o->args, w, e);
}

static int begin(struct vmm *m, const struct verb *v, void *args, struct err *e)
{
	return v->begin ? v->begin(m, args, e) : 0;
}

/* For those who look while a job has the machine. */
static void remember(struct vmm *m)
{
	struct machine *machine = vmm_machine(m);

	if (!machine)
		return;
	report_look(&m->report, machine);
	report_look_at_tree(&m->report, machine);
}

/* Its turn has come. */
static void order_begin(struct order *o)
{
	struct vmm *m = o->vmm;
	struct err e = { 0 };

	if (o->job && o->job->work.stopped) {
		err_set(&e, ERR_STATE, "%s was cancelled before it began", o->verb->name);
		order_refuse(o, &e);
	} else if (judge(m, o->verb, &e) < 0) {
		if (o->verb->quiets && o->has_cancelled)
			order_finish(o, 0, NULL);
		else
			order_refuse(o, &e);
	} else if (begin(m, o->verb, o->args, &e) < 0) {
		order_refuse(o, &e);
	} else if (!o->job || !m->use_jobs) {
		settle(m, o->verb);
		order_finish(o, run_here(m, o, &e), &e);
	} else {
		settle(m, o->verb);
		remember(m);
		m->now = o;
		if (job_start(o->job, run_job, on_job_ended, o, &e) == 0)
			return;
		m->now = NULL;
		if (o->verb->undo)
			o->verb->undo(m);
		order_refuse(o, &e);
	}
}

/* What the guest asks for comes first. */
static struct order *next_order(struct vmm *m)
{
	struct link *at;

	if (m->vm && vm_asks(m->vm) != VM_ASKS_NOTHING)
		return order_new(m, &guests_verbs[vm_asks(m->vm)]);
	if (m->vm && vm_has_let_go(m->vm))
		return order_new(m, &let_go_verb);
	at = list_take_first(&m->orders);
	if (!at)
		return NULL;
	m->waiting--;
	return container_of(at, struct order, link);
}

/* One at a time, so that what else is in the loop has its turn too. */
static void take_turn(void *arg)
{
	struct vmm *m = arg;
	struct order *o = m->now ? NULL : next_order(m);

	if (!o)
		return;
	order_begin(o);
	turned(m);
	if (!m->now)
		schedule(m);
}

/* --- asking --- */

static bool cancel(struct order *o)
{
	if (!o->verb->cancellable)
		return false;
	work_stop(&o->job->work);
	return true;
}

static bool cancel_all(struct vmm *m)
{
	bool any = m->now && cancel(m->now);

	list_each (at, &m->orders)
		any |= cancel(container_of(at, struct order, link));
	return any;
}

int vmm_do(struct vmm *m, enum vmm_verb v, void *args, vmm_done_fn *done, void *arg,
	   struct job **job, struct err *e)
{
	struct order *o;

	if (m->waiting == VMM_WAITING_MAX)
		return err_set(e, ERR_BUSY, "%d requests wait already: try again later",
			       VMM_WAITING_MAX);
	o = order_new(m, &verbs[v]);
	o->args = args;
	o->done = done;
	o->arg = arg;
	if (verbs[v].cancels)
		o->has_cancelled = cancel_all(m);
	list_add_tail(&m->orders, &o->link);
	m->waiting++;
	if (job)
		*job = o->job;
	schedule(m);
	return 0;
}

int vmm_do_now(struct vmm *m, enum vmm_verb v, void *args, struct err *e)
{
	struct work w = { .is_ending = m->up.is_ending, .arg = m->up.arg };
	int result;

	if (judge(m, &verbs[v], e) < 0)
		return -1;
	settle(m, &verbs[v]);
	result = begin(m, &verbs[v], args, e);
	if (result == 0)
		result = verbs[v].run(m, args, &w, e);
	if (verbs[v].after)
		verbs[v].after(m, result);
	turned(m);
	return result;
}

static struct order *find_waiting(struct vmm *m, const struct job *j)
{
	list_each (at, &m->orders) {
		struct order *o = container_of(at, struct order, link);

		if (o->job == j)
			return o;
	}
	return NULL;
}

int vmm_cancel(struct vmm *m, uint64_t id, struct err *e)
{
	struct job *j = job_find(&m->jobs, id);
	struct order *o;

	if (!j)
		return err_set(e, ERR_ABSENT, "there is no job %llu", (unsigned long long)id);
	o = m->now && m->now->job == j ? m->now : find_waiting(m, j);
	if (!o)
		return err_set(e, ERR_STATE, "job %llu has ended", (unsigned long long)id);
	/* one that waits is answered when its turn comes */
	if (o != m->now)
		work_stop(&j->work);
	else if (!cancel(o))
		return err_set(e, ERR_STATE, "%s cannot be broken off", j->verb);
	return 0;
}

void vmm_wait_gone(struct vmm *m, const char *id, uint64_t ns, vmm_done_fn *done, void *arg)
{
	removals_wait(&m->removals, id, ns, done, arg);
}

/* --- reading --- */

struct jobs *vmm_jobs(struct vmm *m)
{
	return &m->jobs;
}

const struct vm_conf *vmm_conf(const struct vmm *m)
{
	return m->vm ? vm_conf(m->vm) : NULL;
}

int vmm_state(const struct vmm *m)
{
	return m->vm ? (int)vm_state(m->vm) : ROUTE_NO_VM;
}

struct vm *vmm_vm(const struct vmm *m)
{
	return m->now ? NULL : m->vm;
}

bool vmm_is_busy(const struct vmm *m)
{
	return m->now != NULL;
}

struct machine *vmm_machine(const struct vmm *m)
{
	return vmm_vm(m) ? vm_machine(m->vm) : NULL;
}

void vmm_winch(struct vmm *m)
{
	m->winched = m->now != NULL;
	if (vmm_vm(m))
		vm_winch(m->vm);
}

/* The machine to look at; what was known of one that is gone for good is forgotten. */
static struct machine *machine_now(struct vmm *m)
{
	struct machine *machine = vmm_machine(m);
	int state = vmm_state(m);

	/* a job's end changes the state, its beginning does not */
	if (!machine && state != VM_RUNNING && state != VM_PAUSED && state != VM_BREAKPOINT)
		report_fini(&m->report);
	return machine;
}

const struct report *vmm_report(struct vmm *m)
{
	struct machine *machine = machine_now(m);

	if (machine)
		report_look(&m->report, machine);
	return &m->report;
}

const struct json *vmm_tree(struct vmm *m)
{
	struct machine *machine = machine_now(m);

	if (machine)
		report_look_at_tree(&m->report, machine);
	return report_tree(&m->report);
}

/* --- beginning and end --- */

void vmm_new(struct vmm **out, struct loop *ctl, const struct vmm_up *up)
{
	struct vmm *m = NEW(struct vmm);

	m->ctl = ctl;
	m->up = *up;
	list_init(&m->orders);
	jobs_init(&m->jobs, ctl);
	removals_init(&m->removals, ctl);
	*out = m;
}

void vmm_set_watch(struct vmm *m, const struct vmm_watch *w)
{
	m->watch = w;
}

void vmm_use_jobs(struct vmm *m)
{
	m->use_jobs = true;
}

void vmm_free(struct vmm *m)
{
	struct err e = { 0 };
	struct link *at;

	if (!m)
		return;
	cancel_all(m);
	if (m->now)
		job_join(m->now->job);
	err_set(&e, ERR_STATE, "the program ends");
	while ((at = list_take_first(&m->orders)))
		order_refuse(container_of(at, struct order, link), &e);
	loop_unpost(m->ctl, &m->turn);
	vm_free(m->vm);
	removals_end(&m->removals);
	report_fini(&m->report);
	jobs_fini(&m->jobs);
	free(m);
}
