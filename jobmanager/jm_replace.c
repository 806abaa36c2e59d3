/*
 * One JobManager for another (`weir cluster replace-jobmanager`), on the leader. Each step is derived from what is committed, so that whoever
 * leads next goes on where this one stopped when the command is repeated:
 *
 *   not a member -add-> LEARNER -caught up: promote-> VOTER -remove the old one-> alone -JOBMANAGER records-> done
 *
 * One change of members at a time. Two members cannot share an address: a new one at the old one's is added only once that is removed (it is
 * lost anyway, or it could not listen there). A leader that is the old one hands its leadership over before it would remove itself.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "jobmanager/jm_internal.h"

enum { REPLACE_DEADLINE_MS = 120000, REPLACE_LOOK_MS = 50, REPLACE_AGAIN_MS = 200 };

static const uint64_t change_bit = UINT64_C(1) << 63; /* the dispatcher counts its proposals from 1 */

static void finish(struct weir_jm *jm, const struct weir_error *err)
{
    struct weir_jm_replacement ended = jm->replacement;
    jm->replacement = (struct weir_jm_replacement){.active = false};
    weir_log(jm->options.log, err->rc == WEIR_OK ? WEIR_LOG_INFO : WEIR_LOG_WARN, "jobmanager_replacement_ended", "old", ended.old_address, "new",
             ended.new_address, "error", err->rc == WEIR_OK ? "" : err->text, NULL);
    ended.done(ended.ctx, err->rc, err);
    weir_free(ended.old_address);
    weir_free(ended.new_address);
    weir_free(ended.new_rest_address);
}

void weir__jm_replace_abort(struct weir_jm *jm, const struct weir_error *err)
{
    if (jm->replacement.active) {
        finish(jm, err);
    }
}

/* --- the steps -------------------------------------------------------------------------------------------------------- */
/* The members with one more, or another role (role_of), or without one. */
static void change(struct weir_jm *jm, const struct weir_raft_member *put, uint64_t without, const char *waits_for)
{
    struct weir_raft_member next[WEIR_RAFT_MEMBERS_MAX + 1];
    const struct weir_raft_member *members = NULL;
    uint32_t count = weir__jm_members(jm, &members);
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (members[i].id != without && (put == NULL || members[i].id != put->id)) {
            next[n++] = members[i];
        }
    }
    if (put != NULL) {
        next[n++] = *put;
    }
    jm->replacement.proposal = change_bit | ++jm->changes;
    jm->replacement.waits_for = waits_for;
    weir_raft_log_change(jm->log, jm->replacement.proposal, next, n);
}

static bool caught_up(const struct weir_jm *jm, uint64_t id)
{
    struct weir_raft_core_view view;
    uint64_t match = 0;
    int64_t heard_ms = 0;
    weir_raft_log_view(jm->log, &view);
    return weir_raft_log_progress(jm->log, id, &match, &heard_ms) == WEIR_OK && match >= view.commit_index;
}

/* The table of members after the change; whether it is committed. */
static bool record(struct weir_jm *jm)
{
    const struct weir_jm_replacement *r = &jm->replacement;
    const struct weir_meta *meta = weir_dispatcher_meta(jm->dispatcher);
    const struct weir_meta_member *old = r->old_id == 0 ? NULL : weir_meta_member(meta, r->old_id);
    if (old != NULL && !old->removed) {
        struct weir_meta_member removed = *old;
        removed.removed = true;
        weir_dispatcher_jobmanager(jm->dispatcher, &removed, weir__jm_now(jm));
    }
    bool known = weir_meta_member(meta, r->new_member.id) != NULL;
    if (!known) {
        weir__jm_met(jm, r->new_member.id, r->new_incarnation, r->new_address, r->new_rest_address);
    }
    return known && (old == NULL || old->removed);
}

/* What is there has answered since the command came. Its predecessor at that address may be the one that is lost: then the successor of an earlier
 * replacement is still a member, and nothing but its silence tells. 1: it has; 0: not yet; -1: somebody else has. */
static int answers(const struct weir_jm *jm)
{
    const struct weir_jm_replacement *r = &jm->replacement;
    struct weir_jm_peer peer;
    if (r->new_member.id == weir__jm_id(jm)) {
        return 1;
    }
    if (!weir_jm_peers_find(jm->peers, r->new_address, &peer) || peer.heard_ms < r->began_ms) {
        return 0;
    }
    return peer.id == r->new_member.id ? 1 : -1;
}

static void remove_old(struct weir_jm *jm)
{
    struct weir_error err;
    if (jm->replacement.old_id != weir__jm_id(jm)) {
        change(jm, NULL, jm->replacement.old_id, "the old JobManager to be removed");
    } else if (weir_raft_log_transfer(jm->log)) {
        (void)weir_error_set(&err, WEIR_AGAIN, "%s led the cluster, and has handed its leadership over: repeat the command, which goes on where it was",
                             jm->replacement.old_address);
        finish(jm, &err);
    }
}

