// Gradients of ALiBi attention in float32, from the output and its log-sum-exp.
//
//     p = exp(scale q·k - slope distance - lse)      dv = sum of p dout        dp = dout·v
//     ds = p (dp - delta)                            dk = sum of ds scale q    dq = sum of ds scale k
//     delta = dout·out - dlse                        dslope = sum of ds (-distance)
//
// Blocks of queries are taken in order, and each block's keys from its own outwards. So both a query,
// among keys, and a key, among queries, have met all that is nearer when they meet a pair of blocks. A
// pair is left out where that is certified of all its queries and all its keys: what remains beyond
// adds to a row of dq, dk or dv at most a share of the norm that the row already has. It rests on
//
//     p <= exp(|scale q| |k| - slope distance - lse)    and    |ds| <= p (|dout| |v| + |delta|).
//
// Without a causal mask the keys after the queries are met in a second sweep, from the last query back.
// There a row whose two sides cancel is certified to a share of one side. The gradient of a slope has
// no bound of its own.
// A head belongs to one thread, so sums have one order. Keys that heads share get sums for each head,
// and each is certified by itself. No two sequences may share queries or keys.

#pragma once

#include <cfloat>
#include <memory>
#include <vector>

#include "bounds.h"
#include "call.h"
#include "products/floats.h"
#include "vectors.h"

constexpr float LEAST_SQUARES = 1e-30f;  // below it squares lose digits
constexpr float LOG_ERROR = 0.06f;       // of log_below
constexpr float LOG_OF_ZERO = -87;       // exponential gives 0 below
constexpr float QUARTER = 1.4f;  // log 4, rounded up: a gradient may leave out a quarter of what a forward may
constexpr float LOST_DIGITS = 1e-6f;  // of logs, by sums and differences of large ones

struct BackwardCall {
  Call forward;                // q, k, v, slopes, out and sequences; log_sum_exp is read
  const float* d_out;          // [batch, heads, q_len, value_dim]
  const float* d_log_sum_exp;  // [batch, heads, q_len], or null
  float *d_q, *d_k, *d_v;      // contiguous, [batch, heads, length, dim], of each query head; dims are padded
                               // to multiples of CHUNK; d_k and d_v are 0 at first, d_q where no key is seen
  float* d_slopes;             // [sequence_count, heads]
  Strides d_out_strides;
  int64_t kv_len;
};

// What some blocks of rows add to a gradient at most: the log of it for a partner with the longest
// norm, and by how much that falls at least where the norm is less by 1.
struct Tail {
  float log, incline;
};

enum class Partner { AFTER, BEFORE };  // where the row stands for which a tail is computed

// At least the norm of a row, and 0 for zeros alone.
static inline float norm_above(const float* row, int64_t dim) {
  const float squares = sum(squares_of(row, dim));
  if (squares > LEAST_SQUARES || squares != squares) return std::sqrt(squares) * ROUNDED_SUMS;
  float total = 0;
  for (int64_t d = 0; d < dim; ++d) total += std::abs(row[d]);
  return total * ROUNDED_SUMS;
}

static inline double log_sum(double a, double b) {
  const double most = a >= b || a != a ? a : b;
  return most == -INFINITY ? most : most + std::log(std::exp(a - most) + std::exp(b - most));
}

// The log of a positive number or more, -inf for 0, and NaN for NaN and infinity.
static inline float log_above(float x) { return x == 0 ? -INFINITY : log_below(x) + LOG_ERROR + (x - x); }

// Rows of one kind: queries or keys. Vectors are padded to whole blocks with what adds nothing.
struct RowNorms {
  std::vector<float> norms;  // |scale q|, or |k|
  float most = 0;            // norm

  void begin(int64_t rows) {
    most = 0;
    norms.assign(blocks_of(rows, KEYS) * KEYS, 0.0f);
  }

