// ALiBi attention, forward. Each block of queries starts at its own keys and walks outwards. On each
// side it stops once the remaining keys can't weigh more than a share of the weight already summed.
//
// A block of keys before the queries, with norms up to N and the last key at j, weighs for query i
//
//     sum of exp(scale q_i·k - slope (i - k))
//         <=  exp(|scale| |q| N - slope (i - j)) (1 - exp(-KEYS slope)) / (1 - exp(-slope))
//
// where |q| is the largest norm in the block of queries. These bounds are added up over the
// remaining blocks, and compared with the weight that each query has summed. Blocks after the
// queries are bounded in the same way. All exponentials are computed as powers of 2.

#include <cfloat>
#include <vector>

#include "call.h"
#include "floats.h"
#include "vectors.h"
#if defined(__AMX_BF16__) && defined(__AVX512F__)
#define HAS_TILES
#include "tiles.h"
#endif

enum class Side { OWN, OWN_AND_BEFORE, BEFORE, AFTER };  // of the keys, seen from the queries

constexpr float LOG2_E = 1.44269504f;
constexpr float LOST_SQUARES = 4e-36f;  // up to MOST_HEAD_DIM squares under 1.2e-38 may become 0
constexpr float ROUNDED_SUMS = 1.0001f;  // error of norms and scores: sums of MOST_HEAD_DIM terms

// The state of a block of queries, [QUERIES] each: position among the keys, scale * norm, largest
// score so far, and the sum of weights relative to that score.
struct Rows {
  Floats position[VECTORS], norm[VECTORS], largest[VECTORS], total[VECTORS];
  float slope, scale;

  Rows(const Call& call, int64_t head, int64_t first, int64_t count, const Floats* squares)
      : slope(call.slopes[head] * LOG2_E), scale(call.scale) {
    for (int column = 0; column < VECTORS; ++column) {
      for (int64_t lane = 0; lane < LANES; ++lane)
        position[column][lane] = first + std::min(column * LANES + lane, count - 1);
      norm[column] = square_roots(squares[column] + LOST_SQUARES) * std::abs(call.scale);
      largest[column] = Floats{} - FLT_MAX;  // finite: -inf minus -inf would be NaN
      total[column] = Floats{};
    }
  }

  // Whether the remaining keys on a side may weigh over 2^least of the weight that any query has
  // summed. `remaining` bounds their weight for the nearest query: the first query for keys before
  // the block, the last query for keys after it.
  template <Side SIDE> bool need(float remaining, float least) const {
    constexpr float SIGN = SIDE == Side::BEFORE ? 1.0f : -1.0f;
    const float nearest = SIDE == Side::BEFORE ? position[0][0] : position[VECTORS - 1][LANES - 1];
    const float weight = std::log2(remaining);
    Signs needed = {};
    for (int column = 0; column < VECTORS; ++column) {
      const Floats bias = SIGN * slope * (nearest - position[column]);
      const Floats summed = largest[column] + whole_log2(total[column]);
      needed |= ~(weight + bias - summed <= least);  // a bound of NaN needs all keys
    }
    return any(needed);
  }

  // Bound, for each block of keys on a side, the weight of it and of all blocks beyond it, for the
  // query nearest to that side.
  template <Side SIDE>
  void bound(const float* norms, int64_t first, int64_t end, std::vector<float>& remaining) const {
    constexpr float SIGN = SIDE == Side::BEFORE ? 1.0f : -1.0f;
    const float nearest = SIDE == Side::BEFORE ? position[0][0] : position[VECTORS - 1][LANES - 1];
    const float fall = slope / LOG2_E;  // from the rounded slope, so that both agree
    const float zeros = std::log2(std::expm1(-KEYS * fall) / std::expm1(-fall));
    float longest = 0;
    for (int column = 0; column < VECTORS; ++column)
      for (int lane = 0; lane < LANES; ++lane) longest = larger(longest, norm[column][lane]);
    for (int64_t block = first; block < end; block += LANES) {
      Floats weights;
      for (int64_t i = 0; i < LANES; ++i) {
        const int64_t key = (block + i) * KEYS + (SIDE == Side::BEFORE ? KEYS - 1 : 0);
        const float most = block + i < end ? norms[block + i] : 0.0f;
        weights[i] = longest * most + SIGN * slope * ((float)key - nearest) + zeros;
      }
      const Floats powers = power_of_2<false>(weights) * 1.0001f;
      for (int64_t i = 0; i < LANES && block + i < end; ++i)
        remaining[block + i] = weights[i] <= 100.0f ? powers[i] : INFINITY;
    }
    if (SIDE == Side::BEFORE)
      for (int64_t block = first + 1; block < end; ++block) remaining[block] += remaining[block - 1];
    else
      for (int64_t block = end - 1; block > first; --block) remaining[block - 1] += remaining[block];
  }
};

