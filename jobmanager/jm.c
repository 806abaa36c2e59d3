#include "jobmanager/jm.h"

#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/net/address.h"
#include "jobmanager/jm_internal.h"
#include "proto/methods.h"

enum {
    AWAY_MS = 20,         /* the main thread runs so much later than it was to: that counts */
    AWAY_LOGGED_MS = 500, /* ... and is worth a line */
    MAILS_MAX = 65536,
    MAILS_PER_ROUND = 256,
    POOL_THREADS = 2,
    POOL_JOBS_MAX = 4096,
    DISK_FREE_BYTES_MIN = 64 << 20,
};

struct weir_now weir__jm_now(const struct weir_jm *jm)
{
    return (struct weir_now){.mono_ms = weir_clock_mono_ms(jm->options.clock), .wall_ms = weir_clock_wall_ms(jm->options.clock)};
}

/* --- the pool as the cluster log's executor --------------------------------------------------------------------------- */
static void pool_run(void *ctx)
{
    struct weir_work *work = ctx;
    work->run(work);
}

static void pool_done(void *ctx)
{
    struct weir_work *work = ctx;
    work->in_flight = false;
    work->done(work);
}

/* The mailbox is closed: nobody hears of the end. */
static void pool_drop(void *ctx)
{
    ((struct weir_work *)ctx)->in_flight = false;
}

static void executor_submit(struct weir_executor *executor, struct weir_work *work)
{
    struct weir_jm *jm = (struct weir_jm *)((uintptr_t)executor - offsetof(struct weir_jm, executor));
    struct weir_pool_job job = {.run = pool_run, .done = pool_done, .drop = pool_drop, .ctx = work};
    work->executor_private = NULL;
    if (jm->deferred == NULL && weir_pool_submit(jm->pool, job, jm->mailbox) == WEIR_OK) {
        return;
    }
    struct weir_work *last = jm->deferred; /* full: again in the next round */
    while (last != NULL && last->executor_private != NULL) {
        last = last->executor_private;
    }
    if (last == NULL) {
        jm->deferred = work;
    } else {
        last->executor_private = work;
    }
}

static void submit_deferred(struct weir_jm *jm)
{
    struct weir_work *works = jm->deferred;
    jm->deferred = NULL;
    while (works != NULL) {
        struct weir_work *work = works;
        works = work->executor_private;
        executor_submit(&jm->executor, work);
    }
}

/* --- the loop --------------------------------------------------------------------------------------------------------- */
bool weir__jm_leads_in(const struct weir_jm *jm, uint64_t epoch)
{
    return weir_dispatcher_leading(jm->dispatcher) && weir_dispatcher_epoch(jm->dispatcher) == epoch;
}

static void run_effect(struct weir_jm *jm, const struct weir_effect *effect)
{
    switch (effect->kind) {
    case WEIR_EFFECT_PROPOSE:
        if (effect->epoch == weir_dispatcher_epoch(jm->dispatcher)) { /* what leads no more rejects it */
            weir_cluster_log_propose(jm->log, effect->proposal, weir_buf_slice(&effect->bytes));
        }
        break;
    case WEIR_EFFECT_ENUMERATE:
    case WEIR_EFFECT_DEPLOY:
    case WEIR_EFFECT_CANCEL:
    case WEIR_EFFECT_TRIGGER:
    case WEIR_EFFECT_NOTIFY:
        if (weir__jm_leads_in(jm, effect->epoch)) {
            weir__jm_order(jm, effect);
        }
        break;
    case WEIR_EFFECT_CKPT_PREPARE:
    case WEIR_EFFECT_CKPT_STORE:
    case WEIR_EFFECT_CKPT_LOAD:
    case WEIR_EFFECT_CKPT_SWEEP:
        if (weir__jm_leads_in(jm, effect->epoch)) {
            weir__jm_ckpt_disk(jm, effect);
        }
        break;
    case WEIR_EFFECT_TM_LOST:
        weir__jm_link_drop(jm, effect->tm_id);
        break;
    case WEIR_EFFECT_ANSWER:
        effect->done(effect->ctx, effect->err.rc, &effect->err);
        break;
    }
}

