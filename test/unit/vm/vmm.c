/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of verbs and the life of a VM under it, with guests of a few instructions on the
 * machine's own /dev/kvm; without it these tests cannot be made and say so.
 */
#include "vm/vmm.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/mem.h"
#include "conf/routes.h"
#include "mem/gmem.h"
#include "tinyvm.h"
#include "vm/machine.h"

#define ANSWERS 128

struct bench {
	struct loop *ctl;
	struct vmm *m;
	struct tiny tiny;
	struct vm_conf conf;
	/* answers, in the order in which they came */
	struct answer {
		enum vmm_verb verb;
		struct err err;
	} answer[ANSWERS];
	unsigned int asked, answered;
	bool in_do; /* a verb is being asked for */
	unsigned int rests, failures, ends;
	/* of VMM_ADD and VMM_REMOVE */
	char disk_path[32];
	struct disk_conf disk;
	struct hotplug_new added;
	struct vmm_removal removal;
};

struct asked {
	struct bench *b;
	enum vmm_verb verb;
};

static void on_rest(void *arg, bool failed)
{
	struct bench *b = arg;

	b->rests++;
	b->failures += failed;
	loop_stop(b->ctl);
}

static void on_end(void *arg)
{
	struct bench *b = arg;

	assert_int_equal(b->answered, b->asked);
	b->ends++;
	loop_stop(b->ctl);
}

static void close_disk(int fd)
{
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, MIB(1)), 0);
	close(fd);
}

static void begin(struct bench *b, const uint8_t *code, size_t len)
{
	const struct vmm_up up = { .rest = on_rest, .end = on_end, .arg = b };
	struct err e = { 0 };

	tiny_needs_kvm();
	*b = (struct bench){ 0 };
	assert_int_equal(loop_new(&b->ctl, "control", &e), 0);
	vmm_new(&b->m, b->ctl, &up);
	vmm_use_jobs(b->m);
	tiny_conf(&b->tiny, &b->conf, code, len);
	strcpy(b->disk_path, "/tmp/virga-vmm-XXXXXX");
	close_disk(mkstemp(b->disk_path));
}

static void finish(struct bench *b)
{
	vmm_free(b->m);
	assert_int_equal(b->answered, b->asked);
	loop_free(b->ctl);
	conf_free(&b->conf);
	desc_free(&disk_desc, &b->disk);
	free(b->added.id);
	unlink(b->disk_path);
	tiny_fini(&b->tiny);
}

static void on_done(void *arg, const struct err *e)
{
	struct asked *a = arg;
	struct bench *b = a->b;

	assert_false(b->in_do);
	assert_true(b->answered < ANSWERS);
	b->answer[b->answered++] = (struct answer){ a->verb, e ? *e : (struct err){ 0 } };
	free(a);
	if (b->answered == b->asked)
		loop_stop(b->ctl);
}

/* A disk that is to come. */
static struct hotplug_new *new_disk(struct bench *b)
{
	desc_free(&disk_desc, &b->disk);
	desc_default(&disk_desc, &b->disk);
	b->disk.path = mem_str(b->disk_path);
	free(b->added.id);
	b->added = (struct hotplug_new){ .kind = &disk_desc, .conf = &b->disk };
	return &b->added;
}

/* What a verb is about: of a device or a file, one that is not there. */
static void *args_of(struct bench *b, enum vmm_verb v)
{
	static struct resize_disk_conf size = { .id = (char *)(uintptr_t) "none" };
	static struct change_disk_conf disk = { .id = (char *)(uintptr_t) "none" };
	static struct resize_conf same; /* says nothing */
	static struct resize_zone_conf zone = { .id = (char *)(uintptr_t) "none" };
	static struct change_net_conf net = { .id = (char *)(uintptr_t) "none" };
	static struct restore_conf from = { .source_url = (char *)(uintptr_t) "file:///none" };

	switch (v) {
	case VMM_RESIZE:
		return &same;
	case VMM_SNAPSHOT:
		return from.source_url;
	case VMM_RESTORE:
		return &from;
	case VMM_RESIZE_ZONE:
		return &zone;
	case VMM_RESIZE_DISK:
		return &size;
	case VMM_CHANGE_DISK:
		return &disk;
	case VMM_CHANGE_NET:
		return &net;
	case VMM_ADD:
		return new_disk(b);
	case VMM_REMOVE:
		return &b->removal;
	default:
		return &b->conf;
	}
}

/* Asks; the answer comes while the loop runs. */
static struct job *ask(struct bench *b, enum vmm_verb v)
{
	struct asked *a = NEW(struct asked);
	struct job *j = NULL;
	struct err e = { 0 };

