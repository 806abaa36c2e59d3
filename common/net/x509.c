#include "common/net/x509.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/net/x509_private.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <mbedtls/ecp.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/platform_util.h>
#include <stdio.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#define NAME_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

enum { SERIAL_BYTES = 16, PEM_BYTES_MAX = 8192, BACKDATE_MS = 3600 * 1000, TAG_DNS = 0x82, TAG_IP = 0x87 };

const mbedtls_x509_crt_profile weir__x509_profile = {
    .allowed_mds = MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA256) | MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA384) | MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA512),
    .allowed_pks = MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_ECDSA) | MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_ECKEY) | MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_RSA),
    .allowed_curves = MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP256R1) | MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP384R1) |
                      MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP521R1),
    .rsa_min_bitlen = 2048,
};

int weir__x509_random(void *ctx, unsigned char *out, size_t len)
{
    (void)ctx;
    while (len > 0) {
        ssize_t got = getrandom(out, len, 0);
        if (got < 0 && errno != EINTR) {
            return MBEDTLS_ERR_ERROR_GENERIC_ERROR;
        }
        out += got > 0 ? got : 0;
        len -= got > 0 ? (size_t)got : 0;
    }
    return 0;
}

bool weir_x509_name_ok(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= WEIR_X509_NAME_MAX &&
           strspn(name, NAME_LETTERS) == len;
}

void weir_x509_wipe(struct weir_buf *buf)
{
    if (buf->data != NULL) {
        mbedtls_platform_zeroize(buf->data, buf->cap);
    }
    weir_buf_fini(buf);
}

static enum weir_rc fail(struct weir_error *err, int code, const char *what)
{
    char text[160];
    mbedtls_strerror(code, text, sizeof(text));
    return weir_error_set(err, WEIR_INVALID, "%s: %s", what, text);
}

/* --- reading ------------------------------------------------------------------------------------------------------------ */

int weir__x509_parse(struct weir_slice pem, mbedtls_x509_crt *crt, mbedtls_pk_context *key)
{
    struct weir_buf text = {0}; /* mbed TLS wants the NUL, and counts it */
    weir_buf_put_slice(&text, pem);
    weir_buf_put_u8(&text, 0);
    int code = mbedtls_x509_crt_parse(crt, text.data, text.len);
    if (code == 0 && key != NULL) {
        code = mbedtls_pk_parse_key(key, text.data, text.len, NULL, 0);
    }
    weir_x509_wipe(&text);
    return code > 0 ? MBEDTLS_ERR_X509_INVALID_FORMAT : code; /* positive: so many certificates of several are bad */
}

/* The one value of a kind in a name; "" unless it is there once, and printable. */
static void name_part(const mbedtls_x509_name *names, const char *oid, size_t oid_bytes, char out[WEIR_X509_NAME_MAX + 1])
{
    uint32_t found = 0;
    out[0] = '\0';
    for (const mbedtls_x509_name *name = names; name != NULL; name = name->next) {
        if (name->oid.len != oid_bytes || memcmp(name->oid.p, oid, oid_bytes) != 0) {
            continue;
        }
        char value[WEIR_X509_NAME_MAX + 1] = "";
        if (name->val.len <= WEIR_X509_NAME_MAX && memchr(name->val.p, 0, name->val.len) == NULL) {
            memcpy(value, name->val.p, name->val.len);
            value[name->val.len] = '\0';
        }
        found++;
        memcpy(out, value, sizeof(value));
    }
    for (const char *c = out; *c != '\0'; c++) {
        found = isprint((unsigned char)*c) ? found : 2;
    }
    if (found != 1) {
        out[0] = '\0';
    }
}

void weir__x509_subject(const mbedtls_x509_crt *crt, char role[WEIR_X509_NAME_MAX + 1], char name[WEIR_X509_NAME_MAX + 1])
{
    name_part(&crt->subject, MBEDTLS_OID_AT_ORG_UNIT, MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_ORG_UNIT), role);
    name_part(&crt->subject, MBEDTLS_OID_AT_CN, MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_CN), name);
}

static int64_t time_ms(const mbedtls_x509_time *at)
{
    struct tm tm = {.tm_year = at->year - 1900, .tm_mon = at->mon - 1, .tm_mday = at->day, .tm_hour = at->hour, .tm_min = at->min, .tm_sec = at->sec};
    return (int64_t)timegm(&tm) * 1000;
}

