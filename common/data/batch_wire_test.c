#include "common/data/batch_wire.h"

#include "common/base/crc32c.h"
#include "tests/lib/random_batch.h"

static struct weir_mem *mem;
static struct weir_schema *schema;

static void setup(void)
{
    mem = weir_mem_create("test", 0, NULL);
    schema = random_schema();
}

static void teardown(void)
{
    weir_schema_unref(schema);
    weir_mem_destroy(mem);
}

/* Decodes from memory of exactly that size, so that the sanitizers see every byte too many. */
static enum weir_rc decode(struct weir_slice bytes, struct weir_batch **out_batch)
{
    struct weir_error err = {0};
    uint8_t *copy = weir_malloc(bytes.len);
    memcpy(copy, bytes.data, bytes.len);
    enum weir_rc rc = weir_batch_decode(weir_slice(copy, bytes.len), schema, mem, out_batch, &err);
    weir_free(copy);
    ck_assert((rc == WEIR_OK) == (err.text[0] == '\0'));
    return rc;
}

static bool is_refused(struct weir_slice bytes)
{
    struct weir_batch *batch = NULL;
    enum weir_rc rc = decode(bytes, &batch);
    ck_assert((rc == WEIR_OK) == (batch != NULL));
    weir_batch_unref(batch);
    return rc == WEIR_CORRUPT || rc == WEIR_UNSUPPORTED;
}

/* Makes the checksum right again: what is checked behind it must hold on its own. */
static void seal(struct weir_buf *buf)
{
    uint32_t crc = weir_crc32c(0, buf->data, 12);
    weir_buf_set_u32(buf, 8, (uint32_t)(buf->len - 16));
    crc = weir_crc32c(0, buf->data, 12);
    weir_buf_set_u32(buf, 12, weir_crc32c(crc, buf->data + 16, buf->len - 16));
}

START_TEST(batches_round_trip)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 1);
    struct weir_buf buf = {0};
    for (unsigned round = 0; round < 400; round++) {
        struct weir_batch *batch = random_batch(&rand, schema, 1 + (uint32_t)weir_rand_below(&rand, 140), round % 8, mem);
        weir_buf_clear(&buf);
        weir_buf_put_str(&buf, "before"); /* encode appends */
        weir_batch_encode(batch, &buf);
        struct weir_batch *back = NULL;
        ck_assert_int_eq(decode(weir_slice(buf.data + 6, buf.len - 6), &back), WEIR_OK);
        ck_assert_ptr_null(back->sel);
        assert_same_rows(batch, back);
        weir_batch_unref(batch);

        struct weir_buf again = {0}; /* one batch, one encoding */
        weir_batch_encode(back, &again);
        ck_assert(weir_slice_eq(weir_buf_slice(&again), weir_slice(buf.data + 6, buf.len - 6)));
        weir_buf_fini(&again);
        weir_batch_unref(back);
    }
    weir_buf_fini(&buf);
}
END_TEST

START_TEST(a_full_batch_and_an_empty_selection)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 2);
    struct weir_buf buf = {0};
    struct weir_batch *batch = random_batch(&rand, schema, WEIR_BATCH_ROWS_MAX, RANDOM_NULLS | RANDOM_KINDS, mem);
    weir_batch_encode(batch, &buf);
    struct weir_batch *back = NULL;
    ck_assert_int_eq(decode(weir_buf_slice(&buf), &back), WEIR_OK);
    assert_same_rows(batch, back);
    ck_assert_uint_le(weir_batch_bytes(back), buf.len * 4 + 64 * 3 * back->ncols);
    weir_batch_unref(back);

    struct weir_batch *none = weir_batch_select_take(batch, weir_buffer_create(0, mem), 0);
    weir_buf_clear(&buf);
    weir_batch_encode(none, &buf);
    ck_assert_int_eq(decode(weir_buf_slice(&buf), &back), WEIR_OK);
    ck_assert_uint_eq(weir_batch_rows(back), 0);
    weir_batch_unref(back);
    weir_batch_unref(none);
    weir_batch_unref(batch);
    weir_buf_fini(&buf);
}
END_TEST

START_TEST(every_truncation_and_extension_is_refused)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 3);
    struct weir_batch *batch = random_batch(&rand, schema, 9, RANDOM_NULLS | RANDOM_KINDS, mem);
    struct weir_buf buf = {0};
    weir_batch_encode(batch, &buf);
    weir_batch_unref(batch);
    for (size_t len = 0; len < buf.len; len++) {
        ck_assert_msg(is_refused(weir_slice(buf.data, len)), "a cut at %zu went unnoticed", len);
        struct weir_buf cut = {0};
        weir_buf_put(&cut, buf.data, len);
        if (len >= WEIR_BATCH_WIRE_HEADER_BYTES) { /* also with a header that agrees */
            seal(&cut);
            ck_assert_msg(is_refused(weir_buf_slice(&cut)), "a sealed cut at %zu went unnoticed", len);
        }
        weir_buf_fini(&cut);
    }
    weir_buf_put_u8(&buf, 0);
    ck_assert(is_refused(weir_buf_slice(&buf)));
    seal(&buf);
    ck_assert(is_refused(weir_buf_slice(&buf)));
    ck_assert_uint_eq(weir_mem_used(mem), 0);
    weir_buf_fini(&buf);
}
END_TEST

