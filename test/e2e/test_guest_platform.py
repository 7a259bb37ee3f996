# SPDX-License-Identifier: Apache-2.0
"""PCI segments, slots and BARs; pvpanic, debug ports and the tables, as a tiny guest finds them."""
import json
import os
import re
import select
import shutil
import subprocess
import time

import pytest

from lib.guest import build, guest, lines_with, pattern_disk, refuses, start_guest  # noqa: F401 (fixtures)

SEGMENTS = 96


def functions(report):
    """What ECAM shows: {(segment, slot): "vendor:device"}."""
    return {(int(line[0]), int(line[1])): line[2] for line in report.all("FN")}


def test_96_segments_are_found_through_ecam(guest, work):
    disks = [f"path={pattern_disk(f'{work}/disk', 1)},readonly=on,pci_segment={s}" for s in (0, 1, 47, 95)]
    report = guest("segments acpi", "--platform", f"num_pci_segments={SEGMENTS}", "--disk", *disks,
                   "--rng", "src=/dev/urandom,pci_segment=95,pci_device_id=31")
    assert report.all("SEGMENTS") == [[str(SEGMENTS)]]
    assert functions(report) == {(0, 0): "8086:0d57", (0, 1): "1af4:1042", (1, 0): "1af4:1042", (47, 0): "1af4:1042",
                                 (95, 0): "1af4:1042", (95, 31): "1af4:1044"}


def test_every_segment_holds_a_device(guest, work):
    disk = pattern_disk(f"{work}/disk", 1)
    disks = [f"path={disk},readonly=on,pci_segment={s}" for s in range(SEGMENTS)]
    report = guest("segments", "--platform", f"num_pci_segments={SEGMENTS}", "--disk", *disks)
    found = functions(report)
    assert [found[s, 1 if s == 0 else 0] for s in range(SEGMENTS)] == ["1af4:1042"] * SEGMENTS
    bars = [int(line[4][4:].split("_")[0], 16) << 32 | int(line[4].split("_")[1], 16) & ~0xf
            for line in report.all("FN") if line[2] == "1af4:1042"]
    # On the first segment below 4 GiB, where firmware looks; then each above the one before.
    assert 0xc0000000 <= bars[0] < 0xc0000000 + 0x28000000 // SEGMENTS
    assert all(a < b for a, b in zip(bars, bars[1:])) and bars[1] >= 1 << 32


