/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of devices that are there. See change.h.
 */
#include "vm/change.h"

#include <string.h>

#include "base/mem.h"
#include "dev/balloon.h"
#include "dev/blk.h"
#include "dev/net.h"
#include "vm/machine.h"

/* Limits of nothing are none. A configuration's are replaced, and freed. */
static void keep_limits(struct rate_limiter_conf **kept, struct rate_limiter_conf **asked)
{
	struct rate_limiter_conf *old = *kept;

	*kept = take(asked);
	if (old)
		desc_free(&rate_limiter_desc, old);
	free(old);
}

static int refuse_name(const char *what, const char *id, struct err *e)
{
	return err_set(e, ERR_ABSENT, "there is no %s %s", what, id);
}

/* The device of that name and class, or NULL. */
static struct dev *find(struct machine *m, const struct dev_class *class, const char *id)
{
	struct dev *d = m ? dev_find(machine_board(m), id) : NULL;

	return d && d->class == class ? d : NULL;
}

int change_reclaim(struct machine *m, struct err *e)
{
	struct dev *d;

	list_each (l, &machine_board(m)->devs) {
		d = container_of(l, struct dev, link);
		if (d->class == &balloon_class.dev)
			return balloon_reclaim(d, e);
	}
	return err_set(e, ERR_ABSENT, "this machine has no balloon: say --balloon");
}

int change_disk_size(struct machine *m, const struct resize_disk_conf *w, struct err *e)
{
	struct dev *d = find(m, &blk_class.dev, w->id);

	if (!d)
		return refuse_name("disk", w->id, e);
	return blk_resize(d, w->desired_size, e) < 0 ? err_in(e, "disk %s", w->id) : 0;
}

int change_disk(struct vm_conf *c, struct machine *m, struct change_disk_conf *w, struct err *e)
{
	struct dev *d = find(m, &blk_class.dev, w->id);

	for (uint32_t i = 0; i < c->disks.count; i++) {
		struct disk_conf *disk = &c->disks.items[i];

		if (!disk->id || strcmp(disk->id, w->id) != 0)
			continue;
		if (!w->rate_limiter_config)
			return 0;
		if (disk->rate_limit_group)
			return err_set(e, ERR_BAD, "disk %s is limited by its group", w->id);
		if (d && blk_limit(d, w->rate_limiter_config, e) < 0)
			return -1;
		keep_limits(&disk->rate_limiter_config, &w->rate_limiter_config);
		return 0;
	}
	return refuse_name("disk", w->id, e);
}

int change_net(struct vm_conf *c, struct machine *m, struct change_net_conf *w, struct err *e)
{
	struct dev *d = find(m, &net_class.dev, w->id);

	for (uint32_t i = 0; i < c->net.count; i++) {
		struct net_conf *net = &c->net.items[i];

		if (!net->id || strcmp(net->id, w->id) != 0)
			continue;
		if (d && w->rate_limiter_config)
			net_limit(d, w->rate_limiter_config);
		if (w->rate_limiter_config)
			keep_limits(&net->rate_limiter_config, &w->rate_limiter_config);
		if (!conf_said(change_net, w, link))
			return 0;
		net->link = w->link;
		if (d)
			net_plug(d, w->link);
		return 0;
	}
	return refuse_name("network card", w->id, e);
}
