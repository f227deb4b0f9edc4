// One call of attention, as Python hands it over.

#pragma once

#include <cstdint>

struct Strides {  // in elements; those of head_dim are 1 apart
  int64_t batch, head, row;
};

struct Call {
  const void *q, *k, *v;  // [batch, heads, q_len, head_dim] and twice [batch, kv_heads, kv_len, head_dim]
  const float* slopes;    // [heads]
  void* out;              // like q
  float* norms;           // room for [batch, kv_heads, blocks of keys]
  void* packed;           // room for what the products pack, from a multiple of 64 bytes on
  Strides q_strides, k_strides, v_strides, out_strides;
  int64_t batch, heads, kv_heads, q_len, kv_len, head_dim, threads;
  int64_t causal;     // 1, or 0 for bidirectional
  int64_t looked_at;  // pairs of a query and a key; the answer's
  float scale;        // of q·k, as a power of 2's exponent
  float least;        // log2 of the share of a row's weight that may be left out on a side

  template <class Element>
  static Element* at(Element* tensor, const Strides& strides, int64_t batch, int64_t head, int64_t row) {
    return tensor + batch * strides.batch + head * strides.head + row * strides.row;
  }
};

constexpr int KEYS = 64;            // in a block
constexpr int MOST_HEAD_DIM = 256;  // what buffers have room for

static inline int64_t blocks_of(int64_t length, int64_t block) { return (length + block - 1) / block; }
