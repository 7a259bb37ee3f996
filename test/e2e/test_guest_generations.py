# SPDX-License-Identifier: Apache-2.0
"""A restored VM is a VM like any: it is plugged, resized, started anew, saved, and restored again."""
import os
import socket

import pytest

from lib.guest import sparse
from lib.lives import MODES, Lives
from lib.wait import until

MIB = 1 << 20


def each_change(work):
    """What a generation brings: requests, in the order of the generations."""
    return [
        [("vm.add-disk", {"id": "disk", "path": sparse(f"{work}/disk", MIB)}), ("vm.resize", {"desired_vcpus": 2})],
        [("vm.add-pmem", {"id": "pmem", "file": sparse(f"{work}/pmem", 2 * MIB)}), ("vm.resize", {"desired_ram": 256 * MIB})],
        [("vm.add-vsock", {"id": "vsock", "cid": 5, "socket": f"{work}/vsock"}), ("vm.reboot", None), ("vm.resize", {"desired_vcpus": 3})],
        [("vm.add-net", {"id": "net", "stream": f"{work}/passt"}), ("vm.resize", {"desired_ram": 384 * MIB})],
        [("vm.resize-disk", {"id": "disk", "desired_size": 2 * MIB}), ("vm.change-net", {"id": "net", "link": False}),
         ("vm.resize", {"desired_balloon": 8 * MIB})],
    ]


def seen(api):
    """All that is told of a machine but which pseudo-terminals and the like are its."""
    info = api.get("vm.info")
    assert info["state"] == "Running"
    return {key: info[key] for key in ("config", "device_tree", "memory_actual_size")}


@pytest.mark.parametrize("mode", MODES)
def test_each_generation_is_changed_and_the_next_is_as_it_was(virga, work, mode):
    with socket.socket(socket.AF_UNIX) as passt:
        passt.bind(f"{work}/passt")
        passt.listen(16)  # nobody takes them
        lives = Lives(virga, work, "park", "--balloon", "size=4M", cpus="boot=1,max=4", memory="size=128M,hotplug_size=512M")
        lives.until("R3 PARKED")
        for changes in each_change(work):
            for path, body in changes:
                lives.api.put(path, body)
            before = seen(lives.api)
            assert lives.next(mode)
            until(lambda: lives.api.state() == "Running")
            after = seen(lives.api)
            assert after == before
        lives.api.put("vm.reboot")
        # a guest that starts anew has what came meanwhile from its start
        assert len(seen(lives.api)["config"]["disks"]) == 1 and lives.api.get("vm.info")["config"]["cpus"]["boot_vcpus"] == 3
        lives.vm.stop()
    for name in ("passt", "disk", "pmem"):
        os.unlink(f"{work}/{name}")
