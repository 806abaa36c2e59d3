#include "common/net/http_server.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/net/http_client.h"
#include "common/runtime/sync.h"
#include "common/runtime/thread.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { BODY_MAX = 100000, HELD_MAX = 64 };

/* A server that echoes at once, or holds requests of /hold for another thread to answer. */
struct rig {
    struct weir_mutex mutex; /* guards held */
    struct weir_cond cond;
    struct weir_http_server *server;
    struct weir_http_request *held[HELD_MAX];
    uint32_t held_count;
};

static void on_request(void *ctx, struct weir_http_request *request_take)
{
    struct rig *rig = ctx;
    const char *path = weir_http_request_path(request_take);
    if (strcmp(path, "/hold") == 0) {
        weir_mutex_lock(&rig->mutex);
        ck_assert_uint_lt(rig->held_count, HELD_MAX);
        rig->held[rig->held_count++] = request_take;
        weir_cond_broadcast(&rig->cond);
        weir_mutex_unlock(&rig->mutex);
    } else if (strcmp(path, "/echo") == 0) {
        weir_http_respond(request_take, 200, "application/octet-stream", weir_http_request_body(request_take));
    } else if (strcmp(path, "/facts") == 0) {
        const char *mode = weir_http_request_query(request_take, "mode");
        const char *flag = weir_http_request_query(request_take, "flag");
        const char *type = weir_http_request_header(request_take, "CONTENT-type");
        char *text = weir_strfmt("%s %s mode=%s flag=%s none=%d type=%s", weir_http_request_method(request_take), path, mode,
                                 flag, weir_http_request_query(request_take, "none") == NULL, type == NULL ? "-" : type);
        weir_http_respond(request_take, 202, "text/plain", weir_slice_str(text));
        weir_free(text);
    } else if (strncmp(path, "/else/", 6) == 0) {
        weir_http_respond_elsewhere(request_take, 307, "http://h:1", "there");
    } else {
        weir_http_respond_error(request_take, 404, "no \"such\"\n\tpath \\");
    }
}

static void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    weir_mutex_init(&rig->mutex);
    weir_cond_init(&rig->cond);
    struct weir_http_server_options options = {.address = "127.0.0.1", .body_bytes_max = BODY_MAX, .connections_max = 40};
    struct weir_error err;
    ck_assert_msg(weir_http_server_create(&options, on_request, rig, &rig->server, &err) == WEIR_OK, "%s", err.text);
}

static void rig_fini(struct rig *rig)
{
    weir_http_server_destroy(rig->server);
    weir_cond_fini(&rig->cond);
    weir_mutex_fini(&rig->mutex);
}

static struct weir_http_request *rig_take(struct rig *rig)
{
    weir_mutex_lock(&rig->mutex);
    while (rig->held_count == 0) {
        weir_cond_wait(&rig->cond, &rig->mutex);
    }
    struct weir_http_request *request = rig->held[--rig->held_count];
    weir_mutex_unlock(&rig->mutex);
    return request;
}

static enum weir_rc fetch(const struct rig *rig, struct weir_http_client *client, struct weir_http_call call,
                          unsigned *out_status, struct weir_buf *body, struct weir_error *err)
{
    char *url = weir_strfmt("http://127.0.0.1:%u%s", weir_http_server_port(rig->server), call.url);
    call.url = url;
    call.timeout_ms = call.timeout_ms == 0 ? 30000 : call.timeout_ms;
    weir_buf_clear(body);
    enum weir_rc rc = weir_http_call(client, &call, out_status, body, err);
    weir_free(url);
    return rc;
}

