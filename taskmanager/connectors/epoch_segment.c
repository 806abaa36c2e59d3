#include "taskmanager/connectors/epoch_segment.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

#include <inttypes.h>

enum { FORMAT_VERSION = 1, HEADER_BYTES = 24, HEADER_CRC = 20, BLOCK_HEAD_BYTES = 20, BLOCK_CRC = 16, END_BYTES = 4 };

static const char magic[8] = {'W', 'E', 'I', 'R', 'E', 'L', 'O', 'G'};

/* --- writing ---------------------------------------------------------------------------------------------------------- */

static enum weir_rc put(struct weir__segment_writer *writer, struct weir_slice piece, struct weir_error *err)
{
    writer->hash = weir_hash_slice(piece, writer->hash);
    writer->bytes += piece.len;
    return piece.len == 0 ? WEIR_OK : weir_fs_append(writer->file, piece, err);
}

enum weir_rc weir__segment_create(struct weir__segment_writer *writer, struct weir_fs *fs, const char *path, uint64_t first,
                                  struct weir_error *err)
{
    weir_assert(writer->file == NULL);
    enum weir_rc rc = weir_fs_open(fs, path, WEIR_FS_CREATE_NEW, &writer->file, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    writer->bytes = 0;
    writer->hash = 0;
    writer->next = first;
    writer->torn = false;
    return WEIR_OK;
}

static enum weir_rc put_header(struct weir__segment_writer *writer, struct weir_error *err)
{
    weir_buf_clear(&writer->head);
    weir_buf_put(&writer->head, magic, sizeof(magic));
    weir_buf_put_u32(&writer->head, FORMAT_VERSION);
    weir_buf_put_u64(&writer->head, writer->next);
    weir_buf_put_u32(&writer->head, weir_crc32c(0, writer->head.data, HEADER_CRC));
    return put(writer, weir_buf_slice(&writer->head), err);
}

static enum weir_rc put_block(struct weir__segment_writer *writer, struct weir_slice bytes, const uint32_t *ends, uint32_t count, uint32_t base,
                              struct weir_error *err)
{
    struct weir_buf *head = &writer->head;
    weir_buf_clear(head);
    weir_buf_put_u32(head, count);
    weir_buf_put_u32(head, (uint32_t)bytes.len);
    weir_buf_put_u64(head, writer->next);
    weir_buf_put_u32(head, 0);
    uint8_t *to = weir_buf_reserve(head, (size_t)count * END_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        weir_le_put_u32(to + (size_t)i * END_BYTES, ends[i] - base);
    }
    head->len += (size_t)count * END_BYTES;
    uint32_t crc = weir_crc32c(0, head->data, BLOCK_CRC);
    crc = weir_crc32c(crc, head->data + BLOCK_HEAD_BYTES, head->len - BLOCK_HEAD_BYTES);
    weir_buf_set_u32(head, BLOCK_CRC, weir_crc32c(crc, bytes.data, bytes.len));
    enum weir_rc rc = put(writer, weir_buf_slice(head), err);
    rc = rc != WEIR_OK ? rc : put(writer, bytes, err);
    writer->next += rc == WEIR_OK ? count : 0;
    return rc;
}

/* A block, with the header before the first. Of what is not whole in the file the writer knows nothing afterwards. */
static enum weir_rc put_whole(struct weir__segment_writer *writer, struct weir_slice bytes, const uint32_t *ends, uint32_t count, uint32_t base,
                              struct weir_error *err)
{
    uint64_t bytes_before = writer->bytes, hash_before = writer->hash;
    enum weir_rc rc = writer->torn ? weir_fs_truncate(writer->file, writer->bytes, err) : WEIR_OK;
    if (rc != WEIR_OK) {
        return rc;
    }
    writer->torn = false;
    rc = writer->bytes == 0 ? put_header(writer, err) : WEIR_OK;
    rc = rc != WEIR_OK ? rc : put_block(writer, bytes, ends, count, base, err);
    if (rc != WEIR_OK) {
        writer->bytes = bytes_before;
        writer->hash = hash_before;
        writer->torn = true;
    }
    return rc;
}

enum weir_rc weir__segment_append(struct weir__segment_writer *writer, const struct weir__block_limits *limits, const uint8_t *bytes,
                                  const uint32_t *ends, size_t count, size_t *out_taken, struct weir_error *err)
{
    weir_assert(writer->file != NULL);
    enum weir_rc rc = WEIR_OK;
    *out_taken = 0;
    for (size_t at = 0; at < count;) {
        uint32_t base = at == 0 ? 0 : ends[at - 1];
        uint32_t taken = 1;
        while (at + taken < count && taken < limits->records_max && ends[at + taken] - base <= limits->bytes_max) {
            taken++;
        }
        rc = put_whole(writer, weir_slice(bytes + base, ends[at + taken - 1] - base), ends + at, taken, base, err);
        if (rc != WEIR_OK) {
            return rc;
        }
        at += taken;
        *out_taken = at;
    }
    return rc;
}

enum weir_rc weir__segment_seal(struct weir__segment_writer *writer, struct weir_error *err)
{
    weir_assert(writer->file != NULL);
    weir_assert(writer->bytes > 0 && !writer->torn);
    enum weir_rc rc = weir_fs_fsync(writer->file, err);
    weir_fs_close(writer->file);
    writer->file = NULL;
    if (rc == WEIR_RESOURCE) {
        rc = err->rc = WEIR_IO;
    }
    return rc;
}

void weir__segment_writer_fini(struct weir__segment_writer *writer)
{
    weir_fs_close(writer->file);
    weir_buf_fini(&writer->head);
    *writer = (struct weir__segment_writer){0};
}

/* --- reading ---------------------------------------------------------------------------------------------------------- */

static enum weir_rc damaged(const struct weir__segment_reader *reader, const char *what, struct weir_error *err)
{
    return weir_error_set(err, WEIR_CORRUPT,
                          "%s: damaged at byte %" PRIu64 " (%s): this segment of the sink's log holds committed records that are not written outside "
                          "yet; restore the file, or an older checkpoint, or start the job anew",
                          reader->path, reader->offset, what);
}

/* Exactly so many bytes. */
static enum weir_rc read_at(struct weir__segment_reader *reader, uint64_t offset, uint8_t *to, size_t bytes, struct weir_error *err)
{
    size_t got = 0;
    enum weir_rc rc = weir_fs_pread(reader->file, offset, to, bytes, &got, err);
    return rc != WEIR_OK || got == bytes ? rc : damaged(reader, "it ends too early", err);
}

static enum weir_rc read_header(struct weir__segment_reader *reader, struct weir_error *err)
{
    uint64_t bytes = 0;
    uint8_t head[HEADER_BYTES];
    enum weir_rc rc = weir_fs_size(reader->file, &bytes, err);
    if (rc == WEIR_OK && (bytes != reader->segment.bytes || bytes < HEADER_BYTES)) {
        rc = damaged(reader, "its length is not what it was", err);
    }
    rc = rc != WEIR_OK ? rc : read_at(reader, 0, head, HEADER_BYTES, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    if (memcmp(head, magic, sizeof(magic)) != 0 || weir_le_get_u32(head + HEADER_CRC) != weir_crc32c(0, head, HEADER_CRC) ||
        weir_le_get_u64(head + 12) != reader->segment.first) {
        return damaged(reader, "its header", err);
    }
    if (weir_le_get_u32(head + 8) != FORMAT_VERSION) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "%s: version %u of the file; this Weir reads version %d", reader->path,
                              weir_le_get_u32(head + 8), FORMAT_VERSION);
    }
    reader->hash = weir_hash_bytes(head, HEADER_BYTES, 0);
    reader->offset = HEADER_BYTES;
    return WEIR_OK;
}

