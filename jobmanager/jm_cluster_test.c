/*
 * Three whole JobManagers in one process, and a TaskManager that is played by the test (jm_cluster_test_kit.h): one is elected and leads, dies or
 * leaves, and the next takes over what runs.
 */
#include "jobmanager/jm_cluster_test_kit.h"

/* --- tests -------------------------------------------------------------------------------------------------------------- */
START_TEST(a_job_survives_its_leaders)
{
    struct cluster c;
    uint64_t epoch = 0;
    cluster_init(&c);
    uint32_t leader = start_job(&c, &epoch);
    for (int round = 0; round < 3; round++) { /* killed, or asked to go */
        struct node *standby = &c.nodes[(leader + 1) % FOUNDERS];
        ck_assert_int_eq(tm_register(standby, true), WEIR_REFUSED);
        ck_assert_int_eq(tm_ask_lease(standby, epoch), WEIR_UNKNOWN);
        uint64_t old_epoch = epoch;
        uint32_t old = leader;
        node_stop(&c.nodes[old], round != 1);
        leader = wait_for_leader(&c, &epoch);
        ck_assert_uint_ne(leader, old);
        ck_assert_int_eq(tm_register(&c.nodes[leader], true), WEIR_OK);
        wait_until_state(&c.nodes[leader], WEIR_JOB_RUNNING);
        ck_assert_int_eq(tm_ask_lease(&c.nodes[leader], old_epoch), WEIR_UNKNOWN);
        ck_assert_int_eq(tm_ask_lease(&c.nodes[leader], epoch), WEIR_OK);
        ck_assert_int_eq(ask(&c.nodes[leader], submit, NULL, NULL), WEIR_OK); /* again: it is there */
        node_start(&c.nodes[old]);
        node_started(&c.nodes[old]);
        wait_until_role(&c.nodes[leader], c.nodes[old].address, WEIR_JM_ROLE_STANDBY);
    }
    ck_assert_uint_eq(c.deployments, 1); /* nothing was started anew, and nothing told to end */
    ck_assert_uint_eq(c.cancels, 0);
    cluster_fini(&c);
}
END_TEST

START_TEST(a_standby_sends_clients_to_the_leader)
{
    struct cluster c;
    uint64_t epoch = 0;
    struct weir_buf body = {0};
    char expected[64];
    cluster_init(&c);
    uint32_t leader = wait_for_leader(&c, &epoch);
    const struct node *standby = &c.nodes[(leader + 1) % FOUNDERS];
    (void)snprintf(expected, sizeof(expected), "127.0.0.1:%u leads", c.nodes[leader].rest_port);
    int64_t deadline_ms = now_ms() + WAIT_MS;
    while (get(standby, "/jobs/overview?x=1", &body) != 307) { /* until it has heard who leads, and where */
        ck_assert_ptr_nonnull(strstr((const char *)body.data, "no leader"));
        ck_assert_msg(now_ms() < deadline_ms, "%s", (const char *)body.data);
        rest(&c);
    }
    ck_assert_msg(strstr((const char *)body.data, expected) != NULL, "%s", (const char *)body.data);
    ck_assert_uint_eq(get(standby, "/cluster", &body), 307);
    ck_assert_uint_eq(get(standby, "/jobmanager/config", &body), 200);
    ck_assert_uint_eq(get(&c.nodes[leader], "/jobs/overview", &body), 200);
    ck_assert_uint_eq(get(&c.nodes[leader], "/cluster", &body), 200);
    ck_assert_ptr_nonnull(strstr((const char *)body.data, c.nodes[leader].address));
    /* without a majority nobody leads, and one still says what it knows */
    node_stop(&c.nodes[leader], true);
    node_stop(&c.nodes[(leader + 2) % FOUNDERS], true);
    while (get(standby, "/jobs/overview", &body) != 503) {
        ck_assert_msg(now_ms() < deadline_ms + WAIT_MS, "%s", (const char *)body.data);
        rest(&c);
    }
    ck_assert_ptr_nonnull(strstr((const char *)body.data, "no leader is elected"));
    ck_assert_uint_eq(get(standby, "/cluster", &body), 200);
    ck_assert_ptr_nonnull(strstr((const char *)body.data, "\"leader\":null"));
    weir_buf_fini(&body);
    cluster_fini(&c);
}
END_TEST

