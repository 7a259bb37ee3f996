# SPDX-License-Identifier: Apache-2.0
"""What a process of this machine holds, by its number: what must be the same again when all that came has gone."""
import os


def descriptors_of(pid):
    """Open descriptors of a process by number, as what they are."""
    folder = f"/proc/{pid}/fd"
    found = {}
    for number in os.listdir(folder):
        try:
            found[int(number)] = os.readlink(f"{folder}/{number}")
        except FileNotFoundError:
            pass
    return found


def threads_of(pid):
    """{number: name} of its own threads: the kernel's workers for io_uring come and go as it likes."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/comm", encoding="utf-8") as f:
                name = f.read().strip()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        if not name.startswith("iou-"):
            found[int(task)] = name
    return found
