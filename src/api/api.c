/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of the REST API. Each goes through the same gate: find its row, judge body, descriptors
 * and state by what the row says, then call the row's function. Control thread. What the answers
 * look like is in conf/body.def, which error has which code in conf/routes.
 */
#include "api/api.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/event.h"
#include "base/http.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/work.h"
#include "conf/check.h"
#include "conf/doc.h"
#include "conf/edit.h"
#include "vm/report.h"
#include "vm/vmm.h"

#define SECOND_NS 1000000000ull
#define SERVER "Cloud Hypervisor API" /* as clients know it */

struct api {
	struct loop *ctl;
	struct vmm *vmm;
	struct link streams;
	unsigned int stream_count;
	struct http_server *http;
	const char *program;
	struct metrics *metrics;
	struct api_count counts[ROUTE_COUNT];
};

/* A request on its way to its answer. */
struct call {
	struct api *api;
	struct http_req *req; /* NULL once it is answered */
	const struct route *route;
	uint64_t id;	/* in the path */
	uint64_t since; /* CLOCK_MONOTONIC */
	void *body;	/* of route->body's kind, owned; NULL without */
	struct hotplug_new added;
	struct vmm_removal removal;
};

/* What a row does: a verb of vm/vmm, or an answer at once. */
struct handler {
	void (*fn)(struct call *c);
	enum vmm_verb verb;
	vmm_done_fn *done; /* of the verb; NULL = on_done */
};

/* A client that hears of events. */
struct stream {
	struct link link;
	struct api *api;
	struct http_req *req;
	struct event_sub sub;
	struct loop_msg gone;
};

static void call_free(struct call *c)
{
	if (c->body) {
		conf_close(c->route->body, c->body);
		desc_free(c->route->body, c->body);
	}
	free(c->body);
	free(c->added.id);
	free(c);
}

/* The route is not known of a path that no row has. */
static void count(struct call *c, unsigned int code)
{
	struct api_count *n;

	if (!c->route)
		return;
	n = &c->api->counts[c->route - route_table];
	n->errors += code >= 400;
	om_time(&n->took, loop_now_ns() - c->since);
}

static void answer(struct call *c, const struct http_reply *a)
{
	log_debug("%s %s: %u", c->req->method, c->req->path, a->code);
	count(c, a->code);
	http_answer(take(&c->req), a);
}

static void answer_nothing(struct call *c)
{
	answer(c, &(struct http_reply){ .code = 204 });
}

/* Takes j. */
static void answer_json(struct call *c, unsigned int code, const char *headers, struct json *j)
{
	AUTO_FREE char *text = json_text(j, JSON_LINE);

	json_put(j);
	answer(c, &(struct http_reply){
			  .code = code, .headers = headers, .body = text, .len = strlen(text) });
}

/* The sentences of an error, outermost first. */
static struct json *sentences(const struct err *e)
{
	struct json *all = json_arr();

	for (unsigned int i = 0; i < e->count; i++)
		json_add(all, json_new_str(err_frame(e, i)));
	return all;
}

static void answer_error(struct call *c, const struct err *why)
{
	struct err e = *why;

	if (c->route)
		err_in(&e, "%s", c->route->path);
	answer_json(c, route_error_code(e.kind), NULL, sentences(&e));
}

/* --- reads --- */

static void do_ping(struct call *c)
{
	struct ping_conf p = { 0 };

	p.build_version = mem_fmt("v%s", doc_version_of(c->api->program));
	p.version = mem_str(doc_version_of(c->api->program));
	p.pid = getpid();
	for (unsigned int i = 0; doc_features[i]; i++) {
		p.features.items =
			mem_resize(p.features.items, i, i + 1, sizeof(*p.features.items));
		p.features.items[p.features.count++] = mem_str(doc_features[i]);
	}
	answer_json(c, 200, NULL, desc_to_json(&ping_desc, &p));
	desc_free(&ping_desc, &p);
}

