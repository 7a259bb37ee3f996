/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM back end on the machine's own /dev/kvm, with a few instructions as guest: each kind of
 * exit, doorbells, interrupt routes, MSRs that KVM does not know, kicks. Without /dev/kvm these
 * tests cannot be made and say so.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "hv/guest.h"
#include "hv/hv.h"
#include "test.h"

#define PLACE_IDT 0x100

TEST(port_accesses_of_each_size_come_out_and_go_in)
{
	static const uint8_t code[] = {
		0xb8, 0x78, 0x56, 0x34, 0x12, /* mov $0x12345678, %eax */
		0xe6, 0x80,		      /* out %al, $0x80 */
		0x66, 0xe7, 0x82,	      /* out %ax, $0x82 */
		0xe7, 0x84,		      /* out %eax, $0x84 */
		0xe5, 0x90,		      /* in $0x90, %eax */
		0xe7, 0x84,		      /* out %eax, $0x84 */
	};
	struct guest g;

	start(&g, code, sizeof code);
	expect_port(&g, true, 0x80, 1, 1);
	assert_int_equal(g.x.data[0], 0x78);
	expect_port(&g, true, 0x82, 2, 1);
	assert_int_equal(le16_get(g.x.data), 0x5678);
	expect_port(&g, true, 0x84, 4, 1);
	assert_int_equal(le32_get(g.x.data), 0x12345678);
	expect_port(&g, false, 0x90, 4, 1);
	le32_put(g.x.data, 0xcafef00d);
	expect_port(&g, true, 0x84, 4, 1);
	assert_int_equal(le32_get(g.x.data), 0xcafef00d);
	end(&g);
}

TEST(string_output_arrives_whole_and_in_order)
{
	static const uint8_t code[] = {
		0xbe, 0x00, 0x20, 0x00, 0x00, /* mov $0x2000, %esi */
		0xb9, 0x05, 0x00, 0x00, 0x00, /* mov $5, %ecx */
		0xba, 0xf8, 0x03, 0x00, 0x00, /* mov $0x3f8, %edx */
		0xf3, 0x6e,		      /* rep outsb */
		0xe6, 0x80,		      /* out %al, $0x80 */
	};
	struct guest g;
	char got[6] = { 0 };
	uint32_t n = 0;

	start(&g, code, sizeof code);
	memcpy(g.ram + 0x2000, "hello", 5);
	/* a hypervisor may hand them over one by one or in one go */
	for (;;) {
		run(&g);
		assert_int_equal(g.x.kind, HV_EXIT_IO);
		if (g.x.addr == 0x80)
			break;
		assert_true(n + g.x.count <= 5);
		memcpy(got + n, g.x.data, g.x.count);
		n += g.x.count;
	}
	assert_string_equal(got, "hello");
	end(&g);
}

TEST(memory_that_is_not_there_is_read_and_written_by_exits)
{
	static const uint8_t code[] = {
		0xa1, 0x00, 0x00, 0x00, 0xd0,	    /* mov 0xd0000000, %eax */
		0x40,				    /* inc %eax */
		0xa3, 0x04, 0x00, 0x00, 0xd0,	    /* mov %eax, 0xd0000004 */
		0x88, 0x05, 0x08, 0x00, 0x00, 0xd0, /* mov %al, 0xd0000008 */
		0xe6, 0x80,
	};
	struct guest g;

	start(&g, code, sizeof code);
	run(&g);
	assert_int_equal(g.x.kind, HV_EXIT_MMIO);
	assert_false(g.x.write);
	assert_int_equal(g.x.addr, 0xd0000000);
	assert_int_equal(g.x.size, 4);
	le32_put(g.x.data, 41);
	run(&g);
	assert_int_equal(g.x.kind, HV_EXIT_MMIO);
	assert_true(g.x.write);
	assert_int_equal(g.x.addr, 0xd0000004);
	assert_int_equal(le32_get(g.x.data), 42);
	run(&g);
	assert_int_equal(g.x.size, 1);
	assert_int_equal(g.x.data[0], 42);
	expect_port(&g, true, 0x80, 1, 1);
	end(&g);
}

TEST(a_triple_fault_is_a_reset)
{
	static const uint8_t code[] = {
		0x0f, 0x0b, /* ud2, without an IDT */
	};
	struct guest g;

	start(&g, code, sizeof code);
	run(&g);
	assert_int_equal(g.x.kind, HV_EXIT_RESET);
	end(&g);
}

