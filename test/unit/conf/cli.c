/* SPDX-License-Identifier: Apache-2.0 */
/* argv into configuration: every option and key by its syntax, compared as JSON; and what is
 * said of bad ones. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "conf/cli.h"
#include "conf/opt.h"
#include "quoted.h"

#define ARGS_MAX 16

static int parse(struct cli *c, struct err *e, const char *const *args)
{
	char *argv[ARGS_MAX + 1] = { (char *)(uintptr_t) "virga" };
	int argc = 1;

	while (args[argc - 1]) {
		assert_true(argc < ARGS_MAX);
		argv[argc] = (char *)(uintptr_t)args[argc - 1];
		argc++;
	}
	*e = (struct err){ 0 };
	return cli_parse(c, argc, argv, e);
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Is everything that want says so in got? Arrays are compared whole. */
static bool says(const struct json *got, const struct json *want)
{
	struct json_iter it = { 0 };

	if (!got)
		return false;
	if (json_kind(want) == JSON_IS_ARR) {
		if (json_kind(got) != JSON_IS_ARR || json_count(got) != json_count(want))
			return false;
		for (size_t i = 0; i < json_count(want); i++)
			if (!says(json_at(got, i), json_at(want, i)))
				return false;
		return true;
	}
	if (json_kind(want) != JSON_IS_OBJ)
		return json_equal_to(got, want);
	while (json_next(want, &it))
		if (!says(json_get(got, it.key), it.value))
			return false;
	return true;
}

struct a_case {
	const char *args[6];
	const char *want;
};

