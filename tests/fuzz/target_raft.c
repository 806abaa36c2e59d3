/*
 * raft: a message between JobManagers. The first byte says who takes it in: nobody (it is read and written again), or a member that follows,
 * one that leads, or one that has compacted its log; the rest is the message.
 */
#include "common/base/mem.h"
#include "jobmanager/ha/raft_codec.h"
#include "tests/fuzz/fuzz.h"

enum { NOBODY, FOLLOWER, LEADER, COMPACTED, RECEIVERS, SENDER = 2, SELF = 1, ELECTION_MS = 400, BEGIN_MS = 1000 };

/* --- a host that has everything at once ----------------------------------------------------------------------------------- */

struct host {
    uint64_t generation;
    bool snapshot;
    bool failed;
};

static enum weir_rc on_vote(void *ctx, uint64_t term, uint64_t voted_for, struct weir_error *err)
{
    (void)ctx, (void)term, (void)voted_for, (void)err;
    return WEIR_OK;
}

static void on_append(void *ctx, uint64_t generation, uint64_t first, const struct weir_raft_entry *entries, uint32_t count)
{
    (void)first, (void)entries, (void)count;
    ((struct host *)ctx)->generation = generation;
}

static void on_snapshot(void *ctx, const struct weir_raft_snapshot *snapshot, bool install, uint64_t drop_through)
{
    (void)snapshot, (void)install, (void)drop_through;
    ((struct host *)ctx)->snapshot = true;
}

static void on_send(void *ctx, uint64_t to, struct weir_slice message)
{
    struct raft_message sent;
    struct weir_raft_confirm confirm;
    struct weir_error err;
    (void)ctx, (void)to;
    enum weir_rc rc = weir_raft_message_decode(message, SELF, &sent, &confirm, &err); /* what we send can be read */
    weir_assert(rc == WEIR_OK);
    weir_raft_message_drop(&sent);
}

static void on_apply(void *ctx, uint64_t index, uint64_t term, struct weir_slice command)
{
    (void)ctx, (void)index, (void)term, (void)command;
}

static void on_take(void *ctx, struct weir_buf *out)
{
    (void)ctx;
    weir_buf_put_u8(out, 0);
}

static enum weir_rc on_restore(void *ctx, struct weir_slice data, struct weir_error *err)
{
    (void)ctx, (void)data, (void)err;
    return WEIR_OK;
}

static void on_role(void *ctx, bool leading, uint64_t term, uint64_t leader)
{
    (void)ctx, (void)leading, (void)term, (void)leader;
}

static void on_failed(void *ctx, const struct weir_error *err)
{
    weir_assert(err->text[0] != '\0');
    ((struct host *)ctx)->failed = true;
}

static void finish_writes(struct weir_raft_core *core, struct host *host, int64_t now_ms)
{
    weir_raft_core_persisted(core, host->generation, now_ms);
    while (host->snapshot) {
        host->snapshot = false;
        weir_raft_core_snapshot_written(core, now_ms);
    }
}

/* A voter of three with four entries, of which the first three are committed. */
static struct weir_raft_core *make_core(struct host *host)
{
    static const struct weir_raft_member members[] = {{1, "a:1", WEIR_RAFT_VOTER}, {2, "b:2", WEIR_RAFT_VOTER}, {3, "c:3", WEIR_RAFT_VOTER}};
    struct weir_raft_core *core = NULL;
    struct weir_error err;
    struct weir_buf change = {0};
    weir_raft_members_encode(members, 3, &change);
    struct weir_raft_entry entries[] = {{1, WEIR_RAFT_CHANGE, weir_buf_slice(&change)},
                                        {2, WEIR_RAFT_COMMAND, weir_slice_str("x")},
                                        {2, WEIR_RAFT_BARRIER, weir_slice_str("12345678")},
                                        {3, WEIR_RAFT_COMMAND, weir_slice_str("y")}};
    struct weir_raft_boot boot = {.term = 3, .first = 1, .entries = entries, .count = 4};
    struct weir_raft_core_options options = {.id = SELF,
                                             .seed = 1,
                                             .election_timeout_ms = ELECTION_MS,
                                             .heartbeat_ms = 40,
                                             .host = {.ctx = host,
                                                      .vote = on_vote,
                                                      .append = on_append,
                                                      .snapshot = on_snapshot,
                                                      .send = on_send,
                                                      .apply = on_apply,
                                                      .take = on_take,
                                                      .restore = on_restore,
                                                      .role = on_role,
                                                      .failed = on_failed}};
    enum weir_rc rc = weir_raft_core_create(&options, &boot, BEGIN_MS, &core, &err);
    weir_assert(rc == WEIR_OK);
    weir_buf_fini(&change);
    return core;
}

static void step(struct weir_raft_core *core, const struct raft_message *message, int64_t now_ms)
{
    struct weir_buf bytes = {0};
    struct weir_error err;
    weir_raft_message_encode(message, NULL, NULL, &bytes);
    enum weir_rc rc = weir_raft_core_receive(core, SENDER, weir_buf_slice(&bytes), now_ms, &err);
    weir_assert(rc == WEIR_OK);
    weir_buf_fini(&bytes);
}

