/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TPM 2.0 with a command-response buffer by hand: what registers say, a few commands with their
 * answers, and what is done wrong: odd lengths, writes while a command runs, a start without a
 * locality. The words: tpm-dead, when the TPM's process answers nothing any more; tpm-extend, which
 * measures once and says what register 16 holds. TCG PC Client Platform TPM Profile §6.5.
 */
#include "guest.h"

#define TPM 0xfed40000ul
#define LOC_STATE (TPM + 0x00)
#define LOC_CTRL (TPM + 0x08)
#define LOC_STS (TPM + 0x0c)
#define INTF_ID (TPM + 0x30)
#define REQ (TPM + 0x40)
#define STS (TPM + 0x44)
#define CANCEL (TPM + 0x48)
#define START (TPM + 0x4c)
#define CMD_SIZE (TPM + 0x58)
#define CMD_ADDR (TPM + 0x5c)
#define RSP_SIZE (TPM + 0x64)
#define RSP_ADDR (TPM + 0x68)
#define DATA (TPM + 0x80)
#define ROOM 3968u

static uint32_t be32_at(uint64_t a)
{
	return __builtin_bswap32(rd32(a));
}

static void put(const uint8_t *bytes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		wr8(DATA + i, bytes[i]);
}

static bool wait_end(uint64_t us)
{
	uint64_t t = rdtsc();

	while (rd32(START) & 1)
		if (lapse(t, us))
			return false;
	return true;
}

/* The answer's code, or -1 when there is none. */
static int64_t command(const uint8_t *bytes, uint32_t n)
{
	wr32(REQ, 1);
	put(bytes, n);
	wr32(START, 1);
	if (!wait_end(10000000))
		return -1;
	return be32_at(DATA + 6);
}

static const uint8_t startup[] = { 0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0 };
static const uint8_t get_random[] = { 0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 16 };
static const uint8_t nonsense[] = { 0x80, 1, 0, 0, 0, 10, 0xff, 0xff, 0xff, 0xff };
/* PCR 16 with SHA-256, by no password */
static const uint8_t extend[] = { 0x80, 2, 0, 0, 0,    65,  0,	 0,   1,   0x82, 0,   0,   0,  16,
				  0,	0, 0, 9, 0x40, 0,   0,	 9,   0,   0,	 0,   0,   0,  0,
				  0,	0, 1, 0, 0xb,  'm', 'e', 'a', 's', 'u',	 'r', 'e', 'd' };
static const uint8_t read_pcr[] = { 0x80, 1, 0, 0, 0, 20,  0, 0, 1, 0x7e,
				    0,	  0, 0, 1, 0, 0xb, 3, 0, 0, 1 };

static void registers(void)
{
	uint32_t id = rd32(INTF_ID);

	check((id & 0xf) == 1 && (id >> 4 & 0xf) == 1 && id >> 14 & 1 && (id >> 17 & 3) == 1,
	      "tpm is a CRB");
	check(rd32(CMD_SIZE) == ROOM && rd32(RSP_SIZE) == ROOM && rd32(CMD_ADDR) == DATA &&
		      rd64(RSP_ADDR) == DATA,
	      "tpm says where its buffer is");
	check(rd32(LOC_STATE) >> 7 & 1 && !(rd32(LOC_STATE) & 2), "tpm has no locality yet");
	check(rd32(STS) == 2, "tpm is idle");
	put(startup, sizeof startup);
	wr32(START, 1);
	check(!rd32(START), "tpm starts nothing without a locality");
	wr32(LOC_CTRL, 1);
	check(rd32(LOC_STATE) & 2 && rd32(LOC_STS) == 1, "tpm grants locality 0");
	wr32(REQ, 1);
	check(rd32(STS) == 0, "tpm is ready");
}

static void wrong(void)
{
	static const uint8_t lengths[][4] = {
		{ 0, 0, 0, 0 }, { 0, 0, 0, 9 }, { 0, 0, 0xf, 0x81 }, { 0xff, 0xff, 0xff, 0xff }
	};
	uint8_t b[12];

	for (uint32_t i = 0; i < 4; i++) {
		memcpy(b, get_random, sizeof b);
		memcpy(b + 2, lengths[i], 4);
		check(command(b, sizeof b) == 0x101, "tpm refuses length %u", i);
	}
	for (uint64_t a = 0; a < 0x1000; a += 4)
		if (a != 0x4c)
			wr32(TPM + a, 0xffffffff);
	for (uint64_t a = 0; a < 0x80; a++)
		wr8(TPM + a, 0);
	wr32(LOC_CTRL, 1);
	check(wait_end(10000000), "tpm has come through noise");
}

static void busy(void)
{
	wr32(REQ, 1);
	put(get_random, sizeof get_random);
	wr32(START, 1);
	for (uint32_t i = 0; i < 50; i++) {
		wr32(START, 1);
		wr8(DATA, 0x55);
		wr32(CANCEL, 1);
	}
	check(wait_end(10000000) && (rd8(DATA) == 0x80 || rd8(DATA) == 0x55),
	      "tpm ends what is disturbed and cancelled");
}

static void measure(void)
{
	uint8_t b[65] = { 0 };

	memcpy(b, extend, sizeof extend);
	check(command(b, sizeof b) == 0, "tpm extends a register");
	check(command(read_pcr, sizeof read_pcr) == 0, "tpm reads it");
	print("R3 PCR ");
	for (uint32_t i = 0; i < 32; i++)
		print("%02x", rd8(DATA + 30 + i));
	print("\n");
}

/* tpmcount=N: extends the register N times, 20 ms apart, and says each time what it holds. */
void tpm_count(void)
{
	uint64_t times = 1;

	word("tpmcount", &times);
	wr32(LOC_CTRL, 1);
	command(startup, sizeof startup);
	while (times--) {
		measure();
		delay_us(20000);
	}
}

void tpm_run(void)
{
	int64_t rc;

	registers();
	rc = command(startup, sizeof startup);
	if (word("tpm-dead", NULL)) {
		check(rc == 0x101 && rd32(STS) & 1, "a tpm without a process fails (%ld)", rc);
		return;
	}
	/* 0x100: it was started already */
	check(rc == 0 || rc == 0x100, "tpm starts up (%ld)", rc);
	check(command(get_random, sizeof get_random) == 0 && be32_at(DATA + 2) == 28 &&
		      (rd64(DATA + 12) || rd64(DATA + 20)),
	      "tpm gives random bytes");
	check(command(nonsense, sizeof nonsense) == 0x143, "tpm knows no such command");
	wrong();
	busy();
	check(command(get_random, sizeof get_random) == 0, "tpm gives random bytes still");
	measure();
	wr32(REQ, 2);
	check(rd32(STS) == 2, "tpm is idle again");
	wr32(LOC_CTRL, 2);
	check(rd32(LOC_STS) == 0, "tpm takes the locality back");
}