/* Each option, each key, each shape of value. */
static const struct a_case vm_cases[] = {
	{ { "--kernel", "/k" }, "{'payload':{'kernel':'/k'}}" },
	{ { "--kernel=/k=1" }, "{'payload':{'kernel':'/k=1'}}" },
	{ { "--firmware", "/f" }, "{'payload':{'firmware':'/f'}}" },
	{ { "--initramfs", "/i" }, "{'payload':{'initramfs':'/i'}}" },
	{ { "--cmdline", "a=b,c [x] -q" }, "{'payload':{'cmdline':'a=b,c [x] -q'}}" },
	{ { "--cmdline", "-x --y" }, "{'payload':{'cmdline':'-x --y'}}" },
	{ { "--igvm", "/g", "--host-data", "00" }, "{'payload':{'igvm':'/g','host_data':'00'}}" },
	{ { "--fw-cfg-config",
	    "e820=off,acpi_table=off,items=[name=a,file=/a:name=b,string=\"x,y:z\"]" },
	  "{'payload':{'fw_cfg_config':{'e820':false,'kernel':true,'acpi_tables':false,'items':{'item_list':["
	  "{'name':'a','file':'/a'},{'name':'b','string':'x,y:z'}]}}}}" },
	{ { "--cpus", "boot=4" }, "{'cpus':{'boot_vcpus':4,'max_vcpus':4,'max_phys_bits':46}}" },
	{ { "--cpus", "boot=1,max=8,topology=2:2:1:2,max_phys_bits=40,nested=off,kvm_hyperv=on" },
	  "{'cpus':{'boot_vcpus':1,'max_vcpus':8,'max_phys_bits':40,'nested':false,'kvm_hyperv':true,'topology':"
	  "{'threads_per_core':2,'cores_per_die':2,'dies_per_package':1,'packages':2}}}" },
	{ { "--cpus", "affinity=[0@[1,3-5],1@2],features=amx,core_scheduling=vcpu,profile=Host" },
	  "{'cpus':{'affinity':[{'vcpu':0,'host_cpus':[1,3,4,5]},{'vcpu':1,'host_cpus':[2]}],"
	  "'features':{'amx':true},'core_scheduling':'Vcpu'}}" },
	{ { "--memory",
	    "size=1G,mergeable=on,hugepages=on,hugepage_size=2M,prefault=TRUE,reserve=on,thp=off" },
	  "{'memory':{'size':1073741824,'mergeable':true,'hugepages':true,'hugepage_size':2097152,'prefault':true,"
	  "'reserve':true,'thp':false}}" },
	{ { "--memory",
	    "shared=on,hotplug_method=virtio-mem,hotplug_size=1K,hotplugged_size=1,file=/x" },
	  "{'memory':{'shared':true,'hotplug_method':'VirtioMem','hotplug_size':1024,'hotplugged_size':1}}" },
	{ { "--memory-zone", "id=a,size=1G", "id=b,file=/f,host_numa_node=1", "--memory",
	    "size=0" },
	  "{'memory':{'size':0,'zones':[{'id':'a','size':1073741824},{'id':'b','size':536870912,'file':'/f',"
	  "'host_numa_node':1}]}}" },
	{ { "--platform",
	    "num_pci_segments=4,iommu_segments=[1,2-3],iommu_address_width=39,serial_number=s,uuid=u" },
	  "{'platform':{'num_pci_segments':4,'iommu_segments':[1,2,3],'iommu_address_width_bits':39,"
	  "'system_serial_number':'s','system_uuid':'u'}}" },
	{ { "--platform",
	    "oem_strings=[a,\"b,c\"],system_manufacturer=m,system_product_name=p,system_version=v,"
	    "system_family=f,system_sku_number=k,chassis_asset_tag=t,iommufd=on,vfio_p2p_dma=off" },
	  "{'platform':{'oem_strings':['a','b,c'],'system_manufacturer':'m','system_product_name':'p',"
	  "'system_version':'v','system_family':'f','system_sku_number':'k','chassis_asset_tag':'t',"
	  "'iommufd':true,'vfio_p2p_dma':false}}" },
	{ { "--platform", "tdx=on,sev_snp=on" }, "{'platform':{'tdx':true,'sev_snp':true}}" },
	{ { "--disk", "path=/a", "path=\"/b,\"\"c\"", "--disk", "path=/d,readonly=on" },
	  "{'disks':[{'path':'/a','readonly':false},{'path':'/b,\\\"c'},{'path':'/d','readonly':true}]}" },
	{ { "--disk=path=/a,direct=on,num_queues=2,queue_size=64,serial=s,id=i,pci_device_id=5,pci_segment=1,iommu=on" },
	  "{'disks':[{'path':'/a','direct':true,'num_queues':2,'queue_size':64,'serial':'s','id':'i','pci_device_id':5,"
	  "'pci_segment':1,'iommu':true}]}" },
	{ { "--disk",
	    "vhost_user=on,socket=/s,backing_files=on,sparse=off,image_type=vhd,lock_granularity=full,"
	    "queue_affinity=[0@[1],1@[2,3]],_disable_io_uring=on,_disable_aio=on,rate_limit_group=g" },
	  "{'disks':[{'vhost_user':true,'vhost_socket':'/s','backing_files':true,'sparse':false,'image_type':'FixedVhd',"
	  "'lock_granularity':'Full','queue_affinity':[{'queue_index':0,'host_cpus':[1]},{'queue_index':1,"
	  "'host_cpus':[2,3]}],'disable_io_uring':true,'disable_aio':true,'rate_limit_group':'g'}]}" },
	{ { "--disk",
	    "path=/a,bw_size=1,bw_one_time_burst=2,bw_refill_time=3,ops_size=4,ops_refill_time=5" },
	  "{'disks':[{'rate_limiter_config':{'bandwidth':{'size':1,'one_time_burst':2,'refill_time':3},"
	  "'ops':{'size':4,'refill_time':5}}}]}" },
	{ { "--net",
	    "tap=t0,ip=10.0.0.1,mask=255.0.0.0,mac=12:34:56:78:9A:bc,host_mac=02:00:00:00:00:01,mtu=1500" },
	  "{'net':[{'tap':'t0','ip':'10.0.0.1','mask':'255.0.0.0','mac':'12:34:56:78:9a:bc',"
	  "'host_mac':'02:00:00:00:00:01','mtu':1500,'num_queues':2,'queue_size':256}]}" },
	{ { "--disk", "path=/a,bw_size=,bw_refill_time=,ops_one_time_burst=" },
	  "{'disks':[{'path':'/a'}]}" },
	{ { "--net", "tap=,mac=,ip=,mask=" },
	  "{'net':[{'offload_tso':true,'offload_ufo':true,'offload_csum':true}]}" },
	{ { "--net",
	    "num_queues=4,queue_size=128,offload_tso=off,offload_ufo=off,offload_csum=off,id=n,vhost_mode=server,"
	    "vhost_user=on,socket=/s,bw_size=1,bw_refill_time=1" },
	  "{'net':[{'num_queues':4,'queue_size':128,'offload_tso':false,'offload_ufo':false,'offload_csum':false,'id':'n',"
	  "'vhost_mode':'Server','vhost_user':true,'vhost_socket':'/s','rate_limiter_config':{'bandwidth':{'size':1}}}]}" },
	{ { "--rng", "src=/dev/random,id=r,pci_device_id=31" },
	  "{'rng':{'src':'/dev/random','id':'r','pci_device_id':31}}" },
	{ { "--balloon", "size=1M,deflate_on_oom=on,free_page_hinting=on,free_page_reporting=on" },
	  "{'balloon':{'size':1048576,'deflate_on_oom':true,'free_page_hinting':true,"
	  "'free_page_reporting':true}}" },
	{ { "--fs", "tag=t,socket=/s", "--fs", "tag=u,socket=/s,num_queues=2,queue_size=512" },
	  "{'fs':[{'tag':'t','queue_size':1024},{'tag':'u','num_queues':2,'queue_size':512}]}" },
	{ { "--generic-vhost-user", "socket=/s,queue_sizes=[128,64],device_type=gpio",
	    "socket=/s,queue_sizes=2,virtio_id=7" },
	  "{'generic_vhost_user':[{'socket':'/s','queue_sizes':[128,64],'device_type':41},{'queue_sizes':[2],"
	  "'device_type':7}]}" },
	{ { "--pmem", "file=/p,size=2M,discard_writes=on" },
	  "{'pmem':[{'file':'/p','size':2097152,'discard_writes':true}]}" },
	{ { "--serial", "tty" }, "{'serial':{'mode':'Tty'}}" },
	{ { "--serial", "file=/a,b" }, NULL },
	{ { "--serial", "socket=/s" }, "{'serial':{'mode':'Socket','socket':'/s'}}" },
	{ { "--serial", "off" }, "{'serial':{'mode':'Off'}}" },
	{ { "--console", "file=/c,iommu=on,id=con" },
	  "{'console':{'mode':'File','file':'/c','iommu':true,'id':'con'}}" },
	{ { "--console", "pty" }, "{'console':{'mode':'Pty'}}" },
	{ { "--console", "null,pci_device_id=3" },
	  "{'console':{'mode':'Null','pci_device_id':3}}" },
	{ { "--debug-console", "tty,iobase=0x402" },
	  "{'debug_console':{'mode':'Tty','iobase':1026}}" },
	{ { "--debug-console", "file=/d" },
	  "{'debug_console':{'mode':'File','file':'/d','iobase':233}}" },
	{ { "--device", "path=/sys/d,x_nv_gpudirect_clique=3,x_exclude_mmap_bars=[0,5],iommu=on" },
	  "{'devices':[{'path':'/sys/d','x_nv_gpudirect_clique':3,'x_exclude_mmap_bars':[0,5],'iommu':true}]}" },
	{ { "--user-device", "socket=/u,id=x" }, "{'user_devices':[{'socket':'/u','id':'x'}]}" },
	{ { "--vdpa", "path=/dev/v,num_queues=2" }, "{'vdpa':[{'path':'/dev/v','num_queues':2}]}" },
	{ { "--vsock", "cid=3,socket=/s" }, "{'vsock':{'cid':3,'socket':'/s'}}" },
	{ { "--pvmemcontrol" }, "{'pvmemcontrol':{}}" },
	{ { "--pvpanic", "--watchdog" }, "{'pvpanic':true,'watchdog':true}" },
	{ { "--rtc" }, "{'rtc':{}}" },
	{ { "--rtc", "id=r" }, "{'rtc':{'id':'r'}}" },
	{ { "--numa",
	    "guest_numa_id=0,cpus=[0-1],distances=[1@20,2@30],memory_zones=[a,b],pci_segments=[0]",
	    "guest_numa_id=1,device_id=d" },
	  "{'numa':[{'guest_numa_id':0,'cpus':[0,1],'distances':[{'destination':1,'distance':20},{'destination':2,"
	  "'distance':30}],'memory_zones':['a','b'],'pci_segments':[0]},{'guest_numa_id':1,'device_id':'d'}]}" },
	{ { "--pci-segment", "pci_segment=1,mmio32_aperture_weight=2,mmio64_aperture_weight=3" },
	  "{'pci_segments':[{'pci_segment':1,'mmio32_aperture_weight':2,'mmio64_aperture_weight':3}]}" },
	{ { "--tpm", "socket=/t" }, "{'tpm':{'socket':'/t'}}" },
	{ { "--landlock", "--landlock-rules", "path=/a,access=rw", "path=/b,access=r" },
	  "{'landlock_enable':true,'landlock_rules':[{'path':'/a','access':'rw'},{'path':'/b','access':'r'}]}" },
	{ { "--ivshmem", "path=/m,size=1M" }, "{'ivshmem':{'path':'/m','size':1048576}}" },
	{ { "--rate-limit-group", "id=g,bw_size=1,bw_refill_time=2" },
	  "{'rate_limit_groups':[{'id':'g','rate_limiter_config':{'bandwidth':{'size':1,'refill_time':2}}}]}" },
};

