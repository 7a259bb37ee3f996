# SPDX-License-Identifier: Apache-2.0
"""Snapshots when things go wrong: files that are nearly right, a host that cannot read or write, a kill at any moment.
What comes of it is an error with its reason or something whole, and the old snapshot or the new."""
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from lib.api import Api
from lib.guest import build, guest_file, sparse  # noqa: F401 (fixture)
from lib.lives import MODES
from lib.mutate import mutated
from lib.snapshots import save_guest
from lib.virga import PATIENCE, binary
from lib.wait import until

MIB = 1 << 20
FILES = ("config.json", "memory-ranges", "state.json")
MUTATIONS = int(os.environ.get("VIRGA_MUTATIONS", "20"))
KILLS = int(os.environ.get("VIRGA_TEST_KILLS", "10"))
SECONDS = 20


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A snapshot of a guest that waits for a byte, with one device of most kinds."""
    top = tmp_path_factory.mktemp("faults")
    return save_guest(top, "touch=1 pause told", "--memory", "size=80M", "--cpus", "boot=2,max=4", "--console", f"file={top}/con",
                      "--disk", f"path={sparse(top / 'disk', MIB)}", "--balloon", "size=0,free_page_reporting=on", "--watchdog",
                      "--vsock", f"cid=5,socket={top}/vsock")


@pytest.fixture
def served(virga, work, build):
    """A program without a machine, and the way to ask it."""
    vm = virga("--api-socket", f"path={work}/api", **{"overhead": False, **build})
    with Api(f"{work}/api", SECONDS) as api:
        yield vm, api
        api.put("vmm.shutdown")
    assert vm.wait() == 0, vm.tail()
    assert "AddressSanitizer" not in vm.text and "runtime error:" not in vm.text, vm.tail(6000)


def try_to_restore(vm, api, path):
    """Refused with a reason, or there, and then it runs; in any case it answers. Whether it was there."""
    answer = api.ask("PUT", "vm.restore", {"source_url": f"file://{path}"})
    assert answer.code in (204, 400, 404, 409, 500), answer
    if answer.code != 204:
        assert answer.error and api.state() is None, answer
        return False
    api.put("vm.resume")
    time.sleep(0.002)
    assert api.ask("GET", "vm.info").code == 200, vm.tail()
    api.put("vm.delete")
    return True


def test_a_restore_for_which_no_thread_can_be_had_leaves_nothing(virga, saved):
    """Only a user of few rights has a limit of threads, so it is one."""
    with tempfile.TemporaryDirectory() as top:
        shutil.copytree(saved / "snap", f"{top}/snap")
        config = json.loads((saved / "snap/config.json").read_text())
        shutil.copy(config["disks"][0]["path"], f"{top}/disk")
        kvm = str(os.stat("/dev/kvm").st_gid)
        nobody = ["--reuid=65534", "--regid=65534", f"--groups={kvm}", "prlimit"]
        subprocess.run(["chown", "-R", "65534", top], check=True)
        vm = virga("--api-socket", f"path={top}/api", program="setpriv", before=[*nobody, "--nproc=1:500", binary()],
                   overhead=False)
        with Api(f"{top}/api") as api:
            body = {"source_url": f"file://{top}/snap",
                    "overrides": {"disks": [{"id": "_disk0", "path": f"{top}/disk"}], "vsock": {"cid": 5, "socket": f"{top}/vs"},
                                  "console": {"mode": "Null"}, "serial": {"mode": "Null"}}}
            assert api.state() is None
            was = os.listdir(f"/proc/{vm.pid}/fd")
            answer = api.ask("PUT", "vm.restore", body)
            assert answer.code == 500 and "thread" in answer.error, answer
            assert api.state() is None and os.listdir(f"/proc/{vm.pid}/fd") == was
            subprocess.run(["setpriv", *nobody, f"--pid={vm.pid}", "--nproc=500:500"], check=True)
            api.put("vm.restore", body)
            api.put("vmm.shutdown")
        assert vm.wait() == 0


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_nearly_right_is_refused_or_makes_a_machine(served, saved, tmp_path, name):
    rng = random.Random(name)
    vm, api = served
    path = tmp_path / "snap"
    shutil.copytree(saved / "snap", path)
    text = (path / name).read_bytes() if name != "memory-ranges" else None
    whole = 0
    for n in range(MUTATIONS):
        if text:
            (path / name).write_bytes(mutated(text, rng))
        else:
            spoil_memory(saved / "snap" / name, path / name, rng)
        try:
            whole += try_to_restore(vm, api, path)
        except (AssertionError, OSError) as e:
            kept = f"{tmp_path}/{name}.{n}"
            shutil.copy(path / name, kept)
            vm.look(0.3)
            raise AssertionError(f"{kept}: status {vm.status}: {e}: {vm.tail(4000)}") from e
    print(f"{whole} of {MUTATIONS} made a machine")


def spoil_memory(source, path, rng):
    """Bytes behind all that the guest executes are its own affair; the file's size is ours."""
    shutil.copy(source, path)
    size = os.path.getsize(path)
    with open(path, "r+b") as f:
        for _ in range(rng.randint(1, 50)):
            f.seek(rng.randrange(0x1000000, 0x4000000))
            f.write(rng.randbytes(rng.choice([1, 8, 4096])))
        if rng.random() < 0.3:
            f.truncate(rng.choice([0, 1, 4096, size - 1, size + 1, size // 2, size * 2]))


# Where no memory is: the hypervisor finds no instruction there, and does not go on.
NOWHERE = 0xc0000000


def send_nowhere(tree):
    """Every rip in a saved state; how many there were."""
    found = 0
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        found += send_nowhere(value)
    if isinstance(tree, dict) and "rip" in tree:
        tree["rip"] = NOWHERE
        found += 1
    return found


@pytest.mark.parametrize("stays", [True, False], ids=["no-shutdown", "ends"])
def test_a_guest_that_the_hypervisor_cannot_run_ends_in_order_with_the_reason(virga, work, saved, tmp_path, stays):
    shutil.copytree(saved / "snap", tmp_path / "snap")
    state = json.loads((tmp_path / "snap/state.json").read_text())
    assert send_nowhere(state["vcpus"])
    (tmp_path / "snap/state.json").write_text(json.dumps(state))
    vm = virga("--api-socket", f"path={work}/api", "--event-monitor", f"path={tmp_path}/events", *(["--no-shutdown"] if stays else []),
               overhead=False)
    with Api(f"{work}/api") as api:
        api.put("vm.restore", {"source_url": f"file://{tmp_path}/snap"})
        with contextlib.suppress(OSError):
            api.put("vm.resume")
        if stays:
            until(lambda: api.state() == "Shutdown", SECONDS, vm.tail)
            api.put("vm.boot")
            api.put("vmm.shutdown")
        assert vm.wait() == (0 if stays else 1), vm.tail()
    assert "the guest cannot go on: KVM " in vm.text
    told = (tmp_path / "events").read_text()
    assert '"event":"failed"' in told and "KVM " in told and '"event":"shutdown"' in told


# --- a host that cannot ---

class Inject:
    """While it lasts, the nth call of this name of each thread fails: as a call that is none, so no filter may be on."""

    def __init__(self, pid, call, error, nth, log):
        self.log = log
        self.proc = subprocess.Popen(["strace", "-f", "-p", str(pid), "-o", log, "-e", f"trace={call}", "-e",
                                      f"inject={call}:error={error}:when={nth}"], stderr=subprocess.PIPE)

    def __enter__(self):
        line = self.proc.stderr.readline()
        if b"attached" not in line:
            pytest.skip(f"strace: {line}")
        return self

    def __exit__(self, *_):
        self.proc.send_signal(signal.SIGINT)
        self.proc.stderr.read()
        self.proc.wait()

    @property
    def happened(self):
        with open(self.log, encoding="latin-1") as f:
            return "(INJECTED)" in f.read()


def digest(path):
    """Of the three files, or None when they are no snapshot."""
    if not (path / "state.json").exists():
        return None
    return {name: hashlib.sha1((path / name).read_bytes()).hexdigest() for name in FILES}


def is_whole(path):
    state = json.loads((path / "state.json").read_text())
    last = state["machine"]["state"]["ranges"][-1]
    json.loads((path / "config.json").read_text())
    return (path / "memory-ranges").stat().st_size == last["off"] + last["size"]


# The third write of a thread that saves is no writing of files any more: it tells the control loop.
MOST = {"write": 2, "pwritev": 6}
WRITING = {"openat": "EIO", "ftruncate": "ENOSPC", "pwritev": "ENOSPC", "write": "ENOSPC", "fsync": "EIO", "mkdir": "ENOSPC",
           "renameat": "EIO", "renameat2": "EIO", "flock": "EIO"}
CALLS = {"into an empty place": list(WRITING), "in place of another": ["mkdir", "write", "fsync", "renameat2"]}
SAID = {"EIO": "Input/output error", "ENOSPC": "No space left on device"}


@pytest.mark.parametrize("there", ["into an empty place", "in place of another"])
def test_each_call_that_fails_leaves_the_old_snapshot_or_the_new(virga, work, tmp_path, there):
    vm = virga("--api-socket", f"path={work}/api", "--kernel", guest_file("guest.elf"), "--cmdline", "touch=1 pause", "--memory",
               "size=64M", "--serial", "tty", "--console", "off", "--seccomp", "false", overhead=False)
    path, failed = tmp_path / "snap", 0
    path.mkdir()
    with Api(f"{work}/api") as api:
        vm.wait_for("R3 PAUSED")
        api.put("vm.pause")
        destination = {"destination_url": f"file://{path}"}
        for call in CALLS[there]:
            error = WRITING[call]
            for nth in range(1, MOST.get(call, 30) + 1):
                if there != "into an empty place" and not digest(path):
                    api.put("vm.snapshot", destination)
                old = digest(path)
                with Inject(vm.pid, call, error, nth, f"{tmp_path}/strace") as fault:
                    answer = api.ask("PUT", "vm.snapshot", destination)
                assert api.state() == "Paused"
                now = digest(path)
                assert now is None or is_whole(path)
                if answer.code == 204:
                    assert now, f"{call} {nth}"
                else:
                    assert answer.code == 500 and SAID[error] in answer.error, f"{call} {nth}: {answer}"
                    assert now == old or call in ("fsync", "renameat2") and now, f"{call} {nth}: {answer}"
                    assert not [name for name in os.listdir(path) if name.endswith(".part")], f"{call} {nth}"
                    failed += 1
                if there == "into an empty place":
                    shutil.rmtree(path)
                    path.mkdir()
                if not fault.happened:
                    break
        api.put("vm.resume")
        vm.type("x")
        vm.wait_for("R3 EXIT 0")
    assert vm.wait() == 0
    assert failed > 8, failed
    assert os.listdir(tmp_path / "snap") == [] or is_whole(path)


READING = {"pread64": 4, "preadv": 3, "lseek": 3, "openat": 16, "ftruncate": 2, "ioctl": 24, "userfaultfd": 1}


@pytest.mark.parametrize("mode", MODES)
def test_each_call_that_fails_ends_a_restore_with_a_reason_or_not_at_all(virga, work, saved, mode):
    before, failed = digest(saved / "snap"), 0
    for call, most in READING.items():
        for nth in range(1, most + 1):
            log = f"{work}/strace"
            # what is under a program of the C library's before it begins is not asked
            vm = virga("-f", "-o", log, "-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={nth}", binary(), "--restore",
                       f"source_url=file://{saved}/snap,memory_restore_mode={mode},resume=on", "--seccomp", "false", overhead=False,
                       program=shutil.which("strace"))
            with contextlib.suppress(BrokenPipeError):
                vm.type("x")
            status = vm.wait(20)
            with open(log, encoding="latin-1") as f:
                happened = "(INJECTED)" in f.read()
            os.unlink(log)
            vm.close()
            assert status in (0, 1, 127), f"{call} {nth}: {status}: {vm.tail()}"
            assert status == 0 or re.search(r"virga: \S|loading shared libraries|\bKVM\b", vm.text), f"{call} {nth}: {vm.tail()}"
            failed += status == 1
            if not happened:
                break
    assert digest(saved / "snap") == before
    assert failed > 5


# --- kills ---

def kill_at(proc, seconds):
    time.sleep(seconds)
    proc.send_signal(signal.SIGKILL)
    proc.wait()


def test_a_kill_at_any_moment_of_snapshot_and_restore_leaves_something_whole(work, saved, tmp_path):
    """One machine goes on over many kills; none takes its snapshot, its disk's lock, or what it holds in memory."""
    rng = random.Random(100)
    path = tmp_path / "snap"
    shutil.copytree(saved / "snap", path)
    log = open(f"{tmp_path}/log", "wb")
    seen = set()
    for n in range(KILLS):
        before, api_path = digest(path), f"{work}/api{n}"
        mode = rng.choice(MODES)
        argv = [binary(), "--api-socket", f"path={api_path}", "--restore",
                f"source_url=file://{path},resume=on,memory_restore_mode={mode}"]
        if n % 2:
            proc = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=log, stderr=log)
            kill_at(proc, rng.random() * 0.05 * PATIENCE)
            assert digest(path) == before
        else:
            proc = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=log, stderr=log)
            with Api(api_path, SECONDS) as api:
                until(lambda: api.state() == "Running", SECONDS, lambda: open(log.name).read()[-2000:])
                second = subprocess.run([*argv[:1], *argv[3:]], capture_output=True, text=True, check=False, timeout=SECONDS,
                                        stdin=subprocess.DEVNULL)
                assert second.returncode == 1 and "lock" in second.stderr, second
                api.put("vm.pause")
                api.send("PUT", "vm.snapshot", {"destination_url": f"file://{path}"})
                kill_at(proc, rng.random() * 0.1 * PATIENCE)
            assert digest(path) and is_whole(path)
            seen.add("new" if digest(path) != before else "old")
        for left in (api_path, f"{api_path}.lock"):
            if os.path.exists(left):
                os.unlink(left)
        for left in ("vsock", "con"):
            if os.path.exists(saved / left):
                os.unlink(saved / left)
    last = subprocess.run(argv[:1] + argv[3:], input="x", capture_output=True, text=True, check=False, timeout=SECONDS)
    assert last.returncode == 0 and "R3 EXIT 0" in last.stdout, last
    print(f"after kills during a snapshot there was {' and '.join(sorted(seen))}")
