/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: a thread each, told of in the loop, remembered for a while. */
#include "vm/job.h"

#include <string.h>

#include "base/mem.h"
#include "test.h"

struct bench {
	struct loop *ctl;
	struct jobs jobs;
	unsigned int ended;
};

static void begin(struct bench *b)
{
	struct err e = { 0 };

	*b = (struct bench){ 0 };
	assert_int_equal(loop_new(&b->ctl, "control", &e), 0);
	jobs_init(&b->jobs, b->ctl);
}

static void finish(struct bench *b)
{
	jobs_fini(&b->jobs);
	loop_free(b->ctl);
}

static void on_ended(void *arg, struct job *j)
{
	struct bench *b = arg;

	assert_true(loop_here(b->ctl));
	b->ended++;
	job_finish(j, j->result, &j->err);
	loop_stop(b->ctl);
}

static int do_well(void *arg, struct job *j, struct err *e)
{
	struct bench *b = arg;

	(void)e;
	assert_false(loop_here(b->ctl));
	assert_string_equal(thread_name(), "job");
	work_expect(&j->work, 10);
	work_did(&j->work, 10);
	return 0;
}

static int do_badly(void *arg, struct job *j, struct err *e)
{
	(void)arg;
	(void)j;
	return err_set(e, ERR_IO, "the disk is full");
}

static int do_until_stopped(void *arg, struct job *j, struct err *e)
{
	(void)arg;
	while (!work_ask(&j->work))
		;
	return err_set(e, ERR_STATE, "broken off");
}

static struct job *run(struct bench *b, int (*fn)(void *, struct job *, struct err *))
{
	struct job *j = job_new(&b->jobs, "test");
	struct err e = { 0 };

	assert_int_equal(j->state, JOB_WAITING);
	assert_int_equal(job_start(j, fn, on_ended, b, &e), 0);
	assert_int_equal(j->state, JOB_RUNNING);
	return j;
}

TEST(a_job_runs_in_its_thread_and_is_told_of_in_the_loop)
{
	struct bench b;
	struct job *j;

	begin(&b);
	j = run(&b, do_well);
	loop_run(b.ctl);
	assert_int_equal(b.ended, 1);
	assert_int_equal(j->state, JOB_DONE);
	assert_int_equal(j->work.done, 10);
	assert_int_equal(j->work.total, 10);
	assert_true(j->asked_ns <= j->started_ns && j->started_ns <= j->ended_ns);
	finish(&b);
}

TEST(a_failure_keeps_its_reason)
{
	struct bench b;
	struct job *j;

	begin(&b);
	j = run(&b, do_badly);
	loop_run(b.ctl);
	assert_int_equal(j->state, JOB_FAILED);
	assert_int_equal(j->err.kind, ERR_IO);
	assert_string_equal(err_frame(&j->err, 0), "the disk is full");
	finish(&b);
}

TEST(one_that_is_stopped_is_cancelled)
{
	struct bench b;
	struct job *j;

	begin(&b);
	j = run(&b, do_until_stopped);
	work_stop(&j->work);
	loop_run(b.ctl);
	assert_int_equal(j->state, JOB_CANCELLED);
	finish(&b);
}

static void on_joined(void *arg, struct job *j)
{
	struct bench *b = arg;

	b->ended++;
	job_finish(j, j->result, &j->err);
}

TEST(one_that_is_waited_for_is_told_of_once)
{
	struct err e = { 0 };
	struct bench b;
	struct job *j;

	begin(&b);
	for (unsigned int i = 0; i < 50; i++) {
		j = job_new(&b.jobs, "test");
		assert_int_equal(job_start(j, do_until_stopped, on_joined, &b, &e), 0);
		work_stop(&j->work);
		job_join(j);
		assert_int_equal(b.ended, i + 1);
		loop_stop(b.ctl);
		loop_run(b.ctl);
		assert_int_equal(b.ended, i + 1);
	}
	finish(&b);
}

TEST(sixteen_that_have_ended_are_remembered)
{
	struct bench b;
	struct job *waits, *j = NULL;
	unsigned int n = 0;

	begin(&b);
	waits = job_new(&b.jobs, "test");
	for (int i = 0; i < 40; i++) {
		run(&b, do_well);
		loop_run(b.ctl);
	}
	assert_ptr_equal(job_next(&b.jobs, NULL), waits);
	while ((j = job_next(&b.jobs, j)))
		n++;
	assert_int_equal(n, 1 + JOBS_KEPT);
	assert_null(job_find(&b.jobs, 41 - JOBS_KEPT));
	assert_non_null(job_find(&b.jobs, 42 - JOBS_KEPT));
	assert_non_null(job_find(&b.jobs, 41));
	assert_null(job_find(&b.jobs, 42));
	finish(&b);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_job_runs_in_its_thread_and_is_told_of_in_the_loop),
		T(a_failure_keeps_its_reason),
		T(one_that_is_stopped_is_cancelled),
		T(one_that_is_waited_for_is_told_of_once),
		T(sixteen_that_have_ended_are_remembered),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