TEST(doorbells_ring_without_an_exit)
{
	static const uint8_t code[] = {
		0xb8, 0x07, 0x00, 0x00, 0x00, /* mov $7, %eax */
		0xa3, 0x00, 0x00, 0x00, 0xd0, /* mov %eax, 0xd0000000 */
		0x66, 0xe7, 0x90,	      /* out %ax, $0x90 */
		0xe6, 0x80,		      /* out %al, $0x80 */
		0xa3, 0x00, 0x00, 0x00, 0xd0, /* again, when it is off */
		0xe6, 0x80,
	};
	struct err e = { 0 };
	struct guest g;

	start(&g, code, sizeof code);
	int mmio = fd_event(&e), pio = fd_event(&e);

	ok(hv_ioevent(g.vm, mmio, 0xd0000000, false, 0, true, &e), &e);
	ok(hv_ioevent(g.vm, pio, 0x90, true, 2, true, &e), &e);
	expect_port(&g, true, 0x80, 1, 1);
	assert_int_equal(fd_drain(mmio), 1);
	assert_int_equal(fd_drain(pio), 1);
	ok(hv_ioevent(g.vm, mmio, 0xd0000000, false, 0, false, &e), &e);
	run(&g);
	assert_int_equal(g.x.kind, HV_EXIT_MMIO);
	assert_int_equal(hv_ioevent(g.vm, mmio, 0xd0000000, false, 0, false, &e), -1);
	close(mmio);
	close(pio);
	end(&g);
}

TEST(msrs_that_are_not_known_are_stepped_over)
{
	static const uint8_t code[] = { 0xf4 };
	static const struct hv_msr msrs[] = {
		{ 0xdeadbeef, 1 }, { 0x174, 0x10 },   { 0xdeadbef0, 1 },
		{ 0x175, 0x2000 }, { 0xdeadbef1, 1 },
	};
	struct err e = { 0 };
	struct guest g;

	start(&g, code, sizeof code);
	ok(hv_vcpu_msrs(g.cpu, msrs, 5, &e), &e);
	ok(hv_vcpu_msrs(g.cpu, msrs, 0, &e), &e);
	assert_true(hv_has_msr(g.h, 0x174));
	assert_false(hv_has_msr(g.h, 0xdeadbeef));
	assert_true(hv_max_vcpus(g.h) >= 1);
	assert_in_range(hv_phys_bits(g.h), 32, 57);
	end(&g);
}

TEST(a_counter_steps_back_for_what_it_is_to_have_stood)
{
	uint64_t before, after;
	struct err e = { 0 };
	struct guest g;

	start(&g, "", 0);
	ok(hv_vcpu_counter(g.cpu, &before, &e), &e);
	if (hv_vcpu_counter_back(g.cpu, before / 2, &e) < 0) {
		assert_int_equal(e.kind, ERR_UNBUILT);
		end(&g); /* a host that shows guests its own, or is too old */
		return;
	}
	ok(hv_vcpu_counter(g.cpu, &after, &e), &e);
	assert_true(after < before);
	end(&g);
}

TEST(a_counter_runs_in_step_with_another)
{
	const uint64_t ahead = 1ull << 50;
	uint64_t first, second, again;
	struct hv_vcpu *other;
	struct err e = { 0 };
	struct guest g;

	start(&g, "", 0);
	ok(hv_vcpu_new(&other, g.vm, 1, &e), &e);
	ok(hv_vcpu_counter(g.cpu, &first, &e), &e);
	if (hv_vcpu_counter_like(other, g.cpu, ahead, &e) < 0) {
		assert_int_equal(e.kind, ERR_UNBUILT);
	} else {
		ok(hv_vcpu_counter(other, &second, &e), &e);
		ok(hv_vcpu_counter(g.cpu, &again, &e), &e);
		/* a host that shows guests its own keeps that in step by itself */
		assert_true((second - first >= ahead && second <= again + ahead) ||
			    (second >= first && second <= again));
	}
	hv_vcpu_free(other);
	end(&g);
}

