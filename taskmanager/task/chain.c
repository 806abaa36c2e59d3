#include "taskmanager/task/chain.h"

#include "common/base/assert.h"
#include "common/base/vec.h"

/* One operator with what waits for it. */
struct link {
    struct weir_op *op;
    struct weir_op_ctx ctx;
    struct weir_chain *chain;
    uint32_t index;
    bool busy;                 /* a hook said AGAIN */
    struct weir_batch *current; /* the batch process() was called with, while busy with it */
    struct weir_batch **inbox; /* FIFO: inbox[inbox_head .. inbox_len) */
    size_t inbox_head;
    size_t inbox_len;
    size_t inbox_cap;
    struct weir_buf state;     /* what the last barrier's snapshot wrote */
    bool background;           /* and is still writing */
    struct weir_slice restore; /* what RESTORE hands over */
};

/* How far the control event in flight has come at its operator. */
enum control_step { STEP_FLUSH, STEP_HOOK, STEP_PASS };

struct weir_chain {
    struct link *links;
    uint32_t nlinks;
    struct weir_writer *writer;
    enum weir_chain_control control; /* in flight, NONE otherwise */
    enum control_step step;
    uint32_t at; /* operator the control event is at; nlinks = the writer */
    int64_t value; /* of the control event: watermark or checkpoint */
    /* An error out of a nested emit, which cannot return it: taken up by the caller of the outermost hook. */
    bool failed;
    struct weir_error failure;
    /* The first error of a state's background part. */
    enum weir_rc state_rc;
    struct weir_error state_err;
};

static enum weir_rc deliver_take(struct weir_chain *chain, uint32_t index, uint32_t input, struct weir_batch *batch, struct weir_error *err);

static void chain_emit(void *emit_ctx, struct weir_batch *batch)
{
    const struct link *link = emit_ctx;
    struct weir_chain *chain = link->chain;
    if (chain->failed) {
        weir_batch_unref(batch);
        return;
    }
    if (deliver_take(chain, link->index + 1, 0, batch, &chain->failure) != WEIR_OK) {
        chain->failed = true;
    }
}

/* Room for a firing operator's next batch: nobody behind it is busy and the writer has room. */
static bool chain_output_ready(void *emit_ctx)
{
    const struct link *link = emit_ctx;
    const struct weir_chain *chain = link->chain;
    for (uint32_t i = link->index + 1; i < chain->nlinks; i++) {
        if (chain->links[i].busy || chain->links[i].inbox_head < chain->links[i].inbox_len) {
            return false;
        }
    }
    return chain->writer == NULL || weir_writer_ready(chain->writer);
}

static enum weir_rc open_link(struct weir_chain *chain, uint32_t index, const struct weir_opspec *spec, const struct weir_op_ctx *ctx,
                              struct weir_error *err)
{
    const struct weir_op_vtable *vtable = weir_op_find(spec->tag);
    if (vtable == NULL) {
        return weir_error_set(err, WEIR_UNSUPPORTED, "%s: this TaskManager has no operator for tag %u", spec->uid, (unsigned)spec->tag);
    }
    struct link *link = &chain->links[index];
    link->chain = chain;
    link->index = index;
    link->ctx = *ctx;
    link->ctx.conn.table = spec->tag == WEIR_OP_SINK ? spec->u.io.table : NULL;
    link->ctx.conn.uid = spec->uid;
    link->ctx.emit = chain_emit;
    link->ctx.output_ready = chain_output_ready;
    link->ctx.emit_ctx = link;
    link->op = weir_calloc(1, vtable->op_bytes);
    link->op->vtable = vtable;
    link->op->spec = spec;
    link->op->ctx = &link->ctx;
    return vtable->open(link->op, spec, err);
}

