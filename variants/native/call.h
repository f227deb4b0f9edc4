// One call of attention, as Python passes it.

#pragma once

#include <cstdint>

struct Strides {  // in elements; the stride of head_dim is 1
  int64_t batch, head, row;
};

struct Call {
  const void *q, *k, *v;  // [batch, heads, q_len, head_dim] and twice [batch, kv_heads, kv_len, head_dim]
  const float* slopes;    // [heads]
  void* out;              // like q
  float* norms;           // room for [batch, kv_heads, blocks of keys]
  void* packed;           // room for packed keys and values, aligned to 64 bytes
  Strides q_strides, k_strides, v_strides, out_strides;
  int64_t batch, heads, kv_heads, q_len, kv_len, head_dim, threads;
  int64_t causal;     // 1, or 0 for bidirectional
  int64_t looked_at;  // output: the pairs of a query and a key that were computed
  float scale;        // of q·k, times log2(e): weights are powers of 2
  float least;        // log2 of the share of a row's weight that may be left out on each side

  template <class Element>
  static Element* at(Element* tensor, const Strides& strides, int64_t batch, int64_t head, int64_t row) {
    return tensor + batch * strides.batch + head * strides.head + row * strides.row;
  }
};

constexpr int KEYS = 64;            // in a block
constexpr int MOST_HEAD_DIM = 256;  // buffers have room for this

static inline int64_t blocks_of(int64_t length, int64_t block) { return (length + block - 1) / block; }
