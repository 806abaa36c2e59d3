/*
 * Column batches in Apache Arrow's memory layout.
 *
 * I1  A batch has at most WEIR_BATCH_ROWS_MAX physical rows. Its logical rows are those named by the selection vector, in
 *     ascending order, or all of them when there is none.
 * I2  A batch is immutable once it has been handed on (sent, emitted, queued): from then on it is shared by reference, also
 *     between threads. Whoever wants something else makes a new batch, which may share columns.
 * I3  validity == NULL means that no value is NULL; else a bitmap, LSB first, 1 = valid. Values under an invalid bit are
 *     defined memory (zero) but meaningless.
 * I4  row_kinds == NULL means that all rows are +I.
 * I5  Buffers are 64-byte aligned and padded to 64 bytes with defined memory, so that kernels may read whole vectors.
 *
 * The struct is public to be read by kernels; it is written only through the builder and the make functions here.
 */
#ifndef WEIR_COMMON_DATA_BATCH_H
#define WEIR_COMMON_DATA_BATCH_H

#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/data/schema.h"

#include <stdatomic.h>

/* A reference-counted, accounted run of bytes. */
struct weir_buffer {
    _Atomic uint32_t refs;
    uint32_t reserved;
    size_t bytes;         /* capacity */
    struct weir_mem *mem; /* the account that was charged; may be NULL */
    uint8_t *data;        /* 64-byte aligned */
};

/* A buffer of `bytes` (rounded up to 64) zeroed bytes, charged to mem (NULL: to nobody) even over its limit: a batch being made must
 * be finished; who makes batches asks weir_mem_full before it starts one. */
struct weir_buffer *weir_buffer_create(size_t bytes, struct weir_mem *mem);
struct weir_buffer *weir_buffer_ref(struct weir_buffer *buffer); /* NULL stays NULL */
void weir_buffer_unref(struct weir_buffer *buffer);              /* accepts NULL */

struct weir_column {
    struct weir_type type;
    uint32_t ndata;              /* string columns: number of data buffers */
    struct weir_buffer *validity; /* see I3 */
    struct weir_buffer *values;
    struct weir_buffer **data;   /* string columns: what long views point into; ndata of them */
};

enum weir_row_kind { /* numbers on the wire; Flink's RowKind byte values */
    WEIR_INSERT = 0,
    WEIR_UPDATE_BEFORE = 1,
    WEIR_UPDATE_AFTER = 2,
    WEIR_DELETE = 3,
};

struct weir_batch {
    _Atomic uint32_t refs;
    uint32_t nrows;               /* physical rows */
    uint32_t ncols;
    uint32_t nsel;                /* logical rows when sel is set */
    struct weir_buffer *sel;      /* uint16_t[nsel], ascending; NULL = all rows */
    struct weir_buffer *row_kinds; /* uint8_t[nrows]; NULL = all +I */
    const struct weir_schema *schema;
    struct weir_column *cols;     /* ncols */
    struct weir_mem *mem;
};

struct weir_batch *weir_batch_ref(struct weir_batch *batch);
void weir_batch_unref(struct weir_batch *batch); /* accepts NULL */

/* Logical rows. */
static inline uint32_t weir_batch_rows(const struct weir_batch *batch)
{
    return batch->sel != NULL ? batch->nsel : batch->nrows;
}

static inline const uint16_t *weir_batch_sel(const struct weir_batch *batch)
{
    return batch->sel == NULL ? NULL : (const uint16_t *)(const void *)batch->sel->data;
}

static inline const uint8_t *weir_batch_kinds(const struct weir_batch *batch)
{
    return batch->row_kinds == NULL ? NULL : batch->row_kinds->data;
}

/* Bytes of all buffers the batch holds on to (shared ones are counted whole). */
size_t weir_batch_bytes(const struct weir_batch *batch);

/* A batch over columns (taken; each column's references move into the batch; `cols` itself is copied). schema is referenced. The
 * columns' types are the schema's. sel and row_kinds are taken and may be NULL. */
struct weir_batch *weir_batch_make_take(const struct weir_schema *schema, const struct weir_column *cols, uint32_t nrows,
                                        struct weir_buffer *sel, uint32_t nsel, struct weir_buffer *row_kinds,
                                        struct weir_mem *mem);

/* The same columns and rows with another selection (taken; indices of physical rows). */
struct weir_batch *weir_batch_select_take(const struct weir_batch *batch, struct weir_buffer *sel, uint32_t nsel);

/* A batch without a selection: the logical rows copied together, strings included. Returns a new reference to `batch` itself
 * when there is nothing to do. */