enum weir_rc weir_chain_open(const struct weir_opspec *const *ops, uint32_t nops, const struct weir_op_ctx *ctx, struct weir_writer *writer,
                             struct weir_chain **out_chain, struct weir_error *err)
{
    struct weir_chain *chain = weir_calloc(1, sizeof(*chain));
    chain->links = weir_calloc(nops, sizeof(*chain->links));
    chain->nlinks = nops;
    chain->writer = writer;
    for (uint32_t i = 0; i < nops; i++) {
        enum weir_rc rc = open_link(chain, i, ops[i], ctx, err);
        if (rc != WEIR_OK) {
            weir_chain_close(chain);
            return rc;
        }
    }
    *out_chain = chain;
    return WEIR_OK;
}

void weir_chain_close(struct weir_chain *chain)
{
    if (chain == NULL) {
        return;
    }
    for (uint32_t i = 0; i < chain->nlinks; i++) {
        struct link *link = &chain->links[i];
        if (link->op != NULL) {
            link->op->vtable->close(link->op);
            weir_free(link->op);
        }
        weir_batch_unref(link->current);
        for (size_t k = link->inbox_head; k < link->inbox_len; k++) {
            weir_batch_unref(link->inbox[k]);
        }
        weir_free(link->inbox);
        weir_buf_fini(&link->state);
    }
    weir_free(chain->links);
    weir_free(chain);
}

/* What a hook returned, with the failure of a nested emit taken up: OK, AGAIN (the link is busy) or an error. */
static enum weir_rc settle(struct weir_chain *chain, struct link *link, enum weir_rc rc, struct weir_error *err)
{
    if (rc == WEIR_OK && chain->failed) {
        *err = chain->failure;
        return chain->failure.rc;
    }
    link->busy = rc == WEIR_AGAIN;
    return rc;
}

static enum weir_rc process(struct weir_chain *chain, struct link *link, uint32_t input, struct weir_batch *batch_take,
                            struct weir_error *err)
{
    enum weir_rc rc = settle(chain, link, link->op->vtable->process(link->op, input, batch_take, err), err);
    if (rc == WEIR_AGAIN) {
        link->current = batch_take;
        return WEIR_OK;
    }
    weir_batch_unref(batch_take);
    return rc;
}

static enum weir_rc deliver_take(struct weir_chain *chain, uint32_t index, uint32_t input, struct weir_batch *batch, struct weir_error *err)
{
    if (index == chain->nlinks) {
        weir_assert(chain->writer != NULL);
        weir_writer_emit_take(chain->writer, batch);
        return WEIR_OK;
    }
    struct link *link = &chain->links[index];
    if (link->busy || link->inbox_head < link->inbox_len) {
        weir_assert(input == 0); /* only the head has other inputs, and it is fed when the chain is clear */
        link->inbox = weir_vec_grow(link->inbox, &link->inbox_cap, sizeof(*link->inbox), link->inbox_len + 1);
        link->inbox[link->inbox_len++] = batch;
        return WEIR_OK;
    }
    link->ctx.now_ms = chain->links[0].ctx.now_ms;
    return process(chain, link, input, batch, err);
}

/* Resumes one operator and feeds it its inbox, until it is busy again or has nothing left. */
static enum weir_rc pump_link(struct weir_chain *chain, struct link *link, struct weir_error *err)
{
    enum weir_rc rc = WEIR_OK;
    if (link->busy) {
        rc = settle(chain, link, link->op->vtable->resume(link->op, err), err);
        if (rc == WEIR_AGAIN) {
            return WEIR_OK;
        }
        weir_batch_unref(link->current);
        link->current = NULL;
    }
    while (rc == WEIR_OK && !link->busy && link->inbox_head < link->inbox_len) {
        rc = process(chain, link, 0, link->inbox[link->inbox_head++], err);
    }
    if (link->inbox_head == link->inbox_len) {
        link->inbox_head = 0;
        link->inbox_len = 0;
    }
    return rc;
}

