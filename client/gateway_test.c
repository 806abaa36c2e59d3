#include "client/gateway.h"

#include "common/base/mem.h"
#include "common/base/version.h"
#include "common/net/http_server.h"
#include "common/runtime/sync.h"
#include "common/runtime/thread.h"

#include <arpa/inet.h>
#include <check.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

START_TEST(lists_of_addresses)
{
    static const char *const good[] = {"127.0.0.1:8081", "a:1,b:65535", "[::1]:80"};
    static const char *const bad[] = {"", "localhost", "a:0", "a:65536", "a:x", "a:1,", ":80", "http://a:1", "a:1,,b:2"};
    struct weir_error err;
    struct weir_gateway *gateway;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_int_eq(weir_gateway_create(good[i], weir_clock_real(), &gateway, &err), WEIR_OK);
        weir_gateway_destroy(gateway);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(weir_gateway_create(bad[i], weir_clock_real(), &gateway, &err) == WEIR_INVALID, "%s", bad[i]);
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

static void answer(void *ctx, struct weir_http_request *request)
{
    (void)ctx;
    if (strcmp(weir_http_request_path(request), "/ok") == 0) {
        weir_http_respond(request, 200, "application/json", weir_slice_str("{\"n\":1}"));
    } else if (strcmp(weir_http_request_path(request), "/text") == 0) {
        weir_http_respond(request, 200, "text/plain", weir_slice_str("hello"));
    } else if (strcmp(weir_http_request_path(request), "/version") == 0) {
        const char *version = weir_http_request_header(request, "Weir-Version");
        weir_http_respond(request, 200, "text/plain", weir_slice_str(version == NULL ? "none" : version));
    } else {
        weir_http_respond_error(request, 409, "not now");
    }
}

START_TEST(the_first_that_answers_is_asked)
{
    struct weir_error err = {0};
    struct weir_http_server *server;
    struct weir_http_server_options options = {.address = "127.0.0.1"};
    struct sockaddr_in dead = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t dead_bytes = sizeof(dead);
    int dead_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* bound and not listening: nobody else gets the port */
    ck_assert_int_eq(bind(dead_fd, (struct sockaddr *)&dead, dead_bytes), 0);
    ck_assert_int_eq(getsockname(dead_fd, (struct sockaddr *)&dead, &dead_bytes), 0);
    unsigned dead_port = ntohs(dead.sin_port);
    ck_assert_msg(weir_http_server_create(&options, answer, NULL, &server, &err) == WEIR_OK, "%s", err.text);
    char addresses[64];
    (void)snprintf(addresses, sizeof(addresses), "127.0.0.1:%u,127.0.0.1:%u", dead_port, (unsigned)weir_http_server_port(server));

    struct weir_gateway *gateway;
    ck_assert_int_eq(weir_gateway_create(addresses, weir_clock_real(), &gateway, &err), WEIR_OK);
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
    static const char *const methods[] = {"GET", "POST", "PATCH"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) { /* each request says of which version the client is */
        weir_buf_clear(&out);
        ck_assert_int_eq(weir_gateway_call(gateway, &(struct weir_gateway_request){.method = methods[i], .path = "/version"}, &out, &err), WEIR_OK);
        ck_assert(weir_slice_eq_str(weir_buf_slice(&out), WEIR_VERSION));
    }
    weir_buf_fini(&out);

    weir_http_server_destroy(server);
    weir_gateway_set_deadline(gateway, 1000);
    ck_assert_int_eq(weir_gateway_get(gateway, "/ok", &document, &err), WEIR_CLOSED);
    ck_assert_msg(strstr(err.text, "no JobManager answers") == err.text, "%s", err.text);
    char port[16];
    (void)snprintf(port, sizeof(port), ":%u: ", dead_port);
    ck_assert_msg(strstr(err.text, port) != NULL, "%s", err.text); /* all are named */
    weir_gateway_destroy(gateway);
    ck_assert_int_eq(close(dead_fd), 0);
}
END_TEST

/* --- several, of whom one leads -------------------------------------------------------------------------------------------- */

/* Answers each request with the same words, also with a Location. */
struct fake {
    struct weir_mutex mutex; /* guards words, body, asked */
    char words[256];
    char body[64]; /* the first bytes of the newest request's body */
    uint32_t asked;
    int fd;
    uint16_t port;
    struct weir_thread *thread;
};

static void serve_one(struct fake *fake, int fd)
{
    char buf[2048];
    size_t len = 0;
    char *end = NULL;
    while (end == NULL && len < sizeof(buf) - 1) {
        ssize_t got = recv(fd, buf + len, sizeof(buf) - 1 - len, 0);
        if (got <= 0) {
            return;
        }
        len += (size_t)got;
        buf[len] = '\0';
        end = strstr(buf, "\r\n\r\n");
        const char *length = strstr(buf, "Content-Length: ");
        if (end != NULL && length != NULL && strlen(end + 4) < strtoul(length + 16, NULL, 10)) {
            end = NULL; /* the body is on its way */
        }
    }
    weir_mutex_lock(&fake->mutex);
    fake->asked++;
    (void)snprintf(fake->body, sizeof(fake->body), "%s", end + 4);
    char *answer = weir_strdup(fake->words);
    weir_mutex_unlock(&fake->mutex);
    (void)send(fd, answer, strlen(answer), MSG_NOSIGNAL);
    weir_free(answer);
}

static void fake_run(void *ctx)
{
    struct fake *fake = ctx;
    for (int fd = accept(fake->fd, NULL, NULL); fd >= 0; fd = accept(fake->fd, NULL, NULL)) {
        serve_one(fake, fd);
        (void)close(fd);
    }
}

static void fake_start(struct fake *fake)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    struct weir_error err;
    weir_mutex_init(&fake->mutex);
    fake->fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fake->fd, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(listen(fake->fd, 16), 0);
    ck_assert_int_eq(getsockname(fake->fd, (struct sockaddr *)&address, &len), 0);
    fake->port = ntohs(address.sin_port);
    ck_assert_int_eq(weir_thread_start("fake", fake_run, fake, &fake->thread, &err), WEIR_OK);
}

