/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon, virtio 1.3 §5.5. The io loop takes what the guest gives and hands it back to the
 * host at once (gmem_discard); what the guest takes back is there again when it is touched. Of huge
 * pages nothing can be given in pieces: it is noted which pieces the guest has given, and the page
 * goes when the last one is there. For that the driver has to tell before it takes a piece back.
 *
 * Queues: inflate and deflate carry numbers of pages; reporting carries the pages themselves, which
 * the guest does not use and may take back without a word once they were answered. Numbers of the
 * guest (statistics) are asked for when somebody looks at the counters, at most once a second, and
 * so are those of the look before: a guest whom nobody looks at is never woken for them. See
 * balloon.h.
 * Hints of free pages, which the host asks for, are dev/balloonhint's.
 */
#include "dev/balloon.h"

#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/conf.h"
#include "dev/balloonhint.h"
#include "dev/turn.h"
#include "virtio/vpci.h"

#define QUEUES_MAX 5
#define QUEUE_SIZE 128
#define CHAIN_PAGES 16384 /* numbers in one request; drivers send 256 to 1024 */
#define PIECE 256	  /* numbers that are looked at together */
#define PAGE_SHIFT 12
#define STAT_BYTES 10
#define ASK_NS 1000000000ull

/* §5.5.3 */
#define F_MUST_TELL_HOST (1ull << 0)
#define F_STATS (1ull << 1)
#define F_DEFLATE_ON_OOM (1ull << 2)
#define F_HINTS (1ull << 3)
#define F_REPORTING (1ull << 5)

/* §5.5.4 */
#define CONFIG_TARGET 0
#define CONFIG_ACTUAL 4
#define CONFIG_HINTS 8 /* there with F_HINTS only */
#define CONFIG_LEN 12

/* §5.5.6.3; tags are places here */
struct balloon_stats {
	uint64_t swap_in, swap_out, major_faults, minor_faults, free, total, available, caches,
		huge_pages, huge_page_failures, oom_kills, alloc_stalls, async_scans, direct_scans,
		async_reclaims, direct_reclaims;
};
#define STATS (sizeof(struct balloon_stats) / sizeof(uint64_t))

struct balloon_counters {
	uint64_t target_bytes, actual_bytes, inflate_bytes, deflate_bytes, report_bytes, failures,
		stats_ops, hint_bytes, hint_runs;
	struct balloon_stats guest;
};

struct balloon_state {
	uint32_t target, actual; /* pages */
	struct balloonhint_state hint;
};

struct balloon {
	struct vdev v; /* first member */
	struct balloon_state s;
	struct turn turn[QUEUES_MAX]; /* of each queue but those of statistics and hints */
	/* of memory in huge pages: a bit for each piece of 4 KiB that the guest has given */
	uint64_t *given;
	uint64_t given_pages;
	/* the guest's last numbers lie in this request until newer ones are wanted */
	struct vqueue *stats;
	uint16_t stats_head;
	bool stats_held;
	struct loop_msg ask;
	struct vqueue *hints; /* the queue of */
	struct balloonhint hint;
	uint64_t asked_ns; /* the looker's */
	struct balloon_counters n;
};

static struct balloon *balloon_of(const struct vdev *v)
{
	return (struct balloon *)(uintptr_t)v;
}

static struct balloon *balloon_of_dev(const struct dev *d)
{
	return (struct balloon *)(uintptr_t)d;
}

/* --- giving to the host --- */

static void failed(struct balloon *b, const struct err *e)
{
	char line[256];

	counter_add(&b->n.failures, 1);
	log_guest("%s: memory stays: %s", b->v.dev.id, err_line(e, line, sizeof(line)));
}

static void give_run(struct balloon *b, uint64_t from, uint64_t to)
{
	struct err e = { 0 };

	if (from < to && gmem_discard(b->v.dev.board->mem, GPA(from << PAGE_SHIFT),
				      (to - from) << PAGE_SHIFT, &e) < 0)
		failed(b, &e);
}

/* A piece of a huge page, which goes with the last of its pieces. */
static void give_piece(struct balloon *b, uint64_t pfn, uint64_t page)
{
	uint64_t n = page >> PAGE_SHIFT, first = align_down(pfn, n);

	if (first + n > b->given_pages || !(b->v.features & F_MUST_TELL_HOST))
		return;
	bit_set(b->given, pfn);
	for (uint64_t i = first / 64; i < (first + n) / 64; i++)
		if (b->given[i] != UINT64_MAX)
			return;
	give_run(b, first, first + n);
}

