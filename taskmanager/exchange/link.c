#include "taskmanager/exchange/link.h"

#include "common/base/assert.h"
#include "common/base/vec.h"
#include "common/runtime/sync.h"
#include "common/runtime/thread.h"
#include "taskmanager/exchange/link_peer.h"

enum { MAILS_MAX = 65536, MAILS_PER_ROUND = 256, SWEEP_MS = 200, DROPPED_MAX = 4096, IN_PEERS_MAX = 4096 };

_Static_assert(4 * IN_PEERS_MAX < MAILS_MAX, "each connection reserves two mails");

struct weir_links {
    struct weir_links_options options; /* with name below: the creator's may change while the thread says hello with it */
    char *name;
    struct weir_waker *waker;
    struct weir_mailbox *mailbox;
    struct weir_thread *thread;
    struct weir_stream_listener *listener;
    struct weir_link_env env;
    struct weir_out_peer **outs;
    size_t nouts;
    size_t outs_cap;
    struct weir_in_peer **ins;
    size_t nins;
    size_t ins_cap;
    struct weir_hmap *dropped; /* channel group -> highest attempt dropped */
    bool stopping;
    _Atomic uint32_t wake_refs; /* channels that may still wake the thread, and the links themselves */
    struct weir_mutex stats_mutex; /* guards stats */
    struct weir_links_stats stats;
};

/* A call from another thread on its way to the links' thread. */
struct order {
    struct weir_links *links;
    char name[WEIR_CHANNEL_NAME_MAX];
    char group[WEIR_CHANNEL_GROUP_MAX];
    char *address;
    uint32_t attempt;
    const struct weir_schema *schema;
    struct weir_channel *channel;
    struct weir_stream *stream;
};

static void free_order(struct order *order)
{
    weir_free(order->address);
    weir_schema_unref(order->schema);
    weir_free(order);
}

static void unref_links(void *ctx)
{
    struct weir_links *links = ctx;
    if (atomic_fetch_sub(&links->wake_refs, 1) == 1) {
        weir_waker_destroy(links->waker);
        weir_mutex_fini(&links->stats_mutex);
        weir_free(links);
    }
}

static void wake_links(void *ctx)
{
    struct weir_links *links = ctx;
    weir_waker_wake(links->waker);
}

static struct weir_channel_wake wake_ref(struct weir_links *links)
{
    atomic_fetch_add(&links->wake_refs, 1);
    return (struct weir_channel_wake){.wake = wake_links, .unref = unref_links, .ctx = links};
}

/* --- orders, on the links' thread -------------------------------------------------------------------------------------- */

static bool is_dropped(const struct weir_links *links, const char *group, uint32_t attempt)
{
    return attempt <= (uint32_t)(uintptr_t)weir_hmap_get(links->dropped, weir_slice_str(group));
}

static struct weir_out_peer *peer_of(struct weir_links *links, const char *address)
{
    for (size_t i = 0; i < links->nouts; i++) {
        if (strcmp(weir_out_peer_address(links->outs[i]), address) == 0 && !weir_out_peer_spent(links->outs[i])) {
            return links->outs[i];
        }
    }
    links->outs = weir_vec_grow(links->outs, &links->outs_cap, sizeof(struct weir_out_peer *), links->nouts + 1);
    links->outs[links->nouts] = weir_out_peer_create(&links->env, address);
    return links->outs[links->nouts++];
}

static void do_send(void *payload)
{
    struct order *order = payload;
    if (order->links->stopping || is_dropped(order->links, order->group, order->attempt)) {
        weir_channel_release_consumer(order->channel);
    } else {
        weir_out_peer_add_take(peer_of(order->links, order->address), order->name, order->channel);
    }
    free_order(order);
}

static void drop_send(void *payload)
{
    struct order *order = payload;
    weir_channel_release_consumer(order->channel);
    free_order(order);
}