void weir__jm_run_effects(struct weir_jm *jm)
{
    struct weir_effects *effects = weir_dispatcher_effects(jm->dispatcher);
    for (struct weir_effect *effect = weir_effects_take(effects); effect != NULL; effect = weir_effects_take(effects)) {
        run_effect(jm, effect);
        weir_effect_destroy(effect);
    }
}

/* After each mail its effects, so that none is carried out against a later state. */
static void run_mails(struct weir_jm *jm)
{
    weir_owner_assert(&jm->owner);
    for (int i = 0; i < MAILS_PER_ROUND && weir_mailbox_run(jm->mailbox, 1) > 0; i++) {
        weir__jm_run_effects(jm);
        weir__jm_reads_run(jm);
    }
    submit_deferred(jm);
}

/* What time it is. Whether the thread runs much later than it was to; from now on it is to run now. */
static struct weir_now look_back(struct weir_jm *jm)
{
    struct weir_now now = weir__jm_now(jm);
    int64_t away_ms = jm->due_ms == INT64_MAX ? 0 : now.mono_ms - jm->due_ms;
    if (away_ms > AWAY_LOGGED_MS) {
        weir_log(jm->options.log, WEIR_LOG_WARN, "was_away", "ms", WEIR_LOG_INT(away_ms), NULL);
    }
    if (away_ms > AWAY_MS) {
        weir_dispatcher_was_away(jm->dispatcher, away_ms, now);
    }
    jm->due_ms = now.mono_ms;
    return now;
}

void weir__jm_work(struct weir_jm *jm)
{
    run_mails(jm);
    weir__jm_log_tick(jm);
    weir__jm_reads_run(jm);
    struct weir_now now = look_back(jm); /* nothing is judged by a later time */
    if (weir_dispatcher_deadline_ms(jm->dispatcher, now) <= now.mono_ms) {
        weir_dispatcher_tick(jm->dispatcher, now);
    }
    weir__jm_replace_tick(jm);
    weir__jm_meet_all(jm);
    weir__jm_known_save(jm);
    if (weir_jm_peers_deadline_ms(jm->peers) <= now.mono_ms) {
        weir__jm_follow_members(jm);
        weir_jm_peers_tick(jm->peers);
    }
    weir__jm_run_effects(jm);
}

static void sleep_for_mail(struct weir_jm *jm, struct pollfd *fd, int64_t until_ms)
{
    weir_waker_prepare(jm->waker);
    if (!weir_mailbox_empty(jm->mailbox)) {
        weir_waker_cancel(jm->waker);
        return;
    }
    int64_t now_ms = weir_clock_mono_ms(jm->options.clock);
    if (jm->deferred != NULL) {
        until_ms = now_ms + 1; /* the pool is full: look again soon */
    }
    weir_waker_wait(jm->waker, until_ms == INT64_MAX ? -1 : until_ms <= now_ms ? 0 : until_ms - now_ms, fd, fd == NULL ? 0 : 1);
}

void weir__jm_sleep(struct weir_jm *jm, struct pollfd *fd, int64_t until_ms)
{
    const int64_t deadlines_ms[] = {weir_dispatcher_deadline_ms(jm->dispatcher, weir__jm_now(jm)), weir__jm_log_deadline_ms(jm),
                                    weir_jm_peers_deadline_ms(jm->peers), weir__jm_replace_deadline_ms(jm),
                                    weir__jm_reads_deadline_ms(jm)};
    for (size_t i = 0; i < sizeof(deadlines_ms) / sizeof(deadlines_ms[0]); i++) {
        until_ms = deadlines_ms[i] < until_ms ? deadlines_ms[i] : until_ms;
    }
    jm->due_ms = until_ms > jm->due_ms ? until_ms : jm->due_ms;
    sleep_for_mail(jm, fd, until_ms);
    (void)look_back(jm);
}

/* --- start-up --------------------------------------------------------------------------------------------------------- */
static enum weir_rc check_address(const struct weir_config *config, enum weir_config_key key, struct weir_error *err)
{
    const char *host = weir_config_string(config, key);
    bool loopback = strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
    bool tls = weir_config_bool(config, WEIR_CFG_TLS_ENABLED) && key != WEIR_CFG_REST_ADDRESS;
    if (!loopback && !tls && !weir_config_bool(config, WEIR_CFG_INSECURE)) {
        return weir_error_set(err, WEIR_INVALID, "%s is %s: a daemon listens beyond loopback only with TLS; use a loopback address, %s, or --insecure if "
                              "the network is trusted", weir_config_name(key), host, key == WEIR_CFG_REST_ADDRESS
                              ? "since the HTTP API has no TLS yet" : "security.ssl.internal.enabled (`weir certs init` makes the certificates)");
    }
    return WEIR_OK;
}

