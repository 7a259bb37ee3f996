/* SPDX-License-Identifier: Apache-2.0 */
/* The rules between options: each case is a command line and what is said of it. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "conf/check.h"
#include "conf/cli.h"

#define WORDS_MAX 16

/* Reads "virga <line>", words parted by blanks, and judges it. */
static int judge(const char *line, struct err *e,
		 int (*check)(const struct vm_conf *, struct err *))
{
	char *copy = mem_str(line), *save = NULL;
	char *argv[WORDS_MAX] = { copy };
	struct cli c;
	int argc = 1, r;

	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		assert_true(argc < WORDS_MAX);
		argv[argc++] = w;
	}
	*e = (struct err){ 0 };
	if (cli_parse(&c, argc, argv, e)) {
		char text[400];

		fail_msg("%s: %s", line, err_line(e, text, sizeof(text)));
	}
	r = check(&c.vm, e);
	cli_free(&c);
	free(copy);
	return r;
}

static const char *const good[] = {
	"--kernel k",
	"--firmware f",
	"--kernel k --cpus boot=64 --memory size=4K",
	"--kernel k --cpus boot=8,max=8,topology=2:2:1:2",
	"--kernel k --memory size=1G,hugepages=on,hugepage_size=2M,shared=on",
	"--kernel k --cpus boot=2 --disk path=/a,num_queues=2,queue_size=4 path=/b,id=b,readonly=on",
	"--kernel k --cpus boot=2 --net tap=t,ip=10.0.0.1,mask=255.0.0.0 ip=fd00::1,mask=ffff:: fd=[3,4],num_queues=4",
	"--kernel k --net offload_tso=off,offload_ufo=off,offload_csum=off",
	"--kernel k --net stream=/s,mtu=9000,mac=52:54:00:00:00:01 fd=3",
	"--kernel k --serial pty,file=/dev/pts/3 --debug-console pty,file=/dev/pts/4",
	"--kernel k --console file=/a,pci_device_id=3 --serial tty --debug-console null --rng src=/dev/random",
	"--kernel k --platform serial_number=1,uuid=00112233445566778899aabbccddeeff,oem_strings=[a,b]",
	"--kernel k --platform num_pci_segments=96 --rng src=/r,pci_segment=95,pci_device_id=0",
	"--kernel k --platform num_pci_segments=2 --pci-segment pci_segment=1,mmio32_aperture_weight=3",
	"--kernel k --firmware f --fw-cfg-config items=[name=a,file=/a:name=b,string=c]",
	"--kernel k --disk path=/a,image_type=raw,lock_granularity=full,sparse=on,_disable_io_uring=on",
};

TEST(what_is_right_passes)
{
	struct err e;
	char text[400];

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (judge(good[i], &e, conf_check))
			fail_msg("%s: %s", good[i], err_line(&e, text, sizeof(text)));
}

struct a_case {
	const char *line, *sentence;
};

