#include "jobmanager/checkpoint/coordinator.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

enum phase { IDLE, BEGINNING, PREPARING, COLLECTING, STORING, COMPLETING, ABORTING };

/* WAITING: for the tasks to report to a new leader, or to begin: nobody is told anything. PAUSED: for some of them. */
enum activity { WAITING, ACTIVE, PAUSED, STOPPED };

struct task {
    bool is_source;
    bool running, ended;
    bool acked, acked_ended;
};

/* What the tasks are to know of a checkpoint's end (K4). */
struct notice {
    uint64_t id; /* 0: nothing */
    uint32_t attempt; /* (K6) */
    bool completed, last;
    int64_t again_ms; /* INT64_MAX: it arrived, as far as is known */
};

enum { COMPLETED_NOTICE, ABORTED_NOTICE, NOTICES };

struct weir_ckpt_coordinator {
    struct weir_ckpt_settings settings;
    weir_ckpt_emit_fn *emit;
    void *ctx;
    struct task *tasks;
    uint32_t ntasks;
    uint32_t attempt;
    enum activity activity;
    enum phase phase;
    uint64_t last_id;   /* in the log */
    uint64_t id;        /* of the pending one, unless IDLE */
    bool counts;        /* its failure counts: it was begun here, and not ended by the job's own failure */
    bool sources_ended; /* before it began */
    char *doom;         /* BEGINNING: why it is aborted as soon as it has begun */
    int64_t began_mono_ms, began_wall_ms;
    struct weir_ckpt_handle *handles; /* by task; paths owned */
    uint32_t nacked;
    uint64_t state_bytes;
    int64_t next_ms, pause_until_ms, last_retry_ms;
    bool last_done; /* (K5) */
    int64_t failures; /* in a row */
    struct notice notices[NOTICES];
    struct weir_ckpt_view history[WEIR_CKPT_HISTORY_MAX]; /* strings owned */
    uint32_t nhistory;
    struct weir_ckpt_view latest_completed, latest_failed, latest_restored; /* strings owned; id 0: none */
    struct weir_ckpts_view view;
};

/* --- history ---------------------------------------------------------------------------------------------------------- */
static void view_fini(struct weir_ckpt_view *view)
{
    weir_free((char *)(uintptr_t)view->path);
    weir_free((char *)(uintptr_t)view->failure);
    *view = (struct weir_ckpt_view){0};
}

static void view_copy(struct weir_ckpt_view *to, const struct weir_ckpt_view *from)
{
    struct weir_ckpt_view copy = *from;
    copy.path = from->path == NULL ? NULL : weir_strdup(from->path);
    copy.failure = from->failure == NULL ? NULL : weir_strdup(from->failure);
    view_fini(to);
    *to = copy;
}

static void history_add(struct weir_ckpt_coordinator *coord)
{
    if (coord->nhistory == WEIR_CKPT_HISTORY_MAX) {
        view_fini(&coord->history[0]);
        memmove(&coord->history[0], &coord->history[1], sizeof(coord->history) - sizeof(coord->history[0]));
        coord->nhistory--;
    }
    coord->history[coord->nhistory++] = (struct weir_ckpt_view){.id = coord->id,
                                                                .status = WEIR_CKPT_IN_PROGRESS,
                                                                .began_ms = coord->began_wall_ms,
                                                                .latest_ack_ms = -1,
                                                                .ended_ms = -1,
                                                                .tasks = coord->ntasks};
    coord->view.total++;
}

/* The pending one's; NULL when it was begun by an earlier leader. */
static struct weir_ckpt_view *history_pending(struct weir_ckpt_coordinator *coord)
{
    struct weir_ckpt_view *newest = coord->nhistory == 0 ? NULL : &coord->history[coord->nhistory - 1];
    return newest != NULL && newest->id == coord->id && newest->status == WEIR_CKPT_IN_PROGRESS ? newest : NULL;
}

static void history_failed(struct weir_ckpt_coordinator *coord, const char *text, struct weir_now now)
{
    struct weir_ckpt_view *view = history_pending(coord);
    if (view != NULL) {
        view->status = WEIR_CKPT_FAILED;
        view->ended_ms = now.wall_ms;
        weir_free((char *)(uintptr_t)view->path); /* written for a completion that the log did not take */
        view->path = NULL;
        if (view->failure == NULL) {
            view->failure = weir_strdup(text);
        }
        view_copy(&coord->latest_failed, view);
        coord->view.failed++;
    }
}

