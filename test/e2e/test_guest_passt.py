# SPDX-License-Identifier: Apache-2.0
"""Networks without rights: datagrams through passt as an ordinary user, and peers of a stream that misbehave."""
import os
import shutil
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import pytest

from lib.guest import guest, guest_file, report_of, start_guest, sum8  # noqa: F401 (fixtures)
from lib.passt import ADDRESS, GATEWAY, Passt, number, ordinary_user, why_no_passt
from lib.virga import binary

WORDS = f"me={number(ADDRESS)} peer={number(GATEWAY)}"
FORWARDED = 7101  # to port 7001 of the guest


@pytest.fixture
def passt(work):
    reason = why_no_passt()
    if reason:
        pytest.skip(reason)
    one = Passt(work, "--udp-ports", f"{FORWARDED}:7001")
    yield one
    one.close()


def test_datagrams_of_all_lengths_as_an_ordinary_user_with_only_kvm(guest, passt, work):
    passt.echo(7002)
    program = ordinary_user(binary(), work)
    shutil.copy(guest_file("guest.elf"), f"{work}/guest.elf")
    for length, least in ((100, 1), (1472, 1), (60000, 30)):
        report = guest(f"netudp {WORDS} len={length}", "--net", f"stream={passt.socket}",
                       kernel=f"{work}/guest.elf", program=program)
        got = report.one("UDPGOT")
        assert int(got["len"]) == length and int(got["buffers"]) >= least


def test_without_merged_buffers_short_frames_pass(guest, passt):
    passt.echo(7002)
    guest(f"netudp nomerge {WORDS} len=1400", "--net", f"stream={passt.socket}")


def test_connected_socket_that_is_handed_over(guest, passt):
    passt.echo(7002)
    guest(f"netudp {WORDS}", "--net", "fd=3", program=sys.executable,
          before=[Path(__file__).parent / "lib/with_stream.py", passt.socket, binary()])


def test_forwarded_port_reaches_the_guest(start_guest, passt):
    vm = start_guest(f"netudp listen {WORDS} port=7001", "--net", f"stream={passt.socket}")
    vm.wait_for_in(vm.serial_path, "R3 LISTENING")
    client = passt.open_socket()
    client.settimeout(10)
    client.sendto(b"from the host", ("127.0.0.1", FORWARDED))
    assert client.recv(100) == b"from the host"
    assert vm.wait() == 0
    report = report_of(vm)
    report.check()
    assert int(report.one("UDPGOT")["sum"], 16) == sum8(b"from the host")


@pytest.mark.parametrize("more", [[], ["--landlock"]])
def test_passt_that_dies_and_comes_back_takes_the_link_down_and_up(start_guest, passt, more):
    passt.echo(7002)
    vm = start_guest(f"netudp again {WORDS}", "--net", f"stream={passt.socket}", *more)
    vm.wait_for_in(vm.serial_path, "R3 FIRST")
    passt.stop()
    vm.wait_for_in(vm.serial_path, "R3 DOWN")
    os.unlink(passt.socket)
    passt.start()
    assert vm.wait() == 0
    report = report_of(vm)
    report.check()
    assert len(report.all("UDPGOT")) == 2


def test_reboot_reaches_passt_again(start_guest, passt):
    passt.echo(7002)
    vm = start_guest(f"netudp {WORDS} reset", "--net", f"stream={passt.socket}")
    vm.wait_for_in(vm.serial_path, r"(?s)UDPGOT len=100.*UDPGOT len=100.*UDPGOT len=100")
    assert vm.stop() == 0
    assert not report_of(vm).failed


class Peer:
    """A peer of a stream that the test plays."""

    def __init__(self, work, behave):
        self.path = f"{work}/peer.sock"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(4)
        self.clients, self.seen = [], 0
        threading.Thread(target=self.serve, args=(behave,), daemon=True).start()

    def serve(self, behave):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            self.seen += 1
            self.clients.append(client)
            try:
                behave(client)
            except OSError:
                pass

    def close(self):
        self.listener.close()
        for client in self.clients:
            client.close()
        os.unlink(self.path)


def garbage(client):
    client.sendall(os.urandom(64) + b"\xff" * 8)


def zeros(client):
    client.sendall(bytes(4096))


def runts(client):
    client.sendall(b"".join(struct.pack(">I", n) + bytes(n) for n in range(1, 14)) * 50)


def half_frame_then_end(client):
    client.sendall(struct.pack(">I", 1000) + bytes(400))
    client.close()


def one_byte_too_long(client):
    client.sendall(struct.pack(">I", 65554) + bytes(65554))


def slam(client):
    client.close()


def drip(client):
    """A frame that is never whole."""
    client.sendall(struct.pack(">I", 65553))
    for _ in range(65552):
        client.sendall(b"x")
        time.sleep(0.001)


def cut_lengths(client):
    """Frames, each cut in the middle of its length."""
    frame = struct.pack(">I", 60) + b"\xff" * 6 + bytes(54)
    client.sendall(frame[:2])
    while True:
        time.sleep(0.005)
        client.sendall(frame[2:] + frame[:2])


@pytest.mark.parametrize("behave", [garbage, zeros, one_byte_too_long, half_frame_then_end, slam])
def test_peer_that_breaks_the_protocol_hurts_only_its_net(guest, work, behave):
    peer = Peer(work, behave)
    try:
        guest("netlink rng", "--net", f"stream={peer.path}", "--rng", "src=/dev/urandom")
        time.sleep(0.1)
        assert peer.seen >= 1
    finally:
        peer.close()


def test_peer_that_hangs_up_at_once_is_knocked_at_four_times_a_second(start_guest, work):
    peer = Peer(work, slam)
    try:
        vm = start_guest("net park", "--net", f"stream={peer.path}")
        vm.wait_for_in(vm.serial_path, "R3 PARKED")
        began, before = time.monotonic(), peer.seen
        time.sleep(1.5)
        assert 1 <= peer.seen - before <= 4 * (time.monotonic() - began) + 1
        assert vm.stop() == 0
    finally:
        peer.close()


@pytest.mark.parametrize("behave", [runts, drip, cut_lengths])
def test_frames_that_are_no_good_or_never_whole_leave_the_link_up(start_guest, work, behave):
    peer = Peer(work, behave)
    try:
        vm = start_guest("net park", "--net", f"stream={peer.path}")
        vm.wait_for_in(vm.serial_path, "R3 PARKED")
        assert report_of(vm).one("NET")["status"] == "1"
        assert vm.stop() == 0
        assert peer.seen == 1
    finally:
        peer.close()


def test_peer_that_never_reads_holds_up_only_its_net(start_guest, work):
    def sit(_client):
        pass

    peer = Peer(work, sit)
    try:
        vm = start_guest("netbench secs10=2 len=1514", "--net", f"stream={peer.path}")
        time.sleep(2)
        shape = vm.weigh()
        assert shape and shape["rss_kib"] < 10240
        assert vm.stop() == 0
    finally:
        peer.close()


def test_place_where_nobody_listens_is_refused(virga, work):
    vm = virga("--kernel", guest_file("guest.elf"), "--net", f"stream={work}/nowhere")
    assert vm.wait() == 1
    assert f"connect to {work}/nowhere" in vm.text and "No such file" in vm.text
