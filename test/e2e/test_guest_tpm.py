# SPDX-License-Identifier: Apache-2.0
"""A TPM over swtpm: the tiny guest gives it commands; its process is there, comes back, is stopped, or dies."""
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from lib.guest import build, guest, report_of, start_guest  # noqa: F401 (fixtures)
from lib.virga import PATIENCE
from lib.lives import Lives
from lib.wait import until_there


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
    while len(re.findall("R3 PCR .*\n", vm.file_text(vm.serial_path))) < 4:
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


def replace(process, start, tmp_path):
    """Another process in the place of this one, which knows nothing of what that held."""
    process.kill()
    process.wait()
    shutil.rmtree(tmp_path / "tpm")
    (tmp_path / "tpm").mkdir()
    if os.path.exists(process.socket):
        os.unlink(process.socket)
    return start()


def test_its_state_goes_along_with_a_snapshot(virga, work, swtpm, tmp_path):
    """What was measured before is in the register after, in a process that begins with nothing."""
    process = swtpm()
    lives = Lives(virga, work, "tpmcount=60", "--tpm", f"socket={process.socket}", cpus="boot=1")
    for n in range(3):
        lives.until(f"R3 PCR {register(5 * (n + 1))}")
        path = lives.save()
        lives.kill()
        process = replace(process, swtpm, tmp_path)
        lives.restore(path, "map")
        lives.until(f"R3 PCR {register(5 * (n + 1) + 2)}")
        shutil.rmtree(path)
    assert [line[0] for line in lives.end().all("PCR")] == [register(n + 1) for n in range(60)]


def test_another_process_takes_its_state_at_another_socket(virga, work, swtpm, tmp_path):
    """The first goes on beside the clone, each with a TPM of its own."""
    process = swtpm()
    lives = Lives(virga, work, "tpmcount=30", "--tpm", f"socket={process.socket}", cpus="boot=1")
    lives.until(f"R3 PCR {register(5)}")
    path = lives.save()
    (tmp_path / "other").mkdir()
    other = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={tmp_path}/other",
                              "--ctrl", f"type=unixio,path={work}/other.tpm"])
    try:
        until_there(f"{work}/other.tpm")
        clone = virga("--restore", f"source_url=file://{path},resume=on,tpm_socket={work}/other.tpm,serial_file={work}/clone",
                      overhead=False)
        assert clone.wait() == 0, clone.tail()
        assert f"R3 PCR {register(30)}" in clone.file_text(f"{work}/clone")
    finally:
        other.kill()
        other.wait()
    refused = virga("--restore", f"source_url=file://{path},tpm_socket={work}/other.tpm,check=on", overhead=False)
    assert refused.wait() == 1 and "swtpm must listen there" in refused.text
    for left in (f"{work}/clone", f"{work}/other.tpm"):
        if os.path.exists(left):
            os.unlink(left)
    shutil.rmtree(path)
    lives.api.put("vm.resume")
    assert lives.end().all("PCR")[-1] == [register(30)]


def register(times):
    """What a register holds that was extended so often."""
    held = bytes(32)
    for _ in range(times):
        held = hashlib.sha256(held + b"measured".ljust(32, b"\0")).digest()
    return held.hex()


def test_a_vm_goes_on_after_its_snapshot_with_the_same_process(virga, work, swtpm):
    lives = Lives(virga, work, "tpmcount=30", "--tpm", f"socket={swtpm().socket}", cpus="boot=1")
    lives.until(f"R3 PCR {register(3)}")
    shutil.rmtree(lives.save())
    lives.api.put("vm.resume")
    assert lives.end().all("PCR")[-1] == [register(30)]


def test_a_state_that_its_process_cannot_have_is_refused_by_name(virga, work, swtpm, tmp_path):
    process = swtpm()
    lives = Lives(virga, work, "tpmcount=600", "--tpm", f"socket={process.socket}", cpus="boot=1")
    lives.until(f"R3 PCR {register(1)}")
    path = lives.save()
    lives.kill()
    state = json.loads(open(f"{path}/state.json").read())
    [tpm] = [device for device in state["devices"] if device["id"] == "__tpm"]
    assert {blob["kind"] for blob in tpm["state"]["blobs"]} >= {1, 2}
    for spoil, words in [("00ff", "refuses the saved state"), ("xyz", "is none"), (None, "swtpm must listen there")]:
        process = replace(process, swtpm, tmp_path)
        if spoil is None:
            process.kill()
            process.wait()
        tpm["state"]["blobs"][0]["bytes"] = spoil or "00"
        with open(f"{path}/state.json", "w") as f:
            json.dump(state, f)
        vm = virga("--restore", f"source_url=file://{path}", overhead=False)
        assert vm.wait() == 1 and words in vm.text, vm.text
    shutil.rmtree(path)


def test_a_process_that_is_gone_is_why_there_is_no_snapshot(virga, work, swtpm):
    process = swtpm()
    lives = Lives(virga, work, "tpmcount=600", "--tpm", f"socket={process.socket}", cpus="boot=1")
    lives.until(f"R3 PCR {register(1)}")
    lives.api.put("vm.pause")
    process.kill()
    os.mkdir(f"{work}/snap")
    answer = lives.api.ask("PUT", "vm.snapshot", {"destination_url": f"file://{work}/snap"})
    assert answer.code == 500 and "device __tpm" in answer.error, answer.error
    assert os.listdir(f"{work}/snap") == []
    lives.api.put("vm.resume")
    lives.vm.stop()


def test_a_process_that_answers_too_late_is_why_there_is_no_snapshot_and_the_tpm_stays(virga, work, swtpm):
    process = swtpm()
    lives = Lives(virga, work, "tpmcount=30", "--tpm", f"socket={process.socket}", cpus="boot=1")
    lives.until(f"R3 PCR {register(1)}")
    lives.api.put("vm.pause")
    process.send_signal(signal.SIGSTOP)
    os.mkdir(f"{work}/snap")
    answer = lives.api.ask("PUT", "vm.snapshot", {"destination_url": f"file://{work}/snap"})
    assert answer.code == 500 and "device __tpm" in answer.error and "does not answer" in answer.error, answer.error
    assert os.listdir(f"{work}/snap") == []
    os.rmdir(f"{work}/snap")
    lives.api.put("vm.resume")
    process.send_signal(signal.SIGCONT)
    lives.until(f"R3 PCR {register(15)}")
    shutil.rmtree(lives.save())
    lives.api.put("vm.resume")
    assert lives.end().all("PCR") == [[register(n + 1)] for n in range(30)]
    assert "the TPM's process" not in lives.vm.text