	*a = (struct asked){ b, v };
	b->in_do = true;
	assert_int_equal(vmm_do(b->m, v, args_of(b, v), on_done, a, &j, &e), 0);
	b->in_do = false;
	b->asked++;
	return j;
}

/* Asks and waits; the kind of error. */
static enum err_kind get(struct bench *b, enum vmm_verb v)
{
	ask(b, v);
	while (b->answered < b->asked)
		loop_run(b->ctl);
	return b->answer[b->answered - 1].err.kind;
}

static void must(struct bench *b, enum vmm_verb v)
{
	char line[ERR_TEXT];

	if (get(b, v) != ERR_NONE)
		fail_msg("%s", err_line(&b->answer[b->answered - 1].err, line, sizeof(line)));
	if (b->answered > ANSWERS / 2)
		b->asked = b->answered = 0;
}

static uint32_t count(const struct bench *b)
{
	uint32_t n = 0;

	if (vmm_machine(b->m))
		assert_int_equal(gmem_read(machine_board(vmm_machine(b->m))->mem, GPA(TINY_COUNT),
					   &n, sizeof(n)),
				 0);
	return n;
}

static void counts(const struct bench *b)
{
	uint32_t before = count(b);

	for (int i = 0; i < 2000; i++) {
		if (count(b) != before)
			return;
		tiny_nap(5000000);
	}
	fail_msg("the guest does not count");
}

static void stands(const struct bench *b)
{
	uint32_t before = count(b);

	for (int i = 0; i < 4; i++) {
		tiny_nap(5000000);
		assert_int_equal(count(b), before);
	}
}

static unsigned int entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void live_once(struct bench *b)
{
	struct vm_conf again;

	conf_copy(&again, &b->conf);
	must(b, VMM_CREATE);
	b->conf = again;
	must(b, VMM_BOOT);
	counts(b);
	must(b, VMM_PAUSE);
	stands(b);
	must(b, VMM_RESUME);
	counts(b);
	must(b, VMM_REBOOT);
	counts(b);
	must(b, VMM_PAUSE);
	must(b, VMM_REBOOT);
	counts(b);
	must(b, VMM_SHUTDOWN);
	assert_null(vmm_machine(b->m));
	assert_non_null(vmm_conf(b->m));
	must(b, VMM_BOOT);
	counts(b);
	must(b, VMM_DELETE);
	assert_null(vmm_conf(b->m));
}

TEST(a_vm_lives_and_lives_again_and_leaves_nothing)
{
	unsigned int fds = 0, threads = 0;
	struct bench b;

	begin(&b, tiny_counts, sizeof(tiny_counts));
	for (int i = 0; i < 25; i++) {
		live_once(&b);
		if (!i) {
			fds = entries("/proc/self/fd");
			threads = entries("/proc/self/task");
		}
		assert_int_equal(entries("/proc/self/fd"), fds);
		assert_int_equal(entries("/proc/self/task"), threads);
	}
	finish(&b);
}

/* The verbs by which an empty place comes to each state. */
static const struct way {
	int state;
	unsigned int count;
	enum vmm_verb verb[4];
} ways[] = {
	{ ROUTE_NO_VM, 0, { 0 } },
	{ VM_CREATED, 1, { VMM_CREATE } },
	{ VM_RUNNING, 2, { VMM_CREATE, VMM_BOOT } },
	{ VM_PAUSED, 3, { VMM_CREATE, VMM_BOOT, VMM_PAUSE } },
	{ VM_SHUTDOWN, 3, { VMM_CREATE, VMM_BOOT, VMM_SHUTDOWN } },
};

