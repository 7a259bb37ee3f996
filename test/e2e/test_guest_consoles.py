# SPDX-License-Identifier: Apache-2.0
"""Consoles on pseudo-terminals, sockets and files, seen from both ends: every byte, in both directions."""
import array
import os
import select
import socket
import stat
import termios
import time

import pytest

from lib.guest import guest, report_of, start_guest  # noqa: F401 (fixtures)
from lib.virga import PATIENCE

KIB = 10 * 1024  # through the virtio console
# Each byte is an exit of the VM: 24 us on some hosts. test/unit/vm/serialstream.c does without; who has minutes says more.
SERIAL_KIB = int(os.environ.get("VIRGA_SERIAL_KIB", "64"))
SERIAL_S = 120 + SERIAL_KIB // 16
KEPT = 1 << 20


def pattern(kib):
    """What the guest sends and expects: 32-bit words, each its index times an odd number."""
    return array.array("I", (i * 2654435761 & 0xffffffff for i in range(kib << 8))).tobytes()


class Client:
    """One end of a console: bytes out and in, without ever blocking for good."""

    def __init__(self, fd):
        os.set_blocking(fd, False)
        self.fd = fd
        self.got = bytearray()

    @classmethod
    def of_socket(cls, path):
        s = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + 10 * PATIENCE
        while s.connect_ex(str(path)):
            assert time.monotonic() < end, f"nobody listens at {path}"
            time.sleep(0.01)
        return cls(s.detach())

    @classmethod
    def of_pty(cls, path):
        return cls(os.open(path, os.O_RDWR | os.O_NOCTTY))

    def turn(self, text=b"", wait=0.2):
        """Read what there is and write some of text; returns how much."""
        readable, writable, _ = select.select([self.fd], [self.fd] if text else [], [], wait)
        if readable:
            try:
                self.got += os.read(self.fd, 1 << 20)
            except OSError:  # EIO: the pseudo-terminal is gone
                pass
        return os.write(self.fd, text[:65536]) if writable else 0

    def read_until(self, done, timeout=60):
        end = time.monotonic() + timeout * PATIENCE
        while not done(self.got):
            assert time.monotonic() < end, f"only {len(self.got)} bytes came: {bytes(self.got[-200:])}"
            self.turn()

    def write_all(self, text, timeout=60):
        end, done = time.monotonic() + timeout * PATIENCE, 0
        while done < len(text):
            assert time.monotonic() < end, f"only {done} of {len(text)} bytes were taken"
            done += self.turn(text[done:done + 65536])

    def close(self):
        os.close(self.fd)


def client_of(vm, option, mode, work):
    return Client.of_pty(pty_of(vm, option)) if mode == "pty" else Client.of_socket(f"{work}/{option}")


def pty_of(vm, option):
    return vm.wait_for(rf"--{option} is at (/dev/pts/\d+)").group(1)


@pytest.mark.parametrize("mode", ["pty", "socket"])
def test_console_carries_ten_megabytes_each_way(start_guest, work, mode):
    want = pattern(KIB)
    value = "pty" if mode == "pty" else f"socket={work}/console"
    vm = start_guest(f"constream wait in kib={KIB}", "-v", console=value)
    client = client_of(vm, "console", mode, work)
    client.write_all(b"!")
    client.read_until(lambda got: len(got) >= len(want))
    vm.wait_for_in(vm.serial_path, "R3 CONIN")
    client.write_all(want)
    assert vm.wait() == 0
    report_of(vm).check()
    assert client.got == want
    client.close()


def test_console_in_a_file_has_ten_megabytes(guest, work):
    guest(f"constream kib={KIB}", console=f"file={work}/console")
    with open(f"{work}/console", "rb") as f:
        assert f.read() == pattern(KIB)


