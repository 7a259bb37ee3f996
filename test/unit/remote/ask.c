/* SPDX-License-Identifier: Apache-2.0 */
/* Commands into requests: path, body and descriptors of each shape, and words that are wrong. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "remote/ask.h"
#include "remote/words.h"

static struct err e;

/* The words of a command, parted by blanks, as argv would have them behind it. */
static int make(struct ask *out, const char *text)
{
	AUTO_FREE char *copy = mem_str(text);
	char *args[16], *word = copy;
	unsigned int n = 0;

	for (char *next; word; word = next) {
		next = strchr(word, ' ');
		if (next)
			*next++ = '\0';
		args[n++] = word;
	}
	err_clear(&e);
	assert_non_null(words_command(args[0]));
	return ask_make(out, words_command(args[0]), args + 1, n - 1, &e);
}

static void asks(const char *text, const char *path, const char *body)
{
	struct ask a;

	if (make(&a, text) < 0)
		fail_msg("%s: %s", text, err_frame(&e, 0));
	assert_string_equal(a.path, path);
	if (body)
		assert_string_equal(a.body, body);
	else
		assert_null(a.body);
	ask_free(&a);
}

static void refuses(const char *text, const char *sentence)
{
	struct ask a;
	char line[ERR_TEXT];

	if (!make(&a, text))
		fail_msg("'%s' was taken", text);
	if (!strstr(err_line(&e, line, sizeof(line)), sentence))
		fail_msg("'%s': %s", text, line);
	ask_free(&a);
}

TEST(commands_without_words_have_no_body)
{
	asks("ping", "/api/v1/vmm.ping", NULL);
	asks("shutdown-vmm", "/api/v1/vmm.shutdown", NULL);
	asks("power-button", "/api/v1/vm.power-button", NULL);
	asks("jobs", "/api/v1/jobs", NULL);
	refuses("ping me", "ping takes nothing, and 'me' stands behind it");
}

TEST(a_job_is_named_by_its_number)
{
	asks("job 7", "/api/v1/jobs/7", NULL);
	asks("cancel 18446744073709551615", "/api/v1/jobs/18446744073709551615/cancel", NULL);
	refuses("job", "job needs the number of a job");
	refuses("job 1/cancel", "1/cancel");
	refuses("job -1", "-1");
	refuses("cancel 1 2", "'2' stands behind it");
}

TEST(a_word_becomes_the_first_key)
{
	asks("coredump file:///tmp/core", "/api/v1/vm.coredump",
	     "{\"destination_url\":\"file:///tmp/core\"}");
	asks("snapshot file:///tmp/a\"b", "/api/v1/vm.snapshot",
	     "{\"destination_url\":\"file:///tmp/a\\\"b\"}");
	asks("remove-device _disk0", "/api/v1/vm.remove-device", "{\"id\":\"_disk0\"}");
	asks("remove-device _disk0,wait=5,force=on", "/api/v1/vm.remove-device",
	     "{\"id\":\"_disk0\",\"wait\":5,\"force\":true}");
	asks("remove-device id=_disk0", "/api/v1/vm.remove-device", "{\"id\":\"_disk0\"}");
	refuses("remove-device", "remove-device needs <id>[,key=value,...]");
	refuses("snapshot", "snapshot needs file://<directory>");
	refuses("snapshot a b", "'b' stands behind it");
}

TEST(dashed_keys_become_the_members_that_they_stand_for)
{
	asks("resize --cpus 4", "/api/v1/vm.resize", "{\"desired_vcpus\":4}");
	asks("resize --memory 2G --balloon=512M", "/api/v1/vm.resize",
	     "{\"desired_ram\":2147483648,\"desired_balloon\":536870912}");
	asks("resize", "/api/v1/vm.resize", "{}");
	asks("resize-disk --disk d --size 10G", "/api/v1/vm.resize-disk",
	     "{\"id\":\"d\",\"desired_size\":10737418240}");
	asks("resize-zone --id z --size=1M", "/api/v1/vm.resize-zone",
	     "{\"id\":\"z\",\"desired_ram\":1048576}");
	refuses("resize --cpus", "--cpus needs a value");
	refuses("resize --cpus four", "--cpus");
	refuses("resize --cpus 1 --cpus 2", "--cpus is said twice");
	refuses("resize --memory 1T", "1T");
	refuses("resize --disk d", "resize has no '--disk': it takes --cpus, --memory, --balloon");
	refuses("resize 4", "resize has no '4'");
	refuses("resize-disk --disk d", "resize-disk needs --size");
}