static void do_info(struct call *c)
{
	struct vmm *m = c->api->vmm;
	const struct vm_conf *conf = vmm_conf(m);
	const struct info_conf info = {
		.config = (struct vm_conf *)(uintptr_t)conf,
		.state = (enum vm_state)vmm_state(m),
		.memory_actual_size = report_memory(vmm_report(m), conf),
		.device_tree = (struct json *)(uintptr_t)vmm_tree(m),
	};

	answer_json(c, 200, NULL, desc_to_json(&info_desc, &info));
}

static void do_counters(struct call *c)
{
	answer_json(c, 200, NULL, report_counters(vmm_report(c->api->vmm)));
}

static void do_metrics(struct call *c)
{
	const struct metrics_from from = {
		.vmm = c->api->vmm,
		.routes = c->api->counts,
		.http = http_counts(c->api->http),
	};
	struct http_reply a = { .code = 200, .type = c->route->media };
	AUTO_FREE char *text = metrics_text(c->api->metrics, &from, &a.len);

	a.body = text;
	answer(c, &a);
}

static struct json *job_json(const struct job *j)
{
	uint64_t until = j->ended_ns ? j->ended_ns : loop_now_ns();
	struct job_conf out = {
		.id = j->id,
		.verb = (char *)(uintptr_t)j->verb,
		.state = j->state,
		.done = j->work.done,
		.total = j->work.total,
		.unit = j->work.total ? (char *)(uintptr_t) "bytes" : NULL,
		.took_ms = j->started_ns ? (until - j->started_ns) / 1000000 : 0,
	};
	struct json *text = desc_to_json(&job_desc, &out);

	if (j->state == JOB_FAILED || j->state == JOB_CANCELLED)
		json_set(text, "error", sentences(&j->err));
	return text;
}

static void do_jobs(struct call *c)
{
	struct jobs *jobs = vmm_jobs(c->api->vmm);
	struct json *list = json_arr(), *out = json_obj();

	for (struct job *j = job_next(jobs, NULL); j; j = job_next(jobs, j))
		json_add(list, job_json(j));
	json_set(out, "jobs", list);
	answer_json(c, 200, NULL, out);
}

static void do_job(struct call *c)
{
	const struct job *j = job_find(vmm_jobs(c->api->vmm), c->id);
	struct err e = { 0 };

	if (j) {
		answer_json(c, 200, NULL, job_json(j));
		return;
	}
	err_set(&e, ERR_ABSENT, "there is no job %llu (any more)", (unsigned long long)c->id);
	answer_error(c, &e);
}

static void do_job_cancel(struct call *c)
{
	struct err e = { 0 };

	if (vmm_cancel(c->api->vmm, c->id, &e) < 0)
		answer_error(c, &e);
	else
		answer_nothing(c);
}

/* --- events --- */

static bool on_event(void *arg, const char *text, size_t len)
{
	struct stream *s = arg;

	return http_chunk(s->req, text, len);
}

static void stream_end(void *arg)
{
	struct stream *s = arg;

	event_unsubscribe(&s->sub);
	loop_unpost(s->api->ctl, &s->gone);
	http_stream_end(s->req);
	list_drop(&s->link);
	s->api->stream_count--;
	free(s);
}

/* Perhaps in the midst of an event, so the rest comes later. */
static void on_gone(void *arg, struct http_req *r)
{
	struct stream *s = r->user;
	struct api *a = arg;

	if (s)
		loop_post(a->ctl, &s->gone, stream_end, s);
}

static void do_events(struct call *c)
{
	struct stream *s;
	struct err e = { 0 };

	if (c->api->stream_count == API_STREAMS_MAX) {
		err_set(&e, ERR_BUSY, "%d clients have the events streamed already",
			API_STREAMS_MAX);
		answer_error(c, &e);
		return;
	}
	c->api->stream_count++;
	s = NEW(struct stream);
	s->api = c->api;
	s->req = take(&c->req);
	s->req->user = s;
	list_add_tail(&c->api->streams, &s->link);
	http_stream(s->req, 200, c->route->media);
	count(c, 200);
	event_subscribe(&s->sub, c->api->ctl, on_event, s);
}

