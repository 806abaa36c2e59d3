/*
 * What the files of the shell share: jm.c (life), jm_log.c (the cluster log: founding, leading, leaving), jm_rpc.c (requests of TaskManagers),
 * jm_rpc_jm.c (of JobManagers), jm_orders.c (orders to TaskManagers), jm_ckpt.c (the checkpoint store), jm_replace.c (one JobManager for
 * another), jm_reads.c (whether it still leads), jm_views.c, jm_cluster.c (jm_api.h), jm_known.c.
 */
#ifndef WEIR_JOBMANAGER_JM_INTERNAL_H
#define WEIR_JOBMANAGER_JM_INTERNAL_H

#include <poll.h>

#include "common/base/hmap.h"
#include "common/net/rpc.h"
#include "common/runtime/executor.h"
#include "common/runtime/pool.h"
#include "common/runtime/thread.h"
#include "jobmanager/ha/dir_lock.h"
#include "jobmanager/ha/raft_log.h"
#include "jobmanager/jm.h"
#include "jobmanager/jm_members.h"
#include "jobmanager/jm_peers.h"
#include "jobmanager/job/dispatcher.h"

enum { WEIR_JM_JOINERS_MAX = 8, WEIR_JM_UNREACHABLE_MS = 2500 /* two hellos and a half */ };

/* An empty JobManager that has said hello and waits to be added. */
struct weir_jm_joiner {
    uint64_t incarnation; /* 0: a free row */
    char *rpc_address, *rest_address;
    int64_t heard_ms;
};

/* One JobManager for another, step by step: jm_replace.c. */
struct weir_jm_replacement {
    bool active;
    uint64_t old_id; /* 0: it is no member any more */
    char *old_address;
    struct weir_raft_member new_member;
    uint64_t new_incarnation;
    char *new_address, *new_rest_address;
    uint64_t proposal; /* a change that is under way; 0: none */
    int64_t began_ms, next_ms, deadline_ms;
    const char *waits_for;
    weir_jm_done_fn *done;
    void *ctx;
};

/* Who waits for the proof that this JobManager leads: jm_reads.c. As many as HTTP's connections, and as TaskManagers have calls open. */
struct weir_jm_read {
    uint64_t question, epoch;
    int64_t deadline_ms;
    weir_jm_done_fn *done;
    void *ctx;
};

struct ProtobufCMessage;

struct weir_jm {
    struct weir_jm_options options;
    struct weir_owner owner;
    struct weir_waker *waker;
    int64_t due_ms; /* the main thread was to run by then at the latest */
    struct weir_mailbox *mailbox;
    struct weir_pool *pool;
    struct weir_executor executor; /* the pool, for the cluster log */
    struct weir_work *deferred;    /* works that the pool had no room for, the oldest first, by executor_private */
    struct weir_dir_lock *lock;
    struct weir_cluster_log *log; /* NULL: not opened yet */
    struct weir_dispatcher *dispatcher;
    struct weir_rpc_server *server;
    struct weir_jm_founders founders; /* by the configuration */
    char *own_address;                /* "host:port" of the RPC */
    char *rest_address;               /* "" until it is known */
    bool empty;                       /* the directory was, when this process started */
    struct weir_jm_peers *peers;
    struct weir_jm_named named; /* the members, as the others say */
    struct weir_jm_joiner joiners[WEIR_JM_JOINERS_MAX];
    struct weir_jm_replacement replacement;
    struct weir_buf known;    /* what jm_known.c has on the disk */
    int64_t known_retry_ms;
    struct {
        struct weir_jm_read *items; /* the oldest first */
        size_t count, cap;
        uint64_t confirmed; /* the newest question of the cluster log that is */
    } reads;
    uint64_t changes; /* of members, proposed by this process */
    struct weir_tls *tls;    /* NULL: plaintext */
    struct weir_hmap *links; /* struct weir_jm_link by TaskManager id */
    uint64_t orders;         /* given to TaskManagers by this process: the sequence in its epochs */
    uint32_t calls;          /* orders, and work on checkpoints, whose answers have not come */
    bool stopping;
    bool failed;
    struct weir_error failure;
};

/* The way to a registered TaskManager. */
struct weir_jm_link {
    char *tm_id;
    char *address;
    struct weir_rpc_client *client;
    uint64_t peer;     /* its connection to us: newest registration */
};

struct weir_now weir__jm_now(const struct weir_jm *jm);

/* Carries out every effect that waits. */
void weir__jm_run_effects(struct weir_jm *jm);

/* Whether what was begun in that epoch is still wanted: this JobManager leads, and has led all the time. */
bool weir__jm_leads_in(const struct weir_jm *jm, uint64_t epoch);

/* jm.c: one round of the loop, and the sleep until the next; fd: that ends it too, or NULL. */
void weir__jm_work(struct weir_jm *jm);
void weir__jm_sleep(struct weir_jm *jm, struct pollfd *fd, int64_t until_ms);

