/*
 * Mutual TLS of the connections inside a cluster, and who the peer is.
 *
 * Every node has a directory with `ca.pem` (the certificate of the cluster's own authority, or of several while one replaces another) and
 * `node.pem` (this node's certificate and private key). The certificate says the node's role and name (x509.h). `weir certs init` makes them.
 *
 * T1  Both sides prove that they hold the key of a certificate which the authority signed (TLS 1.2, ECDHE, AES-GCM or ChaCha20, no resumption,
 *     no renegotiation). So a recorded conversation says nothing to anybody, and cannot be played again.
 * T2  A peer whose certificate is not for the role that is expected there fails the handshake: no byte of either side's reaches the other.
 *     Where any role may come (the JobManager's port), the role that a HELLO claims must be the certificate's (rpc.h).
 * T3  A certificate that names hosts is accepted, by whoever dials, only from one of these.
 * T4  The handshake has `handshake_ms` in all; a plaintext peer, another authority's, an expired certificate, a wrong role or a silent peer
 *     costs one connection, is counted, and logged at most once a second.
 * T5  The files are looked at every `watch_ms`. New ones that are in order hold for new connections, established ones stay; of others it is
 *     logged what is wrong, and the old ones stay in use.
 *
 * What it does not protect from: a node's own key in wrong hands (there is no list of revoked certificates: make a new authority, with both in
 * ca.pem while it spreads), one TaskManager posing as another (roles are told apart, nodes of one role are not), who talks to whom and how
 * much, and floods. The end of a stream is not authenticated: whoever can cut a wire can always look like a peer that died.
 */
#ifndef WEIR_COMMON_NET_TLS_H
#define WEIR_COMMON_NET_TLS_H

#include "common/base/config.h"
#include "common/base/log.h"

enum { WEIR_TLS_HANDSHAKE_MS_DEFAULT = 10000, WEIR_TLS_WATCH_MS_DEFAULT = 2000 };

struct weir_tls;

struct weir_tls_options {
    const char *dir;
    const char *role;           /* what this node's certificate must say */
    uint32_t watch_ms;          /* 0: default */
    uint32_t handshake_ms;      /* 0: default */
    const struct weir_log *log; /* borrowed until destroy; may be NULL */
};

struct weir_tls_stats {
    uint64_t handshakes;     /* completed */
    uint64_t refused;        /* failed, by either side */
    uint64_t renewals;       /* certificates taken into use after the first */
    uint64_t renewals_wrong; /* that were not */
};

/* Reads the directory and begins to watch it, on a library thread. Strings are copied. NOT_FOUND, IO, INVALID (certificates, their role, files
 * that others may read). Outlives everything that uses it. */
enum weir_rc weir_tls_create(const struct weir_tls_options *options, struct weir_tls **out_tls, struct weir_error *err) WEIR_CHECKED;

/* By the settings security.ssl.internal.*: *out_tls is NULL when they switch it off. */
enum weir_rc weir_tls_create_configured(const struct weir_config *config, const char *role, const struct weir_log *log, struct weir_tls **out_tls,
                                        struct weir_error *err) WEIR_CHECKED;

/* No stream of it is there any more. Blocks; never from a library callback. Accepts NULL. */
void weir_tls_destroy(struct weir_tls *tls);

/* Any thread. */
void weir_tls_stats(struct weir_tls *tls, struct weir_tls_stats *out_stats);

#endif