  // Bound what each block and all blocks beyond it add to a partner on one side of them, whose norm
  // is at most `longest`. `logs` has the log of each row's weight.
  template <Partner WHERE>
  void bound(const std::vector<float>& logs, float slope, float longest, std::vector<Tail>& tails) const {
    const int64_t blocks = norms.size() / KEYS;
    tails.resize(blocks);
    double log = -INFINITY;
    float incline = FLT_MAX;
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t block = WHERE == Partner::AFTER ? i : blocks - 1 - i;
      const Tail own = of_block<WHERE>(block, logs, slope, longest);
      log = log_sum(own.log, log - (double)slope * KEYS);
      incline = std::min(incline, own.incline);
      tails[block] = {(float)log, incline};
    }
  }

 private:
  // The log of a sum of exponentials is convex in the partner's norm, so below the longest it lies
  // under the chord from 0.
  template <Partner WHERE>
  Tail of_block(int64_t block, const std::vector<float>& logs, float slope, float longest) const {
    Floats flat[KEYS / LANES], steep[KEYS / LANES];
    for (int i = 0; i < KEYS / LANES; ++i) {
      Floats norm, log;
      memcpy(&norm, &norms[block * KEYS + i * LANES], sizeof norm);
      memcpy(&log, &logs[block * KEYS + i * LANES], sizeof log);
      Floats steps;  // from the row of the block that is nearest to the partner
      UNROLLED for (int lane = 0; lane < LANES; ++lane) {
        const int row = i * LANES + lane;
        steps[lane] = WHERE == Partner::AFTER ? KEYS - 1 - row : row;
      }
      flat[i] = log - slope * steps;
      steep[i] = flat[i] + norm * (longest * ROUNDED_SUMS);
    }
    const float at_zero = log_of_sum(flat), at_longest = log_of_sum(steep);
    if (at_zero == -INFINITY) return {-INFINITY, FLT_MAX};  // adds nothing to any partner
    const float lost = LOST_DIGITS * (std::abs(at_zero) + std::abs(at_longest));
    return {at_longest + lost, longest > 0 ? std::max((at_longest - at_zero) / longest, 0.0f) : 0.0f};
  }

  static float log_of_sum(const Floats (&logs)[KEYS / LANES]) {
    float most = -FLT_MAX;
    for (const Floats& some : logs)
      UNROLLED for (int lane = 0; lane < LANES; ++lane) most = std::max(most, some[lane]);
    Floats total = {};
    for (const Floats& some : logs) total += exponential<false>(some - most);
    return most + std::log(sum(total) * 1.0001f);
  }
};

// Add to rows of keys [keys, dim] the products of weights [keys, QUERIES] and rows of queries.
template <int COUNT>
static void add_to_some(const float* rows, int dim, int count, const Floats* weights, int key, float* to, int lag) {
  constexpr int WIDE = std::min(CHUNK / LANES, COLUMNS);
  const float* weight = (const float*)(weights + key * VECTORS);
  for (int d = 0; d < dim; d += WIDE * LANES) {
    Floats sums[COUNT][WIDE] = {};
    for (int i = std::max(key + lag, 0); i < count; ++i)
      UNROLLED for (int c = 0; c < WIDE; ++c) {
        Floats part;
        memcpy(&part, rows + i * dim + d + c * LANES, sizeof part);
        UNROLLED for (int r = 0; r < COUNT; ++r) sums[r][c] += weight[r * QUERIES + i] * part;
      }
    UNROLLED for (int r = 0; r < COUNT; ++r)
      UNROLLED for (int c = 0; c < WIDE; ++c) {
        float* at = to + (key + r) * dim + d + c * LANES;
        Floats part;
        memcpy(&part, at, sizeof part);
        part += sums[r][c];
        memcpy(at, &part, sizeof part);
      }
  }
}

static void add_to_rows(const float* rows, int dim, int count, const Floats* weights, int keys, float* to, int lag) {
  for_rows(0, keys, [&](int key, auto some) { add_to_some<some()>(rows, dim, count, weights, key, to, lag); });
}

// A block of queries: what it needs of the tensors, and its dq.
struct QueryBlock {
  int64_t block, row;  // of its first query
  int count;
  int64_t first, last;        // positions
  int64_t least_block, end_block, first_near, last_near;  // of keys that it sees, and that stand at it
  bool is_settled;            // dq needs no further keys
  Floats position[VECTORS], log_sum_exp[VECTORS], delta[VECTORS], norm[VECTORS], score_log[VECTORS];
  Floats columns[MOST_HEAD_DIM * VECTORS], output_columns[MOST_HEAD_DIM * VECTORS];
  Floats d_columns[MOST_HEAD_DIM * VECTORS];  // dq without the scale, [head_dim, QUERIES]
  float rows[QUERIES * MOST_HEAD_DIM], output_rows[QUERIES * MOST_HEAD_DIM];  // scale q, and dout
};

