/* Losses of panels: rows in the lanes, one output below the other. Each row's loss is one chain over the outputs, so it
 * depends neither on the width of a vector nor on the rows around it.
 *
 * binary_cross_entropy, cross_entropy and poisson start from the pre-activations z and are fused with their output
 * activation: no logarithm of a rounded probability, no overflow but where the loss itself overflows. */
#ifndef FASTNN_KERNELS_LOSS_H
#define FASTNN_KERNELS_LOSS_H

#if FASTNN_BITS == 32
#define LARGEST 0x1.fffffep+127f
#else
#define LARGEST 0x1.fffffffffffffp+1023
#endif

/* One vector of rows: pointers to its first lane; the next output is `lanes` elements further. */
typedef struct {
    const real *output; /* (k, lanes): the activation, or z for a fused loss */
    const real *target; /* (k, lanes), or (1, lanes) for labels */
    const real *weight; /* (lanes): what each row counts */
    real *delta; /* (k, lanes): weight times the derivative with respect to the activation, or to z for a fused loss */
    real *row_loss; /* (lanes): not multiplied by the weight */
} loss_panel;

/* The loss of one output and, in `slope`, its derivative. */
INLINE vec element_loss(int loss, vec parameter, vec output, vec target, vec *slope) {
    const vec zero = v_zero(), error = v_sub(output, target), size = v_abs(error);
    const vec half = v_set1((real)0.5), negative = v_set1(-1);
    const vec sign = v_select(v_less(zero, error), v_set1(1), v_select(v_less(error, zero), negative, zero));
    switch (loss) {
    case FASTNN_MAE:
        *slope = sign;
        return size;
    case FASTNN_HUBER: {
        const vec inside = v_min(size, parameter);
        *slope = v_mul(sign, inside);
        return v_fma(v_mul(half, inside), inside, v_mul(parameter, v_sub(size, inside)));
    }
    case FASTNN_QUANTILE: {
        /* q (target - output) where the output is too small, (1 - q) (output - target) where it is too large */
        const vec above = v_sub(v_set1(1), parameter), rate = v_select(v_less(error, zero), parameter, above);
        *slope = v_mul(sign, rate);
        return v_mul(size, rate);
    }
    case FASTNN_POISSON:
    case FASTNN_POISSON_DEVIANCE: { /* output is z: e^z - y z, and y log y - y */
        const vec mean = v_exp(output);
        *slope = v_sub(mean, target);
        if (loss == FASTNN_POISSON) return v_fnma(target, output, mean);
        const vec logarithm = v_log(v_select(v_less(zero, target), target, v_set1(1)));
        return v_add(v_fma(target, v_sub(logarithm, output), mean), v_sub(zero, target));
    }
    case FASTNN_BINARY_CROSS_ENTROPY: {
        /* output is z: log(1 + e^z) - y z = log(1 + e^-|z|) + z ([z > 0] - y), which does not cancel for y = 0 or 1 */
        vec p, scale;
        const vec step = v_select(v_less(zero, output), v_set1(1), zero), t = exp_negative_abs(output, &p, &scale);
        *slope = v_sub(v_sigmoid(output), target); /* out of the same t */
        return v_fma(output, v_sub(step, target), log_one_plus(t));
    }
    default: /* sse, mse */
        *slope = v_add(error, error);
        return v_mul(error, error);
    }
}

INLINE void elementwise_loss(int loss, real parameter, const loss_panel *p, int64_t k, int64_t lanes, vpart part,
                             const int partial) {
    const vec weight = load_lanes(p->weight, part, partial);
    vec sum = v_zero();
    for (int64_t j = 0; j < k * lanes; j += lanes) {
        vec slope;
        sum = v_add(sum, element_loss(loss, v_set1(parameter), load_lanes(p->output + j, part, partial),
                                      load_lanes(p->target + j, part, partial), &slope));
        store_lanes(p->delta + j, part, v_mul(weight, slope), partial);
    }
    store_lanes(p->row_loss, part, sum, partial);
}

/* With e_j = e^(z_j - max z) and s = sum of e_j: loss = sum_j y_j (log s - (z_j - max z)),
 * delta_j = e_j / s sum(y) - y_j. */
