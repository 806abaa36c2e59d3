/*
 * weir run: submits a job file and, for a bounded job, waits for its end.
 */
#include "client/command.h"
#include "client/render.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/net/address.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { POLL_INTERVAL_MS = 100, POLL_DEADLINE_MS = 1000, LOST_MAX_MS = 60000, JOB_ID_BYTES = 16, JOB_ID_TEXT = 2 * JOB_ID_BYTES };

static enum weir_rc read_job_file(const char *path, struct weir_buf *out, struct weir_error *err)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return weir_error_errno(err, errno == ENOENT ? WEIR_NOT_FOUND : WEIR_IO, errno, "cannot open the job file %s", path);
    }
    size_t got = 1;
    while (got > 0 && out->len <= WEIR_JOB_FILE_BYTES_MAX) {
        got = fread(weir_buf_reserve(out, 65536), 1, 65536, file);
        out->len += got;
    }
    int failed = ferror(file) ? errno : 0;
    (void)fclose(file);
    if (failed != 0) {
        return weir_error_errno(err, WEIR_IO, failed, "cannot read the job file %s", path);
    }
    if (out->len > WEIR_JOB_FILE_BYTES_MAX) {
        return weir_error_set(err, WEIR_LIMIT, "the job file %s is larger than %d bytes", path, WEIR_JOB_FILE_BYTES_MAX);
    }
    return WEIR_OK;
}

/* The id is ours, so that a submission whose answer was lost can be repeated without starting the job twice. */
static enum weir_rc make_job_id(char out[JOB_ID_TEXT + 1], struct weir_error *err)
{
    uint8_t bytes[JOB_ID_BYTES];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        return weir_error_errno(err, WEIR_IO, errno, "cannot read random bytes");
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    }
    return WEIR_OK;
}

static enum weir_rc submit(struct weir_gateway *gateway, const struct weir_options *options, const char *job_id, struct weir_error *err)
{
    struct weir_buf text = {0};
    struct weir_buf path = {0};
    json_t *answer = NULL;
    enum weir_rc rc = read_job_file(options->operands[1], &text, err);
    if (rc == WEIR_OK) {
        weir_buf_put_fmt(&path, "/jobs?jobid=%s&name=", job_id);
        weir_url_put_encoded(&path, options->operands[1], "");
        if (options->parallelism > 0) {
            weir_buf_put_fmt(&path, "&parallelism=%u", (unsigned)options->parallelism);
        }
        weir_buf_put_u8(&path, 0);
        struct weir_gateway_request request = {.method = "POST", .path = (const char *)path.data, .content_type = "application/yaml",
                                               .body = weir_buf_slice(&text)};
        rc = weir_gateway_call_json(gateway, &request, &answer, err);
    }
    json_decref(answer);
    weir_buf_fini(&path);
    weir_buf_fini(&text);
    return rc;
}

struct watch {
    struct weir_gateway *gateway;
    const char *job_id;
    const char *path; /* of the job's document */
    bool quiet;       /* --json */
    bool terminal;    /* standard error is one: progress is one line, written over */
    int interrupts;   /* signalfd of SIGINT */
    char shown[160];  /* the newest progress line */
    json_t *job;      /* the newest document */
};

static bool ended(const json_t *job)
{
    const char *state = weir_json_text(job, "state");
    return strcmp(state, "FINISHED") == 0 || strcmp(state, "FAILED") == 0 || strcmp(state, "CANCELED") == 0;
}

static void add_records(const json_t *job, int64_t *out_read, int64_t *out_written)
{
    size_t i;
    json_t *vertex;
    *out_read = 0;
    *out_written = 0;
    json_array_foreach (json_object_get(job, "vertices"), i, vertex) {
        const json_t *metrics = json_object_get(vertex, "metrics");
        *out_read += weir_json_int(metrics, "read-records");
        *out_written += weir_json_int(metrics, "write-records");
    }
}

/* Whether the lines differ in the seconds until a restart only. */
static bool counts_down(const char *line, const char *shown)
{
    static const char words[] = "restarts in ";
    const char *now = strstr(line, words);
    const char *before = strstr(shown, words);
    return now != NULL && before != NULL && strcmp(now + strcspn(now, ","), before + strcspn(before, ",")) == 0;
}

static void show_progress(struct watch *watch)
{
    if (watch->quiet) {
        return;
    }
    char line[sizeof(watch->shown)];
    const char *waiting_for = weir_json_text(watch->job, "waiting-for");
    const char *state = weir_json_text(watch->job, "state");
    if (waiting_for[0] != '\0') {
        (void)snprintf(line, sizeof(line), "%s: waiting: %s", state, waiting_for);
    } else if (watch->terminal) {
        char duration[WEIR_RENDER_TEXT];
        int64_t read;
        int64_t written;
        add_records(watch->job, &read, &written);
        (void)snprintf(line, sizeof(line), "%s %s: %lld records in, %lld out of its tasks", state,
                       weir_render_duration(weir_json_int(watch->job, "duration"), duration), (long long)read, (long long)written);
    } else {
        (void)snprintf(line, sizeof(line), "%s", state);
    }
    if (strcmp(line, watch->shown) != 0 && (watch->terminal || !counts_down(line, watch->shown))) {
        (void)fprintf(stderr, watch->terminal ? "\r\033[K%s" : "%s\n", line);
        (void)snprintf(watch->shown, sizeof(watch->shown), "%s", line);
    }
}

