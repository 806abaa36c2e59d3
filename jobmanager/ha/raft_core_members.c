/*
 * Members are kept as the library encodes a configuration, so that what is on disk and on the wire can be given to it as it is; but it reads
 * without looking at lengths, so nothing reaches it that was not read here first:
 *   u8 version 1 | u64 count | count times: u64 id, address and NUL, u8 role | zeros up to a multiple of 8.
 */
#include "jobmanager/ha/raft_core_private.h"

#include "common/base/assert.h"

enum { FORMAT = 1, ADDRESS_BYTES_MAX = 255, ALIGNMENT = 8 };

void weir__raft_members_sort(struct weir_raft_member *members, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct weir_raft_member member = members[i];
        uint32_t at = i;
        for (; at > 0 && members[at - 1].id > member.id; at--) {
            members[at] = members[at - 1];
        }
        members[at] = member;
    }
}

void weir_raft_members_encode(const struct weir_raft_member *members, uint32_t count, struct weir_buf *out)
{
    struct weir_raft_member sorted[WEIR_RAFT_MEMBERS_MAX];
    weir_assert(count > 0 && count <= WEIR_RAFT_MEMBERS_MAX);
    memcpy(sorted, members, count * sizeof(*members));
    weir__raft_members_sort(sorted, count);
    size_t start = out->len;
    weir_buf_put_u8(out, FORMAT);
    weir_buf_put_u64(out, count);
    for (uint32_t i = 0; i < count; i++) {
        weir_buf_put_u64(out, sorted[i].id);
        weir_buf_put(out, sorted[i].address, strlen(sorted[i].address) + 1);
        weir_buf_put_u8(out, sorted[i].role == WEIR_RAFT_VOTER ? RAFT_VOTER : RAFT_STANDBY);
    }
    while ((out->len - start) % ALIGNMENT != 0) {
        weir_buf_put_u8(out, 0);
    }
}

/* The library refuses an address or an id that is there twice. */
static enum weir_rc check_list(const struct weir_raft_member *members, uint32_t count, struct weir_error *err)
{
    uint32_t voters = 0;
    for (uint32_t i = 0; i < count; i++) {
        voters += members[i].role == WEIR_RAFT_VOTER;
        if (members[i].id == 0 || (i > 0 && members[i - 1].id >= members[i].id)) {
            return weir_error_set(err, WEIR_CORRUPT, "list of members: ids are not in order");
        }
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(members[i].address, members[j].address) == 0) {
                return weir_error_set(err, WEIR_CORRUPT, "list of members: %s is there twice", members[i].address);
            }
        }
    }
    return voters > 0 ? WEIR_OK : weir_error_set(err, WEIR_CORRUPT, "list of members: nobody has a vote");
}

static enum weir_rc read_member(struct weir_reader *reader, struct weir_raft_member *out_member, struct weir_buf *text, struct weir_error *err)
{
    out_member->id = weir_read_u64(reader);
    const uint8_t *end = reader->rest.len == 0 ? NULL : memchr(reader->rest.data, 0, reader->rest.len);
    size_t len = end == NULL ? 0 : (size_t)(end - reader->rest.data);
    if (reader->failed || len == 0 || len > ADDRESS_BYTES_MAX) {
        return weir_error_set(err, WEIR_CORRUPT, "list of members: an address is cut off, empty or longer than %d bytes", ADDRESS_BYTES_MAX);
    }
    out_member->address = (const char *)text->data + text->len;
    struct weir_slice address = weir_read_raw(reader, len + 1);
    for (size_t i = 0; i < len; i++) {
        if (address.data[i] <= ' ' || address.data[i] > '~') {
            return weir_error_set(err, WEIR_CORRUPT, "list of members: an address has a character that is none of ASCII's visible ones");
        }
    }
    weir_buf_put_slice(text, address);
    uint8_t role = weir_read_u8(reader);
    if (reader->failed || (role != RAFT_VOTER && role != RAFT_STANDBY)) {
        return weir_error_set(err, WEIR_CORRUPT, "list of members: role %u of %s", role, out_member->address);
    }
    out_member->role = role == RAFT_VOTER ? WEIR_RAFT_VOTER : WEIR_RAFT_LEARNER;
    return WEIR_OK;
}

