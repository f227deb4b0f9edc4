// ALiBi attention, forward. Each block of queries starts at its own keys and walks outwards. On each
// side it stops once bounds.h shows of every query that the remaining keys
//
// - weigh at most a share of the weight already summed, and
// - can add to the output at most that share of the norm that the output has already.
//
// So a query whose values cancel, or whose far values are far larger, looks further.

#include <memory>

#include "bounds.h"
#include "call.h"
#include "few_queries.h"
#include "gradients.h"
#include "products/floats.h"
#include "vectors.h"
#if defined(__AMX_BF16__) && defined(__AVX512F__)
#include "products/tiles.h"
using HalfProducts = TileProducts;
#define HAS_BFLOAT16
#elif defined(__AVX512BF16__)
#include "products/pairs.h"
using HalfProducts = PairProducts;
#define HAS_BFLOAT16
#endif

enum class Side { NEAR, NEAR_CAUSAL, BEFORE, AFTER };  // of the keys, seen from the queries
constexpr bool is_near(Side side) { return side == Side::NEAR || side == Side::NEAR_CAUSAL; }

// One sequence and head, and the keys that its queries can see.
struct Task {
  const Sequence* sequence;
  const KeyBounds* bounds;
  const float* query_norms;  // of the sequence's queries, times |scale|
  int64_t head, kv_head, place;
};

// What remains on a side, from some block of keys on.
struct Remaining {
  float sum;      // bounds what it adds for the nearest query, if that has the longest norm
  float incline;  // the log of it falls at least by this where the norm is less by 1
};

// The state of a block of queries, [QUERIES] each: position among the keys, |scale q|, largest score
// so far, and the sum of weights relative to that score.
struct Rows {
  Floats position[VECTORS], norm[VECTORS], largest[VECTORS], total[VECTORS];
  float first, last;  // positions
  float longest;      // norm
  float slope, scale;
  float before, after;

  Rows(const Call& call, const Task& task, int64_t row, int64_t count)
      : first(task.sequence->position + row),
        last(first + count - 1),
        longest(0),
        slope(call.slopes[task.sequence->batch * call.slopes_batch_stride + task.head]),
        scale(call.scale),
        before(call.before),
        after(call.after) {
    for (int column = 0; column < VECTORS; ++column) {
      for (int64_t lane = 0; lane < LANES; ++lane) {
        const int64_t i = std::min(column * LANES + lane, count - 1);
        position[column][lane] = first + i;
        norm[column][lane] = task.query_norms[row + i];
        longest = larger(longest, norm[column][lane]);
      }
      largest[column] = Floats{} - FLT_MAX;  // finite: -inf minus -inf would be NaN
      total[column] = Floats{};
    }
  }

  // Whether the remaining keys on a side may matter to any query. The nearest query is the first one
  // for keys before the block, and the last one for keys after it.
  template <Side SIDE>
  bool need(Remaining remaining, float least, const Floats* out, int64_t dims, const KeyBounds& bounds) const {
    if (remaining.sum == 0) return false;  // also where all values are 0
    const float sum = std::log(remaining.sum);
    Signs needed = {};
    for (int column = 0; column < VECTORS; ++column) {
      Floats squares = {};
      for (int64_t d = 0; d < dims; ++d) {
        const Floats part = out[d * VECTORS + column] * bounds.inverse;
        squares += part * part;
      }
      const Floats of_weights = log_below(total[column]) + log_below(bounds.usual);
      const Floats of_output = squares >= FLT_MIN ? log_below(squares) * 0.5f : Floats{} - INFINITY;
      const Floats summed = largest[column] + (of_output < of_weights ? of_output : of_weights);
      const Floats bias = slope * (SIDE == Side::BEFORE ? first - position[column] : position[column] - last);
      const Floats most = sum - (longest - norm[column]) * remaining.incline + bias;
      needed |= ~(most - summed <= least);  // a bound of NaN needs all keys
    }
    return any(needed);
  }

