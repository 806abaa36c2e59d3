/* Names of the states in jm_api.h, as Flink spells them. */
#include "jobmanager/jm_api.h"

const char *weir_job_state_name(enum weir_job_state state)
{
    switch (state) {
    case WEIR_JOB_INITIALIZING: return "INITIALIZING";
    case WEIR_JOB_CREATED: return "CREATED";
    case WEIR_JOB_RUNNING: return "RUNNING";
    case WEIR_JOB_FAILING: return "FAILING";
    case WEIR_JOB_FAILED: return "FAILED";
    case WEIR_JOB_CANCELLING: return "CANCELLING";
    case WEIR_JOB_CANCELED: return "CANCELED";
    case WEIR_JOB_FINISHED: return "FINISHED";
    case WEIR_JOB_RESTARTING: return "RESTARTING";
    case WEIR_JOB_SUSPENDED: return "SUSPENDED";
    case WEIR_JOB_RECONCILING: return "RECONCILING";
    case WEIR_JOB_STATE_COUNT_: break;
    }
    return "?";
}

const char *weir_task_state_name(enum weir_task_state state)
{
    switch (state) {
    case WEIR_TASK_CREATED: return "CREATED";
    case WEIR_TASK_SCHEDULED: return "SCHEDULED";
    case WEIR_TASK_DEPLOYING: return "DEPLOYING";
    case WEIR_TASK_INITIALIZING: return "INITIALIZING";
    case WEIR_TASK_RUNNING: return "RUNNING";
    case WEIR_TASK_FINISHED: return "FINISHED";
    case WEIR_TASK_CANCELING: return "CANCELING";
    case WEIR_TASK_CANCELED: return "CANCELED";
    case WEIR_TASK_FAILED: return "FAILED";
    case WEIR_TASK_STATE_COUNT_: break;
    }
    return "?";
}

bool weir_job_state_terminal(enum weir_job_state state)
{
    return state == WEIR_JOB_FAILED || state == WEIR_JOB_CANCELED || state == WEIR_JOB_FINISHED;
}
