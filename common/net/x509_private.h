/*
 * What net/x509 and net/tls share of mbed TLS. Private to common/net.
 */
#ifndef WEIR_COMMON_NET_X509_PRIVATE_H
#define WEIR_COMMON_NET_X509_PRIVATE_H

#include "common/net/x509.h"

#include <mbedtls/x509_crt.h>

/* The kernel's randomness; for mbed TLS's f_rng. */
int weir__x509_random(void *ctx, unsigned char *out, size_t len);

/* Parses; both are to be initialised. key may be NULL. Returns mbed TLS's code. */
int weir__x509_parse(struct weir_slice pem, mbedtls_x509_crt *crt, mbedtls_pk_context *key);

/* Role and common name of the subject, "" where there is none or more than one. */
void weir__x509_subject(const mbedtls_x509_crt *crt, char role[WEIR_X509_NAME_MAX + 1], char name[WEIR_X509_NAME_MAX + 1]);

/* Whether the certificate names no host at all, or this one ("10.0.0.1", "[::1]", "node1.example"). */
bool weir__x509_host_ok(const mbedtls_x509_crt *crt, const char *host);

/* SHA-2, P-256 or better, RSA from 2048 bits on. */
extern const mbedtls_x509_crt_profile weir__x509_profile;

#endif
