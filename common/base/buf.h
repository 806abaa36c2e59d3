/*
 * A growable byte buffer, and a reader over bytes. All integers are little endian and written explicitly: wire and disk
 * never see the memory of a struct.
 */
#ifndef WEIR_COMMON_BASE_BUF_H
#define WEIR_COMMON_BASE_BUF_H

#include "common/base/slice.h"

struct weir_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
};

/* {0} is a valid empty buffer. fini frees and leaves {0}; clear keeps the memory. */
void weir_buf_fini(struct weir_buf *buf);
void weir_buf_clear(struct weir_buf *buf);

/* Room for `bytes` more; returns where they go (len is not moved). */
uint8_t *weir_buf_reserve(struct weir_buf *buf, size_t bytes);

void weir_buf_put(struct weir_buf *buf, const void *data, size_t len);
void weir_buf_put_slice(struct weir_buf *buf, struct weir_slice s);
void weir_buf_put_str(struct weir_buf *buf, const char *text); /* without the NUL */
void weir_buf_put_fmt(struct weir_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void weir_buf_put_u8(struct weir_buf *buf, uint8_t value);
void weir_buf_put_u16(struct weir_buf *buf, uint16_t value);
void weir_buf_put_u32(struct weir_buf *buf, uint32_t value);
void weir_buf_put_u64(struct weir_buf *buf, uint64_t value);
void weir_buf_put_i64(struct weir_buf *buf, int64_t value);
void weir_buf_put_varint(struct weir_buf *buf, uint64_t value); /* LEB128 */
void weir_buf_put_bytes(struct weir_buf *buf, struct weir_slice s); /* u32 length, then the bytes */

/* Overwrites 4 or 8 bytes at offset (which must exist). */
void weir_buf_set_u32(struct weir_buf *buf, size_t offset, uint32_t value);
void weir_buf_set_u64(struct weir_buf *buf, size_t offset, uint64_t value);

static inline struct weir_slice weir_buf_slice(const struct weir_buf *buf)
{
    return weir_slice(buf->data, buf->len);
}

/* The heap memory, now the caller's (weir_free); buf becomes {0}. */
uint8_t *weir_buf_take(struct weir_buf *buf, size_t *out_len);

/*
 * Reading. Every get checks the length: reading past the end sets `failed`, returns 0 and never moves again, so a decoder
 * may read a whole record and test once.
 */
struct weir_reader {
    struct weir_slice rest;
    bool failed;
};

static inline struct weir_reader weir_reader(struct weir_slice s)
{
    return (struct weir_reader){.rest = s, .failed = false};
}

uint8_t weir_read_u8(struct weir_reader *reader);
uint16_t weir_read_u16(struct weir_reader *reader);
uint32_t weir_read_u32(struct weir_reader *reader);
uint64_t weir_read_u64(struct weir_reader *reader);
int64_t weir_read_i64(struct weir_reader *reader);
uint64_t weir_read_varint(struct weir_reader *reader); /* an encoding of more than 10 bytes fails */
struct weir_slice weir_read_raw(struct weir_reader *reader, size_t len);   /* borrowed from the input */
struct weir_slice weir_read_bytes(struct weir_reader *reader);             /* u32 length, then the bytes */

/* Fixed-width access where the caller has checked the length. */
void weir_le_put_u16(uint8_t *to, uint16_t value);
void weir_le_put_u32(uint8_t *to, uint32_t value);
void weir_le_put_u64(uint8_t *to, uint64_t value);
uint16_t weir_le_get_u16(const uint8_t *from);
uint32_t weir_le_get_u32(const uint8_t *from);
uint64_t weir_le_get_u64(const uint8_t *from);

#endif