/* --- effects ---------------------------------------------------------------------------------------------------------- */
static struct weir_ckpt_effect effect_of(const struct weir_ckpt_coordinator *coord, enum weir_ckpt_effect_kind kind, struct weir_now now)
{
    return (struct weir_ckpt_effect){.kind = kind, .attempt = coord->attempt, .id = coord->id, .now = now};
}

static void emit(struct weir_ckpt_coordinator *coord, const struct weir_ckpt_effect *effect)
{
    coord->emit(coord->ctx, effect);
}

static void emit_plain(struct weir_ckpt_coordinator *coord, enum weir_ckpt_effect_kind kind, struct weir_now now)
{
    struct weir_ckpt_effect effect = effect_of(coord, kind, now);
    emit(coord, &effect);
}

static void tell(struct weir_ckpt_coordinator *coord, struct notice *notice, struct weir_now now)
{
    if (notice->id == 0 || coord->activity == WAITING) {
        return;
    }
    notice->again_ms = INT64_MAX;
    struct weir_ckpt_effect effect = effect_of(coord, WEIR_CKPT_NOTIFY, now);
    effect.id = notice->id;
    effect.attempt = notice->attempt;
    effect.completed = notice->completed;
    effect.last = notice->last;
    emit(coord, &effect);
}

static bool repeats(const struct weir_ckpt_coordinator *coord)
{
    return coord->activity == ACTIVE || coord->activity == PAUSED;
}

static void abort_pending(struct weir_ckpt_coordinator *coord, const char *text, struct weir_now now)
{
    struct weir_ckpt_view *view = history_pending(coord);
    if (view != NULL && view->failure == NULL) {
        view->failure = weir_strdup(text);
    }
    if (coord->phase == BEGINNING) { /* what is not begun cannot be aborted */
        if (coord->doom == NULL) {
            coord->doom = weir_strdup(text);
        }
        return;
    }
    weir_assert(coord->phase == PREPARING || coord->phase == COLLECTING || coord->phase == STORING);
    coord->phase = ABORTING;
    struct weir_ckpt_effect effect = effect_of(coord, WEIR_CKPT_PROPOSE_ABORT, now);
    effect.text = text;
    emit(coord, &effect);
}

static bool abortable(const struct weir_ckpt_coordinator *coord)
{
    return coord->phase == BEGINNING || coord->phase == PREPARING || coord->phase == COLLECTING || coord->phase == STORING;
}

/* --- life ------------------------------------------------------------------------------------------------------------- */
static void make_tasks(struct weir_ckpt_coordinator *coord, uint32_t ntasks, const bool *is_source)
{
    weir_free(coord->handles);
    weir_free(coord->tasks);
    coord->ntasks = ntasks;
    coord->tasks = weir_calloc(ntasks, sizeof(*coord->tasks));
    coord->handles = weir_calloc(ntasks, sizeof(*coord->handles));
    for (uint32_t i = 0; i < ntasks; i++) {
        coord->tasks[i].is_source = is_source[i];
    }
}

struct weir_ckpt_coordinator *weir_ckpt_coordinator_create(const struct weir_ckpt_settings *settings, uint32_t ntasks, const bool *is_source,
                                                           weir_ckpt_emit_fn *emit_fn, void *ctx)
{
    weir_assert(settings->interval_ms > 0);
    weir_assert(ntasks > 0);
    struct weir_ckpt_coordinator *coord = weir_calloc(1, sizeof(*coord));
    coord->settings = *settings;
    coord->emit = emit_fn;
    coord->ctx = ctx;
    make_tasks(coord, ntasks, is_source);
    return coord;
}

static void clear_pending(struct weir_ckpt_coordinator *coord)
{
    for (uint32_t i = 0; i < coord->ntasks; i++) {
        weir_free((char *)(uintptr_t)coord->handles[i].path);
        coord->handles[i] = (struct weir_ckpt_handle){0};
        coord->tasks[i].acked = false;
        coord->tasks[i].acked_ended = false;
    }
    weir_free(coord->doom);
    coord->doom = NULL;
    coord->nacked = 0;
    coord->state_bytes = 0;
    coord->counts = false;
    coord->sources_ended = false;
    coord->phase = IDLE;
    coord->id = 0;
}

