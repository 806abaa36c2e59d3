/*
 * For the tests of the aggregating operators: snapshots taken, restored, cut and damaged.
 */
#ifndef WEIR_TASKMANAGER_OPERATORS_AGG_SNAP_TEST_KIT_H
#define WEIR_TASKMANAGER_OPERATORS_AGG_SNAP_TEST_KIT_H

#include "taskmanager/operators/agg_test_kit.h"

/* Closes the operator and opens it again, empty, as a subtask of so many. */
static inline void kit_reopen(struct kit_op *kit_op, uint32_t subtask, uint32_t parallelism)
{
    struct weir_op *op = kit_op->op;
    const struct weir_op_vtable *vtable = op->vtable;
    vtable->close(op);
    memset(op, 0, vtable->op_bytes);
    *op = (struct weir_op){.vtable = vtable, .spec = &kit_op->spec, .ctx = &kit_op->ctx};
    kit_op->ctx.conn.subtask = subtask;
    kit_op->ctx.conn.parallelism = parallelism;
    *kit_op->ctx.state_bytes = 0;
    struct weir_error err = {0};
    ck_assert_msg(vtable->open(op, &kit_op->spec, &err) == WEIR_OK, "%s", err.text);
}

static inline void kit_snapshot(struct kit_op *kit_op, struct weir_buf *out)
{
    struct weir_error err = {0};
    ck_assert_msg(kit_op->op->vtable->snapshot(kit_op->op, 7, out, &err) == WEIR_OK, "%s", err.text);
    enum weir_rc rc = WEIR_AGAIN;
    for (bool any = true; rc == WEIR_AGAIN; any = false) {
        rc = kit_op->op->vtable->background(kit_op->op, out, &any, &err);
        ck_assert(rc != WEIR_AGAIN || any);
    }
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
}

struct kit_listing {
    char *names[16];
    uint32_t count;
};

static inline void kit_add_listed(void *ctx, const char *name, bool is_dir)
{
    struct kit_listing *listing = ctx;
    ck_assert(!is_dir);
    ck_assert_uint_lt(listing->count, 16);
    listing->names[listing->count++] = weir_strdup(name);
}

static inline uint32_t kit_list(struct weir_fs *fs, struct kit_listing *listing)
{
    struct weir_error err;
    listing->count = 0;
    ck_assert_int_eq(weir_fs_list(fs, "/ckpt/job/chk-7", kit_add_listed, listing, &err), WEIR_OK);
    return listing->count;
}

/* Empties the checkpoint's directory: what comes next has the same number. */
static inline void kit_clear_store(struct kit *kit)
{
    struct weir_error err;
    ck_assert_int_eq(weir_fs_mkdirs(kit->fs, "/ckpt/job/chk-7", &err), WEIR_OK);
    for (struct kit_listing listing = {0}; kit_list(kit->fs, &listing) > 0;) {
        for (uint32_t i = 0; i < listing.count; i++) {
            char *path = weir_strfmt("/ckpt/job/chk-7/%s", listing.names[i]);
            ck_assert_int_eq(weir_fs_unlink(kit->fs, path, &err), WEIR_OK);
            weir_free(path);
            weir_free(listing.names[i]);
        }
    }
}

/* Fails over: a new operator goes on from the old one's snapshot, and would write the same. */
static inline void kit_restart(struct kit_op *kit_op)
{
    struct weir_buf state = {0};
    struct weir_buf again = {0};
    struct weir_error err = {0};
    kit_snapshot(kit_op, &state);
    kit_reopen(kit_op, 0, 1);
    enum weir_rc rc = kit_op->op->vtable->restore(kit_op->op, 7, weir_buf_slice(&state), &err);
    while (rc == WEIR_AGAIN) {
        rc = kit_op->op->vtable->resume(kit_op->op, &err);
    }
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    ck_assert_msg(kit_op->op->vtable->restored(kit_op->op, &err) == WEIR_OK, "%s", err.text);
    if (kit_op->kit->backend != NULL) {
        kit_clear_store(kit_op->kit);
    } else {
        kit_snapshot(kit_op, &again);
        ck_assert(weir_slice_eq(weir_buf_slice(&state), weir_buf_slice(&again)));
    }
    weir_buf_fini(&state);
    weir_buf_fini(&again);
}

