/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A debugger's connection, its place beside the VM's jobs, and its stops. See gdb.h. A command is
 * read only when the reply to the one before has gone out, so a debugger that does not read has
 * nothing of us but one reply's room.
 */
#include "vm/gdb.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "vm/gdbcmd.h"
#include "vm/vm.h"
#include "vm/vmm.h"

#define IN_ROOM 4096
#define WAITING_MAX 4		  /* connections not yet accepted */
#define TURN_MAX 32		  /* packets in one turn of the loop */
#define FAREWELL_NS 1000000000ull /* in which one that leaves hangs up */

struct gdb {
	struct vmm *vmm;
	struct loop *ctl;
	struct vmm_watch watch;
	struct listener listener;
	struct loop_fd accepting;
	struct gdb_talk talk;

	int fd; /* of the debugger, or -1 */
	struct loop_fd talking;
	struct loop_msg again; /* there is more in `in` */
	struct loop_timer farewell;
	bool fresh; /* it has come, and the machine has yet to be stopped for it */
	bool gone;  /* it has left the machine in a state that is to be cleared away */
	bool stops; /* a vCPU has said that it stopped */
	char in[IN_ROOM];
	size_t in_at, in_len;
	struct gdbmsg_reader reader;
	char out[GDBMSG_FRAMED + 1]; /* an acknowledgement and a reply */
	size_t out_at, out_len;
};

static void take_turn(void *arg);

/* --- sending --- */

static bool is_sent(const struct gdb *g)
{
	return g->out_at == g->out_len;
}

