/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file://PATH, as clients name files and directories of the host. Any thread. RFC 8089 without an
 * authority and without escapes, as Cloud Hypervisor takes it.
 */
#pragma once

#include <string.h>

#include "base/err.h"

/* *path is borrowed from url. key: what the sentence calls it. */
MUST static inline int fileurl_path(const char **path, const char *url, const char *key,
				    struct err *e)
{
	const size_t scheme = sizeof("file://") - 1;

	if (strncmp(url, "file://", scheme) || !url[scheme])
		return err_set(e, ERR_BAD, "%s \"%s\" is not of the form file://PATH", key, url);
	*path = url + scheme;
	return 0;
}