/* A leader that has lost its majority does not know it at once: it may not say that an attempt is the present one. */
START_TEST(no_lease_without_a_majority)
{
    struct cluster c;
    uint64_t epoch = 0;
    cluster_init(&c);
    uint32_t leader = start_job(&c, &epoch);
    node_stop(&c.nodes[(leader + 1) % FOUNDERS], true);
    node_stop(&c.nodes[(leader + 2) % FOUNDERS], true);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(tm_ask_lease_within(&c.nodes[leader], epoch, 1000), WEIR_UNKNOWN);
    }
    node_start(&c.nodes[(leader + 1) % FOUNDERS]);
    node_started(&c.nodes[(leader + 1) % FOUNDERS]);
    epoch--; /* the old one may go on */
    leader = wait_for_leader(&c, &epoch);
    ck_assert_int_eq(tm_register(&c.nodes[leader], true), WEIR_OK);
    int64_t deadline_ms = now_ms() + WAIT_MS;
    while (tm_ask_lease(&c.nodes[leader], epoch) != WEIR_OK) {
        ck_assert_msg(now_ms() < deadline_ms, "no lease");
        rest(&c);
        leader = (epoch--, wait_for_leader(&c, &epoch)); /* it may have changed once more */
        (void)tm_register(&c.nodes[leader], true);
    }
    ck_assert_uint_eq(c.deployments, 1);
    cluster_fini(&c);
}
END_TEST

/* What the command of a person does; returns who leads then. */
static uint32_t replace_until_done(struct cluster *c, uint32_t leader, uint64_t *epoch, const char *old_address, const char *new_address)
{
    int64_t deadline_ms = now_ms() + WAIT_MS;
    while (ask(&c->nodes[leader], replace, old_address, new_address) != WEIR_OK) {
        ck_assert_msg(now_ms() < deadline_ms, "%s", c->answer_err.text);
        bool not_heard = c->answer_rc == WEIR_NOT_FOUND; /* the next leader, of the new one, so far */
        ck_assert_msg(not_heard || c->answer_rc == WEIR_AGAIN || c->answer_rc == WEIR_UNKNOWN || c->answer_rc == WEIR_REFUSED, "%s",
                      c->answer_err.text);
        rest(c);
        leader = ((*epoch)--, wait_for_leader(c, epoch));
    }
    return leader;
}

/* Nor may it say what it knows of jobs. */
START_TEST(no_answer_without_a_majority)
{
    struct cluster c;
    uint64_t epoch = 0;
    struct weir_buf body = {0};
    cluster_init(&c);
    uint32_t leader = start_job(&c, &epoch);
    ck_assert_uint_eq(get(&c.nodes[leader], "/jobs", &body), 200);
    node_stop(&c.nodes[(leader + 1) % FOUNDERS], true);
    node_stop(&c.nodes[(leader + 2) % FOUNDERS], true);
    for (int i = 0; i < 5; i++) {
        ck_assert_uint_eq(get(&c.nodes[leader], "/jobs", &body), 503);
    }
    unsigned status = get(&c.nodes[leader], "/cluster", &body);
    ck_assert_msg(status == 503 || strstr((const char *)body.data, "\"leader\":null") != NULL, "%s", (const char *)body.data);
    weir_buf_fini(&body);
    cluster_fini(&c);
}
END_TEST

