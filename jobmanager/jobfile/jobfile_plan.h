/*
 * Bound steps as a job graph: operators, the exchanges between them, and chains.
 */
#ifndef WEIR_JOBMANAGER_JOBFILE_JOBFILE_PLAN_H
#define WEIR_JOBMANAGER_JOBFILE_JOBFILE_PLAN_H

#include "jobmanager/jobfile/jobfile_model.h"

/* Fills the vertices and edges of jf->graph, whose settings are set, from steps without problems. What may still fail is what the whole
 * graph is too large for: LIMIT, INVALID. */
enum weir_rc weir__jobfile_make_graph(struct weir_jobfile *jf, struct weir_error *err) WEIR_CHECKED;

#endif
