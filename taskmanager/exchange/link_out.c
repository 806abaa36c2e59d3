#include "common/base/assert.h"
#include "common/base/vec.h"
#include "common/data/batch_wire.h"
#include "common/net/stream.h"
#include "taskmanager/exchange/link_peer.h"

enum { GATHER_BYTES = 256 * 1024, REDIAL_MS = 50 };

struct out_channel {
    char name[WEIR_CHANNEL_NAME_MAX];
    struct weir_channel *channel; /* consumer end; NULL: over */
    uint32_t number;
    uint32_t credit_batches;
    uint64_t credit_bytes;
    bool opened;
    bool granted; /* the first credit has come: the receiver has attached the channel, so that nothing sent is let fall */
    struct weir_element held; /* popped, waiting for credit; kind NONE when there is none */
};

enum out_state { OUT_WAITING, OUT_DIALING, OUT_OPEN, OUT_BROKEN };

struct weir_out_peer {
    struct weir_link_env *env;
    char *address;
    enum out_state state;
    struct weir_stream_dial *dial;
    struct weir_conn *conn;
    int64_t dial_at_ms;   /* WAITING: when to dial */
    int64_t give_up_ms;   /* set by the first pump */
    struct out_channel **channels;
    size_t nchannels;
    size_t cap;
    uint32_t next_number;
    /* The dial's outcome, written on a library thread before its mail. */
    enum weir_rc dialed_rc;
    struct weir_stream *dialed;
    bool destroyed; /* freed by the dial's mail */
};

static void break_channels(struct weir_out_peer *peer)
{
    for (size_t i = 0; i < peer->nchannels; i++) {
        weir_batch_unref(peer->channels[i]->held.batch);
        weir_channel_release_consumer(peer->channels[i]->channel);
        weir_free(peer->channels[i]);
    }
    peer->nchannels = 0;
}

static void broken(struct weir_out_peer *peer, const char *why)
{
    weir_log(peer->env->options->log, WEIR_LOG_WARN, "data_link_lost", "peer", peer->address, "side", "sender", "channels",
             WEIR_LOG_INT(peer->nchannels), "why", why, NULL);
    peer->state = OUT_BROKEN;
    break_channels(peer);
}

static struct out_channel *find_number(struct weir_out_peer *peer, uint32_t number)
{
    for (size_t i = 0; i < peer->nchannels; i++) {
        if (peer->channels[i]->number == number) {
            return peer->channels[i];
        }
    }
    return NULL;
}

static void end_channel(struct out_channel *channel)
{
    weir_channel_release_consumer(channel->channel);
    channel->channel = NULL;
    weir_batch_unref(channel->held.batch);
    channel->held = (struct weir_element){.kind = WEIR_ELEMENT_NONE};
}

static enum weir_rc on_frame(void *ctx, const struct weir_frame *frame, struct weir_error *err)
{
    struct weir_out_peer *peer = ctx;
    struct out_channel *channel = find_number(peer, frame->channel);
    struct weir_reader reader = weir_reader(frame->body);
    peer->env->frames_received++;
    if (frame->type == WEIR_FRAME_CREDIT) {
        uint32_t batches = weir_read_u32(&reader);
        uint64_t bytes = weir_read_u64(&reader);
        if (reader.failed) {
            return weir_error_set(err, WEIR_CORRUPT, "a credit frame is too short");
        }
        if (channel != NULL) {
            channel->credit_batches += batches;
            channel->credit_bytes += bytes;
            channel->granted = true;
        }
        return WEIR_OK;
    }
    if (frame->type == WEIR_FRAME_CLOSED) {
        if (channel != NULL && channel->channel != NULL) {
            end_channel(channel);
        }
        return WEIR_OK;
    }
    return weir_error_set(err, WEIR_CORRUPT, "frame type %d is not for the sender's side", (int)frame->type);
}

static void on_over(void *ctx, const struct weir_error *err)
{
    struct weir_out_peer *peer = ctx;
    peer->env->malformed += err->rc == WEIR_CORRUPT || err->rc == WEIR_LIMIT;
    broken(peer, err->text);
}

static void on_sent(void *ctx)
{
    (void)ctx; /* the links pump every peer after each round of mails */
}

static void free_peer(struct weir_out_peer *peer)
{
    weir_free(peer->channels);
    weir_free(peer->address);
    weir_free(peer);
}

