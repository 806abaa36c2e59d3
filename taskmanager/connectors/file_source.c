/*
 * The source "filesystem": the lines of a file, or of the files of a directory in byte order of their names. Names that begin with `.` or `_`
 * or end with `.inprogress` are not read.
 *
 * F1  A split is a byte range [start, end) of a file and owns the lines that START in it; files are cut every FILE_RANGE_BYTES. A reader of a
 *     later range therefore begins one byte early and drops everything up to the first newline.
 * F2  A split's position is the offset of the first line that was not handed out, the number of lines before it, and whether that line is to
 *     be dropped.
 * F3  A last line without newline counts. What is appended to a file while it is read may or may not be seen.
 * F4  Splits are read one after the other. One read is in flight at a time; while it is, the other chunk is decoded.
 */
#include "taskmanager/connectors/conn_registry.h"

#include "common/base/assert.h"
#include "common/catalog/connector_desc.h"
#include "taskmanager/connectors/records.h"

#include <stdio.h>

enum { CHUNK_BYTES = 512 << 10, CHUNKS = 2, FILE_RANGE_BYTES = 64 << 20, LINES_MAX = 1024, MEM_FULL_WAIT_MS = 10 };

struct file_split {
    char *path;
    uint64_t start, end; /* UINT64_MAX: to the end of the file */
    uint64_t offset;     /* of the next line to hand out */
    uint64_t line;       /* lines before it, since start */
    bool dropping;       /* what is at offset, up to the next newline, is not to be handed out: the line before the range, or the rest of one
                          * that is too long */
    bool finished;
};

struct chunk {
    uint8_t *data;
    size_t bytes;
    bool full; /* holds bytes to be decoded */
    bool last; /* the file ends with it */
};

struct file_source {
    struct weir_source base;
    const struct weir_conn_ctx *ctx;
    struct weir_records *records;
    struct weir_batch_builder builder;
    struct file_split *splits;
    uint32_t nsplits;
    uint32_t current;

    /* The read in flight; the pool's thread touches nothing else while work.in_flight. */
    struct weir_work work;
    struct weir_fs_file *file;
    const char *read_path;
    uint64_t read_offset;
    enum weir_rc read_rc;
    struct weir_error read_err;

    struct chunk chunks[CHUNKS];
    uint32_t filling;   /* the chunk that is read into, or will be next */
    uint32_t decoding;  /* the chunk that is decoded, or will be next */
    size_t decoded;     /* bytes of it that are done */
    bool opened;        /* the current split is being read */
    bool read_last;     /* no more reads: the end of the file is in a chunk */
    struct weir_buf carry; /* the beginning of a line that goes on in the next chunk */
    bool carry_whole;   /* carry is a line that waits for room in the builder */
    bool carry_newline; /* and had a newline */
    struct weir_slice lines[LINES_MAX];
};

/* --- enumeration ----------------------------------------------------------------------------------------------------- */

static bool is_data_file(const char *name)
{
    static const char suffix[] = ".inprogress";
    size_t len = strlen(name);
    return name[0] != '.' && name[0] != '_' && (len < sizeof(suffix) - 1 || strcmp(name + len - (sizeof(suffix) - 1), suffix) != 0);
}

static void add_file(const char *path, uint64_t bytes, void (*add)(void *add_ctx, struct weir_split split), void *add_ctx)
{
    for (uint64_t start = 0; start < bytes; start += FILE_RANGE_BYTES) {
        struct weir_buf id = {0};
        struct weir_buf data = {0};
        weir_buf_put_fmt(&id, "%s@%llu", path, (unsigned long long)start);
        weir_buf_put_u64(&data, start);
        weir_buf_put_u64(&data, bytes - start <= FILE_RANGE_BYTES ? UINT64_MAX : start + FILE_RANGE_BYTES);
        weir_buf_put_str(&data, path);
        add(add_ctx, (struct weir_split){.id = weir_buf_slice(&id), .data = weir_buf_slice(&data)});
        weir_buf_fini(&id);
        weir_buf_fini(&data);
    }
}

