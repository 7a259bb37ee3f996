# SPDX-License-Identifier: Apache-2.0
"""The corpus of saved snapshots: how one is made, kept small, and brought to life again.

	make("plain")                 writes test/corpus/<version>-plain.tar.xz
	unpack(path, to)              the snapshot's directory is to/snap, files of its devices lie in to
	how_of(to)                    what a restore is told, what is typed then, what the guest must say

An entry knows by itself how it is restored (how.json), so that what is below may change: an entry never does. Its processor is
made the least one that the guest can do with, so that hosts other than that of its making have all of it; not so its maker, which
CPUID tells. Nothing in it names the machine on which it was made.
"""
import contextlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from lib.api import Api, small_config
from lib.guest import pattern_disk
from lib.place import Local
from lib.virga import Virga, binary
from lib.wait import until

HERE = Path(__file__).resolve().parents[2] / "corpus"
NOWHERE = "/corpus"  # in place of the directory in which it was made
CHUNK = 64 << 10

# Bits of CPUID that stay: x86-64-v2 without XSAVE, and of KVM's what every host since Linux 4.12 has. (leaf, subleaf): eax, ebx, ecx, edx
WHOLE = 0xffffffff
KEPT = {
    (0x1, 0): (WHOLE, WHOLE, 1 << 0 | 1 << 9 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 21 | 1 << 23 | 1 << 24 | 1 << 31, 0x178bfbff),
    (0x6, 0): (0, 0, 0, 0),
    (0x7, 0): (0, 0, 0, 0), (0x7, 1): (0, 0, 0, 0), (0x7, 2): (0, 0, 0, 0),
    (0xd, 0): (0, 0, 0, 0), (0xd, 1): (0, 0, 0, 0),
    (0x40000001, 0): (0x010000fb, 0, 0, 0),
    (0x80000001, 0): (WHOLE, WHOLE, 1, 1 << 11 | 1 << 20 | 1 << 29 | 0x0183f3ff),
    (0x80000007, 0): (0, 0, 0, 1 << 8),
    (0x80000008, 0): (WHOLE, 0, WHOLE, WHOLE),
    (0x8000000a, 0): (0, 0, 0, 0), (0x80000021, 0): (0, 0, 0, 0),
}

# Name: what the guest does (it waits at R3 PAUSED or the words of "at"), its machine, files of its devices (MiB), and how it goes on.
RECIPES = {
    "plain": {
        "words": "pause rng told", "machine": {}, "files": {},
        "how": {"restore": "serial_mode=tty", "type": "x", "says": ["R3 EXIT 0"]},
    },
    "devices": {
        "words": "pause blk rng con balloon watchdog vrtc pmem", "files": {"disk": 1, "pmem": 2, "shared": 1},
        "machine": {
            "cpus": {"boot_vcpus": 2, "max_vcpus": 4}, "memory": {"size": 128 << 20, "hotplug_method": "VirtioMem", "hotplug_size": 128 << 20},
            "disks": [{"path": "{dir}/disk", "num_queues": 2}], "pmem": [{"file": "{dir}/pmem", "id": "p"}],
            "ivshmem": {"path": "{dir}/shared", "size": 1 << 20}, "vsock": {"cid": 3, "socket": "{dir}/vsock"},
            "net": [{"id": "n", "stream": "{dir}/passt"}], "balloon": {"size": 4 << 20, "free_page_reporting": True},
            "watchdog": True, "rtc": {}, "pvpanic": True, "console": {"mode": "Null"},
        },
        "how": {"restore": "serial_mode=tty,disks=[id=_disk0,path={dir}/disk],pmem=[id=p,file={dir}/pmem],ivshmem_path={dir}/shared,"
                           "vsock_socket={dir}/vsock,net=[id=n,stream={dir}/passt]",
                "listens": ["passt"], "type": "x", "says": ["R3 EXIT 0"]},
    },
    # What the guest had done with its devices before is in their state.
    "platform": {
        "words": "tpm viommu fwcfg pvmemcontrol pause rng tpm viommu fwcfg pmem", "files": {"disk": 1, "pmem": 2},
        "payload": {"fw_cfg_config": {"e820": False, "kernel": False, "cmdline": False, "initramfs": False, "acpi_tables": False,
                                      "items": {"item_list": [{"name": "opt/word", "string": "said"}]}}},
        "machine": {
            "cpus": {"boot_vcpus": 1, "max_vcpus": 3}, "memory": {"size": 192 << 20, "hotplug_size": 256 << 20},
            "platform": {"num_pci_segments": 2}, "disks": [{"path": "{dir}/disk", "iommu": True, "readonly": True}],
            "pmem": [{"file": "{dir}/pmem", "id": "p", "pci_segment": 1}], "tpm": {"socket": "{dir}/tpm"}, "pvmemcontrol": {},
            "balloon": {"size": 4 << 20},
        },
        "changes": [{"desired_vcpus": 2}, {"desired_ram": 320 << 20}],
        "how": {"restore": "serial_mode=tty,disks=[id=_disk0,path={dir}/disk],pmem=[id=p,file={dir}/pmem],tpm_socket={dir}/tpm",
                "tpm": "tpm", "type": "x", "says": ["R3 EXIT 0"]},
    },
    "midway": {
        "words": "midway mib=0 oneshot=1500", "at": "R3 MIDWAY", "files": {"disk": 1},
        "machine": {
            "cpus": {"boot_vcpus": 4, "max_vcpus": 4}, "memory": {"size": 128 << 20}, "console": {"mode": "File", "file": "{dir}/console"},
            "disks": [{"path": "{dir}/disk", "rate_limiter_config": {"ops": {"size": 8, "refill_time": 400}}}],
            "net": [{"id": "n", "stream": "{dir}/passt",
                     "rate_limiter_config": {"ops": {"size": 10, "refill_time": 100}}}],
        },
        "how": {"restore": "clock=frozen,serial_mode=tty,console_file={dir}/console,disks=[id=_disk0,path={dir}/disk],net=[id=n,stream={dir}/passt]",
                "listens": ["passt"], "type": "x", "says": ["R3 EXIT 0"]},
    },
}


