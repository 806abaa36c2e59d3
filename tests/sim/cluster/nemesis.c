#include "tests/sim/cluster/nemesis.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/fs/fs_sim.h"
#include "tests/sim/cluster/hooks.h"
#include "tests/sim/cluster/outside.h"

#include <stdio.h>

#define MS INT64_C(1000000)

enum { REST_MS_MIN = 1, REST_MS_MAX = 400, ARMED_MS_MAX = 900, PROVOKED_MS_MAX = 3000, RESCALED_MS_MAX = 5000, DROP_MS_MAX = 1500, HOT_ONE_IN = 3, TRIES_MAX = 3 };

static struct nemesis {
    struct weir_sim_nemesis_options options;
    struct weir_sim_toll *toll;
    bool active;
    /* Waits for a phase. */
    bool armed, rare;
    enum weir_sim_fault fault;
    enum weir_sim_phase phase;
    struct weir_sim_node *met; /* where the phase was met; or NULL */
    bool isolated[WEIR_SIM_NODES_MAX];
} nemesis;

/* --- one fault, and its end ------------------------------------------------------------------------------------------------ */

/* What a fault was done to; it is undone later, even if it was undone meanwhile. */
struct wound {
    enum weir_sim_fault fault;
    struct weir_sim_node *a, *b;
};

