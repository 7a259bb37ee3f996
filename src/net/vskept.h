/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a guest that a host's program has not taken yet: a ring of a fixed size, made when the
 * first byte is kept. As a line of messages it keeps their bounds too, at a byte for each small
 * one. Belongs to one thread; no socket is known here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mem/gmem.h"

/* Zero-initialise; room is a power of two, set before the first byte. */
struct vskept {
	uint8_t *buf;
	uint32_t room;
	uint32_t at, len; /* the first byte, counted on, and how many there are */
};

void vskept_fini(struct vskept *r);
/* len bytes of the payload from off on; false when they do not fit, and nothing is kept then. */
bool vskept_put(struct vskept *r, const struct kiov *k, unsigned int n, size_t off, uint32_t len);
/* The pieces of [off, off + len), which are kept; returns their count. */
unsigned int vskept_iov(const struct vskept *r, struct kiov out[2], uint32_t off, uint32_t len);
void vskept_drop(struct vskept *r, uint32_t len);

/* A message of 1 byte or more, behind the others; false when it does not fit. */
bool vskept_put_message(struct vskept *r, const struct kiov *k, unsigned int n, uint32_t len);
/* Length of the first message, and of the mark before it; 0: there is none. */
uint32_t vskept_message(const struct vskept *r, uint32_t *mark);
