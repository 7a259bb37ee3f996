/* SPDX-License-Identifier: Apache-2.0 */
/* Segments: slots, the two roads to config space, BARs and where they decode. */
#include "test.h"

#include "fakeboard.h"
#include "pci/pci.h"

#define ECAM 0xe8000000ull
#define MEM32 0xc0000000ull
#define MEM64 0x800000000ull

#define COMMAND 0x04
#define BAR0 0x10
#define DECODE 2

static struct pci_host *host;

struct card {
	struct pci_fn fn;
	unsigned int moves;
	uint64_t last;
};

static void card_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	(void)arg;
	memset(data, (int)(off & 0x7f), len);
}
static void card_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct card *c = arg;

	(void)off;
	c->last = le_get(data, len);
}
static const struct bus_ops card_ops = { .read = card_read, .write = card_write };

static void card_moved(struct pci_fn *f, unsigned int n)
{
	(void)n;
	container_of(f, struct card, fn)->moves++;
}
static const struct pci_fn_ops card_fn_ops = { .bar_moved = card_moved };

static int begin_with(struct pci_host_args *a, struct err *e)
{
	fake_begin();
	a->pio = fake.board.pio;
	a->mmio = fake.board.mmio;
	a->irqs = fake.board.irqs;
	a->ecam = ECAM;
	return pci_host_new(&host, a, e);
}

static void begin(uint16_t segments)
{
	struct pci_host_args a = { .segments = segments,
				   .mem32 = { MEM32, MIB(64) },
				   .mem64 = { MEM64, GIB(16) } };
	struct err e = { 0 };

	fake_sound(begin_with(&a, &e), &e);
}

static void end(void)
{
	pci_host_free(host);
	fake_end();
}

static void card_make(struct card *c, enum pci_bar_kind kind, uint64_t size)
{
	static const struct pci_ids ids = { .vendor = 0x1af4,
					    .device = 0x1042,
					    .subvendor = 0x1af4,
					    .subdevice = 0x42,
					    .class = 1,
					    .subclass = 0x80 };

	memset(c, 0, sizeof(*c));
	pci_fn_init(&c->fn, &ids, &card_fn_ops);
	pci_bar_set(&c->fn, 0, kind, false, size, &card_ops, c);
}

static int card_in(struct card *c, uint16_t segment, int slot, struct err *e)
{
	if (pci_slot_claim(host, &c->fn, segment, slot, e))
		return -1;
	return pci_fn_in(&c->fn, e);
}

static void card_out(struct card *c)
{
	pci_fn_out(&c->fn);
	pci_slot_release(&c->fn);
	pci_fn_fini(&c->fn);
}

static uint64_t ecam_at(const struct card *c, uint32_t reg)
{
	return ECAM + ((uint64_t)c->fn.segment << 20) + ((uint64_t)c->fn.slot << 15) + reg;
}
static uint64_t mem_read(uint64_t addr, uint32_t len)
{
	uint8_t b[8];

	bus_read(fake.board.mmio, addr, b, len);
	return le_get(b, len);
}
static void mem_write(uint64_t addr, uint64_t v, uint32_t len)
{
	uint8_t b[8];

	le_put(b, 8, v);
	bus_write(fake.board.mmio, addr, b, len);
}
static uint32_t cfg(const struct card *c, uint32_t reg)
{
	return (uint32_t)mem_read(ecam_at(c, reg), 4);
}
static void cfg_set(const struct card *c, uint32_t reg, uint32_t v)
{
	mem_write(ecam_at(c, reg), v, 4);
}
/* Does the card answer at this address? Its byte at offset 5 is 5. */
static bool answers(uint64_t base)
{
	return mem_read(base + 5, 1) == 5;
}

TEST(the_host_bridge_is_found_by_both_roads)
{
	begin(1);
	assert_int_equal(mem_read(ECAM, 4), 0x0d578086);
	assert_int_equal(mem_read(ECAM + 8, 4), 0x06000000);
	out(0xcf8, 0x80000000, 4);
	assert_int_equal(in(0xcf8, 4), 0x80000000);
	assert_int_equal(in(0xcfc, 4), 0x0d578086);
	assert_int_equal(in(0xcfe, 2), 0x0d57);
	assert_int_equal(in(0xcfd, 1), 0x80);
	assert_int_equal(pci_intx_gsi(host, 0), 5);
	assert_int_equal(pci_intx_gsi(host, 9), 6);
	end();
}

