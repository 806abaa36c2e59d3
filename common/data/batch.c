#include "common/data/batch.h"

#include "common/base/assert.h"
#include "common/base/bitmap.h"

enum {
    BUFFER_ALIGN = 64,
    DATA_BUFFER_BYTES_MIN = 4096,
    DATA_BUFFER_BYTES_MAX = 1 << 20, /* a longer string gets a buffer of its own */
    INLINE_MAX = 12,
};

_Static_assert(sizeof(struct weir_buffer) <= BUFFER_ALIGN, "a buffer's header stands in the line before its bytes");

/* --- buffers -------------------------------------------------------------------------------------------------------- */

static size_t round_up(size_t bytes)
{
    return bytes == 0 ? BUFFER_ALIGN : (bytes + BUFFER_ALIGN - 1) / BUFFER_ALIGN * BUFFER_ALIGN;
}

/* Header and bytes are one allocation; the bytes are not initialised. */
static struct weir_buffer *buffer_alloc(size_t bytes, struct weir_mem *mem)
{
    size_t capacity = round_up(bytes);
    uint8_t *memory = weir_memalign(BUFFER_ALIGN, BUFFER_ALIGN + capacity);
    struct weir_buffer *buffer = (struct weir_buffer *)(void *)memory;
    atomic_init(&buffer->refs, 1);
    buffer->reserved = 0;
    buffer->bytes = capacity;
    buffer->mem = mem;
    buffer->data = memory + BUFFER_ALIGN;
    weir_mem_charge(mem, capacity);
    return buffer;
}

struct weir_buffer *weir_buffer_create(size_t bytes, struct weir_mem *mem)
{
    struct weir_buffer *buffer = buffer_alloc(bytes, mem);
    memset(buffer->data, 0, buffer->bytes);
    return buffer;
}

struct weir_buffer *weir_buffer_ref(struct weir_buffer *buffer)
{
    if (buffer != NULL) {
        uint32_t before = atomic_fetch_add_explicit(&buffer->refs, 1, memory_order_relaxed);
        weir_assert(before > 0);
    }
    return buffer;
}

void weir_buffer_unref(struct weir_buffer *buffer)
{
    if (buffer == NULL) {
        return;
    }
    uint32_t before = atomic_fetch_sub_explicit(&buffer->refs, 1, memory_order_acq_rel);
    weir_assert(before > 0);
    if (before == 1) {
        weir_mem_uncharge(buffer->mem, buffer->bytes);
        weir_free(buffer);
    }
}

/* The bytes between what is used and the next multiple of 64 become defined (I5). */
static void zero_padding(struct weir_buffer *buffer, size_t used)
{
    memset(buffer->data + used, 0, round_up(used) - used);
}

/* --- columns -------------------------------------------------------------------------------------------------------- */

struct weir_column weir_column_ref(const struct weir_column *col)
{
    struct weir_column copy = *col;
    (void)weir_buffer_ref(copy.validity);
    (void)weir_buffer_ref(copy.values);
    if (col->ndata > 0) {
        copy.data = weir_malloc(col->ndata * sizeof(struct weir_buffer *));
        for (uint32_t i = 0; i < col->ndata; i++) {
            copy.data[i] = weir_buffer_ref(col->data[i]);
        }
    }
    return copy;
}

void weir_column_unref(struct weir_column *col)
{
    weir_buffer_unref(col->validity);
    weir_buffer_unref(col->values);
    for (uint32_t i = 0; i < col->ndata; i++) {
        weir_buffer_unref(col->data[i]);
    }
    weir_free(col->data);
    *col = (struct weir_column){.type = col->type};
}

/* Bytes of the values of `rows` rows. */
static size_t values_bytes(enum weir_type_id id, uint32_t rows)
{
    return id == WEIR_TYPE_BOOLEAN ? weir_bitmap_bytes(rows) : (size_t)rows * weir_type_width(id);
}

/* --- strings of a column builder ------------------------------------------------------------------------------------ */

static void add_data_buffer(struct weir_column_builder *col, size_t bytes)
{
    struct weir_column *built = &col->col;
    if (built->ndata > 0) {
        zero_padding(built->data[built->ndata - 1], col->data_used);
    }
    built->data = weir_realloc(built->data, (built->ndata + 1) * sizeof(struct weir_buffer *));
    built->data[built->ndata++] = buffer_alloc(bytes, col->mem);
    col->data_used = 0;
}

