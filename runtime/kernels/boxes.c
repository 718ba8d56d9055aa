/* SPDX-License-Identifier: Apache-2.0 */
#include "boxes.h"

static float lesser(float a, float b) { return b < a ? b : a; }
static float greater(float a, float b) { return a < b ? b : a; }

float rlt_box_overlap(const float *a, const float *b) {
  float height_a = greater(a[0], a[2]) - lesser(a[0], a[2]), width_a = greater(a[1], a[3]) - lesser(a[1], a[3]);
  float height_b = greater(b[0], b[2]) - lesser(b[0], b[2]), width_b = greater(b[1], b[3]) - lesser(b[1], b[3]);
  float area_a = height_a * width_a, area_b = height_b * width_b;
  if (area_a <= 0.0f || area_b <= 0.0f) return 0.0f;
  float height = lesser(greater(a[0], a[2]), greater(b[0], b[2])) - greater(lesser(a[0], a[2]), lesser(b[0], b[2]));
  float width = lesser(greater(a[1], a[3]), greater(b[1], b[3])) - greater(lesser(a[1], a[3]), lesser(b[1], b[3]));
  float common = greater(height, 0.0f) * greater(width, 0.0f);
  return common / (area_a + area_b - common);
}

static bool better(const rlt_candidate *a, const rlt_candidate *b) {
  return a->score > b->score || (!(a->score < b->score) && a->index < b->index);
}

static void sift(rlt_candidate *heap, int64_t size, int64_t at) {
  for (int64_t child = 2 * at + 1; child < size; child = 2 * at + 1) {
    if (child + 1 < size && better(&heap[child + 1], &heap[child])) child++;
    if (!better(&heap[child], &heap[at])) return;
    rlt_candidate moved = heap[at];
    heap[at] = heap[child];
    heap[child] = moved;
    at = child;
  }
}

int64_t rlt_candidates(rlt_candidate *heap, const float *scores, int32_t count, float threshold, bool reaching) {
  int64_t size = 0;
  for (int32_t i = 0; i < count; i++) {
    if (scores[i] > threshold || (reaching && scores[i] >= threshold)) heap[size++] = (rlt_candidate){i, 0, scores[i]};
  }
  for (int64_t i = size / 2 - 1; i >= 0; i--) sift(heap, size, i);
  return size;
}

void rlt_candidates_sift(rlt_candidate *heap, int64_t size) { sift(heap, size, 0); }
