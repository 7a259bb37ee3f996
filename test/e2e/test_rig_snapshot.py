# SPDX-License-Identifier: Apache-2.0
"""Stock Linux goes on from snapshots and notices nothing but the time: what its processes hold in memory, what they have
on the way to a disk and over a connection, and what has been plugged meanwhile. One boot, many scenes."""
import json
import sys
from pathlib import Path

from lib.linux import TOOLS, guest_command
from lib.virga import PATIENCE, binary

HERE = Path(__file__).parent
KERNEL = "6.12-cloud"
HOST = "10.98.0.1"
# A counter of 10 Hz and a token that a process holds in its memory; fio with verification and iperf3; and a line of all
# that two or three times a second, with whatever has been plugged, until a fifth disk comes.
SCRIPT = TOOLS + """
dmesg -c > /dev/null
ip link set eth0 up; ip address add 10.98.0.2/24 dev eth0
echo online > /sys/devices/system/memory/auto_online_blocks
(n=0; while :; do n=$((n + 1)); echo $n > /tmp/n.new; mv /tmp/n.new /tmp/n; sleep 0.1; done) &
(while [ ! -e /tmp/end ]; do
	tool fio --name=v --filename=/dev/vdb --size=2M --bs=4k --rw=randwrite --verify=crc32c --verify_fatal=1 \\
		--ioengine=libaio --iodepth=8 --direct=1 > /tmp/fio 2>&1 || { echo WRONG fio; cat /tmp/fio; }
	echo >> /tmp/fios
done; echo > /tmp/fio.end) &
(tool iperf3 -c 10.98.0.1 -t 20 -b 2M > /tmp/iperf 2>&1; echo $? > /tmp/iperf.end) &
token=$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' ')
hot=no
while [ ! -e /sys/block/vde ]; do
	# a line that is soon said: its coming tells how late the guest is
	read up idle < /proc/uptime
	echo "UP $up"
	read boot < /proc/sys/kernel/random/boot_id
	n=$(cat /tmp/n)
	random=$(head -c 8 /dev/urandom | od -An -tx1 | tr -d ' ')
	now=$(adjtimex | awk -v up=$(cut -d' ' -f1 /proc/uptime) '/tv_sec/ { s = $2 } /tv_usec/ { printf "%.2f", s + $2 / 1e6 - up }')
	for c in /sys/devices/system/cpu/cpu[1-9]*/online; do
		[ "$(cat $c 2> /dev/null)" = 0 ] && echo 1 > $c
	done 2> /dev/null
	[ $hot = no ] && [ -e /sys/class/net/eth1 ] && ip link set eth1 up && ip address add 10.98.1.2/24 dev eth1 && hot=up
	[ $hot != no ] && hot=$(ping -c 1 -W 1 10.98.1.1 > /dev/null && echo pong || echo lost)
	disk=$(dd if=/dev/vdd bs=16 count=1 iflag=direct 2> /dev/null || dd if=/dev/vdd bs=512 count=1 2> /dev/null | head -c 8)
	echo "TICK $n $up $now $token $boot $random $(grep -c ^processor /proc/cpuinfo)" \\
		"$(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo) $hot ${disk:-none} $(wc -l < /tmp/fios)"
done
: > /tmp/end
for i in $(seq 300); do [ -e /tmp/fio.end ] && [ -e /tmp/iperf.end ] && break; sleep 0.2; done
echo IPERF $(cat /tmp/iperf.end) $(grep -c sec /tmp/iperf)
[ "$(cat /tmp/iperf.end)" = 0 ] || cat /tmp/iperf
dmesg | grep -iE 'call trace|BUG:|i/o error|lockup|stall|clocksource.*unstable' && echo WRONG dmesg
true
"""
LEADER = r"""
import atexit, json, os, re, shutil, signal, subprocess, sys, time
here, work, program, patience, config = sys.argv[1:6]
sys.path.insert(0, here)
from lib.api import Api
patience, config = float(patience), json.loads(config)
CLONES = 10
began = time.monotonic()

def tell(*words):
    print(f"[{time.monotonic() - began:5.1f}]", *words, flush=True)

class Life:
    # One process, and what its machine says on the serial port, each line with the time of its coming.
    def __init__(self, name, *args):
        self.name, self.said, self.lines, self.rest, self.read = name, f"{work}/said-{name}", [], "", 0
        self.log = open(f"{work}/log-{name}", "wb")
        self.proc = subprocess.Popen([program, "-v", "--api-socket", f"path={work}/api-{name}", *args], stdout=self.log, stderr=self.log,
                                     stdin=subprocess.DEVNULL)
        atexit.register(self.proc.kill)
        self.api = Api(f"{work}/api-{name}", 60)

    def look(self):
        if os.path.exists(self.said):
            with open(self.said, errors="replace") as f:
                f.seek(self.read)
                text = f.read()
                self.read = f.tell()
            now = time.time()
            *whole, self.rest = (self.rest + text.replace("\r", "")).split("\n")
            self.lines += [(now, line) for line in whole]
        wrong = [line for _, line in self.lines if "WRONG" in line]
        assert not wrong, self.tail()

    def tail(self):
        return "\n".join(line for _, line in self.lines[-40:]) + open(f"{work}/log-{self.name}", errors="replace").read()[-2000:]

    def ticks(self):
        self.look()
        # the first line may be the other half of one that another life began
        found = [(now, line.split()) for now, line in self.lines if line.startswith("TICK ")]
        return [(now, words[1:]) for now, words in found if len(words) == 12]

    def born(self):
        # By the clock of the host, when the guest was at 0: the least of what its lines say.
        self.look()
        found = [now - float(line.split()[1]) for now, line in self.lines if re.fullmatch(r"UP [0-9.]+", line)]
        return min(found) if found else None

    def until(self, what, seconds=90):
        end = time.monotonic() + seconds * patience
        while not (found := what()):
            assert self.proc.poll() is None and time.monotonic() < end, f"{self.name}: {self.proc.poll()} {self.tail()}"
            time.sleep(0.01)
        return found

    def ticked(self, n, seconds=90):
        self.until(lambda: len(self.ticks()) >= n, seconds)
        return self.ticks()

    def save(self, path):
        os.makedirs(path, exist_ok=True)
        self.api.put("vm.pause")
        start = time.monotonic()
        self.api.put("vm.snapshot", {"destination_url": f"file://{path}"})
        tell(f"snapshot of {self.name}: {time.monotonic() - start:.2f} s, {os.stat(path + '/memory-ranges').st_blocks >> 11} MiB")

    def kill(self):
        self.api.close()
        self.look()
        self.proc.send_signal(signal.SIGKILL)
        self.proc.wait()

def restore(name, snap, *more):
    how = ",".join([f"source_url=file://{snap}", "resume=on", f"serial_file={work}/said-{name}", *more])
    life = Life(name, "--restore", how)
    try:
        life.until(lambda: life.api.state() == "Running")
    except OSError as gone:
        raise AssertionError(f"{name}: {life.proc.wait(10)} {life.tail()}") from gone
    return life

def goes_on(was, life, n, what):
    # From the last tick of one life to those of the next.
    ticks = life.ticked(n)
    [last, *_] = was[-1:]
    row = [last[1]] + [words for _, words in ticks]
    assert len({words[3] for words in row}) == 1, "the token"
    assert len({words[4] for words in row}) == 1, "boot_id"
    counts, ups = [int(words[0]) for words in row], [float(words[1]) for words in row]
    assert counts == sorted(counts) and counts[-1] > counts[0], counts
    assert ups == sorted(ups), f"monotonic time went back: {ups}"
    late = life.born() - a.born()
    zeros = [float(words[2]) for words in row]
    tell(f"{what}: clocks have lost {late:+.3f} s, counter {counts[0]} to {counts[-1]}, uptime {ups[0]} to {ups[-1]}, time of day at 0 {zeros}")
    assert abs(late) < 0.5, [(now, words[1]) for now, words in ticks]
    # the time of day goes with that clock, as far as a script can look at both at once
    assert max(zeros) - min(zeros) < 2, zeros

a = Life("a", *config)
first = a.ticked(3, 150)
tell(f"up, the guest was at 0 {time.time() - a.born():.3f} s ago, and says that its time of day was then {time.time() - float(first[-1][1][2]):.3f} s ago")
a.save(f"{work}/s1"); time.sleep(1.5); a.kill()
b = restore("b", f"{work}/s1"); shutil.rmtree(f"{work}/s1")
goes_on(first, b, 4, "restored by map")

b.api.put("vm.add-disk", {"id": "hot", "path": f"{work}/hot"})
b.api.put("vm.add-net", {"id": "hotnet", "tap": "vtsnap1", "ip": "10.98.1.1", "mask": "255.255.255.0"})
b.api.put("vm.resize", {"desired_vcpus": 2, "desired_ram": (192 + 128) << 20})
grown = lambda life: [t for t in life.ticks() if t[1][6] == "2" and int(t[1][7]) > 240 and t[1][8] == "pong" and t[1][9] == "HOTPLUG!"]
b.until(lambda: grown(b), 60)
tell("disk, card, CPU and memory have come")
was = b.ticks()
b.save(f"{work}/s2"); b.kill()
c = restore("c", f"{work}/s2", "memory_restore_mode=copy"); shutil.rmtree(f"{work}/s2")
goes_on(was, c, 3, "restored by copy, with what was plugged")
c.until(lambda: grown(c)[-1:] == c.ticks()[-1:], 30)

was = c.ticks()
c.save(f"{work}/s3")
shutil.copy(f"{work}/disk", f"{work}/disk-saved")
c.kill()
clones = []
for k in range(CLONES):
    shutil.copy(f"{work}/disk-saved", f"{work}/disk{k}"); shutil.copy(f"{work}/hot", f"{work}/hot{k}")
    clones.append(restore(f"clone{k}", f"{work}/s3", f"disks=[id=work,path={work}/disk{k}:id=hot,path={work}/hot{k}]",
                          f"net=[id=net,tap=vtc{k},ip=10.97.{k}.1:id=hotnet,tap=vth{k},ip=10.96.{k}.1]"))
# the kernel hears of its new generation by an interrupt of ACPI, before the second line at the latest
born = [clone.ticked(2, 120)[1][1] for clone in clones]
assert len({words[5] for words in born}) == CLONES, f"random bytes: {[words[5] for words in born]}"
assert len({words[3] for words in born}) == 1 and len({words[4] for words in born}) == 1
for clone in clones:
    clone.kill()
tell(f"{CLONES} clones at once, each with random bytes of its own")

d = restore("d", f"{work}/s3")
goes_on(was, d, 3, "restored once more")
d.api.put("vm.add-disk", {"id": "end", "path": f"{work}/end"})
d.until(lambda: d.look() or [line for _, line in d.lines if line.startswith("GUEST-STATUS 0")], 90)
d.look()
tell(*(line for _, line in d.lines if line.startswith("IPERF")))
assert [line for _, line in d.lines if line.startswith("IPERF 0")], d.tail()
assert int(d.ticks()[-1][1][10]) > 1, "fio verified"
assert d.proc.wait(60) == 0
print("LED", flush=True)
"""


