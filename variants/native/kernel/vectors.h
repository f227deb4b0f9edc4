// Vectors of the machine's width, and operations on them: powers of 2, transposes.
//
// GCC's vector types, which clang has too, serve AVX-512, AVX2 and NEON alike. Each lane holds one query, so sums and
// maxima over keys never cross lanes.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Floats __attribute__((vector_size(LANES * 4)));
typedef int32_t Signs __attribute__((vector_size(LANES * 4)));
// may_alias, because tensors of other types are read as words.
typedef uint32_t Words __attribute__((vector_size(LANES * 4), may_alias));

constexpr int QUERIES = 64;  // in a block
constexpr int VECTORS = QUERIES / LANES;
constexpr int CHUNK = 32;  // keys and dims are padded to multiples of this, which a tile holds

#if defined(__clang__)
#define UNROLLED _Pragma("unroll 16")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

// e^x for x up to 69, and 0 for x below -87: subnormal numbers are slow. NaN stays NaN.
// Of all polynomials with e^0 = 1, these have the least relative error: 2e-9 if FINE, else 3e-6.
template <bool FINE> static inline Floats exponential(Floats x) {
  constexpr float WHOLE = 12582912.0f + 127.0f;  // 1.5 * 2^23: a number added to it loses its fraction
  constexpr float LOG2_E = 1.44269504f;
  constexpr float LN_2 = 0.693359375f, LN_2_REST = -2.12194440e-4f;  // times 2^7 the first is exact
  const Floats least = Floats{} - 87.0f;
  const Signs zero = x < least;
  const Floats shifted = (zero ? least : x) * LOG2_E + WHOLE;  // its low bits are the exponent of a float
  const Floats whole = shifted - WHOLE;
  const Floats rest = x - whole * LN_2 - whole * LN_2_REST;
  Floats power;
  if constexpr (FINE) {
    power = rest * 1.384365354e-03f + 8.374155304e-03f;
    power = power * rest + 4.166800203e-02f;
    power = power * rest + 1.666643126e-01f;
    power = power * rest + 4.999999420e-01f;
    power = power * rest + 1.000000032f;
  } else {
    power = rest * 4.151384756e-02f + 1.678747332e-01f;
    power = power * rest + 5.000301364e-01f;
    power = power * rest + 9.999668365e-01f;
  }
  const Floats result = (power * rest + 1.0f) * (Floats)((Words)shifted << 23);
  return (Floats)((Words)result & ~(Words)zero);
}

static inline bool any(Signs lanes) {
  int32_t bits = 0;
  UNROLLED for (int lane = 0; lane < LANES; ++lane) bits |= lanes[lane];
  return bits;
}

// The larger of two numbers; NaN counts as the largest.
static inline float larger(float a, float b) { return a >= b || a != a ? a : b; }

static inline Floats absolute(Floats x) { return (Floats)((Words)x & 0x7fffffffu); }

// The natural logarithm, up to 0.06 too low; -88 for 0, and an arbitrary number for NaN.
// A float's bits, read as a whole number, are its exponent and its fraction: log2 between powers of 2.
constexpr float LOG_OF_A_BIT = 0.693147181f / (1 << 23);
static inline Floats log_below(Floats x) {
  return __builtin_convertvector((Signs)(Words)x, Floats) * LOG_OF_A_BIT - 127 * 0.693147181f;
}
static inline float log_below(float x) {
  int32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits * LOG_OF_A_BIT - 127 * 0.693147181f;
}

static inline Floats square_roots(Floats x) {
  UNROLLED for (int lane = 0; lane < LANES; ++lane) x[lane] = std::sqrt(x[lane]);
  return x;
}

// bfloat16 pairs: the first of a pair is a word's low half.
static inline Floats first_halves(Words pairs) { return (Floats)(pairs << 16); }
static inline Floats second_halves(Words pairs) { return (Floats)(pairs & 0xffff0000u); }
static inline Words paired(Floats first, Floats second) {
  const Words low = (Words)first + 0x8000u, high = (Words)second + 0x8000u;
  return (high & 0xffff0000u) | (low >> 16);
}

// Return the lanes of two vectors at some places, which count on from the first into the second.
static inline Words lanes_at(Words places, Words first, Words second) {
#if defined(__clang__)  // it makes one instruction of this, and has no other way
  Words lanes;
  UNROLLED for (int lane = 0; lane < LANES; ++lane) {
    const uint32_t place = places[lane];
    lanes[lane] = place < LANES ? first[place] : second[place - LANES];
  }
  return lanes;
#else
  return __builtin_shuffle(first, second, places);
#endif
}

template <int STEP> static inline void swap_off_diagonal(Words* rows) {
  Words upper, lower;
  UNROLLED for (int lane = 0; lane < LANES; ++lane) {
    upper[lane] = lane & STEP ? LANES + lane - STEP : lane;
    lower[lane] = lane & STEP ? LANES + lane : lane + STEP;
  }
  UNROLLED for (int row = 0; row < LANES; ++row) {
    if (row & STEP) continue;
    const Words above = rows[row], below = rows[row + STEP];
    rows[row] = lanes_at(upper, above, below);
    rows[row + STEP] = lanes_at(lower, above, below);
  }
}

