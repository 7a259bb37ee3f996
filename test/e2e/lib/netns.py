# SPDX-License-Identifier: Apache-2.0
"""A network namespace of a test's own, with a tap in it whose host side the test plays.

What virga does to interfaces then disturbs nobody, and frames of others do not disturb the test.
"""
import ctypes
import os
import socket
import subprocess
import threading
import time
import uuid

CLONE_NEWNET = 0x40000000
ETHERTYPE = 0x88b5  # local experimental, as test/guest/net.c has it
FRAME = b"R3 FRAME"
ANSWER = b"R3 ANSWER"


def why_no_netns():
    """The sentence that says why no namespace can be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun"
    return None


def ip(*args):
    done = subprocess.run(["ip", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"ip {' '.join(args)}: {done.stdout}"
    return done.stdout


class NetNs:
    """A namespace; `wrap(program, work)` gives a program that runs virga in it."""

    def __init__(self):
        self.name = f"virga-{uuid.uuid4().hex[:8]}"
        ip("netns", "add", self.name)
        self.sockets = []
        self.stopping = threading.Event()
        self.threads = []

    def ip(self, *args):
        return ip("-n", self.name, *args)

    def make_tap(self, name, queues=1):
        """A tap that stays when nobody has it open."""
        more = ["multi_queue"] if queues > 1 else []
        self.ip("tuntap", "add", "dev", name, "mode", "tap", "vnet_hdr", *more)
        self.ip("link", "set", name, "up")

    def make_macvtap(self, name):
        """A macvtap on one end of a pair of interfaces; returns the name of the other end."""
        # The device is /dev/tapN of all namespaces, so the index is to be nobody else's.
        index = 20000 + os.getpid() % 10000 * 4
        self.ip("link", "add", "low", "index", str(index), "type", "veth", "peer", "name", "far")
        self.ip("link", "add", "link", "low", "name", name, "index", str(index + 1), "type", "macvtap", "mode", "bridge")
        for one in ("low", "far"):
            self.ip("link", "set", one, "up")
        if not os.access(f"/dev/tap{index + 1}", os.R_OK | os.W_OK):
            return None
        return "far"

    def has(self, name):
        return f" {name}:" in self.ip("link", "show") or f" {name}@" in self.ip("link", "show")

    def wait_for_link(self, name, timeout=20):
        end = time.monotonic() + timeout
        while not self.has(name):
            assert time.monotonic() < end, f"no interface {name} after {timeout} s"
            time.sleep(0.05)

    def wrap(self, program, directory):
        path = f"{directory}/in-{self.name}"
        with open(path, "w", encoding="ascii") as f:
            f.write(f'#!/bin/sh\nexec ip netns exec {self.name} {program} "$@"\n')
        os.chmod(path, 0o755)
        return path

    def run_in(self, function):
        """Call a function in the namespace; the caller stays where he is."""
        libc = ctypes.CDLL(None, use_errno=True)
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            assert libc.setns(there, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                return function()
            finally:
                assert libc.setns(home, CLONE_NEWNET) == 0
        finally:
            os.close(there)
            os.close(home)

    def packet_socket(self, interface, ethertype=ETHERTYPE):
        """A raw socket on an interface of the namespace."""
        s = self.run_in(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype)))
        self.run_in(lambda: s.bind((interface, ethertype)))
        s.settimeout(0.2)
        self.sockets.append(s)
        return s

    def answer(self, interface, payload=b""):
        """Answer each of the guest's frames with ANSWER and this payload, in the background."""
        s = self.packet_socket(interface)

        def loop():
            while not self.stopping.is_set():
                try:
                    frame = s.recv(65536)
                except (TimeoutError, OSError):
                    continue
                if frame[14:].startswith(FRAME):
                    s.send(frame[6:12] + bytes([2, 0, 0, 0, 0, 1]) + ETHERTYPE.to_bytes(2, "big") +
                           ANSWER + payload)

        self.run(loop)

    def flood(self, interface, size=200, pause=0.001):
        """Send frames to the guest without end, in the background."""
        s = self.packet_socket(interface)
        frame = b"\xff" * 6 + bytes([2, 0, 0, 0, 0, 1]) + ETHERTYPE.to_bytes(2, "big") + bytes(size)

        def loop():
            while not self.stopping.wait(pause):
                try:
                    s.send(frame)
                except OSError:  # the interface is down while nobody has it open
                    continue

        self.run(loop)

    def run(self, loop):
        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        self.threads.append(thread)

    def close(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(5)
        for s in self.sockets:
            s.close()
        ip("netns", "del", self.name)
