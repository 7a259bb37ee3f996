# SPDX-License-Identifier: Apache-2.0
"""The life of stock Linux over the REST API, while it works on a disk and others read: paused, resumed, rebooted, shut
down, booted again, deleted. What tiny guests show natively, 25 times over, is in test_guest_life.py."""
import sys
from pathlib import Path

from lib.linux import boot, ready
from lib.virga import remote_binary

HERE = Path(__file__).parent
# Works on its disk, checks what it wrote, tells of each round, and of what the kernel finds wrong.
WORK = """
n=0
while :; do
	n=$((n + 1))
	head -c 262144 /dev/urandom > /tmp/a
	dd if=/tmp/a of=/dev/vda bs=64k seek=$((n % 8 * 4)) conv=fsync 2> /dev/null
	echo 3 > /proc/sys/vm/drop_caches
	dd if=/dev/vda bs=64k skip=$((n % 8 * 4)) count=4 2> /dev/null | cmp - /tmp/a || echo WRONG
	dmesg | grep -iE 'lockup|stall|hung|I/O error|unstable' && echo WRONG
	echo "TICK $n"
done
"""
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
except OSError:
    print(f"READ answers={answers} wrong={wrong} slowest_ms={slowest * 1000:.0f}", flush=True)
"""


def test_linux_goes_through_its_life_while_others_read(virga, images, place, work):
    def remote(*words):
        return place.run(f"{remote_binary()} --api-socket {work}/api {' '.join(words)}", timeout=100).output

    def ticks(after):
        return vm.wait_for(r"TICK \d+\r*\n", 100, after).end()

    place.run(f"truncate -s 4M {work}/disk")
    vm = boot(virga, images, WORK, "--api-socket", f"path={work}/api", "--cpus", "boot=2", "--disk",
              f"path={work}/disk", overhead=False)
    reader = place.spawn([sys.executable, "-B", "-c", READER, str(HERE), f"{work}/api"], {}, work, False)
    at = ticks(ready(vm))
    for n in range(2):
        remote("pause")
        vm.look(1)
        stood = len(vm.text)
        vm.look(1 + n)
        assert len(vm.text) == stood, "a paused guest talks"
        remote("resume")
        at = ticks(len(vm.text))
    remote("reboot")
    at = ticks(vm.wait_for("GUEST-READY", 120, at).end())
    remote("shutdown")
    assert '"Shutdown"' in remote("info")
    remote("boot")
    at = ticks(vm.wait_for("GUEST-READY", 120, len(vm.text) - 1).end())
    remote("pause")
    remote("delete")
    remote("shutdown-vmm")
    assert vm.wait() == 0
    assert "WRONG" not in vm.text
    said = ""
    while "READ" not in said:
        said += place.read(reader["job"], len(said), 10)["data"]
    place.close(reader["job"])
    assert "wrong=0" in said, said
