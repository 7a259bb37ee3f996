# SPDX-License-Identifier: Apache-2.0
"""Debuggers: gdb on a tiny guest, what gdb would never say, and core files of a guest.

Some hosts' KVM stops the guest's ring 0 only, so that is where points are set and steps are made here; the tiny guest is
there for its services: gate.S.
"""
import os
import re
import shutil
import struct
import subprocess
import time

import pytest

from lib.api import Api
from lib.gdbremote import GdbRemote
from lib.guest import guest_file, report_of, start_guest  # noqa: F401 (fixtures)
from lib.virga import PATIENCE
from lib.wait import until


@pytest.fixture
def symbols():
    """{name: address} of the tiny guest."""
    said = subprocess.run(["nm", guest_file("guest.elf")], capture_output=True, text=True, check=True).stdout
    return {line.split()[2]: int(line.split()[0], 16) for line in said.splitlines()}


def run_gdb(path, *commands, symbols=True, timeout=60):
    """What gdb says to these commands; it comes with the guest's symbols and goes by itself."""
    if not shutil.which("gdb"):
        pytest.fail("there is no gdb: ./dev test guest installs it")
    args = ["gdb", "-q", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set pagination off",
            "-iex", "set tcp connect-timeout 20"]
    for command in [f"target remote {path}", *commands]:
        args += ["-ex", command]
    done = subprocess.run(args + ([guest_file("guest.elf")] if symbols else []), capture_output=True, text=True,
                          timeout=timeout * PATIENCE, check=False)
    return done.stdout + done.stderr


def wait_for_socket(path):
    end = time.monotonic() + 20 * PATIENCE
    while not os.path.exists(path):
        assert time.monotonic() < end, f"nobody listens at {path}"
        time.sleep(0.02)


def well(vm, status=0):
    assert vm.wait(60) == status, vm.tail()
    report = report_of(vm)
    if status == 0:
        report.check()
    return report


def test_gdb_finds_the_guest_before_its_first_instruction_and_lets_it_go(start_guest, work):
    vm = start_guest("told", "--gdb", f"path={work}/gdb")
    wait_for_socket(f"{work}/gdb")
    said = run_gdb(f"{work}/gdb", "p $rip == &pvh_start", "info registers", "p $mxcsr", "p $eflags", "p $xmm15.uint128",
                   "stepi", "p/x $rip - (long)&pvh_start", "p $_thread", "set var $r8 = 77", "p $r8", "detach")
    assert "$1 = 1\n" in said, said
    assert re.search(r"^cr0 +0x11 ", said, re.M) and re.search(r"^gs_base +0x0 ", said, re.M), said
    assert "[ IM DM ZM OM UM PM ]" in said and re.search(r"^\$\d+ = 0x1$", said, re.M), said
    assert "= 77" in said and "detached" in said, said
    well(vm)
    assert not os.path.exists(f"{work}/gdb")


def test_gdb_stops_at_a_point_on_another_vcpu_and_steps_from_there(start_guest, work):
    vm = start_guest("smp=2", "--gdb", f"path={work}/gdb", cpus=2)
    wait_for_socket(f"{work}/gdb")
    said = run_gdb(f"{work}/gdb", "info threads", "hbreak k_hlt", "continue", "printf \"stop %d\\n\", $_thread", "bt 2",
                   "x/2i $rip", "stepi", "printf \"at +%d\\n\", (long)$rip - (long)&k_hlt",
                   "printf \"eax %x\\n\", *(unsigned int *)&entry", "set var *(char *)(&entry) = 1", "info breakpoints",
                   "delete", "thread 1", "printf \"first %d\\n\", $_thread", "p $rip == $rip")
    assert "Thread 1 (vCPU 0)" in said and "Thread 2 (vCPU 1)" in said, said
    assert "Thread 2 hit Breakpoint 1" in said and "stop 2" in said and "isr_call" in said, said
    assert "at +1\n" in said and "eax 1\n" in said and "first 1" in said, said
    well(vm)


