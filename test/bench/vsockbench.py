# SPDX-License-Identifier: Apache-2.0
"""Part `vsock`: streams both ways between the tiny guest and a program of the host, and 64 bytes to and fro. A module of
bench.py, which runs it.

Beside it stand two processes with nothing but a unix socket between them: test/bench/vspeer.c's `pair`, the same blocks, the
same pattern made and looked at on each side. No vsock can do better, for its last step is that socket.
"""
import re
import subprocess

MIB, TIMES = 512, 20000
LIMIT_S = 300
FIGURES = [("guest to host", f"vsbulk tx={MIB}", ("sink",), 1024, r"R3 VSIO tx .* mibs=(\d+)", "MiB/s"),
           ("host to guest", f"vsbulk rx={MIB}", ("source", MIB), 1025, r"R3 VSIO rx .* mibs=(\d+) wrong=0", "MiB/s"),
           ("host to guest, 4 KiB buffers", f"vsbulk rx={MIB // 4} rxbytes=4096", ("source", MIB // 4), 1025,
            r"R3 VSIO rx .* mibs=(\d+) wrong=0", "MiB/s"),
           ("there and back", f"vsping={TIMES}", ("echo",), 1026, r"R3 VSPING times=\d+ ns=(\d+)", "us")]


def measure(tools, program, work, figure):
    """The number that the guest tells, or None and what was said."""
    _, words, (way, *more), port, pattern, unit = figure
    path = f"{work}/vsock"
    peer = subprocess.Popen([tools["vspeer"], way, f"{path}_{port}", *map(str, more)], stdout=subprocess.PIPE)
    try:
        peer.stdout.readline()
        argv = [*program.argv(tools["guest"], words), "--vsock", f"cid=3,socket={path}"]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=LIMIT_S)
        said = done.stdout.decode("latin-1")
    except subprocess.TimeoutExpired:
        said = "takes too long"
    finally:
        peer.kill()
        peer.wait()
        peer.stdout.close()
    found = re.search(pattern, said)
    return (int(found.group(1)) / (1000 if unit == "us" else 1), "") if found else (None, said)


def part_vsock(r, load_type, tools, programs, rounds, work):
    for n in range(rounds):
        load = load_type()
        said = subprocess.run([tools["vspeer"], "pair", str(MIB), str(TIMES)], stdout=subprocess.PIPE, text=True,
                              timeout=LIMIT_S).stdout
        share = load.take()
        r.add("vsock", "socket pair", "one way", int(re.search(r"mibs=(\d+)", said).group(1)), "MiB/s", share)
        r.add("vsock", "socket pair", "there and back", int(re.search(r"ns=(\d+)", said).group(1)) / 1000, "us", share)
        for figure in FIGURES:
            for p in programs:
                load.take()
                value, words = measure(tools, p, work, figure)
                if value is not None:
                    r.add("vsock", p.name, figure[0], value, figure[-1], load.take())
                elif n == 0:
                    r.fail(f"vsock, {p.name}, {figure[0]}: said {words[-300:]!r}")
    bare, ours = r.median("vsock", "socket pair", "one way"), programs[0].name
    for name in ("guest to host", "host to guest"):
        r.ratio(f"vsock: {name}, virga / a socket pair", r.median("vsock", ours, name), bare, 0.5, most=False)
    r.ratio("vsock: there and back, virga / a socket pair", r.median("vsock", ours, "there and back"),
            r.median("vsock", "socket pair", "there and back"), 3.0)
