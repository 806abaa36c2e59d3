#include "tests/sim/cluster/hooks.h"

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/fs/fs_sim.h"
#include "tests/sim/cluster/wraps.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Between a cluster log and the JobManager that uses it. */
struct shim {
    struct weir_sim_node *node;
    struct weir_cluster_log_listener inner;
    const struct weir_cluster_log_ops *ops; /* the log's own */
    uint64_t applied, applied_least; /* the newest entry is one of these: a snapshot does not say which it ends with */
    uint64_t *early; /* proposals that were acted on before their commit, hashes of their entries */
    size_t nearly, early_cap;
};

/* A task that has begun somewhere. */
struct begun {
    char job_id[36];
    uint32_t attempt, vertex, subtask;
};

static struct hooks {
    enum weir_sim_sabotage sabotage;
    bool files_unchecked;
    struct weir_sim_listener listener;
    bool may_expel;
    struct weir_meta *truth;
    struct entry {
        uint64_t hash;  /* 0: Raft uses the index for itself */
        uint64_t state; /* hash of the snapshot behind it */
    } *entries; /* by index - 1 */
    size_t nentries, entries_cap;
    struct weir_sim_written *written; /* entries that say that a job has ended, or is forgotten */
    size_t nwritten, written_cap;
    char (*forgotten)[WEIR_JOB_ID_TEXT + 1];
    size_t nforgotten, forgotten_cap;
    struct made {
        char job_id[WEIR_JOB_ID_TEXT + 1];
        int64_t ns;
    } *made; /* by job: when something was last made in its directory */
    size_t nmade, made_cap;
    uint64_t *epochs; /* that were led in */
    size_t nepochs, epochs_cap;
    struct begun *begun;
    size_t nbegun, begun_cap;
    struct weir_tm_attempts *attempts[WEIR_SIM_NODES_MAX];
    struct weir_mailbox *mailboxes[WEIR_SIM_NODES_MAX];
} hooks;

void weir_sim_hooks_init(enum weir_sim_sabotage sabotage, bool files_unchecked, const struct weir_sim_listener *listener)
{
    hooks.sabotage = sabotage;
    hooks.files_unchecked = files_unchecked;
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
    return (uint32_t)hooks.nepochs;
}

void weir_sim_hook_phase(enum weir_sim_phase phase)
{
    hooks.listener.on_phase(phase);
}

static bool is_forgotten(struct weir_slice job_id)
{
    bool found = false;
    for (size_t i = 0; i < hooks.nforgotten; i++) {
        found |= weir_slice_eq_str(job_id, hooks.forgotten[i]);
    }
    return found;
}

/* The id of a job that is forgotten is free: a submission that comes so late (from a connection that stalled, say) would rightly begin it anew. How soon
 * a job may be forgotten is checked where it is. */
void __wrap_weir_jm_submit(struct weir_jm *jm, struct weir_slice job_id, struct weir_slice text, struct weir_slice file_name, uint32_t parallelism,
                           weir_jm_done_fn *done, void *ctx)
{
    char id[WEIR_JOB_ID_TEXT + 1];
    weir_sim_hook_phase(WEIR_SIM_PHASE_SUBMIT);
    if (is_forgotten(job_id)) {
        struct weir_error err;
        enum weir_rc rc = weir_error_set(&err, WEIR_EXISTS, "the simulator: this job is forgotten, and nothing may submit it any more");
        done(ctx, rc, &err);
        return;
    }
    if (hooks.sabotage == WEIR_SIM_SABOTAGE_SUBMIT_TWICE && weir_meta_job(hooks.truth, job_id) != NULL) {
        memcpy(id, job_id.data, job_id.len);
        (void)snprintf(id + 1, 6, "%05" PRIx64, weir_sim_below(0x100000));
        id[6] = '0';
        job_id.data = (const uint8_t *)id;
    }
    __real_weir_jm_submit(jm, job_id, text, file_name, parallelism, done, ctx);
}

