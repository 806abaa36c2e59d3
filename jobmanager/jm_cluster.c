/* The JobManagers of the cluster, as this one knows them: by its configuration, by the log, and by what each says of itself. */
#include "common/base/mem.h"
#include "jobmanager/jm_internal.h"

enum { ADDRESS_BYTES_MAX = 300 };

/* --- this one --------------------------------------------------------------------------------------------------------- */
uint64_t weir__jm_id(const struct weir_jm *jm)
{
    if (jm->log != NULL) {
        return weir_raft_log_id(jm->log);
    }
    bool founds = jm->founders.own != WEIR_JM_NOBODY && !weir_config_bool(jm->options.config, WEIR_CFG_JM_JOIN);
    return founds ? jm->founders.items[jm->founders.own].id : 0;
}

uint64_t weir__jm_incarnation(const struct weir_jm *jm)
{
    return jm->log == NULL ? 0 : weir_raft_log_incarnation(jm->log);
}

bool weir__jm_is_empty(const struct weir_jm *jm)
{
    return jm->empty && weir__jm_members(jm, NULL) == 0;
}

/* --- by the log ------------------------------------------------------------------------------------------------------- */
uint32_t weir__jm_members(const struct weir_jm *jm, const struct weir_raft_member **out_members)
{
    const struct weir_raft_member *members = NULL;
    uint32_t count = jm->log == NULL ? 0 : weir_raft_log_members(jm->log, &members);
    if (out_members != NULL) {
        *out_members = members;
    }
    return count;
}

const struct weir_raft_member *weir__jm_member(const struct weir_jm *jm, uint64_t id)
{
    const struct weir_raft_member *members = NULL;
    uint32_t count = weir__jm_members(jm, &members);
    for (uint32_t i = 0; i < count; i++) {
        if (members[i].id == id) {
            return &members[i];
        }
    }
    return NULL;
}

/* --- by what others say of all ---------------------------------------------------------------------------------------- */
uint32_t weir__jm_named(const struct weir_jm *jm, char *const **out_addresses)
{
    struct weir_raft_core_view view = {.last_index = 0};
    if (jm->log != NULL) {
        weir_raft_log_view(jm->log, &view);
    }
    *out_addresses = jm->named.addresses;
    return weir_jm_named_newer(&jm->named, view.last_term, view.last_index) ? jm->named.count : 0;
}

enum weir_rc weir__jm_told_members(struct weir_jm *jm, const struct weir_jm_word *word, struct weir_error *err)
{
    bool changed = false;
    enum weir_rc rc = weir_jm_named_take(&jm->named, word, &changed, err);
    if (rc == WEIR_OK && changed) {
        weir__jm_follow_members(jm);
    }
    return rc;
}

/* --- by what each says of itself -------------------------------------------------------------------------------------- */
static void want(const struct weir_jm *jm, const char **addresses, uint32_t *count, const char *address)
{
    bool known = strcmp(address, jm->own_address) == 0;
    for (uint32_t i = 0; i < *count; i++) {
        known = known || strcmp(addresses[i], address) == 0;
    }
    if (!known) {
        addresses[(*count)++] = address;
    }
}

void weir__jm_follow_members(struct weir_jm *jm)
{
    const char *addresses[2 * WEIR_RAFT_MEMBERS_MAX + WEIR_JM_FOUNDERS_MAX + WEIR_JM_JOINERS_MAX];
    char *const *named = NULL;
    uint32_t count = 0;
    const struct weir_raft_member *members = NULL;
    uint32_t nmembers = weir__jm_members(jm, &members);
    for (uint32_t i = 0; i < nmembers; i++) {
        want(jm, addresses, &count, members[i].address);
    }
    for (uint32_t i = 0; i < jm->founders.count && weir__jm_member(jm, weir__jm_id(jm)) == NULL; i++) { /* until the log says who there is */
        want(jm, addresses, &count, jm->founders.items[i].address);
    }
    uint32_t nnamed = weir__jm_named(jm, &named);
    for (uint32_t i = 0; i < nnamed; i++) {
        want(jm, addresses, &count, named[i]);
    }
    for (uint32_t i = 0; i < WEIR_JM_JOINERS_MAX; i++) {
        if (jm->joiners[i].incarnation != 0 && weir__jm_joiner(jm, jm->joiners[i].rpc_address) != NULL) {
            want(jm, addresses, &count, jm->joiners[i].rpc_address);
        }
    }
    weir_jm_peers_set(jm->peers, addresses, count);
}

