/*
 * What connectors and formats there are and which options each takes: names, types, defaults, help. The planner checks tables
 * against these; the code that runs them is in taskmanager/connectors and taskmanager/formats, and a test there proves that both tables
 * agree. The rows are connector_desc.def.
 *
 * Everything here is static or pure; any thread.
 */
#ifndef WEIR_COMMON_CATALOG_CONNECTOR_DESC_H
#define WEIR_COMMON_CATALOG_CONNECTOR_DESC_H

#include "common/plan/opspec.h"

enum weir_option_type {
    WEIR_OPTION_STRING,
    WEIR_OPTION_INT,
    WEIR_OPTION_DOUBLE,
    WEIR_OPTION_BOOL,
    WEIR_OPTION_DURATION, /* weir_config_parse_duration */
    WEIR_OPTION_BYTES,    /* weir_config_parse_bytes */
    WEIR_OPTION_ENUM,
    WEIR_OPTION_TIME,     /* weir_option_parse_time */
    WEIR_OPTION_VALUE,    /* a number of the column's type (of a string column: a whole number) */
    WEIR_OPTION_LIST,     /* values of the column's type, separated by commas; spaces around them do not count */
    WEIR_OPTION_SECRET,
    WEIR_OPTION_FORMAT,  /* the name of a format */
    WEIR_OPTION_COLUMNS, /* names of columns, separated by semicolons */
    WEIR_OPTION_KAFKA_PROPERTY, /* kafka_props.h */
};

enum weir_table_role { WEIR_ROLE_SOURCE = 1, WEIR_ROLE_SINK = 2, WEIR_ROLE_BOTH = 3 };

struct weir_option_desc {
    const char *owner; /* the connector or format it belongs to */
    const char *name; /* may hold `#` (a column's name) or end with `*` */
    enum weir_option_type type;
    bool required;
    const char *def;    /* as text; NULL: none */
    const char *values; /* ENUM: "a|b|c" */
    int64_t min, max;   /* 0, 0: unchecked */
    uint32_t columns;   /* with `#`: bits of the kinds of column that take it */
    uint32_t roles;     /* of enum weir_table_role */
    const char *help;
};

struct weir_format_desc {
    const char *name;
    const char *help;
};

struct weir_connector_desc {
    const char *name;
    uint32_t roles;
    const char *format_keys; /* NULL: takes no format; else it needs one, named by one of these options (separated by |) */
    bool changelog;    /* as a sink: takes updating input */
    const char *bounded_by;
    const char *help;
};

/* By index (for lists, documentation and the parity test; NULL behind the last) and by name (NULL: none). */
const struct weir_connector_desc *weir_connector_desc_at(uint32_t i);
const struct weir_connector_desc *weir_connector_desc_find(struct weir_slice name);
const struct weir_format_desc *weir_format_desc_at(uint32_t i);
const struct weir_format_desc *weir_format_desc_find(struct weir_slice name);

/* All options of all connectors, then of all formats; NULL behind the last. */
const struct weir_option_desc *weir_option_desc_at(uint32_t i);

/* The names of all connectors that have `role`, or of all formats: "datagen, filesystem". */
void weir_connector_desc_list(uint32_t role, struct weir_buf *out);
void weir_format_desc_list(struct weir_buf *out);

/* One option of a table: INVALID names what is wrong with key (the nearest name) or value (what is expected). format may be NULL. */
enum weir_rc weir_connector_check_option(const struct weir_connector_desc *connector, const struct weir_format_desc *format,
                                         const struct weir_schema *schema, const struct weir_option *option,
                                         struct weir_error *err) WEIR_CHECKED;

/* A table whose options are each valid, as a whole and in the given role (bits): required options, and those that need each other. The
 * first problem found. */
enum weir_rc weir_connector_check_table(const struct weir_table_spec *table, uint32_t roles, struct weir_error *err) WEIR_CHECKED;

/* Whether the (checked) table ends by itself when it is read. */
bool weir_connector_bounded(const struct weir_table_spec *table);

/* Whether the (checked) table, as a sink, only writes with checkpoints: the job needs an interval. */
bool weir_connector_needs_checkpoints(const struct weir_table_spec *table);

/* Whether the (checked) table, as a sink, can owe effects outside after a checkpoint was committed (published files, transactions), so that a job
 * that ends must still drain it. */
bool weir_connector_sink_drains(const struct weir_table_spec *table);

/* The table's value of an option, else its default (may be NULL). */
const char *weir_connector_option(const struct weir_table_spec *table, const char *name);

/* The default of an option, or NULL: what an implementation uses where the table does not set it. `#` in name stands for itself
 * ("fields.#.kind"). Looks in the table's connector, then its format. */
const char *weir_connector_default(const struct weir_table_spec *table, const char *name);

/* The table's value of `prefix.COLUMN.suffix` ("fields", "speed", "min"), else the option's default (may be NULL). */
const char *weir_connector_field_option(const struct weir_table_spec *table, const char *prefix, const char *column,
                                        const char *suffix);

/* "2026-11-21 07:11:52" (or with T and Z) or epoch milliseconds; in microseconds since 1970. INVALID. */
enum weir_rc weir_option_parse_time(struct weir_slice text, int64_t *out_micros, struct weir_error *err) WEIR_CHECKED;

/* Takes the next item off a LIST's text, trimmed; false when there is none left. */
bool weir_option_next_item(struct weir_slice *rest, struct weir_slice *out_item);

/* Likewise of COLUMNS' text, which semicolons separate. */
bool weir_option_next_column(struct weir_slice *rest, struct weir_slice *out_name);

#endif
