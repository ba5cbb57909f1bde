/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzzer over a corpus: replay [--mutate N] [--seed S] PATH...
 *
 * A path is a file, or a directory of files.  In a file named *.hex each line
 * is an input in hexadecimal digits (`#` opens a comment), so that corpora are
 * text; any other file is one input.  --mutate runs N random changes of each
 * input as well.  Inputs are copied into blocks of their exact size, so that a
 * sanitizer sees a read past the end.
 */
#include "fuzz.h"

#include <ctype.h>
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

static unsigned long mutations, runs, inputs;
static uint64_t seed = 1;

static uint32_t roll(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33);
}

static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	runs++;
}

/* One random change, in place; the new size, at most room. */
static size_t mutate(uint8_t *p, size_t size, size_t room)
{
	static const uint8_t odd[] = {0, 1, 7, 8, 0x7f, 0x80, 0xff};
	size_t at = size ? roll() % size : 0;

	switch (roll() % 6) {
	case 0:
		if (size)
			p[at] ^= (uint8_t)(1u << roll() % 8);
		return size;
	case 1:
		if (size)
			p[at] = odd[roll() % sizeof(odd)];
		return size;
	case 2: /* a count becomes huge */
		if (size >= 4)
			memset(p + at % (size - 3), roll() & 1 ? 0xff : 0x7f, 4);
		return size;
	case 3: return at;
	case 4: /* a piece twice */
		if (size && size + (size - at) <= room) {
			memmove(p + at + (size - at), p + at, size - at);
			return size + (size - at);
		}
		return size;
	default: /* a piece goes */
		if (size) {
			size_t n = roll() % (size - at) + 1;

			memmove(p + at, p + at + n, size - at - n);
			return size - n;
		}
		return size;
	}
}

static void input(const uint8_t *data, size_t size)
{
	size_t room = size * 2 + 64;
	uint8_t *p = malloc(room);

	if (!p)
		abort();
	inputs++;
	run(data, size);
	for (unsigned long i = 0; i < mutations; i++) {
		size_t n = size;

		memcpy(p, data, size);
		for (uint32_t k = roll() % 4 + 1; k; k--)
			n = mutate(p, n, room);
		run(p, n);
	}
	free(p);
}

static int digit(int c)
{
	return isdigit(c) ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

static void hex_lines(const char *text)
{
	uint8_t *p = malloc(strlen(text) / 2 + 1);

	if (!p)
		abort();
	while (*text) {
		size_t n = 0;

		for (; *text && *text != '\n' && *text != '#'; text++) {
			if (digit((unsigned char)text[0]) < 0 || digit((unsigned char)text[1]) < 0)
				continue;
			p[n++] = (uint8_t)(digit((unsigned char)text[0]) << 4 |
					   digit((unsigned char)text[1]));
			text++;
		}
		text += strcspn(text, "\n");
		text += *text == '\n';
		if (n)
			input(p, n);
	}
	free(p);
}

static int file(const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t len = strlen(path);
	struct stat st;
	char *text;

	if (!f || fstat(fileno(f), &st) || !(text = calloc(1, (size_t)st.st_size + 1))) {
		fprintf(stderr, "cannot read %s\n", path);
		return 1;
	}
	if (fread(text, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
		fprintf(stderr, "%s is shorter than it was\n", path);
	fclose(f);
	if (len > 4 && !strcmp(path + len - 4, ".hex"))
		hex_lines(text);
	else
		input((const uint8_t *)text, (size_t)st.st_size);
	free(text);
	return 0;
}

static int directory(const char *path, DIR *d)
{
	struct dirent *e;
	int bad = 0;

	while ((e = readdir(d))) {
		char name[4096];

		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		bad |= file(name);
	}
	closedir(d);
	return bad;
}

int main(int argc, char **argv)
{
	int bad = 0;

	for (int i = 1; i < argc; i++) {
		DIR *d;

		if (!strcmp(argv[i], "--mutate") && i + 1 < argc)
			mutations = strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 0);
		else if ((d = opendir(argv[i])))
			bad |= directory(argv[i], d);
		else
			bad |= file(argv[i]);
	}
	printf("# %lu inputs, %lu runs\n", inputs, runs);
	printf("%s 1 - corpus\n1..1\n", bad || !inputs ? "not ok" : "ok");
	return bad || !inputs;
}
