/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling of snapshots. What is printed is printed from the JSON that --json shows. See inspect.h.
 */
#include "remote/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "remote/ask.h"
#include "vm/fileurl.h"
#include "vm/snapfiles.h"

struct inspect_conf {
	uint64_t set;
	char *dir;
	bool json;
};
static const struct field inspect_fields[] = {
	S(struct inspect_conf, dir, .type = D_PATH, .flags = F_REQUIRED,
	  .doc = "directory of the snapshot"),
	S(struct inspect_conf, json, .doc = "print JSON"),
};
static const struct desc inspect_desc =
	DESC_OF(struct inspect_conf, inspect_fields, "InspectOptions", .has_set = true,
		.set_off = offsetof(struct inspect_conf, set));

const struct route inspect_route = {
	.command = "snapshot-inspect",
	.body = &inspect_desc,
	.arg = ROUTE_WORD_KEYS,
	.doc = "show what is in a snapshot: configuration, devices, memory",
};

struct check_conf {
	uint64_t set;
	char *dir, *with, *program;
};
static const struct field check_fields[] = {
	S(struct check_conf, dir, .type = D_PATH, .flags = F_REQUIRED,
	  .doc = "directory of the snapshot"),
	S(struct check_conf, with, .what = "<key=value,...>",
	  .doc = "what else it would be restored with, as virga --restore takes it"),
	S(struct check_conf, program, .type = D_PATH,
	  .doc = "virga, which is looked for beside this program when left out"),
};
static const struct desc check_desc =
	DESC_OF(struct check_conf, check_fields, "CheckOptions", .has_set = true,
		.set_off = offsetof(struct check_conf, set));

const struct route check_route = {
	.command = "snapshot-check",
	.body = &check_desc,
	.arg = ROUTE_WORD_KEYS,
	.doc = "say whether this host can go on from a snapshot, and if not, all that is in the way",
};

/* --- describing --- */

/* The members of from that are of that kind, under the same names. */
static void take_over(struct json *to, const struct json *from, const char *key,
		      enum json_kind kind)
{
	const struct json *j = json_get(from, key);

	if (j && json_kind(j) == kind)
		json_set(to, key, json_dup(j));
}

static struct json *describe_devices(const struct json *list)
{
	struct json *out = json_arr();

	for (size_t i = 0; list && json_kind(list) == JSON_IS_ARR && i < json_count(list); i++) {
		const struct json *d = json_at(list, i);
		struct json *one = json_obj();

		take_over(one, d, "id", JSON_IS_STR);
		take_over(one, d, "class", JSON_IS_STR);
		take_over(one, d, "v", JSON_IS_INT);
		take_over(one, d, "pv", JSON_IS_INT);
		json_add(out, one);
	}
	return out;
}

static struct json *describe_memory(const struct json *machine, const struct inspect_memory *m)
{
	const struct json *ranges = json_get(machine, "ranges");
	struct json *out = json_obj(), *list = json_arr();

	json_set_int(out, "bytes", (int64_t)m->bytes);
	json_set_int(out, "data_bytes", (int64_t)m->data);
	for (size_t i = 0; ranges && json_kind(ranges) == JSON_IS_ARR && i < json_count(ranges);
	     i++) {
		struct json *one = json_obj();

		take_over(one, json_at(ranges, i), "base", JSON_IS_INT);
		take_over(one, json_at(ranges, i), "size", JSON_IS_INT);
		json_add(list, one);
	}
	json_set(out, "ranges", list);
	return out;
}

int inspect_describe(struct json **out, const struct json *state, const struct json *config,
		     const struct inspect_memory *m, struct err *e)
{
	const struct json *machine = json_get(json_get(state, "machine"), "state");
	const struct json *vcpus = json_get(state, "vcpus");
	struct json *j;

	if (json_kind(state) != JSON_IS_OBJ || !json_get(state, "virga"))
		return err_set(e, ERR_BAD, "%s is no saved machine: it has no \"virga\"",
			       SNAP_STATE);
	if (json_kind(config) != JSON_IS_OBJ)
		return err_set(e, ERR_BAD, "%s is no configuration", SNAP_CONFIG);
	j = json_obj();
	take_over(j, state, "virga", JSON_IS_INT);
	take_over(j, state, "arch", JSON_IS_STR);
	take_over(j, state, "build", JSON_IS_STR);
	take_over(j, machine, "real_ns", JSON_IS_INT);
	json_set_int(j, "vcpus",
		     vcpus && json_kind(vcpus) == JSON_IS_ARR ? (int64_t)json_count(vcpus) : 0);
	json_set(j, "memory", describe_memory(machine, m));
	json_set(j, "devices", describe_devices(json_get(state, "devices")));
	json_set(j, "config", json_dup(config));
	*out = j;
	return 0;
}

