/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of options: every row of every table goes to JSON and back, copies and frees. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "conf/conf.h"

#define TABLES_MAX 64

struct tables {
	const struct desc *d[TABLES_MAX];
	unsigned int count;
};

static void gather(struct tables *t, const struct desc *d)
{
	for (unsigned int i = 0; i < t->count; i++)
		if (t->d[i] == d)
			return;
	assert_true(t->count < TABLES_MAX);
	t->d[t->count++] = d;
	for (const struct field *f = d->fields; f < d->fields + d->count; f++)
		if (f->sub)
			gather(t, f->sub);
}

static struct tables all_tables(void)
{
	struct tables t = { 0 };

	gather(&t, &vm_desc);
	gather(&t, &restore_desc);
	return t;
}

/* A text for a row that differs from its default, in JSON. */
static void other_value(struct str *s, const struct field *f, unsigned int depth);

static bool row_is_place(const struct field *f)
{
	return !strcmp(f->key, "file") || !strcmp(f->key, "socket");
}

static void object_text(struct str *s, const struct desc *d, const struct field *only,
			unsigned int depth)
{
	bool more = false;

	str_putc(s, '{');
	for (const struct field *f = d->fields; f < d->fields + d->count; f++) {
		bool must = f->flags & (F_REQUIRED | F_JSON_REQUIRED);

		if (f != only && !must)
			continue;
		if (f->flags & F_FD)
			continue;
		str_add(s, "%s\"%s\":", more ? "," : "", f->key);
		more = true;
		/* a console's file goes with its mode */
		if (!strcmp(f->key, "mode") && only && only != f && row_is_place(only)) {
			str_add(s, "\"%s\"", !strcmp(only->key, "file") ? "File" : "Socket");
			continue;
		}
		if (desc_is_list(f))
			str_putc(s, '[');
		other_value(s, f, depth);
		if (desc_is_list(f)) {
			str_putc(s, ',');
			other_value(s, f, depth);
			str_putc(s, ']');
		}
	}
	str_putc(s, '}');
}

static void other_value(struct str *s, const struct field *f, unsigned int depth)
{
	uint64_t v;

	assert_true(depth < 6);
	if (f->text && !f->text->cli_only) {
		str_puts(s, "\"02:00:00:00:00:01\"");
		return;
	}
	switch (desc_field_type(f)) {
	case D_BOOL:
		str_puts(s, f->def ? "false" : "true");
		break;
	case D_STR:
	case D_PATH:
		str_puts(s, "\"x\"");
		break;
	case D_ENUM:
		str_add(s, "\"%s\"", f->names[f->names[1] ? !f->def : 0]);
		break;
	case D_OBJ:
		object_text(s, f->sub, f->sub->count ? &f->sub->fields[f->sub->count - 1] : NULL,
			    depth + 1);
		break;
	case D_HEX:
		fail();
		break;
	default:
		v = f->def > f->min ? f->def - 1 : f->def + 1 + f->min;
		str_add(s, "%llu", (unsigned long long)v);
	}
}

static void same_after_json(const struct desc *d, const void *a)
{
	struct json *j = desc_to_json(d, a);
	char *text = json_text(j, JSON_LINE);
	struct json *again = NULL;
	struct err e = { 0 };
	char *b = mem_new(d->size);
	char line[400];

	assert_int_equal(json_parse(&again, text, strlen(text), &e), 0);
	if (desc_from_json(d, b, again, &e))
		fail_msg("%s: %s: %s", d->name, text, err_line(&e, line, sizeof(line)));
	if (!desc_equal(d, a, b))
		fail_msg("%s: %s comes back as something else", d->name, text);
	desc_free(d, b);
	free(b);
	free(text);
	json_put(j);
	json_put(again);
}

/* Makes a struct of the table from JSON in which `only` differs from its default. */
static void *made_with(const struct desc *d, const struct field *only)
{
	struct str text = { 0 };
	struct json *j = NULL;
	struct err e = { 0 };
	char line[400];
	void *obj = mem_new(d->size);

	object_text(&text, d, only, 0);
	assert_int_equal(json_parse(&j, str_text(&text), text.len, &e), 0);
	if (desc_from_json(d, obj, j, &e))
		fail_msg("%s: %s: %s", d->name, str_text(&text), err_line(&e, line, sizeof(line)));
	json_put(j);
	str_fini(&text);
	return obj;
}

