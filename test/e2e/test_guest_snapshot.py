# SPDX-License-Identifier: Apache-2.0
"""Snapshots with tiny guests: cut off in the midst of their work by SIGKILL and restored in another process, in every
mode, many times over; what is refused; what is left of one that failed."""
import json
import os
import random
import shutil
import signal
import time

import pytest

from lib.api import Api
from lib.engines import ENGINES
from lib.guest import guest_file, report_of
from lib.virga import binary

MIB = 1 << 20
MODES = ["map", "copy"]


def sparse(path, mib):
    with open(path, "wb") as f:
        f.truncate(mib * MIB)
    return str(path)


class Lives:
    """A guest that goes on from process to process. Its serial port is a file that each begins anew; `said` has all."""

    def __init__(self, virga, work, words, *args, memory="size=128M", cpus="boot=2", console="off", program=None):
        self.virga, self.work, self.program = virga, work, program
        self.generation, self.said = 0, ""
        self.file = f"{work}/said"
        self.api = None
        self.vm = self.start("--kernel", guest_file("guest.elf"), "--cmdline", words, "--cpus", cpus, "--memory", memory,
                             "--console", console, "--serial", f"file={self.file}", *args)

    def start(self, *args):
        path = f"{self.work}/api{self.generation}"
        vm = self.virga("--api-socket", f"path={path}", *args, overhead=False, program=self.program)
        vm.serial_path = self.file
        self.api = Api(path)
        return vm

    def text(self):
        if not os.path.exists(self.file):
            return ""
        with open(self.file, encoding="latin-1") as f:
            return f.read()

    def save(self, path=None):
        """Pauses, and writes a snapshot; its directory."""
        path = path or f"{self.work}/snap{self.generation}"
        os.makedirs(path, exist_ok=True)
        self.api.put("vm.pause")
        self.api.put("vm.snapshot", {"destination_url": f"file://{path}"})
        return path

    def kill(self):
        self.said += self.text()
        self.api.close()
        self.vm.kill(signal.SIGKILL)
        assert self.vm.wait() == -signal.SIGKILL
        os.unlink(f"{self.work}/api{self.generation}")
        os.unlink(f"{self.work}/api{self.generation}.lock")

    def restore(self, path, mode=None, resume=True):
        self.generation += 1
        how = f",memory_restore_mode={mode}" if mode else ""
        self.vm = self.start("--restore", f"source_url=file://{path}{how},resume={'on' if resume else 'off'}")

    def next(self, mode):
        """Saved, killed, restored, and the old snapshot gone; False when the guest came to its end before."""
        old = f"{self.work}/snap{self.generation}"
        try:
            self.save(old)
        except (OSError, AssertionError):
            if self.vm.wait() == 0:
                return False
            raise
        self.kill()
        self.restore(old, mode)
        self.api.get("vm.info")  # it has the files by now
        shutil.rmtree(old)
        return True

    def end(self):
        assert self.vm.wait() == 0, self.vm.tail()
        self.said += self.text()
        with open(self.file, "w", encoding="latin-1") as f:
            f.write(self.said)
        report = report_of(self.vm)
        report.check()
        return report

    def until(self, words):
        while words not in self.said + self.text():
            self.vm.look(0.01)
            assert self.vm.status is None, self.vm.tail()


def run_across(virga, work, words, *args, mode="map", least=2, most=8, rest=0.05, **kw):
    """Runs a guest to its end, restoring it again and again; what it said."""
    random.seed(words)
    lives = Lives(virga, work, words, *args, **kw)
    lives.until("R3 START")
    while lives.generation < most:
        time.sleep(random.random() * rest)
        if not lives.next(mode):
            break
    assert lives.generation >= least
    return lives.end()


