// Causal ALiBi attention, forward: each block of queries walks the keys from its own outwards, and
// stops where what is left can't weigh more than a share of what it has seen.
//
// For a query i and keys up to j, with N the largest norm of a key up to j:
//
//     sum of exp(scale q_i·k - slope (i - k))  <=  exp(scale |q_i| N - slope (i - j)) / (1 - exp(-slope))
//
// and the weight seen is at least that of the largest score. All exponents are of 2.

#include <omp.h>

#include "call.h"
#include "floats.h"
#include "vectors.h"
#if defined(__AMX_BF16__)
#include "tiles.h"
#endif

constexpr float LOST_SQUARES = 4e-36f;  // squares under 1.2e-38 may count as 0

// Of a block of queries, [QUERIES] each: position among the keys, scale * norm, largest score, sum
// of weights relative to it.
struct Rows {
  Floats position[VECTORS], norm[VECTORS], largest[VECTORS], total[VECTORS];
  float slope, scale;

  Rows(const Call& call, int64_t head, int64_t first, const Floats* squares)
      : slope(call.slopes[head] * 1.44269504f), scale(call.scale) {
    for (int column = 0; column < VECTORS; ++column) {
      for (int lane = 0; lane < LANES; ++lane) position[column][lane] = first + column * LANES + lane;
      norm[column] = square_roots(squares[column] + LOST_SQUARES) * call.scale;
      largest[column] = Floats{} - INFINITY;
      total[column] = Floats{};
    }
  }

  // Whether keys up to `last`, whose norms are at most `most`, may weigh over 2^least.
  bool need(int64_t last, float most, float tail, float least) const {
    Signs needed = {};
    for (int column = 0; column < VECTORS; ++column) {
      const Floats weight = norm[column] * most + slope * ((float)last - position[column]) + tail;
      needed |= ~(weight - largest[column] <= least);  // NaN needs all
    }
    return any(needed);
  }
};

// Turn a block's scores into weights. Return what earlier weights shrink by.
template <bool DIAGONAL, class Products>
static Floats weigh(Rows& rows, Products& products, int64_t first, int64_t end, int column) {
  const Floats position = rows.position[column], before = rows.largest[column];
  Floats* scores = products.scores + column;
  Floats largest = before, total[2] = {};
  for (int64_t key = first; key < end; ++key) {
    Floats& score = scores[(key - first) * VECTORS];
    const Floats distance = (float)key - position;
    score = score * rows.scale + rows.slope * distance;
    if (DIAGONAL) score = distance > 0.0f ? Floats{} - INFINITY : score;
    largest = score > largest ? score : largest;
  }
  for (int64_t key = first; key < end; key += 2) {
    Floats weights[2];
    for (int i = 0; i < 2; ++i) {
      const Floats score = scores[(key + i - first) * VECTORS];
      weights[i] = power_of_2<Products::FINE>(score - largest);
      if (DIAGONAL) weights[i] = score == -INFINITY ? Floats{} : weights[i];
      total[i] += weights[i];
    }
    products.keep(key - first, column, weights[0], weights[1]);
  }
  const Floats shrunk = power_of_2<Products::FINE>(before - largest);
  rows.largest[column] = largest;
  rows.total[column] = rows.total[column] * shrunk + (total[0] + total[1]);
  return shrunk;
}

// Add a block of keys to out [head_dim, QUERIES].
template <bool DIAGONAL, class Products>
static void add(Rows& rows, Products& products, int64_t first, int64_t end, int64_t head_dim, Floats* out) {
  products.score(first, end);
  const int64_t padded = first + blocks_of(end - first, 32) * 32;
  Floats shrunk[VECTORS];
  Signs shrinks = {};
  for (int column = 0; column < VECTORS; ++column) {
    shrunk[column] = weigh<DIAGONAL>(rows, products, first, DIAGONAL ? padded : end, column);
    shrinks |= ~(shrunk[column] == 1.0f);
  }
  if (!DIAGONAL && any(shrinks))
    for (int64_t d = 0; d < head_dim; ++d)
      for (int column = 0; column < VECTORS; ++column) out[d * VECTORS + column] *= shrunk[column];
  products.add_values(first, end, out);
}

