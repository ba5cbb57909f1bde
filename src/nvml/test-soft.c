/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libnvidia-ml.so.1 of the soft GPU, loaded as a monitor loads it: what processes charge to a
 * device's account is what it shows, and it goes when they die.
 */
#include <dlfcn.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"
#include "nvml/abi.h"
#include "soft/account.h"

#define FUNCTION(name, ...) static nvmlReturn_t (*name)(__VA_ARGS__)
FUNCTION(init, void);
FUNCTION(shut, void);
FUNCTION(count, unsigned *);
FUNCTION(by_index, unsigned, nvmlDevice_t *);
FUNCTION(name, nvmlDevice_t, char *, unsigned);
FUNCTION(uuid, nvmlDevice_t, char *, unsigned);
FUNCTION(memory, nvmlDevice_t, struct nvml_memory *);
FUNCTION(processes, nvmlDevice_t, unsigned *, struct nvml_process_v2 *);

static char dir[64];

static bool load(void)
{
	const char *path = getenv("MOTORPOOL_TEST_LIBRARY");
	void *lib = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;

	if (!lib) {
		printf("# %s\n", path ? dlerror() : "MOTORPOOL_TEST_LIBRARY is not set");
		return false;
	}
	init = (nvmlReturn_t(*)(void))dlsym(lib, "nvmlInit_v2");
	shut = (nvmlReturn_t(*)(void))dlsym(lib, "nvmlShutdown");
	count = (nvmlReturn_t(*)(unsigned *))dlsym(lib, "nvmlDeviceGetCount_v2");
	by_index = (nvmlReturn_t(*)(unsigned, nvmlDevice_t *))dlsym(lib, "nvmlDeviceGetHandleByIndex_v2");
	name = (nvmlReturn_t(*)(nvmlDevice_t, char *, unsigned))dlsym(lib, "nvmlDeviceGetName");
	uuid = (nvmlReturn_t(*)(nvmlDevice_t, char *, unsigned))dlsym(lib, "nvmlDeviceGetUUID");
	memory = (nvmlReturn_t(*)(nvmlDevice_t, struct nvml_memory *))dlsym(
		lib, "nvmlDeviceGetMemoryInfo");
	processes = (nvmlReturn_t(*)(nvmlDevice_t, unsigned *, struct nvml_process_v2 *))dlsym(
		lib, "nvmlDeviceGetComputeRunningProcesses_v3");
	return init && shut && count && by_index && name && uuid && memory && processes;
}

MP_TEST(devices)
{
	char a[96], b[96];
	nvmlDevice_t d;
	unsigned n = 0;

	snprintf(dir, sizeof(dir), "/tmp/nvml-test-XXXXXX");
	MP_CHECK(mkdtemp(dir));
	setenv("MOTORPOOL_SOFT_DIR", dir, 1);
	setenv("MOTORPOOL_SOFT_DEVICES", "2", 1);
	setenv("MOTORPOOL_SOFT_MEMORY", "256MiB", 1);
	setenv("MOTORPOOL_SOFT_MODEL", "Test GPU", 1);
	if (!load()) {
		MP_CHECK(!"the library loads");
		exit(1);
	}
	MP_CHECK_EQ(init(), 0);
	MP_CHECK_EQ(count(&n), 0);
	MP_CHECK_EQ(n, 2);
	MP_CHECK_EQ(by_index(0, &d), 0);
	MP_CHECK_EQ(name(d, a, sizeof(a)), 0);
	MP_CHECK_STR(a, "Test GPU");
	MP_CHECK_EQ(uuid(d, a, sizeof(a)), 0);
	by_index(1, &d);
	MP_CHECK_EQ(uuid(d, b, sizeof(b)), 0);
	MP_CHECK(strcmp(a, b) && !strncmp(a, "GPU-", 4));
}

MP_TEST(account)
{
	struct nvml_process_v2 p[4];
	struct mp_soft_account *mine;
	struct nvml_memory m;
	nvmlDevice_t d;
	int ready[2];
	unsigned n;
	pid_t child;
	char c;

	by_index(1, &d);
	MP_CHECK_EQ(memory(d, &m), 0);
	MP_CHECK(m.total == 256 << 20 && !m.used);
	mine = mp_soft_account_open(dir, 1, 256 << 20);
	MP_CHECK(mine && mp_soft_account_charge(mine, 10 << 20));
	MP_CHECK(!pipe(ready));
	child = fork();
	if (!child) {
		struct mp_soft_account *its = mp_soft_account_open(dir, 1, 256 << 20);

		if (!its || !mp_soft_account_charge(its, 50 << 20) || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	MP_CHECK_EQ(read(ready[0], &c, 1), 1);
	MP_CHECK_EQ(memory(d, &m), 0);
	MP_CHECK_EQ(m.used, 60 << 20);
	n = 4;
	MP_CHECK_EQ(processes(d, &n, p), 0);
	MP_CHECK_EQ(n, 2);
	MP_CHECK((p[0].pid == (unsigned)child && p[0].usedGpuMemory == 50 << 20) ||
		 (p[1].pid == (unsigned)child && p[1].usedGpuMemory == 50 << 20));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	usleep(150000); /* the account looks for the dead ten times a second */
	MP_CHECK_EQ(memory(d, &m), 0);
	MP_CHECK_EQ(m.used, 10 << 20);
	by_index(0, &d);
	MP_CHECK_EQ(memory(d, &m), 0);
	MP_CHECK_EQ(m.used, 0);
	mp_soft_account_close(mine);
	by_index(1, &d);
	MP_CHECK_EQ(memory(d, &m), 0);
	MP_CHECK_EQ(m.used, 0);
	MP_CHECK_EQ(shut(), 0);
}

MP_TEST_MAIN()
