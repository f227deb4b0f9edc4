// A call of the kernels in a process of its own: tensors come from a file, and what is computed goes to another.
// Tensors are contiguous, and each batch entry is a sequence.

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "native_window.cpp"

struct Header {
  int64_t kernel, element_bytes;
  int64_t batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim, after, threads;
  float scale, least;
};

using Bytes = std::vector<char>;

static Bytes read(FILE* file, int64_t elements, int64_t bytes) {
  Bytes all(elements * bytes);
  if (fread(all.data(), 1, all.size(), file) != all.size()) exit(3);
  return all;
}

static void write(FILE* file, const Bytes& all) {
  if (fwrite(all.data(), 1, all.size(), file) != all.size()) exit(4);
}

static Strides strides(int64_t heads, int64_t length, int64_t dim) {
  return {heads * length * dim, length * dim, dim};
}

int main(int, char** paths) {
  FILE *from = fopen(paths[1], "rb"), *to = fopen(paths[2], "wb");
  Header h;
  if (!from || !to || fread(&h, sizeof h, 1, from) != 1) return 2;
  const int64_t queries = h.batch * h.heads * h.q_len, keys = h.batch * h.kv_heads * h.kv_len;
  const Bytes q = read(from, queries * h.head_dim, h.element_bytes), k = read(from, keys * h.head_dim, h.element_bytes);
  const Bytes v = read(from, keys * h.value_dim, h.element_bytes), slopes = read(from, h.heads, 4);
  Bytes out(queries * h.value_dim * h.element_bytes), log_sum_exp(queries * 4);
  std::vector<Sequence> sequences;
  for (int64_t i = 0; i < h.batch; ++i) sequences.push_back({i, 0, h.q_len, 0, h.kv_len, h.kv_len - h.q_len});

  Call call{};
  call.q = q.data(), call.k = k.data(), call.v = v.data(), call.slopes = (const float*)slopes.data();
  call.out = out.data(), call.log_sum_exp = (float*)log_sum_exp.data(), call.sequences = sequences.data();
  call.q_strides = strides(h.heads, h.q_len, h.head_dim), call.out_strides = strides(h.heads, h.q_len, h.value_dim);
  call.k_strides = strides(h.kv_heads, h.kv_len, h.head_dim), call.v_strides = strides(h.kv_heads, h.kv_len, h.value_dim);
  call.heads = h.heads, call.kv_heads = h.kv_heads, call.q_len = h.q_len;
  call.head_dim = h.head_dim, call.value_dim = h.value_dim;
  call.sequence_count = h.batch, call.threads = h.threads;
  call.before = int64_t{1} << 40, call.after = h.after;
  call.scale = h.scale, call.least = h.least;
  void (*const kernels[])(Call*) = {
      attend_in_float32, attend_few_in_float32, attend_few_in_bfloat16, attend_few_in_float16};
  const bool has_gradients = h.kernel == 4;
  kernels[has_gradients ? 0 : h.kernel](&call);
  write(to, out);
  if (!has_gradients) return 0;

  const Bytes d_out = read(from, queries * h.value_dim, 4);
  const auto room = [&](int64_t length, int64_t dim) { return Bytes(h.batch * h.heads * length * blocks_of(dim, CHUNK) * CHUNK * 4); };
  Bytes d_q = room(h.q_len, h.head_dim), d_k = room(h.kv_len, h.head_dim), d_v = room(h.kv_len, h.value_dim);
  Bytes d_slopes(h.batch * h.heads * 4);
  BackwardCall backward{call, (const float*)d_out.data(), nullptr, (float*)d_q.data(), (float*)d_k.data(), (float*)d_v.data(),
                        (float*)d_slopes.data(), call.out_strides, h.kv_len};
  gradients_in_float32(&backward);
  for (const Bytes* part : {&d_q, &d_k, &d_v, &d_slopes}) write(to, *part);
  return fclose(to);
}
