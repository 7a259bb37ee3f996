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
CSUM, GUEST_CSUM, MTU, MAC, GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6, MRG_RXBUF, CTRL_VQ, MQ = \
    0, 1, 3, 5, 7, 8, 11, 12, 15, 17, 22
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


# Three cards of one machine: where their host side is, and what they are told beyond that.
CARDS = ((10, "num_queues=4"), (11, "offload_tso=off,offload_ufo=off,offload_csum=off,mtu=1280"),
         (12, "offload_tso=off,offload_ufo=off,mtu=9000"))
CSUM_ERRORS = """awk '/^(Tcp|Udp):/ { if (!($1 in at)) { for (i = 2; i <= NF; i++) if ($i == "InCsumErrors") at[$1] = i }
                                else print $at[$1] }' /proc/net/snmp"""


def test_iperf_with_every_kind_of_offloads_and_mtu(virga, images, place):
    """Both ways through each card, and no checksum was wrong on either side."""
    script = """
for n in 0 1 2; do
	ip link set eth$n up; ip address add 10.99.1$n.2/24 dev eth$n
	cat /sys/class/net/eth$n/device/features /sys/class/net/eth$n/mtu
done
ls /sys/class/net/eth0/queues | tr '\\n' ' '; echo
for n in 0 1 2; do
	for way in '' -R; do
		tool iperf3 -c 10.99.1$n.1 -t 1 -P 2 $way > /tmp/out 2>&1 || { cat /tmp/out; exit 1; }
		awk '/SUM.*receiver/ { print $6 }' /tmp/out
	done
	ping -c 2 -s 8000 10.99.1$n.1 > /tmp/out || exit 1
done
""" + CSUM_ERRORS
    nets = [f"tap=vtest{n},ip=10.99.{n}.1,mask=255.255.255.0,{more}" for n, more in CARDS]
    before = place.run(CSUM_ERRORS).output
    place.run("iperf3 --server --daemon --pidfile /run/iperf3.pid")
    try:
        vm = boot(virga, images, script, "--cpus", "boot=2", "--net", *nets, tools=True)
        lines = finish(vm, 240)
    finally:
        place.run("kill $(tr -d '\\0' < /run/iperf3.pid)")
    all_on, mtu, all_off, mtu_off, no_tso, mtu_tso, queues, *rates = lines
    assert {CSUM, GUEST_CSUM, MAC, GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6, MRG_RXBUF, CTRL_VQ, MQ} \
        <= feature_bits(all_on)
    segments = {GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6}
    assert not {CSUM, GUEST_CSUM, *segments} & feature_bits(all_off)
    assert {CSUM, GUEST_CSUM} <= feature_bits(no_tso) and not segments & feature_bits(no_tso)
    assert (mtu, mtu_off, mtu_tso) == ("1500", "1280", "9000")
    assert queues.split() == ["rx-0", "rx-1", "tx-0", "tx-1"]
    assert len(rates) == 8 and all(float(rate) > 0 for rate in rates[:6]), rates
    assert rates[6:] == ["0", "0"], "no checksum was wrong in the guest"
    assert place.run(CSUM_ERRORS).output == before


def test_guest_that_sends_while_it_ends_leaves_no_tap(virga, images, place):
    flood = UP + f"ping -A -q {HOST} > /dev/null & sleep 1; true"
    vm = boot(virga, images, flood, "--net", f"tap=vtest6,ip={HOST},mask=255.255.255.0")
    ready(vm)
    vm.kill()
    assert vm.wait() == 0
    assert "vtest6" not in place.run("ls /sys/class/net").output