static void end_progress(const struct watch *watch)
{
    if (watch->terminal && !watch->quiet && watch->shown[0] != '\0') {
        (void)fputs("\r\033[K", stderr);
    }
}

/* Reads the job's document until it has ended, or runs though it is unbounded, or Ctrl-C is pressed (*out_interrupted). */
static enum weir_rc follow(struct watch *watch, bool *out_interrupted, struct weir_error *err)
{
    const struct weir_clock *clock = weir_clock_real();
    int64_t heard_ms = weir_clock_mono_ms(clock);
    for (;;) {
        json_t *job = NULL;
        enum weir_rc rc = weir_gateway_get(watch->gateway, watch->path, &job, err);
        if (rc == WEIR_OK) {
            json_decref(watch->job);
            watch->job = job;
            heard_ms = weir_clock_mono_ms(clock);
            show_progress(watch);
            bool unbounded = strcmp(weir_json_text(job, "job-type"), "BATCH") != 0;
            if (ended(job) || (unbounded && strcmp(weir_json_text(job, "state"), "RUNNING") == 0)) {
                return WEIR_OK;
            }
        } else if (!weir_rc_retryable(rc) || weir_clock_mono_ms(clock) - heard_ms > LOST_MAX_MS) {
            return weir_error_prefix(err, "job %s was submitted, but its state is not known", watch->job_id);
        }
        struct pollfd fd = {.fd = watch->interrupts, .events = POLLIN};
        if (poll(&fd, 1, POLL_INTERVAL_MS) > 0) {
            *out_interrupted = true;
            return WEIR_OK;
        }
    }
}

static void print_failure(const struct watch *watch)
{
    json_t *exceptions = NULL;
    struct weir_error err;
    char *path = weir_job_path(watch->job_id, "/exceptions");
    if (weir_gateway_get(watch->gateway, path, &exceptions, &err) == WEIR_OK &&
        weir_json_text(exceptions, "root-exception")[0] != '\0') {
        (void)fprintf(stderr, "weir: %s\n", weir_json_text(exceptions, "root-exception"));
    }
    json_decref(exceptions);
    weir_free(path);
}

static enum weir_exit print_outcome(struct watch *watch, bool interrupted)
{
    const char *state = watch->job != NULL ? weir_json_text(watch->job, "state") : "";
    enum weir_exit result = strcmp(state, "FAILED") == 0 || strcmp(state, "CANCELED") == 0 ? WEIR_EXIT_FAILED : WEIR_EXIT_OK;
    if (strcmp(state, "FAILED") == 0) {
        print_failure(watch);
    }
    if (watch->quiet) {
        json_t *document = watch->job != NULL ? json_incref(watch->job) : json_pack("{s:s}", "jid", watch->job_id);
        weir_print_json_take(document);
    } else if (interrupted || !ended(watch->job)) {
        (void)printf("job %s goes on running%s; `weir status %s` shows it, `weir cancel %s` ends it\n", watch->job_id,
                     interrupted ? "" : " until it is cancelled", watch->job_id, watch->job_id);
    } else {
        char duration[WEIR_RENDER_TEXT];
        (void)printf("job %s %s %s after %s\n", watch->job_id, weir_json_text(watch->job, "name"), state,
                     weir_render_duration(weir_json_int(watch->job, "duration"), duration));
    }
    return result;
}

static enum weir_rc wait_for_end(struct watch *watch, enum weir_exit *out_exit, struct weir_error *err)
{
    sigset_t interrupt;
    (void)sigemptyset(&interrupt);
    (void)sigaddset(&interrupt, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &interrupt, NULL);
    watch->interrupts = signalfd(-1, &interrupt, SFD_CLOEXEC);
    if (watch->interrupts < 0) {
        return weir_error_errno(err, WEIR_IO, errno, "cannot watch for Ctrl-C");
    }
    bool interrupted = false;
    weir_gateway_set_deadline(watch->gateway, POLL_DEADLINE_MS); /* it polls anyway, and Ctrl-C must not wait */
    enum weir_rc rc = follow(watch, &interrupted, err);
    weir_gateway_set_deadline(watch->gateway, 0);
    end_progress(watch);
    if (rc == WEIR_OK) {
        *out_exit = print_outcome(watch, interrupted);
    }
    json_decref(watch->job);
    (void)close(watch->interrupts);
    return rc;
}

enum weir_rc weir_cmd_run(const struct weir_options *options, struct weir_gateway *gateway, enum weir_exit *out_exit,
                          struct weir_error *err)
{
    char job_id[JOB_ID_TEXT + 1];
    enum weir_rc rc = make_job_id(job_id, err);
    rc = rc == WEIR_OK ? submit(gateway, options, job_id, err) : rc;
    if (rc != WEIR_OK) {
        return rc;
    }
    bool as_json = (options->given & WEIR_OPTION_JSON) != 0;
    if (options->given & WEIR_OPTION_DETACHED) {
        *out_exit = WEIR_EXIT_OK;
        if (as_json) {
            weir_print_json_take(json_pack("{s:s}", "jobid", job_id));
        } else {
            (void)puts(job_id);
        }
        return WEIR_OK;
    }
    if (!as_json) {
        (void)fprintf(stderr, "submitted job %s\n", job_id);
    }
    char *path = weir_job_path(job_id, "");
    struct watch watch = {.gateway = gateway, .job_id = job_id, .path = path, .quiet = as_json, .terminal = isatty(STDERR_FILENO) == 1};
    rc = wait_for_end(&watch, out_exit, err);
    weir_free(path);
    return rc;
}
