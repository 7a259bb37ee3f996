# SPDX-License-Identifier: Apache-2.0
"""What README.md and docs/*.md tell people to type on a host of their own; see docs/testing.md, "Documents"."""
from lib.docs import pages_with, run_page
from lib.virga import PATIENCE, binary


def test_commands_of_the_pages_do_what_they_say(rig, images):
    at = images.guest("6.12-cloud")
    kernels = {"vmlinux": at / "vmlinux", "vmlinuz": at / "vmlinuz", "initrd.img": at / "initramfs.cpio.zst"}
    for name in pages_with("rig"):
        work = rig.temp_dir()
        try:
            run_page(rig, work, name, "rig", kernels, binary(), 120 * PATIENCE)
        finally:
            rig.drop_dir(work)
