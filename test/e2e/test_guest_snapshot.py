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
from lib.borrow import mounted
from lib.engines import ENGINES, verify_disks
from lib.guest import guest_file, sparse
from lib.lives import MODES, run_across
from lib.snapshots import save_guest
from lib.virga import binary
from lib.wait import until

MIB = 1 << 20


@pytest.mark.parametrize("mode", MODES)
def test_chips_and_consoles_lose_nothing_across_restores(virga, work, mode):
    run_across(virga, work, "kib=4 rng con cmos rng smp serialstream rng con ram cpuid", console=f"file={work}/console",
               mode=mode)
    os.unlink(f"{work}/console")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_disk_loses_nothing_across_restores(virga, work, tmp_path, engine):
    report = run_across(virga, work, "blkverify rounds=150", "--disk", *verify_disks(tmp_path, engine))
    assert all("bad=0" in line for line in report.all("VERIFIED"))


def test_a_card_loses_nothing_across_restores(virga, work, ns):
    ns.make_tap("tap0", 1)
    ns.answer("tap0", b"and a payload")
    run_across(virga, work, "net feed net feed net feed", "--net", "tap=tap0", program=ns.wrap(binary(), work), least=1)


# --- one snapshot ---

@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A snapshot that many tests read, of a guest that spins with two vCPUs, and its disk."""
    top = tmp_path_factory.mktemp("saved")
    return save_guest(top, "pause told", "--memory", "size=64M", "--cpus", "boot=2", "--console", "off",
                      "--disk", f"path={sparse(top / 'disk', MIB)}")


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
        until(lambda: api.state() == "Paused")
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
    "a place that is none": (lambda s: places(s, slot=77), "slot: 77"),
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
    assert "there is no such directory" in refusal(virga, f"{work}/nothing")


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

def start_paused(virga, work, **named):
    vm = virga("--api-socket", f"path={work}/api", "--kernel", guest_file("guest.elf"), "--cmdline", "touch=12 pause",
               "--memory", "size=64M", "--serial", f"file={work}/said", "--console", "off", overhead=False, **named)
    api = Api(f"{work}/api")
    vm.wait_for_in(f"{work}/said", "R3 PAUSED")
    api.put("vm.pause")
    return vm, api


@pytest.fixture
def paused(virga, work):
    vm, api = start_paused(virga, work)
    with api:
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


def test_a_snapshot_takes_the_place_of_another_behind_a_link(paused, tmp_path):
    _, api = paused
    path = tmp_path / "snap"
    path.mkdir()
    path.chmod(0o750)
    (tmp_path / "last").symlink_to("snap")
    for _ in range(3):
        api.put("vm.snapshot", {"destination_url": f"file://{tmp_path}/last/"})
        assert is_whole(path)
        assert sorted(os.listdir(tmp_path)) == ["last", "snap"] and os.path.islink(tmp_path / "last")
        assert os.stat(path).st_mode & 0o777 == 0o750


@pytest.mark.parametrize("rights,owner,group,mode", [
    ([], 1234, 5678, 0o2770),
    (["--bounding-set=-chown", "--groups=5678"], 0, 5678, 0o2770),
    (["--bounding-set=-chown", "--clear-groups"], 0, 0, 0o700),
])
def test_a_directory_stays_its_owners_as_far_as_we_may_leave_it(virga, work, tmp_path, rights, owner, group, mode):
    """What a group may do there is for that group, and for no other."""
    path = tmp_path / "snap"
    path.mkdir()
    as_who = {"program": shutil.which("setpriv"), "before": [*rights, binary()]} if rights else {}
    vm, api = start_paused(virga, work, **as_who)
    with api:
        for _ in range(2):
            os.chown(path, 1234, 5678)
            path.chmod(0o2770)
            api.put("vm.snapshot", {"destination_url": f"file://{path}"})
        assert is_whole(path) and os.listdir(tmp_path) == ["snap"]
        at = os.stat(path)
        assert (at.st_uid, at.st_gid, at.st_mode & 0o7777) == (owner, group, mode)
        assert {os.stat(path / name).st_mode & 0o777 for name in os.listdir(path)} == {0o600}
    vm.stop()
    assert ("no right to leave it to user 1234 and group 5678" in vm.text) == bool(rights)
    os.unlink(f"{work}/said")


def test_what_else_lies_in_a_directory_stays_there(paused, tmp_path):
    _, api = paused
    (tmp_path / "notes").write_text("of a user")
    api.put("vm.snapshot", {"destination_url": f"file://{tmp_path}"})
    (tmp_path / "memory-touched").write_text("")
    (tmp_path / "state.json.part").write_text("")
    was = os.stat(tmp_path / "state.json").st_ino
    answer = api.ask("PUT", "vm.snapshot", {"destination_url": f"file://{tmp_path}"})
    assert answer.code == 409 and "notes is there beside the old snapshot" in answer.error
    assert os.stat(tmp_path / "state.json").st_ino == was and is_whole(tmp_path)
    os.unlink(tmp_path / "notes")
    api.put("vm.snapshot", {"destination_url": f"file://{tmp_path}"})
    assert sorted(os.listdir(tmp_path)) == ["config.json", "memory-ranges", "state.json"]


def test_a_snapshot_that_fails_leaves_what_was_there_and_the_vm_goes_on(paused, tmp_path):
    _, api = paused
    answer = api.ask("PUT", "vm.snapshot", {"destination_url": f"file://{tmp_path}/none"})
    assert answer.code == 404 and f"there is no directory {tmp_path}/none; make it" in answer.error
    answer = api.ask("PUT", "vm.snapshot", {"destination_url": str(tmp_path)})
    assert answer.code == 400 and "file://" in answer.error
    answer = api.ask("PUT", "vm.snapshot", {"destination_url": "file:///dev/null"})
    assert answer.code == 500
    with mounted("tmpfs", "size=200k", tmp_path / "small") as small:
        answer = api.ask("PUT", "vm.snapshot", {"destination_url": f"file://{small}"})
        assert answer.code == 500 and "No space" in answer.error
        assert os.listdir(small) == []
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


def test_what_was_plugged_goes_on_over_generations(virga, work, paused, tmp_path):
    """Its BARs lie where those of a boot do not."""
    vm, api = paused
    disk, pmem = sparse(tmp_path / "disk", MIB), sparse(tmp_path / "pmem", 2 * MIB)
    api.put("vm.add-disk", {"id": "hot", "path": str(disk)})
    api.put("vm.add-pmem", {"id": "hotter", "file": str(pmem)})
    api.put("vm.add-vsock", {"id": "hottest", "cid": 3, "socket": f"{work}/vsock"})
    tree = sorted(api.get("vm.info")["device_tree"])
    for life in range(3):
        path = tmp_path / f"snap{life}"
        path.mkdir()
        api.put("vm.snapshot", {"destination_url": f"file://{path}"})
        vm.stop()
        api.close()
        vm = virga("--api-socket", f"path={work}/api", "--restore", f"source_url=file://{path},resume=on", overhead=False)
        api = Api(f"{work}/api")
        until(lambda: api.state() == "Running", 20)
        assert sorted(api.get("vm.info")["device_tree"]) == tree
        api.put("vm.pause")
    vm.stop()
    api.close()


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
