/* The steps of training: the loop over the batches of an epoch, shared out among a team of threads.
 *
 * A step has two phases with the team waiting after each: the rows go forward and back, each thread taking some of
 * them; then each thread adds up the gradient of some of the parameters, over all rows in order, and moves these
 * parameters. So who does what cannot be seen in the result. A batch that does not fit in the workspace does its rows
 * in blocks.
 *
 * Of a large batch on a small network the second phase would wait for the other threads' rows to come from their
 * caches, so there each thread does whole pieces of the batch, gradient and all, and the second phase adds these
 * gradients. */
#include "objective.h"

#include <math.h>
#include <stddef.h>

/* What the threads of a team share, besides the training. */
typedef struct {
    fastnn_training *training;
    double losses[FASTNN_LOSS_LANES];
    double part_losses[FASTNN_PARTS][FASTNN_LOSS_LANES];
    int64_t next_part; /* the first that nobody has */
    double weight; /* the sum of the batch's row weights */
    double penalty;
    double objective;
    double gradient_scale;
    int stops; /* time is up */
} step_state;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* A thread's rows, in whole panels. */
static void share(int64_t rows, int64_t thread, int64_t size, int64_t *first, int64_t *last) {
    const int64_t units = (rows + FASTNN_ROWS_UNIT - 1) / FASTNN_ROWS_UNIT;
    *first = smaller(rows, units * thread / size * FASTNN_ROWS_UNIT);
    *last = smaller(rows, units * (thread + 1) / size * FASTNN_ROWS_UNIT);
}

/* Whether each piece of the gradient can be used at once: nobody needs the whole, and it does not grow from block to
 * block. */
static int moves_at_once(const fastnn_training *t, const fastnn_batch *batch) {
    return t->clip_norm == 0 && batch->rows <= t->block_rows && fastnn_parts(t->network, batch->rows) == 0;
}

/* The gradient of a batch by slices, this thread's one, or with an update, at once, that step. The team waits after the
 * rows of each block. */
static void gradient_by_slices(step_state *s, fastnn_team *team, int64_t thread, const fastnn_batch *batch,
                               const fastnn_update *update) {
    fastnn_training *t = s->training;
    const fastnn_kernels *kernels = t->kernels;
    const int64_t size = fastnn_team_size(team);
    for (int64_t block = 0; block < batch->rows; block += t->block_rows) {
        const int64_t rows = smaller(batch->rows - block, t->block_rows);
        int64_t first, last;
        share(rows, thread, size, &first, &last);
        if (block > 0) fastnn_team_wait(team);
        if (first < last)
            kernels->network_backpropagate(t->network, t->update.parameters, batch, block, rows, first, last,
                                           t->row_losses, t->workspace, t->scratch + thread * t->scratch_bytes);
        fastnn_team_wait(team);
        if (thread == 0) add_losses(s->losses, t->row_losses, block, rows);
        if (update)
            kernels->network_step(t->network, update, batch, thread, size, t->workspace);
        else
            kernels->network_gradient(t->network, t->gradient, batch, block, rows, block > 0, thread, size,
                                      t->workspace);
    }
}

int64_t fastnn_parts(const fastnn_network *network, int64_t rows) {
    enum { MOST_PARAMETERS = 16384 };
    if (rows < 2 * FASTNN_PIECE_ROWS || network->n_parameters > MOST_PARAMETERS) return 0;
    return smaller((rows + FASTNN_PIECE_ROWS - 1) / FASTNN_PIECE_ROWS, FASTNN_PARTS);
}

/* One part of the gradient, and its rows' losses. */
static void add_up_part(step_state *s, int64_t thread, const fastnn_batch *batch, int64_t part) {
    fastnn_training *t = s->training;
    char *const workspace = t->workspace + thread * t->workspace_bytes;
    double *const row_losses = t->row_losses + thread * t->block_rows;
    char *const gradient = (char *)t->parts + part * t->part_stride * (t->kernels->bits / 8);
    int accumulate = 0;
    for (int i = 0; i < FASTNN_LOSS_LANES; i++) s->part_losses[part][i] = 0;
    for (int64_t piece = part * FASTNN_PIECE_ROWS; piece < batch->rows; piece += FASTNN_PARTS * FASTNN_PIECE_ROWS) {
        const int64_t end = smaller(batch->rows, piece + FASTNN_PIECE_ROWS);
        for (int64_t block = piece; block < end; block += t->block_rows, accumulate = 1) {
            const int64_t rows = smaller(end - block, t->block_rows);
            t->kernels->network_backpropagate(t->network, t->update.parameters, batch, block, rows, 0, rows, row_losses,
                                              workspace, t->scratch + thread * t->scratch_bytes);
            add_losses(s->part_losses[part], row_losses, block, rows);
            t->kernels->network_gradient(t->network, gradient, batch, block, rows, accumulate, 0, 1, workspace);
        }
    }
}

static void gradient_by_parts(step_state *s, fastnn_team *team, int64_t thread, const fastnn_batch *batch,
                              int64_t n_parts) {
    fastnn_training *t = s->training;
    for (int64_t part; (part = fastnn_team_claim(&s->next_part)) < n_parts;) add_up_part(s, thread, batch, part);
    fastnn_team_wait(team);
    t->kernels->network_sum_parts(t->network, t->gradient, t->parts, t->part_stride, n_parts, thread,
                                  fastnn_team_size(team));
    if (thread != 0) return;
    s->next_part = 0;
    for (int64_t part = 0; part < n_parts; part++)
        for (int i = 0; i < FASTNN_LOSS_LANES; i++) s->losses[i] += s->part_losses[part][i];
}

