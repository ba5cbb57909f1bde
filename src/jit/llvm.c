/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libLLVM, found by dlopen and used through the part of its C interface that
 * has not changed since version 15: parse, run passes by name, emit an object.
 */
#include "jit/llvm.h"
#include "jit/load.h"
#include "jit/seed.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

/* Opaque to us, as they are to every user of the C interface. */
typedef void *ref;

/* What is used: result, name without "LLVM", arguments. Enumerations are ints. */
#define CALLS(X)                                                                                       \
	X(void, InitializeX86TargetInfo, (void))                                                       \
	X(void, InitializeX86Target, (void))                                                           \
	X(void, InitializeX86TargetMC, (void))                                                         \
	X(void, InitializeX86AsmPrinter, (void))                                                       \
	X(ref, ContextCreate, (void))                                                                  \
	X(void, ContextDispose, (ref))                                                                 \
	X(ref, CreateMemoryBufferWithMemoryRangeCopy, (const char *, size_t, const char *))            \
	X(int, ParseIRInContext, (ref, ref, ref *, char **))                                           \
	X(void, DisposeModule, (ref))                                                                  \
	X(void, SetTarget, (ref, const char *))                                                        \
	X(char *, PrintModuleToString, (ref))                                                          \
	X(void, DisposeMessage, (char *))                                                              \
	X(char *, GetDefaultTargetTriple, (void))                                                      \
	X(char *, GetHostCPUName, (void))                                                              \
	X(char *, GetHostCPUFeatures, (void))                                                          \
	X(int, GetTargetFromTriple, (const char *, ref *, char **))                                    \
	X(ref, CreateTargetMachine, (ref, const char *, const char *, const char *, int, int, int))    \
	X(void, DisposeTargetMachine, (ref))                                                           \
	X(ref, CreateTargetDataLayout, (ref))                                                          \
	X(void, SetModuleDataLayout, (ref, ref))                                                       \
	X(void, DisposeTargetData, (ref))                                                              \
	X(int, TargetMachineEmitToMemoryBuffer, (ref, ref, int, char **, ref *))                       \
	X(const char *, GetBufferStart, (ref))                                                         \
	X(size_t, GetBufferSize, (ref))                                                                \
	X(void, DisposeMemoryBuffer, (ref))                                                            \
	X(ref, CreatePassBuilderOptions, (void))                                                       \
	X(void, DisposePassBuilderOptions, (ref))                                                      \
	X(ref, RunPasses, (ref, const char *, ref, ref))                                               \
	X(char *, GetErrorMessage, (ref))                                                              \
	X(void, DisposeErrorMessage, (char *))                                                         \
	X(void, ContextSetDiagnosticHandler, (ref, void (*)(ref, void *), void *))                     \
	X(int, GetDiagInfoSeverity, (ref))                                                             \
	X(int, VerifyModule, (ref, int, char **))                                                      \
	X(void, InstallFatalErrorHandler, (void (*)(const char *)))

static struct {
#define X(result, name, args) result(*name) args;
	CALLS(X)
#undef X
	void (*GetVersion)(unsigned *, unsigned *, unsigned *); /* since 16 */
	ref target;
	char *triple, *cpu, *features;
	char version[32], missing[160];
	bool ready, failed; /* failed: it broke down once and is not asked again */
} llvm;

/* Where a thread goes on when LLVM breaks down under it: see mp_jit_guard(). */
static __thread sigjmp_buf *guard;

sigjmp_buf *llvm_guard(void)
{
	return guard;
}

