/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taps: made by us, existing, or passed as open descriptors, and macvtaps. Frames carry the 12-byte
 * virtio_net_hdr, so that checksums and segmentation travel as wishes between guest and kernel.
 * Opening is for the control thread, moving frames for the pair's loop. Linux:
 * Documentation/networking/tuntap.rst.
 *
 * A macvtap is an interface of its own on top of another one, and has its device at /dev/tapN, N
 * being its index; it is never made here. A tap that we make ends with its last descriptor. What is wrong with addresses and names is said
 * before anything is touched.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "net/frame.h"
#include "net/link.h"

#define TUN_PATH "/dev/net/tun"
#define NAME_CHOSEN "vmtap%d" /* the kernel fills in the number */
#define PIECES_MAX 1024	      /* UIO_MAXIOV */

/* --- frames, the pair's loop --- */

static long result(ssize_t n)
{
	if (n > 0)
		return n;
	if (n == 0)
		return LINK_DEAD;
	switch (errno) {
	case EAGAIN:
	case EINTR:
		return LINK_AGAIN;
	case EBADFD: /* the interface was deleted */
	case EBADF:
	case ENODEV:
		return LINK_DEAD;
	default: /* a header without sense, an interface that is down, no memory */
		return LINK_DROP;
	}
}

static long tap_tx(struct nlink *l, const struct kiov *k, unsigned int n)
{
	return n > PIECES_MAX ? LINK_DROP : result(writev(l->fd, &k->v, (int)n));
}

static long tap_rx(struct nlink *l, const struct kiov *k, unsigned int n)
{
	return result(readv(l->fd, &k->v, (int)(n > PIECES_MAX ? PIECES_MAX : n)));
}

static int tap_offload(struct nlink *l, uint32_t bits)
{
	/* Without checksums the kernel knows no segmentation. */
	if (!(bits & TUN_F_CSUM))
		bits = 0;
	if (!ioctl(l->fd, TUNSETOFFLOAD, (unsigned long)bits))
		return 0;
	/* Kernels from 4.14 to 6.1 have lost UFO. */
	return ioctl(l->fd, TUNSETOFFLOAD, (unsigned long)(bits & ~(uint32_t)TUN_F_UFO));
}

static int tap_enable(struct nlink *l, bool on)
{
	struct ifreq r = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	return ioctl(l->fd, TUNSETQUEUE, &r);
}

static void tap_close(struct nlink *l)
{
	fd_close(&l->fd);
}

static const struct link_ops tap_ops = {
	.name = "tap",
	.offload = tap_offload,
	.tx = tap_tx,
	.rx = tap_rx,
	.enable = tap_enable,
	.close = tap_close,
};

/* --- words and addresses --- */

static int check_name(const char *name, struct err *e)
{
	size_t n = strlen(name);

	if (!n || n >= IFNAMSIZ)
		return err_set(e, ERR_BAD,
			       "tap name \"%s\": an interface name has 1 to %d characters", name,
			       IFNAMSIZ - 1);
	for (size_t i = 0; i < n; i++)
		if (strchr("/:%", name[i]) || !isgraph((unsigned char)name[i]))
			return err_set(
				e, ERR_BAD,
				"tap name \"%s\": an interface name has no spaces and none of / : %%",
				name);
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return err_set(e, ERR_BAD, "tap name \"%s\" is not an interface name", name);
	return 0;
}

struct address {
	int family; /* 0: none was given */
	struct in_addr v4, mask4;
	struct in6_addr v6;
	uint32_t prefix6;
};

/* Ones, then zeros; -1 when they are mixed. */
static int prefix_of(const uint8_t *mask, unsigned int bytes)
{
	unsigned int bits = 0;

	while (bits < bytes * 8 && mask[bits / 8] & 0x80 >> bits % 8)
		bits++;
	for (unsigned int i = bits; i < bytes * 8; i++)
		if (mask[i / 8] & 0x80 >> i % 8)
			return -1;
	return (int)bits;
}

