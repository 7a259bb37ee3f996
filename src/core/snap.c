/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving and loading by the state tables. A member that the plug gathers just for saving lives only
 * from before_save to the end of the save; a plug without before_save keeps live state, which stays
 * untouched. Control thread.
 */
#include "core/snap.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"

/* Names of the members. */
#define K_ID "id"
#define K_CLASS "class"
#define K_VERSION "v"
#define K_STATE "state"
#define K_PLUG "plug"
#define K_PLUG_VERSION "pv"

static void *dev_state(struct dev *d)
{
	return (char *)d + d->class->state_off;
}

static const struct plug *class_saved_plug(const struct dev_class *c)
{
	return c->plug && c->plug->state ? c->plug : NULL;
}

static const struct plug *dev_saved_plug(const struct dev *d)
{
	return class_saved_plug(d->class);
}

struct json *dev_save(struct dev *d)
{
	const struct dev_class *c = d->class;
	const struct plug *p = dev_saved_plug(d);
	struct json *j = json_obj();

	json_set_str(j, K_ID, d->id);
	json_set_str(j, K_CLASS, c->name);
	json_set_int(j, K_VERSION, c->state ? c->state->version : 1);
	if (c->state)
		json_set(j, K_STATE, desc_to_json(c->state, dev_state(d)));
	if (p) {
		if (p->before_save)
			p->before_save(d);
		json_set_int(j, K_PLUG_VERSION, p->state->version);
		json_set(j, K_PLUG, desc_to_json(p->state, p->state_at(d)));
		if (p->before_save)
			desc_free(p->state, p->state_at(d));
	}
	return j;
}

/* The version that stands under key; refuses none and newer ones than ours. */
static int saved_version(uint32_t *out, const struct json *j, const char *key, uint32_t ours,
			 struct err *e)
{
	const struct json *v = json_get(j, key);
	int64_t n;

	if (!v || json_kind(v) != JSON_IS_INT)
		return err_set(e, ERR_BAD, "the saved state says no version \"%s\"", key);
	n = json_int(v);
	if (n < 1 || n > ours)
		return err_set(e, ERR_BAD,
			       "the saved state has version %lld, this program knows 1 to %u",
			       (long long)n, ours);
	*out = (uint32_t)n;
	return 0;
}

struct json *snap_save(const struct desc *d, const void *obj)
{
	struct json *j = json_obj();

	json_set_int(j, K_VERSION, d->version);
	json_set(j, K_STATE, desc_to_json(d, obj));
	return j;
}

int snap_load(const struct desc *d, void *obj, const struct json *j, struct err *e)
{
	const struct json *state = json_get(j, K_STATE);
	uint32_t v;

	if (!state)
		return err_set(e, ERR_BAD, "%s is missing", d->name);
	if (saved_version(&v, j, K_VERSION, d->version, e) || desc_from_saved(d, obj, state, v, e))
		return err_in(e, "%s", d->name);
	return 0;
}

static int load_class(const struct dev_class *c, void *to, const struct json *j, struct err *e)
{
	const struct json *name = json_get(j, K_CLASS), *state = json_get(j, K_STATE);
	uint32_t v;

	if (!name || json_kind(name) != JSON_IS_STR || strcmp(json_str(name), c->name) != 0)
		return err_set(e, ERR_BAD, "the saved state is not one of class %s", c->name);
	if (saved_version(&v, j, K_VERSION, c->state ? c->state->version : 1, e))
		return -1;
	if (!c->state)
		return 0;
	if (!state)
		return err_set(e, ERR_BAD, "the saved state has no \"%s\"", K_STATE);
	return desc_from_saved(c->state, to, state, v, e);
}

int dev_load(struct dev *d, const struct json *j, struct err *e)
{
	if (!j)
		return 0;
	if (load_class(d->class, dev_state(d), j, e))
		return err_in(e, "saved state");
	d->restored = true;
	return 0;
}

static int load_plug(const struct plug *p, void *to, const struct json *j, struct err *e)
{
	const struct json *state = json_get(j, K_PLUG);
	uint32_t v;

	if (!state)
		return err_set(e, ERR_BAD, "saved state: there is no \"%s\"", K_PLUG);
	if (saved_version(&v, j, K_PLUG_VERSION, p->state->version, e) ||
	    desc_from_saved(p->state, to, state, v, e))
		return err_in(e, "saved state of the plug");
	return 0;
}

int dev_load_plug(struct dev *d, const struct json *j, struct err *e)
{
	const struct plug *p = dev_saved_plug(d);
	int rc;

	if (!j || !p)
		return 0;
	if (load_plug(p, p->state_at(d), j, e))
		return -1;
	rc = p->after_load ? p->after_load(d, e) : 0;
	if (p->before_save)
		desc_free(p->state, p->state_at(d));
	return rc;
}

struct json *board_save(struct board *b, const char *arch)
{
	struct json *j = json_obj(), *devices = json_arr();

	json_set_int(j, "virga", SNAP_VERSION);
	json_set_str(j, "arch", arch);
	list_each (l, &b->devs)
		json_add(devices, dev_save(container_of(l, struct dev, link)));
	json_set(j, "devices", devices);
	return j;
}

int board_saved_devices(const struct json **out, const struct json *j, const char *arch,
			struct err *e)
{
	const struct json *version = json_get(j, "virga"), *from = json_get(j, "arch");
	const struct json *devices = json_get(j, "devices");

	if (!version || json_kind(version) != JSON_IS_INT)
		return err_set(e, ERR_BAD, "this is no saved machine: it has no \"virga\"");
	if (json_int(version) != SNAP_VERSION)
		return err_set(e, ERR_BAD,
			       "the machine was saved in form %lld, this program reads %d",
			       (long long)json_int(version), SNAP_VERSION);
	if (!from || json_kind(from) != JSON_IS_STR || strcmp(json_str(from), arch) != 0)
		return err_set(e, ERR_BAD, "the machine was saved on %s, this is %s",
			       from && json_kind(from) == JSON_IS_STR ? json_str(from)
								      : "nothing known",
			       arch);
	if (!devices || json_kind(devices) != JSON_IS_ARR)
		return err_set(e, ERR_BAD, "the saved machine has no list of devices");
	*out = devices;
	return 0;
}

const struct json *board_saved_find(const struct json *devices, const char *id)
{
	for (size_t i = 0; i < json_count(devices); i++) {
		const struct json *d = json_at(devices, i), *name = json_get(d, K_ID);

		if (name && json_kind(name) == JSON_IS_STR && !strcmp(json_str(name), id))
			return d;
	}
	return NULL;
}
