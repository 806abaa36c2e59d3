/*
 * Schemas and expressions of a job file's steps: each step, inputs first, is typed against its input's columns.
 */
#ifndef WEIR_JOBMANAGER_JOBFILE_JOBFILE_BIND_H
#define WEIR_JOBMANAGER_JOBFILE_JOBFILE_BIND_H

#include "jobmanager/jobfile/jobfile_model.h"

/* Binds all steps in jf->order and checks the tables in the roles they have. Problems go to jf. */
void weir__jobfile_bind(struct weir_jobfile *jf);

#endif
