# SPDX-License-Identifier: Apache-2.0
"""What a guest's memory is on the host.

	held(vm.pid)          bytes of it that are in the host's memory, huge pages too
	held(vm.pid, OWN)     those of them that are in no file
	paused(vm, 2)         the same once the guest has come to its second pause
	with pool(2048, 24)   so many huge pages of so many KiB more in the host's pool, while it lasts
"""
import contextlib
import fcntl
import os
from pathlib import Path

import pytest

HUGE = Path("/sys/kernel/mm/hugepages")
KEYS = ("Rss", "Private_Hugetlb", "Shared_Hugetlb")
OWN = ("Anonymous",)


def held(pid, keys=KEYS):
    """Bytes of the mappings that are left out of core dumps, which only guest memory is: a sum over smaps."""
    kib = total = 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, *rest = line.split()
        if key == "Size:":
            kib = 0
        elif key[:-1] in keys:
            kib += int(rest[0])
        elif key == "VmFlags:" and "dd" in rest:
            total += kib
    return total << 10


def paused(vm, count):
    """What is held when the guest has come to its pause number `count`, in which it waits for input."""
    vm.wait_for(rf"(R3 PAUSED[\s\S]*){{{count}}}", 60)
    return held(vm.pid)


@contextlib.contextmanager
def pool(kib, count):
    """As many huge pages of this size in the host's pool, while it lasts."""
    path = HUGE / f"hugepages-{kib}kB/nr_hugepages"
    if not path.exists() or not os.access(path, os.W_OK):
        pytest.skip(f"no right to {path}")
    with open(path, encoding="ascii") as lock:
        # tests may run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = path.read_text()
        try:
            path.write_text(str(int(before) + count))
            if int(path.read_text()) < int(before) + count:
                pytest.skip(f"the host can not gather {count} pages of {kib} KiB")
            yield
        finally:
            path.write_text(before)
