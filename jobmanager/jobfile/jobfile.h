/*
 * YAML job files to job graphs: read, check everything (all problems are named, each with file:line:column), plan.
 *
 * Planning: filter and project steps fuse into one CALC; a chain grows while parallelism is the same and the exchange is forward; a
 * keyed window becomes LOCAL_AGG -> hash exchange -> WINDOW_AGG, `key_by` + `aggregate` without window LOCAL_AGG -> hash -> GROUP_AGG;
 * `input: [a, b]` is UNION_ALL. Pure: no I/O, no clock.
 */
#ifndef WEIR_JOBMANAGER_JOBFILE_JOBFILE_H
#define WEIR_JOBMANAGER_JOBFILE_JOBFILE_H

#include "common/base/config.h"
#include "common/plan/jobgraph.h"

/* file_name is for messages. parallelism: from -p, 0 = not given; -p beats the file's settings beats `defaults` (the JobManager's
 * configuration). INVALID: err holds as many problems as fit, one a line. */
enum weir_rc weir_jobfile_plan(struct weir_slice text, const char *file_name, uint32_t parallelism, const struct weir_config *defaults,
                               struct weir_jobgraph **out_graph, struct weir_error *err) WEIR_CHECKED;

#endif
