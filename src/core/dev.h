/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices: the class that describes a kind, the instance, the board it is plugged into, and the one
 * road in and out. A device never sees the VM: all it may reach is its board, and what it has to
 * say upward it says through board->up. Adding and removing is for the control thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/desc.h"
#include "base/err.h"
#include "base/list.h"
#include "core/bus.h"
#include "core/dma.h"
#include "core/irq.h"

struct hv_vm;
struct loop;
struct pci_host; /* pci/seg.h */
struct aml;	 /* fw/acpi.h */
struct json;
struct dev;

/* What a guest asked for through a device. */
enum board_wish { WISH_RESET, WISH_SHUTDOWN };

/* Upward talk: handed down by vm/. Any thread; they post and return. */
struct board_up {
	void (*wish)(void *arg, enum board_wish w);
	/* an event for machines, see base/event: ("virtio-device", "activated", id) */
	void (*event)(void *arg, const char *source, const char *name, const char *id);
	/* the guest is to be paused, until somebody lets it go on; may be NULL */
	void (*pause)(void *arg);
	/* the guest says that it has crashed, and how; it goes on; may be NULL */
	void (*panic)(void *arg, const char *how);
	/* the guest has let go of a device that it was asked for, see dev/pcihp.h; may be NULL */
	void (*let_go)(void *arg);
	/* a processor that the guest was asked for has left, see dev/cpuhp.h: it is told to end
	 * before this returns; may be NULL */
	void (*cpu_left)(void *arg, uint32_t cpu);
	void *arg;
};

/* All that a device may reach. Made by vm/, borrowed by every device. */
struct board {
	struct gmem *mem;
	struct bus *pio, *mmio;
	struct irqs *irqs;
	struct dma dma;	     /* of those that stand behind no IOMMU */
	struct iommu *iommu; /* NULL: the machine has none */
	struct hv_vm *hv;
	struct pci_host *pci;
	struct loop *io;  /* the shared loop of quiet devices */
	struct loop *ctl; /* the control loop; devices' loops post to it and never wait for it */
	struct board_up up;
	/* 16 bytes, borrowed: another number whenever a saved machine goes on, see dev/vmgenid.h; NULL:
	 * none is told */
	const uint8_t *generation;
	/* for resume(): how much the guest's clocks have gone on while it stood. 0 but after a restore:
	 * else they stand too */
	uint64_t passed_ns;
	uint64_t born_ns;  /* when board_init was called, CLOCK_MONOTONIC */
	struct link devs;  /* struct dev, in order of adding */
	struct link rates; /* struct rate of groups, core/rate.h */
	struct link
		*kept; /* listeners from the machine before and for the next; NULL: none is kept */
	bool ends;     /* all devices go: what serves a listener leaves it in `kept` */
	/* while a saved machine is made: the list of its devices, where dev_add finds each its own
	 * (core/snap.h), borrowed; else NULL */
	const struct json *saved;
	/* A rehearsal: devices come as they would for good, but nothing outside the board is taken, made
	 * or changed (no lock, socket, interface, thread), and who cannot come is told of here, which
	 * empties e, while the others still do. NULL: it is for good. */
	void (*refused)(void *arg, struct err *e);
	void *refused_arg;
};
void board_init(struct board *b);
/* What a failure comes to: -1, or 0 where it is a rehearsal, which takes note of it. */
MUST int board_refuse(struct board *b, struct err *e);

/* How a device meets the machine: on a PCI slot, at fixed ports, at an MMIO address. */
struct dev_args;
struct plug {
	const char *name;
	/* before init: slot, vectors, place. Sets d->plug. */
	int (*claim)(struct dev *d, const struct dev_args *a, struct err *e);
	/* after init: onto the buses. */
	int (*in)(struct dev *d, struct err *e);
	/* the way back from in, then from claim; each is called once if its half succeeded */
	void (*out)(struct dev *d);
	void (*unclaim)(struct dev *d);
	/* saved state of the plug itself, at state(d); NULL = none. before_save gathers, after_load
	 * applies. */
	const struct desc *state;
	void *(*state_at)(struct dev *d);
	void (*before_save)(struct dev *d);
	int (*after_load)(struct dev *d, struct err *e);
};

struct dev_class {
	const char *name;	  /* JSON key, log tag */
	const struct desc *conf;  /* what a user may say of it; NULL = nothing */
	const struct desc *state; /* what a snapshot says of it; NULL = stateless */
	size_t size;		  /* of the instance; struct dev is its first member */
	size_t state_off;	  /* of the state struct in the instance */
	int (*init)(struct dev *d, struct err *e);    /* conf set; state filled iff d->restored */
	int (*quiesce)(struct dev *d, struct err *e); /* after: nothing in flight */
	/* before its state is saved, which is after quiesce: puts into it what others hold for the
	 * device; may wait. NULL: nobody does */
	int (*gather)(struct dev *d, struct err *e);
	void (*resume)(
		struct
		dev *d); /* after quiesce; and after a restored machine is whole, which is born quiet */
	void (*fini)(struct dev *d);		       /* once init returned 0, and only then */
	void (*reset)(struct dev *d);		       /* NULL: a reboot rebuilds the device */
	int (*describe)(struct dev *d, struct aml *a); /* its AML; NULL = none */
	const struct plug *plug;
	const char *profile; /* name of its loops' system-call filter */
	/* What vm.counters and metrics tell of it: a struct of uint64_t and its rows; NULL = nothing.
	 * It lies in the instance at counters_off, each number as base/counter.h wants it, unless
	 * count() gathers it. Control thread; never waits. */
	const struct desc *counters;
	size_t counters_off;
	void (*count)(struct dev *d, void *out);
};

struct dev {
	const struct dev_class *class;
	char *id;
	struct board *board;
	struct dma dma;	  /* its way to memory: the board's, until the plug says other */
	const void *conf; /* a copy of the args' by class->conf; without that, theirs */
	void *plug;	  /* what the plug made */
	/* How far it has come: always DEV_IN on the board's list, but in a rehearsal, where those who
	 * cannot come stay on it. */
	enum dev_step { DEV_MADE, DEV_CLAIMED, DEV_READY, DEV_IN } step;
	bool restored;
	struct link link;
};

/* The caller's wishes; zeros mean "choose". */
struct dev_args {
	const char *id; /* required, unique */
	const void *
		conf; /* described by class->conf, or a platform struct the class names in its header */
	const struct json
		*saved; /* {"state":…,"plug":…}; NULL: what the board has of it, if that is saved */
	uint16_t segment;
	int slot;   /* PCI slot, -1 = next free */
	bool bar32; /* put the BAR below 4 GiB */
	bool iommu; /* stand behind the board's IOMMU */
};

/* The only road in. On failure nothing is left. out may be NULL; else *out is there, or, on a board
 * that rehearses, NULL. */
MUST int dev_add(struct dev **out, struct board *b, const struct dev_class *c,
		 const struct dev_args *a, struct err *e);
/* The only road out. */
void dev_remove(struct dev *d);
/* All of them, last added first; the board ends. */
void dev_remove_all(struct board *b);
struct dev *dev_find(struct board *b, const char *id);
/* Number of rows in class->counters, and their values into out; waits for nobody. */
uint32_t dev_counters(const struct dev_class *c);
void dev_count(struct dev *d, uint64_t *out);

/* core/snap: {"id","class","v","state","plug"} of one device; the caller puts it. */
struct json *dev_save(struct dev *d);
