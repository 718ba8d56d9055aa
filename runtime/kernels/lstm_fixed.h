/* SPDX-License-Identifier: Apache-2.0
 * gemmlowp's 16-bit fixed-point functions, bit by bit, and the inverse square root of TFLite's integer layers.
 * A Q-number with i integer bits is its integer times 2^(i - 15). */
#ifndef RLT_LSTM_FIXED_H
#define RLT_LSTM_FIXED_H

#include "quantize_math.h"

int16_t rlt_fixed_logistic(int16_t x);                   /* 3 integer bits -> 0 */
int16_t rlt_fixed_tanh(int16_t x, int32_t integer_bits); /* 0 to 6 integer bits -> 0 */
int16_t rlt_fixed_mul(int16_t a, int16_t b);             /* round(2 a b / 2^16), ties up, saturating */
rlt_multiplier rlt_fixed_inverse_sqrt(int32_t x);        /* 1 / sqrt(x); of what is below 2, nearly 1 */

#endif
