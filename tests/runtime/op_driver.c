/* SPDX-License-Identifier: Apache-2.0
 * Runs models on the machine it was built for, such as one that an emulator plays.
 *
 *   op_driver isa                          the best instruction set found
 *   op_driver loops ISA MODEL              operator and loop of every node
 *   op_driver run ISA THREADS LIST         for every line "MODEL INPUTS OUTPUTS" of the file LIST: reads the bytes of
 *                                          all inputs, one after the other, invokes, and writes those of all outputs;
 *                                          a string is the four bytes of its size, then its own
 * ISA "best" means the best one. One line is printed per model: OK, or the status and its words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/platform/platform.h"

enum { STRING = 5 }; /* of the schema's TensorType */

typedef struct bytes {
  uint8_t *data;
  size_t size;
} bytes;

typedef struct opened {
  bytes file, inputs;
  void *structure, *state, *prepared, *arena;
  const rlt_model *model;
  rlt_interpreter *it;
} opened;

static rlt_error err;

static void *block(size_t size) {
  void *p = aligned_alloc(RLT_BLOCK_ALIGN, (size + RLT_BLOCK_ALIGN) / RLT_BLOCK_ALIGN * RLT_BLOCK_ALIGN);
  if (!p) abort();
  return p;
}

/* For tensors without a bound: never freed, as the programs are short. */
static void *grow(void *ctx, uint64_t size) {
  (void)ctx;
  return block((size_t)size);
}

static bytes read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) fprintf(stderr, "cannot open %s\n", path), exit(2);
  fseek(file, 0, SEEK_END);
  bytes all = {.size = (size_t)ftell(file)};
  rewind(file);
  all.data = block(all.size);
  if (fread(all.data, 1, all.size, file) != all.size) exit(2);
  fclose(file);
  return all;
}

static rlt_status open_model(opened *o, const char *path, const rlt_options *options) {
  size_t need;
  rlt_sizes sizes;
  *o = (opened){.file = read_file(path)};
  rlt_status status = rlt_open_size(o->file.data, o->file.size, &need, &err);
  if (status != RLT_OK) return status;
  o->structure = block(need);
  status = rlt_open(o->file.data, o->file.size, NULL, NULL, 0, o->structure, need, &o->model, &err);
  if (status != RLT_OK) return status;
  need = rlt_create_size(o->model, options);
  o->state = block(need);
  status = rlt_create(o->model, options, o->state, need, &o->it, &err);
  if (status == RLT_OK) status = rlt_prepare(o->it, &err);
  if (status == RLT_OK) status = rlt_get_sizes(o->it, &sizes);
  if (status != RLT_OK) return status;
  o->prepared = block((size_t)sizes.prepared);
  o->arena = block((size_t)sizes.arena);
  return rlt_bind(o->it, o->prepared, (size_t)sizes.prepared, false, o->arena, (size_t)sizes.arena, &err);
}

static void close_model(opened *o) {
  free(o->file.data);
  free(o->inputs.data);
  free(o->structure);
  free(o->state);
  free(o->prepared);
  free(o->arena);
}

static rlt_tensor_info info_of(const opened *o, int32_t tensor) {
  rlt_tensor_info info;
  if (rlt_get_tensor_info(o->it, 0, tensor, &info) != RLT_OK) exit(2);
  return info;
}

/* The next bytes of the inputs' file. */
static const uint8_t *take(const opened *o, size_t *at, size_t size) {
  if (size > o->inputs.size - *at) fprintf(stderr, "the file of inputs is too short\n"), exit(2);
  *at += size;
  return o->inputs.data + *at - size;
}

static void fill_strings(const opened *o, size_t *at, rlt_string *to, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t size;
    memcpy(&size, take(o, at, sizeof size), sizeof size);
    to[i] = (rlt_string){.data_bits = 0};
    to[i].data = take(o, at, size);
    to[i].size = size;
  }
}

static void fill_inputs(opened *o, const char *path) {
  o->inputs = read_file(path);
  size_t at = 0;
  for (int32_t i = 0; i < rlt_input_count(o->model, 0); i++) {
    int32_t tensor = rlt_input_tensor(o->model, 0, i);
    rlt_tensor_info info = info_of(o, tensor);
    size_t size = (size_t)info.bytes;
    void *data = rlt_tensor_data(o->it, 0, tensor);
    if (info.type == STRING) fill_strings(o, &at, data, size / sizeof(rlt_string));
    else if (size > 0) memcpy(data, take(o, &at, size), size);
  }
}

static void write_all(FILE *file, const void *data, size_t size) {
  if (size > 0 && fwrite(data, 1, size, file) != size) exit(2);
}

static void write_strings(FILE *file, const rlt_string *from, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t size = (uint32_t)from[i].size;
    write_all(file, &size, sizeof size);
    write_all(file, from[i].data, size);
  }
}

static void write_outputs(const opened *o, const char *path) {
  FILE *file = fopen(path, "wb");
  if (!file) fprintf(stderr, "cannot write %s\n", path), exit(2);
  for (int32_t i = 0; i < rlt_output_count(o->model, 0); i++) {
    int32_t tensor = rlt_output_tensor(o->model, 0, i);
    rlt_tensor_info info = info_of(o, tensor);
    const void *data = rlt_tensor_data(o->it, 0, tensor);
    if (info.type == STRING) write_strings(file, data, (size_t)info.bytes / sizeof(rlt_string));
    else write_all(file, data, (size_t)info.bytes);
  }
  fclose(file);
}

static void say(rlt_status status) {
  if (status == RLT_OK) puts("OK");
  else printf("%s %s\n", rlt_status_name(status), err.text);
}

static void run_list(const rlt_options *options, const char *list) {
  char model[1024], inputs[1024], outputs[1024];
  FILE *file = fopen(list, "r");
  if (!file) fprintf(stderr, "cannot open %s\n", list), exit(2);
  while (fscanf(file, "%1023s %1023s %1023s", model, inputs, outputs) == 3) {
    opened o;
    rlt_status status = open_model(&o, model, options);
    if (status == RLT_OK) {
      fill_inputs(&o, inputs);
      status = rlt_invoke(o.it, &err);
    }
    if (status == RLT_OK) write_outputs(&o, outputs);
    say(status);
    close_model(&o);
  }
  fclose(file);
}

static void print_loops(const rlt_options *options, const char *model) {
  opened o;
  rlt_status status = open_model(&o, model, options);
  if (status != RLT_OK) {
    say(status);
    return;
  }
  rlt_node_info node;
  for (int32_t i = 0; rlt_get_node_info(o.it, 0, i, &node) == RLT_OK; i++)
    printf("%s %s\n", node.op, node.loop ? node.loop : "-");
  close_model(&o);
}

int main(int argc, char **argv) {
  rlt_options options = {.threads = 1, .grow = grow};
  if (argc > 2 && strcmp(argv[2], "best")) options.isa = argv[2];
  if (argc == 2 && !strcmp(argv[1], "isa")) {
    puts(rlt_best_isa());
  } else if (argc == 4 && !strcmp(argv[1], "loops")) {
    print_loops(&options, argv[3]);
  } else if (argc == 5 && !strcmp(argv[1], "run")) {
    options.threads = atoi(argv[3]);
    options.pool = rlt_pool_create(options.threads);
    options.parallel_for = rlt_pool_parallel_for;
    run_list(&options, argv[4]);
    rlt_pool_destroy(options.pool);
  } else {
    fprintf(stderr, "usage: op_driver isa | loops ISA MODEL | run ISA THREADS LIST\n");
    return 2;
  }
  return 0;
}
