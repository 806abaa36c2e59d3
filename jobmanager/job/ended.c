#include "jobmanager/job/ended.h"

#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/heap.h"
#include "common/base/hmap.h"
#include "common/base/list.h"
#include "common/base/mem.h"

struct ended_job {
    char id[WEIR_JOB_ID_TEXT + 1];
    int64_t ended_ms; /* wall */
    int64_t known_ms; /* monotonic */
    bool forgetting, dropped; /* dropped: as far as it depends on this */
    bool sweeping;
    struct weir_heap_node by_end, by_knowledge; /* unless forgetting */
    struct weir_list to_sweep;
};

struct weir_ended {
    struct weir_ended_settings settings;
    struct weir_now began;
    struct weir_hmap *jobs;
    struct weir_heap by_end, by_knowledge;
    struct weir_list to_sweep; /* first come, first served */
    uint32_t nforgetting, nsweeping;
};

static bool ended_before(const struct weir_heap_node *a, const struct weir_heap_node *b)
{
    return WEIR_CONTAINER_OF(a, struct ended_job, by_end)->ended_ms < WEIR_CONTAINER_OF(b, struct ended_job, by_end)->ended_ms;
}

static bool known_before(const struct weir_heap_node *a, const struct weir_heap_node *b)
{
    const struct ended_job *x = WEIR_CONTAINER_OF(a, struct ended_job, by_knowledge);
    const struct ended_job *y = WEIR_CONTAINER_OF(b, struct ended_job, by_knowledge);
    return x->known_ms != y->known_ms ? x->known_ms < y->known_ms : x->ended_ms < y->ended_ms;
}

struct weir_ended *weir_ended_create(const struct weir_ended_settings *settings)
{
    struct weir_ended *ended = weir_calloc(1, sizeof(*ended));
    ended->settings = *settings;
    ended->jobs = weir_hmap_create(0);
    weir_heap_init(&ended->by_end, ended_before);
    weir_heap_init(&ended->by_knowledge, known_before);
    weir_list_init(&ended->to_sweep);
    return ended;
}

/* --- the table -------------------------------------------------------------------------------------------------------- */
static void unlink_job(struct weir_ended *ended, struct ended_job *job)
{
    if (!job->forgetting) {
        weir_heap_remove(&ended->by_end, &job->by_end);
        weir_heap_remove(&ended->by_knowledge, &job->by_knowledge);
    }
}

static void queue_sweep(struct weir_ended *ended, struct ended_job *job)
{
    if (!weir_list_linked(&job->to_sweep)) {
        weir_list_push_back(&ended->to_sweep, &job->to_sweep);
    }
}

static void remove_job(struct weir_ended *ended, struct ended_job *job)
{
    void *removed = weir_hmap_remove(ended->jobs, weir_slice_str(job->id));
    weir_assert(removed == job);
    unlink_job(ended, job);
    weir_list_remove(&job->to_sweep);
    ended->nforgetting -= job->forgetting;
    ended->nsweeping -= job->sweeping;
    weir_free(job);
}

void weir_ended_begin(struct weir_ended *ended, struct weir_now now)
{
    struct weir_hmap_iter it = {0};
    while (weir_hmap_next(ended->jobs, &it)) {
        remove_job(ended, it.value);
    }
    ended->began = now;
}

void weir_ended_destroy(struct weir_ended *ended)
{
    if (ended != NULL) {
        weir_ended_begin(ended, (struct weir_now){0});
        weir_hmap_destroy(ended->jobs);
        weir_heap_fini(&ended->by_end);
        weir_heap_fini(&ended->by_knowledge);
        weir_free(ended);
    }
}

void weir_ended_add(struct weir_ended *ended, const char *job_id, int64_t ended_ms, struct weir_now now)
{
    struct ended_job *job = weir_calloc(1, sizeof(*job));
    (void)snprintf(job->id, sizeof(job->id), "%s", job_id);
    job->ended_ms = ended_ms;
    job->known_ms = now.mono_ms;
    void *replaced = weir_hmap_put(ended->jobs, weir_slice_str(job_id), job);
    weir_assert(replaced == NULL);
    weir_heap_push(&ended->by_end, &job->by_end);
    weir_heap_push(&ended->by_knowledge, &job->by_knowledge);
    queue_sweep(ended, job);
}

void weir_ended_remove(struct weir_ended *ended, const char *job_id)
{
    struct ended_job *job = weir_hmap_get(ended->jobs, weir_slice_str(job_id));
    if (job != NULL) {
        remove_job(ended, job);
    }
}

