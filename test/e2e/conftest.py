# SPDX-License-Identifier: Apache-2.0
"""What every end-to-end test may ask for.

here    this machine as a place to run programs in
rig     the nested host, booted once in a run, with /dev/kvm for stock Linux guests
place   where this test runs: the rig for files called test_rig_*, this machine for all others
work    an empty directory on a tmpfs of that place
virga   starts virga there: vm = virga("--kernel", path, ...); ends with a look at what it left behind
ns      a network namespace on this machine, with nothing in it but what the test makes
images  the kernels, initramfs and disks of test/rig, where they are cached

A test whose means are missing on this machine is skipped with the sentence that names them.
"""
import os
import re
import time
import uuid
from pathlib import Path

import pytest

from _pytest.runner import runtestprotocol

from lib import lives
from lib.images import Images
from lib.netns import NetNs, why_no_netns
from lib.place import Local
from lib.rig import Rig, why_no_rig
from lib.virga import OVERHEAD_LIMIT_KIB, Virga, binary

# How often to look again before something counts as left behind; the kernel tidies up lazily.
LOOKS = 20
# How often a test of the nested host is tried, and until when from the start of the run a failure is tried again.
TRIES = int(os.environ.get("VIRGA_TEST_TRIES", "3"))
REPEAT_SECONDS = 35 * 60
BEGAN = time.monotonic()
# What takes longest, by words of its name.
LONG = ("test_guest_census", "attacks_leave_nothing", "gigabyte_each_way", "test_guest_dbus", "come_and_go", "attacks_on_a_balloon",
        "silent_guest_is_reset", "storm_on_ports", "tells_the_event_monitor", "attacks_on_the_iommu", "test_guest_relived",
        "test_package", "attacks_on_vsock", "to_and_fro",
        "come_up[64]", "test_rig_snapshot", "to_a_login", "test_rig_demo", "behind_passt", "test_rig_iommu", "test_rig_reclaim",
        "every_engine", "200_streams", "test_rig_cpus", "reboots_in_the_same", "test_rig_hotplug", "lives_25_times", "test_rig_net")
# Set when the nested host has seen a failure, and the next test is to have a fresh one.
RIG_SPOILT = pytest.StashKey()


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: measures time, so nothing runs beside it")


