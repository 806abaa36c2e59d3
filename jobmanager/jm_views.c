/* jm_api.h: what the HTTP API sees and may do. */
#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "jobmanager/jm_internal.h"
#include "jobmanager/jobfile/jobfile.h"
#include "proto/plan_codec.h"

enum { GRAPH_BYTES_MAX = WEIR_RPC_FRAME_BYTES_MAX / 2 };

uint32_t weir_jm_job_count(const struct weir_jm *jm)
{
    return weir_dispatcher_job_count(jm->dispatcher);
}

void weir_jm_job_view(struct weir_jm *jm, uint32_t i, struct weir_job_view *out_view)
{
    weir_dispatcher_job_view(jm->dispatcher, i, weir__jm_now(jm), out_view);
}

bool weir_jm_job_find(struct weir_jm *jm, struct weir_slice id_or_name, struct weir_job_view *out_view)
{
    struct weir_job *found = weir_dispatcher_job(jm->dispatcher, id_or_name);
    const struct weir_meta_job *named = NULL;
    bool live = found != NULL; /* an id beats every name */
    for (uint32_t i = 0; !live && i < weir_jm_job_count(jm); i++) {
        const struct weir_meta_job *meta = weir_meta_job_at(weir_dispatcher_meta(jm->dispatcher), i);
        if (weir_slice_eq_str(id_or_name, meta->name)) {
            named = meta; /* the newest of that name, unless one is live */
            live = !weir_meta_terminal(meta->state);
        }
    }
    found = named == NULL ? found : weir_dispatcher_job(jm->dispatcher, weir_slice_str(named->id));
    if (found != NULL) {
        weir_job_view(found, weir__jm_now(jm), out_view);
    }
    return found != NULL;
}

uint32_t weir_jm_tm_count(const struct weir_jm *jm)
{
    return weir_tm_registry_count(weir_dispatcher_tms(jm->dispatcher));
}

void weir_jm_tm_view(struct weir_jm *jm, uint32_t i, struct weir_tm_view *out_view)
{
    const struct weir_tm_entry *tm = weir_tm_registry_at(weir_dispatcher_tms(jm->dispatcher), i);
    *out_view = (struct weir_tm_view){.id = tm->info.id,
                                      .rpc_address = tm->info.rpc_address,
                                      .data_address = tm->info.data_address,
                                      .slots = tm->info.slots,
                                      .slots_free = tm->slots_used < tm->info.slots ? tm->info.slots - tm->slots_used : 0,
                                      .last_heartbeat_wall_ms = tm->last_heartbeat_wall_ms,
                                      .memory_bytes = tm->info.memory_bytes,
                                      .memory_used_bytes = tm->memory_used_bytes,
                                      .physical_memory_bytes = tm->info.physical_memory_bytes,
                                      .cpu_cores = tm->info.cpu_cores,
                                      .pid = tm->info.pid,
                                      .version = tm->info.version};
}

const struct weir_config *weir_jm_config(const struct weir_jm *jm)
{
    return jm->options.config;
}

const struct weir_clock *weir_jm_clock(const struct weir_jm *jm)
{
    return jm->options.clock;
}

struct weir_log_sink *weir_jm_log_sink(const struct weir_jm *jm)
{
    return jm->options.sink;
}

/* --- commands --------------------------------------------------------------------------------------------------------- */
void weir_jm_submit(struct weir_jm *jm, struct weir_slice job_id, struct weir_slice text, struct weir_slice file_name, uint32_t parallelism,
                    weir_jm_done_fn *done, void *ctx)
{
    weir_owner_assert(&jm->owner);
    struct weir_error err;
    struct weir_jobgraph *graph = NULL;
    struct weir_buf encoded = {0};
    const uint64_t hash[2] = {weir_hash_slice(text, parallelism), weir_hash_slice(text, ~(uint64_t)parallelism)};
    char *name = weir_strndup(file_name.data, file_name.len);
    enum weir_rc rc = weir_jobfile_plan(text, name, parallelism, jm->options.config, &graph, &err);
    if (rc == WEIR_OK) {
        weir_plan_encode(graph, &encoded);
        if (encoded.len > GRAPH_BYTES_MAX) {
            rc = weir_error_set(&err, WEIR_LIMIT, "the job graph has %zu bytes, at most %d are possible", encoded.len, GRAPH_BYTES_MAX);
        }
    }
    if (rc == WEIR_OK) {
        weir_dispatcher_submit(jm->dispatcher, job_id, graph->name, hash, weir_buf_slice(&encoded), weir__jm_now(jm), done, ctx);
    } else {
        done(ctx, rc, &err);
    }
    weir_buf_fini(&encoded);
    weir_jobgraph_destroy(graph);
    weir_free(name);
}

void weir_jm_cancel(struct weir_jm *jm, struct weir_slice job_id, bool skip_drain, weir_jm_done_fn *done, void *ctx)
{
    weir_owner_assert(&jm->owner);
    weir_dispatcher_cancel(jm->dispatcher, job_id, skip_drain, weir__jm_now(jm), done, ctx);
}

void weir_jm_tm_logs(struct weir_jm *jm, struct weir_slice tm_id, struct weir_slice contains, uint32_t lines_max, weir_jm_logs_fn *done, void *ctx)
{
    weir_owner_assert(&jm->owner);
    if (weir_hmap_get(jm->links, tm_id) == NULL) {
        struct weir_error err;
        (void)weir_error_set(&err, WEIR_NOT_FOUND, "there is no TaskManager %.*s", WEIR_SLICE_ARG(tm_id));
        done(ctx, WEIR_NOT_FOUND, weir_slice(NULL, 0), &err);
        return;
    }
    weir__jm_ask_logs(jm, tm_id, contains, lines_max, done, ctx);
}

void weir_jm_set_log_level(struct weir_jm *jm, enum weir_log_level level)
{
    static const char *const names[] = {
        [WEIR_LOG_DEBUG] = "debug", [WEIR_LOG_INFO] = "info", [WEIR_LOG_WARN] = "warn", [WEIR_LOG_ERROR] = "error"};
    weir_owner_assert(&jm->owner);
    weir_log_sink_set_level(jm->options.sink, level);
    weir__jm_tell_log_level(jm, names[level]);
}

/* --- mails of others -------------------------------------------------------------------------------------------------- */
struct posted {
    void (*fn)(void *ctx, void *arg);
    void (*drop)(void *arg);
    void *ctx;
    void *arg;
};

static void run_posted(void *payload)
{
    struct posted posted = *(struct posted *)payload;
    weir_free(payload);
    posted.fn(posted.ctx, posted.arg);
}

static void drop_posted(void *payload)
{
    struct posted posted = *(struct posted *)payload;
    weir_free(payload);
    if (posted.drop != NULL) {
        posted.drop(posted.arg);
    }
}

bool weir_jm_post(struct weir_jm *jm, void (*fn)(void *ctx, void *arg), void (*drop)(void *arg), void *ctx, void *arg)
{
    struct posted *posted = weir_malloc(sizeof(*posted));
    *posted = (struct posted){.fn = fn, .drop = drop, .ctx = ctx, .arg = arg};
    struct weir_mail mail = {.run = run_posted, .drop = drop_posted, .payload = posted};
    if (weir_mailbox_post(jm->mailbox, WEIR_MAIL_CONTROL, mail) != WEIR_OK) {
        weir_free(posted); /* refused: arg stays the caller's */
        return false;
    }
    return true;
}
