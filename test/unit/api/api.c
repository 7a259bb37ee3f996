/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests brought to the API (src/api/api.c): which gate refuses what, with which code and
 * sentences, and what a request leaves behind. No VM is booted here; what verbs do is vm/vmm's.
 */
#include "conf/conf.h" /* first: its rows use T for themselves */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/api.h"
#include "base/bits.h"
#include "base/http.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "run_for.h"
#include "vm/vmm.h"

#define VM                                                                                         \
	"{\"payload\":{\"kernel\":\"/nowhere\"},\"console\":{\"mode\":\"Off\"},\"serial\":{\"mode\":\"Null\"}}"

struct bench {
	struct loop *ctl;
	struct vmm *vmm;
	struct api *api;
	/* the last answer */
	unsigned int code, answers;
	char *body;
	unsigned int ends;
};

static void on_rest(void *arg, bool failed)
{
	(void)arg, (void)failed;
}

static void on_end(void *arg)
{
	struct bench *b = arg;

	b->ends++;
}

static void begin_at(struct bench *b, int fd)
{
	const struct vmm_up up = { .rest = on_rest, .end = on_end, .arg = b };
	struct api_args a = { .fd = fd, .program = "virga" };
	struct err e = { 0 };

	*b = (struct bench){ 0 };
	assert_int_equal(loop_new(&b->ctl, "control", &e), 0);
	vmm_new(&b->vmm, b->ctl, &up);
	a.ctl = b->ctl;
	a.vmm = b->vmm;
	assert_int_equal(api_new(&b->api, &a, &e), 0);
}

static void begin(struct bench *b)
{
	begin_at(b, -1);
}

static void finish(struct bench *b)
{
	vmm_free(b->vmm);
	api_free(b->api);
	loop_free(b->ctl);
	free(b->body);
}

static void on_answer(void *arg, const struct http_reply *a)
{
	struct bench *b = arg;

	free(b->body);
	b->code = a->code;
	b->body = mem_strn(a->body ? a->body : "", a->len);
	b->answers++;
	loop_stop(b->ctl);
}

static void bring_fds(struct bench *b, const char *method, const char *path, const char *body,
		      const int *fds, unsigned int n)
{
	const struct http_brought r = {
		.method = method,
		.path = path,
		.body = body,
		.body_len = body ? strlen(body) : 0,
		.fds = fds,
		.fd_count = n,
		.answered = on_answer,
		.arg = b,
	};

	api_bring(b->api, &r);
}

/* The same, and waits for the answer; its code. */
static unsigned int ask_fds(struct bench *b, const char *method, const char *path, const char *body,
			    const int *fds, unsigned int n)
{
	unsigned int before = b->answers;

	bring_fds(b, method, path, body, fds, n);
	if (b->answers == before)
		run_loop_past(b->ctl, 5000000000ull);
	assert_int_equal(b->answers, before + 1);
	return b->code;
}

static unsigned int ask(struct bench *b, const char *method, const char *path, const char *body)
{
	return ask_fds(b, method, path, body, NULL, 0);
}

static unsigned int put(struct bench *b, const char *path, const char *body)
{
	return ask(b, "PUT", path, body);
}

static unsigned int get(struct bench *b, const char *path)
{
	return ask(b, "GET", path, NULL);
}

/* The last answer is an array of sentences that begins with the route, and one holds that text. */
static void says(struct bench *b, const char *route, const char *text)
{
	AUTO_JSON struct json *j = NULL;
	struct err e = { 0 };

	assert_int_equal(json_parse(&j, b->body, strlen(b->body), &e), 0);
	assert_int_equal(json_kind(j), JSON_IS_ARR);
	assert_string_equal(json_str(json_at(j, 0)), route);
	for (size_t i = 1; i < json_count(j); i++)
		if (strstr(json_str(json_at(j, i)), text))
			return;
	fail_msg("%s does not say \"%s\"", b->body, text);
}

static unsigned int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

TEST(what_no_row_has_is_not_found_and_another_method_is_bad)
{
	struct bench b;

	begin(&b);
	assert_int_equal(get(&b, "/api/v1/vm.nothing"), 404);
	assert_int_equal(get(&b, "/api/v2/vmm.ping"), 404);
	assert_int_equal(put(&b, "/api/v1/vmm.ping", NULL), 400);
	assert_int_equal(get(&b, "/api/v1/vm.boot"), 400);
	finish(&b);
}

