/* SPDX-License-Identifier: Apache-2.0 */
#define HOLDS_NINE 1
#include "depthwise_neon.inc"

const rlt_f32_depthwise rlt_f32_depthwise_8__neon = {"rlt_f32_depthwise_8__neon", F32_CR, f32_run};
const rlt_s8_depthwise rlt_s8_depthwise_16__neon = {"rlt_s8_depthwise_16__neon", S8_CR, s8_run};
