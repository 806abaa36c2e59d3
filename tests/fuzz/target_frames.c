/*
 * frames: what comes in on the data plane and on the control ports, up to decoded batches. control: the messages in control frames.
 */
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/data/batch_wire.h"
#include "common/data/value.h"
#include "common/net/rpc_frame.h"
#include "proto/control.pb-c.h"
#include "proto/pb.h"
#include "taskmanager/exchange/frame.h"
#include "tests/fuzz/fuzz.h"

enum { BODY_BYTES_MAX = 1 << 16, TRUNCATE_BYTES_MAX = 400, ROWS = 5 };

enum { FIX_CHECKSUMS = 1, DATA_PLANE = 2, BARE_BATCH = 4 };

/* --- frames ----------------------------------------------------------------------------------------------------------- */

static void *frames_create(void)
{
    static const enum weir_type_id ids[] = {WEIR_TYPE_BIGINT, WEIR_TYPE_VARCHAR, WEIR_TYPE_BOOLEAN, WEIR_TYPE_DECIMAL, WEIR_TYPE_FLOAT,
                                            WEIR_TYPE_TINYINT};
    struct weir_field fields[6];
    struct weir_schema *schema = NULL;
    struct weir_error err;
    for (int i = 0; i < 6; i++) {
        static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
        fields[i] = (struct weir_field){.name = names[i], .type = weir_type_of(ids[i])};
    }
    weir_assert(weir_schema_create(fields, 6, WEIR_NO_COLUMN, &schema, &err) == WEIR_OK);
    return schema;
}

static void frames_destroy(void *state)
{
    weir_schema_unref(state);
}

static void fix_batch(uint8_t *bytes, size_t len)
{
    if (len >= WEIR_BATCH_WIRE_HEADER_BYTES) {
        weir_le_put_u32(bytes + 8, (uint32_t)(len - WEIR_BATCH_WIRE_HEADER_BYTES));
        uint32_t crc = weir_crc32c(0, bytes, 12);
        weir_le_put_u32(bytes + 12, weir_crc32c(crc, bytes + WEIR_BATCH_WIRE_HEADER_BYTES, len - WEIR_BATCH_WIRE_HEADER_BYTES));
    }
}

/* A batch that is read is written again as it was; less one byte, or several, it is none. */
static void check_batch(const struct weir_schema *schema, struct weir_slice bytes)
{
    struct weir_batch *batch = NULL;
    struct weir_error err = {0};
    if (weir_batch_decode(bytes, schema, NULL, &batch, &err) != WEIR_OK) {
        weir_assert(err.text[0] != '\0');
        return;
    }
    struct weir_buf text = {0};
    for (uint32_t c = 0; c < batch->ncols; c++) {
        for (uint32_t row = 0; row < batch->nrows; row++) {
            struct weir_value value = weir_value_get(&batch->cols[c], row);
            weir_value_format(&value, &text);
        }
        weir_buf_clear(&text);
    }
    weir_batch_encode(batch, &text);
    struct weir_batch *again = NULL;
    enum weir_rc rc = weir_batch_decode(weir_buf_slice(&text), schema, NULL, &again, &err);
    weir_assert(rc == WEIR_OK && again->nrows == batch->nrows);
    weir_batch_unref(again);
    for (size_t len = 0; bytes.len <= TRUNCATE_BYTES_MAX && len < bytes.len; len++) {
        rc = weir_batch_decode(weir_slice(bytes.data, len), schema, NULL, &again, &err);
        weir_assert(rc != WEIR_OK);
    }
    weir_buf_fini(&text);
    weir_batch_unref(batch);
}

static void data_plane(const struct weir_schema *schema, uint8_t *bytes, size_t len, bool fix)
{
    for (size_t at = 0; at < len;) {
        struct weir_frame frame;
        struct weir_error err;
        size_t taken = 0;
        if (fix && len - at >= WEIR_FRAME_HEADER_BYTES) {
            weir_le_put_u32(bytes + at + 16, weir_crc32c(0, bytes + at, 16));
        }
        if (weir_frame_take(weir_slice(bytes + at, len - at), BODY_BYTES_MAX, &frame, &taken, &err) != WEIR_OK) {
            return;
        }
        weir_assert(taken <= len - at && frame.body.len <= BODY_BYTES_MAX);
        if (frame.type == WEIR_FRAME_BATCH) {
            if (fix) {
                fix_batch(bytes + at + WEIR_FRAME_HEADER_BYTES, frame.body.len);
            }
            check_batch(schema, frame.body);
        }
        at += taken;
    }
}