/* _i: the new one stands where the old one stood, or elsewhere; the old one is a standby, or leads and is alive. */
START_TEST(one_is_replaced)
{
    bool elsewhere = _i > 0;
    bool leads = _i == 2;
    struct cluster c;
    uint64_t epoch = 0;
    char command[128];
    cluster_init(&c);
    uint32_t leader = start_job(&c, &epoch);
    for (uint32_t i = 0; i < FOUNDERS; i++) {
        wait_until_role(&c.nodes[leader], c.nodes[i].address, i == leader ? WEIR_JM_ROLE_LEADER : WEIR_JM_ROLE_STANDBY);
    }
    wait_until_recorded(&c.nodes[leader], FOUNDERS);
    uint32_t old = leads ? leader : (leader + 1) % FOUNDERS;
    struct node *fresh = &c.nodes[elsewhere ? FOUNDERS : old];
    ck_assert_int_eq(ask(&c.nodes[leader], replace, c.nodes[old].address, "127.0.0.1:1"), WEIR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(c.answer_err.text, "jobmanager.join=true"));
    ck_assert_int_eq(ask(&c.nodes[leader], replace, "nonsense", "127.0.0.1:1"), WEIR_INVALID);
    ck_assert_int_eq(ask(&c.nodes[leader], replace, c.nodes[old].address, c.nodes[old].address), WEIR_NOT_FOUND); /* nobody who joins there */
    if (!leads) {
        node_stop(&c.nodes[old], true);
    }
    if (!elsewhere) { /* its directory is lost: it may not begin anew by itself */
        (void)snprintf(command, sizeof(command), "rm -rf %s/data-%u", c.dir, old);
        ck_assert_int_eq(system(command), 0);
        node_start(fresh);
        ck_assert_int_eq(node_end(fresh), WEIR_STATE);
        ck_assert_ptr_nonnull(strstr(fresh->err.text, "replace-jobmanager"));
        (void)snprintf(command, sizeof(command), "rm -rf %s/data-%u", c.dir, old);
        ck_assert_int_eq(system(command), 0);
    }
    set(fresh, "jobmanager.join=true");
    node_start(fresh);
    node_started(fresh);
    wait_until_role(&c.nodes[leader], fresh->address, WEIR_JM_ROLE_JOINING);
    ck_assert_int_eq(ask(&c.nodes[leader], replace, "127.0.0.1:1", fresh->address), WEIR_NOT_FOUND); /* there is no such member */
    leader = replace_until_done(&c, leader, &epoch, c.nodes[old].address, fresh->address);
    ck_assert(!leads || leader != old);
    ck_assert_int_eq(ask(&c.nodes[leader], replace, c.nodes[old].address, fresh->address), WEIR_OK); /* once more: nothing */
    wait_until_role(&c.nodes[leader], c.nodes[old].address, WEIR_JM_ROLE_REMOVED);
    if (leads) { /* it learns that it is none any more */
        ck_assert_int_eq(node_end(&c.nodes[old]), WEIR_STATE);
        ck_assert_ptr_nonnull(strstr(c.nodes[old].err.text, "removed"));
    }
    /* the new one carries its part: with it and one more there is a majority */
    uint32_t third = 0;
    while (third == leader || third == old || &c.nodes[third] == fresh) {
        third++;
    }
    wait_until_role(&c.nodes[leader], fresh->address, leader == FOUNDERS ? WEIR_JM_ROLE_LEADER : WEIR_JM_ROLE_STANDBY);
    node_stop(&c.nodes[third], true);
    leader = (epoch--, wait_for_leader(&c, &epoch));
    ck_assert_int_eq(tm_register(&c.nodes[leader], true), WEIR_OK);
    wait_until_state(&c.nodes[leader], WEIR_JOB_RUNNING);
    ck_assert_uint_eq(c.deployments, 1);
    /* it is a member like the others, whatever its configuration says of joining */
    node_stop(fresh, true);
    node_start(fresh);
    node_started(fresh);
    cluster_fini(&c);
}
END_TEST

/* Starts that one, which joins; the leader hears of it. */
static void join(struct node *leader, struct node *fresh)
{
    set(fresh, "jobmanager.join=true");
    node_start(fresh);
    node_started(fresh);
    wait_until_role(leader, fresh->address, WEIR_JM_ROLE_JOINING);
}

