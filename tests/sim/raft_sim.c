#include "tests/sim/raft_sim_internal.h"

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { CHAOS_MS = 20000, SETTLE_MS = 8000, PROGRESS_MS = 3000, LATE_MS = 1500, BEGIN_MS = 1000, BATCH_MAX = 6, COMMAND_BYTES_MAX = 60, LAG_MAX = 64,
       AIMED_MAX = 3, AIMED_MS = 300 };

static const char *const fault_names[WEIR_RAFT_SIM_FAULTS] = {
    "drop", "duplicate", "reorder", "split", "cut of a link", "deaf leader", "crash", "crash of the leader", "crash of all", "torn write",
    "stall of a disk", "pause", "transfer", "compaction", "install", "learner added", "promotion", "demotion", "removal", "replacement"};

static const char *const phase_names[WEIR_RAFT_SIM_PHASES] = {"installing", "changing members", "two leaders", "electing", "committing", "quiet"};

static const char *const sabotage_names[WEIR_RAFT_SIM_SABOTAGES] = {
    "honest", "acks early", "forgets vote", "forgets term", "keeps tail", "no workaround 1", "no workaround 2", "no workaround 3",
    "no workaround 4", "no workaround 5", "no workaround 6", "no workaround 7",
    "no workaround 8", "leads unconfirmed", "early change"};

const char *weir_raft_sim_fault_name(enum weir_raft_sim_fault fault)
{
    return fault_names[fault];
}

const char *weir_raft_sim_phase_name(enum weir_raft_sim_phase phase)
{
    return phase_names[phase];
}

const char *weir_raft_sim_sabotage_name(enum weir_raft_sim_sabotage sabotage)
{
    return sabotage_names[sabotage];
}

bool weir_raft_sim_reachable(enum weir_raft_sim_fault fault, enum weir_raft_sim_phase phase)
{
    bool changes = fault == WEIR_RAFT_SIM_ADD || fault == WEIR_RAFT_SIM_PROMOTE || fault == WEIR_RAFT_SIM_DEMOTE ||
                   fault == WEIR_RAFT_SIM_REMOVE || fault == WEIR_RAFT_SIM_REPLACE;
    bool leads = changes || fault == WEIR_RAFT_SIM_TRANSFER || fault == WEIR_RAFT_SIM_DEAF || fault == WEIR_RAFT_SIM_CRASH_LEADER;
    return !(leads && phase == WEIR_RAFT_SIM_ELECTING) && !(changes && phase == WEIR_RAFT_SIM_CHANGING);
}

/* --- chance, trace, events ---------------------------------------------------------------------------------------------------- */

uint32_t weir__sim_below(struct weir__sim *sim, uint32_t bound)
{
    return (uint32_t)weir_rand_below(&sim->rand, bound);
}

uint32_t weir__sim_between(struct weir__sim *sim, uint32_t low, uint32_t high)
{
    return low + weir__sim_below(sim, high - low + 1);
}

bool weir__sim_chance(struct weir__sim *sim, uint32_t of_thousand)
{
    return weir__sim_below(sim, 1000) < of_thousand;
}

static uint32_t pick(struct weir__sim *sim, const uint32_t *from, uint32_t count)
{
    return from[weir__sim_below(sim, count)];
}

void weir__sim_trace(const struct weir__sim *sim, const char *format, ...)
{
    if (sim->what->trace_fd < 0) {
        return;
    }
    va_list args;
    va_start(args, format);
    (void)dprintf(sim->what->trace_fd, "%" PRId64 " ", sim->now_ms);
    (void)vdprintf(sim->what->trace_fd, format, args);
    (void)dprintf(sim->what->trace_fd, "\n");
    va_end(args);
}

void weir__sim_hit(struct weir__sim *sim, enum weir_raft_sim_fault fault)
{
    if (!sim->calm && !sim->directed) {
        sim->result->hits[fault][sim->phase]++;
    }
}

void weir__sim_digest(struct weir__sim *sim, uint64_t a, uint64_t b)
{
    sim->result->digest = weir_hash_combine(sim->result->digest ^ a, b ^ (uint64_t)sim->now_ms);
}

static bool event_before(const struct weir_heap_node *a, const struct weir_heap_node *b)
{
    const struct weir__sim_event *left = WEIR_CONTAINER_OF(a, struct weir__sim_event, node);
    const struct weir__sim_event *right = WEIR_CONTAINER_OF(b, struct weir__sim_event, node);
    return left->at_ms < right->at_ms || (left->at_ms == right->at_ms && left->order < right->order);
}

struct weir__sim_event *weir__sim_schedule(struct weir__sim *sim, int64_t at_ms, enum weir__sim_event_kind kind,
                                           const struct weir__sim_member *member)
{
    struct weir__sim_event *event = weir_calloc(1, sizeof(*event));
    *event = (struct weir__sim_event){.at_ms = at_ms, .order = ++sim->order, .kind = kind};
    if (member != NULL) {
        event->slot = (uint32_t)(member - sim->members);
        event->to = member->id;
        event->life = member->life;
    }
    weir_heap_push(&sim->events, &event->node);
    return event;
}

