#include "jobmanager/jobfile/jobfile.h"

#include "common/base/buf.h"
#include "common/base/rand.h"
#include "proto/plan_codec.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static const char base[] = "job: base\n"
                           "settings: {parallelism.default: 2}\n"
                           "tables:\n"
                           "  in:\n"
                           "    columns: {id: BIGINT, name: STRING, v: DOUBLE, at: TIMESTAMP(3)}\n"
                           "    watermark: {column: at, delay: 2 s}\n"
                           "    with: {connector: datagen, number-of-rows: 10}\n"
                           "  out:\n"
                           "    columns: {id: BIGINT, name: STRING, v: DOUBLE, at: TIMESTAMP(3)}\n"
                           "    with: {connector: filesystem, path: /tmp/x, format: json}\n"
                           "pipeline:\n"
                           "  - {id: read, source: in}\n"
                           "  - {id: keep, input: read, filter: \"v > 1\"}\n"
                           "  - {id: write, input: keep, sink: out}\n";

/* The base job with the first `find` replaced. */
static void make_job(const char *find, const char *replace, struct weir_buf *out)
{
    const char *at = strstr(base, find);
    ck_assert_msg(at != NULL, "the base job has no \"%s\"", find);
    weir_buf_put(out, base, (size_t)(at - base));
    weir_buf_put_str(out, replace);
    weir_buf_put_str(out, at + strlen(find));
}

static enum weir_rc plan(struct weir_slice text, const char *name, uint32_t parallelism, struct weir_jobgraph **out_graph,
                         struct weir_error *err)
{
    struct weir_config *config = weir_config_create();
    enum weir_rc rc = weir_jobfile_plan(text, name, parallelism, config, out_graph, err);
    weir_config_destroy(config);
    return rc;
}

static struct weir_jobgraph *must_plan(struct weir_slice text, const char *name, uint32_t parallelism)
{
    struct weir_jobgraph *graph = NULL;
    struct weir_error err;
    ck_assert_msg(plan(text, name, parallelism, &graph, &err) == WEIR_OK, "%s", err.text);
    return graph;
}

static bool read_whole(const char *path, struct weir_buf *out)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return false;
    }
    size_t got;
    do {
        got = fread(weir_buf_reserve(out, 4096), 1, 4096, file);
        out->len += got;
    } while (got > 0);
    (void)fclose(file);
    return true;
}

/* --- wrong job files -------------------------------------------------------------------------------------------------- */

