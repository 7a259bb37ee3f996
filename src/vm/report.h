/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of a machine by those who only look: counters of its devices and vCPUs, the tree of
 * its devices. A report is taken while the machine is in the control thread's hands, costs no wait,
 * and is kept: while a job has the machine it is what was last known. How it is said to a client
 * (JSON of vm.info and vm.counters here, OpenMetrics in api/metrics) comes later. Control thread.
 */
#pragma once

#include <stdint.h>

#include "conf/conf.h"
#include "core/dev.h"
#include "vm/vcpu.h"

struct json;
struct machine;

struct report_dev {
	const struct dev_class *class;
	char *id;
	uint64_t *n; /* a number per row of class->counters */
};

struct report_vcpu {
	struct vcpu_counts exits;
	uint64_t cpu_ns; /* time of a processor that its thread has used */
};

/* Addresses of ours at which guest RAM lies; nobody looks there. */
struct report_span {
	uintptr_t host;
	uint64_t size;
};

/* Zero-initialise to make one. */
struct report {
	uint32_t devs, vcpus, spans;
	struct report_dev *dev; /* in the order in which they were added */
	struct report_vcpu *vcpu;
	struct report_span *span;
	uint64_t ram;	   /* bytes of guest RAM that are laid out */
	uint64_t balloon;  /* of these, given back */
	struct json *tree; /* see report_tree */
};

/* Takes the numbers of now. */
void report_look(struct report *r, struct machine *m);
/* Takes the tree of now. A device whose registers a vCPU holds this very moment is told without its
 * addresses. */
void report_look_at_tree(struct report *r, struct machine *m);
/* Forgets everything. */
void report_fini(struct report *r);

/* vm.counters: {"_disk0":{"read_bytes":0,…},…}, of devices that count something. The caller puts
 * it. */
struct json *report_counters(const struct report *r);
/* vm.info's device_tree, as Cloud Hypervisor has it: a virtio device has a parent _virtio-pci-<id>
 * with its place on PCI and its BARs. Borrowed; NULL where none was taken. */
const struct json *report_tree(const struct report *r);
/* vm.info's memory_actual_size: bytes of RAM that the guest has, less what it gave back by the
 * balloon; without a machine, what the next one begins with. */
uint64_t report_memory(const struct report *r, const struct vm_conf *c);