static void drop_event(struct weir__sim_event *event)
{
    weir_free(event->bytes);
    weir_free(event);
}

static struct weir__sim_member *by_id(struct weir__sim *sim, uint64_t id)
{
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        if (id != 0 && sim->members[i].id == id) {
            return &sim->members[i];
        }
    }
    return NULL;
}

/* --- messages ------------------------------------------------------------------------------------------------------------------- */

static void send_once(struct weir__sim *sim, struct weir__sim_member *from, struct weir__sim_member *to, struct weir_slice message)
{
    size_t f = (size_t)(from - sim->members);
    size_t t = (size_t)(to - sim->members);
    int64_t at_ms = sim->now_ms + (sim->directed ? 1 : weir__sim_between(sim, sim->weather.delay_min, sim->weather.delay_max));
    if (!sim->calm && !sim->directed && weir__sim_chance(sim, sim->weather.late)) {
        at_ms += weir__sim_below(sim, LATE_MS);
    }
    if (at_ms < sim->last_arrival[f][t]) {
        if (sim->fifo) {
            at_ms = sim->last_arrival[f][t];
        } else {
            weir__sim_hit(sim, WEIR_RAFT_SIM_REORDER);
        }
    } else {
        sim->last_arrival[f][t] = at_ms;
    }
    struct weir__sim_event *event = weir__sim_schedule(sim, at_ms, WEIR__SIM_MAIL, to);
    event->from = from->id;
    event->bytes = (uint8_t *)weir_strndup(message.data, message.len);
    event->len = message.len;
}

void weir__sim_send(struct weir__sim *sim, struct weir__sim_member *from, uint64_t to, struct weir_slice message)
{
    struct weir__sim_member *target = by_id(sim, to);
    sim->result->messages++;
    weir__sim_digest(sim, from->id * 64 + to, weir_hash_slice(message, 0));
    if (target == NULL || sim->cut[from - sim->members][target - sim->members]) {
        return;
    }
    if (!sim->calm && weir__sim_chance(sim, sim->weather.drop)) {
        weir__sim_hit(sim, WEIR_RAFT_SIM_DROP);
        return;
    }
    send_once(sim, from, target, message);
    if (!sim->calm && !sim->fifo && weir__sim_chance(sim, sim->weather.duplicate)) {
        weir__sim_hit(sim, WEIR_RAFT_SIM_DUPLICATE);
        send_once(sim, from, target, message);
    }
}

static void deliver(struct weir__sim *sim, struct weir__sim_event *event)
{
    struct weir__sim_member *to = &sim->members[event->slot];
    struct weir__sim_member *from = by_id(sim, event->from);
    struct weir_error err;
    bool connected = from == NULL || !sim->cut[from - sim->members][event->slot];
    if (to->core == NULL || to->id != event->to || !connected || (sim->fifo && to->life != event->life)) {
        return; /* a new life is a new connection */
    }
    if (weir_raft_core_receive(to->core, event->from, weir_slice(event->bytes, event->len), sim->now_ms, &err) != WEIR_OK) {
        weir_raft_oracle_fail(sim->oracle, "member %lu refuses a message of %lu: %s", (unsigned long)to->id, (unsigned long)event->from, err.text);
    }
    weir__sim_look(to);
}

/* --- who is what ------------------------------------------------------------------------------------------------------------------ */

static struct weir__sim_member *newest_leader(struct weir__sim *sim)
{
    struct weir__sim_member *leader = NULL;
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        struct weir__sim_member *member = &sim->members[i];
        if (member->core != NULL && member->leading && (leader == NULL || member->lead_term > leader->lead_term)) {
            leader = member;
        }
    }
    return leader;
}

static enum weir_raft_sim_phase find_phase(struct weir__sim *sim)
{
    const struct weir__sim_member *leader = newest_leader(sim);
    uint32_t leaders = 0;
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        if (sim->members[i].core != NULL && sim->members[i].installing) {
            return WEIR_RAFT_SIM_INSTALLING;
        }
        leaders += sim->members[i].core != NULL && sim->members[i].leading;
    }
    if (leader == NULL) {
        return WEIR_RAFT_SIM_ELECTING;
    }
    if (leader->core->raft.configuration_uncommitted_index != 0) {
        return WEIR_RAFT_SIM_CHANGING;
    }
    struct weir_raft_core_view view;
    weir_raft_core_view(leader->core, &view);
    return leaders > 1                            ? WEIR_RAFT_SIM_TWO_LEADERS
           : view.commit_index < view.last_index ? WEIR_RAFT_SIM_COMMITTING
                                                 : WEIR_RAFT_SIM_QUIET;
}

static struct weir__sim_member *any_up(struct weir__sim *sim)
{
    uint32_t start = weir__sim_below(sim, WEIR__SIM_SLOTS);
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        struct weir__sim_member *member = &sim->members[(start + i) % WEIR__SIM_SLOTS];
        if (member->core != NULL) {
            return member;
        }
    }
    return NULL;
}

/* The members of the newest CHANGE that is committed. */
static uint32_t committed_members(struct weir__sim *sim, struct weir__raft_members *out_members)
{
    *out_members = (struct weir__raft_members){0};
    weir__raft_members_load(out_members, weir_raft_oracle_members(sim->oracle)->data);
    return out_members->count;
}

