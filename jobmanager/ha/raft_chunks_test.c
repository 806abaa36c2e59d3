/*
 * Messages in chunks: whole again in any size, dropped at every gap, refused when they cannot be.
 */
#include "jobmanager/ha/raft_chunks.h"

#include <check.h>

#include "common/base/mem.h"
#include "jobmanager/ha/raft_core.h"
#include "proto/pb.h"
#include "proto/raft.pb-c.h"

enum { CHUNKS_MAX = 8 };

struct mail {
    struct weir_buf chunks[CHUNKS_MAX];
    size_t count;
};

static void keep(void *ctx, uint64_t to, const char *address, struct weir_slice chunk)
{
    struct mail *mail = ctx;
    ck_assert_uint_eq(to, 7);
    ck_assert_str_eq(address, "host:1");
    ck_assert_uint_lt(mail->count, CHUNKS_MAX);
    weir_buf_put_slice(&mail->chunks[mail->count++], chunk);
}

static void mail_fini(struct mail *mail)
{
    for (size_t i = 0; i < mail->count; i++) {
        weir_buf_fini(&mail->chunks[i]);
    }
    *mail = (struct mail){0};
}

static struct weir_buf message_of(size_t len, uint8_t seed)
{
    struct weir_buf message = {0};
    uint8_t *to = weir_buf_reserve(&message, len);
    for (size_t i = 0; i < len; i++) {
        to[i] = (uint8_t)(seed + i * 31 + (i >> 12));
    }
    message.len = len;
    return message;
}

START_TEST(messages_of_any_length)
{
    static const size_t lens[] = {1, 100, WEIR_RAFT_CHUNK_BYTES - 1, WEIR_RAFT_CHUNK_BYTES, WEIR_RAFT_CHUNK_BYTES + 1, 3 * WEIR_RAFT_CHUNK_BYTES};
    struct weir_raft_chunks *from = weir_raft_chunks_create();
    struct weir_raft_chunks *to = weir_raft_chunks_create();
    struct weir_error err;
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct mail mail = {0};
        struct weir_buf message = message_of(lens[i], (uint8_t)i);
        weir_raft_chunks_put(from, 7, "host:1", weir_buf_slice(&message), keep, &mail);
        ck_assert_uint_eq(mail.count, (lens[i] + WEIR_RAFT_CHUNK_BYTES - 1) / WEIR_RAFT_CHUNK_BYTES);
        for (size_t chunk = 0; chunk < mail.count; chunk++) {
            struct weir_slice whole = {0};
            ck_assert_int_eq(weir_raft_chunks_take(to, 3, weir_buf_slice(&mail.chunks[chunk]), &whole, &err), WEIR_OK);
            ck_assert(chunk + 1 < mail.count ? whole.len == 0 : weir_slice_eq(whole, weir_buf_slice(&message)));
        }
        weir_buf_fini(&message);
        mail_fini(&mail);
    }
    weir_raft_chunks_destroy(from);
    weir_raft_chunks_destroy(to);
}
END_TEST

/* Of two messages of four chunks each one chunk is lost, or comes twice: whichever is not hit arrives, and never a mixture. */
START_TEST(a_gap_drops_the_message)
{
    struct weir_error err;
    for (size_t hit = 0; hit < 8; hit++) {
        struct weir_raft_chunks *from = weir_raft_chunks_create();
        struct weir_raft_chunks *to = weir_raft_chunks_create();
        struct mail mail = {0};
        struct weir_buf messages[2] = {message_of(4 * WEIR_RAFT_CHUNK_BYTES, 1), message_of(4 * WEIR_RAFT_CHUNK_BYTES, 2)};
        uint32_t arrived = 0;
        for (size_t i = 0; i < 2; i++) {
            weir_raft_chunks_put(from, 7, "host:1", weir_buf_slice(&messages[i]), keep, &mail);
        }
        for (size_t chunk = 0; chunk < mail.count; chunk++) {
            for (int times = chunk == hit ? _i * 2 : 1; times > 0; times--) {
                struct weir_slice whole = {0};
                ck_assert_int_eq(weir_raft_chunks_take(to, 3, weir_buf_slice(&mail.chunks[chunk]), &whole, &err), WEIR_OK);
                ck_assert(whole.len == 0 || weir_slice_eq(whole, weir_buf_slice(&messages[chunk / 4])));
                arrived += whole.len > 0;
            }
        }
        /* twice the first chunk begins anew, and twice the last comes after the end */
        ck_assert_uint_eq(arrived, _i == 1 && (hit % 4 == 0 || hit % 4 == 3) ? 2 : 1);
        mail_fini(&mail);
        weir_buf_fini(&messages[0]);
        weir_buf_fini(&messages[1]);
        weir_raft_chunks_destroy(from);
        weir_raft_chunks_destroy(to);
    }
}
END_TEST

