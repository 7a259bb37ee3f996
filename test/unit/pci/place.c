/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BARs moved in every way there is, in a space small enough to try them all: three functions in
 * windows of four and two pages. A model that knows nothing of the program but the rule (who has a
 * place keeps it; who leaves it leaves it to those who wait) says who answers where. Every write
 * that is possible in every state that can be reached is made once, and after each the whole space
 * is looked at: a BAR is all where its register says, its doorbell with it, or nowhere. Then places
 * are given out for four BARs of any sizes, and for one more when one has left.
 */
#include "test.h"

#include "fakeboard.h"
#include "pci/pci.h"

#define ECAM 0xe8000000ull
#define PAGE KIB(4)
#define LOW 0xc0000000ull /* four pages */
#define LOW_PAGES 4
#define HIGH 0x800000000ull /* two pages */
#define HIGH_PAGES 2
#define COMMAND 0x04
#define BAR0 0x10

#define FNS 3
#define NOWHERE 0

struct card {
	struct pci_fn fn;
	uint64_t doorbell; /* where bar_moved found it last */
};
static struct card card[FNS];
static struct pci_host *host;

/* What each function's registers may be given. The last has 64 bits: two registers. */
struct small_fn {
	enum pci_bar_kind kind;
	uint64_t size;
	uint32_t low[8], high[2];
	uint32_t lows, highs;
};
static const struct small_fn small[FNS] = {
	{ PCI_BAR_MEM32,
	  PAGE,
	  { 0, LOW, LOW + PAGE, LOW + 2 * PAGE, LOW + 3 * PAGE, LOW + 4 * PAGE, ~0u },
	  { 0 },
	  7,
	  1 },
	{ PCI_BAR_MEM32, 2 * PAGE, { 0, LOW, LOW + 2 * PAGE, LOW + 4 * PAGE, ~0u }, { 0 }, 5, 1 },
	{ PCI_BAR_MEM64,
	  PAGE,
	  { 0, PAGE, LOW, LOW + 3 * PAGE, 2 * PAGE, ~0u },
	  { 0, HIGH >> 32 },
	  6,
	  2 },
};

/* A state of the model: what was written last, as numbers of the tables, and who decodes. */
struct model {
	uint8_t low[FNS], high[FNS], on[FNS];
	bool holds[FNS];
};
#define STATES (1u << 17)
static uint32_t tried[STATES]; /* writes made in each state, a bit each */

static uint32_t pack(const struct model *m)
{
	uint32_t v = 0;

	for (unsigned int i = 0; i < FNS; i++)
		v = v << 5 | (uint32_t)m->low[i] << 2 | (uint32_t)m->on[i] << 1 | m->holds[i];
	return v << 1 | m->high[FNS - 1];
}

static uint64_t wanted(const struct model *m, unsigned int i)
{
	const struct small_fn *f = &small[i];
	uint64_t at = (f->low[m->low[i]] | (uint64_t)f->high[m->high[i]] << 32) & ~(f->size - 1);
	bool low = at >= LOW && at + f->size <= LOW + LOW_PAGES * PAGE;
	bool high =
		f->kind == PCI_BAR_MEM64 && at >= HIGH && at + f->size <= HIGH + HIGH_PAGES * PAGE;

	return m->on[i] && (low || high) ? at : NOWHERE;
}

static bool is_free(const struct model *m, unsigned int who, uint64_t at)
{
	for (unsigned int i = 0; i < FNS; i++)
		if (i != who && m->holds[i] &&
		    ranges_meet(at, small[who].size, wanted(m, i), small[i].size))
			return false;
	return true;
}

/* The writes: COMMAND off and on, each low value, each high one. */
static unsigned int writes_of(unsigned int i)
{
	return 2 + small[i].lows + (small[i].highs > 1 ? small[i].highs : 0);
}

static unsigned int writes(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < FNS; i++)
		n += writes_of(i);
	return n;
}

/* Write w as the model sees it; says which register gets what. */
static void model_write(struct model *m, unsigned int w, unsigned int *fn, uint32_t *reg,
			uint32_t *v)
{
	unsigned int i = 0;

	for (; w >= writes_of(i); i++)
		w -= writes_of(i);
	*fn = i;
	if (w < 2) {
		m->on[i] = (uint8_t)w;
		*reg = COMMAND;
		*v = w ? 2 : 0;
	} else if (w < 2 + small[i].lows) {
		m->low[i] = (uint8_t)(w - 2);
		*reg = BAR0;
		*v = small[i].low[w - 2];
	} else {
		m->high[i] = (uint8_t)(w - 2 - small[i].lows);
		*reg = BAR0 + 4;
		*v = small[i].high[m->high[i]];
	}
	m->holds[i] = wanted(m, i) && is_free(m, i, wanted(m, i));
	for (unsigned int k = 0; k < FNS; k++)
		if (!m->holds[k] && wanted(m, k))
			m->holds[k] = is_free(m, k, wanted(m, k));
}

