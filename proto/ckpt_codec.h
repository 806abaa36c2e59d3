/*
 * Checkpoint manifests (checkpoint.proto) as plain structs, to bytes and back; and where a checkpoint lies.
 */
#ifndef WEIR_PROTO_CKPT_CODEC_H
#define WEIR_PROTO_CKPT_CODEC_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/error.h"

enum { WEIR_CKPT_MANIFEST_VERSION = 1 };

/* What one task wrote in a checkpoint. */
struct weir_ckpt_handle {
    uint32_t vertex, subtask;
    const char *path;
    uint64_t bytes, hash;
    uint64_t state_bytes, new_bytes; /* with the files beside it; in a task's report only, 0 elsewhere */
};

struct weir_ckpt_manifest {
    const char *job_id;
    uint64_t checkpoint_id;
    uint32_t attempt;
    int64_t at_ms;
    const struct weir_ckpt_handle *handles; /* of every task, in vertex order */
    uint32_t nhandles;
    const char *const *vertex_ids;
    uint32_t nvertices;
};

/* Where JobManager and tasks put a checkpoint: `<root>/<job-id>/chk-<n>`; the caller frees it. */
char *weir_ckpt_dir_copy(const char *root, const char *job_id, uint64_t checkpoint_id);

/* Appends the encoded manifest. Any thread. */
void weir_ckpt_encode(const struct weir_ckpt_manifest *manifest, struct weir_buf *out);

/* Everything out_manifest points to lies in arena. CORRUPT, UNSUPPORTED (a newer version). Any thread. */
enum weir_rc weir_ckpt_decode(struct weir_slice bytes, struct weir_arena *arena, struct weir_ckpt_manifest *out_manifest,
                              struct weir_error *err) WEIR_CHECKED;

#endif
