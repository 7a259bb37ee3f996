# SPDX-License-Identifier: Apache-2.0
"""Persistent memory: what a tiny guest writes there, and what becomes of it in the file."""
import os
import struct

import pytest

from lib.guest import guest, pattern_disk, refuses, sparse, start_guest  # noqa: F401 (fixtures)

MIB = 1 << 20
MARK = 0x766972676100


def words(path, *offsets):
    with open(path, "rb") as f:
        data = f.read()
    return [struct.unpack_from("<Q", data, o)[0] for o in offsets]


def test_writes_and_a_disks_reads_reach_the_file(guest, work):
    """The disk reads into the memory by the kernel's hand: pages of it are payload like any other."""
    path, disk = sparse(f"{work}/pmem", 4 * MIB), pattern_disk(f"{work}/disk", 1)
    report = guest("pmem", "--pmem", f"file={path}", "--disk", f"path={disk}")
    assert "disk reads into pmem" in report.passed
    assert words(path, 0, 0x10000, 4 * MIB - 8) == [MARK, MARK + 0x10000, MARK + 4 * MIB - 8]
    assert words(path, 0x8000, 0x8000 + 504) == [512, 1016]


def test_what_was_written_is_there_at_the_next_start(guest, work):
    path = sparse(f"{work}/pmem", 2 * MIB)
    assert guest("pmem", "--pmem", f"file={path}").one("PMEM")["first"] == "0x0"
    assert guest("pmem", "--pmem", f"file={path}").hex("PMEM", "first") == MARK


def test_discarded_writes_leave_the_file_as_it_was(guest, work):
    path = sparse(f"{work}/pmem", 2 * MIB)
    os.chmod(path, 0o400)
    guest("pmem", "--pmem", f"file={path},discard_writes=on")
    with open(path, "rb") as f:
        assert f.read() == bytes(2 * MIB)


def test_part_of_a_file_and_a_directory_side_by_side(guest, work):
    path = sparse(f"{work}/pmem", 6 * MIB)
    report = guest("pmem", "--pmem", f"file={path},size=4M", f"file={work},size=2M", "--landlock")
    sizes = [dict(f.split("=") for f in line)["size"] for line in report.all("PMEM")]
    starts = [int(dict(f.split("=") for f in line)["start"], 16) for line in report.all("PMEM")]
    assert sizes == [str(4 * MIB), str(2 * MIB)] and starts[1] == starts[0] + 4 * MIB
    assert os.listdir(work).count("pmem") == 1
    assert words(path, 4 * MIB) == [0], "behind its size nothing is written"


def test_who_writes_a_file_is_alone_with_it(start_guest, refuses, work):
    path, other = sparse(f"{work}/pmem", 2 * MIB), sparse(f"{work}/other", 2 * MIB)
    taken = "in use by another program or another device of this VM (locked)"
    writer = start_guest("park", "--pmem", f"file={path}", "--api-socket", f"path={work}/api")
    reader = start_guest("park", "--pmem", f"file={other},discard_writes=on", "--api-socket", f"path={work}/api2")
    for vm in (writer, reader):
        vm.wait_for_in(vm.serial_path, "R3 PARKED")
    for args in (["--pmem", f"file={path}"], ["--pmem", f"file={path},discard_writes=on"], ["--pmem", f"file={other}"]):
        refuses(taken, *args)
    refuses("locked", "--disk", f"path={path}")
    second = start_guest("pmem", "--pmem", f"file={other},discard_writes=on")
    assert second.wait() == 0, "readers share"
    assert writer.stop() == 0 and reader.stop() == 0
    refuses(taken, "--pmem", f"file={path}", f"file={path}")


def test_it_lies_in_the_window_of_its_segment(guest, work):
    path = sparse(f"{work}/pmem", 2 * MIB)
    report = guest("segments pmem", "--platform", "num_pci_segments=2", "--pmem", f"file={path},pci_segment=1,pci_device_id=7",
                   "--disk", f"path={pattern_disk(f'{work}/disk', 1)},readonly=on,pci_segment=1")
    assert ["1", "7", "1af4:105b"] in [line[:3] for line in report.all("FN")]


@pytest.mark.parametrize("args, sentence", [
    ("file=/nonexistent/pmem", "/nonexistent/pmem"), ("file=/tmp", "a directory needs a size: say size="),
    ("file={path}", "its size, 3145728 bytes, is no multiple of 2M: round it"),
    ("file={path},size=4M", "it has 3145728 bytes, and size is 4194304"), ("file={path},size=1M", "multiple of 2M"),
    ("file=/dev/null", "neither a regular file nor a block device"),
])
def test_what_can_not_be_memory_is_refused(refuses, work, args, sentence):
    refuses(sentence, "--pmem", args.format(path=sparse(f"{work}/pmem", 3 * MIB)))
