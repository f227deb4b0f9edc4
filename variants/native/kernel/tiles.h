// Products of attention in bfloat16 by the tiles of Intel's AMX, from keys and values packed once.
//
// A tile is 16 rows of 16 words; a product of two tiles adds up pairs of bfloat16. Scores are keys
// times queries, and outputs are values times weights. Both have the queries in their columns, so the
// weights need no transposing to be the second operand of a product.

#pragma once

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call.h"
#include "vectors.h"

class TileProducts {
 public:
  using Element = uint16_t;
  static constexpr bool FINE = false;

  Floats scores[2 * KEYS * VECTORS];  // [keys, QUERIES], then the weights [pairs of keys, QUERIES]

  explicit TileProducts(const Call& call)
      : call(call),
        head_dim(call.head_dim),
        value_dim(call.value_dim),
        chunks(blocks_of(call.head_dim, CHUNK)),
        value_chunks(blocks_of(call.value_dim, CHUNK)) {
    // Static, because GCC 12 assumes that only 8 bytes of it are read, and may store no others.
    static constexpr struct {
      uint8_t palette = 1, start_row = 0, unused[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } CONFIG;
    _tile_loadconfig(&CONFIG);
  }
  ~TileProducts() { _tile_release(); }

  // Whether Linux lets this process use tiles; a process must request that.
  static bool allowed() {
    constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
  }

  // Pack a block of keys as tiles [16 keys, 32 of head_dim] and its values as [16 of value_dim, 32 keys].
  // `place` counts the blocks of all sequences and kv heads.
  static void pack(const Call& call, const Sequence& sequence, int64_t kv_head, int64_t block, int64_t place) {
    const int64_t chunks = blocks_of(call.head_dim, CHUNK), value_chunks = blocks_of(call.value_dim, CHUNK);
    const auto row = [&](const void* tensor, const Strides& strides, int64_t key, int64_t chunk, int64_t dim) {
      if (key >= sequence.keys) return Words{};
      const auto* at =
          Call::at((const uint16_t*)tensor, strides, sequence.batch, kv_head, sequence.first_key + key);
      return load((const char*)at, chunk * LANES, dim * 2);
    };
    Words* keys = packed_keys(call, place);
    Words* values = packed_values(call, place);
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      for (int64_t key = 0; key < KEYS; ++key)
        keys[(key / TILE * chunks + chunk) * TILE + key % TILE] =
            row(call.k, call.k_strides, block * KEYS + key, chunk, call.head_dim);
    for (int64_t chunk = 0; chunk < value_chunks; ++chunk)
      for (int64_t key = 0; key < KEYS; key += CHUNK) {
        Words even[TILE], odd[TILE];  // of value_dim
        for (int64_t pair = 0; pair < TILE; ++pair) {
          const int64_t at = block * KEYS + key + 2 * pair;
          const Words first = row(call.v, call.v_strides, at, chunk, call.value_dim);
          const Words second = row(call.v, call.v_strides, at + 1, chunk, call.value_dim);
          even[pair] = (first & 0xffffu) | (second << 16);
          odd[pair] = (first >> 16) | (second & 0xffff0000u);
        }
        transpose(even);
        transpose(odd);
        Words* to = values + (key / CHUNK * value_chunks + chunk) * 2 * TILE;
        for (int64_t d = 0; d < TILE; ++d) {
          to[2 * d] = even[d];
          to[2 * d + 1] = odd[d];
        }
      }
  }

  // The squares of a row, in sums as many as lanes.
  static Floats squares(const uint16_t* row, int64_t head_dim) {
    Floats squares = {};
    for (int64_t word = 0; word * 2 < head_dim; word += LANES)
      squares += squared(load((const char*)row, word, head_dim * 2));
    return squares;
  }

  // Load a block of queries, `rows` of them; their packed keys and values begin at `place`.
  void take(const uint16_t* q, int64_t rows, const Sequence&, int64_t, int64_t place) {
    keys = packed_keys(call, place);
    values = packed_values(call, place);
    to_columns((const char*)q, call.q_strides.row * 2, rows, head_dim * 2, queries);
  }

  void score(int64_t first, int64_t end, int) {
    finish_stores();
    for (int64_t key = first; key < end; key += CHUNK)
      for (int column = 0; column < VECTORS; column += 2) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        const Words* from = keys + key * chunks;
        for (int64_t chunk = 0; chunk < chunks; ++chunk)
          multiply(from + chunk * TILE, from + (chunks + chunk) * TILE, queries + chunk * TILE * VECTORS + column);
        store(scores + (key - first) * VECTORS + column);
      }
  }

