/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules between options, by kind of thing; for conf/check. A rule is a row: when it is broken,
 * whether that is only worth a warning, and the sentence that says what to do.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"
#include "conf/conf.h"

/* What a predicate looks at. */
struct look {
	const struct vm_conf *vm;
	const void *thing; /* a struct of the table's kind; of rules_vm nothing */
};

struct rule {
	bool (*is_broken)(const struct look *l);
	bool only_warns;
	const char *sentence;
};

struct rule_table {
	const struct rule *rules;
	size_t count;
};
#define RULES(rows)                                                                                \
	{                                                                                          \
		.rules = (rows), .count = ARRAY_LEN(rows)                                          \
	}

extern const struct rule_table rules_vm;
extern const struct rule_table rules_zone;
extern const struct rule_table rules_serial;
extern const struct rule_table rules_console;
extern const struct rule_table rules_debug_console;
extern const struct rule_table rules_disk;
extern const struct rule_table rules_net;
extern const struct rule_table rules_fs;
extern const struct rule_table rules_generic;
extern const struct rule_table rules_user_device;
extern const struct rule_table rules_pmem;
extern const struct rule_table rules_device;
extern const struct rule_table rules_group;
extern const struct rule_table rules_numa;
extern const struct rule_table rules_landlock;
extern const struct rule_table rules_ivshmem;
