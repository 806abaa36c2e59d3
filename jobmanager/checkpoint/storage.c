#include "jobmanager/checkpoint/storage.h"

#include "common/base/crc32c.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

enum { HEADER_BYTES = 20, CRC_OFFSET = 16, FORMAT_VERSION = 1, DEPTH_MAX = 4 };

static const char magic[8] = {'W', 'E', 'I', 'R', 'C', 'K', 'P', 'T'};
static const char chk[] = "chk-";
static const char task_logs[] = "log";

char *weir_ckpt_metadata_path_copy(const char *dir)
{
    return weir_strfmt("%s/_metadata", dir);
}

/* --- _metadata -------------------------------------------------------------------------------------------------------- */
static uint32_t file_crc(const uint8_t *file, size_t len)
{
    return weir_crc32c(weir_crc32c(0, file, CRC_OFFSET), file + HEADER_BYTES, len - HEADER_BYTES);
}

void weir_ckpt_file_encode(struct weir_slice manifest, struct weir_buf *out)
{
    size_t start = out->len;
    weir_buf_put(out, magic, sizeof(magic));
    weir_buf_put_u32(out, FORMAT_VERSION);
    weir_buf_put_u32(out, (uint32_t)manifest.len);
    weir_buf_put_u32(out, 0);
    weir_buf_put_slice(out, manifest);
    weir_buf_set_u32(out, start + CRC_OFFSET, file_crc(out->data + start, out->len - start));
}

enum weir_rc weir_ckpt_write(struct weir_fs *fs, const char *dir, struct weir_slice manifest, uint64_t *out_bytes, uint64_t *out_hash,
                             struct weir_error *err)
{
    if (manifest.len > WEIR_CKPT_METADATA_BYTES_MAX - HEADER_BYTES) {
        return weir_error_set(err, WEIR_LIMIT, "the manifest of the checkpoint in %s has %zu bytes, at most %d are possible", dir, manifest.len,
                              WEIR_CKPT_METADATA_BYTES_MAX - HEADER_BYTES);
    }
    struct weir_buf file = {0};
    char *path = weir_ckpt_metadata_path_copy(dir);
    weir_ckpt_file_encode(manifest, &file);
    enum weir_rc rc = weir_fs_write_atomic(fs, path, weir_buf_slice(&file), err);
    if (rc == WEIR_OK) {
        *out_bytes = file.len;
        *out_hash = weir_hash_bytes(file.data, file.len, 0);
    }
    weir_free(path);
    weir_buf_fini(&file);
    return rc;
}

static enum weir_rc check_file(struct weir_slice file, struct weir_error *err)
{
    if (file.len < HEADER_BYTES || memcmp(file.data, magic, sizeof(magic)) != 0) {
        return weir_error_set(err, WEIR_CORRUPT, "not a checkpoint's _metadata");
    }
    if (weir_le_get_u32(file.data + 8) != FORMAT_VERSION) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "version %u of the file; this Weir reads version %d", weir_le_get_u32(file.data + 8),
                              FORMAT_VERSION);
    }
    if (weir_le_get_u32(file.data + 12) != file.len - HEADER_BYTES || weir_le_get_u32(file.data + CRC_OFFSET) != file_crc(file.data, file.len)) {
        return weir_error_set(err, WEIR_CORRUPT, "its length or checksum is wrong");
    }
    return WEIR_OK;
}

enum weir_rc weir_ckpt_read(struct weir_fs *fs, const char *path, uint64_t bytes, uint64_t hash, struct weir_arena *arena,
                            struct weir_ckpt_manifest *out_manifest, struct weir_error *err)
{
    struct weir_buf file = {0};
    enum weir_rc rc = weir_fs_read_all(fs, path, WEIR_CKPT_METADATA_BYTES_MAX, &file, err);
    if (rc != WEIR_OK) {
        goto out; /* names the path */
    }
    if (file.len != bytes || weir_hash_bytes(file.data, file.len, 0) != hash) {
        rc = weir_error_set(err, WEIR_CORRUPT, "it has %zu bytes and is not the file of %llu bytes that the cluster log knows", file.len,
                            (unsigned long long)bytes);
    }
    rc = rc == WEIR_OK ? check_file(weir_buf_slice(&file), err) : rc;
    rc = rc == WEIR_OK ? weir_ckpt_decode(weir_slice(file.data + HEADER_BYTES, file.len - HEADER_BYTES), arena, out_manifest, err) : rc;
    if (rc != WEIR_OK) {
        (void)weir_error_prefix(err, "%s", path);
    }
out:
    weir_buf_fini(&file);
    return rc;
}