// The gradients of one sequence and query head at a time.
class HeadGradients {
 public:
  explicit HeadGradients(const BackwardCall& call)
      : backward(call),
        call(call.forward),
        head_dim(call.forward.head_dim),
        value_dim(call.forward.value_dim),
        padded_dim(blocks_of(head_dim, CHUNK) * CHUNK),
        padded_value_dim(blocks_of(value_dim, CHUNK) * CHUNK),
        least(call.forward.least - QUARTER) {
    const int64_t together = std::clamp<int64_t>(MOST_DIMS / (padded_dim + padded_value_dim), 1, MOST_TOGETHER);
    for (int64_t i = 0; i < together; ++i) memory.push_back(std::make_unique<QueryBlock>());
  }

  // Compute all gradients of a head. Return how many pairs of a query and a key that took.
  int64_t compute(int64_t of_sequence, int64_t of_head) {
    turn_to(of_sequence, of_head);
    measure_keys();
    measure_queries();
    const int64_t blocks = blocks_of(sequence.queries, QUERIES), together = memory.size();
    bound<Partner::AFTER>();
    for (int64_t block = 0; block < blocks; block += together) {
      take(block, 1, std::min(together, blocks - block));
      for (QueryBlock* some : present) std::fill(some->d_columns, some->d_columns + padded_dim * VECTORS, Floats{});
      walk<Partner::AFTER>();
      for (QueryBlock* some : present) write_rows(*some, call.after ? 1 : call.scale);
    }
    if (call.after) {
      bound<Partner::BEFORE>();
      for (int64_t block = blocks - 1; block >= 0; block -= together) {
        take(block, -1, std::min(together, block + 1));
        for (QueryBlock* some : present)
          to_columns((const char*)rows_of_d_q(*some), padded_dim * 4, some->count, padded_dim * 4, (Words*)some->d_columns);
        walk<Partner::BEFORE>();
        for (QueryBlock* some : present) write_rows(*some, call.scale);
      }
    }
    backward.d_slopes[of_sequence * call.heads + of_head] = d_slope;
    return looked_at;
  }

 private:
  // Blocks of queries that meet a block of keys together, so that it comes from memory less often.
  static constexpr int64_t MOST_TOGETHER = 4, MOST_DIMS = 512;

  void turn_to(int64_t of_sequence, int64_t of_head) {
    sequence = call.sequences[of_sequence];
    head = of_head;
    const int64_t kv_head = head / (call.heads / call.kv_heads);
    slope = call.slopes[sequence.batch * call.slopes_batch_stride + head];
    k = Call::at((const float*)call.k, call.k_strides, sequence.batch, kv_head, sequence.first_key);
    v = Call::at((const float*)call.v, call.v_strides, sequence.batch, kv_head, sequence.first_key);
    const int64_t first_key = (sequence.batch * call.heads + head) * backward.kv_len + sequence.first_key;
    d_k = backward.d_k + first_key * padded_dim;
    d_v = backward.d_v + first_key * padded_value_dim;
    d_slope = 0;
    looked_at = 0;
  }

  const float* query(int64_t row) const {
    return Call::at((const float*)call.q, call.q_strides, sequence.batch, head, sequence.first_query + row);
  }
  const float* d_output(int64_t row) const {
    return Call::at(backward.d_out, backward.d_out_strides, sequence.batch, head, sequence.first_query + row);
  }
  float* rows_of_d_q(const QueryBlock& block) const {
    const int64_t row = (sequence.batch * call.heads + head) * call.q_len + sequence.first_query + block.row;
    return backward.d_q + row * padded_dim;
  }

