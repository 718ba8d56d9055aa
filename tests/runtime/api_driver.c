/* SPDX-License-Identifier: Apache-2.0
 * Calls every function of rillet.h, as C11 and as C++17, on a model of one custom operator "Twice" or of the chain of
 * layers that test_build_api.py makes:
 *
 *   api_driver MODEL [ROWS]                ROWS: resizes the first input to so many rows
 *
 * Prints a line per answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rillet.h"

static rlt_error err;

static void must(rlt_status status) {
  if (status == RLT_OK) return;
  printf("%s %s\n", rlt_status_name(status), err.text);
  exit(1);
}

static void *block(uint64_t size) {
  void *p = aligned_alloc(RLT_BLOCK_ALIGN, ((size_t)size / RLT_BLOCK_ALIGN + 1) * RLT_BLOCK_ALIGN);
  if (!p) exit(2);
  return p;
}

static void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) exit(2);
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  void *bytes = block(*size);
  if (fread(bytes, 1, *size, file) != *size) exit(2);
  fclose(file);
  return bytes;
}

static rlt_status twice_prepare(void *ctx, rlt_custom_call *call) {
  (void)ctx;
  call->outputs[0].rank = call->inputs[0].rank;
  memcpy(call->outputs[0].dims, call->inputs[0].dims, sizeof call->inputs[0].dims);
  return RLT_OK;
}

static rlt_status twice_run(void *ctx, rlt_custom_call *call) {
  ++*(int *)ctx;
  const float *x = (const float *)call->inputs[0].data;
  float *y = (float *)call->outputs[0].data;
  for (uint64_t i = 0; i < call->inputs[0].bytes / sizeof *x; i++) y[i] = 2 * x[i];
  return RLT_OK;
}

static void count_node(void *ctx, int32_t subgraph, int32_t node, uint64_t ns) {
  (void)subgraph, (void)node, (void)ns;
  ++*(int *)ctx;
}

static void describe(const rlt_model *m) {
  printf("version %s\n", rlt_version());
  printf("known %d\n", rlt_supported_op(0) != NULL && rlt_supported_op(100000) == NULL);
  printf("subgraphs %d tensors %d nodes %d\n", rlt_subgraph_count(m), rlt_tensor_count(m, 0), rlt_node_count(m, 0));
  printf("inputs %d outputs %d\n", rlt_input_count(m, 0), rlt_output_count(m, 0));
  printf("scales %d\n", rlt_tensor_quantization(m, 0, rlt_input_tensor(m, 0, 0), NULL, NULL, 0));
  for (int32_t i = 0; i < rlt_signature_count(m); i++) {
    int32_t tensor;
    const char *name = rlt_signature_tensor(m, i, true, 0, &tensor);
    printf("signature %s %d %s %d\n", rlt_signature_key(m, i), rlt_signature_subgraph(m, i), name,
           tensor == rlt_output_tensor(m, 0, 0));
  }
}

int main(int argc, char **argv) {
  size_t size, need;
  int calls = 0, profiled = 0;
  const void *file = read_file(argv[1], &size);
  rlt_custom_op twice = {"Twice", twice_prepare, twice_run, &calls};
  rlt_limits limits = rlt_default_limits();
  const rlt_model *m;
  must(rlt_open_size(file, size, &need, &err));
  must(rlt_open(file, size, &limits, &twice, 1, block(need), need, &m, &err));
  describe(m);

  rlt_options options;
  memset(&options, 0, sizeof options);
  options.threads = 2;
  options.pool = rlt_pool_create(options.threads);
  options.parallel_for = rlt_pool_parallel_for;
  options.clock_ns = rlt_clock_ns;
  options.profile = count_node;
  options.profile_ctx = &profiled;
  options.isa = rlt_best_isa();
  rlt_interpreter *it;
  need = rlt_create_size(m, &options);
  must(rlt_create(m, &options, block(need), need, &it, &err));
  int32_t in = rlt_input_tensor(m, 0, 0), out = rlt_output_tensor(m, 0, 0);
  rlt_tensor_info info;
  must(rlt_get_tensor_info(it, 0, in, &info));
  if (argc > 2) {
    info.dims[0] = atoi(argv[2]);
    must(rlt_resize_input(it, in, info.rank, info.dims, &err));
  }
  printf("early %s\n", rlt_status_name(rlt_invoke(it, &err)));
  must(rlt_prepare(it, &err));
  rlt_sizes sizes;
  must(rlt_get_sizes(it, &sizes));
  must(rlt_bind(it, block(sizes.prepared), (size_t)sizes.prepared, false, block(sizes.arena), (size_t)sizes.arena,
                &err));
  must(rlt_reset_variables(it, &err));
  must(rlt_get_tensor_info(it, 0, in, &info));
  float *x = (float *)rlt_tensor_data(it, 0, in);
  for (uint64_t i = 0; i < info.bytes / sizeof *x; i++) x[i] = (float)i;
  rlt_cancel(it); /* nothing runs: no effect */
  must(rlt_invoke(it, &err));
  rlt_node_info node;
  must(rlt_get_node_info(it, 0, 0, &node));
  printf("first %s\ncustom %d\nprofiled %d\n", node.op, calls, profiled);
  must(rlt_get_tensor_info(it, 0, out, &info));
  const float *y = (const float *)rlt_tensor_data(it, 0, out);
  for (uint64_t i = 0; i < info.bytes / sizeof *y; i++) printf("y %.9g\n", (double)y[i]);
  rlt_pool_destroy((rlt_pool *)options.pool);
  return 0;
}