/* --- clients ------------------------------------------------------------------------------------------------------------------------ */

static void submit(struct weir__sim *sim, struct weir__sim_member *member)
{
    uint8_t bytes[BATCH_MAX][COMMAND_BYTES_MAX + 8];
    struct weir_slice commands[BATCH_MAX];
    struct weir_error err;
    uint64_t first = 0;
    uint32_t count = sim->directed ? 1 : weir__sim_between(sim, 1, BATCH_MAX);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len = weir__sim_between(sim, 0, COMMAND_BYTES_MAX);
        for (uint32_t at = 0; at < len; at += 8) {
            weir_le_put_u64(&bytes[i][at], weir_rand_u64(&sim->rand));
        }
        commands[i] = weir_slice(bytes[i], len);
    }
    (void)!weir_raft_core_submit(member->core, commands, count, sim->now_ms, &first, &err); /* refused while it hands over */
    weir__sim_look(member);
}

/* Everyone who says that it leads is asked: the one of an old term too. */
static void client(struct weir__sim *sim)
{
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        if (sim->members[i].core != NULL && sim->members[i].leading && sim->members[i].paused_ms <= sim->now_ms) {
            submit(sim, &sim->members[i]);
            weir__sim_read(&sim->members[i]);
        }
    }
}

/* --- changes of members ------------------------------------------------------------------------------------------------------------- */

static bool propose(struct weir__sim *sim, struct weir__sim_member *leader, const struct weir_raft_member *members, uint32_t count,
                    enum weir_raft_sim_fault fault)
{
    struct weir_error err;
    uint64_t index = 0;
    bool ok = weir_raft_core_change(leader->core, members, count, sim->now_ms, &index, &err) == WEIR_OK;
    weir__sim_look(leader);
    weir__sim_trace(sim, "%lu %s: %s", (unsigned long)leader->id, fault_names[fault], ok ? "ok" : err.text);
    if (ok) {
        weir__sim_hit(sim, fault);
    }
    return ok;
}

static void add_learner(struct weir__sim *sim, struct weir__sim_member *leader, struct weir_raft_member *members, uint32_t count)
{
    char address[32];
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        struct weir__sim_member *spare = &sim->members[i];
        if (spare->id == 0 && count < WEIR_RAFT_MEMBERS_MAX) {
            uint64_t id = sim->last_id + 1;
            (void)snprintf(address, sizeof(address), "m:%lu", (unsigned long)id);
            members[count] = (struct weir_raft_member){.id = id, .address = address, .role = WEIR_RAFT_LEARNER};
            if (propose(sim, leader, members, count + 1, WEIR_RAFT_SIM_ADD)) {
                sim->last_id = id;
                spare->id = id;
                spare->life++;
                weir__sim_start(spare);
            }
            return;
        }
    }
}

/* Nobody who can come back has another list of members than the one that is committed, so a member may lose its disk. */
static bool all_agree_on_members(struct weir__sim *sim)
{
    const struct weir_raft_item *newest = weir_raft_oracle_members(sim->oracle);
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        const struct weir__sim_member *member = &sim->members[i];
        const struct weir__sim_log *log = member->core == NULL ? &member->disk.log : &member->log;
        for (size_t k = log->count; member->id != 0 && k > 0; k--) {
            if (log->items[k - 1]->kind == WEIR_RAFT_CHANGE) {
                if (log->items[k - 1] != newest) {
                    return false;
                }
                break;
            }
        }
    }
    return true;
}

static struct weir__sim_member *lost_member(struct weir__sim *sim)
{
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        if (sim->members[i].lost) {
            return &sim->members[i];
        }
    }
    return NULL;
}

static void remove_at(struct weir_raft_member *members, uint32_t *count, uint32_t at)
{
    for (uint32_t i = at; i + 1 < *count; i++) {
        members[i] = members[i + 1];
    }
    (*count)--;
}

/* A disk is lost; another member is to take its place. */
static void lose_disk(struct weir__sim *sim, struct weir__sim_member *leader, const struct weir_raft_member *member, uint32_t voters)
{
    struct weir__sim_member *victim = by_id(sim, member->id);
    if (victim == NULL || victim == leader || (member->role == WEIR_RAFT_VOTER && voters < 3) || !all_agree_on_members(sim)) {
        return;
    }
    if (victim->core != NULL) {
        weir__sim_crash(victim);
    }
    victim->lost = true; /* the checks may look at it until its place is free: what it had acknowledged was durable then */
    weir__sim_trace(sim, "%lu loses its disk", (unsigned long)victim->id);
}

