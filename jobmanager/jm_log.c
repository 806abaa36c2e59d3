/*
 * The cluster log: opening it, by founding a cluster, joining one or going on in one; what it calls back; handing leadership over.
 *
 * Beside the log's own files the directory has `member`: the id this JobManager was founded under, or 0 if it joined a cluster that was there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "jobmanager/jm_internal.h"

enum { FOUND_WAIT_MS = 2000, HAND_OVER_MS = 1000, MEMBER_BYTES_MAX = 256 };

static const char member_format[] = "weir-jobmanager member 1\nid %" PRIu64 "\n";

void weir__jm_fail(struct weir_jm *jm, const struct weir_error *err)
{
    if (!jm->failed) {
        jm->failed = true;
        jm->failure = *err;
        weir_log(jm->options.log, WEIR_LOG_ERROR, "failed", "error", err->text, NULL);
    }
}

/* --- the listener ----------------------------------------------------------------------------------------------------- */
static enum weir_rc on_apply(void *ctx, uint64_t index, struct weir_slice entry, struct weir_error *err)
{
    struct weir_jm *jm = ctx;
    (void)index;
    return weir_dispatcher_apply(jm->dispatcher, entry, weir__jm_now(jm), err);
}

static void on_outcome(void *ctx, uint64_t proposal, enum weir_proposal_outcome outcome, const struct weir_error *err)
{
    struct weir_jm *jm = ctx;
    if (!weir__jm_replace_outcome(jm, proposal, outcome, err)) {
        weir_dispatcher_outcome(jm->dispatcher, proposal, outcome, err, weir__jm_now(jm));
    }
}

static void on_leadership(void *ctx, bool leader, uint64_t epoch, const struct weir_error *err)
{
    struct weir_jm *jm = ctx;
    if (!leader) {
        weir_log(jm->options.log, WEIR_LOG_WARN, "leadership_lost", "epoch", WEIR_LOG_INT(epoch), "why", err == NULL ? "" : err->text, NULL);
        struct weir_error why;
        (void)weir_error_set(&why, WEIR_UNKNOWN, "this JobManager lost its leadership meanwhile: repeat the command, which goes on where it was");
        weir__jm_replace_abort(jm, &why);
    }
    weir_dispatcher_leadership(jm->dispatcher, leader, epoch, weir__jm_now(jm));
}

static void on_confirmed(void *ctx, uint64_t question)
{
    struct weir_jm *jm = ctx;
    jm->reads.confirmed = question;
}

static void on_failed(void *ctx, const struct weir_error *err)
{
    weir__jm_fail(ctx, err);
}

static void on_snapshot_take(void *ctx, struct weir_buf *out)
{
    const struct weir_jm *jm = ctx;
    weir_dispatcher_snapshot(jm->dispatcher, out);
}

static enum weir_rc on_snapshot_restore(void *ctx, struct weir_slice snapshot, struct weir_error *err)
{
    struct weir_jm *jm = ctx;
    return weir_dispatcher_restore(jm->dispatcher, snapshot, err);
}

static void on_send(void *ctx, uint64_t to, const char *address, struct weir_slice chunk)
{
    struct weir_jm *jm = ctx;
    struct weir_buf body = {0};
    weir__jm_raft_request(jm, to, chunk, &body);
    weir_jm_peers_send(jm->peers, to, address == NULL ? "" : address, weir_buf_slice(&body));
    weir_buf_fini(&body);
}

/* --- what other JobManagers say --------------------------------------------------------------------------------------- */
static void on_hello(void *ctx, struct weir_buf *out)
{
    weir__jm_hello(ctx, out);
}

