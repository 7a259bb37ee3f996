# SPDX-License-Identifier: Apache-2.0
"""Part `prefault`: what touching all RAM before the start costs, beside a bare program that does no more.

A module of bench.py, which runs it. The time of virga is that of a start with prefault less one without.
"""
import subprocess

MIB = 4096


def part_prefault(r, time_start, load_type, touch, kernel, program, rounds):
    """`touch` is the bare program (touch.c), `program` has Cloud Hypervisor's command line."""
    plain = program.argv(kernel, mib=MIB)
    at = plain.index("--memory") + 1
    early = [*plain[:at], plain[at] + ",prefault=on", *plain[at + 1:]]
    for n in range(rounds):
        load = load_type()
        done = subprocess.run([str(touch), str(MIB)], stdout=subprocess.PIPE, text=True, check=True)
        r.add("prefault", "touch", f"{MIB} MiB", int(done.stdout) / 1e6, "ms", load.take())
        for argv, figure in ((plain, "start"), (early, "start with prefault")):
            got, why = time_start(argv)
            if got:
                r.add("prefault", program.name, f"{MIB} MiB, {figure}", got[0] / 1e6, "ms", load.take())
            elif n == 0:
                r.fail(f"prefault, {figure}: {why}")
    few, many = (r.median("prefault", program.name, f"{MIB} MiB, {figure}") for figure in ("start", "start with prefault"))
    cost = many - few if few is not None and many is not None else None
    r.ratio("prefault: virga / a bare memset by all processors", cost, r.median("prefault", "touch", f"{MIB} MiB"), 1.1)
