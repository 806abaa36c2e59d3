#include "tests/sim/cluster/world.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/fs/fs_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

enum {
    STACK_BYTES = 512 << 10,
    LIBRARY_THREADS = 3,
    NAME_MAX_BYTES = 24,
    SLICE_CALLS = 2000, /* a coroutine that never waits is left at the latest after so many calls */
    CALL_NS = 50,       /* passes at each call */
    WAKE_NS = 5000,
    NS_PER_S = 1000000000,
};

#define WALL_MS_AT_START INT64_C(1767225600000)

enum co_state { CO_BLOCKED, CO_READY, CO_RUNS, CO_OVER };

struct weir_sim_co {
    uint64_t id;
    char name[NAME_MAX_BYTES];
    struct weir_sim_node *node; /* NULL: the harness */
    uint32_t incarnation;
    enum co_state state;
    uint64_t turn; /* events for an earlier one are void */
    bool woken;
    void (*run)(void *ctx);
    void *ctx;
    bool started;
    uint8_t *stack;
    jmp_buf regs;
    ucontext_t context;
    uint32_t calls;
    struct weir_sim_waiters *waits_in;
    struct weir_sim_co *next; /* in waits_in, or in the pool of those that are over */
#ifdef __SANITIZE_ADDRESS__
    void *fake_stack;
#endif
};

struct event {
    int64_t at_ns;
    uint64_t order;
    struct weir_sim_co *co; /* or fn */
    uint64_t turn;
    void (*fn)(void *ctx);
    void *ctx;
    struct weir_sim_node *node; /* or NULL */
    uint32_t incarnation;
};

struct callback {
    void (*fn)(void *ctx);
    void *ctx;
};

/* What a node's process has besides. */
struct process {
    struct callback *calls; /* [first, len) */
    size_t first, len, cap;
    struct weir_sim_waiters idle;
    struct event *deferred; /* while paused */
    size_t ndeferred, deferred_cap;
};

struct world {
    struct weir_sim_options options;
    struct weir_rand rand;
    int64_t now_ns;
    uint64_t steps, orders, ids;
    uint32_t incarnations;
    struct event *heap;
    size_t len, cap;
    struct weir_sim_co *current;
    struct weir_sim_co **cos;
    size_t ncos, cos_cap;
    struct weir_sim_co *spare;
    struct callback *checks; /* for when current is left */
    size_t nchecks, checks_cap;
    jmp_buf loop;
    ucontext_t loop_context;
    struct weir_sim_node *nodes[WEIR_SIM_NODES_MAX];
    uint32_t nnodes;
    bool stopped;
    char *failure;
#ifdef __SANITIZE_ADDRESS__
    const void *loop_stack;
    size_t loop_stack_bytes;
    void *loop_fake_stack;
#endif
};

static struct world world;

void weir_sim_world_init(const struct weir_sim_options *options)
{
    world.options = *options;
    weir_rand_init(&world.rand, options->seed);
    world.now_ns = NS_PER_S;
}

const struct weir_sim_options *weir_sim_options(void)
{
    return &world.options;
}

uint64_t weir_sim_below(uint64_t bound)
{
    return weir_rand_below(&world.rand, bound);
}

bool weir_sim_one_in(uint64_t n)
{
    return weir_sim_below(n) == 0;
}

int64_t weir_sim_between(int64_t least, int64_t most)
{
    return least + (int64_t)weir_sim_below((uint64_t)(most - least) + 1);
}

int64_t weir_sim_now_ns(void)
{
    return world.now_ns;
}

uint64_t weir_sim_steps(void)
{
    return world.steps;
}

void weir_sim_stop(void)
{
    world.stopped = true;
}

/* --- words ------------------------------------------------------------------------------------------------------------ */

static void print_trace(const char *format, va_list args)
{
    if (world.options.trace_fd >= 0) {
        char text[1024];
        (void)vsnprintf(text, sizeof(text), format, args);
        (void)dprintf(world.options.trace_fd, "%4lld.%06lld %s\n", (long long)(world.now_ns / NS_PER_S - 1), (long long)(world.now_ns % NS_PER_S / 1000), text);
    }
}

