/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON laid over JSON, found by section and name. See override.h.
 */
#include "conf/override.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"

/* Places of which a device has one: when one of them is said, the others are not any more. */
static const struct {
	const char *section;
	const char *said[3], *gone[3];
} places[] = {
	{ "net", { "tap", "stream" }, { "tap", "stream", "fds" } },
	{ "serial", { "mode" }, { "file", "socket" } },
	{ "console", { "mode" }, { "file", "socket" } },
	{ "debug_console", { "mode" }, { "file" } },
};

/* What is ours to change. NULL where there is nothing of that kind. */
static struct json *member(struct json *obj, const char *key, enum json_kind kind)
{
	const struct json *j = json_get(obj, key);

	return j && json_kind(j) == kind ? (struct json *)(uintptr_t)j : NULL;
}

static struct json *item(struct json *list, size_t i)
{
	struct json *j = (struct json *)(uintptr_t)json_at(list, i);

	return json_kind(j) == JSON_IS_OBJ ? j : NULL;
}

static struct json *named(struct json *list, const char *id)
{
	for (size_t i = 0; list && i < json_count(list); i++) {
		struct json *at = item(list, i), *name = at ? member(at, "id", JSON_IS_STR) : NULL;

		if (name && !strcmp(json_str(name), id))
			return at;
	}
	return NULL;
}

static void clear_places(struct json *to, const char *section, const struct json *from)
{
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		bool moves = false;

		if (strcmp(places[i].section, section) != 0)
			continue;
		for (size_t k = 0; k < ARRAY_LEN(places[i].said) && places[i].said[k]; k++)
			moves |= json_get(from, places[i].said[k]) != NULL;
		for (size_t k = 0; moves && k < ARRAY_LEN(places[i].gone) && places[i].gone[k]; k++)
			json_set(to, places[i].gone[k], json_new_null());
	}
}

static void lay(struct json *to, const char *section, const struct json *from)
{
	struct json_iter it = { 0 };

	clear_places(to, section, from);
	while (json_next(from, &it))
		json_set(to, it.key, json_dup(it.value));
}

static void lay_list(struct json *config, const char *section, const struct json *list,
		     struct reasons *r)
{
	for (size_t i = 0; i < json_count(list); i++) {
		const char *id = json_str(json_get(json_at(list, i), "id"));
		struct json *to = named(member(config, section, JSON_IS_ARR), id);

		if (to)
			lay(to, section, json_at(list, i));
		else
			reasons_say(r, ERR_ABSENT, "%s: the snapshot has none of the name %s",
				    section, id);
	}
}

void conf_override_zones(struct json *config, const struct restore_conf *c, struct reasons *r)
{
	struct json *memory =
		json_kind(config) == JSON_IS_OBJ ? member(config, "memory", JSON_IS_OBJ) : NULL;

	for (uint32_t i = 0; i < c->zone_updates.count; i++) {
		const struct zone_update_conf *u = &c->zone_updates.items[i];
		struct json *zone =
			memory ? named(member(memory, "zones", JSON_IS_ARR), u->id) : NULL;

		if (zone)
			json_set_int(zone, "host_numa_node", u->host_numa_node);
		else
			reasons_say(r, ERR_ABSENT,
				    "zone_updates: the snapshot has no memory zone %s", u->id);
	}
}

void conf_override(struct json *config, const struct overrides_conf *o, struct reasons *r)
{
	AUTO_JSON struct json *all = desc_to_json(&overrides_desc, o);
	struct json_iter it = { 0 };

	if (json_kind(config) != JSON_IS_OBJ)
		return; /* whoever reads it says so */
	while (json_next(all, &it)) {
		struct json *to = member(config, it.key, JSON_IS_OBJ);

		if (json_kind(it.value) == JSON_IS_ARR) {
			lay_list(config, it.key, it.value, r);
		} else if (!to) {
			reasons_say(r, ERR_ABSENT, "%s: the snapshot has none", it.key);
		} else {
			lay(to, it.key, it.value);
		}
	}
}