// Return the pairs of a query and a key that were looked at.
template <class Products>
static int64_t attend(const Call& call, Products& products, int64_t batch, int64_t head, int64_t row) {
  using Element = typename Products::Element;
  const int64_t count = std::min<int64_t>(QUERIES, call.q_len - row);
  const int64_t own = call.kv_len - call.q_len + row, kv_head = head / (call.heads / call.kv_heads);
  const float* norms = call.norms + (batch * call.kv_heads + kv_head) * blocks_of(call.kv_len, KEYS);
  const float tail = std::log2(-1 / std::expm1(-call.slopes[head]));

  Floats squares[VECTORS], out[MOST_HEAD_DIM * VECTORS] = {};
  products.take(Call::at((const Element*)call.q, call.q_strides, batch, head, row), count, batch, kv_head, squares);
  Rows rows(call, head, own, squares);
  int64_t first = own / KEYS * KEYS;
  add<true>(rows, products, first, own + count, call.head_dim, out);
  while (first > 0 && rows.need(first - 1, norms[first / KEYS - 1], tail, call.least)) {
    first -= KEYS;
    add<false>(rows, products, first, first + KEYS, call.head_dim, out);
  }
  for (int64_t d = 0; d < call.head_dim; ++d)
    for (int column = 0; column < VECTORS; ++column) out[d * VECTORS + column] /= rows.total[column];
  products.write(out, Call::at((Element*)call.out, call.out_strides, batch, head, row), count);
  return count * (own + count - first);
}

// The largest norm of a key in a block, rounded up for what sums of a norm and of a score lose.
template <class Products>
static float largest_norm(const Call& call, int64_t batch, int64_t kv_head, int64_t block) {
  using Element = typename Products::Element;
  float most = 0;
  for (int64_t key = block * KEYS; key < std::min((block + 1) * KEYS, call.kv_len); ++key) {
    const Element* row = Call::at((const Element*)call.k, call.k_strides, batch, kv_head, key);
    const float squares = Products::squared_norm(row, call.head_dim);
    if (!(squares <= most)) most = squares;
    if (most != most) break;
  }
  return std::sqrt(most + LOST_SQUARES) * 1.0001f;
}

template <class Products> static void attend_all(Call& call) {
  const int64_t key_blocks = blocks_of(call.kv_len, KEYS), kv = call.batch * call.kv_heads;
  const int64_t blocks = blocks_of(call.q_len, QUERIES), heads = call.batch * call.heads;
  int64_t looked_at = 0;
#pragma omp parallel num_threads(call.threads)
  {
#pragma omp for
    for (int64_t i = 0; i < kv * key_blocks; ++i) {
      const int64_t head = i / key_blocks, block = i % key_blocks;
      Products::pack(call, head / call.kv_heads, head % call.kv_heads, block);
      call.norms[i] = largest_norm<Products>(call, head / call.kv_heads, head % call.kv_heads, block);
    }
#pragma omp for
    for (int64_t i = 0; i < kv; ++i) {
      float* norms = call.norms + i * key_blocks;
      for (int64_t block = 1; block < key_blocks; ++block)
        if (!(norms[block - 1] <= norms[block]) && norms[block] == norms[block])
          norms[block] = norms[block - 1];  // NaN stays, and passes on
    }
    Products products(call);
    // The last block has the most to see, and goes first.
#pragma omp for schedule(dynamic) reduction(+ : looked_at)
    for (int64_t i = 0; i < blocks * heads; ++i) {
      const int64_t row = (blocks - 1 - i / heads) * QUERIES, head = i % heads;
      looked_at += attend(call, products, head / call.heads, head % call.heads, row);
    }
  }
  call.looked_at = looked_at;
}

extern "C" {
void attend_in_float32(Call* call) { attend_all<FloatProducts>(*call); }
#if defined(__AMX_BF16__)
void attend_in_bfloat16(Call* call) { attend_all<TileProducts>(*call); }
bool has_bfloat16() { return TileProducts::allowed(); }
#else
bool has_bfloat16() { return false; }
#endif
}