static void fake_stop(struct fake *fake)
{
    (void)shutdown(fake->fd, SHUT_RDWR);
    weir_thread_join(fake->thread);
    (void)close(fake->fd);
    weir_mutex_fini(&fake->mutex);
}

static void says(struct fake *fake, unsigned status, const char *location, const char *body)
{
    weir_mutex_lock(&fake->mutex);
    (void)snprintf(fake->words, sizeof(fake->words), "HTTP/1.1 %u X\r\nConnection: close\r\n%s%s%sContent-Length: %zu\r\n\r\n%s", status,
                   location != NULL ? "Location: " : "", location != NULL ? location : "", location != NULL ? "\r\n" : "", strlen(body), body);
    fake->asked = 0;
    weir_mutex_unlock(&fake->mutex);
}

static uint32_t asked(struct fake *fake)
{
    weir_mutex_lock(&fake->mutex);
    uint32_t count = fake->asked;
    weir_mutex_unlock(&fake->mutex);
    return count;
}

static void points_to(struct fake *fake, const struct fake *leader)
{
    char location[64];
    (void)snprintf(location, sizeof(location), "http://127.0.0.1:%u/jobs?a=b", leader->port);
    says(fake, 307, location, "");
}

struct several {
    struct weir_clock two_rounds; /* first member */
    struct fake fakes[3];
    struct weir_gateway *gateway;
};

/* The deadline has passed when the second has been asked twice, and not before. */
static int64_t two_rounds_ns(const struct weir_clock *clock)
{
    struct several *several = (struct several *)(uintptr_t)clock;
    return asked(&several->fakes[1]) < 2 ? 0 : WEIR_GATEWAY_DEADLINE_MS * INT64_C(1000000);
}

/* The gateway knows the first `known`. */
static void several_init(struct several *several, uint32_t known, const struct weir_clock *clock)
{
    struct weir_buf list = {0};
    struct weir_error err;
    for (uint32_t i = 0; i < 3; i++) {
        fake_start(&several->fakes[i]);
        if (i < known) {
            weir_buf_put_fmt(&list, "%s127.0.0.1:%u", i > 0 ? "," : "", several->fakes[i].port);
        }
    }
    weir_buf_put_u8(&list, 0);
    ck_assert_int_eq(weir_gateway_create((const char *)list.data, clock, &several->gateway, &err), WEIR_OK);
    weir_buf_fini(&list);
}

static void several_fini(struct several *several)
{
    for (uint32_t i = 0; i < 3; i++) {
        fake_stop(&several->fakes[i]);
    }
    weir_gateway_destroy(several->gateway);
}

static enum weir_rc post(struct several *several, struct weir_buf *out, struct weir_error *err)
{
    return weir_gateway_call(several->gateway,
                             &(struct weir_gateway_request){.method = "POST", .path = "/jobs?a=b", .body = weir_slice_str("the job"), .slow = true}, out, err);
}

/* Another release: an answer like any other, at once and not from the next one. */
START_TEST(a_client_that_is_refused_says_why)
{
    struct several several;
    struct weir_error err = {0};
    struct weir_buf out = {0};
    several_init(&several, 3, weir_clock_real());
    for (int i = 0; i < 3; i++) {
        says(&several.fakes[i], 400, NULL, "{\"errors\":[\"run the same release of Weir on both\"]}");
    }
    ck_assert_int_eq(post(&several, &out, &err), WEIR_INVALID);
    ck_assert_str_eq(err.text, "run the same release of Weir on both");
    ck_assert_uint_eq(asked(&several.fakes[0]) + asked(&several.fakes[1]) + asked(&several.fakes[2]), 1);
    ck_assert_uint_eq(out.len, 0);
    weir_buf_fini(&out);
    several_fini(&several);
}
END_TEST

