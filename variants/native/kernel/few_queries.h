// Attention of few queries over many keys: a step of decode, or some tokens at once.
//
// Nothing is packed or converted in memory: a key is read once, for all queries that share its head.
// The keys of a head are split into parts, so that all threads work for a single query. Each part has
// a largest score and sums of its own, which are merged at the end.
//
// A part begins with its nearest keys; one of several also with the largest score that a query has
// near its own position. Where all scores of a block of keys lie over 87 below the largest so far,
// their weights are 0 in float32, and the values are not read.

#pragma once

#include <cfloat>
#include <memory>
#include <vector>

#include "call.h"
#include "elements.h"

constexpr int64_t MOST_ROWS = 32;      // queries, of all heads of a group, that read a key together
constexpr int64_t LEAST_PART = 256;    // keys: fewer don't pay for merging
constexpr int64_t PARTS_A_THREAD = 4;  // so that threads end together
constexpr int64_t MOST_PAIRS = MOST_HEAD_DIM / PAIR;

// Some keys of a sequence and kv head, and the rows that see them: query * group + head in the group.
struct Part {
  int64_t sequence, kv_head, first_row, rows, begin, end;
};

// What each row of a part has summed, relative to its largest score.
struct Sums {
  float *largest, *total;  // [rows]
  Pair* out;               // [rows, value pairs]
};

