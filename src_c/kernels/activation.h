/* The activations of a layer, and what they do to the errors on their way back. */
#ifndef FASTNN_KERNELS_ACTIVATION_H
#define FASTNN_KERNELS_ACTIVATION_H

#define LEAKY_RELU_SLOPE ((real)0.01)

INLINE vec v_relu(vec z) { return v_max(v_zero(), z); }

INLINE vec v_leaky_relu(vec z) { return v_max(v_mul(v_set1(LEAKY_RELU_SLOPE), z), z); }

/* What v_expm1 makes of a large z is not taken. */
INLINE vec v_elu(vec z) { return v_select(v_less(v_zero(), z), z, v_expm1(z)); }

/* delta f'(z), given a = f(z). The third argument is none's. */
INLINE vec v_sigmoid_backward(vec delta, vec a, vec unused) {
    (void)unused;
    return v_mul(delta, v_sigmoid_derivative(a));
}

INLINE vec v_tanh_backward(vec delta, vec a, vec unused) {
    (void)unused;
    return v_mul(delta, v_fnma(a, a, v_set1(1)));
}

INLINE vec v_relu_backward(vec delta, vec a, vec unused) {
    (void)unused;
    return v_select(v_less(v_zero(), a), delta, v_zero());
}

INLINE vec v_leaky_relu_backward(vec delta, vec a, vec unused) {
    (void)unused;
    return v_select(v_less(v_zero(), a), delta, v_mul(delta, v_set1(LEAKY_RELU_SLOPE)));
}

/* a + 1 is e^z for z <= 0. */
INLINE vec v_elu_backward(vec delta, vec a, vec one) { return v_mul(delta, v_min(one, v_add(a, one))); }

/* 1 - e^-a, a > 0: all of a small a is kept. */
INLINE vec v_softplus_backward(vec delta, vec a, vec zero) {
    return v_mul(delta, v_sub(zero, v_expm1(v_negative_abs(a))));
}

INLINE vec v_product(vec delta, vec slope, vec unused) {
    (void)unused;
    return v_mul(delta, slope);
}

/* a = f(z), with the derivative in slope unless that is NULL. */
INLINE void map_slopes(real *a, real *slope, const real *z, int64_t n, vec (*f)(vec, vec *)) {
    int64_t i = 0;
    vec derivative;
    for (; i + VLEN <= n; i += VLEN) {
        v_store(a + i, f(v_load(z + i), &derivative));
        if (slope != NULL) v_store(slope + i, derivative);
    }
    if (i < n) {
        const vpart rest = v_first(n - i);
        v_store_part(a + i, rest, f(v_load_part(z + i, rest), &derivative));
        if (slope != NULL) v_store_part(slope + i, rest, derivative);
    }
}

static void activation_forward(int activation, void *a, void *slope, const void *z, int64_t n) {
    switch (activation) {
    case FASTNN_IDENTITY:
        if (a != z) memcpy(a, z, (size_t)n * sizeof(real));
        break;
    case FASTNN_SIGMOID:
        map_elements(a, z, n, v_sigmoid);
        break;
    case FASTNN_TANH:
        map_elements(a, z, n, v_tanh);
        break;
    case FASTNN_RELU:
        map_elements(a, z, n, v_relu);
        break;
    case FASTNN_LEAKY_RELU:
        map_elements(a, z, n, v_leaky_relu);
        break;
    case FASTNN_ELU:
        map_elements(a, z, n, v_elu);
        break;
    case FASTNN_SOFTPLUS:
        map_elements(a, z, n, v_softplus);
        break;
    case FASTNN_GELU:
        map_slopes(a, slope, z, n, v_gelu);
        break;
    case FASTNN_SILU:
        map_slopes(a, slope, z, n, v_silu);
        break;
    case FASTNN_SIN:
        map_slopes(a, slope, z, n, v_sin_cos);
        break;
    case FASTNN_EXP:
        map_elements(a, z, n, v_exp);
        break;
    }
}

static void activation_backward(int activation, void *delta, const void *a, const void *slope, int64_t n) {
    const vec zero = v_zero(), one = v_set1(1);
    switch (activation) {
    case FASTNN_SIGMOID:
        map_pairs(delta, delta, a, zero, n, v_sigmoid_backward);
        break;
    case FASTNN_TANH:
        map_pairs(delta, delta, a, zero, n, v_tanh_backward);
        break;
    case FASTNN_RELU:
        map_pairs(delta, delta, a, zero, n, v_relu_backward);
        break;
    case FASTNN_LEAKY_RELU:
        map_pairs(delta, delta, a, zero, n, v_leaky_relu_backward);
        break;
    case FASTNN_ELU:
        map_pairs(delta, delta, a, one, n, v_elu_backward);
        break;
    case FASTNN_SOFTPLUS:
        map_pairs(delta, delta, a, zero, n, v_softplus_backward);
        break;
    case FASTNN_EXP:
        map_pairs(delta, delta, a, zero, n, v_product);
        break;
    case FASTNN_GELU:
    case FASTNN_SILU:
    case FASTNN_SIN:
        map_pairs(delta, delta, slope, zero, n, v_product);
        break;
    }
}

#endif
