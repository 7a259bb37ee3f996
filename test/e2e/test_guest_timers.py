# SPDX-License-Identifier: Apache-2.0
"""The watchdog, the virtio clock and the local timer, driven by a tiny guest by hand."""
import time

import pytest

from lib.guest import guest, start_guest  # noqa: F401 (fixtures)
from lib.lives import MODES, run_across

CHECK = 15  # seconds between two looks of the watchdog


def test_watchdog_hears_pings_and_sleeps_when_its_driver_goes(guest):
    guest("watchdog", "--watchdog")


def test_silent_guest_is_reset_once(start_guest, work):
    """It pings, then sleeps: the second look finds it silent for 30 s. The machine after it has that time too."""
    vm = start_guest("watchdog silent", "--watchdog", "--event-monitor", f"path={work}/events")
    vm.wait_for_in(vm.serial_path, "R3 SILENT")
    start = time.monotonic()
    vm.wait_for_in(f"{work}/events", '"event":"rebooted"', 60)
    assert 2 * CHECK - 1 <= time.monotonic() - start < 2 * CHECK + 10
    time.sleep(0.3)
    events = vm.file_text(f"{work}/events")
    assert events.index('"event":"expired"') < events.index('"event":"rebooting"')
    assert events.count('"event":"expired","properties":{"id":"__watchdog"}') == events.count('"rebooted"') == 1
    assert vm.stop() == 0, vm.tail()


def test_virtio_clock_tells_the_time_of_the_host(guest):
    before = time.time_ns()
    told = int(guest("vrtc", "--rtc", "id=clock").one("VRTC")["ns"])
    assert before < told < time.time_ns()


@pytest.mark.parametrize("mode", MODES)
def test_each_shot_of_the_local_timer_comes_once_in_however_many_lives(virga, work, mode):
    run_across(virga, work, "shots=150", mode=mode, most=12, rest=0.04, cpus="boot=1", memory="size=16M")