/* Appends what the operator has given out since the last call. */
static inline void kit_outputs(struct kit_op *kit_op, struct weir_buf *out)
{
    for (uint32_t i = 0; i < kit_op->nout; i++) {
        weir_batch_encode(kit_op->out[i], out);
        weir_batch_unref(kit_op->out[i]);
    }
    kit_op->nout = 0;
}

/* The state of a barrier goes to the store behind it: while it is captured the operator takes the rows and, when it is not the least, the
 * watermark. Who restores that state and is given the same gives out the same. */
static inline void kit_snapshot_while_it_runs(struct kit_op *kit_op, const struct kit_row *rows, uint32_t count, int64_t watermark_ms)
{
    struct weir_buf state = {0};
    struct weir_buf first = {0};
    struct weir_buf second = {0};
    struct weir_error err = {0};
    bool any = false;
    const struct weir_op_vtable *vtable = kit_op->op->vtable;
    kit_op->ready_at_random = false;
    kit_outputs(kit_op, &first);
    weir_buf_clear(&first);
    ck_assert_int_eq(vtable->snapshot(kit_op->op, 7, &state, &err), WEIR_OK);
    for (int round = 0; round < 2; round++) {
        kit_process_take(kit_op, kit_batch(kit_op->kit, rows, count));
        if (watermark_ms != WEIR_WATERMARK_MIN) {
            kit_watermark(kit_op, watermark_ms);
        }
        kit_outputs(kit_op, round == 0 ? &first : &second);
        enum weir_rc rc = round == 0 ? WEIR_AGAIN : WEIR_OK;
        while (rc == WEIR_AGAIN) {
            rc = vtable->background(kit_op->op, &state, &any, &err);
        }
        ck_assert_msg(rc == WEIR_OK, "%s", err.text);
        if (round == 0) {
            kit_reopen(kit_op, 0, 1);
            rc = vtable->restore(kit_op->op, 7, weir_buf_slice(&state), &err);
            while (rc == WEIR_AGAIN) {
                rc = vtable->resume(kit_op->op, &err);
            }
            ck_assert_msg(rc == WEIR_OK, "%s", err.text);
            ck_assert_msg(vtable->restored(kit_op->op, &err) == WEIR_OK, "%s", err.text);
        }
    }
    ck_assert_uint_gt(first.len, 0);
    ck_assert(weir_slice_eq(weir_buf_slice(&first), weir_buf_slice(&second)));
    weir_buf_fini(&state);
    weir_buf_fini(&first);
    weir_buf_fini(&second);
}

/* What restoring says of these bytes, which lie alone in memory. The operator is new again afterwards. */
static inline enum weir_rc kit_try_restore(struct kit_op *kit_op, const uint8_t *bytes, size_t len)
{
    struct weir_error err = {0};
    uint8_t *copy = weir_malloc(len);
    memcpy(copy, bytes, len);
    enum weir_rc rc = kit_op->op->vtable->restore(kit_op->op, 7, weir_slice(copy, len), &err);
    weir_free(copy);
    kit_reopen(kit_op, kit_op->ctx.conn.subtask, kit_op->ctx.conn.parallelism);
    return rc;
}

/* Cut anywhere or lengthened the state is refused; with bits flipped anywhere it does no harm, and never does as another version. */
static inline void kit_damage(struct kit_op *kit_op, struct weir_slice state)
{
    struct weir_buf bytes = {0};
    weir_buf_put_slice(&bytes, state);
    weir_buf_put_u8(&bytes, 0);
    for (size_t len = 0; len <= state.len + 1; len++) {
        ck_assert_int_eq(kit_try_restore(kit_op, bytes.data, len), len == state.len ? WEIR_OK : WEIR_CORRUPT);
    }
    for (size_t at = 0; at < state.len; at++) {
        uint8_t was = bytes.data[at];
        bytes.data[at] ^= (uint8_t)(1u << weir_rand_below(&kit_op->kit->rand, 8));
        enum weir_rc rc = kit_try_restore(kit_op, bytes.data, state.len);
        ck_assert(rc == WEIR_OK || rc == WEIR_CORRUPT || rc == WEIR_INVALID);
        ck_assert(at != 0 || rc == WEIR_CORRUPT);
        bytes.data[at] = was;
    }
    weir_buf_fini(&bytes);
}

#endif