static enum weir_rc run_hook(struct weir_chain *chain, struct link *link, struct weir_error *err)
{
    const struct weir_op_vtable *vtable = link->op->vtable;
    switch (chain->control) {
    case WEIR_CHAIN_WATERMARK:
        return vtable->watermark == NULL ? WEIR_OK : vtable->watermark(link->op, chain->value, err);
    case WEIR_CHAIN_END:
        return vtable->end_input == NULL ? WEIR_OK : vtable->end_input(link->op, err);
    case WEIR_CHAIN_BARRIER:
        weir_buf_clear(&link->state);
        link->background = vtable->background != NULL;
        return vtable->snapshot == NULL ? WEIR_OK : vtable->snapshot(link->op, (uint64_t)chain->value, &link->state, err);
    case WEIR_CHAIN_NOTIFY:
        return vtable->notify == NULL ? WEIR_OK : vtable->notify(link->op, (uint64_t)chain->value, err);
    case WEIR_CHAIN_RESTORE:
        return vtable->restore == NULL ? WEIR_OK : vtable->restore(link->op, (uint64_t)chain->value, link->restore, err);
    case WEIR_CHAIN_RESTORED:
        return vtable->restored == NULL ? WEIR_OK : vtable->restored(link->op, err);
    case WEIR_CHAIN_DRAIN:
        return vtable->drain == NULL ? WEIR_OK : vtable->drain(link->op, err);
    case WEIR_CHAIN_NONE:
    case WEIR_CHAIN_IDLE:
    case WEIR_CHAIN_FLUSH:
        return WEIR_OK;
    }
    weir_assert(false);
}

/* Runs the hook of the control event's present step at its operator. */
static enum weir_rc control_hook(struct weir_chain *chain, struct link *link, struct weir_error *err)
{
    const struct weir_op_vtable *vtable = link->op->vtable;
    bool flushes = chain->control != WEIR_CHAIN_NOTIFY && chain->control != WEIR_CHAIN_RESTORE && chain->control != WEIR_CHAIN_RESTORED &&
                   chain->control != WEIR_CHAIN_DRAIN;
    if (chain->step == STEP_FLUSH) {
        return settle(chain, link, vtable->flush == NULL || !flushes ? WEIR_OK : vtable->flush(link->op, err), err);
    }
    return settle(chain, link, run_hook(chain, link, err), err);
}

static void control_to_writer(struct weir_chain *chain)
{
    if (chain->writer == NULL) {
        return;
    }
    switch (chain->control) {
    case WEIR_CHAIN_WATERMARK:
        weir_writer_broadcast(chain->writer, (struct weir_element){.kind = WEIR_ELEMENT_WATERMARK, .value = chain->value});
        return;
    case WEIR_CHAIN_IDLE:
        weir_writer_broadcast(chain->writer, (struct weir_element){.kind = WEIR_ELEMENT_IDLE});
        return;
    case WEIR_CHAIN_END:
        weir_writer_broadcast(chain->writer, (struct weir_element){.kind = WEIR_ELEMENT_END});
        return;
    case WEIR_CHAIN_BARRIER:
        weir_writer_broadcast(chain->writer, (struct weir_element){.kind = WEIR_ELEMENT_BARRIER, .value = chain->value});
        return;
    case WEIR_CHAIN_NONE:
    case WEIR_CHAIN_FLUSH:
    case WEIR_CHAIN_NOTIFY:
    case WEIR_CHAIN_RESTORE:
    case WEIR_CHAIN_RESTORED:
    case WEIR_CHAIN_DRAIN:
        return;
    }
}

/* Moves the control event on as far as the operators let it. */
static enum weir_rc advance_control(struct weir_chain *chain, struct weir_error *err)
{
    while (chain->control != WEIR_CHAIN_NONE) {
        if (chain->at == chain->nlinks) {
            control_to_writer(chain);
            chain->control = WEIR_CHAIN_NONE;
            return WEIR_OK;
        }
        struct link *link = &chain->links[chain->at];
        if (link->busy || link->inbox_head < link->inbox_len) {
            return WEIR_OK;
        }
        if (chain->step == STEP_PASS) {
            chain->at++;
            chain->step = STEP_FLUSH;
            continue;
        }
        enum weir_rc rc = control_hook(chain, link, err);
        if (rc != WEIR_OK && rc != WEIR_AGAIN) {
            return rc;
        }
        chain->step = chain->step == STEP_FLUSH ? STEP_HOOK : STEP_PASS; /* resume finishes the hook when it said AGAIN */
    }
    return WEIR_OK;
}