  void keep(int64_t key, int column, Floats weights, Floats next) {
    ((Words*)scores)[key / 2 * VECTORS + column] = paired(weights, next);
  }

  void add_values(int64_t first, int64_t end, Floats* out, int) const {
    finish_stores();
    for (int64_t chunk = 0; chunk < value_chunks; ++chunk)
      for (int column = 0; column < VECTORS; column += 2) {
        Floats* to = out + chunk * CHUNK * VECTORS + column;
        _tile_loadd(0, to, ROW);
        _tile_loadd(1, to + 1, ROW);
        _tile_loadd(2, to + TILE * VECTORS, ROW);
        _tile_loadd(3, to + TILE * VECTORS + 1, ROW);
        for (int64_t key = first; key < end; key += CHUNK) {
          const Words* from = values + (key / CHUNK * value_chunks + chunk) * 2 * TILE;
          multiply(from, from + TILE, (const Words*)scores + (key - first) / 2 * VECTORS + column);
        }
        store(to);
      }
  }

  void write(const Floats* out, uint16_t* to, int64_t rows) {
    Words* pairs = queries;  // which no product needs any more
    for (int64_t pair = 0; pair < value_chunks * TILE; ++pair)
      for (int column = 0; column < VECTORS; ++column)
        pairs[pair * VECTORS + column] =
            paired(out[2 * pair * VECTORS + column], out[(2 * pair + 1) * VECTORS + column]);
    to_rows(pairs, (char*)to, call.out_strides.row * 2, rows, value_dim * 2);
  }

 private:
  static constexpr int TILE = 16;  // rows, and words of a row: CHUNK in bfloat16
  static constexpr int ROW = QUERIES * 4;  // bytes
  static_assert(LANES == TILE && CHUNK == 2 * TILE);

  // The compiler doesn't know that loads of tiles read memory, so finish the stores before them.
  static void finish_stores() { asm volatile("" ::: "memory"); }

  static Floats squared(Words pairs) {
    return first_halves(pairs) * first_halves(pairs) + second_halves(pairs) * second_halves(pairs);
  }

  // A block's keys, then its values. All blocks of a sequence and kv head follow each other.
  static Words* packed_keys(const Call& call, int64_t place) {
    return (Words*)call.packed + place * KEYS / TILE * blocks_of(call.head_dim, CHUNK) * TILE;
  }
  static Words* packed_values(const Call& call, int64_t place) {
    return packed_keys(call, call.packed_blocks) +
           place * KEYS / CHUNK * blocks_of(call.value_dim, CHUNK) * 2 * TILE;
  }

  // Multiply two tiles by two neighbours in [pairs, QUERIES]; add to the sums in tiles 0 to 3.
  static void multiply(const Words* upper, const Words* lower, const Words* columns) {
    _tile_loadd(4, upper, 64);
    _tile_loadd(5, lower, 64);
    _tile_loadd(6, columns, ROW);
    _tile_loadd(7, columns + 1, ROW);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }

  static void store(Floats* to) {
    _tile_stored(0, to, ROW);
    _tile_stored(1, to + 1, ROW);
    _tile_stored(2, to + TILE * VECTORS, ROW);
    _tile_stored(3, to + TILE * VECTORS + 1, ROW);
  }

  const Call& call;
  const int64_t head_dim, value_dim, chunks, value_chunks;
  const Words *keys = nullptr, *values = nullptr;
  Words queries[MOST_HEAD_DIM / 2 * VECTORS];  // [pairs of head_dim, QUERIES]
};
