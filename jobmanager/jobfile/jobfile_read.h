/*
 * The job file's YAML as tables and steps: shapes, names, types and options are checked here; what needs a schema is not.
 */
#ifndef WEIR_JOBMANAGER_JOBFILE_JOBFILE_READ_H
#define WEIR_JOBMANAGER_JOBFILE_JOBFILE_READ_H

#include "jobmanager/jobfile/jobfile_model.h"

/* Fills jf->tables from the map `tables`. Problems go to jf. */
void weir__jobfile_read_tables(struct weir_jobfile *jf, const struct weir_yaml *node);

/* Fills jf->steps from the list `pipeline`, finds their tables and inputs, and puts them in order. */
void weir__jobfile_read_steps(struct weir_jobfile *jf, const struct weir_yaml *node);

#endif
