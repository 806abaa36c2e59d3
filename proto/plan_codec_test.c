#include "proto/plan_codec.h"

#include "common/base/crc32c.h"
#include "common/base/rand.h"
#include "common/plan/agg_partial.h"
#include "proto/expr_codec.h"

#include <check.h>

static const struct weir_schema *own(struct weir_jobgraph *graph, const struct weir_field *fields, uint32_t count, int32_t time_column)
{
    struct weir_schema *schema = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(fields, count, time_column, &schema, &err), WEIR_OK);
    return weir_jobgraph_own_schema_take(graph, schema);
}

static struct weir_expr *bound(struct weir_jobgraph *graph, const char *text, const struct weir_schema *input, bool agg)
{
    struct weir_expr *parsed = NULL;
    struct weir_expr *expr = NULL;
    struct weir_error err = {0};
    ck_assert_msg(weir_expr_parse(weir_slice_str(text), graph->arena, &parsed, &err) == WEIR_OK, "%s", err.text);
    enum weir_rc rc = agg ? weir_expr_bind_agg(parsed, input, graph->arena, &expr, &err)
                          : weir_expr_bind(parsed, input, graph->arena, &expr, &err);
    ck_assert_msg(rc == WEIR_OK, "%s", err.text);
    return expr;
}

static void finish(struct weir_jobgraph *graph)
{
    graph->name = "codec";
    graph->bounded = true;
    graph->settings = (struct weir_job_settings){.parallelism = 3, .max_parallelism = 128, .watermark_interval_ms = 200,
                                                 .record_bytes_max = 1 << 20, 
                                                 .restart = {.type = WEIR_RESTART_EXPONENTIAL_DELAY, .attempts_max = 4, .delay_ms = 10,
                                                             .delay_max_ms = 5000, .reset_ms = 60000, .multiplier = 1.25, .jitter = 0.5}};
    struct weir_error err = {0};
    ck_assert_msg(weir_jobgraph_check(graph, &err) == WEIR_OK, "%s", err.text);
}

static const struct weir_table_spec *make_input(struct weir_jobgraph *graph, const struct weir_schema *raw)
{
    struct weir_field bad_fields[] = {{"reason", weir_type_of(WEIR_TYPE_VARCHAR)}};
    static const struct weir_option options[] = {{"path", "/tmp/in", {3, 4}}, {"json.ignore-parse-errors", "false", {5, 6}}};
    struct weir_table_spec *bad = weir_arena_zalloc(graph->arena, sizeof(*bad));
    *bad = (struct weir_table_spec){.name = "bad", .schema = own(graph, bad_fields, 1, WEIR_NO_COLUMN), .connector = "print"};
    struct weir_table_spec *in = weir_arena_zalloc(graph->arena, sizeof(*in));
    *in = (struct weir_table_spec){.name = "in", .schema = raw, .connector = "filesystem", .format = "json", .options = options,
                                   .noptions = 2, .has_watermark = true, .watermark_delay_ms = 2000,
                                   .on_error = WEIR_ON_ERROR_TABLE, .error_table = bad};
    return in;
}

static void link_up(struct weir_jobgraph *graph, const struct weir_opspec *const *chain, const struct weir_schema *partial,
                    const struct weir_schema *bad)
{
    struct weir_vertex *vertices = weir_arena_zalloc(graph->arena, 3 * sizeof(*vertices));
    vertices[0] = (struct weir_vertex){.id = "00112233445566778899aabbccddeeff", .name = "read -> keep", .parallelism = 2,
                                       .max_parallelism = 128, .ops = chain, .nops = 3};
    vertices[1] = (struct weir_vertex){.id = "ffeeddccbbaa99887766554433221100", .name = "w -> write", .parallelism = 3,
                                       .max_parallelism = 128, .ops = chain + 3, .nops = 3};
    vertices[2] = (struct weir_vertex){.id = "f0eeddccbbaa99887766554433221100", .name = "bad", .parallelism = 2, .max_parallelism = 128,
                                       .ops = chain + 6, .nops = 1};
    struct weir_edge *edges = weir_arena_zalloc(graph->arena, 2 * sizeof(*edges));
    static const uint32_t edge_keys[] = {1};
    edges[0] = (struct weir_edge){.from = 0, .to = 1, .exchange = WEIR_EXCHANGE_HASH, .keys = edge_keys, .nkeys = 1, .schema = partial};
    edges[1] = (struct weir_edge){.from = 0, .to = 2, .exchange = WEIR_EXCHANGE_FORWARD, .schema = bad, .side = true};
    graph->vertices = vertices;
    graph->nvertices = 3;
    graph->edges = edges;
    graph->nedges = 2;
    weir_jobgraph_link(graph, vertices);
}

