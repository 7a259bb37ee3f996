#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure virga beside the peers of this machine, on the same tiny guests.

    bench.py [--rounds N] [--seconds S] [--only PART]... [PART...]

Parts: start grow prefault ram shape api plug save io net vsock console size linux. Peers are Debian's QEMU (microvm and q35), and whatever
PEERS=name:/path,... names: programs with Cloud Hypervisor's command line. $VIRGA names the program
under test, else it is out/bin/virga.

Rounds are interleaved: each runs every program once, so that what the machine does meanwhile hits all
alike. A median is over the half of the rounds that others disturbed least; beside it stands the load that
they made then, in processors. A table goes to stdout,
everything to out/bench.json. A missed budget is marked; the status says only whether measuring worked.
docs/bench.md says what each part measures.
"""
import argparse
import array
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
HERE = TOP / "test/bench"
OUT = TOP / "out"
sys.path.insert(0, str(TOP / "test/e2e"))
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

sys.path.insert(0, str(HERE))

import disks  # noqa: E402
from apibench import part_api  # noqa: E402
from console import part_console  # noqa: E402
from grow import part_grow, qemu_shapes, shapes  # noqa: E402
from prefault import part_prefault  # noqa: E402
from lib.images import Images  # noqa: E402
from lib.linux import guest_command  # noqa: E402
from lib.netns import NetNs, why_no_netns  # noqa: E402
from lib.place import Local, PlaceError  # noqa: E402
from lib.rig import Rig, why_no_rig  # noqa: E402
from netbench import part_net  # noqa: E402
from plugbench import WATCH, part_plug, part_plug_linux  # noqa: E402
from savebench import part_save  # noqa: E402
from vsockbench import part_vsock  # noqa: E402

MIB = 1 << 20
LIMIT_S = 120
# Threads that the kernel makes in a process of its own accord: KVM's and io_uring's workers.
KERNEL_THREADS = ("kvm-nx-lpage", "kvm-pit", "vhost-", "iou-wrk", "iou-sqp")


# ---- what is measured with ----

def say(text):
    print(text, file=sys.stderr, flush=True)


def make(argv, log):
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, cwd=TOP)
    if done.returncode:
        sys.exit(f"bench: {log} does not build:\n{done.stdout[-3000:]}")


def build():
    """The guests and the C programs of this directory. Returns their paths by name."""
    guests = OUT / "bench-guests"
    if not (guests / "build.ninja").exists():
        make(["meson", "setup", guests, TOP], "the guests' build directory")
    make(["ninja", "-C", guests, "test/guest/guest.elf", "test/guest/hello.elf"], "the tiny guest")
    tools = OUT / "bench-tools"
    tools.mkdir(parents=True, exist_ok=True)
    paths = {name: guests / f"test/guest/{name}.elf" for name in ("guest", "hello")}
    for name in ("floor", "firstbyte", "touch", "netpeer", "asker", "vspeer"):
        paths[name] = tools / name
        make(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-static", "-pthread", "-o", paths[name],
              HERE / f"{name}.c"], name)
    return paths


class Load:
    """The processors that others used since the last look, as a share."""

    def __init__(self):
        self.before = self.now()

    @staticmethod
    def now():
        with open("/proc/stat", encoding="ascii") as f:
            ticks = [int(x) for x in f.readline().split()[1:9]]
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        me = resource.getrusage(resource.RUSAGE_SELF)
        busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
        return busy, ours.ru_utime + ours.ru_stime + me.ru_utime + me.ru_stime, time.monotonic()

    def take(self):
        now = self.now()
        busy, own, wall = (b - a for a, b in zip(self.before, now))
        self.before = now
        return round(max(0.0, (busy - own) / max(wall, 1e-3)), 2)


class Results:
    """Samples by (part, program, figure), and what is made of them."""

    def __init__(self):
        self.samples = {}
        self.units = {}
        self.loads = {}
        self.budgets = []
        self.failures = []
        self.notes = []

    def add(self, part, program, figure, value, unit, load=None):
        key = part, program, figure
        self.samples.setdefault(key, []).append(value)
        self.units[key] = unit
        if load is not None:
            self.loads.setdefault(key, []).append(load)

    def kept(self, key):
        """The samples that count: of four and more, the half that others disturbed least."""
        values, loads = self.samples[key], self.loads.get(key)
        if not loads or len(values) < 4:
            return values
        order = sorted(range(len(values)), key=lambda i: loads[i])
        return [values[i] for i in order[:(len(values) + 1) // 2]]

    def median(self, part, program, figure):
        key = part, program, figure
        return statistics.median(self.kept(key)) if key in self.samples else None

    def fail(self, what):
        self.failures.append(what)
        say(f"bench: {what}")

    def budget(self, name, value, limit, most=True):
        """`value` must be at most `limit` (or at least, with most=False); None: not measured."""
        kept = None if value is None else value <= limit if most else value >= limit
        self.budgets.append({"name": name, "value": value, "limit": limit,
                             "kind": "at most" if most else "at least", "kept": kept})

    def ratio(self, name, over, under, limit, most=True):
        value = round(over / under, 3) if over is not None and under else None
        self.budget(name, value, limit, most)

    def show(self):
        part = None
        for (p, program, figure), values in self.samples.items():
            if p != part:
                part = p
                print(f"\n{part:<44} {'median':>12} {'least':>12} {'most':>12} unit      load of others")
            key = p, program, figure
            loads = sorted(self.loads.get(key, []))[:len(self.kept(key))]
            load = f"{statistics.median(loads):.2f}" if loads else ""
            print(f"  {program + ' ' + figure:<42} {self.median(*key):>12.6g}"
                  f" {min(values):>12.6g} {max(values):>12.6g} {self.units[key]:<9} {load}")
        print()
        for note in self.notes:
            print(f"  {note}")
        print(f"\n{'budgets':<60} {'value':>10} {'limit':>18}")
        for b in self.budgets:
            value = "-" if b["value"] is None else f"{b['value']:.6g}"
            mark = "not measured" if b["kept"] is None else "kept" if b["kept"] else "MISSED"
            print(f"  {b['name']:<58} {value:>10} {b['kind']:>9} {b['limit']:>8.6g} {mark}")

    def write(self, path):
        rows = [{"part": p, "program": program, "figure": figure, "unit": self.units[k],
                 "median": self.median(*k), "samples": v, "loads": self.loads.get(k, [])}
                for k, v in self.samples.items() for p, program, figure in [k]]
        path.write_text(json.dumps({"machine": platform.machine(), "kernel": platform.release(),
                                    "processors": os.cpu_count(), "time": int(time.time()),
                                    "results": rows, "budgets": self.budgets,
                                    "failures": self.failures, "notes": self.notes}, indent=1) + "\n", encoding="ascii")


# ---- the programs ----

class Clh:
    """A program with Cloud Hypervisor's command line: virga itself, and peers that PEERS names."""

    def __init__(self, name, path):
        self.name, self.path = name, str(path)

    def argv(self, kernel, words="", mib=128, disk=None, net=None, serial="tty"):
        argv = [self.path, "--kernel", str(kernel), "--cmdline", words or "none",
                "--memory", f"size={mib}M", "--cpus", "boot=1", "--serial", serial, "--console", "off"]
        if disk:
            argv += ["--disk", f"path={disk}"]
        if net:
            argv += ["--net", f"tap={net}"]
        return argv


