# SPDX-License-Identifier: Apache-2.0
"""The part io of bench.py: reads and writes at depth of a raw file, in three places, by each engine.

Places: a file system that is memory; a file system on a disk, all of the file in the page cache, read anew before
each run; the same with direct I/O. In each place runs virga as it chooses by itself, with each engine forced, and
QEMU with each of its own.
"""
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from lib.engines import ENGINES, takes_direct

MIB = 256
LIMIT_S = 120


class Disk:
    """A program with one disk in one place."""

    def __init__(self, program, name, path, options="", cache="writeback"):
        self.program, self.name, self.path = program, name, path
        self.options, self.cache = options, cache

    def argv(self, guest, words):
        argv = self.program.argv(guest, words, mib=512, disk=f"{self.path}{self.options}")
        if argv[0].startswith("qemu"):
            argv += ["-name", "qemu,debug-threads=on"]  # vCPUs are told from others by name
        return [a.replace("cache=writeback", f"cache={self.cache}") for a in argv]


def in_place(place, path, virga, qemus, others):
    """Who runs there. `place` is ram, cached or direct."""
    direct = place == "direct"
    own = ",direct=on" if direct else ""
    disks = [Disk(virga, "virga", path, own)]
    disks += [Disk(virga, f"virga-{name}", path, f"{own},{options}") for name, options in ENGINES.items()]
    disks += [Disk(o, o.name, path, own) for o in others]
    # QEMU has its native engine for direct I/O only.
    disks += [Disk(q, q.name, path, cache="none" if direct else "writeback")
              for q in qemus if direct or q.aio != "native"]
    return disks


def figures(said):
    """(figure, IOPS) of each load that the guest tells of, or [] when it did not come to its end."""
    text = said.decode("latin-1").replace("\r", "")
    if "R3 EXIT 0" not in text:
        return []
    lines = [line.split() for line in text.split("\n") if line.startswith("R3 IO ")]
    fields = [(line[2], dict(f.split("=") for f in line[3:])) for line in lines]
    return [(f"{load} depth {f['depth']}", int(f["iops"])) for load, f in fields]


def look(pid, busy):
    """Note the nanoseconds that each thread has run; vCPUs only poll, and are left out."""
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            at = f"/proc/{pid}/task/{task}"
            name = Path(f"{at}/comm").read_text()
            if not name.startswith(("vcpu", "CPU ")):
                busy[task] = int(Path(f"{at}/schedstat").read_text().split()[0])
    except OSError:
        pass  # it has ended meanwhile


def run(argv):
    """What it said, and the seconds of processor time that its threads took, vCPUs aside."""
    busy = {}
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        end = time.monotonic() + LIMIT_S
        while child.poll() is None and time.monotonic() < end:
            look(child.pid, busy)
            time.sleep(0.02)
        child.kill()
        child.wait()
        out.seek(0)
        return out.read(), sum(busy.values()) / 1e9


def warm(path):
    """Have all of the file in the page cache, and nothing left to be written: hosts may take back what lies idle between
    two programs, and what one program wrote is not to slow the next down."""
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        while f.read(1 << 20):
            pass


def cool(path):
    """Have none of it there: whoever goes past the page cache has to clear the way first."""
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run_one(r, part, disk, guest, words, seconds, load):
    """IOPS by figure."""
    said, busy = run(disk.argv(guest, words))
    share = load.take()
    found = figures(said)
    for figure, iops in found:
        r.add(part, disk.name, figure, iops, "IOPS", share)
    if found:
        requests = seconds * sum(iops for _, iops in found)
        r.add(part, disk.name, "processor time a request", round(busy * 1e6 / requests, 2), "us", share)
    if not found:
        r.fail(f"{part}, {disk.name}: {said[-300:]!r}")
    return dict(found)


def judge(r, part, names, rounds):
    """virga, by itself, beside the best of the others, for each figure: the median over the rounds of both rates in one
    round, for a machine that is slower for a minute is so for all."""
    for figure in [f for p, name, f in list(r.samples) if p == part and name == "virga" and "depth" in f]:
        beside = [[n["virga"][figure] / n[peer][figure] for n in rounds if n.get("virga") and n.get(peer)]
                  for peer in names if not peer.startswith("virga")]
        ratios = [round(statistics.median(each), 3) for each in beside if each]
        r.budget(f"{part}, {figure}: virga / best peer", min(ratios, default=None), 1.0, most=False)


def measure(r, guest, programs, rounds, seconds, write_disk, load_of):
    """`programs`: virga, QEMUs, others. `write_disk(path, MiB)` makes the file the guest expects."""
    virga, qemus, others = programs
    tenths = max(1, round(seconds * 10))
    words = f"blkbench write secs10={tenths}"
    with tempfile.TemporaryDirectory(dir="/dev/shm") as ram, tempfile.TemporaryDirectory(dir="/var/tmp") as slow:
        plans = {}
        for place, directory in (("ram", ram), ("cached", slow), ("direct", slow)):
            path = Path(directory) / "disk.raw"
            if not path.exists():
                write_disk(path, MIB)
            if place == "direct" and not takes_direct(path):
                r.fail("io direct: the file system of /var/tmp does no direct I/O")
                continue
            plans[place] = in_place(place, path, virga, qemus, others)
        os.sync()
        rates = {place: [] for place in plans}
        for n in range(rounds):
            for place, disks in plans.items():
                rates[place].append({})
                first = n % len(disks)  # each comes first, and behind each other, as often
                for disk in disks[first:] + disks[:first]:
                    if place == "cached":
                        warm(disk.path)
                    elif place == "direct":
                        cool(disk.path)
                    rates[place][-1][disk.name] = run_one(r, f"io {place}", disk, guest, words, tenths / 10, load_of())
        for place, disks in plans.items():
            judge(r, f"io {place}", [d.name for d in disks], rates[place])
