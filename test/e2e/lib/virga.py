# SPDX-License-Identifier: Apache-2.0
"""One running virga, in any place.

	vm = Virga(place, ["--kernel", k, "--serial", "tty", "--console", "off"])
	vm.wait_for("login:")
	vm.type("root\n")
	assert vm.wait() == 0

Where a guest's serial port or console is "tty", its output is in what the program says; where it is
"file=PATH", `file_text(PATH)` reads it. Tests take virga through the fixture `virga` of conftest.py,
which also looks for what is left behind.
"""
import os
import re
import signal
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
# Kibibytes of memory beside guest RAM that no test may exceed; a sanitized build needs more.
OVERHEAD_LIMIT_KIB = int(os.environ.get("VIRGA_TEST_OVERHEAD_KIB", "10240"))
# Every time limit in a test is multiplied by this, for machines busy with other things.
PATIENCE = float(os.environ.get("VIRGA_TEST_PATIENCE", "1"))


def binary():
    """The program under test: $VIRGA, else the release build."""
    return os.environ.get("VIRGA") or str(TOP / "out/bin/virga")


def remote_binary():
    """virga-remote, which lies beside the program under test."""
    return str(Path(binary()).resolve().parent / "virga-remote")


def size_kib(text):
    """KiB of a size as the command line writes it: 512M, 1G, 1073741824."""
    number, unit = re.fullmatch(r"(\d+)([KMGT]?)", text).groups()
    return int(number) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}[unit] // 1024


def ram_kib(args):
    """KiB of guest RAM that the arguments ask for."""
    for option, value in zip(args, args[1:]):
        if option == "--memory":
            found = re.search(r"(?:^|,)size=(\d+[KMGT]?)", value)
            if found:
                return size_kib(found.group(1))
    return size_kib("512M")


class Virga:
    """A virga process. It starts when made."""

    def __init__(self, place, args, program=None, before=(), tty=False, env=None, cwd=None):
        """`tty` gives it a terminal of its own; else it has pipes. `args` are taken as str.

        `program` stands for virga; `before` are arguments to it that are not virga's, as for a program
        that prepares something and then becomes virga.
        """
        self.place = place
        self.args = [str(a) for a in args]
        self.ram_kib = ram_kib(self.args)
        self.peak_kib = 0
        self.looked = 0
        self.text = ""
        self.status = None
        self.restored = None
        self.argv = [program or binary(), *(str(a) for a in before), *self.args]
        started = place.spawn(self.argv, env or {}, cwd, tty)
        self.job, self.pid = started["job"], started["pid"]

    def look(self, timeout=0):
        """Take in what it has said, waiting up to `timeout` seconds for something new."""
        if self.job is None:
            return
        part = self.place.read(self.job, len(self.text), timeout)
        self.text += part["data"]
        if part["status"] is not None:
            self.status = part["status"]
        elif time.monotonic() - self.looked > 2:
            self.weigh()

    def weigh(self):
        """Note its memory beside guest RAM, and return what it consists of (None when it is gone)."""
        self.looked = time.monotonic()
        shape = self.place.process(self.pid, self.ram_kib)
        # A program that prepares something and then becomes virga is not judged.
        if shape and os.path.basename(shape["program"]) == os.path.basename(binary()):
            self.peak_kib = max(self.peak_kib, shape["rss_kib"])
        return shape

    def wait_for(self, pattern, timeout=60, after=0):
        """Wait for a regular expression in what it says, from character `after` on.

        Returns the match. Fails when virga ends or `timeout` seconds pass without it.
        """
        wanted = re.compile(pattern, re.M)
        end = time.monotonic() + timeout * PATIENCE
        while True:
            found = wanted.search(self.text, after)
            if found:
                self.weigh()
                return found
            assert self.status is None, f"virga ended ({self.status}) without {pattern!r}: {self.tail()}"
            left = end - time.monotonic()
            assert left > 0, f"no {pattern!r} after {timeout * PATIENCE:.0f} s: {self.tail()}\n{self.activity()}"
            self.look(min(left, 2))

    def file_text(self, path):
        """The text of a file in its place, "" if there is none yet."""
        try:
            return self.place.get(path).decode("latin-1")
        except Exception:
            return ""

    def wait_for_in(self, path, pattern, timeout=60):
        """Like wait_for, in a file that virga writes."""
        wanted = re.compile(pattern, re.M)
        end = time.monotonic() + timeout * PATIENCE
        while True:
            text = self.file_text(path)
            found = wanted.search(text)
            if found:
                self.weigh()
                return found
            self.look(0.2)
            assert self.status is None or wanted.search(self.file_text(path)), \
                f"virga ended ({self.status}) without {pattern!r} in {path}: {text[-2000:]} {self.tail()}"
            assert time.monotonic() < end, \
                f"no {pattern!r} in {path} after {timeout * PATIENCE:.0f} s: {text[-2000:]}"

    def type(self, text):
        """Type into its standard input, or its terminal."""
        self.place.write(self.job, text)

    def tail(self, count=2000):
        return f"{' '.join(self.argv)}\n...{self.text[-count:]}"

    def activity(self):
        """What its threads do now, and a second later: who waits, who works, and for what."""
        looks = []
        for _ in range(2):
            looks += self.place.activity(self.pid)
            self.look(1)
        return "\n".join(looks)

    def wait(self, timeout=60):
        """Wait for its end. Returns the exit status; negative is the signal that ended it."""
        end = time.monotonic() + timeout * PATIENCE
        while self.status is None:
            left = end - time.monotonic()
            assert left > 0, f"still running after {timeout * PATIENCE:.0f} s: {self.tail()}\n{self.activity()}"
            self.look(min(left, 2))
        return self.status

    def kill(self, sig=signal.SIGTERM):
        self.place.kill(self.job, int(sig))

    def stop(self, timeout=20):
        """Ask it to end (SIGTERM) and wait. Returns the exit status."""
        if self.status is None:
            self.look()
        if self.status is None:
            self.kill()
        return self.wait(timeout)

    def close(self):
        """Forget it, ending it if it still runs. Afterwards `restored` tells of its terminal."""
        if self.job is not None:
            ended = self.place.close(self.job)
            self.restored = ended["restored"] if self.status is not None else None
            self.job = None
