# SPDX-License-Identifier: Apache-2.0
"""The part `net` of bench.py: frames and bits a second through tap, stream and passt, and what a gigabit costs.

The tiny guest sends or counts as fast as it can, with the whole ring in flight, and polls. Processor time is
that of all threads but vCPUs, from the moment the guest starts to its end, as /proc tells it.
"""
import os
import re
import signal
import subprocess
import sys
import threading
import time

from lib.netns import NetNs, why_no_netns
from lib.passt import ADDRESS, GATEWAY, Passt, number, why_no_passt

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
VCPU = ("vcpu", "CPU ")
# (figure, words of the guest, length of frames): what is measured over each kind of link.
TAP = [("tx", "", 60), ("tx", "", 1514), ("tx gso", "gso", 65000), ("rx", "rx", 60), ("rx", "rx", 1514)]
STREAM = [("tx", "", 60), ("tx", "", 1514), ("tx", "", 65000), ("rx", "rx", 60), ("rx", "rx", 1514), ("rx", "rx", 65000)]
PASST = [("tx udp", "", 1514), ("tx udp", "", 60042)]


def qemu_net(program):
    return hasattr(program, "machine")


def link_args(program, tap=None, stream=None):
    """The arguments that give a program its card."""
    if not qemu_net(program):
        return ["--net", f"tap={tap}" if tap else f"stream={stream}"]
    back = f"tap,id=n0,ifname={tap},script=no,downscript=no" if tap else \
        f"stream,id=n0,server=off,addr.type=unix,addr.path={stream}"
    return ["-name", "bench,debug-threads=on", "-netdev", back, "-device", "virtio-net-pci,netdev=n0"]


def busy_seconds(pid):
    """Processor time of all threads of a process but its vCPUs; None when it is gone."""
    total = 0
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/stat", encoding="ascii", errors="replace") as f:
                line = f.read()
            name, rest = line[line.index("(") + 1:line.rindex(")")], line[line.rindex(")") + 2:].split()
            if not name.startswith(VCPU):
                total += (int(rest[11]) + int(rest[12])) * TICK_S
    except (OSError, ValueError):
        return None
    return total


class Run:
    """One VM that measures; `on_listen` is called when a receiving guest waits."""

    def __init__(self, argv, on_listen=None, limit_s=60):
        self.text, self.busy, self.first, self.last = "", 0.0, None, None
        self.child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)
        watcher = threading.Thread(target=self.watch, daemon=True)
        watcher.start()
        killer = threading.Timer(limit_s, self.child.kill)
        killer.start()
        for line in self.child.stdout:
            self.text += line.decode("latin-1")
            if "R3 LISTENING" in self.text and on_listen:
                on_listen()
                on_listen = None
        self.child.wait()
        killer.cancel()
        watcher.join()

    def watch(self):
        while self.child.poll() is None:
            if "R3 GO" in self.text and "R3 NETIO" not in self.text:
                now = busy_seconds(self.child.pid)
                if now is not None:
                    self.first = (time.monotonic(), now) if self.first is None else self.first
                    self.last = (time.monotonic(), now)
            time.sleep(0.01)

    def result(self):
        """(frames a second, bits a second, processors used meanwhile), or None."""
        found = re.search(r"R3 NETIO \S+ frames=\d+ fps=(\d+) kbps=(\d+)", self.text)
        if not found or self.child.returncode != 0 or not self.last or self.last[0] == self.first[0]:
            return None
        share = (self.last[1] - self.first[1]) / (self.last[0] - self.first[0])
        return int(found.group(1)), int(found.group(2)) * 1000, share


def note(r, program, link, figure, length, run, load, first):
    got = run.result()
    if not got:
        if first:
            r.fail(f"net, {program.name}, {link} {figure} {length}: {run.text[-300:]}")
        return
    frames, bits, share = got
    name = f"{link} {figure} {length}"
    r.add("net", program.name, name, frames / 1000, "kpps", load)
    r.add("net", program.name, f"{name} speed", bits / 1e9, "Gbit/s", load)
    if bits:
        r.add("net", program.name, f"{name} cost", share / (bits / 1e9), "cpu s/Gbit", load)


class Peers:
    """Programs at the other end, ended with the measurement they are for."""

    def __init__(self, tools):
        self.netpeer, self.running = str(tools["netpeer"]), []

    def start(self, *args, prefix=()):
        self.running.append(subprocess.Popen([*prefix, self.netpeer, *(str(a) for a in args)]))

    def go(self):
        for one in self.running:
            one.send_signal(signal.SIGUSR1)

    def stop(self):
        for one in self.running:
            one.kill()
            one.wait()
        self.running = []


def measure_tap(r, tools, program, seconds, load, first):
    for figure, words, length in TAP:
        ns, peers = NetNs(), Peers(tools)
        try:
            ns.make_tap("tap0")
            ns.ip("link", "set", "tap0", "txqueuelen", "1000")
            argv = program.argv(tools["guest"], f"netbench secs10={int(seconds * 10)} len={length} {words}")
            inside = ["ip", "netns", "exec", ns.name]
            load.take()
            run = Run([*inside, *argv, *link_args(program, tap="tap0")],
                      lambda: peers.start("packets", "tap0", length, prefix=inside))
            note(r, program, "tap", figure, length, run, load.take(), first)
        finally:
            peers.stop()
            ns.close()


def measure_stream(r, tools, program, seconds, load, first, work):
    for figure, words, length in STREAM:
        path, peers = f"{work}/peer.sock", Peers(tools)
        try:
            peers.start(*(("source", path, length) if words else ("sink", path)))
            while not os.path.exists(path):
                time.sleep(0.01)
            time.sleep(0.05)
            argv = program.argv(tools["guest"], f"netbench secs10={int(seconds * 10)} len={length} {words}")
            load.take()
            run = Run([*argv, *link_args(program, stream=path)], peers.go)
            note(r, program, "stream", figure, length, run, load.take(), first)
        finally:
            peers.stop()
            os.unlink(path)


def measure_passt(r, tools, program, seconds, load, first, work):
    passt = Passt(work)
    try:
        for figure, words, length in PASST:
            argv = program.argv(tools["guest"], f"netbench secs10={int(seconds * 10)} len={length} {words} "
                                f"me={number(ADDRESS)} peer={number(GATEWAY)}")
            load.take()
            run = Run([*argv, *link_args(program, stream=passt.socket)])
            note(r, program, "passt", figure, length, run, load.take(), first)
    finally:
        passt.close()


def part_net(r, tools, programs, rounds, work, seconds, new_load):
    reason = why_no_netns()
    if reason:
        r.fail(f"net: {reason}")
        return
    no_passt = why_no_passt()
    if no_passt:
        r.fail(f"net: {no_passt}")
    for n in range(rounds):
        for program in programs:
            load = new_load()
            measure_tap(r, tools, program, seconds, load, n == 0)
            measure_stream(r, tools, program, seconds, load, n == 0, work)
            if not no_passt:
                measure_passt(r, tools, program, seconds, load, n == 0, work)
        print(f"bench: net, round {n + 1} of {rounds}", file=sys.stderr, flush=True)
    ours, theirs = programs[0].name, next((p.name for p in programs[1:]), None)
    if not theirs:
        return
    for link, loads in (("tap", TAP), ("stream", STREAM)):
        for figure, _, length in loads:
            name = f"{link} {figure} {length}"
            r.ratio(f"net: {name}, frames a second, virga / {theirs}", r.median("net", ours, name),
                    r.median("net", theirs, name), 1.0, most=False)
