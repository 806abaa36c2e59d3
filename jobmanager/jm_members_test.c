#include "jobmanager/jm_members.h"

#include <check.h>

#include "common/base/mem.h"

static const char *refused(const char *list, const char *own, bool joins)
{
    static struct weir_error err; /* the text outlives the call */
    struct weir_jm_founders founders;
    ck_assert_int_eq(weir_jm_founders_parse(list, own, joins, &founders, &err), WEIR_INVALID);
    return err.text;
}

START_TEST(one_three_or_five_with_ids_that_everybody_computes_alike)
{
    struct weir_jm_founders founders;
    struct weir_jm_founders other;
    struct weir_error err;
    ck_assert_int_eq(weir_jm_founders_parse(" ", "h:1", false, &founders, &err), WEIR_OK);
    ck_assert(founders.count == 1 && founders.own == 0 && founders.items[0].id == 1);
    ck_assert_str_eq(founders.items[0].address, "h:1");
    weir_jm_founders_fini(&founders);
    ck_assert_int_eq(weir_jm_founders_parse("a:1, b:65535 ,[::1]:3", "b:65535", false, &founders, &err), WEIR_OK);
    ck_assert_int_eq(weir_jm_founders_parse("a:1,b:65535,[::1]:3", "x:9", true, &other, &err), WEIR_OK);
    ck_assert(founders.count == 3 && founders.own == 1 && other.own == WEIR_JM_NOBODY);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(founders.items[i].id, other.items[i].id);
        ck_assert_uint_eq(founders.items[i].id & 1, 1);
        ck_assert(i == 0 || founders.items[i].id != founders.items[i - 1].id);
    }
    weir_jm_founders_fini(&founders);
    weir_jm_founders_fini(&other);
}
END_TEST

START_TEST(what_cannot_be_a_cluster_is_refused)
{
    ck_assert_ptr_nonnull(strstr(refused("a:1,b:2", "a:1", false), "1, 3 or 5"));
    ck_assert_ptr_nonnull(strstr(refused("a:1,b:2,c:3,d:4", "a:1", false), "1, 3 or 5"));
    ck_assert_ptr_nonnull(strstr(refused("a:1,b:2,c:3,d:4,e:5,f:6", "a:1", false), "1, 3 or 5"));
    ck_assert_ptr_nonnull(strstr(refused("a:1,b:2,a:1", "a:1", false), "listed twice"));
    ck_assert_ptr_nonnull(strstr(refused("a:1,b:2,c:3", "d:4", false), "d:4"));
    ck_assert_ptr_nonnull(strstr(refused("", "d:4", true), "jobmanager.join"));
    static const char *const bad[] = {"a", "a:", ":1", "a:0", "a:65536", "a:1x", "a b:1", "a:1,,b:2", "a:1,", "tcp://a:1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_ptr_nonnull(strstr(refused(bad[i], "a:1", true), "host:port"));
    }
}
END_TEST

Suite *jm_members_suite(void);

Suite *jm_members_suite(void)
{
    Suite *suite = suite_create("jm_members");
    TCase *tcase = tcase_create("jm_members");
    tcase_add_test(tcase, one_three_or_five_with_ids_that_everybody_computes_alike);
    tcase_add_test(tcase, what_cannot_be_a_cluster_is_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