static void change_someone(struct weir__sim *sim, struct weir__sim_member *leader, struct weir_raft_member *members, uint32_t count)
{
    uint32_t voters = 0;
    uint32_t at = weir__sim_below(sim, count);
    for (uint32_t i = 0; i < count; i++) {
        voters += members[i].role == WEIR_RAFT_VOTER;
    }
    bool last_voter = members[at].role == WEIR_RAFT_VOTER && voters == 1;
    uint32_t dice = weir__sim_below(sim, 8);
    if (dice < 2) {
        lose_disk(sim, leader, &members[at], voters);
    } else if (members[at].role == WEIR_RAFT_LEARNER && dice < 6) {
        members[at].role = WEIR_RAFT_VOTER;
        (void)propose(sim, leader, members, count, WEIR_RAFT_SIM_PROMOTE);
    } else if (!last_voter && members[at].role == WEIR_RAFT_VOTER && dice < 5) {
        members[at].role = WEIR_RAFT_LEARNER;
        (void)propose(sim, leader, members, count, WEIR_RAFT_SIM_DEMOTE);
    } else if (!last_voter) {
        remove_at(members, &count, at);
        (void)propose(sim, leader, members, count, WEIR_RAFT_SIM_REMOVE);
    }
}

/* Who is out of the group for good gives its place free. */
static void free_places(struct weir__sim *sim)
{
    struct weir__raft_members members;
    uint32_t count = committed_members(sim, &members);
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        struct weir__sim_member *member = &sim->members[i];
        bool known = false;
        for (uint32_t k = 0; k < count; k++) {
            known = known || members.items[k].id == member->id;
        }
        if (member->id != 0 && !known && all_agree_on_members(sim) && (member->lost || weir__sim_chance(sim, 300))) {
            weir__sim_trace(sim, "%lu is gone", (unsigned long)member->id);
            if (member->core != NULL) {
                weir__sim_crash(member);
            }
            weir__sim_wipe(member);
            member->lost = false;
            member->id = 0;
        }
    }
    weir__raft_members_fini(&members);
}

static void administer(struct weir__sim *sim)
{
    struct weir_raft_member members[WEIR_RAFT_MEMBERS_MAX + 1];
    const struct weir_raft_member *present = NULL;
    struct weir__sim_member *leader = newest_leader(sim);
    struct weir__sim_member *lost = lost_member(sim);
    free_places(sim);
    leader = leader != NULL && leader->core != NULL && leader->paused_ms <= sim->now_ms ? leader : NULL;
    if (leader == NULL || leader->id == 0) {
        return;
    }
    uint32_t count = weir_raft_core_members(leader->core, &present);
    memcpy(members, present, count * sizeof(*present));
    if (lost != NULL && lost->id != 0) {
        for (uint32_t i = 0; i < count; i++) {
            if (members[i].id == lost->id) {
                remove_at(members, &count, i);
                (void)propose(sim, leader, members, count, WEIR_RAFT_SIM_REPLACE);
                return;
            }
        }
    } else if (weir__sim_chance(sim, count < 3 ? 700 : 400)) {
        add_learner(sim, leader, members, count);
    } else {
        change_someone(sim, leader, members, count);
    }
}

/* --- faults ---------------------------------------------------------------------------------------------------------------------------- */

static void heal(struct weir__sim *sim)
{
    memset(sim->cut, 0, sizeof(sim->cut));
}

static void crash_for(struct weir__sim *sim, struct weir__sim_member *member, uint32_t ms_max)
{
    weir__sim_crash(member);
    (void)weir__sim_schedule(sim, sim->now_ms + weir__sim_between(sim, 1, ms_max), WEIR__SIM_RESTART, member);
}

static void split(struct weir__sim *sim)
{
    uint32_t sides = weir__sim_between(sim, 1, (1u << WEIR__SIM_SLOTS) - 2);
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        for (uint32_t k = 0; k < WEIR__SIM_SLOTS; k++) {
            sim->cut[i][k] = ((sides >> i) & 1) != ((sides >> k) & 1);
        }
    }
    weir__sim_hit(sim, WEIR_RAFT_SIM_SPLIT);
}

static void deafen(struct weir__sim *sim, const struct weir__sim_member *leader, bool mute_too)
{
    size_t l = (size_t)(leader - sim->members);
    for (size_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        sim->cut[i][l] = i != l;
        sim->cut[l][i] = mute_too && i != l;
    }
    weir__sim_hit(sim, mute_too ? WEIR_RAFT_SIM_SPLIT : WEIR_RAFT_SIM_DEAF);
}

static void hand_over(struct weir__sim *sim, struct weir__sim_member *leader, const struct weir__sim_member *to)
{
    struct weir_error err;
    bool ok = weir_raft_core_transfer(leader->core, to == leader ? 0 : to->id, sim->now_ms, &err) == WEIR_OK;
    weir__sim_look(leader);
    weir__sim_trace(sim, "%lu hands over: %s", (unsigned long)leader->id, ok ? "ok" : err.text);
    if (ok) {
        weir__sim_hit(sim, WEIR_RAFT_SIM_TRANSFER);
    }
}

static void crash_all(struct weir__sim *sim)
{
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        if (sim->members[i].core != NULL) {
            crash_for(sim, &sim->members[i], 500);
        }
    }
    weir__sim_hit(sim, WEIR_RAFT_SIM_CRASH_ALL);
}

