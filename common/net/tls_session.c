#include "common/net/tls_session.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/net/x509_private.h"

#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <stdatomic.h>
#include <stdio.h>

enum { WHY_BYTES = 512 };

/* Everything mbed TLS touches is the session's own, parsed anew: its contexts of keys and curves keep caches that threads must not share. */
struct weir__tls_session {
    mbedtls_ssl_context ssl;
    mbedtls_ssl_config config;
    mbedtls_x509_crt authorities;
    mbedtls_x509_crt own;
    mbedtls_pk_context key;
    char *host;
    char *role_wanted;
    struct weir_buf in; /* in.data[in_head .. in.len) is not read yet */
    size_t in_head;
    struct weir_buf out;
    bool begun; /* the peer has said something; if TLS, it begins with a handshake or an alert */
    bool plaintext;
    bool done;
    enum weir_rc broken; /* what every further read says */
    char peer_role[WEIR_X509_NAME_MAX + 1];
    char peer_name[WEIR_X509_NAME_MAX + 1];
    char why[WHY_BYTES];
};

struct weir__tls_identity *weir__tls_identity_ref(struct weir__tls_identity *identity)
{
    atomic_fetch_add(&identity->refs, 1);
    return identity;
}

void weir__tls_identity_unref(struct weir__tls_identity *identity)
{
    if (identity != NULL && atomic_fetch_sub(&identity->refs, 1) == 1) {
        weir_buf_fini(&identity->authorities);
        weir_x509_wipe(&identity->node);
        weir_free(identity);
    }
}

/* --- what mbed TLS calls ------------------------------------------------------------------------------------------------ */

static int on_send(void *ctx, const unsigned char *bytes, size_t len)
{
    struct weir__tls_session *session = ctx;
    weir_buf_put(&session->out, bytes, len);
    return (int)len;
}

static int on_receive(void *ctx, unsigned char *into, size_t len)
{
    struct weir__tls_session *session = ctx;
    size_t there = session->in.len - session->in_head;
    len = len < there ? len : there;
    if (len == 0) {
        return MBEDTLS_ERR_SSL_WANT_READ;
    }
    if (!session->begun) {
        uint8_t first = session->in.data[session->in_head];
        session->begun = true;
        session->plaintext = first != MBEDTLS_SSL_MSG_HANDSHAKE && first != MBEDTLS_SSL_MSG_ALERT;
    }
    memcpy(into, session->in.data + session->in_head, len);
    session->in_head += len;
    if (session->in_head == session->in.len) {
        session->in_head = 0;
        weir_buf_clear(&session->in);
    }
    return (int)len;
}

