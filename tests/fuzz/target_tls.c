/*
 * tls: what a stranger can send before he has proved anything: bytes to a session that was dialed or has dialed, and certificates as they come in
 * a handshake, with what we read out of them.
 */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/net/tls_session.h"
#include "common/net/x509_private.h"
#include "tests/fuzz/fuzz.h"

enum { DIALED = 1, CERTIFICATE = 2 };

struct tls_state {
    struct weir_buf ca, ca_key;
    struct weir__tls_identity *identity;
};

static void *tls_create(void)
{
    struct tls_state *state = weir_calloc(1, sizeof(*state));
    struct weir_error err;
    static const char *const hosts[] = {"10.0.0.1", "h"};
    state->identity = weir_calloc(1, sizeof(*state->identity));
    state->identity->refs = 1;
    int64_t now_ms = weir_clock_wall_ms(weir_clock_real());
    struct weir_x509_node node = {.role = "taskmanager", .name = "tm", .hosts = hosts, .nhosts = 2, .now_ms = now_ms, .days = 2};
    enum weir_rc rc = weir_x509_make_authority("fuzz", now_ms, 2, &state->ca, &state->ca_key, &err);
    weir_assert(rc == WEIR_OK);
    rc = weir_x509_make_node(&node, weir_buf_slice(&state->ca), weir_buf_slice(&state->ca_key), &state->identity->node, &err);
    weir_assert(rc == WEIR_OK);
    weir_buf_put_slice(&state->identity->authorities, weir_buf_slice(&state->ca));
    return state;
}

static void tls_destroy(void *ctx)
{
    struct tls_state *state = ctx;
    weir__tls_identity_unref(state->identity);
    weir_buf_fini(&state->ca);
    weir_x509_wipe(&state->ca_key);
    weir_free(state);
}

/* Nobody gets in: there is no second holder of a key here. */
static void session_run(const struct tls_state *state, bool dialed, struct weir_slice input)
{
    struct weir__tls_session *session = weir__tls_session_create(state->identity, dialed ? NULL : "h", "taskmanager");
    enum weir_rc rc = weir__tls_session_handshake(session);
    weir_assert(rc == WEIR_AGAIN);
    for (size_t at = 0; at < input.len && rc == WEIR_AGAIN;) { /* in two pieces: cuts matter */
        size_t piece = at == 0 ? (input.len + 1) / 2 : input.len - at;
        weir_buf_put(weir__tls_session_in(session), input.data + at, piece);
        at += piece;
        rc = weir__tls_session_handshake(session);
    }
    weir_assert(rc != WEIR_OK);
    weir_assert((rc == WEIR_REFUSED) == (weir__tls_session_why(session)[0] != '\0'));
    weir_assert(weir__tls_session_peer_role(session)[0] == '\0');
    weir__tls_session_destroy(session);
}

static void certificate_run(struct weir_slice input)
{
    mbedtls_x509_crt crt;
    char role[WEIR_X509_NAME_MAX + 1];
    char name[WEIR_X509_NAME_MAX + 1];
    mbedtls_x509_crt_init(&crt);
    if (mbedtls_x509_crt_parse_der(&crt, input.data, input.len) == 0) {
        weir__x509_subject(&crt, role, name);
        weir_assert(strlen(role) <= WEIR_X509_NAME_MAX);
        weir_assert(strlen(name) <= WEIR_X509_NAME_MAX);
        (void)weir__x509_host_ok(&crt, "10.0.0.1");
        (void)weir__x509_host_ok(&crt, "h");
    }
    mbedtls_x509_crt_free(&crt);
}

static void tls_run(void *ctx, struct weir_slice input)
{
    if (input.len < 2) {
        return;
    }
    struct weir_slice rest = weir_slice(input.data + 1, input.len - 1);
    if ((input.data[0] & CERTIFICATE) != 0) {
        certificate_run(rest);
    } else {
        session_run(ctx, (input.data[0] & DIALED) != 0, rest);
    }
}

/* What both sides of a real handshake say, and a certificate. */
static void tls_seed(void *ctx, weir_fuzz_seed_fn *add, void *add_ctx)
{
    struct tls_state *state = ctx;
    struct weir__tls_session *ends[2] = {weir__tls_session_create(state->identity, "h", NULL), weir__tls_session_create(state->identity, NULL, NULL)};
    struct weir_buf said[2] = {{0}, {0}};
    weir_buf_put_u8(&said[0], DIALED); /* what the dialing side says, the dialed one hears */
    weir_buf_put_u8(&said[1], 0);
    for (int round = 0; round < 6; round++) {
        struct weir_buf *out = weir__tls_session_out(ends[round % 2]);
        enum weir_rc rc = weir__tls_session_handshake(ends[round % 2]);
        weir_assert(rc == WEIR_OK || rc == WEIR_AGAIN);
        weir_buf_put_slice(weir__tls_session_in(ends[1 - round % 2]), weir_buf_slice(out));
        weir_buf_put_slice(&said[round % 2], weir_buf_slice(out));
        weir_buf_clear(out);
        add(add_ctx, weir_buf_slice(&said[round % 2]));
    }
    mbedtls_x509_crt crt;
    struct weir_buf der = {0};
    mbedtls_x509_crt_init(&crt);
    int code = weir__x509_parse(weir_buf_slice(&state->identity->node), &crt, NULL);
    weir_assert(code == 0);
    weir_buf_put_u8(&der, CERTIFICATE);
    weir_buf_put(&der, crt.raw.p, crt.raw.len);
    add(add_ctx, weir_buf_slice(&der));
    mbedtls_x509_crt_free(&crt);
    weir_buf_fini(&der);
    for (int end = 0; end < 2; end++) {
        weir__tls_session_destroy(ends[end]);
        weir_buf_fini(&said[end]);
    }
}

const struct weir_fuzz_target weir_fuzz_tls = {.name = "tls", .create = tls_create, .run = tls_run, .destroy = tls_destroy, .seed = tls_seed};