static void flush(struct gdb *g)
{
	while (g->fd >= 0 && !is_sent(g)) {
		ssize_t n = write(g->fd, g->out + g->out_at, g->out_len - g->out_at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		/* nobody reads it any more; that he is gone is noticed when reading */
		g->out_at = n < 0 ? g->out_len : g->out_at + (size_t)n;
	}
}

/* What was sent before is out. */
static void send_ack(struct gdb *g, char ack)
{
	if (g->talk.no_ack)
		return;
	g->out[0] = ack;
	g->out_at = 0;
	g->out_len = 1;
	flush(g);
}

/* At most an acknowledgement has not gone yet. */
static void send_reply(struct gdb *g)
{
	size_t before = g->out_len - g->out_at;

	g->talk.has_reply = false;
	if (before > 1)
		return;
	memmove(g->out, g->out + g->out_at, before);
	g->out_at = 0;
	g->out_len = before + gdbmsg_frame(g->out + before, &g->talk.reply);
	flush(g);
}

/* --- stops --- */

static void stop(struct gdb *g)
{
	struct err e = { 0 };
	char line[ERR_TEXT];

	if (debugger_stop(&g->talk.d, &e) < 0)
		log_warn("gdb: %s", err_line(&e, line, sizeof(line)));
}

/* A vCPU has stopped by itself. */
static void look_why(struct gdb *g)
{
	struct debugger *d = &g->talk.d;
	struct debugger_stop s;

	g->stops = false;
	if (!d->machine || !g->talk.running)
		return;
	stop(g);
	if (!debugger_why(d, &s)) {
		debugger_go_on(d);
		return;
	}
	gdbcmd_say_stop(&g->talk, &s);
	send_reply(g);
}

/* Ctrl-C. */
static void interrupt(struct gdb *g)
{
	struct debugger_stop s;

	if (!g->talk.running || !g->talk.d.machine)
		return;
	stop(g);
	if (debugger_why(&g->talk.d, &s))
		gdbcmd_say_stop(&g->talk, &s);
	else
		gdbcmd_say_signal(&g->talk, GDB_SIGNAL_INT);
	send_reply(g);
}

/* --- leaving --- */

/* Points are taken back, and the guest goes on. */
static void let_go(struct gdb *g)
{
	debugger_leave(&g->talk.d);
	if (vmm_vm(g->vmm))
		vm_set_debugged(vmm_vm(g->vmm), false);
}

static void clear_away(struct gdb *g)
{
	g->gone = false;
	debugger_sync(&g->talk.d, vmm_vm(g->vmm));
	let_go(g);
	debugger_forget(&g->talk.d);
}

static void hang_up(struct gdb *g)
{
	log_info("gdb: the debugger has gone");
	loop_unwatch(&g->talking);
	fd_close(&g->fd);
	loop_unpost(g->ctl, &g->again);
	loop_timer_stop(&g->farewell);
	g->gone = true;
	g->stops = false;
	if (!vmm_is_busy(g->vmm))
		clear_away(g);
}

static void on_farewell(void *arg)
{
	struct gdb *g = arg;

	if (g->fd >= 0)
		hang_up(g);
}

/* It hangs up when it has our last word, or we do. */
static void leave(struct gdb *g)
{
	if (g->talk.end == GDB_LEAVES)
		let_go(g);
	else if (g->talk.d.machine)
		vm_power_off(g->talk.d.vm);
	loop_timer_set(g->ctl, &g->farewell, loop_now_ns() + FAREWELL_NS, on_farewell, g);
}

/* --- the connection --- */

/* A job has the VM, or a reply has not gone out: commands wait. */
static bool must_wait(const struct gdb *g)
{
	return vmm_is_busy(g->vmm) || !is_sent(g);
}

static void wait_for(struct gdb *g)
{
	uint32_t events = is_sent(g) ? 0 : EPOLLOUT;

	if (!must_wait(g) && !g->again.queued)
		events |= EPOLLIN;
	if (g->talking.loop)
		loop_rewatch(&g->talking, events);
}

static void on_packet(struct gdb *g)
{
	send_ack(g, '+');
	gdbcmd_run(&g->talk, &g->reader);
	if (g->talk.has_reply)
		send_reply(g);
	if (g->talk.end != GDB_STAYS)
		leave(g);
}

static void on_word(struct gdb *g, enum gdbmsg_kind k)
{
	switch (k) {
	case GDBMSG_PACKET:
		on_packet(g);
		break;
	case GDBMSG_INTERRUPT:
		interrupt(g);
		break;
	case GDBMSG_BAD:
		send_ack(g, '-');
		break;
	case GDBMSG_NAK:
		/* the last one again */
		g->out_at = 0;
		flush(g);
		break;
	case GDBMSG_ACK:
	case GDBMSG_NONE:
		break;
	}
}

/* Does what has been read. */
static void work_off(struct gdb *g)
{
	unsigned int n = 0;

	while (g->in_at < g->in_len && !must_wait(g) && n++ < TURN_MAX) {
		size_t used = g->in_len - g->in_at;

		/* nothing more is done for one that leaves */
		if (g->talk.end == GDB_STAYS)
			on_word(g, gdbmsg_read(&g->reader, g->in + g->in_at, used, &used));
		g->in_at += used;
	}
	if (g->in_at < g->in_len && !must_wait(g))
		loop_post(g->ctl, &g->again, take_turn, g);
	wait_for(g);
}

static void take_turn(void *arg)
{
	struct gdb *g = arg;

	if (g->fd >= 0)
		work_off(g);
}

static void on_talk(void *arg, uint32_t events)
{
	struct gdb *g = arg;
	bool over = events & (EPOLLHUP | EPOLLERR);

	flush(g);
	if (g->in_at == g->in_len && !must_wait(g)) {
		ssize_t n = read(g->fd, g->in, sizeof(g->in));

		over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
		g->in_at = 0;
		g->in_len = n > 0 ? (size_t)n : 0;
	}
	/* what is left of one that has gone while a job has the VM is left out */
	if (over && (g->in_at == g->in_len || vmm_is_busy(g->vmm)))
		hang_up(g);
	else
		work_off(g);
}

/* One that has come finds the guest stopped. */
static void welcome(struct gdb *g)
{
	g->fresh = false;
	debugger_sync(&g->talk.d, vmm_vm(g->vmm));
	if (g->talk.d.machine)
		stop(g);
}

static void greet(struct gdb *g, int fd)
{
	struct err e = { 0 };
	char line[ERR_TEXT];

	gdbcmd_begin(&g->talk);
	g->fd = fd;
	g->stops = false;
	g->in_at = g->in_len = g->out_at = g->out_len = 0;
	g->reader.state = GDBMSG_OUTSIDE;
	g->fresh = true;
	if (loop_watch(g->ctl, &g->talking, g->fd, EPOLLIN, on_talk, g, &e) < 0) {
		log_warn("gdb: %s", err_line(&e, line, sizeof(line)));
		fd_close(&g->fd);
		return;
	}
	log_info("gdb: a debugger has come");
	if (vmm_vm(g->vmm))
		vm_set_debugged(vmm_vm(g->vmm), true);
	if (!vmm_is_busy(g->vmm))
		welcome(g);
	wait_for(g);
}

/* Has the debugger that we have hung up already? Then what it still has said is done first. */
static void see_off(struct gdb *g)
{
	struct pollfd p = { .fd = g->fd };

	if (g->fd >= 0 && g->talk.end != GDB_STAYS)
		hang_up(g);
	while (g->fd >= 0 && !vmm_is_busy(g->vmm) && poll(&p, 1, 0) > 0 && p.revents & POLLHUP)
		on_talk(g, EPOLLIN | EPOLLHUP);
}

static void on_connection(void *arg, uint32_t events)
{
	struct gdb *g = arg;
	int fd;

	(void)events;
	see_off(g);
	while ((fd = accept4(g->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (g->fd < 0 && !g->gone) {
			greet(g, fd);
			continue;
		}
		log_warn("gdb: there is a debugger already: another one is sent away");
		fd_close(&fd);
	}
}

/* --- the VM --- */

/* The machine that the debugger knew is gone, or there is another. */
static void tell_change(struct gdb *g)
{
	struct gdb_talk *t = &g->talk;

	t->thread = t->runner = 0;
	if (!t->d.machine && t->running)
		gdbcmd_say_gone(t);
	else if (t->d.machine && t->running && vm_is_at_break(t->d.vm))
		gdbcmd_say_signal(t, GDB_SIGNAL_TRAP);
	else if (t->d.machine && !t->running)
		stop(g);
	if (t->has_reply)
		send_reply(g);
}

static void on_turned(void *arg)
{
	struct gdb *g = arg;

	if (vmm_is_busy(g->vmm)) {
		wait_for(g);
		return;
	}
	if (g->gone)
		clear_away(g);
	if (g->fd < 0 || g->talk.end != GDB_STAYS)
		return;
	if (vmm_vm(g->vmm))
		vm_set_debugged(vmm_vm(g->vmm), true);
	if (g->fresh)
		welcome(g);
	else if (debugger_sync(&g->talk.d, vmm_vm(g->vmm)))
		tell_change(g);
	if (g->stops)
		look_why(g);
	work_off(g);
}

static void on_stopped(void *arg)
{
	struct gdb *g = arg;

	g->stops = true;
	if (vmm_is_busy(g->vmm) || g->fd < 0)
		return;
	look_why(g);
	work_off(g);
}

/* --- life --- */

int gdb_new(struct gdb **out, const char *path, struct loop *ctl, struct vmm *vmm, struct err *e)
{
	struct gdb *g = NEW(struct gdb);

	g->vmm = vmm;
	g->ctl = ctl;
	g->fd = g->listener.fd = -1;
	if (listener_open(&g->listener, path, WAITING_MAX, e) < 0 ||
	    loop_watch(ctl, &g->accepting, g->listener.fd, EPOLLIN, on_connection, g, e) < 0) {
		listener_close(&g->listener);
		free(g);
		return err_in(e, "--gdb");
	}
	g->watch = (struct vmm_watch){ .turned = on_turned, .stopped = on_stopped, .arg = g };
	vmm_set_watch(vmm, &g->watch);
	*out = g;
	return 0;
}

void gdb_free(struct gdb *g)
{
	if (!g)
		return;
	vmm_set_watch(g->vmm, NULL);
	loop_unwatch(&g->accepting);
	loop_unwatch(&g->talking);
	loop_unpost(g->ctl, &g->again);
	loop_timer_stop(&g->farewell);
	fd_close(&g->fd);
	listener_close(&g->listener);
	gdbcmd_fini(&g->talk);
	free(g);
}
