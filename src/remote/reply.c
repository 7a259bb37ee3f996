/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Printing answers. No state.
 */
#include "remote/reply.h"

#include <string.h>
#include <unistd.h>

#include "base/json.h"

#define ERRORS_MAX 100 /* frames of a chain, and bytes of each, that are shown */
#define FRAME_MAX 2000

/* A terminal would obey an escape sequence; a file gets what came. */
static void put(FILE *f, const char *text, size_t len)
{
	if (!isatty(fileno(f))) {
		fwrite(text, 1, len, f);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		fputc((c < ' ' && c != '\n' && c != '\t') || c == 0x7f ? '?' : c, f);
	}
}

/* One line, whatever stands in it. */
static void put_line(FILE *f, const char *text, size_t len)
{
	for (size_t i = 0; i < len && i < FRAME_MAX; i++) {
		unsigned char c = (unsigned char)text[i];

		fputc(c < ' ' || c == 0x7f ? ' ' : c, f);
	}
	fputs(len > FRAME_MAX ? "...\n" : "\n", f);
}

void reply_piece(void *arg, const char *piece, size_t len)
{
	FILE *f = arg;

	put(f, piece, len);
	fflush(f);
}

void reply_errors(FILE *f, const char *body, size_t len)
{
	AUTO_JSON struct json *j = NULL;
	struct err e = { 0 };

	if (!len)
		return;
	if (json_parse(&j, body, len, &e) < 0 || json_kind(j) != JSON_IS_ARR) {
		fputs("  ", f);
		put_line(f, body, len);
		return;
	}
	for (size_t i = 0; i < json_count(j) && i < ERRORS_MAX; i++) {
		const char *text = json_str(json_at(j, i));

		fprintf(f, "  %zu: ", i);
		put_line(f, text, strlen(text));
	}
}

int reply_print(FILE *out, FILE *errors, const char *command, const struct httpc_answer *a)
{
	if (a->code / 100 != 2) {
		fprintf(errors, "%s was refused with %u %s%s\n", command, a->code,
			httpmsg_phrase(a->code), a->body_len ? ":" : "");
		reply_errors(errors, a->body, a->body_len);
		return 1;
	}
	put(out, a->body, a->body_len);
	if (a->body_len && a->body[a->body_len - 1] != '\n')
		fputc('\n', out);
	return fflush(out) ? 1 : 0;
}
