/*
 * A command of `weir`: one row of the table in main.c, one function in cmd_*.c.
 */
#ifndef WEIR_CLIENT_COMMAND_H
#define WEIR_CLIENT_COMMAND_H

#include "client/gateway.h"
#include "client/options.h"

struct json_t;

enum weir_exit { WEIR_EXIT_OK = 0, WEIR_EXIT_FAILED = 1, WEIR_EXIT_USAGE = 2 };

struct weir_command {
    const char *name;
    const char *operands; /* "FILE [-d]": for people */
    const char *help;     /* one line */
    uint32_t operands_min, operands_max; /* besides the command's name */
    uint32_t options;     /* weir_option_bit of those it takes, besides --json, --help, -m */
    bool remote;          /* talks to a JobManager: gateway is not NULL */
    /* Prints its result to standard output. An error is printed by the caller. */
    enum weir_rc (*run)(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                        struct weir_error *err);
};

enum weir_rc weir_cmd_run(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                          struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_cmd_list(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                           struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_cmd_status(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                             struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_cmd_cancel(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                             struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_cmd_cluster(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                              struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_cmd_logs(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                           struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_cmd_certs(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                            struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_cmd_config(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                             struct weir_error *err) WEIR_CHECKED;

/* Documents: a member as text ("" when it is none), as an integer (-1 when it is none). */
const char *weir_json_text(const struct json_t *object, const char *key);
int64_t weir_json_int(const struct json_t *object, const char *key);

/* Prints a document, indented, and drops it; or a buffer. To standard output. */
void weir_print_json_take(struct json_t *document);
void weir_print(struct weir_slice text);

/* "/jobs/<job, encoded><rest>": weir_free. */
char *weir_job_path(const char *job, const char *rest);

#endif
