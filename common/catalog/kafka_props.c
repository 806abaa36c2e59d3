#include "common/catalog/kafka_props.h"

#include "common/base/buf.h"
#include "common/base/config.h"
#include "common/catalog/secret.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

enum kind { KIND_NUMBER, KIND_OR_NONE, KIND_KIB, KIND_WORDS, KIND_TEXT, KIND_CUSTOM, KIND_REFUSED };

enum { C = WEIR_KAFKA_FOR_CONSUMER, P = WEIR_KAFKA_FOR_PRODUCER, CP = WEIR_KAFKA_FOR_BOTH, SHOWN_MAX = 80, VALUE_MAX = 1 << 20 };

struct row {
    const char *name;
    uint32_t roles;
    enum kind kind;
    bool secret;
    const char *setting; /* NULL: none */
    int64_t min, max;
    const char *text; /* WORDS: the words; REFUSED: why */
};

static const struct row rows[] = {
#define NUMBER(name, roles, setting, min, max) {name, roles, KIND_NUMBER, false, setting, min, max, NULL},
#define OR_NONE(name, roles, setting, min, max) {name, roles, KIND_OR_NONE, false, setting, min, max, NULL},
#define KIB(name, roles, setting, min, max) {name, roles, KIND_KIB, false, setting, min, max, NULL},
#define WORDS(name, roles, setting, words) {name, roles, KIND_WORDS, false, setting, 0, 0, words},
#define TEXT(name, roles, setting) {name, roles, KIND_TEXT, false, setting, 0, 0, NULL},
#define SECRET(name, roles, setting) {name, roles, KIND_TEXT, true, setting, 0, 0, NULL},
#define CUSTOM(name, roles, secret) {name, roles, KIND_CUSTOM, secret, NULL, 0, 0, NULL},
#define REFUSED(name, roles, why) {name, roles, KIND_REFUSED, false, NULL, 0, 0, why},
#include "common/catalog/kafka_props.def"
#undef NUMBER
#undef OR_NONE
#undef KIB
#undef WORDS
#undef TEXT
#undef SECRET
#undef CUSTOM
#undef REFUSED
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

/* What a mapping is made from and into. */
struct mapping {
    const struct weir_kafka_prop *props;
    uint32_t nprops;
    struct weir_arena *arena;
    struct weir_kafka_setting *settings;
    uint32_t count;
    struct weir_error *err;
};

const char *weir_kafka_prop_at(uint32_t i)
{
    return i < ROWS ? rows[i].name : NULL;
}

static const struct row *find_row(const char *name)
{
    for (uint32_t i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

bool weir_kafka_prop_secret(const char *name)
{
    const struct row *row = find_row(name);
    return row != NULL && row->secret;
}

/* --- JAAS ------------------------------------------------------------------------------------------------------------- */

struct jaas {
    bool scram;
    const char *username, *password;
};

static void skip_space(const char **at)
{
    while (isspace((unsigned char)**at)) {
        (*at)++;
    }
}

/* A run up to space, = or ;, or a quoted text with \ before any character taken as it is; NULL when there is none. */
static const char *jaas_token(const char **at, struct weir_arena *arena)
{
    skip_space(at);
    char *token = weir_arena_alloc(arena, strlen(*at) + 1);
    size_t len = 0;
    char quote = **at == '"' || **at == '\'' ? *(*at)++ : '\0';
    while (**at != '\0' && (quote != '\0' ? **at != quote : !isspace((unsigned char)**at) && strchr("=;", **at) == NULL)) {
        if (quote != '\0' && **at == '\\' && (*at)[1] != '\0') {
            (*at)++;
        }
        token[len++] = *(*at)++;
    }
    if (quote != '\0' && *(*at)++ != quote) {
        (*at)--;
        return NULL;
    }
    token[len] = '\0';
    return len > 0 || quote != '\0' ? token : NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text);
    size_t end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static enum weir_rc jaas_malformed(const char *what, struct weir_error *err)
{
    return weir_error_set(err, WEIR_INVALID,
                          "property \"sasl.jaas.config\" %s; expected org.apache.kafka.common.security.plain.PlainLoginModule (or "
                          "...scram.ScramLoginModule) required username=\"NAME\" password=\"${file:/path}\";", what);
}

/* Texts in errors are never the value's own: a password may stand anywhere in it. */
static enum weir_rc parse_jaas(const char *text, struct weir_arena *arena, struct jaas *out_jaas, struct weir_error *err)
{
    struct jaas jaas = {0};
    const char *module = jaas_token(&text, arena);
    const char *flag = jaas_token(&text, arena);
    if (module == NULL || flag == NULL) {
        return jaas_malformed("is not understood", err);
    }
    jaas.scram = ends_with(module, ".scram.ScramLoginModule");
    if (!jaas.scram && !ends_with(module, ".plain.PlainLoginModule")) {
        return jaas_malformed("names a login module that is not supported", err);
    }
    for (skip_space(&text); *text != ';' && *text != '\0'; skip_space(&text)) {
        const char *name = jaas_token(&text, arena);
        skip_space(&text);
        if (name == NULL || *text != '=') {
            return jaas_malformed("is not understood", err);
        }
        text++;
        const char *value = jaas_token(&text, arena);
        if (value == NULL) {
            return jaas_malformed("is not understood", err);
        }
        if (strcmp(name, "username") == 0) {
            jaas.username = value;
        } else if (strcmp(name, "password") == 0) {
            jaas.password = value;
        } else {
            return jaas_malformed("has an option other than username and password", err);
        }
    }
    const char *semicolon = text;
    text += *text == ';';
    skip_space(&text);
    if (*semicolon != ';' || *text != '\0') {
        return jaas_malformed("does not end with one semicolon", err);
    }
    if (jaas.username == NULL || jaas.password == NULL || jaas.username[0] == '\0') {
        return jaas_malformed("lacks username or password", err);
    }
    *out_jaas = jaas;
    return WEIR_OK;
}

/* --- one value -------------------------------------------------------------------------------------------------------- */

static const struct weir_kafka_prop *find_prop(const struct mapping *mapping, const char *name)
{
    for (uint32_t i = 0; i < mapping->nprops; i++) {
        if (strcmp(mapping->props[i].name, name) == 0) {
            return &mapping->props[i];
        }
    }
    return NULL;
}

static bool prop_is(const struct mapping *mapping, const char *name, const char *value)
{
    const struct weir_kafka_prop *prop = find_prop(mapping, name);
    return prop != NULL && strcasecmp(prop->value, value) == 0;
}

static void put(struct mapping *mapping, const struct weir_kafka_prop *prop, const char *name, const char *value)
{
    mapping->settings[mapping->count++] = (struct weir_kafka_setting){
        .property = prop->name,
        .name = name,
        .value = value,
        .resolved = prop->resolved,
        .secret = prop->resolved || weir_kafka_prop_secret(prop->name) || weir_secret_has(prop->value),
    };
}

/* What the value is, for an error: not what came out of a secret. */
static const char *shown(const struct mapping *mapping, const struct weir_kafka_prop *prop)
{
    return prop->resolved ? "what its reference stands for" : weir_arena_fmt(mapping->arena, "\"%.*s\"", SHOWN_MAX, prop->value);
}

static enum weir_rc map_number(struct mapping *mapping, const struct row *row, const struct weir_kafka_prop *prop)
{
    char *end = NULL;
    errno = 0;
    long long value = isdigit((unsigned char)prop->value[0]) || prop->value[0] == '-' ? strtoll(prop->value, &end, 10) : 0;
    bool whole = end != NULL && *end == '\0' && end != prop->value && errno == 0;
    if (whole && row->kind == KIND_OR_NONE && value == -1) {
        put(mapping, prop, row->setting, "0");
        return WEIR_OK;
    }
    if (whole && row->kind == KIND_KIB && value > 0) {
        value = (value - 1) / 1024 + 1;
    }
    if (!whole || value < row->min || value > row->max) {
        int64_t scale = row->kind == KIND_KIB ? 1024 : 1;
        return weir_error_set(mapping->err, WEIR_INVALID, "property \"%s\": %s is not a whole number from %lld to %lld%s", prop->name,
                              shown(mapping, prop), (long long)(row->kind == KIND_KIB ? 1 : row->min), (long long)(row->max * scale),
                              row->kind == KIND_OR_NONE ? ", nor -1" : "");
    }
    put(mapping, prop, row->setting, weir_arena_fmt(mapping->arena, "%lld", value));
    return WEIR_OK;
}

static enum weir_rc map_words(struct mapping *mapping, const struct row *row, const struct weir_kafka_prop *prop)
{
    struct weir_buf list = {0};
    const char *text = row->text;
    for (;;) {
        size_t len = strcspn(text, "|");
        const char *equals = memchr(text, '=', len);
        size_t name_len = equals == NULL ? len : (size_t)(equals - text);
        if (strlen(prop->value) == name_len && strncasecmp(prop->value, text, name_len) == 0) {
            if (row->setting != NULL) {
                const char *from = equals == NULL ? text : equals + 1;
                put(mapping, prop, row->setting, weir_arena_strndup(mapping->arena, from, len - (size_t)(from - text)));
            }
            weir_buf_fini(&list);
            return WEIR_OK;
        }
        if (name_len == 0) {
            weir_buf_put_str(&list, ", or nothing");
        } else {
            weir_buf_put_fmt(&list, "%s%.*s", list.len == 0 ? "" : ", ", (int)name_len, text);
        }
        if (text[len] == '\0') {
            break;
        }
        text += len + 1;
    }
    enum weir_rc rc = weir_error_set(mapping->err, WEIR_INVALID, "property \"%s\": %s is not one of %.*s", prop->name,
                                     shown(mapping, prop), WEIR_SLICE_ARG(weir_buf_slice(&list)));
    weir_buf_fini(&list);
    return rc;
}

static enum weir_rc map_jaas(struct mapping *mapping, const struct weir_kafka_prop *prop)
{
    struct jaas jaas;
    enum weir_rc rc = parse_jaas(prop->value, mapping->arena, &jaas, mapping->err);
    if (rc != WEIR_OK) {
        return rc;
    }
    bool plain = prop_is(mapping, "sasl.mechanism", "PLAIN");
    bool scram = prop_is(mapping, "sasl.mechanism", "SCRAM-SHA-256") || prop_is(mapping, "sasl.mechanism", "SCRAM-SHA-512");
    if (jaas.scram ? !scram : !plain) {
        return weir_error_set(mapping->err, WEIR_INVALID, "property \"sasl.jaas.config\" has the login module of %s, and "
                              "\"sasl.mechanism\" is another", jaas.scram ? "SCRAM-SHA-256 or SCRAM-SHA-512" : "PLAIN");
    }
    put(mapping, prop, "sasl.username", jaas.username);
    put(mapping, prop, "sasl.password", jaas.password);
    return WEIR_OK;
}

static enum weir_rc map_custom(struct mapping *mapping, const struct weir_kafka_prop *prop)
{
    static const char how[] = "librdkafka cannot read Java key stores; convert it (keytool -importkeystore -deststoretype PKCS12, then "
                              "openssl pkcs12 for PEM)";
    bool trust = strncmp(prop->name, "ssl.truststore.", 15) == 0;
    if (strcmp(prop->name, "sasl.jaas.config") == 0) {
        return map_jaas(mapping, prop);
    }
    if (ends_with(prop->name, ".type")) {
        bool known = strcasecmp(prop->value, "PEM") == 0 || (!trust && strcasecmp(prop->value, "PKCS12") == 0);
        return known ? WEIR_OK
                     : weir_error_set(mapping->err, WEIR_INVALID, "property \"%s\": %s is not %s: %s", prop->name,
                                      shown(mapping, prop), trust ? "PEM" : "PEM or PKCS12", how);
    }
    if (trust && prop_is(mapping, "ssl.truststore.type", "PEM")) {
        put(mapping, prop, "ssl.ca.location", prop->value);
    } else if (!trust && prop_is(mapping, "ssl.keystore.type", "PEM")) {
        put(mapping, prop, "ssl.certificate.location", prop->value);
        put(mapping, prop, "ssl.key.location", prop->value);
    } else if (!trust && prop_is(mapping, "ssl.keystore.type", "PKCS12")) {
        put(mapping, prop, "ssl.keystore.location", prop->value);
    } else {
        return weir_error_set(mapping->err, WEIR_INVALID, "property \"%s\" needs \"%s\" to be %s (Java's default is JKS): %s",
                              prop->name, trust ? "ssl.truststore.type" : "ssl.keystore.type", trust ? "PEM" : "PEM or PKCS12", how);
    }
    return WEIR_OK;
}

static enum weir_rc map_row(struct mapping *mapping, const struct row *row, const struct weir_kafka_prop *prop)
{
    bool jaas = strcmp(prop->name, "sasl.jaas.config") == 0;
    if (!prop->resolved && (jaas ? weir_secret_whole(prop->value) : weir_secret_has(prop->value)) && row->kind != KIND_REFUSED) {
        if (row->setting != NULL) {
            put(mapping, prop, row->setting, prop->value); /* its value is known later */
        }
        return WEIR_OK;
    }
    switch (row->kind) {
    case KIND_NUMBER:
    case KIND_OR_NONE:
    case KIND_KIB:
        return map_number(mapping, row, prop);
    case KIND_WORDS:
        return map_words(mapping, row, prop);
    case KIND_TEXT:
        if (prop->value[0] == '\0' || strlen(prop->value) > VALUE_MAX) {
            return weir_error_set(mapping->err, WEIR_INVALID, "property \"%s\" is empty or too long; expected a text", prop->name);
        }
        put(mapping, prop, row->setting, prop->value);
        return WEIR_OK;
    case KIND_CUSTOM:
        return map_custom(mapping, prop);
    case KIND_REFUSED:
        return weir_error_set(mapping->err, WEIR_INVALID, "property \"%s\" cannot be set: %s", prop->name, row->text);
    }
    return WEIR_OK;
}

/* --- checks ----------------------------------------------------------------------------------------------------------- */

static enum weir_rc unknown(const char *name, struct weir_error *err)
{
    const char *names[ROWS];
    for (uint32_t i = 0; i < ROWS; i++) {
        names[i] = rows[i].name;
    }
    const char *near = weir_nearest_name(weir_slice_str(name), names, ROWS);
    return weir_error_set(err, WEIR_INVALID, "there is no Kafka client property \"%.*s\"%s%s%s", SHOWN_MAX, name,
                          near == NULL ? " that Weir knows; docs/job-file.md lists them" : "; did you mean \"", near == NULL ? "" : near,
                          near == NULL ? "" : "\"?");
}

/* A secret is a reference, in JAAS text the password is. */
static enum weir_rc check_secret(const char *name, const char *value, struct weir_arena *arena, struct weir_error *err)
{
    struct jaas jaas;
    bool is_jaas = strcmp(name, "sasl.jaas.config") == 0;
    if (weir_secret_whole(value)) {
        return WEIR_OK;
    }
    if (is_jaas) {
        enum weir_rc rc = parse_jaas(value, arena, &jaas, err);
        if (rc != WEIR_OK || weir_secret_whole(jaas.password)) {
            return rc;
        }
    }
    return weir_error_set(err, WEIR_INVALID,
                          "property \"%s\" is a secret, which a job file must not hold%s: write %s${file:/path} or ${env:NAME}%s, which "
                          "the TaskManager replaces", name, is_jaas ? " (its password)" : "", is_jaas ? "password=\"" : "",
                          is_jaas ? "\"" : "");
}

enum weir_rc weir_kafka_prop_check(const char *name, const char *value, struct weir_error *err)
{
    const struct row *row = find_row(name);
    if (row == NULL) {
        return unknown(name, err);
    }
    if (row->kind == KIND_REFUSED) {
        return weir_error_set(err, WEIR_INVALID, "property \"%s\" cannot be set: %s", name, row->text);
    }
    enum weir_rc rc = weir_secret_check(value, err);
    if (rc != WEIR_OK) {
        return weir_error_prefix(err, "property \"%s\"", name);
    }
    struct weir_arena *arena = weir_arena_create(4096);
    const struct weir_kafka_prop prop = {.name = name, .value = value};
    struct weir_kafka_setting settings[4];
    struct mapping mapping = {.props = &prop, .nprops = 1, .arena = arena, .settings = settings, .err = err};
    if (row->secret) {
        rc = check_secret(name, value, arena, err);
    } else if (row->kind != KIND_CUSTOM) { /* those need the others */
        for (uint32_t i = 0; rc == WEIR_OK && i < ROWS; i++) {
            if (strcmp(rows[i].name, name) == 0) {
                mapping.count = 0;
                rc = map_row(&mapping, &rows[i], &prop);
            }
        }
    }
    weir_arena_destroy(arena);
    return rc;
}

/* Properties that mean nothing, or something else, without another. */
static enum weir_rc check_together(const struct mapping *mapping)
{
    const struct weir_kafka_prop *protocol = find_prop(mapping, "security.protocol");
    const struct weir_kafka_prop *mechanism = find_prop(mapping, "sasl.mechanism");
    bool open = protocol != NULL && !protocol->resolved && weir_secret_has(protocol->value);
    bool sasl = open || prop_is(mapping, "security.protocol", "SASL_PLAINTEXT") || prop_is(mapping, "security.protocol", "SASL_SSL");
    bool tls = open || prop_is(mapping, "security.protocol", "SSL") || prop_is(mapping, "security.protocol", "SASL_SSL");
    for (uint32_t i = 0; i < mapping->nprops; i++) {
        const char *name = mapping->props[i].name;
        if ((strncmp(name, "sasl.", 5) == 0 && !sasl) || (strncmp(name, "ssl.", 4) == 0 && !tls)) {
            return weir_error_set(mapping->err, WEIR_INVALID, "property \"%s\" needs \"security.protocol\" to be %s", name,
                                  name[1] == 'a' ? "SASL_SSL or SASL_PLAINTEXT" : "SSL or SASL_SSL");
        }
    }
    if (!open && sasl && mechanism == NULL) {
        return weir_error_set(mapping->err, WEIR_INVALID, "property \"security.protocol\" with SASL needs \"sasl.mechanism\"");
    }
    bool password = prop_is(mapping, "sasl.mechanism", "PLAIN") || prop_is(mapping, "sasl.mechanism", "SCRAM-SHA-256") ||
                    prop_is(mapping, "sasl.mechanism", "SCRAM-SHA-512");
    if (password && find_prop(mapping, "sasl.jaas.config") == NULL) {
        return weir_error_set(mapping->err, WEIR_INVALID, "property \"sasl.mechanism\": %s needs \"sasl.jaas.config\" with username and "
                              "password", mechanism->value);
    }
    if (find_prop(mapping, "ssl.keystore.password") != NULL && prop_is(mapping, "ssl.keystore.type", "PEM")) {
        return weir_error_set(mapping->err, WEIR_INVALID,
                              "property \"ssl.keystore.password\" is for PKCS12; the password of a PEM key is \"ssl.key.password\"");
    }
    return WEIR_OK;
}

enum weir_rc weir_kafka_props_map(const struct weir_kafka_prop *props, uint32_t nprops, uint32_t roles, bool for_role_only,
                                  struct weir_arena *arena, struct weir_kafka_setting **out_settings, uint32_t *out_count,
                                  struct weir_error *err)
{
    struct mapping mapping = {.props = props, .nprops = nprops, .arena = arena, .err = err};
    mapping.settings = weir_arena_zalloc(arena, ((size_t)nprops * 2 + 1) * sizeof(*mapping.settings));
    enum weir_rc rc = check_together(&mapping);
    for (uint32_t i = 0; rc == WEIR_OK && i < nprops; i++) {
        uint32_t known = 0;
        for (uint32_t k = 0; rc == WEIR_OK && k < ROWS; k++) {
            if (strcmp(rows[k].name, props[i].name) == 0) {
                known |= rows[k].roles;
                rc = (rows[k].roles & roles) != 0 ? map_row(&mapping, &rows[k], &props[i]) : WEIR_OK;
            }
        }
        if (rc == WEIR_OK && known == 0) {
            rc = unknown(props[i].name, err);
        } else if (rc == WEIR_OK && (known & roles) == 0 && for_role_only) {
            rc = weir_error_set(err, WEIR_INVALID, "property \"%s\" is for %s, and the table is a %s", props[i].name,
                                known == C ? "consumers" : "producers", known == C ? "sink" : "source");
        }
    }
    if (rc == WEIR_OK) {
        *out_settings = mapping.settings;
        *out_count = mapping.count;
    }
    return rc;
}
