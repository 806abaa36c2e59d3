/*
 * Named failpoints: places where a test build can be told to die, as if by SIGKILL, so that each crash point is tested by name and not by
 * luck. `make failpoints` builds the daemons with them (-DWEIR_FAILPOINTS); the ordinary build contains nothing of this.
 *
 *   WEIR_FAILPOINT=ckpt.after_snapshot:2 build-fp/weir-taskmanager ...      dies when it comes there for the second time
 *   WEIR_FAILPOINT=sink.write:5:stall:10000 ...                             the thread waits there for ten seconds, the fifth time
 *   WEIR_FAILPOINT=sink.before_begin:3:until:/tmp/go ...                    the thread waits there, the third time, until there is such a file
 *
 * The points (tests/integration/test_failpoints.py hits each): task.before_barrier, ckpt.after_snapshot, ckpt.upload, ckpt.after_ack,
 * sink.before_begin, sink.in_publish, sink.write, restore.mid_download, ckpt.local_copy on a TaskManager; jm.all_acks, jm.metadata, jm.after_commit, jm.deploy
 * on a JobManager. Of an exactly-once Kafka sink (taskmanager/connectors/kafka_txn.c), on a TaskManager: sink.after_init (predecessors fenced, the
 * cursor not read yet), sink.after_produce (a whole chunk is at the brokers, uncommitted), sink.after_offsets (the cursor too), sink.in_commit
 * (the commit was sent, its answer has not come), sink.after_commit (it has).
 *
 * Switches turn a protection off, so that a test shows that it catches what it is for (negative controls):
 *
 *   WEIR_FAILPOINT_SWITCHES=sink.cursor_before_init:until:/tmp/fence build-fp/weir-taskmanager ...
 *
 * sink.cursor_before_init: kafka_txn reads the cursor, waits until there is such a file, and only then fences its predecessors: the order that
 * protocol B forbids.
 *
 * What a thread comes to after its wait is in the log, too (event=failpoint_reached name=...): a test sees what the one that was late has done.
 */
#ifndef WEIR_COMMON_BASE_FAILPOINT_H
#define WEIR_COMMON_BASE_FAILPOINT_H

#ifdef WEIR_FAILPOINTS
#include <stdbool.h>

/* Any thread. */
void weir_failpoint_hit(const char *name);
#define WEIR_FAILPOINT(name) weir_failpoint_hit(name)
/* Whether the switch was given; and whether the file that it waits for, if it names one, is there. Any thread. Only where WEIR_FAILPOINTS is defined. */
bool weir_failpoint_is(const char *name);
bool weir_failpoint_may_go_on(const char *name);
#else
#define WEIR_FAILPOINT(name) ((void)0)
#endif

#endif
