#include "common/catalog/kafka_props.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define PLAIN "org.apache.kafka.common.security.plain.PlainLoginModule"
#define SCRAM "org.apache.kafka.common.security.scram.ScramLoginModule"

/* "hunter2" stands for a secret written out: no error may show it. */
static const struct {
    const char *name, *value, *problem; /* NULL: valid */
} single[] = {
    {"bootstrap.servers", "a:1,b:2", NULL},
    {"bootstrap.server", "a:1", "did you mean \"bootstrap.servers\"?"},
    {"metadata.broker.list", "a:1", "there is no Kafka client property \"metadata.broker.list\""},
    {"sasl.password", "hunter2", "there is no Kafka client property \"sasl.password\""},
    {"fetch.min.bytes", "0", "\"0\" is not a whole number from 1 to 100000000"},
    {"fetch.min.bytes", "1 mb", "is not a whole number"},
    {"fetch.min.bytes", "${env:N}", NULL},
    {"fetch.min.bytes", "${N}", "\"${\" begins no reference"},
    {"connections.max.idle.ms", "-1", NULL},
    {"connections.max.idle.ms", "0", "from 1 to 2147483647, nor -1"},
    {"connections.max.idle.ms", "-2", "nor -1"},
    {"buffer.memory", "1", NULL},
    {"buffer.memory", "0", "from 1 to"},
    {"buffer.memory", "-9223372036854775808", "from 1 to"},
    {"acks", "ALL", NULL},
    {"acks", "2", "\"2\" is not one of all, -1, 0, 1"},
    {"auto.offset.reset", "largest", "is not one of earliest, latest, none"},
    {"ssl.endpoint.identification.algorithm", "", NULL},
    {"ssl.endpoint.identification.algorithm", "ldaps", "is not one of https, or nothing"},
    {"client.dns.lookup", "resolve_canonical_bootstrap_servers_only", "is not one of use_all_dns_ips"},
    {"enable.auto.commit", "true", "cannot be set: Weir commits"},
    {"key.serializer", "x", "Weir has formats instead"},
    {"transactional.id", "x", "sink.transactional-id-prefix"},
    {"sasl.mechanism", "OAUTHBEARER", "is not one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, GSSAPI"},
    {"ssl.key.password", "${file:/s}", NULL},
    {"ssl.key.password", "hunter2", "is a secret, which a job file must not hold: write ${file:/path} or ${env:NAME}"},
    {"ssl.key.password", "hunter2${env:X}", "is a secret"},
    {"ssl.keystore.key", "hunter2", "is a secret"},
    {"ssl.keystore.password", "", "is a secret"},
    {"sasl.jaas.config", "${env:JAAS}", NULL},
    {"sasl.jaas.config", PLAIN " required username=\"u\" password=\"${env:P}\";", NULL},
    {"sasl.jaas.config", PLAIN " required username=\"u\" password=\"hunter2\";", "(its password): write password=\"${file:/path}"},
    {"sasl.jaas.config", PLAIN " required username=\"u\" password=\"hunter2${env:P}\";", "is a secret"},
    {"sasl.jaas.config", SCRAM " required username=u password='${env:P}' ; ", NULL},
    {"sasl.jaas.config", SCRAM " required username=u password=hunter2", "does not end with one semicolon"},
    {"sasl.jaas.config", SCRAM " required username=u password=\"hunter2;", "is not understood"},
    {"sasl.jaas.config", SCRAM " required username=\"u\" password \"hunter2\";", "is not understood"},
    {"sasl.jaas.config", SCRAM " required username=\"u\" pass=\"hunter2\";", "an option other than username and password"},
    {"sasl.jaas.config", PLAIN " required password=\"hunter2\";", "lacks username or password"},
    {"sasl.jaas.config", "com.sun.security.auth.module.Krb5LoginModule required keyTab=\"hunter2\";", "login module that is not supported"},
    {"sasl.jaas.config", "hunter2", "is not understood"},
    {"sasl.jaas.config", "", "is not understood"},
};

START_TEST(properties_are_checked_one_by_one)
{
    struct weir_error err = {0};
    enum weir_rc rc = weir_kafka_prop_check(single[_i].name, single[_i].value, &err);
    ck_assert_int_eq(rc, single[_i].problem == NULL ? WEIR_OK : WEIR_INVALID);
    ck_assert_msg(rc == WEIR_OK || strstr(err.text, single[_i].problem) != NULL, "%s", err.text);
    ck_assert_ptr_null(strstr(err.text, "hunter2"));
}
END_TEST

#define SASL {"security.protocol", "SASL_SSL", false}
#define TLS {"security.protocol", "SSL", false}

