/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a payload finds in memory: start info, zero page, command line, ACPI tables (checksums,
 * links, and iasl, which takes them apart and puts them together), SMBIOS, the MP table. The board
 * is a real one, with its chips, and no hypervisor behind it.
 */
#include "arch/x86/boot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/x86/fwitems.h"
#include "arch/x86/mptable.h"
#include "arch/x86/plat.h"
#include "arch/x86/tables.h"
#include "base/bits.h"
#include "base/mem.h"
#include "dev/ged.h"
#include "fw/acpi.h"
#include "mem/backing.h"
#include "test.h"

#define BITS 46
#define LOW (1u << 20)

struct machine {
	struct vm_conf c;
	struct board b;
	struct cpu_topology_conf topo;
	struct platform_conf platform;
	uint8_t low[LOW]; /* a copy of the first megabyte */
};

static void ok(int r, struct err *e)
{
	char line[400];

	if (r)
		fail_msg("%s", err_line(e, line, sizeof line));
}

/* What the machine is to be; with more said of it, machine_build makes it. */
static struct machine *machine_conf(uint64_t size, uint32_t vcpus)
{
	struct machine *m = NEW(struct machine);

	m->c.memory.size = size;
	m->c.cpus.boot_vcpus = m->c.cpus.max_vcpus = vcpus;
	m->c.cpus.max_phys_bits = BITS;
	m->platform.num_pci_segments = 1;
	return m;
}

static struct machine *machine_build(struct machine *m)
{
	const struct backing_args how = { 0 };
	struct arch_chars chars = { 0 };
	struct pci_host_args pci;
	struct gmem_plan *plan = NEW(struct gmem_plan);
	struct err e = { 0 };

	board_init(&m->b);
	ok(backing_open(&plan->zone[plan->zones++], m->c.memory.size, &how, &e), &e);
	ok(arch_ram(plan, &m->c, BITS, &e), &e);
	ok(gmem_new(&m->b.mem, &e), &e);
	ok(gmem_lay(m->b.mem, plan, &e), &e);
	free(plan);
	ok(bus_new(&m->b.pio, "pio", &e), &e);
	ok(bus_new(&m->b.mmio, "mmio", &e), &e);
	ok(irqs_new(&m->b.irqs, NULL, &e), &e);
	ok(arch_pci_args(&pci, &m->c, gmem_end(m->b.mem), BITS, &e), &e);
	pci.pio = m->b.pio;
	pci.mmio = m->b.mmio;
	pci.irqs = m->b.irqs;
	ok(pci_host_new(&m->b.pci, &pci, &e), &e);
	ok(arch_devices(&m->b, &m->c, &chars, BITS, &e), &e);
	return m;
}

static struct machine *machine(uint64_t size, uint32_t vcpus)
{
	return machine_build(machine_conf(size, vcpus));
}

static void drop(struct machine *m)
{
	dev_remove_all(&m->b);
	pci_host_free(m->b.pci);
	irqs_free(m->b.irqs);
	bus_free(m->b.mmio);
	bus_free(m->b.pio);
	gmem_free(m->b.mem);
	free(m);
}

static void finish(struct machine *m, const struct arch_payload *p)
{
	struct err e = { 0 };

	ok(arch_finish(p, &m->b, &m->c, BITS, &e), &e);
	assert_int_equal(gmem_read(m->b.mem, GPA(0), m->low, LOW), 0);
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	return (uint8_t)(0u - acpi_checksum(p, n));
}

