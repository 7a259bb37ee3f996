# SPDX-License-Identifier: Apache-2.0
"""Part `save`: writing a VM down and going on from there. A module of bench.py, which runs it.

The guest writes a byte to its serial port every tenth of a millisecond, so that its first byte in another process tells
when it goes on. A snapshot's speed is held against `dd` with as many bytes on the same file system, restoring by `map`
against a plain start, and both beside QEMU's migration to a file and back.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from plugbench import Qemu as QemuMachine
from plugbench import Refused, Virga, timed

MIB = 1 << 20
# RAM, and what the guest has written of it.
SIZES = ((128, 32), (1024, 768), (8192, 768))
CLONES = 32
CLONE_MIB = 1024
CLONE_OWN_KIB = 3072
MORE_MS = 3
PAUSE_MS = 5
DD_SHARE = 0.8
LIMIT_S = 120
START_S = 30
OURS_A_ROUND = 4  # starts and restores


class Saved(Virga):
    """A machine of ours that is written down."""

    def __init__(self, program, path, kernel, words, mib, cpus=1, more=()):
        super().__init__(program, path, kernel, words, cpus, more)
        self.argv = [program, "--api-socket", f"path={path}", "--kernel", str(kernel), "--cmdline", words, "--cpus",
                     f"boot={cpus}", "--memory", f"size={mib}M", "--serial", "tty", "--console", "off", *map(str, more)]

    def begin(self):
        """Its words go to a file, which is read in place of its serial port's."""
        with open(self.said, "wb") as out:
            self.child = subprocess.Popen([str(a) for a in self.argv], stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=subprocess.PIPE)
        self.sock = self.connect()

    def connect(self):
        end = time.monotonic() + LIMIT_S
        while True:
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(LIMIT_S)
            try:
                s.connect(self.path)
                return s
            except OSError:
                s.close()
                if self.child.poll() is not None or time.monotonic() > end:
                    raise Refused(self.child.stderr.read().decode(errors="replace")[-500:]) from None
                time.sleep(0.005)

    def snapshot(self, place):
        self.ask("snapshot", {"destination_url": f"file://{place}"})


class SavedQemu(QemuMachine):
    """QEMU's q35, whose state goes through a program into a file: not every version can write one by itself."""

    def __init__(self, path, kernel, words, mib):
        super().__init__(path, kernel, words)
        self.path, self.said = str(path), Path(f"{path}.said")
        self.argv = [*qemu_argv(kernel, words, mib), "-qmp", f"unix:{path},server=on,wait=off"]

    begin_child = Saved.begin
    connect = Saved.connect

    def begin(self):
        self.begin_child()
        self.lines = self.sock.makefile("r")
        self.lines.readline()
        self.do("qmp_capabilities")
        self.do("migrate-set-parameters", **{"max-bandwidth": 1 << 40})

    def snapshot(self, place):
        """Its pages, until the disk has them, as ours. It stops by itself at the end, or what goes on would stand still."""
        self.do("migrate", uri=f"exec:cat > {place}/state && sync {place}/state")
        while (said := self.do("query-migrate"))["status"] != "completed":
            if said["status"] in ("failed", "cancelled"):
                raise Refused(f"migrate: {said}")
            time.sleep(0.0005)


def qemu_argv(kernel, words, mib):
    return ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host,-arch-capabilities", "-m", str(mib), "-M", "q35", "-nodefaults",
            "-no-user-config", "-display", "none", "-serial", "stdio", "-kernel", str(kernel), "-append", words, "-bios", "qboot.rom"]


def beats(machine):
    """Its guest has written to its memory, and goes on."""
    end = time.monotonic() + LIMIT_S
    while b"R3 BEATS" not in machine.said.read_bytes()[:65536]:
        if time.monotonic() > end or machine.child.poll() is not None:
            raise Refused("the guest does not beat")
        time.sleep(0.002)