  // Read the norms of keys and values.
  void measure_keys() {
    keys.begin(sequence.keys);
    for (auto* logs : {&value_logs, &key_logs}) logs->assign(keys.norms.size(), -INFINITY);
    float total = 0;
    int64_t counted = 0;
    for (int64_t key = 0; key < sequence.keys; ++key) {
      keys.norms[key] = norm_above(k + key * call.k_strides.row, head_dim);
      keys.most = larger(keys.most, keys.norms[key]);
      value_logs[key] = log_above(norm_above(v + key * call.v_strides.row, value_dim));
      if (!(value_logs[key] > -INFINITY)) continue;
      total += value_logs[key];
      ++counted;
    }
    usual = counted ? total / counted : 0.0f;
    largest_value = largest_key = -INFINITY;
    for (int64_t key = 0; key < sequence.keys; ++key) {
      if (value_logs[key] < usual) value_logs[key] = usual;
      key_logs[key] = value_logs[key] + log_above(keys.norms[key]);
      largest_value = larger(largest_value, value_logs[key]);
      largest_key = larger(largest_key, key_logs[key]);
    }
  }

  // Read the norms of queries and of their outputs' gradients, deltas and log-sum-exps.
  void measure_queries() {
    queries.begin(sequence.queries);
    for (auto* logs : {&query_logs, &score_logs, &output_logs}) logs->assign(queries.norms.size(), -INFINITY);
    deltas.assign(queries.norms.size(), 0.0f);
    log_sum_exps.assign(queries.norms.size(), FLT_MAX);
    float largest_score = -INFINITY, largest_query = -INFINITY, largest_output = -INFINITY;
    for (int64_t row = 0; row < sequence.queries; ++row) {
      const int64_t at = sequence.first_query + row, place = (sequence.batch * call.heads + head) * call.q_len + at;
      const float* out = Call::at((const float*)call.out, call.out_strides, sequence.batch, head, at);
      const float* d_out = d_output(row);
      if (call.log_sum_exp[place] == -INFINITY) continue;  // a query that sees no key
      Floats products = {};
      for (int64_t word = 0; word < value_dim; word += LANES)
        products += (Floats)load((const char*)out, word, value_dim * 4) *
                    (Floats)load((const char*)d_out, word, value_dim * 4);
      log_sum_exps[row] = call.log_sum_exp[place];
      deltas[row] = sum(products) - (backward.d_log_sum_exp ? backward.d_log_sum_exp[place] : 0.0f);
      const float output = norm_above(d_out, value_dim);
      queries.norms[row] = norm_above(query(row), head_dim) * std::abs(call.scale);
      queries.most = larger(queries.most, queries.norms[row]);
      // |dout| |v| + |delta| <= (|dout| + |delta| / usual) max(|v|, usual)
      score_logs[row] = log_above(output + std::abs(deltas[row]) * std::exp(-usual));
      query_logs[row] = score_logs[row] + log_above(queries.norms[row]);
      output_logs[row] = log_above(output);
      largest_score = larger(largest_score, score_logs[row]);
      largest_query = larger(largest_query, query_logs[row]);
      largest_output = larger(largest_output, output_logs[row]);
      for (auto* logs : {&score_logs, &query_logs, &output_logs}) (*logs)[row] -= log_sum_exps[row];
    }
    // Floors: e^-87 of the most that a row of the head could get. A smaller row is certified to them.
    least_d_query = LOG_OF_ZERO + largest_score + largest_key;
    least_d_key = LOG_OF_ZERO + largest_query + largest_value;
    least_d_value = LOG_OF_ZERO + largest_output;
  }

  // Bound what keys add to queries that stand on one side, and what these queries add to the keys.
  template <Partner QUERIES_ARE> void bound() {
    constexpr Partner KEYS_ARE = QUERIES_ARE == Partner::AFTER ? Partner::BEFORE : Partner::AFTER;
    keys.bound<QUERIES_ARE>(key_logs, slope, queries.most, beyond_queries);
    queries.bound<KEYS_ARE>(query_logs, slope, keys.most, beyond_keys);
    queries.bound<KEYS_ARE>(output_logs, slope, keys.most, beyond_values);
    settled.assign(blocks_of(sequence.keys, KEYS), false);
    first_open = QUERIES_ARE == Partner::AFTER ? 0 : (int64_t)settled.size() - 1;
  }