static const struct a_case broken[] = {
	{ "-v", "nothing to boot: say --kernel or --firmware" },
	{ "--kernel k --firmware f",
	  "--kernel and --firmware: say one, the firmware finds the kernel by itself" },
	{ "--kernel k --fw-cfg-config items=[name=a,file=/a,string=b]",
	  "--fw-cfg-config: an item has a file or a string: say one" },
	{ "--kernel k --cpus boot=2,max=1", "--cpus: max is below boot: raise it or leave it out" },
	{ "--kernel k --cpus boot=2,topology=1:1:1:1",
	  "--cpus: the numbers of topology, multiplied, must be max: change one of them" },
	{ "--kernel k --cpus boot=1,topology=65535:65535:65535:65535",
	  "--cpus: the numbers of topology, multiplied, must be max: change one of them" },
	{ "--kernel k --cpus boot=4,topology=4:1:1:1",
	  "--cpus: topology: a core has one thread or two" },
	{ "--kernel k --memory size=0", "--memory: size is 0: say how much the guest has" },
	{ "--kernel k --memory size=4097", "--memory: size is not a multiple of 4K: round it" },
	{ "--kernel k --memory size=40000G",
	  "--memory: size leaves no addresses for devices: lower it or raise --cpus max_phys_bits" },
	{ "--kernel k --memory shared=on,mergeable=on",
	  "--memory: shared memory can not be merged: say one of shared and mergeable" },
	{ "--kernel k --memory hugepage_size=2M", "--memory: hugepage_size needs hugepages=on" },
	{ "--kernel k --memory hugepages=on,hugepage_size=3M",
	  "--memory: hugepage_size is no size of a page: say a power of two above 4K" },
	{ "--kernel k --memory size=1M,hugepages=on,hugepage_size=2M",
	  "--memory: size is not a multiple of hugepage_size: round it" },
	{ "--kernel k --memory size=1G --memory-zone id=a,size=1G",
	  "--memory-zone: say --memory size=0 with it, the zones are all the memory" },
	{ "--kernel k --memory size=0 --memory-zone id=a,size=1",
	  "--memory-zone: size is not a multiple of 4K above 0: say one" },
	{ "--kernel k --memory size=0 --memory-zone id=a,shared=on,mergeable=on",
	  "--memory-zone: shared memory can not be merged: say one of shared and mergeable" },
	{ "--kernel k --memory size=0 --memory-zone id=a,hugepage_size=2M",
	  "--memory-zone: hugepage_size needs hugepages=on" },
	{ "--kernel k --memory size=0 --memory-zone id=a,hugepages=on,hugepage_size=3M",
	  "--memory-zone: hugepage_size is no size of a page: say a power of two above 4K" },
	{ "--kernel k --memory size=0 --memory-zone id=a,size=3M,hugepages=on,hugepage_size=2M",
	  "--memory-zone: size is not a multiple of hugepage_size: round it" },
	{ "--kernel k --memory size=0 --memory-zone id=a,file=/a,shared=on,host_numa_node=0",
	  "--memory-zone: a shared file has its pages where it has them: leave out host_numa_node or "
	  "shared" },
	{ "--kernel k --memory size=0 --memory-zone id=a,hotplug_size=1G",
	  "--memory-zone: a zone grows by virtio-mem only: say --memory "
	  "size=0,hotplug_method=virtio-mem" },
	{ "--kernel k --memory size=0,hotplug_method=virtio-mem --memory-zone "
	  "id=a,hotplug_size=1G,hotplugged_size=2G",
	  "--memory-zone: hotplugged_size is above hotplug_size: lower it" },
	{ "--kernel k --memory hotplug_size=1G,hotplugged_size=1G",
	  "--memory: hotplugged_size is for virtio-mem: say hotplug_method=virtio-mem" },
	{ "--kernel k --memory size=0 --memory-zone id=a id=a",
	  "--memory-zone: the id 'a' is taken by a --memory-zone: choose another" },
	{ "--kernel k --serial pty,file=/a",
	  "--serial: the host chooses the place of a pty: say one of pty and file" },
	{ "--kernel k --console pty,file=/dev/pt/3",
	  "--console: the host chooses the place of a pty: say one of pty and file" },
	{ "--kernel k --debug-console pty,file=/a",
	  "--debug-console: the host chooses the place of a pty: say one of pty and file" },
	{ "--kernel k --disk readonly=on",
	  "--disk: it has no image: say path=<file or block device>" },
	{ "--kernel k --disk path=/a path=/b,num_queues=2",
	  "--disk /b: more queues than vCPUs: lower num_queues or raise --cpus max" },
	{ "--kernel k --disk path=/a,queue_size=100",
	  "--disk /a: queue_size is not a power of two above 2: say 128, for one" },
	{ "--kernel k --disk path=/a,queue_size=2",
	  "--disk /a: queue_size is not a power of two above 2: say 128, for one" },
	{ "--kernel k --disk path=/a,socket=/s",
	  "--disk /a: socket goes with vhost_user=on: say both or none" },
	{ "--kernel k --disk vhost_user=on,socket=/s",
	  "--disk: vhost_user needs memory that others can map: say --memory shared=on" },
	{ "--kernel k --memory shared=on --disk vhost_user=on,socket=/s,bw_size=1,bw_refill_time=1",
	  "--disk: a vhost-user disk can not be limited here: limit it in its process" },
	{ "--kernel k --disk path=/a,rate_limit_group=g",
	  "--disk /a: its rate_limit_group is not there: say --rate-limit-group id=<name>,..." },
	{ "--kernel k --net num_queues=3", "--net: queues come in pairs: say an even num_queues" },
	{ "--kernel k --net num_queues=4,id=n",
	  "--net n: more queue pairs than vCPUs: lower num_queues or raise --cpus max" },
	{ "--kernel k --net queue_size=100",
	  "--net: queue_size is not a power of two: say 256, for one" },
	{ "--kernel k --net fd=[3,4]",
	  "--net: a descriptor is needed for each pair of queues: say num_queues twice the fds" },
	{ "--kernel k --net fd=3,tap=t",
	  "--net t: fd is a tap already made: leave out tap and host_mac" },
	{ "--kernel k --net stream=/s,tap=t",
	  "--net t: stream stands for the host's end: leave out tap, fd, vhost_user, ip, mask and host_mac" },
	{ "--kernel k --cpus boot=2 --net stream=/s,num_queues=4",
	  "--net: a stream serves one pair of queues: say num_queues=2" },
	{ "--kernel k --net ip=10.0.0.1", "--net: ip and mask go together: say both or none" },
	{ "--kernel k --net ip=10.0.0.1,mask=ffff::",
	  "--net: ip and mask are not two IPv4 or two IPv6 addresses: correct them" },
	{ "--kernel k --net offload_csum=off",
	  "--net: offload_tso and offload_ufo need checksums: switch them off too, or offload_csum on" },
	{ "--kernel k --net tap=abcdefghijklmnop",
	  "--net abcdefghijklmnop: the name of a tap has at most 15 bytes: shorten it" },
	{ "--kernel k --fs tag=a,socket=/s",
	  "--fs: it needs memory that others can map: say --memory shared=on" },
	{ "--kernel k --pmem file=/a,size=3M", "--pmem: size is not a multiple of 2M: round it" },
	{ "--kernel k --device iommu=on", "--device: say either path or fd" },
	{ "--kernel k --rate-limit-group id=g",
	  "--rate-limit-group: it limits nothing: say bw_size and bw_refill_time, or the same of ops" },
	{ "--kernel k --balloon size=512M",
	  "--balloon: size takes all the guest's memory: lower it" },
	{ "--kernel k --ivshmem path=/a,size=3M",
	  "--ivshmem: size is not a power of two of 4K or more: round it" },
	{ "--kernel k --landlock-rules path=/a,access=x",
	  "--landlock-rules: access is none of r, w and rw" },
	{ "--kernel k --disk path=/a,id=__x",
	  "--disk: names that begin with __ are our own: choose another in place of '__x'" },
	{ "--kernel k --disk path=/a,id=x --net id=x",
	  "--net: the id 'x' is taken by a --disk: choose another" },
	{ "--kernel k --rng id=x --disk path=/a,id=x",
	  "--rng: the id 'x' is taken by a --disk: choose another" },
	{ "--kernel k --disk path=/a,pci_device_id=188",
	  "--disk: Given PCI device ID (188) is out of the supported range of 0..32: choose another pci_device_id" },
	{ "--kernel k --disk path=/a,pci_device_id=0",
	  "--disk: Given PCI device ID (0) is reserved for the host bridge: choose 1 to 31 as pci_device_id" },
	{ "--kernel k --disk path=/a,pci_device_id=4 --net pci_device_id=4",
	  "--net: Valid PCI device identifier but already used: 4, by a --disk: choose another pci_device_id" },
	{ "--kernel k --platform num_pci_segments=2 --disk path=/a,pci_segment=1,pci_device_id=0 "
	  "--net pci_segment=1,pci_device_id=0",
	  "--net: Valid PCI device identifier but already used: 0, by a --disk: choose another pci_device_id" },
	{ "--kernel k --disk path=/a,pci_segment=1",
	  "--disk: PCI segment 1 is out of range: there is 1; say --platform num_pci_segments=2 or more" },
	{ "--kernel k --platform num_pci_segments=2 --pci-segment pci_segment=2",
	  "--pci-segment: PCI segment 2 is out of range: there are 2; say --platform num_pci_segments=3 or more" },
	{ "--kernel k --platform num_pci_segments=2,iommu_segments=[1,2]",
	  "--platform: PCI segment 2 is out of range: there are 2; say --platform num_pci_segments=3 or more" },
	{ "--kernel k --numa guest_numa_id=1,cpus=0 guest_numa_id=1,cpus=0",
	  "--numa guest_numa_id=1: vCPU 0 is said 2 times: it has one node" },
	{ "--kernel k --cpus boot=2 --numa guest_numa_id=1,cpus=0 guest_numa_id=1,cpus=1",
	  "--numa guest_numa_id=1: this node is said twice: say it once" },
	{ "--kernel k --cpus boot=2 --numa guest_numa_id=1,cpus=[0,1,0]",
	  "--numa guest_numa_id=1: vCPU 0 is said 2 times: it has one node" },
	{ "--kernel k --cpus boot=2 --numa guest_numa_id=0,cpus=[0-2]",
	  "--numa guest_numa_id=0: cpus names vCPU 2, and there are 2: lower it" },
	{ "--kernel k --numa guest_numa_id=0,memory_zones=a",
	  "--numa guest_numa_id=0: there is no memory zone 'a': say --memory-zone id=a,..." },
	{ "--kernel k --memory size=0 --memory-zone id=a --numa guest_numa_id=0,memory_zones=a "
	  "guest_numa_id=1,memory_zones=a",
	  "--numa guest_numa_id=0: memory zone 'a' is said 2 times: it has one node" },
	{ "--kernel k --numa guest_numa_id=0,cpus=0,distances=[1@20]",
	  "--numa guest_numa_id=0: distances names node 1, which is not there: say --numa "
	  "guest_numa_id=1,..." },
	{ "--kernel k --cpus boot=2 --numa guest_numa_id=0,cpus=0,distances=[1@20,1@30] "
	  "guest_numa_id=1,cpus=1",
	  "--numa guest_numa_id=0: the distance to node 1 is said twice: say it once" },
	{ "--kernel k --numa guest_numa_id=0",
	  "--numa guest_numa_id=0: a node consists of something: say cpus, memory_zones or "
	  "device_id" },
	{ "--kernel k --numa guest_numa_id=0,cpus=0,device_id=d",
	  "--numa: a node with device_id has neither cpus nor memory_zones: say one kind" },
	{ "--kernel k --numa guest_numa_id=0,pci_segments=[1]",
	  "--numa: PCI segment 1 is out of range: there is 1; say --platform num_pci_segments=2 or more" },
	{ "--kernel k --platform num_pci_segments=2 --numa guest_numa_id=0,pci_segments=1 "
	  "guest_numa_id=1,pci_segments=1",
	  "--numa: PCI segment 1 is on node 0 and on node 1: say one" },
	{ "--kernel k --numa guest_numa_id=1,pci_segments=0",
	  "--numa: PCI segment 0 is on node 0, not on node 1: leave it out" },
	{ "--kernel k --platform uuid=00112233-4455-6677-8899-aabbccddeef",
	  "--platform: system_uuid is no UUID: say 32 hex digits as 8-4-4-4-12" },
	{ "--kernel k --cpus affinity=[1@0]",
	  "--cpus: affinity names vCPU 1, and there are 1: lower it" },
	{ "--kernel k --disk path=/a,queue_affinity=[1@0]",
	  "--disk: queue_affinity names queue 1, and there are 1: lower it" },
};

