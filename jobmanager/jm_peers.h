/*
 * The other JobManagers: one RPC client for each address, over which this one says who it is every WEIR_JM_HELLO_MS (and as soon as it is
 * connected), and through which Raft's messages go. Who is behind an address is known by what it answers.
 *
 * Owner thread, but for what the RPC calls back: that posts.
 */
#ifndef WEIR_JOBMANAGER_JM_PEERS_H
#define WEIR_JOBMANAGER_JM_PEERS_H

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/runtime/pool.h"
#include "jobmanager/jm_members.h"

enum { WEIR_JM_HELLO_MS = 1000, WEIR_JM_PEERS_MAX = 16 };

struct weir_jm_peers;

/* What is known of the JobManager at an address. Strings are borrowed until the next call. */
struct weir_jm_peer {
    const char *address;
    uint64_t id; /* 0: it has not answered yet */
    uint64_t incarnation;
    bool empty;
    uint64_t term;
    const char *rest_address;
    uint64_t known_incarnation; /* that it has of us; 0: none */
    int64_t heard_ms;           /* monotonic: the newest answer; INT64_MIN: none */
};

struct weir_jm_peers_options {
    const char *cluster_id;
    struct weir_tls *tls; /* NULL: plaintext */
    const struct weir_clock *clock;
    const struct weir_log *log;
    struct weir_pool *pool;
    struct weir_mailbox *mailbox;
    /* Appends the HelloRequest. */
    void (*hello)(void *ctx, struct weir_buf *out);
    /* An answer has come. members: who they are, by that one; NULL: it does not say. */
    void (*heard)(void *ctx, const struct weir_jm_peer *peer, const struct weir_jm_word *members);
    /* STALE came instead: the other one says that we are no member any more, and why. */
    void (*removed)(void *ctx, const char *address, const char *text);
    void *ctx;
};

/* What options point to outlives it. */
struct weir_jm_peers *weir_jm_peers_create(const struct weir_jm_peers_options *options);
/* No call is answered any more. Does not block. */
void weir_jm_peers_stop(struct weir_jm_peers *peers);
/* Blocks until every call has ended. The mailbox is closed. Accepts NULL. */
void weir_jm_peers_destroy(struct weir_jm_peers *peers);

/* These addresses from now on, no others (those beyond the first WEIR_JM_PEERS_MAX are left out). Not inside of `hello`. */
void weir_jm_peers_set(struct weir_jm_peers *peers, const char *const *addresses, uint32_t count);

/* Sends RAFT, or drops it: when there is no connection, or too many are outstanding. address ""; or one that is not known: by `id`, as heard. */
void weir_jm_peers_send(struct weir_jm_peers *peers, uint64_t id, const char *address, struct weir_slice body);

/* There is something new to say: to everybody at the next tick. */
void weir_jm_peers_hello_soon(struct weir_jm_peers *peers);
void weir_jm_peers_tick(struct weir_jm_peers *peers);
int64_t weir_jm_peers_deadline_ms(const struct weir_jm_peers *peers); /* monotonic */

uint32_t weir_jm_peers_count(const struct weir_jm_peers *peers);
void weir_jm_peers_at(const struct weir_jm_peers *peers, uint32_t i, struct weir_jm_peer *out_peer);
/* NOT_FOUND-like: false. */
bool weir_jm_peers_find(const struct weir_jm_peers *peers, const char *address, struct weir_jm_peer *out_peer);
bool weir_jm_peers_find_id(const struct weir_jm_peers *peers, uint64_t id, struct weir_jm_peer *out_peer);

#endif
