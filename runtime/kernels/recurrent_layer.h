/* SPDX-License-Identifier: Apache-2.0
 * What composites of whole recurrent layers share: x [time, batch, features], weights [gates size, features], recurrent
 * weights [gates size, size], bias [gates size] and a state [batch, size] -> every state [time, batch, size] and the
 * last one. Tiles are sequences of the batch; the products with x are computed for some steps at once. */
#ifndef RLT_RECURRENT_LAYER_H
#define RLT_RECURRENT_LAYER_H

#include "composite.h"
#include "rnn_cell.h"

enum { RLT_LAYER_X, RLT_LAYER_WEIGHTS, RLT_LAYER_RECURRENT, RLT_LAYER_BIAS }; /* the first inputs of every layer */

typedef struct rlt_layer {
  int32_t time, batch, features, size, gates;
  int32_t state;       /* among the inputs */
  int32_t rows, steps; /* of one tile; at once */
  rlt_gates x;
  uint64_t at_gates, at_rows, at_own, used; /* of scratch */
} rlt_layer;

/* One tile: sequences [begin, begin + rows) of the batch, and where its parts of scratch lie. */
typedef struct rlt_layer_tile {
  const rlt_ukernels *u;
  const rlt_node *n;
  const rlt_layer *layer;
  const char *packed;
  float *gates;      /* rows of gates * size values, step by step */
  const float *bias; /* that the products with x are added to: the node's, unless `begin` sets it */
  float *own;        /* the cell's scratch */
  const void **at;   /* pointers to as many rows as the tile has */
  size_t begin, rows;
} rlt_layer_tile;

/* What a layer does step by step. */
typedef struct rlt_layer_cell {
  void (*pack)(const rlt_ukernels *u, const rlt_node *n, char *packed);
  void (*begin)(rlt_layer_tile *s); /* before the first step */
  /* From the state before and W x + b in `gates` to the state after, in `out`; each has the tile's rows. */
  void (*step)(const rlt_layer_tile *s, const float *state, float *gates, float *out);
} rlt_layer_cell;

/* Checks inputs and sizes, the state's among them, of a layer of so many gates. */
rlt_status rlt_layer_check(rlt_prep *p, const rlt_node *n, int32_t gates, int32_t state, rlt_layer *l);
/* Plans the product with x and `count` others, `own` floats of scratch for every row of a tile and `once` for all; sets
 * the node's tiles, memory and the shapes of its first two outputs. */
rlt_status rlt_layer_plan(rlt_prep *p, rlt_node *n, rlt_layer *l, rlt_gates *const *products, int32_t count,
                          uint64_t own, uint64_t once);
void rlt_layer_run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last, const rlt_layer *l,
                   const rlt_layer_cell *cell);

#endif