def test_ctrl_c_stops_all_and_going_on_is_for_some(start_guest, work, symbols):
    vm = start_guest("smp=2 park", "--gdb", f"path={work}/gdb", cpus=2)
    g = GdbRemote(f"{work}/gdb")
    assert g.ask("qSupported:swbreak+").startswith("PacketSize=4000;")
    assert g.ask("?") == "T05thread:1;"
    assert g.ask("qfThreadInfo") == "m1,2" and g.ask("qsThreadInfo") == "l"
    # the second alone: it waits for its start, and the first stays where it is
    assert g.ask(f"Z1,{symbols['pvh_start'] + 1:x},1") == "OK"
    g.send("vCont;c:2")
    time.sleep(0.2)
    g.interrupt()
    assert g.reply() == "T02thread:1;"
    assert g.register("rip") == symbols["pvh_start"]
    g.send("vCont;c:1")
    assert g.reply() == "T05thread:1;hwbreak:;"
    assert g.register("rip") == symbols["pvh_start"] + 1
    assert g.ask(f"z1,{symbols['pvh_start'] + 1:x},1") == "OK"
    g.send("vCont;s:1;c")
    assert g.reply() == "T05thread:1;"
    assert symbols["pvh_start"] + 1 < g.register("rip") <= symbols["pvh_start"] + 8
    g.send("vCont;c")
    vm.wait_for_in(vm.serial_path, "R3 PARKED")
    g.interrupt()
    assert g.reply() == "T02thread:1;"
    for thread in 1, 2:
        assert g.ask(f"Hg{thread}") == "OK"
        assert symbols["k_hlt"] <= g.register("rip") <= symbols["k_hlt"] + 3, thread
    assert g.ask("vKill;1") == "OK"
    assert g.is_over()
    assert vm.wait(30) == 0, vm.tail()


def test_breakpoints_are_in_memory_only_for_the_guest_and_are_taken_back(start_guest, work, symbols):
    """The guest's RAM is a file, which says what is really there."""
    ram = f"{work}/ram"
    with open(ram, "wb") as f:
        f.truncate(128 << 20)
    at = symbols["k_triple"]

    def real(n=1):
        with open(ram, "rb") as f:
            f.seek(at)
            return f.read(n)

    vm = start_guest("told", "--memory-zone", f"id=z,size=128M,file={ram},shared=on", "--gdb", f"path={work}/gdb",
                     memory="0")
    g = GdbRemote(f"{work}/gdb")
    g.ask("?")
    was = g.memory(at, 4)
    assert real(4) == was and was[0] != 0xcc
    assert g.ask(f"Z0,{at:x},1") == "OK" and g.ask(f"Z0,{at:x},1") == "OK"
    assert real() == b"\xcc" and g.memory(at, 4) == was and g.memory(at - 2, 8)[2:6] == was
    # what is written there is for later
    assert g.ask(f"M{at:x},1:90") == "OK" and g.memory(at, 1) == b"\x90" and real() == b"\xcc"
    assert g.ask(f"M{at:x},1:{was[0]:02x}") == "OK"
    assert g.ask(f"z0,{at:x},1") == "OK" and real() == was[:1]
    assert g.ask(f"z0,{at:x},1") == "OK" and real() == was[:1]
    for far in 0xe8000000, 0x7fff0000, 1 << 40, 0xffffffffffffffff:
        assert g.ask(f"Z0,{far:x},1") == "E0e" and g.ask(f"m{far:x},4") == "E0e", hex(far)
    # the last pages of RAM: as much as there is
    assert len(g.memory((128 << 20) - 4, 64)) == 4
    for i in range(256):
        assert g.ask(f"Z0,{symbols['k_triple'] + i:x},1") == "OK"
    assert g.ask(f"Z0,{symbols['k_nop'] - 1:x},1") == "E1c"
    assert real() == b"\xcc"
    g.close()  # without a word
    well(vm)
    assert real(4) == was


def test_four_points_of_the_processor_and_no_more(start_guest, work, symbols):
    vm = start_guest("told", "--gdb", f"path={work}/gdb")
    g = GdbRemote(f"{work}/gdb")
    for i, kind in enumerate("1242"):
        assert g.ask(f"Z{kind},{0x2000 + 8 * i:x},{1 if kind == '1' else 8}") == "OK"
    assert g.ask("Z1,5000,1") == "E1c"
    assert g.ask("z1,2000,1") == "OK"
    assert g.ask("Z3,5000,4") == ""  # there are none for reading alone
    for wrong in "Z2,5001,4", "Z2,5000,3", "Z2,5000,10", "Z2,5000,0", "Z2,5000,104":
        assert g.ask(wrong) == "E0e", wrong
    assert g.ask("Z4,5000,2") == "OK"
    assert g.ask("D") == "OK" and g.is_over()
    well(vm)


