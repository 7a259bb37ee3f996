/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The roster. See roster.h.
 */
#include "vm/roster.h"

#include <stddef.h>

#include "chip/ioapic.h"
#include "dev/balloon.h"
#include "dev/blk.h"
#include "dev/cmos.h"
#include "dev/cpuhp.h"
#include "dev/debugport.h"
#include "dev/fwcfg.h"
#include "dev/ged.h"
#include "dev/i8042.h"
#include "dev/ivshmem.h"
#include "dev/memhp.h"
#include "dev/net.h"
#include "dev/pcihp.h"
#include "dev/pmem.h"
#include "dev/pvmemcontrol.h"
#include "dev/pvpanic.h"
#include "dev/rng.h"
#include "dev/rtc.h"
#include "dev/serial.h"
#include "dev/tpm.h"
#include "dev/vcon.h"
#include "dev/viommu.h"
#include "dev/vmem.h"
#include "dev/vmgenid.h"
#include "dev/vsock.h"
#include "dev/watchdog.h"
#include "pci/root.h"

/* clang-format off */
const struct dev_class *const roster[] = {
	&pci_root_class,
	&ioapic_class.dev,
	&cmos_class.dev,
	&debugport_class.dev,
	&ged_class.dev,
	&fwcfg_class.dev,
	&pcihp_class.dev,
	&cpuhp_class.dev,
	&memhp_class.dev,
	&vmgenid_class.dev,
	&i8042_class.dev,
	&serial_class.dev,
	&tpm_class.dev,
	&blk_class.dev,
	&net_class.dev,
	&rng_class.dev,
	&vcon_class.dev,
	&vmem_class.dev,
	&balloon_class.dev,
	&viommu_class.dev,
	&vsock_class.dev,
	&pmem_class.dev,
	&watchdog_class.dev,
	&rtc_class.dev,
	&pvmemcontrol_class.dev,
	&pvpanic_class.dev,
	&ivshmem_class.dev,
	NULL,
};