static const struct {
    struct weir_kafka_prop props[4];
    uint32_t roles;
    const char *expected; /* "name=value name=value", or after ! what is wrong */
} maps[] = {
    {{{NULL, NULL, false}}, WEIR_KAFKA_FOR_BOTH, ""},
    {{{"request.timeout.ms", "20000", false}}, WEIR_KAFKA_FOR_CONSUMER, "socket.timeout.ms=20000"},
    {{{"request.timeout.ms", "20000", false}}, WEIR_KAFKA_FOR_PRODUCER, "socket.timeout.ms=20000 request.timeout.ms=20000"},
    {{{"retry.backoff.ms", "5", false}}, WEIR_KAFKA_FOR_CONSUMER, "fetch.error.backoff.ms=5"},
    {{{"retry.backoff.ms", "5", false}}, WEIR_KAFKA_FOR_PRODUCER, "retry.backoff.ms=5"},
    {{{"acks", "all", false}}, WEIR_KAFKA_FOR_PRODUCER, "acks=-1"},
    {{{"acks", "all", false}}, WEIR_KAFKA_FOR_CONSUMER, "!is for producers, and the table is a source"},
    {{{"group.id", "g", false}}, WEIR_KAFKA_FOR_PRODUCER, "!is for consumers, and the table is a sink"},
    {{{"group.id", "g", false}, {"acks", "1", false}}, WEIR_KAFKA_FOR_BOTH, "group.id=g acks=1"},
    {{{"nothing.at.all", "g", false}}, WEIR_KAFKA_FOR_PRODUCER, "!there is no Kafka client property"},
    {{{"buffer.memory", "1025", false}}, WEIR_KAFKA_FOR_PRODUCER, "queue.buffering.max.kbytes=2"},
    {{{"receive.buffer.bytes", "-1", false}}, WEIR_KAFKA_FOR_PRODUCER, "socket.receive.buffer.bytes=0"},
    {{{"auto.offset.reset", "none", false}}, WEIR_KAFKA_FOR_CONSUMER, "auto.offset.reset=error"},
    {{{"client.dns.lookup", "use_all_dns_ips", false}}, WEIR_KAFKA_FOR_CONSUMER, ""},
    {{{"fetch.min.bytes", "hunter2", true}}, WEIR_KAFKA_FOR_CONSUMER, "!what its reference stands for is not a whole number"},
    {{TLS, {"ssl.truststore.location", "/t", false}}, WEIR_KAFKA_FOR_CONSUMER, "!needs \"ssl.truststore.type\" to be PEM (Java's default is JKS)"},
    {{TLS, {"ssl.truststore.location", "/t", false}, {"ssl.truststore.type", "JKS", false}}, WEIR_KAFKA_FOR_CONSUMER, "!librdkafka cannot read Java"},
    {{TLS, {"ssl.truststore.location", "/t", false}, {"ssl.truststore.type", "PEM", false}}, WEIR_KAFKA_FOR_CONSUMER,
     "security.protocol=ssl ssl.ca.location=/t"},
    {{TLS, {"ssl.keystore.location", "/k", false}, {"ssl.keystore.type", "PEM", false}}, WEIR_KAFKA_FOR_PRODUCER,
     "security.protocol=ssl ssl.certificate.location=/k ssl.key.location=/k"},
    {{TLS, {"ssl.keystore.location", "/k", false}, {"ssl.keystore.type", "PKCS12", false}, {"ssl.keystore.password", "p", true}},
     WEIR_KAFKA_FOR_PRODUCER, "security.protocol=ssl ssl.keystore.location=/k ssl.keystore.password=p"},
    {{TLS, {"ssl.keystore.type", "PEM", false}, {"ssl.keystore.password", "p", true}}, WEIR_KAFKA_FOR_PRODUCER, "!is \"ssl.key.password\""},
    {{{"ssl.truststore.type", "PEM", false}}, WEIR_KAFKA_FOR_PRODUCER, "!needs \"security.protocol\" to be SSL or SASL_SSL"},
    {{{"sasl.mechanism", "PLAIN", false}}, WEIR_KAFKA_FOR_PRODUCER, "!needs \"security.protocol\" to be SASL_SSL or SASL_PLAINTEXT"},
    {{SASL}, WEIR_KAFKA_FOR_PRODUCER, "!needs \"sasl.mechanism\""},
    {{SASL, {"sasl.mechanism", "PLAIN", false}}, WEIR_KAFKA_FOR_PRODUCER, "!PLAIN needs \"sasl.jaas.config\""},
    {{SASL, {"sasl.mechanism", "PLAIN", false}, {"sasl.jaas.config", SCRAM " required username=u password=p;", true}},
     WEIR_KAFKA_FOR_PRODUCER, "!has the login module of SCRAM-SHA-256 or SCRAM-SHA-512"},
    {{SASL, {"sasl.mechanism", "PLAIN", false}, {"sasl.jaas.config", PLAIN " required username=\"a \\\"b\" password='p;=\"';", true}},
     WEIR_KAFKA_FOR_PRODUCER, "security.protocol=sasl_ssl sasl.mechanism=PLAIN sasl.username=a \"b sasl.password=p;=\""},
    {{SASL, {"sasl.mechanism", "GSSAPI", false}, {"sasl.kerberos.service.name", "k", false}}, WEIR_KAFKA_FOR_CONSUMER,
     "security.protocol=sasl_ssl sasl.mechanism=GSSAPI sasl.kerberos.service.name=k"},
    {{{"security.protocol", "${env:P}", false}, {"sasl.mechanism", "GSSAPI", false}}, WEIR_KAFKA_FOR_CONSUMER,
     "security.protocol=${env:P} sasl.mechanism=GSSAPI"},
};

