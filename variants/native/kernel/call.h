// One call of attention, as Python passes it.

#pragma once

#include <cstdint>

struct Strides {  // in elements; the stride of head_dim is 1
  int64_t batch, head, row;
};

// Queries that see the same keys: rows of one batch entry of q, and of the same entry of k and v.
// Its keys are counted from `first_key`; its first query stands at `position` among them.
struct Sequence {
  int64_t batch, first_query, queries, first_key, keys, position;
};

struct Call {
  const void *q, *k, *v;      // [batch, heads, q_len, head_dim], then with kv_heads, kv_len; v's dim may differ.
                              // With `pages` k and v are [pages, kv_heads, page size, head_dim]
  const float* slopes;        // [heads], or [batch, heads]
  void* out;                  // [batch, heads, q_len, value_dim]; rows of no sequence are not written
  float* log_sum_exp;         // [batch, heads, q_len], or null
  void* packed;               // room for packed keys and values, aligned to 64 bytes
  const Sequence* sequences;  // [sequence_count]
  const float* norms;         // [batch, kv_heads, 2, blocks of KEYS slots]: the largest |k| and |v|, or null
  const int32_t* pages;       // [batch, pages_stride]: where the keys of each entry lie, or null
  Strides q_strides, k_strides, v_strides, out_strides, norms_strides;
  int64_t heads, kv_heads, q_len, head_dim, value_dim, sequence_count, threads;
  int64_t packed_blocks;  // of keys, over all sequences and kv heads
  int64_t slopes_batch_stride;
  int64_t pages_stride, page_bits;  // a page has 2^page_bits keys
  int64_t before, after;  // a key may be this far from a query; after is 0 for causal attention
  int64_t looked_at;      // output: the pairs of a query and a key that were computed
  float scale;            // of q·k
  float least;            // log of the share of a row that may be left out on each side

  template <class Element>
  static Element* at(Element* tensor, const Strides& strides, int64_t batch, int64_t head, int64_t row) {
    return tensor + batch * strides.batch + head * strides.head + row * strides.row;
  }
};

constexpr int KEYS = 64;            // in a block
constexpr int MOST_HEAD_DIM = 256;  // buffers have room for this

static inline int64_t blocks_of(int64_t length, int64_t block) { return (length + block - 1) / block; }
