# SPDX-License-Identifier: Apache-2.0
"""What changes while the guest runs: sizes of disks, limits and links of cards, hosts that fail for a while; and the
clocks of a guest that was paused."""
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from lib.api import Api, small_config
from lib.borrow import loop_device, mounted
from lib.engines import ENGINES
from lib.guest import guest_file, report_of, sparse
from lib.virga import PATIENCE, binary, remote_binary

MIB = 1 << 20


def run(command):
    return subprocess.run(command, shell=True, text=True, capture_output=True, check=False)


@pytest.fixture
def start(virga, work):
    """start(words, *args): a guest with the API beside it, and a connection to that."""
    made = []

    def begin(words, *args, program=None):
        vm = virga("--api-socket", f"path={work}/api", "--event-monitor", f"path={work}/events", "--kernel",
                   guest_file("guest.elf"), "--cmdline", words, "--memory", "size=128M", "--console", "off", "--serial",
                   f"file={work}/said", *args, overhead=False, program=program)
        vm.serial_path = f"{work}/said"
        made.append(Api(f"{work}/api"))
        return vm, made[-1]

    yield begin
    for api in made:
        api.close()


def events(work):
    text = Path(f"{work}/events").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line]


def wait_event(work, name, count=1):
    end = time.monotonic() + 30 * PATIENCE
    while True:
        found = [e for e in events(work) if e["event"] == name]
        if len(found) >= count:
            return found
        assert time.monotonic() < end, f"no {name} among {events(work)}"
        time.sleep(0.01)


def ended(vm):
    assert vm.wait() == 0, vm.tail()
    report = report_of(vm)
    report.check()
    return report


def test_a_disk_grows_and_shrinks_under_a_guest_that_is_told(start, work, tmp_path):
    path = sparse(tmp_path / "disk", 4 * MIB)
    vm, api = start("blksize=3", "--disk", f"path={path},id=d")
    vm.wait_for_in(f"{work}/said", "R3 SECTORS 8192")
    api.put("vm.resize-disk", {"id": "d", "desired_size": 8 * MIB})
    assert os.stat(path).st_size == 8 * MIB
    vm.wait_for_in(f"{work}/said", "R3 SECTORS 16384")
    done = run(f"{remote_binary()} --api-socket {work}/api resize-disk --disk d --size 2M")
    assert done.returncode == 0, done.stderr
    assert os.stat(path).st_size == 2 * MIB
    vm.wait_for_in(f"{work}/said", "R3 SECTORS 4096")
    for size, sentence in ((0, "no number of blocks"), (1000, "no number of blocks"), ((1 << 63) - 512, "give")):
        answer = api.ask("PUT", "vm.resize-disk", {"id": "d", "desired_size": size})
        assert answer.code in (400, 500) and sentence in answer.error, answer
    answer = api.ask("PUT", "vm.resize-disk", {"id": "e", "desired_size": MIB})
    assert answer.code == 404 and "there is no disk e" in answer.error
    # a paused guest hears of it too
    api.put("vm.pause")
    api.put("vm.resize-disk", {"id": "d", "desired_size": 16 * MIB})
    api.put("vm.resume")
    vm.wait_for_in(f"{work}/said", "R3 SECTORS 32768")
    ended(vm)


def test_a_resized_disk_keeps_its_size_over_a_reboot(start, work, tmp_path):
    path = sparse(tmp_path / "disk", 4 * MIB)
    vm, api = start("blksize=1", "--disk", f"path={path},id=d")
    vm.wait_for_in(f"{work}/said", "R3 SECTORS 8192")
    api.put("vm.resize-disk", {"id": "d", "desired_size": 8 * MIB})
    vm.wait_for_in(f"{work}/said", "R3 SECTORS 16384")
    ended(vm)
    vm, api = start("blksize=1", "--disk", f"path={path},id=d")
    vm.wait_for_in(f"{work}/said", "R3 SECTORS 16384")
    api.put("vm.reboot")
    vm.wait_for_in(f"{work}/said", "(?s)R3 SECTORS 16384.*R3 SECTORS 16384")
    api.put("vmm.shutdown")
    assert vm.wait() == 0


