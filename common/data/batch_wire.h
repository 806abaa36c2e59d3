/*
 * A batch as bytes: what travels between TaskManagers and lies in logs. Version 1, little endian, CRC32C over the whole.
 *
 *   u32 magic "WBT1" | u16 version | u16 flags (1: row kinds) | u32 body bytes | u32 crc32c of all other bytes |
 *   body: u32 rows | u32 columns | per column: u8 type id | u8 flags (1: has validity) | validity bitmap | values:
 *         fixed width: rows * width bytes; BOOLEAN: bitmap; strings: u32 total bytes, rows * u32 lengths, bytes
 *         | row kinds: rows bytes
 *
 * Only logical rows are written (the selection is applied); the receiver knows the schema from the edge. The body may be
 * produced as a few runs for scatter-gather (encode appends to one buffer).
 */
#ifndef WEIR_COMMON_DATA_BATCH_WIRE_H
#define WEIR_COMMON_DATA_BATCH_WIRE_H

#include "common/data/batch.h"

enum { WEIR_BATCH_WIRE_HEADER_BYTES = 16 };

/* Appends the encoded batch. Any thread. */
void weir_batch_encode(const struct weir_batch *batch, struct weir_buf *out);

/* Decodes exactly one batch of `schema` from bytes, checking everything (CRC, version, counts, lengths, types, UTF-8 is not
 * checked). Buffers are charged to mem. CORRUPT: names what was wrong; UNSUPPORTED: another version. Never reads beyond, never
 * allocates more than a small multiple of bytes.len. */
enum weir_rc weir_batch_decode(struct weir_slice bytes, const struct weir_schema *schema, struct weir_mem *mem,
                               struct weir_batch **out_batch, struct weir_error *err) WEIR_CHECKED;

#endif
