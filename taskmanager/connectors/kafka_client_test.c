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
    ck_assert_setting(conf, "queued.min.messages", "1000000");
    rd_kafka_conf_destroy(conf);
    conf = make_conf(NULL, 0, WEIR_KAFKA_PRODUCER);
    ck_assert_setting(conf, "compression.codec", "lz4");
    ck_assert_setting(conf, "enable.idempotence", "true");
    ck_assert_setting(conf, "queue.buffering.max.ms", "5");
    rd_kafka_conf_destroy(conf);
}
END_TEST


/* A value that each property takes, and what librdkafka then has; each row of the table is here. */
static const struct {
    const char *property, *value;
    enum weir_kafka_role role;
    const char *setting, *expected;
} settings[] = {
    {"bootstrap.servers", "a:1,b:2", WEIR_KAFKA_CONSUMER, "metadata.broker.list", "a:1,b:2"},
    {"client.id", "me", WEIR_KAFKA_PRODUCER, "client.id", "me"},
    {"client.rack", "r1", WEIR_KAFKA_CONSUMER, "client.rack", "r1"},
    {"client.dns.lookup", "use_all_dns_ips", WEIR_KAFKA_CONSUMER, "client.id", "weir-t"},
    {"request.timeout.ms", "20000", WEIR_KAFKA_CONSUMER, "socket.timeout.ms", "20000"},
    {"request.timeout.ms", "20000", WEIR_KAFKA_PRODUCER, "socket.timeout.ms", "20000"},
    {"request.timeout.ms", "20000", WEIR_KAFKA_PRODUCER, "request.timeout.ms", "20000"},
    {"socket.connection.setup.timeout.ms", "5000", WEIR_KAFKA_CONSUMER, "socket.connection.setup.timeout.ms", "5000"},
    {"connections.max.idle.ms", "7", WEIR_KAFKA_CONSUMER, "connections.max.idle.ms", "7"},
    {"connections.max.idle.ms", "-1", WEIR_KAFKA_CONSUMER, "connections.max.idle.ms", "0"},
    {"metadata.max.age.ms", "3600000", WEIR_KAFKA_CONSUMER, "topic.metadata.refresh.interval.ms", "3600000"},
    {"reconnect.backoff.ms", "7", WEIR_KAFKA_CONSUMER, "reconnect.backoff.ms", "7"},
    {"reconnect.backoff.max.ms", "7", WEIR_KAFKA_CONSUMER, "reconnect.backoff.max.ms", "7"},
    {"retry.backoff.ms", "7", WEIR_KAFKA_CONSUMER, "fetch.error.backoff.ms", "7"},
    {"retry.backoff.ms", "7", WEIR_KAFKA_PRODUCER, "retry.backoff.ms", "7"},
    {"receive.buffer.bytes", "65536", WEIR_KAFKA_CONSUMER, "socket.receive.buffer.bytes", "65536"},
    {"send.buffer.bytes", "-1", WEIR_KAFKA_CONSUMER, "socket.send.buffer.bytes", "0"},
    {"group.id", "g", WEIR_KAFKA_CONSUMER, "group.id", "g"},
    {"auto.offset.reset", "earliest", WEIR_KAFKA_CONSUMER, "auto.offset.reset", "smallest"},
    {"isolation.level", "read_uncommitted", WEIR_KAFKA_CONSUMER, "isolation.level", "read_uncommitted"},
    {"fetch.min.bytes", "7", WEIR_KAFKA_CONSUMER, "fetch.min.bytes", "7"},
    {"fetch.max.bytes", "7000000", WEIR_KAFKA_CONSUMER, "fetch.max.bytes", "7000000"},
    {"fetch.max.wait.ms", "7", WEIR_KAFKA_CONSUMER, "fetch.wait.max.ms", "7"},
    {"max.partition.fetch.bytes", "7", WEIR_KAFKA_CONSUMER, "fetch.message.max.bytes", "7"},
    {"check.crcs", "false", WEIR_KAFKA_CONSUMER, "check.crcs", "false"},
    {"allow.auto.create.topics", "true", WEIR_KAFKA_CONSUMER, "allow.auto.create.topics", "true"},
    {"acks", "1", WEIR_KAFKA_PRODUCER, "enable.idempotence", "false"},
    {"acks", "all", WEIR_KAFKA_PRODUCER, "enable.idempotence", "true"},
    {"acks", "all", WEIR_KAFKA_PRODUCER, "request.required.acks", "-1"},
    {"compression.type", "zstd", WEIR_KAFKA_PRODUCER, "compression.codec", "zstd"},
    {"linger.ms", "7", WEIR_KAFKA_PRODUCER, "queue.buffering.max.ms", "7"},
    {"batch.size", "7", WEIR_KAFKA_PRODUCER, "batch.size", "7"},
    {"max.request.size", "7000", WEIR_KAFKA_PRODUCER, "message.max.bytes", "7000"},
    {"buffer.memory", "33554432", WEIR_KAFKA_PRODUCER, "queue.buffering.max.kbytes", "32768"},
    {"delivery.timeout.ms", "7", WEIR_KAFKA_PRODUCER, "message.timeout.ms", "7"},
    {"retries", "7", WEIR_KAFKA_PRODUCER, "message.send.max.retries", "7"},
    {"retries", "0", WEIR_KAFKA_PRODUCER, "enable.idempotence", "false"},
    {"enable.idempotence", "false", WEIR_KAFKA_PRODUCER, "enable.idempotence", "false"},
    {"max.in.flight.requests.per.connection", "6", WEIR_KAFKA_PRODUCER, "enable.idempotence", "false"},
    {"max.in.flight.requests.per.connection", "5", WEIR_KAFKA_PRODUCER, "max.in.flight.requests.per.connection", "5"},
    {"transaction.timeout.ms", "7000", WEIR_KAFKA_PRODUCER, "transaction.timeout.ms", "7000"},
    {"security.protocol", "SSL", WEIR_KAFKA_PRODUCER, "security.protocol", "ssl"},
    {"sasl.mechanism", "GSSAPI", WEIR_KAFKA_CONSUMER, "sasl.kerberos.kinit.cmd", "true"},
    {"sasl.mechanism", "SCRAM-SHA-256", WEIR_KAFKA_CONSUMER, "sasl.mechanisms", "SCRAM-SHA-256"},
    {"sasl.jaas.config", "x.plain.PlainLoginModule required username=u password=p;", WEIR_KAFKA_CONSUMER, "sasl.username", "u"},
    {"sasl.jaas.config", "x.plain.PlainLoginModule required username=u password=p;", WEIR_KAFKA_CONSUMER, "sasl.password", "p"},
    {"sasl.kerberos.service.name", "k", WEIR_KAFKA_CONSUMER, "sasl.kerberos.service.name", "k"},
    {"ssl.truststore.type", "PEM", WEIR_KAFKA_CONSUMER, "ssl.ca.location", "/t"},
    {"ssl.truststore.location", "/t", WEIR_KAFKA_CONSUMER, "ssl.ca.location", "/t"},
    {"ssl.truststore.certificates", "pem", WEIR_KAFKA_CONSUMER, "ssl.ca.pem", "pem"},
    {"ssl.keystore.type", "PEM", WEIR_KAFKA_CONSUMER, "ssl.certificate.location", "/k"},
    {"ssl.keystore.type", "PKCS12", WEIR_KAFKA_CONSUMER, "ssl.keystore.location", "/k"},
    {"ssl.keystore.location", "/k", WEIR_KAFKA_CONSUMER, "ssl.key.location", "/k"},
    {"ssl.keystore.certificate.chain", "pem", WEIR_KAFKA_CONSUMER, "ssl.certificate.pem", "pem"},
    {"ssl.keystore.password", "p", WEIR_KAFKA_CONSUMER, "ssl.keystore.password", "p"},
    {"ssl.keystore.key", "pem", WEIR_KAFKA_CONSUMER, "ssl.key.pem", "pem"},
    {"ssl.key.password", "p", WEIR_KAFKA_CONSUMER, "ssl.key.password", "p"},
    {"ssl.endpoint.identification.algorithm", "", WEIR_KAFKA_CONSUMER, "ssl.endpoint.identification.algorithm", "none"},
};

