#include "jobmanager/cluster/tm_registry.h"

#include "common/base/assert.h"
#include "common/base/hmap.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

struct weir_tm_registry {
    int64_t heartbeat_timeout_ms;
    struct weir_hmap *by_id;
    struct weir_tm_entry **tms;
    size_t ntms, tms_cap;
    char **expelled; /* a ring */
    size_t nexpelled;
    int64_t back_by_ms; /* (T4); in the past: this process was not away */
};

struct weir_tm_registry *weir_tm_registry_create(int64_t heartbeat_timeout_ms)
{
    weir_assert(heartbeat_timeout_ms > 0);
    struct weir_tm_registry *registry = weir_calloc(1, sizeof(*registry));
    registry->heartbeat_timeout_ms = heartbeat_timeout_ms;
    registry->by_id = weir_hmap_create(0);
    registry->expelled = weir_calloc(WEIR_TM_EXPELLED_MAX, sizeof(*registry->expelled));
    return registry;
}

static void info_fini(struct weir_tm_info *info)
{
    weir_free((void *)(uintptr_t)info->id);
    weir_free((void *)(uintptr_t)info->rpc_address);
    weir_free((void *)(uintptr_t)info->data_address);
    weir_free((void *)(uintptr_t)info->version);
}

static struct weir_tm_info info_copy(const struct weir_tm_info *from)
{
    struct weir_tm_info info = *from;
    info.id = weir_strdup(from->id);
    info.rpc_address = weir_strdup(from->rpc_address);
    info.data_address = weir_strdup(from->data_address);
    info.version = weir_strdup(from->version);
    return info;
}

void weir_tm_entry_destroy(struct weir_tm_entry *tm)
{
    if (tm != NULL) {
        info_fini(&tm->info);
        weir_free(tm);
    }
}

void weir_tm_registry_destroy(struct weir_tm_registry *registry)
{
    if (registry == NULL) {
        return;
    }
    for (size_t i = 0; i < registry->ntms; i++) {
        weir_tm_entry_destroy(registry->tms[i]);
    }
    for (size_t i = 0; i < WEIR_TM_EXPELLED_MAX; i++) {
        weir_free(registry->expelled[i]);
    }
    weir_free(registry->expelled);
    weir_free(registry->tms);
    weir_hmap_destroy(registry->by_id);
    weir_free(registry);
}

static enum weir_rc check_info(const struct weir_tm_registry *registry, const struct weir_tm_info *info, struct weir_error *err)
{
    if (info->id[0] == '\0' || strlen(info->id) > WEIR_NAME_MAX) {
        return weir_error_set(err, WEIR_INVALID, "a TaskManager's id has 1 to %d bytes, not %zu", WEIR_NAME_MAX, strlen(info->id));
    }
    if (info->rpc_address[0] == '\0' || strlen(info->rpc_address) > WEIR_NAME_MAX || info->data_address[0] == '\0' ||
        strlen(info->data_address) > WEIR_NAME_MAX || strlen(info->version) > WEIR_NAME_MAX) {
        return weir_error_set(err, WEIR_INVALID, "TaskManager %s: no usable address or version", info->id);
    }
    if (info->slots == 0 || info->slots > WEIR_TM_SLOTS_MAX) {
        return weir_error_set(err, WEIR_INVALID, "TaskManager %s offers %u slots: 1 to %d are possible", info->id, info->slots, WEIR_TM_SLOTS_MAX);
    }
    for (size_t i = 0; i < WEIR_TM_EXPELLED_MAX && registry->expelled[i] != NULL; i++) {
        if (strcmp(registry->expelled[i], info->id) == 0) {
            return weir_error_set(err, WEIR_STALE, "TaskManager %s was expelled because it did not end its tasks: start it anew", info->id);
        }
    }
    return WEIR_OK;
}

static void heard(const struct weir_tm_registry *registry, struct weir_tm_entry *tm, int64_t now_ms)
{
    tm->heartbeat_deadline_ms = now_ms + registry->heartbeat_timeout_ms;
    tm->grace_deadline_ms = INT64_MAX;
}

/* Until when who is missed after that may come back. */
static int64_t back_by(const struct weir_tm_registry *registry, int64_t away_ms, int64_t now_ms)
{
    int64_t most_ms = registry->heartbeat_timeout_ms / 2;
    return away_ms <= WEIR_TM_GRACE_MS ? now_ms : now_ms + (away_ms < most_ms ? away_ms : most_ms);
}

int64_t weir_tm_registry_put_off(const struct weir_tm_registry *registry, int64_t deadline_ms, int64_t away_ms, int64_t now_ms)
{
    if (deadline_ms == INT64_MAX) {
        return INT64_MAX;
    }
    int64_t least_ms = back_by(registry, away_ms, now_ms);
    return deadline_ms + away_ms > least_ms ? deadline_ms + away_ms : least_ms;
}

void weir_tm_registry_was_away(struct weir_tm_registry *registry, int64_t away_ms, int64_t now_ms)
{
    int64_t back_by_ms = back_by(registry, away_ms, now_ms);
    registry->back_by_ms = back_by_ms > registry->back_by_ms ? back_by_ms : registry->back_by_ms;
    for (size_t i = 0; i < registry->ntms; i++) {
        struct weir_tm_entry *tm = registry->tms[i];
        tm->heartbeat_deadline_ms = weir_tm_registry_put_off(registry, tm->heartbeat_deadline_ms, away_ms, now_ms);
        tm->grace_deadline_ms = weir_tm_registry_put_off(registry, tm->grace_deadline_ms, away_ms, now_ms);
    }
}