void weir_ckpt_coordinator_destroy(struct weir_ckpt_coordinator *coord)
{
    if (coord == NULL) {
        return;
    }
    clear_pending(coord);
    for (uint32_t i = 0; i < coord->nhistory; i++) {
        view_fini(&coord->history[i]);
    }
    view_fini(&coord->latest_completed);
    view_fini(&coord->latest_failed);
    view_fini(&coord->latest_restored);
    weir_free(coord->handles);
    weir_free(coord->tasks);
    weir_free(coord);
}

/* What an earlier leader completed. */
static void learn_completed(struct weir_ckpt_coordinator *coord, const struct weir_ckpt_log *log)
{
    if (log->completed_id == 0 || log->completed_id == coord->latest_completed.id) {
        return;
    }
    const struct weir_ckpt_view view = {.id = log->completed_id,
                                        .status = WEIR_CKPT_COMPLETED,
                                        .began_ms = log->completed_began_ms,
                                        .latest_ack_ms = log->completed_ms,
                                        .ended_ms = log->completed_ms,
                                        .state_bytes = log->completed_state_bytes,
                                        .tasks = coord->ntasks,
                                        .acked = coord->ntasks,
                                        .path = log->completed_path,
                                        .last = log->completed_last};
    view_copy(&coord->latest_completed, &view);
}

/* What the tasks that go on are still to be told of the checkpoint that the attempt has ended: they may have its barriers. */
static void end_pending(struct weir_ckpt_coordinator *coord, bool others_go_on, struct weir_now now)
{
    bool begun = coord->phase != IDLE && coord->phase != BEGINNING;
    if (coord->phase != IDLE) {
        history_failed(coord, "the job was restarted", now);
    }
    if (begun && others_go_on) {
        coord->notices[ABORTED_NOTICE] = (struct notice){.id = coord->id, .attempt = coord->attempt, .again_ms = INT64_MAX};
    }
    clear_pending(coord);
}

void weir_ckpt_coordinator_resize(struct weir_ckpt_coordinator *coord, uint32_t ntasks, const bool *is_source, struct weir_now now)
{
    weir_assert(ntasks > 0);
    end_pending(coord, false, now);
    make_tasks(coord, ntasks, is_source);
}

static void learn_notice(struct weir_ckpt_coordinator *coord, const struct weir_ckpt_log *log)
{
    if (log->completed_id != 0 && log->completed_attempt >= log->oldest_attempt) {
        coord->notices[COMPLETED_NOTICE] = (struct notice){.id = log->completed_id,
                                                           .attempt = log->completed_attempt,
                                                           .completed = true,
                                                           .last = log->completed_last,
                                                           .again_ms = INT64_MAX};
        coord->last_done = log->completed_last;
    }
}

void weir_ckpt_coordinator_attempt(struct weir_ckpt_coordinator *coord, uint32_t attempt, const bool *begun, const struct weir_ckpt_log *log,
                                   struct weir_now now)
{
    weir_assert(attempt > coord->attempt);
    weir_assert(log->last_id >= coord->last_id); /* (K1) */
    end_pending(coord, begun != NULL, now);
    for (uint32_t i = 0; i < coord->ntasks; i++) {
        coord->tasks[i].running = coord->tasks[i].running && begun != NULL && !begun[i];
        coord->tasks[i].ended = coord->tasks[i].ended && begun != NULL && !begun[i];
    }
    coord->attempt = attempt;
    coord->last_id = log->last_id;
    coord->last_retry_ms = now.mono_ms;
    if (begun != NULL) {
        coord->activity = PAUSED;
        for (int i = 0; i < NOTICES; i++) {
            tell(coord, &coord->notices[i], now);
        }
        return;
    }
    memset(coord->notices, 0, sizeof(coord->notices));
    coord->activity = WAITING;
    coord->last_done = false;
    coord->failures = 0;
    learn_completed(coord, log);
    learn_notice(coord, log);
    if (log->pending_id != 0) { /* of an earlier leader: nobody knows which tasks have acknowledged it */
        coord->id = log->pending_id;
        coord->phase = STORING;
        abort_pending(coord, "the JobManager was restarted meanwhile", now);
    }
}

void weir_ckpt_coordinator_restored(struct weir_ckpt_coordinator *coord, struct weir_now now)
{
    weir_assert(coord->latest_completed.id != 0);
    view_copy(&coord->latest_restored, &coord->latest_completed);
    coord->view.restored++;
    coord->view.restored_ms = now.wall_ms;
}

static bool every_source_ended(const struct weir_ckpt_coordinator *coord)
{
    for (uint32_t i = 0; i < coord->ntasks; i++) {
        if (coord->tasks[i].is_source && !coord->tasks[i].ended) {
            return false;
        }
    }
    return true;
}

