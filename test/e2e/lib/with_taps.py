# SPDX-License-Identifier: Apache-2.0
"""Make a tap, open it once for each queue pair, and become a program that finds it as descriptors 3 and up.

usage: with_taps.py NAME ADDRESS/BITS COUNT PROGRAM [ARGS...]

The tap is gone with the last of these descriptors. linux/if_tun.h, Documentation/networking/tuntap.rst.
"""
import fcntl
import os
import struct
import subprocess
import sys

TUNSETIFF = 0x400454CA
TUNSETVNETHDRSZ = 0x400454D8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
VNET_HEADER_BYTES = 12


def open_tap(name, flags):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER_BYTES))
    return fd


def main():
    name, address, count, *command = sys.argv[1:]
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_MULTI_QUEUE if int(count) > 1 else 0)
    fds = [open_tap(name, flags) for _ in range(int(count))]
    subprocess.run(["ip", "address", "add", address, "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    for place, fd in enumerate(fds, 3):
        if place != fd:
            os.dup2(fd, place)
            os.close(fd)
        os.set_inheritable(place, True)
    os.execv(command[0], command)


main()