enum weir_rc weir_tm_registry_register(struct weir_tm_registry *registry, const struct weir_tm_info *info, int64_t now_ms, int64_t wall_ms,
                                       struct weir_tm_entry **out_tm, bool *out_new, struct weir_error *err)
{
    enum weir_rc rc = check_info(registry, info, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_tm_entry *tm = weir_tm_registry_find(registry, info->id);
    bool added = tm == NULL;
    if (added && registry->ntms == WEIR_TM_MAX) {
        return weir_error_set(err, WEIR_LIMIT, "there are %d TaskManagers already", WEIR_TM_MAX);
    }
    if (added) {
        tm = weir_calloc(1, sizeof(*tm));
        tm->info = info_copy(info);
        registry->tms = weir_vec_grow(registry->tms, &registry->tms_cap, sizeof(*registry->tms), registry->ntms + 1);
        registry->tms[registry->ntms++] = tm;
        void *replaced = weir_hmap_put(registry->by_id, weir_slice_str(info->id), tm);
        weir_assert(replaced == NULL);
    } else {
        struct weir_tm_info old = tm->info;
        tm->info = info_copy(info);
        info_fini(&old);
    }
    tm->last_heartbeat_wall_ms = wall_ms;
    heard(registry, tm, now_ms);
    *out_tm = tm;
    *out_new = added;
    return WEIR_OK;
}

enum weir_rc weir_tm_registry_heartbeat(struct weir_tm_registry *registry, const char *id, uint64_t memory_used_bytes, int64_t now_ms,
                                        int64_t wall_ms, struct weir_error *err)
{
    struct weir_tm_entry *tm = weir_tm_registry_find(registry, id);
    if (tm == NULL) {
        return weir_error_set(err, WEIR_NOT_FOUND, "TaskManager %s is not registered", id);
    }
    tm->memory_used_bytes = memory_used_bytes;
    tm->last_heartbeat_wall_ms = wall_ms;
    heard(registry, tm, now_ms);
    return WEIR_OK;
}

void weir_tm_registry_closed(struct weir_tm_registry *registry, const char *id, int64_t now_ms)
{
    struct weir_tm_entry *tm = weir_tm_registry_find(registry, id);
    if (tm != NULL && tm->grace_deadline_ms == INT64_MAX) {
        int64_t soon_ms = now_ms + WEIR_TM_GRACE_MS;
        tm->grace_deadline_ms = registry->back_by_ms > soon_ms ? registry->back_by_ms : soon_ms;
    }
}

static void take_out(struct weir_tm_registry *registry, size_t i)
{
    void *removed = weir_hmap_remove(registry->by_id, weir_slice_str(registry->tms[i]->info.id));
    weir_assert(removed == registry->tms[i]);
    memmove(&registry->tms[i], &registry->tms[i + 1], (registry->ntms - i - 1) * sizeof(registry->tms[0]));
    registry->ntms--;
}

struct weir_tm_entry *weir_tm_registry_take_lost(struct weir_tm_registry *registry, int64_t now_ms, const char **out_why)
{
    for (size_t i = 0; i < registry->ntms; i++) {
        struct weir_tm_entry *tm = registry->tms[i];
        bool silent = tm->heartbeat_deadline_ms <= now_ms;
        if (silent || tm->grace_deadline_ms <= now_ms) {
            take_out(registry, i);
            *out_why = silent ? "no heartbeat came within heartbeat.timeout" : "its connection closed and it did not come back: the process is gone";
            return tm;
        }
    }
    return NULL;
}

struct weir_tm_entry *weir_tm_registry_remove(struct weir_tm_registry *registry, const char *id, bool expel)
{
    struct weir_tm_entry *tm = weir_tm_registry_find(registry, id);
    if (tm == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < registry->ntms; i++) {
        if (registry->tms[i] == tm) {
            take_out(registry, i);
            break;
        }
    }
    if (expel) {
        size_t place = registry->nexpelled++ % WEIR_TM_EXPELLED_MAX;
        weir_free(registry->expelled[place]);
        registry->expelled[place] = weir_strdup(tm->info.id);
    }
    return tm;
}

int64_t weir_tm_registry_deadline_ms(const struct weir_tm_registry *registry)
{
    int64_t deadline = INT64_MAX;
    for (size_t i = 0; i < registry->ntms; i++) {
        const struct weir_tm_entry *tm = registry->tms[i];
        int64_t at = tm->heartbeat_deadline_ms < tm->grace_deadline_ms ? tm->heartbeat_deadline_ms : tm->grace_deadline_ms;
        deadline = at < deadline ? at : deadline;
    }
    return deadline;
}

uint32_t weir_tm_registry_count(const struct weir_tm_registry *registry)
{
    return (uint32_t)registry->ntms;
}

struct weir_tm_entry *weir_tm_registry_at(const struct weir_tm_registry *registry, uint32_t i)
{
    weir_assert(i < registry->ntms);
    return registry->tms[i];
}

struct weir_tm_entry *weir_tm_registry_find(const struct weir_tm_registry *registry, const char *id)
{
    return weir_hmap_get(registry->by_id, weir_slice_str(id));
}
