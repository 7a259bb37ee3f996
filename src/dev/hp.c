/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AML of hot-plug, with the names that a controller gives. See hp.h.
 */
#include "dev/hp.h"

#define STA_ALL 0xf

void hp_device(struct aml *a, const char *name, const char *uid)
{
	aml_device(a, name);
	aml_name(a, "_HID");
	aml_eisa(a, "PNP0A06");
	aml_name(a, "_UID");
	aml_str(a, uid);
}

void hp_registers(struct aml *a, const char *region, uint64_t base, uint64_t len)
{
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_memory64(a, base, len);
	aml_end(a);
	aml_region(a, region, ACPI_SPACE_MEMORY, base, len);
}

void hp_select(struct aml *a, const struct hp_names *n)
{
	aml_acquire(a, n->lock);
	aml_op(a, AML_STORE);
	aml_arg(a, 0);
	aml_path(a, n->select);
}

/* If (flag), which the caller fills and ends. */
static void if_set(struct aml *a, const char *flag)
{
	aml_if(a);
	aml_op(a, AML_EQUAL);
	aml_path(a, flag);
	aml_int(a, 1);
}

void hp_sta(struct aml *a, const struct hp_names *n)
{
	aml_method(a, n->sta, 1, true);
	hp_select(a, n);
	aml_op(a, AML_STORE);
	aml_int(a, 0);
	aml_local(a, 0);
	if_set(a, n->there);
	aml_op(a, AML_STORE);
	aml_int(a, STA_ALL);
	aml_local(a, 0);
	aml_end(a);
	aml_release(a, n->lock);
	aml_op(a, AML_RETURN);
	aml_local(a, 0);
	aml_end(a);
}

void hp_notify(struct aml *a, const struct hp_names *n, uint32_t count)
{
	aml_method(a, n->notify, 2, true);
	for (uint32_t i = 0; i < count; i++) {
		aml_if(a);
		aml_op(a, AML_EQUAL);
		aml_arg(a, 0);
		aml_int(a, i);
		aml_op(a, AML_NOTIFY);
		n->path(a, i);
		aml_arg(a, 1);
		aml_end(a);
	}
	aml_end(a);
}

/* If the flag is set for the thing Local0: tells of it, and acknowledges. */
static void put_look(struct aml *a, const struct hp_names *n, const char *flag, uint8_t code)
{
	if_set(a, flag);
	aml_path(a, n->notify);
	aml_local(a, 0);
	aml_int(a, code);
	aml_op(a, AML_STORE);
	aml_int(a, 1);
	aml_path(a, flag);
	aml_end(a);
}

void hp_scan(struct aml *a, const struct hp_names *n, uint32_t count)
{
	aml_method(a, n->scan, 0, true);
	aml_acquire(a, n->lock);
	aml_op(a, AML_STORE);
	aml_int(a, 0);
	aml_local(a, 0);
	aml_while(a);
	aml_op(a, AML_LESS);
	aml_local(a, 0);
	aml_int(a, count);
	aml_op(a, AML_STORE);
	aml_local(a, 0);
	aml_path(a, n->select);
	put_look(a, n, n->coming, HP_NOTIFY_CHECK);
	put_look(a, n, n->going, HP_NOTIFY_EJECT);
	aml_op(a, AML_ADD);
	aml_local(a, 0);
	aml_int(a, 1);
	aml_local(a, 0);
	aml_end(a);
	aml_release(a, n->lock);
	aml_end(a);
}

void hp_forward(struct aml *a, const char *method, const char *to, uint32_t thing)
{
	aml_method(a, method, 0, false);
	aml_op(a, AML_RETURN);
	aml_path(a, to);
	aml_int(a, thing);
	aml_end(a);
}
