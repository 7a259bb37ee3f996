# SPDX-License-Identifier: Apache-2.0
"""Shared memory: the file that a tiny guest sees, wherever it puts it, and two guests that see each other."""
import struct

import pytest

from lib.guest import guest, refuses, report_of, sparse, start_guest  # noqa: F401 (fixtures)

MIB = 1 << 20
MARK = 0x73686172656400


@pytest.mark.parametrize("size", [4096, 16 * MIB])
def test_memory_is_the_file_and_follows_its_bar(guest, work, size):
    path = sparse(f"{work}/shared", size)
    with open(path, "r+b") as f:
        f.write(b"from us.")
    report = guest("ivshmem", "--ivshmem", f"path={path},size={size}", "--landlock")
    assert report.one("IVSHMEM") == {"size": str(size), "first": hex(int.from_bytes(b"from us.", "little"))}
    with open(path, "rb") as f:
        data = f.read()
    assert struct.unpack_from("<QQ", data) == (MARK, MARK + 20) and data[-8:] == struct.pack("<Q", MARK + 1)


def test_two_machines_see_what_the_other_writes(start_guest, work):
    path = sparse(f"{work}/shared", MIB)
    vms = [start_guest(f"ivshmem share={n}", "--ivshmem", f"path={path},size=1M") for n in (1, 2)]
    for vm in vms:
        assert vm.wait(90) == 0, vm.tail()
        report_of(vm).check()


@pytest.mark.parametrize("args, sentence", [
    ("path=/nonexistent/shared", "/nonexistent/shared"), ("path={path},size=2M", "make it larger"),
    ("path={path},size=3M", "size is not a power of two of 4K or more: round it"), ("path={path},size=2K", "4K or more"),
    ("path=/tmp,size=4K", "/tmp is a directory"),
])
def test_what_can_not_be_shared_is_refused(refuses, work, args, sentence):
    refuses(sentence, "--ivshmem", args.format(path=sparse(f"{work}/shared", MIB)))
