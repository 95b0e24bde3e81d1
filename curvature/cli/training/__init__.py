"""The parts of ``curvature train``: data, network, optimisers, progress, table, plot and record."""
