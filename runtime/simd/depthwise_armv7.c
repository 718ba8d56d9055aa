/* SPDX-License-Identifier: Apache-2.0 */
#define HOLDS_NINE 0
#include "depthwise_neon.inc"

const rlt_f32_depthwise rlt_f32_depthwise_8__armv7 = {"rlt_f32_depthwise_8__armv7", F32_CR, f32_run};
const rlt_s8_depthwise rlt_s8_depthwise_16__armv7 = {"rlt_s8_depthwise_16__armv7", S8_CR, s8_run};