/* An address as bytes (4 or 16), 0 when it is a name. */
static size_t address_bytes(const char *host, uint8_t out[16])
{
    char bare[64];
    size_t len = strlen(host);
    bool brackets = len > 2 && host[0] == '[' && host[len - 1] == ']';
    (void)snprintf(bare, sizeof(bare), "%.*s", (int)(brackets ? len - 2 : len), brackets ? host + 1 : host);
    return inet_pton(AF_INET, bare, out) == 1 ? 4 : inet_pton(AF_INET6, bare, out) == 1 ? 16 : 0;
}

bool weir__x509_host_ok(const mbedtls_x509_crt *crt, const char *host)
{
    uint8_t address[16];
    size_t bytes = address_bytes(host, address);
    bool any = false;
    for (const mbedtls_x509_sequence *san = &crt->subject_alt_names; san != NULL; san = san->next) {
        if (san->buf.tag != TAG_DNS && san->buf.tag != TAG_IP) {
            continue;
        }
        any = true;
        if (san->buf.tag == TAG_IP && bytes > 0 && san->buf.len == bytes && memcmp(san->buf.p, address, bytes) == 0) {
            return true;
        }
        if (san->buf.tag == TAG_DNS && bytes == 0 && san->buf.len == strlen(host) &&
            strncasecmp((const char *)san->buf.p, host, san->buf.len) == 0) {
            return true;
        }
    }
    return !any;
}

static void put_hosts(const mbedtls_x509_crt *crt, char *out, size_t out_bytes)
{
    out[0] = '\0';
    for (const mbedtls_x509_sequence *san = &crt->subject_alt_names; san != NULL; san = san->next) {
        char text[256] = "";
        if (san->buf.tag == TAG_DNS) {
            (void)snprintf(text, sizeof(text), "%.*s", (int)san->buf.len, (const char *)san->buf.p);
        } else if (san->buf.tag == TAG_IP && (san->buf.len == 4 || san->buf.len == 16)) {
            (void)inet_ntop(san->buf.len == 4 ? AF_INET : AF_INET6, san->buf.p, text, sizeof(text));
        }
        size_t len = strlen(out);
        if (text[0] != '\0') {
            (void)snprintf(out + len, out_bytes - len, "%s%s", len > 0 ? "," : "", text);
        }
    }
}

static void describe(const mbedtls_x509_crt *crt, struct weir_x509_info *out_info)
{
    struct weir_x509_info info = {
        .authority = crt->ca_istrue != 0, .not_before_ms = time_ms(&crt->valid_from), .not_after_ms = time_ms(&crt->valid_to)};
    weir__x509_subject(crt, info.role, info.name);
    name_part(&crt->issuer, MBEDTLS_OID_AT_CN, MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_CN), info.issuer);
    put_hosts(crt, info.hosts, sizeof(info.hosts));
    *out_info = info;
}

enum weir_rc weir_x509_read(struct weir_slice pem, struct weir_x509_info *out_info, struct weir_error *err)
{
    mbedtls_x509_crt crt;
    mbedtls_x509_crt_init(&crt);
    int code = weir__x509_parse(pem, &crt, NULL);
    if (code == 0) {
        describe(&crt, out_info);
    }
    mbedtls_x509_crt_free(&crt);
    return code == 0 ? WEIR_OK : fail(err, code, "no certificate that can be read");
}

static enum weir_rc check_parsed(mbedtls_x509_crt *authorities, mbedtls_x509_crt *own, const mbedtls_pk_context *key, const char *role,
                                 struct weir_error *err)
{
    char own_role[WEIR_X509_NAME_MAX + 1];
    char own_name[WEIR_X509_NAME_MAX + 1];
    weir__x509_subject(own, own_role, own_name);
    int code = mbedtls_pk_check_pair(&own->pk, key);
    if (code != 0) {
        return fail(err, code, "the private key is not that of the certificate");
    }
    if (strcmp(own_role, role) != 0) {
        return weir_error_set(err, WEIR_INVALID, "the certificate of \"%s\" is for the role \"%s\", but this is a %s: each node has a certificate of its own "
                              "(weir certs init)", own_name, own_role, role);
    }
    uint32_t flags = 0;
    code = mbedtls_x509_crt_verify_with_profile(own, authorities, NULL, &weir__x509_profile, NULL, &flags, NULL, NULL);
    if (code != 0) {
        char text[256] = "";
        (void)mbedtls_x509_crt_verify_info(text, sizeof(text), "", flags);
        text[strcspn(text, "\n")] = '\0';
        return weir_error_set(err, WEIR_INVALID, "the certificate of \"%s\" would be refused: %s", own_name, text);
    }
    return WEIR_OK;
}

