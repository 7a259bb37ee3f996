# SPDX-License-Identifier: Apache-2.0
"""Part `console`: what a virtio console carries to a file. A module of bench.py, which runs it.

The tiny guest writes the same words through virga and through QEMU's virtconsole, into a file in memory, and says how
long that took.
"""
import re
import subprocess

KIB = 65536
LIMIT_S = 120


def with_console(program, kernel, path):
    """The program's command line with its console in a file."""
    argv = program.argv(kernel, f"constream kib={KIB}")
    if argv[0].startswith("qemu"):
        return [*argv, "-device", "virtio-serial-pci,max_ports=1", "-chardev", f"file,id=con,path={path}",
                "-device", "virtconsole,chardev=con"]
    at = argv.index("--console")
    return [*argv[:at], "--console", f"file={path}", *argv[at + 2:]]


def part_console(r, load_type, guest, programs, rounds, work):
    path = work / "console"
    for n in range(rounds):
        for p in programs:
            load = load_type()
            try:
                done = subprocess.run(with_console(p, guest, path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, timeout=LIMIT_S)
                said = done.stdout.decode("latin-1")
            except subprocess.TimeoutExpired:
                said = "takes too long"
            found = re.search(r"R3 STREAM console-out us=\d+ kib_s=(\d+)", said)
            if found and path.stat().st_size == KIB * 1024:
                r.add("console", p.name, "guest to file", int(found.group(1)) / 1024, "MiB/s", load.take())
            elif n == 0:
                r.fail(f"console, {p.name}: said {said[-300:]!r}")
            path.unlink(missing_ok=True)
    peers = [r.median("console", p.name, "guest to file") for p in programs[1:]]
    best = max((m for m in peers if m is not None), default=None)
    r.ratio("console: virga / the best peer", r.median("console", "virga", "guest to file"), best, 1.0, most=False)
