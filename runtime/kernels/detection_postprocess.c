/* SPDX-License-Identifier: Apache-2.0
 * TFLite_Detection_PostProcess, a custom operator: boxes decoded from anchors, then those that overlap no better one.
 * The fast form compares boxes by their best class, the regular one label by label. */
#include "../core/flexbuffer.h"
#include "boxes.h"
#include "quantize_math.h"

#define MOST_CLASSES 100 /* named per detection: they are looked for one after the other */

typedef struct detection_data {
  int32_t boxes, classes, columns; /* columns: classes and, before them, perhaps the background */
  int32_t most, per_detection, per_class;
  bool regular;
  float score_threshold, iou_threshold;
  double y_scale, x_scale, h_scale, w_scale;
} detection_data;

typedef struct found {
  int32_t box, label;
  float score;
} found;

/* Parts of the scratch. */
typedef struct detection_scratch {
  float *corners, *scores;
  rlt_candidate *heap;
  int32_t *chosen;
  found *best, *merged;
} detection_scratch;

enum { ENCODINGS, SCORES, ANCHORS };

/* ---- prepare ---- */

static rlt_status read_options(rlt_prep *p, const rlt_node *n) {
  detection_data *k = n->data;
  rlt_flex o;
  RLT_REQUIRE(p->err, rlt_flex_root(n->def->custom_options, &o), RLT_BAD_MODEL, "its options are no FlexBuffer");
  int64_t most = rlt_flex_get_i64(&o, "max_detections", 0);
  int64_t per_detection = rlt_flex_get_i64(&o, "max_classes_per_detection", 0);
  int64_t per_class = rlt_flex_get_i64(&o, "detections_per_class", 100);
  int64_t classes = rlt_flex_get_i64(&o, "num_classes", 0);
  RLT_REQUIRE(p->err, most >= 1 && per_class >= 1 && classes >= 1 && most <= INT32_MAX / MOST_CLASSES, RLT_BAD_MODEL,
              "max_detections, detections_per_class and num_classes must be 1 at least, and no more than memory holds");
  RLT_REQUIRE(p->err, per_detection >= 1 && per_detection <= MOST_CLASSES, RLT_UNSUPPORTED,
              "max_classes_per_detection must be 1 to %d", (int32_t)MOST_CLASSES);
  k->most = (int32_t)most;
  k->per_detection = (int32_t)per_detection;
  k->per_class = (int32_t)(per_class < most ? per_class : most);
  k->classes = (int32_t)(classes < INT32_MAX ? classes : INT32_MAX);
  k->regular = rlt_flex_get_bool(&o, "use_regular_nms", false);
  k->score_threshold = (float)rlt_flex_get_f64(&o, "nms_score_threshold", 0.0);
  k->iou_threshold = (float)rlt_flex_get_f64(&o, "nms_iou_threshold", 0.0);
  k->y_scale = (double)(float)rlt_flex_get_f64(&o, "y_scale", 0.0);
  k->x_scale = (double)(float)rlt_flex_get_f64(&o, "x_scale", 0.0);
  k->h_scale = (double)(float)rlt_flex_get_f64(&o, "h_scale", 0.0);
  k->w_scale = (double)(float)rlt_flex_get_f64(&o, "w_scale", 0.0);
  RLT_REQUIRE(p->err, k->iou_threshold > 0.0f && k->iou_threshold <= 1.0f, RLT_BAD_MODEL,
              "nms_iou_threshold must lie above 0 and be 1 at most");
  RLT_REQUIRE(p->err, k->y_scale > 0.0 && k->x_scale > 0.0 && k->h_scale > 0.0 && k->w_scale > 0.0, RLT_BAD_MODEL,
              "y_scale, x_scale, h_scale and w_scale must be above 0");
  return RLT_OK;
}