TEST(reads_are_answered_before_the_loop_turns)
{
	AUTO_JSON struct json *j = NULL;
	struct err e = { 0 };
	struct bench b;

	begin(&b);
	bring_fds(&b, "GET", "/api/v1/vmm.ping", NULL, NULL, 0);
	assert_int_equal(b.answers, 1);
	assert_int_equal(b.code, 200);
	assert_int_equal(json_parse(&j, b.body, strlen(b.body), &e), 0);
	assert_int_equal(json_int(json_get(j, "pid")), getpid());
	assert_int_equal(get(&b, "/api/v1/jobs"), 200);
	assert_string_equal(b.body, "{\"jobs\":[]}");
	assert_int_equal(get(&b, "/api/v1/metrics"), 200);
	assert_non_null(strstr(b.body, "# EOF\n"));
	finish(&b);
}

TEST(a_body_is_judged_by_its_row)
{
	struct bench b;

	begin(&b);
	assert_int_equal(ask(&b, "GET", "/api/v1/vmm.ping", "{}"), 400);
	says(&b, "vmm.ping", "none belongs here");
	assert_int_equal(put(&b, "/api/v1/vm.create", NULL), 400);
	says(&b, "vm.create", "the body is missing: VmConfig");
	assert_int_equal(put(&b, "/api/v1/vm.create", "{"), 400);
	says(&b, "vm.create", "line 1");
	assert_int_equal(put(&b, "/api/v1/vm.create", "[]"), 400);
	assert_int_equal(put(&b, "/api/v1/vm.create", "{\"payloed\":{}}"), 400);
	says(&b, "vm.create", "did you mean 'payload'");
	assert_int_equal(
		put(&b, "/api/v1/vm.create",
		    "{\"payload\":{\"kernel\":\"k\"},\"cpus\":{\"boot_vcpus\":2,\"max_vcpus\":1}}"),
		400);
	assert_int_equal(get(&b, "/api/v1/vm.info"), 404);
	finish(&b);
}

TEST(states_are_judged_by_their_row)
{
	struct bench b;

	begin(&b);
	assert_int_equal(get(&b, "/api/v1/vm.info"), 404);
	says(&b, "vm.info", "there is no virtual machine");
	assert_int_equal(put(&b, "/api/v1/vm.boot", NULL), 404);
	assert_int_equal(put(&b, "/api/v1/vm.create", VM), 204);
	assert_int_equal(put(&b, "/api/v1/vm.create", VM), 405);
	assert_int_equal(put(&b, "/api/v1/vm.pause", NULL), 405);
	says(&b, "vm.pause", "Running");
	assert_int_equal(get(&b, "/api/v1/vm.info"), 200);
	assert_non_null(strstr(b.body, "\"state\":\"Created\""));
	assert_int_equal(put(&b, "/api/v1/vm.delete", NULL), 204);
	assert_int_equal(put(&b, "/api/v1/vm.delete", NULL), 204);
	finish(&b);
}

TEST(a_verb_that_fails_tells_why_and_changes_nothing)
{
	struct bench b;

	begin(&b);
	if (put(&b, "/api/v1/vm.create", VM) == 204) {
		assert_int_equal(put(&b, "/api/v1/vm.boot", NULL), 500);
		says(&b, "vm.boot", "/nowhere");
		assert_int_equal(get(&b, "/api/v1/vm.info"), 200);
		assert_non_null(strstr(b.body, "\"state\":\"Created\""));
	}
	finish(&b);
}

/* Each is judged like any other first. */
TEST(rows_without_their_work_say_so)
{
	struct bench b;
	unsigned int n = 0;

	begin(&b);
	for (const struct route *r = route_table; r < route_table + ROUTE_COUNT; r++) {
		AUTO_FREE char *path = route_path(r, 1);

		if (!(r->flags & R_UNBUILT) ||
		    route_allowed(r, ROUTE_NO_VM, &(struct err){ 0 }) == 0)
			continue;
		n++;
		assert_int_equal(put(&b, path, r->body ? "{\"nobody_knows\":1}" : NULL),
				 r->body ? 400 : 404);
	}
	assert_true(n > 3);
	assert_int_equal(put(&b, "/api/v1/vm.receive-migration", "{\"receiver_url\":\"unix:/a\"}"),
			 501);
	says(&b, "vm.receive-migration", "this build can not");
	finish(&b);
}

