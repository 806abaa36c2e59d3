#include "tests/lib/test_tls.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

void weir_test_tls_init(struct weir_test_tls *certs)
{
    struct weir_error err;
    memset(certs, 0, sizeof(*certs));
    weir_temp_dir(certs->dir, "tls");
    ck_assert_msg(weir_x509_make_authority("test", weir_clock_wall_ms(weir_clock_real()), 10, &certs->ca, &certs->ca_key, &err) == WEIR_OK, "%s", err.text);
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
    (void)stat;
    (void)kind;
    (void)at;
    return remove(path);
}

void weir_test_tls_fini(struct weir_test_tls *certs)
{
    ck_assert_int_eq(nftw(certs->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    weir_buf_fini(&certs->ca);
    weir_x509_wipe(&certs->ca_key);
}

void weir_test_tls_write_file(const char *dir, const char *file, struct weir_slice bytes)
{
    char *path = weir_strfmt("%s/%s", dir, file);
    char *temporary = weir_strfmt("%s.new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes.data, bytes.len), (ssize_t)bytes.len);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(rename(temporary, path), 0);
    weir_free(temporary);
    weir_free(path);
}

char *weir_test_tls_write(const struct weir_test_tls *certs, const struct weir_x509_node *node)
{
    struct weir_error err;
    struct weir_buf pem = {0};
    struct weir_x509_node full = *node;
    full.now_ms = full.now_ms == 0 ? weir_clock_wall_ms(weir_clock_real()) : full.now_ms;
    full.days = full.days == 0 ? 5 : full.days;
    ck_assert_msg(weir_x509_make_node(&full, weir_buf_slice(&certs->ca), weir_buf_slice(&certs->ca_key), &pem, &err) == WEIR_OK, "%s", err.text);
    char *dir = weir_strfmt("%s/%s", certs->dir, node->name);
    (void)mkdir(dir, 0700);
    weir_test_tls_write_file(dir, "ca.pem", weir_buf_slice(&certs->ca));
    weir_test_tls_write_file(dir, "node.pem", weir_buf_slice(&pem));
    weir_x509_wipe(&pem);
    return dir;
}

struct weir_tls *weir_test_tls_node(const struct weir_test_tls *certs, const char *role)
{
    struct weir_error err;
    struct weir_tls *tls = NULL;
    char *dir = weir_test_tls_write(certs, &(struct weir_x509_node){.role = role, .name = role});
    ck_assert_msg(weir_tls_create(&(struct weir_tls_options){.dir = dir, .role = role}, &tls, &err) == WEIR_OK, "%s", err.text);
    weir_free(dir);
    return tls;
}
