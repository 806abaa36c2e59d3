#include "common/base/buf.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <stdarg.h>
#include <stdio.h>

enum { CAP_FIRST = 64, VARINT_BYTES_MAX = 10 };

void weir_buf_fini(struct weir_buf *buf)
{
    weir_free(buf->data);
    *buf = (struct weir_buf){0};
}

void weir_buf_clear(struct weir_buf *buf)
{
    buf->len = 0;
}

uint8_t *weir_buf_reserve(struct weir_buf *buf, size_t bytes)
{
    weir_assert(bytes <= SIZE_MAX / 4 - buf->len);
    if (buf->cap - buf->len < bytes) {
        size_t cap = buf->cap == 0 ? CAP_FIRST : buf->cap;
        while (cap - buf->len < bytes) {
            cap *= 2;
        }
        buf->data = weir_realloc(buf->data, cap);
        buf->cap = cap;
    }
    return buf->data + buf->len;
}

void weir_buf_put(struct weir_buf *buf, const void *data, size_t len)
{
    if (len != 0) {
        memcpy(weir_buf_reserve(buf, len), data, len);
        buf->len += len;
    }
}

void weir_buf_put_slice(struct weir_buf *buf, struct weir_slice s)
{
    weir_buf_put(buf, s.data, s.len);
}

void weir_buf_put_str(struct weir_buf *buf, const char *text)
{
    weir_buf_put(buf, text, strlen(text));
}

void weir_buf_put_fmt(struct weir_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    weir_assert(len >= 0);
    (void)vsnprintf((char *)weir_buf_reserve(buf, (size_t)len + 1), (size_t)len + 1, format, again);
    va_end(again);
    buf->len += (size_t)len;
}

void weir_le_put_u16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
}

void weir_le_put_u32(uint8_t *to, uint32_t value)
{
    weir_le_put_u16(to, (uint16_t)value);
    weir_le_put_u16(to + 2, (uint16_t)(value >> 16));
}

void weir_le_put_u64(uint8_t *to, uint64_t value)
{
    weir_le_put_u32(to, (uint32_t)value);
    weir_le_put_u32(to + 4, (uint32_t)(value >> 32));
}

uint16_t weir_le_get_u16(const uint8_t *from)
{
    return (uint16_t)(from[0] | (uint32_t)from[1] << 8);
}

uint32_t weir_le_get_u32(const uint8_t *from)
{
    return weir_le_get_u16(from) | (uint32_t)weir_le_get_u16(from + 2) << 16;
}

uint64_t weir_le_get_u64(const uint8_t *from)
{
    return weir_le_get_u32(from) | (uint64_t)weir_le_get_u32(from + 4) << 32;
}

void weir_buf_put_u8(struct weir_buf *buf, uint8_t value)
{
    weir_buf_put(buf, &value, 1);
}

void weir_buf_put_u16(struct weir_buf *buf, uint16_t value)
{
    weir_le_put_u16(weir_buf_reserve(buf, 2), value);
    buf->len += 2;
}

void weir_buf_put_u32(struct weir_buf *buf, uint32_t value)
{
    weir_le_put_u32(weir_buf_reserve(buf, 4), value);
    buf->len += 4;
}

void weir_buf_put_u64(struct weir_buf *buf, uint64_t value)
{
    weir_le_put_u64(weir_buf_reserve(buf, 8), value);
    buf->len += 8;
}

void weir_buf_put_i64(struct weir_buf *buf, int64_t value)
{
    weir_buf_put_u64(buf, (uint64_t)value);
}

void weir_buf_put_varint(struct weir_buf *buf, uint64_t value)
{
    while (value >= 0x80) {
        weir_buf_put_u8(buf, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    weir_buf_put_u8(buf, (uint8_t)value);
}

void weir_buf_put_bytes(struct weir_buf *buf, struct weir_slice s)
{
    weir_assert(s.len <= UINT32_MAX);
    weir_buf_put_u32(buf, (uint32_t)s.len);
    weir_buf_put_slice(buf, s);
}

void weir_buf_set_u32(struct weir_buf *buf, size_t offset, uint32_t value)
{
    weir_assert(offset + 4 <= buf->len);
    weir_le_put_u32(buf->data + offset, value);
}

void weir_buf_set_u64(struct weir_buf *buf, size_t offset, uint64_t value)
{
    weir_assert(offset + 8 <= buf->len);
    weir_le_put_u64(buf->data + offset, value);
}

uint8_t *weir_buf_take(struct weir_buf *buf, size_t *out_len)
{
    uint8_t *data = buf->data;
    *out_len = buf->len;
    *buf = (struct weir_buf){0};
    return data;
}

struct weir_slice weir_read_raw(struct weir_reader *reader, size_t len)
{
    if (reader->failed || reader->rest.len < len) {
        reader->failed = true;
        return weir_slice(NULL, 0);
    }
    struct weir_slice taken = weir_slice(reader->rest.data, len);
    reader->rest = weir_slice(len == 0 ? reader->rest.data : reader->rest.data + len, reader->rest.len - len);
    return taken;
}

uint8_t weir_read_u8(struct weir_reader *reader)
{
    struct weir_slice raw = weir_read_raw(reader, 1);
    return raw.len == 1 ? raw.data[0] : 0;
}

uint16_t weir_read_u16(struct weir_reader *reader)
{
    struct weir_slice raw = weir_read_raw(reader, 2);
    return raw.len == 2 ? weir_le_get_u16(raw.data) : 0;
}

uint32_t weir_read_u32(struct weir_reader *reader)
{
    struct weir_slice raw = weir_read_raw(reader, 4);
    return raw.len == 4 ? weir_le_get_u32(raw.data) : 0;
}

uint64_t weir_read_u64(struct weir_reader *reader)
{
    struct weir_slice raw = weir_read_raw(reader, 8);
    return raw.len == 8 ? weir_le_get_u64(raw.data) : 0;
}

int64_t weir_read_i64(struct weir_reader *reader)
{
    return (int64_t)weir_read_u64(reader);
}

uint64_t weir_read_varint(struct weir_reader *reader)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < VARINT_BYTES_MAX; i++) {
        uint8_t byte = weir_read_u8(reader);
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            return reader->failed ? 0 : value;
        }
    }
    reader->failed = true;
    return 0;
}

struct weir_slice weir_read_bytes(struct weir_reader *reader)
{
    uint32_t len = weir_read_u32(reader);
    return weir_read_raw(reader, len);
}
