/* Polynomials whose coefficients stand in an array. */
#ifndef FASTNN_KERNELS_POLYNOMIAL_H
#define FASTNN_KERNELS_POLYNOMIAL_H

/* c[0] + c[1] x + ... + c[n - 1] x^(n - 1), n >= 2: the even and the odd powers each by Horner's scheme, which halves
 * the latency. */
INLINE vec polynomial(const real *c, int n, vec x) {
    const vec square = v_mul(x, x);
    vec last = v_set1(c[n - 1]), other = v_set1(c[n - 2]);
    UNROLL
    for (int i = n - 3; i >= 0; i--) {
        const vec next = v_fma(last, square, v_set1(c[i]));
        last = other;
        other = next;
    }
    return v_fma(last, x, other);
}

#endif
