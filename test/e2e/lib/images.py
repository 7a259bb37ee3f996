# SPDX-License-Identifier: Apache-2.0
"""Where the kernels and disks that tests boot are kept. test/rig/mkall makes them; nothing here does."""
import os
from pathlib import Path

KERNELS = ("6.1", "6.1-cloud", "6.12", "6.12-cloud")


def cache():
    """The directory of everything that is made once: $VIRGA_CACHE, else ~/.cache/virga."""
    return Path(os.environ.get("VIRGA_CACHE")
                or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "virga")


class Images:
    def __init__(self):
        self.top = cache()

    def guest(self, kernel):
        """The directory of one of KERNELS: vmlinuz, vmlinux, initramfs.cpio.zst."""
        return self.top / "guest" / kernel

    @property
    def host(self):
        """The directory of the nested host: vmlinuz, initramfs.cpio.zst."""
        return self.top / "host"

    @property
    def tools(self):
        """A file system with measuring programs, for test guests."""
        return self.top / "tools" / "tools.ext4"

    @property
    def disk(self):
        """The cloud-like disk; its kernel and initrd lie beside it as disk.vmlinuz and disk.initrd."""
        return self.top / "disk" / "disk.raw"

    @property
    def disk_kernel(self):
        return self.disk.with_suffix(".vmlinuz")

    @property
    def disk_initrd(self):
        return self.disk.with_suffix(".initrd")
