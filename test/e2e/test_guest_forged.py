# SPDX-License-Identifier: Apache-2.0
"""Snapshots in which each number is within its range, and which no machine of ours would have written: refused in words, or
the harm is the guest's alone."""
import copy
import json
import os
import shutil
from pathlib import Path

import pytest

from lib import corpus
from lib.api import Api

ALL_ONES = "0xffffffffffffffff"
U32 = 2**32 - 1
S63 = 2**63 - 1
VERSION_1 = 1 << 32
ACCEPTED = 15  # the status of a device that a driver works with

# The guest, when it goes on, lets go of all of four vCPUs, and writes rubbish to their controller.
RECIPE = {
    "words": "pause cpuhp=1 of=4", "files": {"disk": 1, "other": 1, "pmem": 2, "shared": 1},
    "machine": {
        "cpus": {"boot_vcpus": 1, "max_vcpus": 4}, "memory": {"size": 128 << 20, "hotplug_method": "VirtioMem", "hotplug_size": 128 << 20},
        "platform": {"num_pci_segments": 2, "iommu_segments": [1]},
        "disks": [{"path": "{dir}/disk"}, {"path": "{dir}/other", "id": "behind", "iommu": True, "pci_segment": 1}],
        "pmem": [{"file": "{dir}/pmem", "id": "p"}], "ivshmem": {"path": "{dir}/shared", "size": 1 << 20},
        "vsock": {"cid": 3, "socket": "{dir}/vsock"}, "net": [{"id": "n", "stream": "{dir}/passt"}],
        "balloon": {"size": 4 << 20, "free_page_reporting": True, "free_page_hinting": True},
        "watchdog": True, "rtc": {}, "pvpanic": True, "pvmemcontrol": {}, "console": {"mode": "Null"},
    },
    "how": {"listens": ["passt"]},
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    top = tmp_path_factory.mktemp("forged")
    corpus.save(RECIPE, str(top))
    os.unlink(top / "passt")
    return top, json.loads((top / "snap/state.json").read_text())


def of(state, kind):
    """The state of the first device of a class."""
    return next(d["state"] for d in state["devices"] if d["class"] == kind)


def functions(state):
    return [d["plug"]["fn"] for d in state["devices"] if "fn" in d.get("plug", {})]


def common(state):
    return [d["plug"]["common"] for d in state["devices"] if "common" in d.get("plug", {})]


def vcpu(state):
    return state["vcpus"][0]["state"]


def live(state, at, features=VERSION_1, status=ACCEPTED):
    """All queues of all devices, with rings from there on."""
    for device in common(state):
        device.update(status=status, features=features, driver_features=features)
        for queue in device["queues"]:
            queue["conf"].update(enabled=1, desc=hex(at), avail=hex(at + 0x10000), used=hex(at + 0x20000))
            queue.update(next_avail=77, next_used=65535)
            at = (at + 0x30000) % 2**64


def held(state):
    live(state, 16 << 20)
    of(state, "blk")["held"] = [0] * 100 + [1 << 16 | 5] * 50 + [77 << 16] + [127] * 10


def bars(state, address, number=0):
    """The address in this BAR of each function that has one, with the flags that it has."""
    at = 0x10 + 4 * number
    for fn in functions(state):
        cfg = bytearray.fromhex(fn["cfg"])
        length = 8 if cfg[at] & 4 else 4
        if any(cfg[at:at + length]):
            cfg[at:at + length] = (address % 2**(8 * length) | cfg[at] & 0xf).to_bytes(length, "little")
        fn["cfg"] = cfg.hex()


def messages(state):
    """Each vector enabled, unmasked, waiting, and for nobody."""
    for device in state["devices"]:
        plug = device.get("plug", {})
        if "msix" not in plug:
            continue
        plug["msix"]["table"] = [{"addr": ALL_ONES, "data": U32, "ctrl": 0} for _ in plug["msix"]["table"]]
        plug["msix"]["pending"] = [ALL_ONES] * len(plug["msix"]["pending"])
        cfg = bytearray.fromhex(plug["fn"]["cfg"])
        at = cfg[0x34]
        while cfg[at] != 0x11:
            at = cfg[at + 1]
        cfg[at + 3] |= 0x80
        plug["fn"]["cfg"] = cfg.hex()


def slots(state, **bits):
    for segment in of(state, "pcihp")["segments"]:
        segment.update(bits)


def msrs(state, *pairs):
    vcpu(state)["cpu"]["msrs"] = [{"index": index, "value": value} for index, value in pairs]


def mapped(state, endpoints, *maps):
    of(state, "iommu").update(
        endpoints=[{"endpoint": e, "domain": 1, "passes": 0} for e in endpoints],
        maps=[{"domain": 1, "access": 3, "first": first, "last": last, "to": to} for first, last, to in maps])


def more_leaves(state):
    leaves = state["cpuid"]["state"]["leaves"]
    leaves += [dict(leaves[-1], leaf=0x90000000 + i) for i in range(1024 - len(leaves))]


def other_leaves(state):
    for leaf in state["cpuid"]["state"]["leaves"]:
        if leaf["leaf"] in (2, 4, 0xb, 0x15, 0x16, 0x1f, 0x8000001d):
            leaf.update(eax=U32, ebx=U32, ecx=U32, edx=U32)


def advised(state):
    of(state, "pvmemcontrol").update(
        phase=2, buffers=[ALL_ONES] * 4096,
        advice={"marks": [{"from": i * 4096, "name": i + 1, "locked": i & 1, "merge": i % 3} for i in range(1024)]})


# What, how, and the words of the refusal: None where it is the guest's own affair.
FORGED = {
    "nothing": (lambda s: None, None),
    "a vCPU that is not there is to go": (lambda s: of(s, "cpuhp")["cpus"][3].update(asked=1), "processor 3"),
    "a vCPU is there and was not saved": (lambda s: of(s, "cpuhp")["cpus"][3].update(asked=1, status=7), "vCPU 3"),
    "the only vCPU is gone": (lambda s: of(s, "cpuhp")["cpus"][0].update(status=0), None),
    "the only vCPU is to go": (lambda s: of(s, "cpuhp")["cpus"][0].update(status=5, asked=1), None),
    "all slots are to be emptied": (lambda s: slots(s, asked=U32, down=U32), None),
    "all slots are let go of": (lambda s: slots(s, let_go=U32), None),
    "all slots are new": (lambda s: slots(s, up=U32), None),
    "all features at once": (lambda s: live(s, 16 << 20, features=S63, status=4), "agreed features"),
    "features nobody has agreed to": (lambda s: live(s, 16 << 20, features=S63, status=3), "had features"),
    "a driver without features": (lambda s: live(s, 16 << 20, status=7), "agreed features"),
    "rings in empty memory": (lambda s: live(s, 16 << 20), None),
    "rings in the guest's own code": (lambda s: live(s, 1 << 20), None),
    "rings at the end of everything": (lambda s: live(s, 0xfffffffffffd0000), None),
    "requests are held that are none": (held, None),
    "the watchdog has heard nothing for weeks": (lambda s: of(s, "watchdog").update(silent_ms=1 << 31, check_ms=0, armed=1), None),
    "saved in 1970": (lambda s: s["machine"]["state"].update(real_ns=0), None),
    "saved in times to come": (lambda s: s["machine"]["state"].update(real_ns=S63, guest_ns=ALL_ONES, counter=ALL_ONES), None),
    "a counter near its end": (lambda s: vcpu(s)["clock"].update(tsc=ALL_ONES, tsc_adjust=ALL_ONES), None),
    "a counter that stands": (lambda s: vcpu(s)["clock"].update(tsc_khz=1), "1 kHz"),
    "a PM timer near its end": (lambda s: of(s, "ged").update(ticks=U32, flags=31), None),
    "BARs on one address": (lambda s: bars(s, 0xd3f80000), None),
    "BARs on the local APIC": (lambda s: bars(s, 0xfee00000), None),
    "BARs in memory": (lambda s: bars(s, 0x100000), None),
    "the host bridge has moved": (lambda s: s["devices"][0]["plug"]["bridge"].update(slot=5), "host bridge"),
    "the host bridge has another BAR": (lambda s: s["devices"][0]["plug"]["bridge"].update(bar=[S63] * 6), None),
    "a function where the host bridge is": (lambda s: functions(s)[0].update(slot=0), "reserved for the host bridge"),
    "BARs nowhere": (lambda s: bars(s, 0xfffffffffff80000), None),
    "pmem in memory": (lambda s: of(s, "pmem").update(start=0x200000), "no room"),
    "pmem that wraps": (lambda s: of(s, "pmem").update(start="0xffffffffffe00000"), "no room"),
    "shared memory over pmem": (lambda s: bars(s, of(s, "pmem")["start"], 2), None),
    "messages for nobody": (messages, None),
    "pins that fire at once": (lambda s: of(s, "ioapic").update(redirection=[0xa020 + i for i in range(24)], lines=2**24 - 1, owed=2**24 - 1), None),
    "more leaves than KVM takes": (more_leaves, "CPUID of 1024 entries"),
    "leaves of another processor": (other_leaves, None),
    "thousands of MSRs": (lambda s: msrs(s, *((i, 0) for i in range(4096))), "MSRs"),
    "MSRs by which KVM writes memory": (lambda s: msrs(s, (0x4b564d00, 0x123458), (0x4b564d01, ALL_ONES), (0x4b564d03, 0x123401)), None),
    "an MSR that resets": (lambda s: msrs(s, (0x40000003, 1)), "MSR 0x40000003"),
    "a local APIC of ones": (lambda s: vcpu(s)["cpu"].update(lapic="ff" * (len(vcpu(s)["cpu"]["lapic"]) // 2)), None),
    "a local APIC that is elsewhere": (lambda s: vcpu(s)["cpu"].update(apic_base=0x10000d00), None),
    "an FPU of ones": (lambda s: vcpu(s)["cpu"].update(xsave=[U32] * 2048), "FPU"),
    "an FPU of nothing": (lambda s: vcpu(s)["cpu"].update(xsave=[]), None),
    "registers that no processor takes": (lambda s: vcpu(s)["cpu"]["regs"].update(cr0=0, cr4=S63, efer=S63), "registers"),
    "the next instruction is nowhere": (lambda s: vcpu(s)["cpu"]["regs"].update(rip="0x700000000000"), None),
    "it was never started": (lambda s: vcpu(s)["cpu"].update(run="never started"), None),
    "it was just started": (lambda s: vcpu(s)["cpu"].update(run="started"), None),
    "events of all kinds": (lambda s: vcpu(s)["cpu"].update(events=dict.fromkeys(vcpu(s)["cpu"]["events"], 1)), "events"),
    "a balloon larger than memory": (lambda s: of(s, "balloon").update(target=U32, actual=U32, hint={"told": U32, "last": U32, "running": 1}), None),
    "memory that was not saved is plugged": (lambda s: of(s, "vmem").update(plugged=[ALL_ONES]), "268435456 bytes of memory"),
    "mappings that overlap": (lambda s: mapped(s, [264], (0, 8191, 0), (4096, 12287, 0)), "mappings"),
    "a mapping beyond all": (lambda s: mapped(s, [264], (0, 4095, "0xfffffffffffff000"), (4096, 12287, "0xfffffffffffff000")), "mappings"),
    "endpoints that there are not": (lambda s: mapped(s, range(600), (0, 0xfedfffff, "0xffffffff00000000")), None),
    "ports are used up": (lambda s: of(s, "vsock").update(port=U32), None),
    "advice for all of memory": (advised, None),
    "a serial port that overflows": (lambda s: of(s, "serial").update(tx_count=16, count=16, fifo_on=0, trigger=16, thre_owed=1, line=1), None),
    "output that is done before it is there": (lambda s: of(s, "console").update(tx_done=U32), None),
    "offloads of all kinds are off": (lambda s: of(s, "net").update(offloads_off=ALL_ONES), None),
    "a slot of memory without end": (lambda s: s["machine"]["state"]["ranges"].append({"base": "0xfffffffffffff000", "size": 4096, "off": 128 << 20}), "range 1"),
    "memory in small pieces": (lambda s: s["machine"]["state"].update(ranges=[{"base": i << 15, "size": 1 << 15, "off": i << 15} for i in range(4096)]), None),
    "devices without end": (lambda s: s["devices"].extend({"id": f"x{i}"} for i in range(50000)), "devices are saved"),
    "vCPUs without end": (lambda s: s["vcpus"].extend([0] * 100000), "100001 vCPUs are saved"),
}


def drill(vm, api):
    """What a restored machine is asked for; it may be the guest that ends all of it."""
    def ask(method, path, body=None):
        assert api.ask(method, path, body).code in (200, 204, 404, 405, 409, 429, 500), path

    try:
        ask("GET", "vm.counters")
        api.put("vm.resume")
        vm.type("x")
        for _ in range(2):
            for path in ("vm.pause", "vm.resume"):
                ask("PUT", path)
            for wish in ({"desired_vcpus": 3}, {"desired_vcpus": 1}, {"desired_balloon": 1 << 20}, {"desired_ram": 160 << 20}):
                ask("PUT", "vm.resize", wish)
            ask("PUT", "vm.remove-device", {"id": "_disk0"})
            ask("GET", "vm.info")
            ask("PUT", "vm.reboot")
        api.put("vmm.shutdown")
    except OSError:
        vm.look(0.5)
        assert "R3 EXIT" in vm.text or "cannot go on" in vm.text, vm.tail()


@pytest.mark.parametrize("what", FORGED)
def test_what_no_machine_would_have_saved_is_refused_or_harms_its_guest_alone(virga, work, saved, what):
    top, state = saved
    change, words = FORGED[what]
    state = copy.deepcopy(state)
    change(state)
    (top / "snap/state.json").write_text(json.dumps(state))
    server = corpus.listen(f"{top}/passt")
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    try:
        with Api(f"{work}/api") as api:
            answer = api.ask("PUT", "vm.restore", {"source_url": f"file://{top}/snap"})
            assert (answer.code == 204) == (words is None), answer
            if words is None:
                drill(vm, api)
            else:
                assert words in answer.error and api.state() is None
                api.put("vmm.shutdown")
        assert vm.wait() >= 0 and "runtime error" not in vm.text and "Sanitizer" not in vm.text, vm.tail()
    finally:
        server.close()
        for name in ("passt", "vsock"):
            Path(f"{top}/{name}").unlink(missing_ok=True)


@pytest.mark.parametrize("mode", ["Map", "Copy", "OnDemand"])
def test_a_console_that_writes_over_the_snapshots_memory_is_no_end_of_the_program(virga, work, saved, tmp_path, mode):
    top, state = saved
    path = tmp_path / "snap"
    shutil.copytree(top / "snap", path)
    (path / "state.json").write_text(json.dumps(state))
    server = corpus.listen(f"{top}/passt")
    vm = virga("--api-socket", f"path={work}/api", overhead=False)
    with Api(f"{work}/api") as api:
        answer = api.ask("PUT", "vm.restore", {"source_url": f"file://{path}", "memory_restore_mode": mode,
                                               "overrides": {"serial": {"mode": "File", "file": f"{path}/memory-ranges"}}})
        assert answer.code == 400 and "was changed meanwhile" in answer.error and api.state() is None
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    server.close()
    for name in ("passt", "vsock"):
        Path(f"{top}/{name}").unlink(missing_ok=True)
