/* The epochs of a fit: order of the rows, steps, validation, early stopping. */
#include "fastnn.h"

#include <math.h>
#include <string.h>

static size_t parameter_bytes(const fastnn_fit *f) {
    return (size_t)(f->training.network->n_parameters * (f->training.kernels->bits / 8));
}

static int64_t batch_count(const fastnn_training *t) { return (t->data.rows + t->batch_size - 1) / t->batch_size; }

static void begin_epoch(fastnn_fit *f) {
    fastnn_training *t = &f->training;
    memcpy(f->previous, t->update.parameters, parameter_bytes(f));
    if (f->order && f->shuffles_further)
        fastnn_shuffle_further(f->order, t->data.rows, f->next_random, f->next_half, f->random_state);
    else if (f->order)
        fastnn_shuffle(f->order, t->data.rows, f->next_random, f->random_state);
    t->data.order = f->order;
    if (t->network->layers[0].dropout > 0) t->dropout_key = f->next_random(f->random_state);
    t->update.learning_rate = f->learning_rates[f->epoch];
    t->loss = 0;
    f->validation.position = 0;
}

enum { ALONE, TOGETHER, TRIAL_STEPS = 4 };

static int faster_way(const fastnn_pace *p) { return p->step_seconds[TOGETHER] < p->step_seconds[ALONE]; }

/* Begin to try the way that is not known or was slower, if it is time: one step, in which threads start and caches
 * fill, and then those that count. */
static void begin_trial(fastnn_pace *p) {
    const int together_known = p->step_seconds[TOGETHER] > 0, known = together_known && p->step_seconds[ALONE] > 0;
    if (p->trial_steps > 0 || (known && p->trained < p->retry)) return;
    p->trial_way = known ? !faster_way(p) : together_known ? ALONE : TOGETHER;
    p->trial_steps = 1 + TRIAL_STEPS;
    p->trial_seconds = 0;
}

/* Note what some steps of a trial took. It ends early where it takes much longer than the other way; the next one comes
 * after many times what this one took, and ever later while none succeeds. */
static void note_trial(fastnn_pace *p, double seconds, int64_t steps) {
    static const double RARELY = 32, LEAST = 0.02, MOST = 1;
    const double other = p->step_seconds[!p->trial_way];
    const int is_first = p->trial_steps > TRIAL_STEPS, is_long = other > 0 && seconds > TRIAL_STEPS * other;
    if (!is_first || is_long) p->trial_seconds += seconds;
    p->trial_steps -= steps;
    if (p->trial_steps > 0 && !is_long) return;
    const int64_t counted = is_first ? steps : TRIAL_STEPS - p->trial_steps;
    p->step_seconds[p->trial_way] = p->trial_seconds / (double)counted;
    p->trial_steps = 0;
    p->interval = p->trial_way == faster_way(p) ? LEAST : fmin(fmax(2 * p->interval, LEAST), MOST);
    p->retry = p->trained + fmax(p->interval, RARELY * p->trial_seconds);
}

/* Steps from f->batch on until the time is up, and at least one: alone or together, as was faster, but at first and now
 * and then a few the other way. */
static void take_paced_steps(fastnn_fit *f, double until) {
    fastnn_training *t = &f->training;
    fastnn_pace *p = &f->pace;
    const double begin = fastnn_seconds();
    begin_trial(p);
    const int is_trial = p->trial_steps > 0, way = is_trial ? p->trial_way : faster_way(p);
    const int64_t most = p->trial_steps > TRIAL_STEPS ? 1 : p->trial_steps;
    t->team = way == TOGETHER ? f->team : NULL;
    if (is_trial && t->last > t->first + most) t->last = t->first + most;
    t->until = until;
    fastnn_train(t);
    const double seconds = fastnn_seconds() - begin;
    const int64_t steps = t->first - f->batch;
    p->trained += seconds;
    if (is_trial)
        note_trial(p, seconds, steps);
    else /* one slow step is not the rule */
        p->step_seconds[way] += 0.25 * (seconds / (double)steps - p->step_seconds[way]);
}

static void take_steps(fastnn_fit *f, double until) {
    fastnn_training *t = &f->training;
    t->first = f->batch;
    t->last = batch_count(t);
    t->until = until;
    if (f->team)
        take_paced_steps(f, until);
    else
        fastnn_train(t);
    f->batch = isfinite(t->loss) ? t->first : batch_count(t);
}

static int has_finite_parameters(const fastnn_fit *f) {
    const fastnn_training *t = &f->training;
    return t->kernels->all_finite(t->update.parameters, t->network->n_parameters);
}