  // Load some blocks of queries in the order in which they meet keys; those that see none are left out.
  void take(int64_t block, int64_t step, int64_t blocks) {
    present.clear();
    for (int64_t i = 0; i < blocks; ++i, block += step)
      if (read(*memory[i], block)) present.push_back(memory[i].get());
  }

  bool read(QueryBlock& to, int64_t block) const {
    to.block = block;
    to.row = block * QUERIES;
    to.count = std::min<int64_t>(QUERIES, sequence.queries - to.row);
    to.first = sequence.position + to.row;
    to.last = to.first + to.count - 1;
    to.is_settled = false;
    const int64_t least_key = std::clamp<int64_t>(to.first - call.before, 0, sequence.keys);
    const int64_t end_key = std::clamp<int64_t>(to.last + call.after + 1, 0, sequence.keys);
    if (least_key >= end_key) return false;
    to.least_block = least_key / KEYS;
    to.end_block = blocks_of(end_key, KEYS);
    to.first_near = std::clamp<int64_t>(to.first, 0, sequence.keys - 1) / KEYS;
    to.last_near = std::clamp<int64_t>(to.last, 0, sequence.keys - 1) / KEYS;
    for (int64_t i = 0; i < to.count; ++i) {
      const float* from = query(to.row + i);
      float *q = to.rows + i * padded_dim, *d_out = to.output_rows + i * padded_value_dim;
      for (int64_t d = 0; d < head_dim; ++d) q[d] = from[d] * call.scale;
      std::fill(q + head_dim, q + padded_dim, 0.0f);
      memcpy(d_out, d_output(to.row + i), value_dim * 4);
      std::fill(d_out + value_dim, d_out + padded_value_dim, 0.0f);
    }
    to_columns((const char*)to.rows, padded_dim * 4, to.count, head_dim * 4, (Words*)to.columns);
    to_columns((const char*)to.output_rows, padded_value_dim * 4, to.count, value_dim * 4, (Words*)to.output_columns);
    memcpy(to.log_sum_exp, &log_sum_exps[to.row], sizeof to.log_sum_exp);
    memcpy(to.delta, &deltas[to.row], sizeof to.delta);
    memcpy(to.norm, &queries.norms[to.row], sizeof to.norm);
    memcpy(to.score_log, &score_logs[to.row], sizeof to.score_log);
    for (int64_t i = 0; i < QUERIES; ++i) to.position[i / LANES][i % LANES] = to.first + i;
    return true;
  }

  // Have the present queries meet their own keys and those before them, from the nearest back; or, where
  // the queries stand before the keys, those after them.
  template <Partner QUERIES_ARE> void walk() {
    constexpr bool BACK = QUERIES_ARE == Partner::AFTER;
    if (present.empty()) return;
    int64_t keys_at = BACK ? present.back()->last_near : present.back()->first_near;
    // The first of them, in their order, sees as far as any.
    const int64_t last = BACK ? present.front()->least_block : present.front()->end_block - 1;
    first_open = BACK ? std::max(first_open, last) : std::min(first_open, last);
    for (; BACK ? keys_at >= last : keys_at <= last; keys_at += BACK ? -1 : 1) {
      bool all_settled = true;
      for (QueryBlock* some : present) {
        if (BACK ? keys_at >= some->first_near : keys_at <= some->last_near) {
          if (BACK && keys_at <= some->last_near) visit<true>(*some, keys_at);
          all_settled = false;
        } else if (BACK ? keys_at >= some->least_block : keys_at < some->end_block) {
          meet<QUERIES_ARE>(*some, keys_at);
          all_settled &= some->is_settled;
        }
      }
      if (all_settled && (BACK ? keys_at <= first_open : keys_at >= first_open)) break;
      while ((BACK ? first_open < keys_at : first_open > keys_at) && settled[first_open]) first_open += BACK ? 1 : -1;
    }
  }

  // Add a block of keys and some queries, neither at the other, to all gradients if any needs that.
  template <Partner QUERIES_ARE> void meet(QueryBlock& some, int64_t block) {
    constexpr Partner KEYS_ARE = QUERIES_ARE == Partner::AFTER ? Partner::BEFORE : Partner::AFTER;
    if (!some.is_settled) some.is_settled = !queries_need<QUERIES_ARE>(some, block);
    if (some.is_settled && !keys_need<KEYS_ARE>(block, some)) return;
    const bool sees_all = some.last - block * KEYS <= call.before && block * KEYS + KEYS - 1 - some.first <= call.after;
    if (sees_all) visit<false>(some, block);
    else visit<true>(some, block);
  }

