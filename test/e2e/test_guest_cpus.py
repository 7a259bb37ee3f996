# SPDX-License-Identifier: Apache-2.0
"""Processors: as many as the host gives, ids beyond 8 bits, pinning, and what is shown of them."""
import array
import fcntl
import os

import pytest

from lib.guest import guest, start_guest  # noqa: F401 (fixtures)
from lib.place import lines_of
from lib.wait import until

KVM_CHECK_EXTENSION = 0xae03
CAP_MAX_VCPUS, CAP_HYPERV_SYNIC, CAP_SYS_HYPERV_CPUID = 66, 123, 191


def kvm_has(cap):
    with open("/dev/kvm", "rb", buffering=0) as kvm:
        return fcntl.ioctl(kvm, KVM_CHECK_EXTENSION, cap)


def leaves(report):
    return {int(line[0], 16): [int(x, 16) for x in line[1:]] for line in report.all("CPUID")}


def refused(vm, *words):
    assert vm.wait(20) == 1, vm.tail()
    for word in words:
        assert word in vm.text, vm.tail()


def test_cpus_with_ids_beyond_8_bits_run_and_get_interrupts(guest):
    if kvm_has(CAP_MAX_VCPUS) < 288:
        pytest.skip("this host's KVM gives a VM fewer than 288 vCPUs")
    report = guest("smp=288", cpus=288, timeout=240, overhead=False)
    assert report.one("SMP") == {"online": "288", "ran": "287"}
    assert "pin 4 wakes cpu 287, and not cpu 31" in report.passed


def test_as_many_cpus_as_the_host_gives_and_no_more(guest, start_guest):
    most = min(kvm_has(CAP_MAX_VCPUS), 8192)
    guest("told", cpus=most, timeout=240, overhead=False)
    if most < 8192:
        refused(start_guest("told", cpus=most + 1), f"--cpus boot={most + 1}", f"at most {most}")


def tasks(pid):
    """Name of each thread of a process, and the host CPUs it may run on."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        lines = dict(line.split(":", 1) for line in lines_of(f"/proc/{pid}/task/{task}/status") if ":" in line)
        found[lines["Name"].strip()] = lines["Cpus_allowed_list"].strip()
    return found


def test_affinity_is_seen_in_proc(start_guest):
    cpus = sorted(os.sched_getaffinity(0))
    vm = start_guest("park", cpus=f"boot=3,affinity=[0@[{cpus[0]}],2@[{cpus[-1]}]]")
    vm.wait_for_in(vm.serial_path, "R3 PARKED")
    # a thread says itself what it is called, the guest's first one does not wait for that
    seen = until(lambda: (found := tasks(vm.pid)).keys() >= {"vcpu0", "vcpu1", "vcpu2", "io"} and found)
    assert seen["vcpu0"] == str(cpus[0])
    assert seen["vcpu2"] == str(cpus[-1])
    assert seen["vcpu1"] == seen["io"]
    assert vm.stop() == 0


def test_affinity_to_a_host_cpu_that_is_not_there_is_refused(start_guest):
    refused(start_guest("park", cpus="boot=1,affinity=[0@[8191]]"), "affinity", "8191")


def test_topology_is_told_on_the_leaves(guest):
    seen = leaves(guest("cpuid", cpus="boot=8,topology=2:2:1:2"))
    assert seen[1][1] >> 16 & 0xff == 4
    assert seen[0xb][:3] == [1, 2, 0x100]
    if seen[0][1:] == [0x68747541, 0x444d4163, 0x69746e65]:
        assert seen[0x80000008][2] & 0xf0ff == 2 << 12 | 3
        assert seen[0x8000001e][1] == 1 << 8
        assert seen[0x80000026][:3] == [1, 2, 0x100]
        assert seen[0x80000001][2] & 1 << 22


@pytest.mark.parametrize("bits", [36, 40])
def test_max_phys_bits_narrows_addresses(guest, bits):
    seen = leaves(guest("cpuid", cpus=f"boot=1,max_phys_bits={bits}"))
    assert seen[0x80000008][0] & 0xff == bits


def test_nested_off_hides_virtualization(guest):
    seen = leaves(guest("cpuid", cpus="boot=1,nested=off"))
    assert not seen[1][2] & 1 << 5
    assert not seen[0x80000001][2] & 1 << 2


def test_hyperv_is_shown_or_refused(guest, start_guest):
    cpus = "boot=2,kvm_hyperv=on"
    if kvm_has(CAP_HYPERV_SYNIC) and kvm_has(CAP_SYS_HYPERV_CPUID):
        seen = leaves(guest("cpuid", cpus=cpus))
        assert array.array("I", seen[0x40000000][1:]).tobytes() == b"Microsoft Hv"
        assert seen[0x40000001][0] == 0x31237648
        assert seen[0x40000003][0] & 0x20e == 0x20e
    else:
        refused(start_guest("cpuid", cpus=cpus), "kvm_hyperv", "Hyper-V")


def test_amx_is_shown_or_refused(guest, start_guest):
    if "amx_tile" in open("/proc/cpuinfo", encoding="ascii").read():
        seen = leaves(guest("cpuid", cpus="boot=1,features=amx"))
        assert seen[7][3] & 1 << 24
    else:
        refused(start_guest("cpuid", cpus="boot=1,features=amx"), "features=amx", "AMX")


@pytest.mark.parametrize("how", ["vm", "vcpu", "off"])
def test_core_scheduling_is_taken_where_there_is_any(guest, how):
    report = guest("smp=4", cpus=f"boot=4,core_scheduling={how}")
    assert report.one("SMP")["online"] == "4"
