/* SPDX-License-Identifier: Apache-2.0 */
/* The table of endpoints: rows that contradict each other, the way from a request to its row, and
 * what is said where a row does not fit. */
#include "test.h"

#include <string.h>

#include "conf/routes.h"

static const struct route *find(const char *method, const char *path, uint64_t *id)
{
	struct err e = { 0 };

	return route_find(id, method, path, &e);
}

static enum err_kind refused(const char *method, const char *path)
{
	struct err e = { 0 };
	uint64_t id;

	assert_null(route_find(&id, method, path, &e));
	return e.kind;
}

TEST(no_two_rows_have_a_path_an_operation_or_a_command_in_common)
{
	for (unsigned int i = 0; i < ROUTE_COUNT; i++) {
		const struct route *a = &route_table[i];

		for (unsigned int k = 0; k < i; k++) {
			const struct route *b = &route_table[k];

			assert_string_not_equal(a->path, b->path);
			assert_string_not_equal(a->op, b->op);
			assert_string_not_equal(a->command, b->command);
		}
	}
}

TEST(every_row_is_whole)
{
	for (unsigned int i = 0; i < ROUTE_COUNT; i++) {
		const struct route *r = &route_table[i];

		assert_non_null(r->doc);
		assert_true(r->states);
		assert_true(!r->body || r->method == ROUTE_PUT);
		assert_false(r->reply && r->media);
		/* what a command is told has a place in the request */
		assert_true((r->arg == ROUTE_ID) == (strstr(r->path, "{id}") != NULL));
		assert_true((r->arg == ROUTE_NOTHING || r->arg == ROUTE_ID) == !r->body);
	}
}

TEST(a_request_finds_its_row)
{
	uint64_t id;

	assert_ptr_equal(find("GET", "/api/v1/vmm.ping", &id), &route_table[ROUTE_vmm_ping]);
	assert_ptr_equal(find("PUT", "/api/v1/vm.boot", &id), &route_table[ROUTE_vm_boot]);
	assert_ptr_equal(find("PUT", "/api/v1/vm.resize-disk", &id),
			 &route_table[ROUTE_vm_resize_disk]);
	assert_int_equal(id, 0);
	assert_ptr_equal(find("GET", "/api/v1/jobs", &id), &route_table[ROUTE_jobs]);
	assert_ptr_equal(find("GET", "/api/v1/jobs/17", &id), &route_table[ROUTE_job]);
	assert_int_equal(id, 17);
	assert_ptr_equal(find("PUT", "/api/v1/jobs/9223372036854775808/cancel", &id),
			 &route_table[ROUTE_job_cancel]);
	assert_true(id == 1ull << 63);
}

TEST(a_path_that_is_not_there_and_a_method_that_does_not_fit_differ)
{
	assert_int_equal(refused("GET", "/api/v1/vm.nothing"), ERR_ABSENT);
	assert_int_equal(refused("GET", "/api/v1/vm.inf"), ERR_ABSENT);
	assert_int_equal(refused("GET", "/api/v1/vm.info2"), ERR_ABSENT);
	assert_int_equal(refused("GET", "/api/v1/vm.info/"), ERR_ABSENT);
	assert_int_equal(refused("GET", "/api/v2/vm.info"), ERR_ABSENT);
	assert_int_equal(refused("GET", "vm.info"), ERR_ABSENT);
	assert_int_equal(refused("GET", ""), ERR_ABSENT);
	assert_int_equal(refused("GET", "/api/v1/jobs/"), ERR_ABSENT);
	assert_int_equal(refused("GET", "/api/v1/jobs/x"), ERR_ABSENT);
	assert_int_equal(refused("GET", "/api/v1/jobs/-1"), ERR_ABSENT);
	assert_int_equal(refused("GET", "/api/v1/jobs/1x"), ERR_ABSENT);
	assert_int_equal(refused("GET", "/api/v1/jobs/18446744073709551616"), ERR_ABSENT);
	assert_int_equal(refused("PUT", "/api/v1/jobs/1/cancel/"), ERR_ABSENT);
	assert_int_equal(refused("PUT", "/api/v1/vm.info"), ERR_BAD);
	assert_int_equal(refused("GET", "/api/v1/vm.boot"), ERR_BAD);
	assert_int_equal(refused("POST", "/api/v1/vm.boot"), ERR_BAD);
	assert_int_equal(refused("put", "/api/v1/vm.boot"), ERR_BAD);
}