@pytest.mark.parametrize("mode", ["pty", "socket"])
def test_serial_port_is_byte_exact(start_guest, work, mode):
    want = pattern(SERIAL_KIB)
    value = "pty" if mode == "pty" else f"socket={work}/serial"
    vm = start_guest(f"serialstream in kib={SERIAL_KIB}", "-v", serial=value)
    client = client_of(vm, "serial", mode, work)
    client.read_until(lambda got: b"R3 SERIN\r\n" in got, SERIAL_S)
    client.write_all(want, SERIAL_S)
    client.read_until(lambda got: b"R3 EXIT 0" in got, SERIAL_S)
    assert vm.wait() == 0
    before, _, after = bytes(client.got).partition(b"R3 SEROUT\r\n")
    assert after[:len(want)] == want
    assert b"R3 PASS serial-in" in after and b"R3 FAIL" not in after
    client.close()


def test_serial_and_console_may_each_have_a_pty(start_guest):
    vm = start_guest("con conecho", "-v", "--debug-console", "pty", serial="pty", console="pty")
    serial, console = pty_of(vm, "serial"), pty_of(vm, "console")
    assert len({serial, console, pty_of(vm, "debug-console")}) == 3
    clients = [Client.of_pty(serial), Client.of_pty(console)]
    assert not termios.tcgetattr(clients[0].fd)[3] & (termios.ECHO | termios.ICANON)
    clients[1].write_all(b".")  # the guest ends with it, so not before both clients are there
    clients[0].read_until(lambda got: b"R3 EXIT 0" in got)
    clients[1].read_until(lambda got: len(got) == 301 * 16 + 1)
    assert vm.wait() == 0
    assert bytes(clients[1].got) == b"R3 console says\n" * 301 + b"."


def test_who_comes_late_finds_the_newest_megabyte(start_guest, work):
    vm = start_guest("constream kib=3072 park", console=f"socket={work}/console", serial="tty")
    vm.wait_for("R3 PARKED")
    client = Client.of_socket(f"{work}/console")
    client.read_until(lambda got: len(got) >= KEPT)
    client.turn()
    assert bytes(client.got) == pattern(3072)[-KEPT:]
    client.close()
    assert vm.stop() == 0
    assert not os.path.exists(f"{work}/console")


def test_many_see_and_one_types(start_guest, work):
    path = f"{work}/console"
    vm = start_guest("conecho", console=f"socket={path}")
    vm.wait_for_in(vm.serial_path, "R3 CONECHO")
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0
    writer, watcher, other = (Client.of_socket(path) for _ in range(3))
    writer.write_all(b"one ")
    watcher.read_until(lambda got: got == b"one ")
    watcher.write_all(b"not heard.")
    writer.close()
    time.sleep(0.2)
    watcher.write_all(b"two.")
    other.read_until(lambda got: got == b"one two.")
    assert vm.wait() == 0
    assert "R3 CONECHOED 8" in vm.file_text(vm.serial_path)
    watcher.close()
    other.close()


def test_who_never_reads_stalls_neither_guest_nor_others(start_guest, work):
    path = f"{work}/console"
    vm = start_guest("con constream wait kib=10240", console=f"socket={path}")
    clients = [Client.of_socket(path) for _ in range(2)]
    clients[0].write_all(b"!")
    clients[0].read_until(lambda got: len(got) == 301 * 16 + (KIB << 10))
    assert vm.wait(30) == 0
    assert bytes(clients[0].got[301 * 16:]) == pattern(KIB)
    for client in clients:
        client.close()


@pytest.mark.parametrize("value", ["pty", "socket"])
def test_nobody_at_a_console_holds_up_nobody(guest, work, value):
    guest(f"constream kib={KIB}", console="pty" if value == "pty" else f"socket={work}/console")


def test_a_socket_in_use_is_refused_and_a_dead_one_replaced(start_guest, work):
    path = f"{work}/console"
    first = start_guest("park", console=f"socket={path}")
    first.wait_for_in(first.serial_path, "R3 PARKED")
    second = start_guest("told", console=f"socket={path}")
    assert second.wait() == 1
    assert "--console: listen at" in second.text and "in use" in second.text
    first.kill(9)
    first.wait()
    third = start_guest("told", console=f"socket={path}")
    assert third.wait() == 0
