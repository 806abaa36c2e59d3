#include "proto/pb.h"

#include "proto/plan.pb-c.h"

#include <check.h>

START_TEST(messages_come_back)
{
    Weir__Plan__Field field = WEIR__PLAN__FIELD__INIT;
    Weir__Plan__Type type = WEIR__PLAN__TYPE__INIT;
    char name[] = "größe";
    type.id = 7;
    field.name = name;
    field.type = &type;
    struct weir_buf bytes = {0};
    weir_buf_put_str(&bytes, "before");
    weir_pb_encode(&field.base, &bytes);
    ck_assert_int_eq(memcmp(bytes.data, "before", 6), 0);
    Weir__Plan__Field *back = NULL;
    struct weir_error err = {0};
    struct weir_slice packed = weir_slice(bytes.data + 6, bytes.len - 6);
    ck_assert_int_eq(weir_pb_decode(&weir__plan__field__descriptor, packed, &back, &err), WEIR_OK);
    ck_assert_str_eq(back->name, name);
    ck_assert_uint_eq(back->type->id, 7);
    weir_pb_free(back);
    back = NULL;
    ck_assert_int_eq(weir_pb_decode(&weir__plan__field__descriptor, weir_slice(packed.data, packed.len - 1), &back, &err), WEIR_CORRUPT);
    ck_assert_ptr_null(back);
    ck_assert_msg(strstr(err.text, "Field") != NULL, "%s", err.text);
    weir_buf_fini(&bytes);
}
END_TEST

START_TEST(a_message_of_defaults_has_no_bytes)
{
    Weir__Plan__Schema schema = WEIR__PLAN__SCHEMA__INIT;
    struct weir_buf bytes = {0};
    weir_pb_encode(&schema.base, &bytes);
    ck_assert_uint_eq(bytes.len, 0);
    Weir__Plan__Schema *back = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_pb_decode(&weir__plan__schema__descriptor, weir_slice(NULL, 0), &back, &err), WEIR_OK);
    ck_assert_uint_eq(back->n_fields, 0);
    weir_pb_free(back);
    weir_pb_free(NULL);
    weir_buf_fini(&bytes);
}
END_TEST

/* 8 MiB of empty messages took 500 MiB. */
START_TEST(what_a_message_takes_unpacked_is_bounded)
{
    struct weir_buf bytes = {0};
    Weir__Plan__Schema *back = NULL;
    struct weir_error err = {0};
    for (int i = 0; i < 4 << 20; i++) {
        weir_buf_put_u16(&bytes, 0x000a); /* field 1, 0 bytes */
    }
    ck_assert_int_eq(weir_pb_decode(&weir__plan__schema__descriptor, weir_buf_slice(&bytes), &back, &err), WEIR_LIMIT);
    ck_assert_ptr_null(back);
    ck_assert_msg(strstr(err.text, "weir.plan.Schema of 8388608 bytes") != NULL, "%s", err.text);
    bytes.len = 1000;
    ck_assert_int_eq(weir_pb_decode(&weir__plan__schema__descriptor, weir_buf_slice(&bytes), &back, &err), WEIR_OK);
    ck_assert_uint_eq(back->n_fields, 500);
    weir_pb_free(back);
    weir_buf_fini(&bytes);
}
END_TEST

Suite *pb_suite(void);
Suite *pb_suite(void)
{
    Suite *suite = suite_create("pb");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, messages_come_back);
    tcase_add_test(tc, a_message_of_defaults_has_no_bytes);
    tcase_add_test(tc, what_a_message_takes_unpacked_is_bounded);
    suite_add_tcase(suite, tc);
    return suite;
}