TEST(what_breaks_a_rule_is_told_what_to_do)
{
	struct err e;
	char text[400];

	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		assert_int_equal(judge(broken[i].line, &e, conf_check_rules), -1);
		assert_string_equal(err_line(&e, text, sizeof(text)), broken[i].sentence);
		assert_true(e.kind == ERR_BAD || e.kind == ERR_TAKEN);
	}
}

static const struct a_case unbuilt[] = {
	{ "--kernel k --disk path=/a path=/b,image_type=qcow2", "--disk image_type=qcow2" },
	{ "--kernel k --disk path=/a,backing_files=on", "--disk backing_files" },
	{ "--kernel k --net vhost_mode=server", "--net vhost_mode" },
	{ "--igvm g", "--igvm" },
};

TEST(what_is_not_built_is_refused_by_name)
{
	struct err e;
	char text[400], want[400];

	for (size_t i = 0; i < ARRAY_LEN(unbuilt); i++) {
		assert_int_equal(judge(unbuilt[i].line, &e, conf_check), -1);
		assert_int_equal(e.kind, ERR_UNBUILT);
		snprintf(want, sizeof(want), "not in this build: %s; leave it out",
			 unbuilt[i].sentence);
		assert_string_equal(err_line(&e, text, sizeof(text)), want);
	}
}

