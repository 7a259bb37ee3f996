/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU saved in the midst of a program, carried as JSON text into a fresh VM, and going on there,
 * on the machine's own /dev/kvm. Without it these tests cannot be made and say so.
 */
#include "arch/x86/vcpustate.h"

#include "base/json.h"
#include "base/mem.h"
#include "hv/guest.h"

static const uint8_t counting[] = {
	0x31, 0xc0,		      /* 1000: xor %eax, %eax */
	0xff, 0xc0,		      /* 1002: inc %eax */
	0xa3, 0x00, 0x20, 0x00, 0x00, /* 1004: mov %eax, 0x2000 */
	0xe7, 0x84,		      /* 1009: out %eax, $0x84 */
	0xeb, 0xf5,		      /* 100b: jmp 1002 */
};

static void expect_number(struct guest *g, uint32_t n)
{
	expect_port(g, true, 0x84, 4, 1);
	assert_int_equal(le32_get(g->x.data), n);
}

/* Completes the access of the last exit, as holding a vCPU does. */
static void settle(struct guest *g)
{
	hv_vcpu_interrupt(g->cpu);
	hv_vcpu_run(g->cpu, &g->x);
	hv_vcpu_clear_interrupt(g->cpu);
}

static void reread(struct x86_vcpu_state *out, const struct x86_vcpu_state *s)
{
	AUTO_JSON struct json *j = desc_to_json(&x86_vcpu_state_desc, s), *k = NULL;
	AUTO_FREE char *text = json_text(j, JSON_LINE);
	struct err e = { 0 };

	ok(json_parse(&k, text, strlen(text), &e), &e);
	memset(out, 0, sizeof(*out));
	ok(desc_from_saved(&x86_vcpu_state_desc, out, k, 1, &e), &e);
}

/* Memory goes by hand. */
static void carry_to(struct guest *to, struct guest *from)
{
	struct x86_vcpu_state s, t;
	struct err e = { 0 };

	settle(from);
	ok(x86_vcpu_get(&s, from->cpu, &e), &e);
	reread(&t, &s);
	assert_true(desc_equal(&x86_vcpu_state_desc, &s, &t));
	memcpy(to->ram, from->ram, RAM);
	ok(x86_vcpu_put(to->cpu, &t, &e), &e);
	end(from);
	desc_free(&x86_vcpu_state_desc, &s);
	desc_free(&x86_vcpu_state_desc, &t);
}

static void carry(struct guest *to, struct guest *from)
{
	start(to, counting, sizeof counting);
	carry_to(to, from);
}

TEST(every_byte_of_the_state_has_a_row)
{
	assert_int_equal(desc_uncovered(&x86_vcpu_state_desc), sizeof(struct x86_vcpu_state));
	assert_int_equal(desc_uncovered(x86_vcpu_state_desc.fields[1].sub),
			 sizeof(struct hv_x86_saved));
}

TEST(a_program_goes_on_through_five_generations)
{
	struct guest g[6];

	start(&g[0], counting, sizeof counting);
	for (uint32_t i = 0; i < 5; i++) {
		expect_number(&g[i], 2 * i + 1);
		expect_number(&g[i], 2 * i + 2);
		carry(&g[i + 1], &g[i]);
	}
	expect_number(&g[5], 11);
	end(&g[5]);
}

TEST(vector_registers_of_a_user_program_go_on)
{
	static const uint8_t code[] = {
		0xb8, 0x34, 0x12, 0x00, 0x00, /* mov $0x1234, %eax */
		0x66, 0x0f, 0x6e, 0xc0,	      /* movd %eax, %xmm0 */
		0x66, 0x0f, 0x6e, 0xf8,	      /* movd %eax, %xmm7 */
		0xe7, 0x84,		      /* out %eax, $0x84 */
		0x31, 0xc0,		      /* xor %eax, %eax */
		0x66, 0x0f, 0x7e, 0xc0,	      /* movd %xmm0, %eax */
		0xe7, 0x84,		      /* out %eax, $0x84 */
		0x66, 0x0f, 0x7e, 0xf8,	      /* movd %xmm7, %eax */
		0xe7, 0x84,		      /* out %eax, $0x84 */
	};
	struct guest g[3];

	start_user(&g[0], code, sizeof code);
	expect_number(&g[0], 0x1234);
	start_user(&g[1], code, sizeof code);
	carry_to(&g[1], &g[0]);
	expect_number(&g[1], 0x1234);
	start_user(&g[2], code, sizeof code);
	carry_to(&g[2], &g[1]);
	expect_number(&g[2], 0x1234);
	end(&g[2]);
}

TEST(what_is_put_is_what_is_read_again)
{
	struct x86_vcpu_state s, t;
	struct err e = { 0 };
	struct guest a, b;

	start(&a, counting, sizeof counting);
	expect_number(&a, 1);
	settle(&a);
	ok(x86_vcpu_get(&s, a.cpu, &e), &e);
	assert_int_equal(s.cpu.run, HV_RUN_ON);
	assert_int_equal(s.cpu.regs.gpr[0], 1);
	assert_true(s.cpu.msrs.count > 10);
	s.cpu.debug_address[1] = 0x1234;
	s.cpu.events.nmi_pending = true;
	s.cpu.events.interrupt_shadow = 0;
	start(&b, counting, sizeof counting);
	ok(x86_vcpu_put(b.cpu, &s, &e), &e);
	ok(x86_vcpu_get(&t, b.cpu, &e), &e);
	t.clock = s.clock; /* goes on */
	assert_true(desc_equal(&x86_vcpu_state_desc, &s, &t));
	desc_free(&x86_vcpu_state_desc, &s);
	desc_free(&x86_vcpu_state_desc, &t);
	end(&a);
	end(&b);
}

TEST(an_msr_that_is_not_here_is_refused_by_its_number)
{
	struct x86_vcpu_state s;
	struct err e = { 0 };
	char line[300];
	struct guest g;

	start(&g, counting, sizeof counting);
	ok(x86_vcpu_get(&s, g.cpu, &e), &e);
	s.cpu.msrs.items[0] = (struct hv_msr){ 0xdead, 5 };
	assert_int_equal(x86_vcpu_put(g.cpu, &s, &e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof line), "MSR 0xdead does not take 0x5"));
	desc_free(&x86_vcpu_state_desc, &s);
	end(&g);
}

TEST(an_fpu_larger_than_this_hosts_is_refused)
{
	struct x86_vcpu_state s;
	struct err e = { 0 };
	char line[300];
	struct guest g;

	start(&g, counting, sizeof counting);
	ok(x86_vcpu_get(&s, g.cpu, &e), &e);
	s.cpu.xsave.items = mem_resize(s.cpu.xsave.items, s.cpu.xsave.count, 1u << 18,
				       sizeof(s.cpu.xsave.items[0]));
	s.cpu.xsave.count = 1u << 18;
	assert_int_equal(x86_vcpu_put(g.cpu, &s, &e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof line), "FPU has 1048576 bytes"));
	desc_free(&x86_vcpu_state_desc, &s);
	end(&g);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_byte_of_the_state_has_a_row),
		T(a_program_goes_on_through_five_generations),
		T(vector_registers_of_a_user_program_go_on),
		T(what_is_put_is_what_is_read_again),
		T(an_msr_that_is_not_here_is_refused_by_its_number),
		T(an_fpu_larger_than_this_hosts_is_refused),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