static void is_told(enum route_id id, int state, enum err_kind kind, const char *words)
{
	struct err e = { 0 };
	char line[ERR_TEXT];

	assert_int_equal(route_allowed(&route_table[id], state, &e), kind ? -1 : 0);
	assert_int_equal(e.kind, kind);
	if (kind && !strstr(err_line(&e, line, sizeof(line)), words))
		fail_msg("no '%s' in: %s", words, line);
}

TEST(a_wrong_state_is_told_with_those_that_would_do)
{
	is_told(ROUTE_vm_boot, ROUTE_NO_VM, ERR_ABSENT, "vm.create");
	is_told(ROUTE_vm_boot, VM_RUNNING, ERR_STATE, "is Running");
	is_told(ROUTE_vm_boot, VM_RUNNING, ERR_STATE, "Created, Shutdown");
	is_told(ROUTE_vm_boot, VM_CREATED, ERR_NONE, "");
	is_told(ROUTE_vm_create, VM_SHUTDOWN, ERR_STATE, "vm.delete");
	is_told(ROUTE_vm_create, ROUTE_NO_VM, ERR_NONE, "");
	is_told(ROUTE_vm_resume, VM_RUNNING, ERR_STATE, "Paused");
	is_told(ROUTE_vm_pause, VM_PAUSED, ERR_STATE, "Running");
	is_told(ROUTE_vm_delete, ROUTE_NO_VM, ERR_NONE, "");
	for (int s = VM_CREATED; s <= VM_BREAKPOINT; s++)
		is_told(ROUTE_vm_info, s, ERR_NONE, "");
}

static bool may_answer(enum route_id id, unsigned int code)
{
	struct route_code codes[ROUTE_CODES];
	unsigned int n = route_codes(&route_table[id], codes);

	assert_true(n <= ROUTE_CODES);
	for (unsigned int i = 0; i < n; i++)
		if (codes[i].code == code)
			return true;
	return false;
}

TEST(each_error_has_the_code_that_clients_know)
{
	static const struct {
		enum err_kind kind;
		unsigned int code;
	} known[] = {
		{ ERR_BAD, 400 },  { ERR_ABSENT, 404 }, { ERR_STATE, 405 }, { ERR_TAKEN, 409 },
		{ ERR_BUSY, 429 }, { ERR_DENIED, 500 }, { ERR_IO, 500 },    { ERR_UNBUILT, 501 },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		assert_int_equal(route_error_code(known[i].kind), known[i].code);
}

TEST(rows_promise_what_they_may_answer)
{
	for (unsigned int i = 0; i < ROUTE_COUNT; i++) {
		assert_true(may_answer(i, 400));
		assert_true(may_answer(i, 500));
		assert_int_equal(may_answer(i, 202), (route_table[i].flags & R_JOB) != 0);
		assert_true(may_answer(i, 200) || may_answer(i, 204));
	}
	assert_true(may_answer(ROUTE_vm_add_disk, 200) && may_answer(ROUTE_vm_add_disk, 204));
	assert_false(may_answer(ROUTE_vmm_ping, 404) || may_answer(ROUTE_vmm_ping, 405));
	assert_true(may_answer(ROUTE_vm_pause, 404) && may_answer(ROUTE_vm_pause, 405));
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(no_two_rows_have_a_path_an_operation_or_a_command_in_common),
		T(every_row_is_whole),
		T(a_request_finds_its_row),
		T(a_path_that_is_not_there_and_a_method_that_does_not_fit_differ),
		T(a_wrong_state_is_told_with_those_that_would_do),
		T(each_error_has_the_code_that_clients_know),
		T(rows_promise_what_they_may_answer),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
