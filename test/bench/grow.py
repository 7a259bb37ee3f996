# SPDX-License-Identifier: Apache-2.0
"""Part `grow`: what a start costs more when the machine is larger. A module of bench.py, which runs it.

One thing grows at a time: vCPUs, disks, RAM. What one more of it costs is the difference of two medians,
divided by how many there are more. vCPUs that the guest never wakes are made all the same.
"""
MIB = 1 << 20
VCPUS = (1, 16, 64)
DISKS = (1, 32)
RAM_MIB = (128, 65536)
# Milliseconds that one more may cost: (label, smallest, largest, limit).
BUDGETS = (("vCPUs", VCPUS[0], VCPUS[-1], 0.2), ("disks", DISKS[0], DISKS[-1], 0.1))


def without(argv, option):
    """argv less an option and its one value."""
    at = argv.index(option)
    return argv[:at] + argv[at + 2:]


def shapes(program, kernel, disks):
    """(label, count, argv) of each machine of a program with Cloud Hypervisor's command line."""
    for count in VCPUS:
        yield "vCPUs", count, [*without(program.argv(kernel), "--cpus"), "--cpus", f"boot={count}"]
    for count in DISKS:
        # A PCI segment has 31 places.
        yield "disks", count, [*program.argv(kernel), "--platform", "num_pci_segments=2", "--disk",
                               *(f"path={disk},pci_segment={n % 2}" for n, disk in enumerate(disks[:count]))]
    for mib in RAM_MIB:
        yield "MiB of RAM", mib, program.argv(kernel, mib=mib)


def qemu_shapes(program, kernel, disks):
    """The same of QEMU's machine with PCI; its bus takes no more than 30 disks."""
    for count in VCPUS:
        yield "vCPUs", count, [*program.argv(kernel), "-smp", str(count)]
    for count in (DISKS[0], 28):
        more = []
        for n, disk in enumerate(disks[:count]):
            more += ["-drive", f"if=none,id=g{n},file={disk},format=raw", "-device", f"virtio-blk-pci,drive=g{n}"]
        yield "disks", count, [*program.argv(kernel), *more]
    for mib in RAM_MIB:
        # RAM is not to be reserved: no more is touched than of the smaller machine.
        lazy = ["-object", f"memory-backend-ram,id=ram,size={mib}M,reserve=off", "-machine", "memory-backend=ram"]
        yield "MiB of RAM", mib, [*program.argv(kernel, mib=mib), *lazy]


def part_grow(r, time_start, load_type, kernel, programs, rounds, work):
    """`programs` are pairs of a program and the function that lists its machines."""
    disks = []
    for n in range(max(DISKS)):
        disk = work / f"grow{n}"
        with open(disk, "wb") as f:
            f.truncate(MIB)
        disks.append(disk)
    counts = {}
    for n in range(rounds):
        for program, machines in programs:
            for label, count, argv in machines(program, kernel, disks):
                load = load_type()
                got, why = time_start(argv)
                if got:
                    r.add("grow", program.name, f"{count} {label}", got[0] / 1e6, "ms", load.take())
                    counts.setdefault((program.name, label), set()).add(count)
                elif n == 0:
                    r.fail(f"grow, {program.name}, {count} {label}: {why}")
    for label, small, large, limit in BUDGETS:
        few, many = (r.median("grow", "virga", f"{count} {label}") for count in (small, large))
        cost = None if few is None or many is None else round((many - few) / (large - small), 4)
        r.budget(f"grow: ms for one more of the {label}", cost, limit)
