/*
 * Which operator runs which specification.
 */
#include "taskmanager/operators/calc.h"
#include "taskmanager/operators/group_agg.h"
#include "taskmanager/operators/local_agg.h"
#include "taskmanager/operators/op.h"
#include "taskmanager/operators/sink.h"
#include "taskmanager/operators/union_all.h"
#include "taskmanager/operators/window_agg.h"

#include <stddef.h>

const struct weir_op_vtable *weir_op_find(enum weir_op_tag tag)
{
    switch (tag) {
    case WEIR_OP_CALC:
        return &weir_calc_op;
    case WEIR_OP_UNION_ALL:
        return &weir_union_all_op;
    case WEIR_OP_SINK:
        return &weir_sink_op;
    case WEIR_OP_LOCAL_AGG:
        return &weir_local_agg_op;
    case WEIR_OP_WINDOW_AGG:
        return &weir_window_agg_op;
    case WEIR_OP_GROUP_AGG:
        return &weir_group_agg_op;
    case WEIR_OP_WM_ASSIGN:
    case WEIR_OP_SOURCE:
        return NULL;
    }
    return NULL;
}
