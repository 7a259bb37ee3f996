/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X: the capability, the table and the pending bits, in front of message vectors that core/irq
 * makes when the guest first unmasks one. A vector that fires while it is masked is remembered and
 * fires when it is unmasked. Table and PBA: vCPU threads. Firing: any thread. The lock is the
 * innermost but for core/irq's. PCI Local Bus 3.0 §6.8.2.
 */
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "base/mem.h"
#include "pci/pci.h"

#define CAP_ID_MSIX 0x11
#define CAP_CTRL 2 /* message control, from the start of the capability */
#define CTRL_SIZE 0x07ff
#define CTRL_MASK_ALL 0x4000
#define CTRL_ENABLE 0x8000

#define ENTRY_SIZE 16
#define ENTRY_MASKED 1u
#define VECTORS_MAX 2048

static uint32_t pending_words(const struct msix *m)
{
	return (uint32_t)BITMAP_WORDS((uint32_t)m->count);
}

static uint16_t msix_ctrl(const struct msix *m)
{
	return le16_get(m->fn->cfg + m->cap + CAP_CTRL);
}

/* Nothing of vector n reaches the guest now. Lock held. */
static bool vec_masked(const struct msix *m, uint16_t n)
{
	return !m->enabled || m->mask_all || m->table[n].ctrl & ENTRY_MASKED;
}

/* Makes the route of vector n what table and control say, and lets out what was pending. Lock
 * held. */
static void vec_update(struct msix *m, uint16_t n)
{
	const struct msix_entry *t = &m->table[n];
	struct err e = { 0 };
	char line[160];

	if (vec_masked(m, n)) {
		irq_vec_mask(&m->vec[n]);
		return;
	}
	if (irq_vec_route(&m->vec[n], m->irqs, t->addr, t->data, &e)) {
		log_guest("MSI-X vector %u has no route: %s", n, err_line(&e, line, sizeof(line)));
		return;
	}
	if (bit_get(m->pending, n)) {
		bit_clear(m->pending, n);
		irq_vec_fire(&m->vec[n]);
	}
}

int msix_init(struct msix *m, struct pci_fn *f, struct irqs *q, uint16_t count, uint8_t bar,
	      uint32_t table_off, uint32_t pba_off, struct err *e)
{
	uint8_t body[10], mask[10] = { 0 };

	if (!count || count > VECTORS_MAX)
		return err_set(e, ERR_BAD, "a PCI function has 1 to %d MSI-X vectors, not %u",
			       VECTORS_MAX, count);
	le16_put(body, (uint16_t)(count - 1));
	le32_put(body + 2, table_off | bar);
	le32_put(body + 6, pba_off | bar);
	le16_put(mask, CTRL_ENABLE | CTRL_MASK_ALL);
	*m = (struct msix){ .fn = f, .irqs = q, .count = count };
	m->cap = pci_cap_add(f, CAP_ID_MSIX, body, mask, sizeof(body));
	m->table = mem_array(count, sizeof(m->table[0]));
	m->pending = mem_array(pending_words(m), sizeof(m->pending[0]));
	m->vec = mem_array(count, sizeof(m->vec[0]));
	for (uint16_t i = 0; i < count; i++) {
		m->table[i].ctrl = ENTRY_MASKED;
		m->vec[i].fd = -1;
	}
	pthread_mutex_init(&m->lock, NULL);
	return 0;
}

void msix_fini(struct msix *m)
{
	if (!m->table)
		return;
	for (uint16_t i = 0; i < m->count; i++)
		irq_vec_fini(&m->vec[i]);
	pthread_mutex_destroy(&m->lock);
	free(m->table);
	free(m->pending);
	free(m->vec);
	*m = (struct msix){ 0 };
}

static void entry_get(const struct msix_entry *t, uint8_t raw[ENTRY_SIZE])
{
	le64_put(raw, t->addr);
	le32_put(raw + 8, t->data);
	le32_put(raw + 12, t->ctrl);
}

static void entry_put(struct msix_entry *t, const uint8_t raw[ENTRY_SIZE])
{
	t->addr = le64_get(raw) & ~3ull;
	t->data = le32_get(raw + 8);
	t->ctrl = le32_get(raw + 12) & ENTRY_MASKED;
}

void msix_table_read(struct msix *m, uint64_t off, uint8_t *data, uint32_t len)
{
	pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < len; i++) {
		uint64_t n = (off + i) / ENTRY_SIZE;
		uint8_t raw[ENTRY_SIZE];

		data[i] = 0;
		if (n >= m->count)
			continue;
		entry_get(&m->table[n], raw);
		data[i] = raw[(off + i) % ENTRY_SIZE];
	}
	pthread_mutex_unlock(&m->lock);
}

