"""From a subject to trials, and from trials to outcomes: in this process, or shared out over several."""
