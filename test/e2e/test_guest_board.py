# SPDX-License-Identifier: Apache-2.0
"""The board as the guest finds it: small chips, serial port, resets, CPUs, PCI."""
import datetime
import os

import pytest

from lib.guest import guest, pattern_disk, start_guest  # noqa: F401 (fixtures)


def test_cmos_tells_the_time_in_utc(guest):
    report = guest("cmos")
    date, clock, mode = report.all("CMOS")[0][1:4]
    fields = [int(x, 16 if int(mode[2:], 16) & 4 else 10)
              for x in date.split("-") + clock.split(":")]
    told = datetime.datetime(2000 + fields[0], *fields[1:], tzinfo=datetime.timezone.utc)
    assert abs(datetime.datetime.now(datetime.timezone.utc) - told) < datetime.timedelta(minutes=2)


@pytest.mark.parametrize("size,low,high", [("128M", 112 << 4, 0), ("5G", (3072 - 16) << 4, 2048 << 4)])
def test_cmos_tells_the_memory_size(guest, size, low, high):
    fields = guest("cmos", memory=size).all("CMOS")[1]
    # Units of 64 KiB: RAM between 16 MiB and 4 GiB, and RAM above 4 GiB.
    assert fields == [f"low_64k={low}", f"high_64k={high}"]


def test_nothing_is_where_nothing_is(guest):
    guest("ports")


def test_debug_ports_are_heard(guest):
    report = guest("debug", "-v")
    assert "debug port 402 here" in report.vm.text


def test_debug_console_writes_to_its_file(guest, work):
    guest("debug", "--debug-console", f"file={work}/debug")
    with open(f"{work}/debug", encoding="ascii") as f:
        assert f.read() == "debug console here\n"


def test_serial_port_is_a_16550(guest):
    guest("serial")


def test_serial_port_echoes_what_is_typed(start_guest):
    vm = start_guest("echo", serial="tty", tty=True)
    vm.wait_for("R3 ECHO")
    vm.type("typed on a terminal.")
    vm.wait_for("R3 ECHOED 20")
    assert vm.wait() == 0
    assert "typed on a terminal." in vm.text


def test_serial_port_takes_input_from_a_pipe(start_guest):
    vm = start_guest("echo", serial="tty")
    vm.wait_for("R3 ECHO")
    vm.type("0123456789" * 100 + ".")
    vm.wait_for("R3 ECHOED 1001")
    assert vm.wait() == 0


@pytest.mark.parametrize("mode", ["off", "null"])
def test_serial_port_may_be_absent_or_deaf(start_guest, mode):
    vm = start_guest("told", serial=mode)
    assert vm.wait() == 0
    assert "R3 START" not in vm.text


@pytest.mark.parametrize("way,name", [(1, "keyboard controller"), (2, "reset register"),
                                      (3, "triple fault")])
def test_reset_boots_again_in_the_same_process(guest, work, way, name):
    disk = pattern_disk(f"{work}/disk", 1)
    with open(disk, "r+b") as f:
        f.write(bytes(8))
    report = guest(f"blk again=3 way={way}", "--disk", f"path={disk}", timeout=120)
    assert [line[0] for line in report.all("BOOTS")] == ["0", "1", "2", "3"], name
    assert len(report.all("START")) == 4


@pytest.mark.parametrize("cpus", [2, 5, 64])
def test_cpus_start_and_know_their_apic_id(guest, cpus):
    if cpus > 8 and os.cpu_count() < 4:
        timeout = 240
    else:
        timeout = 60
    report = guest(f"smp={cpus}", cpus=cpus, memory="256M", timeout=timeout)
    assert report.one("SMP") == {"online": str(cpus), "ran": str(cpus - 1)}


def devices(work):
    disk = pattern_disk(f"{work}/disk", 2)
    return ["--disk", f"path={disk},num_queues=2", "--rng", "src=/dev/urandom"]


def test_both_ways_to_configuration_space_agree(guest, work):
    report = guest("pci", *devices(work), cpus=2, console="null")
    functions = {line[0]: line[1] for line in report.all("PCI")}
    assert functions["00"] == "8086:0d57"
    # Slots in the order of the roster: console, disks, nets, rng.
    assert list(functions.values()) == ["8086:0d57", "1af4:1043", "1af4:1042", "1af4:1044"]


def test_root_bridge_is_of_class_0600(guest):
    fields = {line[0]: line for line in guest("pci").all("PCI")}["00"]
    assert "class=060000" in fields


def test_virtio_functions_look_like_virtio(guest, work):
    report = guest("pci", *devices(work), cpus=2)
    for line in report.all("PCI"):
        if not line[1].startswith("1af4"):
            continue
        assert line[3] == "rev=1" and line[4] == f"sub={line[1]}", line
        caps = [cap[2] for cap in report.all("CAP") if cap[0] == line[0]]
        assert caps.count("id=09") >= 4 and "id=11" in caps, line
        bars = [bar for bar in report.all("BAR") if bar[0] == line[0]]
        assert bars and bars[0][3] == "size=80000", bars


def test_bars_do_not_overlap(guest, work):
    report = guest("pci", *devices(work), cpus=2, console="null")
    ranges = sorted((int(bar[2], 16), int(bar[2], 16) + int(bar[3][5:], 16))
                    for bar in report.all("BAR"))
    assert len(ranges) >= 3
    for (_, end), (start, _) in zip(ranges, ranges[1:]):
        assert end <= start
    for start, end in ranges:
        assert 0xc0000000 <= start and end <= 0xe8000000 or start >= 1 << 32


def test_bars_can_be_moved(guest, work):
    guest("pcimove", *devices(work), cpus=2, console="null")