/* A place for a string longer than a view holds: never across two buffers. */
static uint8_t *place_long(struct weir_column_builder *col, struct weir_strview *view, uint32_t len)
{
    struct weir_column *built = &col->col;
    if (built->ndata == 0 || built->data[built->ndata - 1]->bytes - col->data_used < len) {
        size_t bytes = built->ndata >= 8 ? DATA_BUFFER_BYTES_MAX : (size_t)DATA_BUFFER_BYTES_MIN << built->ndata;
        add_data_buffer(col, bytes < len ? len : bytes);
    }
    uint8_t *to = built->data[built->ndata - 1]->data + col->data_used;
    view->len = len;
    view->u.ref.buffer = built->ndata - 1;
    view->u.ref.offset = col->data_used;
    col->data_used += len;
    return to;
}

_Static_assert((DATA_BUFFER_BYTES_MIN << 8) == DATA_BUFFER_BYTES_MAX, "eight doublings");
_Static_assert(WEIR_RECORD_BYTES_MAX < INT32_MAX, "an offset in a data buffer is 32 bits");

/* A view of up to 12 bytes. Its text is put together in registers: in memory, the wide load behind the narrow stores would stall. */
static void put_inline(struct weir_strview *view, const uint8_t *data, uint32_t len)
{
    uint64_t front = 0; /* the first eight bytes, little endian */
    uint32_t head = 0;
    uint32_t tail = 0;
    uint32_t back = 0;
    if (len >= 8) {
        memcpy(&front, data, 8);
        memcpy(&tail, data + len - 4, 4);
        back = (uint32_t)((uint64_t)tail >> (8 * (INLINE_MAX - len)));
    } else if (len >= 4) {
        memcpy(&head, data, 4);
        memcpy(&tail, data + len - 4, 4);
        front = head | (uint64_t)tail << (8 * (len - 4));
    } else if (len > 0) {
        front = data[0] | (uint64_t)data[len / 2] << (8 * (len / 2)) | (uint64_t)data[len - 1] << (8 * (len - 1));
    }
    view->len = len;
    memcpy(view->u.inlined, &front, 8);
    memcpy(view->u.inlined + 8, &back, 4);
}

static void put_view(struct weir_column_builder *col, struct weir_strview *view, const uint8_t *data, uint32_t len)
{
    if (len <= INLINE_MAX) {
        put_inline(view, data, len);
    } else {
        memcpy(place_long(col, view, len), data, len);
        memcpy(view->u.ref.prefix, data, sizeof(view->u.ref.prefix));
    }
}

static struct weir_strview *view_at(struct weir_column_builder *col, uint32_t row)
{
    weir_dassert(weir_type_is_string(col->type.id));
    weir_dassert((row + 1) * sizeof(struct weir_strview) <= col->col.values->bytes);
    return (struct weir_strview *)(void *)col->values + row;
}

/* --- gathering ------------------------------------------------------------------------------------------------------ */

struct two_words {
    uint64_t word[2];
};

#define GATHER(c_type)                                                                   \
    do {                                                                                 \
        const c_type *restrict src = (const c_type *)(const void *)from;                 \
        c_type *restrict dst = (c_type *)(void *)to;                                     \
        for (uint32_t i = 0; i < count; i++) {                                           \
            dst[i] = src[rows[i]];                                                       \
        }                                                                                \
    } while (0)

static void gather_fixed(uint8_t *to, const uint8_t *from, uint32_t width, const uint16_t *rows, uint32_t count)
{
    if (width == 8) {
        GATHER(uint64_t);
    } else if (width == 4) {
        GATHER(uint32_t);
    } else if (width == 16) {
        GATHER(struct two_words);
    } else if (width == 2) {
        GATHER(uint16_t);
    } else {
        weir_assert(width == 1);
        GATHER(uint8_t);
    }
}

static void gather_bits(uint8_t *to, const uint8_t *from, const uint16_t *rows, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = rows[i];
        unsigned bit = (unsigned)from[row >> 3] >> (row & 7) & 1u;
        to[i >> 3] = (uint8_t)(to[i >> 3] | bit << (i & 7));
    }
}