  // Whether a block of keys, and all beyond it, may matter to dq of any query.
  template <Partner QUERIES_ARE> bool queries_need(const QueryBlock& some, int64_t block) const {
    const Tail& tail = beyond_queries[block];
    const float nearest = QUERIES_ARE == Partner::AFTER ? block * KEYS + KEYS - 1 : block * KEYS;
    Signs needed = {};
    for (int column = 0; column < VECTORS; ++column) {
      Floats squares = {};
      for (int64_t d = 0; d < head_dim; ++d) {
        const Floats part = some.d_columns[d * VECTORS + column];
        squares += part * part;
      }
      const Floats position = some.position[column], shorter = queries.most - some.norm[column];
      const Floats distance = QUERIES_ARE == Partner::AFTER ? position - nearest : nearest - position;
      const Floats most = some.score_log[column] + (tail.log - shorter * tail.incline - slope * distance);
      const Floats of_row = squares >= FLT_MIN ? log_below(squares) * 0.5f + least : Floats{} - INFINITY;
      const Floats limit = of_row > least_d_query ? of_row : Floats{} + least_d_query;
      needed |= ~(most <= limit) & (position <= (float)some.last);
    }
    return any(needed);
  }

  // Whether some queries, and all beyond them, may matter to dk or dv of any of a block of keys. Once
  // not, they never will.
  template <Partner KEYS_ARE> bool keys_need(int64_t block, const QueryBlock& some) {
    if (settled[block]) return false;
    const Tail &of_keys = beyond_keys[some.block], &of_values = beyond_values[some.block];
    const float nearest = some.first + (KEYS_ARE == Partner::AFTER ? QUERIES - 1 : 0);
    const int64_t end = std::min((block + 1) * KEYS, sequence.keys), keys_here = end - block * KEYS;
    for (int64_t i = 0; i < keys_here; ++i) {  // the nearest first: it needs the queries longest
      const int64_t key = KEYS_ARE == Partner::AFTER ? block * KEYS + i : end - 1 - i;
      const float shorter = keys.most - keys.norms[key];
      const float bias = slope * (KEYS_ARE == Partner::AFTER ? key - nearest : nearest - key);
      const float most_v = of_values.log - shorter * of_values.incline - bias;
      const float limit_v = limit_of(d_v + key * padded_value_dim, padded_value_dim, least_d_value);
      if (!(most_v <= limit_v)) return true;
      const float most_k = of_keys.log - shorter * of_keys.incline - bias + value_logs[key];
      const float limit_k = limit_of(d_k + key * padded_dim, padded_dim, least_d_key);
      if (!(most_k <= limit_k)) return true;
    }
    settled[block] = true;
    return false;
  }

  // The log of what may be left out of a row of a gradient.
  float limit_of(const float* gradient, int64_t dim, float at_least) const {
    const float squares = sum(squares_of(gradient, dim));
    return squares >= FLT_MIN ? std::max(log_below(squares) * 0.5f + least, at_least) : at_least;
  }

