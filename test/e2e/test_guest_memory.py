# SPDX-License-Identifier: Apache-2.0
"""Guest memory: zones, what they are on the host, what the guest is told of its nodes, and refusals."""
import contextlib
import os
import re
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from lib.borrow import mounted
from lib.guest import guest, pattern_disk, sparse, start_guest  # noqa: F401 (fixtures)
from lib.memory import HUGE, pool
from lib.virga import PATIENCE

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def zones(*texts):
    return ["--memory-zone", *texts]


def mappings(pid):
    """Of each mapping of a process: start, KiB, name, flags, and all numbers of smaps."""
    found = []
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if head := re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+\s*(.*)", line):
            start, end = int(head[1], 16), int(head[2], 16)
            found.append({"start": start, "kib": (end - start) // KIB, "name": head[4], "mode": head[3]})
        elif line.startswith("VmFlags:"):
            found[-1]["flags"] = line.split()[1:]
        else:
            key, value = line.split(":")
            found[-1][key] = int(value.split()[0])
    return found


def mapping(pid, kib):
    """The one mapping of this size."""
    found = [m for m in mappings(pid) if m["kib"] == kib and m["mode"].startswith("rw")]
    assert len(found) == 1, found
    return found[0]


def running(start_guest, *args, memory="0", **named):
    """A guest that has started and waits for input."""
    vm = start_guest("echo", *args, memory=memory, serial="tty", overhead=False, **named)
    vm.wait_for("R3 ECHO")
    return vm


def end(vm):
    vm.type(".")
    assert vm.wait() == 0


# --- what the guest is told ---

@pytest.mark.parametrize("kernel", ["guest.elf", "guest.bz"])
def test_zones_lie_end_to_end_around_the_hole(guest, kernel):
    report = guest("told", *zones("id=a,size=1G", "id=b,size=2560M", "id=c,size=260K"), memory="0", kernel=kernel)
    assert report.all("MAP") == [["0", "a0000", "1"], ["100000", "bff00000", "1"],
                                 ["100000000", f"{512 * MIB + 260 * KIB:x}", "1"], ["e8000000", "10000000", "2"]]
    assert guest("cmos", *zones("id=a,size=1G", "id=b,size=2560M"), memory="0").all("CMOS")[1] == [
        f"low_64k={(3072 - 16) << 4}", f"high_64k={512 << 4}"]


def test_a_zone_of_huge_pages_begins_at_one(guest):
    with pool(2048, 32):
        report = guest("told", *zones("id=a,size=65M", "id=b,size=64M,hugepages=on"), memory="0", overhead=False)
    assert report.all("MAP")[1:3] == [["100000", f"{64 * MIB:x}", "1"], [f"{66 * MIB:x}", f"{64 * MIB:x}", "1"]]


def test_rings_and_payload_lie_across_zones(guest, work):
    """Zones of odd sizes: the guest's image, its rings and its buffers have borders in their midst."""
    disk = pattern_disk(f"{work}/disk", 4)
    odd = [f"id=z{i},size={size}K{',shared=on' if i % 3 == 1 else ''}"
           for i, size in enumerate([2052, 4, 12, 36, 1028] + [516] * 58 + [65536])]
    report = guest("blk", *zones(*odd), "--disk", f"path={disk}", memory="0", overhead=False)
    assert report.passed


# --- what it is on the host ---

def test_each_kind_of_zone_is_its_kind_of_mapping(start_guest, work):
    for name in ("private", "shared"):
        sparse(f"{work}/{name}", 96 * MIB)
    vm = running(start_guest, *zones(
        "id=plain,size=48M", "id=shared,size=52M,shared=on", "id=merge,size=56M,mergeable=on",
        "id=reserve,size=60M,reserve=on", "id=node,size=64M,host_numa_node=0",
        f"id=private,size=68M,file={work}/private", f"id=file,size=72M,file={work}/shared,shared=on",
        "id=pre,size=76M,prefault=on", "id=preshared,size=80M,prefault=on,shared=on"))
    of = {size: mapping(vm.pid, size * 1024) for size in range(48, 84, 4)}
    assert all("dd" in m["flags"] for m in of.values()), "left out of core dumps"
    assert "nr" in of[48]["flags"] and "hg" in of[48]["flags"]
    assert "sh" in of[52]["flags"] and of[52]["name"].startswith("/memfd:virga_ram")
    assert "mg" in of[56]["flags"] and "mg" not in of[48]["flags"]
    assert "nr" not in of[60]["flags"]
    bound = [line for line in Path(f"/proc/{vm.pid}/numa_maps").read_text().splitlines() if "bind:0" in line]
    assert [int(line.split()[0], 16) for line in bound] == [of[64]["start"]]
    assert of[68]["name"].endswith("/private") and "sh" not in of[68]["flags"]
    assert of[72]["name"].endswith("/shared") and "sh" in of[72]["flags"]
    assert of[76]["Rss"] == 76 * 1024 and of[80]["Rss"] == 80 * 1024
    assert of[60]["Rss"] < 1024, "nothing else is touched beforehand"
    # zones that adjoin in the guest adjoin in the host
    for size in range(48, 80, 4):
        assert of[size]["start"] + size * MIB == of[size + 4]["start"]
    end(vm)


def test_zones_take_over_what_memory_says(start_guest):
    vm = running(start_guest, "--memory-zone", "id=a,size=48M", "id=b,size=52M,mergeable=off",
                 memory="0,mergeable=on,thp=off")
    a, b = mapping(vm.pid, 48 * 1024), mapping(vm.pid, 52 * 1024)
    assert "mg" in a["flags"] and "mg" not in b["flags"] and "hg" not in a["flags"] and "nh" in a["flags"]
    end(vm)


@pytest.mark.parametrize("kib,count", [(2048, 24), (1048576, 1)])
def test_huge_pages_of_each_size_back_the_guest(start_guest, kib, count):
    size = kib * count
    with pool(kib, count):
        vm = running(start_guest, "--memory-zone", f"id=a,size={size}K,hugepages=on,hugepage_size={kib}K")
        m = mapping(vm.pid, size)
        assert "ht" in m["flags"] and m["KernelPageSize"] == kib
        free, all_of = (int((HUGE / f"hugepages-{kib}kB/{name}").read_text()) for name in
                        ("free_hugepages", "nr_hugepages"))
        assert free < all_of, "the guest has touched one"
        assert m["start"] % (kib * KIB) == 0
        end(vm)


def test_a_file_of_hugetlbfs_brings_its_pages(start_guest, work):
    with pool(2048, 24):
        with mounted("hugetlbfs", "pagesize=2M", f"{work}/huge") as huge:
            ram = sparse(f"{huge}/ram", 48 * MIB)
            vm = running(start_guest, *zones(f"id=a,size=48M,file={ram},shared=on,hugepages=on"))
            assert mapping(vm.pid, 48 * 1024)["KernelPageSize"] == 2048
            end(vm)


def test_a_shared_file_is_the_memory_itself(guest, work):
    for name in ("private", "shared"):
        sparse(f"{work}/{name}", 64 * MIB)
    guest("told", *zones(f"id=a,size=64M,file={work}/shared,shared=on"), memory="0")
    guest("told", *zones(f"id=a,size=64M,file={work}/private"), memory="0")
    for name, magic in (("shared", 0x336ec578), ("private", 0)):
        with open(f"{work}/{name}", "rb") as f:
            f.seek(0x6000)  # where hvm_start_info is
            assert struct.unpack("<I", f.read(4)) == (magic,), name


def test_a_guest_starts_anew_in_a_file_full_of_rubbish(guest, work):
    disk = pattern_disk(f"{work}/disk", 1)
    with open(disk, "r+b") as f:
        f.write(bytes(8))
    with open(f"{work}/ram", "wb") as f:
        f.write(b"\xa5" * (64 * MIB))
    report = guest("blk again=2 way=2", *zones(f"id=a,size=64M,file={work}/ram,shared=on"), "--disk",
                   f"path={disk}", memory="0", timeout=120, overhead=False)
    assert [line[0] for line in report.all("BOOTS")] == ["0", "1", "2"]


# --- nodes ---

TWO = ["id=m0,size=64M", "id=m1,size=96M"]


def tables(report):
    return {data[:4].decode(): data for data in report.tables()}


def affinities(srat):
    """(type, body behind it) of each entry."""
    at, found = 48, []
    while at < len(srat):
        found.append((srat[at], srat[at + 2:at + srat[at + 1]]))
        at += srat[at + 1]
    assert at == len(srat)
    return found


def test_srat_and_slit_tell_the_nodes(guest, work, tmp_path):
    report = guest("acpihex", *zones("id=m0,size=64M", "id=m1,size=96M", "id=m2,size=3G"), "--numa",
                   "guest_numa_id=0,cpus=[0,3],memory_zones=m0,distances=[1@15,4@40]",
                   "guest_numa_id=1,cpus=[1-2],memory_zones=[m1,m2]", "guest_numa_id=4,device_id=d0,distances=1@25",
                   "--disk", f"path={pattern_disk(f'{work}/disk', 1)},id=d0,pci_device_id=9",
                   cpus=4, memory="0", overhead=False)
    found = tables(report)
    said = affinities(found["SRAT"])
    ram = [struct.unpack_from("<I2xQQ4xI", body) for kind, body in said if kind == 1]
    assert ram == [(0, 0, 64 * MIB, 1), (1, 64 * MIB, 96 * MIB, 1), (1, 160 * MIB, 2912 * MIB, 1),
                   (1, 4 * GIB, 160 * MIB, 1)]
    cpus = [struct.unpack_from("<2xIII", body) for kind, body in said if kind == 2]
    assert cpus == [(0, 0, 1), (0, 3, 1), (1, 1, 1), (1, 2, 1)]
    [device] = [body for kind, body in said if kind == 5]
    # a PCI handle: segment 0, bus 0, device 9 in the upper five bits; enabled
    assert struct.unpack_from("<xBIHBB12xI", device) == (1, 4, 0, 0, 9 << 3, 1)
    slit = found["SLIT"]
    assert struct.unpack_from("<Q", slit, 36) == (5,)
    far = [list(slit[44 + 5 * i:49 + 5 * i]) for i in range(5)]
    assert far == [[10, 15, 20, 20, 40], [15, 10, 20, 20, 25], [20, 20, 10, 20, 20], [20, 20, 20, 10, 20],
                   [40, 25, 20, 20, 10]]
    assert found["DSDT"].count(b"_PXM") == 5, "four processors and a segment"
    if not shutil.which("iasl"):
        return
    for name in ("SRAT", "SLIT"):
        (tmp_path / f"{name}.dat").write_bytes(found[name])
        for step in (["-d", f"{name}.dat"], ["-sc", f"{name}.dsl"]):
            done = subprocess.run(["iasl", *step], cwd=tmp_path, text=True, timeout=60,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert done.returncode == 0 and "rror" not in done.stdout.replace(" 0 Errors", ""), done.stdout
        assert (tmp_path / f"{name}.aml").read_bytes()[36:] == found[name][36:]


def test_memory_without_zones_is_one_by_its_name(guest):
    report = guest("acpihex", "--numa", "guest_numa_id=0,cpus=0", "guest_numa_id=1,cpus=1,memory_zones=mem0",
                   memory="64M,hotplug_method=virtio-mem,hotplug_size=128M", cpus=2)
    said = affinities(tables(report)["SRAT"])
    ram = [struct.unpack_from("<I2xQQ4xI", body) for kind, body in said if kind == 1]
    assert ram[0] == (1, 0, 64 * MIB, 1) and [(node, size) for node, _, size, _ in ram[1:]] == [(1, 128 * MIB)]
    assert not report.vm.text.count("on no node"), report.vm.text


def test_without_nodes_there_are_no_tables_of_them(guest):
    found = tables(guest("acpihex", *zones(*TWO), memory="0"))
    assert not {"SRAT", "SLIT"} & set(found) and b"_PXM" not in found["DSDT"]


# --- touching pages beforehand ---

def test_a_signal_breaks_off_touching_pages(virga):
    vm = virga("--kernel", "/nowhere", "--memory", "size=64G,prefault=on", "-v", overhead=False)
    time.sleep(0.3 * PATIENCE)
    began = time.monotonic()
    vm.kill()
    assert vm.wait(10) == 0, "an end that was asked for is no failure"
    assert time.monotonic() - began < 1 * PATIENCE
    assert "shutting down" in vm.text


# --- refusals: a sentence, at once, and never a signal ---

@pytest.mark.parametrize("memory,zone,said", [
    ("size=0", "id=a,size=64M,file={work}", "memory zone a: {work} is a directory: name a file in it"),
    ("size=0", "id=a,size=64M,file={work}/no", "memory zone a: open {work}/no: No such file or directory"),
    ("size=0", "id=a,size=64M,file={work}/short", "memory zone a: {work}/short has 4096 bytes and the zone 67108864"),
    ("size=0", "id=a,size=64M,file={work}/pipe", "neither a regular file nor a block device"),
    ("size=0", "id=a,size=64M,file={work}/short,hugepages=on,shared=on", "{work}/short has 4096 bytes"),
    ("size=0", "id=a,size=64M,host_numa_node=77", "memory zone a: host_numa_node=77: this host has no such node"),
    ("size=0", "id=a,size=64M,hugepages=on,hugepage_size=16M", "memory zone a: this host has no huge pages of 16M"),
    ("size=64G,hugepages=on", None, "memory: not so many huge pages of 2M are free as 3072 MiB take"),
    ("size=3M,hugepages=on", None, "is no multiple of the page size, 2048 KiB"),
    ("size=0", "id=a,size=64G,hugepages=on,host_numa_node=0", "host NUMA node 0 has"),
    ("size=1M", None, "memory begins with 1024 KiB in one piece, and needs 2 MiB"),
    ("size=16384G,reserve=on", None, "Cannot allocate memory"),
    ("size=16384G,reserve=on,shared=on", None, "reserve 16777216 MiB: Cannot allocate memory"),
])
def test_memory_that_can_not_be_had_is_refused(virga, work, memory, zone, said):
    Path(f"{work}/short").write_bytes(bytes(4096))
    os.mkfifo(f"{work}/pipe")
    args = zones(zone.format(work=work)) if zone else []
    vm = virga("--kernel", "/nowhere", "--memory", memory, *args, overhead=False)
    assert vm.wait() == 1
    assert said.format(work=work) in vm.text, vm.text
    for name in ("short", "pipe"):
        os.unlink(f"{work}/{name}")


@pytest.mark.parametrize("reserve,said", [
    ("", "the file system has 8 MiB left"), (",reserve=on", "the file system has 8 MiB left"), (",prefault=on,reserve=off", "run out of pages"),
])
def test_a_full_disk_behind_a_file_is_refused(virga, work, reserve, said):
    with mounted("tmpfs", "size=8M", f"{work}/small") as small:
        ram = sparse(f"{small}/ram", 64 * MIB)
        vm = virga("--kernel", "/nowhere", "--memory", "size=0", *zones(f"id=a,size=64M,shared=on,file={ram}{reserve}"),
                   overhead=False)
        assert vm.wait() == 1
        assert said in vm.text, vm.text


def test_memory_that_is_lost_while_the_guest_runs_is_told(start_guest, work):
    """By the vCPU or by the console's thread, whichever meets it; or by the reboot of a guest that has lost its code."""
    sparse(f"{work}/ram", 64 * MIB)
    vm = start_guest("conecho", *zones(f"id=a,size=64M,file={work}/ram,shared=on"), memory="0", console="tty",
                     overhead=False)
    vm.wait_for_in(vm.serial_path, "R3 START")
    time.sleep(0.5)
    os.truncate(f"{work}/ram", 0)
    with contextlib.suppress(BrokenPipeError):  # the vCPU may have met it by now
        vm.type("is anybody there?\n")
    assert vm.wait(20) in (1, -signal.SIGBUS)
    assert re.search("guest memory is gone|cannot reach a page of guest memory|ram has 0 bytes", vm.text)


def test_a_node_of_a_device_that_is_not_there_is_refused(start_guest):
    for name in ("gpu", "__ioapic"):
        vm = start_guest("told", *zones(*TWO), "--numa", "guest_numa_id=0,cpus=0,memory_zones=[m0,m1]",
                         f"guest_numa_id=1,device_id={name}", memory="0")
        assert vm.wait() == 1
        assert f"--numa guest_numa_id=1: there is no PCI device '{name}'" in vm.text