TEST(what_is_not_there_reads_all_ones)
{
	begin(1);
	out(0xcf8, 0, 4);
	assert_int_equal(in(0xcfc, 4), 0xffffffff);
	out(0xcf8, 0x80010000, 4); /* bus 1 */
	assert_int_equal(in(0xcfc, 4), 0xffffffff);
	out(0xcf8, 0x80000100, 4); /* function 1 */
	assert_int_equal(in(0xcfc, 4), 0xffffffff);
	out(0xcf8, 0x80000800, 4); /* slot 1 */
	assert_int_equal(in(0xcfc, 2), 0xffff);
	assert_int_equal(mem_read(ECAM + 0x8000, 4), 0xffffffff);
	assert_int_equal(mem_read(ECAM + 0x1000, 4), 0xffffffff);
	assert_int_equal(mem_read(ECAM + MIB(1), 4), 0xffffffff);
	end();
}

TEST(the_address_port_takes_bytes_and_words)
{
	begin(1);
	out(0xcf8, 0, 4);
	outb(0xcfb, 0x80);
	out(0xcf8, 0x0008, 2);
	assert_int_equal(in(0xcf8, 4), 0x80000008);
	out(0xcfa, 0x8001, 2);
	assert_int_equal(in(0xcf8, 4), 0x80010008);
	out(0xcf9, 0x1234, 2);
	assert_int_equal(in(0xcf8, 4), 0x80123408);
	assert_int_equal(in(0xcf9, 1), 0x34);
	end();
}

TEST(an_access_across_both_ports_takes_its_part_of_each)
{
	begin(1);
	out(0xcf8, 0x80000000, 4);
	assert_int_equal(in(0xcfa, 4), 0x80868000);
	out(0xcff, 0x11223344, 4);
	end();
}

TEST(slots_are_given_from_one_up)
{
	struct card c[33];
	struct err e = { 0 };
	char bdf[13], line[160];

	begin(1);
	for (int i = 0; i < 31; i++) {
		card_make(&c[i], PCI_BAR_MEM32, KIB(4));
		assert_int_equal(card_in(&c[i], 0, -1, &e), 0);
		assert_int_equal(c[i].fn.slot, i + 1);
	}
	pci_bdf(&c[9].fn, bdf);
	assert_string_equal(bdf, "0000:00:0a.0");
	card_make(&c[31], PCI_BAR_MEM32, KIB(4));
	assert_int_equal(card_in(&c[31], 0, -1, &e), -1);
	assert_int_equal(card_in(&c[31], 0, 4, &e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof(line)),
			       "Valid PCI device identifier but already used: 4"));
	assert_int_equal(card_in(&c[31], 0, 0, &e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof(line)), "reserved"));
	assert_int_equal(card_in(&c[31], 0, 32, &e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof(line)),
			       "Given PCI device ID (32) is out of the supported range of 0..32"));
	assert_int_equal(card_in(&c[31], 1, -1, &e), -1);
	card_out(&c[3]);
	assert_int_equal(card_in(&c[31], 0, -1, &e), 0);
	assert_int_equal(c[31].fn.slot, 4);
	for (int i = 0; i < 32; i++)
		if (i != 3)
			card_out(&c[i]);
	end();
}

TEST(each_segment_has_a_megabyte_of_ecam_and_its_part_of_the_apertures)
{
	struct card a, b;
	struct err e = { 0 };

	begin(2);
	card_make(&a, PCI_BAR_MEM64, MIB(1));
	card_make(&b, PCI_BAR_MEM32, MIB(1));
	assert_int_equal(card_in(&a, 1, -1, &e), 0);
	assert_int_equal(a.fn.slot, 0);
	assert_int_equal(card_in(&b, 0, -1, &e), 0);
	assert_int_equal(mem_read(ECAM + MIB(1), 4), 0x10421af4);
	assert_int_equal(pci_mem32(host, 0).size, MIB(32));
	assert_int_equal(pci_mem64(host, 1).base, MEM64 + GIB(8));
	assert_true(a.fn.bar[0].addr >= MEM64 + GIB(8));
	assert_true(b.fn.bar[0].addr < MEM32 + MIB(32));
	card_out(&a);
	card_out(&b);
	end();
}

