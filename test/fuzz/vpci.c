/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest on the registers of a virtio device: BAR and config accesses of any place and
 * width, guest memory, turns of the device's loop, in the order of the input. Behind them a device
 * that echoes. After each input the driver resets the device, and it must work.
 */
#include "../unit/virtio/echo.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OP_BYTES 8

/* Places worth hitting; other ones come by adding. */
static const uint32_t places[] = {
	R_DEV_SEL,     R_DRV_SEL,     R_DRV_FEAT,   R_CFG_VEC, R_STATUS,     R_Q_SEL,
	R_Q_SIZE,      R_Q_VEC,	      R_Q_ENABLE,   R_Q_DESC,  R_Q_DESC + 4, R_Q_AVAIL,
	R_Q_AVAIL + 4, R_Q_USED,      R_Q_USED + 4, AT_ISR,    AT_CONFIG,    AT_CONFIG + 4,
	AT_NOTIFY,     AT_NOTIFY + 4, AT_PBA,	    0x7fff8,
};

/* One operation: kind, width, place, value of four bytes (a page of guest memory for kinds that
 * take memory). */
static void play(struct rig *r, const uint8_t *op)
{
	const uint32_t len = 1u << (op[1] & 3);
	const uint32_t at = places[op[2] % ARRAY_LEN(places)] + (op[3] >> 4);
	const uint32_t v = le32_get(op + 4);

	switch (op[0] % 10) {
	case 0:
	case 1:
		wr(r, at, len, v);
		return;
	case 2:
		rd(r, at, len);
		return;
	case 3:
		cfg_wr(r, 0x40u + op[2] % 0x80u, len & 3 ? len & 3 : 4, v);
		return;
	case 4:
		cfg_rd(r, op[2], len & 7 ? len & 7 : 4);
		return;
	case 5:
		drv_start(r, v % 3 ? ~0ull : 0);
		return;
	case 6:
		drv_desc(r, op[2] & 1, op[3] % 16, BUF + (v & 0xfffff), op[1], op[2] >> 4, op[7]);
		return;
	case 7:
		drv_offer(r, op[2] & 1, (uint16_t)(v & 0x1f));
		return;
	case 8:
		mem_wr(r, Q_AT(op[2] & 1) + (v & 0x1ffff), len, v);
		return;
	default:
		rig_turn(r, 1);
	}
}

/* The function's BAR is put back first: the guest may have moved it away. */
static void must_work(struct rig *r, uint64_t bar)
{
	cfg_wr(r, 4, 2, 0);
	cfg_wr(r, 0x10, 4, (uint32_t)bar);
	cfg_wr(r, 0x14, 4, (uint32_t)(bar >> 32));
	cfg_wr(r, 4, 2, 6);
	drv_start(r, 0);
	if (!echo_works(r, 0) || !echo_works(r, 1) || drv_status(r) != 15)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig r;
	static bool made;
	static uint64_t bar;

	if (!made) {
		log_init(LOG_ERROR, 2);
		rig_init(&r);
		rig_add(&r, &echo_class, NULL);
		bar = rig_bar(&r);
		made = true;
	}
	for (; size >= OP_BYTES; data += OP_BYTES, size -= OP_BYTES)
		play(&r, data);
	rig_turn(&r, 2);
	must_work(&r, bar);
	return 0;
}
