/*
 * X1  The client's life, in order:
 *
 *       CLOSED ──recover──> FENCING ──init_transactions──> FENCED ──mark──> MARKED ──cursor read──> READY ──drain──> READY
 *          ^                                                                                          │
 *          └────recover──── SPENT <──drain: an outcome is unknown, or R7──────────────────────────────┘
 *
 *     An AGAIN of recover stays where it is and goes on from there; only SPENT (or READY) is made anew, a client whose mark failed, and one that
 *     has been FENCING for longer than recover's patience: it may be asking a coordinator that is cut off from the other brokers, and would never
 *     ask who it is now.
 *     BROKEN, from anywhere: this attempt was fenced, or the error will not pass; init is never called again (4.2 step 5).
 * X2  Messages point into the chunk, they are no copies: when drain returns, none is in the client any more, or the client is gone.
 * X3  A transaction whose commit was sent is never aborted here: the next init finds out how it ended.
 * X4  A transaction whose cursor may have been sent twice is not committed. Kafka's group coordinator before 4.0 forgets the second request's
 *     entry when the replication of the first one times out (failPendingTxnOffsetCommit): the rows would be there, and the cursor where it was.
 * X5  A group coordinator that is cut off from the other brokers answers with the cursor it knew before, and nothing in the answer tells. So a
 *     transaction writes a mark first, a second entry of the group, which only the present coordinator can log (acks=all); a cursor counts when the
 *     same answer has that mark. It lies on the topic's partition 1, or, where there is none, on __consumer_offsets' partition 0; where that is
 *     not allowed, no mark is written (kafka_txn_no_mark in the log).
 */
#include "taskmanager/connectors/kafka_txn.h"

#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/runtime/sync.h"
#include "taskmanager/connectors/kafka_client.h"
#include "taskmanager/connectors/kafka_record.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    GROUP_MAX = 249,           /* as a topic's name: what every tool takes */
    CALL_MS = 10000,           /* recover's patience in one call */
    FENCE_MS = 500,            /* of it, for init_transactions: then the caller looks anew whether this attempt may still fence others */
    COMMITTED_MS = 5000,
    BACKOFF_MS = 50,
    FLUSH_SLICE_MS = 500,
    TRIES_MAX = 3,             /* of one chunk in one call, where every failure was aborted */
    BROKERS_MAX = 64,
    WHAT_MAX = 640,
    API_END_TXN = 26,
    MARK_MAX = 48,
    SECOND_MS = 1000,
};

enum state { CLOSED, FENCING, FENCED, MARKED, READY, SPENT, BROKEN };

struct kafka_txn {
    struct weir_drain_target target; /* first */
    struct weir_log *log;
    const struct weir_clock *clock; /* the real one: librdkafka knows no other, and the drain thread outlives its task (E7) */
    char *table_name;
    char *topic;
    char *id;    /* transactional.id */
    uint32_t run;
    char *group; /* cursor.<id> */
    rd_kafka_conf_t *producer_conf; /* templates: each client takes a copy */
    rd_kafka_conf_t *consumer_conf;
    int64_t timeout_ms; /* transaction.timeout.ms */
    int64_t socket_timeout_ms;
    int64_t slow_ms; /* what took longer may do better in smaller pieces (D4) */
    enum state state;
    struct weir_kafka_client *client;
    int64_t opened_ms; /* the client */
    uint32_t attempt, marks;
    char mark[MARK_MAX]; /* the newest (X5) */
    bool mark_beside;    /* not in the topic */
    bool no_marks;
    rd_kafka_topic_t *rkt;
    int64_t recover_stalled_ms, drain_stalled_ms; /* since when it says AGAIN; 0: it does not */
    uint64_t drain_end;                           /* of the chunk that drain_stalled_ms is about */
    uint32_t drain_count;
    /* Of the chunk under way: written by delivery reports, which are served on the drain thread. */
    uint32_t outstanding;
    rd_kafka_resp_err_t failure;
    /* R7. Set by librdkafka's threads: a connection that was up broke since the flag was cleared. */
    _Atomic bool connection_lost;
    _Atomic bool committing;
    struct weir_mutex mutex; /* guards up, nup */
    uint64_t up[BROKERS_MAX]; /* hashes of the brokers with an established connection */
    uint32_t nup;
#ifdef WEIR_FAILPOINTS
    struct {
        bool read, found;
        uint64_t cursor;
    } first; /* read_first */
#endif
};

static int64_t now_ms(const struct kafka_txn *txn)
{
    return weir_clock_mono_ms(txn->clock);
}

/* --- errors ---------------------------------------------------------------------------------------------------------- */

/* The client's fatal error, if it has one, goes before any other: it is the cause, and ends the attempt. */
static enum weir_rc fail(struct kafka_txn *txn, rd_kafka_resp_err_t code, const char *detail, const char *doing, struct weir_error *err)
{
    char what[WHAT_MAX];
    char text[256];
    rd_kafka_resp_err_t fatal =
        txn->client == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_fatal_error(weir__kafka_client_handle(txn->client), text, sizeof(text));
    if (fatal != RD_KAFKA_RESP_ERR_NO_ERROR) {
        txn->state = BROKEN;
        code = fatal;
        detail = text;
    }
    (void)snprintf(what, sizeof(what), "topic %s, transactional id %s: %s", txn->topic, txn->id, doing);
    enum weir_rc rc = weir__kafka_error(err, code, detail, what);
    if (rc == WEIR_STALE) {
        (void)weir_error_set(err, WEIR_STALE,
                             "topic %s, transactional id %s: %s: a newer attempt, or another job with the same sink.transactional-id-prefix, "
                             "has taken over the id (%s)", txn->topic, txn->id, doing, rd_kafka_err2name(code));
    }
    return rc;
}

