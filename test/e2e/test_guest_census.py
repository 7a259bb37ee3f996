# SPDX-License-Identifier: Apache-2.0
"""The census: every option of this build is run, under its filters, and every row of the filters is needed.

SCENES together say every built option, every key, and every word that a key takes; whoever builds a new one adds it
to a scene or makes one (`words` are the tiny guest's verbs). Each scene is run under strace, so a denied call fails it, and
what threads call is held against the rows of *.calls: a row that no scene needs must go, or say in its last word
for which host it is there. See lib/census.py and docs/testing.md.
"""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import termios
import threading
import time

import pytest

from lib.api import Api
from lib.census import STRACE, Rows, options, said
from lib.gdbremote import GdbRemote
from lib.guest import guest_file, pattern_disk, report_of
from lib.memory import pool
from lib.virga import binary
from lib.vsock import Listener, dial

# The scenes are one whole: what they needed is added up.
pytestmark = pytest.mark.xdist_group("census")
HERE = os.path.dirname(os.path.abspath(__file__))
DISK = "path={work}/disk"  # in memory
FILE = "path={tmp}/disk"
LIMIT = "bw_size=1048576,bw_refill_time=100,bw_one_time_burst=4096,ops_size=100,ops_refill_time=100,ops_one_time_burst=10"

# name: (the guest's words, arguments, more: what the scene needs and how it ends)
# What a restore may be told to find elsewhere, as far as it needs nobody else.
EVERYTHING = ["--console", "null", "--debug-console", "null", "--disk", "path={work}/disk", "--pmem", "file={work}/pmem,id=p",
              "--vsock", "cid=3,socket={work}/vs"]
FROM = "source_url=file://{work}/snap,resume=on,"

