/* The three products of a linear layer in bfloat16, on processors that multiply it: by a matrix unit or by vectors.

   With x[M, K] and dy[M, N] bfloat16 and the weight W[N, K] in either:  y = x W' + b,  dx = dy W,  dW = dy' x.
   Sums are float32. Each thread first brings its part of both sides into blocks (unit.h), a float32 weight rounded to
   bfloat16, so that memory is read line after line; a panel is 32 columns of the right side. N and K are multiples of
   32, M is any number. Every result is summed by one thread, in one order. Numbers below 2^-126 are taken for 0. */

#include "unit.h"

#include <stdlib.h>

#ifdef UNIT

#include <omp.h>

#define NEAR (1 << 20) /* bytes of a packed side that stay in the second cache */
#define DEEP 10 /* blocks that are summed over at a time: twice 20 KiB stay in the first cache */
#define AHEAD 128 /* numbers of a line that are asked for before they are needed */

/* 16 lines of 16 words become columns. */
static inline void turn(__m512i r[16]) {
    __m512i t[16];
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int j = 0; j < 4; j++) {
        t[j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);
        t[4 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
        t[8 + j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
        t[12 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
    }
    for (int j = 0; j < 4; j++) {
        r[j] = _mm512_shuffle_i32x4(t[j], t[4 + j], 0x88);
        r[8 + j] = _mm512_shuffle_i32x4(t[j], t[4 + j], 0xdd);
        r[4 + j] = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0x88);
        r[12 + j] = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0xdd);
    }
}

/* 32 numbers in bfloat16. */
static inline __m512i rounded(const void *from, int64_t at, int64_t half) {
    if (half) return _mm512_loadu_si512((const uint16_t *)from + at);
    const float *low = (const float *)from + at;
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(low + 16), _mm512_loadu_ps(low));
}

/* Right side from 32 lines of a weight [columns, depth], one panel: to[depth / 32][2][16 pairs][16 columns]. */
static void pack_lines(char *to, const void *from, int64_t at, int64_t line, int64_t half, int64_t depth) {
    for (int64_t k = 0; k < depth; k += EDGE)
        for (int side = 0; side < 2; side++, to += TILE) {
            __m512i r[16];
            for (int i = 0; i < 16; i++) {
                int64_t place = at + (16 * side + i) * line + k;
                __builtin_prefetch((const char *)from + (place + AHEAD) * (half ? 2 : 4));
                if (!half) __builtin_prefetch((const float *)from + place + AHEAD + 16);
                r[i] = rounded(from, place, half);
            }
            turn(r);
            for (int i = 0; i < 16; i++) _mm512_store_si512(to + 64 * i, r[i]);
        }
}

static const uint16_t PAIRS[2][32] __attribute__((aligned(64))) = {
    {0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39,
     8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47},
    {16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55,
     24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63}};

static inline void put_pairs(char *to, __m512i even, __m512i odd) {
    for (int side = 0; side < 2; side++)
        _mm512_store_si512(to + side * TILE, _mm512_permutex2var_epi16(even, _mm512_load_si512(PAIRS[side]), odd));
}

/* Right side from 32 lines of a weight [depth, columns]: their part in each panel, panels `panel` bytes apart. */
static void pack_columns(char *to, int64_t panel, const void *from, int64_t at, int64_t line, int64_t half,
                         int64_t columns) {
    for (int i = 0; i < 16; i++, at += 2 * line)
        for (int64_t k = 0; k < columns; k += EDGE)
            put_pairs(to + k / EDGE * panel + 64 * i, rounded(from, at + k, half), rounded(from, at + line + k, half));
}

static inline __m512i line_or_none(const uint16_t *from, int64_t line, int64_t i, int64_t rows) {
    return i < rows ? _mm512_loadu_si512(from + i * line) : _mm512_setzero_si512();
}

/* Right side of dW: of at most 32 lines of x their part in each panel, panels `panel` bytes apart; lines that lack are
   0. */
static void pack_inputs(char *to, int64_t panel, const uint16_t *x, int64_t line, int64_t rows, int64_t inputs) {
    for (int64_t k = 0; k < inputs; k += EDGE, x += EDGE, to += panel)
        for (int i = 0; i < 16; i++)
            put_pairs(to + 64 * i, line_or_none(x, line, 2 * i, rows), line_or_none(x, line, 2 * i + 1, rows));
}

/* Left side of dW: as `pack_inputs`, of dy, but turned: in each panel [2][16 outputs][32 lines]. What each column sums
   to is added to `sums`, where there are any. */