/* Kills leaders until one leads that was added later. */
static uint32_t wait_until_leads(struct cluster *c, uint32_t wanted, uint64_t *epoch)
{
    int64_t deadline_ms = now_ms() + WAIT_MS;
    uint32_t leader = ((*epoch)--, wait_for_leader(c, epoch));
    while (leader != wanted) {
        ck_assert_msg(now_ms() < deadline_ms, "it never leads");
        node_stop(&c->nodes[leader], true);
        uint32_t next = wait_for_leader(c, epoch);
        node_start(&c->nodes[leader]);
        node_started(&c->nodes[leader]);
        wait_until_role(&c->nodes[next], c->nodes[leader].address, WEIR_JM_ROLE_STANDBY);
        leader = ((*epoch)--, wait_for_leader(c, epoch));
    }
    return leader;
}

/* One that joins has only founders in its configuration: they tell it of the one that was added later, and leads. So it is told to TaskManagers
 * by any of them, also by the one that waits. */
START_TEST(one_joins_under_a_leader_that_joined)
{
    struct cluster c;
    uint64_t epoch = 0;
    cluster_init(&c);
    uint32_t leader = wait_for_leader(&c, &epoch);
    wait_until_recorded(&c.nodes[leader], FOUNDERS);
    uint32_t lost = (leader + 1) % FOUNDERS;
    struct node *first = &c.nodes[FOUNDERS];
    struct node *second = &c.nodes[FOUNDERS + 1];
    node_stop(&c.nodes[lost], true);
    join(&c.nodes[leader], first);
    leader = replace_until_done(&c, leader, &epoch, c.nodes[lost].address, first->address);
    leader = wait_until_leads(&c, FOUNDERS, &epoch);
    uint32_t alive = (lost + 1) % FOUNDERS;
    uint32_t dead = (lost + 2) % FOUNDERS;
    wait_until_role(first, c.nodes[dead].address, WEIR_JM_ROLE_STANDBY);
    node_stop(&c.nodes[dead], true);
    join(first, second); /* by way of the one founder that lives */
    wait_until_named(second, first->address);
    node_stop(&c.nodes[alive], true); /* its word holds when it has gone */
    node_start(&c.nodes[alive]);
    node_started(&c.nodes[alive]);
    leader = (epoch--, wait_for_leader(&c, &epoch));
    wait_until_role(&c.nodes[leader], second->address, WEIR_JM_ROLE_JOINING);
    leader = replace_until_done(&c, leader, &epoch, c.nodes[dead].address, second->address);
    wait_until_role(&c.nodes[leader], c.nodes[dead].address, WEIR_JM_ROLE_REMOVED);
    node_stop(&c.nodes[alive], true); /* both of them were added later, and are a majority */
    leader = (epoch--, wait_for_leader(&c, &epoch));
    ck_assert_uint_ge(leader, FOUNDERS);
    cluster_fini(&c);
}
END_TEST

/* Its log names two that are gone, and so does its configuration. Those who took their places say hello, and it answers. */
START_TEST(one_that_was_away_finds_those_who_took_the_others_places)
{
    struct cluster c;
    uint64_t epoch = 0;
    cluster_init(&c);
    uint32_t leader = wait_for_leader(&c, &epoch);
    wait_until_recorded(&c.nodes[leader], FOUNDERS);
    uint32_t away = (leader + 1) % FOUNDERS;
    node_stop(&c.nodes[away], true);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t old = (away + 1 + i) % FOUNDERS;
        leader = (epoch--, wait_for_leader(&c, &epoch));
        join(&c.nodes[leader], &c.nodes[FOUNDERS + i]);
        leader = replace_until_done(&c, leader, &epoch, c.nodes[old].address, c.nodes[FOUNDERS + i].address);
        ck_assert_int_eq(node_end(&c.nodes[old]), WEIR_STATE);
    }
    node_start(&c.nodes[away]);
    node_started(&c.nodes[away]);
    wait_until_named(&c.nodes[away], c.nodes[leader].address);
    wait_until_role(&c.nodes[away], c.nodes[leader].address, WEIR_JM_ROLE_LEADER); /* by its own log */
    node_stop(&c.nodes[leader], true); /* and it has a vote that counts */
    leader = wait_for_leader(&c, &epoch);
    wait_until_role(&c.nodes[leader], c.nodes[leader].address, WEIR_JM_ROLE_LEADER);
    cluster_fini(&c);
}
END_TEST

