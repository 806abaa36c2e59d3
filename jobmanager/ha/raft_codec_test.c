/* Every message there and back; bytes cut at every place and flipped at random; each thing that cannot be. */
#include "jobmanager/ha/raft_codec.h"

#include <check.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "proto/pb.h"
#include "proto/raft.pb-c.h"

Suite *raft_codec_suite(void);

enum { SENDER = 7, FLIPS = 30000 };

struct fixture {
    struct weir_buf members;
    struct weir_raft_entry entries[3];
    struct weir_raft_snapshot snapshot;
    struct raft_message messages[6];
};

static void init(struct fixture *f)
{
    static const struct weir_raft_member members[] = {{1, "a:1", WEIR_RAFT_VOTER}, {2, "b:2", WEIR_RAFT_LEARNER}};
    *f = (struct fixture){0};
    weir_raft_members_encode(members, 2, &f->members);
    f->entries[0] = (struct weir_raft_entry){.term = 3, .kind = WEIR_RAFT_CHANGE, .data = weir_buf_slice(&f->members)};
    f->entries[1] = (struct weir_raft_entry){.term = 3, .kind = WEIR_RAFT_BARRIER};
    f->entries[2] = (struct weir_raft_entry){.term = 4, .kind = WEIR_RAFT_COMMAND, .data = weir_slice_str("command")};
    f->snapshot = (struct weir_raft_snapshot){
        .index = 9, .term = 4, .members_index = 2, .members = weir_buf_slice(&f->members), .data = weir_slice_str("state")};
    f->messages[0] = (struct raft_message){
        .type = RAFT_REQUEST_VOTE,
        .request_vote = {.term = 5, .candidate_id = SENDER, .last_log_index = 9, .last_log_term = 4, .disrupt_leader = true, .pre_vote = true}};
    f->messages[1] = (struct raft_message){
        .type = RAFT_REQUEST_VOTE_RESULT,
        .request_vote_result = {.term = 5, .vote_granted = true, .pre_vote = true, .features = 1, .capacity = 65535}};
    f->messages[2] = (struct raft_message){
        .type = RAFT_APPEND_ENTRIES,
        .append_entries = {.term = 5, .prev_log_index = 8, .prev_log_term = 3, .leader_commit = 7, .n_entries = 3}};
    f->messages[3] = (struct raft_message){.type = RAFT_APPEND_ENTRIES_RESULT,
                                           .append_entries_result = {.term = 5, .rejected = 9, .last_log_index = 8, .features = 1}};
    f->messages[4] = (struct raft_message){.type = RAFT_INSTALL_SNAPSHOT, .install_snapshot = {.term = 5}};
    f->messages[5] =
        (struct raft_message){.type = RAFT_TIMEOUT_NOW, .timeout_now = {.term = 5, .last_log_index = 9, .last_log_term = 4}};
}

static void fini(struct fixture *f)
{
    weir_buf_fini(&f->members);
}

static void encode(const struct fixture *f, int which, struct weir_buf *out)
{
    weir_raft_message_encode(&f->messages[which], f->entries, &f->snapshot, out);
}

/* From memory of exactly that size. */
static enum weir_rc decode(struct weir_slice bytes, uint64_t from, struct raft_message *out, struct weir_error *err)
{
    struct weir_raft_confirm confirm;
    uint8_t *copy = weir_malloc(bytes.len == 0 ? 1 : bytes.len);
    if (bytes.len > 0) {
        memcpy(copy, bytes.data, bytes.len);
    }
    enum weir_rc rc = weir_raft_message_decode(weir_slice(copy, bytes.len), from, out, &confirm, err);
    weir_free(copy);
    return rc;
}

