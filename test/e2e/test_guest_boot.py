# SPDX-License-Identifier: Apache-2.0
"""What virga tells a guest at its entry: memory map, start information, registers, command line."""
import json

import pytest

from lib.guest import guest, start_guest, sum8  # noqa: F401 (fixtures)

MIB, GIB = 1 << 20, 1 << 30
RAM, RESERVED = "1", "2"
LOADERS = ["guest.elf", "guest.bz"]


def ram_of(report):
    """The RAM ranges that the guest was told, joined where one follows another."""
    ranges = sorted((int(a, 16), int(a, 16) + int(n, 16))
                    for a, n, kind in report.all("MAP") if kind == RAM)
    joined = []
    for start, end in ranges:
        if joined and joined[-1][1] == start:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    return joined


def overlaps(report):
    ranges = sorted((int(a, 16), int(a, 16) + int(n, 16)) for a, n, _ in report.all("MAP"))
    return [pair for pair in zip(ranges, ranges[1:]) if pair[0][1] > pair[1][0]]


def test_the_smallest_guest_says_hello(start_guest):
    vm = start_guest("", kernel="hello.elf", serial="tty")
    assert vm.wait() == 0
    assert "R3 HELLO" in vm.text


def test_events_tell_the_life_from_start_to_end(start_guest, tmp_path):
    events = tmp_path / "events"
    events.write_text("of an earlier run")
    vm = start_guest("", "--event-monitor", f"path={events}", kernel="hello.elf")
    assert vm.wait() == 0
    told = [json.loads(text) for text in events.read_text().split("\n\n") if text.strip()]
    assert [(e["source"], e["event"]) for e in told] == [
        ("vmm", "starting"), ("vm", "booting"), ("vm", "booted"), ("vm", "shutdown"), ("vm", "deleted"),
        ("vmm", "shutdown")]


@pytest.mark.parametrize("kernel", LOADERS)
@pytest.mark.parametrize("size,expected", [
    ("128M", [[0, 0xa0000], [MIB, 128 * MIB]]),
    ("3G", [[0, 0xa0000], [MIB, 3 * GIB]]),
    ("5G", [[0, 0xa0000], [MIB, 3 * GIB], [4 * GIB, 6 * GIB]]),
])
def test_memory_map_has_the_hole_below_4_gib(guest, kernel, size, expected):
    report = guest("told", kernel=kernel, memory=size)
    assert ram_of(report) == expected
    assert not overlaps(report)


@pytest.mark.parametrize("kernel", LOADERS)
def test_memory_map_reserves_the_ecam(guest, kernel):
    report = guest("told", kernel=kernel)
    assert ["e8000000", "10000000", RESERVED] in report.all("MAP")


@pytest.mark.parametrize("size", ["128M", "512M", "5G"])
def test_all_ram_that_is_told_is_there(guest, size):
    guest("ram", memory=size)


def test_ram_size_need_not_be_a_power_of_two(guest):
    assert ram_of(guest("told ram", memory="200M"))[-1] == [MIB, 200 * MIB]


def test_pvh_entry_registers_are_as_the_standard_says(guest):
    report = guest("told")
    assert report.one("START")[0] == "pvh"
    first, second = report.all("REGS")
    regs = dict(field.split("=") for field in first + second)
    assert regs["cr4"] == "0" and regs["eflags"] == "2"
    assert int(regs["cr0"], 16) & 0x80000001 == 1
    assert int(regs["ebx"], 16) == 0x6000


def test_start_info_names_the_rsdp_and_the_map(guest):
    info = guest("told").one("INFO")
    assert info["magic"] == "336ec578" and info["version"] == "1"
    assert int(info["rsdp"], 16) == 0xa0000
    assert int(info["entries"]) >= 3 and info["modules"] == "0"


def test_bzimage_gets_boot_params(guest):
    report = guest("told", kernel="guest.bz")
    assert report.one("START")[0] == "linux32"
    info = report.one("INFO")
    assert info["loader"] == "ff" and info["version"] == "20f"
    assert int(info["rsdp"], 16) == 0xa0000


@pytest.mark.parametrize("kernel", LOADERS)
def test_initramfs_lies_whole_at_the_end_of_low_ram(guest, work, kernel):
    data = bytes(i * 7 & 0xff for i in range(300_001))
    path = f"{work}/initramfs"
    with open(path, "wb") as f:
        f.write(data)
    report = guest("told", "--initramfs", path, kernel=kernel)
    address, size, total = report.all("MODULE")[0]
    address = int(address, 16)
    assert int(size) == len(data) and total == f"sum={sum8(data):x}"
    assert address % 4096 == 0 and address + len(data) <= 128 * MIB
    assert address > 127 * MIB


@pytest.mark.parametrize("kernel", LOADERS)
@pytest.mark.parametrize("length", [5, 2048, 4096, 65535])
def test_command_line_arrives_whole(guest, kernel, length):
    words = "told " + "x" * (length - 5)
    fields = guest(words, kernel=kernel).all("CMDLINE")[0]
    assert fields == [str(length), f"sum={sum8(words.encode()):x}"]


def test_cpuid_says_that_there_is_a_hypervisor(guest):
    leaves = {line[0]: [int(x, 16) for x in line[1:]] for line in guest("cpuid").all("CPUID")}
    assert leaves["1"][2] >> 31 & 1
    assert leaves["1"][1] >> 24 == 0
    assert leaves["40000000"][1:] == [0x4b4d564b, 0x564b4d56, 0x4d]


def test_power_off_ends_with_status_0_and_no_shutdown_does_not_end(start_guest):
    vm = start_guest("told", "--no-shutdown")
    vm.wait_for_in(vm.serial_path, "R3 EXIT 0")
    vm.look(1.5)
    assert vm.status is None
    assert vm.stop() == 0


def test_guest_that_never_ends_is_ended_by_a_signal(start_guest):
    vm = start_guest("park")
    vm.wait_for_in(vm.serial_path, "R3 PARKED")
    assert vm.stop() == 0
