# SPDX-License-Identifier: Apache-2.0
"""A place where programs under test run: this machine, or the nested host.

`Local` does the work. It needs nothing but the standard library, so the same file serves inside the
nested host, where `agent.py` answers calls with it. `Remote` passes each call through a stream to such
an agent. Both have the methods listed in CALLS, with plain arguments and plain answers, and the few
conveniences of `Place` on top of them; a test cannot tell which of the two it holds.

Bytes are handed over as str in latin-1, one character a byte, so that they travel in JSON unchanged.
"""
import base64
import json
import os
import pty
import shutil
import signal
import stat
import subprocess
import tempfile
import termios
import threading
import time
from pathlib import Path

# A call waits a few seconds at most; a far side that takes this long is lost.
ANSWER_SECONDS = 100
CALLS = ("spawn", "read", "write", "kill", "close", "get_file", "put_file", "temp_dir", "drop_dir",
         "process", "activity", "leftovers", "close_input")


class PlaceError(Exception):
    """A call that a place could not carry out."""


class Done:
    """What a finished command left: exit status (negative: the signal that ended it) and output."""

    def __init__(self, status, output):
        self.status = status
        self.output = output

    def __repr__(self):
        return f"Done(status={self.status}, output={self.output!r})"


class Place:
    """What both places offer beyond the calls themselves."""

    def run(self, command, timeout=60, check=True):
        """Run a shell command to its end; its output holds stdout and stderr together."""
        argv = ["/bin/bash", "-c", command] if isinstance(command, str) else list(command)
        job = self.spawn(argv)["job"]
        text, status, end = "", None, time.monotonic() + timeout
        try:
            while status is None:
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{command!r} still runs after {timeout} s; it said: {text}")
                part = self.read(job, len(text), min(left, 5))
                text += part["data"]
                status = part["status"]
        finally:
            self.close(job)
        if check and status != 0:
            raise PlaceError(f"{command!r} ended with status {status}; it said: {text}")
        return Done(status, text)

    def put(self, path, text):
        """Write a text file."""
        self.put_file(path, base64.b64encode(text.encode()).decode())

    def get(self, path):
        """The bytes of a file."""
        return base64.b64decode(self.get_file(path))


