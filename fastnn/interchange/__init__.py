"""Networks on their way in and out: one module for each of the packages that they come from or go to."""
