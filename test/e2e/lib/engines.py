# SPDX-License-Identifier: Apache-2.0
"""The engines that move a disk's bytes, and how a test asks for one."""
import os

# The options of --disk that leave one engine only.
ENGINES = {
    "io_uring": "_disable_aio=on",
    "aio": "_disable_io_uring=on",
    "sync": "_disable_io_uring=on,_disable_aio=on",
}


def takes_direct(path):
    """Whether this file can be opened past the page cache."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
        return True
    except OSError:
        return False