template <class Type> class FewQueries {
 public:
  using Element = typename Type::Element;

  explicit FewQueries(const Call& call)
      : call(call),
        group(call.heads / call.kv_heads),
        pairs(blocks_of(call.head_dim, PAIR)),
        value_pairs(blocks_of(call.value_dim, PAIR)) {}

  // Turn to the rows of a part.
  void point_at(const Part& to) {
    part = to;
    sequence = call.sequences[part.sequence];
  }

  // Turn to the rows of a part, and read their queries.
  void take(const Part& to) {
    point_at(to);
    k = Call::at((const Element*)call.k, call.k_strides, sequence.batch, part.kv_head, sequence.first_key);
    v = Call::at((const Element*)call.v, call.v_strides, sequence.batch, part.kv_head, sequence.first_key);
    for (int64_t row = 0; row < part.rows; ++row) {
      const int64_t head = head_of(row), query = query_of(row);
      const auto* q =
          Call::at((const Element*)call.q, call.q_strides, sequence.batch, head, sequence.first_query + query);
      for (int64_t pair = 0; pair < pairs; ++pair) queries[row][pair] = Type::read(q, pair, call.head_dim);
      slope[row] = call.slopes[sequence.batch * call.slopes_batch_stride + head];
      position[row] = sequence.position + query;
    }
  }

  // Return the largest score of each row among some keys, for parts to begin with.
  void find_largest(int64_t begin, int64_t end, float* largest) {
    for (int64_t row = 0; row < part.rows; ++row) {
      largest[row] = -FLT_MAX;  // finite: -inf minus -inf would be NaN
      score(row, begin, end);
      for (int64_t i = 0; i < KEYS / LANES; ++i)
        for (int64_t lane = 0; lane < LANES; ++lane) largest[row] = std::max(largest[row], scores[i][lane]);
    }
  }

  void attend(const float* largest, const Sums& sums) {
    for (int64_t row = 0; row < part.rows; ++row) {
      sums.largest[row] = largest[row];
      sums.total[row] = 0;
      for (int64_t pair = 0; pair < value_pairs; ++pair) sums.out[row * value_pairs + pair] = Pair{};
    }
    for (int64_t end = part.end; end > part.begin; end -= KEYS)  // the nearest keys first
      for (int64_t row = 0; row < part.rows; ++row) {
        const int64_t begin = std::max(end - KEYS, part.begin);
        score(row, begin, end);
        if (weigh(row, sums)) add_values(row, begin, end, sums);
      }
  }

  // Merge the parts of these rows, and write the outputs. `sums` and `parts` are of the same keys.
  void write(const Sums* sums, int64_t parts) const {
    for (int64_t row = 0; row < part.rows; ++row) {
      float largest = -FLT_MAX, total = 0;
      for (int64_t i = 0; i < parts; ++i) largest = std::max(largest, sums[i].largest[row]);
      Pair out[MOST_PAIRS] = {};
      for (int64_t i = 0; i < parts; ++i) {
        const float share = exponential<Type::FINE>(Floats{} + (sums[i].largest[row] - largest))[0];
        total += sums[i].total[row] * share;
        for (int64_t pair = 0; pair < value_pairs; ++pair) {
          out[pair].first += sums[i].out[row * value_pairs + pair].first * share;
          out[pair].second += sums[i].out[row * value_pairs + pair].second * share;
        }
      }
      const float inverse = total == 0 ? 0 : 1 / total;  // a query that sees no key is 0
      const int64_t head = head_of(row), at = sequence.first_query + query_of(row);
      auto* to = Call::at((Element*)call.out, call.out_strides, sequence.batch, head, at);
      for (int64_t pair = 0; pair < value_pairs; ++pair)
        Type::write(to, pair, call.value_dim, {out[pair].first * inverse, out[pair].second * inverse});
      if (call.log_sum_exp)
        call.log_sum_exp[(sequence.batch * call.heads + head) * call.q_len + at] = largest + std::log(total);
    }
  }

 private:
  int64_t head_of(int64_t row) const { return part.kv_head * group + (part.first_row + row) % group; }
  int64_t query_of(int64_t row) const { return (part.first_row + row) / group; }

  // Write a row's scores of up to KEYS keys; -inf for keys that it does not see, and past the end.
  void score(int64_t row, int64_t begin, int64_t end) {
    for (int64_t i = 0; i < KEYS / LANES; ++i) {
      const int64_t first = begin + i * LANES;
      if (first >= end) {
        scores[i] = Floats{} - INFINITY;
        continue;
      }
      Floats key;
      UNROLLED for (int lane = 0; lane < LANES; ++lane) key[lane] = first + lane;
      const Floats distance = key - position[row];
      const Signs hidden = (distance > (float)call.after) | (-distance > (float)call.before) | (key >= (float)end);
      const Floats biased = products(row, first, end) * call.scale - slope[row] * absolute(distance);
      scores[i] = hidden ? Floats{} - INFINITY : biased;
    }
  }

  // Return q·k of LANES keys. Past the end stands the last key.
  Floats products(int64_t row, int64_t first, int64_t end) const {
    const Element* rows[LANES];
    UNROLLED for (int lane = 0; lane < LANES; ++lane)
      rows[lane] = k + std::min<int64_t>(first + lane, end - 1) * call.k_strides.row;
    Floats sums[LANES] = {};
    const auto add = [&](Pair q, auto read) {
      UNROLLED for (int lane = 0; lane < LANES; ++lane) {
        const Pair key = read(rows[lane]);
        sums[lane] += key.first * q.first;
        sums[lane] += key.second * q.second;
      }
    };
    const int64_t whole = call.head_dim / PAIR;
    for (int64_t pair = 0; pair < whole; ++pair)
      add(queries[row][pair], [&](const Element* key) { return Type::read_whole(key, pair); });
    if (whole < pairs)
      add(queries[row][whole], [&](const Element* key) { return Type::read(key, whole, call.head_dim); });
    Words square[LANES];
    UNROLLED for (int lane = 0; lane < LANES; ++lane) square[lane] = (Words)sums[lane];
    transpose(square);
    Floats products = {};
    UNROLLED for (int lane = 0; lane < LANES; ++lane) products += (Floats)square[lane];
    return products;
  }

  // Turn a row's scores into weights. Return whether any is not 0.
  bool weigh(int64_t row, const Sums& sums) {
    Floats most = Floats{} + sums.largest[row];
    for (const Floats& some : scores) most = some > most ? some : most;
    float largest = most[0];
    UNROLLED for (int lane = 1; lane < LANES; ++lane) largest = std::max(largest, most[lane]);
    if (largest > sums.largest[row]) {
      const float shrunk = exponential<Type::FINE>(Floats{} + (sums.largest[row] - largest))[0];
      sums.largest[row] = largest;
      sums.total[row] *= shrunk;
      for (int64_t pair = 0; pair < value_pairs; ++pair) {
        sums.out[row * value_pairs + pair].first *= shrunk;
        sums.out[row * value_pairs + pair].second *= shrunk;
      }
    }
    Floats total = {};
    for (Floats& some : scores) total += some = exponential<Type::FINE>(some - largest);
    const float added = sum(total);
    sums.total[row] += added;
    return added != 0;
  }

  void add_values(int64_t row, int64_t begin, int64_t end, const Sums& sums) const {
    constexpr int64_t TOGETHER = 4;  // pairs whose sums stay in registers
    const int64_t whole = call.value_dim / PAIR;
    int64_t pair = 0;
    for (; pair + TOGETHER <= whole; pair += TOGETHER)
      add_pairs<TOGETHER>(row, begin, end, pair, sums, [&](const Element* value, int64_t pair) {
        return Type::read_whole(value, pair);
      });
    for (; pair < value_pairs; ++pair)
      add_pairs<1>(row, begin, end, pair, sums, [&](const Element* value, int64_t pair) {
        return Type::read(value, pair, call.value_dim);
      });
  }

  template <int COUNT, class Read>
  void add_pairs(int64_t row, int64_t begin, int64_t end, int64_t pair, const Sums& sums, Read read) const {
    const float* weights = (const float*)scores;
    Pair added[COUNT] = {};  // of one block, because longer sums lose more digits
    for (int64_t key = begin; key < end; ++key) {
      const Element* value = v + key * call.v_strides.row;
      UNROLLED for (int i = 0; i < COUNT; ++i) {
        const Pair part = read(value, pair + i);
        added[i].first += part.first * weights[key - begin];
        added[i].second += part.second * weights[key - begin];
      }
    }
    UNROLLED for (int i = 0; i < COUNT; ++i) {
      sums.out[row * value_pairs + pair + i].first += added[i].first;
      sums.out[row * value_pairs + pair + i].second += added[i].second;
    }
  }

  const Call& call;
  const int64_t group, pairs, value_pairs;
  Part part;
  Sequence sequence;
  const Element *k = nullptr, *v = nullptr;
  Pair queries[MOST_ROWS][MOST_PAIRS];
  float slope[MOST_ROWS], position[MOST_ROWS];
  Floats scores[KEYS / LANES];  // of a row and a block of keys, then the weights
};

