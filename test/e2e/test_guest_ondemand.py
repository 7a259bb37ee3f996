# SPDX-License-Identifier: Apache-2.0
"""How the memory of a snapshot comes back: the same bytes in every mode and of every kind, what `ondemand` reads and what it
leaves, snapshots of machines whose memory is still in a file, and files that somebody spoils."""
import contextlib
import filecmp
import os
import re
import shutil
import subprocess

import pytest

from lib.api import Api
from lib.guest import guest_file
from lib.lives import Lives, run_across
from lib.memory import held, pool
from lib.snapshots import save_guest
from lib.virga import binary
from lib.wait import until

MIB = 1 << 20
SERVED = "ondemand,prefetch=all"


@pytest.mark.parametrize("mode,kind", [
    ("map", "anonymous"), ("copy", "anonymous"), ("copy", "huge"),
    ("ondemand", "anonymous"), ("ondemand", "shared"), ("ondemand", "huge"), ("ondemand", "file"),
    (SERVED, "anonymous"), (SERVED, "huge")])
def test_a_pattern_over_all_of_memory_lives_through_five_generations(virga, work, mode, kind):
    memory = {"shared": "size=32M,shared=on", "huge": "size=32M,hugepages=on,hugepage_size=2M", "file": "size=0",
              "anonymous": "size=32M"}[kind]
    args = ["--memory-zone", f"id=z,size=32M,shared=on,file={work}/ram"] if kind == "file" else []
    if args:
        with open(f"{work}/ram", "wb") as f:
            f.truncate(32 * MIB)
    with pool(2048, 16) if kind == "huge" else contextlib.nullcontext():
        report = run_across(virga, work, "pattern rounds=150", *args, mode=mode, memory=memory, least=5, most=5, rest=0.03)
    assert len(report.all("ROUND")) == 150
    if args:
        os.unlink(f"{work}/ram")


@pytest.fixture(scope="module")
def touched(tmp_path_factory):
    """A snapshot of a guest that has touched 40 of its 128 MiB and spins."""
    return save_guest(tmp_path_factory.mktemp("touched"), "touch=40 pause told", "--memory", "size=128M", "--console", "off")


def restore(virga, work, snap, how="ondemand,resume=on", *args, **kw):
    return virga("--api-socket", f"path={work}/api", "--restore", f"source_url=file://{snap},memory_restore_mode={how}",
                 *args, overhead=False, **kw)


def state_of(api, want):
    while api.state() != want:
        pass


def test_only_what_is_touched_is_read(virga, work, touched):
    vm = restore(virga, work, touched / "snap")
    with Api(f"{work}/api") as api:
        state_of(api, "Running")
        assert held(vm.pid) < 2 * MIB
        vm.type("x")
        vm.wait_for("R3 EXIT 0")
    assert vm.wait() == 0


def test_all_of_it_comes_untouched_when_that_is_asked_for(virga, work, touched):
    vm = restore(virga, work, touched / "snap", SERVED, "-v")
    vm.wait_for("all of the guest's memory is there")
    assert 40 * MIB <= held(vm.pid) < 44 * MIB
    with Api(f"{work}/api") as api:
        state_of(api, "Paused")
        api.put("vm.resume")
        vm.type("x")
    assert vm.wait() == 0