START_TEST(requests_arrive_whole_and_answers_come_back)
{
    struct rig rig;
    rig_init(&rig);
    struct weir_http_client *client = weir_http_client_create();
    struct weir_buf body = {0};
    struct weir_error err;
    unsigned status = 0;
    struct weir_http_call call = {.method = "PATCH", .url = "/facts?mode=a%20b&flag&x=1", .content_type = "text/yaml",
                                  .body = weir_slice_str("x")};
    ck_assert_msg(fetch(&rig, client, call, &status, &body, &err) == WEIR_OK, "%s", err.text);
    ck_assert_uint_eq(status, 202);
    ck_assert_msg(weir_slice_eq_str(weir_buf_slice(&body), "PATCH /facts mode=a b flag= none=1 type=text/yaml"), "%.*s",
                  (int)body.len, (char *)body.data);

    call = (struct weir_http_call){.method = "GET", .url = "/other"};
    ck_assert_int_eq(fetch(&rig, client, call, &status, &body, &err), WEIR_OK);
    ck_assert_uint_eq(status, 404);
    ck_assert(weir_slice_eq_str(weir_buf_slice(&body), "{\"errors\":[\"no \\\"such\\\"\\n\\u0009path \\\\\"]}"));

    uint8_t *large = weir_malloc(BODY_MAX + 1);
    for (size_t i = 0; i <= BODY_MAX; i++) {
        large[i] = (uint8_t)(i * 31);
    }
    for (size_t len = 0; len <= BODY_MAX; len += 12500) {
        call = (struct weir_http_call){.method = "POST", .url = "/echo", .body = weir_slice(large, len)};
        ck_assert_msg(fetch(&rig, client, call, &status, &body, &err) == WEIR_OK, "%s", err.text);
        ck_assert_uint_eq(status, 200);
        ck_assert(weir_slice_eq(weir_buf_slice(&body), weir_slice(large, len)));
    }
    call.body_bytes_max = 100;
    ck_assert_int_eq(fetch(&rig, client, call, &status, &body, &err), WEIR_LIMIT);
    ck_assert_uint_eq(body.len, 0);
    weir_free(large);
    weir_buf_fini(&body);
    weir_http_client_destroy(client);
    rig_fini(&rig);
}
END_TEST

struct answerer {
    struct rig *rig;
    uint32_t count;
};

static void answer_held(void *ctx)
{
    struct answerer *answerer = ctx;
    for (uint32_t i = 0; i < answerer->count; i++) {
        struct weir_http_request *request = rig_take(answerer->rig);
        weir_http_respond(request, 200, "text/plain", weir_http_request_body(request));
    }
}

struct asker {
    struct rig *rig;
    uint32_t number;
    uint32_t rounds;
    uint32_t good;
};

static void ask(void *ctx)
{
    struct asker *asker = ctx;
    struct weir_http_client *client = weir_http_client_create();
    struct weir_buf body = {0};
    struct weir_error err;
    for (uint32_t i = 0; i < asker->rounds; i++) {
        char text[32];
        unsigned status = 0;
        (void)snprintf(text, sizeof(text), "%u of %u", i, asker->number);
        struct weir_http_call call = {.method = "POST", .url = "/hold", .body = weir_slice_str(text)};
        if (fetch(asker->rig, client, call, &status, &body, &err) == WEIR_OK && status == 200 &&
            weir_slice_eq_str(weir_buf_slice(&body), text)) {
            asker->good++;
        }
    }
    weir_buf_fini(&body);
    weir_http_client_destroy(client);
}

START_TEST(another_thread_answers_many_clients_at_once)
{
    enum { CLIENTS = 16, ROUNDS = 30 };
    struct rig rig;
    rig_init(&rig);
    struct weir_error err;
    struct answerer answerer = {&rig, CLIENTS * ROUNDS};
    struct asker askers[CLIENTS];
    struct weir_thread *threads[CLIENTS + 1];
    ck_assert_int_eq(weir_thread_start("answer", answer_held, &answerer, &threads[CLIENTS], &err), WEIR_OK);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        askers[i] = (struct asker){.rig = &rig, .number = i, .rounds = ROUNDS};
        ck_assert_int_eq(weir_thread_start("ask", ask, &askers[i], &threads[i], &err), WEIR_OK);
    }
    for (uint32_t i = 0; i <= CLIENTS; i++) {
        weir_thread_join(threads[i]);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        ck_assert_uint_eq(askers[i].good, ROUNDS);
    }
    rig_fini(&rig);
}
END_TEST