/* When the next may begin; INT64_MAX: not by time alone. */
static int64_t due_ms(const struct weir_ckpt_coordinator *coord)
{
    bool possible = coord->activity == ACTIVE && coord->phase == IDLE && !coord->last_done;
    for (uint32_t i = 0; possible && i < coord->ntasks; i++) {
        possible = coord->tasks[i].running;
    }
    if (!possible) {
        return INT64_MAX;
    }
    if (every_source_ended(coord)) {
        return coord->last_retry_ms;
    }
    return coord->next_ms > coord->pause_until_ms ? coord->next_ms : coord->pause_until_ms;
}

static void consider(struct weir_ckpt_coordinator *coord, struct weir_now now)
{
    if (due_ms(coord) > now.mono_ms) {
        return;
    }
    coord->phase = BEGINNING;
    coord->id = coord->last_id + 1; /* (K1) */
    coord->counts = true;
    coord->sources_ended = every_source_ended(coord);
    coord->began_mono_ms = now.mono_ms;
    coord->began_wall_ms = now.wall_ms;
    coord->next_ms = now.mono_ms + coord->settings.interval_ms;
    history_add(coord);
    emit_plain(coord, WEIR_CKPT_PROPOSE_BEGIN, now);
}

void weir_ckpt_coordinator_start(struct weir_ckpt_coordinator *coord, struct weir_now now)
{
    weir_assert(coord->activity == WAITING || coord->activity == PAUSED);
    coord->activity = ACTIVE;
    coord->next_ms = now.mono_ms + coord->settings.interval_ms;
    coord->pause_until_ms = now.mono_ms;
    for (int i = 0; i < NOTICES; i++) {
        tell(coord, &coord->notices[i], now);
    }
    consider(coord, now);
}

static void end_activity(struct weir_ckpt_coordinator *coord, enum activity to, const char *text, struct weir_now now)
{
    coord->activity = to;
    coord->counts = false;
    if (abortable(coord)) {
        abort_pending(coord, text, now);
    }
}

void weir_ckpt_coordinator_pause(struct weir_ckpt_coordinator *coord, const char *text, struct weir_now now)
{
    end_activity(coord, coord->activity == WAITING ? WAITING : PAUSED, text, now);
}

void weir_ckpt_coordinator_stop(struct weir_ckpt_coordinator *coord, const char *text, struct weir_now now)
{
    end_activity(coord, STOPPED, text, now);
}

/* --- tasks ------------------------------------------------------------------------------------------------------------ */
void weir_ckpt_coordinator_task(struct weir_ckpt_coordinator *coord, uint32_t task, bool running, bool ended, struct weir_now now)
{
    weir_assert(task < coord->ntasks);
    coord->tasks[task].running = running;
    coord->tasks[task].ended = coord->tasks[task].ended || ended;
    if (!running && !coord->tasks[task].acked && abortable(coord)) {
        abort_pending(coord, "a task ended without acknowledging it", now);
    }
    consider(coord, now);
}

enum weir_rc weir_ckpt_coordinator_ack(struct weir_ckpt_coordinator *coord, uint32_t attempt, uint64_t id, uint32_t task,
                                       const struct weir_ckpt_handle *handle, bool ended, struct weir_now now, struct weir_error *err)
{
    weir_assert(task < coord->ntasks);
    if (attempt != coord->attempt || id != coord->id || coord->phase != COLLECTING) {
        return weir_error_set(err, WEIR_STALE, "checkpoint %llu of attempt %u is not being taken", (unsigned long long)id, attempt);
    }
    if (coord->tasks[task].acked) {
        return WEIR_OK;
    }
    coord->tasks[task].acked = true;
    coord->tasks[task].acked_ended = ended;
    coord->handles[task] = *handle;
    coord->handles[task].path = weir_strdup(handle->path);
    coord->nacked++;
    coord->state_bytes += handle->state_bytes > handle->bytes ? handle->state_bytes : handle->bytes;
    struct weir_ckpt_view *view = history_pending(coord);
    weir_assert(view != NULL);
    view->acked = coord->nacked;
    view->state_bytes = coord->state_bytes;
    view->new_bytes += handle->state_bytes > handle->bytes ? handle->new_bytes : handle->bytes;
    view->latest_ack_ms = now.wall_ms;
    if (coord->nacked == coord->ntasks) {
        coord->phase = STORING;
        struct weir_ckpt_effect effect = effect_of(coord, WEIR_CKPT_STORE, now);
        effect.handles = coord->handles;
        effect.nhandles = coord->ntasks;
        effect.began_ms = coord->began_wall_ms;
        emit(coord, &effect);
    }
    return WEIR_OK;
}