// The parts of the same rows, and the keys near to those.
struct Span {
  size_t first_part, end_part;
  int64_t near, near_end;
};

// Split a call's rows and keys into parts.
static void split(const Call& call, std::vector<Span>& spans, std::vector<Part>& parts) {
  const int64_t group = call.heads / call.kv_heads;
  const auto least = [&](const Sequence& of, int64_t query) {
    return std::clamp<int64_t>(of.position + query - call.before, 0, of.keys);
  };
  const auto most = [&](const Sequence& of, int64_t query) {
    return std::clamp<int64_t>(of.position + query + call.after + 1, 0, of.keys);
  };
  int64_t work = 0;
  for (int64_t i = 0; i < call.sequence_count; ++i) {
    const Sequence& sequence = call.sequences[i];
    const int64_t keys = most(sequence, sequence.queries - 1) - least(sequence, 0);
    work += keys * blocks_of(sequence.queries * group, MOST_ROWS) * call.kv_heads;
  }
  const int64_t share = blocks_of(work, call.threads * PARTS_A_THREAD * KEYS) * KEYS;
  const int64_t length = call.threads > 1 ? std::max(share, LEAST_PART) : std::max<int64_t>(work, 1);
  for (int64_t i = 0; i < call.sequence_count; ++i) {
    const Sequence& sequence = call.sequences[i];
    const int64_t rows = sequence.queries * group;
    for (int64_t head = 0; head < call.kv_heads; ++head)
      for (int64_t row = 0; row < rows; row += MOST_ROWS) {
        const int64_t count = std::min(MOST_ROWS, rows - row), last = (row + count - 1) / group;
        const int64_t begin = least(sequence, row / group), end = most(sequence, last);
        const int64_t nearest = sequence.position + last + 1 - (call.after ? KEYS / 2 : KEYS);
        const int64_t near = std::clamp(nearest, begin, std::max(begin, end - KEYS));
        spans.push_back({parts.size(), 0, near, std::min(near + KEYS, end)});
        int64_t key = begin;
        do {  // also where no key is seen: the outputs are 0 then
          parts.push_back({i, head, row, count, key, std::min(key + length, end)});
          key += length;
        } while (key < end);
        spans.back().end_part = parts.size();
      }
  }
}

template <class Type> static void attend_few(Call& call) {
  std::vector<Span> spans;
  std::vector<Part> parts;
  split(call, spans, parts);
  const int64_t value_pairs = blocks_of(call.value_dim, PAIR);
  std::vector<int64_t> places;  // of each part's first row
  int64_t rows = 0, looked_at = 0;
  for (const Part& part : parts) {
    places.push_back(rows);
    rows += part.rows;
    looked_at += part.rows * (part.end - part.begin);
  }
  std::vector<float> nearest(spans.size() * MOST_ROWS, -FLT_MAX), largest(rows), totals(rows);
  const std::unique_ptr<Pair[]> outs(new Pair[rows * value_pairs]);
  std::vector<Sums> sums;
  std::vector<size_t> span_of;
  for (size_t i = 0; i < parts.size(); ++i)
    sums.push_back({&largest[places[i]], &totals[places[i]], &outs[places[i] * value_pairs]});
  for (size_t i = 0; i < spans.size(); ++i) span_of.resize(spans[i].end_part, i);
#pragma omp parallel num_threads(call.threads)
  {
    const auto rows_of = std::make_unique<FewQueries<Type>>(call);
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < spans.size(); ++i) {
      if (spans[i].end_part - spans[i].first_part == 1) continue;
      rows_of->take(parts[spans[i].first_part]);
      rows_of->find_largest(spans[i].near, spans[i].near_end, &nearest[i * MOST_ROWS]);
    }
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < parts.size(); ++i) {
      rows_of->take(parts[i]);
      rows_of->attend(&nearest[span_of[i] * MOST_ROWS], sums[i]);
    }
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < spans.size(); ++i) {
      rows_of->point_at(parts[spans[i].first_part]);
      rows_of->write(&sums[spans[i].first_part], spans[i].end_part - spans[i].first_part);
    }
  }
  call.looked_at = looked_at;
}
