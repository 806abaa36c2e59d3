/*
 * The control messages on their way out of a process: what phase they begin, which come twice, and what is broken on purpose in them.
 *
 * A connection loses and repeats nothing, and the RPC above it sends nothing twice. What repeats is whoever asks; and a machine between two
 * others may keep a connection's bytes until nobody waits for them any more. So requests come again here, at once or late, on whatever
 * connection there is then; orders to TaskManagers also from a JobManager that did not give them.
 */
#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "proto/control.pb-c.h"
#include "proto/methods.h"
#include "proto/pb.h"
#include "tests/sim/cluster/hooks.h"
#include "tests/sim/cluster/wraps.h"

#include <stdio.h>

/* Every RPC client of the run, which dead processes leave behind. */
struct caller {
    struct weir_rpc_client *client;
    struct weir_sim_node *node;
    uint32_t incarnation;
    char address[48];
    bool of_jm;
    bool gone;
    uint32_t busy; /* repetitions that are inside a call */
    struct weir_sim_waiters quiet;
    struct weir_rpc_client_callbacks callbacks; /* what the process wants to hear */
    void *ctx;
};

/* A message that comes again. */
struct again {
    struct caller *caller;
    uint16_t method;
    struct weir_buf body;
};

enum { ORDERS_MAX = 128, REPLAYED_MAX = 12, SOON_MS = 5, LATE_MS = 4000, PATIENCE_MS = 2000 };

static struct messages {
    struct caller **callers;
    size_t ncallers, callers_cap;
    uint32_t repeat_one_in;
    struct order {
        char address[48];
        uint16_t method;
        struct weir_buf body;
    } orders[ORDERS_MAX]; /* the newest, by norders % ORDERS_MAX */
    size_t norders;
} messages;

/* --- clients ----------------------------------------------------------------------------------------------------------------- */

static void on_connected(void *ctx)
{
    struct caller *caller = ctx;
    if (caller->callbacks.on_connected != NULL) {
        caller->callbacks.on_connected(caller->ctx);
    }
}

static void on_disconnected(void *ctx)
{
    struct caller *caller = ctx;
    if (!caller->of_jm) {
        weir_sim_hook_connection_closed();
    }
    if (caller->callbacks.on_disconnected != NULL) {
        caller->callbacks.on_disconnected(caller->ctx);
    }
}

enum weir_rc __wrap_weir_rpc_client_create(const struct weir_rpc_client_options *options, const struct weir_rpc_client_callbacks *callbacks, void *ctx,
                                           struct weir_rpc_client **out_client, struct weir_error *err)
{
    static const struct weir_rpc_client_callbacks told = {.on_connected = on_connected, .on_disconnected = on_disconnected};
    struct caller *caller = weir_calloc(1, sizeof(*caller));
    *caller = (struct caller){.node = weir_sim_node_here(), .incarnation = weir_sim_node_here()->incarnation, .callbacks = *callbacks, .ctx = ctx};
    (void)snprintf(caller->address, sizeof(caller->address), "%s", options->address);
    caller->of_jm = strcmp(options->role, WEIR_ROLE_JOBMANAGER) == 0;
    enum weir_rc rc = __real_weir_rpc_client_create(options, &told, caller, out_client, err);
    if (rc == WEIR_OK) {
        caller->client = *out_client;
        messages.callers = weir_vec_grow(messages.callers, &messages.callers_cap, sizeof(*messages.callers), messages.ncallers + 1);
        messages.callers[messages.ncallers++] = caller;
    }
    return rc;
}

static bool is_there(const struct caller *caller)
{
    return !caller->gone && caller->node->incarnation == caller->incarnation && caller->node->power == WEIR_SIM_UP;
}

static struct caller *caller_of(const struct weir_rpc_client *client)
{
    for (size_t i = messages.ncallers; i-- > 0;) {
        if (messages.callers[i]->client == client && !messages.callers[i]->gone) {
            return messages.callers[i];
        }
    }
    return NULL;
}

