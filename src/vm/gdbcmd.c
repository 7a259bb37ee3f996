/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of a debugger. See gdbcmd.h. */
#include "vm/gdbcmd.h"

#include <stdlib.h>
#include <string.h>

#include "arch/debug.h"
#include "base/bits.h"
#include "base/log.h"
#include "base/mem.h"

/* Numbers of errors, which nobody reads but a person: those of errno. */
#define E_ABSENT 0x02
#define E_IO 0x05
#define E_MEMORY 0x0e
#define E_FORM 0x16
#define E_FULL 0x1c

static void say_error(struct gdb_talk *g, unsigned int number)
{
	g->reply.len = 0;
	gdbmsg_text(&g->reply, "E%02x", number);
}

static void say_ok(struct gdb_talk *g)
{
	gdbmsg_text(&g->reply, "OK");
}

/* --- stops --- */

static void add_signal(struct gdb_talk *g, unsigned int number)
{
	g->reply.len = 0;
	gdbmsg_text(&g->reply, "T%02xthread:%x;", number, g->thread + 1);
	g->running = false;
	g->has_reply = true;
}

void gdbcmd_say_signal(struct gdb_talk *g, unsigned int number)
{
	add_signal(g, number);
}

void gdbcmd_say_stop(struct gdb_talk *g, const struct debugger_stop *s)
{
	static const char *const watches[] = {
		[HV_POINT_WRITE] = "watch", [HV_POINT_ACCESS] = "awatch"
	};

	g->thread = s->cpu;
	add_signal(g, GDB_SIGNAL_TRAP);
	if (s->cause == HV_DEBUG_BREAK)
		gdbmsg_text(&g->reply, "swbreak:;");
	else if (s->cause == HV_DEBUG_POINT && s->kind == HV_POINT_EXECUTE)
		gdbmsg_text(&g->reply, "hwbreak:;");
	else if (s->cause == HV_DEBUG_POINT)
		gdbmsg_text(&g->reply, "%s:%llx;", watches[s->kind], (unsigned long long)s->addr);
}

void gdbcmd_say_gone(struct gdb_talk *g)
{
	g->reply.len = 0;
	gdbmsg_text(&g->reply, "W00");
	g->running = false;
	g->has_reply = true;
}

/* --- commands --- */

static bool has_thread(const struct gdb_talk *g, int32_t id)
{
	return id > 0 && (uint32_t)id <= g->d.cpus;
}

static void do_why(struct gdb_talk *g, struct gdb_cmd *c)
{
	(void)c;
	if (g->d.machine)
		gdbcmd_say_signal(g, GDB_SIGNAL_TRAP);
	else
		gdbcmd_say_gone(g);
}

static void do_get_all(struct gdb_talk *g, struct gdb_cmd *c)
{
	uint8_t bytes[ARCH_GDB_REGISTER_MAX];
	struct err e = { 0 };
	struct arch_cpu *cpu;

	(void)c;
	if (debugger_regs(&g->d, g->thread, &cpu, &e) < 0) {
		say_error(g, E_IO);
		return;
	}
	for (unsigned int i = 0; i < arch_gdb_registers(); i++)
		gdbmsg_hex(&g->reply, bytes, arch_gdb_get(cpu, i, bytes));
}

/* Sets as many registers as there are bytes for; these are whole registers. */
static bool put_all(struct arch_cpu *cpu, const uint8_t *data, size_t len)
{
	uint8_t bytes[ARCH_GDB_REGISTER_MAX];

	for (unsigned int i = 0; len; i++) {
		size_t n = arch_gdb_get(cpu, i, bytes);

		if (!n || n > len || !arch_gdb_put(cpu, i, data, n))
			return false;
		data += n;
		len -= n;
	}
	return true;
}