def test_a_block_device_that_has_grown_is_taken_over(start, work, tmp_path):
    path = sparse(tmp_path / "backing", 4 * MIB)
    with loop_device(path) as device:
        vm, api = start("blksize=1", "--disk", f"path={device},id=d")
        vm.wait_for_in(f"{work}/said", "R3 SECTORS 8192")
        answer = api.ask("PUT", "vm.resize-disk", {"id": "d", "desired_size": 8 * MIB})
        assert answer.code == 400 and f"has {4 * MIB} bytes" in answer.error
        os.truncate(path, 8 * MIB)
        assert run(f"losetup --set-capacity {device}").returncode == 0
        api.put("vm.resize-disk", {"id": "d", "desired_size": 8 * MIB})
        vm.wait_for_in(f"{work}/said", "R3 SECTORS 16384")
        ended(vm)


def test_a_disk_is_cut_in_the_midst_of_its_work(start, tmp_path):
    """What lies behind the new end fails, request by request; nothing else does, and the file keeps its size."""
    disks = [f"path={sparse(tmp_path / engine, 4 * MIB)},id={engine},{options}" for engine, options in ENGINES.items()]
    vm, api = start("blkverify full rounds=200", "--disk", *disks)
    for engine in ENGINES:
        api.put("vm.resize-disk", {"id": engine, "desired_size": 2 * MIB})
    assert vm.wait() == 0, vm.tail()
    for engine in ENGINES:
        assert os.stat(tmp_path / engine).st_size == 2 * MIB


def test_a_cable_is_pulled_and_put_in_again(start, work, ns, tmp_path):
    ns.make_tap("tap0")
    vm, api = start("netcable=2", "--net", "tap=tap0,id=n", program=ns.wrap(binary(), tmp_path))
    vm.wait_for_in(f"{work}/said", "R3 LINK up")
    done = run(f"{remote_binary()} --api-socket {work}/api change-net id=n,link=off")
    assert done.returncode == 0, done.stderr
    vm.wait_for_in(f"{work}/said", "R3 LINK down")
    assert api.get("vm.info")["config"]["net"][0]["link"] is False
    api.put("vm.change-net", {"id": "n", "link": True})
    ended(vm)


def test_without_its_cable_a_card_comes_up_without_a_link(start, work, ns, tmp_path):
    ns.make_tap("tap0")
    vm, api = start("netcable=1", "--net", "tap=tap0,id=n,link=off", program=ns.wrap(binary(), tmp_path))
    vm.wait_for_in(f"{work}/said", "R3 LINK down")
    api.put("vm.change-net", {"id": "n", "link": True})
    vm.wait_for_in(f"{work}/said", "R3 LINK up")
    ended(vm)


def test_limits_change_while_the_guest_works(start, work, tmp_path):
    """The slow part of the work would take minutes."""
    path = sparse(tmp_path / "disk", 4 * MIB)
    vm, api = start("blkverify rounds=200", "--disk", f"path={path},id=d,ops_size=10,ops_refill_time=1000")
    wait_event(work, "activated")
    answer = api.ask("PUT", "vm.change-disk", {"id": "x", "rate_limiter_config": {}})
    assert answer.code == 404 and "there is no disk x" in answer.error
    api.put("vm.change-disk", {"id": "d"})
    assert api.get("vm.info")["config"]["disks"][0]["rate_limiter_config"]["ops"]["size"] == 10
    limits = {"ops": {"size": 1000000, "refill_time": 100}}
    api.put("vm.change-disk", {"id": "d", "rate_limiter_config": limits})
    assert api.get("vm.info")["config"]["disks"][0]["rate_limiter_config"]["ops"]["size"] == 1000000
    api.put("vm.change-disk", {"id": "d", "rate_limiter_config": {}})
    ended(vm)


def test_a_change_before_the_boot_is_the_configurations(virga, work):
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as api:
        api.put("vm.create", small_config(disks=[{"path": f"{work}/none", "id": "d"}]))
        api.put("vm.change-disk", {"id": "d", "rate_limiter_config": {"ops": {"size": 5, "refill_time": 100}}})
        assert api.get("vm.info")["config"]["disks"][0]["rate_limiter_config"]["ops"]["size"] == 5
        assert api.ask("PUT", "vm.resize-disk", {"id": "d", "desired_size": MIB}).code == 405
        api.put("vmm.shutdown")
    assert vm.wait() == 0


@pytest.fixture
def full(tmp_path):
    """A file system without space, and how to give it some."""
    with mounted("tmpfs", "size=4m", tmp_path / "small") as place:
        with open(place / "filler", "wb") as f:
            f.write(bytes(4 * MIB - 256 * 1024))
        yield place


