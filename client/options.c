#include "client/options.h"

#include "common/base/limits.h"
#include "common/net/x509.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct row {
    const char *short_name, *long_name;
    enum weir_option_bit bit;
    bool has_value;
};

static const struct row rows[] = {
    {NULL, "--json", WEIR_OPTION_JSON, false},
    {"-d", "--detached", WEIR_OPTION_DETACHED, false},
    {NULL, "--now", WEIR_OPTION_NOW, false},
    {"-p", "--parallelism", WEIR_OPTION_PARALLELISM, true},
    {"-m", "--jobmanager", WEIR_OPTION_JOBMANAGERS, true},
    {NULL, "--config", WEIR_OPTION_CONFIG, true},
    {"-D", NULL, WEIR_OPTION_DEFINE, true},
    {NULL, "--nodes", WEIR_OPTION_NODES, true},
    {NULL, "--node", WEIR_OPTION_NODE, true},
    {NULL, "--hosts", WEIR_OPTION_HOSTS, true},
    {NULL, "--days", WEIR_OPTION_DAYS, true},
    {"-h", "--help", WEIR_OPTION_HELP, false},
    {"-V", "--version", WEIR_OPTION_VERSION, false},
};

const char *weir_option_name(enum weir_option_bit bit)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].bit == bit) {
            return rows[i].short_name != NULL ? rows[i].short_name : rows[i].long_name;
        }
    }
    return "?";
}

/* The row that `arg` names, and its value when it stands in the same argument (-Dk=v, -p4, --config=FILE). */
static const struct row *find(const char *arg, const char **out_value)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        size_t len = row->long_name != NULL ? strlen(row->long_name) : 0;
        *out_value = NULL;
        if (len > 0 && strncmp(arg, row->long_name, len) == 0 && (arg[len] == '\0' || (row->has_value && arg[len] == '='))) {
            *out_value = arg[len] == '=' ? arg + len + 1 : NULL;
            return row;
        }
        if (row->short_name != NULL && strncmp(arg, row->short_name, 2) == 0 && (arg[2] == '\0' || row->has_value)) {
            *out_value = arg[2] != '\0' ? arg + 2 : NULL;
            return row;
        }
    }
    return NULL;
}

static enum weir_rc set_number(const char *option, const char *value, int max, uint32_t *out, struct weir_error *err)
{
    char *end;
    errno = 0;
    long number = strtol(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || number < 1 || number > max) {
        return weir_error_set(err, WEIR_INVALID, "%s %s: expected a number from 1 to %d", option, value, max);
    }
    *out = (uint32_t)number;
    return WEIR_OK;
}

static enum weir_rc set(struct weir_options *options, enum weir_option_bit bit, const char *value, struct weir_error *err)
{
    options->given |= bit;
    switch (bit) {
    case WEIR_OPTION_PARALLELISM:
        return set_number("-p", value, WEIR_PARALLELISM_MAX, &options->parallelism, err);
    case WEIR_OPTION_JOBMANAGERS:
        options->jobmanagers = value;
        break;
    case WEIR_OPTION_CONFIG:
        options->config_file = value;
        break;
    case WEIR_OPTION_DEFINE:
        if (options->ndefines == WEIR_OPTIONS_DEFINES_MAX) {
            return weir_error_set(err, WEIR_INVALID, "more than %d times -D", WEIR_OPTIONS_DEFINES_MAX);
        }
        options->defines[options->ndefines++] = value;
        break;
    case WEIR_OPTION_NODES:
        options->nodes = value;
        break;
    case WEIR_OPTION_HOSTS:
        options->hosts = value;
        break;
    case WEIR_OPTION_NODE:
        if (options->nnode == WEIR_OPTIONS_NODES_MAX) {
            return weir_error_set(err, WEIR_INVALID, "more than %d times --node", WEIR_OPTIONS_NODES_MAX);
        }
        options->node[options->nnode++] = value;
        break;
    case WEIR_OPTION_DAYS:
        return set_number("--days", value, WEIR_X509_DAYS_MAX, &options->days, err);
    case WEIR_OPTION_JSON:
    case WEIR_OPTION_DETACHED:
    case WEIR_OPTION_NOW:
    case WEIR_OPTION_HELP:
    case WEIR_OPTION_VERSION:
        break;
    }
    return WEIR_OK;
}

static enum weir_rc add_operand(struct weir_options *options, const char *arg, struct weir_error *err)
{
    if (options->noperands == WEIR_OPTIONS_OPERANDS_MAX) {
        return weir_error_set(err, WEIR_INVALID, "too many arguments, from `%s` on", arg);
    }
    options->operands[options->noperands++] = arg;
    return WEIR_OK;
}

enum weir_rc weir_options_parse(int argc, char *const *argv, struct weir_options *out_options, struct weir_error *err)
{
    struct weir_options options = {0};
    bool only_operands = false;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        enum weir_rc rc;
        if (!only_operands && strcmp(arg, "--") == 0) {
            only_operands = true;
            continue;
        }
        if (only_operands || arg[0] != '-' || arg[1] == '\0') {
            rc = add_operand(&options, arg, err);
        } else {
            const char *value;
            const struct row *row = find(arg, &value);
            if (row == NULL) {
                return weir_error_set(err, WEIR_INVALID, "unknown option `%s`", arg);
            }
            if (row->has_value && value == NULL && i + 1 == argc) {
                return weir_error_set(err, WEIR_INVALID, "%s needs a value", arg);
            }
            rc = set(&options, row->bit, row->has_value && value == NULL ? argv[++i] : value, err);
        }
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    *out_options = options;
    return WEIR_OK;
}
