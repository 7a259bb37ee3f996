/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taps: what is refused before anything is touched, and, in a network of its own that the test
 * makes when it may, that one can be made, set up, found again, passed, and that nothing is left.
 */
#include "test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "net/link.h"

static bool own_network; /* we may make taps */

#define NEEDS_NETWORK()                                                                            \
	do {                                                                                       \
		if (!own_network)                                                                  \
			skip();                                                                    \
	} while (0)

static const char *refusal(const struct tap_args *a)
{
	static struct err e;
	struct nlink l[4];

	err_clear(&e);
	if (tap_open(l, a, &e))
		return err_frame(&e, 0);
	for (unsigned int i = 0; i < a->pairs; i++)
		l[i].ops->close(&l[i]);
	return "";
}

static void open_one(struct nlink *l, const struct tap_args *a)
{
	struct err e = { 0 };

	if (tap_open(l, a, &e))
		fail_msg("%s", err_frame(&e, 0));
}

TEST(names_that_no_interface_can_have_are_refused)
{
	static const char *const bad[] = {
		"", "sixteencharslong", "a b", "a/b", "a:1", "tap%d", ".", ".."
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct tap_args a = { .name = bad[i], .pairs = 1 };

		assert_non_null(strstr(refusal(&a), "tap name"));
	}
}

TEST(addresses_that_are_none_are_refused)
{
	static const struct {
		const char *ip, *mask, *words;
	} bad[] = {
		{ "10.0.0.1", NULL, "mask is missing" },
		{ NULL, "255.0.0.0", "ip is missing" },
		{ "10.0.0", "255.0.0.0", "ip=10.0.0 is not" },
		{ "10.0.0.1", "255.0.255.0", "mask=255.0.255.0 is not" },
		{ "10.0.0.1", "ffff::", "mask=ffff:: is not" },
		{ "fd00::1", "255.0.0.0", "mask=255.0.0.0 is not" },
		{ "fd00::1", "ffff:0:ffff::", "is not a mask" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct tap_args a = { .ip = bad[i].ip, .mask = bad[i].mask, .pairs = 1 };

		assert_non_null(strstr(refusal(&a), bad[i].words));
	}
}

TEST(passed_descriptors_must_be_taps)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fds[] = { null, 1000 };
	struct tap_args a = { .pairs = 1, .fds = fds, .fd_count = 1 };

	assert_non_null(strstr(refusal(&a), "is not an open tap"));
	a.fds = &fds[1];
	assert_non_null(strstr(refusal(&a), "fd=1000 is not an open tap"));
	a.fds = fds;
	a.pairs = 2;
	assert_non_null(strstr(refusal(&a), "1 descriptors for 2 queue pairs"));
	assert_true(fcntl(null, F_GETFD) >= 0);
	fd_close(&null);
}