/* What LLVM calls before it would end the process. */
static void fatal(const char *reason)
{
	mp_log(MP_LOG_WARN, "jit", "llvm", "fatal=\"%s\"", reason ? reason : "");
	if (guard)
		siglongjmp(*guard, 1);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *open_library(char *name, size_t size)
{
	static const char *const forms[] = {"libLLVM.so.%d.1", "libLLVM-%d.so.1", "libLLVM-%d.so", "libLLVM.so.%d"};
	const char *own = getenv("MOTORPOOL_SOFT_LLVM");
	void *lib;
	int version;
	size_t i;

	if (own) { /* a path, or something that is none: no LLVM */
		snprintf(name, size, "%s", own);
		return *own ? dlopen(own, RTLD_NOW | RTLD_LOCAL) : NULL;
	}
	/* The newest that has been tried, then newer ones, then older ones. */
	for (version = 20; version >= 15; version--)
		for (i = 0; i < MP_ARRAY_LEN(forms); i++) {
			snprintf(name, size, forms[i], version);
			lib = dlopen(name, RTLD_NOW | RTLD_LOCAL);
			if (lib)
				return lib;
		}
	return NULL;
}

static bool target_find(void)
{
	char *err = NULL;

	llvm.triple = llvm.GetDefaultTargetTriple();
	llvm.cpu = llvm.GetHostCPUName();
	llvm.features = llvm.GetHostCPUFeatures();
	if (!llvm.triple || !llvm.cpu || !llvm.features)
		return false;
	if (llvm.GetTargetFromTriple(llvm.triple, &llvm.target, &err)) {
		snprintf(llvm.missing, sizeof(llvm.missing), "libLLVM has no x86-64: %.80s", err ? err : "");
		return false;
	}
	return true;
}

static void dump_bytes(const char *prefix, const char *what, const char *p, size_t n)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s.%s", prefix, what);
	f = fopen(path, "w");
	if (f) {
		fwrite(p, 1, n, f);
		fclose(f);
	}
}

static void dump_module(ref module, const char *prefix, const char *stage)
{
	char *text = llvm.PrintModuleToString(module);

	dump_bytes(prefix, stage, text, strlen(text));
	llvm.DisposeMessage(text);
}

/*
 * Errors of the code generator come back as results and remarks are nobody's
 * business.  A warning is what "warn-stack-size" gives: the function would need
 * more of its stack than there is.
 */
static void diagnostic(ref info, void *arg)
{
	if (llvm.GetDiagInfoSeverity(info) == 1)
		*(bool *)arg = true;
}

static const char passes[] =
	"function(sroa,early-cse<memssa>,instcombine,simplifycfg,gvn,loop-mssa(licm),instcombine,simplifycfg)";

/* For programs that run once, by the thousand. */
static const char quick_passes[] = "function(sroa)";

static char *emit(ref module, const struct llvm_how *how, size_t *ret_len, char *why, size_t why_size)
{
	/* 0 or 2: optimisation; 2: position independent; 3: small code model */
	ref machine = llvm.CreateTargetMachine(llvm.target, llvm.triple, how->plain_isa ? "x86-64" : llvm.cpu,
					       how->plain_isa ? "" : llvm.features, how->quick ? 0 : 2, 2, 3);
	const char *dump = how->dump;
	ref layout, options, error, buffer = NULL;
	char *err = NULL, *object = NULL;
	uint64_t t0, t1;

	if (!machine) {
		snprintf(why, why_size, "no target machine");
		return NULL;
	}
	layout = llvm.CreateTargetDataLayout(machine);
	llvm.SetModuleDataLayout(module, layout);
	llvm.DisposeTargetData(layout);
	llvm.SetTarget(module, llvm.triple);
	if (dump)
		dump_module(module, dump, "before.ll");
	t0 = mp_now_ns();
	options = llvm.CreatePassBuilderOptions();
	error = llvm.RunPasses(module, how->quick ? quick_passes : passes, machine, options);
	llvm.DisposePassBuilderOptions(options);
	if (error) {
		err = llvm.GetErrorMessage(error);
		snprintf(why, why_size, "%s", err);
		llvm.DisposeErrorMessage(err);
		llvm.DisposeTargetMachine(machine);
		return NULL;
	}
	if (dump)
		dump_module(module, dump, "after.ll");
	t1 = mp_now_ns();
	if (llvm.TargetMachineEmitToMemoryBuffer(machine, module, 1, &err, &buffer)) {
		snprintf(why, why_size, "%s", err ? err : "no code");
		llvm.DisposeMessage(err);
	} else {
		*ret_len = llvm.GetBufferSize(buffer);
		object = malloc(*ret_len ? *ret_len : 1);
		if (object)
			memcpy(object, llvm.GetBufferStart(buffer), *ret_len);
		else
			snprintf(why, why_size, "no memory");
		llvm.DisposeMemoryBuffer(buffer);
	}
	mp_log(MP_LOG_DEBUG, "jit", "time", "passes=%.1f code=%.1f", (double)(t1 - t0) * 1e-6,
	       (double)(mp_now_ns() - t1) * 1e-6);
	llvm.DisposeTargetMachine(machine);
	return object;
}

