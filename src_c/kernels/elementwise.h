/* Kernels that map each element alone. */
#ifndef FASTNN_KERNELS_ELEMENTWISE_H
#define FASTNN_KERNELS_ELEMENTWISE_H

/* A whole vector, or with `partial` the lanes of `part` alone; `partial` is a constant. */
INLINE vec load_lanes(const real *p, vpart part, const int partial) {
    return partial ? v_load_part(p, part) : v_load(p);
}

INLINE void store_lanes(real *p, vpart part, vec a, const int partial) {
    if (partial)
        v_store_part(p, part, a);
    else
        v_store(p, a);
}

INLINE vec v_sigmoid_derivative(vec a) { return v_mul(a, v_sub(v_set1(1), a)); }

INLINE void map_elements(real *out, const real *x, int64_t n, vec (*f)(vec)) {
    int64_t i = 0;
    for (; i + VLEN <= n; i += VLEN) v_store(out + i, f(v_load(x + i)));
    if (i < n) {
        const vpart rest = v_first(n - i);
        v_store_part(out + i, rest, f(v_load_part(x + i, rest)));
    }
}

/* The same for two inputs and a constant. */
INLINE void map_pairs(real *out, const real *a, const real *b, vec constant, int64_t n, vec (*f)(vec, vec, vec)) {
    int64_t i = 0;
    for (; i + VLEN <= n; i += VLEN) v_store(out + i, f(v_load(a + i), v_load(b + i), constant));
    if (i < n) {
        const vpart rest = v_first(n - i);
        v_store_part(out + i, rest, f(v_load_part(a + i, rest), v_load_part(b + i, rest), constant));
    }
}

/* a + constant b */
INLINE vec v_add_product(vec a, vec b, vec constant) { return v_fma(constant, b, a); }

static void exp_forward(void *out, const void *x, int64_t n) { map_elements(out, x, n, v_exp); }

static void sqrt_forward(void *out, const void *x, int64_t n) { map_elements(out, x, n, v_sqrt); }

static void sigmoid_forward(void *out, const void *x, int64_t n) { map_elements(out, x, n, v_sigmoid); }

static void sigmoid_derivative(void *out, const void *a, int64_t n) { map_elements(out, a, n, v_sigmoid_derivative); }

#endif