uint32_t weir_ended_count(const struct weir_ended *ended)
{
    return (uint32_t)weir_hmap_count(ended->jobs);
}

uint32_t weir_ended_forgetting(const struct weir_ended *ended)
{
    return ended->nforgetting;
}

/* --- which is next ---------------------------------------------------------------------------------------------------- */
int64_t weir_ended_hold_ms(const struct weir_ended *ended)
{
    return ended->settings.expiration_ms < ended->settings.hold_ms ? ended->settings.expiration_ms : ended->settings.hold_ms;
}

/* (D4) */
static int64_t expires_in_ms(const struct weir_ended *ended, const struct ended_job *job, struct weir_now now)
{
    int64_t led_ms = now.mono_ms - ended->began.mono_ms;
    int64_t wall_ms = ended->began.wall_ms + led_ms < now.wall_ms ? ended->began.wall_ms + led_ms : now.wall_ms;
    int64_t left_ms = ended->settings.expiration_ms - (wall_ms - job->ended_ms);
    int64_t held_ms = weir_ended_hold_ms(ended) - (now.mono_ms - job->known_ms); /* its end may be stamped by a clock that stood back */
    left_ms = held_ms > left_ms ? held_ms : left_ms;
    return left_ms > 0 ? left_ms : 0;
}

static bool crowded(const struct weir_ended *ended, uint32_t jobs)
{
    return jobs - ended->nforgetting >= ended->settings.jobs_max - ended->settings.jobs_max / 10;
}

/* The job that is to be forgotten before all others, when all stays as it is, and when (monotonic); NULL: none. */
static struct ended_job *next_job(const struct weir_ended *ended, uint32_t jobs, struct weir_now now, int64_t *out_at_ms)
{
    const struct weir_heap_node *node = ended->nforgetting < WEIR_ENDED_FORGETTING_MAX ? weir_heap_peek(&ended->by_end) : NULL;
    if (node == NULL) {
        return NULL;
    }
    struct ended_job *next = WEIR_CONTAINER_OF(node, struct ended_job, by_end);
    *out_at_ms = now.mono_ms + expires_in_ms(ended, next, now);
    struct ended_job *early = WEIR_CONTAINER_OF(weir_heap_peek(&ended->by_knowledge), struct ended_job, by_knowledge);
    int64_t early_at_ms = early->known_ms + weir_ended_hold_ms(ended);
    if (crowded(ended, jobs) && early_at_ms < *out_at_ms) {
        *out_at_ms = early_at_ms;
        next = early;
    }
    return next;
}

bool weir_ended_forget(struct weir_ended *ended, uint32_t jobs, struct weir_now now)
{
    int64_t at_ms = 0;
    struct ended_job *job = next_job(ended, jobs, now, &at_ms);
    if (job == NULL || at_ms > now.mono_ms) {
        return false;
    }
    unlink_job(ended, job);
    job->forgetting = true;
    ended->nforgetting++;
    queue_sweep(ended, job);
    return true;
}

int64_t weir_ended_deadline_ms(const struct weir_ended *ended, uint32_t jobs, struct weir_now now)
{
    int64_t at_ms = 0;
    return next_job(ended, jobs, now, &at_ms) == NULL ? INT64_MAX : at_ms;
}

/* --- sweeps ----------------------------------------------------------------------------------------------------------- */
void weir_ended_leave(struct weir_ended *ended, struct weir_slice job_id)
{
    struct ended_job *job = weir_hmap_get(ended->jobs, job_id);
    if (job != NULL) {
        queue_sweep(ended, job);
    }
}

const char *weir_ended_sweep(struct weir_ended *ended)
{
    for (struct weir_list *node = weir_list_first(&ended->to_sweep); node != NULL && ended->nsweeping < WEIR_ENDED_SWEEPS_MAX;
         node = weir_list_next(&ended->to_sweep, node)) {
        struct ended_job *job = WEIR_CONTAINER_OF(node, struct ended_job, to_sweep);
        if (!job->sweeping) {
            weir_list_remove(node);
            job->sweeping = true;
            ended->nsweeping++;
            return job->id;
        }
    }
    return NULL;
}

bool weir_ended_swept(struct weir_ended *ended, struct weir_slice job_id)
{
    struct ended_job *job = weir_hmap_get(ended->jobs, job_id);
    if (job == NULL || !job->sweeping) {
        return false;
    }
    job->sweeping = false;
    ended->nsweeping--;
    bool drop = job->forgetting && !job->dropped && !weir_list_linked(&job->to_sweep);
    job->dropped = job->dropped || drop;
    return drop;
}
