/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkfilter ARCH SRC OUT ROWS [[control=]EXTRA.calls]...: a build tool that turns the system-call rows beside the code into constant
 * BPF programs, one per thread profile, so that the VMM needs neither a library nor a compiler to confine a thread.
 * ROWS is for the census of test/e2e: what rows there are, and how long each program is. No two are of one length, so
 * that a trace of the program tells which a thread has loaded.
 *
 * SRC/guard/profiles.def names the profiles and their files; SRC/guard/common.calls belongs to each; EXTRA too, or, with "control=", to that profile
 * (the sanitizers' own calls). The profile "control" is the union of all, because filters are inherited. Rows:
 *
 *	CALL(name)				allowed whatever its arguments
 *	CALL_ARG(name, index, value)		allowed when that argument equals value
 *	CALL_MASK(name, index, mask, value)	allowed when (argument & mask) equals value
 *	IOCTL(REQUEST)				CALL_ARG(ioctl, 1, REQUEST)
 *	IOCTL_FIRST(REQUEST)			the same, judged before all others: for the one that is made all the time
 *
 * OWN_PROCESS as a value stands for the number of the process that loads the program: a number that nothing else
 * has is in its place until then.
 *
 * A last word in quotes says why the row is there though no test on our own hosts needs it:
 *
 *	CALL(epoll_pwait2, "newer C libraries")
 *
 * Several conditional rows of a call are alternatives. Comments are C's, and # to the end of the line. A call that ARCH
 * does not have is passed over; a name that no architecture has is an error. What is not allowed gets
 * SECCOMP_RET_TRAP, which guard/seccomp.c exchanges in other modes; a foreign architecture's call kills.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the constants of rows come from. */
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/sockios.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define OWN_PROCESS 0x6f776e70

static const struct constant {
	const char *name;
	unsigned long long value;
} constants[] = {
#include "callnames.inc"
	{ NULL, 0 },
};

struct rule {
	int nr;			/* of this architecture; < 0: it has none */
	int native;		/* as libseccomp wants it told: of the build machine, translated inside */
	bool always, first;
	unsigned int arg;
	uint64_t mask, value;
};

struct rules {
	struct rule *at;
	size_t count;
};

#define WORDS_MAX 32
#define WORD_MAX 128

/* One row, taken apart. */
struct row {
	unsigned int words, line;
	char word[WORDS_MAX][WORD_MAX];
	const char *reason; /* the last word, if it was quoted; not counted */
};

struct profile {
	char name[32];
	struct rules rules;
};

/* A text being read, for messages. */
struct source {
	const char *path;
	char *text, *at;
	unsigned int line;
};

static void __attribute__((noreturn, format(printf, 2, 3)))
die(const struct source *s, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "mkfilter: ");
	if (s)
		fprintf(stderr, "%s:%u: ", s->path, s->line);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static struct source source_open(const char *path)
{
	struct source s = { .path = path, .line = 1 };
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f)
		die(NULL, "%s: %s", path, strerror(errno));
	s.text = s.at = calloc(1, 1 << 20);
	if (!s.text)
		die(NULL, "no memory");
	n = fread(s.text, 1, (1 << 20) - 1, f);
	if (n == (1 << 20) - 1 || ferror(f))
		die(NULL, "%s: cannot be read, or is too long", path);
	fclose(f);
	return s;
}

static void skip_blank(struct source *s)
{
	for (; *s->at; s->at++) {
		if (s->at[0] == '/' && s->at[1] == '*') {
			for (s->at += 2; *s->at && !(s->at[0] == '*' && s->at[1] == '/'); s->at++)
				s->line += *s->at == '\n';
			if (!*s->at)
				die(s, "comment without an end");
			s->at++;
			continue;
		}
		if (*s->at == '#')
			while (s->at[1] && s->at[1] != '\n')
				s->at++;
		else if (!isspace((unsigned char)*s->at))
			return;
		s->line += *s->at == '\n';
	}
}

static void expect(struct source *s, char c)
{
	skip_blank(s);
	if (*s->at != c)
		die(s, "expected '%c'", c);
	s->at++;
}

