#include "common/net/x509.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/net/x509_private.h"

#include <check.h>
#include <stdio.h>

enum { DAY_MS = 86400000 };

struct authority {
    struct weir_buf certificate, key;
};

static int64_t now_ms(void)
{
    return weir_clock_wall_ms(weir_clock_real());
}

static void authority_init(struct authority *authority, const char *name)
{
    struct weir_error err;
    memset(authority, 0, sizeof(*authority));
    ck_assert_msg(weir_x509_make_authority(name, now_ms(), 100, &authority->certificate, &authority->key, &err) == WEIR_OK, "%s", err.text);
}

static void authority_fini(struct authority *authority)
{
    weir_buf_fini(&authority->certificate);
    weir_x509_wipe(&authority->key);
}

static struct weir_buf make(const struct authority *authority, const struct weir_x509_node *node)
{
    struct weir_error err;
    struct weir_buf pem = {0};
    enum weir_rc rc = weir_x509_make_node(node, weir_buf_slice(&authority->certificate), weir_buf_slice(&authority->key), &pem, &err);
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    return pem;
}

START_TEST(what_is_made_says_who_it_is)
{
    static const char *const hosts[] = {"10.1.2.3", "node-1.example", "fe80::1"};
    struct authority authority;
    authority_init(&authority, "ca-1");
    struct weir_x509_node node = {.role = "taskmanager", .name = "tm-1", .hosts = hosts, .nhosts = 3, .now_ms = now_ms(), .days = 7};
    struct weir_buf pem = make(&authority, &node);
    struct weir_x509_info info;
    struct weir_error err;
    ck_assert_int_eq(weir_x509_check(weir_buf_slice(&authority.certificate), weir_buf_slice(&pem), "taskmanager", &info, &err), WEIR_OK);
    ck_assert_str_eq(info.role, "taskmanager");
    ck_assert_str_eq(info.name, "tm-1");
    ck_assert_str_eq(info.issuer, "ca-1");
    ck_assert_str_eq(info.hosts, "10.1.2.3,node-1.example,fe80::1");
    ck_assert(!info.authority);
    ck_assert_int_le(info.not_before_ms, node.now_ms);
    ck_assert_int_le(llabs(info.not_after_ms - (node.now_ms + 7ll * DAY_MS)), 1000);
    ck_assert_int_eq(weir_x509_read(weir_buf_slice(&authority.certificate), &info, &err), WEIR_OK);
    ck_assert(info.authority);
    ck_assert_str_eq(info.role, "");
    weir_x509_wipe(&pem);
    node.days = 5000; /* no longer than the authority */
    pem = make(&authority, &node);
    ck_assert_int_eq(weir_x509_read(weir_buf_slice(&pem), &info, &err), WEIR_OK);
    ck_assert_int_le(info.not_after_ms, node.now_ms + 100ll * DAY_MS);
    weir_x509_wipe(&pem);
    authority_fini(&authority);
}
END_TEST

START_TEST(hosts_are_those_named_or_any)
{
    static const char *const hosts[] = {"10.1.2.3", "Node-1.example", "::1"};
    static const struct {
        const char *host;
        bool ok;
    } cases[] = {{"10.1.2.3", true},     {"10.1.2.4", false}, {"node-1.EXAMPLE", true},   {"node-1.example.", false}, {"node-1", false},
                 {"[::1]", true},        {"::1", true},       {"[::2]", false},           {"x.node-1.example", false}, {"", false},
                 {"10.1.2.3.4", false}};
    struct authority authority;
    authority_init(&authority, "ca-1");
    for (uint32_t nhosts = 0; nhosts <= 3; nhosts += 3) {
        struct weir_x509_node node = {.role = "jobmanager", .name = "jm", .hosts = hosts, .nhosts = nhosts, .now_ms = now_ms(), .days = 7};
        struct weir_buf pem = make(&authority, &node);
        mbedtls_x509_crt crt;
        mbedtls_x509_crt_init(&crt);
        ck_assert_int_eq(weir__x509_parse(weir_buf_slice(&pem), &crt, NULL), 0);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            ck_assert_msg(weir__x509_host_ok(&crt, cases[i].host) == (nhosts == 0 || cases[i].ok), "%s", cases[i].host);
        }
        mbedtls_x509_crt_free(&crt);
        weir_x509_wipe(&pem);
    }
    authority_fini(&authority);
}
END_TEST