static void fault(struct weir__sim *sim)
{
    struct weir__sim_member *leader = newest_leader(sim);
    struct weir__sim_member *victim = any_up(sim);
    uint32_t dice = weir__sim_below(sim, 14);
    weir__sim_trace(sim, "fault %u", dice);
    if (dice <= 1 || victim == NULL) {
        heal(sim);
    } else if (dice == 2) {
        split(sim);
    } else if (dice == 3) {
        sim->cut[victim - sim->members][weir__sim_below(sim, WEIR__SIM_SLOTS)] = true;
        weir__sim_hit(sim, WEIR_RAFT_SIM_CUT);
    } else if (dice == 4 && leader != NULL) {
        heal(sim);
        deafen(sim, leader, true);
    } else if (dice == 5 && leader != NULL) {
        deafen(sim, leader, false);
    } else if (dice == 6) {
        crash_for(sim, victim, 3000);
        weir__sim_hit(sim, WEIR_RAFT_SIM_CRASH);
    } else if (dice <= 8 && leader != NULL) {
        crash_for(sim, leader, 3000);
        weir__sim_hit(sim, WEIR_RAFT_SIM_CRASH_LEADER);
    } else if (dice == 9 && weir__sim_chance(sim, 300)) {
        crash_all(sim);
    } else if (dice == 10) {
        victim->stalled_ms = sim->now_ms + weir__sim_between(sim, 200, 3000);
        weir__sim_hit(sim, WEIR_RAFT_SIM_STALL);
    } else if (dice == 11) {
        victim = leader != NULL && weir__sim_chance(sim, 500) ? leader : victim;
        victim->paused_ms = sim->now_ms + weir__sim_between(sim, 100, 2500);
        weir__sim_hit(sim, WEIR_RAFT_SIM_PAUSE);
    } else if (dice >= 12 && leader != NULL && leader->paused_ms <= sim->now_ms) {
        hand_over(sim, leader, victim);
    }
}

/* --- the loop ---------------------------------------------------------------------------------------------------------------------------- */

static void maybe_compact(struct weir__sim *sim, struct weir__sim_member *member)
{
    struct weir_raft_core_view view;
    struct weir_error err;
    if (sim->threshold == 0 || member->core == NULL || member->core->failed) {
        return;
    }
    weir_raft_core_view(member->core, &view);
    if (view.applied_index >= view.snapshot_index + sim->threshold && member->core->started) {
        (void)!weir_raft_core_compact(member->core, sim->trailing, sim->now_ms, &err); /* not now: again after the next event */
        weir__sim_look(member);
    }
}

static void handle(struct weir__sim *sim, struct weir__sim_event *event)
{
    struct weir__sim_member *member = &sim->members[event->slot];
    bool alive = member->core != NULL && member->life == event->life;
    switch (event->kind) {
    case WEIR__SIM_MAIL:
        deliver(sim, event);
        break;
    case WEIR__SIM_WRITTEN:
        if (alive) {
            weir__sim_written(member);
            weir__sim_look(member);
        }
        break;
    case WEIR__SIM_EARLY:
        if (alive) {
            weir_raft_core_persisted(member->core, event->generation, sim->now_ms);
            weir__sim_look(member);
        }
        break;
    case WEIR__SIM_CLIENT:
        client(sim);
        (void)weir__sim_schedule(sim, sim->now_ms + weir__sim_between(sim, 5, 120), WEIR__SIM_CLIENT, NULL);
        break;
    case WEIR__SIM_FAULT:
        if (!sim->calm) {
            fault(sim);
            (void)weir__sim_schedule(sim, sim->now_ms + weir__sim_between(sim, 50, 1500), WEIR__SIM_FAULT, NULL);
        }
        break;
    case WEIR__SIM_ADMIN:
        if (!sim->calm) {
            administer(sim);
            (void)weir__sim_schedule(sim, sim->now_ms + weir__sim_between(sim, 20, 1200), WEIR__SIM_ADMIN, NULL);
        }
        break;
    case WEIR__SIM_AIMED:
        if (!sim->calm && sim->changes && weir__sim_chance(sim, 400)) {
            administer(sim);
        } else if (!sim->calm) {
            fault(sim);
        }
        break;
    case WEIR__SIM_RESTART:
        if (member->core == NULL && member->life == event->life && member->id != 0 && !member->lost) {
            weir__sim_start(member);
        }
        break;
    }
    maybe_compact(sim, member);
}

/* Whoever is paused gets it when it goes on. */
static bool put_off(struct weir__sim *sim, struct weir__sim_event *event)
{
    const struct weir__sim_member *member = &sim->members[event->slot];
    bool its_own = event->kind == WEIR__SIM_MAIL || event->kind == WEIR__SIM_WRITTEN || event->kind == WEIR__SIM_EARLY;
    if (!its_own || member->core == NULL || member->paused_ms <= sim->now_ms) {
        return false;
    }
    event->at_ms = member->paused_ms;
    event->order = ++sim->order;
    weir_heap_push(&sim->events, &event->node);
    return true;
}

static struct weir__sim_member *next_timer(struct weir__sim *sim, int64_t *out_ms)
{
    struct weir__sim_member *next = NULL;
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        struct weir__sim_member *member = &sim->members[i];
        if (member->core != NULL && !sim->frozen[i]) {
            int64_t at_ms = member->tick_ms > member->paused_ms ? member->tick_ms : member->paused_ms;
            if (next == NULL || at_ms < *out_ms) {
                next = member;
                *out_ms = at_ms;
            }
        }
    }
    return next;
}