/* Copies the bytes too, so that the new batch does not pin large buffers. What lies under a NULL is not followed. */
static void gather_strings(struct weir_column *out, const struct weir_column *from, const uint16_t *rows, uint32_t count,
                           struct weir_mem *mem)
{
    const struct weir_strview *views = WEIR_COLUMN_VALUES(from, const struct weir_strview);
    struct weir_column_builder made = {.type = from->type, .values = out->values->data, .col = *out, .mem = mem};
    struct weir_strview *to = WEIR_COLUMN_VALUES(out, struct weir_strview);
    size_t long_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool valid = !weir_column_is_null(from, rows[i]);
        if (valid && views[rows[i]].len <= INLINE_MAX) {
            to[i] = views[rows[i]];
        } else if (valid) {
            long_bytes += views[rows[i]].len;
        }
    }
    if (long_bytes > 0) {
        add_data_buffer(&made, long_bytes < WEIR_RECORD_BYTES_MAX ? long_bytes : WEIR_RECORD_BYTES_MAX);
        for (uint32_t i = 0; i < count; i++) {
            if (views[rows[i]].len > INLINE_MAX && !weir_column_is_null(from, rows[i])) {
                struct weir_slice s = weir_column_slice(from, rows[i]);
                put_view(&made, &to[i], s.data, (uint32_t)s.len);
            }
        }
        zero_padding(made.col.data[made.col.ndata - 1], made.data_used);
    }
    *out = made.col;
}

static struct weir_column gather_column(const struct weir_column *from, const uint16_t *rows, uint32_t count,
                                        struct weir_mem *mem)
{
    struct weir_column out = {.type = from->type};
    enum weir_type_id id = from->type.id;
    size_t bytes = values_bytes(id, count);
    if (id == WEIR_TYPE_BOOLEAN || weir_type_is_string(id)) {
        out.values = weir_buffer_create(bytes, mem);
    } else {
        out.values = buffer_alloc(bytes, mem);
        zero_padding(out.values, bytes);
    }
    if (id == WEIR_TYPE_BOOLEAN) {
        gather_bits(out.values->data, from->values->data, rows, count);
    } else if (weir_type_is_string(id)) {
        gather_strings(&out, from, rows, count, mem);
    } else {
        gather_fixed(out.values->data, from->values->data, weir_type_width(id), rows, count);
    }
    if (from->validity != NULL) {
        out.validity = weir_buffer_create(weir_bitmap_bytes(count), mem);
        gather_bits(out.validity->data, from->validity->data, rows, count);
        if (weir_bitmap_count(out.validity->data, count) == count) {
            weir_buffer_unref(out.validity);
            out.validity = NULL;
        }
    }
    return out;
}

static struct weir_buffer *gather_kinds(const struct weir_batch *batch, const uint16_t *rows, uint32_t count)
{
    const uint8_t *from = weir_batch_kinds(batch);
    if (from == NULL) {
        return NULL;
    }
    struct weir_buffer *kinds = weir_buffer_create(count, batch->mem);
    uint8_t seen = 0;
    for (uint32_t i = 0; i < count; i++) {
        kinds->data[i] = from[rows[i]];
        seen |= kinds->data[i];
    }
    if (seen == WEIR_INSERT) {
        weir_buffer_unref(kinds);
        return NULL;
    }
    return kinds;
}

/* --- batches -------------------------------------------------------------------------------------------------------- */

/* A batch with room for its columns behind it; takes sel and row_kinds. */
static struct weir_batch *batch_alloc(const struct weir_schema *schema, uint32_t nrows, struct weir_buffer *sel, uint32_t nsel,
                                      struct weir_buffer *row_kinds, struct weir_mem *mem)
{
    weir_assert(nrows <= WEIR_BATCH_ROWS_MAX);
    weir_assert(row_kinds == NULL || row_kinds->bytes >= nrows);
    weir_assert(sel == NULL || sel->bytes >= nsel * sizeof(uint16_t));
    uint32_t ncols = weir_schema_count(schema);
    struct weir_batch *batch = weir_malloc(sizeof(*batch) + ncols * sizeof(struct weir_column));
    atomic_init(&batch->refs, 1);
    batch->nrows = nrows;
    batch->ncols = ncols;
    batch->nsel = sel == NULL ? 0 : nsel;
    batch->sel = sel;
    batch->row_kinds = row_kinds;
    batch->schema = weir_schema_ref(schema);
    batch->cols = (struct weir_column *)(void *)(batch + 1);
    batch->mem = mem;
    return batch;
}