/* --- verbs --- */

static const struct handler *handler_of(const struct route *r);

static void answer_added(struct call *c)
{
	struct hotplug_new *n = &c->added;
	const struct pci_device_info_conf info = { .id = n->id, .bdf = n->bdf };

	answer_json(c, 200, NULL, desc_to_json(&pci_device_info_desc, &info));
}

static void on_done(void *arg, const struct err *e)
{
	struct call *c = arg;

	if (c->req && e)
		answer_error(c, e);
	else if (c->req && c->added.plugged)
		answer_added(c);
	else if (c->req)
		answer_nothing(c);
	call_free(c);
}

static void on_forced(void *arg, const struct err *e)
{
	/* it has left by itself just now */
	on_done(arg, e && e->kind == ERR_ABSENT ? NULL : e);
}

/* The guest has had its time. */
static void on_waited(void *arg, const struct err *e)
{
	struct call *c = arg;
	const struct remove_device_conf *body = c->body;
	struct err full = { 0 };

	if (!e || e->kind != ERR_BUSY || !body->force) {
		on_done(c, e);
		return;
	}
	c->removal.how = HOTPLUG_FORCE;
	if (vmm_do(c->api->vmm, VMM_REMOVE, &c->removal, on_forced, c, NULL, &full) < 0)
		on_done(c, &full);
}

/* The guest was asked, or nobody needed to be. */
static void on_removal(void *arg, const struct err *e)
{
	struct call *c = arg;
	uint64_t patience_ns = c->removal.patience_ns;

	if (e || c->removal.gone || !patience_ns)
		on_done(c, e);
	else
		vmm_wait_gone(c->api->vmm, c->removal.id, patience_ns, on_waited, c);
}

/* What vm/vmm wants to hear beside the verb. */
static void *removal_args(struct call *c)
{
	const struct remove_device_conf *body = c->body;

	c->removal = (struct vmm_removal){
		.id = body->id,
		.how = body->force && !body->wait ? HOTPLUG_FORCE : HOTPLUG_ASK,
		.patience_ns = body->wait * SECOND_NS,
	};
	return &c->removal;
}

/* The descriptors that came with a network card are its. */
static void *add_args(struct call *c)
{
	c->added = (struct hotplug_new){ .kind = c->route->body, .conf = c->body };
	if (c->route->body == &net_desc && c->req->fd_count) {
		struct net_conf *n = c->body;

		free(n->fds.items);
		n->fds.count = c->req->fd_count;
		n->fds.items = mem_array(n->fds.count, sizeof(n->fds.items[0]));
		for (uint32_t i = 0; i < n->fds.count; i++)
			n->fds.items[i] = http_take_fd(c->req, i);
	}
	return &c->added;
}

/* Those that came with a restore are the cards' in the order in which these are listed. */
static int take_restored(struct call *c, struct err *e)
{
	struct restore_conf *r = c->body;
	unsigned int at = 0;

	for (uint32_t i = 0; i < r->net_fds.count; i++) {
		struct restored_net_conf *n = &r->net_fds.items[i];

		free(take(&n->fds.items));
		n->fds.count = 0;
		if (n->num_fds > c->req->fd_count - at)
			return err_set(e, ERR_BAD,
				       "net_fds: %s is to have %u descriptors, and %u are left of "
				       "those that came",
				       n->id, n->num_fds, c->req->fd_count - at);
		n->fds.items = mem_array(n->num_fds, sizeof(n->fds.items[0]));
		n->fds.count = n->num_fds;
		for (uint32_t k = 0; k < n->fds.count; k++)
			n->fds.items[k] = http_take_fd(c->req, at++);
	}
	if (at < c->req->fd_count)
		return err_set(e, ERR_BAD, "%u descriptors came, and net_fds speaks of %u",
			       c->req->fd_count, at);
	return 0;
}