def first_byte(tools, argv):
    """Milliseconds from exec to the first byte on standard output; the program is ended then."""
    child = subprocess.Popen([str(tools["firstbyte"]), "-k", *map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, start_new_session=True)
    try:
        said, words = child.communicate(timeout=START_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise Refused("says nothing") from None
    fields = said.split()
    if child.returncode or len(fields) != 4 or int(fields[0]) < 0:
        raise Refused(words[-500:])
    return int(fields[0]) / 1e6


def own_kib(pid):
    """What a process alone has: pages that it wrote."""
    total = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        for line in f:
            name, _, rest = line.partition(":")
            if rest.strip().endswith("kB"):
                total[name] = int(rest.split()[0])
    return total["Private_Dirty"], total["Rss"], total["Pss"]


def dd(place, count):
    """Milliseconds that so many MiB take dd, until the disk has them."""
    path = f"{place}/dd"
    took = timed(lambda: subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={count}", "conv=fsync"],
                                        stderr=subprocess.DEVNULL, check=True))
    os.unlink(path)
    return took


def restore_argv(program, place, *more):
    return [program, "--restore", f"source_url=file://{place},memory_restore_mode=map,resume=on", *more]


class Part:
    """What all the steps share."""

    def __init__(self, r, tools, load_type, virga, with_qemu, rounds, work):
        self.r, self.tools, self.load_type, self.virga = r, tools, load_type, virga
        self.with_qemu, self.rounds, self.work = with_qemu, rounds, work
        self.path = work / "save"

    def note(self, name, figure, value, unit, load):
        self.r.add("save", name, figure, value, unit, load)

    def fresh(self, place):
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(place)
        return place

    def write(self, name, machine, mib, touched, place):
        """Snapshots of one machine, each beside a dd."""
        load = self.load_type()
        machine.begin()
        try:
            beats(machine)
            if name == "virga":
                machine.pause()
            for _ in range(3):
                load.take()
                took = timed(machine.snapshot, self.fresh(place))
                share = load.take()
                self.note(name, f"{mib} MiB, snapshot", took, "ms", share)
                if name != "virga":
                    break  # one that has migrated has nothing left to write
                held = sum(p.stat().st_blocks for p in Path(place).iterdir()) * 512 / MIB
                self.note(name, f"{mib} MiB, snapshot's speed", held / took * 1000, "MiB/s", share)
                alone = dd(place, round(held))
                self.note("dd", f"{mib} MiB, as much", alone, "ms", load.take())
                self.note(name, f"{mib} MiB, snapshot / dd", took * round(held) / held / alone, "", share)
        finally:
            machine.end()

    def starts(self, mib, place, others):
        """Plain starts and restores by turns; ours, some milliseconds each, several times as often as the others'."""
        plain = self.virga.argv(self.tools["hello"], mib=mib)
        ours = {("virga", "plain start"): plain, ("virga", "restore by map"): restore_argv(self.virga.path, place)}
        failed = set()
        for n in range(self.rounds):
            for (name, figure), argv in [*ours.items()] * OURS_A_ROUND + [*others.items()]:
                if (name, figure) in failed:
                    continue
                load = self.load_type()
                try:
                    self.note(name, f"{mib} MiB, {figure}", first_byte(self.tools, argv), "ms", load.take())
                except Refused as e:
                    if n == 0:
                        self.r.fail(f"save, {name}, {mib} MiB, {figure}: {e}")
                        failed.add((name, figure))

    def memory(self, mib, place):
        child = subprocess.Popen(restore_argv(self.virga.path, place), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        own, rss, _ = own_kib(child.pid)
        self.note("virga", f"{mib} MiB, of its own after a restore", own, "KiB", None)
        self.note("virga", f"{mib} MiB, resident after a restore", rss, "KiB", None)
        child.kill()
        child.communicate()

    def size(self, mib, touched, place):
        words = f"touch={touched} beat"
        self.write("virga", Saved(self.virga.path, self.path, self.tools["guest"], words, mib), mib, touched, place / "virga")
        others = {}
        if self.with_qemu:
            self.write("qemu-q35", SavedQemu(self.path, self.tools["guest"], words, mib), mib, touched, place / "qemu")
            others["qemu-q35", "restore"] = [*qemu_argv(self.tools["guest"], words, mib), "-incoming",
                                             f"exec:cat {place}/qemu/state"]
        # what dd left in memory is not to be written meanwhile
        os.sync()
        self.starts(mib, place / "virga", others)
        self.memory(mib, place / "virga")
        shutil.rmtree(place)

    def clones(self, place):
        """Many of one snapshot at once: what each has of its own before it writes."""
        machine = Saved(self.virga.path, self.path, self.tools["guest"], "touch=768 park", CLONE_MIB)
        machine.begin()
        try:
            end = time.monotonic() + LIMIT_S
            while b"PARKED" not in machine.said.read_bytes() and time.monotonic() < end:
                time.sleep(0.005)
            machine.pause()
            machine.snapshot(self.fresh(place))
        finally:
            machine.end()
        load, argv = self.load_type(), restore_argv(self.virga.path, place)
        children = [subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                    for _ in range(CLONES)]
        try:
            time.sleep(3)
            share = load.take()
            for child in children:
                if child.poll() is not None:
                    raise Refused(f"a clone ends: {child.stderr.read().decode(errors='replace')[-300:]}")
                own, rss, pss = own_kib(child.pid)
                self.note("virga", f"{CLONES} clones, of its own", own, "KiB", share)
                self.note("virga", f"{CLONES} clones, resident", rss, "KiB", share)
                self.note("virga", f"{CLONES} clones, its share of all", pss, "KiB", share)
        finally:
            for child in children:
                child.send_signal(signal.SIGKILL)
            for child in children:
                child.communicate()
            shutil.rmtree(place)

    def device_state(self, place):
        """Everything but memory, in memory: a pause, the files, and on."""
        disk = self.work / "save.raw"
        disk.write_bytes(bytes(MIB))
        more = ["--disk", f"path={disk}", "--balloon", "size=0", "--vsock", f"cid=3,socket={self.path}.vsock", "--watchdog"]
        machine = Saved(self.virga.path, self.path, self.tools["guest"], "smp park", 128, 4, more)
        machine.begin()
        try:
            end = time.monotonic() + LIMIT_S
            while b"PARKED" not in machine.said.read_bytes() and time.monotonic() < end:
                time.sleep(0.005)
            for _ in range(self.rounds):
                load = self.load_type()
                paused = timed(machine.pause)
                wrote = timed(machine.snapshot, self.fresh(place))
                on = timed(machine.resume)
                share = load.take()
                for figure, ms in (("pause", paused), ("state written", wrote), ("resume", on), ("stands still", paused + wrote + on)):
                    self.note("virga", f"4 vCPUs, {figure}", ms, "ms", share)
        finally:
            machine.end()
            shutil.rmtree(place, ignore_errors=True)


def part_save(r, tools, load_type, virga, with_qemu, rounds, work):
    p = Part(r, tools, load_type, virga, with_qemu, rounds, work)
    with tempfile.TemporaryDirectory(prefix="virga-save-", dir="/var/tmp") as directory:
        place = Path(directory)
        for mib, touched in SIZES:
            try:
                p.size(mib, touched, place / "size")
            except (Refused, OSError, json.JSONDecodeError, subprocess.SubprocessError) as e:
                r.fail(f"save, {mib} MiB: {e}")
        for step, where in ((p.clones, place / "clones"), (p.device_state, work / "state")):
            try:
                step(where)
            except (Refused, OSError) as e:
                r.fail(f"save, {step.__name__}: {e}")
    for mib, _ in SIZES:
        on, plain = (r.median("save", "virga", f"{mib} MiB, {figure}") for figure in ("restore by map", "plain start"))
        r.budget(f"save: ms of a restore by map beyond a start, {mib} MiB",
                 None if on is None or plain is None else round(on - plain, 3), MORE_MS)
    r.ratio("save: 1024 MiB, dd / snapshot", 1.0, r.median("save", "virga", "1024 MiB, snapshot / dd"), DD_SHARE, most=False)
    worst = r.samples.get(("save", "virga", f"{CLONES} clones, of its own"))
    r.budget(f"save: KiB of its own, the largest of {CLONES} clones", max(worst) if worst else None, CLONE_OWN_KIB)
    r.budget("save: ms, standing still for the state of devices, 4 vCPUs", r.median("save", "virga", "4 vCPUs, stands still"), PAUSE_MS)