static rlt_status check_inputs(rlt_prep *p, const rlt_node *n) {
  detection_data *k = n->data;
  const rlt_tensor *boxes = n->in[ENCODINGS], *scores = n->in[SCORES], *anchors = n->in[ANCHORS];
  for (int32_t i = 0; i < 3; i++) {
    RLT_TRY(rlt_check_type(p, n->in[i], RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_UINT8), "FLOAT32 or UINT8"));
    if (n->in[i]->type == RLT_TYPE_UINT8) RLT_TRY(rlt_require_quantized(p, n->in[i]));
  }
  RLT_TRY(rlt_check_same_type(p, boxes, anchors));
  for (int32_t i = 0; i < 4; i++) RLT_TRY(rlt_check_type(p, n->out[i], RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  bool fits = boxes->rank == 3 && scores->rank == 3 && anchors->rank == 2 && boxes->dims[0] == 1 &&
              scores->dims[0] == 1 && boxes->dims[2] >= 4 && anchors->dims[1] == 4 &&
              scores->dims[1] == boxes->dims[1] && anchors->dims[0] == boxes->dims[1];
  RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T, %T and %T are not one image's boxes, scores and anchors", boxes, scores,
              anchors);
  k->boxes = boxes->dims[1];
  k->columns = scores->dims[2];
  RLT_REQUIRE(p->err, k->columns == k->classes || (int64_t)k->columns == (int64_t)k->classes + 1, RLT_BAD_MODEL,
              "%T does not hold scores of %d classes, with or without a background", scores, k->classes);
  return RLT_OK;
}

static detection_scratch scratch_of(const detection_data *k, void *memory) {
  detection_scratch s;
  int64_t boxes = k->boxes;
  s.corners = memory;
  s.scores = s.corners + 4 * boxes;
  s.heap = (rlt_candidate *)(void *)(s.scores + boxes);
  s.chosen = (int32_t *)(void *)(s.heap + boxes);
  s.best = (found *)(void *)(s.chosen + k->most);
  s.merged = s.best + k->most;
  return s;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 3, 3, 4));
  detection_data *k = n->data;
  RLT_TRY(read_options(p, n));
  RLT_TRY(check_inputs(p, n));
  int32_t dims[3] = {1, k->most * k->per_detection, 4};
  RLT_TRY(rlt_set_shape(p, n->out[0], 3, dims));
  RLT_TRY(rlt_set_shape(p, n->out[1], 2, dims));
  RLT_TRY(rlt_set_shape(p, n->out[2], 2, dims));
  RLT_TRY(rlt_set_shape(p, n->out[3], 1, dims));
  n->scratch_bytes = (uint64_t)k->boxes * (5 * sizeof(float) + sizeof(rlt_candidate)) +
                     (uint64_t)k->most * (sizeof(int32_t) + 2 * sizeof(found));
  n->macs = (uint64_t)k->boxes * (uint64_t)k->most * (k->regular ? (uint64_t)k->columns : 1); /* comparisons */
  return RLT_OK;
}

/* ---- run ---- */

static float real_at(const rlt_tensor *t, int64_t i) {
  if (t->type == RLT_TYPE_FLOAT32) return ((const float *)t->data)[i];
  return ((float)((const uint8_t *)t->data)[i] - (float)rlt_zero_point(t, 0)) * rlt_scale(t, 0);
}

/* Centre and size in units of the anchor to corners. false: a box is turned inside out. */
static bool decode(const rlt_node *n, float *corners) {
  const detection_data *k = n->data;
  const rlt_tensor *boxes = n->in[ENCODINGS], *anchors = n->in[ANCHORS];
  for (int64_t i = 0; i < k->boxes; i++) {
    double box[4], anchor[4];
    for (int32_t c = 0; c < 4; c++) {
      box[c] = (double)real_at(boxes, i * boxes->dims[2] + c);
      anchor[c] = (double)real_at(anchors, i * 4 + c);
    }
    float y = (float)(box[0] / k->y_scale * anchor[2] + anchor[0]);
    float x = (float)(box[1] / k->x_scale * anchor[3] + anchor[1]);
    float half_height = (float)(0.5 * rlt_exp64(box[2] / k->h_scale) * anchor[2]);
    float half_width = (float)(0.5 * rlt_exp64(box[3] / k->w_scale) * anchor[3]);
    float *to = corners + 4 * i;
    to[0] = y - half_height;
    to[1] = x - half_width;
    to[2] = y + half_height;
    to[3] = x + half_width;
    if (to[0] > to[2] || to[1] > to[3]) return false;
  }
  return true;
}

