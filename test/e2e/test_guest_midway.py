# SPDX-License-Identifier: Apache-2.0
"""A guest that is cut off in the midst of everything, again and again, and goes on as if nothing had happened."""
import random
import socket
import threading
import time

import pytest

from lib.guest import pattern_disk
from lib.lives import MODES, Lives
from lib.virga import binary

pytestmark = pytest.mark.alone  # its lives are short beside what its guest has under way
GENERATIONS = 5
RINGS = 128  # of the card, and as many frames


def numbers_of(frames):
    return [int.from_bytes(frame[24:26], "little") for frame in frames if frame[14:23] == b"R3 NUMBER"]


class Listener:
    """What goes out of a tap."""

    def __init__(self, ns, tap):
        self.frames, self.over = [], threading.Event()
        self.socket = ns.packet_socket(tap)
        ns.run(self.loop)

    def loop(self):
        while not self.over.is_set():
            try:
                frame, where = self.socket.recvfrom(2048)
            except OSError:  # nothing comes, or the tap is down between two lives
                continue
            if where[2] != socket.PACKET_OUTGOING:
                self.frames.append(frame)

    def end(self):
        time.sleep(0.1)
        self.over.set()
        return self.frames


def lead(lives, modes, rest):
    """Through as many lives as there are modes, and then to the end by a byte."""
    lives.until("R3 MIDWAY")
    for mode in modes:
        time.sleep(random.random() * rest)
        assert lives.next(mode), "the guest ended before"
    lives.vm.type("x")
    return lives.end()


@pytest.mark.parametrize("mode", MODES)
def test_all_that_is_under_way_goes_on_in_five_lives(virga, work, ns, mode):
    random.seed(mode)
    ns.make_tap("tap0", 1)
    listener = Listener(ns, "tap0")
    ns.flood("tap0")
    console = f"{work}/console"
    lives = Lives(virga, work, "midway mib=60 oneshot=1500", "--net", "tap=tap0,ops_size=10,ops_refill_time=100", "--disk",
                  f"path={pattern_disk(f'{work}/disk', 1)},ops_size=4,ops_refill_time=400", cpus="boot=4", serial="tty",
                  console=f"file={console}", program=ns.wrap(binary(), work), files=[console])
    report = lead(lives, [mode] * GENERATIONS, 0.1)
    assert "R3 AND ON\n" in report.text, "half a line"
    assert lives.written[console] == "R3 half a line\n"
    assert sorted(numbers_of(listener.end())) == list(range(RINGS)), "each frame goes out once"
    assert int(report.all("CAME")[0][0]) > 0
