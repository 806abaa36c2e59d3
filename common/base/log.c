#include "common/base/log.h"

#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/hmap.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char job_key[] = "job"; /* the field that names a line's job */

/* Lines let through in the present window, and held back since the count was last told. */
struct rate {
    int64_t window_start_ms;
    uint32_t lines;
    uint64_t suppressed;
};

/* suppressed: only what jobs had held back that are counted no more. */
struct event_rate {
    uint64_t number;
    struct rate rate;
};

/* A job is known by the hash of its name, NO_JOB for lines without one. */
enum { NO_JOB = 0 };

struct rate_key {
    uint64_t event; /* event_rate.number */
    uint64_t job;
};

struct job_rate {
    struct weir_list by_use;
    struct rate_key key;
    struct event_rate *event;
    int64_t used_ms;
    struct rate rate;
};

/* How many of the recent lines are one job's. */
struct job_lines {
    uint64_t job;
    uint32_t count;
};

struct recent_line {
    struct weir_list in_order;
    struct job_lines *of;
    char text[];
};

struct weir_log_sink {
    int fd;
    const struct weir_clock *clock;
    _Atomic int level;
    pthread_mutex_t mutex; /* guards the members below, and keeps lines whole; runtime/sync.h is above this layer */
    struct weir_hmap *event_rates; /* event to struct event_rate; events are literals, so it is bounded */
    struct weir_hmap *job_rates;   /* struct rate_key to struct job_rate; at most WEIR_LOG_RATES_MAX */
    struct weir_list by_use;       /* the same, that of the line longest ago first */
    struct weir_list recent;       /* of struct recent_line, oldest first */
    uint32_t recent_count;
    struct weir_hmap *recent_jobs; /* job to struct job_lines; each has a line */
    uint32_t recent_loud;          /* jobs with more than WEIR_LOG_RECENT_SHARE lines */
};

struct weir_log {
    struct weir_log_sink *sink;
    char *fields; /* " key=value"... as it is printed */
    uint64_t job;
};

struct weir_log_sink *weir_log_sink_create(int fd, const struct weir_clock *clock, enum weir_log_level level)
{
    struct weir_log_sink *sink = weir_calloc(1, sizeof(*sink));
    sink->fd = fd;
    sink->clock = clock;
    atomic_init(&sink->level, (int)level);
    int failed = pthread_mutex_init(&sink->mutex, NULL);
    weir_assert(failed == 0);
    sink->event_rates = weir_hmap_create(0);
    sink->job_rates = weir_hmap_create(0);
    sink->recent_jobs = weir_hmap_create(0);
    weir_list_init(&sink->by_use);
    weir_list_init(&sink->recent);
    return sink;
}

/* And its values. */
static void destroy_map(struct weir_hmap *map)
{
    struct weir_hmap_iter iter = {0};
    while (weir_hmap_next(map, &iter)) {
        weir_free(iter.value);
    }
    weir_hmap_destroy(map);
}