/* The base job with one thing replaced, and all that is said about it. */
static const struct {
    const char *find, *replace, *problems;
} wrong[] = {
    {"job: base",
     "jobb: base",
     "job.yaml:1:1: unknown key \"jobb\" in the job file; did you mean job?\n"
     "job.yaml:1:1: the job has no name; expected job: NAME"},
    {"job: base\n",
     "",
     "job.yaml:1:1: the job has no name; expected job: NAME"},
    {"job: base",
     "job: [a]",
     "job.yaml:1:6: the job's name is a list; expected a text"},
    {"parallelism.default: 2",
     "parallelism.defualt: 2",
     "job.yaml:2:12: unknown setting \"parallelism.defualt\"; did you mean parallelism.default?"},
    {"parallelism.default: 2",
     "parallelism.default: many",
     "job.yaml:2:12: parallelism.default: \"many\" is not a whole number"},
    {"parallelism.default: 2",
     "rest.port: 80",
     "job.yaml:2:12: rest.port is a setting of the daemons, not of a job"},
    {"parallelism.default: 2",
     "pipeline.max-parallelism: 2, parallelism.default: 3",
     "job.yaml:2:11: the parallelism is 3, more than pipeline.max-parallelism, 2"},
    {"parallelism.default: 2",
     "restart-strategy.type: always",
     "job.yaml:2:11: restart-strategy.type is \"always\"; expected none, fixed-delay, failure-rate or exponential-delay"},
    {"parallelism.default: 2",
     "restart-strategy: {type: exponential-delay, exponential-delay: {backoff-multiplier: 1}}",
     "job.yaml:2:11: restart-strategy.exponential-delay.backoff-multiplier is 1; expected more than 1"},
    {"parallelism.default: 2",
     "restart-strategy: {type: exponential-delay, exponential-delay: {initial-backoff: 2 min}}",
     "job.yaml:2:11: restart-strategy.exponential-delay.initial-backoff, 120000 ms, is more than max-backoff, 60000 ms"},
    {"parallelism.default: 2",
     "restart-strategy.exponential-delay.jitter-factor: 1.01",
     "job.yaml:2:12: restart-strategy.exponential-delay.jitter-factor: 1.01 is out of range: 0 to 1"},
    {"parallelism.default: 2",
     "restart-strategy.exponential-delay.backoff-multiplier: 1e3",
     "job.yaml:2:12: restart-strategy.exponential-delay.backoff-multiplier: \"1e3\" is not a number such as 1.5"},
    {"id: BIGINT, name: STRING, v: DOUBLE, at: TIMESTAMP(3)}\n    watermark",
     "id: BIGINTT, name: STRING, v: DOUBLE, at: TIMESTAMP(3)}\n    watermark",
     "job.yaml:5:19: column \"id\": 'BIGINTT' is not a type; the types are BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), STRING, VARCHAR(n), BYTES, VARBINARY(n), DATE, TIME(p), TIMESTAMP(p), TIMESTAMP_LTZ(p), INTERVAL YEAR TO MONTH, INTERVAL DAY TO SECOND, each with or without NOT NULL"},
    {"v: DOUBLE, at: TIMESTAMP(3)}\n    watermark",
     "v: DECIMAL(10, 2), at: TIMESTAMP(3)}\n    watermark",
     "job.yaml:5:44: `DECIMAL(10` is cut at the comma: inside { } and [ ] a type or expression with commas must be quoted, as in \"DECIMAL(10, 2)\""},
    {"name: STRING, v: DOUBLE, at: TIMESTAMP(3)}\n    watermark",
     "$name: STRING, v: DOUBLE, at: TIMESTAMP(3)}\n    watermark",
     "job.yaml:5:27: \"$name\" cannot name a column; expected 1 to 255 bytes that do not begin with $"},
    {"name: STRING, v: DOUBLE, at: TIMESTAMP(3)}\n    watermark",
     "id: STRING, v: DOUBLE, at: TIMESTAMP(3)}\n    watermark",
     "job.yaml:5:27: duplicate key `id`: it stands at 5:15 already"},
    {"{column: at, delay: 2 s}",
     "{column: att, delay: 2 s}",
     "job.yaml:6:25: the table has no column \"att\"; did you mean \"at\"?"},
    {"{column: at, delay: 2 s}",
     "{column: v, delay: 2 s}",
     "job.yaml:6:25: the watermark's column \"v\" is DOUBLE; expected a TIMESTAMP or TIMESTAMP_LTZ"},
    {"{column: at, delay: 2 s}",
     "{column: at}",
     "job.yaml:6:16: the watermark has no delay; expected {column: NAME, delay: 2 s}"},
    {"{column: at, delay: 2 s}",
     "{column: at, delay: soon}",
     "job.yaml:6:36: the watermark's delay: \"soon\" is not a duration: a whole number and ms, s, min, h or d, as in \"100 ms\" or \"5 min\" (a bare number is milliseconds)"},
    {"{column: at, delay: 2 s}",
     "{column: at, delay: 2 s, lag: 1 s}",
     "job.yaml:6:41: unknown key \"lag\" in the watermark; expected column, delay"},
    {"connector: datagen",
     "connector: datagn",
     "job.yaml:7:23: there is no connector \"datagn\"; expected one of datagen, filesystem, print, blackhole, kafka, upsert-kafka"},
    {"connector: datagen, ",
     "",
     "job.yaml:7:11: table \"in\" has no connector; expected connector: one of datagen, filesystem, print, blackhole, kafka, upsert-kafka"},
    {"number-of-rows: 10",
     "number-of-row: 10",
     "job.yaml:7:32: connector \"datagen\" has no option \"number-of-row\"; did you mean \"number-of-rows\"?"},
    {"number-of-rows: 10",
     "number-of-rows: ten",
     "job.yaml:7:32: option \"number-of-rows\": \"ten\" is not a whole number"},
    {"number-of-rows: 10",
     "fields.vv.min: 10",
     "job.yaml:7:32: option \"fields.vv.min\": there is no column \"vv\"; the table has (id BIGINT, name STRING, v DOUBLE, at TIMESTAMP(3))"},
    {"number-of-rows: 10",
     "fields.v.length: 10",
     "job.yaml:7:32: option \"fields.v.length\" is for STRING columns; \"v\" is DOUBLE"},
    {"number-of-rows: 10",
     "fields.v.min: 5, fields.v.max: 4",
     "job.yaml:7:11: table \"in\": option \"fields.v.min\": 5 is greater than 4, its \"max\""},
    {"number-of-rows: 10",
     "fields.id.kind: sequence, fields.id.start: 1",
     "job.yaml:7:11: table \"in\": option \"fields.id.end\" is missing; kind sequence needs it"},
    {"number-of-rows: 10",
     "fields.id.step: 1 s",
     "job.yaml:7:32: option \"fields.id.step\" is for TIMESTAMP columns; \"id\" is BIGINT"},
    {"number-of-rows: 10",
     "fields.id.kind: squence",
     "job.yaml:7:32: option \"fields.id.kind\": \"squence\" is not one of random|sequence|time"},
    {"number-of-rows: 10",
     "fields.id.min: 1.5",
     "job.yaml:7:32: option \"fields.id.min\": \"1.5\" is not BIGINT"},
    {"number-of-rows: 10",
     "fields.v.null-rate: 2",
     "job.yaml:7:32: option \"fields.v.null-rate\": \"2\" is not a number from 0 to 1"},
    {"number-of-rows: 10",
     "format: json",
     "job.yaml:7:40: connector \"datagen\" takes no format"},
    {"path: /tmp/x, ",
     "",
     "job.yaml:10:11: table \"out\": connector \"filesystem\" needs the option \"path\" (directory (as a source also a single file))"},
    {", format: json",
     "",
     "job.yaml:10:11: connector \"filesystem\" needs a format; expected format: one of json"},
    {"format: json",
     "format: avro",
     "job.yaml:10:57: there is no format \"avro\"; expected one of json"},
    {"format: json",
     "format: json, json.timestamp-format.standard: iso",
     "job.yaml:10:63: option \"json.timestamp-format.standard\": \"iso\" is not one of SQL|ISO-8601"},
    {"format: json",
     "format: json, sink.rolling-policy.file-size: 0",
     "job.yaml:10:63: option \"sink.rolling-policy.file-size\": \"0\" is too small; expected at least 1 bytes"},
    {"format: json}",
     "format: json}\n    on-error: explode",
     "job.yaml:11:15: on-error is not understood; expected fail, skip or {table: NAME}"},
    {"number-of-rows: 10}",
     "number-of-rows: 10}\n    on-error: {table: out}",
     "job.yaml:9:3: table \"out\": a table of bad records has no column \"id\"; expected some of record, position, reason, source"},
    {"number-of-rows: 10}",
     "number-of-rows: 10}\n    on-error: {table: outt}",
     "job.yaml:8:23: there is no table \"outt\"; did you mean \"out\"?"},
    {"number-of-rows: 10}",
     "number-of-rows: 10}\n    on-error: {table: in}",
     "job.yaml:8:23: table \"in\" cannot receive bad records, since its own go to a table"},
    {"number-of-rows: 10}",
     "number-of-rows: 10}\n    on-eror: skip",
     "job.yaml:8:5: unknown key \"on-eror\" in a table; did you mean on-error?"},
    {"source: in}",
     "source: inn}",
     "job.yaml:12:24: there is no table \"inn\"; did you mean \"in\"?"},
    {"source: in}",
     "source: in, filter: \"v > 1\"}",
     "job.yaml:12:24: step \"read\" is a source and something else; expected only id and source, and another step behind it"},
    {"sink: out}",
     "sink: in}",
     "job.yaml:14:36: table \"in\" has connector \"datagen\", which cannot be written; expected one of filesystem, print, blackhole, kafka, upsert-kafka"},
    {"input: read,",
     "input: raed,",
     "job.yaml:13:23: there is no step \"raed\"; did you mean \"read\"?"},
    {"id: keep",
     "id: read",
     "job.yaml:13:10: there are two steps \"read\"; the first is at line 12\n"
     "job.yaml:14:24: there is no step \"keep\"; expected one of read"},
    {"id: keep",
     "id: \"to keep\"",
     "job.yaml:13:10: \"to keep\" cannot be a step's id; expected at most 127 letters, digits, _, - and .\n"
     "job.yaml:14:24: there is no step \"keep\"; expected one of read"},
    {"{id: keep, input: read",
     "{input: read",
     "job.yaml:13:5: a step has no id; expected id: NAME\n"
     "job.yaml:14:24: there is no step \"keep\"; expected one of read"},
    {"input: read,",
     "input: keep,",
     "job.yaml:12:10: no step reads step \"read\"; expected a sink behind it\n"
     "job.yaml:13:23: steps read each other in a circle: keep <- keep"},
    {"input: keep, sink",
     "input: read, sink",
     "job.yaml:13:10: no step reads step \"keep\"; expected a sink behind it"},
    {"input: keep, sink",
     "input: write, sink",
     "job.yaml:14:24: step \"write\" is a sink and gives no rows; expected the step before it"},
    {"filter: \"v > 1\"",
     "filter: \"v >\"",
     "job.yaml:13:41: expected an expression, found the end of the text"},
    {"filter: \"v > 1\"",
     "filter: \"v > 1 AND vv < 3\"",
     "job.yaml:13:48: there is no column vv; did you mean v?; the columns are (id BIGINT, name STRING, v DOUBLE, at TIMESTAMP(3))"},
    {"filter: \"v > 1\"",
     "filter: v + 1",
     "job.yaml:13:37: the filter is DOUBLE; expected BOOLEAN, as in \"speed >= 0\""},
    {"filter: \"v > 1\"",
     "filter: \"COUNT(*) > 1\"",
     "job.yaml:13:38: the aggregate COUNT cannot stand inside another expression"},
    {"filter: \"v > 1\"",
     "fliter: \"v > 1\"",
     "job.yaml:13:29: unknown key \"fliter\" in a step; did you mean filter?"},
    {"input: read, filter: \"v > 1\"",
     "filter: \"v > 1\"",
     "job.yaml:13:5: step \"keep\" has neither source nor input; expected one of them\n"
     "job.yaml:12:10: no step reads step \"read\"; expected a sink behind it"},
    {", filter: \"v > 1\"",
     "",
     "job.yaml:13:5: step \"keep\" does nothing; expected filter, project, aggregate or sink, or several inputs"},
    {"filter: \"v > 1\"",
     "project: {id: id, n: name}",
     "job.yaml:14:36: the columns of \"keep\" and of table \"out\" differ: not given: name, v, at; not in the table: n; expected the same names (use project)"},
    {"filter: \"v > 1\"",
     "project: [id, nam]",
     "job.yaml:13:43: there is no column \"nam\"; did you mean \"name\"?"},
    {"filter: \"v > 1\"",
     "project: {id: name, name: name, v: v, at: at}",
     "job.yaml:14:36: column \"id\" of table \"out\" is BIGINT, the input's is STRING; expected a CAST in a project"},
    {"filter: \"v > 1\"",
     "project: {id: id, name: \"NULL\", v: v, at: at}",
     "job.yaml:13:53: column \"name\" has no type; expected CAST(NULL AS ...)"},
    {"filter: \"v > 1\"",
     "key_by: [name]",
     "job.yaml:13:37: step \"keep\" has key_by or window without aggregate; expected aggregate: {NAME: \"COUNT(*)\"}"},
    {"filter: \"v > 1\"",
     "key_by: [nme], aggregate: {n: \"COUNT(*)\"}",
     "job.yaml:13:38: there is no column \"nme\"; did you mean \"name\"?"},
    {"filter: \"v > 1\"",
     "key_by: [name, name], aggregate: {n: \"COUNT(*)\"}",
     "job.yaml:13:44: \"name\" is a key twice"},
    {"filter: \"v > 1\"",
     "aggregate: {n: \"v + 1\"}",
     "job.yaml:13:47: expected an aggregate: COUNT(*), COUNT(x), SUM(x), AVG(x), MIN(x) or MAX(x)"},
    {"filter: \"v > 1\"",
     "aggregate: {n: \"SUM(name)\"}",
     "job.yaml:13:45: SUM of STRING does not exist; there are COUNT of anything, SUM and AVG of numbers, MIN and MAX of numbers, strings, dates, times and timestamps"},
    {"filter: \"v > 1\"",
     "aggregate: {n: \"COUNT(DISTINCT name)\"}",
     "job.yaml:13:45: COUNT(DISTINCT ...) is not supported yet"},
    {"filter: \"v > 1\"",
     "key_by: [name], aggregate: {name: \"COUNT(*)\"}",
     "job.yaml:13:56: two columns are called 'name' (the 1th and the 2th): rename one"},
    {"filter: \"v > 1\"",
     "key_by: [name], aggregate: {id: \"COUNT(*)\", v: \"AVG(v)\", at: \"MAX(at)\"}",
     "job.yaml:14:36: step \"write\" writes rows that are updated later (the result of an aggregate without window) into connector \"filesystem\", which can only add rows; expected a window, or a connector that takes updates (upsert-kafka, print, blackhole)"},
    {"filter: \"v > 1\"",
     "window: {tumble: 0 s}, aggregate: {n: \"COUNT(*)\"}",
     "job.yaml:13:46: the window's size is 0 ms; expected at least 1 ms"},
    {"filter: \"v > 1\"",
     "window: {cumulate: 5 s}, aggregate: {n: \"COUNT(*)\"}",
     "job.yaml:13:38: cumulate windows come with SQL and are not there yet; expected tumble or hop"},
    {"filter: \"v > 1\"",
     "window: {session: 5 s}, aggregate: {n: \"COUNT(*)\"}",
     "job.yaml:13:38: unknown key \"session\" in the window; expected tumble, hop, cumulate"},
    {"filter: \"v > 1\"",
     "window: {hop: {size: 5 s}}, aggregate: {n: \"COUNT(*)\"}",
     "job.yaml:13:43: the hop window has no slide; expected {size: 20 s, slide: 5 s}"},
    {"filter: \"v > 1\"",
     "window: {hop: {size: 5 s, slide: 6 s}}, aggregate: {n: \"COUNT(*)\"}",
     "job.yaml:13:62: the window's slide is longer than its size, so that rows between windows would be lost; expected at most 5000 ms"},
    {"filter: \"v > 1\"",
     "window: {hop: {size: 7 d, slide: 1 ms}}, aggregate: {n: \"COUNT(*)\"}",
     "job.yaml:13:62: the window consists of more than 100000 slices; expected a slide that divides the size more coarsely"},
    {"filter: \"v > 1\"}",
     "project: {v: v, t: \"at + INTERVAL '1' SECOND\"}}\n  - {id: w, input: keep, window: {tumble: 1 s}, aggregate: {n: \"COUNT(*)\"}}",
     "job.yaml:14:10: no step reads step \"w\"; expected a sink behind it\n"
     "job.yaml:14:34: the input has no event time; expected a source table with a watermark, whose column is passed on unchanged (the result of a window has none)\n"
     "job.yaml:15:36: the columns of \"keep\" and of table \"out\" differ: not given: id, name, at; not in the table: t; expected the same names (use project)"},
    {"filter: \"v > 1\"}",
     "aggregate: {n: \"COUNT(*)\"}}\n  - {id: w, input: keep, aggregate: {m: \"SUM(n)\"}}",
     "job.yaml:14:10: no step reads step \"w\"; expected a sink behind it\n"
     "job.yaml:14:37: step \"w\" aggregates rows that are updated later (the result of an aggregate without window); expected an input that only adds rows\n"
     "job.yaml:15:36: step \"write\" writes rows that are updated later (the result of an aggregate without window) into connector \"filesystem\", which can only add rows; expected a window, or a connector that takes updates (upsert-kafka, print, blackhole)"},
    {"columns: {id: BIGINT, name: STRING, v: DOUBLE, at: TIMESTAMP(3)}\n    with",
     "columns: {id: BIGINT NOT NULL, name: STRING, v: DOUBLE, at: TIMESTAMP(3)}\n    with",
     "job.yaml:14:36: column \"id\" of table \"out\" is NOT NULL, but the input's can be NULL; expected COALESCE in a project, or a column without NOT NULL"},
    {"columns: {id: BIGINT, name: STRING, v: DOUBLE, at: TIMESTAMP(3)}\n    with",
     "columns: {id: BIGINT, name: DATE, v: DOUBLE, at: TIMESTAMP(3)}\n    with",
     "job.yaml:14:36: column \"name\" of table \"out\" is DATE, the input's is STRING; expected a CAST in a project"},
    {"with: {connector: filesystem, path: /tmp/x, format: json}",
     "with: {connector: upsert-kafka, topic: t, properties.bootstrap.servers: \"b:9092\", value.format: json, key.format: json}",
     "job.yaml:8:3: table \"out\" has no primary key, but connector \"upsert-kafka\" writes each row under its key; expected primary_key: [COLUMN, ...] beside columns"},
    {"with: {connector: filesystem, path: /tmp/x, format: json}",
     "primary_key: [id, nam]\n    with: {connector: upsert-kafka, topic: t, properties.bootstrap.servers: \"b:9092\", value.format: json, key.format: json}",
     "job.yaml:10:23: the table has no column \"nam\"; did you mean \"name\"?"},
    {"with: {connector: filesystem, path: /tmp/x, format: json}",
     "primary_key: [id, name, id]\n    with: {connector: upsert-kafka, topic: t, properties.bootstrap.servers: \"b:9092\", value.format: json, key.format: json}",
     "job.yaml:10:29: \"id\" stands in the primary key twice"},
    {"with: {connector: filesystem, path: /tmp/x, format: json}",
     "primary_key: []\n    with: {connector: upsert-kafka, topic: t, properties.bootstrap.servers: \"b:9092\", value.format: json, key.format: json}",
     "job.yaml:10:18: the primary key is empty; expected primary_key: [COLUMN, ...]"},
    {"with: {connector: filesystem, path: /tmp/x, format: json}",
     "primary_key: {id: name}\n    with: {connector: upsert-kafka, topic: t, properties.bootstrap.servers: \"b:9092\", value.format: json, key.format: json}",
     "job.yaml:10:18: a column of the primary key is a map; expected a text"},
    {"with: {connector: filesystem",
     "primary_key: [id]\n    with: {connector: filesystem",
     "job.yaml:10:18: connector \"filesystem\" takes no primary_key; expected connector: upsert-kafka, or no primary_key"},
    {"pipeline:",
     "pipelines:",
     "job.yaml:11:1: unknown key \"pipelines\" in the job file; did you mean pipeline?\n"
     "job.yaml:1:1: the job has no pipeline; expected job, tables and pipeline"},
    {"job: base",
     "job: base\njob: twice",
     "job.yaml:2:1: duplicate key `job`: it stands at 1:1 already"},
    {"input: keep, sink: out}",
     "input: [keep, slim], sink: out}\n  - {id: slim, input: read, project: [id, name]}",
     "job.yaml:14:31: the inputs of a union have different columns: \"keep\" gives (id BIGINT, name STRING, v DOUBLE, at TIMESTAMP(3)), \"slim\" gives (id BIGINT, name STRING)"},
    {"{connector: filesystem, path: /tmp/x, format: json}",
     "{connector: filesystem, path: /tmp/x, value.format: json}",
     "job.yaml:10:63: connector \"filesystem\" has no option \"value.format\"; did you mean \"format\"?"},
    {"{connector: filesystem, path: /tmp/x, format: json}",
     "{connector: kafka, topic: t, properties.bootstrap.servers: a, format: json, value.format: json}",
     "job.yaml:10:101: format and value.format are the same option; expected one of them"},
    {"{connector: filesystem, path: /tmp/x, format: json}",
     "{connector: upsert-kafka, topic: t, properties.bootstrap.servers: a, key.format: json}",
     "job.yaml:10:11: connector \"upsert-kafka\" needs a format; expected value.format: one of json\n"
     "job.yaml:8:3: table \"out\" has no primary key, but connector \"upsert-kafka\" writes each row under its key; expected primary_key: "
     "[COLUMN, ...] beside columns"},
    {"{connector: filesystem, path: /tmp/x, format: json}",
     "{connector: kafka, topic: t, properties.bootstrap.servers: a, format: json, sink.delivery-guarantee: exactly-once, "
     "sink.transactional-id-prefix: p}",
     "job.yaml:10:11: table \"out\": sink.delivery-guarantee: exactly-once commits with checkpoints and needs the setting "
     "execution.checkpointing.interval (such as 1 s); without it use at-least-once"},
    {"{connector: filesystem, path: /tmp/x, format: json}",
     "{connector: kafka, topic: t, properties.bootstrap.servers: a, value.format: json, properties.ssl.key.password: hunter2}",
     "job.yaml:10:93: property \"ssl.key.password\" is a secret, which a job file must not hold: write ${file:/path} or ${env:NAME}, "
     "which the TaskManager replaces"},
    {"{connector: filesystem, path: /tmp/x, format: json}",
     "{connector: kafka, topic: t, properties.bootstrap.servers: a, value.format: json, properties.group.id: g}",
     "job.yaml:10:11: table \"out\": property \"group.id\" is for consumers, and the table is a sink"},
    {"filter: \"v > 1\"}",
     "filter: \"v > x\"}\n  - {id: two, input: read, filter: \"nope\"}\n  - {id: three, input: two, sink: nowhere}",
     "job.yaml:15:35: there is no table \"nowhere\"; expected one of in, out\n"
     "job.yaml:13:42: there is no column x; the columns are (id BIGINT, name STRING, v DOUBLE, at TIMESTAMP(3))\n"
     "job.yaml:14:37: there is no column nope; did you mean name?; the columns are (id BIGINT, name STRING, v DOUBLE, at TIMESTAMP(3))"},
};

