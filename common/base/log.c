#include "common/base/log.h"

#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/hmap.h"
#include "common/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* How often one event was logged in its window. */
struct event_rate {
    int64_t window_start_ms;
    uint32_t lines;
    uint64_t suppressed;
};

struct weir_log_sink {
    int fd;
    const struct weir_clock *clock;
    _Atomic int level;
    pthread_mutex_t mutex; /* guards the members below, and keeps lines whole; runtime/sync.h is above this layer */
    struct weir_hmap *rates;  /* event to struct event_rate; events are literals, so it is bounded */
    char *recent[WEIR_LOG_RECENT_LINES];
    uint64_t recent_total; /* lines ever kept; the newest is at (recent_total - 1) % WEIR_LOG_RECENT_LINES */
};

struct weir_log {
    struct weir_log_sink *sink;
    char *fields; /* " key=value"... as it is printed */
};

struct weir_log_sink *weir_log_sink_create(int fd, const struct weir_clock *clock, enum weir_log_level level)
{
    struct weir_log_sink *sink = weir_calloc(1, sizeof(*sink));
    sink->fd = fd;
    sink->clock = clock;
    atomic_init(&sink->level, (int)level);
    int failed = pthread_mutex_init(&sink->mutex, NULL);
    weir_assert(failed == 0);
    sink->rates = weir_hmap_create(0);
    return sink;
}

void weir_log_sink_destroy(struct weir_log_sink *sink)
{
    if (sink == NULL) {
        return;
    }
    struct weir_hmap_iter iter = {0};
    while (weir_hmap_next(sink->rates, &iter)) {
        weir_free(iter.value);
    }
    weir_hmap_destroy(sink->rates);
    for (size_t i = 0; i < WEIR_LOG_RECENT_LINES; i++) {
        weir_free(sink->recent[i]);
    }
    (void)pthread_mutex_destroy(&sink->mutex);
    weir_free(sink);
}

void weir_log_sink_set_level(struct weir_log_sink *sink, enum weir_log_level level)
{
    atomic_store_explicit(&sink->level, (int)level, memory_order_relaxed);
}

enum weir_log_level weir_log_sink_level(const struct weir_log_sink *sink)
{
    return (enum weir_log_level)atomic_load_explicit(&sink->level, memory_order_relaxed);
}

bool weir_log_level_parse(const char *text, enum weir_log_level *out_level)
{
    for (int i = 0; i <= WEIR_LOG_ERROR; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out_level = (enum weir_log_level)i;
            return true;
        }
    }
    return false;
}

void weir_log_sink_recent(struct weir_log_sink *sink, struct weir_slice needle, uint32_t lines_max,
                          struct weir_buf *out)
{
    const char *picked[WEIR_LOG_RECENT_LINES];
    uint32_t count = 0;
    (void)pthread_mutex_lock(&sink->mutex);
    uint64_t kept = sink->recent_total < WEIR_LOG_RECENT_LINES ? sink->recent_total : WEIR_LOG_RECENT_LINES;
    for (uint64_t back = 1; back <= kept && count < lines_max; back++) {
        const char *line = sink->recent[(sink->recent_total - back) % WEIR_LOG_RECENT_LINES];
        if (needle.len == 0 || memmem(line, strlen(line), needle.data, needle.len) != NULL) {
            picked[count++] = line;
        }
    }
    while (count > 0) {
        weir_buf_put_str(out, picked[--count]);
    }
    (void)pthread_mutex_unlock(&sink->mutex);
}

static bool plain_value(const char *value)
{
    for (const char *c = value; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || *c == '"' || *c == '=' || *c == '\\' || *c == 0x7f) {
            return false;
        }
    }
    return value[0] != '\0';
}

static void put_escaped(struct weir_buf *line, char c)
{
    if (c == '"' || c == '\\') {
        weir_buf_put_u8(line, '\\');
        weir_buf_put_u8(line, (uint8_t)c);
    } else if (c == '\n') {
        weir_buf_put_str(line, "\\n");
    } else if (c == '\r') {
        weir_buf_put_str(line, "\\r");
    } else if (c == '\t') {
        weir_buf_put_str(line, "\\t");
    } else if ((unsigned char)c < ' ' || c == 0x7f) {
        weir_buf_put_fmt(line, "\\u%04x", (unsigned)(unsigned char)c);
    } else {
        weir_buf_put_u8(line, (uint8_t)c);
    }
}

/* Appends " key=value". A value that would make the text longer than bytes_max is cut, between characters, with "...". */
static void put_pair(struct weir_buf *line, const char *key, const char *value, size_t bytes_max)
{
    enum { CUT_BYTES = 8 }; /* "..." and the quote, or one escape */
    if (line->len + strlen(key) + CUT_BYTES + CUT_BYTES >= bytes_max) {
        return;
    }
    weir_buf_put_fmt(line, " %s=", key);
    bool quoted = !plain_value(value);
    if (quoted) {
        weir_buf_put_u8(line, '"');
    }
    for (const char *c = value; *c != '\0'; c++) {
        bool starts_character = ((unsigned char)*c & 0xc0) != 0x80;
        if (line->len + CUT_BYTES >= bytes_max || (starts_character && line->len + CUT_BYTES + 4 >= bytes_max)) {
            weir_buf_put_str(line, "...");
            break;
        }
        put_escaped(line, *c);
    }
    if (quoted) {
        weir_buf_put_u8(line, '"');
    }
}

