# SPDX-License-Identifier: Apache-2.0
"""Debian's gdb on a stock Linux guest, and a core of it; see test_guest_debug.py for what needs no Linux.

QEMU's emulated AMD processor does not look at debug registers and at breakpoint instructions when it runs a guest, so
points are left to the tiny guests; registers, memory through the kernel's page tables, steps and Ctrl-C are for here.
"""
import re

from lib.linux import boot, finish, ready

GDB = "gdb -q -nx -batch -iex 'set debuginfod enabled off' -iex 'set pagination off' -ex 'target remote {}/gdb' {}"


def ask_gdb(place, work, *commands):
    return place.run(GDB.format(work, " ".join(f"-ex '{command}'" for command in commands)), timeout=120).output


def test_gdb_reads_steps_and_leaves_a_linux_that_runs(virga, images, place, work):
    vm = boot(virga, images, "sleep 15; echo token-$((6 * 7))", "--cpus", "boot=2", "--gdb", f"path={work}/gdb",
              "--api-socket", f"path={work}/api")
    place.run(f"for i in $(seq 100); do [ -S {work}/gdb ] && break; sleep 0.1; done")
    said = ask_gdb(place, work, "info threads", "info registers cr0", "stepi", "stepi", "detach")
    assert "Thread 2 (vCPU 1)" in said and re.search(r"^cr0 +0x\d*1 ", said, re.M), said
    ready(vm)
    said = ask_gdb(place, work, "info registers", "p $rip > 0xffffffff80000000", "x/2i $rip", "x/4xg $rsp", "stepi", "stepi",
                   "info threads", "thread 2", "info registers gs_base cr3", "detach")
    assert re.search(r"^cr0 +0x8005003[3b] ", said, re.M) and re.search(r"^efer +0xd01 ", said, re.M), said
    assert re.search(r"^gs_base +0xffff[0-9a-f]{12} ", said, re.M) and said.count("=> 0xffffffff") == 1, said
    assert "Cannot access" not in said and "detached" in said, said
    put = place.run(f"curl -s --unix-socket {work}/api -X PUT http://x/api/v1/vm.coredump -H 'Content-Type: application/json' "
                    f"-d '{{\"destination_url\": \"file://{work}/core\"}}' -w '%{{http_code}}'", timeout=120).output
    assert put == "204", put
    said = place.run(f"gdb -q -nx -batch -iex 'set debuginfod enabled off' -ex 'info threads' -ex 'info registers rip' "
                     f"-c {work}/core; grep -c 'Linux version 6.12' {work}/core; rm {work}/core").output
    assert "LWP 2" in said and re.search(r"^rip +0xffffffff", said, re.M) and re.search(r"^[1-9]\d*\s*$", said, re.M), said
    assert finish(vm) == ["token-42"]
