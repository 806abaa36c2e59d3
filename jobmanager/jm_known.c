/*
 * Who the other JobManagers were, on this one's own disk (`jobmanagers` beside the log): what the log said is known here again at once after a
 * restart, when nobody has said yet which of its entries are committed. Otherwise one whose directory was lost could get a vote or give one in
 * that time, and entries that were on that disk could be lost with it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "jobmanager/jm_internal.h"

#define LINE_FORMAT "%016" PRIx64 " %016" PRIx64 "\n" /* id, incarnation */

enum { LINE_BYTES = 34, LINES_MAX = 256, KNOWN_BYTES_MAX = 64 << 10, WRITE_AGAIN_MS = 5000 };

static char *known_path_copy(const struct weir_jm *jm)
{
    return weir_strfmt("%s/jobmanagers", weir_config_string(jm->options.config, WEIR_CFG_JM_DATA_DIR));
}

enum weir_rc weir__jm_known_load(struct weir_jm *jm, struct weir_error *err)
{
    char *path = known_path_copy(jm);
    enum weir_rc rc = weir_fs_read_sealed(jm->options.fs, path, KNOWN_BYTES_MAX, &jm->known, err);
    rc = rc == WEIR_NOT_FOUND ? WEIR_OK : rc;
    if (rc == WEIR_CORRUPT) {
        struct weir_error why = *err;
        rc = weir_error_set(err, WEIR_CORRUPT, "%s; remove the file if no other JobManager of the cluster has lost its directory, else replace this one "
                            "(weir cluster replace-jobmanager)", why.text);
    }
    weir_free(path);
    return rc;
}

static bool has_line(const struct weir_buf *text, const char *line, size_t bytes)
{
    for (size_t at = 0; at + LINE_BYTES <= text->len; at += LINE_BYTES) {
        if (memcmp(text->data + at, line, bytes) == 0) {
            return true;
        }
    }
    return false;
}

/* Those that are there stay: a snapshot that is restored may be older than they. */
void weir__jm_known_save(struct weir_jm *jm)
{
    const struct weir_meta *meta = weir_dispatcher_meta(jm->dispatcher);
    struct weir_buf next = {0};
    bool too_many = jm->known.len > LINES_MAX * LINE_BYTES;
    for (uint32_t i = 0; i < weir_meta_member_count(meta); i++) {
        const struct weir_meta_member *member = weir_meta_member_at(meta, i);
        char line[LINE_BYTES + 1];
        (void)snprintf(line, sizeof(line), LINE_FORMAT, member->id, member->incarnation);
        if (!has_line(&jm->known, line, LINE_BYTES)) {
            weir_buf_put(&next, line, LINE_BYTES);
        }
    }
    int64_t now_ms = weir_clock_mono_ms(jm->options.clock);
    if (next.len > 0 && now_ms >= jm->known_retry_ms) {
        if (!too_many) {
            weir_buf_put_slice(&next, weir_buf_slice(&jm->known));
        }
        struct weir_error err;
        char *path = known_path_copy(jm);
        if (weir_fs_write_sealed(jm->options.fs, path, weir_buf_slice(&next), &err) == WEIR_OK) { /* rare, and short */
            weir_buf_clear(&jm->known);
            weir_buf_put_slice(&jm->known, weir_buf_slice(&next));
        } else {
            jm->known_retry_ms = now_ms + WRITE_AGAIN_MS;
            weir_log(jm->options.log, WEIR_LOG_WARN, "jobmanagers_not_saved", "path", path, "why", err.text, NULL);
        }
        weir_free(path);
    }
    weir_buf_fini(&next);
}

uint64_t weir__jm_known_incarnation(const struct weir_jm *jm, uint64_t id)
{
    const struct weir_meta_member *member = weir_meta_member(weir_dispatcher_meta(jm->dispatcher), id);
    if (member != NULL || id == 0) {
        return member == NULL ? 0 : member->incarnation;
    }
    char wanted[LINE_BYTES + 1];
    int bytes = snprintf(wanted, sizeof(wanted), "%016" PRIx64 " ", id);
    for (size_t at = 0; at + LINE_BYTES <= jm->known.len; at += LINE_BYTES) {
        if (memcmp(jm->known.data + at, wanted, (size_t)bytes) == 0) {
            char number[17];
            (void)snprintf(number, sizeof(number), "%.16s", (const char *)jm->known.data + at + bytes);
            return strtoull(number, NULL, 16);
        }
    }
    return 0;
}