enum weir_rc weir_x509_check(struct weir_slice authorities, struct weir_slice node, const char *role, struct weir_x509_info *out_info,
                             struct weir_error *err)
{
    mbedtls_x509_crt ca;
    mbedtls_x509_crt own;
    mbedtls_pk_context key;
    mbedtls_x509_crt_init(&ca);
    mbedtls_x509_crt_init(&own);
    mbedtls_pk_init(&key);
    enum weir_rc rc = WEIR_OK;
    int code = weir__x509_parse(authorities, &ca, NULL);
    if (code != 0) {
        rc = fail(err, code, "the authority's certificate cannot be read");
        goto out;
    }
    code = weir__x509_parse(node, &own, &key);
    if (code != 0) {
        rc = fail(err, code, "certificate or private key cannot be read");
        goto out;
    }
    rc = check_parsed(&ca, &own, &key, role, err);
    if (rc == WEIR_OK) {
        describe(&own, out_info);
    }
out:
    mbedtls_pk_free(&key);
    mbedtls_x509_crt_free(&own);
    mbedtls_x509_crt_free(&ca);
    return rc;
}

/* --- making ------------------------------------------------------------------------------------------------------------- */

static int make_key(mbedtls_pk_context *key)
{
    int code = mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    return code != 0 ? code : mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*key), weir__x509_random, NULL);
}

static int put_key(mbedtls_pk_context *key, struct weir_buf *out)
{
    unsigned char text[PEM_BYTES_MAX];
    int code = mbedtls_pk_write_key_pem(key, text, sizeof(text));
    if (code == 0) {
        weir_buf_put_str(out, (const char *)text);
    }
    mbedtls_platform_zeroize(text, sizeof(text));
    return code;
}

/* What a certificate is made of. */
struct recipe {
    const char *subject, *issuer;
    mbedtls_pk_context *subject_key, *issuer_key;
    bool authority;
    int64_t from_ms, to_ms;
    struct weir_slice alt_names; /* DER; empty: none */
};

static void format_time(int64_t ms, char out[16])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    (void)gmtime_r(&seconds, &tm);
    size_t len = strftime(out, 16, "%Y%m%d%H%M%S", &tm);
    weir_assert(len > 0);
}

static int set_extensions(mbedtls_x509write_cert *ctx, const struct recipe *recipe)
{
    /* serverAuth and clientAuth: every node dials and is dialed */
    static const unsigned char usages[] = {0x30, 0x14, 0x06, 0x08, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03,
                                           0x01, 0x06, 0x08, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02};
    int code = mbedtls_x509write_crt_set_basic_constraints(ctx, recipe->authority, recipe->authority ? 0 : -1);
    code = code != 0 ? code : mbedtls_x509write_crt_set_subject_key_identifier(ctx);
    code = code != 0 ? code : mbedtls_x509write_crt_set_authority_key_identifier(ctx);
    unsigned usage = recipe->authority ? MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN : MBEDTLS_X509_KU_DIGITAL_SIGNATURE;
    code = code != 0 ? code : mbedtls_x509write_crt_set_key_usage(ctx, usage);
    if (code == 0 && !recipe->authority) {
        code = mbedtls_x509write_crt_set_extension(ctx, MBEDTLS_OID_EXTENDED_KEY_USAGE, MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE), 0, usages,
                                                   sizeof(usages));
    }
    if (code == 0 && recipe->alt_names.len > 0) {
        code = mbedtls_x509write_crt_set_extension(ctx, MBEDTLS_OID_SUBJECT_ALT_NAME, MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), 0,
                                                   recipe->alt_names.data, recipe->alt_names.len);
    }
    return code;
}

