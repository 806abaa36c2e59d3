/*
 * Certificates of a cluster: making them, reading them, and who they say somebody is. Texts in and out are PEM, in memory; keys are P-256.
 *
 * A node's certificate carries its role as organizational unit and its name as common name: `CN=taskmanager-1,OU=taskmanager,O=weir`. If it
 * names hosts (subject alternative names), whoever dials accepts it only from one of them.
 */
#ifndef WEIR_COMMON_NET_X509_H
#define WEIR_COMMON_NET_X509_H

#include "common/base/buf.h"
#include "common/base/error.h"

enum { WEIR_X509_NAME_MAX = 64, WEIR_X509_HOSTS_MAX = 32, WEIR_X509_HOSTS_TEXT = 2048, WEIR_X509_DAYS_MAX = 36500, WEIR_X509_PEM_BYTES_MAX = 1 << 20 };

/* What a certificate says. */
struct weir_x509_info {
    char role[WEIR_X509_NAME_MAX + 1]; /* "" for an authority */
    char name[WEIR_X509_NAME_MAX + 1];
    char issuer[WEIR_X509_NAME_MAX + 1]; /* the common name of whoever signed it */
    char hosts[WEIR_X509_HOSTS_TEXT];    /* separated by commas; "" when it names none */
    bool authority;
    int64_t not_before_ms, not_after_ms; /* since 1970 */
};

struct weir_x509_node {
    const char *role;
    const char *name;
    const char *const *hosts; /* names and addresses; at most WEIR_X509_HOSTS_MAX */
    uint32_t nhosts;
    int64_t now_ms;
    uint32_t days; /* of validity from now on */
};

/* A new authority: its certificate and its key, appended. INVALID: name or days. */
enum weir_rc weir_x509_make_authority(const char *name, int64_t now_ms, uint32_t days, struct weir_buf *out_certificate,
                                      struct weir_buf *out_key, struct weir_error *err) WEIR_CHECKED;

/* A new key and its certificate, signed by the authority: one text with both, appended. The certificate ends no later than the authority's.
 * INVALID: what the node says, or an authority that is none. */
enum weir_rc weir_x509_make_node(const struct weir_x509_node *node, struct weir_slice authority_certificate, struct weir_slice authority_key,
                                 struct weir_buf *out_pem, struct weir_error *err) WEIR_CHECKED;

/* The first certificate of the text. INVALID. */
enum weir_rc weir_x509_read(struct weir_slice pem, struct weir_x509_info *out_info, struct weir_error *err) WEIR_CHECKED;

/* Whether `node` holds a certificate and its key, signed by one of the authorities, valid now, of that role. INVALID says what is wrong. */
enum weir_rc weir_x509_check(struct weir_slice authorities, struct weir_slice node, const char *role, struct weir_x509_info *out_info,
                             struct weir_error *err) WEIR_CHECKED;

/* Letters, digits, '.', '_', '-'; at most WEIR_X509_NAME_MAX. */
bool weir_x509_name_ok(const char *name);

/* Overwrites and frees a buffer that held a key. */
void weir_x509_wipe(struct weir_buf *buf);

#endif