SCENES = {
    "board": ("told acpi smbios mptable cpuid cmos ports serial pci rng", [
        "--rng", "src=/dev/urandom,id=dice,pci_segment=0,pci_device_id=9",
        "--platform", "num_pci_segments=2,system_serial_number=s,system_uuid=8d5f6d2c-0f0c-4a4c-8d43-3a0f3f1f9f10,"
        "oem_strings=[a,b],system_manufacturer=m,system_product_name=p,system_version=v,system_family=f,"
        "system_sku_number=k,chassis_asset_tag=t",
        "--pci-segment", "pci_segment=1,mmio32_aperture_weight=2,mmio64_aperture_weight=3",
        "--pvpanic", "--debug-console", "file={work}/debug,iobase=0xe9", "-v"], {}),
    "processors": ("smp", [
        "--cpus", "boot=4,max=4,topology=2:2:1:1,max_phys_bits=40,affinity=[0@[0],1@[0]],features=,nested=off,"
        "core_scheduling=vcpu,kvm_hyperv=off,profile=host"], {}),
    "hyperv": ("told", ["--cpus", "boot=1,kvm_hyperv=on"], {"lacking": "this host's KVM cannot look like Hyper-V"}),
    "one processor": ("told", ["--cpus", "boot=1,core_scheduling=off"], {}),
    "another processor": ("told", ["--cpus", "boot=1,core_scheduling=vm"], {}),
    "reset": ("blk again=2 way=2", ["--disk", DISK, "--landlock", "--landlock-rules", "path={work},access=rw"],
              {"zero": True}),
    "uring": ("blk pcimove blkdiscard", ["--disk", FILE + ",id=d,serial=abc,num_queues=1,queue_size=64,image_type=unknown,"
                      "pci_segment=0,pci_device_id=7"], {}),
    "uring direct": ("blk blkdiscard", ["--disk", FILE + ",direct=on,lock_granularity=full"], {}),
    "aio": ("blk blkdiscard", ["--disk", FILE + ",direct=on,_disable_io_uring=on,image_type=raw"], {}),
    "sync": ("blk blkdiscard", ["--disk", DISK + ",_disable_io_uring=on,_disable_aio=on,lock_granularity=byte-range"], {}),
    "sync direct": ("blk", ["--disk", FILE + ",direct=on,_disable_io_uring=on,_disable_aio=on"], {}),
    "queues": ("blk", ["--disk", DISK + ",num_queues=2,queue_affinity=[0@[0],1@[0]],sparse=off,readonly=off"],
               {"cpus": 2}),
    "block device": ("blk blkdiscard", ["--disk", "path={loop},direct=on,_disable_io_uring=on"],
                     {"loop": True}),
    "patient": ("blk", ["--disk", DISK + ",on_error=retry", FILE + ",on_error=stop"], {}),
    "readonly": ("blk", ["--disk", DISK + ",readonly=on"], {}),
    "limits": ("rateblk warm=50 ms=200", [
        "--disk", DISK + ",on_error=report," + LIMIT, "--rate-limit-group", "id=g," + LIMIT, "--disk", FILE + ",rate_limit_group=g"], {}),
    "limited card": ("ratenet warm=50 ms=200", ["--net", "tap=tap0,link=on," + LIMIT], {"net": "tap0"}),
    "tap": ("net feed", ["--net", "tap=tap0,id=n,mac=52:54:00:01:02:03,num_queues=2,queue_size=128,pci_segment=0,"
                         "pci_device_id=8"], {"net": "tap0"}),
    "made tap": ("told", ["--net", "tap=vt0,ip=192.168.77.1,mask=255.255.255.0,host_mac=52:54:00:01:02:04,mtu=1400,"
                          "offload_tso=off,offload_ufo=off,offload_csum=off",
                          "tap=vt1,ip=fd00::1,mask=ffff:ffff:ffff:ffff::", "--landlock"], {"net": ""}),
    "passed taps": ("net", ["--net", "fd=[3],num_queues=2"], {"net": "", "taps": 1}),
    "stream": ("told pci", ["--net", "stream={work}/net.socket"], {"stream": True}),
    "vsock": ("vsock feed", ["--vsock", "cid=3,socket={work}/vsock,seqpacket=on,id=v,pci_segment=0,pci_device_id=9"],
              {"vsock": 52}),
    "queue pairs": ("net", ["--net", "tap=tap0,num_queues=4"], {"net": "tap0", "queues": 2, "cpus": 2}),
    "terminal": ("serial echo", ["--serial", "tty", "--console", "off"], {"tty": True, "end": "R3 ECHO", "quiet": True}),
    "console": ("conecho", ["--console", "tty,id=c,pci_segment=0,pci_device_id=6"],
                {"tty": True, "end": "R3 START", "quiet": True}),
    "console file": ("con", ["--console", "file={work}/console", "--debug-console", "null"], {}),
    "console null": ("con", ["--console", "null", "--serial", "off", "--debug-console", "off"],
                     {"quiet": True}),
    "pseudo-terminals": ("conecho", ["--serial", "pty", "--console", "pty", "--debug-console", "pty", "-v"],
                         {"quiet": True, "client": r"--console is at (/dev/pts/\d+)"}),
    "sockets": ("conecho", ["--serial", "socket={work}/serial.socket", "--console", "socket={work}/console.socket"],
                {"quiet": True, "client": "console.socket"}),
    "debug terminal": ("debug", ["--debug-console", "tty", "--serial", "null"], {"quiet": True}),
    "memory": ("ram", ["--memory", "size=128M,hotplug_method=acpi,mergeable=on,shared=off,reserve=on,thp=off,prefault=on,hugepages=off"],
               {}),
    "shared memory": ("ram", ["--memory", "size=128M,shared=on,thp=on"], {}),
    "zones": ("ram", ["--memory", "size=0", "--memory-zone",
                      "id=a,size=64M,file={work}/zone,shared=on,prefault=off,hugepages=off",
                      "id=b,size=64M,mergeable=on,reserve=off,host_numa_node=0",
                      "--platform", "num_pci_segments=2",
                      "--numa", "guest_numa_id=0,cpus=[0],distances=[1@20],memory_zones=[a],pci_segments=[0]",
                      "guest_numa_id=1,cpus=[1],distances=[0@20],memory_zones=[b],pci_segments=[1]",
                      "guest_numa_id=2,device_id=g", "--rng", "src=/dev/urandom,id=g"], {"cpus": 2}),
    "huge pages": ("ram", ["--memory", "size=128M,hugepages=on,hugepage_size=2M"], {"huge": 64}),
    "huge zone": ("ram", ["--memory", "size=0", "--memory-zone", "id=h,size=128M,hugepages=on,hugepage_size=2M"],
                  {"huge": 64}),
    "virtio-mem": ("vmem", ["--memory", "size=64M,hotplug_method=virtio-mem,hotplug_size=128M,hotplugged_size=64M"],
                   {}),
    "virtio-mem of a zone": ("vmem", ["--memory", "size=0,hotplug_method=virtio-mem", "--memory-zone",
                                      "id=z,size=64M,shared=on,hotplug_size=128M,hotplugged_size=64M"], {}),
    "virtio-mem in a file": ("vmem", ["--memory", "size=0,hotplug_method=virtio-mem", "--memory-zone",
                                      "id=z,size=64M,file={tmp}/zone,shared=on,hotplug_size=128M,hotplugged_size=4M"],
                             {}),
    "wishes for memory": ("pvmemcontrol", ["--memory", "size=128M,shared=on", "--pvmemcontrol"], {}),
    "balloon": ("balloon", ["--memory", "size=128M,shared=on", "--balloon",
                            "size=16M,deflate_on_oom=on,free_page_reporting=on,free_page_hinting=off,id=b,pci_segment=0,pci_device_id=10"],
                {}),
    "hints": ("balloonhints", ["--memory", "size=128M,shared=on", "--balloon", "size=0,free_page_hinting=on", "--api-socket",
                               "path={work}/api"], {"quiet": True, "asks": ["PUT vm.reclaim", "PUT vm.reclaim", "PUT vmm.shutdown"]}),
    "firmware": (None, ["--firmware", "{guest}"], {}),
    "initramfs": ("told", ["--initramfs", "{work}/disk"], {"kernel": "guest.bz"}),
    "fw_cfg": ("fwcfg", ["--initramfs", "{work}/disk", "--fw-cfg-config",
                         "e820=on,kernel=on,cmdline=on,initramfs=on,acpi_table=on,items=[name=opt/f,file={work}/disk:"
                         "name=opt/s,string=words]"], {}),
    "log": ("told", ["--log-file", "{work}/log", "--log-format", "{{localglog}} {{wallclock}} {{msg}}", "-vv",
                     "--event-monitor", "path={work}/events"], {}),
    "events": ("told", ["--event-monitor", "fd=1"], {}),
    "seccomp log": ("told", ["--seccomp", "log"], {}),
    "seccomp errno": ("told", ["--seccomp", "errno"], {}),
    "seccomp false": ("told", ["--seccomp", "false"], {}),
    "seccomp true": ("told", ["--seccomp", "true"], {}),
    "api": ("park", ["--api-socket", "path={work}/api", "--disk", DISK, "--event-monitor", "path={work}/events",
                     "--memory", "size=128M,shared=on"],
            {"quiet": True, "asks": ["GET vmm.ping", "GET vm.info", "GET vm.counters", "GET metrics", "PUT vm.add-net",
                                     "PUT vm.add-disk", "PUT vm.remove-device", "PUT vm.pause",
                                     "PUT vm.resume", "GET metrics",
                                     "PUT vm.resize-disk", "PUT vm.change-disk",
                                     "PUT vm.coredump", "PUT vm.reboot", "PUT vm.power-button",
                                     "PUT vm.pause", "PUT vm.snapshot", "PUT vm.snapshot",
                                     "PUT vm.shutdown", "PUT vm.boot", "PUT vm.delete", "PUT vm.restore", "PUT vm.delete",
                                     "GET jobs", "PUT vmm.shutdown"]}),
    "a timer that ran out": ("shots=1 pause", ["--api-socket", "path={work}/api"],
                             {"quiet": True, "ready": "R3 PAUSED", "asks": ["PUT vm.pause", "PUT vm.resume", "PUT vmm.shutdown"]}),
    "vcpus come and go": ("cpuhp=1000000 of=3", ["--cpus", "boot=1,max=3", "--api-socket", "path={work}/api"],
                          {"quiet": True, "asks": ["PUT vm.resize 3", "PUT vm.resize 1", "PUT vm.resize 3",
                                             "PUT vmm.shutdown"]}),
    "memory comes": ("memhp=1", ["--memory", "size=128M,hotplug_method=acpi,hotplug_size=256M", "--api-socket",
                                 "path={work}/api"], {"quiet": True, "asks": ["PUT vmm.shutdown"]}),
    "restored": (None, ["--restore", "source_url=file://{work}/snap,memory_restore_mode=copy,clock=frozen,resume=on", "-v"],
                 {"saved": [], "end": "event: vm resumed", "quiet": True}),
    "restored cards": (None, ["--restore", "source_url=file://{work}/snap,memory_restore_mode=map,clock=realtime,net_fds=[n@[0]]"],
                       {"saved": [], "status": 1, "quiet": True}),
    "restored elsewhere": (None, ["--restore", FROM + "disks=[id=_disk0,path={tmp}/disk],pmem=[id=p,file={tmp}/pmem],vsock_cid=9,"
                                  "vsock_socket={work}/vs2,serial_mode=pty,console_mode=pty,debug_console_mode=pty", "-v"],
                           {"saved": EVERYTHING, "end": "event: vm resumed", "quiet": True}),
    "restored on a terminal": (None, ["--restore", FROM + "serial_mode=tty,console_mode=tty,debug_console_mode=tty", "-v"],
                               {"saved": EVERYTHING, "end": "event: vm resumed", "quiet": True, "tty": True}),
    "restored in silence": (None, ["--restore", FROM + "serial_mode=null,console_mode=null,debug_console_mode=null", "-v"],
                            {"saved": EVERYTHING, "end": "event: vm resumed", "quiet": True}),
    "restored to files": (None, ["--restore", FROM + "serial_file={work}/a,console_file={work}/b,debug_console_file={work}/c",
                                 "-v"], {"saved": EVERYTHING, "end": "event: vm resumed", "quiet": True}),
    "restored without": (None, ["--restore", FROM + "serial_mode=off,console_mode=off,debug_console_mode=off"],
                         {"saved": EVERYTHING, "status": 1, "quiet": True}),
    "asked": (None, ["--restore", FROM + "check=on"], {"saved": EVERYTHING, "quiet": True}),
    "restored with more": (None, ["--restore", FROM + "serial_socket={work}/a,console_socket={work}/b,tpm_socket=/none,"
                                  "net=[id=n,tap=t],ivshmem_path=/none,zone_updates=[z@0]"], {"saved": [], "status": 1, "quiet": True}),
    "restored on demand": (None, ["--restore", "source_url=file://{work}/snap,memory_restore_mode=ondemand,prefetch=all,"
                                  "prefault=off,resume=on", "-v"],
                           {"saved": [], "end": "memory is there", "quiet": True}),
    "restored page by page": (None, ["--restore", "source_url=file://{work}/snap,memory_restore_mode=ondemand,prefetch=none,"
                                     "resume=on", "-v"],
                              {"saved": [], "end": "event: vm resumed", "quiet": True}),
    "restored by a record": (None, ["--restore", "source_url=file://{work}/snap,memory_restore_mode=ondemand,prefetch=recorded,"
                                     "resume=on", "-v"],
                              {"saved": [], "end": "event: vm resumed", "quiet": True}),
    "restored as a whole": (None, ["--restore", "source_url=file://{work}/snap,prefault=on,resume=on", "-v"],
                            {"saved": [], "end": "event: vm resumed", "quiet": True}),
    "passed api": (None, ["--api-socket", "fd=3"], {"quiet": True, "listener": True, "asks": ["PUT vmm.shutdown"]}),
    "debugger": ("park", ["--gdb", "path={work}/gdb"], {"quiet": True, "debugger": True}),
    "no shutdown": ("told", ["--no-shutdown"], {"end": "R3 EXIT"}),
    "pmem": ("pmem", ["--pmem", "file={tmp},size=4M,id=p,pci_segment=0,pci_device_id=20",
                      "file={work}/zone,discard_writes=on", "file={work}/pmem,discard_writes=off"], {}),
    "ivshmem": ("ivshmem", ["--ivshmem", "path={work}/zone,size=16M,id=s,pci_segment=0,pci_device_id=21"], {}),
    "watchdog and clock": ("watchdog vrtc", ["--watchdog", "--rtc", "id=clock,pci_segment=0,pci_device_id=20"], {}),
    "iommu": ("viommu rng", ["--disk", DISK + ",iommu=on", "--rng", "src=/dev/urandom,iommu=on", "--console",
                             "null,iommu=on", "--net", "stream={work}/net.socket,iommu=on", "--rtc", "iommu=on",
                             "--pmem", "file={work}/zone,iommu=on", "--balloon", "size=0,iommu=on",
                             "--vsock", "cid=3,socket={work}/vsock,iommu=on",
                             "--platform", "num_pci_segments=2,iommu_segments=[1],iommu_address_width=48"],
              {"stream": True}),
    "tpm": ("tpm", ["--tpm", "socket={work}/tpm.socket", "--landlock"], {"tpm": True}),
    "derailed": ("derail", [], {"status": 1}),
}


