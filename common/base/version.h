/*
 * The version of this tree, as daemons, client and HTTP API show it.
 */
#ifndef WEIR_COMMON_BASE_VERSION_H
#define WEIR_COMMON_BASE_VERSION_H

#define WEIR_VERSION "0.1.0"

#endif