/* Was the word in quotes? */
static bool word_read(struct source *s, char *out)
{
	size_t n = 0;
	bool quoted;

	skip_blank(s);
	quoted = *s->at == '"';
	if (quoted)
		s->at++;
	while (*s->at && (quoted ? *s->at != '"' && *s->at != '\n'
				 : isalnum((unsigned char)*s->at) || *s->at == '_')) {
		if (n == WORD_MAX - 1)
			die(s, "word too long");
		out[n++] = *s->at++;
	}
	out[n] = '\0';
	if (quoted)
		expect(s, '"');
	if (!n)
		die(s, "expected a word before '%c'", *s->at);
	return quoted;
}

/* NAME(word, word...) into r; false at the end of the text. */
static bool row_read(struct source *s, struct row *r)
{
	bool quoted;
	char end;

	skip_blank(s);
	if (!*s->at)
		return false;
	r->words = 0;
	r->line = s->line;
	word_read(s, r->word[r->words++]);
	expect(s, '(');
	do {
		if (r->words == WORDS_MAX)
			die(s, "too many words");
		quoted = word_read(s, r->word[r->words++]);
		skip_blank(s);
		end = *s->at;
		if (end == ',')
			s->at++;
	} while (end == ',');
	expect(s, ')');
	r->reason = quoted ? r->word[r->words - 1] : NULL;
	return true;
}

static uint64_t number(const struct source *s, const char *word)
{
	char *end;
	uint64_t v = strtoull(word, &end, 0);

	if (!*end)
		return v;
	for (const struct constant *c = constants; c->name; c++)
		if (!strcmp(c->name, word))
			return c->value;
	die(s, "%s is neither a number nor a constant", word);
}

static void rule_call(struct rule *r, const struct source *s, uint32_t arch, const char *name)
{
	r->nr = seccomp_syscall_resolve_name_arch(arch, name);
	r->native = seccomp_syscall_resolve_name(name);
	if (r->nr == __NR_SCMP_ERROR)
		die(s, "%s is no system call", name);
}

static void rule_add(struct rules *to, const struct rule *r)
{
	for (size_t i = 0; i < to->count; i++) {
		const struct rule *o = &to->at[i];

		if (o->nr == r->nr && o->always == r->always && o->arg == r->arg && o->mask == r->mask &&
		    o->value == r->value)
			return;
	}
	to->at = reallocarray(to->at, to->count + 1, sizeof(*to->at));
	if (!to->at)
		die(NULL, "no memory");
	to->at[to->count++] = *r;
}

static void rules_union(struct rules *to, const struct rules *from)
{
	for (size_t i = 0; i < from->count; i++)
		rule_add(to, &from->at[i]);
}

/* A row of calls; quotes in profiles.def hold files. */
static bool call_read(struct source *s, struct row *r)
{
	if (!row_read(s, r))
		return false;
	if (r->reason)
		r->words--;
	return true;
}

static struct rule rule_of_row(const struct source *s, const struct row *r, uint32_t arch)
{
	struct rule rule = { .mask = UINT64_MAX };
	const char *kind = r->word[0];

	if (!strcmp(kind, "CALL") && r->words == 2) {
		rule.always = true;
	} else if ((!strcmp(kind, "IOCTL") || !strcmp(kind, "IOCTL_FIRST")) && r->words == 2) {
		rule.first = !strcmp(kind, "IOCTL_FIRST");
		rule.arg = 1;
		rule.value = number(s, r->word[1]);
		rule_call(&rule, s, arch, "ioctl");
		return rule;
	} else if (!strcmp(kind, "CALL_ARG") && r->words == 4) {
		rule.value = number(s, r->word[3]);
	} else if (!strcmp(kind, "CALL_MASK") && r->words == 5) {
		rule.mask = number(s, r->word[3]);
		rule.value = number(s, r->word[4]);
	} else {
		die(s, "%s with %u words is no row", kind, r->words - 1);
	}
	rule_call(&rule, s, arch, r->word[1]);
	if (!rule.always) {
		rule.arg = (unsigned int)number(s, r->word[2]);
		if (rule.arg > 5)
			die(s, "a system call has arguments 0 to 5");
	}
	return rule;
}

/* Where rows are told. */
static FILE *told;

/* row PROFILE FILE LINE CALL ARGUMENT|- MASK VALUE REASON|- */
static void row_tell(const char *profile, const char *file, const struct row *r, const struct rule *rule)
{
	bool request = !strncmp(r->word[0], "IOCTL", 5);

	fprintf(told, "row\t%s\t%s\t%u\t%s\t", profile, file, r->line, request ? "ioctl" : r->word[1]);
	if (rule->always)
		fprintf(told, "-\t0\t0");
	else
		fprintf(told, "%u\t%" PRIu64 "\t%" PRIu64, rule->arg, rule->mask, rule->value);
	fprintf(told, "\t%s\t%s(%s)\n", r->reason ? r->reason : "-", r->word[0], r->word[1]);
}

