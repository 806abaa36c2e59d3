#include "common/runtime/pool.h"

#include "common/runtime/sync.h"
#include "common/runtime/thread.h"

#include <check.h>

/* A gate that holds pool threads inside a job. */
struct gate {
    struct weir_mutex mutex;
    struct weir_cond changed;
    int inside;
    bool open;
};

struct job {
    struct gate *gate;
    uint64_t ran_on;
    int done;
    int dropped;
};

static void run(void *ctx)
{
    struct job *job = ctx;
    job->ran_on = weir_thread_self();
    if (job->gate != NULL) {
        weir_mutex_lock(&job->gate->mutex);
        job->gate->inside++;
        weir_cond_broadcast(&job->gate->changed);
        while (!job->gate->open) {
            weir_cond_wait(&job->gate->changed, &job->gate->mutex);
        }
        weir_mutex_unlock(&job->gate->mutex);
    }
}

static void done(void *ctx)
{
    ((struct job *)ctx)->done++;
}

static void drop(void *ctx)
{
    ((struct job *)ctx)->dropped++;
}

static struct weir_pool_job job_of(struct job *job)
{
    return (struct weir_pool_job){.run = run, .done = done, .drop = drop, .ctx = job};
}

struct fixture {
    struct weir_waker *waker;
    struct weir_mailbox *mailbox;
    struct weir_pool *pool;
    struct gate gate;
};

static void start(struct fixture *f, uint32_t threads, uint32_t jobs_max, uint32_t mails_max)
{
    struct weir_error err;
    *f = (struct fixture){0};
    weir_mutex_init(&f->gate.mutex);
    weir_cond_init(&f->gate.changed);
    ck_assert_int_eq(weir_waker_create(&f->waker, &err), WEIR_OK);
    f->mailbox = weir_mailbox_create(mails_max, f->waker);
    struct weir_pool_options options = {.name = "pool", .threads = threads, .jobs_max = jobs_max};
    ck_assert_int_eq(weir_pool_create(&options, &f->pool, &err), WEIR_OK);
}

static void stop(struct fixture *f)
{
    weir_pool_destroy(f->pool);
    weir_mailbox_destroy(f->mailbox);
    weir_waker_destroy(f->waker);
    weir_cond_fini(&f->gate.changed);
    weir_mutex_fini(&f->gate.mutex);
}

static void wait_inside(struct gate *gate, int count)
{
    weir_mutex_lock(&gate->mutex);
    while (gate->inside < count) {
        weir_cond_wait(&gate->changed, &gate->mutex);
    }
    weir_mutex_unlock(&gate->mutex);
}

static void open_gate(struct gate *gate)
{
    weir_mutex_lock(&gate->mutex);
    gate->open = true;
    weir_cond_broadcast(&gate->changed);
    weir_mutex_unlock(&gate->mutex);
}

static void run_mails(struct fixture *f, uint32_t count)
{
    for (uint32_t got = 0; got < count;) {
        got += weir_mailbox_run(f->mailbox, count - got);
        weir_waker_prepare(f->waker);
        if (got == count || !weir_mailbox_empty(f->mailbox)) {
            weir_waker_cancel(f->waker);
        } else {
            weir_waker_wait(f->waker, -1, NULL, 0);
        }
    }
}

START_TEST(jobs_run_there_and_complete_here)
{
    enum { JOBS = 500 };
    struct fixture f;
    start(&f, 3, JOBS, JOBS);
    static struct job jobs[JOBS];
    for (int i = 0; i < JOBS; i++) {
        ck_assert_int_eq(weir_pool_submit(f.pool, job_of(&jobs[i]), f.mailbox), WEIR_OK);
    }
    run_mails(&f, JOBS);
    for (int i = 0; i < JOBS; i++) {
        ck_assert_int_eq(jobs[i].done, 1);
        ck_assert_int_eq(jobs[i].dropped, 0);
        ck_assert_uint_ne(jobs[i].ran_on, weir_thread_self());
    }
    stop(&f);
}
END_TEST

