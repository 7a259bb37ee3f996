/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pvmemcontrol: register accesses and requests out of the input. Whatever was said, saved and reborn
 * it is the same, its marks stay bounded, and a reset heals.
 */
#include "pokes.h"

#undef fail_msg
#include "conf/conf.h"
#include "dev/pvmemcontrol.h"

#include "../unit/virtio/drive.h"

#define FIRST 0x80000000u

static const struct pvmemcontrol_conf conf;
static struct rig rig;

static void must(bool kept)
{
	if (!kept)
		abort();
}

static void add(const struct json *saved)
{
	const struct dev_args a = { .id = "it", .conf = &conf, .slot = -1, .saved = saved };
	struct err e = { 0 };

	must(!dev_add(&rig.d, &rig.b, &pvmemcontrol_class.dev, &a, &e));
	rig.d->class->resume(rig.d);
}

static uint64_t bar(void)
{
	return pcidev_fn(rig.d)->bar[0].addr;
}

static void command(uint32_t c)
{
	uint8_t b[4];

	le32_put(b, c);
	bus_write(rig.b.mmio, bar() + 8, b, 4);
}

/* A command that there is, or the number of one of the first buffers. */
static uint32_t word(uint8_t x)
{
	static const uint32_t words[] = { 0x060fe6d2, 0x0e359539, 0x0ca8d227,
					  0x030f5da0, 0x03cf5196, 0x01fba249 };

	return x < 0x30 ? words[x % ARRAY_LEN(words)] : FIRST + x % 4;
}

/* Mostly pages of memory, and functions that there are. */
static void request(const struct poke *p)
{
	uint64_t at = p->data[0] & 0x80 ? le64_get(p->data) : (uint64_t)(p->at % 1100) * 4096;
	uint64_t len = p->data[1] & 0x80 ? le64_get(p->data) >> 5 : (uint64_t)p->data[2] * 4096;
	uint64_t buffer = BUF + p->at % 4 * 32;

	mem_wr(&rig, buffer, 8, p->data[3] & 0x80 ? le64_get(p->data) : p->data[3] % 16);
	mem_wr(&rig, buffer + 8, 8, at);
	mem_wr(&rig, buffer + 16, 8, len);
	mem_wr(&rig, buffer + 24, 8, p->data[4]);
	command(FIRST + p->at % 4);
}

static void connect(void)
{
	uint8_t b[8];

	command(0x060fe6d2);
	for (uint32_t i = 0; i < 4; i++) {
		le64_put(b, BUF + 32 * i);
		bus_write(rig.b.mmio, bar(), b, 8);
		command(0x0e359539);
	}
	command(0x0ca8d227);
}

static uint32_t call(uint64_t function, uint64_t len)
{
	mem_wr(&rig, BUF, 8, function);
	mem_wr(&rig, BUF + 8, 8, 0);
	mem_wr(&rig, BUF + 16, 8, len);
	mem_wr(&rig, BUF + 24, 8, 0);
	command(FIRST);
	return (uint32_t)mem_rd(&rig, BUF, 4);
}

/* And leaves memory to the next input as it was. */
static void must_work(void)
{
	connect();
	must(!call(0, 0) && mem_rd(&rig, BUF + 8, 8) == 4096);
	must(!call(8, RAM_SIZE));
	call(14, RAM_SIZE);
	call(6, RAM_SIZE);
}

static void reborn(void)
{
	AUTO_JSON struct json *saved = dev_save(rig.d);

	dev_remove(rig.d);
	add(saved);
	AUTO_JSON struct json *again = dev_save(rig.d);
	must(json_equal_to(saved, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct poke p;

	if (!rig.mem)
		rig_init(&rig);
	add(NULL);
	if (size & 1)
		connect();
	while (poke_take(&p, &data, &size)) {
		if (p.kind < 4)
			poke_do(rig.b.mmio, bar(), 16, &p);
		else if (p.kind < 8)
			command(word((uint8_t)p.at));
		else
			request(&p);
	}
	reborn();
	must_work();
	dev_remove(rig.d);
	return 0;
}
