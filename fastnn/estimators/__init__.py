"""MLPClassifier and MLPRegressor, in scikit-learn's shape: fastnn imports them, and so scikit-learn, on first use."""
