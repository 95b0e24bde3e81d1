"""Training benchmarks: time and steps to an error, for this library and its peers."""
