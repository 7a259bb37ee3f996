# SPDX-License-Identifier: Apache-2.0
"""The guest attacks every ring of every device, storms registers, and races with the device.

Each test runs with virga as it is and with its sanitized build. The guest itself judges what came of
each attack; a report of a sanitizer, or an end of virga that is not the guest's, fails here.
"""
import threading

import pytest

from lib.guest import build, guest, pattern_disk, report_of, start_guest  # noqa: F401 (fixtures)
from lib.netns import NetNs, why_no_netns

# Rows of the tables in test/guest/foul.c that every queue is attacked with, at the least.
ROWS = 45


def judged(report, least=ROWS):
    score = report.one("ATTACKS")
    assert int(score["total"]) >= least, score
    assert score["passed"] == score["total"], score


@pytest.fixture
def disk(work):
    return pattern_disk(f"{work}/disk", 4)


@pytest.fixture
def ns():
    reason = why_no_netns()
    if reason:
        pytest.skip(reason)
    one = NetNs()
    yield one
    one.close()


def test_attacks_on_block_and_random_rings(guest, disk, build):
    judged(guest("attack", "--disk", f"path={disk}", timeout=300, **build), 3 * ROWS)


def test_attacks_on_a_readonly_disk(guest, disk, build):
    judged(guest("attack", "--disk", f"path={disk},readonly=on", timeout=300, **build), 3 * ROWS)


def test_attacks_on_network_rings(guest, ns, tmp_path, build):
    ns.make_tap("tap0")
    build["program"] = ns.wrap(build["program"], tmp_path)
    judged(guest("attack", "--net", "tap=tap0", timeout=300, **build), 4 * ROWS)


def test_attacks_on_network_rings_while_frames_come(guest, ns, tmp_path, build):
    ns.make_tap("tap0")
    ns.flood("tap0")
    build["program"] = ns.wrap(build["program"], tmp_path)
    judged(guest("attack feed", "--net", "tap=tap0", timeout=300, **build), 4 * ROWS)


def test_attacks_on_console_rings(guest, build):
    judged(guest("attack", console="null", timeout=300, **build), 3 * ROWS)


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
    judged(report, 3 * ROWS)


def test_ring_that_changes_under_the_device(guest, disk, build):
    guest("race", "--disk", f"path={disk}", cpus=2, timeout=120, **build)


def test_storm_on_ports_addresses_and_registers(guest, disk, build):
    guest("storm", "--disk", f"path={disk}", console="null", timeout=300, **build)


def test_storm_on_a_network_card(guest, ns, tmp_path, build):
    ns.make_tap("tap0")
    build["program"] = ns.wrap(build["program"], tmp_path)
    guest("storm", "--net", "tap=tap0", timeout=300, **build)


def test_disk_is_unharmed_by_attacks(guest, disk, build):
    with open(disk, "rb") as f:
        before = f.read()
    guest("attack race", "--disk", f"path={disk},readonly=on", cpus=2, timeout=300, **build)
    with open(disk, "rb") as f:
        assert f.read() == before