static void *verb_args(struct call *c)
{
	if (c->route->flags & R_ADDS)
		return add_args(c);
	if (c->route->body == &remove_device_desc)
		return removal_args(c);
	if (c->route->body == &coredump_desc)
		return ((struct coredump_conf *)c->body)->destination_url;
	if (c->route->body == &snapshot_desc)
		return ((struct snapshot_conf *)c->body)->destination_url;
	return c->body;
}

/* The job goes on without the request. */
static void answer_job(struct call *c, const struct job *j)
{
	AUTO_FREE char *headers = mem_fmt("Location: " ROUTE_BASE "jobs/%llu\r\n"
					  "Preference-Applied: respond-async\r\n",
					  (unsigned long long)j->id);

	answer_json(c, 202, headers, job_json(j));
}

/* The answer comes with on_done, which has the call from here on. */
static void do_verb(struct call *c)
{
	const struct handler *h = handler_of(c->route);
	struct job *job = NULL;
	struct err e = { 0 };

	if (vmm_do(c->api->vmm, h->verb, verb_args(c), h->done ? h->done : on_done, c, &job, &e) <
	    0) {
		answer_error(c, &e);
		call_free(c);
	} else if (job && c->route->flags & R_JOB &&
		   http_header_lists(c->req, "Prefer", "respond-async")) {
		answer_job(c, job);
	}
}

/* --- the gate --- */

/* Rows that are missing here are not in this build, as their flags say. */
static const struct handler handlers[ROUTE_COUNT] = {
	[ROUTE_vmm_ping] = { do_ping },
	[ROUTE_vmm_shutdown] = { do_verb, VMM_END },
	[ROUTE_vm_info] = { do_info },
	[ROUTE_vm_counters] = { do_counters },
	[ROUTE_vm_create] = { do_verb, VMM_CREATE },
	[ROUTE_vm_delete] = { do_verb, VMM_DELETE },
	[ROUTE_vm_boot] = { do_verb, VMM_BOOT },
	[ROUTE_vm_shutdown] = { do_verb, VMM_SHUTDOWN },
	[ROUTE_vm_reboot] = { do_verb, VMM_REBOOT },
	[ROUTE_vm_pause] = { do_verb, VMM_PAUSE },
	[ROUTE_vm_resume] = { do_verb, VMM_RESUME },
	[ROUTE_vm_power_button] = { do_verb, VMM_POWER_BUTTON },
	[ROUTE_vm_nmi] = { do_verb, VMM_NMI },
	[ROUTE_vm_snapshot] = { do_verb, VMM_SNAPSHOT },
	[ROUTE_vm_restore] = { do_verb, VMM_RESTORE },
	[ROUTE_vm_coredump] = { do_verb, VMM_COREDUMP },
	[ROUTE_vm_reclaim] = { do_verb, VMM_RECLAIM },
	[ROUTE_vm_resize_disk] = { do_verb, VMM_RESIZE_DISK },
	[ROUTE_vm_change_disk] = { do_verb, VMM_CHANGE_DISK },
	[ROUTE_vm_change_net] = { do_verb, VMM_CHANGE_NET },
	[ROUTE_vm_resize] = { do_verb, VMM_RESIZE },
	[ROUTE_vm_resize_zone] = { do_verb, VMM_RESIZE_ZONE },
	[ROUTE_vm_add_disk] = { do_verb, VMM_ADD },
	[ROUTE_vm_add_net] = { do_verb, VMM_ADD },
	[ROUTE_vm_add_pmem] = { do_verb, VMM_ADD },
	[ROUTE_vm_add_vsock] = { do_verb, VMM_ADD },
	[ROUTE_vm_remove_device] = { do_verb, VMM_REMOVE, on_removal },
	[ROUTE_jobs] = { do_jobs },
	[ROUTE_job] = { do_job },
	[ROUTE_job_cancel] = { do_job_cancel },
	[ROUTE_metrics] = { do_metrics },
	[ROUTE_events] = { do_events },
};

