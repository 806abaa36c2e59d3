#include "jobmanager/jm_retire.h"

#include "common/base/mem.h"

struct closing {
    struct weir_rpc_client *client; /* NULL: it is gone */
    void *with;
};

static void closing_run(void *ctx)
{
    struct closing *closing = ctx;
    weir_rpc_client_destroy(closing->client);
    closing->client = NULL;
}

/* Behind the run, or instead of it: a mail that finds its mailbox closed is dropped after the job has run. */
static void closing_end(void *ctx)
{
    struct closing *closing = ctx;
    weir_rpc_client_destroy(closing->client);
    weir_free(closing->with);
    weir_free(closing);
}

void weir_jm_client_retire(struct weir_rpc_client *client_take, void *with_take, struct weir_pool *pool, struct weir_mailbox *mailbox)
{
    struct closing *closing = weir_calloc(1, sizeof(*closing));
    *closing = (struct closing){.client = client_take, .with = with_take};
    struct weir_pool_job job = {.run = closing_run, .done = closing_end, .drop = closing_end, .ctx = closing};
    weir_rpc_client_stop(client_take);
    if (pool == NULL || weir_pool_submit(pool, job, mailbox) != WEIR_OK) {
        closing_end(closing);
    }
}