/* The part of a write that falls into entry n; data[0] is for byte at of it. Lock held. */
static void entry_write(struct msix *m, uint16_t n, uint32_t at, const uint8_t *data, uint32_t len)
{
	struct msix_entry was = m->table[n];
	uint8_t raw[ENTRY_SIZE];

	entry_get(&was, raw);
	memcpy(raw + at, data, len);
	entry_put(&m->table[n], raw);
	if (memcmp(&was, &m->table[n], sizeof(was)) != 0)
		vec_update(m, n);
}

void msix_table_write(struct msix *m, uint64_t off, const uint8_t *data, uint32_t len)
{
	pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0, n; i < len; i += n) {
		uint64_t entry = (off + i) / ENTRY_SIZE;
		uint32_t at = (uint32_t)((off + i) % ENTRY_SIZE);

		n = (uint32_t)min_u64(len - i, ENTRY_SIZE - at);
		if (entry < m->count)
			entry_write(m, (uint16_t)entry, at, data + i, n);
	}
	pthread_mutex_unlock(&m->lock);
}

void msix_pba_read(struct msix *m, uint64_t off, uint8_t *data, uint32_t len)
{
	pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < len; i++) {
		uint64_t byte = off + i;

		data[i] = 0;
		if (byte / 8 < pending_words(m))
			data[i] = (uint8_t)(m->pending[byte / 8] >> (byte % 8 * 8));
	}
	pthread_mutex_unlock(&m->lock);
}

static void ctrl_take(struct msix *m)
{
	uint16_t ctrl = msix_ctrl(m);

	__atomic_store_n(&m->enabled, ctrl & CTRL_ENABLE, __ATOMIC_RELAXED);
	m->mask_all = ctrl & CTRL_MASK_ALL;
}

void msix_ctrl_changed(struct msix *m)
{
	bool was_enabled, was_masked;

	pthread_mutex_lock(&m->lock);
	was_enabled = m->enabled;
	was_masked = m->mask_all;
	ctrl_take(m);
	if (was_enabled != m->enabled || was_masked != m->mask_all)
		for (uint16_t i = 0; i < m->count; i++)
			vec_update(m, i);
	pthread_mutex_unlock(&m->lock);
}

void msix_fire(struct msix *m, uint16_t n)
{
	if (n >= m->count)
		return;
	pthread_mutex_lock(&m->lock);
	if (vec_masked(m, n))
		bit_set(m->pending, n);
	else
		irq_vec_fire(&m->vec[n]);
	pthread_mutex_unlock(&m->lock);
}

bool msix_enabled(const struct msix *m)
{
	return __atomic_load_n(&m->enabled, __ATOMIC_RELAXED);
}

void msix_reset(struct msix *m)
{
	pthread_mutex_lock(&m->lock);
	__atomic_store_n(&m->enabled, false, __ATOMIC_RELAXED);
	m->mask_all = false;
	le16_put(m->fn->cfg + m->cap + CAP_CTRL, msix_ctrl(m) & CTRL_SIZE);
	memset(m->pending, 0, pending_words(m) * sizeof(m->pending[0]));
	for (uint16_t i = 0; i < m->count; i++) {
		m->table[i] = (struct msix_entry){ .ctrl = ENTRY_MASKED };
		vec_update(m, i);
	}
	pthread_mutex_unlock(&m->lock);
}

void msix_save(struct msix *m, struct msix_state *s)
{
	uint32_t words = pending_words(m);

	pthread_mutex_lock(&m->lock);
	s->table.count = m->count;
	s->table.items = mem_array(m->count, sizeof(m->table[0]));
	memcpy(s->table.items, m->table, m->count * sizeof(m->table[0]));
	s->pending.count = words;
	s->pending.items = mem_array(words, sizeof(m->pending[0]));
	memcpy(s->pending.items, m->pending, words * sizeof(m->pending[0]));
	pthread_mutex_unlock(&m->lock);
}

int msix_load(struct msix *m, const struct msix_state *s, struct err *e)
{
	if (s->table.count != m->count || s->pending.count != pending_words(m))
		return err_set(e, ERR_BAD, "the saved MSI-X table has %u vectors, this device %u",
			       s->table.count, m->count);
	pthread_mutex_lock(&m->lock);
	ctrl_take(m);
	for (uint16_t i = 0; i < m->count; i++) {
		m->table[i] = s->table.items[i];
		m->table[i].addr &= ~3ull;
		if (bit_get(s->pending.items, i))
			bit_set(m->pending, i);
		vec_update(m, i);
	}
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static const struct field msix_entry_f[] = {
	S(struct msix_entry, addr),
	S(struct msix_entry, data),
	S(struct msix_entry, ctrl, .max = ENTRY_MASKED),
};
static const struct desc msix_entry_desc = DESC_OF(struct msix_entry, msix_entry_f, "MsixEntry");

static const struct field msix_state_f[] = {
	S_LIST(struct msix_state, table, &msix_entry_desc, .max_items = VECTORS_MAX),
	S_LIST_NUM(struct msix_state, pending, .max_items = BITMAP_WORDS(VECTORS_MAX)),
};
const struct desc msix_state_desc = DESC_OF(struct msix_state, msix_state_f, "MsixState");