/* --- the cluster log ------------------------------------------------------------------------------------------------------ */

static void check_committed(void *ctx);

static uint64_t hash_of_truth(void)
{
    struct weir_buf snapshot = {0};
    weir_meta_snapshot(hooks.truth, &snapshot);
    uint64_t hash = weir_hash_slice(weir_buf_slice(&snapshot), 0);
    weir_buf_fini(&snapshot);
    return hash;
}

static const struct weir_sim_written *written_of(uint64_t hash)
{
    for (size_t i = 0; i < hooks.nwritten; i++) {
        if (hooks.written[i].hash == hash) {
            return &hooks.written[i];
        }
    }
    return NULL;
}

static void note_proposal(const struct weir_sim_node *node, struct weir_slice entry)
{
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_ha_record record;
    struct weir_error err;
    uint64_t hash = weir_hash_bytes(entry.data, entry.len, 0) | 1;
    enum weir_rc rc = weir_ha_decode(entry, arena, &record, &err);
    weir_assert(rc == WEIR_OK);
    if (record.kind == WEIR_HA_JOB_DROP) {
        weir_sim_hook_phase(WEIR_SIM_PHASE_DROP);
    }
    if ((record.kind == WEIR_HA_JOB_DROP || record.kind == WEIR_HA_JOB_STATE) && written_of(hash) == NULL) {
        int64_t ago_ms = weir_clock_wall_ms(&node->clock.clock) - record.at_ms;
        hooks.written = weir_vec_grow(hooks.written, &hooks.written_cap, sizeof(*hooks.written), hooks.nwritten + 1);
        hooks.written[hooks.nwritten++] = (struct weir_sim_written){
            .hash = hash, .ns = weir_sim_now_ns(), .least_ns = weir_sim_now_ns() - (ago_ms > 0 ? ago_ms * 1000000 : 0)};
    }
    weir_arena_destroy(arena);
}

static void note_forgotten(const char *job_id)
{
    hooks.forgotten = weir_vec_grow(hooks.forgotten, &hooks.forgotten_cap, sizeof(*hooks.forgotten), hooks.nforgotten + 1);
    (void)snprintf(hooks.forgotten[hooks.nforgotten++], sizeof(*hooks.forgotten), "%s", job_id);
}

static enum weir_rc note_entry(const struct shim *shim, uint64_t index, struct weir_slice entry, struct weir_error *err)
{
    uint64_t hash = weir_hash_bytes(entry.data, entry.len, 0) | 1;
    if (index <= hooks.nentries) {
        if (hooks.entries[index - 1].hash != hash) {
            weir_sim_fail("%s applies another entry %" PRIu64 " than was applied before", shim->node->name, index);
        }
        return WEIR_OK;
    }
    uint64_t state = hooks.nentries == 0 ? hash_of_truth() : hooks.entries[hooks.nentries - 1].state;
    hooks.entries = weir_vec_grow(hooks.entries, &hooks.entries_cap, sizeof(*hooks.entries), index);
    while (hooks.nentries < index) {
        hooks.entries[hooks.nentries++] = (struct entry){.state = state};
    }
    hooks.entries[index - 1].hash = hash;
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_ha_record record;
    enum weir_rc rc = weir_ha_decode(entry, arena, &record, err);
    if (rc == WEIR_OK) {
        enum weir_meta_change change = weir_meta_apply(hooks.truth, &record);
        hooks.entries[index - 1].state = hash_of_truth();
        if (change == WEIR_META_CKPT_COMPLETED && !hooks.files_unchecked) {
            weir_sim_check_soon(check_committed, weir_strdup(record.job_id));
        }
        if (change == WEIR_META_DROPPED) {
            note_forgotten(record.job_id);
        }
        hooks.listener.on_change(change, &record, written_of(hash));
    }
    weir_arena_destroy(arena);
    return rc;
}

