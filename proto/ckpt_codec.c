#include "proto/ckpt_codec.h"

#include "common/base/mem.h"
#include "proto/checkpoint.pb-c.h"
#include "proto/pb.h"

char *weir_ckpt_dir_copy(const char *root, const char *job_id, uint64_t checkpoint_id)
{
    return weir_strfmt("%s/%s/chk-%llu", root, job_id, (unsigned long long)checkpoint_id);
}

static char *unconst(const char *text)
{
    return (char *)(uintptr_t)text;
}

void weir_ckpt_encode(const struct weir_ckpt_manifest *manifest, struct weir_buf *out)
{
    struct weir_arena *arena = weir_arena_create(0);
    Weir__Checkpoint__Manifest message;
    weir__checkpoint__manifest__init(&message);
    message.version = WEIR_CKPT_MANIFEST_VERSION;
    message.job_id = unconst(manifest->job_id);
    message.checkpoint_id = manifest->checkpoint_id;
    message.attempt = manifest->attempt;
    message.at_ms = manifest->at_ms;
    message.n_handles = manifest->nhandles;
    message.handles = weir_arena_alloc(arena, manifest->nhandles * sizeof(*message.handles));
    for (uint32_t i = 0; i < manifest->nhandles; i++) {
        Weir__Checkpoint__Handle *handle = weir_arena_alloc(arena, sizeof(*handle));
        weir__checkpoint__handle__init(handle);
        handle->vertex = manifest->handles[i].vertex;
        handle->subtask = manifest->handles[i].subtask;
        handle->path = unconst(manifest->handles[i].path);
        handle->bytes = manifest->handles[i].bytes;
        handle->hash = manifest->handles[i].hash;
        message.handles[i] = handle;
    }
    message.n_vertex_ids = manifest->nvertices;
    message.vertex_ids = weir_arena_alloc(arena, manifest->nvertices * sizeof(*message.vertex_ids));
    for (uint32_t i = 0; i < manifest->nvertices; i++) {
        message.vertex_ids[i] = unconst(manifest->vertex_ids[i]);
    }
    weir_pb_encode(&message.base, out);
    weir_arena_destroy(arena);
}

enum weir_rc weir_ckpt_decode(struct weir_slice bytes, struct weir_arena *arena, struct weir_ckpt_manifest *out_manifest, struct weir_error *err)
{
    Weir__Checkpoint__Manifest *message = NULL;
    enum weir_rc rc = weir_pb_decode(&weir__checkpoint__manifest__descriptor, bytes, &message, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (message->version != WEIR_CKPT_MANIFEST_VERSION) {
        rc = weir_error_set(err, WEIR_UNSUPPORTED, "a checkpoint manifest of version %u; this Weir reads version %d", message->version,
                            WEIR_CKPT_MANIFEST_VERSION);
        goto out;
    }
    struct weir_ckpt_handle *handles = weir_arena_alloc(arena, message->n_handles * sizeof(*handles));
    for (size_t i = 0; i < message->n_handles; i++) {
        const Weir__Checkpoint__Handle *from = message->handles[i];
        handles[i] = (struct weir_ckpt_handle){.vertex = from->vertex,
                                               .subtask = from->subtask,
                                               .path = weir_arena_strdup(arena, from->path),
                                               .bytes = from->bytes,
                                               .hash = from->hash};
    }
    const char **vertex_ids = weir_arena_alloc(arena, message->n_vertex_ids * sizeof(*vertex_ids));
    for (size_t i = 0; i < message->n_vertex_ids; i++) {
        vertex_ids[i] = weir_arena_strdup(arena, message->vertex_ids[i]);
    }
    *out_manifest = (struct weir_ckpt_manifest){.job_id = weir_arena_strdup(arena, message->job_id),
                                                .checkpoint_id = message->checkpoint_id,
                                                .attempt = message->attempt,
                                                .at_ms = message->at_ms,
                                                .handles = handles,
                                                .nhandles = (uint32_t)message->n_handles,
                                                .vertex_ids = vertex_ids,
                                                .nvertices = (uint32_t)message->n_vertex_ids};
out:
    weir_pb_free(message);
    return rc;
}
