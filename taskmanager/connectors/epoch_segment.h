/*
 * A segment file of an epoch log (E2): records [first, end) of the log, written once from its beginning to its end.
 *
 *   header   8 bytes "WEIRELOG" | u32 version | u64 first | u32 CRC32C of all before
 *   blocks   u32 records | u32 bytes | u64 position of the first | u32 CRC32C of the block without this field | u32 end of each record in the
 *            bytes | the bytes
 *
 * So damage anywhere is found by whoever reads: in a block by its checksum, between blocks by their positions, at the end by the length. The
 * file's hash is weir_hash_bytes of the header, then of each block's head with its ends, then of its bytes, each with the hash before as seed.
 *
 * All calls block; off the task's thread. Errors of reading name the path: CORRUPT, UNSUPPORTED, and the file system's.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_EPOCH_SEGMENT_H
#define WEIR_TASKMANAGER_CONNECTORS_EPOCH_SEGMENT_H

#include "common/base/buf.h"
#include "common/fs/fs.h"
#include "taskmanager/connectors/epoch_book.h"

/* A block never has more, but for a single larger record. */
struct weir__block_limits {
    uint32_t records_max;
    uint32_t bytes_max;
};

struct weir__segment_writer {
    struct weir_fs_file *file; /* NULL: none is open */
    struct weir_buf head;      /* of the block being written */
    uint64_t next;
    uint64_t bytes, hash; /* so far */
    bool torn;            /* the file may have more than these bytes: a part of what found no room */
};

/* Creates the file, which must not exist; nothing is open. The header comes with the first records. */
enum weir_rc weir__segment_create(struct weir__segment_writer *writer, struct weir_fs *fs, const char *path, uint64_t first,
                                  struct weir_error *err) WEIR_CHECKED;
/* Records: bytes cut at ends[0..count). *out_taken of them are in the file, also after an error: with RESOURCE (no room) the others can be appended
 * later, after any other the file must be abandoned. */
enum weir_rc weir__segment_append(struct weir__segment_writer *writer, const struct weir__block_limits *limits, const uint8_t *bytes,
                                  const uint32_t *ends, size_t count, size_t *out_taken, struct weir_error *err) WEIR_CHECKED;
/* Makes the bytes durable and closes, whatever comes of it. writer->bytes and hash are then the file's. Never RESOURCE: after a failed fsync nobody
 * knows what is on the disk, whatever it says of room, so it is IO. */
enum weir_rc weir__segment_seal(struct weir__segment_writer *writer, struct weir_error *err) WEIR_CHECKED;
void weir__segment_writer_fini(struct weir__segment_writer *writer);

/* What the next block has. */
struct weir__block {
    uint64_t first;
    uint32_t count;
    uint32_t bytes;
};

struct weir__segment_reader {
    struct weir_fs_file *file; /* NULL: none is open */
    char *path;
    struct weir__segment segment;
    uint64_t offset; /* of the next block */
    uint64_t next;   /* its first record; segment.end: none follows */
    struct weir_buf head;
    uint64_t hash; /* of what was read, when nothing was skipped */
};

/* Opens and checks length and header; nothing is open. */
enum weir_rc weir__segment_open(struct weir__segment_reader *reader, struct weir_fs *fs, const char *path, const struct weir__segment *segment,
                                struct weir_error *err) WEIR_CHECKED;
/* The head of the next block; there is one. */
enum weir_rc weir__segment_peek(struct weir__segment_reader *reader, struct weir__block *out_block, struct weir_error *err) WEIR_CHECKED;
/* Behind peek: reads the block; its bytes go behind those of *bytes, ends (room for block->count) are counted from its own first byte. */
enum weir_rc weir__segment_read(struct weir__segment_reader *reader, const struct weir__block *block, struct weir_buf *bytes, uint32_t *ends,
                                struct weir_error *err) WEIR_CHECKED;
/* Behind peek: leaves the block out, unseen. */
void weir__segment_skip(struct weir__segment_reader *reader, const struct weir__block *block);
/* Closes; the reader can open another. */
void weir__segment_close(struct weir__segment_reader *reader);
void weir__segment_reader_fini(struct weir__segment_reader *reader);

/* Reads all of it and compares with what is known of the file. CORRUPT. */
enum weir_rc weir__segment_verify(struct weir_fs *fs, const char *path, const struct weir__segment *segment, struct weir_error *err) WEIR_CHECKED;

#endif
