/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every device class at once: each is used, saved as JSON text, and reborn from that text into a
 * fresh machine, where it saves the same; no byte of a saved struct is without a row; and a saved
 * state is foreign bytes like any other. The roster of classes is a list and nothing else, so it is
 * taken in from its floor above: a class that is not tried here fails.
 */
#include "conf/conf.h" /* first: its rows use T for themselves */
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "chip/ioapic.h"
#include "dev/balloon.h"
#include "dev/blk.h"
#include "dev/cmos.h"
#include "dev/cpuhp.h"
#include "dev/debugport.h"
#include "dev/fwcfg.h"
#include "dev/ged.h"
#include "dev/i8042.h"
#include "dev/ivshmem.h"
#include "dev/memhp.h"
#include "dev/net.h"
#include "dev/pcihp.h"
#include "dev/pmem.h"
#include "dev/pvmemcontrol.h"
#include "dev/pvpanic.h"
#include "dev/rng.h"
#include "dev/rtc.h"
#include "dev/serial.h"
#include "dev/tpm.h"
#include "dev/vcon.h"
#include "dev/viommu.h"
#include "dev/vmem.h"
#include "dev/vmgenid.h"
#include "dev/vsock.h"
#include "dev/watchdog.h"
#include "fakeboard.h"
#include "pci/root.h"
#include "virtio/drive.h"
#include "vm/roster.c"

/* --- the outside, as little of it as devices need to live --- */

int hv_ioevent(struct hv_vm *vm, int fd, uint64_t addr, bool is_port, uint32_t size, bool on,
	       struct err *e)
{
	(void)vm, (void)fd, (void)addr, (void)is_port, (void)size, (void)on, (void)e;
	return 0;
}

static int far_fd = -1;
static long dead(struct nlink *l, const struct kiov *k, unsigned int n)
{
	(void)l, (void)k, (void)n;
	return LINK_AGAIN;
}
static int yes_offload(struct nlink *l, uint32_t bits)
{
	(void)l, (void)bits;
	return 0;
}
static int yes_enable(struct nlink *l, bool on)
{
	(void)l, (void)on;
	return 0;
}
static void link_close(struct nlink *l)
{
	fd_close(&l->fd);
	fd_close(&far_fd);
}
static const struct link_ops quiet_link = {
	.name = "quiet",
	.offload = yes_offload,
	.tx = dead,
	.rx = dead,
	.enable = yes_enable,
	.close = link_close,
};

/* In place of net/tap.c, which the linker leaves in its library. */
int tap_open(struct nlink *links, const struct tap_args *a, struct err *e)
{
	int pair[2];

	(void)a, (void)e;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -1;
	links[0] = (struct nlink){ .ops = &quiet_link, .fd = pair[0] };
	far_fd = pair[1];
	return 0;
}

int tap_judge(struct nlink *l, const struct tap_args *a, struct err *e)
{
	return tap_open(l, a, e);
}

uint32_t tap_mtu(const struct nlink *l)
{
	(void)l;
	return 1450;
}

bool tap_host_mac(const struct nlink *l, uint8_t mac[6])
{
	(void)l, (void)mac;
	return false;
}

static size_t char_write(struct chardev *c, const uint8_t *data, size_t len)
{
	(void)c, (void)data;
	return len;
}
static void char_want(struct chardev *c, bool on)
{
	(void)c, (void)on;
}
static const struct chardev_ops char_ops = { .write = char_write, .want_input = char_want };
static struct chardev chr = { .ops = &char_ops };

static void wish(void *arg, enum board_wish w)
{
	(void)arg, (void)w;
}

/* --- the classes, where they sit here, and how each gets a state worth saving --- */

#define AT_MMIO 0xfec00000ull

static const struct ioapic_conf ioapic = { .at.place[0] = { FIXED_MMIO, AT_MMIO } };
static const struct cmos_conf cmos = { .at.place[0] = { FIXED_PIO, 0x70 }, .ram_low = GIB(2) };
static const struct debugport_conf debugport = {
	.text_fd = -1,
	.at.place = { { FIXED_PIO, 0x80 }, { FIXED_PIO, 0x402 }, { FIXED_PIO, 0xe9 } },
	.chr = &chr
};
static const struct ged_conf ged = {
	.at.place = { { FIXED_MMIO, AT_MMIO }, { FIXED_PIO, 0x600 }, { FIXED_PIO, 0x608 } },
	.gsi = 13
};
static const struct pcihp_conf pcihp = { .at.place[0] = { FIXED_MMIO, AT_MMIO }, .segments = 1 };
static const struct fixed_conf fwcfg = { .place[0] = { FIXED_PIO, 0x510 } };
static const struct cpuhp_conf cpuhp = { .at.place[0] = { FIXED_MMIO, AT_MMIO },
					 .cpus = 4,
					 .boot = 2 };