/* jm_log.c. open blocks: it may ask the other JobManagers, by rounds of the loop. */
enum weir_rc weir__jm_log_open(struct weir_jm *jm, struct weir_error *err) WEIR_CHECKED;
void weir__jm_log_tick(struct weir_jm *jm);
int64_t weir__jm_log_deadline_ms(const struct weir_jm *jm);
/* Hands leadership over, if there is somebody to take it, by rounds of the loop. */
void weir__jm_log_hand_over(struct weir_jm *jm, int64_t deadline_ms);
/* This process can do no more: weir_jm_run returns that. */
void weir__jm_fail(struct weir_jm *jm, const struct weir_error *err);

/* jm_cluster.c. Who this one is, for the others; 0 while it is not known. */
uint64_t weir__jm_id(const struct weir_jm *jm);
uint64_t weir__jm_incarnation(const struct weir_jm *jm);
/* It is in no cluster: it has just been made, or waits to be added. */
bool weir__jm_is_empty(const struct weir_jm *jm);
/* By the log; 0 while it is not open. out_members may be NULL. */
uint32_t weir__jm_members(const struct weir_jm *jm, const struct weir_raft_member **out_members);
const struct weir_raft_member *weir__jm_member(const struct weir_jm *jm, uint64_t id); /* NULL: none */
/* As other JobManagers have said, if that is newer than what the own log says; 0: it is not. */
uint32_t weir__jm_named(const struct weir_jm *jm, char *const **out_addresses);
/* From outside. INVALID: it has had no effect. */
enum weir_rc weir__jm_told_members(struct weir_jm *jm, const struct weir_jm_word *word, struct weir_error *err) WEIR_CHECKED;
/* The peers are those of the log or, for one that is in no cluster yet, of the configuration; those that the others name; and who waits to be added. */
void weir__jm_follow_members(struct weir_jm *jm);
/* Somebody has said who it is: news are proposed. */
void weir__jm_met(struct weir_jm *jm, uint64_t id, uint64_t incarnation, const char *rpc_address, const char *rest_address);
void weir__jm_meet_all(struct weir_jm *jm); /* again, for a leader that has just begun: this one, and those heard before */
void weir__jm_met_joiner(struct weir_jm *jm, uint64_t incarnation, const char *rpc_address, const char *rest_address);
const struct weir_jm_joiner *weir__jm_joiner(const struct weir_jm *jm, const char *rpc_address); /* that was heard lately; NULL: none */

/* jm_known.c. By the state machine, or by what it said before this process began; 0: not known. */
uint64_t weir__jm_known_incarnation(const struct weir_jm *jm, uint64_t id);
enum weir_rc weir__jm_known_load(struct weir_jm *jm, struct weir_error *err) WEIR_CHECKED;
void weir__jm_known_save(struct weir_jm *jm);

/* jm_replace.c */
void weir__jm_replace_tick(struct weir_jm *jm);
int64_t weir__jm_replace_deadline_ms(const struct weir_jm *jm);
/* Whether the proposal was one of its own. */
bool weir__jm_replace_outcome(struct weir_jm *jm, uint64_t proposal, enum weir_proposal_outcome outcome, const struct weir_error *err);
void weir__jm_replace_abort(struct weir_jm *jm, const struct weir_error *err);

/* jm_reads.c. run: answers those who need not wait any longer; and carries out their effects. */
void weir__jm_reads_run(struct weir_jm *jm);
int64_t weir__jm_reads_deadline_ms(const struct weir_jm *jm);
void weir__jm_reads_abort(struct weir_jm *jm, const struct weir_error *err);

/* jm_rpc.c, for jm_rpc_jm.c */
void weir__jm_reply_error(struct weir_rpc_request *request, const struct weir_error *err);
void weir__jm_reply_message(struct weir_rpc_request *request, const struct ProtobufCMessage *message);
/* jm_rpc_jm.c: a request of a JobManager; the hello that this one says. */
void weir__jm_serve_jm(struct weir_jm *jm, struct weir_rpc_request *request_take);
void weir__jm_hello(struct weir_jm *jm, struct weir_buf *out);
void weir__jm_raft_request(const struct weir_jm *jm, uint64_t to, struct weir_slice chunk, struct weir_buf *out);

/* jm_rpc.c: the server's callbacks; on library threads. */
void weir__jm_on_request(void *ctx, struct weir_rpc_request *request);
void weir__jm_on_peer_closed(void *ctx, uint64_t peer);

/* jm_orders.c */
void weir__jm_link_set(struct weir_jm *jm, const char *tm_id, const char *address, uint64_t peer);
void weir__jm_link_drop(struct weir_jm *jm, const char *tm_id);
void weir__jm_links_stop(struct weir_jm *jm);
void weir__jm_links_destroy(struct weir_jm *jm);
void weir__jm_order(struct weir_jm *jm, const struct weir_effect *effect);
/* jm_ckpt.c: an effect on the checkpoint store. */
void weir__jm_ckpt_disk(struct weir_jm *jm, const struct weir_effect *effect);

void weir__jm_ask_logs(struct weir_jm *jm, struct weir_slice tm_id, struct weir_slice contains, uint32_t lines_max, weir_jm_logs_fn *done, void *ctx);
void weir__jm_tell_log_level(struct weir_jm *jm, const char *level);

#endif
