#include "common/runtime/mailbox.h"

#include "common/runtime/thread.h"

#include <check.h>
#include <sched.h>

struct fixture {
    struct weir_waker *waker;
    struct weir_mailbox *mailbox;
    int ran[8];
    int ran_count;
    int dropped;
};

struct item {
    struct fixture *f;
    int number;
};

static void start(struct fixture *f, uint32_t mails_max)
{
    struct weir_error err;
    *f = (struct fixture){0};
    ck_assert_int_eq(weir_waker_create(&f->waker, &err), WEIR_OK);
    f->mailbox = weir_mailbox_create(mails_max, f->waker);
}

static void stop(struct fixture *f)
{
    weir_mailbox_destroy(f->mailbox);
    weir_waker_destroy(f->waker);
}

static void run_item(void *payload)
{
    struct item *item = payload;
    item->f->ran[item->f->ran_count++] = item->number;
}

static void drop_item(void *payload)
{
    struct item *item = payload;
    item->f->dropped++;
}

static struct weir_mail mail_of(struct item *item)
{
    return (struct weir_mail){.run = run_item, .drop = drop_item, .payload = item};
}

START_TEST(control_before_data_each_in_order)
{
    struct fixture f;
    start(&f, 4);
    struct item items[4] = {{&f, 0}, {&f, 1}, {&f, 2}, {&f, 3}};
    ck_assert(weir_mailbox_empty(f.mailbox));
    ck_assert_int_eq(weir_mailbox_post(f.mailbox, WEIR_MAIL_DATA, mail_of(&items[0])), WEIR_OK);
    ck_assert_int_eq(weir_mailbox_post(f.mailbox, WEIR_MAIL_CONTROL, mail_of(&items[1])), WEIR_OK);
    ck_assert_int_eq(weir_mailbox_post(f.mailbox, WEIR_MAIL_DATA, mail_of(&items[2])), WEIR_OK);
    ck_assert_int_eq(weir_mailbox_post(f.mailbox, WEIR_MAIL_CONTROL, mail_of(&items[3])), WEIR_OK);
    ck_assert_uint_eq(weir_mailbox_count(f.mailbox), 4);
    ck_assert_uint_eq(weir_mailbox_run(f.mailbox, 3), 3);
    ck_assert_uint_eq(weir_mailbox_run(f.mailbox, 3), 1);
    ck_assert(weir_mailbox_empty(f.mailbox));
    ck_assert_int_eq(f.ran[0] * 1000 + f.ran[1] * 100 + f.ran[2] * 10 + f.ran[3], 1302);
    stop(&f);
}
END_TEST

START_TEST(lanes_are_bounded_apart_and_reservations_hold_room)
{
    struct fixture f;
    start(&f, 2);
    struct item item = {&f, 7};
    struct weir_mail mail = mail_of(&item);
    ck_assert_int_eq(weir_mailbox_post(f.mailbox, WEIR_MAIL_DATA, mail), WEIR_OK);
    ck_assert_int_eq(weir_mailbox_post(f.mailbox, WEIR_MAIL_DATA, mail), WEIR_OK);
    ck_assert_int_eq(weir_mailbox_post(f.mailbox, WEIR_MAIL_DATA, mail), WEIR_AGAIN);
    ck_assert_int_eq(weir_mailbox_reserve(f.mailbox), WEIR_OK);
    ck_assert_int_eq(weir_mailbox_post(f.mailbox, WEIR_MAIL_CONTROL, mail), WEIR_OK);
    ck_assert_int_eq(weir_mailbox_post(f.mailbox, WEIR_MAIL_CONTROL, mail), WEIR_AGAIN);
    ck_assert_int_eq(weir_mailbox_reserve(f.mailbox), WEIR_AGAIN);
    ck_assert_int_eq(weir_mailbox_post_reserved(f.mailbox, mail), WEIR_OK);
    ck_assert_uint_eq(weir_mailbox_run(f.mailbox, 2), 2);
    ck_assert_int_eq(weir_mailbox_reserve(f.mailbox), WEIR_OK);
    weir_mailbox_unreserve(f.mailbox);
    ck_assert_int_eq(f.dropped, 0);
    stop(&f);
    ck_assert_int_eq(f.dropped, 2);
}
END_TEST

