/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program: the order of things is its whole content. Read the command line; confine the control
 * thread; build the VM, so that everything is opened under the filter; run the control loop until
 * the VM or a signal ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "api/apisock.h"
#include "api/dbus.h"
#include "api/metrics.h"
#include "base/bits.h"
#include "base/err.h"
#include "base/event.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/thread.h"
#include "conf/check.h"
#include "conf/cli.h"
#include "conf/doc.h"
#include "guard/seccomp.h"
#include "mem/lost.h"
#include "vm/gdb.h"
#include "vm/vmm.h"

/* What the table of descriptors has room for from the start: hundreds of vCPUs and queues. */
#define HEAP_AT_START KIB(112)
#define DESCRIPTORS 1024

struct program {
	struct cli cli;
	struct loop *loop;
	struct loop_fd signals;
	int signal_fd;
	struct vmm *vmm;
	const char *sockets[3]; /* that we listen on; ended by NULL */
	struct apisock *sock;
	struct api *api;
	struct dbus *dbus;
	struct gdb *gdb;  /* or NULL */
	const char *name; /* under which we were started */
	struct err *why;  /* the VM of the command line could not be booted */
	bool ending;	  /* a signal has said so */
	int status;
};

/* Signals that end the program the normal way, and the one that says the terminal has another
 * size. */
static const int ending[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };

static void on_signal(void *arg, uint32_t events)
{
	struct program *p = arg;
	struct signalfd_siginfo s;

	(void)events;
	while (read(p->signal_fd, &s, sizeof(s)) == (ssize_t)sizeof(s)) {
		if (s.ssi_signo == SIGWINCH) {
			vmm_winch(p->vmm);
			continue;
		}
		log_info("signal %s: shutting down", strsignal((int)s.ssi_signo));
		p->ending = true;
		loop_stop(p->loop);
	}
}

/* While the VM is built the loop does not run; what waits for it is looked at here. */
static bool is_ending(void *arg)
{
	struct program *p = arg;

	on_signal(p, 0);
	return p->ending;
}

static void on_rest(void *arg, bool failed)
{
	struct program *p = arg;

	if (p->cli.vmm.no_shutdown)
		return;
	if (failed && !p->ending)
		p->status = 1;
	loop_stop(p->loop);
}

static void on_end(void *arg)
{
	struct program *p = arg;

	loop_stop(p->loop);
}

static void on_booted(void *arg, const struct err *e)
{
	struct program *p = arg;

	if (!e)
		return;
	*p->why = *e;
	loop_stop(p->loop);
}

/* One that is closed would become that of a file which we open, and take the words meant for a
 * terminal. */
static int fill_standard(struct err *e)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return err_os(e, ERR_IO, "open /dev/null in place of closed descriptor %d",
				      fd);
	return 0;
}

/* Queues and interrupts have several descriptors each; the usual limit is low for the sake of
 * select(2) only. */
static void raise_descriptor_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur == r.rlim_max)
		return;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		log_debug("the limit of descriptors stays: %s", strerror(errno));
}

/* The kernel's table of descriptors grows by doubling, and waits for a grace period each time where
 * threads share it, which takes milliseconds. As long as there is one thread it costs nothing. */
static void widen_descriptor_table(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, DESCRIPTORS - 1);

	if (fd >= 0)
		close(fd);
}

static int watch_signals(struct program *p, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
		sigaddset(&set, ending[i]);
	sigaddset(&set, SIGWINCH);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL))
		return err_os(e, ERR_IO, "block signals");
	p->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (p->signal_fd < 0)
		return err_os(e, ERR_IO, "make a signal descriptor");
	return loop_watch(p->loop, &p->signals, p->signal_fd, EPOLLIN, on_signal, p, e);
}

