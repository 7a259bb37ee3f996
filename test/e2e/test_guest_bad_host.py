# SPDX-License-Identifier: Apache-2.0
"""A host where everything is wrong at once: virga goes on, and hears what it is told.

The disk's file system is full, the network sends short and long frames without end, and one who is
connected to the console never reads.
"""
import os
import signal
import socket
import subprocess
import time

import pytest

from lib.guest import build, guest_file, start_guest  # noqa: F401 (fixtures)
from lib.virga import PATIENCE


@pytest.fixture
def full(tmp_path):
    """A file system without room, and a sparse disk of 16 MiB in it."""
    if os.geteuid():
        pytest.skip("mounts take root")
    directory = tmp_path / "full"
    directory.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", directory], check=False)
    if done.returncode:
        pytest.skip("no tmpfs can be mounted here")
    with open(directory / "disk", "wb") as f:
        f.truncate(16 << 20)
    with open(directory / "filler", "wb") as f:
        f.write(bytes((1 << 20) - 65536))
    yield str(directory / "disk")
    subprocess.run(["umount", "--lazy", directory], check=True)


def who_never_reads(path):
    client = socket.socket(socket.AF_UNIX)
    end = time.monotonic() + 20 * PATIENCE
    while client.connect_ex(path):
        assert time.monotonic() < end, f"nobody listens at {path}"
        time.sleep(0.02)
    return client


def wait_for(path, text, proc, timeout=120):
    end = time.monotonic() + timeout * PATIENCE
    while True:
        said = open(path, encoding="latin-1").read() if os.path.exists(path) else ""
        if text in said:
            return said
        assert proc.poll() is None, f"virga ended ({proc.returncode}): {said[-1500:]}"
        assert time.monotonic() < end, f"no {text!r}: {said[-1500:]}"
        time.sleep(0.05)


def test_everything_wrong_at_once(work, tmp_path, full, ns, build):
    ns.make_tap("tap0")
    ns.flood("tap0", size=0)
    ns.flood("tap0", size=1480)
    console, debug = f"{work}/console", f"{work}/debug"
    argv = [ns.wrap(build["program"], tmp_path), "--kernel", guest_file("guest.elf"), "--cpus", "boot=2",
            "--cmdline", "con constream kib=3072 blkverify full rounds=50 net rng con park",
            "--memory", "size=128M", "--disk", f"path={full}", "--net", "tap=tap0",
            "--console", f"socket={console}", "--serial", f"file={debug}"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, **build.get("env", {})}) as proc:
        client = None
        try:
            client = who_never_reads(console)
            said = wait_for(debug, "R3 PARKED", proc)
            proc.send_signal(signal.SIGTERM)
            assert proc.wait(10 * PATIENCE) == 0
        finally:
            proc.kill()
            if client:
                client.close()
        log = proc.stdout.read().decode("latin-1")
    assert "R3 FAIL" not in said, [line for line in said.split("\n") if "FAIL" in line]
    assert "AddressSanitizer" not in log and "runtime error:" not in log, log[-3000:]
    assert "No space left" in log
    assert log.count("\n") < 200, "the log is flooded"


def test_clients_without_end_do_not_fill_the_log(start_guest, work):
    """They come and go by the hundred, and more at once than there is room for."""
    path = f"{work}/console"
    vm = start_guest("park", console=f"socket={path}")
    vm.wait_for_in(vm.serial_path, "R3 PARKED")
    kept = [who_never_reads(path) for _ in range(40)]
    for _ in range(400):
        who_never_reads(path).close()
    assert vm.stop() == 0
    for client in kept:
        client.close()
    assert 0 < vm.text.count("are refused") <= 20, vm.tail()