void weir__jm_met(struct weir_jm *jm, uint64_t id, uint64_t incarnation, const char *rpc_address, const char *rest_address)
{
    bool known = weir_meta_member(weir_dispatcher_meta(jm->dispatcher), id) != NULL;
    if (weir__jm_member(jm, id) == NULL || incarnation == 0 || (known && rest_address[0] == '\0') || strlen(rpc_address) > ADDRESS_BYTES_MAX ||
        strlen(rest_address) > ADDRESS_BYTES_MAX) {
        return;
    }
    const struct weir_meta_member member = {.id = id,
                                            .incarnation = incarnation,
                                            .rpc_address = (char *)(uintptr_t)rpc_address,
                                            .rest_address = (char *)(uintptr_t)rest_address};
    weir_dispatcher_jobmanager(jm->dispatcher, &member, weir__jm_now(jm));
}

void weir__jm_meet_all(struct weir_jm *jm)
{
    if (!weir_dispatcher_leading(jm->dispatcher)) {
        return;
    }
    weir__jm_met(jm, weir__jm_id(jm), weir__jm_incarnation(jm), jm->own_address, jm->rest_address);
    for (uint32_t i = 0; i < weir_jm_peers_count(jm->peers); i++) {
        struct weir_jm_peer peer;
        weir_jm_peers_at(jm->peers, i, &peer);
        weir__jm_met(jm, peer.id, peer.incarnation, peer.address, peer.rest_address);
    }
}

void weir__jm_met_joiner(struct weir_jm *jm, uint64_t incarnation, const char *rpc_address, const char *rest_address)
{
    struct weir_jm_joiner *row = &jm->joiners[0]; /* its own, or the one that was heard longest ago */
    for (uint32_t i = 0; i < WEIR_JM_JOINERS_MAX; i++) {
        struct weir_jm_joiner *other = &jm->joiners[i];
        if (other->incarnation == incarnation) {
            row = other;
            break;
        }
        row = row->incarnation != 0 && (other->incarnation == 0 || other->heard_ms < row->heard_ms) ? other : row;
    }
    if (row->incarnation != incarnation) {
        weir_log(jm->options.log, WEIR_LOG_INFO, "jobmanager_waits_to_join", "rpc", rpc_address, NULL);
    }
    weir_free(row->rpc_address);
    weir_free(row->rest_address);
    *row = (struct weir_jm_joiner){.incarnation = incarnation,
                                   .rpc_address = weir_strdup(rpc_address),
                                   .rest_address = weir_strdup(rest_address),
                                   .heard_ms = weir_clock_mono_ms(jm->options.clock)};
}

const struct weir_jm_joiner *weir__jm_joiner(const struct weir_jm *jm, const char *rpc_address)
{
    const struct weir_jm_joiner *newest = NULL;
    for (uint32_t i = 0; i < WEIR_JM_JOINERS_MAX; i++) {
        const struct weir_jm_joiner *joiner = &jm->joiners[i];
        bool fresh = joiner->incarnation != 0 && weir_clock_mono_ms(jm->options.clock) - joiner->heard_ms < WEIR_JM_UNREACHABLE_MS;
        if (fresh && strcmp(joiner->rpc_address, rpc_address) == 0 && weir__jm_member(jm, joiner->incarnation) == NULL &&
            (newest == NULL || joiner->heard_ms > newest->heard_ms)) {
            newest = joiner;
        }
    }
    return newest;
}

/* --- jm_api.h --------------------------------------------------------------------------------------------------------- */
bool weir_jm_leads(const struct weir_jm *jm)
{
    return weir_dispatcher_leading(jm->dispatcher);
}

static uint64_t leader_id(const struct weir_jm *jm, struct weir_raft_core_view *out_view)
{
    *out_view = (struct weir_raft_core_view){.leader = 0};
    if (jm->log != NULL) {
        weir_raft_log_view(jm->log, out_view);
    }
    return out_view->leader;
}

/* What it said last is newer than what was committed. */
static const char *rest_address_of(const struct weir_jm *jm, uint64_t id)
{
    struct weir_jm_peer peer;
    const struct weir_meta_member *known = weir_meta_member(weir_dispatcher_meta(jm->dispatcher), id);
    if (id == weir__jm_id(jm)) {
        return jm->rest_address;
    }
    if (weir_jm_peers_find_id(jm->peers, id, &peer) && peer.rest_address[0] != '\0') {
        return peer.rest_address;
    }
    return known == NULL ? "" : known->rest_address;
}

