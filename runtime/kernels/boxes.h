/* SPDX-License-Identifier: Apache-2.0
 * Boxes and the order of their scores: what the detection operators share. */
#ifndef RLT_BOXES_H
#define RLT_BOXES_H

#include "common.h"

typedef struct rlt_candidate {
  int32_t index, seen; /* chosen boxes it was already compared with */
  float score;
} rlt_candidate;

/* The part of two boxes' union that both cover; a box is any two opposite corners, y before x. */
float rlt_box_overlap(const float *a, const float *b);

/* A heap of those whose score is above the threshold (or reaches it), the best on top; equal scores in the order of
 * their index. Returns how many there are. */
int64_t rlt_candidates(rlt_candidate *heap, const float *scores, int32_t count, float threshold, bool reaching);
/* Moves heap[0] down to where its score belongs. */
void rlt_candidates_sift(rlt_candidate *heap, int64_t size);

#endif
