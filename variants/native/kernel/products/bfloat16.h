// What products of attention in bfloat16 have in common: queries and weights lie in pairs.
//
// A word of `queries` is a pair of neighbours in head_dim, and a word of the weights those of two
// neighbouring keys.

#pragma once

#include "../call.h"
#include "../vectors.h"

class Bfloat16Products {
 public:
  using Element = uint16_t;
  static constexpr bool FINE = false;

  Floats scores[2 * KEYS * VECTORS];  // [keys, QUERIES], then the weights [pairs of keys, QUERIES]

  // The squares of a row, in sums as many as lanes.
  static Floats squares(const uint16_t* row, int64_t head_dim) {
    Floats squares = {};
    for (int64_t word = 0; word * 2 < head_dim; word += LANES)
      squares += squared(load((const char*)row, word, head_dim * 2));
    return squares;
  }

  // Write the weights of a key and of the next key over their scores.
  void keep(int64_t key, int column, Floats weights, Floats next) {
    ((Words*)scores)[key / 2 * VECTORS + column] = paired(weights, next);
  }

  void write(const Floats* out, uint16_t* to, int64_t rows) {
    Words* pairs = queries;  // which no product needs any more
    for (int64_t pair = 0; pair < blocks_of(call.value_dim, CHUNK) * CHUNK / 2; ++pair)
      for (int column = 0; column < VECTORS; ++column)
        pairs[pair * VECTORS + column] =
            paired(out[2 * pair * VECTORS + column], out[(2 * pair + 1) * VECTORS + column]);
    to_rows(pairs, (char*)to, call.out_strides.row * 2, rows, call.value_dim * 2);
  }

 protected:
  explicit Bfloat16Products(const Call& call) : call(call) {}

  // Load a block of queries, `rows` of them.
  void take_queries(const uint16_t* q, int64_t rows) {
    to_columns((const char*)q, call.q_strides.row * 2, rows, call.head_dim * 2, queries);
  }

  const Words* weights() const { return (const Words*)scores; }

  // Return 2 * LANES neighbours of a key's row, or zeros where there are no more keys.
  static Words of_row(const void* tensor, const Strides& strides, const Sequence& sequence, int64_t kv_head,
                      int64_t key, int64_t chunk, int64_t dim) {
    if (key >= sequence.keys) return Words{};
    const auto* row = Call::at((const uint16_t*)tensor, strides, sequence.batch, kv_head, sequence.first_key + key);
    return load((const char*)row, chunk * LANES, dim * 2);
  }

  // Neighbouring rows as pairs of both: of every other column from the first on, and of the rest.
  static Words pairs_of_even(Words first, Words second) { return (first & 0xffffu) | (second << 16); }
  static Words pairs_of_odd(Words first, Words second) { return (first >> 16) | (second & 0xffff0000u); }

  const Call& call;
  Words queries[MOST_HEAD_DIM / 2 * VECTORS];  // [pairs of head_dim, QUERIES]

 private:
  static Floats squared(Words pairs) {
    return first_halves(pairs) * first_halves(pairs) + second_halves(pairs) * second_halves(pairs);
  }
};