static void on_heard(void *ctx, const struct weir_jm_peer *peer, const struct weir_jm_word *members)
{
    struct weir_jm *jm = ctx;
    struct weir_error err;
    uint64_t own = weir__jm_incarnation(jm);
    if (peer->known_incarnation != 0 && peer->known_incarnation != own) {
        (void)weir_error_set(&err, WEIR_STATE,
                             "the JobManager at %s knows this one, %s, with another data directory than %s: that was lost, and an empty one may not "
                             "vote in its place. Start this JobManager with an empty directory and jobmanager.join=true, then: weir cluster "
                             "replace-jobmanager %s %s",
                             peer->address, jm->own_address, weir_config_string(jm->options.config, WEIR_CFG_JM_DATA_DIR), jm->own_address,
                             jm->own_address);
        weir__jm_fail(jm, &err);
        return;
    }
    weir__jm_met(jm, peer->id, peer->incarnation, peer->address, peer->rest_address);
    if (members != NULL && weir__jm_told_members(jm, members, &err) != WEIR_OK) {
        weir_log(jm->options.log, WEIR_LOG_WARN, "members_unreadable", "peer", peer->address, "why", err.text, NULL);
    }
}

static void on_removed(void *ctx, const char *address, const char *text)
{
    struct weir_error err;
    (void)weir_error_set(&err, WEIR_STATE, "the JobManager at %s says: %s", address, text);
    weir__jm_fail(ctx, &err);
}

/* --- opening ---------------------------------------------------------------------------------------------------------- */
/* The id the directory was made with; *out_found false: it says nothing. */
static enum weir_rc read_member(struct weir_jm *jm, const char *path, uint64_t *out_id, bool *out_found, struct weir_error *err)
{
    struct weir_buf text = {0};
    enum weir_rc rc = weir_fs_read_sealed(jm->options.fs, path, MEMBER_BYTES_MAX, &text, err);
    if (rc == WEIR_NOT_FOUND) {
        *out_found = false;
        rc = WEIR_OK;
    } else if (rc == WEIR_OK) {
        char line[MEMBER_BYTES_MAX + 1];
        char again[MEMBER_BYTES_MAX + 1];
        (void)snprintf(line, sizeof(line), "%.*s", (int)text.len, (const char *)text.data);
        const char *number = strstr(line, "\nid ");
        *out_id = number == NULL ? 0 : strtoull(number + 4, NULL, 10);
        (void)snprintf(again, sizeof(again), member_format, *out_id);
        *out_found = true;
        if (strcmp(line, again) != 0) {
            rc = weir_error_set(err, WEIR_CORRUPT, "%s is not what this version of Weir writes", path);
        }
    }
    weir_buf_fini(&text);
    return rc;
}

static enum weir_rc write_member(struct weir_jm *jm, const char *path, uint64_t id, struct weir_error *err)
{
    char text[MEMBER_BYTES_MAX];
    int bytes = snprintf(text, sizeof(text), member_format, id);
    return weir_fs_write_sealed(jm->options.fs, path, weir_slice(text, (size_t)bytes), err);
}

/* (L5): whoever answers is asked whether it has known this JobManager before. */
static enum weir_rc ask_the_others(struct weir_jm *jm, struct weir_error *err)
{
    int64_t deadline_ms = weir_clock_mono_ms(jm->options.clock) + FOUND_WAIT_MS;
    for (;;) {
        weir__jm_work(jm);
        uint32_t heard = 0;
        for (uint32_t i = 0; i < weir_jm_peers_count(jm->peers); i++) {
            struct weir_jm_peer peer;
            weir_jm_peers_at(jm->peers, i, &peer);
            heard += peer.heard_ms != INT64_MIN;
        }
        if (jm->failed) {
            *err = jm->failure;
            return err->rc;
        }
        if (heard == weir_jm_peers_count(jm->peers) || weir_clock_mono_ms(jm->options.clock) >= deadline_ms) {
            return WEIR_OK;
        }
        weir__jm_sleep(jm, NULL, deadline_ms);
    }
}

