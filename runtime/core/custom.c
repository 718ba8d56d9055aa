/* SPDX-License-Identifier: Apache-2.0
 * The caller's own operators, called through rlt_custom_op. */
#include "internal.h"

enum { MOST = 32 }; /* inputs, and outputs, of one such node */

static rlt_custom_tensor show(const rlt_tensor *t, const void *data) {
  if (!t) return (rlt_custom_tensor){.type = -1};
  rlt_custom_tensor shown = {t->type, t->rank, {0}, t->bytes, (void *)(uintptr_t)data};
  __builtin_memcpy(shown.dims, t->dims, sizeof shown.dims);
  return shown;
}

/* Says the operator's own words, if it has left any. */
static rlt_status judge(rlt_error *err, rlt_custom_call *call, rlt_status status) {
  if (status == RLT_OK) return RLT_OK;
  call->error[sizeof call->error - 1] = 0;
  if ((uint32_t)status > RLT_LATER) status = RLT_BAD_VALUE;
  return rlt_fail(err, status, "%s", call->error[0] ? call->error : "it failed and did not say why");
}

static rlt_status check_counts(rlt_prep *p, const rlt_node *n) {
  RLT_REQUIRE(p->err, n->def->n_inputs <= MOST && n->def->n_outputs <= MOST, RLT_UNSUPPORTED,
              "it has %d inputs and %d outputs, a custom operator of the caller may have %d each", n->def->n_inputs,
              n->def->n_outputs, (int32_t)MOST);
  for (int32_t i = 0; i < n->def->n_outputs; i++)
    RLT_REQUIRE(p->err, rlt_type_bytes(n->out[i]->type), RLT_UNSUPPORTED, "%T: values of this type cannot be passed on",
                n->out[i]);
  return RLT_OK;
}

static rlt_custom_call begin(const rlt_node *n, const rlt_custom_tensor *in, rlt_custom_tensor *out) {
  return (rlt_custom_call){.name = n->def->op_name,
                           .options = n->def->custom_options.data,
                           .options_size = n->def->custom_options.size,
                           .n_inputs = n->def->n_inputs,
                           .n_outputs = n->def->n_outputs,
                           .inputs = in,
                           .outputs = out};
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  rlt_custom_tensor in[MOST], out[MOST];
  const rlt_custom_op *op = n->def->custom;
  RLT_TRY(check_counts(p, n));
  for (int32_t i = 0; i < n->def->n_inputs; i++) in[i] = show(n->in[i], n->in[i] ? rlt_const_data(n->in[i]) : NULL);
  for (int32_t i = 0; i < n->def->n_outputs; i++) out[i] = show(n->out[i], NULL);
  rlt_custom_call call = begin(n, in, out);
  RLT_TRY(judge(p->err, &call, op->prepare(op->ctx, &call)));
  for (int32_t i = 0; i < n->def->n_outputs; i++) RLT_TRY(rlt_set_shape(p, n->out[i], out[i].rank, out[i].dims));
  return RLT_OK;
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  rlt_custom_tensor in[MOST], out[MOST];
  const rlt_custom_op *op = n->def->custom;
  (void)first, (void)last;
  for (int32_t i = 0; i < n->def->n_inputs; i++) in[i] = show(n->in[i], n->in[i] ? n->in[i]->data : NULL);
  for (int32_t i = 0; i < n->def->n_outputs; i++) out[i] = show(n->out[i], n->out[i]->data);
  for (int32_t i = 0; i < n->def->n_outputs; i++) /* one that the operator leaves out is an empty string */
    if (n->out[i]->type == RLT_TYPE_STRING && n->out[i]->bytes)
      __builtin_memset(n->out[i]->data, 0, (size_t)n->out[i]->bytes);
  rlt_custom_call call = begin(n, in, out);
  rlt_status status = op->run(op->ctx, &call);
  return judge(r->err, &call, status == RLT_LATER ? RLT_BAD_VALUE : status);
}

const rlt_kernel rlt_kernel_custom = {"CUSTOM", 0, INT32_MAX, true, prepare, NULL, run};
