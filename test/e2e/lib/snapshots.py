# SPDX-License-Identifier: Apache-2.0
"""A snapshot that many tests read: top/snap, of a tiny guest that had said that it pauses. Its machine is gone."""
from pathlib import Path

from lib.api import Api
from lib.guest import guest_file
from lib.place import Local
from lib.virga import Virga


def save_guest(top, words, *args):
    """Runs the guest with these words in a machine of these arguments; returns top."""
    (Path(top) / "snap").mkdir()
    vm = Virga(Local(), ["--api-socket", f"path={top}/api", "--kernel", guest_file("guest.elf"), "--cmdline", words,
                         "--serial", "tty", *args])
    with Api(f"{top}/api") as api:
        vm.wait_for("R3 PAUSED")
        api.put("vm.pause")
        api.put("vm.snapshot", {"destination_url": f"file://{top}/snap"})
        api.put("vmm.shutdown")
    assert vm.wait() == 0
    vm.close()
    return top