static const struct memhp_conf memhp = { .at.place[0] = { FIXED_MMIO, AT_MMIO } };
static const uint8_t generation[VMGENID_BYTES] = { 1, 2, 3 };
static const struct vmgenid_conf vmgenid = { .page = 0x1000, .id = generation };
static const struct i8042_conf i8042 = { .at.place[0] = { FIXED_PIO, 0x61 } };
static const struct serial_conf serial = { .at.place[0] = { FIXED_PIO, 0x3f8 },
					   .gsi = 4,
					   .chr = &chr };
static struct disk_conf disk;
static struct net_conf net;
static struct rng_conf rng;
static struct rtc_conf rtc;
static const struct vmem_conf vmem = { .base = BLOCKS_AT, .requested = MIB(8) };
static struct balloon_conf balloon = { .size = MIB(1),
				       .free_page_hinting = true,
				       .free_page_reporting = true };
static struct pmem_conf pmem;
static struct ivshmem_conf ivshmem;
static const struct pvmemcontrol_conf pvmemcontrol = { 0 };
static struct vcon_conf vcon = { .chr = &chr };
static struct vsock_conf vsock = { .cid = 3 };

/* Somewhere to connect to is all that a TPM needs to live. */
static struct tpm_args tpm = { .at.place[0] = { FIXED_MMIO, 0xfed40000 } };
static char tpm_path[64];

static void set8(struct bus *b, uint64_t addr, uint8_t v)
{
	bus_write(b, addr, &v, 1);
}
static void set32(struct bus *b, uint64_t addr, uint32_t v)
{
	uint8_t data[4];

	le32_put(data, v);
	bus_write(b, addr, data, 4);
}

static void ioapic_use(struct rig *r)
{
	set32(r->b.mmio, AT_MMIO, 0x10 + 2 * 9);
	set32(r->b.mmio, AT_MMIO + 0x10, 0x8051);
	set32(r->b.mmio, AT_MMIO, 0x11 + 2 * 4);
	set32(r->b.mmio, AT_MMIO + 0x10, 0x03000000);
	irq_pin(r->b.irqs, 9, true);
	irq_pulse(r->b.irqs, 4);
}
static void cmos_use(struct rig *r)
{
	set8(r->b.pio, 0x70, 0x7f);
	set8(r->b.pio, 0x71, 0xa5);
}
static void ged_use(struct rig *r)
{
	ged_raise(r->d, GED_POWER_BUTTON);
	usleep(100);
}
static void pcihp_use(struct rig *r)
{
	pcihp_look(r->d, 0, 3);
	pcihp_ask(r->d, 0, 4);
	pcihp_ask(r->d, 0, 5);
	set32(r->b.mmio, AT_MMIO + 8, 1u << 5);
}
static void fwcfg_use(struct rig *r)
{
	uint8_t b[4] = { 0, 0 };

	bus_write(r->b.pio, 0x510, b, 2);
	bus_read(r->b.pio, 0x511, b, 1);
	assert_int_equal(b[0], 'Q');
	set32(r->b.pio, 0x514, 0x12345678);
}
static void cpuhp_use(struct rig *r)
{
	cpuhp_come(r->d, 2);
	cpuhp_ask(r->d, 1);
	cpuhp_tell(r->d);
	set32(r->b.mmio, AT_MMIO, 3);
}
static void memhp_use(struct rig *r)
{
	memhp_come(r->d, GIB(4), MIB(128));
	memhp_come(r->d, GIB(5), GIB(1));
	set32(r->b.mmio, AT_MMIO, 1);
}

