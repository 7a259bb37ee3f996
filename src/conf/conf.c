/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of all options, made from the rows in *.def, and the few values whose text is their
 * own: addresses of cards, virtio device types. What relates members of one table is a fix function
 * here; what relates options is in conf/check. Any thread; no state.
 */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "base/str.h"

#define MAC_FIRST 0x2e /* of addresses made here: of one card, locally administered */

static int mac_parse(void *member, const char *text, struct err *e)
{
	uint8_t *mac = member;
	char hex[13] = "";
	bool good = strlen(text) == 17;

	for (unsigned int i = 0; good && i < 17; i++) {
		if (i % 3 == 2)
			good = text[i] == ':';
		else
			hex[i - i / 3] = text[i];
	}
	if (!good || str_unhex(mac, 6, hex, e))
		return err_set(e, ERR_BAD, "'%s' is not an address like 12:34:56:78:9a:bc", text);
	if (!conf_has_mac(mac))
		return err_set(e, ERR_BAD, "an address of zeros names no card");
	if (mac[0] & 1)
		return err_set(e, ERR_BAD,
			       "'%s' is the address of a group: its first byte must be even", text);
	return 0;
}

static void mac_print(const void *member, struct str *out)
{
	const uint8_t *m = member;

	str_add(out, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static bool mac_absent(const void *member)
{
	return !conf_has_mac(member);
}

static const struct desc_text mac_text = {
	.what = "<mac>",
	.parse = mac_parse,
	.print = mac_print,
	.absent = mac_absent,
};

/* virtio 1.3 §5: names of device types, and a few that are not in it yet. */
static const struct {
	const char *name;
	uint8_t type;
} device_types[] = {
	{ "net", 1 },
	{ "block", 2 },
	{ "console", 3 },
	{ "rng", 4 },
	{ "balloon", 5 },
	{ "iomem", 6 },
	{ "rpmsg", 7 },
	{ "scsi", 8 },
	{ "9p", 9 },
	{ "mac80211_wlan", 10 },
	{ "rproc_serial", 11 },
	{ "caif", 12 },
	{ "memory_balloon", 13 },
	{ "gpu", 16 },
	{ "clock", 17 },
	{ "input", 18 },
	{ "vsock", 19 },
	{ "crypto", 20 },
	{ "signal_dist", 21 },
	{ "pstore", 22 },
	{ "iommu", 23 },
	{ "mem", 24 },
	{ "sound", 25 },
	{ "fs", 26 },
	{ "pmem", 27 },
	{ "rpmb", 28 },
	{ "mac80211_hwsim", 29 },
	{ "video_encoder", 30 },
	{ "video_decoder", 31 },
	{ "scmi", 32 },
	{ "nitro_sec_mod", 33 },
	{ "i2c", 34 },
	{ "watchdog", 35 },
	{ "can", 36 },
	{ "dmabuf", 37 },
	{ "param_serv", 38 },
	{ "audio_policy", 39 },
	{ "bt", 40 },
	{ "gpio", 41 },
	{ "rdma", 42 },
	{ "camera", 43 },
	{ "ism", 44 },
	{ "spi", 45 },
	{ "tee", 46 },
	{ "cpu_balloon", 47 },
	{ "media", 48 },
	{ "usb", 49 },
};

static int device_type_parse(void *member, const char *text, struct err *e)
{
	uint32_t *type = member;
	uint64_t n;

	for (size_t i = 0; i < ARRAY_LEN(device_types); i++) {
		if (!strcmp(device_types[i].name, text)) {
			*type = device_types[i].type;
			return 0;
		}
	}
	if (str_to_uint(&n, text, e) || n > UINT32_MAX)
		return err_set(e, ERR_BAD, "'%s' is neither a number nor a virtio device type",
			       text);
	*type = (uint32_t)n;
	return 0;
}

static const struct desc_text device_type_text = {
	.what = "<type>",
	.cli_only = true,
	.parse = device_type_parse,
};

/* As many vCPUs as there are at the start, unless more were asked for. */
static int cpus_fix(void *obj, struct err *e)
{
	struct cpus_conf *c = obj;

	(void)e;
	if (!conf_said(cpus, c, max_vcpus))
		c->max_vcpus = c->boot_vcpus;
	return 0;
}

static int pick_mode(enum console_mode *mode, bool said, bool file, bool socket, struct err *e)
{
	if (file && socket)
		return err_set(e, ERR_BAD, "a file and a socket: say one");
	/* of a pty the file is where it was, when its VM told */
	if (said && (file || socket) && *mode != CONSOLE_FILE && *mode != CONSOLE_SOCKET &&
	    !(file && *mode == CONSOLE_PTY))
		return err_set(e, ERR_BAD, "a %s and another place for the text: say one",
			       file ? "file" : "socket");
	if (!said && file)
		*mode = CONSOLE_FILE;
	if (!said && socket)
		*mode = CONSOLE_SOCKET;
	return 0;
}

/* file= and socket= say the mode too. */
static int console_fix(void *obj, struct err *e)
{
	struct console_conf *c = obj;

	if (pick_mode(&c->mode, conf_said(console, c, mode), c->file, c->socket, e))
		return -1;
	if (c->file || c->socket)
		c->set |= 1ull << ROW_console_mode;
	return 0;
}

static int debug_console_fix(void *obj, struct err *e)
{
	struct debug_console_conf *c = obj;

	if (pick_mode(&c->mode, conf_said(debug_console, c, mode), c->file, false, e))
		return -1;
	if (c->file)
		c->set |= 1ull << ROW_debug_console_mode;
	return 0;
}

/* The same of another place: nothing said is nothing changed. */
static int console_override_fix(void *obj, struct err *e)
{
	struct console_override_conf *c = obj;

	if (pick_mode(&c->mode, conf_said(console_override, c, mode), c->file, c->socket, e))
		return -1;
	if (c->file || c->socket)
		c->set |= 1ull << ROW_console_override_mode;
	return 0;
}

static int debug_console_override_fix(void *obj, struct err *e)
{
	struct debug_console_override_conf *c = obj;

	if (pick_mode(&c->mode, conf_said(debug_console_override, c, mode), c->file, false, e))
		return -1;
	if (c->file)
		c->set |= 1ull << ROW_debug_console_override_mode;
	return 0;
}

static int one_end(bool path, bool fd, struct err *e)
{
	if (path == fd)
		return err_set(e, ERR_BAD, "say either path or fd");
	return 0;
}

static int api_socket_fix(void *obj, struct err *e)
{
	struct api_socket_conf *c = obj;

	return one_end(c->path, conf_said(api_socket, c, fd), e);
}

static int event_monitor_fix(void *obj, struct err *e)
{
	struct event_monitor_conf *c = obj;

	return one_end(c->path, conf_said(event_monitor, c, fd), e);
}

static int restored_net_fix(void *obj, struct err *e)
{
	struct restored_net_conf *c = obj;

	(void)e;
	if (c->fds.count)
		c->num_fds = (uint16_t)c->fds.count;
	return 0;
}

const struct desc resource_desc = {
	.name = "Resource",
	.doc = "an address or an interrupt: one key, its kind",
	.values = &(const struct field){ .type = D_JSON },
};

const struct desc device_tree_desc = {
	.name = "DeviceTree",
	.doc = "devices by their names",
	.values = &(const struct field){ .sub = &device_node_desc },
};

static const struct desc dev_counters_desc = {
	.name = "DeviceCounters",
	.doc = "counters of a device by their names",
	.values = &(const struct field){ .type = D_UINT, .width = 8 },
};

const struct desc counters_desc = {
	.name = "VmCounters",
	.doc = "counters of devices by the names of these",
	.values = &(const struct field){ .sub = &dev_counters_desc },
};

void conf_default(struct vm_conf *c)
{
	desc_default(&vm_desc, c);
}

void conf_free(struct vm_conf *c)
{
	desc_free(&vm_desc, c);
}

void conf_copy(struct vm_conf *to, const struct vm_conf *from)
{
	desc_copy(&vm_desc, to, from);
}

/* Where the devices of a kind lie. */
struct kind {
	const char *name, *prefix;
	char *first; /* first struct */
	uint32_t count;
	size_t size, id_off, segment_off, slot_off;
	size_t iommu_off; /* 0: never behind an IOMMU */
	unsigned int slot_row;
};

#define KIND_AT(kind_, option, prefix_, first_, count_, iommu_off_)                                \
	{                                                                                          \
		.name = (option), .prefix = (prefix_), .first = (char *)(uintptr_t)(first_),       \
		.count = (count_), .size = sizeof(struct kind_##_conf),                            \
		.id_off = offsetof(struct kind_##_conf, id),                                       \
		.segment_off = offsetof(struct kind_##_conf, pci_segment),                         \
		.slot_off = offsetof(struct kind_##_conf, pci_device_id),                          \
		.slot_row = ROW_##kind_##_pci_device_id, .iommu_off = (iommu_off_)                 \
	}
#define KIND(kind_, option, prefix_, first_, count_)                                               \
	KIND_AT(kind_, option, prefix_, first_, count_, offsetof(struct kind_##_conf, iommu))
/* those of NO_IOMMU */
#define KIND_FREE(kind_, option, prefix_, list)                                                    \
	KIND_AT(kind_, option, prefix_, (list).items, (list).count, 0)
#define KIND_LIST(kind_, option, prefix_, list)                                                    \
	KIND(kind_, option, prefix_, (list).items, (list).count)
#define KIND_ONE(kind_, option, prefix_, object)                                                   \
	KIND(kind_, option, prefix_, object, (object) ? 1 : 0)

static struct conf_dev dev_of(const struct kind *k, uint32_t i)
{
	char *at = k->first + i * k->size;
	struct conf_dev d = {
		.kind = k->name,
		.prefix = k->prefix,
		.index = i,
		.conf = at,
		.id = (char **)(void *)(at + k->id_off),
		.slot = -1,
		.slot_at = (uint8_t *)at + k->slot_off,
		.slot_row = k->slot_row,
	};
	uint64_t set;

	memcpy(&set, at, sizeof(set)); /* the first member of each */
	memcpy(&d.segment, at + k->segment_off, sizeof(d.segment));
	if (k->iommu_off)
		d.iommu = *(bool *)(at + k->iommu_off);
	if (set >> k->slot_row & 1)
		d.slot = *(uint8_t *)(at + k->slot_off);
	return d;
}

void conf_keep_slot(const struct conf_dev *d, uint8_t slot)
{
	uint64_t *set = (uint64_t *)(uintptr_t)d->conf; /* the first member of each */

	*set |= 1ull << d->slot_row;
	*d->slot_at = slot;
}

uint32_t conf_devs(struct conf_dev **out, const struct vm_conf *c)
{
	const struct kind kinds[] = {
		KIND(console, "console", NULL, &c->console, c->console.mode == CONSOLE_OFF ? 0 : 1),
		KIND_LIST(disk, "disk", "_disk", c->disks),
		KIND_LIST(net, "net", "_net", c->net),
		KIND(rng, "rng", NULL, &c->rng, 1),
		KIND_FREE(generic_vhost_user, "generic-vhost-user", "_generic_vhost_user",
			  c->generic_vhost_user),
		KIND_FREE(fs, "fs", "_fs", c->fs),
		KIND_LIST(pmem, "pmem", "_pmem", c->pmem),
		KIND_ONE(vsock, "vsock", "_vsock", c->vsock),
		KIND_ONE(balloon, "balloon", NULL, c->balloon),
		KIND_LIST(vdpa, "vdpa", "_vdpa", c->vdpa),
		KIND_ONE(rtc, "rtc", NULL, c->rtc),
		KIND_LIST(device, "device", "_vfio", c->devices),
		KIND_FREE(user_device, "user-device", "_vfio_user", c->user_devices),
		KIND_AT(ivshmem, "ivshmem", NULL, c->ivshmem, c->ivshmem ? 1 : 0, 0),
	};
	uint32_t n = 0;

	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		n += kinds[k].count;
	*out = mem_array(n, sizeof(**out));
	n = 0;
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (uint32_t i = 0; i < kinds[k].count; i++)
			(*out)[n++] = dev_of(&kinds[k], i);
	return n;
}

void conf_make_iommu(struct vm_conf *c)
{
	AUTO_FREE struct conf_dev *devs = NULL;
	uint32_t n = conf_devs(&devs, c);

	c->iommu |= c->platform && c->platform->iommu_segments.count;
	for (uint32_t i = 0; i < n; i++)
		c->iommu |= devs[i].iommu;
}

static bool id_taken(const struct conf_dev *devs, uint32_t count, const char *id)
{
	for (uint32_t i = 0; i < count; i++)
		if (*devs[i].id && !strcmp(*devs[i].id, id))
			return true;
	return false;
}

void conf_make_ids(struct vm_conf *c, uint32_t *next)
{
	AUTO_FREE struct conf_dev *devs = NULL;
	uint32_t n = conf_devs(&devs, c);

	for (uint32_t i = 0; i < n; i++) {
		while (devs[i].prefix && !*devs[i].id) {
			AUTO_FREE char *name = mem_fmt("%s%u", devs[i].prefix, (*next)++);

			if (!id_taken(devs, n, name))
				*devs[i].id = take(&name);
		}
	}
}

int conf_make_mac(uint8_t mac[6], struct err *e)
{
	if (getrandom(mac, 6, 0) != 6)
		return err_os(e, ERR_IO, "make up an Ethernet address");
	mac[0] = MAC_FIRST;
	return 0;
}

int conf_make_macs(struct vm_conf *c, struct err *e)
{
	for (uint32_t i = 0; i < c->net.count; i++)
		if (!conf_has_mac(c->net.items[i].mac) && conf_make_mac(c->net.items[i].mac, e))
			return -1;
	return 0;
}

/* the words */
#define ENUM_BEGIN static const char *const CONF_CAT(CONF_T, _names)[] = {
#define VALUE(constant, json, cli) [constant] = (json),
#define ENUM_END                                                                                   \
	NULL                                                                                       \
	}                                                                                          \
	;
#include "conf/enums.def"
#undef ENUM_BEGIN
#undef VALUE
#define ENUM_BEGIN static const char *const CONF_CAT(CONF_T, _cli)[] __attribute__((unused)) = {
#define VALUE(constant, json, cli) [constant] = (cli),
#include "conf/enums.def"
#undef ENUM_BEGIN
#undef VALUE
#undef ENUM_END

/* the rows, and the tables around them */
#define OF_T(name) (((struct CONF_CAT(CONF_T, _conf) *)0)->name)
#define ROW(name_)                                                                                 \
	.key = #name_, .off = offsetof(struct CONF_CAT(CONF_T, _conf), name_),                     \
	.size = sizeof(OF_T(name_))
#define TABLE(kind, schema, rows, ...)                                                             \
	const struct desc CONF_CAT(                                                                \
		kind, _desc) = { .name = (schema),                                                 \
				 .fields = (rows),                                                 \
				 .count = sizeof(rows) / sizeof((rows)[0]),                        \
				 .size = sizeof(struct CONF_CAT(CONF_T, _conf)),                   \
				 .version = 1,                                                     \
				 .has_set = true,                                                  \
				 .set_off = offsetof(struct CONF_CAT(CONF_T, _conf), set),         \
				 __VA_ARGS__ }

#define CONF_VIEWS
#define STRUCT(...) static const struct field CONF_CAT(CONF_T, _rows)[] = {
#define VIEW(kind, ...) static const struct field CONF_CAT(kind, _rows)[] = {
#define FIELD(type_, name, ...)                                                                    \
	{ ROW(name), .width = (uint8_t)sizeof(OF_T(name)), .member = DESC_MEMBER(OF_T(name)),      \
	  __VA_ARGS__ },
#define LISTOF(type_, name, ...)                                                                   \
	{ ROW(name), .width = (uint8_t)sizeof(type_), .is_list = true,                             \
	  .member = DESC_MEMBER(*(type_ *)0), __VA_ARGS__ },
#define POINTER(type_, name, ...) { ROW(name), .is_pointer = true, __VA_ARGS__ },
#define BYTES(name, n, ...) { ROW(name), .width = (n), .type = D_HEX, __VA_ARGS__ },
#define END                                                                                        \
	}                                                                                          \
	;
#define VIEW_END(kind)                                                                             \
	}                                                                                          \
	;
#include "conf/all.def"
#undef STRUCT
#undef VIEW
#undef END
#undef VIEW_END
#undef FIELD
#undef LISTOF
#undef POINTER
#undef BYTES
#define STRUCT(schema, doc_, ...)                                                                  \
	TABLE(CONF_T, schema, CONF_CAT(CONF_T, _rows), .doc = doc_, __VA_ARGS__);
#define VIEW(kind, schema, doc_, ...)                                                              \
	TABLE(kind, schema, CONF_CAT(kind, _rows), .doc = doc_, __VA_ARGS__);
#define FIELD(...)
#define LISTOF(...)
#define POINTER(...)
#define BYTES(...)
#define END
#define VIEW_END(kind)
#include "conf/all.def"
