/*
 * CRC-32C (Castagnoli, reflected, as in iSCSI, ext4 and RocksDB): the checksum of every frame, log entry and file of Weir.
 */
#ifndef WEIR_COMMON_BASE_CRC32C_H
#define WEIR_COMMON_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what `crc` covers followed by `len` bytes; crc is 0 for the first piece. Any thread. */
uint32_t weir_crc32c(uint32_t crc, const void *data, size_t len);

/* The same by a table of bytes: what weir_crc32c is on machines without the instruction, and the test's second opinion. */
uint32_t weir_crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
