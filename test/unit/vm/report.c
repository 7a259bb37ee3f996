/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about what is told of a machine (src/vm/report.c), on a board without a hypervisor. */
#include "conf/conf.h" /* first: its rows use T for themselves */
#include "test.h"

#include <string.h>

#include "base/json.h"
#include "dev/pvpanic.h"
#include "dev/rng.h"
#include "dev/serial.h"
#include "fakeboard.h"
#include "virtio/drive.h"
#include "vm/machine.h"
#include "vm/report.h"

int hv_ioevent(struct hv_vm *vm, int fd, uint64_t addr, bool is_port, uint32_t size, bool on,
	       struct err *e)
{
	(void)vm, (void)fd, (void)addr, (void)is_port, (void)size, (void)on, (void)e;
	return 0;
}

/* --- a machine that is a board and two vCPUs --- */

struct machine {
	struct rig r;
	struct vcpu vcpu[2];
};

struct board *machine_board(struct machine *m)
{
	return &m->r.b;
}
uint32_t machine_vcpus(const struct machine *m)
{
	(void)m;
	return 2;
}
struct vcpu *machine_vcpu(struct machine *m, uint32_t i)
{
	return &m->vcpu[i];
}

static void add(struct machine *m, const struct dev_class *c, const char *id, const void *conf)
{
	const struct dev_args a = { .id = id, .conf = conf, .slot = -1 };
	struct err e = { 0 };

	if (dev_add(&m->r.d, &m->r.b, c, &a, &e) < 0)
		fail_msg("%s", err_frame(&e, 0));
}

static void make(struct machine *m)
{
	static const struct serial_conf serial = { .at.place[0] = { FIXED_PIO, 0x3f8 }, .gsi = 4 };
	static struct rng_conf rng;

	*m = (struct machine){ .vcpu[1].counts = { .io = 7, .halt = 2 } };
	rig_init(&m->r);
	if (!rng.src)
		desc_default(&rng_desc, &rng);
	add(m, &serial_class.dev, "__serial", &serial);
	add(m, &pvpanic_class.dev, "__pvpanic", NULL);
	add(m, &rng_class.dev, "__rng", &rng);
}

TEST(counters_are_told_by_device_and_key)
{
	AUTO_JSON struct json *j = NULL;
	struct report r = { 0 };
	const struct json *rng;
	struct machine m;

	make(&m);
	drv_start(&m.r, 0);
	drv_desc(&m.r, 0, 0, BUF, 100, F_WRITE, 0);
	drv_offer(&m.r, 0, 0);
	drv_kick(&m.r, 0);
	rig_turn(&m.r, 4);
	report_look(&r, &m);
	j = report_counters(&r);
	rng = json_get(j, "__rng");
	assert_int_equal(json_int(json_get(rng, "read_bytes")), 100);
	assert_int_equal(json_int(json_get(rng, "read_ops")), 1);
	assert_int_equal(json_count(json_get(j, "__serial")), 2);
	assert_int_equal(r.vcpus, 2);
	assert_int_equal(r.vcpu[1].exits.io, 7);
	assert_int_equal(r.vcpu[1].exits.halt, 2);
	assert_int_equal(r.ram, RAM_SIZE);
	/* what was last known stays when the machine is gone */
	rig_fini(&m.r);
	json_put(j);
	j = report_counters(&r);
	assert_int_equal(json_int(json_get(json_get(j, "__rng"), "read_bytes")), 100);
	report_fini(&r);
	assert_int_equal(r.devs, 0);
}

TEST(the_tree_names_places_as_clients_know_them)
{
	const struct json *tree, *n, *bar;
	struct report r = { 0 };
	struct machine m;

	make(&m);
	assert_null(report_tree(&r));
	report_look_at_tree(&r, &m);
	tree = report_tree(&r);

	n = json_get(tree, "_virtio-pci-__rng");
	assert_string_equal(json_str(json_get(n, "pci_bdf")), "0000:00:02.0");
	assert_string_equal(json_str(json_at(json_get(n, "children"), 0)), "__rng");
	assert_null(json_get(n, "parent"));
	bar = json_get(json_at(json_get(n, "resources"), 0), "PciBar");
	assert_int_equal(json_int(json_get(bar, "index")), 0);
	assert_int_equal(json_int(json_get(bar, "size")), 512 << 10);
	assert_int_equal(json_int(json_get(bar, "base")), (int64_t)rig_bar(&m.r));
	assert_string_equal(json_str(json_get(bar, "type_")), "Mmio64");

	n = json_get(tree, "__rng");
	assert_string_equal(json_str(json_get(n, "parent")), "_virtio-pci-__rng");
	assert_int_equal(json_count(json_get(n, "resources")), 0);
	assert_int_equal(json_count(json_get(n, "children")), 0);

	n = json_get(tree, "__pvpanic");
	assert_string_equal(json_str(json_get(n, "pci_bdf")), "0000:00:01.0");

	n = json_get(json_at(json_get(json_get(tree, "__serial"), "resources"), 0),
		     "PioAddressRange");
	assert_int_equal(json_int(json_get(n, "base")), 0x3f8);
	assert_int_equal(json_int(json_get(n, "size")), 8);
	rig_fini(&m.r);
	report_fini(&r);
}

/* A vCPU may move a BAR for long. */
TEST(a_function_that_is_held_keeps_nobody_waiting)
{
	struct report r = { 0 };
	const struct json *n;
	struct machine m;

	make(&m);
	pthread_mutex_lock(&vpci_fn(m.r.d)->lock);
	report_look_at_tree(&r, &m);
	pthread_mutex_unlock(&vpci_fn(m.r.d)->lock);
	n = json_get(report_tree(&r), "_virtio-pci-__rng");
	assert_int_equal(json_count(json_get(n, "resources")), 0);
	assert_non_null(json_get(n, "pci_bdf"));
	rig_fini(&m.r);
	report_fini(&r);
}

TEST(memory_is_that_of_all_zones_and_of_the_machine_while_there_is_one)
{
	struct report r = { 0 };
	struct vm_conf c;
	struct memory_zone_conf z[2] = { { .size = MIB(64) }, { .size = MIB(128) } };

	conf_default(&c);
	assert_int_equal(report_memory(&r, &c), MIB(512));
	c.memory.hotplugged_size = MIB(32);
	assert_int_equal(report_memory(&r, &c), MIB(544));
	/* there is a machine */
	r.ram = MIB(256);
	r.balloon = MIB(6);
	assert_int_equal(report_memory(&r, &c), MIB(250));
	r.ram = 0;
	c.memory.hotplugged_size = 0;
	c.memory.size = 0;
	c.memory.zones.count = 2;
	c.memory.zones.items = z;
	assert_int_equal(report_memory(&r, &c), MIB(192));
	c.memory.zones.count = 0;
	c.memory.zones.items = NULL;
	conf_free(&c);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(counters_are_told_by_device_and_key),
		T(the_tree_names_places_as_clients_know_them),
		T(a_function_that_is_held_keeps_nobody_waiting),
		T(memory_is_that_of_all_zones_and_of_the_machine_while_there_is_one),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
