# SPDX-License-Identifier: Apache-2.0
"""Stock Linux gains disks and cards and lets go of them, as often as goes into a minute, while it reads and writes on
another disk. The controllers are those that its own drivers for ACPI find."""
import re
import sys
from pathlib import Path

from lib.linux import boot, ready
from lib.virga import PATIENCE

HERE = Path(__file__).parent
SECONDS = 30
LEAST = 5
# Works on the first disk until it is told, by a file of devices that have come and gone, that it is enough.
SCRIPT = """
dmesg -c > /dev/null
(while :; do dd if=/dev/vda of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null; echo >> /ticks; done) &
came=0; last=no
while :; do
	if [ -e /sys/block/vdb ]; then
		[ $last = no ] && dd if=/dev/vdb of=/dev/null bs=4k count=16 2>/dev/null && came=$((came + 1)); last=yes
	else
		last=no
	fi
	[ -e /sys/block/vdc ] && break
done
echo CAME $came TICKS $(wc -l < /ticks)
dmesg | grep -iE 'call trace|BUG:|acpi.*error|i/o error' && exit 1
exit 0
"""
# Leads in the nested host: the answers' times, and what stays of threads, descriptors and memory.
LEADER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from lib.api import Api, descriptors_of
work, pid, seconds = sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
def threads():
    names = [open(f"/proc/{pid}/task/{t}/comm").read().strip() for t in os.listdir(f"/proc/{pid}/task")]
    return sorted(n for n in names if not n.startswith("iou-"))
def rss():
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("RssAnon"))
with Api(f"{work}/api", 60) as api:
    took, gone, before, after, n = [], [], None, None, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end and n < 200:
        for route, config in (("add-disk", {"id": "hot", "path": f"{work}/hot"}), ("add-net", {"id": "hot", "tap": "vtplug0"})):
            start = time.monotonic()
            api.put(f"vm.{route}", config)
            took.append(time.monotonic() - start)
            time.sleep(0.3)
            start = time.monotonic()
            api.put("vm.remove-device", {"id": "hot", "wait": 60})
            gone.append(time.monotonic() - start)
        n += 1
        if n == 3:
            before = threads(), len(descriptors_of(pid)), rss()
    after = threads(), len(descriptors_of(pid)), rss()
    assert before[:2] == after[:2], (before, after)
    print(f"ROUNDS {n} usually_ms {sorted(took)[n] * 1000:.1f} gone_ms {sorted(gone)[n] * 1000:.0f} "
          f"anon_kib {before[2]} {after[2]}", flush=True)
    api.put("vm.add-disk", {"id": "b", "path": f"{work}/hot"})
    api.put("vm.add-disk", {"id": "c", "path": f"{work}/last"})
print("LED", flush=True)
"""


def test_linux_gains_and_loses_disks_and_cards(virga, images, place, work):
    place.put(f"{work}/leader.py", LEADER)
    place.run(f"truncate -s 4M {work}/first {work}/hot {work}/last")
    vm = boot(virga, images, SCRIPT, "--disk", f"path={work}/first,id=first", "--api-socket", f"path={work}/api",
              overhead=False)
    start = ready(vm)
    job = place.spawn([sys.executable, "-B", f"{work}/leader.py", str(HERE), work, str(vm.pid), str(SECONDS)], {}, work,
                      False)
    text = ""
    for _ in range(int(240 * PATIENCE)):
        part = place.read(job["job"], len(text), 1)
        text += part["data"]
        if "LED" in text or part["status"] is not None:
            break
    place.close(job["job"])
    assert "LED" in text, f"{text}\n{vm.tail()}"
    print(text)
    end = vm.wait_for(r"GUEST-STATUS (\d+)", 120, after=start)
    said = vm.text[start:end.start()]
    assert end.group(1) == "0", said
    rounds = int(re.search(r"ROUNDS (\d+)", text).group(1))
    before, after = map(int, re.search(r"anon_kib (\d+) (\d+)", text).groups())
    came, ticks = map(int, re.search(r"CAME (\d+) TICKS (\d+)", said).groups())
    print(f"{rounds} rounds, {came} disks seen and read, {ticks} reads of a MiB beside them")
    assert rounds >= LEAST and came >= rounds // 2 and ticks > rounds
    assert after <= before + 400, text
    assert vm.wait() == 0
    place.run(f"rm {work}/first {work}/hot {work}/last {work}/leader.py")