/* Boxes by s->scores, without those that overlap a chosen one; at most `most` into s->chosen. */
static int32_t choose(const detection_data *k, const detection_scratch *s, int32_t most) {
  int32_t count = 0;
  int64_t size = rlt_candidates(s->heap, s->scores, k->boxes, k->score_threshold, true);
  while (size > 0 && count < most) {
    int32_t box = s->heap[0].index;
    bool overlaps = false;
    for (int32_t i = 0; i < count && !overlaps; i++) {
      overlaps =
          rlt_box_overlap(s->corners + 4 * (int64_t)s->chosen[i], s->corners + 4 * (int64_t)box) > k->iou_threshold;
    }
    if (!overlaps) s->chosen[count++] = box;
    s->heap[0] = s->heap[--size];
    rlt_candidates_sift(s->heap, size);
  }
  return count;
}

static float score_at(const rlt_node *n, int64_t box, int32_t label) {
  const detection_data *k = n->data;
  return real_at(n->in[SCORES], box * k->columns + (k->columns - k->classes) + label);
}

/* The best class of a box that comes after (score, label): lower, or equal and further on. -1: there is none. */
static int32_t next_class(const rlt_node *n, int64_t box, float score, int32_t label) {
  const detection_data *k = n->data;
  int32_t best = -1;
  float most = 0.0f;
  for (int32_t c = 0; c < k->classes; c++) {
    float here = score_at(n, box, c);
    bool after = label < 0 || here < score || (!(here > score) && c > label);
    if (!after || (best >= 0 && !(here > most))) continue;
    best = c;
    most = here;
  }
  return best;
}

static void put(const rlt_node *n, const detection_scratch *s, int64_t at, int32_t box, int32_t label, float score) {
  rlt_copy((float *)n->out[0]->data + 4 * at, s->corners + 4 * (int64_t)box, 4 * sizeof(float));
  ((float *)n->out[1]->data)[at] = (float)label;
  ((float *)n->out[2]->data)[at] = score;
}

static int32_t run_fast(const rlt_node *n, const detection_scratch *s) {
  const detection_data *k = n->data;
  for (int64_t i = 0; i < k->boxes; i++) s->scores[i] = score_at(n, i, next_class(n, i, 0.0f, -1));
  int32_t count = choose(k, s, k->most);
  for (int32_t i = 0; i < count; i++) {
    int32_t label = -1;
    float score = 0.0f;
    for (int32_t j = 0; j < k->per_detection; j++) {
      label = next_class(n, s->chosen[i], score, label);
      if (label < 0) break;
      score = score_at(n, s->chosen[i], label);
      put(n, s, (int64_t)i * k->per_detection + j, s->chosen[i], label, score);
    }
  }
  return count;
}

/* Takes the chosen boxes of one label into the best of all, which stay in order. */
static int32_t merge(const detection_data *k, const detection_scratch *s, int32_t count, int32_t chosen,
                     int32_t label) {
  int32_t a = 0, b = 0, size = 0;
  for (; size < k->most && (a < count || b < chosen); size++) {
    bool take_new = a >= count || (b < chosen && s->scores[s->chosen[b]] > s->best[a].score);
    if (take_new) {
      s->merged[size] = (found){s->chosen[b], label, s->scores[s->chosen[b]]};
      b++;
    } else {
      s->merged[size] = s->best[a++];
    }
  }
  rlt_copy(s->best, s->merged, (uint64_t)size * sizeof(found));
  return size;
}

static int32_t run_regular(const rlt_node *n, const detection_scratch *s) {
  const detection_data *k = n->data;
  int32_t count = 0;
  for (int32_t label = 0; label < k->classes; label++) {
    for (int64_t i = 0; i < k->boxes; i++) s->scores[i] = score_at(n, i, label);
    count = merge(k, s, count, choose(k, s, k->per_class), label);
  }
  for (int32_t i = 0; i < count; i++) put(n, s, i, s->best[i].box, s->best[i].label, s->best[i].score);
  return count;
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const detection_data *k = n->data;
  detection_scratch s = scratch_of(k, r->scratch);
  RLT_REQUIRE(r->err, decode(n, s.corners), RLT_BAD_VALUE, "a box is turned inside out: an anchor's size is negative");
  for (int32_t i = 0; i < 3; i++) __builtin_memset(n->out[i]->data, 0, (size_t)n->out[i]->bytes);
  *(float *)n->out[3]->data = (float)(k->regular ? run_regular(n, &s) : run_fast(n, &s));
  return RLT_OK;
}

const rlt_kernel rlt_kernel_detection_postprocess = {.name = "TFLite_Detection_PostProcess",
                                                     .data_size = sizeof(detection_data),
                                                     .max_version = 1,
                                                     .prepare = prepare,
                                                     .run = run};
