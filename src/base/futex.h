/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for a word to change, within this process. What the words mean, and that they are looked
 * at again after every wait (signals and strangers wake too), is the caller's. futex(2).
 */
#pragma once

#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleeps while *word is `is`, at most so long; 0 = for ever. */
static inline void futex_wait(const volatile void *word, uint32_t is, uint64_t at_most_ns)
{
	const struct timespec t = {
		.tv_sec = (time_t)(at_most_ns / 1000000000),
		.tv_nsec = (long)(at_most_ns % 1000000000),
	};

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, is, at_most_ns ? &t : NULL, NULL, 0);
}

/* All who sleep on it. The word itself is not touched. */
static inline void futex_wake(const volatile void *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
