# SPDX-License-Identifier: Apache-2.0
"""Limits of disks and cards, measured by a guest that keeps every queue full."""
import pytest

from lib.guest import guest, pattern_disk, start_guest  # noqa: F401 (fixtures)

from lib.virga import binary

pytestmark = pytest.mark.alone
TRIES = 3  # a machine that is busy with other things stops the guest for longer than a limit can make up for


@pytest.fixture
def disks(work):
    return [pattern_disk(f"{work}/disk{i}", 1) for i in range(2)]


def per_second(report):
    """Requests a second, of each queue."""
    rows = [dict(f.split("=") for f in row) for row in report.all("RATE")]
    return [int(row["done"]) * 1e6 / int(row["us"]) for row in rows]


def steady(run, wanted, off=0.1):
    """The rates of the run that came nearest to what is wanted of all queues together."""
    tried = []
    for _ in range(TRIES):
        tried.append(per_second(run()))
        if abs(sum(tried[-1]) / wanted - 1) <= off:
            return tried[-1]
    pytest.fail(f"{wanted} a second are wanted, and it was {tried}")


@pytest.mark.parametrize("limit", ["ops_size=1000,ops_refill_time=1000", "ops_size=10,ops_refill_time=10",
                                   "bw_size=409600,bw_refill_time=100",
                                   "ops_size=5000,ops_refill_time=1000,bw_size=4096000,bw_refill_time=1000"])
def test_disk_keeps_its_rate(guest, disks, limit):
    steady(lambda: guest("rateblk", "--disk", f"path={disks[0]},{limit}"), 1000)


def test_requests_larger_than_the_bucket_go_at_the_rate(guest, disks):
    steady(lambda: guest("rateblk len=65536", "--disk", f"path={disks[0]},bw_size=65536,bw_refill_time=10"), 100)


def test_queues_of_a_disk_share_its_rate(guest, disks):
    rates = steady(lambda: guest("rateblk", "--disk",
                                 f"path={disks[0]},num_queues=2,ops_size=100,ops_refill_time=100", cpus=2), 1000)
    assert min(rates) > 250


def test_disks_of_a_group_share_its_rate(guest, disks):
    rates = steady(lambda: guest("rateblk", "--rate-limit-group", "id=g,ops_size=100,ops_refill_time=100",
                                 "--disk", *(f"path={d},rate_limit_group=g" for d in disks), cpus=2), 1000, 0.2)
    assert min(rates) > 250


def test_a_burst_comes_once(guest, disks):
    report = guest("rateblk warm=500 ms=500", "--disk",
                   f"path={disks[0]},ops_size=100,ops_refill_time=1000,ops_one_time_burst=2000")
    rows = [report.one("WARM"), report.one("RATE")]
    done, us = (sum(int(row[key]) for row in rows) for key in ("done", "us"))
    assert abs(done / (2100 + us * 1e-4) - 1) < 0.05, (done, us)


def test_without_a_limit_nothing_is_held_back(guest, disks):
    assert per_second(guest("rateblk warm=100 ms=300", "--disk", f"path={disks[0]}"))[0] > 5000


@pytest.fixture
def ns(ns):
    ns.make_tap("tap0")
    return ns


@pytest.mark.parametrize("limit", ["ops_size=100,ops_refill_time=100", "bw_size=1000000,bw_refill_time=1000"])
def test_card_sends_at_its_rate(guest, ns, tmp_path, limit):
    steady(lambda: guest("ratenet len=1000", "--net", f"tap=tap0,{limit}", program=ns.wrap(binary(), tmp_path)), 1000)


def test_card_receives_at_its_rate(guest, ns, tmp_path):
    ns.flood("tap0", 986, 0.0001)
    steady(lambda: guest("ratenet in", "--net", "tap=tap0,ops_size=50,ops_refill_time=100",
                         program=ns.wrap(binary(), tmp_path)), 500)
