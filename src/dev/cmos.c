/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CMOS memory: 128 bytes of which the clock's are made when they are read. The clock is the host's
 * and cannot be set: writes to its registers are dropped. vCPU threads; one lock. Motorola
 * MC146818A; the places of memory sizes are those that QEMU made common among firmware.
 */
#include "dev/cmos.h"

#include <pthread.h>
#include <string.h>

#include "base/bits.h"
#include "base/loop.h"
#include "base/mem.h"

#define BYTES 128
#define PORTS 2

enum { PORT_INDEX, PORT_DATA };

/* Registers of the clock. */
#define REG_SECONDS 0x00
#define REG_MINUTES 0x02
#define REG_HOURS 0x04
#define REG_WEEKDAY 0x06
#define REG_DAY 0x07
#define REG_MONTH 0x08
#define REG_YEAR 0x09
#define REG_A 0x0a
#define REG_B 0x0b
#define REG_C 0x0c
#define REG_D 0x0d
#define REG_CENTURY 0x32

#define A_UPDATING 0x80
#define A_32768_HZ 0x26
#define B_24_HOURS 0x02
#define B_BINARY 0x04
#define D_VALID 0x80
#define HOUR_PM 0x80

/* The clock says so long before a second ends that its registers are about to change. */
#define UPDATE_NS 244000
#define SECOND_NS 1000000000

/* Memory sizes, in units of 64 KiB. */
#define REG_LOW 0x34  /* 2 bytes: from 16 MiB up to 4 GiB */
#define REG_HIGH 0x5b /* 3 bytes: from 4 GiB up */
#define UNIT_SHIFT 16

#define INDEX_SHUTDOWN 0x8f

struct cmos_state {
	uint8_t index;
	uint8_t pad[7];
	uint8_t bytes[BYTES];
};

struct cmos {
	struct dev dev;
	pthread_mutex_t lock;
	struct cmos_state s;
};

static struct cmos *cmos_of(struct dev *d)
{
	return container_of(d, struct cmos, dev);
}

/* A moment of UTC in the calendar; year counts from 0. */
struct calendar {
	uint32_t year, month, day,
		weekday; /* month, day and weekday count from 1, weekday 1 is Sunday */
	uint32_t hour, minute, second;
};

/* The C library's way reads time zone files first, which a vCPU thread may not. Seconds are since
 * 1970. */
static struct calendar calendar_of(uint64_t seconds)
{
	/* years begin in March, so that the leap day is the last; eras are 400 years from March of
	 * year 0 */
	uint64_t days = seconds / 86400, from0 = days + 719468;
	uint32_t rest = (uint32_t)(seconds % 86400);
	uint64_t era = from0 / 146097;
	uint32_t day = (uint32_t)(from0 % 146097);
	uint32_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	uint32_t of_year = day - (365 * year + year / 4 - year / 100);
	uint32_t march = (5 * of_year + 2) / 153;
	uint32_t month = march < 10 ? march + 3 : march - 9;

	return (struct calendar){
		.year = (uint32_t)(era * 400) + year + (month <= 2),
		.month = month,
		.day = of_year - (153 * march + 2) / 5 + 1,
		.weekday = (uint32_t)((days + 4) % 7) + 1,
		.hour = rest / 3600,
		.minute = rest / 60 % 60,
		.second = rest % 60,
	};
}

