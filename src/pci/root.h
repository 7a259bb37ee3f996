/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host bridge as a device of the board, so that it is saved and loaded with the others: the
 * latch behind port 0xcf8, and the bytes of the bridge's config space. It has no registers of its
 * own: board->pci, which is there before it, answers for them. Control thread.
 */
#pragma once

#include "core/dev.h"

extern const struct dev_class pci_root_class;