/* Pages of which many are neighbours, upwards or downwards, as drivers find them. */
static void give_pages(struct balloon *b, const uint8_t *pfns, size_t n)
{
	const struct gmem *m = b->v.dev.board->mem;
	uint64_t from = 0, to = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t pfn = le32_get(pfns + 4 * i), page = gmem_page(m, GPA(pfn << PAGE_SHIFT));

		if (!page) {
			counter_add(&b->n.failures, 1);
			continue;
		}
		counter_add(&b->n.inflate_bytes, 1 << PAGE_SHIFT);
		if (page > 1 << PAGE_SHIFT) {
			give_piece(b, pfn, page);
		} else if (pfn == to) {
			to++;
		} else if (pfn + 1 == from) {
			from--;
		} else {
			give_run(b, from, to);
			from = pfn;
			to = pfn + 1;
		}
	}
	give_run(b, from, to);
}

static void take_pages(struct balloon *b, const uint8_t *pfns, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t pfn = le32_get(pfns + 4 * i);

		if (pfn < b->given_pages)
			bit_clear(b->given, pfn);
		counter_add(&b->n.deflate_bytes, 1 << PAGE_SHIFT);
	}
}

/* --- requests --- */

static int64_t each_page(struct vdev *v, const struct chain *c,
			 void (*fn)(struct balloon *b, const uint8_t *pfns, size_t n))
{
	uint8_t pfns[4 * PIECE];
	size_t n;

	if (c->rlen > 4 * CHAIN_PAGES)
		return -1;
	for (size_t off = 0; (n = chain_get(c, off, pfns, sizeof(pfns))); off += n)
		fn(balloon_of(v), pfns, n / 4);
	return 0;
}

static int64_t inflate(struct vdev *v, const struct chain *c)
{
	return each_page(v, c, give_pages);
}

static int64_t deflate(struct vdev *v, const struct chain *c)
{
	return each_page(v, c, take_pages);
}

/* §5.5.6.7: the pages are the request. */
static int64_t report(struct vdev *v, const struct chain *c)
{
	struct balloon *b = balloon_of(v);
	struct err e = { 0 };

	if (gmem_discard_iov(v->dev.board->mem, c->w, c->writable, &e) < 0)
		failed(b, &e);
	counter_add(&b->n.report_bytes, c->wlen);
	return 0;
}

/* Of a queue that the agreed features have no use for. */
static int64_t ignore(struct vdev *v, const struct chain *c)
{
	(void)v;
	(void)c;
	return 0;
}

/* --- statistics --- */

static void stats_read(struct balloon *b, const struct chain *c)
{
	uint64_t *to = (uint64_t *)(void *)&b->n.guest;
	uint8_t stat[STAT_BYTES];

	for (size_t i = 0; i < 2 * STATS; i++) {
		uint16_t tag;

		if (chain_get(c, i * sizeof(stat), stat, sizeof(stat)) < sizeof(stat))
			break;
		tag = le16_get(stat);
		if (tag < STATS)
			counter_set(&to[tag], le64_get(stat + 2));
	}
	counter_add(&b->n.stats_ops, 1);
}

static void stats_return(struct balloon *b)
{
	if (b->stats_held)
		vq_push(&b->stats->q, b->stats_head, 0);
	b->stats_held = false;
}

static void stats_kick(struct balloon *b)
{
	struct vqueue *q = b->stats;
	struct chain c;

	/* a driver has one of them; who sends one after the other gets each back with the next */
	for (unsigned int i = 0; i < QUEUE_SIZE; i++) {
		switch (vq_pop(&q->q, &c)) {
		case VQ_BAD:
			vdev_broken(&b->v, "statistics that are none");
			return;
		case VQ_EMPTY:
			if (!vq_listen(&q->q)) {
				vqueue_notify(q);
				return;
			}
			continue;
		case VQ_CHAIN:
			break;
		}
		stats_read(b, &c);
		stats_return(b);
		b->stats_head = c.head;
		b->stats_held = true;
	}
	vqueue_notify(q);
	fd_signal(q->kick_fd);
}

static void stats_ask(void *arg)
{
	struct balloon *b = arg;

	if (!b->stats || !b->stats->running || vdev_is_broken(&b->v))
		return;
	stats_return(b);
	vqueue_notify(b->stats);
}

/* --- life --- */

/* What a queue is for. Drivers number those that come behind deflate by the features agreed, without
 * gaps. */
