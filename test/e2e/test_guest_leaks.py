# SPDX-License-Identifier: Apache-2.0
"""One process that has many machines, one after another, some of which cannot be: whatever each of them made goes with it."""
import contextlib
import json
import os
import shutil
import socket

import pytest

from lib.api import Api, small_config
from lib.guest import guest_file, sparse
from lib.lives import MODES
from lib.process import descriptors_of, threads_of
from lib.virga import binary
from lib.wait import until

MIB = 1 << 20
LIVES = int(os.environ.get("VIRGA_TEST_LIVES", "200"))
SETTLED = 40  # lives, after which nothing grows any more


@contextlib.contextmanager
def listener(path):
    """Takes nobody, but may be reached often."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen(4096)
        yield
    os.unlink(path)


def everything(work):
    """A machine with a device of nearly every kind, and with consoles of every kind."""
    return small_config(
        "park", cpus={"boot_vcpus": 2, "max_vcpus": 3},
        memory={"size": 64 * MIB, "hotplug_method": "VirtioMem", "hotplug_size": 256 * MIB, "hotplugged_size": 16 * MIB, "shared": True},
        disks=[{"path": f"{work}/disk0", "num_queues": 2}, {"path": f"{work}/disk1", "direct": True}, {"path": f"{work}/disk2", "readonly": True}],
        net=[{"num_queues": 4}, {"tap": "named", "ip": "192.168.77.1", "mask": "255.255.255.0"}, {"stream": f"{work}/peer"}],
        pmem=[{"file": f"{work}/pmem"}], vsock={"cid": 3, "socket": f"{work}/vsock"}, rng={"src": "/dev/urandom"},
        balloon={"size": 0, "free_page_reporting": True}, watchdog=True, pvmemcontrol={}, ivshmem={"path": f"{work}/shared", "size": MIB},
        serial={"mode": "Socket", "socket": f"{work}/serial"}, console={"mode": "Pty"}, debug_console={"mode": "File", "file": f"{work}/debug"})


@pytest.fixture
def host(virga, work, ns):
    """A program without a machine in a network of its own, with what `everything` wants of its host."""
    for name, mib in (("disk0", 1), ("disk1", 1), ("disk2", 1), ("pmem", 2), ("shared", 1)):
        sparse(f"{work}/{name}", mib * MIB)
    with listener(f"{work}/peer"):
        vm = virga("--api-socket", f"path={work}/api", overhead=False, program=ns.wrap(binary(), work))
        with Api(f"{work}/api") as api:
            vm.pid = api.get("vmm.ping")["pid"]
            yield vm, api
            api.put("vmm.shutdown")
        assert vm.wait() == 0
    for name in ("disk0", "disk1", "disk2", "pmem", "shared", "debug"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{work}/{name}")


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def interfaces(ns):
    return sorted(line.split(":")[1].strip() for line in ns.ip("-o", "link").splitlines())


def made(vm, work, ns):
    """What there is of the program on this host: threads, descriptors, files and interfaces."""
    files = sorted(os.path.join(top, name) for top, dirs, names in os.walk(work) for name in names + dirs)
    return sorted(threads_of(vm.pid).values()), sorted(descriptors_of(vm.pid).values()), files, interfaces(ns)


def mappings(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        return len(f.readlines())


def saved(api, work):
    """A snapshot of `everything`, which runs on."""
    os.mkdir(f"{work}/snap")
    api.put("vm.create", everything(work))
    api.put("vm.boot")
    api.put("vm.pause")
    api.put("vm.snapshot", {"destination_url": f"file://{work}/snap"})
    api.put("vm.delete")


def test_many_machines_come_and_go_in_one_process_and_nothing_is_left(host, work, ns):
    vm, api = host
    saved(api, work)
    before = None
    for n in range(LIVES):
        if n % 2:
            api.put("vm.restore", {"source_url": f"file://{work}/snap", "resume": n % 4 == 1,
                                   **({} if n % 8 < 4 else {"memory_restore_mode": ("Copy", "OnDemand")[n // 8 % 2]})})
        else:
            api.put("vm.create", everything(work))
            api.put("vm.boot")
            if n % 8 == 6:
                api.put("vm.shutdown")
                api.put("vm.boot")
        if n % 10 == 9:
            api.put("vm.shutdown")
        api.put("vm.delete")
        if n == SETTLED - 1:
            before = made(vm, work, ns), mappings(vm.pid), resident_kib(vm.pid)
    until(lambda: made(vm, work, ns) == before[0], why=lambda: f"{made(vm, work, ns)}\n{before[0]}")
    assert mappings(vm.pid) <= before[1] + 2
    assert resident_kib(vm.pid) < before[2] + 256, before
    shutil.rmtree(f"{work}/snap")


# --- machines that cannot be ---

@contextlib.contextmanager
def missing(path):
    os.rename(path, f"{path}.away")
    try:
        yield
    finally:
        os.rename(f"{path}.away", path)


@contextlib.contextmanager
def smaller(path):
    """A disk or a file whose last sector is none."""
    size = os.stat(path).st_size
    os.truncate(path, size - 100)
    try:
        yield
    finally:
        os.truncate(path, size)


TAP = {"tap": "named", "ip": "192.168.77.1", "mask": "255.255.255.0"}
# What is wrong with a file of this host, and what else with the machine. Devices are made in one order: some faults meet it
# when nearly all is there.
FAULTS = [
    (missing, "disk0", {}), (missing, "disk2", {}), (missing, "pmem", {}), (missing, "shared", {}), (missing, "peer", {}),
    (listener, "vsock", {}), (listener, "serial", {}), (smaller, "pmem", {}), (smaller, "shared", {}),
    (None, None, {"net": [{"num_queues": 4}, {"tap": "lo"}]}),
    (None, None, {"net": [{"num_queues": 4}, TAP, {"tap": "named"}]}),
    (None, None, {"disks": [{"path": "WORK/disk0"}, {"path": "WORK/disk0", "id": "again"}]}),
    (None, None, {"tpm": {"socket": "WORK/none"}}),
    (None, None, {"memory": {"size": 64 * MIB, "hugepages": True, "hugepage_size": 1 << 30, "shared": True}}),
    (None, None, {"debug_console": {"mode": "File", "file": "WORK/none/debug"}}),
    (None, None, {"payload": {"kernel": "WORK/disk0"}}),
    (None, None, {"payload": {"kernel": "WORK/none"}}),
]


def changed(config, change, work):
    return config | json.loads(json.dumps(change).replace("WORK", work))


def refused_to_boot(api, config):
    answer = api.ask("PUT", "vm.create", config)
    if answer.code == 204:
        answer = api.ask("PUT", "vm.boot")
        api.put("vm.delete")
    return answer.code >= 400


def refused_to_go_on(api, work):
    answer = api.ask("PUT", "vm.restore", {"source_url": f"file://{work}/snap"})
    if answer.code == 204:
        api.put("vm.delete")
    return answer.code >= 400


def test_a_machine_that_cannot_be_leaves_nothing_of_what_was_made_before_it_failed(host, work, ns):
    vm, api = host
    saved(api, work)
    with open(f"{work}/snap/config.json", encoding="utf-8") as f:
        was = json.load(f)
    for fault, name, change in FAULTS:
        with open(f"{work}/snap/config.json", "w", encoding="utf-8") as f:
            json.dump(changed(was, change, work), f)
        with fault(f"{work}/{name}") if fault else contextlib.nullcontext():
            before = made(vm, work, ns)
            assert refused_to_boot(api, changed(everything(work), change, work)), (name, change)
            # a machine that goes on needs no payload any more
            assert refused_to_go_on(api, work) or "payload" in change, (name, change)
            assert made(vm, work, ns) == before, (name, change)
    assert before[0] == ["virga"] and before[3] == ["lo"], before
    with open(f"{work}/snap/config.json", "w", encoding="utf-8") as f:
        json.dump(was, f)
    assert not refused_to_boot(api, everything(work)) and not refused_to_go_on(api, work)
    shutil.rmtree(f"{work}/snap")
