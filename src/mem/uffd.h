/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory whose pages come from a file when somebody touches them: the guest, a device's thread, the
 * kernel on behalf of either. The thread `uffd` alone serves, because anyone else may be the one
 * who waits. A page that cannot be had is gone, and says so: it is replaced by one that fails
 * whoever touches it (see mem/lost.h), never by one with other contents. It knows ranges of host
 * addresses, not guests. userfaultfd(2), ioctl_userfaultfd(2).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "mem/source.h"

struct uffd;

/* What comes without being touched, while nobody waits. */
enum uffd_prefetch {
	UFFD_PREFETCH_NONE,
	UFFD_PREFETCH_RECORDED, /* what the record has; where it has nothing, it is made */
	UFFD_PREFETCH_ALL,
};

struct uffd_args {
	int fd;			     /* of uffd_open; the new one's, also on failure */
	const struct source *source; /* borrowed for its life */
	enum uffd_prefetch prefetch;
	int touched; /* the record's file (mem/touched.h), borrowed for its life; or -1 */
	/* a page cannot be had: the guest must end. Once, in the thread; those who wait for the page
	 * wait until it has returned */
	void (*lost)(void *arg, const char *why);
	void *arg;
};

/* Asks the host for a descriptor that serves the kernel's accesses too, which is a right: the
 * device file, CAP_SYS_PTRACE, or a sysctl. -1 with a sentence that says what is lacking. */
MUST int uffd_open(struct err *e);
MUST int uffd_new(struct uffd **out, const struct uffd_args *a, struct err *e);
/* [host, host+size), of pages of this size, is [off, off+size) of the file from here on. Nothing is
 * there: it is mapped, and no page of it has ever been touched, or all were given back. Before
 * uffd_start. */
MUST int uffd_add(struct uffd *u, void *host, uint64_t size, uint64_t page, uint64_t off,
		  struct err *e);
MUST int uffd_start(struct uffd *u, struct err *e);
/* Ends the thread. Nobody touches the memory any more; it stays mapped. NULL is fine. */
void uffd_free(struct uffd *u);

/* Pages are about to be given back to the host: from here on they are zeros, and not the file's.
 * Any thread. */
void uffd_forget(struct uffd *u, const void *host, uint64_t size);
/* Does the page at host still lie in the file only? Then off is where. n: for how many bytes of
 * [host, host+size) the answer is the same, whole pages. Any thread; a page may come right after. */
bool uffd_is_in_file(struct uffd *u, const void *host, uint64_t size, uint64_t *n, uint64_t *off);
/* Bytes that lie in the file only. */
uint64_t uffd_left(struct uffd *u);