static void balloon_start(struct vqueue *q)
{
	struct balloon *b = balloon_of(q->vdev);
	struct turn *t = &b->turn[q->index];
	bool stats = q->vdev->features & F_STATS, hints = q->vdev->features & F_HINTS;
	bool reports = q->vdev->features & F_REPORTING;

	t->answer = ignore;
	if (q->index == 0)
		t->answer = inflate;
	else if (q->index == 1)
		t->answer = deflate;
	else if (stats && q->index == 2)
		b->stats = q;
	else if (hints && q->index == 2 + stats)
		b->hints = q;
	else if (reports && q->index == 2 + stats + hints)
		t->answer = report;
}

static void balloon_kick(struct vqueue *q)
{
	struct balloon *b = balloon_of(q->vdev);
	struct turn *t = &b->turn[q->index];

	if (vdev_is_broken(q->vdev))
		return;
	if (q == b->stats)
		stats_kick(b);
	else if (q == b->hints)
		balloonhint_kick(&b->hint, q);
	else
		turn_kick(t);
}

static void balloon_stop(struct vqueue *q)
{
	struct balloon *b = balloon_of(q->vdev);

	if (q == b->hints)
		b->hints = NULL;
	if (q != b->stats)
		return;
	if (b->stats_held)
		vq_unpop(&q->q, b->stats_head);
	b->stats_held = false;
	b->stats = NULL;
}

static void put_config(struct balloon *b)
{
	uint8_t bytes[CONFIG_LEN];

	le32_put(bytes + CONFIG_TARGET, b->s.target);
	le32_put(bytes + CONFIG_ACTUAL, b->s.actual);
	le32_put(bytes + CONFIG_HINTS, b->s.hint.told);
	vdev_config_put(&b->v, 0, bytes, sizeof(bytes));
}

static void set_actual(struct balloon *b, uint32_t pages)
{
	__atomic_store_n(&b->s.actual, pages, __ATOMIC_RELAXED);
	counter_set(&b->n.actual_bytes, (uint64_t)pages << PAGE_SHIFT);
}

static void balloon_wrote(struct vdev *v, uint32_t off, uint32_t len)
{
	(void)off;
	(void)len;
	set_actual(balloon_of(v), le32_get(v->config + CONFIG_ACTUAL));
}

/* Fresh notes, for old ones would cost their memory to clear. */
static void forget_given(struct balloon *b)
{
	free(b->given);
	b->given = b->given_pages ? mem_array(BITMAP_WORDS(b->given_pages), sizeof(b->given[0]))
				  : NULL;
}

/* A driver that starts anew has nothing in its balloon. */
static void balloon_reset(struct vdev *v)
{
	struct balloon *b = balloon_of(v);

	forget_given(b);
	set_actual(b, 0);
	le32_put(v->config + CONFIG_ACTUAL, 0);
	balloonhint_reset(&b->hint);
}

static void set_target(struct balloon *b, uint64_t bytes)
{
	b->s.target = (uint32_t)(bytes >> PAGE_SHIFT);
	counter_set(&b->n.target_bytes, bytes);
}

static int judge(uint64_t bytes, uint64_t memory, struct err *e)
{
	if (bytes % (1 << PAGE_SHIFT))
		return err_set(e, ERR_BAD,
			       "a balloon of %llu bytes is not a multiple of 4K: round it",
			       (unsigned long long)bytes);
	if (bytes >= memory || bytes >> PAGE_SHIFT > UINT32_MAX)
		return err_set(e, ERR_BAD,
			       "a balloon of %llu MiB takes all the guest's memory: lower it",
			       (unsigned long long)bytes >> 20);
	return 0;
}

int balloon_judge(const struct dev *d, uint64_t bytes, uint64_t memory, struct err *e)
{
	return judge(bytes, memory, e) < 0 ? err_in(e, "device %s", d->id) : 0;
}

int balloon_resize(struct dev *d, uint64_t bytes, struct err *e)
{
	struct balloon *b = balloon_of_dev(d);
	uint8_t pages[4];

	if (balloon_judge(d, bytes, gmem_total(d->board->mem), e) < 0)
		return -1;
	set_target(b, bytes);
	le32_put(pages, b->s.target);
	vdev_config_put(&b->v, CONFIG_TARGET, pages, sizeof(pages));
	vdev_config_changed(&b->v);
	return 0;
}

static void hint_begin(void *arg)
{
	struct balloon *b = arg;

	balloonhint_begin(&b->hint);
}

