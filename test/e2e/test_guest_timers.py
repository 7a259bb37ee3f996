# SPDX-License-Identifier: Apache-2.0
"""The watchdog and the virtio clock, driven by a tiny guest by hand."""
import time

from lib.guest import guest, start_guest  # noqa: F401 (fixtures)

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