static const struct a_case vmm_cases[] = {
	{ { "--api-socket", "/a" }, "{'api_socket':{'path':'/a'}}" },
	{ { "--api-socket", "path=/a" }, "{'api_socket':{'path':'/a'}}" },
	{ { "--api-socket", "fd=5" }, "{'api_socket':{'fd':5}}" },
	{ { "--event-monitor", "path=/e" }, "{'event_monitor':{'path':'/e'}}" },
	{ { "--event-monitor", "fd=3" }, "{'event_monitor':{'fd':3}}" },
	{ { "--log-file", "/l", "--log-format", "{msg}" },
	  "{'log_file':'/l','log_format':'{msg}'}" },
	{ { "-v", "-vv" }, "{'verbosity':3}" },
	{ { "--seccomp", "false" }, "{'seccomp':'false'}" },
	{ { "--seccomp=log" }, "{'seccomp':'log'}" },
	{ { "--no-shutdown" }, "{'no_shutdown':true,'seccomp':'true'}" },
	{ { "--gdb", "path=/g" }, "{'gdb':{'path':'/g'}}" },
	{ { "--dbus-service-name", "a", "--dbus-object-path", "/b", "--dbus-system-bus" },
	  "{'dbus_service_name':'a','dbus_object_path':'/b','dbus_system_bus':true}" },
	{ { "--restore",
	    "source_url=file:///s,prefault=on,memory_restore_mode=ondemand,resume=on,zone_updates=[a@1]" },
	  "{'restore':{'source_url':'file:///s','prefault':true,'memory_restore_mode':'OnDemand','resume':true,"
	  "'zone_updates':[{'id':'a','host_numa_node':1}]}}" },
	{ { "--restore", "source_url=x,net_fds=[n@[5,6],m@7],vfio_fds=[v@9],iommufd_fd=8" },
	  "{'restore':{'net_fds':[{'id':'n','num_fds':2},{'id':'m','num_fds':1}],'vfio_fds':[{'id':'v'}]}}" },
};