START_TEST(there_and_back)
{
    struct fixture f;
    struct weir_error err;
    struct raft_message m[6];
    init(&f);
    for (int i = 0; i < 6; i++) {
        struct weir_buf bytes = {0};
        encode(&f, i, &bytes);
        ck_assert_msg(decode(weir_buf_slice(&bytes), SENDER, &m[i], &err) == WEIR_OK, "%s", err.text);
        ck_assert_int_eq(m[i].type, f.messages[i].type);
        ck_assert_uint_eq(m[i].server_id, SENDER);
        ck_assert_ptr_nonnull(m[i].server_address);
        weir_buf_fini(&bytes);
    }
    ck_assert(m[0].request_vote.term == 5 && m[0].request_vote.last_log_index == 9 && m[0].request_vote.last_log_term == 4);
    ck_assert(m[0].request_vote.disrupt_leader && m[0].request_vote.pre_vote && m[0].request_vote.candidate_id == SENDER);
    ck_assert(m[1].request_vote_result.vote_granted && m[1].request_vote_result.pre_vote && m[1].request_vote_result.capacity == 65535);
    ck_assert_uint_gt(m[1].request_vote_result.version, 1); /* else a pre-vote counts as a vote */
    ck_assert(m[2].append_entries.prev_log_index == 8 && m[2].append_entries.leader_commit == 7 && m[2].append_entries.n_entries == 3);
    for (unsigned i = 0; i < 3; i++) {
        const struct raft_entry *entry = &m[2].append_entries.entries[i];
        ck_assert_uint_eq(entry->term, f.entries[i].term);
        ck_assert_int_eq((int)entry->type, (int)f.entries[i].kind);
        ck_assert(weir_slice_eq(weir_slice(entry->buf.base, entry->buf.len), f.entries[i].data));
        ck_assert_ptr_nonnull(entry->buf.base);
        ck_assert_ptr_eq(entry->batch, m[2].append_entries.entries[0].batch);
    }
    ck_assert(m[3].append_entries_result.rejected == 9 && m[3].append_entries_result.last_log_index == 8);
    ck_assert(m[4].install_snapshot.last_index == 9 && m[4].install_snapshot.last_term == 4 && m[4].install_snapshot.conf_index == 2);
    ck_assert(m[4].install_snapshot.conf.n == 2 && m[4].install_snapshot.conf.servers[1].role == RAFT_STANDBY);
    ck_assert(weir_slice_eq_str(weir_slice(m[4].install_snapshot.data.base, m[4].install_snapshot.data.len), "state"));
    ck_assert(m[5].timeout_now.last_log_index == 9);
    for (int i = 0; i < 6; i++) {
        weir_raft_message_drop(&m[i]);
    }
    fini(&f);
}
END_TEST

START_TEST(who_leads_is_asked_and_answered)
{
    struct weir_error err;
    for (int i = 0; i < 2; i++) {
        const struct weir_raft_confirm sent = {.answer = i == 1, .term = 5, .number = 77};
        const struct weir_raft_confirm impossible[] = {{.answer = i == 1, .number = 77}, {.answer = i == 1, .term = 5}, {.answer = i == 1, .term = UINT64_MAX, .number = 77},
                                                       {.answer = i == 1, .term = 5, .number = UINT64_MAX}};
        struct weir_raft_confirm got = {.number = 0};
        struct raft_message m = {.type = RAFT_TIMEOUT_NOW};
        struct weir_buf bytes = {0};
        weir_raft_confirm_encode(&sent, &bytes);
        ck_assert_int_eq(weir_raft_message_decode(weir_buf_slice(&bytes), SENDER, &m, &got, &err), WEIR_OK);
        ck_assert(m.type == (enum raft_message_type)0 && m.server_id == SENDER);
        ck_assert(got.answer == sent.answer && got.term == 5 && got.number == 77);
        weir_raft_message_drop(&m);
        for (size_t k = 0; k < sizeof(impossible) / sizeof(impossible[0]); k++) {
            weir_buf_clear(&bytes);
            weir_raft_confirm_encode(&impossible[k], &bytes);
            ck_assert_int_eq(weir_raft_message_decode(weir_buf_slice(&bytes), SENDER, &m, &got, &err), WEIR_INVALID);
        }
        weir_buf_fini(&bytes);
    }
}
END_TEST