class Floor:
    name = "floor"

    def __init__(self, path):
        self.path = str(path)

    def argv(self, kernel, words="", mib=128, **_):
        return [self.path, str(kernel), str(mib)]


class Qemu:
    """Debian's QEMU with one machine; `aio` and `iothread` are for its disk."""

    def __init__(self, machine, aio="io_uring", iothread=False):
        self.machine, self.aio, self.iothread = machine, aio, iothread
        self.name = f"qemu-{machine}"
        if machine == "q35" and (aio, iothread) != ("io_uring", True):
            self.name += f"-{aio}" + ("-iothread" if iothread else "")

    def argv(self, kernel, words="", mib=128, disk=None, net=None, serial="stdio"):
        pci = self.machine == "q35"
        argv = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host,-arch-capabilities", "-m", str(mib),
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", serial,
                "-M", "q35" if pci else "microvm,acpi=off", "-kernel", str(kernel)]
        if words:
            argv += ["-append", words]
        if pci:
            argv += ["-bios", "qboot.rom"]
        if disk:
            more = ""
            if self.iothread:
                argv += ["-object", "iothread,id=io0"]
                more = ",iothread=io0"
            argv += ["-drive", f"if=none,id=d0,file={disk},format=raw,cache=writeback,aio={self.aio}",
                     "-device", f"virtio-blk-{'pci' if pci else 'device'},drive=d0{more}"]
        if net:
            argv += ["-netdev", f"tap,id=n0,ifname={net},script=no,downscript=no",
                     "-device", f"virtio-net-{'pci' if pci else 'device'},netdev=n0"]
        return argv