/* For each certificate of the peer's chain, its own (depth 0) last. */
static int on_verify(void *ctx, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    struct weir__tls_session *session = ctx;
    if (depth != 0) {
        return 0;
    }
    char role[WEIR_X509_NAME_MAX + 1];
    weir__x509_subject(crt, role, session->peer_name);
    if (*flags != 0) {
        char text[128] = "";
        (void)mbedtls_x509_crt_verify_info(text, sizeof(text), "", *flags);
        text[strcspn(text, "\n")] = '\0';
        (void)snprintf(session->why, WHY_BYTES, "certificate of \"%s\" (%s): %s", session->peer_name, role, text);
    } else if (session->role_wanted != NULL && strcmp(session->role_wanted, role) != 0) {
        (void)snprintf(session->why, WHY_BYTES, "certificate of \"%s\" is for the role \"%s\", expected \"%s\"", session->peer_name, role,
                       session->role_wanted);
        *flags |= MBEDTLS_X509_BADCERT_OTHER;
    } else if (session->host != NULL && !weir__x509_host_ok(crt, session->host)) {
        (void)snprintf(session->why, WHY_BYTES, "certificate of \"%s\" is not for host %s", session->peer_name, session->host);
        *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    }
    memcpy(session->peer_role, role, sizeof(role));
    return 0;
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

static int configure(struct weir__tls_session *session)
{
    static const int suites[] = {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                                 MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                                 MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, 0};
    mbedtls_ssl_config *config = &session->config;
    int side = session->host != NULL ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER;
    int code = mbedtls_ssl_config_defaults(config, side, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    if (code != 0) {
        return code;
    }
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_ciphersuites(config, suites);
    mbedtls_ssl_conf_cert_profile(config, &weir__x509_profile);
    mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(config, &session->authorities, NULL);
    mbedtls_ssl_conf_verify(config, on_verify, session);
    mbedtls_ssl_conf_rng(config, weir__x509_random, NULL);
    mbedtls_ssl_conf_renegotiation(config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
    mbedtls_ssl_conf_session_tickets(config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    code = mbedtls_ssl_conf_own_cert(config, &session->own, &session->key);
    return code != 0 ? code : mbedtls_ssl_setup(&session->ssl, config);
}

struct weir__tls_session *weir__tls_session_create(struct weir__tls_identity *identity, const char *host, const char *peer_role)
{
    struct weir__tls_session *session = weir_calloc(1, sizeof(*session));
    session->host = host == NULL ? NULL : weir_strdup(host);
    session->role_wanted = peer_role == NULL ? NULL : weir_strdup(peer_role);
    mbedtls_ssl_init(&session->ssl);
    mbedtls_ssl_config_init(&session->config);
    mbedtls_x509_crt_init(&session->authorities);
    mbedtls_x509_crt_init(&session->own);
    mbedtls_pk_init(&session->key);
    int code = weir__x509_parse(weir_buf_slice(&identity->authorities), &session->authorities, NULL);
    code = code != 0 ? code : weir__x509_parse(weir_buf_slice(&identity->node), &session->own, &session->key);
    code = code != 0 ? code : configure(session);
    weir_assert(code == 0); /* the identity was checked with the same functions: memory only */
    mbedtls_ssl_set_bio(&session->ssl, session, on_send, on_receive, NULL);
    return session;
}

void weir__tls_session_destroy(struct weir__tls_session *session)
{
    if (session == NULL) {
        return;
    }
    mbedtls_ssl_free(&session->ssl);
    mbedtls_ssl_config_free(&session->config);
    mbedtls_pk_free(&session->key);
    mbedtls_x509_crt_free(&session->own);
    mbedtls_x509_crt_free(&session->authorities);
    weir_buf_fini(&session->in);
    weir_buf_fini(&session->out);
    weir_free(session->host);
    weir_free(session->role_wanted);
    weir_free(session);
}

struct weir_buf *weir__tls_session_in(struct weir__tls_session *session)
{
    if (session->in_head > 0) {
        memmove(session->in.data, session->in.data + session->in_head, session->in.len - session->in_head);
        session->in.len -= session->in_head;
        session->in_head = 0;
    }
    return &session->in;
}

struct weir_buf *weir__tls_session_out(struct weir__tls_session *session)
{
    return &session->out;
}

/* --- steps -------------------------------------------------------------------------------------------------------------- */

static bool is_wait(int code)
{
    return code == MBEDTLS_ERR_SSL_WANT_READ || code == MBEDTLS_ERR_SSL_WANT_WRITE;
}

/* The reason in words, unless the verification has given one. */
static void explain(struct weir__tls_session *session, int code)
{
    if (session->why[0] != '\0') {
        return;
    }
    if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
        (void)snprintf(session->why, WHY_BYTES, "the peer refuses: TLS alert %d (see its log)", session->ssl.in_msg[1]);
    } else if (session->plaintext) {
        (void)snprintf(session->why, WHY_BYTES, "the peer does not speak TLS: is security.ssl.internal.enabled set on both sides?");
    } else {
        char text[160];
        mbedtls_strerror(code, text, sizeof(text));
        (void)snprintf(session->why, WHY_BYTES, "%s", text);
    }
}

enum weir_rc weir__tls_session_handshake(struct weir__tls_session *session)
{
    if (session->done) {
        return WEIR_OK;
    }
    if (session->why[0] != '\0') {
        return WEIR_REFUSED;
    }
    int code = mbedtls_ssl_handshake(&session->ssl);
    if (is_wait(code)) {
        return WEIR_AGAIN;
    }
    if (code == 0 && session->peer_role[0] == '\0') { /* a certificate of this authority, but nobody's */
        (void)snprintf(session->why, WHY_BYTES, "the certificate of \"%s\" says no role", session->peer_name);
        (void)mbedtls_ssl_send_alert_message(&session->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED);
        return WEIR_REFUSED;
    }
    if (code != 0) {
        explain(session, code);
        return WEIR_REFUSED;
    }
    session->done = true;
    return WEIR_OK;
}

enum weir_rc weir__tls_session_write(struct weir__tls_session *session, struct weir_slice bytes, size_t *out_bytes)
{
    weir_assert(session->done);
    int code = mbedtls_ssl_write(&session->ssl, bytes.data, bytes.len);
    if (code < 0) {
        explain(session, code);
        return WEIR_CORRUPT;
    }
    *out_bytes = (size_t)code;
    return WEIR_OK;
}

enum weir_rc weir__tls_session_read(struct weir__tls_session *session, uint8_t *into, size_t bytes_max, size_t *out_bytes)
{
    weir_assert(session->done);
    if (session->broken != WEIR_OK) {
        return session->broken;
    }
    size_t bytes = 0;
    int code = 1;
    while (bytes < bytes_max && code > 0) {
        code = mbedtls_ssl_read(&session->ssl, into + bytes, bytes_max - bytes);
        bytes += code > 0 ? (size_t)code : 0;
    }
    if (code == 0 || code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        session->broken = WEIR_CLOSED;
    } else if (code < 0 && !is_wait(code)) {
        explain(session, code);
        session->broken = WEIR_CORRUPT;
    }
    if (bytes > 0) {
        *out_bytes = bytes;
        return WEIR_OK;
    }
    return session->broken != WEIR_OK ? session->broken : WEIR_AGAIN;
}

const char *weir__tls_session_why(const struct weir__tls_session *session)
{
    return session->why;
}

const char *weir__tls_session_peer_role(const struct weir__tls_session *session)
{
    return session->done ? session->peer_role : "";
}

const char *weir__tls_session_peer_name(const struct weir__tls_session *session)
{
    return session->done ? session->peer_name : "";
}