static void card_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	(void)off;
	memset(data, (int)((struct card *)arg - card) + 1, len);
}
static void card_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	(void)arg, (void)off, (void)data, (void)len;
}
static const struct bus_ops card_ops = { .read = card_read, .write = card_write };

static void card_moved(struct pci_fn *f, unsigned int n)
{
	container_of(f, struct card, fn)->doorbell = f->bar[n].on ? f->bar[n].range.base : NOWHERE;
}
static const struct pci_fn_ops card_fn_ops = { .bar_moved = card_moved };

static uint8_t answer(uint64_t at)
{
	uint8_t b;

	bus_read(fake.board.mmio, at, &b, 1);
	return b;
}

static void write_real(unsigned int fn, uint32_t reg, uint32_t v)
{
	uint8_t b[4];

	le32_put(b, v);
	bus_write(fake.board.mmio, ECAM + ((uint64_t)card[fn].fn.slot << 15) + reg, b, 4);
}

/* Both ends of a page. */
static void page_is(const struct model *m, uint64_t at)
{
	uint8_t want = 0xff;

	for (unsigned int i = 0; i < FNS; i++)
		if (m->holds[i] && ranges_meet(at, PAGE, wanted(m, i), small[i].size))
			want = (uint8_t)(i + 1);
	if (answer(at) != want || answer(at + PAGE - 1) != want)
		fail_msg("state 0x%x: at 0x%llx answers %u and %u, not %u", pack(m),
			 (unsigned long long)at, answer(at), answer(at + PAGE - 1), want);
}

static void space_is(const struct model *m)
{
	for (uint64_t p = 0; p < LOW_PAGES + 2; p++)
		page_is(m, LOW - PAGE + p * PAGE);
	for (uint64_t p = 0; p < HIGH_PAGES + 2; p++)
		page_is(m, HIGH - PAGE + p * PAGE);
	for (unsigned int i = 0; i < FNS; i++)
		assert_int_equal(card[i].doorbell, m->holds[i] ? wanted(m, i) : NOWHERE);
}

/* Makes write w, in both worlds, and compares them. */
static void step(struct model *m, unsigned int w)
{
	unsigned int fn;
	uint32_t reg, v;

	tried[pack(m)] |= 1u << w;
	model_write(m, w, &fn, &reg, &v);
	write_real(fn, reg, v);
	space_is(m);
}

static int untried(const struct model *m)
{
	for (unsigned int w = 0; w < writes(); w++)
		if (!(tried[pack(m)] >> w & 1))
			return (int)w;
	return -1;
}

/* The shortest way to a state with something to try; false when there is none. Writes of the way in
 * turn, backwards. */
static bool way(const struct model *from, uint8_t *out, unsigned int *len)
{
	static struct model queue[STATES];
	static uint32_t parent[STATES];
	static uint8_t by[STATES], seen[STATES];
	uint32_t head = 0, tail = 0;

	memset(seen, 0, sizeof(seen));
	queue[tail++] = *from;
	seen[pack(from)] = 1;
	for (; head < tail; head++) {
		for (unsigned int w = 0; w < writes(); w++) {
			struct model m = queue[head];
			unsigned int fn;
			uint32_t reg, v;

			model_write(&m, w, &fn, &reg, &v);
			if (seen[pack(&m)])
				continue;
			seen[pack(&m)] = 1;
			parent[tail] = head;
			by[tail] = (uint8_t)w;
			queue[tail++] = m;
			if (untried(&m) < 0)
				continue;
			*len = 0;
			for (uint32_t at = tail - 1; at; at = parent[at])
				out[(*len)++] = by[at];
			return true;
		}
	}
	return false;
}

/* One segment with windows of so many pages below and above 4 GiB. */
static void host_begin(uint64_t low, uint64_t high)
{
	struct pci_host_args a = { .segments = 1,
				   .ecam = ECAM,
				   .mem32 = { LOW, low * PAGE },
				   .mem64 = { HIGH, high * PAGE } };
	struct err e = { 0 };

	fake_begin();
	a.pio = fake.board.pio;
	a.mmio = fake.board.mmio;
	a.irqs = fake.board.irqs;
	fake_sound(pci_host_new(&host, &a, &e), &e);
}

