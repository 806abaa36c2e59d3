#include "taskmanager/exchange/conn.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

enum { READ_BYTES = 256 * 1024, GROW_BYTES = 1 << 20 };

/*
 * Life: open -> over (an error, or destroy) -> freed when neither a send nor a receive is in flight. Each completion is a reserved mail, so
 * it cannot be lost, and the memory lives until the last one has come.
 */
struct weir_conn {
    struct weir_stream *stream;
    struct weir_mailbox *mailbox;
    struct weir_conn_callbacks callbacks;
    void *ctx;
    uint32_t body_bytes_max;
    struct weir_buf out;     /* gathered */
    struct weir_buf sending; /* in flight */
    struct weir_buf in;      /* received, not yet taken apart: in.data[in_head .. in.len) */
    size_t in_head;
    size_t wanted; /* bytes the next whole frame needs */
    bool send_in_flight;
    bool receive_in_flight;
    bool over;      /* told on_over, or destroyed */
    bool destroyed;
    bool dispatching; /* inside a callback: destroy must not free yet */
    /* Results, written on a library thread before its mail is posted. */
    enum weir_rc sent_rc;
    enum weir_rc received_rc;
    size_t received_bytes;
    struct weir_conn_totals *totals;
};

static void sent(void *payload);
static void received(void *payload);

/* On library threads. */
static void on_sent(void *ctx, enum weir_rc rc)
{
    struct weir_conn *conn = ctx;
    conn->sent_rc = rc;
    enum weir_rc posted = weir_mailbox_post_reserved(conn->mailbox, (struct weir_mail){.run = sent, .payload = conn});
    weir_assert(posted == WEIR_OK); /* the links close their mailbox only after every connection is freed */
}

static void on_received(void *ctx, enum weir_rc rc, size_t bytes)
{
    struct weir_conn *conn = ctx;
    conn->received_rc = rc;
    conn->received_bytes = bytes;
    enum weir_rc posted = weir_mailbox_post_reserved(conn->mailbox, (struct weir_mail){.run = received, .payload = conn});
    weir_assert(posted == WEIR_OK);
}

static void free_if_done(struct weir_conn *conn)
{
    if (!conn->destroyed || conn->dispatching || conn->send_in_flight || conn->receive_in_flight) {
        return;
    }
    conn->totals->live--;
    weir_stream_destroy(conn->stream);
    weir_buf_fini(&conn->out);
    weir_buf_fini(&conn->sending);
    weir_buf_fini(&conn->in);
    weir_free(conn);
}

static void end(struct weir_conn *conn, const struct weir_error *err)
{
    weir_stream_close(conn->stream);
    if (!conn->over) {
        conn->over = true;
        conn->callbacks.on_over(conn->ctx, err);
    }
}

static void end_rc(struct weir_conn *conn, enum weir_rc rc)
{
    struct weir_error err;
    (void)weir_error_set(&err, rc, "%s", weir_rc_text(rc));
    end(conn, &err);
}

static void reserve(struct weir_conn *conn)
{
    enum weir_rc rc = weir_mailbox_reserve(conn->mailbox);
    weir_assert(rc == WEIR_OK); /* two a connection: the mailbox is sized for all */
}

static void receive_more(struct weir_conn *conn)
{
    if (conn->in_head > 0) {
        memmove(conn->in.data, conn->in.data + conn->in_head, conn->in.len - conn->in_head);
        conn->in.len -= conn->in_head;
        conn->in_head = 0;
    }
    size_t room = conn->wanted > conn->in.len + READ_BYTES ? conn->wanted - conn->in.len : READ_BYTES;
    size_t grow = conn->in.len < GROW_BYTES ? GROW_BYTES : conn->in.len; /* memory follows what has come, not what a header promises */
    room = room < grow ? room : grow;
    uint8_t *into = weir_buf_reserve(&conn->in, room);
    reserve(conn);
    conn->receive_in_flight = true;
    weir_stream_receive(conn->stream, into, room);
}