static void pack_gradient(char *to, int64_t panel, const uint16_t *dy, int64_t line, int64_t rows, int64_t outputs,
                          float *sums) {
    for (int64_t n = 0; n < outputs; n += EDGE, dy += EDGE, to += panel) {
        __m512i r[2][16];
        for (int i = 0; i < 16; i++) {
            __m512i even = line_or_none(dy, line, 2 * i, rows), odd = line_or_none(dy, line, 2 * i + 1, rows);
            r[0][i] = _mm512_unpacklo_epi16(even, odd); /* columns 0-3, 8-11, 16-19, 24-27 */
            r[1][i] = _mm512_unpackhi_epi16(even, odd);
        }
        for (int half = 0; half < 2; half++) {
            __m512 sum = _mm512_setzero_ps();
            for (int i = 0; sums && i < 16; i++) {
                sum = _mm512_add_ps(sum, (__m512)_mm512_slli_epi32(r[half][i], 16));
                sum = _mm512_add_ps(sum, (__m512)_mm512_and_si512(r[half][i], _mm512_set1_epi32((int)0xffff0000)));
            }
            for (int i = 0; sums && i < 16; i++) sums[n + 8 * (i / 4) + 4 * half + i % 4] += sum[i];
            turn(r[half]);
            for (int i = 0; i < 16; i++) _mm512_store_si512(to + 64 * (8 * (i / 4) + 4 * half + i % 4), r[half][i]);
        }
    }
}

/* Left side of y and dx: 32 lines, to[depth / 32][2][16 lines][32 numbers]; lines that lack are 0. */
static void pack_left(char *to, const uint16_t *from, int64_t line, int64_t rows, int64_t depth) {
    for (int64_t k = 0; k < depth; k += EDGE, from += EDGE)
        for (int i = 0; i < EDGE; i++, to += 64) _mm512_store_si512(to, line_or_none(from, line, i, rows));
}

static const float NOTHING[EDGE] __attribute__((aligned(64)));

/* Memory that the calling thread keeps, at most some MiB: fresh memory is dear. */
static char *kept_space(int64_t bytes) {
    static _Thread_local char *space;
    static _Thread_local int64_t size;
    if (bytes > size) {
        free(space);
        size = (bytes + 4095) / 4096 * 4096;
        space = aligned_alloc(4096, size);
    }
    return space;
}

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t shares(int64_t a, int64_t b) { return (a + b - 1) / b; }

typedef struct {
    const uint16_t *left; /* [rows, depth] */
    const void *weight; /* [columns, depth], or [depth, columns] where `turned` */
    const float *bias; /* [columns] or none */
    const uint16_t *more; /* as `out`, or none: is added */
    void *out; /* [rows, columns] */
    int64_t left_line, weight_line, more_line, out_line; /* numbers from one line to the next */
    int64_t rows, columns, depth;
    int64_t turned, half_weight, half_out; /* half: in bfloat16, otherwise in float32 */
} product;

static void pack_weight(char *to, const product *p, int64_t column, int64_t columns) {
    int64_t panel = 2 * EDGE * p->depth, line = p->weight_line;
    if (p->turned)
        for (int64_t k = 0; k < p->depth; k += EDGE)
            pack_columns(to + k / EDGE * BLOCK, panel, p->weight, k * line + column, line, p->half_weight, columns);
    else
        for (int64_t i = 0; i < columns; i += EDGE)
            pack_lines(to + i / EDGE * panel, p->weight, (column + i) * line, line, p->half_weight, p->depth);
}

static void write_block(const product *p, int64_t row, int64_t column, const float *c) {
    int64_t rows = least(EDGE, p->rows - row);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < EDGE; j += LANES) {
            floats x = loaded(c + i * EDGE + j);
            int64_t at = (row + i) * p->out_line + column + j;
            if (p->more) x += widened(p->more + (row + i) * p->more_line + column + j);
            if (p->half_out)
                _mm256_storeu_si256((__m256i *)((uint16_t *)p->out + at), (__m256i)_mm512_cvtneps_pbh((__m512)x));
            else stored((float *)p->out + at, x);
        }
}

/* Panels first .. last of the columns for lines from .. to. A block of the result is written while the unit works on
   the next one. */
static void multiply_part(const product *p, int64_t first, int64_t last, int64_t from, int64_t to) {
    int64_t panel = 2 * EDGE * p->depth, group = most(1, least(last - first, NEAR / panel)), blocks = p->depth / EDGE;
    int64_t deep = shares(blocks, shares(blocks, DEEP)), done_row = 0, done_column = 0;
    char *right = kept_space((group + 1) * panel + 4 * group * EDGE * EDGE), *left = right + group * panel;
    float *results = (float *)(left + panel), *done = NULL;
    for (; first < last; first += group) {
        int64_t count = least(group, last - first);
        pack_weight(right, p, first * EDGE, count * EDGE);
        for (int64_t row = from; row < to; row += EDGE) {
            pack_left(left, p->left + row * p->left_line, p->left_line, p->rows - row, p->depth);
            for (int64_t k = 0; k < blocks; k += deep)
                for (int64_t i = 0; i < count; i++) {
                    float *c = results + i * EDGE * EDGE;
                    int64_t column = (first + i) * EDGE;
                    const float *from = k ? c : p->bias ? p->bias + column : NOTHING;
                    sum s = {c, from, 4 * EDGE, k ? 4 * EDGE : 0, left + k * BLOCK, right + i * panel + k * BLOCK,
                             least(deep, blocks - k)};
                    start(&s);
                    if (done) write_block(p, done_row, done_column, done);
                    finish(&s);
                    done = k + deep >= blocks ? c : NULL, done_row = row, done_column = column;
                }
        }
    }
    if (done) write_block(p, done_row, done_column, done);
}