static void control_port(uint8_t *bytes, size_t len, bool fix)
{
    for (size_t at = 0; at < len;) {
        struct weir__rpc_frame frame;
        struct weir__rpc_hello hello;
        const char *why = NULL;
        size_t taken = 0;
        size_t body = len - at >= WEIR__RPC_HEADER_BYTES ? weir_le_get_u32(bytes + at + 16) : SIZE_MAX;
        if (fix && body != SIZE_MAX && body <= len - at - WEIR__RPC_HEADER_BYTES) {
            weir_le_put_u32(bytes + at + 20, weir_crc32c(weir_crc32c(0, bytes + at, 20), bytes + at + WEIR__RPC_HEADER_BYTES, body));
        }
        if (weir__rpc_frame_decode(weir_slice(bytes + at, len - at), BODY_BYTES_MAX, &frame, &taken, &why) != WEIR_OK) {
            return;
        }
        weir_assert(taken <= len - at && frame.body.len <= BODY_BYTES_MAX);
        if (weir__rpc_hello_decode(frame.body, &hello)) {
            weir_assert(hello.name.len + hello.role.len + hello.cluster_id.len <= frame.body.len);
        }
        at += taken;
    }
}

static void frames_run(void *state, struct weir_slice input)
{
    if (input.len == 0) {
        return;
    }
    uint8_t mode = input.data[0];
    size_t len = input.len - 1;
    uint8_t *bytes = weir_malloc(len);
    memcpy(bytes, input.data + 1, len);
    bool fix = (mode & FIX_CHECKSUMS) != 0;
    if ((mode & BARE_BATCH) != 0) {
        if (fix) {
            fix_batch(bytes, len);
        }
        check_batch(state, weir_slice(bytes, len));
    } else if ((mode & DATA_PLANE) != 0) {
        data_plane(state, bytes, len, fix);
    } else {
        control_port(bytes, len, fix);
    }
    weir_free(bytes);
}

static struct weir_batch *make_batch(const struct weir_schema *schema, bool nulls)
{
    struct weir_batch_builder builder;
    weir_batch_builder_init(&builder, schema, ROWS, NULL);
    for (; builder.nrows < ROWS; builder.nrows++) {
        for (uint32_t c = 0; c < builder.ncols; c++) {
            struct weir_value value = {.type = builder.cols[c].type, .is_null = nulls && (builder.nrows + c) % 3 == 0};
            if (weir_type_is_string(value.type.id)) {
                value.u.str = weir_slice_str(builder.nrows % 2 == 0 ? "short" : "a string that is not inlined");
            } else if (value.type.id == WEIR_TYPE_BOOLEAN) {
                value.u.boolean = builder.nrows % 2 == 0;
            } else if (value.type.id == WEIR_TYPE_FLOAT) {
                value.u.f64 = 0.5;
            } else if (value.type.id == WEIR_TYPE_DECIMAL) {
                value.u.decimal = builder.nrows;
            } else {
                value.u.i64 = builder.nrows;
            }
            weir_value_put(&value, &builder.cols[c], builder.nrows);
        }
        if (nulls) {
            weir_batch_builder_set_kind(&builder, builder.nrows, WEIR_UPDATE_AFTER);
        }
    }
    struct weir_batch *batch = weir_batch_builder_finish(&builder);
    weir_batch_builder_fini(&builder);
    return batch;
}

static void frames_seed(void *state, weir_fuzz_seed_fn *add, void *ctx)
{
    for (int nulls = 0; nulls < 2; nulls++) {
        struct weir_buf bare = {0};
        struct weir_buf framed = {0};
        struct weir_batch *batch = make_batch(state, nulls);
        weir_buf_put_u8(&bare, FIX_CHECKSUMS | BARE_BATCH);
        weir_batch_encode(batch, &bare);
        weir_buf_put_u8(&framed, FIX_CHECKSUMS | DATA_PLANE);
        weir_frame_put_header(&framed, WEIR_FRAME_OPEN, 1, 4);
        weir_buf_put_u32(&framed, 0);
        weir_frame_put_header(&framed, WEIR_FRAME_BATCH, 1, (uint32_t)bare.len - 1);
        weir_buf_put(&framed, bare.data + 1, bare.len - 1);
        weir_frame_put_header(&framed, WEIR_FRAME_CONTROL, 1, 9);
        weir_buf_put_u8(&framed, 2);
        weir_buf_put_i64(&framed, -1);
        add(ctx, weir_buf_slice(&bare));
        add(ctx, weir_buf_slice(&framed));
        weir_batch_unref(batch);
        weir_buf_fini(&bare);
        weir_buf_fini(&framed);
    }
    struct weir_buf hello = {0};
    struct weir_buf control = {0};
    weir__rpc_hello_encode(&(struct weir__rpc_hello){.protocol_version = 1, .cluster_id = weir_slice_str("weir"), .role = weir_slice_str("taskmanager"),
                                                     .name = weir_slice_str("127.0.0.1:1-00")}, &hello);
    weir_buf_put_u8(&control, FIX_CHECKSUMS);
    weir__rpc_frame_encode(&(struct weir__rpc_frame){.id = 1, .body = weir_buf_slice(&hello)}, &control);
    weir__rpc_frame_encode(&(struct weir__rpc_frame){.id = 2, .method = 2, .body = weir_slice_str("x")}, &control);
    add(ctx, weir_buf_slice(&control));
    weir_buf_fini(&hello);
    weir_buf_fini(&control);
}