@pytest.mark.parametrize("mode", MODES)
def test_chips_and_consoles_lose_nothing_across_restores(virga, work, mode):
    run_across(virga, work, "kib=4 rng con cmos rng smp serialstream rng con ram cpuid", console=f"file={work}/console",
               mode=mode)
    os.unlink(f"{work}/console")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_disk_loses_nothing_across_restores(virga, work, tmp_path, engine):
    disks = [f"path={sparse(tmp_path / 'a', 4)},num_queues=2,{ENGINES[engine]}",
             f"path={sparse(tmp_path / 'b', 4)},{ENGINES[engine]},ops_size=400,ops_refill_time=100"]
    report = run_across(virga, work, "blkverify rounds=150", "--disk", *disks)
    assert all("bad=0" in line for line in report.all("VERIFIED"))


def test_a_card_loses_nothing_across_restores(virga, work, ns):
    ns.make_tap("tap0", 1)
    ns.answer("tap0", b"and a payload")
    run_across(virga, work, "net feed net feed net feed", "--net", "tap=tap0", program=ns.wrap(binary(), work), least=1)


# --- one snapshot ---

@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A snapshot that many tests read, of a guest that spins with two vCPUs, and its disk."""
    from lib.place import Local
    from lib.virga import Virga
    top = tmp_path_factory.mktemp("saved")
    (top / "snap").mkdir()
    disk = sparse(top / "disk", 1)
    vm = Virga(Local(), ["--api-socket", f"path={top}/api", "--kernel", guest_file("guest.elf"), "--cmdline", "pause told",
                        "--memory", "size=64M", "--cpus", "boot=2", "--serial", "tty", "--console", "off", "--disk",
                        f"path={disk}"])
    with Api(f"{top}/api") as api:
        vm.wait_for("R3 PAUSED")
        api.put("vm.pause")
        api.put("vm.snapshot", {"destination_url": f"file://{top}/snap"})
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    vm.close()
    return top


def copy_of(saved, to):
    shutil.copytree(saved / "snap", to)
    return to


def refusal(virga, path, *more):
    """What is said of a snapshot that cannot be."""
    vm = virga("--restore", f"source_url=file://{path}", *more, overhead=False)
    assert vm.wait() == 1, vm.tail()
    return vm.text


def test_a_snapshot_is_three_files_with_holes_for_zeros(saved):
    assert sorted(os.listdir(saved / "snap")) == ["config.json", "memory-ranges", "state.json"]
    memory = os.stat(saved / "snap/memory-ranges")
    assert memory.st_size == 64 * MIB and memory.st_blocks * 512 < 2 * MIB
    config = json.loads((saved / "snap/config.json").read_text())
    assert config["memory"]["size"] == 64 * MIB and config["disks"][0]["id"] == "_disk0"
    state = json.loads((saved / "snap/state.json").read_text())
    assert state["virga"] == 1 and state["arch"] == "x86_64" and len(state["vcpus"]) == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_guest_goes_on_from_the_command_line(virga, saved, mode):
    vm = virga("--restore", f"source_url=file://{saved}/snap,memory_restore_mode={mode},resume=on", overhead=False)
    vm.type("x")
    vm.wait_for("R3 EXIT 0")
    assert vm.wait() == 0


def test_a_restored_vm_is_paused_until_it_is_resumed(virga, work, saved):
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as api:
        api.put("vm.restore", {"source_url": f"file://{saved}/snap"})
        assert api.state() == "Paused"
        answer = api.ask("PUT", "vm.restore", {"source_url": f"file://{saved}/snap"})
        assert answer.code == 405
        api.put("vm.resume")
        assert api.state() == "Running"
        api.put("vm.reboot")
        vm.wait_for("R3 START")
        api.put("vm.delete")
        assert api.state() is None
        api.put("vm.restore", {"source_url": f"file://{saved}/snap", "resume": True})
        assert api.state() == "Running"
        api.put("vmm.shutdown")
    assert vm.wait() == 0


def test_two_vms_never_have_one_disk(virga, work, saved):
    vm = virga("--api-socket", f"path={work}/api", "--restore", f"source_url=file://{saved}/snap", overhead=False)
    with Api(f"{work}/api") as api:
        while api.state() != "Paused":
            time.sleep(0.01)
        assert "lock" in refusal(virga, saved / "snap")
        api.put("vmm.shutdown")
    assert vm.wait() == 0


def edit_state(path, change):
    state = json.loads((path / "state.json").read_text())
    change(state)
    (path / "state.json").write_text(json.dumps(state))


def drop_first(state):
    state["devices"] = [d for d in state["devices"] if d["id"] != "_disk0"]


def places(state, **at):
    for device in state["devices"]:
        if "fn" in device.get("plug", {}):
            device["plug"]["fn"].update(at)


CANNOT_BE = {
    "newer form": (lambda s: s.update(virga=2), "form 2"),
    "another architecture": (lambda s: s.update(arch="riscv64"), "riscv64"),
    "newer processor": (lambda s: s["vcpus"][0].update(v=99), "version 99"),
    "one vCPU less": (lambda s: s["vcpus"].pop(), "1 vCPUs were saved"),
    "no vCPUs": (lambda s: s.pop("vcpus"), "vCPUs"),
    "a feature nobody has": (lambda s: [r.update(ecx=0xffffffff) for r in s["cpuid"]["state"]["leaves"] if r["leaf"] == 7],
                             "processor lacks"),
    "a device less": (drop_first, "nothing of it was saved"),
    "a device more": (lambda s: s["devices"].append(dict(s["devices"][0], id="else")), "else"),
    "a device twice": (lambda s: s["devices"].append(s["devices"][0]), "twice"),
    "a range outside": (lambda s: s["machine"]["state"]["ranges"][0].update(base=1 << 40), "memory"),
    "a range beside a page": (lambda s: s["machine"]["state"]["ranges"][0].update(base=5), "cannot lie there"),
    "a size that overflows": (lambda s: s["machine"]["state"]["ranges"][0].update(size="0xfffffffffffff000"), "range 0"),
    "a place that is none": (lambda s: places(s, slot=77), "place"),
    "a segment that is not there": (lambda s: places(s, segment=9), "segment 9"),
    "a slot taken twice": (lambda s: places(s, slot=7), "already used"),
    "no machine": (lambda s: s.pop("machine"), "SavedMachine"),
}


@pytest.mark.parametrize("what", CANNOT_BE)
def test_a_state_that_cannot_be_is_refused_with_the_reason(virga, work, saved, what):
    path = copy_of(saved, type(saved)(f"{work}/snap"))
    change, words = CANNOT_BE[what]
    edit_state(path, change)
    assert words in refusal(virga, path)
    shutil.rmtree(path)


def test_files_that_are_missing_short_or_none_are_refused_by_name(virga, work, saved):
    for name in ("config.json", "state.json", "memory-ranges"):
        for spoil in (os.unlink, lambda p: os.truncate(p, 100), lambda p: (os.unlink(p), os.mkfifo(p))):
            path = copy_of(saved, type(saved)(f"{work}/snap"))
            spoil(path / name)
            assert name in refusal(virga, path)
            shutil.rmtree(path)
    assert "No such file" in refusal(virga, f"{work}/nothing")


def test_mutations_of_the_state_never_end_but_in_words(virga, work, saved):
    """Numbers and strings changed at random: restored or refused, and nothing else."""
    random.seed(6)
    path = copy_of(saved, type(saved)(f"{work}/snap"))
    text = (path / "state.json").read_bytes()
    for _ in range(int(os.environ.get("VIRGA_MUTATIONS", "40"))):
        changed = bytearray(text)
        for _ in range(random.randint(1, 4)):
            at = random.randrange(len(changed))
            changed[at] = random.choice(b"0123456789abcdef\"{}[],:-x") if random.random() < 0.8 else random.randrange(256)
        if random.random() < 0.1:
            del changed[random.randrange(len(changed)):]
        (path / "state.json").write_bytes(changed)
        vm = virga("--api-socket", f"path={work}/api", overhead=False)
        with Api(f"{work}/api") as api:
            answer = api.ask("PUT", "vm.restore", {"source_url": f"file://{path}"})
            assert answer.code in (204, 400, 404, 409, 500), answer
            assert api.state() == ("Paused" if answer.code == 204 else None)
            if answer.code == 204:
                api.put("vm.resume")
            api.put("vmm.shutdown")
        assert vm.wait() == 0
        vm.close()
    shutil.rmtree(path)


# --- writing ---

@pytest.fixture
def paused(virga, work):
    vm = virga("--api-socket", f"path={work}/api", "--kernel", guest_file("guest.elf"), "--cmdline", "touch=12 pause",
               "--memory", "size=64M", "--serial", f"file={work}/said", "--console", "off", overhead=False)
    with Api(f"{work}/api") as api:
        vm.wait_for_in(f"{work}/said", "R3 PAUSED")
        api.put("vm.pause")
        yield vm, api
    vm.stop()
    os.unlink(f"{work}/said")


def is_whole(path):
    state = json.loads((path / "state.json").read_text())
    last = state["machine"]["state"]["ranges"][-1]
    json.loads((path / "config.json").read_text())
    return os.stat(path / "memory-ranges").st_size == last["off"] + last["size"]


def test_a_snapshot_in_place_of_another_comes_in_one_step(paused, tmp_path):
    vm, api = paused
    path = tmp_path / "snap"
    path.mkdir()
    for _ in range(3):
        api.put("vm.snapshot", {"destination_url": f"file://{path}"})
        assert is_whole(path)
        assert os.listdir(tmp_path) == ["snap"]
    assert sorted(os.listdir(path)) == ["config.json", "memory-ranges", "state.json"]
    assert vm.status is None


def test_a_snapshot_that_fails_leaves_what_was_there_and_the_vm_goes_on(paused, tmp_path):
    _, api = paused
    answer = api.ask("PUT", "vm.snapshot", {"destination_url": f"file://{tmp_path}/none"})
    assert answer.code == 404 and "No such file" in answer.error
    answer = api.ask("PUT", "vm.snapshot", {"destination_url": str(tmp_path)})
    assert answer.code == 400 and "file://" in answer.error
    answer = api.ask("PUT", "vm.snapshot", {"destination_url": "file:///dev/null"})
    assert answer.code == 500
    small = tmp_path / "small"
    small.mkdir()
    os.system(f"mount -t tmpfs -o size=200k none {small}")
    try:
        answer = api.ask("PUT", "vm.snapshot", {"destination_url": f"file://{small}"})
        assert answer.code == 500 and "No space" in answer.error
        assert os.listdir(small) == []
    finally:
        os.system(f"umount {small}")
    api.put("vm.resume")
    answer = api.ask("PUT", "vm.snapshot", {"destination_url": f"file://{tmp_path}"})
    assert answer.code == 405 and "Paused" in answer.error


def test_a_kill_at_any_moment_leaves_the_old_snapshot_or_the_new(virga, work, tmp_path):
    random.seed(7)
    path = tmp_path / "snap"
    path.mkdir()
    for n in range(12):
        vm = virga("--api-socket", f"path={work}/api", "--kernel", guest_file("guest.elf"), "--cmdline", "touch=8 pause",
                   "--memory", "size=64M", "--serial", f"file={work}/said", "--console", "off", overhead=False)
        with Api(f"{work}/api") as api:
            vm.wait_for_in(f"{work}/said", "R3 PAUSED")
            api.put("vm.pause")
            api.send("PUT", "vm.snapshot", {"destination_url": f"file://{path}"})
            time.sleep(random.random() * 0.02)
        vm.kill(signal.SIGKILL)
        vm.wait()
        vm.close()
        for left in ("api", "api.lock", "said"):
            os.unlink(f"{work}/{left}")
        there = os.path.exists(path / "state.json")
        assert not there or is_whole(path)
        assert there or n < 11 or os.listdir(path)


def test_clones_of_one_snapshot_run_side_by_side(virga, work, paused, tmp_path):
    _, api = paused
    path = tmp_path / "snap"
    path.mkdir()
    api.put("vm.snapshot", {"destination_url": f"file://{path}"})
    config = json.loads((path / "config.json").read_text())
    config["serial"] = {"mode": "Tty"}
    (path / "config.json").write_text(json.dumps(config))
    clones = [virga("--restore", f"source_url=file://{path},resume=on", overhead=False) for _ in range(8)]
    for vm in clones:
        vm.type("x")
    for vm in clones:
        vm.wait_for("R3 EXIT 0")
        assert vm.wait() == 0
