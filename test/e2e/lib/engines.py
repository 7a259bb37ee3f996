# SPDX-License-Identifier: Apache-2.0
"""The engines that move a disk's bytes, and how a test asks for one."""
import os

from lib.guest import sparse

MIB = 1 << 20
# The options of --disk that leave one engine only.
ENGINES = {
    "io_uring": "_disable_aio=on",
    "aio": "_disable_io_uring=on",
    "sync": "_disable_io_uring=on,_disable_aio=on",
}


def verify_disks(directory, engine):
    """Two disks of one engine for the guest's words "blkverify": with two queues, and with a limit."""
    return [f"path={sparse(directory / 'a', 4 * MIB)},num_queues=2,{ENGINES[engine]}",
            f"path={sparse(directory / 'b', 4 * MIB)},{ENGINES[engine]},ops_size=400,ops_refill_time=100"]


def takes_direct(path):
    """Whether this file can be opened past the page cache."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
        return True
    except OSError:
        return False
