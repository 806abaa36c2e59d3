/*
 * The end of an RPC client: destroying one waits for its outstanding calls, which is nothing for the mailbox thread.
 */
#ifndef WEIR_JOBMANAGER_JM_RETIRE_H
#define WEIR_JOBMANAGER_JM_RETIRE_H

#include "common/net/rpc.h"
#include "common/runtime/pool.h"

/* Stops the client and destroys it in the pool, then frees `with` (its callbacks' ctx; by weir_malloc, or NULL). pool NULL, or it takes no
 * more: at once, blocking. */
void weir_jm_client_retire(struct weir_rpc_client *client_take, void *with_take, struct weir_pool *pool, struct weir_mailbox *mailbox);

#endif
