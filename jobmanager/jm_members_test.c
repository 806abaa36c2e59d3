#include "jobmanager/jm_members.h"

#include <check.h>
#include <stdio.h>

#include "common/base/mem.h"
#include "common/net/address.h"

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

static enum weir_rc told(struct weir_jm_named *named, uint64_t term, uint64_t index, char *const *addresses, size_t count, bool *out_changed)
{
    struct weir_error err;
    const struct weir_jm_word word = {.addresses = addresses, .count = count, .log_term = term, .log_index = index};
    *out_changed = false;
    return weir_jm_named_take(named, &word, out_changed, &err);
}

START_TEST(the_word_of_the_log_that_went_further_counts)
{
    char a[] = "a:1", b[] = "b:1", c[] = "c:1", d[] = "d:1";
    char *founders[] = {a, b, c}, *turned[] = {c, b, a}, *twice[] = {a, b, c, c}, *later[] = {a, d, c};
    struct weir_jm_named named = {.count = 0};
    bool changed;
    ck_assert(!weir_jm_named_newer(&named, 0, 0));
    ck_assert_int_eq(told(&named, 3, 10, founders, 3, &changed), WEIR_OK);
    ck_assert(changed && named.count == 3 && weir_jm_named_newer(&named, 0, 0));
    ck_assert_int_eq(told(&named, 3, 10, turned, 3, &changed), WEIR_OK);
    ck_assert(!changed);
    ck_assert_int_eq(told(&named, 3, 11, twice, 4, &changed), WEIR_OK);
    ck_assert(!changed && named.count == 3);
    ck_assert_int_eq(told(&named, 4, 5, later, 3, &changed), WEIR_OK); /* what was behind entry 4 is gone */
    ck_assert(changed && named.count == 3);
    ck_assert_str_eq(named.addresses[1], "d:1");
    ck_assert_int_eq(told(&named, 4, 4, founders, 3, &changed), WEIR_OK); /* by one that lags */
    ck_assert(!changed);
    ck_assert_int_eq(told(&named, 3, 900, founders, 3, &changed), WEIR_OK); /* by one that was cut off */
    ck_assert(!changed);
    ck_assert_str_eq(named.addresses[1], "d:1");
    ck_assert(weir_jm_named_newer(&named, 4, 4) && weir_jm_named_newer(&named, 3, 900));
    ck_assert(!weir_jm_named_newer(&named, 4, 5) && !weir_jm_named_newer(&named, 5, 1)); /* the own log says more */
    ck_assert_int_eq(told(&named, 4, 6, founders, 1, &changed), WEIR_OK); /* who is no member any more is forgotten */
    ck_assert(changed && named.count == 1);
    weir_jm_named_fini(&named);
}
END_TEST

START_TEST(a_word_that_cannot_be_is_not_heard)
{
    char a[] = "a:1", bad[] = "tcp://a:1", none[] = "";
    char long_one[WEIR_ADDRESS_BYTES_MAX + 8];
    memset(long_one, 'a', sizeof(long_one));
    memcpy(long_one + sizeof(long_one) - 3, ":1", 3);
    char many[WEIR_RAFT_MEMBERS_MAX + 1][8];
    char *lists[][2] = {{a, bad}, {none, a}, {a, long_one}};
    char *too_many[WEIR_RAFT_MEMBERS_MAX + 1];
    struct weir_jm_named named = {.count = 0};
    bool changed;
    for (uint32_t i = 0; i <= WEIR_RAFT_MEMBERS_MAX; i++) {
        (void)snprintf(many[i], sizeof(many[i]), "m:%u", i + 1);
        too_many[i] = many[i];
    }
    ck_assert_int_eq(told(&named, 1, 1, too_many, WEIR_RAFT_MEMBERS_MAX, &changed), WEIR_OK);
    ck_assert(changed && named.count == WEIR_RAFT_MEMBERS_MAX);
    ck_assert_int_eq(told(&named, 2, 2, too_many, WEIR_RAFT_MEMBERS_MAX + 1, &changed), WEIR_INVALID);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        ck_assert_int_eq(told(&named, 2, 2, lists[i], 2, &changed), WEIR_INVALID);
    }
    ck_assert_int_eq(told(&named, 2, 2, too_many, 0, &changed), WEIR_INVALID);
    ck_assert_int_eq(told(&named, 0, 2, too_many, 1, &changed), WEIR_INVALID);
    ck_assert_int_eq(told(&named, 2, 0, too_many, 1, &changed), WEIR_INVALID);
    ck_assert(!changed && named.count == WEIR_RAFT_MEMBERS_MAX && named.log_term == 1);
    weir_jm_named_fini(&named);
}
END_TEST

Suite *jm_members_suite(void);

Suite *jm_members_suite(void)
{
    Suite *suite = suite_create("jm_members");
    TCase *tcase = tcase_create("jm_members");
    tcase_add_test(tcase, one_three_or_five_with_ids_that_everybody_computes_alike);
    tcase_add_test(tcase, what_cannot_be_a_cluster_is_refused);
    tcase_add_test(tcase, the_word_of_the_log_that_went_further_counts);
    tcase_add_test(tcase, a_word_that_cannot_be_is_not_heard);
    suite_add_tcase(suite, tcase);
    return suite;
}
