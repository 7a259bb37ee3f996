/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenAPI document: a function for a schema, one for an answer, one for an endpoint, and one
 * that walks the rows. Errors are one schema for all, an array of sentences. No state.
 */
#include "conf/openapi.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "conf/doc.h"
#include "conf/routes.h"

#define REF "#/components/schemas/"
#define JSON_MEDIA "application/json"
#define ERROR_SCHEMA "Error"

static void add_schemas(struct json *schemas, const struct desc *d)
{
	if (!d || json_get(schemas, d->name))
		return;
	json_set(schemas, d->name, desc_schema(d));
	for (const struct field *f = d->fields; f < desc_end(d); f++)
		add_schemas(schemas, f->sub);
	if (d->values)
		add_schemas(schemas, d->values->sub);
}

/* {"<media>": {"schema": ...}} */
static struct json *content(const char *media, struct json *schema)
{
	struct json *outer = json_obj(), *inner = json_obj();

	json_set(inner, "schema", schema);
	json_set(outer, media, inner);
	return outer;
}

static struct json *reference(const char *name)
{
	AUTO_FREE char *path = mem_fmt(REF "%s", name);
	struct json *ref = json_obj();

	json_set_str(ref, "$ref", path);
	return ref;
}

static struct json *of_type(const char *type)
{
	struct json *s = json_obj();

	json_set_str(s, "type", type);
	return s;
}

static struct json *answer(const struct route *r, const struct route_code *c)
{
	struct json *a = json_obj();

	json_set_str(a, "description", c->text);
	if (c->reply)
		json_set(a, "content", content(JSON_MEDIA, reference(c->reply->name)));
	else if (c->code >= 400)
		json_set(a, "content", content(JSON_MEDIA, reference(ERROR_SCHEMA)));
	else if (c->code == 200)
		json_set(a, "content", content(r->media, of_type("string")));
	return a;
}

static struct json *answers(const struct route *r)
{
	struct route_code codes[ROUTE_CODES];
	unsigned int n = route_codes(r, codes);
	struct json *all = json_obj();

	for (unsigned int i = 0; i < n; i++) {
		AUTO_FREE char *code = mem_fmt("%u", codes[i].code);

		json_set(all, code, answer(r, &codes[i]));
	}
	return all;
}

/* The number in the path, and the header that turns an answer into a job. */
static struct json *parameters(const struct route *r)
{
	struct json *all = json_arr(), *p;

	if (strstr(r->path, "{id}")) {
		p = json_obj();
		json_set_str(p, "name", "id");
		json_set_str(p, "in", "path");
		json_set_bool(p, "required", true);
		json_set(p, "schema", of_type("integer"));
		json_add(all, p);
	}
	if (r->flags & R_JOB) {
		p = json_obj();
		json_set_str(p, "name", "Prefer");
		json_set_str(p, "in", "header");
		json_set_str(
			p, "description",
			"respond-async: answer at once with a job, and do the work after that");
		json_set(p, "schema", of_type("string"));
		json_add(all, p);
	}
	return all;
}

static struct json *endpoint(const struct route *r)
{
	struct json *op = json_obj(), *body, *params = parameters(r);

	json_set_str(op, "operationId", r->op);
	json_set_str(op, "summary", r->doc);
	if (r->flags & R_UNBUILT)
		json_set_str(op, "description", "Not in this build.");
	if (json_count(params))
		json_set(op, "parameters", params);
	else
		json_put(params);
	if (r->body) {
		body = json_obj();
		json_set_bool(body, "required", true);
		json_set(body, "content", content(JSON_MEDIA, reference(r->body->name)));
		json_set(op, "requestBody", body);
	}
	json_set(op, "responses", answers(r));
	return op;
}

static struct json *paths(void)
{
	struct json *all = json_obj();

	for (unsigned int i = 0; i < ROUTE_COUNT; i++) {
		const struct route *r = &route_table[i];
		AUTO_FREE char *path = mem_fmt("/%s", r->path);
		struct json *item = json_obj();

		json_set(item, r->method == ROUTE_PUT ? "put" : "get", endpoint(r));
		json_set(all, path, item);
	}
	return all;
}

static struct json *schemas(void)
{
	struct json *all = json_obj(), *error = of_type("array");

	for (unsigned int i = 0; i < ROUTE_COUNT; i++) {
		add_schemas(all, route_table[i].body);
		add_schemas(all, route_table[i].reply);
	}
	json_set_str(error, "description",
		     "what went wrong, from the outermost circumstance to the cause");
	json_set(error, "items", of_type("string"));
	json_set(all, ERROR_SCHEMA, error);
	return all;
}

void openapi_print(FILE *f)
{
	AUTO_JSON struct json *root = json_obj();
	struct json *info = json_obj(), *parts = json_obj();
	struct json *servers = json_arr(), *server = json_obj();
	AUTO_FREE char *text = NULL;

	json_set_str(root, "openapi", "3.0.3");
	json_set_str(info, "title", "virga");
	json_set_str(info, "description",
		     "Printed by virga --doc openapi from the rows in src/conf/*.def.");
	json_set_str(info, "version", VIRGA_VERSION);
	json_set(root, "info", info);
	json_set_str(server, "url", "http://localhost/api/v1");
	json_add(servers, server);
	json_set(root, "servers", servers);
	json_set(root, "paths", paths());
	json_set(parts, "schemas", schemas());
	json_set(root, "components", parts);
	text = json_text(root, JSON_PRETTY);
	fprintf(f, "%s\n", text);
}
