#include "jobmanager/jobfile/jobfile.h"

#include "common/base/assert.h"
#include "jobmanager/jobfile/jobfile_bind.h"
#include "jobmanager/jobfile/jobfile_plan.h"
#include "jobmanager/jobfile/jobfile_read.h"

enum { KEY_BYTES_MAX = 256 };

/* --- settings --------------------------------------------------------------------------------------------------------- */

/* Nested maps and dotted keys are the same thing. */
static void read_setting(struct weir_jobfile *jf, struct weir_config *config, struct weir_slice key, const struct weir_yaml *key_node,
                         const struct weir_yaml *value)
{
    struct weir_slice text;
    if (key.len > KEY_BYTES_MAX) {
        weir__jobfile_problem(jf, key_node, "a setting's key has more than %d bytes", KEY_BYTES_MAX);
        return;
    }
    if (value->kind == WEIR_YAML_MAP) {
        for (size_t i = 0; i < value->count; i++) {
            const char *name = weir_arena_fmt(jf->arena, "%.*s.%.*s", WEIR_SLICE_ARG(key), WEIR_SLICE_ARG(value->keys[i]->text));
            read_setting(jf, config, weir_slice_str(name), value->keys[i], value->items[i]);
        }
        return;
    }
    const char *what = weir_arena_fmt(jf->arena, "setting \"%.*s\"", WEIR_SLICE_ARG(key));
    if (!weir__jobfile_text(jf, value, what, &text)) {
        return;
    }
    struct weir_error err;
    if (weir_config_set(config, key, text, "job file", WEIR_SCOPE_JOB, &err) != WEIR_OK) {
        /* The message begins with the origin, which the position replaces. */
        const char *message = strncmp(err.text, "job file: ", strlen("job file: ")) == 0 ? err.text + strlen("job file: ") : err.text;
        weir__jobfile_problem(jf, key_node, "%s", message);
    }
}

static void check_settings(struct weir_jobfile *jf, const struct weir_yaml *node)
{
    const struct weir_job_settings *settings = &jf->graph->settings;
    if (settings->parallelism > settings->max_parallelism) {
        weir__jobfile_problem(jf, node, "the parallelism is %u, more than pipeline.max-parallelism, %u", settings->parallelism,
                              settings->max_parallelism);
    }
}

static void read_restart(struct weir_jobfile *jf, const struct weir_config *config, const struct weir_yaml *node)
{
    static const char *const names[] = {[WEIR_RESTART_NONE] = "none",
                                        [WEIR_RESTART_FIXED_DELAY] = "fixed-delay",
                                        [WEIR_RESTART_FAILURE_RATE] = "failure-rate",
                                        [WEIR_RESTART_EXPONENTIAL_DELAY] = "exponential-delay"};
    const char *name = weir_config_string(config, WEIR_CFG_RESTART_TYPE);
    bool by_default = !weir_config_is_set(config, WEIR_CFG_RESTART_TYPE) && jf->graph->settings.checkpoint_interval_ms > 0;
    size_t type = by_default ? WEIR_RESTART_EXPONENTIAL_DELAY : 0; /* Flink's default for jobs with checkpoints */
    while (!by_default && type < sizeof(names) / sizeof(names[0]) && strcmp(name, names[type]) != 0) {
        type++;
    }
    struct weir_restart_settings *restart = &jf->graph->settings.restart;
    *restart = (struct weir_restart_settings){.type = (enum weir_restart_type)type};
    if (type == sizeof(names) / sizeof(names[0])) {
        restart->type = WEIR_RESTART_NONE;
        weir__jobfile_problem(jf, node, "restart-strategy.type is \"%s\"; expected none, fixed-delay, failure-rate or exponential-delay", name);
    } else if (type == WEIR_RESTART_FIXED_DELAY) {
        restart->attempts_max = weir_config_int(config, WEIR_CFG_RESTART_ATTEMPTS);
        restart->delay_ms = weir_config_int(config, WEIR_CFG_RESTART_DELAY);
    } else if (type == WEIR_RESTART_FAILURE_RATE) {
        restart->failures_max = weir_config_int(config, WEIR_CFG_RESTART_RATE_FAILURES);
        restart->interval_ms = weir_config_int(config, WEIR_CFG_RESTART_RATE_INTERVAL);
        restart->delay_ms = weir_config_int(config, WEIR_CFG_RESTART_RATE_DELAY);
    } else if (type == WEIR_RESTART_EXPONENTIAL_DELAY) {
        restart->attempts_max = weir_config_int(config, WEIR_CFG_RESTART_EXP_ATTEMPTS);
        restart->delay_ms = weir_config_int(config, WEIR_CFG_RESTART_EXP_INITIAL);
        restart->delay_max_ms = weir_config_int(config, WEIR_CFG_RESTART_EXP_MAX);
        restart->reset_ms = weir_config_int(config, WEIR_CFG_RESTART_EXP_RESET);
        restart->multiplier = weir_config_double(config, WEIR_CFG_RESTART_EXP_MULTIPLIER);
        restart->jitter = weir_config_double(config, WEIR_CFG_RESTART_EXP_JITTER);
    }
    if (type == WEIR_RESTART_EXPONENTIAL_DELAY && restart->multiplier <= 1) {
        weir__jobfile_problem(jf, node, "restart-strategy.exponential-delay.backoff-multiplier is %g; expected more than 1", restart->multiplier);
    }
    if (type == WEIR_RESTART_EXPONENTIAL_DELAY && restart->delay_ms > restart->delay_max_ms) {
        weir__jobfile_problem(jf, node, "restart-strategy.exponential-delay.initial-backoff, %lld ms, is more than max-backoff, %lld ms",
                              (long long)restart->delay_ms, (long long)restart->delay_max_ms);
    }
}