static void open_stream(struct weir_out_peer *peer, struct weir_stream *stream)
{
    static const struct weir_conn_callbacks callbacks = {.on_frame = on_frame, .on_over = on_over, .on_sent = on_sent};
    peer->conn = weir_conn_create_take(stream, peer->env->mailbox, WEIR_FRAME_HEADER_BYTES + 4096, &callbacks, peer, &peer->env->totals);
    peer->state = OUT_OPEN;
    struct weir_buf *out = weir_conn_out(peer->conn);
    size_t start = out->len;
    weir_frame_put_header(out, WEIR_FRAME_HELLO, 0, 0);
    weir_buf_put_bytes(out, weir_slice_str(peer->env->options->cluster_id));
    weir_buf_put_bytes(out, weir_slice_str(peer->env->options->name));
    weir_frame_finish(out, start);
}

static void dialed(void *payload)
{
    struct weir_out_peer *peer = payload;
    weir_stream_dial_destroy(peer->dial);
    peer->dial = NULL;
    peer->env->totals.live--;
    if (peer->destroyed) {
        weir_stream_destroy(peer->dialed);
        free_peer(peer);
        return;
    }
    if (peer->dialed_rc == WEIR_OK) {
        open_stream(peer, peer->dialed);
        return;
    }
    peer->state = OUT_WAITING;
    peer->dial_at_ms = weir_clock_mono_ms(peer->env->options->clock) + REDIAL_MS;
    if (peer->dial_at_ms >= peer->give_up_ms) {
        broken(peer, "could not connect before the deadline");
    }
}

/* On a library thread. */
static void on_dialed(void *ctx, enum weir_rc rc, struct weir_stream *stream)
{
    struct weir_out_peer *peer = ctx;
    peer->dialed_rc = rc;
    peer->dialed = stream;
    enum weir_rc posted = weir_mailbox_post_reserved(peer->env->mailbox, (struct weir_mail){.run = dialed, .payload = peer});
    weir_assert(posted == WEIR_OK);
}

struct weir_out_peer *weir_out_peer_create(struct weir_link_env *env, const char *address)
{
    struct weir_out_peer *peer = weir_calloc(1, sizeof(*peer));
    peer->env = env;
    peer->address = weir_strdup(address);
    peer->give_up_ms = weir_clock_mono_ms(env->options->clock) + env->options->open_timeout_ms;
    return peer;
}

void weir_out_peer_destroy(struct weir_out_peer *peer)
{
    if (peer == NULL) {
        return;
    }
    break_channels(peer);
    weir_conn_destroy(peer->conn);
    if (peer->state == OUT_DIALING) {
        peer->destroyed = true; /* freed by the dial's mail, which comes now */
        struct weir_stream_dial *dial = peer->dial;
        peer->dial = NULL;
        weir_stream_dial_destroy(dial);
        return;
    }
    free_peer(peer);
}

const char *weir_out_peer_address(const struct weir_out_peer *peer)
{
    return peer->address;
}

void weir_out_peer_add_take(struct weir_out_peer *peer, const char *name, struct weir_channel *channel)
{
    struct out_channel *out = weir_calloc(1, sizeof(*out));
    memcpy(out->name, name, strlen(name) + 1);
    out->channel = channel;
    out->number = ++peer->next_number;
    peer->channels = weir_vec_grow(peer->channels, &peer->cap, sizeof(struct out_channel *), peer->nchannels + 1);
    peer->channels[peer->nchannels++] = out;
}

static void put_open(struct weir_out_peer *peer, struct out_channel *channel)
{
    struct weir_buf *out = weir_conn_out(peer->conn);
    size_t start = out->len;
    weir_frame_put_header(out, WEIR_FRAME_OPEN, channel->number, 0);
    weir_buf_put_bytes(out, weir_slice_str(channel->name));
    weir_frame_finish(out, start);
    channel->opened = true;
    peer->env->frames_sent++;
}