TEST(an_interrupt_makes_run_return_until_it_is_cleared)
{
	static const uint8_t code[] = {
		0xe6, 0x80, /* out %al, $0x80 */
		0xeb, 0xfe, /* jmp . */
	};
	struct guest g;

	start(&g, code, sizeof code);
	hv_vcpu_interrupt(g.cpu);
	for (int i = 0; i < 3; i++) {
		hv_vcpu_run(g.cpu, &g.x);
		assert_int_equal(g.x.kind, HV_EXIT_INTR);
	}
	hv_vcpu_clear_interrupt(g.cpu);
	expect_port(&g, true, 0x80, 1, 1);
	/* the loop that follows never exits by itself */
	hv_vcpu_interrupt(g.cpu);
	hv_vcpu_run(g.cpu, &g.x);
	assert_int_equal(g.x.kind, HV_EXIT_INTR);
	end(&g);
}

/* LAPIC enabled by software, interrupts on, an IDT with one gate at vector 0x40 whose handler
 * writes to port 0x81, ends the interrupt and goes back to the loop; not by iret, which software
 * hypervisors do not interpret in this mode. */
static void write_irq_guest(uint8_t *ram)
{
	static const uint8_t handler[] = {
		0xe6, 0x81,					/* out %al, $0x81 */
		0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0, 0, 0, 0, /* movl $0, 0xfee000b0 */
		0x83, 0xc4, 0x0c,				/* add $12, %esp */
		0xfb,						/* sti */
		0xe9, 0x04, 0xe0, 0xff, 0xff,			/* jmp to the out of irq_code */
	};
	uint8_t *gate = ram + PLACE_IDT + 8 * 0x40;

	memcpy(ram + 0x3000, handler, sizeof handler);
	le16_put(gate, 0x3000);
	le16_put(gate + 2, 0x10);
	gate[5] = 0x8e;
	le16_put(ram + 0x90, 8 * 0x41 - 1); /* for lidt */
	le32_put(ram + 0x92, PLACE_IDT);
	le64_put(ram + 0xa0 + 0x10, 0x00cf9b000000ffff);
	le64_put(ram + 0xa0 + 0x18, 0x00cf93000000ffff);
	le16_put(ram + 0x98, 0x1f); /* for lgdt */
	le32_put(ram + 0x9a, 0xa0);
}

static const uint8_t irq_code[] = {
	0x0f, 0x01, 0x15, 0x98, 0,    0,    0,		   /* lgdt 0x98 */
	0x0f, 0x01, 0x1d, 0x90, 0,    0,    0,		   /* lidt 0x90 */
	0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 1, 0, 0, /* movl $0x1ff, 0xfee000f0 */
	0xfb,						   /* sti */
	0xe6, 0x80,					   /* out %al, $0x80 */
	0xf4,						   /* hlt */
	0xeb, 0xfb,					   /* back to the out */
};

TEST(a_message_reaches_the_guest_directly_and_by_a_routed_eventfd)
{
	struct hv_irq_route route[3] = {
		{ .gsi = 4, .masked = true },
		{ .gsi = 24, .addr = 0xfee00000, .data = 0x40 },
		{ .gsi = 25, .masked = true },
	};
	struct err e = { 0 };
	struct guest g;

	start(&g, irq_code, sizeof irq_code);
	write_irq_guest(g.ram);
	expect_port(&g, true, 0x80, 1, 1);
	assert_int_equal(hv_msi(g.vm, 0xfee00000, 0x40), 0);
	expect_port(&g, true, 0x81, 1, 1);
	expect_port(&g, true, 0x80, 1, 1);
	int fd = fd_event(&e);

	ok(hv_set_routes(g.vm, route, 3, &e), &e);
	ok(hv_irqfd(g.vm, fd, 24, true, &e), &e);
	fd_signal(fd);
	expect_port(&g, true, 0x81, 1, 1);
	expect_port(&g, true, 0x80, 1, 1);
	ok(hv_irqfd(g.vm, fd, 24, false, &e), &e);
	close(fd);
	end(&g);
}