int balloon_reclaim(struct dev *d, struct err *e)
{
	struct balloon *b = balloon_of_dev(d);
	int r = 0;

	if (!(b->v.offered & F_HINTS))
		return err_set(e, ERR_ABSENT, "%s has no hints: say free_page_hinting=on", d->id);
	/* no driver comes or goes meanwhile */
	pthread_mutex_lock(&b->v.lock);
	if (!(b->v.status & VSTAT_DRIVER_OK) || !(b->v.features & F_HINTS))
		r = err_set(e, ERR_STATE, "the guest has no driver for %s that gives hints", d->id);
	else
		loop_call(d->board->io, hint_begin, b);
	pthread_mutex_unlock(&b->v.lock);
	return r;
}

uint64_t balloon_actual(const struct dev *d)
{
	const struct balloon *b = balloon_of_dev(d);

	return (uint64_t)__atomic_load_n(&b->s.actual, __ATOMIC_RELAXED) << PAGE_SHIFT;
}

/* Notes for huge pages are made where there are such. */
static void make_notes(struct balloon *b)
{
	const struct gmem *m = b->v.dev.board->mem;
	uint64_t huge = 0;

	for (unsigned int i = 0; i < gmem_regions(m); i++)
		huge = max_u64(huge, gmem_region(m, i)->page);
	if (huge <= 1 << PAGE_SHIFT)
		return;
	b->v.offered |= F_MUST_TELL_HOST;
	b->given_pages = gmem_end(m) >> PAGE_SHIFT;
	forget_given(b);
}

/* Bytes that the guest may come to have, by plugging. */
static uint64_t most(const struct gmem *m)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < gmem_regions(m); i++)
		sum += gmem_region(m, i)->size;
	return sum;
}

/* A size that fitted what had been plugged before a reset must not keep the machine from starting. */
static int begin(struct balloon *b, uint64_t bytes, struct err *e)
{
	const struct gmem *mem = b->v.dev.board->mem;

	if (judge(bytes, most(mem), e) < 0)
		return -1;
	if (bytes >= gmem_total(mem)) {
		log_warn("%s: a balloon of %llu MiB takes all that the guest has until more memory "
			 "is plugged: it begins empty",
			 b->v.dev.id, (unsigned long long)bytes >> 20);
		bytes = 0;
	}
	b->s = (struct balloon_state){ .target = (uint32_t)(bytes >> PAGE_SHIFT) };
	return 0;
}

static int balloon_init(struct dev *d, struct err *e)
{
	const struct balloon_conf *c = d->conf;
	struct balloon *b = balloon_of_dev(d);

	if (!d->restored && begin(b, c->size, e) < 0)
		return -1;
	set_target(b, (uint64_t)b->s.target << PAGE_SHIFT);
	set_actual(b, b->s.actual);
	b->v.offered = VF_INDIRECT_DESC | VF_EVENT_IDX | F_STATS |
		       (c->deflate_on_oom ? F_DEFLATE_ON_OOM : 0) |
		       (c->free_page_hinting ? F_HINTS : 0) |
		       (c->free_page_reporting ? F_REPORTING : 0);
	b->v.config_len = c->free_page_hinting ? CONFIG_LEN : CONFIG_HINTS;
	b->hint = (struct balloonhint){ .v = &b->v, .s = &b->s.hint, .config = CONFIG_HINTS };
	memset(b->v.config_mask + CONFIG_ACTUAL, 0xff, 4);
	put_config(b);
	if (vdev_queues(&b->v, (uint16_t)(3 + c->free_page_hinting + c->free_page_reporting),
			QUEUE_SIZE, e) < 0)
		return -1;
	for (uint16_t i = 0; i < b->v.nqueues; i++) {
		b->v.queues[i].loop = d->board->io;
		/* whichever of them the driver takes for hints */
		b->v.queues[i].at_once = c->free_page_hinting && i >= 2;
		b->turn[i] = (struct turn){ .q = &b->v.queues[i], .answer = ignore };
	}
	make_notes(b);
	return 0;
}

static void unask(void *arg)
{
	struct balloon *b = arg;

	loop_unpost(b->v.dev.board->io, &b->ask);
}

static void balloon_fini(struct dev *d)
{
	struct balloon *b = balloon_of_dev(d);

	for (uint16_t i = 0; i < b->v.nqueues; i++)
		turn_fini(&b->turn[i]);
	loop_call(d->board->io, unask, b);
	vdev_fini(&b->v);
	free(b->given);
}