def test_what_one_has_touched_the_next_has_before_it_asks(virga, work, touched, tmp_path):
    """The first writes down what it touches; the next, though paused, has that and no more; one spoils nothing."""
    shutil.copytree(touched / "snap", f"{tmp_path}/snap")
    record = f"{tmp_path}/snap/memory-touched"
    for _ in range(2):
        vm = restore(virga, work, f"{tmp_path}/snap", "ondemand,prefetch=recorded,resume=on")
        vm.type("x")
        vm.wait_for("R3 EXIT 0")
        assert vm.wait() == 0
        vm.close()
        with open(record, encoding="ascii") as f:
            lines = f.read().split("\n")
        assert lines[0] == f"touched 1 {128 * MIB}" and lines[-2] == f"end {len(lines) - 3}" and len(lines) > 4
    vm = restore(virga, work, f"{tmp_path}/snap", "ondemand,prefetch=recorded", "-v")
    vm.wait_for("what was recorded of the guest's memory is there")
    assert MIB // 16 <= held(vm.pid) < 4 * MIB
    with Api(f"{work}/api") as api:
        state_of(api, "Paused")
        api.put("vm.snapshot", {"destination_url": f"file://{tmp_path}/snap"})
        assert not os.path.exists(record)
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    vm.close()
    with open(record, "w", encoding="ascii") as f:
        f.write("touched 1 5\nend 7\n")
    vm = restore(virga, work, f"{tmp_path}/snap", "ondemand,prefetch=recorded,resume=on")
    vm.type("x")
    vm.wait_for("R3 EXIT 0")
    assert vm.wait() == 0
    assert os.path.getsize(record) > 30


def test_prefault_makes_every_page_before_the_guest_goes_on(virga, work, touched):
    for mode in ("copy", "map"):
        vm = restore(virga, work, touched / "snap", f"{mode},prefault=on,resume=on")
        with Api(f"{work}/api") as api:
            state_of(api, "Running")
            assert held(vm.pid) >= 128 * MIB
            vm.type("x")
        assert vm.wait() == 0
        vm.close()


@pytest.mark.parametrize("how", ["ondemand", SERVED])
def test_a_snapshot_of_what_is_still_in_a_file_reads_it_there(virga, work, touched, tmp_path, how):
    """The same bytes, with holes for zeros, and nothing comes into memory for it; in the end from the third one."""
    snap = touched / "snap"
    for n in range(3):
        vm = restore(virga, work, snap, f"{how},resume=off")
        with Api(f"{work}/api") as api:
            state_of(api, "Paused")
            os.mkdir(f"{tmp_path}/snap{n}")
            before = held(vm.pid)
            api.put("vm.snapshot", {"destination_url": f"file://{tmp_path}/snap{n}"})
            if how == "ondemand":
                assert held(vm.pid) - before < MIB
            api.put("vmm.shutdown")
        assert vm.wait() == 0
        vm.close()
        assert filecmp.cmp(touched / "snap/memory-ranges", f"{tmp_path}/snap{n}/memory-ranges", shallow=False)
        assert os.stat(f"{tmp_path}/snap{n}/memory-ranges").st_blocks * 512 < 44 * MIB
        snap = f"{tmp_path}/snap{n}"
    vm = restore(virga, work, snap)
    vm.type("x")
    vm.wait_for("R3 EXIT 0")
    assert vm.wait() == 0


def test_a_snapshot_in_place_of_the_one_it_runs_from(virga, work, touched, tmp_path):
    shutil.copytree(touched / "snap", f"{tmp_path}/snap")
    vm = restore(virga, work, f"{tmp_path}/snap")
    with Api(f"{work}/api") as api:
        state_of(api, "Running")
        for _ in range(2):
            api.put("vm.pause")
            api.put("vm.snapshot", {"destination_url": f"file://{tmp_path}/snap"})
            api.put("vm.resume")
        vm.type("x")
        vm.wait_for("R3 EXIT 0")
    assert vm.wait() == 0