/* Kafka's two ways to name the format, and exactly-once with the interval that it needs. */
START_TEST(kafka_tables_are_planned)
{
    static const char *const withs[] = {
        "{connector: kafka, topic: t, properties.bootstrap.servers: a, format: json}",
        "{connector: kafka, topic: t, properties.bootstrap.servers: a, value.format: json}",
        "{connector: kafka, topic: t, properties.bootstrap.servers: a, format: json, sink.delivery-guarantee: exactly-once, "
        "sink.transactional-id-prefix: p}",
    };
    static const char settings[] = "parallelism.default: 2";
    struct weir_buf text = {0};
    make_job("{connector: filesystem, path: /tmp/x, format: json}", withs[_i], &text);
    weir_buf_put_u8(&text, 0);
    char *whole = (char *)text.data;
    char *at = strstr(whole, settings);
    struct weir_buf job = {0};
    weir_buf_put(&job, whole, (size_t)(at - whole));
    weir_buf_put_str(&job, "execution.checkpointing.interval: 1 s, ");
    weir_buf_put_str(&job, at);
    struct weir_jobgraph *graph = must_plan(weir_buf_slice(&job), "job.yaml", 0);
    weir_jobgraph_destroy(graph);
    weir_buf_fini(&job);
    weir_buf_fini(&text);
}
END_TEST

