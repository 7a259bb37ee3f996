# SPDX-License-Identifier: Apache-2.0
"""vsock: the tiny guest on the one side, programs of this host on the other."""
import os
import shutil
import socket
import subprocess
import threading
import time

import pytest

from lib.api import Api
from lib.guest import build, guest, guest_file, report_of, start_guest  # noqa: F401 (fixtures)
from lib.vsock import Listener, dial
from lib.lives import Lives

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


@pytest.fixture
def peer():
    """Start vspeer, the host's end for long streams; what runs at the end is ended."""
    running = []

    def start(*args):
        program = os.path.join(os.path.dirname(guest_file("guest.elf")), "../vspeer")
        one = subprocess.Popen([program, *(str(a) for a in args)], stdout=subprocess.PIPE, text=True)
        running.append(one)
        assert one.stdout.readline() == "LISTENING\n"
        return one

    yield start
    for one in running:
        one.kill()
        one.wait()
        one.stdout.close()


@pytest.mark.parametrize("rxbytes", [32768, 4096])
def test_a_gigabyte_each_way_arrives_whole(guest, path, peer, rxbytes):
    mib = 1024 if rxbytes == 32768 else 64
    sink, _ = peer("sink", f"{path}_1024"), peer("source", f"{path}_1025", mib)
    report = guest(f"vsbulk tx={mib} rx={mib} rxbytes={rxbytes}", "--vsock", f"cid=3,socket={path}", timeout=300)
    assert sink.stdout.read() == f"SUNK bytes={mib << 20} good=1\n" and sink.wait(5) == 0
    assert [dict(f.split("=") for f in line[1:])["bytes"] for line in report.all("VSIO")] == [str(mib << 20)] * 2


def test_to_and_fro_many_times(guest, path, peer):
    peer("echo", f"{path}_1026")
    report = guest("vsping=2000", "--vsock", f"cid=3,socket={path}")
    assert int(report.one("VSPING")["times"]) == 2000


def test_killed_peers_end_their_connections_only(echoing, path):
    script = ("import socket,sys,time\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\ns.send(b'CONNECT 52\\n')\n"
              "assert s.recv(64)[:2]==b'OK'\nprint('in',flush=True)\ns.setblocking(False)\n"
              "while True:\n try: s.send(bytes(9999))\n except BlockingIOError: time.sleep(0.01)\n")
    mine, _ = dial(path, ECHO)
    for _ in range(5):
        other = subprocess.Popen(["python3", "-c", script, path], stdout=subprocess.PIPE)
        assert other.stdout.readline() == b"in\n"
        time.sleep(0.05)
        other.kill()
        other.wait()
        other.stdout.close()
        mine.sendall(b"there?")
        assert mine.recv(64) == b"there?"
    exchange(mine, os.urandom(100_000))


def inode(path):
    return os.stat(path).st_ino


@pytest.fixture
def served(start_guest, path, work):
    """An echoing guest with an API; (vm, api)."""
    vm = start_guest("vsecho", "--vsock", f"cid=3,socket={path}", "--api-socket", f"path={work}/api")
    vm.wait_for_in(vm.serial_path, "R3 VSECHO")
    with Api(f"{work}/api") as api:
        yield vm, api
        assert api.ask("PUT", "vmm.shutdown").code == 204
    assert vm.wait(20) == 0, vm.tail()
    assert not os.path.exists(path)


def test_the_listener_survives_a_reboot(served, path):
    vm, api = served
    before = inode(path)
    mine, _ = dial(path, ECHO)
    assert api.ask("PUT", "vm.reboot").code == 204
    assert mine.recv(64) == b"", "a connection outlives its guest"
    assert inode(path) == before
    exchange(dial(path, ECHO)[0], b"after the reboot")
    # somebody listens at every moment; only who is with a guest when it goes is sent away
    failed, sent_away = [], []

    def call_on():
        for _ in range(50):
            with socket.socket(socket.AF_UNIX) as other:
                try:
                    other.connect(path)
                except OSError as e:
                    failed.append(e)
                    return
                try:
                    other.sendall(b"CONNECT 52\nx")
                    text = b""
                    while not text.endswith(b"x") and (piece := other.recv(64)):
                        text += piece
                    if not text.endswith(b"x"):
                        sent_away.append(text)
                except ConnectionError as e:
                    sent_away.append(e)

    caller = threading.Thread(target=call_on, daemon=True)
    caller.start()
    for _ in range(3):
        assert api.ask("PUT", "vm.reboot").code == 204
        time.sleep(0.1)
    caller.join(30)
    assert not failed and len(sent_away) <= 3 and inode(path) == before, (failed, sent_away)
    assert api.ask("PUT", "vm.shutdown").code == 204
    assert not os.path.exists(path)
    assert api.ask("PUT", "vm.boot").code == 204
    vm.wait_for_in(vm.serial_path, r"(R3 VSECHO[\s\S]*)+")
    exchange(dial(path, ECHO)[0], b"after another boot")


