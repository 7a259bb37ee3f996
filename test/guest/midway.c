/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine in the midst of everything, for whoever saves it there: half a line on both consoles,
 * requests on their way to a disk that is slow, a card whose rings are full, an interrupt of a message
 * that waits for this CPU and one behind a masked vector, timers that run, and of the other CPUs one
 * that counts, one in HLT and one that waits for SIPI; below all, memory full of a pattern. It looks
 * at what it can until a byte comes on COM1, and then sees to it that each of these comes to its end,
 * once. Settings: mib=N of memory that is filled, oneshot=MS. virtio 1.3 §2.7; Intel SDM volume 3 §8.4, §11.5.
 */
#include "drivers.h"
#include "guest.h"
#include "pci.h"
#include "smp.h"

#define PM_TIMER 0x608
#define PM_TIMER_HZ 3579545u
#define V_PERIOD 0x60
#define V_ONCE 0x62
#define V_RNG 0x64
#define V_CON 0x66
#define FIELD (HEAP + (48ul << 20)) /* behind the queues' memory */
#define REQUESTS 24u
#define DESCS 3u
#define SECOND 1000000ul
#define TSC_SLACK 1000u

static struct vdev disk, card, con, rng;
static volatile uint64_t counted, tsc_asked, tsc_told, tsc_answer;
static volatile bool stop;
static uint64_t words, rounds;
static uint32_t pm_last;

/* --- processors and timers --- */

/* CPU 2: a timer that fires once, and counting meanwhile, and telling its counter. */
static void count(void *arg)
{
	lapic_wr(0x3e0, 0xb);
	lapic_wr(0x320, V_ONCE);
	lapic_wr(0x380, *(uint32_t *)arg);
	irq_on();
	for (; !stop; counted++) {
		uint64_t asked = tsc_asked;

		if (asked == tsc_told)
			continue;
		tsc_answer = rdtsc();
		tsc_told = asked;
	}
	irq_off();
}

static void add_one(void *arg)
{
	++*(volatile uint32_t *)arg;
}

static void processors_begin(void)
{
	static uint32_t ns;
	uint64_t ms = 1000;

	word("oneshot", &ms);
	ns = (uint32_t)ms * 1000000u;
	if (check(smp_start(1) && smp_start(2), "two more cpus start"))
		smp_call(2, count, &ns);
	smp_init(3);
	lapic_wr(0x3e0, 0xb);
	lapic_wr(0x320, V_PERIOD | 1u << 17);
	lapic_wr(0x380, 1000000);
}

/* What another CPU's counter shows between two looks at our own lies between them, but for what a
 * processor reads early. */
static void counters_agree(void)
{
	uint64_t before = rdtsc(), asked = ++tsc_asked, after;

	while (tsc_told != asked && !lapse(before, 20 * SECOND))
		cpu_relax();
	after = rdtsc();
	if (tsc_told != asked || tsc_answer + TSC_SLACK < before || tsc_answer > after + TSC_SLACK)
		check(false, "counters of two cpus: %lx is not within %lx and %lx", tsc_answer,
		      before, after);
}

static void wait_for(volatile const uint32_t *v, uint32_t want, const char *what)
{
	uint64_t t = rdtsc();

	while (*v < want && !lapse(t, 20 * SECOND))
		cpu_relax();
	check(*v == want, "%s: %u, and %u are right", what, *v, want);
}

static void processors_end(void)
{
	static volatile uint32_t ran;
	uint32_t before;
	uint64_t was = counted, t = rdtsc();

	while (counted == was && !lapse(t, 5 * SECOND))
		cpu_relax();
	check(counted > was, "the cpu that counts does so");
	for (uint32_t i = 0; i < 100; i++)
		counters_agree();
	wait_for(&irq_counts[V_ONCE], 1, "a timer that was to fire once");
	stop = true;
	smp_call(1, add_one, (void *)(uintptr_t)&ran);
	wait_for(&ran, 1, "work of the cpu in HLT");
	check(smp_sipi(3), "the cpu that waited for SIPI starts");
	smp_call(3, add_one, (void *)(uintptr_t)&ran);
	wait_for(&ran, 2, "work of the cpu that waited for SIPI");
	before = irq_counts[V_PERIOD];
	t = rdtsc();
	while (irq_counts[V_PERIOD] < before + 3 && !lapse(t, 5 * SECOND))
		cpu_relax(); /* of a busy host's processors it has little */
	check(irq_counts[V_PERIOD] > before + 2, "the timer goes on ticking");
	lapic_wr(0x320, 0x10000);
	check(irq_counts[V_ONCE] == 1, "a timer that was to fire once did");
}

/* --- memory --- */

static uint64_t value_of(uint64_t i)
{
	return (i + 1) * 0x9e3779b97f4a7c15ul;
}

