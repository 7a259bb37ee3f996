# SPDX-License-Identifier: Apache-2.0
"""Processors as stock Linux sees them: topology, pinning, Hyper-V's interface, addresses, nesting."""
import math
import re

from lib.linux import boot, finish, ready

# Threads of a core, cores of a die, dies of a package, packages.
SHAPES = [(2, 1, 1, 1), (1, 2, 1, 1), (1, 1, 1, 2), (2, 1, 2, 1)]
FILES = "thread_siblings_list die_cpus_list package_cpus_list"
LOOK = f"""
cd /sys/devices/system/cpu
for c in cpu[0-9]*; do echo $c $(for f in {FILES}; do cat $c/topology/$f; done); done
"""


def cpu_list(first, count):
    """CPUs as sysfs writes a list of neighbours."""
    if count == 1:
        return str(first)
    return f"{first}-{first + count - 1}"


def expected(shape):
    threads, cores, dies, packages = shape
    in_die = threads * cores
    in_package = in_die * dies
    return [" ".join([f"cpu{i}"] + [cpu_list(i // size * size, size) for size in (threads, in_die, in_package)])
            for i in range(in_package * packages)]


def test_topology_is_the_one_asked_for(virga, images):
    """Four machines at once; on this processor Linux reads AMD's leaves."""
    vms = [boot(virga, images, LOOK, "--cpus", f"boot={math.prod(shape)},topology=" + ":".join(map(str, shape)),
                "--memory", "size=256M") for shape in SHAPES]
    for vm, shape in zip(vms, SHAPES):
        assert finish(vm, 240) == expected(shape), shape


def test_hyperv_is_recognised_and_used(virga, images, place):
    script = """
dmesg | grep -iE 'hyper-v|hypervisor detected'
cat /sys/devices/system/clocksource/clocksource0/available_clocksource
cat /proc/interrupts | grep -E 'HVS|LOC'
grep -E '^(flags|address)' /proc/cpuinfo | head -n 2
sleep 5
"""
    vm = boot(virga, images, script, "--memory", "size=256M", "--cpus",
              "boot=2,kvm_hyperv=on,nested=off,max_phys_bits=38,affinity=[0@[1],1@[0]]")
    ready(vm)
    # meanwhile: where its threads may run
    seen = place.run(f"cd /proc/{vm.pid}/task; for t in *; do echo $(cat $t/comm) $(grep Cpus_allowed_list $t/status);"
                     f" done").output
    assert re.search(r"^vcpu0 Cpus_allowed_list: 1$", seen, re.M), seen
    assert re.search(r"^vcpu1 Cpus_allowed_list: 0$", seen, re.M), seen
    said = "\n".join(finish(vm))
    assert "Hypervisor detected: Microsoft Hyper-V" in said
    assert re.search(r"Hyper-V: privilege flags low 0x[0-9a-f]*, high 0x[0-9a-f]*, hints 0x", said)
    assert "hyperv_clocksource" in said
    assert re.search(r"HVS: +[1-9]", said), said
    assert "38 bits physical" in said
    assert " svm" not in said