static enum weir_rc enumerate(const struct weir_table_spec *table, uint32_t parallelism, struct weir_fs *fs,
                              void (*add)(void *add_ctx, struct weir_split split), void *add_ctx, struct weir_error *err)
{
    (void)parallelism;
    const char *path = weir_table_option(table, "path");
    struct weir_fs_names names = {0};
    struct weir_fs_stat stat;
    if (path == NULL) {
        return weir_error_set(err, WEIR_INVALID, "table %s: the option \"path\" is missing", table->name);
    }
    enum weir_rc rc = weir_fs_stat(fs, path, &stat, err);
    if (rc == WEIR_OK && !stat.is_dir) {
        add_file(path, stat.bytes, add, add_ctx);
    } else if (rc == WEIR_OK) {
        rc = weir_fs_names_read(fs, path, &names, err);
    }
    for (size_t i = 0; i < names.len && rc == WEIR_OK; i++) {
        if (!names.items[i].is_dir && is_data_file(names.items[i].name)) {
            char *file = weir_strfmt("%s/%s", path, names.items[i].name);
            rc = weir_fs_stat(fs, file, &stat, err);
            if (rc == WEIR_OK) {
                add_file(file, stat.bytes, add, add_ctx);
            }
            weir_free(file);
        }
    }
    weir_fs_names_fini(&names);
    return rc == WEIR_OK ? WEIR_OK : weir_error_prefix(err, "table %s", table->name);
}

/* --- reading --------------------------------------------------------------------------------------------------------- */

static void read_run(struct weir_work *work)
{
    struct file_source *source = (struct file_source *)((char *)work - offsetof(struct file_source, work));
    struct chunk *chunk = &source->chunks[source->filling];
    source->read_rc = WEIR_OK;
    if (source->file == NULL) {
        source->read_rc = weir_fs_open(source->ctx->fs, source->read_path, WEIR_FS_READ, &source->file, &source->read_err);
    }
    if (source->read_rc == WEIR_OK) {
        source->read_rc = weir_fs_pread(source->file, source->read_offset, chunk->data, CHUNK_BYTES, &chunk->bytes, &source->read_err);
    }
}

static void read_done(struct weir_work *work)
{
    struct file_source *source = (struct file_source *)((char *)work - offsetof(struct file_source, work));
    struct chunk *chunk = &source->chunks[source->filling];
    if (source->read_rc == WEIR_OK) {
        chunk->full = true;
        chunk->last = chunk->bytes < CHUNK_BYTES;
        source->read_last = chunk->last;
        source->read_offset += chunk->bytes;
        source->filling = (source->filling + 1) % CHUNKS;
    }
    source->ctx->wake(source->ctx->wake_ctx);
}

static void read_ahead(struct file_source *source)
{
    while (!source->work.in_flight && source->read_rc == WEIR_OK && !source->read_last && !source->chunks[source->filling].full) {
        weir_executor_submit(source->ctx->executor, &source->work);
    }
}

static void split_begin(struct file_source *source)
{
    struct file_split *split = &source->splits[source->current];
    source->opened = true;
    source->read_last = false;
    source->read_path = split->path;
    source->filling = 0;
    source->decoding = 0;
    source->decoded = 0;
    source->carry_whole = false;
    source->chunks[0].full = false;
    source->chunks[1].full = false;
    weir_buf_clear(&source->carry);
    source->read_offset = split->offset;
}

static void split_end(struct file_source *source)
{
    weir_assert(!source->work.in_flight);
    weir_fs_close(source->file);
    source->file = NULL;
    source->opened = false;
    source->current++;
}

/* --- lines ----------------------------------------------------------------------------------------------------------- */

static void position_format(void *ctx, uint32_t idx, char out[WEIR_RECORD_POSITION_MAX])
{
    const struct file_source *source = ctx;
    const struct file_split *split = &source->splits[source->current];
    if (split->start == 0) {
        (void)snprintf(out, WEIR_RECORD_POSITION_MAX, "%s: line %llu", split->path, (unsigned long long)(split->line + idx + 1));
        return;
    }
    uint64_t offset = split->offset;
    for (uint32_t i = 0; i < idx; i++) {
        offset += source->lines[i].len + 1;
    }
    (void)snprintf(out, WEIR_RECORD_POSITION_MAX, "%s: byte %llu", split->path, (unsigned long long)offset);
}