static uint8_t number(const struct cmos_state *s, uint32_t v)
{
	return (uint8_t)(s->bytes[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static uint8_t hours(const struct cmos_state *s, uint32_t hour)
{
	if (s->bytes[REG_B] & B_24_HOURS)
		return number(s, hour);
	return (uint8_t)(number(s, (hour + 11) % 12 + 1) | (hour >= 12 ? HOUR_PM : 0));
}

static uint8_t reg_read(const struct cmos_state *s, uint8_t reg)
{
	uint64_t now = loop_real_ns();
	struct calendar c = calendar_of(now / SECOND_NS);

	switch (reg) {
	case REG_SECONDS:
		return number(s, c.second);
	case REG_MINUTES:
		return number(s, c.minute);
	case REG_HOURS:
		return hours(s, c.hour);
	case REG_WEEKDAY:
		return number(s, c.weekday);
	case REG_DAY:
		return number(s, c.day);
	case REG_MONTH:
		return number(s, c.month);
	case REG_YEAR:
		return number(s, c.year % 100);
	case REG_CENTURY:
		return number(s, c.year / 100);
	case REG_A:
		return (uint8_t)(s->bytes[REG_A] |
				 (now % SECOND_NS >= SECOND_NS - UPDATE_NS ? A_UPDATING : 0));
	default:
		return s->bytes[reg];
	}
}

static void reg_write(struct cmos_state *s, uint8_t reg, uint8_t v)
{
	switch (reg) {
	case REG_SECONDS:
	case REG_MINUTES:
	case REG_HOURS:
	case REG_WEEKDAY:
	case REG_DAY:
	case REG_MONTH:
	case REG_YEAR:
	case REG_CENTURY:
	case REG_C:
	case REG_D:
		return;
	case REG_A:
		v &= (uint8_t)~A_UPDATING;
		break;
	}
	s->bytes[reg] = v;
}

static void cmos_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct cmos *c = cmos_of(arg);

	pthread_mutex_lock(&c->lock);
	for (uint32_t i = 0; i < len; i++)
		data[i] = off + i == PORT_DATA ? reg_read(&c->s, c->s.index % BYTES) : c->s.index;
	pthread_mutex_unlock(&c->lock);
}

static void cmos_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct cmos *c = cmos_of(arg);
	bool reset = false;

	pthread_mutex_lock(&c->lock);
	for (uint32_t i = 0; i < len; i++) {
		if (off + i == PORT_INDEX) {
			c->s.index = data[i];
			continue;
		}
		reset |= c->s.index == INDEX_SHUTDOWN && !data[i];
		reg_write(&c->s, c->s.index % BYTES, data[i]);
	}
	pthread_mutex_unlock(&c->lock);
	if (reset)
		c->dev.board->up.wish(c->dev.board->up.arg, WISH_RESET);
}

static int cmos_init(struct dev *d, struct err *e)
{
	struct cmos *c = cmos_of(d);
	const struct cmos_conf *conf = d->conf;
	uint64_t low = conf->ram_low > MIB(16) ? (conf->ram_low - MIB(16)) >> UNIT_SHIFT : 0;
	uint64_t high = conf->ram_high >> UNIT_SHIFT;

	(void)e;
	pthread_mutex_init(&c->lock, NULL);
	if (d->restored)
		return 0;
	c->s.bytes[REG_A] = A_32768_HZ;
	c->s.bytes[REG_B] = B_24_HOURS;
	c->s.bytes[REG_D] = D_VALID;
	le_put(c->s.bytes + REG_LOW, 2, min_u64(low, 0xffff));
	le_put(c->s.bytes + REG_HIGH, 3, min_u64(high, 0xffffff));
	return 0;
}

static void cmos_fini(struct dev *d)
{
	pthread_mutex_destroy(&cmos_of(d)->lock);
}

static const struct field cmos_state_f[] = {
	S(struct cmos_state, index),
	S_PAD(struct cmos_state, pad),
	S_HEX(struct cmos_state, bytes),
};
static const struct desc cmos_state_desc = DESC_OF(struct cmos_state, cmos_state_f, "CmosState");

static const struct bus_ops cmos_ops = { .read = cmos_read, .write = cmos_write };

const struct fixed_class cmos_class = {
	.dev = {
		.name = "cmos",
		.state = &cmos_state_desc,
		.size = sizeof(struct cmos),
		.state_off = offsetof(struct cmos, s),
		.init = cmos_init,
		.fini = cmos_fini,
		.plug = &fixed_plug,
	},
	.bank = {{.len = PORTS, .ops = &cmos_ops}},
};
