/* SPDX-License-Identifier: Apache-2.0 */
/*
 * argv into configuration, by the rows that name an option (.opt). It opens nothing and starts
 * nothing; what options mean together is conf/check's, but that those of a VM do not go with
 * --restore. Called once, by main.
 *
 * Syntax: --name value, --name=value; options that make a list take several values and may come
 * again; -v counts, -V and -h ask. No argument at all asks for help.
 */
#pragma once

#include "base/err.h"
#include "conf/conf.h"
#include "conf/doc.h"

enum cli_what {
	CLI_RUN,
	CLI_HELP,    /* doc_help */
	CLI_VERSION, /* doc_version */
	CLI_DOC,     /* doc_print of .doc */
};

struct cli {
	enum cli_what what;
	enum doc_kind doc;
	struct vmm_conf vmm; /* what the program itself is told */
	struct vm_conf vm;   /* the virtual machine; judged by conf_check, not here */
};

/* Overwrites *out; the caller calls cli_free, also after a failure. */
MUST int cli_parse(struct cli *out, int argc, char **argv, struct err *e);
void cli_free(struct cli *c);
