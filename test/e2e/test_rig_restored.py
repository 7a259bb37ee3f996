# SPDX-License-Identifier: Apache-2.0
"""Stock Linux, saved and killed, goes on page by page as it touches them, and finds what lay elsewhere: registers and keys of
its TPM, which another process has now; files of persistent memory that are its pages; memory in its balloon; who listens on a
vsock. What processes, disks and clocks make of it is test_rig_snapshot's."""
import hashlib
import signal

from lib.linux import BOOT_SECONDS, boot, ready
from lib.outside import Outside

MIB = 1 << 20
ITEM = "opt/virga/script"
FROM_ITEM = f". /sys/firmware/qemu_fw_cfg/by_name/{ITEM}/raw"
VALUES = ["01" * 32, "02" * 32]
# A connection that is reset tells the guest that it is another one.
SCRIPT = f"""
export TPM2TOOLS_TCTI=device:/dev/tpmrm0
tpm() {{ tool tpm2 "$@"; }}
pcr() {{ echo PCR $(tpm pcrread sha256:16 | grep -o '0x.*'); }}
tpm pcrextend 16:sha256={VALUES[0]}
echo words that are sealed > /tmp/words
tpm createprimary -Q -C o -G ecc -c /tmp/top && tpm create -Q -C /tmp/top -i /tmp/words -u /tmp/pub -r /tmp/priv &&
	tpm load -Q -C /tmp/top -u /tmp/pub -r /tmp/priv -c /tmp/sealed
mke2fs -b 4096 /dev/pmem0 > /dev/null 2>&1
mkdir /tmp/p
mount -t ext4 -o dax /dev/pmem0 /tmp/p && grep -c '/tmp/p ext4.*dax' /proc/mounts
head -c 4194304 /dev/urandom | tee /tmp/p/noise > /tmp/noise
tool socat VSOCK-LISTEN:53,fork PIPE &
exec 3> /tmp/p/held
echo said before >&3
dmesg -c > /dev/null
echo HOLDS
tool socat -u VSOCK-CONNECT:2:1024 - 2> /dev/null
echo GOES ON
pcr
tpm pcrextend 16:sha256={VALUES[1]}
pcr
echo UNSEALED $(tpm unseal -c /tmp/sealed)
echo said after >&3
cmp /tmp/p/noise /tmp/noise && echo NOISE same
exec 3>&-
umount /tmp/p && mount -t ext4 -o dax /dev/pmem0 /tmp/p && echo HELD $(cat /tmp/p/held)
cmp /tmp/p/noise /tmp/noise && echo NOISE same again
umount /tmp/p
until echo ECHO from the host | tool socat - VSOCK-CONNECT:2:1024 2> /dev/null; do sleep 0.2; done
echo ANSWERED
read line < /dev/ttyS0
dmesg | grep -v EXPERIMENTAL | grep -iE 'call trace|bug:|oops|error|fail|warn' && exit 1
exit 0
"""


def extended(*values):
    """What a register holds that began at zero, as tpm2 writes it."""
    at = bytes(32)
    for value in values:
        at = hashlib.sha256(at + bytes.fromhex(value)).digest()
    return f"PCR 0x{at.hex().upper()}"


class Tpm:
    """An swtpm with a state of its own, at the same socket as the one before it."""

    def __init__(self, place, work, name):
        self.place, self.dir, self.socket = place, f"{work}/{name}", f"{work}/tpm.sock"
        place.run(f"mkdir {self.dir}; swtpm socket --daemon --tpm2 --tpmstate dir={self.dir} --ctrl type=unixio,path={self.socket} "
                  f"--pid file={self.dir}/pid")

    def end(self):
        self.place.run(f"kill $(cat {self.dir}/pid); sleep 0.3; rm -rf {self.dir} {self.socket}", check=False)


def test_linux_goes_on_page_by_page_with_its_tpm_pmem_balloon_and_vsock(virga, images, place, work):
    vsock, api, snap = f"{work}/vsock", f"{work}/api", f"{work}/snap"
    place.put(f"{work}/script", SCRIPT)
    place.run(f"truncate -s 32M {work}/pmem && mkdir {snap}")
    tpm = Tpm(place, work, "one")
    echo = place.spawn(["socat", f"UNIX-LISTEN:{vsock}_1024,fork", "PIPE"])
    try:
        vm = boot(virga, images, FROM_ITEM, "--memory", "size=256M", "--pmem", f"file={work}/pmem", "--tpm", f"socket={tpm.socket}",
                  "--vsock", f"cid=3,socket={vsock}", "--balloon", "size=0", "--fw-cfg-config",
                  f"items=[name={ITEM},file={work}/script]", "--api-socket", f"path={api}", tools=True, overhead=False)
        outside = Outside(place, vm, api)
        at = ready(vm)
        holds = vm.wait_for("HOLDS", BOOT_SECONDS, after=at).start()
        print(vm.text[at:holds])
        assert "1" in vm.text[at:holds].replace("\r", "").split("\n"), "ext4 with DAX"
        outside.put("resize", {"desired_balloon": 64 * MIB})
        outside.until(lambda: outside.count("__balloon", "actual_bytes") == 64 * MIB)
        full = outside.rss_mib()
        outside.put("pause")
        outside.put("snapshot", {"destination_url": f"file://{snap}"})
        vm.kill(signal.SIGKILL)
        vm.wait()
        tpm.end()
        tpm = Tpm(place, work, "other")

        vm = virga("--restore", f"source_url=file://{snap},memory_restore_mode=ondemand,prefetch=none,resume=on",
                   "--api-socket", f"path={api}", overhead=False)
        outside = Outside(place, vm, api)
        vm.wait_for("GOES ON", BOOT_SECONDS)
        vm.wait_for("ANSWERED", BOOT_SECONDS)
        print(f"{full} MiB before, {outside.rss_mib()} MiB when it had looked at all that was its own")
        assert outside.rss_mib() < full
        answer = place.run(f"printf 'CONNECT 53\\nwords for the guest\\n' | socat -t 5 - UNIX-CONNECT:{vsock}").output
        assert answer.startswith("OK ") and answer.endswith("\nwords for the guest\n"), answer
        assert outside.count("__balloon", "actual_bytes") == 64 * MIB
        outside.put("resize", {"desired_balloon": 0})
        outside.until(lambda: outside.count("__balloon", "actual_bytes") == 0)
        vm.type("\n")
        end = vm.wait_for(r"GUEST-STATUS (\d+)", BOOT_SECONDS)
        said = vm.text[:end.start()].replace("\r", "").splitlines()
        assert vm.wait() == 0 and end.group(1) == "0", said
    finally:
        tpm.end()
        place.run(f"kill {echo['pid']}; rm -rf {vsock}_1024 {snap}", check=False)
        place.close(echo["job"])
    # not the line that was typed, nor what the kernel says of experiments, which is judged in the guest
    said = [line for line in said[said.index("GOES ON"):] if line and not line.startswith("[")]
    assert said == ["GOES ON", extended(VALUES[0]), extended(*VALUES), "UNSEALED words that are sealed", "NOISE same",
                    "HELD said before said after", "NOISE same again", "ECHO from the host", "ANSWERED"], said
