#include "common/data/batch_wire.h"

#include "common/base/assert.h"
#include "common/base/bitmap.h"
#include "common/base/crc32c.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "columns lie in memory as they travel: little endian");

enum {
    VERSION = 1,
    FLAG_ROW_KINDS = 1,
    FLAG_VALIDITY = 1,
    CRC_OFFSET = 12,
    INLINE_MAX = 12,
};

static const uint32_t magic = 0x31544257; /* "WBT1" */

/* The checksum covers all but itself: a header that lies is as bad as a body. */
static uint32_t checksum(const uint8_t *frame, size_t bytes)
{
    uint32_t crc = weir_crc32c(0, frame, CRC_OFFSET);
    return weir_crc32c(crc, frame + WEIR_BATCH_WIRE_HEADER_BYTES, bytes - WEIR_BATCH_WIRE_HEADER_BYTES);
}

/* --- encoding ------------------------------------------------------------------------------------------------------- */

/* The first `count` bits, or those named by sel; bits of the last byte beyond them are 0. */
static void put_bits(const uint8_t *from, const uint16_t *sel, uint32_t count, struct weir_buf *out)
{
    size_t bytes = weir_bitmap_bytes(count);
    uint8_t *to = weir_buf_reserve(out, bytes);
    if (sel == NULL) {
        memcpy(to, from, bytes);
        if (count % 8 != 0) {
            to[bytes - 1] = (uint8_t)(to[bytes - 1] & ((1u << (count % 8)) - 1));
        }
    } else {
        memset(to, 0, bytes);
        for (uint32_t i = 0; i < count; i++) {
            unsigned bit = (unsigned)from[sel[i] >> 3] >> (sel[i] & 7) & 1u;
            to[i >> 3] = (uint8_t)(to[i >> 3] | bit << (i & 7));
        }
    }
    out->len += bytes;
}

#define PUT_SELECTED(width)                                                          \
    for (uint32_t i = 0; i < count; i++) {                                           \
        memcpy(to + (size_t)i * (width), from + (size_t)sel[i] * (width), (width));  \
    }

static void put_fixed(const uint8_t *from, uint32_t width, const uint16_t *sel, uint32_t count, struct weir_buf *out)
{
    size_t bytes = (size_t)count * width;
    uint8_t *to = weir_buf_reserve(out, bytes);
    if (sel == NULL) {
        memcpy(to, from, bytes);
    } else if (width == 8) {
        PUT_SELECTED(8)
    } else if (width == 4) {
        PUT_SELECTED(4)
    } else if (width == 16) {
        PUT_SELECTED(16)
    } else if (width == 2) {
        PUT_SELECTED(2)
    } else {
        weir_assert(width == 1);
        PUT_SELECTED(1)
    }
    out->len += bytes;
}

/* What lies under a NULL travels as an empty string. */
static void put_strings(const struct weir_column *col, const uint16_t *sel, uint32_t count, struct weir_buf *out)
{
    size_t lengths_bytes = 4 + (size_t)count * 4;
    size_t at = out->len;
    (void)weir_buf_reserve(out, lengths_bytes);
    out->len += lengths_bytes;
    const struct weir_strview *views = WEIR_COLUMN_VALUES(col, const struct weir_strview);
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = sel == NULL ? i : sel[i];
        uint32_t len = weir_column_is_null(col, row) ? 0 : views[row].len;
        weir_le_put_u32(out->data + at + 4 + (size_t)i * 4, len);
        total += len;
    }
    weir_assert(total <= UINT32_MAX); /* batches are cut long before */
    weir_le_put_u32(out->data + at, (uint32_t)total);
    uint8_t *to = weir_buf_reserve(out, total);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = sel == NULL ? i : sel[i];
        uint32_t len = weir_column_is_null(col, row) ? 0 : views[row].len;
        if (len > 0) {
            memcpy(to, weir_column_slice(col, row).data, len);
            to += len;
        }
    }
    out->len += total;
}

static void put_column(const struct weir_column *col, const uint16_t *sel, uint32_t count, struct weir_buf *out)
{
    weir_buf_put_u8(out, (uint8_t)col->type.id);
    size_t flags_at = out->len;
    weir_buf_put_u8(out, 0);
    if (col->validity != NULL) {
        size_t bitmap_at = out->len;
        put_bits(col->validity->data, sel, count, out);
        if (weir_bitmap_count(out->data + bitmap_at, count) == count) {
            out->len = bitmap_at; /* no NULL among the selected rows */
        } else {
            out->data[flags_at] = FLAG_VALIDITY;
        }
    }
    if (col->type.id == WEIR_TYPE_BOOLEAN) {
        put_bits(col->values->data, sel, count, out);
    } else if (weir_type_is_string(col->type.id)) {
        put_strings(col, sel, count, out);
    } else {
        put_fixed(col->values->data, weir_type_width(col->type.id), sel, count, out);
    }
}

