/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory that is gone: a file behind it was made shorter by somebody, its disk or the pool of
 * huge pages is empty, or the host's own memory has failed. A vCPU that meets such a page tells so
 * by itself; a thread of ours gets SIGBUS. That cannot be gone on from, but can be told. sigaction(2).
 */
#pragma once

/* Once, before there are threads: SIGBUS says a sentence and then ends the process as ever. */
void lost_told(void);