void weir_log_sink_destroy(struct weir_log_sink *sink)
{
    if (sink == NULL) {
        return;
    }
    destroy_map(sink->event_rates);
    destroy_map(sink->job_rates);
    destroy_map(sink->recent_jobs);
    for (struct weir_list *node; (node = weir_list_pop_front(&sink->recent)) != NULL;) {
        weir_free(WEIR_CONTAINER_OF(node, struct recent_line, in_order));
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
    const struct weir_list *node = sink->recent.prev;
    for (; node != &sink->recent && count < lines_max; node = node->prev) {
        const char *line = WEIR_CONTAINER_OF(node, struct recent_line, in_order)->text;
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

static struct weir_slice slice_of_key(const struct rate_key *key)
{
    return weir_slice(key, sizeof(*key));
}

static struct event_rate *event_rate_of(struct weir_log_sink *sink, const char *event)
{
    struct event_rate *rate = weir_hmap_get(sink->event_rates, weir_slice_str(event));
    if (rate == NULL) {
        rate = weir_calloc(1, sizeof(*rate));
        rate->number = weir_hmap_count(sink->event_rates);
        (void)weir_hmap_put(sink->event_rates, weir_slice_str(event), rate);
    }
    return rate;
}

static void job_rate_forget(struct weir_log_sink *sink, struct job_rate *rate)
{
    rate->event->rate.suppressed += rate->rate.suppressed;
    weir_list_remove(&rate->by_use);
    (void)weir_hmap_remove(sink->job_rates, slice_of_key(&rate->key));
    weir_free(rate);
}

/* The pair's, now the last used; those unused for long are forgotten, and the longest unused where there are too many. */
static struct job_rate *job_rate_of(struct weir_log_sink *sink, struct event_rate *event, uint64_t job, int64_t now_ms)
{
    struct rate_key key = {.event = event->number, .job = job};
    struct job_rate *rate = weir_hmap_get(sink->job_rates, slice_of_key(&key));
    if (rate == NULL) {
        rate = weir_calloc(1, sizeof(*rate));
        rate->key = key;
        rate->event = event;
        (void)weir_hmap_put(sink->job_rates, slice_of_key(&key), rate);
    } else {
        weir_list_remove(&rate->by_use);
    }
    rate->used_ms = now_ms;
    for (struct weir_list *first; (first = weir_list_first(&sink->by_use)) != NULL;) {
        struct job_rate *oldest = WEIR_CONTAINER_OF(first, struct job_rate, by_use);
        if (weir_hmap_count(sink->job_rates) <= WEIR_LOG_RATES_MAX && now_ms - oldest->used_ms < WEIR_LOG_IDLE_MS) {
            break;
        }
        job_rate_forget(sink, oldest);
    }
    weir_list_push_back(&sink->by_use, &rate->by_use);
    return rate;
}

static void rate_advance(struct rate *rate, int64_t now_ms)
{
    if (rate->lines == 0 || now_ms - rate->window_start_ms >= WEIR_LOG_WINDOW_MS) {
        rate->window_start_ms = now_ms;
        rate->lines = 0;
    }
}

static uint64_t rate_take_suppressed(struct rate *rate)
{
    uint64_t suppressed = rate->suppressed;
    rate->suppressed = 0;
    return suppressed;
}

/* Whether a line of this event and job may pass now, and how many were held back before it. Under the mutex. */
static bool rate_admit(struct weir_log_sink *sink, const char *event, uint64_t job, uint64_t *out_suppressed,
                       uint64_t *out_suppressed_earlier)
{
    int64_t now_ms = weir_clock_mono_ms(sink->clock);
    struct event_rate *all = event_rate_of(sink, event);
    struct rate *own = &job_rate_of(sink, all, job, now_ms)->rate;
    rate_advance(own, now_ms);
    rate_advance(&all->rate, now_ms);
    uint32_t lines_max = own->lines < WEIR_LOG_FIRST_LINES ? WEIR_LOG_EVENT_BURST : WEIR_LOG_EVENT_BURST / 2;
    if (own->lines >= WEIR_LOG_BURST || all->rate.lines >= lines_max) {
        own->suppressed++;
        return false;
    }
    own->lines++;
    all->rate.lines++;
    *out_suppressed = rate_take_suppressed(own);
    *out_suppressed_earlier = rate_take_suppressed(&all->rate);
    return true;
}

static void recent_drop(struct weir_log_sink *sink, struct recent_line *line)
{
    struct job_lines *of = line->of;
    if (of->count-- == WEIR_LOG_RECENT_SHARE + 1) {
        sink->recent_loud--;
    }
    if (of->count == 0) {
        (void)weir_hmap_remove(sink->recent_jobs, weir_slice(&of->job, sizeof(of->job)));
        weir_free(of);
    }
    weir_list_remove(&line->in_order);
    sink->recent_count--;
    weir_free(line);
}

/* Makes room for one line. */
static void recent_shrink(struct weir_log_sink *sink)
{
    struct weir_list *node = weir_list_first(&sink->recent);
    for (; sink->recent_loud > 0; node = weir_list_next(&sink->recent, node)) {
        if (WEIR_CONTAINER_OF(node, struct recent_line, in_order)->of->count > WEIR_LOG_RECENT_SHARE) {
            break;
        }
    }
    recent_drop(sink, WEIR_CONTAINER_OF(node, struct recent_line, in_order));
}

static void recent_keep(struct weir_log_sink *sink, uint64_t job, const struct weir_buf *text)
{
    if (sink->recent_count == WEIR_LOG_RECENT_LINES) {
        recent_shrink(sink);
    }
    struct job_lines *of = weir_hmap_get(sink->recent_jobs, weir_slice(&job, sizeof(job)));
    if (of == NULL) {
        of = weir_calloc(1, sizeof(*of));
        of->job = job;
        (void)weir_hmap_put(sink->recent_jobs, weir_slice(&job, sizeof(job)), of);
    }
    if (++of->count == WEIR_LOG_RECENT_SHARE + 1) {
        sink->recent_loud++;
    }
    struct recent_line *line = weir_malloc(sizeof(*line) + text->len + 1);
    line->of = of;
    memcpy(line->text, text->data, text->len);
    line->text[text->len] = '\0';
    weir_list_push_back(&sink->recent, &line->in_order);
    sink->recent_count++;
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

static uint64_t hash_of_job(const char *name)
{
    uint64_t hash = weir_hash_slice(weir_slice_str(name), 0);
    return hash == NO_JOB ? 1 : hash;
}

/* The job that the pairs name, or NO_JOB. */
static uint64_t job_of_pairs(va_list args)
{
    for (const char *key = va_arg(args, const char *); key != NULL; key = va_arg(args, const char *)) {
        const char *value = va_arg(args, const char *);
        if (strcmp(key, job_key) == 0 && value != NULL) {
            return hash_of_job(value);
        }
    }
    return NO_JOB;
}

static void put_suppressed(struct weir_buf *line, const char *key, uint64_t count)
{
    if (count > 0) {
        weir_buf_put_fmt(line, " %s=%llu", key, (unsigned long long)count);
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
    va_list args;
    uint64_t job = log->job;
    if (job == NO_JOB) {
        va_start(args, event);
        job = job_of_pairs(args);
        va_end(args);
    }
    (void)pthread_mutex_lock(&sink->mutex);
    uint64_t suppressed = 0;
    uint64_t suppressed_earlier = 0;
    if (rate_admit(sink, event, job, &suppressed, &suppressed_earlier)) {
        size_t bytes_max = WEIR_LOG_LINE_MAX - 1;
        put_time(&line, weir_clock_wall_ms(sink->clock));
        weir_buf_put_fmt(&line, " level=%s", level_names[level]);
        put_pair(&line, "event", event, bytes_max);
        put_suppressed(&line, "suppressed", suppressed);
        put_suppressed(&line, "suppressed_earlier", suppressed_earlier);
        weir_buf_put_str(&line, log->fields);
        va_start(args, event);
        for (const char *key = va_arg(args, const char *); key != NULL; key = va_arg(args, const char *)) {
            const char *value = va_arg(args, const char *);
            put_pair(&line, key, value == NULL ? "" : value, bytes_max);
        }
        va_end(args);
        weir_buf_put_u8(&line, '\n');
        write_line(sink->fd, &line);
        recent_keep(sink, job, &line);
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
    log->job = strcmp(key, job_key) == 0 ? hash_of_job(value) : parent->job;
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
