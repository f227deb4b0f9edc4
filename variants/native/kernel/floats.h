// Products of attention in float32 by vector instructions, read directly from the tensors.

#pragma once

#include "call.h"
#include "vectors.h"

class FloatProducts {
 public:
  using Element = float;
  static constexpr bool FINE = true;

  Floats scores[2 * KEYS * VECTORS];  // [keys, QUERIES], then the weights

  explicit FloatProducts(const Call& call) : call(call), head_dim(call.head_dim), value_dim(call.value_dim) {}

  static void pack(const Call&, const Sequence&, int64_t, int64_t, int64_t) {}

  // The squares of a row, in sums as many as lanes.
  static Floats squares(const float* row, int64_t head_dim) {
    Floats squares = {};
    for (int64_t word = 0; word < head_dim; word += LANES) {
      const Floats part = (Floats)load((const char*)row, word, head_dim * 4);
      squares += part * part;
    }
    return squares;
  }

  // Load a block of queries, `rows` of them; their keys and values begin where `sequence` does.
  void take(const float* q, int64_t rows, const Sequence& sequence, int64_t kv_head, int64_t) {
    k = Call::at((const float*)call.k, call.k_strides, sequence.batch, kv_head, sequence.first_key);
    v = Call::at((const float*)call.v, call.v_strides, sequence.batch, kv_head, sequence.first_key);
    to_columns((const char*)q, call.q_strides.row * 4, rows, head_dim * 4, (Words*)queries);
  }

  void score(int64_t first, int64_t end) {
    int64_t key = first;
    for (; key + ROWS <= end; key += ROWS) score_keys<ROWS>(key, scores + (key - first) * VECTORS);
    for (; key < end; ++key) score_keys<1>(key, scores + (key - first) * VECTORS);
  }

  // Write the weights of a key and of the next key over their scores.
  void keep(int64_t key, int column, Floats weights, Floats next) {
    scores[key * VECTORS + column] = weights;
    scores[(key + 1) * VECTORS + column] = next;
  }

  // Add weights times values to out [value_dim, QUERIES].
  void add_values(int64_t first, int64_t end, Floats* out) const {
    int64_t d = 0;
    for (; d + ROWS <= value_dim; d += ROWS) add_dims<ROWS>(first, end, d, out + d * VECTORS);
    for (; d < value_dim; ++d) add_dims<1>(first, end, d, out + d * VECTORS);
  }

  void write(const Floats* out, float* to, int64_t rows) {
    to_rows((const Words*)out, (char*)to, call.out_strides.row * 4, rows, value_dim * 4);
  }

 private:
  // Registers hold ROWS * COLUMNS sums; there are 32 with AVX-512 and on Arm, else 16.
  static constexpr int ROWS = 4;
  static constexpr int COLUMNS = LANES == 8 ? 2 : 4;

  template <int COUNT> void score_keys(int64_t key, Floats* to) const {
    const float* row = k + key * call.k_strides.row;
    for (int column = 0; column < VECTORS; column += COLUMNS) {
      Floats sums[COUNT][COLUMNS] = {};
      for (int64_t d = 0; d < head_dim; ++d)
        UNROLLED for (int r = 0; r < COUNT; ++r)
          UNROLLED for (int c = 0; c < COLUMNS; ++c)
            sums[r][c] += row[r * call.k_strides.row + d] * queries[d * VECTORS + column + c];
      UNROLLED for (int r = 0; r < COUNT; ++r)
        UNROLLED for (int c = 0; c < COLUMNS; ++c) to[r * VECTORS + column + c] = sums[r][c];
    }
  }

  template <int COUNT> void add_dims(int64_t first, int64_t end, int64_t d, Floats* to) const {
    for (int column = 0; column < VECTORS; column += COLUMNS) {
      Floats sums[COUNT][COLUMNS] = {};  // of one block, because longer sums lose more digits
      for (int64_t key = first; key < end; ++key)
        UNROLLED for (int r = 0; r < COUNT; ++r)
          UNROLLED for (int c = 0; c < COLUMNS; ++c)
            sums[r][c] += v[key * call.v_strides.row + d + r] * scores[(key - first) * VECTORS + column + c];
      UNROLLED for (int r = 0; r < COUNT; ++r)
        UNROLLED for (int c = 0; c < COLUMNS; ++c) to[r * VECTORS + column + c] += sums[r][c];
    }
  }

  const Call& call;
  const int64_t head_dim, value_dim;
  const float *k = nullptr, *v = nullptr;
  Floats queries[MOST_HEAD_DIM * VECTORS];  // [head_dim, QUERIES]
};
