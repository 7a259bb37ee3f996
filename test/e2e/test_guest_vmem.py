# SPDX-License-Identifier: Apache-2.0
"""Memory that is plugged and unplugged by virtio-mem: what the guest may do, what others see of it, what the host gets back."""
import contextlib
import os
import struct

import pytest

from lib.api import Api
from lib.guest import build, guest, refuses, report_of, sparse, start_guest  # noqa: F401 (fixtures)
from lib.memory import held, paused, pool
from test_guest_attack import judged

MIB = 1 << 20
REGION, WANTED = 256 * MIB, 96 * MIB
PLUG = "hotplug_size=256M,hotplugged_size=96M"
WHOLE = {"anonymous": "", "shared": ",shared=on", "huge": ",hugepages=on,hugepage_size=2M"}


@pytest.mark.parametrize("kind", ["anonymous", "shared", "huge", "file"])
def test_what_is_unplugged_is_the_hosts_again(start_guest, work, kind):
    path = f"{work}/ram"
    if kind == "file":
        sparse(path, 64 * MIB + REGION)
        memory = "0,hotplug_method=virtio-mem"
        args = ["--memory-zone", f"id=m0,size=64M,file={path},shared=on,{PLUG}"]
    else:
        memory, args = f"64M,hotplug_method=virtio-mem,{PLUG}{WHOLE[kind]}", []
    with pool(2048, (64 + 96) // 2) if kind == "huge" else contextlib.nullcontext():
        vm = start_guest("vmem look", *args, memory=memory, serial="tty", overhead=False)
        none = paused(vm, 1)
        for count, plugged in ((2, WANTED), (3, 2 * MIB), (4, WANTED), (5, 0)):
            vm.type("x")
            now = paused(vm, count) - none
            if count % 2:
                assert now <= plugged + 0.05 * WANTED, (kind, count, now)
                if kind == "file":
                    assert os.stat(path).st_blocks * 512 <= held(vm.pid) + 0.05 * WANTED
            else:
                assert now >= plugged, (kind, count, now)
        vm.type("x")
        assert vm.wait() == 0
    report = report_of(vm)
    report.check()
    said = report.one("VMEM")
    assert (int(said["region"], 16), int(said["wanted"], 16)) == (REGION, WANTED)
    assert int(said["addr"], 16) == 4 << 30 and int(said["block"], 16) == 2 * MIB


def test_each_zone_has_a_device_of_its_node(guest):
    report = guest("vmem acpihex told", "--memory-zone", "id=near,size=64M", "id=far,size=64M," + PLUG,
                   "--numa", "guest_numa_id=0,cpus=0,memory_zones=near", "guest_numa_id=3,memory_zones=far",
                   memory="0,hotplug_method=virtio-mem", overhead=False)
    said = report.one("VMEM")
    assert said["node"] == "3" and int(said["features"], 16) & 7 == 7
    assert struct.pack("<BBIHQQII", 1, 40, 3, 0, 4 << 30, REGION, 0, 3) in report.table("SRAT"), \
        "it can be plugged, on node 3"
    assert not [line for line in report.all("MAP") if line[0] == "100000000"], "it is not in the memory map"


def test_counters_and_memory_follow_the_guest(start_guest, work):
    vm = start_guest("vmem look", "--api-socket", f"path={work}/api", serial="tty", overhead=False,
                     memory=f"64M,hotplug_method=virtio-mem,{PLUG}")
    with Api(f"{work}/api") as api:
        paused(vm, 1)
        n = api.get("vm.counters")["mem0"]
        assert (n["region_bytes"], n["requested_bytes"], n["plugged_bytes"]) == (REGION, WANTED, 0)
        vm.type("x")
        paused(vm, 2)
        n = api.get("vm.counters")["mem0"]
        assert (n["plugged_bytes"], n["plug_ops"], n["failures"]) == (WANTED, 3, 0)
        vm.type("x")
        paused(vm, 3)
        assert api.get("vm.counters")["mem0"]["plugged_bytes"] == 2 * MIB
        # what is plugged is in a core file, and the rest leaves no more than a hole there
        api.put("vm.pause")
        api.put("vm.coredump", {"destination_url": f"file://{work}/core"})
        assert os.stat(f"{work}/core").st_blocks * 512 < 64 * MIB
        os.unlink(f"{work}/core")
        api.put("vm.resume")
    for count in (4, 5):
        vm.type("x")
        paused(vm, count)
    vm.type("x")
    assert vm.wait() == 0
    report_of(vm).check()


def test_a_new_size_is_asked_for_and_stays(start_guest, work):
    memory = "0,hotplug_method=virtio-mem"
    vm = start_guest("vmem look", "--memory-zone", "id=z,size=64M," + PLUG, "--api-socket", f"path={work}/api",
                     memory=memory, serial="tty", overhead=False)
    paused(vm, 1)
    with Api(f"{work}/api") as api:
        api.put("vm.resize-zone", {"id": "z", "desired_ram": 64 * MIB + REGION})
        assert api.get("vm.counters")["z"]["requested_bytes"] == REGION
        api.put("vm.resize-zone", {"id": "z", "desired_ram": 64 * MIB + WANTED})
        for size, said in ((1 << 30, "hotplugged_size is above hotplug_size"), (32 * MIB, "less than zone z had"),
                           (65 * MIB, "not a multiple of 2M")):
            answer = api.ask("PUT", "vm.resize-zone", body={"id": "z", "desired_ram": size})
            assert answer.code == 400 and said in answer.error, answer
        assert api.ask("PUT", "vm.resize-zone", body={"id": "y", "desired_ram": 1 << 30}).code == 404
        assert api.ask("PUT", "vm.resize", body={"desired_ram": 1 << 30}).code == 400
        [zone] = api.get("vm.info")["config"]["memory"]["zones"]
        assert zone["hotplugged_size"] == WANTED
        for count in range(2, 6):
            vm.type("x")
            paused(vm, count)
        vm.type("x")
    assert vm.wait() == 0
    report_of(vm).check()


def test_all_of_the_memory_is_resized_by_virtio_mem_too(start_guest, work):
    vm = start_guest("vmem look", "--api-socket", f"path={work}/api", serial="tty", overhead=False,
                     memory=f"64M,hotplug_method=virtio-mem,{PLUG}")
    paused(vm, 1)
    with Api(f"{work}/api") as api:
        api.put("vm.resize", {"desired_ram": 64 * MIB + 128 * MIB})
        assert api.get("vm.counters")["mem0"]["requested_bytes"] == 128 * MIB
        assert api.get("vm.info")["memory_actual_size"] == 64 * MIB
        answer = api.ask("PUT", "vm.resize", body={"desired_ram": 32 * MIB})
        assert answer.code == 400 and "less than the memory of the start" in answer.error, answer
        assert api.get("vm.info")["config"]["memory"]["hotplugged_size"] == 128 * MIB


def test_a_host_without_huge_pages_puts_the_guest_off(start_guest):
    """The pool holds what the guest starts with, and no more: the guest hears that later may be better."""
    with pool(2048, 32):
        free = int(open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", encoding="ascii").read())
        size = free * 2
        vm = start_guest("vmem", memory=f"{size}M,hotplug_method=virtio-mem,{PLUG},hugepages=on,hugepage_size=2M",
                         overhead=False)
        assert vm.wait(60) == 0
    report = report_of(vm)
    assert "what is asked for is plugged" in report.failed
    assert "No space left on device" in vm.text or "Cannot allocate memory" in vm.text, vm.text


def test_attacks_on_memory_in_blocks(guest, build):
    judged(guest("attack", memory=f"128M,hotplug_method=virtio-mem,{PLUG}", timeout=300, **build), "vmem")


@pytest.mark.parametrize("memory,zone,said", [
    ("128M,hotplug_method=virtio-mem,hotplug_size=64M", None, "hotplug_size is not a multiple of 128M"),
    ("128M,hotplug_method=virtio-mem,hotplug_size=128M,hotplugged_size=1M", None,
     "hotplugged_size is not a multiple of 2M"),
    ("128M,hotplug_method=virtio-mem,hotplug_size=128M,hotplugged_size=256M", None,
     "hotplugged_size is above hotplug_size"),
    ("0,hotplug_method=virtio-mem,hotplug_size=128M", "id=a,size=128M", "hotplug_size is said of each of them"),
    ("128M,hotplug_method=virtio-mem,hotplug_size=8388480G", None, "do not fit into the physical addresses"),
    ("0,hotplug_method=virtio-mem", "id=a,size=128M,file={work}/short,shared=on,hotplug_size=128M",
     "bytes and the zone 268435456 with its hotplug_size: make it larger"),
])
def test_sizes_that_will_not_do_are_refused(refuses, work, memory, zone, said):
    sparse(f"{work}/short", 128 * MIB)
    args = ["--memory-zone", zone.format(work=work)] if zone else []
    refuses(said, "--memory", f"size={memory}", *args)
