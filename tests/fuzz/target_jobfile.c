/*
 * Job files: whatever the text, a plan or an error that names the place. A plan goes to TaskManagers and comes back the same.
 */
#include "common/base/mem.h"
#include "jobmanager/jobfile/jobfile.h"
#include "proto/plan_codec.h"
#include "tests/fuzz/fuzz.h"

static void *create(void)
{
    return weir_config_create();
}

static void destroy(void *state)
{
    weir_config_destroy(state);
}

static void run(void *state, struct weir_slice input)
{
    static const char name[] = "job.yaml";
    struct weir_jobgraph *graph = NULL;
    struct weir_error err = {0};
    if (weir_jobfile_plan(input, name, 0, state, &graph, &err) != WEIR_OK) {
        weir_assert(strncmp(err.text, name, sizeof(name) - 1) == 0);
        return;
    }
    struct weir_buf first = {0};
    struct weir_buf second = {0};
    struct weir_jobgraph *again = NULL;
    weir_plan_encode(graph, &first);
    enum weir_rc rc = weir_plan_decode(weir_buf_slice(&first), &again, &err);
    weir_assert(rc == WEIR_OK);
    weir_plan_encode(again, &second);
    weir_assert(weir_slice_eq(weir_buf_slice(&first), weir_buf_slice(&second)));
    weir_buf_clear(&second);
    weir_jobgraph_format(graph, &second);
    weir_buf_fini(&first);
    weir_buf_fini(&second);
    weir_jobgraph_destroy(again);
    weir_jobgraph_destroy(graph);
}

static const char *const tokens[] = {"&a ", "*a", "!!str ", "<<: ", "- ", ": ", "{", "}", "[", "]", "\"", "'", "\n", "\t", "  ", "# ", "|\n", ">\n", "---\n",
                                     "%YAML 9.9\n", "\xef\xbb\xbf", "\xff\xfe", "? ", ",", "job: ", "settings:", "tables:", "pipeline:", "columns:",
                                     "watermark:", "with:", "connector: ", "datagen", "filesystem", "kafka", "print", "blackhole", "on-error: ",
                                     "id: ", "input: ", "source: ", "sink: ", "filter: ", "project: ", "key_by: ", "window: ", "tumble: ", "hop: ",
                                     "aggregate: ", "COUNT(*)", "SUM(v)", "1 = 1", "20 s", "-1", "99999999999999999999", "TIMESTAMP(3)",
                                     "\"DECIMAL(38, 10)\"", NULL};

const struct weir_fuzz_target weir_fuzz_jobfile = {.name = "jobfile", .tokens = tokens, .also = "examples", .create = create, .run = run, .destroy = destroy};
