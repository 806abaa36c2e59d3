#include "common/catalog/kafka_table.h"

#include <check.h>

#define SERVERS {"properties.bootstrap.servers", "a:1", {0, 0}}
#define TOPIC {"topic", "t", {0, 0}}
#define EXACTLY {"sink.delivery-guarantee", "exactly-once", {0, 0}}
#define PREFIX {"sink.transactional-id-prefix", "p", {0, 0}}
#define EARLIEST {"scan.startup.mode", "earliest-offset", {0, 0}}
#define OPTION(key, value) {key, value, {0, 0}}

enum { R = WEIR_ROLE_SOURCE, W = WEIR_ROLE_SINK, RW = WEIR_ROLE_BOTH };

static const struct {
    const char *connector;
    uint32_t roles;
    struct weir_option options[6];
    const char *problem;
    bool bounded, exactly;
} tables[] = {
    {"kafka", R, {TOPIC, SERVERS, EARLIEST}, NULL, false, false},
    {"kafka", W, {TOPIC, SERVERS}, NULL, false, false},
    {"kafka", RW, {TOPIC, SERVERS, EARLIEST, EXACTLY, PREFIX}, NULL, false, true},
    {"kafka", R, {SERVERS, EARLIEST}, "needs the option \"topic\"", false, false},
    {"kafka", R, {TOPIC, EARLIEST}, "needs the option \"properties.bootstrap.servers\"", false, false},
    {"kafka", R, {SERVERS, EARLIEST, OPTION("topic", "a;b")}, "is a list; a table is one topic", false, false},
    {"kafka", R, {SERVERS, EARLIEST, OPTION("topic", "a b")}, "cannot name a topic", false, false},
    {"kafka", R, {SERVERS, EARLIEST, OPTION("topic", "..")}, "cannot name a topic", false, false},
    {"kafka", R, {TOPIC, SERVERS}, "group-offsets (the default) needs the option \"properties.group.id\"", false, false},
    {"kafka", R, {TOPIC, SERVERS, OPTION("properties.group.id", "g")}, NULL, false, false},
    {"kafka", R, {TOPIC, SERVERS, OPTION("scan.startup.mode", "timestamp")}, "needs the option \"scan.startup.timestamp-millis\"", false, false},
    {"kafka", R, {TOPIC, SERVERS, OPTION("scan.startup.mode", "timestamp"), OPTION("scan.startup.timestamp-millis", "5")}, NULL, false, false},
    {"kafka", R, {TOPIC, SERVERS, EARLIEST, OPTION("scan.startup.timestamp-millis", "5")},
     "is for \"scan.startup.mode\": timestamp, which is earliest-offset", false, false},
    {"kafka", R, {TOPIC, SERVERS, EARLIEST, OPTION("scan.bounded.mode", "latest-offset")}, NULL, true, false},
    {"kafka", R, {TOPIC, SERVERS, EARLIEST, OPTION("scan.bounded.mode", "unbounded")}, NULL, false, false},
    {"kafka", R, {TOPIC, SERVERS, EARLIEST, OPTION("scan.bounded.mode", "timestamp")}, "needs the option \"scan.bounded.timestamp-millis\"",
     true, false},
    {"kafka", R, {TOPIC, SERVERS, EARLIEST, OPTION("sink.partitioner", "fixed")}, "is for sinks, and the table is only used as a source",
     false, false},
    {"kafka", W, {TOPIC, SERVERS, EARLIEST}, "is for sources, and the table is only used as a sink", false, false},
    {"kafka", R, {TOPIC, SERVERS, EARLIEST, OPTION("properties.acks", "all")}, "is for producers, and the table is a source", false, false},
    {"kafka", W, {TOPIC, SERVERS, OPTION("properties.group.id", "g")}, "is for consumers, and the table is a sink", false, false},
    {"kafka", W, {TOPIC, SERVERS, EXACTLY}, "exactly-once needs the option \"sink.transactional-id-prefix\"", false, true},
    {"kafka", W, {TOPIC, SERVERS, PREFIX}, "exactly-once, which is at-least-once", false, false},
    {"kafka", W, {TOPIC, SERVERS, OPTION("sink.log.bytes.max", "2 gb")}, "exactly-once, which is at-least-once", false, false},
    {"kafka", W, {TOPIC, SERVERS, EXACTLY, PREFIX, OPTION("properties.acks", "1")}, "rows may be lost", false, true},
    {"kafka", W, {TOPIC, SERVERS, OPTION("properties.acks", "1")}, NULL, false, false},
    {"kafka", W, {TOPIC, SERVERS, OPTION("properties.acks", "0")}, "rows may be lost", false, false},
    {"kafka", W, {TOPIC, SERVERS, OPTION("properties.acks", "0"), OPTION("sink.delivery-guarantee", "none")}, NULL, false, false},
    {"kafka", W, {TOPIC, SERVERS, EXACTLY, PREFIX, OPTION("properties.enable.idempotence", "false")}, "transactions need it", false, true},
    {"kafka", W, {TOPIC, SERVERS, OPTION("key.fields", "a;b")}, "\"key.fields\" needs the option \"key.format\"", false, false},
    {"kafka", W, {TOPIC, SERVERS, OPTION("key.format", "json")}, "\"key.format\" needs the option \"key.fields\"", false, false},
    {"kafka", W, {TOPIC, SERVERS, OPTION("key.format", "json"), OPTION("key.fields", "a;b")}, NULL, false, false},
    {"upsert-kafka", W, {TOPIC, SERVERS, OPTION("key.format", "json")}, NULL, false, false},
    {"upsert-kafka", W, {TOPIC, SERVERS}, "needs the option \"key.format\"", false, false},
    {"upsert-kafka", W, {TOPIC, SERVERS, OPTION("key.format", "json"), EXACTLY, PREFIX}, NULL, false, true},
};