static bool selection_is_ascending(const struct weir_batch *batch)
{
    const uint16_t *sel = weir_batch_sel(batch);
    for (uint32_t i = 0; sel != NULL && i < batch->nsel; i++) {
        if (sel[i] >= batch->nrows || (i > 0 && sel[i] <= sel[i - 1])) {
            return false;
        }
    }
    return true;
}

struct weir_batch *weir_batch_make_take(const struct weir_schema *schema, const struct weir_column *cols, uint32_t nrows,
                                        struct weir_buffer *sel, uint32_t nsel, struct weir_buffer *row_kinds,
                                        struct weir_mem *mem)
{
    struct weir_batch *batch = batch_alloc(schema, nrows, sel, nsel, row_kinds, mem);
    for (uint32_t i = 0; i < batch->ncols; i++) {
        struct weir_type type = weir_schema_field(schema, i)->type;
        weir_assert(cols[i].type.id == type.id);
        weir_assert(cols[i].type.scale == type.scale);
        weir_assert(cols[i].values->bytes >= values_bytes(type.id, nrows));
        weir_assert(cols[i].validity == NULL || cols[i].validity->bytes >= weir_bitmap_bytes(nrows));
        batch->cols[i] = cols[i];
        batch->cols[i].type = type;
    }
    weir_dassert(selection_is_ascending(batch));
    return batch;
}

struct weir_batch *weir_batch_ref(struct weir_batch *batch)
{
    uint32_t before = atomic_fetch_add_explicit(&batch->refs, 1, memory_order_relaxed);
    weir_assert(before > 0);
    return batch;
}

void weir_batch_unref(struct weir_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    uint32_t before = atomic_fetch_sub_explicit(&batch->refs, 1, memory_order_acq_rel);
    weir_assert(before > 0);
    if (before > 1) {
        return;
    }
    for (uint32_t i = 0; i < batch->ncols; i++) {
        weir_column_unref(&batch->cols[i]);
    }
    weir_buffer_unref(batch->sel);
    weir_buffer_unref(batch->row_kinds);
    weir_schema_unref(batch->schema);
    weir_free(batch);
}

static size_t buffer_bytes(const struct weir_buffer *buffer)
{
    return buffer == NULL ? 0 : buffer->bytes;
}

size_t weir_batch_bytes(const struct weir_batch *batch)
{
    size_t bytes = buffer_bytes(batch->sel) + buffer_bytes(batch->row_kinds);
    for (uint32_t i = 0; i < batch->ncols; i++) {
        const struct weir_column *col = &batch->cols[i];
        bytes += buffer_bytes(col->validity) + buffer_bytes(col->values);
        for (uint32_t j = 0; j < col->ndata; j++) {
            bytes += buffer_bytes(col->data[j]);
        }
    }
    return bytes;
}

/* The same columns under another selection or none; takes sel. */
static struct weir_batch *share_columns(const struct weir_batch *batch, struct weir_buffer *sel, uint32_t nsel)
{
    struct weir_batch *shared =
        batch_alloc(batch->schema, batch->nrows, sel, nsel, weir_buffer_ref(batch->row_kinds), batch->mem);
    for (uint32_t i = 0; i < batch->ncols; i++) {
        shared->cols[i] = weir_column_ref(&batch->cols[i]);
    }
    return shared;
}

struct weir_batch *weir_batch_select_take(const struct weir_batch *batch, struct weir_buffer *sel, uint32_t nsel)
{
    weir_assert(sel != NULL);
    weir_assert(nsel <= batch->nrows);
    struct weir_batch *selected = share_columns(batch, sel, nsel);
    weir_dassert(selection_is_ascending(selected));
    return selected;
}

struct weir_batch *weir_batch_compact(struct weir_batch *batch)
{
    if (batch->sel == NULL) {
        return weir_batch_ref(batch);
    }
    if (batch->nsel == batch->nrows) {
        return share_columns(batch, NULL, 0);
    }
    return weir_batch_gather(batch, weir_batch_sel(batch), batch->nsel);
}

struct weir_batch *weir_batch_gather(const struct weir_batch *batch, const uint16_t *rows, uint32_t count)
{
    weir_assert(count <= WEIR_BATCH_ROWS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        weir_dassert(rows[i] < batch->nrows);
    }
    struct weir_batch *out = batch_alloc(batch->schema, count, NULL, 0, gather_kinds(batch, rows, count), batch->mem);
    for (uint32_t i = 0; i < batch->ncols; i++) {
        out->cols[i] = gather_column(&batch->cols[i], rows, count, batch->mem);
    }
    return out;
}