/* Under which id: as the directory was made, or for an empty one as the configuration says. */
static enum weir_rc find_id(struct weir_jm *jm, const char *path, uint64_t *out_id, struct weir_error *err)
{
    const struct weir_jm_founders *founders = &jm->founders;
    uint64_t by_config = founders->own == WEIR_JM_NOBODY ? 0 : founders->items[founders->own].id;
    bool found = false;
    enum weir_rc rc = read_member(jm, path, out_id, &found, err);
    if (rc == WEIR_OK && !jm->empty && found) {
        if (*out_id != 0 && by_config != 0 && *out_id != by_config) {
            rc = weir_error_set(err, WEIR_INVALID,
                                "jobmanager.data.dir is of a JobManager that was founded at another address or in another cluster.jobmanagers than %s, "
                                "\"%s\": give it its old address back, or replace it (weir cluster replace-jobmanager)",
                                jm->own_address, weir_config_string(jm->options.config, WEIR_CFG_JOBMANAGERS));
        }
        return rc;
    }
    if (rc == WEIR_OK && !jm->empty) {
        return weir_error_set(err, WEIR_CORRUPT, "%s is missing, but the cluster log is there: put it back", path);
    }
    if (rc == WEIR_OK && weir__jm_known_incarnation(jm, by_config) != 0) {
        return weir_error_set(err, WEIR_STATE, "%s: this JobManager's log and identity are gone, but it has been in a cluster: empty the directory, "
                              "start it with jobmanager.join=true, then: weir cluster replace-jobmanager %s %s", path, jm->own_address, jm->own_address);
    }
    bool joins = weir_config_bool(jm->options.config, WEIR_CFG_JM_JOIN);
    if (rc == WEIR_OK && !joins) {
        rc = ask_the_others(jm, err);
    }
    *out_id = joins ? 0 : by_config;
    return rc == WEIR_OK ? write_member(jm, path, *out_id, err) : rc;
}

static enum weir_rc open_log(struct weir_jm *jm, uint64_t id, struct weir_error *err)
{
    const struct weir_config *config = jm->options.config;
    struct weir_raft_member founders[WEIR_JM_FOUNDERS_MAX];
    for (uint32_t i = 0; i < jm->founders.count; i++) {
        founders[i] = (struct weir_raft_member){.id = jm->founders.items[i].id, .address = jm->founders.items[i].address, .role = WEIR_RAFT_VOTER};
    }
    uint64_t now = (uint64_t)weir_clock_mono_ns(jm->options.clock) ^ ((uint64_t)weir_clock_wall_ms(jm->options.clock) << 20);
    const struct weir_raft_log_options options = {.fs = jm->options.fs,
                                                  .dir = weir_config_string(config, WEIR_CFG_JM_DATA_DIR),
                                                  .executor = &jm->executor,
                                                  .clock = jm->options.clock,
                                                  .seed = weir_hash_u64(now, weir_hash_bytes(jm->own_address, strlen(jm->own_address), (uint64_t)getpid())),
                                                  .log = jm->options.log,
                                                  .id = id,
                                                  .founders = founders,
                                                  .nfounders = id == 0 ? 0 : jm->founders.count,
                                                  .election_timeout_ms = (uint32_t)weir_config_int(config, WEIR_CFG_RAFT_ELECTION),
                                                  .heartbeat_ms = (uint32_t)weir_config_int(config, WEIR_CFG_RAFT_HEARTBEAT),
                                                  .listener = {.ctx = jm,
                                                               .apply = on_apply,
                                                               .outcome = on_outcome,
                                                               .leadership = on_leadership,
                                                               .confirmed = on_confirmed,
                                                               .failed = on_failed,
                                                               .snapshot_take = on_snapshot_take,
                                                               .snapshot_restore = on_snapshot_restore},
                                                  .send = on_send,
                                                  .send_ctx = jm};
    return weir_raft_log_open(&options, &jm->log, err);
}

