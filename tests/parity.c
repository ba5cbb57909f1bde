/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the error-parity table and prints it as TAP.  The same program runs on the
 * soft GPU directly and through the pool; on a machine with a GPU it shows where the
 * table is wrong.
 *
 *	parity [NAME...]	all rows, or those
 */
#include "parity.h"

#include <sys/wait.h>
#include <unistd.h>

struct setting on;
static struct row *first, *last;
static CUdeviceptr flag;
static CUstream flag_stream;

void row_add(struct row *r)
{
	if (last)
		last->next = r;
	else
		first = r;
	last = r;
}

void hold(void)
{
	CUdeviceptr out = flag + 4;
	void *params[] = {&flag, &out};

	MUST(cuMemsetD32(flag, 0, 2));
	MUST(cuCtxSynchronize());
	MUST(cuLaunchKernel(call_function("spin"), 1, 1, 1, 1, 1, 1, 0, on.s, params, NULL));
}

void release(void)
{
	MUST(cuMemsetD32Async(flag, 1, 1, flag_stream));
	MUST(cuStreamSynchronize(flag_stream));
	MUST(cuStreamSynchronize(on.s));
}

static void setup(void)
{
	on.ctx = call_begin();
	MUST(cuCtxGetDevice(&on.dev));
	MUST(cuStreamCreate(&on.s, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&flag_stream, CU_STREAM_NON_BLOCKING));
	on.p = call_alloc(1 << 20);
	flag = call_alloc(8);
	on.nothing = call_function("nothing");
	on.poke = call_function("poke");
	on.narrow = call_function("narrow");
}

static const char *code_name(CUresult r)
{
	const char *name = NULL;

	if (cuGetErrorName(r, &name) != CUDA_SUCCESS || !name)
		return "?";
	return name;
}

/* The context still works: a wait is good, and memory can be written and read. */
static int healthy(void)
{
	unsigned word = 0;

	return cuCtxSynchronize() == CUDA_SUCCESS && cuMemsetD32(on.p, 0x1234, 1) == CUDA_SUCCESS &&
	       cuMemcpyDtoH(&word, on.p, 4) == CUDA_SUCCESS && word == 0x1234;
}

static int run_now(struct row *r)
{
	CUresult got = r->run();
	int good = got == r->want;

	if (!good)
		printf("# %s: got %d %s, expected %d\n", r->name, got, code_name(got), r->want);
	if (!healthy()) {
		good = 0;
		if (!healthy()) {
			printf("# %s: the context did not survive\n", r->name);
			exit(1);
		}
		printf("# %s: another code came late\n", r->name);
	}
	return good;
}

/* In a process of its own, before this one has called cuInit. */
static int run_late(struct row *r)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return 0;
	if (!pid) {
		CUresult got, again, third;
		CUdeviceptr p;

		setup();
		got = r->run();
		again = cuCtxSynchronize();
		third = cuMemAlloc(&p, 16);
		if (got != r->want || again != r->want || third != r->want)
			printf("# %s: got %d, then %d and %d, expected %d each time\n", r->name, got, again,
			       third, r->want);
		fflush(stdout);
		_exit(got != r->want || again != r->want || third != r->want);
	}
	return waitpid(pid, &status, 0) == pid && !status;
}

static int wanted(const struct row *r, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (!strcmp(argv[i], r->name))
			return 1;
	return argc < 2;
}

int main(int argc, char **argv)
{
	static const char *const sources[] = {"NVIDIA's text", "observed", "unverified: listed", "unverified"};
	unsigned n = 0, bad = 0, by[4] = {0};
	enum when pass;
	struct row *r;

	for (pass = LATE;; pass = NOW) {
		for (r = first; r; r = r->next) {
			int good;

			if (r->when != pass || !wanted(r, argc, argv))
				continue;
			good = pass == LATE ? run_late(r) : run_now(r);
			printf("%s %u - %s, %s: %d, %s [%s: %s]\n", good ? "ok" : "not ok", ++n, r->call,
			       r->input, r->want, pass == LATE ? "late, sticky" : "at once, not sticky",
			       sources[r->source], r->says);
			fflush(stdout);
			by[r->source]++;
			bad += !good;
		}
		if (pass == NOW)
			break;
		setup();
	}
	printf("1..%u\n", n);
	printf("# %u rows: %u verified (%u by NVIDIA's text, %u on a driver), %u unverified (%u of them listed)\n", n,
	       by[TEXT] + by[OBSERVED], by[TEXT], by[OBSERVED], by[LISTED] + by[GUESS], by[LISTED]);
	return bad ? 1 : 0;
}