START_TEST(wrong_job_files_are_refused_with_every_problem)
{
    struct weir_buf text = {0};
    make_job(wrong[_i].find, wrong[_i].replace, &text);
    struct weir_jobgraph *graph = NULL;
    struct weir_error err = {0};
    enum weir_rc rc = plan(weir_buf_slice(&text), "job.yaml", 0, &graph, &err);
    ck_assert_msg(rc != WEIR_OK, "accepted: %s", wrong[_i].replace);
    ck_assert_ptr_null(graph);
    ck_assert_str_eq(err.text, wrong[_i].problems);
    weir_buf_fini(&text);
}
END_TEST

START_TEST(any_cut_or_changed_job_file_is_planned_or_refused)
{
    struct weir_buf text = {0};
    ck_assert(read_whole("examples/vehicles-datagen.yaml", &text));
    struct weir_rand rand;
    weir_rand_init(&rand, 11);
    for (int round = 0; round < 1500; round++) {
        struct weir_buf copy = {0};
        weir_buf_put_slice(&copy, weir_buf_slice(&text));
        if (round % 3 == 0) {
            copy.len = weir_rand_below(&rand, copy.len);
        }
        for (uint64_t i = weir_rand_below(&rand, 4); i > 0 && copy.len > 0; i--) {
            copy.data[weir_rand_below(&rand, copy.len)] = (uint8_t)" {}[]:,\"'-#a1\n("[weir_rand_below(&rand, 15)];
        }
        struct weir_jobgraph *graph = NULL;
        struct weir_error err = {0};
        enum weir_rc rc = plan(weir_buf_slice(&copy), "job.yaml", 0, &graph, &err);
        ck_assert((rc == WEIR_OK) == (graph != NULL));
        ck_assert(rc == WEIR_OK || strncmp(err.text, "job.yaml:", 9) == 0);
        weir_jobgraph_destroy(graph);
        weir_buf_fini(&copy);
    }
    weir_buf_fini(&text);
}
END_TEST