static int read_address(struct address *a, const char *ip, const char *mask, struct err *e)
{
	struct in6_addr mask6;
	int prefix;

	*a = (struct address){ 0 };
	if (!ip && !mask)
		return 0;
	if (!ip || !mask)
		return err_set(e, ERR_BAD, "ip and mask go together; %s is missing",
			       ip ? "mask" : "ip");
	if (inet_pton(AF_INET, ip, &a->v4) == 1) {
		a->family = AF_INET;
		if (inet_pton(AF_INET, mask, &a->mask4) != 1 ||
		    prefix_of((const uint8_t *)&a->mask4, 4) < 0)
			return err_set(e, ERR_BAD, "mask=%s is not a mask such as 255.255.255.0",
				       mask);
		return 0;
	}
	if (inet_pton(AF_INET6, ip, &a->v6) != 1)
		return err_set(e, ERR_BAD, "ip=%s is not an IPv4 or IPv6 address", ip);
	a->family = AF_INET6;
	prefix = inet_pton(AF_INET6, mask, &mask6) == 1 ? prefix_of(mask6.s6_addr, 16) : -1;
	if (prefix < 0)
		return err_set(e, ERR_BAD,
			       "mask=%s is not a mask such as ffff:ffff:ffff:ffff::", mask);
	a->prefix6 = (uint32_t)prefix;
	return 0;
}

/* --- the interface --- */

static void name_put(struct ifreq *r, const char *name)
{
	*r = (struct ifreq){ 0 };
	snprintf(r->ifr_name, IFNAMSIZ, "%s", name);
}

static int refuse_setting(const char *name, const char *what, struct err *e)
{
	if (errno == EPERM || errno == EACCES)
		return err_set(
			e, ERR_DENIED,
			"no right to set the %s of tap %s; set it beforehand (ip link, ip addr) or run with CAP_NET_ADMIN",
			what, name);
	return err_os(e, ERR_IO, "set the %s of tap %s", what, name);
}

static int set_v4(int s, const char *name, const struct address *a, struct err *e)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = a->v4 };
	struct ifreq r;

	name_put(&r, name);
	memcpy(&r.ifr_addr, &sin, sizeof(sin));
	if (ioctl(s, SIOCSIFADDR, &r))
		return refuse_setting(name, "address", e);
	sin.sin_addr = a->mask4;
	memcpy(&r.ifr_netmask, &sin, sizeof(sin));
	if (ioctl(s, SIOCSIFNETMASK, &r))
		return refuse_setting(name, "netmask", e);
	return 0;
}

static int set_v6(int s, const char *name, const struct address *a, struct err *e)
{
	struct in6_ifreq r6 = { .ifr6_addr = a->v6, .ifr6_prefixlen = a->prefix6 };
	AUTO_FD int s6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r;

	name_put(&r, name);
	if (s6 < 0)
		return err_os(e, ERR_IO, "this host has no IPv6");
	if (ioctl(s, SIOCGIFINDEX, &r))
		return err_os(e, ERR_IO, "look up tap %s", name);
	r6.ifr6_ifindex = r.ifr_ifindex;
	/* it may have the address already */
	if (ioctl(s6, SIOCSIFADDR, &r6) && errno != EEXIST)
		return refuse_setting(name, "address", e);
	return 0;
}

static int set_up(int s, const char *name, struct err *e)
{
	struct ifreq r;

	name_put(&r, name);
	if (ioctl(s, SIOCGIFFLAGS, &r))
		return err_os(e, ERR_IO, "look at tap %s", name);
	/* Who may not change it can still use one that is up. */
	if (r.ifr_flags & IFF_UP)
		return 0;
	r.ifr_flags |= IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &r))
		return refuse_setting(name, "state (up)", e);
	return 0;
}

static int set_interface(const char *name, const struct tap_args *a, const struct address *ip,
			 struct err *e)
{
	AUTO_FD int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r;

	if (s < 0)
		return err_os(e, ERR_IO, "open a socket to set up tap %s", name);
	name_put(&r, name);
	if (a->host_mac) {
		r.ifr_hwaddr.sa_family = ARPHRD_ETHER;
		memcpy(r.ifr_hwaddr.sa_data, a->host_mac, 6);
		if (ioctl(s, SIOCSIFHWADDR, &r))
			return refuse_setting(name, "mac", e);
	}
	name_put(&r, name);
	r.ifr_mtu = (int)a->mtu;
	if (a->mtu && ioctl(s, SIOCSIFMTU, &r))
		return refuse_setting(name, "mtu", e);
	if (ip->family == AF_INET && set_v4(s, name, ip, e))
		return -1;
	if (ip->family == AF_INET6 && set_v6(s, name, ip, e))
		return -1;
	return set_up(s, name, e);
}