void weir_batch_encode(const struct weir_batch *batch, struct weir_buf *out)
{
    uint32_t rows = weir_batch_rows(batch);
    const uint16_t *sel = weir_batch_sel(batch);
    const uint8_t *kinds = weir_batch_kinds(batch);
    size_t start = out->len;
    weir_buf_put_u32(out, magic);
    weir_buf_put_u16(out, VERSION);
    weir_buf_put_u16(out, kinds != NULL ? FLAG_ROW_KINDS : 0);
    weir_buf_put_u32(out, 0);
    weir_buf_put_u32(out, 0);
    weir_buf_put_u32(out, rows);
    weir_buf_put_u32(out, batch->ncols);
    for (uint32_t i = 0; i < batch->ncols; i++) {
        put_column(&batch->cols[i], sel, rows, out);
    }
    if (kinds != NULL) {
        put_fixed(kinds, 1, sel, rows, out);
    }
    size_t bytes = out->len - start;
    weir_assert(bytes - WEIR_BATCH_WIRE_HEADER_BYTES <= UINT32_MAX);
    weir_buf_set_u32(out, start + 8, (uint32_t)(bytes - WEIR_BATCH_WIRE_HEADER_BYTES));
    weir_buf_set_u32(out, start + CRC_OFFSET, checksum(out->data + start, bytes));
}

/* --- decoding ------------------------------------------------------------------------------------------------------- */

static enum weir_rc check_header(struct weir_slice bytes, uint16_t *out_flags, struct weir_error *err)
{
    struct weir_reader reader = weir_reader(bytes);
    uint32_t found_magic = weir_read_u32(&reader);
    uint16_t version = weir_read_u16(&reader);
    uint16_t flags = weir_read_u16(&reader);
    uint32_t body_bytes = weir_read_u32(&reader);
    uint32_t crc = weir_read_u32(&reader);
    if (reader.failed) {
        return weir_error_set(err, WEIR_CORRUPT, "batch: %zu bytes are less than a header", bytes.len);
    }
    if (found_magic != magic) {
        return weir_error_set(err, WEIR_CORRUPT, "batch: it begins with %08x, not with \"WBT1\"", found_magic);
    }
    if (version != VERSION) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "batch: format version %u; this program reads version %d", version, VERSION);
    }
    if (body_bytes != reader.rest.len) {
        return weir_error_set(err, WEIR_CORRUPT, "batch: the header says %u bytes follow, there are %zu", body_bytes,
                              reader.rest.len);
    }
    uint32_t computed = checksum(bytes.data, bytes.len);
    if (crc != computed) {
        return weir_error_set(err, WEIR_CORRUPT, "batch of %zu bytes: checksum %08x, computed %08x", bytes.len, crc, computed);
    }
    if ((flags & ~FLAG_ROW_KINDS) != 0) {
        return weir_error_set(err, WEIR_CORRUPT, "batch: unknown flags %04x", flags);
    }
    *out_flags = flags;
    return WEIR_OK;
}

/* A buffer with a copy of the next `bytes` bytes, or NULL when there are not as many. */
static struct weir_buffer *take_buffer(struct weir_reader *reader, size_t bytes, struct weir_mem *mem)
{
    struct weir_slice from = weir_read_raw(reader, bytes);
    if (reader->failed) {
        return NULL;
    }
    struct weir_buffer *buffer = weir_buffer_create(bytes, mem);
    if (bytes > 0) {
        memcpy(buffer->data, from.data, bytes);
    }
    return buffer;
}

/* Checks the lengths, then lets long strings point into one copy of all bytes; without long strings there is no copy. */
static bool take_strings(struct weir_reader *reader, uint32_t rows, struct weir_column *col, struct weir_mem *mem)
{
    uint32_t total = weir_read_u32(reader);
    struct weir_slice lengths = weir_read_raw(reader, (size_t)rows * 4);
    struct weir_slice bytes = weir_read_raw(reader, total);
    if (reader->failed) {
        return false;
    }
    uint64_t sum = 0;
    uint32_t longest = 0;
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t len = weir_le_get_u32(lengths.data + (size_t)i * 4);
        sum += len;
        longest = len > longest ? len : longest;
    }
    if (sum != total || longest > WEIR_RECORD_BYTES_MAX) {
        return false;
    }
    col->values = weir_buffer_create((size_t)rows * sizeof(struct weir_strview), mem);
    if (longest > INLINE_MAX) {
        col->data = weir_malloc(sizeof(struct weir_buffer *));
        col->data[0] = weir_buffer_create(total, mem);
        col->ndata = 1;
        memcpy(col->data[0]->data, bytes.data, total);
    }
    struct weir_strview *views = WEIR_COLUMN_VALUES(col, struct weir_strview);
    uint32_t offset = 0;
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t len = weir_le_get_u32(lengths.data + (size_t)i * 4);
        views[i].len = len;
        if (len > INLINE_MAX) {
            memcpy(views[i].u.ref.prefix, bytes.data + offset, sizeof(views[i].u.ref.prefix));
            views[i].u.ref.offset = offset;
        } else if (len > 0) {
            memcpy(views[i].u.inlined, bytes.data + offset, len);
        }
        offset += len;
    }
    return true;
}

