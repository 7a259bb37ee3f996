/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firmware configuration device. See fwcfg.h.
 *
 *	offset	ports	width
 *	0	selector	2, written, little-endian
 *	1	data		1, read: the next byte of what is selected, zeros behind its end
 *	4	DMA address	4 and 4, written, big-endian; the lower half starts it. Reads "QEMU CFG".
 *
 * DMA finds a struct of the driver's: be32 control, be32 length, be64 address. Control becomes 0, or
 * the error bit, when all is done, which is before the write returns.
 */
#include "dev/fwcfg.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/fd.h"
#include "base/mem.h"
#include "fw/acpi.h"
#include "mem/gmem.h"

#define AT_SELECTOR 0
#define AT_DATA 1
#define AT_DMA 4

#define DMA_ERROR 1u
#define DMA_READ 2u
#define DMA_SKIP 4u
#define DMA_SELECT 8u
#define DMA_WRITE 16u
#define DMA_LEN 16

#define FEATURE_TRADITIONAL 1u
#define FEATURE_DMA 2u

#define DIRECTORY_ENTRY 64
#define CHUNK 4096u

struct item {
	uint8_t *bytes; /* or, when NULL, */
	int fd;		/* a file, from */
	uint64_t off;
	uint32_t len;
	char *name; /* of files */
};

struct fwcfg_state {
	uint32_t offset;      /* in what is selected */
	uint32_t dma_address; /* upper half, as written so far */
	uint16_t selected;
	uint8_t pad[2];
};

/* What has passed so far. */
struct fwcfg_counters {
	uint64_t bytes, transfers;
};

struct fwcfg {
	struct dev dev;
	pthread_mutex_t lock;
	struct fwcfg_state s;
	struct item fixed[FWCFG_FILE_FIRST];
	struct item *file;
	uint32_t files;
	uint8_t chunk[CHUNK]; /* of the file that is read byte by byte: from, */
	uint32_t chunk_off;   /* of which item, and how many */
	uint32_t chunk_len;
	uint16_t chunk_key;
	struct fwcfg_counters n;
};

static struct fwcfg *fwcfg_of(struct dev *d)
{
	return container_of(d, struct fwcfg, dev);
}

/* --- what there is --- */

static void item_fini(struct item *i)
{
	free(i->bytes);
	free(i->name);
	if (i->len && !i->bytes)
		fd_close(&i->fd);
	*i = (struct item){ 0 };
}

void fwcfg_put(struct dev *d, uint16_t key, const void *bytes, uint32_t len)
{
	struct item *i = &fwcfg_of(d)->fixed[key];

	item_fini(i);
	i->len = len;
	i->bytes = mem_array(len ? len : 1, 1);
	memcpy(i->bytes, bytes, len);
}

void fwcfg_put_u32(struct dev *d, uint16_t key, uint32_t v)
{
	uint8_t b[4];

	le32_put(b, v);
	fwcfg_put(d, key, b, sizeof(b));
}

/* A file of no bytes needs no descriptor. */
static void item_file(struct item *i, int fd, uint64_t off, uint32_t len)
{
	*i = (struct item){ .fd = fd, .off = off, .len = len };
	if (!len)
		fd_close(&i->fd);
}

void fwcfg_put_fd(struct dev *d, uint16_t key, int fd, uint64_t off, uint32_t len)
{
	struct item *i = &fwcfg_of(d)->fixed[key];

	item_fini(i);
	item_file(i, fd, off, len);
}

static void put_directory(struct fwcfg *f)
{
	size_t len = 4 + (size_t)f->files * DIRECTORY_ENTRY;
	AUTO_FREE uint8_t *dir = mem_array(len, 1);

	be32_put(dir, f->files);
	for (uint32_t i = 0; i < f->files; i++) {
		uint8_t *at = dir + 4 + (size_t)i * DIRECTORY_ENTRY;

		be32_put(at, f->file[i].len);
		be16_put(at + 4, (uint16_t)(FWCFG_FILE_FIRST + i));
		memcpy(at + 8, f->file[i].name, strlen(f->file[i].name));
	}
	fwcfg_put(&f->dev, FWCFG_DIRECTORY, dir, (uint32_t)len);
}

static struct item *file_add(struct fwcfg *f, const char *name, struct err *e)
{
	struct item *i;