static void put_regs(struct gdb_talk *g, bool changed)
{
	struct err e = { 0 };
	char line[ERR_TEXT];

	if (!changed) {
		g->d.has_regs = false;
		say_error(g, E_FORM);
	} else if (debugger_put_regs(&g->d, &e) < 0) {
		log_info("gdb: %s", err_line(&e, line, sizeof(line)));
		say_error(g, E_IO);
	} else {
		say_ok(g);
	}
}

static void do_put_all(struct gdb_talk *g, struct gdb_cmd *c)
{
	struct err e = { 0 };
	struct arch_cpu *cpu;

	if (debugger_regs(&g->d, g->thread, &cpu, &e) < 0)
		say_error(g, E_IO);
	else
		put_regs(g, put_all(cpu, c->data, c->data_len));
}

static void do_get_one(struct gdb_talk *g, struct gdb_cmd *c)
{
	uint8_t bytes[ARCH_GDB_REGISTER_MAX];
	struct err e = { 0 };
	struct arch_cpu *cpu;
	size_t n = 0;

	if (debugger_regs(&g->d, g->thread, &cpu, &e) == 0 && c->addr < UINT32_MAX)
		n = arch_gdb_get(cpu, (unsigned int)c->addr, bytes);
	if (n)
		gdbmsg_hex(&g->reply, bytes, n);
	else
		say_error(g, E_IO);
}

static void do_put_one(struct gdb_talk *g, struct gdb_cmd *c)
{
	struct err e = { 0 };
	struct arch_cpu *cpu;

	if (debugger_regs(&g->d, g->thread, &cpu, &e) < 0)
		say_error(g, E_IO);
	else
		put_regs(g, c->addr < UINT32_MAX &&
				    arch_gdb_put(cpu, (unsigned int)c->addr, c->data, c->data_len));
}

static void do_read(struct gdb_talk *g, struct gdb_cmd *c)
{
	uint8_t bytes[GDBMSG_MAX / 2];
	size_t want = min_u64(c->len, sizeof(bytes));
	size_t n = debugger_read(&g->d, g->thread, c->addr, bytes, want);

	if (n || !want)
		gdbmsg_hex(&g->reply, bytes, n);
	else
		say_error(g, E_MEMORY);
}

static void do_write(struct gdb_talk *g, struct gdb_cmd *c)
{
	struct err e = { 0 };

	if (debugger_write(&g->d, g->thread, c->addr, c->data, c->data_len, &e) < 0)
		say_error(g, E_MEMORY);
	else
		say_ok(g);
}

/* Any thread and all of them leave the choice to us: it stays. */
static void do_select(struct gdb_talk *g, struct gdb_cmd *c)
{
	if (c->thread > 0 && !has_thread(g, c->thread)) {
		say_error(g, E_ABSENT);
		return;
	}
	if (c->thread > 0 && c->letter == 'g')
		g->thread = (uint32_t)c->thread - 1;
	if (c->thread > 0 && c->letter == 'c')
		g->runner = (uint32_t)c->thread - 1;
	say_ok(g);
}

static void do_is_alive(struct gdb_talk *g, struct gdb_cmd *c)
{
	if (has_thread(g, c->thread))
		say_ok(g);
	else
		say_error(g, E_ABSENT);
}

/* A point of the processor, as the protocol says it. x86 has none for reading alone. */
static bool processor_point(struct hv_point *p, const struct gdb_cmd *c)
{
	static const enum hv_point_kind kinds[] = {
		[GDB_HARDWARE] = HV_POINT_EXECUTE,
		[GDB_WATCH_WRITE] = HV_POINT_WRITE,
		[GDB_WATCH_ACCESS] = HV_POINT_ACCESS,
	};

	if (c->point == GDB_WATCH_READ)
		return false;
	*p = (struct hv_point){
		.addr = c->addr,
		.kind = kinds[c->point],
		.size = c->point == GDB_HARDWARE ? 1 : (uint8_t)min_u64(c->len, 255),
	};
	return true;
}

