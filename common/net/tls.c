/*
 * A node's certificates: loaded, watched and lent to sessions; and the book of handshakes.
 *
 * The watch is a chore on a library thread (keeper.h). It reads two small files of a local disk, and only when they have changed.
 */
#include "common/net/tls.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/net/keeper.h"
#include "common/net/tls_session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOG_EVERY_MS = 1000, EXPIRY_WARNING_MS = 7 * 24 * 3600 * 1000, EXPIRY_LOG_EVERY_MS = 24 * 3600 * 1000 };

/* What tells one state of a file from another. */
struct stamp {
    ino_t inode;
    off_t bytes;
    struct timespec changed;
};

struct weir_tls {
    char *ca_path;
    char *node_path;
    char *role;
    uint32_t watch_ms;
    uint32_t handshake_ms;
    const struct weir_log *log;
    struct weir_mutex mutex; /* guards what follows */
    struct weir__keeper keeper;
    struct weir__tls_identity *identity;
    struct stamp ca_stamp, node_stamp; /* of the files last looked into, whatever came of them */
    struct weir_tls_stats stats;
    int64_t logged_ms; /* the last refusal in the log */
    int64_t expiry_logged_ms;
};

static int64_t now_ms(void)
{
    return weir_clock_mono_ms(weir_clock_real());
}

/* --- files -------------------------------------------------------------------------------------------------------------- */

static struct stamp stamp_of(const struct stat *stat)
{
    return (struct stamp){.inode = stat->st_ino, .bytes = stat->st_size, .changed = stat->st_mtim};
}

static bool stamp_eq(const struct stamp *a, const struct stamp *b)
{
    return a->inode == b->inode && a->bytes == b->bytes && a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static enum weir_rc read_whole(const char *path, bool secret, struct weir_buf *out, struct stamp *out_stamp, struct weir_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return weir_error_errno(err, errno == ENOENT ? WEIR_NOT_FOUND : WEIR_IO, errno, "cannot open %s", path);
    }
    struct stat stat;
    enum weir_rc rc = WEIR_OK;
    if (fstat(fd, &stat) != 0) {
        (void)close(fd);
        return weir_error_errno(err, WEIR_IO, errno, "cannot read %s", path);
    }
    *out_stamp = stamp_of(&stat); /* also when it is no good: one look is enough */
    if (!S_ISREG(stat.st_mode) || stat.st_size > WEIR_X509_PEM_BYTES_MAX) {
        rc = weir_error_set(err, WEIR_INVALID, "%s is no file of at most %d bytes", path, WEIR_X509_PEM_BYTES_MAX);
    } else if (secret && (stat.st_mode & S_IRWXO) != 0) {
        rc = weir_error_set(err, WEIR_INVALID, "%s holds a private key, and everybody on this machine may read it: chmod 600 it", path);
    }
    ssize_t got = 1;
    while (rc == WEIR_OK && got > 0 && out->len <= WEIR_X509_PEM_BYTES_MAX) {
        enum { CHUNK_BYTES = 16384 };
        got = read(fd, weir_buf_reserve(out, CHUNK_BYTES), CHUNK_BYTES);
        out->len += got > 0 ? (size_t)got : 0;
        if (got < 0) {
            rc = weir_error_errno(err, WEIR_IO, errno, "cannot read %s", path);
        }
    }
    (void)close(fd);
    return rc;
}

/* Stamps are set as far as the files could be read. */
static enum weir_rc load(const struct weir_tls *tls, struct weir__tls_identity **out_identity, struct stamp *ca_stamp, struct stamp *node_stamp,
                         struct weir_error *err)
{
    struct weir__tls_identity *identity = weir_calloc(1, sizeof(*identity));
    atomic_init(&identity->refs, 1);
    enum weir_rc rc = read_whole(tls->ca_path, false, &identity->authorities, ca_stamp, err);
    rc = rc == WEIR_OK ? read_whole(tls->node_path, true, &identity->node, node_stamp, err) : rc;
    if (rc == WEIR_OK) {
        rc = weir_x509_check(weir_buf_slice(&identity->authorities), weir_buf_slice(&identity->node), tls->role, &identity->info, err);
        rc = rc == WEIR_OK ? rc : weir_error_prefix(err, "%s", tls->node_path);
    }
    if (rc != WEIR_OK) {
        weir__tls_identity_unref(identity);
        return rc;
    }
    *out_identity = identity;
    return WEIR_OK;
}

/* --- the watch ---------------------------------------------------------------------------------------------------------- */

static bool changed(const char *path, const struct stamp *seen)
{
    struct stat now;
    struct stamp stamp;
    if (stat(path, &now) != 0) {
        return false; /* on its way, or gone: what is in use stays so */
    }
    stamp = stamp_of(&now);
    return !stamp_eq(&stamp, seen);
}

static void warn_of_expiry_locked(struct weir_tls *tls)
{
    int64_t left_ms = tls->identity->info.not_after_ms - weir_clock_wall_ms(weir_clock_real());
    int64_t now = now_ms();
    if (left_ms < EXPIRY_WARNING_MS && (tls->expiry_logged_ms == 0 || now - tls->expiry_logged_ms >= EXPIRY_LOG_EVERY_MS)) {
        tls->expiry_logged_ms = now;
        weir_log(tls->log, left_ms > 0 ? WEIR_LOG_WARN : WEIR_LOG_ERROR, "tls_certificate_expires", "name", tls->identity->info.name, "hours_left",
                 WEIR_LOG_INT(left_ms / 3600000), "hint", "weir certs renew", NULL);
    }
}

