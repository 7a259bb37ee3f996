# SPDX-License-Identifier: Apache-2.0
"""Part `api`: how soon the control socket answers, and how long an answer takes. A module of bench.py, which runs it.

A start without a VM, until the first answer; then vm.info of a guest at rest, and while another one boots whose memory is
touched beforehand. Beside it QEMU's QMP with query-status.
"""
import json
import os
import socket
import statistics
import subprocess
import time

ASKS = 1000
ASKS_AT_ONCE = 50
MIB = 1 << 20
PREFAULT_MIB = 8192
LIMIT_S = 120


def qmp_argv(program, kernel, path, words="park"):
    return [*program.argv(kernel, words), "-qmp", f"unix:{path},server=on,wait=off"]


def asked(tools, kind, path, count):
    """Milliseconds of so many answers."""
    done = subprocess.run([str(tools["asker"]), "ask", kind, str(path), str(count)], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.PIPE, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    return [int(line) / 1e6 for line in done.stdout.split()]


def note(r, name, figure, took, share):
    took = sorted(took)
    r.add("api", name, f"{figure}, half of all within", statistics.median(took), "ms", share)
    r.add("api", name, f"{figure}, 99 of 100 within", took[len(took) * 99 // 100], "ms", share)


def put(path, what, body=None):
    """A request whose answer is still to come."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(LIMIT_S)
    s.connect(str(path))
    text = json.dumps(body).encode() if body else b""
    s.sendall(f"PUT /api/v1/{what} HTTP/1.1\r\nHost:\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
    return s


def done(s):
    said = s.recv(4096)
    if not said.startswith(b"HTTP/1.1 204"):
        raise RuntimeError(said.decode(errors="replace"))
    s.close()


def measure_start(r, tools, load_type, name, kind, path, argv):
    load = load_type()
    got = subprocess.run([str(tools["asker"]), "start", kind, str(path), *argv], stdout=subprocess.PIPE, text=True,
                         stderr=subprocess.PIPE, timeout=LIMIT_S, check=False)
    for left in (path, f"{path}.lock"):
        if os.path.exists(left):
            os.unlink(left)
    if got.returncode:
        raise RuntimeError(got.stderr[-500:])
    wall, used = (int(x) / 1e6 for x in got.stdout.split())
    share = load.take()
    r.add("api", name, "exec to first answer", wall, "ms", share)
    r.add("api", name, "processor time until then", used, "ms", share)


def wait_for(path):
    end = time.monotonic() + 20
    while not os.path.exists(path) and time.monotonic() < end:
        time.sleep(0.01)


class Served:
    """A program that is ended when we are done."""

    def __init__(self, argv, path):
        self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.path = path

    def __enter__(self):
        wait_for(self.path)
        time.sleep(0.3)
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.communicate(timeout=LIMIT_S)
        if os.path.exists(self.path):
            os.unlink(self.path)


def config(guest, mib, prefault):
    return {"memory": {"size": mib * MIB, "prefault": prefault}, "cpus": {"boot_vcpus": 1, "max_vcpus": 1},
            "payload": {"kernel": str(guest), "cmdline": "park"}, "serial": {"mode": "Null"}, "console": {"mode": "Off"}}


def prefault_mib():
    """8 GiB, or what is there."""
    with open("/proc/meminfo", encoding="ascii") as f:
        free = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable:")) // 1024
    return min(PREFAULT_MIB, free * 3 // 4)


def measure_virga(r, tools, load_type, virga, path):
    with Served([virga.path, "--api-socket", f"path={path}"], path):
        done(put(path, "vm.create", config(tools["guest"], 128, False)))
        done(put(path, "vm.boot"))
        load = load_type()
        note(r, virga.name, "vm.info of a guest at rest", asked(tools, "http", path, ASKS), load.take())
        done(put(path, "vm.delete"))
        mib = prefault_mib()
        done(put(path, "vm.create", config(tools["guest"], mib, True)))
        load = load_type()
        boot, took, from_s = put(path, "vm.boot"), [], time.monotonic()
        boot.setblocking(False)
        while True:
            took += asked(tools, "http", path, ASKS_AT_ONCE)
            try:
                done(boot)
                break
            except BlockingIOError:
                pass
        r.add("api", virga.name, f"boot of {mib} MiB, prefaulted", time.monotonic() - from_s, "s")
        note(r, virga.name, "vm.info during such a boot", took, load.take())
        done(put(path, "vm.delete"))


def part_api(r, tools, load_type, virga, qemu, rounds, work):
    """`qemu` are peers with QMP."""
    path = work / "api"
    try:
        for _ in range(rounds):
            measure_start(r, tools, load_type, virga.name, "http", path, [virga.path, "--api-socket", f"path={path}"])
            for p in qemu:
                # nor does its guest run
                measure_start(r, tools, load_type, p.name, "qmp", path, [*qmp_argv(p, tools["guest"], path), "-S"])
        for _ in range(max(3, rounds // 3)):
            measure_virga(r, tools, load_type, virga, path)
            for p in qemu:
                with Served(qmp_argv(p, tools["guest"], path), path):
                    load = load_type()
                    note(r, p.name, "query-status of a guest at rest", asked(tools, "qmp", path, ASKS), load.take())
    except RuntimeError as e:
        r.fail(f"api: {e}")
    r.budget("api: ms of processor until the first answer", r.median("api", virga.name, "processor time until then"), 2)
    for figure in ("vm.info of a guest at rest", "vm.info during such a boot"):
        r.budget(f"api: ms of {figure}, half", r.median("api", virga.name, f"{figure}, half of all within"), 0.2)
        r.budget(f"api: ms of {figure}, 99 of 100", r.median("api", virga.name, f"{figure}, 99 of 100 within"), 1)
