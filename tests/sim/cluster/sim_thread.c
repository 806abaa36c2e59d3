/*
 * common/runtime/thread.h, common/net/keeper.h, common/base/clock.h, jobmanager/ha/dir_lock.h and taskmanager/state/rocks.h as a simulated process has them,
 * and what else a daemon asks of its machine.
 */
#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/net/keeper.h"
#include "common/runtime/thread.h"
#include "jobmanager/ha/dir_lock.h"
#include "taskmanager/state/rocks.h"
#include "tests/lib/plain_store.h"
#include "tests/sim/cluster/wraps.h"
#include "tests/sim/cluster/world.h"

#include <errno.h>

/* --- threads ----------------------------------------------------------------------------------------------------------- */

struct weir_thread {
    void (*run)(void *ctx);
    void *ctx;
    bool over, detached;
    struct weir_sim_waiters joiner;
};

static void thread_main(void *ctx)
{
    struct weir_thread *thread = ctx;
    thread->run(thread->ctx);
    thread->over = true;
    (void)weir_sim_wake_first(&thread->joiner);
    if (thread->detached) {
        weir_free(thread);
    }
}

enum weir_rc weir_thread_start(const char *name, void (*run)(void *ctx), void *ctx, struct weir_thread **out_thread, struct weir_error *err)
{
    (void)err;
    struct weir_thread *thread = weir_calloc(1, sizeof(*thread));
    thread->run = run;
    thread->ctx = ctx;
    (void)weir_sim_spawn(weir_sim_node_here(), name, thread_main, thread);
    *out_thread = thread;
    return WEIR_OK;
}

void weir_thread_join(struct weir_thread *thread)
{
    if (thread != NULL) {
        while (!thread->over) {
            (void)weir_sim_wait_in(&thread->joiner, INT64_MAX);
        }
        weir_free(thread);
    }
}

void weir_thread_detach(struct weir_thread *thread)
{
    if (thread != NULL && thread->over) {
        weir_free(thread);
    } else if (thread != NULL) {
        thread->detached = true;
    }
}

/* A simulated daemon that ends frees nothing that others may use. */
uint32_t weir_thread_detached(void)
{
    return 0;
}

uint64_t weir_thread_self(void)
{
    return weir_sim_current() == NULL ? 1 : weir_sim_co_id(weir_sim_current());
}

/* --- keepers ----------------------------------------------------------------------------------------------------------- */

/* Stands where nng's aio does. */
struct sleeper {
    struct weir__keeper *keeper;
    struct weir_sim_node *node;
    uint64_t sleep; /* the number of the newest one */
    bool rung;      /* on_wake is about to be called */
    bool inside;
    struct weir_sim_waiters freeing;
};

struct alarm_clock {
    struct sleeper *sleeper;
    uint64_t sleep;
};

static struct sleeper *sleeper_of(const struct weir__keeper *keeper)
{
    return (struct sleeper *)(void *)keeper->aio;
}

static void sleep_for(struct sleeper *sleeper, int64_t ms);

static void on_wake(void *ctx)
{
    struct sleeper *sleeper = ctx;
    struct weir__keeper *keeper = sleeper->keeper;
    sleeper->inside = true;
    weir_mutex_lock(keeper->mutex);
    sleeper->rung = false; /* not before: who kicks meanwhile would have it called twice */
    keeper->sleeping = false;
    int64_t rest_ms = 0;
    do {
        keeper->kicked = false;
        rest_ms = keeper->quitting ? 0 : keeper->chore_locked(keeper->owner);
    } while (keeper->kicked);
    if (keeper->quitting) {
        keeper->quit = true;
        weir_cond_broadcast(&keeper->over);
    } else {
        rest_ms = rest_ms < 0 ? 0 : rest_ms < WEIR__KEEPER_REST_MS ? rest_ms : WEIR__KEEPER_REST_MS;
        keeper->sleeping = true;
        sleep_for(sleeper, rest_ms);
    }
    weir_mutex_unlock(keeper->mutex);
    sleeper->inside = false;
    (void)weir_sim_wake_first(&sleeper->freeing);
}

static void alarm_rings(void *ctx)
{
    struct alarm_clock *alarm = ctx;
    if (alarm->sleep == alarm->sleeper->sleep && !alarm->sleeper->rung) {
        alarm->sleeper->rung = true;
        weir_sim_library(alarm->sleeper->node, on_wake, alarm->sleeper);
    }
    weir_free(alarm);
}

static void sleep_for(struct sleeper *sleeper, int64_t ms)
{
    struct alarm_clock *alarm = weir_calloc(1, sizeof(*alarm));
    *alarm = (struct alarm_clock){sleeper, ++sleeper->sleep};
    weir_sim_after(ms * 1000000, sleeper->node, alarm_rings, alarm);
}

void weir__keeper_init(struct weir__keeper *keeper, struct weir_mutex *mutex, int64_t (*chore_locked)(void *owner), void *owner)
{
    *keeper = (struct weir__keeper){.mutex = mutex, .chore_locked = chore_locked, .owner = owner, .sleeping = true};
    weir_cond_init(&keeper->over);
    struct sleeper *sleeper = weir_calloc(1, sizeof(*sleeper));
    *sleeper = (struct sleeper){.keeper = keeper, .node = weir_sim_node_here()};
    keeper->aio = (nng_aio *)(void *)sleeper;
    sleep_for(sleeper, 0);
}