void weir_ckpt_coordinator_decline(struct weir_ckpt_coordinator *coord, uint32_t attempt, uint64_t id, const char *text, struct weir_now now)
{
    if (attempt == coord->attempt && id == coord->id && coord->phase == COLLECTING) {
        abort_pending(coord, text, now);
    }
}

/* --- answers ---------------------------------------------------------------------------------------------------------- */
void weir_ckpt_coordinator_prepared(struct weir_ckpt_coordinator *coord, uint64_t id, enum weir_rc rc, const char *text, struct weir_now now)
{
    if (id != coord->id || coord->phase != PREPARING) {
        return;
    }
    if (rc != WEIR_OK) {
        abort_pending(coord, text, now);
        return;
    }
    coord->phase = COLLECTING;
    emit_plain(coord, WEIR_CKPT_TRIGGER, now);
}

void weir_ckpt_coordinator_trigger_failed(struct weir_ckpt_coordinator *coord, uint32_t attempt, uint64_t id, const char *text, struct weir_now now)
{
    weir_ckpt_coordinator_decline(coord, attempt, id, text, now);
}

static bool all_acked_ended(const struct weir_ckpt_coordinator *coord)
{
    for (uint32_t i = 0; i < coord->ntasks; i++) {
        if (!coord->tasks[i].acked_ended) {
            return false;
        }
    }
    return true;
}

void weir_ckpt_coordinator_stored(struct weir_ckpt_coordinator *coord, uint64_t id, enum weir_rc rc, const char *path, uint64_t bytes, uint64_t hash,
                                  const char *text, struct weir_now now)
{
    if (id != coord->id || coord->phase != STORING) {
        return;
    }
    if (rc != WEIR_OK) {
        abort_pending(coord, text, now);
        return;
    }
    weir_assert(coord->nacked == coord->ntasks); /* (K2) */
    coord->phase = COMPLETING;
    struct weir_ckpt_view *view = history_pending(coord);
    weir_assert(view != NULL);
    view->path = weir_strdup(path);
    struct weir_ckpt_effect effect = effect_of(coord, WEIR_CKPT_PROPOSE_COMPLETE, now);
    effect.path = path;
    effect.bytes = bytes;
    effect.hash = hash;
    effect.last = all_acked_ended(coord);
    effect.state_bytes = coord->state_bytes;
    effect.began_ms = coord->began_wall_ms;
    emit(coord, &effect);
}

void weir_ckpt_coordinator_notify_failed(struct weir_ckpt_coordinator *coord, uint32_t attempt, uint64_t id, struct weir_now now)
{
    for (int i = 0; i < NOTICES && repeats(coord); i++) {
        if (coord->notices[i].id == id && coord->notices[i].attempt == attempt) {
            coord->notices[i].again_ms = now.mono_ms + WEIR_CKPT_NOTIFY_REPEAT_MS;
        }
    }
}

/* --- the log ---------------------------------------------------------------------------------------------------------- */
void weir_ckpt_coordinator_begun(struct weir_ckpt_coordinator *coord, uint64_t id, struct weir_now now)
{
    weir_assert(id > coord->last_id); /* (K1) */
    weir_assert(id == coord->id && coord->phase == BEGINNING);
    coord->last_id = id;
    coord->phase = PREPARING;
    if (coord->doom != NULL) {
        char *text = coord->doom;
        coord->doom = NULL;
        abort_pending(coord, text, now);
        weir_free(text);
        return;
    }
    emit_plain(coord, WEIR_CKPT_PREPARE, now);
}

/* After either end: when the next may come. */
static void schedule(struct weir_ckpt_coordinator *coord, bool was_last_try, struct weir_now now)
{
    coord->pause_until_ms = now.mono_ms + coord->settings.min_pause_ms;
    if (was_last_try) {
        int64_t wait_ms = coord->settings.interval_ms < WEIR_CKPT_LAST_RETRY_MS ? coord->settings.interval_ms : WEIR_CKPT_LAST_RETRY_MS;
        coord->last_retry_ms = now.mono_ms + wait_ms;
    }
}