@pytest.mark.parametrize("kind", ["anonymous", "small pages", "huge", "map"])
def test_a_snapshot_makes_no_pages_and_takes_what_there_is(virga, work, touched, tmp_path, kind):
    """Of 2 GiB of which a few MiB were touched; of a view of a file, what the guest has of its own."""
    memory = {"huge": "size=128M,hugepages=on,hugepage_size=2M", "small pages": "size=2G,thp=off"}.get(kind, "size=2G")
    with pool(2048, 64) if kind == "huge" else contextlib.nullcontext():
        if kind == "map":
            vm = restore(virga, work, touched / "snap", "map,resume=on")
        else:
            vm = virga("--api-socket", f"path={work}/api", "--kernel", guest_file("guest.elf"), "--cmdline", "touch=4 pause told",
                       "--memory", memory, "--serial", "tty", "--console", "off", overhead=False)
            vm.wait_for("R3 PAUSED")
        with Api(f"{work}/api") as api:
            state_of(api, "Running")
            api.put("vm.pause")
            before = held(vm.pid)
            os.mkdir(f"{tmp_path}/snap")
            api.put("vm.snapshot", {"destination_url": f"file://{tmp_path}/snap"})
            assert held(vm.pid) - before <= 0
            api.put("vmm.shutdown")
        assert vm.wait() == 0
        vm.close()
        vm = restore(virga, work, f"{tmp_path}/snap", "copy,resume=on")
        vm.type("x")
        vm.wait_for("R3 EXIT 0")
        assert vm.wait() == 0


def test_landlock_hides_nothing_of_memory_from_a_snapshot(virga, work, tmp_path):
    vm = virga("--api-socket", f"path={work}/api", "--kernel", guest_file("guest.elf"), "--cmdline", "touch=4 pause told",
               "--memory", "size=2G,thp=off", "--serial", "tty", "--console", "off", "--landlock", "--landlock-rules",
               f"path={tmp_path},access=rw", overhead=False)
    vm.wait_for("R3 PAUSED")
    with Api(f"{work}/api") as api:
        api.put("vm.pause")
        os.mkdir(f"{tmp_path}/snap")
        api.put("vm.snapshot", {"destination_url": f"file://{tmp_path}/snap"})
        assert os.stat(f"{tmp_path}/snap/memory-ranges").st_blocks * 512 < 6 * MIB
        assert held(vm.pid) < 16 * MIB
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    vm.close()
    vm = restore(virga, work, f"{tmp_path}/snap")
    vm.type("x")
    vm.wait_for("R3 EXIT 0")
    assert vm.wait() == 0


# --- files that somebody spoils ---

def write_into(path):
    with open(path, "r+b") as f:
        f.seek(20 * MIB)
        f.write(b"else")


SPOILED = {
    "written": write_into,
    "shorter": lambda path: os.truncate(path, 20 * MIB),
    "empty": lambda path: os.truncate(path, 0),
}


def test_a_file_that_is_shown_ends_the_vm_when_it_is_written_to(virga, work, touched, tmp_path):
    shutil.copytree(touched / "snap", f"{tmp_path}/snap")
    vm = restore(virga, work, f"{tmp_path}/snap", "map,resume=on", "--event-monitor", f"path={tmp_path}/events")
    with Api(f"{work}/api") as api:
        state_of(api, "Running")
        os.utime(f"{tmp_path}/snap/config.json")
        assert api.state() == "Running"
        write_into(f"{tmp_path}/snap/memory-ranges")
        with contextlib.suppress(OSError):
            while api.state():
                pass
    assert vm.wait() == 1
    assert "guest cannot go on" in vm.text and "was changed" in vm.text
    assert "memory-lost" in open(f"{tmp_path}/events", encoding="utf-8").read()


