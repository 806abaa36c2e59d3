#include "common/base/vec.h"
#include "common/data/batch_wire.h"
#include "taskmanager/exchange/link_peer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* An opening that nobody expected yet. */
struct early_open {
    char name[WEIR_CHANNEL_NAME_MAX];
    uint32_t number;
    int64_t since_ms;
};

enum { EARLY_MAX = 65536, HELLO_BYTES_MAX = 4096 };

struct weir_in_peer {
    struct weir_link_env *env;
    struct weir_conn *conn;
    char *name; /* the peer's, from its hello; NULL before */
    int64_t accepted_ms;
    struct weir_in_channel **channels;
    size_t nchannels;
    size_t cap;
    struct early_open *early;
    size_t nearly;
    size_t early_cap;
    bool over;
};

void weir__channel_group(const char *job_id, uint32_t region, char out[WEIR_CHANNEL_GROUP_MAX])
{
    (void)snprintf(out, WEIR_CHANNEL_GROUP_MAX, "%.32s/%" PRIu32, job_id, region);
}

void weir__channel_name(const struct weir_channel_id *id, char out[WEIR_CHANNEL_NAME_MAX])
{
    (void)snprintf(out, WEIR_CHANNEL_NAME_MAX, "%.32s/%" PRIu32 "/%" PRIu32 "/%" PRIu32 "/%" PRIu32 "/%" PRIu32, id->job_id, id->region, id->attempt,
                   id->edge, id->from, id->to);
}

bool weir__channel_name_of(const char *name, const char *group, uint32_t attempt)
{
    size_t len = strlen(group);
    return strncmp(name, group, len) == 0 && name[len] == '/' && strtoul(name + len + 1, NULL, 10) <= attempt;
}

struct weir_in_channel *weir_in_channel_create_take(const char *name, const struct weir_schema *schema, struct weir_channel *channel,
                                                    int64_t now_ms)
{
    struct weir_in_channel *in = weir_calloc(1, sizeof(*in));
    memcpy(in->name, name, strlen(name) + 1);
    in->schema = weir_schema_ref(schema);
    in->expected_since_ms = now_ms;
    in->costs = weir_calloc(WEIR_LINK_CREDIT_BATCHES, sizeof(*in->costs));
    weir_outlet_init_take(&in->outlet, channel);
    return in;
}

void weir_in_channel_destroy(struct weir_in_channel *channel)
{
    weir_outlet_fini(&channel->outlet);
    weir_schema_unref(channel->schema);
    weir_free(channel->costs);
    weir_free(channel);
}

static void put_credit(struct weir_in_peer *peer, uint32_t number, uint32_t batches, uint64_t bytes)
{
    struct weir_buf *out = weir_conn_out(peer->conn);
    weir_frame_put_header(out, WEIR_FRAME_CREDIT, number, 12);
    weir_buf_put_u32(out, batches);
    weir_buf_put_u64(out, bytes);
    peer->env->frames_sent++;
}

static void attach(struct weir_in_peer *peer, struct weir_in_channel *channel, uint32_t number)
{
    channel->peer = peer;
    channel->number = number;
    peer->channels = weir_vec_grow(peer->channels, &peer->cap, sizeof(struct weir_in_channel *), peer->nchannels + 1);
    peer->channels[peer->nchannels++] = channel;
    put_credit(peer, number, WEIR_LINK_CREDIT_BATCHES, peer->env->options->credit_bytes);
}

static struct weir_in_channel *find_number(struct weir_in_peer *peer, uint32_t number, size_t *out_at)
{
    for (size_t i = 0; i < peer->nchannels; i++) {
        if (peer->channels[i]->number == number) {
            *out_at = i;
            return peer->channels[i];
        }
    }
    return NULL;
}

static void detach(struct weir_in_peer *peer, size_t at)
{
    weir_in_channel_destroy(peer->channels[at]);
    peer->channels[at] = peer->channels[--peer->nchannels];
}

static enum weir_rc hello(struct weir_in_peer *peer, const struct weir_frame *frame, struct weir_error *err)
{
    struct weir_reader reader = weir_reader(frame->body);
    struct weir_slice cluster = weir_read_bytes(&reader);
    struct weir_slice name = weir_read_bytes(&reader);
    if (frame->type != WEIR_FRAME_HELLO || reader.failed || name.len > WEIR_NAME_MAX) {
        return weir_error_set(err, WEIR_CORRUPT, "a data connection must begin with a hello");
    }
    if (!weir_slice_eq_str(cluster, peer->env->options->cluster_id)) {
        return weir_error_set(err, WEIR_CORRUPT, "the peer is of cluster \"%.*s\", this is \"%s\"", (int)(cluster.len < 64 ? cluster.len : 64),
                              (const char *)cluster.data, peer->env->options->cluster_id);
    }
    peer->name = weir_strndup(name.data, name.len);
    weir_conn_set_body_max(peer->conn, WEIR_LINK_FRAME_BYTES_MAX);
    return WEIR_OK;
}

