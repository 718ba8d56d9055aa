/* SPDX-License-Identifier: Apache-2.0
 * Kernels of composites. What they refuse in prepare, the composite's decomposition does. */
#ifndef RLT_COMPOSITE_H
#define RLT_COMPOSITE_H

#include "../core/flexbuffer.h"
#include "common.h"

/* Number under `key` of a map of attributes; `dflt` where there is none, NaN where it is no number. Counts the keys
 * that are there. */
static inline double rlt_attribute(const rlt_flex *map, const char *key, double dflt, uint64_t *known) {
  rlt_flex value;
  if (!rlt_flex_get(map, key, &value)) return dflt;
  ++*known;
  return rlt_flex_f64(&value, (double)__builtin_nanf(""));
}

/* UNSUPPORTED where there are attributes beside those that are known. */
static inline rlt_status rlt_check_attributes(rlt_prep *p, const rlt_flex *map, uint64_t known) {
  RLT_REQUIRE(p->err, rlt_flex_count(map) == known, RLT_UNSUPPORTED, "it has attributes that the kernel does not know");
  return RLT_OK;
}

/* As float32; UNSUPPORTED unless that is finite. */
static inline rlt_status rlt_finite_attribute(rlt_prep *p, const char *key, double value, float *to) {
  *to = (float)value;
  RLT_REQUIRE(p->err, *to - *to >= 0.0f, RLT_UNSUPPORTED, "its attribute '%s' is no finite number", key);
  return RLT_OK;
}

/* Every input that is there, and every output, is FLOAT32. */
static inline rlt_status rlt_check_all_float(rlt_prep *p, const rlt_node *n) {
  for (int32_t i = 0; i < n->def->n_inputs; i++)
    if (n->in[i]) RLT_TRY(rlt_check_type(p, n->in[i], RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  for (int32_t i = 0; i < n->def->n_outputs; i++)
    RLT_TRY(rlt_check_type(p, n->out[i], RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  return RLT_OK;
}

#endif
