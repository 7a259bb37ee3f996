/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading OpenMetrics text, as far as a screen needs it: samples one after another, with their labels
 * and a number. The text is foreign: every length is bounded, a line that is none or too long is
 * passed over. Types, units, timestamps and exemplars are not looked at. No state.
 */
#pragma once

#include <stdbool.h>

#define OMREAD_LABELS 8
#define OMREAD_NAME 100
#define OMREAD_VALUE 100

struct omread_label {
	char name[OMREAD_NAME], value[OMREAD_VALUE];
};
struct omread_sample {
	char name[OMREAD_NAME];
	unsigned int labels;
	struct omread_label label[OMREAD_LABELS];
	double value;
};

/* The next sample from *at on, which moves behind it; false at the end. Bytes that could steer a
 * terminal have become question marks. */
bool omread_next(const char **at, struct omread_sample *out);
/* The value of a label, "" where there is none of that name. */
const char *omread_label(const struct omread_sample *s, const char *name);