static void memory_begin(void)
{
	uint64_t mib = 16;

	word("mib", &mib);
	words = mib << 17;
	for (uint64_t i = 0; i < words; i++)
		wr64(FIELD + i * 8, value_of(i));
}

static void memory_look(void)
{
	uint64_t wrong = 0, first = 0;

	for (uint64_t i = 0; i < words; i++)
		if (rd64(FIELD + i * 8) != value_of(i) && !wrong++)
			first = i;
	if (wrong)
		check(false, "memory: %lu words are wrong from 0x%lx on", wrong, FIELD + first * 8);
}

/* --- disk --- */

static uint64_t data_at(const struct vq *q, uint32_t i)
{
	return q->buf + 0x10000 + i * 4096ul;
}

/* Every other request writes; all have 4 KiB of their own. */
static void lay_request(struct vq *q, uint32_t i)
{
	uint16_t at = (uint16_t)(i * DESCS), flags = i % 2 ? 0 : D_WRITE;
	uint64_t head = q->buf + i * 32;

	wr32(head, i % 2);
	wr32(head + 4, 0);
	wr64(head + 8, i * 8);
	wr8(head + 16, 0xff);
	for (uint64_t n = 0; n < 4096; n += 8)
		wr64(data_at(q, i) + n, i % 2 ? value_of(i * 512 + n / 8) : 0);
	vq_desc(q, at, (struct desc){ head, 16, D_NEXT, (uint16_t)(at + 1) });
	vq_desc(q, (uint16_t)(at + 1),
		(struct desc){ data_at(q, i), 4096, D_NEXT | flags, (uint16_t)(at + 2) });
	vq_desc(q, (uint16_t)(at + 2), (struct desc){ head + 16, 1, D_WRITE, 0 });
	vq_put(q, at);
}

static void disk_begin(void)
{
	if (!check(vdev_find(&disk, VIRTIO_BLK, 0) && vdev_start(&disk, F_EVENT_IDX),
		   "disk starts"))
		return;
	for (uint32_t i = 0; i < REQUESTS; i++)
		lay_request(&disk.q[0], i);
	vq_publish(&disk.q[0]);
}

/* Of an odd 4 KiB, what was written; of an even one, the offset of each word. */
static uint32_t wrong_words(const struct vq *q, uint32_t i)
{
	uint32_t wrong = 0;

	for (uint64_t n = 0; n < 4096; n += 8)
		wrong += rd64(data_at(q, i) + n) !=
			 (i % 2 ? value_of(i * 512 + n / 8) : i * 4096 + n);
	return wrong;
}

static void disk_end(void)
{
	struct vq *q = &disk.q[0];
	uint32_t times[REQUESTS] = { 0 }, len, bad = 0;

	for (uint32_t n = 0; n < REQUESTS && vq_wait(q, 20 * SECOND); n++) {
		uint32_t head = vq_take(q, &len);

		if (head % DESCS || head / DESCS >= REQUESTS)
			bad++;
		else
			times[head / DESCS]++;
	}
	for (uint32_t i = 0; i < REQUESTS; i++)
		bad += times[i] != 1 || rd8(q->buf + i * 32 + 16) ||
		       (i % 2 == 0 && wrong_words(q, i));
	delay_us(10000);
	check(!bad && q->used[1] == REQUESTS,
	      "disk: each request is answered once and well, %u are not", bad);
	for (uint32_t i = 1; i < REQUESTS; i += 2) {
		memset((void *)(q->buf + 0x1000), 0, 4096);
		bad += blk_request(q, 0, i * 8, 4096) != 0;
		memcpy((void *)data_at(q, i), (const void *)(q->buf + 0x1000), 4096);
		bad += wrong_words(q, i) != 0;
	}
	check(!bad, "disk: what was written is there, but for %u", bad);
	vdev_reset(&disk);
}

/* --- card --- */

/* A frame with its number in it. */
static void lay_frame(struct vq *q, uint16_t i)
{
	static const uint8_t head[14] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52,
					  0x33, 0,    0,    0,	  2,	0x88, 0xb5 };
	uint64_t at = q->buf + i * 128ul;

	memset((void *)at, 0, 12 + 64);
	memcpy((void *)(at + 12), head, sizeof head);
	memcpy((void *)(at + 26), "R3 NUMBER", 9);
	wr16(at + 36, i);
	vq_desc(q, i, (struct desc){ at, 12 + 64, 0, 0 });
	vq_put(q, i);
}

static void card_begin(void)
{
	struct vq *rx = &card.q[0], *tx = &card.q[1];

	if (!vdev_find(&card, VIRTIO_NET, 0))
		return;
	card.home = 1;
	if (!check(vdev_start(&card, F_EVENT_IDX), "card starts"))
		return;
	for (uint16_t i = 0; i < rx->size; i++) {
		vq_desc(rx, i, (struct desc){ rx->buf + i * 2048ul, 2048, D_WRITE, 0 });
		vq_put(rx, i);
	}
	vq_publish(rx);
	for (uint16_t i = 0; i < tx->size; i++)
		lay_frame(tx, i);
	vq_publish(tx);
}