void weir__jm_replace_tick(struct weir_jm *jm)
{
    struct weir_jm_replacement *r = &jm->replacement;
    int64_t now_ms = weir_clock_mono_ms(jm->options.clock);
    if (!r->active || r->proposal != 0 || now_ms < r->next_ms) {
        return;
    }
    struct weir_error err = {.rc = WEIR_OK};
    r->next_ms = now_ms + REPLACE_LOOK_MS;
    weir__jm_follow_members(jm);
    const struct weir_raft_member *present = weir__jm_member(jm, r->new_member.id);
    bool old_present = r->old_id != 0 && weir__jm_member(jm, r->old_id) != NULL;
    if (now_ms >= r->deadline_ms) {
        (void)weir_error_set(&err, WEIR_TIMEOUT,
                             "after %d s it still waits for %s: look at the log of the JobManager at %s, then repeat the command, which goes on where "
                             "it was",
                             REPLACE_DEADLINE_MS / 1000, r->waits_for, r->new_address);
        finish(jm, &err);
    } else if (old_present && present == NULL && strcmp(r->old_address, r->new_address) == 0) {
        remove_old(jm);
    } else if (present == NULL) {
        change(jm, &r->new_member, 0, "the new JobManager to be added");
    } else if (present->role == WEIR_RAFT_LEARNER && caught_up(jm, r->new_member.id)) {
        struct weir_raft_member voter = r->new_member;
        voter.role = WEIR_RAFT_VOTER;
        change(jm, &voter, 0, "the new JobManager to get its vote");
    } else if (present->role == WEIR_RAFT_LEARNER) {
        r->waits_for = "the new JobManager to catch up";
    } else if (old_present) {
        remove_old(jm);
    } else if (answers(jm) < 0) {
        (void)weir_error_set(&err, WEIR_AGAIN, "another JobManager has started at %s: repeat the command", r->new_address);
        finish(jm, &err);
    } else if (answers(jm) == 0) {
        r->waits_for = "the new JobManager to answer";
    } else if (record(jm)) {
        finish(jm, &err);
    } else {
        r->waits_for = "the new JobManager to say where its HTTP API is";
    }
}

int64_t weir__jm_replace_deadline_ms(const struct weir_jm *jm)
{
    return jm->replacement.active && jm->replacement.proposal == 0 ? jm->replacement.next_ms : INT64_MAX;
}

bool weir__jm_replace_outcome(struct weir_jm *jm, uint64_t proposal, enum weir_proposal_outcome outcome, const struct weir_error *err)
{
    if ((proposal & change_bit) == 0) {
        return false;
    }
    struct weir_jm_replacement *r = &jm->replacement;
    if (r->active && r->proposal == proposal) {
        bool committed = outcome == WEIR_PROPOSAL_COMMITTED;
        r->proposal = 0;
        r->next_ms = weir_clock_mono_ms(jm->options.clock) + (committed ? 0 : REPLACE_AGAIN_MS);
        weir_log(jm->options.log, WEIR_LOG_INFO, "jobmanagers_changed", "waited_for", r->waits_for, "error", committed ? "" : err->text, NULL);
        if (!committed && err->rc == WEIR_INVALID) { /* it would be so the next time */
            finish(jm, err);
        }
    }
    return true;
}

/* --- the command ------------------------------------------------------------------------------------------------------ */
/* Who is to be the new one: who lives at the address now. */
static enum weir_rc find_new(struct weir_jm *jm, const char *address, struct weir_jm_replacement *r, struct weir_error *err)
{
    struct weir_jm_peer peer;
    const struct weir_jm_joiner *joiner = weir__jm_joiner(jm, address);
    r->new_member = (struct weir_raft_member){.role = WEIR_RAFT_LEARNER};
    if (joiner != NULL) {
        r->new_member.id = joiner->incarnation;
        r->new_incarnation = joiner->incarnation;
        r->new_rest_address = weir_strdup(joiner->rest_address);
    } else if (strcmp(address, jm->own_address) == 0) {
        r->new_member.id = weir__jm_id(jm);
        r->new_incarnation = weir__jm_incarnation(jm);
        r->new_rest_address = weir_strdup(jm->rest_address);
    } else if (weir_jm_peers_find(jm->peers, address, &peer) && weir__jm_member(jm, peer.id) != NULL) {
        r->new_member.id = peer.id;
        r->new_incarnation = peer.incarnation;
        r->new_rest_address = weir_strdup(peer.rest_address);
    } else {
        return weir_error_set(err, WEIR_NOT_FOUND,
                              "no JobManager that could be added has been heard from %s: start it there with an empty jobmanager.data.dir, "
                              "jobmanager.join=true and the cluster.jobmanagers of the others, then repeat the command",
                              address);
    }
    r->new_address = weir_strdup(address);
    r->new_member.address = r->new_address;
    return WEIR_OK;
}

