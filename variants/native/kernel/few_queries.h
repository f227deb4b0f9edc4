// Attention of few queries over many keys: a step of decode, or some tokens at once.
//
// Nothing is packed or converted in memory: a key is read once, for all queries that share its head.
// The keys of a head are split into parts, so that all threads work for a single query. Each part has
// a largest score and sums of its own, which are merged at the end.
//
// A part begins with its nearest keys; one of several also with the largest score that a query has
// near its own position. Where all scores of a block of keys lie over 87 below the largest so far,
// their weights are 0 in float32, and the values are not read.
//
// With norms of the cache a causal query reads its keys in rounds, the nearest first. It ends once
// the norms show that the keys before those read weigh at most a share of the weight already summed,
// and add to the output at most that share of its norm. The first round ends where that is so of the
// keys near the query, had their values random signs; mostly it is the only one.

#pragma once

#include <algorithm>
#include <cfloat>
#include <memory>
#include <numeric>
#include <vector>

#include "bounds.h"
#include "call.h"
#include "elements.h"

constexpr int64_t MOST_ROWS = 32;      // queries, of all heads of a group, that read a key together
constexpr int64_t LEAST_PART = 256;    // keys: fewer don't pay for merging
constexpr int64_t PARTS_A_THREAD = 4;  // so that threads end together
constexpr int64_t MOST_PAIRS = MOST_HEAD_DIM / PAIR;

// Rows that read the same keys: query * heads in the group + head in the group.
struct Group {
  int64_t sequence, kv_head, first_row, rows;
  int64_t least;           // the first key that any of them sees
  int64_t near, near_end;  // a block of keys near to them
  float slope;             // the smallest
  // The keys of each row's present round. Those from `end` on have been read.
  int64_t begin[MOST_ROWS], end[MOST_ROWS];
  size_t first_part, end_part;  // of the present round
  bool is_written;
};

struct Keys {
  int64_t begin, end;
};

// Some keys of a group's round.
struct Part {
  size_t group;
  Keys keys;
};

// Return the keys of a group's present round, of any row.
static Keys round_of(const Group& group) {
  Keys all{INT64_MAX, 0};
  for (int64_t row = 0; row < group.rows; ++row) {
    if (group.begin[row] >= group.end[row]) continue;
    all.begin = std::min(all.begin, group.begin[row]);
    all.end = std::max(all.end, group.end[row]);
  }
  return {std::min(all.begin, all.end), all.end};
}

// What each row has summed of a part or of all rounds, relative to its largest score.
struct Sums {
  float *largest, *total;  // [rows]
  Pair* out;               // [rows, value pairs]
};

// Sums of some rows each, in memory of their own.
class AllSums {
 public:
  explicit AllSums(int64_t value_pairs) : value_pairs(value_pairs) {}

  // Make room for sums of so many rows each, with undefined numbers.
  void resize(const std::vector<int64_t>& rows) {
    const int64_t count = std::accumulate(rows.begin(), rows.end(), int64_t{0});
    numbers.reset(new float[2 * count]);
    outs.reset(new Pair[count * value_pairs]);
    all.clear();
    int64_t place = 0;
    for (const int64_t some : rows) {
      all.push_back({&numbers[place], &numbers[count + place], &outs[place * value_pairs]});
      place += some;
    }
  }

  const Sums& operator[](size_t i) const { return all[i]; }

 private:
  const int64_t value_pairs;
  std::unique_ptr<float[]> numbers;
  std::unique_ptr<Pair[]> outs;
  std::vector<Sums> all;
};

static void clear(const Sums& sums, const float* largest, int64_t rows, int64_t value_pairs) {
  std::copy_n(largest, rows, sums.largest);
  std::fill_n(sums.total, rows, 0.0f);
  std::fill_n(sums.out, rows * value_pairs, Pair{});
}

// Where the keys or values of a sequence and kv head lie: one after another.
template <class Type> class RowsInOrder {
 public:
  using Element = typename Type::Element;

  RowsInOrder() = default;

  RowsInOrder(const Call& call, const void* tensor, const Strides& strides, const Group& group)
      : first(Call::at((const Element*)tensor, strides, call.sequences[group.sequence].batch, group.kv_head,
                       call.sequences[group.sequence].first_key)),
        stride(strides.row) {}

  const Element* operator[](int64_t key) const { return first + key * stride; }

 private:
  const Element* first = nullptr;
  int64_t stride = 0;
};

