/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP/1.1 message read from foreign bytes, a request or an answer: first line, header lines,
 * body by length, by chunks or until the end. The bytes may come in pieces of any size; what comes
 * out does not depend on the cuts. It is strict where peers could disagree on where a message ends:
 * lines end with CRLF, no folded lines, one length. It opens no socket and knows no route; both
 * halves, base/http and base/httpc, read with it. In a path, characters that needed no percent sign
 * are what they stand for; others stay escaped. Trailers are checked and dropped. A message belongs to one thread. RFC 9110, RFC 9112.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTPMSG_HEADERS_MAX 64
#define HTTPMSG_LINE_MAX 8192  /* bytes of one line, with its end */
#define HTTPMSG_HEAD_MAX 32768 /* of all lines of a head, or of all trailers */

enum httpmsg_kind { HTTPMSG_REQUEST, HTTPMSG_ANSWER };

enum httpmsg_stage {
	HTTPMSG_EMPTY, /* nothing of it has come, empty lines apart */
	HTTPMSG_HEAD,
	HTTPMSG_BODY,  /* the head is whole */
	HTTPMSG_WHOLE, /* all of it is here */
	HTTPMSG_BAD,   /* `bad` and `why` say what is wrong; no later byte means anything */
};

struct httpmsg_header {
	const char *name, *value; /* without blanks around them */
};

/* Who takes a body piece by piece; it is not kept then, and not limited. */
typedef void httpmsg_sink_fn(void *arg, const char *piece, size_t len);

struct httpmsg {
	enum httpmsg_kind kind;
	enum httpmsg_stage stage;

	/* from HTTPMSG_BODY on; the texts are the message's */
	const char *method, *path, *query; /* of a request; query is "" when there is none */
	unsigned int code;		   /* of an answer */
	unsigned int minor;		   /* 1 of HTTP/1.1 */
	unsigned int header_count;
	struct httpmsg_header headers[HTTPMSG_HEADERS_MAX];
	bool keep;    /* another message may follow on the connection */
	bool expects; /* the sender waits for "100 Continue" before it sends the body */

	/* at HTTPMSG_WHOLE; a zero byte stands behind the body */
	char *body; /* NULL when empty */
	size_t body_len;

	/* at HTTPMSG_BAD: the status that answers it, and a sentence */
	unsigned int bad;
	char why[128];

	/* may be set after httpmsg_init, until HTTPMSG_BODY */
	httpmsg_sink_fn *sink;
	void *sink_arg;

	/* private */
	unsigned int at; /* which kind of line or piece is next */
	size_t body_max, body_cap;
	uint64_t left; /* of the body, or of the chunk */
	uint32_t head_used, seen, line_len, text_len, text_cap;
	uint32_t first[3], first_len; /* where in text the words of the first line are */
	char *text;		      /* lines of the head */
};

/* For a message whose body has at most body_max bytes. Frees nothing: m is new or was finished. */
void httpmsg_init(struct httpmsg *m, enum httpmsg_kind kind, size_t body_max);
/* Frees; m may be initialised again. Twice is fine. */
void httpmsg_fini(struct httpmsg *m);
/* Reads on. Returns how many bytes were taken: all, but for those behind the message's end, and
 * those behind the head of a request that expects "100 Continue", once. */
size_t httpmsg_feed(struct httpmsg *m, const char *data, size_t len);
/* The sender has ended. An answer whose body goes until the end is whole by that, one that is cut
 * short is bad. */
void httpmsg_end(struct httpmsg *m);
/* The value of the first header of that name, which is said in any case of letters; or NULL. */
const char *httpmsg_header(const struct httpmsg *m, const char *name);
/* Does a list of words parted by commas, as in "close, x", hold the word in any case? */
bool httpmsg_lists(const char *value, const char *word);
/* The phrase of a status code, "Not Found"; "" for one that nobody knows. */
const char *httpmsg_phrase(unsigned int code);
