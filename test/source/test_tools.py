# SPDX-License-Identifier: Apache-2.0
"""The checks of the source text say no to what they exist for. Each test lays a small bad house and asks one."""
import os
import subprocess
import sys
import tempfile
import unittest

TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'tools')
TOP = '/* SPDX-License-Identifier: Apache-2.0 */\n/* A file. */\n'


GROUND = tempfile.TemporaryDirectory()


class House:
    """A tree of files in a temporary folder."""

    def __init__(self, files):
        self.dir = tempfile.mkdtemp(dir=GROUND.name)
        for path, text in {'FLOORS': '1  conf guard mem   doors: guard→conf\n0  base\n',
                           'docs/architecture.md': ''.join(f'| {f} | `*` |\n' for f in ('base', 'conf', 'dev', 'guard', 'vm')),
                           'test/source/parsers': '', **files}.items():
            full = os.path.join(self.dir, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, 'w', encoding='utf-8') as f:
                f.write(text)

    def ask(self, tool, *args):
        run = subprocess.run([sys.executable, os.path.join(TOOLS, tool), self.dir, *args], text=True,
                             capture_output=True, check=False)
        return run.returncode, run.stdout + run.stderr


class Floors(unittest.TestCase):
    FILES = {'src/base/err.h': TOP, 'src/conf/conf.h': TOP, 'src/mem/gmem.h': TOP}

    def verdict(self, path, include):
        return House({**self.FILES, path: f'{TOP}#include "{include}"\n'}).ask('floors')

    def test_down_and_own_folder_and_doors_are_open(self):
        for path, include in (('src/mem/a.c', 'base/err.h'), ('src/mem/a.c', 'mem/gmem.h'),
                              ('src/guard/a.c', 'conf/conf.h')):
            self.assertEqual(self.verdict(path, include)[0], 0)

    def test_up_is_refused(self):
        status, said = self.verdict('src/base/a.c', 'mem/gmem.h')
        self.assertEqual(status, 1)
        self.assertIn('src/base/a.c:3', said)
        self.assertIn('may not look up to mem', said)

    def test_sideways_is_refused_and_a_door_opens_one_way(self):
        self.assertEqual(self.verdict('src/mem/a.c', 'conf/conf.h')[0], 1)
        self.assertEqual(House({'src/guard/x.h': TOP, 'src/conf/a.c': TOP + '#include "guard/x.h"\n'})
                         .ask('floors')[0], 1)

    def test_a_name_without_folder_and_a_missing_file_are_refused(self):
        self.assertIn('folder/file.h', self.verdict('src/base/a.c', 'err.h')[1])
        self.assertIn('does not exist', self.verdict('src/mem/a.c', 'base/nothing.h')[1])


class Headers(unittest.TestCase):
    def test_a_header_that_needs_another_is_refused(self):
        good = TOP + '#pragma once\n#include <stdint.h>\nstatic inline uint8_t f(void) { return 1; }\n'
        bad = TOP + '#pragma once\nuint8_t f(void);\n'
        self.assertEqual(House({'src/base/a.h': good}).ask('hdrs', 'cc')[0], 0)
        self.assertEqual(House({'src/base/a.h': bad}).ask('hdrs', 'cc')[0], 1)
        self.assertEqual(House({'src/base/a.h': good.replace('#pragma once\n', '')}).ask('hdrs', 'cc')[0], 1)