static void case_holds(const struct a_case *a, bool vmm)
{
	struct json *want, *got;
	struct cli c;
	struct err e;
	char line[400];

	if (parse(&c, &e, a->args)) {
		if (a->want)
			fail_msg("%s %s: %s", a->args[0], a->args[1],
				 err_line(&e, line, sizeof(line)));
		cli_free(&c);
		return;
	}
	assert_non_null(a->want);
	want = json_quoted(a->want);
	got = vmm ? desc_to_json(&vmm_desc, &c.vmm) : desc_to_json(&vm_desc, &c.vm);
	if (!says(got, want))
		fail_msg("%s %s is not %s but %s", a->args[0], a->args[1] ? a->args[1] : "",
			 a->want, json_text(got, JSON_LINE));
	json_put(want);
	json_put(got);
	cli_free(&c);
}

TEST(each_option_says_in_json_what_it_should)
{
	for (size_t i = 0; i < ARRAY_LEN(vm_cases); i++)
		case_holds(&vm_cases[i], false);
	for (size_t i = 0; i < ARRAY_LEN(vmm_cases); i++)
		case_holds(&vmm_cases[i], true);
}

static bool is_tried(const char *opt)
{
	for (size_t i = 0; i < ARRAY_LEN(vm_cases) + ARRAY_LEN(vmm_cases); i++) {
		const struct a_case *a = i < ARRAY_LEN(vm_cases)
						 ? &vm_cases[i]
						 : &vmm_cases[i - ARRAY_LEN(vm_cases)];

		for (size_t k = 0; k < ARRAY_LEN(a->args) && a->args[k]; k++) {
			const char *arg = a->args[k];
			size_t n = strlen(opt);

			if (!strncmp(arg, "--", 2) && !strncmp(arg + 2, opt, n) &&
			    strchr("=", arg[2 + n]))
				return true;
		}
	}
	return false;
}

