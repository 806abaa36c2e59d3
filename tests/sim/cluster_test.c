/*
 * A few seeds of the whole cluster, and each protocol broken on purpose: by build/weir-sim, since a simulated cluster has threads, clocks and files of its own
 * that no other test can do with. make sim SEED=n runs one with its trace.
 */
#include "tests/sim/cluster/cluster.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *cluster_suite(void);

enum { TIMEOUT_S = 1200, TEXT_BYTES = 16384 };

#ifdef __SANITIZE_ADDRESS__ /* fifty times slower; what is broken on purpose is the checks' matter */
#define SEEDS "1..5"
enum { CANARIES = 0, RESCALES = 0 };
#else
#define SEEDS "1..25"
enum { CANARIES = 1, RESCALES = 1 };
#endif

#ifndef __SANITIZE_THREAD__ /* it does not know coroutines, and there is one thread */

/* Runs the program that lies beside this one; its exit status, and what it says. */
static int run_sim(const char *arguments, char out_text[TEXT_BYTES])
{
    char path[512];
    char command[1024];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    ck_assert_int_gt(len, 0);
    path[len] = '\0';
    *strrchr(path, '/') = '\0';
    (void)snprintf(command, sizeof(command), "'%s/weir-sim' %s 2>&1", path, arguments);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    size_t bytes = fread(out_text, 1, TEXT_BYTES - 1, pipe);
    out_text[bytes] = '\0';
    char rest[256];
    while (fread(rest, 1, sizeof(rest), pipe) > 0) { /* it may not die of a closed pipe */
    }
    int status = pclose(pipe);
    ck_assert_msg(WIFEXITED(status), "%s: %s", command, out_text);
    return WEXITSTATUS(status);
}

static long count_before(const char *text, const char *what)
{
    const char *at = strstr(text, what);
    ck_assert_msg(at != NULL, "%s: %s", what, text);
    while (at > text && at[-1] != ' ') {
        at--;
    }
    return strtol(at, NULL, 10);
}

START_TEST(jobs_come_right_through_everything)
{
    char text[TEXT_BYTES];
    ck_assert_msg(run_sim("--seeds " SEEDS " cluster", text) == 0, "%s", text);
    ck_assert_msg(count_before(text, " jobs forgotten") > 0, "%s", text);
}
END_TEST

/* What these seeds are for does come about in them. */
START_TEST(jobs_are_rescaled)
{
    char text[TEXT_BYTES];
    (void)_i;
    ck_assert_msg(run_sim("--seeds 1..91 --step 6 cluster", text) == 0, "%s", text);
    ck_assert_msg(count_before(text, " jobs shrunk") > 0 && count_before(text, " jobs grown") > 0, "%s", text);
}
END_TEST

/* What a sanitizer says of itself has the number of the process in it. */
static void drop_warning(char *text)
{
    char *warning = strstr(text, "==WARNING: ASan doesn't fully support");
    while (warning != NULL && warning > text && warning[-1] != '\n') {
        warning--;
    }
    char *end = warning == NULL ? NULL : strchr(warning, '\n');
    if (end != NULL) {
        memmove(warning, end + 1, strlen(end + 1) + 1);
    }
}

/* The same seed gives the same run, to the last word. */
START_TEST(a_seed_repeats)
{
    char once[TEXT_BYTES];
    char again[TEXT_BYTES];
    ck_assert_int_eq(run_sim("--seed 9 --jobmanagers 3 cluster", once), 0);
    ck_assert_int_eq(run_sim("--seed 9 --jobmanagers 3 cluster", again), 0);
    drop_warning(once);
    drop_warning(again);
    ck_assert_msg(strcmp(once, again) == 0, "two runs of one seed differ");
}
END_TEST

enum { TEXTS_MAX = 5 };

