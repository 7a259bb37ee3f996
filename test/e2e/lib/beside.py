# SPDX-License-Identifier: Apache-2.0
"""A program beside the VM, in the place of the VM: one of the Python programs of this directory."""
import re
import sys
from pathlib import Path

from lib.virga import PATIENCE

LIB = Path(__file__).parent


class Beside:
    """`with Beside(place, "drain.py", path) as client:` starts it, and ends it."""

    def __init__(self, place, program, *args):
        self.place, self.text = place, ""
        self.job = place.spawn([sys.executable, "-B", str(LIB / program), *map(str, args)])["job"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.place.close_input(self.job)
        self.place.close(self.job)

    def wait_for(self, pattern, timeout=60):
        """Wait for a regular expression in what it says."""
        for _ in range(int(timeout * PATIENCE)):
            found = re.search(pattern, self.text)
            if found:
                return found
            part = self.place.read(self.job, len(self.text), 1)
            self.text += part["data"]
            assert part["status"] is None or re.search(pattern, self.text), self.text
        raise AssertionError(f"no {pattern} in {self.text!r}")

    def type(self, text):
        self.place.write(self.job, text)
