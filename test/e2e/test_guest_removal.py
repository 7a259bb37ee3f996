# SPDX-License-Identifier: Apache-2.0
"""Who waits for a device to leave is answered: whatever comes meanwhile, and from whichever side it comes first."""
import os
import time

import pytest

from lib.api import Api
from lib.guest import pattern_disk, start_guest  # noqa: F401 (fixtures)
from lib.virga import PATIENCE

# Every answer that does not wait for its time comes within this, though its time would be an hour.
SOON = 10 * PATIENCE
HOUR = 3600


class Waiting:
    """A removal that somebody waits for, over a connection of its own."""

    def __init__(self, work, wait=HOUR, device="hot", **more):
        self.api = Api(f"{work}/api")
        self.since = time.monotonic()
        self.api.send("PUT", "vm.remove-device", {"id": device, "wait": wait, **more})

    def answer(self):
        """Code, the sentences of an error, and the seconds that it took."""
        with self.api:
            answer = self.api.answer()
        return answer.code, answer.error if answer.code >= 400 else "", time.monotonic() - self.since

    def ends(self, code=204, words=""):
        got = self.answer()
        assert got[0] == code and words in got[1] and got[2] < SOON, got


@pytest.fixture(name="vm")
def vms(start_guest, work):  # noqa: F811
    """A guest that drives the disk "hot", which it may be asked for; api and work with it, events in a file."""
    for name in ("first", "hot"):
        pattern_disk(f"{work}/{name}", 1)

    def vm(words="hotplug=1 deaf", *args, **named):
        vm = start_guest(words, "--disk", f"path={work}/first,id=first", *args, "--api-socket", f"path={work}/api",
                         "--event-monitor", f"path={work}/events", **named)
        vm.api = Api(f"{work}/api")
        vm.wait_for_in(vm.serial_path, "R3 READY")
        vm.api.put("vm.add-disk", {"id": "hot", "path": f"{work}/hot"})
        return vm
    yield vm
    for name in ("first", "hot"):
        os.unlink(f"{work}/{name}")


def is_asked(vm, times=1):
    """Until the guest has been asked so often: from then on somebody waits."""
    end = time.monotonic() + SOON
    while vm.api.get("vm.counters")["__pcihp"]["requests"] < times:
        assert time.monotonic() < end
        time.sleep(0.002)


def tells(work, what, times):
    """The events tell of this so often, and no more."""
    end = time.monotonic() + SOON
    while True:
        with open(f"{work}/events", encoding="utf-8") as f:
            told = f.read().count(f'"{what}"')
        if told >= times or time.monotonic() > end:
            break
        time.sleep(0.01)
    assert told == times


def test_all_who_wait_are_answered_when_it_leaves(vm, work):
    guest = vm("hotplug=1")
    guest.api.put("vm.pause")
    waiting = [Waiting(work), Waiting(work), Waiting(work, wait=1), Waiting(work, force=True)]
    is_asked(guest, 4)
    assert waiting.pop(2).answer()[0] == 429  # of its own time only
    guest.api.put("vm.resume")
    for one in waiting:
        one.ends()
    assert guest.wait() == 0
    tells(work, "device-removed", 1)


def test_a_pause_lets_the_time_of_who_waits_go_on(vm, work):
    guest = vm("hotplug=1")
    guest.api.put("vm.pause")
    one = Waiting(work, wait=1)
    is_asked(guest)
    guest.api.put("vm.resume")
    one.ends()
    assert guest.wait() == 0


@pytest.mark.parametrize("verb", ["vm.reboot", "vm.shutdown"])
def test_it_leaves_with_the_machine(vm, work, verb):
    guest = vm()
    waiting = [Waiting(work), Waiting(work, force=True)]
    is_asked(guest, 2)
    guest.api.put(verb)
    for one in waiting:
        one.ends()
    assert [d["id"] for d in guest.api.get("vm.info")["config"]["disks"]] == ["first"]
    tells(work, "device-removed", 1)
    tells(work, "device-removal-ignored", 0)
    guest.stop()


def test_it_leaves_with_a_paused_machine(vm, work):
    guest = vm()
    guest.api.put("vm.pause")
    one = Waiting(work)
    is_asked(guest)
    guest.api.put("vm.reboot")
    one.ends()
    guest.stop()


@pytest.mark.parametrize("verb", ["vm.delete", "vmm.shutdown"])
def test_who_waits_is_told_that_the_machine_is_gone(vm, work, verb):
    guest = vm()
    waiting = [Waiting(work), Waiting(work, force=True)]
    is_asked(guest, 2)
    guest.api.put(verb)
    for one in waiting:
        one.ends(405, "the virtual machine is gone")
    guest.stop()


def test_who_waits_is_told_before_a_signal_ends_the_program(vm, work):
    guest = vm()
    one = Waiting(work)
    is_asked(guest)
    guest.stop()
    one.ends(405, "the virtual machine is gone")


def test_it_leaves_when_the_guest_powers_off(vm, work):
    guest = vm()
    one = Waiting(work)
    is_asked(guest)
    guest.api.put("vm.remove-device", {"id": "first", "force": True})  # the guest misses it, and powers off
    one.ends()
    assert guest.wait() == 0


def test_another_takes_it_by_force(vm, work):
    guest = vm()
    waiting = [Waiting(work), Waiting(work, force=True)]
    is_asked(guest, 2)
    guest.api.put("vm.remove-device", {"id": "hot", "force": True})
    for one in waiting:
        one.ends()
    # who comes next under that name has nothing to do with it
    guest.api.put("vm.add-disk", {"id": "hot", "path": f"{work}/hot"})
    assert "hot" in guest.api.get("vm.info")["device_tree"]
    guest.stop()


def test_who_waits_may_go_away(vm, work):
    guest = vm()
    waiting = [Waiting(work, wait=1), Waiting(work, wait=1, force=True), Waiting(work)]
    is_asked(guest, 3)
    for one in waiting:
        one.api.close()
    guest.wait_for_in(f"{work}/events", '"device-removed"')  # by force, though nobody listens
    assert guest.api.state() == "Running"
    guest.stop()


@pytest.mark.parametrize("force", [False, True])
def test_it_leaves_just_when_the_time_is_over(vm, work, force):
    """The guest goes on, and lets go, ever nearer to the end of the time: one of the two answers comes, and the disk leaves."""
    guest = vm("hotplug=1000 idle")  # a driver would meet with what is torn out
    codes, at, step = [], 0.96, 0.03
    for i in range(6):
        guest.api.put("vm.pause")
        one = Waiting(work, wait=1, force=force)
        is_asked(guest, i + 1)
        time.sleep(max(0, one.since + at - time.monotonic()))
        guest.api.put("vm.resume")
        code, _, took = one.answer()
        codes.append(code)
        at, step = at + (step if took < 1 else -step), step * 0.6
        end = time.monotonic() + SOON
        while "hot" in guest.api.get("vm.info")["device_tree"]:
            assert time.monotonic() < end, f"{codes}: asked, and never left"
            time.sleep(0.002)
        guest.api.put("vm.add-disk", {"id": "hot", "path": f"{work}/hot"})
    assert set(codes) <= ({204} if force else {204, 429}), codes
    tells(work, "device-removed", 6)
    guest.stop()
