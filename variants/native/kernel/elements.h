// Rows of float32, bfloat16 or float16, read and written as float32 vectors, two at a time.
//
// The two vectors hold 2 * LANES neighbours of a row. In bfloat16 the first has every other one of
// them, because that takes no shuffle. Sums over a row don't care, and `write` puts them back in order.
// `read` may end within the pair that it reads, where zeros stand then; `read_whole` may not.

#pragma once

#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "vectors.h"

struct Pair {
  Floats first, second;
};
constexpr int PAIR = 2 * LANES;  // elements

struct Float32 {
  using Element = float;
  static constexpr bool FINE = true;

  static Pair read(const float* row, int64_t pair, int64_t dim) {
    const char* bytes = (const char*)row;
    return {(Floats)load(bytes, pair * PAIR, dim * 4), (Floats)load(bytes, pair * PAIR + LANES, dim * 4)};
  }

  static Pair read_whole(const float* row, int64_t pair) {
    Floats first, second;
    memcpy(&first, row + pair * PAIR, sizeof first);
    memcpy(&second, row + pair * PAIR + LANES, sizeof second);
    return {first, second};
  }

  static void write(float* row, int64_t pair, int64_t dim, Pair values) {
    char* bytes = (char*)row + pair * PAIR * 4;
    memcpy(bytes, &values.first, bytes_from(pair * PAIR, dim * 4));
    memcpy(bytes + sizeof(Floats), &values.second, bytes_from(pair * PAIR + LANES, dim * 4));
  }
};

struct Bfloat16 {
  using Element = uint16_t;
  static constexpr bool FINE = false;

  static Pair read(const uint16_t* row, int64_t pair, int64_t dim) {
    const Words words = load((const char*)row, pair * LANES, dim * 2);
    return {first_halves(words), second_halves(words)};
  }

  static Pair read_whole(const uint16_t* row, int64_t pair) {
    Words words;
    memcpy(&words, row + pair * PAIR, sizeof words);
    return {first_halves(words), second_halves(words)};
  }

  static void write(uint16_t* row, int64_t pair, int64_t dim, Pair values) {
    const Words words = paired(values.first, values.second);
    memcpy((char*)row + pair * PAIR * 2, &words, bytes_from(pair * LANES, dim * 2));
  }
};

struct Float16 {
  using Element = uint16_t;
  static constexpr bool FINE = false;

  static Pair read(const uint16_t* row, int64_t pair, int64_t dim) {
    const Words words = load((const char*)row, pair * LANES, dim * 2);
    Narrow halves[2];
    memcpy(halves, &words, sizeof words);
    return {widened(halves[0]), widened(halves[1])};
  }

  static Pair read_whole(const uint16_t* row, int64_t pair) {
    Narrow first, second;
    memcpy(&first, row + pair * PAIR, sizeof first);
    memcpy(&second, row + pair * PAIR + LANES, sizeof second);
    return {widened(first), widened(second)};
  }

  static void write(uint16_t* row, int64_t pair, int64_t dim, Pair values) {
    const Narrow halves[2] = {narrowed(values.first), narrowed(values.second)};
    memcpy((char*)row + pair * PAIR * 2, halves, bytes_from(pair * LANES, dim * 2));
  }

 private:
#if defined(__AVX512F__)
  using Narrow = __m256i;
  static Floats widened(Narrow halves) { return (Floats)_mm512_cvtph_ps(halves); }
  static Narrow narrowed(Floats values) { return _mm512_cvtps_ph((__m512)values, _MM_FROUND_TO_NEAREST_INT); }
#elif defined(__F16C__) && defined(__AVX__)
  using Narrow = __m128i;
  static Floats widened(Narrow halves) { return (Floats)_mm256_cvtph_ps(halves); }
  static Narrow narrowed(Floats values) { return _mm256_cvtps_ph((__m256)values, _MM_FROUND_TO_NEAREST_INT); }
#else
#if defined(__aarch64__)
  typedef __fp16 Half;  // GCC 12 has no _Float16 in C++ there
#else
  typedef _Float16 Half;
#endif
  typedef Half Narrow __attribute__((vector_size(LANES * 2)));
  static Floats widened(Narrow halves) { return __builtin_convertvector(halves, Floats); }
  static Narrow narrowed(Floats values) { return __builtin_convertvector(values, Narrow); }
#endif
};
