/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Core scheduling of vCPU threads: the first one makes the VM's cookie, the others take it from
 * there. Called by each vCPU's thread at its start. See coresched.h.
 */
#include "vm/coresched.h"

#include <errno.h>
#include <linux/prctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

void coresched_init(struct coresched *s, enum core_scheduling how)
{
	*s = (struct coresched){ .how = how };
	pthread_mutex_init(&s->lock, NULL);
}

void coresched_fini(struct coresched *s)
{
	pthread_mutex_destroy(&s->lock);
}

/* EINVAL: the kernel does not know the call. ENODEV: no core has two threads. */
static int result(struct coresched *s, int r, struct err *e)
{
	if (!r)
		return 0;
	if (errno != EINVAL && errno != ENODEV)
		return err_os(e, ERR_IO, "core scheduling");
	s->absent = true;
	log_info("no core scheduling: %s",
		 errno == EINVAL ? "this kernel has none" : "no core has two threads");
	return 0;
}

static int create(struct coresched *s, struct err *e)
{
	return result(
		s, prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD, 0), e);
}

static int share(struct coresched *s, struct err *e)
{
	return result(s,
		      prctl(PR_SCHED_CORE, PR_SCHED_CORE_SHARE_FROM, s->leader,
			    PR_SCHED_CORE_SCOPE_THREAD, 0),
		      e);
}

/* Lock held. */
static int join(struct coresched *s, struct err *e)
{
	if (s->absent)
		return 0;
	if (s->how == CORE_SCHEDULING_VM && s->leader)
		return share(s, e);
	if (create(s, e))
		return -1;
	s->leader = (int)syscall(SYS_gettid);
	return 0;
}

int coresched_join(struct coresched *s, struct err *e)
{
	int r;

	if (s->how == CORE_SCHEDULING_OFF)
		return 0;
	pthread_mutex_lock(&s->lock);
	r = join(s, e);
	pthread_mutex_unlock(&s->lock);
	return r;
}