/* profile and name are for telling; without a name nothing is told. */
static void rules_read(struct rules *to, const char *path, uint32_t arch, const char *profile, const char *name)
{
	struct source s = source_open(path);
	struct row r;

	while (call_read(&s, &r)) {
		struct rule rule = rule_of_row(&s, &r, arch);

		rule_add(to, &rule);
		if (name && rule.nr >= 0)
			row_tell(profile, name, &r, &rule);
	}
	free(s.text);
}

static void rules_read_in(struct rules *to, const char *dir, const char *name, uint32_t arch, const char *profile)
{
	char path[4096];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
		die(NULL, "%s: path too long", name);
	rules_read(to, path, arch, profile, name);
}

static bool always_allowed(const struct rules *rules, int nr)
{
	for (size_t i = 0; i < rules->count; i++)
		if (rules->at[i].nr == nr && rules->at[i].always)
			return true;
	return false;
}

static scmp_filter_ctx filter_of(const struct profile *p, uint32_t arch)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_TRAP);
	int rc = f ? 0 : -ENOMEM;

	if (!rc && arch != seccomp_arch_native()) {
		rc = seccomp_arch_add(f, arch);
		if (!rc)
			rc = seccomp_arch_remove(f, seccomp_arch_native());
	}
	if (!rc)
		rc = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!rc)
		rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; !rc && i < p->rules.count; i++) {
		const struct rule *r = &p->rules.at[i];

		if (r->nr < 0 || (!r->always && always_allowed(&p->rules, r->nr)))
			continue;
		if (r->always)
			rc = seccomp_rule_add_exact(f, SCMP_ACT_ALLOW, r->native, 0);
		else
			rc = seccomp_rule_add_exact(f, SCMP_ACT_ALLOW, r->native, 1,
						    SCMP_CMP(r->arg, SCMP_CMP_MASKED_EQ, r->mask, r->value));
	}
	if (rc)
		die(NULL, "profile %s: %s", p->name, strerror(-rc));
	return f;
}

static void insn_print(FILE *out, const struct sock_filter *i)
{
	fprintf(out, "\t{ 0x%02x, %u, %u, 0x%08x },\n", i->code, i->jt, i->jf, i->k);
}

/* Ahead of libseccomp's program, which follows unchanged where the request is another. */
static unsigned int first_print(FILE *out, const struct rule *r, uint32_t arch)
{
	const uint32_t arg = (uint32_t)offsetof(struct seccomp_data, args[1]);
	const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->nr, 0, 7),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg),	/* low half: little-endian */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->value, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(r->value >> 32), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	for (size_t i = 0; i < sizeof(code) / sizeof(code[0]); i++)
		insn_print(out, &code[i]);
	return sizeof(code) / sizeof(code[0]);
}

/* Instructions behind the last that is reached, until no other program has the length. */
static unsigned int length_alone(FILE *out, unsigned int length)
{
	static const struct sock_filter never = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	static bool taken[BPF_MAXINSNS + 1];

	for (; length < BPF_MAXINSNS && taken[length]; length++)
		insn_print(out, &never);
	taken[length] = true;
	return length;
}

static void profile_print(FILE *out, const struct profile *p, uint32_t arch)
{
	scmp_filter_ctx f = filter_of(p, arch);
	FILE *tmp = tmpfile();
	struct sock_filter insn;
	unsigned int length = 0;
	int rc;

	if (!tmp)
		die(NULL, "temporary file: %s", strerror(errno));
	rc = seccomp_export_bpf(f, fileno(tmp));
	if (rc)
		die(NULL, "profile %s: %s", p->name, strerror(-rc));
	seccomp_release(f);
	rewind(tmp);
	fprintf(out, "\nstatic const struct sock_filter code_%s[] = {\n", p->name);
	for (size_t i = 0; i < p->rules.count; i++)
		if (p->rules.at[i].first)
			length += first_print(out, &p->rules.at[i], arch);
	for (; fread(&insn, sizeof(insn), 1, tmp) == 1; length++)
		insn_print(out, &insn);
	fprintf(told, "profile\t%s\t%u\n", p->name, length_alone(out, length));
	fprintf(out, "};\n");
	fclose(tmp);
}