const char *weir_jm_leader_rest_address(const struct weir_jm *jm)
{
    struct weir_raft_core_view view;
    uint64_t id = leader_id(jm, &view);
    const char *address = id == 0 || id == weir__jm_id(jm) ? "" : rest_address_of(jm, id);
    return address[0] == '\0' ? NULL : address;
}

static void view_member(const struct weir_jm *jm, const struct weir_raft_member *member, const struct weir_raft_core_view *view,
                        struct weir_jm_member_view *out)
{
    int64_t now_ms = weir_clock_mono_ms(jm->options.clock);
    struct weir_jm_peer peer;
    int64_t heard_ms = INT64_MIN;
    *out = (struct weir_jm_member_view){
        .id = member->id, .rpc_address = member->address, .rest_address = rest_address_of(jm, member->id), .lag = -1, .last_heard_ms = -1};
    bool self = member->id == weir__jm_id(jm);
    if (self) {
        heard_ms = now_ms;
    } else if (weir_jm_peers_find_id(jm->peers, member->id, &peer)) {
        heard_ms = peer.heard_ms;
    }
    uint64_t match = 0;
    int64_t raft_heard_ms = INT64_MIN;
    if (view->leading && self) {
        out->lag = 0;
    } else if (view->leading && weir_raft_log_progress(jm->log, member->id, &match, &raft_heard_ms) == WEIR_OK) {
        out->lag = view->last_index > match ? (int64_t)(view->last_index - match) : 0;
        heard_ms = raft_heard_ms > heard_ms ? raft_heard_ms : heard_ms;
    }
    out->last_heard_ms = heard_ms == INT64_MIN ? -1 : now_ms - heard_ms;
    out->role = member->id == view->leader                                                 ? WEIR_JM_ROLE_LEADER
                : out->last_heard_ms < 0 || out->last_heard_ms > WEIR_JM_UNREACHABLE_MS ? WEIR_JM_ROLE_UNREACHABLE
                : member->role == WEIR_RAFT_LEARNER                                     ? WEIR_JM_ROLE_JOINING
                                                                                        : WEIR_JM_ROLE_STANDBY;
}

void weir_jm_cluster_view(struct weir_jm *jm, struct weir_jm_cluster_view *out_view)
{
    struct weir_raft_core_view view;
    const struct weir_raft_member *members = NULL;
    uint32_t count = weir__jm_members(jm, &members);
    const struct weir_meta *meta = weir_dispatcher_meta(jm->dispatcher);
    *out_view = (struct weir_jm_cluster_view){.leader = leader_id(jm, &view)};
    out_view->term = view.term;
    for (uint32_t i = 0; i < count; i++) {
        view_member(jm, &members[i], &view, &out_view->members[out_view->nmembers++]);
    }
    for (uint32_t i = 0; i < WEIR_JM_JOINERS_MAX && out_view->nmembers < WEIR_JM_MEMBERS_VIEW_MAX; i++) {
        const struct weir_jm_joiner *joiner = &jm->joiners[i];
        if (joiner->incarnation != 0 && weir__jm_joiner(jm, joiner->rpc_address) == joiner) {
            out_view->members[out_view->nmembers++] =
                (struct weir_jm_member_view){.id = joiner->incarnation,
                                             .rpc_address = joiner->rpc_address,
                                             .rest_address = joiner->rest_address,
                                             .role = WEIR_JM_ROLE_JOINING,
                                             .lag = -1,
                                             .last_heard_ms = weir_clock_mono_ms(jm->options.clock) - joiner->heard_ms};
        }
    }
    for (uint32_t i = 0; i < weir_meta_member_count(meta) && out_view->nmembers < WEIR_JM_MEMBERS_VIEW_MAX; i++) {
        const struct weir_meta_member *known = weir_meta_member_at(meta, i);
        if (known->removed && weir__jm_member(jm, known->id) == NULL) {
            out_view->members[out_view->nmembers++] = (struct weir_jm_member_view){.id = known->id,
                                                                                   .rpc_address = known->rpc_address,
                                                                                   .rest_address = known->rest_address,
                                                                                   .role = WEIR_JM_ROLE_REMOVED,
                                                                                   .lag = -1,
                                                                                   .last_heard_ms = -1};
        }
    }
}
