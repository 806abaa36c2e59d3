#include "tests/sim/cluster/hooks.h"

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "tests/sim/cluster/wraps.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Between a cluster log and the JobManager that uses it. */
struct shim {
    struct weir_sim_node *node;
    struct weir_cluster_log_listener inner;
    const struct weir_cluster_log_ops *ops; /* the log's own */
    uint64_t applied;
    uint64_t *early; /* proposals that were acted on before their commit, hashes of their entries */
    size_t nearly, early_cap;
};

struct leader {
    uint64_t epoch;
    uint32_t incarnation;
};

static struct hooks {
    enum weir_sim_sabotage sabotage;
    struct weir_sim_listener listener;
    bool may_expel;
    struct weir_meta *truth;
    uint64_t *entries; /* hashes, by index - 1 */
    size_t nentries, entries_cap;
    struct leader *leaders;
    size_t nleaders, leaders_cap;
    struct weir_tm_attempts *attempts[WEIR_SIM_NODES_MAX];
    struct weir_mailbox *mailboxes[WEIR_SIM_NODES_MAX];
} hooks;

void weir_sim_hooks_init(enum weir_sim_sabotage sabotage, const struct weir_sim_listener *listener)
{
    hooks.sabotage = sabotage;
    hooks.listener = *listener;
    hooks.truth = weir_meta_create();
}

enum weir_sim_sabotage weir_sim_sabotage(void)
{
    return hooks.sabotage;
}

const struct weir_meta *weir_sim_truth(void)
{
    return hooks.truth;
}

uint32_t weir_sim_leaders(void)
{
    return (uint32_t)hooks.nleaders;
}

void weir_sim_hook_phase(enum weir_sim_phase phase)
{
    hooks.listener.on_phase(phase);
}

void __wrap_weir_jm_submit(struct weir_jm *jm, struct weir_slice job_id, struct weir_slice text, struct weir_slice file_name, uint32_t parallelism,
                           weir_jm_done_fn *done, void *ctx)
{
    char id[WEIR_JOB_ID_TEXT + 1];
    weir_sim_hook_phase(WEIR_SIM_PHASE_SUBMIT);
    if (hooks.sabotage == WEIR_SIM_SABOTAGE_SUBMIT_TWICE && weir_meta_job(hooks.truth, job_id) != NULL) {
        memcpy(id, job_id.data, job_id.len);
        (void)snprintf(id + 1, 6, "%05" PRIx64, weir_sim_below(0x100000));
        id[6] = '0';
        job_id.data = (const uint8_t *)id;
    }
    __real_weir_jm_submit(jm, job_id, text, file_name, parallelism, done, ctx);
}

/* --- the cluster log ------------------------------------------------------------------------------------------------------ */

/* Indices that Raft uses for itself have no entry here. */
static enum weir_rc note_entry(const struct shim *shim, uint64_t index, struct weir_slice entry, struct weir_error *err)
{
    uint64_t hash = weir_hash_bytes(entry.data, entry.len, 0) | 1; /* 0: none */
    if (index <= hooks.nentries) {
        if (hooks.entries[index - 1] != hash) {
            weir_sim_fail("%s applies another entry %" PRIu64 " than was applied before", shim->node->name, index);
        }
        return WEIR_OK;
    }
    hooks.entries = weir_vec_grow(hooks.entries, &hooks.entries_cap, sizeof(*hooks.entries), index);
    while (hooks.nentries < index) {
        hooks.entries[hooks.nentries++] = 0;
    }
    hooks.entries[index - 1] = hash;
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_ha_record record;
    enum weir_rc rc = weir_ha_decode(entry, arena, &record, err);
    if (rc == WEIR_OK) {
        hooks.listener.on_change(weir_meta_apply(hooks.truth, &record), &record);
    }
    weir_arena_destroy(arena);
    return rc;
}