def test_weights_share_the_windows(guest, work):
    disks = [f"path={pattern_disk(f'{work}/disk', 1)},readonly=on,pci_segment={s}" for s in range(2)]
    report = guest("segments pci", "--platform", "num_pci_segments=2", "--disk", *disks,
                   "--pci-segment", "pci_segment=1,mmio32_aperture_weight=3,mmio64_aperture_weight=7")
    [bar] = [int(line[2], 16) for line in report.all("BAR") if line[0] == "01"]
    # A quarter of 640 MiB is the first segment's; BARs are given out from its end.
    assert bar == 0xc0000000 + (0x28000000 // 4) - 0x80000


def test_devices_take_the_slots_that_were_asked_for(guest, work):
    disk = pattern_disk(f"{work}/disk", 1)
    report = guest("segments", "--platform", "num_pci_segments=2", "--disk", f"path={disk},readonly=on,pci_device_id=2",
                   f"path={disk},readonly=on", f"path={disk},readonly=on,pci_segment=1",
                   "--rng", "src=/dev/urandom,pci_segment=1,pci_device_id=0", "--pvpanic")
    assert functions(report) == {(0, 0): "8086:0d57", (0, 1): "1af4:1042", (0, 2): "1af4:1042", (0, 3): "1b36:0011",
                                 (1, 0): "1af4:1044", (1, 1): "1af4:1042"}


@pytest.mark.parametrize("args, sentence", [
    (["--disk", "path=/a,pci_device_id=5", "path=/b,pci_device_id=5"], "Valid PCI device identifier but already used: 5"),
    (["--disk", "path=/a,pci_device_id=0"], "Given PCI device ID (0) is reserved"),
    (["--disk", "path=/a,pci_device_id=32"], "Given PCI device ID (32) is out of the supported range of 0..32"),
    (["--disk", "path=/a,pci_segment=1"], "PCI segment 1 is out of range"),
    (["--platform", "num_pci_segments=97"], "97 is not within 1 to 96"),
    (["--platform", "num_pci_segments=0"], "0 is not within 1 to 96"),
    (["--pci-segment", "pci_segment=0,mmio32_aperture_weight=0"], "0 is not within 1 to"),
    (["--platform", "iommu_segments=[0]"], "PCI segment 0 is behind the virtual IOMMU: say iommu=on"),
    (["--platform", "system_uuid=none"], "system_uuid is no UUID"),
])
def test_places_that_are_not_to_be_had_are_refused(refuses, args, sentence):
    refuses(sentence, *args)


def test_a_full_segment_is_refused(start_guest, work):
    disk = pattern_disk(f"{work}/disk", 1)
    vm = start_guest("told", "--disk", *[f"path={disk},readonly=on"] * 32)
    assert vm.wait() != 0 and "finds no free PCI slot: segment 0 has 31" in vm.text, vm.text


def test_weights_that_leave_a_segment_nothing_are_refused(start_guest):
    vm = start_guest("told", "--platform", "num_pci_segments=2",
                     "--pci-segment", "pci_segment=1,mmio32_aperture_weight=4000000000")
    assert vm.wait() != 0 and "the weights of the segments' apertures add up to" in vm.text, vm.text


def test_bars_move_under_use(guest, work, build):
    report = guest("moves", "--disk", f"path={pattern_disk(f'{work}/disk', 4)}", cpus=2, timeout=300, **build)
    readers = report.one("READERS")
    assert int(readers["seen"]) and int(readers["nobody"]), readers


def events(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(text) for text in f.read().split("\n\n") if text]


def test_pvpanic_tells_the_event_monitor(guest, work, build):
    path = f"{work}/events"
    guest("pvpanic storm=20000", "--pvpanic", "--event-monitor", f"path={path}", timeout=300, **build)
    panics = [e["properties"]["event"] for e in events(path) if (e["source"], e["event"]) == ("guest", "panic")]
    assert panics[:3] == ["panic", "crash_loaded", "unknown_event"]
    # A storm is told in part: ten at once of each kind, then one a second.
    assert 10 <= len(panics) < 200, len(panics)


def test_without_the_option_there_is_no_pvpanic(guest):
    assert "1b36:0011" not in functions(guest("segments")).values()


def test_marks_of_port_80_are_logged_with_the_time(guest):
    before = time.monotonic()
    report = guest("marks")
    seconds = time.monotonic() - before
    lines = lines_with(report.vm.text, r"Debug I/O port")
    marks = [re.search(r" -- \[Debug I/O port: (\w+) code (0x\w+)\] (\d+\.\d{6}) seconds\b", line).groups()
             for line in lines]
    assert [m[:2] for m in marks[:6]] == [("Firmware", "0x1"), ("Bootloader", "0x21"), ("Kernel", "0x40"),
                                          ("Kernel", "0x41"), ("Userspace", "0x60"), ("Custom", "0xfe")]
    assert marks[-1][:2] == ("Kernel", "0x41"), "a storm hides no mark"
    assert len(marks) < 40
    times = [float(m[2]) for m in marks]
    assert times == sorted(times) and times[0] > 0 and times[-1] < seconds
    assert times[-1] - times[3] >= 0.02


def test_firmware_text_is_on_stdout(start_guest):
    vm = start_guest("debug")
    assert vm.wait() == 0
    assert "debug port 402 here\n" in vm.text.replace("\r", "")


def test_every_string_of_the_platform_is_in_smbios(guest):
    said = {"system_manufacturer": "Makers", "system_product_name": "Product 9", "system_version": "v2",
            "system_serial_number": "S-42", "system_sku_number": "K77", "system_family": "Folk",
            "chassis_asset_tag": "T-1"}
    report = guest("smbios", "--platform", ",".join(f"{k}={v}" for k, v in said.items()) +
                   ",oem_strings=[one,two],uuid=urn:uuid:00112233-4455-6677-8899-aabbccddeeff")
    lines = report.all("SMBIOS")
    strings = [" ".join(line[1:]) for line in lines if line[0] == "string"]
    assert strings == ["cloud-hypervisor", "0", *list(said.values())[:6], "T-1", "one", "two"]
    assert [int(line[1]) for line in lines if line[0] == "type"] == [0, 1, 3, 11, 127]


def test_a_machine_says_what_it_is_unasked(guest):
    lines = guest("smbios").all("SMBIOS")
    assert [" ".join(line[1:]) for line in lines if line[0] == "string"] == [
        "cloud-hypervisor", "0", "Cloud Hypervisor", "cloud-hypervisor"]
    assert [int(line[1]) for line in lines if line[0] == "type"] == [0, 1, 127]


def test_bridges_say_segment_bus_and_node(guest, tmp_path):
    if not shutil.which("iasl"):
        pytest.skip("iasl is not installed (package acpica-tools)")
    report = guest("acpihex", "--platform", "num_pci_segments=3", "--memory-zone",
                   "id=a,size=64M", "id=b,size=64M", "--numa", "guest_numa_id=0,cpus=0,memory_zones=a,pci_segments=[0,2]",
                   "guest_numa_id=1,cpus=1,memory_zones=b,pci_segments=1", memory="0", cpus=2, timeout=120)
    (tmp_path / "dsdt.dat").write_bytes(report.table("DSDT"))
    subprocess.run(["iasl", "-d", "dsdt.dat"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    text = (tmp_path / "dsdt.dsl").read_text()
    bridges = re.findall(r"Device \(PC(\w\w)\).*?_SEG, (\w+)\).*?_BBN, (\w+)\).*?_UID, (\w+)\).*?_PXM, (\w+)\)", text, re.S)
    number = {"Zero": 0, "One": 1, "0x02": 2}
    assert [tuple(number.get(x, x) for x in b) for b in bridges] == [
        ("00", 0, 0, 0, 0), ("01", 1, 0, 1, 1), ("02", 2, 0, 2, 0)]


def test_debug_console_is_heard_on_a_pseudo_terminal(start_guest):
    vm = start_guest("debug park", "-v", "--debug-console", "pty")
    path = vm.wait_for(r"--debug-console is at (/dev/pts/\d+)").group(1)
    # Nobody was there when the guest spoke: what it said is kept.
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    said, end = b"", time.monotonic() + 20
    while b"\n" not in said and time.monotonic() < end:
        if select.select([fd], [], [], 0.1)[0]:
            said += os.read(fd, 4096)
    os.close(fd)
    assert said.replace(b"\r", b"") == b"debug console here\n"
    assert vm.stop() == 0


def test_debug_console_is_heard_on_the_terminal(start_guest):
    vm = start_guest("debug", "--debug-console", "tty", tty=True)
    assert vm.wait() == 0
    assert "debug console here" in vm.text


@pytest.mark.parametrize("mode", ["off", "null"])
def test_debug_console_may_be_absent_or_deaf(start_guest, mode):
    vm = start_guest("debug", "--debug-console", mode)
    assert vm.wait() == 0
    assert "debug console here" not in vm.text


@pytest.mark.parametrize("port", ["0x80", "0x402", "0x3f8", "0xcf8"])
def test_a_port_that_is_taken_is_no_debug_console(start_guest, port):
    vm = start_guest("debug", "--debug-console", f"null,iobase={port}")
    assert vm.wait() != 0
    assert "meets" in vm.text, vm.text