/* (C2): in order, each once, none left out. */
static void note_order(struct shim *shim, uint64_t index)
{
    if (index <= shim->applied_least) {
        weir_sim_fail("%s applies entry %" PRIu64 ", and has applied %" PRIu64, shim->node->name, index, shim->applied_least);
    }
    for (uint64_t i = shim->applied; i + 1 < index && i < hooks.nentries; i++) {
        if (hooks.entries[i].hash != 0) {
            weir_sim_fail("%s applies entry %" PRIu64 " and has left out %" PRIu64, shim->node->name, index, i + 1);
        }
    }
    shim->applied = shim->applied_least = index;
}

static enum weir_rc shim_apply(void *ctx, uint64_t index, struct weir_slice entry, struct weir_error *err)
{
    struct shim *shim = ctx;
    note_order(shim, index);
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
    for (size_t i = 0; leader && i < hooks.nepochs; i++) {
        if (hooks.epochs[i] == epoch) {
            weir_sim_fail("%s leads in epoch %" PRIu64 ", in which somebody has led", shim->node->name, epoch);
        }
    }
    weir_sim_trace("%s %s, epoch %" PRIu64, shim->node->name, leader ? "leads" : "leads no longer", epoch);
    if (leader) {
        hooks.epochs = weir_vec_grow(hooks.epochs, &hooks.epochs_cap, sizeof(*hooks.epochs), hooks.nepochs + 1);
        hooks.epochs[hooks.nepochs++] = epoch;
        weir_sim_hook_phase(WEIR_SIM_PHASE_LEAD);
    }
    shim->inner.leadership(shim->inner.ctx, leader, epoch, err);
}

static void shim_confirmed(void *ctx, uint64_t question)
{
    struct shim *shim = ctx;
    shim->inner.confirmed(shim->inner.ctx, question);
}

static void shim_failed(void *ctx, const struct weir_error *err)
{
    struct shim *shim = ctx;
    weir_sim_trace("%s: the log has failed: %s", shim->node->name, err->text);
    shim->inner.failed(shim->inner.ctx, err);
}

/* The state of a JobManager is what the entries make that it has applied. */
static void shim_snapshot_take(void *ctx, struct weir_buf *out)
{
    struct shim *shim = ctx;
    size_t start = out->len;
    shim->inner.snapshot_take(shim->inner.ctx, out);
    uint64_t state = weir_hash_bytes(out->data + start, out->len - start, 0);
    uint64_t last = shim->applied < hooks.nentries ? shim->applied : hooks.nentries;
    if (last > 0 && hooks.entries[last - 1].state != state) {
        weir_sim_fail("%s takes a snapshot at entry %" PRIu64 ", and it is not what the entries make", shim->node->name, shim->applied);
    }
}

static enum weir_rc shim_snapshot_restore(void *ctx, struct weir_slice snapshot, struct weir_error *err)
{
    struct shim *shim = ctx;
    uint64_t state = weir_hash_slice(snapshot, 0);
    uint64_t last = hooks.nentries;
    while (last > 0 && hooks.entries[last - 1].state != state) {
        last--;
    }
    uint64_t least = last;
    for (uint64_t i = last; i > 0; i--) { /* what was added and is gone may leave what was there before */
        least = hooks.entries[i - 1].state == state ? i : least;
    }
    if (last == 0) {
        weir_sim_fail("%s restores a snapshot that no entries make", shim->node->name);
    }
    shim->applied = last;
    shim->applied_least = least;
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
    note_proposal(node, entry);
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

static bool shim_confirm(struct weir_cluster_log *log, uint64_t *out_question)
{
    bool confirmed = shims[weir_sim_node_here()->index]->ops->confirm(log, out_question);
    return confirmed || hooks.sabotage == WEIR_SIM_SABOTAGE_LEAD_UNCONFIRMED;
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
                                              .confirmed = shim_confirmed,
                                              .snapshot_take = shim_snapshot_take, .snapshot_restore = shim_snapshot_restore};
}