void __wrap_weir_rpc_client_destroy(struct weir_rpc_client *client)
{
    struct caller *caller = client == NULL ? NULL : caller_of(client);
    if (caller != NULL) {
        caller->gone = true;
    }
    while (caller != NULL && caller->busy > 0) {
        (void)weir_sim_wait_in(&caller->quiet, INT64_MAX);
    }
    __real_weir_rpc_client_destroy(client);
}

/* --- messages that come again --------------------------------------------------------------------------------------------------- */

static void ignore(void *ctx, enum weir_rc rc, struct weir_slice body, const char *text)
{
    (void)ctx;
    (void)rc;
    (void)body;
    (void)text;
}

static void again_free(struct again *again)
{
    weir_buf_fini(&again->body);
    weir_free(again);
}

/* On a library's thread of the process. */
static void send_again(void *ctx)
{
    struct again *again = ctx;
    struct caller *caller = again->caller;
    if (is_there(caller)) {
        struct weir_error err;
        caller->busy++;
        enum weir_rc rc = __real_weir_rpc_call(caller->client, again->method, weir_buf_slice(&again->body), PATIENCE_MS, ignore, NULL, &err);
        weir_sim_trace("%s: method %u to %s once more: %s", caller->node->name, again->method, caller->address, weir_rc_name(rc));
        caller->busy--;
        (void)weir_sim_wake_first(&caller->quiet);
    }
    again_free(again);
}

static void again_due(void *ctx)
{
    struct again *again = ctx;
    if (is_there(again->caller)) {
        weir_sim_library(again->caller->node, send_again, again);
    } else {
        again_free(again);
    }
}

static void plan_again(struct caller *caller, uint16_t method, struct weir_slice body, int64_t ms)
{
    struct again *again = weir_calloc(1, sizeof(*again));
    *again = (struct again){.caller = caller, .method = method};
    weir_buf_put_slice(&again->body, body);
    weir_sim_after(ms * 1000000, caller->node, again_due, again);
}

static void note_order(const struct caller *caller, uint16_t method, struct weir_slice body)
{
    struct order *order = &messages.orders[messages.norders++ % ORDERS_MAX];
    weir_buf_clear(&order->body);
    weir_buf_put_slice(&order->body, body);
    order->method = method;
    memcpy(order->address, caller->address, sizeof(order->address));
}

void weir_sim_messages_repeat(uint32_t one_in)
{
    messages.repeat_one_in = one_in;
}

/* A JobManager's connection to that address, or NULL. */
static struct caller *some_caller(const char *address)
{
    struct caller *found = NULL;
    uint64_t count = 0;
    for (size_t i = 0; i < messages.ncallers; i++) {
        struct caller *caller = messages.callers[i];
        if (is_there(caller) && caller->of_jm && strcmp(caller->address, address) == 0 && weir_sim_one_in(++count)) {
            found = caller;
        }
    }
    return found;
}

/* An order that comes again as soon as there is a JobManager that can give it. */
struct replay {
    struct order order;
    int64_t until_ns;
};

static void replay_due(void *ctx)
{
    struct replay *replay = ctx;
    struct caller *caller = some_caller(replay->order.address);
    if (caller == NULL && weir_sim_now_ns() < replay->until_ns) {
        weir_sim_after(SOON_MS * INT64_C(1000000), NULL, replay_due, replay);
        return;
    }
    if (caller != NULL) {
        plan_again(caller, replay->order.method, weir_buf_slice(&replay->order.body), 0);
    }
    weir_buf_fini(&replay->order.body);
    weir_free(replay);
}

