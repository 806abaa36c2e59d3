/*
 * What must hold in any group of Raft members, whatever happens to them. It is told of every entry, vote, leadership and commit, and remembers
 * them beyond crashes. The first thing that is wrong is kept.
 */
#ifndef WEIR_TESTS_SIM_RAFT_ORACLE_H
#define WEIR_TESTS_SIM_RAFT_ORACLE_H

#include "jobmanager/ha/raft_core.h"

/* An entry that somebody has, or had: there is one for each index and term. */
struct weir_raft_item {
    uint64_t index, term;
    enum weir_raft_entry_kind kind;
    struct weir_slice data;
    uint64_t chain; /* hash of it and of everything before it */
};

struct weir_raft_oracle;

struct weir_raft_oracle *weir_raft_oracle_create(void);
void weir_raft_oracle_destroy(struct weir_raft_oracle *oracle); /* accepts NULL */

/* The first thing that was wrong, or NULL. */
const struct weir_error *weir_raft_oracle_failure(const struct weir_raft_oracle *oracle);
void weir_raft_oracle_fail(struct weir_raft_oracle *oracle, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Log matching: an index and a term say what is there and before. Never NULL. */
const struct weir_raft_item *weir_raft_oracle_item(struct weir_raft_oracle *oracle, uint64_t index, const struct weir_raft_entry *entry,
                                                   uint64_t chain_before);

/* One vote a term; terms only grow. */
void weir_raft_oracle_vote(struct weir_raft_oracle *oracle, uint64_t id, uint64_t term, uint64_t voted_for);

/* Election safety. Leader completeness: the newest entry that was committed before this term is for the caller to look for; NULL: none. */
const struct weir_raft_item *weir_raft_oracle_lead(struct weir_raft_oracle *oracle, uint64_t id, uint64_t term);

/* State-machine safety: id, in term, says that it is committed. True: nobody has said so before. */
bool weir_raft_oracle_commit(struct weir_raft_oracle *oracle, uint64_t id, uint64_t term, const struct weir_raft_item *item);

uint64_t weir_raft_oracle_committed(const struct weir_raft_oracle *oracle); /* the last index */
const struct weir_raft_item *weir_raft_oracle_at(const struct weir_raft_oracle *oracle, uint64_t index); /* committed; NULL: not */
/* The newest committed CHANGE. */
const struct weir_raft_item *weir_raft_oracle_members(const struct weir_raft_oracle *oracle);

#endif
