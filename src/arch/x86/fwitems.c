/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items of fw_cfg. See fwitems.h.
 *
 * Tables are built once more as they would lie at address 0, so that each pointer in them is an
 * offset; the script tells firmware to allocate room for both blobs, to add the room's address to
 * each pointer, and then to fill in checksums.
 */
#include "arch/x86/fwitems.h"

#include <fcntl.h>
#include <string.h>

#include "arch/x86/plat.h"
#include "arch/x86/ram.h"
#include "arch/x86/tables.h"
#include "base/fd.h"
#include "base/mem.h"
#include "dev/fwcfg.h"
#include "fw/acpi.h"

/* of a bzImage, Linux Documentation/arch/x86/boot.rst */
#define SECTOR 512u
#define SETUP_SECTORS 0x1f1
#define BOOT_FLAG 0x1fe
#define MAGIC 0x202
#define LOADER_TYPE 0x210
#define SETUP_MIN 0x212
#define LOADER_UNDEFINED 0xff
#define SECTORS_OF_OLD 4 /* what a kernel that says 0 means */
#define SETUP_MAX (256 * SECTOR)

#define E820_ENTRY 20

#define RSDP_FILE "acpi/rsdp"
#define TABLES_FILE "acpi/tables"
#define SCRIPT_FILE "etc/table-loader"

#define RSDP_LEN 36
#define RSDP_V1_LEN 20
#define RSDP_XSDT 24
#define TABLES_AT 48 /* where the first table lies behind the RSDP */
#define TABLE_HEADER 36
#define TABLE_LEN 4
#define TABLE_CHECKSUM 9
#define FADT_DSDT 40
#define FADT_X_DSDT 140

enum { SCRIPT_ALLOCATE = 1, SCRIPT_POINTER = 2, SCRIPT_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_LOW = 2 }; /* anywhere below 4 GiB; below 1 MiB */
#define SCRIPT_ENTRY 128
#define SCRIPT_NAME 56

/* Its descriptor, or -1; len fits what fw_cfg can tell. */
static int file_open(const char *path, uint32_t *len, struct err *e)
{
	AUTO_FD int fd = fd_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, e);
	uint64_t size;

	if (fd < 0)
		return -1;
	if (fd_size(fd, &size, e))
		return err_in(e, "%s", path);
	if (size > UINT32_MAX)
		return err_set(e, ERR_BAD, "%s is too large: fw_cfg tells of less than 4 GiB",
			       path);
	*len = (uint32_t)size;
	return fd_take(&fd);
}

static int put_file(struct dev *d, uint16_t size, uint16_t data, const char *path, struct err *e)
{
	uint32_t len;
	int fd = file_open(path, &len, e);

	if (fd < 0)
		return -1;
	fwcfg_put_u32(d, size, len);
	fwcfg_put_fd(d, data, fd, 0, len);
	return 0;
}

/* Bytes of the setup part, of which `head` are the first; 0: it is no bzImage. */
static uint32_t setup_len(const uint8_t head[SETUP_MIN])
{
	uint32_t n = head[SETUP_SECTORS];

	if (le16_get(head + BOOT_FLAG) != 0xaa55 || memcmp(head + MAGIC, "HdrS", 4) != 0)
		return 0;
	return ((n ? n : SECTORS_OF_OLD) + 1) * SECTOR;
}

