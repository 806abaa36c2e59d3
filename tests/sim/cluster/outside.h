/*
 * The outside log: what Kafka is to the sinks, as far as they use it, and what must come of each job.
 *
 * Transactions have ids; init of an id raises its epoch, ends what is under way (aborted, or done when its end was logged), and refuses older
 * producers from then on. The cursor moves with the transaction. What clients know of a request is what came back: the rest is unknown.
 */
#ifndef WEIR_TESTS_SIM_CLUSTER_OUTSIDE_H
#define WEIR_TESTS_SIM_CLUSTER_OUTSIDE_H

#include "tests/sim/cluster/world.h"

enum weir_sim_job_kind {
    WEIR_SIM_JOB_PASS,   /* rows pass a filter; exactly once */
    WEIR_SIM_JOB_WINDOW, /* keyed windows behind a hash exchange; exactly once */
    WEIR_SIM_JOB_LOOSE,  /* rows pass a filter; at least once */
};

struct weir_sim_job {
    uint32_t number;
    enum weir_sim_job_kind kind;
    char id[33];
    char topic[16];
    uint32_t parallelism;
    uint64_t rows; /* 0: without end */
    uint32_t rows_per_s, interval_ms;
    /* What was seen. */
    uint64_t *next;   /* PASS: of each split; WINDOW: the next window of each key */
    uint8_t *seen;    /* LOOSE: rows */
    uint64_t visible; /* records */
    bool over;
};

enum { WEIR_SIM_JOBS_MAX = 4 };

enum { WEIR_SIM_CALL_MS_MAX = 15000 }; /* a call of a sink's client that lasts longer is given up (E10): each request of it has time to fail */

/* The outside log's machine, which the network leads to. */
void weir_sim_outside_init(struct weir_sim_node *broker);
/* From now on some calls of the sinks' clients never come back, or no other does so. */
void weir_sim_outside_hang(bool hangs);
struct weir_sim_job *weir_sim_job_add(void); /* zeroed but for its number, and its topic */
uint32_t weir_sim_job_count(void);
struct weir_sim_job *weir_sim_job_at(uint32_t i);

/* The YAML of the job; the caller frees it. */
char *weir_sim_job_text(const struct weir_sim_job *job);
/* Its terminal state is committed: exactly once, it writes nothing any more, and none of its transactions is open. Else weir_sim_fail, now or when it
 * writes. May be told again. */
void weir_sim_job_over(const struct weir_sim_job *job);
/* The job has FINISHED: everything it must write is there, or weir_sim_fail. */
void weir_sim_job_check_end(const struct weir_sim_job *job);

#endif
