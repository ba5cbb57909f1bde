/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image readers against real libraries, where a CUDA toolkit is installed.
 *
 * Every fatbin found in a shared object is walked and every cubin and PTX entry decoded
 * and read.  Without arguments the libraries of an installed toolkit are sampled for a
 * few seconds; with file names those are read whole, and their entries are counted.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/test.h"
#include "cuabi/cuabi.h"

#define LIBRARIES "/usr/local/cuda/lib64"

struct tally {
	unsigned fatbins, cubins, texts, lto, other, bad, unread;
	size_t kernels, params, variables, decoded, compared, differ;
	unsigned by_sm[2][256]; /* cubins, texts */
	uint64_t decode_ns, read_ns, text_bytes, text_ns;
};

static void member_read(const struct mp_member *m, struct tally *t)
{
	char *out = malloc(m->size + 1);
	struct mp_contents c;
	struct mp_arena arena;
	uint64_t start = mp_now_ns(), end;
	size_t i;

	if (!out)
		abort();
	if (mp_member_decode(m, out)) {
		t->bad++;
		free(out);
		return;
	}
	t->decode_ns += mp_now_ns() - start;
	t->decoded += m->size;
	mp_arena_init(&arena, (size_t)256 << 20);
	start = mp_now_ns();
	if (mp_contents_read(out, m->size, &arena, &c) || c.sm != m->sm) {
		t->unread++;
		if (getenv("MOTORPOOL_TEST_DUMP")) {
			FILE *f = fopen(getenv("MOTORPOOL_TEST_DUMP"), "w");

			fwrite(out, 1, m->size, f);
			fclose(f);
		}
	}
	end = mp_now_ns() - start;
	t->read_ns += end;
	if (m->kind == MP_MEMBER_PTX) {
		t->text_ns += end;
		t->text_bytes += m->size;
	}
	t->kernels += c.nkernels;
	t->variables += c.nvariables;
	for (i = 0; i < c.nkernels; i++)
		t->params += c.kernels[i].nparams;
	mp_arena_fini(&arena);
	free(out);
}

static void fatbin_read(const struct mp_image *image, struct tally *t, uint64_t deadline)
{
	enum mp_image_outcome rc;
	struct mp_member m;
	size_t cursor = 0;

	while (!(rc = mp_image_next(image, &cursor, &m))) {
		if (m.kind == MP_MEMBER_LTOIR) {
			t->lto++;
			continue;
		}
		if (m.kind != MP_MEMBER_CUBIN && m.kind != MP_MEMBER_PTX) {
			t->other++;
			continue;
		}
		t->cubins += m.kind == MP_MEMBER_CUBIN;
		t->texts += m.kind == MP_MEMBER_PTX;
		t->by_sm[m.kind == MP_MEMBER_PTX][m.sm & 255]++;
		if (!deadline || mp_now_ns() < deadline)
			member_read(&m, t);
	}
	t->bad += rc != MP_IMAGE_NO_MEMBER;
}

static bool member_contents(const struct mp_image *image, unsigned take, struct mp_arena *arena,
			    struct mp_contents *ret)
{
	struct mp_member m, best = {0};
	size_t cursor = 0;
	bool ok;
	char *out;

	/* The one of the highest target: it has the same source as the text. */
	while (!mp_image_next(image, &cursor, &m))
		if (m.sm > best.sm && m.kind == (take == MP_TAKE_PTX ? MP_MEMBER_PTX : MP_MEMBER_CUBIN))
			best = m;
	if (!best.sm)
		return false;
	out = malloc(best.size + 1);
	if (!out)
		abort();
	ok = !mp_member_decode(&best, out) && !mp_contents_read(out, best.size, arena, ret);
	free(out);
	return ok;
}

