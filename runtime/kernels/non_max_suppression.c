/* SPDX-License-Identifier: Apache-2.0
 * NON_MAX_SUPPRESSION_V4 and V5: boxes in the order of their scores, without those that overlap a better one. V5 has a
 * sigma: above 0 overlapping boxes lose score instead (Soft-NMS, Bodla et al. 2017). Equal scores go to the first. */
#include "boxes.h"

enum { BOXES, SCORES, MAX_OUTPUT, IOU_THRESHOLD, SCORE_THRESHOLD, SIGMA };

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  bool soft = n->def->op == RLT_OP_NON_MAX_SUPPRESSION_V5;
  int32_t inputs = soft ? 6 : 5, outputs = soft ? 3 : 2, most, count;
  RLT_TRY(rlt_check_arity(p, n, inputs, inputs, outputs));
  const rlt_tensor *boxes = n->in[BOXES], *scores = n->in[SCORES];
  for (int32_t i = 0; i < inputs; i++) {
    if (i != MAX_OUTPUT) RLT_TRY(rlt_check_type(p, n->in[i], RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
    RLT_REQUIRE(p->err, i < MAX_OUTPUT || n->in[i]->count == 1, RLT_BAD_MODEL, "%T must be one value", n->in[i]);
  }
  for (int32_t i = 0; i < outputs; i++) {
    bool is_score = soft && i == 1;
    RLT_TRY(rlt_check_type(p, n->out[i], is_score ? RLT_BIT(RLT_TYPE_FLOAT32) : RLT_BIT(RLT_TYPE_INT32),
                           is_score ? "FLOAT32" : "INT32"));
  }
  bool fits = boxes->rank == 2 && boxes->dims[1] == 4 && scores->rank == 1 && scores->dims[0] == boxes->dims[0];
  RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T and %T are not boxes of four corners and their scores", boxes, scores);
  RLT_TRY(rlt_const_ints(p, n->in[MAX_OUTPUT], 1, &most, &count));
  RLT_REQUIRE(p->err, most >= 0, RLT_BAD_MODEL, "at most %d boxes are wanted", most);
  for (int32_t i = 0; i < outputs - 1; i++) RLT_TRY(rlt_set_shape(p, n->out[i], 1, &most));
  n->scratch_bytes = (uint64_t)boxes->dims[0] * sizeof(rlt_candidate);
  n->macs = (uint64_t)boxes->dims[0] * (uint64_t)most; /* comparisons */
  return rlt_set_shape(p, n->out[outputs - 1], 0, NULL);
}

/* Compares a candidate with the boxes chosen since it was last looked at; its score may fall. false: it is out. */
static bool survives(const rlt_node *n, rlt_candidate *c, const int32_t *chosen, int32_t count, float sigma) {
  const float *boxes = n->in[BOXES]->data;
  float limit = *(const float *)n->in[IOU_THRESHOLD]->data, least = *(const float *)n->in[SCORE_THRESHOLD]->data;
  float factor = sigma > 0.0f ? (float)(-0.5 / (double)sigma) : 0.0f;
  for (int32_t i = count - 1; i >= c->seen; i--) {
    float part = rlt_box_overlap(boxes + 4 * (int64_t)c->index, boxes + 4 * (int64_t)chosen[i]);
    if (part >= limit) return false;
    if (sigma > 0.0f) c->score = c->score * (float)rlt_exp64((double)(factor * part * part));
    if (c->score <= least) return false;
  }
  c->seen = count;
  return true;
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  bool soft = n->def->op == RLT_OP_NON_MAX_SUPPRESSION_V5;
  int32_t most = n->out[0]->dims[0], count = 0, *chosen = n->out[0]->data;
  float *chosen_scores = soft ? n->out[1]->data : NULL;
  float sigma = soft ? *(const float *)n->in[SIGMA]->data : 0.0f;
  rlt_candidate *heap = r->scratch;
  RLT_REQUIRE(r->err, sigma >= 0.0f, RLT_BAD_VALUE, "sigma is below 0");
  int64_t size = rlt_candidates(heap, n->in[SCORES]->data, n->in[SCORES]->dims[0],
                                *(const float *)n->in[SCORE_THRESHOLD]->data, false);
  while (size > 0 && count < most) {
    float before = heap[0].score;
    bool stays = survives(n, &heap[0], chosen, count, sigma);
    bool take = stays && !(heap[0].score < before);
    if (take) {
      chosen[count] = heap[0].index;
      if (soft) chosen_scores[count] = heap[0].score;
      count++;
    }
    if (take || !stays) heap[0] = heap[--size];
    rlt_candidates_sift(heap, size);
  }
  for (int32_t i = count; i < most; i++) {
    chosen[i] = 0;
    if (soft) chosen_scores[i] = 0.0f;
  }
  *(int32_t *)n->out[soft ? 2 : 1]->data = count;
  return RLT_OK;
}

const rlt_kernel rlt_kernel_non_max_suppression_v4 = {
    .name = "NON_MAX_SUPPRESSION_V4", .max_version = 1, .prepare = prepare, .run = run};
const rlt_kernel rlt_kernel_non_max_suppression_v5 = {
    .name = "NON_MAX_SUPPRESSION_V5", .max_version = 1, .prepare = prepare, .run = run};