static void shim_log(struct weir_cluster_log *log)
{
    static const struct weir_cluster_log_ops ops = {.propose = shim_propose, .confirm = shim_confirm, .destroy = shim_destroy};
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

/* The newest completed checkpoint of a job that goes on is what its next attempt begins from: its files stay as they are. */
static void check_unneeded(const char *path, const char *what)
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
        weir_sim_fail("%s is %s, which checkpoint %" PRIu64 " of a job that goes on needs", path, what, id);
    }
}

static struct made *made_of(const char *job_id)
{
    for (size_t i = 0; i < hooks.nmade; i++) {
        if (strcmp(hooks.made[i].job_id, job_id) == 0) {
            return &hooks.made[i];
        }
    }
    return NULL;
}

void weir_sim_hook_made(const char *path)
{
    char job_id[WEIR_JOB_ID_TEXT + 1];
    if (sscanf(path, "/ckpt/%32[0-9a-f]", job_id) != 1) {
        return;
    }
    struct made *made = made_of(job_id);
    if (made == NULL) {
        hooks.made = weir_vec_grow(hooks.made, &hooks.made_cap, sizeof(*hooks.made), hooks.nmade + 1);
        made = &hooks.made[hooks.nmade++];
        memcpy(made->job_id, job_id, sizeof(job_id));
    }
    made->ns = weir_sim_now_ns();
}

int64_t weir_sim_hook_made_ns(const char *job_id)
{
    const struct made *made = made_of(job_id);
    return made == NULL ? 0 : made->ns;
}

void weir_sim_hook_open(const char *path, enum weir_fs_mode mode)
{
    char job_id[33];
    uint64_t id = 0;
    const char *name = NULL;
    if (mode != WEIR_FS_READ) {
        weir_sim_hook_made(path);
    }
    if (!in_checkpoint(path, job_id, &id, &name)) {
        return;
    }
    if (mode == WEIR_FS_READ) {
        weir_sim_hook_phase(WEIR_SIM_PHASE_RESTORE);
    } else {
        check_unneeded(path, "written");
        weir_sim_hook_phase(strncmp(name, "_metadata", 9) == 0 ? WEIR_SIM_PHASE_METADATA : WEIR_SIM_PHASE_UPLOAD);
    }
}

bool weir_sim_hook_fsync(const char *path)
{
    bool of_store = strncmp(path, "/ckpt/", 6) == 0;
    bool metadata = of_store && strstr(path, "/_metadata") != NULL;
    return !((hooks.sabotage == WEIR_SIM_SABOTAGE_METADATA_NOT_SYNCED && metadata) || (hooks.sabotage == WEIR_SIM_SABOTAGE_ACK_NOT_SYNCED && of_store && !metadata) ||
             (hooks.sabotage == WEIR_SIM_SABOTAGE_LOG_NOT_SYNCED && strncmp(path, "/data/log-", 10) == 0));
}

void weir_sim_hook_renamed(const char *from, const char *to)
{
    char job_id[33];
    uint64_t id = 0;
    const char *name = NULL;
    check_unneeded(from, "given another name");
    check_unneeded(to, "replaced");
    if (in_checkpoint(to, job_id, &id, &name) && strcmp(name, "_metadata") == 0) {
        weir_sim_hook_phase(WEIR_SIM_PHASE_STORED);
    }
}

void weir_sim_hook_unlink(const char *path)
{
    check_unneeded(path, "removed");
}

/* Of a checkpoint that was committed. */
static void check_durable(const char *path)
{
    if (!weir_fs_sim_is_durable(weir_sim_store()->disk, path)) {
        weir_sim_fail("a checkpoint is committed, and %s is not durable", path);
    }
}

