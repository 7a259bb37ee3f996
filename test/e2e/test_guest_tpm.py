# SPDX-License-Identifier: Apache-2.0
"""A TPM over swtpm: the tiny guest gives it commands; its process is there, comes back, is stopped, or dies."""
import os
import shutil
import signal
import subprocess
import time

import pytest

from lib.guest import build, guest, report_of, start_guest  # noqa: F401 (fixtures)
from lib.virga import PATIENCE


@pytest.fixture
def swtpm(tmp_path):
    """Starts swtpm with a state of its own; returns its process, whose .socket is where it listens."""
    if not shutil.which("swtpm"):
        pytest.fail("there is no swtpm: it is a Debian package (./dev installs it)")
    (tmp_path / "tpm").mkdir()
    started = []

    def start(*more):
        path = f"{tmp_path}/tpm.sock"
        process = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={tmp_path}/tpm",
                                    "--ctrl", f"type=unixio,path={path}", *more])
        process.socket = path
        end = time.monotonic() + 10 * PATIENCE
        while not os.path.exists(path):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.02)
        started.append(process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def test_commands_are_answered(guest, swtpm, build):
    report = guest("tpm", "--tpm", f"socket={swtpm().socket}", **build)
    assert len(report.all("PCR")[0][0]) == 64


def test_a_machine_that_is_started_anew_finds_registers_empty(guest, swtpm):
    process = swtpm()
    first = guest("tpm", "--tpm", f"socket={process.socket}").all("PCR")
    assert guest("tpm", "--tpm", f"socket={process.socket}").all("PCR") == first
    assert process.poll() is None


def test_a_reset_of_the_machine_resets_it(start_guest, swtpm):
    vm = start_guest("tpm reset=2", "--tpm", f"socket={swtpm().socket}")
    end = time.monotonic() + 30 * PATIENCE
    while vm.file_text(vm.serial_path).count("R3 PCR") < 4:
        assert time.monotonic() < end and vm.status is None, vm.tail()
        time.sleep(0.05)
    vm.stop()
    report = report_of(vm)
    assert not report.failed, report.failed
    assert len({line[0] for line in report.all("PCR")}) == 1


def test_a_stopped_process_holds_nobody(start_guest, swtpm):
    """The guest waits for its command; the API and the end of the machine do not."""
    process = swtpm()
    process.send_signal(signal.SIGSTOP)
    vm = start_guest("tpm", "--tpm", f"socket={process.socket}")
    vm.wait_for_in(vm.serial_path, "R3 PASS tpm is ready")
    assert vm.stop(5) == 0, vm.tail()


def test_a_process_that_dies_fails_commands(start_guest, swtpm):
    process = swtpm()
    process.send_signal(signal.SIGSTOP)
    vm = start_guest("tpm tpm-dead", "--tpm", f"socket={process.socket}")
    vm.wait_for_in(vm.serial_path, "R3 PASS tpm is ready")
    process.kill()
    process.send_signal(signal.SIGCONT)
    assert vm.wait(30) == 0, vm.tail()
    report_of(vm).check()
    assert "the TPM's process does not" in vm.text


def test_nobody_at_the_socket_is_said(start_guest, work):
    vm = start_guest("told", "--tpm", f"socket={work}/none")
    assert vm.wait() != 0 and "swtpm must listen there" in vm.text, vm.text


def test_tables_name_it(guest, swtpm):
    report = guest("acpi", "--tpm", f"socket={swtpm().socket}")
    assert "TPM2" in [line[0] for line in report.all("TABLE")]