static enum weir_rc shim_apply(void *ctx, uint64_t index, struct weir_slice entry, struct weir_error *err)
{
    struct shim *shim = ctx;
    shim->applied = index > shim->applied ? index : shim->applied;
    if (shim->nearly > 0 && shim->early[0] == weir_hash_bytes(entry.data, entry.len, 0)) {
        memmove(shim->early, shim->early + 1, --shim->nearly * sizeof(*shim->early));
        return note_entry(shim, index, entry, err); /* the JobManager has had it */
    }
    weir_sim_hook_phase(WEIR_SIM_PHASE_APPLY);
    enum weir_rc rc = note_entry(shim, index, entry, err);
    return rc != WEIR_OK ? rc : shim->inner.apply(shim->inner.ctx, index, entry, err);
}

static void shim_outcome(void *ctx, uint64_t proposal, enum weir_proposal_outcome outcome, const struct weir_error *err)
{
    struct shim *shim = ctx;
    shim->inner.outcome(shim->inner.ctx, proposal, outcome, err);
}

static void shim_leadership(void *ctx, bool leader, uint64_t epoch, const struct weir_error *err)
{
    struct shim *shim = ctx;
    for (size_t i = 0; leader && i < hooks.nleaders; i++) {
        if (hooks.leaders[i].epoch == epoch) {
            weir_sim_fail("%s leads in epoch %" PRIu64 ", in which somebody has led", shim->node->name, epoch);
        }
    }
    weir_sim_trace("%s %s, epoch %" PRIu64, shim->node->name, leader ? "leads" : "leads no longer", epoch);
    if (leader) {
        hooks.leaders = weir_vec_grow(hooks.leaders, &hooks.leaders_cap, sizeof(*hooks.leaders), hooks.nleaders + 1);
        hooks.leaders[hooks.nleaders++] = (struct leader){epoch, shim->node->incarnation};
        weir_sim_hook_phase(WEIR_SIM_PHASE_LEAD);
    }
    shim->inner.leadership(shim->inner.ctx, leader, epoch, err);
}

static void shim_failed(void *ctx, const struct weir_error *err)
{
    struct shim *shim = ctx;
    weir_sim_trace("%s: the log has failed: %s", shim->node->name, err->text);
    shim->inner.failed(shim->inner.ctx, err);
}

static void shim_snapshot_take(void *ctx, struct weir_buf *out)
{
    struct shim *shim = ctx;
    shim->inner.snapshot_take(shim->inner.ctx, out);
}

static enum weir_rc shim_snapshot_restore(void *ctx, struct weir_slice snapshot, struct weir_error *err)
{
    struct shim *shim = ctx;
    return shim->inner.snapshot_restore(shim->inner.ctx, snapshot, err);
}

/* Each process has one log. */
static struct shim *shims[WEIR_SIM_NODES_MAX];

struct early {
    struct shim *shim;
    uint64_t proposal;
    struct weir_buf entry;
};

static void early_act(void *ctx, void *arg)
{
    struct early *early = arg;
    struct shim *shim = early->shim;
    struct weir_error err;
    (void)ctx;
    if (shim->inner.apply(shim->inner.ctx, shim->applied + shim->nearly, weir_buf_slice(&early->entry), &err) == WEIR_OK) {
        shim->inner.outcome(shim->inner.ctx, early->proposal, WEIR_PROPOSAL_COMMITTED, NULL);
    }
}

static void early_drop(void *arg)
{
    (void)arg;
}

static void shim_propose(struct weir_cluster_log *log, uint64_t proposal, struct weir_slice entry)
{
    struct weir_sim_node *node = weir_sim_node_here();
    struct shim *shim = shims[node->index];
    weir_sim_hook_phase(WEIR_SIM_PHASE_PROPOSE);
    if (hooks.sabotage == WEIR_SIM_SABOTAGE_ACT_BEFORE_COMMIT && node->jm != NULL) {
        struct early *early = weir_calloc(1, sizeof(*early));
        *early = (struct early){.shim = shim, .proposal = proposal};
        weir_buf_put_slice(&early->entry, entry);
        shim->early = weir_vec_grow(shim->early, &shim->early_cap, sizeof(*shim->early), shim->nearly + 1);
        shim->early[shim->nearly++] = weir_hash_bytes(entry.data, entry.len, 0);
        (void)weir_jm_post(node->jm, early_act, early_drop, NULL, early);
    }
    shim->ops->propose(log, proposal, entry);
}

static void shim_destroy(struct weir_cluster_log *log)
{
    shims[weir_sim_node_here()->index]->ops->destroy(log);
}

