/*
 * A task's output: partitions batches over the channels of its edges.
 *
 * W1  emit never fails and never blocks: what finds no room is kept back in order (bounded by the output of one input batch), and `ready`
 *     turns false until it has gone out. A task whose writer is not ready takes no input but serves its mails.
 * W2  Control goes to every channel of every edge, behind the batches already emitted; a watermark kept back is replaced by a newer one.
 * W3  Rows of one key go to one channel in their order.
 *
 * One thread.
 */
#ifndef WEIR_TASKMANAGER_EXCHANGE_WRITER_H
#define WEIR_TASKMANAGER_EXCHANGE_WRITER_H

#include "common/plan/jobgraph.h"
#include "taskmanager/exchange/channel.h"

struct weir_writer;

/* subtask: of the producing task, for REBALANCE's first channel. */
struct weir_writer *weir_writer_create(uint32_t max_parallelism, uint32_t subtask);
void weir_writer_destroy(struct weir_writer *writer); /* releases the producer ends; accepts NULL */

/* Adds an edge with its channels in order of the consumer's subtasks (FORWARD: exactly one). The edge outlives the writer; channels are the
 * writer's now. Before the first emit. */
void weir_writer_add_edge_take(struct weir_writer *writer, const struct weir_edge *edge, struct weir_channel *const *channels, uint32_t count);

/* Sends the batch (its reference is taken) along every edge but side edges; along the side edges. */
void weir_writer_emit_take(struct weir_writer *writer, struct weir_batch *batch);
void weir_writer_emit_side_take(struct weir_writer *writer, struct weir_batch *batch);

/* Sends a control element along every channel. */
void weir_writer_broadcast(struct weir_writer *writer, struct weir_element element);

/* Tries to send what was kept back; whether everything is out and every channel has room. */
bool weir_writer_ready(struct weir_writer *writer);

/* Whether nothing is kept back (END has really gone out). */
bool weir_writer_drained(struct weir_writer *writer);

/* Rows and bytes emitted so far (a row counts once per edge). */
uint64_t weir_writer_rows(const struct weir_writer *writer);
uint64_t weir_writer_bytes(const struct weir_writer *writer);

#endif