static void stop_holding_one(void *ctx)
{
    struct rig *rig = ctx;
    struct weir_http_request *request = rig_take(rig);
    weir_http_server_stop(rig->server);
    weir_http_respond(request, 200, "text/plain", weir_slice_str("too late"));
}

START_TEST(stop_answers_what_is_held)
{
    struct rig rig;
    rig_init(&rig);
    struct weir_error err;
    struct weir_thread *thread = NULL;
    ck_assert_int_eq(weir_thread_start("stop", stop_holding_one, &rig, &thread, &err), WEIR_OK);
    struct weir_http_client *client = weir_http_client_create();
    struct weir_buf body = {0};
    unsigned status = 0;
    struct weir_http_call call = {.method = "GET", .url = "/hold"};
    ck_assert_msg(fetch(&rig, client, call, &status, &body, &err) == WEIR_OK, "%s", err.text);
    ck_assert_uint_eq(status, 503);
    weir_thread_join(thread);
    ck_assert_int_eq(fetch(&rig, client, call, &status, &body, &err), WEIR_OK); /* and what still comes */
    ck_assert_uint_eq(status, 503);
    weir_buf_fini(&body);
    weir_http_client_destroy(client);
    rig_fini(&rig);
}
END_TEST

START_TEST(a_request_outlives_its_server)
{
    struct rig rig;
    rig_init(&rig);
    struct weir_http_client *client = weir_http_client_create();
    struct weir_buf body = {0};
    struct weir_error err;
    unsigned status = 0;
    struct weir_http_call call = {.method = "POST", .url = "/hold", .timeout_ms = 50, .body = weir_slice_str("kept")};
    uint32_t held = 0;
    while (held == 0) { /* one that had run out of time before it was sent never comes */
        ck_assert_int_eq(fetch(&rig, client, call, &status, &body, &err), WEIR_TIMEOUT);
        weir_mutex_lock(&rig.mutex);
        held = rig.held_count;
        weir_mutex_unlock(&rig.mutex);
    }
    struct weir_http_request *request = rig_take(&rig);
    weir_http_server_destroy(rig.server);
    rig.server = NULL;
    ck_assert(weir_slice_eq_str(weir_http_request_body(request), "kept"));
    weir_http_respond_error(request, 500, "nobody listens");
    while (rig.held_count > 0) { /* the server's threads are gone */
        weir_http_respond_error(rig_take(&rig), 500, "nobody listens");
    }
    weir_buf_fini(&body);
    weir_http_client_destroy(client);
    rig_fini(&rig);
}
END_TEST

