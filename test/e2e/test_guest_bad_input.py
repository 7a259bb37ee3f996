# SPDX-License-Identifier: Apache-2.0
"""Bad input gets one sentence, status 1, and leaves nothing behind.

The fixture `virga` looks for what is left: processes, interfaces, locks, sockets, files, terminal modes.
"""
import fcntl
import os
import random
import signal
import struct
from pathlib import Path

import pytest

from lib.guest import guest_file, pattern_disk, start_guest  # noqa: F401 (fixtures)
from lib.netns import NetNs, why_no_netns
from lib.virga import binary


def refused(vm, *words, status=1):
    """It ended with this status after one line that holds all these words."""
    assert vm.wait(20) == status, vm.tail()
    lines = [line for line in vm.text.replace("\r", "").split("\n") if line.strip()]
    assert len(lines) == 1, f"not one sentence: {lines}"
    for word in words:
        assert word.lower() in lines[0].lower(), f"{word!r} is not in: {lines[0]}"
    return lines[0]


@pytest.fixture
def bad(virga):
    """Start virga with a good guest and these arguments, and see it refuse."""
    def run(args, *words, kernel=None, **named):
        kernel = kernel or guest_file("guest.elf")
        args = [str(a) for a in args]
        base = ["--kernel", kernel, "--console", "off", "--serial", "null"]
        for option in ("--console", "--serial"):
            if option in args:
                at = base.index(option)
                del base[at:at + 2]
        return refused(virga(*base, *args, **named), *words)
    return run


