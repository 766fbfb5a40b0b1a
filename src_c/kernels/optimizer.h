/* The optimizers: one sweep over a stretch of the parameters, its gradient and the state.
 *
 *     sgd       v = momentum v + c g                     w -= r v, or for Nesterov's r (c g + momentum v)
 *     rmsprop   s = beta_2 s + (sqrt(1 - beta_2) g)^2    w -= rate g / (sqrt(s) + epsilon)
 *     adam      m = beta_1 m + (1 - beta_1) g            w -= rate weight_decay w
 *               s = beta_2 s + (sqrt(1 - beta_2) g)^2    w -= rate / c_1 m / (sqrt(s) / sqrt(c_2) + epsilon)
 *
 * with c_i = 1 - beta_i^t (Sutskever et al. 2013; Tieleman and Hinton 2012; Kingma and Ba 2015; Loshchilov and Hutter
 * 2019; the variants are PyTorch's). `first` holds v or m, `second` s.
 *
 * sgd's c and r are 1 and rate, or the other way round with rate_in_velocity, which differs where the rate changes.
 * With epsilon_hat adam divides by sqrt(s / c_2) + epsilon / sqrt(c_2), the last form in Kingma and Ba's section 2.
 * TensorFlow and scikit-learn have these two. */
#ifndef FASTNN_KERNELS_OPTIMIZER_H
#define FASTNN_KERNELS_OPTIMIZER_H

/* The constants of one sweep, broadcast. */
typedef struct {
    vec l2, scale, rate, decay, beta_1, rest_1, beta_2, root_2, root, epsilon;
} sweep;

static sweep sweep_of(const fastnn_update *u) {
    const int adam = u->optimizer == FASTNN_ADAM;
    const int in_velocity = u->rate_in_velocity && (u->optimizer == FASTNN_MOMENTUM || u->optimizer == FASTNN_NESTEROV);
    const double root = adam ? sqrt(1 - u->beta_2_power) : 1;
    double rate = adam ? u->learning_rate / (1 - u->beta_1_power) : in_velocity ? 1 : u->learning_rate;
    if (adam && u->epsilon_hat) rate *= root;
    return (sweep){.l2 = v_set1((real)u->l2),
                   .scale = v_set1((real)u->gradient_scale),
                   .rate = v_set1((real)rate),
                   .decay = v_set1((real)(u->learning_rate * u->weight_decay)),
                   .beta_1 = v_set1((real)u->beta_1),
                   .rest_1 = v_set1((real)(adam          ? 1 - u->beta_1
                                           : in_velocity ? u->learning_rate
                                                         : 1)),
                   .beta_2 = v_set1((real)u->beta_2),
                   .root_2 = v_set1((real)sqrt(1 - u->beta_2)),
                   .root = v_set1((real)(u->epsilon_hat ? 1 : 1 / root)),
                   .epsilon = v_set1((real)u->epsilon)};
}

typedef struct {
    vec w, first, second;
} parameter;

/* What a sweep does besides: a full one scales the gradient and flushes, a penalized one adds l2 w to the gradient. */
typedef struct {
    int is_full, penalized;
} sweep_kind;

INLINE vec sweep_gradient(const sweep *c, vec w, vec g, const sweep_kind kind) {
    if (kind.penalized) g = v_fma(c->l2, w, g);
    return kind.is_full ? v_mul(c->scale, g) : g;
}

/* 0 instead of a subnormal number, given its size too. The moments of a unit that no longer learns shrink to such and,
 * rounded to nearest, stay there, where each operation takes some processors a hundred cycles. */
INLINE vec v_flushed(vec a, vec size) { return v_select(v_less(size, v_set1(SMALLEST_NORMAL)), v_zero(), a); }

INLINE vec first_moment(const sweep *c, vec first, vec part, const int flushes) {
    first = v_fma(c->beta_1, first, part);
    return flushes ? v_flushed(first, v_abs(first)) : first;
}

/* The square is not rounded by itself: that of a small gradient would be subnormal, and slow. */
INLINE vec second_moment(const sweep *c, vec second, vec g, const int flushes) {
    const vec part = v_mul(c->root_2, g);
    second = v_fma(part, part, v_mul(c->beta_2, second));
    return flushes ? v_flushed(second, second) : second;
}

INLINE parameter sgd(const sweep *c, parameter p, vec g, const int flushes) {
    (void)flushes;
    p.w = v_fnma(c->rate, g, p.w);
    return p;
}

INLINE parameter momentum(const sweep *c, parameter p, vec g, const int flushes) {
    p.first = first_moment(c, p.first, v_mul(c->rest_1, g), flushes);
    p.w = v_fnma(c->rate, p.first, p.w);
    return p;
}

