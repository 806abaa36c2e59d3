#include "taskmanager/connectors/epoch_book.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

#include <inttypes.h>
#include <stdio.h>

#define STATE_MAGIC 0x324c4557u /* "WEL2": the digit is the version */

enum { CRC_BYTES = 4, SEGMENT_BYTES_MIN = 4 + 4 * 8 };

static const char linked_prefix[] = "log-";

void weir__epoch_book_fini(struct weir__epoch_book *book)
{
    weir_free(book->segments);
    weir_free(book->prepared);
    *book = (struct weir__epoch_book){0};
}

void weir__epoch_book_append(struct weir__epoch_book *book, uint32_t count, uint64_t bytes)
{
    book->next += count;
    book->open_bytes += bytes;
}

static void add_segment(struct weir__epoch_book *book, const struct weir__segment *segment)
{
    book->segments = weir_vec_grow(book->segments, &book->segments_cap, sizeof(*book->segments), book->nsegments + 1);
    book->segments[book->nsegments++] = *segment;
    book->held_bytes += segment->bytes;
}

void weir__epoch_book_seal(struct weir__epoch_book *book, uint32_t number, uint64_t bytes, uint64_t hash)
{
    weir_assert(book->next > book->sealed);
    add_segment(book, &(struct weir__segment){.number = number, .first = book->sealed, .end = book->next, .bytes = bytes, .hash = hash});
    book->sealed = book->next;
    book->open_bytes = 0;
}

void weir__epoch_book_prepared(struct weir__epoch_book *book, uint64_t checkpoint)
{
    weir_assert(book->sealed == book->next);
    weir_assert(book->nprepared == 0 || book->prepared[book->nprepared - 1].checkpoint < checkpoint);
    book->prepared = weir_vec_grow(book->prepared, &book->prepared_cap, sizeof(*book->prepared), book->nprepared + 1);
    book->prepared[book->nprepared++] = (struct weir__epoch_end){.checkpoint = checkpoint, .end = book->sealed};
}

bool weir__epoch_book_commit(struct weir__epoch_book *book, uint64_t checkpoint)
{
    size_t at = 0;
    while (at < book->nprepared && book->prepared[at].checkpoint != checkpoint) {
        at++;
    }
    if (at == book->nprepared) {
        return false;
    }
    uint64_t end = book->prepared[at].end;
    bool more = end > book->committed;
    weir_assert(end >= book->committed);
    book->committed = end;
    at++;
    memmove(book->prepared, book->prepared + at, (book->nprepared - at) * sizeof(*book->prepared));
    book->nprepared -= at;
    return more;
}

void weir__epoch_book_advance(struct weir__epoch_book *book, uint64_t cursor, uint32_t **numbers, size_t *len, size_t *cap)
{
    weir_assert(cursor >= book->cursor);
    weir_assert(cursor <= book->committed);
    book->cursor = cursor;
    size_t done = 0;
    for (; done < book->nsegments && book->segments[done].end <= cursor; done++) {
        *numbers = weir_vec_grow(*numbers, cap, sizeof(**numbers), *len + 1);
        (*numbers)[(*len)++] = book->segments[done].number;
        book->held_bytes -= book->segments[done].bytes;
    }
    if (done > 0) {
        memmove(book->segments, book->segments + done, (book->nsegments - done) * sizeof(*book->segments));
        book->nsegments -= done;
    }
}

bool weir__epoch_book_full(const struct weir__epoch_book *book, uint64_t bytes_max)
{
    return book->cursor < book->committed && book->held_bytes + book->open_bytes > bytes_max;
}

/* --- the state -------------------------------------------------------------------------------------------------------- */

void weir__segment_name(struct weir__segment_owner owner, uint32_t number, bool linked, char *out)
{
    (void)snprintf(out, WEIR__SEGMENT_NAME_MAX, "%s%u-%u-%u-%u", linked ? linked_prefix : "", owner.vertex, owner.subtask, owner.attempt, number);
}

void weir__epoch_book_encode(const struct weir__epoch_book *book, struct weir__segment_owner owner, struct weir_buf *out)
{
    size_t start = out->len;
    weir_assert(book->sealed == book->next);
    weir_assert(book->nsegments > 0 || book->cursor == book->sealed);
    weir_buf_put_u32(out, STATE_MAGIC);
    weir_buf_put_u32(out, owner.run);
    weir_buf_put_u32(out, owner.subtask);
    weir_buf_put_u64(out, book->sealed);
    weir_buf_put_u64(out, book->cursor);
    weir_buf_put_u64(out, book->nsegments);
    for (size_t i = 0; i < book->nsegments; i++) {
        const struct weir__segment *segment = &book->segments[i];
        char name[WEIR__SEGMENT_NAME_MAX];
        weir__segment_name(owner, segment->number, true, name);
        weir_buf_put_bytes(out, weir_slice_str(name));
        weir_buf_put_u64(out, segment->first);
        weir_buf_put_u64(out, segment->end);
        weir_buf_put_u64(out, segment->bytes);
        weir_buf_put_u64(out, segment->hash);
    }
    weir_buf_put_u32(out, weir_crc32c(0, out->data + start, out->len - start));
}

