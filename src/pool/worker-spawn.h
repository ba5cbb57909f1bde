/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract between motorpoold and motorpool-worker: arguments, inherited
 * descriptors and the control socket.  Header only; both sides include it.
 *
 * One worker serves one client process.  motorpoold *peeks* the hello of a new
 * data connection (MSG_PEEK), checks the lease's secret, and starts
 *
 *	motorpool-worker --lane-fd 3 --control-fd 4 --account-fd 5 --adopt-fd 6
 *		--driver PATH --devices UUID,UUID,... --memory BYTES,BYTES,...
 *		--lease ID --session HEX
 *
 * The lane's bytes are untouched: the worker reads the hello itself, from the
 * first byte, as if nobody stood between, and may trust the secret in it.  Later
 * lanes of the same session arrive on the control socket.
 *
 *  --lane-fd	  the first lane: a connected TCP or Unix stream socket, blocking
 *  --control-fd  SOCK_SEQPACKET Unix socket; datagrams of struct mp_worker_control.
 *		  Optional: a worker started by hand has none.
 *  --account-fd  the lease's account, see base/account.h.  The worker joins it
 *		  with its own pid.  Optional: without it nothing is charged.
 *  --adopt-fd	  a listening SOCK_SEQPACKET Unix socket in the daemon's state
 *		  directory.  When the control socket has ended, the next daemon
 *		  connects to it, and that is the control socket then.  Optional.
 *  --driver	  the driver library to dlopen; a path or a name for the loader
 *  --devices	  UUIDs ("GPU-xxxxxxxx-xxxx-...") in the order that the program
 *		  sees; device i of the lease is account device i
 *  --memory	  bytes of each device that the lease holds, same order
 *  --lease	  the lease's name, for the log
 *  --session	  the session's id in hexadecimal, for the log
 *
 * The environment holds PATH, HOME, LANG, TMPDIR, LD_LIBRARY_PATH and
 * MOTORPOOL_* of the daemon, nothing of the client.
 *
 * End of file on the control socket means that the daemon is gone: the worker
 * goes on serving its lanes, and gets new ones when the next daemon has come.  SIGTERM asks it to end
 * at once (the lease is over); SIGKILL follows 300 ms later.
 *
 * Exit status: 0 the client left in order; MP_WORKER_EXIT_* below otherwise.
 *
 *	motorpool-worker --probe --driver PATH
 *
 * prints one JSON object on stdout and exits 0, or one sentence on stderr and a
 * non-zero status:
 *	{"driver": "PATH", "driver_version": "580.65.06", "cuda_version": 13000,
 *	 "devices": [{"index": 0, "uuid": "GPU-...", "name": "...",
 *	   "memory": BYTES, "capability": "7.5", "sm_count": N,
 *	   "context_memory": BYTES, "pci": "0000:00:00.0", "code": "machine"}, ...]}
 * context_memory is what one process's context costs on that device (0 if not
 * known); code is "ptx" where no machine code runs (abi/code.h); keys that are not known to the reader are ignored.
 */
#ifndef MP_POOL_WORKER_SPAWN_H
#define MP_POOL_WORKER_SPAWN_H

#include <stdint.h>

#define MP_WORKER_LANE_FD    3
#define MP_WORKER_CONTROL_FD 4
#define MP_WORKER_ACCOUNT_FD 5
#define MP_WORKER_ADOPT_FD   6

enum mp_worker_control_kind {
	MP_WORKER_LANE = 1, /* daemon to worker: another lane, its socket by SCM_RIGHTS, hello unread */
};

/* One datagram of the control socket; both ends are of one build, so a plain struct. */
struct mp_worker_control {
	uint32_t kind;
	uint32_t zero;
};

enum mp_worker_exit {
	MP_WORKER_EXIT_OK = 0,
	MP_WORKER_EXIT_USAGE = 2,     /* bad arguments: a fault of the daemon */
	MP_WORKER_EXIT_DRIVER = 3,    /* the driver library does not load or has no such device */
	MP_WORKER_EXIT_PROTOCOL = 4,  /* the client sent what it must not */
	MP_WORKER_EXIT_LOST = 5,      /* the client vanished */
	MP_WORKER_EXIT_ENDED = 6,     /* SIGTERM: the lease ended */
};

#endif
