# SPDX-License-Identifier: Apache-2.0
"""Disks under a guest that remembers every sector: each engine, each way to the file, and hosts that fail."""
import contextlib
import os
import re
from pathlib import Path

import pytest

from lib.borrow import as_root, loop_device, mounted
from lib.engines import ENGINES, takes_direct
from lib.guest import guest, guest_file, pattern_disk, sparse, start_guest  # noqa: F401 (fixtures)
from lib.process import threads_of

MIB = 1 << 20


@pytest.fixture
def loop():
    """loop(path): a block device over a file, until the test's end."""
    with contextlib.ExitStack() as stack:
        yield lambda path, block=512: stack.enter_context(loop_device(path, block))


@pytest.fixture
def small_tmpfs(work):
    """A directory with room for 4 MiB."""
    with mounted("tmpfs", "size=4m", Path(work) / "small") as place:
        yield place


def verified(report):
    return [dict(f.split("=") for f in line[1:]) for line in report.all("VERIFIED")]


def described(report):
    return [dict(f.split("=") for f in line[1:]) for line in report.all("DISK")]


def check_all(guest, make_path):
    """Every engine, with and without the page cache, with 1 and 4 queues: twelve disks of one guest."""
    disks, engines = [], []
    for engine, options in ENGINES.items():
        for direct in ("on", "off"):
            for queues in (1, 4):
                path = make_path(len(disks))
                if direct == "on" and not takes_direct(path):
                    pytest.skip(f"{path} takes no direct I/O")
                disks.append(f"path={path},direct={direct},num_queues={queues},{options}")
                engines.append(f"{path}, 4 MiB, {queues} queues by {engine}")
    report = guest("blkverify rounds=30", "-v", "--disk", *disks, cpus=4, timeout=240)
    assert len(verified(report)) == len(disks)
    for line in engines:
        assert line in report.vm.text
    return report


def test_every_engine_keeps_every_sector_of_a_file(guest, tmp_path):
    report = check_all(guest, lambda n: sparse(tmp_path / f"disk{n}", 4 * MIB))
    assert {d["blk_size"] for d in described(report)} <= {"512", "4096"}


def test_every_engine_keeps_every_sector_of_a_device_with_4k_blocks(loop, guest, tmp_path):
    """Requests of single sectors, on all queues: the host's blocks are read, patched and written back."""
    report = check_all(guest, lambda n: loop(sparse(tmp_path / f"disk{n}", 4 * MIB), 4096))
    for disk in described(report):
        assert disk["blk_size"] == "4096" and disk["align"] == "8"


def test_every_engine_keeps_every_sector_of_a_file_on_4k_blocks(loop, guest, tmp_path):
    """The file system's own device has blocks of 4 KiB, and so has direct I/O of its files."""
    device = loop(sparse(tmp_path / "device", 96 * MIB), 4096)
    as_root("mkfs.ext4", "-q", "-O", "^has_journal", device)
    with mounted("ext4", "rw", tmp_path / "mnt", device) as place:
        report = check_all(guest, lambda n: sparse(place / f"disk{n}", 4 * MIB))
    assert [d["blk_size"] for d in described(report)] == ["4096", "4096", "512", "512"] * len(ENGINES)


def test_write_through_keeps_every_sector_too(guest, tmp_path):
    path = sparse(tmp_path / "disk", MIB)
    guest("blkverify through rounds=4", "--disk", f"path={path},{ENGINES['aio']}")


def test_a_full_disk_of_the_host_is_told_to_the_guest(small_tmpfs, guest):
    """Writes that find no space fail, one by one; all others are kept; the log is not flooded."""
    disks = []
    for engine, options in ENGINES.items():
        disks.append(f"path={sparse(small_tmpfs / engine, 16 * MIB)},{options}")
    sparse(small_tmpfs / "filler", 0)
    with open(small_tmpfs / "filler", "wb") as f:
        f.write(bytes(4 * MIB - 256 * 1024))
    report = guest("blkverify full rounds=100", "--disk", *disks, cpus=2, timeout=120)
    for disk in verified(report):
        assert int(disk["failed"]) > 100 and disk["bad"] == "0"
    lines = re.findall(r"^.* write of \d+ bytes at \d+: No space left on device$", report.vm.text, re.M)
    assert lines and str(small_tmpfs) in lines[0]
    assert len(lines) < 60, "one line for each error"