def pytest_collection_modifyitems(config, items):
    """Side by side, what takes long is begun first, so that no one is left alone with it at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: next((i for i, word in enumerate(LONG) if word in item.nodeid), len(LONG)))


def pytest_runtest_protocol(item, nextitem):
    """Try a test of the nested host again, on a fresh one, when it fails; each time is told at the end of the run.

    The emulator loses interrupts and lives now and then, which says nothing of virga; what virga does wrong
    fails again.
    """
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    tries = TRIES if item.path.name.startswith("test_rig_") else 1
    while True:
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        failed = [report for report in reports if report.failed]
        tries -= 1
        if not failed or tries == 0 or time.monotonic() - BEGAN > REPEAT_SECONDS:
            break
        tell_repeat(item, failed[0])
        item.config.stash[RIG_SPOILT] = True
        item._initrequest()
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def tell_repeat(item, report):
    """Note that a test is tried again, and why, in the file $VIRGA_TEST_REPEATS: a line, and the whole story indented."""
    why = [line[1:].strip() for line in report.longreprtext.splitlines() if line.startswith("E ")]
    path = os.environ.get("VIRGA_TEST_REPEATS")
    if path:
        with open(path, "a", encoding="utf-8") as f:
            f.write(f"tried again: {item.nodeid}: {why[0][:200] if why else report.when}\n")
            f.writelines(f"    {line}\n" for line in report.longreprtext.splitlines())


def pytest_terminal_summary(terminalreporter):
    if lives.MODE:
        terminalreporter.write_line("; ".join(f"{what}: {n}" for what, n in lives.Restored.tally.items()))


@pytest.fixture(scope="session")
def here():
    return Local()


@pytest.fixture(scope="session")
def images():
    return Images()


class RigHolder:
    """The nested host of this run: booted when first asked for, and anew if it has died."""

    def __init__(self, images):
        self.images = images
        self.rig = None

    def living(self, spoilt):
        if self.rig and (spoilt or self.rig.failed or not self.rig.alive()):
            self.power_off()
        if not self.rig:
            self.rig = Rig(self.images)
        return self.rig

    def power_off(self):
        if self.rig:
            self.rig.power_off()
            self.rig = None


@pytest.fixture(scope="session")
def rig_holder(images):
    reason = why_no_rig(images)
    if reason:
        pytest.skip(reason)
    holder = RigHolder(images)
    yield holder
    holder.power_off()


@pytest.fixture
def rig(rig_holder, pytestconfig):
    spoilt = pytestconfig.stash.get(RIG_SPOILT, False)
    pytestconfig.stash[RIG_SPOILT] = False
    return rig_holder.living(spoilt)


@pytest.fixture
def place(request):
    name = "rig" if request.path.name.startswith("test_rig_") else "here"
    return request.getfixturevalue(name)


@pytest.fixture
def work(place):
    path = place.temp_dir()
    yield path
    place.drop_dir(path)


def mentioned_files(vms):
    """Every path that the arguments of these VMs name."""
    found = set()
    for vm in vms:
        for arg in vm.args:
            found.update(re.findall(r"(?:^|=)(/[^,\]]+)", arg))
    return found


def left_behind(place, mark, work, vms, before):
    """What is there now, was not before, and is no file that a VM was told to write."""
    named = mentioned_files(vms)
    now = place.leftovers(mark, sorted(named), work)
    return [what for what in now
            if what not in before and not (what.startswith("file ") and what[5:] in named)]


@pytest.fixture
def virga(place, work, here):
    """Start virga: virga(*args, tty=False, program=None, before=(), env=None, overhead=True).

    When the test is over, whatever still runs is asked to end and must do so; then no process, network
    interface, lock, socket or file may be left, terminals must be as they were, and memory beside guest
    RAM must have kept its limit (overhead=False: not looked at).
    """
    if not os.access(binary(), os.X_OK):
        pytest.fail(f"there is no {binary()}: run ./dev build, or name the program in $VIRGA")
    mark = uuid.uuid4().hex
    before = set()
    started = []

    def start(*args, overhead=True, env=None, **named):
        # What the test itself has made by now is not virga's to tidy up.
        if not started:
            before.update(place.leftovers(mark, [], work))
        kind = lives.Restored if lives.MODE and place is here else Virga
        vm = kind(place, args, env={"VIRGA_TEST": mark, **(env or {})}, cwd=work, **named)
        vm.overhead_matters = overhead
        started.append(vm)
        return vm

    yield start
    if not started:
        return
    try:
        for vm in started:
            if vm.status is None:
                vm.stop()
    finally:
        for vm in started:
            vm.close()
    for _ in range(LOOKS):
        left = left_behind(place, mark, work, started, before)
        if not left:
            break
        place.run("sleep 0.1")
    assert not left, f"left behind: {left}"
    for vm in started:
        assert vm.restored is not False, f"terminal not restored by {' '.join(vm.argv)}"
        if vm.overhead_matters and not lives.MODE:
            assert vm.peak_kib <= OVERHEAD_LIMIT_KIB, \
                f"{vm.peak_kib} KiB beside guest RAM, more than {OVERHEAD_LIMIT_KIB}"


@pytest.fixture
def ns():
    reason = why_no_netns()
    if reason:
        pytest.skip(reason)
    one = NetNs()
    yield one
    one.close()


@pytest.fixture(scope="session")
def firmware():
    """UEFI firmware for this machine model: $VIRGA_FIRMWARE, or beside the clone."""
    beside = Path(__file__).resolve().parents[3] / "shared/firmware/CLOUDHV.fd"
    path = Path(os.environ.get("VIRGA_FIRMWARE") or beside)
    if not path.is_file():
        pytest.skip(f"no firmware at {path}; $VIRGA_FIRMWARE names one")
    return str(path)
