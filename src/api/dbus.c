/* SPDX-License-Identifier: Apache-2.0 */
/*
 * D-Bus over sd-bus. The table of methods is made of conf/routes.def at the start. A call becomes a
 * request that is brought to the API, and is kept until its answer comes; sd-bus itself is turned
 * whenever its descriptor or its timer says so, and after whatever we have sent. A lost bus is
 * opened anew by base/retry, without waiting for any of its answers. The API is freed
 * after us, but by then all it has been asked is answered. Control thread.
 */
#include "api/dbus.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "api/api.h"
#include "base/event.h"
#include "base/http.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/retry.h"
#include "base/str.h"
#include "conf/routes.h"

#define KNOCK_NS 1000000000ull
#define REFUSED "org.freedesktop.DBus.Error.Failed"

struct method {
	char *name;
	const struct route *route;
	bool takes_fds;
};

struct dbus {
	struct api *api;
	struct loop *ctl;
	sd_bus *bus; /* NULL while there is none */
	char *path;
	const struct vmm_conf *conf;
	struct retry *knock;
	bool unnamed; /* the bus has refused our name */
	struct loop_fd watch;
	struct loop_timer timer;
	struct event_sub events;
	struct link calls;
	bool turning;		/* sd-bus is at work, further up the stack */
	struct method *methods; /* two for a row at most */
	sd_bus_vtable *table;	/* start, methods, signal, end */
	unsigned int method_count;
};

/* One that is not answered yet. */
struct dbus_call {
	struct link link;
	struct dbus *dbus;
	sd_bus_message *m;
	bool has_result;
};

static void turn(struct dbus *d);

/* --- answers --- */

/* The sentences of an error body in one line. */
static char *error_line(const char *body, size_t len)
{
	AUTO_JSON struct json *j = NULL;
	struct str out = { 0 };
	struct err e = { 0 };

	if (json_parse(&j, body, len, &e) < 0 || json_kind(j) != JSON_IS_ARR)
		return mem_strn(body, len);
	for (size_t i = 0; i < json_count(j); i++)
		str_add(&out, "%s%s", i ? ": " : "", json_str(json_at(j, i)));
	return str_take(&out);
}

static int reply_of(sd_bus_message **out, const struct dbus_call *c, const struct http_reply *a)
{
	AUTO_FREE char *text = NULL;
	int r;

	if (a->code / 100 != 2) {
		text = error_line(a->body ? a->body : "", a->len);
		return sd_bus_message_new_method_errorf(c->m, out, REFUSED, "%s", text);
	}
	r = sd_bus_message_new_method_return(c->m, out);
	if (r < 0 || !c->has_result)
		return r;
	text = mem_strn(a->body ? a->body : "", a->len);
	return sd_bus_message_append_basic(*out, 's', text);
}

static void call_free(struct dbus_call *c)
{
	list_drop(&c->link);
	sd_bus_message_unref(c->m);
	free(c);
}

static void on_answered(void *arg, const struct http_reply *a)
{
	struct dbus_call *c = arg;
	struct dbus *d = c->dbus;
	sd_bus_message *reply = NULL;
	int r = d ? reply_of(&reply, c, a) : 0;

	if (d && r >= 0)
		r = sd_bus_send(d->bus, reply, NULL);
	if (r < 0)
		log_warn("D-Bus: an answer cannot be sent: %s", strerror(-r));
	sd_bus_message_unref(reply);
	call_free(c);
	if (d)
		turn(d);
}

/* --- calls --- */

static const struct method *method_of(const struct dbus *d, sd_bus_message *m)
{
	const char *name = sd_bus_message_get_member(m);

	for (unsigned int i = 0; name && i < d->method_count; i++)
		if (!strcmp(d->methods[i].name, name))
			return &d->methods[i];
	return NULL;
}

/* The message's descriptors, which stay its own. */
static int read_fds(sd_bus_message *m, int fds[HTTP_FDS_MAX], unsigned int *count)
{
	int fd, r = sd_bus_message_enter_container(m, 'a', "h");

	while (r >= 0 && (r = sd_bus_message_read_basic(m, 'h', &fd)) > 0) {
		if (*count == HTTP_FDS_MAX)
			return -E2BIG;
		fds[(*count)++] = fd;
	}
	return r;
}