static const struct handler *handler_of(const struct route *r)
{
	return &handlers[r - route_table];
}

static int read_body(struct call *c, struct err *e)
{
	const struct desc *d = c->route->body;
	AUTO_JSON struct json *j = NULL;

	if (json_parse(&j, c->req->body, c->req->body_len, e) < 0)
		return err_in(e, "the body");
	c->body = mem_new(d->size);
	desc_default(d, c->body);
	if (desc_from_json(d, c->body, j, e) < 0)
		return err_in(e, "the body");
	if (d == &restore_desc)
		return take_restored(c, e);
	return d == &vm_desc ? conf_check(c->body, e) : 0;
}

/* Whether the request is one that its row takes. The state is judged here where the answer is given
 * at once; a verb waits for its turn first. */
static int judge(struct call *c, struct err *e)
{
	const struct route *r = c->route;

	if (!r->body && c->req->body_len)
		return err_set(e, ERR_BAD, "a body came, and none belongs here");
	if (r->body && !c->req->body_len)
		return err_set(e, ERR_BAD, "the body is missing: %s is a JSON object",
			       r->body->name);
	if (c->req->fd_count > r->fds_max)
		return err_set(e, ERR_BAD, "%u descriptors came, and at most %u belong here",
			       c->req->fd_count, r->fds_max);
	if (r->body && read_body(c, e) < 0)
		return -1;
	if (handler_of(r)->fn == do_verb && !(r->flags & R_UNBUILT))
		return 0;
	if (route_allowed(r, vmm_state(c->api->vmm), e) < 0)
		return -1;
	if (r->flags & R_UNBUILT)
		return err_set(e, ERR_UNBUILT, "this build can not %s", r->doc);
	return 0;
}

void api_request(struct api *a, struct http_req *r)
{
	struct call *c = NEW(struct call);
	const struct handler *h;
	struct err e = { 0 };

	*c = (struct call){ .api = a, .req = r, .since = r->came_ns };
	c->route = route_find(&c->id, r->method, r->path, &e);
	if (!c->route || judge(c, &e) < 0) {
		answer_error(c, &e);
		call_free(c);
		return;
	}
	/* a verb has the call from here on, and may have freed it */
	h = handler_of(c->route);
	h->fn(c);
	if (h->fn != do_verb)
		call_free(c);
}

static void on_request(void *arg, struct http_req *r)
{
	api_request(arg, r);
}

int api_new(struct api **out, const struct api_args *a, struct err *e)
{
	struct api *api = NEW(struct api);
	const struct http_args h = {
		.fd = a->fd,
		.server = SERVER,
		.body_max = API_BODY_MAX,
		.request = on_request,
		.gone = on_gone,
		.arg = api,
	};

	for (unsigned int i = 0; i < ROUTE_COUNT; i++)
		assert(handlers[i].fn || route_table[i].flags & R_UNBUILT);
	*api = (struct api){ .ctl = a->ctl, .vmm = a->vmm, .program = a->program };
	list_init(&api->streams);
	metrics_new(&api->metrics, a->program);
	if (http_server_new(&api->http, a->ctl, &h, e) < 0) {
		metrics_free(api->metrics);
		free(api);
		return err_in(e, "the REST API");
	}
	*out = api;
	return 0;
}

void api_free(struct api *a)
{
	if (!a)
		return;
	list_each (at, &a->streams)
		stream_end(container_of(at, struct stream, link));
	http_server_free(a->http);
	metrics_free(a->metrics);
	free(a);
}

void api_bring(struct api *a, const struct http_brought *b)
{
	http_bring(a->http, b);
}

const struct api_count *api_counts(const struct api *a, enum route_id route)
{
	return &a->counts[route];
}

const struct http_counts *api_http(const struct api *a)
{
	return http_counts(a->http);
}