TEST(no_option_is_left_out_of_these_tests)
{
	struct opt opts[OPT_MAX];
	uint32_t n = opt_all(opts);

	for (uint32_t i = 0; i < n; i++)
		if (*opts[i].f->opt && !is_tried(opts[i].f->opt))
			fail_msg("--%s has no case", opts[i].f->opt);
}

TEST(descriptors_of_net_are_taken)
{
	struct cli c;
	struct err e;

	assert_int_equal(parse(&c, &e, ARGS("--net", "fd=[3,4-5],num_queues=6")), 0);
	assert_int_equal(c.vm.net.items[0].fds.count, 3);
	assert_int_equal(c.vm.net.items[0].fds.items[2], 5);
	cli_free(&c);
	assert_int_equal(parse(&c, &e, ARGS("--net", "fd=3")), 0);
	assert_int_equal(c.vm.net.items[0].fds.items[0], 3);
	cli_free(&c);
}

TEST(what_was_said_is_told_from_defaults)
{
	struct cli c;
	struct err e;

	assert_int_equal(parse(&c, &e, ARGS("--disk", "path=/a", "path=/b,pci_device_id=0")), 0);
	assert_int_equal(conf_slot(disk, &c.vm.disks.items[0]), -1);
	assert_int_equal(conf_slot(disk, &c.vm.disks.items[1]), 0);
	cli_free(&c);
}