enum { SETTINGS = sizeof(settings) / sizeof(settings[0]) };

/* The properties that the one in question does not go without. */
static uint32_t add_needed(const char *property, const char *value, struct weir_option *out)
{
    uint32_t count = 0;
    bool tls = strncmp(property, "ssl.", 4) == 0;
    bool sasl = strncmp(property, "sasl.", 5) == 0;
    if (tls || sasl) {
        out[count++] = (struct weir_option){.key = "properties.security.protocol", .value = tls ? "SSL" : "SASL_SSL"};
    }
    if (sasl && strcmp(property, "sasl.mechanism") != 0) {
        bool kerberos = strstr(property, "kerberos") != NULL;
        out[count++] = (struct weir_option){.key = "properties.sasl.mechanism", .value = kerberos ? "GSSAPI" : "PLAIN"};
    } else if (strncmp(value, "SCRAM", 5) == 0) {
        out[count++] = (struct weir_option){.key = "properties.sasl.jaas.config",
                                            .value = "x.scram.ScramLoginModule required username=u password=p;"};
    }
    if (strcmp(property, "ssl.truststore.type") == 0) {
        out[count++] = (struct weir_option){.key = "properties.ssl.truststore.location", .value = "/t"};
    } else if (strcmp(property, "ssl.truststore.location") == 0) {
        out[count++] = (struct weir_option){.key = "properties.ssl.truststore.type", .value = "PEM"};
    } else if (strcmp(property, "ssl.keystore.type") == 0) {
        out[count++] = (struct weir_option){.key = "properties.ssl.keystore.location", .value = "/k"};
    } else if (strcmp(property, "ssl.keystore.location") == 0) {
        out[count++] = (struct weir_option){.key = "properties.ssl.keystore.type", .value = "PEM"};
    }
    return count;
}

