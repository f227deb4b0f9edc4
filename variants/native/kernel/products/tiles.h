// Products of attention in bfloat16 by the tiles of Intel's AMX, from keys and values packed once.
//
// A tile is 16 rows of 16 words; a product of two tiles adds up pairs of bfloat16. Scores are keys
// times queries, and outputs are values times weights. Both have the queries in their columns, so the
// weights need no transposing to be the second operand of a product.

#pragma once

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bfloat16.h"

class TileProducts : public Bfloat16Products {
 public:
  explicit TileProducts(const Call& call)
      : Bfloat16Products(call),
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

  // How many elements are packed for each key.
  static int64_t packed_width(int64_t head_dim, int64_t value_dim) {
    return (blocks_of(head_dim, CHUNK) + blocks_of(value_dim, CHUNK)) * CHUNK;
  }

  // Pack a block of keys as tiles [16 keys, 32 of head_dim] and its values as [16 of value_dim, 32 keys].
  // `place` counts the blocks of all sequences and kv heads.
  static void pack(const Call& call, const Sequence& sequence, int64_t kv_head, int64_t block, int64_t place) {
    const int64_t chunks = blocks_of(call.head_dim, CHUNK), value_chunks = blocks_of(call.value_dim, CHUNK);
    Words* keys = packed_keys(call, place);
    Words* values = packed_values(call, place);
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      for (int64_t key = 0; key < KEYS; ++key)
        keys[(key / TILE * chunks + chunk) * TILE + key % TILE] =
            of_row(call.k, call.k_strides, sequence, kv_head, block * KEYS + key, chunk, call.head_dim);
    for (int64_t chunk = 0; chunk < value_chunks; ++chunk)
      for (int64_t key = 0; key < KEYS; key += CHUNK) {
        Words even[TILE], odd[TILE];  // of value_dim
        for (int64_t pair = 0; pair < TILE; ++pair) {
          const int64_t at = block * KEYS + key + 2 * pair;
          const Words first = of_row(call.v, call.v_strides, sequence, kv_head, at, chunk, call.value_dim);
          const Words second = of_row(call.v, call.v_strides, sequence, kv_head, at + 1, chunk, call.value_dim);
          even[pair] = pairs_of_even(first, second);
          odd[pair] = pairs_of_odd(first, second);
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

  // Load a block of queries, `rows` of them; their packed keys and values begin at `place`.
  void take(const uint16_t* q, int64_t rows, const Sequence&, int64_t, int64_t place) {
    keys = packed_keys(call, place);
    values = packed_values(call, place);
    take_queries(q, rows);
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
          multiply(from, from + TILE, weights() + (key - first) / 2 * VECTORS + column);
        }
        store(to);
      }
  }

 private:
  static constexpr int TILE = 16;  // rows, and words of a row: CHUNK in bfloat16
  static constexpr int ROW = QUERIES * 4;  // bytes
  static_assert(LANES == TILE && CHUNK == 2 * TILE);

  // The compiler doesn't know that loads of tiles read memory, so finish the stores before them.
  static void finish_stores() { asm volatile("" ::: "memory"); }

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

  const int64_t chunks, value_chunks;
  const Words *keys = nullptr, *values = nullptr;
};
