/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs, their threads and what is remembered of them. See job.h.
 */
#include "vm/job.h"

#include "base/bits.h"
#include "base/mem.h"

void jobs_init(struct jobs *s, struct loop *ctl)
{
	*s = (struct jobs){ .ctl = ctl };
	list_init(&s->list);
}

static void forget(struct job *j)
{
	list_drop(&j->link);
	free(j);
}

void jobs_fini(struct jobs *s)
{
	list_each (at, &s->list)
		forget(container_of(at, struct job, link));
}

struct job *job_next(struct jobs *s, const struct job *after)
{
	const struct link *at = after ? after->link.next : s->list.next;

	return at == &s->list ? NULL : container_of(at, struct job, link);
}

struct job *job_find(struct jobs *s, uint64_t id)
{
	struct job *j = NULL;

	while ((j = job_next(s, j)))
		if (j->id == id)
			return j;
	return NULL;
}

struct job *job_new(struct jobs *s, const char *verb)
{
	struct job *j = NEW(struct job);

	j->id = ++s->last_id;
	j->verb = verb;
	j->jobs = s;
	j->asked_ns = loop_now_ns();
	list_add_tail(&s->list, &j->link);
	return j;
}

static bool has_ended(const struct job *j)
{
	return j->state > JOB_RUNNING;
}

static void forget_oldest(struct jobs *s)
{
	list_each (at, &s->list) {
		struct job *j = container_of(at, struct job, link);

		if (!has_ended(j))
			continue;
		forget(j);
		s->ended--;
		return;
	}
}

void job_finish(struct job *j, int result, const struct err *why)
{
	struct jobs *s = j->jobs;

	j->ended_ns = loop_now_ns();
	j->state = result == 0 ? JOB_DONE : j->work.stopped ? JOB_CANCELLED : JOB_FAILED;
	if (result < 0 && why != &j->err)
		j->err = *why;
	if (++s->ended > JOBS_KEPT)
		forget_oldest(s);
}

/* --- its thread --- */

static void on_over(void *arg)
{
	job_join(arg);
}

static void job_main(void *arg)
{
	struct job *j = arg;

	j->result = j->fn(j->arg, j, &j->err);
	loop_post(j->jobs->ctl, &j->over, on_over, j);
}

/* --- the control thread --- */

void job_join(struct job *j)
{
	thread_join(&j->thread);
	loop_unpost(j->jobs->ctl, &j->over);
	j->ended(j->arg, j);
}

int job_start(struct job *j, int (*fn)(void *arg, struct job *j, struct err *e),
	      void (*ended)(void *arg, struct job *j), void *arg, struct err *e)
{
	j->fn = fn;
	j->ended = ended;
	j->arg = arg;
	j->started_ns = loop_now_ns();
	j->state = JOB_RUNNING;
	if (thread_start(&j->thread, "job", NULL, job_main, j, e) == 0)
		return 0;
	j->state = JOB_WAITING;
	return -1;
}
