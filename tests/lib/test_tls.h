/*
 * Certificates for tests: an authority in memory, nodes in a temporary directory.
 */
#ifndef WEIR_TESTS_LIB_TEST_TLS_H
#define WEIR_TESTS_LIB_TEST_TLS_H

#include "common/net/tls.h"
#include "common/net/x509.h"
#include "tests/lib/temp_dir.h"

struct weir_test_tls {
    char dir[WEIR_TEMP_DIR_MAX];
    struct weir_buf ca, ca_key;
};

void weir_test_tls_init(struct weir_test_tls *certs);
void weir_test_tls_fini(struct weir_test_tls *certs); /* removes the directory */

/* Writes <dir>/<name>/ca.pem and node.pem, over what is there; returns that directory, to be freed. */
char *weir_test_tls_write(const struct weir_test_tls *certs, const struct weir_x509_node *node);
void weir_test_tls_write_file(const char *dir, const char *file, struct weir_slice bytes);

/* A node of that role, named after it, on any host. */
struct weir_tls *weir_test_tls_node(const struct weir_test_tls *certs, const char *role);

#endif