void weir__keeper_kick_locked(struct weir__keeper *keeper)
{
    keeper->kicked = true;
    if (keeper->sleeping && !sleeper_of(keeper)->rung) {
        sleep_for(sleeper_of(keeper), 0);
    }
}

/* An alarm that has rung already finds the sleeper's number changed: sleepers are not freed, a process's memory is small. */
void weir__keeper_fini(struct weir__keeper *keeper)
{
    if (keeper->aio == NULL) {
        return;
    }
    weir_mutex_lock(keeper->mutex);
    keeper->quitting = true;
    weir__keeper_kick_locked(keeper);
    while (!keeper->quit) {
        weir_cond_wait(&keeper->over, keeper->mutex);
    }
    weir_mutex_unlock(keeper->mutex);
    while (sleeper_of(keeper)->inside) {
        (void)weir_sim_wait_in(&sleeper_of(keeper)->freeing, INT64_MAX);
    }
    weir_cond_fini(&keeper->over);
}

/* --- clocks ------------------------------------------------------------------------------------------------------------ */

static int64_t world_mono_ns(const struct weir_clock *clock)
{
    (void)clock;
    return weir_sim_now_ns();
}

static int64_t world_wall_ms(const struct weir_clock *clock)
{
    (void)clock;
    return weir_sim_now_ns() / 1000000;
}

const struct weir_clock *weir_clock_real(void)
{
    static const struct weir_clock of_world = {.mono_ns = world_mono_ns, .boot_ns = world_mono_ns, .wall_ms = world_wall_ms};
    const struct weir_sim_node *node = weir_sim_node_here();
    return node == NULL ? &of_world : &node->clock.clock;
}

static int64_t virtual_mono_ns(const struct weir_clock *clock)
{
    return ((const struct weir_clock_virtual *)clock)->mono_ns_now;
}

static int64_t virtual_boot_ns(const struct weir_clock *clock)
{
    const struct weir_clock_virtual *of = (const struct weir_clock_virtual *)clock;
    return of->mono_ns_now + of->suspended_ns;
}

static int64_t virtual_wall_ms(const struct weir_clock *clock)
{
    return ((const struct weir_clock_virtual *)clock)->wall_ms_now;
}

void weir_clock_virtual_init(struct weir_clock_virtual *clock, int64_t mono_ns, int64_t wall_ms)
{
    *clock = (struct weir_clock_virtual){
        .clock = {.mono_ns = virtual_mono_ns, .boot_ns = virtual_boot_ns, .wall_ms = virtual_wall_ms},
        .mono_ns_now = mono_ns,
        .wall_ms_now = wall_ms,
    };
}

void weir_clock_virtual_advance(struct weir_clock_virtual *clock, int64_t ns)
{
    weir_assert(ns >= 0);
    int64_t before_ms = clock->mono_ns_now / 1000000;
    clock->mono_ns_now += ns;
    clock->wall_ms_now += clock->mono_ns_now / 1000000 - before_ms;
}

void weir_clock_virtual_suspend(struct weir_clock_virtual *clock, int64_t ns)
{
    weir_assert(ns >= 0);
    clock->suspended_ns += ns;
    clock->wall_ms_now += ns / 1000000;
}

/* --- the directory lock: a machine has one daemon --------------------------------------------------------------------- */

struct weir_dir_lock {
    uint32_t incarnation;
};

enum weir_rc weir_dir_lock_open(const char *dir, struct weir_dir_lock **out_lock, struct weir_error *err)
{
    (void)dir;
    (void)err;
    *out_lock = weir_calloc(1, sizeof(**out_lock));
    (*out_lock)->incarnation = weir_sim_node_here()->incarnation;
    return WEIR_OK;
}

void weir_dir_lock_close(struct weir_dir_lock *lock)
{
    weir_free(lock);
}

/* --- stores ------------------------------------------------------------------------------------------------------------ */


/* A process's directory is new; those of dead ones stay. */
enum weir_rc weir_rocks_backend_open(const char *tmp_dir, struct weir_mem *mem, uint64_t inline_bytes_max, struct weir_state_backend **out_backend,
                                     struct weir_error *err)
{
    (void)mem;
    (void)inline_bytes_max;
    struct weir_sim_node *node = weir_sim_node_here();
    char *root = weir_strfmt("%s/state-%u", tmp_dir, node->incarnation); /* lives as long as the process */
    enum weir_rc rc = weir_fs_mkdirs(node->disk, root, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    uint64_t inline_bytes = weir_sim_one_in(2) ? 0 : inline_bytes_max; /* the states are tiny: half of the processes put them into files all the same */
    *out_backend = weir_plain_backend_create(weir_sim_fs_of_node(), root, inline_bytes);
    return WEIR_OK;
}

void weir_rocks_backend_close(struct weir_state_backend *backend)
{
    if (backend != NULL) {
        weir_plain_backend_destroy(backend);
    }
}

/* --- the machine (wraps.h) ---------------------------------------------------------------------------------------------- */

pid_t __wrap_getpid(void)
{
    const struct weir_sim_node *node = weir_sim_node_here();
    return node == NULL ? 1 : (pid_t)(1000 + node->incarnation);
}

int __wrap_access(const char *path, int mode)
{
    (void)path;
    (void)mode;
    return 0;
}

/* Unknown: who asks for the free space goes on. */
int __wrap_statvfs(const char *path, struct statvfs *out)
{
    (void)path;
    (void)out;
    errno = ENOSYS;
    return -1;
}
