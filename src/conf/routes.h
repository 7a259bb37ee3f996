/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The REST API as data: a row per endpoint, from conf/routes.def. Read by the handlers (api/), by
 * the client's commands (src/remote) and by the printed OpenAPI document (conf/doc); none of them
 * has a list of its own. How requests travel is base/http's, what they do is api/'s and vm/'s. Any
 * thread; no state.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

#define ROUTE_BASE "/api/v1/"
#define ROUTE_INTERFACE "org.cloudhypervisor.DBusApi1"
#define ROUTE_FDS 253	 /* what one message of a unix socket carries */
#define ROUTE_CODES 12	 /* answers that a row may have */
#define ROUTE_NO_VM (-1) /* in place of a state */

/* ROUTE_vm_boot, ... */
#define ROUTE(id, ...) ROUTE_##id,
enum route_id {
#include "conf/routes.def"
	ROUTE_COUNT
};
#undef ROUTE

enum route_method { ROUTE_GET, ROUTE_PUT };

/* What the client's command takes. */
enum route_arg {
	ROUTE_NOTHING,
	ROUTE_FILE,	 /* a file of JSON, or - for standard input: the body */
	ROUTE_CONFIG,	 /* one key=value,... in the body's rows */
	ROUTE_WORD,	 /* a word: the body's first row */
	ROUTE_KEYS,	 /* --key value for the body's rows */
	ROUTE_WORD_KEYS, /* a word: the body's first row, and --key value for the others */
	ROUTE_ID,	 /* a number that stands for {id} in the path */
};

enum {
	R_JOB = 1 << 0,	    /* may take long: Prefer: respond-async is heard */
	R_ADDS = 1 << 1,    /* answers with a body when it was done, without when it was noted */
	R_NAMES = 1 << 2,   /* names something that may not be there */
	R_BUSY = 1 << 3,    /* may be told to come again */
	R_STATE = 1 << 4,   /* what is named may be in the wrong state */
	R_STREAM = 1 << 5,  /* the answer goes on until the client leaves */
	R_OPENS = 1 << 6,   /* opens what the configuration names, with whatever that may answer */
	R_UNBUILT = 1 << 7, /* judged as any, then refused as not in this build */
};

struct route {
	const char *path;	  /* behind ROUTE_BASE; {id} stands for a number */
	const char *op;		  /* operationId */
	const struct desc *body;  /* NULL: none may be sent */
	const struct desc *reply; /* NULL: 204, or text with .media */
	const char *media;	  /* of an answer that is no JSON object */
	const char *command;	  /* of virga-remote */
	const char *doc;	  /* one sentence without a full stop */
	uint32_t states;	  /* in which it is allowed: a bit per enum vm_state, and IN_NONE */
	uint32_t flags;
	uint16_t fds_max; /* descriptors that may be passed */
	enum route_method method;
	enum route_arg arg;
};

extern const struct route route_table[ROUTE_COUNT];

/* An answer that a row may have. */
struct route_code {
	unsigned int code;
	const char *text;	  /* a sentence without a full stop */
	const struct desc *reply; /* of a success with a body */
};

const char *route_method_name(enum route_method m);
/* "Running", ...; "no virtual machine" for ROUTE_NO_VM */
const char *route_state_name(int state);
/* The path of a request for a row, with ROUTE_BASE, and id where {id} stands. The caller frees it. */
char *route_path(const struct route *r, uint64_t id) __attribute__((returns_nonnull));
/* What the row is called on D-Bus: "VmAddNet"; "VmAddNetFds" of the call that takes descriptors. The
 * caller frees it. */
char *route_call_name(const struct route *r, bool takes_fds) __attribute__((returns_nonnull));
/* The row of a request's path (with ROUTE_BASE, without a query) and method. *id is the number that
 * stands for {id}, else 0. NULL with a sentence: ERR_ABSENT for a path that no row has, ERR_BAD for
 * another method. */
const struct route *route_find(uint64_t *id, const char *method, const char *path, struct err *e);
/* Is the row allowed in a state (an enum vm_state or ROUTE_NO_VM)? Else ERR_ABSENT where there is no
 * virtual machine, or ERR_STATE with the states that would do. */
MUST int route_allowed(const struct route *r, int state, struct err *e);
/* The HTTP code of an error. */
unsigned int route_error_code(enum err_kind kind);
/* All answers that the row may have, successes first; returns how many. */
unsigned int route_codes(const struct route *r, struct route_code out[ROUTE_CODES]);
