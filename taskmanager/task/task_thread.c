#include "taskmanager/task/task_thread.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/runtime/thread.h"

enum { MAILS_MAX = 1024, MAILS_PER_ROUND = 64 };

/* A waker that outlives the thread as long as a channel may still wake it. */
struct wake_handle {
    _Atomic uint32_t refs;
    struct weir_waker *waker;
};

struct weir_task_thread {
    struct weir_executor executor; /* first: submit gets it back */
    struct weir_task *task;
    struct wake_handle *handle;
    struct weir_mailbox *mailbox;
    struct weir_thread *thread;
    const struct weir_task_host *host;
    enum weir_task_phase phase_told;
};

static void handle_wake(void *ctx)
{
    struct wake_handle *handle = ctx;
    weir_waker_wake(handle->waker);
}

static void handle_unref(void *ctx)
{
    struct wake_handle *handle = ctx;
    if (atomic_fetch_sub(&handle->refs, 1) == 1) {
        weir_waker_destroy(handle->waker);
        weir_free(handle);
    }
}

struct weir_channel_wake weir_task_thread_wake_ref(struct weir_task_thread *thread)
{
    atomic_fetch_add(&thread->handle->refs, 1);
    return (struct weir_channel_wake){.wake = handle_wake, .unref = handle_unref, .ctx = thread->handle};
}

static void work_run(void *ctx)
{
    struct weir_work *work = ctx;
    work->run(work);
}

static void work_done(void *ctx)
{
    struct weir_work *work = ctx;
    struct weir_task_thread *thread = work->executor_private;
    work->in_flight = false;
    weir_task_work_done(thread->task);
    work->done(work);
}

static void submit(struct weir_executor *executor, struct weir_work *work)
{
    struct weir_task_thread *thread = (struct weir_task_thread *)executor;
    work->executor_private = thread;
    weir_task_work_submitted(thread->task);
    struct weir_pool_job job = {.run = work_run, .done = work_done, .ctx = work};
    enum weir_rc rc = weir_pool_submit(thread->host->pool, job, thread->mailbox);
    weir_assert(rc == WEIR_OK); /* a task has a handful of works, each in flight once: the queues are sized for all tasks */
}

static void on_snapshot(void *ctx, const struct weir_task_snapshot *snapshot)
{
    struct weir_task_thread *thread = ctx;
    thread->host->on_snapshot(thread->host->ctx, thread, snapshot);
}

