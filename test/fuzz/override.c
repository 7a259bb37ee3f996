/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration at restore: config.json, which is foreign, with what was said laid over it, read
 * and judged as any. A zero byte parts the two; the second is JSON when it begins with a brace, else
 * words of a command line. What is refused has a reason, what is taken can be read again.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/check.h"
#include "conf/override.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_how(struct restore_conf *r, const char *text, struct err *e)
{
	struct json *j = NULL;
	int result;

	desc_default(&restore_desc, r);
	if (*text != '{')
		return desc_from_kv(&restore_desc, r, text, e);
	if (json_parse(&j, text, strlen(text), e) < 0)
		return -1;
	result = desc_from_json(&restore_desc, r, j, e);
	json_put(j);
	return result;
}

static int judge(struct json *config, const struct restore_conf *r, struct err *e)
{
	struct reasons why = { 0 };
	struct vm_conf c = { 0 };
	int result;

	if (r->overrides)
		conf_override(config, r->overrides, &why);
	conf_override_zones(config, r, &why);
	if (reasons_end(&why, e) < 0)
		return -1;
	result = desc_from_json(&vm_desc, &c, config, e) || conf_check(&c, e) ? -1 : 0;
	conf_free(&c);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = mem_new(size + 1);
	AUTO_JSON struct json *config = NULL;
	size_t len = strnlen((const char *)data, size);
	struct restore_conf r = { 0 };
	struct err e = { 0 };

	log_init(LOG_ERROR, 2);
	memcpy(text, data, size);
	if (json_parse(&config, text, len, &e) == 0 &&
	    read_how(&r, len < size ? text + len + 1 : "", &e) == 0 && judge(config, &r, &e) < 0 &&
	    !e.count)
		abort();
	desc_free(&restore_desc, &r);
	return 0;
}