/* What may pass is AGAIN. */
static enum weir_rc passing(const struct kafka_txn *txn, enum weir_rc rc)
{
    return rc == WEIR_EXTERNAL && txn->state != BROKEN ? WEIR_AGAIN : rc;
}

/* What an error of the transactional API asks for, in R1's order of patience. */
enum judgement { REPEAT_CALL, ABORT_TXN, GIVE_UP };

static enum judgement judge(struct kafka_txn *txn, rd_kafka_error_t *error_take, const char *doing, enum weir_rc *out_rc, struct weir_error *err)
{
    enum judgement judgement = GIVE_UP;
    rd_kafka_resp_err_t code = rd_kafka_error_code(error_take);
    if (rd_kafka_error_is_retriable(error_take)) {
        judgement = REPEAT_CALL;
    } else if (rd_kafka_error_txn_requires_abort(error_take)) {
        judgement = ABORT_TXN;
    }
    *out_rc = fail(txn, code, rd_kafka_error_string(error_take), doing, err);
    rd_kafka_error_destroy(error_take);
    return txn->state == BROKEN ? GIVE_UP : judgement;
}

/* Turns err into AGAIN, unless nothing has gone on for too long (R1's watchdog). */
static enum weir_rc again(const struct kafka_txn *txn, int64_t began_ms, int64_t *stalled_ms, struct weir_error *err)
{
    *stalled_ms = *stalled_ms == 0 ? began_ms : *stalled_ms;
    int64_t stalled_for_ms = now_ms(txn) - *stalled_ms;
    if (stalled_for_ms > 2 * txn->timeout_ms) {
        (void)weir_error_prefix(err, "nothing could be written for %" PRId64 " s", stalled_for_ms / SECOND_MS);
        err->rc = WEIR_EXTERNAL;
    } else {
        err->rc = WEIR_AGAIN;
    }
    return err->rc;
}

/* --- what the client's threads tell ------------------------------------------------------------------------------------ */

/* On the drain thread, inside poll, flush, commit and abort. */
static void on_delivery(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
    struct kafka_txn *txn = message->_private;
    (void)handle;
    (void)opaque;
    weir_assert(txn->outstanding > 0);
    txn->outstanding--;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && txn->failure == RD_KAFKA_RESP_ERR_NO_ERROR) {
        txn->failure = message->err; /* not rd_kafka_message_errstr: in 2.0.2 it gives the message's payload, which no NUL ends */
    }
}

