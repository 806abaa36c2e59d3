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

/* The next that is lost by now. */
static void take(struct weir_tm_registry *registry, int64_t now, const char *id)
{
    const char *why = NULL;
    struct weir_tm_entry *lost = weir_tm_registry_take_lost(registry, now, &why);
    ck_assert_ptr_nonnull(lost);
    ck_assert_str_eq(lost->info.id, id);
    weir_tm_entry_destroy(lost);
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
    ck_assert_int_eq(weir_tm_registry_heartbeat(registry, "b", 5, 500, 500, &err), WEIR_OK);
    ck_assert_int_eq(weir_tm_registry_heartbeat(registry, "x", 5, 500, 500, &err), WEIR_NOT_FOUND);
    ck_assert_int_eq(weir_tm_registry_deadline_ms(registry), 1000);
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 999, &why));
    take(registry, 1000, "a");
    /* a closed connection: back in time, then not */
    weir_tm_registry_closed(registry, "b", 1000);
    weir_tm_registry_closed(registry, "b", 1050); /* the grace runs from the first */
    ck_assert_int_eq(weir_tm_registry_deadline_ms(registry), 1100);
    ck_assert_int_eq(reg(registry, "b", 1099, &added), WEIR_OK);
    ck_assert(!added);
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 1100, &why));
    weir_tm_registry_closed(registry, "b", 1200);
    take(registry, 1300, "b");
    ck_assert_uint_eq(weir_tm_registry_count(registry), 0);
    weir_tm_registry_destroy(registry);
}
END_TEST

/* (T4) */
START_TEST(the_time_this_process_was_away_does_not_count)
{
    struct weir_tm_registry *registry = weir_tm_registry_create(1000);
    bool added = false;
    const char *why = NULL;
    struct weir_error err;
    ck_assert_int_eq(reg(registry, "a", 0, &added), WEIR_OK);
    ck_assert_int_eq(reg(registry, "b", 500, &added), WEIR_OK);
    weir_tm_registry_was_away(registry, 50, 900); /* too short for anyone to have given up: nothing but put off */
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 1049, &why));
    take(registry, 1050, "a");
    weir_tm_registry_closed(registry, "b", 1100);
    weir_tm_registry_was_away(registry, 60, 1210); /* due at 1150: 50 ms of the grace were left */
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 1259, &why));
    take(registry, 1260, "b");
    ck_assert_int_eq(reg(registry, "c", 2000, &added), WEIR_OK);
    for (int64_t at = 2000; at < 4000; at += 40) { /* a machine where everything is late still finds out */
        weir_tm_registry_was_away(registry, 20, at + 20);
    }
    take(registry, 4000, "c");
    ck_assert_int_eq(weir_tm_registry_heartbeat(registry, "c", 5, 4000, 4000, &err), WEIR_NOT_FOUND);
    weir_tm_registry_destroy(registry);
}
END_TEST

/* (T4): a leader that was frozen finds its connections closed by TaskManagers that looked for another one meanwhile. */
START_TEST(who_had_to_look_for_a_leader_has_time_to_come_back)
{
    struct weir_tm_registry *registry = weir_tm_registry_create(1000);
    bool added = false;
    const char *why = NULL;
    struct weir_error err;
    static const char *const ids[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(reg(registry, ids[i], 0, &added), WEIR_OK);
    }
    weir_tm_registry_closed(registry, "d", 10);
    weir_tm_registry_was_away(registry, 4900, 5000); /* since 100: c has 900 left, d none */
    ck_assert_int_eq(weir_tm_registry_put_off(registry, INT64_MAX, 4900, 5000), INT64_MAX);
    weir_tm_registry_was_away(registry, 30, 5030);                                             /* does not take back the time that they have */
    ck_assert_int_eq(weir_tm_registry_heartbeat(registry, "a", 5, 5030, 5030, &err), WEIR_OK); /* it waited in the socket ... */
    weir_tm_registry_closed(registry, "a", 5030);                                             /* ... and so did that */
    weir_tm_registry_closed(registry, "b", 5031);
    for (int64_t now_ms = 5030; now_ms < 5500; now_ms += 10) {
        ck_assert_ptr_null(weir_tm_registry_take_lost(registry, now_ms, &why));
    }
    ck_assert_int_eq(reg(registry, "a", 5450, &added), WEIR_OK);
    ck_assert(!added);
    take(registry, 5500, "b");
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 5529, &why));
    take(registry, 5530, "d");
    ck_assert_ptr_null(weir_tm_registry_take_lost(registry, 5929, &why));
    take(registry, 5930, "c");
    weir_tm_registry_closed(registry, "a", 5940); /* as ever */
    take(registry, 5940 + WEIR_TM_GRACE_MS, "a");
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
    tcase_add_test(tcase, the_time_this_process_was_away_does_not_count);
    tcase_add_test(tcase, who_had_to_look_for_a_leader_has_time_to_come_back);
    tcase_add_test(tcase, expelled_and_nonsense_are_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
