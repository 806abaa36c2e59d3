#include "common/net/rpc_conn.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/runtime/sync.h"

enum { RECEIVE_BYTES_MIN = 16 << 10, RECEIVE_BYTES_MAX = 1 << 20 };

/* A frame on its way out. */
struct out {
    struct weir_list node;
    struct weir_buf bytes;
};

struct weir__rpc_conn {
    struct weir_stream *stream;
    struct weir__rpc_conn_callbacks callbacks;
    void *owner;
    struct weir_buf in;    /* received, not yet handed on; belongs to the chain of receives */
    size_t body_bytes_max;

    struct weir_mutex mutex; /* guards what follows */
    struct weir_list queue;  /* the first sending_count are being sent */
    uint32_t sending_count;
    uint32_t in_flight;      /* the chain of receives, the chain of sends */
    bool closed;
    const char *malformed;
};

/* One chain has ended. Takes the lock and gives it up. */
static void chain_end_unlock(struct weir__rpc_conn *conn)
{
    weir_assert(conn->in_flight > 0);
    conn->closed = true;
    weir_stream_close(conn->stream); /* ends the other chain */
    conn->in_flight--;
    bool last = conn->in_flight == 0;
    const char *malformed = conn->malformed;
    weir_mutex_unlock(&conn->mutex);
    if (last) {
        conn->callbacks.on_closed(conn->owner, conn, malformed);
    }
}

/* --- sending --------------------------------------------------------------------------------------------------------- */

static void send_locked(struct weir__rpc_conn *conn)
{
    struct weir_slice runs[WEIR_STREAM_RUNS_MAX];
    uint32_t count = 0;
    for (struct weir_list *node = weir_list_first(&conn->queue); node != NULL && count < WEIR_STREAM_RUNS_MAX;
         node = weir_list_next(&conn->queue, node)) {
        runs[count++] = weir_buf_slice(&WEIR_CONTAINER_OF(node, struct out, node)->bytes);
    }
    weir_assert(count > 0);
    conn->sending_count = count;
    weir_stream_send(conn->stream, runs, count);
}

static void drop_locked(struct weir__rpc_conn *conn, uint32_t count)
{
    for (uint32_t i = 0; i < count && !weir_list_empty(&conn->queue); i++) {
        struct out *out = WEIR_CONTAINER_OF(weir_list_pop_front(&conn->queue), struct out, node);
        weir_buf_fini(&out->bytes);
        weir_free(out);
    }
}

static void on_sent(void *ctx, enum weir_rc rc)
{
    struct weir__rpc_conn *conn = ctx;
    weir_mutex_lock(&conn->mutex);
    drop_locked(conn, conn->sending_count);
    conn->sending_count = 0;
    if (rc != WEIR_OK || conn->closed) {
        drop_locked(conn, UINT32_MAX);
        chain_end_unlock(conn);
        return;
    }
    if (weir_list_empty(&conn->queue)) {
        conn->in_flight--;
    } else {
        send_locked(conn);
    }
    weir_mutex_unlock(&conn->mutex);
}

void weir__rpc_conn_send(struct weir__rpc_conn *conn, const struct weir__rpc_frame *frame)
{
    struct out *out = weir_calloc(1, sizeof(*out));
    weir__rpc_frame_encode(frame, &out->bytes);
    weir_mutex_lock(&conn->mutex);
    weir_list_push_back(&conn->queue, &out->node);
    if (conn->closed) {
        drop_locked(conn, conn->sending_count > 0 ? 0 : UINT32_MAX); /* else the chain of sends drops it */
    } else if (conn->sending_count == 0) {
        conn->in_flight++;
        send_locked(conn);
    }
    weir_mutex_unlock(&conn->mutex);
}

/* --- receiving ------------------------------------------------------------------------------------------------------- */