static const uint32_t primary_key[] = {2, 0};

/* read -> calc -> local | hash | window -> cast -> sink, with expressions of every kind and a table of bad records. */
static struct weir_jobgraph *make_graph(void)
{
    struct weir_jobgraph *graph = weir_jobgraph_create();
    struct weir_arena *arena = graph->arena;
    struct weir_field fields[] = {{"k", weir_type_of(WEIR_TYPE_VARCHAR)},
                                  {"v", weir_type_of(WEIR_TYPE_DOUBLE)},
                                  {"d", weir_type_of(WEIR_TYPE_DECIMAL)},
                                  {"t", weir_type_of(WEIR_TYPE_TIMESTAMP_LTZ)}};
    const struct weir_schema *raw = own(graph, fields, 4, 3);
    const struct weir_table_spec *in = make_input(graph, raw);

    struct weir_agg_call *calls = weir_arena_zalloc(arena, 2 * sizeof(*calls));
    calls[0] = (struct weir_agg_call){.name = "n", .expr = bound(graph, "COUNT(*) FILTER (WHERE v < 3)", raw, true)};
    calls[1] = (struct weir_agg_call){.name = "m", .expr = bound(graph, "MAX(k)", raw, true)};
    static const uint32_t keys[] = {0};
    struct weir_schema *partial = NULL;
    struct weir_schema *result = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_agg_partial_schema(raw, keys, 1, true, &partial, &err), WEIR_OK);
    ck_assert_int_eq(weir_agg_output_schema(raw, keys, 1, calls, 2, true, &result, &err), WEIR_OK);
    (void)weir_jobgraph_own_schema_take(graph, partial);
    (void)weir_jobgraph_own_schema_take(graph, result);
    struct weir_field last_fields[] = {{"f", weir_type_of(WEIR_TYPE_DOUBLE)}, {"s", weir_type_of(WEIR_TYPE_VARCHAR)},
                                       {"e", weir_type_of(WEIR_TYPE_DECIMAL)}};
    last_fields[2].type = bound(graph, "CAST(n AS DECIMAL(38, 3)) + 12345678901234567890.125", result, false)->type;
    const struct weir_schema *last = own(graph, last_fields, 3, WEIR_NO_COLUMN);
    struct weir_table_spec *out = weir_arena_zalloc(arena, sizeof(*out));
    *out = (struct weir_table_spec){.name = "out", .schema = last, .connector = "blackhole", .primary_key = primary_key, .nprimary_key = 2};

    struct weir_opspec *ops = weir_arena_zalloc(arena, 7 * sizeof(*ops));
    ops[0] = (struct weir_opspec){.tag = WEIR_OP_SOURCE, .uid = "read", .name = "source", .output = raw, .u.io.table = in};
    ops[1] = (struct weir_opspec){.tag = WEIR_OP_CALC, .uid = "keep", .name = "", .input = raw, .output = raw};
    ops[1].u.calc.filter = bound(graph, "k LIKE 'a%' OR v / 2 > -1e300 AND NOT k IN ('x', 'y') AND d <> 1.5", raw, false);
    ops[2] = (struct weir_opspec){.tag = WEIR_OP_LOCAL_AGG, .uid = "w[local]", .name = "l", .input = raw, .output = partial};
    ops[3] = (struct weir_opspec){.tag = WEIR_OP_WINDOW_AGG, .uid = "w", .name = "w", .input = partial, .output = result};
    for (int i = 2; i <= 3; i++) {
        ops[i].u.agg.raw_input = raw;
        ops[i].u.agg.keys = keys;
        ops[i].u.agg.nkeys = 1;
        ops[i].u.agg.calls = calls;
        ops[i].u.agg.ncalls = 2;
        ops[i].u.agg.window = (struct weir_window_spec){.kind = WEIR_WINDOW_HOP, .time_column = 3, .size_ms = 20000, .slide_ms = 5000};
        ops[i].u.agg.partial = i == 3;
    }
    ops[4] = (struct weir_opspec){.tag = WEIR_OP_CALC, .uid = "cast", .name = "", .input = result, .output = last};
    const struct weir_expr **exprs = weir_arena_alloc(arena, 3 * sizeof(*exprs));
    exprs[0] = bound(graph, "CASE WHEN n > 3 THEN TRY_CAST(m AS DOUBLE) WHEN k IS NULL THEN -0e0 ELSE NULL END", result, false);
    exprs[1] = bound(graph, "COALESCE(k, UPPER(m), 'it''s')", result, false);
    exprs[2] = bound(graph, "CAST(n AS DECIMAL(38, 3)) + 12345678901234567890.125", result, false);
    ops[4].u.calc.exprs = exprs;
    ops[4].u.calc.nexprs = 3;
    ops[5] = (struct weir_opspec){.tag = WEIR_OP_SINK, .uid = "write", .name = "sink", .input = last, .u.io.table = out};

    ops[6] = (struct weir_opspec){.tag = WEIR_OP_SINK, .uid = "bad", .name = "bad", .input = in->error_table->schema, .u.io.table = in->error_table};

    const struct weir_opspec **chain = weir_arena_alloc(arena, 7 * sizeof(*chain));
    for (int i = 0; i < 7; i++) {
        chain[i] = &ops[i];
    }
    link_up(graph, chain, partial, in->error_table->schema);
    finish(graph);
    return graph;
}

