/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layouts of docs/PROTOCOL.md sections 1-3 and 6: hello, frame, record, snapshot.
 *
 * Plain structures in host order of the only supported machine (x86-64, little
 * endian); sizes and offsets are asserted, and frozen by test-frame.c.
 */
#ifndef MP_WIRE_FRAME_H
#define MP_WIRE_FRAME_H

#include <assert.h>
#include <stdint.h>

#define MP_HELLO_MAGIC "MOTORPL1"
#define MP_PROTO_MAJOR 1
#define MP_PROTO_MINOR 0
#define MP_SECRET_BYTES 32
#define MP_SESSION_BYTES 16
#define MP_WINDOW_PROPOSALS 4

enum mp_lane { MP_LANE_COMMAND = 0, MP_LANE_BULK = 1 };

struct mp_hello {
	char magic[8];
	uint16_t major, minor, lane, flags;
	uint8_t session[MP_SESSION_BYTES];
	uint8_t secret[MP_SECRET_BYTES];
	uint32_t pid, uid;
	uint64_t window_size, window_base[MP_WINDOW_PROPOSALS];
	char comm[16];
	uint64_t calls; /* MP_API_HASH: of the shapes of all records and answers */
	uint8_t zero[120];
};
static_assert(sizeof(struct mp_hello) == 256, "hello is 256 bytes");

#define MP_FRAME_MAX   (16u << 20) /* bytes after the header */
#define MP_INLINE_MAX  (64u << 10) /* copies up to this size travel inside lane 0 */
#define MP_CHUNK_MAX   (1u << 20)  /* bulk frames carry at most this much */

enum mp_frame_kind {
	MP_FRAME_RECORDS = 1,
	MP_FRAME_BULK = 2,
	MP_FRAME_CONTROL = 3,
	MP_FRAME_WELCOME = 16,
	MP_FRAME_REPLY = 17,
	MP_FRAME_DONE = 18,
	MP_FRAME_DATA = 19,
	MP_FRAME_ERROR = 20,
	MP_FRAME_NEED = 21,
	MP_FRAME_READY = 22,
	MP_FRAME_CALL = 23,
	MP_FRAME_PULL = 24,
	MP_FRAME_PRINT = 25,
	MP_FRAME_ACK = 26,
	MP_FRAME_GOODBYE = 27,
	MP_FRAME_RECALL = 28,
};

struct mp_frame {
	uint32_t length;
	uint16_t kind, flags;
	uint64_t ticket, ack, extra;
};
static_assert(sizeof(struct mp_frame) == 32, "frame header is 32 bytes");

#define MP_TICKET_FIRST 64u

enum {
	MP_REC_REPLY = 1,
	MP_REC_BULK = 2,
	MP_REC_PULL = 4,
	MP_REC_DONE = 8, /* with REPLY, stream work: the answer comes when the device has done it;
			    on WATCH: its DONE tells the event's time */
};

struct mp_record {
	uint32_t length; /* header included, a multiple of 8; written last: it publishes the record */
	uint16_t call, flags;
	uint32_t thread, ctx;
};
static_assert(sizeof(struct mp_record) == 16, "record header is 16 bytes");

enum mp_done_kind { MP_DONE_STREAM = 1, MP_DONE_EVENT = 2, MP_DONE_COPY = 3 };

struct mp_done {
	uint32_t kind, id;
	uint64_t ticket;
	uint32_t status, bulk;
	int64_t time; /* of an event that was watched with DONE: ns on its context's clock; 0: unknown */
};
static_assert(sizeof(struct mp_done) == 32, "a DONE entry is 32 bytes");

struct mp_snapshot {
	uint32_t driver_version, devices;
	uint64_t window_base, window_size;
	uint32_t flags, attributes, limits, zero;
};
static_assert(sizeof(struct mp_snapshot) == 40, "snapshot head is 40 bytes");

/* Followed by int32_t attribute[attributes], padded to 8 bytes, then uint64_t limit[limits]. */
struct mp_snapshot_device {
	char name[96];
	uint8_t uuid[16];
	uint64_t memory, credit;
	uint32_t major, minor;
	int32_t pci_domain, pci_bus, pci_device;
	uint32_t runs_cubins;
};
static_assert(sizeof(struct mp_snapshot_device) == 152, "snapshot device head is 152 bytes");

#endif
