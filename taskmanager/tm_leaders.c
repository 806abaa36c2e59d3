#include "taskmanager/tm_leaders.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/net/address.h"

#include <string.h>

enum { NONE = -1, DOUBT_SLACK_MS = 100 };

static const int64_t NEVER_MS = INT64_MIN / 2;

struct jobmanager {
    char address[WEIR_ADDRESS_BYTES_MAX];
    bool configured; /* else an answer has named it */
    bool named;      /* by the newest answer that names the members */
    bool wanted;     /* to be connected: not told yet */
    bool connected;
    bool asking;     /* a question is out */
    bool leading;    /* by its last answer, not used yet */
    uint64_t epoch;  /* by its last answer */
    int64_t asked_ms;
    int64_t not_before_ms; /* no registration */
};

struct weir_tm_leaders {
    struct jobmanager jms[WEIR_TM_LEADERS_MAX];
    uint32_t njms;
    uint64_t newest_epoch; /* accepted */
    int32_t registering, registered; /* at most one is not NONE */
    uint64_t epoch; /* of either */
    int64_t heartbeat_ms, timeout_ms, heard_ms;
    enum weir_tm_leaders_lost lost; /* not told yet */
};

/* The one with that address, one that is not used yet, or one that need not be kept; NULL: there is no room. */
static struct jobmanager *place(struct weir_tm_leaders *leaders, const char *address)
{
    struct jobmanager *forgettable = NULL;
    for (uint32_t i = 0; i < leaders->njms; i++) {
        struct jobmanager *jm = &leaders->jms[i];
        if (strcmp(jm->address, address) == 0) {
            return jm;
        }
        forgettable = !jm->configured && !jm->named && !jm->connected && !jm->asking ? jm : forgettable;
    }
    return leaders->njms < WEIR_TM_LEADERS_MAX ? &leaders->jms[leaders->njms++] : forgettable;
}

static struct jobmanager *know(struct weir_tm_leaders *leaders, const char *address, bool configured)
{
    struct jobmanager *jm = place(leaders, address);
    if (jm != NULL && strcmp(jm->address, address) != 0) {
        *jm = (struct jobmanager){.configured = configured, .wanted = true, .asked_ms = NEVER_MS, .not_before_ms = NEVER_MS};
        memcpy(jm->address, address, strlen(address) + 1);
    }
    return jm;
}

enum weir_rc weir_tm_leaders_create(const char *jobmanagers, struct weir_tm_leaders **out_leaders, struct weir_error *err)
{
    struct weir_tm_leaders *leaders = weir_calloc(1, sizeof(*leaders));
    leaders->registering = leaders->registered = NONE;
    enum weir_rc rc = WEIR_OK;
    for (const char *at = jobmanagers; rc == WEIR_OK;) {
        size_t len = strcspn(at, ",");
        size_t blank = strspn(at, " ");
        char *address = weir_strndup(at + (blank < len ? blank : len), blank < len ? len - blank : 0);
        for (size_t i = strlen(address); i > 0 && address[i - 1] == ' '; i--) {
            address[i - 1] = '\0';
        }
        if (!weir_address_valid(weir_slice_str(address))) {
            rc = weir_error_set(err, WEIR_INVALID, "`%s` is no JobManager's address: expected HOST:PORT, several separated by commas", address);
        } else if (know(leaders, address, true) == NULL) {
            rc = weir_error_set(err, WEIR_INVALID, "more than %d JobManagers", WEIR_TM_LEADERS_MAX);
        }
        weir_free(address);
        if (at[len] == '\0') {
            break;
        }
        at += len + 1;
    }
    if (rc != WEIR_OK) {
        weir_tm_leaders_destroy(leaders);
        return rc;
    }
    *out_leaders = leaders;
    return WEIR_OK;
}

void weir_tm_leaders_destroy(struct weir_tm_leaders *leaders)
{
    weir_free(leaders);
}

/* --- what happened --------------------------------------------------------------------------------------------------- */