TEST(a_configuration_is_said_as_to_virga)
{
	struct ask a;
	AUTO_JSON struct json *j = NULL;

	assert_int_equal(make(&a, "add-disk path=/a,readonly=on,bw_size=100,bw_refill_time=10"), 0);
	assert_string_equal(a.path, "/api/v1/vm.add-disk");
	assert_int_equal(json_parse(&j, a.body, a.body_len, &e), 0);
	assert_string_equal(json_str(json_get(j, "path")), "/a");
	assert_true(json_bool(json_get(j, "readonly")));
	assert_int_equal(
		json_int(json_get(json_get(json_get(j, "rate_limiter_config"), "bandwidth"),
				  "size")),
		100);
	ask_free(&a);
	asks("add-vsock cid=3,socket=/s", "/api/v1/vm.add-vsock",
	     "{\"cid\":3,\"socket\":\"/s\",\"iommu\":false,\"pci_segment\":0}");
	refuses("add-disk path=/a,readnoly=on", "did you mean 'readonly'?");
	refuses("add-vsock cid=3", "'socket' is missing");
	refuses("add-fs", "add-fs needs key=value,...");
}

TEST(descriptors_are_collected_in_the_order_of_their_rows)
{
	struct ask a;
	int p[4];
	char text[200];

	for (unsigned int i = 0; i < 4; i++) {
		p[i] = dup(STDERR_FILENO);
		assert_true(p[i] >= 3);
	}
	snprintf(text, sizeof(text), "add-net id=n,fd=[%d,%d],num_queues=4", p[1], p[0]);
	assert_int_equal(make(&a, text), 0);
	assert_int_equal(a.fd_count, 2);
	assert_int_equal(a.fds[0], p[1]);
	assert_int_equal(a.fds[1], p[0]);
	assert_null(strstr(a.body, "fd"));
	ask_free(&a);
	snprintf(text, sizeof(text), "add-device fd=%d", p[2]);
	assert_int_equal(make(&a, text), 0);
	assert_int_equal(a.fd_count, 1);
	ask_free(&a);
	snprintf(text, sizeof(text),
		 "restore iommufd_fd=%d,vfio_fds=[v@%d],net_fds=[n@[%d,%d]],source_url=file:///s",
		 p[3], p[2], p[0], p[1]);
	if (make(&a, text) < 0)
		fail_msg("%s", err_frame(&e, 0));
	assert_int_equal(a.fd_count, 4);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(a.fds[i], p[i]);
	assert_non_null(strstr(a.body, "\"num_fds\":2"));
	ask_free(&a);
	for (unsigned int i = 0; i < 4; i++)
		close(p[i]);
	refuses("add-net fd=[900,901],num_queues=4", "descriptor 900: Bad file descriptor");
}

TEST(a_machine_is_created_from_a_file)
{
	char path[] = "/tmp/virga-ask-XXXXXX", text[100];
	struct ask a;
	int fd = mkstemp(path);

	assert_int_equal(write(fd, "{\"payload\":{}}\n", 15), 15);
	snprintf(text, sizeof(text), "create %s", path);
	assert_int_equal(make(&a, text), 0);
	assert_string_equal(a.body, "{\"payload\":{}}\n");
	assert_int_equal(a.body_len, 15);
	ask_free(&a);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
	asks("create -", "/api/v1/vm.create", "{\"payload\":{}}\n");
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	asks("create", "/api/v1/vm.create", "{\"payload\":{}}\n");
	close(fd);
	unlink(path);
	refuses(text, "No such file or directory");
}

TEST(every_command_makes_a_request_or_says_what_it_needs)
{
	for (const struct route *r = route_table; r < route_table + ROUTE_COUNT; r++) {
		struct ask a;

		if (!r->command || r->arg == ROUTE_FILE)
			continue;
		assert_ptr_equal(words_command(r->command), r);
		if (make(&a, r->command) < 0)
			assert_non_null(strstr(err_frame(&e, 0), r->command));
		else
			assert_ptr_equal(strstr(a.path, ROUTE_BASE), a.path);
		ask_free(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(commands_without_words_have_no_body),
		T(a_job_is_named_by_its_number),
		T(a_word_becomes_the_first_key),
		T(dashed_keys_become_the_members_that_they_stand_for),
		T(a_configuration_is_said_as_to_virga),
		T(descriptors_are_collected_in_the_order_of_their_rows),
		T(a_machine_is_created_from_a_file),
		T(every_command_makes_a_request_or_says_what_it_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