/* Sends text (and `fill` letters), returns the first bytes of what comes back; "" when closed. */
static void raw_exchange(const struct rig *rig, const char *text, size_t fill, char *out, size_t out_bytes)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(weir_http_server_port(rig->server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    struct timeval limit = {.tv_sec = 20};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
    char letters[1000];
    memset(letters, 'a', sizeof(letters));
    for (size_t sent = 0; sent < fill; sent += sizeof(letters)) {
        if (send(fd, letters, sizeof(letters), MSG_NOSIGNAL) < 0) {
            break;
        }
    }
    (void)send(fd, "\r\n\r\n", 4, MSG_NOSIGNAL);
    size_t got = 0;
    ssize_t n = 1;
    while (n > 0 && got < out_bytes - 1) {
        do {
            n = recv(fd, out + got, out_bytes - 1 - got, 0);
        } while (n < 0 && errno == EINTR); /* with a time-out it is not begun anew when a stopped process goes on */
        got += n > 0 ? (size_t)n : 0;
        if (memmem(out, got, "\r\n\r\n", 4) != NULL) {
            break; /* all headers */
        }
    }
    ck_assert_msg(n >= 0 || errno == ECONNRESET, "no answer and no close: %s", strerror(errno));
    out[got] = '\0';
    (void)close(fd);
}

START_TEST(what_is_too_large_or_not_http_is_refused)
{
    struct rig rig;
    rig_init(&rig);
    char answer[200];
    raw_exchange(&rig, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n", 0, answer, sizeof(answer));
    ck_assert_msg(strncmp(answer, "HTTP/1.1 413", 12) == 0, "%s", answer);
    raw_exchange(&rig, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999999\r\n", 0, answer,
                 sizeof(answer));
    ck_assert_msg(strncmp(answer, "HTTP/1.1 4", 10) == 0, "%s", answer);
    raw_exchange(&rig, "GET /echo HTTP/1.1\r\nHost: a\r\nX: ", 9000, answer, sizeof(answer));
    ck_assert_msg(strncmp(answer, "HTTP/1.1 431", 12) == 0, "%s", answer);
    raw_exchange(&rig, "GET /echo HTTP/1.1\r\nHost: a\r\nX: ", 100000, answer, sizeof(answer));
    ck_assert_msg(answer[0] == '\0' || strncmp(answer, "HTTP/1.1 4", 10) == 0, "%s", answer);
    raw_exchange(&rig, "\x16\x03\x01 not http at all", 3000, answer, sizeof(answer));
    ck_assert_msg(answer[0] == '\0' || strncmp(answer, "HTTP/1.", 7) == 0, "%s", answer);
    raw_exchange(&rig, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n", 131072, answer,
                 sizeof(answer)); /* an unannounced length: the chunk ends in garbage after the limit */
    ck_assert_msg(answer[0] == '\0' || strncmp(answer, "HTTP/1.1 4", 10) == 0, "%s", answer);
    raw_exchange(&rig, "GET /facts%00.txt?mode=1&flag HTTP/1.1\r\nHost: a", 0, answer, sizeof(answer)); /* not /facts */
    ck_assert_msg(strncmp(answer, "HTTP/1.1 404", 12) == 0, "%s", answer);
    raw_exchange(&rig, "GET /facts?mode=1&flag HTTP/1.1\r\nHost: a", 0, answer, sizeof(answer)); /* still alive */
    ck_assert_msg(strncmp(answer, "HTTP/1.1 202", 12) == 0, "%s", answer);
    rig_fini(&rig);
}
END_TEST

/* Sends `head`, then a byte every 20 ms, until the server closes. MHD's own time-out, of silence, never comes. */
static void trickle(const struct rig *rig, const char *head)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(weir_http_server_port(rig->server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    struct timeval pace = {.tv_usec = 20000};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &pace, sizeof(pace));
    (void)send(fd, head, strlen(head), MSG_NOSIGNAL);
    bool open = true;
    for (int i = 0; i < 1000 && open; i++) { /* 20 s */
        char byte;
        ssize_t got = recv(fd, &byte, 1, 0);
        open = got < 0 && (errno == EAGAIN || errno == EINTR) && send(fd, "a", 1, MSG_NOSIGNAL) == 1;
    }
    ck_assert_msg(!open, "a request of %s may take for ever", head);
    (void)close(fd);
}

/* The limit is for slow clients, and holds for those of a slow machine: one that is cut off asks again. */
static void ask_in_time(const struct rig *rig)
{
    char answer[200];
    do {
        raw_exchange(rig, "GET /facts?mode=1&flag HTTP/1.1\r\nHost: a", 0, answer, sizeof(answer));
    } while (answer[0] == '\0' || strncmp(answer, "HTTP/1.1 408", 12) == 0);
    ck_assert_msg(strncmp(answer, "HTTP/1.1 202", 12) == 0, "%s", answer);
}

START_TEST(a_redirection_keeps_path_and_query)
{
    struct rig rig;
    char answer[4096];
    rig_init(&rig);
    raw_exchange(&rig, "GET /else/a%20b%0d%0aX:%c3%a4?now=true&x=%26%3d+&y HTTP/1.1\r\nHost: h", 0, answer, sizeof(answer));
    ck_assert_msg(strstr(answer, "HTTP/1.1 307 ") == answer, "%s", answer);
    ck_assert_msg(strstr(answer, "\nLocation: http://h:1/else/a%20b%0D%0AX%3A%C3%A4?now=true&x=%26%3D%20&y=\r\n") != NULL, "%s", answer);
    rig_fini(&rig);
}
END_TEST

START_TEST(slow_requests_are_cut_off)
{
    struct rig rig;
    struct weir_http_server_options options = {.address = "127.0.0.1", .header_timeout_ms = 300};
    struct weir_error err;
    memset(&rig, 0, sizeof(rig));
    weir_mutex_init(&rig.mutex);
    weir_cond_init(&rig.cond);
    ck_assert_msg(weir_http_server_create(&options, on_request, &rig, &rig.server, &err) == WEIR_OK, "%s", err.text);
    int silent[100]; /* more than there are slots: they do not keep others out until their time is over */
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(weir_http_server_port(rig.server)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 100; i++) {
        silent[i] = socket(AF_INET, SOCK_STREAM, 0);
        ck_assert_int_eq(connect(silent[i], (const struct sockaddr *)&to, sizeof(to)), 0);
    }
    ask_in_time(&rig);
    for (int i = 0; i < 100; i++) {
        (void)close(silent[i]);
    }
    trickle(&rig, "");
    trickle(&rig, "GET /facts HTTP/1.1\r\nHost: a\r\nX: ");
    ask_in_time(&rig);
    rig_fini(&rig);
}
END_TEST

START_TEST(failures_have_codes_and_texts)
{
    struct rig rig;
    rig_init(&rig);
    struct weir_error err;
    struct weir_http_server *second = NULL;
    struct weir_http_server_options options = {.address = "127.0.0.1", .port = weir_http_server_port(rig.server)};
    ck_assert_int_eq(weir_http_server_create(&options, on_request, NULL, &second, &err), WEIR_EXISTS);
    options.address = "no such host name!";
    ck_assert_int_eq(weir_http_server_create(&options, on_request, NULL, &second, &err), WEIR_INVALID);
    struct weir_http_client *client = weir_http_client_create();
    struct weir_buf body = {0};
    unsigned status = 0;
    char *url = weir_strfmt("http://127.0.0.1:%u/", options.port);
    weir_http_server_destroy(rig.server);
    rig.server = NULL;
    struct weir_http_call call = {.method = "GET", .url = url, .timeout_ms = 30000};
    ck_assert_int_eq(weir_http_call(client, &call, &status, &body, &err), WEIR_REFUSED);
    ck_assert_msg(strstr(err.text, url) != NULL, "%s", err.text);
    call.url = "file:///etc/passwd";
    ck_assert_int_eq(weir_http_call(client, &call, &status, &body, &err), WEIR_INVALID);
    ck_assert_uint_eq(body.len, 0);
    weir_free(url);
    weir_buf_fini(&body);
    weir_http_client_destroy(client);
    rig_fini(&rig);
}
END_TEST

Suite *http_server_suite(void);
Suite *http_server_suite(void)
{
    Suite *suite = suite_create("http_server");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, a_redirection_keeps_path_and_query);
    tcase_add_test(tc, requests_arrive_whole_and_answers_come_back);
    tcase_add_test(tc, another_thread_answers_many_clients_at_once);
    tcase_add_test(tc, stop_answers_what_is_held);
    tcase_add_test(tc, a_request_outlives_its_server);
    tcase_add_test(tc, what_is_too_large_or_not_http_is_refused);
    tcase_add_test(tc, slow_requests_are_cut_off);
    tcase_add_test(tc, failures_have_codes_and_texts);
    suite_add_tcase(suite, tc);
    return suite;
}