INLINE void cross_entropy(int labels, const loss_panel *p, int64_t k, int64_t lanes, vpart part, const int partial) {
    const vec weight = load_lanes(p->weight, part, partial), label = load_lanes(p->target, part, partial);
    const vec zero = v_zero(), one = v_set1(1);
    vec largest = load_lanes(p->output, part, partial), sum = zero, loss = zero, whole = zero;
    for (int64_t j = 1; j < k; j++) largest = v_max(load_lanes(p->output + j * lanes, part, partial), largest);
    for (int64_t j = 0; j < k; j++) {
        const vec e = v_exp(v_sub(load_lanes(p->output + j * lanes, part, partial), largest));
        sum = v_add(sum, e);
        store_lanes(p->delta + j * lanes, part, e, partial);
    }
    const vec logarithm = v_log(sum), inverse = v_div(one, sum);
    for (int64_t j = 0; !labels && j < k; j++) whole = v_add(whole, load_lanes(p->target + j * lanes, part, partial));
    if (labels) whole = one;
    const vec scale = v_mul(whole, inverse);
    for (int64_t j = 0; j < k; j++) {
        const vec z = load_lanes(p->output + j * lanes, part, partial), number = v_set1((real)j);
        vec y;
        if (labels)
            y = v_select(v_less(label, number), zero, v_select(v_less(number, label), zero, one));
        else
            y = load_lanes(p->target + j * lanes, part, partial);
        const vec below = v_max(v_set1(-LARGEST), v_sub(z, largest)); /* not infinite, which times 0 is not a number */
        loss = v_fma(y, v_sub(logarithm, below), loss);
        const vec e = load_lanes(p->delta + j * lanes, part, partial);
        store_lanes(p->delta + j * lanes, part, v_mul(weight, v_fma(e, scale, v_sub(zero, y))), partial);
    }
    store_lanes(p->row_loss, part, loss, partial);
}

INLINE void loss_of_lanes(int loss, double parameter, int labels, const loss_panel *p, int64_t k, int64_t lanes,
                          vpart part, const int partial) {
    switch (loss) {
    case FASTNN_CROSS_ENTROPY:
        cross_entropy(labels, p, k, lanes, part, partial);
        break;
#define CASE(name)                                                                                                     \
    case name:                                                                                                         \
        elementwise_loss(name, (real)parameter, p, k, lanes, part, partial);                                           \
        break;
        CASE(FASTNN_SSE)
        CASE(FASTNN_MAE)
        CASE(FASTNN_HUBER)
        CASE(FASTNN_QUANTILE)
        CASE(FASTNN_POISSON)
        CASE(FASTNN_POISSON_DEVIANCE)
        CASE(FASTNN_BINARY_CROSS_ENTROPY)
    case FASTNN_MSE:
#undef CASE
        elementwise_loss(FASTNN_SSE, (real)parameter, p, k, lanes, part, partial);
        break;
    }
}

/* All lanes of a panel. */
static void loss_backward(int loss, double parameter, int labels, loss_panel p, int64_t k, int64_t lanes) {
    if (lanes < VLEN) {
        loss_of_lanes(loss, parameter, labels, &p, k, lanes, v_first(lanes), 1);
        return;
    }
    for (int64_t i = 0; i < lanes; i += VLEN) {
        const loss_panel at = {p.output + i, p.target + i, p.weight + i, p.delta + i, p.row_loss + i};
        loss_of_lanes(loss, parameter, labels, &at, k, lanes, v_first(VLEN), 0);
    }
}

/* p (k, lanes) = softmax(z), in place */
INLINE void softmax_of_lanes(real *z, int64_t k, int64_t lanes, vpart part, const int partial) {
    vec largest = load_lanes(z, part, partial), sum = v_zero();
    for (int64_t j = 1; j < k; j++) largest = v_max(load_lanes(z + j * lanes, part, partial), largest);
    for (int64_t j = 0; j < k; j++) {
        const vec e = v_exp(v_sub(load_lanes(z + j * lanes, part, partial), largest));
        sum = v_add(sum, e);
        store_lanes(z + j * lanes, part, e, partial);
    }
    for (int64_t j = 0; j < k; j++)
        store_lanes(z + j * lanes, part, v_div(load_lanes(z + j * lanes, part, partial), sum), partial);
}

static void softmax_panel(real *z, int64_t k, int64_t lanes) {
    if (lanes < VLEN) {
        softmax_of_lanes(z, k, lanes, v_first(lanes), 1);
        return;
    }
    for (int64_t i = 0; i < lanes; i += VLEN) softmax_of_lanes(z + i, k, lanes, v_first(VLEN), 0);
}

/* Whether the loss's delta is by z, its output activation included. */
static int is_fused(int loss) {
    return loss == FASTNN_POISSON || loss == FASTNN_POISSON_DEVIANCE || loss == FASTNN_BINARY_CROSS_ENTROPY ||
           loss == FASTNN_CROSS_ENTROPY;
}

#endif