START_TEST(decoding_and_encoding_again_gives_the_same_bytes)
{
    struct weir_jobgraph *graph = make_graph();
    struct weir_jobgraph *decoded = NULL;
    struct weir_buf bytes = {0};
    struct weir_buf again = {0};
    struct weir_buf text = {0};
    struct weir_buf text_again = {0};
    struct weir_error err = {0};
    weir_plan_encode(graph, &bytes);
    ck_assert_msg(weir_plan_decode(weir_buf_slice(&bytes), &decoded, &err) == WEIR_OK, "%s", err.text);
    weir_plan_encode(decoded, &again);
    ck_assert(weir_slice_eq(weir_buf_slice(&bytes), weir_buf_slice(&again)));
    weir_jobgraph_format(graph, &text);
    weir_jobgraph_format(decoded, &text_again);
    ck_assert(weir_slice_eq(weir_buf_slice(&text), weir_buf_slice(&text_again)));
    ck_assert_uint_eq(weir_jobgraph_tasks(decoded), 7);
    ck_assert(decoded->edges[1].side);
    ck_assert_uint_eq(weir_jobgraph_task_index(decoded, 1, 2), 4);
    ck_assert_uint_eq(weir_jobgraph_slots(decoded), 3);
    const struct weir_table_spec *out = decoded->vertices[1].ops[2]->u.io.table;
    ck_assert_uint_eq(out->nprimary_key, 2);
    ck_assert_uint_eq(out->primary_key[0], 2);
    ck_assert_uint_eq(out->primary_key[1], 0);
    ck_assert_ptr_null(decoded->vertices[0].ops[0]->u.io.table->primary_key);
    ck_assert_str_eq(weir_table_option(decoded->vertices[0].ops[0]->u.io.table, "path"), "/tmp/in");
    weir_jobgraph_destroy(decoded);
    weir_jobgraph_destroy(graph);
    weir_buf_fini(&text_again);
    weir_buf_fini(&text);
    weir_buf_fini(&again);
    weir_buf_fini(&bytes);
}
END_TEST

/* What the checksum would catch reaches the decoder all the same. */
static void seal(struct weir_buf *bytes)
{
    if (bytes->len >= WEIR_PLAN_HEADER_BYTES) {
        weir_buf_set_u32(bytes, 8, weir_crc32c(0, bytes->data + WEIR_PLAN_HEADER_BYTES, bytes->len - WEIR_PLAN_HEADER_BYTES));
    }
}

static void decode_anything(struct weir_buf *bytes)
{
    struct weir_jobgraph *graph = NULL;
    struct weir_error err = {0};
    enum weir_rc rc = weir_plan_decode(weir_buf_slice(bytes), &graph, &err);
    ck_assert((rc == WEIR_OK) == (graph != NULL));
    ck_assert(rc == WEIR_OK || err.text[0] != '\0');
    if (graph != NULL) { /* a change that is harmless: the graph must still be sound */
        struct weir_buf text = {0};
        struct weir_buf again = {0};
        weir_jobgraph_format(graph, &text);
        weir_plan_encode(graph, &again);
        weir_buf_fini(&again);
        weir_buf_fini(&text);
        weir_jobgraph_destroy(graph);
    }
}