/* --- opening --- */

static int refuse_tun(struct err *e)
{
	switch (errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return err_set(e, ERR_ABSENT,
			       "there is no " TUN_PATH " on this host; load it with modprobe tun");
	case EACCES:
	case EPERM:
		return err_set(e, ERR_DENIED,
			       "no right to open " TUN_PATH
			       "; give this user read and write on it");
	default:
		return err_os(e, ERR_IO, "open " TUN_PATH);
	}
}

/* Its number; 0: there is none of that name. */
static int index_of(const char *name)
{
	AUTO_FD int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r;

	name_put(&r, name);
	return s >= 0 && !ioctl(s, SIOCGIFINDEX, &r) ? r.ifr_ifindex : 0;
}

/* May this thread make interfaces? Where nobody tells, it may try. */
static bool is_admin(void)
{
	AUTO_FREE char *text = NULL;
	struct err none = { 0 };
	const char *at;
	size_t len;

	if (fd_slurp("/proc/thread-self/status", 1u << 16, &text, &len, &none) < 0)
		return true;
	at = strstr(text, "CapEff:");
	return !at || strtoull(at + strlen("CapEff:"), NULL, 16) >> CAP_NET_ADMIN & 1;
}

static int refuse_kind(const char *name, unsigned int pairs, struct err *e)
{
	return err_set(
		e, ERR_BAD,
		"interface %s is there and is no macvtap and no tap with %s; name another, or make it: ip tuntap add %s mode tap vnet_hdr%s",
		name, pairs > 1 ? "several queues" : "one queue", name,
		pairs > 1 ? " multi_queue" : "");
}

static int refuse_busy(const char *name, struct err *e)
{
	return err_set(
		e, ERR_TAKEN,
		"tap %s is in use by another program; end that one first, or name another tap",
		name);
}

static int refuse_attach(const char *name, unsigned int pairs, bool there, struct err *e)
{
	bool chosen = !strcmp(name, NAME_CHOSEN);

	switch (errno) {
	case EPERM:
	case EACCES:
		return err_set(
			e, ERR_DENIED,
			"no right to %s tap %s; run with CAP_NET_ADMIN, or make it beforehand: ip tuntap add %s mode tap vnet_hdr%s user NAME",
			there ? "use" : "make", chosen ? "a new" : name, chosen ? "tap0" : name,
			pairs > 1 ? " multi_queue" : "");
	case EBUSY:
		return refuse_busy(name, e);
	case E2BIG:
		return err_set(e, ERR_BAD, "tap %s has no room for %u queues", name, pairs);
	default:
		break;
	}
	return err_os(e, ERR_IO, "%s tap %s", there ? "open" : "make", name);
}

static int refuse_macvtap(const char *path, const char *name, struct err *e)
{
	return err_set(
		e, ERR_DENIED,
		"no right to open %s, the device of macvtap %s; give this user read and write on it",
		path, name);
}

/* One more queue of an interface that is no tap: a macvtap, or nothing for us. The index says which
 * device; the device must say the name, because other networks count their interfaces too. */
static int attach_macvtap(const char *name, unsigned int pairs, struct err *e)
{
	AUTO_FD int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), fd = -1;
	char path[32];
	struct ifreq r;

	name_put(&r, name);
	if (s < 0 || ioctl(s, SIOCGIFINDEX, &r))
		return err_os(e, ERR_IO, "look up interface %s", name);
	snprintf(path, sizeof(path), "/dev/tap%d", r.ifr_ifindex);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return refuse_macvtap(path, name, e);
	if (fd < 0 && errno == EBUSY)
		return err_set(e, ERR_TAKEN, "macvtap %s is in use by another program", name);
	name_put(&r, "");
	if (fd < 0 || ioctl(fd, TUNGETIFF, &r) || strcmp(r.ifr_name, name))
		return refuse_kind(name, pairs, e);
	name_put(&r, name);
	r.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (pairs > 1 ? IFF_MULTI_QUEUE : 0);
	if (ioctl(fd, TUNSETIFF, &r))
		return err_os(e, ERR_IO, "set up macvtap %s", name);
	return fd_take(&fd);
}