static void lose(struct weir_tm_leaders *leaders, enum weir_tm_leaders_lost why)
{
    if (leaders->registered != NONE || leaders->registering != NONE) {
        leaders->registered = leaders->registering = NONE;
        leaders->lost = why;
    }
}

void weir_tm_leaders_connected(struct weir_tm_leaders *leaders, uint32_t jm)
{
    weir_assert(jm < leaders->njms);
    leaders->jms[jm].connected = true;
    leaders->jms[jm].asked_ms = NEVER_MS;
}

void weir_tm_leaders_disconnected(struct weir_tm_leaders *leaders, uint32_t jm)
{
    weir_assert(jm < leaders->njms);
    leaders->jms[jm].connected = false;
    leaders->jms[jm].leading = false;
    if (leaders->registered == (int32_t)jm || leaders->registering == (int32_t)jm) {
        lose(leaders, WEIR_TM_LEADER_CLOSED);
    }
}

void weir_tm_leaders_told(struct weir_tm_leaders *leaders, uint32_t jm, const struct weir_tm_leaders_word *word)
{
    weir_assert(jm < leaders->njms);
    struct jobmanager *from = &leaders->jms[jm];
    from->asking = false;
    from->leading = word != NULL && word->leading && from->connected;
    if (word == NULL) {
        return;
    }
    from->epoch = word->epoch;
    for (uint32_t i = 0; i < leaders->njms; i++) {
        leaders->jms[i].named = leaders->jms[i].named && word->njobmanagers == 0;
    }
    for (size_t i = 0; i < word->njobmanagers && i < WEIR_TM_LEADERS_MAX; i++) {
        struct jobmanager *member = weir_address_valid(weir_slice_str(word->jobmanagers[i])) ? know(leaders, word->jobmanagers[i], false) : NULL;
        if (member != NULL) {
            member->named = true;
        }
    }
    if (weir_address_valid(weir_slice_str(word->leader_address))) {
        (void)know(leaders, word->leader_address, false);
    }
}

void weir_tm_leaders_registered(struct weir_tm_leaders *leaders, uint64_t epoch, int64_t heartbeat_ms, int64_t timeout_ms, int64_t now_ms)
{
    weir_assert(leaders->registering != NONE);
    if (!weir_tm_leaders_accept_epoch(leaders, epoch)) {
        weir_tm_leaders_refused(leaders, now_ms);
        return;
    }
    leaders->registered = leaders->registering;
    leaders->registering = NONE;
    leaders->epoch = epoch;
    leaders->heartbeat_ms = heartbeat_ms > 0 ? heartbeat_ms : 1;
    leaders->timeout_ms = timeout_ms > 0 ? timeout_ms : 1;
    leaders->heard_ms = now_ms;
}

void weir_tm_leaders_refused(struct weir_tm_leaders *leaders, int64_t now_ms)
{
    weir_assert(leaders->registering != NONE);
    leaders->jms[leaders->registering].not_before_ms = now_ms + WEIR_TM_REGISTER_AGAIN_MS;
    leaders->registering = NONE;
}

void weir_tm_leaders_heard(struct weir_tm_leaders *leaders, int64_t now_ms)
{
    leaders->heard_ms = now_ms;
}

void weir_tm_leaders_disowned(struct weir_tm_leaders *leaders)
{
    if (leaders->registered != NONE) {
        leaders->jms[leaders->registered].leading = false;
        leaders->jms[leaders->registered].asked_ms = NEVER_MS;
        lose(leaders, WEIR_TM_LEADER_REFUSED);
    }
}

/* --- what to do ------------------------------------------------------------------------------------------------------ */

/* L2. */
static int32_t best(const struct weir_tm_leaders *leaders, int64_t now_ms)
{
    int32_t found = NONE;
    for (uint32_t i = 0; i < leaders->njms; i++) {
        const struct jobmanager *jm = &leaders->jms[i];
        bool eligible = jm->leading && jm->epoch >= leaders->newest_epoch && jm->not_before_ms <= now_ms;
        if (eligible && (found == NONE || jm->epoch > leaders->jms[found].epoch)) {
            found = (int32_t)i;
        }
    }
    return found;
}

