#include "taskmanager/tm_fence.h"

#include "common/base/mem.h"
#include "common/base/vec.h"

#include <string.h>

#define NS_PER_MS INT64_C(1000000)

struct entry {
    struct weir_fence *fence;
    char *job_id;
    uint32_t region, attempt;
    int64_t until_boot_ns;
    bool paused;
    int64_t ask_at_boot_ns; /* paused: not before */
};

struct weir_tm_fences {
    struct weir_tm_fences_options options;
    struct entry *entries;
    size_t count, cap;
    int64_t until_boot_ns; /* by what leaders have answered */
    struct weir_timer timer;
    uint32_t resumed; /* since the first of those that are paused now was */
};

struct weir_tm_fence_question {
    struct weir_tm_fences *fences;
    struct weir_fence *fence; /* names the attempt; a reference */
    int64_t asked_boot_ns;
};

static int64_t now_boot_ns(const struct weir_tm_fences *fences)
{
    return weir_clock_boot_ns(fences->options.clock);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static struct weir_tm_fence_of of_entry(const struct entry *entry)
{
    return (struct weir_tm_fence_of){.job_id = entry->job_id, .region = entry->region, .attempt = entry->attempt};
}

static struct entry *find(struct weir_tm_fences *fences, const struct weir_fence *fence)
{
    for (size_t i = 0; i < fences->count; i++) {
        if (fences->entries[i].fence == fence) {
            return &fences->entries[i];
        }
    }
    return NULL;
}

static uint32_t count_paused(const struct weir_tm_fences *fences)
{
    uint32_t paused = 0;
    for (size_t i = 0; i < fences->count; i++) {
        paused += fences->entries[i].paused;
    }
    return paused;
}

/* Those whose time has run out. Whoever moves a fence forward calls this first: what is closed opens by F2 only. */
static void pause_overdue(struct weir_tm_fences *fences)
{
    int64_t now_ns = now_boot_ns(fences);
    uint32_t before = count_paused(fences);
    uint32_t paused = 0;
    for (size_t i = 0; i < fences->count; i++) {
        struct entry *entry = &fences->entries[i];
        if (!entry->paused && now_ns >= entry->until_boot_ns) {
            entry->paused = true;
            entry->ask_at_boot_ns = now_ns;
            paused++;
        }
    }
    if (paused > 0) {
        fences->resumed = before > 0 ? fences->resumed : 0;
        weir_log(fences->options.log, WEIR_LOG_WARN, "tasks_paused", "attempts", WEIR_LOG_INT(paused), "why",
                 "no leading JobManager has answered for cluster.fencing.timeout; they keep their state and go on when one knows them", NULL);
    }
}

static void log_settled(struct weir_tm_fences *fences)
{
    if (fences->resumed > 0 && count_paused(fences) == 0) {
        weir_log(fences->options.log, WEIR_LOG_INFO, "tasks_resumed", "attempts", WEIR_LOG_INT(fences->resumed), NULL);
        fences->resumed = 0;
    }
}

static void ask(struct weir_tm_fences *fences, struct entry *entry, int64_t now_ns)
{
    struct weir_tm_fence_question *question = weir_calloc(1, sizeof(*question));
    *question = (struct weir_tm_fence_question){.fences = fences, .fence = weir_fence_ref(entry->fence), .asked_boot_ns = now_ns};
    entry->ask_at_boot_ns = now_ns + WEIR_TM_FENCE_PATIENCE_MS * NS_PER_MS;
    struct weir_tm_fence_of of = of_entry(entry);
    fences->options.ask(fences->options.ctx, &of, question);
}

/* Pauses, asks, and comes back when there is more to do. The timer is on another clock, which may be late but not early. */
static void step(struct weir_tm_fences *fences)
{
    pause_overdue(fences);
    int64_t now_ns = now_boot_ns(fences);
    int64_t next_ns = WEIR_FENCE_NEVER;
    for (size_t i = 0; i < fences->count; i++) { /* an answer at once is none that removes an entry: nobody was asked */
        struct entry *entry = &fences->entries[i];
        if (entry->paused && now_ns >= entry->ask_at_boot_ns) {
            ask(fences, entry, now_ns);
        }
        int64_t at_ns = entry->paused ? entry->ask_at_boot_ns : entry->until_boot_ns;
        next_ns = at_ns < next_ns ? at_ns : next_ns;
    }
    if (next_ns == WEIR_FENCE_NEVER) {
        weir_timers_cancel(fences->options.timers, &fences->timer);
    } else {
        int64_t left_ns = later(next_ns - now_ns, NS_PER_MS);
        weir_timers_add(fences->options.timers, &fences->timer, weir_clock_mono_ns(fences->options.clock) + left_ns);
    }
}

static void look(void *ctx)
{
    step(ctx);
}

struct weir_tm_fences *weir_tm_fences_create(const struct weir_tm_fences_options *options)
{
    struct weir_tm_fences *fences = weir_calloc(1, sizeof(*fences));
    fences->options = *options;
    fences->until_boot_ns = options->timeout_ms == 0 ? WEIR_FENCE_NEVER : INT64_MIN;
    fences->timer = (struct weir_timer){.fire = look, .ctx = fences};
    return fences;
}

static void entry_fini(struct entry *entry)
{
    weir_fence_unref(entry->fence);
    weir_free(entry->job_id);
}

void weir_tm_fences_destroy(struct weir_tm_fences *fences)
{
    if (fences == NULL) {
        return;
    }
    for (size_t i = 0; i < fences->count; i++) {
        entry_fini(&fences->entries[i]);
    }
    weir_timers_cancel(fences->options.timers, &fences->timer);
    weir_free(fences->entries);
    weir_free(fences);
}

struct weir_fence *weir_tm_fences_add(struct weir_tm_fences *fences, const struct weir_tm_fence_of *of)
{
    fences->entries = weir_vec_grow(fences->entries, &fences->cap, sizeof(*fences->entries), fences->count + 1);
    struct weir_fence *fence = weir_fence_create(fences->options.clock, fences->until_boot_ns);
    fences->entries[fences->count++] = (struct entry){
        .fence = weir_fence_ref(fence),
        .job_id = weir_strdup(of->job_id),
        .region = of->region,
        .attempt = of->attempt,
        .until_boot_ns = fences->until_boot_ns,
    };
    step(fences);
    return fence;
}

void weir_tm_fences_remove(struct weir_tm_fences *fences, const struct weir_fence *fence)
{
    struct entry *entry = find(fences, fence);
    if (entry != NULL) {
        entry_fini(entry);
        *entry = fences->entries[--fences->count];
        log_settled(fences);
    }
}

void weir_tm_fences_heard(struct weir_tm_fences *fences, int64_t sent_boot_ns)
{
    if (fences->options.timeout_ms == 0) {
        return;
    }
    pause_overdue(fences);
    fences->until_boot_ns = later(fences->until_boot_ns, sent_boot_ns + fences->options.timeout_ms * NS_PER_MS);
    for (size_t i = 0; i < fences->count; i++) {
        struct entry *entry = &fences->entries[i];
        if (!entry->paused && fences->until_boot_ns > entry->until_boot_ns) {
            entry->until_boot_ns = fences->until_boot_ns;
            weir_fence_set(entry->fence, entry->until_boot_ns);
        }
    }
    step(fences);
}

/* It was the present one at some moment after the question. */
static void resume(struct weir_tm_fences *fences, struct entry *entry, int64_t asked_boot_ns)
{
    int64_t until_boot_ns = later(fences->until_boot_ns, asked_boot_ns + fences->options.timeout_ms * NS_PER_MS);
    if (now_boot_ns(fences) >= until_boot_ns) {
        return; /* the answer took too long */
    }
    struct weir_tm_fence_of of = of_entry(entry);
    entry->paused = false;
    entry->until_boot_ns = until_boot_ns;
    weir_fence_set(entry->fence, until_boot_ns);
    fences->resumed++;
    fences->options.on_resumed(fences->options.ctx, &of);
    log_settled(fences);
}

static void replaced(struct weir_tm_fences *fences, const struct entry *entry, const char *why)
{
    char *job_id = weir_strdup(entry->job_id); /* the entry may go */
    struct weir_tm_fence_of of = of_entry(entry);
    of.job_id = job_id;
    weir_log(fences->options.log, WEIR_LOG_WARN, "paused_attempt_canceled", "job", job_id, "attempt", WEIR_LOG_INT(of.attempt), "why", why, NULL);
    fences->options.on_replaced(fences->options.ctx, &of);
    weir_free(job_id);
}

void weir_tm_fences_answer(struct weir_tm_fence_question *question, enum weir_rc rc, const char *text)
{
    struct weir_tm_fences *fences = question->fences;
    struct weir_fence *fence = question->fence;
    struct entry *entry = rc == WEIR_CANCELED ? NULL : find(fences, fence);
    if (entry != NULL && entry->paused) {
        entry->ask_at_boot_ns = now_boot_ns(fences) + WEIR_TM_FENCE_ASK_MS * NS_PER_MS;
        if (rc == WEIR_OK) {
            resume(fences, entry, question->asked_boot_ns);
        } else if (rc == WEIR_STALE) {
            replaced(fences, entry, text);
        }
    }
    weir_fence_unref(fence);
    weir_free(question);
    if (rc == WEIR_OK || rc == WEIR_STALE) {
        step(fences); /* not from within a step, in which nobody can know */
    }
}