class Job:
    """One program and what it has said so far."""

    def __init__(self, argv, env, cwd, tty):
        self.said = bytearray()
        self.news = threading.Condition()
        self.ended = False
        self.terminal = tty
        full = {**os.environ, **env}
        if tty:
            self.out, theirs = pty.openpty()
            self.inp = self.out
            self.before = termios.tcgetattr(theirs)
            # Kept open, so that the terminal can be looked at after the program is gone.
            self.theirs = theirs
            self.proc = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=full,
                                         cwd=cwd, preexec_fn=become_foreground)
        else:
            self.proc = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, env=full, cwd=cwd,
                                         start_new_session=True)
            self.out, self.inp = self.proc.stdout.fileno(), self.proc.stdin.fileno()
        self.reader = threading.Thread(target=self.listen, daemon=True)
        self.reader.start()
        self.waiter = threading.Thread(target=self.await_end, daemon=True)
        self.waiter.start()

    def listen(self):
        while True:
            try:
                data = os.read(self.out, 65536)
            except OSError:
                break
            if not data:
                break
            with self.news:
                self.said += data
                self.news.notify_all()

    def await_end(self):
        self.proc.wait()
        # A pipe ends when the last writer is gone; a terminal that is held open does not, so what
        # is on the way gets a moment.
        self.reader.join(0.2 if self.terminal else 2)
        with self.news:
            self.ended = True
            self.news.notify_all()

    def read(self, offset, timeout):
        with self.news:
            self.news.wait_for(lambda: len(self.said) > offset or self.ended, timeout)
            return {"data": self.said[offset:].decode("latin-1"),
                    "status": self.proc.returncode if self.ended else None}

    def terminal_restored(self):
        """Whether the terminal is as it was before the program got it (True where it has none)."""
        if not self.terminal:
            return True
        return termios.tcgetattr(self.theirs) == self.before

    def close(self):
        if self.proc.poll() is None:
            try:
                os.killpg(self.proc.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.waiter.join(5)
        if self.terminal:
            os.close(self.theirs)
            self.reader.join(2)
            os.close(self.out)
        else:
            self.reader.join(2)
            self.proc.stdin.close()
            self.proc.stdout.close()


def become_foreground():
    """In the child: a session of its own with the terminal on its standard input as its terminal."""
    os.setsid()
    import fcntl  # after fork, in the child only
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def marked_processes(mark):
    """(pid, name) of every living process whose environment says VIRGA_TEST=`mark`."""
    wanted = f"VIRGA_TEST={mark}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if wanted in f.read().split(b"\0"):
                    yield pid, lines_of(f"/proc/{pid}/comm")[0]
        except (OSError, IndexError):
            continue


def lines_of(path):
    try:
        with open(path, encoding="latin-1") as f:
            return f.read().splitlines()
    except OSError:
        return []


class Local(Place):
    """This machine."""

    def __init__(self):
        self.jobs = {}
        self.number = 0
        self.lock = threading.Lock()

    def spawn(self, argv, env=None, cwd=None, tty=False):
        """Start a program, on a terminal of its own or on pipes; stdout and stderr are one stream."""
        job = Job(argv, env or {}, cwd, tty)
        with self.lock:
            self.number += 1
            self.jobs[self.number] = job
            return {"job": self.number, "pid": job.proc.pid}

    def read(self, job, offset, timeout=0):
        """What the program said from `offset` on, and its status once it has ended (else None)."""
        return self.jobs[job].read(offset, timeout)

    def write(self, job, data):
        """Type into the program's standard input."""
        os.write(self.jobs[job].inp, data.encode("latin-1"))

    def close_input(self, job):
        """End the program's standard input (pipes only)."""
        self.jobs[job].proc.stdin.close()

    def kill(self, job, sig=signal.SIGTERM):
        """Send a signal to the program."""
        self.jobs[job].proc.send_signal(sig)

    def close(self, job):
        """Forget a program, ending it if it still runs. Tells whether its terminal was restored."""
        one = self.jobs.pop(job)
        restored = one.terminal_restored()
        one.close()
        return {"restored": restored}

    def get_file(self, path):
        with open(path, "rb") as f:
            return base64.b64encode(f.read()).decode()

    def put_file(self, path, data):
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def temp_dir(self):
        """A new directory on a tmpfs, where sockets can live."""
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        return tempfile.mkdtemp(prefix="virga-test-", dir=base)

    def drop_dir(self, path):
        shutil.rmtree(path)

    def process(self, pid, ram_kib):
        """Program, threads, descriptors and resident KiB of a process, guest RAM left out.

        Guest RAM is every mapping of at least half its size (it may be split in two by the hole
        below 4 GiB) or of 32 MiB, whichever is smaller.
        """
        limit = min(ram_kib // 2, 32 * 1024) if ram_kib else 1 << 60
        size = rss = 0
        for line in lines_of(f"/proc/{pid}/smaps"):
            if line.startswith("Size:"):
                size = int(line.split()[1])
            elif line.startswith("Rss:") and size < limit:
                rss += int(line.split()[1])
        try:
            return {"program": os.readlink(f"/proc/{pid}/exe"),
                    "threads": sorted(lines_of(f"/proc/{pid}/task/{t}/comm")[0]
                                      for t in os.listdir(f"/proc/{pid}/task")),
                    "fds": sorted(os.readlink(f"/proc/{pid}/fd/{fd}")
                                  for fd in os.listdir(f"/proc/{pid}/fd")),
                    "rss_kib": rss}
        except (OSError, IndexError):
            return None

    def activity(self, pid):
        """What each thread of a process does, a line each: name, state, ticks in user and in kernel, system call."""
        found = []
        for task in sorted(Path(f"/proc/{pid}/task").glob("*"), key=lambda path: int(path.name)):
            try:
                name = (task / "comm").read_text().strip()
                stat = (task / "stat").read_text().rsplit(")", 1)[1].split()
                call = (task / "syscall").read_text().strip()
            except OSError as e:
                found.append(f"{task.name}: {e}")
                continue
            found.append(f"{name}: {stat[0]}, {stat[11]} + {stat[12]} ticks, system call {call}")
        return found

    def leftovers(self, mark, paths, work):
        """What programs started with $VIRGA_TEST=`mark` may have left on this machine.

        Processes with that mark; network interfaces; locks on the files of `paths`; sockets, pipes
        and new regular files in the directory `work`. What was there before is the caller's to subtract.
        """
        found = [f"process {pid} {comm}" for pid, comm in marked_processes(mark)]
        found += [f"interface {name}" for name in os.listdir("/sys/class/net")]
        inodes = {os.stat(path).st_ino: path for path in paths if os.path.exists(path)}
        for line in lines_of("/proc/locks"):
            inode = int(line.split()[-3].rsplit(":", 1)[1])
            if inode in inodes:
                found.append(f"lock on {inodes[inode]}")
        for path in Path(work).rglob("*"):
            kind = path.lstat().st_mode
            if not stat.S_ISDIR(kind):
                found.append(f"{'file' if stat.S_ISREG(kind) else 'socket or pipe'} {path}")
        return sorted(found)


class Remote(Place):
    """A place behind a stream on which an agent answers one JSON line for each JSON line."""

    def __init__(self, stream, alive=lambda: True):
        """`stream` is a connected socket; `alive` tells whether the far side can still answer."""
        self.stream = stream
        self.alive = alive
        self.rest = b""

    def call(self, name, *args):
        self.stream.sendall(json.dumps([name, args]).encode() + b"\n")
        answer = json.loads(self.line(ANSWER_SECONDS))
        if "error" in answer:
            raise PlaceError(answer["error"])
        return answer["value"]

    def line(self, timeout):
        """The next line from the far side."""
        end = time.monotonic() + timeout
        while b"\n" not in self.rest:
            if time.monotonic() > end:
                raise PlaceError(f"the far side has not answered for {timeout} s")
            if not self.alive():
                raise PlaceError("the far side is gone")
            self.stream.settimeout(1)
            try:
                data = self.stream.recv(1 << 20)
            except TimeoutError:
                continue
            if not data:
                raise PlaceError("the far side closed the stream")
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()


def forward(name):
    def method(self, *args, **named):
        # The agent takes arguments by place only; the signature of Local says the order.
        import inspect
        bound = inspect.signature(getattr(Local, name)).bind(self, *args, **named)
        bound.apply_defaults()
        return self.call(name, *bound.args[1:])
    method.__doc__ = getattr(Local, name).__doc__
    return method


for _name in CALLS:
    setattr(Remote, _name, forward(_name))