/* Phases that are rare and short get more than their share of what happens. */
static void enter_phase(struct weir__sim *sim)
{
    enum weir_raft_sim_phase before = sim->phase;
    sim->phase = find_phase(sim);
    if (sim->directed || sim->calm || sim->phase == before) {
        return;
    }
    uint32_t shots = sim->phase == WEIR_RAFT_SIM_TWO_LEADERS ? AIMED_MAX : sim->phase == WEIR_RAFT_SIM_INSTALLING ? weir__sim_chance(sim, 100) : 0;
    for (uint32_t i = 0; i < shots; i++) {
        (void)weir__sim_schedule(sim, sim->now_ms + weir__sim_below(sim, AIMED_MS), WEIR__SIM_AIMED, NULL);
    }
}

/* The next thing; false when nothing comes before until_ms, or something was wrong. */
static bool turn(struct weir__sim *sim, int64_t until_ms)
{
    const struct weir_heap_node *first = weir_heap_peek(&sim->events);
    int64_t event_ms = first == NULL ? INT64_MAX : WEIR_CONTAINER_OF(first, const struct weir__sim_event, node)->at_ms;
    int64_t timer_ms = INT64_MAX;
    struct weir__sim_member *timer = next_timer(sim, &timer_ms);
    int64_t at_ms = timer_ms < event_ms ? timer_ms : event_ms;
    if (at_ms > until_ms || weir_raft_oracle_failure(sim->oracle) != NULL) {
        sim->now_ms = until_ms > sim->now_ms && at_ms > until_ms ? until_ms : sim->now_ms;
        return false;
    }
    sim->now_ms = at_ms > sim->now_ms ? at_ms : sim->now_ms;
    enter_phase(sim);
    if (timer_ms < event_ms) {
        weir__sim_digest(sim, timer->id, 1);
        weir_raft_core_tick(timer->core, sim->now_ms);
        weir__sim_look(timer);
        maybe_compact(sim, timer);
        return true;
    }
    struct weir__sim_event *event = WEIR_CONTAINER_OF(weir_heap_pop(&sim->events), struct weir__sim_event, node);
    if (!put_off(sim, event)) {
        weir__sim_digest(sim, event->slot, (uint64_t)event->kind + 2);
        handle(sim, event);
        drop_event(event);
    }
    return true;
}

static void run_until(struct weir__sim *sim, int64_t until_ms)
{
    while (turn(sim, until_ms)) {
    }
}

/* --- a seed ------------------------------------------------------------------------------------------------------------------------------ */

static void draw_case(struct weir__sim *sim)
{
    static const uint32_t inflights[] = {1, 2, 8, 32};
    static const uint32_t thresholds[] = {0, 4, 16, 64};
    static const uint32_t trailings[] = {0, 1, 8, 32};
    static const uint32_t installs[] = {100, 1000, 2000};
    static const uint32_t drops[] = {0, 5, 50, 250};
    static const uint32_t duplicates[] = {0, 10, 150};
    static const uint32_t delays[] = {1, 10, 60, 400};
    static const uint32_t lates[] = {0, 5, 50};
    static const uint32_t disks[] = {0, 5, 40, 200};
    static const uint32_t jitters[] = {0, 2, 30};
    struct weir__sim_weather *weather = &sim->weather;
    sim->inflight = pick(sim, inflights, 4);
    sim->threshold = pick(sim, thresholds, 4);
    sim->trailing = pick(sim, trailings, 4);
    sim->install_timeout_ms = pick(sim, installs, 3);
    sim->pre_vote = weir__sim_chance(sim, 700);
    sim->fifo = weir__sim_chance(sim, 500);
    sim->changes = weir__sim_chance(sim, 600);
    weather->drop = pick(sim, drops, 4);
    weather->duplicate = pick(sim, duplicates, 3);
    weather->late = pick(sim, lates, 3);
    weather->delay_min = weir__sim_below(sim, 3);
    weather->delay_max = weather->delay_min + pick(sim, delays, 4);
    weather->disk_min = weir__sim_below(sim, 3);
    weather->disk_max = weather->disk_min + pick(sim, disks, 4);
    weather->jitter = pick(sim, jitters, 3);
}

/* What every founding member has on its disk: one CHANGE, committed by definition. */
static void found(struct weir__sim *sim, uint32_t count)
{
    struct weir_raft_member members[WEIR_RAFT_MEMBERS_MAX];
    char addresses[WEIR_RAFT_MEMBERS_MAX][16];
    struct weir_buf change = {0};
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(addresses[i], sizeof(addresses[i]), "m:%u", i + 1);
        members[i] = (struct weir_raft_member){.id = i + 1, .address = addresses[i], .role = WEIR_RAFT_VOTER};
    }
    weir_raft_core_found(members, count, &change);
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        struct weir__sim_member *member = &sim->members[i];
        *member = (struct weir__sim_member){.sim = sim, .disk.log.first = 1, .log.first = 1};
        member->writes_end = &member->writes;
        if (i < count) {
            member->id = i + 1;
            weir__sim_found(member, weir_buf_slice(&change));
        }
    }
    sim->last_id = count;
    (void)weir_raft_oracle_commit(sim->oracle, 1, 1, sim->members[0].disk.log.items[0]);
    weir_buf_fini(&change);
}