static struct weir_cluster_log_listener shim_listener(const struct weir_cluster_log_listener *inner)
{
    struct shim *shim = weir_calloc(1, sizeof(*shim));
    *shim = (struct shim){.node = weir_sim_node_here(), .inner = *inner};
    shims[shim->node->index] = shim;
    return (struct weir_cluster_log_listener){.ctx = shim, .apply = shim_apply, .outcome = shim_outcome, .leadership = shim_leadership, .failed = shim_failed,
                                              .snapshot_take = shim_snapshot_take, .snapshot_restore = shim_snapshot_restore};
}

static void shim_log(struct weir_cluster_log *log)
{
    static const struct weir_cluster_log_ops ops = {.propose = shim_propose, .destroy = shim_destroy};
    struct shim *shim = shims[weir_sim_node_here()->index];
    shim->ops = log->ops;
    log->ops = &ops;
}

enum weir_rc __wrap_weir_raft_log_open(const struct weir_raft_log_options *options, struct weir_cluster_log **out_log, struct weir_error *err)
{
    struct weir_raft_log_options shimmed = *options;
    shimmed.listener = shim_listener(&options->listener);
    shimmed.compact_bytes = 2000 + weir_sim_below(30000); /* logs are short here */
    enum weir_rc rc = __real_weir_raft_log_open(&shimmed, out_log, err);
    if (rc == WEIR_OK) {
        shim_log(*out_log);
    }
    return rc;
}

void __wrap_weir_raft_log_change(struct weir_cluster_log *log, uint64_t proposal, const struct weir_raft_member *members, uint32_t count)
{
    weir_sim_hook_phase(WEIR_SIM_PHASE_MEMBERS);
    __real_weir_raft_log_change(log, proposal, members, count);
}

/* --- files ---------------------------------------------------------------------------------------------------------------- */

/* "/ckpt/<job>/chk-<n>/<name>" */
static bool in_checkpoint(const char *path, char job_id[33], uint64_t *out_id, const char **out_name)
{
    int used = 0;
    if (sscanf(path, "/ckpt/%32[0-9a-f]/chk-%" SCNu64 "/%n", job_id, out_id, &used) != 2 || used == 0) {
        return false;
    }
    *out_name = path + used;
    return true;
}

void weir_sim_hook_open(const char *path, enum weir_fs_mode mode)
{
    char job_id[33];
    uint64_t id = 0;
    const char *name = NULL;
    if (!in_checkpoint(path, job_id, &id, &name)) {
        return;
    }
    if (mode == WEIR_FS_READ) {
        weir_sim_hook_phase(WEIR_SIM_PHASE_RESTORE);
    } else {
        weir_sim_hook_phase(strncmp(name, "_metadata", 9) == 0 ? WEIR_SIM_PHASE_METADATA : WEIR_SIM_PHASE_UPLOAD);
    }
}

bool weir_sim_hook_fsync(const char *path)
{
    bool of_store = strncmp(path, "/ckpt/", 6) == 0;
    bool metadata = of_store && strstr(path, "/_metadata") != NULL;
    return !((hooks.sabotage == WEIR_SIM_SABOTAGE_METADATA_NOT_SYNCED && metadata) || (hooks.sabotage == WEIR_SIM_SABOTAGE_ACK_NOT_SYNCED && of_store && !metadata) ||
             (hooks.sabotage == WEIR_SIM_SABOTAGE_LOG_NOT_SYNCED && strncmp(path, "/data", 5) == 0));
}

void weir_sim_hook_renamed(const char *to)
{
    char job_id[33];
    uint64_t id = 0;
    const char *name = NULL;
    if (in_checkpoint(to, job_id, &id, &name) && strcmp(name, "_metadata") == 0) {
        weir_sim_hook_phase(WEIR_SIM_PHASE_STORED);
    }
}

/* The newest completed checkpoint of a job that goes on is what its next attempt begins from. */
void weir_sim_hook_unlink(const char *path)
{
    char job_id[33];
    uint64_t id = 0;
    const char *name = NULL;
    if (!in_checkpoint(path, job_id, &id, &name)) {
        return;
    }
    const struct weir_meta_job *job = weir_meta_job(hooks.truth, weir_slice_str(job_id));
    const struct weir_meta_ckpt *newest = job == NULL ? NULL : weir_meta_ckpt_newest(job);
    if (newest != NULL && newest->id == id && !weir_meta_terminal(job->state)) {
        weir_sim_fail("%s is removed, which checkpoint %" PRIu64 " of a job that goes on needs", path, id);
    }
}