START_TEST(every_property_reaches_librdkafka)
{
    char key[128];
    struct weir_option options[5] = {{.key = key, .value = settings[_i].value}};
    (void)snprintf(key, sizeof(key), "properties.%s", settings[_i].property);
    uint32_t count = 1 + add_needed(settings[_i].property, settings[_i].value, &options[1]);
    rd_kafka_conf_t *conf = make_conf(options, count, settings[_i].role);
    ck_assert_setting(conf, settings[_i].setting, settings[_i].expected);
    rd_kafka_conf_destroy(conf);
}
END_TEST

START_TEST(every_property_is_tried)
{
    for (uint32_t i = 0; weir_kafka_prop_at(i) != NULL; i++) {
        const char *name = weir_kafka_prop_at(i);
        bool tried = false;
        for (uint32_t k = 0; k < SETTINGS; k++) {
            tried = tried || strcmp(settings[k].property, name) == 0;
        }
        struct weir_error err = {0};
        ck_assert_msg(tried || (weir_kafka_prop_check(name, "1", &err) != WEIR_OK && strstr(err.text, "cannot be set: ") != NULL), "%s", name);
    }
}
END_TEST

/* A password of any characters, inside JAAS text or as all of it; and the errors around one. */
START_TEST(secrets_are_resolved_and_never_shown)
{
    char path[] = "/tmp/weir-kafka-XXXXXX";
    char jaas[256];
    static const char secret[] = "hunter2\" ;${env:HOME}\\";
    int fd = mkstemp(path);
    ck_assert_int_eq(write(fd, secret, strlen(secret)), (ssize_t)strlen(secret));
    ck_assert_int_eq(close(fd), 0);
    (void)snprintf(jaas, sizeof(jaas), "x.plain.PlainLoginModule required username=\"${env:WEIR_KAFKA_USER}\" password=\"${file:%s}\";", path);
    ck_assert_int_eq(setenv("WEIR_KAFKA_USER", "u\"1", 1), 0);
    struct weir_option options[] = {{.key = "properties.security.protocol", .value = "SASL_SSL"},
                                    {.key = "properties.sasl.mechanism", .value = "PLAIN"},
                                    {.key = "properties.sasl.jaas.config", .value = jaas},
                                    {.key = "properties.fetch.min.bytes", .value = "${env:WEIR_KAFKA_BYTES}"}};
    ck_assert_int_eq(setenv("WEIR_KAFKA_BYTES", "77", 1), 0);
    rd_kafka_conf_t *conf = make_conf(options, 4, WEIR_KAFKA_CONSUMER);
    ck_assert_setting(conf, "sasl.username", "u\"1");
    ck_assert_setting(conf, "sasl.password", secret);
    ck_assert_setting(conf, "fetch.min.bytes", "77");
    rd_kafka_conf_destroy(conf);

    struct weir_table_spec table = {.name = "t", .connector = "kafka", .options = options, .noptions = 4};
    struct weir_error err = {0};
    rd_kafka_conf_t *none = NULL;
    ck_assert_int_eq(setenv("WEIR_KAFKA_BYTES", "hunter2", 1), 0);
    ck_assert_int_eq(weir__kafka_conf_create(&table, WEIR_KAFKA_CONSUMER, &none, &err), WEIR_INVALID);
    ck_assert_ptr_null(strstr(err.text, "hunter2"));
    options[2].value = "${env:WEIR_KAFKA_JAAS}";
    ck_assert_int_eq(setenv("WEIR_KAFKA_BYTES", "77", 1), 0);
    ck_assert_int_eq(setenv("WEIR_KAFKA_JAAS", "x.plain.PlainLoginModule required username=hunter2 password=\"hunter2;", 1), 0);
    ck_assert_int_eq(weir__kafka_conf_create(&table, WEIR_KAFKA_CONSUMER, &none, &err), WEIR_INVALID);
    ck_assert_ptr_null(strstr(err.text, "hunter2"));
    ck_assert_int_eq(setenv("WEIR_KAFKA_JAAS", "x.plain.PlainLoginModule required username=u password=\"a\\\"b\";", 1), 0);
    conf = make_conf(options, 4, WEIR_KAFKA_CONSUMER);
    ck_assert_setting(conf, "sasl.password", "a\"b");
    rd_kafka_conf_destroy(conf);
    ck_assert_int_eq(unlink(path), 0);
    options[2].value = jaas;
    ck_assert_int_eq(weir__kafka_conf_create(&table, WEIR_KAFKA_CONSUMER, &none, &err), WEIR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.text, "table \"t\": option \"properties.sasl.jaas.config\": cannot open /tmp/weir-kafka-"));
    ck_assert_ptr_null(none);
}
END_TEST

