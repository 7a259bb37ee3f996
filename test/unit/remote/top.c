/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about the page that top shows (src/remote/top.c). */
#include "conf/conf.h" /* first: its rows use T for themselves */
#include "test.h"

#include <string.h>

#include "base/mem.h"
#include "remote/top.h"

#define SECOND 1000000000ull

static const char first[] = "# TYPE virga_vm_state stateset\n"
			    "virga_vm_state{virga_vm_state=\"Created\"} 0\n"
			    "virga_vm_state{virga_vm_state=\"Running\"} 1\n"
			    "process_cpu_seconds_total{mode=\"user\"} 1.500000000\n"
			    "process_cpu_seconds_total{mode=\"system\"} 0.500000000\n"
			    "process_resident_memory_bytes 104857600\n"
			    "virga_memory_guest_bytes 536870912\n"
			    "virga_memory_guest_resident_bytes 101711872\n"
			    "virga_memory_overhead_bytes 3145728\n"
			    "virga_vcpu_exits_total{vcpu=\"0\",kind=\"io\"} 1000\n"
			    "virga_vcpu_exits_total{vcpu=\"0\",kind=\"halt\"} 20\n"
			    "virga_vcpu_cpu_seconds_total{vcpu=\"0\"} 1.25\n"
			    "virga_blk_read_bytes_total{device=\"_disk0\"} 4096\n"
			    "virga_blk_read_ops_total{device=\"_disk0\"} 2\n"
			    "virga_blk_read_time_seconds_total{device=\"_disk0\"} 0.000100000\n"
			    "virga_net_tx_frames_total{device=\"_net1\"} 7\n"
			    "virga_api_clients 2\n"
			    "# EOF\n";
static const char second[] = "virga_vm_state{virga_vm_state=\"Paused\"} 1\n"
			     "process_cpu_seconds_total{mode=\"user\"} 2.500000000\n"
			     "process_cpu_seconds_total{mode=\"system\"} 0.500000000\n"
			     "virga_vcpu_exits_total{vcpu=\"0\",kind=\"io\"} 3000\n"
			     "virga_vcpu_exits_total{vcpu=\"0\",kind=\"halt\"} 10\n"
			     "virga_vcpu_cpu_seconds_total{vcpu=\"0\"} 3.25\n"
			     "virga_blk_read_bytes_total{device=\"_disk0\"} 2101248\n"
			     "virga_blk_read_ops_total{device=\"_disk0\"} 1002\n"
			     "virga_blk_read_time_seconds_total{device=\"_disk0\"} 0.100100000\n"
			     "virga_job_done_bytes{job=\"3\",verb=\"boot\"} 1048576\n"
			     "virga_job_expected_bytes{job=\"3\",verb=\"boot\"} 4194304\n";

/* The line that begins with a word, its blanks made single. */
static char *line_of(const char *page, const char *word)
{
	const char *at = page;
	char *out = mem_new(strlen(page) + 1);
	size_t n = 0;

	while (strncmp(at, word, strlen(word)) != 0) {
		at = strchr(at, '\n');
		if (!at)
			fail_msg("no line begins with %s:\n%s", word, page);
		at++;
	}
	for (; *at && *at != '\n'; at++)
		if (*at != ' ' || (n && out[n - 1] != ' '))
			out[n++] = *at;
	return out;
}

static void has(const char *page, const char *word, const char *want)
{
	AUTO_FREE char *line = line_of(page, word);

	assert_string_equal(line, want);
}

TEST(one_look_shows_sums)
{
	struct top_look *l = top_look_new(first, SECOND);
	AUTO_FREE char *page = top_page(l, NULL);

	has(page, "Running", "Running processors: 1.50 s user, 0.50 s system clients: 2");
	has(page, "memory", "memory: 100M resident, guest 97M of 512M, beside it 3.0M");
	has(page, "vcpu", "vcpu cpu s exits io mmio eoi halt intr");
	has(page, "0 ", "0 1.2 1020 1000 0 0 20 0");
	has(page, "device", "device in out ops in ops out in us out us failed");
	has(page, "_disk0", "_disk0 4096 0 2 0 50 0 0");
	has(page, "_net1", "_net1 0 0 0 7 0 0 0");
	top_look_free(l);
}

TEST(two_looks_show_what_passed_in_a_second)
{
	struct top_look *a = top_look_new(first, SECOND), *b = top_look_new(second, 3 * SECOND);
	AUTO_FREE char *page = top_page(b, a);

	has(page, "Paused", "Paused processors: 50% user, 0% system clients: 0");
	/* a number that has fallen began anew */
	has(page, "0 ", "0 100.0 1005 1000 0 0 5 0");
	has(page, "device", "device in/s out/s op-in/s op-out/s in us out us failed");
	has(page, "_disk0", "_disk0 1.0M 0 500 0 100 0 0");
	has(page, "job", "job 3, boot: 1 MiB done; job 3, boot: 4 MiB in all");
	top_look_free(a);
	top_look_free(b);
}

TEST(what_is_no_metrics_shows_nothing)
{
	struct top_look *l = top_look_new("{\"a\": 1}\nvirga_vcpu_exits_total{vcpu=\"", 1);
	AUTO_FREE char *page = top_page(l, l);

	assert_non_null(strstr(page, "no virtual machine"));
	assert_null(strstr(page, "vcpu"));
	top_look_free(l);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(one_look_shows_sums),
		T(two_looks_show_what_passed_in_a_second),
		T(what_is_no_metrics_shows_nothing),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