enum weir_rc weir_raft_members_decode(struct weir_slice bytes, struct weir_raft_member members[WEIR_RAFT_MEMBERS_MAX], uint32_t *out_count,
                                      struct weir_buf *out_text, struct weir_error *err)
{
    struct weir_reader reader = weir_reader(bytes);
    uint8_t format = weir_read_u8(&reader);
    uint64_t count = weir_read_u64(&reader);
    if (reader.failed || format != FORMAT || count == 0) {
        return weir_error_set(err, WEIR_CORRUPT, "%zu bytes are no list of members", bytes.len);
    }
    if (count > WEIR_RAFT_MEMBERS_MAX) {
        return weir_error_set(err, WEIR_LIMIT, "list of %lu members; %d at most", (unsigned long)count, WEIR_RAFT_MEMBERS_MAX);
    }
    weir_buf_clear(out_text);
    (void)weir_buf_reserve(out_text, bytes.len); /* the strings do not move any more */
    for (uint32_t i = 0; i < count; i++) {
        enum weir_rc rc = read_member(&reader, &members[i], out_text, err);
        if (rc != WEIR_OK) {
            return rc;
        }
    }
    for (size_t i = 0; i < reader.rest.len; i++) {
        if (reader.rest.data[i] != 0 || reader.rest.len >= ALIGNMENT || bytes.len % ALIGNMENT != 0) {
            return weir_error_set(err, WEIR_CORRUPT, "list of members: %zu bytes behind its end", reader.rest.len);
        }
    }
    if (bytes.len % ALIGNMENT != 0) {
        return weir_error_set(err, WEIR_CORRUPT, "list of members: cut off in its last bytes");
    }
    enum weir_rc rc = check_list(members, (uint32_t)count, err);
    if (rc == WEIR_OK) {
        *out_count = (uint32_t)count;
    }
    return rc;
}

enum weir_rc weir__raft_members_check(struct weir_slice encoded, struct weir_error *err)
{
    struct weir_raft_member members[WEIR_RAFT_MEMBERS_MAX];
    struct weir_buf text = {0};
    uint32_t count = 0;
    enum weir_rc rc = weir_raft_members_decode(encoded, members, &count, &text, err);
    weir_buf_fini(&text);
    return rc;
}

void weir__raft_members_fini(struct weir__raft_members *members)
{
    weir_buf_fini(&members->text);
    members->count = 0;
}

void weir__raft_members_load(struct weir__raft_members *members, struct weir_slice encoded)
{
    struct weir_error err;
    members->count = 0;
    enum weir_rc rc = encoded.len == 0 ? WEIR_OK : weir_raft_members_decode(encoded, members->items, &members->count, &members->text, &err);
    weir_assert(rc == WEIR_OK);
}

void weir__raft_members_to_library(struct weir_slice encoded, struct raft_configuration *out_configuration)
{
    struct weir__raft_members members = {0};
    weir__raft_members_load(&members, encoded);
    raft_configuration_init(out_configuration);
    for (uint32_t i = 0; i < members.count; i++) {
        int rv = raft_configuration_add(out_configuration, members.items[i].id, members.items[i].address,
                                        members.items[i].role == WEIR_RAFT_VOTER ? RAFT_VOTER : RAFT_STANDBY);
        weir_assert(rv == 0);
    }
    weir__raft_members_fini(&members);
}

static const struct weir_raft_member *find(const struct weir_raft_member *members, uint32_t count, uint64_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (members[i].id == id) {
            return &members[i];
        }
    }
    return NULL;
}

enum weir_rc weir__raft_members_check_step(const struct weir__raft_members *from, const struct weir_raft_member *to, uint32_t count,
                                           struct weir_error *err)
{
    uint32_t differences = 0;
    for (uint32_t i = 0; i < from->count; i++) {
        const struct weir_raft_member *was = &from->items[i];
        const struct weir_raft_member *now = find(to, count, was->id);
        if (now != NULL && strcmp(now->address, was->address) != 0) {
            return weir_error_set(err, WEIR_INVALID, "member %s cannot move to %s: remove it, and add it there with another id", was->address,
                                  now->address);
        }
        differences += now == NULL || now->role != was->role;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (find(from->items, from->count, to[i].id) == NULL) {
            differences++;
            if (to[i].role != WEIR_RAFT_LEARNER) {
                return weir_error_set(err, WEIR_INVALID, "member %s must be a learner first", to[i].address);
            }
        }
    }
    return differences == 1 ? WEIR_OK : weir_error_set(err, WEIR_INVALID, "%u members would change; one at a time", differences);
}
