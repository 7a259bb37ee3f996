# SPDX-License-Identifier: Apache-2.0
"""Kernels and initramfs that somebody has damaged: refused in one sentence, or run by a guest that may crash.

300 mutations from a fixed seed. virga itself never crashes, never hangs, and always hears a signal.
"""
import os
import random
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.guest import build, guest_file  # noqa: F401 (fixture)
from lib.place import lines_of
from lib.virga import PATIENCE
from lib.wait import until

SEED = 20261122
ELFS, BZIMAGES, INITRAMFS = 120, 100, 80
# What a guest that runs gets before it is ended from outside.
RUN_SECONDS = 0.5
WORDS = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
         0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0xfee00000, 0x100000]


def damage(rng, data, head):
    """A copy of a payload that is cut, or has a few fields of its first `head` bytes, or of any, overwritten."""
    data = bytearray(data)
    kind = rng.random()
    if kind < 0.12:
        return bytes(data[:rng.choice([rng.randrange(64), rng.randrange(head), rng.randrange(len(data))])])
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        width = rng.choice([1, 2, 4, 8])
        at = rng.randrange(head if rng.random() < 0.8 else len(data) - 8)
        value = rng.choice(WORDS) if rng.random() < 0.7 else rng.getrandbits(64)
        data[at:at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
    return bytes(data)


def minds(pid, number):
    """Whether a process does with a signal what it wants, and not what the kernel does."""
    masks = [int(line.split()[1], 16) for line in lines_of(f"/proc/{pid}/status") if re.match("Sig(Blk|Cgt):", line)]
    return any(mask >> number - 1 & 1 for mask in masks)


def end_of(argv, env):
    """Run virga; its status and words. Whoever runs on is asked to end."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env={**os.environ, **env}) as proc:
        try:
            said, _ = proc.communicate(timeout=RUN_SECONDS * PATIENCE)
        except subprocess.TimeoutExpired:
            # A busy machine may not have brought it to where it can be asked.
            until(lambda: proc.poll() is not None or minds(proc.pid, signal.SIGTERM), 60)
            proc.send_signal(signal.SIGTERM)
            try:
                said, _ = proc.communicate(timeout=10 * PATIENCE)
            except subprocess.TimeoutExpired:
                proc.kill()
                return "hangs", proc.communicate()[0].decode("latin-1")
    return proc.returncode, said.decode("latin-1")


class Trial:
    """One start; calling it gives the sentence of what is wrong, or None."""

    def __init__(self, build, name, *args):
        self.name = name
        self.argv = [build["program"], "--memory", "size=64M", "--console", "off", "--serial", "null",
                     "--cmdline", "", *args]
        self.env = {**build.get("env", {})}
        if self.env:
            self.env["ASAN_OPTIONS"] = "detect_leaks=0:exitcode=99"
            self.env["UBSAN_OPTIONS"] = "halt_on_error=1:exitcode=99"

    def __call__(self):
        status, said = end_of(self.argv, self.env)
        lines = [line for line in said.split("\n") if line.strip()]
        if status not in (0, 1):
            return f"{self.name}: status {status}: {said[-800:]}"
        if status == 1 and not lines:
            return f"{self.name}: refused without a word"
        return None


def judge(trials):
    with ThreadPoolExecutor(2) as pool:
        wrong = [w for w in pool.map(lambda trial: trial(), trials) if w]
    assert not wrong, f"{len(wrong)} of {len(trials)}:\n" + "\n".join(wrong[:5])


def kernels(build, work, name, head, count):
    rng = random.Random(f"{SEED} {name}")
    good = open(guest_file(name), "rb").read()
    for i in range(count):
        path = f"{work}/{name}-{i}"
        with open(path, "wb") as f:
            f.write(damage(rng, good, head))
        yield Trial(build, f"{name} {i}", "--kernel", path)


def test_damaged_elf_kernels(build, work):
    judge(list(kernels(build, work, "hello.elf", 0x200, ELFS // 2)) +
          list(kernels(build, work, "guest.elf", 0x200, ELFS - ELFS // 2)))


def test_damaged_bzimages(build, work):
    judge(list(kernels(build, work, "guest.bz", 0x280, BZIMAGES)))


def test_strange_initramfs(build, work):
    """Of any length and content: nobody but the guest reads it."""
    rng = random.Random(f"{SEED} initramfs")
    trials = []
    for i in range(INITRAMFS):
        path = f"{work}/initramfs-{i}"
        with open(path, "wb") as f:
            f.write(rng.randbytes(rng.choice([0, 1, 3, 4095, 4096, 4097, 70000])))
            if rng.random() < 0.3:
                f.truncate(rng.choice([1 << 20, (63 << 20) + 5, 64 << 20, 65 << 20, 1 << 32, 1 << 40]))
        kernel = guest_file(rng.choice(["hello.elf", "guest.bz"]))
        trials.append(Trial(build, f"initramfs {i}", "--kernel", kernel, "--initramfs", path))
    judge(trials)


@pytest.mark.parametrize("option", ["--kernel", "--initramfs", "--firmware"])
def test_payloads_that_are_no_files(work, build, option):
    """A pipe nobody writes to, endless devices, files of /proc: no reading for ever."""
    fifo = f"{work}/fifo"
    os.mkfifo(fifo)
    trials = []
    for path in (fifo, "/dev/zero", "/dev/null", "/dev/urandom", "/proc/self/maps", work, "/dev/kvm"):
        more = ["--kernel", guest_file("hello.elf")] if option == "--initramfs" else []
        trials.append(Trial(build, f"{option} {path}", *more, option, path))
    for trial in trials:
        status, said = end_of(trial.argv, trial.env)
        assert status in (0, 1), f"{trial.name}: {status}: {said[-500:]}"
        if path_is_endless(trial.argv[-1]):
            assert status == 1, f"{trial.name} was taken"


def path_is_endless(path):
    return path in ("/dev/zero", "/dev/urandom") or path.endswith("/fifo")
