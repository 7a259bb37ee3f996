/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's configuration as JSON. What is taken is written out, read again and must be the same; then it is copied and
 * judged by the rules.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/check.h"
#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Descriptors do not travel: only what JSON carries can be compared. */
static void forget_descriptors(struct vm_conf *c)
{
	for (uint32_t i = 0; i < c->net.count; i++)
		c->net.items[i].fds.count = 0;
	for (uint32_t i = 0; i < c->devices.count; i++) {
		c->devices.items[i].fd = 0;
		c->devices.items[i].set &= ~(1ull << ROW_device_fd);
	}
	if (c->platform) {
		c->platform->iommufd_fd = 0;
		c->platform->set &= ~(1ull << ROW_platform_iommufd_fd);
	}
}

static void check_again(const struct vm_conf *c)
{
	struct json *j = desc_to_json(&vm_desc, c), *again = NULL;
	char *text = json_text(j, JSON_LINE);
	struct vm_conf back = { 0 }, copy;
	struct err e = { 0 };

	if (json_parse(&again, text, strlen(text), &e) || desc_from_json(&vm_desc, &back, again, &e))
		abort();
	conf_copy(&copy, &back);
	if (!desc_equal(&vm_desc, c, &back) || !desc_equal(&vm_desc, &copy, &back))
		abort();
	conf_free(&back);
	conf_free(&copy);
	json_put(j);
	json_put(again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json *j = NULL;
	struct vm_conf c = { 0 };
	struct err e = { 0 };

	log_init(LOG_ERROR, 2);
	if (json_parse(&j, (const char *)data, size, &e))
		return 0;
	if (!desc_from_json(&vm_desc, &c, j, &e)) {
		forget_descriptors(&c);
		check_again(&c);
		if (conf_check_rules(&c, &e) && !e.count)
			abort();
		if (conf_check(&c, &e) && !e.count)
			abort();
	} else if (!e.count) {
		abort();
	}
	conf_free(&c);
	json_put(j);
	return 0;
}