static struct weir_kafka_client *make_client(const char *servers, enum weir_kafka_role role)
{
    struct weir_option options[] = {{.key = "properties.bootstrap.servers", .value = servers},
                                    {.key = "properties.reconnect.backoff.max.ms", .value = "100"}};
    struct weir_kafka_client *client = NULL;
    struct weir_error err = {0};
    ck_assert_msg(weir__kafka_client_create(NULL, "t", role, make_conf(options, 2, role), &client, &err) == WEIR_OK, "%s", err.text);
    return client;
}

/* A mock cluster with a client of its own; stop by rd_kafka_mock_cluster_destroy and rd_kafka_destroy. */
static rd_kafka_mock_cluster_t *start_mock(rd_kafka_t **out_owner)
{
    *out_owner = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), NULL, 0);
    rd_kafka_mock_cluster_t *mock = rd_kafka_mock_cluster_new(*out_owner, 2);
    ck_assert_ptr_nonnull(mock);
    return mock;
}

START_TEST(partitions_are_counted)
{
    rd_kafka_t *owner = NULL;
    rd_kafka_mock_cluster_t *mock = start_mock(&owner);
    ck_assert_int_eq(rd_kafka_mock_topic_create(mock, "five", 5, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    struct weir_kafka_client *client = make_client(rd_kafka_mock_cluster_bootstraps(mock), WEIR_KAFKA_CONSUMER);
    struct weir_error err = {0};
    uint32_t count = 0;
    ck_assert_msg(weir__kafka_partitions(weir__kafka_client_handle(client), "five", TIMEOUT_MS, &count, &err) == WEIR_OK, "%s", err.text);
    ck_assert_uint_eq(count, 5);
    rd_kafka_mock_topic_set_error(mock, "gone", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    ck_assert_int_eq(weir__kafka_partitions(weir__kafka_client_handle(client), "gone", TIMEOUT_MS, &count, &err), WEIR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.text, "topic \"gone\": Kafka: Broker: Unknown topic or partition (UNKNOWN_TOPIC_OR_PART)"));
    rd_kafka_mock_topic_set_error(mock, "closed", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    ck_assert_int_eq(weir__kafka_partitions(weir__kafka_client_handle(client), "closed", TIMEOUT_MS, &count, &err), WEIR_REFUSED);
    ck_assert_uint_eq(count, 5);
    ck_assert_int_eq(weir__kafka_client_error(client, &err), WEIR_OK);
    weir__kafka_client_destroy(client);
    rd_kafka_mock_cluster_destroy(mock);
    rd_kafka_destroy(owner);
}
END_TEST

START_TEST(a_closed_port_is_named)
{
    struct weir_kafka_client *client = make_client("127.0.0.1:1", WEIR_KAFKA_CONSUMER);
    struct weir_error err = {0};
    uint32_t count = 0;
    do { /* until it was tried */
        ck_assert_int_eq(weir__kafka_partitions(weir__kafka_client_handle(client), "t", 1000, &count, &err), WEIR_EXTERNAL);
    } while (strstr(err.text, "Connection refused") == NULL);
    weir__kafka_client_destroy(client);
    weir__kafka_client_destroy(NULL);
}
END_TEST

/* Destroying waits for no delivery: nobody listens, and messages would be kept for minutes. */
START_TEST(undelivered_messages_are_dropped)
{
    struct weir_kafka_client *client = make_client("127.0.0.1:1", WEIR_KAFKA_PRODUCER);
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(rd_kafka_producev(weir__kafka_client_handle(client), RD_KAFKA_V_TOPIC("t"), RD_KAFKA_V_VALUE("abc", 3),
                                           RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END), RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    weir__kafka_client_destroy(client);
}
END_TEST

START_TEST(fatal_errors_stay)
{
    struct weir_kafka_client *client = make_client("127.0.0.1:1", WEIR_KAFKA_PRODUCER);
    struct weir_error err = {0};
    ck_assert_int_eq(weir__kafka_client_error(client, &err), WEIR_OK);
    ck_assert_int_eq(rd_kafka_test_fatal_error(weir__kafka_client_handle(client), RD_KAFKA_RESP_ERR_PRODUCER_FENCED, "by a test"),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    ck_assert_int_eq(weir__kafka_client_error(client, &err), WEIR_STALE);
    ck_assert_msg(strstr(err.text, "by a test") != NULL, "%s", err.text);
    weir__kafka_client_destroy(client);
}
END_TEST

START_TEST(a_conf_that_contradicts_itself_is_refused)
{
    static const struct weir_option options[] = {{.key = "properties.enable.idempotence", .value = "true"},
                                                 {.key = "properties.acks", .value = "1"}};
    struct weir_kafka_client *client = NULL;
    struct weir_error err = {0};
    ck_assert_int_eq(weir__kafka_client_create(NULL, "t", WEIR_KAFKA_PRODUCER, make_conf(options, 2, WEIR_KAFKA_PRODUCER), &client, &err),
                     WEIR_INVALID);
    ck_assert_msg(strstr(err.text, "table \"t\": the Kafka client cannot be made: `acks`") != NULL, "%s", err.text);
    ck_assert_ptr_null(client);
}
END_TEST

START_TEST(errors_have_our_codes)
{
    static const struct {
        rd_kafka_resp_err_t code;
        enum weir_rc rc;
    } errors[] = {
        {RD_KAFKA_RESP_ERR__TRANSPORT, WEIR_EXTERNAL},       {RD_KAFKA_RESP_ERR__TIMED_OUT, WEIR_EXTERNAL},
        {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, WEIR_EXTERNAL}, {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, WEIR_NOT_FOUND},
        {RD_KAFKA_RESP_ERR__AUTHENTICATION, WEIR_REFUSED},   {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, WEIR_REFUSED},
        {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, WEIR_INVALID},   {RD_KAFKA_RESP_ERR__FENCED, WEIR_STALE},
        {RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, WEIR_STALE}, {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, WEIR_DATA},
    };
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        struct weir_error err = {0};
        ck_assert_int_eq(weir__kafka_error(&err, errors[i].code, "why", "topic x"), errors[i].rc);
        ck_assert_int_eq(strncmp(err.text, "topic x: Kafka: ", 16), 0);
        ck_assert_ptr_nonnull(strstr(err.text, "): why"));
    }
}
END_TEST

Suite *kafka_client_suite(void);
Suite *kafka_client_suite(void)
{
    Suite *suite = suite_create("kafka_client");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, defaults_are_weirs);
    tcase_add_loop_test(tc, every_property_reaches_librdkafka, 0, SETTINGS);
    tcase_add_test(tc, every_property_is_tried);
    tcase_add_test(tc, secrets_are_resolved_and_never_shown);
    tcase_add_test(tc, partitions_are_counted);
    tcase_add_test(tc, a_closed_port_is_named);
    tcase_add_test(tc, undelivered_messages_are_dropped);
    tcase_add_test(tc, fatal_errors_stay);
    tcase_add_test(tc, a_conf_that_contradicts_itself_is_refused);
    tcase_add_test(tc, errors_have_our_codes);
    suite_add_tcase(suite, tc);
    return suite;
}
