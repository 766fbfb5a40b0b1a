/* One matrix product, shared out among a team of threads. */
#include "fastnn.h"

/* Stretches of C's rows, or of its columns if they are no fewer: the other operand may be packed anew for each, and of
 * the longer side there are so many in each that this hardly counts. The threads take piece by piece: one that comes
 * late, or is held up, leaves more to the others. */
typedef struct {
    const fastnn_multiplication *whole;
    int64_t piece;
    int64_t next; /* the first piece that nobody has */
} shares;

static int is_cut_by_rows(const fastnn_multiplication *w) { return w->m > w->n; }

static int64_t length(const fastnn_multiplication *w) { return is_cut_by_rows(w) ? w->m : w->n; }

static int64_t bytes(const fastnn_multiplication *w, int64_t elements) { return elements * (w->kernels->bits / 8); }

static void multiply_stretch(const fastnn_multiplication *w, int64_t first, int64_t last, int64_t thread) {
    const int by_rows = is_cut_by_rows(w);
    const int64_t m = by_rows ? last - first : w->m, n = by_rows ? w->n : last - first;
    fastnn_matrix a = w->a, b = w->b;
    if (by_rows)
        a.data = (const char *)a.data + bytes(w, first * a.row_stride);
    else
        b.data = (const char *)b.data + bytes(w, first * b.column_stride);
    char *c = (char *)w->c + bytes(w, first * (by_rows ? w->c_row_stride : w->c_column_stride));
    w->kernels->gemm(c, w->c_row_stride, w->c_column_stride, a, b, w->accumulate, m, n, w->k,
                     w->scratch + thread * w->scratch_bytes);
}

static void multiply_pieces(void *context, fastnn_team *team, int64_t thread) {
    shares *s = context;
    const int64_t all = length(s->whole);
    (void)team;
    for (int64_t first; (first = fastnn_team_claim(&s->next) * s->piece) < all;)
        multiply_stretch(s->whole, first, all - first < s->piece ? all : first + s->piece, thread);
}

void fastnn_multiply(const fastnn_multiplication *multiplication) {
    enum { PIECES = 4, UNIT = FASTNN_ROWS_UNIT };
    const int64_t threads = fastnn_team_size(multiplication->team), all = length(multiplication);
    if (threads == 1) {
        multiply_stretch(multiplication, 0, all, 0);
        return;
    }
    const int64_t units = all / (PIECES * threads * UNIT); /* rounded down: a small piece more ends more evenly */
    shares s = {multiplication, (units > 0 ? units : 1) * UNIT, 0};
    fastnn_team_share(multiplication->team, multiply_pieces, &s);
}
