/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of the program and their keys, for the census of test/e2e: a line for each,
 *	--disk	path	built	-
 * with "built" or "unbuilt" and the words that it takes, those of this build. Read off the rows.
 */
#include <stdio.h>

#include "base/desc.h"
#include "conf/conf.h"
#include "conf/opt.h"

static void tell(const char *opt, const char *key, const struct field *f, uint32_t flags)
{
	const char *const *names = f->cli_names ? f->cli_names : f->names;
	const char *comma = "";

	if (flags & F_DEPRECATED)
		return;
	printf("%s\t%s\t%s\t", opt, key, flags & F_UNBUILT ? "unbuilt" : "built");
	for (unsigned int i = 0; names && names[i]; i++) {
		if (!*names[i] || f->unbuilt >> i & 1)
			continue;
		printf("%s%s", comma, names[i]);
		comma = ",";
	}
	printf("\n");
}

static void tell_key(void *arg, const struct field *f, const char *key, uint32_t flags)
{
	tell(arg, key, f, flags);
}

int main(void)
{
	struct opt opts[OPT_MAX];
	uint32_t n = opt_all(opts);
	char name[64];

	for (uint32_t i = 0; i < n; i++) {
		const struct field *f = opts[i].f;

		snprintf(name, sizeof(name), *f->opt ? "--%s" : "-v%s", f->opt);
		tell(name, "", f, f->flags);
		if (desc_field_type(f) == D_OBJ && !(f->flags & F_UNBUILT))
			desc_each_key(f->sub, tell_key, name);
	}
	return 0;
}