static void receive(struct weir_slice bytes, uint32_t receiver)
{
    struct host host = {0};
    struct weir_error err = {0};
    struct weir_raft_core *core = make_core(&host);
    int64_t now_ms = BEGIN_MS;
    if (receiver == LEADER) {
        now_ms += 2 * ELECTION_MS;
        weir_raft_core_tick(core, now_ms);
        step(core, &(struct raft_message){.type = RAFT_REQUEST_VOTE_RESULT, .request_vote_result = {.term = 4, .vote_granted = true}}, now_ms);
        step(core, &(struct raft_message){.type = RAFT_REQUEST_VOTE_RESULT, .request_vote_result = {.term = 5, .vote_granted = true}}, now_ms);
        finish_writes(core, &host, now_ms);
    } else if (receiver == COMPACTED) {
        step(core, &(struct raft_message){.type = RAFT_APPEND_ENTRIES,
                                          .append_entries = {.term = 3, .prev_log_index = 4, .prev_log_term = 3, .leader_commit = 3}},
             now_ms);
        enum weir_rc rc = weir_raft_core_compact(core, 1, now_ms, &err);
        weir_assert(rc == WEIR_OK);
        finish_writes(core, &host, now_ms);
    }
    if (weir_raft_core_receive(core, SENDER, bytes, now_ms, &err) == WEIR_OK) {
        finish_writes(core, &host, now_ms);
        weir_raft_core_tick(core, now_ms + ELECTION_MS);
        (void)!weir_raft_core_receive(core, SENDER, bytes, now_ms + ELECTION_MS, &err);
    } else {
        weir_assert(err.text[0] != '\0');
    }
    weir_raft_core_destroy(core);
}

/* --- the target ------------------------------------------------------------------------------------------------------------- */

/* What is read is written again as it was, as far as it is carried. */
static void check_codec(struct weir_slice bytes)
{
    struct raft_message message;
    struct weir_raft_confirm confirm;
    struct weir_error err = {0};
    if (weir_raft_message_decode(bytes, SENDER, &message, &confirm, &err) == WEIR_OK) {
        weir_raft_message_drop(&message);
    } else {
        weir_assert(err.rc == WEIR_INVALID && err.text[0] != '\0');
    }
}

static void raft_run(void *state, struct weir_slice input)
{
    (void)state;
    if (input.len == 0) {
        return;
    }
    uint32_t receiver = input.data[0] % RECEIVERS;
    uint8_t *bytes = weir_malloc(input.len);
    memcpy(bytes, input.data + 1, input.len - 1);
    if (receiver == NOBODY) {
        check_codec(weir_slice(bytes, input.len - 1));
    } else {
        receive(weir_slice(bytes, input.len - 1), receiver);
    }
    weir_free(bytes);
}

static void *raft_create(void)
{
    return NULL;
}

static void raft_destroy(void *state)
{
    (void)state;
}

static void raft_seed_inputs(void *state, weir_fuzz_seed_fn *add, void *ctx)
{
    (void)state;
    static const struct weir_raft_member members[] = {{1, "a:1", WEIR_RAFT_VOTER}, {2, "b:2", WEIR_RAFT_LEARNER}};
    struct weir_buf change = {0};
    weir_raft_members_encode(members, 2, &change);
    const struct weir_raft_entry entries[] = {{3, WEIR_RAFT_COMMAND, weir_slice_str("x")},
                                              {4, WEIR_RAFT_CHANGE, weir_buf_slice(&change)},
                                              {5, WEIR_RAFT_COMMAND, weir_slice_str("y")}};
    const struct weir_raft_snapshot snapshot = {
        .index = 9, .term = 4, .members_index = 2, .members = weir_buf_slice(&change), .data = weir_slice_str("state")};
    const struct raft_message messages[] = {
        {.type = RAFT_REQUEST_VOTE, .request_vote = {.term = 9, .candidate_id = SENDER, .last_log_index = 9, .last_log_term = 8}},
        {.type = RAFT_REQUEST_VOTE_RESULT, .request_vote_result = {.term = 5, .vote_granted = true}},
        {.type = RAFT_APPEND_ENTRIES, .append_entries = {.term = 5, .prev_log_index = 3, .prev_log_term = 2, .leader_commit = 4, .n_entries = 3}},
        {.type = RAFT_APPEND_ENTRIES, .append_entries = {.term = 5, .prev_log_index = 4, .prev_log_term = 3, .leader_commit = 4}},
        {.type = RAFT_APPEND_ENTRIES_RESULT, .append_entries_result = {.term = 5, .last_log_index = 4}},
        {.type = RAFT_APPEND_ENTRIES_RESULT, .append_entries_result = {.term = 5, .rejected = 4, .last_log_index = 2}},
        {.type = RAFT_INSTALL_SNAPSHOT, .install_snapshot = {.term = 5}},
        {.type = RAFT_TIMEOUT_NOW, .timeout_now = {.term = 3, .last_log_index = 4, .last_log_term = 3}}};
    const struct weir_raft_confirm confirms[] = {{.term = 3, .number = 1}, {.answer = true, .term = 4, .number = 1}};
    for (uint8_t receiver = 0; receiver < RECEIVERS; receiver++) {
        for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
            struct weir_buf input = {0};
            weir_buf_put_u8(&input, receiver);
            weir_raft_message_encode(&messages[i], entries, &snapshot, &input);
            add(ctx, weir_buf_slice(&input));
            weir_buf_fini(&input);
        }
        for (size_t i = 0; i < sizeof(confirms) / sizeof(confirms[0]); i++) {
            struct weir_buf input = {0};
            weir_buf_put_u8(&input, receiver);
            weir_raft_confirm_encode(&confirms[i], &input);
            add(ctx, weir_buf_slice(&input));
            weir_buf_fini(&input);
        }
    }
    weir_buf_fini(&change);
}

const struct weir_fuzz_target weir_fuzz_raft = {
    .name = "raft", .create = raft_create, .run = raft_run, .destroy = raft_destroy, .seed = raft_seed_inputs};