static char *object_make(const char *text, size_t len, const struct llvm_how *how, size_t *ret_len, char *why,
			 size_t why_size)
{
	const char *dump = how->dump;
	ref context, buffer, module = NULL;
	char *err = NULL, *object = NULL;
	bool large = false;

	if (SEEDED(BREAKDOWN)) /* as in a broken library */
		raise(SIGSEGV);
	if (dump)
		dump_bytes(dump, "text.ll", text, len);
	context = llvm.ContextCreate();
	llvm.ContextSetDiagnosticHandler(context, diagnostic, &large);
	buffer = llvm.CreateMemoryBufferWithMemoryRangeCopy(text, len, "kernel");
	/* the parser takes the buffer whatever comes of it */
	if (llvm.ParseIRInContext(context, buffer, &module, &err)) {
		snprintf(why, why_size, "the text does not parse: %.300s", err ? err : "");
		llvm.DisposeMessage(err);
		llvm.ContextDispose(context);
		return NULL;
	}
	/* 2: say it. What is not right must not reach the passes, which would end the process. */
	if (llvm.VerifyModule(module, 2, &err))
		snprintf(why, why_size, "the text is wrong: %.300s", err ? err : "");
	else
		object = emit(module, how, ret_len, why, why_size);
	llvm.DisposeMessage(err);
	if (object && large) {
		snprintf(why, why_size, "its registers need more than the stack has");
		free(object);
		object = NULL;
	}
	if (dump && object)
		dump_bytes(dump, "o", object, *ret_len);
	llvm.DisposeModule(module);
	llvm.ContextDispose(context);
	return object;
}

/* With whatever LLVM does, this returns: what it held then is lost. */
static char *object_guarded(const char *text, size_t len, const struct llvm_how *how, size_t *ret_len, char *why,
			    size_t why_size)
{
	sigjmp_buf jump;
	char *object;

	if (sigsetjmp(jump, 1)) {
		guard = NULL;
		__atomic_store_n(&llvm.failed, true, __ATOMIC_RELAXED);
		snprintf(why, why_size, "libLLVM broke down; it will not be used again");
		mp_log(MP_LOG_WARN, "jit", "llvm", "broke down while it compiled, and is not used again");
		return NULL;
	}
	guard = &jump;
	object = object_make(text, len, how, ret_len, why, why_size);
	guard = NULL;
	return object;
}

/* ---- Loading ---- */

/*
 * Not every version that may be found has been tried here: each is asked for a
 * small kernel of the kind it will see, and its code is run, before it is trusted.
 */
static bool self_test(void)
{
	static const char text[] =
		"declare <32 x float> @llvm.fma.v32f32(<32 x float>, <32 x float>, <32 x float>)\n"
		"declare void @llvm.masked.store.v32i32.p0(<32 x i32>, ptr, i32, <32 x i1>)\n"
		"define i32 @kernel(ptr %p) nounwind {\n"
		"%x = load <32 x i32>, ptr %p, align 4\n"
		"%q = getelementptr i8, ptr %p, i64 128\n"
		"%y = load <32 x i32>, ptr %q, align 4\n"
		"%m = icmp slt <32 x i32> %x, %y\n"
		"%s = select <32 x i1> %m, <32 x i32> %x, <32 x i32> %y\n"
		"%d = mul <32 x i32> %s, %x\n"
		"%r = shufflevector <32 x i32> %d, <32 x i32> poison, <32 x i32> <i32 31, i32 30, i32 29, i32 28, i32 27, i32 26,"
		"i32 25, i32 24, i32 23, i32 22, i32 21, i32 20, i32 19, i32 18, i32 17, i32 16, i32 15, i32 14, i32 13, i32 12,"
		"i32 11, i32 10, i32 9, i32 8, i32 7, i32 6, i32 5, i32 4, i32 3, i32 2, i32 1, i32 0>\n"
		"%fx = sitofp <32 x i32> %x to <32 x float>\n"
		"%fy = sitofp <32 x i32> %y to <32 x float>\n"
		"%f = call <32 x float> @llvm.fma.v32f32(<32 x float> %fx, <32 x float> %fy, <32 x float> %fx)\n"
		"%i = bitcast <32 x float> %f to <32 x i32>\n"
		"%z = xor <32 x i32> %r, %i\n"
		"%o = getelementptr i8, ptr %p, i64 256\n"
		"call void @llvm.masked.store.v32i32.p0(<32 x i32> %z, ptr %o, i32 4, <32 x i1> %m)\n"
		"%b = bitcast <32 x i1> %m to i32\n"
		"ret i32 %b\n}\n";
	const struct llvm_how how = {0};
	int32_t v[96], want[32], d[32];
	uint32_t bits = 0, i, got;
	struct loaded code;
	char why[400], *object;
	size_t len = 0;

	for (i = 0; i < 32; i++) {
		v[i] = (int32_t)(i * 2654435761u);
		v[32 + i] = (int32_t)(i * 40503u << 9 ^ 0x5bd1e995u);
		v[64 + i] = want[i] = -7;
		bits |= (uint32_t)(v[i] < v[32 + i]) << i;
		d[i] = (int32_t)((uint32_t)(v[i] < v[32 + i] ? v[i] : v[32 + i]) * (uint32_t)v[i]);
	}
	for (i = 0; i < 32; i++) {
		float f = __builtin_fmaf((float)v[i], (float)v[32 + i], (float)v[i]);
		int32_t w;

		memcpy(&w, &f, 4);
		if (bits >> i & 1)
			want[i] = d[31 - i] ^ w;
	}
	object = object_guarded(text, sizeof(text) - 1, &how, &len, why, sizeof(why));
	if (!object || load_object(object, len, &code, why, sizeof(why))) {
		snprintf(llvm.missing, sizeof(llvm.missing), "%.150s", why);
		free(object);
		return false;
	}
	free(object);
	got = ((uint32_t(*)(int32_t *))(uintptr_t)code.entry)(v);
	load_free(&code);
	return got == bits && !memcmp(v + 64, want, sizeof(want));
}