static int put_certificate(const struct recipe *recipe, struct weir_buf *out)
{
    mbedtls_x509write_cert ctx;
    mbedtls_mpi serial;
    unsigned char serial_bytes[SERIAL_BYTES];
    unsigned char text[PEM_BYTES_MAX];
    char from[16];
    char to[16];
    mbedtls_x509write_crt_init(&ctx);
    mbedtls_mpi_init(&serial);
    format_time(recipe->from_ms, from);
    format_time(recipe->to_ms, to);
    mbedtls_x509write_crt_set_md_alg(&ctx, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&ctx, recipe->subject_key);
    mbedtls_x509write_crt_set_issuer_key(&ctx, recipe->issuer_key);
    int code = weir__x509_random(NULL, serial_bytes, sizeof(serial_bytes));
    serial_bytes[0] = (unsigned char)((serial_bytes[0] & 0x3f) | 0x40); /* positive, and always as long */
    code = code != 0 ? code : mbedtls_mpi_read_binary(&serial, serial_bytes, sizeof(serial_bytes));
    code = code != 0 ? code : mbedtls_x509write_crt_set_serial(&ctx, &serial);
    code = code != 0 ? code : mbedtls_x509write_crt_set_validity(&ctx, from, to);
    code = code != 0 ? code : mbedtls_x509write_crt_set_subject_name(&ctx, recipe->subject);
    code = code != 0 ? code : mbedtls_x509write_crt_set_issuer_name(&ctx, recipe->issuer);
    code = code != 0 ? code : set_extensions(&ctx, recipe);
    code = code != 0 ? code : mbedtls_x509write_crt_pem(&ctx, text, sizeof(text), weir__x509_random, NULL);
    if (code == 0) {
        weir_buf_put_str(out, (const char *)text);
    }
    mbedtls_mpi_free(&serial);
    mbedtls_x509write_crt_free(&ctx);
    return code;
}

static enum weir_rc check_days(uint32_t days, struct weir_error *err)
{
    return days >= 1 && days <= WEIR_X509_DAYS_MAX ? WEIR_OK
                                                   : weir_error_set(err, WEIR_INVALID, "%u days of validity: expected 1 to %d", days, WEIR_X509_DAYS_MAX);
}

enum weir_rc weir_x509_make_authority(const char *name, int64_t now_ms, uint32_t days, struct weir_buf *out_certificate, struct weir_buf *out_key,
                                      struct weir_error *err)
{
    enum weir_rc rc = check_days(days, err);
    if (rc != WEIR_OK || !weir_x509_name_ok(name)) {
        return rc != WEIR_OK ? rc : weir_error_set(err, WEIR_INVALID, "\"%s\" is no name for an authority", name);
    }
    mbedtls_pk_context key;
    mbedtls_pk_init(&key);
    char *subject = weir_strfmt("CN=%s,O=weir", name);
    const struct recipe recipe = {.subject = subject,
                                  .issuer = subject,
                                  .subject_key = &key,
                                  .issuer_key = &key,
                                  .authority = true,
                                  .from_ms = now_ms - BACKDATE_MS,
                                  .to_ms = now_ms + (int64_t)days * 86400000};
    struct weir_buf certificate = {0};
    int code = make_key(&key);
    code = code != 0 ? code : put_certificate(&recipe, &certificate);
    code = code != 0 ? code : put_key(&key, out_key);
    if (code == 0) {
        weir_buf_put_slice(out_certificate, weir_buf_slice(&certificate));
    }
    weir_buf_fini(&certificate);
    weir_free(subject);
    mbedtls_pk_free(&key);
    return code == 0 ? WEIR_OK : fail(err, code, "an authority could not be made");
}

/* Length in DER: one byte, or two or three. */
static void put_length(struct weir_buf *out, size_t len)
{
    if (len >= 256) {
        weir_buf_put_u8(out, 0x82);
        weir_buf_put_u8(out, (uint8_t)(len >> 8));
    } else if (len >= 128) {
        weir_buf_put_u8(out, 0x81);
    }
    weir_buf_put_u8(out, (uint8_t)len);
}

static enum weir_rc put_alt_names(const struct weir_x509_node *node, struct weir_buf *out, struct weir_error *err)
{
    struct weir_buf names = {0};
    size_t text_bytes = 0; /* as put_hosts writes them */
    for (uint32_t i = 0; i < node->nhosts; i++) {
        uint8_t address[16];
        const char *host = node->hosts[i];
        size_t bytes = address_bytes(host, address);
        text_bytes += strlen(host) + 1 + (bytes > 0 ? INET6_ADDRSTRLEN : 0);
        if ((bytes == 0 && (host[0] == '\0' || strspn(host, NAME_LETTERS) != strlen(host))) || text_bytes >= WEIR_X509_HOSTS_TEXT) {
            weir_buf_fini(&names);
            return weir_error_set(err, WEIR_INVALID, "\"%s\" is neither the name of a host nor an address, or the names of all hosts are too long", host);
        }
        struct weir_slice value = bytes > 0 ? weir_slice(address, bytes) : weir_slice_str(host);
        weir_buf_put_u8(&names, bytes > 0 ? TAG_IP : TAG_DNS);
        put_length(&names, value.len);
        weir_buf_put_slice(&names, value);
    }
    if (names.len > 0) {
        weir_buf_put_u8(out, 0x30);
        put_length(out, names.len);
        weir_buf_put_slice(out, weir_buf_slice(&names));
    }
    weir_buf_fini(&names);
    return WEIR_OK;
}

