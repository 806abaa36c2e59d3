/*
 * A Kafka topic as the target of an epoch log: one transaction a chunk, the cursor moved in the same transaction by
 * send_offsets_to_transaction. RELIABILITY 4.2 to 4.5; R1 to R9 are named in the code where they hold.
 *
 * transactional.id = <sink.transactional-id-prefix>/<job-id>/<sink uid>/<run>/<subtask>; cursor: the offset committed by group
 * `cursor.<transactional.id>` on (topic, partition 0), read with the producer fenced and stable offsets required, together with a mark (X5).
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_KAFKA_TXN_H
#define WEIR_TASKMANAGER_CONNECTORS_KAFKA_TXN_H

#include "taskmanager/connectors/epoch_log.h"

/* ctx is used during the call only (log and table are copied or bound anew as far as the target needs them). Connects to nothing yet. INVALID,
 * NOT_FOUND (a secret). */
enum weir_rc weir__kafka_txn_create(const struct weir_conn_ctx *ctx, struct weir_drain_target **out_target, struct weir_error *err) WEIR_CHECKED;

#endif