START_TEST(members_do_not_disturb_each_other)
{
    struct weir_raft_chunks *from = weir_raft_chunks_create();
    struct weir_raft_chunks *to = weir_raft_chunks_create();
    struct weir_error err;
    struct mail mail = {0};
    struct weir_buf message = message_of(2 * WEIR_RAFT_CHUNK_BYTES, 5);
    weir_raft_chunks_put(from, 7, "host:1", weir_buf_slice(&message), keep, &mail);
    for (uint64_t life = 0; life < 3; life++) { /* more members in all than are remembered at once */
        for (size_t chunk = 0; chunk < 2; chunk++) {
            for (uint64_t member = 1; member <= WEIR_RAFT_MEMBERS_MAX + 1; member++) {
                struct weir_slice whole = {0};
                ck_assert_int_eq(weir_raft_chunks_take(to, life * 100 + member, weir_buf_slice(&mail.chunks[chunk]), &whole, &err), WEIR_OK);
                ck_assert_uint_eq(whole.len, chunk == 0 ? 0 : message.len);
            }
        }
    }
    weir_buf_fini(&message);
    mail_fini(&mail);
    weir_raft_chunks_destroy(from);
    weir_raft_chunks_destroy(to);
}
END_TEST

static void put_chunk(struct weir_buf *out, uint64_t number, uint64_t message_bytes, uint64_t offset, size_t bytes)
{
    Weir__Raft__Chunk chunk = WEIR__RAFT__CHUNK__INIT;
    uint8_t *data = weir_calloc(bytes + 1, 1);
    chunk.number = number;
    chunk.message_bytes = message_bytes;
    chunk.offset = offset;
    chunk.bytes = (ProtobufCBinaryData){.len = bytes, .data = data};
    weir_buf_clear(out);
    weir_pb_encode(&chunk.base, out);
    weir_free(data);
}

START_TEST(chunks_that_cannot_be)
{
    static const struct {
        uint64_t message_bytes, offset;
        size_t bytes;
    } bad[] = {{10, 0, 0},           {10, 0, 11},
               {10, 10, 1},          {10, 11, 1},
               {10, UINT64_MAX, 11}, {0, 0, 1},
               {0, 0, 0},            {UINT64_MAX, 0, 10},
               {(uint64_t)WEIR_RAFT_MESSAGE_BYTES_MAX + 1, 0, 10}, {WEIR_RAFT_MESSAGE_BYTES_MAX, 0, WEIR_RAFT_CHUNK_BYTES + 1}};
    struct weir_raft_chunks *chunks = weir_raft_chunks_create();
    struct weir_buf first = {0};
    struct weir_buf second = {0};
    struct weir_buf chunk = {0};
    struct weir_error err;
    put_chunk(&first, 4, 20, 0, 10);
    put_chunk(&second, 4, 20, 10, 10);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]) + 2; i++) {
        struct weir_slice whole = {0};
        ck_assert_int_eq(weir_raft_chunks_take(chunks, 3, weir_buf_slice(&first), &whole, &err), WEIR_OK);
        uint64_t from = 3;
        if (i < sizeof(bad) / sizeof(bad[0])) {
            put_chunk(&chunk, 4, bad[i].message_bytes, bad[i].offset, bad[i].bytes);
        } else if (i % 2 == 0) {
            weir_buf_clear(&chunk);
            weir_buf_put(&chunk, "\xff\xff", 2);
        } else {
            put_chunk(&chunk, 4, 10, 0, 10);
            from = 0;
        }
        ck_assert_int_eq(weir_raft_chunks_take(chunks, from, weir_buf_slice(&chunk), &whole, &err), WEIR_INVALID);
        ck_assert_uint_eq(whole.len, 0);
        ck_assert_int_eq(weir_raft_chunks_take(chunks, 3, weir_buf_slice(&second), &whole, &err), WEIR_OK);
        ck_assert_uint_eq(whole.len, 20); /* it has had no effect */
    }
    weir_buf_fini(&first);
    weir_buf_fini(&second);
    weir_buf_fini(&chunk);
    weir_raft_chunks_destroy(chunks);
}
END_TEST

Suite *raft_chunks_suite(void);

Suite *raft_chunks_suite(void)
{
    Suite *suite = suite_create("raft_chunks");
    TCase *tcase = tcase_create("raft_chunks");
    tcase_add_test(tcase, messages_of_any_length);
    tcase_add_loop_test(tcase, a_gap_drops_the_message, 0, 2);
    tcase_add_test(tcase, members_do_not_disturb_each_other);
    tcase_add_test(tcase, chunks_that_cannot_be);
    suite_add_tcase(suite, tcase);
    return suite;
}