START_TEST(properties_become_settings)
{
    struct weir_arena *arena = weir_arena_create(4096);
    struct weir_kafka_setting *settings = NULL;
    struct weir_error err = {0};
    uint32_t nprops = 0;
    uint32_t count = 0;
    while (nprops < 4 && maps[_i].props[nprops].name != NULL) {
        nprops++;
    }
    enum weir_rc rc = weir_kafka_props_map(maps[_i].props, nprops, maps[_i].roles, true, arena, &settings, &count, &err);
    if (maps[_i].expected[0] == '!') {
        ck_assert_int_eq(rc, WEIR_INVALID);
        ck_assert_msg(strstr(err.text, maps[_i].expected + 1) != NULL, "%s", err.text);
        ck_assert_ptr_null(strstr(err.text, "hunter2"));
    } else {
        ck_assert_msg(rc == WEIR_OK, "%s", err.text);
        char got[512] = "";
        for (uint32_t i = 0; i < count; i++) {
            size_t len = strlen(got);
            (void)snprintf(got + len, sizeof(got) - len, "%s%s=%s", i == 0 ? "" : " ", settings[i].name, settings[i].value);
            bool secret = strstr(settings[i].name, "password") != NULL || strstr(settings[i].name, "username") != NULL;
            ck_assert(!secret || settings[i].secret);
        }
        ck_assert_str_eq(got, maps[_i].expected);
    }
    weir_arena_destroy(arena);
}
END_TEST

/* On the TaskManager a table that is read and written gives each client its own part. */
START_TEST(a_client_takes_its_roles_properties)
{
    static const struct weir_kafka_prop props[] = {{"group.id", "g", false}, {"acks", "1", false}, {"client.id", "c", false}};
    struct weir_arena *arena = weir_arena_create(4096);
    struct weir_kafka_setting *settings = NULL;
    struct weir_error err = {0};
    uint32_t count = 0;
    ck_assert_int_eq(weir_kafka_props_map(props, 3, WEIR_KAFKA_FOR_PRODUCER, false, arena, &settings, &count, &err), WEIR_OK);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(settings[0].name, "acks");
    ck_assert_str_eq(settings[1].name, "client.id");
    weir_arena_destroy(arena);
}
END_TEST

/* JAAS text cut anywhere, and with any byte replaced, is read or refused, and never read past its end. */
START_TEST(damaged_jaas_texts_are_refused)
{
    static const char whole[] = PLAIN " required username=\"u\" password=\"${env:P}\";";
    struct weir_error err = {0};
    for (size_t i = 0; i < sizeof(whole) - 1; i++) {
        char *cut = strndup(whole, i);
        ck_assert_int_eq(weir_kafka_prop_check("sasl.jaas.config", cut, &err), WEIR_INVALID);
        free(cut);
        for (const char *c = "\"'\\;= x"; *c != '\0'; c++) {
            char *other = strdup(whole);
            other[i] = *c;
            enum weir_rc rc = weir_kafka_prop_check("sasl.jaas.config", other, &err);
            ck_assert(rc == WEIR_OK || rc == WEIR_INVALID);
            free(other);
        }
    }
}
END_TEST

Suite *kafka_props_suite(void);
Suite *kafka_props_suite(void)
{
    Suite *suite = suite_create("kafka_props");
    TCase *tc = tcase_create("all");
    tcase_add_loop_test(tc, properties_are_checked_one_by_one, 0, sizeof(single) / sizeof(single[0]));
    tcase_add_loop_test(tc, properties_become_settings, 0, sizeof(maps) / sizeof(maps[0]));
    tcase_add_test(tc, a_client_takes_its_roles_properties);
    tcase_add_test(tc, damaged_jaas_texts_are_refused);
    suite_add_tcase(suite, tc);
    return suite;
}