static void do_receive(void *payload)
{
    struct order *order = payload;
    struct weir_links *links = order->links;
    if (links->stopping || is_dropped(links, order->group, order->attempt)) {
        weir_channel_release_producer(order->channel);
    } else {
        struct weir_in_channel *in = weir_in_channel_create_take(order->name, order->schema, order->channel,
                                                                 weir_clock_mono_ms(links->options.clock));
        struct weir_in_channel *before = weir_hmap_put(links->env.expected, weir_slice_str(order->name), in);
        weir_assert(before == NULL); /* an attempt is deployed once */
    }
    free_order(order);
}

static void drop_receive(void *payload)
{
    struct order *order = payload;
    weir_channel_release_producer(order->channel);
    free_order(order);
}

static void drop_expected(struct weir_links *links, const char *group, uint32_t attempt)
{
    struct weir_hmap_iter iter = {0};
    while (weir_hmap_next(links->env.expected, &iter)) {
        struct weir_in_channel *channel = iter.value;
        if (weir__channel_name_of(channel->name, group, attempt)) {
            (void)weir_hmap_remove(links->env.expected, iter.key);
            weir_in_channel_destroy(channel);
        }
    }
}

static void do_drop(void *payload)
{
    struct order *order = payload;
    struct weir_links *links = order->links;
    if (weir_hmap_count(links->dropped) >= DROPPED_MAX) { /* old jobs: their openings are refused by the deploy order that never comes */
        weir_hmap_destroy(links->dropped);
        links->dropped = weir_hmap_create(0);
    }
    if (order->attempt > 0 && !is_dropped(links, order->group, order->attempt)) {
        (void)weir_hmap_put(links->dropped, weir_slice_str(order->group), (void *)(uintptr_t)order->attempt);
    }
    drop_expected(links, order->group, order->attempt);
    for (size_t i = 0; i < links->nouts; i++) {
        weir_out_peer_drop(links->outs[i], order->group, order->attempt);
    }
    for (size_t i = 0; i < links->nins; i++) {
        weir_in_peer_drop(links->ins[i], order->group, order->attempt);
    }
    free_order(order);
}

static void drop_order(void *payload)
{
    free_order(payload);
}

static void do_accept(void *payload)
{
    struct order *order = payload;
    struct weir_links *links = order->links;
    if (links->stopping || links->nins == IN_PEERS_MAX) {
        weir_stream_destroy(order->stream);
    } else {
        links->ins = weir_vec_grow(links->ins, &links->ins_cap, sizeof(struct weir_in_peer *), links->nins + 1);
        links->ins[links->nins++] = weir_in_peer_create_take(&links->env, order->stream);
    }
    free_order(order);
}

static void drop_accept(void *payload)
{
    struct order *order = payload;
    weir_stream_destroy(order->stream); /* also on the accepting library thread: nothing was ever submitted to this stream */
    free_order(order);
}

static void do_stop(void *payload)
{
    struct weir_links *links = payload;
    links->stopping = true;
}

/* --- the thread -------------------------------------------------------------------------------------------------------- */

/* Channels that were expected for too long: their consumers get CLOSED. */
static void expire(struct weir_links *links, int64_t now_ms)
{
    struct weir_hmap_iter iter = {0};
    while (weir_hmap_next(links->env.expected, &iter)) {
        struct weir_in_channel *channel = iter.value;
        if (now_ms - channel->expected_since_ms >= links->options.open_timeout_ms) {
            weir_log(links->options.log, WEIR_LOG_WARN, "data_channel_never_opened", "channel", channel->name, NULL);
            (void)weir_hmap_remove(links->env.expected, iter.key);
            weir_in_channel_destroy(channel);
        }
    }
}

static void publish_stats(struct weir_links *links)
{
    weir_mutex_lock(&links->stats_mutex);
    links->stats.malformed = links->env.malformed;
    links->stats.frames_sent = links->env.frames_sent;
    links->stats.frames_received = links->env.frames_received;
    links->stats.bytes_sent = links->env.totals.bytes_sent;
    links->stats.bytes_received = links->env.totals.bytes_received;
    links->stats.connections = (uint32_t)links->nins;
    for (size_t i = 0; i < links->nouts; i++) {
        links->stats.connections += weir_out_peer_connected(links->outs[i]);
    }
    weir_mutex_unlock(&links->stats_mutex);
}