/* -p beats the file beats the configuration. */
static void read_settings(struct weir_jobfile *jf, const struct weir_yaml *root, uint32_t parallelism, const struct weir_config *defaults)
{
    const struct weir_yaml *node = weir_yaml_get(root, "settings");
    struct weir_config *config = weir_config_copy(defaults);
    if (node != NULL && node->kind != WEIR_YAML_MAP && !weir_yaml_is_null(node)) {
        weir__jobfile_problem(jf, node, "settings is not a map; expected settings: {parallelism.default: 2, ...}");
    }
    for (size_t i = 0; node != NULL && node->kind == WEIR_YAML_MAP && i < node->count; i++) {
        read_setting(jf, config, node->keys[i]->text, node->keys[i], node->items[i]);
    }
    struct weir_job_settings *settings = &jf->graph->settings;
    settings->parallelism = parallelism != 0 ? parallelism : (uint32_t)weir_config_int(config, WEIR_CFG_PARALLELISM);
    settings->max_parallelism = (uint32_t)weir_config_int(config, WEIR_CFG_MAX_PARALLELISM);
    settings->watermark_interval_ms = weir_config_int(config, WEIR_CFG_WATERMARK_INTERVAL);
    settings->idle_timeout_ms = weir_config_int(config, WEIR_CFG_IDLE_TIMEOUT);
    settings->buffer_timeout_ms = weir_config_int(config, WEIR_CFG_BUFFER_TIMEOUT);
    settings->checkpoint_interval_ms = weir_config_int(config, WEIR_CFG_CHECKPOINT_INTERVAL);
    settings->checkpoint_timeout_ms = weir_config_int(config, WEIR_CFG_CHECKPOINT_TIMEOUT);
    settings->checkpoint_min_pause_ms = weir_config_int(config, WEIR_CFG_CHECKPOINT_MIN_PAUSE);
    settings->checkpoint_failures_max = weir_config_int(config, WEIR_CFG_CHECKPOINT_TOLERABLE);
    settings->record_bytes_max = weir_config_int(config, WEIR_CFG_RECORD_BYTES_MAX);
    read_restart(jf, config, node != NULL ? node : root);
    check_settings(jf, node != NULL ? node : root);
    weir_config_destroy(config);
}

/* --- the file --------------------------------------------------------------------------------------------------------- */

static void read_name(struct weir_jobfile *jf, const struct weir_yaml *root)
{
    const struct weir_yaml *node = weir_yaml_get(root, "job");
    struct weir_slice text;
    if (node == NULL) {
        weir__jobfile_problem(jf, root, "the job has no name; expected job: NAME");
        return;
    }
    if (!weir__jobfile_text(jf, node, "the job's name", &text)) {
        return;
    }
    bool printable = true;
    for (size_t i = 0; i < text.len; i++) {
        printable = printable && text.data[i] >= 0x20 && text.data[i] != 0x7f;
    }
    if (text.len > WEIR_NAME_MAX || !printable) {
        weir__jobfile_problem(jf, node, "the job's name is too long or has control characters; expected 1 to %d bytes on one line",
                              WEIR_NAME_MAX);
        return;
    }
    jf->graph->name = weir_arena_strndup(jf->arena, text.data, text.len);
}

static void read_file(struct weir_jobfile *jf, const struct weir_yaml *root, uint32_t parallelism, const struct weir_config *defaults)
{
    static const char *const keys[] = {"job", "settings", "tables", "pipeline", NULL};
    if (!weir__jobfile_map(jf, root, "the job file", keys) && root->kind != WEIR_YAML_MAP) {
        return;
    }
    read_name(jf, root);
    read_settings(jf, root, parallelism, defaults);
    const struct weir_yaml *tables = weir_yaml_get(root, "tables");
    const struct weir_yaml *pipeline = weir_yaml_get(root, "pipeline");
    if (tables == NULL || pipeline == NULL) {
        weir__jobfile_problem(jf, root,
                              "the job has no %s; expected job, tables and pipeline", tables == NULL ? "tables" : "pipeline");
        return;
    }
    weir__jobfile_read_tables(jf, tables);
    weir__jobfile_read_steps(jf, pipeline);
    weir__jobfile_bind(jf);
}

enum weir_rc weir_jobfile_plan(struct weir_slice text, const char *file_name, uint32_t parallelism, const struct weir_config *defaults,
                               struct weir_jobgraph **out_graph, struct weir_error *err)
{
    weir_assert(defaults != NULL);
    if (parallelism > WEIR_PARALLELISM_MAX) {
        return weir_error_set(err, WEIR_INVALID, "parallelism %u; expected 1 to %d", parallelism, WEIR_PARALLELISM_MAX);
    }
    struct weir_jobfile jf = {.file = file_name, .text = text, .graph = weir_jobgraph_create()};
    jf.arena = jf.graph->arena;
    const struct weir_yaml *root = NULL;
    enum weir_rc rc = weir_yaml_parse(text, file_name, jf.arena, &root, err);
    if (rc != WEIR_OK) {
        goto out;
    }
    read_file(&jf, root, parallelism, defaults);
    if (jf.nproblems > 0) {
        rc = weir__jobfile_problems_error(&jf, err);
        goto out;
    }
    rc = weir__jobfile_make_graph(&jf, err);
    if (rc != WEIR_OK) {
        (void)weir_error_prefix(err, "%s", file_name);
        goto out;
    }
    *out_graph = jf.graph;
    jf.graph = NULL;
out:
    weir_buf_fini(&jf.problems);
    weir_jobgraph_destroy(jf.graph);
    return rc;
}