void weir_sim_trace(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_trace(format, args);
    va_end(args);
}

void weir_sim_fail(const char *format, ...)
{
    char text[1024];
    va_list args;
    if (world.failure != NULL) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    world.failure = weir_strfmt("at %.6f s: %s", (double)world.now_ns / NS_PER_S - 1, text);
    world.stopped = true;
    weir_sim_trace("WRONG %s", text);
}

const char *weir_sim_failure(void)
{
    return world.failure;
}

/* --- events ----------------------------------------------------------------------------------------------------------- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

/* What happens at the same time happens in any order. */
static void push(struct event event)
{
    event.order = (weir_rand_u64(&world.rand) >> 44 << 44) | (++world.orders & ((1ull << 44) - 1));
    world.heap = weir_vec_grow(world.heap, &world.cap, sizeof(*world.heap), world.len + 1);
    size_t i = world.len++;
    while (i > 0 && before(&event, &world.heap[(i - 1) / 2])) {
        world.heap[i] = world.heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    world.heap[i] = event;
}

static struct event pop(void)
{
    struct event first = world.heap[0];
    struct event last = world.heap[--world.len];
    size_t i = 0;
    for (size_t child = 1; child < world.len; child = 2 * i + 1) {
        child += child + 1 < world.len && before(&world.heap[child + 1], &world.heap[child]);
        if (before(&last, &world.heap[child])) {
            break;
        }
        world.heap[i] = world.heap[child];
        i = child;
    }
    world.heap[i] = last;
    return first;
}

void weir_sim_after(int64_t ns, struct weir_sim_node *node, void (*fn)(void *ctx), void *ctx)
{
    push((struct event){.at_ns = world.now_ns + ns, .fn = fn, .ctx = ctx, .node = node, .incarnation = node == NULL ? 0 : node->incarnation});
}

void weir_sim_check_soon(void (*fn)(void *ctx), void *ctx)
{
    weir_assert(world.current != NULL);
    world.checks = weir_vec_grow(world.checks, &world.checks_cap, sizeof(*world.checks), world.nchecks + 1);
    world.checks[world.nchecks++] = (struct callback){fn, ctx};
}

static void push_co(struct weir_sim_co *co, int64_t at_ns)
{
    push((struct event){.at_ns = at_ns, .co = co, .turn = co->turn, .node = co->node, .incarnation = co->incarnation});
}

/* --- switching --------------------------------------------------------------------------------------------------------- */

#ifdef __SANITIZE_ADDRESS__
static void arrive(struct weir_sim_co *co, bool from_loop)
{
    const void **stack = from_loop ? &world.loop_stack : NULL;
    __sanitizer_finish_switch_fiber(co == NULL ? world.loop_fake_stack : co->fake_stack, stack, from_loop ? &world.loop_stack_bytes : NULL);
}
#endif

static void co_main(void)
{
    struct weir_sim_co *co = world.current;
#ifdef __SANITIZE_ADDRESS__
    arrive(co, true);
#endif
    co->run(co->ctx);
    co->state = CO_OVER;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(NULL, world.loop_stack, world.loop_stack_bytes);
    (void)setcontext(&world.loop_context);
#else
    _longjmp(world.loop, 1);
#endif
    weir_assert(false);
}

static void prepare_context(struct weir_sim_co *co)
{
    int failed = getcontext(&co->context);
    weir_assert(failed == 0);
    co->context.uc_stack.ss_sp = co->stack;
    co->context.uc_stack.ss_size = STACK_BYTES;
    co->context.uc_link = NULL;
    makecontext(&co->context, co_main, 0);
    co->started = true;
}

/* From the loop into a coroutine, and back when it blocks or ends. */
static void enter(struct weir_sim_co *co)
{
    world.current = co;
    co->state = CO_RUNS;
    co->calls = 0;
    bool first = !co->started;
    if (first) {
        prepare_context(co);
    }
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&world.loop_fake_stack, co->stack, STACK_BYTES);
    (void)swapcontext(&world.loop_context, &co->context);
    arrive(NULL, false);
#else
    if (_setjmp(world.loop) == 0) {
        if (first) {
            (void)setcontext(&co->context);
        }
        _longjmp(co->regs, 1);
    }
#endif
    world.current = NULL;
}

