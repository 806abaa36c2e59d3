#include "taskmanager/connectors/kafka_client.h"

#include "common/catalog/kafka_props.h"

#include <check.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>
#include <unistd.h>

enum { TIMEOUT_MS = 20000 };

static rd_kafka_conf_t *make_conf(const struct weir_option *options, uint32_t count, enum weir_kafka_role role)
{
    struct weir_table_spec table = {.name = "t", .connector = "kafka", .options = options, .noptions = count};
    struct weir_error err = {0};
    rd_kafka_conf_t *conf = NULL;
    ck_assert_msg(weir__kafka_conf_create(&table, role, &conf, &err) == WEIR_OK, "%s", err.text);
    return conf;
}

static const char *conf_get(const rd_kafka_conf_t *conf, const char *name, char *out, size_t cap)
{
    ck_assert_msg(rd_kafka_conf_get(conf, name, out, &cap) == RD_KAFKA_CONF_OK, "%s", name);
    return out;
}

#define ck_assert_setting(conf, name, value)                                              \
    do {                                                                                  \
        char text_[1024];                                                                 \
        ck_assert_str_eq(conf_get(conf, name, text_, sizeof(text_)), value);              \
    } while (0)

START_TEST(defaults_are_weirs)
{
    rd_kafka_conf_t *conf = make_conf(NULL, 0, WEIR_KAFKA_CONSUMER);
    ck_assert_setting(conf, "client.id", "weir-t");
    ck_assert_setting(conf, "enable.auto.commit", "false");
    ck_assert_setting(conf, "enable.auto.offset.store", "false");
    ck_assert_setting(conf, "isolation.level", "read_committed");
    ck_assert_setting(conf, "auto.offset.reset", "error");
    ck_assert_setting(conf, "queued.max.messages.kbytes", "16384");
    rd_kafka_conf_destroy(conf);
    conf = make_conf(NULL, 0, WEIR_KAFKA_PRODUCER);
    ck_assert_setting(conf, "compression.codec", "lz4");
    ck_assert_setting(conf, "enable.idempotence", "true");
    ck_assert_setting(conf, "queue.buffering.max.ms", "5");
    rd_kafka_conf_destroy(conf);
}
END_TEST

Suite *kafka_client_suite(void);
Suite *kafka_client_suite(void)
{
    Suite *suite = suite_create("kafka_client");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, defaults_are_weirs);
    suite_add_tcase(suite, tc);
    return suite;
}