/* --- building ------------------------------------------------------------------------------------------------------- */

void weir_batch_builder_init(struct weir_batch_builder *builder, const struct weir_schema *schema, uint32_t nrows_max,
                             struct weir_mem *mem)
{
    weir_assert(nrows_max > 0);
    weir_assert(nrows_max <= WEIR_BATCH_ROWS_MAX);
    *builder = (struct weir_batch_builder){
        .schema = weir_schema_ref(schema), .ncols = weir_schema_count(schema), .nrows_max = nrows_max, .mem = mem};
    builder->cols = weir_calloc(builder->ncols, sizeof(builder->cols[0]));
    for (uint32_t i = 0; i < builder->ncols; i++) {
        struct weir_column_builder *col = &builder->cols[i];
        col->type = weir_schema_field(schema, i)->type;
        col->mem = mem;
        col->col.type = col->type;
        col->col.values = weir_buffer_create(values_bytes(col->type.id, nrows_max), mem);
        col->col.validity = buffer_alloc(weir_bitmap_bytes(nrows_max), mem);
        memset(col->col.validity->data, 0xff, col->col.validity->bytes);
        col->values = col->col.values->data;
        col->validity = col->col.validity->data;
    }
}

void weir_batch_builder_fini(struct weir_batch_builder *builder)
{
    for (uint32_t i = 0; i < builder->ncols; i++) {
        weir_column_unref(&builder->cols[i].col);
    }
    weir_free(builder->cols);
    weir_buffer_unref(builder->row_kinds_buffer);
    weir_schema_unref(builder->schema);
    *builder = (struct weir_batch_builder){0};
}

/* Takes the first `used` bytes out of *held, which is afterwards full of `fill` again. A buffer that is mostly empty (a batch
 * flushed early) is copied, so that a batch of one row does not hold on to room for thousands. */
static struct weir_buffer *take_used(struct weir_buffer **held, size_t used, uint8_t fill, struct weir_mem *mem)
{
    struct weir_buffer *old = *held;
    if (used <= old->bytes / 4) {
        struct weir_buffer *copy = buffer_alloc(used, mem);
        memcpy(copy->data, old->data, used);
        zero_padding(copy, used);
        memset(old->data, fill, used);
        return copy;
    }
    *held = buffer_alloc(old->bytes, mem);
    memset((*held)->data, fill, (*held)->bytes);
    return old;
}

static struct weir_column finish_column(struct weir_column_builder *col, uint32_t nrows)
{
    struct weir_column done = {.type = col->type, .ndata = col->col.ndata, .data = col->col.data};
    if (done.ndata > 0) {
        zero_padding(done.data[done.ndata - 1], col->data_used);
    }
    done.values = take_used(&col->col.values, values_bytes(col->type.id, nrows), 0, col->mem);
    if (col->nulls > 0) {
        done.validity = take_used(&col->col.validity, weir_bitmap_bytes(nrows), 0xff, col->mem);
    }
    col->col.ndata = 0;
    col->col.data = NULL;
    col->data_used = 0;
    col->nulls = 0;
    col->values = col->col.values->data;
    col->validity = col->col.validity->data;
    return done;
}

struct weir_batch *weir_batch_builder_finish(struct weir_batch_builder *builder)
{
    weir_assert(builder->nrows <= builder->nrows_max);
    struct weir_batch *batch =
        batch_alloc(builder->schema, builder->nrows, NULL, 0, builder->row_kinds_buffer, builder->mem);
    for (uint32_t i = 0; i < builder->ncols; i++) {
        batch->cols[i] = finish_column(&builder->cols[i], builder->nrows);
    }
    bool empty = builder->nrows == 0;
    builder->nrows = 0;
    builder->row_kinds = NULL;
    builder->row_kinds_buffer = NULL;
    if (empty) { /* string bytes of rows that were undone go too */
        weir_batch_unref(batch);
        return NULL;
    }
    return batch;
}

size_t weir_batch_builder_bytes(const struct weir_batch_builder *builder)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < builder->ncols; i++) {
        const struct weir_column_builder *col = &builder->cols[i];
        bytes += values_bytes(col->type.id, builder->nrows) + col->data_used;
        for (uint32_t j = 0; j + 1 < col->col.ndata; j++) {
            bytes += col->col.data[j]->bytes;
        }
    }
    return bytes;
}