uint32_t weir_sim_messages_replay(void)
{
    size_t there = messages.norders < ORDERS_MAX ? messages.norders : ORDERS_MAX;
    uint32_t count = there == 0 ? 0 : 1 + (uint32_t)weir_sim_below(REPLAYED_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const struct order *order = &messages.orders[weir_sim_below(there)];
        struct replay *replay = weir_calloc(1, sizeof(*replay));
        *replay = (struct replay){.order = {.method = order->method}, .until_ns = weir_sim_now_ns() + LATE_MS * INT64_C(1000000)};
        memcpy(replay->order.address, order->address, sizeof(order->address));
        weir_buf_put_slice(&replay->order.body, weir_buf_slice(&order->body));
        weir_sim_after(weir_sim_between(0, SOON_MS) * 1000000, NULL, replay_due, replay);
    }
    return count;
}

/* --- each message ---------------------------------------------------------------------------------------------------------------- */

/* A registration that does not tell of any task. */
static void forget_tasks(struct weir_slice body, struct weir_buf *out)
{
    Weir__Control__RegisterRequest *message = NULL;
    struct weir_error err;
    enum weir_rc rc = weir_pb_decode(&weir__control__register_request__descriptor, body, &message, &err);
    weir_assert(rc == WEIR_OK);
    Weir__Control__RegisterRequest without = *message;
    without.n_tasks = 0;
    weir_pb_encode(&without.base, out);
    weir_pb_free(message);
}

static void note_phase(uint16_t method)
{
    static const struct {
        uint16_t method;
        enum weir_sim_phase phase;
    } phases[] = {
        {WEIR_METHOD_REGISTER, WEIR_SIM_PHASE_REGISTER}, {WEIR_METHOD_CHECKPOINT_ACK, WEIR_SIM_PHASE_ACK}, {WEIR_METHOD_LEASE, WEIR_SIM_PHASE_LEASE},
        {WEIR_METHOD_DEPLOY, WEIR_SIM_PHASE_DEPLOY},     {WEIR_METHOD_CANCEL, WEIR_SIM_PHASE_CANCEL},      {WEIR_METHOD_TRIGGER, WEIR_SIM_PHASE_TRIGGER},
        {WEIR_METHOD_NOTIFY, WEIR_SIM_PHASE_NOTIFY},
    };
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        if (phases[i].method == method) {
            weir_sim_hook_phase(phases[i].phase);
        }
    }
}

static bool is_order(uint16_t method)
{
    return method == WEIR_METHOD_DEPLOY || method == WEIR_METHOD_CANCEL || method == WEIR_METHOD_TRIGGER || method == WEIR_METHOD_NOTIFY ||
           method == WEIR_METHOD_ENUMERATE;
}

enum weir_rc __wrap_weir_rpc_call(struct weir_rpc_client *client, uint16_t method, struct weir_slice body, uint32_t deadline_ms, weir_rpc_done_fn *done,
                                  void *ctx, struct weir_error *err)
{
    struct weir_buf changed = {0};
    struct caller *caller = caller_of(client);
    note_phase(method);
    if (method == WEIR_METHOD_REGISTER && weir_sim_sabotage() == WEIR_SIM_SABOTAGE_NO_ADOPTION) {
        forget_tasks(body, &changed);
        body = weir_buf_slice(&changed);
    }
    enum weir_rc rc = __real_weir_rpc_call(client, method, body, deadline_ms, done, ctx, err);
    /* Behind the call: on one connection no copy overtakes it, and the answer to a copy is nobody's. */
    if (rc == WEIR_OK && caller != NULL && is_order(method)) {
        note_order(caller, method, body);
    }
    if (rc == WEIR_OK && caller != NULL && !caller->gone && messages.repeat_one_in != 0 && weir_sim_one_in(messages.repeat_one_in)) {
        bool late = weir_sim_one_in(4) && (is_order(method) || method == WEIR_METHOD_RAFT);
        plan_again(caller, method, body, weir_sim_between(0, late ? LATE_MS : SOON_MS));
    }
    weir_buf_fini(&changed);
    return rc;
}
