/*
 * A cluster in one thread: processes whose threads are coroutines, on virtual time, from one seed.
 *
 * The daemons are the real ones, whole: jm.c and tm.c with everything below them. What a machine gives them is replaced when weir-sim is linked: threads, mutexes,
 * conditions, wakers, clocks, streams, files, the directory lock, RocksDB and Kafka are those of this folder, under the same names, and stand before
 * the archives, so that the archives' own are not taken.
 *
 * W1  One coroutine runs at a time. It may be left at every mutex, condition, waker, file and stream call, and nowhere else.
 * W2  Time passes only between events. Each process has clocks of its own: a monotonic one with an offset, a wall clock that may jump.
 * W3  A process that is killed is never run again: its memory is lost to the run, its sockets close (or not: a machine without power says
 *     nothing), its disk keeps what fs_sim says. A paused one runs nothing until it is resumed, while time and messages go on.
 * W4  The same seed gives the same run: nothing here reads an address, a clock or a random number of the machine.
 */
#ifndef WEIR_TESTS_SIM_CLUSTER_WORLD_H
#define WEIR_TESTS_SIM_CLUSTER_WORLD_H

#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/fs/fs.h"

#include <stdbool.h>
#include <stddef.h>

enum { WEIR_SIM_NODES_MAX = 16 };

struct weir_sim_co;
struct weir_sim_stream_end;
struct weir_jm;

enum weir_sim_power {
    WEIR_SIM_UP,
    WEIR_SIM_DEAD, /* no process; the machine answers that nobody listens */
    WEIR_SIM_OFF,  /* no machine: silence */
};

/* A machine with at most one daemon. */
struct weir_sim_node {
    uint32_t index;
    char name[16]; /* "jm1" */
    char host[16]; /* "127.0.0.1" */
    enum weir_sim_power power;
    bool paused;
    bool term;            /* SIGTERM has come */
    bool joins;           /* a JobManager that is to join a cluster that is there */
    bool scrapped;        /* it is never started again */
    uint32_t incarnation; /* of its process: a new number each start, and at each death */
    struct {
        struct weir_clock clock; /* first */
        int64_t mono_offset_ns, wall_offset_ms;
    } clock;
    struct weir_clock log_clock; /* of its log: to trace a run does not change it */
    struct weir_fs *disk; /* fs_sim */
    bool disk_full;
    uint32_t eio_one_in; /* fsyncs; 0: none */
    bool disk_failed;    /* an error of these two, or of the shared store, has come back since its process began */
    uint32_t slow;       /* its disk is so many times slower; 0, 1: not */
    void (*main)(struct weir_sim_node *node);
    struct weir_jm *jm; /* while it is one */
    void *priv;         /* of world.c */
};

/* What a run is made of; begins zeroed. */
struct weir_sim_options {
    uint64_t seed;
    int trace_fd;          /* -1: nowhere */
    uint32_t yield_one_in; /* a coroutine is left at so many of the calls where it may be; 0: only where it must */
    int64_t latency_ns;    /* of the network, one way, at the least */
    int64_t disk_ns;       /* of a call of the disk, at the least */
};

/* --- the run ---------------------------------------------------------------------------------------------------------- */

/* One in a process: the functions of the replaced modules have no argument to find it by. */
void weir_sim_world_init(const struct weir_sim_options *options);
const struct weir_sim_options *weir_sim_options(void);

/* Runs events until weir_sim_stop, or until_ns, or there is none. */
void weir_sim_run(int64_t until_ns);
void weir_sim_stop(void);
uint64_t weir_sim_steps(void);
int64_t weir_sim_now_ns(void);

/* The first thing that is wrong ends the run. */
void weir_sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *weir_sim_failure(void); /* NULL: none */
void weir_sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

uint64_t weir_sim_below(uint64_t bound);
bool weir_sim_one_in(uint64_t n);
int64_t weir_sim_between(int64_t least, int64_t most);

/* --- machines --------------------------------------------------------------------------------------------------------- */

struct weir_sim_node *weir_sim_node_add(const char *name, void (*main)(struct weir_sim_node *node));
uint32_t weir_sim_node_count(void);
struct weir_sim_node *weir_sim_node_at(uint32_t i);
/* Of the coroutine that runs; NULL: the harness. */
struct weir_sim_node *weir_sim_node_here(void);