def test_errors_of_a_device_are_told_to_the_guest(small_tmpfs, loop, guest):
    """A loop device whose file finds no space fails; of a request over two pages it may lose half silently."""
    paths = [loop(sparse(small_tmpfs / engine, 16 * MIB)) for engine in ENGINES]
    with open(small_tmpfs / "filler", "wb") as f:
        f.write(bytes(4 * MIB - 256 * 1024))
    disks = [f"path={path},direct=on,{options}" for path, options in zip(paths, ENGINES.values())]
    report = guest("blkverify full page rounds=100", "--disk", *disks, cpus=2, timeout=120)
    for disk in verified(report):
        assert int(disk["failed"]) > 100 and disk["bad"] == "0"
    lines = re.findall(r"write of \d+ bytes at \d+: ([^(\n]*)", report.vm.text, re.M)
    assert lines and len(lines) < 60
    assert {line.strip() for line in lines} <= {"Input/output error", "No space left on device"}


def test_sparse_off_takes_the_space_or_says_that_there_is_none(small_tmpfs, guest, virga, tmp_path):
    path = sparse(tmp_path / "disk", 4 * MIB)
    report = guest("blkverify rounds=20", "--disk", f"path={path},sparse=off")
    assert described(report)[0]["discard"] == "0" and described(report)[0]["unmap"] == "0"
    assert os.stat(path).st_blocks * 512 >= 4 * MIB
    large = sparse(small_tmpfs / "disk", 16 * MIB)
    vm = virga("--kernel", guest_file("guest.elf"), "--disk", f"path={large},sparse=off", "--serial", "off")
    assert vm.wait() == 1
    assert f"there is no space for all of {large}" in vm.text
    assert os.stat(large).st_blocks == 0


def test_what_the_guest_discards_and_zeroes_is_given_back(guest, tmp_path):
    """The tiny guest ends with a discard of the whole disk."""
    path = pattern_disk(str(tmp_path / "disk"), 4)
    before = os.stat(path).st_blocks
    guest("blkdiscard", "--disk", f"path={path}")
    assert os.stat(path).st_blocks < before / 8


def test_queues_run_where_they_are_pinned(start_guest, work):
    cpus = sorted(os.sched_getaffinity(0))
    path = pattern_disk(f"{work}/disk", 1)
    affinity = f"[0@[{cpus[0]}],1@[{cpus[-1]}],2@[{cpus[0]},{cpus[-1]}]]"
    vm = start_guest("park", "--disk", f"path={path},id=d,num_queues=4,queue_affinity={affinity}", cpus=4)
    vm.wait_for_in(vm.serial_path, "R3 PARKED")
    found = {}
    for task, name in threads_of(vm.pid).items():
        found[name] = os.sched_getaffinity(task)
    assert found["d_q0"] == {cpus[0]} and found["d_q1"] == {cpus[-1]}
    assert found["d_q2"] == {cpus[0], cpus[-1]} and found["d_q3"] == set(cpus)


@pytest.mark.parametrize("granularity", ["byte-range", "full"])
def test_an_image_in_use_is_refused_by_name(start_guest, virga, work, granularity):
    path = pattern_disk(f"{work}/disk", 1)
    option = f"path={path},lock_granularity={granularity}"
    first = start_guest("park", "--disk", option)
    first.wait_for_in(first.serial_path, "R3 PARKED")
    second = virga("--kernel", guest_file("guest.elf"), "--disk", f"{option},id=mine", "--serial", "off")
    assert second.wait() == 1
    assert f"{path} is in use by another program" in second.text and "mine" in second.text
    assert first.stop() == 0
