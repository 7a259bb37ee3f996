# SPDX-License-Identifier: Apache-2.0
"""Listen at a unix socket, and become a program that finds the socket as descriptor 3: as libvirt starts virga.

usage: with_listener.py PATH PROGRAM [ARGS...]
"""
import os
import socket
import sys

s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(1)
fd = s.detach()
if fd != 3:
    os.dup2(fd, 3)
os.set_inheritable(3, True)
os.execv(sys.argv[2], sys.argv[2:])