struct weir_batch *weir_batch_compact(struct weir_batch *batch);

/* The logical rows named by rows[0..count) (physical indices, any order, repeats allowed) copied into a new batch. */
struct weir_batch *weir_batch_gather(const struct weir_batch *batch, const uint16_t *rows, uint32_t count);

/* Columns. ref copies the struct with its references; unref drops them. */
struct weir_column weir_column_ref(const struct weir_column *col);
void weir_column_unref(struct weir_column *col);

static inline bool weir_column_is_null(const struct weir_column *col, uint32_t row)
{
    return col->validity != NULL && (col->validity->data[row >> 3] >> (row & 7) & 1) == 0;
}

#define WEIR_COLUMN_VALUES(col, c_type) ((c_type *)(void *)(col)->values->data)

static inline bool weir_column_bool(const struct weir_column *col, uint32_t row)
{
    return (col->values->data[row >> 3] >> (row & 7) & 1) != 0;
}

/* The bytes of a string value; borrowed from the column. */
static inline struct weir_slice weir_column_slice(const struct weir_column *col, uint32_t row)
{
    const struct weir_strview *view = WEIR_COLUMN_VALUES(col, const struct weir_strview) + row;
    return view->len <= sizeof(view->u.inlined) ? weir_slice(view->u.inlined, view->len)
                                                : weir_slice(col->data[view->u.ref.buffer]->data + view->u.ref.offset, view->len);
}

/*
 * Building a batch: append rows column by column. Fixed-width values are written straight into `values`; strings through
 * put_str. A builder is one thread's.
 */
struct weir_column_builder {
    struct weir_type type;
    uint8_t *values;      /* nrows_max values; zeroed */
    uint8_t *validity;    /* all ones until put_null; always there while building */
    uint32_t nulls;
    struct weir_column col; /* the column being built; internal */
    uint32_t data_used;   /* bytes used of the newest data buffer; internal */
    struct weir_mem *mem;
};

struct weir_batch_builder {
    const struct weir_schema *schema;
    struct weir_column_builder *cols; /* one per field */
    uint32_t ncols;
    uint32_t nrows;     /* rows completed; the caller increments after writing every column at index nrows */
    uint32_t nrows_max;
    uint8_t *row_kinds; /* NULL until set_kind is first called; internal */
    struct weir_buffer *row_kinds_buffer;
    struct weir_mem *mem;
};

/* nrows_max <= WEIR_BATCH_ROWS_MAX. The schema is referenced. Buffers are charged to mem. */
void weir_batch_builder_init(struct weir_batch_builder *builder, const struct weir_schema *schema, uint32_t nrows_max,
                             struct weir_mem *mem);
void weir_batch_builder_fini(struct weir_batch_builder *builder); /* drops what was not finished; accepts {0} */

/* The finished batch of nrows rows (validity is dropped where nothing is NULL); the builder is empty again with fresh buffers on
 * its next use. NULL when nrows is 0. */
struct weir_batch *weir_batch_builder_finish(struct weir_batch_builder *builder);

/* Bytes held by rows so far: who builds flushes at WEIR_BATCH_BYTES_MAX. */
size_t weir_batch_builder_bytes(const struct weir_batch_builder *builder);

/* Forgets what was written to row `row` of every column (a record that turned out bad): NULL bits are set back to valid. */
void weir_batch_builder_undo_row(struct weir_batch_builder *builder, uint32_t row);

void weir_column_builder_put_null(struct weir_column_builder *col, uint32_t row);
void weir_column_builder_put_bool(struct weir_column_builder *col, uint32_t row, bool value);
/* Copies the bytes. s.len <= WEIR_RECORD_BYTES_MAX. */
void weir_column_builder_put_str(struct weir_column_builder *col, uint32_t row, struct weir_slice s);
/* Room for a string of exactly len bytes that the caller writes before the next call (decoders unescape in place). */
uint8_t *weir_column_builder_reserve_str(struct weir_column_builder *col, uint32_t row, uint32_t len);
/* After writing a long string through reserve_str: fills the view's prefix. Must be called for every reserve_str. */
void weir_column_builder_commit_str(struct weir_column_builder *col, uint32_t row);
/* Copies value `from_row` of a column of the same type, NULL or not. */
void weir_column_builder_copy(struct weir_column_builder *col, uint32_t row, const struct weir_column *from, uint32_t from_row);

void weir_batch_builder_set_kind(struct weir_batch_builder *builder, uint32_t row, enum weir_row_kind kind);

#endif
