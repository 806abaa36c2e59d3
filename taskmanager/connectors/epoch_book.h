/*
 * What an epoch log knows of itself, without files, threads or clocks: positions, segments, what may be drained, when it is full, and the state
 * of a checkpoint in bytes. E1 to E7: epoch_log.h.
 *
 * B1  cursor <= committed <= sealed <= next. Segments are contiguous, cover [some position <= cursor, sealed), and none is empty.
 * B2  committed only moves to the end of a checkpoint that this very attempt prepared or restored (I2): an attempt that was replaced hears of
 *     checkpoints of its successor, whose positions are not those of its own records.
 * B3  A state leaves out exactly the segments that end at or below the cursor it holds, and the cursor outside never decreases: so whoever
 *     restores it finds every record at or above the cursor outside.
 */
#ifndef WEIR_TASKMANAGER_CONNECTORS_EPOCH_BOOK_H
#define WEIR_TASKMANAGER_CONNECTORS_EPOCH_BOOK_H

#include "common/base/buf.h"
#include "common/base/error.h"

enum { WEIR__SEGMENT_NAME_MAX = 64 };

struct weir__segment {
    uint32_t number; /* in the own name */
    uint64_t first, end;
    uint64_t bytes, hash; /* of the whole file */
};

struct weir__epoch_end {
    uint64_t checkpoint, end;
};

struct weir__epoch_book {
    uint64_t next;       /* position of the next record */
    uint64_t sealed;     /* where the open epoch begins */
    uint64_t committed;  /* below it may be drained */
    uint64_t cursor;     /* below it is drained, as far as known */
    uint64_t open_bytes; /* of the open epoch */
    uint64_t held_bytes; /* of the segments */
    uint32_t next_number;
    struct weir__segment *segments; /* oldest first */
    size_t nsegments, segments_cap;
    struct weir__epoch_end *prepared; /* not committed, oldest first */
    size_t nprepared, prepared_cap;
};

/* {0} is the book of a new log. */
void weir__epoch_book_fini(struct weir__epoch_book *book);

void weir__epoch_book_append(struct weir__epoch_book *book, uint32_t count, uint64_t bytes);

/* The open epoch, which has records, is the file `segment.number` of these bytes and hash. */
void weir__epoch_book_seal(struct weir__epoch_book *book, uint32_t number, uint64_t bytes, uint64_t hash);

/* Nothing is open: checkpoint k ends here. */
void weir__epoch_book_prepared(struct weir__epoch_book *book, uint64_t checkpoint);

/* True when more may be drained now. (B2) */
bool weir__epoch_book_commit(struct weir__epoch_book *book, uint64_t checkpoint);

/* Drained below cursor: segments that end there are taken off, their numbers appended to *numbers. */
void weir__epoch_book_advance(struct weir__epoch_book *book, uint64_t cursor, uint32_t **numbers, size_t *len, size_t *cap);

/* (E6) Only what will be drained by and by without help of this task counts: a prepared epoch whose checkpoint was aborted waits for the next
 * barrier, and that comes behind the rows that would wait here. */
bool weir__epoch_book_full(const struct weir__epoch_book *book, uint64_t bytes_max);

/* Whose files a state names: `log-<vertex>-<subtask>-<attempt>-<number>`; and of which run its log is. */
struct weir__segment_owner {
    uint32_t vertex, subtask, attempt, run;
};

/* out: at least WEIR__SEGMENT_NAME_MAX. Own names have no "log-". */
void weir__segment_name(struct weir__segment_owner owner, uint32_t number, bool linked, char *out);

/* A state, decoded: segments' names in the checkpoint's directory, and the segments with their numbers set to 0, 1, ... */
struct weir__epoch_state {
    uint32_t run, subtask; /* whose log it is: positions and cursor are that one's */
    uint64_t end, cursor;
    struct weir__segment *segments;
    char (*names)[WEIR__SEGMENT_NAME_MAX];
    size_t nsegments;
};

void weir__epoch_book_encode(const struct weir__epoch_book *book, struct weir__segment_owner owner, struct weir_buf *out);

/* False: not a state, or one that contradicts itself. */
bool weir__epoch_state_decode(struct weir_slice bytes, struct weir__epoch_state *out_state) WEIR_CHECKED;
void weir__epoch_state_fini(struct weir__epoch_state *state);

/* The book of an attempt that restores the state; book is {0}. */
void weir__epoch_book_restore(struct weir__epoch_book *book, const struct weir__epoch_state *state);

/* (E5) Judges the cursor that the outside system shows after every predecessor was fenced, against the checkpoint: known and end of its state,
 * 0 and 0 for a job that has none. CORRUPT, with what to do: a restart would find the same. */
struct weir__cursor_seen {
    bool found;
    uint64_t cursor;
};
enum weir_rc weir__epoch_cursor_check(struct weir__cursor_seen seen, uint64_t checkpoint, uint64_t known, uint64_t end,
                                      struct weir_error *err) WEIR_CHECKED;

#endif