/* Lets every peer do what it can; returns when the next round is due by itself (monotonic ms). */
static int64_t pump(struct weir_links *links)
{
    int64_t now_ms = weir_clock_mono_ms(links->options.clock);
    int64_t next_ms = weir_hmap_count(links->env.expected) > 0 ? now_ms + SWEEP_MS : INT64_MAX;
    for (size_t i = links->nouts; i-- > 0;) {
        int64_t due_ms = weir_out_peer_pump(links->outs[i], now_ms);
        next_ms = due_ms < next_ms ? due_ms : next_ms;
        if (weir_out_peer_spent(links->outs[i])) {
            weir_out_peer_destroy(links->outs[i]);
            links->outs[i] = links->outs[--links->nouts];
        }
    }
    for (size_t i = links->nins; i-- > 0;) {
        int64_t due_ms = weir_in_peer_pump(links->ins[i], now_ms);
        next_ms = due_ms < next_ms ? due_ms : next_ms;
        if (weir_in_peer_over(links->ins[i])) {
            weir_in_peer_destroy(links->ins[i]);
            links->ins[i] = links->ins[--links->nins];
        }
    }
    expire(links, now_ms);
    publish_stats(links);
    return next_ms;
}

/* Breaks everything, then waits until the network library has let go of every connection. */
static void wind_up(struct weir_links *links)
{
    struct weir_hmap_iter iter = {0};
    while (weir_hmap_next(links->env.expected, &iter)) {
        struct weir_in_channel *channel = iter.value;
        (void)weir_hmap_remove(links->env.expected, iter.key);
        weir_in_channel_destroy(channel);
    }
    while (links->nouts > 0) {
        weir_out_peer_destroy(links->outs[--links->nouts]);
    }
    while (links->nins > 0) {
        weir_in_peer_destroy(links->ins[--links->nins]);
    }
    while (links->env.totals.live > 0) {
        (void)weir_mailbox_run(links->mailbox, MAILS_PER_ROUND);
        weir_waker_prepare(links->waker);
        if (links->env.totals.live == 0 || !weir_mailbox_empty(links->mailbox)) {
            weir_waker_cancel(links->waker);
        } else {
            weir_waker_wait(links->waker, -1, NULL, 0);
        }
    }
}

static void run_thread(void *ctx)
{
    struct weir_links *links = ctx;
    while (!links->stopping) {
        (void)weir_mailbox_run(links->mailbox, MAILS_PER_ROUND);
        (void)pump(links);
        weir_waker_prepare(links->waker);
        int64_t next_ms = pump(links); /* the second look */
        if (!weir_mailbox_empty(links->mailbox) || links->stopping) {
            weir_waker_cancel(links->waker);
            continue;
        }
        int64_t left_ms = next_ms == INT64_MAX ? -1 : next_ms - weir_clock_mono_ms(links->options.clock);
        weir_waker_wait(links->waker, next_ms != INT64_MAX && left_ms < 0 ? 0 : left_ms, NULL, 0);
    }
    wind_up(links);
}

/* On a library thread. */
static void on_accept(void *ctx, struct weir_stream *stream)
{
    struct weir_links *links = ctx;
    struct order *order = weir_calloc(1, sizeof(*order));
    order->links = links;
    order->stream = stream;
    struct weir_mail mail = {.run = do_accept, .drop = drop_accept, .payload = order};
    if (weir_mailbox_post(links->mailbox, WEIR_MAIL_DATA, mail) != WEIR_OK) {
        weir_mail_drop(&mail);
    }
}