static const struct {
	const char *args[4];
	const char *sentence;
} bad[] = {
	{ { "--disk", "num_queue=1" },
	  "--disk: unknown key 'num_queue' (did you mean 'num_queues'?)" },
	{ { "--disk", "path=/a,qqqqqqqqq=1" }, "--disk: unknown key 'qqqqqqqqq'" },
	{ { "--disk", "readonly" }, "--disk: 'readonly' needs a value: readonly=on|off" },
	{ { "--disk", "readonly=maybe" }, "--disk: readonly: 'maybe' is neither on nor off" },
	{ { "--disk", "num_queues=0" }, "--disk: num_queues: 0 is not within 1 to 1023" },
	{ { "--disk", "num_queues=99999999999999999999" },
	  "--disk: num_queues: '99999999999999999999' is not a whole number" },
	{ { "--disk", "path=/a,,direct=on" }, "--disk: nothing stands between two commas" },
	{ { "--disk", "path=/a,path=/b" }, "--disk: 'path' is said twice" },
	{ { "--disk", "path=\"/a" }, "--disk: a quote is not closed in 'path=\"/a'" },
	{ { "--disk", "image_type=iso" },
	  "--disk: image_type: 'iso' is none of unknown, raw, qcow2, vhd, vhdx, vmdk" },
	{ { "--disk", "queue_affinity=[0]" },
	  "--disk: queue_affinity: '0' has too few parts: 'host_cpus' is missing after a '@'" },
	{ { "--disk", "queue_affinity=[0@[5-3]]" },
	  "--disk: queue_affinity: host_cpus: the range 5-3 ends before it begins" },
	{ { "--disk", "bw_size=5,path=/a" }, "--disk: 'bw_refill_time' is missing" },
	{ { "--disk" }, "--disk needs a value: --disk key=value,..." },
	{ { "--memory", "size=1T" },
	  "--memory: size: '1T' is not a size: say bytes, or a number with K, M or G" },
	{ { "--cpus", "topology=1:1:1:1:1" },
	  "--cpus: topology: '1:1:1:1:1' has too many parts at ':'" },
	{ { "--cpus", "features=avx" },
	  "--cpus: features: unknown key 'avx' (did you mean 'amx'?)" },
	{ { "--console", "of" }, "--console: unknown key 'of'" },
	{ { "--console", "tty,off" },
	  "--console: 'off' comes after another value of the same kind: say one" },
	{ { "--console", "tty,file=/a" },
	  "--console: a file and another place for the text: say one" },
	{ { "--console", "file" }, "--console: 'file' needs a value: file=<path>" },
	{ { "--console", "id=x" }, "--console: one of off|pty|tty|null is missing" },
	{ { "--net", "mac=12:34:56:78:9a" },
	  "--net: mac: '12:34:56:78:9a' is not an address like 12:34:56:78:9a:bc" },
	{ { "--net", "mac=00:00:00:00:00:00" }, "--net: mac: an address of zeros names no card" },
	{ { "--net", "mtu=1000" }, "--net: mtu: 1000 is not within 1280 to 65535" },
	{ { "--net", "fd=[0]" }, "--net: fd: 0 is not within 3 to 2147483647" },
	{ { "--vsock", "cid=2,socket=/a" }, "--vsock: cid: 2 is not within 3 to 4294967294" },
	{ { "--vsock", "cid=3" }, "--vsock: 'socket' is missing" },
	{ { "--event-monitor", "path=/a,fd=3" }, "--event-monitor: say either path or fd" },
	{ { "--fs", "tag=1234567890123456789012345678901234567,socket=/s" },
	  "--fs: tag: 37 bytes are too long: at most 36 are taken" },
	{ { "--kernel" }, "--kernel needs a value: --kernel <path>" },
	{ { "--kernel", "--cmdline", "x" }, "--kernel needs a value: --kernel <path>" },
	{ { "--kernel", "a", "--kernel=b" }, "--kernel is said twice: it takes one value" },
	{ { "--kernel", "a", "b" }, "'b' stands alone: say an option that begins with --" },
	{ { "--watchdog=on" }, "--watchdog takes no value" },
	{ { "--kernal", "a" },
	  "unknown option '--kernal' (did you mean '--kernel'?): --help lists all" },
	{ { "-x" }, "unknown option '-x': --help lists all" },
	{ { "--seccomp", "maybe" }, "--seccomp: 'maybe' is none of true, false, log, errno" },
	{ { "--debug-console", "tty,iobase=zz" },
	  "--debug-console: iobase: 'zz' is not a hexadecimal number" },
	{ { "--restore=source_url=x", "--memory=size=1G" },
	  "--memory does not go with --restore: a VM goes on as it was saved, and what may be another's in it is said within --restore" },
	{ { "--doc", "pdf" }, "--doc 'pdf': say openapi, man, md or help" },
};

TEST(bad_arguments_get_one_sentence)
{
	struct cli c;
	struct err e;
	char line[400];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(parse(&c, &e, bad[i].args), -1);
		assert_int_equal(e.kind, ERR_BAD);
		assert_string_equal(err_line(&e, line, sizeof(line)), bad[i].sentence);
		cli_free(&c);
	}
}

static enum cli_what what_of(const char *const *args)
{
	struct cli c;
	struct err e;

	assert_int_equal(parse(&c, &e, args), 0);
	cli_free(&c);
	return c.what;
}

TEST(help_version_and_documents_are_asked_for)
{
	struct cli c;
	struct err e;

	assert_int_equal(what_of((const char *const[]){ NULL }), CLI_HELP);
	assert_int_equal(what_of(ARGS("--help")), CLI_HELP);
	assert_int_equal(what_of(ARGS("-h")), CLI_HELP);
	assert_int_equal(what_of(ARGS("-V")), CLI_VERSION);
	assert_int_equal(what_of(ARGS("--version", "-v")), CLI_VERSION);
	assert_int_equal(what_of(ARGS("--kernel", "a")), CLI_RUN);
	assert_int_equal(parse(&c, &e, ARGS("--doc", "md")), 0);
	assert_int_equal(c.what, CLI_DOC);
	assert_int_equal(c.doc, DOC_MD);
	cli_free(&c);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(each_option_says_in_json_what_it_should),
		T(no_option_is_left_out_of_these_tests),
		T(descriptors_of_net_are_taken),
		T(what_was_said_is_told_from_defaults),
		T(bad_arguments_get_one_sentence),
		T(help_version_and_documents_are_asked_for),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