START_TEST(life_open_quiesced_closed)
{
    struct fixture f;
    start(&f, 4);
    struct item item = {&f, 1};
    struct weir_mail mail = mail_of(&item);
    ck_assert_int_eq(weir_mailbox_post(f.mailbox, WEIR_MAIL_DATA, mail), WEIR_OK);
    ck_assert_int_eq(weir_mailbox_reserve(f.mailbox), WEIR_OK);
    ck_assert_int_eq(weir_mailbox_reserve(f.mailbox), WEIR_OK);
    weir_mailbox_quiesce(f.mailbox);
    ck_assert_int_eq(weir_mailbox_post(f.mailbox, WEIR_MAIL_CONTROL, mail), WEIR_CLOSED);
    ck_assert_int_eq(weir_mailbox_reserve(f.mailbox), WEIR_CLOSED);
    ck_assert_int_eq(weir_mailbox_post_reserved(f.mailbox, mail), WEIR_OK);
    ck_assert_uint_eq(weir_mailbox_run(f.mailbox, 1), 1);
    weir_mailbox_close(f.mailbox);
    weir_mailbox_quiesce(f.mailbox);
    weir_mailbox_close(f.mailbox);
    ck_assert_int_eq(f.dropped, 1);
    ck_assert_int_eq(f.ran_count, 1);
    ck_assert_int_eq(weir_mailbox_post_reserved(f.mailbox, mail), WEIR_CLOSED);
    ck_assert_uint_eq(weir_mailbox_run(f.mailbox, 9), 0);
    stop(&f);
    ck_assert_int_eq(f.dropped, 1); /* what was refused is the poster's */
}
END_TEST

enum { POSTERS = 3, MAILS_EACH = 5000 };

struct poster {
    struct weir_mailbox *mailbox;
    int sent;
    int received; /* plain: the mailbox orders it */
    bool out_of_order;
};

struct numbered {
    struct poster *poster;
    int number;
};

static void receive(void *payload)
{
    struct numbered *numbered = payload;
    numbered->poster->out_of_order |= numbered->number != numbered->poster->received;
    numbered->poster->received++;
}

static struct numbered numbers[POSTERS][MAILS_EACH];

static void post_all(void *ctx)
{
    struct poster *poster = ctx;
    struct numbered *mine = numbers[poster->sent];
    for (int i = 0; i < MAILS_EACH; i++) {
        mine[i] = (struct numbered){.poster = poster, .number = i};
        struct weir_mail mail = {.run = receive, .payload = &mine[i]};
        while (weir_mailbox_post(poster->mailbox, WEIR_MAIL_DATA, mail) == WEIR_AGAIN) {
            sched_yield();
        }
    }
}

START_TEST(many_posters_one_sleeping_owner)
{
    struct fixture f;
    start(&f, 64);
    struct poster posters[POSTERS];
    struct weir_thread *threads[POSTERS];
    struct weir_error err;
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.mailbox = f.mailbox, .sent = i};
        ck_assert_int_eq(weir_thread_start("poster", post_all, &posters[i], &threads[i], &err), WEIR_OK);
    }
    for (uint32_t got = 0; got < POSTERS * MAILS_EACH;) {
        got += weir_mailbox_run(f.mailbox, UINT32_MAX);
        weir_waker_prepare(f.waker);
        if (got == POSTERS * MAILS_EACH || !weir_mailbox_empty(f.mailbox)) {
            weir_waker_cancel(f.waker);
        } else {
            weir_waker_wait(f.waker, -1, NULL, 0); /* a lost wake-up hangs here, and Check's timeout tells */
        }
    }
    for (int i = 0; i < POSTERS; i++) {
        weir_thread_join(threads[i]);
        ck_assert_int_eq(posters[i].received, MAILS_EACH);
        ck_assert(!posters[i].out_of_order);
    }
    stop(&f);
}
END_TEST

Suite *mailbox_suite(void);
Suite *mailbox_suite(void)
{
    Suite *suite = suite_create("mailbox");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, control_before_data_each_in_order);
    tcase_add_test(tc, lanes_are_bounded_apart_and_reservations_hold_room);
    tcase_add_test(tc, life_open_quiesced_closed);
    tcase_add_test(tc, many_posters_one_sleeping_owner);
    suite_add_tcase(suite, tc);
    return suite;
}
