/*
 * Checkpoints on disk: `<root>/<job-id>/chk-<n>/` holds the files of the tasks and `_metadata`, which names them all. All calls block.
 *
 * `_metadata`, little endian: 8 bytes magic | u32 version | u32 payload bytes | u32 CRC32C of all this and the payload | payload
 * (checkpoint.proto). The cluster log holds the file's length and hash besides.
 *
 * (S1) `_metadata` is whole and durable before write returns OK.
 * (S2) sweep removes only directories that the caller's view of the cluster log excludes for ever: numbers below a bound (ids only grow)
 *      and not retained. So it may run late, twice, or by a deposed leader.
 * (S3) `log/` holds what tasks need while they run (the sinks' epoch logs); what a checkpoint needs of it has a link in the checkpoint's own
 *      directory. So it goes when the job is over, whatever checkpoints are kept.
 */
#ifndef WEIR_JOBMANAGER_CHECKPOINT_STORAGE_H
#define WEIR_JOBMANAGER_CHECKPOINT_STORAGE_H

#include "common/fs/fs.h"
#include "proto/ckpt_codec.h"

enum { WEIR_CKPT_METADATA_BYTES_MAX = 256 << 20 };

/* `_metadata` in dir; the caller frees it. */
char *weir_ckpt_metadata_path_copy(const char *dir);

/* The whole file for an encoded manifest: header and payload. Pure. */
void weir_ckpt_file_encode(struct weir_slice manifest, struct weir_buf *out);

/* (S1) dir exists. out_hash: weir_hash_bytes of the file. IO, RESOURCE, ... */
enum weir_rc weir_ckpt_write(struct weir_fs *fs, const char *dir, struct weir_slice manifest, uint64_t *out_bytes, uint64_t *out_hash,
                             struct weir_error *err) WEIR_CHECKED;

/* Reads the file and holds it against what the cluster log says of it. out_manifest lies in arena. NOT_FOUND, CORRUPT, UNSUPPORTED, IO: the
 * text names the path. */
enum weir_rc weir_ckpt_read(struct weir_fs *fs, const char *path, uint64_t bytes, uint64_t hash, struct weir_arena *arena,
                            struct weir_ckpt_manifest *out_manifest, struct weir_error *err) WEIR_CHECKED;

/* (S2) Removes the job's checkpoint directories with numbers below `below` that are not in `keep`; when below is UINT64_MAX the job is over:
 * `log/` too (S3), and the job's own directory when it is then empty. Goes on after an error and returns the first. */
enum weir_rc weir_ckpt_sweep(struct weir_fs *fs, const char *root, const char *job_id, const uint64_t *keep, uint32_t nkeep, uint64_t below,
                             struct weir_error *err) WEIR_CHECKED;

#endif