TEST(defaults_survive_json)
{
	struct vm_conf c;

	conf_default(&c);
	same_after_json(&vm_desc, &c);
	conf_free(&c);
	for (struct tables t = all_tables(); t.count--;) {
		void *obj = made_with(t.d[t.count], NULL);

		same_after_json(t.d[t.count], obj);
		desc_free(t.d[t.count], obj);
		free(obj);
	}
}

TEST(every_row_survives_json_and_copying)
{
	for (struct tables t = all_tables(); t.count--;) {
		const struct desc *d = t.d[t.count];

		for (const struct field *f = d->fields; f < d->fields + d->count; f++) {
			void *obj = made_with(d, f), *copy = mem_new(d->size),
			     *plain = made_with(d, NULL);

			same_after_json(d, obj);
			desc_copy(d, copy, obj);
			assert_true(desc_equal(d, obj, copy));
			if (!(f->flags & (F_REQUIRED | F_JSON_REQUIRED | F_FD)) &&
			    !(f->names && !f->names[1]) && desc_equal(d, obj, plain))
				fail_msg("%s: %s made no difference", d->name, f->key);
			desc_free(d, obj);
			desc_free(d, copy);
			desc_free(d, plain);
			free(obj);
			free(copy);
			free(plain);
		}
	}
}

TEST(every_row_has_a_sentence)
{
	struct tables t = all_tables();

	gather(&t, &vmm_desc);
	for (unsigned int i = 0; i < t.count; i++) {
		const struct desc *d = t.d[i];

		assert_non_null(d->doc);
		assert_true(d->count <= 64); /* bits of `set` */
		for (const struct field *f = d->fields; f < d->fields + d->count; f++) {
			if (!f->doc || !*f->doc || f->doc[strlen(f->doc) - 1] == '.')
				fail_msg("%s: %s has no sentence, or a full stop behind it",
					 d->name, f->key);
			if (f->opt && !f->group)
				fail_msg("--%s stands under no heading", f->opt);
			if (desc_field_type(f) == D_PATH && !f->access && d != &landlock_desc)
				fail_msg("%s: %s says not how it is accessed", d->name, f->key);
		}
	}
}

TEST(freeing_leaves_nothing_behind)
{
	struct tables t = all_tables();

	for (unsigned int i = 0; i < t.count; i++) {
		const struct desc *d = t.d[i];
		char *bytes = mem_new(d->size);
		void *obj = made_with(d, NULL);

		/* padding aside, which the compiler puts where it likes: no row reaches past the
		 * struct */
		for (const struct field *f = d->fields; f < d->fields + d->count; f++)
			assert_true(f->off + f->size <= d->size);
		desc_free(d, obj);
		assert_memory_equal(obj, bytes, d->size);
		free(obj);
		free(bytes);
	}
}

TEST(json_of_the_defaults_is_what_clients_expect)
{
	static const char *const keys[] = {
		"cpus",		 "memory",  "payload", "rng",	   "serial", "console",
		"debug_console", "pvpanic", "iommu",   "watchdog", "gdb",    "landlock_enable"
	};
	struct vm_conf c;
	struct json *j;

	conf_default(&c);
	j = desc_to_json(&vm_desc, &c);
	assert_int_equal(json_count(j), sizeof(keys) / sizeof(*keys));
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		assert_non_null(json_get(j, keys[i]));
	assert_int_equal(json_int(json_get(json_get(j, "cpus"), "max_phys_bits")), 46);
	assert_int_equal(json_int(json_get(json_get(j, "memory"), "size")), 512 << 20);
	assert_true(json_bool(json_get(json_get(j, "memory"), "thp")));
	assert_string_equal(json_str(json_get(json_get(j, "serial"), "mode")), "Null");
	assert_string_equal(json_str(json_get(json_get(j, "console"), "mode")), "Tty");
	assert_string_equal(json_str(json_get(json_get(j, "rng"), "src")), "/dev/urandom");
	assert_int_equal(json_count(json_get(j, "serial")), 1);
	json_put(j);
	conf_free(&c);
}