START_TEST(every_truncation_is_refused)
{
    struct weir_jobgraph *graph = make_graph();
    struct weir_buf bytes = {0};
    weir_plan_encode(graph, &bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        struct weir_buf cut = {0};
        weir_buf_put(&cut, bytes.data, len);
        struct weir_jobgraph *decoded = NULL;
        struct weir_error err = {0};
        ck_assert_int_eq(weir_plan_decode(weir_buf_slice(&cut), &decoded, &err), WEIR_CORRUPT);
        seal(&cut);
        ck_assert_msg(weir_plan_decode(weir_buf_slice(&cut), &decoded, &err) != WEIR_OK, "a cut at %zu went unnoticed", len);
        weir_buf_fini(&cut);
    }
    weir_buf_fini(&bytes);
    weir_jobgraph_destroy(graph);
}
END_TEST

START_TEST(changed_bytes_never_crash)
{
    struct weir_jobgraph *graph = make_graph();
    struct weir_buf bytes = {0};
    weir_plan_encode(graph, &bytes);
    struct weir_rand rand;
    weir_rand_init(&rand, 5);
    for (int round = 0; round < 20000; round++) {
        struct weir_buf copy = {0};
        weir_buf_put_slice(&copy, weir_buf_slice(&bytes));
        for (uint64_t i = 1 + weir_rand_below(&rand, 3); i > 0; i--) {
            size_t at = WEIR_PLAN_HEADER_BYTES + weir_rand_below(&rand, copy.len - WEIR_PLAN_HEADER_BYTES);
            copy.data[at] = weir_rand_below(&rand, 2) == 0 ? (uint8_t)(copy.data[at] ^ (1u << weir_rand_below(&rand, 8)))
                                                            : (uint8_t)weir_rand_u64(&rand);
        }
        seal(&copy);
        decode_anything(&copy);
        weir_buf_fini(&copy);
    }
    weir_buf_fini(&bytes);
    weir_jobgraph_destroy(graph);
}
END_TEST

START_TEST(another_version_names_both)
{
    struct weir_jobgraph *graph = make_graph();
    struct weir_jobgraph *decoded = NULL;
    struct weir_buf bytes = {0};
    struct weir_error err = {0};
    weir_plan_encode(graph, &bytes);
    weir_buf_set_u32(&bytes, 4, 77);
    ck_assert_int_eq(weir_plan_decode(weir_buf_slice(&bytes), &decoded, &err), WEIR_UNSUPPORTED);
    ck_assert_str_eq(err.text, "plan: a job graph of version 77; this Weir reads version 1");
    weir_buf_fini(&bytes);
    weir_jobgraph_destroy(graph);
}
END_TEST

/* A message of nodes that nest as deep as there are nodes, and one that claims more arguments than it has. */
START_TEST(expressions_are_bounded_in_depth_and_arguments)
{
    enum { NODES = 5000 };
    static Weir__Plan__ExprNode nodes[NODES];
    static Weir__Plan__ExprNode *list[NODES];
    Weir__Plan__Type type = WEIR__PLAN__TYPE__INIT;
    type.id = WEIR_TYPE_INT;
    char name[] = "-";
    for (int i = 0; i < NODES; i++) {
        weir__plan__expr_node__init(&nodes[i]);
        nodes[i].kind = WEIR_EXPR_CALL;
        nodes[i].name = name;
        nodes[i].type = &type;
        nodes[i].nargs = i + 1 < NODES;
        list[i] = &nodes[i];
    }
    Weir__Plan__Expr message = WEIR__PLAN__EXPR__INIT;
    message.nodes = list;
    message.n_nodes = NODES;
    struct weir_arena *arena = weir_arena_create(0);
    struct weir_expr *expr = NULL;
    struct weir_error err = {0};
    ck_assert_int_eq(weir_expr_decode(&message, arena, &expr, &err), WEIR_LIMIT);
    nodes[0].nargs = UINT32_MAX;
    ck_assert_int_eq(weir_expr_decode(&message, arena, &expr, &err), WEIR_CORRUPT);
    nodes[0].nargs = 0;
    ck_assert_int_eq(weir_expr_decode(&message, arena, &expr, &err), WEIR_CORRUPT);
    message.n_nodes = 1;
    ck_assert_int_eq(weir_expr_decode(&message, arena, &expr, &err), WEIR_OK);
    weir_arena_destroy(arena);
}
END_TEST

Suite *plan_codec_suite(void);
Suite *plan_codec_suite(void)
{
    Suite *suite = suite_create("plan_codec");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, decoding_and_encoding_again_gives_the_same_bytes);
    tcase_add_test(tc, every_truncation_is_refused);
    tcase_add_test(tc, changed_bytes_never_crash);
    tcase_add_test(tc, another_version_names_both);
    tcase_add_test(tc, expressions_are_bounded_in_depth_and_arguments);
    suite_add_tcase(suite, tc);
    return suite;
}