/* Hands out every whole frame. */
static enum weir_rc take_frames(struct weir_conn *conn, struct weir_error *err)
{
    while (!conn->over) {
        struct weir_frame frame;
        struct weir_slice rest = weir_slice(conn->in.data + conn->in_head, conn->in.len - conn->in_head);
        enum weir_rc rc = weir_frame_take(rest, conn->body_bytes_max, &frame, &conn->wanted, err);
        if (rc == WEIR_AGAIN) {
            return WEIR_OK;
        }
        if (rc == WEIR_OK) {
            conn->in_head += conn->wanted;
            rc = conn->callbacks.on_frame(conn->ctx, &frame, err);
        }
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    return WEIR_OK;
}

static void received(void *payload)
{
    struct weir_conn *conn = payload;
    conn->receive_in_flight = false;
    conn->dispatching = true;
    if (!conn->over && conn->received_rc != WEIR_OK) {
        end_rc(conn, conn->received_rc);
    } else if (!conn->over) {
        conn->in.len += conn->received_bytes;
        conn->totals->bytes_received += conn->received_bytes;
        struct weir_error err;
        if (take_frames(conn, &err) != WEIR_OK) {
            end(conn, &err);
        } else if (!conn->over) {
            receive_more(conn);
        }
    }
    conn->dispatching = false;
    free_if_done(conn);
}

static void sent(void *payload)
{
    struct weir_conn *conn = payload;
    conn->send_in_flight = false;
    conn->dispatching = true;
    if (!conn->over && conn->sent_rc != WEIR_OK) {
        end_rc(conn, conn->sent_rc);
    } else if (!conn->over) {
        conn->totals->bytes_sent += conn->sending.len;
        weir_buf_clear(&conn->sending);
        conn->callbacks.on_sent(conn->ctx);
        if (!conn->over) {
            weir_conn_flush(conn);
        }
    }
    conn->dispatching = false;
    free_if_done(conn);
}

struct weir_conn *weir_conn_create_take(struct weir_stream *stream, struct weir_mailbox *mailbox, uint32_t body_bytes_max,
                                        const struct weir_conn_callbacks *callbacks, void *ctx, struct weir_conn_totals *totals)
{
    struct weir_conn *conn = weir_calloc(1, sizeof(*conn));
    conn->stream = stream;
    conn->mailbox = mailbox;
    conn->body_bytes_max = body_bytes_max;
    conn->callbacks = *callbacks;
    conn->ctx = ctx;
    conn->totals = totals;
    totals->live++;
    weir_stream_attach(stream, &(struct weir_stream_callbacks){.on_sent = on_sent, .on_received = on_received}, conn);
    receive_more(conn);
    return conn;
}

void weir_conn_set_body_max(struct weir_conn *conn, uint32_t body_bytes_max)
{
    conn->body_bytes_max = body_bytes_max;
}

void weir_conn_destroy(struct weir_conn *conn)
{
    if (conn == NULL) {
        return;
    }
    weir_assert(!conn->destroyed);
    conn->over = true;
    conn->destroyed = true;
    weir_stream_close(conn->stream);
    free_if_done(conn);
}

struct weir_buf *weir_conn_out(struct weir_conn *conn)
{
    return &conn->out;
}

void weir_conn_flush(struct weir_conn *conn)
{
    if (conn->over || conn->send_in_flight || conn->out.len == 0) {
        return;
    }
    struct weir_buf empty = conn->sending;
    conn->sending = conn->out;
    conn->out = empty;
    struct weir_slice run = weir_buf_slice(&conn->sending);
    reserve(conn);
    conn->send_in_flight = true;
    weir_stream_send(conn->stream, &run, 1);
}

size_t weir_conn_unsent(const struct weir_conn *conn)
{
    return conn->out.len;
}