static void do_point_add(struct gdb_talk *g, struct gdb_cmd *c)
{
	struct err e = { 0 };
	struct hv_point p;
	int r;

	if (c->point == GDB_SOFTWARE)
		r = debugger_break_add(&g->d, g->thread, c->addr, &e);
	else if (processor_point(&p, c))
		r = debugger_point_add(&g->d, &p, &e);
	else
		return;
	if (r == 0)
		say_ok(g);
	else
		say_error(g, e.kind == ERR_BUSY ? E_FULL : E_MEMORY);
}

static void do_point_drop(struct gdb_talk *g, struct gdb_cmd *c)
{
	struct hv_point p;

	if (c->point == GDB_SOFTWARE)
		debugger_break_drop(&g->d, c->addr);
	else if (processor_point(&p, c))
		debugger_point_drop(&g->d, &p);
	else
		return;
	say_ok(g);
}

/* Which vCPUs does an action without a number mean? A step is one's, going on is everybody's. */
static bool means(const struct gdb_talk *g, const struct gdb_action *a, uint32_t cpu)
{
	if (a->thread == GDB_ANY_THREAD && a->step)
		return cpu == g->runner;
	return a->thread <= 0 || (uint32_t)a->thread == cpu + 1;
}

static enum debugger_way way_of(const struct gdb_talk *g, const struct gdb_cmd *c, uint32_t cpu)
{
	for (unsigned int i = 0; i < c->actions; i++)
		if (means(g, &c->action[i], cpu))
			return c->action[i].step ? DEBUGGER_STEP : DEBUGGER_RUN;
	return DEBUGGER_STAY;
}

static int go_to(struct gdb_talk *g, uint64_t addr, struct err *e)
{
	struct arch_cpu *cpu;

	if (debugger_regs(&g->d, g->runner, &cpu, e) < 0)
		return -1;
	arch_cpu_set_pc(cpu, addr);
	return debugger_put_regs(&g->d, e);
}

static void do_run(struct gdb_talk *g, struct gdb_cmd *c)
{
	AUTO_FREE enum debugger_way *way = mem_array(g->d.cpus, sizeof(*way));
	struct err e = { 0 };
	char line[ERR_TEXT];
	bool any = false;

	for (uint32_t i = 0; i < g->d.cpus; i++) {
		way[i] = way_of(g, c, i);
		any |= way[i] != DEBUGGER_STAY;
	}
	if (!any) {
		say_error(g, E_FORM);
		return;
	}
	if ((c->has_addr && go_to(g, c->addr, &e) < 0) || debugger_go(&g->d, way, &e) < 0) {
		log_warn("gdb: %s", err_line(&e, line, sizeof(line)));
		say_error(g, E_IO);
		return;
	}
	g->running = true;
	g->has_reply = false;
}

static void do_run_words(struct gdb_talk *g, struct gdb_cmd *c)
{
	(void)c;
	gdbmsg_text(&g->reply, "vCont;c;C;s;S");
}

static void do_detach(struct gdb_talk *g, struct gdb_cmd *c)
{
	(void)c;
	g->end = GDB_LEAVES;
	say_ok(g);
}

static void do_kill(struct gdb_talk *g, struct gdb_cmd *c)
{
	g->end = GDB_KILLS;
	if (c->verb == GDB_KILL)
		say_ok(g);
	else
		g->has_reply = false;
}

static void do_supported(struct gdb_talk *g, struct gdb_cmd *c)
{
	(void)c;
	gdbmsg_text(&g->reply,
		    "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;"
		    "hwbreak+",
		    GDBMSG_MAX);
}

static void do_no_ack(struct gdb_talk *g, struct gdb_cmd *c)
{
	(void)c;
	g->no_ack = true;
	say_ok(g);
}

static void do_features(struct gdb_talk *g, struct gdb_cmd *c)
{
	if (strcmp(c->name, "target.xml")) {
		gdbmsg_text(&g->reply, "E00");
		return;
	}
	if (!g->features)
		g->features = arch_gdb_description();
	gdbmsg_part(&g->reply, g->features, c->addr, c->len);
}