TEST(the_end_of_a_level_interrupt_comes_out_with_its_vector)
{
	const struct hv_irq_route route = { .gsi = 4, .addr = 0xfee00000, .data = 0x8040 };
	struct err e = { 0 };
	struct guest g;

	start(&g, irq_code, sizeof irq_code);
	write_irq_guest(g.ram);
	expect_port(&g, true, 0x80, 1, 1);
	ok(hv_set_routes(g.vm, &route, 1, &e), &e);
	assert_int_equal(hv_msi(g.vm, route.addr, route.data), 0);
	expect_port(&g, true, 0x81, 1, 1);
	run(&g);
	assert_int_equal(g.x.kind, HV_EXIT_EOI);
	assert_int_equal(g.x.addr, 0x40);
	end(&g);
}

TEST(an_nmi_reaches_a_vcpu_that_lets_no_interrupt_through)
{
	static const uint8_t code[] = {
		0x0f, 0x01, 0x15, 0x98, 0, 0, 0, /* lgdt 0x98 */
		0x0f, 0x01, 0x1d, 0x90, 0, 0, 0, /* lidt 0x90 */
		0xe6, 0x80,			 /* out %al, $0x80 */
		0xeb, 0xfe,			 /* jmp ., interrupts off */
	};
	struct err e = { 0 };
	struct guest g;

	start(&g, code, sizeof code);
	write_irq_guest(g.ram);
	memcpy(g.ram + PLACE_IDT + 8 * 2, g.ram + PLACE_IDT + 8 * 0x40, 8);
	expect_port(&g, true, 0x80, 1, 1);
	assert_int_equal(hv_msi(g.vm, 0xfee00000, 0x40), 0);
	ok(hv_nmi(g.vm, 0, &e), &e);
	expect_port(&g, true, 0x81, 1, 1);
	end(&g);
}

TEST(vcpus_have_ids_beyond_8_bits_and_messages_name_them)
{
	/* an extended destination as the guest writes it: 0x12c is 300 */
	const uint64_t to_300 = 0xfee00000ull | 0x2c << 12 | 1 << 5;
	const struct hv_irq_route route = { .gsi = 24, .addr = to_300, .data = 0x40 };
	const struct hv_vm_args a = {
		.max_apic_id = 300,
		.tss_addr = 0xf8000000,
		.identity_map_addr = 0xf8003000,
		.ioapic_pins = 24,
	};
	struct hv_vcpu *last;
	struct err e = { 0 };
	struct guest g;
	int fd;

	start(&g, "", 0);
	if (hv_max_apic_ids(g.h) <= 300) {
		end(&g);
		print_message("this host's KVM has no APIC id 300\n");
		skip();
	}
	hv_vcpu_free(g.cpu);
	hv_vm_free(g.vm);
	ok(hv_vm_new(&g.vm, g.h, &a, &e), &e);
	ok(hv_vcpu_new(&g.cpu, g.vm, 0, &e), &e);
	ok(hv_vcpu_new(&last, g.vm, 300, &e), &e);
	ok(hv_nmi(g.vm, 300, &e), &e);
	fd = fd_event(&e);
	ok(hv_set_routes(g.vm, &route, 1, &e), &e);
	ok(hv_irqfd(g.vm, fd, 24, true, &e), &e);
	ok(hv_irqfd(g.vm, fd, 24, false, &e), &e);
	close(fd);
	hv_vcpu_free(last);
	end(&g);
}

TEST(msrs_are_read_as_they_were_set)
{
	static const struct hv_msr set[] = { { 0x174, 0x10 }, { 0x2ff, 0x806 } };
	struct hv_msr get[] = { { 0xdeadbeef, 7 }, { 0x174, 0 }, { 0xdeadbef0, 7 }, { 0x2ff, 0 } };
	struct err e = { 0 };
	struct guest g;

	start(&g, "", 0);
	ok(hv_vcpu_msrs(g.cpu, set, 2, &e), &e);
	ok(hv_vcpu_get_msrs(g.cpu, get, 4, &e), &e);
	assert_int_equal(get[0].index, 0);
	assert_int_equal(get[0].value, 0);
	assert_int_equal(get[1].value, 0x10);
	assert_int_equal(get[2].index, 0);
	assert_int_equal(get[3].value, 0x806);
	end(&g);
}