static struct json *parsed(const char *text)
{
	struct err e = { 0 };
	struct json *j = NULL;

	assert_int_equal(json_parse(&j, text, strlen(text), &e), 0);
	return j;
}

static void refused(const struct desc *d, const char *text, const char *why)
{
	struct json *j = parsed(text);
	void *obj = mem_new(d->size);
	struct err e = { 0 };
	char line[400];

	assert_int_equal(desc_from_json(d, obj, j, &e), -1);
	assert_string_equal(err_line(&e, line, sizeof(line)), why);
	desc_free(d, obj);
	free(obj);
	json_put(j);
}

TEST(bad_json_is_refused_by_the_way_to_it)
{
	refused(&vm_desc, "{\"payload\":{},\"disks\":[{\"num_queue\":1}]}",
		"disks[0]: unknown key 'num_queue' (did you mean 'num_queues'?)");
	refused(&vm_desc, "{}", "'payload' is missing");
	refused(&vm_desc, "{\"payload\":{\"kernel\":1}}",
		"payload: kernel: is a number, must be a string");
	refused(&cpus_desc, "{\"boot_vcpus\":0,\"max_vcpus\":1}",
		"boot_vcpus: 0 is not within 1 to 8192");
	refused(&disk_desc, "{\"image_type\":\"raw\"}",
		"image_type: 'raw' is none of Unknown, Raw, Qcow2, FixedVhd, Vhdx, FlatVmdk");
	refused(&disk_desc, "{\"serial\":\"123456789012345678901\"}",
		"serial: 21 bytes are too long: at most 20 are taken");
	refused(&net_desc, "{\"mac\":\"01:02\"}",
		"mac: '01:02' is not an address like 12:34:56:78:9a:bc");
	refused(&net_desc, "{\"mac\":\"12:34:56:78:9a:+1\"}",
		"mac: '12:34:56:78:9a:+1' is not an address like 12:34:56:78:9a:bc");
	refused(&net_desc, "{\"mac\":\"12:34:56:78:9a-bc\"}",
		"mac: '12:34:56:78:9a-bc' is not an address like 12:34:56:78:9a:bc");
	refused(&serial_desc, "{\"mode\":\"Tty\",\"id\":\"x\"}", "unknown key 'id'");
	refused(&pmem_desc, "{\"file\":null}", "file: is null, must be a string");
	refused(&rng_desc, "{\"src\":null}", "src: is null, must be a string");
	refused(&generic_vhost_user_desc,
		"{\"socket\":\"s\",\"device_type\":1,\"queue_sizes\":null}",
		"queue_sizes: is null, must be an array");
	refused(&platform_desc, "{\"uuid\":\"a\",\"system_uuid\":\"b\"}",
		"'uuid' and 'system_uuid' are the same key: say one");
}

TEST(null_says_that_a_thing_is_absent)
{
	struct json *j = parsed("{\"payload\":{\"kernel\":null},\"platform\":null,"
				"\"disks\":null,\"net\":[{\"mac\":null,\"host_mac\":null}]}");
	struct vm_conf c = { 0 };
	struct err e = { 0 };

	assert_int_equal(desc_from_json(&vm_desc, &c, j, &e), 0);
	assert_null(c.platform);
	assert_false(conf_said(net, &c.net.items[0], mac));
	assert_false(conf_said(net, &c.net.items[0], host_mac));
	json_put(j);
	conf_free(&c);
}

TEST(an_empty_list_that_is_required_is_written_all_the_same)
{
	struct json *j = parsed("{\"vcpu\":0,\"host_cpus\":[]}");
	struct cpu_affinity_conf c = { 0 };
	struct err e = { 0 };

	assert_int_equal(desc_from_json(&cpu_affinity_desc, &c, j, &e), 0);
	same_after_json(&cpu_affinity_desc, &c);
	json_put(j);
	desc_free(&cpu_affinity_desc, &c);
}