/* No fault lasts as long as a TaskManager may take to end its tasks. */
void weir_sim_hook_may_expel(void)
{
    hooks.may_expel = true;
}

struct weir_tm_entry *__wrap_weir_tm_registry_remove(struct weir_tm_registry *registry, const char *id, bool expel)
{
    if (expel && !hooks.may_expel && weir_tm_registry_find(registry, id) != NULL) {
        weir_sim_fail("TaskManager %s is expelled: it did not end tasks that were cancelled", id);
    }
    return __real_weir_tm_registry_remove(registry, id, expel);
}

/* --- what is broken on purpose -------------------------------------------------------------------------------------------- */

enum weir_rc __wrap_weir_ckpt_sweep(struct weir_fs *fs, const char *root, const char *job_id, const uint64_t *keep, uint32_t nkeep, uint64_t below,
                                    struct weir_error *err)
{
    bool all = hooks.sabotage == WEIR_SIM_SABOTAGE_SWEEP_ALL;
    return __real_weir_ckpt_sweep(fs, root, job_id, keep, all ? 0 : nkeep, all ? below + 1 : below, err);
}

bool __wrap_weir_job_drains_first(struct weir_job *job, uint32_t slots)
{
    return hooks.sabotage != WEIR_SIM_SABOTAGE_NO_DRAIN && __real_weir_job_drains_first(job, slots);
}

bool __wrap_weir_adaptive_grows(const struct weir_adaptive *adaptive, const struct weir_adaptive_settings *settings, int64_t now_ms)
{
    return hooks.sabotage != WEIR_SIM_SABOTAGE_NO_GROWTH && __real_weir_adaptive_grows(adaptive, settings, now_ms);
}

struct weir_tm_attempts *__wrap_weir_tm_attempts_create(const struct weir_tm_attempts_options *options)
{
    struct weir_tm_attempts *attempts = __real_weir_tm_attempts_create(options);
    hooks.attempts[weir_sim_node_here()->index] = attempts;
    hooks.mailboxes[weir_sim_node_here()->index] = options->mailbox;
    return attempts;
}

static void cancel_all(void *payload)
{
    weir_tm_attempts_cancel_all(payload);
}

void weir_sim_hook_connection_closed(void)
{
    uint32_t node = weir_sim_node_here()->index;
    if (hooks.sabotage == WEIR_SIM_SABOTAGE_CANCEL_ON_CLOSE && hooks.attempts[node] != NULL) {
        struct weir_mail mail = {.run = cancel_all, .payload = hooks.attempts[node]};
        enum weir_rc rc = weir_mailbox_post(hooks.mailboxes[node], WEIR_MAIL_CONTROL, mail);
        weir_assert(rc == WEIR_OK || rc == WEIR_CLOSED);
    }
}

void __wrap_weir_tm_link_snapshot(struct weir_tm_link *link, const struct weir_tm_status *status, const struct weir_task_snapshot *snapshot)
{
    if (hooks.sabotage == WEIR_SIM_SABOTAGE_NOTIFY_BEFORE_COMMIT && snapshot->taken) {
        weir_tm_attempts_notify(hooks.attempts[weir_sim_node_here()->index], status->job_id, status->attempt, snapshot->checkpoint, WEIR_CKPT_COMMITTED);
    }
    __real_weir_tm_link_snapshot(link, status, snapshot);
}

void __wrap_weir_tm_attempts_notify(struct weir_tm_attempts *attempts, const char *job_id, uint32_t attempt, uint64_t checkpoint,
                                    enum weir_ckpt_outcome outcome)
{
    bool aborted = outcome == WEIR_CKPT_ABORTED && hooks.sabotage == WEIR_SIM_SABOTAGE_ABORT_IS_COMMIT;
    __real_weir_tm_attempts_notify(attempts, job_id, attempt, checkpoint, aborted ? WEIR_CKPT_COMMITTED : outcome);
}