/* The others have restarted, and no log is committed yet: they know all the same whose directory was lost. */
START_TEST(a_lost_directory_is_known_without_a_leader)
{
    struct cluster c;
    uint64_t epoch = 0;
    char command[128];
    cluster_init(&c);
    uint32_t leader = wait_for_leader(&c, &epoch);
    wait_until_recorded(&c.nodes[leader], FOUNDERS);
    uint32_t other = (leader + 1) % FOUNDERS;
    uint32_t lost = (leader + 2) % FOUNDERS;
    wait_until_recorded(&c.nodes[other], FOUNDERS);
    node_stop(&c.nodes[lost], true);
    node_stop(&c.nodes[leader], true);
    node_stop(&c.nodes[other], true);
    (void)snprintf(command, sizeof(command), "rm -rf %s/data-%u", c.dir, lost);
    ck_assert_int_eq(system(command), 0);
    node_start(&c.nodes[other]);
    node_started(&c.nodes[other]);
    node_start(&c.nodes[lost]);
    ck_assert_int_eq(node_end(&c.nodes[lost]), WEIR_STATE);
    ck_assert_ptr_nonnull(strstr(c.nodes[lost].err.text, "replace-jobmanager"));
    cluster_fini(&c);
}
END_TEST

/* What a candidate asks, with a term that makes whoever believes it a follower. */
static enum weir_rc ask_for_vote(struct node *to, struct weir_rpc_client *client, uint64_t to_id, uint64_t from, uint64_t incarnation, uint64_t term)
{
    struct weir_buf bytes = {0};
    struct weir_buf part = {0};
    Weir__Raft__RequestVote vote = WEIR__RAFT__REQUEST_VOTE__INIT;
    Weir__Raft__Message message = WEIR__RAFT__MESSAGE__INIT;
    Weir__Raft__Chunk chunk = WEIR__RAFT__CHUNK__INIT;
    Weir__Raft__RaftRequest request = WEIR__RAFT__RAFT_REQUEST__INIT;
    vote.term = term;
    vote.candidate_id = from;
    vote.last_log_index = 1000000;
    vote.last_log_term = term - 1;
    vote.disrupt_leader = true;
    message.body_case = WEIR__RAFT__MESSAGE__BODY_REQUEST_VOTE;
    message.request_vote = &vote;
    weir_pb_encode(&message.base, &bytes);
    chunk.number = term;
    chunk.message_bytes = bytes.len;
    chunk.bytes = weir_pb_bytes(weir_buf_slice(&bytes));
    weir_pb_encode(&chunk.base, &part);
    request.from = from;
    request.incarnation = incarnation;
    request.to = to_id;
    request.chunk = weir_pb_bytes(weir_buf_slice(&part));
    enum weir_rc rc = call_by(to->c, client, WEIR_METHOD_RAFT, &request.base, WAIT_MS);
    weir_buf_fini(&part);
    weir_buf_fini(&bytes);
    return rc;
}

/* As an empty JobManager there that waits to be let in. */
static enum weir_rc say_hello(struct node *to, struct weir_rpc_client *client, const char *address)
{
    char *text = (char *)(uintptr_t)address;
    Weir__Raft__HelloRequest hello = WEIR__RAFT__HELLO_REQUEST__INIT;
    hello.id = 4711;
    hello.incarnation = 4711;
    hello.rpc_address = text;
    hello.rest_address = text;
    hello.empty = true;
    return call_by(to->c, client, WEIR_METHOD_JM_HELLO, &hello.base, WAIT_MS);
}

