/*
 * The JobManager's HTTP API. The server's threads only copy a request in and an answer out: every request is answered on the
 * JobManager's mailbox thread, so handlers read live state without locks.
 */
#ifndef WEIR_JOBMANAGER_REST_REST_SERVER_H
#define WEIR_JOBMANAGER_REST_REST_SERVER_H

#include "jobmanager/jm_api.h"

struct weir_rest;

/* Listens on rest.bind-address:rest.port. jm, config and log must outlive the server. Errors: the address cannot be bound (IO). */
enum weir_rc weir_rest_start(struct weir_jm *jm, const struct weir_config *config, const struct weir_log *log, struct weir_rest **out_rest,
                             struct weir_error *err) WEIR_CHECKED;

/* The port that is listened on (the kernel's choice when rest.port is 0). */
uint16_t weir_rest_port(const struct weir_rest *rest);

/* Stops listening, answers what is still open and frees everything. Accepts NULL. Call it while the JobManager's mailbox still runs or
 * drops its mails, and not from the mailbox thread if requests may be waiting there. */
void weir_rest_stop(struct weir_rest *rest);

#endif