// The same where they lie in pages that a table names.
template <class Type> class RowsInPages {
 public:
  using Element = typename Type::Element;

  RowsInPages() = default;

  RowsInPages(const Call& call, const void* tensor, const Strides& strides, const Group& group)
      : first((const Element*)tensor + group.kv_head * strides.head),
        pages(call.pages + call.sequences[group.sequence].batch * call.pages_stride),
        first_key(call.sequences[group.sequence].first_key),
        page_stride(strides.batch),
        stride(strides.row),
        bits(call.page_bits) {}

  const Element* operator[](int64_t key) const {
    const int64_t slot = first_key + key;
    return first + pages[slot >> bits] * page_stride + (slot & ((int64_t{1} << bits) - 1)) * stride;
  }

 private:
  const Element* first = nullptr;
  const int32_t* pages = nullptr;
  int64_t first_key = 0, page_stride = 0, stride = 0, bits = 0;
};

template <class Type, template <class> class Rows> class FewQueries {
 public:
  using Element = typename Type::Element;

  explicit FewQueries(const Call& call)
      : call(call),
        group(call.heads / call.kv_heads),
        pairs(blocks_of(call.head_dim, PAIR)),
        value_pairs(blocks_of(call.value_dim, PAIR)) {}

  // Turn to the rows of a group.
  void point_at(const Group& to) {
    rows = &to;
    sequence = call.sequences[to.sequence];
  }

  // Turn to the rows of a group, and read their queries.
  void take(const Group& to) {
    point_at(to);
    k = Rows<Type>(call, call.k, call.k_strides, to);
    v = Rows<Type>(call, call.v, call.v_strides, to);
    for (int64_t row = 0; row < to.rows; ++row) {
      const int64_t head = head_of(row), query = query_of(row);
      const auto* q =
          Call::at((const Element*)call.q, call.q_strides, sequence.batch, head, sequence.first_query + query);
      for (int64_t pair = 0; pair < pairs; ++pair) queries[row][pair] = Type::read(q, pair, call.head_dim);
      slope[row] = slope_of(row);
      position[row] = position_of(row);
    }
  }

  // Write the largest score of each row among the keys near to them, for parts to begin with.
  void find_largest(float* largest) {
    for (int64_t row = 0; row < rows->rows; ++row) {
      score(row, rows->near, rows->near_end);
      largest[row] = largest_score();
    }
  }

  // Choose the keys of each row's first round by the scores near to them. Writes the largest of
  // these, and |scale q|.
  void choose_first_round(Group& to, float* largest, float* query_norms) {
    const CacheNorms norms(call, sequence, to.kv_head);
    const float usual = to.near < to.near_end ? log_below(norms.values_near(to.near_end - 1)) : 0.0f;
    for (int64_t row = 0; row < to.rows; ++row) {
      score(row, to.near, to.near_end);
      largest[row] = largest_score();
      Floats total = {};
      for (const Floats& some : scores) total += exponential<Type::FINE>(some - largest[row]);
      const float log_total = std::log(sum(total));
      Floats squares = {};
      for (int64_t pair = 0; pair < pairs; ++pair) {
        const Pair q = queries[row][pair];
        squares += q.first * q.first + q.second * q.second;
      }
      query_norms[row] = std::sqrt(sum(squares) + LOST_SQUARES) * std::abs(call.scale) * ROUNDED_SUMS;
      const float output = largest[row] + 0.5f * log_total + usual;  // as if values had random signs
      const Summed summed{query_norms[row], slope[row], position[row], largest[row] + log_total, output};
      to.begin[row] = norms.first_needed(summed, to.least, to.near, call.least);
    }
  }

  // Choose the keys of each row's next round. Returns whether any row has some.
  bool choose_next_round(Group& to, const Sums& sums, const float* query_norms) const {
    const CacheNorms norms(call, sequence, to.kv_head);
    bool reads_more = false;
    for (int64_t row = 0; row < to.rows; ++row) {
      to.end[row] = to.begin[row];
      if (to.begin[row] == to.least) continue;
      const float weights = sums.largest[row] + std::log(sums.total[row]);
      const float output = sums.largest[row] + log_norm(sums.out + row * value_pairs);
      const Summed summed{query_norms[row], slope_of(row), position_of(row), weights, output};
      to.begin[row] = norms.first_needed(summed, to.least, to.begin[row], call.least);
      reads_more |= to.begin[row] < to.end[row];
    }
    return reads_more;
  }

  // Add some keys to the sums of each row whose round has them. Returns how many pairs of a query
  // and a key that took.
  int64_t attend(Keys some, const Sums& sums) {
    int64_t looked_at = 0;
    for (int64_t end = some.end; end > some.begin; end -= KEYS) {  // the nearest keys first
      bool has_added = false;
      for (int64_t row = 0; row < rows->rows; ++row) {
        const int64_t first = std::max({end - KEYS, some.begin, rows->begin[row]});
        const int64_t last = std::min(end, rows->end[row]);
        if (first >= last) continue;
        looked_at += last - first;
        score(row, first, last);
        if (!weigh(row, sums)) continue;
        if (has_added)
          add_values<false>(row, first, last, sums);
        else
          add_values<true>(row, first, last, sums);
        has_added = true;
      }
      adds_values = has_added;
    }
    return looked_at;
  }

  // Add the sums of parts to those of all rounds.
  void merge(const Sums& sums, const AllSums& parts, size_t first, size_t end) const {
    for (int64_t row = 0; row < rows->rows; ++row) {
      float largest = sums.largest[row];
      for (size_t i = first; i < end; ++i) largest = std::max(largest, parts[i].largest[row]);
      scale(sums, row, share(sums.largest[row] - largest));
      sums.largest[row] = largest;
      for (size_t i = first; i < end; ++i) {
        const float of_part = share(parts[i].largest[row] - largest);
        sums.total[row] += parts[i].total[row] * of_part;
        for (int64_t pair = row * value_pairs; pair < (row + 1) * value_pairs; ++pair) {
          sums.out[pair].first += parts[i].out[pair].first * of_part;
          sums.out[pair].second += parts[i].out[pair].second * of_part;
        }
      }
    }
  }

  void write(const Sums& sums) const {
    for (int64_t row = 0; row < rows->rows; ++row) {
      const float log_sum_exp = sums.largest[row] + std::log(sums.total[row]);
      scale(sums, row, sums.total[row] == 0 ? 0 : 1 / sums.total[row]);  // a query that sees no key is 0
      const int64_t head = head_of(row), at = sequence.first_query + query_of(row);
      auto* to = Call::at((Element*)call.out, call.out_strides, sequence.batch, head, at);
      for (int64_t pair = 0; pair < value_pairs; ++pair)
        Type::write(to, pair, call.value_dim, sums.out[row * value_pairs + pair]);
      if (call.log_sum_exp)
        call.log_sum_exp[(sequence.batch * call.heads + head) * call.q_len + at] = log_sum_exp;
    }
  }

 private:
  int64_t head_of(int64_t row) const { return rows->kv_head * group + (rows->first_row + row) % group; }
  int64_t query_of(int64_t row) const { return (rows->first_row + row) / group; }
  float position_of(int64_t row) const { return sequence.position + query_of(row); }
  float slope_of(int64_t row) const { return call.slopes[sequence.batch * call.slopes_batch_stride + head_of(row)]; }

  static float share(float difference) { return exponential<Type::FINE>(Floats{} + difference)[0]; }

  void scale(const Sums& sums, int64_t row, float by) const {
    sums.total[row] *= by;
    for (int64_t pair = row * value_pairs; pair < (row + 1) * value_pairs; ++pair) {
      sums.out[pair].first *= by;
      sums.out[pair].second *= by;
    }
  }

  // Return the log of an output's norm, up to 0.06 too low: NaN where it is 0, infinite or NaN.
  float log_norm(const Pair* out) const {
    float largest = 0;
    for (int64_t pair = 0; pair < value_pairs; ++pair)
      for (int64_t lane = 0; lane < LANES; ++lane)
        for (const float part : {out[pair].first[lane], out[pair].second[lane]})
          largest = larger(largest, std::abs(part));
    Floats squares = {};  // relative to the largest part, so that they don't overflow
    for (int64_t pair = 0; pair < value_pairs; ++pair) {
      const Floats first = out[pair].first / largest, second = out[pair].second / largest;
      squares += first * first + second * second;
    }
    return log_below(largest) + 0.5f * std::log(sum(squares));
  }

  // Write a row's scores of up to KEYS keys; -inf for keys that it does not see, and past the end.
  // Inlined wherever it is called, it makes the build take twice as long.
  __attribute__((noinline)) void score(int64_t row, int64_t begin, int64_t end) {
    Floats count;
    UNROLLED for (int lane = 0; lane < LANES; ++lane) count[lane] = lane;
    for (int64_t i = 0; i < KEYS / LANES; ++i) {
      const int64_t first = begin + i * LANES;
      if (first >= end) {
        scores[i] = Floats{} - INFINITY;
        continue;
      }
      const Floats key = (float)first + count;
      const Floats distance = key - position[row];
      const Signs hidden = (distance > (float)call.after) | (-distance > (float)call.before) | (key >= (float)end);
      const Floats biased = products(row, first, end) * call.scale - slope[row] * absolute(distance);
      scores[i] = hidden ? Floats{} - INFINITY : biased;
    }
  }

  // Return q·k of LANES keys. Past the end stands the last key.
  Floats products(int64_t row, int64_t first, int64_t end) const {
    const auto whole = [](const Element* key, int64_t pair) { return Type::read_whole(key, pair); };
    if (first + LANES <= end) {
      if (call.head_dim == 2 * PAIR) return products_of<2>(row, first, end, whole);
      if (call.head_dim == 4 * PAIR) return products_of<4>(row, first, end, whole);
    }
    if (call.head_dim % PAIR == 0) return products_of<0>(row, first, end, whole);
    return products_of<0>(row, first, end, [&](const Element* key, int64_t pair) {
      return (pair + 1) * PAIR <= call.head_dim ? Type::read_whole(key, pair) : Type::read(key, pair, call.head_dim);
    });
  }

  // The same, where COUNT is how many pairs a key has, of LANES keys before the end; or 0 for any number. Keys are read
  // one after another, as they lie in memory, because a processor fetches ahead only of that.
  template <int COUNT, class Read> Floats products_of(int64_t row, int64_t first, int64_t end, Read read) const {
    const int64_t count = COUNT ? COUNT : pairs, last = COUNT ? INT64_MAX : end - 1;
    const Rows<Type> next = adds_values ? v : k;
    const int64_t next_first = adds_values ? first : std::max<int64_t>(first - KEYS, 0);
    const int64_t next_dim = COUNT ? COUNT * PAIR : adds_values ? call.value_dim : call.head_dim;
    Floats sums[LANES];
    UNROLLED for (int lane = 0; lane < LANES; ++lane) {
      const Element* key = k[std::min(first + lane, last)];
      if (row == 0) fetch(next[std::min(next_first + lane, last)], next_dim);
      Floats firsts = {}, seconds = {};
      for (int64_t pair = 0; pair < count; ++pair) {
        const Pair part = read(key, pair), q = queries[row][pair];
        firsts += part.first * q.first;
        seconds += part.second * q.second;
      }
      sums[lane] = firsts + seconds;
    }
    return sums_of(sums);
  }

  // Have a key or value brought near, to the second or third cache. What is read next is: the values of a block with
  // its keys, and the keys of the block before with the values. A block whose weights are all 0 has no values to read,
  // and mostly is followed by such a block; then the keys of the block before come with the keys.
  static void fetch(const Element* row, int64_t dim) {
    constexpr int64_t LINE = 64 / sizeof(Element);
    for (int64_t at = 0; at < dim; at += LINE) __builtin_prefetch(row + at, 0, 1);
  }

  // Return the largest of a row's scores, finite: -inf minus -inf would be NaN.
  float largest_score() const {
    Floats most = Floats{} - FLT_MAX;
    for (const Floats& some : scores) most = larger_lanes(some, most);
    return largest_of(most);
  }

  // Turn a row's scores into weights. Return whether any is not 0.
  bool weigh(int64_t row, const Sums& sums) {
    Floats most = Floats{} + sums.largest[row];
    for (const Floats& some : scores) most = larger_lanes(some, most);
    const float largest = largest_of(most);
    if (largest > sums.largest[row]) {
      scale(sums, row, share(sums.largest[row] - largest));
      sums.largest[row] = largest;
    }
    Floats total = {};
    for (Floats& some : scores) total += some = exponential<Type::FINE>(some - largest);
    const float added = sum(total);
    sums.total[row] += added;
    return added != 0;
  }

  template <bool FETCHES> void add_values(int64_t row, int64_t begin, int64_t end, const Sums& sums) const {
    const auto whole = [](const Element* value, int64_t pair) { return Type::read_whole(value, pair); };
    const int64_t whole_pairs = call.value_dim / PAIR;
    int64_t pair = 0;  // up to four stay in registers
    for (; pair + 4 <= whole_pairs; pair += 4) add_pairs<4, FETCHES>(row, begin, end, pair, sums, whole);
    for (; pair + 2 <= whole_pairs; pair += 2) add_pairs<2, FETCHES>(row, begin, end, pair, sums, whole);
    for (; pair < value_pairs; ++pair)
      add_pairs<1, FETCHES>(row, begin, end, pair, sums, [&](const Element* value, int64_t pair) {
        return Type::read(value, pair, call.value_dim);
      });
  }

  template <int COUNT, bool FETCHES, class Read>
  void add_pairs(int64_t row, int64_t begin, int64_t end, int64_t pair, const Sums& sums, Read read) const {
    const float* weights = (const float*)scores;
    Pair added[COUNT] = {};  // of one block, because longer sums lose more digits
    for (int64_t key = begin; key < end; ++key) {
      const Element* value = v[key];
      if (FETCHES) fetch(k[std::max<int64_t>(key - KEYS, 0)] + pair * PAIR, COUNT * PAIR);
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
  const Group* rows = nullptr;
  Sequence sequence;
  Rows<Type> k, v;
  Pair queries[MOST_ROWS][MOST_PAIRS];
  float slope[MOST_ROWS], position[MOST_ROWS];
  Floats scores[KEYS / LANES];  // of a row and a block of keys, then the weights
  bool adds_values = true;      // of the block before this
};

// Return the groups of a call, whose first round has all the keys that they see.
static std::vector<Group> groups_of(const Call& call) {
  const int64_t group = call.heads / call.kv_heads;
  std::vector<Group> groups;
  for (int64_t i = 0; i < call.sequence_count; ++i) {
    const Sequence& sequence = call.sequences[i];
    const int64_t rows = sequence.queries * group;
    for (int64_t head = 0; head < call.kv_heads; ++head)
      for (int64_t row = 0; row < rows; row += MOST_ROWS) {
        Group next{i, head, row, std::min(MOST_ROWS, rows - row)};
        const int64_t first = sequence.position + row / group;
        const int64_t last = sequence.position + (row + next.rows - 1) / group;
        next.least = std::clamp<int64_t>(first - call.before, 0, sequence.keys);
        const int64_t most = std::clamp<int64_t>(last + call.after + 1, 0, sequence.keys);
        const int64_t nearest = last + 1 - (call.after ? KEYS / 2 : KEYS);
        next.near = std::clamp(nearest, next.least, std::max(next.least, most - KEYS));
        next.near_end = std::min(next.near + KEYS, most);
        const float* slopes = call.slopes + sequence.batch * call.slopes_batch_stride + head * group;
        next.slope = *std::min_element(slopes, slopes + group);
        std::fill_n(next.begin, MOST_ROWS, next.least);
        std::fill_n(next.end, MOST_ROWS, std::max(next.least, most));
        groups.push_back(next);
      }
  }
  return groups;
}

// Split each group's present round into parts.
static std::vector<Part> split(const Call& call, std::vector<Group>& groups) {
  std::vector<Part> parts;
  std::vector<Keys> rounds;
  int64_t work = 0;
  for (const Group& group : groups) {
    rounds.push_back(round_of(group));
    work += rounds.back().end - rounds.back().begin;
  }
  const int64_t share = blocks_of(work, call.threads * PARTS_A_THREAD * KEYS) * KEYS;
  const int64_t length = call.threads > 1 ? std::max(share, LEAST_PART) : std::max<int64_t>(work, 1);
  for (size_t i = 0; i < groups.size(); ++i) {
    groups[i].first_part = parts.size();
    for (int64_t key = rounds[i].begin; key < rounds[i].end; key += length)
      parts.push_back({i, {key, std::min(key + length, rounds[i].end)}});
    groups[i].end_part = parts.size();
  }
  return parts;
}

// Attend to groups that are not split: one loop, in which a thread does all of a group.
template <class Few>
static int64_t attend_whole(const Call& call, std::vector<Group>& groups, AllSums& sums, bool has_bounds) {
  int64_t looked_at = 0;
#pragma omp parallel num_threads(call.threads) reduction(+ : looked_at)
  {
    const auto few = std::make_unique<Few>(call);
    float largest[MOST_ROWS], query_norms[MOST_ROWS];
#pragma omp for schedule(dynamic) nowait
    for (size_t i = 0; i < groups.size(); ++i) {
      few->take(groups[i]);
      if (has_bounds)
        few->choose_first_round(groups[i], largest, query_norms);
      else
        std::fill_n(largest, MOST_ROWS, -FLT_MAX);
      clear(sums[i], largest, groups[i].rows, blocks_of(call.value_dim, PAIR));
      do
        looked_at += few->attend(round_of(groups[i]), sums[i]);
      while (has_bounds && few->choose_next_round(groups[i], sums[i], query_norms));
      few->write(sums[i]);
    }
  }
  return looked_at;
}

// Attend to groups that are split into parts, with norms of the cache in rounds.
template <class Few>
static int64_t attend_parts(const Call& call, std::vector<Group>& groups, std::vector<Part> parts, AllSums& of_groups) {
  const int64_t value_pairs = blocks_of(call.value_dim, PAIR);
  const bool has_bounds = parts.empty();
  std::vector<float> nearest(groups.size() * MOST_ROWS, -FLT_MAX), query_norms(nearest.size());
  AllSums of_parts(value_pairs);
  const auto begin_round = [&] {
    if (has_bounds) parts = split(call, groups);
    std::vector<int64_t> rows;
    for (const Part& part : parts) rows.push_back(groups[part.group].rows);
    of_parts.resize(rows);
  };
  if (!has_bounds) begin_round();
  int64_t looked_at = 0;
  bool reads_more = false;
#pragma omp parallel num_threads(call.threads)
  {
    const auto few = std::make_unique<Few>(call);
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < groups.size(); ++i) {
      float* largest = &nearest[i * MOST_ROWS];
      few->take(groups[i]);
      if (has_bounds)
        few->choose_first_round(groups[i], largest, &query_norms[i * MOST_ROWS]);
      else
        few->find_largest(largest);
      clear(of_groups[i], largest, groups[i].rows, value_pairs);
    }
    for (bool goes_on = true; goes_on;) {
      if (has_bounds) {
#pragma omp single
        {
          begin_round();
          reads_more = false;
        }
      }
#pragma omp for schedule(dynamic) reduction(+ : looked_at)
      for (size_t i = 0; i < parts.size(); ++i) {
        const Group& group = groups[parts[i].group];
        few->take(group);
        clear(of_parts[i], of_groups[parts[i].group].largest, group.rows, value_pairs);
        looked_at += few->attend(parts[i].keys, of_parts[i]);
      }
#pragma omp for schedule(dynamic)
      for (size_t i = 0; i < groups.size(); ++i) {
        Group& group = groups[i];
        if (group.is_written) continue;
        few->point_at(group);
        few->merge(of_groups[i], of_parts, group.first_part, group.end_part);
        if (has_bounds && few->choose_next_round(group, of_groups[i], &query_norms[i * MOST_ROWS])) {
#pragma omp atomic write
          reads_more = true;
        } else {
          few->write(of_groups[i]);
          group.is_written = true;
        }
      }
      goes_on = reads_more;
      if (has_bounds) {
#pragma omp barrier  // before the next round says that no row reads more
      }
    }
  }
  return looked_at;
}

template <class Few> static void attend_groups(Call& call) {
  const bool has_bounds = call.norms && call.after == 0;
  std::vector<Group> groups = groups_of(call);
  // Gentle heads read most keys, so they go first.
  if (has_bounds)
    std::stable_sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) { return a.slope < b.slope; });
  AllSums sums(blocks_of(call.value_dim, PAIR));
  std::vector<int64_t> rows;
  for (const Group& group : groups) rows.push_back(group.rows);
  sums.resize(rows);
  std::vector<Part> parts;
  if (!has_bounds) parts = split(call, groups);
  const auto is_whole = [](const Group& group) { return group.end_part - group.first_part <= 1; };
  const bool are_whole = has_bounds ? groups.size() >= (size_t)(call.threads * PARTS_A_THREAD)
                                    : std::all_of(groups.begin(), groups.end(), is_whole);
  call.looked_at = are_whole ? attend_whole<Few>(call, groups, sums, has_bounds)
                             : attend_parts<Few>(call, groups, std::move(parts), sums);
}

template <class Type> static void attend_few(Call& call) {
  if (call.pages)
    attend_groups<FewQueries<Type, RowsInPages>>(call);
  else
    attend_groups<FewQueries<Type, RowsInOrder>>(call);
}