def test_a_debugger_that_vanishes_lets_the_guest_go_on(start_guest, work, symbols):
    vm = start_guest("smp=2", "--gdb", f"path={work}/gdb", cpus=2)
    for way in "stopped", "running", "in a packet":
        g = GdbRemote(f"{work}/gdb")
        assert g.ask("?") == "T05thread:1;"
        assert g.ask(f"Z1,{symbols['k_hlt']:x},1") == "OK"
        if way == "running":
            g.send("vCont;c")
            # the second vCPU sleeps there for the first time
            assert "hwbreak" in g.reply()
            g.send("vCont;s:2")
        if way == "in a packet":
            g.sock.sendall(b"$m1000,")
        g.close()
        if way == "stopped":
            break
    well(vm)


def test_a_second_debugger_is_sent_away_and_a_later_one_is_welcome(start_guest, work):
    vm = start_guest("park", "--gdb", f"path={work}/gdb")
    first = GdbRemote(f"{work}/gdb")
    assert first.ask("?") == "T05thread:1;"
    second = GdbRemote(f"{work}/gdb")
    assert second.is_over()
    assert first.ask("D") == "OK" and first.is_over()
    vm.wait_for_in(vm.serial_path, "R3 PARKED")
    third = GdbRemote(f"{work}/gdb")  # stops a guest that runs
    assert third.ask("?") == "T05thread:1;"
    assert third.register("efer") & 0x500 == 0x500
    third.send("k")
    assert third.is_over()
    assert vm.wait(30) == 0, vm.tail()


HOSTILE = [
    b"", b"+" * 5000, b"-" * 5000, b"\x03" * 500, b"$" * 5000, b"#" * 100, bytes(range(256)) * 20,
    b"$" + b"a" * 40000 + b"#00", b"$g#00" * 50, b"$qXfer:features:read:target.xml:ffffffffffffffff,ffffffffffffffff#00",
]
WORDS = [
    "m0,ffffffffffffffff", "mffffffffffffffff,ffffffffffffffff", "X0,0:", "M0,0:", "Gxx", "G00", "P999=00", "pffffffff",
    "p100000000", "Hg7fffffff", "Hc-1", "Hg0", "T7fffffff", "T0", "vCont;s:99", "vCont;c:99", "vCont", "vCont;", "vCont;t",
    "Z0,0,1", "Z1,ffffffffffffffff,1", "Z9,0,0", "z4,0,1", "qXfer:features:read:../../etc/passwd:0,100",
    "qXfer:memory-map:read::0,100", "qRcmd,00", "QStartNoAckModex", "qSupported" * 100, "c0zz", "C", "S05;zz", "R00", "!",
    "A1,0,00", "i", "b", "B", "d", "t0:0,0", "vFile:open:00", "vRun;00", "vAttach;1", "QNonStop:1", "qThreadExtraInfo,",
    "qThreadExtraInfo,7fffffff", "", "\x00", "Hg" + "1" * 400,
]


def test_hostile_debuggers_do_no_harm(start_guest, work):
    vm = start_guest("park", "--gdb", f"path={work}/gdb")
    fds = None
    for data in HOSTILE * 3:
        g = GdbRemote(f"{work}/gdb")
        assert g.ask("?") == "T05thread:1;"
        now = len(os.listdir(f"/proc/{vm.pid}/fd"))
        fds = fds or now
        assert now == fds
        g.sock.sendall(data)
        g.close()
    vm.wait_for_in(vm.serial_path, "R3 PARKED")
    assert vm.stop() == 0