/* One text: a table of pointers would be as large again, and have its place in memory written at every
 * start. */
static void names_print(FILE *out, uint32_t arch)
{
	int count = 0;

	fprintf(out, "\nconst char seccomp_calls[] =\n");
	for (int nr = 0; nr < 1024; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(arch, nr);

		/* those between two that have a name have none */
		for (; name && count < nr; count++)
			fprintf(out, "\t\"\\0\"\n");
		if (name)
			fprintf(out, "\t\"%s\\0\"\n", name);
		count += name != NULL;
		free(name);
	}
	fprintf(out, "\t\"\";\nconst unsigned int seccomp_call_count = %d;\n", count);
}

/* The profiles of SRC/guard/profiles.def, each with the common rules; "control" comes last, as the union. */
static size_t profiles_read(struct profile *to, size_t max, const char *src, const struct rules *common,
			    uint32_t arch)
{
	struct profile control = { .name = "control" };
	char path[4096];
	struct source s;
	size_t count = 0;
	struct row r;

	snprintf(path, sizeof(path), "%s/guard/profiles.def", src);
	s = source_open(path);
	rules_union(&control.rules, common);
	while (row_read(&s, &r)) {
		struct profile *p = !strcmp(r.word[1], "control") ? &control : &to[count];

		if (strcmp(r.word[0], "PROFILE"))
			die(&s, "expected PROFILE");
		if (p != &control && count++ == max - 1)
			die(&s, "too many profiles");
		snprintf(p->name, sizeof(p->name), "%.31s", r.word[1]);
		rules_union(&p->rules, common);
		for (unsigned int i = 2; i < r.words; i++)
			rules_read_in(&p->rules, src, r.word[i], arch, p->name);
		if (p != &control)
			rules_union(&control.rules, &p->rules);
	}
	to[count++] = control;
	free(s.text);
	return count;
}

#define CONTROL "control="	/* in front of a file of that profile alone */

int main(int argc, char **argv)
{
	static struct profile profiles[64];
	struct rules common = { 0 };
	uint32_t arch;
	size_t count;
	FILE *out;

	if (argc < 5)
		die(NULL, "usage: mkfilter ARCH SRC OUT ROWS [EXTRA.calls | control=EXTRA.calls]...");
	arch = seccomp_arch_resolve_name(argv[1]);
	if (!arch)
		die(NULL, "libseccomp does not know the architecture %s", argv[1]);
	told = fopen(argv[4], "we");
	if (!told)
		die(NULL, "%s: %s", argv[4], strerror(errno));
	rules_read_in(&common, argv[2], "guard/common.calls", arch, "*");
	for (int i = 5; i < argc; i++)
		if (strncmp(argv[i], CONTROL, strlen(CONTROL)))
			rules_read(&common, argv[i], arch, NULL, NULL);
	count = profiles_read(profiles, sizeof(profiles) / sizeof(profiles[0]), argv[2], &common, arch);
	/* which is the last */
	for (int i = 5; i < argc; i++)
		if (!strncmp(argv[i], CONTROL, strlen(CONTROL)))
			rules_read(&profiles[count - 1].rules, argv[i] + strlen(CONTROL), arch, NULL, NULL);

	out = fopen(argv[3], "we");
	if (!out)
		die(NULL, "%s: %s", argv[3], strerror(errno));
	fprintf(out, "/* Made by tools/mkfilter from guard/profiles.def and the .calls files for %s. */\n"
		"#include \"guard/filters.h\"\n", argv[1]);
	for (size_t i = 0; i < count; i++)
		profile_print(out, &profiles[i], arch);
	fprintf(out, "\nconst struct seccomp_filter seccomp_filters[] = {\n");
	for (size_t i = 0; i < count; i++) {
		fprintf(out, "\t{ \"%s\", code_%s, sizeof(code_%s) / sizeof(code_%s[0]) },\n", profiles[i].name,
			profiles[i].name, profiles[i].name, profiles[i].name);
		free(profiles[i].rules.at);
	}
	fprintf(out, "};\nconst unsigned int seccomp_filter_count = %zu;\n", count);
	fprintf(out, "const unsigned int seccomp_own_process = 0x%x;\n", OWN_PROCESS);
	names_print(out, arch);
	free(common.at);
	if (ferror(out) || fclose(out) || ferror(told) || fclose(told))
		die(NULL, "%s and %s: cannot be written", argv[3], argv[4]);
	return 0;
}
