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

/* A cookie of its own, which others may take from here. */
static int create(struct coresched *s, struct err *e)
{
	int r = prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD, 0);

	s->leader = (int)syscall(SYS_gettid);
	return result(s, r, e);
}

/* Lock held. */
static int join(struct coresched *s, struct err *e)
{
	int r;

	if (s->absent)
		return 0;
	if (s->how == CORE_SCHEDULING_VCPU || !s->leader)
		return create(s, e);
	r = prctl(PR_SCHED_CORE, PR_SCHED_CORE_SHARE_FROM, s->leader, PR_SCHED_CORE_SCOPE_THREAD,
		  0);
	/* a guest may end while its last vCPUs are being started; apart from all is safe too */
	if (r && errno == ESRCH)
		return create(s, e);
	return result(s, r, e);
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
