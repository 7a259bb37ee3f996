/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words for SIGBUS. The handler runs on whichever thread met the page, and uses nothing but
 * system calls that every thread may make. See lost.h.
 */
#include "mem/lost.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

static void say(const char *words)
{
	ssize_t n = write(STDERR_FILENO, words, strlen(words));

	if (log_fd() != STDERR_FILENO)
		n = write(log_fd(), words, strlen(words));
	(void)n; /* there is nobody to tell */
}

/* The end that there would have been without a handler, so that whoever waits for us sees SIGBUS. */
static void on_sigbus(int sig)
{
	static const char *const words[] = {
		"virga: guest memory is gone: the file behind it was made shorter, or its disk or ",
		"the pool of huge pages is empty; --memory reserve=on takes it at the start\n",
	};
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t set;

	for (unsigned int i = 0; i < ARRAY_LEN(words); i++)
		say(words[i]);
	sigaction(sig, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	syscall(SYS_tgkill, getpid(), (int)syscall(SYS_gettid), sig);
}

void lost_told(void)
{
	struct sigaction sa = { .sa_handler = on_sigbus };

	sigfillset(&sa.sa_mask);
	sigaction(SIGBUS, &sa, NULL);
}