/* Pieces in order, none empty, at multiples of align but for where a small space allows none, and
 * together the whole aperture. */
static void pieces_are_sound(struct pci_aperture all,
			     struct pci_aperture (*piece)(const struct pci_host *h, uint16_t s),
			     uint64_t align)
{
	uint64_t at = all.base;

	for (uint16_t s = 0; s < pci_segments(host); s++) {
		struct pci_aperture p = piece(host, s);

		assert_int_equal(p.base, at);
		assert_true(p.size > 0);
		assert_int_equal(p.base % align, 0);
		at += p.size;
	}
	assert_int_equal(at, all.base + all.size);
}

TEST(apertures_are_cut_by_weight)
{
	struct pci_host_args a = { .segments = 3,
				   .mem32 = { MEM32, MIB(640) },
				   .mem64 = { MEM64, GIB(50) },
				   .weight = { { 2, 1 }, { 0, 6 }, { 7, 3 } } };
	struct err e = { 0 };

	fake_sound(begin_with(&a, &e), &e);
	assert_int_equal(pci_mem32(host, 0).size, MIB(128));
	assert_int_equal(pci_mem32(host, 1).size, MIB(64));
	assert_int_equal(pci_mem32(host, 2).size, MIB(448));
	assert_int_equal(pci_mem64(host, 0).size, GIB(4));
	assert_int_equal(pci_mem64(host, 1).size, GIB(24));
	assert_int_equal(pci_mem64(host, 2).size, GIB(22)); /* with what did not come out even */
	pieces_are_sound(a.mem64, pci_mem64, GIB(4));
	end();
}

TEST(any_weights_cut_an_aperture_into_pieces_or_are_refused)
{
	static const uint32_t weights[] = { 1, 2, 1000, 160000, UINT32_MAX };
	static const uint64_t sizes[] = { MIB(1), GIB(1), GIB(64), GIB(60000) };
	static const uint16_t counts[] = { 1, 2, 96 };

	for (size_t w = 0; w < ARRAY_LEN(weights) * ARRAY_LEN(weights); w++) {
		for (size_t n = 0; n < ARRAY_LEN(sizes) * ARRAY_LEN(counts); n++) {
			struct pci_host_args a = { .segments = counts[n % ARRAY_LEN(counts)],
						   .mem32 = { MEM32, MIB(640) },
						   .mem64 = { MEM64,
							      sizes[n / ARRAY_LEN(counts)] } };
			struct err e = { 0 };

			a.weight[0].mem32 = a.weight[0].mem64 = weights[w % ARRAY_LEN(weights)];
			a.weight[1].mem32 = a.weight[1].mem64 = weights[w / ARRAY_LEN(weights)];
			host = NULL;
			if (begin_with(&a, &e)) {
				assert_int_equal(e.kind, ERR_BAD);
				assert_null(host);
			} else {
				pieces_are_sound(a.mem32, pci_mem32, KIB(4));
				pieces_are_sound(a.mem64, pci_mem64, KIB(4));
			}
			end();
		}
	}
}

