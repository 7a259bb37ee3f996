# SPDX-License-Identifier: Apache-2.0
"""The nested host: an emulated machine with virtualization, whose root is this machine's own over 9p.

QEMU emulates it instruction by instruction, so it works where this machine's KVM cannot run a stock
Linux, and at the same speed everywhere. Programs built here run there unchanged and find a true KVM.
It is a `place`: what tests call on it goes to an agent inside, through a virtio-serial port.
"""
import base64
import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from lib.place import PlaceError, Remote

QEMU = "qemu-system-x86_64"
AGENT = Path(__file__).with_name("agent.py")
START_SECONDS = 300
MEMORY_MIB = 4096
# What is said at every start, and means nothing.
NOISE = r"TCG doesn't support|Unhandled WRMSR"
# How every failure begins that comes of the nested host itself; after one, `failed` is set.
HOST_DIED = "the nested host does not answer"

# Runs in the nested host. The port's name is in sysfs; there is no udev to make a link of it. Huge pages are
# taken early, while memory is in one piece.
# Files that are unlinked while open need a file system that can do it, which 9p cannot.
COMMAND = """
echo 64 > /proc/sys/vm/nr_hugepages
export TMPDIR=/dev/shm
for port in /sys/class/virtio-ports/*; do
	[ "$(cat $port/name)" = agent ] || continue
	exec python3 -B {agent} /dev/$(basename $port)
done
"""


def why_no_rig(images):
    """The sentence that says what the nested host lacks, or None."""
    if not shutil.which(QEMU):
        return f"no {QEMU} for the nested host"
    if not (images.host / "vmlinuz").is_file():
        return f"no nested host in {images.host}: test/rig/mkall makes it"
    if os.geteuid() != 0:
        return "the nested host reads this machine's own files as root; run as root"
    return None


def qemu_arguments(images, command, throwaway):
    """The machine: an AMD processor with nested paging; what is written to `throwaway` disks is forgotten."""
    append = (f"console=ttyS0 panic=-1 mitigations=off quiet hostcmd="
              f"{base64.b64encode(command.encode()).decode()}")
    args = [QEMU, "-M", "q35", "-accel", "tcg,thread=multi,tb-size=1024",
            "-cpu", "EPYC-Rome,+svm,+npt,-x2apic", "-smp", "2", "-m", str(MEMORY_MIB),
            "-display", "none", "-nic", "none", "-no-reboot",
            "-kernel", str(images.host / "vmlinuz"),
            "-initrd", str(images.host / "initramfs.cpio.zst"),
            "-append", append,
            "-virtfs", "local,path=/,mount_tag=host,security_model=none,multidevs=remap"]
    for disk in throwaway:
        args += ["-drive", f"if=virtio,format=raw,snapshot=on,cache=unsafe,file={disk}"]
    return args


def qemu_environment(images):
    """QEMU with its emulation of CR8 mended: see test/rig/crlock.c."""
    return {**os.environ, "LD_PRELOAD": str(images.host / "crlock.so")}


class Rig(Remote):
    """The nested host, started when made; calls go to the agent in it."""

    def __init__(self, images):
        self.failed = False
        self.dir = Path(tempfile.mkdtemp(prefix="virga-rig-"))
        self.log = self.dir / "console"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.dir / "agent"))
        listener.listen()
        listener.settimeout(60)
        # The same disk twice, as /dev/vda and /dev/vdb: for direct boot and for firmware.
        disks = [images.disk] * 2 if images.disk.is_file() else []
        args = qemu_arguments(images, COMMAND.format(agent=shlex.quote(str(AGENT))), disks)
        args += ["-serial", f"file:{self.log}", "-device", "virtio-serial",
                 "-chardev", f"socket,id=agent,path={self.dir / 'agent'}",
                 "-device", "virtserialport,chardev=agent,name=agent"]
        began = time.monotonic()
        self.qemu = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=open(self.dir / "qemu", "wb"), env=qemu_environment(images))
        stream, _ = listener.accept()
        listener.close()
        super().__init__(stream, lambda: self.qemu.poll() is None)
        try:
            self.line(START_SECONDS)
        except PlaceError:
            self.power_off()
            raise
        self.boot_seconds = time.monotonic() - began

    def line(self, timeout):
        try:
            return super().line(timeout)
        except PlaceError as e:
            self.failed = True
            raise PlaceError(f"{HOST_DIED}: {e}; it said: {self.last_words()}") from e

    def last_words(self):
        """What the nested host's console and its QEMU said last."""
        said = [path.read_text(errors="replace") for path in (self.log, self.dir / "qemu") if path.exists()]
        lines = [line for text in said for line in text.splitlines() if not re.search(NOISE, line)]
        return "\n".join([self.how_qemu_is(), *lines[-80:]])

    def how_qemu_is(self):
        """Whether QEMU lives, or by what it ended, for which it is given a moment."""
        try:
            ended = self.qemu.wait(1)
        except subprocess.TimeoutExpired:
            return "(QEMU lives)"
        return f"(QEMU ended by signal {-ended})" if ended < 0 else f"(QEMU ended with status {ended})"

    def power_off(self):
        """End the nested host: at once, for nothing in it is worth more, and it may be past hearing."""
        self.stream.close()
        self.qemu.kill()
        self.qemu.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
