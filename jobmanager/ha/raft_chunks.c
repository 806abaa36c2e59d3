#include "jobmanager/ha/raft_chunks.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "jobmanager/ha/raft_core.h"
#include "proto/pb.h"
#include "proto/raft.pb-c.h"

#include <inttypes.h>

enum { PEERS_MAX = WEIR_RAFT_MEMBERS_MAX + 1 };

/* What has come of a member's message. */
struct gathered {
    uint64_t from;
    uint64_t number;
    uint64_t message_bytes; /* 0: nothing fits until a message begins */
    uint64_t used;          /* when, for the choice of a slot */
    struct weir_buf bytes;
};

struct weir_raft_chunks {
    uint64_t number; /* of the newest message put */
    struct weir_buf encoded;
    struct gathered peers[PEERS_MAX];
    uint64_t used;
    struct weir_buf whole; /* the newest message taken */
};

struct weir_raft_chunks *weir_raft_chunks_create(void)
{
    return weir_calloc(1, sizeof(struct weir_raft_chunks));
}

void weir_raft_chunks_destroy(struct weir_raft_chunks *chunks)
{
    if (chunks == NULL) {
        return;
    }
    for (size_t i = 0; i < PEERS_MAX; i++) {
        weir_buf_fini(&chunks->peers[i].bytes);
    }
    weir_buf_fini(&chunks->whole);
    weir_buf_fini(&chunks->encoded);
    weir_free(chunks);
}

void weir_raft_chunks_put(struct weir_raft_chunks *chunks, uint64_t to, const char *address, struct weir_slice message,
                          weir_raft_chunks_each_fn *each, void *ctx)
{
    weir_assert(message.len > 0 && message.len <= WEIR_RAFT_MESSAGE_BYTES_MAX);
    Weir__Raft__Chunk chunk = WEIR__RAFT__CHUNK__INIT;
    chunk.number = ++chunks->number;
    chunk.message_bytes = message.len;
    for (size_t at = 0; at < message.len; at += WEIR_RAFT_CHUNK_BYTES) {
        size_t bytes = message.len - at < WEIR_RAFT_CHUNK_BYTES ? message.len - at : WEIR_RAFT_CHUNK_BYTES;
        chunk.offset = at;
        chunk.bytes = weir_pb_bytes(weir_slice(message.data + at, bytes));
        weir_buf_clear(&chunks->encoded);
        weir_pb_encode(&chunk.base, &chunks->encoded);
        each(ctx, to, address, weir_buf_slice(&chunks->encoded));
    }
}

static void forget(struct gathered *peer)
{
    weir_buf_fini(&peer->bytes);
    peer->message_bytes = 0;
}

/* The member's slot, or the one that was unused for longest. */
static struct gathered *peer_of(struct weir_raft_chunks *chunks, uint64_t from)
{
    struct gathered *peer = &chunks->peers[0];
    for (size_t i = 1; i < PEERS_MAX && peer->from != from; i++) {
        peer = chunks->peers[i].from == from || chunks->peers[i].used < peer->used ? &chunks->peers[i] : peer;
    }
    if (peer->from != from) {
        forget(peer);
        peer->from = from;
    }
    peer->used = ++chunks->used;
    return peer;
}

/* Memory grows with what has come, not with what is announced. */
static struct weir_slice gather(struct weir_raft_chunks *chunks, struct gathered *peer, const Weir__Raft__Chunk *chunk)
{
    if (chunk->offset == 0) {
        forget(peer);
        peer->number = chunk->number;
        peer->message_bytes = chunk->message_bytes;
    }
    if (chunk->number != peer->number || chunk->message_bytes != peer->message_bytes || chunk->offset != peer->bytes.len) {
        forget(peer);
        return weir_slice(NULL, 0);
    }
    weir_buf_put(&peer->bytes, chunk->bytes.data, chunk->bytes.len);
    if (peer->bytes.len < peer->message_bytes) {
        return weir_slice(NULL, 0);
    }
    chunks->whole = peer->bytes;
    peer->bytes = (struct weir_buf){0};
    forget(peer);
    return weir_buf_slice(&chunks->whole);
}

enum weir_rc weir_raft_chunks_take(struct weir_raft_chunks *chunks, uint64_t from, struct weir_slice bytes, struct weir_slice *out_message,
                                   struct weir_error *err)
{
    Weir__Raft__Chunk *chunk = NULL;
    enum weir_rc rc = weir_pb_decode(&weir__raft__chunk__descriptor, bytes, &chunk, err);
    if (rc != WEIR_OK) {
        return err->rc = WEIR_INVALID;
    }
    weir_buf_fini(&chunks->whole);
    if (from == 0 || chunk->bytes.len == 0 || chunk->bytes.len > WEIR_RAFT_CHUNK_BYTES || chunk->message_bytes > WEIR_RAFT_MESSAGE_BYTES_MAX ||
        chunk->offset > chunk->message_bytes || chunk->bytes.len > chunk->message_bytes - chunk->offset) {
        rc = weir_error_set(err, WEIR_INVALID, "chunk of %zu bytes at %" PRIu64 " of %" PRIu64, chunk->bytes.len, chunk->offset, chunk->message_bytes);
    } else {
        *out_message = gather(chunks, peer_of(chunks, from), chunk);
    }
    weir_pb_free(chunk);
    return rc;
}
