#include "common/runtime/pool.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/runtime/sync.h"
#include "common/runtime/thread.h"

struct queued {
    struct weir_list node;
    struct weir_pool_job job;
    struct weir_mailbox *mailbox; /* with one reservation of ours */
};

struct weir_pool {
    uint32_t jobs_max;
    uint32_t thread_count;
    struct weir_thread **threads;
    struct weir_cond work;
    struct weir_mutex mutex; /* guards what follows */
    struct weir_list queue;
    uint32_t queued_count;
    bool stopping;
};

static void drop_job(struct queued *queued)
{
    weir_mailbox_unreserve(queued->mailbox);
    if (queued->job.drop != NULL) {
        queued->job.drop(queued->job.ctx);
    }
    weir_free(queued);
}

static void run_job(struct queued *queued)
{
    queued->job.run(queued->job.ctx);
    struct weir_mail mail = {.run = queued->job.done, .drop = queued->job.drop, .payload = queued->job.ctx};
    if (weir_mailbox_post_reserved(queued->mailbox, mail) != WEIR_OK) {
        weir_mail_drop(&mail);
    }
    weir_free(queued);
}

static void worker(void *ctx)
{
    struct weir_pool *pool = ctx;
    weir_mutex_lock(&pool->mutex);
    for (;;) {
        struct weir_list *node = weir_list_pop_front(&pool->queue);
        if (node == NULL && pool->stopping) {
            break;
        }
        if (node == NULL) {
            weir_cond_wait(&pool->work, &pool->mutex);
            continue;
        }
        pool->queued_count--;
        bool stopping = pool->stopping;
        weir_mutex_unlock(&pool->mutex);
        struct queued *queued = WEIR_CONTAINER_OF(node, struct queued, node);
        if (stopping) {
            drop_job(queued);
        } else {
            run_job(queued);
        }
        weir_mutex_lock(&pool->mutex);
    }
    weir_mutex_unlock(&pool->mutex);
}

enum weir_rc weir_pool_create(const struct weir_pool_options *options, struct weir_pool **out_pool, struct weir_error *err)
{
    weir_assert(options->threads > 0);
    weir_assert(options->jobs_max > 0);
    struct weir_pool *pool = weir_calloc(1, sizeof(*pool));
    pool->jobs_max = options->jobs_max;
    pool->threads = weir_calloc(options->threads, sizeof(struct weir_thread *));
    weir_mutex_init(&pool->mutex);
    weir_cond_init(&pool->work);
    weir_list_init(&pool->queue);
    for (; pool->thread_count < options->threads; pool->thread_count++) {
        enum weir_rc rc = weir_thread_start(options->name, worker, pool, &pool->threads[pool->thread_count], err);
        if (rc != WEIR_OK) {
            weir_pool_destroy(pool);
            return rc;
        }
    }
    *out_pool = pool;
    return WEIR_OK;
}

enum weir_rc weir_pool_submit(struct weir_pool *pool, struct weir_pool_job job, struct weir_mailbox *mailbox)
{
    weir_assert(job.run != NULL);
    weir_assert(job.done != NULL);
    enum weir_rc rc = weir_mailbox_reserve(mailbox);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct queued *queued = weir_calloc(1, sizeof(*queued));
    queued->job = job;
    queued->mailbox = mailbox;
    weir_mutex_lock(&pool->mutex);
    if (pool->stopping) {
        rc = WEIR_CLOSED;
    } else if (pool->queued_count >= pool->jobs_max) {
        rc = WEIR_AGAIN;
    } else {
        weir_list_push_back(&pool->queue, &queued->node);
        pool->queued_count++;
        weir_cond_signal(&pool->work);
    }
    weir_mutex_unlock(&pool->mutex);
    if (rc != WEIR_OK) {
        weir_mailbox_unreserve(mailbox);
        weir_free(queued);
    }
    return rc;
}

void weir_pool_stop(struct weir_pool *pool)
{
    weir_mutex_lock(&pool->mutex);
    pool->stopping = true;
    weir_cond_broadcast(&pool->work);
    weir_mutex_unlock(&pool->mutex);
}

void weir_pool_destroy(struct weir_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    weir_pool_stop(pool);
    for (uint32_t i = 0; i < pool->thread_count; i++) {
        weir_thread_join(pool->threads[i]);
    }
    weir_assert(weir_list_empty(&pool->queue));
    weir_free(pool->threads);
    weir_cond_fini(&pool->work);
    weir_mutex_fini(&pool->mutex);
    weir_free(pool);
}
