/*
 * The machine that raft_sim.c (life and faults) and raft_sim_member.c (members, their disks and what their cores call) are made of.
 */
#ifndef WEIR_TESTS_SIM_RAFT_SIM_INTERNAL_H
#define WEIR_TESTS_SIM_RAFT_SIM_INTERNAL_H

#include "common/base/heap.h"
#include "common/base/rand.h"
#include "jobmanager/ha/raft_core_private.h"
#include "tests/sim/raft_oracle.h"
#include "tests/sim/raft_sim.h"

enum { WEIR__SIM_SLOTS = 8, WEIR__SIM_READS_MAX = 64 };

/* Entries first, first + 1, ... */
struct weir__sim_log {
    uint64_t first;
    const struct weir_raft_item **items;
    size_t count, cap;
    uint64_t chain_before; /* of the entry before the first */
};

struct weir__sim_snapshot {
    uint64_t index, term, members_index; /* index 0: none */
    struct weir_buf members, data;
};

/* A write that is under way. */
struct weir__sim_write {
    struct weir__sim_write *next;
    bool is_snapshot;
    uint64_t generation, first;
    const struct weir_raft_item **items;
    uint32_t count;
    struct weir__sim_snapshot snapshot;
    bool install, abandoned;
    uint64_t drop_through;
};

struct weir__sim_disk {
    uint64_t term, voted_for;
    struct weir__sim_snapshot snapshot;
    struct weir__sim_log log;
};

/* Somebody wants to know whether it leads. */
struct weir__sim_read {
    uint64_t question, term;
    uint64_t committed; /* what anybody had called so by then */
};

struct weir__sim_member {
    struct weir__sim *sim;
    uint64_t id;                 /* 0: nobody is here */
    struct weir_raft_core *core; /* NULL: down */
    uint32_t life;               /* another one after each start and stop */
    bool lost;                   /* its disk is gone: it never comes back */
    struct weir__sim_disk disk;
    struct weir__sim_write *writes, **writes_end;
    int64_t disk_busy_ms;
    struct weir__sim_log log; /* as its core has it */
    bool installing;
    uint64_t seen; /* committed entries that were looked at */
    uint64_t applied;
    bool leading;
    uint64_t lead_term;
    struct weir__sim_read reads[WEIR__SIM_READS_MAX]; /* not confirmed yet, the oldest first */
    uint32_t nreads;
    int64_t tick_ms, stalled_ms, paused_ms;
};

enum weir__sim_event_kind { WEIR__SIM_MAIL, WEIR__SIM_WRITTEN, WEIR__SIM_EARLY, WEIR__SIM_CLIENT, WEIR__SIM_FAULT, WEIR__SIM_ADMIN, WEIR__SIM_RESTART,
                            WEIR__SIM_AIMED /* a fault or a change because of the phase */ };

struct weir__sim_event {
    struct weir_heap_node node;
    int64_t at_ms;
    uint64_t order;
    enum weir__sim_event_kind kind;
    uint32_t slot, life;
    uint64_t to, from, generation;
    uint8_t *bytes;
    size_t len;
};

/* How it is with messages and disks; drawn for each seed. */
struct weir__sim_weather {
    uint32_t drop, duplicate, late; /* of a thousand */
    uint32_t delay_min, delay_max, disk_min, disk_max, jitter;
};

struct weir__sim {
    const struct weir_raft_sim_case *what;
    struct weir_raft_sim_result *result;
    struct weir_raft_oracle *oracle;
    struct weir_rand rand;
    struct weir_heap events;
    uint64_t order;
    int64_t now_ms;
    struct weir__sim_member members[WEIR__SIM_SLOTS];
    uint64_t last_id;
    bool cut[WEIR__SIM_SLOTS][WEIR__SIM_SLOTS];
    int64_t last_arrival[WEIR__SIM_SLOTS][WEIR__SIM_SLOTS];
    struct weir__sim_weather weather;
    bool fifo, calm, directed, changes;
    bool frozen[WEIR__SIM_SLOTS]; /* directed: its timer does not run */
    uint32_t inflight, threshold, trailing, install_timeout_ms;
    bool pre_vote;
    enum weir_raft_sim_phase phase; /* when the present event began */
};

uint32_t weir__sim_below(struct weir__sim *sim, uint32_t bound);
uint32_t weir__sim_between(struct weir__sim *sim, uint32_t low, uint32_t high); /* both included */
bool weir__sim_chance(struct weir__sim *sim, uint32_t of_thousand);
void weir__sim_trace(const struct weir__sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void weir__sim_hit(struct weir__sim *sim, enum weir_raft_sim_fault fault);
void weir__sim_digest(struct weir__sim *sim, uint64_t a, uint64_t b);
struct weir__sim_event *weir__sim_schedule(struct weir__sim *sim, int64_t at_ms, enum weir__sim_event_kind kind, const struct weir__sim_member *member);
void weir__sim_send(struct weir__sim *sim, struct weir__sim_member *from, uint64_t to, struct weir_slice message);

const struct weir_raft_item *weir__sim_log_at(const struct weir__sim_log *log, uint64_t index);

/* Members. */
void weir__sim_start(struct weir__sim_member *member);
void weir__sim_crash(struct weir__sim_member *member); /* a random prefix of what it was writing is on its disk */
void weir__sim_wipe(struct weir__sim_member *member);  /* down already */
void weir__sim_written(struct weir__sim_member *member);
void weir__sim_found(struct weir__sim_member *member, struct weir_slice change);
/* Asks it, if it says that it leads, whether it does. */
void weir__sim_read(struct weir__sim_member *member);
/* After each event of its core. */
void weir__sim_look(struct weir__sim_member *member);

#endif