const struct weir_fuzz_target weir_fuzz_frames = {.name = "frames", .create = frames_create, .run = frames_run, .destroy = frames_destroy,
                                                  .seed = frames_seed};

/* --- control ---------------------------------------------------------------------------------------------------------- */

static const ProtobufCMessageDescriptor *const messages[] = {
    &weir__control__register_request__descriptor,       &weir__control__register_reply__descriptor,
    &weir__control__heartbeat_request__descriptor,      &weir__control__heartbeat_reply__descriptor,
    &weir__control__task_state_request__descriptor,     &weir__control__checkpoint_ack_request__descriptor,
    &weir__control__checkpoint_decline_request__descriptor, &weir__control__ack__descriptor,
    &weir__control__enumerate_request__descriptor,      &weir__control__enumerate_reply__descriptor,
    &weir__control__deploy_request__descriptor,         &weir__control__trigger_request__descriptor,
    &weir__control__notify_request__descriptor,         &weir__control__cancel_request__descriptor,
    &weir__control__logs_request__descriptor,           &weir__control__logs_reply__descriptor,
    &weir__control__log_level_request__descriptor,
};

enum { NMESSAGES = sizeof(messages) / sizeof(messages[0]) };

static void *control_create(void)
{
    return NULL;
}

static void control_destroy(void *state)
{
    (void)state;
}

/* What is unpacked can be packed; what that gives has one form only. (It need not be a message: protobuf-c lets a field of number 0 pass when
 * its tag has two bytes, and packs it in one.) */
static void control_run(void *state, struct weir_slice input)
{
    (void)state;
    ProtobufCMessage *message = NULL;
    struct weir_error err;
    if (input.len == 0) {
        return;
    }
    const ProtobufCMessageDescriptor *descriptor = messages[input.data[0] % NMESSAGES];
    if (weir_pb_decode(descriptor, weir_slice(input.data + 1, input.len - 1), &message, &err) != WEIR_OK) {
        weir_assert(err.text[0] != '\0');
        return;
    }
    struct weir_buf packed = {0};
    ProtobufCMessage *again = NULL;
    weir_pb_encode(message, &packed);
    if (weir_pb_decode(descriptor, weir_buf_slice(&packed), &again, &err) == WEIR_OK) {
        struct weir_buf twice = {0};
        weir_pb_encode(again, &twice);
        weir_assert(weir_slice_eq(weir_buf_slice(&packed), weir_buf_slice(&twice)));
        weir_buf_fini(&twice);
    }
    weir_pb_free(again);
    weir_pb_free(message);
    weir_buf_fini(&packed);
}

static void control_seed(void *state, weir_fuzz_seed_fn *add, void *ctx)
{
    (void)state;
    Weir__Control__TaskRef ref = WEIR__CONTROL__TASK_REF__INIT;
    Weir__Control__TaskMetrics metrics = WEIR__CONTROL__TASK_METRICS__INIT;
    Weir__Control__TaskStatus status = WEIR__CONTROL__TASK_STATUS__INIT;
    Weir__Control__TaskStatus *list[2] = {&status, &status};
    Weir__Control__RegisterRequest request = WEIR__CONTROL__REGISTER_REQUEST__INIT;
    char id[] = "127.0.0.1:1-00";
    ref.job_id = id;
    ref.attempt = 3;
    metrics.records_in = UINT64_MAX;
    metrics.watermark_ms = INT64_MIN;
    status.task = &ref;
    status.metrics = &metrics;
    request.tm_id = id;
    request.rpc_address = id;
    request.n_tasks = 2;
    request.tasks = list;
    struct weir_buf packed = {0};
    weir_buf_put_u8(&packed, 0);
    weir_pb_encode(&request.base, &packed);
    for (uint8_t i = 0; i < NMESSAGES; i++) { /* the same fields mean other things in each message */
        packed.data[0] = i;
        add(ctx, weir_buf_slice(&packed));
    }
    weir_buf_fini(&packed);
}

const struct weir_fuzz_target weir_fuzz_control = {.name = "control", .create = control_create, .run = control_run, .destroy = control_destroy,
                                                   .seed = control_seed};