/* A bzImage in its two parts; any other file as a whole. */
static int put_kernel(struct dev *d, const char *path, struct err *e)
{
	AUTO_FREE uint8_t *setup = mem_array(SETUP_MAX, 1);
	uint32_t len, n = 0;
	AUTO_FD int fd = file_open(path, &len, e);

	if (fd < 0)
		return -1;
	if (len >= SETUP_MIN) {
		if (fd_read_at(fd, setup, SETUP_MIN, 0, e))
			return err_in(e, "%s", path);
		n = setup_len(setup);
	}
	if (n > len)
		return err_set(e, ERR_BAD, "%s ends within its setup part", path);
	if (n && fd_read_at(fd, setup, n, 0, e))
		return err_in(e, "%s", path);
	setup[LOADER_TYPE] = LOADER_UNDEFINED;
	fwcfg_put_u32(d, FWCFG_SETUP_SIZE, n);
	fwcfg_put(d, FWCFG_SETUP_DATA, setup, n);
	fwcfg_put_u32(d, FWCFG_KERNEL_SIZE, len - n);
	fwcfg_put_fd(d, FWCFG_KERNEL_DATA, fd_take(&fd), n, len - n);
	return 0;
}

/* With its ending zero. */
static void put_cmdline(struct dev *d, const char *text)
{
	uint32_t len = (uint32_t)strlen(text) + 1;

	fwcfg_put_u32(d, FWCFG_CMDLINE_SIZE, len);
	fwcfg_put(d, FWCFG_CMDLINE_DATA, text, len);
}

static int put_e820(struct dev *d, const struct gmem *m, struct err *e)
{
	struct x86_map_entry entry[X86_MAP_MAX];
	uint8_t map[X86_MAP_MAX * E820_ENTRY];
	uint32_t n = x86_map(entry, m);

	for (uint32_t i = 0; i < n; i++) {
		le64_put(map + E820_ENTRY * i, entry[i].base);
		le64_put(map + E820_ENTRY * i + 8, entry[i].size);
		le32_put(map + E820_ENTRY * i + 16, entry[i].type);
	}
	return fwcfg_file(d, "etc/e820", map, n * E820_ENTRY, e);
}

static int put_item(struct dev *d, const struct fw_cfg_item_conf *i, struct err *e)
{
	uint32_t len;
	int fd;

	if (i->string)
		return fwcfg_file(d, i->name, i->string, (uint32_t)strlen(i->string), e);
	fd = file_open(i->file, &len, e);
	return fd < 0 ? -1 : fwcfg_file_fd(d, i->name, fd, len, e);
}

static int put_all(struct dev *d, const struct vm_conf *c, struct err *e)
{
	const struct payload_conf *p = &c->payload;
	const struct fw_cfg_conf *f = p->fw_cfg_config;

	for (uint32_t i = 0; f->items && i < f->items->item_list.count; i++)
		if (put_item(d, &f->items->item_list.items[i], e))
			return -1;
	if (f->cmdline && p->cmdline)
		put_cmdline(d, p->cmdline);
	if (f->kernel && p->kernel && put_kernel(d, p->kernel, e))
		return -1;
	if (f->initramfs && p->initramfs &&
	    put_file(d, FWCFG_INITRD_SIZE, FWCFG_INITRD_DATA, p->initramfs, e))
		return -1;
	return f->e820 ? put_e820(d, d->board->mem, e) : 0;
}

int x86_fwitems(struct board *b, const struct vm_conf *c, struct err *e)
{
	const struct fixed_conf at = { .place[0] = { FIXED_PIO, X86_PORT_FW_CFG } };
	const struct dev_args a = { .id = FWCFG_ID, .conf = &at, .slot = -1 };
	struct dev *d;

	if (!c->payload.fw_cfg_config)
		return 0;
	if (dev_add(&d, b, &fwcfg_class.dev, &a, e))
		return -1;
	if (!d || put_all(d, c, e) == 0)
		return 0;
	err_in(e, "fw_cfg");
	return board_refuse(b, e);
}

/* --- tables --- */

/* One line of the script, from its zeros. */
static uint8_t *line(struct aml *s, uint32_t command, const char *file)
{
	uint8_t *at;

	aml_zeros(s, SCRIPT_ENTRY);
	at = s->bytes + s->len - SCRIPT_ENTRY;
	le32_put(at, command);
	memcpy(at + 4, file, strlen(file));
	return at;
}