/* Kernels whose parameters read alike from the text and from the cubin of one fatbin. */
static void layouts_compare(const struct mp_image *image, struct tally *t)
{
	struct mp_contents text, elf;
	struct mp_arena arena;
	size_t i, j;

	mp_arena_init(&arena, (size_t)256 << 20);
	if (member_contents(image, MP_TAKE_PTX, &arena, &text) &&
	    member_contents(image, MP_TAKE_CUBIN, &arena, &elf) && text.nkernels * elf.nkernels < 4000000)
		for (i = 0; i < text.nkernels; i++) {
			const struct mp_kernel *a = &text.kernels[i], *b = NULL;

			for (j = 0; j < elf.nkernels && !b; j++)
				if (!strcmp(a->name, elf.kernels[j].name))
					b = &elf.kernels[j];
			if (!b)
				continue;
			t->compared++;
			if (a->nparams == b->nparams && a->param_bytes == b->param_bytes &&
			    (!a->nparams || !memcmp(a->params, b->params, a->nparams * sizeof(*a->params))) &&
			    !memcmp(a->maxntid, b->maxntid, sizeof(a->maxntid)))
				continue;
			if (!t->differ++)
				printf("# differs: %s: %u/%u parameters, %u/%u bytes, maxntid %u/%u\n",
				       a->name, a->nparams, b->nparams, a->param_bytes, b->param_bytes,
				       a->maxntid[0], b->maxntid[0]);
		}
	mp_arena_fini(&arena);
}

/* false when there is no such file. */
static bool library_read(const char *path, struct tally *t, uint64_t deadline)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct mp_image image;
	const uint8_t *p;
	struct stat st;
	size_t at;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < 64) {
		close(fd);
		return false;
	}
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return false;
	for (at = 0; at + 16 <= (size_t)st.st_size; at += 8) {
		if (memcmp(p + at, "\x50\xed\x55\xba\x01\x00\x10\x00", 8) ||
		    mp_image_open(p + at, (size_t)st.st_size - at, &image) || image.size == 16)
			continue;
		if (deadline && mp_now_ns() > deadline)
			break;
		t->fatbins++;
		fatbin_read(&image, t, deadline);
		layouts_compare(&image, t);
		at += mp_align_up(image.size, 8) - 8;
	}
	munmap((void *)p, (size_t)st.st_size);
	return true;
}

static void tally_print(const char *name, const struct tally *t)
{
	int kind, sm;

	printf("# %s: %u fatbins, %u cubins, %u texts, %u LTO, %u other; %u bad, %u unread; "
	       "%zu kernels, %zu parameters, %zu variables; %zu MB, decode %.0f ms, read %.0f ms",
	       name, t->fatbins, t->cubins, t->texts, t->lto, t->other, t->bad, t->unread,
	       t->kernels, t->params, t->variables, t->decoded >> 20, (double)t->decode_ns / 1e6,
	       (double)t->read_ns / 1e6);
	if (t->text_ns)
		printf(", text %.0f MB/s", (double)t->text_bytes * 1e3 / (double)t->text_ns);
	for (kind = 0; kind < 2; kind++)
		for (sm = 0; sm < 256; sm++)
			if (t->by_sm[kind][sm])
				printf(" %s%d:%u", kind ? "ptx" : "", sm, t->by_sm[kind][sm]);
	printf("; %zu layouts compared, %zu differ\n", t->compared, t->differ);
}

MP_TEST(toolkit_libraries)
{
	static const char *const sample[] = {"libcurand.so.10", "libcublas.so.13", "libcufft.so.12",
					     "libcusparse.so.12", "libnccl.so.2"};
	unsigned found = 0;
	size_t i;

	for (i = 0; i < MP_ARRAY_LEN(sample); i++) {
		struct tally t = {0};
		char path[256];

		snprintf(path, sizeof(path), "%s/%s", LIBRARIES, sample[i]);
		if (!library_read(path, &t, mp_now_ns() + 700000000))
			continue;
		found++;
		MP_CHECK(t.fatbins && t.kernels);
		MP_CHECK_EQ(t.bad, 0);
		MP_CHECK_EQ(t.unread, 0);
		MP_CHECK_EQ(t.differ, 0);
		tally_print(sample[i], &t);
	}
	if (!found)
		MP_SKIP("no CUDA libraries in " LIBRARIES);
}

int main(int argc, char **argv)
{
	int i, bad = 0;

	if (argc < 2)
		return mp_test_run(argc, argv);
	for (i = 1; i < argc; i++) {
		struct tally t = {0};

		if (!library_read(argv[i], &t, 0))
			continue;
		tally_print(argv[i], &t);
		bad += t.bad || t.unread || t.differ;
	}
	return bad != 0;
}