def arguments(scene, work, tmp, loop):
    words, args, more = SCENES[scene]
    places = {"work": work, "tmp": tmp, "loop": loop, "guest": guest_file("guest.elf")}
    return words, [str(arg).format(**places) for arg in args], more


def all_said():
    known = options()
    for scene, (words, args, more) in SCENES.items():
        usual = ["--kernel", "k", "--cmdline", "c", "--serial", "file=f"]
        yield from said([*usual, *args], known)


def test_every_built_option_is_in_a_scene():
    """An option, key or word that is new belongs into a scene of the census."""
    known = options()
    told = {(option, key) for option, key, _ in all_said()}
    missing = [f"{option} {key}".strip() for option, key in known if (option, key) not in told]
    assert not missing, f"in no scene of test_guest_census.py: {', '.join(sorted(missing))}"
    values = {(option, key, value) for option, key, value in all_said()}
    missing = [f"{option} {key}={word}" for (option, key), words in known.items() for word in sorted(words)
               if (option, key, word) not in values]
    assert not missing, f"in no scene of test_guest_census.py: {', '.join(missing)}"


def listen(path):
    """Stands for passt: takes the connection and whatever comes."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()

    def serve():
        try:
            peer, _ = server.accept()
            while peer.recv(65536):
                pass
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    return server


def wait_for_socket(path):
    end = time.monotonic() + 20
    while not os.path.exists(path):
        assert time.monotonic() < end, f"nobody listens at {path}"
        time.sleep(0.05)


def huge_pages(wanted):
    """Reserve huge pages of 2 MiB; returns what gives them back, or None where there are none to be had."""
    stack = contextlib.ExitStack()
    try:
        stack.enter_context(pool(2048, wanted))
    except pytest.skip.Exception:
        return None
    return stack.close


def loop_device(path):
    """A block device over a file; None where there are none to be had."""
    done = subprocess.run(["losetup", "-f", "--show", path], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


@pytest.fixture(scope="module")
def rows():
    return Rows()


@pytest.fixture(scope="module")
def played():
    return set()


def until_said(vm, pattern):
    if vm.serial_path:
        end = time.monotonic() + 30
        while not re.search(pattern, vm.file_text(vm.serial_path)):
            assert time.monotonic() < end and vm.status is None, vm.tail()
            time.sleep(0.05)
    else:
        vm.wait_for(pattern)


def whole_trace(path, pid):
    """What strace wrote of a process that has ended; its last words may come a little later."""
    end = time.monotonic() + 20
    while True:
        with open(path, encoding="latin-1") as f:
            text = f.read()
        if re.search(rf"^{pid} +\+\+\+ (exited|killed)", text, re.M):
            return text
        assert time.monotonic() < end, f"no end in the trace: {text[-500:]}"
        time.sleep(0.05)


def call(path, port):
    """Be a program of the host that reaches the guest."""
    peer, _ = dial(path, port)
    peer.sendall(b"hello")
    assert peer.recv(64) == b"hello"
    peer.close()


def talk(vm, where, work):
    """Be the one who types at a console: a pseudo-terminal that the log names, or a socket."""
    if where.endswith("socket"):
        client = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + 20
        while client.connect_ex(f"{work}/{where}"):
            assert time.monotonic() < end and vm.status is None, vm.tail()
            time.sleep(0.05)
        client.sendall(b"hello.")
        vm.wait(60)
        client.close()
        return
    terminal = os.open(vm.wait_for(where).group(1), os.O_RDWR | os.O_NOCTTY)
    termios.tcsetwinsize(terminal, (50, 100))
    time.sleep(0.2)
    os.write(terminal, b"hello.")
    vm.wait(60)
    os.close(terminal)


def ask(path, requests):
    """Be a client of the REST API, who passes descriptors too."""
    with Api(path) as api, open("/dev/null", "rb") as null:
        api.send_raw(b"nonsense\r\n\r\n")
        assert api.answer().code == 400
        for request in requests:
            passed = [null.fileno()] if request.endswith("add-net") else []
            if request.endswith("snapshot"):
                os.makedirs(f"{path}.snap", exist_ok=True)
            method, what, *vcpus = request.split()
            body = {"vm.snapshot": {"destination_url": f"file://{path}.snap"},
                    "vm.restore": {"source_url": f"file://{path}.snap"}, "vm.add-net": {"id": "card"},
                    "vm.coredump": {"destination_url": f"file://{path}.core"},
                    "vm.resize-disk": {"id": "_disk0", "desired_size": 1 << 20}, "vm.change-disk": {"id": "_disk0"},
                    "vm.resize": {"desired_vcpus": int(vcpus[0])} if vcpus else {},
                    "vm.add-disk": {"id": "hot", "path": f"{path}.disk"},
                    "vm.remove-device": {"id": "hot", "wait": 1, "force": True}}
            if what == "vm.add-disk":
                with open(f"{path}.disk", "wb") as disk:
                    disk.truncate(1 << 20)
            answer = api.ask(method, what, body=body.get(what), fds=passed)
            for _ in range(200):
                # the guest takes its time, also until its driver is there
                if answer.code != 429 and (what, answer.code) != ("vm.reclaim", 405):
                    break
                time.sleep(0.05)
                answer = api.ask(method, what, body=body.get(what))
            if passed:
                assert answer.code == 400 and "is not an open tap" in answer.error, answer
            else:
                assert answer.code in (200, 204), f"{request}: {answer}"
            if what in ("vm.coredump", "vm.remove-device"):
                os.unlink(f"{path}.{'core' if what == 'vm.coredump' else 'disk'}")
            if request.endswith("restore"):
                shutil.rmtree(f"{path}.snap")


def save(virga, work, *args):
    """A snapshot in work/snap, of a guest that goes on to its end."""
    os.mkdir(f"{work}/snap")
    vm = virga("--api-socket", f"path={work}/api", "--kernel", guest_file("guest.elf"), "--cmdline", "told park",
               "--memory", "size=64M", "--serial", f"file={work}/serial",
               *(args or ("--console", "off")), overhead=False)
    with Api(f"{work}/api") as api:
        vm.wait_for_in(f"{work}/serial", "R3 START")
        api.put("vm.pause")
        api.put("vm.snapshot", {"destination_url": f"file://{work}/snap"})
        api.put("vmm.shutdown")
    assert vm.wait() == 0


def debug(path):
    """Be a debugger who looks, changes, steps and goes."""
    g = GdbRemote(path)
    assert g.ask("?") == "T05thread:1;"
    for name, value in {"r8": "2a" + "00" * 7, "xmm3": "2b" + "00" * 15}.items():
        assert g.ask(f"P{g.registers()[name]:x}={value}") == "OK"
    assert g.ask("Z1,1000,1") == "OK"
    g.send("vCont;s:1")
    assert g.reply() == "T05thread:1;" and g.register("r8") == 0x2a and g.register("xmm3") == 0x2b
    assert g.ask("D") == "OK" and g.is_over()


def usual(words, args, more, work):
    """The arguments of a scene behind those that it does not say itself."""
    base = {"--kernel": guest_file(more.get("kernel", "guest.elf")), "--cmdline": words,
            "--cpus": f"boot={more.get('cpus', 1)}", "--memory": "size=128M", "--serial": f"file={work}/serial",
            "--console": "off"}
    if "saved" in more:
        return args
    if words is None:
        del base["--kernel"], base["--cmdline"]
    return [word for option, value in base.items() if option not in args for word in (option, value)] + args


def play(scene, virga, work, ns, played, files):
    words, args, more = arguments(scene, work, *files)
    trace = f"{work}/../{os.path.basename(work)}.trace"
    program, before = STRACE[0], [*STRACE[1:], "-o", trace]
    if ns:
        if more["net"]:
            ns.make_tap(more["net"], more.get("queues", 1))
            ns.answer(more["net"], b"and a payload")
        program = ns.wrap(STRACE[0], work)
    if "taps" in more:
        before += ["python3", f"{HERE}/lib/with_taps.py", "vt9", "10.9.9.1/24", str(more["taps"])]
    if "listener" in more:
        before += ["python3", f"{HERE}/lib/with_listener.py", f"{work}/api"]
    if "saved" in more:
        save(virga, work, *(arg.format(work=work) for arg in more["saved"]))
    vm = virga(*usual(words, args, more, work), program=program, before=[*before, binary()], overhead=False,
               tty=more.get("tty", False))
    vm.serial_path = None if "--serial" in args or "saved" in more else f"{work}/serial"
    if "client" in more:
        talk(vm, more["client"], work)
    if "asks" in more:
        if words and vm.serial_path:
            until_said(vm, more.get("ready", "R3 START"))  # a boot could be broken off by what is asked
        ask(f"{work}/api", more["asks"])
    if "debugger" in more:
        debug(f"{work}/gdb")
        vm.stop()
    if "listener" in more:
        os.unlink(f"{work}/api")
    if "end" in more:
        until_said(vm, more["end"])
        if more.get("tty"):
            vm.type("x")
            os.kill(vm.pid, signal.SIGWINCH)
            time.sleep(0.2)
        vm.stop()
    status = vm.wait(60)
    if status and "lacking" in more and more["lacking"] in vm.text:
        played.add(scene)
        pytest.skip(vm.text.strip())
    assert status == more.get("status", 0), vm.tail()
    assert "system call" not in vm.text, vm.text
    return vm


@pytest.mark.parametrize("scene", SCENES)
def test_scene(scene, rows, played, virga, work, request, tmp_path):
    more = SCENES[scene][2]
    pattern_disk(f"{work}/disk")
    pattern_disk(tmp_path / "disk")
    loop = loop_device(tmp_path / "disk") if "loop" in more else None
    if "loop" in more and not loop:
        played.add(scene)
        pytest.skip("there are no loop devices to be had here")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{work}/serial.socket")  # as one that was killed leaves it
    for path, mib in ((f"{work}/zone", 64), (tmp_path / "zone", 192), (f"{work}/pmem", 2), (tmp_path / "pmem", 2)):
        with open(path, "wb") as f:
            f.truncate(mib << 20)
    if more.get("zero"):
        with open(f"{work}/disk", "r+b") as f:
            f.write(bytes(8))
    give_back = server = tpm = None
    ports = []
    if "huge" in more:
        give_back = huge_pages(more["huge"])
        if not give_back:
            played.add(scene)
            pytest.skip("there are no huge pages to be had here")
    if more.get("tpm"):
        tpm = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={tmp_path}",
                                "--ctrl", f"type=unixio,path={work}/tpm.socket"])
        wait_for_socket(f"{work}/tpm.socket")
    if more.get("stream"):
        server = listen(f"{work}/net.socket")
    if "vsock" in more:
        ports = [Listener(f"{work}/vsock", 1024), Listener(f"{work}/vsock", 2000, kind=socket.SOCK_SEQPACKET)]
        threading.Thread(target=call, args=(f"{work}/vsock", more["vsock"]), daemon=True).start()
    trace = f"{work}/../{os.path.basename(work)}.trace"
    try:
        vm = play(scene, virga, work, request.getfixturevalue("ns") if "net" in more else None, played,
                  (tmp_path, loop))
        seen = rows.take(whole_trace(trace, vm.pid))
    finally:
        if give_back:
            give_back()
        if loop:
            subprocess.run(["losetup", "-d", loop], check=True)
        for port in ports:
            port.close()
        if tpm:
            tpm.kill()
            tpm.wait()
            if os.path.exists(f"{work}/tpm.socket"):
                os.unlink(f"{work}/tpm.socket")
        if "saved" in more:
            shutil.rmtree(f"{work}/snap")
        if server:
            server.close()
            os.unlink(f"{work}/net.socket")
        if os.path.exists(trace):
            os.unlink(trace)
    assert ("control" in seen) == (scene != "seccomp false")
    if "end" not in more and "status" not in more and not more.get("quiet"):
        report_of(vm).check()
    played.add(scene)


def test_every_row_of_a_filter_is_needed_or_says_for_whom(rows, played):
    left = set(SCENES) - played
    if left:
        pytest.skip(f"these scenes were not played to their end: {', '.join(sorted(left))}")
    idle = [f"{row.place} {row.text} of {row.profile}" for row in rows.idle()]
    assert not idle, "rows that nothing needs, take them out or say for which host they are:\n" + "\n".join(idle)
