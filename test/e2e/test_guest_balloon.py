# SPDX-License-Identifier: Apache-2.0
"""What the guest gives to its balloon, or reports as free, is the host's again, whatever its memory is made of."""
import contextlib
import os

import pytest

from lib.api import Api
from lib.guest import refuses, report_of, sparse, start_guest  # noqa: F401 (fixtures)
from lib.memory import paused, pool

MIB = 1 << 20
SIZE = 64 * MIB
BALLOON = ["--balloon", f"size={SIZE},free_page_reporting=on,deflate_on_oom=on"]
FEATURES = {"plain": 1 << 1 | 1 << 5, "huge": 1 | 1 << 1 | 1 << 5}


@pytest.mark.parametrize("kind", ["anonymous", "small pages", "shared", "file", "private file", "huge"])
def test_what_is_given_is_the_hosts_again(start_guest, work, kind):
    zone, path = {"file": ",shared=on", "private file": ""}.get(kind), f"{work}/ram"
    memory = {"anonymous": "192M", "small pages": "192M,thp=off", "shared": "192M,shared=on",
              "huge": "192M,hugepages=on,hugepage_size=2M"}.get(kind, "0")
    args = [] if zone is None else ["--memory-zone", f"id=m0,size=192M,file={path}{zone}"]
    if zone is not None:
        sparse(path, 192 * MIB)
    with pool(2048, 96) if kind == "huge" else contextlib.nullcontext():
        vm = start_guest("balloon look", *args, *BALLOON, memory=memory, serial="tty", overhead=False)
        full = paused(vm, 1)
        assert full >= SIZE
        taken = os.stat(path).st_blocks * 512 if kind == "file" else 0
        for count, gone in ((2, True), (3, False), (4, True)):
            vm.type("x")
            now = paused(vm, count)
            if gone:
                assert full - now >= 0.95 * SIZE, (kind, count, full, now)
            else:
                assert now >= full - 0.05 * SIZE, "it is there again when it is touched"
            if gone and kind == "file":
                assert taken - os.stat(path).st_blocks * 512 >= 0.95 * SIZE
        vm.type("x")
        assert vm.wait() == 0
    report = report_of(vm)
    report.check()
    assert report.hex("BALLOON", "features") & 0xff == FEATURES.get(kind, FEATURES["plain"])
    assert report.one("BALLOON")["pages"] == str(SIZE // 4096)


@pytest.mark.parametrize("kind", ["anonymous", "shared"])
def test_what_is_hinted_at_is_the_hosts_before_the_guest_goes_on(start_guest, work, kind):
    vm = start_guest("balloonhints look", "--balloon", "size=0,free_page_hinting=on,free_page_reporting=on", "--api-socket",
                     f"path={work}/api", "--event-monitor", f"path={work}/events", serial="tty", overhead=False,
                     memory={"anonymous": "192M", "shared": "192M,shared=on"}[kind])
    full = paused(vm, 1)
    with Api(f"{work}/api") as api:
        vm.type("x")
        api.put("vm.reclaim")
        assert full - paused(vm, 2) >= 0.95 * SIZE
        api.put("vm.reclaim")
        vm.type("x")
        paused(vm, 3)
        n = api.get("vm.counters")["__balloon"]
        assert (n["hint_bytes"], n["hint_runs"], n["failures"]) == (2 * SIZE, 1, 0)
        vm.type("x")
        assert vm.wait() == 0
    report_of(vm).check()
    with open(f"{work}/events", encoding="ascii") as f:
        assert f.read().count('"event":"hinted"') == 1


@pytest.mark.parametrize("args, code", [
    (["--balloon", "size=0,free_page_hinting=on"], 405), (["--balloon", "size=0"], 404), ([], 404),
])
def test_nobody_is_asked_who_can_not_answer(start_guest, work, args, code):
    vm = start_guest("pause", *args, "--api-socket", f"path={work}/api", serial="tty")
    vm.wait_for("R3 PAUSED")
    with Api(f"{work}/api") as api:
        assert api.ask("PUT", "vm.reclaim").code == code
    vm.type("x")
    assert vm.wait() == 0


def test_counters_tell_the_balloon_and_the_guests_own_numbers(start_guest, work):
    vm = start_guest("balloon look", *BALLOON, "--api-socket", f"path={work}/api", memory="192M", serial="tty",
                     overhead=False)
    paused(vm, 1)
    with Api(f"{work}/api") as api:
        n = api.get("vm.counters")["__balloon"]
        assert (n["target_bytes"], n["actual_bytes"]) == (SIZE, 0)
        assert (n["guest_free_bytes"], n["guest_total_bytes"], n["stats_ops"]) == (0x1234000, 0x5678000, 1)
        vm.type("x")
        paused(vm, 2)
        n = api.get("vm.counters")["__balloon"]
        assert (n["actual_bytes"], n["inflate_bytes"], n["failures"]) == (SIZE, SIZE, 0)
        vm.type("x")
        paused(vm, 3)
        vm.type("x")
        paused(vm, 4)
        n = api.get("vm.counters")["__balloon"]
        assert (n["actual_bytes"], n["deflate_bytes"], n["report_bytes"]) == (0, SIZE, SIZE)
    vm.type("x")
    assert vm.wait() == 0
    report = report_of(vm)
    report.check()
    assert report.one("STATS")["returned"] == "1", "whoever looks has newer numbers fetched"


def test_without_reports_there_is_no_queue_for_them(start_guest):
    vm = start_guest("balloon look", "--balloon", "size=8M", memory="128M", serial="tty", overhead=False)
    for count in (1, 2, 3):
        paused(vm, count)
        vm.type("x")
    assert vm.wait() == 0
    report = report_of(vm)
    report.check()
    assert report.one("BALLOON")["queues"] == "3"


@pytest.mark.parametrize("size,said", [("128M", "size takes all the guest's memory"),
                                       ("4097", "a balloon of 4097 bytes is not a multiple of 4K")])
def test_a_size_that_will_not_do_is_refused(refuses, size, said):
    refuses(said, "--balloon", f"size={size}", "--memory", "size=128M")