static int start_words(const struct vmm_conf *c, struct err *e)
{
	int fd = STDERR_FILENO;
	bool fifo;

	if (c->log_file) {
		fd = fd_open_out(c->log_file, 0600, &fifo, e);
		if (fd < 0)
			return err_in(e, "--log-file");
	}
	log_init((enum log_level)(LOG_WARN + c->verbosity), fd);
	if (c->log_format && log_format(c->log_format, e) < 0)
		return err_in(e, "--log-format");
	return 0;
}

static int start_events(const struct event_monitor_conf *c, struct err *e)
{
	if (!c)
		return 0;
	if ((c->path ? event_to_path(c->path, e) : event_to_fd(c->fd, e)) < 0 || event_start(e) < 0)
		return err_in(e, "--event-monitor");
	return 0;
}

/* Can somebody bring a VM later? */
static bool has_api(const struct program *p)
{
	return p->cli.vmm.api_socket || p->cli.vmm.dbus_service_name;
}

/* Can somebody talk while a VM is booted? */
static bool has_doors(const struct program *p)
{
	return has_api(p) || p->cli.vmm.gdb;
}

/* From here on clients can connect; they are answered once the loop runs. */
static int start_api(struct program *p, struct err *e)
{
	struct api_args a = { .fd = -1, .ctl = p->loop, .vmm = p->vmm, .program = p->name };

	if (!has_api(p))
		return 0;
	if (p->cli.vmm.api_socket && apisock_new(&p->sock, p->cli.vmm.api_socket, e) < 0)
		return err_in(e, "--api-socket");
	if (p->sock)
		a.fd = apisock_fd(p->sock);
	if (api_new(&p->api, &a, e) < 0)
		return -1;
	return dbus_new(&p->dbus, p->api, p->loop, &p->cli.vmm, e);
}

static bool has_payload(const struct vm_conf *c)
{
	return c->payload.kernel || c->payload.firmware || c->payload.igvm;
}

/* Can and must somebody bring a VM later? */
static bool begins_empty(const struct program *p)
{
	return has_api(p) && !p->cli.vmm.restore && !has_payload(&p->cli.vm);
}

/* With nobody to talk to meanwhile it is done at once, which is quicker than a job. */
static int do_long(struct program *p, enum vmm_verb v, void *args, struct err *e)
{
	if (has_doors(p))
		return vmm_do(p->vmm, v, args, on_booted, p, NULL, e);
	return vmm_do_now(p->vmm, v, args, e);
}

/* Only a question: there is no VM then. */
static bool only_checks(const struct program *p)
{
	return p->cli.vmm.restore && p->cli.vmm.restore->check;
}

/* The VM of the command line. */
static int make_vm(struct program *p, struct err *e)
{
	if (has_doors(p))
		vmm_use_jobs(p->vmm);
	if (begins_empty(p))
		return 0;
	if (only_checks(p))
		return vmm_do_now(p->vmm, VMM_RESTORE, p->cli.vmm.restore, e);
	if (p->cli.vmm.restore)
		return do_long(p, VMM_RESTORE, p->cli.vmm.restore, e);
	p->cli.vm.gdb = p->cli.vmm.gdb != NULL;
	if (vmm_do_now(p->vmm, VMM_CREATE, &p->cli.vm, e) < 0)
		return -1;
	return do_long(p, VMM_BOOT, NULL, e);
}

static void list_sockets(struct program *p)
{
	const struct vmm_conf *c = &p->cli.vmm;
	unsigned int n = 0;

	if (c->api_socket && c->api_socket->path)
		p->sockets[n++] = c->api_socket->path;
	if (c->gdb)
		p->sockets[n++] = c->gdb->path;
}

static int check(const struct program *p, struct err *e)
{
	const struct restore_conf *r = p->cli.vmm.restore;

	if (r && !r->resume && !r->check && !has_api(p))
		log_warn(
			"the restored VM is paused, and without --api-socket nobody can let it go on: "
			"say resume=on");
	if (begins_empty(p) || r)
		return 0;
	return conf_check(&p->cli.vm, e);
}