static void zero_value(struct weir_column_builder *col, uint32_t row)
{
    if (col->type.id == WEIR_TYPE_BOOLEAN) {
        weir_bitmap_clear(col->values, row);
    } else {
        uint32_t width = weir_type_width(col->type.id);
        memset(col->values + (size_t)row * width, 0, width);
    }
}

void weir_batch_builder_undo_row(struct weir_batch_builder *builder, uint32_t row)
{
    weir_assert(row < builder->nrows_max);
    for (uint32_t i = 0; i < builder->ncols; i++) {
        struct weir_column_builder *col = &builder->cols[i];
        if (!weir_bitmap_get(col->validity, row)) {
            weir_bitmap_set(col->validity, row);
            col->nulls--;
        }
        if (weir_type_is_string(col->type.id)) {
            const struct weir_strview *view = view_at(col, row);
            /* The last string written gives its room back: a run of bad records must not grow the buffers. */
            if (view->len > INLINE_MAX && view->u.ref.buffer + 1 == col->col.ndata &&
                view->u.ref.offset + view->len == col->data_used) {
                col->data_used = view->u.ref.offset;
            }
        }
        zero_value(col, row);
    }
    if (builder->row_kinds != NULL) {
        builder->row_kinds[row] = WEIR_INSERT;
    }
}

void weir_column_builder_put_null(struct weir_column_builder *col, uint32_t row)
{
    if (weir_bitmap_get(col->validity, row)) {
        weir_bitmap_clear(col->validity, row);
        col->nulls++;
        zero_value(col, row);
    }
}

void weir_column_builder_put_bool(struct weir_column_builder *col, uint32_t row, bool value)
{
    weir_dassert(col->type.id == WEIR_TYPE_BOOLEAN);
    weir_bitmap_put(col->values, row, value);
}

void weir_column_builder_put_str(struct weir_column_builder *col, uint32_t row, struct weir_slice s)
{
    weir_assert(s.len <= WEIR_RECORD_BYTES_MAX);
    put_view(col, view_at(col, row), s.data, (uint32_t)s.len);
}

uint8_t *weir_column_builder_reserve_str(struct weir_column_builder *col, uint32_t row, uint32_t len)
{
    weir_assert(len <= WEIR_RECORD_BYTES_MAX);
    struct weir_strview *view = view_at(col, row);
    if (len <= INLINE_MAX) {
        *view = (struct weir_strview){.len = len};
        return view->u.inlined;
    }
    return place_long(col, view, len);
}

void weir_column_builder_commit_str(struct weir_column_builder *col, uint32_t row)
{
    struct weir_strview *view = view_at(col, row);
    if (view->len > INLINE_MAX) {
        const uint8_t *data = col->col.data[view->u.ref.buffer]->data + view->u.ref.offset;
        memcpy(view->u.ref.prefix, data, sizeof(view->u.ref.prefix));
    }
}

void weir_column_builder_copy(struct weir_column_builder *col, uint32_t row, const struct weir_column *from, uint32_t from_row)
{
    weir_assert(col->type.id == from->type.id);
    if (weir_column_is_null(from, from_row)) {
        weir_column_builder_put_null(col, row);
    } else if (col->type.id == WEIR_TYPE_BOOLEAN) {
        weir_bitmap_put(col->values, row, weir_column_bool(from, from_row));
    } else if (weir_type_is_string(col->type.id)) {
        struct weir_slice s = weir_column_slice(from, from_row);
        put_view(col, view_at(col, row), s.data, (uint32_t)s.len);
    } else {
        uint32_t width = weir_type_width(col->type.id);
        memcpy(col->values + (size_t)row * width, from->values->data + (size_t)from_row * width, width);
    }
}

void weir_batch_builder_set_kind(struct weir_batch_builder *builder, uint32_t row, enum weir_row_kind kind)
{
    weir_assert(row < builder->nrows_max);
    if (builder->row_kinds == NULL) {
        if (kind == WEIR_INSERT) {
            return;
        }
        builder->row_kinds_buffer = weir_buffer_create(builder->nrows_max, builder->mem);
        builder->row_kinds = builder->row_kinds_buffer->data;
    }
    builder->row_kinds[row] = (uint8_t)kind;
}