/* --- printing --- */

static void put(FILE *f, const char *text)
{
	for (; *text; text++)
		fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, f);
}

static const char *text_of(const struct json *j, const char *key)
{
	const struct json *v = json_get(j, key);

	return v && json_kind(v) == JSON_IS_STR ? json_str(v) : "-";
}

static int64_t number_of(const struct json *j, const char *key)
{
	const struct json *v = json_get(j, key);

	return v && json_kind(v) == JSON_IS_INT ? json_int(v) : 0;
}

static double mib(int64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static void print_head(FILE *f, const struct json *told)
{
	const struct json *m = json_get(told, "memory"), *ranges = json_get(m, "ranges");
	time_t at = (time_t)(number_of(told, "real_ns") / 1000000000);
	struct tm when;
	char text[40] = "-";

	if (gmtime_r(&at, &when))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &when);
	fputs("saved by  virga ", f);
	put(f, text_of(told, "build"));
	fprintf(f, " on ");
	put(f, text_of(told, "arch"));
	fprintf(f, ", form %" PRId64 "\nsaved at  %s\nvCPUs     %" PRId64 "\n",
		number_of(told, "virga"), text, number_of(told, "vcpus"));
	fprintf(f, "memory    %.1f MiB, of which %.1f MiB are in the file and the rest is zeros\n",
		mib(number_of(m, "bytes")), mib(number_of(m, "data_bytes")));
	for (size_t i = 0; i < json_count(ranges); i++) {
		const struct json *r = json_at(ranges, i);

		fprintf(f, "          at 0x%" PRIx64 " %.1f MiB\n", number_of(r, "base"),
			mib(number_of(r, "size")));
	}
}

static void print_devices(FILE *f, const struct json *list)
{
	fprintf(f, "\n%-16s %-12s %-8s %s\n", "device", "class", "version", "of its plug");
	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *d = json_at(list, i);
		AUTO_FREE char *line = mem_fmt("%-16s %-12s %-8" PRId64, text_of(d, "id"),
					       text_of(d, "class"), number_of(d, "v"));

		put(f, line);
		if (json_get(d, "pv"))
			fprintf(f, " %" PRId64, number_of(d, "pv"));
		fputc('\n', f);
	}
}

/* Section by section, those that say something. */
static void print_config(FILE *f, const struct json *config)
{
	struct json_iter it = { 0 };

	fputs("\nconfiguration\n", f);
	while (json_next(config, &it)) {
		bool list = json_kind(it.value) == JSON_IS_ARR;
		size_t n = list ? json_count(it.value) : 1;

		if (json_kind(it.value) == JSON_IS_BOOL && !json_bool(it.value))
			continue;
		for (size_t i = 0; i < n; i++) {
			AUTO_FREE char *text =
				json_text(list ? json_at(it.value, i) : it.value, JSON_LINE);

			fputs("  ", f);
			put(f, it.key);
			fputc(' ', f);
			put(f, text);
			fputc('\n', f);
		}
	}
}

void inspect_print(FILE *f, const struct json *told)
{
	print_head(f, told);
	print_devices(f, json_get(told, "devices"));
	print_config(f, json_get(told, "config"));
}

/* --- reading --- */

/* As a snapshot's other verbs name it, or plainly. */
static const char *path_of(const char *dir)
{
	const char *path;
	struct err e = { 0 };

	return fileurl_path(&path, dir, "", &e) < 0 ? dir : path;
}

