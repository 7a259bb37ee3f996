/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user may say, as structs: made from the rows in *.def, so that a member, its option, its
 * JSON key and its sentence are one line. A kind `x` has struct x_conf, the table x_desc and a
 * number ROW_x_<member> for each row. Rules between options are conf/check's, argv is conf/cli's.
 * Plain data: whoever holds a struct owns it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/desc.h"

#define CONF_CAT_(a, b) a##b
#define CONF_CAT(a, b) CONF_CAT_(a, b)
#define CONF_CAT3_(a, b, c) a##b##c
#define CONF_CAT3(a, b, c) CONF_CAT3_(a, b, c)

/* of options that only a build with D-Bus has */
#ifdef VIRGA_DBUS
#define UNLESS_DBUS 0
#else
#define UNLESS_DBUS F_UNBUILT
#endif

/* the words */
#define ENUM_BEGIN enum CONF_T {
#define VALUE(constant, json, cli) constant,
#define ENUM_END                                                                                   \
	}                                                                                          \
	;
#include "conf/enums.def"
#undef ENUM_BEGIN
#undef VALUE
#undef ENUM_END

/* the structs, and their tables by name */
#define STRUCT(...)                                                                                \
	extern const struct desc CONF_CAT(CONF_T, _desc);                                          \
	struct CONF_CAT(CONF_T, _conf) {                                                           \
		uint64_t set;
#define FIELD(type, name, ...) type name;
#define LISTOF(type, name, ...) LIST(type) name;
#define POINTER(type, name, ...) type *name;
#define BYTES(name, n, ...) uint8_t name[n];
#define END                                                                                        \
	}                                                                                          \
	;
#include "conf/all.def"
#undef STRUCT
#undef FIELD
#undef LISTOF
#undef POINTER
#undef BYTES
#undef END
extern const struct desc serial_desc; /* struct console_conf without its place on PCI */

/* Objects of any keys, of which there is no struct. */
extern const struct desc resource_desc;	   /* one key, the kind: whatever is to be said of it */
extern const struct desc device_tree_desc; /* name of a device: DeviceNode */
extern const struct desc counters_desc;	   /* name of a device: name of a counter: number */

/* the numbers of the rows */
#define CONF_ROW(name) CONF_CAT3(CONF_CAT(ROW_, CONF_T), _, name)
#define STRUCT(...) enum {
#define FIELD(type, name, ...) CONF_ROW(name),
#define LISTOF(type, name, ...) CONF_ROW(name),
#define POINTER(type, name, ...) CONF_ROW(name),
#define BYTES(name, n, ...) CONF_ROW(name),
#define END                                                                                        \
	CONF_CAT3(ROW_, CONF_T, _count)                                                            \
	}                                                                                          \
	;
#include "conf/all.def"
#undef STRUCT
#undef FIELD
#undef LISTOF
#undef POINTER
#undef BYTES
#undef END
#undef CONF_ROW

/* Was the optional member said? conf_said(disk, c, pci_device_id) */
#define conf_said(kind, c, member) ((c)->set >> ROW_##kind##_##member & 1)

/* The PCI slot that a device of any kind asks for, or -1. conf_slot(disk, c) */
#define conf_slot(kind, c) (conf_said(kind, c, pci_device_id) ? (int)(c)->pci_device_id : -1)

/* An address of all zeros was not said. */
static inline bool conf_has_mac(const uint8_t mac[6])
{
	return mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5];
}

/* Defaults into c, which is overwritten; c owns what it holds until conf_free. */
void conf_default(struct vm_conf *c);
void conf_free(struct vm_conf *c);
/* to is overwritten, not freed. */
void conf_copy(struct vm_conf *to, const struct vm_conf *from);

/* Where the name and the place of a device lie in its configuration, whatever its kind. */
struct conf_dev {
	const char *kind;   /* its option: "disk" */
	const char *prefix; /* of a name made for it: "_disk"; NULL where there is one at most */
	uint32_t index;	    /* among its kind */
	const void *conf;   /* its struct, borrowed */
	char **id;	    /* borrowed; *id is NULL without a name */
	uint16_t segment;
	int slot;	  /* -1 = any */
	bool iommu;	  /* behind the virtual IOMMU */
	uint8_t *slot_at; /* where the slot is said, and the row that says it */
	unsigned int slot_row;
};
/* All PCI devices in the order in which slots are given out; returns the count, the caller frees
 * *out. */
uint32_t conf_devs(struct conf_dev **out, const struct vm_conf *c);

/* From now on the device asks for that slot. */
void conf_keep_slot(const struct conf_dev *d, uint8_t slot);

/* Names each device that has none: _disk0, _net1, … by one counter over all kinds, from *next
 * on. A name that is taken already is passed over. */
void conf_make_ids(struct vm_conf *c, uint32_t *next);
/* A device behind an IOMMU, or a segment for such ones, makes one. */
void conf_make_iommu(struct vm_conf *c);
/* A random Ethernet address of a card, locally administered. */
MUST int conf_make_mac(uint8_t mac[6], struct err *e);
/* Gives each card that has none its address, which it then keeps when the guest reboots. */
MUST int conf_make_macs(struct vm_conf *c, struct err *e);
