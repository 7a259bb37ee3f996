/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virga-remote: one command of the command line becomes one request to a running virga, and its
 * answer is printed. Started as ch-remote it answers as that. It has one thread, keeps nothing and
 * knows no command by itself: they are the rows of conf/routes.def.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/loop.h"
#include "conf/doc.h"
#include "remote/ask.h"
#include "remote/buscall.h"
#include "remote/complete.h"
#include "remote/inspect.h"
#include "remote/reply.h"
#include "remote/top.h"
#include "remote/usage.h"
#include "remote/words.h"

enum { DONE, FAILED, USAGE }; /* exit status */

/* What was asked for in place of a command. */
static int tell(const struct words *w, const char *argv0, struct err *e)
{
	if (w->what == WORDS_VERSION) {
		usage_version(stdout, argv0);
		return 0;
	}
	if (w->what == WORDS_COMPLETION)
		return complete_print(stdout, w->name, e);
	if (w->what == WORDS_DOC && !strcmp(w->name, "man")) {
		usage_man(stdout);
		return 0;
	}
	if (w->what == WORDS_DOC && strcmp(w->name, "help"))
		return err_set(e, ERR_BAD, "--doc '%s': say man or help", w->name);
	if (w->route)
		usage_command(stdout, w->route);
	else
		usage_help(stdout);
	return 0;
}

static int judge(const struct words *w, struct err *e)
{
	if (w->async && !(w->route->flags & R_JOB))
		return err_set(e, ERR_BAD, "--async: %s is answered at once", w->route->command);
	if (!w->dbus_service_name != !w->dbus_object_path ||
	    (w->dbus_system_bus && !w->dbus_service_name))
		return err_set(e, ERR_BAD, "D-Bus: say --dbus-service-name and --dbus-object-path");
	if (!w->api_socket == !w->dbus_service_name)
		return err_set(e, ERR_BAD, "say where: --api-socket <path>, or an object of D-Bus");
	return 0;
}

/* A server that is being started makes its socket in a moment. */
static int reach(struct httpc **out, const struct words *w, struct err *e)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	uint64_t until = loop_now_ns() + w->wait * 1000000000ull;

	while (httpc_open(out, w->api_socket, w->timeout * 1000, e) < 0) {
		if (e->kind != ERR_ABSENT || loop_now_ns() >= until)
			return -1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int command(const struct words *w, const struct ask *a, int *status, struct err *e)
{
	const struct httpc_ask ask = {
		.method = route_method_name(w->route->method),
		.path = a->path,
		.headers = w->async ? "Prefer: respond-async\r\n" : NULL,
		.body = a->body,
		.body_len = a->body_len,
		.fds = a->fds,
		.fd_count = a->fd_count,
		.sink = w->route->flags & R_STREAM ? reply_piece : NULL,
		.sink_arg = stdout,
	};
	struct httpc_answer answer;
	struct httpc *c = NULL;
	int failed;

	if (reach(&c, w, e) < 0)
		return -1;
	if (w->route == &top_route) {
		failed = top_run(c, w->args, w->count, e);
		httpc_close(c);
		return failed;
	}
	failed = httpc_call(c, &ask, &answer, e);
	if (!failed)
		*status = reply_print(stdout, stderr, w->route->command, &answer);
	httpc_close(c);
	return failed;
}

static int run(struct words *w, int argc, char **argv, int *status, struct err *e)
{
	struct ask a = { 0 };
	int failed;

	*status = USAGE;
	if (words_parse(w, argc, argv, e) < 0)
		return -1;
	if (w->what != WORDS_ASK) {
		failed = tell(w, argv[0], e);
		*status = failed ? USAGE : argc > 1 ? DONE : USAGE;
		return failed;
	}
	*status = FAILED;
	if (!w->route->path) {
		failed = inspect_command(w->route, w->args, w->count, e);
		*status = failed ? FAILED : DONE;
		return failed ? err_in(e, "%s", w->route->command) : 0;
	}
	if (judge(w, e) < 0)
		return -1;
	failed = ask_make(&a, w->route, w->args, w->count, e);
	*status = failed ? FAILED : DONE;
	if (!failed && (w->api_socket ? command : buscall)(w, &a, status, e) < 0) {
		*status = FAILED;
		failed = -1;
	}
	if (failed)
		err_in(e, "%s", w->route->command);
	ask_free(&a);
	return failed;
}

int main(int argc, char **argv)
{
	struct words w;
	struct err e = { 0 };
	char line[ERR_TEXT];
	int status;

	log_call(usage_program(argv[0]));
	if (run(&w, argc, argv, &status, &e) < 0)
		fprintf(stderr, "%s: %s\n", log_name(), err_line(&e, line, sizeof(line)));
	words_free(&w);
	return status;
}