  // Bound, for each block of keys on a side, what it and all blocks beyond it add for the query
  // nearest to that side.
  template <Side SIDE>
  void bound(const KeyBounds& bounds, int64_t begin, int64_t end, std::vector<Remaining>& remaining) const {
    const float zeros = std::log(std::expm1(-KEYS * slope) / std::expm1(-slope));
    const float rise = slope < 0 ? -slope * (KEYS - 1) : 0.0f;  // of the bias within a block
    for (int64_t block = begin; block < end; block += LANES) {
      Floats sums = {};
      for (int64_t i = 0; i < LANES && block + i < end; ++i) {
        const BlockBound& keys = bounds.blocks[block + i];
        const float key = (block + i) * KEYS + (SIDE == Side::BEFORE ? KEYS - 1 : 0);
        const float by_largest = longest * keys.longest * ROUNDED_SUMS + keys.largest + zeros;
        const float by_chord = (keys.chord + longest * keys.incline * ROUNDED_SUMS) + rise;
        const float distance = SIDE == Side::BEFORE ? first - key : key - last;
        sums[i] = (by_largest < by_chord ? by_largest : by_chord) - slope * distance;
      }
      const Floats powers = exponential<false>(sums) * 1.0001f;
      for (int64_t i = 0; i < LANES && block + i < end; ++i) {
        const BlockBound& keys = bounds.blocks[block + i];
        const float incline = keys.incline < keys.longest ? keys.incline : keys.longest;
        remaining[block + i] = {sums[i] <= 69.0f ? powers[i] : INFINITY, incline / ROUNDED_SUMS};
      }
    }
    const auto add = [&](int64_t to, int64_t from) {
      remaining[to].sum += remaining[from].sum;
      remaining[to].incline = std::min(remaining[to].incline, remaining[from].incline);
    };
    if (SIDE == Side::BEFORE)
      for (int64_t block = begin + 1; block < end; ++block) add(block, block - 1);
    else
      for (int64_t block = end - 1; block > begin; --block) add(block - 1, block);
  }
};

// Turn the scores of keys into weights. Return the factor by which earlier weights shrink.
// HIDES says that a query may not see all of the keys, or that padding follows them.
template <Side SIDE, bool HIDES, class Products>
static Floats weigh(Rows& rows, Products& products, int64_t first, int64_t end, int column) {
  const Floats position = rows.position[column], before = rows.largest[column];
  const int64_t padded = HIDES ? first + blocks_of(end - first, CHUNK) * CHUNK : end;
  Floats* scores = products.scores + column;
  Floats largest = before, total[2] = {};
  for (int64_t key = first; key < padded; ++key) {
    Floats& score = scores[(key - first) * VECTORS];
    const Floats distance = (float)key - position;
    Floats bias = rows.slope * distance;
    if (SIDE == Side::NEAR) bias = -rows.slope * absolute(distance);
    if (SIDE == Side::AFTER) bias = -bias;
    score = score * rows.scale + bias;
    if (HIDES) {
      if (SIDE != Side::BEFORE) score = distance > rows.after ? Floats{} - INFINITY : score;
      if (SIDE == Side::NEAR || SIDE == Side::BEFORE)
        score = -distance > rows.before ? Floats{} - INFINITY : score;
      if (key >= end) score = Floats{} - INFINITY;
    }
    largest = score > largest ? score : largest;
  }
  for (int64_t key = first; key < padded; key += 2) {
    Floats weights[2];
    for (int i = 0; i < 2; ++i) {
      weights[i] = exponential<Products::FINE>(scores[(key + i - first) * VECTORS] - largest);
      total[i] += weights[i];
    }
    products.keep(key - first, column, weights[0], weights[1]);
  }
  const Floats shrunk = exponential<Products::FINE>(before - largest);
  rows.largest[column] = largest;
  rows.total[column] = rows.total[column] * shrunk + (total[0] + total[1]);
  return shrunk;
}

// Add the attention to the keys from `first` to `end` to out [value_dim, QUERIES].
template <Side SIDE, bool HIDES, class Products>
static void add(Rows& rows, Products& products, int64_t first, int64_t end, int64_t dims, Floats* out) {
  const int lag = SIDE == Side::NEAR_CAUSAL ? first - (int64_t)rows.first : ALL_QUERIES;
  products.score(first, end, lag);
  Floats shrunk[VECTORS];
  Signs shrinks = {};
  for (int column = 0; column < VECTORS; ++column) {
    shrunk[column] = weigh<SIDE, HIDES>(rows, products, first, end, column);
    shrinks |= ~(shrunk[column] == 1.0f);
  }
  if (!is_near(SIDE) && any(shrinks))
    for (int64_t d = 0; d < dims; ++d)
      for (int column = 0; column < VECTORS; ++column) out[d * VECTORS + column] *= shrunk[column];
  products.add_values(first, end, out, lag);
}

// What a thread needs besides its stack, which may be small.
template <class Products> struct Room {
  Products products;
  Floats out[MOST_HEAD_DIM * VECTORS];
  std::vector<Remaining> remaining;

  Room(const Call& call, int64_t blocks) : products(call), remaining(blocks) {}
};

