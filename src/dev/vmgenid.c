/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The number's place in memory, and the word of its change. See vmgenid.h.
 */
#include "dev/vmgenid.h"

#include "base/counter.h"
#include "base/mem.h"
#include "dev/ged.h"
#include "fw/acpi.h"
#include "mem/gmem.h"

#define CHANGED 0x80 /* the code of Notify */
#define HID "VRGA0001"
#define CID "VM_Gen_Counter" /* by which drivers find it */

struct vmgenid_counters {
	uint64_t changes;
};

struct vmgenid {
	struct dev dev;
	uint64_t page;
	const uint8_t *id;
	bool has_new; /* memory has the number of before */
	struct vmgenid_counters n;
};

static struct vmgenid *vmgenid_of(struct dev *d)
{
	return container_of(d, struct vmgenid, dev);
}

static int vmgenid_init(struct dev *d, struct err *e)
{
	const struct vmgenid_conf *c = d->conf;
	struct vmgenid *g = vmgenid_of(d);

	g->page = c->page;
	g->id = c->id;
	/* the memory of a machine that goes on comes after its devices */
	g->has_new = d->restored;
	if (!d->restored && gmem_write(d->board->mem, GPA(c->page), c->id, VMGENID_BYTES))
		return err_set(e, ERR_BAD, "there is no memory for it");
	return 0;
}

/* Before vCPUs run. What cannot be written then is memory that the guest does not have. */
static void vmgenid_resume(struct dev *d)
{
	struct vmgenid *g = vmgenid_of(d);

	if (!g->has_new)
		return;
	g->has_new = false;
	if (gmem_write(d->board->mem, GPA(g->page), g->id, VMGENID_BYTES))
		return;
	counter_add(&g->n.changes, 1);
	ged_tell(d->board, GED_GENERATION);
}

static int vmgenid_describe(struct dev *d, struct aml *a)
{
	const struct vmgenid *g = vmgenid_of(d);

	aml_device(a, "VGEN");
	aml_name(a, "_HID");
	aml_str(a, HID);
	aml_name(a, "_CID");
	aml_str(a, CID);
	aml_name(a, "_DDN");
	aml_str(a, CID);
	aml_name(a, "ADDR");
	aml_package(a, 2);
	aml_int(a, (uint32_t)g->page);
	aml_int(a, g->page >> 32);
	aml_end(a);
	aml_method(a, "VGNT", 0, false);
	aml_op(a, AML_NOTIFY);
	aml_path(a, "\\_SB_.VGEN");
	aml_int(a, CHANGED);
	aml_end(a);
	aml_end(a);
	return 0;
}

static const struct field counter_fields[] = {
	S(struct vmgenid_counters, changes, .doc = "times that the guest was given another one"),
};
static const struct desc counter_rows =
	DESC_OF(struct vmgenid_counters, counter_fields, "vmgenid counters");

const struct fixed_class vmgenid_class = {
	.dev = {
		.name = "vmgenid",
		.size = sizeof(struct vmgenid),
		.counters = &counter_rows,
		.counters_off = offsetof(struct vmgenid, n),
		.init = vmgenid_init,
		.resume = vmgenid_resume,
		.describe = vmgenid_describe,
		.plug = &fixed_plug,
	},
};