static void do_threads(struct gdb_talk *g, struct gdb_cmd *c)
{
	(void)c;
	for (uint32_t i = 0; i < g->d.cpus; i++)
		gdbmsg_text(&g->reply, "%c%x", i ? ',' : 'm', i + 1);
	if (!g->d.cpus)
		gdbmsg_text(&g->reply, "l");
}

/* All were in the first answer. */
static void do_no_more_threads(struct gdb_talk *g, struct gdb_cmd *c)
{
	(void)c;
	gdbmsg_text(&g->reply, "l");
}

static void do_thread_words(struct gdb_talk *g, struct gdb_cmd *c)
{
	AUTO_FREE char *words = mem_fmt("vCPU %d", c->thread - 1);

	if (has_thread(g, c->thread))
		gdbmsg_hex(&g->reply, words, strlen(words));
	else
		say_error(g, E_ABSENT);
}

static void do_thread_now(struct gdb_talk *g, struct gdb_cmd *c)
{
	(void)c;
	gdbmsg_text(&g->reply, "QC%x", g->thread + 1);
}

/* We were there before it: it detaches at its end, and does not kill. */
static void do_attached(struct gdb_talk *g, struct gdb_cmd *c)
{
	(void)c;
	gdbmsg_text(&g->reply, "1");
}

static const struct command {
	void (*run)(struct gdb_talk *g, struct gdb_cmd *c);
	bool needs_machine;
} commands[] = {
	[GDB_WHY] = { do_why, false },
	[GDB_GET_ALL] = { do_get_all, true },
	[GDB_PUT_ALL] = { do_put_all, true },
	[GDB_GET_ONE] = { do_get_one, true },
	[GDB_PUT_ONE] = { do_put_one, true },
	[GDB_READ] = { do_read, true },
	[GDB_WRITE] = { do_write, true },
	[GDB_SELECT] = { do_select, false },
	[GDB_IS_ALIVE] = { do_is_alive, false },
	[GDB_POINT_ADD] = { do_point_add, true },
	[GDB_POINT_DROP] = { do_point_drop, true },
	[GDB_RUN] = { do_run, true },
	[GDB_RUN_WORDS] = { do_run_words, false },
	[GDB_DETACH] = { do_detach, false },
	[GDB_KILL] = { do_kill, false },
	[GDB_KILL_QUIET] = { do_kill, false },
	[GDB_SUPPORTED] = { do_supported, false },
	[GDB_NO_ACK] = { do_no_ack, false },
	[GDB_FEATURES] = { do_features, false },
	[GDB_THREADS_FIRST] = { do_threads, false },
	[GDB_THREADS_NEXT] = { do_no_more_threads, false },
	[GDB_THREAD_WORDS] = { do_thread_words, false },
	[GDB_THREAD_NOW] = { do_thread_now, false },
	[GDB_ATTACHED] = { do_attached, false },
};

/* While the guest runs a debugger has nothing to say but Ctrl-C. */
void gdbcmd_run(struct gdb_talk *g, struct gdbmsg_reader *r)
{
	const struct command *k;
	struct gdb_cmd c;

	gdbmsg_parse(&c, r);
	g->reply.len = 0;
	g->has_reply = true;
	k = c.verb < ARRAY_LEN(commands) ? &commands[c.verb] : NULL;
	if (c.verb == GDB_BAD)
		say_error(g, E_FORM);
	else if (g->running)
		say_error(g, E_IO);
	else if (k && k->run && k->needs_machine && !g->d.machine)
		say_error(g, E_ABSENT);
	else if (k && k->run)
		k->run(g, &c);
}

void gdbcmd_begin(struct gdb_talk *g)
{
	g->no_ack = g->running = g->has_reply = false;
	g->thread = g->runner = 0;
	g->end = GDB_STAYS;
}

void gdbcmd_fini(struct gdb_talk *g)
{
	debugger_forget(&g->d);
	free(g->features);
	*g = (struct gdb_talk){ 0 };
}