TEST(start_info_tells_map_command_line_initrd_and_rsdp)
{
	const struct arch_payload p = { .kind = BOOT_PVH,
					.initrd = 0x7000000,
					.initrd_size = 1234 };
	char cmdline[] = "console=ttyS0 quiet";
	struct machine *m = machine(MIB(128), 1);

	m->c.payload.cmdline = cmdline;
	finish(m, &p);
	const uint8_t *s = m->low + 0x6000;

	assert_int_equal(le32_get(s), 0x336ec578);
	assert_int_equal(le32_get(s + 4), 1);
	assert_int_equal(le32_get(s + 12), 1);
	assert_string_equal((char *)m->low + le64_get(s + 24), cmdline);
	assert_int_equal(le64_get(s + 32), 0xa0000);
	const uint8_t *mod = m->low + le64_get(s + 16);

	assert_int_equal(le64_get(mod), 0x7000000);
	assert_int_equal(le64_get(mod + 8), 1234);
	const uint8_t *map = m->low + le64_get(s + 40);

	assert_int_equal(le32_get(s + 48), 3);
	assert_int_equal(le64_get(map + 8), 0xa0000);
	assert_int_equal(le64_get(map + 24), MIB(1));
	assert_int_equal(le64_get(map + 32), MIB(127));
	assert_int_equal(le32_get(map + 48 + 16), 2);
	assert_int_equal(le16_get(m->low + 0x40e), 0xa000);
	drop(m);
}

TEST(zero_page_holds_the_setup_header_and_what_the_loader_adds)
{
	struct arch_payload p = { .kind = BOOT_BZIMAGE, .initrd = 0x7000000, .initrd_size = 99 };
	struct machine *m = machine(GIB(4), 1);

	p.setup_len = 0x60;
	memset(p.setup_header, 0x77, p.setup_len);
	memcpy(p.setup_header + (0x202 - 0x1f1), "HdrS", 4);
	finish(m, &p);
	const uint8_t *z = m->low + 0x7000;

	assert_memory_equal(z + 0x202, "HdrS", 4);
	assert_int_equal(z[0x1f1], 0x77);
	assert_int_equal(z[0x210], 0xff);
	assert_int_equal(le32_get(z + 0x218), 0x7000000);
	assert_int_equal(le32_get(z + 0x21c), 99);
	assert_int_equal(le32_get(z + 0x228), 0x20000);
	assert_int_equal(le64_get(z + 0x70), 0xa0000);
	assert_int_equal(z[0x1e8], 4);
	assert_int_equal(le64_get(z + 0x2d0 + 40), GIB(4));
	assert_int_equal(le64_get(z + 0x2d0 + 48), GIB(1));
	assert_int_equal(m->low[0x20000], 0);
	drop(m);
}

TEST(descriptors_are_flat_code_and_data_and_a_task)
{
	const struct arch_payload p = { .kind = BOOT_BZIMAGE, .entry = 0x100000 };
	struct machine *m = machine(MIB(128), 1);
	struct hv_x86_start s;

	finish(m, &p);
	x86_start(&s, &p);
	assert_int_equal(s.gdt_limit, 31);
	assert_int_equal(le64_get(m->low + s.gdt_base + 0x10), 0x00cf9b000000ffff);
	assert_int_equal(le64_get(m->low + s.gdt_base + 0x18), 0x00cf93000000ffff);
	assert_int_equal(s.cs.selector, 0x10);
	assert_int_equal(s.ds.selector, 0x18);
	assert_int_equal(s.rsi, 0x7000);
	assert_int_equal(s.rbx, 0);
	drop(m);
}

TEST(a_command_line_of_64_kib_fits_and_one_more_does_not)
{
	struct machine *m = machine(MIB(128), 1);
	struct payload_conf p = { .kernel = mem_str("/dev/null") };
	struct arch_payload out;
	struct err e = { 0 };
	char *long_line = mem_new(0x10001);

	memset(long_line, 'a', 0xffff);
	m->c.payload.cmdline = long_line;
	finish(m, &(struct arch_payload){ .kind = BOOT_PVH });
	assert_int_equal(m->low[0x2fffe], 'a');
	assert_int_equal(m->low[0x2ffff], 0);
	assert_int_equal(m->low[0x30000], 0);
	/* /dev/null is no kernel, which is said first */
	assert_int_equal(arch_load(&out, m->b.mem, &p, &e), -1);
	char line[400];

	assert_non_null(strstr(err_line(&e, line, sizeof line), "kernel: /dev/null: "));
	assert_int_equal(arch_load(&out, m->b.mem, &(struct payload_conf){ 0 }, &e), -1);
	free(p.kernel);
	free(long_line);
	drop(m);
}

