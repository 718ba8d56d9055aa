/* SPDX-License-Identifier: Apache-2.0
 * Geometry of a two-dimensional sliding window over an NHWC tensor: convolution, depthwise convolution, pooling. */
#ifndef RLT_WINDOW_H
#define RLT_WINDOW_H

#include "../core/graph.h"

typedef struct rlt_window {
  /* the caller's, as the file gives them */
  int32_t in_h, in_w;
  int32_t kernel_h, kernel_w;
  int32_t stride_h, stride_w;
  int32_t dilation_h, dilation_w;
  /* filled by rlt_window_resolve */
  int32_t out_h, out_w;
  int32_t pad_top, pad_left; /* rows and columns of padding before the input; what follows it is implied */
} rlt_window;

/* Checks the caller's fields and fills the others. `padding` is the schema's Padding (0 SAME, 1 VALID).
 * Kernel, stride and dilation must be 1 or more; a VALID window must fit in the input. All products of a position,
 * stride and dilation then fit in int32. Errors: BAD_MODEL, UNSUPPORTED (padding). */
rlt_status rlt_window_resolve(rlt_prep *p, int32_t padding, rlt_window *w);

/* Output columns [*from, *to) whose windows lie wholly within the input's width. */
void rlt_window_inner(const rlt_window *w, int32_t *from, int32_t *to);

/* Taps k in [*first, *last) for which 0 <= origin + k * dilation < size, where origin is the input position under
 * tap 0 (output position * stride - padding) and 0 <= k < kernel. Empty: *first == *last. */
static inline void rlt_window_taps(int32_t origin, int32_t dilation, int32_t kernel, int32_t size, int32_t *first,
                                   int32_t *last) {
  int32_t lo = origin < 0 ? -origin : 0, hi = origin < size ? size - origin : 0;
  if (dilation > 1) { /* divisions take longer than the rest */
    lo = (lo + dilation - 1) / dilation;
    hi = (hi + dilation - 1) / dilation;
  }
  hi = hi < kernel ? hi : kernel;
  *first = lo < hi ? lo : hi;
  *last = hi;
}

#endif