static void tpm_use(struct rig *r)
{
	set32(r->b.mmio, 0xfed40008, 1);
	set32(r->b.mmio, 0xfed40040, 1);
	set32(r->b.mmio, 0xfed40080, 0x1234567);
}
static void i8042_use(struct rig *r)
{
	set8(r->b.pio, 0x61, 3);
}
static void serial_use(struct rig *r)
{
	set8(r->b.pio, 0x3fa, 0xc1);
	set8(r->b.pio, 0x3f9, 0x03);
	set8(r->b.pio, 0x3fc, 0x08);
	set8(r->b.pio, 0x3ff, 0x77);
	assert_int_equal(chr.input(chr.arg, (const uint8_t *)"waiting", 7), 7);
}
static void virtio_use(struct rig *r)
{
	cfg_wr(r, 4, 2, 6);
	drv_start(r, VF_EVENT_IDX | VF_INDIRECT_DESC);
	set32(r->b.mmio, rig_bar(r) + AT_MSIX, 0xfee00000);
	set32(r->b.mmio, rig_bar(r) + AT_MSIX + 8, 0x41);
}

static void ivshmem_use(struct rig *r)
{
	cfg_wr(r, 0x18, 4, 0x40000000);
	cfg_wr(r, 0x1c, 4, 2);
	cfg_wr(r, 0x04, 2, 2);
}

/* Armed, and silent for a while. */
static void watchdog_use(struct rig *r)
{
	r->size = 8;
	virtio_use(r);
	drv_desc(r, 0, 0, BUF, 1, F_WRITE, 0);
	drv_offer(r, 0, 0);
	drv_kick(r, 0);
	rig_turn(r, 2);
	assert_int_equal(drv_used(r, 0), 1);
	usleep(2000);
}

/* Two blocks of four that were asked for. */
static void vmem_use(struct rig *r)
{
	virtio_use(r);
	mem_wr(r, BUF + 8, 8, BLOCKS_AT + MIB(2));
	mem_wr(r, BUF + 16, 2, 2);
	drv_desc(r, 0, 0, BUF, 24, F_NEXT, 1);
	drv_desc(r, 0, 1, BUF + 64, 10, F_WRITE, 0);
	drv_offer(r, 0, 0);
	drv_kick(r, 0);
	rig_turn(r, 2);
	assert_int_equal(vmem_plugged(r->d), MIB(4));
}

static void balloon_use(struct rig *r)
{
	struct err e = { 0 };

	r->size = 8;
	cfg_wr(r, 4, 2, 6);
	drv_start(r, ~VF_ACCESS_PLATFORM);
	set32(r->b.mmio, rig_bar(r) + AT_CONFIG + 4, 0x123);
	fake_sound(balloon_reclaim(r->d, &e), &e);
}

/* An endpoint with a mapping, which is gone again when the machine ends. */
static void viommu_use(struct rig *r)
{
	static struct iommu_ep ep;

	virtio_use(r);
	ep = (struct iommu_ep){ .id = 8 };
	iommu_ep_add(r->b.iommu, &ep);
	assert_int_equal(iommu_attach(r->b.iommu, 8, 3, false), IOMMU_OK);
	assert_int_equal(iommu_map(r->b.iommu, 3, (struct iommu_range){ 0x1000, 0x2fff },
				   GPA(0x5000), IOMMU_READ),
			 IOMMU_OK);
	iommu_set_pass(r->b.iommu, false);
}

static void root_use(struct rig *r)
{
	uint8_t latch[4];

	le32_put(latch, 0x80001234);
	bus_write(r->b.pio, 0xcf8, latch, 4);
	set8(r->b.mmio, RIG_ECAM + 4, 0x06);
	set8(r->b.mmio, RIG_ECAM + 0x3c, 0x0b);
}

/* Moved, and its decoding off. */
static void pvpanic_use(struct rig *r)
{
	cfg_wr(r, 0x10, 4, 0xc1230000);
	cfg_wr(r, 0x04, 2, 0);
}

/* A buffer, memory that is locked and a call that stands open. */
static void pvmemcontrol_use(struct rig *r)
{
	uint64_t at = pcidev_fn(r->d)->bar[0].addr;

	set32(r->b.mmio, at + 8, 0x060fe6d2);
	set32(r->b.mmio, at, BUF);
	set32(r->b.mmio, at + 8, 0x0e359539);
	set32(r->b.mmio, at + 8, 0x0ca8d227);
	mem_wr(r, BUF, 8, 14);
	mem_wr(r, BUF + 8, 8, 0x10000);
	mem_wr(r, BUF + 16, 8, 0x3000);
	set32(r->b.mmio, at + 8, 0x80000000);
	assert_int_equal(mem_rd(r, BUF, 4), 0);
	set32(r->b.mmio, at, 0x1234);
}

