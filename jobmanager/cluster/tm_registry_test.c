#include "jobmanager/cluster/tm_registry.h"

#include <check.h>
#include <stdio.h>

static struct weir_tm_info info(const char *id)
{
    return (struct weir_tm_info){.id = id, .rpc_address = "tcp://h:1", .data_address = "h:2", .version = "0", .slots = 2};
}

static enum weir_rc reg(struct weir_tm_registry *registry, const char *id, int64_t now, bool *out_new)
{
    struct weir_tm_info i = info(id);
    struct weir_tm_entry *tm = NULL;
    struct weir_error err;
    return weir_tm_registry_register(registry, &i, now, now, &tm, out_new, &err);
}

START_TEST(silence_and_closed_connections)
{
    struct weir_tm_registry *registry = weir_tm_registry_create(1000);
    bool added = false;
    const char *why = NULL;
    struct weir_error err;
    ck_assert_int_eq(weir_tm_registry_deadline_ms(registry), INT64_MAX);
    ck_assert_int_eq(reg(registry, "a", 0, &added), WEIR_OK);
    ck_assert(added);
    ck_assert_int_eq(reg(registry, "b", 0, &added), WEIR_OK);
    ck_assert_int_eq(weir_tm_registry_heartbeat(registry, "b", 5, 900, 900, &err), WEIR_OK);
    ck_assert_int_eq(weir_tm_registry_heartbeat(registry, "x", 5, 500, 500, &err), WEIR_NOT_FOUND);
    ck_assert_int_eq(weir_tm_registry_deadline_ms(registry), 1000);
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 999, &why));
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 1000, &why)); /* (T4) */
    ck_assert_int_eq(weir_tm_registry_deadline_ms(registry), 1000 + WEIR_TM_GRACE_MS);
    struct weir_tm_entry *lost = weir_tm_registry_take_lost(registry, 1000 + WEIR_TM_GRACE_MS, &why);
    ck_assert_str_eq(lost->info.id, "a");
    weir_tm_entry_destroy(lost);
    /* a closed connection: back in time, then not */
    weir_tm_registry_closed(registry, "b", 1100);
    weir_tm_registry_closed(registry, "b", 1150); /* the grace runs from the first */
    ck_assert_int_eq(weir_tm_registry_deadline_ms(registry), 1200);
    ck_assert_int_eq(reg(registry, "b", 1199, &added), WEIR_OK);
    ck_assert(!added);
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 1200, &why));
    weir_tm_registry_closed(registry, "b", 1300);
    lost = weir_tm_registry_take_lost(registry, 1400, &why);
    ck_assert_str_eq(lost->info.id, "b");
    weir_tm_entry_destroy(lost);
    ck_assert_uint_eq(weir_tm_registry_count(registry), 0);
    weir_tm_registry_destroy(registry);
}
END_TEST

/* (T4) */
START_TEST(who_was_not_there_looks_again)
{
    struct weir_tm_registry *registry = weir_tm_registry_create(1000);
    bool added = false;
    const char *why = NULL;
    struct weir_error err;
    ck_assert_int_eq(reg(registry, "a", 0, &added), WEIR_OK);
    ck_assert_int_eq(reg(registry, "b", 0, &added), WEIR_OK);
    weir_tm_registry_closed(registry, "b", 0);
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 9000, &why)); /* frozen for 9 s */
    ck_assert_int_eq(weir_tm_registry_deadline_ms(registry), 9000 + WEIR_TM_GRACE_MS);
    ck_assert_int_eq(weir_tm_registry_heartbeat(registry, "a", 5, 9010, 9010, &err), WEIR_OK); /* it waited in the socket */
    struct weir_tm_entry *lost = weir_tm_registry_take_lost(registry, 9000 + WEIR_TM_GRACE_MS, &why);
    ck_assert_str_eq(lost->info.id, "b");
    weir_tm_entry_destroy(lost);
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 9000 + WEIR_TM_GRACE_MS, &why));
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 10010, &why)); /* frozen until just then, for all it knows */
    ck_assert_int_eq(weir_tm_registry_heartbeat(registry, "a", 5, 10011, 10011, &err), WEIR_OK);
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 10010 + WEIR_TM_GRACE_MS, &why));
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 11011, &why)); /* each silence anew */
    lost = weir_tm_registry_take_lost(registry, 11011 + WEIR_TM_GRACE_MS, &why);
    ck_assert_str_eq(lost->info.id, "a");
    weir_tm_entry_destroy(lost);
    weir_tm_registry_destroy(registry);
}
END_TEST