static void init(struct weir__sim *sim, const struct weir_raft_sim_case *what, struct weir_raft_sim_result *result)
{
    *result = (struct weir_raft_sim_result){0};
    *sim = (struct weir__sim){.what = what, .result = result, .oracle = weir_raft_oracle_create(), .now_ms = BEGIN_MS};
    weir_rand_init(&sim->rand, what->seed);
    weir_heap_init(&sim->events, event_before);
}

static void fini(struct weir__sim *sim)
{
    const struct weir_error *failure = weir_raft_oracle_failure(sim->oracle);
    struct weir_raft_sim_result *result = sim->result;
    result->ok = failure == NULL;
    result->virtual_ms = (uint64_t)(sim->now_ms - BEGIN_MS);
    if (failure != NULL) {
        (void)weir_error_set(&result->err, WEIR_INVALID, "%" PRId64 " ms: %s", sim->now_ms, failure->text);
        weir__sim_trace(sim, "WRONG: %s", failure->text);
    }
    sim->directed = true; /* nothing is drawn any more */
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        if (sim->members[i].core != NULL) {
            weir__sim_crash(&sim->members[i]);
        }
        weir__sim_wipe(&sim->members[i]);
    }
    while (weir_heap_peek(&sim->events) != NULL) {
        drop_event(WEIR_CONTAINER_OF(weir_heap_pop(&sim->events), struct weir__sim_event, node));
    }
    weir_heap_fini(&sim->events);
    weir_raft_oracle_destroy(sim->oracle);
}

/* Everything is well from now on. */
static void begin_calm(struct weir__sim *sim)
{
    weir__sim_trace(sim, "calm");
    sim->calm = true;
    heal(sim);
    sim->weather = (struct weir__sim_weather){.delay_min = 1, .delay_max = 3, .disk_max = 2, .jitter = 1};
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        struct weir__sim_member *member = &sim->members[i];
        member->stalled_ms = 0;
        member->paused_ms = 0;
        if (member->core == NULL && member->id != 0 && !member->lost && weir_raft_oracle_failure(sim->oracle) == NULL) {
            weir__sim_start(member);
        }
    }
}

static void check_calm(struct weir__sim *sim, uint64_t committed_before, uint64_t confirmed_before)
{
    uint64_t committed = weir_raft_oracle_committed(sim->oracle);
    struct weir__raft_members members;
    uint32_t count = committed_members(sim, &members);
    const struct weir__sim_member *leader = newest_leader(sim);
    if (committed <= committed_before) {
        weir_raft_oracle_fail(sim->oracle, "liveness: nothing was committed in %d ms of calm (leader %lu)", PROGRESS_MS,
                              (unsigned long)(leader == NULL ? 0 : leader->id));
    }
    if (sim->result->confirmed <= confirmed_before) {
        weir_raft_oracle_fail(sim->oracle, "liveness: nobody was confirmed to lead in %d ms of calm", PROGRESS_MS);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct weir__sim_member *member = by_id(sim, members.items[i].id);
        if (member == NULL || member->lost) {
            continue;
        }
        struct weir_raft_core_view view;
        weir_raft_core_view(member->core, &view);
        if (view.applied_index + LAG_MAX < committed) {
            weir_raft_oracle_fail(sim->oracle, "liveness: member %lu has applied %lu of %lu entries", (unsigned long)member->id,
                                  (unsigned long)view.applied_index, (unsigned long)committed);
        }
    }
    weir__raft_members_fini(&members);
}

void weir_raft_sim_run(const struct weir_raft_sim_case *what, struct weir_raft_sim_result *out_result)
{
    static const uint32_t sizes[] = {1, 3, 3, 3, 5, 5};
    struct weir__sim *sim = weir_calloc(1, sizeof(*sim));
    init(sim, what, out_result);
    draw_case(sim);
    found(sim, pick(sim, sizes, 6));
    for (uint32_t i = 0; i < sim->last_id; i++) {
        weir__sim_start(&sim->members[i]);
    }
    (void)weir__sim_schedule(sim, sim->now_ms + 1, WEIR__SIM_CLIENT, NULL);
    (void)weir__sim_schedule(sim, sim->now_ms + 500, WEIR__SIM_FAULT, NULL);
    if (sim->changes) {
        (void)weir__sim_schedule(sim, sim->now_ms + 700, WEIR__SIM_ADMIN, NULL);
    }
    run_until(sim, sim->now_ms + CHAOS_MS);
    begin_calm(sim);
    run_until(sim, sim->now_ms + SETTLE_MS);
    uint64_t committed = weir_raft_oracle_committed(sim->oracle);
    uint64_t confirmed = out_result->confirmed;
    run_until(sim, sim->now_ms + PROGRESS_MS);
    if (weir_raft_oracle_failure(sim->oracle) == NULL) {
        check_calm(sim, committed, confirmed);
    }
    fini(sim);
    weir_free(sim);
}

/* --- figure 8 ------------------------------------------------------------------------------------------------------------------------------ */