static const struct kind {
	const struct dev_class *class;
	const void *conf;
	void (*use)(struct rig *r);
} kinds[] = {
	/* clang-format off */
	{ &pci_root_class, NULL, root_use },
	{ &ioapic_class.dev, &ioapic, ioapic_use },
	{ &cmos_class.dev, &cmos, cmos_use },
	{ &debugport_class.dev, &debugport, NULL },
	{ &ged_class.dev, &ged, ged_use },
	{ &fwcfg_class.dev, &fwcfg, fwcfg_use },
	{ &i8042_class.dev, &i8042, i8042_use },
	{ &serial_class.dev, &serial, serial_use },
	{ &blk_class.dev, &disk, virtio_use },
	{ &net_class.dev, &net, virtio_use },
	{ &rng_class.dev, &rng, virtio_use },
	{ &pcihp_class.dev, &pcihp, pcihp_use },
	{ &cpuhp_class.dev, &cpuhp, cpuhp_use },
	{ &memhp_class.dev, &memhp, memhp_use },
	{ &vmgenid_class.dev, &vmgenid, NULL },
	{ &vcon_class.dev, &vcon, virtio_use },
	{ &vsock_class.dev, &vsock, virtio_use },
	{ &viommu_class.dev, NULL, viommu_use },
	{ &tpm_class.dev, &tpm, tpm_use },
	{ &pvpanic_class.dev, NULL, pvpanic_use },
	{ &pvmemcontrol_class.dev, &pvmemcontrol, pvmemcontrol_use },
	{ &watchdog_class.dev, NULL, watchdog_use },
	{ &rtc_class.dev, &rtc, virtio_use },
	{ &vmem_class.dev, &vmem, vmem_use },
	{ &balloon_class.dev, &balloon, balloon_use },
	{ &pmem_class.dev, &pmem, virtio_use },
	{ &ivshmem_class.dev, &ivshmem, ivshmem_use },
	/* clang-format on */
};

TEST(every_class_of_the_roster_is_tried_here)
{
	for (size_t i = 0; roster[i]; i++) {
		size_t n = 0;

		while (n < ARRAY_LEN(kinds) && kinds[n].class != roster[i])
			n++;
		if (n == ARRAY_LEN(kinds))
			fail_msg("class %s of the roster is not tried", roster[i]->name);
	}
}

static int machine(struct rig *r, const struct kind *k, const struct json *saved, struct err *e)
{
	const struct dev_args a = { .id = "t0", .conf = k->conf, .slot = -1, .saved = saved };

	rig_init(r);
	r->b.up.wish = wish;
	return dev_add(&r->d, &r->b, k->class, &a, e);
}

/* What the device says of itself now, at rest. */
static char *state_text(struct rig *r)
{
	const struct dev_class *c = r->d->class;
	struct err e = { 0 };

	if (c->quiesce)
		fake_sound(c->quiesce(r->d, &e), &e);
	AUTO_JSON struct json *j = dev_save(r->d);
	return json_text(j, JSON_PRETTY);
}

static char *used_text(const struct kind *k)
{
	struct err e = { 0 };
	struct rig r;
	char *text;

	fake_sound(machine(&r, k, NULL, &e), &e);
	if (k->use)
		k->use(&r);
	text = state_text(&r);
	rig_fini(&r);
	return text;
}

TEST(every_device_is_reborn_equal_from_its_json)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		AUTO_FREE char *text = used_text(&kinds[i]), *again = NULL;
		AUTO_JSON struct json *j = NULL;
		struct err e = { 0 };
		struct rig r;

		fake_sound(json_parse(&j, text, strlen(text), &e), &e);
		fake_sound(machine(&r, &kinds[i], j, &e), &e);
		assert_true(r.d->restored);
		again = state_text(&r);
		assert_string_equal(text, again);
		rig_fini(&r);
	}
}

/* The first byte without a row in a table or in one below it; its name for the sentence. */
static void all_covered(const struct desc *d)
{
	if (desc_uncovered(d) != d->size)
		fail_msg("%s: byte %u of %u has no row", d->name, desc_uncovered(d), d->size);
	for (uint32_t i = 0; i < d->count; i++)
		if (d->fields[i].sub)
			all_covered(d->fields[i].sub);
}