/* A line that is too long begins with `head`: skipped or an error. */
static enum weir_rc line_too_long(struct file_source *source, struct weir_slice head, struct weir_error *err)
{
    char position[WEIR_RECORD_POSITION_MAX];
    position_format(source, 0, position);
    (void)weir_error_set(err, WEIR_LIMIT, "the line is longer than record.bytes.max (%lld bytes)",
                         (long long)source->ctx->settings->record_bytes_max);
    return weir__records_bad(source->records, head, position, err);
}

static enum weir_rc decode_lines(struct file_source *source, uint32_t count, uint32_t *out_used, struct weir_error *err)
{
    struct weir_record_position position = {.format = position_format, .ctx = source};
    return weir__records_decode(source->records, source->lines, count, position, &source->builder, out_used, err);
}

/* Hands the line in carry to the decoder; it stays there while the builder has no room. */
static enum weir_rc decode_carry(struct file_source *source, struct weir_error *err)
{
    struct file_split *split = &source->splits[source->current];
    uint32_t used = 0;
    source->lines[0] = weir_buf_slice(&source->carry);
    enum weir_rc rc = decode_lines(source, 1, &used, err);
    source->carry_whole = rc == WEIR_OK && used == 0;
    if (rc == WEIR_OK && used == 1) {
        split->offset += source->carry.len + source->carry_newline;
        split->line++;
        weir_buf_clear(&source->carry);
    }
    return rc;
}

/* Drops up to and with the next newline. */
static void drop_line(struct file_source *source, const struct chunk *chunk)
{
    struct file_split *split = &source->splits[source->current];
    const uint8_t *at = chunk->data + source->decoded;
    const uint8_t *newline = memchr(at, '\n', chunk->bytes - source->decoded);
    size_t bytes = newline == NULL ? chunk->bytes - source->decoded : (size_t)(newline - at) + 1;
    source->decoded += bytes;
    split->offset += bytes;
    source->splits[source->current].dropping = newline == NULL;
}

/* Appends what is left of the chunk's first line to carry: the line goes on in the next chunk, or ends here. */
static enum weir_rc take_into_carry(struct file_source *source, const struct chunk *chunk, struct weir_error *err)
{
    const uint8_t *at = chunk->data + source->decoded;
    const uint8_t *newline = memchr(at, '\n', chunk->bytes - source->decoded);
    size_t bytes = newline == NULL ? chunk->bytes - source->decoded : (size_t)(newline - at);
    if (source->carry.len + bytes > (size_t)source->ctx->settings->record_bytes_max) {
        weir_buf_put(&source->carry, at, bytes < 64 ? bytes : 64);
        enum weir_rc rc = line_too_long(source, weir_buf_slice(&source->carry), err);
        struct file_split *split = &source->splits[source->current];
        split->offset += source->carry.len - (bytes < 64 ? bytes : 64);
        split->line++;
        weir_buf_clear(&source->carry);
        source->splits[source->current].dropping = true;
        return rc;
    }
    weir_buf_put(&source->carry, at, bytes);
    source->decoded += bytes + (newline != NULL);
    source->carry_newline = newline != NULL;
    return newline == NULL ? WEIR_OK : decode_carry(source, err);
}

/* Decodes the whole lines at the front of the chunk, as many as there are and have room. */
static enum weir_rc decode_chunk_lines(struct file_source *source, const struct chunk *chunk, struct weir_error *err)
{
    struct file_split *split = &source->splits[source->current];
    uint64_t offset = split->offset;
    size_t at = source->decoded;
    uint32_t count = 0;
    while (count < LINES_MAX && offset < split->end) {
        const uint8_t *line = chunk->data + at;
        const uint8_t *newline = memchr(line, '\n', chunk->bytes - at);
        size_t len = newline == NULL ? 0 : (size_t)(newline - line);
        if (newline == NULL || len > (size_t)source->ctx->settings->record_bytes_max) {
            break;
        }
        source->lines[count++] = weir_slice(line, len);
        at += len + 1;
        offset += len + 1;
    }
    if (count == 0) {
        return take_into_carry(source, chunk, err);
    }
    uint32_t used = 0;
    enum weir_rc rc = decode_lines(source, count, &used, err);
    for (uint32_t i = 0; rc == WEIR_OK && i < used; i++) {
        source->decoded += source->lines[i].len + 1;
        split->offset += source->lines[i].len + 1;
        split->line++;
    }
    return rc;
}

