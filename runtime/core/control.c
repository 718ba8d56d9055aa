/* SPDX-License-Identifier: Apache-2.0
 * Operators that run subgraphs: IF, STABLEHLO_CASE, WHILE, CALL_ONCE and STABLEHLO_COMPOSITE. */
#include "internal.h"

/* ---- what they share ---- */

static bool same_shape(const rlt_tensor *a, const rlt_tensor *b) {
  bool same = a->rank == b->rank;
  for (int32_t d = 0; same && d < a->rank; d++) same = a->dims[d] == b->dims[d];
  return same;
}

static rlt_status check_result(rlt_prep *p, const rlt_node *n, int32_t subgraph, int32_t i) {
  const rlt_tensor *from = rlt_call_output(p->frame, subgraph, i), *to = n->out[i];
  RLT_REQUIRE(p->err, from->type == to->type, RLT_BAD_MODEL, "%T of subgraph %d becomes %T", from, subgraph, to);
  return RLT_OK;
}

static rlt_status check_results(rlt_prep *p, const rlt_node *n, int32_t subgraph) {
  int32_t count = p->frame->it->model->subgraphs[subgraph].n_outputs;
  RLT_REQUIRE(p->err, count == n->def->n_outputs, RLT_BAD_MODEL, "it has %d outputs, subgraph %d has %d",
              n->def->n_outputs, subgraph, count);
  for (int32_t i = 0; i < count; i++) RLT_TRY(check_result(p, n, subgraph, i));
  return RLT_OK;
}

/* Output i is what the subgraph gives; its shape is known if the subgraph's is. */
static rlt_status shape_result(rlt_prep *p, rlt_node *n, int32_t subgraph, int32_t i) {
  const rlt_tensor *from = rlt_call_output(p->frame, subgraph, i);
  if (from->extent != RLT_STATIC) {
    rlt_open_shape(n->out[i]);
    return RLT_OK;
  }
  return rlt_set_shape(p, n->out[i], from->rank, from->dims);
}

/* A body may have made the value in its place already, in another shape of as many elements. */
static rlt_status copy_value(const rlt_run *r, rlt_tensor *to, const rlt_tensor *from) {
  bool is_there = to->data == from->data && to->bytes == from->bytes && to->bytes;
  if (is_there) {
    to->rank = from->rank;
    __builtin_memcpy(to->dims, from->dims, sizeof to->dims);
    return RLT_OK;
  }
  if (to->by_run) RLT_TRY(rlt_set_output(r, to, from->rank, from->dims));
  RLT_REQUIRE(r->err, to->bytes == from->bytes, RLT_BAD_VALUE, "%T cannot hold %T", to, from);
  if (to->bytes) __builtin_memmove(to->data, from->data, (size_t)to->bytes);
  return RLT_OK;
}

static rlt_status copy_results(const rlt_run *r, const rlt_node *n, int32_t subgraph) {
  for (int32_t i = 0; i < n->def->n_outputs; i++)
    RLT_TRY(copy_value(r, n->out[i], rlt_call_output(r->frame, subgraph, i)));
  return RLT_OK;
}

static rlt_status check_condition(rlt_prep *p, const rlt_tensor *t) {
  RLT_REQUIRE(p->err, t->type == RLT_TYPE_BOOL, RLT_BAD_MODEL, "%T: the condition must be a BOOL", t);
  RLT_REQUIRE(p->err, t->extent != RLT_STATIC || t->count == 1, RLT_BAD_MODEL, "%T: the condition must be one value",
              t);
  return RLT_OK;
}

static rlt_status read_condition(const rlt_run *r, const rlt_tensor *t, bool *value) {
  RLT_REQUIRE(r->err, t->count == 1, RLT_BAD_VALUE, "%T: the condition must be one value", t);
  *value = *(const uint8_t *)t->data != 0;
  return RLT_OK;
}

/* ---- IF and STABLEHLO_CASE: the first input chooses, the others go to the branch ---- */

/* An output has the shape that all branches give it, or one that only run tells. */
static rlt_status prepare_branches(rlt_prep *p, rlt_node *n) {
  int32_t branches = rlt_call_count(n->def);
  for (int32_t k = 0; k < branches; k++) {
    RLT_TRY(rlt_prepare_call(p, n, rlt_called(n->def, k), n->in + 1, n->def->n_inputs - 1));
    RLT_TRY(check_results(p, n, rlt_called(n->def, k)));
  }
  for (int32_t i = 0; i < n->def->n_outputs; i++) {
    bool same = true;
    RLT_TRY(shape_result(p, n, rlt_called(n->def, 0), i));
    for (int32_t k = 1; k < branches; k++) {
      const rlt_tensor *other = rlt_call_output(p->frame, rlt_called(n->def, k), i);
      same = same && other->extent == RLT_STATIC && same_shape(n->out[i], other);
    }
    if (!same) rlt_open_shape(n->out[i]);
  }
  return RLT_OK;
}

