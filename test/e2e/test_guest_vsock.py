# SPDX-License-Identifier: Apache-2.0
"""vsock: the tiny guest on the one side, programs of this host on the other."""
import os
import socket
import threading
import time

import pytest

from lib.guest import guest, report_of, start_guest  # noqa: F401 (fixtures)
from lib.vsock import Listener, dial

ECHO, END = 52, 99
PIECE = 4096


@pytest.fixture
def path(work):
    return f"{work}/vsock"


@pytest.fixture
def echoing(start_guest, path):
    """A guest that sends back what comes to port 52, on any number of connections; ends it, and checks."""
    vm = start_guest("vsecho", "--vsock", f"cid=3,socket={path},seqpacket=on")
    vm.wait_for_in(vm.serial_path, "R3 VSECHO")
    yield vm
    if vm.status is None:
        assert dial(path, END) == (None, None)
        assert vm.wait(20) == 0, vm.tail()
        report_of(vm).check()


def call(path):
    peer, _ = dial(path, ECHO)
    peer.sendall(b"hello")
    assert peer.recv(64) == b"hello"
    peer.close()


def exchange(peer, data):
    """Send it all, and read it all back meanwhile; then end, and see the end."""
    failed = []

    def send():
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
        except OSError as e:
            failed.append(e)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    back = bytearray()
    while piece := peer.recv(65536):
        back += piece
    sender.join(20)
    assert not failed and bytes(back) == data, (failed, len(back), len(data))


def test_streams_and_messages_both_ways(guest, path):
    listeners = [Listener(path, 1024), Listener(path, 2000, kind=socket.SOCK_SEQPACKET)]
    caller = threading.Thread(target=call, args=(path,), daemon=True)
    caller.start()
    report = guest("vsock feed", "--vsock", f"cid=1234,socket={path}")
    caller.join(5)
    assert report.one("VSOCK")["cid"] == "1234"
    assert not os.path.exists(path), "the socket is left behind"
    for one in listeners:
        one.close()


def test_host_reaches_a_port_of_the_guest(echoing, path):
    peer, number = dial(path, ECHO)
    assert number == 0x40000000
    exchange(peer, b"hello")
    peer, number = dial(path, ECHO)
    assert number == 0x40000001
    exchange(peer, os.urandom(3_000_000))
    assert dial(path, 53) == (None, None), "nobody listens there"


def test_200_streams_at_once(echoing, path):
    data, failed = os.urandom(200_000), []

    def one(i):
        try:
            peer, _ = dial(path, ECHO)
            exchange(peer, data[i:])
            peer.close()
        except (AssertionError, OSError) as e:
            failed.append(e)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(200)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not failed, failed[:3]


def test_a_peer_that_never_reads_holds_only_itself(echoing, path):
    deaf = []
    for _ in range(20):
        peer, _ = dial(path, ECHO)
        peer.setblocking(False)
        try:
            while True:
                peer.send(bytes(65536))
        except BlockingIOError:
            pass
        deaf.append(peer)
    peer, _ = dial(path, ECHO)
    exchange(peer, os.urandom(1_000_000))
    for one in deaf:
        one.close()
    peer, _ = dial(path, ECHO)
    exchange(peer, b"still")


def test_1023_connections_and_the_next_is_refused(echoing, path):
    peers = [dial(path, ECHO)[0] for _ in range(1023)]
    assert all(peers)
    try:
        assert dial(path, ECHO) == (None, None)
    except OSError:
        pass  # a reset
    for peer in peers[::97]:
        peer.sendall(b"there?")
        assert peer.recv(64) == b"there?"
    for peer in peers:
        peer.close()
    time.sleep(0.1)
    exchange(dial(path, ECHO)[0], b"again")
