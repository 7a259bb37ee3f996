# SPDX-License-Identifier: Apache-2.0
"""Part `plug`: how long it takes to change a running machine. A module of bench.py, which runs it.

Natively, until the request is answered: a disk, a card, a vCPU, memory; and a pause of 64 vCPUs. In the nested host, until Linux
can use what has come. Beside it QEMU's QMP (`device_add` and what goes before it, `stop`).
"""
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MIB = 1 << 20
ANSWER_MS = 5
PAUSES = 9
LIMIT_S = 60
SETTLE_S = 0.05  # for the kernel may still be at the last change: a memory slot waits some ms for a doorbell's grace period
SEEN_S = 20  # what Linux has not seen by then it will not see
VCPUS_TO_PAUSE = 64


class Refused(RuntimeError):
    pass


class Virga:
    """A machine of ours, and its API."""

    def __init__(self, program, path, kernel, words, cpus=1, more=()):
        self.argv = [program, "--api-socket", f"path={path}", "--kernel", str(kernel), "--cmdline", words, "--cpus",
                     f"boot={cpus},max={max(cpus, 4)}", "--memory", "size=256M,hotplug_size=1G", "--serial", f"file={path}.said",
                     "--console", "off", *more]
        self.path, self.said = str(path), Path(f"{path}.said")

    def begin(self):
        self.child = subprocess.Popen([str(a) for a in self.argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE)
        self.sock = connect(self.path, self.child)

    def ask(self, what, body=None):
        text = json.dumps(body).encode() if body is not None else b""
        self.sock.sendall(f"PUT /api/v1/vm.{what} HTTP/1.1\r\nHost:\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
        said = b""
        while b"\r\n\r\n" not in said:
            more = self.sock.recv(65536)
            if not more:
                raise Refused(f"{what}: the connection ends")
            said += more
        if not said.startswith(b"HTTP/1.1 2"):
            raise Refused(f"{what}: {said.decode(errors='replace')}")

    def disk(self, n, path):
        self.ask("add-disk", {"path": str(path), "id": f"d{n}"})

    def card(self, n, tap):
        self.ask("add-net", {"tap": tap, "id": f"n{n}"})

    def vcpu(self, n):
        self.ask("resize", {"desired_vcpus": n + 1})

    def memory(self, n):
        self.ask("resize", {"desired_ram": (256 + 128 * n) * MIB})

    def pause(self):
        self.ask("pause")

    def resume(self):
        self.ask("resume")

    def end(self):
        self.sock.close()
        self.child.terminate()
        self.child.communicate(timeout=LIMIT_S)
        for left in (self.path, f"{self.path}.lock", str(self.said)):
            if os.path.exists(left):
                os.unlink(left)


class Qemu(Virga):
    """QEMU's q35 with root ports for what comes."""

    def __init__(self, path, kernel, words, cpus=1, initrd=None):
        self.argv = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host,-arch-capabilities", "-m", "256,slots=8,maxmem=2G",
                     "-smp", f"{cpus},maxcpus={max(cpus, 4)}", "-M", "q35", "-nodefaults", "-no-user-config", "-display", "none",
                     "-serial", f"file:{path}.said", "-kernel", str(kernel), "-append", words,
                     "-qmp", f"unix:{path},server=on,wait=off"]
        for n in range(4):
            self.argv += ["-device", f"pcie-root-port,id=rp{n},chassis={n + 1},slot={n + 1}"]
        self.argv += ["-initrd", str(initrd)] if initrd else ["-bios", "qboot.rom"]
        self.path, self.said = str(path), Path(f"{path}.said")

    def begin(self):
        super().begin()
        self.lines = self.sock.makefile("r")
        self.lines.readline()
        self.do("qmp_capabilities")

    def do(self, command, **arguments):
        self.sock.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            line = self.lines.readline()
            if not line:
                raise Refused(f"{command}: the connection ends")
            said = json.loads(line)
            if "error" in said:
                raise Refused(f"{command}: {said['error']['desc']}")
            if "return" in said:
                return said["return"]

    def disk(self, n, path):
        self.do("blockdev-add", **{"driver": "raw", "node-name": f"b{n}", "file": {"driver": "file", "filename": str(path)}})
        self.do("device_add", driver="virtio-blk-pci", drive=f"b{n}", id=f"d{n}", bus="rp0")

    def card(self, n, tap):
        self.do("netdev_add", type="tap", id=f"t{n}", ifname=tap, script="no", downscript="no")
        self.do("device_add", driver="virtio-net-pci", netdev=f"t{n}", id=f"n{n}", bus="rp1")

    def vcpu(self, n):
        free = [c for c in self.do("query-hotpluggable-cpus") if "qom-path" not in c]
        free = min(free, key=lambda c: c["props"].get("core-id", 0) + 100 * c["props"].get("socket-id", 0))
        self.do("device_add", driver=free["type"], id=f"c{n}", **free["props"])

    def memory(self, n):
        self.do("object-add", **{"qom-type": "memory-backend-ram", "id": f"m{n}", "size": 128 * MIB})
        self.do("device_add", driver="pc-dimm", id=f"dimm{n}", memdev=f"m{n}")

    def pause(self):
        self.do("stop")

    def resume(self):
        self.do("cont")


def connect(path, child):
    end = time.monotonic() + LIMIT_S
    while True:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(LIMIT_S)
        try:
            s.connect(path)
            return s
        except OSError:
            s.close()
            if child.poll() is not None:
                raise Refused(child.stderr.read().decode(errors="replace")[-500:]) from None
            if time.monotonic() > end:
                raise
            time.sleep(0.005)


def until(machine, text, limit_s=LIMIT_S):
    end = time.monotonic() + limit_s
    while not machine.said.exists() or text not in machine.said.read_text(errors="replace"):
        if time.monotonic() > end or machine.child.poll() is not None:
            raise Refused(f"the guest says no {text}")
        time.sleep(0.001)


def timed(fn, *args):
    start = time.monotonic()
    fn(*args)
    return (time.monotonic() - start) * 1000


def changes(disk, tap):
    """name: what a machine is asked, and the guest's word for it"""
    return {"disk": (("disk", 1, disk), "HAS disk"), "card": (("card", 1, tap), "HAS card") if tap else None,
            "vCPU": (("vcpu", 1), "HAS vcpu"), "128 MiB": (("memory", 1), "HAS memory")}


def one_machine(machine, disk, tap, report, seen):
    """Each change once; report(figure, milliseconds)."""
    for name, change in changes(disk, tap).items():
        if not change:
            continue
        (verb, *args), word = change
        time.sleep(SETTLE_S)
        start = time.monotonic()
        try:
            report(f"{name}, until answered", timed(getattr(machine, verb), *args))
            if seen:
                until(machine, word, SEEN_S)
                report(f"{name}, until Linux has it", (time.monotonic() - start) * 1000)
        except Refused as e:
            report(f"{name}: {e}", None)
            if seen:
                return  # it waits for this before it looks for the next


# ---- natively ----

def part_plug(r, tools, load_type, virga, with_qemu, rounds, work, netns):
    disk = work / "plug.raw"
    disk.write_bytes(bytes(MIB))
    path = work / "plug"
    makers = {virga.name: lambda words, cpus: Virga(virga.path, path, tools["guest"], words, cpus)}
    if with_qemu:
        makers["qemu-q35"] = lambda words, cpus: Qemu(path, tools["guest"], words, cpus)
    if netns:
        netns.make_tap("tap0")
    for _ in range(rounds):
        for name, make in makers.items():
            load, took = load_type(), []
            machine = make("park", 1)
            if netns:
                machine.argv = ["ip", "netns", "exec", netns.name, *machine.argv]
            machine.begin()
            try:
                until(machine, "PARKED")
                one_machine(machine, disk, "tap0" if netns else None, lambda *one: took.append(one), False)
            finally:
                machine.end()
            note(r, name, took, load.take())
    for name, make in makers.items():
        load, took = load_type(), []
        machine = make("smp park", VCPUS_TO_PAUSE)
        machine.begin()
        try:
            until(machine, "PARKED")
            for _ in range(PAUSES):
                took.append((f"pause of {VCPUS_TO_PAUSE} vCPUs", timed(machine.pause)))
                machine.resume()
                time.sleep(0.05)
        except Refused as e:
            took.append((f"pause: {e}", None))
        finally:
            machine.end()
        share = load.take()
        note(r, name, took, share)
    for figure in ("disk, until answered", "card, until answered", "vCPU, until answered", "128 MiB, until answered",
                   f"pause of {VCPUS_TO_PAUSE} vCPUs"):
        r.budget(f"plug: ms, {figure}", r.median("plug", virga.name, figure), ANSWER_MS)


def note(r, name, took, share):
    for figure, ms in took:
        if ms is None:
            r.fail(f"plug, {name}: {figure}")
        else:
            r.add("plug", name, figure, ms, "ms", share)


# ---- in the nested host ----

# Looks without a rest, so that what it says is when it could have been used; a card and a disk need their drivers.
WATCH = """
echo READY
for what in disk card vcpu memory; do
	case $what in
		disk) test='-e /sys/block/vda/size' ;;
		card) test='-e /sys/class/net/eth0' ;;
		vcpu) test='-e /sys/devices/system/cpu/cpu1/online' ;;
		memory) test='' ;;
	esac
	if [ $what = memory ]; then
		was=$(ls -d /sys/devices/system/memory/memory* | wc -l)
		while [ $(ls -d /sys/devices/system/memory/memory* | wc -l) = $was ]; do :; done
	else
		while [ ! $test ]; do :; done
	fi
	[ $what != vcpu ] || [ "$(cat /sys/devices/system/cpu/cpu1/online)" = 1 ] || echo 1 > /sys/devices/system/cpu/cpu1/online
	echo HAS $what
done
sleep 1000
"""


def in_rig():
    """Runs there: {program: [[figure, milliseconds], ...]} as JSON on the last line of output."""
    job = json.load(sys.stdin)
    told = {}
    for _ in range(job["rounds"]):
        for name in job["programs"]:
            took = told.setdefault(name, [])
            path = "/dev/shm/plug"
            if name.startswith("qemu"):
                machine = Qemu(path, job["kernel"], job["words"], 1, job["initrd"])
            else:
                machine = Virga(job["programs"][name], path, job["kernel"], job["words"], 1, ["--initramfs", job["initrd"]])
            subprocess.run("ip tuntap add tap0 mode tap; ip link set tap0 up", shell=True, check=False, capture_output=True)
            Path("/dev/shm/plug.raw").write_bytes(bytes(MIB))
            try:
                machine.begin()
                until(machine, "READY", 2 * LIMIT_S)
                one_machine(machine, "/dev/shm/plug.raw", "tap0", lambda *one: took.append(one), True)
            except Refused as e:
                took.append((str(e), None))
            finally:
                machine.end()
    print(json.dumps(told))


def part_plug_linux(r, rig, programs, kernel, initrd, words, rounds):
    """`programs`: {name: path or None}."""
    print("bench: plug: the nested host starts", file=sys.stderr, flush=True)
    rig.run(f"cp {kernel} /dev/shm/kernel && cp {initrd} /dev/shm/initrd")
    print(f"bench: plug: {rounds * len(programs)} Linuxes are given devices in it", file=sys.stderr, flush=True)
    rig.put("/dev/shm/job", json.dumps({"programs": programs, "rounds": rounds, "kernel": "/dev/shm/kernel",
                                        "initrd": "/dev/shm/initrd", "words": words}))
    said = rig.run(f"python3 -B {HERE / 'plugbench.py'} < /dev/shm/job", timeout=1800)
    for name, took in json.loads(said.output.strip().split("\n")[-1]).items():
        for figure, ms in took:
            if ms is None:
                r.fail(f"plug in the nested host, {name}: {figure}")
            else:
                r.add("plug, nested", name, figure, ms, "ms")
    for figure in ("disk", "card", "vCPU", "128 MiB"):
        r.ratio(f"plug: {figure} until Linux has it, virga / qemu-q35",
                r.median("plug, nested", "virga", f"{figure}, until Linux has it"),
                r.median("plug, nested", "qemu-q35", f"{figure}, until Linux has it"), 1.0)


if __name__ == "__main__":
    in_rig()