TEST(every_byte_of_every_state_has_a_row)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct dev_class *c = kinds[i].class;

		if (c->state)
			all_covered(c->state);
		if (c->plug && c->plug->state)
			all_covered(c->plug->state);
		if (c->state)
			assert_true(c->state_off >= sizeof(struct dev) &&
				    c->state_off + c->state->size <= c->size);
	}
}

struct forgetful {
	uint32_t told;
	uint8_t forgotten;
	uint8_t pad[3];
};

TEST(a_byte_without_a_row_is_found)
{
	static const struct field rows[] = {
		S(struct forgetful, told),
		S_PAD(struct forgetful, pad),
	};
	static const struct desc d = DESC_OF(struct forgetful, rows, "Forgetful");

	assert_int_equal(desc_uncovered(&d), offsetof(struct forgetful, forgotten));
}

/* Every number of the class's own state, one after the other, becomes another one; some of these
 * are refused. */
static void spoil(struct json *saved, size_t which, uint64_t x)
{
	struct json *state = (struct json *)(uintptr_t)json_get(saved, "state");
	struct json_iter it = { 0 };

	for (size_t n = 0; state && json_next(state, &it); n++) {
		if (n != which)
			continue;
		json_set_int(state, it.key, (int64_t)(x >> (x % 64)));
		return;
	}
}

TEST(a_spoilt_state_is_refused_or_harmless)
{
	uint64_t x = 88172645463325252ull;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		AUTO_FREE char *text = used_text(&kinds[i]);

		for (size_t n = 0; n < 200; n++) {
			AUTO_JSON struct json *j = NULL;
			struct err e = { 0 };
			struct rig r;

			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			fake_sound(json_parse(&j, text, strlen(text), &e), &e);
			if (!json_get(j, "state") || n / 10 >= json_count(json_get(j, "state")))
				break;
			spoil(j, n / 10, x);
			if (!machine(&r, &kinds[i], j, &e)) {
				fake_hammer(r.b.pio, 0x3f0, 16, 100);
				fake_hammer(r.b.pio, 0x60, 20, 100);
				fake_hammer(r.b.mmio, AT_MMIO, 0x20, 100);
			}
			rig_fini(&r);
		}
	}
}

static char pmem_path[] = "/tmp/virga-pmem-XXXXXX";
static char disk_path[] = "/tmp/virga-state-XXXXXX";

static int tpm_fd;
static int tpm_listen(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(tpm_path, sizeof(tpm_path), "/tmp/virga-state-tpm-%d", getpid());
	memcpy(a.sun_path, tpm_path, sizeof(tpm_path));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 4096), 0);
	tpm.socket = tpm_path;
	return fd;
}

static int begin(void **state)
{
	int fd = mkstemp(disk_path);

	(void)state;
	if (fd < 0 || ftruncate(fd, 1 << 20))
		return -1;
	close(fd);
	tpm_fd = tpm_listen();
	desc_default(&disk_desc, &disk);
	disk.path = mem_str(disk_path);
	fd = mkstemp(pmem_path);
	if (fd < 0 || ftruncate(fd, 4 << 20))
		return -1;
	close(fd);
	desc_default(&pmem_desc, &pmem);
	pmem.file = mem_str(pmem_path);
	desc_default(&ivshmem_desc, &ivshmem);
	ivshmem.path = mem_str(pmem_path);
	ivshmem.size = 4 << 20;
	desc_default(&net_desc, &net);
	memcpy(net.mac, "\x52\x54\x00\x01\x02\x03", 6);
	desc_default(&rng_desc, &rng);
	vsock.socket = mem_fmt("%s.vsock", disk_path);
	return 0;
}

static int end(void **state)
{
	(void)state;
	unlink(disk_path);
	unlink(pmem_path);
	desc_free(&pmem_desc, &pmem);
	desc_free(&ivshmem_desc, &ivshmem);
	unlink(tpm_path);
	close(tpm_fd);
	desc_free(&disk_desc, &disk);
	desc_free(&net_desc, &net);
	desc_free(&rng_desc, &rng);
	return 0;
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_class_of_the_roster_is_tried_here),
		T(every_device_is_reborn_equal_from_its_json),
		T(every_byte_of_every_state_has_a_row),
		T(a_byte_without_a_row_is_found),
		T(a_spoilt_state_is_refused_or_harmless),
	};

	return cmocka_run_group_tests(t, begin, end);
}
