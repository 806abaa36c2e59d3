/*
 * One HTTP request while the JobManager's thread works on it: what handlers see, and how they answer. Inside jobmanager/rest only.
 *
 * A request is answered exactly once, by one of the reply functions, at once or from a callback later; that ends it (the pointer is
 * dead afterwards). JobManager's thread.
 */
#ifndef WEIR_JOBMANAGER_REST_REST_REQUEST_H
#define WEIR_JOBMANAGER_REST_REST_REQUEST_H

#include "jobmanager/jm_api.h"
#include "jobmanager/rest/rest_route.h"

struct json_t;
struct weir_http_request;
struct weir_rest_request;

/* Who answers. The leader only when it has proved that it still is one (weir_jm_prove). */
enum weir_rest_who {
    WEIR_REST_LEADER,
    WEIR_REST_LEADER_IF_ANY, /* where none is known, any of them */
    WEIR_REST_ANYBODY,       /* about this JobManager itself: answered here, whoever leads */
};

struct weir_rest_route {
    const char *method;
    const char *pattern;
    void (*handle)(struct weir_rest_request *request);
    enum weir_rest_who who;
};

/* The API, one row an endpoint; ends with a NULL method. */
extern const struct weir_rest_route weir_rest_routes[];

struct weir_rest_request {
    struct weir_jm *jm;
    const struct weir_log *log;
    const struct weir_rest_route *route;
    struct weir_route_params params;
    struct weir_http_request *http; /* queries, headers, body: common/net/http_server.h */
};

/* Takes the document over; NULL (a text that is not UTF-8) answers 500. */
void weir_rest_reply_json_take(struct weir_rest_request *request, unsigned status, struct json_t *document);
void weir_rest_reply_text(struct weir_rest_request *request, const char *content_type, struct weir_slice text);

/* {"errors": [one per line of the text]}. */
void weir_rest_reply_errors(struct weir_rest_request *request, unsigned status, const char *text);

/* The same for a failed operation: the status follows from err->rc. */
void weir_rest_reply_failure(struct weir_rest_request *request, const struct weir_error *err);

/* A JobManager that does not lead sends the client to the one that does, or says that there is none. */
void weir_rest_reply_not_leading(struct weir_rest_request *request);

/* HTTP's word for a return code. */
unsigned weir_rest_status(enum weir_rc rc);

/* {"errors": [one per line of the text]}; broken UTF-8 is shown as '?'. A new reference. */
struct json_t *weir_rest_errors(const char *text);

#endif