static int read_json(struct json **out, const char *dir, const char *name, struct err *e)
{
	AUTO_FREE char *path = mem_fmt("%s/%s", dir, name);
	AUTO_FREE char *text = NULL;
	size_t len;

	if (fd_slurp(path, JSON_TEXT_MAX, &text, &len, e) < 0)
		return -1;
	return json_parse(out, text, len, e) < 0 ? err_in(e, "%s", name) : 0;
}

/* Walks from hole to hole; file systems without holes have one piece. */
static int read_memory(struct inspect_memory *m, const char *dir, struct err *e)
{
	AUTO_FREE char *path = mem_fmt("%s/%s", dir, SNAP_MEMORY);
	AUTO_FD int fd = fd_open(path, O_RDONLY | O_NONBLOCK, 0, e);
	off_t end, at = 0, hole;

	if (fd < 0)
		return -1;
	end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		return err_os(e, ERR_IO, "size of %s", SNAP_MEMORY);
	*m = (struct inspect_memory){ .bytes = (uint64_t)end };
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		hole = lseek(fd, at, SEEK_HOLE);
		if (hole <= at)
			break;
		m->data += (uint64_t)(hole - at);
		at = hole;
	}
	return 0;
}

static int inspect(const struct inspect_conf *c, struct err *e)
{
	AUTO_JSON struct json *state = NULL, *config = NULL, *told = NULL;
	AUTO_FREE char *text = NULL;
	const char *dir = path_of(c->dir);
	struct inspect_memory m;

	if (read_json(&state, dir, SNAP_STATE, e) < 0 ||
	    read_json(&config, dir, SNAP_CONFIG, e) < 0 || read_memory(&m, dir, e) < 0 ||
	    inspect_describe(&told, state, config, &m, e) < 0)
		return err_in(e, "%s", dir);
	if (!c->json) {
		inspect_print(stdout, told);
		return 0;
	}
	text = json_text(told, JSON_PRETTY);
	puts(text);
	return 0;
}

/* --- asking --- */

/* A value within quotes. */
static void quote(struct str *out, const char *text)
{
	str_putc(out, '"');
	for (; *text; text++) {
		if (*text == '"')
			str_putc(out, '"');
		str_putc(out, *text);
	}
	str_putc(out, '"');
}

/* Beside this program, or else in the path. */
static char *find_virga(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash, *beside;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return mem_str("virga");
	*slash = '\0';
	beside = mem_fmt("%s/virga", self);
	if (access(beside, X_OK) == 0)
		return beside;
	free(beside);
	return mem_str("virga");
}

static int check(const struct check_conf *c, struct err *e)
{
	AUTO_FREE char *program = c->program ? mem_str(c->program) : find_virga();
	AUTO_FREE char *dir = realpath(path_of(c->dir), NULL), *url = NULL;
	AUTO_STR struct str how = { 0 };
	char restore[] = "--restore";

	if (!dir)
		return err_os(e, ERR_ABSENT, "%s", c->dir);
	url = mem_fmt("file://%s", dir);
	str_puts(&how, "source_url=");
	quote(&how, url);
	str_add(&how, ",check=on%s%s", c->with ? "," : "", c->with ? c->with : "");
	fflush(stdout);
	execvp(program, (char *[]){ program, restore, (char *)(uintptr_t)str_text(&how), NULL });
	return err_os(e, errno == ENOENT ? ERR_ABSENT : ERR_IO, "start %s", program);
}

int inspect_command(const struct route *r, char *const *args, unsigned int count, struct err *e)
{
	AUTO_JSON struct json *j = NULL;
	struct inspect_conf how;
	struct check_conf what;
	struct ask a;
	int result = ask_make(&a, r, args, count, e);

	if (result == 0)
		result = json_parse(&j, a.body, a.body_len, e);
	ask_free(&a);
	if (result < 0)
		return -1;
	desc_default(&inspect_desc, &how);
	desc_default(&check_desc, &what);
	if (r == &inspect_route)
		result = desc_from_json(&inspect_desc, &how, j, e) < 0 || inspect(&how, e) < 0;
	else
		result = desc_from_json(&check_desc, &what, j, e) < 0 || check(&what, e) < 0;
	desc_free(&inspect_desc, &how);
	desc_free(&check_desc, &what);
	return result ? -1 : 0;
}