	if (!*name || strlen(name) > FWCFG_NAME_MAX) {
		err_set(e, ERR_BAD, "'%s': a name has 1 to %d bytes", name, FWCFG_NAME_MAX);
		return NULL;
	}
	for (uint32_t k = 0; k < f->files; k++) {
		if (!strcmp(f->file[k].name, name)) {
			err_set(e, ERR_TAKEN, "there is a '%s' already", name);
			return NULL;
		}
	}
	if (f->files == FWCFG_FILES_MAX) {
		err_set(e, ERR_BAD, "'%s' is one too many: there may be %d files", name,
			FWCFG_FILES_MAX);
		return NULL;
	}
	f->file = mem_resize(f->file, f->files, f->files + 1, sizeof(f->file[0]));
	i = &f->file[f->files++];
	*i = (struct item){ .fd = -1, .name = mem_str(name) };
	return i;
}

int fwcfg_file(struct dev *d, const char *name, const void *bytes, uint32_t len, struct err *e)
{
	struct fwcfg *f = fwcfg_of(d);
	struct item *i = file_add(f, name, e);

	if (!i)
		return -1;
	i->len = len;
	i->bytes = mem_array(len ? len : 1, 1);
	memcpy(i->bytes, bytes, len);
	put_directory(f);
	return 0;
}

int fwcfg_file_fd(struct dev *d, const char *name, int fd, uint32_t len, struct err *e)
{
	struct fwcfg *f = fwcfg_of(d);
	struct item *i = file_add(f, name, e);

	if (!i) {
		fd_close(&fd);
		return -1;
	}
	char *kept = i->name;

	item_file(i, fd, 0, len);
	i->name = kept;
	put_directory(f);
	return 0;
}

/* --- reading; lock held --- */

/* What is selected; of a number that is nobody's, nothing. */
static const struct item *selected(const struct fwcfg *f)
{
	static const struct item none;
	uint32_t n = f->s.selected;

	if (n < FWCFG_FILE_FIRST)
		return &f->fixed[n];
	n -= FWCFG_FILE_FIRST;
	return n < f->files ? &f->file[n] : &none;
}

static void select_item(struct fwcfg *f, uint16_t key)
{
	f->s.selected = key;
	f->s.offset = 0;
}

/* A byte of a file comes out of the last chunk that was read of it; one that is gone is a zero. */
static uint8_t file_byte(struct fwcfg *f, const struct item *i)
{
	uint32_t at = f->s.offset;
	ssize_t n;

	if (f->chunk_key != f->s.selected || at < f->chunk_off ||
	    at - f->chunk_off >= f->chunk_len) {
		do
			n = pread(i->fd, f->chunk, min_u64(CHUNK, i->len - at),
				  (off_t)(i->off + at));
		while (n < 0 && errno == EINTR);
		f->chunk_key = f->s.selected;
		f->chunk_off = at;
		f->chunk_len = n > 0 ? (uint32_t)n : 0;
		if (n <= 0)
			return 0;
	}
	return f->chunk[at - f->chunk_off];
}

static uint8_t next_byte(struct fwcfg *f)
{
	const struct item *i = selected(f);
	uint8_t b;

	if (f->s.offset >= i->len)
		return 0;
	b = i->bytes ? i->bytes[f->s.offset] : file_byte(f, i);
	f->s.offset++;
	counter_add_shared(&f->n.bytes, 1);
	return b;
}

/* --- DMA; lock held --- */

/* What is left of the item, then zeros. */
static bool dma_give(struct fwcfg *f, gpa_t to, uint32_t len)
{
	const struct gmem *m = f->dev.board->mem;
	const struct item *i = selected(f);
	uint32_t left = i->len > f->s.offset ? i->len - f->s.offset : 0;
	uint32_t n = (uint32_t)min_u64(len, left);
	struct err e = { 0 };

	if (len && !gmem_ok(m, to, len))
		return false;
	if (n && (i->bytes ? gmem_write(m, to, i->bytes + f->s.offset, n)
			   : gmem_load(m, to, n, i->fd, i->off + f->s.offset, &e)))
		return false;
	f->s.offset += n;
	counter_add_shared(&f->n.bytes, n);
	return n == len || !gmem_zero(m, gpa_add(to, n), len - n);
}

