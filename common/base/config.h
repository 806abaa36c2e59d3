/*
 * Settings of a daemon: every key is one row of config.def (name, type, default, unit/limits, one line of help, secret or
 * not). Sources, weakest first: default, the YAML file, the environment's WEIR_CONF_DIR file being the same as the file,
 * `-D key=value`. Unknown keys are errors with a suggestion (the nearest name). Values remember where they came from.
 *
 * The same keys are accepted in a job's `settings`, if their row says they are a job's.
 */
#ifndef WEIR_COMMON_BASE_CONFIG_H
#define WEIR_COMMON_BASE_CONFIG_H

#include "common/base/error.h"
#include "common/base/slice.h"

enum weir_config_type {
    WEIR_CONFIG_STRING,
    WEIR_CONFIG_BOOL,
    WEIR_CONFIG_INT,
    WEIR_CONFIG_DOUBLE,   /* "1.5"; min and max of its row are whole */
    WEIR_CONFIG_DURATION, /* "100 ms", "1 s", "2 min", "1 h", "1 d"; a bare number is milliseconds, as in Flink; held in ms */
    WEIR_CONFIG_BYTES,    /* "64 mb", "1 gb", "512 kb", a bare number is bytes, as in Flink; held in bytes */
    WEIR_CONFIG_SECRET,   /* a string that may be ${file:PATH} or ${env:NAME}; always shown as ****** */
};

enum weir_config_key {
#define X(id, name, type, def, min, max, scope, help) WEIR_CFG_##id,
#include "common/base/config.def"
#undef X
    WEIR_CFG_COUNT_
};

/* Where a key may be set. */
enum weir_config_scope { WEIR_SCOPE_DAEMON = 1, WEIR_SCOPE_JOB = 2, WEIR_SCOPE_BOTH = 3 };

struct weir_config;

/* All keys at their defaults. */
struct weir_config *weir_config_create(void);
struct weir_config *weir_config_copy(const struct weir_config *config);
void weir_config_destroy(struct weir_config *config); /* accepts NULL */

/* Adds a YAML file: nested maps and dotted keys are the same thing (`taskmanager: {numberOfTaskSlots: 2}`). All problems of
 * the file are found and listed in err (file:line:column each). Reads the file. INVALID, NOT_FOUND, IO. */
enum weir_rc weir_config_load(struct weir_config *config, const char *path, struct weir_error *err) WEIR_CHECKED;

/* The file a daemon reads: path given by --config, else $WEIR_CONF_DIR/weir.yaml, else /etc/weir/weir.yaml; a missing file
 * is an error only when it was named. conf_dir is the value of WEIR_CONF_DIR or NULL. */
enum weir_rc weir_config_load_default(struct weir_config *config, const char *path_option, const char *conf_dir,
                                      struct weir_error *err) WEIR_CHECKED;

/* Sets one key from text; `origin` ("-D", "job settings line 4:5") is copied and named in errors. INVALID: unknown key (with
 * the nearest name), bad value (with what is expected), or a key out of `scope`. */
enum weir_rc weir_config_set(struct weir_config *config, struct weir_slice key, struct weir_slice value, const char *origin,
                             enum weir_config_scope scope, struct weir_error *err) WEIR_CHECKED;

/* "key=value" as given to -D. */
enum weir_rc weir_config_set_pair(struct weir_config *config, const char *pair, struct weir_error *err) WEIR_CHECKED;

/* Whether the daemons' settings fit each other; every daemon asks this of its configuration before it starts, and `weir config check` does.
 * All daemons of a cluster read the same settings, so each refuses what any of them could not work with:
 * (V1) jobmanager.raft.heartbeat-interval at most a fifth of jobmanager.raft.election-timeout. Within it followers must hear from the leader, or
 *      they elect another one, and the leader from a majority, or it steps down; so one heartbeat and its answer is the least, and the others
 *      are for what the network loses and the disk delays. From equality on the library cannot run at all.
 * (V2) heartbeat.interval at most a third of heartbeat.timeout. Each answered heartbeat is followed by a pause of one interval, so at equality every
 *      TaskManager would be lost each heartbeat.timeout; after a stall of the JobManager it has half the timeout to be heard (tm_registry.h, T4).
 * (V3) cluster.fencing.timeout more than heartbeat.timeout, or 0: a TaskManager looks for another leader after heartbeat.timeout, before which its
 *      tasks have no reason to pause.
 * INVALID: err names the first rule that is broken: both settings, their values and origins, and what to do. */
enum weir_rc weir_config_check(const struct weir_config *config, struct weir_error *err) WEIR_CHECKED;

/* Values; the key must be of the type (asserted). Strings are borrowed until the key is set again or the config destroyed. */
const char *weir_config_string(const struct weir_config *config, enum weir_config_key key); /* STRING, SECRET (resolved) */
bool weir_config_bool(const struct weir_config *config, enum weir_config_key key);
int64_t weir_config_int(const struct weir_config *config, enum weir_config_key key); /* INT, DURATION (ms), BYTES */
double weir_config_double(const struct weir_config *config, enum weir_config_key key);
bool weir_config_is_set(const struct weir_config *config, enum weir_config_key key); /* by other than the default */

/* One row's facts, for `weir config show`, documentation and REST: name, value as text (secrets as ******), origin, help. */
const char *weir_config_name(enum weir_config_key key);
const char *weir_config_help(enum weir_config_key key);
enum weir_config_type weir_config_key_type(enum weir_config_key key);
enum weir_config_scope weir_config_key_scope(enum weir_config_key key);
char *weir_config_text_copy(const struct weir_config *config, enum weir_config_key key); /* weir_free */
const char *weir_config_origin(const struct weir_config *config, enum weir_config_key key);

/* Text to value in the units above: for table options too. INVALID names what was found and what is right. */
enum weir_rc weir_config_parse_duration(struct weir_slice text, int64_t *out_ms, struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_config_parse_bytes(struct weir_slice text, int64_t *out_bytes, struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_config_parse_bool(struct weir_slice text, bool *out_value, struct weir_error *err) WEIR_CHECKED;

/* ${file:PATH} and ${env:NAME} replaced by what they name (a file's trailing newline is dropped); other text is copied.
 * The caller frees *out. NOT_FOUND, INVALID. */
enum weir_rc weir_config_resolve_secret(struct weir_slice text, char **out, struct weir_error *err) WEIR_CHECKED;

/* The name of the table nearest to `name` by edit distance, or NULL when none is near enough: for "did you mean". */
const char *weir_nearest_name(struct weir_slice name, const char *const *names, size_t count);

#endif