/* --- sweeping --------------------------------------------------------------------------------------------------------- */
static void keep_first(enum weir_rc rc, const struct weir_error *one, enum weir_rc *first_rc, struct weir_error *first)
{
    if (rc != WEIR_OK && rc != WEIR_NOT_FOUND && *first_rc == WEIR_OK) { /* NOT_FOUND: another sweep was faster */
        *first_rc = rc;
        *first = *one;
    }
}

/* Everything below dir, then dir. */
static enum weir_rc remove_dir(struct weir_fs *fs, const char *dir, int depth, struct weir_error *err)
{
    struct weir_fs_names names = {0};
    struct weir_error one;
    enum weir_rc first = WEIR_OK;
    keep_first(weir_fs_names_read(fs, dir, &names, &one), &one, &first, err);
    for (size_t i = 0; i < names.len; i++) {
        char *path = weir_strfmt("%s/%s", dir, names.items[i].name);
        if (names.items[i].is_dir && depth < DEPTH_MAX) {
            keep_first(remove_dir(fs, path, depth + 1, &one), &one, &first, err);
        } else if (!names.items[i].is_dir) {
            keep_first(weir_fs_unlink(fs, path, &one), &one, &first, err);
        }
        weir_free(path);
    }
    weir_fs_names_fini(&names);
    if (first == WEIR_OK) {
        keep_first(weir_fs_rmdir(fs, dir, &one), &one, &first, err);
    }
    return first;
}

/* "chk-<n>", n without leading zeros; 0: another name. */
static uint64_t checkpoint_number(const char *name)
{
    uint64_t number = 0;
    size_t prefix = sizeof(chk) - 1;
    if (strncmp(name, chk, prefix) != 0 || name[prefix] == '0') {
        return 0;
    }
    for (const char *at = name + prefix; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || number > (UINT64_MAX - 9) / 10) {
            return 0;
        }
        number = 10 * number + (uint64_t)(*at - '0');
    }
    return number;
}

static bool is_wanted(const char *name, const uint64_t *keep, uint32_t nkeep, uint64_t below)
{
    uint64_t number = checkpoint_number(name);
    if (number == 0) {
        return strcmp(name, task_logs) != 0 || below != UINT64_MAX; /* (S3) */
    }
    bool wanted = number >= below;
    for (uint32_t k = 0; !wanted && k < nkeep; k++) {
        wanted = keep[k] == number;
    }
    return wanted;
}

enum weir_rc weir_ckpt_sweep(struct weir_fs *fs, const char *root, const char *job_id, const uint64_t *keep, uint32_t nkeep, uint64_t below,
                             struct weir_error *err)
{
    char *job_dir = weir_strfmt("%s/%s", root, job_id);
    struct weir_fs_names names = {0};
    struct weir_error one;
    enum weir_rc first = WEIR_OK;
    size_t removed = 0;
    keep_first(weir_fs_names_read(fs, job_dir, &names, &one), &one, &first, err);
    for (size_t i = 0; i < names.len; i++) {
        if (names.items[i].is_dir && !is_wanted(names.items[i].name, keep, nkeep, below)) {
            char *dir = weir_strfmt("%s/%s", job_dir, names.items[i].name);
            enum weir_rc rc = remove_dir(fs, dir, 0, &one);
            removed += rc == WEIR_OK;
            keep_first(rc, &one, &first, err);
            weir_free(dir);
        }
    }
    if (first == WEIR_OK && below == UINT64_MAX && removed == names.len) {
        keep_first(weir_fs_rmdir(fs, job_dir, &one), &one, &first, err);
    }
    weir_fs_names_fini(&names);
    weir_free(job_dir);
    return first;
}
