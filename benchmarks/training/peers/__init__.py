"""Methods of other libraries, each a function (problem, settings, trace)."""
