// How much the keys of a block can weigh, and add to an output, at most.
//
// Key k has the norm n_k, and its value the size u_k = max(|v_k|, the usual |v|). For a query with
// |scale q| = L, at a distance of at least d from a block, the block's keys add to the output at most
//
//     sum of exp(scale q·k - slope distance) u_k
//         <=  exp(L N) U (1 - exp(-KEYS slope)) / (1 - exp(-slope)) exp(-slope d)    largest n and u
//     and <=  (sum of exp(L n_k) u_k) exp(-slope d)
//
// The logarithm of the last sum is convex in L. So below the longest L of a call it lies under the
// chord from L = 0, and two numbers a block are enough for all queries. Since no u_k is under the
// usual |v|, the same sum bounds what the weights alone would change.
//
// Sizes are relative to the largest |v| of all keys, so that their squares don't overflow.

#pragma once

#include <cfloat>
#include <vector>

#include "call.h"
#include "vectors.h"

constexpr float LOST_SQUARES = 4e-36f;  // up to MOST_HEAD_DIM squares under 1.2e-38 may become 0
constexpr float ROUNDED_SUMS = 1.0001f;  // error of norms and scores: sums of MOST_HEAD_DIM terms
constexpr float LOST_BY_LOG = 0.07f;     // log_below is this much too low at most, and so is a log of 0
constexpr float SMALLEST_SIZE = 1e-30f;  // of values; smaller ones are not made relative

struct BlockBound {
  float longest;         // N
  float largest;         // log U
  float chord, incline;  // the chord's value at L = 0, and its slope
};

// The bounds of the keys of one sequence and kv head.
class KeyBounds {
 public:
  std::vector<float> norms, sizes;  // [blocks * KEYS]: n_k and |v_k|; past the keys 0
  std::vector<BlockBound> blocks;
  float inverse = 1, usual = 0;  // of the largest |v|; the usual |v| relative to it

  explicit KeyBounds(int64_t keys)
      : norms(blocks_of(keys, KEYS) * KEYS), sizes(norms.size()), blocks(norms.size() / KEYS), keys(keys) {}

  // Bound every block, for queries with |scale q| up to `most`. Reads norms and sizes.
  void bound(float most) {
    float largest = 0, logs = 0;
    int64_t counted = 0;
    for (int64_t key = 0; key < keys; ++key) {
      largest = larger(largest, sizes[key]);
      if (sizes[key] > 0) {
        logs += log_below(sizes[key]);
        ++counted;
      }
    }
    inverse = largest > SMALLEST_SIZE ? 1 / largest : largest == largest ? 1.0f : NAN;
    usual = counted ? std::exp(logs / counted) * inverse : 0.0f;
    for (size_t block = 0; block < blocks.size(); ++block) blocks[block] = of_block(block * KEYS, most);
  }

 private:
  BlockBound of_block(int64_t first, float most) const {
    const int64_t end = std::min(first + KEYS, keys);
    float longest = 0, largest = usual;
    for (int64_t key = first; key < end; ++key) {
      longest = larger(longest, norms[key]);
      largest = larger(largest, sizes[key] * inverse);
    }
    Floats flat = {}, steep = {};
    for (int64_t key = first; key < first + KEYS; key += LANES) {
      Floats norm, size;
      memcpy(&norm, &norms[key], sizeof norm);
      memcpy(&size, &sizes[key], sizeof size);
      size *= inverse;
      size = (size < usual ? Floats{} + usual : size) / largest;
      flat += size;
      steep += size * exponential<false>((norm - longest) * most);
    }
    const float log = std::log(largest), at_zero = log + std::log(sum(flat));
    const float at_most = log + longest * most + std::log(sum(steep));
    return {longest, log, at_zero, most > 0 ? (at_most - at_zero) / most : longest};
  }

  int64_t keys;
};

// A query, and what it has summed: the logs of its weights and of its output's norm.
struct Summed {
  float query_norm, slope, position;  // |scale q|, rounded up
  float weights, output;
};

// Norms of a cache that the caller keeps, of one sequence and kv head. Rounded up already.
class CacheNorms {
 public:
  CacheNorms(const Call& call, const Sequence& sequence, int64_t kv_head)
      : keys(Call::at(call.norms, call.norms_strides, sequence.batch, kv_head, 0)),
        values(Call::at(call.norms, call.norms_strides, sequence.batch, kv_head, 1)),
        first_slot(sequence.first_key) {}

  float values_near(int64_t key) const { return values[(key + first_slot) / KEYS]; }

  // Return the first key, of those from `least` to `near`, that a causal query at or after `near` may
  // need. The keys before it add at most a share of what is summed, whose log is given.
  int64_t first_needed(const Summed& of, int64_t least, int64_t near, float share) const {
    if (!(of.slope > 0)) return least;
    const float most = std::exp(share), zeros = std::log(std::expm1(-KEYS * of.slope) / std::expm1(-of.slope));
    const int64_t end = (near + first_slot) / KEYS;
    float weights = 0, outputs = 0;
    for (int64_t block = (least + first_slot) / KEYS; block < end; block += LANES) {
      const int64_t count = std::min<int64_t>(LANES, end - block);
      Floats key = {}, value = {}, last;
      memcpy(&key, keys + block, count * sizeof(float));
      memcpy(&value, values + block, count * sizeof(float));
      UNROLLED for (int lane = 0; lane < LANES; ++lane) last[lane] = (block + lane + 1) * KEYS - 1 - first_slot;
      const Floats most_summed = key * of.query_norm + zeros - of.slope * (of.position - last);
      const Floats weight = most_summed - of.weights;
      const Floats output = most_summed + (log_below(value) + LOST_BY_LOG) - of.output;
      const Signs certain = (weight <= 69.0f) & (output <= 69.0f) & (value <= FLT_MAX);  // none of NaN
      const Floats weight_sums = exponential<false>(weight) * 1.0001f, output_sums = exponential<false>(output) * 1.0001f;
      for (int64_t lane = 0; lane < count; ++lane) {
        weights += weight_sums[lane];
        outputs += output_sums[lane];
        if (!certain[lane] || weights > most || outputs > most)
          return std::max(least, (block + lane) * KEYS - first_slot);
      }
    }
    return std::max(least, end * KEYS - first_slot);
  }

 private:
  const float *keys, *values;  // [blocks]
  const int64_t first_slot;
};