/* Where each verb leads from each of those states; a kind of error where it may not be. */
enum { NO = -10, ABSENT = -11 };
static const int leads[][ARRAY_LEN(ways)] = {
	[VMM_CREATE] = { VM_CREATED, NO, NO, NO, NO },
	[VMM_BOOT] = { ABSENT, VM_RUNNING, NO, NO, VM_RUNNING },
	[VMM_SHUTDOWN] = { ABSENT, NO, VM_SHUTDOWN, VM_SHUTDOWN, NO },
	[VMM_DELETE] = { ROUTE_NO_VM, ROUTE_NO_VM, ROUTE_NO_VM, ROUTE_NO_VM, ROUTE_NO_VM },
	[VMM_REBOOT] = { ABSENT, NO, VM_RUNNING, VM_RUNNING, NO },
	[VMM_PAUSE] = { ABSENT, NO, VM_PAUSED, NO, NO },
	[VMM_RESUME] = { ABSENT, NO, NO, VM_RUNNING, NO },
	[VMM_POWER_BUTTON] = { ABSENT, NO, VM_RUNNING, VM_PAUSED, NO },
	[VMM_NMI] = { ABSENT, NO, VM_RUNNING, VM_PAUSED, NO },
	[VMM_COREDUMP] = { ABSENT, NO, VM_RUNNING, VM_PAUSED, NO },
	[VMM_SNAPSHOT] = { ABSENT, NO, NO, ABSENT, NO },
	[VMM_RESTORE] = { ABSENT, NO, NO, NO, NO },
	[VMM_RECLAIM] = { ABSENT, NO, ABSENT, NO, NO },
	[VMM_RESIZE_DISK] = { ABSENT, NO, ABSENT, ABSENT, NO },
	[VMM_CHANGE_DISK] = { ABSENT, ABSENT, ABSENT, ABSENT, ABSENT },
	[VMM_CHANGE_NET] = { ABSENT, ABSENT, ABSENT, ABSENT, ABSENT },
	[VMM_RESIZE] = { ABSENT, VM_CREATED, VM_RUNNING, NO, VM_SHUTDOWN },
	[VMM_RESIZE_ZONE] = { ABSENT, ABSENT, ABSENT, NO, ABSENT },
	[VMM_ADD] = { ABSENT, VM_CREATED, VM_RUNNING, VM_PAUSED, VM_SHUTDOWN },
	[VMM_REMOVE] = { ABSENT, ABSENT, ABSENT, ABSENT, ABSENT },
	[VMM_END] = { ROUTE_NO_VM, ROUTE_NO_VM, ROUTE_NO_VM, ROUTE_NO_VM, ROUTE_NO_VM },
};

static void check_verb(struct bench *b, const struct way *w, enum vmm_verb v)
{
	int to = leads[v][w - ways];
	enum err_kind kind;

	for (unsigned int i = 0; i < w->count; i++)
		must(b, w->verb[i]);
	assert_int_equal(vmm_state(b->m), w->state);
	kind = get(b, v);
	if (to == NO || to == ABSENT) {
		assert_int_equal(kind, to == NO ? ERR_STATE : ERR_ABSENT);
		to = w->state;
	} else if (v != VMM_COREDUMP) {
		assert_int_equal(kind, ERR_NONE);
	}
	assert_int_equal(vmm_state(b->m), to);
}

TEST(a_verb_does_what_its_state_allows_and_nothing_else)
{
	struct vm_conf conf;
	struct bench b;

	begin(&b, tiny_counts, sizeof(tiny_counts));
	b.removal = (struct vmm_removal){ .id = "nothing" };
	conf_copy(&conf, &b.conf);
	for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
		for (enum vmm_verb v = 0; v < VMM_VERBS; v++) {
			check_verb(&b, &ways[w], v);
			must(&b, VMM_DELETE);
			conf_free(&b.conf);
			conf_copy(&b.conf, &conf);
		}
	}
	conf_free(&conf);
	finish(&b);
}

TEST(verbs_are_carried_out_in_the_order_in_which_they_came)
{
	static const enum vmm_verb order[] = { VMM_CREATE,   VMM_BOOT,	 VMM_PAUSE, VMM_RESUME,
					       VMM_NMI,	     VMM_REBOOT, VMM_PAUSE, VMM_SHUTDOWN,
					       VMM_SHUTDOWN, VMM_DELETE, VMM_BOOT };
	static const enum err_kind said[] = { [8] = ERR_STATE, [10] = ERR_ABSENT };
	struct bench b;

	begin(&b, tiny_counts, sizeof(tiny_counts));
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		/* one that cancels would take the boots and reboots before it with it */
		if (order[i] == VMM_SHUTDOWN || order[i] == VMM_DELETE)
			while (b.answered < b.asked)
				loop_run(b.ctl);
		ask(&b, order[i]);
	}
	while (b.answered < b.asked)
		loop_run(b.ctl);
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		assert_int_equal(b.answer[i].verb, order[i]);
		assert_int_equal(b.answer[i].err.kind, said[i]);
	}
	finish(&b);
}

/* A boot that takes its time. */
static void begin_slowly(struct bench *b)
{
	begin(b, tiny_counts, sizeof(tiny_counts));
	b->conf.memory.size = 4ull << 30;
	b->conf.memory.prefault = true;
	must(b, VMM_CREATE);
}

static struct job *until_it_runs(struct bench *b, struct job *j)
{
	struct err e = { 0 };

	(void)e;
	while (!j->work.total && j->state != JOB_FAILED) {
		loop_stop(b->ctl);
		loop_run(b->ctl);
	}
	assert_int_equal(j->state, JOB_RUNNING);
	return j;
}