TEST(a_tap_is_made_set_up_and_gone)
{
	static const uint8_t mac[6] = { 2, 0, 0, 1, 2, 3 };
	struct tap_args a = { .name = "virgatest0",
			      .ip = "10.77.0.1",
			      .mask = "255.255.255.0",
			      .host_mac = mac,
			      .mtu = 1400,
			      .pairs = 1 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { 0 };
	struct sockaddr_in sin;
	struct nlink l;

	NEEDS_NETWORK();
	open_one(&l, &a);
	assert_int_equal(tap_mtu(&l), 1400);
	strcpy(r.ifr_name, a.name);
	assert_int_equal(ioctl(s, SIOCGIFADDR, &r), 0);
	memcpy(&sin, &r.ifr_addr, sizeof(sin));
	assert_int_equal(ntohl(sin.sin_addr.s_addr), 0x0a4d0001);
	assert_int_equal(ioctl(s, SIOCGIFNETMASK, &r), 0);
	memcpy(&sin, &r.ifr_netmask, sizeof(sin));
	assert_int_equal(ntohl(sin.sin_addr.s_addr), 0xffffff00);
	assert_int_equal(ioctl(s, SIOCGIFHWADDR, &r), 0);
	assert_memory_equal(r.ifr_hwaddr.sa_data, mac, 6);
	assert_int_equal(ioctl(s, SIOCGIFFLAGS, &r), 0);
	assert_true(r.ifr_flags & IFF_UP);
	assert_non_null(strstr(refusal(&a), "is in use by another program"));
	l.ops->close(&l);
	assert_int_equal(if_nametoindex(a.name), 0);
	fd_close(&s);
}

TEST(an_ipv6_address_is_set_too)
{
	struct tap_args a = { .ip = "fd77::1", .mask = "ffff:ffff:ffff:ffff::", .pairs = 1 };
	struct nlink l;

	NEEDS_NETWORK();
	if (access("/proc/net/if_inet6", R_OK))
		skip(); /* a host without IPv6 */
	open_one(&l, &a);
	l.ops->close(&l);
}

TEST(several_pairs_share_one_tap)
{
	struct tap_args a = { .name = "virgatest1", .pairs = 3 };
	struct nlink l[3], one;

	NEEDS_NETWORK();
	open_one(l, &a);
	for (int i = 1; i < 3; i++) {
		assert_int_equal(l[i].ops->enable(&l[i], false), 0);
		assert_int_equal(l[i].ops->enable(&l[i], true), 0);
	}
	a.pairs = 1; /* made for several, used with one */
	open_one(&one, &a);
	one.ops->close(&one);
	for (int i = 0; i < 3; i++)
		l[i].ops->close(&l[i]);
	assert_int_equal(if_nametoindex(a.name), 0);
}

TEST(a_failure_half_way_leaves_no_tap)
{
	struct tap_args a = { .name = "virgatest2", .mtu = 70000, .pairs = 2 };

	NEEDS_NETWORK();
	assert_non_null(strstr(refusal(&a), "set the mtu of tap virgatest2"));
	assert_int_equal(if_nametoindex(a.name), 0);
	a = (struct tap_args){ .name = "lo", .pairs = 1 };
	assert_non_null(strstr(refusal(&a), "interface lo is there and is no macvtap and no tap"));
}

TEST(frames_cross_with_their_headers)
{
	struct tap_args a = { .name = "virgatest3", .pairs = 1 };
	struct sockaddr sa = { .sa_family = AF_PACKET };
	uint8_t frame[12 + 60] = { 0 }, got[2000];
	struct kiov k[2] = { kiov_of(frame, 12), kiov_of(frame + 12, 60) },
		    in = kiov_of(got, sizeof(got));
	struct nlink l;
	int s;

	NEEDS_NETWORK();
	open_one(&l, &a);
	assert_int_equal(l.ops->offload(&l, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6), 0);
	s = socket(AF_PACKET, SOCK_PACKET | SOCK_CLOEXEC, htons(0x0003));
	assert_true(s >= 0);
	strcpy(sa.sa_data, a.name);
	/* out of the guest */
	memset(frame + 12, 0xff, 6);
	frame[12 + 6] = 2;
	frame[12 + 12] = 0x88;
	frame[12 + 13] = 0xb5; /* a type for experiments */
	assert_int_equal(l.ops->tx(&l, k, 2), 72);
	/* and into it: what the host sends, among what it says by itself */
	assert_int_equal(sendto(s, frame + 12, 60, 0, &sa, sizeof(sa)), 60);
	for (int i = 0; i < 50; i++) {
		struct pollfd p = { .fd = l.fd, .events = POLLIN };
		long n;

		assert_int_equal(poll(&p, 1, 2000), 1);
		n = l.ops->rx(&l, &in, 1);
		if (n == 72 && got[24] == 0x88 && got[25] == 0xb5)
			break;
		assert_true(i < 49);
	}
	while (l.ops->rx(&l, &in, 1) > 0)
		;
	assert_int_equal(l.ops->rx(&l, &in, 1), LINK_AGAIN);
	/* a header that makes no sense is refused, and the next frame goes */
	frame[1] = VIRTIO_NET_HDR_GSO_TCPV4;
	frame[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	frame[6] = 0xff;
	frame[7] = 0xff;
	assert_int_equal(l.ops->tx(&l, k, 2), LINK_DROP);
	memset(frame, 0, 12);
	assert_int_equal(l.ops->tx(&l, k, 2), 72);
	fd_close(&s);
	l.ops->close(&l);
}

TEST(a_passed_tap_serves_twice)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct tap_args a = { .pairs = 1, .fds = &fd, .fd_count = 1 };
	struct ifreq r = { .ifr_name = "virgatest4", .ifr_flags = IFF_TAP | IFF_NO_PI };

	if (!own_network)
		fd_close(&fd);
	NEEDS_NETWORK();
	assert_int_equal(ioctl(fd, TUNSETIFF, &r), 0);
	assert_non_null(strstr(refusal(&a), "made without IFF_TAP, IFF_NO_PI and IFF_VNET_HDR"));
	fd_close(&fd);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	r.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	assert_int_equal(ioctl(fd, TUNSETIFF, &r), 0);
	assert_string_equal(refusal(&a), "");
	assert_string_equal(refusal(&a), "");
	fd_close(&fd);
}

TEST(a_macvtap_is_used_and_stays)
{
	static const uint8_t mac[6] = { 2, 0, 0, 9, 9, 9 };
	struct tap_args a = { .name = "virgamv0", .host_mac = mac, .mtu = 1400, .pairs = 2 };
	struct nlink l[2];
	char node[32];

	NEEDS_NETWORK();
	/* an index of its own, so that the device node of another network is not in the way */
	if (system("ip link add virgav0 index 7771 type veth peer name virgav1 2> /dev/null && "
		   "ip link add link virgav0 name virgamv0 index 7772 type macvtap mode bridge 2> /dev/null && "
		   "ip link set virgav0 up && ip link set virgav1 up"))
		skip(); /* a host without macvtap */
	snprintf(node, sizeof(node), "/dev/tap%u", if_nametoindex("virgamv0"));
	if (access(node, R_OK | W_OK))
		skip(); /* no devtmpfs, or not ours */
	assert_int_equal(tap_open(l, &a, &(struct err){ 0 }), 0);
	assert_int_equal(tap_mtu(&l[0]), 1400);
	assert_int_equal(l[0].ops->offload(&l[0], TUN_F_CSUM | TUN_F_TSO4), 0);
	assert_int_equal(l[1].ops->enable(&l[1], false), 0);
	assert_int_equal(l[1].ops->enable(&l[1], true), 0);
	l[0].ops->close(&l[0]);
	l[1].ops->close(&l[1]);
	assert_int_not_equal(if_nametoindex("virgamv0"), 0);
	/* its device can be passed too */
	a = (struct tap_args){ .pairs = 1, .fd_count = 1 };
	a.fds = (const int[]){ open(node, O_RDWR | O_CLOEXEC) };
	assert_string_equal(refusal(&a), "");
	close(a.fds[0]);
	assert_int_equal(system("ip link del virgav0"), 0);
}

TEST(without_the_right_the_sentence_says_what_to_do)
{
	struct tap_args a = { .name = "virgatest5", .pairs = 1 };

	if (geteuid())
		skip(); /* a right cannot be put down that was never there */
	assert_int_equal(seteuid(65534), 0);
	assert_non_null(strstr(refusal(&a), "no right to "));
	assert_int_equal(seteuid(0), 0);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(names_that_no_interface_can_have_are_refused),
		T(addresses_that_are_none_are_refused),
		T(passed_descriptors_must_be_taps),
		T(a_tap_is_made_set_up_and_gone),
		T(an_ipv6_address_is_set_too),
		T(several_pairs_share_one_tap),
		T(a_failure_half_way_leaves_no_tap),
		T(frames_cross_with_their_headers),
		T(a_passed_tap_serves_twice),
		T(a_macvtap_is_used_and_stays),
		T(without_the_right_the_sentence_says_what_to_do),
	};

	/* A user namespace gives the right over the new network to anyone where the host
	 * allows it. */
	own_network = (!unshare(CLONE_NEWNET) || !unshare(CLONE_NEWUSER | CLONE_NEWNET)) &&
		      !access("/dev/net/tun", R_OK | W_OK);
	return cmocka_run_group_tests(t, NULL, NULL);
}
