/* The objective that training lowers and a prediction may report: the rows' losses, weighted and scaled, and the
 * factor of the penalty. Inline, for a tiny network's step takes not much longer than a few calls. */
#ifndef FASTNN_OBJECTIVE_H
#define FASTNN_OBJECTIVE_H

#include "fastnn.h"

static inline int is_mean_over_outputs(int loss) {
    return loss == FASTNN_MSE || loss == FASTNN_MAE || loss == FASTNN_HUBER || loss == FASTNN_QUANTILE ||
           loss == FASTNN_POISSON;
}

/* Weights are float64. */
static inline double weight_sum(const fastnn_batch *b) {
    double sum = 0;
    if (!b->weights.data) return (double)b->rows;
    for (int64_t i = 0; i < b->rows; i++)
        sum += *(const double *)((const char *)b->weights.data + (b->order ? b->order[i] : i) * b->weights.row_stride);
    return sum;
}

/* What the sum of weighted row losses is multiplied by: the loss that is reported. */
static inline double loss_scale(const fastnn_network *network, double weight) {
    const int64_t k = network->layers[network->n_layers - 1].n_outputs;
    const int halves = network->convention == FASTNN_CONVENTION_SCIKIT_LEARN && network->loss == FASTNN_MSE;
    if (network->loss == FASTNN_SSE) return 1;
    if (weight == 0) return 0;
    return (halves ? 0.5 : 1) / (weight * (is_mean_over_outputs(network->loss) ? (double)k : 1));
}

/* The same for the gradient. */
static inline double gradient_scale(const fastnn_network *network, double weight) {
    if (network->convention != FASTNN_CONVENTION_SCIKIT_LEARN || network->loss == FASTNN_SSE || weight == 0)
        return loss_scale(network, weight);
    return (network->loss == FASTNN_MSE ? 0.5 : 1) / weight;
}

/* The factor of the penalty for a batch of so much weight. */
static inline double penalty_factor(const fastnn_network *network, const fastnn_batch *batch, double weight) {
    if (network->convention != FASTNN_CONVENTION_SCIKIT_LEARN) return network->l2;
    return weight == 0 ? 0 : network->l2 * batch->weight_unit / weight;
}

/* The shape of the sum depends on the rows' places in the batch alone, not on how they come in blocks. */
static inline void add_losses(double *sums, const double *row_losses, int64_t block, int64_t rows) {
    for (int64_t i = 0; i < rows; i++) sums[(block + i) % FASTNN_LOSS_LANES] += row_losses[i];
}

/* What add_losses has added up. */
static inline double total(const double *sums) {
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

#endif