/* What catches each, and a range of seeds in which that happens; which seeds of them catch it changes with every change of the daemons. */
static const struct canary {
    enum weir_sim_sabotage sabotage;
    int seeds;
    const char *options;
    const char *texts[TEXTS_MAX]; /* one of these is said */
} canaries[] = {
    {WEIR_SIM_SABOTAGE_METADATA_NOT_SYNCED, 80, "", {"/_metadata is not durable"}},
    {WEIR_SIM_SABOTAGE_METADATA_NOT_SYNCED, 150, "--files-unchecked", {"/_metadata: it has "}},
    {WEIR_SIM_SABOTAGE_ACK_NOT_SYNCED, 80, "", {"is not durable"}},
    {WEIR_SIM_SABOTAGE_ACK_NOT_SYNCED, 150, "--files-unchecked", {"is damaged: its length or hash is not what the checkpoint recorded"}},
    {WEIR_SIM_SABOTAGE_LOG_NOT_SYNCED, 80, "", {"than was applied before", "and has left out", "damaged, or no file of Weir's", "damaged, and not by a crash",
                                                "is not where it should be"}},
    {WEIR_SIM_SABOTAGE_ACT_BEFORE_COMMIT, 10, "", {"was accepted, and is in no log", "of a job that goes on needs"}},
    {WEIR_SIM_SABOTAGE_NOTIFY_BEFORE_COMMIT, 80, "", {"the cursor outside stands at record"}},
    {WEIR_SIM_SABOTAGE_CURSOR_BEFORE_INIT, 300, "", {"it came before", "expected window"}},
    {WEIR_SIM_SABOTAGE_NO_FENCE, 400, "", {"it came before", "expected window", "the cursor outside stands at record" /* it may be set back, too */,
                                           "the job is over, and writes", "rows are missing" /* they are in its transaction, still open */}},
    {WEIR_SIM_SABOTAGE_NO_CURSOR, 20, "", {"the cursor outside stands at record", "it came before"}},
    {WEIR_SIM_SABOTAGE_SWEEP_ALL, 5, "", {"of a job that goes on needs"}},
    {WEIR_SIM_SABOTAGE_ABORT_IS_COMMIT, 150, "", {"the cursor outside stands at record", "the job is over, and transaction"}},
    {WEIR_SIM_SABOTAGE_NO_ADOPTION, 80, "", {"begins, and nothing has happened that ends a task"}},
    {WEIR_SIM_SABOTAGE_CANCEL_ON_CLOSE, 80, "", {"begins, and nothing has happened that ends a task"}},
    {WEIR_SIM_SABOTAGE_SUBMIT_TWICE, 80, "", {"409 {\"errors\":[\"a job named", "nobody has submitted it"}},
    {WEIR_SIM_SABOTAGE_NO_DRAIN, 300, "", {"it came before", "expected window", "rows are missing"}},
    {WEIR_SIM_SABOTAGE_NO_GROWTH, 1201, "--step 4", {"does not grow into"}}, /* the seeds that are adaptive */
    {WEIR_SIM_SABOTAGE_DROP_EARLY, 10, "", {"ms after its end, and should be known for"}},
    {WEIR_SIM_SABOTAGE_NO_DROP, 10, "", {"over and not forgotten"}},
    {WEIR_SIM_SABOTAGE_LEAD_UNCONFIRMED, 400, "", {"an answer from the past", "is forgotten, and the answer is", "not found"}},
};

#define WEIR_SIM_NAME(name, text) #name,
static const char *const sabotage_names[] = {WEIR_SIM_SABOTAGES(WEIR_SIM_NAME)};

START_TEST(a_broken_protocol_is_caught)
{
    const struct canary *canary = &canaries[_i];
    char arguments[128];
    char text[TEXT_BYTES];
    (void)snprintf(arguments, sizeof(arguments), "--until-failure --seeds 1..%d --sabotage %s %s cluster", canary->seeds, sabotage_names[canary->sabotage],
                   canary->options);
    int status = run_sim(arguments, text);
    bool meant = false;
    for (int i = 0; i < TEXTS_MAX && canary->texts[i] != NULL; i++) {
        meant |= strstr(text, canary->texts[i]) != NULL;
    }
    ck_assert_msg(status == 1 && meant, "%s: %s: %s", arguments, status == 0 ? "nothing was caught" : "not by what is meant to catch it", text);
}
END_TEST

/* None is left out. */
START_TEST(each_protocol_is_broken)
{
    for (int i = WEIR_SIM_SABOTAGE_NONE + 1; i < WEIR_SIM_SABOTAGE_COUNT; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof(canaries) / sizeof(canaries[0]); k++) {
            found |= canaries[k].sabotage == (enum weir_sim_sabotage)i;
        }
        ck_assert_msg(found, "%s", sabotage_names[i]);
    }
}
END_TEST

Suite *cluster_suite(void)
{
    Suite *suite = suite_create("cluster");
    TCase *tcase = tcase_create("cluster");
    tcase_set_timeout(tcase, TIMEOUT_S);
    tcase_add_test(tcase, jobs_come_right_through_everything);
    tcase_add_loop_test(tcase, jobs_are_rescaled, 0, RESCALES);
    tcase_add_test(tcase, a_seed_repeats);
    tcase_add_loop_test(tcase, a_broken_protocol_is_caught, 0, CANARIES * (int)(sizeof(canaries) / sizeof(canaries[0])));
    tcase_add_test(tcase, each_protocol_is_broken);
    suite_add_tcase(suite, tcase);
    return suite;
}

#else

Suite *cluster_suite(void)
{
    return suite_create("cluster");
}

#endif