enum weir_rc weir__segment_open(struct weir__segment_reader *reader, struct weir_fs *fs, const char *path, const struct weir__segment *segment,
                                struct weir_error *err)
{
    weir_assert(reader->file == NULL);
    weir_assert(segment->end > segment->first);
    enum weir_rc rc = weir_fs_open(fs, path, WEIR_FS_READ, &reader->file, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    reader->path = weir_strdup(path);
    reader->segment = *segment;
    reader->next = segment->first;
    reader->offset = 0;
    rc = read_header(reader, err);
    if (rc != WEIR_OK) {
        weir__segment_close(reader);
    }
    return rc;
}

static uint64_t block_bytes(const struct weir__block *block)
{
    return BLOCK_HEAD_BYTES + (uint64_t)block->count * END_BYTES + block->bytes;
}

enum weir_rc weir__segment_peek(struct weir__segment_reader *reader, struct weir__block *out_block, struct weir_error *err)
{
    weir_assert(reader->next < reader->segment.end);
    weir_buf_clear(&reader->head);
    uint8_t *head = weir_buf_reserve(&reader->head, BLOCK_HEAD_BYTES);
    enum weir_rc rc = read_at(reader, reader->offset, head, BLOCK_HEAD_BYTES, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir__block block = {.count = weir_le_get_u32(head), .bytes = weir_le_get_u32(head + 4), .first = weir_le_get_u64(head + 8)};
    if (block.first != reader->next || block.count == 0 || block.count > reader->segment.end - reader->next ||
        block_bytes(&block) > reader->segment.bytes - reader->offset) {
        return damaged(reader, "the head of a block", err);
    }
    *out_block = block;
    return WEIR_OK;
}

/* The block's own: ends ascend to its bytes. */
static bool decode_ends(const uint8_t *from, const struct weir__block *block, uint32_t *ends)
{
    uint32_t last = 0;
    bool ascending = true;
    for (uint32_t i = 0; i < block->count; i++) {
        ends[i] = weir_le_get_u32(from + (size_t)i * END_BYTES);
        ascending = ascending && ends[i] >= last;
        last = ends[i];
    }
    return ascending && last == block->bytes;
}

enum weir_rc weir__segment_read(struct weir__segment_reader *reader, const struct weir__block *block, struct weir_buf *bytes, uint32_t *ends,
                                struct weir_error *err)
{
    weir_assert(block->first == reader->next);
    size_t ends_bytes = (size_t)block->count * END_BYTES;
    struct weir_buf *head = &reader->head;
    head->len = BLOCK_HEAD_BYTES; /* peek left it there */
    uint8_t *to_ends = weir_buf_reserve(head, ends_bytes);
    uint8_t *to_bytes = weir_buf_reserve(bytes, block->bytes);
    enum weir_rc rc = read_at(reader, reader->offset + BLOCK_HEAD_BYTES, to_ends, ends_bytes, err);
    if (rc == WEIR_OK && block->bytes > 0) {
        rc = read_at(reader, reader->offset + BLOCK_HEAD_BYTES + ends_bytes, to_bytes, block->bytes, err);
    }
    if (rc != WEIR_OK) {
        return rc;
    }
    head->len += ends_bytes;
    uint32_t crc = weir_crc32c(weir_crc32c(0, head->data, BLOCK_CRC), to_ends, ends_bytes);
    crc = weir_crc32c(crc, to_bytes, block->bytes);
    if (crc != weir_le_get_u32(head->data + BLOCK_CRC) || !decode_ends(to_ends, block, ends)) {
        return damaged(reader, "the checksum of a block", err);
    }
    reader->hash = weir_hash_bytes(to_bytes, block->bytes, weir_hash_slice(weir_buf_slice(head), reader->hash));
    bytes->len += block->bytes;
    weir__segment_skip(reader, block);
    if (reader->next == reader->segment.end && reader->offset != reader->segment.bytes) {
        return damaged(reader, "more follows than the last record", err);
    }
    return WEIR_OK;
}

void weir__segment_skip(struct weir__segment_reader *reader, const struct weir__block *block)
{
    reader->offset += block_bytes(block);
    reader->next += block->count;
}

void weir__segment_close(struct weir__segment_reader *reader)
{
    weir_fs_close(reader->file);
    weir_free(reader->path);
    reader->file = NULL;
    reader->path = NULL;
}

void weir__segment_reader_fini(struct weir__segment_reader *reader)
{
    weir__segment_close(reader);
    weir_buf_fini(&reader->head);
}

enum weir_rc weir__segment_verify(struct weir_fs *fs, const char *path, const struct weir__segment *segment, struct weir_error *err)
{
    struct weir__segment_reader reader = {0};
    struct weir__block block;
    struct weir_buf bytes = {0};
    uint32_t *ends = NULL;
    enum weir_rc rc = weir__segment_open(&reader, fs, path, segment, err);
    while (rc == WEIR_OK && reader.next < segment->end) {
        rc = weir__segment_peek(&reader, &block, err);
        if (rc == WEIR_OK) {
            weir_buf_clear(&bytes);
            weir_free(ends);
            ends = weir_malloc((size_t)block.count * sizeof(*ends));
            rc = weir__segment_read(&reader, &block, &bytes, ends, err);
        }
    }
    if (rc == WEIR_OK && reader.hash != segment->hash) {
        rc = damaged(&reader, "it is another file than the checkpoint's", err);
    }
    weir_free(ends);
    weir_buf_fini(&bytes);
    weir__segment_reader_fini(&reader);
    return rc;
}
