/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of endpoints, and what can be read out of a row: whose path it is, whether it is
 * allowed, what it may answer. Any thread; no state.
 */
#include "conf/routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define IN(state) (1u << VM_##state)
#define IN_NONE (1u << 31)
#define IN_BOOTED (IN(RUNNING) | IN(PAUSED) | IN(BREAKPOINT))
#define IN_VM (IN(CREATED) | IN(SHUTDOWN) | IN_BOOTED)
#define IN_ANY (IN_NONE | IN_VM)

#define ID "{id}"

#define ROUTE(id, ...) [ROUTE_##id] = { __VA_ARGS__ },
const struct route route_table[ROUTE_COUNT] = {
#include "conf/routes.def"
};
#undef ROUTE

static const struct {
	unsigned int code;
	const char *text;
} errors[] = {
	[ERR_NONE] = { 500, "" },
	[ERR_BAD] = { 400, "what was sent is not right" },
	[ERR_ABSENT] = { 404, "there is no such thing, or no virtual machine" },
	[ERR_STATE] = { 405, "not in this state" },
	[ERR_TAKEN] = { 409, "a name or a path is in use" },
	[ERR_BUSY] = { 429, "not now, try again" },
	[ERR_DENIED] = { 500, "the host failed or refused" },
	[ERR_IO] = { 500, "the host failed or refused" },
	[ERR_UNBUILT] = { 501, "not in this build" },
};

const char *route_method_name(enum route_method m)
{
	return m == ROUTE_PUT ? "PUT" : "GET";
}

const char *route_state_name(int state)
{
	return state == ROUTE_NO_VM ? "no virtual machine"
				    : info_desc.fields[ROW_info_state].names[state];
}

/* Does the path have the row's form? *id gets the number in it. */
static bool matches(const char *form, const char *path, uint64_t *id)
{
	const char *hole = strstr(form, ID);
	size_t before = hole ? (size_t)(hole - form) : 0, digits;
	AUTO_FREE char *number = NULL;
	struct err e = { 0 };

	*id = 0;
	if (!hole)
		return !strcmp(form, path);
	if (strncmp(form, path, before))
		return false;
	digits = strspn(path + before, "0123456789");
	number = mem_strn(path + before, digits);
	return !strcmp(hole + strlen(ID), path + before + digits) && !str_to_uint(id, number, &e);
}

char *route_path(const struct route *r, uint64_t id)
{
	const char *hole = strstr(r->path, ID);

	if (!hole)
		return mem_fmt("%s%s", ROUTE_BASE, r->path);
	return mem_fmt("%s%.*s%llu%s", ROUTE_BASE, (int)(hole - r->path), r->path,
		       (unsigned long long)id, hole + strlen(ID));
}

char *route_call_name(const struct route *r, bool takes_fds)
{
#define ROUTE(id, ...) [ROUTE_##id] = #id,
	static const char *const ids[ROUTE_COUNT] = {
#include "conf/routes.def"
	};
#undef ROUTE
	const char *id = ids[r - route_table];
	struct str out = { 0 };
	bool up = true;

	for (; *id; id++) {
		if (*id != '_')
			str_putc(&out, up ? (char)(*id & ~32) : *id);
		up = *id == '_';
	}
	str_puts(&out, takes_fds ? "Fds" : "");
	return str_take(&out);
}

const struct route *route_find(uint64_t *id, const char *method, const char *path, struct err *e)
{
	AUTO_STR struct str methods = { 0 };

	for (unsigned int i = 0; i < ROUTE_COUNT; i++) {
		const struct route *r = &route_table[i];

		if (strncmp(path, ROUTE_BASE, strlen(ROUTE_BASE)) ||
		    !matches(r->path, path + strlen(ROUTE_BASE), id))
			continue;
		if (!strcmp(method, route_method_name(r->method)))
			return r;
		str_add(&methods, "%s%s", methods.len ? ", " : "", route_method_name(r->method));
	}
	if (methods.len)
		err_set(e, ERR_BAD, "%.16s is not for %.64s: it takes %s", method, path,
			str_text(&methods));
	else
		err_set(e, ERR_ABSENT, "there is no %.128s", path);
	return NULL;
}

int route_allowed(const struct route *r, int state, struct err *e)
{
	AUTO_STR struct str would_do = { 0 };

	if (r->states & (state == ROUTE_NO_VM ? IN_NONE : 1u << state))
		return 0;
	if (state == ROUTE_NO_VM)
		return err_set(e, ERR_ABSENT, "there is no virtual machine: vm.create comes first");
	for (int s = VM_CREATED; s <= VM_BREAKPOINT; s++)
		if (r->states & 1u << s)
			str_add(&would_do, "%s%s", would_do.len ? ", " : "", route_state_name(s));
	if (!would_do.len)
		return err_set(e, ERR_STATE,
			       "there is a virtual machine already (%s): vm.delete comes first",
			       route_state_name(state));
	return err_set(e, ERR_STATE, "the virtual machine is %s, and must be one of: %s",
		       route_state_name(state), str_text(&would_do));
}

unsigned int route_error_code(enum err_kind kind)
{
	return errors[kind].code;
}

static void add_success(struct route_code *out, unsigned int *n, unsigned int code,
			const char *text, const struct desc *reply)
{
	out[(*n)++] = (struct route_code){ code, text, reply };
}

static void add_error(struct route_code *out, unsigned int *n, enum err_kind kind)
{
	out[(*n)++] = (struct route_code){ errors[kind].code, errors[kind].text, NULL };
}

unsigned int route_codes(const struct route *r, struct route_code out[ROUTE_CODES])
{
	unsigned int n = 0;

	if (r->reply || r->media)
		add_success(out, &n, 200, "done", r->reply);
	if (!(r->reply || r->media) || r->flags & R_ADDS)
		add_success(out, &n, 204, r->flags & R_ADDS ? "noted for the next boot" : "done",
			    NULL);
	if (r->flags & R_JOB)
		add_success(out, &n, 202, "a job does it, as Prefer: respond-async asked",
			    &job_desc);
	add_error(out, &n, ERR_BAD);
	if (!(r->states & IN_NONE) || r->flags & (R_NAMES | R_OPENS))
		add_error(out, &n, ERR_ABSENT);
	if ((r->states & IN_ANY) != IN_ANY || r->flags & R_STATE)
		add_error(out, &n, ERR_STATE);
	if (r->flags & (R_ADDS | R_OPENS))
		add_error(out, &n, ERR_TAKEN);
	if (r->method == ROUTE_PUT || r->flags & R_BUSY)
		add_error(out, &n, ERR_BUSY);
	add_error(out, &n, ERR_IO);
	if (r->flags & (R_UNBUILT | R_OPENS) || r->body)
		add_error(out, &n, ERR_UNBUILT);
	return n;
}