START_TEST(the_leader_is_followed_and_remembered)
{
    struct several several;
    struct weir_error err = {0};
    struct weir_buf out = {0};
    several_init(&several, 1, weir_clock_real()); /* the leader's address comes with the redirect only */
    points_to(&several.fakes[0], &several.fakes[2]);
    says(&several.fakes[2], 200, NULL, "one");
    ck_assert_msg(post(&several, &out, &err) == WEIR_OK, "%s", err.text);
    ck_assert(weir_slice_eq_str(weir_buf_slice(&out), "one"));
    ck_assert_str_eq(several.fakes[2].body, "the job"); /* method and body go along */
    ck_assert_int_eq(post(&several, &out, &err), WEIR_OK);
    ck_assert_uint_eq(asked(&several.fakes[0]), 1);
    ck_assert_uint_eq(asked(&several.fakes[2]), 2);

    says(&several.fakes[0], 200, NULL, "two"); /* the leader changes */
    points_to(&several.fakes[2], &several.fakes[0]);
    out.len = 0;
    ck_assert_int_eq(post(&several, &out, &err), WEIR_OK);
    ck_assert(weir_slice_eq_str(weir_buf_slice(&out), "two"));
    weir_buf_fini(&out);
    several_fini(&several);
}
END_TEST

/* When it has been asked in vain three times, the second leads. */
static void elect(void *ctx)
{
    struct several *several = ctx;
    while (asked(&several->fakes[1]) < 3) {
        (void)sched_yield();
    }
    points_to(&several->fakes[0], &several->fakes[1]);
    says(&several->fakes[1], 202, NULL, "done");
}

START_TEST(without_a_leader_it_is_tried_again)
{
    struct several several;
    struct weir_error err = {0};
    struct weir_buf out = {0};
    several_init(&several, 2, weir_clock_real());
    points_to(&several.fakes[0], &several.fakes[1]); /* it does not know yet that the leader has gone */
    says(&several.fakes[1], 503, NULL, "{\"errors\":[\"no quorum\"]}");
    struct weir_thread *thread;
    ck_assert_int_eq(weir_thread_start("elect", elect, &several, &thread, &err), WEIR_OK);
    ck_assert_msg(post(&several, &out, &err) == WEIR_OK, "%s", err.text);
    ck_assert(weir_slice_eq_str(weir_buf_slice(&out), "done"));
    weir_thread_join(thread);
    weir_buf_fini(&out);
    several_fini(&several);
}
END_TEST

START_TEST(who_was_tried_and_what_they_said)
{
    struct several several;
    struct weir_error err = {0};
    struct weir_buf out = {0};
    weir_buf_put_str(&out, "kept");
    several.two_rounds = (struct weir_clock){.mono_ns = two_rounds_ns};
    several_init(&several, 2, &several.two_rounds);
    points_to(&several.fakes[0], &several.fakes[0]); /* to itself: that must end */
    says(&several.fakes[1], 503, NULL, "{\"errors\":[\"no quorum\"]}");
    ck_assert_int_eq(post(&several, &out, &err), WEIR_AGAIN);
    char text[64];
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u: no quorum", several.fakes[1].port);
    ck_assert_msg(strstr(err.text, text) != NULL, "%s", err.text);
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u: names a leader", several.fakes[0].port);
    ck_assert_msg(strstr(err.text, text) != NULL, "%s", err.text);
    ck_assert_uint_eq(asked(&several.fakes[1]), 2);
    ck_assert(weir_slice_eq_str(weir_buf_slice(&out), "kept"));

    says(&several.fakes[1], 409, NULL, "{\"errors\":[\"there is such a job\"]}"); /* an answer is an answer */
    ck_assert_int_eq(post(&several, &out, &err), WEIR_STATE);
    ck_assert_str_eq(err.text, "there is such a job");
    says(&several.fakes[0], 307, "nonsense://", "");
    says(&several.fakes[1], 307, NULL, "");
    ck_assert_int_eq(post(&several, &out, &err), WEIR_AGAIN);
    weir_buf_fini(&out);
    several_fini(&several);
}
END_TEST

Suite *gateway_suite(void);
Suite *gateway_suite(void)
{
    Suite *suite = suite_create("gateway");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, lists_of_addresses);
    tcase_add_test(tc, errors_become_lines);
    tcase_add_test(tc, the_first_that_answers_is_asked);
    tcase_add_test(tc, a_client_that_is_refused_says_why);
    tcase_add_test(tc, the_leader_is_followed_and_remembered);
    tcase_add_test(tc, without_a_leader_it_is_tried_again);
    tcase_add_test(tc, who_was_tried_and_what_they_said);
    suite_add_tcase(suite, tc);
    return suite;
}
