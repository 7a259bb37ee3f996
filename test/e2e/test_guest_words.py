# SPDX-License-Identifier: Apache-2.0
"""What virga tells of itself: log lines and their form, events, versions, refused system calls."""
import fcntl
import json
import os
import re
import subprocess
import time

import pytest

from lib.guest import guest_file, start_guest  # noqa: F401 (fixtures)
from lib.virga import binary

TOKENS = {
    "boottime": r" *\d+\.\d{6}", "wallclock": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
    "glog": r"\d{4} \d\d:\d\d:\d\d\.\d{6}", "localglog": r"\d{4} \d\d:\d\d:\d\d\.\d{6}",
    "thread": r"[\w-]+", "level": r"ERROR|WARN|INFO|DEBUG|TRACE", "levelchar": r"[EWIDT]",
    "location": r"\w+\.c:\d+", "msg": r".+", "pid": r"\d+", "tid": r"\d+",
    "year": r"20\d\d", "localyear": r"20\d\d", "month": r"\d\d", "localmonth": r"\d\d",
    "day": r"\d\d", "localday": r"\d\d", "hour": r"\d\d", "localhour": r"\d\d",
    "minute": r"\d\d", "localminute": r"\d\d", "second": r"\d\d", "localsecond": r"\d\d",
    "micros": r"\d{6}", "localmicros": r"\d{6}", "offset": r"\+00:00", "localoffset": r"[+-]\d\d:\d\d",
}


def events_of(text):
    """The events of a monitor's text; what follows the last empty line is not whole."""
    return [json.loads(part) for part in text.split("\n\n")[:-1]]


def test_log_lines_have_the_usual_form_and_go_to_stderr(start_guest):
    vm = start_guest("", "-v", kernel="hello.elf")
    assert vm.wait() == 0
    lines = vm.text.replace("\r", "").splitlines()
    assert len(lines) > 3
    for line in lines:
        assert re.fullmatch(r"virga: +\d+\.\d{6}s: <[\w-]+> (WARN|INFO):\w+\.c:\d+ -- .+", line), line


def test_log_lines_begin_with_the_name_that_it_was_started_under(start_guest, tmp_path):
    peer = tmp_path / "cloud-hypervisor"
    peer.symlink_to(binary())
    vm = start_guest("", "-v", kernel="hello.elf", program=str(peer))
    assert vm.wait() == 0
    assert all(line.startswith("cloud-hypervisor: ") for line in vm.text.splitlines()), vm.text
    done = subprocess.run([peer, "--kernel"], capture_output=True, text=True, check=False)
    assert done.stderr.startswith("cloud-hypervisor: ")


def test_log_file_and_every_token_of_the_form(start_guest, tmp_path):
    log = tmp_path / "log"
    log.write_text("of an earlier run\n")
    template = "|".join("{%s}" % name for name in TOKENS if name != "msg") + "|{{}}|{msg}"
    vm = start_guest("", "-vv", "--log-file", log, "--log-format", template, kernel="hello.elf",
                     env={"TZ": "Asia/Kolkata"})
    assert vm.wait() == 0
    assert vm.text == ""
    wanted = "\\|".join(f"({TOKENS[name]})" for name in TOKENS if name != "msg") + r"\|\{\}\|.+"
    lines = log.read_text().splitlines()
    assert len(lines) > 3 and "of an earlier run" not in lines
    for line in lines:
        assert re.fullmatch(wanted, line), line


def test_log_into_a_fifo_waits_for_no_reader(start_guest, tmp_path):
    """What was said while nobody was there is counted in the first line that somebody reads."""
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    vm = start_guest("park", "-v", "--log-file", fifo)
    vm.wait_for_in(vm.serial_path, "R3 PARKED")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert vm.stop() == 0
        first = os.read(reader, 4096).decode().splitlines()[0]
    finally:
        os.close(reader)
    left_out = re.search(r"\((\d+) more left out\)", first)
    assert left_out and int(left_out.group(1)) >= 3, first


@pytest.mark.parametrize("template", ["{", "}", "{none}", "x" * 600])
def test_log_form_that_is_none_is_refused(start_guest, template):
    vm = start_guest("", "--log-format", template, kernel="hello.elf")
    assert vm.wait() == 1
    assert "--log-format" in vm.text and len(vm.text.splitlines()) == 1


