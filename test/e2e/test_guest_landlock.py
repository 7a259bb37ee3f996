# SPDX-License-Identifier: Apache-2.0
"""--landlock: a VM works under it, also after a reboot, and what its configuration does not name is out of reach."""
import os
import re
import time

import pytest

from lib.guest import guest, guest_file, pattern_disk, start_guest  # noqa: F401 (fixtures)
from lib.virga import binary


@pytest.fixture
def disk(work):
    return pattern_disk(f"{work}/disk")


def parked(vm):
    end = time.monotonic() + 20
    while "PARKED" not in vm.file_text(vm.serial_path):
        assert time.monotonic() < end and vm.status is None, vm.tail()
        time.sleep(0.05)
    return vm


def test_devices_work_under_landlock(guest, disk):
    guest("blk rng", "--landlock", "--disk", f"path={disk}", "--rng", "src=/dev/urandom")


def test_reset_builds_the_machine_again_under_landlock(guest, work):
    disk = pattern_disk(f"{work}/disk", 1)
    with open(disk, "r+b") as f:
        f.write(bytes(8))
    report = guest("blk again=3", "--landlock", "--disk", f"path={disk}", timeout=120)
    assert len(report.all("START")) == 4


def test_file_that_no_rule_names_is_out_of_reach(start_guest, disk, work, tmp_path):
    """The disk is a link; when it comes to lead elsewhere, the next reset finds nothing that it may open."""
    other, link = pattern_disk(tmp_path / "other", 1), f"{work}/link"
    os.symlink(disk, link)
    vm = start_guest("reset", "--landlock", "--disk", f"path={link}")
    end = time.monotonic() + 20
    while vm.file_text(vm.serial_path).count("RESET") < 3:
        assert time.monotonic() < end and vm.status is None, vm.tail()
        time.sleep(0.05)
    os.symlink(other, f"{link}2")
    os.rename(f"{link}2", link)
    assert vm.wait(20) == 1
    assert re.search(f"reboot: .*no right to .*{link}", vm.text), vm.text


def test_tap_is_made_under_landlock(start_guest, ns, tmp_path):
    vm = start_guest("park", "--landlock", "--net", "tap=vt0,ip=192.168.77.1,mask=255.255.255.0",
                     program=ns.wrap(binary(), tmp_path))
    parked(vm)
    assert ns.has("vt0")
    vm.stop()


def test_every_file_in_use_was_named(start_guest, disk, tmp_path):
    """Files of a console, of the log and of events are open before, and go on being written."""
    log, events = tmp_path / "log", tmp_path / "events"
    vm = start_guest("park", "--landlock", "--disk", f"path={disk},readonly=on", "--log-file", log, "-v",
                     "--event-monitor", f"path={events}")
    parked(vm)
    vm.stop()
    assert vm.status == 0
    assert "deleted" in events.read_text() and "vmm shutdown" in log.read_text()


def test_rules_of_the_user_are_taken(start_guest, work, tmp_path):
    vm = start_guest("park", "--landlock", "--landlock-rules", f"path={work},access=r",
                     f"path={tmp_path},access=rw")
    parked(vm)
    vm.stop()
    assert vm.status == 0


def test_socket_of_a_console_is_removed_under_landlock(start_guest, work):
    paths = [f"{work}/serial.socket", f"{work}/console.socket"]
    vm = start_guest("park", "--landlock", serial=f"socket={paths[0]}", console=f"socket={paths[1]}")
    end = time.monotonic() + 20
    while not all(map(os.path.exists, paths)):
        assert time.monotonic() < end and vm.status is None, vm.tail()
        time.sleep(0.05)
    vm.stop()
    assert vm.status == 0 and not any(map(os.path.exists, paths))


@pytest.mark.parametrize("rule,words", [
    ("path=/nowhere/at/all,access=rw", "--landlock-rules: /nowhere/at/all: No such file or directory"),
    ("path=/tmp,access=x", "access is none of r, w and rw"),
    ("path=/tmp,access=", "access"),
    ("path=/tmp", "access"),
    ("access=r", "path"),
])
def test_rules_that_are_none_are_refused(start_guest, rule, words):
    vm = start_guest("", "--landlock", "--landlock-rules", rule, kernel="hello.elf")
    assert vm.wait() == 1
    assert words in vm.text


def test_rules_without_landlock_are_warned_of(start_guest):
    vm = start_guest("", "--landlock-rules", "path=/tmp,access=r", kernel="hello.elf")
    assert vm.wait() == 0
    assert re.search("WARN.*--landlock-rules: without --landlock", vm.text)