/* One more queue of the tap; name takes what the kernel calls it. */
static int attach(char name[IFNAMSIZ], unsigned int pairs, struct err *e)
{
	bool there = index_of(name);
	AUTO_FD int fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	struct ifreq r;
	int bad;

	if (fd < 0)
		return refuse_tun(e);
	name_put(&r, name);
	r.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (pairs > 1)
		r.ifr_flags |= IFF_MULTI_QUEUE;
	bad = ioctl(fd, TUNSETIFF, &r);
	if (bad && errno == EINVAL && pairs == 1 && there) {
		/* One that was made for several queues can be used with one. */
		r.ifr_flags |= IFF_MULTI_QUEUE;
		bad = ioctl(fd, TUNSETIFF, &r);
	}
	if (bad && errno == EINVAL && there)
		return attach_macvtap(name, pairs, e);
	if (bad)
		return refuse_attach(name, pairs, there, e);
	memcpy(name, r.ifr_name, IFNAMSIZ);
	return fd_take(&fd);
}

static int set_header(int fd, const char *name, struct err *e)
{
	int bytes = FRAME_HEADER;

	if (ioctl(fd, TUNSETVNETHDRSZ, &bytes) || ioctl(fd, TUNSETOFFLOAD, 0ul))
		return err_os(e, ERR_IO, "set the frame header of tap %s", name);
	return 0;
}

static void close_all(struct nlink *links, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		tap_close(&links[i]);
}

/* What /sys tells of an interface, or `none`. */
static long told_of(const char *name, const char *what, int base, long none)
{
	AUTO_FREE char *path = mem_fmt("/sys/class/net/%s/%s", name, what);
	AUTO_FREE char *text = NULL;
	struct err ignored = { 0 };
	size_t len;

	return fd_slurp(path, 64, &text, &len, &ignored) < 0 ? none : strtol(text, NULL, base);
}

static bool has_flag(const char *name, short flag)
{
	AUTO_FD int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r;

	name_put(&r, name);
	return s >= 0 && !ioctl(s, SIOCGIFFLAGS, &r) && r.ifr_flags & flag;
}

/* No tap: a macvtap, whose device one may open, or nothing for us. */
static int judge_macvtap(const struct tap_args *a, long index, struct err *e)
{
	AUTO_FREE char *path = mem_fmt("/dev/tap%ld", index);

	if (access(path, R_OK | W_OK) == 0)
		return 0;
	return errno == EACCES ? refuse_macvtap(path, a->name, e)
			       : refuse_kind(a->name, a->pairs, e);
}

/* One that is down tells nobody of who comes and goes. */
static int judge_down(const struct tap_args *a, struct err *e)
{
	char name[IFNAMSIZ];
	AUTO_FD int fd = -1;

	snprintf(name, sizeof(name), "%s", a->name);
	fd = attach(name, a->pairs, e);
	if (fd < 0 || is_admin())
		return fd < 0 ? -1 : 0;
	errno = EPERM;
	return refuse_setting(a->name, "state (up)", e);
}

/* One that is there: attaching would show on the host. A tap has a carrier while somebody has it. */
static int judge_there(const struct tap_args *a, struct err *e)
{
	long index = told_of(a->name, "ifindex", 10, 0),
	     flags = told_of(a->name, "tun_flags", 16, 0);
	long owner = told_of(a->name, "owner", 10, -1);
	bool multi = flags & IFF_MULTI_QUEUE;

	/* where nobody tells, or of another network's interface, it is tried */
	if (!index || index != index_of(a->name))
		return 0;
	if (!flags)
		return judge_macvtap(a, index, e);
	if (!(flags & IFF_TAP) || (a->pairs > 1 && !multi))
		return refuse_kind(a->name, a->pairs, e);
	if (!multi && (a->beside || told_of(a->name, "carrier", 10, 0)))
		return refuse_busy(a->name, e);
	if (!has_flag(a->name, IFF_UP))
		return judge_down(a, e);
	errno = EPERM;
	if (is_admin())
		return 0;
	if (owner >= 0 && owner != (long)geteuid())
		return refuse_attach(a->name, a->pairs, true, e);
	if (!a->host_mac && !a->mtu && !a->ip)
		return 0;
	return refuse_setting(a->name, a->host_mac ? "mac" : a->mtu ? "mtu" : "address", e);
}

