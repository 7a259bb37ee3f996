# SPDX-License-Identifier: Apache-2.0
"""Stock Linux gains disks, cards, persistent memory and a vsock and lets go of them, while it reads on another disk. The
controllers are those that its own drivers for ACPI find."""
import json
import os
import re
import sys
from pathlib import Path

from lib.linux import boot, ready
from lib.virga import PATIENCE

HERE = Path(__file__).parent
# As many rounds of all kinds as go into this time, or a number of them (VIRGA_TEST_PLUG_ROUNDS=200). A busy machine takes 7 s for one.
SECONDS = 20
LEAST = 4
ROUNDS = int(os.environ.get("VIRGA_TEST_PLUG_ROUNDS", "0"))
# The name that Linux has for what each request brings.
NAMES = {"add-disk": "vdb", "add-net": "eth0", "add-pmem": "pmem0", "add-vsock": "vsock"}
# Works on the first disk, and says of each device that comes that it is there and can be read, until there is a third disk.
SCRIPT = """
dmesg -c > /dev/null
(while :; do dd if=/dev/vda of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null; echo >> /ticks; done) &
last=no
came() { [ $last != $1 ] && $2 2>/dev/null && last=$1 && echo $1 > /dev/hvc0; }
while [ ! -e /sys/block/vdc ]; do
	if [ -e /sys/block/vdb ]; then
		came vdb "dd if=/dev/vdb of=/dev/null bs=4k count=16"
	elif [ -e /sys/class/net/eth0 ]; then
		came eth0 true
	elif [ -e /sys/block/pmem0 ]; then
		came pmem0 "dd if=/dev/pmem0 of=/dev/null bs=4k count=16"
	elif [ -n "$(ls /sys/bus/virtio/drivers/vmw_vsock_virtio_transport | grep virtio)" ]; then
		came vsock true
	fi
done
echo TICKS $(wc -l < /ticks)
dmesg | grep -iE 'call trace|BUG:|acpi.*error|i/o error' && exit 1
exit 0
"""
# Leads in the nested host: each device goes when Linux has said that it came. Says the answers' times, and what stays of
# threads, descriptors and memory beside guest RAM.
LEADER = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from lib.api import Api
from lib.place import Local
from lib.process import descriptors_of, threads_of
work, pid, ram_kib = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
seconds, rounds, names = int(sys.argv[5]), int(sys.argv[6]), json.loads(sys.argv[7])
def threads():
    return sorted(threads_of(pid).values())
def rss():
    return Local().process(pid, ram_kib)["rss_kib"]
def until_said(name, count):
    end = time.monotonic() + 60
    while True:
        with open(f"{work}/came") as f:
            said = f.read().split()
        if said.count(name) >= count:
            return
        assert time.monotonic() < end, f"{name} did not come for the {count}. time: {said[-5:]}"
        time.sleep(0.05)
def gone(api, kind, n):
    answer = api.ask("PUT", "vm.remove-device", {"id": "hot", "wait": 60})
    assert answer.code == 204, f"{kind} {n}: {answer.code} {answer.error} {api.get('vm.counters')}"
with Api(f"{work}/api", 90) as api:
    took, left, slowest, before, after, n = [], [], {}, None, None, 0
    end = time.monotonic() + seconds
    while n < max(4, rounds) or (not rounds and time.monotonic() < end):
        for route, config in (("add-disk", {"id": "hot", "path": f"{work}/hot"}), ("add-net", {"id": "hot", "tap": "vtplug0"}),
                              ("add-pmem", {"id": "hot", "file": f"{work}/pmem"}),
                              ("add-vsock", {"id": "hot", "cid": 3, "socket": f"{work}/vsock"})):
            start = time.monotonic()
            api.put(f"vm.{route}", config)
            took.append(time.monotonic() - start)
            until_said(names[route], n + 1)
            start = time.monotonic()
            gone(api, route, n)
            left.append(time.monotonic() - start)
            slowest[route] = max(slowest.get(route, 0), round(left[-1], 1))
        n += 1
        if n % 20 == 0:
            print(n, "rounds", rss(), flush=True)
        if n == 2:
            before = threads(), len(descriptors_of(pid)), rss()
    after = threads(), len(descriptors_of(pid)), rss()
    assert before[:2] == after[:2], (before, after)
    print(f"ROUNDS {n} usually_ms {sorted(took)[2 * n] * 1000:.1f} gone_ms {sorted(left)[2 * n] * 1000:.0f} "
          f"beside_kib {before[2]} {after[2]} threads {len(after[0])} fds {after[1]} slowest_s {slowest}", flush=True)
    api.put("vm.add-disk", {"id": "b", "path": f"{work}/hot"})
    api.put("vm.add-disk", {"id": "c", "path": f"{work}/last"})
print("LED", flush=True)
"""


def test_linux_gains_and_loses_devices_of_each_kind(virga, images, place, work):
    place.put(f"{work}/leader.py", LEADER)
    place.run(f"truncate -s 4M {work}/first {work}/hot {work}/pmem {work}/last")
    vm = boot(virga, images, SCRIPT, "--disk", f"path={work}/first,id=first", "--api-socket", f"path={work}/api",
              "--console", f"file={work}/came", overhead=False)
    start = ready(vm)
    numbers = map(str, (vm.pid, vm.ram_kib, SECONDS, ROUNDS))
    job = place.spawn([sys.executable, "-B", f"{work}/leader.py", str(HERE), work, *numbers, json.dumps(NAMES)], {}, work, False)
    text = ""
    for _ in range(int((SECONDS + 210 + 20 * ROUNDS) * PATIENCE)):
        part = place.read(job["job"], len(text), 1)
        text += part["data"]
        print(part["data"], end="", flush=True)
        if "LED" in text or part["status"] is not None:
            break
    place.close(job["job"])
    assert "LED" in text, f"{text}\n{vm.tail()}"
    end = vm.wait_for(r"GUEST-STATUS (\d+)", 120, after=start)
    said = vm.text[start:end.start()]
    assert end.group(1) == "0", said
    rounds = int(re.search(r"ROUNDS (\d+)", text).group(1))
    before, after = map(int, re.search(r"beside_kib (\d+) (\d+)", text).groups())
    ticks = int(re.search(r"TICKS (\d+)", said).group(1))
    came = vm.file_text(f"{work}/came").split()
    print(f"{rounds} rounds, {ticks} reads of a MiB beside them")
    assert rounds >= max(LEAST, ROUNDS) and ticks > rounds
    # the last disks may be seen, too
    assert came[:4 * rounds] == list(NAMES.values()) * rounds and set(came[4 * rounds:]) <= {"vdb"}
    assert after <= before + 400, text
    assert vm.wait() == 0
    place.run(f"rm {work}/first {work}/hot {work}/pmem {work}/last {work}/came {work}/leader.py")