def keep_little(state):
    """The processor that a guest of the corpus has seen."""
    for leaf in state["cpuid"]["state"]["leaves"]:
        kept = KEPT.get((leaf["leaf"], leaf["sub"]))
        for reg, mask in zip(("eax", "ebx", "ecx", "edx"), kept or ()):
            leaf[reg] &= mask


def version():
    return re.search(r" v(\S+)", subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout).group(1)


def listen(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(1)
    return server


@contextlib.contextmanager
def tpm(path):
    """A process with a new TPM at that socket; without a path there is none."""
    if not path:
        yield
        return
    os.mkdir(f"{path}.state")
    process = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={path}.state", "--ctrl", f"type=unixio,path={path}"])
    try:
        until(lambda: os.path.exists(path) or process.poll() is not None, 10)
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def others(how, top):
    """Those who are there beside the machine, as it says how it is restored: listeners, a TPM."""
    servers = [listen(f"{top}/{name}") for name in how.get("listens", [])]
    try:
        with tpm(how.get("tpm") and f"{top}/{how['tpm']}"):
            yield
    finally:
        for server in servers:
            server.close()


def inside(thing, directory):
    return json.loads(json.dumps(thing).replace("{dir}", directory))


def save(recipe, top):
    """A snapshot in top/snap."""
    for name, mib in recipe["files"].items():
        pattern_disk(f"{top}/{name}", mib)
    machine = {"memory": {"size": 64 << 20}, "serial": {"mode": "Tty"}, **inside(recipe["machine"], top)}
    config = small_config(recipe["words"], **machine)
    config["payload"].update(recipe.get("payload", {}))
    with others(recipe["how"], top):
        vm = Virga(Local(), ["--api-socket", f"path={top}/api"])
        try:
            with Api(f"{top}/api") as api:
                api.put("vm.create", config)
                api.put("vm.boot")
                vm.wait_for(recipe.get("at", "R3 PAUSED"))
                for change in recipe.get("changes", []):
                    api.put("vm.resize", change)
                api.put("vm.pause")
                os.mkdir(f"{top}/snap")
                api.put("vm.snapshot", {"destination_url": f"file://{top}/snap"})
                api.put("vmm.shutdown")
            assert vm.wait() == 0, vm.tail()
        finally:
            vm.close()


def make(name):
    """Saves, scrubs and packs; returns the path of the entry."""
    recipe = RECIPES[name]
    entry = HERE / f"{version()}-{name}.tar.xz"
    assert not entry.exists(), f"{entry} is there: an entry never changes"
    with tempfile.TemporaryDirectory() as top:
        save(recipe, top)
        config = json.loads(Path(f"{top}/snap/config.json").read_text().replace(top, NOWHERE))
        config["payload"]["kernel"] = f"{NOWHERE}/kernel"
        state = json.loads(Path(f"{top}/snap/state.json").read_text())
        keep_little(state)
        texts = {"snap/config.json": config, "snap/state.json": state, "how.json": recipe["how"]}
        with tarfile.open(entry, "w:xz", preset=9) as tar:
            for path, thing in texts.items():
                add(tar, path, json.dumps(thing, indent=1).encode())
            add(tar, "snap/memory-ranges", Path(f"{top}/snap/memory-ranges").read_bytes())
            for path in recipe["files"]:
                add(tar, path, Path(f"{top}/{path}").read_bytes())
    return entry


def add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def unpack(entry, to):
    """All of it, with holes for zeros."""
    with tarfile.open(entry) as tar:
        for info in tar:
            path = Path(to) / info.name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = tar.extractfile(info)
            with open(path, "wb") as out:
                while piece := data.read(CHUNK):
                    if piece.count(0) == len(piece):
                        out.seek(len(piece), os.SEEK_CUR)
                    else:
                        out.write(piece)
                out.truncate(info.size)


def classes_of(entry):
    """The classes of devices in it."""
    with tarfile.open(entry) as tar:
        return {device["class"] for device in json.load(tar.extractfile("snap/state.json"))["devices"]}


def how_of(directory):
    """How what was unpacked there is restored."""
    return inside(json.loads((Path(directory) / "how.json").read_text()), str(directory))


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        if wanted not in RECIPES:
            sys.exit(f"there is no recipe '{wanted}' in {__file__}: {', '.join(RECIPES)}")
        made = make(wanted)
        print(f"{made} ({made.stat().st_size} bytes)")
    if not sys.argv[1:]:
        sys.exit(f"say which: {', '.join(RECIPES)}")
