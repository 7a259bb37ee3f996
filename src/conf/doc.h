/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents printed from the rows: help for the terminal, the manual page, the list of options in
 * Markdown, the OpenAPI schemas. What they say of an option is in its row and nowhere else. Called
 * by main, and by tests.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#define VIRGA_VERSION "0.1.0"
#define DOC_PEER_VERSION "53.0.0" /* of Cloud Hypervisor, whose command line and API this is */

/* DOC_METRICS is api/metrics's, which has more to say in the manual page too. */
enum doc_kind { DOC_HELP, DOC_MAN, DOC_MD, DOC_OPENAPI, DOC_METRICS };

/* The kind of a name ("man", "md", "openapi", "help"); false when there is none such. */
bool doc_kind_of(enum doc_kind *out, const char *name);
/* Writes the document to f; what conf/ knows of it. */
void doc_print(FILE *f, enum doc_kind kind);
void doc_help(FILE *f);
/* What the program is called: "cloud-hypervisor" where it was started under that name, else
 * "virga". */
const char *doc_program(const char *argv0);
/* The number of the version that the program has under that name. */
const char *doc_version_of(const char *program);
/* What the program was made with, NULL-ended. */
extern const char *const doc_features[];
/* The line that --version answers, and with verbosity more lines about the build. Started under the
 * name cloud-hypervisor, the program answers as that, for those who choose by the number what they
 * may say. */
void doc_version(FILE *f, const char *argv0, unsigned int verbosity);