/* Fills *col as far as it gets; whatever it holds is the caller's to unref. */
static enum weir_rc take_column(struct weir_reader *reader, const struct weir_field *field, uint32_t rows,
                                struct weir_column *col, struct weir_mem *mem, struct weir_error *err)
{
    enum weir_type_id id = field->type.id;
    uint8_t found_id = weir_read_u8(reader);
    uint8_t flags = weir_read_u8(reader);
    if (reader->failed || found_id != (uint8_t)id || (flags & ~FLAG_VALIDITY) != 0) {
        return weir_error_set(err, WEIR_CORRUPT, "batch: column '%s' is %s here, but type %u with flags %u in the bytes",
                              field->name, weir_type_text(field->type).text, found_id, flags);
    }
    bool whole = true;
    if ((flags & FLAG_VALIDITY) != 0) {
        col->validity = take_buffer(reader, weir_bitmap_bytes(rows), mem);
        whole = col->validity != NULL;
    }
    if (whole && weir_type_is_string(id)) {
        whole = take_strings(reader, rows, col, mem);
    } else if (whole) {
        size_t bytes = id == WEIR_TYPE_BOOLEAN ? weir_bitmap_bytes(rows) : (size_t)rows * weir_type_width(id);
        col->values = take_buffer(reader, bytes, mem);
        whole = col->values != NULL;
    }
    if (!whole) {
        return weir_error_set(err, WEIR_CORRUPT, "batch: column '%s' (%s): the bytes of %u rows are cut off or do not add up",
                              field->name, weir_type_text(field->type).text, rows);
    }
    return WEIR_OK;
}

static enum weir_rc take_kinds(struct weir_reader *reader, uint32_t rows, struct weir_mem *mem, struct weir_buffer **out_kinds,
                               struct weir_error *err)
{
    struct weir_slice kinds = weir_read_raw(reader, rows);
    if (reader->failed) {
        return weir_error_set(err, WEIR_CORRUPT, "batch: the row kinds of %u rows are cut off", rows);
    }
    for (uint32_t i = 0; i < rows; i++) {
        if (kinds.data[i] > WEIR_DELETE) {
            return weir_error_set(err, WEIR_CORRUPT, "batch: row %u has kind %u; kinds are 0 to %d", i, kinds.data[i],
                                  WEIR_DELETE);
        }
    }
    struct weir_buffer *buffer = weir_buffer_create(rows, mem);
    if (rows > 0) {
        memcpy(buffer->data, kinds.data, rows);
    }
    *out_kinds = buffer;
    return WEIR_OK;
}

enum weir_rc weir_batch_decode(struct weir_slice bytes, const struct weir_schema *schema, struct weir_mem *mem,
                               struct weir_batch **out_batch, struct weir_error *err)
{
    uint16_t flags = 0;
    enum weir_rc rc = check_header(bytes, &flags, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_reader reader =
        weir_reader(weir_slice(bytes.data + WEIR_BATCH_WIRE_HEADER_BYTES, bytes.len - WEIR_BATCH_WIRE_HEADER_BYTES));
    uint32_t rows = weir_read_u32(&reader);
    uint32_t ncols = weir_read_u32(&reader);
    if (reader.failed || rows > WEIR_BATCH_ROWS_MAX || ncols != weir_schema_count(schema)) {
        return weir_error_set(err, WEIR_CORRUPT, "batch: %u rows of %u columns; at most %d rows of %u columns were expected", rows,
                              ncols, WEIR_BATCH_ROWS_MAX, weir_schema_count(schema));
    }
    struct weir_column *cols = weir_calloc(ncols, sizeof(*cols));
    struct weir_buffer *kinds = NULL;
    for (uint32_t i = 0; i < ncols; i++) {
        cols[i].type = weir_schema_field(schema, i)->type;
        rc = take_column(&reader, weir_schema_field(schema, i), rows, &cols[i], mem, err);
        if (rc != WEIR_OK) {
            goto out;
        }
    }
    if ((flags & FLAG_ROW_KINDS) != 0) {
        rc = take_kinds(&reader, rows, mem, &kinds, err);
        if (rc != WEIR_OK) {
            goto out;
        }
    }
    if (reader.rest.len > 0) {
        rc = weir_error_set(err, WEIR_CORRUPT, "batch: %zu bytes too many after the last column", reader.rest.len);
        goto out;
    }
    *out_batch = weir_batch_make_take(schema, cols, rows, NULL, 0, kinds, mem);
    kinds = NULL;
    ncols = 0; /* the columns moved */
out:
    for (uint32_t i = 0; i < ncols; i++) {
        weir_column_unref(&cols[i]);
    }
    weir_buffer_unref(kinds);
    weir_free(cols);
    return rc;
}