def peers():
    named = os.environ.get("PEERS", "")
    return [Clh(*one.split(":", 1)) for one in named.replace(" ", ",").split(",") if ":" in one]


# ---- the parts ----

def time_start(tools, argv):
    """(ns to the first byte, ns to the end, us of processor time), or the reason why not."""
    try:
        done = subprocess.run([str(tools["firstbyte"]), *argv], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.PIPE, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return None, "takes too long"
    fields = done.stdout.split()
    if done.returncode or len(fields) != 4 or int(fields[0]) < 0 or fields[3] != "0":
        return None, f"said {done.stdout!r} {done.stderr[-500:]!r}"
    return [int(x) for x in fields[:3]], None


def part_start(r, tools, programs, rounds):
    """From exec to the guest's first port write."""
    for n in range(rounds):
        for p in programs:
            load = Load()
            got, why = time_start(tools, p.argv(tools["hello"]))
            if not got:
                if n == 0:
                    r.fail(f"start, {p.name}: {why}")
                continue
            share = load.take()
            r.add("start", p.name, "exec to first write", got[0] / 1e6, "ms", share)
            r.add("start", p.name, "exec to end", got[1] / 1e6, "ms", share)
            r.add("start", p.name, "processor time", got[2] / 1e3, "ms", share)
    figure = "exec to first write"
    ours = r.median("start", "virga", figure)
    r.ratio("start: virga / floor", ours, r.median("start", "floor", figure), 1.5)
    r.ratio("start: virga / qemu-microvm", ours, r.median("start", "qemu-microvm", figure), 0.35)


def part_ram(r, tools, programs, rounds):
    """The same with little and with much RAM. What the host's KVM itself takes is the floor's."""
    small, large = 128, 16384
    for n in range(rounds):
        for p in programs:
            for mib in (small, large):
                load = Load()
                got, why = time_start(tools, p.argv(tools["hello"], mib=mib))
                if got:
                    r.add("ram", p.name, f"{mib} MiB, first write", got[0] / 1e6, "ms", load.take())
                elif n == 0:
                    r.fail(f"ram, {p.name}: {why}")
    extra = {}
    for p in programs:
        few, many = (r.median("ram", p.name, f"{m} MiB, first write") for m in (small, large))
        extra[p.name] = many - few if few is not None and many is not None else None
    if extra.get("virga") is not None and extra.get("floor") is not None:
        r.budget("ram: ms for 16 GiB more, virga less floor",
                 round(extra["virga"] - extra["floor"], 3), 2.0)


def wait_for_file(path, text, process, limit_s=60):
    end = time.monotonic() + limit_s
    while time.monotonic() < end and process.poll() is None:
        if path.exists() and text in path.read_bytes():
            return True
        time.sleep(0.02)
    return False


def part_shape(r, tools, programs, work):
    """Memory over guest RAM, threads and descriptors of a VM at rest: 1 vCPU, 128 MiB, disk, net."""
    disk = work / "small.raw"
    write_disk(disk, 16)
    reason = why_no_netns()
    ns = None if reason else NetNs()
    if reason:
        r.fail(f"shape: measured without a network card: {reason}")
    place = Local()
    try:
        for p in programs:
            serial = work / f"serial-{p.name}"
            if ns:
                ns.make_tap("tap0")
            argv = p.argv(tools["guest"], "blk net park", disk=disk, net="tap0" if ns else None,
                          serial=f"file:{serial}" if isinstance(p, Qemu) else f"file={serial}")
            if ns:
                argv = ["ip", "netns", "exec", ns.name, *argv]
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.PIPE)
            if wait_for_file(serial, b"R3 PARKED", child):
                time.sleep(0.5)
                shape = place.process(child.pid, 128 * 1024)
                r.add("shape", p.name, "memory over guest RAM", shape["rss_kib"], "KiB")
                own = [t for t in shape["threads"] if not t.startswith(KERNEL_THREADS)]
                r.add("shape", p.name, "threads", len(own), "")
                r.add("shape", p.name, "descriptors", len(shape["fds"]), "")
                r.notes.append(f"threads of {p.name}: {' '.join(shape['threads'])}")
            child.send_signal(signal.SIGTERM)
            said = child.communicate(timeout=20)[1].decode(errors="replace")
            if not r.median("shape", p.name, "threads"):
                r.fail(f"shape, {p.name}: the guest does not park: {said[-500:]}")
            if ns and ns.has("tap0"):
                ns.ip("link", "del", "tap0")
    finally:
        if ns:
            ns.close()
    r.budget("memory over guest RAM, KiB", r.median("shape", "virga", "memory over guest RAM"), 2048)
    r.budget("threads", r.median("shape", "virga", "threads"), 5)


