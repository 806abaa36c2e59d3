#include "common/plan/jobgraph.h"

#include <check.h>

/* A small sound graph whose parts can be spoiled: two sources -> union -> sink, all of (v BIGINT). */
struct parts {
    struct weir_jobgraph *graph;
    struct weir_table_spec table;
    struct weir_opspec source, all, sink;
    const struct weir_opspec *source_chain[1], *last_chain[2];
    struct weir_vertex vertices[3];
    struct weir_edge edges[2];
    uint32_t key;
    uint32_t beyond, twice[2]; /* for primary keys */
};

static const struct weir_schema *make_schema(struct weir_jobgraph *graph, enum weir_type_id type)
{
    struct weir_field fields[] = {{"v", weir_type_of(type)}};
    struct weir_schema *schema = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_schema_create(fields, 1, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    return weir_jobgraph_own_schema_take(graph, schema);
}

static void parts_init(struct parts *p)
{
    *p = (struct parts){.graph = weir_jobgraph_create(), .beyond = 1};
    const struct weir_schema *schema = make_schema(p->graph, WEIR_TYPE_BIGINT);
    p->table = (struct weir_table_spec){.name = "t", .schema = schema, .connector = "datagen"};
    p->source = (struct weir_opspec){.tag = WEIR_OP_SOURCE, .uid = "read", .name = "", .output = schema, .u.io.table = &p->table};
    p->all = (struct weir_opspec){.tag = WEIR_OP_UNION_ALL, .uid = "all", .name = "", .input = schema, .output = schema};
    p->sink = (struct weir_opspec){.tag = WEIR_OP_SINK, .uid = "write", .name = "", .input = schema, .u.io.table = &p->table};
    p->source_chain[0] = &p->source;
    p->last_chain[0] = &p->all;
    p->last_chain[1] = &p->sink;
    for (uint32_t i = 0; i < 3; i++) {
        p->vertices[i] = (struct weir_vertex){.id = "00112233445566778899aabbccddeeff", .name = "v", .parallelism = 2 + i,
                                              .max_parallelism = 8, .ops = i < 2 ? p->source_chain : p->last_chain, .nops = i < 2 ? 1 : 2};
    }
    /* Input 1 comes first among the edges: links are ordered by input. */
    p->edges[0] = (struct weir_edge){.from = 0, .to = 2, .input = 1, .exchange = WEIR_EXCHANGE_REBALANCE, .schema = schema};
    p->edges[1] = (struct weir_edge){.from = 1, .to = 2, .input = 0, .exchange = WEIR_EXCHANGE_HASH, .schema = schema, .keys = &p->key,
                                     .nkeys = 1};
    struct weir_jobgraph *graph = p->graph;
    graph->name = "job";
    graph->settings = (struct weir_job_settings){.parallelism = 2, .max_parallelism = 8, .watermark_interval_ms = 200,
                                                 .record_bytes_max = 1024};
    graph->vertices = p->vertices;
    graph->nvertices = 3;
    graph->edges = p->edges;
    graph->nedges = 2;
    weir_jobgraph_link(graph, p->vertices);
}

START_TEST(a_sound_graph_passes_and_is_counted)
{
    struct parts p;
    parts_init(&p);
    struct weir_error err = {0};
    ck_assert_msg(weir_jobgraph_check(p.graph, &err) == WEIR_OK, "%s", err.text);
    ck_assert_uint_eq(p.vertices[2].ninputs, 2);
    ck_assert_uint_eq(p.vertices[2].inputs[0], 1);
    ck_assert_uint_eq(p.vertices[2].inputs[1], 0);
    ck_assert_uint_eq(p.vertices[1].outputs[0], 1);
    ck_assert_uint_eq(weir_jobgraph_tasks(p.graph), 2 + 3 + 4);
    ck_assert_uint_eq(weir_jobgraph_slots(p.graph), 4);
    uint32_t index = 0;
    for (uint32_t v = 0; v < 3; v++) {
        for (uint32_t subtask = 0; subtask < p.vertices[v].parallelism; subtask++) {
            ck_assert_uint_eq(weir_jobgraph_task_index(p.graph, v, subtask), index++);
        }
    }
    weir_jobgraph_destroy(p.graph);
    weir_jobgraph_destroy(NULL);
}
END_TEST

#define SPOIL(name, what) static void spoil_##name(struct parts *p) { what; }
SPOIL(nothing_to_run, p->graph->nvertices = 0)
SPOIL(job_name, p->graph->name = "")
SPOIL(setting, p->graph->settings.watermark_interval_ms = 0)
SPOIL(id_length, p->vertices[0].id = "0011")
SPOIL(id_digits, p->vertices[0].id = "0011223344556677x899aabbccddeeff")
SPOIL(parallelism, p->vertices[1].parallelism = 9)
SPOIL(no_ops, p->vertices[1].nops = 0)
SPOIL(uid, p->source.uid = "")
SPOIL(tag, p->all.tag = (enum weir_op_tag)99)
SPOIL(no_input, p->all.input = NULL)
SPOIL(extra_output, p->sink.output = p->sink.input)
SPOIL(no_table, p->sink.u.io.table = NULL)
SPOIL(watermark, p->table.has_watermark = true)
SPOIL(error_table, p->table.on_error = WEIR_ON_ERROR_TABLE)
SPOIL(primary_key, p->table.primary_key = &p->beyond; p->table.nprimary_key = 1)
SPOIL(primary_key_twice, p->table.primary_key = p->twice; p->table.nprimary_key = 2)
SPOIL(columns, p->source.output = make_schema(p->graph, WEIR_TYPE_INT))
SPOIL(union_type, p->all.output = make_schema(p->graph, WEIR_TYPE_INT))
SPOIL(sink_inside, p->last_chain[0] = &p->sink)
SPOIL(source_inside, p->last_chain[1] = &p->source)
SPOIL(backwards, p->edges[0].from = 2)
SPOIL(nowhere, p->edges[0].to = 3)
SPOIL(edge_columns, p->edges[0].schema = make_schema(p->graph, WEIR_TYPE_INT))
SPOIL(hash_without_keys, p->edges[1].nkeys = 0)
SPOIL(keys_without_hash, p->edges[1].exchange = WEIR_EXCHANGE_BROADCAST)
SPOIL(key_column, p->key = 1)
SPOIL(exchange, p->edges[0].exchange = (enum weir_exchange)9)
SPOIL(forward, p->edges[0].exchange = WEIR_EXCHANGE_FORWARD)
SPOIL(same_input, p->edges[0].input = 0)
SPOIL(input_missing, p->vertices[2].ninputs = 1)
SPOIL(output_missing, p->vertices[0].noutputs = 0)

static const struct {
    void (*spoil)(struct parts *p);
    const char *problem;
} wrong[] = {
    {spoil_nothing_to_run, "0 vertices; expected 1 to"},
    {spoil_job_name, "the job's name"},
    {spoil_setting, "a setting is out of range"},
    {spoil_id_length, "no id of 32"},
    {spoil_id_digits, "not hexadecimal"},
    {spoil_parallelism, "parallelism 9 of 8"},
    {spoil_no_ops, "has no operators"},
    {spoil_uid, "has no uid"},
    {spoil_tag, "of no known kind"},
    {spoil_no_input, "lacks an input"},
    {spoil_extra_output, "one too many"},
    {spoil_no_table, "its table is not whole"},
    {spoil_watermark, "watermark without a time column"},
    {spoil_error_table, "do not agree"},
    {spoil_primary_key, "primary key names a column twice"},
    {spoil_primary_key_twice, "primary key names a column twice"},
    {spoil_columns, "its columns are not its table's"},
    {spoil_union_type, "it changes columns"},
    {spoil_sink_inside, "only the last of a chain can be a sink"},
    {spoil_source_inside, "only the first of a chain can be a source"},
    {spoil_backwards, "edge 0 goes from 2 to 2"},
    {spoil_nowhere, "edge 0 goes from 0 to 3"},
    {spoil_edge_columns, "edge 0: its columns are not those of both ends"},
    {spoil_hash_without_keys, "keys and a hash exchange go together"},
    {spoil_keys_without_hash, "keys and a hash exchange go together"},
    {spoil_key_column, "edge 1: key column 1 of 1"},
    {spoil_exchange, "unknown exchange 9"},
    {spoil_forward, "forward from parallelism 2 to 4"},
    {spoil_same_input, "its inputs do not fit"},
    {spoil_input_missing, "its inputs do not fit"},
    {spoil_output_missing, "its outputs do not fit"},
};

START_TEST(a_broken_graph_is_refused_with_the_reason)
{
    struct parts p;
    parts_init(&p);
    wrong[_i].spoil(&p);
    struct weir_error err = {0};
    ck_assert_int_eq(weir_jobgraph_check(p.graph, &err), WEIR_INVALID);
    ck_assert_msg(strstr(err.text, wrong[_i].problem) != NULL, "%s", err.text);
    weir_jobgraph_destroy(p.graph);
}
END_TEST

START_TEST(parallelism_is_limited_and_comes_back)
{
    struct parts p;
    parts_init(&p);
    static const uint32_t limits[] = {3, 1, 0, 8};
    for (size_t k = 0; k < 4; k++) {
        weir_jobgraph_limit_parallelism(p.graph, limits[k]);
        ck_assert_uint_eq(weir_jobgraph_slots_at(p.graph, NULL, limits[k]), weir_jobgraph_slots(p.graph));
        const bool second[] = {false, true, false};
        ck_assert_uint_eq(weir_jobgraph_slots_at(p.graph, second, limits[k]), p.vertices[1].parallelism);
        for (uint32_t i = 0; i < 3; i++) {
            ck_assert_uint_eq(p.vertices[i].submitted_parallelism, 2 + i);
            ck_assert_uint_eq(p.vertices[i].parallelism, limits[k] != 0 && limits[k] < 2 + i ? limits[k] : 2 + i);
        }
    }
    weir_jobgraph_destroy(p.graph);
}
END_TEST

Suite *jobgraph_suite(void);
Suite *jobgraph_suite(void)
{
    Suite *suite = suite_create("jobgraph");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, a_sound_graph_passes_and_is_counted);
    tcase_add_test(tc, parallelism_is_limited_and_comes_back);
    tcase_add_loop_test(tc, a_broken_graph_is_refused_with_the_reason, 0, sizeof(wrong) / sizeof(wrong[0]));
    suite_add_tcase(suite, tc);
    return suite;
}