/* How many buffers have come back, none of them twice. */
static uint32_t taken_once(struct vq *q, uint32_t want, uint64_t us)
{
	uint8_t times[QUEUE_SIZE] = { 0 };
	uint32_t n = 0, len;

	while (n < want && vq_wait(q, us)) {
		uint32_t head = vq_take(q, &len);

		if (head >= q->size || times[head]++)
			return ~0u;
		n++;
	}
	return n;
}

static void card_end(void)
{
	uint32_t sent, came;

	if (!card.common)
		return;
	sent = taken_once(&card.q[1], card.q[1].size, 20 * SECOND);
	check(sent == card.q[1].size, "card: %u frames of %u go out", sent, card.q[1].size);
	came = taken_once(&card.q[0], card.q[0].size, 100000);
	print("R3 CAME %u\n", came);
	check(came <= card.q[0].size, "card: no buffer comes back twice");
	vdev_reset(&card);
}

/* --- messages --- */

/* A request that is answered; its interrupt waits, for interrupts are off or its vector masked. */
static bool answered(struct vdev *d, uint16_t queue, uint8_t vector, bool masked)
{
	vdev_vector(d, queue, vector);
	wr32(d->msix + 16ul * queue + 12, masked);
	pci_wr16(d->bdf, d->msix_cap + 2, 0x8000);
	d->with_msix = true;
	if (!vdev_start(d, 0))
		return false;
	wr16(d->common + C_QUEUE_SELECT, queue);
	wr16(d->common + C_QUEUE_VECTOR, queue);
	return true;
}

static bool is_pending(const struct vdev *d, uint32_t vector)
{
	uint32_t reg = pci_rd32(d->bdf, d->msix_cap + 8);
	uint64_t size, pba = pci_bar(d->bdf, reg & 7, &size) + (reg & ~7u);

	return rd32(pba) >> vector & 1;
}

static bool say(const char *text, uint32_t len)
{
	struct vq *q = &con.q[1];

	memcpy((void *)q->buf, text, len);
	vq_desc(q, 0, (struct desc){ q->buf, len, 0, 0 });
	return vq_once(q, 5 * SECOND) >= 0;
}

static void messages_begin(void)
{
	if (check(vdev_find(&rng, VIRTIO_RNG, 0), "there is a random source")) {
		rng.home = 4;
		check(answered(&rng, 0, V_RNG, false) && rng_works(&rng, &rng.q[0]),
		      "a random source answers");
	}
	if (check(vdev_find(&con, VIRTIO_CONSOLE, 0), "there is a console")) {
		con.home = 5;
		check(answered(&con, 1, V_CON, true) && say("R3 half a ", 10),
		      "a console takes half a line");
		check(is_pending(&con, 1), "a masked vector is pending");
	}
	check(!irq_counts[V_RNG] && !irq_counts[V_CON], "no interrupt has come yet");
}

static void messages_end(void)
{
	check(!irq_counts[V_RNG] && !irq_counts[V_PERIOD], "no interrupt has come unasked");
	irq_on();
	wait_for(&irq_counts[V_RNG], 1, "an interrupt that waited for the cpu");
	check(!irq_counts[V_CON] && is_pending(&con, 1), "the masked one still waits");
	wr32(con.msix + 16 + 12, 0);
	wait_for(&irq_counts[V_CON], 1, "an interrupt that waited for its vector");
	wr32(con.msix + 16 + 12, 1);
	check(say("line\n", 5), "the console takes the other half");
	check(rng_works(&rng, &rng.q[0]), "the random source answers again");
	wait_for(&irq_counts[V_RNG], 2, "its interrupts");
}

/* --- all of it --- */

static void look(void)
{
	uint64_t was = counted, tsc = rdtsc();
	uint32_t pm;

	memory_look();
	pm = inl(PM_TIMER); /* of 32 bits, which turn in 20 minutes */
	if (rdtsc() < tsc || counted < was || pm - pm_last > 300 * PM_TIMER_HZ)
		check(false, "a counter has gone back: PM timer %x, %x", pm_last, pm);
	pm_last = pm;
	counters_agree();
	rounds++;
}

void midway_run(void)
{
	memory_begin();
	messages_begin();
	disk_begin();
	card_begin();
	processors_begin();
	pm_last = inl(PM_TIMER);
	print("R3 MIDWAY\nR3 AND ");
	while (!(inb(0x3fd) & 1))
		look();
	inb(0x3f8);
	print("ON\nR3 ROUNDS %lu\n", rounds);
	messages_end();
	processors_end();
	disk_end();
	card_end();
	memory_look();
	irq_off();
}