def test_a_full_host_is_waited_for(start, work, full):
    """The guest is told of no error, and every byte is where it belongs."""
    vm, api = start("blkverify rounds=20", "--disk", f"path={sparse(full / 'disk', 16 * MIB)},id=d,on_error=retry")
    told = wait_event(work, "error")[0]
    assert told["source"] == "disk"
    assert told["properties"] == {"id": "d", "operation": "write", "error": "ENOSPC", "on_error": "retry"}
    assert api.state() == "Running"
    run(f"mount -o remount,size=64m {full}")
    wait_event(work, "recovered")
    report = ended(vm)
    assert all("failed=0" in line and "bad=0" in line for line in report.all("VERIFIED"))


def test_a_block_device_that_fails_is_waited_for(start, work, full):
    with loop_device(sparse(full / "backing", 16 * MIB)) as device:
        vm, _ = start("blkverify rounds=20", "--disk", f"path={device},id=d,direct=on,on_error=retry")
        assert wait_event(work, "error")[0]["properties"]["error"] in ("EIO", "ENOSPC")
        run(f"mount -o remount,size=64m {full}")
        wait_event(work, "recovered")
        report = ended(vm)
        assert all("failed=0" in line and "bad=0" in line for line in report.all("VERIFIED"))


def test_a_full_host_pauses_the_guest_until_somebody_lets_it_go_on(start, work, full):
    vm, api = start("blkverify rounds=20", "--disk", f"path={sparse(full / 'disk', 16 * MIB)},id=d,on_error=stop")
    wait_event(work, "paused")
    assert api.state() == "Paused"
    assert [e["properties"]["on_error"] for e in events(work) if e["event"] == "error"] == ["stop"]
    assert api.get("vm.counters")["d"]["held_ops"] > 0
    # still full: it stands again
    api.put("vm.resume")
    wait_event(work, "paused", 2)
    run(f"mount -o remount,size=64m {full}")
    api.put("vm.resume")
    report = ended(vm)
    assert all("failed=0" in line and "bad=0" in line for line in report.all("VERIFIED"))


def test_by_default_a_full_host_is_told_to_the_guest_and_as_an_event(start, work, full):
    vm, _ = start("blkverify full rounds=20", "--disk", f"path={sparse(full / 'disk', 16 * MIB)},id=d")
    assert vm.wait() == 0, vm.tail()
    assert wait_event(work, "error")[0]["properties"]["on_error"] == "report"
    assert len([e for e in events(work) if e["event"] == "error"]) < 60


@pytest.mark.alone
def test_the_clocks_of_a_paused_guest_stand_or_go_on_as_each_should(start, work):
    """All stand while the guest does, so that it finds none of them wrong by another; the time of day goes on."""
    vm, api = start("clocks=60")
    vm.wait_for_in(f"{work}/said", "(?s)(R3 CLOCKS.*){10}")
    api.put("vm.pause")
    time.sleep(3)
    api.put("vm.resume")
    rows = [{key: int(value) for key, value in (field.split("=") for field in line)} for line in ended(vm).all("CLOCKS")]
    assert len(rows) == 60
    steps = [{key: b[key] - a[key] for key in a} for a, b in zip(rows, rows[1:])]
    # Some hosts' KVM shows a guest their own counter, which nobody can stop; it counts from the host's start.
    if rows[0]["tsc"] > 600e9:
        gap = max(steps, key=lambda step: step["tsc"])
        assert 2.9 < gap["tsc"] / 1e9 < 4.5, gap
        gap["tsc"] = int((gap["pm"] & 0xffffffff) / 3579545 * 1e9)
    # Read one after another, with whatever the host does in between, so only their sums say something.
    assert all(0 < step["tsc"] < 10**9 for step in steps)
    went = sum(step["tsc"] for step in steps) / 1e9
    assert abs(sum(step["pm"] & 0xffffffff for step in steps) / 3579545 - went) < 0.1
    assert not rows[0]["kvm"] or abs((rows[-1]["kvm"] - rows[0]["kvm"]) / 1e9 - went) < 0.1
    assert 2 < (rows[-1]["rtc"] - rows[0]["rtc"]) % 86400 - went < 4.5
    now = time.gmtime()
    ago = (now.tm_hour * 3600 + now.tm_min * 60 + now.tm_sec - rows[-1]["rtc"]) % 86400
    assert ago < 10 * PATIENCE, "the time of day is not the host's"