// Compute a block of queries. Return how many pairs of a query and a key that took.
template <class Products>
static int64_t attend(const Call& call, Room<Products>& room, const Task& task, int64_t row) {
  using Element = typename Products::Element;
  const Sequence& sequence = *task.sequence;
  const int64_t count = std::min<int64_t>(QUERIES, sequence.queries - row), dims = call.value_dim;
  const int64_t first_row = sequence.first_query + row, position = sequence.position + row;
  Products& products = room.products;
  Floats* out = room.out;
  std::fill(out, out + blocks_of(dims, CHUNK) * CHUNK * VECTORS, Floats{});
  products.take(Call::at((const Element*)call.q, call.q_strides, sequence.batch, task.head, first_row), count,
                sequence, task.kv_head, task.place);
  Rows rows(call, task, row, count);

  // The keys that any of these queries sees. Without a causal mask there may be more queries than
  // keys, and so positions outside of them.
  const int64_t least_key = std::clamp<int64_t>(position - call.before, 0, sequence.keys);
  const int64_t most_key = std::clamp<int64_t>(position + count + call.after, 0, sequence.keys);
  int64_t first = std::clamp<int64_t>(position, 0, std::max<int64_t>(sequence.keys - 1, 0)) / KEYS * KEYS;
  int64_t end = std::min(std::max<int64_t>(position + count, 1), sequence.keys);
  if (call.after) end = std::min(blocks_of(end, KEYS) * KEYS, sequence.keys);
  if (call.after == 0 && call.before >= 2 * KEYS)
    add<Side::NEAR_CAUSAL, true>(rows, products, first, end, dims, out);
  else
    add<Side::NEAR, true>(rows, products, first, end, dims, out);

  std::vector<Remaining>& remaining = room.remaining;
  const int64_t least_block = least_key / KEYS, most_block = blocks_of(most_key, KEYS);
  rows.bound<Side::BEFORE>(*task.bounds, least_block, first / KEYS, remaining);
  while (first / KEYS > least_block &&
         rows.need<Side::BEFORE>(remaining[first / KEYS - 1], call.least, out, dims, *task.bounds)) {
    first -= KEYS;
    if (position + count - 1 - first <= call.before)
      add<Side::BEFORE, false>(rows, products, first, first + KEYS, dims, out);
    else
      add<Side::BEFORE, true>(rows, products, first, first + KEYS, dims, out);
  }
  if (end < most_key) rows.bound<Side::AFTER>(*task.bounds, end / KEYS, most_block, remaining);
  while (end < most_key &&
         rows.need<Side::AFTER>(remaining[end / KEYS], call.least, out, dims, *task.bounds)) {
    const int64_t next = std::min(end + KEYS, sequence.keys);
    add<Side::AFTER, true>(rows, products, end, next, dims, out);
    end = next;
  }

  for (int column = 0; column < VECTORS; ++column) {
    const Floats total = rows.total[column];
    const Floats inverse = total == 0.0f ? total : 1.0f / total;  // a query that sees no key is 0
    for (int64_t d = 0; d < dims; ++d) out[d * VECTORS + column] *= inverse;
  }
  products.write(out, Call::at((Element*)call.out, call.out_strides, sequence.batch, task.head, first_row), count);
  if (call.log_sum_exp)
    for (int64_t i = 0; i < count; ++i)
      call.log_sum_exp[(sequence.batch * call.heads + task.head) * call.q_len + first_row + i] =
          rows.largest[i / LANES][i % LANES] + std::log(rows.total[i / LANES][i % LANES]);
  return count * (end - first);
}

// Write the norms of rows, rounded up by the rounding of norms and of scores.
template <class Products>
static void write_norms(const typename Products::Element* rows, int64_t stride, int64_t count, int64_t dim, float* to) {
  for (int64_t row = 0; row < count; row += LANES) {
    Words squares[LANES];
    for (int64_t lane = 0; lane < LANES; ++lane)
      squares[lane] = (Words)Products::squares(rows + std::min(row + lane, count - 1) * stride, dim);
    transpose(squares);
    Floats sums = {};
    UNROLLED for (int lane = 0; lane < LANES; ++lane) sums += (Floats)squares[lane];
    const Floats norms = square_roots(sums + LOST_SQUARES) * ROUNDED_SUMS;
    memcpy(to + row, &norms, std::min<int64_t>(count - row, LANES) * sizeof(float));
  }
}

