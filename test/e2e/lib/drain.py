# SPDX-License-Identifier: Apache-2.0
"""Reads a pseudo-terminal or a unix socket: drain.py PATH BYTES. Says how many bytes came and their SHA-256.

Runs in the place of the VM, so that what is read need not travel. Says OPEN once it is a client.
"""
import hashlib
import os
import select
import socket
import stat
import sys

QUIET_S = 20


def open_end(path):
    if stat.S_ISSOCK(os.stat(path).st_mode):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        return s.detach()
    return os.open(path, os.O_RDWR | os.O_NOCTTY)


def main(path, wanted):
    fd, got, digest = open_end(path), 0, hashlib.sha256()
    print("OPEN", flush=True)
    while got < wanted and select.select([fd], [], [], QUIET_S)[0]:
        data = os.read(fd, min(1 << 16, wanted - got))
        if not data:
            break
        got += len(data)
        digest.update(data)
    print(f"DRAINED {got} {digest.hexdigest()}", flush=True)


main(sys.argv[1], int(sys.argv[2]))