static void check_part(const struct weir_ckpt_handle *part)
{
    struct weir_buf bytes = {0};
    struct weir_error err;
    if (weir_fs_read_all(weir_sim_store()->disk, part->path, part->bytes, &bytes, &err) != WEIR_OK) {
        weir_sim_fail("a checkpoint is committed, and its part cannot be read: %s", err.text);
    } else if (bytes.len != part->bytes || weir_hash_slice(weir_buf_slice(&bytes), 0) != part->hash) {
        weir_sim_fail("a checkpoint is committed, and %s is not what it says", part->path);
    }
    check_durable(part->path);
    weir_buf_fini(&bytes);
}

static void check_beside(void *ctx, const char *name, bool is_dir)
{
    const char *dir = ctx;
    char *path = weir_strfmt("%s/%s", dir, name);
    size_t len = strlen(name);
    if (!is_dir && !(len > 4 && strcmp(name + len - 4, ".tmp") == 0)) {
        check_durable(path);
    }
    weir_free(path);
}

static void check_committed(void *ctx)
{
    char *job_id = ctx;
    const struct weir_meta_job *job = weir_meta_job(hooks.truth, weir_slice_str(job_id));
    const struct weir_meta_ckpt *newest = job == NULL ? NULL : weir_meta_ckpt_newest(job);
    struct weir_fs *disk = weir_sim_store()->disk;
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_ckpt_manifest manifest;
    struct weir_error err;
    if (newest != NULL) {
        char *dir = weir_ckpt_dir_copy("/ckpt", job_id, newest->id);
        if (weir_ckpt_read(disk, newest->path, newest->bytes, newest->hash, arena, &manifest, &err) != WEIR_OK) {
            weir_sim_fail("checkpoint %" PRIu64 " is committed, and cannot be read: %s", newest->id, err.text);
        } else {
            for (uint32_t i = 0; i < manifest.nhandles; i++) {
                check_part(&manifest.handles[i]);
            }
            if (weir_fs_list(disk, dir, check_beside, dir, &err) != WEIR_OK) {
                weir_sim_fail("checkpoint %" PRIu64 " is committed, and its directory cannot be read: %s", newest->id, err.text);
            }
        }
        weir_free(dir);
    }
    weir_arena_destroy(arena);
    weir_free(job_id);
}

/* A task of an attempt begins once, on one machine. */
enum weir_rc __wrap_weir_task_thread_create(const struct weir_task_spec *spec, const struct weir_log *log, const struct weir_task_host *host,
                                            struct weir_task_thread **out_thread, struct weir_error *err)
{
    struct begun now = {.attempt = spec->attempt, .vertex = spec->vertex, .subtask = spec->subtask};
    (void)snprintf(now.job_id, sizeof(now.job_id), "%s", spec->job_id);
    for (size_t i = 0; i < hooks.nbegun; i++) {
        if (memcmp(&hooks.begun[i], &now, sizeof(now)) == 0) {
            weir_sim_fail("%s: task (%u, %u) of attempt %u of job %s begins, and has begun before", weir_sim_node_here()->name, now.vertex, now.subtask,
                          now.attempt, now.job_id);
        }
    }
    hooks.begun = weir_vec_grow(hooks.begun, &hooks.begun_cap, sizeof(*hooks.begun), hooks.nbegun + 1);
    hooks.begun[hooks.nbegun++] = now;
    return __real_weir_task_thread_create(spec, log, host, out_thread, err);
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

struct weir_dispatcher *__wrap_weir_dispatcher_create(const struct weir_dispatcher_options *options)
{
    struct weir_dispatcher_options other = *options;
    other.expiration_ms = hooks.sabotage == WEIR_SIM_SABOTAGE_DROP_EARLY ? options->expiration_ms / 2
                          : hooks.sabotage == WEIR_SIM_SABOTAGE_NO_DROP  ? INT64_MAX / 4
                                                                         : options->expiration_ms;
    return __real_weir_dispatcher_create(&other);
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
