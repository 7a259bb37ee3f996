#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time programs from exec to the words GUEST-READY on their standard output; for a host of VMs.

usage: userspace.py ROUNDS < programs.json

programs.json is {name: argv}. Each round runs every program once, in order; one round more comes first and is
not counted, for it fills caches. Says {name: [seconds, ...]} as JSON.
"""
import json
import subprocess
import sys
import time

LIMIT_S = 180


def time_one(argv):
    began = time.monotonic()
    vm = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    said = b""
    while b"GUEST-READY" not in said:
        data = vm.stdout.read1(4096)
        if not data or time.monotonic() - began > LIMIT_S:
            vm.kill()
            sys.exit(f"{argv[0]} did not reach user space; it said: {said[-2000:]!r}")
        said += data
    took = time.monotonic() - began
    vm.stdout.read()
    vm.wait()
    return took


def main():
    programs = json.load(sys.stdin)
    times = {name: [] for name in programs}
    for n in range(int(sys.argv[1]) + 1):
        for name, argv in programs.items():
            took = time_one(argv)
            if n:
                times[name].append(round(took, 3))
    print(json.dumps(times))


main()