START_TEST(what_cannot_be_right_is_refused)
{
    static const struct weir_x509_node wrong[] = {
        {.role = "taskmanager", .name = "", .days = 1},          {.role = "taskmanager", .name = "a,OU=jobmanager", .days = 1},
        {.role = "", .name = "a", .days = 1},                    {.role = "task manager", .name = "a", .days = 1},
        {.role = "taskmanager", .name = "../a", .days = 1},      {.role = "taskmanager", .name = "a", .days = 0},
        {.role = "taskmanager", .name = "a", .days = 36501},
    };
    static const char *const bad_hosts[] = {"a b", "", "*.example", "a/b"};
    struct authority authority;
    struct authority other;
    struct weir_error err;
    struct weir_buf pem = {0};
    authority_init(&authority, "ca-1");
    authority_init(&other, "ca-1"); /* of the same name */
    struct weir_slice certificate = weir_buf_slice(&authority.certificate);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_msg(weir_x509_make_node(&wrong[i], certificate, weir_buf_slice(&authority.key), &pem, &err) == WEIR_INVALID, "case %zu", i);
    }
    for (size_t i = 0; i < sizeof(bad_hosts) / sizeof(bad_hosts[0]); i++) {
        struct weir_x509_node node = {.role = "a", .name = "a", .hosts = &bad_hosts[i], .nhosts = 1, .now_ms = now_ms(), .days = 1};
        ck_assert_msg(weir_x509_make_node(&node, certificate, weir_buf_slice(&authority.key), &pem, &err) == WEIR_INVALID, "\"%s\"", bad_hosts[i]);
    }
    struct weir_x509_node node = {.role = "taskmanager", .name = "tm", .now_ms = now_ms(), .days = 1};
    ck_assert_int_eq(weir_x509_make_node(&node, certificate, weir_buf_slice(&other.key), &pem, &err), WEIR_INVALID);
    ck_assert_int_eq(weir_x509_make_node(&node, weir_slice_str("nonsense"), weir_buf_slice(&other.key), &pem, &err), WEIR_INVALID);
    ck_assert_uint_eq(pem.len, 0);
    pem = make(&authority, &node);
    ck_assert_int_eq(weir_x509_make_node(&node, weir_buf_slice(&pem), weir_slice_str(""), &pem, &err), WEIR_INVALID); /* a node is no authority */
    ck_assert_int_eq(weir_x509_make_authority("a b", now_ms(), 1, &pem, &pem, &err), WEIR_INVALID);
    weir_x509_wipe(&pem);
    authority_fini(&authority);
    authority_fini(&other);
}
END_TEST

static void expect(const struct authority *authority, struct weir_slice node, const char *role, const char *why)
{
    struct weir_x509_info info;
    struct weir_error err;
    ck_assert_int_eq(weir_x509_check(weir_buf_slice(&authority->certificate), node, role, &info, &err), WEIR_INVALID);
    ck_assert_msg(strstr(err.text, why) != NULL, "%s", err.text);
}

START_TEST(a_check_says_what_is_wrong)
{
    struct authority authority;
    struct authority other;
    authority_init(&authority, "ca-1");
    authority_init(&other, "ca-1");
    struct weir_x509_node node = {.role = "taskmanager", .name = "tm", .now_ms = now_ms(), .days = 1};
    struct weir_buf pem = make(&authority, &node);
    struct weir_buf second = make(&authority, &node);
    struct weir_buf mixed = {0};
    expect(&authority, weir_buf_slice(&pem), "jobmanager", "for the role \"taskmanager\"");
    expect(&other, weir_buf_slice(&pem), "taskmanager", "not correctly signed");
    expect(&authority, weir_slice(pem.data, pem.len / 2), "taskmanager", "cannot be read");
    expect(&authority, weir_slice_str(""), "taskmanager", "cannot be read");
    const char *key = strstr((const char *)second.data, "-----BEGIN EC");
    ck_assert_ptr_nonnull(key);
    const char *own_key = strstr((const char *)pem.data, "-----BEGIN EC");
    weir_buf_put(&mixed, pem.data, (size_t)((const uint8_t *)own_key - pem.data));
    weir_buf_put(&mixed, key, second.len - (size_t)((const uint8_t *)key - second.data));
    expect(&authority, weir_buf_slice(&mixed), "taskmanager", "private key");
    weir_x509_wipe(&pem);
    node.now_ms -= 3ll * DAY_MS;
    pem = make(&authority, &node);
    expect(&authority, weir_buf_slice(&pem), "taskmanager", "expired");
    weir_x509_wipe(&pem);
    node.now_ms += 30ll * DAY_MS;
    pem = make(&authority, &node);
    expect(&authority, weir_buf_slice(&pem), "taskmanager", "future");
    weir_x509_wipe(&pem);
    weir_x509_wipe(&second);
    weir_x509_wipe(&mixed);
    authority_fini(&authority);
    authority_fini(&other);
}
END_TEST

/* Whatever is in the files, they are read or refused. */
START_TEST(damaged_texts_are_refused_or_read)
{
    struct authority authority;
    authority_init(&authority, "ca-1");
    struct weir_x509_node node = {.role = "taskmanager", .name = "tm", .now_ms = now_ms(), .days = 1};
    struct weir_buf pem = make(&authority, &node);
    struct weir_rand rand;
    weir_rand_init(&rand, 5);
    for (int i = 0; i < 300; i++) {
        struct weir_x509_info info;
        struct weir_error err = {0};
        struct weir_buf damaged = {0};
        weir_buf_put_slice(&damaged, weir_buf_slice(&pem));
        damaged.data[weir_rand_below(&rand, damaged.len)] = (uint8_t)weir_rand_below(&rand, 256);
        if (weir_x509_check(weir_buf_slice(&authority.certificate), weir_buf_slice(&damaged), "taskmanager", &info, &err) != WEIR_OK) {
            ck_assert_uint_gt(strlen(err.text), 0);
        }
        weir_buf_fini(&damaged);
    }
    weir_x509_wipe(&pem);
    authority_fini(&authority);
}
END_TEST

Suite *x509_suite(void);
Suite *x509_suite(void)
{
    Suite *suite = suite_create("x509");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, what_is_made_says_who_it_is);
    tcase_add_test(tc, hosts_are_those_named_or_any);
    tcase_add_test(tc, what_cannot_be_right_is_refused);
    tcase_add_test(tc, a_check_says_what_is_wrong);
    tcase_add_test(tc, damaged_texts_are_refused_or_read);
    suite_add_tcase(suite, tc);
    return suite;
}
