// Vectors of the machine's width, and operations on them: powers of 2, transposes.
//
// GCC's vector types serve AVX-512, AVX2 and NEON alike. Each lane holds one query, so sums and
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

#define UNROLLED _Pragma("GCC unroll 16")

// 2^x for x up to 100, but 2^-100 for x below -100: subnormal numbers are slow. NaN stays NaN.
// Of all polynomials with 2^0 = 1, these have the least relative error on [-1/2, 1/2]: 2e-9 if FINE,
// else 3e-6.
template <bool FINE> static inline Floats power_of_2(Floats x) {
  constexpr float WHOLE = 12582912.0f + 127.0f;  // 1.5 * 2^23: a number added to it loses its fraction
  const Floats least = Floats{} - 100.0f;
  x = least > x ? least : x;
  const Floats shifted = x + WHOLE;  // its low bits are the exponent of a float
  const Floats rest = x - (shifted - WHOLE);
  Floats power;
  if constexpr (FINE) {
    power = rest * 1.535336194e-04f + 1.339887440e-03f;
    power = power * rest + 9.618437357e-03f;
    power = power * rest + 5.550332471e-02f;
    power = power * rest + 2.402264791e-01f;
    power = power * rest + 6.931472029e-01f;
  } else {
    power = rest * 9.582853095e-03f + 5.590642460e-02f;
    power = power * rest + 2.402409861e-01f;
    power = power * rest + 6.931241934e-01f;
  }
  return (power * rest + 1.0f) * (Floats)((Words)shifted << 23);
}

static inline bool any(Signs lanes) {
  int32_t bits = 0;
  UNROLLED for (int lane = 0; lane < LANES; ++lane) bits |= lanes[lane];
  return bits;
}

static inline float sum(Floats lanes) {
  float total = 0;
  UNROLLED for (int lane = 0; lane < LANES; ++lane) total += lanes[lane];
  return total;
}

// The larger of two numbers; NaN counts as the largest.
static inline float larger(float a, float b) { return a >= b || a != a ? a : b; }

static inline Floats absolute(Floats x) { return (Floats)((Words)x & 0x7fffffffu); }

// log2 rounded down; -127 for 0, and an arbitrary number for NaN.
static inline Floats whole_log2(Floats x) {
  return __builtin_convertvector((Signs)((Words)x >> 23) - 127, Floats);
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

template <int STEP> static inline void swap_off_diagonal(Words* rows) {
  Words upper, lower;
  UNROLLED for (int lane = 0; lane < LANES; ++lane) {
    upper[lane] = lane & STEP ? LANES + lane - STEP : lane;
    lower[lane] = lane & STEP ? LANES + lane : lane + STEP;
  }
  UNROLLED for (int row = 0; row < LANES; ++row) {
    if (row & STEP) continue;
    const Words above = rows[row], below = rows[row + STEP];
    rows[row] = __builtin_shuffle(above, below, upper);
    rows[row + STEP] = __builtin_shuffle(above, below, lower);
  }
}

// Transpose a square of LANES rows in place, by swapping ever larger blocks across the diagonal.
static inline void transpose(Words* rows) {
  swap_off_diagonal<1>(rows);
  swap_off_diagonal<2>(rows);
  if constexpr (LANES > 4) swap_off_diagonal<4>(rows);
  if constexpr (LANES > 8) swap_off_diagonal<8>(rows);
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
