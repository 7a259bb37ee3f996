# SPDX-License-Identifier: Apache-2.0
"""What Linux says by its console comes out byte for byte, and its limited disks keep their rates."""
import re

import pytest

from lib.beside import Beside
from lib.linux import boot, finish, ready

# ---- consoles ----

# A disk of random bytes is what is said, so that the guest need neither make nor hash it. The virtio console takes 4 KiB
# a kick; from the serial port each byte would be an exit.
CONSOLE_BYTES = 10 << 20
SAY = """
exec 3<>/dev/hvc0
stty raw -echo <&3
echo SET
read -r go
cat /dev/vda >&3
"""


@pytest.fixture
def spoken(place, work):
    """A file of random bytes, and their SHA-256."""
    path = f"{work}/spoken"
    return path, place.run(f"head -c {CONSOLE_BYTES} /dev/urandom | tee {path} | sha256sum").output.split()[0]


def speak(virga, images, path, console):
    """A guest that waits for a line before it says all that is on its disk."""
    return boot(virga, images, SAY, "--console", console, "--disk", f"path={path},readonly=on", "-v")


def test_console_carries_every_byte_to_a_file(virga, images, place, work, spoken):
    vm = speak(virga, images, spoken[0], f"file={work}/heard")
    ready(vm)
    vm.type("\n")
    finish(vm)
    place.run(f"cmp {spoken[0]} {work}/heard")


@pytest.mark.parametrize("mode", ["pty", "socket"])
def test_console_carries_every_byte_to_its_client(virga, images, place, work, spoken, mode):
    vm = speak(virga, images, spoken[0], mode if mode == "pty" else f"socket={work}/console")
    path = vm.wait_for(r"--console is at (/dev/pts/\d+)").group(1) if mode == "pty" else f"{work}/console"
    vm.wait_for("^SET", 120)
    with Beside(place, "drain.py", path, CONSOLE_BYTES) as client:
        client.wait_for("OPEN")
        vm.type("\n")
        heard = client.wait_for(r"DRAINED (\d+) (\w+)", 120).groups()
        assert heard == (str(CONSOLE_BYTES), spoken[1]), vm.activity()
        finish(vm)


# ---- limits ----

# One reader for each disk, and how many requests end between two looks. Before the first look the buckets, which
# are full at first, are emptied. A bucket of a second makes up for what a busy host holds back.
RATES = """
for d in a b c d; do (while dd if=/dev/vd$d of=/dev/null bs=16k iflag=direct; do :; done) 2> /dev/null & done
look() { read -r up _ < /proc/uptime; for d in a b c d; do read -r n _ < /sys/block/vd$d/stat; set -- "$@" $n; done; echo $up $*; }
sleep 3
look
sleep 6
look
"""
OPS, BYTES = "ops_size=40,ops_refill_time=1000", f"bw_size={40 * 16384},bw_refill_time=1000"


def test_limited_disks_keep_their_rates(virga, images, place, work):
    """40 requests a second by their number, 40 by their bytes, and 80 of two disks together."""
    paths = [f"{work}/disk{n}" for n in range(4)]
    place.run(f"truncate -s 64M {' '.join(paths)}")
    limits = [OPS, BYTES, "rate_limit_group=g", "rate_limit_group=g"]
    vm = boot(virga, images, RATES, "--rate-limit-group", "id=g,ops_size=80,ops_refill_time=1000",
              "--disk", *(f"path={path},{limit}" for path, limit in zip(paths, limits)))
    before, after = ([float(x) for x in line.split()] for line in finish(vm) if re.match(r"[\d. ]+$", line))
    seconds, *done = (b - a for a, b in zip(before, after))
    ops, by_bytes, one, other = (n / seconds for n in done)
    assert abs(ops / 40 - 1) <= 0.1 and abs(by_bytes / 40 - 1) <= 0.1, done
    assert abs((one + other) / 80 - 1) <= 0.2 and min(one, other) > 20, done