/* One that cannot leave the directory, nor be another file of it. */
static bool name_is_safe(struct weir_slice name)
{
    size_t prefix = sizeof(linked_prefix) - 1;
    bool safe = name.len > prefix && name.len < WEIR__SEGMENT_NAME_MAX && memcmp(name.data, linked_prefix, prefix) == 0;
    for (size_t i = prefix; safe && i < name.len; i++) {
        safe = name.data[i] == '-' || (name.data[i] >= '0' && name.data[i] <= '9');
    }
    return safe;
}

static bool decode_segments(struct weir_reader *reader, struct weir__epoch_state *state)
{
    uint64_t next = 0;
    for (size_t i = 0; i < state->nsegments; i++) {
        struct weir__segment *segment = &state->segments[i];
        struct weir_slice name = weir_read_bytes(reader);
        segment->number = (uint32_t)i;
        segment->first = weir_read_u64(reader);
        segment->end = weir_read_u64(reader);
        segment->bytes = weir_read_u64(reader);
        segment->hash = weir_read_u64(reader);
        if (reader->failed || !name_is_safe(name) || segment->end <= segment->first || (i > 0 && segment->first != next)) {
            return false;
        }
        memcpy(state->names[i], name.data, name.len);
        next = segment->end;
    }
    if (state->nsegments == 0) {
        return state->cursor == state->end;
    }
    return state->segments[0].first <= state->cursor && state->cursor <= state->end && next == state->end;
}

bool weir__epoch_state_decode(struct weir_slice bytes, struct weir__epoch_state *out_state)
{
    if (bytes.len < CRC_BYTES || weir_le_get_u32(bytes.data + bytes.len - CRC_BYTES) != weir_crc32c(0, bytes.data, bytes.len - CRC_BYTES)) {
        return false;
    }
    struct weir_reader reader = weir_reader(weir_slice(bytes.data, bytes.len - CRC_BYTES));
    if (weir_read_u32(&reader) != STATE_MAGIC) {
        return false;
    }
    struct weir__epoch_state state = {0};
    state.run = weir_read_u32(&reader);
    state.subtask = weir_read_u32(&reader);
    state.end = weir_read_u64(&reader);
    state.cursor = weir_read_u64(&reader);
    uint64_t count = weir_read_u64(&reader);
    if (reader.failed || count > reader.rest.len / SEGMENT_BYTES_MIN) {
        return false;
    }
    state.nsegments = (size_t)count;
    state.segments = weir_calloc(state.nsegments, sizeof(*state.segments));
    state.names = weir_calloc(state.nsegments, sizeof(*state.names));
    if (!decode_segments(&reader, &state) || reader.failed || reader.rest.len != 0) {
        weir__epoch_state_fini(&state);
        return false;
    }
    *out_state = state;
    return true;
}

void weir__epoch_state_fini(struct weir__epoch_state *state)
{
    weir_free(state->segments);
    weir_free(state->names);
    *state = (struct weir__epoch_state){0};
}

void weir__epoch_book_restore(struct weir__epoch_book *book, const struct weir__epoch_state *state)
{
    weir_assert(book->next == 0);
    for (size_t i = 0; i < state->nsegments; i++) {
        add_segment(book, &state->segments[i]);
    }
    book->next_number = (uint32_t)state->nsegments;
    book->next = book->sealed = book->committed = state->end;
    book->cursor = state->cursor;
}

/* --- the cursor ------------------------------------------------------------------------------------------------------- */

enum weir_rc weir__epoch_cursor_check(struct weir__cursor_seen seen, uint64_t checkpoint, uint64_t known, uint64_t end, struct weir_error *err)
{
    uint64_t cursor = seen.found ? seen.cursor : 0;
    if (cursor >= known && cursor <= end) {
        return WEIR_OK;
    }
    if (checkpoint == 0) {
        return weir_error_set(err, WEIR_CORRUPT,
                              "the cursor outside stands at record %" PRIu64 ", but no checkpoint is being restored: the checkpoints that led there "
                              "are lost or belong to another job; writing from record 0 would write twice. Submit the job anew: a new job has a "
                              "transactional id and a cursor of its own",
                              cursor);
    }
    if (!seen.found) {
        return weir_error_set(err, WEIR_CORRUPT,
                              "the cursor outside is gone (an expired or deleted consumer group, or a deleted topic), but checkpoint %" PRIu64
                              " says that at least %" PRIu64 " records are written: starting at 0 would write them twice. Submit the job anew: a new "
                              "job has a transactional id and a cursor of its own, but its records come again",
                              checkpoint, known);
    }
    if (cursor < known) {
        return weir_error_set(err, WEIR_CORRUPT,
                              "the cursor outside stands at record %" PRIu64 ", but checkpoint %" PRIu64 " says that %" PRIu64 " are written: it was "
                              "set back, or the topic was made anew. Submit the job anew: a new job has a transactional id and a cursor of its own, "
                              "but its records come again",
                              cursor, checkpoint, known);
    }
    return weir_error_set(err, WEIR_CORRUPT,
                          "the cursor outside stands at record %" PRIu64 ", beyond %" PRIu64 ", the end of the restored checkpoint %" PRIu64
                          ": a newer one was written out already, and an older one would write other records again. Restore the newest checkpoint, "
                          "or submit the job anew: a new job has a transactional id and a cursor of its own, but its records come again",
                          cursor, end, checkpoint);
}