TEST(a_fifo_is_no_payload_and_nobody_waits_for_its_other_end)
{
	struct machine *m = machine(MIB(128), 1);
	char dir[] = "/tmp/virga-boot-XXXXXX", path[64], line[400];
	struct arch_payload out;
	struct err e = { 0 };

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(arch_load(&out, m->b.mem, &(struct payload_conf){ .kernel = path }, &e),
			 -1);
	assert_non_null(strstr(err_line(&e, line, sizeof line), "neither a regular file"));
	unlink(path);
	rmdir(dir);
	drop(m);
}

/* Table i of the XSDT, NULL behind the last. */
static const uint8_t *table(const struct machine *m, uint32_t i)
{
	const uint8_t *x = m->low + le64_get(m->low + 0xa0000 + 24);

	return i < (le32_get(x + 4) - 36) / 8 ? m->low + le64_get(x + 36 + 8 * i) : NULL;
}

static const uint8_t *find(const struct machine *m, const char *signature)
{
	for (uint32_t i = 0; table(m, i); i++)
		if (!memcmp(table(m, i), signature, 4))
			return table(m, i);
	return NULL;
}

TEST(acpi_tables_are_linked_and_sum_to_zero)
{
	struct machine *m = machine(MIB(128), 5);

	finish(m, &(struct arch_payload){ .kind = BOOT_PVH });
	const uint8_t *r = m->low + 0xa0000;

	assert_memory_equal(r, "RSD PTR ", 8);
	assert_int_equal(sum(r, 20), 0);
	assert_int_equal(sum(r, 36), 0);
	const uint8_t *x = m->low + le64_get(r + 24);

	assert_memory_equal(x, "XSDT", 4);
	assert_int_equal(sum(x, le32_get(x + 4)), 0);
	for (uint32_t i = 0; table(m, i); i++) {
		assert_int_equal(sum(table(m, i), le32_get(table(m, i) + 4)), 0);
		assert_memory_equal(table(m, i) + 10, "CLOUDH", 6);
	}
	const uint8_t *f = find(m, "FACP"), *d = m->low + le64_get(f + 140);

	assert_int_equal(le32_get(f + 4), 276);
	assert_memory_equal(d, "DSDT", 4);
	assert_int_equal(sum(d, le32_get(d + 4)), 0);
	assert_int_equal(le32_get(f + 112) & 1u << 20, 1u << 20);
	assert_int_equal(le64_get(f + 120), 0x600);
	assert_int_equal(f[128], 1);
	assert_int_equal(le64_get(f + 212), 0x608);
	assert_int_equal(le64_get(f + 248), 0x600);
	assert_int_equal(le64_get(f + 260), 0x600);
	assert_memory_equal(f + 268, "CLOUDHYP", 8);
	const uint8_t *a = find(m, "APIC");

	assert_int_equal(le32_get(a + 4), 44 + 5 * 16 + 12 + 10);
	assert_int_equal(le32_get(a + 44 + 4 * 16 + 4), 4);
	assert_int_equal(le64_get(find(m, "MCFG") + 44), 0xe8000000);
	drop(m);
}

TEST(hyperv_in_a_guest_finds_pm1a_blocks)
{
	for (unsigned int i = 0; i < 4; i++) {
		struct machine *m = machine(MIB(128), 1);
		bool both = i == 3;

		m->c.cpus.kvm_hyperv = i & 1;
		m->c.cpus.nested = i & 2;
		finish(m, &(struct arch_payload){ .kind = BOOT_PVH });
		const uint8_t *f = find(m, "FACP");

		assert_int_equal(sum(f, le32_get(f + 4)), 0);
		assert_int_equal(le32_get(f + 56), both ? 0x60c : 0);
		assert_int_equal(le32_get(f + 64), both ? 0x610 : 0);
		assert_int_equal(le16_get(f + 88), both ? 0x204 : 0);
		assert_int_equal(le32_get(f + 148), both ? 0x02002001 : 0);
		assert_int_equal(le64_get(f + 152), both ? 0x60c : 0);
		assert_int_equal(le32_get(f + 172), both ? 0x02001001 : 0);
		assert_int_equal(le64_get(f + 176), both ? 0x610 : 0);
		drop(m);
	}
}