// Turn the scores of keys into weights. Return the factor by which earlier weights shrink.
template <Side SIDE, class Products>
static Floats weigh(Rows& rows, Products& products, int64_t first, int64_t end, int column) {
  constexpr bool HIDES = SIDE != Side::BEFORE;  // keys that a row may not see, or padding
  const Floats position = rows.position[column], before = rows.largest[column];
  const int64_t padded = HIDES ? first + blocks_of(end - first, CHUNK) * CHUNK : end;
  Floats* scores = products.scores + column;
  Floats largest = before, total[2] = {};
  for (int64_t key = first; key < padded; ++key) {
    Floats& score = scores[(key - first) * VECTORS];
    const Floats distance = (float)key - position;
    Floats bias = rows.slope * distance;
    if (SIDE == Side::OWN) bias = -rows.slope * absolute(distance);
    if (SIDE == Side::AFTER) bias = -bias;
    score = score * rows.scale + bias;
    if (SIDE == Side::OWN_AND_BEFORE) score = distance > 0.0f ? Floats{} - INFINITY : score;
    if (HIDES && key >= end) score = Floats{} - INFINITY;
    largest = score > largest ? score : largest;
  }
  for (int64_t key = first; key < padded; key += 2) {
    Floats weights[2];
    for (int i = 0; i < 2; ++i) {
      const Floats score = scores[(key + i - first) * VECTORS];
      weights[i] = power_of_2<Products::FINE>(score - largest);
      if (HIDES) weights[i] = score == -INFINITY ? Floats{} : weights[i];
      total[i] += weights[i];
    }
    products.keep(key - first, column, weights[0], weights[1]);
  }
  const Floats shrunk = power_of_2<Products::FINE>(before - largest);
  rows.largest[column] = largest;
  rows.total[column] = rows.total[column] * shrunk + (total[0] + total[1]);
  return shrunk;
}

// Add the attention to the keys from `first` to `end` to out [head_dim, QUERIES].
template <Side SIDE, class Products>
static void add(Rows& rows, Products& products, int64_t first, int64_t end, int64_t head_dim, Floats* out) {
  constexpr bool FIRST = SIDE == Side::OWN || SIDE == Side::OWN_AND_BEFORE;
  products.score(first, end);
  Floats shrunk[VECTORS];
  Signs shrinks = {};
  for (int column = 0; column < VECTORS; ++column) {
    shrunk[column] = weigh<SIDE>(rows, products, first, end, column);
    shrinks |= ~(shrunk[column] == 1.0f);
  }
  if (!FIRST && any(shrinks))
    for (int64_t d = 0; d < head_dim; ++d)
      for (int column = 0; column < VECTORS; ++column) out[d * VECTORS + column] *= shrunk[column];
  products.add_values(first, end, out);
}