/* --- plans ------------------------------------------------------------------------------------------------------------ */

static void check_golden(const char *name)
{
    char path[512];
    struct weir_buf text = {0};
    struct weir_buf golden = {0};
    struct weir_buf actual = {0};
    (void)snprintf(path, sizeof(path), "examples/%s.yaml", name);
    ck_assert_msg(read_whole(path, &text), "%s cannot be read", path);
    struct weir_jobgraph *graph = must_plan(weir_buf_slice(&text), path, 0);
    weir_jobgraph_format(graph, &actual);
    (void)snprintf(path, sizeof(path), "jobmanager/jobfile/golden/%s.plan", name);
    ck_assert_msg(read_whole(path, &golden) && weir_slice_eq(weir_buf_slice(&actual), weir_buf_slice(&golden)), "%s is not:\n%.*s", path,
                  WEIR_SLICE_ARG(weir_buf_slice(&actual)));

    struct weir_buf bytes = {0};
    struct weir_buf again = {0};
    struct weir_jobgraph *decoded = NULL;
    struct weir_error err;
    weir_plan_encode(graph, &bytes);
    ck_assert_msg(weir_plan_decode(weir_buf_slice(&bytes), &decoded, &err) == WEIR_OK, "%s: %s", name, err.text);
    weir_plan_encode(decoded, &again);
    ck_assert(weir_slice_eq(weir_buf_slice(&bytes), weir_buf_slice(&again)));
    actual.len = 0;
    weir_jobgraph_format(decoded, &actual);
    ck_assert(weir_slice_eq(weir_buf_slice(&actual), weir_buf_slice(&golden)));
    weir_jobgraph_destroy(decoded);
    weir_jobgraph_destroy(graph);
    weir_buf_fini(&again);
    weir_buf_fini(&bytes);
    weir_buf_fini(&actual);
    weir_buf_fini(&golden);
    weir_buf_fini(&text);
}