enum weir_rc weir_task_thread_create(const struct weir_task_spec *spec, const struct weir_log *log, const struct weir_task_host *host,
                                     struct weir_task_thread **out_thread, struct weir_error *err)
{
    struct weir_waker *waker = NULL;
    enum weir_rc rc = weir_waker_create(&waker, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_task_thread *thread = weir_calloc(1, sizeof(*thread));
    thread->executor.submit = submit;
    thread->host = host;
    thread->handle = weir_calloc(1, sizeof(*thread->handle));
    thread->handle->waker = waker;
    atomic_init(&thread->handle->refs, 1);
    thread->mailbox = weir_mailbox_create(MAILS_MAX, waker);
    struct weir_task_spec full = *spec;
    full.on_snapshot = on_snapshot;
    full.on_snapshot_ctx = thread;
    full.backend = host->backend;
    full.env = (struct weir_conn_ctx){
        .mem = host->mem,
        .executor = &thread->executor,
        .fs = host->fs,
        .clock = host->clock,
        .log = log,
        .wake = handle_wake,
        .wake_ctx = thread->handle,
        .lease = host->lease,
        .fence = host->fence,
    };
    thread->task = weir_task_create(&full);
    *out_thread = thread;
    return WEIR_OK;
}

struct weir_task *weir_task_thread_task(struct weir_task_thread *thread)
{
    return thread->task;
}

static void tell_phase(struct weir_task_thread *thread)
{
    enum weir_task_phase phase = weir_task_phase(thread->task);
    if (phase != thread->phase_told) {
        thread->phase_told = phase;
        const struct weir_error *failure = phase == WEIR_TASK_PHASE_FAILED ? weir_task_failure(thread->task) : NULL;
        thread->host->on_phase(thread->host->ctx, thread, phase, failure);
    }
}

/* One step; when it finds nothing to do, one more after announcing sleep: the step is the second look that the waker's protocol asks for. */
static bool step_or_sleep(struct weir_task_thread *thread)
{
    int64_t wait_ms = -1;
    enum weir_task_wait wait = weir_task_step(thread->task, &wait_ms);
    if (wait == WEIR_TASK_RAN) {
        return true;
    }
    if (wait == WEIR_TASK_OVER) {
        return false;
    }
    tell_phase(thread);
    weir_waker_prepare(thread->handle->waker);
    wait = weir_task_step(thread->task, &wait_ms);
    if ((wait == WEIR_TASK_IDLE || wait == WEIR_TASK_BLOCKED) && weir_mailbox_empty(thread->mailbox)) {
        weir_waker_wait(thread->handle->waker, wait_ms, NULL, 0);
    } else {
        weir_waker_cancel(thread->handle->waker);
    }
    return wait != WEIR_TASK_OVER;
}

static void run_thread(void *ctx)
{
    struct weir_task_thread *thread = ctx;
    bool going = true;
    while (going) {
        (void)weir_mailbox_run(thread->mailbox, MAILS_PER_ROUND);
        going = step_or_sleep(thread);
        if (going) {
            tell_phase(thread);
        }
    }
    tell_phase(thread); /* the last thing: whoever hears it may join */
}

enum weir_rc weir_task_thread_start(struct weir_task_thread *thread, struct weir_error *err)
{
    return weir_thread_start(weir_task_name(thread->task), run_thread, thread, &thread->thread, err);
}

void weir_task_thread_wake(struct weir_task_thread *thread)
{
    weir_waker_wake(thread->handle->waker);
}

static void cancel_mail(void *payload)
{
    struct weir_task_thread *thread = payload;
    weir_task_cancel(thread->task);
}

void weir_task_thread_cancel(struct weir_task_thread *thread)
{
    struct weir_mail mail = {.run = cancel_mail, .payload = thread};
    enum weir_rc rc = weir_mailbox_post(thread->mailbox, WEIR_MAIL_CONTROL, mail);
    weir_assert(rc == WEIR_OK); /* the task posts no control mail to itself but reserved ones; the TaskManager posts this one only */
}

struct checkpoint_mail {
    struct weir_task_thread *thread;
    uint64_t checkpoint;
    enum weir_ckpt_outcome outcome;
};

static void trigger_mail(void *payload)
{
    struct checkpoint_mail *mail = payload;
    weir_task_trigger(mail->thread->task, mail->checkpoint);
    weir_free(mail);
}

static void notify_mail(void *payload)
{
    struct checkpoint_mail *mail = payload;
    weir_task_notify(mail->thread->task, mail->checkpoint, mail->outcome);
    weir_free(mail);
}

static void post_checkpoint(struct weir_task_thread *thread, void (*run)(void *), uint64_t checkpoint, enum weir_ckpt_outcome outcome)
{
    struct checkpoint_mail *mail = weir_calloc(1, sizeof(*mail));
    *mail = (struct checkpoint_mail){.thread = thread, .checkpoint = checkpoint, .outcome = outcome};
    struct weir_mail posted = {.run = run, .drop = weir_free, .payload = mail};
    if (weir_mailbox_post(thread->mailbox, WEIR_MAIL_CONTROL, posted) != WEIR_OK) {
        weir_mail_drop(&posted); /* a task that does not read its mails: the checkpoint runs out of time */
    }
}

void weir_task_thread_trigger(struct weir_task_thread *thread, uint64_t checkpoint)
{
    post_checkpoint(thread, trigger_mail, checkpoint, WEIR_CKPT_ABORTED);
}

void weir_task_thread_notify(struct weir_task_thread *thread, uint64_t checkpoint, enum weir_ckpt_outcome outcome)
{
    post_checkpoint(thread, notify_mail, checkpoint, outcome);
}

void weir_task_thread_join(struct weir_task_thread *thread)
{
    weir_thread_join(thread->thread);
    thread->thread = NULL;
}

void weir_task_thread_destroy(struct weir_task_thread *thread)
{
    if (thread == NULL) {
        return;
    }
    weir_task_thread_join(thread);
    weir_mailbox_destroy(thread->mailbox);
    weir_task_destroy(thread->task);
    handle_unref(thread->handle);
    weir_free(thread);
}