/* What is done with memory of which nothing was said differs from what is done when "off" was. */
TEST(what_nobody_said_of_memory_is_not_said_by_json)
{
	struct json *j = parsed("{\"id\":\"z\",\"size\":4096}"), *out;
	struct memory_zone_conf z = { 0 }, again = { 0 };
	struct err e = { 0 };

	assert_int_equal(desc_from_json(&memory_zone_desc, &z, j, &e), 0);
	out = desc_to_json(&memory_zone_desc, &z);
	assert_int_equal(desc_from_json(&memory_zone_desc, &again, out, &e), 0);
	assert_false(conf_said(memory_zone, &again, reserve));
	assert_false(conf_said(memory_zone, &again, mergeable));
	json_put(j);
	json_put(out);
	desc_free(&memory_zone_desc, &z);
	desc_free(&memory_zone_desc, &again);
}

TEST(former_keys_are_taken)
{
	struct json *j = parsed("{\"serial_number\":\"n\",\"uuid\":\"u\"}");
	struct platform_conf p = { 0 };
	struct err e = { 0 };

	assert_int_equal(desc_from_json(&platform_desc, &p, j, &e), 0);
	assert_string_equal(p.system_serial_number, "n");
	assert_string_equal(p.system_uuid, "u");
	json_put(j);
	desc_free(&platform_desc, &p);
}

TEST(descriptors_do_not_travel_in_json)
{
	struct json *j = parsed("{\"fds\":[7,8],\"num_queues\":4}"), *out;
	struct net_conf n = { 0 };
	struct err e = { 0 };

	assert_int_equal(desc_from_json(&net_desc, &n, j, &e), 0);
	assert_int_equal(n.fds.count, 2);
	assert_int_equal(n.fds.items[0], -1);
	out = desc_to_json(&net_desc, &n);
	assert_null(json_get(out, "fds"));
	json_put(j);
	json_put(out);
	desc_free(&net_desc, &n);
}

TEST(made_names_count_over_all_kinds_and_pass_over_taken_ones)
{
	struct json *j = parsed("{\"payload\":{},\"disks\":[{},{\"id\":\"mine\"},{}],"
				"\"net\":[{},{\"id\":\"_net3\"},{}]}");
	struct vm_conf c = { 0 };
	struct err e = { 0 };
	uint32_t next = 0;

	assert_int_equal(desc_from_json(&vm_desc, &c, j, &e), 0);
	conf_make_ids(&c, &next);
	assert_string_equal(c.disks.items[0].id, "_disk0");
	assert_string_equal(c.disks.items[1].id, "mine");
	assert_string_equal(c.disks.items[2].id, "_disk1");
	assert_string_equal(c.net.items[0].id, "_net2");
	assert_string_equal(c.net.items[2].id, "_net4");
	assert_null(c.rng.id);
	json_put(j);
	conf_free(&c);
}

TEST(cards_without_an_address_get_one_each)
{
	static const uint8_t said[6] = { 0x52, 0x54, 0, 1, 2, 3 };
	struct json *j = parsed("{\"payload\":{},\"net\":[{},{\"mac\":\"52:54:00:01:02:03\"},{}]}");
	struct vm_conf c = { 0 };
	struct err e = { 0 };

	assert_int_equal(desc_from_json(&vm_desc, &c, j, &e), 0);
	assert_int_equal(conf_make_macs(&c, &e), 0);
	assert_memory_equal(c.net.items[1].mac, said, 6);
	assert_int_equal(c.net.items[0].mac[0], 0x2e);
	assert_int_equal(c.net.items[2].mac[0], 0x2e);
	assert_memory_not_equal(c.net.items[0].mac, c.net.items[2].mac, 6);
	json_put(j);
	conf_free(&c);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(defaults_survive_json),
		T(every_row_survives_json_and_copying),
		T(every_row_has_a_sentence),
		T(freeing_leaves_nothing_behind),
		T(json_of_the_defaults_is_what_clients_expect),
		T(bad_json_is_refused_by_the_way_to_it),
		T(null_says_that_a_thing_is_absent),
		T(an_empty_list_that_is_required_is_written_all_the_same),
		T(what_nobody_said_of_memory_is_not_said_by_json),
		T(former_keys_are_taken),
		T(descriptors_do_not_travel_in_json),
		T(made_names_count_over_all_kinds_and_pass_over_taken_ones),
		T(cards_without_an_address_get_one_each),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
