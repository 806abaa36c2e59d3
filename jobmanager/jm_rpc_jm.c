/* Between JobManagers: Raft's messages, and who each of them is. */
#include "common/base/mem.h"
#include "jobmanager/jm_internal.h"
#include "proto/methods.h"
#include "proto/pb.h"
#include "proto/raft.pb-c.h"

void weir__jm_raft_request(const struct weir_jm *jm, uint64_t to, struct weir_slice chunk, struct weir_buf *out)
{
    Weir__Raft__RaftRequest message;
    weir__raft__raft_request__init(&message);
    message.from = weir__jm_id(jm);
    message.incarnation = weir__jm_incarnation(jm);
    message.to = to;
    message.chunk = weir_pb_bytes(chunk);
    weir_pb_encode(&message.base, out);
}

void weir__jm_hello(struct weir_jm *jm, struct weir_buf *out)
{
    Weir__Raft__HelloRequest message;
    weir__raft__hello_request__init(&message);
    message.id = weir__jm_id(jm);
    message.incarnation = weir__jm_incarnation(jm);
    message.rpc_address = jm->own_address;
    message.rest_address = jm->rest_address;
    message.empty = weir__jm_is_empty(jm);
    weir_pb_encode(&message.base, out);
}

/* (M8): whoever comes with a member's id has its directory, or is nobody. */
static enum weir_rc check_incarnation(const struct weir_jm *jm, uint64_t id, uint64_t incarnation, struct weir_error *err)
{
    const struct weir_meta_member *known = weir_meta_member(weir_dispatcher_meta(jm->dispatcher), id);
    if (known != NULL && known->removed) {
        return weir_error_set(err, WEIR_STALE,
                              "the JobManager at %s was removed from the cluster: stop it; to use its machine again, start it with an empty "
                              "jobmanager.data.dir and jobmanager.join=true, then: weir cluster replace-jobmanager",
                              known->rpc_address);
    }
    uint64_t before = weir__jm_known_incarnation(jm, id);
    if (before != 0 && before != incarnation) {
        return weir_error_set(err, WEIR_REFUSED,
                              "this JobManager had another data directory before: it was lost, and this one may not vote in its place. Start it with "
                              "an empty directory and jobmanager.join=true, then: weir cluster replace-jobmanager");
    }
    return WEIR_OK;
}

static void handle_raft(struct weir_jm *jm, struct weir_rpc_request *request)
{
    Weir__Raft__RaftRequest *message = NULL;
    struct weir_error err;
    enum weir_rc rc = weir_pb_decode(&weir__raft__raft_request__descriptor, weir_rpc_request_body(request), &message, &err);
    if (rc == WEIR_OK && jm->log == NULL) {
        rc = weir_error_set(&err, WEIR_AGAIN, "this JobManager has not opened its log yet");
    }
    if (rc == WEIR_OK && message->to != weir__jm_id(jm)) {
        rc = weir_error_set(&err, WEIR_REFUSED, "the JobManager at %s is not who the message is for", jm->own_address);
    }
    if (rc == WEIR_OK) {
        rc = check_incarnation(jm, message->from, message->incarnation, &err);
    }
    if (rc == WEIR_OK) {
        rc = weir_raft_log_receive(jm->log, message->from, weir_slice(message->chunk.data, message->chunk.len), &err);
    }
    if (rc == WEIR_OK) {
        const struct weir_raft_member *member = weir__jm_member(jm, message->from);
        if (member != NULL) { /* who votes and acknowledges is to be known at once by its directory, not only when it says hello */
            weir__jm_met(jm, message->from, message->incarnation, member->address, "");
        }
        weir_rpc_reply(request, WEIR_OK, weir_slice(NULL, 0)); /* an empty Ack */
    } else {
        weir_log(jm->options.log, WEIR_LOG_DEBUG, "raft_message_refused", "peer", weir_rpc_request_peer_name(request), "why", err.text, NULL);
        weir__jm_reply_error(request, &err);
    }
    weir_pb_free(message);
}

struct members {
    Weir__Raft__Members message;
    char *addresses[WEIR_RAFT_MEMBERS_MAX];
};

/* Who they are, by the own log; NULL: it does not say. Borrows from both. */
static Weir__Raft__Members *name_members(const struct weir_jm *jm, struct members *members)
{
    const struct weir_raft_member *items = NULL;
    uint32_t count = weir__jm_members(jm, &items);
    struct weir_raft_core_view view = {.last_term = 0};
    if (count > 0) {
        weir_raft_log_view(jm->log, &view);
    }
    if (view.last_term == 0) {
        return NULL;
    }
    weir__raft__members__init(&members->message);
    members->message.jobmanagers = members->addresses;
    members->message.n_jobmanagers = count;
    members->message.last_log_term = view.last_term;
    members->message.last_log_index = view.last_index;
    for (uint32_t i = 0; i < count; i++) {
        members->addresses[i] = (char *)(uintptr_t)items[i].address;
    }
    return &members->message;
}

static void handle_hello(struct weir_jm *jm, struct weir_rpc_request *request)
{
    Weir__Raft__HelloRequest *message = NULL;
    struct weir_error err;
    enum weir_rc rc = weir_pb_decode(&weir__raft__hello_request__descriptor, weir_rpc_request_body(request), &message, &err);
    if (rc == WEIR_OK) {
        rc = weir_jm_address_check(weir_slice_str(message->rpc_address), &err);
    }
    const struct weir_meta_member *known = NULL;
    if (rc == WEIR_OK) {
        known = weir_meta_member(weir_dispatcher_meta(jm->dispatcher), message->id);
        rc = known != NULL && known->removed ? check_incarnation(jm, message->id, message->incarnation, &err) : WEIR_OK;
    }
    if (rc == WEIR_OK) {
        struct weir_raft_core_view view = {.term = 0};
        if (jm->log != NULL) {
            weir_raft_log_view(jm->log, &view);
        }
        /* One that founds is not known by its incarnation. That its directory is not empty any more says only that it was started before, or that a
         * change which was to add it has come to nothing: who is a member already is none that waits. */
        if (message->id != 0 && message->id == message->incarnation) {
            weir__jm_met_joiner(jm, message->incarnation, message->rpc_address, message->rest_address);
        }
        weir__jm_met(jm, message->id, message->incarnation, message->rpc_address, message->rest_address);
        Weir__Raft__HelloReply reply;
        weir__raft__hello_reply__init(&reply);
        reply.id = weir__jm_id(jm);
        reply.incarnation = weir__jm_incarnation(jm);
        reply.empty = weir__jm_is_empty(jm);
        reply.term = view.term;
        reply.known_incarnation = weir__jm_known_incarnation(jm, message->id);
        reply.rest_address = jm->rest_address;
        struct members members;
        reply.members = name_members(jm, &members);
        weir__jm_reply_message(request, &reply.base);
    } else {
        weir__jm_reply_error(request, &err);
    }
    weir_pb_free(message);
}

void weir__jm_serve_jm(struct weir_jm *jm, struct weir_rpc_request *request_take)
{
    if (weir_rpc_request_method(request_take) == WEIR_METHOD_RAFT) {
        handle_raft(jm, request_take);
    } else if (weir_rpc_request_method(request_take) == WEIR_METHOD_JM_HELLO) {
        handle_hello(jm, request_take);
    } else {
        weir_rpc_reply(request_take, WEIR_UNSUPPORTED, weir_slice_str("a JobManager does not serve this method to JobManagers"));
    }
}
