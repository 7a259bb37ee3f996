# SPDX-License-Identifier: Apache-2.0
"""Answers the calls of a `place.Remote`: one JSON line in, one JSON line out, in order.

usage: agent.py PATH      PATH is a character device or a terminal, open for both ways

Runs inside the nested host, on a virtio-serial port. One call at a time: a call may wait, but only as
long as its own time limit says.
"""
import fcntl
import json
import os
import sys

from place import CALLS, Local

KVM_CREATE_VM = 0xAE01
KVM_CREATE_VCPU = 0xAE41
KVM_CREATE_IRQCHIP = 0xAE60


def lines(fd):
    rest = b""
    while True:
        data = os.read(fd, 65536)
        if not data:
            return
        rest += data
        while b"\n" in rest:
            line, rest = rest.split(b"\n", 1)
            yield line


def send(fd, value):
    data = json.dumps(value).encode() + b"\n"
    while data:
        data = data[os.write(fd, data):]


def keep_a_vm():
    """Hold a VM with one processor that never runs, as long as the agent lives.

    With its first VM the kernel patches its scheduler, with the first local APIC that is not yet enabled its KVM, and
    with the last one gone it patches them back. A running processor of the emulator can meet the half-patched code,
    rarely, and then the nested host dies of an int3.
    """
    try:
        vm = fcntl.ioctl(os.open("/dev/kvm", os.O_RDWR), KVM_CREATE_VM, 0)
        fcntl.ioctl(vm, KVM_CREATE_IRQCHIP)
        return vm, fcntl.ioctl(vm, KVM_CREATE_VCPU, 0)
    except OSError:
        return None


def main():
    keep_a_vm()
    fd = os.open(sys.argv[1], os.O_RDWR)
    here = Local()
    send(fd, {"value": "ready"})
    for line in lines(fd):
        name, args = json.loads(line)
        try:
            if name not in CALLS:
                raise ValueError(f"no call {name}")
            send(fd, {"value": getattr(here, name)(*args)})
        except Exception as e:  # whatever goes wrong is the caller's to judge
            send(fd, {"error": f"{name}: {type(e).__name__}: {e}"})


main()