static rlt_status run_branch(const rlt_run *r, const rlt_node *n, int32_t branch) {
  RLT_TRY(rlt_call(r, n, branch, n->in + 1, n->def->n_inputs - 1));
  return copy_results(r, n, branch);
}

static rlt_status prepare_if(rlt_prep *p, rlt_node *n) {
  RLT_REQUIRE(p->err, n->def->n_inputs >= 1 && n->in[0], RLT_BAD_MODEL, "it has no condition");
  RLT_TRY(check_condition(p, n->in[0]));
  return prepare_branches(p, n);
}

static rlt_status run_if(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  bool yes = false;
  RLT_TRY(read_condition(r, n->in[0], &yes));
  return run_branch(r, n, n->def->calls[yes ? 0 : 1]);
}

static rlt_status prepare_case(rlt_prep *p, rlt_node *n) {
  RLT_REQUIRE(p->err, n->def->n_inputs >= 1 && n->in[0], RLT_BAD_MODEL, "it has no index");
  const rlt_tensor *index = n->in[0];
  bool fits = index->type == RLT_TYPE_INT32 && (index->extent != RLT_STATIC || index->count == 1);
  RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T: the index must be one INT32", index);
  return prepare_branches(p, n);
}

/* An index that no branch has chooses the last. */
static rlt_status run_case(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  RLT_REQUIRE(r->err, n->in[0]->count == 1, RLT_BAD_VALUE, "%T: the index must be one value", n->in[0]);
  int32_t index = *(const int32_t *)n->in[0]->data, branches = rlt_call_count(n->def);
  return run_branch(r, n, rlt_called(n->def, index >= 0 && index < branches ? index : branches - 1));
}

/* ---- WHILE: the outputs hold the values from turn to turn, but for those that the body passes on ---- */

static rlt_status prepare_while(rlt_prep *p, rlt_node *n) {
  int32_t count = n->def->n_inputs, condition = n->def->calls[0], body = n->def->calls[1];
  RLT_TRY(rlt_prepare_call(p, n, body, n->in, count));
  RLT_TRY(rlt_prepare_call(p, n, condition, n->in, count));
  RLT_REQUIRE(p->err, p->frame->it->model->subgraphs[condition].n_outputs == 1, RLT_BAD_MODEL,
              "its condition, subgraph %d, must have one output", condition);
  RLT_TRY(check_condition(p, rlt_call_output(p->frame, condition, 0)));
  RLT_REQUIRE(p->err, n->def->n_outputs == count, RLT_BAD_MODEL, "it has %d inputs and %d outputs", count,
              n->def->n_outputs);
  RLT_TRY(check_results(p, n, body));
  bool fixed = true; /* a turn leaves every shape as it was */
  for (int32_t i = 0; i < count; i++) {
    const rlt_tensor *from = rlt_call_output(p->frame, body, i);
    fixed = fixed && from->extent == RLT_STATIC && same_shape(from, n->in[i]);
    RLT_TRY(rlt_set_shape(p, n->out[i], n->in[i]->rank, n->in[i]->dims));
  }
  for (int32_t i = 0; i < count && !fixed; i++) rlt_open_shape(n->out[i]);
  n->in_place = fixed ? RLT_EACH_IN_PLACE : -1;
  return RLT_OK;
}

/* States and those outputs of the body that have a place of their own (core/plan.c) change places. */
static void change_places(const rlt_run *r, const rlt_node *n) {
  for (int32_t i = 0; i < n->def->n_outputs; i++) {
    rlt_tensor *made = rlt_call_output(r->frame, n->def->calls[1], i), *state = n->out[i];
    if (!made->is_apart) continue;
    void *data = state->data;
    state->data = made->data;
    made->data = data;
  }
}

/* The body's outputs become its next inputs. */
static rlt_status take_turn(const rlt_run *r, const rlt_node *n, bool swaps) {
  for (int32_t i = 0; i < n->def->n_outputs; i++) {
    const rlt_tensor *made = rlt_call_output(r->frame, n->def->calls[1], i);
    if ((swaps && made->is_apart) || rlt_passes_on(r->frame, n->def, i)) continue;
    RLT_TRY(copy_value(r, n->out[i], made));
  }
  if (swaps) change_places(r, n);
  return RLT_OK;
}

