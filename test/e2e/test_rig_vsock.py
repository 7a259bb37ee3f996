# SPDX-License-Identifier: Apache-2.0
"""Stock Linux and programs of the host, over vsock: long streams both ways, many at once, and socat as anybody has it."""
import os

from lib.beside import Beside
from lib.linux import boot, finish, ready

# Each way on one stream, and each way on 200 together. The nested host is an emulated processor: a GiB
# (VIRGA_TEST_VSOCK_MIB=1024, a multiple of 16) takes three minutes there.
MIB = int(os.environ.get("VIRGA_TEST_VSOCK_MIB", "16"))
SECONDS = 300 + 2 * MIB

# What socat's pipe is told to take at once is a page: a pipe that has room for one only would hold the one who empties it.
BOTH_WAYS = f"""
cat /sys/module/vmw_vsock_virtio_transport/initstate
(tool socat -u -b 262144 VSOCK-LISTEN:52 - | sha256sum > /tmp/got) &
got=$!
(tool socat -t 600 -b 4096 VSOCK-LISTEN:53,fork,backlog=256 PIPE) &
dd if=/dev/urandom of=/tmp/x bs=1M count=16 2> /dev/null
all() {{ i=0; while [ $i -lt {MIB} ]; do cat /tmp/x; i=$((i + 16)); done; }}
all | tool socat -u -b 262144 - VSOCK-CONNECT:2:1024
echo "SENT $(all | sha256sum)"
echo WAITING
wait $got
echo "GOT $(cat /tmp/got)"
until tool socat -u - VSOCK-CONNECT:2:1025 < /dev/null 2> /dev/null; do sleep 1; done
"""


def test_linux_and_host_speak_both_ways_over_200_streams(virga, images, place, work):
    path = f"{work}/vsock"
    with Beside(place, "vsock_there.py", path, MIB) as host:
        host.wait_for("LISTENS")
        vm = boot(virga, images, BOTH_WAYS, "--vsock", f"cid=3,socket={path}", "--memory", "size=512M", tools=True)
        ready(vm)
        vm.wait_for("^WAITING", SECONDS)
        host.type("give\n")
        given = host.wait_for(r"GIVEN (\d+) (\w+)\n", SECONDS).groups()
        taken = host.wait_for(r"TAKEN (\d+) (\w+)\n", 60).groups()
        host.type("streams\n")
        count, moved = map(int, host.wait_for(r"STREAMS (\d+) (\d+)\n", SECONDS).groups())
        assert count == 200 and moved >= MIB << 20
        place.run(f"python3 -c \"import socket; s=socket.socket(socket.AF_UNIX); s.bind('{path}_1025'); s.listen(); "
                  f"s.settimeout(60); s.accept()\"; rm -f {path}_1025")
        lines = finish(vm)
    said = dict(line.split()[:2] for line in lines if line.startswith(("SENT ", "GOT ")))
    assert lines[0] == "live"
    assert given[0] == taken[0] == str(MIB << 20)
    assert said == {"SENT": taken[1], "GOT": given[1]}
