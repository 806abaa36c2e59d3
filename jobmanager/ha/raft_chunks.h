/*
 * Messages of any length in chunks that a connection carries (L2 in raft_log.h), and back: one message at a time from each member, in order.
 * What does not continue the message that was begun drops it. Pure; one thread.
 */
#ifndef WEIR_JOBMANAGER_HA_RAFT_CHUNKS_H
#define WEIR_JOBMANAGER_HA_RAFT_CHUNKS_H

#include "common/base/buf.h"
#include "common/base/error.h"

enum { WEIR_RAFT_CHUNK_BYTES = 1 << 20, WEIR_RAFT_MESSAGE_BYTES_MAX = 256 << 20 };

struct weir_raft_chunks;

struct weir_raft_chunks *weir_raft_chunks_create(void);
void weir_raft_chunks_destroy(struct weir_raft_chunks *chunks); /* accepts NULL */

typedef void weir_raft_chunks_each_fn(void *ctx, uint64_t to, const char *address, struct weir_slice chunk);

/* Calls each() with ctx, to and address for every chunk of a message of 1 to WEIR_RAFT_MESSAGE_BYTES_MAX bytes; borrowed during the call. */
void weir_raft_chunks_put(struct weir_raft_chunks *chunks, uint64_t to, const char *address, struct weir_slice message,
                          weir_raft_chunks_each_fn *each, void *ctx);

/* A chunk of a member. A message that is whole with it is *out_message, borrowed until the next call (also of this chunk's bytes); else that
 * is empty. INVALID: malformed; it has had no effect. */
enum weir_rc weir_raft_chunks_take(struct weir_raft_chunks *chunks, uint64_t from, struct weir_slice chunk, struct weir_slice *out_message,
                                   struct weir_error *err) WEIR_CHECKED;

#endif
