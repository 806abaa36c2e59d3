/* (R6): questions to the voters whether this one still leads, and answers to those of others. */
#include "common/base/assert.h"
#include "jobmanager/ha/raft_codec.h"
#include "jobmanager/ha/raft_core_private.h"

static bool is_other_voter(const struct weir_raft_core *core, const struct weir_raft_member *member)
{
    return member->role == WEIR_RAFT_VOTER && member->id != core->options.id;
}

static bool is_member(const struct weir_raft_core *core, uint64_t id)
{
    for (uint32_t i = 0; i < core->members.count; i++) {
        if (core->members.items[i].id == id) {
            return true;
        }
    }
    return false;
}

/* That of the member; a row of nobody's, or of one that is no member any more, becomes it. */
static struct weir__raft_asked *row_of(struct weir_raft_core *core, uint64_t id)
{
    struct weir__raft_asked *row = NULL;
    for (uint32_t i = 0; i < WEIR_RAFT_MEMBERS_MAX; i++) {
        struct weir__raft_asked *voter = &core->confirms.voters[i];
        if (voter->id == id) {
            return voter;
        }
        row = row == NULL && !is_member(core, voter->id) ? voter : row;
    }
    weir_assert(row != NULL);
    *row = (struct weir__raft_asked){.id = id};
    return row;
}

static void send(struct weir_raft_core *core, uint64_t to, const struct weir_raft_confirm *confirm)
{
    weir_buf_clear(&core->message);
    weir_raft_confirm_encode(confirm, &core->message);
    core->options.host.send(core->options.host.ctx, to, weir_buf_slice(&core->message));
}

/* Each voter that has answered what it was asked before, or has not for the time of a heartbeat. */
static void ask(struct weir_raft_core *core)
{
    struct weir__raft_confirms *confirms = &core->confirms;
    const struct weir_raft_confirm question = {.term = confirms->term, .number = confirms->wanted};
    for (uint32_t i = 0; i < core->members.count && confirms->confirmed < confirms->wanted; i++) {
        if (!is_other_voter(core, &core->members.items[i])) {
            continue;
        }
        struct weir__raft_asked *voter = row_of(core, core->members.items[i].id);
        bool waits = voter->sent > voter->answered && core->now_ms - voter->sent_ms < core->options.heartbeat_ms;
        if (voter->answered < confirms->wanted && !waits) {
            voter->sent = confirms->wanted;
            voter->sent_ms = core->now_ms;
            send(core, voter->id, &question);
        }
    }
}

/* The newest question that a majority has answered, this one among them. */
static void count(struct weir_raft_core *core)
{
    struct weir__raft_confirms *confirms = &core->confirms;
    uint64_t answered[WEIR_RAFT_MEMBERS_MAX];
    uint32_t others = 0;
    for (uint32_t i = 0; i < core->members.count; i++) {
        if (is_other_voter(core, &core->members.items[i])) {
            answered[others++] = row_of(core, core->members.items[i].id)->answered;
        }
    }
    uint64_t best = others == 0 ? confirms->wanted : confirms->confirmed;
    for (uint32_t i = 0; i < others; i++) {
        uint32_t voters = 1;
        for (uint32_t k = 0; k < others; k++) {
            voters += answered[k] >= answered[i];
        }
        if (voters > (others + 1) / 2 && answered[i] > best) {
            best = answered[i];
        }
    }
    confirms->confirmed = best;
}

/* What voters have said to another leadership says nothing of this one. */
static bool leads(struct weir_raft_core *core)
{
    struct weir__raft_confirms *confirms = &core->confirms;
    uint64_t term = raft_current_term(&core->raft);
    if (!weir__raft_is_leading(core)) {
        return false;
    }
    if (confirms->term != term) {
        *confirms = (struct weir__raft_confirms){.term = term, .wanted = confirms->wanted, .confirmed = confirms->confirmed};
    }
    return true;
}

void weir__raft_confirm_begin(struct weir_raft_core *core)
{
    core->confirms.wanted++;
    if (leads(core)) {
        count(core);
        ask(core);
    }
}

/* A vote for another would have raised the term, durably, before it was given. */
static void answer(struct weir_raft_core *core, uint64_t from, const struct weir_raft_confirm *question)
{
    if (question->term == raft_current_term(&core->raft) && !weir__raft_is_leading(core)) {
        const struct weir_raft_confirm reply = {.answer = true, .term = question->term, .number = question->number};
        send(core, from, &reply);
    }
}

void weir__raft_confirm_receive(struct weir_raft_core *core, uint64_t from, const struct weir_raft_confirm *confirm)
{
    if (!confirm->answer) {
        answer(core, from, confirm);
        return;
    }
    if (!leads(core) || confirm->term != core->confirms.term || !is_member(core, from)) {
        return;
    }
    struct weir__raft_asked *voter = row_of(core, from);
    if (confirm->number <= voter->sent && confirm->number > voter->answered) {
        voter->answered = confirm->number;
        count(core);
        ask(core);
    }
}

void weir__raft_confirm_tick(struct weir_raft_core *core)
{
    if (core->confirms.confirmed < core->confirms.wanted && leads(core)) {
        ask(core);
    }
}
