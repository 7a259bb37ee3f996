# SPDX-License-Identifier: Apache-2.0
"""What a guest wishes for its pages by pvmemcontrol is done on the host, and holds for the VM that goes on elsewhere."""
import os
import shutil
import signal
from pathlib import Path

import pytest

from lib.api import Api
from lib.guest import Report, report_of, sparse, start_guest  # noqa: F401 (fixtures)
from lib.memory import paused
from lib.wait import until

MIB = 1 << 20
SIZE = 64 * MIB


def locked(pid):
    """Bytes of the mappings that are locked."""
    kib = total = 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, *rest = line.split()
        if key == "Size:":
            kib = int(rest[0])
        elif key == "VmFlags:" and "lo" in rest:
            total += kib
    return total << 10


@pytest.mark.parametrize("kind", ["anonymous", "shared", "file"])
def test_what_is_given_is_the_hosts_again_and_what_is_locked_is(start_guest, work, kind):
    args, memory = [], {"anonymous": "192M", "shared": "192M,shared=on"}.get(kind, "0")
    if kind == "file":
        sparse(f"{work}/ram", 192 * MIB)
        args = ["--memory-zone", f"id=m0,size=192M,file={work}/ram,shared=on"]
    vm = start_guest("pvmemcontrol look", "--pvmemcontrol", "--api-socket", f"path={work}/api", *args, memory=memory,
                     serial="tty", overhead=False, cpus=2)
    for turn in range(3):
        full = paused(vm, 2 * turn + 1)
        vm.type("x")
        assert full - paused(vm, 2 * turn + 2) >= 0.95 * SIZE, turn
        vm.type("x")
    paused(vm, 7)
    assert locked(vm.pid) == SIZE // 2
    with Api(f"{work}/api") as api:
        n = api.get("vm.counters")["__pvmemcontrol"]
        assert n["given_bytes"] == 3 * SIZE and n["calls"] > 10
        assert "pvmemcontrol" in api.get("vm.info")["config"]
    vm.type("x")
    assert vm.wait() == 0
    report_of(vm).check()


@pytest.mark.parametrize("mode", ["map", "copy", "ondemand"])
def test_what_is_locked_is_so_in_a_restored_vm(start_guest, virga, work, mode):
    vm = start_guest("pvmemlock pause pvmemlock", "--pvmemcontrol", "--api-socket", f"path={work}/api", serial="tty",
                     overhead=False)
    vm.wait_for("R3 PAUSED")
    assert locked(vm.pid) == SIZE // 2
    os.mkdir(f"{work}/snap")
    with Api(f"{work}/api") as api:
        api.put("vm.pause")
        api.put("vm.snapshot", {"destination_url": f"file://{work}/snap"})
    vm.kill(signal.SIGKILL)
    vm.wait()
    for name in ("api", "api.lock"):
        os.unlink(f"{work}/{name}")
    vm = virga("--restore", f"source_url=file://{work}/snap,memory_restore_mode={mode},resume=on", "--api-socket",
               f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as api:
        until(lambda: api.get("vm.info")["state"] == "Running")
        assert locked(vm.pid) == SIZE // 2
        vm.type("x")
        assert vm.wait() == 0
    shutil.rmtree(f"{work}/snap")
    report = Report(vm.text, vm)
    report.check()
    assert "memory is locked" in report.passed, "the device was ready all along"