def test_no_right_to_kvm(virga, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can start a program as somebody without rights")
    program = tmp_path / "as-nobody"
    # The copies lie where nobody may read them; what the test is about is /dev/kvm alone.
    copies = {"virga": binary(), "kernel": guest_file("guest.elf")}
    for name, path in copies.items():
        (tmp_path / name).write_bytes(Path(path).read_bytes())
        (tmp_path / name).chmod(0o755)
    for directory in [tmp_path, *tmp_path.parents][:3]:
        directory.chmod(directory.stat().st_mode | 0o011)
    program.write_text("#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 --clear-groups "
                       f'{tmp_path}/virga "$@"\n')
    program.chmod(0o755)
    vm = virga("--kernel", tmp_path / "kernel", "--console", "off", "--serial", "null",
               program=str(program))
    refused(vm, "/dev/kvm", "permission")


def test_no_kvm_at_all(virga, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can hide /dev/kvm")
    program = tmp_path / "without-kvm"
    program.write_text('#!/bin/sh\nexec unshare -m sh -c \'mount -t tmpfs none /dev && exec "$@"\' '
                       f'sh {binary()} "$@"\n')
    program.chmod(0o755)
    vm = virga("--kernel", guest_file("guest.elf"), "--console", "off", "--serial", "null",
               "--rng", f"src={guest_file('guest.elf')}", program=str(program))
    refused(vm, "/dev/kvm")


@pytest.mark.parametrize("data,words", [
    (b"", ["kernel"]),
    (b"#!/bin/sh\necho no kernel\n", ["kernel"]),
    (b"\x7fELF\x02\x01\x01" + bytes(20), ["kernel"]),
    (random.Random(1).randbytes(100_000), ["kernel"]),
], ids=["empty", "script", "half-an-elf", "noise"])
def test_kernel_that_is_none(bad, work, data, words):
    path = f"{work}/no-kernel"
    with open(path, "wb") as f:
        f.write(data)
    bad([], path, *words, kernel=path)


def test_kernel_without_pvh_note(bad, work):
    bad([], "/bin/true", kernel="/bin/true")


def test_kernel_that_is_not_there(bad):
    bad([], "/nonexistent/kernel", "no such file", kernel="/nonexistent/kernel")


def test_kernel_larger_than_memory(bad, work):
    path = f"{work}/large"
    data = bytearray(open(guest_file("guest.elf"), "rb").read())
    phoff, = struct.unpack_from("<Q", data, 32)
    struct.pack_into("<Q", data, phoff + 40, 1 << 40)  # p_memsz of the first segment
    with open(path, "wb") as f:
        f.write(data)
    bad([], path, kernel=path)


def test_initramfs_that_is_not_there(bad):
    bad(["--initramfs", "/nonexistent/initramfs"], "/nonexistent/initramfs")


def test_initramfs_larger_than_memory(bad, work):
    path = f"{work}/initramfs"
    with open(path, "wb") as f:
        f.truncate(256 << 20)
    bad(["--initramfs", path, "--memory", "size=128M"], path)


def test_command_line_longer_than_64_kib(bad):
    bad(["--cmdline", "x" * 70000], "cmdline")


def test_disk_that_is_not_there(bad):
    bad(["--disk", "path=/nonexistent/disk"], "/nonexistent/disk")


def test_disk_that_is_a_directory(bad, tmp_path):
    bad(["--disk", f"path={tmp_path}"], str(tmp_path))


def test_disk_that_is_empty(bad, work):
    path = f"{work}/disk"
    open(path, "wb").close()
    bad(["--disk", f"path={path}"], path)


def test_disk_without_a_path(bad):
    bad(["--disk", "readonly=on"], "disk", "path")


def test_disk_that_another_vm_writes_to(bad, start_guest, work):
    path = pattern_disk(f"{work}/disk", 1)
    first = start_guest("blk park", "--disk", f"path={path}")
    first.wait_for_in(first.serial_path, "R3 PARKED")
    bad(["--disk", f"path={path}"], path, "lock")
    assert first.stop() == 0


def test_disk_that_two_vms_read_is_shared(start_guest, work):
    path = pattern_disk(f"{work}/disk", 1)
    for _ in range(2):
        vm = start_guest("blk park", "--disk", f"path={path},readonly=on")
        vm.wait_for_in(vm.serial_path, "R3 PARKED")


@pytest.mark.parametrize("args,words", [
    (["--memory", "size=0"], ["memory"]),
    (["--memory", "size=1K"], ["memory"]),
    (["--memory", "size=lots"], ["size", "lots"]),
    (["--memory", "size=16777216G"], ["memory"]),
    (["--memory", "size=128M,hugepage_size=3M,hugepages=on"], ["hugepage_size"]),
    (["--cpus", "boot=0"], ["boot"]),
    (["--cpus", "boot=100000"], ["boot"]),
    (["--cpus", "boot=4,max=2"], ["max"]),
    (["--cpus", "boot=two"], ["boot", "two"]),
])
def test_sizes_that_do_not_fit(bad, args, words):
    bad(args, *words)


@pytest.mark.parametrize("args,unknown,nearest", [
    (["--memory", "sise=128M"], "sise", "size"),
    (["--memory", "size=128M,hugepage=on"], "hugepage", "hugepages"),
    (["--cpus", "bot=1"], "bot", "boot"),
    (["--disk", "pth=/dev/null"], "pth", "path"),
    (["--net", "tab=tap0"], "tab", "tap"),
    (["--rng", "source=/dev/urandom"], "source", "src"),
    (["--cmdlin", "x"], "cmdlin", "--cmdline"),
    (["--disks", "path=/dev/null"], "disks", "--disk"),
])
def test_unknown_keys_are_answered_with_the_nearest(bad, args, unknown, nearest):
    sentence = bad(args, unknown, nearest)
    assert sentence.count(nearest) >= 1


@pytest.mark.parametrize("args,words", [
    (["--disk", "path=DISK,num_queues=2"], ["num_queues"]),
    (["--disk", "path=DISK,num_queues=0"], ["num_queues"]),
    (["--disk", "path=DISK,num_queues=70000"], ["num_queues"]),
    (["--disk", "path=DISK,queue_size=65536"], ["queue_size"]),
    (["--disk", "path=DISK,queue_size=100"], ["queue_size"]),
    (["--disk", "path=DISK,queue_size=2"], ["queue_size"]),
    (["--disk", "path=DISK,serial=123456789012345678901"], ["serial"]),
    (["--net", "tap=x,num_queues=3"], ["num_queues"]),
    (["--net", "tap=x,num_queues=4"], ["num_queues"]),
    (["--net", "tap=x,mac=52:33:00"], ["mac"]),
    (["--net", "tap=x,ip=300.1.1.1,mask=255.0.0.0"], ["ip"]),
    (["--net", "tap=x,mtu=100"], ["mtu"]),
    (["--net", "tap=an-interface-name-too-long"], ["tap"]),
])
def test_queues_and_values_over_the_limit(bad, work, args, words):
    path = pattern_disk(f"{work}/disk", 1)
    bad([arg.replace("DISK", path) for arg in args], *words)


def test_tap_without_the_right_to_make_it(bad, tmp_path):
    if why_no_netns():
        pytest.skip(why_no_netns())
    program = tmp_path / "without-net-admin"
    program.write_text(f'#!/bin/sh\nexec setpriv --bounding-set=-net_admin --inh-caps=-net_admin '
                       f'{binary()} "$@"\n')
    program.chmod(0o755)
    bad(["--net", "tap=vtest0,mac=52:33:00:00:00:01"], "vtest0", program=str(program))


def test_tap_that_somebody_else_has(bad, start_guest, tmp_path):
    if why_no_netns():
        pytest.skip(why_no_netns())
    ns = NetNs()
    try:
        program = ns.wrap(binary(), tmp_path)
        first = start_guest("park", "--net", "tap=tap0", program=program)
        first.wait_for_in(first.serial_path, "R3 PARKED")
        bad(["--net", "tap=tap0"], "tap0", program=program)
        assert first.stop() == 0
    finally:
        ns.close()


@pytest.mark.parametrize("args", [
    ["--fs", "tag=x,socket=/tmp/f"],
    ["--dbus-service-name", "x"], ["--disk", "path=/dev/null,image_type=vhdx"],
])
def test_what_is_not_built_yet_is_refused_and_not_ignored(bad, args):
    bad(args, "not in this build")


def test_rng_source_that_is_not_there(bad):
    bad(["--rng", "src=/nonexistent/random"], "/nonexistent/random")


def test_closed_stdout_lets_the_guest_write_into_no_file_of_ours(virga, tmp_path):
    events = tmp_path / "events"
    program = tmp_path / "without-stdout"
    program.write_text(f'#!/bin/sh\nexec {binary()} "$@" >&-\n')
    program.chmod(0o755)
    vm = virga("--kernel", guest_file("guest.elf"), "--cmdline", "told", "--serial", "tty",
               "--console", "off", "--event-monitor", f"path={events}", program=str(program))
    assert vm.wait(60) == 0, vm.tail()
    text = events.read_text()
    assert '"booted"' in text and "R3" not in text, text


def test_serial_file_that_cannot_be_made(bad):
    bad(["--serial", "file=/nonexistent/serial"], "/nonexistent/serial")


def test_terminal_is_as_before_when_a_later_option_is_bad(bad):
    bad(["--serial", "tty", "--disk", "path=/nonexistent/disk"], "/nonexistent/disk", tty=True)


def test_no_argument_at_all_gives_help(virga):
    vm = virga()
    assert vm.wait(10) in (0, 1, 2)
    assert "--kernel" in vm.text


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_terminal_is_restored_after_a_signal(start_guest, sig):
    vm = start_guest("park", serial="tty", tty=True)
    vm.wait_for("R3 PARKED")
    vm.kill(sig)
    vm.wait(20)


def test_terminal_is_restored_after_power_off(start_guest):
    vm = start_guest("told", serial="tty", tty=True)
    assert vm.wait() == 0


def test_guest_that_cannot_go_on_ends_virga_with_a_reason(start_guest):
    """It runs off into a hole; the terminal is restored all the same."""
    vm = start_guest("derail", serial="tty", tty=True)
    assert vm.wait(20) == 1
    assert "R3 DERAIL" in vm.text
    assert "the guest cannot go on" in vm.text and "0xd8000000" in vm.text


def test_file_that_is_locked_by_others_names_the_lock(bad, work):
    path = pattern_disk(f"{work}/disk", 1)
    with open(path, "r+b") as f:
        # An open-file-description lock on the whole file, as other VMMs take one.
        fcntl.fcntl(f, 37, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        bad(["--disk", f"path={path}"], path, "lock")


def test_api_socket_is_not_left_when_the_start_fails(virga, work):
    path = f"{work}/api"
    vm = virga("--api-socket", path, "--kernel", "/nonexistent/kernel")
    assert vm.wait(20) == 1
    assert not os.path.exists(path)