def test_hostile_words_are_answered_while_the_guest_stands(start_guest, work):
    vm = start_guest("told", "--gdb", f"path={work}/gdb")
    g = GdbRemote(f"{work}/gdb")
    rip = g.register("rip")
    for word in WORDS:
        said = g.ask(word)
        assert re.fullmatch(r"|OK|E[0-9a-f]{2}|[0-9a-f]*|PacketSize.*", said), (word, said)
    assert g.register("rip") == rip
    # many commands, and no answer taken for a while
    g.acks = False
    assert g.ask("QStartNoAckMode") == "OK"
    body = b"m100000,1000"
    packet = b"$" + body + b"#%02x" % (sum(body) & 0xff)
    sent, end = 0, time.monotonic() + 3
    g.sock.setblocking(False)
    while sent < 400 * len(packet) and time.monotonic() < end:
        try:
            sent += g.sock.send((packet * 400)[sent:])
        except BlockingIOError:
            time.sleep(0.01)
    g.sock.settimeout(20 * PATIENCE)
    for _ in range(sent // len(packet)):
        assert len(g.reply()) == 0x2000
    rest = (packet * 400)[sent:]
    if sent % len(packet):
        g.sock.sendall(rest[:len(packet) - sent % len(packet)])
        assert len(g.reply()) == 0x2000
    assert g.ask("D") == "OK"
    well(vm)


def test_a_reset_stops_before_the_first_instruction_again(start_guest, work, symbols):
    with open(f"{work}/disk", "wb") as f:
        f.truncate(1 << 20)
    vm = start_guest("reset", "--gdb", f"path={work}/gdb")
    g = GdbRemote(f"{work}/gdb")
    assert g.ask(f"Z1,{symbols['k_triple']:x},1") == "OK"
    g.send("vCont;c")
    said = g.reply()
    if "hwbreak" in said:
        g.ask(f"z1,{symbols['k_triple']:x},1")
        g.send("vCont;c")
        said = g.reply()
    assert said == "T05thread:1;"
    assert g.register("rip") == symbols["pvh_start"] and g.register("cr0") == 0x11
    g.send("k")
    assert g.is_over()
    assert vm.wait(30) == 0, vm.tail()


def test_the_api_sees_the_debugger_and_pause_is_a_thing_of_its_own(start_guest, work):
    vm = start_guest("park", "--gdb", f"path={work}/gdb", "--api-socket", f"{work}/api")
    api = Api(f"{work}/api")
    g = GdbRemote(f"{work}/gdb")
    assert g.ask("?") == "T05thread:1;"
    assert api.state() == "BreakPoint"
    refused = api.ask("PUT", "vm.pause")
    assert refused.code == 405 and "Running" in refused.error, refused
    assert api.ask("PUT", "vm.resume").code == 405
    g.send("vCont;c")
    vm.wait_for_in(vm.serial_path, "R3 PARKED")
    assert api.state() == "Running"
    api.put("vm.pause")
    assert api.state() == "Paused"
    g.interrupt()
    assert g.reply() == "T02thread:1;"
    assert api.state() == "Paused"
    api.put("vm.resume")
    assert api.state() == "BreakPoint"
    g.send("vCont;c")
    time.sleep(0.2)
    assert api.state() == "Running"
    # the VM goes while the debugger waits for it
    api.put("vm.shutdown")
    assert g.reply() == "W00"
    assert g.ask("m0,4") == "E02" and g.ask("g") == "E02" and g.ask("vCont;c") == "E02"
    assert g.ask("?") == "W00"
    api.put("vm.boot")
    assert api.state() == "BreakPoint"
    assert g.ask("?") == "T05thread:1;"
    g.close()
    time.sleep(0.3)
    assert api.state() == "Running"
    api.put("vmm.shutdown")
    assert vm.wait(30) == 0


# --- core files ---

SEGMENTS = "cs ds es fs gs ss ldt tr gdt idt".split()
GENERAL = "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags".split()


class Core:
    """A core file read as crash and its like do: notes, then memory by physical and by virtual address."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        ident = struct.unpack_from("<16sHHIQQQIHHHHHH", self.data)
        assert ident[0][:7] == b"\x7fELF\x02\x01\x01" and ident[1:4] == (4, 62, 1)
        self.loads, self.notes = [], []
        for i in range(ident[10]):
            kind, _, off, _, physical, size, _, _ = struct.unpack_from("<IIQQQQQQ", self.data, ident[5] + i * ident[9])
            if kind == 1:
                self.loads.append((physical, off, size))
            else:
                assert kind == 4
                self.read_notes(off, off + size)

    def read_notes(self, at, end):
        while at < end:
            name_size, size, kind = struct.unpack_from("<III", self.data, at)
            name = self.data[at + 12:at + 12 + name_size].rstrip(b"\0").decode()
            at += 12 + (name_size + 3) // 4 * 4
            self.notes.append((name, kind, self.data[at:at + size]))
            at += (size + 3) // 4 * 4
        assert at == end

    def cpus(self):
        """{register: value} of each processor, out of its QEMU note; segments are (selector, base)."""
        for name, _, data in self.notes:
            if name != "QEMU":
                continue
            version, size = struct.unpack_from("<II", data)
            assert version == 1 and size == len(data) == 440
            regs = dict(zip(GENERAL, struct.unpack_from("<18Q", data, 8)))
            for i, segment in enumerate(SEGMENTS):
                selector, _, _, _, base = struct.unpack_from("<IIIIQ", data, 152 + 24 * i)
                regs[segment] = (selector, base)
            regs.update(zip(["cr0", "cr1", "cr2", "cr3", "cr4", "kernel_gs_base"], struct.unpack_from("<6Q", data, 392)))
            yield regs

    def physical(self, address, size):
        for base, off, length in self.loads:
            if base <= address and address + size <= base + length:
                return self.data[off + address - base:off + address - base + size]
        raise KeyError(f"0x{address:x} is not in the dump")

    def virtual(self, regs, address, size):
        out = b""
        while size:
            table, shift = regs["cr3"] & ~0xfff, 48 if regs["cr4"] & 0x1000 else 39
            while True:
                entry = struct.unpack("<Q", self.physical(table + 8 * (address >> shift & 511), 8))[0]
                if not entry & 1:
                    raise KeyError(f"0x{address:x} is not mapped")
                table = entry & 0xffffffffff000
                if shift == 12 or entry & 0x80:
                    break
                shift -= 9
            n = min(size, (1 << shift) - address % (1 << shift))
            out += self.physical((table & ~((1 << shift) - 1)) + address % (1 << shift), n)
            address, size = address + n, size - n
        return out


def parked(start_guest, work, *args, words="park", gdb=False, **named):
    vm = start_guest(words, "--api-socket", f"{work}/api", *args, **named)
    api = Api(f"{work}/api")
    if gdb:
        GdbRemote(f"{work}/gdb").close()
    vm.wait_for_in(vm.serial_path, "R3 PARKED")
    return vm, api


def dump(api, path):
    return api.ask("PUT", "vm.coredump", {"destination_url": f"file://{path}"})


@pytest.mark.parametrize("shared", ["on", "off"])
def test_a_core_has_what_the_guest_had_and_costs_no_more(start_guest, work, tmp_path, symbols, shared):
    token = f"token={shared}{os.getpid()}"
    vm, api = parked(start_guest, work, words=f"smp=2 park {token}", cpus=2, memory=f"4G,shared={shared}")
    assert dump(api, f"{tmp_path}/core").code == 204
    assert api.state() == "Running"
    assert os.listdir(tmp_path).count("core.part") == 0
    st = os.stat(f"{tmp_path}/core")
    assert st.st_size > 4 << 30 and st.st_blocks * 512 < 16 << 20 and st.st_mode & 0o777 == 0o600, st
    said = subprocess.run(["gdb", "-q", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", "info threads", "-ex",
                           "info registers rip", "-ex", f"x/2gx {symbols['entry']}", "-ex", "p $cs", "-c", f"{tmp_path}/core"],
                          capture_output=True, text=True, check=True).stdout
    assert re.search(r"^\* 1 +LWP 1", said, re.M) and re.search(r"^ +2 +LWP 2", said, re.M), said
    assert re.search(rf"^rip +0x{symbols['k_hlt'] + 2:x} ", said, re.M) and "= 16" in said, said
    assert f"0x{symbols['entry']:x}:\t0x0000000000000001" in said, said
    api.put("vmm.shutdown")
    assert vm.wait(30) == 0


def test_a_walk_through_the_cores_page_tables_finds_the_guests_words(start_guest, work, tmp_path, symbols):
    token = f"token={os.getpid()}"
    vm, api = parked(start_guest, work, words=f"smp=2 park {token}", cpus=2)
    api.put("vm.pause")
    assert dump(api, f"{tmp_path}/core").code == 204
    assert api.state() == "Paused"
    core = Core(f"{tmp_path}/core")
    assert [(name, kind, len(data)) for name, kind, data in core.notes] == [("CORE", 1, 336), ("QEMU", 0, 440)] * 2
    cpus = list(core.cpus())
    for regs in cpus:
        assert regs["cr3"] == symbols["pml4"] and regs["cr0"] & 0x80000001 == 0x80000001
        assert regs["gdt"][1] == symbols["gdt"] and regs["cs"][0] == 0x10
    info = struct.unpack("<Q", core.virtual(cpus[0], symbols["entry"] + 8, 8))[0]
    words = struct.unpack("<Q", core.virtual(cpus[0], info + 24, 8))[0]
    assert core.virtual(cpus[1], words, 64).split(b"\0")[0].decode() == f"smp=2 park {token}"
    assert core.physical(symbols["gdt"], 16) == core.virtual(cpus[0], symbols["gdt"], 16)
    api.put("vmm.shutdown")
    assert vm.wait(30) == 0


def test_a_core_that_cannot_be_written_leaves_nothing(start_guest, work, tmp_path):
    vm, api = parked(start_guest, work)
    for url, code, words in (("/tmp/x", 400, "file://PATH"), ("file://", 400, "file://PATH"), ("http://x/y", 400, "file://PATH"),
                             (f"file://{tmp_path}/absent/core", 500, "No such file"), (f"file://{tmp_path}", 409, "is there already"),
                             ("file:///proc/core", 500, "")):
        answer = api.ask("PUT", "vm.coredump", {"destination_url": url})
        assert answer.code == code and words in answer.error, (url, answer)
        assert api.state() == "Running"
    os.mkdir(f"{tmp_path}/small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", f"{tmp_path}/small"], check=True)
    try:
        answer = dump(api, f"{tmp_path}/small/core")
        assert answer.code == 500 and "No space left" in answer.error, answer
        assert os.listdir(f"{tmp_path}/small") == [] and api.state() == "Running"
    finally:
        subprocess.run(["umount", f"{tmp_path}/small"], check=True)
    with open(f"{tmp_path}/theirs", "w", encoding="ascii") as f:
        f.write("theirs")
    assert dump(api, f"{tmp_path}/theirs").code == 409
    assert open(f"{tmp_path}/theirs", encoding="ascii").read() == "theirs"
    with open(f"{tmp_path}/core.part", "w", encoding="ascii"):
        pass
    answer = dump(api, f"{tmp_path}/core")
    assert answer.code == 409 and "remove it" in answer.error, answer
    os.unlink(f"{tmp_path}/core.part")
    assert dump(api, f"{tmp_path}/core").code == 204
    api.put("vmm.shutdown")
    assert vm.wait(30) == 0


def broken_off(api, path):
    """Whether a core dump was cancelled; what it left, if it was not, is taken away."""
    answer = api.ask("PUT", "vm.coredump", {"destination_url": f"file://{path}"}, [("Prefer", "respond-async")])
    assert answer.code == 202, answer
    job = answer.json["id"]
    assert api.ask("PUT", f"jobs/{job}/cancel").code in (200, 204, 405, 409)  # 405: it had ended
    state = until(lambda: (now := api.get(f"jobs/{job}")["state"]) != "Running" and now)
    assert state in ("Cancelled", "Done")
    if state == "Done":
        os.unlink(path)
    return state == "Cancelled"


def test_a_core_dump_is_a_job_and_can_be_broken_off(start_guest, work, tmp_path):
    vm, api = parked(start_guest, work, memory="3G")
    # it may be done before it is cancelled, for most of the memory is a hole
    until(lambda: broken_off(api, f"{tmp_path}/core"), 60)
    assert [name for name in os.listdir(tmp_path) if name.startswith("core")] == []
    assert api.state() == "Running"
    api.put("vmm.shutdown")
    assert vm.wait(30) == 0


def test_landlock_lets_a_core_be_written_where_a_rule_says_so(start_guest, work, tmp_path):
    os.mkdir(f"{tmp_path}/cores")
    vm, api = parked(start_guest, work, "--landlock", "--landlock-rules", f"path={tmp_path}/cores,access=rw", "--gdb",
                     f"path={work}/gdb", gdb=True)
    answer = dump(api, f"{tmp_path}/core")
    assert answer.code == 500 and "Permission denied" in answer.error, answer
    assert dump(api, f"{tmp_path}/cores/core").code == 204
    assert os.listdir(f"{tmp_path}/cores") == ["core"]
    api.put("vmm.shutdown")
    assert vm.wait(30) == 0


def test_a_core_is_dumped_while_a_debugger_waits(start_guest, work, tmp_path, symbols):
    vm = start_guest("park", "--gdb", f"path={work}/gdb", "--api-socket", f"{work}/api")
    api = Api(f"{work}/api")
    g = GdbRemote(f"{work}/gdb")
    assert g.ask("?") == "T05thread:1;"
    assert dump(api, f"{tmp_path}/core").code == 204
    assert api.state() == "BreakPoint"
    assert g.register("rip") == symbols["pvh_start"]
    assert next(Core(f"{tmp_path}/core").cpus())["rip"] == symbols["pvh_start"]
    g.send("vCont;c")
    vm.wait_for_in(vm.serial_path, "R3 PARKED")
    assert dump(api, f"{tmp_path}/core2").code == 204
    assert api.state() == "Running"
    g.interrupt()
    assert g.reply() == "T02thread:1;"
    g.close()
    api.put("vmm.shutdown")
    assert vm.wait(30) == 0
