# SPDX-License-Identifier: Apache-2.0
"""Log in to a Debian guest on a terminal, look around, power it off.

usage: look.py GUEST_IP HOST_IP -- COMMAND...

COMMAND boots the guest, with its console on its terminal. Everything it says goes to the screen. The exit
status is 0 when each look found what belongs there and COMMAND ended with 0 after the power-off.
"""
import re
import sys

import pexpect

LOGIN_SECONDS = 420
LOOK_SECONDS = 60


def looks(guest_ip, host_ip):
    """(what to type, a regular expression that must be in what it prints)"""
    return [
        ("uname -sr", r"Linux 6\.\d"),
        ("lsblk", r"vda2? .*disk|vda2 .*part /"),
        ("ip -brief address", rf"UP +.*{guest_ip}/24"),
        (f"ping -c 2 -W 5 {host_ip}", "2 received"),
        ("cat /sys/class/misc/hw_random/rng_current", r"virtio_rng"),
        ("head -c 16 /dev/hwrng | od -An -tx1 -v", r"([0-9a-f]{2} ){15}"),
        ("dmesg | head -n 4", r"Linux version"),
        ("systemctl is-system-running --wait", r"running"),
    ]


def main():
    guest_ip, host_ip, dashes, *command = sys.argv[1:]
    if dashes != "--" or not command:
        sys.exit(__doc__)
    child = pexpect.spawn(command[0], command[1:], encoding="utf-8", codec_errors="replace",
                          timeout=LOGIN_SECONDS, dimensions=(24, 200))
    child.logfile_read = sys.stdout
    missing = []
    try:
        child.expect(r"login: ")
        child.sendline("root")
        child.expect("Password: ", timeout=LOOK_SECONDS)
        child.sendline("root")
        child.expect(r"# ", timeout=LOOK_SECONDS)
        # A shell without prompt, echo and line editing, so that only answers come back.
        child.sendline("stty -echo; PS1= exec sh")
        # What is typed is never what is waited for: on a slow guest it is echoed still.
        child.sendline("echo be''gin")
        child.expect(r"begin\r*\n", timeout=LOOK_SECONDS)
        for n, (typed, wanted) in enumerate(looks(guest_ip, host_ip)):
            child.sendline(f"echo '$ {typed}'; {typed}; echo e''nd {n}")
            child.expect(rf"end {n}\r*\n", timeout=LOOK_SECONDS)
            if not re.search(wanted, child.before):
                missing.append(f"'{typed}' did not show /{wanted}/")
        child.sendline("poweroff")
        child.expect(pexpect.EOF)
    except (pexpect.TIMEOUT, pexpect.EOF) as e:
        missing.append(f"{type(e).__name__} while waiting for {child.searcher}")
    child.close(force=True)
    if child.exitstatus != 0:
        missing.append(f"the VM ended with status {child.exitstatus}, signal {child.signalstatus}")
    print()
    for sentence in missing:
        print(f"look: {sentence}")
    return 1 if missing else 0


sys.exit(main())