START_TEST(every_bit_flip_is_refused)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 4);
    struct weir_batch *batch = random_batch(&rand, schema, 3, RANDOM_NULLS | RANDOM_KINDS, mem);
    struct weir_buf buf = {0};
    weir_batch_encode(batch, &buf);
    weir_batch_unref(batch);
    for (size_t bit = 0; bit < buf.len * 8; bit++) {
        buf.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_msg(is_refused(weir_buf_slice(&buf)), "bit %zu", bit);
        buf.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ck_assert(!is_refused(weir_buf_slice(&buf)));
    weir_buf_fini(&buf);
}
END_TEST

/* With a right checksum a changed byte may be another batch, but never a wild read, and every row can be looked at. */
START_TEST(sealed_garbage_is_refused_or_harmless)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 5);
    struct weir_buf buf = {0};
    struct weir_buf again = {0};
    unsigned refused = 0;
    for (unsigned round = 0; round < 4000; round++) {
        struct weir_batch *batch = random_batch(&rand, schema, 1 + round % 20, round % 4, mem);
        weir_buf_clear(&buf);
        weir_batch_encode(batch, &buf);
        weir_batch_unref(batch);
        for (unsigned i = 0; i <= round % 3; i++) {
            size_t at = i == 0 && round % 2 == 0 ? weir_rand_below(&rand, 60 < buf.len ? 60 : buf.len)
                                                 : weir_rand_below(&rand, buf.len);
            buf.data[at] = (uint8_t)weir_rand_u64(&rand);
        }
        seal(&buf);
        struct weir_batch *back = NULL;
        if (decode(weir_buf_slice(&buf), &back) != WEIR_OK) {
            refused++;
            continue;
        }
        weir_buf_clear(&again);
        weir_batch_encode(back, &again); /* reads everything */
        weir_batch_unref(back);
    }
    ck_assert_uint_gt(refused, 400);
    ck_assert_uint_lt(refused, 3900);
    weir_buf_fini(&again);
    weir_buf_fini(&buf);
}
END_TEST

START_TEST(another_version_and_another_schema)
{
    struct weir_rand rand;
    weir_rand_init(&rand, 6);
    struct weir_batch *batch = random_batch(&rand, schema, 5, 0, mem);
    struct weir_buf buf = {0};
    weir_batch_encode(batch, &buf);
    weir_batch_unref(batch);
    ck_assert_mem_eq(buf.data, "WBT1\1\0\0\0", 8);
    buf.data[4] = 2;
    seal(&buf);
    struct weir_batch *back = NULL;
    ck_assert_int_eq(decode(weir_buf_slice(&buf), &back), WEIR_UNSUPPORTED);
    buf.data[4] = 1;
    buf.data[6] = 2; /* an unknown flag */
    seal(&buf);
    ck_assert_int_eq(decode(weir_buf_slice(&buf), &back), WEIR_CORRUPT);
    buf.data[6] = 0;
    seal(&buf);
    const struct weir_field field = {.name = "a", .type = weir_type_of(WEIR_TYPE_INT)};
    struct weir_schema *other = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(&field, 1, WEIR_NO_COLUMN, &other, &err), WEIR_OK);
    ck_assert_int_eq(weir_batch_decode(weir_buf_slice(&buf), other, mem, &back, &err), WEIR_CORRUPT);
    ck_assert_int_eq(weir_batch_decode(weir_buf_slice(&buf), schema, mem, &back, &err), WEIR_OK);
    weir_batch_unref(back);
    weir_schema_unref(other);
    weir_buf_fini(&buf);
}
END_TEST

Suite *batch_wire_suite(void);
Suite *batch_wire_suite(void)
{
    Suite *suite = suite_create("batch_wire");
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, batches_round_trip);
    tcase_add_test(tc, a_full_batch_and_an_empty_selection);
    tcase_add_test(tc, every_truncation_and_extension_is_refused);
    tcase_add_test(tc, every_bit_flip_is_refused);
    tcase_add_test(tc, sealed_garbage_is_refused_or_harmless);
    tcase_add_test(tc, another_version_and_another_schema);
    suite_add_tcase(suite, tc);
    return suite;
}