INLINE parameter nesterov(const sweep *c, parameter p, vec g, const int flushes) {
    const vec part = v_mul(c->rest_1, g);
    p.first = first_moment(c, p.first, part, flushes);
    p.w = v_fnma(c->rate, v_fma(c->beta_1, p.first, part), p.w);
    return p;
}

INLINE parameter rmsprop(const sweep *c, parameter p, vec g, const int flushes) {
    p.second = second_moment(c, p.second, g, flushes);
    p.w = v_fnma(c->rate, v_div(g, v_add(v_sqrt(p.second), c->epsilon)), p.w);
    return p;
}

INLINE parameter adam(const sweep *c, parameter p, vec g, const int flushes) {
    p.first = first_moment(c, p.first, v_mul(c->rest_1, g), flushes);
    p.second = second_moment(c, p.second, g, flushes);
    p.w = v_fnma(c->rate, v_div(p.first, v_fma(v_sqrt(p.second), c->root, c->epsilon)), p.w);
    return p;
}

INLINE parameter adamw(const sweep *c, parameter p, vec g, const int flushes) {
    p.w = v_fnma(c->decay, p.w, p.w);
    return adam(c, p, g, flushes);
}

/* A vector of parameters, or with `partial` the first lanes of one. A missing state is neither read nor written. */
INLINE void sweep_vector(const fastnn_update *u, const sweep *c, int64_t i, const sweep_kind kind, const int has_first,
                         const int has_second, parameter (*step)(const sweep *, parameter, vec, const int), vpart part,
                         const int partial) {
    real *const w = u->parameters, *const first = u->first, *const second = u->second;
    const real *const gradient = u->gradient;
    parameter p = {load_lanes(w + i, part, partial), v_zero(), v_zero()};
    if (has_first) p.first = load_lanes(first + i, part, partial);
    if (has_second) p.second = load_lanes(second + i, part, partial);
    const vec g = load_lanes(gradient + (i - u->gradient_from), part, partial);
    p = step(c, p, sweep_gradient(c, p.w, g, kind), kind.is_full);
    store_lanes(w + i, part, p.w, partial);
    if (has_first) store_lanes(first + i, part, p.first, partial);
    if (has_second) store_lanes(second + i, part, p.second, partial);
}

/* Parameters from `from` to `to`: whole vectors do not cross cache lines if parameter 0 begins one. */
INLINE void sweep_range(const fastnn_update *update, const sweep *constants, int64_t from, int64_t to,
                        const sweep_kind kind, const int has_first, const int has_second,
                        parameter (*step)(const sweep *, parameter, vec, const int)) {
    const fastnn_update here = *update, *const u = &here; /* which no store can change */
    const sweep c = *constants;
    const int64_t whole = smaller(to, (from + VLEN - 1) / VLEN * VLEN);
    int64_t i = whole;
    if (from < whole) sweep_vector(u, &c, from, kind, has_first, has_second, step, v_first(whole - from), 1);
    for (; i + VLEN <= to; i += VLEN) sweep_vector(u, &c, i, kind, has_first, has_second, step, v_first(VLEN), 0);
    if (i < to) sweep_vector(u, &c, i, kind, has_first, has_second, step, v_first(to - i), 1);
}

INLINE void sweep_parameters(const fastnn_update *u, const sweep *c, int64_t from, int64_t to, const sweep_kind kind) {
    switch (u->optimizer) {
    case FASTNN_SGD:
        sweep_range(u, c, from, to, kind, 0, 0, sgd);
        break;
    case FASTNN_MOMENTUM:
        sweep_range(u, c, from, to, kind, 1, 0, momentum);
        break;
    case FASTNN_NESTEROV:
        sweep_range(u, c, from, to, kind, 1, 0, nesterov);
        break;
    case FASTNN_RMSPROP:
        sweep_range(u, c, from, to, kind, 0, 1, rmsprop);
        break;
    case FASTNN_ADAM:
        if (u->weight_decay == 0)
            sweep_range(u, c, from, to, kind, 1, 1, adam);
        else
            sweep_range(u, c, from, to, kind, 1, 1, adamw);
        break;
    }
}

/* Parameters from `from` to `to`, which are all weights or, unpenalized, biases too. */
static void update_parameters(const fastnn_update *u, const sweep *c, int64_t from, int64_t to, int penalized) {
    const int is_full = u->gradient_scale != 1 || u->flushes;
    if (is_full && penalized)
        sweep_parameters(u, c, from, to, (sweep_kind){1, 1});
    else if (is_full)
        sweep_parameters(u, c, from, to, (sweep_kind){1, 0});
    else if (penalized)
        sweep_parameters(u, c, from, to, (sweep_kind){0, 1});
    else
        sweep_parameters(u, c, from, to, (sweep_kind){0, 0});
}

#endif