/* What this host lacks is told by a sentence; what it has works. */
TEST(hyperv_and_amx_are_there_or_refused_with_a_reason)
{
	struct hv_cpuid *t = NULL;
	struct err e = { 0 };
	struct guest g;
	uint32_t n = 0;

	start(&g, "", 0);
	if (hv_hyperv_cpuid(g.h, &t, &n, &e)) {
		char line[400];

		assert_non_null(strstr(err_line(&e, line, sizeof line), "leave kvm_hyperv out"));
		assert_int_equal(hv_vcpu_synic(g.cpu, &e), -1);
	} else {
		assert_true(n > 5);
		ok(hv_vcpu_cpuid(g.cpu, t, n, &e), &e);
		ok(hv_vcpu_synic(g.cpu, &e), &e);
	}
	free(t);
	if (hv_allow_amx(g.h, &e)) {
		char line[400];

		assert_non_null(strstr(err_line(&e, line, sizeof line), "AMX"));
	}
	end(&g);
}

TEST(a_slot_that_was_dropped_is_memory_no_longer)
{
	static const uint8_t code[] = {
		0xa1, 0x00, 0x00, 0x20, 0x00, /* mov 0x200000, %eax */
		0xe7, 0x80,		      /* out %eax, $0x80 */
		0xa1, 0x00, 0x00, 0x20, 0x00,
	};
	struct err e = { 0 };
	struct guest g;
	uint32_t slot;

	start(&g, code, sizeof code);
	uint8_t *more =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	le32_put(more, 99);
	ok(hv_slot_add(g.vm, &slot, 0x200000, 4096, (uintptr_t)more, false, &e), &e);
	expect_port(&g, true, 0x80, 4, 1);
	assert_int_equal(g.x.data[0], 99);
	assert_int_equal(slot, 1);
	ok(hv_slot_drop(g.vm, slot, &e), &e);
	run(&g);
	assert_int_equal(g.x.kind, HV_EXIT_MMIO);
	assert_int_equal(g.x.addr, 0x200000);
	assert_int_equal(hv_slot_add(g.vm, &slot, 0, RAM, (uintptr_t)more, false, &e), -1);
	/* numbers are used again */
	for (int i = 0; i < 3; i++) {
		ok(hv_slot_add(g.vm, &slot, 0x200000, 4096, (uintptr_t)more, false, &e), &e);
		assert_int_equal(slot, 1);
		ok(hv_slot_drop(g.vm, slot, &e), &e);
	}
	munmap(more, 4096);
	end(&g);
}

/* In a child that sees no /dev/kvm, or may not use it, the sentence has the word. */
static void refusal(bool absent, const char *word)
{
	char dir[] = "/tmp/virga-hv-XXXXXX", line[400];
	int status;

	assert_non_null(mkdtemp(dir));
	pid_t child = fork();

	if (!child) {
		struct err e = { 0 };
		struct hv *h;

		if (absent ? chroot(dir) : setuid(65534))
			_exit(2);
		_exit(hv_open(&h, &e) == -1 && strstr(err_line(&e, line, sizeof line), word) ? 0
											     : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(status, 0);
}

TEST(no_kvm_and_no_right_to_it_are_told_with_what_to_do)
{
	struct stat st;

	if (geteuid()) {
		print_message("only root may hide /dev/kvm from itself\n");
		skip();
	}
	refusal(true, "modprobe kvm_intel");
	if (!stat("/dev/kvm", &st) && !(st.st_mode & S_IROTH))
		refusal(false, "usermod -aG kvm");
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(port_accesses_of_each_size_come_out_and_go_in),
		T(string_output_arrives_whole_and_in_order),
		T(memory_that_is_not_there_is_read_and_written_by_exits),
		T(a_triple_fault_is_a_reset),
		T(doorbells_ring_without_an_exit),
		T(msrs_that_are_not_known_are_stepped_over),
		T(a_counter_steps_back_for_what_it_is_to_have_stood),
		T(a_counter_runs_in_step_with_another),
		T(an_interrupt_makes_run_return_until_it_is_cleared),
		T(a_message_reaches_the_guest_directly_and_by_a_routed_eventfd),
		T(the_end_of_a_level_interrupt_comes_out_with_its_vector),
		T(an_nmi_reaches_a_vcpu_that_lets_no_interrupt_through),
		T(vcpus_have_ids_beyond_8_bits_and_messages_name_them),
		T(msrs_are_read_as_they_were_set),
		T(hyperv_and_amx_are_there_or_refused_with_a_reason),
		T(a_slot_that_was_dropped_is_memory_no_longer),
		T(no_kvm_and_no_right_to_it_are_told_with_what_to_do),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