static void put_time(struct weir_buf *line, int64_t wall_ms)
{
    int64_t ms = wall_ms % 1000;
    time_t seconds = (time_t)(wall_ms / 1000);
    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    struct tm utc;
    weir_assert(gmtime_r(&seconds, &utc) != NULL);
    weir_buf_put_fmt(line, "ts=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, (int)ms);
}

/* Whether a line of this event may pass now, and how many were held back before it. Under the mutex. */
static bool rate_admit(struct weir_log_sink *sink, const char *event, uint64_t *out_suppressed)
{
    int64_t now_ms = weir_clock_mono_ms(sink->clock);
    struct event_rate *rate = weir_hmap_get(sink->rates, weir_slice_str(event));
    if (rate == NULL) {
        rate = weir_calloc(1, sizeof(*rate));
        rate->window_start_ms = now_ms;
        (void)weir_hmap_put(sink->rates, weir_slice_str(event), rate);
    }
    if (now_ms - rate->window_start_ms >= WEIR_LOG_WINDOW_MS) {
        rate->window_start_ms = now_ms;
        rate->lines = 0;
    }
    if (rate->lines >= WEIR_LOG_BURST) {
        rate->suppressed++;
        return false;
    }
    rate->lines++;
    *out_suppressed = rate->suppressed;
    rate->suppressed = 0;
    return true;
}

/* A log line that cannot be written has nowhere to be reported: it is dropped (and still stands among the recent ones). */
static void write_line(int fd, const struct weir_buf *line)
{
    for (size_t done = 0; done < line->len;) {
        ssize_t n = write(fd, line->data + done, line->len - done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            return;
        }
    }
}

void weir_log(const struct weir_log *log, enum weir_log_level level, const char *event, ...)
{
    if (log == NULL || level < weir_log_sink_level(log->sink)) {
        return;
    }
    struct weir_log_sink *sink = log->sink;
    int saved_errno = errno;
    struct weir_buf line = {0};
    (void)pthread_mutex_lock(&sink->mutex);
    uint64_t suppressed = 0;
    if (rate_admit(sink, event, &suppressed)) {
        size_t bytes_max = WEIR_LOG_LINE_MAX - 1;
        put_time(&line, weir_clock_wall_ms(sink->clock));
        weir_buf_put_fmt(&line, " level=%s", level_names[level]);
        put_pair(&line, "event", event, bytes_max);
        if (suppressed > 0) {
            weir_buf_put_fmt(&line, " suppressed=%llu", (unsigned long long)suppressed);
        }
        weir_buf_put_str(&line, log->fields);
        va_list args;
        va_start(args, event);
        for (const char *key = va_arg(args, const char *); key != NULL; key = va_arg(args, const char *)) {
            const char *value = va_arg(args, const char *);
            put_pair(&line, key, value == NULL ? "" : value, bytes_max);
        }
        va_end(args);
        weir_buf_put_u8(&line, '\n');
        write_line(sink->fd, &line);
        char **kept = &sink->recent[sink->recent_total % WEIR_LOG_RECENT_LINES];
        weir_free(*kept);
        *kept = weir_strndup(line.data, line.len);
        sink->recent_total++;
    }
    (void)pthread_mutex_unlock(&sink->mutex);
    weir_buf_fini(&line);
    errno = saved_errno;
}

struct weir_log *weir_log_create(struct weir_log_sink *sink)
{
    struct weir_log *log = weir_calloc(1, sizeof(*log));
    log->sink = sink;
    log->fields = weir_strdup("");
    return log;
}

struct weir_log *weir_log_bind(const struct weir_log *parent, const char *key, const char *value)
{
    struct weir_log *log = weir_calloc(1, sizeof(*log));
    log->sink = parent->sink;
    struct weir_buf fields = {0};
    weir_buf_put_str(&fields, parent->fields);
    put_pair(&fields, key, value, WEIR_LOG_LINE_MAX / 2); /* the other half is the line's own */
    weir_buf_put_u8(&fields, 0);
    size_t len;
    log->fields = (char *)weir_buf_take(&fields, &len);
    return log;
}

void weir_log_destroy(struct weir_log *log)
{
    if (log != NULL) {
        weir_free(log->fields);
        weir_free(log);
    }
}

const char *weir_log_number_format(struct weir_log_number *number, int64_t value)
{
    (void)snprintf(number->text, sizeof(number->text), "%lld", (long long)value);
    return number->text;
}