static void leave(struct weir_sim_co *co)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&co->fake_stack, world.loop_stack, world.loop_stack_bytes);
    (void)swapcontext(&co->context, &world.loop_context);
    arrive(co, true);
#else
    if (_setjmp(co->regs) == 0) {
        _longjmp(world.loop, 1);
    }
#endif
}

/* --- coroutines -------------------------------------------------------------------------------------------------------- */

static uint8_t *make_stack(void)
{
    void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    weir_assert(stack != MAP_FAILED);
    return stack;
}

struct weir_sim_co *weir_sim_spawn(struct weir_sim_node *node, const char *name, void (*run)(void *ctx), void *ctx)
{
    struct weir_sim_co *co = world.spare;
    if (co != NULL) {
        world.spare = co->next;
    } else {
        co = weir_calloc(1, sizeof(*co));
        co->stack = make_stack();
        world.cos = weir_vec_grow(world.cos, &world.cos_cap, sizeof(*world.cos), world.ncos + 1);
        world.cos[world.ncos++] = co;
    }
    co->id = ++world.ids + 1;
    (void)snprintf(co->name, sizeof(co->name), "%s", name);
    co->node = node;
    co->incarnation = node == NULL ? 0 : node->incarnation;
    co->state = CO_READY;
    co->turn++;
    co->run = run;
    co->ctx = ctx;
    co->started = false;
    co->waits_in = NULL;
    co->next = NULL;
    push_co(co, world.now_ns + weir_sim_between(0, WAKE_NS));
    return co;
}

struct weir_sim_co *weir_sim_current(void)
{
    return world.current;
}

uint64_t weir_sim_co_id(const struct weir_sim_co *co)
{
    return co->id;
}

bool weir_sim_co_over(const struct weir_sim_co *co, uint64_t id)
{
    return co->id != id || co->state == CO_OVER;
}

bool weir_sim_block(int64_t deadline_ns)
{
    struct weir_sim_co *co = world.current;
    weir_assert(co != NULL);
    co->state = CO_BLOCKED;
    co->woken = false;
    if (deadline_ns != INT64_MAX) {
        push_co(co, deadline_ns < world.now_ns ? world.now_ns : deadline_ns);
    }
    leave(co);
    return co->woken;
}

void weir_sim_wake(struct weir_sim_co *co)
{
    if (co->state == CO_BLOCKED) {
        co->state = CO_READY;
        co->woken = true;
        co->turn++;
        push_co(co, world.now_ns + weir_sim_between(0, WAKE_NS));
    }
}

void weir_sim_sleep(int64_t ns)
{
    if (world.current != NULL) {
        (void)weir_sim_block(world.now_ns + ns);
    }
}

void weir_sim_yield_maybe(void)
{
    struct weir_sim_co *co = world.current;
    if (co == NULL) {
        return;
    }
    world.now_ns += CALL_NS;
    bool must = ++co->calls > SLICE_CALLS;
    if (must || (world.options.yield_one_in != 0 && weir_sim_one_in(world.options.yield_one_in))) {
        weir_sim_sleep(must ? CALL_NS : weir_sim_between(1, 20000));
    }
}

static void unlist(struct weir_sim_co *co)
{
    if (co->waits_in != NULL) {
        struct weir_sim_co **at = &co->waits_in->first;
        while (*at != co) {
            at = &(*at)->next;
        }
        *at = co->next;
        co->waits_in = NULL;
        co->next = NULL;
    }
}

bool weir_sim_wait_in(struct weir_sim_waiters *waiters, int64_t deadline_ns)
{
    struct weir_sim_co *co = world.current;
    weir_assert(co != NULL);
    struct weir_sim_co **at = &waiters->first;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = co;
    co->next = NULL;
    co->waits_in = waiters;
    bool woken = weir_sim_block(deadline_ns);
    unlist(co);
    return woken;
}