/* Mostly where the phase was met; one that runs, if there is one. */
static struct weir_sim_node *some_of(struct weir_sim_node *const *nodes, uint32_t count)
{
    uint32_t chosen = (uint32_t)weir_sim_below(count);
    for (uint32_t i = 0; nemesis.met != NULL && i < count; i++) {
        if (nodes[i] == nemesis.met && !weir_sim_one_in(4)) {
            return nodes[i];
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (nodes[(chosen + i) % count]->power == WEIR_SIM_UP) {
            return nodes[(chosen + i) % count];
        }
    }
    return nodes[chosen];
}

static struct weir_sim_node *some_jm(void)
{
    return some_of(nemesis.options.cast->jms, nemesis.options.cast->njms);
}

static struct weir_sim_node *some_tm(void)
{
    return some_of(nemesis.options.cast->tms, nemesis.options.cast->ntms);
}

static bool is_tm(const struct weir_sim_node *node)
{
    bool found = false;
    for (uint32_t i = 0; i < nemesis.options.cast->ntms; i++) {
        found |= nemesis.options.cast->tms[i] == node;
    }
    return found;
}

/* Of either kind. */
static struct weir_sim_node *some_daemon(void)
{
    bool met_tm = nemesis.met != NULL && is_tm(nemesis.met);
    return nemesis.met == NULL ? (weir_sim_one_in(2) ? some_jm() : some_tm()) : met_tm ? some_tm() : some_jm();
}

/* What may be cut off while tasks are spared. */
static struct weir_sim_node *some_node(void)
{
    if (nemesis.options.spare_tasks) {
        return some_jm();
    }
    return nemesis.met != NULL && weir_sim_one_in(2) ? nemesis.met : weir_sim_node_at((uint32_t)weir_sim_below(weir_sim_node_count()));
}

static void power_on(struct weir_sim_node *node)
{
    if (node->power != WEIR_SIM_UP && !node->scrapped) {
        node->power = WEIR_SIM_DEAD;
        weir_sim_node_start(node);
    }
}

/* One that is cut off stays so: with a way to its peers alone it could lead, and would rightly take the TaskManagers for lost. */
static void heal(const struct weir_sim_node *from, const struct weir_sim_node *to)
{
    if (!nemesis.isolated[from->index] && !nemesis.isolated[to->index]) {
        weir_sim_link_heal(from, to);
    }
}

static void cut_all(struct weir_sim_node *node, bool cut)
{
    nemesis.isolated[node->index] = cut;
    for (uint32_t i = 0; i < weir_sim_node_count(); i++) {
        struct weir_sim_node *other = weir_sim_node_at(i);
        if (other != node && cut) {
            weir_sim_link_cut(node, other);
            weir_sim_link_cut(other, node);
        } else if (other != node) {
            heal(node, other);
            heal(other, node);
        }
    }
}

static struct weir_sim_node *victim(const struct wound *wound)
{
    return wound->fault <= WEIR_SIM_FAULT_TERM_JM ? some_jm() : some_tm();
}

static bool inflict_kill(struct wound *wound)
{
    wound->a = victim(wound);
    bool runs = wound->a->power == WEIR_SIM_UP;
    weir_sim_node_kill(wound->a, false);
    return runs;
}

static bool inflict_power(struct wound *wound)
{
    wound->a = victim(wound);
    bool has_power = wound->a->power != WEIR_SIM_OFF;
    weir_sim_node_kill(wound->a, true);
    return has_power;
}

static void mend_power(struct wound *wound)
{
    power_on(wound->a);
}

static bool inflict_pause(struct wound *wound)
{
    wound->a = victim(wound);
    bool runs = !wound->a->paused;
    weir_sim_node_pause(wound->a);
    return runs && wound->a->paused;
}

static void mend_pause(struct wound *wound)
{
    weir_sim_node_resume(wound->a);
}

static bool inflict_term(struct wound *wound)
{
    wound->a = victim(wound);
    bool told = wound->a->power == WEIR_SIM_UP && !wound->a->term;
    wound->a->term = true;
    return told;
}

static void two_nodes(struct wound *wound)
{
    wound->a = some_node();
    do {
        wound->b = nemesis.options.spare_tasks ? nemesis.options.cast->jms[weir_sim_below(nemesis.options.cast->njms)]
                                               : weir_sim_node_at((uint32_t)weir_sim_below(weir_sim_node_count()));
    } while (wound->b == wound->a);
}

/* Whether anything ever goes from one to the other: the outside log is the sinks', the client asks JobManagers. */
static bool talk(const struct weir_sim_node *a, const struct weir_sim_node *b)
{
    const struct weir_sim_node *outsider = a->main == NULL ? a : b;
    const struct weir_sim_node *daemon = a->main == NULL ? b : a;
    return outsider->main != NULL || (daemon->main != NULL && is_tm(daemon) == (outsider == nemesis.options.cast->broker));
}

static bool inflict_cut(struct wound *wound)
{
    two_nodes(wound);
    bool cut = !weir_sim_link_is_cut(wound->a, wound->b) && talk(wound->a, wound->b);
    weir_sim_link_cut(wound->a, wound->b);
    return cut;
}

static void mend_cut(struct wound *wound)
{
    heal(wound->a, wound->b);
}

static bool inflict_isolate(struct wound *wound)
{
    wound->a = some_node();
    bool cut = wound->a->power == WEIR_SIM_UP && !nemesis.isolated[wound->a->index];
    cut_all(wound->a, true);
    return cut;
}

static void mend_isolate(struct wound *wound)
{
    cut_all(wound->a, false);
}

static bool inflict_reset(struct wound *wound)
{
    wound->a = some_node();
    return weir_sim_links_reset(wound->a, weir_sim_one_in(2) ? 1 : 3) > 0;
}

static bool inflict_slow(struct wound *wound)
{
    two_nodes(wound);
    weir_sim_link_slow(wound->a, wound->b, weir_sim_between(1, 300) * MS);
    return talk(wound->a, wound->b);
}

static void mend_slow(struct wound *wound)
{
    weir_sim_link_slow(wound->a, wound->b, 0);
}

/* Of a disk: how many times slower. */
static uint32_t slowness(void)
{
    return 20 + (uint32_t)weir_sim_below(400);
}

static bool inflict_disk_full(struct wound *wound)
{
    wound->a = some_jm();
    bool filled = wound->a->power == WEIR_SIM_UP && !wound->a->disk_full;
    wound->a->disk_full = true;
    return filled;
}

static void mend_disk_full(struct wound *wound)
{
    wound->a->disk_full = false;
}

static bool inflict_disk_eio(struct wound *wound)
{
    wound->a = some_jm();
    bool broken = wound->a->power == WEIR_SIM_UP && wound->a->eio_one_in == 0;
    wound->a->eio_one_in = 1 + (uint32_t)weir_sim_below(4);
    return broken;
}

static void mend_disk_eio(struct wound *wound)
{
    wound->a->eio_one_in = 0;
}

static bool inflict_disk_slow(struct wound *wound)
{
    wound->a = some_daemon();
    bool slowed = wound->a->power == WEIR_SIM_UP && wound->a->slow == 0;
    wound->a->slow = slowness();
    return slowed;
}

static void mend_disk_slow(struct wound *wound)
{
    wound->a->slow = 0;
}

static bool inflict_store_full(struct wound *wound)
{
    wound->a = nemesis.options.cast->broker; /* the store has no machine of its own */
    bool filled = !weir_sim_store()->full;
    weir_sim_store()->full = true;
    return filled;
}

static void mend_store_full(struct wound *wound)
{
    (void)wound;
    weir_sim_store()->full = false;
}

static bool inflict_store_eio(struct wound *wound)
{
    wound->a = nemesis.options.cast->broker;
    bool broken = weir_sim_store()->eio_one_in == 0;
    weir_sim_store()->eio_one_in = 1 + (uint32_t)weir_sim_below(6);
    return broken;
}

static void mend_store_eio(struct wound *wound)
{
    (void)wound;
    weir_sim_store()->eio_one_in = 0;
}

static bool inflict_store_slow(struct wound *wound)
{
    wound->a = nemesis.options.cast->broker;
    bool slowed = weir_sim_store()->slow == 0;
    weir_sim_store()->slow = slowness();
    return slowed;
}

static void mend_store_slow(struct wound *wound)
{
    (void)wound;
    weir_sim_store()->slow = 0;
}

/* The checkpoint store too, with names and bytes that it had from its clients and has not made durable. */
static bool inflict_site(struct wound *wound)
{
    wound->a = nemesis.options.cast->broker;
    for (uint32_t i = 0; i < nemesis.options.cast->njms; i++) {
        weir_sim_node_kill(nemesis.options.cast->jms[i], true);
    }
    for (uint32_t i = 0; i < nemesis.options.cast->ntms; i++) {
        weir_sim_node_kill(nemesis.options.cast->tms[i], true);
    }
    weir_fs_sim_crash(weir_sim_store()->disk, weir_sim_below(UINT64_MAX));
    nemesis.toll->site_ns = weir_sim_now_ns();
    return true;
}

static void start_later(void *ctx)
{
    power_on(ctx);
}

static void mend_site(struct wound *wound)
{
    (void)wound;
    for (uint32_t i = 0; i < nemesis.options.cast->njms; i++) {
        weir_sim_after(weir_sim_between(0, 800) * MS, NULL, start_later, nemesis.options.cast->jms[i]);
    }
    for (uint32_t i = 0; i < nemesis.options.cast->ntms; i++) {
        weir_sim_after(weir_sim_between(0, 800) * MS, NULL, start_later, nemesis.options.cast->tms[i]);
    }
}

static bool inflict_jump(struct wound *wound)
{
    wound->a = nemesis.options.expires ? some_jm() : some_node();
    wound->a->clock.wall_offset_ms += weir_sim_between(-nemesis.options.jump_ms_max, nemesis.options.jump_ms_max);
    return wound->a->power == WEIR_SIM_UP && wound->a->main != NULL;
}

static bool inflict_broker(struct wound *wound)
{
    wound->a = nemesis.options.cast->broker;
    bool there = wound->a->power == WEIR_SIM_UP;
    wound->a->power = WEIR_SIM_DEAD;
    return there;
}

static void mend_broker(struct wound *wound)
{
    wound->a->power = WEIR_SIM_UP;
}

static bool inflict_repeat(struct wound *wound)
{
    wound->a = nemesis.options.cast->broker; /* it is everywhere */
    weir_sim_messages_repeat(1 + (uint32_t)weir_sim_below(4));
    return true;
}

static void mend_repeat(struct wound *wound)
{
    (void)wound;
    weir_sim_messages_repeat(0);
}

static bool inflict_stale(struct wound *wound)
{
    wound->a = nemesis.options.cast->broker;
    return weir_sim_messages_replay() > 0;
}

static bool inflict_lose(struct wound *wound)
{
    wound->a = some_jm();
    nemesis.options.lose_jm(wound->a);
    return true;
}

static const struct {
    bool (*inflict)(struct wound *wound); /* false: it changes nothing (its victim is dead already, say) */
    void (*mend)(struct wound *wound); /* NULL: it mends itself */
} faults[WEIR_SIM_FAULT_COUNT] = {
    [WEIR_SIM_FAULT_KILL_JM] = {inflict_kill, mend_power},
    [WEIR_SIM_FAULT_POWER_JM] = {inflict_power, mend_power},
    [WEIR_SIM_FAULT_PAUSE_JM] = {inflict_pause, mend_pause},
    [WEIR_SIM_FAULT_TERM_JM] = {inflict_term, NULL},
    [WEIR_SIM_FAULT_KILL_TM] = {inflict_kill, mend_power},
    [WEIR_SIM_FAULT_POWER_TM] = {inflict_power, mend_power},
    [WEIR_SIM_FAULT_PAUSE_TM] = {inflict_pause, mend_pause},
    [WEIR_SIM_FAULT_TERM_TM] = {inflict_term, NULL},
    [WEIR_SIM_FAULT_CUT] = {inflict_cut, mend_cut},
    [WEIR_SIM_FAULT_ISOLATE] = {inflict_isolate, mend_isolate},
    [WEIR_SIM_FAULT_RESET] = {inflict_reset, NULL},
    [WEIR_SIM_FAULT_SLOW_LINK] = {inflict_slow, mend_slow},
    [WEIR_SIM_FAULT_DISK_FULL] = {inflict_disk_full, mend_disk_full},
    [WEIR_SIM_FAULT_DISK_EIO] = {inflict_disk_eio, mend_disk_eio},
    [WEIR_SIM_FAULT_DISK_SLOW] = {inflict_disk_slow, mend_disk_slow},
    [WEIR_SIM_FAULT_STORE_FULL] = {inflict_store_full, mend_store_full},
    [WEIR_SIM_FAULT_STORE_EIO] = {inflict_store_eio, mend_store_eio},
    [WEIR_SIM_FAULT_STORE_SLOW] = {inflict_store_slow, mend_store_slow},
    [WEIR_SIM_FAULT_SITE] = {inflict_site, mend_site},
    [WEIR_SIM_FAULT_CLOCK_JUMP] = {inflict_jump, NULL},
    [WEIR_SIM_FAULT_BROKER] = {inflict_broker, mend_broker},
    [WEIR_SIM_FAULT_REPEAT] = {inflict_repeat, mend_repeat},
    [WEIR_SIM_FAULT_STALE] = {inflict_stale, NULL},
    [WEIR_SIM_FAULT_LOSE_JM] = {inflict_lose, NULL},
};

static void mend(void *ctx)
{
    struct wound *wound = ctx;
    faults[wound->fault].mend(wound);
    weir_free(wound);
}

/* A leader that reaches its peers but not a TaskManager rightly takes that for lost; a single one is its own majority. */
static bool may(enum weir_sim_fault fault)
{
    switch (fault) {
    case WEIR_SIM_FAULT_KILL_JM:
    case WEIR_SIM_FAULT_POWER_JM:
    case WEIR_SIM_FAULT_PAUSE_JM:
    case WEIR_SIM_FAULT_TERM_JM:
    case WEIR_SIM_FAULT_DISK_FULL:
    case WEIR_SIM_FAULT_DISK_EIO:
    case WEIR_SIM_FAULT_DISK_SLOW:
    case WEIR_SIM_FAULT_CLOCK_JUMP:
    case WEIR_SIM_FAULT_REPEAT:
    case WEIR_SIM_FAULT_STALE:
        return true;
    case WEIR_SIM_FAULT_LOSE_JM:
        return nemesis.options.may_lose_jm();
    case WEIR_SIM_FAULT_CUT:
    case WEIR_SIM_FAULT_ISOLATE:
    case WEIR_SIM_FAULT_SLOW_LINK:
        return !nemesis.options.spare_tasks || nemesis.options.cast->njms > 1;
    case WEIR_SIM_FAULT_KILL_TM:
    case WEIR_SIM_FAULT_POWER_TM:
    case WEIR_SIM_FAULT_PAUSE_TM:
    case WEIR_SIM_FAULT_TERM_TM:
    case WEIR_SIM_FAULT_RESET:
    case WEIR_SIM_FAULT_STORE_FULL:
    case WEIR_SIM_FAULT_STORE_EIO:
    case WEIR_SIM_FAULT_STORE_SLOW:
    case WEIR_SIM_FAULT_SITE:
    case WEIR_SIM_FAULT_BROKER:
        return !nemesis.options.spare_tasks;
    case WEIR_SIM_FAULT_COUNT:
        break;
    }
    return false;
}

/* False: it was not in effect. */
static bool strike(enum weir_sim_fault fault)
{
    if (!may(fault)) {
        return false;
    }
    struct wound *wound = weir_calloc(1, sizeof(*wound));
    wound->fault = fault;
    bool inflicted = faults[fault].inflict(wound);
    bool pause = fault == WEIR_SIM_FAULT_PAUSE_JM || fault == WEIR_SIM_FAULT_PAUSE_TM;
    /* Long enough to be taken for dead, and to come back. */
    int64_t ms = weir_sim_one_in(3) ? weir_sim_between(0, 100) : pause || weir_sim_one_in(3) ? weir_sim_between(500, 6000) : weir_sim_between(50, 2000);
    weir_sim_trace("FAULT %s: %s%s%s, for %lld ms%s", weir_sim_fault_text(fault), wound->a->name, wound->b == NULL ? "" : " to ",
                   wound->b == NULL ? "" : wound->b->name, (long long)ms, inflicted ? "" : ": changes nothing");
    nemesis.toll->faults += inflicted;
    if (faults[fault].mend != NULL) {
        weir_sim_after(ms * nemesis.options.pace * MS, NULL, mend, wound);
    } else {
        weir_free(wound);
    }
    return inflicted;
}

/* --- when ------------------------------------------------------------------------------------------------------------------- */

static void strike_armed(void *ctx)
{
    (void)ctx;
    if (nemesis.active && may(nemesis.fault)) {
        weir_sim_trace("when %s:", weir_sim_phase_text(nemesis.phase));
        nemesis.toll->hits[nemesis.fault][nemesis.phase] += strike(nemesis.fault);
    }
    nemesis.met = NULL;
}

void weir_sim_nemesis_phase(enum weir_sim_phase phase)
{
    if (!nemesis.active || !nemesis.armed || phase != nemesis.phase || !(nemesis.rare || weir_sim_one_in(HOT_ONE_IN))) {
        return;
    }
    nemesis.armed = false;
    nemesis.met = weir_sim_node_here();
    weir_sim_after(weir_sim_one_in(2) ? 0 : weir_sim_between(0, MS), NULL, strike_armed, NULL);
}

/* What comes rarely by itself is brought about; returns how long it may take. */
static int provoke(enum weir_sim_phase phase)
{
    switch (phase) {
    case WEIR_SIM_PHASE_SUBMIT:
        nemesis.options.submit_now();
        return PROVOKED_MS_MAX;
    case WEIR_SIM_PHASE_LEAD:
    case WEIR_SIM_PHASE_REGISTER:
        (void)strike(WEIR_SIM_FAULT_KILL_JM);
        return PROVOKED_MS_MAX;
    case WEIR_SIM_PHASE_CANCEL:
        if (weir_sim_one_in(3)) {
            nemesis.options.cancel_now();
        }
        (void)strike(WEIR_SIM_FAULT_KILL_TM);
        return PROVOKED_MS_MAX;
    case WEIR_SIM_PHASE_RESTORE:
    case WEIR_SIM_PHASE_DEPLOY:
    case WEIR_SIM_PHASE_LEASE:
        (void)strike(WEIR_SIM_FAULT_KILL_TM);
        return PROVOKED_MS_MAX;
    case WEIR_SIM_PHASE_MEMBERS:
        (void)strike(WEIR_SIM_FAULT_LOSE_JM);
        return PROVOKED_MS_MAX;
    case WEIR_SIM_PHASE_DRAIN:
    case WEIR_SIM_PHASE_RESCALE:
        (void)strike(WEIR_SIM_FAULT_KILL_TM);
        return RESCALED_MS_MAX;
    case WEIR_SIM_PHASE_DROP:
        if (weir_sim_one_in(2)) {
            nemesis.options.cancel_now();
        }
        if (weir_sim_one_in(2)) { /* what may make a leader forget too early */
            (void)strike(WEIR_SIM_FAULT_CLOCK_JUMP);
        }
        if (weir_sim_one_in(2)) {
            (void)strike(weir_sim_one_in(2) ? WEIR_SIM_FAULT_KILL_JM : WEIR_SIM_FAULT_PAUSE_JM);
        }
        return DROP_MS_MAX;
    case WEIR_SIM_PHASE_INIT:
    case WEIR_SIM_PHASE_TXN_OPEN:
    case WEIR_SIM_PHASE_TXN_COMMIT: /* only once a checkpoint with output is committed */
        return PROVOKED_MS_MAX;
    case WEIR_SIM_PHASE_PROPOSE:
    case WEIR_SIM_PHASE_APPLY:
    case WEIR_SIM_PHASE_TRIGGER:
    case WEIR_SIM_PHASE_UPLOAD:
    case WEIR_SIM_PHASE_ACK:
    case WEIR_SIM_PHASE_METADATA:
    case WEIR_SIM_PHASE_STORED:
    case WEIR_SIM_PHASE_COMPLETE:
    case WEIR_SIM_PHASE_NOTIFY:
    case WEIR_SIM_PHASE_COUNT:
        break;
    }
    return ARMED_MS_MAX;
}

static enum weir_sim_fault some_fault(void)
{
    enum weir_sim_fault fault;
    do {
        fault = (enum weir_sim_fault)weir_sim_below(WEIR_SIM_FAULT_COUNT);
    } while (!may(fault));
    return fault;
}

/* Waits for the phase, and strikes then. */
static void ambush(enum weir_sim_fault fault, enum weir_sim_phase phase)
{
    nemesis.fault = fault;
    nemesis.phase = phase;
    nemesis.armed = nemesis.rare = true; /* a provocation may bring the phase at once */
    int patience_ms = provoke(phase);
    nemesis.rare = patience_ms > ARMED_MS_MAX;
    for (int ms = 0; nemesis.armed && ms < patience_ms && weir_sim_now_ns() < nemesis.options.until_ns; ms += 10) {
        weir_sim_sleep(10 * nemesis.options.pace * MS);
    }
    nemesis.armed = false;
}

enum { USUAL_PHASES = WEIR_SIM_PHASE_DROP, PAIRS = WEIR_SIM_FAULT_COUNT * USUAL_PHASES };
_Static_assert(WEIR_SIM_PHASE_DRAIN == USUAL_PHASES + 1 && WEIR_SIM_PHASE_RESCALE == USUAL_PHASES + 2 && WEIR_SIM_PHASE_COUNT == USUAL_PHASES + 3,
               "those of some seeds are the last");

/* The seeds in which jobs are rescaled lie in wait for that only: they alone can meet it. */
static void pair_at(uint64_t n, enum weir_sim_fault *out_fault, enum weir_sim_phase *out_phase)
{
    uint64_t first = nemesis.options.adaptive ? WEIR_SIM_PHASE_DRAIN : 0;
    uint64_t phases = nemesis.options.adaptive ? WEIR_SIM_PHASE_COUNT - WEIR_SIM_PHASE_DRAIN : USUAL_PHASES;
    *out_fault = (enum weir_sim_fault)(n / phases % WEIR_SIM_FAULT_COUNT);
    *out_phase = (enum weir_sim_phase)(first + n % phases);
}

static bool can_meet(enum weir_sim_fault fault, enum weir_sim_phase phase)
{
    return may(fault) && weir_sim_can_meet(fault, phase) && (nemesis.options.adaptive || !weir_sim_rescales(phase));
}

/* A job is forgotten once or twice in a run, sooner or later; until then it is mostly lain in wait for that. */
static bool ambush_drop(uint64_t *n)
{
    enum weir_sim_fault fault = (enum weir_sim_fault)(*n % WEIR_SIM_FAULT_COUNT);
    for (int i = 0; i < WEIR_SIM_FAULT_COUNT && (!may(fault) || nemesis.toll->hits[fault][WEIR_SIM_PHASE_DROP] > 0); i++) {
        fault = (enum weir_sim_fault)(++*n % WEIR_SIM_FAULT_COUNT);
    }
    bool lies = !weir_sim_one_in(3);
    if (lies) {
        ambush(fault, WEIR_SIM_PHASE_DROP);
    }
    return lies;
}

static void run(void *ctx)
{
    /* What makes old attempts act late is worth more tries while sinks write outside. */
    static const enum weir_sim_fault zombies[] = {WEIR_SIM_FAULT_PAUSE_TM, WEIR_SIM_FAULT_PAUSE_TM, WEIR_SIM_FAULT_ISOLATE, WEIR_SIM_FAULT_CUT};
    (void)ctx;
    /* The pairs are taken in turn by the seeds, each until it is met, so that a range of seeds meets all. The shift lets those seeds that may not do
     * everything begin with others each time. */
    uint64_t pair = nemesis.options.nth * 7 + nemesis.options.nth / PAIRS;
    uint64_t drop = nemesis.options.nth_of_all;
    for (int tries = 0; weir_sim_now_ns() < nemesis.options.until_ns;) {
        weir_sim_sleep(weir_sim_between(REST_MS_MIN, REST_MS_MAX) * nemesis.options.pace * MS);
        if (nemesis.options.expires && ambush_drop(&drop)) {
            continue;
        }
        enum weir_sim_fault fault;
        enum weir_sim_phase phase;
        pair_at(pair, &fault, &phase);
        if (tries >= (nemesis.options.adaptive ? 2 * TRIES_MAX : TRIES_MAX) || nemesis.toll->hits[fault][phase] > 0 || !can_meet(fault, phase)) {
            pair++;
            tries = 0;
        } else if (tries > 0 || !weir_sim_one_in(3)) {
            tries++;
            ambush(fault, phase);
            continue;
        }
        if (weir_sim_one_in(2)) {
            (void)strike(some_fault());
        } else if (weir_sim_one_in(2) && !nemesis.options.spare_tasks) {
            ambush(zombies[weir_sim_below(sizeof(zombies) / sizeof(zombies[0]))],
                   (enum weir_sim_phase)weir_sim_between(WEIR_SIM_PHASE_LEASE, WEIR_SIM_PHASE_TXN_COMMIT));
        }
    }
    weir_sim_nemesis_stop();
}

void weir_sim_nemesis_start(const struct weir_sim_nemesis_options *options)
{
    nemesis.options = *options;
    nemesis.toll = options->toll;
    nemesis.active = true;
    (void)weir_sim_spawn(NULL, "nemesis", run, NULL);
}

void weir_sim_nemesis_stop(void)
{
    nemesis.active = false;
    weir_sim_trace("the faults end");
    for (uint32_t i = 0; i < weir_sim_node_count(); i++) {
        struct weir_sim_node *node = weir_sim_node_at(i);
        cut_all(node, false);
        node->disk_full = false;
        node->eio_one_in = 0;
        node->slow = 0;
        weir_sim_node_resume(node);
        for (uint32_t k = 0; k < weir_sim_node_count(); k++) {
            weir_sim_link_slow(node, weir_sim_node_at(k), 0);
        }
        if (node == nemesis.options.cast->broker) {
            node->power = WEIR_SIM_UP;
        } else {
            power_on(node);
        }
    }
    weir_sim_store()->full = false;
    weir_sim_store()->eio_one_in = 0;
    weir_sim_store()->slow = 0;
    weir_sim_messages_repeat(0);
    weir_sim_outside_hang(false);
}
