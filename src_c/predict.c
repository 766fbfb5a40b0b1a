/* The forward pass of many rows, for their outputs, their loss or both, shared out among a team of threads. */
#include "objective.h"

#include <stddef.h>

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* A stretch of rows, which the threads take piece by piece: one that comes late, or is held up, leaves more to the
 * others. */
typedef struct {
    fastnn_prediction *prediction;
    int64_t first, rows, piece;
    int64_t next; /* the first piece that nobody has */
} stretch;

static void predict_rows(void *context, fastnn_team *team, int64_t thread) {
    stretch *s = context;
    fastnn_prediction *p = s->prediction;
    (void)team;
    for (int64_t first; (first = fastnn_team_claim(&s->next) * s->piece) < s->rows;) {
        const int64_t from = s->first + first, to = s->first + smaller(s->rows, first + s->piece);
        char *const output = p->output ? p->output + from * p->output_row_bytes : NULL;
        double *const row_losses = p->row_losses ? p->row_losses + first : NULL;
        if (!p->kernels->network_forward(p->network, p->parameters, &p->data, from, to, output, row_losses, p->checks,
                                         p->scratch + thread * p->scratch_bytes))
            fastnn_team_claim(&p->not_finite);
    }
}

/* Some pieces for each thread, of whole panels, and not much smaller than the groups that go through the network
 * together. */
static int64_t piece_rows(int64_t rows, int64_t threads) {
    enum { MOST = 256, PIECES = 4 };
    if (threads == 1) return rows;
    const int64_t even = (rows / (PIECES * threads) + FASTNN_ROWS_UNIT - 1) / FASTNN_ROWS_UNIT * FASTNN_ROWS_UNIT;
    return even < FASTNN_ROWS_UNIT ? FASTNN_ROWS_UNIT : smaller(even, MOST);
}

/* How many rows go between two looks at the clock: some milliseconds' work. A multiple of the lanes of the losses'
 * sum. */
static int64_t stretch_rows(const fastnn_network *network) {
    const int64_t rows = (1 << 28) / network->n_parameters / 256 * 256;
    return rows < 256 ? 256 : smaller(rows, FASTNN_PREDICTION_ROWS);
}

int fastnn_predict(fastnn_prediction *p, double seconds) {
    const double end = fastnn_seconds() + seconds;
    if (p->position == 0)
        for (int i = 0; i < FASTNN_LOSS_LANES; i++) p->losses[i] = 0;
    while (p->position < p->data.rows) {
        const int64_t rows = smaller(p->data.rows - p->position, stretch_rows(p->network));
        stretch s = {p, p->position, rows, piece_rows(rows, fastnn_team_size(p->team)), 0};
        fastnn_team_share(p->team, predict_rows, &s);
        if (p->row_losses) add_losses(p->losses, p->row_losses, p->position, s.rows);
        p->position += s.rows;
        if (p->position < p->data.rows && fastnn_seconds() >= end) return 0;
    }
    if (p->row_losses) {
        const double weight = weight_sum(&p->data), l2 = penalty_factor(p->network, &p->data, weight);
        p->loss = total(p->losses) * loss_scale(p->network, weight);
        if (l2 != 0) p->loss += 0.5 * l2 * p->kernels->network_penalty(p->network, p->parameters, NULL, l2);
    }
    return 1;
}