static void dump(const char *dir, const char *name, const uint8_t *t)
{
	AUTO_FREE char *path = mem_fmt("%s/%s.dat", dir, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(t, le32_get(t + 4), 1, f), 1);
	assert_int_equal(fclose(f), 0);
}

/* iasl takes the table apart and makes it again, both without an error, and what lies behind the
 * header is the same. */
static void round_trip(const char *dir, const char *name)
{
	AUTO_FREE char *cmd =
		mem_fmt("cd %s && iasl -d %s.dat >d.log 2>&1 && iasl -oa %s.dsl >c.log 2>&1 && "
			"grep -q ' 0 Errors' c.log && ! grep -qi error d.log && "
			"cmp -i 36 %s.dat %s.aml || { cat d.log c.log %s.dsl >&2; false; }",
			dir, name, name, name, name, name);

	assert_int_equal(system(cmd), 0);
}

/* The machine is dropped. */
static void iasl(struct machine *m)
{
	char dir[] = "/tmp/virga-iasl-XXXXXX";

	finish(m, &(struct arch_payload){ .kind = BOOT_PVH });
	assert_non_null(mkdtemp(dir));
	for (uint32_t i = 0; table(m, i); i++) {
		char name[5] = { 0 };

		memcpy(name, table(m, i), 4);
		dump(dir, name, table(m, i));
		round_trip(dir, name);
	}
	dump(dir, "DSDT", m->low + le64_get(find(m, "FACP") + 140));
	round_trip(dir, "DSDT");
	AUTO_FREE char *rm = mem_fmt("rm -r %s", dir);

	assert_int_equal(system(rm), 0);
	drop(m);
}

/* As many segments as there may be, on two nodes, one with more room than the others. */
static struct machine *wide_machine(void)
{
	static uint16_t on_first[] = { 0, 1 }, on_second[] = { 95 };
	static struct numa_conf nodes[2];
	static struct pci_segment_conf big = { .pci_segment = 2,
					       .mmio32_aperture_weight = 10,
					       .mmio64_aperture_weight = 20 };
	struct machine *m = machine_conf(GIB(5), 2);

	nodes[0].pci_segments.items = on_first;
	nodes[0].pci_segments.count = 2;
	nodes[1].guest_numa_id = 3;
	nodes[1].pci_segments.items = on_second;
	nodes[1].pci_segments.count = 1;
	m->platform.num_pci_segments = 96;
	m->c.platform = &m->platform;
	m->c.numa.items = nodes;
	m->c.numa.count = 2;
	m->c.pci_segments.items = &big;
	m->c.pci_segments.count = 1;
	return machine_build(m);
}

TEST(iasl_takes_the_tables_apart_and_puts_them_together)
{
	if (system("iasl -v >/dev/null 2>&1")) {
		print_message("iasl is not installed (package acpica-tools)\n");
		skip();
	}
	iasl(machine(MIB(128), 1));
	iasl(machine(GIB(5), 64));
	iasl(wide_machine());
}

/* Place of the bytes in the table, behind `from`; 0 = they are not there. */
static uint32_t place_of(const uint8_t *t, uint32_t from, const void *bytes, uint32_t len)
{
	for (uint32_t i = from; i + len <= le32_get(t + 4); i++)
		if (!memcmp(t + i, bytes, len))
			return i;
	return 0;
}