static int read_call(const struct method *t, sd_bus_message *m, struct http_brought *b,
		     int fds[HTTP_FDS_MAX], char **path)
{
	uint64_t id = 0;
	int r = 0;

	if (t->route->body) {
		r = sd_bus_message_read_basic(m, 's', &b->body);
		b->body_len = r > 0 ? strlen(b->body) : 0;
	} else if (t->route->arg == ROUTE_ID) {
		r = sd_bus_message_read_basic(m, 't', &id);
	}
	if (r >= 0 && t->takes_fds)
		r = read_fds(m, fds, &b->fd_count);
	*path = route_path(t->route, id);
	return r;
}

static int on_call(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct dbus *d = userdata;
	const struct method *t = method_of(d, m);
	AUTO_FREE char *path = NULL;
	int fds[HTTP_FDS_MAX], r;
	struct http_brought b = { .fds = fds, .answered = on_answered };
	struct dbus_call *c;

	if (!t)
		return -ENOENT;
	r = read_call(t, m, &b, fds, &path);
	if (r < 0)
		return sd_bus_error_set_errnof(error, r, "the arguments cannot be read");
	c = NEW(struct dbus_call);
	*c = (struct dbus_call){ .dbus = d,
				 .m = sd_bus_message_ref(m),
				 .has_result = t->route->reply || t->route->media };
	list_add_tail(&d->calls, &c->link);
	b.arg = c;
	b.method = route_method_name(t->route->method);
	b.path = path;
	api_bring(d->api, &b);
	return 1;
}

/* --- the table --- */

static const char *arguments(const struct route *r, bool takes_fds)
{
	if (takes_fds)
		return "sah";
	return r->body ? "s" : r->arg == ROUTE_ID ? "t" : "";
}

static void add_method(struct dbus *d, const struct route *r, bool takes_fds)
{
	struct method *t = &d->methods[d->method_count++];

	*t = (struct method){ route_call_name(r, takes_fds), r, takes_fds };
	d->table[d->method_count] = (sd_bus_vtable)SD_BUS_METHOD(
		t->name, arguments(r, takes_fds), r->reply || r->media ? "s" : "", on_call,
		SD_BUS_VTABLE_UNPRIVILEGED);
}

static void make_table(struct dbus *d)
{
	d->methods = mem_array(2 * ROUTE_COUNT, sizeof(*d->methods));
	d->table = mem_array(2 * ROUTE_COUNT + 3, sizeof(*d->table));
	d->table[0] = (sd_bus_vtable)SD_BUS_VTABLE_START(0);
	for (const struct route *r = route_table; r < route_table + ROUTE_COUNT; r++) {
		if (r->flags & R_STREAM)
			continue;
		add_method(d, r, false);
		if (r->fds_max)
			add_method(d, r, true);
	}
	d->table[d->method_count + 1] = (sd_bus_vtable)SD_BUS_SIGNAL("Event", "s", 0);
	d->table[d->method_count + 2] = (sd_bus_vtable)SD_BUS_VTABLE_END;
}

/* --- events --- */

static bool on_event(void *arg, const char *text, size_t len)
{
	struct dbus *d = arg;
	AUTO_FREE char *line = NULL;
	int r;

	if (!d->bus)
		return false;
	while (len && text[len - 1] == '\n')
		len--;
	line = mem_strn(text, len);
	r = sd_bus_emit_signal(d->bus, d->path, ROUTE_INTERFACE, "Event", "s", line);
	turn(d);
	return r >= 0;
}

/* --- the bus and the loop --- */

static void on_time(void *arg)
{
	turn(arg);
}

static void on_ready(void *arg, uint32_t events)
{
	(void)events;
	turn(arg);
}

/* Nobody is left who could be answered. */
static void part(struct dbus *d)
{
	struct link *at;

	while ((at = list_take_first(&d->calls)))
		container_of(at, struct dbus_call, link)->dbus = NULL;
	loop_timer_stop(&d->timer);
	loop_unwatch(&d->watch);
	/* what the socket takes has been sent by now; a bus that takes nothing is not waited for */
	d->bus = sd_bus_close_unref(d->bus);
	d->unnamed = false;
}