def write_disk(path, mib):
    """Each 8-byte word holds its own byte offset, as the guest expects."""
    with open(path, "wb") as f:
        for i in range(mib):
            f.write(array.array("Q", range(i * MIB, (i + 1) * MIB, 8)).tobytes())


def part_linux(r, programs, rounds):
    """From exec to Linux user space, in the nested host, where stock kernels run on any machine."""
    images = Images()
    reason = why_no_rig(images)
    if not reason and not images.guest("6.12-cloud").is_dir():
        reason = "no test kernel: ./dev test rig makes it"
    if reason:
        r.fail(f"linux: {reason}")
        return
    kernel, initrd = (images.guest("6.12-cloud") / name for name in ("vmlinuz", "initramfs.cpio.zst"))
    words = f"console=ttyS0 quiet reboot=t {guest_command('true')}"
    rig = Rig(images)
    try:
        rig.run(f"cp {kernel} /dev/shm/kernel && cp {initrd} /dev/shm/initrd")
        # Linux wants the microvm with its ACPI.
        argvs = {p.name: [*(str(a).replace("acpi=off", "acpi=on")
                            for a in p.argv("/dev/shm/kernel", words, 512)),
                          "-initrd" if isinstance(p, Qemu) else "--initramfs", "/dev/shm/initrd"]
                 for p in programs}
        rig.put("/dev/shm/programs", json.dumps(argvs))
        load = Load()
        said = rig.run(f"python3 -B {HERE / 'userspace.py'} {rounds} < /dev/shm/programs", timeout=3600)
        share = load.take()
        for name, seconds in json.loads(said.output.strip().split("\n")[-1]).items():
            for one in seconds:
                r.add("linux", name, "exec to user space", one, "s", share)
    except PlaceError as e:
        r.fail(f"linux: {e}")
    finally:
        rig.power_off()
    r.ratio("linux: virga / qemu-microvm", r.median("linux", "virga", "exec to user space"),
            r.median("linux", "qemu-microvm", "exec to user space"), 1.0)


