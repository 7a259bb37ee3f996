/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other CPUs: start one, give it work, see whether it is done. Called by CPU 0 only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* INIT: the cpu waits for SIPI. */
void smp_init(uint32_t cpu);

/* SIPI to one that waits for it; true when the cpu has reached ring 3 within 5 s. */
bool smp_sipi(uint32_t cpu);

/* INIT and SIPI; true when the cpu has reached ring 3 within 5 s. */
bool smp_start(uint32_t cpu);

/* Run work(arg) on a started cpu that is idle. */
void smp_call(uint32_t cpu, void (*work)(void *), void *arg);

/* Has the cpu finished the work it was given? */
bool smp_idle(uint32_t cpu);