TEST(all_96_segments_are_found_through_ecam_and_only_there)
{
	struct card c[96];
	struct pci_host_args a = { .segments = 96,
				   .mem32 = { MEM32, MIB(640) },
				   .mem64 = { MEM64, GIB(4) * 96 } };
	struct err e = { 0 };

	fake_sound(begin_with(&a, &e), &e);
	for (uint16_t s = 0; s < 96; s++) {
		card_make(&c[s], s % 2 ? PCI_BAR_MEM64 : PCI_BAR_MEM32, KIB(512));
		fake_sound(card_in(&c[s], s, 31, &e), &e);
	}
	for (uint16_t s = 0; s < 96; s++) {
		uint64_t at = c[s].fn.bar[0].addr;
		char bdf[13], want[13];

		assert_int_equal(cfg(&c[s], 0), 0x10421af4);
		assert_true(answers(at));
		assert_true(at >= pci_mem32(host, s).base);
		snprintf(want, sizeof(want), "%04x:00:1f.0", s);
		pci_bdf(&c[s].fn, bdf);
		assert_string_equal(bdf, want);
		/* the host bridge is on the first segment alone */
		assert_int_equal(mem_read(ECAM + ((uint64_t)s << 20), 4),
				 s ? 0xffffffff : 0x0d578086);
		/* a BAR leaves its segment's windows: nobody decodes it */
		uint64_t next = pci_mem32(host, (uint16_t)((s + 1) % 96)).base;

		cfg_set(&c[s], BAR0, (uint32_t)next);
		cfg_set(&c[s], BAR0 + 4, 0);
		assert_false(answers(next));
	}
	assert_int_equal(mem_read(ECAM + (96ull << 20), 4), 0xffffffff);
	for (uint16_t s = 0; s < 96; s++)
		card_out(&c[s]);
	end();
}

TEST(bars_are_assigned_from_the_top_and_decode_at_once)
{
	struct card a, b;
	struct err e = { 0 };

	begin(1);
	card_make(&a, PCI_BAR_MEM32, KIB(512));
	card_make(&b, PCI_BAR_MEM64, KIB(512));
	assert_int_equal(card_in(&a, 0, -1, &e), 0);
	assert_int_equal(card_in(&b, 0, -1, &e), 0);
	assert_int_equal(cfg(&a, BAR0), MEM32 + MIB(64) - KIB(512));
	assert_int_equal(cfg(&b, BAR0), ((MEM64 + GIB(16) - KIB(512)) & 0xffffffff) | 4);
	assert_int_equal(cfg(&b, BAR0 + 4), (MEM64 + GIB(16) - 1) >> 32);
	assert_int_equal(cfg(&a, COMMAND) & 7, DECODE);
	assert_int_equal(a.moves, 1);
	assert_true(answers(MEM32 + MIB(64) - KIB(512)));
	assert_true(answers(MEM64 + GIB(16) - KIB(512)));
	card_out(&a);
	assert_int_equal(a.moves, 2);
	assert_false(answers(MEM32 + MIB(64) - KIB(512)));
	card_out(&b);
	end();
}

TEST(a_bar_tells_its_size)
{
	struct card a, b;
	struct err e = { 0 };

	begin(1);
	card_make(&a, PCI_BAR_MEM32, KIB(512));
	card_make(&b, PCI_BAR_MEM64, GIB(8));
	assert_int_equal(card_in(&a, 0, -1, &e), 0);
	assert_int_equal(card_in(&b, 0, -1, &e), 0);
	cfg_set(&a, COMMAND, 0);
	cfg_set(&a, BAR0, ~0u);
	assert_int_equal(cfg(&a, BAR0), ~(uint32_t)(KIB(512) - 1));
	cfg_set(&b, BAR0, ~0u);
	cfg_set(&b, BAR0 + 4, ~0u);
	assert_int_equal(cfg(&b, BAR0), 4);
	assert_int_equal(cfg(&b, BAR0 + 4), 0xfffffffe);
	assert_int_equal(cfg(&b, BAR0 + 8), 0);
	cfg_set(&b, BAR0 + 8, ~0u);
	assert_int_equal(cfg(&b, BAR0 + 8), 0);
	card_out(&a);
	card_out(&b);
	end();
}

TEST(decoding_follows_the_command_register)
{
	struct card a;
	struct err e = { 0 };
	uint64_t at = MEM32 + MIB(64) - KIB(512);

	begin(1);
	card_make(&a, PCI_BAR_MEM32, KIB(512));
	assert_int_equal(card_in(&a, 0, -1, &e), 0);
	mem_write(ecam_at(&a, COMMAND), 0, 1);
	assert_false(answers(at));
	cfg_set(&a, BAR0, (uint32_t)MEM32);
	assert_false(answers(MEM32));
	mem_write(ecam_at(&a, COMMAND), 0x406, 2);
	assert_true(answers(MEM32));
	assert_false(answers(at));
	assert_true(pci_bus_master(&a.fn));
	assert_int_equal(a.moves, 3);
	cfg_set(&a, COMMAND, 0xffffffff);
	assert_int_equal(cfg(&a, COMMAND) & 0xffff, 0x547);
	assert_int_equal(a.moves, 3);
	card_out(&a);
	end();
}