static void dma_run(struct fwcfg *f, gpa_t at)
{
	const struct gmem *m = f->dev.board->mem;
	uint8_t ask[DMA_LEN], answer[4];
	uint32_t control, len;
	bool good = true;

	if (gmem_read(m, at, ask, sizeof(ask)))
		return;
	control = be32_get(ask);
	len = be32_get(ask + 4);
	if (control & DMA_SELECT)
		select_item(f, (uint16_t)(control >> 16));
	if (control & DMA_READ)
		good = dma_give(f, GPA(be64_get(ask + 8)), len);
	else if (control & DMA_WRITE)
		good = false;
	else if (control & DMA_SKIP)
		f->s.offset = (uint32_t)min_u64(selected(f)->len, (uint64_t)f->s.offset + len);
	counter_add_shared(&f->n.transfers, 1);
	be32_put(answer, good ? 0 : DMA_ERROR);
	if (gmem_write(m, at, answer, sizeof(answer)))
		return; /* it could be read, so it is RAM */
}

/* --- ports --- */

static void ports_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	static const char signature[] = "QEMU CFG";
	struct fwcfg *f = fwcfg_of(arg);

	memset(data, 0, len);
	pthread_mutex_lock(&f->lock);
	if (off == AT_DATA && len == 1)
		data[0] = next_byte(f);
	pthread_mutex_unlock(&f->lock);
	for (uint32_t i = 0; i < len; i++)
		if (off + i >= AT_DMA && off + i < AT_DMA + sizeof(signature) - 1)
			data[i] = (uint8_t)signature[off + i - AT_DMA];
}

static void ports_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct fwcfg *f = fwcfg_of(arg);

	pthread_mutex_lock(&f->lock);
	if (off == AT_SELECTOR && len == 2)
		select_item(f, le16_get(data));
	if (off == AT_DMA && len == 4)
		f->s.dma_address = be32_get(data);
	if (off == AT_DMA + 4 && len == 4) {
		gpa_t at = GPA((uint64_t)f->s.dma_address << 32 | be32_get(data));

		f->s.dma_address = 0;
		dma_run(f, at);
	}
	pthread_mutex_unlock(&f->lock);
}

static int fwcfg_init(struct dev *d, struct err *e)
{
	struct fwcfg *f = fwcfg_of(d);

	(void)e;
	pthread_mutex_init(&f->lock, NULL);
	f->chunk_key = UINT16_MAX;
	fwcfg_put(d, FWCFG_SIGNATURE, "QEMU", 4);
	fwcfg_put_u32(d, FWCFG_FEATURES, FEATURE_TRADITIONAL | FEATURE_DMA);
	put_directory(f);
	return 0;
}

static void fwcfg_fini(struct dev *d)
{
	struct fwcfg *f = fwcfg_of(d);

	for (uint32_t i = 0; i < FWCFG_FILE_FIRST; i++)
		item_fini(&f->fixed[i]);
	for (uint32_t i = 0; i < f->files; i++)
		item_fini(&f->file[i]);
	free(f->file);
	pthread_mutex_destroy(&f->lock);
}

static int fwcfg_describe(struct dev *d, struct aml *a)
{
	struct fixed_place p = fixed_place(d, 0);

	if (p.bus != FIXED_PIO)
		return 0;
	aml_device(a, "FWCF");
	aml_name(a, "_HID");
	aml_str(a, "QEMU0002");
	aml_name(a, "_STA");
	aml_int(a, 0x0b); /* there, on, and not shown to users */
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_io(a, (uint16_t)p.base, FWCFG_LEN);
	aml_end(a);
	aml_end(a);
	return 0;
}

static const struct field state_fields[] = {
	S(struct fwcfg_state, offset),
	S(struct fwcfg_state, dma_address),
	S(struct fwcfg_state, selected),
	S_PAD(struct fwcfg_state, pad),
};
static const struct desc state_rows = DESC_OF(struct fwcfg_state, state_fields, "FwcfgState");

static const struct bus_ops ports_ops = { .read = ports_read, .write = ports_write };

static const struct field counter_fields[] = {
	S(struct fwcfg_counters, bytes, .unit = "bytes", .doc = "bytes that the guest has read"),
	S(struct fwcfg_counters, transfers,
	  .doc = "times that the device has copied into guest memory, or was asked to"),
};
static const struct desc counter_rows =
	DESC_OF(struct fwcfg_counters, counter_fields, "fw_cfg counters");

const struct fixed_class fwcfg_class = {
	.dev = {
		.name = "fwcfg",
		.state = &state_rows,
		.size = sizeof(struct fwcfg),
		.state_off = offsetof(struct fwcfg, s),
		.counters = &counter_rows,
		.counters_off = offsetof(struct fwcfg, n),
		.init = fwcfg_init,
		.fini = fwcfg_fini,
		.describe = fwcfg_describe,
		.plug = &fixed_plug,
	},
	.bank = {{.len = FWCFG_LEN, .ops = &ports_ops}},
};
