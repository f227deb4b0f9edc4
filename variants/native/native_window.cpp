// ALiBi attention, forward: each block of queries walks the keys from its own outwards, and stops on
// a side where what is left can't weigh more than a share of what it has seen.
//
// A block of keys before the queries, of norms up to N and the last one at j, weighs for query i
//
//     sum of exp(scale q_i·k - slope (i - k))
//         <=  exp(|scale| |q| N - slope (i - j)) (1 - exp(-KEYS slope)) / (1 - exp(-slope))
//
// with |q| the largest norm of a query here. Those blocks are added up, and held against what each
// query has seen; blocks after the queries are bounded alike. All exponents are of 2.

#include <cfloat>
#include <vector>

#include "call.h"
#include "floats.h"
#include "vectors.h"
#if defined(__AMX_BF16__) && defined(__AVX512F__)
#define HAS_TILES
#include "tiles.h"
#endif

enum class Side { OWN, OWN_AND_BEFORE, BEFORE, AFTER };  // of the keys, seen from a block of queries

constexpr float LOG2_E = 1.44269504f;
constexpr float LOST_SQUARES = 4e-36f;  // MOST_HEAD_DIM squares under 1.2e-38 may count as 0
constexpr float ROUNDED_SUMS = 1.0001f;  // sums of MOST_HEAD_DIM products, of norms and of scores

// Of a block of queries, [QUERIES] each: position among the keys, scale * norm, largest score, sum
// of weights relative to it.
struct Rows {
  Floats position[VECTORS], norm[VECTORS], largest[VECTORS], total[VECTORS];
  float slope, scale;

  Rows(const Call& call, int64_t head, int64_t first, int64_t count, const Floats* squares)
      : slope(call.slopes[head] * LOG2_E), scale(call.scale) {
    for (int column = 0; column < VECTORS; ++column) {
      for (int64_t lane = 0; lane < LANES; ++lane)
        position[column][lane] = first + std::min(column * LANES + lane, count - 1);
      norm[column] = square_roots(squares[column] + LOST_SQUARES) * std::abs(call.scale);
      largest[column] = Floats{} - FLT_MAX;  // which a score of -inf can be taken from
      total[column] = Floats{};
    }
  }

  // Whether what is left, which weighs up to `left` for the first query if it comes before it, or
  // for the last if it comes after it, may weigh over 2^least of what any query has seen.
  template <Side SIDE> bool need(float left, float least) const {
    constexpr float SIGN = SIDE == Side::BEFORE ? 1.0f : -1.0f;
    const float nearest = SIDE == Side::BEFORE ? position[0][0] : position[VECTORS - 1][LANES - 1];
    const float weight = std::log2(left);
    Signs needed = {};
    for (int column = 0; column < VECTORS; ++column) {
      const Floats bias = SIGN * slope * (nearest - position[column]);
      const Floats seen = largest[column] + whole_log2(total[column]);
      needed |= ~(weight + bias - seen <= least);  // a bound of NaN needs all
    }
    return any(needed);
  }

  // What each block of keys on a side, and all beyond it, may weigh for the query nearest to it.
  template <Side SIDE>
  void bound(const float* norms, int64_t first, int64_t end, std::vector<float>& left) const {
    constexpr float SIGN = SIDE == Side::BEFORE ? 1.0f : -1.0f;
    const float nearest = SIDE == Side::BEFORE ? position[0][0] : position[VECTORS - 1][LANES - 1];
    const float fall = slope / LOG2_E;  // as it was rounded, so that the two agree
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
        left[block + i] = weights[i] <= 100.0f ? powers[i] : INFINITY;
    }
    if (SIDE == Side::BEFORE)
      for (int64_t block = first + 1; block < end; ++block) left[block] += left[block - 1];
    else
      for (int64_t block = end - 1; block > first; --block) left[block - 1] += left[block];
  }
};

// Turn the scores of keys into weights. Return what earlier weights shrink by.
template <Side SIDE, class Products>
static Floats weigh(Rows& rows, Products& products, int64_t first, int64_t end, int column) {
  constexpr bool HIDES = SIDE != Side::BEFORE;  // keys that a row may not see, or that aren't there
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

// Add keys, a block or a block's own, to out [head_dim, QUERIES].
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

// Attend from a block of queries. Return the pairs of a query and a key that were looked at.
template <class Products>
static int64_t attend(const Call& call, Products& products, std::vector<float>& left, int64_t batch,
                      int64_t head, int64_t row) {
  using Element = typename Products::Element;
  const int64_t count = std::min<int64_t>(QUERIES, call.q_len - row);
  const int64_t own = call.kv_len - call.q_len + row, kv_head = head / (call.heads / call.kv_heads);
  const int64_t blocks = blocks_of(call.kv_len, KEYS);
  const float* norms = call.norms + (batch * call.kv_heads + kv_head) * blocks;

  Floats squares[VECTORS], out[MOST_HEAD_DIM * VECTORS];
  std::fill(out, out + blocks_of(call.head_dim, CHUNK) * CHUNK * VECTORS, Floats{});
  products.take(Call::at((const Element*)call.q, call.q_strides, batch, head, row), count, batch, kv_head, squares);
  Rows rows(call, head, own, count, squares);
  // Without a causal mask there may be more queries than keys, and then positions before the first.
  int64_t first = std::max<int64_t>(own, 0) / KEYS * KEYS, end = own + count;
  if (call.causal) {
    add<Side::OWN_AND_BEFORE>(rows, products, first, end, call.head_dim, out);
  } else {
    end = std::min(call.kv_len, blocks_of(std::max<int64_t>(end, 1), KEYS) * KEYS);
    add<Side::OWN>(rows, products, first, end, call.head_dim, out);
  }
  rows.bound<Side::BEFORE>(norms, 0, first / KEYS, left);
  while (first > 0 && rows.need<Side::BEFORE>(left[first / KEYS - 1], call.least)) {
    add<Side::BEFORE>(rows, products, first - KEYS, first, call.head_dim, out);
    first -= KEYS;
  }
  if (!call.causal) rows.bound<Side::AFTER>(norms, end / KEYS, blocks, left);
  while (!call.causal && end < call.kv_len &&
         rows.need<Side::AFTER>(left[end / KEYS], call.least)) {
    const int64_t next = std::min(call.kv_len, end + KEYS);
    add<Side::AFTER>(rows, products, end, next, call.head_dim, out);
    end = next;
  }
  for (int64_t d = 0; d < call.head_dim; ++d)
    for (int column = 0; column < VECTORS; ++column) out[d * VECTORS + column] /= rows.total[column];
  products.write(out, Call::at((Element*)call.out, call.out_strides, batch, head, row), count);
  return count * (end - first);
}

// The largest norm of a key in a block, rounded up for what sums of a norm and of a score lose.
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
    std::vector<float> left(key_blocks);
    // With a causal mask the last block has the most to see, and goes first.
#pragma omp for schedule(dynamic) reduction(+ : looked_at)
    for (int64_t i = 0; i < blocks * rows; ++i) {
      const int64_t block = blocks - 1 - i / rows, batch = i % rows / call.heads;
      looked_at += attend(call, products, left, batch, i % call.heads, block * QUERIES);
    }
  }
  call.looked_at = looked_at;
}

extern "C" {
// What Python's constants and structure are held against.
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