static void put_element(struct weir_out_peer *peer, struct out_channel *channel, const struct weir_element *element)
{
    struct weir_buf *out = weir_conn_out(peer->conn);
    size_t start = out->len;
    peer->env->frames_sent++;
    if (element->kind == WEIR_ELEMENT_BATCH) {
        weir_frame_put_header(out, WEIR_FRAME_BATCH, channel->number, 0);
        weir_batch_encode(element->batch, out);
        weir_frame_finish(out, start);
        uint64_t cost = out->len - start - WEIR_FRAME_HEADER_BYTES;
        channel->credit_batches--;
        channel->credit_bytes = cost > channel->credit_bytes ? 0 : channel->credit_bytes - cost;
        return;
    }
    weir_frame_put_header(out, WEIR_FRAME_CONTROL, channel->number, 0);
    weir_buf_put_u8(out, (uint8_t)element->kind);
    weir_buf_put_i64(out, element->value);
    weir_frame_finish(out, start);
}

/* Sends from one channel while credit and gathering allow. A batch may go out while any credit in bytes is left: the last one overdraws. */
static void pump_channel(struct weir_out_peer *peer, struct out_channel *channel)
{
    if (!channel->opened) {
        put_open(peer, channel);
    }
    if (!channel->granted) {
        return;
    }
    while (channel->channel != NULL && weir_conn_unsent(peer->conn) < GATHER_BYTES) {
        if (channel->held.kind == WEIR_ELEMENT_NONE) {
            channel->held = weir_channel_pop(channel->channel);
        }
        struct weir_element *element = &channel->held;
        if (element->kind == WEIR_ELEMENT_NONE) {
            if (weir_channel_closed(channel->channel)) { /* the producer left, after END or without it: the peer knows which */
                put_element(peer, channel, &(struct weir_element){.kind = WEIR_ELEMENT_NONE});
                end_channel(channel);
            }
            return;
        }
        if (element->kind == WEIR_ELEMENT_BATCH && (channel->credit_batches == 0 || channel->credit_bytes == 0)) {
            return;
        }
        put_element(peer, channel, element);
        weir_batch_unref(element->batch);
        *element = (struct weir_element){.kind = WEIR_ELEMENT_NONE};
    }
}

static void dial(struct weir_out_peer *peer)
{
    struct weir_error err;
    enum weir_rc rc = weir_mailbox_reserve(peer->env->mailbox);
    weir_assert(rc == WEIR_OK);
    peer->state = OUT_DIALING;
    peer->env->totals.live++;
    rc = weir_stream_dial(peer->address, (uint32_t)peer->env->options->open_timeout_ms, on_dialed, peer, &peer->dial, &err);
    if (rc != WEIR_OK) {
        weir_mailbox_unreserve(peer->env->mailbox);
        peer->env->totals.live--;
        broken(peer, err.text);
    }
}

/* Frees channels that are over. */
static void sweep(struct weir_out_peer *peer)
{
    size_t kept = 0;
    for (size_t i = 0; i < peer->nchannels; i++) {
        if (peer->channels[i]->channel == NULL) {
            weir_free(peer->channels[i]);
        } else {
            peer->channels[kept++] = peer->channels[i];
        }
    }
    peer->nchannels = kept;
}

int64_t weir_out_peer_pump(struct weir_out_peer *peer, int64_t now_ms)
{
    if (peer->state == OUT_WAITING && now_ms >= peer->dial_at_ms) {
        dial(peer);
    }
    if (peer->state == OUT_OPEN) {
        for (size_t i = 0; i < peer->nchannels; i++) {
            pump_channel(peer, peer->channels[i]);
        }
        weir_conn_flush(peer->conn);
        sweep(peer);
    }
    return peer->state == OUT_WAITING ? peer->dial_at_ms : INT64_MAX;
}

void weir_out_peer_drop(struct weir_out_peer *peer, const char *group, uint32_t attempt)
{
    for (size_t i = 0; i < peer->nchannels; i++) {
        struct out_channel *channel = peer->channels[i];
        if (channel->channel != NULL && weir__channel_name_of(channel->name, group, attempt)) {
            if (channel->granted && peer->state == OUT_OPEN) {
                put_element(peer, channel, &(struct weir_element){.kind = WEIR_ELEMENT_NONE});
            }
            end_channel(channel);
        }
    }
    sweep(peer);
}

bool weir_out_peer_spent(const struct weir_out_peer *peer)
{
    return peer->state == OUT_BROKEN && peer->nchannels == 0;
}

bool weir_out_peer_connected(const struct weir_out_peer *peer)
{
    return peer->state == OUT_OPEN;
}