static enum weir_rc opened(struct weir_in_peer *peer, const struct weir_frame *frame, struct weir_error *err)
{
    struct weir_reader reader = weir_reader(frame->body);
    struct weir_slice name = weir_read_bytes(&reader);
    if (reader.failed || name.len == 0 || name.len >= WEIR_CHANNEL_NAME_MAX || peer->nearly >= EARLY_MAX) {
        return weir_error_set(err, WEIR_CORRUPT, "a malformed channel opening");
    }
    struct weir_in_channel *channel = weir_hmap_remove(peer->env->expected, name);
    if (channel != NULL) {
        attach(peer, channel, frame->channel);
        return WEIR_OK;
    }
    peer->early = weir_vec_grow(peer->early, &peer->early_cap, sizeof(*peer->early), peer->nearly + 1);
    struct early_open *early = &peer->early[peer->nearly++];
    memcpy(early->name, name.data, name.len);
    early->name[name.len] = '\0';
    early->number = frame->channel;
    early->since_ms = weir_clock_mono_ms(peer->env->options->clock);
    return WEIR_OK;
}

static enum weir_rc batch(struct weir_in_peer *peer, struct weir_in_channel *channel, struct weir_slice body, struct weir_error *err)
{
    if (channel->count == WEIR_LINK_CREDIT_BATCHES) {
        return weir_error_set(err, WEIR_CORRUPT, "channel %s: a batch beyond the credit", channel->name);
    }
    struct weir_batch *decoded = NULL;
    enum weir_rc rc = weir_batch_decode(body, channel->schema, peer->env->options->mem, &decoded, err);
    if (rc != WEIR_OK) {
        return weir_error_prefix(err, "channel %s", channel->name);
    }
    channel->costs[(channel->first + channel->count++) % WEIR_LINK_CREDIT_BATCHES] = (uint32_t)body.len;
    weir_outlet_send(&channel->outlet, (struct weir_element){.kind = WEIR_ELEMENT_BATCH, .batch = decoded});
    return WEIR_OK;
}

/* A control element; NONE says that the producer has left: fine after END, else the channel is broken (the gate tells). */
static enum weir_rc control(struct weir_in_peer *peer, size_t at, struct weir_slice body, struct weir_error *err)
{
    struct weir_in_channel *channel = peer->channels[at];
    struct weir_reader reader = weir_reader(body);
    uint8_t kind = weir_read_u8(&reader);
    int64_t value = weir_read_i64(&reader);
    if (reader.failed || kind > WEIR_ELEMENT_END || kind == WEIR_ELEMENT_BATCH) {
        return weir_error_set(err, WEIR_CORRUPT, "channel %s: a malformed control frame", channel->name);
    }
    if (kind != WEIR_ELEMENT_NONE) {
        weir_outlet_send(&channel->outlet, (struct weir_element){.kind = (enum weir_element_kind)kind, .value = value});
    }
    if (kind == WEIR_ELEMENT_NONE) {
        detach(peer, at);
    }
    return WEIR_OK;
}

static enum weir_rc on_frame(void *ctx, const struct weir_frame *frame, struct weir_error *err)
{
    struct weir_in_peer *peer = ctx;
    peer->env->frames_received++;
    if (peer->name == NULL) {
        return hello(peer, frame, err);
    }
    size_t at = 0;
    struct weir_in_channel *channel = NULL;
    switch (frame->type) {
    case WEIR_FRAME_OPEN:
        return opened(peer, frame, err);
    case WEIR_FRAME_BATCH:
        channel = find_number(peer, frame->channel, &at);
        return channel == NULL ? WEIR_OK : batch(peer, channel, frame->body, err); /* dropped here: late frames are let fall */
    case WEIR_FRAME_CONTROL:
        channel = find_number(peer, frame->channel, &at);
        return channel == NULL ? WEIR_OK : control(peer, at, frame->body, err);
    case WEIR_FRAME_HELLO:
    case WEIR_FRAME_CREDIT:
    case WEIR_FRAME_CLOSED:
        break;
    }
    return weir_error_set(err, WEIR_CORRUPT, "frame type %d is not for the receiver's side", (int)frame->type);
}

static void on_over(void *ctx, const struct weir_error *err)
{
    struct weir_in_peer *peer = ctx;
    peer->over = true;
    bool malformed = err->rc == WEIR_CORRUPT || err->rc == WEIR_LIMIT;
    peer->env->malformed += malformed;
    if (malformed || peer->nchannels > 0) {
        weir_log(peer->env->options->log, WEIR_LOG_WARN, "data_link_lost", "peer", peer->name == NULL ? "?" : peer->name, "side", "receiver",
                 "channels", WEIR_LOG_INT(peer->nchannels), "why", err->text, NULL);
    }
    while (peer->nchannels > 0) {
        detach(peer, peer->nchannels - 1);
    }
}