static enum weir_rc check_disk(const char *dir, struct weir_error *err)
{
    struct statvfs fs;
    if (access(dir, W_OK | X_OK) != 0) {
        return weir_error_set(err, WEIR_IO, "jobmanager.data.dir %s may not be written by this user: change its owner or set another", dir);
    }
    if (statvfs(dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < DISK_FREE_BYTES_MIN) {
        return weir_error_set(err, WEIR_RESOURCE, "jobmanager.data.dir %s has %llu MiB free, at least %d are needed: make room or set another", dir,
                              (unsigned long long)((uint64_t)fs.f_bavail * fs.f_frsize >> 20), DISK_FREE_BYTES_MIN >> 20);
    }
    return WEIR_OK;
}

static enum weir_rc check_machine(const struct weir_jm_options *options, struct weir_error *err)
{
    const char *dir = weir_config_string(options->config, WEIR_CFG_JM_DATA_DIR);
    enum weir_rc rc = check_address(options->config, WEIR_CFG_JM_RPC_ADDRESS, err);
    rc = rc == WEIR_OK ? check_address(options->config, WEIR_CFG_REST_ADDRESS, err) : rc;
    const char *checkpoints = weir_config_string(options->config, WEIR_CFG_CHECKPOINTS_DIR);
    if (rc == WEIR_OK && checkpoints[0] != '/') {
        rc = weir_error_set(err, WEIR_INVALID, "state.checkpoints.dir is \"%s\"; expected an absolute path, the same for every daemon", checkpoints);
    }
    if (rc == WEIR_OK) {
        rc = weir_fs_mkdirs(options->fs, dir, err);
        if (rc != WEIR_OK) {
            (void)weir_error_prefix(err, "jobmanager.data.dir (create it, or set another)");
        }
    }
    return rc == WEIR_OK ? check_disk(dir, err) : rc;
}

static enum weir_rc read_adaptive_settings(const struct weir_config *config, struct weir_adaptive_settings *out_adaptive, struct weir_error *err)
{
    const char *scheduler = weir_config_string(config, WEIR_CFG_SCHEDULER);
    bool enabled = strcmp(scheduler, "adaptive") == 0;
    if (!enabled && strcmp(scheduler, "default") != 0) {
        return weir_error_set(err, WEIR_INVALID,
                              "jobmanager.scheduler: \"%s\" is none: it is default (a job has the slots it asks for, or waits) or adaptive (with "
                              "too few slots it runs at lower parallelism)",
                              scheduler);
    }
    *out_adaptive = (struct weir_adaptive_settings){.enabled = enabled,
                                                    .wait_ms = weir_config_int(config, WEIR_CFG_ADAPTIVE_WAIT),
                                                    .stabilization_ms = weir_config_int(config, WEIR_CFG_ADAPTIVE_STABILIZATION),
                                                    .interval_ms = weir_config_int(config, WEIR_CFG_ADAPTIVE_INTERVAL),
                                                    .increase_min = (uint32_t)weir_config_int(config, WEIR_CFG_ADAPTIVE_INCREASE)};
    return WEIR_OK;
}

/* Everything but what the network or the log may call. */
static enum weir_rc prepare(struct weir_jm *jm, struct weir_error *err)
{
    const struct weir_config *config = jm->options.config;
    const struct weir_pool_options pool = {.name = "weir-io", .threads = POOL_THREADS, .jobs_max = POOL_JOBS_MAX};
    enum weir_rc rc = weir_waker_create(&jm->waker, err);
    if (rc == WEIR_OK) {
        jm->mailbox = weir_mailbox_create(MAILS_MAX, jm->waker);
        rc = weir_pool_create(&pool, &jm->pool, err);
    }
    return rc == WEIR_OK ? weir_dir_lock_open(weir_config_string(config, WEIR_CFG_JM_DATA_DIR), &jm->lock, err) : rc;
}

/* Who it is: known once it listens, since the kernel may have chosen the port. */
static enum weir_rc name_oneself(struct weir_jm *jm, const struct weir_adaptive_settings *adaptive, struct weir_error *err)
{
    const struct weir_config *config = jm->options.config;
    jm->own_address = weir_address_copy(weir_config_string(config, WEIR_CFG_JM_RPC_ADDRESS), weir_rpc_server_port(jm->server));
    enum weir_rc rc = weir_jm_founders_parse(weir_config_string(config, WEIR_CFG_JOBMANAGERS), jm->own_address,
                                             weir_config_bool(config, WEIR_CFG_JM_JOIN), &jm->founders, err);
    if (rc != WEIR_OK) {
        return rc;
    }
    const struct weir_dispatcher_options brain = {.node = jm->own_address,
                                                  .heartbeat_timeout_ms = weir_config_int(config, WEIR_CFG_HEARTBEAT_TIMEOUT),
                                                  .slot_timeout_ms = weir_config_int(config, WEIR_CFG_SLOT_TIMEOUT),
                                                  .expiration_ms = weir_config_int(config, WEIR_CFG_JOBSTORE_EXPIRATION),
                                                  .jobs_max = WEIR_DISPATCHER_JOBS_MAX,
                                                  .retained_max = (uint32_t)weir_config_int(config, WEIR_CFG_CHECKPOINTS_RETAINED),
                                                  .adaptive = *adaptive,
                                                  .log_sink = jm->options.sink,
                                                  .decode = jm->options.decode};
    jm->dispatcher = weir_dispatcher_create(&brain);
    jm->due_ms = INT64_MAX;
    return WEIR_OK;
}

static enum weir_rc listen_for_requests(struct weir_jm *jm, struct weir_error *err)
{
    const struct weir_config *config = jm->options.config;
    char address[300];
    (void)snprintf(address, sizeof(address), "tcp://%s:%lld", weir_config_string(config, WEIR_CFG_JM_RPC_ADDRESS),
                   (long long)weir_config_int(config, WEIR_CFG_JM_RPC_PORT));
    const struct weir_rpc_server_options options = {.address = address,
                                                    .cluster_id = weir_config_string(config, WEIR_CFG_CLUSTER_ID),
                                                    .role = WEIR_ROLE_JOBMANAGER,
                                                    .name = "jobmanager",
                                                    .protocol_version = WEIR_PROTOCOL_VERSION,
                                                    .tls = jm->tls,
                                                    .log = jm->options.log};
    const struct weir_rpc_server_callbacks callbacks = {.on_request = weir__jm_on_request, .on_peer_closed = weir__jm_on_peer_closed};
    enum weir_rc rc = weir_rpc_server_create(&options, &callbacks, jm, &jm->server, err);
    if (rc == WEIR_EXISTS) {
        (void)weir_error_prefix(err, "jobmanager.rpc.port is in use (stop what uses it, or set another; 0 lets the kernel choose)");
    }
    return rc;
}

enum weir_rc weir_jm_create(const struct weir_jm_options *options, struct weir_jm **out_jm, struct weir_error *err)
{
    struct weir_adaptive_settings adaptive;
    enum weir_rc rc = weir_config_check(options->config, err);
    rc = rc == WEIR_OK ? read_adaptive_settings(options->config, &adaptive, err) : rc;
    rc = rc == WEIR_OK ? check_machine(options, err) : rc;
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_jm *jm = weir_calloc(1, sizeof(*jm));
    jm->options = *options;
    weir_owner_take(&jm->owner);
    jm->links = weir_hmap_create(0);
    jm->executor.submit = executor_submit;
    jm->rest_address = weir_strdup("");
    rc = prepare(jm, err);
    rc = rc == WEIR_OK ? weir_tls_create_configured(options->config, WEIR_ROLE_JOBMANAGER, options->log, &jm->tls, err) : rc;
    rc = rc == WEIR_OK ? listen_for_requests(jm, err) : rc; /* what comes before the brain is there waits in the mailbox */
    rc = rc == WEIR_OK ? name_oneself(jm, &adaptive, err) : rc;
    rc = rc == WEIR_OK ? weir__jm_log_open(jm, err) : rc;
    if (rc != WEIR_OK) {
        weir_jm_destroy(jm);
        return rc;
    }
    *out_jm = jm;
    return WEIR_OK;
}

void weir_jm_set_rest_address(struct weir_jm *jm, const char *address)
{
    weir_owner_assert(&jm->owner);
    weir_free(jm->rest_address);
    jm->rest_address = weir_strdup(address);
    weir_jm_peers_hello_soon(jm->peers);
}

uint16_t weir_jm_rpc_port(const struct weir_jm *jm)
{
    return weir_rpc_server_port(jm->server);
}

/* --- running and leaving ---------------------------------------------------------------------------------------------- */
/* Answers every command still open: its outcome is unknown. */
static void retire(struct weir_jm *jm)
{
    struct weir_error err;
    (void)weir_error_set(&err, WEIR_UNKNOWN, "this JobManager is stopping: repeat the command, which goes on where it was");
    weir__jm_replace_abort(jm, &err);
    weir__jm_reads_abort(jm, &err);
    weir_dispatcher_leadership(jm->dispatcher, false, 0, weir__jm_now(jm));
    weir__jm_run_effects(jm);
}

static bool busy(const struct weir_jm *jm)
{
    return jm->calls > 0 || (jm->log != NULL && weir_raft_log_busy(jm->log));
}

/* Hands leadership over, lets what is under way end, answers what cannot be, and closes the mailbox. Time stands still for the dispatcher: it
 * would take the silence for the loss of every TaskManager. */
static void leave(struct weir_jm *jm)
{
    int64_t deadline_ms = weir_clock_mono_ms(jm->options.clock) + weir_config_int(jm->options.config, WEIR_CFG_SHUTDOWN_TIMEOUT);
    weir__jm_log_hand_over(jm, deadline_ms);
    jm->stopping = true;
    weir_rpc_server_stop(jm->server);
    weir__jm_links_stop(jm);
    weir_jm_peers_stop(jm->peers);
    while (busy(jm) && weir_clock_mono_ms(jm->options.clock) < deadline_ms) {
        run_mails(jm);
        if (busy(jm)) {
            sleep_for_mail(jm, NULL, deadline_ms);
        }
    }
    retire(jm);
    weir_mailbox_close(jm->mailbox);
}

enum weir_rc weir_jm_run(struct weir_jm *jm, int signal_fd, struct weir_error *err)
{
    struct pollfd fd = {.fd = signal_fd, .events = POLLIN};
    while (!jm->failed && fd.revents == 0) {
        weir__jm_work(jm);
        weir__jm_sleep(jm, &fd, INT64_MAX);
    }
    weir_log(jm->options.log, WEIR_LOG_INFO, "stopping", "jobs", WEIR_LOG_INT(weir_dispatcher_job_count(jm->dispatcher)), NULL);
    leave(jm);
    if (jm->failed) {
        *err = jm->failure;
        return err->rc;
    }
    return WEIR_OK;
}

void weir_jm_destroy(struct weir_jm *jm)
{
    if (jm == NULL) {
        return;
    }
    jm->stopping = true;
    weir_rpc_server_destroy(jm->server);
    weir__jm_links_destroy(jm);
    if (jm->dispatcher != NULL) {
        retire(jm);
    }
    if (jm->mailbox != NULL) {
        weir_mailbox_close(jm->mailbox);
    }
    weir_jm_peers_destroy(jm->peers);
    for (struct weir_work *work = jm->deferred; work != NULL; work = work->executor_private) {
        work->in_flight = false;
    }
    weir_pool_destroy(jm->pool); /* waits for an fsync under way, whose end nobody hears */
    weir_cluster_log_destroy(jm->log);
    weir_dispatcher_destroy(jm->dispatcher);
    weir_dir_lock_close(jm->lock);
    weir_hmap_destroy(jm->links);
    weir_mailbox_destroy(jm->mailbox);
    weir_waker_destroy(jm->waker);
    weir_tls_destroy(jm->tls);
    for (uint32_t i = 0; i < WEIR_JM_JOINERS_MAX; i++) {
        weir_free(jm->joiners[i].rpc_address);
        weir_free(jm->joiners[i].rest_address);
    }
    weir_jm_named_fini(&jm->named);
    weir_jm_founders_fini(&jm->founders);
    weir_buf_fini(&jm->known);
    weir_free(jm->reads.items);
    weir_free(jm->rest_address);
    weir_free(jm->own_address);
    weir_free(jm);
}