/* Each bridge says its segment, its bus, its node and where its windows are. */
TEST(every_segment_has_a_bridge_of_its_own)
{
	struct machine *m = wide_machine();
	const uint8_t *mcfg, *dsdt;
	uint32_t at = 36;

	finish(m, &(struct arch_payload){ .kind = BOOT_PVH });
	mcfg = find(m, "MCFG");
	dsdt = m->low + le64_get(find(m, "FACP") + 140);
	assert_int_equal(le32_get(mcfg + 4), 44 + 96 * 16);
	for (uint16_t s = 0; s < 96; s++) {
		struct pci_aperture low = pci_mem32(m->b.pci, s), high = pci_mem64(m->b.pci, s);
		uint32_t node = s == 95 ? 3 : 0;
		uint8_t bounds[16];
		char name[5];

		assert_int_equal(le64_get(mcfg + 44 + 16 * s), 0xe8000000 + s * MIB(1));
		assert_int_equal(le16_get(mcfg + 52 + 16 * s), s);
		assert_int_equal(le16_get(mcfg + 54 + 16 * s), 0);
		snprintf(name, sizeof(name), "PC%02X", s);
		at = place_of(dsdt, at, name, 4);
		assert_true(at);
		uint32_t bbn = place_of(dsdt, at, "_BBN\0", 5);

		/* in the order in which they are written: the next bridge is behind them */
		assert_true(bbn && bbn < at + 100);
		uint32_t pxm = place_of(dsdt, at, "_PXM", 4);

		assert_true(pxm && pxm < at + 100);
		assert_int_equal(dsdt[pxm + 4], node ? 0x0a : 0);
		if (node)
			assert_int_equal(dsdt[pxm + 5], node);
		le32_put(bounds, (uint32_t)low.base);
		le32_put(bounds + 4, (uint32_t)(low.base + low.size - 1));
		assert_true(place_of(dsdt, at, bounds, 8));
		le64_put(bounds, high.base);
		le64_put(bounds + 8, high.base + high.size - 1);
		assert_true(place_of(dsdt, at, bounds, 16));
	}
	assert_false(place_of(dsdt, at + 1, "PC60", 4));
	drop(m);
}

TEST(tables_of_very_many_cpus_stop_before_smbios)
{
	struct machine *m = machine(MIB(128), 8192);
	struct err e = { 0 };

	assert_int_equal(
		arch_finish(&(struct arch_payload){ .kind = BOOT_PVH }, &m->b, &m->c, BITS, &e),
		-1);
	/* the most that any kernel gives a VM */
	m->c.cpus.boot_vcpus = m->c.cpus.max_vcpus = 4096;
	finish(m, &(struct arch_payload){ .kind = BOOT_PVH });
	drop(m);
}

/* The MP table's floating pointer, or NULL. */
static const uint8_t *mp(const struct machine *m)
{
	for (uint32_t a = 0xf0000; a < LOW; a += 16)
		if (!memcmp(m->low + a, "_MP_", 4))
			return m->low + a;
	return NULL;
}

TEST(the_mp_table_lists_processors_and_the_ioapic)
{
	struct machine *m = machine(MIB(128), 3);

	finish(m, &(struct arch_payload){ .kind = BOOT_PVH });
	const uint8_t *f = mp(m);

	assert_non_null(f);
	assert_int_equal(sum(f, 16), 0);
	const uint8_t *t = m->low + le32_get(f + 4), *p = t + 44;

	assert_memory_equal(t, "PCMP", 4);
	assert_int_equal(sum(t, le16_get(t + 4)), 0);
	uint32_t kinds[5] = { 0 };

	for (uint16_t i = 0; i < le16_get(t + 34); i++) {
		assert_true(p[0] < 5);
		kinds[p[0]]++;
		p += p[0] ? 8 : 20;
	}
	assert_ptr_equal(p, t + le16_get(t + 4));
	assert_int_equal(kinds[0], 3);
	assert_int_equal(kinds[2], 1);
	assert_int_equal(kinds[3], 16);
	assert_int_equal(kinds[4], 2);
	drop(m);
}

TEST(the_mp_table_is_left_out_when_ids_do_not_fit)
{
	struct machine *m = machine(MIB(128), 300);

	finish(m, &(struct arch_payload){ .kind = BOOT_PVH });
	assert_null(mp(m));
	drop(m);
	m = machine(MIB(128), 254);
	finish(m, &(struct arch_payload){ .kind = BOOT_PVH });
	assert_non_null(mp(m));
	drop(m);
}

TEST(a_bad_uuid_of_the_platform_is_refused_by_name)
{
	struct platform_conf p;
	struct machine *m = machine(MIB(128), 1);
	struct err e = { 0 };
	char uuid[] = "nonsense", line[400];

	memset(&p, 0, sizeof p);
	p.num_pci_segments = 1;
	p.system_uuid = uuid;
	m->c.platform = &p;
	assert_int_equal(
		arch_finish(&(struct arch_payload){ .kind = BOOT_PVH }, &m->b, &m->c, BITS, &e),
		-1);
	assert_non_null(strstr(err_line(&e, line, sizeof line), "platform: 'nonsense' is no UUID"));
	drop(m);
}

