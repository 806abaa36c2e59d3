/*
 * What lies on disk and what is shipped as a plan. plan: job graphs. log: records of the cluster log (raft_store: its files). checkpoint: manifests, a
 * task's file, an operator's entries. With the first bit of the first byte checksums are put right, so that mutations reach what is behind.
 */
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/data/rowkey.h"
#include "jobmanager/jobfile/jobfile.h"
#include "proto/ckpt_codec.h"
#include "proto/ha_codec.h"
#include "proto/plan_codec.h"
#include "taskmanager/state/delta_snap.h"
#include "taskmanager/task/snap_file.h"
#include "tests/fuzz/fuzz.h"

enum { FIX_CHECKSUMS = 1 };

static void *arena_create(void)
{
    return weir_arena_create(0);
}

static void arena_destroy(void *state)
{
    weir_arena_destroy(state);
}

/* --- plan ------------------------------------------------------------------------------------------------------------- */

static void plan_run(void *state, struct weir_slice input)
{
    (void)state;
    struct weir_jobgraph *graph = NULL;
    struct weir_error err = {0};
    uint8_t *bytes = weir_malloc(input.len);
    if (input.len > 0) {
        memcpy(bytes, input.data, input.len);
    }
    if (input.len >= WEIR_PLAN_HEADER_BYTES) {
        weir_le_put_u32(bytes + 8, weir_crc32c(0, bytes + WEIR_PLAN_HEADER_BYTES, input.len - WEIR_PLAN_HEADER_BYTES));
    }
    if (weir_plan_decode(weir_slice(bytes, input.len), &graph, &err) == WEIR_OK) {
        struct weir_buf first = {0};
        struct weir_buf second = {0};
        struct weir_jobgraph *again = NULL;
        weir_plan_encode(graph, &first);
        enum weir_rc rc = weir_plan_decode(weir_buf_slice(&first), &again, &err);
        weir_assert(rc == WEIR_OK);
        weir_plan_encode(again, &second);
        weir_assert(weir_slice_eq(weir_buf_slice(&first), weir_buf_slice(&second)));
        weir_buf_clear(&first);
        weir_jobgraph_format(graph, &first);
        weir_jobgraph_destroy(again);
        weir_jobgraph_destroy(graph);
        weir_buf_fini(&first);
        weir_buf_fini(&second);
    } else {
        weir_assert(err.text[0] != '\0');
    }
    weir_free(bytes);
}

static void plan_seed(void *state, weir_fuzz_seed_fn *add, void *ctx)
{
    (void)state;
    static const char *const jobs[] = {
        "job: a\ntables:\n  in: {columns: {id: BIGINT}, with: {connector: datagen, number-of-rows: 10}}\n"
        "  out: {columns: {id: BIGINT}, with: {connector: blackhole}}\n"
        "pipeline: [{id: r, source: in}, {id: f, input: r, filter: \"id > 1 AND id IN (1, 2)\"}, {id: w, input: f, sink: out}]\n",
        "job: b\ntables:\n  in: {columns: {k: STRING, v: DOUBLE, at: TIMESTAMP(3)}, watermark: {column: at, delay: 2 s}, with: {connector: datagen}}\n"
        "  out: {columns: {window_start: TIMESTAMP(3), window_end: TIMESTAMP(3), k: STRING, n: BIGINT}, with: {connector: print}}\n"
        "pipeline:\n  - {id: r, source: in}\n  - {id: c, input: r, key_by: [k], window: {tumble: 20 s}, aggregate: {n: \"COUNT(*)\"}}\n"
        "  - {id: w, input: c, sink: out}\n"};
    struct weir_config *config = weir_config_create();
    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
        struct weir_jobgraph *graph = NULL;
        struct weir_error err;
        struct weir_buf bytes = {0};
        enum weir_rc rc = weir_jobfile_plan(weir_slice_str(jobs[i]), "job.yaml", 0, config, &graph, &err);
        weir_assert(rc == WEIR_OK);
        weir_plan_encode(graph, &bytes);
        add(ctx, weir_buf_slice(&bytes));
        weir_buf_fini(&bytes);
        weir_jobgraph_destroy(graph);
    }
    weir_config_destroy(config);
}

const struct weir_fuzz_target weir_fuzz_plan = {.name = "plan", .create = arena_create, .run = plan_run, .destroy = arena_destroy, .seed = plan_seed};

/* --- log -------------------------------------------------------------------------------------------------------------- */

enum { LOG_RECORD, LOG_SNAPSHOT, LOG_KINDS };

static void check_record(struct weir_slice bytes, struct weir_arena *arena)
{
    struct weir_ha_record record;
    struct weir_error err;
    if (weir_ha_decode(bytes, arena, &record, &err) != WEIR_OK) {
        return;
    }
    struct weir_buf first = {0};
    struct weir_buf second = {0};
    struct weir_ha_record again;
    weir_ha_encode(&record, &first);
    enum weir_rc rc = weir_ha_decode(weir_buf_slice(&first), arena, &again, &err);
    weir_assert(rc == WEIR_OK);
    weir_ha_encode(&again, &second);
    weir_assert(weir_slice_eq(weir_buf_slice(&first), weir_buf_slice(&second)));
    weir_buf_fini(&first);
    weir_buf_fini(&second);
}