static int64_t watch_locked(void *owner)
{
    struct weir_tls *tls = owner;
    struct stamp ca_stamp = tls->ca_stamp;
    struct stamp node_stamp = tls->node_stamp;
    struct weir__tls_identity *identity = NULL;
    struct weir_error err;
    weir_mutex_unlock(&tls->mutex);
    bool look = changed(tls->ca_path, &ca_stamp) || changed(tls->node_path, &node_stamp);
    enum weir_rc rc = look ? load(tls, &identity, &ca_stamp, &node_stamp, &err) : WEIR_OK;
    weir_mutex_lock(&tls->mutex);
    tls->ca_stamp = ca_stamp;
    tls->node_stamp = node_stamp;
    if (identity != NULL) {
        weir_log(tls->log, WEIR_LOG_INFO, "tls_certificate_renewed", "name", identity->info.name, "days_left",
                 WEIR_LOG_INT((identity->info.not_after_ms - weir_clock_wall_ms(weir_clock_real())) / 86400000), NULL);
        weir__tls_identity_unref(tls->identity);
        tls->identity = identity;
        tls->expiry_logged_ms = 0;
        tls->stats.renewals++;
    } else if (rc != WEIR_OK) {
        weir_log(tls->log, WEIR_LOG_ERROR, "tls_certificate_not_renewed", "why", err.text, "in_use", tls->identity->info.name, NULL);
        tls->stats.renewals_wrong++;
    }
    warn_of_expiry_locked(tls);
    return tls->watch_ms;
}

/* --- the public face ---------------------------------------------------------------------------------------------------- */

enum weir_rc weir_tls_create(const struct weir_tls_options *options, struct weir_tls **out_tls, struct weir_error *err)
{
    struct weir_tls *tls = weir_calloc(1, sizeof(*tls));
    tls->ca_path = weir_strfmt("%s/ca.pem", options->dir);
    tls->node_path = weir_strfmt("%s/node.pem", options->dir);
    tls->role = weir_strdup(options->role);
    tls->watch_ms = options->watch_ms == 0 ? WEIR_TLS_WATCH_MS_DEFAULT : options->watch_ms;
    tls->handshake_ms = options->handshake_ms == 0 ? WEIR_TLS_HANDSHAKE_MS_DEFAULT : options->handshake_ms;
    tls->log = options->log;
    tls->logged_ms = now_ms() - LOG_EVERY_MS;
    weir_mutex_init(&tls->mutex);
    enum weir_rc rc = load(tls, &tls->identity, &tls->ca_stamp, &tls->node_stamp, err);
    if (rc != WEIR_OK) {
        weir_tls_destroy(tls);
        return rc;
    }
    weir_log(tls->log, WEIR_LOG_INFO, "tls_on", "name", tls->identity->info.name, "role", tls->role, "authority", tls->identity->info.issuer, NULL);
    weir__keeper_init(&tls->keeper, &tls->mutex, watch_locked, tls);
    *out_tls = tls;
    return WEIR_OK;
}

enum weir_rc weir_tls_create_configured(const struct weir_config *config, const char *role, const struct weir_log *log, struct weir_tls **out_tls,
                                        struct weir_error *err)
{
    if (!weir_config_bool(config, WEIR_CFG_TLS_ENABLED)) {
        *out_tls = NULL;
        return WEIR_OK;
    }
    const struct weir_tls_options options = {.dir = weir_config_string(config, WEIR_CFG_TLS_DIR), .role = role, .log = log};
    enum weir_rc rc = weir_tls_create(&options, out_tls, err);
    return rc == WEIR_OK ? rc : weir_error_prefix(err, "security.ssl.internal.dir (`weir certs init` makes such directories)");
}

void weir_tls_destroy(struct weir_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    weir__keeper_fini(&tls->keeper);
    weir__tls_identity_unref(tls->identity);
    weir_mutex_fini(&tls->mutex);
    weir_free(tls->ca_path);
    weir_free(tls->node_path);
    weir_free(tls->role);
    weir_free(tls);
}

void weir_tls_stats(struct weir_tls *tls, struct weir_tls_stats *out_stats)
{
    weir_mutex_lock(&tls->mutex);
    *out_stats = tls->stats;
    weir_mutex_unlock(&tls->mutex);
}

struct weir__tls_identity *weir__tls_identity(struct weir_tls *tls)
{
    weir_mutex_lock(&tls->mutex);
    struct weir__tls_identity *identity = weir__tls_identity_ref(tls->identity);
    weir_mutex_unlock(&tls->mutex);
    return identity;
}

uint32_t weir__tls_handshake_ms(const struct weir_tls *tls)
{
    return tls->handshake_ms;
}

void weir__tls_established(struct weir_tls *tls)
{
    weir_mutex_lock(&tls->mutex);
    tls->stats.handshakes++;
    weir_mutex_unlock(&tls->mutex);
}

void weir__tls_refused(struct weir_tls *tls, const char *side, const char *peer, const char *why)
{
    weir_mutex_lock(&tls->mutex);
    int64_t now = now_ms();
    bool log = now - tls->logged_ms >= LOG_EVERY_MS;
    tls->logged_ms = log ? now : tls->logged_ms;
    uint64_t refused = ++tls->stats.refused;
    weir_mutex_unlock(&tls->mutex);
    if (log) {
        weir_log(tls->log, WEIR_LOG_WARN, "tls_handshake_failed", "side", side, "peer", peer, "why", why, "failed_so_far", WEIR_LOG_INT(refused), NULL);
    }
}
