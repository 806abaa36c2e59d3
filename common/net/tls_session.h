/*
 * One TLS connection as a machine over two buffers: encrypted bytes in, encrypted bytes out. No socket, thread or clock. Private to common/net.
 *
 * (Not nng's own TLS streams: nng 1.5.2 tells nobody whose certificate the peer has shown, so any node could play any role.)
 */
#ifndef WEIR_COMMON_NET_TLS_SESSION_H
#define WEIR_COMMON_NET_TLS_SESSION_H

#include "common/net/tls.h"
#include "common/net/x509.h"

/* The files of a node, immutable. */
struct weir__tls_identity {
    _Atomic uint32_t refs;
    struct weir_buf authorities; /* ca.pem */
    struct weir_buf node;        /* node.pem: holds a key */
    struct weir_x509_info info;
};

struct weir__tls_identity *weir__tls_identity_ref(struct weir__tls_identity *identity);
void weir__tls_identity_unref(struct weir__tls_identity *identity); /* accepts NULL */

/* tls.c: the newest identity, referenced; and what becomes of handshakes. Any thread. */
struct weir__tls_identity *weir__tls_identity(struct weir_tls *tls);
uint32_t weir__tls_handshake_ms(const struct weir_tls *tls);
void weir__tls_established(struct weir_tls *tls);
void weir__tls_refused(struct weir_tls *tls, const char *side, const char *peer, const char *why);

struct weir__tls_session;

/* As the side that dialed (`host`: whom) or was dialed (host: NULL). peer_role: what the peer must be, NULL for any; copied. */
struct weir__tls_session *weir__tls_session_create(struct weir__tls_identity *identity, const char *host, const char *peer_role);
void weir__tls_session_destroy(struct weir__tls_session *session); /* accepts NULL */

/* Encrypted bytes from the peer: append to it. */
struct weir_buf *weir__tls_session_in(struct weir__tls_session *session);
/* Encrypted bytes for the peer: take them away. Also after an error, which they tell. */
struct weir_buf *weir__tls_session_out(struct weir__tls_session *session);

/* WEIR_OK: done, the peer is known. AGAIN: bytes of the peer are missing. REFUSED: weir__tls_session_why. */
enum weir_rc weir__tls_session_handshake(struct weir__tls_session *session) WEIR_CHECKED;

/* After the handshake. Encrypts up to one record of the bytes; *out_bytes: how many. CORRUPT. */
enum weir_rc weir__tls_session_write(struct weir__tls_session *session, struct weir_slice bytes, size_t *out_bytes) WEIR_CHECKED;

/* After the handshake. 1 to bytes_max bytes. AGAIN (bytes of the peer are missing), CLOSED (it has said goodbye), CORRUPT. */
enum weir_rc weir__tls_session_read(struct weir__tls_session *session, uint8_t *into, size_t bytes_max, size_t *out_bytes) WEIR_CHECKED;

const char *weir__tls_session_why(const struct weir__tls_session *session);
/* "" before the handshake is done. */
const char *weir__tls_session_peer_role(const struct weir__tls_session *session);
const char *weir__tls_session_peer_name(const struct weir__tls_session *session);

#endif
