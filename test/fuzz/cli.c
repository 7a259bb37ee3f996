/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar of the command line: the first byte picks a table, the rest is the value of its
 * option. What is taken must survive JSON, copying and the rules; what is refused must leave
 * defaults behind. A byte above 127 stands for a key of the table, or an option, and its sign.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "conf/check.h"
#include "conf/cli.h"
#include "conf/opt.h"

#define TEXT_LIMIT 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct desc *const tables[] = {
	&cpus_desc,	     &memory_desc,	&memory_zone_desc, &platform_desc,
	&disk_desc,	     &net_desc,		&console_desc,	   &serial_desc,
	&debug_console_desc, &rng_desc,		&rate_group_desc,  &fw_cfg_desc,
	&numa_desc,	     &pci_segment_desc, &fs_desc,	   &generic_vhost_user_desc,
	&device_desc,	     &restore_desc,	&api_socket_desc,  &event_monitor_desc,
	&vsock_desc,	     &pmem_desc,	&landlock_desc,	   &ivshmem_desc,
};

/* An option's value, then what anyone does with a struct. */
static void try_table(const struct desc *d, const char *text)
{
	char *a = mem_new(d->size), *b = mem_new(d->size);
	struct err e = { 0 };

	if (!desc_from_kv(d, a, text, &e)) {
		struct json *j = desc_to_json(d, a);
		char *line = json_text(j, JSON_LINE);

		desc_copy(d, b, a);
		if (!desc_equal(d, a, b))
			abort();
		free(line);
		json_put(j);
		desc_free(d, b);
	} else {
		desc_default(d, b);
		if (!e.count || !desc_equal(d, a, b))
			abort();
		desc_free(d, b);
	}
	desc_free(d, a);
	free(a);
	free(b);
}

struct nth {
	struct str *out;
	unsigned int n;
};

static void say_nth(void *arg, const struct field *f, const char *key, uint32_t flags)
{
	struct nth *s = arg;

	(void)f;
	(void)flags;
	if (!s->n--)
		str_add(s->out, "%s=", key);
}

/* The text with high bytes turned into keys of d, or into options. */
static void expand(struct str *out, const struct desc *d, const uint8_t *data, size_t size)
{
	struct opt opts[OPT_MAX];
	uint32_t count = opt_all(opts);

	for (size_t i = 0; i < size; i++) {
		unsigned int n = data[i] & 127;

		if (data[i] < 128)
			str_putc(out, (char)data[i]);
		else if (d)
			desc_each_key(d, say_nth, &(struct nth){ out, n });
		else
			str_add(out, "--%s", opts[n % count].f->opt);
	}
}

/* Whole command lines: words parted by zero bytes. */
static void try_line(const char *line, size_t size)
{
	char *text = mem_new(size + 1);
	char *argv[32] = { (char *)(uintptr_t) "virga" };
	struct cli c;
	struct err e = { 0 };
	int argc = 1;

	memcpy(text, line, size);
	for (size_t i = 0; i < size && argc < 31; i += strlen(text + i) + 1)
		argv[argc++] = text + i;
	if (!cli_parse(&c, argc, argv, &e) && !conf_check_rules(&c.vm, &e)) {
		uint32_t next = 0;

		conf_make_ids(&c.vm, &next);
	}
	cli_free(&c);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_STR struct str text = { 0 };
	const struct desc *d;
	size_t table;

	if (!size || size > TEXT_LIMIT)
		return 0;
	log_init(LOG_ERROR, 2);
	table = data[0] % (ARRAY_LEN(tables) + 1);
	d = table < ARRAY_LEN(tables) ? tables[table] : NULL;
	expand(&text, d, data + 1, size - 1);
	if (d)
		try_table(d, str_text(&text));
	else
		try_line(str_text(&text), text.len);
	return 0;
}