def part_changes(r, tools, virga, with_qemu, rounds, work):
    """Changes of a running machine: natively until they are answered, in the nested host until Linux can use them."""
    reason = why_no_netns()
    if reason:
        r.fail(f"plug: measured without a network card: {reason}")
    ns = None if reason else NetNs()
    try:
        part_plug(r, tools, Load, virga, with_qemu, rounds, work, ns)
    finally:
        if ns:
            ns.close()
    images = Images()
    reason = why_no_rig(images)
    if reason:
        r.fail(f"plug: {reason}")
        return
    at = images.guest("6.12-cloud")
    rig = Rig(images)
    try:
        part_plug_linux(r, rig, {"virga": virga.path, **({"qemu-q35": None} if with_qemu else {})}, at / "vmlinuz",
                        at / "initramfs.cpio.zst", f"console=ttyS0 quiet {guest_command(WATCH)}", max(2, rounds // 4))
    except PlaceError as e:
        r.fail(f"plug: {e}")
    finally:
        rig.power_off()


def part_size(r, program):
    size = os.path.getsize(program)
    r.add("size", "virga", "release program", size, "bytes")
    r.budget("release program, bytes", size, 1_500_000)


def main():
    parts = ("start", "grow", "prefault", "ram", "shape", "api", "plug", "save", "io", "net", "vsock", "console", "size", "linux")
    arg = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arg.add_argument("--rounds", type=int, default=9, help="rounds of starts; a third of it for I/O")
    arg.add_argument("--seconds", type=float, default=0.3, help="length of each I/O load")
    arg.add_argument("part", nargs="*", help="these parts only: " + " ".join(parts))
    arg.add_argument("--only", action="append", choices=parts, help="the same; may be repeated")
    args = arg.parse_args()
    if unknown := set(args.part) - set(parts):
        arg.error(f"there is no part {' '.join(unknown)}")
    wanted = [*args.part, *(args.only or [])] or parts
    virga = Clh("virga", os.environ.get("VIRGA") or OUT / "bin/virga")
    if not os.access(virga.path, os.X_OK):
        sys.exit(f"bench: there is no {virga.path}: run ./dev build, or name the program in $VIRGA")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        sys.exit("bench: /dev/kvm is not to be had; nothing can be measured")
    say("bench: building the guests and the floor program")
    tools = build()
    floor, others = Floor(tools["floor"]), peers()
    micro, q35 = Qemu("microvm"), Qemu("q35", "io_uring", True)
    if not shutil.which("qemu-system-x86_64"):
        say("bench: QEMU is not installed; its columns are missing")
        qemu, ioqemu = [], []
    else:
        qemu = [micro, q35]
        ioqemu = [q35, Qemu("q35"), *(Qemu("q35", aio, True) for aio in ("threads", "native"))]
    r = Results()
    with tempfile.TemporaryDirectory(prefix="virga-bench-", dir="/dev/shm") as directory:
        work = Path(directory)
        runs = {"start": lambda: part_start(r, tools, [floor, virga, *qemu, *others], args.rounds),
                "grow": lambda: part_grow(r, lambda argv: time_start(tools, argv), Load, tools["hello"],
                                          [(virga, shapes), *((p, qemu_shapes) for p in qemu[1:])],
                                          max(3, args.rounds // 2), work),
                "prefault": lambda: part_prefault(r, lambda argv: time_start(tools, argv), Load, tools["touch"],
                                                  tools["hello"], virga, max(3, args.rounds // 2)),
                "ram": lambda: part_ram(r, tools, [floor, virga, *others], max(3, args.rounds // 2)),
                "shape": lambda: part_shape(r, tools, [virga, *qemu, *others], work),
                "api": lambda: part_api(r, tools, Load, virga, qemu, args.rounds, work),
                "plug": lambda: part_changes(r, tools, virga, bool(qemu), max(3, args.rounds // 2), work),
                "save": lambda: part_save(r, tools, Load, virga, bool(qemu), max(3, args.rounds // 2), work),
                "io": lambda: disks.measure(r, tools["guest"], (virga, ioqemu, others),
                                            max(1, args.rounds // 3), args.seconds, write_disk, Load),
                "console": lambda: part_console(r, Load, tools["guest"], [virga, *ioqemu[:1], *others],
                                                max(3, args.rounds // 2), work),
                "net": lambda: part_net(r, tools, [virga, *ioqemu[:1], *others],
                                        max(1, args.rounds // 3), work, args.seconds, Load),
                "vsock": lambda: part_vsock(r, Load, tools, [virga, *others], max(3, args.rounds // 2), work),
                "size": lambda: part_size(r, virga.path),
                "linux": lambda: part_linux(r, [virga, *qemu[:1]], max(2, args.rounds // 3))}
        for part in wanted:
            say(f"bench: {part}")
            runs[part]()
    r.show()
    r.write(OUT / "bench.json")
    print(f"\neverything is in {OUT / 'bench.json'}; docs/bench.md says what it means")


if __name__ == "__main__":
    main()