/* (T5): a leader that was frozen finds its connections closed by TaskManagers that looked for another one meanwhile. */
START_TEST(who_had_to_look_for_a_leader_has_time_to_come_back)
{
    struct weir_tm_registry *registry = weir_tm_registry_create(1000);
    bool added = false;
    const char *why = NULL;
    struct weir_error err;
    static const char *const ids[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(reg(registry, ids[i], 0, &added), WEIR_OK);
    }
    ck_assert_int_eq(weir_tm_registry_was_away(registry, 5000), 5500);
    ck_assert_int_eq(weir_tm_registry_heartbeat(registry, "a", 5, 5000, 5000, &err), WEIR_OK); /* it waited in the socket ... */
    weir_tm_registry_closed(registry, "a", 5000);                                             /* ... and so did that */
    weir_tm_registry_closed(registry, "b", 5001);
    for (int64_t now_ms = 5000; now_ms < 5500; now_ms += 50) {
        ck_assert_ptr_null(weir_tm_registry_take_lost(registry, now_ms, &why));
    }
    ck_assert_int_eq(reg(registry, "a", 5450, &added), WEIR_OK);
    ck_assert(!added);
    struct weir_tm_entry *lost = weir_tm_registry_take_lost(registry, 5500, &why);
    ck_assert_str_eq(lost->info.id, "b");
    weir_tm_entry_destroy(lost);
    lost = weir_tm_registry_take_lost(registry, 5500, &why);
    ck_assert_str_eq(lost->info.id, "c"); /* silent */
    weir_tm_entry_destroy(lost);
    weir_tm_registry_closed(registry, "a", 5600); /* as ever */
    lost = weir_tm_registry_take_lost(registry, 5600 + WEIR_TM_GRACE_MS, &why);
    ck_assert_str_eq(lost->info.id, "a");
    weir_tm_entry_destroy(lost);
    weir_tm_registry_destroy(registry);
}
END_TEST

START_TEST(expelled_and_nonsense_are_refused)
{
    struct weir_tm_registry *registry = weir_tm_registry_create(1000);
    bool added = false;
    ck_assert_int_eq(reg(registry, "", 0, &added), WEIR_INVALID);
    struct weir_tm_info no_slots = info("a");
    struct weir_tm_entry *tm = NULL;
    struct weir_error err;
    no_slots.slots = 0;
    ck_assert_int_eq(weir_tm_registry_register(registry, &no_slots, 0, 0, &tm, &added, &err), WEIR_INVALID);
    no_slots.slots = 1u << 31;
    ck_assert_int_eq(weir_tm_registry_register(registry, &no_slots, 0, 0, &tm, &added, &err), WEIR_INVALID);
    for (int i = 0; i < WEIR_TM_EXPELLED_MAX + 10; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "tm-%d", i);
        ck_assert_int_eq(reg(registry, id, 0, &added), WEIR_OK);
        weir_tm_entry_destroy(weir_tm_registry_remove(registry, id, true));
        ck_assert_int_eq(reg(registry, id, 0, &added), WEIR_STALE);
    }
    ck_assert_ptr_null(weir_tm_registry_remove(registry, "tm-1", true));
    weir_tm_registry_destroy(registry);
}
END_TEST

Suite *tm_registry_suite(void);

Suite *tm_registry_suite(void)
{
    Suite *suite = suite_create("tm_registry");
    TCase *tcase = tcase_create("tm_registry");
    tcase_add_test(tcase, silence_and_closed_connections);
    tcase_add_test(tcase, who_was_not_there_looks_again);
    tcase_add_test(tcase, who_had_to_look_for_a_leader_has_time_to_come_back);
    tcase_add_test(tcase, expelled_and_nonsense_are_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
