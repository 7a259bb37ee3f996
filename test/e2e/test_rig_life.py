# SPDX-License-Identifier: Apache-2.0
"""Lives of stock Linux over the REST API, while it works on a disk and others read without end: created, booted, paused,
resumed, rebooted, shut down, booted again, deleted. What tiny guests show natively is in test_guest_life.py."""
import json
import os
import subprocess
import sys
from pathlib import Path

from lib.virga import PATIENCE

HERE = Path(__file__).parent
LIVES = int(os.environ.get("VIRGA_TEST_LIVES", "25"))
# Two at a time: as many as the nested host has processors.
VMS = 2
KERNEL = "6.12-cloud"
# The shortest way up that has a disk. Works on it, checks what it wrote, tells of each round, and once of what the
# kernel has found wrong.
INIT = """#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
for m in /modules/*; do busybox insmod $m; done
busybox echo GUEST-UP
n=0
while :; do
	n=$((n + 1))
	busybox head -c 65536 /dev/urandom > /a
	busybox dd if=/a of=/dev/vda bs=64k seek=$((n % 8)) conv=fsync 2> /dev/null
	busybox dd if=/dev/vda bs=64k skip=$((n % 8)) count=1 2> /dev/null | busybox cmp - /a || busybox echo WRONG
	[ $n = 2 ] && busybox dmesg | busybox grep -iE 'lockup|stall|hung|I/O error' && busybox echo WRONG
	busybox echo TICK $n
done
"""
CMDLINE = "console=ttyS0 quiet mitigations=off audit=0 apparmor=0 ipv6.disable=1 random.trust_cpu=on " \
          "initcall_blacklist=sed_opal_init,init_evm,load_system_certificate_list,jent_mod_init,inet6_init"
# One that reads all it can until the program has gone, and says how it went.
READER = """
import sys
sys.path.insert(0, sys.argv[1])
from lib.api import Api
answers, wrong, slowest = 0, 0, 0.0
import time
try:
    with Api(sys.argv[2]) as api:
        while True:
            for what in ("vmm.ping", "vm.info", "vm.counters", "jobs"):
                start = time.monotonic()
                code = api.ask("GET", what).code
                slowest = max(slowest, time.monotonic() - start)
                answers += 1
                wrong += code not in (200, 404)
            time.sleep(0.05)
except OSError:
    print(f"READ answers={answers} wrong={wrong} slowest_ms={slowest * 1000:.0f}", flush=True)
"""
# One that leads a machine through lives, as many as others leave it, and says a line for each.
LEADER = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
from lib.api import Api
work, k, config = sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
said = f"{work}/said{k}"
def text():
    with open(said, errors="replace") as f:
        return f.read()
def until(what, boot, patience=200):
    end = time.monotonic() + patience
    while what not in "".join(text().split("GUEST-UP")[boot:boot + 1]):
        assert time.monotonic() < end, f"no {what} in boot {boot}: {text()[:600]} ... {text()[-200:]}"
        time.sleep(0.05)
def next_life():
    n = 0
    while n < int(sys.argv[5]):
        try:
            os.close(os.open(f"{work}/life{n}", os.O_CREAT | os.O_EXCL))
            return n
        except FileExistsError:
            n += 1
    return None
with Api(f"{work}/api{k}") as api:
    while (n := next_life()) is not None:
        start = time.monotonic()
        api.put("vm.create", config)
        api.put("vm.boot")
        until("TICK 1", 1)
        api.put("vm.pause")
        stood = text()
        time.sleep(0.2)
        assert text() == stood, "a paused guest talks"
        assert api.state() == "Paused"
        api.put("vm.resume")
        ticks = stood.count("TICK")
        until(f"TICK {ticks + 1}", 1)
        api.put("vm.reboot")
        until("TICK 2", 2)
        api.put("vm.shutdown")
        assert api.state() == "Shutdown"
        api.put("vm.boot")
        # every third is seen to come up; the others end somewhere on their way
        if n % 3 == 0:
            until("TICK 1", 3)
        else:
            time.sleep(0.15 * (n % 11))
        assert "WRONG" not in text(), text()
        api.put("vm.delete")
        assert api.state() is None
        print(f"LIFE {n} {time.monotonic() - start:.1f}", flush=True)
    api.put("vmm.shutdown")
print("LED", flush=True)
"""


def small_initramfs(images, place):
    """busybox, the disk's module, and INIT; in a directory of this machine, which the nested host sees too."""
    tree = place / "tree"
    for name in ("bin", "dev", "modules"):
        (tree / name).mkdir(parents=True)
    packed = images.guest(KERNEL) / "initramfs.cpio.zst"
    subprocess.run(f"zstd -dc {packed} | cpio -id --quiet bin/busybox 'modules/*virtio_blk*'", shell=True, check=True, cwd=tree)
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    (tree / "bin/sh").symlink_to("busybox")
    subprocess.run(f"find . | cpio -o -H newc --quiet > {place}/initramfs.cpio", shell=True, check=True, cwd=tree)
    return f"{place}/initramfs.cpio"


def collect(place, jobs, until, seconds):
    """What each of the programs says, until it has said that."""
    said = []
    for job in jobs:
        text, status = "", None
        for _ in range(seconds):
            part = place.read(job["job"], len(text), 1)
            text, status = text + part["data"], part["status"]
            if until in text or status is not None:
                break
        place.close(job["job"])
        assert until in text, text
        said.append(text)
    return said


def test_linux_lives_25_times_while_others_read(virga, images, place, work, tmp_path):
    initramfs = small_initramfs(images, tmp_path)
    place.put(f"{work}/leader.py", LEADER)
    place.put(f"{work}/reader.py", READER)
    vms, readers, leaders = [], [], []
    for k in range(VMS):
        place.run(f"truncate -s 4M {work}/disk{k}")
        vms.append(virga("--api-socket", f"path={work}/api{k}", overhead=False))
        readers.append(place.spawn([sys.executable, "-B", f"{work}/reader.py", str(HERE), f"{work}/api{k}"], {}, work, False))
        config = {
            "cpus": {"boot_vcpus": 1, "max_vcpus": 1},
            "memory": {"size": 160 << 20},
            "payload": {"kernel": str(images.guest(KERNEL) / "vmlinux"), "initramfs": initramfs, "cmdline": CMDLINE},
            "disks": [{"path": f"{work}/disk{k}"}],
            "serial": {"mode": "File", "file": f"{work}/said{k}"},
            "console": {"mode": "Off"},
        }
        leaders.append(place.spawn([sys.executable, "-B", f"{work}/leader.py", str(HERE), work, str(k), json.dumps(config),
                                    str(LIVES)], {}, work, False))
    told = "".join(collect(place, leaders, "LED", int(500 * PATIENCE)))
    assert told.count("LIFE") == LIVES, told
    for said in collect(place, readers, "READ", 60):
        assert "wrong=0" in said, said
        print(said)
    for vm in vms:
        assert vm.wait() == 0
    place.run(f"rm {work}/life* {work}/said* {work}/disk* {work}/*.py")