TEST(descriptors_are_counted_and_none_stays)
{
	int fds[ROUTE_FDS];
	unsigned int before;
	struct bench b;

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	begin(&b);
	before = open_fds();
	bring_fds(&b, "PUT", "/api/v1/vm.add-device", "{\"path\":\"x\"}", fds, 2);
	assert_int_equal(b.code, 400);
	says(&b, "vm.add-device", "2 descriptors came, and at most 1 belong here");
	bring_fds(&b, "GET", "/api/v1/vmm.ping", NULL, fds, 1);
	assert_int_equal(b.code, 400);
	assert_true(ask_fds(&b, "PUT", "/api/v1/vm.add-net", "{}", fds, ROUTE_FDS) >= 400);
	assert_int_equal(b.answers, 3);
	assert_int_equal(open_fds(), before);
	finish(&b);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

TEST(so_many_verbs_wait_and_one_more_is_told_to_come_again)
{
	struct bench b;

	begin(&b);
	for (unsigned int i = 0; i < VMM_WAITING_MAX; i++)
		bring_fds(&b, "PUT", "/api/v1/vm.delete", NULL, NULL, 0);
	assert_int_equal(b.answers, 0);
	bring_fds(&b, "PUT", "/api/v1/vm.delete", NULL, NULL, 0);
	assert_int_equal(b.answers, 1);
	assert_int_equal(b.code, 429);
	/* and reads go on */
	bring_fds(&b, "GET", "/api/v1/vmm.ping", NULL, NULL, 0);
	assert_int_equal(b.code, 200);
	while (b.answers < VMM_WAITING_MAX + 2)
		run_loop_past(b.ctl, 1000000000ull);
	assert_int_equal(b.code, 204);
	finish(&b);
}

TEST(each_answer_is_counted_at_its_row)
{
	const struct api_count *n;
	struct bench b;

	begin(&b);
	get(&b, "/api/v1/vmm.ping");
	get(&b, "/api/v1/vmm.ping");
	ask(&b, "GET", "/api/v1/vmm.ping", "{}");
	n = api_counts(b.api, ROUTE_vmm_ping);
	assert_int_equal(n->took.count, 3);
	assert_int_equal(n->errors, 1);
	assert_int_equal(api_counts(b.api, ROUTE_vm_info)->took.count, 0);
	finish(&b);
}

TEST(the_end_is_answered_before_it_comes)
{
	struct bench b;

	begin(&b);
	assert_int_equal(put(&b, "/api/v1/vmm.shutdown", NULL), 204);
	assert_int_equal(b.ends, 1);
	finish(&b);
}

/* Over a socket, for a header is needed. */
static void heard(struct bench *b, int fd, const char *request, char *answer, size_t size)
{
	size_t len = 0;

	assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
	for (int i = 0; i < 500 && (!len || !strstr(answer, "\r\n\r\n")); i++) {
		ssize_t n;

		run_loop_past(b->ctl, 10000000);
		n = recv(fd, answer + len, size - 1 - len, MSG_DONTWAIT);
		len += n > 0 ? (size_t)n : 0;
		answer[len] = '\0';
	}
}

TEST(who_would_rather_have_a_job_gets_one)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char answer[4096] = "";
	struct bench b;

	snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "virga-api-%d", getpid());
	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 4), 0);
	begin_at(&b, listener);
	assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof(at)), 0);
	heard(&b, client,
	      "PUT /api/v1/vm.delete HTTP/1.1\r\nHost:\r\nPrefer: wait=1, respond-async\r\n\r\n",
	      answer, sizeof(answer));
	assert_ptr_equal(strstr(answer, "HTTP/1.1 202 "), answer);
	assert_non_null(strstr(answer, "Location: /api/v1/jobs/1\r\n"));
	assert_non_null(strstr(answer, "Preference-Applied: respond-async\r\n"));
	assert_non_null(strstr(answer, "\"verb\":\"delete\""));
	assert_int_equal(get(&b, "/api/v1/jobs/1"), 200);
	assert_non_null(strstr(b.body, "\"state\":\"Done\""));
	assert_int_equal(put(&b, "/api/v1/jobs/1/cancel", NULL), 405);
	assert_int_equal(put(&b, "/api/v1/jobs/2/cancel", NULL), 404);
	assert_int_equal(get(&b, "/api/v1/jobs/2"), 404);
	finish(&b);
	close(client);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_no_row_has_is_not_found_and_another_method_is_bad),
		T(reads_are_answered_before_the_loop_turns),
		T(a_body_is_judged_by_its_row),
		T(states_are_judged_by_their_row),
		T(a_verb_that_fails_tells_why_and_changes_nothing),
		T(rows_without_their_work_say_so),
		T(descriptors_are_counted_and_none_stays),
		T(so_many_verbs_wait_and_one_more_is_told_to_come_again),
		T(each_answer_is_counted_at_its_row),
		T(the_end_is_answered_before_it_comes),
		T(who_would_rather_have_a_job_gets_one),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