def test_a_file_that_is_shown_and_that_nobody_watches_is_looked_at(virga, work, touched, tmp_path):
    """Of watches a user has a number, which machines of other users do not show; here it is none."""
    shutil.copytree(touched / "snap", f"{tmp_path}/snap")
    vm = virga("--api-socket", f"path={work}/api", "--restore", f"source_url=file://{tmp_path}/snap,memory_restore_mode=map,resume=on",
               program="/usr/bin/unshare", before=["-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_inotify_instances; exec "$0" "$@"', binary()],
               overhead=False)
    with Api(f"{work}/api") as api:
        state_of(api, "Running")
        write_into(f"{tmp_path}/snap/memory-ranges")
        with contextlib.suppress(OSError):
            until(lambda: api.state() is None)
    assert vm.wait() == 1
    assert "guest cannot go on" in vm.text and "was changed" in vm.text


@pytest.mark.parametrize("how", SPOILED)
def test_a_file_that_is_changed_ends_the_vm_with_the_reason(virga, work, touched, tmp_path, how):
    shutil.copytree(touched / "snap", f"{tmp_path}/snap")
    vm = restore(virga, work, f"{tmp_path}/snap", "ondemand,resume=on", "--event-monitor", f"path={tmp_path}/events")
    with Api(f"{work}/api") as api:
        state_of(api, "Running")
        SPOILED[how](f"{tmp_path}/snap/memory-ranges")
        with contextlib.suppress(OSError):  # its end may come before the answer
            vm.type("x")
            while api.state():
                pass
    assert vm.wait() == 1
    assert "guest cannot go on" in vm.text and "was changed" in vm.text
    events = open(f"{tmp_path}/events", encoding="utf-8").read()
    assert re.search(r'"memory-lost".*\n?.*was changed', events)


@pytest.mark.parametrize("how", SPOILED)
def test_no_snapshot_is_made_of_a_file_that_was_changed(virga, work, touched, tmp_path, how):
    shutil.copytree(touched / "snap", f"{tmp_path}/snap")
    os.mkdir(f"{tmp_path}/next")
    vm = restore(virga, work, f"{tmp_path}/snap", "ondemand,resume=off")
    with Api(f"{work}/api") as api:
        state_of(api, "Paused")
        SPOILED[how](f"{tmp_path}/snap/memory-ranges")
        answer = api.ask("PUT", "vm.snapshot", {"destination_url": f"file://{tmp_path}/next"})
        assert answer.code == 500 and "was changed" in answer.error
        assert os.listdir(f"{tmp_path}/next") == []
        api.put("vmm.shutdown")
    assert vm.wait() == 0


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
def test_a_page_that_cannot_be_read_ends_the_vm_with_the_reason(virga, work, touched, tmp_path):
    vm = restore(virga, work, touched / "snap", "ondemand,resume=on", "--seccomp", "false", "--event-monitor",
                 f"path={tmp_path}/events")
    with Api(f"{work}/api") as api:
        state_of(api, "Running")
    with subprocess.Popen(["strace", "-f", "-p", str(vm.pid), "-o", "/dev/null", "-e", "trace=pread64", "-e",
                           "inject=pread64:error=EIO"], stderr=subprocess.PIPE) as strace:
        assert b"attached" in strace.stderr.readline()
        vm.type("x")
        assert vm.wait() == 1
    assert "guest cannot go on" in vm.text and "Input/output error" in vm.text
    events = open(f"{tmp_path}/events", encoding="utf-8").read()
    assert re.search(r'"memory-lost".*\n?.*Input/output error', events)


def test_a_file_that_is_removed_is_there_as_long_as_it_is_needed(virga, work, touched, tmp_path):
    shutil.copytree(touched / "snap", f"{tmp_path}/snap")
    vm = restore(virga, work, f"{tmp_path}/snap")
    with Api(f"{work}/api") as api:
        state_of(api, "Running")
        shutil.rmtree(f"{tmp_path}/snap")
        vm.type("x")
        vm.wait_for("R3 EXIT 0")
    assert vm.wait() == 0


# --- refusals ---

def test_a_host_that_does_not_permit_it_is_named(work, touched):
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("takes root, who can be less")
    with open("/proc/sys/vm/unprivileged_userfaultfd", encoding="ascii") as f:
        if f.read().strip() == "1":
            pytest.skip("here everybody may")
    os.chmod(work, 0o755)
    program = shutil.copy(binary(), f"{work}/virga")
    snap = shutil.copytree(touched / "snap", f"{work}/snap")
    subprocess.run(["chmod", "-R", "a+rX", snap], check=True)
    r = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", program, "--restore",
                        f"source_url=file://{snap},memory_restore_mode=ondemand"], capture_output=True, text=True, check=False)
    assert r.returncode == 1
    assert "memory_restore_mode=ondemand: userfaultfd" in r.stderr and "/dev/userfaultfd" in r.stderr


