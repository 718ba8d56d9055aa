/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>

#include "graph.h"
#include "internal.h"

typedef struct writer {
  char *at, *end; /* end is where the NUL must still fit */
} writer;

static void put_string(writer *w, const char *s) {
  while (*s && w->at < w->end) *w->at++ = *s++;
}

/* A tensor's name in quotes. Converters join the names of fused layers to hundreds of characters: the start will do. */
static void put_name(writer *w, const char *name) {
  enum { SHOWN = 60 };
  put_string(w, "'");
  for (int i = 0; name[i] && i < SHOWN && w->at < w->end; i++) *w->at++ = name[i];
  for (int i = 0; i < SHOWN; i++)
    if (!name[i]) return put_string(w, "'");
  put_string(w, name[SHOWN] ? "...'" : "'");
}

static void put_unsigned(writer *w, uint64_t value) {
  char digits[21];
  char *p = digits + sizeof digits - 1;
  *p = 0;
  do {
    *--p = (char)('0' + value % 10);
    value /= 10;
  } while (value);
  put_string(w, p);
}

static void put_signed(writer *w, int64_t value) {
  if (value < 0) put_string(w, "-");
  put_unsigned(w, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

static void put_tensor(writer *w, const rlt_tensor *t) {
  if (!t) {
    put_string(w, "(left out)");
    return;
  }
  put_name(w, t->def->name);
  put_string(w, " ");
  put_string(w, rlt_type_name(t->type));
  put_string(w, "[");
  for (int32_t i = 0; i < t->rank; i++) {
    if (i) put_string(w, ",");
    put_signed(w, t->dims[i]);
  }
  put_string(w, "]");
}

static void format_into(writer *w, const char *format, va_list args) {
  for (; *format && w->at < w->end; format++) {
    if (*format != '%') {
      *w->at++ = *format;
      continue;
    }
    switch (*++format) {
      case 's':
        put_string(w, va_arg(args, const char *));
        break;
      case 'n':
        put_name(w, va_arg(args, const char *));
        break;
      case 'd':
        put_signed(w, va_arg(args, int32_t));
        break;
      case 'u':
        put_unsigned(w, va_arg(args, uint64_t));
        break;
      case 't':
        put_string(w, rlt_type_name(va_arg(args, int32_t)));
        break;
      case 'T':
        put_tensor(w, va_arg(args, const rlt_tensor *));
        break;
      default:
        *w->at++ = *format;
        break;
    }
  }
  *w->at = 0;
}

static writer whole_text(rlt_error *err) { return (writer){err->text, err->text + sizeof err->text - 1}; }

rlt_status rlt_fail(rlt_error *err, rlt_status status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  writer w = whole_text(err);
  format_into(&w, format, args);
  va_end(args);
  err->status = status;
  err->subgraph = err->node = err->tensor = -1;
  return status;
}

rlt_status rlt_at_node(rlt_error *err, const rlt_subgraph_def *g, int32_t subgraph, int32_t node) {
  if (err->node >= 0) return err->status; /* the node of a called subgraph says where */
  char said[sizeof err->text];
  __builtin_memcpy(said, err->text, sizeof said);
  const rlt_node_def *n = &g->nodes[node];
  writer w = whole_text(err);
  if (subgraph > 0) {
    put_string(&w, "subgraph ");
    put_signed(&w, subgraph);
    put_string(&w, " ");
  }
  put_string(&w, "node ");
  put_signed(&w, node);
  put_string(&w, " ");
  put_string(&w, n->op_name ? n->op_name : "operator");
  if (n->n_outputs > 0) {
    put_string(&w, " -> ");
    put_name(&w, g->tensors[n->outputs[0]].name);
  }
  put_string(&w, ": ");
  put_string(&w, said);
  *w.at = 0;
  err->subgraph = subgraph;
  err->node = node;
  return err->status;
}

rlt_status rlt_at_tensor(rlt_error *err, const char *name, int32_t subgraph, int32_t tensor) {
  char said[sizeof err->text];
  __builtin_memcpy(said, err->text, sizeof said);
  writer w = whole_text(err);
  put_string(&w, "tensor ");
  put_signed(&w, tensor);
  put_string(&w, " ");
  put_name(&w, name);
  put_string(&w, ": ");
  put_string(&w, said);
  *w.at = 0;
  err->subgraph = subgraph;
  err->tensor = tensor;
  return err->status;
}

const char *rlt_status_name(rlt_status status) {
  static const char *const names[] = {"OK",    "BAD_MODEL", "UNSUPPORTED", "BAD_ARGUMENT", "NO_MEMORY", "BAD_STATE",
                                      "LIMIT", "CANCELLED", "BUSY",        "BAD_VALUE",    "LATER"};
  return (uint32_t)status < sizeof names / sizeof names[0] ? names[status] : "unknown status";
}

const char *rlt_version(void) { return RLT_VERSION; }