static void load(void)
{
	char name[256] = "";
	const char *absent = NULL;
	unsigned v[3] = {0};
	void *lib = open_library(name, sizeof(name));

	if (!lib) {
		snprintf(llvm.missing, sizeof(llvm.missing), "there is no libLLVM of version 15 or later");
		return;
	}
#define X(result, id, args)                                                                            \
	*(void **)&llvm.id = dlsym(lib, "LLVM" #id);                                                   \
	if (!llvm.id)                                                                                  \
		absent = "LLVM" #id;
	CALLS(X)
#undef X
	if (absent) {
		snprintf(llvm.missing, sizeof(llvm.missing), "%.60s has no %s", name, absent);
		return;
	}
	*(void **)&llvm.GetVersion = dlsym(lib, "LLVMGetVersion");
	if (llvm.GetVersion)
		llvm.GetVersion(&v[0], &v[1], &v[2]);
	else
		v[0] = 15;
	snprintf(llvm.version, sizeof(llvm.version), "%u.%u.%u", v[0], v[1], v[2]);
	llvm.InitializeX86TargetInfo();
	llvm.InitializeX86Target();
	llvm.InitializeX86TargetMC();
	llvm.InitializeX86AsmPrinter();
	llvm.InstallFatalErrorHandler(fatal);
	llvm.ready = target_find();
	if (llvm.ready && !self_test()) {
		llvm.ready = false;
		if (!llvm.missing[0])
			snprintf(llvm.missing, sizeof(llvm.missing), "%.60s makes wrong code of a kernel that is known", name);
		mp_log(MP_LOG_WARN, "jit", "llvm", "library=%s %s", name, llvm.missing);
	}
	if (llvm.ready)
		mp_log(MP_LOG_INFO, "jit", "llvm", "library=%s version=%s cpu=%s", name, llvm.version, llvm.cpu);
}

const char *llvm_missing(void)
{
	pthread_once(&once, load);
	if (__atomic_load_n(&llvm.failed, __ATOMIC_RELAXED))
		return "libLLVM broke down before";
	return llvm.ready ? NULL : llvm.missing[0] ? llvm.missing : "libLLVM does not start";
}

const char *llvm_version(void)
{
	return llvm_missing() ? NULL : llvm.version;
}

char *llvm_object(const char *text, size_t len, const struct llvm_how *how, size_t *ret_len, char *why, size_t why_size)
{
	const char *missing = llvm_missing();

	if (missing) {
		snprintf(why, why_size, "%s", missing);
		return NULL;
	}
	return object_guarded(text, len, how, ret_len, why, why_size);
}
