/*
 * The version of the programs, for --version, the handshake and the REST API.
 */
#ifndef WEIR_COMMON_BASE_VERSION_H
#define WEIR_COMMON_BASE_VERSION_H

#define WEIR_VERSION "0.1.0"

#endif