/* One step of decoding the chunk. *out_stuck: the builder is full. */
static enum weir_rc decode_step(struct file_source *source, struct chunk *chunk, bool *out_stuck, struct weir_error *err)
{
    struct file_split *split = &source->splits[source->current];
    uint32_t rows = source->builder.nrows;
    uint64_t offset = split->offset;
    enum weir_rc rc = WEIR_OK;
    bool at_end = source->decoded == chunk->bytes;
    if (source->carry_whole) {
        rc = decode_carry(source, err);
        *out_stuck = source->carry_whole;
        return rc;
    }
    if (source->carry.len == 0 && !source->splits[source->current].dropping && split->offset >= split->end) {
        split->finished = true;
    } else if (at_end && !chunk->last) {
        chunk->full = false;
        source->decoded = 0;
        source->decoding = (source->decoding + 1) % CHUNKS;
    } else if (at_end) {
        source->carry_newline = false;
        rc = source->carry.len > 0 ? decode_carry(source, err) : WEIR_OK;
        *out_stuck = source->carry_whole;
        split->finished = rc == WEIR_OK && !source->carry_whole;
    } else if (source->splits[source->current].dropping) {
        drop_line(source, chunk);
    } else if (source->carry.len > 0) {
        rc = take_into_carry(source, chunk, err);
        *out_stuck = source->carry_whole;
    } else {
        size_t before = source->decoded;
        rc = decode_chunk_lines(source, chunk, err);
        *out_stuck = source->builder.nrows == rows && split->offset == offset && source->decoded == before && !source->splits[source->current].dropping;
    }
    return rc;
}

/* --- the source ------------------------------------------------------------------------------------------------------ */

static void destroy(struct weir_source *base)
{
    struct file_source *source = (struct file_source *)base;
    if (source == NULL) {
        return;
    }
    weir_assert(!source->work.in_flight);
    weir_fs_close(source->file);
    for (uint32_t i = 0; i < source->nsplits; i++) {
        weir_free(source->splits[i].path);
    }
    for (uint32_t i = 0; i < CHUNKS; i++) {
        weir_free(source->chunks[i].data);
        weir_mem_uncharge(source->ctx->mem, CHUNK_BYTES);
    }
    weir_free(source->splits);
    weir_buf_fini(&source->carry);
    weir_batch_builder_fini(&source->builder);
    weir__records_destroy(source->records);
    weir_free(source);
}

