# SPDX-License-Identifier: Apache-2.0
"""Connect to a unix socket, and become a program that finds the connection as descriptor 3.

usage: with_stream.py PATH PROGRAM [ARGS...]
"""
import os
import socket
import sys

s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
fd = s.detach()
if fd != 3:
    os.dup2(fd, 3)
os.set_inheritable(3, True)
os.execv(sys.argv[2], sys.argv[2:])