bool weir_sim_wake_first(struct weir_sim_waiters *waiters)
{
    struct weir_sim_co *co = waiters->first;
    if (co == NULL) {
        return false;
    }
    unlist(co);
    weir_sim_wake(co);
    return true;
}

/* --- the loop ---------------------------------------------------------------------------------------------------------- */

static void over(struct weir_sim_co *co)
{
    co->turn++;
    co->next = world.spare;
    world.spare = co;
}

static void defer(const struct event *event)
{
    struct process *process = event->node->priv;
    process->deferred = weir_vec_grow(process->deferred, &process->deferred_cap, sizeof(*process->deferred), process->ndeferred + 1);
    process->deferred[process->ndeferred++] = *event;
}

static void take(const struct event *event)
{
    struct weir_sim_co *co = event->co;
    if (event->node != NULL && event->node->incarnation != event->incarnation) {
        return; /* of a process that is gone */
    }
    if (co != NULL && co->turn != event->turn) {
        return; /* it was woken before */
    }
    if (event->node != NULL && event->node->paused) {
        defer(event);
        return;
    }
    world.steps++;
    if (co == NULL) {
        event->fn(event->ctx);
        return;
    }
    co->turn++;
    enter(co);
    if (co->state == CO_OVER) {
        over(co);
    }
    for (size_t i = 0; i < world.nchecks; i++) {
        world.checks[i].fn(world.checks[i].ctx);
    }
    world.nchecks = 0;
}

void weir_sim_run(int64_t until_ns)
{
    world.stopped = world.failure != NULL;
    while (!world.stopped && world.len > 0 && world.heap[0].at_ns <= until_ns) {
        struct event event = pop();
        world.now_ns = event.at_ns > world.now_ns ? event.at_ns : world.now_ns;
        take(&event);
    }
}

/* --- machines ---------------------------------------------------------------------------------------------------------- */

static int64_t node_mono_ns(const struct weir_clock *clock)
{
    weir_sim_yield_maybe();
    const struct weir_sim_node *node = (const struct weir_sim_node *)(const void *)((const char *)clock - offsetof(struct weir_sim_node, clock));
    return world.now_ns + node->clock.mono_offset_ns;
}

static int64_t node_wall_ms(const struct weir_clock *clock)
{
    const struct weir_sim_node *node = (const struct weir_sim_node *)(const void *)((const char *)clock - offsetof(struct weir_sim_node, clock));
    return WALL_MS_AT_START + world.now_ns / 1000000 + node->clock.wall_offset_ms;
}

static int64_t log_mono_ns(const struct weir_clock *clock)
{
    (void)clock;
    return world.now_ns;
}

/* The world's, for whoever reads the trace. */
static int64_t log_wall_ms(const struct weir_clock *clock)
{
    (void)clock;
    return world.now_ns / 1000000 - 1000;
}

struct weir_sim_node *weir_sim_node_add(const char *name, void (*main)(struct weir_sim_node *node))
{
    weir_assert(world.nnodes < WEIR_SIM_NODES_MAX);
    struct weir_sim_node *node = weir_calloc(1, sizeof(*node));
    node->index = world.nnodes;
    (void)snprintf(node->name, sizeof(node->name), "%s", name);
    (void)snprintf(node->host, sizeof(node->host), "127.0.0.%u", node->index + 1);
    node->power = WEIR_SIM_DEAD;
    node->clock.clock = (struct weir_clock){.mono_ns = node_mono_ns, .boot_ns = node_mono_ns, .wall_ms = node_wall_ms};
    node->log_clock = (struct weir_clock){.mono_ns = log_mono_ns, .boot_ns = log_mono_ns, .wall_ms = log_wall_ms};
    node->clock.mono_offset_ns = weir_sim_between(0, 1000000) * NS_PER_S / 1000;
    node->disk = weir_fs_sim_create();
    node->main = main;
    node->priv = weir_calloc(1, sizeof(struct process));
    world.nodes[world.nnodes++] = node;
    return node;
}