static void allocate(struct aml *s, const char *file, uint32_t align, uint8_t zone)
{
	uint8_t *at = line(s, SCRIPT_ALLOCATE, file);

	le32_put(at + 4 + SCRIPT_NAME, align);
	at[8 + SCRIPT_NAME] = zone;
}

/* `size` bytes at off of the file hold an offset into the tables. */
static void pointer(struct aml *s, const char *file, uint32_t off, uint8_t size)
{
	uint8_t *at = line(s, SCRIPT_POINTER, file);

	memcpy(at + 4 + SCRIPT_NAME, TABLES_FILE, strlen(TABLES_FILE));
	le32_put(at + 4 + 2 * SCRIPT_NAME, off);
	at[8 + 2 * SCRIPT_NAME] = size;
}

static void checksum(struct aml *s, const char *file, uint32_t off, uint32_t start, uint32_t len)
{
	uint8_t *at = line(s, SCRIPT_CHECKSUM, file);

	le32_put(at + 4 + SCRIPT_NAME, off);
	le32_put(at + 8 + SCRIPT_NAME, start);
	le32_put(at + 12 + SCRIPT_NAME, len);
}

/* Of a table whose pointers are in the script: its sum is the last that changes. */
static void table_checksum(struct aml *s, uint8_t *tables, uint32_t at)
{
	tables[at + TABLE_CHECKSUM] = 0;
	checksum(s, TABLES_FILE, at + TABLE_CHECKSUM, at, le32_get(tables + at + TABLE_LEN));
}

static void write_script(struct aml *s, uint8_t *rsdp, uint8_t *tables)
{
	uint32_t xsdt = (uint32_t)le64_get(rsdp + RSDP_XSDT);
	uint32_t end = xsdt + le32_get(tables + xsdt + TABLE_LEN);

	allocate(s, RSDP_FILE, 16, ZONE_LOW);
	allocate(s, TABLES_FILE, 64, ZONE_HIGH);
	for (uint32_t i = xsdt + TABLE_HEADER; i < end; i += 8) {
		uint32_t at = (uint32_t)le64_get(tables + i);

		pointer(s, TABLES_FILE, i, 8);
		if (memcmp(tables + at, "FACP", 4) != 0)
			continue;
		pointer(s, TABLES_FILE, at + FADT_DSDT, 4);
		pointer(s, TABLES_FILE, at + FADT_X_DSDT, 8);
		table_checksum(s, tables, at);
	}
	table_checksum(s, tables, xsdt);
	pointer(s, RSDP_FILE, RSDP_XSDT, 8);
	rsdp[8] = rsdp[32] = 0;
	checksum(s, RSDP_FILE, 8, 0, RSDP_V1_LEN);
	checksum(s, RSDP_FILE, 32, 0, RSDP_LEN);
}

int x86_fwitems_acpi(struct board *b, const struct vm_conf *c, struct err *e)
{
	const struct fw_cfg_conf *f = c->payload.fw_cfg_config;
	struct dev *d = dev_find(b, FWCFG_ID);
	struct aml t = { 0 }, s = { 0 };
	int r;

	if (!f || !f->acpi_tables)
		return 0;
	/* the first table lies at offset 0 of its file */
	r = x86_acpi_build(&t, 0ull - TABLES_AT, b, c, e);
	if (!r) {
		write_script(&s, t.bytes, t.bytes + TABLES_AT);
		r = fwcfg_file(d, RSDP_FILE, t.bytes, RSDP_LEN, e) ||
				    fwcfg_file(d, TABLES_FILE, t.bytes + TABLES_AT,
					       (uint32_t)(t.len - TABLES_AT), e) ||
				    fwcfg_file(d, SCRIPT_FILE, s.bytes, (uint32_t)s.len, e)
			    ? -1
			    : 0;
	}
	aml_fini(&t);
	aml_fini(&s);
	return r ? err_in(e, "fw_cfg") : 0;
}
