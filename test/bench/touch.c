/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor under prefault: maps memory as a VMM maps a guest's, writes every byte of it from as
 * many threads as there are processors, and prints the nanoseconds that it took. Use: touch MiB.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64
#define HUGE_PAGE (2ul << 20)

struct part {
	pthread_t thread;
	uint8_t *from;
	size_t len;
};

static void *fill(void *arg)
{
	struct part *p = arg;

	memset(p->from, 0, p->len);
	return NULL;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000l + t.tv_nsec;
}

int main(int argc, char **argv)
{
	static struct part part[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t threads = cpus > THREADS_MAX ? THREADS_MAX : (size_t)cpus;
	size_t size = argc == 2 ? strtoul(argv[1], NULL, 10) << 20 : 0;
	uint8_t *ram = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (!size || ram == MAP_FAILED) {
		perror("touch: map the memory");
		return 1;
	}
	ram += HUGE_PAGE - (uintptr_t)ram % HUGE_PAGE;
	madvise(ram, size, MADV_HUGEPAGE);
	int64_t began = now_ns();

	for (size_t i = 0; i < threads; i++) {
		part[i] = (struct part){ .from = ram + size / threads * i, .len = size / threads };
		if (pthread_create(&part[i].thread, NULL, fill, &part[i]))
			return 1;
	}
	for (size_t i = 0; i < threads; i++)
		pthread_join(part[i].thread, NULL);
	printf("%lld\n", (long long)(now_ns() - began));
	return 0;
}