uint32_t weir_sim_node_count(void)
{
    return world.nnodes;
}

struct weir_sim_node *weir_sim_node_at(uint32_t i)
{
    return world.nodes[i];
}

struct weir_sim_node *weir_sim_node_here(void)
{
    return world.current == NULL ? NULL : world.current->node;
}

static void library_thread(void *ctx)
{
    struct process *process = ctx;
    for (;;) {
        if (process->first == process->len) {
            (void)weir_sim_wait_in(&process->idle, INT64_MAX);
            continue;
        }
        struct callback call = process->calls[process->first++];
        if (process->first == process->len) {
            process->first = process->len = 0;
        }
        call.fn(call.ctx);
    }
}

void weir_sim_library(struct weir_sim_node *node, void (*fn)(void *ctx), void *ctx)
{
    struct process *process = node->priv;
    process->calls = weir_vec_grow(process->calls, &process->cap, sizeof(*process->calls), process->len + 1);
    process->calls[process->len++] = (struct callback){fn, ctx};
    (void)weir_sim_wake_first(&process->idle);
}

static void restart(void *ctx)
{
    weir_sim_node_start(ctx);
}

/* The process has ended by itself: whoever watches over it starts it again. */
static void main_thread(void *ctx)
{
    struct weir_sim_node *node = ctx;
    node->main(node);
    weir_sim_trace("%s has ended", node->name);
    weir_sim_node_kill(node, false);
    weir_sim_after(weir_sim_between(50, 500) * 1000000, NULL, restart, node);
}

void weir_sim_node_start(struct weir_sim_node *node)
{
    if (node->power == WEIR_SIM_UP || node->scrapped) {
        return;
    }
    struct process *process = node->priv;
    node->power = WEIR_SIM_UP;
    weir_sim_streams_powered(node);
    node->incarnation = ++world.incarnations;
    node->term = false;
    *process = (struct process){0};
    weir_sim_trace("%s starts", node->name);
    for (int i = 0; i < LIBRARY_THREADS; i++) {
        (void)weir_sim_spawn(node, "library", library_thread, process);
    }
    (void)weir_sim_spawn(node, "main", main_thread, node);
}

static void end_process(struct weir_sim_node *node, bool silently)
{
    struct weir_sim_co *here = world.current;
    uint32_t incarnation = node->incarnation;
    node->incarnation = ++world.incarnations;
    node->paused = false;
    node->jm = NULL;
    weir_sim_streams_died(node, silently);
    for (size_t i = 0; i < world.ncos; i++) {
        struct weir_sim_co *co = world.cos[i];
        if (co->node == node && co->incarnation == incarnation && co->state != CO_OVER && co != here) {
            unlist(co);
            co->state = CO_OVER;
            over(co);
        }
    }
}

void weir_sim_node_kill(struct weir_sim_node *node, bool power_off)
{
    enum weir_sim_power before = node->power;
    node->power = power_off ? WEIR_SIM_OFF : before == WEIR_SIM_UP ? WEIR_SIM_DEAD : before;
    if (before == WEIR_SIM_UP) {
        end_process(node, power_off);
    }
    if (power_off && before != WEIR_SIM_OFF) { /* also what a process left unsynced that died before */
        weir_fs_sim_crash(node->disk, weir_rand_u64(&world.rand));
        weir_sim_store_power_off(node);
    }
}

void weir_sim_node_pause(struct weir_sim_node *node)
{
    node->paused = node->power == WEIR_SIM_UP;
}

void weir_sim_node_resume(struct weir_sim_node *node)
{
    struct process *process = node->priv;
    if (!node->paused) {
        return;
    }
    node->paused = false;
    for (size_t i = 0; i < process->ndeferred; i++) {
        struct event event = process->deferred[i];
        event.at_ns = world.now_ns + weir_sim_between(0, WAKE_NS);
        push(event);
    }
    process->ndeferred = 0;
}
