/*
 * The loops of kernels. A binary kernel over plain arrays has a loop of its own for column-column, column-constant and
 * constant-column without a row list, so that the compiler vectorises each; with a row list there is one loop.
 */
#ifndef WEIR_COMMON_EXPR_FN_LOOP_H
#define WEIR_COMMON_EXPR_FN_LOOP_H

#include "common/expr/fn.h"

/* EXPR uses x and y (c_type). Infallible: runs over NULL rows too. */
#define WEIR_LOOP_BINARY(call, c_type, out_type, EXPR)                                              \
    do {                                                                                            \
        const struct weir_vec *va_ = &(call)->args[0], *vb_ = &(call)->args[1];                     \
        const c_type *restrict a_ = va_->values, *restrict b_ = vb_->values;                        \
        out_type *restrict r_ = (call)->out.values;                                                 \
        uint32_t n_ = (call)->count;                                                                \
        if ((call)->rows != NULL || (va_->mask == 0 && vb_->mask == 0)) {                           \
            WEIR_EACH_ROW(call, i_) {                                                               \
                c_type x = a_[i_ & va_->mask], y = b_[i_ & vb_->mask];                              \
                r_[i_] = (out_type)(EXPR);                                                          \
            }                                                                                       \
        } else if (vb_->mask == 0) {                                                                \
            c_type y = b_[0];                                                                       \
            for (uint32_t i_ = 0; i_ < n_; i_++) {                                                  \
                c_type x = a_[i_];                                                                  \
                r_[i_] = (out_type)(EXPR);                                                          \
            }                                                                                       \
        } else if (va_->mask == 0) {                                                                \
            c_type x = a_[0];                                                                       \
            for (uint32_t i_ = 0; i_ < n_; i_++) {                                                  \
                c_type y = b_[i_];                                                                  \
                r_[i_] = (out_type)(EXPR);                                                          \
            }                                                                                       \
        } else {                                                                                    \
            for (uint32_t i_ = 0; i_ < n_; i_++) {                                                  \
                c_type x = a_[i_], y = b_[i_];                                                      \
                r_[i_] = (out_type)(EXPR);                                                          \
            }                                                                                       \
        }                                                                                           \
    } while (0)

/* EXPR uses x. */
#define WEIR_LOOP_UNARY(call, c_type, out_type, EXPR)                              \
    do {                                                                           \
        const struct weir_vec *va_ = &(call)->args[0];                             \
        const c_type *restrict a_ = va_->values;                                   \
        out_type *restrict r_ = (call)->out.values;                                \
        if ((call)->rows != NULL || va_->mask == 0) {                              \
            WEIR_EACH_ROW(call, i_) {                                              \
                c_type x = a_[i_ & va_->mask];                                     \
                r_[i_] = (out_type)(EXPR);                                         \
            }                                                                      \
        } else {                                                                   \
            for (uint32_t i_ = 0; i_ < (call)->count; i_++) {                      \
                c_type x = a_[i_];                                                 \
                r_[i_] = (out_type)(EXPR);                                         \
            }                                                                      \
        }                                                                          \
    } while (0)

#endif
