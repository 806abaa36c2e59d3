/*
 * What a command line of `weir` says. Options may stand before and after the operands; `--` ends them.
 */
#ifndef WEIR_CLIENT_OPTIONS_H
#define WEIR_CLIENT_OPTIONS_H

#include "common/base/error.h"

#include <stdint.h>

enum { WEIR_OPTIONS_OPERANDS_MAX = 4, WEIR_OPTIONS_DEFINES_MAX = 64, WEIR_OPTIONS_NODES_MAX = 64 };

/* Bits of what was given, so that a command can refuse what it has no use for. */
enum weir_option_bit {
    WEIR_OPTION_JSON = 1,
    WEIR_OPTION_DETACHED = 2,
    WEIR_OPTION_PARALLELISM = 4,
    WEIR_OPTION_JOBMANAGERS = 8,
    WEIR_OPTION_CONFIG = 16,
    WEIR_OPTION_DEFINE = 32,
    WEIR_OPTION_HELP = 64,
    WEIR_OPTION_VERSION = 128,
    WEIR_OPTION_NOW = 256,
    WEIR_OPTION_NODES = 1 << 16,
    WEIR_OPTION_NODE = 1 << 17,
    WEIR_OPTION_HOSTS = 1 << 18,
    WEIR_OPTION_DAYS = 1 << 19,
};

struct weir_options {
    uint32_t given;          /* weir_option_bit */
    uint32_t parallelism;    /* 0 = not given */
    const char *jobmanagers; /* NULL = not given */
    const char *config_file; /* NULL = not given */
    const char *defines[WEIR_OPTIONS_DEFINES_MAX]; /* "key=value" */
    uint32_t ndefines;
    const char *nodes;       /* --nodes, --hosts; NULL = not given */
    const char *hosts;
    const char *node[WEIR_OPTIONS_NODES_MAX];
    uint32_t nnode;
    uint32_t days; /* 0 = not given */
    const char *operands[WEIR_OPTIONS_OPERANDS_MAX]; /* the command's name first */
    uint32_t noperands;
};

/* argv as main gets it; texts are borrowed from it. INVALID: unknown option, missing or wrong value, too many operands. */
enum weir_rc weir_options_parse(int argc, char *const *argv, struct weir_options *out_options, struct weir_error *err) WEIR_CHECKED;

/* "-p" and so on, for a bit. */
const char *weir_option_name(enum weir_option_bit bit);

#endif