/* The gradient of a batch, this thread's slice of it; with an update, where it moves_at_once, that step instead. */
static void batch_gradient(step_state *s, fastnn_team *team, int64_t thread, const fastnn_batch *batch,
                           const fastnn_update *update) {
    const int64_t n_parts = fastnn_parts(s->training->network, batch->rows);
    if (n_parts > 0)
        gradient_by_parts(s, team, thread, batch, n_parts);
    else
        gradient_by_slices(s, team, thread, batch, update);
}

/* The penalty of a batch of so much weight, which is also added to the gradient, unless that is NULL. */
static double penalty(const fastnn_training *t, double weight, void *gradient) {
    const double l2 = penalty_factor(t->network, &t->data, weight);
    return l2 == 0 ? 0 : 0.5 * l2 * t->kernels->network_penalty(t->network, t->update.parameters, gradient, l2);
}

/* The objective, once the row losses are complete. */
static inline void finish_objective(step_state *s) {
    const fastnn_training *t = s->training;
    s->objective = total(s->losses) * loss_scale(t->network, s->weight) + s->penalty;
    for (int i = 0; i < FASTNN_LOSS_LANES; i++) s->losses[i] = 0;
}

static void clip(step_state *s) {
    const fastnn_training *t = s->training;
    const double norm = sqrt(t->kernels->sum_of_squares(t->gradient, t->network->n_parameters));
    s->gradient_scale = !isfinite(norm) ? NAN : norm > t->clip_norm ? t->clip_norm / norm : 1;
}

static fastnn_batch batch_at(const fastnn_training *t, int64_t number) {
    const int64_t first = number * t->batch_size;
    fastnn_batch batch = t->data;
    batch.drops = 1;
    batch.rows = smaller(t->data.rows - first, t->batch_size);
    if (batch.order) {
        batch.order += first;
    } else {
        batch.x = fastnn_table_from(batch.x, first);
        batch.y = fastnn_table_from(batch.y, first);
        if (batch.weights.data) batch.weights = fastnn_table_from(batch.weights, first);
    }
    batch.dropout_key = t->dropout_key + (uint64_t)number * 0x9e3779b97f4a7c15u;
    return batch;
}

/* Steps of an epoch from one flush of subnormal moments to the next: few are slow before it, and the others need not
 * look. */
enum { FLUSH_INTERVAL = 16 };

static void train(void *context, fastnn_team *team, int64_t thread) {
    step_state *s = context;
    fastnn_training *t = s->training;
    const int64_t size = fastnn_team_size(team);
    /* Clipping needs the whole gradient; else the update adds the penalty's share. */
    const int clips = t->clip_norm != 0;
    fastnn_update update = t->update;
    for (int64_t i = t->first, last = t->last; i < last; i++) {
        fastnn_batch batch = batch_at(t, i);
        const double weight = weight_sum(&batch);
        batch.scale = gradient_scale(t->network, weight);
        if (thread == 0) s->weight = weight;
        if (thread == 0 && !clips) s->penalty = penalty(t, weight, NULL); /* before any thread moves a weight */
        const int at_once = moves_at_once(t, &batch);
        update.beta_1_power *= update.beta_1;
        update.beta_2_power *= update.beta_2;
        update.flushes = i % FLUSH_INTERVAL == 0;
        update.gradient_scale = 1;
        update.l2 = clips ? 0 : penalty_factor(t->network, &t->data, weight);
        batch_gradient(s, team, thread, &batch, at_once ? &update : NULL);
        if (clips) fastnn_team_wait(team);
        if (thread == 0 && clips) {
            s->penalty = penalty(t, weight, t->gradient);
            clip(s);
        }
        if (thread == 0) finish_objective(s);
        if (clips) fastnn_team_wait(team);
        if (clips) update.gradient_scale = s->gradient_scale;
        if (!at_once) t->kernels->network_update(t->network, &update, thread, size);
        if (thread == 0) {
            t->loss += s->objective * (double)batch.rows;
            t->first = i + 1;
            s->stops = !isfinite(s->objective) || fastnn_seconds() >= t->until;
        }
        if (i + 1 == last) break; /* run() waits */
        fastnn_team_wait(team);
        if (s->stops) break;
    }
    if (thread != 0) return;
    t->update.beta_1_power = update.beta_1_power;
    t->update.beta_2_power = update.beta_2_power;
}

void fastnn_train(fastnn_training *training) {
    step_state state = {.training = training};
    fastnn_team_run(training->team, train, &state);
}

double fastnn_row_scale(const fastnn_network *network, const fastnn_batch *batch) {
    return gradient_scale(network, weight_sum(batch));
}

static void compute_gradient(void *context, fastnn_team *team, int64_t thread) {
    step_state *s = context;
    fastnn_batch batch = s->training->data;
    batch.scale = gradient_scale(s->training->network, s->weight);
    batch_gradient(s, team, thread, &batch, NULL);
    fastnn_team_wait(team);
    if (thread != 0) return;
    s->penalty = penalty(s->training, s->weight, s->training->gradient);
    finish_objective(s);
}

double fastnn_loss_and_gradient(fastnn_training *training) {
    step_state state = {.training = training, .weight = weight_sum(&training->data)};
    fastnn_team_run(training->team, compute_gradient, &state);
    return state.objective;
}