/* Whether to stop because the loss has not fallen for long. */
static int watch(fastnn_fit *f) {
    const double loss = f->on_validation ? f->validation_losses[f->epoch] : f->losses[f->epoch];
    const int falls = f->against_lowest ? loss <= f->lowest_loss - f->min_delta : loss < f->best_loss - f->min_delta;
    if (loss < f->lowest_loss) {
        f->lowest_loss = loss;
        f->best_epoch = f->epoch;
        if (f->best_parameters) memcpy(f->best_parameters, f->training.update.parameters, parameter_bytes(f));
    }
    if (falls) {
        f->best_loss = loss;
        f->bad_epochs = 0;
    } else {
        f->bad_epochs++;
    }
    return f->bad_epochs > f->patience;
}

static int end_epoch(fastnn_fit *f) {
    fastnn_training *t = &f->training;
    const double loss = t->loss / (double)t->data.rows;
    const int validates = f->validation.data.rows > 0;
    int stops = 0;
    f->losses[f->epoch] = loss;
    if (validates) f->validation_losses[f->epoch] = f->validation.loss;
    f->seconds[f->epoch] = fastnn_seconds();
    if (!isfinite(loss) || !has_finite_parameters(f) || (validates && !isfinite(f->validation.loss))) {
        memcpy(t->update.parameters, f->previous, parameter_bytes(f));
        return FASTNN_NOT_FINITE;
    }
    if (f->watches) stops = watch(f);
    f->epoch++;
    f->batch = 0;
    if (stops) return FASTNN_STOPPED_EARLY;
    if (f->epoch == f->n_epochs) return FASTNN_FINISHED;
    return f->seconds[f->epoch - 1] >= f->deadline ? FASTNN_OUT_OF_TIME : FASTNN_RUNNING;
}

/* Take n epochs of the textbook's network, which its own loop does in registers: the same parameters and losses, bit
 * for bit, in a tenth of the time. Returns whether all is finite after them; else the parameters are those from before
 * them. */
static int textbook_epochs(fastnn_fit *f, int64_t n) {
    const fastnn_training *t = &f->training;
    int finite = 1;
    memcpy(f->previous, t->update.parameters, parameter_bytes(f));
    f->textbook.learning_rate = f->learning_rates[f->epoch];
    t->kernels->two_layer_train(&f->textbook, f->losses + f->epoch, n, t->workspace);
    for (int64_t i = 0; i < n; i++) finite = finite && isfinite(f->losses[f->epoch + i]);
    if (finite && has_finite_parameters(f)) return 1;
    memcpy(t->update.parameters, f->previous, parameter_bytes(f));
    return 0;
}

/* Some epochs at a time, which are shorter than a look at the clock, so that their ends are interpolated; where one
 * goes wrong, each by itself up to that one. */
static int textbook_fit(fastnn_fit *f, double until) {
    enum { MOST = 1024 };
    int64_t most = MOST;
    for (double begin = fastnn_seconds(), end; f->epoch < f->n_epochs; begin = end) {
        int64_t n = 0;
        while (n < most && f->epoch + n < f->n_epochs && f->learning_rates[f->epoch + n] == f->learning_rates[f->epoch])
            n++;
        const int finite = textbook_epochs(f, n);
        end = fastnn_seconds();
        if (finite || n == 1) {
            const double each = (end - begin) / (double)n;
            for (int64_t i = 0; i < n; i++) f->seconds[f->epoch + i] = begin + each * (double)(i + 1);
        }
        if (!finite && n == 1) return FASTNN_NOT_FINITE;
        if (finite) f->epoch += n;
        most = finite ? most : 1;
        if (f->epoch < f->n_epochs && end >= f->deadline) return FASTNN_OUT_OF_TIME;
        if (end >= until) break;
    }
    return f->epoch == f->n_epochs ? FASTNN_FINISHED : FASTNN_RUNNING;
}

int fastnn_fit_for(fastnn_fit *f, double seconds) {
    const double end = fastnn_seconds() + seconds;
    double left = seconds;
    int state = FASTNN_RUNNING;
    if (f->textbook.n_rows > 0) return textbook_fit(f, end);
    while (state == FASTNN_RUNNING) {
        if (f->batch == 0) begin_epoch(f);
        if (f->batch < batch_count(&f->training)) take_steps(f, end);
        left = end - fastnn_seconds();
        if (f->batch < batch_count(&f->training)) {
            if (left <= 0) break;
            continue;
        }
        f->validation.team = f->training.team;
        if (f->validation.position < f->validation.data.rows && isfinite(f->training.loss) &&
            !fastnn_predict(&f->validation, left))
            break;
        state = end_epoch(f);
        if (left <= 0) break;
    }
    return state;
}
