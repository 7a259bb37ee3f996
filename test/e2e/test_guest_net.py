# SPDX-License-Identifier: Apache-2.0
"""The guest drives a network card by hand; the test holds the other end of the tap."""
import pytest

from lib.guest import guest, report_of, start_guest, sum8  # noqa: F401 (fixtures)
from lib.netns import ANSWER, NetNs, why_no_netns
from lib.virga import binary


@pytest.fixture
def ns():
    reason = why_no_netns()
    if reason:
        pytest.skip(reason)
    one = NetNs()
    yield one
    one.close()


def exchange(guest, ns, tmp_path, net, payload=b"and a payload", **named):
    ns.answer("tap0", payload)
    report = guest("net feed", "--net", net, program=ns.wrap(binary(), tmp_path), **named)
    got = report.one("NETGOT")
    assert int(got["len"]) == max(14 + len(ANSWER) + len(payload), 14)
    assert int(got["sum"], 16) == sum8(payload)
    return report


def test_frames_go_out_and_come_in_by_a_tap_that_is_there(guest, ns, tmp_path):
    ns.make_tap("tap0")
    report = exchange(guest, ns, tmp_path, "tap=tap0,mac=52:33:00:00:00:01")
    assert report.one("NET")["mac"] == "523300000001"
    assert ns.has("tap0")


def test_long_frames_come_in_whole(guest, ns, tmp_path):
    ns.make_tap("tap0")
    exchange(guest, ns, tmp_path, "tap=tap0", bytes(range(256)) * 5)


def test_several_queue_pairs(guest, ns, tmp_path):
    ns.make_tap("tap0", queues=2)
    report = exchange(guest, ns, tmp_path, "tap=tap0,num_queues=4", cpus=2)
    assert report.one("NET")["pairs"] == "2" and report.one("NET")["queues"] == "5"


def test_tap_is_made_with_its_address_and_goes_with_virga(start_guest, ns, tmp_path):
    vm = start_guest("net park", "--net", "tap=tap0,ip=192.168.77.1,mask=255.255.255.0,mtu=1400",
                     program=ns.wrap(binary(), tmp_path))
    vm.wait_for_in(vm.serial_path, "R3 PARKED")
    shown = ns.ip("addr", "show", "tap0")
    assert "192.168.77.1/24" in shown and "mtu 1400" in shown and "UP" in shown
    assert report_of(vm).one("NET")["mtu"] == "1400"
    assert vm.stop() == 0
    assert not ns.has("tap0")


def test_mac_address_is_made_up_where_none_is_given(start_guest, ns, tmp_path):
    ns.make_tap("tap0")
    macs = set()
    for _ in range(2):
        vm = start_guest("net", "--net", "tap=tap0", program=ns.wrap(binary(), tmp_path))
        assert vm.wait() == 0
        macs.add(report_of(vm).one("NET")["mac"])
    assert len(macs) == 2
    for mac in macs:
        assert int(mac[:2], 16) & 3 == 2, "locally administered, unicast"