TEST(what_is_not_built_is_fine_at_its_default)
{
	struct err e;

	assert_int_equal(
		judge("--kernel k --disk path=/a,iommu=off,sparse=on,pci_segment=0,vhost_user=false "
		      "--cpus core_scheduling=vm,kvm_hyperv=off --platform num_pci_segments=1,tdx=off "
		      "--memory hotplug_method=acpi",
		      &e, conf_check),
		0);
}

TEST(program_options_not_built_are_refused)
{
	struct vmm_conf c;
	struct err e = { 0 };

	desc_default(&vmm_desc, &c);
	assert_int_equal(conf_check_vmm(&c, &e), 0);
	c.dbus_object_path = mem_str("x");
	assert_int_equal(conf_check_vmm(&c, &e), -1);
	assert_int_equal(e.kind, ERR_UNBUILT);
	desc_free(&vmm_desc, &c);
}

TEST(a_warning_that_nobody_hears_holds_up_nobody)
{
	struct err e;

	log_init(LOG_ERROR, 2);
	assert_int_equal(judge("--firmware f --cmdline x", &e, conf_check), 0);
	log_init(LOG_WARN, 2);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_is_right_passes),
		T(what_breaks_a_rule_is_told_what_to_do),
		T(what_is_not_built_is_refused_by_name),
		T(what_is_not_built_is_fine_at_its_default),
		T(program_options_not_built_are_refused),
		T(a_warning_that_nobody_hears_holds_up_nobody),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