static void on_sent(void *ctx)
{
    (void)ctx; /* the links pump every peer after each round of mails */
}

struct weir_in_peer *weir_in_peer_create_take(struct weir_link_env *env, struct weir_stream *stream)
{
    static const struct weir_conn_callbacks callbacks = {.on_frame = on_frame, .on_over = on_over, .on_sent = on_sent};
    struct weir_in_peer *peer = weir_calloc(1, sizeof(*peer));
    peer->env = env;
    peer->accepted_ms = weir_clock_mono_ms(env->options->clock);
    peer->conn = weir_conn_create_take(stream, env->mailbox, HELLO_BYTES_MAX, &callbacks, peer, &env->totals);
    return peer;
}

void weir_in_peer_destroy(struct weir_in_peer *peer)
{
    if (peer == NULL) {
        return;
    }
    while (peer->nchannels > 0) {
        detach(peer, peer->nchannels - 1);
    }
    weir_conn_destroy(peer->conn);
    weir_free(peer->channels);
    weir_free(peer->early);
    weir_free(peer->name);
    weir_free(peer);
}

/* Returns when the oldest opening that is kept runs out of time. */
static int64_t attach_early(struct weir_in_peer *peer, int64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < peer->nearly; i++) {
        struct early_open early = peer->early[i];
        struct weir_in_channel *channel = weir_hmap_remove(peer->env->expected, weir_slice_str(early.name));
        if (channel != NULL) {
            attach(peer, channel, early.number);
        } else if (now_ms - early.since_ms >= peer->env->options->open_timeout_ms) {
            weir_frame_put_header(weir_conn_out(peer->conn), WEIR_FRAME_CLOSED, early.number, 0);
        } else {
            peer->early[kept++] = early;
        }
    }
    peer->nearly = kept;
    return kept == 0 ? INT64_MAX : peer->early[0].since_ms + peer->env->options->open_timeout_ms;
}

/* Credit for batches the task has taken out; sent when half the window has come together, or everything. */
static void give_back(struct weir_in_peer *peer, struct weir_in_channel *channel)
{
    uint32_t queued = weir_channel_queued_batches(channel->outlet.channel) + (uint32_t)(channel->outlet.kept_len - channel->outlet.kept_head);
    queued = queued < channel->count ? queued : channel->count;
    uint32_t taken = channel->count - queued;
    if (taken == 0) {
        if (channel->count > 0) {
            weir_channel_wake_on_pop(channel->outlet.channel);
        }
        return;
    }
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < taken; i++) {
        bytes += channel->costs[(channel->first + i) % WEIR_LINK_CREDIT_BATCHES];
    }
    channel->first = (channel->first + taken) % WEIR_LINK_CREDIT_BATCHES;
    channel->count -= taken;
    put_credit(peer, channel->number, taken, bytes);
    if (channel->count > 0) {
        weir_channel_wake_on_pop(channel->outlet.channel);
    }
}

int64_t weir_in_peer_pump(struct weir_in_peer *peer, int64_t now_ms)
{
    if (peer->over) {
        return INT64_MAX;
    }
    int64_t hello_due_ms = peer->name != NULL ? INT64_MAX : peer->accepted_ms + peer->env->options->open_timeout_ms;
    if (hello_due_ms <= now_ms) {
        peer->env->malformed++;
        weir_log(peer->env->options->log, WEIR_LOG_WARN, "data_link_silent", NULL);
        peer->over = true; /* the links destroy it, which closes */
        return INT64_MAX;
    }
    int64_t due_ms = attach_early(peer, now_ms);
    for (size_t i = 0; i < peer->nchannels; i++) {
        (void)weir_outlet_drain(&peer->channels[i]->outlet);
        give_back(peer, peer->channels[i]);
    }
    weir_conn_flush(peer->conn);
    return due_ms < hello_due_ms ? due_ms : hello_due_ms;
}

void weir_in_peer_drop(struct weir_in_peer *peer, const char *group, uint32_t attempt)
{
    for (size_t i = peer->nchannels; i-- > 0;) {
        if (weir__channel_name_of(peer->channels[i]->name, group, attempt)) {
            if (!peer->over) {
                weir_frame_put_header(weir_conn_out(peer->conn), WEIR_FRAME_CLOSED, peer->channels[i]->number, 0);
            }
            detach(peer, i);
        }
    }
}

bool weir_in_peer_over(const struct weir_in_peer *peer)
{
    return peer->over;
}