START_TEST(bounds_of_queue_and_mailbox)
{
    struct fixture f;
    start(&f, 1, 1, 3);
    struct job jobs[4] = {{.gate = &f.gate}, {0}, {0}, {0}};
    ck_assert_int_eq(weir_pool_submit(f.pool, job_of(&jobs[0]), f.mailbox), WEIR_OK);
    wait_inside(&f.gate, 1);
    ck_assert_int_eq(weir_pool_submit(f.pool, job_of(&jobs[1]), f.mailbox), WEIR_OK);
    ck_assert_int_eq(weir_pool_submit(f.pool, job_of(&jobs[2]), f.mailbox), WEIR_AGAIN); /* the queue */
    open_gate(&f.gate);
    run_mails(&f, 2);
    ck_assert_int_eq(weir_mailbox_reserve(f.mailbox), WEIR_OK);
    ck_assert_int_eq(weir_mailbox_reserve(f.mailbox), WEIR_OK);
    ck_assert_int_eq(weir_mailbox_reserve(f.mailbox), WEIR_OK);
    ck_assert_int_eq(weir_pool_submit(f.pool, job_of(&jobs[3]), f.mailbox), WEIR_AGAIN); /* the mailbox */
    for (int i = 0; i < 3; i++) {
        weir_mailbox_unreserve(f.mailbox);
    }
    ck_assert_int_eq(jobs[0].done + jobs[1].done, 2);
    ck_assert_int_eq(jobs[2].done + jobs[2].dropped + jobs[3].done + jobs[3].dropped, 0);
    stop(&f);
}
END_TEST

START_TEST(stopping_drops_what_has_not_begun)
{
    struct fixture f;
    start(&f, 1, 8, 8);
    struct job jobs[3] = {{.gate = &f.gate}, {0}, {0}};
    ck_assert_int_eq(weir_pool_submit(f.pool, job_of(&jobs[0]), f.mailbox), WEIR_OK);
    ck_assert_int_eq(weir_pool_submit(f.pool, job_of(&jobs[1]), f.mailbox), WEIR_OK);
    wait_inside(&f.gate, 1);
    weir_pool_stop(f.pool);
    weir_pool_stop(f.pool);
    ck_assert_int_eq(weir_pool_submit(f.pool, job_of(&jobs[2]), f.mailbox), WEIR_CLOSED);
    open_gate(&f.gate);
    run_mails(&f, 1);
    weir_mailbox_close(f.mailbox);
    stop(&f);
    ck_assert_int_eq(jobs[0].done, 1);
    ck_assert_int_eq(jobs[1].done, 0);
    ck_assert_int_eq(jobs[1].dropped, 1);
    ck_assert_int_eq(jobs[2].dropped, 0);
}
END_TEST

START_TEST(a_closed_mailbox_gets_its_jobs_dropped)
{
    struct fixture f;
    start(&f, 1, 8, 8);
    struct job job = {.gate = &f.gate};
    ck_assert_int_eq(weir_pool_submit(f.pool, job_of(&job), f.mailbox), WEIR_OK);
    wait_inside(&f.gate, 1);
    weir_mailbox_close(f.mailbox);
    open_gate(&f.gate);
    stop(&f);
    ck_assert_int_eq(job.done, 0);
    ck_assert_int_eq(job.dropped, 1);
}
END_TEST

Suite *pool_suite(void);
Suite *pool_suite(void)
{
    Suite *suite = suite_create("pool");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, jobs_run_there_and_complete_here);
    tcase_add_test(tc, bounds_of_queue_and_mailbox);
    tcase_add_test(tc, stopping_drops_what_has_not_begun);
    tcase_add_test(tc, a_closed_mailbox_gets_its_jobs_dropped);
    suite_add_tcase(suite, tc);
    return suite;
}
