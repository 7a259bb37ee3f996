# SPDX-License-Identifier: Apache-2.0
"""Stock Linux in virga: the test guests of test/rig/mkguest, and Debian's login.

A test guest runs a shell script, says GUEST-STATUS with its exit status, and powers off. Its words go to the
serial port, where each byte costs an exit: scripts that say much write to /dev/hvc0.
"""
import base64

# On two busy cores a nested guest takes a while; none of this is a measure of speed.
BOOT_SECONDS = 120
LOGIN_SECONDS = 400
PROMPT = "# "
# What a kernel that starts does for itself and no test looks at, a seventh of the work of its start.
SPARED = "mitigations=off audit=0 apparmor=0 random.trust_cpu=on " \
         "initcall_blacklist=sed_opal_init,init_evm,load_system_certificate_list,jent_mod_init"

# In a test guest: the file system of measuring programs, from the last disk, as the root of `tool PROGRAM...`.
TOOLS = """
tools=/dev/$(ls /sys/block | grep ^vd | tail -n 1)
mount -o ro $tools /mnt
for d in dev proc sys tmp; do mount --bind /$d /mnt/$d; done
tool() { chroot /mnt "$@"; }
"""
# With tools: the same pages are written and looked at all the while, until `verified` says so.
STRESS = """
tool stress-ng --temp-path /tmp --vm 1 --vm-bytes 48m --vm-keep --vm-method rand-set --verify --timeout 900 > /tmp/stress 2>&1 &
verified() {
	killall -INT stress-ng
	wait
	grep -q "successful run completed" /tmp/stress && echo VERIFIED || cat /tmp/stress
}
"""


def guest_command(script):
    """The words of a kernel command line that make a test guest run a script."""
    return "guestcmd=" + base64.b64encode(script.encode()).decode()


def boot(virga, images, script, *args, kernel="6.12-cloud", image="vmlinux", cmdline="", tools=False, plain=False, **named):
    """Start a test guest that runs `script`. `args` are more of virga's arguments. Its start is spared what costs most and
    matters least, where there is room to say so, and unless it is to be `plain`."""
    at = images.guest(kernel)
    if tools:
        script = TOOLS + script
        args = (*args, "--disk", f"path={images.tools},readonly=on")
    words = f"console=ttyS0 quiet {cmdline} {guest_command(script)}"
    if not plain and len(words) + len(SPARED) + 1 < 2048:
        words = f"{SPARED} {words}"
    assert len(words) < 2048, "Linux keeps 2047 characters of its command line"
    if "--console" not in args:
        args = (*args, "--console", "off")
    return virga("--kernel", at / image, "--initramfs", at / "initramfs.cpio.zst", "--cmdline", words,
                 "--serial", "tty", *merge_lists(args), **named)


def merge_lists(args):
    """Put the values of each option that is given several times behind its first mention."""
    merged = {}
    for word in args:
        if str(word).startswith("--"):
            values = merged.setdefault(word, [])
        else:
            values.append(word)
    return [word for option, values in merged.items() for word in (option, *values)]


def ready(vm, timeout=BOOT_SECONDS):
    """Wait until a test guest's script begins. Returns where in vm.text its words start."""
    return vm.wait_for(r"GUEST-READY [\d.]+\r*\n", timeout).end()


def finish(vm, timeout=BOOT_SECONDS, power_off=True):
    """Wait for a test guest's script, see that it ended well, and return the lines it wrote."""
    start = ready(vm, max(timeout, BOOT_SECONDS))
    end = vm.wait_for(r"GUEST-STATUS (\d+)", timeout, after=start)
    lines = vm.text[start:end.start()].replace("\r", "").splitlines()
    assert end.group(1) == "0", "\n".join(lines)
    if power_off:
        assert vm.wait() == 0, vm.tail()
    return lines


def log_in(vm):
    """Log in at a Debian guest's prompt, and make the shell say nothing but answers."""
    vm.wait_for("login: ", LOGIN_SECONDS)
    vm.type("root\n")
    after = vm.wait_for("Password: ", BOOT_SECONDS).end()
    vm.type("root\n")
    after = vm.wait_for(PROMPT, BOOT_SECONDS, after).end()
    vm.type("stty -echo; PS1= exec sh\n")
    vm.type("echo shell is ready\n")
    vm.wait_for(r"(?<!echo )shell is ready", BOOT_SECONDS, after)


def ask(vm, command, timeout=BOOT_SECONDS):
    """Run a command in the shell of log_in, and return the lines it wrote."""
    start = len(vm.text)
    vm.type(f"{command}; echo answer ends $?\n")
    end = vm.wait_for(r"answer ends (\d+)", timeout, start)
    return [line for line in vm.text[start:end.start()].replace("\r", "").splitlines() if line]