static enum weir_rc check_node(const struct weir_x509_node *node, struct weir_error *err)
{
    enum weir_rc rc = check_days(node->days, err);
    if (rc == WEIR_OK && (!weir_x509_name_ok(node->role) || !weir_x509_name_ok(node->name))) {
        rc = weir_error_set(err, WEIR_INVALID, "\"%s:%s\": expected letters, digits, '.', '_' and '-', at most %d", node->role, node->name, WEIR_X509_NAME_MAX);
    }
    if (rc == WEIR_OK && node->nhosts > WEIR_X509_HOSTS_MAX) {
        rc = weir_error_set(err, WEIR_INVALID, "%u hosts of one node: at most %d", node->nhosts, WEIR_X509_HOSTS_MAX);
    }
    return rc;
}

/* The key and its certificate. */
static int make_node(const struct weir_x509_node *node, const mbedtls_x509_crt *ca, mbedtls_pk_context *ca_key, struct weir_slice alt_names,
                     struct weir_buf *out)
{
    mbedtls_pk_context key;
    mbedtls_pk_init(&key);
    char issuer[256] = "";
    char *subject = weir_strfmt("CN=%s,OU=%s,O=weir", node->name, node->role);
    int64_t to_ms = node->now_ms + (int64_t)node->days * 86400000;
    int64_t ca_to_ms = time_ms(&ca->valid_to);
    int code = mbedtls_x509_dn_gets(issuer, sizeof(issuer), &ca->subject);
    code = code < 0 ? code : make_key(&key);
    const struct recipe recipe = {.subject = subject,
                                  .issuer = issuer,
                                  .subject_key = &key,
                                  .issuer_key = ca_key,
                                  .from_ms = node->now_ms - BACKDATE_MS,
                                  .to_ms = to_ms < ca_to_ms ? to_ms : ca_to_ms,
                                  .alt_names = alt_names};
    code = code != 0 ? code : put_certificate(&recipe, out);
    code = code != 0 ? code : put_key(&key, out);
    weir_free(subject);
    mbedtls_pk_free(&key);
    return code;
}

enum weir_rc weir_x509_make_node(const struct weir_x509_node *node, struct weir_slice authority_certificate, struct weir_slice authority_key,
                                 struct weir_buf *out_pem, struct weir_error *err)
{
    mbedtls_x509_crt ca;
    mbedtls_pk_context ca_key;
    struct weir_buf both = {0};
    struct weir_buf alt_names = {0};
    struct weir_buf made = {0};
    mbedtls_x509_crt_init(&ca);
    mbedtls_pk_init(&ca_key);
    weir_buf_put_slice(&both, authority_certificate);
    weir_buf_put_slice(&both, authority_key);
    enum weir_rc rc = check_node(node, err);
    rc = rc == WEIR_OK ? put_alt_names(node, &alt_names, err) : rc;
    int code = rc == WEIR_OK ? weir__x509_parse(weir_buf_slice(&both), &ca, &ca_key) : 0;
    code = rc == WEIR_OK && code == 0 ? mbedtls_pk_check_pair(&ca.pk, &ca_key) : code;
    if (code != 0) {
        rc = fail(err, code, "certificate and key of the authority");
    }
    if (rc == WEIR_OK && !ca.ca_istrue) {
        rc = weir_error_set(err, WEIR_INVALID, "the certificate to sign with is not an authority's");
    }
    if (rc == WEIR_OK) {
        code = make_node(node, &ca, &ca_key, weir_buf_slice(&alt_names), &made);
        rc = code == 0 ? WEIR_OK : fail(err, code, "a certificate could not be made");
    }
    if (rc == WEIR_OK) {
        weir_buf_put_slice(out_pem, weir_buf_slice(&made));
    }
    mbedtls_pk_free(&ca_key);
    mbedtls_x509_crt_free(&ca);
    weir_x509_wipe(&both);
    weir_x509_wipe(&made);
    weir_buf_fini(&alt_names);
    return rc;
}