enum weir_rc weir_links_create(const struct weir_links_options *options, struct weir_links **out_links, struct weir_error *err)
{
    struct weir_waker *waker = NULL;
    enum weir_rc rc = weir_waker_create(&waker, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_links *links = weir_calloc(1, sizeof(*links));
    links->options = *options;
    links->name = weir_strdup(options->name);
    links->options.name = links->name;
    links->waker = waker;
    links->mailbox = weir_mailbox_create(MAILS_MAX, waker);
    links->dropped = weir_hmap_create(0);
    links->env = (struct weir_link_env){.options = &links->options, .mailbox = links->mailbox, .expected = weir_hmap_create(0)};
    weir_mutex_init(&links->stats_mutex);
    atomic_init(&links->wake_refs, 1);
    rc = weir_thread_start("weir-links", run_thread, links, &links->thread, err);
    if (rc == WEIR_OK) {
        rc = weir_stream_listen(options->host, options->port, on_accept, links, &links->listener, err);
    }
    if (rc != WEIR_OK) {
        weir_links_destroy(links);
        return rc;
    }
    *out_links = links;
    return WEIR_OK;
}

void weir_links_stop(struct weir_links *links)
{
    enum weir_rc rc = weir_mailbox_post(links->mailbox, WEIR_MAIL_CONTROL, (struct weir_mail){.run = do_stop, .payload = links});
    weir_assert(rc == WEIR_OK || rc == WEIR_CLOSED);
}

void weir_links_destroy(struct weir_links *links)
{
    if (links == NULL) {
        return;
    }
    weir_stream_listener_destroy(links->listener);
    if (links->thread != NULL) {
        weir_links_stop(links);
        weir_thread_join(links->thread);
    }
    weir_mailbox_destroy(links->mailbox); /* orders that came too late are dropped here */
    weir_hmap_destroy(links->dropped);
    weir_hmap_destroy(links->env.expected);
    weir_free(links->outs);
    weir_free(links->ins);
    weir_free(links->name);
    unref_links(links);
}

uint16_t weir_links_port(const struct weir_links *links)
{
    return weir_stream_listener_port(links->listener);
}

static struct order *make_order(struct weir_links *links, const struct weir_channel_id *id, struct weir_channel *channel)
{
    struct order *order = weir_calloc(1, sizeof(*order));
    order->links = links;
    order->attempt = id->attempt;
    order->channel = channel;
    weir__channel_group(id->job_id, id->region, order->group);
    weir__channel_name(id, order->name);
    return order;
}

static void post(struct weir_links *links, struct order *order, void (*run)(void *), void (*drop)(void *))
{
    struct weir_mail mail = {.run = run, .drop = drop, .payload = order};
    if (weir_mailbox_post(links->mailbox, WEIR_MAIL_CONTROL, mail) != WEIR_OK) {
        weir_mail_drop(&mail); /* the channel breaks, the attempt fails and is tried again */
    }
}

void weir_links_send_take(struct weir_links *links, const char *address, const struct weir_channel_id *id, struct weir_channel *channel)
{
    struct order *order = make_order(links, id, channel);
    order->address = weir_strdup(address);
    weir_channel_set_consumer_take(channel, wake_ref(links));
    post(links, order, do_send, drop_send);
}

void weir_links_receive_take(struct weir_links *links, const struct weir_channel_id *id, const struct weir_schema *schema,
                             struct weir_channel *channel)
{
    struct order *order = make_order(links, id, channel);
    order->schema = weir_schema_ref(schema);
    weir_channel_set_producer_take(channel, wake_ref(links));
    post(links, order, do_receive, drop_receive);
}

void weir_links_drop(struct weir_links *links, const char *job_id, uint32_t region, uint32_t attempt)
{
    struct weir_channel_id id = {.job_id = job_id, .region = region, .attempt = attempt};
    post(links, make_order(links, &id, NULL), do_drop, drop_order);
}

void weir_links_stats(struct weir_links *links, struct weir_links_stats *out_stats)
{
    weir_mutex_lock(&links->stats_mutex);
    *out_stats = links->stats;
    weir_mutex_unlock(&links->stats_mutex);
}
