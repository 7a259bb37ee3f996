/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crlock: a preloaded library that keeps QEMU's emulation of nested AMD virtualization from
 * aborting.
 *
 * When a guest of the nested host writes CR8 (as UEFI does at the end of every interrupt) while the
 * hypervisor there waits for an interrupt window, QEMU 7.2 to 10 call cpu_interrupt() without the
 * lock that function asserts. This library puts a function that takes the lock in the place of
 * TCG's interrupt handler. The place is read from the code of cpu_interrupt() itself, which QEMU
 * exports; where it looks different, nothing is changed.
 *
 * It is no part of virga, and hardware has no such need. Runs in QEMU's threads, once at the start
 * of the first thread that follows the choice of an accelerator, and then at each interrupt.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef void handle_fn(void *cpu, int mask);

static handle_fn *handle_locked;
static bool (*is_locked)(void);
static void (*lock)(const char *file, int line);
static void (*unlock)(void);

static void handle(void *cpu, int mask)
{
	bool held = is_locked();

	if (!held)
		lock(__FILE__, __LINE__);
	handle_locked(cpu, mask);
	if (!held)
		unlock();
}

/* The offset in "mov offset(%rax),%rax", by which cpu_interrupt() finds the handler; 0 if there is
 * none. */
static uint32_t handler_offset(const uint8_t *code)
{
	static const uint8_t mov[] = { 0x48, 0x8b, 0x80 };
	uint32_t offset;

	for (int i = 0; i < 32; i++)
		if (memcmp(code + i, mov, sizeof(mov)) == 0) {
			memcpy(&offset, code + i + sizeof(mov), sizeof(offset));
			return offset < 4096 ? offset : 0;
		}
	return 0;
}

static void install(void)
{
	void *(*class_by_name)(const char *) = dlsym(RTLD_DEFAULT, "object_class_by_name");
	const uint8_t *interrupt = dlsym(RTLD_DEFAULT, "cpu_interrupt");

	is_locked = dlsym(RTLD_DEFAULT, "qemu_mutex_iothread_locked");
	lock = dlsym(RTLD_DEFAULT, "qemu_mutex_lock_iothread_impl");
	unlock = dlsym(RTLD_DEFAULT, "qemu_mutex_unlock_iothread");
	if (!class_by_name || !interrupt || !is_locked || !lock || !unlock)
		return;
	uint8_t *ops = class_by_name("tcg-accel-ops");
	uint32_t offset = handler_offset(interrupt);
	if (!ops || offset == 0)
		return;
	handle_fn **place = (handle_fn **)(void *)(ops + offset);
	if (!*place || *place == handle)
		return;
	handle_locked = *place;
	*place = handle;
}

/* A vCPU's thread is born after the accelerator has named its handler, so each birth is a chance to
 * look. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
	if (!handle_locked)
		install();
	return real(thread, attr, start, arg);
}
