// Products of attention in float32 by vector instructions, read directly from the tensors.

#pragma once

#include <type_traits>

#include "../call.h"
#include "../vectors.h"

// Registers hold ROWS * COLUMNS sums; there are 32 with AVX-512 and on Arm, else 16.
constexpr int ROWS = LANES == 16 ? 8 : 4;
constexpr int COLUMNS = LANES == 4 ? 4 : 2;

// Call `some(row, COUNT)` for each COUNT of the rows from `row` to `count`; what is left comes in halves of COUNT.
template <int COUNT = ROWS, class Some> static inline void for_rows(int row, int count, const Some& some) {
  for (; row + COUNT <= count; row += COUNT) some(row, std::integral_constant<int, COUNT>());
  if constexpr (COUNT > 1) for_rows<COUNT / 2>(row, count, some);
}

// Rows of a tensor, such as some keys.
struct FloatRows {
  const float* first;
  int64_t stride;
  int count, dim;
};

// Of causal attention only these pairs count: row i, a key, with query i + lag and all after it.
constexpr int ALL_QUERIES = -(1 << 30);  // as a lag

template <int COUNT>
static void multiply_some(const FloatRows& rows, int at, const Floats* queries, Floats* to, int lag) {
  const float* row = rows.first + at * rows.stride;
  const int hidden = std::max(at + lag, 0) / LANES / COLUMNS * COLUMNS;
  for (int column = hidden; column < VECTORS; column += COLUMNS) {
    Floats sums[COUNT][COLUMNS] = {};
    for (int d = 0; d < rows.dim; ++d)
      UNROLLED for (int r = 0; r < COUNT; ++r)
        UNROLLED for (int c = 0; c < COLUMNS; ++c)
          sums[r][c] += row[r * rows.stride + d] * queries[d * VECTORS + column + c];
    UNROLLED for (int r = 0; r < COUNT; ++r)
      UNROLLED for (int c = 0; c < COLUMNS; ++c) to[(at + r) * VECTORS + column + c] = sums[r][c];
  }
}

// Write rows [count, dim] times queries [dim, QUERIES] to `to` [count, QUERIES].
static inline void multiply(const FloatRows& rows, const Floats* queries, Floats* to, int lag) {
  for_rows(0, rows.count, [&](int row, auto count) { multiply_some<count()>(rows, row, queries, to, lag); });
}

template <int COUNT>
static void add_some_dims(const FloatRows& rows, const Floats* weights, int d, Floats* to, int lag) {
  for (int column = 0; column < VECTORS; column += COLUMNS) {
    Floats sums[COUNT][COLUMNS] = {};  // of one block, because longer sums lose more digits
    const int visible = std::min(rows.count, (column + COLUMNS) * LANES - lag);
    for (int row = 0; row < visible; ++row)
      UNROLLED for (int r = 0; r < COUNT; ++r)
        UNROLLED for (int c = 0; c < COLUMNS; ++c)
          sums[r][c] += rows.first[row * rows.stride + d + r] * weights[row * VECTORS + column + c];
    UNROLLED for (int r = 0; r < COUNT; ++r)
      UNROLLED for (int c = 0; c < COLUMNS; ++c) to[(d + r) * VECTORS + column + c] += sums[r][c];
  }
}

// Add rows [count, dim], transposed, times weights [count, QUERIES] to `to` [dim, QUERIES].
static inline void add_weighted(const FloatRows& rows, const Floats* weights, Floats* to, int lag) {
  for_rows(0, rows.dim, [&](int d, auto count) { add_some_dims<count()>(rows, weights, d, to, lag); });
}

// The sum of a row's squares, in sums as many as lanes.
static inline Floats squares_of(const float* row, int64_t dim) {
  Floats squares = {};
  for (int64_t word = 0; word < dim; word += LANES) {
    const Floats part = (Floats)load((const char*)row, word, dim * 4);
    squares += part * part;
  }
  return squares;
}

class FloatProducts {
 public:
  using Element = float;
  static constexpr bool FINE = true;

  Floats scores[2 * KEYS * VECTORS];  // [keys, QUERIES], then the weights

  explicit FloatProducts(const Call& call) : call(call), head_dim(call.head_dim), value_dim(call.value_dim) {}

  static void pack(const Call&, const Sequence&, int64_t, int64_t, int64_t) {}

  static Floats squares(const float* row, int64_t head_dim) { return squares_of(row, head_dim); }

  // Load a block of queries, `rows` of them; their keys and values begin where `sequence` does.
  void take(const float* q, int64_t rows, const Sequence& sequence, int64_t kv_head, int64_t) {
    k = Call::at((const float*)call.k, call.k_strides, sequence.batch, kv_head, sequence.first_key);
    v = Call::at((const float*)call.v, call.v_strides, sequence.batch, kv_head, sequence.first_key);
    to_columns((const char*)q, call.q_strides.row * 4, rows, head_dim * 4, (Words*)queries);
  }

  void score(int64_t first, int64_t end, int lag) {
    const int64_t stride = call.k_strides.row;
    multiply({k + first * stride, stride, (int)(end - first), head_dim}, queries, scores, lag);
  }

  // Write the weights of a key and of the next key over their scores.
  void keep(int64_t key, int column, Floats weights, Floats next) {
    scores[key * VECTORS + column] = weights;
    scores[(key + 1) * VECTORS + column] = next;
  }

  // Add weights times values to out [value_dim, QUERIES].
  void add_values(int64_t first, int64_t end, Floats* out, int lag) const {
    const int64_t stride = call.v_strides.row;
    add_weighted({v + first * stride, stride, (int)(end - first), value_dim}, scores, out, lag);
  }

  void write(const Floats* out, float* to, int64_t rows) {
    to_rows((const Words*)out, (char*)to, call.out_strides.row * 4, rows, value_dim * 4);
  }

 private:
  const Call& call;
  const int head_dim, value_dim;
  const float *k = nullptr, *v = nullptr;
  Floats queries[MOST_HEAD_DIM * VECTORS];  // [head_dim, QUERIES]
};