/* Alone, there is nobody else to wait for: who starts this JobManager may use it when it is ready. */
static void wait_to_lead(struct weir_jm *jm)
{
    weir__jm_work(jm);
    while (!weir_dispatcher_leading(jm->dispatcher) && !jm->failed) {
        weir__jm_sleep(jm, NULL, INT64_MAX);
        weir__jm_work(jm);
    }
}

enum weir_rc weir__jm_log_open(struct weir_jm *jm, struct weir_error *err)
{
    const char *dir = weir_config_string(jm->options.config, WEIR_CFG_JM_DATA_DIR);
    const struct weir_jm_peers_options peers = {.cluster_id = weir_config_string(jm->options.config, WEIR_CFG_CLUSTER_ID),
                                                .tls = jm->tls,
                                                .clock = jm->options.clock,
                                                .log = jm->options.log,
                                                .pool = jm->pool,
                                                .mailbox = jm->mailbox,
                                                .hello = on_hello,
                                                .heard = on_heard,
                                                .removed = on_removed,
                                                .ctx = jm};
    char *identity = weir_strfmt("%s/identity", dir);
    char *member = weir_strfmt("%s/member", dir);
    struct weir_fs_stat stat;
    uint64_t id = 0;
    enum weir_rc rc = weir_fs_stat(jm->options.fs, identity, &stat, err);
    jm->empty = rc == WEIR_NOT_FOUND;
    jm->peers = weir_jm_peers_create(&peers);
    weir__jm_follow_members(jm);
    if (rc == WEIR_OK || rc == WEIR_NOT_FOUND) {
        rc = weir__jm_known_load(jm, err);
    }
    rc = rc == WEIR_OK ? find_id(jm, member, &id, err) : rc;
    rc = rc == WEIR_OK ? open_log(jm, id, err) : rc;
    if (rc == WEIR_OK) {
        weir_raft_log_start(jm->log);
        weir__jm_run_effects(jm);
        weir__jm_follow_members(jm);
        weir_jm_peers_hello_soon(jm->peers);
        bool alone = id != 0 && jm->founders.count == 1;
        if (alone && weir__jm_members(jm, NULL) <= 1) {
            wait_to_lead(jm);
        }
    }
    if (rc == WEIR_OK && jm->failed) {
        *err = jm->failure;
        rc = err->rc;
    }
    weir_free(member);
    weir_free(identity);
    return rc;
}

/* --- time ------------------------------------------------------------------------------------------------------------- */
void weir__jm_log_tick(struct weir_jm *jm)
{
    if (jm->log != NULL && weir_raft_log_deadline_ms(jm->log) <= weir_clock_mono_ms(jm->options.clock)) {
        weir_raft_log_tick(jm->log);
    }
}

int64_t weir__jm_log_deadline_ms(const struct weir_jm *jm)
{
    return jm->log == NULL ? INT64_MAX : weir_raft_log_deadline_ms(jm->log);
}

/* --- leaving ---------------------------------------------------------------------------------------------------------- */
void weir__jm_log_hand_over(struct weir_jm *jm, int64_t deadline_ms)
{
    struct weir_raft_core_view view;
    int64_t until_ms = weir_clock_mono_ms(jm->options.clock) + HAND_OVER_MS;
    until_ms = until_ms < deadline_ms ? until_ms : deadline_ms;
    if (jm->log == NULL || jm->failed || weir__jm_members(jm, NULL) <= 1 || !weir_raft_log_transfer(jm->log)) {
        return;
    }
    weir_raft_log_view(jm->log, &view);
    uint64_t own = weir_raft_log_id(jm->log);
    while (!jm->failed && (view.leading || view.leader == 0 || view.leader == own) && weir_clock_mono_ms(jm->options.clock) < until_ms) {
        weir__jm_work(jm);
        weir__jm_sleep(jm, NULL, until_ms);
        weir_raft_log_view(jm->log, &view);
    }
}
