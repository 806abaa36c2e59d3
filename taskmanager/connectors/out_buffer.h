/*
 * Two buffers between rows and a slow output: one is filled on the task's thread while the other is written by the executor.
 *
 * A sink embeds it; `write` runs off-thread and sees only what begin handed over.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_OUT_BUFFER_H
#define WEIR_TASKMANAGER_CONNECTORS_OUT_BUFFER_H

#include "taskmanager/connectors/connector.h"

enum { WEIR_OUT_BUFFER_BYTES = 256 << 10 };

struct weir_out_buffer {
    const struct weir_conn_ctx *ctx;
    struct weir_buf fill;    /* rows so far */
    struct weir_buf writing; /* off-thread while work.in_flight */
    size_t charged_bytes;
    struct weir_work work;
    enum weir_rc rc;         /* of the last run; once it failed, it stays */
    struct weir_error err;
};

static inline void weir__out_buffer_init(struct weir_out_buffer *buffer, const struct weir_conn_ctx *ctx, void (*run)(struct weir_work *work),
                                         void (*done)(struct weir_work *work))
{
    *buffer = (struct weir_out_buffer){.ctx = ctx, .work = {.run = run, .done = done}};
}

static inline void weir__out_buffer_fini(struct weir_out_buffer *buffer)
{
    weir_assert(!buffer->work.in_flight);
    weir_buf_fini(&buffer->fill);
    weir_buf_fini(&buffer->writing);
    weir_mem_uncharge(buffer->ctx->mem, buffer->charged_bytes);
}

/* Room for another batch: the buffer being filled is not yet large, or the other one is free. */
static inline bool weir__out_buffer_has_room(const struct weir_out_buffer *buffer)
{
    return buffer->fill.len < WEIR_OUT_BUFFER_BYTES || !buffer->work.in_flight;
}

/* Keeps the account in step with what the buffers hold; after fill grew. */
static inline void weir__out_buffer_charge(struct weir_out_buffer *buffer)
{
    size_t held = buffer->work.in_flight ? buffer->charged_bytes : buffer->fill.cap + buffer->writing.cap;
    if (held > buffer->charged_bytes) {
        weir_mem_charge(buffer->ctx->mem, held - buffer->charged_bytes);
        buffer->charged_bytes = held;
    }
}

/* Hands what is filled to `run`. Nothing is in flight. */
static inline void weir__out_buffer_begin(struct weir_out_buffer *buffer)
{
    struct weir_buf written = buffer->writing;
    weir_buf_clear(&written);
    buffer->writing = buffer->fill;
    buffer->fill = written;
    weir_executor_submit(buffer->ctx->executor, &buffer->work);
}

#endif
