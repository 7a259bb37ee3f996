# SPDX-License-Identifier: Apache-2.0
"""Stock kernels boot, by every road that leads into one."""
import re

import pytest

from lib.images import KERNELS
from lib.linux import LOGIN_SECONDS, ask, boot, finish, guest_command, log_in, ready

LOOK = "cat /proc/cmdline; nproc; grep MemTotal /proc/meminfo; uname -r; cat /sys/class/misc/hw_random/rng_current"


def mem_total_mib(lines):
    return int(next(line for line in lines if line.startswith("MemTotal")).split()[1]) // 1024


@pytest.mark.parametrize("image", ["vmlinux", "vmlinuz"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_debian_kernel_boots(virga, images, kernel, image):
    cpus = 1 if image == "vmlinux" else 2
    vm = boot(virga, images, LOOK, "--cpus", f"boot={cpus}", "--memory", "size=512M",
              kernel=kernel, image=image, cmdline="virga.test=1", plain=True)
    lines = finish(vm)
    assert lines[0] == vm.args[vm.args.index("--cmdline") + 1]
    assert lines[1] == str(cpus)
    assert 400 < mem_total_mib(lines) < 512
    assert lines[3].startswith(kernel.split("-")[0])
    assert lines[4].startswith("virtio_rng")


# Debian's cloud kernels cannot read an MP table.
@pytest.mark.parametrize("kernel, image", [("6.1", "vmlinuz"), ("6.12", "vmlinux")])
def test_kernel_boots_without_acpi(virga, images, kernel, image):
    # Nothing can power such a guest off: it reboots, and is seen a second time.
    vm = boot(virga, images, "nproc; ls -d /sys/firmware/acpi/tables; true", "--cpus", "boot=2", kernel=kernel,
              image=image, cmdline="acpi=off reboot=k")
    lines = finish(vm, power_off=False)
    assert lines[0] == "2"
    assert "/sys/firmware/acpi/tables" not in lines
    vm.wait_for("GUEST-READY", 120, after=vm.text.rindex("GUEST-STATUS"))
    assert vm.stop() == 0


def test_long_command_line_arrives(virga, images):
    script = "cat /proc/cmdline"
    fill = "virga.fill=" + "x" * (2047 - len(f"console=ttyS0 quiet virga.fill= {guest_command(script)}"))
    vm = boot(virga, images, script, cmdline=fill)
    assert finish(vm)[0] == vm.args[vm.args.index("--cmdline") + 1]


def test_firmware_boots_the_disk_to_a_login_on_the_serial_port(virga, images, firmware, work):
    console = f"{work}/hvc0"
    vm = virga("--firmware", firmware, "--disk", "path=/dev/vdb", "--memory", "size=1G",
               "--serial", "tty", "--console", f"file={console}", tty=True)
    log_in(vm)
    assert ask(vm, "ls -d /sys/firmware/efi") == ["/sys/firmware/efi"]
    assert any(line.startswith("Linux ") for line in ask(vm, "uname -sr"))
    vm.wait_for_in(console, "login: ", LOGIN_SECONDS)
    vm.type("poweroff\n")
    assert vm.wait(LOGIN_SECONDS) == 0


def test_disk_boots_directly_to_a_login_on_the_console(virga, images, work):
    serial = f"{work}/ttyS0"
    vm = virga("--kernel", images.disk_kernel, "--initramfs", images.disk_initrd,
               "--cmdline", "root=LABEL=rootfs ro quiet console=ttyS0 console=hvc0",
               "--disk", "path=/dev/vda,serial=first", "--memory", "size=1G",
               "--net", "tap=vtest0,ip=192.168.77.1,mask=255.255.255.0",
               "--serial", f"file={serial}", "--console", "tty", tty=True)
    log_in(vm)
    assert "hvc0" in "".join(ask(vm, "tty"))
    assert any(re.search(r"vda2 .* /$", line) for line in ask(vm, "lsblk -o NAME,SIZE,MOUNTPOINT"))
    assert ask(vm, "cat /sys/block/vda/serial; echo") == ["first"]
    assert any(line.startswith("Linux version 6.1") for line in ask(vm, "cut -c 1-60 /proc/version"))
    vm.wait_for_in(serial, "login: ", LOGIN_SECONDS)
    vm.type("poweroff\n")
    assert vm.wait(LOGIN_SECONDS) == 0


def test_serial_port_in_a_file_keeps_what_was_said(virga, images, work):
    path = f"{work}/serial"
    at = images.guest("6.12-cloud")
    vm = virga("--kernel", at / "vmlinux", "--initramfs", at / "initramfs.cpio.zst", "--console", "off",
               "--cmdline", f"console=ttyS0 quiet {guest_command('echo written')}", "--serial", f"file={path}")
    assert vm.wait(120) == 0
    assert re.search(r"GUEST-READY .*\r?\nwritten\r?\nGUEST-STATUS 0", vm.file_text(path))


def test_console_that_is_off_is_no_device(virga, images):
    vm = boot(virga, images, "ls /sys/class/tty | grep -c hvc0; true")
    ready(vm)
    assert finish(vm)[-1] == "0"