def test_linux_goes_on_from_snapshots_and_so_do_its_clones(images, place, work):
    at = images.guest(KERNEL)
    place.put(f"{work}/leader.py", LEADER)
    place.put(f"{work}/script", SCRIPT)
    place.run(f"truncate -s 64K {work}/script; truncate -s 4M {work}/disk {work}/end; "
              f"echo -n HOTPLUG! > {work}/hot; truncate -s 1M {work}/hot")
    words = "console=ttyS0 quiet " + guest_command(r"tr -d '\0' < /dev/vda > /tmp/s; . /tmp/s")
    config = ["--kernel", at / "vmlinux", "--initramfs", at / "initramfs.cpio.zst", "--cmdline", words, "--memory",
              "size=192M,hotplug_size=256M", "--cpus", "boot=1,max=2", "--serial", f"file={work}/said-a", "--console", "off",
              "--net", f"id=net,tap=vtsnap0,ip={HOST},mask=255.255.255.0", "--disk", f"id=script,path={work}/script,readonly=on",
              f"id=work,path={work}/disk", f"id=tools,path={images.tools},readonly=on"]
    place.run("iperf3 --server --daemon --pidfile /run/iperf3.pid")
    try:
        job = place.spawn([sys.executable, "-B", f"{work}/leader.py", str(HERE), work, binary(), str(PATIENCE),
                           json.dumps([str(word) for word in config])], {}, work, False)
        text, status = "", None
        for _ in range(int(400 * PATIENCE)):
            part = place.read(job["job"], len(text), 1)
            text, status = text + part["data"], part["status"]
            if status is not None:
                break
        place.close(job["job"])
    finally:
        place.run("kill $(tr -d '\\0' < /run/iperf3.pid)", check=False)
    assert status == 0 and "LED" in text, text