enum weir_rc weir_chain_pump(struct weir_chain *chain, struct weir_error *err)
{
    for (uint32_t i = chain->nlinks; i-- > 0;) {
        enum weir_rc rc = pump_link(chain, &chain->links[i], err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    return advance_control(chain, err);
}

enum weir_rc weir_chain_batch_take(struct weir_chain *chain, uint32_t input, struct weir_batch *batch, int64_t now_wall_ms,
                                   struct weir_error *err)
{
    weir_assert(weir_chain_clear(chain));
    if (chain->nlinks > 0) {
        chain->links[0].ctx.now_ms = now_wall_ms;
    }
    return deliver_take(chain, 0, input, batch, err);
}

enum weir_rc weir_chain_control(struct weir_chain *chain, enum weir_chain_control control, int64_t value, struct weir_error *err)
{
    weir_assert(weir_chain_clear(chain));
    if (control == WEIR_CHAIN_BARRIER) {
        chain->state_rc = WEIR_OK;
    }
    chain->control = control;
    chain->value = value;
    chain->step = STEP_FLUSH;
    chain->at = 0;
    return advance_control(chain, err);
}

enum weir_rc weir_chain_background(struct weir_chain *chain, bool *out_any, struct weir_error *err)
{
    bool all = true;
    for (uint32_t i = 0; i < chain->nlinks; i++) {
        struct link *link = &chain->links[i];
        if (!link->background) {
            continue;
        }
        struct weir_error one;
        enum weir_rc rc = link->op->vtable->background(link->op, &link->state, out_any, &one);
        link->background = rc == WEIR_AGAIN;
        all = all && !link->background;
        if (rc != WEIR_OK && rc != WEIR_AGAIN && chain->state_rc == WEIR_OK) {
            chain->state_rc = rc;
            chain->state_err = one;
        }
    }
    if (!all) {
        return WEIR_AGAIN;
    }
    if (chain->state_rc != WEIR_OK) {
        *err = chain->state_err;
    }
    return chain->state_rc;
}

bool weir_chain_clear(const struct weir_chain *chain)
{
    if (chain->control != WEIR_CHAIN_NONE) {
        return false;
    }
    for (uint32_t i = 0; i < chain->nlinks; i++) {
        if (chain->links[i].busy || chain->links[i].inbox_head < chain->links[i].inbox_len) {
            return false;
        }
    }
    return true;
}

uint32_t weir_chain_states(const struct weir_chain *chain, struct weir_snap_op *out_ops)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < chain->nlinks; i++) {
        const struct link *link = &chain->links[i];
        if (link->op->vtable->snapshot != NULL) {
            out_ops[count++] = (struct weir_snap_op){.uid = weir_slice_str(link->op->spec->uid), .state = weir_buf_slice(&link->state)};
        }
    }
    return count;
}

enum weir_rc weir_chain_set_restore(struct weir_chain *chain, const struct weir_op_part *part, const struct weir_snap_op *ops, uint32_t nops,
                                    struct weir_error *err)
{
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < chain->nlinks; i++) {
        struct link *link = &chain->links[i];
        link->ctx.part = *part;
        if (link->op->vtable->snapshot == NULL) {
            continue;
        }
        wanted++;
        uint32_t k = 0;
        while (k < nops && !weir_slice_eq_str(ops[k].uid, link->op->spec->uid)) {
            k++;
        }
        if (k == nops) {
            return weir_error_set(err, WEIR_INVALID, "the checkpoint has no state of operator %s", link->op->spec->uid);
        }
        link->restore = ops[k].state;
    }
    if (wanted != nops) {
        return weir_error_set(err, WEIR_INVALID, "the checkpoint has states of %u operators, this task has %u with state", nops, wanted);
    }
    return WEIR_OK;
}