START_TEST(every_example_has_its_golden_plan_and_survives_encoding)
{
    DIR *dir = opendir("examples");
    ck_assert_ptr_nonnull(dir);
    int count = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot != NULL && strcmp(dot, ".yaml") == 0) {
            char name[300];
            (void)snprintf(name, sizeof(name), "%.*s", (int)(dot - entry->d_name), entry->d_name);
            check_golden(name);
            count++;
        }
    }
    (void)closedir(dir);
    ck_assert_int_ge(count, 8);
}
END_TEST

static const char fan_out[] =
    "job: base\n"
    "settings: {parallelism.default: 2}\n"
    "tables:\n"
    "  in:\n"
    "    columns: {id: BIGINT, name: STRING, v: DOUBLE, at: TIMESTAMP(3)}\n"
    "    watermark: {column: at, delay: 2 s}\n"
    "    with: {connector: datagen, number-of-rows: 10}\n"
    "  out:\n"
    "    columns: {name: STRING, n: INT}\n"
    "    with: {connector: filesystem, path: /tmp/x, format: json}\n"
    "  all:\n"
    "    columns: {n: BIGINT, m: BIGINT}\n"
    "    with: {connector: blackhole}\n"
    "pipeline:\n"
    "  - {id: write, input: slim, sink: out}\n"
    "  - {id: read, source: in}\n"
    "  - {id: a, input: read, filter: \"v > 1\"}\n"
    "  - {id: b, input: a, filter: \"v < 3 OR id = 1\"}\n"
    "  - {id: c, input: b, project: {when: at, name: name}, filter: \"id <> 2\"}\n"
    "  - {id: w, input: c, window: {tumble: 1 min}, key_by: name, aggregate: {n: \"COUNT(*)\"}}\n"
    "  - {id: slim, input: w, project: [n, name]}\n"
    "  - {id: g, input: w, aggregate: {n: \"SUM(n)\", m: \"COUNT(n) FILTER (WHERE name LIKE 'a%')\"}}\n"
    "  - {id: gw, input: g, sink: all}\n";

