/*
 * What the files of the shell share: jm.c (life), jm_rpc.c (requests of TaskManagers), jm_orders.c (orders to them), jm_ckpt.c
 * (the checkpoint store), jm_views.c (jm_api.h).
 */
#ifndef WEIR_JOBMANAGER_JM_INTERNAL_H
#define WEIR_JOBMANAGER_JM_INTERNAL_H

#include "common/base/hmap.h"
#include "common/net/rpc.h"
#include "common/runtime/executor.h"
#include "common/runtime/pool.h"
#include "common/runtime/thread.h"
#include "jobmanager/ha/dir_lock.h"
#include "jobmanager/jm.h"
#include "jobmanager/job/dispatcher.h"

struct weir_jm {
    struct weir_jm_options options;
    struct weir_owner owner;
    struct weir_waker *waker;
    struct weir_mailbox *mailbox;
    struct weir_pool *pool;
    struct weir_executor executor; /* the pool, for the cluster log */
    struct weir_work *deferred;    /* work that the pool had no room for */
    struct weir_dir_lock *lock;
    struct weir_cluster_log *log;
    struct weir_dispatcher *dispatcher;
    struct weir_rpc_server *server;
    struct weir_tls *tls;    /* NULL: plaintext */
    struct weir_hmap *links; /* struct weir_jm_link by TaskManager id */
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
    uint64_t sequence; /* of orders */
};

struct weir_now weir__jm_now(const struct weir_jm *jm);

/* Carries out every effect that waits. */
void weir__jm_run_effects(struct weir_jm *jm);

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