static void log_run(void *state, struct weir_slice input)
{
    struct weir_arena *arena = state;
    struct weir_error err;
    weir_arena_reset(arena);
    if (input.len == 0) {
        return;
    }
    uint8_t *bytes = weir_malloc(input.len - 1);
    memcpy(bytes, input.data + 1, input.len - 1);
    struct weir_slice body = weir_slice(bytes, input.len - 1);
    struct weir_ha_record *records = NULL;
    uint32_t count = 0;
    if (input.data[0] % LOG_KINDS == LOG_RECORD) {
        check_record(body, arena);
    } else {
        (void)!weir_ha_decode_snapshot(body, arena, &records, &count, &err);
    }
    weir_free(bytes);
}

static void log_seed(void *state, weir_fuzz_seed_fn *add, void *ctx)
{
    (void)state;
    static const char *const tms[] = {"tm-1", "tm-2"};
    const struct weir_ha_split splits[] = {{weir_slice_str("s"), weir_slice_str("data")}};
    const struct weir_ha_source source = {.vertex = 1, .splits = splits, .nsplits = 1};
    const struct weir_ha_region region = {.region = 1, .tm_ids = tms, .ntms = 2};
    const struct weir_ha_record records[] = {
        {.kind = WEIR_HA_LEADER, .epoch = 1, .job_id = "", .u.leader.node = "jm"},
        {.kind = WEIR_HA_SUBMIT, .epoch = 1, .job_id = "j", .u.submit = {.name = "n", .graph = weir_slice_str("graph")}},
        {.kind = WEIR_HA_ATTEMPT,
         .job_id = "j",
         .u.attempt = {.attempt = 1, .slot_tm_ids = tms, .nslots = 2, .has_sources = true, .sources = &source, .nsources = 1}},
        {.kind = WEIR_HA_ATTEMPT, .job_id = "j", .u.attempt = {.attempt = 2, .regions = &region, .nregions = 1}},
        {.kind = WEIR_HA_JOB_STATE, .job_id = "j", .u.job_state = {.state = 1, .attempt = 1, .text = "why"}},
        {.kind = WEIR_HA_CKPT_COMPLETE, .job_id = "j", .u.ckpt_complete = {.attempt = 1, .id = 7, .path = "/p", .bytes = 9, .retained_max = 1}},
        {.kind = WEIR_HA_CKPT_ABORT, .job_id = "j", .u.ckpt_abort = {.attempt = 1, .id = 8, .text = "late"}},
        {.kind = WEIR_HA_JOBMANAGER, .epoch = 1, .job_id = "", .u.jobmanager = {.id = 7, .incarnation = 9, .rpc_address = "h:1", .rest_address = "h:2"}}};
    struct weir_buf snapshot = {0};
    for (uint32_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        struct weir_buf one = {0};
        weir_buf_put_u8(&one, LOG_RECORD);
        weir_ha_encode(&records[i], &one);
        add(ctx, weir_buf_slice(&one));
        weir_buf_fini(&one);
    }
    weir_buf_put_u8(&snapshot, LOG_SNAPSHOT);
    weir_ha_encode_snapshot(records, sizeof(records) / sizeof(records[0]), &snapshot);
    add(ctx, weir_buf_slice(&snapshot));
    weir_buf_fini(&snapshot);
}

const struct weir_fuzz_target weir_fuzz_log = {.name = "log", .create = arena_create, .run = log_run, .destroy = arena_destroy, .seed = log_seed};

/* --- checkpoint ------------------------------------------------------------------------------------------------------- */

enum { CKPT_MANIFEST, CKPT_TASK, CKPT_ENTRIES, CKPT_KINDS, PAYLOAD_BYTES = 8, DELTA_BYTES_MAX = 64 << 20 };

static void payload_encode(void *ctx, const uint8_t *payload, struct weir_buf *out)
{
    (void)ctx;
    weir_buf_put(out, payload, PAYLOAD_BYTES);
}

static enum weir_rc payload_decode(void *ctx, struct weir_slice bytes, uint8_t *payload, struct weir_error *err)
{
    (void)ctx;
    if (bytes.len != PAYLOAD_BYTES) {
        return weir_error_set(err, WEIR_CORRUPT, "payload of %zu bytes", bytes.len);
    }
    memcpy(payload, bytes.data, bytes.len);
    return WEIR_OK;
}

static bool space_fits(void *ctx, int64_t space)
{
    (void)ctx;
    return space >= 0;
}