/* Raft, and who is who, is a matter of JobManagers: of others nothing is believed. The same words of a JobManager are. _i: with certificates. */
START_TEST(who_is_no_jobmanager_has_no_say_among_them)
{
    enum { FAR = 1000000 }; /* no election comes there by itself */
    static const char here[] = "127.0.0.1:2";
    static const char wrong_here[] = "127.0.0.1:1";
    static const char *const roles[] = {WEIR_ROLE_TASKMANAGER, "client", WEIR_ROLE_JOBMANAGER /* but its certificate is a TaskManager's */};
    bool secured = _i == 1;
    struct cluster c;
    uint64_t epoch = 0;
    cluster_init_secured(&c, secured);
    struct node *node = &c.nodes[wait_for_leader(&c, &epoch)];
    const struct node *other = node == &c.nodes[0] ? &c.nodes[1] : &c.nodes[0];
    wait_until_role(node, node->address, WEIR_JM_ROLE_LEADER);
    wait_until_recorded(node, FOUNDERS);
    wait_until_role(node, other->address, WEIR_JM_ROLE_STANDBY);
    uint32_t candidate = member_at(&c, other->address);
    uint64_t from = c.view.members[candidate].id;
    uint64_t incarnation = c.incarnations[candidate];
    uint64_t to = c.view.members[member_at(&c, node->address)].id;
    for (uint32_t i = 0; i < (secured ? 3 : 2); i++) {
        const char *expected = i == 0    ? "only a JobManager"
                               : secured ? "certificate is for \"taskmanager\""
                                         : "serves TaskManagers and JobManagers only";
        struct weir_rpc_client *client = client_of(node, roles[i], c.tm_tls);
        ck_assert_int_eq(ask_for_vote(node, client, to, from, incarnation, epoch + UINT64_C(2) * FAR), WEIR_REFUSED);
        ck_assert_msg(strstr(c.call_text, expected) != NULL, "%s", c.call_text);
        ck_assert_int_eq(say_hello(node, client, wrong_here), WEIR_REFUSED);
        ck_assert_msg(strstr(c.call_text, expected) != NULL, "%s", c.call_text);
        weir_rpc_client_destroy(client);
    }
    struct weir_rpc_client *client = client_of(node, WEIR_ROLE_JOBMANAGER, c.jm_tls);
    Weir__Control__RegisterRequest request = WEIR__CONTROL__REGISTER_REQUEST__INIT;
    ck_assert_int_eq(call_by(&c, client, WEIR_METHOD_REGISTER, &request.base, WAIT_MS), WEIR_UNSUPPORTED);
    ck_assert_int_eq(say_hello(node, client, here), WEIR_OK);
    wait_until_role(node, here, WEIR_JM_ROLE_JOINING);
    ck_assert_uint_eq(member_at(&c, wrong_here), c.view.nmembers);
    ck_assert_int_eq(ask_for_vote(node, client, to, from, incarnation, epoch + FAR), WEIR_OK);
    weir_rpc_client_destroy(client);
    uint64_t before = epoch;
    epoch += FAR - 1;
    (void)wait_for_leader(&c, &epoch);
    ck_assert_uint_lt(epoch, before + UINT64_C(2) * FAR);
    cluster_fini(&c);
}
END_TEST

Suite *jm_cluster_suite(void);

Suite *jm_cluster_suite(void)
{
    Suite *suite = suite_create("jm_cluster");
    TCase *tcase = tcase_create("jm_cluster");
    tcase_add_test(tcase, a_job_survives_its_leaders);
    tcase_add_test(tcase, a_standby_sends_clients_to_the_leader);
    tcase_add_test(tcase, no_lease_without_a_majority);
    tcase_add_test(tcase, no_answer_without_a_majority);
    tcase_add_loop_test(tcase, one_is_replaced, 0, 3);
    tcase_add_test(tcase, one_joins_under_a_leader_that_joined);
    tcase_add_test(tcase, one_that_was_away_finds_those_who_took_the_others_places);
    tcase_add_test(tcase, a_lost_directory_is_known_without_a_leader);
    tcase_add_loop_test(tcase, who_is_no_jobmanager_has_no_say_among_them, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