@pytest.mark.parametrize("flags,levels", [
    ([], {"WARN"}), (["-v"], {"WARN", "INFO"}), (["-vv"], {"WARN", "INFO", "DEBUG"}),
    (["-v", "-v", "-v"], {"WARN", "INFO", "DEBUG", "TRACE"}),
])
def test_verbosity_chooses_the_levels(start_guest, flags, levels):
    vm = start_guest("debug", *flags)
    assert vm.wait() == 0
    said = set(re.findall(r"<[^>]+> (\w+):", vm.text))
    assert said <= levels and ("INFO" in said) == ("INFO" in levels)


def test_event_monitor_on_a_fifo_that_nobody_reads_stalls_nothing(start_guest, tmp_path):
    """A guest that resets itself without end fills pipe and buffer; it goes on, and the log says so in a few lines."""
    fifo = tmp_path / "events"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        begun = time.monotonic()
        vm = start_guest("reset", "-v", "--event-monitor", f"path={fifo}")
        vm.wait_for("event monitor: nobody takes .* \\(\\d+ more left out\\)")
        resets = len(re.findall("RESET", vm.file_text(vm.serial_path)))
        vm.wait_for("nobody takes", after=len(vm.text))
        lived = time.monotonic() - begun
        vm.stop()
        assert vm.status == 0
        assert len(re.findall("RESET", vm.file_text(vm.serial_path))) > resets
        # some at once from each of a few places, and one a second from then on
        assert len(vm.text.splitlines()) < 10 * (lived + 100)
        text = os.read(reader, 1 << 20).decode()
    finally:
        os.close(reader)
    assert [e["event"] for e in events_of(text)][:4] == ["starting", "booting", "booted", "rebooting"]


def test_event_monitor_on_a_descriptor_of_the_caller(tmp_path):
    inp, out = os.pipe()
    os.set_inheritable(out, True)
    done = subprocess.run([binary(), "--kernel", guest_file("hello.elf"), "--console", "off",
                           "--event-monitor", f"fd={out}"], pass_fds=[out], check=False, timeout=60)
    os.close(out)
    assert done.returncode == 0
    with os.fdopen(inp) as f:
        told = events_of(f.read())
    assert [e["event"] for e in told] == ["starting", "booting", "booted", "shutdown", "deleted", "shutdown"]
    stamps = [(e["timestamp"]["secs"], e["timestamp"]["nanos"]) for e in told]
    assert stamps == sorted(stamps)
    assert set(told[0]) == {"timestamp", "source", "event", "properties"}


@pytest.mark.parametrize("mode", ["true", "false", "log", "errno"])
def test_each_way_of_seccomp_runs_a_guest(start_guest, mode):
    vm = start_guest("", "--seccomp", mode, kernel="hello.elf")
    vm.wait()
    assert vm.status == 0 and vm.text == ""


@pytest.mark.parametrize("mode,filters", [("true", 2), ("false", 0), ("log", 2), ("errno", 2)])
def test_threads_are_under_filters_unless_told_otherwise(start_guest, mode, filters):
    vm = start_guest("park", "--seccomp", mode)
    end = time.monotonic() + 20
    while "PARKED" not in (vm.file_text(vm.serial_path) or ""):
        assert time.monotonic() < end
        time.sleep(0.05)
    for task in os.listdir(f"/proc/{vm.pid}/task"):
        with open(f"/proc/{vm.pid}/task/{task}/status", encoding="ascii") as f:
            fields = dict(line.split(":\t", 1) for line in f.read().splitlines())
        assert fields["Seccomp"] == str(filters), fields["Name"]
        assert fields["NoNewPrivs"] == ("1" if filters else "0"), fields["Name"]
    vm.stop()


def test_version_is_one_line_and_more_with_verbosity():
    for flags, lines in (["-V"], 1), (["--version"], 1), (["-v", "-V"], 4), (["-V", "-vv"], 4):
        done = subprocess.run([binary(), *flags], capture_output=True, text=True, check=True)
        assert len(done.stdout.splitlines()) == lines
        assert re.match(r"virga v\d+\.\d+\.\d+\n", done.stdout)
