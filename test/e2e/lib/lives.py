# SPDX-License-Identifier: Apache-2.0
"""Guests that go on from process to process, each of which is ended by SIGKILL when it has written a snapshot.

	lives = Lives(virga, work, "midway")            a guest that a test leads from life to life
	run_across(virga, work, "rng con")              one that runs to its end, over as many lives as there is time for

Any test's machine can be led so, and the test does not see it: where $VIRGA_TEST_RESTORED says how memory is to come back (map, copy, ondemand, or any: unsaid),
the fixture `virga` starts machines of the command line as `Restored`. What the first process said is what the second
one goes on with, files of consoles included. $VIRGA_TEST_REST_MS is the longest time that a machine has for itself
before; which part of it, chance decides, and the arguments decide chance.

A machine that cannot be saved from outside is left in peace, and `why_not` names the reason: it ended before, it has no
payload of its own, a debugger or another process has a part of it.
"""
import os
import random
import re
import shutil
import signal
import socket
import time

from lib.api import Api
from lib.guest import Report, guest_file
from lib.virga import PATIENCE, Virga
from lib.wait import until

# How memory comes back.
MODES = ["map", "copy", "ondemand"]
MODE = os.environ.get("VIRGA_TEST_RESTORED")
REST_MS = float(os.environ.get("VIRGA_TEST_REST_MS", "10"))
# Options of the program, which go on with it; all others are the machine's, and in its snapshot.
OF_THE_PROGRAM = ("--api-socket", "--log-file", "--log-format", "-v", "-vv", "-vvv", "--seccomp", "--event-monitor", "--no-shutdown")
# What these name is begun anew by each process.
WRITERS = ("--serial", "--console", "--debug-console", "--event-monitor")
NOT_RESTORED = ("--restore", "--gdb")


def options(args):
    """The words of a command line as option and its values."""
    found = []
    for word in args:
        if word.startswith("-"):
            found.append([word])
        elif found:
            found[-1].append(word)
    return found


def value_of(args, option):
    """What behind this option, or None."""
    return next((" ".join(words[1:]) for words in options(args) if words[0] == option), None)


