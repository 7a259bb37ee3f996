/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading of filters, and the handler that names who called what. The programs are constant
 * (guard/filters.h) and made for trapping; what is loaded is a copy with the process's own number, in
 * which the other ways exchange the trap for another answer.
 *
 * Runs in the thread that is being confined; the handler in the thread that broke its profile,
 * where only what a signal handler may do is done. See seccomp(2).
 */
#include "guard/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "guard/filters.h"

/* Written before there are threads, only read after that. */
static struct {
	enum seccomp_way way;
} seccomp_state;

const char *seccomp_call_name(unsigned int nr)
{
	const char *name = seccomp_calls;

	if (nr >= seccomp_call_count)
		return NULL;
	while (nr--)
		while (*name++)
			;
	return *name ? name : NULL;
}

/* --- the handler --- */

struct words {
	char text[256];
	size_t used;
};

static void words_add(struct words *w, const char *s)
{
	while (*s && w->used < sizeof(w->text))
		w->text[w->used++] = *s++;
}

static void words_add_number(struct words *w, unsigned int v)
{
	char digits[12], *p = digits + sizeof(digits) - 1;

	*p = '\0';
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	words_add(w, p);
}

static void put(int fd, const struct words *w)
{
	for (size_t done = 0; done < w->used;) {
		ssize_t n = write(fd, w->text + done, w->used - done);

		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

/* The end that the kernel would have given without a handler, so that whoever waits for us sees
 * SIGSYS. */
static void die(void)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t set;

	sigaction(SIGSYS, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	syscall(SYS_tgkill, getpid(), gettid(), SIGSYS);
	_exit(1);
}

static void on_sigsys(int sig __attribute__((unused)), siginfo_t *info,
		      void *context __attribute__((unused)))
{
	unsigned int nr = (unsigned int)info->si_syscall;
	const char *name = seccomp_call_name(nr);
	struct words w = { .used = 0 };

	words_add(&w, log_name());
	words_add(&w, ": thread ");
	words_add(&w, thread_name());
	words_add(&w, " made the system call ");
	words_add(&w, name ? name : "without a name");
	words_add(&w, " (");
	words_add_number(&w, nr);
	words_add(
		&w,
		"), which its seccomp profile does not allow; --seccomp log lets it run and notes "
		"every such call in the audit log\n");
	put(STDERR_FILENO, &w);
	if (log_fd() != STDERR_FILENO)
		put(log_fd(), &w);
	die();
}

/* --- loading --- */

static const struct seccomp_filter *filter_find(const char *profile)
{
	for (unsigned int i = 0; i < seccomp_filter_count; i++)
		if (!strcmp(seccomp_filters[i].profile, profile))
			return &seccomp_filters[i];
	return NULL;
}

static int load(const struct sock_filter *code, unsigned short len)
{
	/* The kernel does not write to it, though the type says so. */
	struct sock_fprog prog = { .len = len, .filter = (struct sock_filter *)(uintptr_t)code };

	/*
	 * Older kernels slow down every filtered thread against speculation by code that it runs
	 * for others. Ours runs nobody's code: the guest's own speculation is KVM's matter.
	 */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog) ==
	    0)
		return 0;
	return errno;
}

/* The program with this process's number in it, and an answer to what it does not allow. */
static int load_with_answer(const struct seccomp_filter *f, uint32_t answer)
{
	AUTO_FREE struct sock_filter *code = mem_array(f->len, sizeof(*code));
	uint32_t own = (uint32_t)getpid();

	memcpy(code, f->code, f->len * sizeof(*code));
	for (unsigned int i = 0; i < f->len; i++) {
		if (code[i].code == (BPF_RET | BPF_K) && code[i].k == SECCOMP_RET_TRAP)
			code[i].k = answer;
		if (code[i].code == (BPF_JMP | BPF_JEQ | BPF_K) && code[i].k == seccomp_own_process)
			code[i].k = own;
	}
	return load(code, f->len);
}

static int confine(const char *profile)
{
	const struct seccomp_filter *f = filter_find(profile);

	if (seccomp_state.way == SECCOMP_WAY_OFF)
		return 0;
	if (!f)
		return ENOENT;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return errno;
	switch (seccomp_state.way) {
	case SECCOMP_WAY_LOG:
		return load_with_answer(f, SECCOMP_RET_LOG);
	case SECCOMP_WAY_ERRNO:
		return load_with_answer(f, SECCOMP_RET_ERRNO | EPERM);
	default:
		return load_with_answer(f, SECCOMP_RET_TRAP);
	}
}

int seccomp_setup(unsigned int way, struct err *e)
{
	struct sigaction sa = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };

	if (way >= SECCOMP_WAY_COUNT)
		return err_set(e, ERR_BAD, "--seccomp: no such way");
	sigfillset(&sa.sa_mask);
	if (way == SECCOMP_WAY_TRAP && sigaction(SIGSYS, &sa, NULL) < 0)
		return err_os(e, ERR_IO, "handle SIGSYS");
	seccomp_state.way = (enum seccomp_way)way;
	thread_set_filter(confine);
	return 0;
}