/* Hands on the whole frames of `in`. Returns how many bytes the next one needs in all, 0 when the stream is malformed. */
static size_t hand_on(struct weir__rpc_conn *conn, const char **out_why)
{
    size_t at = 0;
    size_t need = WEIR__RPC_HEADER_BYTES;
    enum weir_rc rc = WEIR_OK;
    while (rc == WEIR_OK) {
        struct weir__rpc_frame frame;
        rc = weir__rpc_frame_decode(weir_slice(conn->in.data + at, conn->in.len - at), conn->body_bytes_max, &frame, &need,
                                    out_why);
        if (rc == WEIR_OK) {
            conn->callbacks.on_frame(conn->owner, conn, &frame);
            at += need;
        }
    }
    if (at > 0) { /* a large frame comes in hundreds of pieces */
        memmove(conn->in.data, conn->in.data + at, conn->in.len - at);
        conn->in.len -= at;
    }
    return rc == WEIR_AGAIN ? need : 0;
}

/* Memory grows with what has come, not with what a header promises. */
static void receive_locked(struct weir__rpc_conn *conn, size_t need)
{
    size_t more = need > conn->in.len ? need - conn->in.len : 0;
    more = more < RECEIVE_BYTES_MIN ? RECEIVE_BYTES_MIN : more < RECEIVE_BYTES_MAX ? more : RECEIVE_BYTES_MAX;
    weir_stream_receive(conn->stream, weir_buf_reserve(&conn->in, more), more);
}

static void on_received(void *ctx, enum weir_rc rc, size_t bytes)
{
    struct weir__rpc_conn *conn = ctx;
    size_t need = 0;
    const char *why = NULL;
    if (rc == WEIR_OK) {
        conn->in.len += bytes;
        need = hand_on(conn, &why);
    }
    weir_mutex_lock(&conn->mutex);
    if (why != NULL && !conn->closed) {
        conn->malformed = why;
    }
    if (rc != WEIR_OK || need == 0 || conn->closed) {
        chain_end_unlock(conn);
        return;
    }
    receive_locked(conn, need);
    weir_mutex_unlock(&conn->mutex);
}

/* --- life ------------------------------------------------------------------------------------------------------------ */

struct weir__rpc_conn *weir__rpc_conn_create(struct weir_stream *stream_take, const struct weir__rpc_conn_callbacks *callbacks,
                                             void *owner, size_t body_bytes_max)
{
    static const struct weir_stream_callbacks stream_callbacks = {.on_sent = on_sent, .on_received = on_received};
    struct weir__rpc_conn *conn = weir_calloc(1, sizeof(*conn));
    conn->stream = stream_take;
    conn->callbacks = *callbacks;
    conn->owner = owner;
    conn->body_bytes_max = body_bytes_max;
    weir_mutex_init(&conn->mutex);
    weir_list_init(&conn->queue);
    weir_stream_attach(stream_take, &stream_callbacks, conn);
    return conn;
}

void weir__rpc_conn_start(struct weir__rpc_conn *conn)
{
    weir_mutex_lock(&conn->mutex);
    conn->in_flight++;
    receive_locked(conn, WEIR__RPC_HEADER_BYTES);
    weir_mutex_unlock(&conn->mutex);
}

void weir__rpc_conn_set_body_max(struct weir__rpc_conn *conn, size_t body_bytes_max)
{
    conn->body_bytes_max = body_bytes_max;
}

const char *weir__rpc_conn_peer_role(struct weir__rpc_conn *conn)
{
    return weir_stream_peer_role(conn->stream);
}

void weir__rpc_conn_close(struct weir__rpc_conn *conn, const char *malformed)
{
    weir_mutex_lock(&conn->mutex);
    if (!conn->closed) {
        conn->closed = true;
        conn->malformed = malformed;
        weir_stream_close(conn->stream);
    }
    weir_mutex_unlock(&conn->mutex);
}

void weir__rpc_conn_destroy(struct weir__rpc_conn *conn)
{
    weir_stream_destroy(conn->stream);
    weir_assert(conn->in_flight == 0);
    drop_locked(conn, UINT32_MAX);
    weir_mutex_fini(&conn->mutex);
    weir_buf_fini(&conn->in);
    weir_free(conn);
}