START_TEST(no_bytes_do_harm)
{
    struct fixture f;
    struct weir_error err;
    struct weir_rand rand;
    struct raft_message m;
    uint32_t good = 0;
    init(&f);
    weir_rand_init(&rand, 11);
    for (int i = 0; i < 6; i++) {
        struct weir_buf bytes = {0};
        encode(&f, i, &bytes);
        for (size_t len = 0; len < bytes.len; len++) { /* a shorter message may be one too: protobuf has no end */
            if (decode(weir_slice(bytes.data, len), SENDER, &m, &err) == WEIR_OK) {
                weir_raft_message_drop(&m);
            } else {
                ck_assert_int_eq(err.rc, WEIR_INVALID);
            }
        }
        for (int k = 0; k < FLIPS; k++) {
            struct weir_buf other = {0};
            weir_buf_put_slice(&other, weir_buf_slice(&bytes));
            for (uint64_t n = weir_rand_below(&rand, 4) + 1; n > 0; n--) {
                other.data[weir_rand_below(&rand, other.len)] = (uint8_t)weir_rand_u64(&rand);
            }
            if (decode(weir_buf_slice(&other), SENDER, &m, &err) == WEIR_OK) {
                weir_raft_message_drop(&m);
                good++;
            }
            weir_buf_fini(&other);
        }
        weir_buf_fini(&bytes);
    }
    ck_assert_uint_gt(good, 0);
    fini(&f);
}
END_TEST

/* --- what cannot be ---------------------------------------------------------------------------------------------------------- */

static void ck_refused(const Weir__Raft__Message *message, const char *what)
{
    struct weir_buf bytes = {0};
    struct raft_message m;
    struct weir_error err;
    weir_pb_encode(&message->base, &bytes);
    enum weir_rc rc = decode(weir_buf_slice(&bytes), SENDER, &m, &err);
    ck_assert_msg(rc == WEIR_INVALID, "not refused: %s", what);
    weir_buf_fini(&bytes);
}

