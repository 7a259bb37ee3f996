# SPDX-License-Identifier: Apache-2.0
"""virga-remote top: one machine on a screen, and the terminal as it was afterwards."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from lib.api import Api
from lib.guest import start_guest  # noqa: F401 (fixture)
from lib.virga import PATIENCE, remote_binary
from lib.wait import until

ENTER, LEAVE = "\033[?1049h", "\033[?1049l"


def default_signals():
    """Who runs the tests in the background may have them ignored."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


class Screen:
    """top on a terminal of its own."""

    def __init__(self, sock, *words, rows=24, columns=80):
        self.end, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.was = termios.tcgetattr(terminal)
        self.child = subprocess.Popen([remote_binary(), "--api-socket", sock, "top", *words], stdin=terminal,
                                      stdout=terminal, stderr=terminal, start_new_session=True,
                                      preexec_fn=default_signals)
        self.terminal = terminal
        self.text = ""

    def wait_for(self, pattern, seconds=10 * PATIENCE):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, repr(self.text)
            if select.select([self.end], [], [], 0.1)[0]:
                self.text += os.read(self.end, 1 << 16).decode()

    def close(self):
        """The exit status; the terminal is as it was."""
        status = self.child.wait(10 * PATIENCE)
        self.wait_for(re.escape(LEAVE))
        assert self.text.index(ENTER) < self.text.index(LEAVE)
        assert "\033[?25h" in self.text[self.text.index("\033[?25l"):]
        assert termios.tcgetattr(self.terminal) == self.was
        os.close(self.terminal)
        os.close(self.end)
        return status


@pytest.fixture
def machine(start_guest, tmp_path):
    """The socket of a machine that runs."""
    sock, disk = tmp_path / "api", tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    vm = start_guest("park", "--api-socket", sock, "--disk", f"path={disk}")
    with Api(sock) as api:
        end = time.monotonic() + 20 * PATIENCE
        while api.state() != "Running":
            assert time.monotonic() < end
            time.sleep(0.02)
        yield str(sock)
        api.put("vmm.shutdown")
    assert vm.wait() == 0


def test_once_prints_sums_without_touching_a_terminal(machine):
    run = subprocess.run([remote_binary(), "--api-socket", machine, "top", "--once"], capture_output=True, text=True,
                         check=True, timeout=20 * PATIENCE)
    assert "\033" not in run.stdout and run.stderr == ""
    assert run.stdout.startswith("Running ")
    assert re.search(r"^memory: .* guest .* of +128M, beside it", run.stdout, re.M)
    assert re.search(r"^0 +\d+\.\d +\d+", run.stdout, re.M)
    assert re.search(r"^_disk0 +0 +0 ", run.stdout, re.M)


def test_a_screen_is_renewed_until_a_key_ends_it(machine):
    s = Screen(machine, "--interval", "1")
    s.wait_for(r"exits/s[\s\S]*_disk0[\s\S]*exits/s")
    assert termios.tcgetattr(s.terminal)[3] & (termios.ECHO | termios.ICANON) == 0
    os.write(s.end, b"q")
    assert s.close() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it_and_leaves_the_terminal_as_it_was(machine, number):
    s = Screen(machine)
    s.wait_for("exits/s")
    s.child.send_signal(number)
    assert s.close() == -number


def test_a_small_window_shows_what_fits(machine):
    s = Screen(machine, rows=4, columns=20)
    s.wait_for("memory")
    fcntl.ioctl(s.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    s.child.send_signal(signal.SIGWINCH)
    s.wait_for("_disk0")
    first = s.text[:s.text.index("_disk0")].split("\033[H")[1]
    lines = [re.sub("\033\\[[KJ]|\r", "", line) for line in first.split("\n")]
    assert len(lines) <= 4 and all(len(line) <= 20 for line in lines)
    os.write(s.end, b"q")
    assert s.close() == 0


def test_what_is_stopped_goes_on_later(machine):
    s = Screen(machine)
    s.wait_for("exits/s")
    s.child.send_signal(signal.SIGTSTP)
    s.wait_for(re.escape(LEAVE))
    until(lambda: termios.tcgetattr(s.terminal) == s.was, 10)
    s.text = ""
    s.child.send_signal(signal.SIGCONT)
    s.wait_for(re.escape(ENTER) + r"[\s\S]*exits/s")
    os.write(s.end, b"q")
    assert s.close() == 0


def test_a_machine_that_ends_ends_it_with_a_sentence(start_guest, tmp_path):
    sock = tmp_path / "api"
    vm = start_guest("park", "--api-socket", sock)
    with Api(sock) as api:
        s = Screen(str(sock))
        s.wait_for("processors")
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    assert s.close() == 1
    assert "virga-remote: top: " in s.text


def test_wrong_words_are_refused(machine):
    for words, sentence in ((["--interval", "0"], "interval"), (["--often"], "--often"), (["x"], "'x'")):
        run = subprocess.run([remote_binary(), "--api-socket", machine, "top", *words], capture_output=True, text=True,
                             check=False, timeout=20 * PATIENCE)
        assert run.returncode in (1, 2) and sentence in run.stderr, run.stderr
