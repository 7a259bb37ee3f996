# SPDX-License-Identifier: Apache-2.0
"""The guest attacks every ring of every device, storms registers, and races with the device.

Each test runs with virga as it is and with its sanitized build. The guest itself judges what came of
each attack; a report of a sanitizer, or an end of virga that is not the guest's, fails here.
"""
import os
import threading

import pytest

from lib.guest import build, guest, pattern_disk, report_of, start_guest  # noqa: F401 (fixtures)

# Attacks that every queue has to have gone through, at the least.
ROWS = 60
# Memory that may be more after a second round of attacks than after the first.
GROWN_KIB = 1024


def judged(report, *queues):
    """Each of these queues was attacked, and withstood."""
    scores = {words[0]: dict(word.split("=") for word in words[1:]) for words in report.all("ATTACKS")}
    assert set(queues) <= set(scores), scores
    for queue, score in scores.items():
        assert int(score["total"]) >= ROWS, (queue, score)
        assert score["passed"] == score["total"], (queue, score)


@pytest.fixture
def disk(work):
    return pattern_disk(f"{work}/disk", 4)


def test_attacks_on_network_rings_while_frames_come(guest, ns, tmp_path, build):
    ns.make_tap("tap0")
    ns.flood("tap0")
    build["program"] = ns.wrap(build["program"], tmp_path)
    judged(guest("attack feed", "--net", "tap=tap0", timeout=300, **build),
           "net-rx", "net-tx", "net-ctrl")


def test_attacks_on_the_rings_of_quiet_devices(guest, work, build):
    judged(guest("attack", "--watchdog", "--rtc", "--pmem", f"file={work},size=2M", timeout=300, **build),
           "watchdog", "rtc", "pmem")


def test_attacks_on_console_rings_while_somebody_types(start_guest, build):
    vm = start_guest("attack feed", console="tty", **build)
    ended = threading.Event()

    def type_on():
        while not ended.wait(0.002):
            try:
                vm.type("typing ")
            except OSError:
                return

    typist = threading.Thread(target=type_on, daemon=True)
    typist.start()
    try:
        assert vm.wait(300) == 0, vm.tail()
    finally:
        ended.set()
        typist.join(5)
    report = report_of(vm)
    report.check()
    judged(report, "con-rx", "con-tx")


def test_attacks_on_a_balloon(guest, build):
    judged(guest("attack", "--balloon", "size=8M,free_page_reporting=on,free_page_hinting=on", timeout=300, **build),
           "balloon-inflate", "balloon-deflate", "balloon-stats", "balloon-hint", "balloon-report")


def test_attacks_on_pvmemcontrol(guest, build):
    guest("pvmemattack", "--pvmemcontrol", memory="192M", timeout=300, **build)


def test_attacks_on_vsock_rings(guest, work, build):
    report = guest("attack", "--vsock", f"cid=3,socket={work}/vsock", timeout=300, **build)
    judged(report, "vsock-rx", "vsock-tx", "vsock-event")


def test_ring_that_changes_under_the_device(guest, disk, build):
    guest("race", "--disk", f"path={disk}", cpus=2, timeout=120, **build)


def test_storm_on_ports_addresses_and_registers(guest, disk, build):
    report = guest("storm", "--disk", f"path={disk}", "--pvpanic", "--pvmemcontrol", "--ivshmem", f"path={disk},size=1M",
                   "--fw-cfg-config", "e820=on", "--platform", "num_pci_segments=3",
                   console="null", timeout=300, **build)
    assert report.vm.text.count("\n") < 300, "the log is flooded"


def test_storm_on_a_network_card(guest, ns, tmp_path, build):
    ns.make_tap("tap0")
    build["program"] = ns.wrap(build["program"], tmp_path)
    guest("storm=2", "--net", "tap=tap0", timeout=300, **build)


def test_storm_on_the_registers_of_quiet_devices(guest, work, build):
    """Of each kind there is one; what their configuration holds is written to as well."""
    report = guest("storm=3", "--watchdog", "--rtc", "--pmem", f"file={work},size=2M", "--balloon",
                   "size=8M,free_page_reporting=on,free_page_hinting=on", "--vsock", f"cid=3,socket={work}/vsock",
                   "--rng", "src=/dev/urandom,iommu=on", memory="128M,hotplug_method=virtio-mem,hotplug_size=256M",
                   console="null", timeout=300, **build)
    stormed = {words[0] for words in report.all("PASS") if words[1:4] == ["works", "after", "the"]}
    assert stormed >= {"watchdog", "rtc", "pmem", "balloon-inflate", "vsock-tx", "iommu", "vmem", "rng", "con-tx"}, stormed


# In memory plain calls serve it, elsewhere a ring.
@pytest.mark.parametrize("where", ["memory", "temporary files"])
def test_disk_is_unharmed_by_attacks(guest, disk, tmp_path, build, where):
    path = disk if where == "memory" else pattern_disk(f"{tmp_path}/disk", 4)
    with open(path, "rb") as f:
        before = f.read()
    judged(guest("attack race", "--disk", f"path={path},readonly=on", cpus=2, timeout=300, **build),
           "blk", "rng")
    with open(path, "rb") as f:
        assert f.read() == before


class Held:
    """What a running virga holds of the host."""

    def __init__(self, vm):
        fds = f"/proc/{vm.pid}/fd"
        self.fds = sorted(os.readlink(f"{fds}/{n}").split(":")[0] for n in os.listdir(fds))
        self.threads = sorted(open(f"/proc/{vm.pid}/task/{t}/comm").read()
                              for t in os.listdir(f"/proc/{vm.pid}/task"))
        self.kib = vm.weigh()["rss_kib"]


def paused(vm, count):
    """Wait for the guest's pause number `count`, look, and let it go on."""
    vm.wait_for(rf"(R3 PAUSED[\s\S]*){{{count}}}", 300)
    held = Held(vm)
    vm.type("x")
    return held


def test_attacks_leave_nothing_and_control_answers(start_guest, disk, ns, tmp_path, build):
    """Two rounds: after the second virga holds what it held after the first; then it hears a signal."""
    ns.make_tap("tap0")
    build["program"] = ns.wrap(build["program"], tmp_path)
    vm = start_guest("attack pause attack pause park", "--disk", f"path={disk}", "--net", "tap=tap0",
                     console="null", serial="tty", **build)
    first, second = paused(vm, 1), paused(vm, 2)
    assert second.threads == first.threads
    assert second.fds == first.fds
    if build.get("overhead", True):
        assert second.kib <= first.kib + GROWN_KIB, (first.kib, second.kib)
    vm.wait_for("R3 PARKED")
    assert vm.stop() == 0, vm.tail()
    report = report_of(vm)
    assert not report.failed, report.failed
    judged(report, "blk", "rng", "net-rx", "net-tx", "net-ctrl", "con-rx", "con-tx")
    assert "AddressSanitizer" not in vm.text and "runtime error:" not in vm.text, vm.tail()


@pytest.mark.parametrize("words", ["attack", "storm"])
def test_control_answers_in_the_middle_of_attacks(start_guest, disk, words):
    vm = start_guest(words, "--disk", f"path={disk}", console="null")
    vm.wait_for_in(vm.serial_path, "R3 PASS attack" if words == "attack" else "R3 START")
    assert vm.stop(5) == 0, vm.tail()
