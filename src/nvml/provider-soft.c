/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What there is to know of the soft GPUs of this host: the configuration that every process
 * reads from its environment, and the shared account of each device.
 *
 * No device is opened and no memory charged by looking.  Serialised by the entries' lock.
 */
#include <string.h>

#include "abi/cuda.h"
#include "nvml/abi.h"
#include "nvml/nvml.h"
#include "soft/account.h"
#include "soft/config.h"

static struct mp_soft_config config;
static struct mp_soft_account *accounts[MP_SOFT_MAX_DEVICES];

static int soft_open(void)
{
	unsigned i;

	mp_soft_config_read(&config);
	if (config.devices > MP_SOFT_MAX_DEVICES)
		config.devices = MP_SOFT_MAX_DEVICES;
	for (i = 0; i < config.devices; i++) {
		accounts[i] = mp_soft_account_open(config.dir, i, config.memory);
		if (!accounts[i]) {
			while (i--)
				mp_soft_account_close(accounts[i]);
			return NVML_ERROR_OPERATING_SYSTEM;
		}
	}
	return NVML_SUCCESS;
}

static void soft_close(void)
{
	unsigned i;

	for (i = 0; i < config.devices; i++)
		mp_soft_account_close(accounts[i]);
	memset(accounts, 0, sizeof(accounts));
}

static int soft_count(unsigned *ret)
{
	*ret = config.devices;
	return NVML_SUCCESS;
}

/* The numbers of the bus and the clocks are those that the soft driver's attributes have. */
static int soft_device(unsigned index, struct mp_nvml_device *d)
{
	memset(d, 0, sizeof(*d));
	memcpy(d->name, config.model, sizeof(d->name));
	mp_soft_config_uuid(index, d->uuid);
	d->bus = 0x10 + index;
	d->major = (int)config.major;
	d->minor = (int)config.minor;
	d->core_mhz = 1500;
	d->memory_mhz = 8000;
	d->bus_width = 256;
	return NVML_SUCCESS;
}

static int soft_usage(unsigned index, struct mp_nvml_usage *u)
{
	bool busy = false;

	mp_soft_account_read(accounts[index], &u->total, &u->used);
	mp_soft_account_activity(accounts[index], &busy);
	u->busy_percent = busy ? 100 : 0;
	u->celsius = u->milliwatts = u->milliwatts_limit = MP_NVML_UNKNOWN;
	return NVML_SUCCESS;
}

static int soft_process(unsigned index, unsigned i, struct mp_nvml_process *p)
{
	pid_t pid;

	if (!mp_soft_account_process(accounts[index], i, &pid, &p->bytes))
		return NVML_ERROR_NOT_FOUND;
	p->pid = (uint32_t)pid;
	return NVML_SUCCESS;
}

static int soft_cuda_version(int *ret)
{
	*ret = CUDA_VERSION;
	return NVML_SUCCESS;
}

/* All device memory of a host is memory of that host. */
static int soft_peer(unsigned a, unsigned b, bool *ret)
{
	*ret = true;
	return NVML_SUCCESS;
}

const struct mp_nvml_provider mp_nvml_provider = {
	.open = soft_open,
	.close = soft_close,
	.count = soft_count,
	.device = soft_device,
	.usage = soft_usage,
	.process = soft_process,
	.cuda_version = soft_cuda_version,
	.peer = soft_peer,
};