TEST(a_shutdown_breaks_off_a_boot_that_prefaults_and_succeeds)
{
	struct bench b;
	struct job *j;

	begin_slowly(&b);
	j = until_it_runs(&b, ask(&b, VMM_BOOT));
	assert_true(j->cancellable);
	assert_null(vmm_machine(b.m));
	assert_int_equal(vmm_state(b.m), VM_CREATED);
	assert_int_equal(get(&b, VMM_SHUTDOWN), ERR_NONE);
	assert_int_equal(j->state, JOB_CANCELLED);
	assert_true(j->work.done < j->work.total);
	assert_int_equal(b.answer[1].verb, VMM_BOOT);
	assert_int_equal(b.answer[1].err.kind, ERR_STATE);
	assert_int_equal(vmm_state(b.m), VM_CREATED);
	finish(&b);
}

TEST(a_job_is_cancelled_by_its_number)
{
	struct err e = { 0 };
	struct bench b;
	struct job *j, *waits;

	begin_slowly(&b);
	j = ask(&b, VMM_BOOT);
	waits = ask(&b, VMM_REBOOT);
	until_it_runs(&b, j);
	assert_int_equal(vmm_cancel(b.m, 1000, &e), -1);
	assert_int_equal(e.kind, ERR_ABSENT);
	assert_int_equal(vmm_cancel(b.m, waits->id, &e), 0);
	assert_int_equal(vmm_cancel(b.m, j->id, &e), 0);
	while (b.answered < b.asked)
		loop_run(b.ctl);
	assert_int_equal(j->state, JOB_CANCELLED);
	assert_int_equal(waits->state, JOB_CANCELLED);
	assert_int_equal(vmm_cancel(b.m, j->id, &e), -1);
	assert_int_equal(e.kind, ERR_STATE);
	finish(&b);
}

TEST(the_end_of_the_program_breaks_off_a_boot_and_answers_all)
{
	struct bench b;

	begin_slowly(&b);
	until_it_runs(&b, ask(&b, VMM_BOOT));
	ask(&b, VMM_PAUSE);
	ask(&b, VMM_REBOOT);
	finish(&b);
	for (int i = 1; i < 4; i++)
		assert_int_equal(b.answer[i].err.kind, ERR_STATE);
}

TEST(too_many_that_wait_are_sent_away)
{
	struct err e = { 0 };
	struct bench b;

	begin(&b, tiny_counts, sizeof(tiny_counts));
	for (int i = 0; i < VMM_WAITING_MAX; i++)
		ask(&b, VMM_NMI);
	assert_int_equal(vmm_do(b.m, VMM_NMI, NULL, NULL, NULL, NULL, &e), -1);
	assert_int_equal(e.kind, ERR_BUSY);
	while (b.answered < b.asked)
		loop_run(b.ctl);
	b.asked = b.answered = 0;
	must(&b, VMM_CREATE);
	finish(&b);
}

TEST(the_guests_power_off_is_told_and_the_config_stays)
{
	struct bench b;

	begin(&b, tiny_ends, sizeof(tiny_ends));
	must(&b, VMM_CREATE);
	for (unsigned int i = 1; i < 4; i++) {
		must(&b, VMM_BOOT);
		while (b.rests < i)
			loop_run(b.ctl);
		assert_int_equal(b.failures, 0);
		assert_int_equal(vmm_state(b.m), VM_SHUTDOWN);
		assert_int_equal(tiny_said(&b.tiny), 'R');
	}
	finish(&b);
}

/* The guest resets itself every few milliseconds; pauses fall before, into and behind that. */
TEST(a_guest_that_resets_is_paused_at_any_moment)
{
	struct bench b;

	begin(&b, tiny_resets, sizeof(tiny_resets));
	must(&b, VMM_CREATE);
	must(&b, VMM_BOOT);
	for (int i = 0; i < 100; i++) {
		must(&b, VMM_PAUSE);
		if (i % 10 == 0)
			stands(&b);
		must(&b, VMM_RESUME);
		tiny_nap(i * 100000);
	}
	counts(&b);
	assert_int_equal(b.rests, 0);
	finish(&b);
}

TEST(the_end_is_told_when_it_has_been_answered)
{
	struct bench b;

	begin(&b, tiny_counts, sizeof(tiny_counts));
	must(&b, VMM_CREATE);
	must(&b, VMM_BOOT);
	ask(&b, VMM_END);
	while (!b.ends)
		loop_run(b.ctl);
	assert_int_equal(b.answer[b.answered - 1].err.kind, ERR_NONE);
	assert_null(vmm_conf(b.m));
	finish(&b);
}

