/*
 * The two ends of a data-plane connection, on the links' thread. Internal to exchange/link.
 *
 * out: the producers' side, which dialed: takes elements out of local channels and sends them against credit.
 * in: the consumers' side, which accepted: puts what comes into local channels and gives credit back as tasks take it out.
 */
#ifndef WEIR_TASKMANAGER_EXCHANGE_LINK_PEER_H
#define WEIR_TASKMANAGER_EXCHANGE_LINK_PEER_H

#include "common/base/hmap.h"
#include "taskmanager/exchange/conn.h"
#include "taskmanager/exchange/link.h"
#include "taskmanager/exchange/outlet.h"

/* What both sides share of the links; owned by link.c. */
struct weir_link_env {
    const struct weir_links_options *options;
    struct weir_mailbox *mailbox;
    struct weir_hmap *expected; /* channel name -> struct weir_in_channel *, before its opening has come */
    uint64_t malformed;
    uint64_t frames_sent, frames_received;
    struct weir_conn_totals totals; /* dials in progress count as live too */
};

enum { WEIR_CHANNEL_NAME_MAX = 96, WEIR_CHANNEL_GROUP_MAX = 48 };

_Static_assert(32 + 5 * 11 < WEIR_CHANNEL_NAME_MAX && 32 + 11 < WEIR_CHANNEL_GROUP_MAX, "a job's id, numbers, and the slashes between them");

/* What is dropped together, "<job>/<region>"; and a channel's name, "<job>/<region>/<attempt>/<edge>/<from>/<to>". */
void weir__channel_group(const char *job_id, uint32_t region, char out[WEIR_CHANNEL_GROUP_MAX]);
void weir__channel_name(const struct weir_channel_id *id, char out[WEIR_CHANNEL_NAME_MAX]);

/* --- the producers' side --- */

struct weir_out_peer;

/* Dials "host:port", again until open_timeout_ms has passed. */
struct weir_out_peer *weir_out_peer_create(struct weir_link_env *env, const char *address);
void weir_out_peer_destroy(struct weir_out_peer *peer); /* accepts NULL */
const char *weir_out_peer_address(const struct weir_out_peer *peer);

/* Adds a channel, its consumer end taken; name as above. ready: raised by whoever pushes into the channel. */
void weir_out_peer_add_take(struct weir_out_peer *peer, const char *name, struct weir_channel *channel);

/* Sends what may be sent; redials when that is due. Returns the time of the next call that is due by itself (INT64_MAX: none). */
int64_t weir_out_peer_pump(struct weir_out_peer *peer, int64_t now_ms);

/* Lets go of the group's channels of attempts up to `attempt`. */
void weir_out_peer_drop(struct weir_out_peer *peer, const char *group, uint32_t attempt);

/* Whether nothing is left to send and nothing came of it: broken and without channels. */
bool weir_out_peer_spent(const struct weir_out_peer *peer);
bool weir_out_peer_connected(const struct weir_out_peer *peer);

/* --- the consumers' side --- */

struct weir_in_peer;

/* A channel that is expected, or attached to a connection. */
struct weir_in_channel {
    char name[WEIR_CHANNEL_NAME_MAX];
    const struct weir_schema *schema;
    struct weir_outlet outlet;
    int64_t expected_since_ms;
    struct weir_in_peer *peer; /* NULL while expected */
    uint32_t number;           /* on the peer's stream */
    uint32_t *costs;           /* encoded bytes of the batches handed on and not yet credited back: a ring of WEIR_LINK_CREDIT_BATCHES */
    uint32_t first, count;     /* of costs */
};

struct weir_in_channel *weir_in_channel_create_take(const char *name, const struct weir_schema *schema, struct weir_channel *channel,
                                                    int64_t now_ms);
/* Releases the producer end: the consumer gets CLOSED unless END went before. */
void weir_in_channel_destroy(struct weir_in_channel *channel);

struct weir_in_peer *weir_in_peer_create_take(struct weir_link_env *env, struct weir_stream *stream);
void weir_in_peer_destroy(struct weir_in_peer *peer); /* breaks its channels; accepts NULL */

/* Attaches expected channels whose opening came before; hands on what was kept; gives credit back; gives up a peer that does not say hello in
 * open_timeout_ms. Returns the time of the next call that is due by itself (INT64_MAX: none). */
int64_t weir_in_peer_pump(struct weir_in_peer *peer, int64_t now_ms);
void weir_in_peer_drop(struct weir_in_peer *peer, const char *group, uint32_t attempt);
bool weir_in_peer_over(const struct weir_in_peer *peer);

/* Whether a channel name is of the group and an attempt up to `attempt`. */
bool weir__channel_name_of(const char *name, const char *group, uint32_t attempt);

#endif
