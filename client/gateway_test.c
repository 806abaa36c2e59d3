#include "client/gateway.h"

#include "common/base/mem.h"
#include "common/net/http_server.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>

START_TEST(lists_of_addresses)
{
    static const char *const good[] = {"127.0.0.1:8081", "a:1,b:65535", "[::1]:80"};
    static const char *const bad[] = {"", "localhost", "a:0", "a:65536", "a:x", "a:1,", ":80", "http://a:1", "a:1,,b:2"};
    struct weir_error err;
    struct weir_gateway *gateway;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_int_eq(weir_gateway_create(good[i], &gateway, &err), WEIR_OK);
        weir_gateway_destroy(gateway);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(weir_gateway_create(bad[i], &gateway, &err) == WEIR_INVALID, "%s", bad[i]);
    }
}
END_TEST

START_TEST(errors_become_lines)
{
    struct weir_error err;
    ck_assert_int_eq(weir_gateway_error(400, weir_slice_str("{\"errors\":[\"a\",\"b\"]}"), &err), WEIR_INVALID);
    ck_assert_str_eq(err.text, "a\nb");
    ck_assert_int_eq(weir_gateway_error(404, weir_slice_str("<html>"), &err), WEIR_NOT_FOUND);
    ck_assert_str_eq(err.text, "the JobManager answered HTTP 404");
    ck_assert_int_eq(weir_gateway_error(500, weir_slice(NULL, 0), &err), WEIR_EXTERNAL);
}
END_TEST

START_TEST(encoding)
{
    struct weir_buf out = {0};
    weir_gateway_put_encoded(&out, "a b/c?d&e=\xc3\xb6.-_~%");
    ck_assert(weir_slice_eq_str(weir_buf_slice(&out), "a%20b%2Fc%3Fd%26e%3D%C3%B6.-_~%25"));
    weir_buf_fini(&out);
}
END_TEST

static void answer(void *ctx, struct weir_http_request *request)
{
    (void)ctx;
    if (strcmp(weir_http_request_path(request), "/ok") == 0) {
        weir_http_respond(request, 200, "application/json", weir_slice_str("{\"n\":1}"));
    } else if (strcmp(weir_http_request_path(request), "/text") == 0) {
        weir_http_respond(request, 200, "text/plain", weir_slice_str("hello"));
    } else {
        weir_http_respond_error(request, 409, "not now");
    }
}

START_TEST(the_first_that_answers_is_asked)
{
    struct weir_error err = {0};
    struct weir_http_server *server;
    struct weir_http_server *gone;
    struct weir_http_server_options options = {.address = "127.0.0.1"};
    ck_assert_msg(weir_http_server_create(&options, answer, NULL, &gone, &err) == WEIR_OK, "%s", err.text);
    unsigned dead_port = weir_http_server_port(gone);
    weir_http_server_destroy(gone);
    ck_assert_msg(weir_http_server_create(&options, answer, NULL, &server, &err) == WEIR_OK, "%s", err.text);
    char addresses[64];
    (void)snprintf(addresses, sizeof(addresses), "127.0.0.1:%u,127.0.0.1:%u", dead_port, (unsigned)weir_http_server_port(server));

    struct weir_gateway *gateway;
    ck_assert_int_eq(weir_gateway_create(addresses, &gateway, &err), WEIR_OK);
    for (int i = 0; i < 2; i++) {
        json_t *document = NULL;
        ck_assert_msg(weir_gateway_get(gateway, "/ok", &document, &err) == WEIR_OK, "%s", err.text);
        ck_assert_int_eq(json_integer_value(json_object_get(document, "n")), 1);
        json_decref(document);
    }
    json_t *document = NULL;
    ck_assert_int_eq(weir_gateway_get(gateway, "/text", &document, &err), WEIR_CORRUPT);
    ck_assert_int_eq(weir_gateway_get(gateway, "/other", &document, &err), WEIR_STATE);
    ck_assert_str_eq(err.text, "not now");

    struct weir_buf out = {0};
    weir_buf_put_str(&out, "kept ");
    ck_assert_int_eq(weir_gateway_call(gateway, &(struct weir_gateway_request){.method = "GET", .path = "/text"}, &out, &err), WEIR_OK);
    ck_assert(weir_slice_eq_str(weir_buf_slice(&out), "kept hello"));
    weir_buf_fini(&out);

    weir_http_server_destroy(server);
    ck_assert_int_eq(weir_gateway_get(gateway, "/ok", &document, &err), WEIR_CLOSED);
    weir_gateway_destroy(gateway);
}
END_TEST

Suite *gateway_suite(void);
Suite *gateway_suite(void)
{
    Suite *suite = suite_create("gateway");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, lists_of_addresses);
    tcase_add_test(tc, errors_become_lines);
    tcase_add_test(tc, encoding);
    tcase_add_test(tc, the_first_that_answers_is_asked);
    suite_add_tcase(suite, tc);
    return suite;
}
