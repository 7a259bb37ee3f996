# SPDX-License-Identifier: Apache-2.0
"""Tests of devices once more, on machines that were cut off after their first words and go on in another process.

Every day a part of them runs; all of them by hand, in any mode:

	VIRGA_TEST_RESTORED=copy python3 -B -m pytest -p no:cacheprovider test/e2e/test_guest_*.py

What lib/lives.py leads so, a test does not see; what such a run says at its end is how many machines it led. The tests
below speak of one process, and not of a machine.
"""
import os
import re
import subprocess
import sys

import pytest

from lib.virga import TOP

OF_ONE_PROCESS = {
    "test_guest_watch.py": ["test_metrics_are_openmetrics_in_every_state",  # counts what happened since the start
                            "test_memory_beside_the_guests_is_what_the_kernel_says"],  # pages that are shown are not held
    "test_guest_bad_input.py": ["test_no_right_to_kvm", "test_no_kvm_at_all"],  # nor a right to make a socket
    # whoever leads a machine has looked at it, and newer numbers are fetched once a second
    "test_guest_balloon.py": ["test_counters_tell_the_balloon_and_the_guests_own_numbers"],
    "test_guest_boot.py": ["test_events_tell_the_life_from_start_to_end"],
    "test_guest_words.py": ["test_event_monitor_on_a_fifo_that_nobody_reads_stalls_nothing"],
    "test_guest_platform.py": ["test_pvpanic_tells_the_event_monitor", "test_marks_of_port_80_are_logged_with_the_time",
                               "test_debug_console_is_heard_on_a_pseudo_terminal"],  # it is another's after
    "test_guest_passt.py": ["test_frames_that_are_no_good_or_never_whole_leave_the_link_up",  # counts connections
                            "test_datagrams_of_all_lengths_as_an_ordinary_user_with_only_kvm"],  # who may not write the snapshot
    "test_guest_vsock.py": ["test_streams_and_messages_both_ways"],  # somebody connects while the machine starts
    # how memory is mapped, which a restore decides; a pool of pages for one; a boot that is broken off
    "test_guest_memory.py": ["test_zones_take_over_what_memory_says", "test_each_kind_of_zone_is_its_kind_of_mapping",
                             "test_a_file_of_hugetlbfs_brings_its_pages", "test_a_signal_breaks_off_touching_pages"],
    # the counter that the guest takes for its clock is the host's here, and stands for no restore
    "test_guest_rates.py": [""],
    "test_guest_change.py": ["test_the_clocks_of_a_paused_guest_stand_or_go_on_as_each_should"],
}
# How memory comes back, files, and words of the tests' names. Each class of devices has its turn here.
DAILY = {
    "devices": ("any", ["devices"], "many or writes_flushes or each_of_its_queues or serial or console or random"),
    "cards": ("ondemand", ["net"], ""),
    "board": ("copy", ["board"], "not cmos"),
    "firmware": ("map", ["fwcfg"], "as_given"),
    "blocks": ("any", ["vmem"], "without_huge"),
    "confined": ("any", ["landlock"], "devices_work or tap"),
    "memory": ("map", ["balloon", "pmem", "ivshmem", "pvmemcontrol"],
               "anonymous or reach_the_file or part_of_a_file or its_bar"),
    "mapped": ("ondemand", ["iommu", "vsock", "timers", "tpm"],
               "console_and_random or disk_and_card or to_and_fro or host_reaches or watchdog_hears or virtio_clock or commands_are"),
    "words": ("copy", ["consoles", "disks", "resize", "platform"],
              "(each_way and socket) or many_see or write_through or given_back or vcpus_come or firmware_text"),
}


def run(mode, tests, words=""):
    """A run of its own; how many machines were led, and what it said."""
    skipped = [f"--deselect=test/e2e/{file}::{name}" for file, names in OF_ONE_PROCESS.items() for name in names]
    done = subprocess.run([sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", *skipped, *tests,
                           *(["-k", words] if words else [])], cwd=TOP, capture_output=True, text=True, check=False,
                          env={**os.environ, "VIRGA_TEST_RESTORED": mode})
    found = re.search(r"^restored: (\d+)", done.stdout, re.M)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return int(found.group(1)), done.stdout


@pytest.mark.parametrize("what", DAILY)
def test_devices_do_on_a_restored_machine_what_they_do_on_any(what):
    mode, files, words = DAILY[what]
    led, said = run(mode, [f"test/e2e/test_guest_{file}.py" for file in files], words)
    assert led >= len(files), said
