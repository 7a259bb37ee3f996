/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line by which a program of the host says to which port of the guest it wants to speak:
 * "CONNECT <port>\n", as Cloud Hypervisor and Firecracker take it: the word in any case, blanks
 * around, more words ignored, 32 bytes at most with the end of the line. No state; any thread.
 */
#pragma once

#include <stdint.h>

#define VSLINE_MAX 32

enum vsline { VSLINE_OK, VSLINE_MORE, VSLINE_BAD };

/* Judges the first len bytes of what a peer has sent. OK: *port, and *used bytes up to the end of
 * the line. MORE: the line has not ended yet. */
enum vsline vsline_read(uint32_t *port, uint32_t *used, const char *text, uint32_t len);
