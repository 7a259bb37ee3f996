# SPDX-License-Identifier: Apache-2.0
"""The guest drives block, console and random devices by hand."""
import array
import os
from pathlib import Path

import pytest

from lib.guest import guest, pattern_disk, start_guest  # noqa: F401 (fixtures)
from lib.virga import binary


@pytest.fixture
def disk(work):
    return pattern_disk(f"{work}/disk")


def untouched(path):
    """The disk holds the pattern everywhere; the guest puts back what it has written over."""
    again = pattern_disk(path + ".again", os.path.getsize(path) >> 20)
    with open(path, "rb") as one, open(again, "rb") as two:
        same = one.read() == two.read()
    os.unlink(again)
    return same


def test_disk_reads_writes_flushes(guest, disk):
    assert guest("blk", "--disk", f"path={disk}").one("BLK")["sectors"] == str(16 * 2048)
    assert untouched(disk)


def test_many_queues_do_with_a_low_soft_limit_of_descriptors(guest, work, tmp_path):
    program = tmp_path / "few-descriptors"
    program.write_text(f'#!/bin/sh\nulimit -Sn 64\nexec {binary()} "$@"\n')
    program.chmod(0o755)
    disks = [f"path={pattern_disk(f'{work}/disk{i}', 1)},num_queues=4" for i in range(4)]
    guest("told", "--disk", *disks, cpus=4, program=str(program))


def test_disk_works_past_the_page_cache(guest, tmp_path):
    path = pattern_disk(f"{tmp_path}/disk")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
    except OSError as e:
        pytest.skip(f"O_DIRECT is not to be had in {tmp_path}: {e}")
    guest("blk", "--disk", f"path={path},direct=on")
    assert untouched(path)


@pytest.mark.parametrize("queues", [2, 4])
def test_disk_works_on_each_of_its_queues(guest, disk, queues):
    report = guest("blk", "--disk", f"path={disk},num_queues={queues}", cpus=queues)
    assert report.one("BLK")["queues"] == str(queues)
    assert f"blk q{queues - 1} writes" in report.passed
    assert untouched(disk)


def test_readonly_disk_refuses_writes(guest, disk):
    os.chmod(disk, 0o444)
    report = guest("blk", "--disk", f"path={disk},readonly=on")
    assert "blk q0 refuses a write" in report.passed
    assert untouched(disk)


def test_disk_says_the_serial_it_was_given(guest, disk):
    report = guest("blk", "--disk", f"path={disk},serial=VIRGA-0042")
    assert report.all("BLKID")[0] == ["VIRGA-0042"]


def test_several_disks_are_several_devices(guest, work):
    paths = [pattern_disk(f"{work}/disk{i}", 1 + i) for i in range(3)]
    args = [arg for path in paths for arg in ("--disk", f"path={path}")]
    report = guest("blk", *args)
    sizes = [dict(f.split("=") for f in line[1:])["sectors"] for line in report.all("BLK")]
    assert sizes == ["2048", "4096", "6144"]


def test_odd_tail_of_a_disk_is_hidden(guest, work):
    path = pattern_disk(f"{work}/disk", 1)
    with open(path, "ab") as f:
        f.write(b"x" * 100)
    assert guest("blk", "--disk", f"path={path}").one("BLK")["sectors"] == "2048"


def test_disk_holds_what_the_guest_wrote(guest, work):
    """Writes at depth, whose first and last word of each 4 KiB hold their own offset."""
    path = pattern_disk(f"{work}/disk", 16)
    guest("blkbench write secs10=3", "--disk", f"path={path}", timeout=120)
    words = array.array("Q", Path(path).read_bytes())
    assert len(words) == 16 << 17
    for block in range(0, len(words), 512):
        assert words[block] == block * 8 and words[block + 511] == (block + 511) * 8


def test_random_source_gives_bytes(guest):
    guest("rng", "--rng", "src=/dev/urandom")


def test_random_source_is_always_there(guest):
    guest("rng")


def test_console_writes_to_a_file(guest, work):
    guest("con", console=f"file={work}/console")
    with open(f"{work}/console", encoding="ascii") as f:
        assert f.read() == "R3 console says\n" * 301


def test_console_that_goes_nowhere_still_takes_what_is_written(guest):
    guest("con", console="null")


def test_console_echoes_what_is_typed(start_guest):
    vm = start_guest("conecho", console="tty", tty=True)
    vm.wait_for_in(vm.serial_path, "R3 CONECHO")
    vm.type("typed on a terminal.")
    vm.wait_for("typed on a terminal[.]")
    assert vm.wait() == 0
    assert "R3 CONECHOED 20" in vm.file_text(vm.serial_path)


def test_console_takes_more_than_its_ring_holds(start_guest):
    vm = start_guest("conecho", console="tty")
    vm.wait_for_in(vm.serial_path, "R3 CONECHO")
    for _ in range(50):
        vm.type("0123456789" * 100)
    vm.type(".")
    assert vm.wait() == 0
    assert "R3 CONECHOED 50001" in vm.file_text(vm.serial_path)
