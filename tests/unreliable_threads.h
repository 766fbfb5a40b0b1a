#ifndef UNRELIABLE_THREADS_H
#define UNRELIABLE_THREADS_H

#include <stdint.h>

/* Of the threads that are asked for from now on: how many are granted; which of them, a bit for each, do not begin before
 * release_threads(); and by how much later each begins than the one before. All earlier ones must have ended. */
void plan_threads(int grants, uint64_t held, int microseconds_late);
void release_threads(void);
void await_threads(void); /* until all that were created have ended */

/* since the plan */
int threads_asked(void);
int threads_created(void);
int threads_ended(void);

void pause_for(int microseconds);

#endif
