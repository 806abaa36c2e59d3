/*
 * The sink "print": rows as lines on standard output, as Flink's print connector writes them:
 *
 *     +I[a, 1, null]              one subtask, no identifier
 *     prefix> -U[a, 1, null]      one subtask
 *     prefix:2> +U[a, 1, null]    the second of several subtasks; without identifier "2> "
 *
 * At least once: a checkpoint waits until the rows before it are written out, so that none is lost; the rows behind the last checkpoint are
 * printed again after a failure, since a line printed cannot be taken back. There is no state.
 */
#include "taskmanager/connectors/conn_registry.h"

#include "common/data/value.h"
#include "taskmanager/connectors/out_buffer.h"

#include <errno.h>
#include <unistd.h>

struct print {
    struct weir_sink base;
    struct weir_out_buffer out;
    char *prefix;
};

static struct print *print_of(struct weir_work *work)
{
    return (struct print *)((char *)work - offsetof(struct print, out.work));
}

static void run(struct weir_work *work)
{
    struct print *print = print_of(work);
    struct weir_slice rest = weir_buf_slice(&print->out.writing);
    while (rest.len > 0) {
        ssize_t wrote = write(STDOUT_FILENO, rest.data, rest.len);
        if (wrote < 0 && errno != EINTR) {
            print->out.rc = weir_error_errno(&print->out.err, WEIR_IO, errno, "table %s: cannot write to standard output",
                                             print->out.ctx->table->name);
            return;
        }
        size_t step = wrote < 0 ? 0 : (size_t)wrote;
        rest = weir_slice(rest.data + step, rest.len - step);
    }
}

static void done(struct weir_work *work)
{
    struct print *print = print_of(work);
    if (print->out.rc == WEIR_OK && print->out.fill.len > 0) {
        weir__out_buffer_begin(&print->out);
    }
    print->out.ctx->wake(print->out.ctx->wake_ctx);
}

static enum weir_rc create(const struct weir_conn_ctx *ctx, struct weir_sink **out_sink, struct weir_error *err)
{
    (void)err;
    struct print *print = weir_calloc(1, sizeof(*print));
    const char *identifier = weir_table_option(ctx->table, "print-identifier");
    bool named = identifier != NULL && identifier[0] != '\0';
    print->base.vtable = &weir__print_sink;
    weir__out_buffer_init(&print->out, ctx, run, done);
    print->prefix = ctx->parallelism > 1 ? weir_strfmt("%s%s%u> ", named ? identifier : "", named ? ":" : "", ctx->subtask + 1)
                    : named              ? weir_strfmt("%s> ", identifier)
                                         : weir_strdup("");
    *out_sink = &print->base;
    return WEIR_OK;
}

static void destroy(struct weir_sink *sink)
{
    struct print *print = (struct print *)sink;
    if (print != NULL) {
        weir__out_buffer_fini(&print->out);
        weir_free(print->prefix);
        weir_free(print);
    }
}

static void put_row(struct print *print, const struct weir_batch *batch, uint32_t row)
{
    static const char *const kinds[] = {"+I[", "-U[", "+U[", "-D["};
    const uint8_t *row_kinds = weir_batch_kinds(batch);
    struct weir_buf *out = &print->out.fill;
    weir_buf_put_str(out, print->prefix);
    weir_buf_put_str(out, kinds[row_kinds == NULL ? WEIR_INSERT : row_kinds[row]]);
    for (uint32_t i = 0; i < batch->ncols; i++) {
        struct weir_value value = weir_value_get(&batch->cols[i], row);
        weir_buf_put_str(out, i > 0 ? ", " : "");
        if (value.is_null) {
            weir_buf_put_str(out, "null");
        } else {
            weir_value_format(&value, out);
        }
    }
    weir_buf_put_str(out, "]\n");
}

static enum weir_rc write_batch(struct weir_sink *sink, const struct weir_batch *batch, struct weir_error *err)
{
    struct print *print = (struct print *)sink;
    if (!weir__out_buffer_has_room(&print->out)) {
        return WEIR_AGAIN;
    }
    if (!print->out.work.in_flight && print->out.rc != WEIR_OK) {
        *err = print->out.err;
        return print->out.rc;
    }
    const uint16_t *sel = weir_batch_sel(batch);
    for (uint32_t i = 0, rows = weir_batch_rows(batch); i < rows; i++) {
        put_row(print, batch, sel == NULL ? i : sel[i]);
    }
    weir__out_buffer_charge(&print->out);
    if (!print->out.work.in_flight && print->out.fill.len > 0) {
        weir__out_buffer_begin(&print->out);
    }
    return WEIR_OK;
}

static enum weir_rc finish(struct weir_sink *sink, struct weir_error *err)
{
    struct print *print = (struct print *)sink;
    if (print->out.work.in_flight) {
        return WEIR_AGAIN; /* done writes out the rest */
    }
    if (print->out.rc != WEIR_OK) {
        *err = print->out.err;
    }
    return print->out.rc;
}

static enum weir_rc prepare(struct weir_sink *sink, uint64_t checkpoint, struct weir_buf *out, struct weir_error *err)
{
    (void)checkpoint;
    (void)out;
    return finish(sink, err);
}

const struct weir_sink_vtable weir__print_sink = {
    .connector = "print",
    .create = create,
    .destroy = destroy,
    .write = write_batch,
    .finish = finish,
    .prepare = prepare,
};