TEST(a_bar_moves_while_it_decodes)
{
	struct card a;
	struct err e = { 0 };

	begin(1);
	card_make(&a, PCI_BAR_MEM64, KIB(512));
	assert_int_equal(card_in(&a, 0, -1, &e), 0);
	/* half of the move points out of the apertures, where nothing decodes */
	cfg_set(&a, BAR0 + 4, 0x77);
	assert_false(answers(0x77fff80000ull));
	cfg_set(&a, BAR0 + 4, MEM64 >> 32);
	cfg_set(&a, BAR0, KIB(512));
	assert_true(answers(MEM64 + KIB(512)));
	/* a 64-bit BAR may sit low */
	cfg_set(&a, BAR0, (uint32_t)MEM32);
	cfg_set(&a, BAR0 + 4, 0);
	assert_true(answers(MEM32));
	card_out(&a);
	end();
}

TEST(a_bar_moved_onto_another_gets_the_place_when_that_one_leaves)
{
	struct card a, b;
	struct err e = { 0 };
	uint64_t first = MEM32 + MIB(64) - KIB(512), second = first - KIB(512);

	begin(1);
	card_make(&a, PCI_BAR_MEM32, KIB(512));
	card_make(&b, PCI_BAR_MEM32, KIB(512));
	assert_int_equal(card_in(&a, 0, -1, &e), 0);
	assert_int_equal(card_in(&b, 0, -1, &e), 0);
	cfg_set(&b, BAR0, (uint32_t)first);
	mem_write(first, 0x99, 1);
	assert_int_equal(a.last, 0x99);
	assert_false(answers(second));
	/* two that change places meet only for a moment */
	cfg_set(&a, BAR0, (uint32_t)second);
	assert_true(answers(second));
	mem_write(first, 0x98, 1);
	assert_int_equal(b.last, 0x98);
	assert_int_equal(b.moves, 3);
	/* and one that leaves the machine leaves its place too */
	cfg_set(&a, BAR0, (uint32_t)first);
	mem_write(first, 0x97, 1);
	assert_int_equal(b.last, 0x97);
	card_out(&b);
	mem_write(first, 0x96, 1);
	assert_int_equal(a.last, 0x96);
	card_out(&a);
	end();
}

TEST(a_bar_moved_onto_ram_or_ecam_is_not_decoded)
{
	struct card a;
	struct err e = { 0 };

	begin(1);
	card_make(&a, PCI_BAR_MEM32, KIB(512));
	assert_int_equal(card_in(&a, 0, -1, &e), 0);
	cfg_set(&a, BAR0, 0x100000);
	assert_false(answers(0x100000));
	cfg_set(&a, BAR0, (uint32_t)ECAM);
	assert_int_equal(mem_read(ECAM, 4), 0x0d578086);
	cfg_set(&a, BAR0, (uint32_t)(MEM32 + MIB(64)));
	assert_false(answers(MEM32 + MIB(64)));
	cfg_set(&a, BAR0, (uint32_t)MEM32);
	assert_true(answers(MEM32));
	card_out(&a);
	end();
}

TEST(memory_of_a_device_leaves_the_bottom_to_bars_that_the_guest_places)
{
	struct pci_area first = { .size = GIB(2) }, last = { .size = GIB(11) };
	struct err e = { 0 };

	begin(1);
	fake_sound(pci_area_claim(host, &first, 0, MIB(2), &e), &e);
	assert_int_equal(first.base, MEM64 + GIB(4));
	assert_int_equal(pci_area_claim(host, &last, 0, MIB(2), &e), -1);
	last.size = GIB(3);
	fake_sound(pci_area_claim(host, &last, 0, MIB(2), &e), &e);
	assert_int_equal(last.base, MEM64 + GIB(6));
	pci_area_release(&last);
	pci_area_release(&first);
	last = (struct pci_area){ .size = GIB(13) };
	fake_sound(pci_area_claim(host, &last, 0, MIB(2), &e), &e);
	assert_int_equal(last.base, MEM64); /* there is no other room */
	pci_area_release(&last);
	end();
}

