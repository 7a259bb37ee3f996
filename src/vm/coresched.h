/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Core scheduling: which threads the kernel may let run side by side on the hyperthreads of one
 * core. vCPU threads take a cookie of the kernel's, one for all of a VM or one each; two threads
 * share a core only with the same cookie. Linux Documentation/admin-guide/hw-vuln/core-scheduling.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"
#include "conf/conf.h"

struct coresched {
	enum core_scheduling how;
	pthread_mutex_t lock;
	int leader;  /* the thread that has the VM's cookie; 0 = nobody yet */
	bool absent; /* the kernel has nothing of it, or the host no hyperthreads */
};

void coresched_init(struct coresched *s, enum core_scheduling how);
void coresched_fini(struct coresched *s);
/* The calling thread takes its cookie, before it runs a guest. Where the kernel knows none (before
 * Linux 5.14, or built without) or cores have one thread each there is nothing to do. */
MUST int coresched_join(struct coresched *s, struct err *e);
