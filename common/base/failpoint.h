/*
 * Named failpoints: places where a test build can be told to die, as if by SIGKILL, or to stall, so that each crash point is tested by name and not by
 * luck. `make failpoints` builds the daemons with them (-DWEIR_FAILPOINTS); the ordinary build contains nothing of this.
 *
 *   WEIR_FAILPOINT=ckpt.after_snapshot:2 build-fp/weir-taskmanager ...      dies when it comes there for the second time
 *
 *   WEIR_FAILPOINT=sink.write:5:stall:10000 ...                             is held up there for ten seconds, the fifth time, and goes on
 *
 * The points (tests/integration/test_failpoints.py hits each): task.before_barrier, ckpt.after_snapshot, ckpt.upload, ckpt.after_ack,
 * sink.before_begin, sink.in_publish, sink.write, restore.mid_download on a TaskManager; jm.all_acks, jm.metadata, jm.after_commit, jm.deploy on a
 * JobManager.
 */
#ifndef WEIR_COMMON_BASE_FAILPOINT_H
#define WEIR_COMMON_BASE_FAILPOINT_H

#ifdef WEIR_FAILPOINTS
/* Any thread. */
void weir_failpoint_hit(const char *name);
#define WEIR_FAILPOINT(name) weir_failpoint_hit(name)
#else
#define WEIR_FAILPOINT(name) ((void)0)
#endif

#endif