/* The message of the fixture as protobuf's struct, one thing altered. */
#define CK_REFUSED(which, change)                                                                                             \
    do {                                                                                                                      \
        struct weir_buf bytes_ = {0};                                                                                         \
        struct weir_error err_;                                                                                               \
        Weir__Raft__Message *m = NULL;                                                                                        \
        encode(&f, (which), &bytes_);                                                                                         \
        ck_assert_int_eq(weir_pb_decode(&weir__raft__message__descriptor, weir_buf_slice(&bytes_), &m, &err_), WEIR_OK);      \
        change;                                                                                                               \
        ck_refused(m, #change);                                                                                               \
        weir_pb_free(m);                                                                                                      \
        weir_buf_fini(&bytes_);                                                                                               \
    } while (0)

START_TEST(what_the_library_takes_for_granted_is_checked)
{
    struct fixture f;
    struct weir_error err;
    struct raft_message decoded;
    init(&f);
    CK_REFUSED(0, m->request_vote->term = 0);
    CK_REFUSED(0, m->request_vote->term = UINT64_MAX);
    CK_REFUSED(0, m->request_vote->candidate_id = SENDER + 1);
    CK_REFUSED(0, m->request_vote->last_log_index = 0);
    CK_REFUSED(0, m->request_vote->last_log_term = 0);
    CK_REFUSED(0, m->request_vote->last_log_term = 6);
    CK_REFUSED(1, m->request_vote_result->term = 0);
    CK_REFUSED(1, m->request_vote_result->features = 65536);
    CK_REFUSED(1, m->request_vote_result->capacity = 65536);
    CK_REFUSED(2, m->append_entries->term = 0);
    CK_REFUSED(2, m->append_entries->prev_log_index = 0);
    CK_REFUSED(2, m->append_entries->prev_log_index = UINT64_MAX);
    CK_REFUSED(2, m->append_entries->prev_log_term = 0);
    CK_REFUSED(2, m->append_entries->prev_log_term = 6);
    CK_REFUSED(2, m->append_entries->prev_log_term = 4);
    CK_REFUSED(2, m->append_entries->leader_commit = UINT64_MAX);
    CK_REFUSED(2, m->append_entries->entries[0]->term = 0);
    CK_REFUSED(2, m->append_entries->entries[1]->term = 2);
    CK_REFUSED(2, m->append_entries->entries[2]->term = 6);
    CK_REFUSED(2, m->append_entries->entries[1]->kind = 0);
    CK_REFUSED(2, m->append_entries->entries[1]->kind = 4);
    CK_REFUSED(2, m->append_entries->entries[1]->kind = WEIR_RAFT_CHANGE);
    CK_REFUSED(2, m->append_entries->entries[0]->data.len--);
    CK_REFUSED(2, m->append_entries->prev_log_index = m->append_entries->prev_log_term = 0; m->append_entries->entries[0]->kind = WEIR_RAFT_COMMAND);
    CK_REFUSED(3, m->append_entries_result->term = 0);
    CK_REFUSED(3, m->append_entries_result->last_log_index = 9);
    CK_REFUSED(3, m->append_entries_result->rejected = UINT64_MAX);
    CK_REFUSED(3, m->append_entries_result->features = 65536);
    CK_REFUSED(4, m->install_snapshot->term = 0);
    CK_REFUSED(4, m->install_snapshot->term = 3);
    CK_REFUSED(4, m->install_snapshot->last_index = 0);
    CK_REFUSED(4, m->install_snapshot->last_term = 0);
    CK_REFUSED(4, m->install_snapshot->last_index = m->install_snapshot->last_term = 0);
    CK_REFUSED(4, m->install_snapshot->members_index = 0);
    CK_REFUSED(4, m->install_snapshot->members_index = 10);
    CK_REFUSED(4, m->install_snapshot->members.len = 0);
    CK_REFUSED(4, m->install_snapshot->members.data[0]++);
    CK_REFUSED(5, m->timeout_now->term = 0);
    CK_REFUSED(5, m->timeout_now->last_log_term = 0);
    struct weir_buf bytes = {0};
    encode(&f, 1, &bytes);
    ck_assert_int_eq(decode(weir_buf_slice(&bytes), 0, &decoded, &err), WEIR_INVALID);
    ck_assert_int_eq(decode(weir_slice("", 0), SENDER, &decoded, &err), WEIR_INVALID);
    weir_buf_fini(&bytes);
    /* More entries than a message may have. */
    struct weir_raft_entry *many = weir_calloc(WEIR_RAFT_ENTRIES_PER_MESSAGE_MAX + 1, sizeof(*many));
    for (int i = 0; i <= WEIR_RAFT_ENTRIES_PER_MESSAGE_MAX; i++) {
        many[i] = f.entries[2];
    }
    f.messages[2].append_entries.n_entries = WEIR_RAFT_ENTRIES_PER_MESSAGE_MAX + 1;
    weir_raft_message_encode(&f.messages[2], many, NULL, &bytes);
    ck_assert_int_eq(decode(weir_buf_slice(&bytes), SENDER, &decoded, &err), WEIR_INVALID);
    f.messages[2].append_entries.n_entries--;
    weir_buf_clear(&bytes);
    weir_raft_message_encode(&f.messages[2], many, NULL, &bytes);
    ck_assert_int_eq(decode(weir_buf_slice(&bytes), SENDER, &decoded, &err), WEIR_OK);
    weir_raft_message_drop(&decoded);
    weir_buf_fini(&bytes);
    weir_free(many);
    fini(&f);
}
END_TEST

Suite *raft_codec_suite(void)
{
    Suite *suite = suite_create("raft_codec");
    TCase *tcase = tcase_create("raft_codec");
    tcase_add_test(tcase, there_and_back);
    tcase_add_test(tcase, who_leads_is_asked_and_answered);
    tcase_add_test(tcase, no_bytes_do_harm);
    tcase_add_test(tcase, what_the_library_takes_for_granted_is_checked);
    suite_add_tcase(suite, tcase);
    return suite;
}