START_TEST(tables_are_checked_as_a_whole)
{
    struct weir_table_spec table = {.name = "t", .connector = tables[_i].connector, .format = "json", .options = tables[_i].options};
    while (table.noptions < 6 && tables[_i].options[table.noptions].key != NULL) {
        table.noptions++;
    }
    struct weir_error err = {0};
    enum weir_rc rc = weir_connector_check_table(&table, tables[_i].roles, &err);
    ck_assert_msg((rc == WEIR_OK) == (tables[_i].problem == NULL), "%s", err.text);
    ck_assert_msg(rc == WEIR_OK || strstr(err.text, tables[_i].problem) != NULL, "%s", err.text);
    ck_assert_int_eq(weir_connector_bounded(&table), tables[_i].bounded);
    ck_assert_int_eq(weir_connector_needs_checkpoints(&table), tables[_i].exactly);
    ck_assert_int_eq(weir_connector_sink_drains(&table), tables[_i].exactly);
}
END_TEST

START_TEST(other_sinks_drain_or_not)
{
    struct weir_table_spec table = {.name = "t", .connector = "filesystem", .format = "json"};
    ck_assert(weir_connector_sink_drains(&table));
    ck_assert(!weir_connector_needs_checkpoints(&table));
    table.connector = "print";
    ck_assert(!weir_connector_sink_drains(&table));
}
END_TEST

static const struct {
    const char *key, *value, *problem;
} single[] = {
    {"properties.bootstrap.servers", "a:1", NULL},
    {"properties.bootstrap.servrs", "a:1", "did you mean \"bootstrap.servers\"?"},
    {"properties.", "a:1", "has no option \"properties.\""},
    {"propertie.group.id", "a", "has no option"},
    {"key.fields", "a;b", NULL},
    {"key.fields", "a; b", NULL},
    {"key.fields", "a,b", "there is no column \"a,b\"; the table has (a STRING, b BIGINT) (columns are separated by semicolons)"},
    {"key.fields", "a;", "there is no column \"\""},
    {"key.format", "json", NULL},
    {"key.format", "jsn", "there is no format \"jsn\"; expected one of json"},
    {"sink.log.bytes.max", "1 kb", "too small"},
};

START_TEST(options_are_checked_one_by_one)
{
    struct weir_field fields[] = {{"a", weir_type_of(WEIR_TYPE_VARCHAR)}, {"b", weir_type_of(WEIR_TYPE_BIGINT)}};
    struct weir_schema *schema = NULL;
    struct weir_error err = {0};
    ck_assert_int_eq(weir_schema_create(fields, 2, WEIR_NO_COLUMN, &schema, &err), WEIR_OK);
    struct weir_option option = {.key = single[_i].key, .value = single[_i].value};
    enum weir_rc rc = weir_connector_check_option(weir_connector_desc_find(weir_slice_str("kafka")), NULL, schema, &option, &err);
    ck_assert_msg((rc == WEIR_OK) == (single[_i].problem == NULL), "%s", err.text);
    ck_assert_msg(rc == WEIR_OK || strstr(err.text, single[_i].problem) != NULL, "%s", err.text);
    weir_schema_unref(schema);
}
END_TEST

Suite *kafka_table_suite(void);
Suite *kafka_table_suite(void)
{
    Suite *suite = suite_create("kafka_table");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, tables_are_checked_as_a_whole, 0, sizeof(tables) / sizeof(tables[0]));
    tcase_add_test(tc, other_sinks_drain_or_not);
    tcase_add_loop_test(tc, options_are_checked_one_by_one, 0, sizeof(single) / sizeof(single[0]));
    suite_add_tcase(suite, tc);
    return suite;
}