/* *swapped: the states are where the body's outputs belong, and the other way round. */
static rlt_status run_turns(const rlt_run *r, const rlt_node *n, bool *swapped) {
  int32_t count = n->def->n_inputs, condition = n->def->calls[0], body = n->def->calls[1];
  const rlt_frame *f = r->frame->it->frames[body];
  bool again = false;
  for (;;) {
    RLT_TRY(rlt_call(r, n, condition, n->out, count));
    RLT_TRY(read_condition(r, rlt_call_output(r->frame, condition, 0), &again));
    if (!again) return RLT_OK;
    RLT_TRY(rlt_call(r, n, body, n->out, count));
    bool swaps = count > 0 && !n->out[0]->by_run && !f->has_late && !f->piece.block;
    RLT_TRY(take_turn(r, n, swaps));
    *swapped ^= swaps;
  }
}

static rlt_status run_while(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  int32_t count = n->def->n_inputs;
  bool swapped = false;
  for (int32_t i = 0; i < count; i++)
    if (!rlt_passes_on(r->frame, n->def, i)) RLT_TRY(copy_value(r, n->out[i], n->in[i]));
  rlt_status status = run_turns(r, n, &swapped);
  if (swapped) change_places(r, n);
  RLT_TRY(status);
  for (int32_t i = 0; i < count; i++) {
    const rlt_tensor *made = rlt_call_output(r->frame, n->def->calls[1], i);
    bool is_read = n->out[i]->last_use > n->out[i]->def->producer;
    if (!is_read) continue;
    if (rlt_passes_on(r->frame, n->def, i)) RLT_TRY(copy_value(r, n->out[i], n->in[i]));
    else if (swapped && made->is_apart) RLT_TRY(copy_value(r, n->out[i], made));
  }
  return RLT_OK;
}

/* ---- CALL_ONCE ---- */

static rlt_status prepare_call_once(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 0, 0, 0));
  RLT_TRY(rlt_prepare_call(p, n, n->def->calls[0], NULL, 0));
  return check_results(p, n, n->def->calls[0]);
}

static rlt_status run_call_once(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  bool *done = rlt_state_once(r->frame->it->state, n->def->calls[0]);
  if (*done) return RLT_OK;
  RLT_TRY(rlt_call(r, n, n->def->calls[0], NULL, 0));
  *done = true;
  return RLT_OK;
}

/* ---- STABLEHLO_COMPOSITE: by the kernel of its name, else by the operators it was made of ---- */

static rlt_status prepare_decomposition(rlt_prep *p, rlt_node *n) {
  n->is_decomposed = true;
  for (int32_t i = 0; i < n->def->n_inputs; i++)
    RLT_REQUIRE(p->err, p->frame->it->stage != RLT_BOUND || !n->in[i] || !n->in[i]->is_passing, RLT_UNSUPPORTED,
                "%T was packed for other shapes than the model now has", n->in[i]);
  RLT_TRY(rlt_prepare_call(p, n, n->def->calls[0], n->in, n->def->n_inputs));
  RLT_TRY(check_results(p, n, n->def->calls[0]));
  for (int32_t i = 0; i < n->def->n_outputs; i++) RLT_TRY(shape_result(p, n, n->def->calls[0], i));
  return RLT_OK;
}

/* What the kernel refuses, of these types and shapes or with these attributes, the decomposition may well do. */
static rlt_status prepare_composite(rlt_prep *p, rlt_node *n) {
  if (!n->def->composite) return prepare_decomposition(p, n);
  rlt_status status = n->def->composite->prepare(p, n);
  if (status != RLT_UNSUPPORTED && status != RLT_BAD_MODEL) return status;
  p->err->status = RLT_OK;
  rlt_reset_node(n);
  return prepare_decomposition(p, n);
}

static void pack_composite(const rlt_ukernels *u, const rlt_node *n) { n->def->composite->pack(u, n); }

static rlt_status run_composite(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  if (!n->is_decomposed) return n->def->composite->run(r, n, first, last);
  RLT_TRY(rlt_call(r, n, n->def->calls[0], n->in, n->def->n_inputs));
  return copy_results(r, n, n->def->calls[0]);
}

const rlt_kernel rlt_kernel_if = {"IF", 0, 1, true, prepare_if, NULL, run_if};
const rlt_kernel rlt_kernel_stablehlo_case = {"STABLEHLO_CASE", 0, 1, true, prepare_case, NULL, run_case};
const rlt_kernel rlt_kernel_while = {"WHILE", 0, 1, true, prepare_while, NULL, run_while};
const rlt_kernel rlt_kernel_call_once = {"CALL_ONCE", 0, 1, true, prepare_call_once, NULL, run_call_once};
const rlt_kernel rlt_kernel_composite = {"STABLEHLO_COMPOSITE", RLT_COMPOSITE_DATA, 1, true, prepare_composite,
                                         pack_composite,        run_composite};
