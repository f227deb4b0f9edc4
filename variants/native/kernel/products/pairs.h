// Products of attention in bfloat16 by AVX-512's sums of two products, for processors without AMX.
//
// An instruction multiplies a pair of bfloat16 with the pairs of 16 queries. The keys' pairs are read
// directly from the tensor. The values' are of two keys, so values are packed once.

#pragma once

#include <immintrin.h>

#include "bfloat16.h"
#include "floats.h"

class PairProducts : public Bfloat16Products {
 public:
  explicit PairProducts(const Call& call) : Bfloat16Products(call) {}

  static bool allowed() { return true; }

  // How many elements are packed for each key.
  static int64_t packed_width(int64_t, int64_t value_dim) { return blocks_of(value_dim, CHUNK) * CHUNK; }

  // Pack the values of a block of keys as [pairs of keys, value_dim].
  // `place` counts the blocks of all sequences and kv heads.
  static void pack(const Call& call, const Sequence& sequence, int64_t kv_head, int64_t block, int64_t place) {
    Words lower, upper;
    UNROLLED for (int lane = 0; lane < LANES; ++lane) {
      lower[lane] = lane / 2 + lane % 2 * LANES;
      upper[lane] = lower[lane] + LANES / 2;
    }
    Words* to = packed_values(call, place);
    for (int64_t key = block * KEYS; key < (block + 1) * KEYS; key += 2)
      for (int64_t chunk = 0; chunk * CHUNK < call.value_dim; ++chunk) {
        const Words first = of_row(call.v, call.v_strides, sequence, kv_head, key, chunk, call.value_dim);
        const Words second = of_row(call.v, call.v_strides, sequence, kv_head, key + 1, chunk, call.value_dim);
        const Words even = pairs_of_even(first, second), odd = pairs_of_odd(first, second);
        *to++ = lanes_at(lower, even, odd);
        *to++ = lanes_at(upper, even, odd);
      }
  }

  // Load a block of queries, `rows` of them; their packed values begin at `place`.
  void take(const uint16_t* q, int64_t rows, const Sequence& sequence, int64_t kv_head, int64_t place) {
    take_queries(q, rows);
    k = Call::at((const uint16_t*)call.k, call.k_strides, sequence.batch, kv_head, sequence.first_key);
    values = packed_values(call, place);
  }

  void score(int64_t first, int64_t end, int lag) {
    for_rows(0, end - first, [&](int key, auto count) { score_some<count()>(first, key, lag); });
  }

  // Add weights times values to out [value_dim, QUERIES].
  void add_values(int64_t first, int64_t end, Floats* out, int lag) const {
    const int64_t width = packed_width(0, call.value_dim);  // words of a pair of keys
    const char* from = (const char*)values + first / 2 * width * 4;
    for (int64_t d = 0; d < call.value_dim; d += ROWS)
      for (int column = 0; column < VECTORS; column += COLUMNS) {
        const int64_t visible = std::min<int64_t>(end - first, (column + COLUMNS) * LANES - lag);
        Floats sums[ROWS][COLUMNS] = {};
        add_products<4>({from + d * 4, 4, width * 4}, blocks_of(visible, 2), weights() + column, sums);
        UNROLLED for (int r = 0; r < ROWS; ++r)
          UNROLLED for (int c = 0; c < COLUMNS; ++c) out[(d + r) * VECTORS + column + c] += sums[r][c];
      }
  }

 private:
  static_assert(LANES == 16 && CHUNK % ROWS == 0);

  struct PairRows {
    const char* first;
    int64_t row_bytes, pair_bytes;
  };

  static Words* packed_values(const Call& call, int64_t place) {
    return (Words*)call.packed + place * KEYS / 2 * packed_width(0, call.value_dim) / LANES;
  }

  // Add to sums the products of rows with columns [pairs, QUERIES]. A pair of 2 bytes lacks its second.
  template <int BYTES, int COUNT>
  static void add_products(PairRows rows, int64_t pairs, const Words* columns, Floats (&sums)[COUNT][COLUMNS]) {
    for (int64_t pair = 0; pair < pairs; ++pair)
      UNROLLED for (int r = 0; r < COUNT; ++r) {
        uint32_t word = 0;
        memcpy(&word, rows.first + r * rows.row_bytes + pair * rows.pair_bytes, BYTES);
        UNROLLED for (int c = 0; c < COLUMNS; ++c)
          sums[r][c] = (Floats)_mm512_dpbf16_ps((__m512)sums[r][c], (__m512bh)(Words{} + word),
                                                (__m512bh)columns[pair * VECTORS + c]);
      }
  }

  template <int COUNT> void score_some(int64_t first, int64_t key, int lag) {
    const int64_t stride = call.k_strides.row * 2, whole = call.head_dim / 2;
    const char* row = (const char*)k + (first + key) * stride;
    const int hidden = std::max<int>(key + lag, 0) / LANES / COLUMNS * COLUMNS;
    for (int column = hidden; column < VECTORS; column += COLUMNS) {
      Floats sums[COUNT][COLUMNS] = {};
      add_products<4>({row, stride, 4}, whole, queries + column, sums);
      if (call.head_dim % 2)
        add_products<2>({row + whole * 4, stride, 4}, 1, queries + whole * VECTORS + column, sums);
      UNROLLED for (int r = 0; r < COUNT; ++r)
        UNROLLED for (int c = 0; c < COLUMNS; ++c) scores[(key + r) * VECTORS + column + c] = sums[r][c];
    }
  }

  const uint16_t* k = nullptr;
  const Words* values = nullptr;
};