/* Starts its daemon. */
void weir_sim_node_start(struct weir_sim_node *node);
/* Ends it at once. power_off: its machine too, and what its disk had not synced is lost or torn. */
void weir_sim_node_kill(struct weir_sim_node *node, bool power_off);
void weir_sim_node_pause(struct weir_sim_node *node);
void weir_sim_node_resume(struct weir_sim_node *node);

/* --- coroutines ------------------------------------------------------------------------------------------------------- */

/* On a machine's process, or of the harness (NULL). */
struct weir_sim_co *weir_sim_spawn(struct weir_sim_node *node, const char *name, void (*run)(void *ctx), void *ctx);
struct weir_sim_co *weir_sim_current(void);
uint64_t weir_sim_co_id(const struct weir_sim_co *co);
bool weir_sim_co_over(const struct weir_sim_co *co, uint64_t id);

/* Until woken; false: deadline_ns of the world (INT64_MAX: none) has passed. */
bool weir_sim_block(int64_t deadline_ns);
void weir_sim_wake(struct weir_sim_co *co); /* one that is blocked; else nothing */
void weir_sim_sleep(int64_t ns);
/* A place where the coroutine may be left; nothing outside of one. */
void weir_sim_yield_maybe(void);

/* A list of coroutines that wait for one thing. {0}: empty. */
struct weir_sim_waiters {
    struct weir_sim_co *first;
};
/* The current one, as weir_sim_block. */
bool weir_sim_wait_in(struct weir_sim_waiters *waiters, int64_t deadline_ns);
bool weir_sim_wake_first(struct weir_sim_waiters *waiters); /* false: nobody waits */

/* --- events ----------------------------------------------------------------------------------------------------------- */

/* Calls fn(ctx) between two coroutines; it may not block. node: not if its process has died by then, and later if it is paused; or NULL. */
void weir_sim_after(int64_t ns, struct weir_sim_node *node, void (*fn)(void *ctx), void *ctx);
/* Calls fn(ctx) when the coroutine that runs is left, before anything else happens: for checks, which must not change the run. */
void weir_sim_check_soon(void (*fn)(void *ctx), void *ctx);
/* Calls fn(ctx) on a library's thread of the process, soon. */
void weir_sim_library(struct weir_sim_node *node, void (*fn)(void *ctx), void *ctx);

/* --- the network (sim_stream.c) ----------------------------------------------------------------------------------------- */

/* Nothing goes from one to the other any more: connections stall, and are reset when they have stalled for long. */
void weir_sim_link_cut(const struct weir_sim_node *from, const struct weir_sim_node *to);
void weir_sim_link_heal(const struct weir_sim_node *from, const struct weir_sim_node *to);
bool weir_sim_link_is_cut(const struct weir_sim_node *from, const struct weir_sim_node *to);
void weir_sim_link_slow(const struct weir_sim_node *from, const struct weir_sim_node *to, int64_t extra_ns); /* 0: as usual */
/* Each connection of the machine is reset with a chance of one in n. */
uint32_t weir_sim_links_reset(const struct weir_sim_node *node, uint64_t n);
int64_t weir_sim_latency_ns(const struct weir_sim_node *from, const struct weir_sim_node *to);
/* By world.c: the process has died; a machine has power again. */
void weir_sim_streams_died(const struct weir_sim_node *node, bool silently);
void weir_sim_streams_powered(const struct weir_sim_node *node);

/* --- the checkpoint store (sim_fs.c) ------------------------------------------------------------------------------------ */

/* What lies below /ckpt is one file system for all machines: names are the server's, which calls a change of them done when it is durable; bytes are the
 * writer's until they are synced, or another machine opens the file. */
struct weir_sim_store {
    struct weir_fs *disk; /* fs_sim */
    bool full;
    uint32_t eio_one_in;
    uint32_t slow;
};
struct weir_sim_store *weir_sim_store(void);
/* By world.c: what the machine has not synced there is lost or torn. */
void weir_sim_store_power_off(const struct weir_sim_node *node);
void weir_sim_fs_init(void);

#endif
