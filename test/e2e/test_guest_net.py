# SPDX-License-Identifier: Apache-2.0
"""The guest drives a network card by hand; the test holds the other end of the tap."""
import pytest

from lib.guest import guest, report_of, start_guest, sum8  # noqa: F401 (fixtures)
from lib.netns import ANSWER
from lib.virga import binary


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


def test_macvtap_is_found_by_its_name_and_stays(guest, ns, tmp_path):
    far = ns.make_macvtap("mv0")
    if not far:
        pytest.skip("there is no device node for a macvtap here")
    ns.answer(far, b"over the other interface")
    mac = "52:33:00:00:00:01"  # the guest's frames come from there; a macvtap passes in its own address only
    for more in ("", ",num_queues=4"):
        report = guest("net feed", "--net", f"tap=mv0,mac={mac},host_mac={mac}{more}",
                       program=ns.wrap(binary(), tmp_path), cpus=2)
        assert int(report.one("NETGOT")["sum"], 16) == sum8(b"over the other interface")
    assert ns.has("mv0")


def test_tap_that_disappears_takes_the_link_down_and_no_more(start_guest, ns, tmp_path):
    ns.make_tap("tap0")
    ns.make_tap("tap1")
    vm = start_guest("netlink rng", "--net", "tap=tap0", "tap=tap1", "--rng", "src=/dev/urandom",
                     program=ns.wrap(binary(), tmp_path))
    vm.wait_for_in(vm.serial_path, "R3 FIRST")
    ns.ip("link", "delete", "tap0")
    assert vm.wait() == 0
    report_of(vm).check()


def test_frames_of_all_kinds_from_the_tap_do_no_harm(start_guest, ns, tmp_path):
    """Runts, giants and everything between, to a guest with one small buffer at a time."""
    ns.make_tap("tap0")
    ns.ip("link", "set", "tap0", "mtu", "65521")
    vm = start_guest("netbench rx secs10=5", "--net", "tap=tap0,mtu=1500", program=ns.wrap(binary(), tmp_path))
    vm.wait_for_in(vm.serial_path, "R3 LISTENING")
    ns.ip("link", "set", "tap0", "mtu", "65521")
    raw = ns.packet_socket("tap0")
    for length in [*range(14, 70), 1513, 1514, 1515, 1518, 1519, 2048, 9014, 65000, 65535] * 20:
        try:
            raw.send((b"\xff" * 6 + bytes([2, 0, 0, 0, 0, 1]) + b"\x88\xb5").ljust(length, b"x"))
        except OSError:  # longer than the interface takes, or its queue is full
            continue
    assert vm.wait() == 0
    report = report_of(vm)
    report.check()
    assert report.all("NETIO")