static void check_plan(const char *job, uint32_t parallelism, const char *expected)
{
    struct weir_buf actual = {0};
    struct weir_jobgraph *graph = must_plan(weir_slice_str(job), "job.yaml", parallelism);
    weir_jobgraph_format(graph, &actual);
    weir_buf_put_u8(&actual, 0);
    const char *vertices = strstr((const char *)actual.data, "\n0: ");
    ck_assert_ptr_nonnull(vertices);
    ck_assert_str_eq(vertices + 1, expected);
    weir_jobgraph_destroy(graph);
    weir_buf_fini(&actual);
}

/* Steps stand in any order; filters and a projection fuse; fan-out ends a chain; without keys an aggregate and what follows it has one
 * subtask; sinks are cast to. */
START_TEST(steps_fuse_chain_and_exchange)
{
    check_plan(fan_out, 0,
               "0: read -> a -> b -> c -> w[local] x2\n"
               "    read: SOURCE in datagen watermark at - 2000 ms\n"
               "    a: CALC filter (((v > 1.0E0) AND ((v < 3.0E0) OR (id = 1))) AND (id <> 2)) project at AS when, name AS name\n"
               "    w[local]: LOCAL_AGG tumble(when, 60000 ms) by (name) COUNT(*) AS n\n"
               "    gives ($slice_end BIGINT NOT NULL, name STRING, $partials BYTES NOT NULL, $rows BIGINT NOT NULL)\n"
               "    -> 1 input 0 HASH(name)\n"
               "1: w x2\n"
               "    w: WINDOW_AGG tumble(when, 60000 ms) by (name) COUNT(*) AS n from partials\n"
               "    gives (window_start TIMESTAMP(3) NOT NULL, window_end TIMESTAMP(3) NOT NULL, name STRING, n BIGINT NOT NULL)\n"
               "    -> 2 input 0 FORWARD\n"
               "    -> 3 input 0 FORWARD\n"
               "2: slim -> write[cast] -> write x2\n"
               "    slim: CALC project n AS n, name AS name\n"
               "    write[cast]: CALC project name AS name, CAST(n AS INT) AS n\n"
               "    write: SINK out filesystem/json\n"
               "3: g[local] x2\n"
               "    g[local]: LOCAL_AGG by () SUM(n) AS n, COUNT(n) FILTER (WHERE (name LIKE 'a%')) AS m\n"
               "    gives ($partials BYTES NOT NULL, $rows BIGINT NOT NULL)\n"
               "    -> 4 input 0 REBALANCE\n"
               "4: g -> gw x1\n"
               "    g: GROUP_AGG by () SUM(n) AS n, COUNT(n) FILTER (WHERE (name LIKE 'a%')) AS m from partials\n"
               "    gw: SINK all blackhole\n");
}
END_TEST

START_TEST(one_subtask_needs_no_exchange)
{
    check_plan(fan_out, 1,
               "0: read -> a -> b -> c -> w x1\n"
               "    read: SOURCE in datagen watermark at - 2000 ms\n"
               "    a: CALC filter (((v > 1.0E0) AND ((v < 3.0E0) OR (id = 1))) AND (id <> 2)) project at AS when, name AS name\n"
               "    w: WINDOW_AGG tumble(when, 60000 ms) by (name) COUNT(*) AS n\n"
               "    gives (window_start TIMESTAMP(3) NOT NULL, window_end TIMESTAMP(3) NOT NULL, name STRING, n BIGINT NOT NULL)\n"
               "    -> 1 input 0 FORWARD\n"
               "    -> 2 input 0 FORWARD\n"
               "1: slim -> write[cast] -> write x1\n"
               "    slim: CALC project n AS n, name AS name\n"
               "    write[cast]: CALC project name AS name, CAST(n AS INT) AS n\n"
               "    write: SINK out filesystem/json\n"
               "2: g -> gw x1\n"
               "    g: GROUP_AGG by () SUM(n) AS n, COUNT(n) FILTER (WHERE (name LIKE 'a%')) AS m\n"
               "    gw: SINK all blackhole\n");
}
END_TEST

/* --- settings --------------------------------------------------------------------------------------------------------- */

