# SPDX-License-Identifier: Apache-2.0
"""The part `net` of bench.py: frames and bits a second through tap, stream and passt, and what a gigabit costs.

The tiny guest sends or counts as fast as it can, and polls; the whole ring is in flight unless a depth is named.
Processor time is that of all threads but vCPUs, from the moment the guest starts to its end, as /proc tells it.

Programs take turns figure by figure, in changing order, and a ratio is the median of those of the turns: what the
machine does meanwhile hits all alike.
"""
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time

from lib.netns import NetNs, why_no_netns
from lib.passt import ADDRESS, GATEWAY, Passt, number, why_no_passt

VCPU = ("vcpu", "CPU ")
# (figure, words of the guest, length of frames): what is measured over each kind of link.
SHALLOW = [(f"tx depth {n}", f"depth={n}", length) for n in (1, 8) for length in (60, 1514)]
TAP = [("tx", "", 60), ("tx", "", 1514), *SHALLOW, ("tx gso", "gso", 65000), ("tx gso depth 1", "gso depth=1", 65000),
       ("rx", "rx", 60), ("rx", "rx", 1514), ("there and back", "rr", 60), ("there and back", "rr", 1514)]
STREAM = [("tx", "", 60), ("tx", "", 1514), *SHALLOW, ("tx", "", 65000), ("tx depth 1", "depth=1", 65000),
          ("rx", "rx", 60), ("rx", "rx", 1514), ("rx", "rx", 65000),
          ("there and back", "rr", 60), ("there and back", "rr", 1514)]
PASST = [("tx udp", "", 1514), ("tx udp", "", 60042), ("tx udp depth 1", "depth=1", 1514), ("rx udp", "rx", 1514),
         ("rx udp", "rx", 60042)]
PORT = 7001  # the guest's, forwarded
UDP_HEADERS = 14 + 20 + 8


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
            with open(f"/proc/{pid}/task/{tid}/comm", encoding="ascii", errors="replace") as f:
                name = f.read()
            if not name.startswith(VCPU):
                with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="ascii") as f:
                    total += int(f.read().split()[0]) / 1e9
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


def measure_tap(tools, program, seconds, work, figure):
    _, words, length = figure
    ns, peers = NetNs(), Peers(tools)
    try:
        ns.make_tap("tap0")
        ns.ip("link", "set", "tap0", "txqueuelen", "1000")
        argv = program.argv(tools["guest"], f"netbench secs10={int(seconds * 10)} len={length} {words}")
        inside = ["ip", "netns", "exec", ns.name]
        return Run([*inside, *argv, *link_args(program, tap="tap0")],
                   lambda: peers.start(*(("mirror", "tap0") if words == "rr" else ("packets", "tap0", length)),
                                       prefix=inside))
    finally:
        peers.stop()
        ns.close()


def measure_stream(tools, program, seconds, work, figure):
    _, words, length = figure
    path, peers = f"{work}/peer.sock", Peers(tools)
    try:
        peers.start(*{"rx": ("source", path, length), "rr": ("echo", path)}.get(words, ("sink", path)))
        while not os.path.exists(path):
            time.sleep(0.01)
        time.sleep(0.05)
        argv = program.argv(tools["guest"], f"netbench secs10={int(seconds * 10)} len={length} {words}")
        return Run([*argv, *link_args(program, stream=path)], peers.go)
    finally:
        peers.stop()
        os.unlink(path)


def measure_passt(tools, program, seconds, work, figure):
    _, words, length = figure
    passt, peers = Passt(work, "--udp-ports", PORT), Peers(tools)
    try:
        argv = program.argv(tools["guest"], f"netbench secs10={int(seconds * 10)} len={length} {words} "
                            f"me={number(ADDRESS)} peer={number(GATEWAY)} port={PORT}")
        inside = ["ip", "netns", "exec", passt.ns.name]
        return Run([*argv, *link_args(program, stream=passt.socket)],
                   lambda: peers.start("datagrams", PORT, length - UDP_HEADERS, prefix=inside))
    finally:
        peers.stop()
        passt.close()


LINKS = [("tap", TAP, measure_tap), ("stream", STREAM, measure_stream), ("passt", PASST, measure_passt)]


def turn(r, tools, programs, seconds, work, load, link, figure, measure, first):
    """One figure of every program: frames a second by name, of those that could."""
    rates = {}
    for program in programs:
        load.take()
        run = measure(tools, program, seconds, work, figure)
        share, got = load.take(), run.result()
        name = f"{link} {figure[0]} {figure[2]}"
        if not got:
            if first:
                r.fail(f"net, {program.name}, {name}: {run.text[-300:]}")
            continue
        rates[program.name], bits, used = got
        r.add("net", program.name, name, got[0] / 1000, "kpps", share)
        r.add("net", program.name, f"{name} speed", bits / 1e9, "Gbit/s", share)
        if bits and used > 0:
            r.add("net", program.name, f"{name} cost", used / (bits / 1e9), "cpu s/Gbit", share)
    return rates


def part_net(r, tools, programs, rounds, work, seconds, new_load):
    reason = why_no_netns()
    if reason:
        r.fail(f"net: {reason}")
        return
    no_passt = why_no_passt()
    if no_passt:
        r.fail(f"net: {no_passt}")
    ratios, ours = {}, programs[0].name
    for n in range(rounds):
        for link, figures, measure in LINKS:
            for figure in figures if link != "passt" or not no_passt else []:
                order = programs if n % 2 == 0 else programs[::-1]
                rates = turn(r, tools, order, seconds, work, new_load(), link, figure, measure, n == 0)
                for theirs in [p.name for p in programs[1:] if {ours, p.name} <= rates.keys()]:
                    ratios.setdefault((f"{link} {figure[0]} {figure[2]}", theirs), []).append(rates[ours] / rates[theirs])
        print(f"bench: net, round {n + 1} of {rounds}", file=sys.stderr, flush=True)
    for (name, theirs), values in ratios.items():
        r.budget(f"net: {name}, frames a second, virga / {theirs}", round(statistics.median(values), 3), 1.0, most=False)
