# SPDX-License-Identifier: Apache-2.0
"""Waiting for what comes to pass beside the test, with an end to it.

	until(lambda: api.state() == "Running")         what it gave that is true
	with connected(path) as client:                 a unix socket, once somebody listens there
"""
import os
import socket
import time

from lib.virga import PATIENCE


def until(what, seconds=20, why="it does not come to pass"):
    """Look until what() is true; fails after so many seconds, and says `why`, which may be a function."""
    end = time.monotonic() + seconds * PATIENCE
    while not (found := what()):
        assert time.monotonic() < end, why() if callable(why) else why
        time.sleep(0.01)
    return found


def until_there(path, seconds=20):
    """Look until there is something at the path, as a socket of a program that starts."""
    until(lambda: os.path.exists(path), seconds, f"nobody listens at {path}")


def connected(path, kind=socket.SOCK_STREAM, seconds=20):
    """A socket that is connected to the one at the path."""
    client = socket.socket(socket.AF_UNIX, kind)
    until(lambda: not client.connect_ex(str(path)), seconds, f"nobody listens at {path}")
    return client