/* On a broker's thread. Only a connection that was up can have lost a request. */
static rd_kafka_resp_err_t on_broker_state(rd_kafka_t *handle, int32_t broker, const char *protocol, const char *name, int port, const char *state,
                                           void *ctx)
{
    struct kafka_txn *txn = ctx;
    (void)handle;
    (void)broker;
    (void)protocol;
    uint64_t key = weir_hash_bytes(name, strlen(name), (uint64_t)port);
    bool is_up = strcmp(state, "UP") == 0 || strcmp(state, "UPDATE") == 0;
    bool is_down = strcmp(state, "DOWN") == 0;
    weir_mutex_lock(&txn->mutex);
    uint32_t at = 0;
    while (at < txn->nup && txn->up[at] != key) {
        at++;
    }
    bool was_up = at < txn->nup || txn->nup == BROKERS_MAX; /* more than can be told apart: each counts */
    if (is_up && at == txn->nup && txn->nup < BROKERS_MAX) {
        txn->up[txn->nup++] = key;
    } else if (is_down && at < txn->nup) {
        txn->up[at] = txn->up[--txn->nup];
    }
    weir_mutex_unlock(&txn->mutex);
    if (is_down && was_up) {
        atomic_store(&txn->connection_lost, true);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

#ifdef WEIR_FAILPOINTS
/* On a broker's thread: the request is in the socket, its answer has not come. */
static rd_kafka_resp_err_t on_request(rd_kafka_t *handle, int sockfd, const char *broker, int32_t broker_id, int16_t api, int16_t version,
                                      int32_t correlation, size_t size, void *ctx)
{
    const struct kafka_txn *txn = ctx;
    (void)handle;
    (void)sockfd;
    (void)broker;
    (void)broker_id;
    (void)version;
    (void)correlation;
    (void)size;
    if (api == API_END_TXN && atomic_load(&txn->committing)) {
        WEIR_FAILPOINT("sink.in_commit");
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}
#endif

static rd_kafka_resp_err_t on_new(rd_kafka_t *handle, const rd_kafka_conf_t *conf, void *ctx, char *text, size_t text_max)
{
    (void)conf;
    (void)text;
    (void)text_max;
#ifdef WEIR_FAILPOINTS
    (void)rd_kafka_interceptor_add_on_request_sent(handle, "weir", on_request, ctx);
#endif
    return rd_kafka_interceptor_add_on_broker_state_change(handle, "weir", on_broker_state, ctx);
}

/* --- the client ------------------------------------------------------------------------------------------------------ */

static void close_client(struct kafka_txn *txn)
{
    if (txn->rkt != NULL) {
        rd_kafka_topic_destroy(txn->rkt);
        txn->rkt = NULL;
    }
    weir__kafka_client_destroy(txn->client);
    txn->client = NULL;
    txn->outstanding = 0;
}

static enum weir_rc open_client(struct kafka_txn *txn, struct weir_error *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(txn->producer_conf);
    (void)rd_kafka_conf_interceptor_add_on_new(conf, "weir", on_new, txn);
    txn->nup = 0;
    enum weir_rc rc = weir__kafka_client_create(txn->log, txn->table_name, WEIR_KAFKA_PRODUCER, conf, &txn->client, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    txn->rkt = rd_kafka_topic_new(weir__kafka_client_handle(txn->client), txn->topic, NULL);
    if (txn->rkt == NULL) {
        rc = fail(txn, rd_kafka_last_error(), NULL, "opening", err);
        close_client(txn);
        return rc;
    }
    txn->state = FENCING;
    txn->opened_ms = now_ms(txn);
    return WEIR_OK;
}

/* --- recover --------------------------------------------------------------------------------------------------------- */

/* The call can be made again and goes on where it was. A zombie that wakes up inside must not go on for long: each init that comes through fences
 * whoever lives. */
static enum weir_rc fence(struct kafka_txn *txn, int64_t deadline_ms, struct weir_error *err)
{
    rd_kafka_t *handle = weir__kafka_client_handle(txn->client);
    for (;;) {
        int64_t left_ms = deadline_ms - now_ms(txn);
        rd_kafka_error_t *error = rd_kafka_init_transactions(handle, left_ms < 1 ? 1 : (int)left_ms);
        if (error == NULL) {
            txn->state = FENCED;
            WEIR_FAILPOINT("sink.after_init");
            return WEIR_OK;
        }
        enum weir_rc rc = WEIR_OK;
        if (judge(txn, error, "fencing earlier attempts", &rc, err) != REPEAT_CALL) {
            return rc;
        }
        if (now_ms(txn) + BACKOFF_MS >= deadline_ms) {
            struct weir_error lasting;
            rc = weir__kafka_client_error(txn->client, &lasting);
            if (rc != WEIR_OK) {
                *err = lasting;
                return weir_error_prefix(err, "topic %s, transactional id %s", txn->topic, txn->id);
            }
            return WEIR_AGAIN;
        }
        (void)rd_kafka_poll(handle, BACKOFF_MS);
    }
}

static enum weir_rc check_cursor(const struct kafka_txn *txn, const rd_kafka_topic_partition_t *committed, bool *out_found, uint64_t *out_cursor,
                                 struct weir_error *err)
{
    char run[32];
    size_t len = (size_t)snprintf(run, sizeof(run), "run=%u ", txn->run);
    bool found = committed->offset >= 0;
    bool ours = committed->metadata_size >= len && memcmp(committed->metadata, run, len) == 0;
    if (found && !ours) {
        return weir_error_set(err, WEIR_CORRUPT,
                              "topic %s: the cursor of this sink, offset %" PRId64 " of group %s on partition 0, was not written by it: somebody has "
                              "reset the group's offsets, and nobody knows any more what is written. Submit the job anew: a new job has a cursor of its own",
                              txn->topic, committed->offset, txn->group);
    }
    *out_found = found;
    *out_cursor = found ? (uint64_t)committed->offset : 0;
    return WEIR_OK;
}

/* What an error of the transactional API leaves to do. OK: the call is to be made again. */
static enum weir_rc after_error(struct kafka_txn *txn, rd_kafka_error_t *error_take, const char *doing, int64_t deadline_ms, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    enum judgement judgement = judge(txn, error_take, doing, &rc, err);
    if (judgement == REPEAT_CALL && now_ms(txn) < deadline_ms) {
        (void)rd_kafka_poll(weir__kafka_client_handle(txn->client), BACKOFF_MS);
        return WEIR_OK;
    }
    return judgement == GIVE_UP ? rc : passing(txn, rc);
}

/* One entry of the group, in the transaction. */
static enum weir_rc send_offset(struct kafka_txn *txn, const char *topic, int32_t partition, int64_t offset, const char *metadata, const char *doing,
                                int64_t deadline_ms, struct weir_error *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *entry = rd_kafka_topic_partition_list_add(list, topic, partition);
    entry->offset = offset;
    entry->metadata = weir_strdup(metadata); /* the list frees it */
    entry->metadata_size = strlen(metadata);
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata_new(txn->group);
    enum weir_rc rc = WEIR_OK;
    rd_kafka_error_t *error = NULL;
    do {
        error = rd_kafka_send_offsets_to_transaction(weir__kafka_client_handle(txn->client), list, group, -1);
        rc = error == NULL ? WEIR_OK : after_error(txn, error, doing, deadline_ms, err);
    } while (error != NULL && rc == WEIR_OK);
    rd_kafka_consumer_group_metadata_destroy(group);
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

static enum weir_rc end_transaction(struct kafka_txn *txn, const char *doing, int64_t deadline_ms, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    rd_kafka_error_t *error = NULL;
    do {
        error = rd_kafka_commit_transaction(weir__kafka_client_handle(txn->client), -1);
        rc = error == NULL ? WEIR_OK : after_error(txn, error, doing, deadline_ms, err);
    } while (error != NULL && rc == WEIR_OK);
    return rc;
}

static const char *mark_topic(const struct kafka_txn *txn)
{
    return txn->mark_beside ? "__consumer_offsets" : txn->topic;
}

static int32_t mark_partition(const struct kafka_txn *txn)
{
    return txn->mark_beside ? 0 : 1;
}

/* A topic that is not there, or not for us, is the first chunk's trouble. */
static enum weir_rc choose_mark(struct kafka_txn *txn, int64_t deadline_ms, struct weir_error *err)
{
    uint32_t partitions = 1;
    int64_t left_ms = deadline_ms - now_ms(txn);
    enum weir_rc rc = passing(txn, weir__kafka_partitions(weir__kafka_client_handle(txn->client), txn->topic, left_ms < 1 ? 1 : (int)left_ms,
                                                          &partitions, err));
    txn->mark_beside = partitions < 2;
    return rc == WEIR_AGAIN ? rc : WEIR_OK;
}

static enum weir_rc run_mark(struct kafka_txn *txn, int64_t deadline_ms, struct weir_error *err)
{
    (void)snprintf(txn->mark, sizeof(txn->mark), "mark=%u.%u", txn->attempt, ++txn->marks);
    atomic_store(&txn->connection_lost, false);
    rd_kafka_error_t *error = rd_kafka_begin_transaction(weir__kafka_client_handle(txn->client));
    if (error != NULL) {
        return after_error(txn, error, "beginning a transaction", 0, err);
    }
    enum weir_rc rc = send_offset(txn, mark_topic(txn), mark_partition(txn), txn->marks, txn->mark, "marking the cursor", deadline_ms, err);
    int64_t sent_ms = now_ms(txn);
    rc = rc == WEIR_OK ? end_transaction(txn, "marking the cursor", deadline_ms, err) : rc;
    if (rc == WEIR_OK && (atomic_load(&txn->connection_lost) || now_ms(txn) - sent_ms > txn->socket_timeout_ms)) { /* X4, R7 */
        rc = weir_error_set(err, WEIR_AGAIN, "topic %s, transactional id %s: a connection broke while the cursor was marked", txn->topic, txn->id);
    }
    return rc;
}

/* (X5) What is left of a mark that failed is the next init's (X3). */
static enum weir_rc write_mark(struct kafka_txn *txn, int64_t deadline_ms, struct weir_error *err)
{
    enum weir_rc rc = txn->marks > 0 ? WEIR_OK : choose_mark(txn, deadline_ms, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    rc = run_mark(txn, deadline_ms, err);
    if (rc == WEIR_OK) {
        txn->state = MARKED;
        return WEIR_OK;
    }
    if (txn->state == BROKEN) {
        return rc;
    }
    if (rc == WEIR_REFUSED || (rc == WEIR_NOT_FOUND && txn->mark_beside)) { /* brokers that hide __consumer_offsets */
        weir_log(txn->log, WEIR_LOG_WARN, "kafka_txn_no_mark", "topic", txn->topic, "why", err->text, NULL);
        txn->no_marks = true;
    }
    if (rc == WEIR_REFUSED || rc == WEIR_NOT_FOUND) { /* a partition that was found: not every broker knows it yet */
        err->rc = rc = WEIR_AGAIN;
    }
    close_client(txn);
    txn->state = CLOSED;
    return rc;
}

static bool has_mark(const struct kafka_txn *txn, const rd_kafka_topic_partition_t *mark)
{
    return mark->metadata_size == strlen(txn->mark) && memcmp(mark->metadata, txn->mark, mark->metadata_size) == 0;
}

/* By a consumer of its own, which lives no longer than the question; in read_committed it asks for stable offsets. */
static enum weir_rc read_cursor(struct kafka_txn *txn, int64_t deadline_ms, bool *out_found, uint64_t *out_cursor, struct weir_error *err)
{
    bool forgotten = false;
    struct weir_kafka_client *client = NULL;
    enum weir_rc rc = weir__kafka_client_create(txn->log, txn->table_name, WEIR_KAFKA_CONSUMER, rd_kafka_conf_dup(txn->consumer_conf), &client, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    rd_kafka_t *handle = weir__kafka_client_handle(client);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(2);
    (void)rd_kafka_topic_partition_list_add(list, txn->topic, 0);
    if (txn->state == MARKED) {
        (void)rd_kafka_topic_partition_list_add(list, mark_topic(txn), mark_partition(txn));
    }
    const rd_kafka_topic_partition_t *cursor = &list->elems[0], *mark = &list->elems[list->cnt - 1]; /* rd_kafka_committed moves none */
    do {
        int64_t left_ms = deadline_ms - now_ms(txn);
        left_ms = left_ms > COMMITTED_MS ? COMMITTED_MS : left_ms < 1 ? 1 : left_ms;
        rd_kafka_resp_err_t code = rd_kafka_committed(handle, list, (int)left_ms);
        code = code == RD_KAFKA_RESP_ERR_NO_ERROR ? cursor->err : code;
        code = code == RD_KAFKA_RESP_ERR_NO_ERROR ? mark->err : code;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && txn->state == MARKED && !has_mark(txn, mark)) {
            txn->state = FENCED; /* another mark, and another consumer, which may find another coordinator */
            forgotten = true;
            rc = weir_error_set(err, WEIR_AGAIN, "topic %s, transactional id %s: the group coordinator that answers does not know what was committed a "
                                "moment ago: it is cut off from the other brokers, or has lost it", txn->topic, txn->id);
        } else if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rc = check_cursor(txn, cursor, out_found, out_cursor, err);
        } else { /* also UNSTABLE_OFFSET_COMMIT: a transaction of the group has yet to end */
            rc = passing(txn, fail(txn, code, NULL, "reading the cursor", err));
            (void)rd_kafka_poll(handle, rc == WEIR_AGAIN ? BACKOFF_MS : 0);
        }
    } while (rc == WEIR_AGAIN && !forgotten && now_ms(txn) < deadline_ms);
    rd_kafka_topic_partition_list_destroy(list);
    weir__kafka_client_destroy(client);
    return rc;
}

/* The forbidden order, for the negative control of tests: the cursor is read once, and nobody is fenced before the test says so. */
#ifdef WEIR_FAILPOINTS
static enum weir_rc read_first(struct kafka_txn *txn, int64_t deadline_ms, bool *out_wrong, bool *out_found, uint64_t *out_cursor, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    *out_wrong = weir_failpoint_is("sink.cursor_before_init");
    if (*out_wrong && !txn->first.read) {
        rc = read_cursor(txn, deadline_ms, &txn->first.found, &txn->first.cursor, err);
        txn->first.read = rc == WEIR_OK;
        if (txn->first.read) {
            weir_log(txn->log, WEIR_LOG_WARN, "kafka_txn_cursor_read_first", "transactional_id", txn->id, "cursor", WEIR_LOG_INT(txn->first.cursor), NULL);
        }
        while (txn->first.read && !weir_failpoint_may_go_on("sink.cursor_before_init")) {
            (void)rd_kafka_poll(weir__kafka_client_handle(txn->client), 5);
        }
    }
    if (*out_wrong && txn->first.read) {
        *out_found = txn->first.found;
        *out_cursor = txn->first.cursor;
    }
    return rc;
}
#else
static enum weir_rc read_first(struct kafka_txn *txn, int64_t deadline_ms, bool *out_wrong, bool *out_found, uint64_t *out_cursor, struct weir_error *err)
{
    (void)txn;
    (void)deadline_ms;
    (void)out_found;
    (void)out_cursor;
    (void)err;
    *out_wrong = false;
    return WEIR_OK;
}
#endif

static enum weir_rc open_and_read(struct kafka_txn *txn, int64_t deadline_ms, bool *out_found, uint64_t *out_cursor, struct weir_error *err)
{
    enum weir_rc rc = txn->state == CLOSED ? open_client(txn, err) : WEIR_OK;
    bool wrong_order = false;
    if (rc == WEIR_OK) {
        rc = read_first(txn, deadline_ms, &wrong_order, out_found, out_cursor, err);
    }
    if (rc == WEIR_OK && txn->state == FENCING) {
        int64_t fence_deadline_ms = now_ms(txn) + FENCE_MS;
        rc = fence(txn, fence_deadline_ms < deadline_ms ? fence_deadline_ms : deadline_ms, err);
    }
    if (rc == WEIR_OK && !wrong_order && txn->state == FENCED && !txn->no_marks) {
        rc = write_mark(txn, deadline_ms, err);
        if (rc != WEIR_OK && txn->no_marks) {
            return open_and_read(txn, deadline_ms, out_found, out_cursor, err);
        }
    }
    if (rc == WEIR_OK && !wrong_order) {
        rc = read_cursor(txn, deadline_ms, out_found, out_cursor, err);
    }
    return rc;
}

static enum weir_rc recover(struct weir_drain_target *target, bool *out_found, uint64_t *out_cursor, struct weir_error *err)
{
    struct kafka_txn *txn = (struct kafka_txn *)target;
    int64_t began_ms = now_ms(txn);
    if (txn->state == BROKEN) {
        return weir_error_set(err, WEIR_STALE, "topic %s, transactional id %s: this attempt is over", txn->topic, txn->id);
    }
    if (txn->state == READY || txn->state == SPENT) {
        close_client(txn);
        txn->state = CLOSED;
#ifdef WEIR_FAILPOINTS
        txn->first.read = false;
#endif
    }
    bool found = false;
    uint64_t cursor = 0;
    int64_t patience_ms = txn->timeout_ms < CALL_MS ? txn->timeout_ms : CALL_MS;
    enum weir_rc rc = open_and_read(txn, began_ms + patience_ms, &found, &cursor, err);
    if (rc == WEIR_AGAIN && txn->state == FENCING && now_ms(txn) - txn->opened_ms >= patience_ms) {
        close_client(txn);
        txn->state = CLOSED;
    }
    if (rc == WEIR_AGAIN) {
        return again(txn, began_ms, &txn->recover_stalled_ms, err);
    }
    if (rc != WEIR_OK) {
        txn->state = BROKEN;
        return rc;
    }
    txn->state = READY;
    txn->recover_stalled_ms = 0;
    if (cursor >= txn->drain_end) { /* what was not known was committed */
        txn->drain_stalled_ms = 0;
    }
    weir_log(txn->log, WEIR_LOG_INFO, "kafka_txn_recovered", "topic", txn->topic, "transactional_id", txn->id, "cursor",
             found ? WEIR_LOG_INT(cursor) : "none", "ms", WEIR_LOG_INT(now_ms(txn) - began_ms), NULL);
    *out_found = found;
    *out_cursor = cursor;
    return WEIR_OK;
}

/* --- one transaction: OK, AGAIN (it may pass), or an error that ends the attempt ------------------------------------------ */

static bool purged(const struct kafka_txn *txn)
{
    return txn->failure == RD_KAFKA_RESP_ERR__PURGE_QUEUE || txn->failure == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
}

static enum weir_rc delivery_failed(struct kafka_txn *txn, struct weir_error *err)
{
    return passing(txn, fail(txn, txn->failure, NULL, "writing", err));
}

static enum weir_rc produce_record(struct kafka_txn *txn, const struct weir_kafka_record *record, int64_t deadline_ms, struct weir_error *err)
{
    static const char empty[] = ""; /* NULL is null to librdkafka */
    const void *value = !record->has_value ? NULL : record->value.len == 0 ? (const void *)empty : record->value.data;
    const void *key = !record->has_key ? NULL : record->key.len == 0 ? (const void *)empty : record->key.data;
    rd_kafka_t *handle = weir__kafka_client_handle(txn->client);
    int32_t partition = record->partition < 0 ? RD_KAFKA_PARTITION_UA : record->partition;
    /* Without a flag neither copied nor freed, and never written to: the cast is librdkafka's wish. (X2) */
    while (rd_kafka_produce(txn->rkt, partition, 0, (void *)(uintptr_t)value, record->has_value ? record->value.len : 0, key,
                            record->has_key ? record->key.len : 0, txn) != 0) {
        rd_kafka_resp_err_t code = rd_kafka_last_error();
        bool full = code == RD_KAFKA_RESP_ERR__QUEUE_FULL;
        if (!full || now_ms(txn) > deadline_ms || txn->failure != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return passing(txn, fail(txn, code, NULL, "writing", err));
        }
        (void)rd_kafka_poll(handle, BACKOFF_MS);
    }
    txn->outstanding++;
    return WEIR_OK;
}

static enum weir_rc produce_all(struct kafka_txn *txn, const struct weir_drain_chunk *chunk, int64_t deadline_ms, struct weir_error *err)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < chunk->count && txn->failure == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        struct weir_kafka_record record;
        weir_assert(chunk->ends[i] >= at);
        if (!weir__kafka_record_decode(weir_slice(chunk->bytes + at, chunk->ends[i] - at), &record)) {
            return weir_error_set(err, WEIR_CORRUPT, "topic %s: record %" PRIu64 " of the sink's log is no Kafka record", txn->topic,
                                  chunk->first + i);
        }
        at = chunk->ends[i];
        enum weir_rc rc = produce_record(txn, &record, deadline_ms, err);
        if (rc != WEIR_OK) {
            (void)weir_error_prefix(err, "record %" PRIu64 " of the sink's log", chunk->first + i);
            return rc;
        }
    }
    while (txn->outstanding > 0 && txn->failure == RD_KAFKA_RESP_ERR_NO_ERROR && now_ms(txn) < deadline_ms) {
        (void)rd_kafka_flush(weir__kafka_client_handle(txn->client), FLUSH_SLICE_MS);
    }
    if (txn->failure != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return delivery_failed(txn, err);
    }
    if (txn->outstanding > 0) {
        return passing(txn, fail(txn, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, "writing", err));
    }
    WEIR_FAILPOINT("sink.after_produce");
    return WEIR_OK;
}

static enum weir_rc move_cursor(struct kafka_txn *txn, const struct weir_drain_chunk *chunk, const char *doing, int64_t deadline_ms,
                                struct weir_error *err)
{
    char metadata[64];
    (void)snprintf(metadata, sizeof(metadata), "run=%u checkpoint=%" PRIu64, txn->run, chunk->checkpoint);
    return send_offset(txn, txn->topic, 0, (int64_t)(chunk->first + chunk->count), metadata, doing, deadline_ms, err);
}

/* (X4) AGAIN where it may have been sent twice. */
static enum weir_rc move_cursor_once(struct kafka_txn *txn, const struct weir_drain_chunk *chunk, int64_t deadline_ms, struct weir_error *err)
{
    bool lost_before = atomic_exchange(&txn->connection_lost, false);
    enum weir_rc rc = move_cursor(txn, chunk, "moving the cursor", deadline_ms, err);
    bool twice = atomic_load(&txn->connection_lost);
    if (lost_before) {
        atomic_store(&txn->connection_lost, true);
    }
    return rc == WEIR_OK && twice ? weir_error_set(err, WEIR_AGAIN, "topic %s, transactional id %s: a connection broke while the cursor was moved: "
                                                   "the request may have come twice", txn->topic, txn->id)
                                  : rc;
}

static enum weir_rc commit(struct kafka_txn *txn, int64_t deadline_ms, struct weir_error *err)
{
    atomic_store(&txn->committing, true);
    enum weir_rc rc = end_transaction(txn, "committing", deadline_ms, err);
    atomic_store(&txn->committing, false);
    return rc;
}

static enum weir_rc run_transaction(struct kafka_txn *txn, const struct weir_drain_chunk *chunk, int64_t deadline_ms, bool *out_commit_sent,
                                    struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    atomic_store(&txn->connection_lost, false);
    txn->failure = RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_error_t *error = rd_kafka_begin_transaction(weir__kafka_client_handle(txn->client));
    if (error != NULL) {
        return after_error(txn, error, "beginning a transaction", 0, err);
    }
    rc = produce_all(txn, chunk, deadline_ms, err);
    if (rc == WEIR_OK) {
        rc = move_cursor_once(txn, chunk, deadline_ms, err);
    } else if (rc == WEIR_AGAIN && purged(txn)) { /* the client has given the transaction up by itself: any call tells the cause */
        enum weir_rc cause = move_cursor(txn, chunk, "writing", deadline_ms, err);
        rc = cause == WEIR_OK ? rc : cause;
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    WEIR_FAILPOINT("sink.after_offsets");
    *out_commit_sent = true;
    int64_t sent_ms = now_ms(txn);
    rc = commit(txn, deadline_ms, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    WEIR_FAILPOINT("sink.after_commit");
    int64_t took_ms = now_ms(txn) - sent_ms;
    if (atomic_load(&txn->connection_lost) || took_ms > txn->socket_timeout_ms) { /* R7: a delayed or repeated EndTxn could end the next transaction */
        weir_log(txn->log, WEIR_LOG_WARN, "kafka_txn_client_renewed", "topic", txn->topic, "transactional_id", txn->id, "commit_ms",
                 WEIR_LOG_INT(took_ms), NULL);
        txn->state = SPENT;
    }
    return WEIR_OK;
}

/* Whether the transaction is aborted for sure and the client as good as new. Else err is changed if the client is BROKEN. */
static bool abort_transaction(struct kafka_txn *txn, struct weir_error *out_err)
{
    int64_t deadline_ms = now_ms(txn) + CALL_MS;
    struct weir_error err;
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_abort_transaction(weir__kafka_client_handle(txn->client), -1);
        if (error == NULL) {
            return txn->outstanding == 0 && !atomic_load(&txn->connection_lost);
        }
        if (after_error(txn, error, "aborting", deadline_ms, &err) != WEIR_OK) {
            weir_log(txn->log, WEIR_LOG_WARN, "kafka_txn_abort_failed", "error", err.text, NULL);
            *out_err = txn->state == BROKEN ? err : *out_err;
            return false;
        }
    }
}

static enum weir_rc drain(struct weir_drain_target *target, const struct weir_drain_chunk *chunk, bool *out_in_doubt, struct weir_error *err)
{
    struct kafka_txn *txn = (struct kafka_txn *)target;
    weir_assert(chunk->count > 0);
    if (txn->state != READY) { /* R7, after a chunk that was committed */
        return weir_error_set(err, WEIR_AGAIN, "topic %s, transactional id %s: must fence anew after a broken connection", txn->topic, txn->id);
    }
    int64_t began_ms = now_ms(txn);
    enum weir_rc rc = WEIR_AGAIN;
    txn->drain_end = chunk->first + chunk->count;
    txn->drain_stalled_ms = chunk->count < txn->drain_count ? 0 : txn->drain_stalled_ms; /* a smaller one has its own time */
    txn->drain_count = chunk->count;
    for (uint32_t tries = 0; rc == WEIR_AGAIN && txn->state == READY; tries++) {
        bool commit_sent = false;
        rc = run_transaction(txn, chunk, began_ms + txn->timeout_ms, &commit_sent, err);
        *out_in_doubt = commit_sent && rc != WEIR_OK;
        if (rc == WEIR_OK) {
            txn->drain_stalled_ms = 0;
            return WEIR_OK;
        }
        weir_log(txn->log, WEIR_LOG_WARN, "kafka_txn_failed", "first", WEIR_LOG_INT(chunk->first), "count", WEIR_LOG_INT(chunk->count), "error",
                 err->text, NULL);
        bool in_time = now_ms(txn) - began_ms < txn->timeout_ms; /* else the brokers do it, or the next init */
        bool may_abort = txn->state != BROKEN && !commit_sent && in_time && !atomic_load(&txn->connection_lost); /* (X3), R7 */
        bool clean = may_abort && abort_transaction(txn, err);
        if (!clean) {
            close_client(txn); /* (X2) */
        }
        if (txn->state == BROKEN) {
            rc = err->rc;
        } else if (rc == WEIR_AGAIN && (!clean || tries + 1 == TRIES_MAX)) {
            txn->state = SPENT;
        }
    }
    if (rc != WEIR_AGAIN) {
        txn->state = BROKEN;
        return rc;
    }
    rc = again(txn, began_ms, &txn->drain_stalled_ms, err);
    if (rc == WEIR_AGAIN && now_ms(txn) - began_ms >= txn->slow_ms) {
        rc = err->rc = WEIR_TIMEOUT;
    }
    return rc;
}

/* --- life ------------------------------------------------------------------------------------------------------------ */

static void destroy(struct weir_drain_target *target)
{
    struct kafka_txn *txn = (struct kafka_txn *)target;
    if (txn == NULL) {
        return;
    }
    close_client(txn);
    if (txn->producer_conf != NULL) {
        rd_kafka_conf_destroy(txn->producer_conf);
    }
    if (txn->consumer_conf != NULL) {
        rd_kafka_conf_destroy(txn->consumer_conf);
    }
    weir_mutex_fini(&txn->mutex);
    weir_log_destroy(txn->log);
    weir_free(txn->group);
    weir_free(txn->id);
    weir_free(txn->topic);
    weir_free(txn->table_name);
    weir_free(txn);
}

static const struct weir_drain_vtable vtable = {.recover = recover, .drain = drain, .destroy = destroy};

/* The ids as the header has them; job and uid as a hash where they are too long. */
static enum weir_rc make_ids(const struct weir_conn_ctx *ctx, struct kafka_txn *txn, struct weir_error *err)
{
    static const char option[] = "sink.transactional-id-prefix";
    static const char group_prefix[] = "cursor.";
    const char *prefix = weir_table_option(ctx->table, option);
    if (prefix == NULL || prefix[0] == '\0') {
        return weir_error_set(err, WEIR_INVALID, "table \"%s\": exactly-once needs option \"%s\"", ctx->table->name, option);
    }
    struct weir_buf id = {0};
    weir_buf_put_fmt(&id, "%s/%s/%s/%u/%u", prefix, ctx->job_id, ctx->uid, ctx->run, ctx->subtask);
    size_t id_max = GROUP_MAX - (sizeof(group_prefix) - 1);
    if (id.len > id_max) {
        struct weir_buf whole = {0};
        weir_buf_put_fmt(&whole, "%s/%s", ctx->job_id, ctx->uid);
        weir_buf_clear(&id);
        weir_buf_put_fmt(&id, "%s/%016" PRIx64 "%016" PRIx64 "/%u/%u", prefix, weir_hash_bytes(whole.data, whole.len, 1),
                         weir_hash_bytes(whole.data, whole.len, 2), ctx->run, ctx->subtask);
        weir_buf_fini(&whole);
    }
    enum weir_rc rc = WEIR_OK;
    if (id.len > id_max) {
        rc = weir_error_set(err, WEIR_INVALID, "table \"%s\": option \"%s\" is %zu bytes long: at most 190", ctx->table->name, option, strlen(prefix));
    } else {
        struct weir_buf group = {0};
        weir_buf_put_fmt(&group, "%s%.*s", group_prefix, WEIR_SLICE_ARG(weir_buf_slice(&id)));
        txn->id = weir_strndup((const char *)id.data, id.len);
        txn->group = weir_strndup((const char *)group.data, group.len);
        weir_buf_fini(&group);
    }
    weir_buf_fini(&id);
    return rc;
}

/* 0: a topic's setting that nobody set. */
static int64_t conf_number(const rd_kafka_conf_t *conf, const char *name)
{
    char text[64];
    size_t text_bytes = sizeof(text);
    return rd_kafka_conf_get(conf, name, text, &text_bytes) == RD_KAFKA_CONF_OK ? strtoll(text, NULL, 10) : 0;
}

static enum weir_rc make_confs(const struct weir_conn_ctx *ctx, struct kafka_txn *txn, struct weir_error *err)
{
    char timeout[32];
    enum weir_rc rc = weir__kafka_conf_create(ctx->table, WEIR_KAFKA_PRODUCER, &txn->producer_conf, err);
    if (rc == WEIR_OK) {
        rc = weir__kafka_conf_create(ctx->table, WEIR_KAFKA_CONSUMER, &txn->consumer_conf, err);
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    txn->timeout_ms = conf_number(txn->producer_conf, "transaction.timeout.ms");
    txn->target.call_ms_max = 2 * txn->timeout_ms + 3 * CALL_MS; /* R1: all tries, the last request of them, aborting, closing */
    int64_t message_ms = conf_number(txn->producer_conf, "message.timeout.ms");
    message_ms = message_ms <= 0 || message_ms > txn->timeout_ms ? txn->timeout_ms : message_ms; /* R3 */
    int64_t socket_ms = conf_number(txn->producer_conf, "socket.timeout.ms"), socket_ms_max = txn->timeout_ms - 100;
    socket_ms_max = socket_ms_max < 900 ? 900 : socket_ms_max; /* rd_kafka_new's bounds, where nobody has set it */
    txn->socket_timeout_ms = socket_ms < socket_ms_max ? socket_ms : socket_ms_max;
    txn->slow_ms = txn->socket_timeout_ms < message_ms ? txn->socket_timeout_ms : message_ms;
    (void)snprintf(timeout, sizeof(timeout), "%" PRId64, message_ms);
    const struct {
        rd_kafka_conf_t *conf;
        const char *name, *value;
    } settings[] = {
        {txn->producer_conf, "transactional.id", txn->id},
        {txn->producer_conf, "message.timeout.ms", timeout},
        {txn->producer_conf, "enable.idempotence", "true"},
        {txn->producer_conf, "acks", "all"},
        {txn->producer_conf, "partitioner", "murmur2_random"}, /* the Java client's */
        {txn->consumer_conf, "group.id", txn->group},
        {txn->consumer_conf, "isolation.level", "read_committed"},
        {txn->consumer_conf, "enable.auto.commit", "false"},
    };
    for (size_t i = 0; rc == WEIR_OK && i < sizeof(settings) / sizeof(settings[0]); i++) {
        rc = weir__kafka_conf_set(settings[i].conf, settings[i].name, settings[i].value, err);
    }
    rd_kafka_conf_set_dr_msg_cb(txn->producer_conf, on_delivery);
    return rc;
}

enum weir_rc weir__kafka_txn_create(const struct weir_conn_ctx *ctx, struct weir_drain_target **out_target, struct weir_error *err)
{
    const char *topic = weir_table_option(ctx->table, "topic");
    if (topic == NULL) {
        return weir_error_set(err, WEIR_INVALID, "table \"%s\": option \"topic\" is missing", ctx->table->name);
    }
    struct kafka_txn *txn = weir_calloc(1, sizeof(*txn));
    txn->target.vtable = &vtable;
    txn->clock = weir_clock_real();
    txn->table_name = weir_strdup(ctx->table->name);
    txn->topic = weir_strdup(topic);
    txn->run = ctx->run;
    txn->attempt = ctx->attempt;
    txn->log = ctx->log == NULL ? NULL : weir_log_bind(ctx->log, "part", "kafka-txn");
    weir_mutex_init(&txn->mutex);
    enum weir_rc rc = make_ids(ctx, txn, err);
    if (rc == WEIR_OK) {
        rc = make_confs(ctx, txn, err);
    }
    if (rc != WEIR_OK) {
        destroy(&txn->target);
        return rc;
    }
    *out_target = &txn->target;
    return WEIR_OK;
}
