/*
 * The data plane: channels that cross processes. One nng stream for each ordered pair of TaskManagers (the producer's side dials), all its
 * channels multiplexed on it.
 *
 * A channel between processes is two channels (channel.h): the producer task fills one, whose consumer end the link layer holds; it encodes
 * what comes out, sends frames, and the peer's link layer decodes them into the producer end of the other, from which the consumer task's
 * gate reads.
 *
 * L1  A connection reader never blocks: a sender sends a batch only against credit, counted in bytes and batches, which the receiver gives
 *     back as its task takes batches out. Control elements need no credit beyond the first, which says that the receiver has attached the
 *     channel, and never overtake batches of their channel.
 * L2  Each channel opens with its full name (job, region, attempt, edge, from, to); a receiver that does not expect it (not
 *     yet deployed) keeps the opening until `open_timeout_ms`, and refuses a stale attempt with a CLOSED frame.
 * L3  A broken connection breaks every channel on it: consumers get CLOSED (never END), producers' channels swallow what they are given;
 *     both tasks' region fails and is restarted by the JobManager. There is no resending: exactly-once comes from checkpoints.
 * L4  Frames: u32 magic | u8 version | u8 type | u16 flags | u32 channel | u32 body bytes | u32 CRC32C of the header's 16 bytes before; a
 *     batch body carries its own checksum (batch_wire.h). A malformed frame closes the connection, is counted and logged.
 * L5  What is ready goes out at once; while a send is in flight, further frames gather (up to 256 KiB) and go out in one scatter-gather send.
 */
#ifndef WEIR_TASKMANAGER_EXCHANGE_LINK_H
#define WEIR_TASKMANAGER_EXCHANGE_LINK_H

#include "common/base/log.h"
#include "taskmanager/exchange/channel.h"

enum {
    WEIR_LINK_CREDIT_BATCHES = 128,
    WEIR_LINK_FRAME_BYTES_MAX = WEIR_RECORD_BYTES_MAX + WEIR_BATCH_BYTES_MAX + 4096,
};

struct weir_channel_id {
    const char *job_id; /* 32 hex digits */
    uint32_t region;    /* both ends are of it */
    uint32_t attempt;   /* the region's */
    uint32_t edge;
    uint32_t from, to; /* subtasks */
};

struct weir_links;

struct weir_links_options {
    const char *host; /* to listen on */
    uint16_t port;    /* 0: the kernel chooses */
    const char *cluster_id;
    const char *name; /* this TaskManager's id, for messages */
    uint64_t credit_bytes;
    int64_t open_timeout_ms;
    struct weir_mem *mem; /* decoded batches are charged here */
    const struct weir_clock *clock;
    const struct weir_log *log;
};

/* Listens at once, on a thread of its own. EXISTS (port in use), IO. */
enum weir_rc weir_links_create(const struct weir_links_options *options, struct weir_links **out_links, struct weir_error *err) WEIR_CHECKED;
void weir_links_stop(struct weir_links *links);    /* asynchronous, idempotent */
void weir_links_destroy(struct weir_links *links); /* blocks; accepts NULL */

uint16_t weir_links_port(const struct weir_links *links);

/* Sends what comes out of the channel (its consumer end is taken) to the TaskManager at "host:port", which expects `id`. Any thread. */
void weir_links_send_take(struct weir_links *links, const char *address, const struct weir_channel_id *id, struct weir_channel *channel);

/* Expects channel `id` from some peer; what arrives goes into the channel (its producer end is taken), decoded by `schema` (referenced). The
 * channel's bytes_max is at least the credit. Any thread. */
void weir_links_receive_take(struct weir_links *links, const struct weir_channel_id *id, const struct weir_schema *schema,
                             struct weir_channel *channel);

/* Breaks all channels of the region's attempts up to `attempt` and refuses their openings from now on; those of the job's other regions are not
 * touched. Any thread; does not block. */
void weir_links_drop(struct weir_links *links, const char *job_id, uint32_t region, uint32_t attempt);

struct weir_links_stats {
    uint64_t bytes_sent, bytes_received, frames_sent, frames_received, malformed;
    uint32_t connections;
};
void weir_links_stats(struct weir_links *links, struct weir_links_stats *out_stats);

#endif