static int run(struct program *p, struct err *e)
{
	const struct vmm_up up = {
		.rest = on_rest,
		.end = on_end,
		.is_ending = is_ending,
		.arg = p,
		.sockets = p->sockets,
	};

	list_sockets(p);
	p->why = e;
	if (conf_check_vmm(&p->cli.vmm, e) < 0 || start_words(&p->cli.vmm, e) < 0 ||
	    check(p, e) < 0)
		return -1;
	raise_descriptor_limit();
	widen_descriptor_table();
	lost_told();
	if (seccomp_setup(p->cli.vmm.seccomp, e) < 0 || thread_confine("control", e) < 0)
		return -1;
	signal(SIGPIPE, SIG_IGN); /* readers of events, consoles and answers may go */
	if (start_events(p->cli.vmm.event_monitor, e) < 0)
		return -1;
	event("vmm", "starting", NULL);
	if (loop_new(&p->loop, "virga", e) < 0 || watch_signals(p, e) < 0)
		return -1;
	vmm_new(&p->vmm, p->loop, &up);
	if (start_api(p, e) < 0)
		return -1;
	if (p->cli.vmm.gdb && gdb_new(&p->gdb, p->cli.vmm.gdb->path, p->loop, p->vmm, e) < 0)
		return -1;
	if (make_vm(p, e) < 0)
		return p->ending ? 0 : -1;
	if (only_checks(p))
		puts("this host can go on from it");
	else
		loop_run(p->loop);
	return e->kind && !p->ending ? -1 : 0;
}

/* What was asked for in place of a VM. */
static int tell(const struct cli *c, const char *argv0)
{
	if (c->what == CLI_HELP)
		doc_help(stdout);
	else if (c->what == CLI_VERSION)
		doc_version(stdout, argv0, c->vmm.verbosity);
	else
		doc_print(stdout, c->doc);
	if (c->what == CLI_DOC && c->doc == DOC_MAN)
		metrics_print_man(stdout);
	else if (c->what == CLI_DOC && c->doc == DOC_METRICS)
		metrics_print_md(stdout);
	return 0;
}

static void finish(struct program *p)
{
	gdb_free(p->gdb);
	vmm_free(p->vmm);
	dbus_free(p->dbus);
	api_free(p->api);
	apisock_free(p->sock);
	if (p->loop)
		event("vmm", "shutdown", NULL);
	event_finish();
	loop_unwatch(&p->signals);
	fd_close(&p->signal_fd);
	loop_free(p->loop);
	cli_free(&p->cli);
}

/* A start touches most of the heap's first pages: the kernel gives them in one go, and not one at each
 * first touch. Nothing happens where the heap is another, or the kernel older than this (Linux 5.14). */
static void warm_heap(void)
{
	AUTO_FREE char *first = mem_new(1);
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = (uintptr_t)sbrk(0);
	uintptr_t from = ((uintptr_t)first + page - 1) & ~(page - 1);

	if (from < end && end - from < MIB(1))
		madvise((void *)from, min_u64(end - from, HEAP_AT_START), MADV_POPULATE_WRITE);
}

int main(int argc, char **argv)
{
	struct program p = { .signal_fd = -1, .name = doc_program(argv[0]) };
	struct err e = { 0 };

	umask(077);
	log_call(doc_program(argv[0]));
	/* One heap for all threads: they allocate when a queue starts, if ever. */
	mallopt(M_ARENA_MAX, 1);
	warm_heap();
	if (fill_standard(&e) < 0 || cli_parse(&p.cli, argc, argv, &e) < 0 ||
	    (p.cli.what == CLI_RUN ? run(&p, &e) : tell(&p.cli, argv[0])) < 0) {
		char line[ERR_TEXT];

		fprintf(stderr, "%s: %s\n", log_name(), err_line(&e, line, sizeof(line)));
		p.status = 1;
	}
	finish(&p);
	return p.status;
}
