/*
 * The HTTP API of the cluster, as the commands use it. Any of its JobManagers may be asked: one that does not lead names the leader, which is
 * asked then and first from there on. While nobody answers, or nobody leads, all are tried again until the deadline; so every request must be
 * safe to repeat (submissions carry an id that the client chose). Each names this client's version; a JobManager of another one refuses it.
 *
 * One thread; calls block until the answer or the deadline.
 */
#ifndef WEIR_CLIENT_GATEWAY_H
#define WEIR_CLIENT_GATEWAY_H

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/error.h"

#define WEIR_JOBMANAGERS_DEFAULT "127.0.0.1:8081"

enum {
    WEIR_JOBMANAGERS_MAX = 16,
    WEIR_GATEWAY_DEADLINE_MS = 30000, /* of a call with all its repetitions */
    WEIR_GATEWAY_ALONE_MS = 2000,     /* the same where one JobManager is known and nobody listens there */
    WEIR_GATEWAY_ANSWER_MS = 5000,    /* for one answer, where others may be asked instead */
};

struct json_t;
struct weir_gateway;

/* jobmanagers: "host:port[,host:port...]". clock: of the deadlines; it outlives the gateway. INVALID. Connects to nothing yet. */
enum weir_rc weir_gateway_create(const char *jobmanagers, const struct weir_clock *clock, struct weir_gateway **out_gateway,
                                 struct weir_error *err) WEIR_CHECKED;
void weir_gateway_destroy(struct weir_gateway *gateway); /* accepts NULL */

/* For the calls that follow; 0: the defaults above. */
void weir_gateway_set_deadline(struct weir_gateway *gateway, uint32_t deadline_ms);

/* The next call begins with another JobManager than the one that answered last. */
void weir_gateway_turn(struct weir_gateway *gateway);

struct weir_gateway_request {
    const char *method; /* "GET" */
    const char *path;   /* with its query, percent-encoded */
    const char *content_type; /* of the body, or NULL */
    struct weir_slice body;
    bool slow; /* the answer may take up to the deadline, whoever gives it */
};

/* Sends a request, answers in out (appended). CLOSED: no JobManager answers; AGAIN: none leads: all are named, with what they said. Another
 * answer of 4xx or 5xx is an error: its messages, one a line; NOT_FOUND, INVALID, STATE, EXISTS or EXTERNAL. */
enum weir_rc weir_gateway_call(struct weir_gateway *gateway, const struct weir_gateway_request *request, struct weir_buf *out,
                               struct weir_error *err) WEIR_CHECKED;

/* The same for JSON answers; *out is a new reference. CORRUPT: the answer is no JSON. */
enum weir_rc weir_gateway_call_json(struct weir_gateway *gateway, const struct weir_gateway_request *request, struct json_t **out,
                                    struct weir_error *err) WEIR_CHECKED;
enum weir_rc weir_gateway_get(struct weir_gateway *gateway, const char *path, struct json_t **out, struct weir_error *err) WEIR_CHECKED;

/* A status and body of 4xx or 5xx as an error. */
enum weir_rc weir_gateway_error(unsigned status, struct weir_slice body, struct weir_error *err);

#endif
