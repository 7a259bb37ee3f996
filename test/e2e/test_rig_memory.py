# SPDX-License-Identifier: Apache-2.0
"""Zones and NUMA nodes as stock Linux sees them, and the host's side of the same zones."""
import re

from lib.linux import boot, finish, ready

SCRIPT = """
cd /sys/devices/system/node
for n in 0 1 2 3; do
	[ -d node$n ] || continue
	mib=$(awk '/MemTotal/ { print int($4 / 1024) }' node$n/meminfo)
	echo "node $n cpus $(cat node$n/cpulist) mib $mib far $(cat node$n/distance)"
done
echo initiator $(cat has_generic_initiator)
for d in /sys/bus/pci/devices/0001*; do echo pci $(cat $d/numa_node); done
tool numactl -H | grep -E '^(available|node [0-3] (cpus|size))'
tool numactl --membind=1 head -c 33554432 /dev/zero > /tmp/on-one
dmesg | grep -iE 'srat|slit|numa' | grep -iE 'error|invalid|ignor|not used|bogus|bug'
head -c 16777216 /dev/urandom > /tmp/a && cp /tmp/a /tmp/b && cmp /tmp/a /tmp/b && echo same
"""


def flags_by_mib(place, pid):
    """Of each mapping of a process by its MiB: page size in KiB and flags."""
    found, mib = {}, 0
    for line in place.run(f"cat /proc/{pid}/smaps").output.splitlines():
        if head := re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line):
            mib = (int(head[2], 16) - int(head[1], 16)) >> 20
        elif re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            mib = 0
        elif mib and line.startswith("KernelPageSize:"):
            found[mib] = [int(line.split()[1])]
        elif mib and line.startswith("VmFlags:"):
            found[mib] += line.split()[1:]
    return found


def test_linux_finds_nodes_zones_and_distances(virga, images, place, work):
    place.run(f"truncate -s 200M {work}/ram")
    vm = boot(virga, images, SCRIPT, "--cpus", "boot=4", "--memory", "size=0",
              "--memory-zone", "id=m0,size=264M,mergeable=on", "id=m1,size=112M,hugepages=on,prefault=on",
              f"id=m2,size=200M,file={work}/ram,shared=on",
              "--numa", "guest_numa_id=0,cpus=[0,3],memory_zones=m0,distances=[1@15,2@30,3@40]",
              "guest_numa_id=1,cpus=1,memory_zones=m1,distances=[2@25]",
              "guest_numa_id=2,cpus=2,memory_zones=m2,pci_segments=1", "guest_numa_id=3,device_id=r0",
              "--platform", "num_pci_segments=2", "--rng", "src=/dev/urandom,id=r0,pci_segment=1",
              tools=True, overhead=False)
    ready(vm)
    host = flags_by_mib(place, vm.pid)
    assert host[264][0] == 4 and "mg" in host[264]
    assert host[112][0] == 2048 and "ht" in host[112]
    assert "sh" in host[200] and "mg" not in host[200]
    lines = finish(vm)
    told = {}
    for line in lines:
        if m := re.match(r"node (\d) cpus (\S*) *mib (\d+) far (.*)", line):
            told[int(m[1])] = (m[2], int(m[3]), m[4].split())
    assert [told[n][0] for n in range(4)] == ["0,3", "1", "2", ""], lines
    assert [told[n][2] for n in range(4)] == [["10", "15", "30", "40"], ["15", "10", "25", "20"],
                                              ["30", "25", "10", "20"], ["40", "20", "20", "10"]]
    assert 264 * 0.7 - 60 < told[0][1] < 264 and 100 < told[1][1] <= 112 and 180 < told[2][1] <= 200
    assert told[3][1] == 0
    assert "initiator 3" in lines and "pci 2" in lines
    assert any(line.startswith("available: 4 nodes") for line in lines), lines
    assert "node 1 cpus: 1" in lines and lines[-1] == "same"
    bad = [line for line in lines if re.search("SRAT|SLIT|NUMA", line)]
    assert not bad, bad
