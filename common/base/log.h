/*
 * Logs in logfmt: `ts=2026-11-21T07:11:52.123Z level=info event=task_deployed job=... task=... key="value with space"`.
 *
 * A logger carries bound context (daemon, job id, task, attempt), so that every line of a job names it. Never call it in
 * per-row code; log an error once, where it is handled.
 *
 * Repeats are rate-limited, by job, so that a job in a crash loop hides nothing of another. A line's job is the bound field
 * `job`, else the line's own first `job`; lines without one share a limit of theirs. In WEIR_LOG_WINDOW_MS pass at most
 * - WEIR_LOG_BURST lines of one event and job,
 * - WEIR_LOG_EVENT_BURST lines of one event; the second half of them only such as are among the first
 *   WEIR_LOG_FIRST_LINES of their job, so that many loud jobs together do not hide a quiet one either.
 * What is held back is counted: `suppressed` of the next line let through of that event and job. Of a job that has said
 * nothing of that event for WEIR_LOG_IDLE_MS (or was silent longest of more than WEIR_LOG_RATES_MAX), the count stands in
 * the next line of the event, whoever's that is: `suppressed_earlier`.
 */
#ifndef WEIR_COMMON_BASE_LOG_H
#define WEIR_COMMON_BASE_LOG_H

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/slice.h"

enum weir_log_level { WEIR_LOG_DEBUG, WEIR_LOG_INFO, WEIR_LOG_WARN, WEIR_LOG_ERROR };

enum {
    WEIR_LOG_BURST = 20,
    WEIR_LOG_EVENT_BURST = 200,
    WEIR_LOG_FIRST_LINES = 4,
    WEIR_LOG_WINDOW_MS = 10000,
    WEIR_LOG_IDLE_MS = 60000,
    WEIR_LOG_RATES_MAX = 4096, /* pairs of event and job that are counted at a time */
    WEIR_LOG_LINE_MAX = 4096,
    WEIR_LOG_RECENT_LINES = 2000,
    WEIR_LOG_RECENT_SHARE = 100,
};

/* The sink that all loggers of a process share: a file descriptor and the level. Thread-safe. */
struct weir_log_sink;

struct weir_log_sink *weir_log_sink_create(int fd, const struct weir_clock *clock, enum weir_log_level level);
void weir_log_sink_destroy(struct weir_log_sink *sink);
void weir_log_sink_set_level(struct weir_log_sink *sink, enum weir_log_level level); /* live, any thread */
enum weir_log_level weir_log_sink_level(const struct weir_log_sink *sink);

/* Appends to out the newest lines (at most lines_max of the WEIR_LOG_RECENT_LINES kept), oldest first, each with its newline;
 * only those that contain `needle` when it is not empty. For `weir logs`. Any thread. What makes room for a new line is the
 * oldest one of a job with more than WEIR_LOG_RECENT_SHARE of them, else the oldest: a loud job pushes out its own. */
struct weir_buf;
void weir_log_sink_recent(struct weir_log_sink *sink, struct weir_slice needle, uint32_t lines_max,
                          struct weir_buf *out);

/* "debug", "info", "warn", "error"; false when text is none of them. */
bool weir_log_level_parse(const char *text, enum weir_log_level *out_level);

/* A logger: the sink plus bound fields. Cheap to create; destroy after its children are no longer used. */
struct weir_log;

/* The root logger. */
struct weir_log *weir_log_create(struct weir_log_sink *sink);
/* parent's fields plus `key=value` (copied). */
struct weir_log *weir_log_bind(const struct weir_log *parent, const char *key, const char *value);
void weir_log_destroy(struct weir_log *log); /* accepts NULL */

/*
 * weir_log(log, WEIR_LOG_INFO, "task_deployed", "task", name, "slot", slot_text, NULL): the event's stable name, then pairs
 * of NUL-terminated key and value, ended by NULL. Values are quoted and escaped as needed. log may be NULL: nothing is
 * written. Any thread.
 */
void weir_log(const struct weir_log *log, enum weir_log_level level, const char *event, ...)
    __attribute__((sentinel));

/* An integer as text for the pairs above: a compound literal that lives to the end of the enclosing block. */
struct weir_log_number {
    char text[24];
};
const char *weir_log_number_format(struct weir_log_number *number, int64_t value);
#define WEIR_LOG_INT(value) weir_log_number_format(&(struct weir_log_number){{0}}, (int64_t)(value))

#endif