enum { S1, S2, S3, S4, S5, FIGURE8_MS = 20000 };

static void isolate(struct weir__sim *sim, uint32_t who)
{
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        sim->cut[who][i] = sim->cut[i][who] = i != who;
    }
}

static void only_timer(struct weir__sim *sim, uint32_t who)
{
    for (uint32_t i = 0; i < WEIR__SIM_SLOTS; i++) {
        sim->frozen[i] = i != who;
    }
}

static bool leads(const struct weir__sim_member *member)
{
    return member->core != NULL && member->leading;
}

static bool has_second(const struct weir__sim_member *member)
{
    return weir__sim_log_at(&member->disk.log, 2) != NULL;
}

/* The first entry of term 2 is acknowledged by S2 and S3. */
static bool is_acknowledged(const struct weir__sim_member *member)
{
    uint64_t second = 0;
    uint64_t third = 0;
    int64_t heard_ms = 0;
    return weir_raft_core_progress(member->core, S2 + 1, &second, &heard_ms) == WEIR_OK &&
           weir_raft_core_progress(member->core, S3 + 1, &third, &heard_ms) == WEIR_OK && second >= 2 && third >= 2;
}

static void wait_for(struct weir__sim *sim, bool (*holds)(const struct weir__sim_member *member), uint32_t who, const char *what)
{
    int64_t until_ms = sim->now_ms + FIGURE8_MS;
    while (!holds(&sim->members[who])) {
        if (!turn(sim, until_ms)) {
            weir_raft_oracle_fail(sim->oracle, "figure 8 stands still: %s", what);
            return;
        }
    }
}

/* (c) of the figure: an entry of term 2 is on three of five disks, under a leader of a later term: that does not commit it. */
static void figure8_until_c(struct weir__sim *sim)
{
    only_timer(sim, S1);
    wait_for(sim, leads, S1, "S1 leads");
    isolate(sim, S1);
    sim->cut[S1][S2] = sim->cut[S2][S1] = false;
    submit(sim, &sim->members[S1]);
    wait_for(sim, has_second, S2, "S2 has the entry");
    weir__sim_crash(&sim->members[S1]);
    heal(sim);
    only_timer(sim, S5);
    wait_for(sim, leads, S5, "S5 leads");
    isolate(sim, S5);
    submit(sim, &sim->members[S5]);
    wait_for(sim, has_second, S5, "S5 has another one");
    weir__sim_crash(&sim->members[S5]);
    heal(sim);
    weir__sim_start(&sim->members[S1]);
    only_timer(sim, S1);
    wait_for(sim, leads, S1, "S1 leads again");
    sim->cut[S1][S4] = sim->cut[S4][S1] = sim->cut[S1][S5] = sim->cut[S5][S1] = true;
    wait_for(sim, is_acknowledged, S1, "S2 and S3 have the entry");
    if (weir_raft_oracle_committed(sim->oracle) != 1) {
        weir_raft_oracle_fail(sim->oracle, "figure 8: an entry of an old term was committed by counting disks");
    }
}

/* (d): S5 leads and overwrites it everywhere. */
static void figure8_d(struct weir__sim *sim)
{
    weir__sim_crash(&sim->members[S1]);
    weir__sim_start(&sim->members[S5]);
    for (uint32_t i = S1; i <= S5; i++) {
        isolate(sim, i); /* they refuse while they know a leader: let their time run out alone */
    }
    memset(sim->frozen, 0, sizeof(sim->frozen));
    sim->frozen[S5] = true;
    run_until(sim, sim->now_ms + 1000);
    heal(sim);
    only_timer(sim, S5);
    wait_for(sim, leads, S5, "S5 leads again");
    run_until(sim, sim->now_ms + 3000);
    weir__sim_start(&sim->members[S1]);
    submit(sim, &sim->members[S5]);
    run_until(sim, sim->now_ms + 3000);
    for (uint32_t i = S1; i <= S5 && weir_raft_oracle_failure(sim->oracle) == NULL; i++) {
        struct weir_raft_core_view view;
        weir_raft_core_view(sim->members[i].core, &view);
        if (view.applied_index != weir_raft_oracle_committed(sim->oracle) || view.applied_index < 3) {
            weir_raft_oracle_fail(sim->oracle, "figure 8: member %u has applied %lu of %lu entries", i + 1, (unsigned long)view.applied_index,
                                  (unsigned long)weir_raft_oracle_committed(sim->oracle));
        }
    }
}

void weir_raft_sim_figure8(const struct weir_raft_sim_case *what, struct weir_raft_sim_result *out_result)
{
    struct weir__sim *sim = weir_calloc(1, sizeof(*sim));
    init(sim, what, out_result);
    sim->directed = true;
    sim->inflight = 1; /* else the leader's barrier goes with the old entry */
    sim->install_timeout_ms = 1000;
    found(sim, 5);
    for (uint32_t i = S1; i <= S5; i++) {
        weir__sim_start(&sim->members[i]);
    }
    figure8_until_c(sim);
    if (weir_raft_oracle_failure(sim->oracle) == NULL) {
        figure8_d(sim);
    }
    fini(sim);
    weir_free(sim);
}