def test_pause_holds_what_is_under_way_and_loses_nothing(served, path):
    _, api = served
    mine, _ = dial(path, ECHO)
    data, back = os.urandom(8_000_000), bytearray()
    sender = threading.Thread(target=lambda: (mine.sendall(data), mine.shutdown(socket.SHUT_WR)), daemon=True)
    sender.start()

    def read():
        while piece := mine.recv(65536):
            back.extend(piece)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    for _ in range(10):
        assert api.ask("PUT", "vm.pause").code == 204
        before = len(back)
        time.sleep(0.1)
        # what lay in the socket may still come out of it
        assert len(back) <= before + (512 << 10), "bytes move while paused"
        assert api.ask("PUT", "vm.resume").code == 204
    reader.join(30)
    assert bytes(back) == data
    counters = api.ask("GET", "vm.counters").json
    assert counters["_vsock0"]["connections"] >= 1 and counters["_vsock0"]["rx_bytes"] >= 8_000_000


@pytest.mark.parametrize("args,word", [
    (["--vsock", "cid=2,socket=x"], "cid: 2 is not within"),
    (["--vsock", "cid=4294967295,socket=x"], "is not within"),
    (["--vsock", "socket=x"], "'cid' is missing"),
    (["--vsock", "cid=3,socket=" + "x" * 108], "the path of a socket has 1 to 107 bytes"),
    (["--vsock", "cid=3,socket=/nonexistent/x"], "No such file or directory"),
    (["--vsock", "cid=3,socket=/dev/null"], "what is there is no socket"),
])
def test_what_cannot_be_is_refused_with_a_reason(virga, args, word):
    vm = virga("--kernel", guest_file("guest.elf"), "--memory", "size=64M", *args)
    assert vm.wait(20) not in (0, None) and word in vm.text, vm.text


def test_a_socket_that_somebody_serves_is_left_alone(virga, path):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        vm = virga("--kernel", guest_file("guest.elf"), "--memory", "size=64M", "--vsock", f"cid=3,socket={path}")
        assert vm.wait(20) not in (0, None) and "in use" in vm.text, vm.text
        assert os.path.exists(path)
    os.unlink(path)


def test_a_second_one_is_refused_and_a_removed_one_takes_its_socket_along(virga, path, work):
    vm = virga("--api-socket", f"path={work}/api")
    end = time.monotonic() + 20
    while not os.path.exists(f"{work}/api"):
        assert time.monotonic() < end, vm.tail()
        time.sleep(0.02)
    config = {"cpus": {"boot_vcpus": 1, "max_vcpus": 1}, "memory": {"size": 128 << 20},
              "payload": {"kernel": guest_file("guest.elf"), "cmdline": "vsecho"},
              "serial": {"mode": "File", "file": f"{work}/serial"}, "console": {"mode": "Off"}}
    with Api(f"{work}/api") as api:
        assert api.ask("PUT", "vm.create", config).code == 204
        assert api.ask("PUT", "vm.add-vsock", {"cid": 3, "socket": path}).code == 204
        assert api.ask("PUT", "vm.add-vsock", {"cid": 4, "socket": f"{path}2"}).code >= 400
        assert api.ask("PUT", "vm.boot").code == 204
        exchange(dial(path, ECHO)[0], b"plugged before the boot")
        answer = api.ask("PUT", "vm.add-vsock", {"cid": 4, "socket": f"{path}2"})
        assert answer.code >= 400 and not os.path.exists(f"{path}2"), answer
        assert api.ask("PUT", "vm.remove-device", {"id": "_vsock0", "force": True}).code == 204
        assert not os.path.exists(path)
        assert "vsock" not in api.get("vm.info")["config"]
        answer = api.ask("PUT", "vm.add-vsock", {"cid": 4, "socket": path, "id": "v"})
        assert answer.code == 200 and answer.json["id"] == "v", answer
        assert os.path.exists(path)
        assert api.ask("PUT", "vmm.shutdown").code == 204
    assert vm.wait(20) == 0 and not os.path.exists(path)
    os.unlink(f"{work}/serial")


def test_a_confined_program_makes_and_removes_its_socket(guest, path):
    listener = Listener(path, 1024)
    report = guest("vsock", "--vsock", f"cid=3,socket={path},seqpacket=on", "--landlock")
    assert report.one("VSOCK")["cid"] == "3"
    assert not os.path.exists(path) and not os.path.exists(f"{path}_seqpacket")
    listener.close()


def test_a_restore_resets_connections_and_keeps_who_listens(virga, work, path):
    lives = Lives(virga, work, "vsecho", "--vsock", f"cid=3,socket={path}", cpus="boot=1")
    lives.until("R3 VSECHO")
    for n in range(2):
        peer, _ = dial(path, ECHO)
        exchange_some(peer, b"before")
        peer.sendall(b"under way")  # credit is out, and bytes are on their way
        snap = lives.save()
        lives.kill()
        os.unlink(path)
        assert not peer.recv(64).strip(b"under way")
        lives.restore(snap, "map")
        while (lives.said + lives.text()).count("R3 VSRESET cid=3") <= n:
            lives.vm.look(0.01)
        peer, _ = dial(path, ECHO)
        exchange_some(peer, b"after")
        peer.close()
        shutil.rmtree(snap)
    assert dial(path, END) == (None, None)
    lives.end()


def exchange_some(peer, data):
    peer.sendall(data)
    back = b""
    while len(back) < len(data):
        back += peer.recv(len(data) - len(back))
    assert back == data