void weir_ckpt_coordinator_completed(struct weir_ckpt_coordinator *coord, uint64_t id, struct weir_now now)
{
    weir_assert(id == coord->id && coord->phase == COMPLETING); /* (K2) */
    struct weir_ckpt_view *view = history_pending(coord);
    weir_assert(view != NULL);
    view->status = WEIR_CKPT_COMPLETED;
    view->ended_ms = now.wall_ms;
    view->last = all_acked_ended(coord);
    view_copy(&coord->latest_completed, view);
    coord->view.completed++;
    coord->failures = 0;
    coord->last_done = view->last;
    coord->notices[COMPLETED_NOTICE] = 
        (struct notice){.id = id, .attempt = coord->attempt, .completed = true, .last = view->last, .again_ms = INT64_MAX};
    bool last_try = coord->sources_ended;
    clear_pending(coord);
    schedule(coord, last_try, now);
    tell(coord, &coord->notices[COMPLETED_NOTICE], now);
    consider(coord, now);
}

void weir_ckpt_coordinator_aborted(struct weir_ckpt_coordinator *coord, uint64_t id, struct weir_now now)
{
    weir_assert(id == coord->id && coord->phase == ABORTING);
    struct weir_ckpt_view *view = history_pending(coord);
    char *text = weir_strdup(view == NULL ? "" : view->failure);
    bool last_try = coord->sources_ended;
    coord->failures += coord->counts;
    history_failed(coord, text, now);
    clear_pending(coord);
    coord->notices[ABORTED_NOTICE] = (struct notice){.id = id, .attempt = coord->attempt, .again_ms = INT64_MAX};
    schedule(coord, last_try, now);
    tell(coord, &coord->notices[ABORTED_NOTICE], now);
    if (coord->failures > coord->settings.failures_max && coord->activity == ACTIVE) {
        struct weir_error why;
        (void)weir_error_set(&why, WEIR_LIMIT,
                             "checkpoint %llu failed: %s (%lld failed in a row, execution.checkpointing.tolerable-failed-checkpoints is %lld)",
                             (unsigned long long)id, text, (long long)coord->failures, (long long)coord->settings.failures_max);
        struct weir_ckpt_effect effect = effect_of(coord, WEIR_CKPT_FAIL, now);
        effect.text = why.text;
        emit(coord, &effect);
    }
    weir_free(text);
    consider(coord, now);
}

/* --- time ------------------------------------------------------------------------------------------------------------- */
static int64_t timeout_at_ms(const struct weir_ckpt_coordinator *coord)
{
    bool waits = coord->phase == PREPARING || coord->phase == COLLECTING || coord->phase == STORING; /* (K3) */
    return waits && coord->settings.timeout_ms > 0 ? coord->began_mono_ms + coord->settings.timeout_ms : INT64_MAX;
}

void weir_ckpt_coordinator_tick(struct weir_ckpt_coordinator *coord, struct weir_now now)
{
    if (timeout_at_ms(coord) <= now.mono_ms) {
        struct weir_error why;
        (void)weir_error_set(&why, WEIR_TIMEOUT, "it took longer than execution.checkpointing.timeout: %u of %u tasks have acknowledged",
                             coord->nacked, coord->ntasks);
        abort_pending(coord, why.text, now);
    }
    for (int i = 0; i < NOTICES; i++) {
        if (coord->notices[i].again_ms <= now.mono_ms && repeats(coord)) {
            tell(coord, &coord->notices[i], now);
        }
    }
    consider(coord, now);
}

int64_t weir_ckpt_coordinator_deadline_ms(const struct weir_ckpt_coordinator *coord)
{
    int64_t deadline = due_ms(coord);
    int64_t timeout = timeout_at_ms(coord);
    deadline = timeout < deadline ? timeout : deadline;
    for (int i = 0; i < NOTICES && repeats(coord); i++) {
        bool waits = coord->notices[i].id != 0;
        deadline = waits && coord->notices[i].again_ms < deadline ? coord->notices[i].again_ms : deadline;
    }
    return deadline;
}

const struct weir_ckpts_view *weir_ckpt_coordinator_view(struct weir_ckpt_coordinator *coord)
{
    coord->view.history = coord->history;
    coord->view.nhistory = coord->nhistory;
    coord->view.latest_completed = coord->latest_completed.id == 0 ? NULL : &coord->latest_completed;
    coord->view.latest_failed = coord->latest_failed.id == 0 ? NULL : &coord->latest_failed;
    coord->view.latest_restored = coord->latest_restored.id == 0 ? NULL : &coord->latest_restored;
    coord->view.retained_max = coord->settings.retained_max;
    return &coord->view;
}