static void begin(void)
{
	static const struct pci_ids ids = { .vendor = 0x1af4, .device = 0x1042 };
	struct err e = { 0 };

	host_begin(LOW_PAGES, HIGH_PAGES);
	for (unsigned int i = 0; i < FNS; i++) {
		struct pci_fn *f = &card[i].fn;

		pci_fn_init(f, &ids, &card_fn_ops);
		pci_bar_set(f, 0, small[i].kind, false, small[i].size, &card_ops, &card[i]);
		fake_sound(pci_slot_claim(host, f, 0, -1, &e), &e);
		fake_sound(pci_fn_in(f, &e), &e);
		write_real(i, COMMAND, 0);
		write_real(i, BAR0, 0);
		if (small[i].kind == PCI_BAR_MEM64)
			write_real(i, BAR0 + 4, 0);
	}
}

static void end(void)
{
	for (unsigned int i = 0; i < FNS; i++) {
		pci_fn_out(&card[i].fn);
		pci_slot_release(&card[i].fn);
		pci_fn_fini(&card[i].fn);
	}
	pci_host_free(host);
	fake_end();
}

TEST(every_move_in_every_state_leaves_each_bar_whole_or_nowhere)
{
	struct model m = { 0 };
	uint32_t states = 0, edges = 0;
	uint8_t path[64];
	unsigned int len;

	begin();
	space_is(&m);
	for (;;) {
		int w = untried(&m);

		if (w >= 0) {
			step(&m, (unsigned int)w);
			continue;
		}
		if (!way(&m, path, &len))
			break;
		while (len)
			step(&m, path[--len]);
	}
	for (uint32_t i = 0; i < STATES; i++) {
		states += tried[i] != 0;
		edges += (uint32_t)__builtin_popcount(tried[i]);
	}
	assert_int_equal(edges, states * writes());
	print_message("%u states, %u writes\n", states, edges);
	assert_true(states > 2000);
	end();
}

/* --- places that are given out, as firmware would --- */

#define GIVEN 4
#define ROOM_PAGES 8
static const uint64_t sizes[] = { 16, PAGE, 2 * PAGE, 4 * PAGE, 8 * PAGE };

static uint64_t whole_pages(uint64_t size)
{
	return size < PAGE ? PAGE : size;
}

/* Is there an aligned place of whole pages that meets none of them? */
static bool has_room(const struct card *c, unsigned int n, uint64_t size)
{
	uint64_t span = whole_pages(size);

	for (uint64_t at = LOW; at + span <= LOW + ROOM_PAGES * PAGE; at += span) {
		bool free = true;

		for (unsigned int i = 0; i < n; i++)
			free &= !c[i].fn.host || !ranges_meet(at, span, c[i].fn.bar[0].addr,
							      whole_pages(c[i].fn.bar[0].size));
		if (free)
			return true;
	}
	return false;
}

static void give(struct card *all, unsigned int n, unsigned int who, uint64_t size)
{
	static const struct pci_ids ids = { .vendor = 0x1af4, .device = 0x1042 };
	struct pci_fn *f = &all[who].fn;
	bool room = has_room(all, n, size);
	struct err e = { 0 };

	memset(&all[who], 0, sizeof(all[who]));
	pci_fn_init(f, &ids, NULL);
	pci_bar_set(f, 0, PCI_BAR_MEM32, false, size, &card_ops, &all[who]);
	fake_sound(pci_slot_claim(host, f, 0, -1, &e), &e);
	if (pci_fn_in(f, &e)) {
		assert_false(room);
		pci_slot_release(f);
		pci_fn_fini(f);
		return;
	}
	assert_true(room);
	assert_true(f->bar[0].on);
	assert_int_equal(f->bar[0].addr % size, 0);
	assert_in_range(f->bar[0].addr, LOW, LOW + ROOM_PAGES * PAGE - size);
}

static void take_back(struct card *c)
{
	if (!c->fn.host)
		return;
	pci_fn_out(&c->fn);
	pci_slot_release(&c->fn);
	pci_fn_fini(&c->fn);
}

TEST(a_place_is_given_out_whenever_there_is_one)
{
	static struct card all[GIVEN];
	const unsigned int n = ARRAY_LEN(sizes);

	host_begin(ROOM_PAGES, 1);
	/* four of any sizes, one of them leaves, one of any size comes */
	for (unsigned int k = 0; k < n * n * n * n * GIVEN * n; k++) {
		unsigned int x = k, left;

		memset(all, 0, sizeof(all));
		for (unsigned int i = 0; i < GIVEN; i++, x /= n)
			give(all, i, i, sizes[x % n]);
		left = x % GIVEN;
		take_back(&all[left]);
		give(all, GIVEN, left, sizes[x / GIVEN]);
		for (unsigned int i = 0; i < GIVEN; i++)
			take_back(&all[i]);
	}
	pci_host_free(host);
	fake_end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_move_in_every_state_leaves_each_bar_whole_or_nowhere),
		T(a_place_is_given_out_whenever_there_is_one),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
