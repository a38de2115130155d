/* Activations and their derivatives, on vectors. */

#ifndef LATHE_ACTIVATIONS
#define LATHE_ACTIVATIONS

#include "vectors.h"

enum { GELU, GELU_TANH, RELU }; /* as ACTIVATIONS in operations.py */

static inline floats either(words mask, floats yes, floats no) {
    return (floats)(((words)yes & mask) | ((words)no & ~mask));
}

/* The share of x that an activation lets through; slope: the derivative of that share, times x. */
static inline floats share_of(int kind, floats x, floats *slope) {
    words negative = (words)(x < 0);
    if (kind == RELU) {
        *slope = (floats){0};
        return either((words)(x <= 0), (floats){0}, either((words)(x == x), (floats){0} + 1.0f, x)); /* NaN stays NaN */
    }
    if (kind == GELU_TANH) { /* the logistic function of 2u, u = sqrt(2 / pi) (x + 0.044715 x^3) */
        const float first = 1.5957691216f, third = first * 0.044715f; /* 2 sqrt(2 / pi) */
        floats square = x * x, twice_u = x * (first + third * square);
        floats small = exponential((floats)((words)twice_u | 0x80000000u)); /* exp(-|2u|) */
        floats near_one = 1.0f / (1.0f + small);
        floats share = either(negative, small * near_one, near_one);
        *slope = x * share * (1.0f - share) * (first + 3.0f * third * square);
        return share;
    }
    /* The normal distribution's Phi(-|x|) = exp(-x^2 / 2) s P(s), s = 1 / (1 + 0.3 |x|): P is fitted to a relative error of
       1.3e-7 for |x| < 13; beyond, Phi(-|x|) is below the least float32. */
    floats s = 1.0f / (1.0f + 0.3f * (floats)((words)x & 0x7fffffffu));
    floats small = exponential(-0.5f * x * x);
    floats p = 0.119625166f + s * (0.120816879f + s * (0.0995231271f + s * (0.12984319f + s * (-0.0560954213f
               + s * (0.20896405f + s * (-0.158713266f + s * 0.0360362157f))))));
    floats tail = small * s * p;
    *slope = x * small * 0.39894228f; /* 1 / sqrt(2 pi) */
    return either(negative, tail, 1.0f - tail);
}

/* GELU's share and derivative for bfloat16: 1/2 + x P(x^2) within +-4.4, then 0 and 1; their errors, 5e-5 and 2e-4, are below
   a tenth of what rounding the result to bfloat16 takes away. At a third of the price. */
static const float SHARE[] = {0.3987616f, -0.0660764277f, 0.0096430257f, -0.00105499197f, 8.42929294e-05f,
                              -4.72486045e-06f, 1.74084335e-07f, -3.75403797e-09f, 3.56941629e-11f};
static const float SLOPE[] = {0.797046721f, -0.263075739f, 0.0568945222f, -0.00809867028f, 0.000778944348f,
                              -4.99208581e-05f, 2.03024501e-06f, -4.71600679e-08f, 4.74724093e-10f};

static inline floats by_polynomial(const float *p, floats x) {
    floats square = x * x, sum = {0};
    for (int i = 8; i >= 0; i--) sum = sum * square + p[i];
    sum = either((words)(x > 4.4f), (floats){0} + 1.0f, 0.5f + x * sum);
    return chosen(sum, ~(words)(x < -4.4f));
}

static INLINED floats activated(int kind, floats x, int half) {
    if (kind == RELU) return chosen(x, ~(words)(x <= 0));
    floats slope;
    return x * (half && kind == GELU ? by_polynomial(SHARE, x) : share_of(kind, x, &slope));
}

static INLINED floats derivative(int kind, floats x, int half) {
    if (half && kind == GELU) return by_polynomial(SLOPE, x);
    floats slope, share = share_of(kind, x, &slope);
    return share + slope;
}

/* f(..., half, kind) with both known where f is inlined. */
#define WITH_KIND(f, half, kind, ...) \
    do { \
        if (kind == GELU) half ? f(__VA_ARGS__, 1, GELU) : f(__VA_ARGS__, 0, GELU); \
        else if (kind == GELU_TANH) half ? f(__VA_ARGS__, 1, GELU_TANH) : f(__VA_ARGS__, 0, GELU_TANH); \
        else half ? f(__VA_ARGS__, 1, RELU) : f(__VA_ARGS__, 0, RELU); \
    } while (0)

#endif