int tap_judge(struct nlink *l, const struct tap_args *a, struct err *e)
{
	struct address ip;

	*l = (struct nlink){ .ops = &tap_ops, .fd = -1 };
	if ((a->name && check_name(a->name, e)) || read_address(&ip, a->ip, a->mask, e))
		return -1;
	if (a->name && index_of(a->name))
		return judge_there(a, e);
	if (a->beside && a->pairs == 1)
		return refuse_busy(a->name, e);
	if (access(TUN_PATH, R_OK | W_OK))
		return refuse_tun(e);
	if (is_admin())
		return 0;
	return err_set(e, ERR_ABSENT,
		       "there is no tap %s, and no right to make it: make it beforehand",
		       a->name ? a->name : "yet");
}

static int open_named(struct nlink *links, const struct tap_args *a, struct err *e)
{
	char name[IFNAMSIZ];
	struct address ip;
	unsigned int n;

	snprintf(name, sizeof(name), "%s", a->name ? a->name : NAME_CHOSEN);
	if ((a->name && check_name(a->name, e)) || read_address(&ip, a->ip, a->mask, e))
		return -1;
	for (n = 0; n < a->pairs; n++) {
		links[n] = (struct nlink){ .ops = &tap_ops, .fd = attach(name, a->pairs, e) };
		if (links[n].fd < 0 || set_header(links[n].fd, name, e))
			break;
	}
	if (n < a->pairs || set_interface(name, a, &ip, e)) {
		close_all(links, n < a->pairs ? n + 1 : n);
		return -1;
	}
	return 0;
}

/* Is a passed descriptor a tap that we can use? */
static int check_passed(int fd, struct err *e)
{
	struct ifreq r = { 0 };
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || ioctl(fd, TUNGETIFF, &r))
		return err_set(e, ERR_BAD, "fd=%d is not an open tap", fd);
	if (!(r.ifr_flags & IFF_TAP) || !(r.ifr_flags & IFF_NO_PI) || !(r.ifr_flags & IFF_VNET_HDR))
		return err_set(
			e, ERR_BAD,
			"fd=%d is interface %s, made without IFF_TAP, IFF_NO_PI and IFF_VNET_HDR; make it with all three",
			fd, r.ifr_name);
	if (set_header(fd, r.ifr_name, e))
		return -1;
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return err_os(e, ERR_IO, "set up fd=%d", fd);
	return 0;
}

/* Duplicates, because a reboot closes the links and opens the same descriptors again. */
static int open_passed(struct nlink *links, const struct tap_args *a, struct err *e)
{
	for (unsigned int i = 0; i < a->fd_count; i++)
		if (check_passed(a->fds[i], e))
			return -1;
	for (unsigned int i = 0; i < a->fd_count; i++) {
		links[i] = (struct nlink){ .ops = &tap_ops,
					   .fd = fcntl(a->fds[i], F_DUPFD_CLOEXEC, 3) };
		if (links[i].fd < 0) {
			err_os(e, ERR_IO, "duplicate fd=%d", a->fds[i]);
			close_all(links, i);
			return -1;
		}
	}
	return 0;
}

int tap_open(struct nlink *links, const struct tap_args *a, struct err *e)
{
	if (!a->fd_count)
		return open_named(links, a, e);
	if (a->fd_count != a->pairs)
		return err_set(e, ERR_BAD,
			       "%u descriptors for %u queue pairs; give one each (num_queues=%u)",
			       a->fd_count, a->pairs, a->fd_count * 2);
	return open_passed(links, a, e);
}

/* What the interface behind a link says of itself. */
static int ask_interface(const struct nlink *l, unsigned long what, struct ifreq *r)
{
	AUTO_FD int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*r = (struct ifreq){ 0 };
	return s < 0 || ioctl(l->fd, TUNGETIFF, r) || ioctl(s, what, r) ? -1 : 0;
}

uint32_t tap_mtu(const struct nlink *l)
{
	struct ifreq r;

	if (l->fd < 0 && l->ops == &tap_ops)
		return ETH_DATA_LEN; /* of tap_judge */
	return !ask_interface(l, SIOCGIFMTU, &r) && r.ifr_mtu > 0 ? (uint32_t)r.ifr_mtu : 0;
}

bool tap_host_mac(const struct nlink *l, uint8_t mac[6])
{
	struct ifreq r;

	if (ask_interface(l, SIOCGIFHWADDR, &r))
		return false;
	memcpy(mac, r.ifr_hwaddr.sa_data, 6);
	return true;
}