// Transpose a square of LANES rows in place, by swapping ever larger blocks across the diagonal.
static inline void transpose(Words* rows) {
  swap_off_diagonal<1>(rows);
  swap_off_diagonal<2>(rows);
  if constexpr (LANES > 4) swap_off_diagonal<4>(rows);
  if constexpr (LANES > 8) swap_off_diagonal<8>(rows);
}

// Add each lane of two rows to its neighbour STEP away: of the first row where a lane has no STEP, else of the second.
template <int STEP> static inline Floats add_neighbours(Floats first, Floats second) {
  Words same, neighbour;
  UNROLLED for (int lane = 0; lane < LANES; ++lane) {
    same[lane] = lane & STEP ? LANES + lane : lane;
    neighbour[lane] = same[lane] ^ STEP;
  }
  return (Floats)lanes_at(same, (Words)first, (Words)second) + (Floats)lanes_at(neighbour, (Words)first, (Words)second);
}

// Return the sum of each of LANES rows, which it overwrites. Inlined, so that rows stay in registers.
__attribute__((always_inline)) static inline Floats sums_of(Floats* rows) {
  UNROLLED for (int i = 0; i < LANES / 2; ++i) rows[i] = add_neighbours<1>(rows[2 * i], rows[2 * i + 1]);
  UNROLLED for (int i = 0; i < LANES / 4; ++i) rows[i] = add_neighbours<2>(rows[2 * i], rows[2 * i + 1]);
  if constexpr (LANES > 4)
    UNROLLED for (int i = 0; i < LANES / 8; ++i) rows[i] = add_neighbours<4>(rows[2 * i], rows[2 * i + 1]);
  if constexpr (LANES > 8) rows[0] = add_neighbours<8>(rows[0], rows[1]);
  return rows[0];
}

// Swap each lane with its neighbour STEP away.
template <int STEP> static inline Floats swapped(Floats x) {
  Words places;
  UNROLLED for (int lane = 0; lane < LANES; ++lane) places[lane] = lane ^ STEP;
  return (Floats)lanes_at(places, (Words)x, (Words)x);
}

static inline float sum(Floats x) {
  if constexpr (LANES > 8) x += swapped<8>(x);
  if constexpr (LANES > 4) x += swapped<4>(x);
  x += swapped<2>(x);
  return x[0] + x[1];
}

// The larger of two lanes, or the second where one is NaN.
static inline Floats larger_lanes(Floats a, Floats b) { return a > b ? a : b; }

static inline float largest_of(Floats x) {
  if constexpr (LANES > 8) x = larger_lanes(x, swapped<8>(x));
  if constexpr (LANES > 4) x = larger_lanes(x, swapped<4>(x));
  x = larger_lanes(x, swapped<2>(x));
  return std::max(x[0], x[1]);
}

// How many bytes of a row to read from `word` on: a vector's, or fewer at the row's end.
static inline size_t bytes_from(int64_t word, int64_t row_bytes) {
  return std::clamp<int64_t>(row_bytes - word * 4, 0, sizeof(Words));
}

static inline Words load(const char* row, int64_t word, int64_t row_bytes) {
  Words loaded = {};
  const size_t bytes = bytes_from(word, row_bytes);
  if (bytes == sizeof(Words)) memcpy(&loaded, row + word * 4, sizeof(Words));  // one instruction
  else memcpy(&loaded, row + word * 4, bytes);
  return loaded;
}

// Transpose `count` rows, `stride` bytes apart, to [words, QUERIES]. Copies of the last row fill the
// lanes after it: they need no more keys than a real query.
static void to_columns(const char* rows, int64_t stride, int64_t count, int64_t row_bytes, Words* to) {
  for (int column = 0; column < VECTORS; ++column)
    for (int64_t word = 0; word * 4 < row_bytes; word += LANES) {
      Words square[LANES];
      for (int64_t i = 0; i < LANES; ++i)
        square[i] = load(rows + std::min(column * LANES + i, count - 1) * stride, word, row_bytes);
      transpose(square);
      for (int i = 0; i < LANES; ++i) to[(word + i) * VECTORS + column] = square[i];
    }
}

static void to_rows(const Words* from, char* rows, int64_t stride, int64_t count, int64_t row_bytes) {
  for (int column = 0; column < VECTORS; ++column)
    for (int64_t word = 0; word * 4 < row_bytes; word += LANES) {
      Words square[LANES];
      for (int i = 0; i < LANES; ++i) square[i] = from[(word + i) * VECTORS + column];
      transpose(square);
      for (int64_t i = 0, row = column * LANES; i < LANES && row < count; ++i, ++row)
        memcpy(rows + row * stride + word * 4, square + i, bytes_from(word, row_bytes));
    }
}
