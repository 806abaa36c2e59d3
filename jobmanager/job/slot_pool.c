#include "jobmanager/job/slot_pool.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "jobmanager/job/placement.h"

void weir_slot_pool_count(struct weir_tm_registry *tms, struct weir_job *const *jobs, size_t njobs)
{
    for (uint32_t i = 0; i < weir_tm_registry_count(tms); i++) {
        weir_tm_registry_at(tms, i)->slots_used = 0;
    }
    for (size_t i = 0; i < njobs; i++) {
        const char *const *tm_ids = NULL;
        uint32_t nslots = weir_job_held_slots(jobs[i], &tm_ids);
        for (uint32_t s = 0; s < nslots; s++) {
            struct weir_tm_entry *tm = weir_tm_registry_find(tms, tm_ids[s]);
            if (tm != NULL) {
                tm->slots_used++;
            }
        }
    }
}

char *weir_slot_pool_host_copy(const char *address)
{
    const char *colon = strrchr(address, ':');
    return weir_strndup(address, colon == NULL ? strlen(address) : (size_t)(colon - address));
}

static uint32_t free_slots(struct weir_tm_registry *tms, uint64_t *out_total)
{
    uint64_t available = 0;
    *out_total = 0;
    for (uint32_t i = 0; i < weir_tm_registry_count(tms); i++) {
        const struct weir_tm_entry *tm = weir_tm_registry_at(tms, i);
        *out_total += tm->info.slots;
        available += tm->slots_used < tm->info.slots ? tm->info.slots - tm->slots_used : 0;
    }
    return available < UINT32_MAX ? (uint32_t)available : UINT32_MAX;
}

/* slots are free; the job asks for wanted: what drains may have several in one. */
static void give(struct weir_tm_registry *tms, struct weir_job *job, uint32_t slots, uint32_t wanted)
{
    uint32_t ntms = weir_tm_registry_count(tms);
    struct weir_placement_tm *from = weir_calloc(ntms, sizeof(*from));
    char **hosts = weir_calloc(ntms, sizeof(*hosts));
    struct weir_placement_home *homes = weir_calloc(wanted, sizeof(*homes));
    uint32_t *chosen = weir_calloc(slots, sizeof(*chosen));
    const char **tm_ids = weir_calloc(wanted, sizeof(*tm_ids));
    for (uint32_t i = 0; i < ntms; i++) {
        const struct weir_tm_entry *tm = weir_tm_registry_at(tms, i);
        hosts[i] = weir_slot_pool_host_copy(tm->info.data_address);
        from[i] = (struct weir_placement_tm){.slots = tm->info.slots, .used = tm->slots_used, .id = tm->info.id, .host = hosts[i]};
    }
    weir_job_wanted_homes(job, homes, wanted);
    bool chose = weir_placement_choose(from, ntms, slots, homes, chosen);
    weir_assert(chose);
    for (uint32_t s = 0; s < wanted; s++) {
        tm_ids[s] = weir_tm_registry_at(tms, chosen[s % slots])->info.id;
    }
    weir_job_place(job, tm_ids, wanted);
    for (uint32_t i = 0; i < ntms; i++) {
        weir_free(hosts[i]);
    }
    weir_free(tm_ids);
    weir_free(chosen);
    weir_free(homes);
    weir_free(hosts);
    weir_free(from);
}

static void place(struct weir_tm_registry *tms, struct weir_job *const *jobs, size_t njobs, struct weir_job *job, uint32_t wanted, struct weir_now now)
{
    uint64_t total = 0;
    weir_slot_pool_count(tms, jobs, njobs);
    uint32_t available = free_slots(tms, &total);
    bool enough = available >= wanted;
    if (!enough && !weir_job_settles_for(job, available, now)) {
        uint32_t ntms = weir_tm_registry_count(tms);
        struct weir_error why;
        (void)weir_error_set(&why, WEIR_RESOURCE, "%u slot%s needed, %u free of %llu on %u TaskManager%s", wanted, wanted == 1 ? "" : "s", available,
                             (unsigned long long)total, ntms, ntms == 1 ? "" : "s");
        weir_job_set_unplaced(job, why.text);
        return;
    }
    uint32_t slots = enough ? wanted : available;
    if (weir_job_drains_first(job, slots)) {
        wanted = weir_job_drain_slots(job);
        slots = wanted < available ? wanted : available;
    }
    give(tms, job, slots, weir_job_drains_now(job) ? wanted : slots);
}

static void place_some(struct weir_tm_registry *tms, struct weir_job *const *jobs, size_t njobs, bool ending, struct weir_now now)
{
    for (size_t i = 0; i < njobs; i++) {
        bool ends = weir_job_state(jobs[i]) == WEIR_JOB_CANCELLING || weir_job_state(jobs[i]) == WEIR_JOB_FAILING;
        uint32_t slots = 0;
        if (ends == ending && weir_job_wants_slots(jobs[i], now, &slots)) {
            place(tms, jobs, njobs, jobs[i], slots, now);
        }
    }
}

void weir_slot_pool_place(struct weir_tm_registry *tms, struct weir_job *const *jobs, size_t njobs, struct weir_now now)
{
    place_some(tms, jobs, njobs, true, now);
    place_some(tms, jobs, njobs, false, now);
}

void weir_slot_pool_offer(struct weir_tm_registry *tms, struct weir_job *const *jobs, size_t njobs, struct weir_now now)
{
    uint64_t total = 0;
    weir_slot_pool_count(tms, jobs, njobs);
    uint32_t spare = free_slots(tms, &total);
    for (size_t i = 0; i < njobs; i++) {
        uint32_t slots = 0;
        spare = weir_job_wants_slots(jobs[i], now, &slots) ? 0 : spare;
    }
    for (size_t i = 0; i < njobs; i++) {
        spare -= weir_job_offer(jobs[i], spare, now);
    }
}