@pytest.mark.parametrize("how,words", [("ondemand,prefault=on", "prefault"), ("copy,prefetch=all", "prefetch is for"),
                                       ("map,prefetch=all", "prefetch is for")])
def test_what_does_not_go_together_is_refused(virga, touched, how, words):
    vm = virga("--restore", f"source_url=file://{touched}/snap,memory_restore_mode={how}", overhead=False)
    assert vm.wait() == 1 and words in vm.text


def test_private_memory_in_a_file_is_refused_by_name(virga, work, tmp_path):
    with open(f"{work}/ram", "wb") as f:
        f.truncate(64 * MIB)
    lives = Lives(virga, work, "pause", "--memory-zone", f"id=z,size=64M,file={work}/ram", memory="size=0")
    lives.until("R3 PAUSED")
    snap = lives.save(f"{tmp_path}/snap")
    lives.kill()
    vm = virga("--restore", f"source_url=file://{snap},memory_restore_mode=ondemand", overhead=False)
    assert vm.wait() == 1 and f"memory that lies in {work}/ram" in vm.text
    os.unlink(f"{work}/ram")


# --- devices that give memory back and take it ---

@pytest.mark.parametrize("mode", ["map", "copy", "ondemand"])
def test_memory_comes_to_a_restored_machine_and_lives_on(virga, work, tmp_path, mode):
    """By ACPI: some before the first snapshot, some after each."""
    lives = Lives(virga, work, "memhp=3", memory="size=64M,hotplug_size=640M", cpus="boot=1")
    lives.until("R3 WAITS")
    for n, mib in enumerate((192, 320, 448)):
        if n:
            lives.save(f"{tmp_path}/snap{n}")
            lives.kill()
            lives.restore(f"{tmp_path}/snap{n}", mode)
            state_of(lives.api, "Running")
            info = lives.api.get("vm.info")
            assert info["config"]["memory"]["size"] == info["memory_actual_size"] == (64 + 128 * n) * MIB
        lives.api.put("vm.resize", {"desired_ram": mib * MIB})
        lives.until(f"R3 MEMORY slot={n} ")
    lives.end()
    os.unlink(f"{work}/said")


@pytest.mark.parametrize("words,args,memory,steps", [
    ("balloon look", ["--balloon", "size=64M,free_page_reporting=on,deflate_on_oom=on"], "size=192M", 4),
    ("balloon look", ["--balloon", "size=64M,free_page_reporting=on,deflate_on_oom=on"], "size=192M,shared=on", 4),
    ("vmem look", [], "size=64M,hotplug_method=virtio-mem,hotplug_size=128M,hotplugged_size=64M", 2),
])
def test_memory_comes_and_goes_in_a_machine_whose_memory_is_in_a_file(virga, work, words, args, memory, steps, tmp_path):
    """Restored at each of the guest's pauses, none of which finds anything of the file where it gave memory back."""
    vm = virga("--api-socket", f"path={work}/api", "--kernel", guest_file("guest.elf"), "--cmdline", words, "--memory", memory,
               "--serial", "tty", "--console", "off", *args, overhead=False)
    said, n, snap = "", 0, f"{tmp_path}/snap"
    while True:
        vm.wait_for("R3 (PAUSED|EXIT)")
        if "R3 EXIT" in vm.text:
            break
        with Api(f"{work}/api") as api:
            api.put("vm.pause")
            os.mkdir(f"{snap}{n}")
            api.put("vm.snapshot", {"destination_url": f"file://{snap}{n}"})
            api.put("vmm.shutdown")
        assert vm.wait() == 0
        said += vm.text
        vm.close()
        vm = restore(virga, work, f"{snap}{n}")
        vm.type("x")
        if n:
            shutil.rmtree(f"{snap}{n - 1}")
        n += 1
    shutil.rmtree(f"{snap}{n - 1}")
    assert vm.wait() == 0
    assert n >= steps
    assert "R3 FAIL" not in said + vm.text and "R3 EXIT 0" in vm.text