/* --- fw_cfg --- */

#define FILES_MAX 8

/* The files as firmware reads them through the ports, and where it has put them. */
struct firmware {
	struct {
		char name[56];
		uint32_t len;
		uint8_t *bytes;
		uint64_t at;
	} file[FILES_MAX];
	uint32_t files;
};

static uint8_t *fw_read(struct machine *m, uint16_t key, uint32_t len)
{
	uint8_t *p = mem_array(len, 1), k[2];

	le16_put(k, key);
	bus_write(m->b.pio, 0x510, k, 2);
	for (uint32_t i = 0; i < len; i++)
		bus_read(m->b.pio, 0x511, p + i, 1);
	return p;
}

static void fw_look(struct machine *m, struct firmware *f)
{
	AUTO_FREE uint8_t *count = fw_read(m, 0x19, 4), *dir = NULL;

	f->files = be32_get(count);
	assert_in_range(f->files, 1, FILES_MAX);
	dir = fw_read(m, 0x19, 4 + 64 * f->files);
	for (uint32_t i = 0; i < f->files; i++) {
		const uint8_t *at = dir + 4 + 64 * i;

		memcpy(f->file[i].name, at + 8, 56);
		f->file[i].len = be32_get(at);
		f->file[i].bytes = fw_read(m, be16_get(at + 4), f->file[i].len);
	}
}

static uint32_t fw_find(const struct firmware *f, const void *name)
{
	for (uint32_t i = 0; i < f->files; i++)
		if (!strcmp(f->file[i].name, name))
			return i;
	fail_msg("no file %s", (const char *)name);
	return 0;
}

/* What QEMU's script says, as EDK2 does it. */
static void fw_play(struct firmware *f)
{
	uint64_t free_at = 0x7e000000;
	uint32_t script = fw_find(f, "etc/table-loader");

	for (uint32_t i = 0; i < f->file[script].len; i += 128) {
		const uint8_t *l = f->file[script].bytes + i;
		uint32_t to = fw_find(f, l + 4);
		uint8_t *p = f->file[to].bytes;

		switch (le32_get(l)) {
		case 1:
			f->file[to].at = l[64] == 2 ? 0xe0000 : free_at;
			assert_int_equal(f->file[to].at % le32_get(l + 60), 0);
			break;
		case 2:
			p += le32_get(l + 116);
			assert_true(le32_get(l + 116) + l[120] <= f->file[to].len);
			le_put(p, l[120], le_get(p, l[120]) + f->file[fw_find(f, l + 60)].at);
			break;
		case 3:
			assert_true(le32_get(l + 64) + le32_get(l + 68) <= f->file[to].len);
			p[le32_get(l + 60)] = acpi_checksum(p + le32_get(l + 64), le32_get(l + 68));
			break;
		default:
			fail_msg("no such command");
		}
	}
}

static void fw_drop(struct firmware *f)
{
	for (uint32_t i = 0; i < f->files; i++)
		free(f->file[i].bytes);
}

TEST(firmware_that_plays_the_script_has_the_tables_that_a_kernel_finds)
{
	struct fw_cfg_conf fw = { .acpi_tables = true, .e820 = true };
	const struct arch_payload p = { .kind = BOOT_PVH };
	struct machine *m = machine_conf(MIB(128), 3);
	struct firmware f = { 0 };
	struct aml want = { 0 };
	struct err e = { 0 };
	uint32_t rsdp, tables;

	m->c.payload.fw_cfg_config = &fw;
	machine_build(m);
	finish(m, &p);
	fw_look(m, &f);
	fw_play(&f);
	rsdp = fw_find(&f, "acpi/rsdp");
	tables = fw_find(&f, "acpi/tables");
	ok(x86_acpi_build(&want, f.file[tables].at - 48, &m->b, &m->c, &e), &e);
	assert_int_equal(f.file[tables].len, want.len - 48);
	assert_memory_equal(f.file[tables].bytes, want.bytes + 48, want.len - 48);
	assert_memory_equal(f.file[rsdp].bytes, want.bytes, 36);
	const uint8_t *map = f.file[fw_find(&f, "etc/e820")].bytes;

	assert_memory_equal(map, m->low + 0x7000, 20); /* its first line, as in the start info */
	aml_fini(&want);
	fw_drop(&f);
	drop(m);
}