// Compute a block of queries. Return how many pairs of a query and a key that took.
template <class Products>
static int64_t attend(const Call& call, Products& products, std::vector<float>& remaining, int64_t batch,
                      int64_t head, int64_t row) {
  using Element = typename Products::Element;
  const int64_t count = std::min<int64_t>(QUERIES, call.q_len - row);
  const int64_t position = call.kv_len - call.q_len + row, kv_head = head / (call.heads / call.kv_heads);
  const int64_t blocks = blocks_of(call.kv_len, KEYS);
  const float* norms = call.norms + (batch * call.kv_heads + kv_head) * blocks;

  Floats squares[VECTORS], out[MOST_HEAD_DIM * VECTORS];
  std::fill(out, out + blocks_of(call.head_dim, CHUNK) * CHUNK * VECTORS, Floats{});
  products.take(Call::at((const Element*)call.q, call.q_strides, batch, head, row), count, batch, kv_head, squares);
  Rows rows(call, head, position, count, squares);
  // Without a causal mask there may be more queries than keys, and so positions below 0.
  int64_t first = std::max<int64_t>(position, 0) / KEYS * KEYS, end = position + count;
  if (call.causal) {
    add<Side::OWN_AND_BEFORE>(rows, products, first, end, call.head_dim, out);
  } else {
    end = std::min(call.kv_len, blocks_of(std::max<int64_t>(end, 1), KEYS) * KEYS);
    add<Side::OWN>(rows, products, first, end, call.head_dim, out);
  }
  rows.bound<Side::BEFORE>(norms, 0, first / KEYS, remaining);
  while (first > 0 && rows.need<Side::BEFORE>(remaining[first / KEYS - 1], call.least)) {
    add<Side::BEFORE>(rows, products, first - KEYS, first, call.head_dim, out);
    first -= KEYS;
  }
  if (!call.causal) rows.bound<Side::AFTER>(norms, end / KEYS, blocks, remaining);
  while (!call.causal && end < call.kv_len &&
         rows.need<Side::AFTER>(remaining[end / KEYS], call.least)) {
    const int64_t next = std::min(call.kv_len, end + KEYS);
    add<Side::AFTER>(rows, products, end, next, call.head_dim, out);
    end = next;
  }
  for (int64_t d = 0; d < call.head_dim; ++d)
    for (int column = 0; column < VECTORS; ++column) out[d * VECTORS + column] /= rows.total[column];
  products.write(out, Call::at((Element*)call.out, call.out_strides, batch, head, row), count);
  return count * (end - first);
}

// The largest norm of a key in a block, rounded up by the rounding of norms and of scores.
template <class Products>
static float largest_norm(const Call& call, int64_t batch, int64_t kv_head, int64_t block) {
  using Element = typename Products::Element;
  float most = 0;
  for (int64_t key = block * KEYS; key < std::min((block + 1) * KEYS, call.kv_len); ++key) {
    const Element* row = Call::at((const Element*)call.k, call.k_strides, batch, kv_head, key);
    most = larger(most, Products::squared_norm(row, call.head_dim));
  }
  return std::sqrt(most + LOST_SQUARES) * ROUNDED_SUMS;
}

template <class Products> static void attend_all(Call& call) {
  const int64_t key_blocks = blocks_of(call.kv_len, KEYS), key_rows = call.batch * call.kv_heads;
  const int64_t blocks = blocks_of(call.q_len, QUERIES), rows = call.batch * call.heads;
  int64_t looked_at = 0;
#pragma omp parallel num_threads(call.threads)
  {
#pragma omp for
    for (int64_t i = 0; i < key_rows * key_blocks; ++i) {
      const int64_t batch = i / key_blocks / call.kv_heads, head = i / key_blocks % call.kv_heads;
      Products::pack(call, batch, head, i % key_blocks);
      call.norms[i] = largest_norm<Products>(call, batch, head, i % key_blocks);
    }
    Products products(call);
    std::vector<float> remaining(key_blocks);
    // With a causal mask the last block sees the most keys, so it goes first.
#pragma omp for schedule(dynamic) reduction(+ : looked_at)
    for (int64_t i = 0; i < blocks * rows; ++i) {
      const int64_t block = blocks - 1 - i / rows, batch = i % rows / call.heads;
      looked_at += attend(call, products, remaining, batch, i % call.heads, block * QUERIES);
    }
  }
  call.looked_at = looked_at;
}

extern "C" {
// Sizes that Python compares with its constants and its structure.
int64_t layout(int which) {
  const int64_t sizes[] = {sizeof(Call), KEYS, QUERIES, CHUNK, MOST_HEAD_DIM};
  return sizes[which];
}
void attend_in_float32(Call* call) { attend_all<FloatProducts>(*call); }
#if defined(HAS_TILES)
void attend_in_bfloat16(Call* call) { attend_all<TileProducts>(*call); }
bool has_bfloat16() { return TileProducts::allowed(); }
#else
bool has_bfloat16() { return false; }
#endif
}