/* Whether somebody at that address was taken out, and nobody has been put in yet: an earlier command got so far. The table may never have had
 * who it was; then it founded the cluster. */
static bool is_vacant(const struct weir_jm *jm, const char *address, bool removed)
{
    for (uint32_t i = 0; i < jm->founders.count; i++) {
        removed = removed || strcmp(jm->founders.items[i].address, address) == 0;
    }
    return removed && weir__jm_members(jm, NULL) < jm->founders.count;
}

/* Who is to go: the member at the address that is not the new one. None is right only if the new one is a member already, or it is gone already. */
static enum weir_rc find_old(const struct weir_jm *jm, const char *address, struct weir_jm_replacement *r, struct weir_error *err)
{
    bool removed = false;
    const struct weir_raft_member *members = NULL;
    uint32_t count = weir__jm_members(jm, &members);
    const struct weir_meta *meta = weir_dispatcher_meta(jm->dispatcher);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(members[i].address, address) == 0 && members[i].id != r->new_member.id) {
            r->old_id = members[i].id;
        }
    }
    for (uint32_t i = 0; r->old_id == 0 && i < weir_meta_member_count(meta); i++) { /* out of Raft already, but not of the table */
        const struct weir_meta_member *known = weir_meta_member_at(meta, i);
        removed = removed || (known->removed && strcmp(known->rpc_address, address) == 0 && known->id != r->new_member.id);
        bool gone = !known->removed && weir__jm_member(jm, known->id) == NULL;
        r->old_id = gone && strcmp(known->rpc_address, address) == 0 && known->id != r->new_member.id ? known->id : 0;
    }
    /* Who is a member there, and founded the cluster, took nobody's place; one that joined did, even if the table never had its predecessor. */
    bool founded = r->new_member.id != r->new_incarnation;
    if (r->old_id == 0 && !removed && founded && strcmp(address, r->new_member.address) == 0 && weir__jm_member(jm, r->new_member.id) != NULL) {
        return weir_error_set(err, WEIR_NOT_FOUND,
                              "no JobManager that could take the place of the member at %s has been heard from there: start it with an empty "
                              "jobmanager.data.dir, jobmanager.join=true and the cluster.jobmanagers of the others, then repeat the command",
                              address);
    }
    if (r->old_id == 0 && weir__jm_member(jm, r->new_member.id) == NULL && !is_vacant(jm, address, removed)) {
        return weir_error_set(err, WEIR_NOT_FOUND, "%s is no JobManager of this cluster: weir cluster shows which there are", address);
    }
    return WEIR_OK;
}

void weir_jm_replace(struct weir_jm *jm, struct weir_slice old_address, struct weir_slice new_address, weir_jm_done_fn *done, void *ctx)
{
    weir_owner_assert(&jm->owner);
    struct weir_error err;
    struct weir_jm_replacement r = {.active = true, .done = done, .ctx = ctx};
    char *old_text = weir_strndup(old_address.data, old_address.len);
    char *new_text = weir_strndup(new_address.data, new_address.len);
    enum weir_rc rc = weir_jm_address_check(old_address, &err);
    rc = rc == WEIR_OK ? weir_jm_address_check(new_address, &err) : rc;
    if (rc == WEIR_OK && !weir_jm_leads(jm)) {
        rc = weir_error_set(&err, WEIR_REFUSED, "this JobManager does not lead the cluster (any more): repeat the command");
    }
    if (rc == WEIR_OK && jm->replacement.active) {
        rc = weir_error_set(&err, WEIR_STATE, "%s is being replaced by %s, and that waits for %s: repeat the command later", jm->replacement.old_address,
                            jm->replacement.new_address, jm->replacement.waits_for);
    }
    rc = rc == WEIR_OK ? find_new(jm, new_text, &r, &err) : rc;
    rc = rc == WEIR_OK ? find_old(jm, old_text, &r, &err) : rc;
    if (rc == WEIR_OK) {
        r.old_address = weir_strdup(old_text);
        r.next_ms = weir_clock_mono_ms(jm->options.clock);
        r.began_ms = r.next_ms;
        r.deadline_ms = r.next_ms + REPLACE_DEADLINE_MS;
        weir_jm_peers_hello_soon(jm->peers);
        r.waits_for = "its turn";
        jm->replacement = r;
    } else {
        done(ctx, rc, &err);
        weir_free(r.new_address);
        weir_free(r.new_rest_address);
    }
    weir_free(new_text);
    weir_free(old_text);
}
