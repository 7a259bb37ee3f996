# SPDX-License-Identifier: Apache-2.0
"""Network cards under stock Linux: taps that virga makes, taps that exist, taps handed over as descriptors."""
import sys
from pathlib import Path

from lib.linux import boot, finish, ready
from lib.virga import binary

HOST, GUEST = "10.99.0.1", "10.99.0.2"
UP = f"ip link set eth0 up; ip address add {GUEST}/24 dev eth0\n"
# Many pings, of all sizes that fit into a frame and some that do not.
PING = UP + f"""
ping -c 3 {HOST} > /tmp/out && ping -c 2 -s 1472 {HOST} >> /tmp/out && ping -c 2 -s 9000 {HOST} >> /tmp/out
status=$?
grep received /tmp/out
[ $status = 0 ]
"""
ALL_RECEIVED = ["3 packets transmitted, 3 packets received, 0% packet loss"] + \
    ["2 packets transmitted, 2 packets received, 0% packet loss"] * 2
# Feature bits of virtio 1.3 §5.1.3.
CSUM, GUEST_CSUM, MTU, MAC, GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6, CTRL_VQ, MQ = \
    0, 1, 3, 5, 7, 8, 11, 12, 17, 22
FD_RUNNER = Path(__file__).parent / "lib" / "with_taps.py"


def feature_bits(line):
    return {bit for bit, one in enumerate(line.strip()) if one == "1"}


def test_ping_through_a_tap_that_virga_makes(virga, images, place):
    script = "cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu\n" + PING
    vm = boot(virga, images, script,
              "--net", f"tap=vtest1,ip={HOST},mask=255.255.255.0,mac=52:54:00:12:34:56,mtu=1400")
    assert finish(vm) == ["52:54:00:12:34:56", "1400", *ALL_RECEIVED]
    assert "vtest1" not in place.run("ls /sys/class/net").output


def test_ping_through_a_tap_that_exists(virga, images, place):
    place.run(f"ip tuntap add vtest2 mode tap && ip address add {HOST}/24 dev vtest2 && ip link set vtest2 up")
    try:
        vm = boot(virga, images, PING, "--net", "tap=vtest2")
        assert finish(vm) == ALL_RECEIVED
        vm.close()
        assert "vtest2" in place.run("ls /sys/class/net").output
    finally:
        place.run("ip link delete vtest2")


def test_ping_through_a_tap_handed_over(virga, images):
    vm = boot(virga, images, PING, "--net", "fd=[3],num_queues=2", program=sys.executable,
              before=[FD_RUNNER, "vtest3", f"{HOST}/24", "1", binary()])
    assert finish(vm) == ALL_RECEIVED


def test_iperf_with_two_queue_pairs_and_offloads(virga, images, place):
    script = f"""
cat /sys/class/net/eth0/device/features
ls /sys/class/net/eth0/queues | tr '\\n' ' '; echo
{UP}
for way in '' -R; do
	tool iperf3 -c {HOST} -t 2 -P 2 $way > /tmp/out 2>&1 || {{ cat /tmp/out; exit 1; }}
	awk '/SUM.*receiver/ {{ print $6, $7 }}' /tmp/out
done
"""
    place.run("iperf3 --server --daemon --pidfile /run/iperf3.pid")
    try:
        vm = boot(virga, images, script, "--cpus", "boot=2",
                  "--net", f"tap=vtest4,ip={HOST},mask=255.255.255.0,num_queues=4", tools=True)
        features, queues, sent, received = finish(vm, 180)
    finally:
        place.run("kill $(tr -d '\\0' < /run/iperf3.pid)")
    assert {CSUM, GUEST_CSUM, MAC, GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6, CTRL_VQ, MQ} <= feature_bits(features)
    assert queues.split() == ["rx-0", "rx-1", "tx-0", "tx-1"]
    assert float(sent.split()[0]) > 0 and float(received.split()[0]) > 0


def test_offloads_that_are_off_are_not_offered(virga, images):
    vm = boot(virga, images, "cat /sys/class/net/eth0/device/features\n" + PING,
              "--net", f"tap=vtest5,ip={HOST},mask=255.255.255.0,offload_tso=off,offload_ufo=off,offload_csum=off")
    features, *pings = finish(vm)
    assert not {CSUM, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6} & feature_bits(features)
    assert pings == ALL_RECEIVED


def test_guest_that_sends_while_it_ends_leaves_no_tap(virga, images, place):
    flood = UP + f"ping -A -q {HOST} > /dev/null & sleep 1; true"
    vm = boot(virga, images, flood, "--net", f"tap=vtest6,ip={HOST},mask=255.255.255.0")
    ready(vm)
    vm.kill()
    assert vm.wait() == 0
    assert "vtest6" not in place.run("ls /sys/class/net").output