START_TEST(command_line_beats_file_beats_configuration)
{
    struct weir_config *config = weir_config_create();
    struct weir_error err;
    ck_assert_int_eq(weir_config_set_pair(config, "parallelism.default=7", &err), WEIR_OK);
    ck_assert_int_eq(weir_config_set_pair(config, "execution.checkpointing.interval=3 s", &err), WEIR_OK);
    struct weir_buf text = {0};
    make_job("parallelism.default: 2", "execution: {checkpointing: {interval: 9 s}}, restart-strategy.type: fixed-delay", &text);
    struct weir_jobgraph *graph = NULL;
    ck_assert_msg(weir_jobfile_plan(weir_buf_slice(&text), "job.yaml", 0, config, &graph, &err) == WEIR_OK, "%s", err.text);
    ck_assert_uint_eq(graph->settings.parallelism, 7);
    ck_assert_int_eq(graph->settings.checkpoint_interval_ms, 9000);
    ck_assert_int_eq(graph->settings.restart.type, WEIR_RESTART_FIXED_DELAY);
    ck_assert_int_eq(graph->settings.restart.attempts_max, 1);
    ck_assert_uint_eq(weir_jobgraph_slots(graph), 7);
    weir_jobgraph_destroy(graph);
    ck_assert_int_eq(weir_jobfile_plan(weir_slice_str(base), "job.yaml", 0, config, &graph, &err), WEIR_OK);
    ck_assert_uint_eq(graph->settings.parallelism, 2);
    ck_assert_int_eq(graph->settings.checkpoint_interval_ms, 3000);
    ck_assert_int_eq(graph->settings.restart.type, WEIR_RESTART_EXPONENTIAL_DELAY); /* for it takes checkpoints */
    ck_assert_int_eq(graph->settings.restart.delay_ms, 1000);
    ck_assert_int_eq(graph->settings.restart.delay_max_ms, 60000);
    ck_assert_int_eq(graph->settings.restart.reset_ms, 3600000);
    ck_assert_int_eq(graph->settings.restart.attempts_max, INT32_MAX);
    ck_assert_double_eq(graph->settings.restart.multiplier, 1.5);
    ck_assert_double_eq(graph->settings.restart.jitter, 0.1);
    weir_jobgraph_destroy(graph);
    ck_assert_int_eq(weir_jobfile_plan(weir_slice_str(base), "job.yaml", 5, config, &graph, &err), WEIR_OK);
    ck_assert_uint_eq(graph->settings.parallelism, 5);
    weir_jobgraph_destroy(graph);
    graph = NULL;
    ck_assert_int_eq(weir_jobfile_plan(weir_slice_str(base), "job.yaml", 129, config, &graph, &err), WEIR_INVALID);
    weir_buf_fini(&text);
    weir_config_destroy(config);
}
END_TEST

START_TEST(a_source_without_end_makes_the_job_unbounded)
{
    struct weir_buf text = {0};
    make_job("number-of-rows: 10", "rows-per-second: 10", &text);
    struct weir_jobgraph *graph = must_plan(weir_buf_slice(&text), "job.yaml", 0);
    ck_assert(!graph->bounded);
    weir_jobgraph_destroy(graph);
    weir_buf_fini(&text);
}
END_TEST

START_TEST(vertex_ids_depend_on_the_head_operator_only)
{
    struct weir_buf text = {0};
    make_job("v > 1", "v > 2", &text);
    struct weir_jobgraph *one = must_plan(weir_slice_str(base), "job.yaml", 1);
    struct weir_jobgraph *two = must_plan(weir_buf_slice(&text), "other.yaml", 3);
    ck_assert_str_eq(one->vertices[0].id, two->vertices[0].id);
    weir_jobgraph_destroy(two);
    weir_jobgraph_destroy(one);
    weir_buf_fini(&text);
}
END_TEST

START_TEST(more_problems_than_fit_are_counted)
{
    struct weir_buf text = {0};
    weir_buf_put_str(&text, "job: j\ntables: {}\npipeline: []\n");
    for (int i = 0; i < 50; i++) {
        weir_buf_put_fmt(&text, "key-number-%d: 1\n", i);
    }
    struct weir_jobgraph *graph = NULL;
    struct weir_error err = {0};
    ck_assert_int_eq(plan(weir_buf_slice(&text), "job.yaml", 0, &graph, &err), WEIR_INVALID);
    size_t lines = 0;
    for (const char *at = strchr(err.text, '\n'); at != NULL; at = strchr(at + 1, '\n')) {
        lines++;
    }
    char expected[40];
    (void)snprintf(expected, sizeof(expected), "\nand %zu more", 52 - lines);
    ck_assert_msg(strstr(err.text, expected) != NULL, "no%s in %s", expected, err.text);
    weir_buf_fini(&text);
}
END_TEST

Suite *jobfile_suite(void);
Suite *jobfile_suite(void)
{
    Suite *suite = suite_create("jobfile");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, kafka_tables_are_planned, 0, 3);
    tcase_add_loop_test(tc, wrong_job_files_are_refused_with_every_problem, 0, sizeof(wrong) / sizeof(wrong[0]));
    tcase_add_test(tc, any_cut_or_changed_job_file_is_planned_or_refused);
    tcase_add_test(tc, every_example_has_its_golden_plan_and_survives_encoding);
    tcase_add_test(tc, steps_fuse_chain_and_exchange);
    tcase_add_test(tc, one_subtask_needs_no_exchange);
    tcase_add_test(tc, command_line_beats_file_beats_configuration);
    tcase_add_test(tc, a_source_without_end_makes_the_job_unbounded);
    tcase_add_test(tc, vertex_ids_depend_on_the_head_operator_only);
    tcase_add_test(tc, more_problems_than_fit_are_counted);
    suite_add_tcase(suite, tc);
    return suite;
}