class Restored(Virga):
    """A virga process, and then another with the same machine."""

    # What became of each, over the whole run.
    tally = {"restored": 0}

    def __init__(self, place, args, cwd=None, **named):
        args = [str(a) for a in args]
        self.why_not = self.reason(args)
        self.ours = None
        if not self.why_not and not value_of(args, "--api-socket"):
            self.ours = f"{cwd}/restored-api{id(self):x}"
            args += ["--api-socket", f"path={self.ours}"]
        self.earlier = {}
        self.prelude = 0
        self.snap = place.temp_dir() if not self.why_not else None
        if self.snap and "--landlock" in args:
            args += ["--landlock-rules", f"path={self.snap},access=rw"]
        super().__init__(place, args, cwd=cwd, **named)
        self.named = {"cwd": cwd, "env": named.get("env") or {}, "tty": named.get("tty", False)}
        self.before_args = self.argv[:len(self.argv) - len(self.args)]
        if not self.why_not:
            self.why_not = self.live_again()
            place.drop_dir(self.snap)
        self.tally[self.why_not or "restored"] = self.tally.get(self.why_not or "restored", 0) + 1

    @staticmethod
    def reason(args):
        if value_of(args, "--kernel") is None and value_of(args, "--firmware") is None:
            return "has no payload of its own"
        for option in NOT_RESTORED:
            if value_of(args, option) is not None:
                return f"has {option}"
        if "fd=" in (value_of(args, "--api-socket") or ""):
            return "has an API by descriptor"
        if not os.path.exists(value_of(args, "--kernel") or value_of(args, "--firmware")):
            return "has a payload that is not there"
        return None

    @property
    def socket_path(self):
        return re.search(r"(?:path=)?([^,]+)", value_of(self.args, "--api-socket")).group(1)

    def request(self, method, path, body=""):
        """Status and text of an answer, on a connection of its own; None when nobody answers any more."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30 * PATIENCE)
            try:
                s.connect(self.socket_path)
                s.sendall(f"{method} /api/v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                          f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
                text = b"".join(iter(lambda: s.recv(1 << 16), b"")).decode()
            except OSError:
                return None, ""
        return (int(text.split()[1]), text) if text else (None, "")

    def await_api(self):
        end = time.monotonic() + 20 * PATIENCE
        while not os.path.exists(self.socket_path) and self.status is None and time.monotonic() < end:
            self.look(0.002)

    def live_again(self):
        """Saved, killed, and restored; or the reason why not."""
        self.await_api()
        random.seed(" ".join(self.args))
        time.sleep(random.random() * REST_MS / 1000)
        for what, body in (("pause", ""), ("snapshot", f'{{"destination_url":"file://{self.snap}"}}')):
            code, text = self.request("PUT", f"vm.{what}", body)
            # a socket is there a moment before somebody listens
            while code is None and self.status is None:
                self.look(0.01)
                code, text = self.request("PUT", f"vm.{what}", body)
            if code == 204:
                continue
            # the guest may have powered off; nobody answers then
            while not text and self.status is None:
                self.look(0.1)
            assert not text or "is Shutdown" in text or "Running" in text, f"no {what}: {text}"
            return "ended before"
        self.die()
        self.rise()
        return None

    def die(self):
        """Ends the first process as a power failure would, keeping what it said."""
        self.kill(signal.SIGKILL)
        while self.status is None:
            super().look(1)
        assert self.status == -signal.SIGKILL, self.tail()
        files = (value_of(self.args, option) or "" for option in WRITERS)
        for path in re.findall(r"(?:file|path)=(/[^,]+)", ",".join(files)):
            if os.path.isfile(path):
                self.earlier[path] = super().file_text(path)
        self.place.close(self.job)
        self.prelude, self.status = len(self.text), None
        os.unlink(self.socket_path)

    def is_there(self):
        """It has its memory and its files; a program that is about to get them answers already."""
        code, text = self.request("GET", "vm.info")
        return code == 200 and '"state":"Created"' not in text

    def rise(self):
        how = "" if MODE == "any" else f",memory_restore_mode={MODE}"
        fds = [f"_net{i}@[{found.group(1)}]" for i, words in enumerate(self.all_of("--net"))
               if (found := re.search(r"fd=\[?([\d,]+)", words))]
        net = f",net_fds=[{','.join(fds)}]" if fds else ""
        argv = [*self.before_args, *(word for words in options(self.args) if words[0] in OF_THE_PROGRAM for word in words),
                "--restore", f"source_url=file://{self.snap}{how}{net},resume=on"]
        started = self.place.spawn(argv, self.named["env"], self.named["cwd"], self.named["tty"])
        self.job, self.pid = started["job"], started["pid"]
        end = time.monotonic() + 30 * PATIENCE
        while self.status is None and not self.is_there():
            self.look(0.002)
            assert time.monotonic() < end, f"the restored program does not answer: {self.tail()}"

    def all_of(self, option):
        return [value for words in options(self.args) if words[0] == option for value in words[1:]]

    def look(self, timeout=0):
        if self.job is None:
            return
        part = self.place.read(self.job, len(self.text) - self.prelude, timeout)
        self.text += part["data"]
        if part["status"] is not None:
            self.status = part["status"]
            self.join_files()
        elif time.monotonic() - self.looked > 2:
            self.weigh()

    def join_files(self):
        """Files of consoles hold what both processes wrote, once the second one has ended."""
        for path, text in self.earlier.items():
            if os.path.exists(path):
                both = text + super().file_text(path)
                with open(path, "w", encoding="latin-1", newline="") as f:
                    f.write(both)
        self.earlier = {}

    def file_text(self, path):
        return self.earlier.get(path, "") + super().file_text(path)


class Lives:
    """A guest that goes on from process to process.

    Its serial port is a file, which each process begins anew, or, told so, the program's own input and output; `said`
    has what earlier ones wrote. `files` are others to which the machine writes: `written` has what earlier ones wrote.
    """

    def __init__(self, virga, work, words, *args, memory="size=128M", cpus="boot=2", console="off", program=None,
                 serial=None, files=()):
        self.virga, self.work, self.program = virga, work, program
        self.generation, self.said = 0, ""
        self.file = None if serial == "tty" else f"{work}/said"
        self.written = {path: "" for path in files}
        self.api = None
        self.vm = self.start("--kernel", guest_file("guest.elf"), "--cmdline", words, "--cpus", cpus, "--memory", memory,
                             "--console", console, "--serial", serial or f"file={self.file}", *args)

    def start(self, *args):
        path = f"{self.work}/api{self.generation}"
        vm = self.virga("--api-socket", f"path={path}", *args, overhead=False, program=self.program)
        vm.serial_path = self.file
        until(lambda: vm.look() or vm.status is not None or os.path.exists(path), 30,
              lambda: f"no API socket in 30 s: {vm.tail()}")
        assert vm.status is None, f"virga ended with {vm.status}: {vm.tail()}"
        self.api = Api(path)
        return vm

    def text(self):
        self.vm.look()
        return self.vm.file_text(self.file) if self.file else self.vm.text

    def save(self, path=None, paused=False):
        """Pauses, and writes a snapshot; its directory."""
        path = path or f"{self.work}/snap{self.generation}"
        os.makedirs(path, exist_ok=True)
        if not paused:
            self.api.put("vm.pause")
        self.api.put("vm.snapshot", {"destination_url": f"file://{path}"})
        return path

    def keep(self):
        """Take what this process wrote to what earlier ones wrote."""
        self.said += self.text()
        for path in self.written:
            self.written[path] += self.vm.file_text(path)

    def kill(self):
        self.api.close()
        self.vm.kill(signal.SIGKILL)
        assert self.vm.wait() == -signal.SIGKILL
        self.keep()
        if self.file:
            os.unlink(self.file)  # the next process makes it anew, and until then it is read once only
        os.unlink(f"{self.work}/api{self.generation}")
        os.unlink(f"{self.work}/api{self.generation}.lock")

    def restore(self, path, mode=None, resume=True, more=""):
        self.generation += 1
        how = f"{more},memory_restore_mode={mode}" if mode else more
        self.vm = self.start("--restore", f"source_url=file://{path}{how},resume={'on' if resume else 'off'}")

    def next(self, mode):
        """Saved, killed, restored, and the old snapshot gone; False when the guest came to its end before."""
        old = f"{self.work}/snap{self.generation}"
        try:
            self.save(old)
        except (OSError, AssertionError):
            if self.vm.wait() == 0:
                return False
            raise
        self.kill()
        self.restore(old, mode)
        self.api.get("vm.info")  # it has the files by now
        shutil.rmtree(old)
        return True

    def end(self):
        assert self.vm.wait() == 0, self.vm.tail()
        self.keep()
        report = Report(self.said, self.vm)
        report.check()
        return report

    def until(self, words):
        until(lambda: words in self.said + self.text(), 30, lambda: f"no {words}: {self.said}{self.vm.tail()}")


def run_across(virga, work, words, *args, mode="map", least=2, most=8, rest=0.05, **kw):
    """Runs a guest to its end, restoring it again and again; what it said."""
    random.seed(words)
    lives = Lives(virga, work, words, *args, **kw)
    lives.until("R3 START")
    while lives.generation < most:
        time.sleep(random.random() * rest)
        if not lives.next(mode):
            break
    assert lives.generation >= least
    return lives.end()