static struct weir_delta *make_delta(struct weir_delta_codec *codec, struct weir_mem *mem)
{
    *codec = (struct weir_delta_codec){.subtask = 1, .parallelism = 2, .max_parallelism = 8, .mem = mem, .encode = payload_encode,
                                       .decode = payload_decode, .space_fits = space_fits};
    struct weir_delta_options options = {.payload_bytes = PAYLOAD_BYTES, .mem = mem};
    weir_delta_own_groups(&options, codec->subtask, codec->parallelism, codec->max_parallelism);
    return weir_delta_create(&options);
}

static void check_entries(struct weir_slice bytes)
{
    struct weir_mem *mem = weir_mem_create("fuzz", DELTA_BYTES_MAX, NULL);
    struct weir_delta_codec codec;
    struct weir_delta *delta = make_delta(&codec, mem);
    struct weir_error err = {0};
    if (weir_delta_decode(delta, &codec, bytes, &err) == WEIR_OK) {
        struct weir_buf out = {0};
        weir_delta_encode(delta, &codec, &out);
        weir_buf_fini(&out);
    } else {
        weir_assert(err.text[0] != '\0');
    }
    weir_delta_destroy(delta);
    weir_mem_destroy(mem);
}

static void checkpoint_run(void *state, struct weir_slice input)
{
    struct weir_arena *arena = state;
    struct weir_error err;
    weir_arena_reset(arena);
    if (input.len == 0) {
        return;
    }
    size_t len = input.len - 1;
    uint8_t *bytes = weir_malloc(len);
    memcpy(bytes, input.data + 1, len);
    struct weir_ckpt_manifest manifest;
    struct weir_snap snap;
    switch ((input.data[0] >> 1) % CKPT_KINDS) {
    case CKPT_MANIFEST:
        (void)!weir_ckpt_decode(weir_slice(bytes, len), arena, &manifest, &err);
        break;
    case CKPT_TASK:
        if ((input.data[0] & FIX_CHECKSUMS) != 0 && len >= 4) {
            weir_le_put_u32(bytes + len - 4, weir_crc32c(0, bytes, len - 4));
        }
        (void)!weir_snap_decode(weir_slice(bytes, len), arena, &snap, &err);
        break;
    default:
        check_entries(weir_slice(bytes, len));
    }
    weir_free(bytes);
}

static void seed_entries(weir_fuzz_seed_fn *add, void *ctx)
{
    struct weir_mem *mem = weir_mem_create("fuzz", DELTA_BYTES_MAX, NULL);
    struct weir_delta_codec codec;
    struct weir_delta *delta = make_delta(&codec, mem);
    for (uint64_t i = 0; i < 40; i++) {
        uint64_t hash = (UINT64_C(1) << 63) + (i << 57);
        int64_t space = (int64_t)(i % 2) * 20000;
        struct weir_slice key = weir_slice(&i, 1 + i % 8);
        uint8_t *payload = NULL;
        enum weir_rc rc = weir_delta_get_many(delta, &space, &hash, &key, 1, &payload, NULL);
        weir_assert(rc == WEIR_OK);
        memcpy(payload, &i, sizeof(i));
    }
    struct weir_buf bytes = {0};
    weir_buf_put_u8(&bytes, CKPT_ENTRIES << 1);
    weir_delta_encode(delta, &codec, &bytes);
    add(ctx, weir_buf_slice(&bytes));
    weir_buf_fini(&bytes);
    weir_delta_destroy(delta);
    weir_mem_destroy(mem);
}

static void checkpoint_seed(void *state, weir_fuzz_seed_fn *add, void *ctx)
{
    (void)state;
    static const char *const vertices[] = {"read", "count"};
    const struct weir_ckpt_handle handles[] = {{.path = "/p/a", .bytes = 3, .hash = 4}, {.vertex = 1, .path = "/p/b", .bytes = 5, .hash = 6}};
    struct weir_buf manifest = {0};
    struct weir_buf task = {0};
    weir_buf_put_u8(&manifest, CKPT_MANIFEST << 1);
    weir_ckpt_encode(&(struct weir_ckpt_manifest){.job_id = "j", .checkpoint_id = 7, .attempt = 1, .handles = handles, .nhandles = 2,
                                                  .vertex_ids = vertices, .nvertices = 2}, &manifest);
    const struct weir_snap_op ops[] = {{weir_slice_str("w"), weir_slice_str("state")}, {weir_slice_str("c"), weir_slice(NULL, 0)}};
    weir_buf_put_u8(&task, FIX_CHECKSUMS | CKPT_TASK << 1);
    weir_snap_encode(&(struct weir_snap){.checkpoint = 7, .source = weir_slice_str("position"), .ops = ops, .nops = 2}, &task);
    add(ctx, weir_buf_slice(&manifest));
    add(ctx, weir_buf_slice(&task));
    weir_buf_fini(&manifest);
    weir_buf_fini(&task);
    seed_entries(add, ctx);
}

const struct weir_fuzz_target weir_fuzz_checkpoint = {.name = "checkpoint", .create = arena_create, .run = checkpoint_run,
                                                      .destroy = arena_destroy, .seed = checkpoint_seed};