static int64_t doubt_ms(const struct weir_tm_leaders *leaders)
{
    return leaders->heard_ms + 2 * leaders->heartbeat_ms + DOUBT_SLACK_MS;
}

/* When JobManager jm is to be asked; INT64_MAX: when something has happened. */
static int64_t ask_at_ms(const struct weir_tm_leaders *leaders, uint32_t jm, bool looking)
{
    const struct jobmanager *asked = &leaders->jms[jm];
    if (!asked->connected || asked->asking) {
        return INT64_MAX;
    }
    if (looking) {
        return asked->asked_ms + WEIR_TM_ASK_EVERY_MS;
    }
    return leaders->registered == (int32_t)jm ? asked->asked_ms + WEIR_TM_MEMBERS_EVERY_MS : INT64_MAX;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void choose(struct weir_tm_leaders *leaders, int64_t now_ms, bool may_register, struct weir_tm_leaders_todo *todo)
{
    if (leaders->registered != NONE && now_ms >= leaders->heard_ms + leaders->timeout_ms) {
        leaders->jms[leaders->registered].leading = false; /* what it said was before its silence */
        lose(leaders, WEIR_TM_LEADER_SILENT);
    }
    int32_t found = best(leaders, now_ms);
    if (found != NONE && leaders->jms[found].epoch > leaders->epoch) {
        lose(leaders, WEIR_TM_LEADER_SUPERSEDED);
    }
    if (found != NONE && leaders->registered == NONE && leaders->registering == NONE && may_register) {
        leaders->registering = found;
        leaders->epoch = leaders->jms[found].epoch;
        leaders->jms[found].leading = false; /* one answer, one registration */
        todo->registration = found;
    }
}

void weir_tm_leaders_step(struct weir_tm_leaders *leaders, int64_t now_ms, bool may_register, struct weir_tm_leaders_todo *out_todo)
{
    *out_todo = (struct weir_tm_leaders_todo){.registration = NONE, .next_ms = INT64_MAX};
    choose(leaders, now_ms, may_register, out_todo);
    out_todo->lost = leaders->lost;
    leaders->lost = WEIR_TM_LEADER_KEPT;
    bool looking = leaders->registered == NONE || now_ms >= doubt_ms(leaders);
    for (uint32_t i = 0; i < leaders->njms; i++) {
        struct jobmanager *jm = &leaders->jms[i];
        out_todo->connect |= (uint32_t)jm->wanted << i;
        jm->wanted = false;
        if (ask_at_ms(leaders, i, looking) <= now_ms) {
            jm->asking = true;
            jm->asked_ms = now_ms;
            out_todo->ask |= 1U << i;
        }
        out_todo->next_ms = least(out_todo->next_ms, ask_at_ms(leaders, i, looking));
    }
    if (leaders->registered != NONE) {
        out_todo->next_ms = least(out_todo->next_ms, leaders->heard_ms + leaders->timeout_ms);
        out_todo->next_ms = looking ? out_todo->next_ms : least(out_todo->next_ms, doubt_ms(leaders));
    }
    weir_assert(out_todo->next_ms > now_ms);
}

bool weir_tm_leaders_accept_epoch(struct weir_tm_leaders *leaders, uint64_t epoch)
{
    if (epoch < leaders->newest_epoch) {
        return false;
    }
    leaders->newest_epoch = epoch;
    return true;
}

int32_t weir_tm_leaders_leader(const struct weir_tm_leaders *leaders)
{
    return leaders->registered;
}

uint64_t weir_tm_leaders_epoch(const struct weir_tm_leaders *leaders)
{
    return leaders->registered != NONE ? leaders->epoch : 0;
}

uint32_t weir_tm_leaders_count(const struct weir_tm_leaders *leaders)
{
    return leaders->njms;
}

const char *weir_tm_leaders_address(const struct weir_tm_leaders *leaders, uint32_t jm)
{
    weir_assert(jm < leaders->njms);
    return leaders->jms[jm].address;
}