TEST(a_full_aperture_refuses_the_device)
{
	struct card a, b;
	struct err e = { 0 };

	begin(1);
	card_make(&a, PCI_BAR_MEM32, MIB(32));
	card_make(&b, PCI_BAR_MEM32, MIB(64));
	assert_int_equal(card_in(&a, 0, -1, &e), 0);
	assert_int_equal(card_in(&b, 0, -1, &e), -1);
	pci_slot_release(&b.fn);
	pci_fn_fini(&b.fn);
	card_make(&b, PCI_BAR_MEM32, MIB(32));
	assert_int_equal(card_in(&b, 0, -1, &e), 0);
	assert_int_equal(b.fn.bar[0].addr, MEM32);
	card_out(&a);
	card_out(&b);
	end();
}

TEST(config_space_takes_harm_without_harm)
{
	struct card c[4];
	struct err e = { 0 };

	begin(1);
	for (int i = 0; i < 4; i++) {
		card_make(&c[i], i % 2 ? PCI_BAR_MEM64 : PCI_BAR_MEM32, KIB(512));
		assert_int_equal(card_in(&c[i], 0, -1, &e), 0);
	}
	fake_hammer(fake.board.mmio, ECAM, MIB(1) + 16, 20000);
	for (int i = 0; i < 4; i++)
		fake_hammer(fake.board.mmio, ecam_at(&c[i], 0) - 8, 0x60, 20000);
	fake_hammer(fake.board.pio, 0xcf0, 0x18, 20000);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(cfg(&c[i], 0), 0x10421af4);
		card_out(&c[i]);
	}
	end();
}

struct many {
	struct card *a, *b;
};
static void *swap_run(void *arg)
{
	struct many *m = arg;

	for (uint32_t i = 0; i < 3000; i++) {
		cfg_set(m->a, BAR0, (uint32_t)MEM32 + (i % 8 << 19));
		mem_read(MEM32 + (i % 8 << 19), 4);
		cfg_set(m->b, COMMAND, i % 2 ? DECODE : 0);
		cfg(m->b, 0);
	}
	return NULL;
}

TEST(many_vcpus_move_bars_at_once)
{
	struct card a, b;
	struct many m[2] = { { &a, &b }, { &b, &a } };
	pthread_t t[2];
	struct err e = { 0 };

	begin(1);
	card_make(&a, PCI_BAR_MEM32, KIB(512));
	card_make(&b, PCI_BAR_MEM32, KIB(512));
	assert_int_equal(card_in(&a, 0, -1, &e), 0);
	assert_int_equal(card_in(&b, 0, -1, &e), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, swap_run, &m[i]), 0);
	usleep(2000);
	card_out(&b);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	card_out(&a);
	end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(the_host_bridge_is_found_by_both_roads),
		T(what_is_not_there_reads_all_ones),
		T(the_address_port_takes_bytes_and_words),
		T(an_access_across_both_ports_takes_its_part_of_each),
		T(slots_are_given_from_one_up),
		T(each_segment_has_a_megabyte_of_ecam_and_its_part_of_the_apertures),
		T(apertures_are_cut_by_weight),
		T(any_weights_cut_an_aperture_into_pieces_or_are_refused),
		T(all_96_segments_are_found_through_ecam_and_only_there),
		T(bars_are_assigned_from_the_top_and_decode_at_once),
		T(a_bar_tells_its_size),
		T(decoding_follows_the_command_register),
		T(a_bar_moves_while_it_decodes),
		T(a_bar_moved_onto_another_gets_the_place_when_that_one_leaves),
		T(a_bar_moved_onto_ram_or_ecam_is_not_decoded),
		T(memory_of_a_device_leaves_the_bottom_to_bars_that_the_guest_places),
		T(a_full_aperture_refuses_the_device),
		T(config_space_takes_harm_without_harm),
		T(many_vcpus_move_bars_at_once),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