static void take_out(struct bench *b, enum hotplug_how how)
{
	b->removal = (struct vmm_removal){ .id = b->added.id, .how = how };
	must(b, VMM_REMOVE);
}

TEST(devices_come_and_go_in_every_state_and_leave_nothing)
{
	unsigned int fds, threads;
	struct bench b;

	begin(&b, tiny_counts, sizeof(tiny_counts));
	for (size_t w = 1; w < ARRAY_LEN(ways); w++) {
		bool has_machine = ways[w].state == VM_RUNNING || ways[w].state == VM_PAUSED;
		struct vm_conf again;

		conf_copy(&again, &b.conf);
		for (unsigned int i = 0; i < ways[w].count; i++)
			must(&b, ways[w].verb[i]);
		for (int i = 0; i < 20; i++) {
			must(&b, VMM_ADD);
			assert_int_equal(b.added.plugged, has_machine);
			assert_int_equal(vmm_conf(b.m)->disks.count, 1);
			take_out(&b, HOTPLUG_FORCE);
			assert_true(b.removal.gone);
			assert_int_equal(vmm_conf(b.m)->disks.count, 0);
			fds = i ? fds : entries("/proc/self/fd");
			threads = i ? threads : entries("/proc/self/task");
			assert_int_equal(entries("/proc/self/fd"), fds);
			assert_int_equal(entries("/proc/self/task"), threads);
		}
		must(&b, VMM_DELETE);
		conf_free(&b.conf);
		b.conf = again;
	}
	finish(&b);
}

TEST(a_device_that_came_is_there_after_a_reboot_at_its_place)
{
	char bdf[13];
	struct bench b;

	begin(&b, tiny_counts, sizeof(tiny_counts));
	must(&b, VMM_CREATE);
	must(&b, VMM_BOOT);
	must(&b, VMM_ADD);
	memcpy(bdf, b.added.bdf, sizeof(bdf));
	must(&b, VMM_REBOOT);
	assert_non_null(dev_find(machine_board(vmm_machine(b.m)), b.added.id));
	assert_non_null(json_get(vmm_tree(b.m), b.added.id));
	assert_int_equal(conf_slot(disk, &vmm_conf(b.m)->disks.items[0]),
			 strtol(bdf + 8, NULL, 16));
	finish(&b);
}

TEST(a_device_that_is_refused_leaves_the_config_as_it_was)
{
	struct bench b;

	begin(&b, tiny_counts, sizeof(tiny_counts));
	must(&b, VMM_CREATE);
	must(&b, VMM_BOOT);
	must(&b, VMM_ADD);
	assert_int_equal(get(&b, VMM_ADD), ERR_TAKEN); /* the image is locked */
	assert_int_equal(vmm_conf(b.m)->disks.count, 1);
	finish(&b);
}

TEST(what_the_guest_was_asked_for_and_kept_goes_when_it_ends)
{
	static const enum vmm_verb ends[] = { VMM_REBOOT, VMM_SHUTDOWN };
	struct bench b;

	begin(&b, tiny_counts, sizeof(tiny_counts));
	must(&b, VMM_CREATE);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		if (vmm_state(b.m) != VM_RUNNING)
			must(&b, VMM_BOOT);
		must(&b, VMM_ADD);
		take_out(&b, HOTPLUG_ASK);
		take_out(&b, HOTPLUG_ASK);
		assert_false(b.removal.gone);
		assert_int_equal(vmm_conf(b.m)->disks.count, 1);
		must(&b, ends[i]);
		assert_int_equal(vmm_conf(b.m)->disks.count, 0);
	}
	finish(&b);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_vm_lives_and_lives_again_and_leaves_nothing),
		T(a_verb_does_what_its_state_allows_and_nothing_else),
		T(verbs_are_carried_out_in_the_order_in_which_they_came),
		T(a_shutdown_breaks_off_a_boot_that_prefaults_and_succeeds),
		T(a_job_is_cancelled_by_its_number),
		T(the_end_of_the_program_breaks_off_a_boot_and_answers_all),
		T(too_many_that_wait_are_sent_away),
		T(the_guests_power_off_is_told_and_the_config_stays),
		T(a_guest_that_resets_is_paused_at_any_moment),
		T(devices_come_and_go_in_every_state_and_leave_nothing),
		T(a_device_that_came_is_there_after_a_reboot_at_its_place),
		T(a_device_that_is_refused_leaves_the_config_as_it_was),
		T(what_the_guest_was_asked_for_and_kept_goes_when_it_ends),
		T(the_end_is_told_when_it_has_been_answered),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