TEST(fw_cfg_is_there_when_it_is_asked_for)
{
	struct fw_cfg_conf fw = { 0 };
	const struct arch_payload p = { .kind = BOOT_PVH };
	struct machine *m = machine(MIB(128), 1);
	AUTO_FREE uint8_t *none = fw_read(m, 0, 1), *some = NULL, *files = NULL;

	assert_int_equal(none[0], 0xff);
	finish(m, &p);
	drop(m);
	m = machine_conf(MIB(128), 1);
	m->c.payload.fw_cfg_config = &fw;
	machine_build(m);
	finish(m, &p);
	some = fw_read(m, 0, 4);
	assert_memory_equal(some, "QEMU", 4);
	files = fw_read(m, 0x19, 4);
	assert_int_equal(be32_get(files), 0);
	drop(m);
}

/* A bzImage's bytes: so many setup sectors, and a body. */
static void kernel_file(char path[64], uint8_t sectors, uint32_t len)
{
	uint8_t head[0x220] = { [0x1f1] = sectors, [0x1fe] = 0x55, [0x1ff] = 0xaa };

	memcpy(head + 0x202, "HdrS", 4);
	snprintf(path, 64, "/tmp/virga-fwitems-%d", getpid());
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(head, 1, sizeof head, f), sizeof head);
	assert_int_equal(ftruncate(fileno(f), len), 0);
	fclose(f);
}

TEST(a_bzimage_is_told_in_two_parts_that_lie_within_it)
{
	static const struct {
		uint8_t sectors;
		uint32_t len, setup;
	} cases[] = { { 1, 4096, 1024 }, { 0, 4096, 2560 }, { 255, 256 * 512, 256 * 512 } };
	struct fw_cfg_conf fw = { .kernel = true };
	struct err e = { 0 };
	char path[64];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct machine *m = machine_conf(MIB(128), 1);

		kernel_file(path, cases[i].sectors, cases[i].len);
		m->c.payload.fw_cfg_config = &fw;
		m->c.payload.kernel = path;
		machine_build(m);
		AUTO_FREE uint8_t *setup = fw_read(m, 0x17, 4), *kernel = fw_read(m, 0x08, 4);
		AUTO_FREE uint8_t *head = fw_read(m, 0x18, 0x220);

		assert_int_equal(le32_get(setup), cases[i].setup);
		assert_int_equal(le32_get(kernel), cases[i].len - cases[i].setup);
		assert_int_equal(head[0x210], 0xff);
		drop(m);
	}
	struct machine *m = machine(MIB(128), 1);

	kernel_file(path, 8, 4096); /* shorter than its setup part */
	m->c.payload.fw_cfg_config = &fw;
	m->c.payload.kernel = path;
	assert_int_equal(x86_fwitems(&m->b, &m->c, &e), -1);
	drop(m);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(start_info_tells_map_command_line_initrd_and_rsdp),
		T(zero_page_holds_the_setup_header_and_what_the_loader_adds),
		T(descriptors_are_flat_code_and_data_and_a_task),
		T(a_command_line_of_64_kib_fits_and_one_more_does_not),
		T(a_fifo_is_no_payload_and_nobody_waits_for_its_other_end),
		T(acpi_tables_are_linked_and_sum_to_zero),
		T(hyperv_in_a_guest_finds_pm1a_blocks),
		T(iasl_takes_the_tables_apart_and_puts_them_together),
		T(every_segment_has_a_bridge_of_its_own),
		T(tables_of_very_many_cpus_stop_before_smbios),
		T(the_mp_table_lists_processors_and_the_ioapic),
		T(the_mp_table_is_left_out_when_ids_do_not_fit),
		T(a_bad_uuid_of_the_platform_is_refused_by_name),
		T(firmware_that_plays_the_script_has_the_tables_that_a_kernel_finds),
		T(fw_cfg_is_there_when_it_is_asked_for),
		T(a_bzimage_is_told_in_two_parts_that_lie_within_it),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