template <class Products> static void attend_all(Call& call) {
  using Element = typename Products::Element;
  struct Block {
    int64_t task, row;
  };
  std::vector<KeyBounds> bounds;  // of each sequence and kv head
  std::vector<int64_t> places, query_places;
  std::vector<Block> key_blocks, query_blocks;
  int64_t query_rows = 0, most_blocks = 0;
  for (int64_t i = 0; i < call.sequence_count; ++i) {
    const Sequence& sequence = call.sequences[i];
    const int64_t blocks = blocks_of(sequence.keys, KEYS);
    most_blocks = std::max(most_blocks, blocks);
    for (int64_t head = 0; head < call.kv_heads; ++head) {
      places.push_back(key_blocks.size());
      for (int64_t block = 0; block < blocks; ++block) key_blocks.push_back({i * call.kv_heads + head, block});
      bounds.emplace_back(sequence.keys);
    }
    for (int64_t head = 0; head < call.heads; ++head) {
      query_places.push_back(query_rows);
      query_rows += sequence.queries;
      for (int64_t row = 0; row < sequence.queries; row += QUERIES) query_blocks.push_back({i * call.heads + head, row});
    }
  }
  // With a causal mask the last block sees the most keys, so it goes first.
  std::stable_sort(query_blocks.begin(), query_blocks.end(), [](Block a, Block b) { return a.row > b.row; });
  std::vector<float> query_norms(query_rows);
  const int64_t group = call.heads / call.kv_heads;
  int64_t looked_at = 0;
#pragma omp parallel num_threads(call.threads)
  {
#pragma omp for nowait
    for (size_t i = 0; i < key_blocks.size(); ++i) {
      const int64_t head = key_blocks[i].task % call.kv_heads, block = key_blocks[i].row;
      const Sequence& sequence = call.sequences[key_blocks[i].task / call.kv_heads];
      KeyBounds& of = bounds[key_blocks[i].task];
      Products::pack(call, sequence, head, block, i);
      const int64_t key = block * KEYS, count = std::min<int64_t>(KEYS, sequence.keys - key);
      const auto* k = Call::at((const Element*)call.k, call.k_strides, sequence.batch, head, sequence.first_key + key);
      const auto* v = Call::at((const Element*)call.v, call.v_strides, sequence.batch, head, sequence.first_key + key);
      write_norms<Products>(k, call.k_strides.row, count, call.head_dim, &of.norms[key]);
      write_norms<Products>(v, call.v_strides.row, count, call.value_dim, &of.sizes[key]);
    }
#pragma omp for
    for (size_t i = 0; i < query_blocks.size(); ++i) {
      const int64_t head = query_blocks[i].task % call.heads, row = query_blocks[i].row;
      const Sequence& sequence = call.sequences[query_blocks[i].task / call.heads];
      const auto* q = Call::at((const Element*)call.q, call.q_strides, sequence.batch, head, sequence.first_query + row);
      const int64_t count = std::min<int64_t>(QUERIES, sequence.queries - row);
      float* norms = &query_norms[query_places[query_blocks[i].task] + row];
      write_norms<Products>(q, call.q_strides.row, count, call.head_dim, norms);
      for (int64_t query = 0; query < count; ++query) norms[query] *= std::abs(call.scale);
    }
#pragma omp for
    for (size_t i = 0; i < bounds.size(); ++i) {
      const int64_t of = (int64_t)i / call.kv_heads * call.heads + (int64_t)i % call.kv_heads * group;
      const int64_t queries = call.sequences[i / call.kv_heads].queries * group;
      float most = 0;
      for (int64_t row = 0; row < queries; ++row) most = larger(most, query_norms[query_places[of] + row]);
      bounds[i].bound(most);
    }
    const auto room = std::make_unique<Room<Products>>(call, most_blocks);
#pragma omp for schedule(dynamic) reduction(+ : looked_at)
    for (size_t i = 0; i < query_blocks.size(); ++i) {
      const int64_t of = query_blocks[i].task, sequence = of / call.heads, head = of % call.heads;
      const int64_t keys = sequence * call.kv_heads + head / group;
      const Task task{call.sequences + sequence, &bounds[keys], &query_norms[query_places[of]], head, head / group, places[keys]};
      looked_at += attend(call, *room, task, query_blocks[i].row);
    }
  }
  call.looked_at = looked_at;
}

extern "C" {
// Sizes that Python compares with its constants and its structure.
int64_t layout(int which) {
  const int64_t sizes[] = {sizeof(Call), sizeof(BackwardCall), sizeof(Sequence), KEYS, QUERIES, CHUNK, MOST_HEAD_DIM};
  return sizes[which];
}
void attend_in_float32(Call* call) { attend_all<FloatProducts>(*call); }
void gradients_in_float32(BackwardCall* call) { compute_gradients(*call); }
void attend_few_in_float32(Call* call) { attend_few<Float32>(*call); }
void attend_few_in_bfloat16(Call* call) { attend_few<Bfloat16>(*call); }
void attend_few_in_float16(Call* call) { attend_few<Float16>(*call); }
// How many elements of a key and its value are packed for bfloat16; 0 where blocks of it have no kernel.
#if defined(HAS_BFLOAT16)
void attend_in_bfloat16(Call* call) { attend_all<HalfProducts>(*call); }
int64_t packed_width(int64_t head_dim, int64_t value_dim) {
  return HalfProducts::allowed() ? HalfProducts::packed_width(head_dim, value_dim) : 0;
}
#else
int64_t packed_width(int64_t, int64_t) { return 0; }
#endif
}
