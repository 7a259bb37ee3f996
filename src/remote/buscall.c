/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One command over D-Bus, by sd-bus. What the service says in place of an answer is printed as the
 * REST API's refusals are. One thread; it blocks.
 */
#include "remote/buscall.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "base/mem.h"
#include "remote/reply.h"

static int failed(struct err *e, int r, const char *what)
{
	errno = -r;
	return err_os(e, ERR_IO, "%s", what);
}

static int append_fds(sd_bus_message *m, const struct ask *a)
{
	int r = sd_bus_message_open_container(m, 'a', "h");

	for (unsigned int i = 0; r >= 0 && i < a->fd_count; i++)
		r = sd_bus_message_append_basic(m, 'h', &a->fds[i]);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int write_call(sd_bus_message **out, sd_bus *bus, const struct words *w, const struct ask *a)
{
	AUTO_FREE char *name = route_call_name(w->route, a->fd_count);
	int r = sd_bus_message_new_method_call(bus, out, w->dbus_service_name, w->dbus_object_path,
					       ROUTE_INTERFACE, name);

	if (r >= 0 && a->body)
		r = sd_bus_message_append_basic(*out, 's', a->body);
	if (r >= 0 && w->route->arg == ROUTE_ID)
		r = sd_bus_message_append_basic(*out, 't', &a->id);
	return r >= 0 && a->fd_count ? append_fds(*out, a) : r;
}

static int print_reply(sd_bus_message *reply, const char *command)
{
	struct httpc_answer a = { .code = 200, .body = "" };
	const char *text;

	if (sd_bus_message_read_basic(reply, 's', &text) > 0)
		a.body = text;
	a.body_len = strlen(a.body);
	return reply_print(stdout, stderr, command, &a);
}

static int call(sd_bus *bus, const struct words *w, const struct ask *a, int *status, struct err *e)
{
	uint64_t patience_us = w->timeout ? w->timeout * 1000000ull : UINT64_MAX;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *m = NULL, *reply = NULL;
	int r = write_call(&m, bus, w, a), result = 0;

	if (r < 0)
		result = failed(e, r, "write the call");
	else if ((r = sd_bus_call(bus, m, patience_us, &error, &reply)) >= 0)
		*status = print_reply(reply, w->route->command);
	else
		result = err_set(e, ERR_IO, "%s", error.message ? error.message : strerror(-r));
	sd_bus_error_free(&error);
	sd_bus_message_unref(m);
	sd_bus_message_unref(reply);
	return result;
}

int buscall(const struct words *w, const struct ask *a, int *status, struct err *e)
{
	sd_bus *bus = NULL;
	int r, result;

	if (w->route->flags & R_STREAM)
		return err_set(e, ERR_BAD, "over D-Bus events are the signal Event");
	if (w->async)
		return err_set(e, ERR_BAD, "--async is for the REST API");
	r = w->dbus_system_bus ? sd_bus_open_system(&bus) : sd_bus_open_user(&bus);
	if (r < 0)
		return failed(e, r, "connect to the bus");
	result = call(bus, w, a, status, e);
	sd_bus_close_unref(bus);
	return result;
}