class Rules(unittest.TestCase):
    def refuses(self, sentence, path, text, more=()):
        status, said = House({path: text, **dict(more)}).ask('source-rules')
        self.assertEqual(status, 1, said)
        self.assertIn(sentence, said)

    def test_a_clean_file_passes(self):
        text = TOP + '/* iov_base, strcpy(), goto x */\nconst char *s = "iov_base";\nint f(void) { goto out; }\n'
        status, said = House({'src/base/a.c': text}).ask('source-rules')
        self.assertEqual(status, 0, said)

    def test_guest_pointers_have_one_home(self):
        self.refuses('iov_base', 'src/dev/a.c', TOP + 'void *p = v.iov_base;\n')

    def test_architecture_has_its_folders(self):
        self.refuses('__x86_64__', 'src/vm/a.c', TOP + '#if defined(__x86_64__)\n#endif\n')

    def test_todo_needs_words(self):
        self.refuses('TODO', 'src/vm/a.c', TOP + '/* TODO */\n')

    def test_names_are_unique(self):
        self.refuses('two files', 'src/vm/a.c', TOP, [('src/dev/a.c', TOP)])

    def test_tops(self):
        self.refuses('licence line', 'src/vm/a.c', 'int a;\n')

    def test_unsafe_words(self):
        self.refuses('strcpy', 'src/vm/a.c', TOP + 'void f(void) { strcpy(a, b); }\n')
        self.refuses('goto', 'src/vm/a.c', TOP + 'void f(void) { goto err_free; }\n')

    def test_an_ioctl_needs_a_row(self):
        self.refuses('IOCTL(KVM_RUN)', 'src/hv/a.c', TOP + 'int n = ioctl(fd_of(x), KVM_RUN, 0);\n',
                     [('src/hv/a.calls', '# IOCTL(KVM_RUN)\nIOCTL(KVM_NMI)\n')])

    def test_a_thread_needs_a_profile(self):
        self.refuses('no profile "blik"', 'src/vm/a.c',
                     TOP + 'int f(void) { return thread_start(&t, name,\n "blik", fn, 0, e); }\n',
                     [('src/guard/profiles.def', TOP + 'PROFILE(blk, "x.calls")\n')])

    def test_a_class_belongs_in_the_roster(self):
        self.refuses('blk_class is not in', 'src/dev/blk.c', TOP + 'const struct virtio_class blk_class = {};\n',
                     [('src/vm/roster.c', TOP + '/* blk_class */\nconst struct dev_class *const roster[] = {};\n')])

    def test_an_option_needs_a_sentence(self):
        self.refuses('conf/disk.def:4', 'src/conf/disk.def',
                     TOP + 'FIELD(bool, a, .doc = "a")\nFIELD(bool, b,\n\t.def = 1)\nEND\n')

    def test_an_event_needs_a_row_and_a_teller(self):
        rows = TOP + 'EVENT("vm", "booted", "", "it runs")\n'
        tells = 'void f(void) { event("vm", "%s", 0); }\n'
        self.refuses('"vm", "bootet"', 'src/vm/a.c', TOP + tells % 'bootet', [('src/base/event.def', rows)])
        self.refuses('nobody tells "vm", "booted"', 'src/vm/a.c', TOP, [('src/base/event.def', rows)])

    def test_the_picture_of_the_house_has_all_of_it_and_no_more(self):
        doc = {'docs/architecture.md': '| base | `a` is there · `b_*` a family |\n| hv | `kvm/` |\n', 'src/base/a.c': TOP}
        status, said = House({**doc, 'src/base/b_1.h': TOP, 'src/hv/kvm/x.c': TOP}).ask('source-rules')
        self.assertEqual(status, 0, said)
        self.refuses('src/base has no a', 'src/base/b_1.c', TOP, [('docs/architecture.md', doc['docs/architecture.md'])])
        self.refuses('src/base/b: docs/architecture.md does not say', 'src/base/b.c', TOP, doc.items())
        self.refuses('src/hv/x: docs/architecture.md does not say', 'src/hv/x.c', TOP, doc.items())

    def test_a_parser_needs_a_fuzzer(self):
        self.refuses('test/fuzz/x.c', 'src/base/x.c', TOP, [('test/source/parsers', 'base/x.c x.c\n')])

    def test_a_variable_is_found_in_the_objects(self):
        house = House({'src/base/a.c': TOP + 'static int count; int f(void); int f(void) { return count++; }\n'
                                             'const char *const names[] = { "a" };\n'})
        at = house.dir
        subprocess.run(['cc', '-fPIC', '-c', f'{at}/src/base/a.c', '-o', f'{at}/a.o'], check=True)
        subprocess.run(['ar', 'rc', f'{at}/a.a', f'{at}/a.o'], check=True)
        status, said = house.ask('source-rules', f'{at}/a.a')
        self.assertEqual(status, 1)
        self.assertIn('"count" is a variable', said)
        self.assertNotIn('names', said)


class Limits(unittest.TestCase):
    def test_long_functions_are_listed_not_refused(self):
        body = 'int f(int a)\n{\n' + '\ta++;\n' * 80 + '}\n'
        status, said = House({'src/base/a.c': TOP + body}).ask('limits')
        self.assertEqual(status, 0)
        self.assertIn('f has 80 lines', said)


def tearDownModule():
    GROUND.cleanup()


if __name__ == '__main__':
    unittest.main()
