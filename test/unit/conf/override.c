/* SPDX-License-Identifier: Apache-2.0 */
/* What is said at restore laid over a configuration that was saved. */
#include "conf/override.h" /* first: its rows use T for themselves */
#include "test.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "quoted.h"

static const char config[] =
	"{'payload':{'kernel':'/k'},'disks':[{'id':'a','path':'/a'},{'id':'b','path':'/b','readonly':true}],"
	"'net':[{'id':'n','stream':'/s','num_queues':2},{'id':'m','fds':[-1]}],"
	"'serial':{'mode':'File','file':'/out'},'console':{'mode':'Pty','file':'/dev/pts/1','id':'c'},"
	"'vsock':{'cid':3,'socket':'/v'}}";

/* The configuration that comes of it, as it would be booted; -1 with a sentence. */
static int laid(struct vm_conf *c, const char *from, const char *over, struct err *e)
{
	AUTO_JSON struct json *j = json_quoted(from);
	struct reasons why = { 0 };
	struct restore_conf r;
	int result = -1;

	*c = (struct vm_conf){ 0 };
	desc_default(&restore_desc, &r);
	if (desc_from_kv(&restore_desc, &r, over, e) == 0) {
		if (r.overrides)
			conf_override(j, r.overrides, &why);
		conf_override_zones(j, &r, &why);
		if (reasons_end(&why, e) == 0)
			result = desc_from_json(&vm_desc, c, j, e);
	}
	desc_free(&restore_desc, &r);
	return result;
}

static void lay(struct vm_conf *c, const char *over)
{
	struct err e = { 0 };

	if (laid(c, config, over, &e) < 0)
		fail_msg("%s: %s", over, err_frame(&e, 0));
}

static void refused(const char *from, const char *over, const char *words)
{
	struct vm_conf c;
	struct err e = { 0 };
	char line[ERR_TEXT];

	assert_int_equal(laid(&c, from, over, &e), -1);
	err_line(&e, line, sizeof(line));
	if (!strstr(line, words))
		fail_msg("%s: \"%s\" does not say \"%s\"", over, line, words);
	conf_free(&c);
}

TEST(what_is_said_takes_the_place_and_the_rest_stays)
{
	struct vm_conf c;

	lay(&c, "source_url=x,disks=[id=b,path=/other:id=a,path=\"/with:colon\"],vsock_cid=9");
	assert_string_equal(c.disks.items[0].path, "/with:colon");
	assert_string_equal(c.disks.items[1].path, "/other");
	assert_true(c.disks.items[1].readonly);
	assert_int_equal(c.vsock->cid, 9);
	assert_string_equal(c.vsock->socket, "/v");
	assert_string_equal(c.serial.file, "/out");
	conf_free(&c);
}

TEST(a_card_has_one_place)
{
	struct vm_conf c;

	lay(&c, "source_url=x,net=[id=n,tap=t0,mac=\"02:00:00:00:00:09\":id=m,stream=/p]");
	assert_string_equal(c.net.items[0].tap, "t0");
	assert_null(c.net.items[0].stream);
	assert_int_equal(c.net.items[0].mac[5], 9);
	assert_string_equal(c.net.items[1].stream, "/p");
	assert_int_equal(c.net.items[1].fds.count, 0);
	conf_free(&c);
	/* what is no place leaves the place */
	lay(&c, "source_url=x,net=[id=n,ip=10.0.0.1:id=m,mac=\"02:00:00:00:00:08\"]");
	assert_string_equal(c.net.items[0].stream, "/s");
	assert_int_equal(c.net.items[1].fds.count, 1);
	conf_free(&c);
}

TEST(a_console_goes_to_one_place)
{
	struct vm_conf c;

	lay(&c, "source_url=x,serial_mode=tty,console_socket=/c");
	assert_int_equal(c.serial.mode, CONSOLE_TTY);
	assert_null(c.serial.file);
	assert_int_equal(c.console.mode, CONSOLE_SOCKET);
	assert_null(c.console.file);
	assert_string_equal(c.console.id, "c");
	conf_free(&c);
	lay(&c, "source_url=x,serial_file=/else");
	assert_int_equal(c.serial.mode, CONSOLE_FILE);
	assert_string_equal(c.serial.file, "/else");
	conf_free(&c);
}

TEST(a_memory_zone_comes_from_another_node)
{
	static const char zones[] =
		"{'payload':{'kernel':'/k'},'memory':{'size':0,'zones':["
		"{'id':'y','size':4096},{'id':'z','size':4096,'host_numa_node':1}]}}";
	struct vm_conf c;
	struct err e = { 0 };

	assert_int_equal(laid(&c, zones, "source_url=x,zone_updates=[z@0,y@3]", &e), 0);
	assert_true(conf_said(memory_zone, &c.memory.zones.items[0], host_numa_node));
	assert_int_equal(c.memory.zones.items[0].host_numa_node, 3);
	assert_int_equal(c.memory.zones.items[1].host_numa_node, 0);
	conf_free(&c);
	refused(zones, "source_url=x,zone_updates=[q@0]", "the snapshot has no memory zone q");
	refused(config, "source_url=x,zone_updates=[q@0]", "the snapshot has no memory zone q");
	refused("{'memory':{'zones':7}}", "source_url=x,zone_updates=[q@0]", "no memory zone q");
	refused("[]", "source_url=x,zone_updates=[q@0]", "no memory zone q");
}

TEST(what_there_is_not_is_refused_by_name)
{
	refused(config,
		"source_url=x,disks=[id=c,path=/x:id=a,path=/x:id=d,path=/y],tpm_socket=/x,zone_updates=[q@0]",
		"4 things are in the way: (1) disks: the snapshot has none of the name c "
		"(2) disks: the snapshot has none of the name d (3) tpm: the snapshot has none "
		"(4) zone_updates: the snapshot has no memory zone q");
	refused(config, "source_url=x,disks=[id=c,path=/x]",
		"disks: the snapshot has none of the name c");
	refused(config, "source_url=x,pmem=[id=p,file=/x]", "none of the name p");
	refused(config, "source_url=x,tpm_socket=/x", "tpm: the snapshot has none");
	refused(config, "source_url=x,disks=[path=/x]", "'id' is missing");
	refused(config, "source_url=x,serial_file=/a,serial_socket=/b", "say one");
	refused(config, "source_url=x,vsock_cid=1", "not within");
	refused("{'disks':5,'serial':7}", "source_url=x,disks=[id=a,path=/x]",
		"none of the name a");
	refused("{'disks':[7,{'id':{}}],'serial':7}", "source_url=x,disks=[id=a,path=/x]",
		"none of the name a");
	refused("{'serial':7}", "source_url=x,serial_mode=tty", "serial: the snapshot has none");
	refused("[]", "source_url=x,serial_mode=tty", "must be an object");
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_is_said_takes_the_place_and_the_rest_stays),
		T(a_card_has_one_place),
		T(a_console_goes_to_one_place),
		T(a_memory_zone_comes_from_another_node),
		T(what_there_is_not_is_refused_by_name),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
