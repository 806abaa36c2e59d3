#include "taskmanager/task/snap_file.h"

#include "common/base/crc32c.h"
#include "common/base/failpoint.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

enum { MAGIC = 0x314e5357 /* "WSN1" */, VERSION = 2, OPS_MAX = 10000, CRC_BYTES = 4 };

void weir_snap_encode(const struct weir_snap *snap, struct weir_buf *out)
{
    size_t start = out->len;
    weir_buf_put_u32(out, MAGIC);
    weir_buf_put_u16(out, VERSION);
    weir_buf_put_u8(out, snap->ended);
    weir_buf_put_u8(out, 0);
    weir_buf_put_u64(out, snap->checkpoint);
    weir_buf_put_u32(out, snap->vertex);
    weir_buf_put_u32(out, snap->subtask);
    weir_buf_put_u32(out, snap->parallelism);
    weir_buf_put_u64(out, snap->late_dropped);
    weir_buf_put_u64(out, snap->errors_skipped);
    weir_buf_put_bytes(out, snap->source);
    weir_buf_put_u32(out, snap->nops);
    for (uint32_t i = 0; i < snap->nops; i++) {
        weir_buf_put_bytes(out, snap->ops[i].uid);
        weir_buf_put_u64(out, snap->ops[i].state.len);
        weir_buf_put_slice(out, snap->ops[i].state);
    }
    weir_buf_put_u32(out, weir_crc32c(0, out->data + start, out->len - start));
}

static enum weir_rc check_frame(struct weir_slice bytes, struct weir_reader *out_reader, struct weir_error *err)
{
    if (bytes.len < CRC_BYTES || weir_le_get_u32(bytes.data + bytes.len - CRC_BYTES) != weir_crc32c(0, bytes.data, bytes.len - CRC_BYTES)) {
        return weir_error_set(err, WEIR_CORRUPT, "a task's state of %zu bytes: wrong checksum", bytes.len);
    }
    *out_reader = weir_reader(weir_slice(bytes.data, bytes.len - CRC_BYTES));
    uint32_t magic = weir_read_u32(out_reader);
    uint16_t version = weir_read_u16(out_reader);
    if (out_reader->failed || magic != MAGIC) {
        return weir_error_set(err, WEIR_CORRUPT, "not a task's state");
    }
    if (version != VERSION) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "a task's state of version %u, this program reads version %d", version, VERSION);
    }
    return WEIR_OK;
}

enum weir_rc weir_snap_decode(struct weir_slice bytes, struct weir_arena *arena, struct weir_snap *out_snap, struct weir_error *err)
{
    struct weir_reader reader = {0};
    enum weir_rc rc = check_frame(bytes, &reader, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_snap snap = {.ended = weir_read_u8(&reader) != 0};
    (void)weir_read_u8(&reader);
    snap.checkpoint = weir_read_u64(&reader);
    snap.vertex = weir_read_u32(&reader);
    snap.subtask = weir_read_u32(&reader);
    snap.parallelism = weir_read_u32(&reader);
    snap.late_dropped = weir_read_u64(&reader);
    snap.errors_skipped = weir_read_u64(&reader);
    snap.source = weir_read_bytes(&reader);
    snap.nops = weir_read_u32(&reader);
    if (reader.failed || snap.nops > OPS_MAX) {
        return weir_error_set(err, WEIR_CORRUPT, "a task's state: malformed header");
    }
    struct weir_snap_op *ops = weir_arena_zalloc(arena, snap.nops * sizeof(*ops));
    for (uint32_t i = 0; i < snap.nops; i++) {
        ops[i].uid = weir_read_bytes(&reader);
        ops[i].state = weir_read_raw(&reader, weir_read_u64(&reader));
    }
    if (reader.failed || reader.rest.len != 0) {
        return weir_error_set(err, WEIR_CORRUPT, "a task's state: malformed operator section");
    }
    snap.ops = ops;
    *out_snap = snap;
    return WEIR_OK;
}

static enum weir_rc write_file(struct weir_snap_io *io, struct weir_error *err)
{
    struct weir_fs_file *file = NULL;
    char *dir = weir_fs_dirname_copy(io->handle.path);
    struct weir_slice bytes = weir_buf_slice(&io->buf);
    enum weir_rc rc = weir_fs_open(io->fs, io->handle.path, WEIR_FS_CREATE_NEW, &file, err);
    if (rc == WEIR_OK) {
        rc = weir_fs_append(file, bytes, err);
    }
    WEIR_FAILPOINT("ckpt.upload");
    if (rc == WEIR_OK) {
        rc = weir_fs_fsync(file, err);
    }
    weir_fs_close(file);
    if (rc == WEIR_OK) { /* the name too: the acknowledgement says that all of it is durable */
        rc = weir_fs_fsync_dir(io->fs, dir, err);
    }
    weir_free(dir);
    return rc;
}

static enum weir_rc read_file(struct weir_snap_io *io, struct weir_error *err)
{
    enum weir_rc rc = weir_fs_read_all(io->fs, io->handle.path, io->handle.bytes, &io->buf, err);
    WEIR_FAILPOINT("restore.mid_download");
    bool same = rc == WEIR_OK && io->buf.len == io->handle.bytes && weir_hash_slice(weir_buf_slice(&io->buf), 0) == io->handle.hash;
    if (rc == WEIR_LIMIT || (rc == WEIR_OK && !same)) {
        return weir_error_set(err, WEIR_CORRUPT, "checkpoint file %s is damaged: its length or hash is not what the checkpoint recorded",
                              io->handle.path);
    }
    return rc;
}

static void run(struct weir_work *work)
{
    struct weir_snap_io *io = (struct weir_snap_io *)work;
    io->rc = io->writing ? write_file(io, &io->err) : read_file(io, &io->err);
}

void weir_snap_io_submit(struct weir_snap_io *io, struct weir_executor *executor)
{
    if (io->writing) {
        io->handle.bytes = io->buf.len;
        io->handle.hash = weir_hash_slice(weir_buf_slice(&io->buf), 0);
    }
    io->work.run = run;
    weir_executor_submit(executor, &io->work);
}
