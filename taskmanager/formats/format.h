/*
 * Record formats: bytes to rows and back. A new format is one file with a `const struct weir_format` and one row in format.c's table;
 * its options stand in common/catalog.
 *
 * Both directions work on many records a call: nothing here is called per row.
 */
#ifndef WEIR_TASKMANAGER_FORMATS_FORMAT_H
#define WEIR_TASKMANAGER_FORMATS_FORMAT_H

#include "common/data/batch.h"
#include "common/plan/opspec.h"

struct weir_format;

struct weir_decoder {
    const struct weir_format *format;
};

struct weir_encoder {
    const struct weir_format *format;
};

struct weir_format {
    const char *name;

    /* A decoder into rows of table->schema; the table outlives it. INVALID: an option's value. */
    enum weir_rc (*decoder_create)(const struct weir_table_spec *table, struct weir_decoder **out_decoder, struct weir_error *err);
    void (*decoder_destroy)(struct weir_decoder *decoder);

    /*
     * Decodes records[0..count) to rows appended to the builder (nrows is advanced), in order, until done or the builder is full or holds
     * WEIR_BATCH_BYTES_MAX. *out_used is the number of records decoded. DATA: records[*out_used] is bad (its row was undone, those before
     * it are in the builder); err says what is wrong and where in the record ("column 17: expected a number for \"speed\", found ...").
     */
    enum weir_rc (*decode)(struct weir_decoder *decoder, const struct weir_slice *records, uint32_t count, struct weir_batch_builder *builder,
                           uint32_t *out_used, struct weir_error *err);

    enum weir_rc (*encoder_create)(const struct weir_table_spec *table, struct weir_encoder **out_encoder, struct weir_error *err);
    void (*encoder_destroy)(struct weir_encoder *encoder);

    /* Appends every logical row of the batch to out, each followed by `terminator` (a text of 0 or 1 bytes: "\n" for files). ends[i] (room
     * for the logical rows; may be NULL) receives out->len behind row i, terminator included. */
    enum weir_rc (*encode)(struct weir_encoder *encoder, const struct weir_batch *batch, const char *terminator, struct weir_buf *out,
                           size_t *ends, struct weir_error *err);
};

/* The format of that name, or NULL. Static; any thread. */
const struct weir_format *weir_format_find(const char *name);

#endif
