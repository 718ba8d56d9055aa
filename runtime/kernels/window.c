/* SPDX-License-Identifier: Apache-2.0 */
#include "window.h"

static rlt_status resolve_axis(rlt_prep *p, bool same, const char *axis, int32_t in, int32_t kernel, int32_t stride,
                               int32_t dilation, int32_t *out, int32_t *pad) {
  RLT_REQUIRE(p->err, kernel >= 1 && stride >= 1 && dilation >= 1, RLT_BAD_MODEL,
              "%s: window %d, stride %d and dilation %d must all be 1 or more", axis, kernel, stride, dilation);
  int64_t extent = (int64_t)(kernel - 1) * dilation + 1;
  RLT_REQUIRE(p->err, in <= INT32_MAX / 4 && extent <= INT32_MAX / 4 && stride <= INT32_MAX / 4, RLT_BAD_MODEL,
              "%s: input %d, window %d, stride %d and dilation %d are too large together", axis, in, kernel, stride,
              dilation);
  if (same) {
    *out = in / stride + (in % stride != 0);
  } else {
    RLT_REQUIRE(p->err, extent <= in, RLT_BAD_MODEL,
                "%s: a VALID window of %d with dilation %d does not fit in the input's %d", axis, kernel, dilation, in);
    *out = (in - (int32_t)extent) / stride + 1;
  }
  int64_t total = (int64_t)(*out - 1) * stride + extent - in;
  *pad = total > 0 ? (int32_t)(total / 2) : 0;
  return RLT_OK;
}

rlt_status rlt_window_resolve(rlt_prep *p, int32_t padding, rlt_window *w) {
  RLT_REQUIRE(p->err, padding == 0 || padding == 1, RLT_UNSUPPORTED, "padding %d is neither SAME (0) nor VALID (1)",
              padding);
  RLT_TRY(resolve_axis(p, padding == 0, "height", w->in_h, w->kernel_h, w->stride_h, w->dilation_h, &w->out_h,
                       &w->pad_top));
  return resolve_axis(p, padding == 0, "width", w->in_w, w->kernel_w, w->stride_w, w->dilation_w, &w->out_w,
                      &w->pad_left);
}

void rlt_window_inner(const rlt_window *w, int32_t *from, int32_t *to) {
  int32_t last = w->in_w - 1 - (w->kernel_w - 1) * w->dilation_w + w->pad_left;
  int32_t first = (w->pad_left + w->stride_w - 1) / w->stride_w, end = last < 0 ? 0 : last / w->stride_w + 1;
  *to = end < w->out_w ? end : w->out_w;
  *from = first < *to ? first : *to;
}