static void lose(struct dbus *d, int r)
{
	log_warn("D-Bus: the bus is gone: %s", strerror(-r));
	part(d);
	retry_start(d->knock);
}

/* Lets sd-bus read and send what it can, then waits for what it waits for. */
static void turn(struct dbus *d)
{
	uint64_t due_us;
	int r;

	if (d->turning || !d->watch.loop)
		return;
	d->turning = true;
	do
		r = sd_bus_process(d->bus, NULL);
	while (r > 0);
	d->turning = false;
	if (r >= 0)
		r = d->unnamed ? -EEXIST : sd_bus_get_events(d->bus);
	if (r < 0) {
		lose(d, r);
		return;
	}
	loop_rewatch(&d->watch, (r & POLLIN ? EPOLLIN : 0u) | (r & POLLOUT ? EPOLLOUT : 0u));
	if (sd_bus_get_timeout(d->bus, &due_us) >= 0 && due_us != UINT64_MAX)
		loop_timer_set(d->ctl, &d->timer, due_us * 1000, on_time, d);
	else
		loop_timer_stop(&d->timer);
}

static int refused(struct err *e, int r, const char *what)
{
	errno = -r;
	return err_os(e, ERR_IO, "%s", what);
}

/* The bus's word on our name, when nobody waited for it. */
static int on_named(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct dbus *d = userdata;
	uint32_t told = 0;

	(void)error;
	/* DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER */
	d->unnamed = sd_bus_message_is_method_error(m, NULL) ||
		     sd_bus_message_read_basic(m, 'u', &told) < 0 || told != 1;
	return 1;
}

static int take_name(struct dbus *d, bool waits)
{
	const char *name = d->conf->dbus_service_name;

	if (waits)
		return sd_bus_request_name(d->bus, name, 0);
	return sd_bus_request_name_async(d->bus, NULL, name, 0, on_named, d);
}

static int serve(struct dbus *d, bool waits, struct err *e)
{
	const struct vmm_conf *c = d->conf;
	int r = c->dbus_system_bus ? sd_bus_open_system(&d->bus) : sd_bus_open_user(&d->bus);

	if (r < 0)
		return refused(e, r,
			       c->dbus_system_bus ? "connect to the system bus"
						  : "connect to the session bus");
	r = sd_bus_add_object_vtable(d->bus, NULL, d->path, ROUTE_INTERFACE, d->table, d);
	if (r < 0)
		return refused(e, r, "--dbus-object-path");
	r = take_name(d, waits);
	if (r < 0)
		return refused(e, r, "--dbus-service-name");
	r = sd_bus_get_fd(d->bus);
	if (r < 0)
		return refused(e, r, "listen to the bus");
	return loop_watch(d->ctl, &d->watch, r, EPOLLIN, on_ready, d, e);
}

static bool try_again(void *arg)
{
	struct dbus *d = arg;
	struct err e = { 0 };

	if (serve(d, false, &e) < 0) {
		part(d);
		return false;
	}
	log_info("D-Bus: the bus is there again");
	turn(d);
	return true;
}

int dbus_new(struct dbus **out, struct api *api, struct loop *ctl, const struct vmm_conf *c,
	     struct err *e)
{
	struct dbus *d;

	*out = NULL;
	if (!c->dbus_service_name)
		return 0;
	d = NEW(struct dbus);
	*d = (struct dbus){
		.api = api, .ctl = ctl, .conf = c, .path = mem_str(c->dbus_object_path)
	};
	d->knock = retry_new(ctl, KNOCK_NS, try_again, d);
	list_init(&d->calls);
	make_table(d);
	if (serve(d, true, e) < 0) {
		dbus_free(d);
		return err_in(e, "D-Bus");
	}
	event_subscribe(&d->events, ctl, on_event, d);
	turn(d);
	*out = d;
	return 0;
}

void dbus_free(struct dbus *d)
{
	if (!d)
		return;
	event_unsubscribe(&d->events);
	retry_free(d->knock);
	part(d);
	for (unsigned int i = 0; i < d->method_count; i++)
		free(d->methods[i].name);
	free(d->methods);
	free(d->table);
	free(d->path);
	free(d);
}
