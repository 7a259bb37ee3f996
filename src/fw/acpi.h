/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writer of ACPI tables: fixed tables with header and checksum, and AML byte code. Which tables
 * a machine has is arch's business; which node a device has is its describe(). Append only: a
 * block (scope, device, method, package, if) is opened, filled, and closed by aml_end, which
 * writes its length in front.
 *
 *	aml_device(a, "COM1");
 *	aml_name(a, "_HID"); aml_eisa(a, "PNP0501");
 *	aml_name(a, "_CRS"); aml_resources(a);
 *		aml_res_irq(a, 4, AML_IRQ_EDGE);
 *		aml_res_io(a, 0x3f8, 8);
 *	aml_end(a);
 *	aml_end(a);
 *
 * One thread per builder. Mistakes of the caller (names of a wrong length, blocks left open) are
 * asserted; nothing here reads foreign bytes. ACPI 6.5 chapters 5 (tables), 6.4 (resources), 20
 * (AML).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AML_DEPTH 16

/* A growing run of bytes. Zero-initialise to make one. */
struct aml {
	uint8_t *bytes;
	size_t len, room;
	unsigned int depth;
	struct {
		size_t at;	/* first byte behind the place of the length */
		bool resources; /* a buffer of resources: has its size in front too */
	} open[AML_DEPTH];
};
void aml_fini(struct aml *a);

/* Plain bytes, for fixed tables. Little-endian. */
void aml_raw(struct aml *a, const void *p, size_t n);
void aml_zeros(struct aml *a, size_t n);
void aml_u8(struct aml *a, uint8_t v);
void aml_u16(struct aml *a, uint16_t v);
void aml_u32(struct aml *a, uint32_t v);
void aml_u64(struct aml *a, uint64_t v);
#define ACPI_SPACE_MEMORY 0
#define ACPI_SPACE_PORT 1
/* ACPI's generic address; width in bits. */
void aml_gas(struct aml *a, uint8_t space, uint8_t bits, uint64_t addr);

/* Begins a table (36 bytes of header) at the present end; returns where. acpi_table_end fills in
 * length and checksum. */
size_t acpi_table(struct aml *a, const char *signature, uint8_t revision, const char *oem,
		  const char *oem_table);
void acpi_table_end(struct aml *a, size_t start);
/* Byte that makes the sum of all n zero. */
uint8_t acpi_checksum(const void *p, size_t n);

/* Blocks; each is closed by aml_end. Names have four characters, paths are "\\_SB_.PC00" or
 * "^^GDAT". */
void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *name);
void aml_processor_device(struct aml *a, uint32_t index); /* named C000, C001, ... in hex */
void aml_method(struct aml *a, const char *name, uint8_t args, bool serialized);
void aml_package(struct aml *a, uint8_t elements);
void aml_if(struct aml *a);	   /* the condition follows, then the statements */
void aml_while(struct aml *a);	   /* the same */
void aml_resources(struct aml *a); /* value of a _CRS */
void aml_end(struct aml *a);

/* Name (xxxx, value): the value follows. */
void aml_name(struct aml *a, const char *name);
/* Values. */
void aml_int(struct aml *a, uint64_t v);
void aml_str(struct aml *a, const char *s);
void aml_buffer(struct aml *a, const void *p, uint8_t n);
void aml_eisa(struct aml *a, const char *id);	/* "PNP0A08" */
void aml_path(struct aml *a, const char *path); /* a name read, or a method called */
void aml_processor_path(struct aml *a, uint32_t index);
void aml_arg(struct aml *a, uint8_t n);
void aml_local(struct aml *a, uint8_t n);

/* Statements and operators; operands follow in order. §20.2.5 */
enum aml_op {
	AML_NOWHERE = 0x00,    /* none: in the place of a target */
	AML_STORE = 0x70,      /* what, where */
	AML_ADD = 0x72,	       /* left, right, where */
	AML_SUBTRACT = 0x74,   /* the same */
	AML_SHIFT_LEFT = 0x79, /* what, by how much, where */
	AML_AND = 0x7b,	       /* left, right, where */
	AML_NOTIFY = 0x86,     /* whom, code */
	AML_EQUAL = 0x93,      /* left, right */
	AML_LESS = 0x95,       /* the same */
	AML_RETURN = 0xa4,     /* what */
};
void aml_op(struct aml *a, enum aml_op op);
/* Methods that must not mix: the mutex is declared once, then taken and given back by its path. */
void aml_mutex(struct aml *a, const char *name);
void aml_acquire(struct aml *a, const char *path); /* waits for ever */
void aml_release(struct aml *a, const char *path);

/* Memory or port region with one field: OperationRegion (region) and Field with name of bits at
 * its start. */
void aml_region(struct aml *a, const char *region, uint8_t space, uint64_t base, uint64_t len);
void aml_field(struct aml *a, const char *region, uint8_t access_bytes, const char *name,
	       uint8_t bits);

/* The same with fields one behind the other: aml_fields, a unit each (without a name: bits that are
 * passed over), aml_end. */
void aml_fields(struct aml *a, const char *region, uint8_t access_bytes);
void aml_unit(struct aml *a, const char *name, uint32_t bits);

/* Inside a method: eight bytes of a buffer as a name. */
void aml_qword_field(struct aml *a, const char *buffer, uint32_t at, const char *name);

/* Resources, inside aml_resources. */
enum aml_irq { AML_IRQ_EDGE, AML_IRQ_LEVEL_SHARED };
void aml_res_irq(struct aml *a, uint32_t gsi, enum aml_irq how);
void aml_res_io(struct aml *a, uint16_t port, uint8_t len);
void aml_res_memory32(struct aml *a, uint32_t base, uint32_t len);
void aml_res_ram64(struct aml *a, uint64_t base, uint64_t len); /* the same, cacheable */
void aml_res_memory64(struct aml *a, uint64_t base, uint64_t len);
void aml_res_bus(struct aml *a, uint16_t first, uint16_t last);
void aml_res_ports(struct aml *a, uint16_t first, uint16_t last); /* produced by a bridge */
void aml_res_window32(struct aml *a, uint32_t base, uint32_t len);
void aml_res_window64(struct aml *a, uint64_t base, uint64_t len);
