/* SPDX-License-Identifier: Apache-2.0
 * What a build for a few models (`rillet build --ops`) refuses: operators, or tensor types of them, that none of these
 * models has, because the loops for them may have been left out. */
#include "internal.h"

#ifdef RLT_SELECTION

/* RLT_SELECTED(operator, custom code or NULL, types): a bit for every TensorType among the tensors of one node. */
static const struct selected {
  int32_t op;
  const char *custom;
  uint64_t types;
} SELECTED[] = {
#define RLT_SELECTED(op, custom, types) {RLT_OP_##op, custom, types},
#include "selection.h"
#undef RLT_SELECTED
};

static bool is_selected(const rlt_node_def *n, uint64_t types) {
  for (size_t i = 0; i < sizeof SELECTED / sizeof SELECTED[0]; i++) {
    const struct selected *s = &SELECTED[i];
    if (s->op != n->op || s->types != types) continue;
    if (!s->custom || rlt_same_text(s->custom, n->op_name)) return true;
  }
  return false;
}

static uint64_t types_of(const rlt_node_def *n, const int32_t *tensors, int32_t count) {
  uint64_t types = 0;
  for (int32_t i = 0; i < count; i++)
    if (tensors[i] >= 0) types |= (uint64_t)1 << (n->tensors[tensors[i]].type & 63);
  return types;
}

static void list_types(uint64_t types, char *to, size_t room) {
  size_t at = 0;
  for (int32_t t = 0; t < 64; t++) {
    if (!(types >> t & 1)) continue;
    const char *parts[2] = {at ? ", " : "", rlt_type_name(t)};
    for (int32_t i = 0; i < 2; i++)
      for (const char *c = parts[i]; *c && at + 1 < room; c++) to[at++] = *c;
  }
  to[at] = 0;
}

rlt_status rlt_check_selected(rlt_error *err, const rlt_node_def *n) {
  if (n->custom) return RLT_OK; /* the caller's own */
  uint64_t types = types_of(n, n->inputs, n->n_inputs) | types_of(n, n->outputs, n->n_outputs);
  if (is_selected(n, types)) return RLT_OK;
  char names[160];
  list_types(types, names, sizeof names);
  return rlt_fail(err, RLT_UNSUPPORTED, "this build lacks %s of %s; rebuild with --ops and this model", n->op_name,
                  names);
}

#else

rlt_status rlt_check_selected(rlt_error *err, const rlt_node_def *n) {
  (void)err;
  (void)n;
  return RLT_OK; /* the whole runtime is here */
}

#endif