  // Add a block of keys and some queries to all gradients. HIDES says that a query may not see all keys.
  template <bool HIDES> void visit(QueryBlock& some, int64_t block) {
    const int64_t key = block * KEYS, end = std::min(key + KEYS, sequence.keys);
    const int count = end - key, lag = HIDES && call.after == 0 ? key - some.first : ALL_QUERIES;
    const FloatRows key_rows{k + key * call.k_strides.row, call.k_strides.row, count, head_dim};
    const FloatRows value_rows{v + key * call.v_strides.row, call.v_strides.row, count, value_dim};
    multiply(key_rows, some.columns, weights, lag);
    multiply(value_rows, some.output_columns, d_scores, lag);
    Floats steep = {};
    for (int i = 0; i < count; ++i)
      for (int column = 0; column < VECTORS; ++column) {
        const Floats distance = (float)(key + i) - some.position[column], bias = -absolute(distance);
        Floats score = weights[i * VECTORS + column] + slope * bias - some.log_sum_exp[column];
        Floats d_weight = d_scores[i * VECTORS + column] - some.delta[column];
        if (HIDES) {
          const Signs hidden = (distance > (float)call.after) | (-distance > (float)call.before);
          score = hidden ? Floats{} - INFINITY : score;
          d_weight = hidden ? Floats{} : d_weight;
        }
        score = score > 0.0f ? Floats{} : score;  // p is at most 1, also where scores have no digits left
        const Floats weight = exponential<true>(score);
        Floats d_score = weight * d_weight;
        d_score = absolute(d_score) < FLT_MIN ? Floats{} : d_score;  // subnormal numbers are slow
        steep += d_score * bias;
        weights[i * VECTORS + column] = weight;
        d_scores[i * VECTORS + column] = d_score;
      }
    d_slope += sum(steep);
    add_weighted(key_rows, d_scores, some.d_columns, lag);
    add_to_rows(some.output_rows, padded_value_dim, some.count, weights, count, d_v + key * padded_value_dim, lag);
    add_to_rows(some.rows, padded_dim, some.count, d_scores, count, d_k + key * padded_dim, lag);
    looked_at += some.count * count;
  }

  // Write a block's rows of dq. Lanes past the last query are not written.
  void write_rows(QueryBlock& some, float factor) const {
    for (int64_t i = 0; i < head_dim * VECTORS; ++i) some.d_columns[i] *= factor;
    to_rows((const Words*)some.d_columns, (char*)rows_of_d_q(some), padded_dim * 4, some.count, padded_dim * 4);
  }

  const BackwardCall& backward;
  const Call& call;
  const int head_dim, value_dim, padded_dim, padded_value_dim;
  const float least;  // log of the share of a gradient that may be left out

  Sequence sequence;
  int64_t head = 0, looked_at = 0;
  float slope = 0, usual = 0;  // the log of the usual |v|
  double d_slope = 0;
  const float *k = nullptr, *v = nullptr;
  float *d_k = nullptr, *d_v = nullptr;

  RowNorms keys, queries;
  // Logs: max(|v|, usual), that times |k|; and what a query with p = 1 adds to ds, dk and dv, less its
  // log-sum-exp. Then deltas and log-sum-exps.
  std::vector<float> value_logs, key_logs, score_logs, query_logs, output_logs, deltas, log_sum_exps;
  float largest_value = 0, largest_key = 0;                     // logs
  float least_d_query = 0, least_d_key = 0, least_d_value = 0;  // logs
  std::vector<Tail> beyond_queries, beyond_keys, beyond_values;
  std::vector<bool> settled;  // blocks of keys that need no further queries
  int64_t first_open = 0;     // blocks further from the queries are settled, or out of reach of all later ones

  std::vector<std::unique_ptr<QueryBlock>> memory;
  std::vector<QueryBlock*> present;
  Floats weights[KEYS * VECTORS], d_scores[KEYS * VECTORS];  // [keys, QUERIES]
};

static void compute_gradients(BackwardCall& backward) {
  const Call& call = backward.forward;
  struct Head {
    int64_t sequence, head;
    float work;
  };
  std::vector<Head> heads;
  constexpr float REACH = 50;  // over the slope: about how many keys a query looks at
  for (int64_t i = 0; i < call.sequence_count; ++i)
    for (int64_t head = 0; head < call.heads; ++head) {
      const Sequence& sequence = call.sequences[i];
      const float slope = call.slopes[sequence.batch * call.slopes_batch_stride + head];
      const float seen = slope > 0 ? std::min<float>(sequence.keys, REACH / slope) : sequence.keys;
      heads.push_back({i, head, seen * sequence.queries});
    }
  std::stable_sort(heads.begin(), heads.end(), [](Head a, Head b) { return a.work > b.work; });
  int64_t looked_at = 0;
#pragma omp parallel num_threads(call.threads)
  {
    const auto gradients = std::make_unique<HeadGradients>(backward);
#pragma omp for schedule(dynamic) reduction(+ : looked_at)
    for (size_t i = 0; i < heads.size(); ++i) looked_at += gradients->compute(heads[i].sequence, heads[i].head);
  }
  backward.forward.looked_at = looked_at;
}
