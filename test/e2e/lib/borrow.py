# SPDX-License-Identifier: Apache-2.0
"""What a test borrows of the host and gives back at its end; where there is none to be had, the test is skipped.

	with loop_device(path) as device:       a block device over a file
	with mounted("tmpfs", "size=4m", place):
"""
import contextlib
import os
import subprocess

import pytest


def as_root(*command):
    """What a command says that takes the rights or the devices of a host; where that lacks them the test is skipped."""
    if os.geteuid():
        pytest.skip(f"{command[0]} takes root")
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def loop_device(path, block=512):
    device = as_root("losetup", "--find", "--show", "--sector-size", block, path)
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@contextlib.contextmanager
def mounted(kind, options, place, source="none"):
    """A file system that is mounted at a directory, which is made if it is not there."""
    os.makedirs(place, exist_ok=True)
    as_root("mount", "-t", kind, "-o", options, source, place)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
