/* Sums of products of blocks in bfloat16, by what the processor has for it; UNIT says what that is.

   A block of a side is 32 numbers of each of 32 lines (left) or columns (right), in two halves of 16. Left, a half is
   [16 lines][32 numbers]; right, it is [16 pairs][16 columns]: number 2i of a column stands beside number 2i + 1. */

#include "vectors.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__)

#include <immintrin.h>

#define EDGE 32 /* lines and columns of a result that are worked on at a time */
#define TILE 1024 /* bytes of half a block */
#define BLOCK (2 * TILE)

typedef struct {
    float *to; /* [32, 32]: becomes `from` plus the product */
    const float *from;
    int64_t line, from_line; /* bytes from one line to the next, of `from` 0 where all are the same */
    const char *left, *right;
    int64_t blocks; /* that are summed over */
} sum;

#ifdef __AMX_BF16__

#define UNIT 2 /* a matrix unit (AMX): it works while the processor does something else */
#define PERMISSION 0x1023 /* ARCH_REQ_XCOMP_PERM of arch_prctl */
#define TILE_DATA 18 /* the state of the processor that it is asked for */

#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t lines[16];
} SHAPES __attribute__((aligned(64))) = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

static inline int is_granted(void) { return syscall(SYS_arch_prctl, PERMISSION, TILE_DATA) == 0; }
static inline void open_unit(void) { _tile_loadconfig(&SHAPES); }
static inline void close_unit(void) { _tile_release(); }

/* The tiles 0 .. 3 become `from` plus the product; an instruction multiplies two tiles, halves of blocks. */
static inline void start(const sum *s) {
    const char *from = (const char *)s->from, *low = from + 16 * s->from_line, *a = s->left, *b = s->right;
    _tile_loadd(0, from, s->from_line);
    _tile_loadd(1, from + 64, s->from_line);
    _tile_loadd(2, low, s->from_line);
    _tile_loadd(3, low + 64, s->from_line);
    for (int64_t i = 0; i < s->blocks; i++, a += BLOCK, b += BLOCK) {
        _tile_loadd(6, b, 64);
        _tile_loadd(4, a, 64);
        _tile_loadd(5, a + TILE, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + TILE, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
    }
}

static inline void finish(const sum *s) {
    char *to = (char *)s->to, *low = to + 16 * s->line;
    _tile_stored(0, to, s->line);
    _tile_stored(1, to + 64, s->line);
    _tile_stored(2, low, s->line);
    _tile_stored(3, low + 64, s->line);
}

#else

#define UNIT 1 /* vectors (AVX-512 BF16) */
#define LINES 8 /* of a result that are summed in registers, 16 of 32 */

static inline int is_granted(void) { return 1; }
static inline void open_unit(void) {}
static inline void close_unit(void) {}
static inline void start(const sum *s) { (void)s; }

/* Two numbers of a line, for all columns. */
static inline __m512bh pair(const char *from) {
    int32_t both;
    memcpy(&both, from, sizeof both);
    return (__m512bh)_mm512_set1_epi32(both);
}

static inline void finish(const sum *s) {
    for (int i = 0; i < EDGE; i += LINES) {
        const char *from = (const char *)s->from + i * s->from_line, *right = s->right;
        const char *left = s->left + i / 16 * TILE + i % 16 * 64;
        __m512 c[LINES][2];
        for (int l = 0; l < LINES; l++)
            for (int half = 0; half < 2; half++) c[l][half] = _mm512_loadu_ps(from + l * s->from_line + 64 * half);
        for (int64_t block = 0; block < s->blocks; block++, left += BLOCK, right += BLOCK)
            for (int k = 0; k < 16; k++) {
                __m512bh low = (__m512bh)_mm512_load_si512(right + 64 * k);
                __m512bh high = (__m512bh)_mm512_load_si512(right + TILE + 64 * k);
                for (int l = 0; l < LINES; l++) {
                    __m512bh both = pair(left + 64 * l + 4 * k);
                    c[l][0] = _mm512_dpbf16_ps(c[l][0], both, low);
                    c[l][1] = _mm512_dpbf16_ps(c[l][1], both, high);
                }
            }
        for (int l = 0; l < LINES; l++)
            for (int half = 0; half < 2; half++)
                _mm512_storeu_ps((char *)s->to + (i + l) * s->line + 64 * half, c[l][half]);
    }
}

#endif

#endif
