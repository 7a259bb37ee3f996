# SPDX-License-Identifier: Apache-2.0
"""Stock Linux on a network without rights: through passt, which runs as an ordinary user."""
from pathlib import Path

from lib.beside import Beside
from lib.linux import boot, finish, ready
from lib.passt import ADDRESS, GATEWAY, ordinary_user_script
from lib.virga import binary

# What is posted is text, because busybox posts no further than the first zero.
BEHIND_PASST = f"""
ip link set eth0 up; ip address add {ADDRESS}/24 dev eth0; ip route add default via {GATEWAY}
head -c 3145728 /dev/urandom | base64 > /tmp/x
echo "X $(sha256sum < /tmp/x)"
echo "POSTED $(wget -q -O - --post-file=/tmp/x http://{GATEWAY}:7002/)"
echo "GOT $(wget -q -O - http://{GATEWAY}:7002/ | sha256sum)"
httpd -p 7001 -h /tmp
echo LISTENING
until wget -q -O /dev/null http://{GATEWAY}:7002/done; do sleep 1; done
"""


class Copies:
    """Stands for images: their files where an ordinary user may read them."""

    def __init__(self, place, images, work, kernel="6.12-cloud"):
        self.work = work
        at = images.guest(kernel)
        place.run(f"cp {at}/vmlinux {at}/initramfs.cpio.zst {binary()} {work} && chmod 777 {work} && chmod 755 {work}/*")

    def guest(self, _kernel):
        return Path(self.work)


def test_linux_behind_passt_with_nothing_but_kvm(virga, images, place, work):
    """virga and passt as an ordinary user; TCP both ways, begun on both sides."""
    copies = Copies(place, images, work)
    program = f"{work}/as-nobody"
    place.put(program, ordinary_user_script(f"{work}/{Path(binary()).name}", work))
    place.run(f"chmod 755 {program}")
    with Beside(place, "passt_there.py", work) as network:
        socket, given = network.wait_for(r"LISTENS (\S+) (\w+)").groups()
        vm = boot(virga, copies, BEHIND_PASST, "--net", f"stream={socket}", program=program)
        ready(vm)
        vm.wait_for("^LISTENING", 120)
        network.type("fetch\n")
        lines = finish(vm)
        said = dict(line.split()[:2] for line in lines if line.startswith(("X ", "POSTED ", "GOT ")))
        assert said["POSTED"] == said["X"] == network.wait_for(r"FETCHED (\w+)").group(1)
        assert said["GOT"] == given