static enum weir_rc create(const struct weir_conn_ctx *ctx, struct weir_source **out_source, struct weir_error *err)
{
    struct weir_records *records;
    enum weir_rc rc = weir__records_create(ctx, &records, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct file_source *source = weir_calloc(1, sizeof(*source));
    source->base.vtable = &weir__file_source;
    source->ctx = ctx;
    source->records = records;
    source->work.run = read_run;
    source->work.done = read_done;
    for (uint32_t i = 0; i < CHUNKS; i++) {
        weir_mem_charge(ctx->mem, CHUNK_BYTES);
        source->chunks[i].data = weir_malloc(CHUNK_BYTES);
    }
    weir_batch_builder_init(&source->builder, ctx->table->schema, WEIR_BATCH_ROWS_MAX, ctx->mem);
    *out_source = &source->base;
    return WEIR_OK;
}

static enum weir_rc add_split(struct weir_source *base, struct weir_split split, struct weir_slice position, uint32_t *out_split,
                              struct weir_error *err)
{
    struct file_source *source = (struct file_source *)base;
    struct weir_reader data = weir_reader(split.data);
    struct weir_reader at = weir_reader(position);
    struct file_split made = {.start = weir_read_u64(&data), .end = weir_read_u64(&data)};
    /* F1: a line that begins at `start` has its newline before it, at start - 1. */
    made.dropping = made.start > 0;
    made.offset = made.start - made.dropping;
    if (position.len > 0) {
        made.offset = weir_read_u64(&at);
        made.line = weir_read_u64(&at);
        made.dropping = weir_read_u8(&at) != 0;
    }
    bool damaged = data.failed || data.rest.len == 0 || made.start >= made.end || at.failed || at.rest.len != 0;
    if (damaged || memchr(data.rest.data, '\0', data.rest.len) != NULL) {
        return weir_error_set(err, WEIR_CORRUPT, "table %s: split %.*s or its position is damaged", source->ctx->table->name,
                              WEIR_SLICE_ARG(split.id));
    }
    made.path = weir_strndup(data.rest.data, data.rest.len);
    source->splits = weir_realloc(source->splits, (source->nsplits + 1) * sizeof(*source->splits));
    source->splits[source->nsplits] = made;
    *out_split = source->nsplits++;
    return WEIR_OK;
}

/* Fills the builder from the current split as far as it goes without waiting. */
static enum weir_rc advance(struct file_source *source, struct weir_error *err)
{
    bool stuck = false;
    while (!stuck && !source->splits[source->current].finished) {
        if (!source->work.in_flight && source->read_rc != WEIR_OK) { /* while it is, the pool's thread writes read_rc */
            *err = source->read_err;
            return weir_error_prefix(err, "table %s", source->ctx->table->name);
        }
        read_ahead(source);
        struct chunk *chunk = &source->chunks[source->decoding];
        if (!chunk->full) {
            if (source->work.in_flight || source->read_rc == WEIR_OK) {
                break;
            }
            continue;
        }
        enum weir_rc rc = decode_step(source, chunk, &stuck, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    return WEIR_OK;
}

static enum weir_rc poll(struct weir_source *base, struct weir_source_poll *out_poll, struct weir_error *err)
{
    struct file_source *source = (struct file_source *)base;
    out_poll->batch = NULL;
    out_poll->nruns = 0;
    out_poll->wait_ms = -1;
    if (weir_mem_full(source->ctx->mem)) {
        out_poll->wait_ms = MEM_FULL_WAIT_MS;
        return WEIR_AGAIN;
    }
    while (source->builder.nrows == 0) {
        if (source->current == source->nsplits) {
            return WEIR_END;
        }
        struct file_split *split = &source->splits[source->current];
        if (split->finished) {
            if (source->work.in_flight) {
                return WEIR_AGAIN;
            }
            split_end(source);
            continue;
        }
        if (!source->opened) {
            split_begin(source);
        }
        enum weir_rc rc = advance(source, err);
        if (rc != WEIR_OK) {
            return rc;
        }
        if (source->builder.nrows == 0 && !split->finished && !source->chunks[source->decoding].full) {
            return WEIR_AGAIN;
        }
    }
    out_poll->runs[0] = (struct weir_split_run){.split = source->current, .rows = source->builder.nrows};
    out_poll->nruns = 1;
    out_poll->wait_ms = 0;
    out_poll->batch = weir_batch_builder_finish(&source->builder);
    return WEIR_OK;
}

static void split_position(const struct weir_source *base, uint32_t split, struct weir_buf *out)
{
    const struct file_source *source = (const struct file_source *)base;
    weir_assert(split < source->nsplits);
    const struct file_split *of = &source->splits[split];
    weir_buf_put_u64(out, of->offset);
    weir_buf_put_u64(out, of->line);
    weir_buf_put_u8(out, of->dropping);
}

static bool split_finished(const struct weir_source *base, uint32_t split)
{
    const struct file_source *source = (const struct file_source *)base;
    weir_assert(split < source->nsplits);
    return source->splits[split].finished;
}

static bool bounded(const struct weir_table_spec *table)
{
    (void)table;
    return true;
}

const struct weir_source_vtable weir__file_source = {
    .connector = "filesystem",
    .bounded = bounded,
    .enumerate = enumerate,
    .create = create,
    .destroy = destroy,
    .add_split = add_split,
    .poll = poll,
    .split_position = split_position,
    .split_finished = split_finished,
};
