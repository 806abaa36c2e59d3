/*
 * What the replaced modules tell of the protocols' progress, and where a run breaks a protocol on purpose.
 */
#ifndef WEIR_TESTS_SIM_CLUSTER_HOOKS_H
#define WEIR_TESTS_SIM_CLUSTER_HOOKS_H

#include "common/fs/fs.h"
#include "jobmanager/ha/meta.h"
#include "tests/sim/cluster/faults.h"
#include "tests/sim/cluster/world.h"

/* When an entry was proposed for the first time; at the least when its leader's clock was read for it. */
struct weir_sim_written {
    uint64_t hash; /* of the entry */
    int64_t least_ns, ns;
};

/* on_phase: the protocols have got there, at the machine of the coroutine that runs. on_change: an entry was applied for the first time anywhere; `written` is
 * when it was proposed. */
struct weir_sim_listener {
    void (*on_phase)(enum weir_sim_phase phase);
    void (*on_change)(enum weir_meta_change change, const struct weir_ha_record *record, const struct weir_sim_written *written);
};
/* files_unchecked: the files of a checkpoint are not looked at when it is committed. */
void weir_sim_hooks_init(enum weir_sim_sabotage sabotage, bool files_unchecked, const struct weir_sim_listener *listener);

enum weir_sim_sabotage weir_sim_sabotage(void);
void weir_sim_hook_phase(enum weir_sim_phase phase);

/* The state that the committed entries make, whoever leads. */
const struct weir_meta *weir_sim_truth(void);
uint32_t weir_sim_leaders(void); /* elections won */

/* When something was last made, or tried to be, in the checkpoint store's directory of the job; 0: never. */
int64_t weir_sim_hook_made_ns(const char *job_id);

/* From now on a TaskManager may be expelled for tasks that do not end in time: faults last longer than that. */
void weir_sim_hook_may_expel(void);

/* Of messages.c: a TaskManager's connection to a JobManager is gone. */
void weir_sim_hook_connection_closed(void);

/* The next messages come twice with a chance of one in n, the second time soon or late; 0: none. */
void weir_sim_messages_repeat(uint32_t one_in);
/* Some of the orders that TaskManagers have had come again, from any JobManager, once there is one that reaches them; how many. */
uint32_t weir_sim_messages_replay(void);

/* Of sim_fs.c. */
void weir_sim_hook_open(const char *path, enum weir_fs_mode mode);
bool weir_sim_hook_fsync(const char *path); /* false: it is to be left out */
void weir_sim_hook_renamed(const char *from, const char *to);
void weir_sim_hook_unlink(const char *path);
void weir_sim_hook_made(const char *path); /* a directory; or it was tried */

#endif