/* out = left times the weight, plus the bias, plus more. */
void product_by_weight(const product *p) {
    int64_t panels = p->columns / EDGE, blocks = shares(p->rows, EDGE);
#pragma omp parallel
    {
        int64_t threads = omp_get_num_threads(), across = most(1, least(threads, panels / 3));
        int64_t down = least(blocks, shares(threads, across));
        open_unit();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < across * down; i++) {
            int64_t a = i % across, d = i / across;
            multiply_part(p, a * panels / across, (a + 1) * panels / across, d * blocks / down * EDGE,
                          (d + 1) * blocks / down * EDGE);
        }
        close_unit();
    }
}

typedef struct {
    const uint16_t *dy, *x; /* [rows, outputs], [rows, inputs] */
    float *dw, *sums; /* [outputs, inputs]; [outputs] or none: what the columns of dy sum to */
    int64_t dy_line, x_line; /* numbers from one line to the next */
    int64_t rows, outputs, inputs;
} gradient;

/* Panels from_n .. to_n of the outputs by panels from_k .. to_k of the inputs. */
static void weight_part(const gradient *g, int64_t from_n, int64_t to_n, int64_t from_k, int64_t to_k) {
    int64_t blocks = shares(g->rows, EDGE), area = 4 * (to_n - from_n) * (to_k - from_k) * EDGE * EDGE;
    int64_t deep = area > 2 * NEAR ? 2 * DEEP : DEEP; /* where the result is far, it is not fetched so often */
    deep = shares(blocks, shares(blocks, deep));
    int64_t panel = deep * BLOCK, tall = least(to_n - from_n, NEAR / panel), wide = least(to_k - from_k, NEAR / panel);
    int64_t line = 4 * g->inputs;
    char *left = kept_space((tall + wide) * panel), *right = left + tall * panel;
    for (int64_t n = from_n; n < to_n; n += tall)
        for (int64_t k = from_k; k < to_k; k += wide)
            for (int64_t m = 0; m < blocks; m += deep) {
                int64_t count = least(deep, blocks - m), ns = least(tall, to_n - n), ks = least(wide, to_k - k);
                for (int64_t i = 0; i < count; i++) {
                    int64_t row = (m + i) * EDGE, rows = g->rows - row;
                    const uint16_t *dy = g->dy + row * g->dy_line + n * EDGE, *x = g->x + row * g->x_line + k * EDGE;
                    float *sums = k || !g->sums ? NULL : g->sums + n * EDGE;
                    pack_gradient(left + i * BLOCK, panel, dy, g->dy_line, rows, ns * EDGE, sums);
                    pack_inputs(right + i * BLOCK, panel, x, g->x_line, rows, ks * EDGE);
                }
                for (int64_t j = 0; j < ks; j++)
                    for (int64_t i = 0; i < ns; i++) {
                        float *c = g->dw + (n + i) * EDGE * g->inputs + (k + j) * EDGE;
                        for (int64_t l = 0; l < EDGE; l++) {
                            __builtin_prefetch(c + l * g->inputs, 1);
                            __builtin_prefetch(c + l * g->inputs + 16, 1);
                        }
                        sum s = {c, m ? c : NOTHING, line, m ? line : 0, left + i * panel, right + j * panel, count};
                        start(&s);
                        finish(&s);
                    }
            }
}

/* dw = dy' x */
void product_for_weight(const gradient *g) {
    int64_t n = g->outputs / EDGE, k = g->inputs / EDGE;
    if (g->sums) memset(g->sums, 0, sizeof(float) * g->outputs);
    if (!g->rows) {
        memset(g->dw, 0, sizeof(float) * g->outputs * g->inputs);
        return;
    }
#pragma omp parallel
    {
        int64_t threads = omp_get_num_threads(), more = most(1, least(threads, most(n, k) / 3));
        int64_t other = least(least(n, k), shares(threads, more));
        int64_t across = k > n ? more : other, down = k > n ? other : more;
        open_unit();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < across * down; i++) {
            int64_t a = i % across, d = i / across;
            weight_part(g, d * n / down, (d + 1) * n / down, a * k / across, (a + 1) * k / across);
        }
        close_unit();
    }
}

/* to: what computes these products (unit.h), 0 where they cannot be asked for in this process. */
void products(int *to) { *to = is_granted() ? UNIT : 0; }

#else

void products(int *to) { *to = 0; }
void product_by_weight(void) {}
void product_for_weight(void) {}

#endif
