/* SPDX-License-Identifier: Apache-2.0 */
/* The names of the driver's result codes, and a sentence about each, in one table. */
#include "cuabi/cuabi.h"

#include "base/check.h"

#define E(code, text) {code, #code, text}

/* Sorted by number. */
static const struct {
	CUresult code;
	const char *name, *text;
} errors[] = {
	E(CUDA_SUCCESS, "no error"),
	E(CUDA_ERROR_INVALID_VALUE, "an argument has a value that this call does not take"),
	E(CUDA_ERROR_OUT_OF_MEMORY, "not enough memory for this call"),
	E(CUDA_ERROR_NOT_INITIALIZED, "the driver has not been initialized"),
	E(CUDA_ERROR_DEINITIALIZED, "the driver is shutting down"),
	E(CUDA_ERROR_PROFILER_DISABLED, "profiling is off in this process"),
	E(CUDA_ERROR_PROFILER_NOT_INITIALIZED, "the profiler was not initialized (obsolete)"),
	E(CUDA_ERROR_PROFILER_ALREADY_STARTED, "the profiler already runs (obsolete)"),
	E(CUDA_ERROR_PROFILER_ALREADY_STOPPED, "the profiler is already stopped (obsolete)"),
	E(CUDA_ERROR_STUB_LIBRARY, "the program loaded a link stub instead of a driver"),
	E(CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER, "this call needs a newer driver"),
	E(CUDA_ERROR_DEVICE_UNAVAILABLE, "the device is in use or cannot be reached"),
	E(CUDA_ERROR_NO_DEVICE, "there is no CUDA device"),
	E(CUDA_ERROR_INVALID_DEVICE, "no device has this ordinal"),
	E(CUDA_ERROR_DEVICE_NOT_LICENSED, "the device has no valid licence"),
	E(CUDA_ERROR_INVALID_IMAGE, "the image of device code is damaged or of no known kind"),
	E(CUDA_ERROR_INVALID_CONTEXT, "no context is current, or it is not valid"),
	E(CUDA_ERROR_CONTEXT_ALREADY_CURRENT, "the context is already current (obsolete)"),
	E(CUDA_ERROR_MAP_FAILED, "mapping failed"),
	E(CUDA_ERROR_UNMAP_FAILED, "unmapping failed"),
	E(CUDA_ERROR_ARRAY_IS_MAPPED, "the array is mapped and so cannot be destroyed"),
	E(CUDA_ERROR_ALREADY_MAPPED, "the resource is already mapped"),
	E(CUDA_ERROR_NO_BINARY_FOR_GPU, "the image holds no code for this device"),
	E(CUDA_ERROR_ALREADY_ACQUIRED, "the resource is already acquired"),
	E(CUDA_ERROR_NOT_MAPPED, "the resource is not mapped"),
	E(CUDA_ERROR_NOT_MAPPED_AS_ARRAY, "the resource is not mapped as an array"),
	E(CUDA_ERROR_NOT_MAPPED_AS_POINTER, "the resource is not mapped as a pointer"),
	E(CUDA_ERROR_ECC_UNCORRECTABLE, "device memory had an error that ECC cannot correct"),
	E(CUDA_ERROR_UNSUPPORTED_LIMIT, "the device has no such limit"),
	E(CUDA_ERROR_CONTEXT_ALREADY_IN_USE, "the context is in use by another thread"),
	E(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED, "these devices cannot access each other's memory"),
	E(CUDA_ERROR_INVALID_PTX, "the PTX text does not compile"),
	E(CUDA_ERROR_INVALID_GRAPHICS_CONTEXT, "the graphics context is not valid"),
	E(CUDA_ERROR_NVLINK_UNCORRECTABLE, "NVLink had an error that cannot be corrected"),
	E(CUDA_ERROR_JIT_COMPILER_NOT_FOUND, "there is no compiler for PTX"),
	E(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "the PTX text is of a newer version than is known"),
	E(CUDA_ERROR_JIT_COMPILATION_DISABLED, "compiling PTX is switched off"),
	E(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY, "the device has no such execution affinity"),
	E(CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC,
	  "device code that calls cudaDeviceSynchronize is not supported"),
	E(CUDA_ERROR_CONTAINED, "a contained fault ended the work of this process on the device"),
	E(CUDA_ERROR_INVALID_SOURCE, "the source of device code is not valid"),
	E(CUDA_ERROR_FILE_NOT_FOUND, "the file was not found"),
	E(CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND, "a symbol of a shared object was not found"),
	E(CUDA_ERROR_SHARED_OBJECT_INIT_FAILED, "a shared object could not be initialized"),
	E(CUDA_ERROR_OPERATING_SYSTEM, "a call of the operating system failed"),
	E(CUDA_ERROR_INVALID_HANDLE, "the handle names no live object"),
	E(CUDA_ERROR_ILLEGAL_STATE, "an object is not in a state that allows this call"),
	E(CUDA_ERROR_LOSSY_QUERY, "the answer would leave out part of what the object holds"),
	E(CUDA_ERROR_NOT_FOUND, "no symbol, function or object of this name"),
	E(CUDA_ERROR_NOT_READY, "the work is not finished yet"),
	E(CUDA_ERROR_ILLEGAL_ADDRESS, "a kernel touched memory that it has no right to"),
	E(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "the launch asks for more than the device has"),
	E(CUDA_ERROR_LAUNCH_TIMEOUT, "the kernel ran longer than the device allows"),
	E(CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING, "the kernel uses another texturing mode"),
	E(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, "access to the peer is already on"),
	E(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, "access to the peer is not on"),
	E(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, "the primary context is already active"),
	E(CUDA_ERROR_CONTEXT_IS_DESTROYED, "the current context has been destroyed"),
	E(CUDA_ERROR_ASSERT, "an assertion failed in device code"),
	E(CUDA_ERROR_TOO_MANY_PEERS, "no room for access to one more peer"),
	E(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "the host memory is already registered"),
	E(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "the host memory is not registered"),
	E(CUDA_ERROR_HARDWARE_STACK_ERROR, "a kernel's call stack overflowed or was damaged"),
	E(CUDA_ERROR_ILLEGAL_INSTRUCTION, "a kernel came to an instruction that does not exist"),
	E(CUDA_ERROR_MISALIGNED_ADDRESS, "a kernel used an address that is not aligned"),
	E(CUDA_ERROR_INVALID_ADDRESS_SPACE, "a kernel used an address of the wrong space"),
	E(CUDA_ERROR_INVALID_PC, "a kernel jumped to where there is no code"),
	E(CUDA_ERROR_LAUNCH_FAILED, "a kernel failed while it ran"),
	E(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
	  "a cooperative grid has more blocks than the device holds at once"),
	E(CUDA_ERROR_TENSOR_MEMORY_LEAK, "a kernel ended without freeing its tensor memory"),
	E(CUDA_ERROR_NOT_PERMITTED, "the call is not permitted here"),
	E(CUDA_ERROR_NOT_SUPPORTED, "the call is not supported on this system"),
	E(CUDA_ERROR_SYSTEM_NOT_READY, "the system is not ready for CUDA yet"),
	E(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "driver and its kernel part do not fit together"),
	E(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE,
	  "the device does not take part in forward compatibility"),
	E(CUDA_ERROR_MPS_CONNECTION_FAILED, "the MPS daemon could not be reached"),
	E(CUDA_ERROR_MPS_RPC_FAILURE, "a call to the MPS server failed"),
	E(CUDA_ERROR_MPS_SERVER_NOT_READY, "the MPS server takes no clients at the moment"),
	E(CUDA_ERROR_MPS_MAX_CLIENTS_REACHED, "the MPS server has no room for one more client"),
	E(CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED, "MPS has no device connection left"),
	E(CUDA_ERROR_MPS_CLIENT_TERMINATED, "the MPS server ended this client"),
	E(CUDA_ERROR_CDP_NOT_SUPPORTED, "launches from device code are not supported"),
	E(CUDA_ERROR_CDP_VERSION_MISMATCH,
	  "the program holds two versions of launches from device code"),
	E(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the operation cannot be captured"),
	E(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "an earlier error spoiled the capture"),
	E(CUDA_ERROR_STREAM_CAPTURE_MERGE, "the call would join two captures"),
	E(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "the capture did not begin in this stream"),
	E(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "a forked stream was not joined to its capture"),
	E(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "the call would depend on work outside the capture"),
	E(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
	  "the call implies a dependency on the legacy stream, which a capture cannot have"),
	E(CUDA_ERROR_CAPTURED_EVENT, "the event was last recorded in a capture"),
	E(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "the capture belongs to another thread"),
	E(CUDA_ERROR_TIMEOUT, "the wait took longer than it was allowed to"),
	E(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, "the graph differs too much for an update"),
	E(CUDA_ERROR_EXTERNAL_DEVICE, "a device outside CUDA's reach reported an error"),
	E(CUDA_ERROR_INVALID_CLUSTER_SIZE, "the cluster cannot have this size"),
	E(CUDA_ERROR_FUNCTION_NOT_LOADED, "the function has not been loaded yet"),
	E(CUDA_ERROR_INVALID_RESOURCE_TYPE, "the resource is of a type that the call does not take"),
	E(CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION, "the resource cannot be set up like this"),
	E(CUDA_ERROR_KEY_ROTATION, "the device is changing its keys"),
	E(CUDA_ERROR_UNKNOWN, "an unknown error"),
};

static int error_find(CUresult code)
{
	size_t lo = 0, hi = MP_ARRAY_LEN(errors);

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		assert(!mid || errors[mid - 1].code < errors[mid].code);
		if (errors[mid].code == code)
			return (int)mid;
		if ((unsigned)errors[mid].code < (unsigned)code)
			lo = mid + 1;
		else
			hi = mid;
	}
	return -1;
}

const char *mp_error_name(CUresult code)
{
	int i = error_find(code);

	return i < 0 ? NULL : errors[i].name;
}

const char *mp_error_string(CUresult code)
{
	int i = error_find(code);

	return i < 0 ? NULL : errors[i].text;
}