/* Who looks gets what is known, and has newer numbers fetched for the next look. */
static void balloon_count(struct dev *d, void *out)
{
	struct balloon *b = balloon_of_dev(d);
	struct balloon_counters *n = out;
	const uint64_t *from = (const uint64_t *)(const void *)&b->n;
	uint64_t *to = out, now = loop_now_ns();

	for (size_t i = 0; i < sizeof(b->n) / sizeof(*from); i++)
		to[i] = counter_get(&from[i]);
	n->hint_bytes = counter_get(&b->hint.bytes);
	n->hint_runs = counter_get(&b->hint.runs);
	if (now - b->asked_ns < ASK_NS)
		return;
	b->asked_ns = now;
	loop_post(d->board->io, &b->ask, stats_ask, b);
}

static const struct field state_fields[] = {
	S(struct balloon_state, target),
	S(struct balloon_state, actual),
	S_OBJ(struct balloon_state, hint, &balloonhint_desc, .since = 2),
};
static const struct desc state_desc = DESC_OF_V(struct balloon_state, state_fields, "balloon", 2);

#define COUNTER(member, ...) S(struct balloon_counters, member, __VA_ARGS__)
#define STAT(key_, member_, ...)                                                                   \
	{                                                                                          \
		.key = "guest_" key_, .off = offsetof(struct balloon_counters, guest.member_),     \
		.size = sizeof(uint64_t), .width = sizeof(uint64_t), .member = D_UINT, __VA_ARGS__ \
	}
#define BYTES .unit = "bytes"
static const struct field counter_fields[] = {
	COUNTER(target_bytes, BYTES, .flags = F_GAUGE,
		.doc = "memory that the guest is to give back"),
	COUNTER(actual_bytes, BYTES, .flags = F_GAUGE,
		.doc = "memory that it says it has given back"),
	COUNTER(inflate_bytes, BYTES, .doc = "memory that was put into the balloon"),
	COUNTER(deflate_bytes, BYTES, .doc = "memory that was taken out of it"),
	COUNTER(report_bytes, BYTES, .doc = "memory that the guest reported as not used"),
	COUNTER(failures, .doc = "pieces that could not be given back to the host"),
	COUNTER(stats_ops, .doc = "times that the guest has told the numbers below"),
	COUNTER(hint_bytes, BYTES, .doc = "memory that the guest hinted at as free, asked to"),
	COUNTER(hint_runs, .doc = "times that it has told all of it"),
	STAT("swap_in_bytes", swap_in, BYTES, .doc = "memory swapped in, as the guest says"),
	STAT("swap_out_bytes", swap_out, BYTES, .doc = "memory swapped out"),
	STAT("major_faults", major_faults, .doc = "page faults that needed a disk"),
	STAT("minor_faults", minor_faults, .doc = "other page faults"),
	STAT("free_bytes", free, BYTES, .flags = F_GAUGE, .doc = "memory that nothing uses"),
	STAT("total_bytes", total, BYTES, .flags = F_GAUGE, .doc = "memory that the guest has"),
	STAT("available_bytes", available, BYTES, .flags = F_GAUGE,
	     .doc = "memory that programs could get without swapping"),
	STAT("caches_bytes", caches, BYTES, .flags = F_GAUGE, .doc = "memory that caches disks"),
	STAT("huge_pages", huge_pages, .doc = "huge pages given to programs"),
	STAT("huge_page_failures", huge_page_failures, .doc = "huge pages that could not be had"),
	STAT("oom_kills", oom_kills, .doc = "programs ended for lack of memory"),
	STAT("alloc_stalls", alloc_stalls, .doc = "waits for memory"),
	STAT("async_scans", async_scans, .doc = "pages looked at for reuse beside programs"),
	STAT("direct_scans", direct_scans, .doc = "pages looked at while a program waited"),
	STAT("async_reclaims", async_reclaims, .doc = "pages reused beside programs"),
	STAT("direct_reclaims", direct_reclaims, .doc = "pages reused while a program waited"),
};
static const struct desc counter_rows =
	DESC_OF(struct balloon_counters, counter_fields, "balloon counters");

const struct virtio_class balloon_class = {
	.dev = {
		.name = "balloon",
		.size = sizeof(struct balloon),
		.state = &state_desc,
		.state_off = offsetof(struct balloon, s),
		.counters = &counter_rows,
		.count = balloon_count,
		.conf = &balloon_desc,
		.init = balloon_init,
		.quiesce = vdev_quiesce,
		.resume = vdev_resume,
		.fini = balloon_fini,
		.plug = &vpci_plug,
		.profile = "io",
	},
	.type = 5,
	.pci_class = 0xff,
	.pci_subclass = 0xff,
	.start = balloon_start,
	.stop = balloon_stop,
	.kick = balloon_kick,
	.wrote = balloon_wrote,
	.reset = balloon_reset,
};
